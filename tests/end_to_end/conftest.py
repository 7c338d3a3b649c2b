"""Models on disk, and command lines whose JSON is wanted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sim.cli.main import execute
from tests.end_to_end.models import HEADS, LARGE, SMALL, Model, write_model
from tests.workloads.real_weights import open_smollm2
from workloads.weights.source import WeightSource

Json = dict[str, Any]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """The small random models by name."""
    folder = tmp_path_factory.mktemp("models")
    return {config.name: write_model(folder, config) for config in SMALL}


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model of some megabytes whose sizes are multiples of every tile."""
    return write_model(tmp_path_factory.mktemp("large"), LARGE)


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model for attention by hand."""
    return write_model(tmp_path_factory.mktemp("heads"), HEADS)


@pytest.fixture
def run_json(capsys: pytest.CaptureFixture[str]) -> Callable[..., Json]:
    """`tickformer run` with the arguments; returns its JSON object."""

    def call(*arguments: object) -> Json:
        code = execute(["run", *map(str, arguments), "--json", "-"])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return dict(json.loads(captured.out))

    return call


@pytest.fixture(scope="session")
def smollm2() -> WeightSource:
    """The real SmolLM2-135M-Instruct, from the user's own cache."""
    return open_smollm2()
