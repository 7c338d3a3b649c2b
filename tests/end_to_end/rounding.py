"""How far bf16 may move a logit: the forward pass with an error on every number that is stored.

bf16 has eight significant bits, so storing a number changes it by a factor of 1 + d with
|d| <= 2^-8. The forward pass is written out here with a hook wherever the machine stores a number
in its storage type: weights, activations, caches, softmax weights. With the hook drawing each d at
random the logits scatter as much as rounding can make them, whichever way each number is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.workloads.numpy_forward import layer_norm, rms_norm, rotate

F32 = NDArray[np.float32]
Store = Callable[[F32], F32]

LARGEST_ERROR = 2.0**-8
DRAWS = 8


def bf16_errors(weights: Any, ids: Sequence[int]) -> float:
    """The standard deviation of a logit after `ids` when everything is stored as bf16.

    A deviation is the sum of many small independent ones, so nearly normal: one of five times
    the standard deviation comes up once in two million logits.
    """
    exact = stored_forward(weights, ids, lambda x: x)
    rng = np.random.default_rng(5)

    def disturb(x: F32) -> F32:
        errors = rng.uniform(-LARGEST_ERROR, LARGEST_ERROR, x.shape)
        return (x * (1.0 + errors)).astype(np.float32)

    moved = [stored_forward(weights, ids, disturb) - exact for _ in range(DRAWS)]
    return float(np.sqrt(np.mean(np.square(moved))))


def stored_forward(weights: Any, ids: Sequence[int], store: Store) -> F32:
    """Logits after `ids` [vocab]; q and k of `weights` are half-split."""
    config = weights.config
    norm = rms_norm if config.family == "llama" else layer_norm
    x = store(weights.get("embed"))[list(ids)]
    if config.family == "gpt2":
        x = store(x + store(weights.get("pos_embed"))[: len(ids)])
    for layer in range(config.layers):
        prefix = f"layer{layer}."
        h = store(norm(weights, f"{prefix}attn_norm", x))
        x = store(x + _linear(weights, f"{prefix}o", _attention(weights, prefix, h, store), store))
        h = store(norm(weights, f"{prefix}ffn_norm", x))
        x = store(x + _linear(weights, f"{prefix}down", _hidden(weights, prefix, h, store), store))
    last = store(norm(weights, "final_norm", x[-1:]))
    logits: F32 = last @ store(weights.get("embed" if config.tied else "lm_head")).T
    return logits[0]


def _linear(weights: Any, name: str, x: F32, store: Store) -> F32:
    y = x @ store(weights.get(name)).T
    return y + weights.get(f"{name}.bias") if f"{name}.bias" in weights.names() else y


def _attention(weights: Any, prefix: str, x: F32, store: Store) -> F32:
    config = weights.config
    q, k, v = (
        store(_linear(weights, f"{prefix}{name}", x, store)).reshape(len(x), -1, config.head_dim)
        for name in "qkv"
    )
    if config.family == "llama":
        q, k = (store(rotate(config, y, "half-split")) for y in (q, k))
    group = config.heads // config.kv_heads
    k, v = (np.repeat(y, group, axis=1) for y in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) / np.float32(math.sqrt(config.head_dim))
    scores += np.triu(np.full((len(x), len(x)), -np.inf, dtype=np.float32), 1)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = np.einsum("hqk,khd->qhd", store(shares), v)
    return store((mixed / shares.sum(axis=-1).T[..., None]).reshape(len(x), -1))


def _hidden(weights: Any, prefix: str, x: F32, store: Store) -> F32:
    up = _linear(weights, f"{prefix}up", x, store)
    activation = weights.config.activation
    if activation == "silu":
        gate = store(_linear(weights, f"{prefix}gate", x, store))
        return store(gate / (1 + np.exp(-gate)) * store(up))
    if activation == "gelu.tanh":
        inner = math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)
        return store((0.5 * up * (1 + np.tanh(inner))).astype(np.float32))
    erf = np.vectorize(math.erf, otypes=[np.float32])
    return store(np.float32(0.5) * up * (1 + erf(up / np.float32(math.sqrt(2)))))
