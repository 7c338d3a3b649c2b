"""Attention with online softmax: the score matrix never leaves the tile registers.

For every block of `n_cols` positions: scores of the unit's rows, one step of online softmax, the
accumulators rescaled, weights times values added. Source: T. Dao et al., FlashAttention,
arXiv:2205.14135, 2022, algorithm 1 without its outer blocking: query rows stay, keys pass by.
"""

from __future__ import annotations

from dataclasses import dataclass

from isa.builder import ZERO, Builder, T, X
from workloads.kernels.attention_units import AttentionShape, Unit, each_unit
from workloads.kernels.kit import Kernel, Kit

# Tiles besides the accumulators: softmax state, scores, and the two operands.
OTHER_TILES = 4


def score_tile(
    kit: Kit, shape: AttentionShape, unit: Unit, keys: X, count: X, scores: T, a: T, b_: T
) -> None:
    """Scaled scores of the unit against `count` positions; moves `keys` to the next block."""
    b, t = kit.b, kit.tiling
    blocks = shape.cache.head_cols // t.k_cols
    b.fill_f32(scores, ZERO, unit.rows, count)
    with b.scratch("at") as (at,):
        kit.move(at, unit.query)
        for block in range(blocks):
            kit.load_operand(a, at, unit.stride, unit.rows, kit.k_cols)
            if block < blocks - 1:
                b.addi(at, at, shape.space.block_rows * t.row_bytes)
            kit.load_operand(b_, keys, kit.row_bytes, count, kit.k_cols)
            b.addi(keys, keys, t.weight_tile_bytes)
            kit.matmul(scores, a, b_)
        b.li(at, Builder.f32(shape.head_dim**-0.5))
        b.fmul_const(scores, scores, at)


def value_offsets(kit: Kit, shape: AttentionShape) -> list[int]:
    """Offset of each transposed value tile (`n_cols` elements of the head) in its block."""
    t = kit.tiling
    per_block = t.k_cols // t.n_cols
    tiles = shape.cache.head_cols // t.n_cols
    return [
        index // per_block * t.weight_tile_bytes + index % per_block * t.n_cols * t.element_bytes
        for index in range(tiles)
    ]


def result_offsets(kit: Kit, shape: AttentionShape) -> list[int]:
    """Offset of each result tile in its head, in a row block of the result."""
    t = kit.tiling
    per_block = t.k_cols // t.n_cols
    block_bytes = shape.space.block_rows * t.row_bytes
    tiles = shape.cache.head_cols // t.n_cols
    return [
        index // per_block * block_bytes + index % per_block * t.n_cols * t.element_bytes
        for index in range(tiles)
    ]


