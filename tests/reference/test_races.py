"""Data races are found even where this run's order hides them, and ordered accesses are none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product
from random import Random

import pytest

from isa.assembler import assemble
from sim.machine import load_machine
from sim.reference import ReferenceCpu
from sim.reference.races import Order, Race, RaceCheck, Site, Sync

HEAD = """.tensor x f32 16 16
.tensor y f32 16 16
.control 64
main:
 li x1, x
 li x2, 1
 li x3, 4
 li x4, 2
 fill.f32 t0, x0, x2, x3
"""
STORE = "store.f32 t0, (x1), x0"
LOAD = "load.f32 t1, (x1), x0, x2, x3"
DELAY = "\n".join(["mul x9, x2, x2"] * 40)


def races(*bodies: str, entries: Sequence[str] = ("main",)) -> list[Race]:
    """The races of one program per core, over one run per entry."""
    programs = [assemble(HEAD + body + "\nhalt\n") for body in bodies]
    machine = load_machine("teach", [f"cores={len(bodies)}"])
    check = RaceCheck()
    texts = [each.program for each in programs]
    cpu = ReferenceCpu(machine, texts, programs[0].memory, regions=4, races=check)
    for entry in entries:
        cpu.start(entry)
        cpu.run()
    return check.races


def test_a_store_and_a_load_of_the_same_bytes_race():
    [race] = races(STORE, f"addi x1, x1, 8\n.region 3 sum\n{LOAD}")
    assert race.place == "tensor x, byte 0x8"
    assert {race.first, race.second} == {
        "core 0 stores at pc 5: store.f32 t0, (x1), x0",
        "core 1 loads at pc 7: load.f32 t1, (x1), x0, x2, x3, in operator 3 sum",
    }


def test_two_stores_race_and_two_loads_do_not():
    assert len(races(STORE, STORE)) == 1
    assert races(LOAD, LOAD) == []


def test_a_signal_orders_what_is_before_it():
    assert races(f"{STORE}\nsignal 0", f"wait 0, x2\n{LOAD}") == []
    assert len(races(f"signal 0\n{STORE}", f"wait 0, x2\n{LOAD}")) == 1
    assert len(races(f"{STORE}\nsignal 0", f"{LOAD}\nwait 0, x2")) == 1
    assert len(races(f"{STORE}\nsignal 0", f"wait 1, x0\n{LOAD}")) == 1


def test_a_signal_orders_a_load_before_a_store():
    assert races(f"{LOAD}\nsignal 0", f"wait 0, x2\n{STORE}") == []


def test_order_goes_on_from_core_to_core():
    assert races(f"{STORE}\nsignal 0", "wait 0, x2\nsignal 1", f"wait 1, x2\n{LOAD}") == []


def test_a_wait_for_one_of_two_signals_orders_neither():
    """Core 1's signal comes long after the load here, but on another machine it may be first."""
    late = f"{DELAY}\nsignal 0"
    assert len(races(f"{STORE}\nsignal 0", late, f"wait 0, x2\n{LOAD}")) == 1
    assert races(f"{STORE}\nsignal 0", late, f"wait 0, x4\n{LOAD}") == []


@pytest.mark.parametrize("behind", [0, 1])
def test_the_nth_signal_of_one_core_orders_the_waits_for_n(behind):
    """A wait for 2 is behind the first two signals, and before the third by no means."""
    signals = ["signal 0", "signal 0", "signal 0"]
    assert races("\n".join([*signals[:behind], STORE, *signals[behind:]]),
                 f"wait 0, x4\n{LOAD}") == []  # fmt: skip
    assert len(races("\n".join([*signals[:2], STORE, *signals[2:]]), f"wait 0, x4\n{LOAD}")) == 1


def barrier(count: int, cores: int) -> str:
    """All signal and wait for all; ``count`` such barriers on one counter so far."""
    return f"signal 0\nli x5, {count * cores}\nwait 0, x5"


@pytest.mark.parametrize("cores", [2, 3, 5])
def test_barriers_on_one_counter_are_clean(cores):
    """In every phase another core stores, and all load behind the barrier."""
    bodies = []
    for core in range(cores):
        phases = []
        for phase in range(cores):
            phases += [STORE if phase == core else "", barrier(2 * phase + 1, cores)]
            phases += [LOAD, barrier(2 * phase + 2, cores)]
        bodies.append("\n".join(phases))
    assert races(*bodies) == []


