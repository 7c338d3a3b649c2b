"""The real model through the NumPy oracle: weights, permutation and tokenizer are right."""

from __future__ import annotations

import numpy as np
import pytest

from tests.workloads.numpy_forward import forward
from tests.workloads.real_weights import GREEDY_IDS, PROMPT_IDS, TOP5
from workloads.catalogue import entries
from workloads.weights.source import WeightSource

pytestmark = pytest.mark.weights


def test_the_first_logits_and_the_greedy_text_are_the_reference(smollm2: WeightSource) -> None:
    # One pass over prompt and answer: each position must choose the answer's next id.
    logits = forward(smollm2, PROMPT_IDS + GREEDY_IDS[:-1])
    first = logits[len(PROMPT_IDS) - 1]
    best = np.argsort(-first)[:5]
    assert list(best) == list(TOP5)
    assert first[best] == pytest.approx(list(TOP5.values()), abs=2e-3)
    assert list(logits[len(PROMPT_IDS) - 1 :].argmax(axis=-1)) == GREEDY_IDS


def test_half_split_rotation_of_these_rows_is_wrong(smollm2: WeightSource) -> None:
    right = forward(smollm2, PROMPT_IDS)[-1]
    wrong = forward(smollm2, PROMPT_IDS, pairs="half-split")[-1]
    assert np.abs(wrong - right).max() > 3.0


def test_the_file_has_the_shape_the_catalogue_promises(smollm2: WeightSource) -> None:
    assert smollm2.config == entries()["smollm2"].config
