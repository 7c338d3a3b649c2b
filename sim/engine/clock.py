"""Cycles and femtoseconds (timing contract, "Time").

With ``(q, r) = divmod(c - anchor, f_MHz)``, cycle c starts at
``anchor_fs + q * 10^9 + floor(r * 10^9 / f_MHz)``: f cycles
of an f-MHz clock are exactly one microsecond, so nothing drifts.
"""

from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import C_ANCHOR_CYCLE, C_ANCHOR_FS, C_F_MHZ, C_US_CYCLE, C_US_FS

FS_PER_US = 1_000_000_000


@njit
def cycle_to_fs(S: Flat, core: int, cycle: int) -> int:
    """Start of a core's ``cycle`` in femtoseconds; ``core`` is the offset of the core block."""
    f = S[core + C_F_MHZ]
    r = cycle - S[core + C_US_CYCLE]
    if r < 0 or r >= f:
        q = (cycle - S[core + C_ANCHOR_CYCLE]) // f
        S[core + C_US_CYCLE] = S[core + C_ANCHOR_CYCLE] + q * f
        S[core + C_US_FS] = S[core + C_ANCHOR_FS] + q * FS_PER_US
        r = cycle - S[core + C_US_CYCLE]
    return S[core + C_US_FS] + r * FS_PER_US // f


@njit
def fs_to_cycle(S: Flat, core: int, fs: int) -> int:
    """First cycle of the core that starts at or after ``fs``.

    Of a time before the anchor only this is known: no cycle lies between it and the anchor (T5).
    """
    f = S[core + C_F_MHZ]
    d = max(fs - S[core + C_ANCHOR_FS], 0)
    q = d // FS_PER_US
    r = d - q * FS_PER_US
    # floor(k * 10^9 / f) >= r  <=>  k >= r * f / 10^9 (r is an integer)
    return S[core + C_ANCHOR_CYCLE] + q * f + (r * f + FS_PER_US - 1) // FS_PER_US
