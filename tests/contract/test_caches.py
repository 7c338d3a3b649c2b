"""Caches: rules M1-M7 of docs/timing.md. (Their timing on random accesses: test_memory.py.)"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.memory import TENSOR_BASE
from tests.contract.harness import (
    PLAIN,
    Simulation,
    ceil_div,
    cycle_fs,
    first_cycle_from,
    fs,
    machine,
    plain,
    repeat,
    run,
)
from tests.contract.model_contents import Hierarchy
from tests.contract.model_dram import idle_fill

LINE = TENSOR_BASE // 64
LINES = 256

# --- M1, M2, M7: contents -------------------------------------------------------------------------

# One load and one store of a line each a turn, one after another: a signal waits for both.
STREAM = f"""
.control 8192
.tensor x f32 {LINES} 16
main:
    li x1, 1
    ld x8, 8184(x0)
    fill.f32 t0, x0, x1, x1
turn:
    ld x4, 0(x9)
    load.f32 t1, (x4), x0, x1, x1
    {{fence}}
    ld x5, 8(x9)
    store.f32 t0, (x5), x0
    {{fence}}
    addi x9, x9, 16
    blt x9, x8, turn
    halt
"""


def stream(m, turns, *, fence="signal 0"):
    """Run a load and a store of each turn's two lines; returns the run."""
    sim = Simulation(STREAM.format(fence=fence), m)
    words = [TENSOR_BASE + 64 * line for turn in turns for line in turn]
    sim.cpu.control[: len(words)] = words
    sim.cpu.control[1023] = 8 * len(words)
    return sim.run()


GEOMETRIES = {
    "l1": [(1, 1), (2, 2), (3, 2), (8, 1), (16, 4)],
    "l2": [(1, 2), (4, 2), (5, 3), (16, 2), (2, 8)],
    "l3": [(1, 4), (7, 3), (32, 2), (1, 16)],
}
POLICIES = ("lru", "plru", "srrip", "random")


@st.composite
def hierarchies(draw):
    """Overrides for one to three levels of any geometry."""
    overrides = ["l2=none"]
    levels = draw(st.integers(1, 3))
    if levels > 1:
        overrides = ["l2.bytes_per_cycle=64"]
    if levels > 2:
        overrides += ["l3.hit_cycles=20", "l3.mshrs=8"]
    for level in ("l1", "l2", "l3")[:levels]:
        sets, ways = draw(st.sampled_from(GEOMETRIES[level]))
        overrides += [f"{level}.size={64 * sets * ways}", f"{level}.ways={ways}"]
        policy = draw(st.sampled_from([p for p in POLICIES if p != "plru" or ways != 3]))
        seed = draw(st.sampled_from([1, 2, 2**31 - 2]))
        overrides += [f"{level}.replacement={policy}", f"{level}.replacement_seed={seed}"]
    return overrides


@given(
    turns=st.lists(
        st.tuples(
            st.integers(0, 7) | st.integers(0, 47) | st.integers(0, LINES - 1),
            st.integers(0, 7) | st.integers(0, 47),
        ),
        min_size=1,
        max_size=120,
    ),
    overrides=hierarchies(),
)
@settings(max_examples=150, deadline=None)
def test_contents_follow_the_policies_through_all_levels(turns, overrides):
    m = machine(PLAIN, *overrides)
    r = stream(m, turns)
    expected = Hierarchy(m)
    for load, store in turns:
        expected.access(LINE + load, write=False)
        expected.access(LINE + store, write=True)
    counters = expected.counters()
    assert {
        level: {key: r.caches[level][key] for key in counters[level]} for level in counters
    } == (counters)
    assert r.dram["reads"] == len(expected.dram_reads)
    assert r.dram["writes"] == len(expected.dram_writes)


def test_the_least_recently_used_line_leaves():
    m = plain("l1.size=128", "l1.ways=2", "l2=none")  # one set
    # each turn loads a line and stores to a second: A B, A C (B leaves, written back), B ...
    r = stream(m, [(0, 1), (0, 2), (1, 1)])
    assert r.caches["L1"]["hits"] == 1 + 1  # A in the second turn, B's store in the third
    assert r.caches["L1"]["misses"] == 4
    # B and then, for the last load, nothing: A was clean; C stays
    assert r.caches["L1"]["writebacks"] == 1


