"""Cores that want one line at the same time, and a snoop in vain: rules C3-C5, cycles by hand.

They were worked out from docs/timing.md before the programs ran. On the plain machine an access
comes to the home 2 + 7 cycles later; memory takes 20 + 15 + 15, then a burst slot of 10 that begins
with a multiple of 10; L1 fills in 1; a snoop is answered after 20, a look-up in L3 takes 10.
"""

from __future__ import annotations

from tests.contract.harness import Simulation, plain

L3 = ("l3.size=64KiB", "l3.ways=4", "l3.hit_cycles=10", "l3.mshrs=8")
ONE_LINE = ("l1.size=64", "l1.ways=1", "l2.size=64", "l2.ways=1")
HEAD = ".tensor x f32 64 16\nmain: li x1, 1\nli x2, x + {offset}\n"
FILL = "fill.f32 t0, x0, x1, x1\n"
LOAD = "load.f32 t1, (x2), x0, x1, x1\n"
STORE = "store.f32 t0, (x2), x0\n"
END = "end: li x3, 0\nhalt\n"  # behind a signal: dispatched when all stores have drained


def go(texts, *overrides, offsets=None):
    """Run a program per core; core i's line is at `offsets[i]`."""
    offsets = offsets or [0] * len(texts)
    heads = [HEAD.format(offset=offset) for offset in offsets]
    return Simulation([h + t for h, t in zip(heads, texts, strict=True)], plain(*overrides)).run()


def counts(r):
    """Coherence counters that are not zero."""
    return {name: count for name, count in r.coherence.items() if count}


def test_four_readers_of_a_line_in_one_cycle():
    r = go([f"read: {LOAD}halt\n"] * 4, *L3, "interconnect.hop_cycles=3")
    # 2 + 9 + 3 = 14 at the home; memory from 24, burst 80 to 90, at the core 93: busy until then
    # the second: 93 + 10, 3 to the owner, 20, 3 from it: 129, and busy until then
    # the others: 129 + 10 from L3, 3 back
    assert [r.at("read", core=core).complete for core in range(4)] == [94, 130, 143, 143]
    assert counts(r) == {"reads": 4, "forwards": 1, "downgrades": 1}
    assert (r.dram["reads"], r.caches["L3"]["hits"], r.caches["L3"]["merges"]) == (1, 2, 0)


def test_stores_to_one_line_at_once_take_it_from_each_other():
    texts = [FILL + STORE * 3 + "signal 0\n" + END] * 2
    r = go(texts, offsets=[0, 4])
    # 6 stores of a line that is busy until the last has it: 5 forwards of 20 cycles each
    assert [r.at("end", core=core).dispatch for core in (0, 1)] == [161, 181]
    assert counts(r) == {"exclusive_reads": 6, "forwards": 5, "invalidations": 5}
    assert (r.dram["reads"], r.caches["L1"]["misses"]) == (1, 6)


def test_of_two_upgrades_at_once_the_later_waits_and_finds_its_line_gone():
    first = f"{FILL}a: {LOAD}signal 1\nwait 2, x1\nstore: {STORE}signal 3\n{END}"
    second = f"{FILL}wait 1, x1\nb: {LOAD}signal 2\nstore: {STORE}signal 3\n{END}"
    r = go([first, second])
    assert r.at("b", core=1).complete == 112
    assert [r.at("store", core=core).retire for core in (0, 1)] == [114, 114]
    # asked in 114, at the home in 123, answered by the sharer in 143; the other's store misses then
    assert [r.at("end", core=core).dispatch for core in (0, 1)] == [143, 164]
    assert counts(r) == {
        "reads": 2,
        "upgrades": 1,
        "exclusive_reads": 1,
        "forwards": 2,
        "downgrades": 1,
        "invalidations": 2,
    }


def test_an_upgrade_of_a_line_in_flight_waits_while_the_line_is_busy():
    reader = f"a: {LOAD}signal 1\nhalt\n"
    writer = f"{FILL}wait 1, x1\nb: prefetch (x2)\nstore: {STORE}signal 5\n{END}"
    r = go([reader, writer])
    # the prefetch, of 82, is at the home in 91 and has the line in 111; the upgrade, of 83, waits
    # for that and is answered 20 later
    assert r.at("end", core=1).dispatch == 131
    assert counts(r) == {
        "reads": 2,
        "upgrades": 1,
        "forwards": 1,
        "downgrades": 1,
        "invalidations": 1,
    }
    assert r.caches["L1"]["merges"] == 1


def test_an_answer_in_vain_goes_back_home():
    owner = (
        f"{FILL}li x3, x + 64\n{STORE}signal 0\ny: load.f32 t1, (x3), x0, x1, x1\nsignal 1\nhalt\n"
    )
    reader = f"wait 1, x1\nr: {LOAD}halt\n"
    r = go([owner, reader], *L3, *ONE_LINE, "interconnect.hop_cycles=3")
    # y pushed the written line out to L3. 175 + 9 + 3 at the home, 10, 3 to the owner, 20, 3 home,
    # 10 again, 3 back, 1
    assert (r.at("r", core=1).issue, r.at("r", core=1).complete) == (175, 237)
    assert counts(r) == {"reads": 2, "exclusive_reads": 1, "stale": 1}
    assert (r.dram["reads"], r.caches["L3"]["hits"]) == (2, 1)
