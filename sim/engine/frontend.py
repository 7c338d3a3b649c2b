"""Dispatch: program order, functional execution, branch prediction (rules F1-F8).

An instruction is executed when it is dispatched: registers, shapes and bytes are those of program
order.  What follows (issue, caches, retirement) decides only *when*.
"""

from isa.faults import Fault
from isa.table import OP
from sim.engine.clock import cycle_to_fs
from sim.engine.decode import NO_FAULT, decode, fault
from sim.engine.execute import branch_target, result_shape, run_control, run_scalar, run_tile
from sim.engine.flat import Flat
from sim.engine.issue import depend, enqueue
from sim.engine.jit import njit
from sim.engine.layout import (
    A_CAUSES,
    A_COLUMNS,
    A_FLOPS,
    A_INSTRUCTIONS,
    ACCESS_BYTE,
    ACCESS_GATHER,
    BLOCK_FENCE,
    BLOCK_NONE,
    BLOCK_REDIRECT,
    BLOCK_STORE,
    BLOCK_WAIT,
    BLOCK_WINDOW,
    C_ACCOUNT,
    C_BLOCK,
    C_BRANCHES,
    C_BUBBLE,
    C_DISPATCH_NEXT,
    C_DISPATCH_SLOT,
    C_DISPATCHED,
    C_HALTED,
    C_HEAD,
    C_LOAD_QUEUE,
    C_LQ,
    C_MISPREDICTS,
    C_OPS,
    C_PC,
    C_PROGRAM,
    C_PROGRAM_WORDS,
    C_REDIRECT,
    C_REGION,
    C_RENAME,
    C_RESUME,
    C_ROB,
    C_SI_TAIL,
    C_SIGNALLED,
    C_SQ_FREE,
    C_SQ_LAST_DRAIN,
    C_SQ_REQUEST,
    C_SQ_TAIL,
    C_STORE_QUEUE,
    C_TAIL,
    C_UNITS,
    C_UOPS,
    C_WAIT_COUNT,
    C_WAIT_SIGNAL,
    C_WIDTH,
    C_X,
    DATAFLOW_OS,
    DATAFLOW_WS,
    E_ACC_LATENCY,
    E_ACC_NODE,
    E_ADDRESS,
    E_CHAIN,
    E_COMPLETE,
    E_CONSUMERS,
    E_DISPATCH,
    E_ISSUE,
    E_KIND,
    E_LATENCY,
    E_LEAVES,
    E_NEEDS,
    E_OP,
    E_OVERLAP,
    E_PC,
    E_PENDING,
    E_PIECES,
    E_READY,
    E_REGION,
    E_ROW_BYTES,
    E_ROWS,
    E_SEQ,
    E_SI,
    E_SIZE,
    E_SLOTS,
    E_SQ,
    E_STREAM,
    E_STRIDE,
    E_UNIT,
    E_UOPS,
    H_CONTROL,
    H_CORE_BASE,
    H_CORE_STRIDE,
    H_CORES,
    H_ENTRIES,
    H_FAULT_PC,
    H_GATHER,
    H_INSTRUCTION_LIMIT,
    H_INSTRUCTIONS,
    H_RUNNING,
    H_SIGNALLED,
    H_SIGNALS,
    H_SQ,
    H_SQ_RING,
    H_TURN,
    H_VALUES,
    HELD_NONE,
    INF,
    KIND_BRANCH,
    KIND_CONTROL,
    KIND_LOAD,
    KIND_MATMUL,
    KIND_REGION,
    KIND_SCALAR,
    KIND_STORE,
    KIND_SYNC,
    N_ADDRESS,
    N_CHAIN,
    N_COLS,
    N_K,
    N_MEMORY_ROWS,
    N_PC,
    N_PIECES,
    N_ROW_BYTES,
    N_ROWS,
    N_SLOTS,
    N_STREAM,
    N_STRIDE,
    N_UOPS,
    NEEDS_NONE,
    O_ACC_LATENCY,
    O_LATENCY,
    O_SIZE,
    O_SLOT,
    O_UNIT,
    P_A,
    P_ACC,
    P_ACCESS,
    P_B,
    P_C,
    P_D,
    P_DEST,
    P_DEST2,
    P_FLOPS,
    P_KIND,
    P_OP,
    P_SIZE,
    P_SOURCE,
    P_SOURCES,
    Q_DRAIN,
    Q_SIZE,
    REGISTER_BITS,
    SLOT_ARRAY,
    U_COUNT,
    U_DATAFLOW,
    U_QUEUE,
    U_SIZE,
    X_FRONT_END,
    X_RETIRING,
)
from sim.engine.predict import predicted
from sim.engine.sets import soon
from sim.engine.stores import allocate_store, may_overlap, release_drained
from sim.engine.turns import note_signal, seen_from
from sim.engine.window import entry

