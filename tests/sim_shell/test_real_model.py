"""The real SmolLM2 as a chat model; its reference run is in tests/end_to_end/test_smollm2.py."""

import pytest

from sim import simulate
from tests.workloads.real_weights import open_smollm2

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module", autouse=True)
def _weights():
    open_smollm2()


def test_a_chat_answers_the_question():
    result = simulate("smollm2", chat="What is the capital of France?", tokens=8)
    assert "Paris" in result.text
    assert result.prompt_ids[0] == 1  # <|im_start|> opens the ChatML template
