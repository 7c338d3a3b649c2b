"""Seeded random weights: a model that runs where none can be fetched.

Each tensor is drawn on demand from a stream of its own, so a model larger than memory can be
walked tensor by tensor, and a tensor does not depend on which others were asked for.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isa.errors import UserError
from workloads.config import ModelConfig

if TYPE_CHECKING:
    from workloads.tokenizer import Tokenizer

# Part of the key: changing how numbers are drawn must not find old cached weights.
SCHEME = "normal-1"


class RandomWeights:
    """Weights drawn from ``seed``: same seed and shape, same numbers on every host.

    Matrices are normal with deviation 1 / sqrt(in), so that every layer adds about as much to the
    residual stream as it finds there and the next token depends on the whole prompt; norm scales
    lie around 1, biases around 0.
    """

    def __init__(self, config: ModelConfig, seed: int = 0, *, byte_tokenizer: bool = False) -> None:
        if seed < 0:
            raise UserError(f"seed {seed} is negative; use 0 or above")
        self.config = config
        self.seed = seed
        self.origin = f"seeded random weights (seed {seed})"
        self._shapes = config.weight_shapes()
        self._byte_tokenizer = byte_tokenizer

    @property
    def key(self) -> str:
        """sha256 over the shape, the seed and the way of drawing."""
        shape = self.config.to_dict()
        del shape["name"]
        text = json.dumps([SCHEME, self.seed, shape], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def names(self) -> tuple[str, ...]:
        return tuple(self._shapes)

    def get(self, name: str) -> NDArray[np.float32]:
        if name not in self._shapes:
            raise UserError(f"model {self.config.name!r} has no weight {name!r}")
        shape = self._shapes[name]
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
        values = rng.standard_normal(shape, dtype=np.float32)
        if len(shape) == 2:
            values *= np.float32(1.0 / np.sqrt(shape[1]))
        elif name.endswith(".bias"):
            values *= np.float32(0.1)
        else:
            values *= np.float32(0.1)
            values += np.float32(1.0)
        return values

    def tokenizer(self) -> Tokenizer | None:
        """One token per byte for the built-in toy models, else None: random weights say nothing."""
        if not self._byte_tokenizer:
            return None
        from workloads.tokenizer import byte_tokenizer

        return byte_tokenizer()
