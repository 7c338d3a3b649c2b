"""What the next instruction will take: shapes, addresses, pipe slots, uops; and its faults.

Runs once per dispatched instruction, before anything changes, so a faulting program stops with the
machine as it was.
"""

from isa.faults import Fault
from isa.table import OP
from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    ACCESS_BROADCAST,
    ACCESS_BYTE,
    ACCESS_COLUMNS,
    ACCESS_GATHER,
    C_OPS,
    C_SHAPE,
    C_UNITS,
    C_X,
    DATAFLOW_OS,
    DATAFLOW_WS,
    H_CONTROL,
    H_CONTROL_WORDS,
    H_FAULT_ARGUMENTS,
    H_LINE_SHIFT,
    H_ROW_BYTES,
    H_TENSOR_COUNT,
    H_TENSORS,
    H_TILE_ROWS,
    KIND_BINARY,
    KIND_CONTROL,
    KIND_FILL,
    KIND_LOAD,
    KIND_MATMUL,
    KIND_SOFTMAX,
    KIND_STORE,
    N_ADDRESS,
    N_CHAIN,
    N_COLS,
    N_K,
    N_MEMORY_ROWS,
    N_PIECES,
    N_ROW_BYTES,
    N_ROWS,
    N_SLOTS,
    N_STREAM,
    N_STRIDE,
    N_UOPS,
    O_OCCUPANCY,
    O_SIZE,
    O_SLOT,
    O_UNIT,
    O_UOPS,
    P_A,
    P_ACCESS,
    P_B,
    P_BYTES,
    P_C,
    P_D,
    P_E,
    P_F,
    P_KIND,
    P_OP,
    P_RAW,
    P_TENSOR,
    SHAPE_BF16,
    SHAPE_F32,
    SHAPE_NONE,
    SLOT_ARRAY,
    SLOT_INSTRUCTION,
    SLOT_ROW,
    U_ARRAY_COLUMNS,
    U_ARRAY_ROWS,
    U_BYTES,
    U_DATAFLOW,
    U_SIZE,
)

APPEND = OP["append.bf16"]
MATMUL_BF16 = OP["matmul.bf16"]
ST = OP["st"]
SWAP = OP["swap"]
FADD = OP["fadd"]
FCMPGT_CONST = OP["fcmpgt.const"]
COLSUM = OP["colsum"]
FORM_TILE, FORM_ROW, FORM_COL, FORM_CONST = range(4)
NO_FAULT = 0
OUTSIDE_TENSOR = int(Fault.OUTSIDE_TENSOR)
MISALIGNED_ADDRESS = int(Fault.MISALIGNED_ADDRESS)
MISALIGNED_STRIDE = int(Fault.MISALIGNED_STRIDE)
MISALIGNED_CONTROL = int(Fault.MISALIGNED_CONTROL)
OUTSIDE_CONTROL = int(Fault.OUTSIDE_CONTROL)
BAD_SHAPE = int(Fault.BAD_SHAPE)
TILE_WITHOUT_SHAPE = int(Fault.TILE_WITHOUT_SHAPE)
TILE_IS_RAW = int(Fault.TILE_IS_RAW)
TILE_IS_F32 = int(Fault.TILE_IS_F32)
SHAPES_DIFFER = int(Fault.SHAPES_DIFFER)
ROW_OPERAND = int(Fault.ROW_OPERAND)
COL_OPERAND = int(Fault.COL_OPERAND)
NO_SUCH_COLUMN = int(Fault.NO_SUCH_COLUMN)
MATMUL_DEPTH = int(Fault.MATMUL_DEPTH)
MATMUL_RESULT = int(Fault.MATMUL_RESULT)
APPEND_ROWS = int(Fault.APPEND_ROWS)
APPEND_COLS = int(Fault.APPEND_COLS)
ODD_COLUMNS = int(Fault.ODD_COLUMNS)
SOFTMAX_STATE = int(Fault.SOFTMAX_STATE)


@njit
def shape_of(core: int, tile: int) -> int:
    """Offset of a tile register's shape words: rows, cols, type, B-copy valid."""
    return core + C_SHAPE + 4 * tile


@njit
def fault(S: Flat, code: int, a: int, b: int = 0, c: int = 0, d: int = 0) -> int:
    """Note the arguments of a fault message; returns the code."""
    S[H_FAULT_ARGUMENTS] = a
    S[H_FAULT_ARGUMENTS + 1] = b
    S[H_FAULT_ARGUMENTS + 2] = c
    S[H_FAULT_ARGUMENTS + 3] = d
    return code


