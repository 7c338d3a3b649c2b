"""Nanoseconds per tile instruction, values only: `python -m tests.bench.bench_values`.

Every case runs `tile_execute` many times inside one compiled loop, as the engine does, over a
few slots and addresses in turn; the best of several repetitions is printed.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from isa.table import OP
from sim.engine.flat import flat
from sim.engine.jit import njit
from sim.engine.values import SLOT, aligned_zeros, tile_execute

REPETITIONS = 15
MEMORY_BYTES = 1 << 16
STEPS = 8


class Case(NamedTuple):
    """One measured instruction: its shape and how it finds its operands."""

    name: str
    mnemonic: str
    rows: int
    cols: int
    k: int = 0
    stride: int = 64
    extra: int = 0


CASES = (
    Case("matmul.f32 16x16x16", "matmul.f32", 16, 16, 16, extra=1),
    Case("matmul.f32 16x16x16, transposing", "matmul.f32", 16, 16, 16),
    Case("matmul.f32 8x16x16", "matmul.f32", 8, 16, 16, extra=1),
    Case("matmul.f32 7x16x16", "matmul.f32", 7, 16, 16, extra=1),
    Case("matmul.f32 4x16x16", "matmul.f32", 4, 16, 16, extra=1),
    Case("matmul.f32 1x16x16", "matmul.f32", 1, 16, 16, extra=1),
    Case("matmul.f32 1x16x16, transposing", "matmul.f32", 1, 16, 16),
    Case("matmul.bf16 16x16x32", "matmul.bf16", 16, 16, 32, extra=1),
    Case("matmul.bf16 16x16x32, transposing", "matmul.bf16", 16, 16, 32),
    Case("matmul.bf16 1x16x32", "matmul.bf16", 1, 16, 32, extra=1),
    Case("matmul.bf16 1x16x32, transposing", "matmul.bf16", 1, 16, 32),
    Case("load.f32 16x16 contiguous", "load.f32", 16, 16),
    Case("load.f32 16x16 strided", "load.f32", 16, 16, stride=320),
    Case("load.f32 16x5 strided", "load.f32", 16, 5, stride=320),
    Case("load.f32 1x16", "load.f32", 1, 16),
    Case("load.bf16 16x16", "load.bf16", 16, 16, stride=32),
    Case("load.raw.bf16 16x32", "load.raw.bf16", 16, 32),
    Case("loadt.f32 16x16", "loadt.f32", 16, 16),
    Case("loadt.raw.bf16 16x32", "loadt.raw.bf16", 16, 32, stride=32),
    Case("gather.f32 16x16", "gather.f32", 16, 16),
    Case("bcast.f32 16x16", "bcast.f32", 16, 16),
    Case("fill.f32 16x16", "fill.f32", 16, 16),
    Case("store.f32 16x16", "store.f32", 16, 16),
    Case("store.f32 16x8", "store.f32", 16, 8),
    Case("store.bf16 16x16", "store.bf16", 16, 16, stride=32),
    Case("pack.bf16 16x16", "pack.bf16", 16, 16),
    Case("append.bf16 16x16", "append.bf16", 16, 16, 16),
    Case("fadd 16x16", "fadd", 16, 16),
    Case("fadd 1x16", "fadd", 1, 16),
    Case("fmul.row 16x16", "fmul.row", 16, 16),
    Case("fmul.col 16x16", "fmul.col", 16, 16, extra=2),
    Case("fmul.const 16x16", "fmul.const", 16, 16, extra=0x3F000000),
    Case("mask 16x16", "mask", 16, 16),
    Case("swap 16x16", "swap", 16, 16),
    Case("exp 16x16", "exp", 16, 16),
    Case("exp 16x1", "exp", 16, 1),
    Case("silu 16x16", "silu", 16, 16),
    Case("tanh 16x16", "tanh", 16, 16),
    Case("gelu.tanh 16x16", "gelu.tanh", 16, 16),
    Case("gelu.erf 16x16", "gelu.erf", 16, 16),
    Case("log 16x16", "log", 16, 16),
    Case("rsqrt 16x1", "rsqrt", 16, 1),
    Case("recip 16x16", "recip", 16, 16),
    Case("rowsum 16x16", "rowsum", 16, 16),
    Case("rowsum 1x16", "rowsum", 1, 16),
    Case("rowargmax 16x16", "rowargmax", 16, 16),
    Case("colsum 16x16", "colsum", 16, 16),
    Case("softmax 16x16", "softmax", 16, 16),
    Case("softmax 1x16", "softmax", 1, 16),
)


@njit
def repeat(
    count: int,
    op: int,
    tiles: Any,
    tensor_memory: Any,
    words: Any,
    rows: int,
    cols: int,
    k: int,
    stride: int,
    extra: int,
) -> None:
    """Execute one instruction `count` times, walking over slots and memory."""
    T, memory, S = flat(tiles), flat(tensor_memory), flat(words)
    for i in range(count):
        step = i % STEPS
        td, ta, tb = step * SLOT, (STEPS + step) * SLOT, (2 * STEPS + step) * SLOT
        tile_execute(op, T, memory, S, td, ta, tb, rows, cols, k, 4096 * step, stride, extra)


def measure(case: Case, count: int = 20_000) -> float:
    """Return the nanoseconds one instruction takes, the best of several repetitions."""
    rng = np.random.default_rng(1)
    T = aligned_zeros(3 * STEPS * SLOT, np.float32)
    memory = aligned_zeros(MEMORY_BYTES, np.uint8)
    memory.view(np.float32)[:] = rng.standard_normal(MEMORY_BYTES // 4)
    S = np.arange(16, dtype=np.int64)
    shape = (case.rows, case.cols, case.k, case.stride, case.extra)
    best = float("inf")
    for _ in range(REPETITIONS):
        # Anew each time: sums that grow without bound would end in the slower infinities.
        T[:] = rng.standard_normal(T.size) * 1e-3
        start = time.perf_counter()
        repeat(count, OP[case.mnemonic], T, memory, S, *shape)
        best = min(best, time.perf_counter() - start)
    return best / count * 1e9


def results() -> Iterator[tuple[str, float]]:
    """Measure every case: (name, nanoseconds)."""
    measure(CASES[0], count=1)  # compiles
    for case in CASES:
        yield case.name, measure(case)


def main() -> None:
    """Print one line a case."""
    for name, nanoseconds in results():
        print(f"{name:36s} {nanoseconds:8.1f} ns")


if __name__ == "__main__":
    main()
