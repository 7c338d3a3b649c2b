"""The real SmolLM2 on the simulated CPU says what two independent implementations say."""

import subprocess
import sys

import pytest

from sim import simulate
from tests.workloads.real_weights import GREEDY_IDS, PROMPT, PROMPT_IDS, TOP5, open_smollm2

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module", autouse=True)
def _weights():
    open_smollm2()


@pytest.mark.slow
def test_f32_gives_exactly_the_reference_tokens_and_logits():
    result = simulate("smollm2", prompt=PROMPT, tokens=16, dtype="f32")
    assert result.prompt_ids == PROMPT_IDS
    assert result.tokens == GREEDY_IDS
    assert [token for token, _ in result.logits_top5[0]] == list(TOP5)
    found = [value for _, value in result.logits_top5[0]]
    assert found == pytest.approx(list(TOP5.values()), abs=2e-3)
    assert result.text.startswith(" Paris.")


def test_bf16_gives_the_same_first_token_and_the_same_best_five():
    result = simulate("smollm2", prompt=PROMPT, tokens=1, dtype="bf16")
    assert result.tokens == GREEDY_IDS[:1]
    assert {token for token, _ in result.logits_top5[0]} == set(TOP5)


def test_a_chat_answers_the_question():
    result = simulate("smollm2", chat="What is the capital of France?", tokens=8)
    assert "Paris" in result.text
    assert result.prompt_ids[0] == 1  # <|im_start|> opens the ChatML template


@pytest.mark.slow
def test_bf16_runs_in_two_gigabytes():
    """Peak memory of a process of its own, in KiB on Linux."""
    code = (
        "import resource; from sim import simulate;"
        f"simulate('smollm2', prompt={PROMPT!r}, tokens=2);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 <= 2e9
