"""Operators that treat every element alike: SiLU times, GELU, residual addition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isa.builder import X
from workloads.kernels.columns import Columns, Piece
from workloads.kernels.kit import Kernel, Kit
from workloads.kernels.space import RowSpace, row_blocks

Operation = Literal["silu_mul", "gelu.tanh", "gelu.erf", "add"]


@dataclass(frozen=True)
class Elementwise(Kernel):
    """`silu_mul`: silu(first) * second; `add`: first + second; `gelu.*`: of first alone.

    Of `n` columns, which may be a part of `all_columns`.
    """

    space: RowSpace
    n: int
    operation: Operation
    all_columns: int | None = None

    @property
    def name(self) -> str:
        name = f"{self.space.name}_{self.operation.replace('.', '_')}_{self.n}"
        return f"{name}_of_{self.all_columns}" if self.all_columns else name

    @property
    def arguments(self) -> tuple[str, ...]:
        pair = self.operation in ("silu_mul", "add")
        return ("first", *(["second"] if pair else []), "result")

    def emit(self, kit: Kit, *arguments: X) -> None:
        b = kit.b
        *sources, result = arguments

        def body(piece: Piece) -> None:
            piece.load(x, sources[0])
            if self.operation == "silu_mul":
                b.silu(x, x)
            if len(sources) == 2:
                piece.load(y, sources[1])
                b.emit("fadd" if self.operation == "add" else "fmul", x, x, y)
            else:
                b.emit(self.operation, x, x)
            piece.store(x, result)

        with b.scratch_tiles("x", "y") as (x, y), row_blocks(kit, self.space) as rows:
            walk = Columns(kit, self.space, self.n, self.space.folded, self.all_columns)
            walk.walk(rows, body, blocks=arguments)
