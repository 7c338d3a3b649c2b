"""`tickformer run`: streams, tables, JSON, exit codes."""

import json
import math
import os

import pytest

TOY = ["run", "toy-llama", "--machine", "teach", "--prompt", "hello", "--tokens", "4"]


def test_text_comes_first_then_the_account(tickformer, monkeypatch):
    """Nothing on stderr; a busy host would show progress after a while."""
    monkeypatch.setattr("sim.cli.console.QUIET_SECONDS", math.inf)
    outcome = tickformer(*TOY)
    assert outcome.code == 0
    assert outcome.err == ""
    assert outcome.out.startswith("hello")
    for part in ("toy-llama on teach at 1GHz", "cycles a token", "prefill", "linear", "DRAM"):
        assert part in outcome.out


def test_json_on_stdout_is_alone_there(tickformer):
    outcome = tickformer(*TOY, "--json", "-")
    values = json.loads(outcome.out)
    assert len(values["tokens"]) == 4
    assert values["workload"] == "toy-llama"


def test_json_in_a_file_leaves_the_text_on_stdout(tickformer, tmp_path):
    file = tmp_path / "out.json"
    outcome = tickformer(*TOY, "--json", file)
    assert outcome.out.startswith("hello")
    assert json.loads(file.read_text(encoding="utf-8"))["cycles"] > 0
    assert os.listdir(tmp_path) == ["out.json"]


def test_an_unwritable_file_is_refused_before_the_run(tickformer, tmp_path):
    outcome = tickformer(*TOY, "--json", tmp_path / "no" / "out.json")
    assert outcome.code == 1
    assert outcome.out == ""
    assert "there is no folder" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--ids", "1,x"], "write token numbers with commas"),
        (["--values", "maybe"], "use on or off"),
        (["--set", "core.rob"], "write it as key=value"),
        (["--clock", "fast"], "3.0GHz"),
        (["--prompt", "a", "--prefill", "3"], "choose one of them"),
    ],
)
def test_wrong_options_are_user_errors(tickformer, arguments, expected):
    outcome = tickformer("run", "toy-llama", "--machine", "teach", *arguments)
    assert outcome.code == 1
    assert outcome.out == ""
    assert expected in outcome.err


def test_options_reach_the_machine_and_the_model(tickformer):
    outcome = tickformer(
        "run", "toy-gpt2", "--machine", "teach", "--clock", "2GHz", "--set", "core.width=1",
        "--context", "20", "--tokens", "2", "--dtype", "f32", "--attention", "naive",
        "--values", "off", "--json", "-",
    )  # fmt: skip
    values = json.loads(outcome.out)
    assert values["machine"]["clock"] == "2GHz"
    assert values["machine"]["core"]["width"] == 1
    assert (values["dtype"], values["attention"], values["values"]) == ("f32", "naive", False)
    assert [step["kind"] for step in values["steps"]] == ["decode", "decode"]


def test_cores_are_the_machine_s_or_those_asked_for(tickformer, tmp_path):
    (tmp_path / "two.toml").write_text('base = "teach"\nname = "two"\ncores = 2\n')
    run = ("run", "toy-llama", "--machine", tmp_path / "two.toml", "--ids", "1", "--tokens", "1")
    assert "toy-llama on 2 cores of two at 1GHz" in tickformer(*run).out
    assert "toy-llama on two at 1GHz" in tickformer(*run, "--cores", "1").out
