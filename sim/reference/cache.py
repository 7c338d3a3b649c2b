"""A cache level: L1, L2 and a slice of L3 are this class with different numbers (M1 to M9).

A miss is walked to its end in one call (M2): `FirstLevel.access` or `Cache.request` makes the
line's place, writes the victim back, asks the level below and returns when the line will be there.
So contents depend on the order of accesses alone, and only times lie in the future. Times of L1 and
L2 are core cycles, those of L3 and DRAM fs; `Crossing` converts between two levels. What cores do
to each other's lines is in `directory`; here is only what a line marked shared does to stores (C3).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from sim.machine.memory import Cache as CacheConfig
from sim.reference.clock import Clock
from sim.reference.port import BytePort, LinePort
from sim.reference.prefetcher import prefetcher
from sim.reference.replacement import Policy, policy_maker

COHERENCE = "coherence"  # the level of what other cores answer (C6)
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
    """Whose access it is: core, pc, operator, whether an instruction asked, and to write (C3)."""

    core: int
    pc: int
    region: int
    demand: bool = True
    write: bool = False

    @property
    def ahead(self) -> Requester:
        """The prefetcher that saw the access: it only reads."""
        return self._replace(demand=False, write=False)


class Answer(NamedTuple):
    """When the data are there, the level they come from, and whether they may only be read."""

    time: int
    level: str
    shared: bool = False

    def but_not_before(self, time: int) -> Answer:
        """The same line, once the cores that gave it up have answered too, by ``time`` (C6)."""
        return Answer(time, COHERENCE, self.shared) if time > self.time else self


class Below(Protocol):
    """What a level sees below it; times are the caller's."""

    def request(self, line: int, time: int, who: Requester) -> Answer:
        """Read a line, to write it if ``who`` does."""

    def upgrade(self, line: int, time: int, who: Requester) -> int:
        """Make a shared line the core's own (C3); returns when the permission is there."""

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
        return answer._replace(time=self.clock.first_at(answer.time))

    def upgrade(self, line: int, time: int, who: Requester) -> int:
        """The same of a permission."""
        return self.clock.first_at(self.below.upgrade(line, self.clock.start(time), who))

    def write(self, line: int, time: int, who: Requester) -> None:
        """Write a line back."""
        self.below.write(line, self.clock.start(time), who)


@dataclass(eq=False, slots=True)
class Line:
    """A line in its set; in flight until ``fill``. A shared one may only be read (C1)."""

    number: int
    fill: int = 0
    origin: str = ""
    dirty: bool = False
    prefetched: bool = False
    shared: bool = False


class Set:
    """The ways of a set, and the policy that says which of them is vacated (M1)."""

    def __init__(self, ways: int, policy: Policy) -> None:
        self.ways: list[Line | None] = [None] * ways
        self.policy = policy

    def lines(self) -> list[Line]:
        """All lines here."""
        return [entry for entry in self.ways if entry]

    def find(self, line: int) -> Line | None:
        """The line if it is here, unused."""
        return next((entry for entry in self.ways if entry and entry.number == line), None)

    def use(self, entry: Line) -> None:
        """A line that is here is used again."""
        self.policy.used(self.ways.index(entry))

    def remove(self, entry: Line) -> None:
        """Its way is free."""
        self.ways[self.ways.index(entry)] = None

    def vacate(self) -> tuple[int, Line | None]:
        """The way that the next line takes, and the line that leaves it."""
        way = self.ways.index(None) if None in self.ways else self.policy.victim()
        victim, self.ways[way] = self.ways[way], None
        return way, victim

    def fill(self, way: int, entry: Line) -> None:
        """A new line takes a vacated way."""
        self.ways[way] = entry
        self.policy.filled(way)


