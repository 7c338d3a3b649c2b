"""Sampling on the host: exact on small cases, and the right frequencies."""

from __future__ import annotations

import numpy as np
import pytest

from isa.errors import UserError
from workloads.sampling import sample

LOGITS = np.log(np.array([0.1, 0.4, 0.2, 0.3]))


def draws(temperature: float, top_k: int, top_p: float, count: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(0)
    chosen = [sample(LOGITS, temperature, top_k, top_p, rng) for _ in range(count)]
    return np.bincount(chosen, minlength=len(LOGITS)) / count


def test_temperature_zero_takes_the_first_largest_and_draws_nothing() -> None:
    rng = np.random.default_rng(0)
    assert sample(np.array([1.0, 3.0, 3.0], dtype=np.float32), 0, 0, 1, rng) == 1
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_frequencies_are_the_softmax() -> None:
    assert draws(1.0, 0, 1.0) == pytest.approx([0.1, 0.4, 0.2, 0.3], abs=0.03)


def test_temperature_sharpens() -> None:
    squared = np.array([0.01, 0.16, 0.04, 0.09])
    assert draws(0.5, 0, 1.0) == pytest.approx(squared / squared.sum(), abs=0.03)


def test_top_k_keeps_the_k_best() -> None:
    assert draws(1.0, 2, 1.0) == pytest.approx([0, 0.4 / 0.7, 0, 0.3 / 0.7], abs=0.03)
    assert draws(1.0, 1, 1.0)[1] == 1.0


def test_top_p_keeps_the_fewest_that_reach_it() -> None:
    assert draws(1.0, 0, 0.4)[1] == 1.0
    assert draws(1.0, 0, 0.65) == pytest.approx([0, 0.4 / 0.7, 0, 0.3 / 0.7], abs=0.03)
    assert draws(1.0, 0, 0.75) == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9], abs=0.03)


def test_equal_scores_rank_by_lower_id() -> None:
    rng = np.random.default_rng(0)
    assert sample(np.zeros(5), 1.0, 1, 1.0, rng) == 0


def test_a_seed_repeats_its_draws_and_one_number_is_drawn_per_token() -> None:
    a, b = np.random.default_rng(5), np.random.default_rng(5)
    first = [sample(LOGITS, 0.8, 3, 0.9, a) for _ in range(20)]
    assert first == [sample(LOGITS, 0.8, 3, 0.9, b) for _ in range(20)]
    other = np.random.default_rng(5)
    other.random(20)
    assert a.random() == other.random()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ((-1.0, 0, 1.0), "temperature -1.0"),
        ((float("nan"), 0, 1.0), "temperature nan"),
        ((1.0, -2, 1.0), "top-k -2"),
        ((1.0, 0, 0.0), "top-p 0.0"),
        ((1.0, 0, 1.5), "top-p 1.5"),
    ],
)
def test_settings_outside_their_range_are_refused(
    settings: tuple[float, int, float], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        sample(LOGITS, *settings, np.random.default_rng(0))
