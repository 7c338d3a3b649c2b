"""How fast many cores are simulated, beside one: instructions per second of host time.

Every core multiplies the same activations with weights of its own, as the cores of a model do: what
L1 cannot hold comes from L2, weights from DRAM. Cores take turns every few simulated cycles.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from isa.assembler import assemble
from sim.engine import Cpu
from sim.machine import load_machine
from tests.bench.figure import Figure

MACHINE = "sapphire-rapids"
CORES = 8
REPETITIONS = 5
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


def rate(cores: int) -> float:
    """Instructions of all cores per second of the host's processor, timing only."""
    assembled = [assemble(program(core, cores)) for core in range(cores)]
    machine = load_machine(MACHINE, [f"cores={cores}"])
    cpu = Cpu(machine, [each.program for each in assembled], assembled[0].memory, values=False)
    cpu.start()
    begin = time.process_time()
    cpu.run()
    return cpu.instructions / (time.process_time() - begin)


def figures() -> Iterator[Figure]:
    """Measure one core and several, in turns, so that a busy host disturbs both alike."""
    rate(1)  # compiles
    one = many = 0.0
    for _ in range(REPETITIONS):
        one, many = max(one, rate(1)), max(many, rate(CORES))
    group = "Many cores"
    yield Figure(group, "simulated instructions a second, one core", one / 1e6, "million")
    yield Figure(group, f"the same of {CORES} cores together", many / 1e6, "million")
    yield Figure(group, f"{CORES} cores / one core", many / one, "", 0.75, more_is_better=True)
