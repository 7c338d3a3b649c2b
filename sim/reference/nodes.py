"""Nodes: which cores, homes and lines lie together, and the links between them (C9); fs."""

from __future__ import annotations

from isa.memory import PAGE_BYTES
from sim.account import NODE_COUNTERS
from sim.machine.memory import BLOCKS
from sim.machine.schema import Machine
from sim.reference.clock import FS_PER_NS, nanoseconds
from sim.reference.port import LinePort


class Nodes:
    """The nodes of a machine of which ``cores`` run programs; memory has so many ``lines``.

    Without a table `[numa]` everything lies in one node.
    """

    def __init__(self, machine: Machine, cores: int, lines: int) -> None:
        self.machine = machine
        self.cores = cores
        self.nodes = range(machine.nodes)
        self.page = PAGE_BYTES // machine.l1.line
        self.remote = 0
        self.count = [dict.fromkeys(NODE_COUNTERS, 0) for _ in self.nodes]
        self.pages: list[tuple[int, int]] = []  # of each page its node, and its number there
        self.links: dict[tuple[int, int], LinePort] = {}
        if machine.numa is None:
            return
        self.remote = nanoseconds(machine.numa.remote_ns)
        count = -(-lines // self.page)
        blocks = machine.numa.interleave == BLOCKS
        taken = [0 for _ in self.nodes]
        for page in range(count):
            node = page * len(taken) // count if blocks else page % len(taken)
            self.pages.append((node, taken[node]))
            taken[node] += 1
        line_time = round(machine.l1.line / machine.numa.link * FS_PER_NS)
        self.links = {(a, b): LinePort(line_time) for a in self.nodes for b in self.nodes if a != b}

    def of_core(self, core: int) -> int:
        """The node of a core."""
        return self.machine.node_of_core(core, self.cores)

    def of_line(self, line: int) -> int:
        """The node of a line."""
        return self.pages[line // self.page][0] if self.pages else 0

    def number(self, line: int) -> int:
        """The number of a line among those of its node."""
        if not self.pages:
            return line
        page, offset = divmod(line, self.page)
        return self.pages[page][1] * self.page + offset

    def way(self, node: int, other: int) -> int:
        """What a message takes longer between two nodes than within one."""
        return 0 if node == other else self.remote

    def send(self, source: int, target: int, time: int) -> int:
        """A line is sent from node to node at ``time``; returns when it is on its way."""
        if source == target:
            return time
        self.count[source]["lines_sent"] += 1
        return self.links[source, target].take(time)

    def count_read(self, node: int, core: int) -> None:
        """Memory of a node is read for a core."""
        near = self.of_core(core) == node
        self.count[node]["local_reads" if near else "remote_reads"] += 1