@njit
def check_control(S: Flat, address: int) -> int:
    """A fault code unless ``address`` is that of a control word."""
    if address & 7:
        return fault(S, MISALIGNED_CONTROL, address)
    if address < 0 or address >> 3 >= S[H_CONTROL_WORDS]:
        return fault(S, OUTSIDE_CONTROL, address, 8 * S[H_CONTROL_WORDS])
    return NO_FAULT


@njit
def check_f32(S: Flat, core: int, tile: int) -> int:
    """A fault code unless the tile register holds f32."""
    kind = S[shape_of(core, tile) + 2]
    if kind == SHAPE_NONE:
        return fault(S, TILE_WITHOUT_SHAPE, tile)
    return fault(S, TILE_IS_RAW, tile) if kind == SHAPE_BF16 else NO_FAULT


@njit
def check_raw(S: Flat, core: int, tile: int) -> int:
    """A fault code unless the tile register holds a raw bf16 operand."""
    kind = S[shape_of(core, tile) + 2]
    if kind == SHAPE_NONE:
        return fault(S, TILE_WITHOUT_SHAPE, tile)
    return fault(S, TILE_IS_F32, tile) if kind == SHAPE_F32 else NO_FAULT


@njit
def check_shape(S: Flat, rows: int, cols: int, widest: int) -> int:
    """A fault code unless a tile register can hold rows x cols."""
    if rows < 1 or rows > S[H_TILE_ROWS] or cols < 1 or cols > widest:
        return fault(S, BAD_SHAPE, rows, cols, S[H_TILE_ROWS], widest)
    return NO_FAULT


@njit
def within_tensor(S: Flat, P: Flat, ip: int, lo: int, hi: int) -> bool:
    """Whether bytes [lo, hi) lie in one tensor."""
    table = S[H_TENSORS]
    i = P[ip + P_TENSOR]
    if S[table + 2 * i] <= lo and hi <= S[table + 2 * i + 1]:
        return True
    left = 0
    right = S[H_TENSOR_COUNT]
    while right - left > 1:
        middle = (left + right) // 2
        if S[table + 2 * middle] <= lo:
            left = middle
        else:
            right = middle
    P[ip + P_TENSOR] = left
    return S[table + 2 * left] <= lo and hi <= S[table + 2 * left + 1]


@njit
def count_pieces(S: Flat, address: int, stride: int, rows: int, row_bytes: int) -> int:
    """Line accesses of a strided access: one per row and line touched."""
    shift = S[H_LINE_SHIFT]
    line = 1 << shift
    if address & (line - 1) == 0 and stride & (line - 1) == 0:
        return rows * ((row_bytes + line - 1) >> shift)
    pieces = 0
    for row in range(rows):
        start = address + row * stride
        pieces += ((start + row_bytes - 1) >> shift) - (start >> shift) + 1
    return pieces


@njit
def store_slots(S: Flat, address: int, stride: int, rows: int, row_bytes: int, width: int) -> int:
    """Pipe slots of a store: bytes of each line access over the width of a pipe."""
    shift = S[H_LINE_SHIFT]
    slots = 0
    for row in range(rows):
        start = address + row * stride
        end = start + row_bytes
        while start < end:
            stop = min(end, ((start >> shift) + 1) << shift)
            slots += (stop - start + width - 1) // width
            start = stop
    return slots


