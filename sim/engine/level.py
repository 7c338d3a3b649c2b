"""One cache level: sets, MSHRs, a hit, and what is taken from it (rules M1, M5, M6).

A line takes its place, and the victim leaves, when the miss is walked; the line counts as *in
flight* until its fill.  So the contents of a cache follow from the order of accesses alone, as in
a functional cache simulator, and time decides only when data arrive.
"""

from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    L_MSHRS,
    L_POLICY,
    L_SET_MASK,
    L_SET_WORDS,
    L_SETS,
    L_WAYS,
    POLICY_LRU,
    TAG_DIRTY,
    TAG_IN_FLIGHT,
    TAG_PREFETCHED,
    TAG_SHARED,
    TAG_SHIFT,
    V_MERGES,
    V_MSHR,
    V_MSHR_HEAD,
    V_MSHR_MASK,
    V_MSHR_TAIL,
    V_PREFETCH_LATE,
    V_PREFETCH_USEFUL,
    V_TAGS,
)
from sim.engine.replacement import used
from sim.engine.sets import find

# Arrival times carry the level that served them: time * LEVELS + (level - X_L1).
LEVELS = 8
LEVEL_BITS = 3


@njit
def set_of(S: Flat, cfg: int, state: int, number: int) -> int:
    """Offset of the first tag word of a set, by a line's number (in a slice: its number there)."""
    mask = S[cfg + L_SET_MASK]
    index = number & mask if mask >= 0 else number % S[cfg + L_SETS]
    return state + V_TAGS + index * S[cfg + L_SET_WORDS]


@njit
def mshr_held(S: Flat, state: int, t: int) -> int:
    """How many MSHRs are held at ``t``: those whose fill lies behind it."""
    mask = S[state + V_MSHR_MASK]
    head = S[state + V_MSHR_HEAD]
    tail = S[state + V_MSHR_TAIL]
    ring = state + V_MSHR
    bound = t * LEVELS + LEVELS - 1
    while head < tail and S[ring + 2 * (head & mask) + 1] <= bound:
        head += 1
    S[state + V_MSHR_HEAD] = head
    return tail - head


@njit
def mshr_free_at(S: Flat, cfg: int, state: int) -> int:
    """When the next MSHR will be free, all being held: the fill after which one fewer is."""
    mask = S[state + V_MSHR_MASK]
    i = S[state + V_MSHR_TAIL] - S[cfg + L_MSHRS]
    return S[state + V_MSHR + 2 * (i & mask) + 1] >> LEVEL_BITS


@njit
def mshr_wait(S: Flat, cfg: int, state: int, t: int) -> int:
    """When a miss at ``t`` has an MSHR; times need not come in order, as for `mshr_held`."""
    if S[state + V_MSHR_TAIL] < S[cfg + L_MSHRS]:
        return t
    return max(t, mshr_free_at(S, cfg, state))


@njit
def mshr_take(S: Flat, state: int, line: int, served: int) -> None:
    """Hold an MSHR for ``line`` until its fill; the ring stays sorted by release.

    If the line has left the cache while in flight and this fill comes first, the older entry is no
    line's any more.
    """
    mask = S[state + V_MSHR_MASK]
    i = S[state + V_MSHR_TAIL]
    S[state + V_MSHR_TAIL] = i + 1
    head = S[state + V_MSHR_HEAD]
    ring = state + V_MSHR
    while i > head and S[ring + 2 * ((i - 1) & mask) + 1] > served:
        older = S[ring + 2 * ((i - 1) & mask)]
        S[ring + 2 * (i & mask)] = -1 if older == line else older
        S[ring + 2 * (i & mask) + 1] = S[ring + 2 * ((i - 1) & mask) + 1]
        i -= 1
    S[ring + 2 * (i & mask)] = line
    S[ring + 2 * (i & mask) + 1] = served


@njit
def mshr_served(S: Flat, state: int, line: int) -> int:
    """Arrival * LEVELS + level of the line in flight, -1: its MSHR is free again."""
    mask = S[state + V_MSHR_MASK]
    ring = state + V_MSHR
    for i in range(S[state + V_MSHR_TAIL] - 1, S[state + V_MSHR_HEAD] - 1, -1):
        if S[ring + 2 * (i & mask)] == line:
            return S[ring + 2 * (i & mask) + 1]
    return -1


@njit
def hit(
    S: Flat, cfg: int, state: int, tags: int, position: int, t: int, demand: bool, dirty: int
) -> int:
    """Use a line that is there; returns its fill * LEVELS + level if in flight at ``t``, else 0."""
    word = S[tags + position]
    served = 0
    if word & (TAG_IN_FLIGHT | TAG_PREFETCHED):
        if word & TAG_IN_FLIGHT:
            served = mshr_served(S, state, word >> TAG_SHIFT)
            if served >> LEVEL_BITS <= t:
                word &= ~TAG_IN_FLIGHT
                served = 0
            elif demand:
                S[state + V_MERGES] += 1
        if word & TAG_PREFETCHED:
            word &= ~TAG_PREFETCHED
            S[state + V_PREFETCH_USEFUL] += 1
            if served > 0:
                S[state + V_PREFETCH_LATE] += 1
        used(S, cfg, tags, position, word | dirty)
    elif position > 0 or dirty or S[cfg + L_POLICY] != POLICY_LRU:
        used(S, cfg, tags, position, word | dirty)
    return served


@njit
def take_line(S: Flat, cfg: int, state: int, line: int) -> int:
    """Remove a line; returns its tag word, -1 if it is not there.

    With LRU the rest keeps its order, before the free place.  The MSHR of a line in flight is held
    on.
    """
    ways = S[cfg + L_WAYS]
    tags = set_of(S, cfg, state, line)
    position = find(S, tags, ways, line)
    if position < 0:
        return -1
    word = S[tags + position]
    if S[cfg + L_POLICY] == POLICY_LRU:
        for i in range(position, ways - 1):
            S[tags + i] = S[tags + i + 1]
        position = ways - 1
    S[tags + position] = -1
    return word


@njit
def share_line(S: Flat, cfg: int, state: int, line: int) -> int:
    """Leave a line shared and clean; returns its tag word as it was, -1 if it is not there."""
    tags = set_of(S, cfg, state, line)
    position = find(S, tags, S[cfg + L_WAYS], line)
    if position < 0:
        return -1
    word = S[tags + position]
    S[tags + position] = word & ~TAG_DIRTY | TAG_SHARED
    return word


@njit
def own_line(S: Flat, cfg: int, state: int, line: int) -> None:
    """A line that is there may be written from now on."""
    tags = set_of(S, cfg, state, line)
    position = find(S, tags, S[cfg + L_WAYS], line)
    if position >= 0:
        S[tags + position] &= ~TAG_SHARED
