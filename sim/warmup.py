"""Telling the user about compilation, which happens once and takes long."""

from __future__ import annotations

import sys


def announce_compilation() -> None:
    """Say so, on stderr, where the next simulation compiles the engine first."""
    from sim.engine.advance import advance
    from sim.engine.jit import needs_compilation

    if needs_compilation(advance):
        print(
            "compiling the simulator for this computer: once, up to a minute ...",
            file=sys.stderr,
            flush=True,
        )
