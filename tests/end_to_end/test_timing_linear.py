"""Cycles of linear layers against calculations by hand: moving weights, or multiplying them.

Decode uses every weight once, so it takes as long as the weights take to arrive; a prefill uses
every weight once per row, so with enough rows it takes as long as the multiplications.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from sim import simulate
from sim.machine import load_machine
from sim.machine.schema import Machine
from sim.result import Result
from tests.end_to_end.microprogram import stream_bandwidth
from tests.end_to_end.models import Model
from workloads.config import ModelConfig

BYTES = {"f32": 4, "bf16": 2}
LINE = 64
# The large model has 12 MB in f32; L3 of the two server machines would hold it.
SMALL_L3 = ["l3.size=1920KiB"]


def matrix_elements(config: ModelConfig) -> int:
    """Weights that linear layers multiply with, the (tied) logits included."""
    shapes = config.weight_shapes().values()
    return sum(math.prod(shape) for shape in shapes if len(shape) == 2)


def linear(run: Result, field: str, step: int) -> float:
    """Sum over the linear operators of one step."""
    works = [o.work for o in run.account.operators if o.kind == "linear" and o.step == step]
    return float(sum(getattr(work, field) for work in works))


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize("machine", ["sapphire-rapids", "avx512"])
def test_decode_moves_weights_as_fast_as_a_stream(large: Model, machine: str, dtype: str) -> None:
    """Bytes of the weights / bandwidth of a loop of loads, within 1%.

    What limits both is how many misses L1 can have outstanding; the loop has as many loads as the
    kernel's: two steps along K of a panel of four tiles. Cold or not makes no difference: nothing
    survives in the caches from step to step.
    """
    run = simulate(
        large.folder, machine, context=8, tokens=3, dtype=dtype, values=False, overrides=SMALL_L3
    )
    weights = matrix_elements(large.config) * BYTES[dtype]
    bandwidth = stream_bandwidth(load_machine(machine, SMALL_L3), loads=8)
    for step in range(3):
        assert linear(run, "cycles", step) == pytest.approx(weights / bandwidth, rel=0.01)
        # Every line once, and little besides: activations, and lines prefetched in vain.
        assert weights <= linear(run, "dram_bytes", step) <= 1.02 * weights


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize("machine", ["teach", "cortex-a76"])
def test_decode_is_no_faster_than_the_pins(large: Model, machine: str, dtype: str) -> None:
    """On machines whose caches do not hold the weights: what the bus moves between refreshes."""
    described = load_machine(machine)
    dram = described.dram
    pins = dram.channels * dram.gigabytes_per_second * (1 - dram.trfc_ns / dram.trefi_ns)
    per_cycle = pins * 1000 / described.clock  # bytes; GB/s over MHz
    run = simulate(large.folder, machine, context=8, tokens=3, dtype=dtype, values=False)
    weights = matrix_elements(large.config) * BYTES[dtype]
    for step in range(3):
        assert linear(run, "dram_bytes", step) >= weights
        assert linear(run, "cycles", step) >= weights / per_cycle


def in_order_line_cycles(machine: Machine) -> float:
    """Cycles per weight line of an in-order core without prefetcher, row changes included.

    A load issues in the cycle the last line arrived, since the product between them waits for it:
    one cycle after the end of a burst. The request looks up L1 and L2, passes the controller and
    is a column command to an open row; the data take the next burst slot of the bus, then fill
    L1. For `teach`: 1 + 2 + 7 + 20 + 15 = 45 ns after the end of a burst, so the slot from 50 to
    60. Once per DRAM row (16 lines) it must precharge and activate, 30 ns. Refresh leaves 7500
    of every 7800 ns: (60 + 30 / 16) * 7800 / 7500 = 64.35.
    """
    dram, l2 = machine.dram, machine.l2
    assert l2 is not None
    assert machine.clock == 1000  # MHz: a cycle is a nanosecond
    burst = LINE / dram.gigabytes_per_second
    ready = (
        machine.l1.fill_cycles
        + machine.l1.hit_cycles
        + l2.hit_cycles
        + dram.controller_ns
        + dram.tcl_ns
    )
    slots = math.ceil(ready / burst) + 1
    row_change = (dram.trp_ns + dram.trcd_ns) * LINE / dram.row_bytes
    return (slots * burst + row_change) * dram.trefi_ns / (dram.trefi_ns - dram.trfc_ns)


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_decode_in_order_waits_out_every_line(large: Model, dtype: str) -> None:
    """Lines x latency, within 3%: a stream, which overlaps four misses, would be 3.7 times faster.

    What else happens, loading activations and branching, hides in the wait for the burst slot.
    """
    run = simulate(large.folder, "teach", context=8, tokens=2, dtype=dtype, values=False)
    machine = load_machine("teach")
    lines = matrix_elements(large.config) * BYTES[dtype] / LINE
    for step in range(2):
        expected = lines * in_order_line_cycles(machine)
        assert linear(run, "cycles", step) == pytest.approx(expected, rel=0.03)
        streamed = lines * LINE / stream_bandwidth(machine, loads=8)
        assert linear(run, "cycles", step) / streamed == pytest.approx(3.7, rel=0.03)


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize("workload", ["toy-llama", "toy-gpt2"])
def test_a_warm_step_is_cheaper_by_its_misses(
    run_json: Callable[..., dict[str, Any]], workload: str, dtype: str
) -> None:
    """Where L2 holds the model, the second step finds in it what the first fetched from DRAM.

    A line from L2 takes its load-to-use, l1.hit + l2.hit + l1.fill = 10 cycles, instead of the
    64.35 of a line from DRAM. In 5 of these it waited for its burst slot: what hid there, other
    loads and branches, is seen when lines come from L2, so a miss saves 49.35 to 54.35.
    """
    machine = load_machine("teach", ["l2.size=1MiB"])
    run = run_json(
        workload, "--machine", "teach", "--set", "l2.size=1MiB", "--dtype", dtype,
        "--context", 8, "--tokens", 3, "--values", "off",
    )  # fmt: skip
    cold, warm, warmer = (step["cycles"] for step in run["steps"])
    missed = [
        sum(row["dram_bytes"] for row in run["operators"] if row["step"] == step) / LINE
        for step in range(3)
    ]
    assert run["dram"]["writes"] == 0
    assert missed[1] <= 4  # lines of the new position
    assert machine.l2 is not None
    from_l2 = machine.l1.hit_cycles + machine.l2.hit_cycles + machine.l1.fill_cycles
    saved = in_order_line_cycles(machine) - from_l2
    assert saved - 5 <= (cold - warm) / (missed[0] - missed[1]) <= saved
    assert warmer == pytest.approx(warm, rel=0.005)


class RegisterBlock(NamedTuple):
    """A step along K of 2 x 2 result tiles, four products of full tiles.

    A product of m x k and n x k tiles takes a slot of the vector pipes per k (f32) or pair of k
    (bf16) and vector of the m x n results: `pipes` cycles for all four. The next product into the
    same results starts k or k / 2 accumulate latencies later: `chain` cycles.
    """

    flops: int
    pipes: float
    chain: int


def register_block(machine: Machine, dtype: str) -> RegisterBlock:
    """The block's cycles from the machine file."""
    op, tiles = machine.core.op("matmul", dtype), machine.core.tiles
    assert op is not None
    unit = machine.core.units[op.unit]
    assert unit.bytes is not None
    n = min(tiles.rows, tiles.row_bytes // 4)
    k = tiles.row_bytes // BYTES[dtype]
    additions = k if dtype == "f32" else k // 2
    slots = additions * -(-4 * tiles.rows * n // unit.bytes) * op.occupancy
    latency = op.latency if op.accumulate_latency is None else op.accumulate_latency
    return RegisterBlock(4 * 2 * tiles.rows * n * k, 4 * slots / unit.pipes, additions * latency)


@pytest.mark.parametrize(
    ("machine", "dtype", "tokens", "by_hand"),
    [
        pytest.param(
            *("cortex-a76", "f32", 64, RegisterBlock(4 * 128, 4 * 16 / 2, 4 * 2)),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("cortex-a76", "bf16", 64, RegisterBlock(4 * 256, 4 * 16 * 3 / 2, 4 * 2)),
            marks=pytest.mark.slow,
        ),
        ("avx512", "f32", 64, RegisterBlock(4 * 512, 4 * 16 / 2, 16 * 4)),
        ("avx512", "bf16", 64, RegisterBlock(4 * 1024, 4 * 16 / 2, 16 * 6)),
        ("sapphire-rapids", "f32", 128, RegisterBlock(4 * 8192, 4 * 256 / 2, 16 * 4)),
    ],
)
def test_prefill_takes_as_long_as_its_products(
    large: Model, machine: str, dtype: str, tokens: int, by_hand: RegisterBlock
) -> None:
    """At least the products on full pipes, at most those and the weights, nothing overlapped.

    Where the four chains of a register block are shorter than its work on the pipes, the pipes
    decide. On avx512 the chains are longer, and the window lets the next block start beside the
    last steps of this one, so there the products take between the two. The weights stream in
    once; a window that holds few products sees few loads ahead, so how much of that hides depends
    on the machine. 1.5% on top: filling, draining and storing the tiles at the ends of K loops.
    """
    described = load_machine(machine)
    block = register_block(described, dtype)
    assert block == by_hand
    run = simulate(large.folder, machine, prefill=tokens, tokens=1, dtype=dtype, values=False)
    works = [o for o in run.account.operators if o.kind == "linear" and o.layer is not None]
    cycles = sum(operator.work.cycles for operator in works)
    elements = matrix_elements(large.config) - large.config.vocab * large.config.d_model
    blocks = 2 * elements * tokens / block.flops
    stream = elements * BYTES[dtype] / stream_bandwidth(described, loads=8)
    assert blocks * block.pipes <= cycles
    assert cycles <= 1.015 * (blocks * max(block.pipes, block.chain) + stream)
    # The operators' own count: the products, and residuals added to the results of o and down.
    residuals = 2 * tokens * large.config.d_model
    assert sum(operator.work.flops for operator in works) == 2 * elements * tokens + residuals


@pytest.mark.parametrize(
    ("machine", "overrides", "dtype"),
    [("sapphire-rapids", SMALL_L3, "bf16"), ("avx512", SMALL_L3, "bf16"), ("teach", [], "bf16")],
)
def test_a_row_block_of_prompt_costs_one_decode_step(
    large: Model, machine: str, overrides: list[str], dtype: str
) -> None:
    """A tile has room for that many rows, and the weights stream by once for all of them.

    As long as multiplying R rows takes less than the arrival of the weights: for a tile 16 cycles
    of the tile unit against the 120 of 1 KiB; 8 of the vector pipes, and a quarter of a chain of
    96, against the 30 of 256 bytes on avx512; 16 against the 64 of a line on teach. So a token of
    such a prompt costs an R-th of a decoded one, within 5%.
    """
    rows = load_machine(machine).core.tiles.rows
    run = simulate(
        large.folder, machine, prefill=rows, tokens=3, dtype=dtype, values=False,
        overrides=overrides,
    )  # fmt: skip
    prefill, decode = (linear(run, "cycles", step) for step in (0, 2))
    assert prefill / rows == pytest.approx(decode / rows, rel=0.05)
    per_token = [step.cycles / step.tokens for step in run.account.steps]
    assert per_token[2] / per_token[0] == pytest.approx(rows, rel=0.1)
