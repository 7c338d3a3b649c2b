"""Linear operators cut along K: every part is the sequential sum of its columns, parts in order."""

from __future__ import annotations

import numpy as np
import pytest

from isa import Target
from tests.lowering.bench import Bench, stored
from tests.lowering.test_linear import sequential
from workloads.kernels.combine import Combine
from workloads.kernels.linear import Linear
from workloads.kernels.linear_shape import LinearShape
from workloads.lowering.packing import Matrix
from workloads.lowering.values import Value


@pytest.mark.parametrize("lengths", [(1,), (17, 2)])
def test_a_part_of_the_columns_of_the_source(
    target: Target, dtype: str, rng: np.random.Generator, lengths: tuple[int, ...]
) -> None:
    bench = Bench(target, dtype, lengths)
    t, n = bench.tiling, 21
    k = 4 * t.k_cols + 3
    x = stored(rng.standard_normal((len(bench.rows), k)), dtype)
    weight = stored(rng.standard_normal((n, k)), dtype)
    matrix = Matrix("w", Value(n), Value(k), step_cuts=(0, 1, 3))
    out = np.zeros(matrix.nbytes(t), dtype=np.uint8)
    matrix.pack(weight, out, t)
    place = bench.raw("weight", out.view(np.uint16 if dtype == "bf16" else np.float32), dtype)
    source, result = bench.activation("x", x), bench.empty("y", n, "f32")
    for first, end in ((0, 1), (1, 3), (3, 5)):
        columns = slice(first * t.k_cols, min(end * t.k_cols, k))
        depth = columns.stop - columns.start
        shape = LinearShape(bench.space, n, depth, f32_result=dtype == "bf16", all_depth=k)
        bench.run(
            Linear(shape),
            source=source + first * bench.space.block_rows * t.row_bytes,
            weight=place + matrix.step_offset(first, t),
            result=result,
        )
        np.testing.assert_array_equal(
            bench.result("y"), sequential(x[:, columns], weight[:, columns])
        )


@pytest.mark.parametrize("lengths", [(1,), (17, 2)])
def test_parts_are_added_in_order(
    target: Target, dtype: str, rng: np.random.Generator, lengths: tuple[int, ...]
) -> None:
    """Of the result some whole storage blocks and the ragged end, from the second block on."""
    bench = Bench(target, dtype, lengths)
    t = bench.tiling
    rows, n = len(bench.rows), 3 * t.k_cols + 5
    parts = [rng.standard_normal((rows, n)).astype(np.float32) for _ in range(3)]
    bias = rng.standard_normal(n).astype(np.float32)
    residual = stored(rng.standard_normal((rows, n)), dtype)
    places = [bench.activation(f"part{i}", part, "f32") for i, part in enumerate(parts)]
    assert places[2] - places[1] == places[1] - places[0]
    block = bench.space.block_rows * t.row_bytes
    kernel = Combine(
        bench.space, n - t.k_cols, 3, places[1] - places[0], bias=True, residual=True,
        all_columns=n,
    )  # fmt: skip
    bench.run(
        kernel,
        partial=places[0] + t.halves * block,
        result=bench.empty("y", n) + block,
        bias=bench.raw("bias", bias) + 4 * t.k_cols,
        residual=bench.activation("residual", residual) + block,
    )
    expected = stored(((parts[0] + parts[1]) + parts[2]) + bias + residual, dtype)
    np.testing.assert_array_equal(bench.result("y")[:, t.k_cols :], expected[:, t.k_cols :])
    assert np.isnan(bench.result("y")[:, : t.k_cols]).all()


def test_another_order_differs_by_rounding_alone(rng: np.random.Generator) -> None:
    """Two sums of K products differ by at most 2 K 2^-24 times the sum of their magnitudes."""
    x = rng.standard_normal((3, 600)).astype(np.float32)
    weight = rng.standard_normal((5, 600)).astype(np.float32)
    whole = sequential(x, weight)
    halves = sequential(x[:, :300], weight[:, :300]) + sequential(x[:, 300:], weight[:, 300:])
    assert (np.abs(whole - halves) <= 2 * 600 * 2**-24 * (np.abs(x) @ np.abs(weight).T)).all()
    assert (whole != halves).any()
