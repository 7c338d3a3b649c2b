"""How a target's tile registers cut matrices: the sizes every kernel and every packing shares."""

from __future__ import annotations

from dataclasses import dataclass

from isa.errors import UserError
from isa.memory import ELEMENT_BYTES
from isa.target import Target

LEAST_TILES = 8


@dataclass(frozen=True)
class Tiling:
    """Tile sizes for one target and one storage type (`f32` or `bf16`).

    Activations are stored as blocks of `row_bytes` per row; a block holds `k_cols` elements of a
    row and is one operand of `matmul`. An f32 tile covers `f32_cols` of them, so a bf16 block is
    `halves` = 2 f32 tiles wide. `n_cols` is the number of weight rows in a weight tile and so the
    columns of a result tile: a power of two that divides `f32_cols`.

    `panel` weight tiles lie together for every step along K (see `linear_stream`), and prompts
    are multiplied in register blocks of `m_block` x `n_block` result tiles (see
    `linear_blocked`).
    """

    dtype: str
    tiles: int
    rows: int
    row_bytes: int
    n_cols: int
    panel: int
    m_block: int
    n_block: int
    l1_bytes: int
    l2_bytes: int

    @property
    def element_bytes(self) -> int:
        """Bytes of a stored activation or weight."""
        return ELEMENT_BYTES[self.dtype]

    @property
    def k_cols(self) -> int:
        """Elements of one row of a storage block: the depth of one matmul."""
        return self.row_bytes // self.element_bytes

    @property
    def f32_cols(self) -> int:
        """Columns of a full f32 tile."""
        return self.row_bytes // 4

    @property
    def halves(self) -> int:
        """f32 tiles side by side in one storage block: 1 for f32, 2 for bf16."""
        return self.k_cols // self.f32_cols

    @property
    def weight_tile_bytes(self) -> int:
        """Bytes of one packed weight tile, `n_cols` rows."""
        return self.n_cols * self.row_bytes

    @property
    def row_shift(self) -> int:
        """log2 of `row_bytes`."""
        return self.row_bytes.bit_length() - 1

    def whole_blocks(self, width: int) -> int:
        """Return `width` rounded up to whole storage blocks, in elements."""
        return -(-width // self.k_cols) * self.k_cols

    def activation_row_bytes(self, width: int, block_rows: int, element_bytes: int) -> int:
        """Bytes of one row block of an activation `width` elements wide."""
        per_block = self.row_bytes // element_bytes
        return -(-width // per_block) * block_rows * self.row_bytes


def choose_tiling(target: Target, dtype: str) -> Tiling:
    """Choose the tile sizes for a target.

    Decode needs `panel` accumulators, two activation tiles and two weight tiles; the register
    blocks of a prompt need m*n accumulators, n weight tiles and two activation tiles.

    Raises `UserError` where the target has fewer than 8 tile registers or lacks the type.
    """
    if target.tiles < LEAST_TILES:
        raise UserError(
            f"the target has {target.tiles} tile registers; models need at least {LEAST_TILES}"
        )
    if dtype not in ("f32", "bf16"):
        raise UserError(f"unknown dtype {dtype!r}; use f32 or bf16")
    if dtype not in target.matmul_types:
        raise UserError(
            f"the target has no matmul.{dtype}; it multiplies {', '.join(target.matmul_types)}"
        )
    n_cols = 1
    while n_cols * 2 <= min(target.rows, target.f32_cols):
        n_cols *= 2
    return Tiling(
        dtype=dtype,
        tiles=target.tiles,
        rows=target.rows,
        row_bytes=target.row_bytes,
        n_cols=n_cols,
        panel=8 if target.tiles >= 12 else 4,
        m_block=2,
        n_block=4 if target.tiles >= 14 else 2,
        l1_bytes=target.l1_bytes,
        l2_bytes=target.l2_bytes,
    )
