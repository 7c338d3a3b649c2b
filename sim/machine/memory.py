"""Caches, the way between cores, nodes and DRAM in the machine description."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sim.machine.section import (
    Bytes,
    Count,
    Cycles,
    GigabytesPerSecond,
    Megahertz,
    Nanoseconds,
    Section,
    power_of_two,
)
from sim.machine.units import format_size

MAX_WRITE_BATCH = 64
MAX_CORES = 60  # a directory entry is one word: a bit per core and the owner's mark
MAX_NODES = 8
MAX_MSHRS = 1024
MAX_TREE_WAYS = 32  # the bits of a set's tree are one word
MAX_SEED = 2**31 - 2  # the greatest remainder that the generator of rule M1 can have


class Cache(Section):
    """One cache level. ``bytes_per_cycle`` is towards the level above it."""

    size: Bytes
    ways: Count
    line: Bytes = 64
    hit_cycles: Cycles
    fill_cycles: Cycles = 0
    mshrs: Annotated[int, Field(ge=1, le=MAX_MSHRS)]
    bytes_per_cycle: Count | None = None
    replacement: Literal["lru", "plru", "srrip", "random"] = "lru"
    replacement_seed: Annotated[int, Field(ge=1, le=MAX_SEED)] = 1
    prefetch: Literal["none", "next-line", "stride"] = "none"
    prefetch_degree: Annotated[int, Field(ge=1, le=64)] = 1
    prefetch_distance: Annotated[int, Field(ge=1, le=1024)] = 1

    @property
    def sets(self) -> int:
        """Number of sets."""
        return self.size // (self.ways * self.line)

    @model_validator(mode="after")
    def _geometry(self) -> Self:
        if not power_of_two(self.line) or not 16 <= self.line <= 64:
            raise ValueError(f"line: must be 16, 32 or 64 bytes, not {self.line}")
        step = self.ways * self.line
        if self.size < step or self.size % step:
            low = self.size // step * step
            near = [format_size(size) for size in (low, low + step) if size]
            raise ValueError(
                f"impossible geometry: {format_size(self.size)} in {self.ways} ways of "
                f"{self.line}-byte lines is {self.size / step:.2f} sets; size must be a multiple "
                f"of {step} bytes (nearest: {' or '.join(near)}), or change ways"
            )
        if self.replacement == "plru" and not (
            power_of_two(self.ways) and self.ways <= MAX_TREE_WAYS
        ):
            raise ValueError(
                f"replacement: 'plru' halves the ways again and again, so {self.ways} ways are "
                f"not possible; make ways a power of two, {MAX_TREE_WAYS} at most"
            )
        return self


class SharedCache(Cache):
    """The last level, shared by all cores; with a ``clock``, its cycles are of that clock.

    Prefetchers belong to a core's own levels.
    """

    clock: Megahertz | None = None
    prefetch: Literal["none"] = "none"
    slices: Annotated[int, Field(ge=1, le=MAX_CORES)] = 1
    inclusive: bool = False

    @model_validator(mode="after")
    def _sliced(self) -> Self:
        if self.sets % self.slices:
            raise ValueError(
                f"slices: {self.sets} sets cannot be dealt to {self.slices} slices evenly; "
                "change size, ways or slices"
            )
        return self


class Interconnect(Section):
    """The way between cores, L3 slices and each other, in cycles of L3's clock (rules C2, C4)."""

    topology: Literal["crossbar", "ring", "mesh"] = "crossbar"
    hop_cycles: Cycles = 0
    snoop_cycles: Cycles = 20

    def hops(self, a: int, b: int, stops: int) -> int:
        """Hops between two of ``stops`` stops."""
        if self.topology == "crossbar":
            return 1
        if self.topology == "ring":
            return min(abs(a - b), stops - abs(a - b))
        columns = math.isqrt(stops - 1) + 1
        return abs(a % columns - b % columns) + abs(a // columns - b // columns)


BLOCKS = "block"  # how memory may be dealt to nodes


class Numa(Section):
    """Nodes with cores, L3 slices and memory of their own, and the links between them (rule C9).

    ``link`` is the rate from one node to another; ``remote_ns`` is added to a message's way.
    """

    nodes: Annotated[int, Field(ge=1, le=MAX_NODES)]
    remote_ns: Nanoseconds
    link: GigabytesPerSecond
    interleave: Literal["page", "block"] = "page"


class Dram(Section):
    """Main memory of each node: channels of banks of rows, timings in ns, pin rate per channel."""

    channels: Annotated[int, Field(ge=1, le=64)]
    banks: Annotated[int, Field(ge=1, le=1024)]
    row_bytes: Bytes
    gigabytes_per_second: GigabytesPerSecond
    controller_ns: Nanoseconds
    trcd_ns: Nanoseconds
    tcl_ns: Nanoseconds
    trp_ns: Nanoseconds
    tras_ns: Nanoseconds
    twr_ns: Nanoseconds
    trtp_ns: Nanoseconds
    twtr_ns: Nanoseconds
    trtw_ns: Nanoseconds
    trefi_ns: Nanoseconds
    trfc_ns: Nanoseconds
    write_batch: Annotated[int, Field(ge=1, le=MAX_WRITE_BATCH)] = 16

    @model_validator(mode="after")
    def _refresh(self) -> Self:
        if self.trefi_ns and self.trfc_ns >= self.trefi_ns:
            raise ValueError(
                f"trfc_ns: a refresh of {self.trfc_ns:g} ns every trefi_ns = {self.trefi_ns:g} ns "
                "leaves no time for accesses; trefi_ns = 0 switches refresh off"
            )
        return self
