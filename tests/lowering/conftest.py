"""Fixtures of the lowering tests: the targets and types every kernel must work for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isa import Target
from tests.lowering.bench import TARGETS


@pytest.fixture(params=list(TARGETS))
def target(request: pytest.FixtureRequest) -> Target:
    return TARGETS[request.param]


@pytest.fixture(params=["8x16x64", "8x4x64", "8x4x16"])
def machine(request: pytest.FixtureRequest) -> Target:
    """The tiles of the machines in the presets, for tests of whole models."""
    return TARGETS[request.param]


@pytest.fixture(params=["f32", "bf16"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TICKFORMER_CACHE", str(folder))
    return folder
