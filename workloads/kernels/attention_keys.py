"""Adding up attention whose keys were cut: the end of `OnlineAttention` over parts of the keys.

Every part leaves a maximum m, a sum l of weights relative to it and weighted values o, for every
query row. With M the largest m, and parts in order,

    result = sum(exp(m - M) o) / sum(exp(m - M) l)

T. Dao et al., Flash-Decoding for long-context inference, 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

from isa.builder import ZERO, T, X
from workloads.kernels.attention_online import result_offsets
from workloads.kernels.attention_units import AttentionShape
from workloads.kernels.kit import Kernel, Kit


@dataclass(frozen=True)
class CombineKeys(Kernel):
    """The result of one row in the query heads of one key/value head.

    `record` is the first of the head's records: for every unit one per part.
    """

    shape: AttentionShape

    @property
    def name(self) -> str:
        return f"{self.shape.space.name}_attention_combine"

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("record", "result")

    def emit(self, kit: Kit, *arguments: X) -> None:
        record, result = arguments
        b, t, shape = kit.b, kit.tiling, self.shape
        scalars = b.scratch("rows", "stride", "at")
        tiles = b.scratch_tiles("largest", "total", "sum", "x", "weight")
        with scalars as (rows, stride, at), tiles as (largest, total, sum_, x, weight):
            b.li(stride, shape.head_bytes(t))
            for start in range(0, shape.group, shape.stack(t)):
                b.li(rows, min(shape.stack(t), shape.group - start))
                self._weights(kit, record, rows, largest, total, x, weight, at)
                for tile, offset in enumerate(result_offsets(kit, shape), start=1):
                    b.fill_f32(sum_, ZERO, rows, kit.n_cols)
                    for part in range(shape.key_parts):
                        b.addi(at, record, part * shape.record_bytes(t))
                        b.load_f32(weight, at, kit.row_bytes, rows, kit.one)
                        b.addi(at, at, tile * t.rows * t.row_bytes)
                        b.load_f32(x, at, kit.row_bytes, rows, kit.n_cols)
                        b.fmul_col(x, x, weight, 0)
                        b.fadd(sum_, sum_, x)
                    b.fmul_col(sum_, sum_, total, 0)
                    b.addi(at, result, offset)
                    kit.store(sum_, at, stride)
                b.addi(record, record, shape.key_parts * shape.record_bytes(t))
                b.addi(result, result, shape.stack(t) * shape.head_bytes(t))

    def _weights(
        self, kit: Kit, record: X, rows: X, largest: T, total: T, x: T, weight: T, at: X
    ) -> None:
        """Replace the maxima in the records by weights; leave 1 / their weighted sum in `total`."""
        b, shape = kit.b, self.shape
        offsets = [part * shape.record_bytes(kit.tiling) for part in range(shape.key_parts)]
        b.load_f32(largest, record, kit.row_bytes, rows, kit.one)
        for offset in offsets[1:]:
            b.addi(at, record, offset)
            b.load_f32(x, at, kit.row_bytes, rows, kit.one)
            b.fmax(largest, x, largest)
        b.fill_f32(total, ZERO, rows, kit.one)
        for offset in offsets:
            b.addi(at, record, offset)
            b.load_f32(weight, at, kit.row_bytes, rows, kit.one)
            b.fsub(weight, weight, largest)
            b.exp(weight, weight)
            b.store_f32(weight, at, kit.row_bytes)
            b.addi(at, at, 4)
            b.load_f32(x, at, kit.row_bytes, rows, kit.one)
            b.fmul(x, x, weight)
            b.fadd(total, total, x)
        b.recip(total, total)
