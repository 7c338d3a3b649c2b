"""How fast many cores are simulated, beside one: instructions of all cores per second of the host.

Timing only; a model's prompt and token, and a kernel: every core multiplies the same activations
with weights of its own, as the cores of a model do. What L1 cannot hold comes from L2, weights from
DRAM. Once cycle by cycle, so that cores take each other's place every few cycles, and once in turns
(rule T3).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from isa.assembler import assemble
from sim.engine import Cpu
from sim.machine import load_machine
from tests.bench.figure import Figure
from tests.bench.models import ROOM, step
from workloads.open import open_workload

MACHINE = "sapphire-rapids"
CORES = 8
TURN = 20  # ns
REPETITIONS = 5
MODEL = "gpt2"
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


def kernel(*overrides: str) -> float:
    """Instructions a second of the kernel on all cores of a machine."""
    machine = load_machine(MACHINE, overrides)
    assembled = [assemble(program(core, machine.cores)) for core in range(machine.cores)]
    cpu = Cpu(machine, [each.program for each in assembled], assembled[0].memory, values=False)
    cpu.start()
    begin = time.process_time()
    cpu.run()
    return cpu.instructions / (time.process_time() - begin)


def model(ids: list[int] | None, *overrides: str) -> float:
    """Instructions a second of a model's prompt, or of a token."""
    source = open_workload(MODEL, 0)
    one = step(source, "bf16", values=False, ids=ids, overrides=overrides)
    return one.instructions / one.simulate


RATES: dict[str, Callable[..., float]] = {
    "kernel": kernel,
    f"{MODEL}, prompt of {ROOM}": partial(model, list(range(ROOM))),
    f"{MODEL}, a token": partial(model, None),
}
MACHINES = {
    "one core": ("cores=1",),
    f"{CORES} cores": (f"cores={CORES}",),
    f"{CORES} cores in turns of {TURN} ns": (f"cores={CORES}", f"turn_ns={TURN}"),
}


def figures() -> Iterator[Figure]:
    """Measure one core and several, by turns, so that a busy host disturbs all alike."""
    kernel("cores=1")  # compiles
    for what, rate in RATES.items():
        best = dict.fromkeys(MACHINES, 0.0)
        for _ in range(REPETITIONS):
            for name, overrides in MACHINES.items():
                best[name] = max(best[name], rate(*overrides))
        one, *many = best
        yield Figure(
            "Many cores", f"{what}: instructions a second, {one}", best[one] / 1e6, "million"
        )
        for name in many:
            share = best[name] / best[one]
            yield Figure(
                "Many cores", f"{what}: {name} / {one}", share, "", 0.75, more_is_better=True
            )
