"""A command line run in this process, with its two streams."""

from dataclasses import dataclass

import pytest

from sim.cli.main import execute


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def tickformer(capsys):
    """Call with arguments; returns exit code, stdout and stderr.

    The notice of the first run after an installation, that the engine is compiled, is left out.
    """

    def call(*arguments):
        code = execute([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        lines = captured.err.splitlines(keepends=True)
        err = "".join(line for line in lines if not line.startswith("compiling the simulator"))
        return Outcome(code, captured.out, err)

    return call


@pytest.fixture
def matmul_source(tmp_path):
    """An assembler file: c = a @ b.T for 4 x 4 tensors."""
    file = tmp_path / "matmul.s"
    file.write_text(
        """
        .equ N 4
        .tensor a f32 N N iota
        .tensor b f32 N N ones
        .tensor c f32 N N
        main:
            .region 1 load
            li x1, a
            li x2, b
            li x3, c
            li x4, N * 4
            li x5, N
            li x6, f32(0)
            load.f32 t0, (x1), x4, x5, x5
            load.f32 t1, (x2), x4, x5, x5
            fill.f32 t2, x6, x5, x5
            .region 2 multiply
            matmul.f32 t2, t0, t1
            store.f32 t2, (x3), x4
            halt
        """,
        encoding="utf-8",
    )
    return file
