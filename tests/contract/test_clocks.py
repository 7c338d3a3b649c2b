"""Clocks (T1, T3, T4), their changes (T5), and signals between clocks (F8), on both engines."""

from __future__ import annotations

from fractions import Fraction

import pytest

from isa.errors import UserError
from sim.engine import Cpu
from sim.governor import Change, schedule
from sim.reference import ReferenceCpu
from tests.contract.harness import Run, Simulation, ceil_div, plain

NS = 10**6
US = 10**9

pytestmark = pytest.mark.parametrize("engine", [Cpu, ReferenceCpu], ids=["compiled", "reference"])


def start(megahertz: int, cycle: int) -> int:
    """T1: when a cycle of a clock starts, counted from its anchor."""
    return cycle * US // megahertz


def first(megahertz: int, fs: int) -> int:
    """T1: the first cycle that starts at or after a time, counted from the anchor."""
    cycle = fs * megahertz // US
    while start(megahertz, cycle) < fs:
        cycle += 1
    return cycle


def clocks(*megahertz: int) -> list[str]:
    """Overrides for a core of each clock."""
    names = ", ".join(f'"{each}MHz"' for each in megahertz)
    return [f"cores={len(megahertz)}", f"core_clocks=[{names}]"]


def change(sim: Simulation, *changes: tuple[int, int | None, int]) -> Simulation:
    """Let (time in fs, core, MHz) act on a simulation."""
    sim.cpu.environment.process(schedule(Change(*each) for each in changes)(sim.cpu))
    return sim


# --- T1 -------------------------------------------------------------------------------------------

NOTHING = ".tensor x f32 64 16\nmain: halt"
# li issues in cycle 1 and completes in 2, where the load issues; its miss leaves L2 in cycle 11
COLD = """
.tensor x f32 64 16
main:
    li x1, 1
    li x2, x
    li x3, x + 64
load: load.f32 t0, (x2), x0, x1, x1
    halt
again: load.f32 t0, (x3), x0, x1, x1
    halt
"""


@pytest.mark.parametrize("core", [0, 1])
@pytest.mark.parametrize(
    ("megahertz", "fill"),
    [
        # 11 ns + 20 + 15 + 15 = 61: burst slot 70 to 80 ns, cycle 80; a cycle to fill L1
        (1000, 81),
        # 3.67 + 50 = 53.67: slot 60 to 70, cycle 210
        (3000, 211),
        # 15.71 + 50 = 65.71: slot 70 to 80, cycle 56
        (700, 57),
        # 11.01 + 50 = 61.01: slot 70 to 80, of which cycle 80 starts 80 ps late
        (999, 81),
    ],
)
def test_a_core_converts_with_its_own_clock(engine, core, megahertz, fill):
    texts = [NOTHING, NOTHING]
    texts[core] = COLD
    own = [1700, 1700]
    own[core] = megahertz
    r = Simulation(texts, plain(*clocks(*own)), engine=engine).run()
    load = r.at("load", core=core)
    assert (load.issue, load.complete) == (2, fill)


L3 = ["l3.size=64KiB", "l3.ways=4", "l3.hit_cycles=10", "l3.mshrs=8", "l3.fill_cycles=4",
      "l3.clock=1GHz", "dram.gigabytes_per_second=256GB/s", "dram.tcl_ns=15.75"]  # fmt: skip


@pytest.mark.parametrize("megahertz", [500, 1000, 2000, 4000])
def test_l3_and_dram_keep_their_ns(engine, megahertz):
    """Nothing is rounded: bursts take 0.25 ns, and both ways are whole cycles of all clocks."""
    first_user = """
    .tensor x f32 64 16
    main: li x1, 1
        li x2, x
        load.f32 t0, (x2), x0, x1, x1
        signal 0
        halt
    """
    user = """
    .tensor x f32 64 16
    main: li x1, 1
        li x2, x
        li x3, x + 64
        wait 2, x1
    hit: load.f32 t0, (x2), x0, x1, x1
        signal 1
    miss: load.f32 t0, (x3), x0, x1, x1
        halt
    """
    # the first user's line goes to a second one; of a line that two share L3 has it for a third
    second_user = first_user.replace("load.f32", "wait 0, x1\nload.f32").replace(
        "signal 0", "signal 2"
    )
    m = plain(*L3, *clocks(1000, megahertz, 1000))
    r = Simulation([first_user, user, second_user], m, engine=engine).run()
    assert (r.caches["L3"]["hits"], r.dram["reads"]) == (1, 2)

    def below(label: str) -> int:
        """Fs between the miss of L2 and the line's return to it."""
        row = r.at(label, core=1)
        return start(megahertz, row.complete - 1) - start(megahertz, row.issue + 2 + 7)

    assert below("hit") == 10 * NS
    assert below("miss") == (10 + 20 + 15.75 + 0.25 + 4) * NS  # the row is open


