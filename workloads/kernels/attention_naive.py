"""Attention as the formula reads: all scores, then all softmaxes, then all weighted sums.

The score matrix of every unit is written to the tensor `scores`, read and written again by the
softmax, and read once more: traffic that grows with the square of the sequence and that
`attention_online` does not have. Scores are f32 whatever the storage type.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from isa.builder import ZERO, X
from workloads.kernels.attention_online import result_offsets, score_tile, value_offsets
from workloads.kernels.attention_units import AttentionShape, Unit, each_unit
from workloads.kernels.kit import Kernel, Kit
from workloads.kernels.tiling import Tiling

# Tiles besides the accumulators of the last pass: weights, packed weights and values.
OTHER_TILES = 3


def score_bytes(t: Tiling, shape: AttentionShape, jobs: int) -> int:
    """Bytes of the score matrices of `jobs` jobs."""
    return jobs * shape.cache.kv_heads * shape.units(t) * _unit_bytes(t, shape)


def _unit_bytes(t: Tiling, shape: AttentionShape) -> int:
    return shape.cache.position_blocks * t.rows * t.row_bytes


@dataclass(frozen=True)
class NaiveAttention(Kernel):
    """softmax(q k^T / sqrt(head_dim), causal) v over the cache, per head, in three passes."""

    shape: AttentionShape

    @property
    def name(self) -> str:
        return f"{self.shape.space.name}_attention_naive"

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("query", "keys", "values", "result")

    def emit(self, kit: Kit, *arguments: X) -> None:
        query, keys, values, result = arguments
        with kit.b.scratch("unit_scores", "distance") as (unit_scores, distance):
            kit.b.sub(distance, result, query)
            for step in (self._scores, self._softmax, self._weighted_sum):
                self._first_scores(kit, unit_scores)
                with each_unit(kit, self.shape, query, keys, values) as unit:
                    step(kit, unit, unit_scores, distance)
                    kit.b.addi(unit_scores, unit_scores, _unit_bytes(kit.tiling, self.shape))
                kit.b.add(values, values, keys)

    def _first_scores(self, kit: Kit, unit_scores: X) -> None:
        """Set `unit_scores` to the first unit's; cores that share the jobs share the tensor."""
        b, dealt = kit.b, self.shape.dealt
        b.li(unit_scores, kit.addresses["scores"])
        if dealt:
            with b.scratch("number", "size") as (number, size):
                b.ld(number, dealt.first, ZERO)
                b.li(size, self.shape.units(kit.tiling) * _unit_bytes(kit.tiling, self.shape))
                b.mul(number, number, size)
                b.add(unit_scores, unit_scores, number)

    def _scores(self, kit: Kit, unit: Unit, unit_scores: X, distance: X) -> None:
        """First pass: scaled and masked scores."""
        b = kit.b
        with (
            b.scratch("keys_at", "number") as (keys_at, number),
            b.scratch_tiles("scores", "first", "second") as (scores, first, second),
        ):
            kit.move(keys_at, unit.keys)
            with _blocks(kit, unit, unit_scores) as (seen, count, at):
                score_tile(kit, self.shape, unit, keys_at, count, scores, first, second)
                if not self.shape.space.single_row_jobs:
                    b.sub(number, unit.position, seen)
                    b.mask(scores, scores, number)
                b.store_f32(scores, at, kit.row_bytes)

    def _softmax(self, kit: Kit, unit: Unit, unit_scores: X, distance: X) -> None:
        """Second pass: row maximum, exponentials and their sum, division."""
        b = kit.b
        with b.scratch_tiles("x", "largest", "total", "part") as (x, largest, total, part):
            # A row's first score is never masked, so any block may come first.
            b.load_f32(largest, unit_scores, kit.row_bytes, unit.rows, kit.one)
            with _blocks(kit, unit, unit_scores) as (_, count, at):
                b.load_f32(x, at, kit.row_bytes, unit.rows, count)
                b.rowmax(part, x)
                b.fmax(largest, part, largest)
            b.fill_f32(total, ZERO, unit.rows, kit.one)
            with _blocks(kit, unit, unit_scores) as (_, count, at):
                b.load_f32(x, at, kit.row_bytes, unit.rows, count)
                b.fsub_col(x, x, largest, 0)
                b.exp(x, x)
                b.store_f32(x, at, kit.row_bytes)
                b.rowsum(part, x)
                b.fadd(total, total, part)
            b.recip(total, total)
            with _blocks(kit, unit, unit_scores) as (_, count, at):
                b.load_f32(x, at, kit.row_bytes, unit.rows, count)
                b.fmul_col(x, x, total, 0)
                b.store_f32(x, at, kit.row_bytes)

    def _weighted_sum(self, kit: Kit, unit: Unit, unit_scores: X, distance: X) -> None:
        """Third pass: weights times values, as many columns of the head at once as tiles allow."""
        b, t = kit.b, kit.tiling
        offsets, results = value_offsets(kit, self.shape), result_offsets(kit, self.shape)
        width = min(len(offsets), t.tiles - OTHER_TILES)
        sums = b.tiles("sum", width)
        with (
            b.scratch("values_at", "to") as (values_at, to),
            b.scratch_tiles("weights", "packed", "values") as (weights, packed, value_tile),
        ):
            for start in range(0, len(offsets), width):
                part = offsets[start : start + width]
                for total in sums[: len(part)]:
                    b.fill_f32(total, ZERO, unit.rows, kit.n_cols)
                b.addi(values_at, unit.values, part[0])
                following = [*part[1:], part[0] + self.shape.cache.block_bytes(t)]
                with _blocks(kit, unit, unit_scores) as (_, count, at):
                    b.load_f32(weights, at, kit.row_bytes, unit.rows, count)
                    operand = weights
                    if kit.bf16:
                        b.pack_bf16(packed, weights)
                        operand = packed
                    for total, offset, after in zip(sums, part, following, strict=False):
                        kit.loadt_operand(value_tile, values_at, kit.row_bytes, kit.n_cols, count)
                        b.addi(values_at, values_at, after - offset)
                        kit.matmul(total, operand, value_tile)
                for total, offset in zip(sums, results[start : start + width], strict=False):
                    b.addi(to, unit.query, offset)
                    b.add(to, to, distance)
                    kit.store(total, to, unit.stride)
        b.free(*sums)


@contextmanager
def _blocks(kit: Kit, unit: Unit, unit_scores: X) -> Iterator[tuple[X, X, X]]:
    """Loop over blocks of positions: those before the block, those in it, address of its scores."""
    b, t = kit.b, kit.tiling
    with b.scratch("seen", "count", "at") as (seen, count, at):
        kit.move(at, unit_scores)
        b.li(seen, 0)
        top = b.new_label("positions")
        b.place(top)
        b.sub(count, unit.limit, seen)
        b.min(count, count, kit.n_cols)
        yield seen, count, at
        b.addi(at, at, t.rows * t.row_bytes)
        b.addi(seen, seen, t.n_cols)
        b.blt(seen, unit.limit, top)
