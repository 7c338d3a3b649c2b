"""What a dispatched instruction does: registers, control words, branch targets, tile values.

Timing is none of this file's business: it runs in program order, at dispatch (rule F4).
"""

from isa.table import OP
from sim.engine.decode import FADD, FORM_CONST, shape_of
from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    ACCESS_COLUMNS,
    ACCESS_GATHER,
    C_X,
    H_CONTROL,
    H_CORE_BASE,
    H_CORE_STRIDE,
    H_TILES,
    KIND_BINARY,
    KIND_FILL,
    KIND_LOAD,
    KIND_MATMUL,
    KIND_PACK,
    KIND_REDUCE,
    KIND_SOFTMAX,
    KIND_STORE,
    N_ADDRESS,
    N_COLS,
    N_K,
    N_ROWS,
    N_STRIDE,
    P_A,
    P_ACCESS,
    P_B,
    P_C,
    P_D,
    P_DEST,
    P_OP,
    P_RAW,
    SHAPE_BF16,
    SHAPE_F32,
)
from sim.engine.values import SLOT, tile_execute

LI, ADD, SUB, MUL, MIN, ADDI, SLLI = (
    OP[name] for name in ("li", "add", "sub", "mul", "min", "addi", "slli")
)
LD, BEQ, BNE, BLT = OP["ld"], OP["beq"], OP["bne"], OP["blt"]
J, JAL, JR = OP["j"], OP["jal"], OP["jr"]
COLSUM, APPEND = OP["colsum"], OP["append.bf16"]
PREFETCH, MASK = OP["prefetch"], OP["mask"]


@njit
def set_x(S: Flat, core: int, register: int, value: int) -> None:
    """Write a scalar register; x0 stays zero."""
    if register != 0:
        S[core + C_X + register] = value


@njit
def run_scalar(S: Flat, P: Flat, core: int, ip: int) -> None:
    """Arithmetic on scalar registers, modulo 2^64."""
    op = P[ip + P_OP]
    x = core + C_X
    d = P[ip + P_A]
    b = P[ip + P_B]
    c = P[ip + P_C]
    if op == LI:
        value = b
    elif op == ADDI:
        value = S[x + b] + c
    elif op == ADD:
        value = S[x + b] + S[x + c]
    elif op == SUB:
        value = S[x + b] - S[x + c]
    elif op == MUL:
        value = S[x + b] * S[x + c]
    elif op == MIN:
        value = min(S[x + b], S[x + c])
    elif op == SLLI:
        value = S[x + b] << c
    else:
        value = S[x + b] >> c
        if c > 0:  # zeros come in from the left
            value &= (1 << (64 - c)) - 1
    set_x(S, core, d, value)


@njit
def run_control(S: Flat, P: Flat, core: int, ip: int) -> None:
    """Read or write a word of the control segment."""
    word = S[H_CONTROL] + (S[core + N_ADDRESS] >> 3)
    if P[ip + P_OP] == LD:
        set_x(S, core, P[ip + P_A], S[word])
    else:
        S[word] = S[core + C_X + P[ip + P_A]]


@njit
def branch_target(S: Flat, P: Flat, core: int, pc: int, ip: int) -> int:
    """Where a branch goes."""
    op = P[ip + P_OP]
    x = core + C_X
    if op == J:
        return pc + P[ip + P_A]
    if op == JAL:
        set_x(S, core, P[ip + P_A], pc + 1)
        return pc + P[ip + P_B]
    if op == JR:
        return S[x + P[ip + P_A]]
    a = S[x + P[ip + P_A]]
    b = S[x + P[ip + P_B]]
    if op == BEQ:
        taken = a == b
    elif op == BNE:
        taken = a != b
    elif op == BLT:
        taken = a < b
    else:
        taken = a >= b
    return pc + P[ip + P_C] if taken else pc + 1


@njit
def run_tile(S: Flat, P: Flat, T: Flat, M: Flat, core: int, ip: int, kind: int) -> None:
    """Move and compute the real values of a tile instruction."""
    op = P[ip + P_OP]
    x = core + C_X
    slot = (core - S[H_CORE_BASE]) // S[H_CORE_STRIDE] * S[H_TILES]
    td = (slot + P[ip + P_A]) * SLOT
    ta = tb = 0
    k = S[core + N_K]
    extra = 0
    if kind == KIND_LOAD:
        if op == PREFETCH:
            return
        if P[ip + P_ACCESS] == ACCESS_GATHER:
            extra = S[H_CONTROL] + (S[x + P[ip + P_D]] >> 3)
    elif kind == KIND_FILL:
        extra = S[x + P[ip + P_B]]
    elif kind != KIND_STORE:
        ta = (slot + P[ip + P_B]) * SLOT
        if kind == KIND_MATMUL:
            tb = (slot + P[ip + P_C]) * SLOT
            copy = shape_of(core, P[ip + P_C]) + 3
            extra = S[copy]
            S[copy] = 1
        elif kind == KIND_BINARY:
            form = (op - FADD) & 3
            if form == FORM_CONST:
                extra = S[x + P[ip + P_C]]
            else:
                tb = (slot + P[ip + P_C]) * SLOT
                extra = P[ip + P_D]
        elif kind == KIND_SOFTMAX:
            tb = (slot + P[ip + P_C]) * SLOT
        elif op == MASK:
            extra = S[x + P[ip + P_C]]
        elif op == APPEND:
            k = S[shape_of(core, P[ip + P_A]) + 1]
    rows = S[core + N_ROWS]
    cols = S[core + N_COLS]
    address = S[core + N_ADDRESS]
    stride = S[core + N_STRIDE]
    tile_execute(op, T, M, S, td, ta, tb, rows, cols, k, address, stride, extra)


@njit
def result_shape(S: Flat, P: Flat, core: int, ip: int, kind: int) -> None:
    """Set the shape of the tile registers an instruction writes."""
    if kind == KIND_STORE or P[ip + P_DEST] < 32:
        return
    tile = P[ip + P_DEST] - 32
    s = shape_of(core, tile)
    S[s + 3] = 1 if P[ip + P_ACCESS] == ACCESS_COLUMNS else 0  # loadt leaves the copy behind
    if kind == KIND_MATMUL:
        return
    rows = S[core + N_ROWS]
    cols = S[core + N_COLS]
    S[s + 2] = SHAPE_F32
    if kind == KIND_LOAD:
        if P[ip + P_RAW]:
            S[s + 2] = SHAPE_BF16
    elif kind == KIND_PACK:
        S[s + 2] = SHAPE_BF16
        if P[ip + P_OP] == APPEND:
            cols += S[s + 1]
    elif kind == KIND_REDUCE:
        if P[ip + P_OP] == COLSUM:
            rows = 1
        else:
            cols = 1
    elif kind == KIND_SOFTMAX:
        S[shape_of(core, P[ip + P_C]) + 3] = 0
    S[s] = rows
    S[s + 1] = cols