@pytest.mark.parametrize(
    ("order", "hits"), [("ABABACA", 4), ("ABABACB", 3), ("ABCA", 0), ("AABBCB", 3), ("ABBBAACA", 5)]
)
def test_a_load_that_hits_makes_its_line_the_most_recently_used(order, hits):
    loads = "".join(f"load.f32 t0, (x{'ABC'.index(c) + 2}), x0, x1, x1\nsignal 0\n" for c in order)
    r = run(
        ".tensor x f32 64 16\nmain: li x1, 1\nli x2, x\nli x3, x + 64\nli x4, x + 128\n"
        f"{loads}halt",
        plain("l1.size=128", "l1.ways=2", "l2=none"),
    )
    assert r.caches["L1"]["hits"] == hits


def hits(order, *overrides):
    """Hits of loads of the lines A, B, ... of one set, one after another."""
    addresses = "".join(f"li x{i + 2}, x + {64 * i}\n" for i in range(8))
    loads = "".join(
        f"load.f32 t0, (x{'ABCDEFGH'.index(c) + 2}), x0, x1, x1\nsignal 0\n" for c in order
    )
    m = plain("l2=none", *overrides)
    assert m.l1.sets == 1
    r = run(f".tensor x f32 64 16\nmain: li x1, 1\n{addresses}{loads}halt", m)
    return r.caches["L1"]["hits"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("ABCDEA", 0),  # D was used last, then B of the other half: A leaves
        ("ABCDAEB", 2),  # A was used last, D last of the other half: C leaves and not B
        ("ABCDAEC", 1),
        ("ABCDACEB", 2),  # C, then A: B leaves
        ("ABCDACED", 3),
        ("ABCDCAEC", 3),  # A, then C: D leaves
        ("ABCDCAED", 2),
    ],
)
def test_a_tree_seeks_the_victim_where_the_last_use_was_not(order, expected):
    assert hits(order, "l1.size=256", "l1.ways=4", "l1.replacement=plru") == expected


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("ABCA", 0),  # A and B are both 2 and become 3: the first way is A's
        ("ABCB", 1),
        ("AABCDA", 2),  # B (3 beside A's 1) and C (3 beside A's 2) leave
        ("AABCDEA", 1),  # A and D both become 3: the first way is A's
        ("AABCADEA", 3),  # used again, A is 0 again
    ],
)
def test_a_line_used_again_outlives_lines_that_are_not(order, expected):
    assert hits(order, "l1.size=128", "l1.ways=2", "l1.replacement=srrip") == expected


@pytest.mark.parametrize(
    ("seed", "order", "expected"),
    # 48271, 182605794, 1291394886, 1914720637: the ways 1, 0, 0, 1
    [
        (1, "ABCA", 1),
        (1, "ABCB", 0),
        (1, "ABCDC", 1),
        (1, "ABCDED", 0),
        (1, "ABCDEC", 1),
        (1, "ABCDEFE", 1),
        # 96542: way 0
        (2, "ABCA", 0),
        (2, "ABCB", 1),
    ],
)
def test_a_random_victim_is_drawn(seed, order, expected):
    random = ("l1.replacement=random", f"l1.replacement_seed={seed}")
    assert hits(order, "l1.size=128", "l1.ways=2", *random) == expected


@pytest.mark.parametrize("policy", POLICIES)
def test_contents_do_not_depend_on_how_many_misses_overlap(policy):
    turns = [((7 * i) % 40, (11 * i) % 24) for i in range(60)]
    overrides = ["l1.size=512", "l1.ways=2", "l2.size=2KiB", "core.kind=in-order"]
    overrides += [f"{level}.replacement={policy}" for level in ("l1", "l2")]
    fenced = stream(plain(*overrides), turns)
    for mshrs in (1, 2, 16):
        # loads in order and stores that retire before the next load issues keep their order
        r = stream(plain(*overrides, f"l1.mshrs={mshrs}", "core.rob=1"), turns, fence="")
        for level in ("L1", "L2"):
            for key in ("accesses", "hits", "misses", "writebacks"):
                assert r.caches[level][key] == fenced.caches[level][key]
        assert r.dram["reads"] == fenced.dram["reads"]


