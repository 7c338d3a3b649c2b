"""The store queue: overlap with younger loads, forwarding, draining to L1 (rules S1-S5).

An entry holds bytes [lo, hi) of one line.  Positions only grow: drained < requested <= retired <=
allocated.  Entries leave in order, one per cycle, each after it has its line.
"""

from sim.engine.caches import l1_access
from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    C_FORWARD,
    C_FORWARDS,
    C_HEAD,
    C_SB_NEXT,
    C_SI_HEAD,
    C_SI_TAIL,
    C_SQ_FREE,
    C_SQ_LAST_DRAIN,
    C_SQ_REQUEST,
    C_SQ_RETIRED,
    C_SQ_TAIL,
    E_ADDRESS,
    E_COMPLETE,
    E_ROW_BYTES,
    E_ROWS,
    E_SI,
    E_SIZE,
    E_STRIDE,
    H_ENTRIES,
    H_GATHER,
    H_LINE_SHIFT,
    H_RING,
    H_SI,
    H_SQ,
    H_SQ_RING,
    I_END,
    I_FIRST,
    I_HI,
    I_LO,
    I_SIZE,
    INF,
    Q_DRAIN,
    Q_HI,
    Q_LINE,
    Q_LO,
    Q_PC,
    Q_REGION,
    Q_SEQ,
    Q_SIZE,
    TAG_DIRTY,
)
from sim.engine.level import LEVEL_BITS


@njit
def sq_entry(S: Flat, core: int, position: int) -> int:
    """Offset of a store-queue entry."""
    return core + S[H_SQ] + (position & S[H_SQ_RING]) * Q_SIZE


@njit
def release_drained(S: Flat, core: int, t: int) -> int:
    """Free the entries that have drained by ``t``; returns how many entries are in use."""
    free = S[core + C_SQ_FREE]
    request = S[core + C_SQ_REQUEST]
    while free < request and S[sq_entry(S, core, free) + Q_DRAIN] <= t:
        free += 1
    S[core + C_SQ_FREE] = free
    head = S[core + C_SI_HEAD]
    tail = S[core + C_SI_TAIL]
    while head < tail and S[core + S[H_SI] + (head & S[H_SQ_RING]) * I_SIZE + I_END] <= free:
        head += 1
    S[core + C_SI_HEAD] = head
    return S[core + C_SQ_TAIL] - free


@njit
def allocate_store(
    S: Flat,
    core: int,
    seq: int,
    address: int,
    stride: int,
    rows: int,
    row_bytes: int,
    pc: int,
    region: int,
) -> int:
    """Enter a store's rows into the queue in program order; returns its first position."""
    shift = S[H_LINE_SHIFT]
    first = S[core + C_SQ_TAIL]
    position = first
    for row in range(rows):
        start = address + row * stride
        end = start + row_bytes
        while start < end:
            line = start >> shift
            stop = min(end, (line + 1) << shift)
            q = sq_entry(S, core, position)
            S[q + Q_LINE] = line
            S[q + Q_LO] = start
            S[q + Q_HI] = stop
            S[q + Q_SEQ] = seq
            S[q + Q_DRAIN] = INF
            S[q + Q_REGION] = region
            S[q + Q_PC] = pc
            position += 1
            start = stop
    S[core + C_SQ_TAIL] = position
    i = core + S[H_SI] + (S[core + C_SI_TAIL] & S[H_SQ_RING]) * I_SIZE
    last = address + (rows - 1) * stride
    S[i + I_LO] = min(address, last)
    S[i + I_HI] = max(address, last) + row_bytes
    S[i + I_FIRST] = first
    S[i + I_END] = position
    S[core + C_SI_TAIL] += 1
    return first


@njit
def may_overlap(S: Flat, core: int, lo: int, hi: int) -> bool:
    """Whether bytes [lo, hi) meet the span of any store in the queue."""
    for k in range(S[core + C_SI_HEAD], S[core + C_SI_TAIL]):
        i = core + S[H_SI] + (k & S[H_SQ_RING]) * I_SIZE
        if S[i + I_LO] < hi and lo < S[i + I_HI]:
            return True
    return False


