"""Prefetchers: rules M8 and M9 of docs/timing.md."""

from __future__ import annotations

import pytest

from isa.memory import TENSOR_BASE
from tests.contract.harness import Simulation, plain, repeat
from tests.contract.model_dram import idle_fill

LINE = TENSOR_BASE // 64
LINES = 64

# Loads of the lines in the control segment, by one instruction; `{gap}` stands between them.
WALK = f"""
.control 4096
.tensor x f32 {LINES} 16
main:
    li x1, 1
    ld x8, 4088(x0)
turn:
    ld x4, 0(x9)
load:
    load.f32 t0, (x4), x0, x1, x1
    {{gap}}
    addi x9, x9, 8
    blt x9, x8, turn
    halt
"""
# so long that every prefetch has come before the next load
LONG = "\n".join(["fill.f32 t1, x0, x1, x1", *["exp t1, t1"] * 16, "signal 0"])


def walk(lines, *overrides, gap=LONG):
    """Load lines of the tensor one after another."""
    sim = Simulation(WALK.format(gap=gap), plain("l2=none", *overrides))
    sim.cpu.control[: len(lines)] = [TENSOR_BASE + 64 * line for line in lines]
    sim.cpu.control[511] = 8 * len(lines)
    return sim.run()


def l1(r):
    """Demand misses, prefetches, useful, late, dropped of L1."""
    counts = r.caches["L1"]
    return tuple(
        counts[key]
        for key in ("misses", "prefetches", "prefetch_useful", "prefetch_late", "prefetch_dropped")
    )


def hits(r):
    """For each load whether its line was there."""
    return [row.complete == row.issue + r.machine.l1.hit_cycles for row in r.all("load")]


# --- next-line ------------------------------------------------------------------------------------


def test_next_line_keeps_one_line_ahead_of_a_stream():
    r = walk(range(10), "l1.prefetch=next-line")
    # the first load misses; each asks for the line behind its own, the first user of which asks on
    assert l1(r) == (1, 10, 9, 0, 0)
    assert hits(r) == [False] + [True] * 9
    assert r.dram["reads"] == 11


def test_next_line_asks_once_for_every_first_use():
    r = walk([0, 1, 1, 1, 0], "l1.prefetch=next-line")
    # miss of 0 asks for 1; the first use of 1 asks for 2; the other hits ask for nothing
    assert l1(r) == (1, 2, 1, 0, 0)


@pytest.mark.parametrize(("degree", "distance"), [(1, 1), (3, 1), (2, 4)])
def test_degree_and_distance(degree, distance):
    r = walk([8], "l1.prefetch=next-line", f"l1.prefetch_degree={degree}",
             f"l1.prefetch_distance={distance}")  # fmt: skip
    assert l1(r) == (1, degree, 0, 0, 0)
    wanted = [8 + distance + i for i in range(degree)]
    beside = [8 + distance - 1, 8 + distance + degree]
    r = walk([8, *wanted, *(line for line in beside if line != 8)], "l1.prefetch=next-line",
             f"l1.prefetch_degree={degree}", f"l1.prefetch_distance={distance}")  # fmt: skip
    assert hits(r)[1 : 1 + degree] == [True] * degree


def test_a_prefetch_still_in_flight_is_late_and_saves_what_it_has_gone():
    r = walk([0, 1], "l1.prefetch=next-line", gap="")
    first, second = r.all("load")
    assert l1(r) == (1, 2, 1, 1, 0)
    assert r.caches["L1"]["merges"] == 1
    # asked for in the same cycle as line 0, its burst is the next on the bus
    burst = int(64 / r.machine.dram.gigabytes_per_second)
    assert first.complete == idle_fill(r.machine, LINE, first.issue)
    assert second.complete == first.complete + burst


def test_without_a_free_mshr_a_prefetch_is_dropped():
    r = walk([0, 20], "l1.prefetch=next-line", "l1.mshrs=2", "l1.prefetch_degree=3")
    # each miss holds one of two MSHRs: one prefetch finds the other, two find none
    assert l1(r) == (2, 2, 0, 0, 4)


