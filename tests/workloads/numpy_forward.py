"""A plain NumPy forward pass, the oracle for what the simulated CPU computes.

Written from the papers, not from the project's graphs or kernels: no cache, no tiles, the whole
sequence at once, float32 throughout. It reads only a weight source's ``config`` and ``get``.

* Llama: Touvron et al. 2023; RMSNorm, Zhang and Sennrich 2019; RoPE, Su et al. 2021; grouped
  queries, Ainslie et al. 2023; SwiGLU, Shazeer 2020.
* GPT-2: Radford et al. 2019; LayerNorm, Ba et al. 2016; GELU, Hendrycks and Gimpel 2016.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Pairs = Literal["interleaved", "half-split"]


def forward(source: Any, ids: Sequence[int], pairs: Pairs = "interleaved") -> F32:
    """Logits ``[len(ids), vocab]`` of every position.

    ``pairs`` says which elements of a head rotary positions turn together: neighbours, as the
    project's weight sources give q and k, or i and i + head_dim / 2, as Hugging Face stores them.
    """
    config = source.config
    normed = rms_norm if config.family == "llama" else layer_norm
    x = source.get("embed")[list(ids)]
    if config.family == "gpt2":
        x = x + source.get("pos_embed")[: len(ids)]
    for layer in range(config.layers):
        h = normed(source, f"layer{layer}.attn_norm", x)
        x = x + self_attention(source, f"layer{layer}.", h, pairs)
        h = normed(source, f"layer{layer}.ffn_norm", x)
        x = x + feed_forward(source, f"layer{layer}.", h)
    x = normed(source, "final_norm", x)
    return x @ source.get("embed" if config.tied else "lm_head").T


def linear(source: Any, name: str, x: F32) -> F32:
    y = x @ source.get(name).T
    return y + source.get(f"{name}.bias") if f"{name}.bias" in source.names() else y


def rms_norm(source: Any, name: str, x: F32) -> F32:
    mean_square = np.mean(x * x, axis=-1, keepdims=True)
    return x / np.sqrt(mean_square + np.float32(source.config.norm_eps)) * source.get(name)


def layer_norm(source: Any, name: str, x: F32) -> F32:
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    scaled = centred / np.sqrt(variance + np.float32(source.config.norm_eps))
    return scaled * source.get(name) + source.get(f"{name}.bias")


def rotate(config: Any, x: F32, pairs: Pairs) -> F32:
    """Turn ``x [tokens, heads, head_dim]`` by each token's position."""
    tokens, width = x.shape[0], x.shape[2]
    frequency = config.rope_base ** (-2.0 * np.arange(width // 2) / width)
    if config.rope_factors is not None:
        frequency = frequency / np.array(config.rope_factors)
    angle = np.arange(tokens)[:, None, None] * frequency
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    if pairs == "interleaved":
        a, b = x[..., 0::2], x[..., 1::2]
        return np.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(x.shape)
    a, b = x[..., : width // 2], x[..., width // 2 :]
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def self_attention(source: Any, prefix: str, x: F32, pairs: Pairs) -> F32:
    config = source.config
    tokens = len(x)
    q = linear(source, f"{prefix}q", x).reshape(tokens, config.heads, config.head_dim)
    k = linear(source, f"{prefix}k", x).reshape(tokens, config.kv_heads, config.head_dim)
    v = linear(source, f"{prefix}v", x).reshape(tokens, config.kv_heads, config.head_dim)
    if config.family == "llama":
        q, k = rotate(config, q, pairs), rotate(config, k, pairs)
    future = np.triu(np.full((tokens, tokens), -np.inf, dtype=np.float32), 1)
    mixed = np.empty_like(q)
    for head in range(config.heads):
        group = head // (config.heads // config.kv_heads)
        scores = q[:, head] @ k[:, group].T / np.float32(math.sqrt(config.head_dim)) + future
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed[:, head] = weights / weights.sum(axis=-1, keepdims=True) @ v[:, group]
    return linear(source, f"{prefix}o", mixed.reshape(tokens, -1))


def feed_forward(source: Any, prefix: str, x: F32) -> F32:
    activation = source.config.activation
    up = linear(source, f"{prefix}up", x)
    if activation == "silu":
        gate = linear(source, f"{prefix}gate", x)
        hidden = gate / (1 + np.exp(-gate)) * up
    elif activation == "gelu.tanh":
        inner = np.float32(math.sqrt(2 / math.pi)) * (up + np.float32(0.044715) * up**3)
        hidden = np.float32(0.5) * up * (1 + np.tanh(inner))
    else:
        erf = np.vectorize(math.erf, otypes=[np.float32])
        hidden = np.float32(0.5) * up * (1 + erf(up / np.float32(math.sqrt(2))))
    return linear(source, f"{prefix}down", hidden)
