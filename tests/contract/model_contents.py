"""What the caches hold, from the order of accesses alone (M1, M2, M7); no time.

Written from docs/timing.md alone, following its words as directly as it can; it shares no line
with the engine, so that the two can only agree about the rules.
"""

from __future__ import annotations

from collections import OrderedDict

from sim.machine import Machine

# --- cache contents (M1, M2, M7) ------------------------------------------------------------------


class LruLevel:
    """Contents of one level: per set the lines from least to most recently used, dirty or not."""

    def __init__(self, sets: int, ways: int) -> None:
        self.ways = ways
        self.sets: list[OrderedDict[int, bool]] = [OrderedDict() for _ in range(sets)]
        self.accesses = self.hits = self.misses = self.writebacks = 0

    def use(self, line: int, dirty: bool) -> bool:
        """Make a line the most recently used, if it is there."""
        lines = self.sets[line % len(self.sets)]
        if line not in lines:
            return False
        lines[line] = lines[line] or dirty
        lines.move_to_end(line)
        return True

    def place(self, line: int, dirty: bool) -> int | None:
        """Put a line in; returns the dirty line that has to be written back for it, if any."""
        lines = self.sets[line % len(self.sets)]
        victim = None
        if len(lines) == self.ways:
            old, was_dirty = lines.popitem(last=False)
            if was_dirty:
                self.writebacks += 1
                victim = old
        lines[line] = dirty
        return victim


class Hierarchy:
    """Contents of all levels and what reaches DRAM, from the order of accesses alone."""

    def __init__(self, m: Machine) -> None:
        self.levels = [LruLevel(level.sets, level.ways) for level in m.levels]
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
