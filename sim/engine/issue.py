"""Issue: the oldest ready instruction first per unit, or strictly in order (rules I1-I7).

A unit hands out pipe slots: slot ``s`` belongs to cycle ``s // pipes``.  An instruction takes its
slots one after another, so its start and its end are known when it issues, and so is when those
who wait for it may start.
"""

from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    C_HEAD,
    C_IN_ORDER,
    C_IO_HEAD,
    C_IO_TAIL,
    C_ISSUE_WAKE,
    C_LOAD_CURRENT,
    C_LOAD_NEXT,
    C_LOAD_UNIT,
    C_MISPREDICT,
    C_REDIRECT,
    C_RESUME,
    C_RETIRE_NEXT,
    C_SB_NEXT,
    C_SQ_REQUEST,
    C_SQ_RETIRED,
    C_UNIT_COUNT,
    C_UNITS,
    DATAFLOW_NONE,
    E_ACC_LATENCY,
    E_ACC_NODE,
    E_ACC_READY,
    E_CHAIN,
    E_COMPLETE,
    E_CONSUMERS,
    E_ISSUE,
    E_KIND,
    E_LATENCY,
    E_LEAVES,
    E_NEEDS,
    E_NEXT,
    E_NODES,
    E_OVERLAP,
    E_PENDING,
    E_READY,
    E_SEQ,
    E_SLOTS,
    E_SQ,
    E_STREAM,
    E_UNIT,
    INF,
    KIND_LOAD,
    KIND_MATMUL,
    MEMORY_NODE,
    NODE_BITS,
    NODES,
    U_COUNT,
    U_DATAFLOW,
    U_FREE,
    U_HEAD,
    U_HELD,
    U_PIPES,
    U_SIZE,
    U_TAIL,
    U_WAKE,
)
from sim.engine.loads import run_load, start_load
from sim.engine.stores import load_blocker


@njit
def unit_of(core: int, u: int) -> int:
    """Offset of a unit's words."""
    return core + C_UNITS + u * U_SIZE


@njit
def attention_at(S: Flat, core: int, e: int, ready: int) -> None:
    """Make sure the queue of entry ``e`` is looked at in cycle ``ready``."""
    if ready < S[core + C_ISSUE_WAKE]:
        S[core + C_ISSUE_WAKE] = ready
    unit = unit_of(core, S[e + E_UNIT])
    if ready < S[unit + U_WAKE]:
        S[unit + U_WAKE] = ready


@njit
def insert_ready(S: Flat, core: int, e: int) -> None:
    """Put an entry that waits for no other into its unit's list, which is in program order."""
    unit = unit_of(core, S[e + E_UNIT])
    tail = S[unit + U_TAIL]
    seq = S[e + E_SEQ]
    if tail < 0:
        S[unit + U_HEAD] = e
        S[unit + U_TAIL] = e
        S[e + E_NEXT] = -1
    elif S[tail + E_SEQ] < seq:
        S[tail + E_NEXT] = e
        S[unit + U_TAIL] = e
        S[e + E_NEXT] = -1
    else:
        previous = -1
        after = S[unit + U_HEAD]
        while S[after + E_SEQ] < seq:
            previous = after
            after = S[after + E_NEXT]
        S[e + E_NEXT] = after
        if previous < 0:
            S[unit + U_HEAD] = e
        else:
            S[previous + E_NEXT] = e


@njit
def depend(S: Flat, producer: int, e: int, node: int) -> None:
    """Entry ``e`` needs a result of ``producer``: now known, or told later through ``node``."""
    known = S[producer + E_COMPLETE]
    if known >= 0:
        if node == S[e + E_ACC_NODE] and S[producer + E_ACC_NODE] >= 0:
            known = S[producer + E_ACC_READY]
        if known > S[e + E_READY]:
            S[e + E_READY] = known
        return
    S[e + E_PENDING] += 1
    S[e + E_NODES + node] = S[producer + E_CONSUMERS]
    S[producer + E_CONSUMERS] = e * NODES + node