@njit
def decode_memory(S: Flat, P: Flat, core: int, ip: int) -> int:
    """Addresses, shape and line accesses of a load, store or prefetch."""
    op = P[ip + P_OP]
    access = P[ip + P_ACCESS]
    size = P[ip + P_BYTES]
    x = core + C_X
    stride = 0
    rows = 1
    cols = 1
    index = 0
    if P[ip + P_KIND] == KIND_STORE:
        code = check_f32(S, core, P[ip + P_A])
        if code:
            return code
        s = shape_of(core, P[ip + P_A])
        rows = S[s]
        cols = S[s + 1]
        address = S[x + P[ip + P_B]]
        stride = S[x + P[ip + P_C]]
    elif access == ACCESS_BYTE:
        address = S[x + P[ip + P_A]]
        size = 1
    else:
        address = S[x + P[ip + P_B]]
        if access == ACCESS_BROADCAST:
            rows = S[x + P[ip + P_C]]
            cols = S[x + P[ip + P_D]]
        else:
            stride = S[x + P[ip + P_C]]
            if access == ACCESS_GATHER:
                index = S[x + P[ip + P_D]]
                rows = S[x + P[ip + P_E]]
                cols = S[x + P[ip + P_F]]
            else:
                rows = S[x + P[ip + P_D]]
                cols = S[x + P[ip + P_E]]
        widest = S[H_ROW_BYTES] // (2 if P[ip + P_RAW] else 4)
        code = check_shape(S, rows, cols, widest)
        if code:
            return code
    if address % size != 0:
        return fault(S, MISALIGNED_ADDRESS, address, size)
    if stride % size != 0:
        return fault(S, MISALIGNED_STRIDE, stride, size)
    S[core + N_ROWS] = rows
    S[core + N_COLS] = cols
    memory_rows = rows
    row_bytes = cols * size
    if access == ACCESS_COLUMNS:
        memory_rows = cols
        row_bytes = rows * size
    elif access == ACCESS_BROADCAST:
        memory_rows = 1
    S[core + N_ADDRESS] = address
    S[core + N_STRIDE] = stride
    S[core + N_MEMORY_ROWS] = memory_rows
    S[core + N_ROW_BYTES] = row_bytes
    if access == ACCESS_GATHER:
        shift = S[H_LINE_SHIFT]
        pieces = 0
        for row in range(rows):
            code = check_control(S, index + 8 * row)
            if code:
                return code
            start = address + S[S[H_CONTROL] + (index >> 3) + row] * stride
            if not within_tensor(S, P, ip, start, start + row_bytes):
                return fault(S, OUTSIDE_TENSOR, start, start + row_bytes - 1)
            pieces += ((start + row_bytes - 1) >> shift) - (start >> shift) + 1
    else:
        last = address + (memory_rows - 1) * stride
        lo = min(address, last)
        hi = max(address, last) + row_bytes
        if not within_tensor(S, P, ip, lo, hi):
            return fault(S, OUTSIDE_TENSOR, lo, hi - 1)
        pieces = count_pieces(S, address, stride, memory_rows, row_bytes)
    S[core + N_PIECES] = pieces
    o = S[core + C_OPS] + op * O_SIZE
    slots = pieces
    if P[ip + P_KIND] == KIND_STORE:
        width = S[core + C_UNITS + S[o + O_UNIT] * U_SIZE + U_BYTES]
        slots = store_slots(S, address, stride, memory_rows, row_bytes, width)
    S[core + N_SLOTS] = slots
    S[core + N_CHAIN] = 0
    S[core + N_UOPS] = pieces if S[o + O_UOPS] < 0 else S[o + O_UOPS]
    return NO_FAULT


@njit
def decode_matmul(S: Flat, P: Flat, core: int, ip: int) -> int:
    """Operands and accumulator of a matmul have to fit each other."""
    c, a, b = P[ip + P_A], P[ip + P_B], P[ip + P_C]
    raw = P[ip + P_OP] == MATMUL_BF16
    code = check_f32(S, core, c)
    if not code:
        code = check_raw(S, core, a) if raw else check_f32(S, core, a)
    if not code:
        code = check_raw(S, core, b) if raw else check_f32(S, core, b)
    if code:
        return code
    sa, sb, sc = shape_of(core, a), shape_of(core, b), shape_of(core, c)
    if S[sa + 1] != S[sb + 1]:
        return fault(S, MATMUL_DEPTH, S[sa + 1], S[sb + 1])
    if S[sc] != S[sa] or S[sc + 1] != S[sb]:
        return fault(S, MATMUL_RESULT, S[sc], S[sc + 1], S[sa], S[sb])
    S[core + N_ROWS] = S[sa]
    S[core + N_COLS] = S[sb]
    S[core + N_K] = S[sa + 1]
    return NO_FAULT


