"""DRAM: rules D1-D7 of docs/timing.md.

The machine has one cache level of one line and a clock of 1 GHz, and all times of its DRAM are
whole ns: a cycle is a ns, and every load that is not of the line before goes to DRAM.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.memory import TENSOR_BASE
from tests.contract.harness import Simulation, ceil_div, cycle_fs, first_cycle_from, plain
from tests.contract.model_dram import Dram, dram_arrival, fill_from_dram

FIRST = TENSOR_BASE // 64  # the first line of the tensor
LINES = 2048
SMALL = (
    "l2=none",
    "l1.size=64",
    "l1.ways=1",
    "l1.hit_cycles=2",
    "l1.fill_cycles=1",
    "dram.gigabytes_per_second=16GB/s",
)  # fmt: skip  (a burst of 4 ns)

ACCESSES = f"""
.control 8192
.tensor x f32 {LINES} 16
main:
    li x1, 1
    fill.f32 t0, x0, x1, x1
    ld x8, 8184(x0)
    ld x7, 8176(x0)
    li x6, 0
wait_for_start:
    addi x6, x6, 1
    blt x6, x7, wait_for_start
turn:
    ld x4, 0(x9)
    addi x9, x9, 8
access:
    {{access}}
    blt x9, x8, turn
    halt
"""


def access_lines(lines, *overrides, access="load.f32 t1, (x4), x0, x1, x1", spin=0):
    """Access lines of the tensor as fast as they can be asked for; `spin` turns pass before."""
    m = plain(*SMALL, *overrides)
    sim = Simulation(ACCESSES.format(access=access), m)
    sim.cpu.control[: len(lines)] = [TENSOR_BASE + 64 * line for line in lines]
    sim.cpu.control[1023] = 8 * len(lines)
    sim.cpu.control[1022] = spin
    return sim.run()


def arrival(r, row):
    """The ns in which a load's request has passed the controller."""
    return row.issue + r.machine.l1.hit_cycles + int(r.machine.dram.controller_ns)


def ends(r):
    """The ns in which each load's burst ended."""
    return [row.complete - r.machine.l1.fill_cycles for row in r.all("access")]


def on_bus(ready, burst=4):
    """End of a burst in the first slot at or after `ready`."""
    return (ceil_div(ready, burst) + 1) * burst


def same_bank(m, line):
    """The next line of the same bank and channel, in another row."""
    dram = Dram(m)
    channel, bank, row = dram.place(FIRST + line)
    candidates = range(line + 1, LINES)
    return next(
        other
        for other in candidates
        if dram.place(FIRST + other)[:2] == (channel, bank) and dram.place(FIRST + other)[2] != row
    )


# --- D3: rows -------------------------------------------------------------------------------------


def test_closed_row_then_open_row():
    r = access_lines([0, 1])
    d, (first, second) = r.machine.dram, r.all("access")
    closed = on_bus(arrival(r, first) + d.trcd_ns + d.tcl_ns)
    # the second line's column command may come when the row is open and a burst after the first's
    column = max(arrival(r, second), closed - 4 - d.tcl_ns + 4)
    assert ends(r) == [closed, on_bus(column + d.tcl_ns)]
    assert (r.dram["row_misses"], r.dram["row_hits"], r.dram["row_conflicts"]) == (1, 1, 0)


def test_an_open_row_on_an_idle_machine():
    r = access_lines([0, 1], "l1.mshrs=1")
    d, (first, _) = r.machine.dram, r.all("access")
    # with one MSHR the second leaves L1 at the fill of the first
    at_controller = first.complete + r.machine.l1.hit_cycles + d.controller_ns
    assert ends(r)[1] == on_bus(at_controller + d.tcl_ns)


