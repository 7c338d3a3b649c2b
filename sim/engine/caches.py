"""A core's own levels: L1, L2, their prefetchers and the walk of a miss (rules M1-M9, C3)."""

from sim.engine.clock import cycle_to_fs, fs_to_cycle
from sim.engine.coherence import request, upgrade
from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    C_GRANT,
    C_L1,
    C_L2,
    H_DIRECTORY,
    H_L3,
    H_LEVEL1,
    H_LEVEL2,
    H_LINE_SHIFT,
    H_MEMORY_END,
    L_BANDWIDTH,
    L_DEGREE,
    L_DISTANCE,
    L_FILL,
    L_HIT,
    L_MSHRS,
    L_PREFETCH,
    L_PRESENT,
    L_WAYS,
    L_WIDTH_SHIFT,
    PREFETCH_NEXT_LINE,
    PREFETCH_NONE,
    STRIDE_ENTRIES,
    TAG_DIRTY,
    TAG_IN_FLIGHT,
    TAG_PREFETCHED,
    TAG_SHARED,
    TAG_SHIFT,
    V_HITS,
    V_MISSES,
    V_MSHR_STALLS,
    V_PORT,
    V_PREFETCH_DROPPED,
    V_PREFETCHES,
    V_STRIDES,
    V_WRITEBACKS,
    X_COHERENCE,
    X_L1,
    X_L2,
    Y_SIZE,
)
from sim.engine.level import LEVEL_BITS, LEVELS, hit, mshr_free_at, mshr_held, mshr_take, set_of
from sim.engine.replacement import placed, room, used
from sim.engine.sets import find, soon
from sim.engine.shared import l3_set, shared_write, slice_of

# --- the private second level: core cycles ------------------------------------------------------


@njit
def l2_port(S: Flat, cfg: int, state: int, t: int) -> int:
    """Take the level's bandwidth for one line; returns the cycle in which it is served."""
    width = S[cfg + L_BANDWIDTH]
    start = max(t * width, S[state + V_PORT])
    S[state + V_PORT] = start + (1 << S[H_LINE_SHIFT])
    shift = S[cfg + L_WIDTH_SHIFT]
    return start >> shift if shift >= 0 else start // width


@njit
def l2_insert(S: Flat, core: int, line: int, flags: int, t: int, region: int) -> int:
    """Give a line its place, and write the victim back; returns where the tag word stands."""
    cfg = S[core + C_L2]
    state = core + S[H_LEVEL2]
    tags = set_of(S, cfg, state, line)
    way = room(S, cfg, state, tags)
    victim = S[tags + way]
    if victim >= 0 and victim & TAG_DIRTY:
        S[state + V_WRITEBACKS] += 1
        shared_write(S, core, victim >> TAG_SHIFT, cycle_to_fs(S, core, t), region)
    return tags + placed(S, cfg, tags, way, line << TAG_SHIFT | flags)


@njit
def l2_fetch(
    S: Flat, core: int, line: int, t: int, region: int, demand: bool, write: bool, flags: int
) -> int:
    """Bring a line into L2, an MSHR being free at ``t``; returns arrival * LEVELS + level."""
    cfg = S[core + C_L2]
    state = core + S[H_LEVEL2]
    if demand and S[H_DIRECTORY]:
        soon(S, S[H_DIRECTORY] + line * Y_SIZE)
    word = l2_insert(S, core, line, TAG_IN_FLIGHT | flags, t, region)
    leaves = cycle_to_fs(S, core, t + S[cfg + L_HIT])
    served = request(S, core, line, leaves, region, demand, write)
    if S[core + C_GRANT]:
        S[word] |= TAG_SHARED
    ready = fs_to_cycle(S, core, served >> LEVEL_BITS) + S[cfg + L_FILL]
    served = ready * LEVELS + (served & (LEVELS - 1))
    mshr_take(S, state, line, served)
    return served


