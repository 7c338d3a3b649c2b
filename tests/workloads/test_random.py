"""Seeded random weights: reproducible, independent per tensor, and told apart by their key."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isa.errors import UserError
from tests.workloads.numpy_forward import forward
from tests.workloads.synthetic import GPT2, LLAMA, llama_with
from workloads.config import ModelConfig
from workloads.weights.random import RandomWeights
from workloads.weights.source import WeightSource


def test_same_seed_same_weights_in_any_order() -> None:
    a, b = RandomWeights(LLAMA, 3), RandomWeights(LLAMA, 3)
    last = a.names()[-1]
    alone = a.get(last)
    for name in b.names():
        assert b.get(name).shape == LLAMA.weight_shapes()[name]
        assert b.get(name).dtype == np.float32
    assert np.array_equal(alone, b.get(last))
    assert isinstance(a, WeightSource)


def test_the_numbers_are_the_same_on_every_host() -> None:
    # Typed in once: a changed stream would silently change every toy run.
    values = RandomWeights(LLAMA, 0).get("layer0.q")[0, :3]
    assert values == pytest.approx([-0.07736136, -0.33642086, 0.46415615], abs=1e-7)


def test_the_key_follows_seed_and_shape_but_not_the_name() -> None:
    key = RandomWeights(LLAMA, 3).key
    assert key == RandomWeights(replace(LLAMA, name="other"), 3).key
    assert key != RandomWeights(LLAMA, 4).key
    assert key != RandomWeights(llama_with(rope_base=500.0), 3).key


@pytest.mark.parametrize("config", [LLAMA, GPT2])
def test_the_next_token_depends_on_the_whole_prompt(config: ModelConfig) -> None:
    source = RandomWeights(config, 1)
    a = forward(source, [5, 6, 7, 8])[-1]
    b = forward(source, [9, 6, 7, 8])[-1]
    assert np.abs(a - b).max() > 0.05
    assert 0.2 < a.std() < 5


def test_unknown_weights_and_negative_seeds_are_refused() -> None:
    with pytest.raises(UserError, match=r"no weight 'layer9\.q'"):
        RandomWeights(LLAMA).get("layer9.q")
    with pytest.raises(UserError, match="seed -1 is negative"):
        RandomWeights(LLAMA, -1)
