"""Small models and a loop that runs them on the interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa import Target
from isa.interpreter import Interpreter
from workloads.config import ModelConfig
from workloads.lowering import Lowered, lower
from workloads.weights.random import RandomWeights

# Ten query heads share two key/value heads of six; no width is a multiple of four.
LLAMA = ModelConfig(
    name="odd-llama", family="llama", layers=2, d_model=45, heads=10, kv_heads=2, head_dim=6,
    ffn=70, vocab=131, context=64, norm_eps=1e-5, tied=False, activation="silu",
    rope_base=10000.0, rope_factors=(1.0, 2.0, 4.0), qkv_bias=True,
)  # fmt: skip
GPT2 = ModelConfig(
    name="odd-gpt2", family="gpt2", layers=2, d_model=33, heads=3, kv_heads=3, head_dim=11,
    ffn=130, vocab=97, context=64, norm_eps=1e-5, tied=True, activation="gelu.tanh",
    qkv_bias=True, o_bias=True, mlp_bias=True,
)  # fmt: skip
WIDE_HEADS = ModelConfig(
    name="wide-heads", family="llama", layers=1, d_model=40, heads=3, kv_heads=1, head_dim=128,
    ffn=50, vocab=67, context=64, norm_eps=1e-5, tied=True, activation="silu", rope_base=10000.0,
)  # fmt: skip


def prompt(config: ModelConfig, length: int, seed: int = 1) -> list[int]:
    """Seeded token ids."""
    return [int(i) for i in np.random.default_rng(seed).integers(0, config.vocab, length)]


class Session:
    """A lowered model on the interpreter, decoding greedily with the machine's own arg-max."""

    def __init__(self, config: ModelConfig, target: Target, batch: int = 1, **options: Any) -> None:
        self.source = RandomWeights(config, seed=3)
        self.lowered: Lowered = lower(self.source, target, batch=batch, **options)
        self.mem = self.lowered.memory.allocate()
        self.control = self.lowered.memory.allocate_control()
        self.lowered.write_weights(self.mem)
        self.interpreter = Interpreter(
            self.lowered.programs[0], self.lowered.memory, self.mem, self.control, target
        )

    def prefill(
        self, sequences: Sequence[list[int]], starts: list[int] | None = None
    ) -> NDArray[np.float32]:
        """Logits after a prefill."""
        self.lowered.begin_prefill(self.control, sequences, starts)
        self.interpreter.run("prefill")
        return self.lowered.logits(self.mem)

    def decode(self, tokens: list[int] | None = None) -> NDArray[np.float32]:
        """Logits after one more token per sequence; by default the last step's arg-max."""
        chosen = self.lowered.next_tokens(self.mem) if tokens is None else tokens
        self.lowered.begin_decode(self.control, self.mem, chosen)
        self.interpreter.run("decode")
        return self.lowered.logits(self.mem)
