"""Cycles and femtoseconds (T1, T5)."""

FS_PER_US = 10**9
FS_PER_NS = 10**6


class Clock:
    """A clock of whole MHz: that many cycles are exactly one microsecond, so nothing drifts.

    They are counted from the anchor: the start of the first cycle of this frequency.
    """

    def __init__(self, megahertz: int) -> None:
        self.megahertz = megahertz
        self.anchor_cycle = 0
        self.anchor = 0

    def change(self, time: int, megahertz: int) -> None:
        """Another frequency from the first cycle at or after a time (T5)."""
        cycle = self.first_at(time)
        self.anchor_cycle, self.anchor = cycle, self.start(cycle)
        self.megahertz = megahertz

    @property
    def cycle_fs(self) -> int:
        """Length of a cycle, rounded down: what L3 latencies are counted in."""
        return FS_PER_US // self.megahertz

    def start(self, cycle: int) -> int:
        """Femtosecond in which a cycle, the anchor or one after it, starts."""
        microseconds, rest = divmod(cycle - self.anchor_cycle, self.megahertz)
        return self.anchor + microseconds * FS_PER_US + rest * FS_PER_US // self.megahertz

    def first_at(self, time: int) -> int:
        """First cycle that starts at or after a time in fs, not before the last change."""
        if time <= self.anchor:  # the change has been asked for, and its cycle has not come yet
            return self.anchor_cycle
        microseconds, rest = divmod(time - self.anchor, FS_PER_US)
        cycle = microseconds * self.megahertz + rest * self.megahertz // FS_PER_US
        cycle += self.anchor_cycle
        return cycle if self.start(cycle) >= time else cycle + 1


def nanoseconds(value: float) -> int:
    """A time of the machine file in fs."""
    return round(value * FS_PER_NS)
