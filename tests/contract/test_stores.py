"""Stores: rules S1-S4 of docs/timing.md."""

from __future__ import annotations

import numpy as np
import pytest

from tests.contract.harness import Simulation, ceil_div, latency, plain
from tests.contract.model_dram import idle_fill

BASE = 0x10000  # where the first tensor lies
LINE = BASE // 64

# Tiles of 4 x 4, 4 x 2, 1 x 2 and 1 x 4; then, unless the test wants them cold, the first eight
# lines of y come into L1.
SETUP = """
.tensor y f32 64 16 iota
main:
    li x1, y
    li x2, 64
    li x3, 4
    li x4, 2
    li x5, 1
    li x8, f32(2.5)
    fill.f32 t0, x8, x3, x3
    fill.f32 t1, x8, x3, x4
    fill.f32 t2, x8, x5, x4
    fill.f32 t3, x8, x5, x3
"""
WARM = "load.f32 t7, (x1), x2, x3, x3\naddi x6, x1, 256\nload.f32 t7, (x6), x2, x3, x3\n"


def go(text, *overrides, cold=False):
    """Run `text` behind the setup."""
    before = SETUP + ("" if cold else WARM)
    sim = Simulation(f"{before}halt\ngo:\n{text}\nhalt", plain(*overrides))
    sim.run("main")
    return sim.run("go")


# --- S1: slots ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "stride"), [(0, 64), (56, 64), (56, 60)])
@pytest.mark.parametrize(("pipes", "unit_bytes"), [(1, 16), (1, 4), (2, 8), (3, 8)])
def test_slots_of_a_store(offset, stride, pipes, unit_bytes):
    r = go(
        f"addi x1, x1, {offset}\nli x2, {stride}\na: store.f32 t0, (x1), x2\n"
        "b: store.f32 t0, (x1), x2",
        f"core.units.store.pipes={pipes}", f"core.units.store.bytes={unit_bytes}",
        "core.ops.store.latency=3",
    )  # fmt: skip
    n = 0
    for row in range(4):  # 16 bytes at offset + row * stride, in one line or two
        start = (offset + row * stride) % 64
        first = min(16, 64 - start)
        n += ceil_div(first, unit_bytes) + ceil_div(16 - first, unit_bytes)
    a, b = r.at("a"), r.at("b")
    first = a.issue * pipes
    assert a.complete == (first + n - 1) // pipes + 3
    assert b.issue == (first + n) // pipes
    assert b.complete == (first + 2 * n - 1) // pipes + 3


# --- S4: drain ------------------------------------------------------------------------------------


def test_hits_drain_one_a_cycle_from_retirement_on():
    r = go("a: store.f32 t0, (x1), x2")
    assert r.at("a").retire == r.at("a").complete
    assert r.last == r.at("a").retire + 3  # four entries; halt comes with the last


def test_entries_leave_in_order_and_not_before_they_own_their_line():
    # `cold` misses; the four hits behind it have to wait, then drain one a cycle
    r = go("li x6, y + 1024\ncold: store.f32 t2, (x6), x0\nhits: store.f32 t0, (x1), x2")
    owned = idle_fill(r.machine, LINE + 16, r.at("cold").retire)
    assert r.at("hits").retire < owned
    assert r.last == owned + 4
    assert r.caches["L1"]["misses"] == 1


def test_misses_of_stores_overlap():
    m = plain()
    r = go("a: store.f32 t0, (x1), x2", cold=True)
    # asked for in four cycles; the row is open from the first on, so the bursts follow each other
    burst = int(64 / m.dram.gigabytes_per_second)
    assert burst >= 1
    assert r.last == idle_fill(m, LINE, r.at("a").retire) + 3 * burst


def test_a_store_without_an_mshr_asks_again_at_the_next_fill():
    r = go("a: store.f32 t0, (x1), x2", "l1.mshrs=1", cold=True)
    m, d = r.machine, r.machine.dram
    filled = idle_fill(m, LINE, r.at("a").retire)
    burst = int(64 / d.gigabytes_per_second)
    for _ in range(3):
        # leaves at the fill before, on an idle bus, for an open row: whole ns, which are cycles
        asked = filled + m.l1.hit_cycles + m.l2.hit_cycles
        data = asked + int(d.controller_ns + d.tcl_ns)
        filled = (ceil_div(data, burst) + 1) * burst + m.l1.fill_cycles
    assert r.last == filled
    assert r.caches["L1"]["mshr_stalls"] == 3


def test_a_stored_line_is_dirty():
    small = plain("l1.size=1KiB")
    step = small.l1.sets * 64  # two more lines of its set push the stored one out
    assert small.l1.ways == 2
    r = go(
        f"store.f32 t2, (x1), x0\nsignal 0\nli x6, y + {step}\nload.f32 t7, (x6), x0, x5, x5\n"
        f"addi x6, x6, {step}\nload.f32 t7, (x6), x0, x5, x5",
        "l1.size=1KiB",
    )
    assert r.caches["L1"]["writebacks"] == 1


# --- S2: forwarding -------------------------------------------------------------------------------

LATE = "exp t3, t3\nexp t2, t2\n"  # the data of stores of t2 and t3 come late


@pytest.mark.parametrize("forward", [1, 2, 7])
def test_a_covered_load_takes_its_bytes_from_the_store(forward):
    r = go(
        LATE + "store: store.f32 t3, (x1), x0\nload: load.f32 t6, (x1), x0, x5, x4\n"
        "other: load.f32 t5, (x1), x2, x3, x3",
        f"core.forward_cycles={forward}",
    )
    store, load = r.at("store"), r.at("load")
    assert load.issue == store.complete  # it waits for the data, not for retirement or drain
    assert load.complete == load.issue + forward
    assert r.core["forwards"] == 1 + 1  # and row 0 of `other`
    # without touching L1: the store's drain and three rows of `other`
    assert r.caches["L1"]["accesses"] == 1 + 3