@njit
def l2_read(
    S: Flat, core: int, line: int, t: int, pc: int, region: int, demand: bool, write: bool
) -> int:
    """A request from L1 at ``t``, to read a line or to own it (``write``).

    Returns arrival at L1 * LEVELS + level; C_GRANT tells whether the line may only be read.
    """
    cfg = S[core + C_L2]
    if S[cfg + L_PRESENT] == 0:
        served = request(S, core, line, cycle_to_fs(S, core, t), region, demand, write)
        return fs_to_cycle(S, core, served >> LEVEL_BITS) * LEVELS + (served & (LEVELS - 1))
    state = core + S[H_LEVEL2]
    t = l2_port(S, cfg, state, t)
    tags = set_of(S, cfg, state, line)
    position = find(S, tags, S[cfg + L_WAYS], line)
    fresh = True
    if position >= 0:
        if demand:
            S[state + V_HITS] += 1
        fresh = S[tags + position] & TAG_PREFETCHED != 0
        S[core + C_GRANT] = S[tags + position] & TAG_SHARED
        served = hit(S, cfg, state, tags, position, t, demand, 0)
        result = max(served, (t + S[cfg + L_HIT]) * LEVELS + (X_L2 - X_L1))
        if write and S[core + C_GRANT]:
            S[core + C_GRANT] = 0
            permission = upgrade(S, core, line, t + S[cfg + L_HIT])
            if permission > result >> LEVEL_BITS:
                result = permission * LEVELS + (X_COHERENCE - X_L1)
    else:
        if demand:
            S[state + V_MISSES] += 1
        leaves = t
        if mshr_held(S, state, t) >= S[cfg + L_MSHRS]:
            S[state + V_MSHR_STALLS] += 1
            leaves = mshr_free_at(S, cfg, state)
        result = l2_fetch(S, core, line, leaves, region, demand, write, 0)
    if S[cfg + L_PREFETCH] != PREFETCH_NONE:
        step = train(S, cfg, state, pc, line, fresh)
        if step != 0:
            grant = S[core + C_GRANT]
            first = S[cfg + L_DISTANCE]
            for i in range(first, first + S[cfg + L_DEGREE]):
                l2_prefetch(S, core, line + i * step, t, region)
            S[core + C_GRANT] = grant
            expect(S, core, line + (first + S[cfg + L_DEGREE]) * step)
    return result


@njit
def expect(S: Flat, core: int, line: int) -> None:
    """Have the host bring what a fetch of ``line`` into L2, which may come next, will look at."""
    soon(S, set_of(S, S[core + C_L2], core + S[H_LEVEL2], line))
    cfg = S[H_L3]
    if S[cfg + L_PRESENT]:
        soon(S, l3_set(S, cfg, slice_of(S, cfg, line), line))
    if S[H_DIRECTORY]:
        soon(S, S[H_DIRECTORY] + line * Y_SIZE)


@njit
def l2_prefetch(S: Flat, core: int, line: int, t: int, region: int) -> None:
    """Fetch a line into L2 ahead of use; dropped when it is there or no MSHR is free."""
    if takes_prefetch(S, S[core + C_L2], core + S[H_LEVEL2], line, t):
        l2_fetch(S, core, line, t, region, False, False, TAG_PREFETCHED)


@njit
def l2_write(S: Flat, core: int, line: int, t: int, region: int) -> None:
    """A dirty line comes back from L1."""
    cfg = S[core + C_L2]
    if S[cfg + L_PRESENT] == 0:
        shared_write(S, core, line, cycle_to_fs(S, core, t), region)
        return
    state = core + S[H_LEVEL2]
    t = l2_port(S, cfg, state, t)
    tags = set_of(S, cfg, state, line)
    position = find(S, tags, S[cfg + L_WAYS], line)
    if position >= 0:
        used(S, cfg, tags, position, S[tags + position] | TAG_DIRTY)
    else:
        l2_insert(S, core, line, TAG_DIRTY, t, region)


# --- prefetchers --------------------------------------------------------------------------------


@njit
def train(S: Flat, cfg: int, state: int, pc: int, line: int, fresh: int) -> int:
    """Show the prefetcher an access; returns the stride in lines to prefetch along, 0: none.

    next-line: a miss or the first use of a prefetched line (``fresh``) asks for the next lines.
    stride: per pc, the difference to the pc's last line, believed once it has come twice in a row.
    """
    if S[cfg + L_PREFETCH] == PREFETCH_NEXT_LINE:
        return 1 if fresh else 0
    e = state + V_STRIDES + 4 * (pc & (STRIDE_ENTRIES - 1))
    if S[e] != pc:
        S[e] = pc
        S[e + 1] = line
        S[e + 2] = 0
        S[e + 3] = 0
        return 0
    step = line - S[e + 1]
    if step == 0:
        return 0
    S[e + 1] = line
    if step == S[e + 2]:
        if S[e + 3] < 3:
            S[e + 3] += 1
    elif S[e + 3] > 0:
        S[e + 3] -= 1
        return 0
    else:
        S[e + 2] = step
        return 0
    return step if S[e + 3] >= 2 else 0


