"""Loads: rules L1-L4 of docs/timing.md, and load-to-use of every level (M3)."""

from __future__ import annotations

import pytest

from tests.contract.harness import (
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
from tests.contract.model_dram import idle_fill, l3_cycle_fs

PRESETS = ["teach", "cortex-a76", "avx512", "sapphire-rapids"]
BASE = 0x10000  # where the first tensor lies
WIDE = ("core.tiles.rows=16", "core.tiles.row_bytes=64", "core.load_queue=64", "l1.size=16KiB")

# --- L1: line accesses and their slots ------------------------------------------------------------

# instruction with rows x1 and columns x2, element bytes, memory rows and their elements
SHAPES = [
    ("load.f32 t0, (x3), x4, x1, x2", 4, lambda r, c: (r, c)),
    ("load.bf16 t0, (x3), x4, x1, x2", 2, lambda r, c: (r, c)),
    ("load.raw.bf16 t0, (x3), x4, x1, x2", 2, lambda r, c: (r, c)),
    ("loadt.f32 t0, (x3), x4, x1, x2", 4, lambda r, c: (c, r)),
    ("loadt.bf16 t0, (x3), x4, x1, x2", 2, lambda r, c: (c, r)),
    ("bcast.f32 t0, (x3), x1, x2", 4, lambda r, c: (1, c)),
    ("gather.f32 t0, (x3), x4, (x0), x1, x2", 4, lambda r, c: (r, c)),
    ("prefetch (x3)", 1, lambda r, c: (1, 1)),
]


def pieces(start, stride, rows, row_bytes, line=64):
    """Bytes of every access: one per row and line touched, rows upward, bytes upward."""
    found = []
    for row in range(rows):
        first = start + row * stride
        end = first + row_bytes
        while first < end:
            stop = min(end, (first // line + 1) * line)
            found.append(stop - first)
            first = stop
    return found


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (5, 3), (16, 16), (7, 13)])
@pytest.mark.parametrize(("offset", "stride"), [(0, 64), (40, 96), (60, 52), (0, 0)])
@pytest.mark.parametrize(("pipes", "unit_bytes"), [(1, 16), (2, 64), (3, 8)])
@pytest.mark.parametrize(
    ("line", "size", "memory"), SHAPES, ids=[shape[0].split()[0] for shape in SHAPES]
)
def test_accesses_and_slots_of_a_load(
    line, size, memory, rows, cols, offset, stride, pipes, unit_bytes
):
    m = plain(*WIDE, f"core.units.load.pipes={pipes}", f"core.units.load.bytes={unit_bytes}")
    sim = Simulation(
        f".control 256\n.tensor x f32 32 32\nmain: li x1, {rows}\nli x2, {cols}\n"
        f"li x3, x + {offset}\nli x4, {stride}\nwarm: {line}\nhalt\n"
        f"go: {line}\n{line}\n{line}\nhalt",
        m,
    )
    sim.cpu.control[:16] = range(16)  # gathers rows 0, 1, 2, ...
    sim.run("main")
    r = sim.run("go")
    rows, elements = memory(rows, cols)
    accesses = pieces(offset, stride, rows, elements * size)
    costs = [ceil_div(nbytes, unit_bytes) for nbytes in accesses]
    assert r.caches["L1"]["accesses"] == r.caches["L1"]["hits"] == 3 * len(accesses)
    first = r.rows[0].issue * pipes
    for i, row in enumerate(r.rows):
        start = first + i * sum(costs)
        assert row.issue == start // pipes
        # an access is made in the cycle of its first slot, its data come hit_cycles later
        last = (start + sum(costs[:-1])) // pipes
        late = 1 if line.startswith("prefetch") else m.l1.hit_cycles
        assert row.complete == last + late


def test_accesses_run_upward_even_where_the_stride_does_not():
    # a row a line, from high to low addresses: with one MSHR each waits for the one before
    m = plain("l1.mshrs=1")
    r = run(
        ".tensor x f32 4 16\nmain: li x1, x + 192\nli x2, -64\nli x3, 4\nli x4, 1\n"
        "a: load.f32 t0, (x1), x2, x3, x4\nb: load.f32 t1, (x1), x2, x4, x4\nhalt",
        m,
    )
    # row 0 is the line of x + 192: its fill comes first, and b, which wants it, hits
    assert r.caches["L1"]["misses"] == 4
    assert r.at("b").complete == r.at("b").issue + m.l1.hit_cycles


# --- load-to-use ----------------------------------------------------------------------------------


def evict(m, level):
    """Assembler that pushes the line at x out of a level (and of those above): `ways` others."""
    step = level.sets * level.line
    return f"li x5, x\nli x6, {step}\n" + repeat(
        level.ways, "add x5, x5, x6\nload.f32 t0, (x5), x0, x2, x2"
    )


def probe(m):
    """A simulation whose entries warm the line at x, evict it, and measure a load of it."""
    widest = max(level.sets * level.line * (level.ways + 1) for level in m.levels[:2])
    entries = [f"evict{i}:\n{evict(m, level)}\nhalt" for i, level in enumerate(m.levels[:2], 1)]
    spend = "li x7, 0\nli x8, 3000\nspend: addi x7, x7, 1\nblt x7, x8, spend\n"
    return Simulation(
        f".tensor x f32 {widest // 64} 16\nmain: li x1, x\nli x2, 1\n{spend}halt\n"
        "go:\nload: load.f32 t1, (x1), x0, x2, x2\nuse: fadd t2, t1, t1\nhalt\n"
        + "\n".join(entries),
        m,
    )


def without_prefetchers(name):
    """A preset whose prefetchers do not help."""
    m = machine(name)
    return machine(name, *(f"l{i}.prefetch=none" for i in range(1, len(m.levels) + 1)))


@pytest.mark.parametrize("name", PRESETS)
def test_load_to_use_of_l1_and_l2(name):
    m = without_prefetchers(name)
    sim = probe(m)
    sim.run("main")
    sim.run("go")
    r = sim.run("go")
    assert r.caches["L1"]["hits"] == 1
    assert r.at("use").issue - r.at("load").issue == m.l1.hit_cycles
    sim.run("evict1")
    r = sim.run("go")
    assert r.caches["L2"]["hits"] == 1
    to_use = m.l1.hit_cycles + m.l2.hit_cycles + m.l1.fill_cycles
    assert r.at("use").issue - r.at("load").issue == to_use


@pytest.mark.parametrize("clock", ["", "2.3GHz", "700MHz"])
@pytest.mark.parametrize("name", [name for name in PRESETS if machine(name).l3])
def test_load_to_use_of_l3(name, clock):
    m = without_prefetchers(name)
    if clock:  # a clock that does not divide the core's
        m = machine(name, "l1.prefetch=none", "l2.prefetch=none", f"l3.clock={clock}")
    sim = probe(m)
    for entry in ("main", "go", "evict2"):
        sim.run(entry)
    r = sim.run("go")
    assert r.caches["L3"]["hits"] == 1
    asked = cycle_fs(m, r.at("load").issue + m.l1.hit_cycles + m.l2.hit_cycles)
    there = first_cycle_from(m, asked + m.l3.hit_cycles * l3_cycle_fs(m))
    assert r.at("use").issue == there + m.l2.fill_cycles + m.l1.fill_cycles


@pytest.mark.parametrize("clock", ["", "1.7GHz", "3.1GHz"])
@pytest.mark.parametrize("name", PRESETS)
def test_load_to_use_of_idle_dram(name, clock):
    m = without_prefetchers(name)
    if clock:
        m = machine(name, "l1.prefetch=none", "l2.prefetch=none", f"clock={clock}")
    sim = probe(m)
    sim.run("main")  # takes longer than the refresh at time 0
    d = m.dram
    r = sim.run("go")
    load = r.at("load")
    arrived = cycle_fs(m, load.issue + m.l1.hit_cycles + m.l2.hit_cycles)
    arrived += m.l3.hit_cycles * l3_cycle_fs(m) if m.l3 else 0
    assert arrived > fs(d.trfc_ns)
    # the controller, a closed row, the first burst slot from there on, the burst
    ready = arrived + fs(d.controller_ns) + fs(d.trcd_ns) + fs(d.tcl_ns)
    burst = fs(64 / d.gigabytes_per_second)
    end = ceil_div(ready, burst) * burst + burst
    end += m.l3.fill_cycles * l3_cycle_fs(m) if m.l3 else 0
    filled = first_cycle_from(m, end) + m.l2.fill_cycles + m.l1.fill_cycles
    assert load.complete == r.at("use").issue == filled
    assert r.dram == {**dict.fromkeys(r.dram, 0), "reads": 1, "row_misses": 1}


# --- L2: merges -----------------------------------------------------------------------------------

PAIR = """
.tensor x f32 16 16
main:
    li x1, x
    li x2, 1
a:
    load.f32 t0, (x1), x0, x2, x2
b:
    load.f32 t1, (x1), x0, x2, x2
    halt
"""


def test_a_load_of_a_line_in_flight_waits_for_its_fill():
    r = run(PAIR)
    a, b = r.at("a"), r.at("b")
    assert b.issue == a.issue + 1
    assert a.complete == b.complete == idle_fill(r.machine, BASE // 64, a.issue)
    l1 = r.caches["L1"]
    assert (l1["accesses"], l1["hits"], l1["misses"], l1["merges"]) == (2, 1, 1, 1)
    assert r.dram["reads"] == 1


@pytest.mark.parametrize("after", [-3, -1, 0, 1])
def test_a_fill_has_happened_before_the_accesses_of_its_cycle(after):
    text = (
        ".tensor x f32 16 16\nmain: li x1, x\nli x2, 1\nhalt\n"
        "go:\na: load.f32 t0, (x1), x0, x2, x2\nlater: mul x3, x1, x2\n"
        "b: load.f32 t1, (x3), x0, x2, x2\nhalt"
    )

    def go(wait):
        sim = Simulation(text, plain(f"core.ops.mul.latency={wait}"))
        sim.run("main")
        return sim.run("go")

    first = go(1)
    r = go(first.at("a").complete - first.at("later").issue + after)
    a, b = r.at("a"), r.at("b")
    assert b.issue == a.complete + after
    assert b.complete == max(a.complete, b.issue + r.machine.l1.hit_cycles)
    assert r.caches["L1"]["merges"] == (after < 0)


# --- L3, M5: MSHRs --------------------------------------------------------------------------------


@pytest.mark.parametrize("mshrs", [1, 2, 4, 7, 16])
def test_misses_beyond_the_mshrs_come_in_batches(mshrs):
    # L2 hits, and an L2 so wide that it never makes one wait
    m = plain(f"l1.mshrs={mshrs}", "l2.bytes_per_cycle=64", "core.rob=64")
    count = 24
    line = "load.f32 t0, (x5), x0, x2, x2\naddi x5, x5, 64"
    evict = "li x5, x + 8192\nli x6, 64\nli x7, 0\nli x8, 64\n" + (
        "more: load.f32 t0, (x5), x0, x2, x2\nadd x5, x5, x6\naddi x7, x7, 1\nblt x7, x8, more"
    )
    sim = Simulation(
        f".tensor x f32 256 16\nmain: li x2, 1\nli x5, x\n{repeat(count, line)}\n{evict}\n"
        f"li x5, x\nhalt\ngo:\n{repeat(count, line)}\nhalt",
        m,
    )
    sim.run("main")
    r = sim.run("go")
    assert r.caches["L2"]["hits"] == r.caches["L1"]["misses"] == count
    to_use = m.l1.hit_cycles + m.l2.hit_cycles + m.l1.fill_cycles
    loads = r.rows[::2]
    filled: list[int] = []
    for i, row in enumerate(loads):
        # a load a cycle; each needs the MSHR of the one `mshrs` before it, until that one's fill
        slot = loads[0].issue if i == 0 else filled[i - 1] - to_use + 1
        access = slot if i < mshrs else max(slot, filled[i - mshrs])
        assert row.issue == slot
        filled.append(access + to_use)
    assert [row.complete for row in loads] == filled
    if mshrs < to_use:  # a batch a load-to-use; with more MSHRs the pipe is the limit
        batches = [filled[i] - filled[0] for i in range(0, count, mshrs)]
        assert batches == [to_use * i for i in range(len(batches))]


def test_a_load_without_an_mshr_holds_the_load_unit():
    m = plain("l1.mshrs=1")
    sim = Simulation(
        ".tensor x f32 64 16\nmain: li x1, x\nli x2, 1\nli x3, x + 1024\nli x4, x + 2048\n"
        "load.f32 t0, (x1), x0, x2, x2\nhalt\n"
        "go:\na: load.f32 t1, (x3), x0, x2, x2\nb: load.f32 t2, (x4), x0, x2, x2\n"
        "hit: load.f32 t3, (x1), x0, x2, x2\nhalt",
        m,
    )
    sim.run("main")
    r = sim.run("go")
    a, b, hit = r.at("a"), r.at("b"), r.at("hit")
    assert b.issue == a.issue + 1  # b is on the pipe, but its access is made at a's fill
    assert b.complete == idle_fill(m, (BASE + 2048) // 64, a.complete)  # another bank, closed
    assert hit.issue == a.complete + 1
    assert hit.complete == hit.issue + m.l1.hit_cycles
    assert r.caches["L1"]["mshr_stalls"] == 1


# --- L4: prefetch ---------------------------------------------------------------------------------

HINT = """
.tensor x f32 64 16
main:
    li x1, x
    li x2, 1
    li x3, x + 1024
go:
hint:
    prefetch (x1)
other:
    {other}
late:
    load.f32 t1, (x1), x0, x2, x2
    halt
"""


def test_a_prefetch_completes_a_cycle_later_and_its_line_comes():
    r = run(HINT.format(other="addi x4, x0, 0"))
    hint, late = r.at("hint"), r.at("late")
    assert hint.complete == hint.issue + 1
    assert late.complete == idle_fill(r.machine, BASE // 64, hint.issue)
    assert r.caches["L1"]["merges"] == 1
    assert r.dram["reads"] == 1


def test_a_prefetch_without_an_mshr_is_dropped():
    text = HINT.format(other="nop: addi x4, x0, 0").replace(
        "hint:", "first: load.f32 t0, (x3), x0, x2, x2\nhint:"
    )
    r = run(text, plain("l1.mshrs=1"))
    first, hint, late = r.at("first"), r.at("hint"), r.at("late")
    assert hint.issue == first.issue + 1
    assert hint.complete == hint.issue + 1  # it does not wait for first's fill
    assert late.issue == hint.issue + 1
    assert late.complete > first.complete  # late has to fetch the line itself
    assert r.caches["L1"]["accesses"] == r.caches["L1"]["misses"] == 2


def test_a_prefetch_waits_for_no_store():
    r = run(
        ".tensor x f32 64 16\nmain: li x1, x\nli x2, 1\nfill.f32 t0, x0, x2, x2\n"
        "slow: exp t0, t0\nstore: store.f32 t0, (x1), x0\nhint: prefetch (x1)\nhalt"
    )
    assert r.at("hint").complete == r.at("hint").issue + 1 < r.at("slow").complete
    assert r.caches["L1"]["misses"] == 1
    assert r.caches["L1"]["merges"] + r.caches["L1"]["hits"] >= 1
