"""Fixtures of the workload tests: an empty cache folder, and the real SmolLM2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workloads.real_weights import open_smollm2
from workloads.weights.source import WeightSource


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TICKFORMER_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def smollm2() -> WeightSource:
    """The real SmolLM2-135M-Instruct, from the user's own cache."""
    return open_smollm2()