WARM = """
.tensor x f32 64 16
main:
    li x1, 4
    li x2, x + {offset}
    li x3, 64
    li x5, 20
loop:
    load.f32 t0, (x2), x3, x1, x1
    fadd t1, t0, t0
    store.f32 t1, (x2), x3
    addi x5, x5, -1
    bne x5, x0, loop
    halt
"""


def test_what_stays_in_l1_takes_the_same_cycles_at_any_clock(engine):
    texts = [WARM.format(offset=1024 * i) for i in range(3)]
    sim = Simulation(texts, plain(*clocks(1000, 2300, 700)), engine=engine)
    for _ in range(2):
        r = sim.run()
    rows = [[row for row in r.rows if row.core == core] for core in range(3)]
    assert len({own[-1].retire - own[0].dispatch for own in rows}) == 1


# --- T4 -------------------------------------------------------------------------------------------


def spin(turns: int) -> str:
    """A program of some cycles; the last branch is mispredicted, which halt waits for (F7)."""
    return f"main: li x1, {turns}\nloop: addi x1, x1, -1\nlast: bne x1, x0, loop\nhalt"


def halt(r: Run, core: int) -> int:
    """The cycle in which a core that spins has halted."""
    return r.all("last", core)[-1].complete + r.machine.core.mispredict_penalty


@pytest.mark.parametrize("turns", [(10, 200), (200, 10)])
def test_a_further_program_starts_in_each_core_s_first_cycle_after_the_last_halt(engine, turns):
    own = (999, 2300)
    sim = Simulation([spin(n) for n in turns], plain(*clocks(*own)), engine=engine)
    r = sim.run()
    ends = [start(f, halt(r, core)) for core, f in enumerate(own)]
    assert sim.cpu.now_fs == max(ends)
    begins = [first(f, max(ends)) for f in own]
    assert sim.cpu.core_cycles == begins
    r = sim.run()
    assert [r.at("main", core=core).dispatch for core in range(2)] == begins


# --- T5 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "anchor"),
    [([10 * NS], 10), ([10 * NS + 1], 11), ([10 * NS - 1], 10), ([10 * NS + 1, 10 * NS + 2], 11)],
)
def test_a_change_acts_from_the_first_cycle_at_or_after_it(engine, times, anchor):
    """Of several changes before that cycle the last one holds."""
    sim = Simulation(spin(100), plain(), engine=engine)
    steps = [333] * (len(times) - 1) + [4000]
    change(sim, *((time, 0, f) for time, f in zip(times, steps, strict=True)))
    r = sim.run()
    assert r.last > 100
    assert sim.cpu.now_fs == anchor * NS + (r.last - anchor) * NS // 4


def test_anchors_do_not_drift(engine):
    changes = [(123_456_789, 777), (200_000_007, 1999), (333_333_333, 13), (1_777_777_777, 99_991)]
    sim = Simulation(spin(2000), plain("clock=999MHz"), engine=engine)
    r = change(sim, *((time, 0, f) for time, f in changes)).run()
    cycle, fs, megahertz, exact = 0, 0, 999, Fraction(0)
    for time, following in changes:
        passed = first(megahertz, time - fs)
        exact += Fraction(passed * US, megahertz)
        cycle, fs, megahertz = cycle + passed, fs + start(megahertz, passed), following
    assert r.last > cycle
    assert sim.cpu.now_fs == fs + start(megahertz, r.last - cycle)
    exact += Fraction((r.last - cycle) * US, megahertz)
    assert 0 <= exact - sim.cpu.now_fs < 1 + len(changes)  # each rounded down to a femtosecond


def test_a_change_between_dispatch_and_fill_leaves_the_fill_s_cycle(engine):
    sim = change(Simulation(COLD, plain(), engine=engine), (30 * NS, 0, 2000))
    r = sim.run()
    load = r.at("load")
    assert (load.issue, load.complete, r.last) == (2, 81, 81)
    # 30 cycles of a nanosecond, 51 of half of one
    assert sim.cpu.now_fs == 55_500_000


