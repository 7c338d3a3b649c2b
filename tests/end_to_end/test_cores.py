"""Models on machines of several cores: the same tokens, sooner; every core's time is booked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.end_to_end import account
from tests.end_to_end.test_determinism import timing

Json = dict[str, Any]
RunJson = Callable[..., Json]


@pytest.mark.parametrize(
    ("workload", "machine"),
    [
        ("toy-llama", "teach"),
        ("toy-gpt2", "sapphire-rapids"),
        pytest.param("toy-llama", "sapphire-rapids", marks=pytest.mark.slow),
        pytest.param("toy-gpt2", "teach", marks=pytest.mark.slow),
    ],
)
def test_tokens_and_logits_do_not_depend_on_cores(
    run_json: RunJson, workload: str, machine: str
) -> None:
    arguments = (workload, "--machine", machine, "--prompt", "a prompt of 21 tokens", "--tokens", 4)
    one = run_json(*arguments)
    for cores, partition, turn in ((2, "auto", 0), (5, "rows", 20), (8, "columns", 5)):
        turns = ("--set", f"turn_ns={turn}")
        many = run_json(*arguments, "--cores", cores, "--partition", partition, *turns)
        assert many["tokens"] == one["tokens"]
        assert many["logits_top5"] == one["logits_top5"]
        # a toy fits the caches of the other machine, where its cores are in each other's way
        assert many["cycles"] < one["cycles"] or machine == "sapphire-rapids"
        account.check(many)


def test_big_and_little_cores_change_no_token(run_json: RunJson) -> None:
    arguments = ("toy-llama", "--machine", "rk3588", "--prompt", "a prompt", "--tokens", 3)
    one = run_json(*arguments, "--set", "cores=1")
    types = 'core_type=["core", "a55", "a55"]'
    many = run_json(*arguments, "--cores", 3, "--set", types)
    assert many["tokens"] == one["tokens"]
    assert many["logits_top5"] == one["logits_top5"]
    big, *little = many["core_cycles"]
    assert little == pytest.approx([big * 1.8 / 2.4] * 2, rel=1e-4)
    # Slots of a core of width 4 and two of width 2, all of whose cycles are booked.
    assert sum(many["causes"].values()) == pytest.approx(sum(many["core_cycles"]) / 3, abs=0.01)


def test_cores_need_no_values_for_their_cycles(run_json: RunJson) -> None:
    arguments = ("toy-llama", "--prefill", 40, "--tokens", 3, "--cores", 3, "--batch", 2)
    assert timing(run_json(*arguments)) == timing(run_json(*arguments, "--values", "off"))
