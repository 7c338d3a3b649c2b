"""Window, queues and retirement: rules F3 and W1-W4 of docs/timing.md."""

from __future__ import annotations

import pytest

from tests.contract.harness import plain, repeat, run
from tests.contract.model_dram import idle_fill

# A tile of 1 x 1 whose result is late: everything behind it waits in the window.
SLOW = "main: li x1, 1\nfill.f32 t0, x0, x1, x1\nslow: exp t1, t0\n"
SLOW_LATENCY = 200


def slow_plain(*overrides: str):
    """The plain machine, where `exp` takes long."""
    return plain(f"core.ops.transcendental.latency={SLOW_LATENCY}", *overrides)


# --- F3, W1: the window ---------------------------------------------------------------------------


@pytest.mark.parametrize("rob", [8, 11, 31])
def test_a_full_window_stops_dispatch_until_the_oldest_retires(rob):
    m = slow_plain(f"core.rob={rob}")
    r = run(SLOW + "next:\n" + repeat(40, "addi x2, x0, {i}") + "\nhalt", m)
    slow, after = r.at("slow"), r.block("next", 40)
    # `li` and `fill` retire long before: the window holds `slow` and rob - 1 more
    inside, outside = after[: rob - 1], after[rob - 1 :]
    assert all(row.dispatch < slow.complete for row in inside)
    assert slow.retire == slow.complete
    # what retirement frees can be used in the same cycle (T2): slow and seven more retire
    assert [row.dispatch for row in outside[:8]] == [slow.retire] * 8


def test_one_free_entry_admits_an_instruction_of_several_uops():
    m = slow_plain("core.rob=9", "core.ops.elementwise.uops=6")
    r = run(SLOW + "a: fadd t2, t0, t0\nb: fadd t3, t0, t0\nc: addi x2, x0, 1\nhalt", m)
    slow = r.at("slow")
    # slow 1 + a 6 = 7 of 9 entries: b enters (13 in use), c does not
    assert r.at("a").dispatch < slow.complete
    assert r.at("b").dispatch < slow.complete
    # eight uops retire in slow's cycle: slow's, a's six and the first of b's; b leaves a cycle
    # later, but what is in use falls to b's six with a
    assert r.at("a").retire == slow.retire
    assert r.at("b").retire == slow.retire + 1
    assert r.at("c").dispatch == slow.retire


def test_registers_are_renamed():
    m = slow_plain()
    r = run(
        SLOW + "mov t2, t1\nover: fadd t1, t0, t0\nfresh: fadd t2, t1, t1\nhalt",
        m,
    )  # t1 is overwritten while `slow` computes it and `mov` waits to read it
    assert r.at("fresh").issue == r.at("over").complete
    assert r.at("fresh").complete < r.at("slow").complete


