"""The same cycles and counters every time, whether values are computed or not.

Plain command lines, and the whole JSON object but for what a run without values has not got.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.end_to_end import account, cli

Json = dict[str, Any]
RunJson = Callable[..., Json]
MACHINES = ("teach", "cortex-a76", "avx512", "sapphire-rapids")
OF_VALUES = ("tokens", "text", "logits_top5", "values", "origin", "batch_tokens")


def combinations() -> list[Any]:
    """Every model, type and attention on every machine; of each machine two are not slow.

    Those two differ in all three, and every combination of the three is on one machine.
    """
    kinds = itertools.product(("toy-llama", "toy-gpt2"), ("f32", "bf16"), ("online", "naive"))
    chosen = []
    for (i, kind), (j, machine) in itertools.product(enumerate(kinds), enumerate(MACHINES)):
        slow = j not in (i, 7 - i)
        chosen.append(pytest.param(*kind, machine, marks=[pytest.mark.slow] * slow))
    return chosen


def timing(run: Json) -> Json:
    """Everything in the object that is not a value or the host's own time."""
    return {key: run[key] for key in run if key not in (*OF_VALUES, "host_seconds")}


@pytest.mark.parametrize(("workload", "dtype", "attention", "machine"), combinations())
def test_values_off_is_equal_to_the_cycle(
    run_json: RunJson, workload: str, dtype: str, attention: str, machine: str
) -> None:
    """A prefill of 21 tokens and four decode steps, and the sums of the account in passing."""
    arguments = (
        workload, "--machine", machine, "--dtype", dtype, "--attention", attention,
        "--prompt", "a prompt of 21 tokens", "--tokens", 5,
    )  # fmt: skip
    on = run_json(*arguments)
    off = run_json(*arguments, "--values", "off")
    assert len(on["tokens"]) == len(on["logits_top5"]) == 5
    assert (off["tokens"], off["logits_top5"]) == ([], [])
    assert [step["kind"] for step in on["steps"]] == ["prefill", *["decode"] * 4]
    assert timing(on) == timing(off)
    account.check(on)


@pytest.mark.parametrize(
    ("machine", "options"),
    [
        ("avx512", ("--context", 200, "--tokens", 3)),
        ("teach", ("--prefill", 33, "--tokens", 3, "--batch", 3)),
        ("cortex-a76", ("--ids", "1,2,3", "--tokens", 5, "--clock", "1.7GHz")),
        ("sapphire-rapids", ("--ids", "1,2,3", "--tokens", 5, "--set", "l1.mshrs=6")),
        ("sapphire-rapids", ("--context", 30, "--ids", "5,6,7", "--tokens", 3)),
    ],
)
def test_every_way_to_start_repeats_and_needs_no_values(
    run_json: RunJson, machine: str, options: tuple[object, ...]
) -> None:
    command = ("toy-llama", "--machine", machine, *options)
    first, again = run_json(*command), run_json(*command)
    assert {**first, "host_seconds": 0} == {**again, "host_seconds": 0}
    assert timing(first) == timing(run_json(*command, "--values", "off"))
    account.check(first)


def test_sampling_does_not_change_a_cycle(run_json: RunJson) -> None:
    """Which token was chosen decides values, never addresses."""
    command = ("toy-gpt2", "--machine", "cortex-a76", "--prompt", "sample", "--tokens", 6)
    greedy = run_json(*command)
    sampled = run_json(*command, "--temperature", 3.0)
    assert sampled["tokens"] != greedy["tokens"]
    assert timing(sampled) == timing(greedy)


@pytest.mark.slow
def test_processes_agree(run_json: RunJson, tmp_path: Any) -> None:
    """Nothing depends on the order in which a process happens to hash."""
    command = ("run", "toy-llama", "--machine", "sapphire-rapids", "--prompt", "hash")
    processes = {
        seed: cli.start(*command, "--json", tmp_path / f"{seed}.json", PYTHONHASHSEED=str(seed))
        for seed in (1, 2)
    }
    for process in processes.values():
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
    runs = [json.loads((tmp_path / f"{seed}.json").read_text()) for seed in processes]
    assert {**runs[0], "host_seconds": 0} == {**runs[1], "host_seconds": 0}
    assert timing(runs[0]) == timing(run_json(*command[1:]))
