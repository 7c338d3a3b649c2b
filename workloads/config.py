"""The shape of a model: everything about it except the numbers in its weights."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isa.errors import InternalError, UserError

Family = Literal["llama", "gpt2"]
Activation = Literal["silu", "gelu.tanh", "gelu.erf"]

FAMILIES: tuple[str, ...] = ("llama", "gpt2")
MOST_LAYERS = 10_000
MOST = 2**31  # of any other length; far above every model, so that nothing loops for ever
ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "llama": ("silu",),
    "gpt2": ("gelu.tanh", "gelu.erf"),
}


@dataclass(frozen=True)
class ModelConfig:
    """Shape of one decoder-only transformer.

    ``llama``: RMSNorm, rotary positions, grouped-query attention, SwiGLU (Touvron et al. 2023).
    ``gpt2``: LayerNorm, learned positions, GELU (Radford et al. 2019).

    Attributes:
        d_model: width of the residual stream, in elements.
        heads, kv_heads: query heads and key/value heads; ``heads`` is a multiple of ``kv_heads``.
        head_dim: elements per head; ``heads * head_dim`` need not equal ``d_model``.
        ffn: width of the feed-forward layer, in elements.
        context: the longest sequence the model was made for, in tokens.
        norm_eps: added to the variance (or mean square) before the square root.
        tied: the output projection is the token embedding.
        activation: the feed-forward non-linearity.
        rope_base: base of the rotary frequencies; None where positions are learned.
        rope_factors: one divisor per rotary pair (``head_dim / 2`` of them), None for no scaling.
            This is how both Hugging Face's ``rope_scaling`` and GGUF's ``rope_freqs`` end up.
        qkv_bias, o_bias, mlp_bias: whether the linear layers named carry a bias.

    Raises:
        UserError: a shape that cannot exist, naming the field.
    """

    name: str
    family: Family
    layers: int
    d_model: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int
    norm_eps: float
    tied: bool
    activation: Activation
    rope_base: float | None = None
    rope_factors: tuple[float, ...] | None = None
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise UserError(
                f"model {self.name!r}: unknown family {self.family!r}; "
                f"this simulator knows {', '.join(FAMILIES)}"
            )
        for field in (
            "layers",
            "d_model",
            "heads",
            "kv_heads",
            "head_dim",
            "ffn",
            "vocab",
            "context",
        ):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise UserError(
                    f"model {self.name!r}: {field} = {value!r}, but it must be a positive integer"
                )
            most = MOST_LAYERS if field == "layers" else MOST
            if value > most:
                raise UserError(f"model {self.name!r}: {field} = {value}, but {most} is the most")
        if self.heads % self.kv_heads:
            raise UserError(
                f"model {self.name!r}: {self.heads} query heads cannot share {self.kv_heads} "
                "key/value heads evenly; heads must be a multiple of kv_heads"
            )
        if not (isinstance(self.norm_eps, int | float) and 0 < self.norm_eps < math.inf):
            raise UserError(f"model {self.name!r}: norm_eps = {self.norm_eps!r} must be above 0")
        if self.activation not in ACTIVATIONS[self.family]:
            raise UserError(
                f"model {self.name!r}: activation {self.activation!r} is not supported for "
                f"{self.family} models; known: {', '.join(ACTIVATIONS[self.family])}"
            )
        self._check_rope()

    def _check_rope(self) -> None:
        if self.family == "gpt2":
            if self.rope_base is not None or self.rope_factors is not None:
                raise UserError(f"model {self.name!r}: gpt2 models have no rotary positions")
            return
        if self.rope_base is None or not 0 < self.rope_base < math.inf:
            raise UserError(
                f"model {self.name!r}: a llama model needs rope_base above 0, "
                f"found {self.rope_base!r}"
            )
        if self.head_dim % 2:
            raise UserError(
                f"model {self.name!r}: head_dim = {self.head_dim} is odd, but rotary positions "
                "turn pairs of elements"
            )
        if self.rope_factors is not None and len(self.rope_factors) != self.head_dim // 2:
            raise UserError(
                f"model {self.name!r}: {len(self.rope_factors)} rope_factors for "
                f"{self.head_dim // 2} rotary pairs"
            )

    @property
    def q_width(self) -> int:
        """Elements of one token's queries over all heads."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Elements of one token's keys (or values) over all key/value heads."""
        return self.kv_heads * self.head_dim

    @property
    def lm_head(self) -> str:
        """Canonical name of the output projection's weight."""
        return "embed" if self.tied else "lm_head"

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical weight name -> shape, in the order of the forward pass.

        Linear weights are ``[out, in]``; vectors are one-dimensional.
        """
        shapes: dict[str, tuple[int, ...]] = {"embed": (self.vocab, self.d_model)}
        if self.family == "gpt2":
            shapes["pos_embed"] = (self.context, self.d_model)
        for layer in range(self.layers):
            shapes.update(self._layer_shapes(f"layer{layer}."))
        shapes.update(self._norm_shapes("final_norm"))
        if not self.tied:
            shapes["lm_head"] = (self.vocab, self.d_model)
        return shapes

    def _norm_shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {name: (self.d_model,)}
        if self.family == "gpt2":
            shapes[f"{name}.bias"] = (self.d_model,)
        return shapes

    def _layer_shapes(self, prefix: str) -> dict[str, tuple[int, ...]]:
        shapes = self._norm_shapes(f"{prefix}attn_norm")
        d, q, kv, ffn = self.d_model, self.q_width, self.kv_width, self.ffn
        linears = [
            ("q", q, d, self.qkv_bias),
            ("k", kv, d, self.qkv_bias),
            ("v", kv, d, self.qkv_bias),
            ("o", d, q, self.o_bias),
        ]
        mlp = [("up", ffn, d, self.mlp_bias), ("down", d, ffn, self.mlp_bias)]
        if self.family == "llama":
            mlp.insert(0, ("gate", ffn, d, self.mlp_bias))
        for name, rows, columns, bias in linears:
            shapes[f"{prefix}{name}"] = (rows, columns)
            if bias:
                shapes[f"{prefix}{name}.bias"] = (rows,)
        shapes.update(self._norm_shapes(f"{prefix}ffn_norm"))
        for name, rows, columns, bias in mlp:
            shapes[f"{prefix}{name}"] = (rows, columns)
            if bias:
                shapes[f"{prefix}{name}.bias"] = (rows,)
        return shapes

    def parameters(self) -> int:
        """Number of weights, a tied output projection counted once."""
        return sum(math.prod(shape) for shape in self.weight_shapes().values())

    def inverse_frequencies(self) -> NDArray[np.float64]:
        """Angle per position of each rotary pair, in radians: ``[head_dim / 2]``.

        Pair i turns by ``position * rope_base ** (-2 i / head_dim) / rope_factors[i]`` (Su et al.
        2021, RoFormer).
        """
        if self.rope_base is None:
            raise InternalError(f"model {self.name!r} has no rotary positions")
        exponents = np.arange(0, self.head_dim, 2, dtype=np.float64) / self.head_dim
        frequencies = self.rope_base**-exponents
        if self.rope_factors is not None:
            frequencies = frequencies / np.asarray(self.rope_factors, dtype=np.float64)
        return np.asarray(frequencies, dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; :meth:`from_dict` turns them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        factors = values.get("rope_factors")
        return cls(**{**values, "rope_factors": None if factors is None else tuple(factors)})
