"""Shapes: what is counted, what is refused, how rotary frequencies are stretched."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from isa.errors import UserError
from tests.workloads.synthetic import GPT2, LLAMA, llama_with
from workloads.catalogue import entries
from workloads.config import ModelConfig
from workloads.rope import rope_factors

# Published sizes: the models' cards and papers.
PUBLISHED = {
    "smollm2": 134_515_008,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "llama-3.2-1b": 1_235_814_400,
    "tinyllama-1.1b": 1_100_048_384,
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_catalogue_shapes_have_the_published_number_of_parameters(
    name: str, parameters: int
) -> None:
    assert entries()[name].config.parameters() == parameters


def test_every_catalogue_entry_names_the_source_of_its_shape() -> None:
    assert all(entry.source for entry in entries().values())


@pytest.mark.parametrize("config", [LLAMA, GPT2, entries()["llama-3.2-1b"].config])
def test_a_config_survives_json(config: ModelConfig) -> None:
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kv_heads": 4}, "6 query heads cannot share 4"),
        ({"head_dim": 7}, "head_dim = 7 is odd"),
        ({"layers": 0}, "layers = 0"),
        ({"activation": "relu"}, "activation 'relu' is not supported"),
        ({"family": "bert"}, "unknown family 'bert'"),
        ({"rope_base": None}, "needs rope_base"),
        ({"rope_factors": (1.0,)}, "1 rope_factors for 4 rotary pairs"),
        ({"norm_eps": 0.0}, "norm_eps = 0.0"),
    ],
)
def test_impossible_shapes_are_refused_by_field(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        llama_with(**changes)


def test_rotary_frequencies_fall_from_one_by_the_base() -> None:
    frequencies = LLAMA.inverse_frequencies()
    assert frequencies[0] == 1.0
    assert np.allclose(frequencies, [1.0, 1e-1, 1e-2, 1e-3], rtol=1e-12)


def test_llama3_scaling_keeps_short_waves_and_stretches_long_ones() -> None:
    config = entries()["llama-3.2-1b"].config
    assert config.rope_factors is not None
    waves = 2 * math.pi * 500000.0 ** (np.arange(32) / 32)
    for wave, factor in zip(waves, config.rope_factors, strict=True):
        if wave < 8192 / 4.0:
            assert factor == 1.0
        elif wave > 8192 / 1.0:
            assert factor == 32.0
        else:
            # Meta's formula, on the frequency itself.
            smooth = (8192 / wave - 1.0) / (4.0 - 1.0)
            scaled = (1 - smooth) * (1 / wave) / 32.0 + smooth * (1 / wave)
            assert factor == pytest.approx((1 / wave) / scaled, rel=1e-12)
            assert 1.0 < factor < 32.0


def test_linear_scaling_divides_every_frequency() -> None:
    assert rope_factors({"type": "linear", "factor": 4.0}, 1e4, 8, "x") == (4.0,) * 4
    assert rope_factors({"rope_type": "default"}, 1e4, 8, "x") is None
    assert rope_factors(None, 1e4, 8, "x") is None


def test_unknown_scaling_and_missing_keys_are_refused() -> None:
    with pytest.raises(UserError, match=r"m/config\.json: rope_scaling of type 'yarn'"):
        rope_factors({"rope_type": "yarn", "factor": 4.0}, 1e4, 8, "m/config.json")
    with pytest.raises(UserError, match="lacks the key 'low_freq_factor'"):
        rope_factors({"rope_type": "llama3", "factor": 4.0}, 1e4, 8, "x")
