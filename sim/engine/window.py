"""The window: entries in program order, retirement (rules W1-W4)."""

from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    C_HEAD,
    C_LQ,
    C_RETIRE_NEXT,
    C_RETIRE_SLOT,
    C_RETIRE_WIDTH,
    C_RETIRES,
    C_SB_NEXT,
    C_SQ_RETIRED,
    C_TAIL,
    C_UOPS,
    E_COMPLETE,
    E_DISPATCH,
    E_ISSUE,
    E_KIND,
    E_PC,
    E_PIECES,
    E_SIZE,
    E_UOPS,
    G_COMPLETE,
    G_CORE,
    G_DISPATCH,
    G_ISSUE,
    G_PC,
    G_RETIRE,
    G_SIZE,
    H_CORE_BASE,
    H_CORE_STRIDE,
    H_ENTRIES,
    H_LOG,
    H_LOG_CAPACITY,
    H_LOG_COUNT,
    H_RING,
    INF,
    KIND_LOAD,
    KIND_STORE,
)


@njit
def entry(S: Flat, core: int, seq: int) -> int:
    """Offset of the window entry of an instruction."""
    return core + S[H_ENTRIES] + (seq & S[H_RING]) * E_SIZE


@njit
def log_retired(S: Flat, core: int, e: int) -> None:
    """Keep the instruction's cycles for tests and views."""
    n = S[H_LOG_COUNT]
    if n < S[H_LOG_CAPACITY]:
        row = S[H_LOG] + n * G_SIZE
        S[row + G_CORE] = (core - S[H_CORE_BASE]) // S[H_CORE_STRIDE]
        S[row + G_PC] = S[e + E_PC]
        S[row + G_DISPATCH] = S[e + E_DISPATCH]
        S[row + G_ISSUE] = S[e + E_ISSUE]
        S[row + G_COMPLETE] = S[e + E_COMPLETE]
        S[row + G_RETIRE] = S[core + C_RETIRES]
        S[H_LOG_COUNT] = n + 1


@njit
def retire(S: Flat, core: int, t: int) -> None:
    """Retire what is complete at ``t``, in order, ``retire_width`` uops a cycle."""
    width = S[core + C_RETIRE_WIDTH]
    head = S[core + C_HEAD]
    tail = S[core + C_TAIL]
    S[core + C_RETIRE_NEXT] = INF
    while head < tail:
        e = entry(S, core, head)
        when = S[e + E_COMPLETE]
        if when < 0:
            break
        if when > t:
            S[core + C_RETIRE_NEXT] = when
            break
        if S[core + C_RETIRES] < 0:
            slot = max(S[core + C_RETIRE_SLOT], t * width) + S[e + E_UOPS]
            S[core + C_RETIRE_SLOT] = slot
            S[core + C_RETIRES] = t if slot <= (t + 1) * width else (slot - 1) // width
        if S[core + C_RETIRES] > t:
            S[core + C_RETIRE_NEXT] = S[core + C_RETIRES]
            break
        S[core + C_UOPS] -= S[e + E_UOPS]
        kind = S[e + E_KIND]
        if kind == KIND_LOAD:
            S[core + C_LQ] -= S[e + E_PIECES]
        elif kind == KIND_STORE:
            S[core + C_SQ_RETIRED] += S[e + E_PIECES]
            if S[core + C_SB_NEXT] == INF:
                S[core + C_SB_NEXT] = t
        if S[H_LOG]:
            log_retired(S, core, e)
        S[core + C_RETIRES] = -1
        head += 1
    S[core + C_HEAD] = head
