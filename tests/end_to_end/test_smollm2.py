"""The real SmolLM2 from the command line: what it says, what the account adds up to, what it costs.

Two runs, shared by the tests: sixteen tokens in f32, three in bf16, each in a process of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from tests.end_to_end import account, cli
from tests.workloads.real_weights import GREEDY_IDS, PROMPT, PROMPT_IDS, TOP5
from workloads.weights.source import WeightSource

pytestmark = [pytest.mark.weights, pytest.mark.slow]

TOKENS = {"f32": 16, "bf16": 3}
LAYERS = 30


class Run(NamedTuple):
    process: cli.Finished
    json: dict[str, Any]


@pytest.fixture(scope="module")
def runs(smollm2: WeightSource, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """`tickformer run smollm2` in both types."""
    folder = tmp_path_factory.mktemp("smollm2")
    finished = {}
    for dtype, tokens in TOKENS.items():
        file = folder / f"{dtype}.json"
        process = cli.run(
            "run", "smollm2", "--prompt", PROMPT, "--tokens", tokens, "--dtype", dtype,
            "--json", file,
        )  # fmt: skip
        assert process.code == 0, process.err
        finished[dtype] = Run(process, json.loads(file.read_text(encoding="utf-8")))
    return finished


def numbers(top5: Sequence[Sequence[float]]) -> list[int]:
    """The token ids of a step's best."""
    return [int(token) for token, _ in top5]


def test_f32_says_the_reference_tokens(runs: dict[str, Run]) -> None:
    run = runs["f32"].json
    assert run["prompt_ids"] == PROMPT_IDS
    assert run["tokens"] == GREEDY_IDS
    assert [numbers(step)[0] for step in run["logits_top5"]] == GREEDY_IDS


def test_f32_has_the_reference_logits(runs: dict[str, Run]) -> None:
    first = runs["f32"].json["logits_top5"][0]
    assert numbers(first) == list(TOP5)
    values = [value for _, value in first]
    assert values == pytest.approx(list(TOP5.values()), rel=0, abs=2e-3)


def test_bf16_has_the_same_first_token_and_the_same_best_five(runs: dict[str, Run]) -> None:
    run = runs["bf16"].json
    assert run["tokens"][0] == GREEDY_IDS[0]
    assert set(numbers(run["logits_top5"][0])) == set(TOP5)


def test_the_text_is_printed_before_the_account(
    runs: dict[str, Run], smollm2: WeightSource
) -> None:
    tokenizer = smollm2.tokenizer()
    assert tokenizer is not None
    for run in runs.values():
        text = tokenizer.decode(run.json["tokens"])
        assert run.json["text"] == text
        assert run.process.out.startswith(f"{PROMPT}{text}\n")
        assert "smollm2 on sapphire-rapids" in run.process.out.removeprefix(PROMPT + text)


@pytest.mark.parametrize("dtype", TOKENS)
def test_everything_adds_up(runs: dict[str, Run], dtype: str) -> None:
    run = runs[dtype].json
    account.check(run)
    assert [step["kind"] for step in run["steps"]] == ["prefill", *["decode"] * (TOKENS[dtype] - 1)]
    assert [step["context"] for step in run["steps"]] == list(range(5, 5 + TOKENS[dtype]))
    assert all(len(step) == 5 for step in run["logits_top5"])
    for number in range(TOKENS[dtype]):
        layers = [o["layer"] for o in run["operators"] if o["step"] == number]
        assert set(layers) == {None, *range(LAYERS)}


def test_every_step_multiplies_every_weight_with_every_row(
    runs: dict[str, Run], smollm2: WeightSource
) -> None:
    """Flops of the linear operators: the products, and the residuals added to o and down."""
    config = smollm2.config
    shapes = config.weight_shapes()
    elements = sum(rows * columns for rows, *rest in shapes.values() for columns in rest)
    logits = config.vocab * config.d_model
    for run in (run.json for run in runs.values()):
        for number, step in enumerate(run["steps"]):
            per_row = 2 * (elements - logits) + 2 * config.layers * config.d_model
            found = sum(
                operator["flops"]
                for operator in run["operators"]
                if operator["step"] == number and operator["kind"] == "linear"
            )
            assert found == step["tokens"] * per_row + 2 * logits


def test_a_token_moves_every_weight_once(runs: dict[str, Run], smollm2: WeightSource) -> None:
    """The weights are larger than all caches together, so DRAM reads are theirs, within 1%."""
    elements = smollm2.config.parameters()
    for dtype, size in (("f32", 4), ("bf16", 2)):
        run = runs[dtype].json
        read = sum(o["dram_bytes"] for o in run["operators"] if o["kind"] == "linear")
        assert read == pytest.approx(TOKENS[dtype] * elements * size, rel=0.01)


def test_bf16_takes_at_most_two_gigabytes(runs: dict[str, Run]) -> None:
    assert runs["bf16"].process.peak_bytes <= 2e9
