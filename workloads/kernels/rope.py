"""Rotary positions: turn neighbouring pairs of every head by an angle that grows with position.

Source: J. Su et al., RoFormer, arXiv:2104.09864, 2021, equation 34. With the sines stored as
(-sin, +sin) the rotation of a pair is x * cos + swap(x) * sin.
"""

from __future__ import annotations

from dataclasses import dataclass

from isa.builder import T, X
from workloads.kernels.kit import Kernel, Kit
from workloads.kernels.space import RowSpace, row_blocks


@dataclass(frozen=True)
class Rope(Kernel):
    """Rotate `heads` heads in place; `head_cols` is a whole number of storage blocks.

    The cosine and sine tables are f32 [positions, head_cols]. Every table tile serves all heads.
    A single row turns several heads at once: they are the rows of its tiles. `all_heads` says how
    many the values have, where only `heads` of them are turned.
    """

    space: RowSpace
    heads: int
    head_cols: int
    all_heads: int | None = None

    @property
    def name(self) -> str:
        name = f"{self.space.name}_rope_{self.heads}x{self.head_cols}"
        return f"{name}_of_{self.all_heads}" if self.all_heads else name

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("values", "cosines", "sines")

    def emit(self, kit: Kit, *arguments: X) -> None:
        b, t, space = kit.b, kit.tiling, self.space
        values, cosines, sines = arguments
        blocks = self.head_cols // t.k_cols
        head_bytes = self._head_bytes(kit)
        scalars = b.scratch("stride", "position", "cosine_at", "sine_at", "head_stride")
        with scalars as (stride, position, cosine_at, sine_at, head_stride):
            b.li(stride, self.head_cols * 4)
            b.li(head_stride, head_bytes)
            b.li(position, space.positions)
            with row_blocks(kit, space) as rows, b.scratch_tiles("cos", "sin") as (cosine, sine):
                kit.move(cosine_at, cosines)
                kit.move(sine_at, sines)
                for tile in range(blocks * t.halves):
                    block, half = divmod(tile, t.halves)
                    b.gather_f32(cosine, cosine_at, stride, position, rows, kit.f32_cols)
                    b.gather_f32(sine, sine_at, stride, position, rows, kit.f32_cols)
                    kit.advance(cosine_at, t.row_bytes)
                    kit.advance(sine_at, t.row_bytes)
                    offset = block * space.block_rows * t.row_bytes
                    offset += half * t.row_bytes // t.halves
                    self._turn_heads(kit, values, offset, rows, cosine, sine, head_stride)
                if not space.one_block:
                    kit.advance(values, (self.all_heads or self.heads) * head_bytes)
                    b.addi(position, position, space.block_rows * 8)

    def _head_bytes(self, kit: Kit) -> int:
        """Bytes of one head of a row block."""
        t = kit.tiling
        return self.head_cols // t.k_cols * self.space.block_rows * t.row_bytes

    def _turn_heads(
        self, kit: Kit, values: X, offset: int, rows: X, cosine: T, sine: T, head_stride: X
    ) -> None:
        """Turn the tile at `offset` of every head."""
        b, t = kit.b, kit.tiling
        per_tile = min(self.heads, t.rows) if self.space.folded else 1
        with b.scratch("pointer", "left", "count", "step") as (pointer, left, count, step):
            b.addi(pointer, values, offset)
            groups, rest = divmod(self.heads, per_tile)
            if groups > 1:
                b.li(left, groups)
            if per_tile > 1:
                b.li(count, per_tile)
            b.li(step, per_tile * self._head_bytes(kit))
            top = b.new_label("heads")
            b.place(top)
            self._turn(kit, pointer, count if per_tile > 1 else rows, cosine, sine, head_stride)
            if groups > 1 or rest:
                b.add(pointer, pointer, step)
            if groups > 1:
                b.addi(left, left, -1)
                b.bne(left, X(0), top)
            if rest:
                b.li(count, rest)
                self._turn(kit, pointer, count, cosine, sine, head_stride)

    def _turn(self, kit: Kit, at: X, rows: X, cosine: T, sine: T, head_stride: X) -> None:
        """Turn one tile: the active rows of one head, or one row of several heads."""
        b = kit.b
        stride = head_stride if self.space.folded else kit.row_bytes
        form = ".row" if self.space.folded else ""
        with b.scratch_tiles("x", "turned") as (x, turned):
            kit.load(x, at, stride, rows, kit.f32_cols)
            b.swap(turned, x)
            b.emit(f"fmul{form}", x, x, cosine)
            b.emit(f"fmul{form}", turned, turned, sine)
            b.fadd(x, x, turned)
            kit.store(x, at, stride)
