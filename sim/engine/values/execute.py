"""The values of one tile instruction: the engine calls `tile_execute` when it is dispatched."""

from typing import Any

import numpy as np

from isa.table import OP
from sim.engine.jit import JIT_DISABLED, inline, njit
from sim.engine.lanes import float_of_bits, load, load_column, splat, store, store_column
from sim.engine.values import elementwise, functions, matmul, moves, reduce
from sim.engine.values.slots import F32_STRIDE, RAW_STRIDE, TRANSPOSED

Array = Any

LOAD_F32, LOAD_BF16, LOAD_RAW = OP["load.f32"], OP["load.bf16"], OP["load.raw.bf16"]
LOADT_F32, LOADT_BF16, LOADT_RAW = OP["loadt.f32"], OP["loadt.bf16"], OP["loadt.raw.bf16"]
GATHER_F32, GATHER_BF16 = OP["gather.f32"], OP["gather.bf16"]
BCAST_F32, BCAST_BF16, FILL = OP["bcast.f32"], OP["bcast.bf16"], OP["fill.f32"]
STORE_F32, STORE_BF16 = OP["store.f32"], OP["store.bf16"]
MATMUL_F32, MATMUL_BF16 = OP["matmul.f32"], OP["matmul.bf16"]
PACK, APPEND = OP["pack.bf16"], OP["append.bf16"]
FIRST_BINARY, LAST_BINARY = OP["fadd"], OP["fcmpgt.const"]
MOV, SWAP, CVT, MASK = OP["mov"], OP["swap"], OP["cvt.bf16"], OP["mask"]
EXP, LOG, ERF, TANH = OP["exp"], OP["log"], OP["erf"], OP["tanh"]
SIGMOID, SILU = OP["sigmoid"], OP["silu"]
GELU_TANH, GELU_ERF, RELU = OP["gelu.tanh"], OP["gelu.erf"], OP["relu"]
RSQRT, RECIP, RECIP_SAFE = OP["rsqrt"], OP["recip"], OP["recip.safe"]
ROWSUM, ROWMAX, ROWARGMAX, COLSUM = OP["rowsum"], OP["rowmax"], OP["rowargmax"], OP["colsum"]
SOFTMAX = OP["softmax"]

_MINUS_INFINITY = np.float32(-np.inf)


@inline
def _apply(op: int, T: Array, td: int, ta: int, rows: int) -> None:
    """td = f(ta), row by row, for the functions of one tile."""
    if op == EXP:
        for at in range(0, rows * F32_STRIDE, F32_STRIDE):
            store(T, td + at, functions.exp(load(T, ta + at)))
    elif op == SILU:
        for at in range(0, rows * F32_STRIDE, F32_STRIDE):
            store(T, td + at, functions.silu(load(T, ta + at)))
    elif op == GELU_TANH:
        for at in range(0, rows * F32_STRIDE, F32_STRIDE):
            store(T, td + at, functions.gelu_tanh(load(T, ta + at)))
    elif op == RSQRT:
        for at in range(0, rows * F32_STRIDE, F32_STRIDE):
            store(T, td + at, functions.rsqrt(load(T, ta + at)))
    elif op == RECIP:
        for at in range(0, rows * F32_STRIDE, F32_STRIDE):
            store(T, td + at, functions.recip(load(T, ta + at)))
    elif op == RECIP_SAFE:
        for at in range(0, rows * F32_STRIDE, F32_STRIDE):
            store(T, td + at, functions.recip_safe(load(T, ta + at)))
    elif op == RELU:
        for at in range(0, rows * F32_STRIDE, F32_STRIDE):
            store(T, td + at, functions.relu(load(T, ta + at)))
    elif op == SIGMOID:
        for at in range(0, rows * F32_STRIDE, F32_STRIDE):
            store(T, td + at, functions.sigmoid(load(T, ta + at)))
    elif op == TANH:
        for at in range(0, rows * F32_STRIDE, F32_STRIDE):
            store(T, td + at, functions.tanh(load(T, ta + at)))
    elif op == GELU_ERF:
        for at in range(0, rows * F32_STRIDE, F32_STRIDE):
            store(T, td + at, functions.gelu_erf(load(T, ta + at)))
    elif op == ERF:
        for at in range(0, rows * F32_STRIDE, F32_STRIDE):
            store(T, td + at, functions.erf(load(T, ta + at)))
    elif op == LOG:
        for at in range(0, rows * F32_STRIDE, F32_STRIDE):
            store(T, td + at, functions.log(load(T, ta + at)))


