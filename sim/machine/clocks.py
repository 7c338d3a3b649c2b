"""What a change of clock must be, and how far time is counted, for both engines."""

from __future__ import annotations

from numbers import Integral

from isa.errors import SimulationFault, UserError
from sim.machine.units import MAX_CLOCK

MAX_MEGAHERTZ = MAX_CLOCK // 10**6
END_FS = 5 * 10**17  # 8 * time is counted in 64 bits: half of them, as work booked ahead ends later


def check_clock(core: int, cores: int, megahertz: int) -> None:
    """Refuse a core that does not run and a clock that cannot be, with `UserError`."""
    if not 0 <= core < cores:
        known = "core 0 runs alone" if cores == 1 else f"cores 0 to {cores - 1} run"
        raise UserError(f"there is no core {core} to set the clock of; {known}")
    if not isinstance(megahertz, Integral) or not 1 <= megahertz <= MAX_MEGAHERTZ:
        raise UserError(
            f"a clock of {megahertz} MHz cannot be; use whole MHz from 1 to {MAX_MEGAHERTZ}"
        )


def end_of_time() -> SimulationFault:
    """What ends a run in which a core has work at or after ``END_FS``."""
    return SimulationFault(
        f"{END_FS // 10**15} simulated seconds have passed, and time is counted no further; "
        "simulate less, or make the machine faster"
    )
