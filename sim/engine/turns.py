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
    GIVEN_RING,
    H_CORE_BASE,
    H_CORE_STRIDE,
    H_CORES,
    H_GIVEN,
    H_IN_STEP,
    H_ORDER,
    H_SIGNALS,
    H_TIMES,
    H_TURN,
    H_TURN_AT,
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
    if turn == 0:
        return fs
    start = S[H_TURN_AT]  # often it is this turn or the next, which needs no division
    if start <= fs < start + 2 * turn:
        return start if fs < start + turn else start + turn
    return fs - fs % turn


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
    return fs_to_cycle(S, S[H_CORE_BASE], fs) if S[H_IN_STEP] else turn_after(S, fs)


@njit
def note_next(S: Flat, core: int) -> int:
    """Note the place of a core's next cycle, and return it; INF: it waits for another core."""
    cycle = S[core + C_NEXT]
    where = place(S, core, cycle) if cycle < INF else INF
    S[S[H_TIMES] + (core - S[H_CORE_BASE]) // S[H_CORE_STRIDE]] = where
    return where


@njit
def queue_again(S: Flat, i: int, end: int) -> None:
    """The core at position ``i`` of the order, whose place is a later one now, moves up in it."""
    order = S[H_ORDER]
    times = S[H_TIMES]
    core = S[order + i]
    where = S[times + core]
    while i + 1 < end:
        other = S[order + i + 1]
        earlier = S[times + other]
        if earlier > where or (earlier == where and other > core):
            break
        S[order + i] = other
        i += 1
    S[order + i] = core


@njit
def queue_all(S: Flat) -> None:
    """Order all cores by the places of their next cycles, those of equal places by number."""
    cores = S[H_CORES]
    for i in range(cores - 2, -1, -1):
        queue_again(S, i, cores)


@njit
def first_from(S: Flat, core: int, where: int) -> int:
    """The first cycle of a core that has this place, where one can have it, or a later one."""
    return where if S[H_IN_STEP] else fs_to_cycle(S, core, where)


@njit
def first_behind(S: Flat, core: int, other: int, where: int) -> int:
    """The first cycle of ``core`` that goes after a cycle of ``other`` with this place."""
    if core < other:
        where += S[H_TURN] if S[H_TURN] else 1
    return first_from(S, core, where)


@njit
def note_signal(S: Flat, counter: int, fs: int) -> None:
    """Remember that a counter was raised in a cycle that starts at ``fs``."""
    given = S[H_GIVEN]
    word = given + 1 + 2 * (S[given] & (GIVEN_RING - 1))
    S[word] = counter
    S[word + 1] = fs
    S[given] += 1


@njit
def seen_from(S: Flat, core: int, counter: int, count: int, t: int) -> int:
    """The first cycle from ``t`` on in which ``count`` signals have been given (F8).

    So many have been worked, but maybe not all before ``t``: who gave them can be ahead (T3).
    """
    given = S[H_GIVEN]
    end = S[given]
    fs = cycle_to_fs(S, core, t)
    turn = turn_of(S, fs)
    unneeded = S[S[H_SIGNALS] + counter] - count
    while True:
        ahead = 0
        following = INF
        i = end - 1
        while i >= max(end - GIVEN_RING, 0):
            word = given + 1 + 2 * (i & (GIVEN_RING - 1))
            if S[word + 1] < turn:  # the rest was given in turns that have been
                break
            if S[word] == counter and S[word + 1] > fs:
                ahead += 1
                following = min(following, S[word + 1])
            i -= 1
        if ahead <= unneeded:
            return fs_to_cycle(S, core, fs)
        fs = following