@pytest.mark.parametrize(
    ("tras", "trtp"), [(35, 10), (120, 10), (35, 90)], ids=["idle", "tras", "trtp"]
)
def test_another_row_of_the_bank_is_a_conflict(tras, trtp):
    overrides = ["l1.mshrs=1", f"dram.tras_ns={tras}", f"dram.trtp_ns={trtp}"]
    m = plain(*SMALL, *overrides)
    r = access_lines([0, same_bank(m, 0)], *overrides)
    d, (first, _) = r.machine.dram, r.all("access")
    activated = arrival(r, first)
    read = ends(r)[0] - 4 - d.tcl_ns  # the column command: tCL before the burst
    asked = first.complete + r.machine.l1.hit_cycles + d.controller_ns
    precharge = max(asked, activated + tras, read + trtp)
    assert (precharge == asked) == (tras == 35 and trtp == 10)
    assert ends(r)[1] == on_bus(precharge + d.trp_ns + d.trcd_ns + d.tcl_ns)
    assert (r.dram["row_misses"], r.dram["row_conflicts"]) == (1, 1)


def test_a_written_burst_delays_the_precharge():
    overrides = ["dram.write_batch=1", "dram.twr_ns=150", "dram.twtr_ns=1", "l1.mshrs=1"]
    m = plain(*SMALL, *overrides)
    other = same_bank(m, 0)
    # load 0, store to it, load the other row: 0 is pushed out and written, then comes the conflict
    sim = Simulation(
        f".tensor x f32 {LINES} 16\nmain: li x1, 1\nfill.f32 t0, x0, x1, x1\nli x2, x\n"
        f"li x3, x + {64 * other}\nstore.f32 t0, (x2), x0\nsignal 0\n"
        "load: load.f32 t1, (x3), x0, x1, x1\nhalt",
        m,
    )
    r = sim.run()
    d, load = m.dram, r.at("load")
    # the victim is written when the load misses: past the controller, its row still open
    written = on_bus(load.issue + d.controller_ns + d.tcl_ns)
    asked = load.issue + m.l1.hit_cycles + d.controller_ns
    precharge = max(asked, written + 150)
    assert load.complete - m.l1.fill_cycles == on_bus(precharge + d.trp_ns + d.trcd_ns + d.tcl_ns)


# --- D1: banks and channels -----------------------------------------------------------------------


def test_lines_of_a_row_then_the_next_bank():
    m = plain(*SMALL)
    per_row = m.dram.row_bytes // 64
    r = access_lines(range(4 * per_row))
    # four rows lie in four banks: each is opened once, none is closed
    assert r.dram["row_misses"] == 4
    assert r.dram["row_hits"] == 4 * per_row - 4
    assert r.dram["row_conflicts"] == 0


def test_rows_of_large_equal_offsets_lie_in_different_banks():
    m = plain(*SMALL)
    step = m.dram.banks * m.dram.row_bytes // 64  # a whole round of the banks
    r = access_lines([0, step, 2 * step, 3 * step])
    assert r.dram["row_misses"] == 4
    assert r.dram["row_conflicts"] == 0


def test_banks_work_side_by_side_and_one_bank_does_not():
    m = plain(*SMALL)
    per_row = m.dram.row_bytes // 64
    side_by_side = access_lines([0, per_row, 2 * per_row, 3 * per_row])
    d = m.dram
    closed = [arrival(side_by_side, row) + d.trcd_ns + d.tcl_ns
              for row in side_by_side.all("access")]  # fmt: skip
    # all rows are opened at the same time; only the bus makes the bursts wait for each other
    expected, free = [], 0
    for ready in closed:
        expected.append(on_bus(max(ready, free)))
        free = expected[-1]
    assert ends(side_by_side) == expected

    rows = [0]
    for _ in range(3):
        rows.append(same_bank(m, rows[-1]))
    assert len({Dram(m).place(FIRST + line)[2] for line in rows}) == 4
    one_bank = access_lines(rows)
    gaps = [late - early for early, late in zip(ends(one_bank), ends(one_bank)[1:], strict=False)]
    # from activation to activation: tRAS, then precharge
    cycle = d.tras_ns + d.trp_ns
    assert cycle > d.trcd_ns + d.trtp_ns + d.trp_ns  # so it is tRAS that keeps a row open
    assert all(abs(gap - cycle) < 4 for gap in gaps)  # rounded to burst slots


def test_lines_go_round_the_channels():
    one = access_lines(range(64), "l1.mshrs=64")
    two = access_lines(range(64), "dram.channels=2", "l1.mshrs=64", "core.units.load.pipes=2")
    # the data of two channels come side by side: half the time from the first burst to the last
    spans = [max(ends(r)) - min(ends(r)) for r in (one, two)]
    assert spans[0] == 63 * 4
    assert spans[1] <= spans[0] // 2 + 4


