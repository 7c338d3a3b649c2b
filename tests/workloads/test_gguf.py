"""GGUF files: tensor by tensor, converted once, every fault named and nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isa.errors import UserError
from tests.workloads.synthetic import (
    GPT2,
    LLAMA,
    gguf_tensors,
    llama_with,
    random_weights,
    write_gguf,
)
from workloads import cache as cache_module
from workloads.config import ModelConfig
from workloads.open import open_workload
from workloads.weights.gguf import GgufFile, open_gguf
from workloads.weights.source import WeightSource

pytestmark = pytest.mark.usefixtures("cache")

CONFIGS = [
    LLAMA,
    llama_with(tied=True, qkv_bias=True),
    llama_with(rope_factors=(1.0, 1.5, 4.0, 8.0)),
    GPT2,
]


def small(path: Path, config: ModelConfig = LLAMA, **options: Any) -> Path:
    tensors = gguf_tensors(random_weights(config))
    if config.rope_factors is not None:
        tensors["rope_freqs.weight"] = np.array(config.rope_factors, dtype=np.float32)
    return write_gguf(path, config, tensors, **options)


def kept(cache: Path) -> list[str]:
    """Names of converted models and of any unfinished work in the cache folder."""
    return sorted(path.name for path in cache.glob("converted/*"))


@pytest.mark.parametrize("config", CONFIGS)
def test_every_weight_comes_back(tmp_path: Path, config: ModelConfig) -> None:
    theirs = random_weights(config)
    source = open_workload(small(tmp_path / "small.gguf", config))
    assert isinstance(source, WeightSource)
    assert set(source.names()) == set(theirs)
    for name in source.names():
        assert np.array_equal(source.get(name), theirs[name]), name
    shape = source.config.to_dict()
    assert shape.pop("norm_eps") == pytest.approx(config.norm_eps, rel=1e-6)
    assert shape.pop("name") == "small"
    expected = config.to_dict()
    assert shape == {key: expected[key] for key in shape}


def test_the_second_opening_reads_the_converted_copy_alone(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(tmp_path / "small.gguf")
    first = open_gguf(path)
    monkeypatch.setattr("gguf.GGUFReader", None)
    second = open_gguf(path)
    assert second.key == first.key
    assert np.array_equal(second.get("layer1.q"), first.get("layer1.q"))
    assert kept(cache) == [first.key]
    with pytest.raises(ValueError, match="read-only"):
        second.get("embed")[0] = 0


def test_the_key_is_the_content_not_the_place(tmp_path: Path) -> None:
    a = open_gguf(small(tmp_path / "a.gguf"))
    (tmp_path / "b.gguf").write_bytes((tmp_path / "a.gguf").read_bytes())
    assert open_gguf(tmp_path / "b.gguf").key == a.key
    assert open_gguf(small(tmp_path / "c.gguf", GPT2)).key != a.key


def test_a_damaged_converted_copy_is_made_again(tmp_path: Path, cache: Path) -> None:
    path = small(tmp_path / "small.gguf")
    key = open_gguf(path).key
    for name, content in (("weights.f32", b"short"), ("model.json", b"{")):
        (cache / "converted" / key / name).write_bytes(content)
        source = open_gguf(path)
        assert np.array_equal(source.get("layer0.up"), random_weights(LLAMA)["layer0.up"])


def test_quantized_tensors_are_dequantized(tmp_path: Path) -> None:
    import gguf
    from gguf.quants import quantize

    config = llama_with(d_model=32, ffn=32)
    theirs = random_weights(config)
    writer = gguf.GGUFWriter(tmp_path / "q.gguf", "llama")
    for key, value in (
        ("block_count", 2), ("context_length", 64), ("embedding_length", 32),
        ("feed_forward_length", 32), ("attention.head_count", 6),
        ("attention.head_count_kv", 2), ("attention.key_length", 8),
    ):  # fmt: skip
        writer.add_uint32(f"llama.{key}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    q8 = gguf.GGMLQuantizationType.Q8_0
    for name, values in gguf_tensors(theirs).items():
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            writer.add_tensor(name, quantize(values, q8), raw_dtype=q8)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    source = open_gguf(tmp_path / "q.gguf")
    for name in source.names():
        # Half a step of the 8-bit grid, and the scale's own rounding to f16 over 127 steps.
        bound = np.abs(theirs[name]).max() / 127 * (0.5 + 127 * 2**-11)
        assert np.abs(source.get(name) - theirs[name]).max() <= bound, name
    assert not np.array_equal(source.get("embed"), theirs["embed"])
    assert source.config.rope_base == 10000.0


def test_the_tokenizer_is_built_from_the_metadata(tmp_path: Path) -> None:
    tokens = ["<|begin|>", "<|end|>", "a", "b", "Ġ", "ab", "Ġab", *(f"x{i}" for i in range(254))]
    path = small(tmp_path / "small.gguf", tokens=tokens, merges=("a b", "Ġ ab"))
    open_gguf(path)
    tokenizer = open_gguf(path).tokenizer()  # as the cache kept it
    assert tokenizer is not None
    assert tokenizer.encode("ab ab") == [0, 5, 6]
    assert tokenizer.encode("ab<|end|>b", special=False) == [5, 1, 3]
    assert tokenizer.decode([0, 5, 6, 1]) == "ab ab"
    assert (tokenizer.eos_ids, tokenizer.bos_token, tokenizer.eos_token) == (
        (1,), "<|begin|>", "<|end|>",
    )  # fmt: skip


def test_a_file_without_a_known_tokenizer_works_with_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert open_gguf(small(tmp_path / "small.gguf")).tokenizer() is None
    captured = capsys.readouterr()
    assert "only token ids work" in captured.err
    assert captured.out == ""


# Bad input: a clear message, and no half-written copy.


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 a zip file", "is not a GGUF file: it begins with b'PK"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"GGUF", "is damaged or truncated"),
        (b"GGUF\x63\0\0\0" + b"\0" * 64, "version 99"),
    ],
)
def test_foreign_files_are_recognised(
    tmp_path: Path, cache: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "foreign.gguf"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        open_gguf(path)
    assert kept(cache) == []


@pytest.mark.parametrize("part", [0.001, 0.01, 0.05, 0.3, 0.7, 0.999])
def test_truncated_files_are_recognised(tmp_path: Path, cache: Path, part: float) -> None:
    path = small(tmp_path / "small.gguf", tokens=["<|begin|>", "<|end|>", "a"])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UserError, match=r"is damaged or truncated .* get the file again"):
        open_gguf(path)
    assert kept(cache) == []


def test_an_unknown_architecture_is_named(tmp_path: Path, cache: Path) -> None:
    path = small(tmp_path / "small.gguf", architecture="mamba")
    with pytest.raises(UserError, match="unknown architecture 'mamba'; known: llama, gpt2"):
        open_gguf(path)
    assert kept(cache) == []


@pytest.mark.parametrize("name", ["blk.1.ffn_gate.weight", "token_embd.weight"])
def test_a_missing_tensor_is_named(tmp_path: Path, cache: Path, name: str) -> None:
    tensors = gguf_tensors(random_weights(LLAMA))
    del tensors[name]
    path = write_gguf(tmp_path / "small.gguf", LLAMA, tensors)
    with pytest.raises(UserError, match=f"tensor '{name}' .* is missing"):
        open_gguf(path)
    assert kept(cache) == []


def test_a_tensor_of_the_wrong_shape_is_named(tmp_path: Path, cache: Path) -> None:
    tensors = gguf_tensors(random_weights(LLAMA))
    tensors["blk.0.attn_k.weight"] = tensors["blk.0.attn_q.weight"]
    path = write_gguf(tmp_path / "small.gguf", LLAMA, tensors)
    said = r"'blk.0.attn_k.weight' has shape \(48, 20\), but the metadata asks for \(16, 20\)"
    with pytest.raises(UserError, match=said):
        open_gguf(path)
    assert kept(cache) == []


def test_missing_metadata_is_named(tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "bare.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UserError, match=r"metadata lacks 'llama\.attention\.head_count'"):
        GgufFile(tmp_path / "bare.gguf")


def test_an_interrupted_conversion_leaves_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(tmp_path / "small.gguf")

    def interrupted(self: GgufFile, name: str) -> None:
        if name == "layer1.q":
            raise KeyboardInterrupt

    monkeypatch.setattr(
        GgufFile, "get", lambda self, name: (interrupted(self, name), np.ones(3))[1]
    )
    with pytest.raises(KeyboardInterrupt):
        open_gguf(path)
    assert kept(cache) == []


def test_a_cache_folder_that_cannot_be_made_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(tmp_path / "small.gguf")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TICKFORMER_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"cannot write to the cache folder .* TICKFORMER_CACHE"):
        open_gguf(path)


def test_abandoned_work_is_removed_after_a_day(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = cache / "converted" / f"{cache_module.PARTIAL}old"
    old.mkdir(parents=True)
    path = small(tmp_path / "small.gguf")
    key = open_gguf(path).key
    assert kept(cache) == [old.name, key]  # another process may be at work
    monkeypatch.setattr(cache_module, "ABANDONED_SECONDS", -1)
    open_gguf(small(tmp_path / "other.gguf", GPT2))
    assert old.name not in kept(cache)
