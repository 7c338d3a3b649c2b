"""Load unit, store buffer, caches, MSHRs and prefetchers in time (L1-L4, S1-S4, M1-M9).

Written from docs/timing.md alone, following its words as directly as it can; it shares no line
with the engine, so that the two can only agree about the rules. What happens in the core's other
stages (dispatch, retirement) comes from the log.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from sim.machine import Machine
from sim.machine.memory import Cache
from tests.contract.harness import ceil_div, cycle_fs, first_cycle_from
from tests.contract.model_dram import Dram, l3_cycle_fs

# --- caches ---------------------------------------------------------------------------------------


@dataclass
class Line:
    """A line in a cache: `fill` is when its data come, in the time of its level."""

    dirty: bool = False
    prefetched: bool = False
    fill: int = -1


@dataclass
class Stride:
    """What the stride prefetcher knows about a pc."""

    pc: int
    last: int
    stride: int = 0
    count: int = 0


class Level:
    """One level: its sets, MSHRs and prefetcher."""

    def __init__(self, config: Cache, memory_end: int) -> None:
        self.config = config
        self.last_line = (memory_end - 1) // config.line
        self.sets: list[OrderedDict[int, Line]] = [OrderedDict() for _ in range(config.sets)]
        self.fills: list[int] = []  # when each MSHR taken so far is free again
        self.port = 0
        self.passed: list[int] = []  # when the latest lines passed the port, of L3
        self.table: dict[int, Stride] = {}
        self.counts: Counter[str] = Counter()

    def find(self, line: int) -> Line | None:
        return self.sets[line % len(self.sets)].get(line)

    def use(self, line: int) -> Line:
        """Make a line that is there the most recently used."""
        lines = self.sets[line % len(self.sets)]
        lines.move_to_end(line)
        return lines[line]

    def place(self, line: int, entry: Line) -> int | None:
        """Put a line in; returns the dirty line that leaves for it, if any (M2, M7)."""
        lines = self.sets[line % len(self.sets)]
        victim = None
        if len(lines) == self.config.ways:
            old, left = lines.popitem(last=False)
            if left.dirty:
                self.counts["writebacks"] += 1
                victim = old
        lines[line] = entry
        return victim

    def free_from(self, t: int) -> int:
        """The first time from `t` on at which an MSHR is free (M5)."""
        self.fills = sorted(fill for fill in self.fills if fill > t)
        if len(self.fills) < self.config.mshrs:
            return t
        return self.fills[-self.config.mshrs]

    def demand_hit(self, entry: Line, t: int) -> None:
        """Count a hit, its merge, and what a prefetch did for it (M6, M9)."""
        self.counts["hits"] += 1
        self.counts["merges"] += entry.fill > t

    def first_use(self, entry: Line, t: int) -> bool:
        """Whether this is the first use of a prefetched line (M9)."""
        if not entry.prefetched:
            return False
        entry.prefetched = False
        self.counts["prefetch_useful"] += 1
        self.counts["prefetch_late"] += entry.fill > t
        return True

    def wanted(self, pc: int, line: int, fresh: bool) -> list[int]:
        """Lines the prefetcher asks for after an access (M8)."""
        config = self.config
        if config.prefetch == "none":
            return []
        step = int(fresh) if config.prefetch == "next-line" else self._stride(pc, line)
        if step == 0:
            return []
        far = range(config.prefetch_distance, config.prefetch_distance + config.prefetch_degree)
        lines = [line + i * step for i in far]
        return [each for each in lines if 0 <= each <= self.last_line]

    def _stride(self, pc: int, line: int) -> int:
        known = self.table.get(pc % 64)
        if known is None or known.pc != pc:
            self.table[pc % 64] = Stride(pc, line)
            return 0
        step = line - known.last
        if step == 0:
            return 0
        known.last = line
        if step != known.stride:
            if known.count:
                known.count -= 1
            else:
                known.stride = step
            return 0
        known.count = min(known.count + 1, 3)
        return step if known.count >= 2 else 0


class Memory:
    """L1 to DRAM of one core. Times are core cycles above L3 and femtoseconds from there on."""

    def __init__(self, m: Machine, memory_end: int) -> None:
        self.m = m
        self.l1 = Level(m.l1, memory_end)
        self.l2 = Level(m.l2, memory_end) if m.l2 else None
        self.l3 = Level(m.l3, memory_end) if m.l3 else None
        self.dram = Dram(m)

    def counters(self) -> dict[str, dict[str, int]]:
        """By level, under the engine's names."""
        names = ("hits", "misses", "merges", "writebacks", "prefetches", "prefetch_useful",
                 "prefetch_late", "prefetch_dropped", "mshr_stalls")  # fmt: skip
        found = {}
        for name, level in (("L1", self.l1), ("L2", self.l2), ("L3", self.l3)):
            if level is not None:
                found[name] = {key: level.counts[key] for key in names}
        return found

    # L1

    def access(self, line: int, t: int, pc: int, *, hit: int, dirty: bool) -> tuple[bool, int]:
        """An access of cycle `t`: (made, when its data are there) or (not made, when to retry)."""
        l1 = self.l1
        entry = l1.find(line)
        fresh = entry is None
        if entry is not None:
            l1.demand_hit(entry, t)
            fresh = l1.first_use(entry, t)
            l1.use(line).dirty |= dirty
            available = max(entry.fill, t + hit)
        else:
            free = l1.free_from(t)
            if free > t:
                l1.counts["mshr_stalls"] += 1
                return False, free
            l1.counts["misses"] += 1
            available = self._l1_fetch(line, t, pc, Line(dirty=dirty), demand=True)
        for wanted in l1.wanted(pc, line, fresh):
            if l1.find(wanted) is not None:
                continue
            if l1.free_from(t) > t:
                l1.counts["prefetch_dropped"] += 1
                continue
            l1.counts["prefetches"] += 1
            self._l1_fetch(wanted, t, pc, Line(prefetched=True), demand=False)
        return True, available

    def _l1_fetch(self, line: int, t: int, pc: int, entry: Line, *, demand: bool) -> int:
        victim = self.l1.place(line, entry)
        if victim is not None:
            self._l2_write(victim, t)
        arrived = t + self.m.l1.hit_cycles
        entry.fill = self._l2_read(line, arrived, pc, demand=demand) + self.m.l1.fill_cycles
        self.l1.fills.append(entry.fill)
        return entry.fill

    # L2

    def _l2_port(self, t: int) -> int:
        l2, width = self.l2, self.m.l2.bytes_per_cycle or self.m.l2.line
        position = max(t * width, l2.port)
        l2.port = position + self.m.l2.line
        return position // width

    def _l2_read(self, line: int, t: int, pc: int, *, demand: bool) -> int:
        l2 = self.l2
        if l2 is None:
            return first_cycle_from(self.m, self._l3_read(line, cycle_fs(self.m, t), demand=demand))
        t = self._l2_port(t)
        entry = l2.find(line)
        fresh = entry is None
        if entry is not None:
            if demand:
                l2.demand_hit(entry, t)
            fresh = l2.first_use(entry, t)
            l2.use(line)
            available = max(entry.fill, t + self.m.l2.hit_cycles)
        else:
            l2.counts["misses"] += demand
            free = l2.free_from(t)
            l2.counts["mshr_stalls"] += free > t
            available = self._l2_fetch(line, free, Line(), demand=demand)
        for wanted in l2.wanted(pc, line, fresh):
            if l2.find(wanted) is not None:
                continue
            if l2.free_from(t) > t:
                l2.counts["prefetch_dropped"] += 1
                continue
            l2.counts["prefetches"] += 1
            self._l2_fetch(wanted, t, Line(prefetched=True), demand=False)
        return available

    def _l2_fetch(self, line: int, t: int, entry: Line, *, demand: bool) -> int:
        self._l2_place(line, entry, t)
        asked = cycle_fs(self.m, t + self.m.l2.hit_cycles)
        end = self._l3_read(line, asked, demand=demand)
        entry.fill = first_cycle_from(self.m, end) + self.m.l2.fill_cycles
        self.l2.fills.append(entry.fill)
        return entry.fill

    def _l2_place(self, line: int, entry: Line, t: int) -> None:
        victim = self.l2.place(line, entry)
        if victim is not None:
            self._l3_write(victim, cycle_fs(self.m, t))

    def _l2_write(self, line: int, t: int) -> None:
        if self.l2 is None:
            self._l3_write(line, cycle_fs(self.m, t))
            return
        t = self._l2_port(t)
        if self.l2.find(line) is not None:
            self.l2.use(line).dirty = True
        else:
            self._l2_place(line, Line(dirty=True), t)

    # L3 and DRAM

    def _l3_port(self, t: int) -> int:
        l3, width = self.l3, self.m.l3.bytes_per_cycle or self.m.l3.line
        length = ceil_div(self.m.l3.line * l3_cycle_fs(self.m), width)
        if len(l3.passed) == 64:  # what was before is not remembered
            t = max(t, l3.passed[0] + length)
        after = [each + length for each in l3.passed if each + length > t]
        free = (at for at in [t, *after] if all(abs(at - each) >= length for each in l3.passed))
        start = min(free)
        l3.passed = sorted([*l3.passed, start])[-64:]
        return start

    def _l3_read(self, line: int, t: int, *, demand: bool) -> int:
        l3 = self.l3
        if l3 is None:
            return self.dram.read(line, t)
        t = self._l3_port(t)
        hit = self.m.l3.hit_cycles * l3_cycle_fs(self.m)
        entry = l3.find(line)
        if entry is not None:
            if demand:
                l3.demand_hit(entry, t)
            l3.use(line)
            return max(entry.fill, t + hit)
        l3.counts["misses"] += demand
        free = l3.free_from(t)
        l3.counts["mshr_stalls"] += free > t
        t = free
        entry = Line()
        self._l3_place(line, entry, t)
        entry.fill = self.dram.read(line, t + hit) + self.m.l3.fill_cycles * l3_cycle_fs(self.m)
        l3.fills.append(entry.fill)
        return entry.fill

    def _l3_place(self, line: int, entry: Line, t: int) -> None:
        victim = self.l3.place(line, entry)
        if victim is not None:
            self.dram.write(victim, t)

    def _l3_write(self, line: int, t: int) -> None:
        if self.l3 is None:
            self.dram.write(line, t)
            return
        t = self._l3_port(t)
        if self.l3.find(line) is not None:
            self.l3.use(line).dirty = True
        else:
            self._l3_place(line, Line(dirty=True), t)


