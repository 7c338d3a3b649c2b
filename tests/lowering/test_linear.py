"""Linear kernels: every sum is the sequential f32 sum over K, however the loops are nested."""

from __future__ import annotations

import numpy as np
import pytest

from isa import Target
from tests.lowering.bench import F32, Bench, bits, stored
from workloads.kernels.linear import Linear
from workloads.kernels.linear_blocked import chunk_steps, rows_at_once
from workloads.kernels.linear_shape import LinearShape
from workloads.kernels.tiling import choose_tiling
from workloads.lowering.packing import Matrix
from workloads.lowering.values import Value


def sequential(x: F32, weight: F32, bias: F32 | None = None) -> F32:
    """x @ weight^T with every product and every sum rounded to f32, k upward."""
    total = np.zeros((len(x), len(weight)), dtype=np.float32)
    if bias is not None:
        total += bias
    for k in range(x.shape[1]):
        total = total + x[:, k : k + 1] * weight[:, k]
    return total


def packed(bench: Bench, weight: F32) -> int:
    """Place a weight as the lowering packs it."""
    n, k = weight.shape
    matrix = Matrix("w", Value(n), Value(k))
    out = np.zeros(matrix.nbytes(bench.tiling), dtype=np.uint8)
    matrix.pack(weight, out, bench.tiling)
    elements = out.view(np.uint16 if bench.dtype == "bf16" else np.float32)
    return bench.raw("weight", elements, bench.dtype)


def run(bench: Bench, rng: np.random.Generator, n: int, k: int, **options: object) -> None:
    """Run one linear operator and compare bit for bit."""
    x = stored(rng.standard_normal((len(bench.rows), k)), bench.dtype)
    weight = stored(rng.standard_normal((n, k)), bench.dtype)
    bias = rng.standard_normal(n).astype(np.float32)
    residual = stored(rng.standard_normal((len(bench.rows), n)), bench.dtype)
    shape = LinearShape(bench.space, n, k, **options)  # type: ignore[arg-type]
    expected = sequential(x, weight, bias if shape.bias else None)
    addresses = {"source": bench.activation("x", x), "weight": packed(bench, weight)}
    addresses["result"] = bench.empty("y", n, "f32" if shape.f32_result else None)
    if shape.bias:
        addresses["bias"] = bench.raw("bias", bias)
    if shape.activation:
        expected = np.maximum(expected, 0)
    if shape.residual:
        expected = expected + residual
        addresses["residual"] = bench.activation("residual", residual)
    bench.run(Linear(shape), **addresses)
    if not shape.f32_result:
        expected = stored(expected, bench.dtype)
    np.testing.assert_array_equal(bench.result("y"), expected)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (5, 7), (33, 19), (70, 65), (64, 64), (131, 40)])
def test_one_row_streams_weights(
    target: Target, dtype: str, rng: np.random.Generator, n: int, k: int
) -> None:
    run(Bench(target, dtype, step=True), rng, n, k)


@pytest.mark.parametrize("lengths", [(1,), (17,), (3, 20, 1)])
def test_prompt_rows_are_ragged(
    target: Target, dtype: str, rng: np.random.Generator, lengths: tuple[int, ...]
) -> None:
    run(Bench(target, dtype, lengths), rng, 45, 37)


@pytest.mark.parametrize("batch", [3, 21])
def test_batch_of_a_decode_step(
    target: Target, dtype: str, rng: np.random.Generator, batch: int
) -> None:
    run(Bench(target, dtype, [1] * batch, step=True), rng, 39, 26)


@pytest.mark.parametrize("lengths", [(1,), (40,)])
def test_bias_activation_and_residual(
    target: Target, dtype: str, rng: np.random.Generator, lengths: tuple[int, ...]
) -> None:
    options = {"bias": True, "activation": "relu", "residual": True}
    run(Bench(target, dtype, lengths), rng, 50, 33, **options)


@pytest.mark.parametrize("lengths", [(1,), (18,)])
def test_logits_stay_f32(
    target: Target, rng: np.random.Generator, lengths: tuple[int, ...]
) -> None:
    run(Bench(target, "bf16", lengths), rng, 37, 20, f32_result=True)


