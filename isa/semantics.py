"""What every instruction does: one function per row of `isa.table`, named after the mnemonic.

A function takes the state of a core and the operands in assembly order (register numbers and
immediates). It reads all its operands before it writes any. `state.next_pc` is pc + 1 unless a
branch changes it. The arithmetic itself is in `isa.functions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from isa import functions as fn
from isa.encoding import Instr
from isa.faults import Fault, Trap
from isa.functions import Floats
from isa.memory import STORAGE
from isa.state import State
from isa.table import ROWS

# Scalar instructions


def li(s: State, d: int, imm: int) -> None:
    s.write_x(d, imm)


def add(s: State, d: int, a: int, b: int) -> None:
    s.write_x(d, s.x[a] + s.x[b])


def sub(s: State, d: int, a: int, b: int) -> None:
    s.write_x(d, s.x[a] - s.x[b])


def mul(s: State, d: int, a: int, b: int) -> None:
    s.write_x(d, s.x[a] * s.x[b])


def min(s: State, d: int, a: int, b: int) -> None:
    s.write_x(d, s.x[a] if s.x[a] < s.x[b] else s.x[b])


def addi(s: State, d: int, a: int, imm: int) -> None:
    s.write_x(d, s.x[a] + imm)


def slli(s: State, d: int, a: int, imm: int) -> None:
    s.write_x(d, s.x[a] << imm)


def srli(s: State, d: int, a: int, imm: int) -> None:
    s.write_x(d, (s.x[a] & 0xFFFF_FFFF_FFFF_FFFF) >> imm)


def ld(s: State, d: int, imm: int, a: int) -> None:
    s.write_x(d, int(s.control[s.control_index(s.x[a] + imm)]))


def st(s: State, b: int, imm: int, a: int) -> None:
    s.control[s.control_index(s.x[a] + imm)] = s.x[b]


# Branches


def beq(s: State, a: int, b: int, offset: int) -> None:
    if s.x[a] == s.x[b]:
        s.next_pc = s.pc + offset


def bne(s: State, a: int, b: int, offset: int) -> None:
    if s.x[a] != s.x[b]:
        s.next_pc = s.pc + offset


def blt(s: State, a: int, b: int, offset: int) -> None:
    if s.x[a] < s.x[b]:
        s.next_pc = s.pc + offset


def bge(s: State, a: int, b: int, offset: int) -> None:
    if s.x[a] >= s.x[b]:
        s.next_pc = s.pc + offset


def j(s: State, offset: int) -> None:
    s.next_pc = s.pc + offset


def jal(s: State, d: int, offset: int) -> None:
    s.write_x(d, s.pc + 1)
    s.next_pc = s.pc + offset


def jr(s: State, a: int) -> None:
    s.next_pc = s.x[a]


# Loads and stores


def _view(s: State, dtype: str, address: int, stride: int, rows: int, cols: int) -> Any:
    """Return rows x cols elements of memory as a strided view."""
    kind = STORAGE[dtype]
    return np.ndarray((rows, cols), kind, s.mem, address, (stride, kind.itemsize))


def _read(s: State, dtype: str, address: int, stride: int, rows: int, cols: int) -> Floats:
    """Return rows x cols elements of memory, widened to f32."""
    size = STORAGE[dtype].itemsize
    s.check_alignment(address, stride, size)
    s.check_rows(address, stride, rows, cols * size)
    view = _view(s, dtype, address, stride, rows, cols)
    return fn.from_bf16(view) if dtype == "bf16" else view.copy()


def _load(s: State, dtype: str, d: int, a: int, xs: int, r: int, c: int, *, raw: bool) -> None:
    rows, cols = s.x[r], s.x[c]
    s.check_shape(rows, cols, raw=raw)
    s.write_t(d, _read(s, dtype, s.x[a], s.x[xs], rows, cols), raw=raw)


def load_f32(s: State, d: int, a: int, xs: int, r: int, c: int) -> None:
    _load(s, "f32", d, a, xs, r, c, raw=False)


def load_bf16(s: State, d: int, a: int, xs: int, r: int, c: int) -> None:
    _load(s, "bf16", d, a, xs, r, c, raw=False)


def load_raw_bf16(s: State, d: int, a: int, xs: int, r: int, c: int) -> None:
    _load(s, "bf16", d, a, xs, r, c, raw=True)


def _loadt(s: State, dtype: str, d: int, a: int, xs: int, r: int, c: int, *, raw: bool) -> None:
    rows, cols = s.x[r], s.x[c]
    s.check_shape(rows, cols, raw=raw)
    in_memory = _read(s, dtype, s.x[a], s.x[xs], cols, rows)
    s.write_t(d, np.ascontiguousarray(in_memory.T), raw=raw)


def loadt_f32(s: State, d: int, a: int, xs: int, r: int, c: int) -> None:
    _loadt(s, "f32", d, a, xs, r, c, raw=False)


def loadt_bf16(s: State, d: int, a: int, xs: int, r: int, c: int) -> None:
    _loadt(s, "bf16", d, a, xs, r, c, raw=False)


def loadt_raw_bf16(s: State, d: int, a: int, xs: int, r: int, c: int) -> None:
    _loadt(s, "bf16", d, a, xs, r, c, raw=True)


def _gather(s: State, dtype: str, d: int, a: int, xs: int, xi: int, r: int, c: int) -> None:
    rows, cols, base, stride = s.x[r], s.x[c], s.x[a], s.x[xs]
    size = STORAGE[dtype].itemsize
    s.check_shape(rows, cols)
    s.check_alignment(base, stride, size)
    numbers = [int(s.control[s.control_index(s.x[xi] + 8 * i)]) for i in range(rows)]
    addresses = sorted(base + number * stride for number in numbers)
    s.check_range(addresses[0], addresses[-1] + cols * size)
    data = [_read(s, dtype, base + number * stride, 0, 1, cols) for number in numbers]
    s.write_t(d, np.concatenate(data))


def gather_f32(s: State, d: int, a: int, xs: int, xi: int, r: int, c: int) -> None:
    _gather(s, "f32", d, a, xs, xi, r, c)


def gather_bf16(s: State, d: int, a: int, xs: int, xi: int, r: int, c: int) -> None:
    _gather(s, "bf16", d, a, xs, xi, r, c)


def _bcast(s: State, dtype: str, d: int, a: int, r: int, c: int) -> None:
    rows, cols = s.x[r], s.x[c]
    s.check_shape(rows, cols)
    s.write_t(d, np.repeat(_read(s, dtype, s.x[a], 0, 1, cols), rows, axis=0))


def bcast_f32(s: State, d: int, a: int, r: int, c: int) -> None:
    _bcast(s, "f32", d, a, r, c)


def bcast_bf16(s: State, d: int, a: int, r: int, c: int) -> None:
    _bcast(s, "bf16", d, a, r, c)


def _store(s: State, dtype: str, ts: int, a: int, xs: int) -> None:
    data = s.f32(ts)
    address, stride, (rows, cols) = s.x[a], s.x[xs], data.shape
    size = STORAGE[dtype].itemsize
    s.check_alignment(address, stride, size)
    s.check_rows(address, stride, rows, cols * size)
    out = fn.bf16_bits(data) if dtype == "bf16" else data
    # Row by row: where rows overlap in memory, the later row wins.
    for row in range(rows):
        _view(s, dtype, address + row * stride, 0, 1, cols)[0] = out[row]


def store_f32(s: State, ts: int, a: int, xs: int) -> None:
    _store(s, "f32", ts, a, xs)


def store_bf16(s: State, ts: int, a: int, xs: int) -> None:
    _store(s, "bf16", ts, a, xs)


def prefetch(s: State, a: int) -> None:
    s.check_range(s.x[a], s.x[a] + 1)


def fill_f32(s: State, d: int, v: int, r: int, c: int) -> None:
    rows, cols = s.x[r], s.x[c]
    s.check_shape(rows, cols)
    s.write_t(d, np.full((rows, cols), s.constant(v), dtype=np.float32))


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


# Other cores, accounting, the end


def signal(s: State, counter: int) -> None:
    s.counters[counter] = s.counters.get(counter, 0) + 1


def wait(s: State, counter: int, n: int) -> None:
    value = s.counters.get(counter, 0)
    if value < s.x[n]:
        raise Trap(Fault.WAIT_FOREVER, counter, value, s.x[n])


def halt(s: State) -> None:
    s.halted = True


def region(s: State, number: int) -> None:
    s.region = number


FUNCTIONS: dict[str, Callable[..., None]] = {row.mnemonic: globals()[row.semantics] for row in ROWS}


def execute(state: State, instr: Instr) -> None:
    """Execute one instruction at `state.pc` and move `state.pc` to the next one.

    Raises `isa.faults.Trap` where the instruction may not do what it asks for.
    """
    state.next_pc = state.pc + 1
    FUNCTIONS[instr.mnemonic](state, *instr.operands)
    state.pc = state.next_pc