SIGNAL, WAIT, HALT = OP["signal"], OP["wait"], OP["halt"]
JUMP_OUTSIDE, RUNAWAY = int(Fault.JUMP_OUTSIDE), int(Fault.RUNAWAY)


@njit
def charge(S: Flat, core: int, region: int, cause: int, slots: int) -> None:
    """Book dispatch slots of a core."""
    S[S[core + C_ACCOUNT] + region * A_COLUMNS + A_CAUSES + cause] += slots


@njit
def has_room(S: Flat, core: int, o: int, kind: int, t: int) -> bool:
    """Whether window and queues have room for the next instruction; else notes why."""
    unit = core + C_UNITS + S[o + O_UNIT] * U_SIZE
    S[core + C_BLOCK] = BLOCK_WINDOW
    if S[core + C_UOPS] >= S[core + C_ROB]:
        return False
    if S[unit + U_COUNT] >= S[unit + U_QUEUE]:
        return False
    pieces = S[core + N_PIECES]
    if kind == KIND_LOAD:
        if S[core + C_LQ] > 0 and S[core + C_LQ] + pieces > S[core + C_LOAD_QUEUE]:
            return False
    elif kind == KIND_STORE:
        used = release_drained(S, core, t)
        if used > 0 and used + pieces > S[core + C_STORE_QUEUE]:
            S[core + C_BLOCK] = BLOCK_STORE
            free = S[core + C_SQ_FREE]
            if free < S[core + C_SQ_REQUEST]:
                q = core + S[H_SQ] + (free & S[H_SQ_RING]) * Q_SIZE
                S[core + C_DISPATCH_NEXT] = S[q + Q_DRAIN]
            return False
    S[core + C_BLOCK] = BLOCK_NONE
    return True


@njit
def enter_memory(
    S: Flat, P: Flat, core: int, ip: int, e: int, seq: int, kind: int, region: int, t: int
) -> None:
    """Queue entries of a load or store at ``t``, and whether a load meets older stores."""
    address = S[core + N_ADDRESS]
    stride = S[core + N_STRIDE]
    rows = S[core + N_MEMORY_ROWS]
    row_bytes = S[core + N_ROW_BYTES]
    S[e + E_ADDRESS] = address
    S[e + E_STRIDE] = stride
    S[e + E_ROWS] = rows
    S[e + E_ROW_BYTES] = row_bytes
    if kind == KIND_STORE:
        pc = S[e + E_PC]
        S[e + E_SQ] = allocate_store(S, core, seq, address, stride, rows, row_bytes, pc, region)
        return
    S[core + C_LQ] += S[core + N_PIECES]
    last = address + (rows - 1) * stride
    lo = min(address, last)
    hi = max(address, last) + row_bytes
    if P[ip + P_ACCESS] == ACCESS_GATHER:
        gathered = core + S[H_GATHER] + (e - core - S[H_ENTRIES]) // E_SIZE * 16
        index = S[H_CONTROL] + (S[core + C_X + P[ip + P_D]] >> 3)
        lo = INF
        hi = -1
        for row in range(rows):
            start = address + S[index + row] * stride
            S[gathered + row] = start
            lo = min(lo, start)
            hi = max(hi, start + row_bytes)
        S[e + E_ADDRESS] = -1
    release_drained(S, core, t)  # the load's own dispatch may lie cycles ahead
    if P[ip + P_ACCESS] != ACCESS_BYTE:  # prefetch waits for nothing
        S[e + E_OVERLAP] = 1 if may_overlap(S, core, lo, hi) else 0
    S[e + E_SI] = S[core + C_SI_TAIL]
    S[e + E_SQ] = S[core + C_SQ_TAIL]


@njit
def enter_array(S: Flat, P: Flat, core: int, ip: int, e: int, seq: int) -> None:
    """What a matmul needs in its array to continue a fold, and what it leaves there (I7)."""
    S[e + E_STREAM] = S[core + N_STREAM]
    if S[core + N_STREAM] == 0:
        S[e + E_NEEDS] = NEEDS_NONE
        S[e + E_LEAVES] = HELD_NONE
        return
    dataflow = S[core + C_UNITS + S[e + E_UNIT] * U_SIZE + U_DATAFLOW]
    if dataflow == DATAFLOW_OS:
        tile = P[ip + P_A]
    elif dataflow == DATAFLOW_WS:
        tile = P[ip + P_C]
    else:
        tile = P[ip + P_B]
    register = 32 + tile
    S[e + E_NEEDS] = S[core + C_RENAME + register] << REGISTER_BITS | register
    writer = seq if dataflow == DATAFLOW_OS else S[core + C_RENAME + register]
    S[e + E_LEAVES] = writer << REGISTER_BITS | register


