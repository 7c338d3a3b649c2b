"""What the computer that runs the simulator can take."""

from __future__ import annotations

import os

from isa.errors import UserError


def check_host_memory(needed: int, instead: str) -> None:
    """Refuse what cannot fit before the host starts to swap.

    Args:
        needed: bytes.
        instead: what the user could do.

    Raises:
        UserError: with the sizes and the way out.
    """
    if not hasattr(os, "sysconf"):
        return
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > present:
        raise UserError(
            f"this run simulates {needed / 1e9:.1f} GB of memory and this computer has "
            f"{present / 1e9:.1f} GB; {instead}"
        )
