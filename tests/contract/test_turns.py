"""Cores that take turns (T3): the order of requests, signals (F8) and changes of clock (T5)."""

from __future__ import annotations

import pytest

from isa.errors import UserError
from sim.engine import Cpu
from sim.governor import MemoryAware
from sim.reference import ReferenceCpu
from tests.contract.harness import FS_PER_NS, Run, Simulation, machine, plain
from tests.contract.test_clocks import change, clocks
from tests.contract.test_engine_modes import KERNEL

both = pytest.mark.parametrize("engine", [Cpu, ReferenceCpu], ids=["compiled", "reference"])
FEMTOSECOND = "turn_ns=1fs"


def outcome(r: Run) -> tuple[object, ...]:
    """All cycles and counters of a run."""
    rows = sorted((row.core, row.dispatch, row.pc, row) for row in r.rows)
    return rows, r.caches, r.dram, r.core, r.operators, r.coherence, r.last


@pytest.mark.parametrize("name", ["teach", "sapphire-rapids"])
def test_one_core_has_no_turns(name):
    assert outcome(Simulation(KERNEL, machine(name, "turn_ns=40")).run()) == outcome(
        Simulation(KERNEL, machine(name)).run()
    )


@pytest.mark.parametrize("name", ["teach", "sapphire-rapids"])
def test_turns_of_no_length_are_the_order_of_time(name):
    own = clocks(2000, 1300, 999)
    r = Simulation([KERNEL] * 3, machine(name, *own, FEMTOSECOND)).run()
    assert outcome(r) == outcome(Simulation([KERNEL] * 3, machine(name, *own, "turn_ns=0")).run())
    assert r.coherence["forwards"] > 0


# Each core opens a row in a bank of its own: data are ready 59 ns behind the access, and the burst
# slots of 10 ns go to who asks first.
ASKING = """
.tensor x f32 64 64
main:
    li x2, x + {offset}
    li x1, 1
{delay}load: load.f32 t0, (x2), x0, x1, x1
    halt
"""


def asking(delays: list[int], *overrides: str, engine=Cpu) -> list[int]:
    """Cycles in which the cores' lines come, when each asks so many cycles late."""
    texts = [
        ASKING.format(offset=1024 * core, delay="addi x2, x2, 0\n" * delay)
        for core, delay in enumerate(delays)
    ]
    r = Simulation(texts, plain(*overrides), engine=engine).run()
    return [r.at("load", core=core).complete for core in range(len(delays))]


@both
def test_a_turn_is_worked_core_by_core_and_turns_one_after_another(engine):
    # all ask in the turn of cycles 0 to 9; without turns the latest gets the last burst
    assert asking([4, 2, 0], "turn_ns=10", engine=engine) == [81, 91, 101]
    assert asking([4, 2, 0], engine=engine) == [101, 91, 81]
    # in turns of 4 ns they ask in turns 1, 1 and 0
    assert asking([4, 2, 0], "turn_ns=4", engine=engine) == [91, 101, 81]


@both
def test_a_change_of_clock_waits_for_the_end_of_the_turn(engine):
    text = "main: " + "mul x1, x1, x1\n" * 8 + "halt"
    sim = Simulation([text] * 2, plain("turn_ns=10"), engine=engine)
    change(sim, (3 * FS_PER_NS, None, 2000))
    r = sim.run()
    # 1 + 8 multiplications of 3 cycles: 10 cycles in the first turn, the other 15 in 7.5 ns
    assert r.last == 25
    assert sim.cpu.now_fs == 17.5 * FS_PER_NS


@both
def test_of_cores_ahead_of_each_other_the_last_cycle_is_when_the_next_run_begins(engine):
    """T4: core 0 has its turn first, and ends later."""
    long, short = "main: " + "mul x1, x1, x1\n" * 4 + "halt", "main: halt"
    sim = Simulation([long, short], plain("turn_ns=1000"), engine=engine)
    first, second = sim.run(), sim.run()
    assert (first.last, second.first, second.last) == (13, 13, 26)
    assert sim.cpu.core_cycles == [26, 26]


SIGNALLER = """
main:
    li x1, 3
    li x7, {n}
again:
    mul x2, x1, x1
    signal 1
    addi x7, x7, -1
    bne x7, x0, again
    halt
"""
WAITER = "main:\nli x1, {count}\nwait 1, x1\nseen: li x2, 0\nhalt"


@both
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("waiters_clock", [1000, 500])
def test_of_many_signals_in_a_turn_each_counts_from_its_time(engine, waiters_clock, count):
    """F8: who signals goes on signalling before the other has its turn."""
    own = clocks(1000, waiters_clock)
    texts = [SIGNALLER.format(n=40), WAITER.format(count=count)]
    exact = Simulation(texts, plain(*own), engine=engine).run().at("seen", core=1)
    r = Simulation(texts, plain(*own, "turn_ns=10"), engine=engine).run()
    assert r.at("seen", core=1).dispatch == exact.dispatch


@pytest.mark.parametrize(("turn", "period"), [(99, 100), (20, 1010), (250, 100)])
def test_engines_agree_on_what_a_governor_sees_in_turns(turn, period):
    """T5: it looks in the middle of turns, when both have worked the same turns."""
    on = machine("teach", "cores=3", f"turn_ns={turn}")

    def governed(engine):
        sim = Simulation([KERNEL] * 3, on, engine=engine)
        aware = MemoryAware(low=333, high=1000, period=period * FS_PER_NS)
        sim.cpu.environment.process(aware(sim.cpu))
        return outcome(sim.run()), sim.cpu.core_cycles, sim.cpu.now_fs

    assert governed(Cpu) == governed(ReferenceCpu)
    assert governed(Cpu)[0] != outcome(Simulation([KERNEL] * 3, on).run())


@pytest.mark.parametrize("turn", ["-1", "1001", "nan"])
def test_turns_that_cannot_be(turn):
    with pytest.raises(UserError, match="turn_ns"):
        plain(f"turn_ns={turn}")