def test_lines_that_are_there_or_outside_memory_are_not_asked_for():
    r = walk([1, 0, LINES - 1], "l1.prefetch=next-line")
    # 1 asks for 2; 0 finds 1 there; behind the last line memory ends
    assert l1(r) == (3, 1, 0, 0, 0)


# --- stride ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 3, -2])
def test_a_stride_is_followed_from_its_third_time_on(step):
    start = 40 if step < 0 else 2
    lines = [start + step * i for i in range(10)]
    r = walk(lines, "l1.prefetch=stride")
    # loads 0, 1: the stride is noted; 2, 3: it counts 1, 2, and 3 asks for the line of 4
    assert l1(r) == (4, 7, 6, 0, 0)
    assert hits(r) == [False] * 4 + [True] * 6


def test_stride_degree_and_distance():
    lines = [2 * i for i in range(4)]
    r = walk([*lines, 6 + 2 * 3, 6 + 2 * 4], "l1.prefetch=stride", "l1.prefetch_degree=2",
             "l1.prefetch_distance=3")  # fmt: skip
    assert hits(r) == [False] * 4 + [True] * 2
    # the jump to the first of them counts down, the second counts up to 2 again and asks for two
    assert l1(r)[:3] == (4, 2 + 2, 2)


def test_a_stride_survives_one_odd_access():
    lines = [0, 1, 2, 3, 4, 5, 30, 6, 7, 8]
    r = walk(lines, "l1.prefetch=stride")
    # 0 1: noted; 2: 1; 3: 2, asks 4; 4: 3, asks 5; 5: 3, asks 6; 30: down to 2, asks nothing;
    # 6: another difference, down to 1; 7: 2, asks 8; 8: 3, asks 9
    assert hits(r) == [False] * 4 + [True, True, False, True, False, True]
    assert l1(r) == (6, 5, 4, 0, 0)


def test_a_second_odd_access_with_nothing_left_replaces_the_stride():
    lines = [0, 1, 2, 20, 22, 24, 26, 28]
    r = walk(lines, "l1.prefetch=stride")
    # 2: counts 1; 20: down to 0; 22: replaces; 24: 1; 26: 2, asks 28
    assert hits(r) == [False] * 7 + [True]


def test_repeats_of_a_line_change_nothing():
    r = walk([0, 1, 1, 2, 2, 2, 3, 4], "l1.prefetch=stride")
    # differences that count: noted at 1, counted at 2 and 3, which asks for 4
    assert hits(r)[-1]
    assert l1(r)[:3] == (4, 2, 1)


@pytest.mark.parametrize(("distance", "learns"), [(63, True), (64, False)])
def test_every_pc_has_an_entry_of_64(distance, learns):
    # two walks in opposite directions, by instructions `distance` apart
    between = "\n".join(["addi x6, x6, 0"] * (distance - 1))
    turn = f"load.f32 t0, (x2), x0, x1, x1\n{between}\nload.f32 t0, (x3), x0, x1, x1\n"
    sim = Simulation(
        f".tensor x f32 {LINES} 16\nmain: li x1, 1\nli x2, x\nli x3, x + 4032\nli x4, 6\n"
        f"turn: {turn}{LONG}\naddi x2, x2, 64\naddi x3, x3, -64\naddi x4, x4, -1\n"
        "bne x4, x0, turn\nhalt",
        plain("l2=none", "l1.prefetch=stride", "core.width=8"),
    )
    r = sim.run()
    assert r.caches["L1"]["prefetches"] == (2 * 3 if learns else 0)


# --- the second level -----------------------------------------------------------------------------


def test_l2_s_prefetcher_sees_what_l1_asks_for_and_fills_l2_only():
    text = WALK.format(gap=LONG)
    sim = Simulation(text, plain("l2.prefetch=next-line"))
    sim.cpu.control[:6] = [TENSOR_BASE + 64 * line for line in range(6)]
    sim.cpu.control[511] = 48
    r = sim.run()
    m = r.machine
    assert r.caches["L1"]["misses"] == 6
    assert r.caches["L2"]["prefetches"] == 6
    assert r.caches["L2"]["prefetch_useful"] == r.caches["L2"]["hits"] == 5
    to_use = m.l1.hit_cycles + m.l2.hit_cycles + m.l1.fill_cycles
    assert [row.complete - row.issue for row in r.all("load")][1:] == [to_use] * 5


