"""Ctrl-C during a long run, and programs that do not grow with the work."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sim.cli.output import write_text
from sim.machine import load_machine
from tests.end_to_end import account, cli
from workloads.catalogue import entries
from workloads.lowering import lower
from workloads.weights.random import RandomWeights

SECONDS = 120  # far more than anything here takes


def interrupt(process: subprocess.Popen[str], times: int = 1) -> tuple[str, str]:
    """Press Ctrl-C so many times, and wait for what the process still has to say."""
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    return process.communicate(timeout=SECONDS)


def wait_for(stream: object, text: str) -> str:
    """Read until `text` has come; returns everything read."""
    read = ""
    while text not in read:
        piece = stream.read(1)  # type: ignore[attr-defined]
        assert piece, f"the process ended before it said {text!r}: {read}"
        read += piece
    return read


def test_ctrl_c_between_tokens_keeps_the_tokens(tmp_path: Path) -> None:
    """The account and the JSON file are whole, sums and all, and say that they are partial."""
    file = tmp_path / "out.json"
    process = cli.start(
        "run", "toy-llama", "--machine", "teach", "--prompt", "hello", "--tokens", 250,
        "--json", file,
    )  # fmt: skip
    assert process.stdout
    start = wait_for(process.stdout, "hello")
    out, err = interrupt(process)
    assert process.returncode == 130
    assert start + out.split("toy-llama on teach")[0].rstrip("\n")
    assert "(partial: interrupted)" in out
    assert "Where the cycles went" in out
    assert "the account above is partial" in err
    run = json.loads(file.read_text(encoding="utf-8"))
    assert run["partial"] is True
    assert 0 < len(run["tokens"]) < 250
    account.check(run)
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.slow
def test_ctrl_c_inside_a_step_books_the_part_that_was_run(tmp_path: Path) -> None:
    """Interrupted while GPT-2 decodes, once progress on stderr says so (after two seconds)."""
    file = tmp_path / "out.json"
    process = cli.start(
        "run", "gpt2", "--machine", "teach", "--dtype", "f32", "--values", "off",
        "--context", 100, "--tokens", 50, "--json", file,
    )  # fmt: skip
    assert process.stderr
    wait_for(process.stderr, "of 50: cycle")
    out, err = interrupt(process)
    assert process.returncode == 130
    assert "decode (partial)" in out
    assert "the account above is partial" in err
    run = json.loads(file.read_text(encoding="utf-8"))
    assert run["partial"] is True
    assert [step["partial"] for step in run["steps"]] == [False] * (len(run["steps"]) - 1) + [True]
    account.check(run)


def test_a_second_ctrl_c_leaves_no_half_written_file(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    process = cli.start(
        "run", "toy-llama", "--machine", "teach", "--prompt", "hello", "--tokens", 250,
        "--json", file,
    )  # fmt: skip
    assert process.stdout
    wait_for(process.stdout, "hello")
    interrupt(process, times=2)
    # The second may come when the program is already leaving, and then just kills it.
    assert process.returncode in (130, -signal.SIGINT)
    left = [path.name for path in tmp_path.iterdir()]
    assert left in ([], ["out.json"])
    if left:
        assert json.loads(file.read_text(encoding="utf-8"))["partial"] is True


def test_ctrl_c_when_a_file_has_just_been_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.open

    def interrupted(self: Path, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options).close()
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "out.json", "text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("machine", ["teach", "sapphire-rapids"])
@pytest.mark.parametrize(
    ("workload", "dtype", "attention"),
    [("smollm2", "f32", "online"), ("smollm2", "bf16", "naive"), ("gpt2", "bf16", "online")],
)
def test_program_size_does_not_grow_with_context_or_prompt(
    workload: str, dtype: str, attention: str, machine: str
) -> None:
    """One decode program serves every token, one prefill program every prompt."""
    source = RandomWeights(replace(entries()[workload].config, layers=2))
    target = load_machine(machine).target()
    words = set()
    for context, rows in ((16, 1), (256, 33), (1024, 1024)):
        lowered = lower(
            source, target, context=context, prompt_rows_max=rows, dtype=dtype,
            attention=attention, values=False,
        )  # fmt: skip
        words.add(len(lowered.programs[0].words))
    assert len(words) == 1
