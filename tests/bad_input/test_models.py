"""Damaged and foreign model files: always the user's error, whatever byte or key is wrong."""

import json
import random

import pytest

from isa.errors import UserError
from tests.workloads.synthetic import (
    LLAMA,
    gguf_tensors,
    hf_llama,
    random_weights,
    write_folder,
    write_gguf,
)
from workloads.open import open_workload

DEEP = "[" * 100_000
TOKENS = ["<|begin|>", "<|end|>", *(f"t{i}" for i in range(259))]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("TICKFORMER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def weights():
    return random_weights(LLAMA)


@pytest.mark.parametrize(
    "change",
    [
        {"architectures": 1.5},
        {"architectures": "Foo"},
        {"num_hidden_layers": 10**30},
        {"rms_norm_eps": None},
        {"rms_norm_eps": float("inf")},
        {"rope_theta": "x"},
        {"rope_theta": [1]},
        {"rope_scaling": "x"},
        {"rope_scaling": {"rope_type": "linear", "factor": "x"}},
        {"hidden_size": "x"},
        {"num_attention_heads": 0},
    ],
    ids=str,
)
def test_values_of_config_json(tmp_path, weights, change):
    described, tensors = hf_llama(weights)
    folder = write_folder(tmp_path / "model", {**described, **change}, tensors)
    with pytest.raises(UserError, match=r"config\.json|model 'model'"):
        open_workload(folder)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", DEEP),
        ("config.json", '{"a": "\udcff"}'),
        ("tokenizer.json", "{}"),
        ("tokenizer_config.json", '{"chat_template": [1, 2]}'),
        ("tokenizer_config.json", DEEP),
        ("generation_config.json", '{"eos_token_id": "x"}'),
        ("generation_config.json", '{"eos_token_id": [[1]]}'),
        ("chat_template.jinja", "\udcff"),
    ],
    ids=lambda text: text[:25].encode("utf-8", "replace").decode(),
)
def test_other_files_of_a_folder(tmp_path, weights, file, content):
    from workloads.tokenizer import byte_tokenizer

    folder = write_folder(tmp_path / "model", *hf_llama(weights))
    byte_tokenizer().save(folder)
    (folder / file).write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(UserError):
        open_workload(folder).tokenizer()


def test_an_index_that_names_no_files(tmp_path, weights):
    folder = write_folder(tmp_path / "model", *hf_llama(weights))
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": [1]}}')
    with pytest.raises(UserError, match="is missing"):
        open_workload(folder)


def test_safetensors_before_the_file(tmp_path, weights):
    folder = write_folder(tmp_path / "model", *hf_llama(weights))
    file = folder / "model.safetensors"
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    begin, end = header["lm_head.weight"]["data_offsets"]
    header["lm_head.weight"]["data_offsets"] = [begin - 10**6, end - 10**6]
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(UserError, match="damaged header"):
        open_workload(folder)


def test_any_damage_of_a_gguf_file(tmp_path, weights):
    file = write_gguf(tmp_path / "whole.gguf", LLAMA, gguf_tensors(weights), tokens=TOKENS)
    data = file.read_bytes()
    damaged = tmp_path / "damaged.gguf"
    rng = random.Random(5)
    messages = []
    for trial in range(120):
        changed = bytearray(data[: rng.randrange(len(data))] if trial % 4 == 0 else data)
        for _ in range(rng.choice([0, 1, 4]) if trial % 4 == 0 else rng.choice([1, 2, 8])):
            changed[rng.randrange(4, min(len(changed), 12_000))] = rng.choice([0, 255, 0x41])
        damaged.write_bytes(changed)
        try:
            source = open_workload(damaged)
            for name in source.names():
                source.get(name)
            source.tokenizer()
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > 40
    assert all("damaged" in message for message in messages)
