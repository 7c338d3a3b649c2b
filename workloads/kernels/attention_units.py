"""The loops around both attention kernels: jobs, key/value heads, and units of query rows.

A **unit** is the tile of query rows that meets one key/value head at once. For a prompt it is the
rows of a job in one query head. A job of a single row has nothing to fill a tile with but its
heads: all query heads that share a key/value head are stacked as the rows of one tile, so keys
and values are loaded once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from isa.builder import ZERO, X
from workloads.kernels.kit import Kit
from workloads.kernels.kv_append import CacheShape
from workloads.kernels.space import (
    JOB_FIRST_KEY,
    JOB_HEAD,
    JOB_KEYS_END,
    JOB_KV_HEAD,
    JOB_POSITION,
    JOB_RECORD,
    JOB_ROWS,
    JOB_SLOT,
    DealtJobs,
    RowSpace,
    each_dealt_job,
    each_job,
    job_row_address,
)
from workloads.kernels.tiling import Tiling


@dataclass(frozen=True)
class AttentionShape:
    """Query heads over a cache; `head_dim` is the model's, without padding.

    With `dealt` a core does the jobs dealt to it; without, all jobs of the space, for every head.
    """

    space: RowSpace
    heads: int
    head_dim: int
    cache: CacheShape
    dealt: DealtJobs | None = None

    @property
    def group(self) -> int:
        """Query heads per key/value head."""
        return self.heads // self.cache.kv_heads

    @property
    def members(self) -> int:
        """Query heads a job visits per key/value head."""
        return 1 if self.dealt and not self.space.single_row_jobs else self.group

    def head_bytes(self, t: Tiling) -> int:
        """Bytes of one query head of a row block."""
        return self.cache.head_cols // t.k_cols * self.space.block_rows * t.row_bytes

    @property
    def key_parts(self) -> int:
        """Into how many parts the keys of a job are cut; 0 where they are not."""
        return self.dealt.key_parts if self.dealt else 0

    def record_bytes(self, t: Tiling) -> int:
        """Bytes of a unit's partial result: a tile of softmax state, and the sums."""
        return (1 + self.cache.head_cols // t.n_cols) * t.rows * t.row_bytes

    def stack(self, t: Tiling) -> int:
        """Query heads in one unit."""
        return min(self.members, t.rows) if self.space.single_row_jobs else 1

    def units(self, t: Tiling) -> int:
        """Units per job and key/value head."""
        return -(-self.members // self.stack(t))


@dataclass(frozen=True)
class Unit:
    """Registers of the unit a loop is at; `rows` query rows of `stride` bytes each at `query`.

    `keys` and `values` are the addresses of the key/value head in the caches, `limit` the number
    of positions to attend to, `position` that of the first query row. Where keys are cut, `limit`
    is the end of the part, `position` its begin, and `record` the address of the partial result.
    """

    rows: X
    stride: X
    query: X
    keys: X
    values: X
    limit: X
    position: X
    record: X


@contextmanager
def each_unit(kit: Kit, shape: AttentionShape, query: X, keys: X, values: X) -> Iterator[Unit]:
    """Repeat the body for every unit; `query`, `keys`, `values` are addresses of the tensors.

    `values` is overwritten.
    """
    b, t = kit.b, kit.tiling
    stacked = shape.space.single_row_jobs
    names = ("query_row", "key_head", "value_head", "limit", "position", "rows", "heads", "left")
    b.sub(values, values, keys)
    jobs = each_dealt_job(kit, shape.dealt) if shape.dealt else each_job(kit, shape.space)
    with jobs as job, b.scratch(*names) as scalars:
        query_row, key_head, value_head, limit, position, rows, heads, left = scalars
        row_block_bytes = shape.heads * shape.head_bytes(t)
        job_row_address(kit, job, query_row, query, row_block_bytes)
        b.ld(key_head, JOB_SLOT, job)
        b.li(value_head, shape.cache.slot_bytes(t))
        b.mul(key_head, key_head, value_head)
        b.add(key_head, key_head, keys)
        b.ld(position, JOB_POSITION, job)
        b.ld(rows, JOB_ROWS, job)
        b.add(limit, position, rows)
        if shape.dealt:
            for to, word, head_bytes in (
                (query_row, JOB_HEAD, shape.head_bytes(t)),
                (key_head, JOB_KV_HEAD, shape.cache.head_bytes(t)),
            ):
                b.ld(left, word, job)
                b.li(heads, head_bytes)
                b.mul(left, left, heads)
                b.add(to, to, left)
            if shape.key_parts:
                b.ld(position, JOB_FIRST_KEY, job)
                b.ld(limit, JOB_KEYS_END, job)
                b.ld(left, JOB_RECORD, job)
                b.li(heads, shape.record_bytes(t))
                b.mul(heads, left, heads)
                b.li(left, kit.addresses["records"])
                b.add(heads, heads, left)
        else:
            b.li(heads, shape.cache.kv_heads)
        with b.scratch("stride") as (stride,):
            b.li(stride, shape.head_bytes(t) if stacked else t.row_bytes)
            head_top = b.new_label("kv_head")
            b.place(head_top)
            b.add(value_head, key_head, values)
            unit = Unit(rows, stride, query_row, key_head, value_head, limit, position, heads)
            with _members(kit, shape, rows, left):
                yield unit
                b.addi(query_row, query_row, shape.stack(t) * shape.head_bytes(t))
                kit.advance(heads, shape.key_parts * shape.record_bytes(t))
            if not shape.dealt:
                overshoot = shape.units(t) * shape.stack(t) - shape.group
                kit.advance(query_row, -overshoot * shape.head_bytes(t))
                b.addi(key_head, key_head, shape.cache.head_bytes(t))
                b.addi(heads, heads, -1)
                b.bne(heads, ZERO, head_top)


@contextmanager
def _members(kit: Kit, shape: AttentionShape, rows: X, left: X) -> Iterator[None]:
    """The loop over the units of one key/value head; sets `rows` where heads are stacked."""
    b, t = kit.b, kit.tiling
    stacked = shape.space.single_row_jobs
    units = shape.units(t)
    if units == 1:
        if stacked:
            b.li(rows, shape.members)
        yield
        return
    b.li(left, shape.members)
    top = b.new_label("unit")
    b.place(top)
    if stacked:
        b.li(rows, shape.stack(t))
        b.min(rows, rows, left)
    yield
    b.addi(left, left, -shape.stack(t))
    b.blt(ZERO, left, top)
