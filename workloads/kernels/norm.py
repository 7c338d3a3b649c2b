"""RMSNorm and LayerNorm over the columns of an activation."""

from __future__ import annotations

from dataclasses import dataclass

from isa.builder import ZERO, Builder, T, X
from workloads.kernels.columns import Body, Columns, Piece
from workloads.kernels.kit import Kernel, Kit
from workloads.kernels.space import RowSpace, row_blocks


@dataclass(frozen=True)
class Norm(Kernel):
    """y = (x - mean) / sqrt(mean((x - mean)^2) + eps) * scale + shift.

    RMSNorm (`centred` false) has no mean and no shift. Two passes over the row, three when
    centred: the variance is taken of the differences, since mean(x^2) - mean(x)^2 cancels.
    """

    space: RowSpace
    n: int
    eps: float
    centred: bool

    @property
    def name(self) -> str:
        kind = "layernorm" if self.centred else "rmsnorm"
        return f"{self.space.name}_{kind}_{self.n}"

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("source", "result", "scale", *(["shift"] if self.centred else []))

    def emit(self, kit: Kit, *arguments: X) -> None:
        source, result, *vectors = arguments
        with row_blocks(kit, self.space) as rows, _Passes(self, kit, rows) as passes:
            if self.centred:
                passes.mean(source)
            passes.inverse_deviation(source)
            passes.apply(source, result, vectors)


class _Passes:
    """The passes over one row block; `mean` and `inverse` hold one number per active row."""

    def __init__(self, norm: Norm, kit: Kit, rows: X) -> None:
        self.norm, self.kit, self.rows = norm, kit, rows
        self.walk = Columns(kit, norm.space, norm.n, norm.space.folded)

    def __enter__(self) -> _Passes:
        b = self.kit.b
        self.tiles = b.tiles("norm", 6)
        self.x, self.square, self.mean_, self.inverse = self.tiles[:4]
        self.wide_mean, self.wide_inverse = self.tiles[4:]
        self.scalars = b.xs("pointer", "number", "vector0", "vector1")
        self.pointer, self.number = self.scalars[:2]
        return self

    def __exit__(self, *exception: object) -> None:
        self.kit.b.free(*self.tiles, *self.scalars)

    def mean(self, source: X) -> None:
        """First pass of LayerNorm."""

        def add_value(piece: Piece) -> None:
            piece.load(self.x, self.pointer)
            piece.add_sum(self.mean_, self.x, self.square)

        self._total(self.mean_, source, add_value)

    def inverse_deviation(self, source: X) -> None:
        """1 / sqrt(mean of squares + eps)."""
        b = self.kit.b

        def add_square(piece: Piece) -> None:
            self._load(piece)
            b.fmul(self.square, self.x, self.x)
            piece.add_sum(self.inverse, self.square, self.square)

        self._total(self.inverse, source, add_square)
        b.li(self.number, Builder.f32(self.norm.eps))
        b.fadd_const(self.inverse, self.inverse, self.number)
        b.rsqrt(self.inverse, self.inverse)

    def apply(self, source: X, result: X, vectors: list[X]) -> None:
        """Normalise, scale and shift; moves `source` and `result` to the next row block."""
        b = self.kit.b
        copies = list(self.scalars[2 : 2 + len(vectors)])
        for copy, vector in zip(copies, vectors, strict=True):
            self.kit.move(copy, vector)
        self.kit.move(self.pointer, source)

        def normalise(piece: Piece) -> None:
            self._load(piece)
            b.fmul_col(self.x, self.x, self.wide_inverse if piece.folded else self.inverse, 0)
            for operation, vector in zip(("fmul", "fadd"), copies, strict=False):
                piece.load_vector(self.square, vector)
                piece.combine(operation, self.x, self.x, self.square)
            piece.store(self.x, result)

        def spread(piece: Piece) -> None:
            self._spread_mean(piece)
            if piece.folded:
                self._spread(self.wide_inverse, self.inverse, piece)

        self.walk.walk(
            self.rows, normalise, blocks=[self.pointer, result], vectors=copies, enter=spread
        )
        self.kit.move(source, self.pointer)

    def _total(self, total: T, source: X, body: Body) -> None:
        """Leave in `total` the mean over the columns of what `body` adds to it."""
        b = self.kit.b
        self.kit.move(self.pointer, source)
        b.fill_f32(total, ZERO, self.rows, self.kit.one)
        self.walk.walk(self.rows, body, blocks=[self.pointer], enter=self._spread_mean)
        b.li(self.number, Builder.f32(1.0 / self.norm.n))
        b.fmul_const(total, total, self.number)

    def _load(self, piece: Piece) -> None:
        """Load the tile at the pointer, minus the mean for LayerNorm."""
        piece.load(self.x, self.pointer)
        if self.norm.centred:
            mean = self.wide_mean if piece.folded else self.mean_
            self.kit.b.fsub_col(self.x, self.x, mean, 0)

    def _spread_mean(self, piece: Piece) -> None:
        if self.norm.centred and piece.folded:
            self._spread(self.wide_mean, self.mean_, piece)

    def _spread(self, to: T, number: T, piece: Piece) -> None:
        """Copy a 1 x 1 tile into every row of a column, by way of memory."""
        b, kit = self.kit.b, self.kit
        b.li(self.number, kit.addresses["reduction"])
        b.store_f32(number, self.number, kit.row_bytes)
        b.bcast_f32(to, self.number, piece.rows, kit.one)
