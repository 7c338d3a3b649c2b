"""Where cores and homes are, and how long the ways between them take (C2, C9)."""

from __future__ import annotations

from sim.machine.schema import Machine
from sim.reference.nodes import Nodes


class Interconnect:
    """Core *i* is at stop *i*, homes are spread over the stops; all times are fs."""

    def __init__(self, machine: Machine, nodes: Nodes, cycle: int) -> None:
        self.machine = machine
        self.nodes = nodes
        self.cores = nodes.cores
        self.hop = machine.interconnect.hop_cycles * cycle
        self.snoop = machine.interconnect.snoop_cycles * cycle

    def home(self, line: int) -> int:
        """Number of the home of a line."""
        each = self.machine.homes // self.machine.nodes
        return self.nodes.of_line(line) * each + self.nodes.number(line) % each

    def to_home(self, core: int, line: int) -> int:
        """The way between a core and the home of a line, in either direction."""
        hops = self.machine.home_hops(core, self.home(line), self.cores)
        return hops * self.hop + self.nodes.way(self.nodes.of_core(core), self.nodes.of_line(line))

    def between(self, core: int, other: int) -> int:
        """The way between two cores."""
        hops = self.machine.core_hops(core, other, self.cores)
        return hops * self.hop + self.nodes.way(self.nodes.of_core(core), self.nodes.of_core(other))
