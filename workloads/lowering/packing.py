"""Weights as they lie in simulated memory: tables, vectors, and matrices packed for the tiles.

Matrices and tables are stored in the storage type (bf16: rounded to nearest even). Vectors
(norm scales, biases) stay f32: they are a thousandth of the bytes, and are added to f32 sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.functions import bf16_bits
from isa.memory import LINE_BYTES, STORAGE
from workloads.kernels.tiling import Tiling
from workloads.lowering.values import Value

# Panels converted at once, so that a large matrix needs little memory besides its own.
SLAB_PANELS = 64


@dataclass(frozen=True)
class Table:
    """A row-major table [rows, width], every row padded to whole cache lines (embeddings)."""

    canonical: str
    rows: int
    width: int

    @property
    def name(self) -> str:
        return f"table.{self.canonical}"

    def row_bytes(self, t: Tiling) -> int:
        """Bytes from one row to the next."""
        return -(-self.width * t.element_bytes // LINE_BYTES) * LINE_BYTES

    def nbytes(self, t: Tiling) -> int:
        return self.rows * self.row_bytes(t)

    def pack(self, weight: NDArray[np.float32], out: NDArray[np.uint8], t: Tiling) -> None:
        """Write the table into its bytes."""
        stored = out.view(STORAGE[t.dtype]).reshape(self.rows, -1)
        step = max(1, 2**22 // self.width)
        for start in range(0, self.rows, step):
            part = to_storage(weight[start : start + step], t)
            stored[start : start + step, : self.width] = part


@dataclass(frozen=True)
class Vector:
    """An f32 vector; `value` says how the activation it meets is stored (padded heads)."""

    canonical: str
    value: Value

    @property
    def name(self) -> str:
        return f"vector.{self.canonical}"

    def nbytes(self, t: Tiling) -> int:
        return self.value.width * 4

    def pack(self, weight: NDArray[np.float32], out: NDArray[np.uint8], t: Tiling) -> None:
        """Write the vector into its bytes."""
        out.view("<f4")[:] = pad_heads(weight[:, None], self.value)[:, 0]


@dataclass(frozen=True)
class Matrix:
    """A linear weight [result, source], packed in panels of tiles (see `kernels.linear`).

    Panels begin anew at every tile number in `cuts`, so what lies between two of them is packed
    like a matrix of its own: the columns that one core computes. Alternatively the steps along K
    are cut, and every part is a matrix of its own.
    """

    canonical: str
    result: Value
    source: Value
    cuts: tuple[int, ...] = (0,)
    step_cuts: tuple[int, ...] = (0,)

    @property
    def name(self) -> str:
        return f"weight.{self.canonical}"

    def _tiles(self, t: Tiling) -> tuple[int, int]:
        """Tiles along n and steps along k."""
        return -(-self.result.width // t.n_cols), -(-self.source.width // t.k_cols)

    def nbytes(self, t: Tiling) -> int:
        tiles, _ = self._tiles(t)
        return self.offset(tiles, t)

    def offset(self, tile: int, t: Tiling) -> int:
        """Bytes from the start to the cut at a tile number."""
        _, steps = self._tiles(t)
        return tile * steps * t.weight_tile_bytes

    def step_offset(self, step: int, t: Tiling) -> int:
        """Bytes from the start to the cut at a step along K."""
        tiles, _ = self._tiles(t)
        return tiles * step * t.weight_tile_bytes

    def pack(self, weight: NDArray[np.float32], out: NDArray[np.uint8], t: Tiling) -> None:
        """Write the packed matrix into its bytes."""
        weight = pad_heads(weight, self.result)
        weight = pad_heads(weight.T, self.source).T
        tiles, steps = self._tiles(t)
        stored = out.view(STORAGE[t.dtype])
        for first, end in _spans(self.cuts, tiles):
            part = stored[self.offset(first, t) // t.element_bytes :]
            for start, stop in _spans(self.step_cuts, steps):
                cut = weight[first * t.n_cols : end * t.n_cols, start * t.k_cols : stop * t.k_cols]
                to = part[self.step_offset(start, t) // t.element_bytes :]
                self._pack_cut(cut, to, end - first, stop - start, t)

    @staticmethod
    def _pack_cut(
        weight: NDArray[np.float32], stored: NDArray[Any], tiles: int, steps: int, t: Tiling
    ) -> None:
        """Pack `tiles` tiles of `steps` steps to the start of `stored`."""
        rows = t.panel * t.n_cols
        panels, rest = divmod(tiles, t.panel)
        for start in range(0, panels, SLAB_PANELS):
            count = min(SLAB_PANELS, panels - start)
            part = weight[start * rows : (start + count) * rows]
            _pack_panels(part, stored[start * rows * steps * t.k_cols :], count, t.panel, steps, t)
        if rest:
            part = weight[panels * rows :]
            _pack_panels(part, stored[panels * rows * steps * t.k_cols :], 1, rest, steps, t)


def _spans(starts: tuple[int, ...], end: int) -> list[tuple[int, int]]:
    return list(zip(starts, (*starts[1:], end), strict=True))


Packed = Table | Vector | Matrix


def _pack_panels(
    weight: NDArray[np.float32],
    stored: NDArray[Any],
    panels: int,
    tiles: int,
    steps: int,
    t: Tiling,
) -> None:
    """Pack `panels` panels of `tiles` tiles, [n, k] row-major, to the start of `stored`."""
    rows, cols = panels * tiles * t.n_cols, steps * t.k_cols
    if weight.shape != (rows, cols):
        weight = np.pad(weight, [(0, rows - weight.shape[0]), (0, cols - weight.shape[1])])
    blocks = to_storage(weight, t).reshape(panels, tiles, t.n_cols, steps, t.k_cols)
    packed = stored[: rows * cols].reshape(panels, steps, tiles, t.n_cols, t.k_cols)
    packed[...] = blocks.transpose(0, 3, 1, 2, 4)


def to_storage(values: NDArray[np.float32], t: Tiling) -> NDArray[Any]:
    """Return f32 values as stored elements: f32, or the bits of bf16."""
    return bf16_bits(values) if t.dtype == "bf16" else np.asarray(values, dtype=np.float32)


def pad_heads(rows: NDArray[np.float32], value: Value) -> NDArray[np.float32]:
    """Insert zero rows after every head where heads are stored padded."""
    if not value.heads or value.heads * value.head_dim == value.width:
        return rows
    heads = rows.reshape(value.heads, value.head_dim, -1)
    padding = value.width // value.heads - value.head_dim
    return np.pad(heads, [(0, 0), (0, padding), (0, 0)]).reshape(value.width, -1)
