"""Programs whose line accesses are known, for comparing what the caches do with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from isa.memory import TENSOR_BASE
from sim.machine import Machine, load_machine
from tests.components.check import Check
from tests.components.running import run

PLAIN = Path(__file__).parents[1] / "contract" / "plain.toml"
LINE = 64
FIRST_LINE = TENSOR_BASE // LINE

Trace = list[tuple[int, bool]]  # line number, whether it is stored to


@dataclass(frozen=True)
class Shape:
    """A cache of lines of 64 bytes."""

    sets: int
    ways: int

    @property
    def lines(self) -> int:
        """How many lines it holds."""
        return self.sets * self.ways

    def keys(self, level: str) -> list[str]:
        """The shape as overrides of a machine."""
        return [f"{level}.size={LINE * self.lines}", f"{level}.ways={self.ways}"]


@cache
def cached_machine(*shapes: Shape) -> Machine:
    """An in-order core behind one or two cache levels of these shapes."""
    overrides = ["core.kind=in-order"] + ([] if len(shapes) == 2 else ["l2=none"])
    for level, shape in zip(("l1", "l2"), shapes, strict=False):
        overrides += shape.keys(level)
    return load_machine(str(PLAIN), overrides)


# --- any trace ------------------------------------------------------------------------------------

# The control segment holds pairs of an address and 0 for a load or 1 for a store. `signal` waits
# until the access is over, a store's too, so accesses come in the order of the trace.
TRACE = """
.control {control}
.tensor x f32 {lines} 16
main:
    li x1, 1
    li x8, {end}
    fill.f32 t0, x0, x1, x1
turn:
    ld x4, 0(x9)
    ld x5, 8(x9)
    addi x9, x9, 16
    bne x5, x0, write
    load.f32 t1, (x4), x0, x1, x1
    signal 0
    blt x9, x8, turn
    halt
write:
    store.f32 t0, (x4), x0
    signal 0
    blt x9, x8, turn
    halt
"""


def random_trace(seed: int, shapes: tuple[Shape, ...], length: int, stores: float) -> Trace:
    """Accesses to half again as many lines as all caches hold; a third of them to few lines."""
    rng = Random(seed)
    span = max(3, 3 * sum(shape.lines for shape in shapes) // 2)
    return [
        (
            FIRST_LINE + rng.randrange(span if rng.random() < 2 / 3 else max(2, span // 8)),
            rng.random() < stores,
        )
        for _ in range(length)
    ]


def counters(
    trace: Trace, shapes: tuple[Shape, ...], engine: str = "compiled"
) -> dict[str, dict[str, int]]:
    """Hits, misses and write-backs per level after running a trace as loads and stores."""
    text = TRACE.format(
        control=16 * len(trace),
        end=16 * len(trace),
        lines=1 + max(line for line, _ in trace) - FIRST_LINE,
    )
    words = [word for line, store in trace for word in (LINE * line, int(store))]
    found = run(text, cached_machine(*shapes), control=words, engine=engine).cache_counters()
    names = ("hits", "misses", "writebacks")
    return {level: {name: counts[name] for name in names} for level, counts in found.items()}


# --- a matrix product in scalar order -------------------------------------------------------------

N = 64
# c[i, j] = sum over k of a[i, k] * b[k, j], one element at a time: the sum stays in a register and
# is stored once. An in-order core makes the loads in program order; `signal` puts the store in its
# place among them.
PRODUCT = f"""
.tensor a f32 {N} {N} random 1
.tensor b f32 {N} {N} random 2
.tensor c f32 {N} {N}
main:
    li x1, 1
    li x2, a                    # row i of a
    li x3, c                    # element i, j of c
    li x12, a + {4 * N * N}
row:
    li x4, b                    # column j of b
    li x11, b + {4 * N}
element:
    fill.f32 t0, x0, x1, x1
    addi x5, x2, 0
    addi x6, x4, 0
    addi x7, x2, {4 * N}
step:
    load.f32 t1, (x5), x0, x1, x1
    load.f32 t2, (x6), x0, x1, x1
    matmul.f32 t0, t1, t2
    addi x5, x5, 4
    addi x6, x6, {4 * N}
    blt x5, x7, step
    signal 0
    store.f32 t0, (x3), x0
    signal 0
    addi x3, x3, 4
    addi x4, x4, 4
    blt x4, x11, element
    addi x2, x2, {4 * N}
    blt x2, x12, row
    halt
"""
WAYS = 8
# Misses by size of the cache in KiB, as pycachesim 0.3.1 counts them.
COUNTED = {32: 768, 16: 39_848, 8: 270_592}


def product_shape(kib: int) -> Shape:
    """The cache of so many KiB in 8 ways."""
    return Shape(1024 * kib // (WAYS * LINE), WAYS)


def product_trace() -> Iterator[tuple[int, bool]]:
    """The accesses of the product, written without looking at the program."""
    a, b, c = (TENSOR_BASE + 4 * N * N * place for place in range(3))
    for i in range(N):
        for j in range(N):
            for k in range(N):
                yield (a + 4 * (N * i + k)) // LINE, False
                yield (b + 4 * (N * k + j)) // LINE, False
            yield (c + 4 * (N * i + j)) // LINE, True


@cache
def product(kib: int) -> dict[str, int]:
    """Hits, misses and write-backs of L1 after running the product.

    The numbers it computes are looked at too: the program is a matrix product.
    """
    cpu = run(PRODUCT, cached_machine(product_shape(kib)))
    a, b, c = (cpu.tensor(name).astype(np.float64) for name in "abc")
    np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-4)
    found = cpu.cache_counters()["L1"]
    return {name: found[name] for name in ("hits", "misses", "writebacks")}


def checks() -> Iterator[Check]:
    """Misses of the product."""
    for kib, misses in COUNTED.items():
        what = f"f32 product, N = {N}, L1 of {kib} KiB in {WAYS} ways"
        yield Check("Caches", what, misses, product(kib)["misses"], "misses")
