"""Reductions, and one step of online softmax.

Sums along a row go from column 0 upward, one rounded addition after the other. Lanes therefore run
along the rows of the tile: it is transposed into scratch, and 16 rows are summed at once.
"""

from typing import Any

import numpy as np

from sim.engine.jit import inline
from sim.engine.lanes import (
    Lanes,
    load,
    load_column,
    select,
    splat,
    spread,
    store,
    store_column,
    transpose_16x16,
)
from sim.engine.values.functions import exp
from sim.engine.values.slots import F32_STRIDE, TRANSPOSED

Array = Any

_BLOCK = 16 * F32_STRIDE
_ZERO, _ONE, _MINUS_INFINITY = np.float32(0.0), np.float32(1.0), np.float32(-np.inf)


@inline
def _sum_of_rows(T: Array, first: int, count: int) -> Lanes:
    """Sum of `count` rows of storage, from the first on."""
    total = load(T, first)
    for i in range(1, count):
        total = total + load(T, first + i * F32_STRIDE)
    return total


@inline
def _largest_of_rows(T: Array, first: int, count: int) -> Lanes:
    """Largest of `count` rows of storage, the first of equals."""
    largest = load(T, first)
    for i in range(1, count):
        value = load(T, first + i * F32_STRIDE)
        largest = select(value > largest, value, largest)
    return largest


@inline
def rowsum(T: Array, td: int, ta: int, cols: int) -> None:
    """td[i, 0] = sum of row i."""
    turned = td + TRANSPOSED
    transpose_16x16(T, ta, F32_STRIDE, T, turned, F32_STRIDE)
    store_column(T, td, F32_STRIDE, _sum_of_rows(T, turned, cols))


@inline
def rowmax(T: Array, td: int, ta: int, cols: int) -> None:
    """td[i, 0] = largest element of row i."""
    turned = td + TRANSPOSED
    transpose_16x16(T, ta, F32_STRIDE, T, turned, F32_STRIDE)
    store_column(T, td, F32_STRIDE, _largest_of_rows(T, turned, cols))


@inline
def rowargmax(T: Array, td: int, ta: int, cols: int) -> None:
    """td[i, 0] = column of the largest element of row i, the first on ties."""
    turned = td + TRANSPOSED
    transpose_16x16(T, ta, F32_STRIDE, T, turned, F32_STRIDE)
    largest, column = load(T, turned), splat(_ZERO)
    for i in range(1, cols):
        value = load(T, turned + i * F32_STRIDE)
        column = select(value > largest, splat(np.float32(i)), column)
        largest = select(value > largest, value, largest)
    store_column(T, td, F32_STRIDE, column)


@inline
def colsum(T: Array, td: int, ta: int, rows: int) -> None:
    """td[0, j] = sum of column j."""
    store(T, td, _sum_of_rows(T, ta, rows))


@inline
def softmax(T: Array, tp: int, ts: int, tm: int, rows: int, cols: int) -> None:
    """One step of online softmax; m, l, a are columns 0, 1, 2 of tm (`isa.functions`)."""
    turned, shifts = tp + TRANSPOSED, tp + TRANSPOSED + _BLOCK
    transpose_16x16(T, ts, F32_STRIDE, T, turned, F32_STRIDE)
    block_largest = _largest_of_rows(T, turned, cols)
    old, total = load_column(T, tm, F32_STRIDE), load_column(T, tm + 1, F32_STRIDE)
    largest = select(old > block_largest, old, block_largest)
    empty = largest == _MINUS_INFINITY
    # Rows that have seen nothing but -inf: exp(-inf - 0) is the p = 0 they must get.
    shift = select(empty, splat(_ZERO), largest)
    store(T, shifts, shift)
    # Where tp is tm, the new state is what stays in the register.
    weights = turned if tp == tm else tp
    for row in range(rows):
        at = row * F32_STRIDE
        store(T, weights + at, exp(load(T, ts + at) - spread(T, shifts + row)))
    rescale = select(empty, splat(_ONE), exp(old - shift))
    turned_weights = shifts
    transpose_16x16(T, weights, F32_STRIDE, T, turned_weights, F32_STRIDE)
    new_total = rescale * total + _sum_of_rows(T, turned_weights, cols)
    store_column(T, tm, F32_STRIDE, largest)
    store_column(T, tm + 1, F32_STRIDE, select(empty, total, new_total))
    store_column(T, tm + 2, F32_STRIDE, rescale)
