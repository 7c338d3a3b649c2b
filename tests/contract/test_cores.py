"""Several cores: rule T3 of docs/timing.md."""

from __future__ import annotations

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
