"""Random models as Hugging Face folders, with the weights as the oracle wants them.

A model is written the way its makers write it (q and k in half-split order, Conv1D transposed),
so a test that runs the folder and asks the NumPy oracle about the numbers before they were
written goes through the reader, the lowering, the kernels and the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.workloads.numpy_forward import forward
from tests.workloads.synthetic import Weights, hf_gpt2, hf_llama, random_weights, write_folder
from workloads.config import ModelConfig

F32 = NDArray[np.float32]

# Nine query heads share three key/value heads of ten, which is no multiple of four.
LLAMA = ModelConfig(
    name="nine-heads", family="llama", layers=2, d_model=47, heads=9, kv_heads=3, head_dim=10,
    ffn=77, vocab=131, context=64, norm_eps=1e-5, tied=False, activation="silu", rope_base=10000.0,
)  # fmt: skip
# Seven query heads share one key/value head wider than one tile and narrower than two.
LLAMA_ONE_KV = replace(
    LLAMA, name="one-kv-head", layers=1, d_model=50, heads=7, kv_heads=1, head_dim=22,
    ffn=133, vocab=203, tied=True, qkv_bias=True, o_bias=True, rope_base=100000.0,
)  # fmt: skip
GPT2 = ModelConfig(
    name="tied", family="gpt2", layers=2, d_model=39, heads=3, kv_heads=3, head_dim=13,
    ffn=156, vocab=131, context=64, norm_eps=1e-5, tied=True, activation="gelu.tanh",
    qkv_bias=True, o_bias=True, mlp_bias=True,
)  # fmt: skip
GPT2_UNTIED = replace(
    GPT2, name="untied", layers=1, d_model=55, heads=5, kv_heads=5, head_dim=11, ffn=101,
    vocab=203, tied=False, activation="gelu.erf",
)  # fmt: skip
# 12 MB of weights in f32, for timing by hand.
LARGE = replace(
    LLAMA, name="large", layers=1, d_model=512, heads=8, kv_heads=2, head_dim=64,
    ffn=1536, vocab=1024, context=256, tied=True,
)  # fmt: skip
# Attention alone matters: three query heads share a key/value head.
HEADS = replace(
    LLAMA, name="heads", layers=1, d_model=48, heads=3, kv_heads=1, head_dim=16,
    ffn=64, vocab=64, context=2048, tied=True,
)  # fmt: skip
SMALL = [LLAMA, LLAMA_ONE_KV, GPT2, GPT2_UNTIED]


@dataclass(frozen=True)
class Model:
    """A folder, and the weights it was written from."""

    folder: Path
    weights: Weights

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""
        return self.weights.config

    def logits(self, ids: Sequence[int]) -> F32:
        """What the oracle says after `ids` [vocab]."""
        return forward(self.weights, ids, pairs="half-split")[-1]


def write_model(parent: Path, config: ModelConfig) -> Model:
    """Write a model of that shape with seeded random weights into a folder of its name."""
    weights = random_weights(config)
    if config.family == "llama":
        described, tensors = hf_llama(weights)
    else:
        described, tensors = hf_gpt2(weights, "transformer.")
        described["n_inner"] = config.ffn
        described["tie_word_embeddings"] = config.tied
        if config.activation == "gelu.erf":
            described["activation_function"] = "gelu"
        if not config.tied:
            tensors["lm_head.weight"] = weights["lm_head"]
    return Model(write_folder(parent / config.name, described, tensors), weights)


def token_ids(config: ModelConfig, length: int, seed: int = 1) -> list[int]:
    """Seeded token ids."""
    return np.random.default_rng(seed).integers(0, config.vocab, length).tolist()
