"""Loads: one access per row and line, as many per cycle as there are load pipes (rules L1-L5)."""

from isa.table import OP
from sim.engine.caches import l1_access
from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    C_HORIZON,
    C_L1,
    C_LOAD_BYTE,
    C_LOAD_CURRENT,
    C_LOAD_DONE,
    C_LOAD_NEXT,
    C_LOAD_ROW,
    C_SQ_FREE,
    C_SQ_REQUEST,
    C_UNITS,
    E_COMPLETE,
    E_LEVEL,
    E_OP,
    E_OVERLAP,
    E_PC,
    E_REGION,
    E_ROW_BYTES,
    E_ROWS,
    E_SQ,
    E_UNIT,
    H_LINE_SHIFT,
    H_LOAD_AHEAD,
    INF,
    L_HIT,
    Q_DRAIN,
    U_BYTES,
    U_FREE,
    U_PIPES,
    U_SIZE,
    X_L1,
)
from sim.engine.level import LEVEL_BITS, LEVELS
from sim.engine.stores import forward, row_address, sq_entry

PREFETCH = OP["prefetch"]


@njit
def start_load(S: Flat, core: int, e: int) -> None:
    """Put a load on the pipes."""
    S[core + C_LOAD_CURRENT] = e
    S[core + C_LOAD_ROW] = 0
    S[core + C_LOAD_BYTE] = 0
    S[core + C_LOAD_DONE] = 0
    S[e + E_LEVEL] = X_L1


@njit
def stretch_end(S: Flat, core: int, e: int, t: int) -> int:
    """The cycle before which load ``e`` makes its accesses together with that of cycle ``t`` (L5).

    That is the next one while an older store has not drained.
    """
    behind = S[e + E_SQ]
    if behind > S[core + C_SQ_FREE]:
        last = sq_entry(S, core, behind - 1)
        if S[core + C_SQ_REQUEST] < behind or S[last + Q_DRAIN] > t:
            return t + 1
    return t + 1 + S[H_LOAD_AHEAD]


@njit
def run_load(S: Flat, core: int, e: int, t: int, bound: int) -> bool:
    """Make the accesses of the load on the pipes, from cycle ``t`` on, before cycle ``bound``.

    Up to ``bound`` nothing else of this core can touch what the accesses look at, and up to
    C_HORIZON nothing of another, so they are made ahead of the clock; past both those of the
    stretch are made, which belong to cycle ``t`` (L5).  Returns True when all are made (E_COMPLETE
    is set), else C_LOAD_NEXT tells when to go on.
    """
    unit = core + C_UNITS + S[e + E_UNIT] * U_SIZE
    pipes = S[unit + U_PIPES]
    width = S[unit + U_BYTES]
    shift = S[H_LINE_SHIFT]
    latency = S[S[core + C_L1] + L_HIT]
    pc = S[e + E_PC]
    region = S[e + E_REGION]
    overlap = S[e + E_OVERLAP]
    rows = S[e + E_ROWS]
    row_bytes = S[e + E_ROW_BYTES]
    row = S[core + C_LOAD_ROW]
    byte = S[core + C_LOAD_BYTE]
    done = S[core + C_LOAD_DONE]
    level = S[e + E_LEVEL]
    cycle = t
    end = (t + 1) * pipes  # first slot of the next cycle
    slot = max(S[unit + U_FREE], t * pipes)
    hint = S[e + E_OP] == PREFETCH
    stretch = stretch_end(S, core, e, t)
    while row < rows:
        while slot >= end:
            cycle += 1
            end += pipes
        start = row_address(S, core, e, row) + byte
        line = start >> shift
        stop = min(start + row_bytes - byte, (line + 1) << shift)
        if cycle >= stretch:
            if cycle >= bound or cycle >= S[core + C_HORIZON]:
                break
            stretch = stretch_end(S, core, e, cycle)
        arrival = forward(S, core, e, start, stop, cycle) if overlap else -1
        if arrival < 0:
            served = l1_access(S, core, line, cycle, pc, region, latency, 0)
            if hint:
                served = (cycle + 1) * LEVELS  # a prefetch waits for nothing
            elif served < 0:
                cycle = -served  # no MSHR: the pipes wait for the next fill
                slot = cycle * pipes
                end = slot + pipes
                continue
            arrival = served >> LEVEL_BITS
            if arrival >= done:
                level = X_L1 + (served & (LEVELS - 1))
        if arrival > done:
            done = arrival
        slot += 1 if stop - start <= width else (stop - start + width - 1) // width
        byte += stop - start
        if byte >= row_bytes:
            byte = 0
            row += 1
    S[unit + U_FREE] = slot
    S[e + E_LEVEL] = level
    if row < rows:
        S[core + C_LOAD_ROW] = row
        S[core + C_LOAD_BYTE] = byte
        S[core + C_LOAD_DONE] = done
        S[core + C_LOAD_NEXT] = cycle
        return False
    S[e + E_COMPLETE] = done
    S[core + C_LOAD_CURRENT] = -1
    S[core + C_LOAD_NEXT] = INF
    return True
