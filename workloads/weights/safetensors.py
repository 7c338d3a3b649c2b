"""Hugging Face model folders: ``config.json`` and ``model.safetensors``, whole or in shards.

The format (github.com/huggingface/safetensors): eight bytes with the header's length, a JSON
header of names, types, shapes and byte ranges, then the data. It is read here rather than with
the library because NumPy has no bf16, which the library's NumPy interface therefore refuses.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isa.errors import UserError
from workloads.cache import file_sha256
from workloads.weights.files import head_of, not_a, read_json
from workloads.weights.hf_config import config_from_hf
from workloads.weights.recipe import Layout, recipes

if TYPE_CHECKING:
    from workloads.tokenizer import Tokenizer

FORMAT = 1  # raise it when the meaning of a weight read from a folder changes
HEADER_LIMIT = 100_000_000  # bytes; the format's own limit
DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}

LAYOUTS = {
    "llama": Layout(
        names={
            "embed": "model.embed_tokens",
            "final_norm": "model.norm",
            "lm_head": "lm_head",
            "attn_norm": "model.layers.{layer}.input_layernorm",
            "q": "model.layers.{layer}.self_attn.q_proj",
            "k": "model.layers.{layer}.self_attn.k_proj",
            "v": "model.layers.{layer}.self_attn.v_proj",
            "o": "model.layers.{layer}.self_attn.o_proj",
            "ffn_norm": "model.layers.{layer}.post_attention_layernorm",
            "gate": "model.layers.{layer}.mlp.gate_proj",
            "up": "model.layers.{layer}.mlp.up_proj",
            "down": "model.layers.{layer}.mlp.down_proj",
        },
        half_split=True,
    ),
    "gpt2": Layout(
        names={
            "embed": "transformer.wte",
            "pos_embed": "transformer.wpe",
            "final_norm": "transformer.ln_f",
            "lm_head": "lm_head",
            "attn_norm": "transformer.h.{layer}.ln_1",
            "q": "transformer.h.{layer}.attn.c_attn",
            "k": "transformer.h.{layer}.attn.c_attn",
            "v": "transformer.h.{layer}.attn.c_attn",
            "o": "transformer.h.{layer}.attn.c_proj",
            "ffn_norm": "transformer.h.{layer}.ln_2",
            "up": "transformer.h.{layer}.mlp.c_fc",
            "down": "transformer.h.{layer}.mlp.c_proj",
        },
        fused_qkv=True,
        conv1d=True,
    ),
}
PREFIXES = ("model.", "transformer.")  # absent in files saved from the model without its head


def open_folder(folder: Path) -> FolderWeights:
    """Open a model folder.

    Raises:
        UserError: a file is missing or damaged, the architecture is unknown, or a tensor is
            missing, misshapen or of an unsupported type.
    """
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder} has no config.json; a model folder needs config.json and "
            "model.safetensors (or its shards with model.safetensors.index.json)"
        )
    return FolderWeights(folder)


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies.

    Attributes:
        start: byte offset in the file.
    """

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    def read(self) -> NDArray[np.float32]:
        count = math.prod(self.shape)
        raw = np.memmap(self.path, dtype=DTYPES[self.dtype], mode="r", offset=self.start,
                        shape=(count,))  # fmt: skip
        if self.dtype == "BF16":
            # A bf16 is the upper half of the f32 of the same value.
            values = (raw.astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.asarray(raw, dtype=np.float32)
        return values.reshape(self.shape)


class FolderWeights:
    """A weight source over a Hugging Face model folder; tensors are read when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origin = str(folder)
        where = folder / "config.json"
        self.config = config_from_hf(read_json(where), folder.resolve().name, where)
        self._files = _weight_files(folder)
        self._stored: dict[str, StoredTensor] = {}
        for file in self._files:
            self._stored.update(read_header(file))
        self._recipes = recipes(self.config, LAYOUTS[self.config.family])
        for name in self._recipes:
            self._locate(name)

    @property
    def key(self) -> str:
        """sha256 over the configuration and all weight files."""
        files = [self.folder / "config.json", *self._files]
        digests = [file_sha256(file) for file in files]
        return f"hf{FORMAT}-{hashlib.sha256(json.dumps(digests).encode()).hexdigest()}"

    def names(self) -> tuple[str, ...]:
        return tuple(self._recipes)

    def get(self, name: str) -> NDArray[np.float32]:
        if name not in self._recipes:
            raise UserError(f"model {self.config.name!r} has no weight {name!r}")
        return self._recipes[name].make(self._locate(name).read())

    def tokenizer(self) -> Tokenizer | None:
        from workloads.weights.hf_tokenizer import tokenizer_from_folder

        return tokenizer_from_folder(self.folder)

    def _locate(self, name: str) -> StoredTensor:
        """The stored tensor for a canonical name, its shape and type checked."""
        recipe = self._recipes[name]
        candidates = [recipe.tensor]
        for prefix in PREFIXES:
            if recipe.tensor.startswith(prefix):
                candidates.append(recipe.tensor.removeprefix(prefix))
        found = [candidate for candidate in candidates if candidate in self._stored]
        if not found:
            raise UserError(
                f"{self.folder}: tensor {recipe.tensor!r} (the weight {name!r}) is missing from "
                f"{', '.join(file.name for file in self._files)}"
            )
        stored = self._stored[found[0]]
        if stored.shape != recipe.shape:
            raise UserError(
                f"{stored.path}: tensor {found[0]!r} has shape {stored.shape}, but config.json "
                f"asks for {recipe.shape}"
            )
        if stored.dtype not in DTYPES:
            raise UserError(
                f"{stored.path}: tensor {found[0]!r} has the type {stored.dtype}; "
                f"supported: {', '.join(DTYPES)}"
            )
        return stored


def _weight_files(folder: Path) -> list[Path]:
    """The one weight file or all shards, in order."""
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        raise UserError(
            f"{folder} has neither model.safetensors nor model.safetensors.index.json; "
            "weights in PyTorch's own format must be converted to safetensors first"
        )
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise UserError(f"{index} has no 'weight_map' that says which file holds which tensor")
    files = [folder / Path(name).name for name in sorted({str(name) for name in shards.values()})]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise UserError(
            f"{folder}: {index.name} names {len(files)} files, but {', '.join(missing)} "
            "is missing; get the whole model"
        )
    return files


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The directory of one safetensors file.

    Raises:
        UserError: not a safetensors file, or shorter than its header says.
    """
    head = head_of(path, 32)
    size = path.stat().st_size
    length = int.from_bytes(head[:8], "little")
    if len(head) < 9 or length > HEADER_LIMIT or head[8:9] != b"{":
        raise not_a("safetensors", path, head)
    if 8 + length > size:
        raise _truncated(path, size, 8 + length)
    try:
        header = json.loads(head_of(path, 8 + length)[8:])
        header.pop("__metadata__", None)
        tensors = {name: _stored(path, 8 + length, entry) for name, entry in header.items()}
        ends = [8 + length + entry["data_offsets"][1] for entry in header.values()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} has a damaged header: {error}; get the file again") from error
    if max(ends, default=0) > size:
        raise _truncated(path, size, max(ends))
    return tensors


def _stored(path: Path, data: int, entry: dict[str, Any]) -> StoredTensor:
    start, end = entry["data_offsets"]
    shape = tuple(int(n) for n in entry["shape"])
    dtype = str(entry["dtype"])
    if not 0 <= start <= end or min(shape, default=0) < 0:
        raise ValueError(f"shape {shape} at bytes {start} to {end} cannot be")
    if dtype in DTYPES and end - start != math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
        raise ValueError(f"{end - start} bytes cannot hold {dtype} of shape {shape}")
    return StoredTensor(path=path, dtype=dtype, shape=shape, start=data + int(start))


def _truncated(path: Path, size: int, needed: int) -> UserError:
    return UserError(
        f"{path} is truncated: it has {size} bytes, its header speaks of {needed}; "
        "get the file again"
    )
