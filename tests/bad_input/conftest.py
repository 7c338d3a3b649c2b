"""Command lines that a careless or malicious user types."""

import pytest

from sim.cli.main import execute

KERNEL = """
.equ N 4
.tensor a f32 N N iota
.tensor c f32 N N
main:
    li x1, a
    li x3, c
    li x4, N * 4
    li x5, N
    load.f32 t0, (x1), x4, x5, x5
    store.f32 t0, (x3), x4
    halt
"""


@pytest.fixture
def kernel(tmp_path):
    """A small kernel that works."""
    file = tmp_path / "kernel.s"
    file.write_text(KERNEL, encoding="utf-8")
    return file


@pytest.fixture
def refused(capsys):
    """Call with arguments that must be refused as the user's mistake; returns the message."""

    def call(*arguments):
        code = execute([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert code == 1, captured.err
        assert "Traceback" not in captured.err
        assert captured.out == ""
        return captured.err

    return call
