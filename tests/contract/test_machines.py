"""Whole machines: what their files promise, clocks, cold and warm caches."""

from __future__ import annotations

import pytest

from isa.memory import TENSOR_BASE
from sim.machine.figures import figures
from tests.contract.harness import Simulation, chain, cycle_fs, machine, plain, slots
from tests.contract.model_dram import idle_fill, l3_cycle_fs

PRESETS = ["teach", "cortex-a76", "avx512", "sapphire-rapids"]

# --- peak arithmetic ------------------------------------------------------------------------------


def matmul_loop(m, dtype):
    """Accumulators in all tiles but two, in turn: a register-blocked kernel between its loads."""
    target = m.target()
    k = target.bf16_cols if dtype == "bf16" else target.f32_cols
    raw = ".raw.bf16" if dtype == "bf16" else ".f32"
    n = min(target.rows, target.f32_cols)
    accumulators = range(2, target.tiles)
    return (
        f".tensor a {dtype} 16 64\nmain: li x1, {n}\nli x2, {k}\nli x3, a\nli x4, 128\nli x5, 64\n"
        f"load{raw} t0, (x3), x4, x1, x2\nload{raw} t1, (x3), x4, x1, x2\n"
        + "".join(f"fill.f32 t{i}, x0, x1, x1\n" for i in accumulators)
        + "halt\ngo: li x6, 0\nloop:\n"
        + "".join(f"matmul.{dtype} t{i}, t0, t1\n" for i in accumulators)
        + "addi x6, x6, 1\nblt x6, x5, loop\nhalt"
    )


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name in PRESETS for dtype in machine(name).core.matmul_types],
)
def test_matmul_reaches_the_promised_rate(name, dtype):
    m = machine(name)
    sim = Simulation(matmul_loop(m, dtype), m)
    sim.run("main")
    r = sim.run("go")
    flops = sum(row["flops"] for row in r.operators)
    promised = figures(m).flops_per_cycle[dtype]
    # every accumulator waits for itself, so there have to be enough of them
    target, op = m.target(), m.core.op("matmul", dtype)
    k = target.bf16_cols if dtype == "bf16" else target.f32_cols
    n = min(target.rows, target.f32_cols)
    again = op.latency if op.accumulate_latency is None else op.accumulate_latency
    last = (slots(m, "matmul", dtype, n, n, k) - 1) // m.core.units[op.unit].pipes
    alone = max(last + again, chain(dtype, k) * again if op.slot == "vector" else 0)
    limit = min(promised, (target.tiles - 2) * 2 * n * n * k / alone)
    assert 0.95 * limit <= flops / r.cycles <= limit


# --- bandwidth ------------------------------------------------------------------------------------


def stream(m, nbytes):
    """Loads of full tiles one after another over a tensor; runs `go` and `go` again."""
    target = m.target()
    row, rows = target.row_bytes, target.rows
    tile = row * rows
    assert nbytes % (4 * tile) == 0
    loads = "".join(f"load.f32 t{i}, (x2), x3, x1, x4\nadd x2, x2, x5\n" for i in range(4))
    return Simulation(
        f".tensor x f32 {nbytes // 64} 16\nmain: halt\ngo: li x1, {rows}\nli x2, x\nli x3, {row}\n"
        f"li x4, {row // 4}\nli x5, {tile}\nli x6, x + {nbytes}\nloop:\n{loads}blt x2, x6, loop\n"
        "halt",
        m,
        values=False,
    )


def steady_rate(m, r, nbytes):
    """Bytes a cycle between the first and the last quarter of the loads."""
    loads = [row for row in r.rows if (row.pc - r.labels[0]["loop"]) in (0, 2, 4, 6)]
    first, last = len(loads) // 4, 3 * len(loads) // 4
    return (last - first) * nbytes / len(loads) / (loads[last].complete - loads[first].complete)