def test_every_row_is_forwarded_on_its_own():
    r = go("store: store.f32 t0, (x1), x2\nload: load.f32 t6, (x1), x2, x3, x4",
                "core.forward_cycles=5")  # fmt: skip
    load = r.at("load")
    assert load.issue == r.at("store").complete
    # entries drain from retirement on, one a cycle, in the order in which the load takes them: row
    # 0 drains in the cycle of the load's first access and is no longer there for it, and so on
    assert r.at("store").retire == load.issue
    assert r.core["forwards"] == 0
    assert load.complete == load.issue + 3 + r.machine.l1.hit_cycles


def test_rows_that_wait_behind_a_miss_are_forwarded():
    r = go(
        "li x6, y + 1024\nli x7, y + 2048\ncold: store.f32 t2, (x6), x0\n"
        "store: store.f32 t0, (x1), x2\nload: load.f32 t6, (x1), x2, x3, x4",
        "core.forward_cycles=5",
    )
    load = r.at("load")
    assert load.issue == r.at("store").complete
    assert load.complete == load.issue + 3 + 5
    assert r.core["forwards"] == 4


def test_values_come_from_the_youngest_store():
    text = (
        "li x8, f32(9)\nfill.f32 t4, x8, x5, x4\n" + LATE + "old: store.f32 t3, (x1), x0\n"
        "young: store.f32 t4, (x1), x0\nload: load.f32 t6, (x1), x0, x5, x4\n"
        "use: store.f32 t6, (x1), x0"
    )
    r = go(text)
    # t4 is ready long before t3: the load waits for the younger store alone
    assert r.at("young").complete < r.at("old").complete
    assert r.at("load").issue == r.at("young").complete
    assert r.core["forwards"] == 1
    np.testing.assert_array_equal(r.cpu.tensor("y")[0, :2], [9, 9])


# --- S3: partial overlap --------------------------------------------------------------------------


def test_a_load_that_is_covered_in_part_waits_for_the_drain():
    r = go(LATE + "store: store.f32 t2, (x1), x0\nload: load.f32 t6, (x1), x0, x5, x3")
    store, load = r.at("store"), r.at("load")
    drained = store.retire  # a hit
    assert load.issue == drained
    assert load.complete == load.issue + r.machine.l1.hit_cycles
    assert r.core["forwards"] == 0


def test_a_partial_overlap_waits_for_a_missing_line():
    r = go("store: store.f32 t2, (x1), x0\nload: load.f32 t6, (x1), x0, x5, x3", cold=True)
    drained = idle_fill(r.machine, LINE, r.at("store").retire)
    assert r.at("load").issue == drained
    assert r.at("load").complete == drained + r.machine.l1.hit_cycles


def test_the_youngest_touching_store_decides():
    # `wide` holds all bytes, but the younger `narrow` only some of them
    r = go("wide: store.f32 t3, (x1), x0\nexp t2, t2\nnarrow: store.f32 t2, (x1), x0\n"
              "load: load.f32 t6, (x1), x0, x5, x3")  # fmt: skip
    assert r.at("load").issue == r.at("narrow").retire  # where it drains
    assert r.core["forwards"] == 0
    # and the other way round the load is forwarded while both wait to drain
    r = go("li x6, y + 1024\nstore.f32 t2, (x6), x0\nnarrow: store.f32 t2, (x1), x0\n"
              "wide: store.f32 t3, (x1), x0\nload: load.f32 t6, (x1), x0, x5, x3")  # fmt: skip
    assert r.at("load").issue == r.at("wide").complete < r.last - 3
    assert r.core["forwards"] == 1


def test_the_pieces_of_a_row_are_judged_one_by_one():
    # eight bytes before the end of a line, stored; the load's row goes on into the next line
    r = go(
        "li x6, y + 1024\nstore.f32 t2, (x6), x0\naddi x6, x1, 56\n"
        "store: store.f32 t2, (x6), x0\nload: load.f32 t6, (x6), x0, x5, x3",
        "core.forward_cycles=1",
    )
    load = r.at("load")
    assert r.core["forwards"] == 1
    assert load.issue == r.at("store").complete
    # first piece forwarded, second from L1 a cycle later
    assert load.complete == load.issue + 1 + r.machine.l1.hit_cycles


def test_bytes_beside_a_store_in_the_same_line_do_not_wait():
    r = go(LATE + "store: store.f32 t2, (x1), x0\naddi x6, x1, 8\n"
                "load: load.f32 t6, (x6), x0, x5, x4")  # fmt: skip
    load = r.at("load")
    assert load.complete == load.issue + r.machine.l1.hit_cycles < r.at("store").issue
    assert r.core["forwards"] == 0


def test_a_drained_store_forwards_nothing():
    r = go("store: store.f32 t3, (x1), x0\nsignal 0\nload: load.f32 t6, (x1), x0, x5, x3")
    assert r.at("load").complete == r.at("load").issue + r.machine.l1.hit_cycles
    assert r.core["forwards"] == 0


def test_a_younger_load_of_other_bytes_overtakes_a_waiting_one():
    r = go(
        LATE + "store: store.f32 t2, (x1), x0\nwaits: load.f32 t6, (x1), x0, x5, x3\n"
        "addi x6, x1, 64\nfree: load.f32 t5, (x6), x0, x5, x3"
    )
    assert r.at("free").complete < r.at("store").issue < r.at("waits").issue
    assert latency(r.machine, "store") == r.at("store").complete - r.at("store").issue
