"""Cycles and femtoseconds (T1)."""

FS_PER_US = 10**9
FS_PER_NS = 10**6


class Clock:
    """A clock of whole MHz: that many cycles are exactly one microsecond, so nothing drifts."""

    def __init__(self, megahertz: int) -> None:
        self.megahertz = megahertz

    @property
    def cycle_fs(self) -> int:
        """Length of a cycle, rounded down: what L3 latencies are counted in."""
        return FS_PER_US // self.megahertz

    def start(self, cycle: int) -> int:
        """Femtosecond in which a cycle starts."""
        microseconds, rest = divmod(cycle, self.megahertz)
        return microseconds * FS_PER_US + rest * FS_PER_US // self.megahertz

    def first_at(self, time: int) -> int:
        """First cycle that starts at or after a time in fs."""
        microseconds, rest = divmod(time, FS_PER_US)
        cycle = microseconds * self.megahertz + rest * self.megahertz // FS_PER_US
        return cycle if self.start(cycle) >= time else cycle + 1


def nanoseconds(value: float) -> int:
    """A time of the machine file in fs."""
    return round(value * FS_PER_NS)
