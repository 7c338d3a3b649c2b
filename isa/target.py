"""What a program is compiled for: the tile registers and capacities a compiler may know."""

from __future__ import annotations

from dataclasses import dataclass

from isa.errors import UserError

MAX_TILES = 64
MAX_ROWS = 16
MAX_ROW_BYTES = 64


@dataclass(frozen=True)
class Target:
    """The part of a machine that changes the program, not only its speed.

    `tiles` tile registers of up to `rows` rows of `row_bytes` bytes each. Cache sizes are per
    core for L1 and L2 and for the whole machine for L3; 0 means the level is absent.
    `core_speeds` says how fast each core multiplies against the fastest; empty: all alike.

    Raises `UserError` for a geometry that no tile register of this instruction set can have.
    """

    tiles: int
    rows: int
    row_bytes: int
    cores: int = 1
    l1_bytes: int = 32 * 1024
    l2_bytes: int = 0
    l3_bytes: int = 0
    matmul_types: tuple[str, ...] = ("f32", "bf16")
    core_speeds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.tiles <= MAX_TILES:
            raise UserError(f"target has {self.tiles} tile registers; it needs 1 to {MAX_TILES}")
        if not 1 <= self.rows <= MAX_ROWS:
            raise UserError(f"target tiles have {self.rows} rows; they need 1 to {MAX_ROWS}")
        if self.row_bytes not in (16, 32, MAX_ROW_BYTES):
            raise UserError(f"target tile rows have {self.row_bytes} bytes; use 16, 32 or 64")
        if self.cores < 1:
            raise UserError(f"target has {self.cores} cores; it needs at least 1")
        if self.core_speeds and len(self.core_speeds) != self.cores:
            raise UserError(f"target has {len(self.core_speeds)} speeds for {self.cores} cores")
        unknown = set(self.matmul_types) - {"f32", "bf16"}
        if unknown:
            raise UserError(f"unknown matmul type {sorted(unknown)[0]!r}; known: f32, bf16")

    @property
    def f32_cols(self) -> int:
        """Columns of a full f32 tile."""
        return self.row_bytes // 4

    @property
    def bf16_cols(self) -> int:
        """Columns of a full raw bf16 operand tile."""
        return self.row_bytes // 2