@pytest.mark.parametrize("name", PRESETS)
def test_l1_streams_at_the_width_of_the_load_pipes(name):
    m = machine(name)
    nbytes = m.l1.size // 2
    sim = stream(m, nbytes)
    sim.run("go")
    r = sim.run("go")
    assert r.caches["L1"]["misses"] == 0
    load = m.core.units["load"]
    assert m.target().row_bytes == load.bytes
    assert steady_rate(m, r, nbytes) == pytest.approx(load.pipes * load.bytes, rel=0.02)


@pytest.mark.parametrize("name", PRESETS)
def test_l2_streams_at_its_bytes_per_cycle(name):
    m = machine(name)
    nbytes = m.l1.size * 4 if name != "teach" else m.l1.size * 2
    assert nbytes <= m.l2.size // 2
    sim = stream(m, nbytes)
    sim.run("go")
    r = sim.run("go")
    assert r.caches["L2"]["misses"] == 0
    rate = steady_rate(m, r, nbytes)
    # a line for every load-to-use and MSHR, were there no other limit
    to_use = m.l1.hit_cycles + m.l2.hit_cycles + m.l1.fill_cycles
    limit = min(m.l2.bytes_per_cycle, 64 * m.l1.mshrs / to_use)
    assert 0.93 * limit <= rate <= m.l2.bytes_per_cycle * 1.02


QUIET = ("l1.prefetch=none", "l2.prefetch=none")


@pytest.mark.parametrize("mshrs", [16, 128])
def test_l3_streams_at_its_bytes_per_cycle_or_what_the_mshrs_allow(mshrs):
    m = machine("sapphire-rapids", *QUIET, f"l1.mshrs={mshrs}", "l2.mshrs=128", "l2.size=256KiB",
                "core.load_queue=512", "core.rob=2048")  # fmt: skip
    nbytes = 1 << 20
    sim = stream(m, nbytes)
    sim.run("go")
    r = sim.run("go")
    assert r.dram["reads"] == 0
    to_use_fs = cycle_fs(m, m.l1.hit_cycles + m.l2.hit_cycles) + m.l3.hit_cycles * l3_cycle_fs(m)
    by_mshrs = 64 * mshrs / (to_use_fs * m.clock / 10**9)
    by_port = m.l3.bytes_per_cycle * m.l3.clock / m.clock
    assert (by_mshrs < by_port) == (mshrs == 16)
    limit = min(by_mshrs, by_port)
    assert 0.93 * limit <= steady_rate(m, r, nbytes) <= 1.01 * limit


@pytest.mark.parametrize("refresh", [True, False])
def test_dram_streams_near_the_pin_rate_between_refreshes(refresh):
    overrides = ["dram.channels=1", "l1.mshrs=64", "l2.mshrs=64", "core.load_queue=512",
                 "core.rob=2048", *QUIET]  # fmt: skip
    if not refresh:
        overrides.append("dram.trefi_ns=0")
    m = machine("sapphire-rapids", *overrides)
    nbytes = 1 << 20
    r = stream(m, nbytes).run("go")
    lines = nbytes // 64
    assert r.dram["reads"] == lines
    # every row once, and again where a refresh has closed it under the stream
    rows = nbytes // m.dram.row_bytes
    refreshes = r.cycles * 1000 / m.clock / m.dram.trefi_ns if refresh else 0
    assert rows <= r.dram["row_misses"] + r.dram["row_conflicts"] <= rows + refreshes + 1
    usable = m.dram.gigabytes_per_second * (1 - m.dram.trfc_ns / m.dram.trefi_ns if refresh else 1)
    assert usable == pytest.approx(m.dram.gigabytes_per_second * figures(m).dram_usable)
    rate = nbytes / (r.cycles * 1000 / m.clock)  # bytes a ns are GB/s
    assert 0.95 * usable <= rate <= usable  # at least 85% is asked for


