"""Hugging Face folders: every layout comes out as the canonical weights, every fault is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isa.errors import UserError
from tests.workloads.numpy_forward import forward
from tests.workloads.synthetic import (
    GPT2,
    LLAMA,
    Weights,
    hf_gpt2,
    hf_llama,
    llama_with,
    random_weights,
    write_folder,
)
from workloads.open import open_workload
from workloads.tokenizer import byte_tokenizer
from workloads.weights.safetensors import open_folder

LLAMAS = [LLAMA, llama_with(tied=True), llama_with(qkv_bias=True, o_bias=True)]
IDS = [1, 200, 3, 3, 77, 260, 5]


def bf16_bits(values: np.ndarray) -> np.ndarray:
    """The upper halves of float32 values that are exactly representable in bf16."""
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def bf16_exact(weights: Weights) -> Weights:
    """The weights with the lower half of each float32 cleared."""
    cleared = {n: (v.view(np.uint32) & 0xFFFF0000).view(np.float32) for n, v in weights.items()}
    return Weights(weights.config, cleared)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("config", LLAMAS)
def test_a_llama_folder_computes_what_its_half_split_weights_compute(
    tmp_path: Path, config: Any, shards: int
) -> None:
    theirs = random_weights(config)
    source = open_folder(write_folder(tmp_path / "m", *hf_llama(theirs), shards=shards))
    assert np.array_equal(source.get("layer1.v"), theirs["layer1.v"])
    assert np.array_equal(source.get("layer1.down"), theirs["layer1.down"])
    assert not np.array_equal(source.get("layer1.q"), theirs["layer1.q"])
    expected = forward(theirs, IDS, pairs="half-split")
    assert np.abs(forward(source, IDS) - expected).max() < 1e-5


def test_rows_of_q_and_k_move_from_halves_to_neighbours(tmp_path: Path) -> None:
    theirs = random_weights(LLAMA)
    source = open_folder(write_folder(tmp_path / "m", *hf_llama(theirs)))
    for name, heads in (("layer0.q", 6), ("layer0.k", 2)):
        for head in range(heads):
            for i in range(4):
                half, pair = head * 8 + i, head * 8 + 2 * i
                assert np.array_equal(source.get(name)[pair], theirs[name][half])
                assert np.array_equal(source.get(name)[pair + 1], theirs[name][half + 4])


@pytest.mark.parametrize("prefix", ["transformer.", ""])
@pytest.mark.parametrize("shards", [1, 2])
def test_a_gpt2_folder_gives_back_every_weight(tmp_path: Path, prefix: str, shards: int) -> None:
    theirs = random_weights(GPT2)
    described, tensors = hf_gpt2(theirs, prefix)
    # Buffers that old files carry and nobody needs.
    tensors[f"{prefix}h.0.attn.bias"] = np.ones((1, 1, 4, 4), dtype=np.float32)
    source = open_folder(write_folder(tmp_path / "m", described, tensors, shards=shards))
    assert set(source.names()) == set(theirs)
    for name in source.names():
        assert np.array_equal(source.get(name), theirs[name]), name
        assert source.get(name).flags.c_contiguous
    assert source.config.activation == "gelu.tanh"
    assert source.config.tied


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_half_precision_is_widened_exactly(tmp_path: Path, dtype: str) -> None:
    if dtype == "F16":
        theirs = random_weights(LLAMA)
        rounded = {n: v.astype(np.float16).astype(np.float32) for n, v in theirs.items()}
        exact = Weights(LLAMA, rounded)
        described, tensors = hf_llama(exact)
        folder = write_folder(
            tmp_path / "m", described, {n: v.astype(np.float16) for n, v in tensors.items()}
        )
    else:
        exact = bf16_exact(random_weights(LLAMA))
        described, tensors = hf_llama(exact)
        folder = write_folder(tmp_path / "m", described, tensors)
        write_bf16(folder / "model.safetensors", tensors)
    source = open_folder(folder)
    for name in ("embed", "layer0.v", "layer1.ffn_norm", "lm_head"):
        assert source.get(name).dtype == np.float32
        assert np.array_equal(source.get(name), exact[name])


def write_bf16(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """A safetensors file of bf16 tensors, byte by byte: NumPy has no bf16 to give the library."""
    header: dict[str, Any] = {}
    data = b""
    for name, values in tensors.items():
        raw = bf16_bits(np.ascontiguousarray(values)).tobytes()
        header[name] = {"dtype": "BF16", "shape": list(values.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}  # fmt: skip
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_llama3_scaling_is_read_from_old_and_new_configs(tmp_path: Path) -> None:
    scaling = {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }  # fmt: skip
    described, tensors = hf_llama(random_weights(LLAMA))
    old = open_folder(write_folder(tmp_path / "a", {**described, "rope_scaling": scaling}, tensors))
    del described["rope_theta"]
    new = {**described, "rope_parameters": {**scaling, "rope_theta": 10000.0}}
    folder = write_folder(tmp_path / "b", new, tensors)
    assert old.config.rope_factors is not None
    assert old.config.rope_factors[-1] == 8.0
    assert open_folder(folder).config.rope_factors == old.config.rope_factors
    assert open_folder(folder).config.rope_base == 10000.0


def test_the_key_follows_the_content(tmp_path: Path, cache: Path) -> None:
    described, tensors = hf_llama(random_weights(LLAMA))
    a = open_folder(write_folder(tmp_path / "a", described, tensors))
    b = open_folder(write_folder(tmp_path / "b", described, tensors))
    assert a.key == b.key
    tensors["model.norm.weight"] = tensors["model.norm.weight"] + 1
    assert open_folder(write_folder(tmp_path / "c", described, tensors)).key != a.key


def test_the_folder_brings_its_tokenizer_and_template(tmp_path: Path) -> None:
    described, tensors = hf_llama(random_weights(LLAMA))
    folder = write_folder(tmp_path / "m", described, tensors)
    assert open_folder(folder).tokenizer() is None
    byte_tokenizer().save(folder)
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "eos_token": {"content": "<|endoftext|>"},
                "chat_template": [
                    {"name": "tools", "template": "no"},
                    {"name": "default", "template": "[{{ messages[0]['content'] }}]"},
                ],
            }
        )
    )
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 256]}))
    tokenizer = open_folder(folder).tokenizer()
    assert tokenizer is not None
    assert tokenizer.encode("ab") == [97, 98]
    assert tokenizer.eos_ids == (7, 256)
    assert tokenizer.chat("x") == "[x]"
    (folder / "chat_template.jinja").write_text("<{{ messages[0]['content'] }}>")
    renewed = open_folder(folder).tokenizer()
    assert renewed is not None
    assert renewed.chat("x") == "<x>"
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json is not a tokenizer file"):
        open_folder(folder).tokenizer()


def test_open_workload_takes_a_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "my-model", *hf_llama(random_weights(LLAMA)))
    source = open_workload(folder)
    assert source.config.name == "my-model"
    assert source.origin == str(folder)


# Bad input.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "m", *hf_llama(random_weights(LLAMA)))


def edit_config(folder: Path, **changes: Any) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, **changes}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "unknown architecture 'MambaForCausalLM'"),
        ({"architectures": None, "model_type": "bert"}, "unknown architecture 'bert'"),
        ({"hidden_act": "relu"}, "activation 'relu' is not supported"),
        ({"quantization_config": {"bits": 4}}, "quantized weights are not supported"),
        ({"rope_scaling": {"type": "yarn"}}, "rope_scaling of type 'yarn'"),
        ({"hidden_size": "20"}, "d_model = '20'"),
        ({"intermediate_size": 30}, r"has shape \(28, 20\), but config.json asks for \(30, 20\)"),
        ({"num_hidden_layers": 3}, r"tensor 'model\.layers\.2\.input_layernorm\.weight'"),
    ],
)
def test_configs_that_cannot_be_run_are_explained(
    folder: Path, changes: dict[str, Any], said: str
) -> None:
    edit_config(folder, **changes)
    with pytest.raises(UserError, match=said):
        open_folder(folder)


def test_a_missing_key_is_named(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    del values["num_attention_heads"]
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"config\.json: the key 'num_attention_heads' is missing"):
        open_folder(folder)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    described, tensors = hf_llama(random_weights(LLAMA))
    del tensors["model.layers.1.mlp.up_proj.weight"]
    folder = write_folder(tmp_path / "m", described, tensors)
    with pytest.raises(
        UserError, match=r"'model\.layers\.1\.mlp\.up_proj\.weight' \(the weight 'layer1\.up'\)"
    ):
        open_folder(folder)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", *hf_llama(random_weights(LLAMA)), shards=3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(UserError, match=r"model-00002-of-00003\.safetensors is missing"):
        open_folder(folder)


@pytest.mark.parametrize("keep", [0, 4, 100, 3000, -1])
def test_a_truncated_file_is_recognised(folder: Path, keep: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"is truncated|is empty|is not a safetensors file"):
        open_folder(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "is not a safetensors file: it begins with"),
        (b"\x10\0\0\0\0\0\0\0{not json at all", "damaged header"),
        (b"\x10\0\0\0\0\0\0\0" + b'{"a":1}         ', "damaged header"),
    ],
)
def test_a_foreign_file_is_recognised(folder: Path, content: bytes, said: str) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=said):
        open_folder(folder)


def test_folders_without_their_files_are_explained(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"has no config\.json"):
        open_workload(tmp_path / "empty")
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match="is not valid JSON"):
        open_folder(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(UserError, match="must hold a JSON object, found list"):
        open_folder(folder)


def test_a_folder_with_weights_of_pytorch_only_is_explained(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="must be converted to safetensors"):
        open_folder(folder)


def test_integer_weights_are_refused(tmp_path: Path) -> None:
    described, tensors = hf_llama(random_weights(LLAMA))
    mixed: dict[str, Any] = dict(tensors)
    mixed["model.norm.weight"] = np.ones(20, dtype=np.int8)
    folder = write_folder(tmp_path / "m", described, mixed)
    with pytest.raises(UserError, match="has the type I8; supported: F32, F16, BF16"):
        open_folder(folder)


def test_gpt2_variants_that_compute_something_else_are_refused(tmp_path: Path) -> None:
    described, tensors = hf_gpt2(random_weights(GPT2), "transformer.")
    described["scale_attn_by_inverse_layer_idx"] = True
    folder = write_folder(tmp_path / "m", described, tensors)
    with pytest.raises(UserError, match="scale_attn_by_inverse_layer_idx = True is not supported"):
        open_folder(folder)
