"""How fast many cores are simulated, beside one: instructions of all cores per second of the host.

Timing only; a model's prompt and token, and a kernel: every core multiplies the same activations
with weights of its own, as the cores of a model do. What L1 cannot hold comes from L2, weights from
DRAM. Each is simulated again and again on the same machine, the first time uncounted: there the
host hands out the memory that the simulation writes to. Shares are medians of pairs measured one
behind the other. In the usual order of work, and cycle by cycle (rules T3, L5).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

from isa.assembler import assemble
from sim.engine import Cpu
from sim.machine import load_machine
from tests.bench.figure import Figure
from workloads.lowering import lower
from workloads.open import open_workload

MACHINE = "sapphire-rapids"
CORES = 8
REPETITIONS = 7
MODEL = "gpt2"
ROOM = 256  # cache positions
CONTEXT = 128
Rate = Callable[[], float]  # simulates once more; instructions a second
K_BYTES = 2048  # of a row of activations, and of weights
PANELS = 60  # of 32 rows of weights
KERNEL = """.tensor x bf16 32 {k}
{tensors}main:
    li x1, 16
    li x2, 32
    li x3, {k_bytes}
    li x4, 128
    li x10, w{core}
    li x11, y{core}
    li x12, 0
    li x13, {panels}
panel:
    li x5, x
    add x6, x10, x0
    li x8, x + {k_bytes}
{clear}products:
    load.raw.bf16 t4, (x5), x3, x1, x2
    addi x9, x5, {block}
    load.raw.bf16 t5, (x9), x3, x1, x2
    load.raw.bf16 t6, (x6), x3, x1, x2
    addi x9, x6, {block}
    load.raw.bf16 t7, (x9), x3, x1, x2
    matmul.bf16 t0, t4, t6
    matmul.bf16 t1, t4, t7
    matmul.bf16 t2, t5, t6
    matmul.bf16 t3, t5, t7
    addi x5, x5, 64
    addi x6, x6, 64
    blt x5, x8, products
{store}    addi x10, x10, {panel}
    addi x12, x12, 1
    blt x12, x13, panel
    halt
"""


def program(core: int, cores: int) -> str:
    """The text of one core's program."""
    rows = 32 * PANELS
    return KERNEL.format(
        core=core,
        k=K_BYTES // 2,
        k_bytes=K_BYTES,
        block=16 * K_BYTES,
        panel=32 * K_BYTES,
        panels=PANELS,
        tensors="".join(
            f".tensor w{i} bf16 {rows} {K_BYTES // 2}\n.tensor y{i} f32 {rows} 32\n"
            for i in range(cores)
        ),
        clear="".join(f"    fill.f32 t{i}, x0, x1, x1\n" for i in range(4)),
        store="".join(
            f"    store.f32 t{i}, (x11), x4\n    addi x11, x11, {16 * 128 - 64 if i % 2 else 64}\n"
            for i in range(4)
        ),
    )


def repeated(cpu: Cpu, begin: Callable[[], str]) -> Rate:
    """Instructions a second of further runs from the entry that ``begin`` prepares."""

    def rate() -> float:
        cpu.start(begin())
        before, clock = cpu.instructions, time.process_time()
        cpu.run()
        return (cpu.instructions - before) / (time.process_time() - clock)

    rate()
    return rate


def kernel(*overrides: str) -> Rate:
    """The kernel on all cores of a machine."""
    machine = load_machine(MACHINE, overrides)
    assembled = [assemble(program(core, machine.cores)) for core in range(machine.cores)]
    cpu = Cpu(machine, [each.program for each in assembled], assembled[0].memory, values=False)
    return repeated(cpu, lambda: "main")


def model(prompt: bool, *overrides: str) -> Rate:
    """A model's prompt, or a token."""
    machine = load_machine(MACHINE, overrides)
    lowered = lower(
        open_workload(MODEL, 0),
        machine.target(),
        context=ROOM,
        prompt_rows_max=ROOM,
        dtype="bf16",
        values=False,
    )
    regions = len(lowered.regions)
    cpu = Cpu(machine, lowered.programs, lowered.memory, values=False, regions=regions)

    def begin() -> str:
        if prompt:
            lowered.begin_prefill(cpu.control, [list(range(ROOM))])
            return "prefill"
        lowered.start_context(cpu.control, cpu.mem, CONTEXT)
        lowered.begin_decode(cpu.control, cpu.mem, None)
        return "decode"

    return repeated(cpu, begin)


WORK: dict[str, Callable[..., Rate]] = {
    f"{MODEL}, prompt of {ROOM}": partial(model, True),
    f"{MODEL}, a token behind {CONTEXT}": partial(model, False),
    "kernel": kernel,
}
EXACT = ("turn_ns=0", "load_ahead_cycles=0")
MACHINES = {
    f"{CORES} cores": (f"cores={CORES}",),
    f"{CORES} cores, cycle by cycle": (f"cores={CORES}", *EXACT),
}


def figures() -> Iterator[Figure]:
    """Measure several cores beside one."""
    for what, work in WORK.items():
        one, many = work("cores=1"), {name: work(*on) for name, on in MACHINES.items()}
        rates: list[float] = []
        shares: dict[str, list[float]] = {name: [] for name in many}
        for _ in range(REPETITIONS):
            for name, rate in many.items():
                rates.append(one())
                shares[name].append(rate() / rates[-1])
        yield Figure(
            "Many cores", f"{what}: instructions a second, one core", max(rates) / 1e6, "million"
        )
        for name, measured in shares.items():
            yield Figure(
                "Many cores",
                f"{what}: {name} / one core",
                median(measured),
                "",
                None if "cycle" in name else 0.75,
                more_is_better=True,
            )