@pytest.mark.parametrize("lengths", [(17,), (100,)])
@pytest.mark.parametrize("l2", [0, 4096])
def test_small_caches_cut_k_and_rows(
    dtype: str, rng: np.random.Generator, lengths: tuple[int, ...], l2: int
) -> None:
    """With small caches the sums wait in memory and rows go in rounds; bits stay the same."""
    small = Target(8, 4, 16, l1_bytes=2048, l2_bytes=l2)
    tiling = choose_tiling(small, dtype)
    k = 20 * tiling.k_cols + 3
    assert 3 <= chunk_steps(tiling, k) < 20 / 2
    row_block = tiling.activation_row_bytes(k, small.rows, tiling.element_bytes)
    assert (rows_at_once(tiling, row_block) < lengths[0] / small.rows) == (l2 > 0)
    run(Bench(small, dtype, lengths), rng, 27, k, bias=True, residual=True)


def test_a_chunk_fits_half_of_l2_or_l1() -> None:
    """Panel of 4 weight tiles and 2 source tiles per step, and 8 tiles of sums; tiles of 1 KiB."""
    for l1, l2, fitting in ((32, 0, 32), (48, 512, 256), (48, 2048, 1024)):
        target = Target(8, 16, 64, l1_bytes=l1 * 1024, l2_bytes=l2 * 1024)
        steps = chunk_steps(choose_tiling(target, "f32"), 16 * 1000)
        assert steps * (4 + 2) + 8 <= fitting
        assert steps == -(-1000 // -(-1000 // ((fitting - 8) // 6)))


def test_k_is_not_cut_where_not_even_three_steps_fit() -> None:
    tiling = choose_tiling(Target(8, 16, 64, l1_bytes=16 * 1024), "f32")
    assert chunk_steps(tiling, 1600) == 100


def test_decode_takes_under_four_instructions_per_weight_tile(rng: np.random.Generator) -> None:
    """A step along K: load and addi for the activation, three for each of 4 weight tiles."""
    bench = Bench(Target(8, 16, 64), "bf16", step=True)
    n, k = 128, 576
    x, weight = np.zeros((1, k), np.float32), np.zeros((n, k), np.float32)
    instructions = bench.run(
        Linear(LinearShape(bench.space, n, k)),
        source=bench.activation("x", x),
        weight=packed(bench, weight),
        result=bench.empty("y", n),
    )
    tiles = n // 16 * (k // 32)
    assert instructions < 4.1 * tiles


def test_prompt_loads_one_operand_per_matmul(rng: np.random.Generator) -> None:
    """2 x 2 register blocks: counted in the instructions of the innermost loop."""
    target = Target(8, 16, 64, l1_bytes=1 << 20)
    counts = {}
    for k in (160, 320):
        bench = Bench(target, "f32", (32,))
        x, weight = np.zeros((32, k), np.float32), np.zeros((64, k), np.float32)
        counts[k] = bench.run(
            Linear(LinearShape(bench.space, 64, k)),
            source=bench.activation("x", x),
            weight=packed(bench, weight),
            result=bench.empty("y", 64),
        )
        assert chunk_steps(bench.tiling, k) == k // 16
    matmuls = 2 * 4 * 10  # in ten more steps along K: 2 row blocks, 4 weight tiles
    assert counts[320] - counts[160] < 3.2 * matmuls


def test_packing_puts_every_weight_where_its_description_says(
    target: Target, dtype: str, rng: np.random.Generator
) -> None:
    """[panel][step along k][tile of the panel][n_cols x row_bytes], by element."""
    n, k = 75, 41
    weight = stored(rng.standard_normal((n, k)), dtype)
    t = choose_tiling(target, dtype)
    matrix = Matrix("w", Value(n), Value(k))
    out = np.zeros(matrix.nbytes(t), dtype=np.uint8)
    matrix.pack(weight, out, t)
    stored_bits = bits(weight, dtype)
    elements = out.view(stored_bits.dtype)
    steps, tiles = -(-k // t.k_cols), -(-n // t.n_cols)
    for row in range(n):
        panel, tile = divmod(row // t.n_cols, t.panel)
        width = min(t.panel, tiles - panel * t.panel)
        for column in range(k):
            step = column // t.k_cols
            index = panel * t.panel * steps + step * width + tile
            index = (index * t.n_cols + row % t.n_cols) * t.k_cols + column % t.k_cols
            assert elements[index] == stored_bits[row, column]
