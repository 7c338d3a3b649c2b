"""A damaged cache is made anew, with a message, and gives the same model."""

import json
import shutil

import numpy as np
import pytest

from tests.workloads.synthetic import LLAMA, gguf_tensors, random_weights, write_gguf
from workloads.open import open_workload

TOKENS = ["a", "b", "ab", "<|begin|>", "<|end|>", *(f"t{i}" for i in range(256))]


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Call to open the model; the folder of its converted copy, made before."""
    monkeypatch.setenv("TICKFORMER_CACHE", str(tmp_path / "cache"))
    weights = random_weights(LLAMA)
    file = write_gguf(
        tmp_path / "a.gguf", LLAMA, gguf_tensors(weights), tokens=TOKENS, merges=("a b",)
    )

    def call():
        source = open_workload(file)
        assert np.array_equal(source.get("layer1.down"), weights["layer1.down"])
        tokenizer = source.tokenizer()
        assert tokenizer is not None
        assert tokenizer.encode("ab") == [3, 2]

    call()
    (call.folder,) = (tmp_path / "cache" / "converted").iterdir()
    call.digests = tmp_path / "cache" / "digests"
    return call


@pytest.mark.parametrize(
    "file", ["weights.f32", "model.json", "tokenizer.json", "tokenizer_settings.json"]
)
@pytest.mark.parametrize("kept", [0, 50, None], ids=["empty", "cut", "missing"])
def test_a_damaged_file(opened, capsys, file, kept):
    path = opened.folder / file
    if kept is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:kept])
    capsys.readouterr()
    opened()
    assert "a.gguf in the cache is damaged; making it anew" in capsys.readouterr().err
    opened()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ["[]", "5", "{}", "[" * 100_000, "null"], ids=lambda t: t[:5])
def test_foreign_json(opened, text):
    (opened.folder / "model.json").write_text(text)
    for digest in opened.digests.iterdir():
        digest.write_text(text)
    opened()


def test_descriptions_that_lack_something(opened):
    path = opened.folder / "model.json"
    whole = json.loads(path.read_text())
    for key in whole:
        path.write_text(json.dumps({**whole, key: {}}))
        opened()


def test_a_cache_that_is_a_file(opened, tmp_path, refused):
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("")
    assert "set TICKFORMER_CACHE" in refused("run", tmp_path / "a.gguf", "--ids", "1")