def test_one_core_is_bound_by_its_mshrs_on_many_channels():
    m = machine("sapphire-rapids", *QUIET)
    nbytes = 1 << 20
    r = stream(m, nbytes).run("go")
    # 16 lines for every latency of an open row, at least; a closed one takes tRCD more
    cycles = m.l1.hit_cycles + m.l2.hit_cycles
    open_ns = cycle_fs(m, cycles) / 1e6 + m.l3.hit_cycles * l3_cycle_fs(m) / 1e6
    open_ns += m.dram.controller_ns + m.dram.tcl_ns + 64 / m.dram.gigabytes_per_second
    rate = nbytes / (r.cycles * 1000 / m.clock)
    most = 64 * m.l1.mshrs / open_ns
    assert most * open_ns / (open_ns + m.dram.trcd_ns + 4) * 0.9 <= rate <= most


# --- clocks ---------------------------------------------------------------------------------------

LOOP = """
.tensor x f32 64 16
main:
    li x1, 4
    li x2, x
    li x3, 64
    li x4, 0
    li x5, 20
loop:
    load.f32 t0, (x2), x3, x1, x1
    fadd t1, t0, t0
    store.f32 t1, (x2), x3
    addi x4, x4, 1
    blt x4, x5, loop
    halt
"""


@pytest.mark.parametrize("name", PRESETS)
def test_the_clock_changes_no_cycles_of_what_stays_in_l1(name):
    counts = set()
    for clock in ("500MHz", "1.7GHz", "3.3GHz"):
        sim = Simulation(LOOP, machine(name, f"clock={clock}"))
        sim.run()
        sim.run()
        counts.add(sim.run().cycles)
    assert len(counts) == 1


def test_the_core_s_clock_leaves_dram_s_ns_alone():
    times = {}
    for clock in ("1.0GHz", "4.0GHz"):
        m = machine("sapphire-rapids", f"clock={clock}", "dram.channels=1", "l1.mshrs=64",
                    "l2.mshrs=64", "core.load_queue=512", "core.rob=2048", *QUIET)  # fmt: skip
        r = stream(m, 1 << 19).run("go")
        times[clock] = cycle_fs(m, r.cycles)
    assert times["4.0GHz"] == pytest.approx(times["1.0GHz"], rel=0.02)


@pytest.mark.parametrize("clock", ["1.0GHz", "2.7GHz", "333MHz"])
def test_time_does_not_drift(clock):
    m = machine("teach", f"clock={clock}")
    turns = 3 * m.clock  # so that every microsecond has its cycles
    sim = Simulation(f"main: li x1, {turns}\nloop: addi x1, x1, -1\nbne x1, x0, loop\nhalt", m)
    r = sim.run()
    assert r.cycles > 2 * turns
    assert sim.cpu.now_fs == cycle_fs(m, r.cycles)
    # the exact time, rounded down to a femtosecond
    assert 0 <= r.cycles * 10**9 - sim.cpu.now_fs * m.clock < m.clock


# --- cold and warm --------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [1, 5, 12])
def test_cold_and_warm_differ_by_what_the_misses_cost(lines):
    m = plain()
    assert lines * 64 <= m.dram.row_bytes
    loads = "".join(f"load.f32 t0, (x{i}), x0, x1, x1\n" for i in range(2, 2 + lines))
    sim = Simulation(
        ".tensor x f32 64 16\nmain: li x1, 1\n"
        + "".join(f"li x{i + 2}, x + {64 * i}\n" for i in range(lines))
        + f"halt\ngo:\n{loads}use: fadd t1, t0, t0\nhalt",
        m,
    )
    sim.run("main")
    cold, warm = sim.run("go"), sim.run("go")
    # a load a cycle from cycle 1 on
    last = lines - 1
    assert warm.rows[0].issue == warm.first + 1
    warm_data = warm.first + 1 + last + m.l1.hit_cycles
    # cold, one row: the first access opens it, the bursts of the others follow its own
    burst = int(64 / m.dram.gigabytes_per_second)
    cold_data = idle_fill(m, TENSOR_BASE // 64, cold.first + 1) + last * burst
    assert warm.at("use").issue == warm_data
    assert cold.at("use").issue == cold_data
    assert cold.cycles - warm.cycles == (cold_data - cold.first) - (warm_data - warm.first)
    assert cold.caches["L1"]["misses"] == lines
    assert warm.caches["L1"]["misses"] == 0
