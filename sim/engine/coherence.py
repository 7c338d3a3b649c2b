"""The directory: which cores were given a line, and what a request for it entails (rules C1-C9).

A request is worked on when its walk passes, whatever its time: what it changes in other cores'
caches is changed at once, and times say only when the answers arrive.
"""

from sim.engine.clock import cycle_to_fs, fs_to_cycle
from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    C_BIT,
    C_GRANT,
    C_NODE,
    H_COHERENCE,
    H_CORE_BASE,
    H_CORE_STRIDE,
    H_CORE_WAYS,
    H_CORES,
    H_DIRECTORY,
    H_HOME_WAYS,
    H_L3,
    H_SNOOP,
    L_HIT,
    OWNER,
    TAG_SHARED,
    X_COHERENCE,
    X_L1,
    Y_BUSY,
    Y_HOLDERS,
    Y_SIZE,
    Z_DOWNGRADES,
    Z_EXCLUSIVE_READS,
    Z_FORWARDS,
    Z_INVALIDATIONS,
    Z_READS,
    Z_STALE,
    Z_UPGRADES,
)
from sim.engine.level import LEVEL_BITS, LEVELS
from sim.engine.nodes import cross
from sim.engine.shared import answer, home_of, shared_port, shared_write
from sim.engine.snoops import own, remove, share


@njit
def count(S: Flat, counter: int) -> None:
    S[S[H_COHERENCE] + counter] += 1


@njit
def to_home(S: Flat, core: int, line: int) -> int:
    """How long a message takes between a core and the line's home."""
    return S[core + S[H_HOME_WAYS] + home_of(S, line)]


@njit
def heard(S: Flat, other: int, line: int, q: int) -> int:
    """When another core, sent for at ``q``, answers."""
    return q + to_home(S, other, line) + S[H_SNOOP]


@njit
def between(S: Flat, core: int, other: int) -> int:
    """How long a message takes from another core to a core."""
    number = (core - S[H_CORE_BASE]) // S[H_CORE_STRIDE]
    return S[other + S[H_CORE_WAYS] + number]


@njit
def invalidate(S: Flat, other: int, line: int) -> int:
    """Tell another core to give a line up; returns what it held: copies * 2 + dirty."""
    count(S, Z_INVALIDATIONS)
    found = remove(S, other, line)
    if found == 0:
        count(S, Z_STALE)
    return found


@njit
def invalidate_others(S: Flat, core: int, holders: int, line: int, q: int) -> int:
    """Take a line from all other cores that may hold it; returns when the last has answered."""
    last = q + to_home(S, core, line)
    for i in range(S[H_CORES]):
        other = S[H_CORE_BASE] + i * S[H_CORE_STRIDE]
        if holders >> i & 1 and other != core:
            invalidate(S, other, line)
            last = max(last, heard(S, other, line, q) + between(S, core, other))
    return last


@njit
def core_of(S: Flat, holders: int) -> int:
    """The only core of a set."""
    core = S[H_CORE_BASE]
    while S[core + C_BIT] & holders == 0:
        core += S[H_CORE_STRIDE]
    return core


@njit
def request(S: Flat, core: int, line: int, t: int, region: int, demand: bool, write: bool) -> int:
    """A miss leaves a core's last private level at ``t``: it reads a line, or wants it to write.

    Returns arrival at the core * LEVELS + level; C_GRANT tells whether the line may only be read.
    """
    way = to_home(S, core, line)
    passed = shared_port(S, line, t + way)
    if S[H_DIRECTORY] == 0:
        return answer(S, core, line, passed, region, demand) + way * LEVELS
    count(S, Z_EXCLUSIVE_READS if write else Z_READS)
    me = S[core + C_BIT]
    lookup = S[S[H_L3] + L_HIT]
    entry = S[H_DIRECTORY] + line * Y_SIZE
    holders = S[entry + Y_HOLDERS]
    t = max(passed, S[entry + Y_BUSY])
    S[core + C_GRANT] = 0
    if holders & OWNER and holders & me == 0:
        owner = core_of(S, holders)
        found = invalidate(S, owner, line) if write else share(S, owner, line)
        if found:
            count(S, Z_FORWARDS)
            if not write and found & 1:
                shared_write(S, owner, line, passed, region)
            sent = cross(S, S[owner + C_NODE], S[core + C_NODE], heard(S, owner, line, t + lookup))
            arrival = sent + between(S, core, owner)
            S[entry + Y_BUSY] = arrival
            S[entry + Y_HOLDERS] = OWNER | me
            if not write:
                count(S, Z_DOWNGRADES)
                S[entry + Y_HOLDERS] = holders & ~OWNER | me
                S[core + C_GRANT] = TAG_SHARED
            return arrival * LEVELS + (X_COHERENCE - X_L1)
        if not write:
            count(S, Z_STALE)
        t = heard(S, owner, line, t + lookup) + to_home(S, owner, line)
        holders = 0
    last = 0
    if write:
        last = invalidate_others(S, core, holders, line, t + lookup)
    served = answer(S, core, line, t, region, demand) + way * LEVELS
    if last > served >> LEVEL_BITS:
        served = last * LEVELS + (X_COHERENCE - X_L1)
    if write or holders & ~(OWNER | me) == 0:
        S[entry + Y_HOLDERS] = OWNER | me
        S[entry + Y_BUSY] = served >> LEVEL_BITS
    else:
        S[entry + Y_HOLDERS] = holders | me
        S[core + C_GRANT] = TAG_SHARED
    return served


@njit
def upgrade(S: Flat, core: int, line: int, t: int) -> int:
    """A core that shares a line wants to write it and asks at cycle ``t``.

    Returns the cycle in which the permission has come.
    """
    count(S, Z_UPGRADES)
    entry = S[H_DIRECTORY] + line * Y_SIZE
    arrival = max(cycle_to_fs(S, core, t) + to_home(S, core, line), S[entry + Y_BUSY])
    q = arrival + S[S[H_L3] + L_HIT]
    last = invalidate_others(S, core, S[entry + Y_HOLDERS], line, q)
    S[entry + Y_HOLDERS] = OWNER | S[core + C_BIT]
    S[entry + Y_BUSY] = last
    own(S, core, line)
    return fs_to_cycle(S, core, last)
