"""What all cores share: L3 in slices, memory behind it (rules C2, C7, C9, M1-M7); femtoseconds."""

from sim.engine.dram import dram_read, dram_write
from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    A_COLUMNS,
    A_DRAM_READ,
    A_DRAM_WRITE,
    C_NODE,
    H_ACCOUNT,
    H_COHERENCE,
    H_CORE_BASE,
    H_CORE_STRIDE,
    H_CORES,
    H_DIRECTORY,
    H_L3,
    H_L3_STATE,
    H_LINE_SHIFT,
    H_NODES,
    L_BANDWIDTH,
    L_FILL,
    L_HIT,
    L_INCLUSIVE,
    L_POLICY,
    L_PRESENT,
    L_SLICE_SIZE,
    L_SLICES,
    L_WAYS,
    POLICY_LRU,
    TAG_DIRTY,
    TAG_IN_FLIGHT,
    TAG_SHIFT,
    V_HITS,
    V_LINES_PORT,
    V_MERGES,
    V_MISSES,
    V_MSHR_STALLS,
    V_WRITEBACKS,
    X_DRAM,
    X_L1,
    X_L3,
    Y_FILL,
    Y_HOLDERS,
    Y_SIZE,
    Z_BACK_INVALIDATIONS,
)
from sim.engine.level import LEVEL_BITS, LEVELS, hit, mshr_held, mshr_take, mshr_wait, set_of
from sim.engine.nodes import count_read, cross, node_of, number_of
from sim.engine.port import pass_line
from sim.engine.replacement import placed, room, used
from sim.engine.sets import find
from sim.engine.snoops import remove


@njit
def memory_write(S: Flat, line: int, t: int, region: int) -> None:
    S[S[H_ACCOUNT] + region * A_COLUMNS + A_DRAM_WRITE] += 1 << S[H_LINE_SHIFT]
    dram_write(S, line, t)


@njit
def memory_read(S: Flat, core: int, line: int, t: int, region: int) -> int:
    if S[H_NODES] > 1:
        count_read(S, core, line)
    S[S[H_ACCOUNT] + region * A_COLUMNS + A_DRAM_READ] += 1 << S[H_LINE_SHIFT]
    return dram_read(S, line, t)


@njit
def home_of(S: Flat, line: int) -> int:
    """The slice of L3 that a line belongs to, its node without L3."""
    slices = S[S[H_L3] + L_SLICES]
    if S[H_NODES] > 1:
        slices = max(slices, 1)
        return node_of(S, line) * slices + number_of(S, line) % slices
    return line % slices if slices > 1 else 0


@njit
def slice_of(S: Flat, cfg: int, line: int) -> int:
    """Offset of the state of the line's slice."""
    return S[H_L3_STATE] + home_of(S, line) * S[cfg + L_SLICE_SIZE]