def test_a_line_that_leaves_l2_stays_in_l1():
    m = plain("l1.size=512", "l1.ways=8", "l2.size=128", "l2.ways=2")  # one set each
    r = stream(m, [(0, 1), (2, 3), (0, 1)])
    # lines 2 and 3 pushed 0 and 1 out of L2, not out of L1
    assert r.caches["L1"]["hits"] == 2
    assert r.dram["reads"] == 4


def test_a_dirty_line_is_written_back_level_by_level():
    m = plain("l1.size=64", "l1.ways=1", "l2.size=64", "l2.ways=1", "l3.size=64", "l3.ways=1",
              "l3.hit_cycles=20", "l3.mshrs=4", "dram.write_batch=1")  # fmt: skip
    r = stream(m, [(0, 0)])
    assert [r.caches[level]["writebacks"] for level in ("L1", "L2", "L3")] == [0, 0, 0]
    # line 1 pushes the dirty 0 out of L1 into L2, where it is and becomes dirty; the walk of 1 goes
    # on and pushes it into L3, and then out of L3 into DRAM
    r = stream(m, [(0, 0), (1, 1)])
    assert [r.caches[level]["writebacks"] for level in ("L1", "L2", "L3")] == [1, 1, 1]
    assert r.dram["writes"] == r.dram["write_batches"] == 1


# --- M3-M6: time ----------------------------------------------------------------------------------

# Lines x + 0, 1, ... are brought into L2 and out of L1 by others; then `go` is measured.
PREPARED = f"""
.tensor x f32 {LINES} 16
main:
    li x1, 1
    li x2, x
    li x3, 0
    li x4, 128
fetch:
    load.f32 t0, (x2), x0, x1, x1
    addi x2, x2, 64
    addi x3, x3, 1
    blt x3, x4, fetch
    fill.f32 t1, x0, x1, x1
    li x2, x
    li x9, x + 64
    halt
go:
"""


def prepared(text, *overrides):
    """Run `text` when 128 lines are in L2 and the first 64 of them not in L1."""
    sim = Simulation(f"{PREPARED}{text}\nhalt", plain(*overrides))
    sim.run("main")
    return sim.run("go")


