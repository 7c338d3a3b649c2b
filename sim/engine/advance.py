"""The compiled main loop: whose cycle is next, phases in a cycle (rules T1-T3, A1-A3)."""

from sim.engine.clock import cycle_to_fs, fs_to_cycle
from sim.engine.decode import NO_FAULT
from sim.engine.flat import Array, Flat, flat
from sim.engine.frontend import charge, dispatch
from sim.engine.issue import go_on_loading, issue
from sim.engine.jit import njit
from sim.engine.layout import (
    BLOCK_FENCE,
    BLOCK_STORE,
    BLOCK_WAIT,
    C_BLOCK,
    C_DEFERRED,
    C_DISPATCH_NEXT,
    C_DISPATCH_SLOT,
    C_HALTED,
    C_HEAD,
    C_HORIZON,
    C_ISSUE_WAKE,
    C_LOAD_NEXT,
    C_NEXT,
    C_NOW,
    C_REDIRECT,
    C_REGION,
    C_RETIRE_NEXT,
    C_SB_NEXT,
    C_SIGNALLED,
    C_TAIL,
    C_WIDTH,
    E_COMPLETE,
    E_ISSUE,
    E_KIND,
    E_LEVEL,
    E_REGION,
    E_UNIT,
    H_CORE_BASE,
    H_CORE_STRIDE,
    H_CORES,
    H_FAULT,
    H_FAULT_CORE,
    H_ORDER,
    H_RUNNING,
    H_SIGNALLED,
    H_TIMES,
    H_TURN,
    H_TURN_AT,
    INF,
    KIND_LOAD,
    RUN_DEADLOCK,
    RUN_FAULT,
    RUN_HALTED,
    RUN_STEPS,
    RUN_UNTIL,
    X_BAD_SPECULATION,
    X_FRONT_END,
    X_STORE,
    X_UNIT,
    X_WAIT,
)
from sim.engine.stores import drain
from sim.engine.turns import (
    first_behind,
    first_from,
    first_place,
    note_clocks,
    note_next,
    place,
    queue_again,
    queue_all,
)
from sim.engine.window import entry, retire


@njit
def charge_idle(S: Flat, core: int, t: int) -> None:
    """Book the empty dispatch slots before cycle ``t``: nothing has changed since they began.

    Those of a load that has accesses to make wait until the level of its last line is known (A3).
    """
    window = S[core + C_HEAD] < S[core + C_TAIL]
    e = entry(S, core, S[core + C_HEAD])
    if S[core + C_DEFERRED] and S[e + E_COMPLETE] >= 0:
        charge(S, core, S[e + E_REGION], S[e + E_LEVEL], S[core + C_DEFERRED])
        S[core + C_DEFERRED] = 0
    slot = S[core + C_DISPATCH_SLOT]
    empty = t * S[core + C_WIDTH] - slot
    if empty <= 0:
        return
    S[core + C_DISPATCH_SLOT] = slot + empty
    region = S[core + C_REGION]
    block = S[core + C_BLOCK]
    if S[core + C_REDIRECT] >= 0:
        cause = X_BAD_SPECULATION
    elif block == BLOCK_WAIT:
        cause = X_WAIT
    elif not window:
        cause = X_STORE if block in (BLOCK_FENCE, BLOCK_STORE) else X_FRONT_END
    else:
        region = S[e + E_REGION]
        cause = X_UNIT + S[e + E_UNIT]
        if S[e + E_KIND] == KIND_LOAD and S[e + E_ISSUE] >= 0:
            if S[e + E_COMPLETE] < 0:
                S[core + C_DEFERRED] += empty
                return
            cause = S[e + E_LEVEL]
        elif block == BLOCK_STORE:
            cause = X_STORE
    charge(S, core, region, cause, empty)


@njit
def only_loading(S: Flat, core: int, t: int) -> bool:
    """Do a cycle in which nothing happens but accesses of the load on the pipes; False: it is none.

    Empty slots are left for `charge_idle` in the next other cycle: all it looks at stays the same.
    """
    others = min(S[core + C_RETIRE_NEXT], S[core + C_SB_NEXT])
    others = min(others, min(S[core + C_ISSUE_WAKE], S[core + C_DISPATCH_NEXT]))
    if others <= t or S[core + C_LOAD_NEXT] > t:
        return False
    go_on_loading(S, core, t)
    following = min(S[core + C_RETIRE_NEXT], S[core + C_ISSUE_WAKE])
    if following <= t:
        return False
    S[core + C_NOW] = t
    S[core + C_NEXT] = min(min(others, following), S[core + C_LOAD_NEXT])
    return True