# --- W4: retirement -------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 3, 8])
def test_retire_width_uops_retire_a_cycle_in_order(width):
    m = slow_plain(f"core.retire_width={width}")
    r = run(SLOW + "next:\n" + repeat(12, "addi x2, x0, {i}") + "\nhalt", m)
    slow, after = r.at("slow"), r.block("next", 12)
    assert all(row.complete < slow.complete for row in after)
    assert [row.retire for row in after] == [slow.retire + (1 + i) // width for i in range(12)]


@pytest.mark.parametrize("uops", [1, 2, 5])
def test_an_instruction_is_gone_with_its_last_uop(uops):
    m = slow_plain("core.retire_width=2", f"core.ops.elementwise.uops={uops}", "core.rob=200")
    r = run(SLOW + "next:\n" + repeat(6, "fadd t2, t0, t0") + "\nhalt", m)
    slow, after = r.at("slow"), r.block("next", 6)
    # slow takes retire slot 0 of its cycle, the i-th after it the slots up to (i + 1) * uops
    assert [row.retire for row in after] == [slow.retire + (i + 1) * uops // 2 for i in range(6)]


def test_an_instruction_retires_from_the_cycle_of_completion_on():
    r = run("main: li x1, 3\na: mul x2, x1, x1\nb: mul x2, x2, x2\nhalt")
    assert r.at("a").retire == r.at("a").complete
    assert r.at("b").retire == r.at("b").complete
    assert r.last == r.at("b").retire


# --- F3: unit queues ------------------------------------------------------------------------------


@pytest.mark.parametrize("queue", [1, 2, 5])
def test_a_full_unit_queue_stops_dispatch_until_one_issues(queue):
    m = slow_plain(f"core.units.vector.queue={queue}")
    r = run(
        SLOW + "next:\n" + repeat(10, "mov t2, t1") + "\nlast: addi x2, x0, 1\nhalt", m
    )  # all wait for `slow`, in the queue of the vector unit
    slow, waiting = r.at("slow"), r.block("next", 10)
    for i, row in enumerate(waiting):
        if i < queue:
            assert row.dispatch < slow.complete
        else:  # issue comes before dispatch in a cycle (T2): one out, one in
            assert row.dispatch == waiting[i - queue].issue
    assert waiting[0].issue == slow.complete
    # dispatch is in order: it stops for the scalar instruction behind too
    assert r.at("last").dispatch == waiting[9].dispatch


def test_queues_of_other_units_are_not_stopped():
    m = slow_plain("core.units.vector.queue=2")
    r = run(SLOW + "mov t2, t1\nmov t3, t1\nlast: addi x2, x0, 1\nhalt", m)
    assert r.at("last").dispatch < r.at("slow").complete


# --- F3: load and store queues --------------------------------------------------------------------


def leaves_before(entries: int, sizes: list[int], i: int) -> int:
    """How many of the accesses before the i-th have to leave a queue before that one fits."""
    return next(gone for gone in range(i + 1) if sum(sizes[gone : i + 1]) <= entries)


LOADS = """
.tensor x f32 64 16
main:
    li x1, x
    li x2, 64
    li x3, 4
    li x4, 1
loads:
    load.f32 t0, (x1), x2, x4, x4
"""


@pytest.mark.parametrize("entries", [16, 17, 20, 24])
def test_a_full_load_queue_stops_dispatch_until_loads_retire(entries):
    m = plain(f"core.load_queue={entries}", "core.retire_width=1")
    r = run(LOADS + repeat(8, "load.f32 t1, (x1), x2, x3, x4") + "\nhalt", m)
    rows = r.block("loads", 9)
    sizes = [1] + [4] * 8  # entries: one per row and line
    assert leaves_before(entries, sizes, 8) > 2
    for i, row in enumerate(rows):
        gone = leaves_before(entries, sizes, i)
        if gone:
            assert row.dispatch == rows[gone - 1].retire
        else:
            assert row.dispatch < rows[0].complete


STORES = """
.tensor y f32 256 16
main:
    li x1, y
    li x2, 64
    li x3, 4
    fill.f32 t0, x0, x3, x3
stores:
"""


@pytest.mark.parametrize("entries", [8, 9, 11, 12])
def test_a_full_store_queue_stops_dispatch_until_entries_drain(entries):
    m = plain(f"core.store_queue={entries}")
    r = run(STORES + repeat(4, "store.f32 t0, (x1), x2") + "\nhalt", m)
    rows = r.block("stores", 4)
    # The first store's four entries miss, asked for a cycle apart (S4). Their row is open after
    # the first, so their bursts follow each other, and each fill owns its line.
    owned = idle_fill(m, 0x10000 // 64, rows[0].retire)
    burst = int(m.l1.line / m.dram.gigabytes_per_second)  # ns, which are cycles here
    drains = [owned + burst * i for i in range(4)]
    # The other stores hit those lines and drain behind, one a cycle.
    drains += [drains[3] + 1 + i for i in range(12)]
    for i, row in enumerate(rows):
        gone = 4 * (i + 1) - entries  # entries that have to have drained
        if gone > 0:
            assert row.dispatch == drains[gone - 1]
        else:
            assert row.dispatch < owned
    assert r.last == drains[-1]


# rows of 64 bytes off the borders of 16-byte lines: 5 line accesses each
SHORT_LINES = ("core.load_queue=64", "core.store_queue=32", "core.tiles.row_bytes=64",
               "core.tiles.rows=16", "l1.line=16", "l2.line=16", "l1.size=16KiB")  # fmt: skip


def test_an_empty_queue_takes_any_access():
    r = run(
        ".tensor x f32 64 32\nmain: li x1, x + 4\nli x2, 128\nli x3, 16\n"
        "load: load.f32 t0, (x1), x2, x3, x3\n"
        "a: store.f32 t0, (x1), x2\nb: store.f32 t0, (x1), x2\nhalt",
        plain(*SHORT_LINES),
    )
    lines = 16 * 5
    assert r.caches["L1"]["accesses"] == 3 * lines
    assert r.caches["L1"]["misses"] == lines
    # hits drain one a cycle, the first when it retires; b enters when the last of a has drained
    assert r.at("b").dispatch == r.at("a").retire + lines - 1
    assert r.last == r.at("b").retire + lines - 1


def test_a_queue_keeps_every_line_of_a_store_that_is_larger():
    r = run(
        ".tensor x f32 64 32\nmain: li x1, x + 4\nli x2, 128\nli x3, 16\n"
        "fill.f32 t0, x0, x3, x3\nstore.f32 t0, (x1), x2\nhalt",
        plain(*SHORT_LINES),
    )
    assert r.caches["L1"]["accesses"] == r.caches["L1"]["misses"] == 16 * 5