@pytest.mark.parametrize("prefetch", ["next-line", "stride"])
def test_l2_asks_for_nothing_outside_memory(prefetch):
    lines = range(LINES - 6, LINES)
    sim = Simulation(WALK.format(gap=LONG), plain(f"l2.prefetch={prefetch}"))
    sim.cpu.control[:6] = [TENSOR_BASE + 64 * line for line in lines]
    sim.cpu.control[511] = 48
    r = sim.run()
    assert r.dram["reads"] == len(lines)


def test_l2_s_prefetcher_sees_the_prefetches_of_l1_and_counts_instructions_apart():
    sim = Simulation(WALK.format(gap=LONG), plain("l1.prefetch=next-line", "l2.prefetch=next-line"))
    sim.cpu.control[:5] = [TENSOR_BASE + 64 * line for line in range(5)]
    sim.cpu.control[511] = 40
    r = sim.run()
    assert l1(r) == (1, 5, 4, 0, 0)
    # L1 asks L2 for lines 0 (the miss) and 1 .. 5 (its prefetches). 0 and 1 come in one cycle: 0
    # misses and asks for 1, which the request for 1 finds in flight; each first use asks on
    counts = r.caches["L2"]
    assert (counts["accesses"], counts["misses"], counts["merges"]) == (1, 1, 0)
    assert (counts["prefetches"], counts["prefetch_useful"]) == (6, 5)
    assert r.dram["reads"] == 7


def test_l3_counts_what_instructions_caused_and_not_l2_s_prefetches():
    m = plain("l2.prefetch=next-line", "l3.size=64KiB", "l3.ways=4", "l3.hit_cycles=10",
              "l3.mshrs=16")  # fmt: skip
    sim = Simulation(WALK.format(gap=LONG), m)
    sim.cpu.control[0] = TENSOR_BASE
    sim.cpu.control[511] = 8
    r = sim.run()
    assert (r.caches["L2"]["misses"], r.caches["L2"]["prefetches"]) == (1, 1)
    assert (r.caches["L3"]["accesses"], r.caches["L3"]["misses"]) == (1, 1)
    assert r.dram["reads"] == 2


def test_l2_does_not_hold_more_misses_than_mshrs_while_it_prefetches():
    # five misses by one instruction with a stride, which L2's prefetcher believes at the fourth
    m = plain("l2.mshrs=2", "l2.prefetch=stride", "l2.bytes_per_cycle=64", "core.width=8")
    sim = Simulation(
        f".tensor x f32 {LINES} 16\nmain: li x1, 1\nli x2, x\nli x4, 12\n"
        "turn: addi x4, x4, -1\naddi x3, x2, 0\naddi x2, x2, 64\n"
        "load: load.f32 t0, (x3), x0, x1, x1\nbne x4, x0, turn\nhalt",
        m,
    )
    r = sim.run()
    loads = r.all("load")
    assert r.caches["L2"]["prefetch_dropped"] > 0
    assert loads[11].issue < loads[0].complete  # all are asked for before the first has come
    fills = sorted(row.complete for row in loads)
    # of any three fills the first must lie a whole DRAM access before the last
    access = m.dram.controller_ns + m.dram.tcl_ns + m.l2.hit_cycles
    assert all(late - early >= access for early, late in zip(fills, fills[2:], strict=False))


def test_prefetch_off_asks_for_nothing():
    r = walk(range(10), "l1.prefetch=none")
    assert l1(r) == (10, 0, 0, 0, 0)


def test_an_instruction_s_hint_trains_as_a_load_does():
    sim = Simulation(
        f".tensor x f32 {LINES} 16\nmain: li x1, 1\nli x2, x\nprefetch (x2)\n{LONG}\nhalt\n"
        f"go:\n{repeat(1, 'addi x3, x2, 64')}\nload: load.f32 t0, (x3), x0, x1, x1\nhalt",
        plain("l2=none", "l1.prefetch=next-line"),
    )
    sim.run("main")
    r = sim.run("go")
    assert hits(r) == [True]