@inline
def _function(op: int, T: Array, td: int, ta: int, rows: int, cols: int) -> None:
    """td = f(ta); a single column is turned into a row first, which is up to 16 times quicker."""
    if cols == 1:
        row = td + TRANSPOSED
        store(T, row, load_column(T, ta, F32_STRIDE))
        _apply(op, T, row, row, 1)
        store_column(T, td, F32_STRIDE, load(T, row))
    else:
        _apply(op, T, td, ta, rows)


@njit
def tile_execute(
    op: int,
    T: Array,
    memory: Array,
    S: Array,
    td: int,
    ta: int,
    tb: int,
    rows: int,
    cols: int,
    k: int,
    address: int,
    stride: int,
    extra: int,
) -> None:
    """Compute the values of one tile instruction.

    Args:
        op: the opcode.
        T: flat view of the tile storage, float32 [slots * SLOT].
        memory: flat view of tensor memory, uint8, indexed by address.
        S: flat view of int64 words, of which a gather reads its indices.
        td, ta, tb: element offsets in T of the slots of the first, second and third tile operand,
            whatever their roles (store: td is the source; softmax: td = tp, ta = ts, tb = tm).
        rows, cols: the shape of the result; for reductions and append.bf16 that of ta.
        k: matmul: columns of ta; append.bf16: columns td has before.
        address, stride: bytes, of loads and stores.
        extra: fill, .const: the f32's bits (low 32). mask: xv. .col: the column. gather: offset
            in S of the first index. matmul: 1 if tb's transposed copy is valid, else 0 and it is
            made (so it is valid afterwards).

    Writing a tile invalidates its transposed copy; only the loadt instructions leave a valid one.
    """
    if op in (MATMUL_F32, MATMUL_BF16):
        step = F32_STRIDE if op == MATMUL_F32 else RAW_STRIDE
        if extra == 0:
            matmul.transpose_operand(T, tb, k, step)
        matmul.matmul(T, td, ta, tb, rows, k, step)
    elif op == LOAD_F32:
        moves.load_f32(T, memory, td, rows, cols, address, stride, F32_STRIDE)
    elif op == LOAD_BF16:
        moves.load_bf16_as_f32(T, memory, td, rows, cols, address, stride, F32_STRIDE)
    elif op == LOAD_RAW:
        moves.load_raw(T, memory, td, rows, cols, address, stride)
    elif FIRST_BINARY <= op <= LAST_BINARY:
        elementwise.binary(op, T, td, ta, tb, rows, extra)
    elif op == STORE_F32:
        moves.store_f32(T, memory, td, rows, cols, address, stride)
    elif op == STORE_BF16:
        moves.store_as_bf16(T, memory, td, rows, cols, address, stride)
    elif op == LOADT_F32:
        moves.loadt_f32(T, memory, td, rows, cols, address, stride)
    elif op == LOADT_BF16:
        moves.loadt_bf16(T, memory, td, rows, cols, address, stride)
    elif op == LOADT_RAW:
        moves.loadt_raw(T, memory, td, rows, cols, address, stride)
    elif op == GATHER_F32:
        moves.gather_f32(T, memory, S, td, rows, cols, address, stride, extra)
    elif op == GATHER_BF16:
        moves.gather_bf16(T, memory, S, td, rows, cols, address, stride, extra)
    elif op == BCAST_F32:
        moves.fill(T, td, rows, moves.row_f32(memory, address, cols))
    elif op == BCAST_BF16:
        moves.fill(T, td, rows, moves.row_bf16(memory, address, cols))
    elif op == FILL:
        moves.fill(T, td, rows, splat(float_of_bits(extra)))
    elif op == PACK:
        moves.pack(T, td, ta, rows)
    elif op == APPEND:
        moves.append(T, td, ta, rows, cols, k)
    elif op == SOFTMAX:
        reduce.softmax(T, td, ta, tb, rows, cols)
    elif op == ROWSUM:
        reduce.rowsum(T, td, ta, cols)
    elif op == ROWMAX:
        reduce.rowmax(T, td, ta, cols)
    elif op == ROWARGMAX:
        reduce.rowargmax(T, td, ta, cols)
    elif op == COLSUM:
        reduce.colsum(T, td, ta, rows)
    elif op == MOV:
        moves.move(T, td, ta, rows)
    elif op == SWAP:
        moves.swap(T, td, ta, rows)
    elif op == CVT:
        moves.convert_bf16(T, td, ta, rows)
    elif op == MASK:
        offset = min(max(extra, -16), 16)  # beyond, nothing changes, and row + xv cannot overflow
        moves.mask(T, td, ta, rows, offset, splat(_MINUS_INFINITY))
    else:
        _function(op, T, td, ta, rows, cols)


if JIT_DISABLED:
    # Compiled arithmetic overflows silently, as the machine does; so must the Python form.
    tile_execute = np.errstate(all="ignore")(tile_execute)
