"""What a change of clock must be, for both engines."""

from __future__ import annotations

from numbers import Integral

from isa.errors import UserError
from sim.machine.units import MAX_CLOCK

MAX_MEGAHERTZ = MAX_CLOCK // 10**6


def check_clock(core: int, cores: int, megahertz: int) -> None:
    """Refuse a core that does not run and a clock that cannot be, with `UserError`."""
    if not 0 <= core < cores:
        known = "core 0 runs alone" if cores == 1 else f"cores 0 to {cores - 1} run"
        raise UserError(f"there is no core {core} to set the clock of; {known}")
    if not isinstance(megahertz, Integral) or not 1 <= megahertz <= MAX_MEGAHERTZ:
        raise UserError(
            f"a clock of {megahertz} MHz cannot be; use whole MHz from 1 to {MAX_MEGAHERTZ}"
        )
