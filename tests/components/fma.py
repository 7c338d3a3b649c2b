"""Loops of 256-bit operations, each one instruction of our CPU, and their cycles an iteration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sim.machine import load_machine
from tests.components.check import Check
from tests.components.running import run

MACHINE = Path(__file__).with_name("two-fma-pipes.toml")
ITERATIONS = 1000
# t14 is a vector of 1 x 8 for elementwise operations; for an FMA, which is a product of a 1 x 1
# by an 8 x 1 tile added to a vector of 1 x 8, t12 and t13 are the operands.
LOOP = """
main:
    li x1, 1
    li x2, 8
    fill.f32 t12, x0, x1, x1
    fill.f32 t13, x0, x2, x1
    fill.f32 t14, x0, x1, x2
{fills}
    li x4, {iterations}
loop:
{body}
    addi x3, x3, 1
    blt x3, x4, loop
    halt
"""


@dataclass(frozen=True)
class Loop:
    """The same body for both: our lines, and the x86 instructions that llvm-mca was given."""

    name: str
    ours: tuple[str, ...]
    x86: tuple[str, ...]
    llvm_mca: float  # cycles an iteration


def _fmas(count: int, cycles: float) -> Loop:
    """Independent FMAs, each with an accumulator of its own."""
    what = "one dependent FMA" if count == 1 else f"{count} independent FMAs"
    return Loop(
        what,
        tuple(f"matmul.f32 t{i}, t12, t13" for i in range(count)),
        tuple(f"vfmadd231ps %ymm14, %ymm15, %ymm{i}" for i in range(count)),
        cycles,
    )


LOOPS = (
    _fmas(1, 4.0),
    _fmas(4, 4.0),
    _fmas(8, 4.0),
    _fmas(9, 4.5),
    _fmas(12, 6.0),
    Loop(
        "a dependent multiplication and addition",
        ("fmul t0, t0, t14", "fadd t0, t0, t14"),
        ("vmulps %ymm14, %ymm0, %ymm0", "vaddps %ymm14, %ymm0, %ymm0"),
        8.0,
    ),
)


def cycles(body: Sequence[str], iterations: int) -> int:
    """Cycles of a run of so many iterations."""
    lines = [f"    {line}" for line in body]
    fills = [f"    fill.f32 t{i}, x0, x1, x2" for i in range(12)]
    text = LOOP.format(iterations=iterations, fills="\n".join(fills), body="\n".join(lines))
    return run(text, load_machine(str(MACHINE))).cycles


@cache
def cycles_an_iteration(loop: Loop) -> float:
    """Of iterations 1001 to 2000, so that start and end of the program do not count."""
    difference = cycles(loop.ours, 2 * ITERATIONS) - cycles(loop.ours, ITERATIONS)
    return difference / ITERATIONS


def checks() -> Iterator[Check]:
    """Cycles an iteration of every loop."""
    for loop in LOOPS:
        what = f"loop of {loop.name}, 256 bits"
        yield Check("Vector pipes", what, loop.llvm_mca, cycles_an_iteration(loop), "cycles")
