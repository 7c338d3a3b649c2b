"""Index of the largest logit of every row, the lowest index on ties."""

from __future__ import annotations

from dataclasses import dataclass

from isa.builder import ZERO, Builder, T, X
from workloads.kernels.kit import Kernel, Kit
from workloads.kernels.space import RowSpace, row_blocks

# Added to the index of elements below the maximum: beyond every index (indices are f32 and exact
# below 2^24).
OUT_OF_RACE = 2.0**25


@dataclass(frozen=True)
class Argmax(Kernel):
    """Arg-max over `n` f32 columns; writes one f32 index per row, contiguous.

    Every element of a tile keeps the largest value seen in its place and where it was seen: the
    place's index grows along the walk, so a strictly larger value is recorded by
    max(index, seen * now). At the end the lowest index among the largest elements wins.

    Columns that do not fill a tile must hold -inf (the lowering does that), up to a whole block,
    or a whole tile of blocks in the folded form.
    """

    space: RowSpace
    n: int

    @property
    def name(self) -> str:
        return f"argmax_{self.n}"

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("logits", "result")

    def folded(self, kit: Kit) -> bool:
        """Whether one row is walked as tiles of many blocks; their rows must fit one tile row."""
        return self.space.folded and kit.tiling.rows <= kit.tiling.f32_cols

    def emit(self, kit: Kit, *arguments: X) -> None:
        logits, result = arguments
        b = kit.b
        tiles = ("best", "index", "now", "x", "larger")
        with row_blocks(kit, self.space) as active, b.scratch_tiles(*tiles) as registers:
            with b.scratch("rows") as (rows,):
                if self.folded(kit):
                    b.li(rows, kit.tiling.rows)
                else:
                    kit.move(rows, active)
                self._scan(kit, logits, rows, *registers)
                self._winner(kit, rows, *registers)
            with b.scratch("four") as (four,):
                b.li(four, 4)
                b.store_f32(registers[1], result, four)
            b.addi(result, result, 4 * self.space.block_rows)

    def _scan(
        self, kit: Kit, logits: X, rows: X, best: T, index: T, now: T, x: T, larger: T
    ) -> None:
        """Leave in every place of `best` and `index` the largest value and where it was."""
        b, t = kit.b, kit.tiling
        folded = self.folded(kit)
        lines = t.rows if folded else self.space.block_rows
        per_tile = t.f32_cols * (t.rows if folded else 1)
        with b.scratch("number", "end") as (number, end):
            b.li(number, kit.addresses["iota"])
            if folded:
                b.load_f32(index, number, kit.row_bytes, rows, kit.f32_cols)
            else:
                b.bcast_f32(index, number, rows, kit.f32_cols)
            b.mov(now, index)
            b.li(number, Builder.f32(float("-inf")))
            b.fill_f32(best, number, rows, kit.f32_cols)
            b.li(number, Builder.f32(per_tile))
            b.addi(end, logits, -(-self.n // per_tile) * lines * t.row_bytes)
            top = b.new_label("logits")
            b.place(top)
            b.load_f32(x, logits, kit.row_bytes, rows, kit.f32_cols)
            b.addi(logits, logits, lines * t.row_bytes)
            b.fcmpgt(larger, x, best)
            b.fmax(best, x, best)
            b.fmul(larger, larger, now)
            b.fmax(index, larger, index)
            b.fadd_const(now, now, number)
            b.blt(logits, end, top)

    def _winner(self, kit: Kit, rows: X, best: T, index: T, largest: T, x: T, below: T) -> None:
        """Leave in column 0 of `index` the lowest index among the largest places."""
        b = kit.b
        with b.scratch("number") as (number,):
            b.rowmax(largest, best)
            self._across_rows(kit, rows, largest, spread=True)
            b.fsub_col(x, best, largest, 0)
            b.li(number, Builder.f32(-1.0))
            b.fmul_const(x, x, number)
            b.fcmpgt_const(below, x, ZERO)
            b.li(number, Builder.f32(OUT_OF_RACE))
            b.fmul_const(below, below, number)
            b.fadd(index, index, below)
            b.li(number, Builder.f32(-1.0))
            b.fmul_const(index, index, number)
            b.rowmax(index, index)
            self._across_rows(kit, rows, index, spread=False)
            b.fmul_const(index, index, number)

    def _across_rows(self, kit: Kit, rows: X, column: T, *, spread: bool) -> None:
        """In the folded form, turn a column of row maxima into the one maximum of all rows.

        The column goes through memory and comes back as a row; `spread` copies the result into a
        column of the same height again.
        """
        if not self.folded(kit):
            return
        b = kit.b
        with b.scratch("address", "four") as (address, four):
            b.li(address, kit.addresses["reduction"])
            b.li(four, 4)
            b.store_f32(column, address, four)
            b.load_f32(column, address, kit.row_bytes, kit.one, rows)
            b.rowmax(column, column)
            if spread:
                b.store_f32(column, address, four)
                b.bcast_f32(column, address, rows, kit.one)