def test_after_a_change_a_miss_takes_the_same_ns_and_other_cycles(engine):
    sim = change(Simulation(COLD, plain(), engine=engine), (82 * NS, 0, 2000))
    sim.run()  # to cycle 81, before the change
    assert sim.cpu.now_fs == 81 * NS
    r = sim.run("again")
    load = r.rows[0]
    # issued in cycle 82, the first of half a nanosecond, below L2 in 91 at 86.5 ns;
    # the row is open: 86.5 + 20 + 15 = 121.5, burst slot 130 to 140 ns, 116 cycles after cycle 82
    assert (load.dispatch, load.issue, load.complete) == (81, 82, 82 + 116 + 1)


def test_a_load_under_way_goes_on_with_the_new_clock(engine):
    text = COLD.replace("li x1, 1", "li x1, 4\n    li x4, 64").replace("x0, x1, x1", "x4, x1, x1")
    sim = change(Simulation(text, plain(), engine=engine), (4 * NS, 0, 2000))
    load = sim.run().at("load")
    # Accesses in cycles 2 to 5. The first has the burst from 70 to 80 ns, the others follow; the
    # last, made half a nanosecond a cycle, comes at 110 ns: 106 ns after cycle 4.
    assert (load.issue, load.complete) == (2, 4 + 212 + 1)


def test_clocks_of_other_cores_stay(engine):
    texts = [spin(300), spin(300)]
    sim = Simulation(texts, plain(*clocks(1000, 1000)), engine=engine)
    r = change(sim, (100 * NS, 1, 500)).run()
    last = halt(r, 1)
    assert halt(r, 0) == last
    end = 100 + (last - 100) * 2
    assert (sim.cpu.now_fs, sim.cpu.core_cycles) == (end * NS, [end, last])


@pytest.mark.parametrize(
    ("core", "megahertz", "message"),
    [
        (2, 1000, "there is no core 2 to set the clock of; cores 0 to 1 run"),
        (-1, 1000, "there is no core -1"),
        (0, 0, "a clock of 0 MHz cannot be; use whole MHz from 1 to 100000"),
        (0, 100_001, "a clock of 100001 MHz cannot be"),
        (0, 1000.5, "a clock of 1000.5 MHz cannot be"),
    ],
)
def test_clocks_that_cannot_be(engine, core, megahertz, message):
    sim = Simulation([spin(1), spin(1)], plain(*clocks(1000, 1000)), engine=engine)
    with pytest.raises(UserError, match=message):
        sim.cpu.set_clock(core, megahertz)


# --- F8 -------------------------------------------------------------------------------------------

SIGNALLER = "main: li x1, 3\nmul x2, x1, x1\nmul x2, x2, x2\nsignal 7\nafter: addi x3, x0, 1\nhalt"
WAITER = "main: li x1, 1\nwait 7, x1\nafter: addi x3, x0, 1\nhalt"


@pytest.mark.parametrize("signaller", [0, 1])
@pytest.mark.parametrize("own", [(1000, 3000), (3000, 1000), (999, 2300), (700, 699)])
def test_a_signal_is_seen_in_the_first_cycle_at_or_after_it(engine, signaller, own):
    texts = [WAITER, WAITER]
    texts[signaller] = SIGNALLER
    r = Simulation(texts, plain(*clocks(*own)), engine=engine).run()
    waiter = 1 - signaller
    given = r.at("after", core=signaller).dispatch  # the slot behind the signal's
    seen = first(own[waiter], start(own[signaller], given))
    assert given > 2
    assert r.at("after", core=waiter).dispatch == seen


@pytest.mark.parametrize("signaller", [0, 1])
def test_a_core_that_waits_changes_its_clock_too(engine, signaller):
    texts = [WAITER, WAITER]
    texts[signaller] = spin(50).replace("halt", "signal 7\nafter: addi x3, x0, 1\nhalt")
    waiter = 1 - signaller
    sim = Simulation(texts, plain(*clocks(1000, 1000)), engine=engine)
    r = change(sim, (20 * NS, waiter, 250), (30 * NS, waiter, 4000)).run()
    given = r.at("after", core=signaller).dispatch
    # 20 cycles of 1 ns, then of 4 ns: the one at 32 ns is the 23rd; from there on of 0.25 ns
    assert given > 32
    assert r.at("after", core=waiter).dispatch == 23 + 4 * (given - 32)


def test_a_signal_before_the_new_clock_s_first_cycle_is_seen_in_that_cycle(engine):
    texts = [SIGNALLER, WAITER]
    sim = Simulation(texts, plain(*clocks(1000, 10)), engine=engine)
    r = change(sim, (1, 1, 5000)).run()
    # cycles of 100 ns: the change, asked for in cycle 0, comes with cycle 1, and so does the signal
    assert r.at("after", core=0).dispatch < 100
    assert r.at("after", core=1).dispatch == 1
    assert ceil_div(sim.cpu.now_fs, NS) == 101
