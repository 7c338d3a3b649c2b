"""Caches: tags in order of recency, MSHRs, prefetchers, the walk of a miss (rules M1-M9).

A line takes its place, and the victim leaves, when the miss is walked; the line counts as *in
flight* until its fill.  So the contents of a cache follow from the order of accesses alone, as in
a functional cache simulator, and time decides only when data arrive.
"""

from sim.engine.clock import cycle_to_fs, fs_to_cycle
from sim.engine.dram import dram_read, dram_write
from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    A_COLUMNS,
    A_DRAM_READ,
    A_DRAM_WRITE,
    H_ACCOUNT,
    H_L1,
    H_L2,
    H_L3,
    H_L3_STATE,
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
    L_SET_MASK,
    L_SETS,
    L_WAYS,
    L_WIDTH_SHIFT,
    MSHR_MASK,
    PREFETCH_NEXT_LINE,
    PREFETCH_NONE,
    STRIDE_ENTRIES,
    TAG_DIRTY,
    TAG_IN_FLIGHT,
    TAG_PREFETCHED,
    TAG_SHIFT,
    V_HITS,
    V_MERGES,
    V_MISSES,
    V_MSHR,
    V_MSHR_HEAD,
    V_MSHR_STALLS,
    V_MSHR_TAIL,
    V_PORT,
    V_PREFETCH_DROPPED,
    V_PREFETCH_LATE,
    V_PREFETCH_USEFUL,
    V_PREFETCHES,
    V_STRIDES,
    V_TAGS,
    V_WRITEBACKS,
    X_DRAM,
    X_L1,
    X_L2,
    X_L3,
)
from sim.engine.sets import find, to_front

# Arrival times carry the level that served them: time * LEVELS + (level - X_L1).
LEVELS = 4
LEVEL_BITS = 2


@njit
def set_of(S: Flat, cfg: int, state: int, line: int) -> int:
    """Offset of the first tag word of the line's set."""
    mask = S[cfg + L_SET_MASK]
    index = line & mask if mask >= 0 else line % S[cfg + L_SETS]
    return state + V_TAGS + index * S[cfg + L_WAYS]


@njit
def mshr_held(S: Flat, state: int, t: int) -> int:
    """How many MSHRs are held at ``t``: those whose fill lies behind it."""
    head = S[state + V_MSHR_HEAD]
    tail = S[state + V_MSHR_TAIL]
    ring = state + V_MSHR
    bound = t * LEVELS + LEVELS - 1
    while head < tail and S[ring + 2 * (head & MSHR_MASK) + 1] <= bound:
        head += 1
    S[state + V_MSHR_HEAD] = head
    return tail - head


@njit
def mshr_free_at(S: Flat, cfg: int, state: int) -> int:
    """When the next MSHR will be free, all being held: the fill after which one fewer is."""
    i = S[state + V_MSHR_TAIL] - S[cfg + L_MSHRS]
    return S[state + V_MSHR + 2 * (i & MSHR_MASK) + 1] >> LEVEL_BITS


@njit
def mshr_take(S: Flat, state: int, line: int, served: int) -> None:
    """Hold an MSHR for ``line`` until its fill; the ring stays sorted by release."""
    i = S[state + V_MSHR_TAIL]
    S[state + V_MSHR_TAIL] = i + 1
    head = S[state + V_MSHR_HEAD]
    ring = state + V_MSHR
    while i > head and S[ring + 2 * ((i - 1) & MSHR_MASK) + 1] > served:
        S[ring + 2 * (i & MSHR_MASK)] = S[ring + 2 * ((i - 1) & MSHR_MASK)]
        S[ring + 2 * (i & MSHR_MASK) + 1] = S[ring + 2 * ((i - 1) & MSHR_MASK) + 1]
        i -= 1
    S[ring + 2 * (i & MSHR_MASK)] = line
    S[ring + 2 * (i & MSHR_MASK) + 1] = served


@njit
def mshr_served(S: Flat, state: int, line: int) -> int:
    """Arrival * LEVELS + level of the line in flight, -1: its MSHR is free again."""
    ring = state + V_MSHR
    for i in range(S[state + V_MSHR_TAIL] - 1, S[state + V_MSHR_HEAD] - 1, -1):
        if S[ring + 2 * (i & MSHR_MASK)] == line:
            return S[ring + 2 * (i & MSHR_MASK) + 1]
    return -1