@pytest.mark.parametrize("cores", [2, 3])
def test_a_barrier_short_of_one_is_not(cores):
    """As if somebody had counted cores wrongly: all but one are waited for."""
    last = f"{DELAY}\nsignal 0"
    short = f"signal 0\nli x5, {cores - 1}\nwait 0, x5\n{LOAD}"
    assert races(f"{STORE}\n{last}", *[short] * (cores - 1))


def test_a_load_must_be_over_before_the_next_store():
    """Producer and consumer with one buffer: without an answer the second store may be early."""
    produce = f"{STORE}\nsignal 0\n"
    consume = f"wait 0, x2\n{LOAD}\n"
    again = f"wait 0, x4\n{LOAD}"
    assert len(races(produce + DELAY + "\n" + produce, consume + again)) == 1
    assert races(f"{produce}wait 1, x2\n{produce}", f"{consume}signal 1\n{again}") == []


def test_other_bytes_of_the_same_line_do_not_race():
    assert races(STORE, f"addi x1, x1, 16\n{STORE}") == []


def test_all_bytes_of_a_strided_access_count():
    rows = "li x2, 4\nli x6, 64\n"
    load = f"{rows}load.f32 t1, (x1), x6, x2, x3"
    assert races(f"addi x1, x1, 128\n{STORE}", load)[0].place == "tensor x, byte 0x80"
    assert races(f"addi x1, x1, 144\n{STORE}", load) == []


def test_prefetch_reads_nothing():
    assert races(STORE, "prefetch (x1)") == []


def test_control_words_are_memory_too():
    assert races("ld x5, 8(x0)", "ld x5, 8(x0)") == []
    [race] = races("st x5, 8(x0)", "ld x5, 8(x0)")
    assert race.place == "control segment, byte 0x8"
    gather = "gather.f32 t1, (x1), x0, (x0), x4, x3"
    assert len(races("st x0, 8(x0)", gather)) == 1
    assert races("st x0, 16(x0)", gather) == []


def test_runs_follow_each_other():
    """Core 1 loads what core 0 stored in the run before."""
    first, second = f"j end\nfirst: {STORE}\nend:", f"j end\nsecond: {LOAD}\nend:"
    entries = "\nfirst: halt", "\nsecond: halt"
    bodies = (first + " halt" + entries[1], second + " halt" + entries[0])
    assert races(*bodies, entries=["main", "first", "second"]) == []
    both = (first, second.replace("second:", "first:"))
    assert len(races(*both, entries=["main", "first"])) == 1


def test_a_pair_of_instructions_is_reported_once():
    loop = "li x7, 5\nagain: {}\naddi x7, x7, -1\nbne x7, x0, again"
    found = races(loop.format(STORE), loop.format(LOAD))
    assert 1 <= len({race.first for race in found}) == len(found) <= 2


def states(syncs: list[list[Sync]]) -> set[tuple[int, ...]]:
    """How many signals and waits each core may have passed, over all orders there can be."""
    reached, new = set(), {(0,) * len(syncs)}
    while new:
        reached |= new
        before, new = new, set()
        for state in before:
            done = [sync for core, passed in enumerate(state) for sync in syncs[core][:passed]]
            for core, passed in enumerate(state):
                if passed == len(syncs[core]):
                    continue
                counter, awaited = syncs[core][passed]
                if awaited is None or done.count(Sync(counter)) >= awaited:
                    new.add((*state[:core], passed + 1, *state[core + 1 :]))
        new -= reached
    return reached


def test_certain_is_what_holds_in_all_orders():
    """Random signals and waits of three cores, and every order in which they can happen."""
    random = Random(1)
    ends = 0
    for _ in range(2000):
        syncs = [
            [
                Sync(random.randrange(2), random.choice([None, None, 1, 2, 3]))
                for _ in range(random.randrange(5))
            ]
            for _ in range(3)
        ]
        reached = states(syncs)
        if tuple(map(len, syncs)) not in reached:
            continue  # a deadlock: no run to look at
        ends += 1
        order = Order(syncs)
        for a, b in permutations(range(3), 2):
            for p, q in product(range(len(syncs[a]) + 1), range(len(syncs[b]) + 1)):
                certain = not any(state[a] <= p and state[b] >= q for state in reached)
                assert order.before(Site(a, p, 0, 0, True), Site(b, q, 0, 0, True)) == certain
    assert ends > 200
