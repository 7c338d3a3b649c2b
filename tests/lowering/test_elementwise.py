"""Elementwise operators, embedding, rotary positions, select, arg-max."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from isa import Target
from tests.lowering.bench import F32, Bench, bits, stored
from workloads.kernels.argmax import Argmax
from workloads.kernels.elementwise import Elementwise, Operation
from workloads.kernels.embed import Embed
from workloads.kernels.rope import Rope
from workloads.kernels.select_last import SelectLast
from workloads.lowering.packing import Table

ROWS = pytest.mark.parametrize(
    ("lengths", "step"), [((1,), True), ((17, 1, 5), False), ((1,) * 5, True)]
)
erf = np.vectorize(math.erf, otypes=[np.float64])


def expected(operation: str, x: F32, y: F32) -> F32:
    a = x.astype(np.float64)
    result: Any = {
        "silu_mul": a / (1 + np.exp(-a)) * y,
        "add": a + y,
        "gelu.tanh": 0.5 * a * (1 + np.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3))),
        "gelu.erf": 0.5 * a * (1 + erf(a / math.sqrt(2))),
    }[operation]
    return result.astype(np.float32)


@pytest.mark.parametrize("operation", ["silu_mul", "add", "gelu.tanh", "gelu.erf"])
@pytest.mark.parametrize("n", [13, 150])
@ROWS
def test_elementwise(
    target: Target,
    dtype: str,
    rng: np.random.Generator,
    lengths: tuple[int, ...],
    step: bool,
    n: int,
    operation: Operation,
) -> None:
    bench = Bench(target, dtype, lengths, step=step)
    x, y = (stored(rng.standard_normal((len(bench.rows), n)), dtype) for _ in range(2))
    addresses = {"first": bench.activation("x", x), "result": bench.empty("z", n)}
    if operation in ("silu_mul", "add"):
        addresses["second"] = bench.activation("y", y)
    bench.run(Elementwise(bench.space, n, operation), **addresses)
    tolerance = 2**-8 if dtype == "bf16" else 2e-6
    np.testing.assert_allclose(
        bench.result("z"), expected(operation, x, y), rtol=tolerance, atol=1e-6
    )


@pytest.mark.parametrize("positions", [False, True])
@ROWS
def test_embed_gathers_rows(
    target: Target,
    dtype: str,
    rng: np.random.Generator,
    lengths: tuple[int, ...],
    step: bool,
    positions: bool,
) -> None:
    n, vocab = 37, 11
    starts = [3 + i for i in range(len(lengths))]
    bench = Bench(target, dtype, lengths, starts, step=step)
    tokens = rng.integers(0, vocab, len(bench.rows))
    for (block, row), token in zip(bench.rows, tokens, strict=True):
        index = bench.space.tokens // 8 + block * bench.space.block_rows + row
        bench.control[index] = token
    table, learned = (stored(rng.standard_normal((count, n)), dtype) for count in (vocab, 40))
    stride = Table("t", vocab, n).row_bytes(bench.tiling)
    addresses = {"result": bench.empty("y", n)}
    for name, rows in (("table", table), ("positions", learned)):
        wide = np.full((len(rows), stride // (2 if dtype == "bf16" else 4)), np.nan, np.float32)
        wide[:, :n] = rows
        addresses[name] = bench.raw(name, bits(wide, dtype), dtype)
    if not positions:
        del addresses["positions"]
    bench.run(Embed(bench.space, n, stride, positions), **addresses)
    want = table[tokens]
    if positions:
        at = [s + i for s, length in zip(starts, lengths, strict=True) for i in range(length)]
        want = stored(want + learned[at], dtype)
    np.testing.assert_array_equal(bench.result("y"), want)


@pytest.mark.parametrize("heads", [1, 5, 18])
@ROWS
def test_rope_turns_pairs(
    target: Target,
    dtype: str,
    rng: np.random.Generator,
    lengths: tuple[int, ...],
    step: bool,
    heads: int,
) -> None:
    starts = [2 * i for i in range(len(lengths))]
    bench = Bench(target, dtype, lengths, starts, step=step)
    width = bench.tiling.whole_blocks(20)
    x = stored(rng.standard_normal((len(bench.rows), heads * width)), dtype)
    angle = np.arange(40)[:, None] * 100.0 ** (-np.arange(width // 2) / width)
    cos, sin = np.repeat(np.cos(angle), 2, axis=1), np.repeat(np.sin(angle), 2, axis=1)
    sin[:, 0::2] *= -1
    bench.run(
        Rope(bench.space, heads, width),
        values=bench.activation("x", x),
        cosines=bench.raw("cosines", cos.astype(np.float32)),
        sines=bench.raw("sines", sin.astype(np.float32)),
    )
    at = [s + i for s, length in zip(starts, lengths, strict=True) for i in range(length)]
    turned = x.reshape(len(at), heads, width // 2, 2) @ np.array([1, 1j])
    turned = turned * np.exp(1j * angle[at])[:, None, :]
    want = np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)
    tolerance = 2**-8 if dtype == "bf16" else 1e-6
    np.testing.assert_allclose(bench.result("x"), want, rtol=tolerance, atol=1e-6)


@pytest.mark.parametrize("lengths", [(1,), (17,), (3, 20, 1), (2,) * 19])
def test_select_last_takes_the_last_row_of_every_sequence(
    target: Target, dtype: str, rng: np.random.Generator, lengths: tuple[int, ...]
) -> None:
    n = 150
    bench = Bench(target, dtype, lengths)
    x = stored(rng.standard_normal((len(bench.rows), n)), dtype)
    source = bench.activation("x", x)
    step = Bench(target, dtype, (1,) * len(lengths), step=True)
    bench.rows, bench.blocks, bench.space = step.rows, step.blocks, bench.layout.step
    result = bench.empty("y", n)
    prompt, batch = bench.layout.prompt, len(lengths)
    kernel = SelectLast(prompt, bench.layout.step, n, batch, bench.layout.select)
    bench.run(kernel, source=source, result=result)
    np.testing.assert_array_equal(bench.result("y"), x[np.cumsum(lengths) - 1])


def logits_tensor(bench: Bench, x: F32) -> int:
    """Logits as the lowering places them: -inf wherever there is no logit."""
    cols, rows = bench.target.row_bytes // 4, bench.space.block_rows
    lines = -(-x.shape[1] // cols)
    if rows == 1:
        lines = -(-lines // bench.target.rows) * bench.target.rows
    placed = np.full((bench.blocks, lines, rows, cols), -np.inf, dtype=np.float32)
    for (block, row), logits in zip(bench.rows, x, strict=True):
        padded = np.full(lines * cols, -np.inf, dtype=np.float32)
        padded[: len(logits)] = logits
        placed[block, :, row] = padded.reshape(lines, cols)
    return bench.raw("logits", placed)


@pytest.mark.parametrize("batch", [1, 3, 19])
@pytest.mark.parametrize("n", [1, 7, 256, 777])
def test_argmax(target: Target, rng: np.random.Generator, batch: int, n: int) -> None:
    bench = Bench(target, "f32", (1,) * batch, step=True)
    x = rng.standard_normal((batch, n)).astype(np.float32)
    result = bench.raw("token", np.full(batch, np.nan, dtype=np.float32))
    bench.run(Argmax(bench.space, n), logits=logits_tensor(bench, x), result=result)
    np.testing.assert_array_equal(bench.elements("token"), x.argmax(axis=1))


@pytest.mark.parametrize("value", [0.0, -3.5, 1e30])
def test_argmax_takes_the_lowest_index_of_equals(
    target: Target, rng: np.random.Generator, value: float
) -> None:
    """Equal maxima in different lanes, rows and tiles."""
    n = 700
    for places in ([1, 0], [699, 300, 17], [650, 33, 34], list(range(n))):
        bench = Bench(target, "f32", step=True)
        x = np.full((1, n), value - abs(value) - 1, dtype=np.float32)
        x[0, places] = value
        result = bench.raw("token", np.zeros(1, dtype=np.float32))
        bench.run(Argmax(bench.space, n), logits=logits_tensor(bench, x), result=result)
        assert bench.elements("token")[0] == min(places)
