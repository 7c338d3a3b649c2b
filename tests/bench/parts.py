"""What the parts of the engine cost, in nanoseconds of host time.

Every figure is a difference of two programs that do the same but for the part in question (rows of
a load, instructions of a chain), each measured as the difference of a long and a short run, so that
neither the loop around it nor the cold start counts. Time is that of the processor, so that
neighbours on a busy host disturb less.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isa.assembler import assemble
from sim.engine import Cpu
from sim.machine import Machine, load_machine
from tests.bench import bench_values
from tests.bench.figure import Figure

MACHINE = "sapphire-rapids"
REPETITIONS = 7
GROUP = "Parts"

LOADS_PER_ITERATION = 4
LOAD = """    load.f32 t{tile}, (x2), x4, x5, x8
    addi x2, x2, {step}
"""
# Walks over `span` bytes again and again, line by line, `rows` lines a load.
LOADS = """.tensor data f32 {lines} 16
main:
    li x1, data
    li x2, data
    li x4, 64
    li x5, {rows}
    li x8, 16
    li x6, 0
    li x7, {iterations}
    li x9, {span}
    add x9, x9, x1
loop:
{body}    addi x6, x6, 1
    blt x2, x9, going_on
    add x2, x1, x0
going_on:
    blt x6, x7, loop
    halt
"""
CHAIN = """.tensor data f32 1 16
main:
    li x6, 0
    li x7, {iterations}
loop:
{body}    addi x6, x6, 1
    blt x6, x7, loop
    halt
"""


@dataclass(frozen=True)
class Walk:
    """Loads that are served by one level: over how many bytes, and changes of the machine."""

    what: str
    span: int
    iterations: tuple[int, int]
    budget: float | None = None
    overrides: tuple[str, ...] = ()

    def text(self, rows: int, iterations: int) -> str:
        """The program for loads of so many rows."""
        loads = range(LOADS_PER_ITERATION)
        body = "".join(LOAD.format(tile=tile, step=64 * rows) for tile in loads)
        lines = (self.span + 4096) // 64
        return LOADS.format(
            lines=lines, rows=rows, iterations=iterations, span=self.span, body=body
        )


# The short run is long enough to have brought the whole span into its level.
WALKS = (
    Walk("line that hits L1", 16 << 10, (1_000, 11_000), budget=15),
    Walk("line that hits L2", 1 << 20, (1_000, 6_000), overrides=("l2.prefetch=none",)),
    Walk("the same, with the stride prefetcher looking on", 1 << 20, (1_000, 6_000)),
    Walk("line that hits L3", 16 << 20, (9_000, 14_000), overrides=("l2.prefetch=none",)),
    Walk(
        "line that misses everywhere (walk to DRAM)",
        1 << 30,
        (20_000, 24_000),
        budget=120,
        overrides=("l2.prefetch=none",),
    ),
    Walk("line of a stream from DRAM, prefetched to L2", 1 << 30, (20_000, 24_000)),
)
ROWS = (8, 16)


def run_seconds(machine: Machine, text: str) -> float:
    """Host seconds of one run of a program, timing only."""
    assembled = assemble(text)
    cpu = Cpu(machine, [assembled.program], assembled.memory, values=False)
    cpu.start("main")
    begin = time.process_time()
    cpu.run()
    return time.process_time() - begin


def slopes(machine: Machine, texts: Sequence[tuple[str, str]], iterations: int) -> list[float]:
    """Best seconds per iteration of each (short, long) pair of programs.

    The pairs take turns, so that a busy host disturbs all of them alike.
    """
    short, long = [float("inf")] * len(texts), [float("inf")] * len(texts)
    for _ in range(REPETITIONS):
        for i, (short_text, long_text) in enumerate(texts):
            short[i] = min(short[i], run_seconds(machine, short_text))
            long[i] = min(long[i], run_seconds(machine, long_text))
    return [(b - a) / iterations for a, b in zip(short, long, strict=True)]


def line_nanoseconds(walk: Walk) -> tuple[float, float]:
    """Host time of one line access, and of a load with its `addi` apart from its lines."""
    machine = load_machine(MACHINE, walk.overrides)
    short, long = walk.iterations
    texts = [(walk.text(rows, short), walk.text(rows, long)) for rows in ROWS]
    few, many = slopes(machine, texts, long - short)
    line = (many - few) / ((ROWS[1] - ROWS[0]) * LOADS_PER_ITERATION)
    rest = many / LOADS_PER_ITERATION - ROWS[1] * line
    return line * 1e9, rest * 1e9


def scalar_nanoseconds(instruction: str) -> float:
    """Host time of one more scalar instruction in a loop."""
    machine = load_machine(MACHINE)
    lengths, iterations = (8, 24), (5_000, 25_000)

    def text(length: int, count: int) -> str:
        body = "".join(f"    {instruction.format(i=10 + i % 8)}\n" for i in range(length))
        return CHAIN.format(body=body, iterations=count)

    texts = [(text(n, iterations[0]), text(n, iterations[1])) for n in lengths]
    few, many = slopes(machine, texts, iterations[1] - iterations[0])
    return (many - few) / (lengths[1] - lengths[0]) * 1e9


TILES = {
    "matmul.f32 16x16x16": 250.0,
    "matmul.f32 16x16x16, transposing": 250.0,
    "matmul.f32 1x16x16": None,
    "matmul.bf16 16x16x32": None,
    "load.f32 16x16 contiguous": None,
    "softmax 16x16": None,
}


def figures() -> Iterator[Figure]:
    """Measure all parts."""
    by_name = {case.name: case for case in bench_values.CASES}
    bench_values.measure(bench_values.CASES[0], count=1)  # compiles
    for name, budget in TILES.items():
        value = bench_values.measure(by_name[name])
        yield Figure(GROUP, f"values of a tile: {name}", value, "ns", budget)
    for walk in WALKS:
        line, load = line_nanoseconds(walk)
        yield Figure(GROUP, walk.what, line, "ns", walk.budget)
        if walk is WALKS[0]:
            yield Figure(GROUP, "load and addi, apart from its lines", load, "ns")
    chain = scalar_nanoseconds("addi x10, x10, 1")
    yield Figure(GROUP, "event: one scalar instruction, one cycle each", chain, "ns", 100)
    independent = scalar_nanoseconds("addi x{i}, x{i}, 1")
    yield Figure(GROUP, "scalar instruction, several a cycle", independent, "ns")
