"""The interface of everything that has weights to give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from workloads.config import ModelConfig

if TYPE_CHECKING:
    from workloads.tokenizer import Tokenizer


@runtime_checkable
class WeightSource(Protocol):
    """A model's shape, its weights under canonical names, and its tokenizer.

    Canonical names and shapes are those of :meth:`ModelConfig.weight_shapes`. Whatever the file
    holds, linear weights come out as ``[out, in]`` and the rows of q and k in the order that
    rotary positions turn as neighbouring pairs (2i, 2i + 1) of each head.
    """

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""
        ...

    @property
    def origin(self) -> str:
        """Where the numbers come from, as a phrase to show the user."""
        ...

    @property
    def key(self) -> str | None:
        """Identity of the weights, equal exactly when they are; None where there is none.

        Caches of converted or packed weights are filed under it.
        """
        ...

    def names(self) -> tuple[str, ...]:
        """All canonical weight names of the model."""
        ...

    def get(self, name: str) -> NDArray[np.float32]:
        """One weight as float32; possibly a read-only view of a file.

        Raises:
            UserError: the weights at hand lack it or have it in another shape.
        """
        ...

    def tokenizer(self) -> Tokenizer | None:
        """The model's tokenizer, or None where only token ids can be used."""
        ...
