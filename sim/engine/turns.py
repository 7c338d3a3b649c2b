"""Whose cycle goes first (rule T3): cores in order of time, or turn by turn.

A core's cycle is placed by a time: its start, or, where cores take turns, the start of its turn.
The earlier place goes first, of equal ones that of the lower core.
"""

from sim.engine.clock import cycle_to_fs, fs_to_cycle
from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import C_NEXT, H_CORE_BASE, H_CORE_STRIDE, H_TIMES, H_TURN, INF


@njit
def place(S: Flat, fs: int) -> int:
    """The place of a cycle that starts at ``fs``."""
    turn = S[H_TURN]
    return fs - fs % turn if turn else fs


@njit
def turn_end(S: Flat, fs: int) -> int:
    """The first place at or after ``fs``."""
    turn = S[H_TURN]
    return -(-fs // turn) * turn if turn else fs


@njit
def note_next(S: Flat, core: int) -> int:
    """Note the place of a core's next cycle, and return it; INF: it waits for another core."""
    cycle = S[core + C_NEXT]
    when = place(S, cycle_to_fs(S, core, cycle)) if cycle < INF else INF
    S[S[H_TIMES] + (core - S[H_CORE_BASE]) // S[H_CORE_STRIDE]] = when
    return when


@njit
def first_behind(S: Flat, core: int, other: int, fs: int) -> int:
    """The first cycle of ``core`` that goes after the cycle of ``other`` that starts at ``fs``."""
    turn = S[H_TURN]
    if turn:
        return fs_to_cycle(S, core, place(S, fs) + (turn if core < other else 0))
    cycle = fs_to_cycle(S, core, fs)
    if core < other and cycle_to_fs(S, core, cycle) == fs:
        cycle += 1
    return cycle
