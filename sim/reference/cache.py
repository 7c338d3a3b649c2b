"""A cache level: L1, L2 and L3 are this class with different numbers (M1 to M9).

A miss is walked to its end in one call (M2): `FirstLevel.access` or `Cache.request` makes the
line's place, writes the victim back, asks the level below and returns when the line will be there.
So contents depend on the order of accesses alone, and only times lie in the future. Times of L1 and
L2 are core cycles, those of L3 and DRAM fs; `Crossing` converts between two levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from sim.machine.schema import Cache as CacheConfig
from sim.reference.clock import Clock
from sim.reference.prefetcher import prefetcher

COUNTERS = (
    "hits",
    "misses",
    "merges",
    "writebacks",
    "prefetches",
    "prefetch_useful",
    "prefetch_late",
    "prefetch_dropped",
    "mshr_stalls",
)


class Requester(NamedTuple):
    """Whose access it is: core, pc, operator, and whether an instruction asked."""

    core: int
    pc: int
    region: int
    demand: bool = True


class Answer(NamedTuple):
    """When the data are there, and the level they come from."""

    time: int
    level: str


class Below(Protocol):
    """What a level sees below it; times are the caller's."""

    def request(self, line: int, time: int, who: Requester) -> Answer:
        """Read a line."""

    def write(self, line: int, time: int, who: Requester) -> None:
        """Write a line back."""


class Crossing:
    """Between a level in core cycles and one in fs (T1)."""

    def __init__(self, clock: Clock, below: Below) -> None:
        self.clock = clock
        self.below = below

    def request(self, line: int, time: int, who: Requester) -> Answer:
        """A time in fs becomes the first core cycle that starts at or after it."""
        answer = self.below.request(line, self.clock.start(time), who)
        return Answer(self.clock.first_at(answer.time), answer.level)

    def write(self, line: int, time: int, who: Requester) -> None:
        """Write a line back."""
        self.below.write(line, self.clock.start(time), who)


