"""Models in GGUF files (llama.cpp's format), of the architectures ``llama`` and ``gpt2``.

Names and metadata keys: gguf-py's ``constants.py``. Rows of q and k in files of the llama
architecture are already ordered for rotations of neighbouring pairs.
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isa.errors import UserError
from workloads.cache import cache_folder, file_sha256
from workloads.config import ModelConfig
from workloads.notice import megabytes, notice
from workloads.rope import rope_factors
from workloads.weights.converted import ConvertedWeights, read_description, write_converted
from workloads.weights.files import head_of, not_a
from workloads.weights.recipe import Layout, Recipe, recipes

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor

FORMAT = 1  # of the converted copy; raise it when the meaning of a converted weight changes
MAGIC = b"GGUF"
SLOW_TO_CONVERT = 20_000_000  # bytes; from here on it takes more than a second or two

_COMMON = {
    "embed": "token_embd",
    "final_norm": "output_norm",
    "lm_head": "output",
    "attn_norm": "blk.{layer}.attn_norm",
    "o": "blk.{layer}.attn_output",
    "ffn_norm": "blk.{layer}.ffn_norm",
    "up": "blk.{layer}.ffn_up",
    "down": "blk.{layer}.ffn_down",
}
LAYOUTS = {
    "llama": Layout(
        names={
            **_COMMON,
            "q": "blk.{layer}.attn_q",
            "k": "blk.{layer}.attn_k",
            "v": "blk.{layer}.attn_v",
            "gate": "blk.{layer}.ffn_gate",
        }
    ),
    "gpt2": Layout(
        names={
            **_COMMON,
            "pos_embed": "position_embd",
            "q": "blk.{layer}.attn_qkv",
            "k": "blk.{layer}.attn_qkv",
            "v": "blk.{layer}.attn_qkv",
        },
        fused_qkv=True,
    ),
}


def open_gguf(path: Path, name: str | None = None) -> ConvertedWeights:
    """Open a GGUF file, converting it to float32 in the cache folder on first use.

    Args:
        name: what to call the model; the file's own name by default.

    Raises:
        UserError: not a GGUF file, truncated, of an unknown architecture, or with a tensor
            missing, misshapen or of an unknown type.
    """
    head = head_of(path, len(MAGIC))
    if head != MAGIC:
        raise not_a("GGUF", path, head_of(path, 32))
    digest = file_sha256(path)
    key = f"gguf{FORMAT}-{digest}"
    folder = cache_folder("converted") / key
    description = read_description(folder)
    if description is None:
        if folder.exists():
            notice(f"the converted copy of {path.name} in the cache is damaged; making it anew ...")
            shutil.rmtree(folder, ignore_errors=True)
        if path.stat().st_size >= SLOW_TO_CONVERT:
            notice(
                f"converting {path.name} ({megabytes(path.stat().st_size)}) to float32, "
                "once; it is kept in the cache folder ..."
            )
        GgufFile(path).convert(folder)
        description = read_description(folder)
        if description is None:
            raise UserError(f"the converted copy in {folder} was removed meanwhile; try again")
    return ConvertedWeights(folder, description, key=key, name=name or path.stem, origin=str(path))


class GgufFile:
    """A GGUF file being read: its metadata, its tensors, and what they mean.

    Raises:
        UserError: see :func:`open_gguf`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = _read(path)
        self._tensors: dict[str, ReaderTensor] = {t.name: t for t in self._reader.tensors}
        self.architecture = str(self.field("general.architecture"))
        if self.architecture not in LAYOUTS:
            raise UserError(
                f"{path}: unknown architecture {self.architecture!r}; known: {', '.join(LAYOUTS)}"
            )
        if self.field("split.count", 0) > 1:
            raise UserError(
                f"{path} is one of {self.field('split.count')} parts of a model; join them "
                "with llama.cpp's `gguf-split --merge` first"
            )
        try:
            self.config = self._config()
        except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
            raise UserError(f"{path}: the metadata has a wrong value: {error}") from error
        self._recipes = recipes(self.config, LAYOUTS[self.architecture])

    def field(self, key: str, *default: Any) -> Any:
        """The metadata value ``key``, ``default`` where given and the file has none."""
        field = self._reader.get_field(key)
        if field is not None:
            try:
                return field.contents()
            except (ValueError, IndexError) as error:
                raise UserError(f"{self.path}: the metadata {key!r} is damaged: {error}") from error
        if default:
            return default[0]
        raise UserError(f"{self.path}: the metadata lacks {key!r}, so the model's shape is unknown")

    def get(self, name: str) -> NDArray[np.float32]:
        """One weight by its canonical name."""
        recipe = self._recipes[name]
        return recipe.make(self._dequantized(self._tensor(name, recipe)))

    def convert(self, folder: Path) -> None:
        """Check every tensor, then write the converted copy."""
        from workloads.weights.gguf_tokenizer import tokenizer_from_gguf

        for name, recipe in self._recipes.items():
            self._tensor(name, recipe)
        try:
            tokenizer = tokenizer_from_gguf(self.field)
        except UserError:
            raise
        except Exception as error:  # the library raises plain Exception for what it cannot use
            raise UserError(f"{self.path}: its tokenizer is damaged: {error}") from error
        if tokenizer is None:
            notice(f"{self.path.name}: its kind of tokenizer is not supported, only token ids work")
        write_converted(folder, self.config, self.get, tokenizer)

    def _config(self) -> ModelConfig:
        arch = self.architecture
        heads = int(self.field(f"{arch}.attention.head_count"))
        d_model = int(self.field(f"{arch}.embedding_length"))
        head_dim = int(self.field(f"{arch}.attention.key_length", d_model // heads))
        values: dict[str, Any] = {
            "name": self.path.stem,
            "family": arch,
            "layers": int(self.field(f"{arch}.block_count")),
            "d_model": d_model,
            "heads": heads,
            "head_dim": head_dim,
            "ffn": int(self.field(f"{arch}.feed_forward_length")),
            "vocab": self._vocab(),
            "context": int(self.field(f"{arch}.context_length")),
            "tied": "output.weight" not in self._tensors,
        }
        if arch == "gpt2":
            values |= {
                "kv_heads": heads,
                "norm_eps": float(self.field("gpt2.attention.layer_norm_epsilon")),
                "activation": "gelu.tanh",
                "qkv_bias": True,
                "o_bias": True,
                "mlp_bias": True,
            }
        else:
            values |= self._llama_values(heads, head_dim)
        return ModelConfig(**values)

    def _llama_values(self, heads: int, head_dim: int) -> dict[str, Any]:
        if self.field("llama.expert_count", 0):
            raise UserError(f"{self.path}: mixtures of experts are not supported")
        for key in ("llama.rope.dimension_count", "llama.attention.value_length"):
            width = int(self.field(key, head_dim))
            if width != head_dim:
                raise UserError(
                    f"{self.path}: {key} = {width} with heads of {head_dim} is not supported; "
                    "they must be equal"
                )
        base = float(self.field("llama.rope.freq_base", 10000.0))
        return {
            "kv_heads": int(self.field("llama.attention.head_count_kv", heads)),
            "norm_eps": float(self.field("llama.attention.layer_norm_rms_epsilon")),
            "activation": "silu",
            "rope_base": base,
            "rope_factors": self._rope_factors(base, head_dim),
            "qkv_bias": "blk.0.attn_q.bias" in self._tensors,
            "o_bias": "blk.0.attn_output.bias" in self._tensors,
            "mlp_bias": "blk.0.ffn_up.bias" in self._tensors,
        }

    def _rope_factors(self, base: float, head_dim: int) -> tuple[float, ...] | None:
        if "rope_freqs.weight" in self._tensors:
            factors = self._dequantized(self._tensors["rope_freqs.weight"])
            return tuple(float(factor) for factor in factors.ravel())
        kind = self.field("llama.rope.scaling.type", "none")
        scaling = {
            "rope_type": "default" if kind == "none" else kind,
            "factor": self.field("llama.rope.scaling.factor", 1.0),
        }
        return rope_factors(scaling, base, head_dim, str(self.path))

    def _vocab(self) -> int:
        """Rows of the embedding table: some files leave ``vocab_size`` out."""
        if "token_embd.weight" not in self._tensors:
            raise self._missing("embed", "token_embd.weight")
        return int(self._tensors["token_embd.weight"].shape[-1])

    def _tensor(self, name: str, recipe: Recipe) -> ReaderTensor:
        """The file's tensor for a weight, its shape checked."""
        tensor = self._tensors.get(recipe.tensor)
        if tensor is None:
            raise self._missing(name, recipe.tensor)
        # GGUF counts dimensions from the innermost.
        shape = tuple(int(size) for size in reversed(tensor.shape.tolist()))
        if shape != recipe.shape:
            raise UserError(
                f"{self.path}: tensor {recipe.tensor!r} has shape {shape}, but the metadata "
                f"asks for {recipe.shape}"
            )
        return tensor

    def _missing(self, name: str, tensor: str) -> UserError:
        return UserError(
            f"{self.path}: tensor {tensor!r} (the weight {name!r}) is missing; "
            f"the file has {len(self._tensors)} tensors"
        )

    def _dequantized(self, tensor: ReaderTensor) -> NDArray[np.float32]:
        from gguf.quants import dequantize

        try:
            values = dequantize(tensor.data, tensor.tensor_type)
        except (NotImplementedError, ValueError) as error:
            raise UserError(
                f"{self.path}: tensor {tensor.name!r} has the type {tensor.tensor_type.name}, "
                "which cannot be dequantized here; use a file in F32, F16, BF16, Q8_0, Q4_0, "
                "Q4_1 or a K-quantized type"
            ) from error
        return np.asarray(values, dtype=np.float32)


def _read(path: Path) -> GGUFReader:
    """The file's directory, with damage reported as the user's problem, not as ours."""
    from gguf import GGUFReader

    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError, struct.error) as error:
        raise UserError(
            f"{path} is damaged or truncated ({path.stat().st_size} bytes): {error}; "
            "get the file again"
        ) from error
