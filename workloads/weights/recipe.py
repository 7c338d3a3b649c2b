"""How each weight is made out of what a file holds: other names, fused, transposed, permuted.

A file format is data (:class:`Layout`); the three things that can differ besides the names are
written once, in :meth:`Recipe.make`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workloads.config import ModelConfig


@dataclass(frozen=True)
class Layout:
    """How one file format stores one family of models.

    Attributes:
        names: tensor name without its ``.weight`` / ``.bias`` for every part of a canonical name
            (``q`` of ``layer3.q.bias``); ``{layer}`` stands for the layer's number.
        fused_qkv: q, k and v are one tensor, in this order.
        conv1d: linear weights lie as ``[in, out]`` (the ``Conv1D`` of the first GPT-2 code).
        half_split: rows of q and k are ordered for rotations of pairs (i, i + head_dim / 2).
    """

    names: Mapping[str, str]
    fused_qkv: bool = False
    conv1d: bool = False
    half_split: bool = False


@dataclass(frozen=True)
class Recipe:
    """What to take from a file for one canonical weight.

    Attributes:
        tensor: the tensor's name in the file.
        shape: the shape the tensor must have there.
        transpose: it lies as ``[in, out]``.
        rows: the range of output rows to take (of a fused tensor), None for all.
        half_split_heads: number of heads whose rows are to be reordered, 0 for none.
    """

    tensor: str
    shape: tuple[int, ...]
    transpose: bool = False
    rows: tuple[int, int] | None = None
    half_split_heads: int = 0

    def make(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The weight as the project wants it, from the file's tensor of shape :attr:`shape`."""
        if self.transpose:
            values = values.T
        if self.rows is not None:
            values = values[slice(*self.rows)]
        if self.half_split_heads:
            values = interleave_pairs(values, self.half_split_heads)
        return np.ascontiguousarray(values)


def interleave_pairs(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Reorder output rows so that rotary pairs (i, i + head_dim / 2) of each head neighbour.

    Attention scores do not change: q and k are reordered alike, and the dot product over a head
    does not care about the order of its elements.
    """
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, -1)
    return halves.swapaxes(1, 2).reshape(values.shape)


def recipes(config: ModelConfig, layout: Layout) -> dict[str, Recipe]:
    """Canonical weight name -> recipe, for every weight of ``config``."""
    widths = {"q": config.q_width, "k": config.kv_width, "v": config.kv_width}
    starts = {"q": 0, "k": config.q_width, "v": config.q_width + config.kv_width}
    heads = {"q": config.heads, "k": config.kv_heads}
    made = {}
    for name, shape in config.weight_shapes().items():
        layer, part, kind = split_name(name)
        rows = None
        file_shape = shape
        if layout.fused_qkv and part in widths:
            rows = (starts[part], starts[part] + widths[part])
            file_shape = (sum(widths.values()), *shape[1:])
        transpose = layout.conv1d and layer is not None and len(shape) == 2
        made[name] = Recipe(
            tensor=f"{layout.names[part].format(layer=layer)}.{kind}",
            shape=file_shape[::-1] if transpose else file_shape,
            transpose=transpose,
            rows=rows,
            half_split_heads=heads.get(part, 0) if layout.half_split else 0,
        )
    return made


def split_name(name: str) -> tuple[int | None, str, str]:
    """``layer3.q.bias`` -> ``(3, "q", "bias")``; ``embed`` -> ``(None, "embed", "weight")``."""
    kind = "bias" if name.endswith(".bias") else "weight"
    stem = name.removesuffix(".bias")
    if not stem.startswith("layer"):
        return None, stem, kind
    layer, part = stem.removeprefix("layer").split(".", 1)
    return int(layer), part, kind
