"""What the caches hold, from the order of accesses alone (M1, M2, M7); no time.

Written from docs/timing.md alone, following its words as directly as it can; it shares no line
with the engine, so that the two can only agree about the rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.machine import Machine
from sim.machine.memory import Cache

# --- cache contents (M1, M2, M7) ------------------------------------------------------------------


@dataclass
class Way:
    """A way of a set: its line, and when any line was last used here (0: never)."""

    line: int | None = None
    dirty: bool = False
    used: int = 0
    age: int = 0


class Level:
    """Contents of one level, and who leaves a full set of it."""

    def __init__(self, config: Cache) -> None:
        self.config = config
        self.sets = [[Way() for _ in range(config.ways)] for _ in range(config.sets)]
        self.time = self.draws = 0
        self.accesses = self.hits = self.misses = self.writebacks = 0

    def use(self, line: int, dirty: bool) -> bool:
        """Use a line, if it is there."""
        for way in self.sets[line % len(self.sets)]:
            if way.line == line:
                way.dirty |= dirty
                way.age = 0
                self._touch(way)
                return True
        return False

    def place(self, line: int, dirty: bool) -> int | None:
        """Put a line in; returns the dirty line that has to be written back for it, if any."""
        ways = self.sets[line % len(self.sets)]
        free = [way for way in ways if way.line is None]
        way = free[0] if free else getattr(self, f"_{self.config.replacement}")(ways)
        victim = way.line if way.dirty else None
        self.writebacks += victim is not None
        way.line, way.dirty, way.age = line, dirty, 2
        self._touch(way)
        return victim

    def _touch(self, way: Way) -> None:
        self.time += 1
        way.used = self.time

    def _lru(self, ways: list[Way]) -> Way:
        return min(ways, key=lambda way: way.used)

    def _plru(self, ways: list[Way]) -> Way:
        """Of two halves the one whose last use lies further back, down to a single way."""
        if len(ways) == 1:
            return ways[0]
        halves = ways[: len(ways) // 2], ways[len(ways) // 2 :]
        return self._plru(min(halves, key=lambda half: max(way.used for way in half)))

    def _srrip(self, ways: list[Way]) -> Way:
        oldest = max(way.age for way in ways)
        for way in ways:
            way.age += 3 - oldest
        return next(way for way in ways if way.age == 3)

    def _random(self, ways: list[Way]) -> Way:
        self.draws += 1
        prime = 2**31 - 1
        drawn = pow(48271, self.draws, prime) * self.config.replacement_seed % prime
        return ways[drawn % len(ways)]


class Hierarchy:
    """Contents of all levels and what reaches DRAM, from the order of accesses alone."""

    def __init__(self, m: Machine) -> None:
        self.levels = [Level(level) for level in m.levels]
        self.dram_reads: list[int] = []
        self.dram_writes: list[int] = []

    def access(self, line: int, write: bool) -> int:
        """A load or store of the core; returns the number of levels that missed."""
        for depth, level in enumerate(self.levels):
            dirty = write and depth == 0
            level.accesses += 1
            if level.use(line, dirty):
                level.hits += 1
                return depth
            level.misses += 1
            self._write_back(depth + 1, level.place(line, dirty))
        self.dram_reads.append(line)
        return len(self.levels)

    def _write_back(self, depth: int, line: int | None) -> None:
        if line is None:
            return
        if depth == len(self.levels):
            self.dram_writes.append(line)
        elif not self.levels[depth].use(line, dirty=True):
            self._write_back(depth + 1, self.levels[depth].place(line, dirty=True))

    def counters(self) -> dict[str, dict[str, int]]:
        """By level, under the engine's names."""
        return {
            f"L{i}": {
                "accesses": level.accesses,
                "hits": level.hits,
                "misses": level.misses,
                "writebacks": level.writebacks,
            }
            for i, level in enumerate(self.levels, start=1)
        }
