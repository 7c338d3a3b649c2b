"""Weights kept ready for use: float32, one memory-mapped file, beside their JSON description.

Opening a quantized GGUF takes seconds, for its tokenizer and its dequantization; opening what
was made of it takes milliseconds. A folder holds ``weights.f32`` (tensors at 64-byte boundaries),
``model.json`` and, where the model has a tokenizer, the two files of
:meth:`workloads.tokenizer.Tokenizer.save`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isa.errors import UserError
from workloads.cache import atomic_folder
from workloads.config import ModelConfig

if TYPE_CHECKING:
    from workloads.tokenizer import Tokenizer

ALIGNMENT = 64  # bytes
DESCRIPTION = "model.json"


class ConvertedWeights:
    """A weight source over a folder written by :func:`write_converted`."""

    def __init__(
        self, folder: Path, description: dict[str, Any], *, key: str, name: str, origin: str
    ) -> None:
        self.config = replace(ModelConfig.from_dict(description["config"]), name=name)
        self.key = key
        self.origin = origin
        self._folder = folder
        self._offsets: dict[str, int] = description["offsets"]
        self._shapes = self.config.weight_shapes()
        self._values = np.memmap(folder / "weights.f32", dtype=np.float32, mode="r")

    def names(self) -> tuple[str, ...]:
        return tuple(self._shapes)

    def get(self, name: str) -> NDArray[np.float32]:
        """A read-only view of the file."""
        if name not in self._shapes:
            raise UserError(f"model {self.config.name!r} has no weight {name!r}")
        shape = self._shapes[name]
        start = self._offsets[name] // 4
        return np.asarray(self._values[start : start + math.prod(shape)]).reshape(shape)

    def tokenizer(self) -> Tokenizer | None:
        from workloads.tokenizer import Tokenizer

        return Tokenizer.load(self._folder)


def read_description(folder: Path) -> dict[str, Any] | None:
    """The description of a converted folder; None where it is absent or damaged."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if description["files"] != _sizes(folder):
            return None
        shapes = ModelConfig.from_dict(description["config"]).weight_shapes()
        if description["offsets"].keys() != shapes.keys():
            return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, UserError):
        return None
    return dict(description)


def write_converted(
    folder: Path,
    config: ModelConfig,
    get: Callable[[str], NDArray[np.float32]],
    tokenizer: Tokenizer | None,
) -> None:
    """Write ``folder``, whole or not at all.

    Args:
        get: gives each weight of ``config`` by its canonical name.
    """
    offsets = {}
    position = 0
    with atomic_folder(folder) as partial:
        with (partial / "weights.f32").open("wb") as file:
            for name in config.weight_shapes():
                values = get(name)
                position += file.write(b"\0" * (-position % ALIGNMENT))
                offsets[name] = position
                position += file.write(np.ascontiguousarray(values, dtype="<f4").data)
        if tokenizer is not None:
            tokenizer.save(partial)
        description = {"config": config.to_dict(), "offsets": offsets, "files": _sizes(partial)}
        (partial / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file beside the description."""
    files = [file for file in folder.iterdir() if file.name != DESCRIPTION]
    return {file.name: file.stat().st_size for file in files}
