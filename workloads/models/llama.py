"""Llama-type models: RMSNorm, rotary positions, grouped-query attention, SwiGLU.

Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", 2023, section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.config import ModelConfig
from workloads.graph import GraphBuilder

if TYPE_CHECKING:
    import networkx


def build_graph(config: ModelConfig) -> networkx.DiGraph[str]:
    """The operators of a Llama-type model, in forward order."""
    b = GraphBuilder(config)
    d, ffn, eps = config.d_model, config.ffn, config.norm_eps
    x = b.add("embed", "embed", ["tokens"], ("rows", d), {"table": "embed"}, d=d)
    for layer in range(config.layers):
        b.layer = layer
        prefix = f"layer{layer}."
        normed = b.add(
            "attn_norm", "rmsnorm", [x], ("rows", d), {"scale": f"{prefix}attn_norm"}, d=d, eps=eps
        )
        x = b.add("attn_add", "add", [x, b.attention(normed, config)], ("rows", d), d=d)
        normed = b.add(
            "ffn_norm", "rmsnorm", [x], ("rows", d), {"scale": f"{prefix}ffn_norm"}, d=d, eps=eps
        )
        gate = b.linear("gate_proj", normed, f"{prefix}gate", ffn, d, config.mlp_bias)
        up = b.linear("up_proj", normed, f"{prefix}up", ffn, d, config.mlp_bias)
        hidden = b.add("silu_mul", "silu_mul", [gate, up], ("rows", ffn), n=ffn)
        down = b.linear("down_proj", hidden, f"{prefix}down", d, ffn, config.mlp_bias)
        x = b.add("ffn_add", "add", [x, down], ("rows", d), d=d)
    return b.output(x, "rmsnorm", config)
