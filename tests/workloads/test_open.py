"""From what the user typed to weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from isa.errors import UserError
from workloads.catalogue import entries
from workloads.open import open_workload


@pytest.mark.parametrize("name", ["toy-llama", "toy-gpt2"])
def test_toys_run_anywhere_and_read_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = open_workload(name, seed=4)
    assert source.config == entries()[name].config
    assert source.config.parameters() < 150_000
    tokenizer = source.tokenizer()
    assert tokenizer is not None
    assert max(tokenizer.encode("héllo<|endoftext|>")) < source.config.vocab
    assert capsys.readouterr().err == ""


def test_a_model_without_weights_at_hand_gets_random_ones_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = open_workload("gpt2", seed=4)
    assert source.origin == "seeded random weights (seed 4)"
    assert source.get("layer11.o").shape == (768, 768)
    assert source.tokenizer() is None
    assert "gpt2: no real weights at hand, using seeded random ones (seed 4)" in (
        capsys.readouterr().err
    )


def test_random_weights_can_be_had_for_a_model_with_real_ones(cache: Path) -> None:
    source = open_workload("smollm2", random_weights=True)
    assert source.config == entries()["smollm2"].config
    assert source.origin.startswith("seeded random")
    assert not cache.exists()


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown workload 'smolm2'\. Did you mean 'smollm2'\?"):
        open_workload("smolm2")


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file or folder: .*none\.gguf"):
        open_workload(tmp_path / "none.gguf")
    with pytest.raises(UserError, match="no such file or folder"):
        open_workload(tmp_path / "nothing")


def test_a_bare_safetensors_file_asks_for_its_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"give the folder that has its config\.json"):
        open_workload(tmp_path / "model.safetensors")
