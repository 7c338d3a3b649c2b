"""Who holds which line, and what a request makes of it: coherence between cores (C1 to C9).

A transaction is worked on in one call, when the walk passes (M2): what it does to the caches of
other cores is done at once, and only the time of its answer lies in the future. Times are fs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sim.machine.schema import Machine
from sim.reference.cache import COHERENCE, Answer, Requester
from sim.reference.clock import Clock
from sim.reference.dram import Dram
from sim.reference.nodes import Nodes
from sim.reference.shared import Shared


@dataclass(slots=True)
class Entry:
    """What the directory knows of a line: the cores it was given to, and which of them may write.

    Other requests for the line wait until ``busy`` (C5).
    """

    cores: set[int] = field(default_factory=set)
    owner: int | None = None
    busy: int = 0

    def grant(self, core: int, time: int, *, shared: bool) -> None:
        """A core has the line from ``time`` on: to read it like others, or as its owner."""
        read_only = shared and self.owner is None
        self.owner = None if shared else core
        self.cores = self.cores | {core} if shared else {core}
        if not read_only:  # C5: the transaction made or ended an owner
            self.busy = time


class Directory(Shared):
    """The homes of two or more cores, with an entry for each line.

    ``touched`` are lines whose holders changed since somebody emptied it.
    """

    def __init__(
        self, machine: Machine, nodes: Nodes, lines: int, clock: Clock, drams: Sequence[Dram]
    ) -> None:
        super().__init__(machine, nodes, lines, clock, drams)
        self.entries: defaultdict[int, Entry] = defaultdict(Entry)
        self.touched: set[int] = set()

    # --- transactions (C4) -----------------------------------------------------------------------

    def request(self, line: int, time: int, who: Requester) -> Answer:
        """A read or an exclusive request that leaves the core's caches at ``time``."""
        self.count["exclusive_reads" if who.write else "reads"] += 1
        self.touched.add(line)
        entry, home = self.entries[line], self.home(line)
        passed = home.admit(time + self.net.to_home(who.core, line))
        start = max(passed, entry.busy)
        owner = entry.owner
        if owner is None or owner == who.core:
            answer = self._ask_home(line, start, who)
        else:
            heard = start + home.hit + self.net.to_home(owner, line) + self.net.snoop
            if self._take_from(owner, line, passed, who):
                source, target = self.nodes.of_core(owner), self.nodes.of_core(who.core)
                sent = self.nodes.send(source, target, heard)
                arrival = sent + self.net.between(owner, who.core)
                answer = Answer(arrival, COHERENCE, shared=not who.write)
            else:
                entry.cores.remove(owner)
                answer = self._ask_home(line, heard + self.net.to_home(owner, line), who)
        entry.grant(who.core, answer.time, shared=answer.shared)
        return answer

    def upgrade(self, line: int, time: int, who: Requester) -> int:
        """A core wants to write a line that it shares; returns when it may."""
        self.count["upgrades"] += 1
        self.touched.add(line)
        entry, way = self.entries[line], self.net.to_home(who.core, line)
        looked_up = max(time + way, entry.busy) + self.home(line).hit
        permission = max(looked_up + way, self._invalidate_others(line, looked_up, who.core))
        entry.grant(who.core, permission, shared=False)
        return permission

    # --- their parts -----------------------------------------------------------------------------

    def _ask_home(self, line: int, start: int, who: Requester) -> Answer:
        """No other core owns the line: L3 or memory gives it, others that share it lose it."""
        answer = self.answer(line, start, who)
        answer = answer._replace(time=answer.time + self.net.to_home(who.core, line))
        if who.write:
            given_up = self._invalidate_others(line, start + self.home(line).hit, who.core)
            return answer.but_not_before(given_up)
        return answer._replace(shared=bool(self.entries[line].cores - {who.core}))

    def _take_from(self, owner: int, line: int, passed: int, who: Requester) -> bool:
        """Have the owner send the line to the requester; False if it holds it no more."""
        if who.write:
            found = self._invalidate(owner, line)
        elif found := bool(self.private[owner].copies(line)):
            self.count["downgrades"] += 1
            if self.private[owner].share(line):
                self.send_home(line, owner, passed)
                self.home(line).write(line, passed, who)
        else:
            self.count["stale"] += 1
        self.count["forwards"] += found
        return found

    def _invalidate_others(self, line: int, looked_up: int, core: int) -> int:
        """Remove the line from all other cores; returns when the last has answered the core."""
        last = 0
        for other in self.entries[line].cores - {core}:
            self._invalidate(other, line)
            heard = looked_up + self.net.to_home(other, line) + self.net.snoop
            last = max(last, heard + self.net.between(other, core))
        return last

    def _invalidate(self, core: int, line: int) -> bool:
        """Remove the line from a core; returns whether it held it."""
        found = bool(self.private[core].remove(line))
        self.count["invalidations"] += 1
        self.count["stale"] += not found
        return found

    # --- inclusion (C7) --------------------------------------------------------------------------

    def holders(self, line: int) -> Collection[int]:
        """Cores that may hold a line: those it was given to."""
        return self.entries[line].cores

    def forget(self, line: int) -> None:
        """Nobody holds the line any more; who waits for it waits on."""
        self.touched.add(line)
        self.entries[line].cores = set()
        self.entries[line].owner = None