@njit
def hit(S: Flat, state: int, tags: int, position: int, t: int, demand: bool, dirty: int) -> int:
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
        to_front(S, tags, position, word | dirty)
    elif position > 0 or dirty:
        to_front(S, tags, position, word | dirty)
    return served


# --- the shared level and DRAM: femtoseconds ----------------------------------------------------


@njit
def l3_insert(S: Flat, line: int, flags: int, t: int, region: int) -> None:
    cfg = S[H_L3]
    state = S[H_L3_STATE]
    tags = set_of(S, cfg, state, line)
    last = S[cfg + L_WAYS] - 1
    victim = S[tags + last]
    if victim >= 0 and victim & TAG_DIRTY:
        S[state + V_WRITEBACKS] += 1
        memory_write(S, victim >> TAG_SHIFT, t, region)
    to_front(S, tags, last, line << TAG_SHIFT | flags)


@njit
def memory_write(S: Flat, line: int, t: int, region: int) -> None:
    S[S[H_ACCOUNT] + region * A_COLUMNS + A_DRAM_WRITE] += 1 << S[H_LINE_SHIFT]
    dram_write(S, line, t)


@njit
def memory_read(S: Flat, line: int, t: int, region: int) -> int:
    S[S[H_ACCOUNT] + region * A_COLUMNS + A_DRAM_READ] += 1 << S[H_LINE_SHIFT]
    return dram_read(S, line, t)


@njit
def l3_port(S: Flat, cfg: int, state: int, t: int) -> int:
    """Take the level's bandwidth for one line; returns when the request is served."""
    start = max(t, S[state + V_PORT])
    S[state + V_PORT] = start + S[cfg + L_BANDWIDTH]
    return start


@njit
def l3_read(S: Flat, line: int, t: int, region: int, demand: bool) -> int:
    """A request from a core's last private level at ``t``; returns arrival * LEVELS + level."""
    cfg = S[H_L3]
    if S[cfg + L_PRESENT] == 0:
        return memory_read(S, line, t, region) * LEVELS + (X_DRAM - X_L1)
    state = S[H_L3_STATE]
    t = l3_port(S, cfg, state, t)
    tags = set_of(S, cfg, state, line)
    position = find(S, tags, S[cfg + L_WAYS], line)
    if position >= 0:
        if demand:
            S[state + V_HITS] += 1
        served = hit(S, state, tags, position, t, demand, 0)
        return max(served, (t + S[cfg + L_HIT]) * LEVELS + (X_L3 - X_L1))
    if demand:
        S[state + V_MISSES] += 1
    if mshr_held(S, state, t) >= S[cfg + L_MSHRS]:
        S[state + V_MSHR_STALLS] += 1
        t = mshr_free_at(S, cfg, state)
    l3_insert(S, line, TAG_IN_FLIGHT, t, region)
    arrival = memory_read(S, line, t + S[cfg + L_HIT], region)
    served = (arrival + S[cfg + L_FILL]) * LEVELS + (X_DRAM - X_L1)
    mshr_take(S, state, line, served)
    return served


@njit
def l3_write(S: Flat, line: int, t: int, region: int) -> None:
    """A dirty line comes back from a core."""
    cfg = S[H_L3]
    if S[cfg + L_PRESENT] == 0:
        memory_write(S, line, t, region)
        return
    state = S[H_L3_STATE]
    t = l3_port(S, cfg, state, t)
    tags = set_of(S, cfg, state, line)
    position = find(S, tags, S[cfg + L_WAYS], line)
    if position >= 0:
        to_front(S, tags, position, S[tags + position] | TAG_DIRTY)
    else:
        l3_insert(S, line, TAG_DIRTY, t, region)


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
def l2_insert(S: Flat, core: int, line: int, flags: int, t: int, region: int) -> None:
    cfg = S[H_L2]
    state = core + S[H_LEVEL2]
    tags = set_of(S, cfg, state, line)
    last = S[cfg + L_WAYS] - 1
    victim = S[tags + last]
    if victim >= 0 and victim & TAG_DIRTY:
        S[state + V_WRITEBACKS] += 1
        l3_write(S, victim >> TAG_SHIFT, cycle_to_fs(S, core, t), region)
    to_front(S, tags, last, line << TAG_SHIFT | flags)


