"""Whose cycle goes first (rule T3): cores in order of time, or turn by turn.

Every cycle of a core has a place: its number, where the cycles of all cores start together; else
its start in femtoseconds; or, where cores take turns, the start of its turn. The earlier place goes
first, of equal ones that of the lower core.
"""

from sim.engine.clock import cycle_to_fs, fs_to_cycle
from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    C_ANCHOR_CYCLE,
    C_ANCHOR_FS,
    C_F_MHZ,
    C_NEXT,
    H_CORE_BASE,
    H_CORE_STRIDE,
    H_CORES,
    H_IN_STEP,
    H_TIMES,
    H_TURN,
    INF,
)


@njit
def note_clocks(S: Flat) -> None:
    """See whether the cycles of all cores start together, and are worked one by one."""
    base = S[H_CORE_BASE]
    S[H_IN_STEP] = 0 if S[H_TURN] else 1
    for i in range(1, S[H_CORES]):
        core = base + i * S[H_CORE_STRIDE]
        for word in (C_F_MHZ, C_ANCHOR_CYCLE, C_ANCHOR_FS):
            if S[core + word] != S[base + word]:
                S[H_IN_STEP] = 0


@njit
def turn_of(S: Flat, fs: int) -> int:
    """The start of the turn that a time lies in; without turns the time itself."""
    turn = S[H_TURN]
    return fs - fs % turn if turn else fs


@njit
def turn_after(S: Flat, fs: int) -> int:
    """The first start of a turn at or after ``fs``; without turns ``fs`` itself."""
    turn = S[H_TURN]
    return -(-fs // turn) * turn if turn else fs


@njit
def place(S: Flat, core: int, cycle: int) -> int:
    """The place of a core's cycle."""
    return cycle if S[H_IN_STEP] else turn_of(S, cycle_to_fs(S, core, cycle))


@njit
def first_place(S: Flat, fs: int) -> int:
    """The first place of a cycle that starts, with its turn, at or after a time."""
    return fs_to_cycle(S, S[H_CORE_BASE], fs) if S[H_IN_STEP] else fs


@njit
def note_next(S: Flat, core: int) -> int:
    """Note the place of a core's next cycle, and return it; INF: it waits for another core."""
    cycle = S[core + C_NEXT]
    where = place(S, core, cycle) if cycle < INF else INF
    S[S[H_TIMES] + (core - S[H_CORE_BASE]) // S[H_CORE_STRIDE]] = where
    return where


@njit
def first_from(S: Flat, core: int, where: int) -> int:
    """The first cycle of a core that has this place or a later one."""
    return where if S[H_IN_STEP] else fs_to_cycle(S, core, turn_after(S, where))


@njit
def first_behind(S: Flat, core: int, other: int, where: int) -> int:
    """The first cycle of ``core`` that goes after a cycle of ``other`` with this place."""
    return first_from(S, core, where + (core < other))
