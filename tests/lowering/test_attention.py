"""The caches and both kinds of attention."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isa import Target
from tests.lowering.bench import F32, Bench, bits, stored, values
from workloads.kernels.attention_naive import NaiveAttention
from workloads.kernels.attention_online import OnlineAttention
from workloads.kernels.attention_units import AttentionShape
from workloads.kernels.kv_append import CacheShape, KvAppend

CONTEXT = 45


def put(bench: Bench, cache: F32, slot: int, position: int, heads: F32) -> None:
    """Put [heads, head_dim], padded by zeros to whole blocks, at a position of a cache.

    The cache is [slot][head][position block][column block][position][column].
    """
    n, (blocks, _, k) = bench.tiling.n_cols, cache.shape[3:]
    columns = np.pad(heads, [(0, 0), (0, blocks * k - heads.shape[1])])
    cache[slot, :, position // n, :, position % n, :] = columns.reshape(len(heads), blocks, k)


def empty_cache(bench: Bench, slots: int, cache: CacheShape) -> F32:
    t = bench.tiling
    shape = (slots, cache.kv_heads, cache.position_blocks, cache.head_cols // t.k_cols)
    return np.full((*shape, t.n_cols, t.k_cols), np.nan, dtype=np.float32)


def padded(bench: Bench, x: F32) -> F32:
    """[rows, heads, head_dim] with every head padded by zeros to whole blocks, flattened."""
    width = bench.tiling.whole_blocks(x.shape[2])
    return np.pad(x, [(0, 0), (0, 0), (0, width - x.shape[2])]).reshape(len(x), -1)


def cache_shape(bench: Bench, kv_heads: int, head_dim: int) -> CacheShape:
    blocks = -(-CONTEXT // bench.tiling.n_cols)
    return CacheShape(kv_heads, bench.tiling.whole_blocks(head_dim), blocks)


@pytest.mark.parametrize(
    ("lengths", "starts", "step"),
    [((1,), (5,), True), ((17, 1, 20), (0, 0, 0), False), ((18, 2), (7, 30), False),
     ((1,) * 5, (0, 3, 44, 15, 16), True)],
)  # fmt: skip
def test_kv_append_writes_rows_at_their_positions(
    target: Target,
    dtype: str,
    rng: np.random.Generator,
    lengths: tuple[int, ...],
    starts: tuple[int, ...],
    step: bool,
) -> None:
    bench = Bench(target, dtype, lengths, starts, step=step)
    cache = cache_shape(bench, 3, 20)
    new = [stored(rng.standard_normal((len(bench.rows), 3, 20)), dtype) for _ in range(2)]
    addresses = {}
    for name, x in zip(("keys", "values"), new, strict=True):
        addresses[name] = bench.activation(name, padded(bench, x))
    for name in ("key_cache", "value_cache"):
        empty = bits(empty_cache(bench, len(lengths), cache), dtype)
        addresses[name] = bench.raw(name, empty, dtype)
    bench.run(KvAppend(bench.space, cache), **addresses)
    for name, x in zip(("key_cache", "value_cache"), new, strict=True):
        got = values(bench.elements(name))
        want = empty_cache(bench, len(lengths), cache)
        row = 0
        for slot, (length, start) in enumerate(zip(lengths, starts, strict=True)):
            for position in range(start, start + length):
                put(bench, want, slot, position, x[row])
                row += 1
        np.testing.assert_array_equal(got, want)


def run_attention(
    bench: Bench,
    lengths: tuple[int, ...],
    starts: tuple[int, ...],
    q: F32,
    k: F32,
    v: F32,
    kind: type[OnlineAttention] | type[NaiveAttention],
) -> F32:
    """q [rows, heads, head_dim], k and v [slots, positions, kv_heads, head_dim] -> like q."""
    heads, head_dim = q.shape[1:]
    cache = cache_shape(bench, k.shape[2], head_dim)
    addresses = {"query": bench.activation("q", padded(bench, q))}
    for name, x in (("keys", k), ("values", v)):
        filled = empty_cache(bench, len(lengths), cache)
        for slot, (length, start) in enumerate(zip(lengths, starts, strict=True)):
            for position in range(start + length):
                put(bench, filled, slot, position, x[slot, position])
        addresses[name] = bench.raw(name, bits(filled, bench.dtype), bench.dtype)
    addresses["result"] = bench.empty("o", heads * cache.head_cols)
    bench.run(kind(AttentionShape(bench.space, heads, head_dim, cache)), **addresses)
    result = bench.result("o").reshape(len(q), heads, -1)
    assert not result[:, :, head_dim:].any()
    return result[:, :, :head_dim]


def reference(lengths: tuple[int, ...], starts: tuple[int, ...], q: F32, k: F32, v: F32) -> F32:
    """The formula, in float64."""
    group = q.shape[1] // k.shape[2]
    out = np.empty(q.shape, dtype=np.float64)
    row = 0
    for slot, (length, start) in enumerate(zip(lengths, starts, strict=True)):
        for position in range(start, start + length):
            for head in range(q.shape[1]):
                keys = k[slot, : position + 1, head // group].astype(np.float64)
                scores = keys @ q[row, head] / math.sqrt(q.shape[2])
                weights = np.exp(scores - scores.max())
                out[row, head] = weights / weights.sum() @ v[slot, : position + 1, head // group]
            row += 1
    return out.astype(np.float32)


CASES = {
    "decode": ((1,), (37,), True),
    "decode-first": ((1,), (0,), True),
    "decode-batch": ((1,) * 5, (0, 3, 44, 15, 16), True),
    "prompt": ((17,), (0,), False),
    "prompt-ragged": ((18, 1, 5), (7, 0, 0), False),
}
HEADS = {"alone": (2, 2, 4), "grouped": (9, 3, 20), "wide": (2, 1, 128), "many": (18, 1, 8)}


@pytest.mark.parametrize(
    ("case", "heads"),
    [  # every other one is slow
        pytest.param(case, heads, marks=[pytest.mark.slow] * ((i + j) % 2))
        for i, case in enumerate(CASES)
        for j, heads in enumerate(HEADS)
    ],
)
@pytest.mark.parametrize("kind", [OnlineAttention, NaiveAttention])
def test_attention(
    target: Target,
    dtype: str,
    rng: np.random.Generator,
    kind: type[OnlineAttention] | type[NaiveAttention],
    case: str,
    heads: str,
) -> None:
    if heads == "wide" and target.row_bytes == 16 and case != "decode":
        pytest.skip("the same path as decode, and slow on the interpreter")
    lengths, starts, step = CASES[case]
    query_heads, kv_heads, head_dim = HEADS[heads]
    bench = Bench(target, dtype, lengths, starts, step=step)
    q = stored(rng.standard_normal((len(bench.rows), query_heads, head_dim)), dtype)
    cached = (len(lengths), CONTEXT, kv_heads, head_dim)
    k, v = (stored(rng.standard_normal(cached), dtype) for _ in range(2))
    got = run_attention(bench, lengths, starts, q, k, v, kind)
    want = reference(lengths, starts, q, k, v)
    # bf16: the weights of a row are rounded by at most 2^-9 each, so the weighted sum is off by
    # at most 2^-9 times the largest value; then the result itself is rounded.
    tolerance = 2**-9 * float(np.abs(v).max()) if dtype == "bf16" else 2e-6
    np.testing.assert_allclose(got, want, atol=tolerance, rtol=2**-8 if dtype == "bf16" else 2e-6)
