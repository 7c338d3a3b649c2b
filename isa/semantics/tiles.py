"""Instructions on tile registers: matrix products, elementwise, functions, reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from isa import functions as fn
from isa.faults import Fault, Trap
from isa.functions import Floats
from isa.state import State

# Matrix products and their operands


def _matmul(s: State, c: int, acc: Floats, ta: Floats, tb: Floats) -> None:
    if ta.shape[1] != tb.shape[1]:
        raise Trap(Fault.MATMUL_DEPTH, ta.shape[1], tb.shape[1])
    if acc.shape != (ta.shape[0], tb.shape[0]):
        raise Trap(Fault.MATMUL_RESULT, *acc.shape, ta.shape[0], tb.shape[0])
    s.write_t(c, fn.matmul(acc, ta, tb))


def matmul_f32(s: State, c: int, a: int, b: int) -> None:
    _matmul(s, c, s.f32(c), s.f32(a), s.f32(b))


def matmul_bf16(s: State, c: int, a: int, b: int) -> None:
    _matmul(s, c, s.f32(c), s.raw(a), s.raw(b))


def pack_bf16(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.round_bf16(s.f32(a)), raw=True)


def append_bf16(s: State, d: int, a: int) -> None:
    old, new = s.raw(d), s.f32(a)
    if old.shape[0] != new.shape[0]:
        raise Trap(Fault.APPEND_ROWS, old.shape[0], new.shape[0])
    if old.shape[1] + new.shape[1] > s.target.bf16_cols:
        raise Trap(Fault.APPEND_COLS, old.shape[1], new.shape[1], s.target.bf16_cols)
    s.write_t(d, np.concatenate([old, fn.round_bf16(new)], axis=1), raw=True)


# Elementwise: a is ta, b is a tile, a row, a column or a constant

Binary = Callable[[Any, Any], Any]


def _tiles(s: State, operation: Binary, d: int, a: int, b: int) -> None:
    ta, tb = s.f32(a), s.f32(b)
    if ta.shape != tb.shape:
        raise Trap(Fault.SHAPES_DIFFER, *ta.shape, *tb.shape)
    s.write_t(d, operation(ta, tb))


def _row(s: State, operation: Binary, d: int, a: int, b: int) -> None:
    ta, tb = s.f32(a), s.f32(b)
    if ta.shape[1] != tb.shape[1]:
        raise Trap(Fault.ROW_OPERAND, ta.shape[1], tb.shape[1])
    s.write_t(d, operation(ta, tb[0:1, :]))


def _col(s: State, operation: Binary, d: int, a: int, b: int, column: int) -> None:
    ta, tb = s.f32(a), s.f32(b)
    if ta.shape[0] != tb.shape[0]:
        raise Trap(Fault.COL_OPERAND, ta.shape[0], tb.shape[0])
    if column >= tb.shape[1]:
        raise Trap(Fault.NO_SUCH_COLUMN, column, tb.shape[1])
    s.write_t(d, operation(ta, tb[:, column : column + 1]))


def _const(s: State, operation: Binary, d: int, a: int, v: int) -> None:
    s.write_t(d, operation(s.f32(a), s.constant(v)))


def fadd(s: State, d: int, a: int, b: int) -> None:
    _tiles(s, np.add, d, a, b)


def fadd_row(s: State, d: int, a: int, b: int) -> None:
    _row(s, np.add, d, a, b)


def fadd_col(s: State, d: int, a: int, b: int, column: int) -> None:
    _col(s, np.add, d, a, b, column)


def fadd_const(s: State, d: int, a: int, v: int) -> None:
    _const(s, np.add, d, a, v)


def fsub(s: State, d: int, a: int, b: int) -> None:
    _tiles(s, np.subtract, d, a, b)


def fsub_row(s: State, d: int, a: int, b: int) -> None:
    _row(s, np.subtract, d, a, b)


def fsub_col(s: State, d: int, a: int, b: int, column: int) -> None:
    _col(s, np.subtract, d, a, b, column)


def fsub_const(s: State, d: int, a: int, v: int) -> None:
    _const(s, np.subtract, d, a, v)


def fmul(s: State, d: int, a: int, b: int) -> None:
    _tiles(s, np.multiply, d, a, b)


def fmul_row(s: State, d: int, a: int, b: int) -> None:
    _row(s, np.multiply, d, a, b)


def fmul_col(s: State, d: int, a: int, b: int, column: int) -> None:
    _col(s, np.multiply, d, a, b, column)


def fmul_const(s: State, d: int, a: int, v: int) -> None:
    _const(s, np.multiply, d, a, v)


def fmax(s: State, d: int, a: int, b: int) -> None:
    _tiles(s, fn.maximum, d, a, b)


def fmax_row(s: State, d: int, a: int, b: int) -> None:
    _row(s, fn.maximum, d, a, b)


def fmax_col(s: State, d: int, a: int, b: int, column: int) -> None:
    _col(s, fn.maximum, d, a, b, column)


def fmax_const(s: State, d: int, a: int, v: int) -> None:
    _const(s, fn.maximum, d, a, v)


def fcmpgt(s: State, d: int, a: int, b: int) -> None:
    _tiles(s, fn.greater, d, a, b)


def fcmpgt_row(s: State, d: int, a: int, b: int) -> None:
    _row(s, fn.greater, d, a, b)


def fcmpgt_col(s: State, d: int, a: int, b: int, column: int) -> None:
    _col(s, fn.greater, d, a, b, column)


def fcmpgt_const(s: State, d: int, a: int, v: int) -> None:
    _const(s, fn.greater, d, a, v)


# One tile in, one tile out


def mov(s: State, d: int, a: int) -> None:
    s.write_t(d, s.f32(a))


def swap(s: State, d: int, a: int) -> None:
    ta = s.f32(a)
    rows, cols = ta.shape
    if cols % 2:
        raise Trap(Fault.ODD_COLUMNS, cols)
    s.write_t(d, ta.reshape(rows, cols // 2, 2)[:, :, ::-1].reshape(rows, cols))


def cvt_bf16(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.round_bf16(s.f32(a)))


def mask(s: State, d: int, a: int, v: int) -> None:
    s.write_t(d, fn.mask(s.f32(a), s.x[v]))


def relu(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.relu(s.f32(a)))


def exp(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.exp(s.f32(a)))


def log(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.log(s.f32(a)))


def erf(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.erf(s.f32(a)))


def tanh(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.tanh(s.f32(a)))


def sigmoid(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.sigmoid(s.f32(a)))


def gelu_tanh(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.gelu_tanh(s.f32(a)))


def gelu_erf(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.gelu_erf(s.f32(a)))


def silu(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.silu(s.f32(a)))


def rsqrt(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.rsqrt(s.f32(a)))


def recip(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.recip(s.f32(a)))


def recip_safe(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.recip_safe(s.f32(a)))


def rowsum(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.rowsum(s.f32(a)))


def rowmax(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.rowmax(s.f32(a)))


def rowargmax(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.rowargmax(s.f32(a)))


def colsum(s: State, d: int, a: int) -> None:
    s.write_t(d, fn.colsum(s.f32(a)))


def softmax(s: State, p: int, ts: int, tm: int) -> None:
    scores, running = s.f32(ts), s.f32(tm)
    if running.shape[0] != scores.shape[0] or running.shape[1] < 3:
        raise Trap(Fault.SOFTMAX_STATE, *running.shape, scores.shape[0])
    weights, updated = fn.softmax_step(scores, running)
    s.write_t(p, weights)
    s.write_t(tm, updated)
