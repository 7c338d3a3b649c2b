"""Write the keys and values of the step's rows into the caches.

Both caches of a layer are [sequence][kv head][position block][storage block][n_cols positions x
row_bytes]: a key tile (n_cols positions, one operand's depth of a head) is contiguous, and so are
the positions a transposing load of values walks.
"""

from __future__ import annotations

from dataclasses import dataclass

from isa.builder import ZERO, X
from workloads.kernels.kit import Kernel, Kit
from workloads.kernels.space import (
    JOB_POSITION,
    JOB_ROWS,
    JOB_SLOT,
    RowSpace,
    each_job,
    job_row_address,
)
from workloads.kernels.tiling import Tiling


@dataclass(frozen=True)
class CacheShape:
    """One layer's key or value cache; `head_cols` is a whole number of storage blocks."""

    kv_heads: int
    head_cols: int
    position_blocks: int

    def block_bytes(self, t: Tiling) -> int:
        """Bytes of one block of positions of one head."""
        return self.head_cols // t.k_cols * t.weight_tile_bytes

    def head_bytes(self, t: Tiling) -> int:
        """Bytes of one head of one sequence."""
        return self.position_blocks * self.block_bytes(t)

    def slot_bytes(self, t: Tiling) -> int:
        """Bytes of one sequence."""
        return self.kv_heads * self.head_bytes(t)


@dataclass(frozen=True)
class KvAppend(Kernel):
    """Copy rows of keys and values to the positions their jobs name.

    A run of prompt rows crosses from one block of positions to the next, so it is copied in parts
    that do not; a single row is copied with its storage blocks as the rows of a tile. `heads` says
    how many heads to copy where it is not all.
    """

    space: RowSpace
    cache: CacheShape
    heads: int | None = None

    @property
    def name(self) -> str:
        name = f"{self.space.name}_kv_append"
        return f"{name}_{self.heads}" if self.heads else name

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("keys", "values", "key_cache", "value_cache")

    def emit(self, kit: Kit, *arguments: X) -> None:
        b, t = kit.b, kit.tiling
        keys, values, key_cache, value_cache = arguments
        blocks = self.cache.kv_heads * self.cache.head_cols // t.k_cols
        row_block_bytes = blocks * self.space.block_rows * t.row_bytes
        # Values are reached through their distance from the keys.
        b.sub(values, values, keys)
        b.sub(value_cache, value_cache, key_cache)
        names = ("source", "slot", "position", "left", "part", "at", "to")
        with each_job(kit, self.space) as job, b.scratch(*names) as scalars:
            source, slot, position, left, part, at, to = scalars
            job_row_address(kit, job, source, keys, row_block_bytes)
            b.ld(slot, JOB_SLOT, job)
            b.li(part, self.cache.slot_bytes(t))
            b.mul(slot, slot, part)
            b.add(slot, slot, key_cache)
            b.ld(position, JOB_POSITION, job)
            b.ld(left, JOB_ROWS, job)
            top = b.new_label("part")
            b.place(top)
            self._destination(kit, slot, position, left, part, to)
            kit.move(at, source)
            self._copy_heads(kit, at, to, part)
            b.add(at, source, values)
            b.add(to, to, value_cache)
            self._copy_heads(kit, at, to, part)
            if not self.space.single_row_jobs:
                b.add(position, position, part)
                b.sub(left, left, part)
                b.slli(part, part, t.row_shift)
                b.add(source, source, part)
                b.bne(left, ZERO, top)

    def _destination(self, kit: Kit, slot: X, position: X, left: X, part: X, to: X) -> None:
        """Set `to` to where `position` lies in the key cache, `part` to the rows to copy there."""
        b, t = kit.b, kit.tiling
        shift = t.n_cols.bit_length() - 1
        with b.scratch("inside", "size") as (inside, size):
            b.srli(to, position, shift)
            b.slli(inside, to, shift)
            b.sub(inside, position, inside)
            b.sub(part, kit.n_cols, inside)
            b.min(part, part, left)
            b.li(size, self.cache.block_bytes(t))
            b.mul(to, to, size)
            b.slli(inside, inside, t.row_shift)
            b.add(to, to, inside)
            b.add(to, to, slot)

    def _copy_heads(self, kit: Kit, at: X, to: X, part: X) -> None:
        """Copy `part` rows of every head from `at` to `to`; leaves `to` as it was."""
        b, t = kit.b, kit.tiling
        heads, head_bytes = self.heads or self.cache.kv_heads, self.cache.head_bytes(t)
        with b.scratch("head") as (head,):
            b.li(head, heads)
            top = b.new_label("head")
            b.place(top)
            moved = self._copy_head(kit, at, to, part)
            b.addi(to, to, head_bytes - moved)
            b.addi(head, head, -1)
            b.bne(head, ZERO, top)
            b.addi(to, to, -heads * head_bytes)

    def _copy_head(self, kit: Kit, at: X, to: X, part: X) -> int:
        """Copy one head; returns by how much `to` was moved."""
        b, t = kit.b, kit.tiling
        blocks = self.cache.head_cols // t.k_cols
        half = t.row_bytes // t.halves
        from_step, to_step = self.space.block_rows * t.row_bytes, t.weight_tile_bytes
        # Rows of a tile: storage blocks of the single row, or rows of the part.
        heights = [1] * blocks
        if self.space.single_row_jobs:
            heights = [min(t.rows, blocks - done) for done in range(0, blocks, t.rows)]
        with (
            b.scratch("lines", "from_stride", "to_stride") as (lines, from_stride, to_stride),
            b.scratch_tiles("x") as (x,),
        ):
            if self.space.single_row_jobs:
                b.li(from_stride, from_step)
                b.li(to_stride, to_step)
            for height in heights:
                if self.space.single_row_jobs:
                    b.li(lines, height)
                for index in range(t.halves):
                    if self.space.single_row_jobs:
                        kit.load(x, at, from_stride, lines, kit.f32_cols)
                        kit.store(x, to, to_stride)
                    else:
                        kit.load(x, at, kit.row_bytes, part, kit.f32_cols)
                        kit.store(x, to, kit.row_bytes)
                    back = (t.halves - 1) * half if index == t.halves - 1 else 0
                    last = index == t.halves - 1
                    kit.advance(at, height * from_step - back if last else half)
                    kit.advance(to, height * to_step - back if last else half)
        return blocks * to_step