# --- load unit and store buffer -------------------------------------------------------------------


@dataclass
class Access:
    """A load, store or prefetch with its byte ranges, one per row and line, and its cycles.

    `dispatch`, and a store's `complete` and `retire`, come from the log; the model works out a
    load's `issue` and `complete`.
    """

    pc: int
    kind: str
    ranges: list[tuple[int, int]]
    dispatch: int
    complete: int = -1
    retire: int = -1
    issue: int = -1


@dataclass
class Entry:
    """A store-queue entry: bytes [lo, hi)."""

    lo: int
    hi: int
    store: Access
    drained: int | None = None


@dataclass
class LoadStore:
    """The core's memory half: loads oldest ready first, stores drained in order."""

    memory: Memory
    accesses: list[Access]
    cycle: int
    last_drain: int = -1
    forwards: int = 0
    queue: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        m = self.memory.m
        self.line = m.l1.line
        self.unit = m.core.units[m.core.op("load", "f32").unit]
        self.free = 0  # next free slot of the load unit
        self.loads = [access for access in self.accesses if access.kind != "store"]
        self.current: Access | None = None
        self.position = 0  # of the current load: accesses made
        self.arrived = 0
        self.retry_load = self.retry_store = 0
        self.queue = [
            Entry(lo, hi, access)
            for access in self.accesses
            if access.kind == "store"
            for lo, hi in access.ranges
        ]
        self.order = {id(access): i for i, access in enumerate(self.accesses)}

    def run(self) -> None:
        """Until every load has completed and every store has asked for its lines."""
        while self.loads or self.current or any(entry.drained is None for entry in self.queue):
            self._drain()
            self._load()
            self.cycle += 1

    def _drain(self) -> None:
        """S4: the oldest retired entry that has not asked for its line."""
        entry = next((entry for entry in self.queue if entry.drained is None), None)
        if entry is None or entry.store.retire > self.cycle or self.retry_store > self.cycle:
            return
        made, when = self.memory.access(
            entry.lo // self.line, self.cycle, entry.store.pc, hit=0, dirty=True
        )
        if made:
            entry.drained = self.last_drain = max(when, self.last_drain + 1)
        else:
            self.retry_store = when

    def _load(self) -> None:
        pipes = self.unit.pipes
        while True:
            if self.current is None:
                start = max(self.free, self.cycle * pipes)
                ready = (load for load in self.loads if self._ready(load))
                self.current = next(ready, None) if start < (self.cycle + 1) * pipes else None
                if self.current is None:
                    return
                self.loads.remove(self.current)
                self.current.issue = self.cycle
                self.free, self.position, self.arrived = start, 0, 0
            if not self._go_on():
                return
            self.current = None

    def _go_on(self) -> bool:
        """Make the current load's accesses of this cycle; whether they were its last."""
        load, pipes = self.current, self.unit.pipes
        self.free = max(self.free, self.cycle * pipes)
        while self.position < len(load.ranges):
            if self.free >= (self.cycle + 1) * pipes or self.retry_load > self.cycle:
                return False
            lo, hi = load.ranges[self.position]
            if load.kind == "load" and self._youngest(load, lo, hi) is not None:
                self.forwards += 1
                when = self.cycle + self.memory.m.core.forward_cycles
            else:
                made, when = self.memory.access(
                    lo // self.line, self.cycle, load.pc,
                    hit=self.memory.m.l1.hit_cycles, dirty=False,
                )  # fmt: skip
                if load.kind == "prefetch":
                    when = self.cycle + 1
                elif not made:
                    self.retry_load = when
                    self.free = when * pipes
                    return False
            self.arrived = max(self.arrived, when)
            self.free += ceil_div(hi - lo, self.unit.bytes)
            self.position += 1
        load.complete = self.arrived
        return True

    def _youngest(self, load: Access, lo: int, hi: int) -> Entry | None:
        """The youngest entry of an older store, not drained, that touches bytes [lo, hi)."""
        found = None
        for entry in self.queue:
            if self.order[id(entry.store)] > self.order[id(load)]:
                break
            if entry.lo < hi and lo < entry.hi:
                waiting = entry.drained is None or entry.drained > self.cycle
                found = entry if waiting else found
        return found

    def _ready(self, load: Access) -> bool:
        """I1, S2, S3."""
        if load.dispatch >= self.cycle:
            return False
        if load.kind == "prefetch":
            return True
        for lo, hi in load.ranges:
            entry = self._youngest(load, lo, hi)
            if entry is None:
                continue
            if entry.lo > lo or entry.hi < hi or entry.store.complete > self.cycle:
                return False
        return True