# --- D4: bus --------------------------------------------------------------------------------------


def test_a_later_request_fills_a_gap_on_the_bus():
    m = plain(*SMALL)
    per_row = m.dram.row_bytes // 64
    conflict = same_bank(m, 0)
    assert Dram(m).place(FIRST + per_row)[1] != Dram(m).place(FIRST)[1]
    # open a row in two banks; then ask for another row of the first bank, and for the open second
    r = access_lines([0, per_row, conflict, per_row + 1])
    late, early = ends(r)[2:]
    assert r.all("access")[2].issue < r.all("access")[3].issue
    assert early < late


# --- D5: refresh ----------------------------------------------------------------------------------

REFRESH = ("dram.trefi_ns=2000", "dram.trfc_ns=300")


def test_the_first_refresh_lies_at_time_0():
    r = access_lines([0], *REFRESH)
    d = r.machine.dram
    assert arrival(r, r.at("access")) < 300
    assert ends(r) == [on_bus(300 + d.trcd_ns + d.tcl_ns)]


@pytest.mark.parametrize("before", [-400, -345, -335, -300, -200, *range(-60, 32, 7)])
def test_an_access_lies_between_two_refreshes(before):
    r = access_lines([0], *REFRESH, spin=1930 - before)
    d = r.machine.dram
    asked = arrival(r, r.at("access"))
    end = on_bus(asked + d.trcd_ns + d.tcl_ns)
    if end > 2000 and asked < 2300:  # it would touch the refresh of 2000 .. 2300
        end = on_bus(2300 + d.trcd_ns + d.tcl_ns)
    assert ends(r) == [end]


def test_refresh_closes_the_rows():
    # the first access opens a row before the refresh; a second one in the same row comes after it
    m = plain(*SMALL, *REFRESH)
    sim = Simulation(
        f".tensor x f32 {LINES} 16\nmain: li x1, 1\nli x2, x\nli x6, 0\nli x7, 1500\nhalt\n"
        "spin: addi x6, x6, 1\nblt x6, x7, spin\nload: load.f32 t1, (x2), x0, x1, x1\n"
        "addi x2, x2, 64\nli x6, 0\nhalt",
        m,
    )
    sim.run("main")
    assert sim.run("spin").dram["row_misses"] == 1
    r = sim.run("spin")
    d, load = m.dram, r.at("load")
    assert 2300 < load.issue < 4000
    assert r.dram["row_misses"] == 1
    assert load.complete - 1 == on_bus(arrival(r, load) + d.trcd_ns + d.tcl_ns)


def test_no_refresh_when_it_is_switched_off():
    r = access_lines([0], "dram.trefi_ns=0", "dram.trfc_ns=300")
    d = r.machine.dram
    assert ends(r) == [on_bus(arrival(r, r.at("access")) + d.trcd_ns + d.tcl_ns)]


# --- D6, D7: writes -------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_writes_wait_for_their_batch(batch):
    # every store pushes the stored line before out of the one-line cache
    r = access_lines(range(20), f"dram.write_batch={batch}", access="store.f32 t0, (x4), x0")
    assert r.dram["writes"] == 19
    assert r.dram["write_batches"] == 19 // batch
    opened = r.dram["row_hits"] + r.dram["row_misses"] + r.dram["row_conflicts"]
    assert opened == 20 + 19 // batch * batch  # the lines read for the stores, and whole batches