class Port:
    """Bandwidth towards the level above (M4), in the order of walks.

    A line takes line bytes / width of a cycle; ``position`` counts bytes that could have passed.
    """

    def __init__(self, line_bytes: int, width: int, cycle: int) -> None:
        self.line_bytes = line_bytes
        self.width = width
        self.cycle = cycle
        self.position = 0

    def serve(self, time: int) -> int:
        """Pass one line that comes at ``time``; returns when it is served."""
        if self.cycle == 1:  # core cycles: several lines may share one
            self.position = max(self.position, time * self.width)
            served = self.position // self.width
            self.position += self.line_bytes
            return served
        served = max(self.position, time)
        self.position = served - (-self.line_bytes * self.cycle // self.width)
        return served


@dataclass(eq=False, slots=True)
class Line:
    """A line in its set; in flight until ``fill``."""

    number: int
    fill: int = 0
    origin: str = ""
    dirty: bool = False
    prefetched: bool = False


class Cache:
    """Sets of lines in order of use, miss registers, a port and a prefetcher.

    ``lines`` is where memory ends; ``cycle`` the length of this level's cycle in its unit of time:
    1, or fs for L3.
    """

    def __init__(
        self, name: str, config: CacheConfig, below: Below, lines: int, cycle: int = 1
    ) -> None:
        self.name = name
        self.lines = lines
        self.ways = config.ways
        self.hit = config.hit_cycles * cycle
        self.fill = config.fill_cycles * cycle
        self.below = below
        self.sets: list[list[Line]] = [[] for _ in range(config.sets)]  # least recent first
        self.mshrs = [0] * config.mshrs  # the fill each holds or held
        self.port = Port(config.line, config.bytes_per_cycle or config.line, cycle)
        self.prefetcher = prefetcher(config)
        self.count = dict.fromkeys(COUNTERS, 0)

    # --- what the level above asks ----------------------------------------------------------------

    def request(self, line: int, time: int, who: Requester) -> Answer:
        """A read from the level above that arrives at ``time``."""
        served = self.port.serve(time)
        found = self.find(line)
        fresh = found is None or found.prefetched
        if found:
            answer = self.use(found, served, who)
        else:
            self.count["misses"] += who.demand
            leaves = max(served, min(self.mshrs))  # M5
            self.count["mshr_stalls"] += leaves > served
            answer = self.walk(line, leaves, who)
        self.train(line, served, who, fresh=fresh)
        return answer

    def write(self, line: int, time: int, who: Requester) -> None:
        """A line written back from above: it is marked dirty or takes a place (M7)."""
        served = self.port.serve(time)
        found = self.find(line) or self.place(line, served, who)
        found.dirty = True

    # --- parts of an access -----------------------------------------------------------------------

    def find(self, line: int) -> Line | None:
        """The line if it is here or in flight, which makes it the most recently used (M1)."""
        ways = self.sets[line % len(self.sets)]
        for entry in reversed(ways):
            if entry.number == line:
                ways.remove(entry)
                ways.append(entry)
                return entry
        return None

    def use(self, found: Line, time: int, who: Requester, latency: int | None = None) -> Answer:
        """A hit, or a merge with a line in flight (M6); the first use of a prefetch counts (M9)."""
        in_flight = found.fill > time
        self.count["hits"] += who.demand
        self.count["merges"] += in_flight and who.demand
        if found.prefetched:
            found.prefetched = False
            self.count["prefetch_useful"] += 1
            self.count["prefetch_late"] += in_flight
        ready = time + (self.hit if latency is None else latency)
        if in_flight and found.fill >= ready:
            return Answer(found.fill, found.origin)
        return Answer(ready, self.name)

    def place(self, line: int, time: int, who: Requester) -> Line:
        """Give a line its place; a dirty victim goes to the next level at once (M2, M7)."""
        ways = self.sets[line % len(self.sets)]
        if len(ways) == self.ways:
            victim = ways.pop(0)
            if victim.dirty:
                self.count["writebacks"] += 1
                self.below.write(victim.number, time, who)
        entry = Line(line)
        ways.append(entry)
        return entry

    def walk(
        self, line: int, start: int, who: Requester, *, dirty: bool = False, ahead: bool = False
    ) -> Answer:
        """Fetch a line from below, from ``start`` on (M2, M3); holds an MSHR until the fill.

        ``ahead`` marks a line fetched by this level's prefetcher.
        """
        entry = self.place(line, start, who)
        entry.dirty, entry.prefetched = dirty, ahead
        answer = self.below.request(line, start + self.hit, who)
        entry.fill = answer.time + self.fill
        entry.origin = answer.level
        self.mshrs[self.mshrs.index(min(self.mshrs))] = entry.fill
        return Answer(entry.fill, answer.level)

    def train(self, line: int, time: int, who: Requester, *, fresh: bool) -> None:
        """Show the access to the prefetcher and fetch what it asks for (M8)."""
        for wanted in self.prefetcher.see(line, who.pc, fresh=fresh):
            if not 0 <= wanted < self.lines:
                continue
            if any(entry.number == wanted for entry in self.sets[wanted % len(self.sets)]):
                continue
            if min(self.mshrs) > time:
                self.count["prefetch_dropped"] += 1
                continue
            self.count["prefetches"] += 1
            self.walk(wanted, time, who._replace(demand=False), ahead=True)


class FirstLevel(Cache):
    """L1: the core asks it, and waits for a free MSHR itself (L3, S4)."""

    def access(
        self, line: int, cycle: int, who: Requester, *, write: bool = False
    ) -> Answer | None:
        """One access of a load, a store or `prefetch`; None if it needs an MSHR and none is free.

        A hit is available ``hit_cycles`` later, to a store at once; a line in flight at its fill
        if that is later (L2, S4). A store's line is dirty from now on.
        """
        found = self.find(line)
        fresh = found is None or found.prefetched
        if found:
            answer = self.use(found, cycle, who, 0 if write else None)
            found.dirty = found.dirty or write
        elif min(self.mshrs) > cycle:
            self.count["mshr_stalls"] += 1
            return None
        else:
            self.count["misses"] += 1
            answer = self.walk(line, cycle, who, dirty=write)
        self.train(line, cycle, who, fresh=fresh)
        return answer

    def next_fill(self) -> int:
        """Cycle of the next fill, all MSHRs being held: when one becomes free."""
        return min(self.mshrs)
