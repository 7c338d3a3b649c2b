"""The compiled main loop: cores in order of time, phases in a cycle (rules T1-T3, A1-A3)."""

from sim.engine.clock import cycle_to_fs, fs_to_cycle
from sim.engine.decode import NO_FAULT
from sim.engine.flat import Array, Flat, flat
from sim.engine.frontend import charge, dispatch
from sim.engine.issue import issue
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
    C_ISSUE_WAKE,
    C_LOAD_NEXT,
    C_NEXT,
    C_NOW,
    C_REDIRECT,
    C_REGION,
    C_RETIRE_NEXT,
    C_SB_NEXT,
    C_TAIL,
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
    H_RUNNING,
    H_WIDTH,
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
from sim.engine.window import entry, retire


@njit
def charge_idle(S: Flat, core: int, t: int) -> None:
    """Book the empty dispatch slots before cycle ``t``: nothing has changed since they began.

    Those of a load that has accesses to make wait until the level of its last line is known (A3).
    """
    window = S[core + C_HEAD] < S[core + C_TAIL]
    e = entry(S, core, S[core + C_HEAD])
    if S[core + C_DEFERRED] and S[e + E_COMPLETE] >= 0:
        charge(S, S[e + E_REGION], S[e + E_LEVEL], S[core + C_DEFERRED])
        S[core + C_DEFERRED] = 0
    slot = S[core + C_DISPATCH_SLOT]
    empty = t * S[H_WIDTH] - slot
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
    charge(S, region, cause, empty)


@njit
def step(S: Flat, P: Flat, T: Flat, M: Flat, core: int, t: int, horizon: int) -> int:
    """One cycle of one core; returns a fault code and sets C_NEXT.

    A core that stood at a `wait` in this cycle, when the signal came, goes on with its dispatch.
    """
    if S[core + C_NOW] < t or S[core + C_BLOCK] != BLOCK_WAIT:
        charge_idle(S, core, t)
        S[core + C_NOW] = t
        if S[core + C_RETIRE_NEXT] <= t:
            retire(S, core, t)
        if S[core + C_SB_NEXT] <= t:
            drain(S, core, t)
        issue(S, core, t, horizon)
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
def wake_waiting(S: Flat, fs: int) -> None:
    """Cores whose awaited signal came at ``fs`` look at it in that cycle (F8)."""
    for i in range(S[H_CORES]):
        core = S[H_CORE_BASE] + i * S[H_CORE_STRIDE]
        if S[core + C_DISPATCH_NEXT] == -1:
            S[core + C_DISPATCH_NEXT] = INF
            S[core + C_NEXT] = min(S[core + C_NEXT], fs_to_cycle(S, core, fs))


@njit
def advance(
    state: Array, programs: Array, tiles: Array, memory: Array, until_fs: int, steps: int
) -> int:
    """Run all cores in order of time up to ``until_fs`` or for ``steps`` cycles worked on.

    The core with the earliest next event goes first (ties: the lower number), so shared levels see
    requests in the order of time.  Returns a RUN_ code.
    """
    S = flat(state)
    P = flat(programs)
    T = flat(tiles)
    M = flat(memory)
    cores = S[H_CORES]
    base = S[H_CORE_BASE]
    stride = S[H_CORE_STRIDE]
    for _ in range(steps):
        if S[H_RUNNING] == 0:
            return RUN_HALTED
        best = -1
        best_fs = INF
        second_fs = INF
        if cores == 1:
            if S[base + C_NEXT] < INF:
                best = base
                if until_fs < INF:
                    best_fs = cycle_to_fs(S, base, S[base + C_NEXT])
        else:
            for i in range(cores):
                core = base + i * stride
                if S[core + C_NEXT] == INF:
                    continue
                fs = cycle_to_fs(S, core, S[core + C_NEXT])
                if fs < best_fs:
                    second_fs = best_fs
                    best_fs = fs
                    best = core
                elif fs < second_fs:
                    second_fs = fs
        if best < 0:
            return RUN_DEADLOCK
        if until_fs < INF and best_fs >= until_fs:
            return RUN_UNTIL
        t = S[best + C_NEXT]
        horizon = INF
        limit = min(second_fs, until_fs)
        if limit < INF:
            horizon = max(fs_to_cycle(S, best, limit), t + 1)
        code = step(S, P, T, M, best, t, horizon)
        if code != NO_FAULT:
            S[H_FAULT] = code
            S[H_FAULT_CORE] = (best - base) // stride
            return RUN_FAULT
        if cores > 1:
            wake_waiting(S, best_fs)
    return RUN_STEPS
