"""Online softmax: any split of the columns gives the softmax of the whole row."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isa.encoding import Instr
from isa.functions import Floats, rowmax, rowsum
from isa.semantics import execute
from isa.state import Tile
from isa.target import Target
from tests.isa.harness import Bench

TARGET = Target(tiles=8, rows=16, row_bytes=64)
INF = np.float32(np.inf)


def fresh_state(rows: int, cols: int = 3) -> Floats:
    state = np.zeros((rows, cols), np.float32)
    state[:, 0], state[:, 2] = -INF, 1
    return state


def attention(scores: Floats, values: Floats, cuts: list[int]) -> Floats:
    """softmax(scores) @ values as a kernel does it, the columns cut into blocks."""
    bench = Bench(TARGET)
    rows, positions = scores.shape
    acc, state, block, p, v, product = range(6)
    bench.state.t[state] = Tile(fresh_state(rows))
    bench.state.t[acc] = Tile(np.zeros((rows, values.shape[1]), np.float32))
    edges = [0, *cuts, positions]
    with np.errstate(all="ignore"):
        for low, high in itertools.pairwise(edges):
            bench.state.t[block] = Tile(scores[:, low:high].copy())
            bench.state.t[v] = Tile(values[low:high].T.copy())
            execute(bench.state, Instr("softmax", (p, block, state)))
            execute(bench.state, Instr("fmul.col", (acc, acc, state, 2)))
            execute(bench.state, Instr("matmul.f32", (acc, p, v)))
        execute(bench.state, Instr("recip.safe", (product, state)))
        execute(bench.state, Instr("fmul.col", (acc, acc, product, 1)))
    return bench.values(acc)


@st.composite
def splits(draw: st.DrawFn) -> tuple[int, list[int]]:
    """A number of columns and places to cut, no block wider than a tile."""
    widths = draw(st.lists(st.integers(1, 16), min_size=1, max_size=6))
    edges = np.cumsum(widths).tolist()
    return edges[-1], edges[:-1]


@given(
    split=splits(),
    rows=st.integers(1, 16),
    scale=st.sampled_from([0.1, 3.0, 40.0]),
    hidden=st.sampled_from([0.0, 0.3, 0.9]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_split_gives_the_softmax_of_the_row(
    split: tuple[int, list[int]], rows: int, scale: float, hidden: float, seed: int
) -> None:
    positions, cuts = split
    rng = np.random.default_rng(seed)
    scores = (rng.standard_normal((rows, positions)) * scale).astype(np.float32)
    scores = np.where(rng.random(scores.shape) < hidden, -INF, scores)
    values = rng.standard_normal((positions, 8)).astype(np.float32)

    wide = scores.astype(np.float64)
    top = wide.max(axis=1, keepdims=True)
    seen = np.isfinite(top)
    weights = np.where(seen, np.exp(wide - np.where(seen, top, 0)), 0)
    total = weights.sum(axis=1, keepdims=True)
    want = weights / np.where(seen, total, 1) @ values.astype(np.float64)
    np.testing.assert_allclose(attention(scores, values, cuts), want, atol=1e-5)


def test_one_step_by_hand() -> None:
    """Row 0 grows (m: 0 -> ln 2), row 1 does not, row 2 sees nothing but -inf."""
    bench = Bench(TARGET)
    log2 = np.float32(np.log(2))
    scores = np.array([[log2, 0], [-log2, -INF], [-INF, -INF]], np.float32)
    state = np.array([[0, 4, 9, 7], [0, 4, 9, 7], [-INF, 0, 9, 7]], np.float32)
    bench.state.t[1], bench.state.t[2] = Tile(scores), Tile(state)
    with np.errstate(all="ignore"):
        execute(bench.state, Instr("softmax", (0, 1, 2)))
    np.testing.assert_allclose(bench.values(0), [[1, 0.5], [0.5, 0], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(
        bench.values(2),
        [[log2, 0.5 * 4 + 1.5, 0.5, 7], [0, 4.5, 1, 7], [-np.inf, 0, 1, 7]],
        rtol=1e-6,
    )


def test_the_sum_is_rescaled_then_added_to() -> None:
    """l' = (a*l) + rowsum(p), the product rounded before the sum, rowsum from the left."""
    rng = np.random.default_rng(11)
    scores = rng.standard_normal((16, 16)).astype(np.float32)
    state = fresh_state(16)
    state[:, 0] = rng.standard_normal(16)
    state[:, 1] = rng.random(16) + 1
    bench = Bench(TARGET)
    bench.state.t[1], bench.state.t[2] = Tile(scores), Tile(state)
    execute(bench.state, Instr("softmax", (0, 1, 2)))
    p, after = bench.values(0), bench.values(2)
    for row in range(16):
        product = np.float32(after[row, 2] * state[row, 1])
        assert after[row, 1] == np.float32(product + rowsum(p)[row, 0])
    np.testing.assert_array_equal(after[:, 0:1], np.maximum(state[:, 0:1], rowmax(scores)))


def test_scores_may_be_overwritten_by_their_weights() -> None:
    bench = Bench(TARGET)
    scores = np.array([[1.0, 2.0]], np.float32)
    bench.state.t[1], bench.state.t[2] = Tile(scores), Tile(fresh_state(1))
    with np.errstate(all="ignore"):
        execute(bench.state, Instr("softmax", (1, 1, 2)))
    np.testing.assert_allclose(bench.values(1), [[np.exp(-1), 1]], rtol=1e-6)
