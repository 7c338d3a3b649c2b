"""What the cores share: homes of lines, slices of L3 or memory itself (C2, C9), inclusion (C7).

`Shared` is all that one core needs; with several, `directory.Directory` takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from isa.errors import InternalError
from sim.account import COHERENCE_COUNTERS
from sim.machine.memory import SharedCache
from sim.machine.schema import Machine
from sim.reference.cache import Answer, Below, Cache, Line, Requester, Set
from sim.reference.clock import Clock
from sim.reference.dram import Dram
from sim.reference.interconnect import Interconnect
from sim.reference.nodes import Nodes


def state(copies: list[Line]) -> str:
    """How a core with these copies holds a line: M, E or S (C1)."""
    if any(copy.shared for copy in copies):
        return "S"
    return "M" if any(copy.dirty for copy in copies) else "E"


class PrivateCaches:
    """L1 and L2 of one core, as others see them."""

    def __init__(self, *levels: Cache) -> None:
        self.levels = levels

    def copies(self, line: int) -> list[Line]:
        """The line in each level that has it, arrived or in flight."""
        return [copy for level in self.levels if (copy := level.peek(line))]

    def lines(self) -> set[int]:
        """Numbers of all lines that a level has."""
        return {entry.number for level in self.levels for entry in level.contents()}

    def states(self) -> dict[int, str]:
        """The state of every line held."""
        return {line: state(self.copies(line)) for line in sorted(self.lines())}

    def remove(self, line: int) -> list[Line]:
        """Take the line away; returns the copies there were."""
        return [copy for level in self.levels if (copy := level.remove(line))]

    def share(self, line: int) -> bool:
        """Let the line be read only; returns whether it was dirty, which it is no more."""
        copies = self.copies(line)
        dirty = any(copy.dirty for copy in copies)
        for copy in copies:
            copy.dirty, copy.shared = False, True
        return dirty


class Slice(Cache):
    """A slice of L3: one line of every ``slices`` of a node.

    ``leaves`` is told of lines that leave and when (C7).
    """

    def __init__(
        self,
        config: SharedCache,
        below: Below,
        lines: int,
        cycle: int,
        nodes: Nodes,
        leaves: Callable[[int, int], bool] | None,
    ) -> None:
        super().__init__("L3", config, below, lines, cycle)
        self.nodes = nodes
        self.slices = config.slices // len(nodes.nodes)
        self.set_count = config.sets // config.slices
        self.leaves = leaves

    def set_of(self, line: int) -> Set:
        """C2: what of the line's number is left behind the choice of the slice."""
        return self.sets[self.nodes.number(line) // self.slices % self.set_count]

    def admit(self, time: int) -> int:
        """Pass the port (M4); returns when."""
        return self.port.take(time)

    def must_write(self, victim: Line, time: int) -> bool:
        """An inclusive L3 takes a leaving line from the cores, and it may be dirty there (C7)."""
        dirty_above = self.leaves is not None and self.leaves(victim.number, time)
        return victim.dirty or dirty_above


class Home(Protocol):
    """Where requests for a line meet, a slice or memory; times are fs."""

    hit: int

    def admit(self, time: int) -> int:
        """Pass the port (M4); returns when."""

    def look_up(self, line: int, served: int, who: Requester) -> Answer:
        """Read a line, past the port."""

    def write(self, line: int, time: int, who: Requester) -> None:
        """Write a line back."""


class Shared:
    """L3 and memory behind the interconnect.

    ``private`` are the caches of all cores, which are filled in once they are built on this;
    ``drams`` the memories of the nodes.
    """

    def __init__(
        self, machine: Machine, nodes: Nodes, lines: int, clock: Clock, drams: Sequence[Dram]
    ) -> None:
        cycle = clock.cycle_fs
        self.private: list[PrivateCaches] = []
        self.slices: list[Slice] = []
        if machine.l3:
            if machine.l3.clock:
                cycle = Clock(machine.l3.clock).cycle_fs
            leaves = self.back_invalidate if machine.l3.inclusive else None
            self.slices = [
                Slice(machine.l3, drams[machine.node_of_home(i)], lines, cycle, nodes, leaves)
                for i in range(machine.l3.slices)
            ]
        self.homes: Sequence[Home] = self.slices or drams
        self.nodes = nodes
        self.net = Interconnect(machine, nodes, cycle)
        self.count = dict.fromkeys(COHERENCE_COUNTERS, 0)

    def home(self, line: int) -> Home:
        """The home of a line."""
        return self.homes[self.net.home(line)]

    def in_l3(self, line: int) -> bool:
        """Whether L3 has a line."""
        return bool(self.slices and self.slices[self.net.home(line)].peek(line))

    def request(self, line: int, time: int, who: Requester) -> Answer:
        """Read a line: the way there, the home's answer, the way back (C2)."""
        way = self.net.to_home(who.core, line)
        answer = self.answer(line, self.home(line).admit(time + way), who)
        return answer._replace(time=answer.time + way)

    def answer(self, line: int, time: int, who: Requester) -> Answer:
        """L3 or memory reads a line, which then takes the link to the requester (C9)."""
        node, target = self.nodes.of_line(line), self.nodes.of_core(who.core)
        answer = self.home(line).look_up(line, time, who)
        return answer._replace(time=self.nodes.send(node, target, answer.time))

    def upgrade(self, line: int, time: int, who: Requester) -> int:
        """One core shares no line."""
        raise InternalError(f"core {who.core} upgrades line {line:#x}, which it has to itself")

    def write(self, line: int, time: int, who: Requester) -> None:
        """A core's write-back takes no time on the way (C2)."""
        self.send_home(line, who.core, time)
        self.home(line).write(line, time, who)

    def send_home(self, line: int, core: int, time: int) -> None:
        """A written line goes home from a core, and takes its turn on the link (C9)."""
        self.nodes.send(self.nodes.of_core(core), self.nodes.of_line(line), time)

    def holders(self, line: int) -> Collection[int]:
        """Cores that may hold a line."""
        return range(len(self.private))

    def forget(self, line: int) -> None:
        """Nobody holds the line any more."""

    def back_invalidate(self, line: int, time: int) -> bool:
        """A line leaves an inclusive L3 (C7); returns whether it was dirty in a core's caches."""
        written = False
        for core in self.holders(line):
            removed = self.private[core].remove(line)
            self.count["back_invalidations"] += len(removed)
            if any(copy.dirty for copy in removed):
                self.send_home(line, core, time)
                written = True
        self.forget(line)
        return written