@njit
def dispatch_one(
    S: Flat, P: Flat, T: Flat, M: Flat, core: int, pc: int, ip: int, slot: int, t: int
) -> int:
    """Execute the next instruction and put it into the window; returns the slot behind it."""
    width = S[core + C_WIDTH]
    kind = P[ip + P_KIND]
    op = P[ip + P_OP]
    o = S[core + C_OPS] + op * O_SIZE
    region = S[core + C_REGION]
    seq = S[core + C_TAIL]
    S[core + C_TAIL] = seq + 1
    uops = S[core + N_UOPS]
    behind = slot + uops
    when = t if behind <= (t + 1) * width else (behind - 1) // width
    e = entry(S, core, seq)
    soon(S, entry(S, core, seq + 2))
    soon(S, entry(S, core, seq + 2) + 16)
    S[e + E_SEQ] = seq
    S[e + E_PC] = pc
    S[e + E_OP] = op
    S[e + E_KIND] = kind
    S[e + E_UNIT] = S[o + O_UNIT]
    S[e + E_UOPS] = uops
    S[e + E_SLOTS] = S[core + N_SLOTS]
    S[e + E_LATENCY] = S[o + O_LATENCY]
    S[e + E_ACC_LATENCY] = S[o + O_ACC_LATENCY]
    if kind == KIND_MATMUL:
        S[e + E_CHAIN] = S[core + N_CHAIN]
    S[e + E_REGION] = region
    S[e + E_PENDING] = 0
    S[e + E_READY] = when + 1
    S[e + E_COMPLETE] = -1
    S[e + E_CONSUMERS] = -1
    S[e + E_ACC_NODE] = P[ip + P_ACC]
    S[e + E_PIECES] = S[core + N_PIECES]
    S[e + E_OVERLAP] = 0
    S[e + E_DISPATCH] = when
    S[e + E_ISSUE] = -1
    S[core + C_UOPS] += uops
    if kind in (KIND_LOAD, KIND_STORE):
        enter_memory(S, P, core, ip, e, seq, kind, region, t)
    head = S[core + C_HEAD]
    for i in range(P[ip + P_SOURCES]):
        producer = S[core + C_RENAME + P[ip + P_SOURCE + i]]
        if producer >= head:
            depend(S, entry(S, core, producer), e, i)
    following = pc + 1
    if kind == KIND_SCALAR:
        run_scalar(S, P, core, ip)
    elif kind == KIND_BRANCH:
        following = branch_target(S, P, core, pc, ip)
    elif kind == KIND_CONTROL:
        run_control(S, P, core, ip)
    else:
        if S[H_VALUES]:
            run_tile(S, P, T, M, core, ip, kind)
        result_shape(S, P, core, ip, kind)
        if kind == KIND_MATMUL and S[o + O_SLOT] == SLOT_ARRAY:
            enter_array(S, P, core, ip, e, seq)
    if P[ip + P_DEST] > 0:
        S[core + C_RENAME + P[ip + P_DEST]] = seq
    if P[ip + P_DEST2] > 0:
        S[core + C_RENAME + P[ip + P_DEST2]] = seq
    enqueue(S, core, e)
    S[core + C_PC] = following
    S[core + C_DISPATCHED] += 1
    row = S[core + C_ACCOUNT] + region * A_COLUMNS
    S[row + A_INSTRUCTIONS] += 1
    S[row + A_CAUSES + X_RETIRING] += uops
    flops = P[ip + P_FLOPS]
    if flops:
        mn = S[core + N_ROWS] * S[core + N_COLS]
        S[row + A_FLOPS] += (flops >> 4) * mn * S[core + N_K] if flops >> 4 else flops * mn
    if kind == KIND_BRANCH:
        S[core + C_BRANCHES] += 1
        if not predicted(S, core, op, pc, following):
            S[core + C_MISPREDICTS] += 1
            S[core + C_REDIRECT] = seq
            S[core + C_RESUME] = INF
        elif following != pc + 1:
            # a taken branch ends the cycle's dispatch
            refill = (when + 1 + S[core + C_BUBBLE]) * width
            charge(S, core, region, X_FRONT_END, refill - behind)
            behind = refill
    return behind


@njit
def fence_done(S: Flat, core: int, t: int) -> bool:
    """Whether all older instructions have retired and all older stores have drained at ``t``."""
    if S[core + C_HEAD] < S[core + C_TAIL]:
        return False
    if S[core + C_SQ_REQUEST] < S[core + C_SQ_TAIL]:
        return False
    if S[core + C_SQ_TAIL] > S[core + C_SQ_FREE] and S[core + C_SQ_LAST_DRAIN] > t:
        S[core + C_DISPATCH_NEXT] = S[core + C_SQ_LAST_DRAIN]
        return False
    return True