@njit
def decode_array(S: Flat, core: int, o: int) -> int:
    """Slots of a matmul on an array that holds other operands; N_STREAM: if it continues a fold."""
    unit = core + C_UNITS + S[o + O_UNIT] * U_SIZE
    dataflow = S[unit + U_DATAFLOW]
    rows = S[unit + U_ARRAY_ROWS]
    columns = S[unit + U_ARRAY_COLUMNS]
    m = S[core + N_ROWS]
    n = S[core + N_COLS]
    k = S[core + N_K]
    # what lies along the rows and the columns, and what streams through
    if dataflow == DATAFLOW_OS:
        down, across, stream = m, n, k
    elif dataflow == DATAFLOW_WS:
        down, across, stream = k, n, m
    else:
        down, across, stream = k, m, n
    set_up = rows + columns - 2
    if dataflow != DATAFLOW_OS:
        set_up += rows  # the stationary tile moves in
    folds = ((down + rows - 1) // rows) * ((across + columns - 1) // columns)
    S[core + N_STREAM] = stream * S[o + O_OCCUPANCY] if folds == 1 else 0
    return folds * (set_up + stream)


@njit
def decode_binary(S: Flat, P: Flat, core: int, ip: int) -> int:
    """A tile with a tile, a row, a column or a constant."""
    a = P[ip + P_B]
    code = check_f32(S, core, a)
    if code:
        return code
    sa = shape_of(core, a)
    S[core + N_ROWS] = S[sa]
    S[core + N_COLS] = S[sa + 1]
    form = (P[ip + P_OP] - FADD) & 3
    if form == FORM_CONST:
        return NO_FAULT
    b = P[ip + P_C]
    code = check_f32(S, core, b)
    if code:
        return code
    sb = shape_of(core, b)
    if form == FORM_TILE:
        if S[sa] != S[sb] or S[sa + 1] != S[sb + 1]:
            return fault(S, SHAPES_DIFFER, S[sa], S[sa + 1], S[sb], S[sb + 1])
    elif form == FORM_ROW:
        if S[sa + 1] != S[sb + 1]:
            return fault(S, ROW_OPERAND, S[sa + 1], S[sb + 1])
    elif S[sa] != S[sb]:
        return fault(S, COL_OPERAND, S[sa], S[sb])
    elif P[ip + P_D] >= S[sb + 1]:
        return fault(S, NO_SUCH_COLUMN, P[ip + P_D], S[sb + 1])
    return NO_FAULT


@njit
def decode_tile(S: Flat, P: Flat, core: int, ip: int) -> int:
    """Shape of a tile operation; N_ROWS x N_COLS is what it works through."""
    kind = P[ip + P_KIND]
    if kind == KIND_MATMUL:
        return decode_matmul(S, P, core, ip)
    if kind == KIND_BINARY:
        return decode_binary(S, P, core, ip)
    if kind == KIND_FILL:
        rows = S[core + C_X + P[ip + P_C]]
        cols = S[core + C_X + P[ip + P_D]]
        S[core + N_ROWS] = rows
        S[core + N_COLS] = cols
        return check_shape(S, rows, cols, S[H_ROW_BYTES] // 4)
    if P[ip + P_OP] == APPEND:
        code = check_raw(S, core, P[ip + P_A])
        if code:
            return code
    a = P[ip + P_B]
    code = check_f32(S, core, a)
    if code:
        return code
    sa = shape_of(core, a)
    rows = S[sa]
    cols = S[sa + 1]
    S[core + N_ROWS] = rows
    S[core + N_COLS] = cols
    if P[ip + P_OP] == SWAP and cols & 1:
        return fault(S, ODD_COLUMNS, cols)
    if P[ip + P_OP] == APPEND:
        d = shape_of(core, P[ip + P_A])
        if S[d] != rows:
            return fault(S, APPEND_ROWS, S[d], rows)
        if S[d + 1] + cols > S[H_ROW_BYTES] // 2:
            return fault(S, APPEND_COLS, S[d + 1], cols, S[H_ROW_BYTES] // 2)
    if kind == KIND_SOFTMAX:
        m = P[ip + P_C]
        code = check_f32(S, core, m)
        if code:
            return code
        sm = shape_of(core, m)
        if S[sm] != rows or S[sm + 1] < 3:
            return fault(S, SOFTMAX_STATE, S[sm], S[sm + 1], rows)
    return NO_FAULT


@njit
def decode(S: Flat, P: Flat, core: int, ip: int) -> int:
    """Fill the N_ words of a core for the instruction at ``ip``; returns a fault code."""
    kind = P[ip + P_KIND]
    op = P[ip + P_OP]
    if kind in (KIND_LOAD, KIND_STORE):
        return decode_memory(S, P, core, ip)
    o = S[core + C_OPS] + op * O_SIZE
    S[core + N_PIECES] = 0
    S[core + N_CHAIN] = 0
    n = 1
    if kind >= KIND_FILL and kind <= KIND_SOFTMAX:
        code = decode_tile(S, P, core, ip)
        if code:
            return code
        rows = S[core + N_ROWS]
        slot = S[o + O_SLOT]
        if slot != SLOT_INSTRUCTION:
            n = rows
            if slot != SLOT_ROW:
                width = S[core + C_UNITS + S[o + O_UNIT] * U_SIZE + U_BYTES]
                cols = S[core + N_COLS]
                if slot == SLOT_ARRAY:
                    n = decode_array(S, core, o)
                elif kind == KIND_MATMUL:
                    # the accumulator's elements fill the lanes; they are added to once per k
                    # (per pair of k for bf16 operands)
                    k = S[core + N_K]
                    chain = (k + 1) >> 1 if op == MATMUL_BF16 else k
                    n = chain * ((rows * cols * 4 + width - 1) // width)
                    S[core + N_CHAIN] = chain
                else:
                    n = rows * ((cols * 4 + width - 1) // width)
    elif kind == KIND_CONTROL:
        address = S[core + C_X + P[ip + P_C]] + P[ip + P_B]
        code = check_control(S, address)
        if code:
            return code
        S[core + N_ADDRESS] = address
    S[core + N_SLOTS] = n * S[o + O_OCCUPANCY]
    S[core + N_UOPS] = n if S[o + O_UOPS] < 0 else S[o + O_UOPS]
    return NO_FAULT