@njit
def youngest_overlap(S: Flat, core: int, e: int, lo: int, hi: int, t: int) -> int:
    """Position of the youngest store older than load ``e``, not drained at ``t``, that touches
    [lo, hi); -1: none."""
    free = S[core + C_SQ_FREE]
    for k in range(S[e + E_SI] - 1, S[core + C_SI_HEAD] - 1, -1):
        i = core + S[H_SI] + (k & S[H_SQ_RING]) * I_SIZE
        if S[i + I_LO] >= hi or lo >= S[i + I_HI]:
            continue
        for position in range(S[i + I_END] - 1, max(S[i + I_FIRST], free) - 1, -1):
            q = sq_entry(S, core, position)
            if S[q + Q_LO] < hi and lo < S[q + Q_HI] and S[q + Q_DRAIN] > t:
                return position
    return -1


@njit
def store_entry_of(S: Flat, core: int, position: int) -> int:
    """Window entry of the store that owns a queue position, -1: it has retired."""
    seq = S[sq_entry(S, core, position) + Q_SEQ]
    if seq < S[core + C_HEAD]:
        return -1
    return core + S[H_ENTRIES] + (seq & S[H_RING]) * E_SIZE


@njit
def row_address(S: Flat, core: int, e: int, row: int) -> int:
    """Address of a row of a load (gathered rows were looked up at dispatch)."""
    if S[e + E_ADDRESS] < 0:
        slot = (e - core - S[H_ENTRIES]) // E_SIZE
        return S[core + S[H_GATHER] + slot * 16 + row]
    return S[e + E_ADDRESS] + row * S[e + E_STRIDE]


@njit
def load_blocker(S: Flat, core: int, e: int, t: int) -> int:
    """What keeps a load that overlaps older stores from starting at ``t``.

    Returns -1: nothing; else -2: a store that has to drain first; else the window entry of a store
    whose data are not there yet.
    """
    shift = S[H_LINE_SHIFT]
    for row in range(S[e + E_ROWS]):
        start = row_address(S, core, e, row)
        end = start + S[e + E_ROW_BYTES]
        while start < end:
            stop = min(end, ((start >> shift) + 1) << shift)
            position = youngest_overlap(S, core, e, start, stop, t)
            if position >= 0:
                q = sq_entry(S, core, position)
                if S[q + Q_LO] > start or S[q + Q_HI] < stop:
                    return -2
                store = store_entry_of(S, core, position)
                if store >= 0 and (S[store + E_COMPLETE] < 0 or S[store + E_COMPLETE] > t):
                    return store
            start = stop
    return -1


@njit
def forward(S: Flat, core: int, e: int, lo: int, hi: int, t: int) -> int:
    """When bytes [lo, hi) arrive from an older store in the queue, -1: they come from L1."""
    position = youngest_overlap(S, core, e, lo, hi, t)
    if position < 0:
        return -1
    S[core + C_FORWARDS] += 1
    return t + S[core + C_FORWARD]


@njit
def drain(S: Flat, core: int, t: int) -> None:
    """The store buffer's cycle: the oldest retired entry without a line asks for it.

    A hit owns the line at once, a miss at its fill; entries drain in order, one per cycle.
    """
    request = S[core + C_SQ_REQUEST]
    if request >= S[core + C_SQ_RETIRED]:
        S[core + C_SB_NEXT] = INF
        return
    q = sq_entry(S, core, request)
    served = l1_access(S, core, S[q + Q_LINE], t, S[q + Q_PC], S[q + Q_REGION], 0, TAG_DIRTY)
    if served < 0:
        S[core + C_SB_NEXT] = -served
        return
    done = max(served >> LEVEL_BITS, S[core + C_SQ_LAST_DRAIN] + 1)
    S[q + Q_DRAIN] = done
    S[core + C_SQ_LAST_DRAIN] = done
    S[core + C_SQ_REQUEST] = request + 1
    S[core + C_SB_NEXT] = t + 1 if request + 1 < S[core + C_SQ_RETIRED] else INF