@njit
def synchronise(S: Flat, P: Flat, core: int, ip: int, slot: int, t: int) -> bool:
    """signal, wait, halt: True when dispatch may go on behind it, in ``slot`` of cycle ``t``."""
    op = P[ip + P_OP]
    if op == WAIT:
        counter = P[ip + P_A]
        count = S[core + C_X + P[ip + P_B]]
        if S[S[H_SIGNALS] + counter] < count:
            S[core + C_BLOCK] = BLOCK_WAIT
            S[core + C_WAIT_SIGNAL] = counter
            S[core + C_WAIT_COUNT] = count
            return False
        S[core + C_WAIT_SIGNAL] = -1
        if S[H_TURN]:
            seen = seen_from(S, core, counter, count, t)
            if seen > t:
                S[core + C_BLOCK] = BLOCK_WAIT
                S[core + C_DISPATCH_NEXT] = seen
                return False
        return True
    if not fence_done(S, core, t):
        S[core + C_BLOCK] = BLOCK_FENCE
        return False
    if op == HALT:
        if slot > t * S[core + C_WIDTH]:  # this cycle belongs to what was dispatched in it
            S[core + C_DISPATCH_NEXT] = t + 1
            return False
        S[core + C_HALTED] = 1
        S[H_RUNNING] -= 1
        return False
    counter = P[ip + P_A]
    S[S[H_SIGNALS] + counter] += 1
    if S[H_TURN]:
        note_signal(S, counter, cycle_to_fs(S, core, t))
    for i in range(S[H_CORES]):  # those who wait for it look again
        other = S[H_CORE_BASE] + i * S[H_CORE_STRIDE]
        if other != core and S[other + C_WAIT_SIGNAL] == counter:
            S[other + C_SIGNALLED] = 1
            S[H_SIGNALLED] = 1
    return True


@njit
def dispatch(S: Flat, P: Flat, T: Flat, M: Flat, core: int, t: int) -> int:
    """The dispatch phase of cycle ``t``; returns a fault code."""
    width = S[core + C_WIDTH]
    end = (t + 1) * width
    slot = S[core + C_DISPATCH_SLOT]
    S[core + C_DISPATCH_NEXT] = INF
    S[core + C_BLOCK] = BLOCK_NONE
    while True:
        if S[core + C_REDIRECT] >= 0:
            if t < S[core + C_RESUME]:
                S[core + C_BLOCK] = BLOCK_REDIRECT
                S[core + C_DISPATCH_NEXT] = S[core + C_RESUME]
                break
            S[core + C_REDIRECT] = -1
        if slot >= end:
            S[core + C_DISPATCH_NEXT] = t + 1 if slot < end + width else slot // width
            break
        pc = S[core + C_PC]
        if pc < 0 or pc >= S[core + C_PROGRAM_WORDS]:
            return fault(S, JUMP_OUTSIDE, pc)
        S[H_FAULT_PC] = pc
        ip = S[core + C_PROGRAM] + pc * P_SIZE
        kind = P[ip + P_KIND]
        if kind == KIND_REGION:
            S[core + C_REGION] = P[ip + P_A]
            S[core + C_PC] = pc + 1
            continue
        if kind == KIND_SYNC:
            if not synchronise(S, P, core, ip, slot, t):
                break
            if S[H_INSTRUCTIONS] >= S[H_INSTRUCTION_LIMIT]:
                return fault(S, RUNAWAY, S[H_INSTRUCTION_LIMIT])
            charge(S, core, S[core + C_REGION], X_RETIRING, 1)
            S[core + C_DISPATCHED] += 1
            S[S[core + C_ACCOUNT] + S[core + C_REGION] * A_COLUMNS + A_INSTRUCTIONS] += 1
            S[H_INSTRUCTIONS] += 1
            slot += 1
            S[core + C_PC] = pc + 1
            continue
        if S[core + N_PC] != pc:
            code = decode(S, P, core, ip)
            if code != NO_FAULT:
                return code
            S[core + N_PC] = pc
        if not has_room(S, core, S[core + C_OPS] + P[ip + P_OP] * O_SIZE, kind, t):
            break
        if S[H_INSTRUCTIONS] >= S[H_INSTRUCTION_LIMIT]:
            return fault(S, RUNAWAY, S[H_INSTRUCTION_LIMIT])
        S[H_INSTRUCTIONS] += 1
        slot = dispatch_one(S, P, T, M, core, pc, ip, slot, t)
        S[core + N_PC] = -1
    S[core + C_DISPATCH_SLOT] = slot
    return NO_FAULT
