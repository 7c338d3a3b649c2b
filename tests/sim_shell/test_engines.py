"""`engine=` and `--engine`: which engine runs a program, and that nothing else depends on it."""

import json
import os
import signal
import subprocess
import sys

import pytest

from isa.errors import UserError
from sim import simulate
from tests.docs.examples import ROOT
from tests.end_to_end import account

MATMUL = ROOT / "docs" / "examples" / "matmul.s"
OWN = {"engine", "host_seconds"}  # all that may differ in a run's JSON object


def common(values):
    return {key: value for key, value in values.items() if key not in OWN}


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        {"workload": "toy-llama", "ids": [1, 2, 3], "tokens": 3},
        {"workload": "toy-gpt2", "ids": [4, 5], "tokens": 2, "dtype": "f32", "batch": 2},
        {"workload": "toy-llama", "context": 9, "tokens": 2, "values": False},
    ],
    ids=["llama", "gpt2", "values off"],
)
def test_a_model_gives_the_same_object_on_both_engines(arguments):
    compiled = simulate(machine="teach", **arguments)
    reference = simulate(machine="teach", engine="reference", **arguments)
    assert (compiled.engine, reference.engine) == ("compiled", "reference")
    assert common(compiled.to_dict()) == common(reference.to_dict())
    account.check(reference.to_dict())


def test_a_kernel_shows_the_same_on_both_engines(tickformer):
    compiled = tickformer("run-asm", MATMUL, "--log", 1000)
    reference = tickformer("run-asm", MATMUL, "--log", 1000, "--engine", "reference")
    assert reference.code == 0
    assert "Instructions, by cycle" in reference.out
    assert reference == compiled
    assert tickformer("run-asm", MATMUL, "--log", 1000, "--engine", "compiled") == compiled


def test_a_kernels_json_object_names_the_engine(tickformer):
    compiled = json.loads(tickformer("run-asm", MATMUL, "--json", "-").out)
    reference = json.loads(
        tickformer("run-asm", MATMUL, "--json", "-", "--engine", "reference").out
    )
    assert (compiled["engine"], reference["engine"]) == ("compiled", "reference")
    assert common(compiled) == common(reference)


def test_the_reference_engine_is_named_above_a_models_account(tickformer):
    arguments = ["run", "toy-llama", "--machine", "teach", "--ids", "1", "--tokens", "1"]
    assert "attention, reference engine\n" in tickformer(*arguments, "--engine", "reference").out
    assert "engine" not in tickformer(*arguments).out


@pytest.mark.parametrize(
    ("engine", "loaded", "not_loaded"),
    [
        ("compiled", {"numba", "sim.engine"}, {"sim.reference"}),
        ("reference", {"sim.reference"}, {"numba", "sim.engine"}),
    ],
)
def test_only_the_engine_that_runs_is_loaded(engine, loaded, not_loaded):
    code = (
        "import sys\n"
        "from sim.cli.main import execute\n"
        f"assert execute(['run-asm', {str(MATMUL)!r}, '--engine', {engine!r}]) == 0\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    modules = set(finished.stderr.split())
    assert loaded <= modules
    assert not not_loaded & modules


@pytest.mark.parametrize("name", ["referense", "", "Compiled"])
def test_an_unknown_engine_is_refused_before_anything_is_loaded(tickformer, name):
    with pytest.raises(UserError, match=f"there is no engine {name!r}"):
        simulate("no-such-model", engine=name)
    for command in (["run", "no-such-model"], ["run-asm", "no-such-file.s"]):
        outcome = tickformer(*command, "--engine", name)
        assert (outcome.code, outcome.out) == (1, "")
        assert f"error: there is no engine {name!r}" in outcome.err
        assert "Engines: compiled, reference" in outcome.err
        assert ("Did you mean 'reference'?" in outcome.err) == (name == "referense")


def test_an_interrupt_inside_a_step_of_the_reference_engine_books_the_part_that_was_run():
    said = []

    def once(text):
        said.append(text)
        if sum("prefill of 9 tokens: cycle" in each for each in said) == 3:
            signal.raise_signal(signal.SIGINT)

    result = simulate("toy-llama", "teach", prefill=9, engine="reference", progress=once)
    assert result.partial
    assert [step.partial for step in result.account.steps] == [True]
    assert result.cycles > 0
    account.check(result.to_dict())


def test_memory_for_the_reference_engine_is_checked_with_values_off_too(monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: 1)
    with pytest.raises(UserError, match="compiled engine with values off"):
        simulate("toy-llama", "teach", ids=[1], tokens=1, values=False, engine="reference")
