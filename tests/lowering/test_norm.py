"""RMSNorm and LayerNorm against float64."""

from __future__ import annotations

import numpy as np
import pytest

from isa import Target
from tests.lowering.bench import F32, Bench, stored
from workloads.kernels.norm import Norm

EPS = 1e-5


def reference(x: F32, scale: F32, shift: F32 | None) -> F32:
    wide = x.astype(np.float64)
    if shift is None:
        y = wide / np.sqrt((wide**2).mean(axis=1, keepdims=True) + EPS) * scale
    else:
        centred = wide - wide.mean(axis=1, keepdims=True)
        y = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + EPS) * scale + shift
    return y.astype(np.float32)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("n", [1, 13, 300])
@pytest.mark.parametrize(("lengths", "step"), [((1,), True), ((17, 1, 5), False), ((1,) * 5, True)])
def test_norm(
    target: Target,
    dtype: str,
    rng: np.random.Generator,
    lengths: tuple[int, ...],
    step: bool,
    n: int,
    centred: bool,
) -> None:
    bench = Bench(target, dtype, lengths, step=step)
    x = stored(rng.standard_normal((len(bench.rows), n)) * 3 + 2, dtype)
    scale, shift = (rng.standard_normal(n).astype(np.float32) for _ in range(2))
    addresses = {"source": bench.activation("x", x), "result": bench.empty("y", n)}
    addresses["scale"] = bench.raw("scale", scale)
    if centred:
        addresses["shift"] = bench.raw("shift", shift)
    bench.run(Norm(bench.space, n, EPS, centred), **addresses)
    expected = reference(x, scale, shift if centred else None)
    # Sequential f32 sums of up to 300 terms, then one rounding to the storage type.
    tolerance = 2**-8 if dtype == "bf16" else 3e-6
    np.testing.assert_allclose(bench.result("y"), expected, rtol=tolerance, atol=tolerance)


def test_one_row_takes_a_handful_of_instructions() -> None:
    """576 bf16 columns of one row are four tiles, not 36."""
    bench = Bench(Target(8, 16, 64), "bf16", step=True)
    x = np.ones((1, 576), np.float32)
    instructions = bench.run(
        Norm(bench.space, 576, EPS, centred=False),
        source=bench.activation("x", x),
        result=bench.empty("y", 576),
        scale=bench.raw("scale", np.ones(576, np.float32)),
    )
    assert instructions < 110