@njit
def l3_set(S: Flat, cfg: int, state: int, line: int) -> int:
    """Offset of the line's set in its slice."""
    slices = S[cfg + L_SLICES]
    line = number_of(S, line)
    return set_of(S, cfg, state, line // slices if slices > 1 else line)


@njit
def recall(S: Flat, line: int, t: int) -> bool:
    """A line leaves an inclusive L3 at ``t``, so all private caches too; was it dirty in any?"""
    holders = 1
    if S[H_DIRECTORY]:
        entry = S[H_DIRECTORY] + line * Y_SIZE
        holders = S[entry + Y_HOLDERS]
        S[entry + Y_HOLDERS] = 0
    dirty = False
    for i in range(S[H_CORES]):
        if holders >> i & 1:
            core = S[H_CORE_BASE] + i * S[H_CORE_STRIDE]
            found = remove(S, core, line)
            S[S[H_COHERENCE] + Z_BACK_INVALIDATIONS] += found >> 1
            if found & 1:
                dirty = True
                cross(S, S[core + C_NODE], node_of(S, line), t)
    return dirty


@njit
def l3_insert(S: Flat, state: int, line: int, flags: int, t: int, region: int) -> None:
    cfg = S[H_L3]
    tags = l3_set(S, cfg, state, line)
    way = room(S, cfg, state, tags)
    victim = S[tags + way]
    if victim >= 0:
        dirty = victim & TAG_DIRTY != 0
        if S[cfg + L_INCLUSIVE] and recall(S, victim >> TAG_SHIFT, t):
            dirty = True
        if dirty:
            S[state + V_WRITEBACKS] += 1
            memory_write(S, victim >> TAG_SHIFT, t, region)
    placed(S, cfg, tags, way, line << TAG_SHIFT | flags)


@njit
def shared_port(S: Flat, line: int, t: int) -> int:
    """A request arrives at the line's home at ``t``; returns when it has passed the port."""
    cfg = S[H_L3]
    if S[cfg + L_PRESENT] == 0:
        return t
    return pass_line(S, slice_of(S, cfg, line) + V_LINES_PORT, t, S[cfg + L_BANDWIDTH])


@njit
def l3_hit(S: Flat, cfg: int, state: int, tags: int, position: int, t: int, demand: bool) -> int:
    """`hit` where busy lines hold requests up, so that their times do not come in order."""
    if S[H_DIRECTORY] == 0:
        return hit(S, cfg, state, tags, position, t, demand, 0)
    word = S[tags + position]
    served = 0
    if word & TAG_IN_FLIGHT:
        served = S[S[H_DIRECTORY] + (word >> TAG_SHIFT) * Y_SIZE + Y_FILL]
        if served >> LEVEL_BITS <= t:
            served = 0
        elif demand:
            S[state + V_MERGES] += 1
    if position > 0 or S[cfg + L_POLICY] != POLICY_LRU:
        used(S, cfg, tags, position, word)
    return served


@njit
def shared_read(S: Flat, core: int, line: int, t: int, region: int, demand: bool) -> int:
    """L3's or memory's answer to a request served at ``t``: time at the home * LEVELS + level."""
    cfg = S[H_L3]
    if S[cfg + L_PRESENT] == 0:
        return memory_read(S, core, line, t, region) * LEVELS + (X_DRAM - X_L1)
    state = slice_of(S, cfg, line)
    tags = l3_set(S, cfg, state, line)
    position = find(S, tags, S[cfg + L_WAYS], line)
    if position >= 0:
        if demand:
            S[state + V_HITS] += 1
        served = l3_hit(S, cfg, state, tags, position, t, demand)
        return max(served, (t + S[cfg + L_HIT]) * LEVELS + (X_L3 - X_L1))
    if demand:
        S[state + V_MISSES] += 1
    if S[H_DIRECTORY] == 0:
        mshr_held(S, state, t)  # forgets what `hit` need not look at any more
    leaves = mshr_wait(S, cfg, state, t)
    if leaves > t:
        S[state + V_MSHR_STALLS] += 1
    l3_insert(S, state, line, TAG_IN_FLIGHT, leaves, region)
    arrival = memory_read(S, core, line, leaves + S[cfg + L_HIT], region)
    served = (arrival + S[cfg + L_FILL]) * LEVELS + (X_DRAM - X_L1)
    mshr_take(S, state, line, served)
    if S[H_DIRECTORY]:
        S[S[H_DIRECTORY] + line * Y_SIZE + Y_FILL] = served
    return served


@njit
def answer(S: Flat, core: int, line: int, t: int, region: int, demand: bool) -> int:
    """What `shared_read` says, when it sets out to the core's node * LEVELS + level."""
    served = shared_read(S, core, line, t, region, demand)
    if S[H_NODES] == 1:
        return served
    out = cross(S, node_of(S, line), S[core + C_NODE], served >> LEVEL_BITS)
    return out * LEVELS + (served & (LEVELS - 1))


@njit
def shared_write(S: Flat, core: int, line: int, t: int, region: int) -> None:
    """A dirty line comes back from a core: at once, though it takes its turn on a link."""
    cross(S, S[core + C_NODE], node_of(S, line), t)
    cfg = S[H_L3]
    if S[cfg + L_PRESENT] == 0:
        memory_write(S, line, t, region)
        return
    state = slice_of(S, cfg, line)
    t = pass_line(S, state + V_LINES_PORT, t, S[cfg + L_BANDWIDTH])
    tags = l3_set(S, cfg, state, line)
    position = find(S, tags, S[cfg + L_WAYS], line)
    if position >= 0:
        used(S, cfg, tags, position, S[tags + position] | TAG_DIRTY)
    else:
        l3_insert(S, state, line, TAG_DIRTY, t, region)