@pytest.mark.parametrize(("twtr", "trtw"), [(10, 5), (200, 5), (10, 150)])
def test_the_bus_turns_around(twtr, trtw):
    overrides = ("dram.write_batch=2", "l1.mshrs=1", f"dram.twtr_ns={twtr}", f"dram.trtw_ns={trtw}")
    m = plain(*SMALL, *overrides)
    sim = Simulation(
        f".tensor x f32 {LINES} 16\nmain: li x1, 1\nfill.f32 t0, x0, x1, x1\nli x2, x\n"
        "li x3, x + 64\nli x4, x + 128\nstore.f32 t0, (x2), x0\nsignal 0\n"
        "second: store.f32 t0, (x3), x0\nsignal 0\nload: load.f32 t1, (x4), x0, x1, x1\nhalt",
        m,
    )
    r = sim.run()
    d, second, load = m.dram, r.at("second"), r.at("load")
    # The first store's line is pushed out by the second's and waits; the second's by the load's
    # miss, which makes a batch of two, both in the open row. The last read is the second's.
    asked = second.retire + m.l1.hit_cycles + d.controller_ns
    read_end = on_bus(asked + d.tcl_ns)
    start = load.issue + d.controller_ns
    one = on_bus(max(start + d.tcl_ns, read_end + trtw))
    two = on_bus(max(max(start, one - 4 - d.tcl_ns + 4) + d.tcl_ns, read_end + trtw))
    column = max(load.issue + m.l1.hit_cycles + d.controller_ns, two - 4 - d.tcl_ns + 4)
    assert load.complete - m.l1.fill_cycles == on_bus(max(column + d.tcl_ns, two + twtr))
    assert (r.dram["writes"], r.dram["write_batches"]) == (2, 1)


# --- all of it ------------------------------------------------------------------------------------


@st.composite
def drams(draw):
    """Overrides with random timings; the controller and the bursts need not be whole ns."""
    numbers = {
        "controller_ns": (0, 30), "trcd_ns": (0, 40), "tcl_ns": (1, 40), "trp_ns": (0, 40),
        "tras_ns": (0, 90), "twr_ns": (0, 60), "trtp_ns": (4, 40), "twtr_ns": (0, 60),
        "trtw_ns": (0, 60),
    }  # fmt: skip
    overrides = [
        f"dram.{key}={draw(st.integers(10 * low, 10 * high)) / 10}"
        for key, (low, high) in numbers.items()
    ]
    choose = {
        "clock": ["1.0GHz", "2.3GHz"],
        "l1.mshrs": [1, 4, 64],
        "dram.channels": [1, 2, 3],
        "dram.banks": [1, 2, 8],
        "dram.row_bytes": ["128B", "512B", "4KiB"],
        "dram.gigabytes_per_second": ["16GB/s", "7.1GB/s"],
        "dram.trefi_ns": [0, 1000],
        "dram.write_batch": [1, 4, 16],
    }
    return overrides + [f"{key}={draw(st.sampled_from(values))}" for key, values in choose.items()]


@given(
    lines=st.lists(st.integers(0, 63) | st.integers(0, LINES - 1), min_size=1, max_size=60),
    overrides=drams(),
)
@settings(max_examples=60, deadline=None)
def test_random_reads_take_the_time_the_rules_say(lines, overrides):
    r = access_lines(lines, *overrides)
    m, dram = r.machine, Dram(r.machine)
    present, held = None, []
    for line, row in zip(lines, r.all("access"), strict=True):
        if line == present:
            continue  # a hit or a merge
        cycle = row.issue
        if len(held) >= m.l1.mshrs:  # it waits on the load unit for the fill that frees an MSHR
            cycle = max(cycle, sorted(held)[-m.l1.mshrs])
        end = dram.read(FIRST + line, dram_arrival(m, cycle))
        assert row.complete == fill_from_dram(m, end)
        held.append(row.complete)
        present = line
    assert r.dram == dram.counts


def test_times_in_fs_round_up_to_the_core_s_cycles():
    # a clock whose cycle is no whole number of fs, and times that are no whole ns
    r = access_lines([0], "clock=2.7GHz", "dram.trcd_ns=13.37", "dram.tcl_ns=14.21",
                     "dram.controller_ns=0.75", "dram.gigabytes_per_second=9.6GB/s")  # fmt: skip
    m, load = r.machine, r.at("access")
    burst = round(64 / 9.6 * 10**6)
    ready = cycle_fs(m, load.issue + 2) + 750_000 + 13_370_000 + 14_210_000
    end = (ceil_div(ready, burst) + 1) * burst
    filled = first_cycle_from(m, end)
    assert cycle_fs(m, filled - 1) < end <= cycle_fs(m, filled)
    assert load.complete == filled + 1