@njit
def l2_fetch(S: Flat, core: int, line: int, t: int, region: int, demand: bool, flags: int) -> int:
    """Bring a line into L2, an MSHR being free at ``t``; returns arrival * LEVELS + level."""
    cfg = S[H_L2]
    state = core + S[H_LEVEL2]
    l2_insert(S, core, line, TAG_IN_FLIGHT | flags, t, region)
    served = l3_read(S, line, cycle_to_fs(S, core, t + S[cfg + L_HIT]), region, demand)
    ready = fs_to_cycle(S, core, served >> LEVEL_BITS) + S[cfg + L_FILL]
    served = ready * LEVELS + (served & (LEVELS - 1))
    mshr_take(S, state, line, served)
    return served


@njit
def l2_read(S: Flat, core: int, line: int, t: int, pc: int, region: int, demand: bool) -> int:
    """A request from L1 at ``t``; returns arrival at L1 * LEVELS + level."""
    cfg = S[H_L2]
    if S[cfg + L_PRESENT] == 0:
        served = l3_read(S, line, cycle_to_fs(S, core, t), region, demand)
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
        served = hit(S, state, tags, position, t, demand, 0)
        result = max(served, (t + S[cfg + L_HIT]) * LEVELS + (X_L2 - X_L1))
    else:
        if demand:
            S[state + V_MISSES] += 1
        leaves = t
        if mshr_held(S, state, t) >= S[cfg + L_MSHRS]:
            S[state + V_MSHR_STALLS] += 1
            leaves = mshr_free_at(S, cfg, state)
        result = l2_fetch(S, core, line, leaves, region, demand, 0)
    if S[cfg + L_PREFETCH] != PREFETCH_NONE:
        step = train(S, cfg, state, pc, line, fresh)
        if step != 0:
            first = S[cfg + L_DISTANCE]
            for i in range(first, first + S[cfg + L_DEGREE]):
                l2_prefetch(S, core, line + i * step, t, region)
    return result


@njit
def l2_prefetch(S: Flat, core: int, line: int, t: int, region: int) -> None:
    """Fetch a line into L2 ahead of use; dropped when it is there or no MSHR is free."""
    if takes_prefetch(S, S[H_L2], core + S[H_LEVEL2], line, t):
        l2_fetch(S, core, line, t, region, False, TAG_PREFETCHED)


@njit
def l2_write(S: Flat, core: int, line: int, t: int, region: int) -> None:
    """A dirty line comes back from L1."""
    cfg = S[H_L2]
    if S[cfg + L_PRESENT] == 0:
        l3_write(S, line, cycle_to_fs(S, core, t), region)
        return
    state = core + S[H_LEVEL2]
    t = l2_port(S, cfg, state, t)
    tags = set_of(S, cfg, state, line)
    position = find(S, tags, S[cfg + L_WAYS], line)
    if position >= 0:
        to_front(S, tags, position, S[tags + position] | TAG_DIRTY)
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
    cfg = S[H_L1]
    state = core + S[H_LEVEL1]
    tags = set_of(S, cfg, state, line)
    last = S[cfg + L_WAYS] - 1
    victim = S[tags + last]
    if victim >= 0 and victim & TAG_DIRTY:
        S[state + V_WRITEBACKS] += 1
        l2_write(S, core, victim >> TAG_SHIFT, t, region)
    to_front(S, tags, last, line << TAG_SHIFT | TAG_IN_FLIGHT | flags)
    served = l2_read(S, core, line, t + S[cfg + L_HIT], pc, region, demand)
    served += S[cfg + L_FILL] * LEVELS
    mshr_take(S, state, line, served)
    return served


@njit
def l1_access(
    S: Flat, core: int, line: int, t: int, pc: int, region: int, latency: int, dirty: int
) -> int:
    """One demand access in cycle ``t``; a hit takes ``latency`` cycles (a store owns it at once).

    Returns (when the data may be used) * LEVELS + level, or -(cycle to try again) without an MSHR.
    """
    cfg = S[H_L1]
    state = core + S[H_LEVEL1]
    tags = set_of(S, cfg, state, line)
    position = find(S, tags, S[cfg + L_WAYS], line)
    fresh = True
    if position >= 0:
        S[state + V_HITS] += 1
        fresh = S[tags + position] & TAG_PREFETCHED != 0
        served = hit(S, state, tags, position, t, True, dirty)
        result = max(served, (t + latency) * LEVELS)
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
    if takes_prefetch(S, S[H_L1], core + S[H_LEVEL1], line, t):
        l1_fetch(S, core, line, t, pc, region, False, TAG_PREFETCHED)
