"""GPT-2-type models: LayerNorm before each block, learned positions, GELU.

Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.config import ModelConfig
from workloads.graph import GraphBuilder

if TYPE_CHECKING:
    import networkx


def build_graph(config: ModelConfig) -> networkx.DiGraph[str]:
    """The operators of a GPT-2-type model, in forward order."""
    b = GraphBuilder(config)
    d, ffn, eps = config.d_model, config.ffn, config.norm_eps
    tables = {"table": "embed", "position": "pos_embed"}
    x = b.add("embed", "embed", ["tokens"], ("rows", d), tables, d=d)
    for layer in range(config.layers):
        b.layer = layer
        prefix = f"layer{layer}."
        weights = {"scale": f"{prefix}attn_norm", "bias": f"{prefix}attn_norm.bias"}
        normed = b.add("attn_norm", "layernorm", [x], ("rows", d), weights, d=d, eps=eps)
        x = b.add("attn_add", "add", [x, b.attention(normed, config)], ("rows", d), d=d)
        weights = {"scale": f"{prefix}ffn_norm", "bias": f"{prefix}ffn_norm.bias"}
        normed = b.add("ffn_norm", "layernorm", [x], ("rows", d), weights, d=d, eps=eps)
        up = b.linear("up_proj", normed, f"{prefix}up", ffn, d, config.mlp_bias)
        hidden = b.add("gelu", "gelu", [up], ("rows", ffn), n=ffn, kind=config.activation)
        down = b.linear("down_proj", hidden, f"{prefix}down", d, ffn, config.mlp_bias)
        x = b.add("ffn_add", "add", [x, down], ("rows", d), d=d)
    return b.output(x, "layernorm", config)
