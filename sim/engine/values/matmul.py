"""C[m,n] += sum over k of A[m,k] * B[n,k], k upward; every product and every sum is rounded.

Lanes run along n, so B is needed with k as its row: its transposed copy, made in the slot's second
half when B is first used. A row of C then stays in one vector while k advances. The rounding of a
product and of a sum are two operations on purpose: with a fused multiply-add the results would
depend on the host.
"""

from typing import Any

from sim.engine.jit import WIDE_REGISTERS, inline
from sim.engine.lanes import load, spread, store, transpose_16x16
from sim.engine.values.slots import F32_STRIDE, TRANSPOSED

Array = Any


@inline
def transpose_operand(T: Array, tb: int, k: int, stride: int) -> None:
    """Make the transposed copy of B; whole blocks, also where B has fewer rows."""
    for column in range(0, k, 16):
        target = tb + TRANSPOSED + column * F32_STRIDE
        transpose_16x16(T, tb + column, stride, T, target, F32_STRIDE)


@inline
def _eight_rows(T: Array, c: int, a: int, b: int, k: int, s: int) -> None:
    """Eight rows of C from `c` on; `a`: first row of A (stride `s`), `b`: transposed copy of B."""
    c0, c1 = load(T, c), load(T, c + 16)
    c2, c3 = load(T, c + 32), load(T, c + 48)
    c4, c5 = load(T, c + 64), load(T, c + 80)
    c6, c7 = load(T, c + 96), load(T, c + 112)
    for i in range(k):
        row = load(T, b + i * F32_STRIDE)
        c0 = c0 + spread(T, a + i) * row
        c1 = c1 + spread(T, a + s + i) * row
        c2 = c2 + spread(T, a + 2 * s + i) * row
        c3 = c3 + spread(T, a + 3 * s + i) * row
        c4 = c4 + spread(T, a + 4 * s + i) * row
        c5 = c5 + spread(T, a + 5 * s + i) * row
        c6 = c6 + spread(T, a + 6 * s + i) * row
        c7 = c7 + spread(T, a + 7 * s + i) * row
    store(T, c, c0)
    store(T, c + 16, c1)
    store(T, c + 32, c2)
    store(T, c + 48, c3)
    store(T, c + 64, c4)
    store(T, c + 80, c5)
    store(T, c + 96, c6)
    store(T, c + 112, c7)


@inline
def _four_rows(T: Array, c: int, a: int, b: int, k: int, s: int) -> None:
    """As `_eight_rows`, four of them."""
    c0, c1 = load(T, c), load(T, c + 16)
    c2, c3 = load(T, c + 32), load(T, c + 48)
    for i in range(k):
        row = load(T, b + i * F32_STRIDE)
        c0 = c0 + spread(T, a + i) * row
        c1 = c1 + spread(T, a + s + i) * row
        c2 = c2 + spread(T, a + 2 * s + i) * row
        c3 = c3 + spread(T, a + 3 * s + i) * row
    store(T, c, c0)
    store(T, c + 16, c1)
    store(T, c + 32, c2)
    store(T, c + 48, c3)


@inline
def _one_row(T: Array, c: int, a: int, b: int, k: int) -> None:
    """A single row of C."""
    c0 = load(T, c)
    for i in range(k):
        c0 = c0 + spread(T, a + i) * load(T, b + i * F32_STRIDE)
    store(T, c, c0)


@inline
def matmul(T: Array, tc: int, ta: int, tb: int, rows: int, k: int, stride: int) -> None:
    """`rows` rows of C; `stride` is the row stride of A. B's transposed copy must be valid.

    Eight rows at once and a row of B need nine vector registers of 512 bits; with narrower ones
    (AVX has 16 of 256 bits) eight rows would be spilled, so it is four.
    The last block may run over rows C does not have: it is as quick as fewer rows, which would
    wait for each other's sums, and nobody sees them.
    """
    b = tb + TRANSPOSED
    row = 0
    while row < rows:
        c, a = tc + row * F32_STRIDE, ta + row * stride
        if rows - row == 1:
            _one_row(T, c, a, b, k)
            row += 1
        elif WIDE_REGISTERS and rows - row > 4:
            _eight_rows(T, c, a, b, k, stride)
            row += 8
        else:
            _four_rows(T, c, a, b, k, stride)
            row += 4
