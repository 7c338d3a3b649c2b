"""Hardware prefetchers (M8): which lines an access makes them ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sim.machine.memory import Cache as CacheConfig

STRIDE_ENTRIES = 64
COUNTER_MAX = 3
CONFIDENT = 2


class Prefetcher(Protocol):
    """Sees the accesses of a level and names lines to fetch.

    ``fresh``: a miss, or the first use of a prefetched line.
    """

    def see(self, line: int, pc: int, *, fresh: bool) -> list[int]:
        """Lines to ask for after this access."""


class NoPrefetcher:
    """Asks for nothing."""

    def see(self, line: int, pc: int, *, fresh: bool) -> list[int]:
        """Nothing."""
        return []


class NextLine:
    """After a miss or the first use of a prefetched line: the lines that follow."""

    def __init__(self, config: CacheConfig) -> None:
        first = config.prefetch_distance
        self.steps = range(first, first + config.prefetch_degree)

    def see(self, line: int, pc: int, *, fresh: bool) -> list[int]:
        """``degree`` lines from ``distance`` on."""
        return [line + step for step in self.steps] if fresh else []


@dataclass(slots=True)
class Stream:
    """What the stride prefetcher knows of a pc."""

    pc: int
    line: int
    stride: int = 0
    counter: int = 0


class Stride:
    """Per pc the last line, a stride and how sure it is; 64 entries, direct mapped."""

    def __init__(self, config: CacheConfig) -> None:
        first = config.prefetch_distance
        self.steps = range(first, first + config.prefetch_degree)
        self.table: dict[int, Stream] = {}

    def see(self, line: int, pc: int, *, fresh: bool) -> list[int]:
        """Learn from the access; ``degree`` strides from ``distance`` on once sure."""
        index = pc % STRIDE_ENTRIES
        stream = self.table.get(index)
        if stream is None or stream.pc != pc:
            self.table[index] = Stream(pc, line)
            return []
        difference = line - stream.line
        if difference == 0:
            return []
        stream.line = line
        if difference != stream.stride:
            if stream.counter:
                stream.counter -= 1
            else:
                stream.stride = difference
            return []
        stream.counter = min(stream.counter + 1, COUNTER_MAX)
        if stream.counter < CONFIDENT:
            return []
        return [line + stream.stride * step for step in self.steps]


def prefetcher(config: CacheConfig) -> Prefetcher:
    """The prefetcher a level is described with."""
    if config.prefetch == "next-line":
        return NextLine(config)
    return Stride(config) if config.prefetch == "stride" else NoPrefetcher()
