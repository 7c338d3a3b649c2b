"""Adding up partial results: the end of a linear operator whose sums were cut along K."""

from __future__ import annotations

from dataclasses import dataclass

from isa.builder import X
from workloads.kernels.columns import Columns, Piece
from workloads.kernels.kit import Kernel, Kit
from workloads.kernels.space import RowSpace, row_blocks


@dataclass(frozen=True)
class Combine(Kernel):
    """result = activation(partial 0 + partial 1 + ... + bias) + residual, always in that order.

    Of `n` columns, which may be a part of `all_columns`. Partial results are f32 activations,
    `part_bytes` from one to the next.
    """

    space: RowSpace
    n: int
    parts: int
    part_bytes: int
    bias: bool = False
    activation: str | None = None
    residual: bool = False
    all_columns: int | None = None

    @property
    def name(self) -> str:
        parts = [self.space.name, "combine", f"{self.parts}x{self.n}"]
        parts += [f"of_{self.all_columns}"] if self.all_columns else []
        parts += ["bias"] if self.bias else []
        parts += [self.activation.replace(".", "_")] if self.activation else []
        parts += ["residual"] if self.residual else []
        return "_".join(parts)

    @property
    def arguments(self) -> tuple[str, ...]:
        bias = ["bias"] if self.bias else []
        residual = ["residual"] if self.residual else []
        return ("partial", "result", *bias, *residual)

    def emit(self, kit: Kit, *arguments: X) -> None:
        b, t = kit.b, kit.tiling
        by_name = dict(zip(self.arguments, arguments, strict=True))
        partial, result = by_name["partial"], by_name["result"]
        block_bytes = self.space.block_rows * t.row_bytes

        def body(piece: Piece) -> None:
            b.load_f32(x, partial, kit.row_bytes, piece.rows, piece.cols)
            for part in range(1, self.parts):
                b.addi(at, partial, part * self.part_bytes)
                b.load_f32(y, at, kit.row_bytes, piece.rows, piece.cols)
                b.fadd(x, x, y)
            if self.bias:
                piece.load_vector(y, bias)
                piece.combine("fadd", x, x, y)
            if self.activation:
                b.emit(self.activation, x, x)
            if self.residual:
                piece.load(y, by_name["residual"])
                b.fadd(x, x, y)
            piece.store(x, result)
            b.addi(partial, partial, block_bytes)

        blocks = [result, *([by_name["residual"]] if self.residual else [])]
        walk = Columns(kit, self.space, self.n, folded=False, all_columns=self.all_columns)
        left_out = -(-(self.all_columns or self.n) // t.f32_cols) - -(-self.n // t.f32_cols)
        scalars, tiles = b.scratch("at", "bias"), b.scratch_tiles("x", "y")
        with scalars as (at, bias), tiles as (x, y), row_blocks(kit, self.space) as rows:
            if self.bias:
                kit.move(bias, by_name["bias"])
            walk.walk(rows, body, blocks=blocks, vectors=[bias] if self.bias else [])
            kit.advance(partial, left_out * block_bytes)
