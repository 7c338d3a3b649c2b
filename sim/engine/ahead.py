"""Hits in L1 made ahead of other cores, and taken back if one of them interferes (rule L5).

A load that hits L1 changes nothing but the order of recency in its own L1, so its accesses are made
in one go even past the next events of other cores.  What another core can do to them is to have a
line removed from this L1.  Then those behind that moment are taken back and made again.
"""

from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    AHEAD_ENTRIES,
    C_AHEAD,
    C_HORIZON,
    C_L1,
    C_LOAD_BYTE,
    C_LOAD_CURRENT,
    C_LOAD_DONE,
    C_LOAD_NEXT,
    C_LOAD_ROW,
    C_NEXT,
    C_UNITS,
    C_WALK,
    E_LEVEL,
    E_UNIT,
    H_AHEAD,
    H_LEVEL1,
    H_WALKER,
    J_BYTE,
    J_CYCLE,
    J_DONE,
    J_LEVEL,
    J_POSITION,
    J_ROW,
    J_SIZE,
    J_SLOT,
    J_TAGS,
    L_POLICY,
    L_PREFETCH,
    L_WAYS,
    POLICY_LRU,
    PREFETCH_NONE,
    TAG_IN_FLIGHT,
    TAG_PREFETCHED,
    U_FREE,
    U_SIZE,
    V_HITS,
)
from sim.engine.level import set_of
from sim.engine.sets import find, to_front
from sim.engine.turns import first_behind, note_next, place


@njit
def hit_ahead(S: Flat, core: int, line: int, cycle: int) -> bool:
    """Make a load's access in a future ``cycle`` if it is a plain hit; keep how to take it back.

    `remember_load` has to follow, with the place where the load stands before this access.
    """
    n = S[core + C_AHEAD]
    cfg = S[core + C_L1]
    if n == AHEAD_ENTRIES or S[cfg + L_PREFETCH] != PREFETCH_NONE:
        return False
    if S[cfg + L_POLICY] != POLICY_LRU:  # only moves in the order of recency are taken back
        return False
    state = core + S[H_LEVEL1]
    tags = set_of(S, cfg, state, line)
    position = find(S, tags, S[cfg + L_WAYS], line)
    if position < 0 or S[tags + position] & (TAG_IN_FLIGHT | TAG_PREFETCHED):
        return False
    S[state + V_HITS] += 1
    if position > 0:
        to_front(S, tags, position, S[tags + position])
    a = core + S[H_AHEAD] + n * J_SIZE
    S[a + J_CYCLE] = cycle
    S[a + J_TAGS] = tags
    S[a + J_POSITION] = position
    S[core + C_AHEAD] = n + 1
    return True


@njit
def remember_load(
    S: Flat, core: int, row: int, byte: int, slot: int, done: int, level: int
) -> None:
    """Where the load stood before the access just made ahead."""
    a = core + S[H_AHEAD] + (S[core + C_AHEAD] - 1) * J_SIZE
    S[a + J_ROW] = row
    S[a + J_BYTE] = byte
    S[a + J_SLOT] = slot
    S[a + J_DONE] = done
    S[a + J_LEVEL] = level


@njit
def take_back(S: Flat, core: int) -> None:
    """Another core's walk is about to remove a line: undo what was made ahead of it.

    The load then goes on from there; neither does the walking core run past that cycle.
    """
    walker = S[H_WALKER]
    first = first_behind(S, core, walker, place(S, walker, S[walker + C_WALK]))
    n = S[core + C_AHEAD]
    a = core + S[H_AHEAD] + (n - 1) * J_SIZE
    if S[a + J_CYCLE] < first:
        return
    while n > 0 and S[a + J_CYCLE] >= first:
        tags = S[a + J_TAGS]
        word = S[tags]
        for i in range(S[a + J_POSITION]):
            S[tags + i] = S[tags + i + 1]
        S[tags + S[a + J_POSITION]] = word
        S[core + S[H_LEVEL1] + V_HITS] -= 1
        n -= 1
        a -= J_SIZE
    a += J_SIZE
    S[core + C_AHEAD] = n
    e = S[core + C_LOAD_CURRENT]
    S[core + C_LOAD_ROW] = S[a + J_ROW]
    S[core + C_LOAD_BYTE] = S[a + J_BYTE]
    S[core + C_LOAD_DONE] = S[a + J_DONE]
    S[core + C_LOAD_NEXT] = S[a + J_CYCLE]
    S[core + C_UNITS + S[e + E_UNIT] * U_SIZE + U_FREE] = S[a + J_SLOT]
    S[e + E_LEVEL] = S[a + J_LEVEL]
    S[core + C_NEXT] = min(S[core + C_NEXT], S[a + J_CYCLE])
    horizon = first_behind(S, walker, core, note_next(S, core))
    S[walker + C_HORIZON] = min(S[walker + C_HORIZON], horizon)
