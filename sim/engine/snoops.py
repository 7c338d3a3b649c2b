"""What one core's caches are told by the home of a line: give it up, share it, own it (C4, C7)."""

from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import C_L1, C_L2, H_LEVEL1, H_LEVEL2, L_PRESENT, TAG_DIRTY
from sim.engine.level import own_line, set_of, share_line, take_line
from sim.engine.sets import soon


@njit
def held(first: int, second: int) -> int:
    """What the tag words of a line in L1 and L2 (-1: not there) say: copies * 2 + dirty."""
    found = 0
    if first >= 0:
        found = 2 | first & TAG_DIRTY
    if second >= 0:
        found = found + 2 | second & TAG_DIRTY
    return found


@njit
def remove(S: Flat, core: int, line: int) -> int:
    """Take a line out of a core's caches; returns copies * 2 + dirty."""
    soon(S, set_of(S, S[core + C_L2], core + S[H_LEVEL2], line))
    first = take_line(S, S[core + C_L1], core + S[H_LEVEL1], line)
    second = -1
    if S[S[core + C_L2] + L_PRESENT]:
        second = take_line(S, S[core + C_L2], core + S[H_LEVEL2], line)
    return held(first, second)


@njit
def share(S: Flat, core: int, line: int) -> int:
    """Leave a line shared and clean in a core's caches; returns copies * 2 + dirty."""
    soon(S, set_of(S, S[core + C_L2], core + S[H_LEVEL2], line))
    first = share_line(S, S[core + C_L1], core + S[H_LEVEL1], line)
    second = -1
    if S[S[core + C_L2] + L_PRESENT]:
        second = share_line(S, S[core + C_L2], core + S[H_LEVEL2], line)
    return held(first, second)


@njit
def own(S: Flat, core: int, line: int) -> None:
    """A core may write a line of its caches from now on."""
    own_line(S, S[core + C_L1], core + S[H_LEVEL1], line)
    if S[S[core + C_L2] + L_PRESENT]:
        own_line(S, S[core + C_L2], core + S[H_LEVEL2], line)
