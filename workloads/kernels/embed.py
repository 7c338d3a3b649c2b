"""Embedding: the table row of every token, plus the row of its position where those are learned."""

from __future__ import annotations

from dataclasses import dataclass

from isa.builder import X
from workloads.kernels.columns import Columns, Piece
from workloads.kernels.kit import Kernel, Kit
from workloads.kernels.space import RowSpace, row_blocks


@dataclass(frozen=True)
class Embed(Kernel):
    """Gather `n` columns by the space's token words from a row-major table.

    `stride` is the bytes from one table row to the next. A decode step gathers from the feedback
    tensor, whose rows the host fills with the rows of the sampled tokens: the words then are just
    0, 1, 2, ..., so addresses do not depend on what was sampled.
    """

    space: RowSpace
    n: int
    stride: int
    positions: bool

    @property
    def name(self) -> str:
        return f"{self.space.name}_embed_{self.n}"

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("table", "result", *(["positions"] if self.positions else []))

    def emit(self, kit: Kit, *arguments: X) -> None:
        b, space = kit.b, self.space
        table, result, *learned = arguments
        scalars = b.scratch("stride", "token", "position", "at", "learned_at")
        with scalars as (stride, token, position, at, learned_at), b.scratch_tiles("x", "y") as t:
            x, y = t
            b.li(stride, self.stride)
            b.li(token, space.tokens)
            b.li(position, space.positions)

            def body(piece: Piece) -> None:
                kit.gather(x, at, stride, token, piece.rows, piece.cols)
                if learned:
                    kit.gather(y, learned_at, stride, position, piece.rows, piece.cols)
                    b.fadd(x, x, y)
                piece.store(x, result)

            with row_blocks(kit, space) as rows:
                kit.move(at, table)
                if learned:
                    kit.move(learned_at, learned[0])
                tables = [at, learned_at] if learned else [at]
                walk = Columns(kit, space, self.n, folded=False)
                walk.walk(rows, body, blocks=[result], tables=tables)
                if not space.one_block:
                    b.addi(token, token, space.block_rows * 8)
                    b.addi(position, position, space.block_rows * 8)
