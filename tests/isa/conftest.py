"""Small machines to try instructions on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from isa.assembler import assemble
from isa.interpreter import Interpreter
from isa.target import Target
from tests.isa.harness import Bench


@pytest.fixture
def target() -> Target:
    return Target(tiles=8, rows=16, row_bytes=64)


@pytest.fixture
def bench(target: Target) -> Bench:
    return Bench(target)


@pytest.fixture
def run_asm(target: Target) -> Callable[..., Interpreter]:
    """Assemble text, write its tensors, run from `main`, and return the interpreter."""

    def run(text: str, limit: int = 10_000, on: Target = target) -> Interpreter:
        assembled = assemble(text, "test.s")
        mem = assembled.memory.allocate()
        assembled.write_tensors(mem)
        control = assembled.memory.allocate_control()
        interpreter = Interpreter(assembled.program, assembled.memory, mem, control, on)
        interpreter.run("main", max_instructions=limit)
        return interpreter

    return run
