"""Who leaves a full set (rule M1): recency, a tree of bits, ages, or a draw.

With LRU the tag words of a set stand in order of recency (`sets`), a free place last.  With any
other policy a line stays in its way.  The tree's bits are a word behind the ways: bit n is node n,
whose children are 2n and 2n + 1; the root is 1, and leaf ways + w is way w.  Nobody reads a bit
before all ways were filled, and so all bits written.  Ages are in the tag words.
"""

from sim.engine.flat import Flat
from sim.engine.jit import inline, njit
from sim.engine.layout import (
    L_POLICY,
    L_WAYS,
    POLICY_LRU,
    POLICY_PLRU,
    POLICY_RANDOM,
    POLICY_SRRIP,
    TAG_AGE,
    TAG_AGE_NEW,
    V_DRAWN,
)
from sim.engine.sets import to_front

MULTIPLIER, MODULUS = 48271, 2**31 - 1


@inline
def used(S: Flat, cfg: int, tags: int, way: int, word: int) -> None:
    """Use the line in ``way``; its tag word is ``word`` from now on."""
    if S[cfg + L_POLICY] == POLICY_LRU:
        to_front(S, tags, way, word)
    else:
        used_in_place(S, cfg, tags, way, word & ~TAG_AGE)


@inline
def placed(S: Flat, cfg: int, tags: int, way: int, word: int) -> int:
    """Put a line with tag word ``word`` into a way that `room` chose; returns where it is found."""
    if S[cfg + L_POLICY] == POLICY_LRU:
        to_front(S, tags, way, word)
        return 0
    used_in_place(S, cfg, tags, way, word | TAG_AGE_NEW)
    return way


@inline
def room(S: Flat, cfg: int, state: int, tags: int) -> int:
    """The way that the next line of a set takes: the first free one, else the victim's."""
    if S[cfg + L_POLICY] == POLICY_LRU:
        return S[cfg + L_WAYS] - 1
    return room_in_place(S, cfg, state, tags)


@njit
def used_in_place(S: Flat, cfg: int, tags: int, way: int, word: int) -> None:
    """Write a tag word; every node above the way points to its other half."""
    S[tags + way] = word
    if S[cfg + L_POLICY] == POLICY_PLRU:
        ways = S[cfg + L_WAYS]
        node = ways + way
        while node > 1:
            bit = 1 << (node >> 1)
            if node & 1:
                S[tags + ways] &= ~bit
            else:
                S[tags + ways] |= bit
            node >>= 1


@njit
def room_in_place(S: Flat, cfg: int, state: int, tags: int) -> int:
    ways = S[cfg + L_WAYS]
    policy = S[cfg + L_POLICY]
    for way in range(ways):
        if S[tags + way] < 0:
            return way
    if policy == POLICY_SRRIP:
        return oldest(S, tags, ways)
    if policy == POLICY_RANDOM:
        S[state + V_DRAWN] = S[state + V_DRAWN] * MULTIPLIER % MODULUS
        return S[state + V_DRAWN] % ways
    node = 1
    while node < ways:
        node = 2 * node + (S[tags + ways] >> node & 1)
    return node - ways


@njit
def oldest(S: Flat, tags: int, ways: int) -> int:
    """The first way of the greatest age, after all have grown older until that is the greatest."""
    way = 0
    for i in range(1, ways):
        if S[tags + i] & TAG_AGE > S[tags + way] & TAG_AGE:
            way = i
    years = TAG_AGE - (S[tags + way] & TAG_AGE)
    for i in range(ways):
        S[tags + i] += years
    return way