class Cache:
    """Sets of lines, miss registers, a port and a prefetcher.

    ``lines`` is where memory ends; ``cycle`` the length of this level's cycle in its unit of time:
    1, or fs for L3.
    """

    def __init__(
        self, name: str, config: CacheConfig, below: Below, lines: int, cycle: int = 1
    ) -> None:
        self.name = name
        self.lines = lines
        self.hit = config.hit_cycles * cycle
        self.fill = config.fill_cycles * cycle
        self.below = below
        self.set_count = config.sets
        policy = policy_maker(config)
        # by index; a set begins to exist when it is first looked at
        self.sets = defaultdict[int, Set](lambda: Set(config.ways, policy()))
        self.mshrs = [0] * config.mshrs  # the fill each holds or held
        width = config.bytes_per_cycle or config.line
        self.port: BytePort | LinePort = (
            BytePort(config.line, width)
            if cycle == 1  # in core cycles
            else LinePort(-(-config.line * cycle // width))
        )
        self.prefetcher = prefetcher(config)
        self.count = dict.fromkeys(COUNTERS, 0)

    # --- what the level above asks ----------------------------------------------------------------

    def request(self, line: int, time: int, who: Requester) -> Answer:
        """A read from the level above that arrives at ``time``."""
        return self.look_up(line, self.port.take(time), who)

    def look_up(self, line: int, served: int, who: Requester) -> Answer:
        """The same once the port is passed."""
        found = self.find(line)
        fresh = found is None or found.prefetched
        if found:
            answer = self.use(found, served, who)
            if who.write and found.shared:
                answer = answer.but_not_before(self.upgrade(line, served, who))
                answer = answer._replace(shared=False)
        else:
            self.count["misses"] += who.demand
            leaves = max(served, min(self.mshrs))  # M5
            self.count["mshr_stalls"] += leaves > served
            answer = self.walk(line, leaves, who)
        self.train(line, served, who, fresh=fresh)
        return answer

    def upgrade(self, line: int, time: int, who: Requester) -> int:
        """Ask the directory for a shared line: past the port, and nothing here is used (C3)."""
        copy = self.peek(line)
        if copy:
            copy.shared = False
        return self.below.upgrade(line, time + self.hit, who)

    def write(self, line: int, time: int, who: Requester) -> None:
        """A line written back from above: it is marked dirty or takes a place (M7)."""
        served = self.port.take(time)
        found = self.find(line) or self.place(line, served, who)
        found.dirty = True

    # --- what the directory does -----------------------------------------------------------------

    def peek(self, line: int) -> Line | None:
        """The line if it is here or in flight, without using it."""
        return self.set_of(line).find(line)

    def remove(self, line: int) -> Line | None:
        """Take the line away; its place is free (C8). Its MSHR, if in flight, is held on (C4)."""
        found = self.peek(line)
        if found:
            self.set_of(line).remove(found)
        return found

    # --- parts of an access -----------------------------------------------------------------------

    def contents(self) -> list[Line]:
        """All lines, arrived or in flight."""
        return [entry for each in self.sets.values() for entry in each.lines()]

    def set_of(self, line: int) -> Set:
        """The set of a line."""
        return self.sets[line % self.set_count]

    def find(self, line: int) -> Line | None:
        """The line if it is here or in flight, which is a use of it (M1)."""
        found = self.peek(line)
        if found:
            self.set_of(line).use(found)
        return found

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
            return Answer(found.fill, found.origin, found.shared)
        return Answer(ready, self.name, found.shared)

    def place(self, line: int, time: int, who: Requester) -> Line:
        """Give a line its place; a dirty victim goes to the next level at once (M2, M7)."""
        way, victim = self.set_of(line).vacate()
        if victim and self.must_write(victim, time):
            self.count["writebacks"] += 1
            self.below.write(victim.number, time, who)
        entry = Line(line)
        self.set_of(line).fill(way, entry)
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
        entry.shared = answer.shared
        self.hold_mshr(entry.fill)
        return answer._replace(time=entry.fill)

    def must_write(self, victim: Line, time: int) -> bool:
        """Whether a line that leaves at ``time`` has to be written to the next level."""
        return victim.dirty

    def hold_mshr(self, until: int) -> None:
        """Hold the MSHR that is or becomes free first (M5)."""
        self.mshrs[self.mshrs.index(min(self.mshrs))] = until

    def train(self, line: int, time: int, who: Requester, *, fresh: bool) -> None:
        """Show the access to the prefetcher and fetch what it asks for (M8)."""
        for wanted in self.prefetcher.see(line, who.pc, fresh=fresh):
            if not 0 <= wanted < self.lines:
                continue
            if self.peek(wanted):
                continue
            if min(self.mshrs) > time:
                self.count["prefetch_dropped"] += 1
                continue
            self.count["prefetches"] += 1
            self.walk(wanted, time, who.ahead, ahead=True)


class FirstLevel(Cache):
    """L1: the core asks it, and waits for a free MSHR itself (L3, S4)."""

    def access(self, line: int, cycle: int, who: Requester) -> Answer | None:
        """One access of a load, a store or `prefetch`; None if it needs an MSHR and none is free.

        A hit is available ``hit_cycles`` later, to a store at once; a line in flight at its fill
        if that is later (L2, S4). A store's line is dirty from now on; a shared one must be
        upgraded, which takes an MSHR until the permission is there (C3).
        """
        found = self.peek(line)
        upgrade = found is not None and found.shared and who.write
        if (found is None or upgrade) and min(self.mshrs) > cycle:
            self.count["mshr_stalls"] += 1
            return None
        fresh = found is None or found.prefetched
        if found:
            self.find(line)
            answer = self.use(found, cycle, who, 0 if who.write else None)
            found.dirty = found.dirty or who.write
            if upgrade:
                permission = self.upgrade(line, cycle, who)
                self.hold_mshr(permission)
                answer = answer.but_not_before(permission)
        else:
            self.count["misses"] += 1
            answer = self.walk(line, cycle, who, dirty=who.write)
        self.train(line, cycle, who, fresh=fresh)
        return answer

    def next_fill(self) -> int:
        """Cycle of the next fill, all MSHRs being held: when one becomes free."""
        return min(self.mshrs)
