"""Where cores and homes are, and how long the ways between them take (C2)."""

from __future__ import annotations

from sim.machine.schema import Machine


class Interconnect:
    """Core *i* is at stop *i*, homes are spread over the stops; all times are fs."""

    def __init__(self, machine: Machine, cores: int, cycle: int) -> None:
        self.machine = machine
        self.cores = cores
        self.hop = machine.interconnect.hop_cycles * cycle
        self.snoop = machine.interconnect.snoop_cycles * cycle

    def home(self, line: int) -> int:
        """Number of the home of a line."""
        return line % self.machine.homes

    def to_home(self, core: int, line: int) -> int:
        """The way between a core and the home of a line, in either direction."""
        return self.machine.home_hops(core, self.home(line), self.cores) * self.hop

    def between(self, core: int, other: int) -> int:
        """The way between two cores."""
        return self.machine.core_hops(core, other, self.cores) * self.hop
