"""Programs of several cores that cannot end, and options that mean nothing for them."""

import pytest

from sim.cli.main import execute
from sim.engines import ENGINES

SIGNAL = "main: signal 0\nhalt"
WAIT = "main: li x5, 2\nbefore: wait 0, x5\nsignal 1\nhalt"
SLOW = ["--clock", "1MHz", "--set", "core.ops.mul.latency=1000000"]  # a mul takes a second
FOREVER = "main: mul x1, x1, x1\nj main"


@pytest.fixture
def fails(capsys, tmp_path):
    """Run a program per core, which must fail as the program's mistake; returns the message."""

    def call(texts, *options):
        files = [tmp_path / f"core{number}.s" for number in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text, encoding="utf-8")
        code = execute(["run-asm", *map(str, files), *options])
        captured = capsys.readouterr()
        assert code == 2, captured.err
        assert captured.out == ""
        return captured.err

    return call


@pytest.mark.parametrize("engine", ENGINES)
def test_a_deadlock_says_who_waits_where_for_what(fails, engine):
    message = fails([SIGNAL, WAIT], "--engine", engine)
    assert "deadlock: every core has halted or waits" in message
    assert "core 1, core1: pc 1, before, line 2: wait 0, x5\n" in message
    assert "counter 0 is 1, waited for 2" in message
    assert "core 0," not in message


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("text", ["", "# nothing", "halt\nmain:"])
def test_a_program_without_a_first_instruction(fails, engine, text):
    assert "is outside the program; end it with halt" in fails([text, text], "--engine", engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cores", [1, 2])
def test_time_does_not_run_out_silently(fails, engine, cores):
    """Femtoseconds are counted in 64 bits; beyond them cycles would be wrong."""
    message = fails([FOREVER] * cores, "--engine", engine, *SLOW, "--limit", "1000000")
    assert "500 simulated seconds have passed, and time is counted no further" in message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["toy-llama", "--step", "decode"], "add --cores N"),
        (["toy-llama", "--partition", "nonsense"], "add --cores N"),
        (["toy-llama", "--machine", "nosuch"], "--machine nosuch: operators are the same on all"),
        (["toy-llama", "--from", "loop"], "--from and --to are for assembler text"),
        (["toy-llama", "--cores", "2", "--to", "5"], "--from and --to are for assembler text"),
        (["kernel.s", "--cores", "2", "--format", "svg"], "--cores is for models"),
    ],
)
def test_graphs_refuse_what_would_change_nothing(refused, options, expected):
    assert expected in refused("graph", *options)


def test_an_empty_stretch_says_how_long_the_program_is(refused, kernel):
    message = refused("graph", kernel, "--from", "99")
    assert "nothing from pc 99" in message
    assert "which has 7 instructions" in message
