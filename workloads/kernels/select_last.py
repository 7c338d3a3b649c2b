"""Copy the last row of every sequence of a prompt to the step space."""

from __future__ import annotations

from dataclasses import dataclass

from isa.builder import X
from workloads.kernels.kit import Kernel, Kit
from workloads.kernels.space import RowSpace

# One entry per sequence in the `select` table of the control segment, int64 words:
SELECT_FROM_BLOCK = 0
SELECT_FROM_ROW = 8
SELECT_TO_BLOCK = 16
SELECT_TO_ROW = 24
SELECT_BYTES = 32


@dataclass(frozen=True)
class SelectLast(Kernel):
    """Copy `batch` rows of `n` columns; `table` is the control offset of the select table.

    The rows of a tile are the storage blocks of one activation row, so most rows take one load.
    """

    source: RowSpace
    target: RowSpace
    n: int
    batch: int
    table: int

    @property
    def name(self) -> str:
        return f"select_last_{self.n}"

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("source", "result")

    def emit(self, kit: Kit, *arguments: X) -> None:
        b, t = kit.b, kit.tiling
        source, result = arguments
        names = ("entry", "end", "from", "to", "from_stride", "to_stride", "lines")
        with b.scratch(*names) as (entry, end, at, to, from_stride, to_stride, lines):
            b.li(from_stride, self.source.block_rows * t.row_bytes)
            b.li(to_stride, self.target.block_rows * t.row_bytes)
            with b.loop(entry, self.table, self.table + self.batch * SELECT_BYTES, SELECT_BYTES):
                self._address(kit, self.source, entry, SELECT_FROM_BLOCK, source, at)
                self._address(kit, self.target, entry, SELECT_TO_BLOCK, result, to)
                whole, rest = divmod(-(-self.n // t.k_cols), t.rows)
                if whole:
                    b.li(lines, t.rows)
                    with b.loop(end, 0, whole):
                        self._copy(kit, at, to, from_stride, to_stride, lines, t.rows)
                if rest:
                    b.li(lines, rest)
                    self._copy(kit, at, to, from_stride, to_stride, lines, rest)

    def _address(self, kit: Kit, space: RowSpace, entry: X, field: int, base: X, to: X) -> None:
        """Set `to` to the address of the row the entry names, in an activation at `base`."""
        b, t = kit.b, kit.tiling
        with b.scratch("t") as (factor,):
            b.ld(to, field, entry)
            b.li(factor, t.activation_row_bytes(self.n, space.block_rows, t.element_bytes))
            b.mul(to, to, factor)
            b.ld(factor, field + 8, entry)
            b.slli(factor, factor, t.row_shift)
            b.add(to, to, factor)
            b.add(to, to, base)

    def _copy(
        self, kit: Kit, at: X, to: X, from_stride: X, to_stride: X, lines: X, count: int
    ) -> None:
        t = kit.tiling
        half = t.row_bytes // t.halves
        with kit.b.scratch_tiles("x") as (x,):
            for index in range(t.halves):
                kit.load(x, at, from_stride, lines, kit.f32_cols)
                kit.store(x, to, to_stride)
                last = index == t.halves - 1
                for pointer, space in ((at, self.source), (to, self.target)):
                    whole = count * space.block_rows * t.row_bytes
                    kit.advance(pointer, whole - (t.halves - 1) * half if last else half)
