"""The real SmolLM2 for tests, and what it must say.

The numbers come from float32 runs of two independent implementations over the weights
dequantized from the GGUF file; they agree to 3.4e-5 in the logits.
"""

from __future__ import annotations

import os

import pytest

from isa.errors import UserError
from workloads.open import open_workload
from workloads.weights.source import WeightSource

PROMPT = "The capital of France is"
PROMPT_IDS = [504, 3575, 282, 4649, 314]
TOP5 = {7042: 17.37127, 260: 14.8886, 4528: 13.24498, 2250: 13.00947, 1315: 12.95152}
GREEDY_IDS = [7042, 30, 198, 198, 504, 2988, 314, 42, 216, 34, 32, 33, 40, 29, 32, 33]


def open_smollm2() -> WeightSource:
    """The fetched model; without network and cache the test is skipped, but never in CI."""
    try:
        return open_workload("smollm2")
    except UserError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"needs the real SmolLM2 weights: {error}")