@njit
def complete(S: Flat, core: int, e: int, when: int, accumulate: int) -> None:
    """The completion of ``e`` has become known: tell those who wait for it."""
    S[e + E_COMPLETE] = when
    S[e + E_ACC_READY] = accumulate
    n = S[e + E_CONSUMERS]
    while n >= 0:
        c = n >> NODE_BITS
        node = n & (NODES - 1)
        n = S[c + E_NODES + node]
        ready = when
        if node == S[c + E_ACC_NODE] and S[e + E_ACC_NODE] >= 0:
            ready = accumulate
        if ready > S[c + E_READY]:
            S[c + E_READY] = ready
        S[c + E_PENDING] -= 1
        if S[c + E_PENDING] == 0:
            if S[core + C_IN_ORDER] == 0:
                insert_ready(S, core, c)
            attention_at(S, core, c, S[c + E_READY])
    S[e + E_CONSUMERS] = -1
    if S[e + E_SEQ] == S[core + C_HEAD]:
        S[core + C_RETIRE_NEXT] = when
    if S[e + E_SEQ] == S[core + C_REDIRECT]:
        S[core + C_RESUME] = when + S[core + C_MISPREDICT]


@njit
def held_back(S: Flat, core: int, e: int, t: int) -> bool:
    """Whether a load that overlaps older stores has to wait; arranges when to look again."""
    blocker = load_blocker(S, core, e, t)
    if blocker == -1:
        return False
    if blocker == -2 or S[blocker + E_COMPLETE] >= 0:
        S[e + E_READY] = t + 1 if blocker == -2 else S[blocker + E_COMPLETE]
    else:
        depend(S, blocker, e, MEMORY_NODE)
    return True


@njit
def quiet_until(S: Flat, core: int, e: int, t: int) -> int:
    """The first cycle after ``t`` in which this core could touch what a load looks at.

    That is a store older than the load asking for its line: the store buffer's next cycle, or, for
    stores not retired yet, the next retirement.  What other cores do, `run_load` minds.
    """
    bound = INF
    if S[core + C_SQ_REQUEST] < S[e + E_SQ]:
        if S[core + C_SQ_REQUEST] < S[core + C_SQ_RETIRED]:
            bound = min(bound, S[core + C_SB_NEXT])
        elif S[core + C_RETIRE_NEXT] == INF:  # the oldest instruction may complete at any time
            bound = min(bound, t + 1)
        else:
            bound = min(bound, S[core + C_RETIRE_NEXT])
    return max(bound, t + 1)


@njit
def array_slots(S: Flat, unit: int, e: int) -> int:
    """Pipe slots of a matmul that an array starts now; leaves there what it leaves."""
    continues = S[unit + U_HELD] == S[e + E_NEEDS]
    S[unit + U_HELD] = S[e + E_LEAVES]
    return S[e + E_STREAM] if continues else S[e + E_SLOTS]


@njit
def begin(S: Flat, core: int, unit: int, e: int, t: int) -> None:
    """Start ``e`` in cycle ``t``, in which the unit has a slot; takes the slots."""
    S[e + E_ISSUE] = t
    S[unit + U_COUNT] -= 1
    pipes = S[unit + U_PIPES]
    first = max(S[unit + U_FREE], t * pipes)
    if S[e + E_KIND] == KIND_LOAD:
        S[unit + U_FREE] = first
        start_load(S, core, e)
        if run_load(S, core, e, t, quiet_until(S, core, e, t)):
            complete(S, core, e, S[e + E_COMPLETE], S[e + E_COMPLETE])
        return
    slots = S[e + E_SLOTS]
    if S[unit + U_DATAFLOW] != DATAFLOW_NONE:
        slots = array_slots(S, unit, e)
    S[unit + U_FREE] = first + slots
    behind = first + slots
    last = t if behind <= (t + 1) * pipes else (behind - 1) // pipes
    latency = S[e + E_LATENCY]
    again = S[e + E_ACC_LATENCY]
    when = last + latency
    accumulate = last + again
    if S[e + E_KIND] == KIND_MATMUL and S[e + E_CHAIN] > 0:
        # a cracked matmul adds E_CHAIN products to every element, one after another
        chained = t + S[e + E_CHAIN] * again
        when = max(when, chained - again + latency)
        accumulate = max(accumulate, chained)
    complete(S, core, e, when, accumulate)


