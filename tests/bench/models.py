"""Whole models: host seconds of a simulated step, against PyTorch in the same run.

Simulation and PyTorch run on one thread each, so their time is taken as that of the processor:
neighbours on a busy host disturb less. Lowering and loading weights are wall time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sim.engine import Cpu
from sim.machine import load_machine
from tests.bench.figure import Figure
from tests.bench.reference import TorchModel
from workloads.lowering import Lowered, lower
from workloads.open import open_workload
from workloads.weights.source import WeightSource

MACHINE = "sapphire-rapids"
ROOM = 256  # cache positions
CONTEXT = 128
TOKEN = 42
LANES = 16  # f32 elements of a 512-bit vector


@dataclass
class Step:
    """One simulated step: host seconds of its phases, and what was simulated."""

    prepare: float
    simulate: float
    cycles: int
    instructions: int
    flops: int
    lines: int
    l1_misses: int
    l2_misses: int
    dram_reads: int
    logits: np.ndarray | None

    @property
    def vector_operations(self) -> float:
        """Millions of 512-bit FMAs a host second, all arithmetic counted as such."""
        return self.flops / 2 / LANES / self.simulate / 1e6


def step(
    source: WeightSource,
    dtype: str,
    *,
    values: bool,
    ids: list[int] | None,
    overrides: Sequence[str] = (),
) -> Step:
    """A prefill of `ids`, or without them one decode step behind `CONTEXT` arbitrary tokens."""
    begin = time.perf_counter()
    machine = load_machine(MACHINE, overrides)
    lowered: Lowered = lower(
        source,
        machine.target(),
        context=ROOM,
        prompt_rows_max=ROOM,
        dtype=dtype,
        values=values,
    )
    regions = len(lowered.regions)
    cpu = Cpu(machine, lowered.programs, lowered.memory, values=values, regions=regions)
    if cpu.mem is not None:
        lowered.write_weights(cpu.mem)
    prepared = time.perf_counter()
    if ids is not None:
        lowered.begin_prefill(cpu.control, [ids])
        cpu.start("prefill")
    else:
        lowered.start_context(cpu.control, cpu.mem, CONTEXT)
        lowered.begin_decode(cpu.control, cpu.mem, [TOKEN] if values else None)
        cpu.start("decode")
    ready = time.process_time()
    cpu.run()
    end = time.process_time()
    caches = cpu.cache_counters()
    instructions, flops = (int(total) for total in cpu.account().sum(axis=0)[:2])
    return Step(
        prepare=prepared - begin,
        simulate=end - ready,
        cycles=cpu.cycles,
        instructions=instructions,
        flops=flops,
        lines=caches["L1"]["accesses"],
        l1_misses=caches["L1"]["misses"],
        l2_misses=caches["L2"]["misses"],
        dram_reads=cpu.dram_counters()["reads"],
        logits=lowered.logits(cpu.mem)[0] if cpu.mem is not None else None,
    )


def fastest(steps: list[Step]) -> Step:
    """The repetition that simulated fastest."""
    return min(steps, key=lambda one: one.simulate)


def best_seconds(function: Callable[[], object], repetitions: int) -> float:
    """The fastest of several calls."""
    times = []
    for _ in range(repetitions):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return min(times)


def counts(group: str, one: Step) -> Iterator[Figure]:
    """What was simulated, and what an instruction and a line access cost on average."""
    yield Figure(group, "instructions simulated", one.instructions / 1e6, "M")
    yield Figure(group, "line accesses", one.lines / 1e6, "M")
    yield Figure(group, "of them miss L1", one.l1_misses / 1e6, "M")
    yield Figure(group, "lines read from DRAM, prefetches included", one.dram_reads / 1e6, "M")
    yield Figure(group, "simulated cycles", one.cycles / 1e6, "M")
    yield Figure(
        group, "host time per line access, all in all", one.simulate * 1e9 / one.lines, "ns"
    )


def gpt2_prefill(repetitions: int = 3) -> Iterator[Figure]:
    """GPT-2 small, 128 tokens, f32, on one simulated core."""
    group = "GPT-2 small: prefill of 128 tokens, f32"
    source = open_workload("gpt2")
    ids = np.random.default_rng(1).integers(0, source.config.vocab, 128).tolist()
    model = TorchModel(source, "f32")
    expected = model.prefill(ids).numpy()
    # The first of each warms up: machine code, the packed weights, the host's file cache.
    step(source, "f32", values=True, ids=ids)
    on, off, torch_seconds = [], [], []
    for _ in range(repetitions):  # in turns, so that a busy host disturbs all alike
        torch_seconds.append(best_seconds(lambda: model.prefill(ids), 5))
        on.append(step(source, "f32", values=True, ids=ids))
        off.append(step(source, "f32", values=False, ids=ids))
    best_on, best_off, best_torch = fastest(on), fastest(off), min(torch_seconds)
    whole = min(one.prepare + one.simulate for one in on)
    difference = float(np.abs(best_on.logits - expected).max())
    flops = best_on.flops
    yield Figure(group, "PyTorch, one thread", best_torch, "s")
    yield Figure(group, "PyTorch's rate", flops / best_torch / 1e9, "Gflop/s")
    yield Figure(group, "simulation, values and timing", best_on.simulate, "s")
    yield Figure(group, "simulation / PyTorch", best_on.simulate / best_torch, "x", 20, 10)
    yield Figure(group, "the same with lowering and loading", whole / best_torch, "x")
    yield Figure(group, "largest difference of the logits", difference, "")
    yield Figure(group, "simulation, timing only", best_off.simulate, "s")
    for what, one in (("values on", best_on), ("values off", best_off)):
        yield Figure(
            group,
            f"vector operations a host second, {what}",
            one.vector_operations,
            "M/s",
            200,
            400,
            more_is_better=True,
        )
    yield from counts(group, best_off)


def smollm2_decode(repetitions: int = 5) -> Iterator[Figure]:
    """SmolLM2-135M, one token behind 128, bf16, on one simulated core."""
    group = "SmolLM2-135M: one token behind 128, bf16"
    source = open_workload("smollm2")
    on, off = [], []
    step(source, "bf16", values=True, ids=None)  # warms up
    torch_seconds = {}
    for dtype in ("bf16", "f32"):
        model = TorchModel(source, dtype)
        caches = model.caches(CONTEXT)
        torch_seconds[dtype] = best_seconds(lambda m=model, c=caches: m.decode(TOKEN, c), 15)
        del model, caches
    for _ in range(repetitions):
        on.append(step(source, "bf16", values=True, ids=None))
        off.append(step(source, "bf16", values=False, ids=None))
    best_on, best_off = fastest(on), fastest(off)
    yield Figure(group, "simulation, values and timing", best_on.simulate, "s", 2)
    yield Figure(group, "simulation, timing only", best_off.simulate, "s", 1)
    whole = min(one.prepare + one.simulate for one in on)
    yield Figure(group, "values and timing with lowering and loading", whole, "s")
    for dtype, seconds in torch_seconds.items():
        yield Figure(group, f"PyTorch {dtype}, one thread", seconds, "s")
        ratio = best_on.simulate / seconds
        yield Figure(group, f"simulation / PyTorch {dtype}", ratio, "x")
    yield from counts(group, best_off)