@njit
def takes_prefetch(S: Flat, cfg: int, state: int, line: int, t: int) -> bool:
    """Whether a level fetches ``line`` ahead of use: inside memory, not there, an MSHR free."""
    if line < 0 or line << S[H_LINE_SHIFT] >= S[H_MEMORY_END]:
        return False
    if find(S, set_of(S, cfg, state, line), S[cfg + L_WAYS], line) >= 0:
        return False
    if mshr_held(S, state, t) >= S[cfg + L_MSHRS]:
        S[state + V_PREFETCH_DROPPED] += 1
        return False
    S[state + V_PREFETCHES] += 1
    return True


# --- the first level ----------------------------------------------------------------------------


@njit
def l1_fetch(
    S: Flat, core: int, line: int, t: int, pc: int, region: int, demand: bool, flags: int
) -> int:
    """Walk a miss that leaves L1 at ``t`` to its end; returns arrival * LEVELS + level."""
    cfg = S[core + C_L1]
    state = core + S[H_LEVEL1]
    soon(S, set_of(S, S[core + C_L2], core + S[H_LEVEL2], line))  # looked up in a moment
    tags = set_of(S, cfg, state, line)
    way = room(S, cfg, state, tags)
    victim = S[tags + way]
    if victim >= 0 and victim & TAG_DIRTY:
        S[state + V_WRITEBACKS] += 1
        l2_write(S, core, victim >> TAG_SHIFT, t, region)
    word = tags + placed(S, cfg, tags, way, line << TAG_SHIFT | TAG_IN_FLIGHT | flags)
    write = flags & TAG_DIRTY != 0
    served = l2_read(S, core, line, t + S[cfg + L_HIT], pc, region, demand, write)
    if S[core + C_GRANT] and S[word] >> TAG_SHIFT == line:  # an inclusive L3 may have taken it
        S[word] |= TAG_SHARED
    served += S[cfg + L_FILL] * LEVELS
    mshr_take(S, state, line, served)
    return served


@njit
def l1_upgrade(S: Flat, core: int, line: int, t: int) -> int:
    """A store in cycle ``t`` finds its line shared; returns when it may write * LEVELS + level."""
    cfg = S[core + C_L2]
    leaves = t + S[S[core + C_L1] + L_HIT] + (S[cfg + L_HIT] if S[cfg + L_PRESENT] else 0)
    served = upgrade(S, core, line, leaves) * LEVELS + (X_COHERENCE - X_L1)
    mshr_take(S, core + S[H_LEVEL1], -1, served)
    return served


@njit
def l1_access(
    S: Flat, core: int, line: int, t: int, pc: int, region: int, latency: int, dirty: int
) -> int:
    """One demand access in cycle ``t``; a hit takes ``latency`` cycles (a store owns it at once).

    Returns (when the data may be used) * LEVELS + level, or -(cycle to try again) without an MSHR.
    """
    cfg = S[core + C_L1]
    state = core + S[H_LEVEL1]
    tags = set_of(S, cfg, state, line)
    position = find(S, tags, S[cfg + L_WAYS], line)
    fresh = True
    if position >= 0:
        upgraded = dirty and S[tags + position] & TAG_SHARED
        if upgraded and mshr_held(S, state, t) >= S[cfg + L_MSHRS]:
            S[state + V_MSHR_STALLS] += 1
            return -mshr_free_at(S, cfg, state)
        S[state + V_HITS] += 1
        fresh = S[tags + position] & TAG_PREFETCHED != 0
        served = hit(S, cfg, state, tags, position, t, True, dirty)
        result = max(served, (t + latency) * LEVELS)
        if upgraded:
            result = max(result, l1_upgrade(S, core, line, t))
    else:
        if mshr_held(S, state, t) >= S[cfg + L_MSHRS]:
            S[state + V_MSHR_STALLS] += 1
            return -mshr_free_at(S, cfg, state)
        S[state + V_MISSES] += 1
        result = l1_fetch(S, core, line, t, pc, region, True, dirty)
    if S[cfg + L_PREFETCH] != PREFETCH_NONE:
        step = train(S, cfg, state, pc, line, fresh)
        if step != 0:
            first = S[cfg + L_DISTANCE]
            for i in range(first, first + S[cfg + L_DEGREE]):
                l1_prefetch(S, core, line + i * step, t, pc, region)
    return result


@njit
def l1_prefetch(S: Flat, core: int, line: int, t: int, pc: int, region: int) -> None:
    """Fetch a line into L1 ahead of use; dropped when it is there or no MSHR is free."""
    if takes_prefetch(S, S[core + C_L1], core + S[H_LEVEL1], line, t):
        l1_fetch(S, core, line, t, pc, region, False, TAG_PREFETCHED)
