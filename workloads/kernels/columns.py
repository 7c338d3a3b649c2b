"""Walking the columns of an activation, one f32 tile at a time.

In the **row** form a tile is all active rows of a row block by `f32_cols` columns. Where a row
block is a single row (a decode step of one sequence) that would use one row of every tile, so the
**folded** form takes consecutive storage blocks, which are contiguous there, as the rows of a
tile: a row of 576 elements is two tiles and a bit, not 36. Columns that do not fill a storage
block come last, in tiles of their own shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isa.builder import T, X
from workloads.kernels.kit import Kit
from workloads.kernels.space import RowSpace


@dataclass(frozen=True)
class Piece:
    """The tile a walk is at: its shape, and how a vector of per-column values meets it."""

    kit: Kit
    rows: X
    cols: X
    folded: bool
    vector_stride: X

    def load(self, td: T, pointer: X) -> None:
        """Load the tile of an activation."""
        self.kit.load(td, pointer, self.kit.row_bytes, self.rows, self.cols)

    def store(self, ts: T, pointer: X) -> None:
        """Store the tile of an activation."""
        self.kit.store(ts, pointer, self.kit.row_bytes)

    def load_vector(self, td: T, pointer: X) -> None:
        """Load the piece of an f32 vector that belongs to the tile's columns."""
        rows = self.rows if self.folded else self.kit.one
        self.kit.b.load_f32(td, pointer, self.vector_stride, rows, self.cols)

    def combine(self, operation: str, td: T, ta: T, vector: T) -> None:
        """Apply `fadd` or `fmul` between a tile and a vector loaded by `load_vector`."""
        self.kit.b.emit(operation if self.folded else f"{operation}.row", td, ta, vector)

    def add_sum(self, total: T, values: T, scratch: T) -> None:
        """Add to `total` (one number per activation row) the sum over the tile's columns."""
        b = self.kit.b
        b.rowsum(scratch, values)
        if self.folded:
            b.colsum(scratch, scratch)
        b.fadd(total, total, scratch)


Body = Callable[[Piece], None]


@dataclass(frozen=True)
class Columns:
    """A walk over `n` columns of activations in `space`, or over a part of `all_columns`."""

    kit: Kit
    space: RowSpace
    n: int
    folded: bool
    all_columns: int | None = None

    def walk(
        self,
        rows: X,
        body: Body,
        *,
        blocks: Sequence[X],
        vectors: Sequence[X] = (),
        tables: Sequence[X] = (),
        enter: Body | None = None,
    ) -> None:
        """Emit the body for every tile, moving the pointers along.

        `blocks` point into activations and end at the next row block; `vectors` at f32 vectors;
        `tables` at rows of a row-major table in the storage type (row form only). `enter` is
        emitted once before the tiles of each shape.
        """
        kit, t = self.kit, self.kit.tiling
        lines, tail = divmod(self.n, t.k_cols)
        with kit.b.scratch("shape", "vector_stride", "walk_end") as (shape, stride, end):
            kit.b.li(stride, t.k_cols * 4)
            if self.folded:
                groups, left = divmod(lines, t.rows)
                runs = [(groups, t.rows), (1, left)]
            else:
                runs = [(lines, 0)]
            for count, height in runs:
                if count == 0 or (self.folded and height == 0):
                    continue
                if self.folded:
                    kit.b.li(shape, height)
                height_register = shape if self.folded else rows
                piece = Piece(kit, height_register, kit.f32_cols, self.folded, stride)
                if enter:
                    enter(piece)
                step = height if self.folded else self.space.block_rows
                self._repeat(count, step, body, piece, blocks, vectors, tables, end)
            if tail:
                self._tail(tail, rows, shape, stride, body, enter, blocks, vectors, tables)
        left_out = t.whole_blocks(self.all_columns or self.n) - t.whole_blocks(self.n)
        for pointer in blocks:
            kit.advance(pointer, left_out // t.k_cols * self.space.block_rows * t.row_bytes)

    def _repeat(
        self,
        count: int,
        block_lines: int,
        body: Body,
        piece: Piece,
        blocks: Sequence[X],
        vectors: Sequence[X],
        tables: Sequence[X],
        end: X,
    ) -> None:
        """Emit `count` times the `halves` tiles of `block_lines` storage rows."""
        kit, t = self.kit, self.kit.tiling
        vector_lines = block_lines if self.folded else 1
        top = kit.b.new_label("columns")
        if count > 1:
            kit.b.addi(end, blocks[0], count * block_lines * t.row_bytes)
            kit.b.place(top)
        for half in range(t.halves):
            body(piece)
            last = half == t.halves - 1
            self._step(blocks, t.row_bytes // t.halves, block_lines * t.row_bytes, last)
            self._step(vectors, t.f32_cols * 4, vector_lines * t.k_cols * 4, last)
            self._step(tables, t.row_bytes // t.halves, t.row_bytes, last)
        if count > 1:
            kit.b.blt(blocks[0], end, top)

    def _step(self, pointers: Sequence[X], tile: int, whole: int, last: bool) -> None:
        for pointer in pointers:
            step = whole - (self.kit.tiling.halves - 1) * tile if last else tile
            self.kit.advance(pointer, step)

    def _tail(
        self,
        tail: int,
        rows: X,
        shape: X,
        stride: X,
        body: Body,
        enter: Body | None,
        blocks: Sequence[X],
        vectors: Sequence[X],
        tables: Sequence[X],
    ) -> None:
        """Emit the tiles of the last, partly filled storage block."""
        kit, t = self.kit, self.kit.tiling
        tile = t.f32_cols * t.element_bytes
        moved = 0
        while tail:
            cols = min(tail, t.f32_cols)
            tail -= cols
            kit.b.li(shape, cols)
            piece = Piece(kit, kit.one if self.folded else rows, shape, self.folded, stride)
            if enter and moved == 0:
                enter(piece)
            body(piece)
            if tail:
                moved += tile
                for pointer in (*blocks, *tables):
                    kit.advance(pointer, tile)
                for pointer in vectors:
                    kit.advance(pointer, t.f32_cols * 4)
        for pointer in blocks:
            kit.advance(pointer, self.space.block_rows * t.row_bytes - moved)
