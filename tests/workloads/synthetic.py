"""Small models written as files, the way Hugging Face and llama.cpp write them.

The file names and permutations here are typed in from those projects' own converters, so that a
test which reads such a file back compares two independent descriptions of the format.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.config import ModelConfig
from workloads.weights.random import RandomWeights

F32 = NDArray[np.float32]

LLAMA = ModelConfig(
    name="small-llama", family="llama", layers=2, d_model=20, heads=6, kv_heads=2, head_dim=8,
    ffn=28, vocab=261, context=64, norm_eps=1e-5, tied=False, activation="silu", rope_base=10000.0,
)  # fmt: skip
GPT2 = ModelConfig(
    name="small-gpt2", family="gpt2", layers=2, d_model=24, heads=3, kv_heads=3, head_dim=8,
    ffn=96, vocab=261, context=64, norm_eps=1e-5, tied=True, activation="gelu.tanh",
    qkv_bias=True, o_bias=True, mlp_bias=True,
)  # fmt: skip


class Weights(dict[str, F32]):
    """Named weights with the two things the oracle asks a source for."""

    def __init__(self, config: ModelConfig, values: dict[str, F32]) -> None:
        super().__init__(values)
        self.config = config

    def names(self) -> tuple[str, ...]:
        return tuple(self)

    def get(self, name: str) -> F32:  # type: ignore[override]
        return self[name]


def random_weights(config: ModelConfig, seed: int = 7) -> Weights:
    source = RandomWeights(config, seed)
    return Weights(config, {name: source.get(name) for name in source.names()})


def llama_with(**changes: Any) -> ModelConfig:
    return replace(LLAMA, **changes)


def hf_llama(weights: Weights) -> tuple[dict[str, Any], dict[str, F32]]:
    """``config.json`` and tensors of a LlamaForCausalLM; q and k rows stay as they are."""
    config = weights.config
    described = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "num_hidden_layers": config.layers, "hidden_size": config.d_model,
        "num_attention_heads": config.heads, "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim, "intermediate_size": config.ffn,
        "vocab_size": config.vocab, "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps, "rope_theta": config.rope_base,
        "tie_word_embeddings": config.tied, "hidden_act": "silu",
        "attention_bias": config.qkv_bias,
    }  # fmt: skip
    tensors = {
        "model.embed_tokens.weight": weights["embed"],
        "model.norm.weight": weights["final_norm"],
    }
    if not config.tied:
        tensors["lm_head.weight"] = weights["lm_head"]
    for i in range(config.layers):
        into, out = f"model.layers.{i}.", f"layer{i}."
        tensors[f"{into}input_layernorm.weight"] = weights[f"{out}attn_norm"]
        tensors[f"{into}post_attention_layernorm.weight"] = weights[f"{out}ffn_norm"]
        for part in "qkvo":
            tensors[f"{into}self_attn.{part}_proj.weight"] = weights[f"{out}{part}"]
            if config.qkv_bias:
                tensors[f"{into}self_attn.{part}_proj.bias"] = weights[f"{out}{part}.bias"]
        for part in ("gate", "up", "down"):
            tensors[f"{into}mlp.{part}_proj.weight"] = weights[f"{out}{part}"]
    return described, tensors


def hf_gpt2(weights: Weights, prefix: str) -> tuple[dict[str, Any], dict[str, F32]]:
    """``config.json`` and tensors of a GPT2LMHeadModel: Conv1D weights lie as [in, out]."""
    config = weights.config
    described = {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2",
        "n_layer": config.layers, "n_embd": config.d_model, "n_head": config.heads,
        "n_positions": config.context, "vocab_size": config.vocab,
        "layer_norm_epsilon": config.norm_eps, "activation_function": "gelu_new",
    }  # fmt: skip
    tensors = {
        f"{prefix}wte.weight": weights["embed"],
        f"{prefix}wpe.weight": weights["pos_embed"],
        f"{prefix}ln_f.weight": weights["final_norm"],
        f"{prefix}ln_f.bias": weights["final_norm.bias"],
    }
    for i in range(config.layers):
        into, out = f"{prefix}h.{i}.", f"layer{i}."
        qkv = [weights[f"{out}{part}"].T for part in "qkv"]
        tensors[f"{into}attn.c_attn.weight"] = np.concatenate(qkv, axis=1)
        biases = [weights[f"{out}{part}.bias"] for part in "qkv"]
        tensors[f"{into}attn.c_attn.bias"] = np.concatenate(biases)
        for theirs, ours in (("attn.c_proj", "o"), ("mlp.c_fc", "up"), ("mlp.c_proj", "down")):
            tensors[f"{into}{theirs}.weight"] = weights[f"{out}{ours}"].T
            tensors[f"{into}{theirs}.bias"] = weights[f"{out}{ours}.bias"]
        for theirs, ours in (("ln_1", "attn_norm"), ("ln_2", "ffn_norm")):
            tensors[f"{into}{theirs}.weight"] = weights[f"{out}{ours}"]
            tensors[f"{into}{theirs}.bias"] = weights[f"{out}{ours}.bias"]
    return described, tensors


def write_folder(
    folder: Path, described: dict[str, Any], tensors: dict[str, Any], shards: int = 1
) -> Path:
    """A model folder, its tensors dealt out over ``shards`` files."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(described))
    # The library writes the memory of an array as it lies, whatever its order.
    tensors = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder
    weight_map = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {key: tensors[key] for key in sorted(tensors)[shard::shards]}
        save_file(part, folder / name)
        weight_map.update(dict.fromkeys(part, name))
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def gguf_tensors(weights: Weights) -> dict[str, F32]:
    """The tensors of a GGUF file of that model; q and k rows stay as they are."""
    config = weights.config
    tensors = {"token_embd.weight": weights["embed"], "output_norm.weight": weights["final_norm"]}
    parts = {"o": "attn_output", "up": "ffn_up", "down": "ffn_down"}
    norms = {"attn_norm": "attn_norm", "ffn_norm": "ffn_norm"}
    if config.family == "llama":
        parts |= {"q": "attn_q", "k": "attn_k", "v": "attn_v", "gate": "ffn_gate"}
    else:
        tensors["position_embd.weight"] = weights["pos_embed"]
        tensors["output_norm.bias"] = weights["final_norm.bias"]
    if not config.tied:
        tensors["output.weight"] = weights["lm_head"]
    for i in range(config.layers):
        for ours, theirs in {**parts, **norms}.items():
            for kind in ("", ".bias"):
                if f"layer{i}.{ours}{kind}" in weights:
                    name = f"blk.{i}.{theirs}{kind or '.weight'}"
                    tensors[name] = weights[f"layer{i}.{ours}{kind}"]
        if config.family == "gpt2":
            for kind in ("", ".bias"):
                fused = [weights[f"layer{i}.{part}{kind}"] for part in "qkv"]
                tensors[f"blk.{i}.attn_qkv{kind or '.weight'}"] = np.concatenate(fused)
    return tensors


def write_gguf(
    path: Path,
    config: ModelConfig,
    tensors: dict[str, F32],
    *,
    architecture: str | None = None,
    tokens: list[str] | None = None,
    merges: tuple[str, ...] = (),
) -> Path:
    """A GGUF file with float32 tensors and, given ``tokens``, a byte-level BPE tokenizer."""
    import gguf

    writer = gguf.GGUFWriter(path, architecture or config.family)
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.d_model)
    writer.add_feed_forward_length(config.ffn)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    if config.family == "llama":
        writer.add_layer_norm_rms_eps(config.norm_eps)
        writer.add_rope_freq_base(config.rope_base or 0.0)
    else:
        writer.add_layer_norm_eps(config.norm_eps)
    if tokens is not None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens)
        special = [gguf.TokenType.CONTROL if t.startswith("<|") else gguf.TokenType.NORMAL
                   for t in tokens]  # fmt: skip
        writer.add_token_types(special)
        writer.add_token_merges(list(merges))
        writer.add_eos_token_id(tokens.index("<|end|>"))
        writer.add_bos_token_id(tokens.index("<|begin|>"))
        writer.add_add_bos_token(True)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
