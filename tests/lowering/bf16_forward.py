"""The NumPy oracle with every stored number rounded to bf16: weights, activations, caches.

Sums, norms, softmax and the like stay in f32 or better, as in the machine; what is rounded is what
the lowering stores. Norm scales and biases are f32 there, so they are here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.lowering.bench import to_bf16
from tests.workloads.numpy_forward import layer_norm, rms_norm, rotate

F32 = NDArray[np.float32]


def forward(source: Any, ids: Sequence[int]) -> tuple[F32, F32]:
    """Logits of the last position [vocab], and for each the sum of |hidden * weight|."""
    config = source.config
    norm = rms_norm if config.family == "llama" else layer_norm
    x = to_bf16(source.get("embed"))[list(ids)]
    if config.family == "gpt2":
        x = to_bf16(x + to_bf16(source.get("pos_embed"))[: len(ids)])
    for layer in range(config.layers):
        prefix = f"layer{layer}."
        h = to_bf16(norm(source, f"{prefix}attn_norm", x))
        x = to_bf16(x + linear(source, f"{prefix}o", attention(source, prefix, h)))
        h = to_bf16(norm(source, f"{prefix}ffn_norm", x))
        x = to_bf16(x + linear(source, f"{prefix}down", hidden(source, prefix, h)))
    last = to_bf16(norm(source, "final_norm", x[-1:]))[0]
    weight = to_bf16(source.get("embed" if config.tied else "lm_head"))
    return weight @ last, np.abs(weight) @ np.abs(last)


def linear(source: Any, name: str, x: F32) -> F32:
    y = x @ to_bf16(source.get(name)).T
    return y + source.get(f"{name}.bias") if f"{name}.bias" in source.names() else y


def attention(source: Any, prefix: str, x: F32) -> F32:
    config = source.config
    q, k, v = (
        to_bf16(linear(source, f"{prefix}{name}", x)).reshape(len(x), -1, config.head_dim)
        for name in "qkv"
    )
    if config.family == "llama":
        q, k = (to_bf16(rotate(config, y, "interleaved")) for y in (q, k))
    out = np.empty_like(q)
    for row in range(len(x)):
        for head in range(config.heads):
            group = head // (config.heads // config.kv_heads)
            scores = k[: row + 1, group] @ q[row, head] / math.sqrt(config.head_dim)
            weights = np.exp(scores - scores.max())
            out[row, head] = to_bf16(weights) @ v[: row + 1, group] / weights.sum()
    return to_bf16(out.reshape(len(x), -1))


def hidden(source: Any, prefix: str, x: F32) -> F32:
    up = linear(source, f"{prefix}up", x)
    if source.config.activation == "silu":
        gate = to_bf16(linear(source, f"{prefix}gate", x))
        return to_bf16(gate / (1 + np.exp(-gate)) * to_bf16(up))
    inner = math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)
    return to_bf16(0.5 * up * (1 + np.tanh(inner)))