@pytest.mark.parametrize("width", [8, 16, 32, 64, 128])
def test_l2_passes_its_bytes_per_cycle(width):
    count = 40
    r = prepared(
        repeat(count, "load.f32 t0, (x2), x0, x1, x1\naddi x2, x2, 64"),
        f"l2.bytes_per_cycle={width}",
    )
    m = r.machine
    assert r.caches["L2"]["hits"] == count
    first = r.rows[0].issue + m.l1.hit_cycles  # arrives at L2
    for i, row in enumerate(r.rows[::2]):
        # the i-th line's bytes start at i * 64 on a way that passes `width` a cycle; and a load
        # unit that makes an access a cycle asks for it no earlier than the i-th cycle
        served = max(first + i * 64 // width, first + i)
        assert row.complete == served + m.l2.hit_cycles + m.l1.fill_cycles


def test_a_written_back_line_takes_bandwidth_before_the_line_that_replaces_it():
    r = prepared("store.f32 t1, (x2), x0\nsignal 0\nload: load.f32 t0, (x9), x0, x1, x1",
                 "l1.size=64", "l1.ways=1", "l2.bytes_per_cycle=16")  # fmt: skip
    m, load = r.machine, r.at("load")
    assert r.caches["L1"]["writebacks"] == 1
    # the victim leaves when the load's access is made and keeps L2 busy for 64 / 16 cycles; the
    # request comes l1.hit_cycles after the access, before they are over
    assert m.l1.hit_cycles < 64 // 16
    assert load.complete == load.issue + 64 // 16 + m.l2.hit_cycles + m.l1.fill_cycles


def test_a_line_written_back_to_l3_takes_its_bandwidth_first_too():
    m = plain("l1.size=64", "l1.ways=1", "l2.size=64", "l2.ways=1", "l2.bytes_per_cycle=64",
              "l3.size=64KiB", "l3.ways=4", "l3.hit_cycles=10", "l3.mshrs=16",
              "l3.bytes_per_cycle=4")  # fmt: skip
    sim = Simulation(  # (exp gives L3 the time to be done with the line that the store needs)
        f"{PREPARED}store.f32 t1, (x2), x0\nexp t2, t1\nsignal 0\n"
        "other: load.f32 t0, (x9), x0, x1, x1\nhalt",
        m,
    )
    sim.run("main")
    r = sim.run("go")
    assert [r.caches[level]["writebacks"] for level in ("L1", "L2")] == [1, 1]
    # x9's line pushed the dirty one from L1 into L2, and its own walk pushed it on into L3, in the
    # cycle in which it was served by L2; that kept L3 busy for 64 / 4 of its cycles
    other = r.at("other")
    assert m.l2.hit_cycles < 64 // 4
    served = other.issue + m.l1.hit_cycles
    there = served + 64 // 4 + 10
    assert other.complete == there + m.l2.fill_cycles + m.l1.fill_cycles


def test_a_miss_without_an_l2_mshr_waits_for_a_fill_of_l2():
    m = plain("l2.mshrs=1", "l2.bytes_per_cycle=64", "l2.fill_cycles=4")
    sim = Simulation(
        ".tensor x f32 64 16\nmain: li x1, 1\nli x2, x\nli x3, x + 1024\n"
        "a: load.f32 t0, (x2), x0, x1, x1\nb: load.f32 t1, (x3), x0, x1, x1\nhalt",
        m,
    )
    r = sim.run()
    a, b = r.at("a"), r.at("b")
    assert a.complete == idle_fill(m, LINE, a.issue)
    in_l2 = a.complete - m.l1.fill_cycles  # when a's MSHR of L2 is free
    assert b.complete == idle_fill(m, LINE + 16, in_l2 - m.l1.hit_cycles)
    assert r.caches["L2"]["mshr_stalls"] == 1


def test_l3_passes_its_bytes_per_cycle_of_its_own_clock():
    count = 24
    m = plain("l1.size=64", "l1.ways=1", "l2.size=64", "l2.ways=1", "l2.bytes_per_cycle=64",
              "l3.size=64KiB", "l3.ways=4", "l3.hit_cycles=10", "l3.mshrs=16",
              "l3.clock=700MHz", "l3.bytes_per_cycle=24", "l3.fill_cycles=2")  # fmt: skip
    sim = Simulation(
        PREPARED + repeat(count, "load.f32 t0, (x2), x0, x1, x1\naddi x2, x2, 64") + "\nhalt", m
    )
    sim.run("main")
    r = sim.run("go")
    assert r.caches["L3"]["hits"] == count
    cycle = 10**9 // 700  # fs
    port = 0
    for row in r.rows[::2]:
        arrives = cycle_fs(m, row.issue + m.l1.hit_cycles + m.l2.hit_cycles)
        served = max(arrives, port)
        port = served + ceil_div(64 * cycle, 24)
        there = first_cycle_from(m, served + 10 * cycle)
        assert row.complete == there + m.l2.fill_cycles + m.l1.fill_cycles


def test_a_line_s_time_at_l3_is_rounded_up_to_fs():
    # a line takes 64/3 ns of L3, 21,333,333.3 fs; three of them, rounded up, end 2 fs after the
    # 64th ns has begun
    m = plain("l1.size=64", "l1.ways=1", "l2.size=64", "l2.ways=1", "l2.bytes_per_cycle=64",
              "l3.size=64KiB", "l3.ways=4", "l3.hit_cycles=10", "l3.mshrs=16",
              "l3.clock=1GHz", "l3.bytes_per_cycle=3")  # fmt: skip
    sim = Simulation(
        PREPARED + repeat(4, "load.f32 t0, (x2), x0, x1, x1\naddi x2, x2, 64") + "\nhalt", m
    )
    sim.run("main")
    r = sim.run("go")
    assert r.caches["L3"]["hits"] == 4
    first = r.rows[0]
    assert first.complete == first.issue + m.l1.hit_cycles + m.l2.hit_cycles + 10 + m.l1.fill_cycles
    assert [row.complete - first.complete for row in r.rows[::2]] == [0, 22, 43, 65]


FOUR = PREPARED + "li x5, 4\nli x6, 64\nload.f32 t0, (x2), x6, x5, x1\nhalt"


def test_l2_passes_a_line_a_cycle_where_no_width_is_given():
    m = plain("l1.mshrs=8", "core.units.load.pipes=4", "l2=none", "l2.size=32KiB", "l2.ways=4",
              "l2.line=64", "l2.hit_cycles=7", "l2.fill_cycles=0", "l2.mshrs=8")  # fmt: skip
    sim = Simulation(FOUR, m)
    sim.run("main")
    r = sim.run("go")
    [load] = r.rows[2:]
    assert r.caches["L2"]["hits"] == 4
    # four accesses in one cycle; the last line is served three cycles after the first
    assert load.complete == load.issue + m.l1.hit_cycles + 3 + 7 + m.l1.fill_cycles


def test_l3_passes_a_line_a_cycle_of_its_own_where_no_width_is_given():
    m = plain("core.units.load.pipes=4", "l1.size=64", "l1.ways=1", "l2.size=64", "l2.ways=1",
              "l2.bytes_per_cycle=64", "l3.size=64KiB", "l3.ways=4", "l3.hit_cycles=10",
              "l3.clock=250MHz", "l3.mshrs=16")  # fmt: skip
    sim = Simulation(FOUR, m)
    sim.run("main")
    r = sim.run("go")
    [load] = r.rows[2:]
    assert r.caches["L3"]["hits"] == 4
    there = load.issue + m.l1.hit_cycles + m.l2.hit_cycles + 3 * 4 + 10 * 4  # cycles of 4 ns
    assert load.complete == there + m.l2.fill_cycles + m.l1.fill_cycles


def test_a_request_for_a_line_in_flight_in_l2_is_served_at_its_fill():
    m = plain("l1.size=64", "l1.ways=1", "l2.bytes_per_cycle=64")
    sim = Simulation(
        ".tensor x f32 64 16\nmain: li x1, 1\nli x2, x\nli x3, x + 64\n"
        "a: load.f32 t0, (x2), x0, x1, x1\nb: load.f32 t1, (x3), x0, x1, x1\n"
        "again: load.f32 t2, (x2), x0, x1, x1\nhalt",
        m,
    )
    r = sim.run()
    # b takes a's place in L1 while both are on their way; a's line is in flight in L2
    assert (r.caches["L1"]["misses"], r.caches["L1"]["merges"]) == (3, 0)
    assert (r.caches["L2"]["hits"], r.caches["L2"]["merges"]) == (1, 1)
    assert r.at("again").complete == r.at("a").complete
    assert r.dram["reads"] == 2


def test_a_level_that_missed_adds_its_fill_cycles():
    m = plain("l1.fill_cycles=3", "l2.fill_cycles=5", "l3.size=64KiB", "l3.ways=4",
              "l3.hit_cycles=10", "l3.fill_cycles=7", "l3.mshrs=16")  # fmt: skip
    sim = Simulation(
        ".tensor x f32 64 16\nmain: li x1, 1\nli x2, x\nload: load.f32 t0, (x2), x0, x1, x1\nhalt",
        m,
    )
    load = sim.run().at("load")
    d = m.dram
    # whole cycles of 1 GHz, in ns; the burst slot is the first from there on
    there = load.issue + m.l1.hit_cycles + m.l2.hit_cycles + 10 + int(d.controller_ns)
    ready = there + int(d.trcd_ns + d.tcl_ns)
    burst = fs(64 / d.gigabytes_per_second) // fs(1)
    assert load.complete == (ceil_div(ready, burst) + 1) * burst + 7 + 5 + 3
