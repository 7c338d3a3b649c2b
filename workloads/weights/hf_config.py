"""A Hugging Face ``config.json`` as a model's shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from isa.errors import UserError
from workloads.config import ModelConfig
from workloads.rope import rope_factors

GELU = {
    "gelu_new": "gelu.tanh",
    "gelu_fast": "gelu.tanh",
    "gelu_pytorch_tanh": "gelu.tanh",
    "gelu": "gelu.erf",
}


def config_from_hf(values: dict[str, Any], name: str, where: Path) -> ModelConfig:
    """The shape that ``values``, read from ``where``, describe.

    Raises:
        UserError: an unknown architecture, a missing key, or a variant that is not supported.
    """
    architecture = _architecture(values)
    if architecture not in ARCHITECTURES:
        raise UserError(
            f"{where}: unknown architecture {architecture!r}; known: {', '.join(ARCHITECTURES)}"
        )
    if values.get("quantization_config"):
        raise UserError(f"{where}: quantized weights are not supported; use the f16 or bf16 model")
    try:
        return ModelConfig(name=name, **ARCHITECTURES[architecture](values, where))
    except KeyError as missing:
        raise UserError(f"{where}: the key {missing} is missing, so the shape is unknown") from None
    except (TypeError, ValueError, AttributeError, ZeroDivisionError, OverflowError) as error:
        raise UserError(f"{where}: a value is of the wrong kind: {error}") from error


def _architecture(values: dict[str, Any]) -> str:
    listed = values.get("architectures") or []
    if listed:
        return str(listed[0] if isinstance(listed, list) else listed)
    by_type = {"llama": "LlamaForCausalLM", "gpt2": "GPT2LMHeadModel"}
    model_type = str(values.get("model_type", "none given"))
    return by_type.get(model_type, model_type)


def _llama(values: dict[str, Any], where: Path) -> dict[str, Any]:
    heads = values["num_attention_heads"]
    head_dim = values.get("head_dim") or values["hidden_size"] // heads
    # Newer files keep the base and the scaling in one table.
    rope = values.get("rope_parameters") or {}
    base = float(values.get("rope_theta") or rope.get("rope_theta") or 10000.0)
    bias = bool(values.get("attention_bias", False))
    return {
        "family": "llama",
        "layers": values["num_hidden_layers"],
        "d_model": values["hidden_size"],
        "heads": heads,
        "kv_heads": values.get("num_key_value_heads") or heads,
        "head_dim": head_dim,
        "ffn": values["intermediate_size"],
        "vocab": values["vocab_size"],
        "context": values.get("max_position_embeddings", 2048),
        "norm_eps": values.get("rms_norm_eps", 1e-6),
        "tied": bool(values.get("tie_word_embeddings", False)),
        "activation": values.get("hidden_act", "silu"),
        "rope_base": base,
        "rope_factors": rope_factors(
            values.get("rope_scaling") or rope, base, head_dim, str(where)
        ),
        "qkv_bias": bias,
        "o_bias": bias,
        "mlp_bias": bool(values.get("mlp_bias", False)),
    }


def _gpt2(values: dict[str, Any], where: Path) -> dict[str, Any]:
    expected = {
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    }
    for key, value in expected.items():
        if values.get(key, value) != value:
            raise UserError(f"{where}: {key} = {values[key]!r} is not supported, only {value!r}")
    activation = values.get("activation_function", "gelu_new")
    d_model, heads = values["n_embd"], values["n_head"]
    return {
        "family": "gpt2",
        "layers": values["n_layer"],
        "d_model": d_model,
        "heads": heads,
        "kv_heads": heads,
        "head_dim": d_model // heads,
        "ffn": values.get("n_inner") or 4 * d_model,
        "vocab": values["vocab_size"],
        "context": values.get("n_positions", 1024),
        "norm_eps": values.get("layer_norm_epsilon", 1e-5),
        "tied": bool(values.get("tie_word_embeddings", True)),
        "activation": GELU.get(activation, activation),
        "qkv_bias": True,
        "o_bias": True,
        "mlp_bias": True,
    }


ARCHITECTURES: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "LlamaForCausalLM": _llama,
    "GPT2LMHeadModel": _gpt2,
}