@njit
def step(S: Flat, P: Flat, T: Flat, M: Flat, core: int, t: int) -> int:
    """One cycle of one core; returns a fault code and sets C_NEXT.

    A core that stood at a `wait` in this cycle, when the signal came, goes on with its dispatch.
    """
    again = S[core + C_NOW] == t and S[core + C_BLOCK] == BLOCK_WAIT
    if not again and only_loading(S, core, t):
        return NO_FAULT
    charge_idle(S, core, t)
    if not again:
        S[core + C_NOW] = t
        if S[core + C_RETIRE_NEXT] <= t:
            retire(S, core, t)
        if S[core + C_SB_NEXT] <= t:
            drain(S, core, t)
        issue(S, core, t)
    code = dispatch(S, P, T, M, core, t)
    if code != NO_FAULT:
        return code
    if S[core + C_HALTED]:
        S[core + C_NEXT] = INF
        return code
    following = min(S[core + C_RETIRE_NEXT], S[core + C_SB_NEXT])
    following = min(following, S[core + C_LOAD_NEXT])
    following = min(following, S[core + C_ISSUE_WAKE])
    following = min(following, S[core + C_DISPATCH_NEXT])
    S[core + C_NEXT] = max(following, t + 1)
    return code


@njit
def wake_waiting(S: Flat, giver: int, t: int) -> None:
    """Cores whose awaited signal another one gave in its cycle ``t`` look at it (F8)."""
    fs = cycle_to_fs(S, giver, t)
    for i in range(S[H_CORES]):
        core = S[H_CORE_BASE] + i * S[H_CORE_STRIDE]
        if S[core + C_SIGNALLED]:
            S[core + C_SIGNALLED] = 0
            looks = fs_to_cycle(S, core, fs)
            if S[H_TURN]:  # it may have had its turn
                looks = max(looks, first_behind(S, core, giver, place(S, giver, t)))
            S[core + C_DISPATCH_NEXT] = min(S[core + C_DISPATCH_NEXT], looks)
            S[core + C_NEXT] = min(S[core + C_NEXT], looks)
            note_next(S, core)
    S[H_SIGNALLED] = 0


@njit
def advance(
    state: Array,
    programs: Array,
    tiles: Array,
    memory: Array,
    until_fs: int,
    end_fs: int,
    steps: int,
) -> int:
    """Run all cores up to the first place from ``until_fs`` on, or for ``steps`` cycles worked on.

    ``until_fs`` is INF where nothing happens outside; even then ``end_fs`` is the end.

    The core whose next cycle has the earliest place goes first (ties: the lower number), and goes
    on until another's turn has come.  Returns a RUN_ code.
    """
    S = flat(state)
    P = flat(programs)
    T = flat(tiles)
    M = flat(memory)
    cores = S[H_CORES]
    base = S[H_CORE_BASE]
    stride = S[H_CORE_STRIDE]
    times = S[H_TIMES]
    order = S[H_ORDER]
    note_clocks(S)
    end = first_place(S, min(until_fs, end_fs))
    for i in range(cores):
        note_next(S, base + i * stride)
    queue_all(S)
    while steps > 0:
        if S[H_RUNNING] == 0:
            return RUN_HALTED
        best = S[order]
        first = S[times + best]
        if first >= end:
            return RUN_DEADLOCK if first == INF else RUN_UNTIL
        if S[H_TURN]:
            S[H_TURN_AT] = first
        core = base + best * stride
        second = S[order + 1] if cores > 1 else best
        following = S[times + second] if cores > 1 else INF
        if following < end:
            S[core + C_HORIZON] = first_behind(S, core, base + second * stride, following)
        else:
            S[core + C_HORIZON] = first_from(S, core, end)
        woken = False
        while True:
            t = S[core + C_NEXT]
            code = step(S, P, T, M, core, t)
            if code != NO_FAULT:
                S[H_FAULT] = code
                S[H_FAULT_CORE] = best
                return RUN_FAULT
            steps -= 1
            if S[H_SIGNALLED]:
                wake_waiting(S, core, t)
                woken = True
                break
            if S[core + C_NEXT] >= S[core + C_HORIZON] or steps <= 0:
                break
        note_next(S, core)
        if woken:
            queue_all(S)
        else:
            queue_again(S, 0, cores)
    return RUN_STEPS
