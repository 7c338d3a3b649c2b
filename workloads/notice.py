"""Messages about slow work, on stderr: stdout is for results alone."""

from __future__ import annotations

import sys


def notice(text: str) -> None:
    """Tell the user what is going on."""
    print(text, file=sys.stderr, flush=True)


def megabytes(nbytes: int) -> str:
    """A size as users read it: ``98 MB``."""
    return f"{nbytes / 1e6:.0f} MB"
