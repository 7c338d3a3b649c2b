"""Several cores: rules T3 and L5 of docs/timing.md."""

from __future__ import annotations

from itertools import pairwise

import pytest

from isa.memory import TENSOR_BASE
from tests.contract.harness import Simulation, plain
from tests.contract.model_dram import idle_fill

SHARED = (".tensor x f32 64 16\nmain: li x1, 1\nli x2, x + {offset}\nsignal 0\n"
          "load: load.f32 t0, (x2), x0, x1, x1\nhalt")  # fmt: skip


def test_cores_reach_shared_levels_in_order_of_time_and_of_number():
    m = plain("l3.size=64KiB", "l3.ways=4", "l3.hit_cycles=10", "l3.mshrs=8")
    r = Simulation([SHARED.format(offset=0), SHARED.format(offset=64)], m).run()
    first, second = r.at("load", core=0), r.at("load", core=1)
    assert first.issue == second.issue
    # both lines lie in one row: core 0 opens it, the burst of core 1 follows
    assert first.complete == idle_fill(m, TENSOR_BASE // 64, first.issue)
    assert second.complete == first.complete + int(64 / m.dram.gigabytes_per_second)


@pytest.mark.parametrize(
    "delays", [(0, 0, 0), (2, 0, 1), (1, 1, 0, 1), (0, 3, 0, 3, 0)], ids=lambda each: f"{each}"
)
def test_of_many_cores_the_earliest_goes_first_and_the_lowest_of_equals(delays):
    m = plain("l3.size=64KiB", "l3.ways=4", "l3.hit_cycles=10", "l3.mshrs=8")
    texts = [
        SHARED.format(offset=64 * core).replace(
            "signal", "mul x7, x7, x7\n" * (1 + delay) + "signal"
        )
        for core, delay in enumerate(delays)
    ]
    r = Simulation(texts, m).run()
    loads = [r.at("load", core=core) for core in range(len(delays))]
    issued = [load.issue - loads[delays.index(0)].issue for load in loads]
    assert issued == [3 * delay for delay in delays]  # cycles of a mul
    burst = int(64 / m.dram.gigabytes_per_second)
    assert max(issued) < burst
    # one opens the row that holds all lines; the bursts follow each other in the order of requests
    order = sorted(range(len(delays)), key=lambda core: (delays[core], core))
    opened = idle_fill(m, TENSOR_BASE // 64 + order[0], loads[order[0]].issue)
    for i, core in enumerate(order):
        assert loads[core].complete == opened + i * burst


def test_cores_share_what_l3_holds():
    m = plain("l3.size=64KiB", "l3.ways=4", "l3.hit_cycles=10", "l3.mshrs=8")
    r = Simulation([SHARED.format(offset=0), SHARED.format(offset=0)], m).run()
    # core 1 finds core 0's line on its way to core 0, and gets it from there (C4, C5)
    assert r.dram["reads"] == 1
    assert (r.caches["L3"]["misses"], r.caches["L3"]["merges"]) == (1, 0)
    assert r.coherence["forwards"] == 1
    come = r.at("load", core=0).complete - m.l1.fill_cycles
    forwarded = m.l3.hit_cycles + m.interconnect.snoop_cycles
    assert r.at("load", core=1).complete == come + forwarded + m.l1.fill_cycles


# --- types of cores -------------------------------------------------------------------------------

SPIN = "main: li x1, {}\nloop: addi x1, x1, -1\nbne x1, x0, loop\nend: halt"
LITTLE = (
    "cores=2",
    'core_type=["core", "little"]',
    "core_types.little.width=1",
    "core_types.little.taken_branch_bubble=3",
    "core_types.little.clock=500MHz",
)


def test_each_core_has_the_front_end_of_its_type():
    r = Simulation([SPIN.format(100)] * 2, plain(*LITTLE)).run()
    big, little = r.all("loop", core=0), r.all("loop", core=1)
    # addi and bne go together in a cycle of the wide core; the other takes two, and its bubble (F6)
    assert [b.dispatch - a.dispatch for a, b in pairwise(big)][5:50] == [1] * 45
    assert [b.dispatch - a.dispatch for a, b in pairwise(little)][5:50] == [2 + 3] * 45
    assert r.cpu.core_cycles[0] == pytest.approx(2 * r.cpu.core_cycles[1], abs=1)  # T1


def test_each_core_has_the_caches_of_its_type():
    text = SHARED.format(offset=0).replace("halt", "again: load.f32 t1, (x2), x0, x1, x1\nhalt")
    text = text.replace("signal 0\n", "").replace("again", "mul x3, x1, x1\n" * 300 + "again")
    m = plain("cores=2", 'core_type=["little", "core"]', "core_types.little.l1.hit_cycles=5",
              "core_types.little.l2=none")  # fmt: skip
    r = Simulation([text] * 2, m).run()
    first, second = r.at("again", core=0), r.at("again", core=1)
    assert (first.complete - first.issue, second.complete - second.issue) == (5, 2)
    assert r.cpu.cache_counters(0).keys() == {"L1"}
    assert r.cpu.cache_counters(1).keys() == {"L1", "L2"}


def test_units_of_one_name_are_one_cause_and_others_have_their_own():
    odd = ("core_types.little.units.odd.pipes=1", "core_types.little.units.odd.queue=4",
           "core_types.little.ops.mul.unit=odd")  # fmt: skip
    text = "main: li x1, 3\nmul x2, x1, x1\nmul x3, x2, x2\nmul x4, x3, x3\nhalt"
    r = Simulation([text] * 2, plain(*LITTLE, *odd)).run()
    names = r.cpu.causes()
    assert names[-1] == "core: odd"
    big, little = (dict(zip(names, r.cpu.slots(core)[0], strict=True)) for core in (0, 1))
    # li completes in cycle 2, the products in 5, 8 and 11, when halt is done: 11 cycles of 8 slots
    # and of one, 4 of them filled. Those of the narrow core in cycles 4 .. 10 wait for products.
    assert (big["retiring"], big["core: scalar"], big["core: odd"]) == (4, 88 - 4, 0)
    assert (little["retiring"], little["core: scalar"], little["core: odd"]) == (4, 0, 11 - 4)


# --- L5: what a load does ahead comes before what other cores do meanwhile ------------------------

ROWS = 12
LOADER = """.tensor x f32 2048 16
main:
    li    x1, 1
    li    x2, x
    li    x3, {rows}
    li    x4, 64
    {before}
    signal 0
load:
    load.f32 t0, (x2), x4, x3, x1
    halt
"""
OTHER = """.tensor x f32 2048 16
main:
    li    x1, 1
    li    x2, x + {offset}
    signal 0
    {delay}
load:
    load.f32 t0, (x2), x0, x1, x1
    halt
"""


def served_ahead(ahead: int, delay: int, *, store: bool = False) -> int:
    """How many of a load's lines, one a cycle, come before one of core 1, so many cycles later.

    All lie in one row of DRAM, so bursts follow each other in the order of requests.
    """
    m = plain("l2=none", "core.tiles.rows=16", "core.store_queue=64", f"load_ahead_cycles={ahead}")
    before = "fill.f32 t1, x0, x1, x1\n    li x5, x + 66560\n" if store else ""
    loader = LOADER.format(rows=ROWS, before=before)
    if store:
        loader = loader.replace("load:\n", "store.f32 t1, (x5), x0\nload:\n")
    texts = [loader, OTHER.format(offset=64 * (ROWS + 1), delay="addi x2, x2, 0\n" * delay)]
    r = Simulation(texts, m).run()
    own, other = r.at("load", core=0), r.at("load", core=1)
    assert other.issue == own.issue + delay - store  # core 0 fills a tile first
    burst = int(64 / m.dram.gigabytes_per_second)
    behind = (own.complete - other.complete) // burst
    return ROWS - behind if behind > 0 else ROWS


@pytest.mark.parametrize("delay", [1, 3, 6])
def test_without_load_ahead_requests_come_in_the_order_of_time(delay):
    assert served_ahead(0, delay) == delay + 1  # core 0 goes first of those that come together


@pytest.mark.parametrize(("ahead", "delay"), [(1, 1), (2, 1), (4, 3), (7, 2), (3, 6), (100, 1)])
def test_a_stretch_of_a_load_is_worked_together(ahead, delay):
    """Stretches begin in its first cycle and ahead + 1 cycles after each other."""
    begun = delay // (ahead + 1) + 1
    assert served_ahead(ahead, delay) == min(begun * (ahead + 1), ROWS)


@pytest.mark.parametrize("ahead", [1, 7, 100])
def test_no_load_goes_ahead_of_an_older_store_that_has_not_drained(ahead):
    assert served_ahead(ahead, 3, store=True) == served_ahead(0, 3, store=True)