@njit
def go_on_loading(S: Flat, core: int, t: int) -> None:
    """The load on the pipes goes on in cycle ``t``."""
    e = S[core + C_LOAD_CURRENT]
    if run_load(S, core, e, t, quiet_until(S, core, e, t)):
        complete(S, core, e, S[e + E_COMPLETE], S[e + E_COMPLETE])
        unit = unit_of(core, S[e + E_UNIT])
        if S[core + C_IN_ORDER] or S[unit + U_HEAD] >= 0:
            attention_at(S, core, e, max(S[unit + U_FREE] // S[unit + U_PIPES], t))


@njit
def remove(S: Flat, unit: int, previous: int, e: int) -> int:
    """Take an entry out of its unit's list; returns its successor."""
    after = S[e + E_NEXT]
    if previous >= 0:
        S[previous + E_NEXT] = after
    else:
        S[unit + U_HEAD] = after
    if after < 0:
        S[unit + U_TAIL] = previous
    return after


@njit
def issue_unit(S: Flat, core: int, u: int, t: int) -> None:
    """Start what is ready on one unit, oldest first; notes when to look again."""
    unit = unit_of(core, u)
    pipes = S[unit + U_PIPES]
    end = (t + 1) * pipes
    S[unit + U_WAKE] = INF
    wake = INF
    previous = -1
    e = S[unit + U_HEAD]
    while e >= 0:
        if S[e + E_READY] <= t:
            if u == S[core + C_LOAD_UNIT] and S[core + C_LOAD_CURRENT] >= 0:
                break  # go_on_loading looks again
            if S[unit + U_FREE] >= end:
                wake = min(wake, S[unit + U_FREE] // pipes)
                break
            if S[e + E_OVERLAP] == 0 or not held_back(S, core, e, t):
                remove(S, unit, previous, e)
                begin(S, core, unit, e, t)
                # it may have put others, ready later, into this very list
                e = S[previous + E_NEXT] if previous >= 0 else S[unit + U_HEAD]
                continue
            if S[e + E_PENDING] > 0:  # it waits for a store and comes back then
                e = remove(S, unit, previous, e)
                continue
        wake = min(wake, S[e + E_READY])
        previous = e
        e = S[e + E_NEXT]
    if wake < S[unit + U_WAKE]:
        S[unit + U_WAKE] = wake


@njit
def issue_in_order(S: Flat, core: int, t: int) -> None:
    """Start instructions strictly in program order, as many as find slots in this cycle."""
    while True:
        e = S[core + C_IO_HEAD]
        if e < 0 or S[e + E_PENDING] > 0:
            return
        wake = S[e + E_READY]
        unit = unit_of(core, S[e + E_UNIT])
        if wake <= t:
            if S[e + E_UNIT] == S[core + C_LOAD_UNIT] and S[core + C_LOAD_CURRENT] >= 0:
                return
            if S[unit + U_FREE] >= (t + 1) * S[unit + U_PIPES]:
                wake = S[unit + U_FREE] // S[unit + U_PIPES]
            elif S[e + E_OVERLAP] and held_back(S, core, e, t):
                if S[e + E_PENDING] > 0:
                    return
                wake = S[e + E_READY]
        if wake > t:
            S[core + C_ISSUE_WAKE] = min(S[core + C_ISSUE_WAKE], wake)
            return
        S[core + C_IO_HEAD] = S[e + E_NEXT]
        if S[e + E_NEXT] < 0:
            S[core + C_IO_TAIL] = -1
        begin(S, core, unit, e, t)


@njit
def issue(S: Flat, core: int, t: int) -> None:
    """The issue phase of cycle ``t``."""
    if S[core + C_LOAD_CURRENT] >= 0 and S[core + C_LOAD_NEXT] <= t:
        go_on_loading(S, core, t)
    if S[core + C_ISSUE_WAKE] > t:
        return
    S[core + C_ISSUE_WAKE] = INF
    if S[core + C_IN_ORDER]:
        issue_in_order(S, core, t)
        return
    wake = INF
    for u in range(S[core + C_UNIT_COUNT]):
        unit = unit_of(core, u)
        if S[unit + U_WAKE] <= t:
            issue_unit(S, core, u, t)
        wake = min(wake, S[unit + U_WAKE])
    S[core + C_ISSUE_WAKE] = min(S[core + C_ISSUE_WAKE], wake)


@njit
def enqueue(S: Flat, core: int, e: int) -> None:
    """Put a dispatched entry into its queue."""
    S[e + E_NEXT] = -1
    S[unit_of(core, S[e + E_UNIT]) + U_COUNT] += 1
    if S[core + C_IN_ORDER]:
        if S[core + C_IO_HEAD] < 0:
            S[core + C_IO_HEAD] = e
        else:
            S[S[core + C_IO_TAIL] + E_NEXT] = e
        S[core + C_IO_TAIL] = e
    elif S[e + E_PENDING] == 0:
        insert_ready(S, core, e)
    if S[e + E_PENDING] == 0:
        attention_at(S, core, e, S[e + E_READY])