@dataclass(frozen=True)
class OnlineAttention(Kernel):
    """softmax(q k^T / sqrt(head_dim), causal) v over the cache, per head.

    Where keys are cut (`AttentionShape.key_parts`) the result is partial, and in a record.
    Where the accumulators of a head do not fit the tile registers they live in the scratch tensor
    `accumulators` and pass through one register, tile by tile.
    """

    shape: AttentionShape

    @property
    def name(self) -> str:
        return f"{self.shape.space.name}_attention_online"

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("query", "keys", "values", "result")

    def emit(self, kit: Kit, *arguments: X) -> None:
        query, keys, values, result = arguments
        b, shape = kit.b, self.shape
        offsets = value_offsets(kit, shape)
        resident = len(offsets) + OTHER_TILES <= kit.tiling.tiles
        if not shape.key_parts:
            b.sub(result, result, query)
        state, scores, first, second = b.tiles("attention", OTHER_TILES)
        sums = b.tiles("sum", len(offsets) if resident else 1)
        names = ("keys_at", "values_at", "seen", "count", "number", "three")
        with each_unit(kit, shape, query, keys, values) as unit, b.scratch(*names) as scalars:
            keys_at, values_at, seen, count, number, three = scalars
            b.li(number, kit.addresses["softmax_start"])
            b.li(three, 3)
            b.bcast_f32(state, number, unit.rows, three)
            self._clear(kit, unit, sums, resident, len(offsets), number)
            done = b.new_label("positions_end")
            self._go_to_keys(kit, unit, keys_at, values_at, seen, number)
            if shape.key_parts:
                b.bge(seen, unit.limit, done)
            top = b.new_label("positions")
            b.place(top)
            b.sub(count, unit.limit, seen)
            b.min(count, count, kit.n_cols)
            score_tile(kit, shape, unit, keys_at, count, scores, first, second)
            if not shape.space.single_row_jobs:
                b.sub(number, unit.position, seen)
                b.mask(scores, scores, number)
            b.softmax(scores, scores, state)
            weights = scores
            if kit.bf16:
                b.pack_bf16(first, scores)
                weights = first
            if resident:
                for offset, following, total in zip(
                    offsets, [*offsets[1:], shape.cache.block_bytes(kit.tiling)], sums, strict=True
                ):
                    b.fmul_col(total, total, state, 2)
                    kit.loadt_operand(second, values_at, kit.row_bytes, kit.n_cols, count)
                    b.addi(values_at, values_at, following - offset)
                    kit.matmul(total, weights, second)
            else:
                self._accumulate(kit, unit, values_at, count, number, state, weights, second, sums)
            b.addi(seen, seen, kit.tiling.n_cols)
            b.blt(seen, unit.limit, top)
            b.place(done)
            if shape.key_parts:
                self._store_record(kit, unit, state, sums, resident, number)
            else:
                b.recip_safe(state, state)
                b.add(keys_at, unit.query, result)
                self._store(kit, unit, keys_at, state, sums, resident, number)
        b.free(state, scores, first, second, *sums)

    def _go_to_keys(
        self, kit: Kit, unit: Unit, keys_at: X, values_at: X, seen: X, number: X
    ) -> None:
        """Set the pointers to the first block of keys, and `seen` to the positions before it."""
        b, t = kit.b, kit.tiling
        if not self.shape.key_parts:
            kit.move(keys_at, unit.keys)
            kit.move(values_at, unit.values)
            b.li(seen, 0)
            return
        b.srli(seen, unit.position, t.n_cols.bit_length() - 1)
        b.li(number, self.shape.cache.block_bytes(t))
        b.mul(number, seen, number)
        b.add(keys_at, unit.keys, number)
        b.add(values_at, unit.values, number)
        kit.move(seen, unit.position)

    def _store_record(
        self, kit: Kit, unit: Unit, state: T, sums: list[T], resident: bool, to: X
    ) -> None:
        """Store the state and the accumulators as they are, in f32; uses up `to`."""
        b, t = kit.b, kit.tiling
        tile_bytes = t.rows * t.row_bytes
        b.store_f32(state, unit.record, kit.row_bytes)
        for index in range(len(value_offsets(kit, self.shape))):
            total = sums[index if resident else 0]
            if not resident:
                b.li(to, kit.addresses["accumulators"] + index * tile_bytes)
                b.load_f32(total, to, kit.row_bytes, unit.rows, kit.n_cols)
            b.addi(to, unit.record, (index + 1) * tile_bytes)
            b.store_f32(total, to, kit.row_bytes)

    @staticmethod
    def _clear(kit: Kit, unit: Unit, sums: list[T], resident: bool, tiles: int, number: X) -> None:
        """Start the accumulators from 0."""
        b = kit.b
        for total in sums:
            b.fill_f32(total, ZERO, unit.rows, kit.n_cols)
        if not resident:
            b.li(number, kit.addresses["accumulators"])
            with b.scratch("left") as (left,), b.loop(left, 0, tiles):
                b.store_f32(sums[0], number, kit.row_bytes)
                b.addi(number, number, kit.tiling.rows * kit.tiling.row_bytes)

    def _accumulate(
        self,
        kit: Kit,
        unit: Unit,
        values_at: X,
        count: X,
        number: X,
        state: T,
        weights: T,
        second: T,
        sums: list[T],
    ) -> None:
        """Rescale the accumulators in memory and add weights times values, tile by tile."""
        b, t, shape = kit.b, kit.tiling, self.shape
        total = sums[0]
        b.li(number, kit.addresses["accumulators"])
        offsets = value_offsets(kit, shape)
        for offset, following in zip(
            offsets, [*offsets[1:], shape.cache.block_bytes(t)], strict=True
        ):
            b.load_f32(total, number, kit.row_bytes, unit.rows, kit.n_cols)
            b.fmul_col(total, total, state, 2)
            kit.loadt_operand(second, values_at, kit.row_bytes, kit.n_cols, count)
            b.addi(values_at, values_at, following - offset)
            kit.matmul(total, weights, second)
            b.store_f32(total, number, kit.row_bytes)
            b.addi(number, number, t.rows * t.row_bytes)

    def _store(
        self, kit: Kit, unit: Unit, to: X, state: T, sums: list[T], resident: bool, number: X
    ) -> None:
        """Divide the accumulators by the sums of weights and store them; uses up `to`."""
        b, t = kit.b, kit.tiling
        offsets = result_offsets(kit, self.shape)
        if not resident:
            b.li(number, kit.addresses["accumulators"])
        for index, offset in enumerate(offsets):
            total = sums[index if resident else 0]
            if not resident:
                b.load_f32(total, number, kit.row_bytes, unit.rows, kit.n_cols)
                b.addi(number, number, t.rows * t.row_bytes)
            b.fmul_col(total, total, state, 1)
            kit.store(total, to, unit.stride)
            if index + 1 < len(offsets):
                b.addi(to, to, offsets[index + 1] - offset)
