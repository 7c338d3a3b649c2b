"""Ctrl-C before anything runs, and an output that cannot take what is written."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sim.cli.main import execute

SCRIPT = Path(sys.executable).with_name("tickformer")
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def test_ctrl_c_while_loading_says_so(monkeypatch, capsys):
    def interrupted(*_, **__):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("sim.simulation._open", interrupted)
    assert execute(["run", "toy-llama", "--machine", "teach"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@needs_full
def test_a_full_disk_behind_stdout():
    with open("/dev/full", "w") as full:
        done = subprocess.run([SCRIPT, "machines"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: cannot write the output: No space left on device\n"


def test_a_reader_that_has_gone():
    command = f"'{SCRIPT}' machines show teach --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_closed_streams_are_no_trouble():
    command = f"'{SCRIPT}' machines >&-; echo $?; '{SCRIPT}' nonsense 2>&-; echo $?"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n1\n", "")
