"""Every example of the documentation runs, and prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isa.assembler import assemble_file
from sim.engine import Cpu
from sim.machine import load_machine, presets
from tests.docs.examples import (
    PAGES,
    ROOT,
    Command,
    blocks,
    commands,
    difference,
    renewed,
    run_command,
    run_python,
    workplace,
)
from tests.workloads.real_weights import open_smollm2


def _console() -> list[Any]:
    """Every command of every page with the marks that its block names behind the language."""
    found = []
    for page in PAGES:
        for block in blocks(page):
            if block.language != "console":
                continue
            marks = [getattr(pytest.mark, word) for word in block.words]
            found += [
                pytest.param(page, command, marks=marks, id=f"{page}:{command.line}")
                for command in commands(block)
            ]
    return found


def compare(stored: str, now: str) -> None:
    """Fail with both where the output is not as stored."""
    if gap := difference(stored, now):
        pytest.fail(gap, pytrace=False)


@pytest.mark.parametrize(("page", "command"), _console())
def test_a_command_prints_what_the_page_says(
    page: str, command: Command, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if request.node.get_closest_marker("weights"):
        open_smollm2()
    with workplace(tmp_path, page):
        now = run_command(command.arguments)
    failed = "error: " in now
    assert not failed or command.output.startswith("error: "), now
    if command.output.strip():
        compare(command.output, now)


@pytest.mark.parametrize("page", PAGES)
def test_python_examples_print_what_the_page_says(page: str, tmp_path: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    with workplace(tmp_path, page):
        for block in blocks(page):
            if block.language == "python":
                printed = run_python(block.text, namespace)
            elif block.language == "output":
                compare(block.text, printed)


def test_the_examples_of_the_machine_files_page_run(tmp_path: Path) -> None:
    page = "docs/machines.md"
    found = blocks(page)
    own, *_ = [block for block in found if block.language == "toml"]
    lines = [line for block in found for line in block.text.splitlines()]
    examples = [line for line in lines if line.startswith("tickformer ")]
    assert len(examples) == 5
    with workplace(tmp_path, page):
        Path("mine.toml").write_text(own.text, encoding="utf-8")
        for line in examples:
            assert "cycles a token" in run_command([*line.split()[1:], "--values", "off"]), line


def test_the_script_is_installed() -> None:
    script = Path(sys.executable).with_name("tickformer")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"tickformer \d+\.\d+\.\d+\n", done.stdout)


# --- the kernels in docs/examples -----------------------------------------------------------------


def _values(name: str, machine: str) -> dict[str, np.ndarray]:
    """The tensors of an example kernel after a run."""
    assembled = assemble_file(ROOT / "docs" / "examples" / name)
    cpu = Cpu(load_machine(machine), [assembled.program], assembled.memory)
    assert cpu.mem is not None
    assembled.write_tensors(cpu.mem)
    cpu.start()
    assert cpu.run(instruction_limit=10_000)
    return {tensor.name: cpu.tensor(tensor.name).copy() for tensor in assembled.memory.tensors}


@pytest.mark.parametrize("machine", presets())
def test_the_scale_kernel_halves_every_number(machine: str) -> None:
    found = _values("scale.s", machine)
    np.testing.assert_array_equal(found["x"], np.arange(64).reshape(16, 4))
    np.testing.assert_array_equal(found["y"], found["x"] / 2)


@pytest.mark.parametrize("machine", presets())
def test_the_matmul_kernel_multiplies(machine: str) -> None:
    found = _values("matmul.s", machine)
    wanted = found["a"].astype(np.float64) @ found["b"].astype(np.float64).T
    np.testing.assert_allclose(found["c"], wanted, rtol=1e-5, atol=1e-5)


def test_every_example_kernel_is_shown_on_a_page() -> None:
    pages = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    for file in (ROOT / "docs" / "examples").iterdir():
        assert f"docs/examples/{file.name}" in pages


# --- the comparison itself ------------------------------------------------------------------------


def test_a_wrong_number_is_a_difference_and_lines_may_be_left_out() -> None:
    actual = "a 1\nb 2\nc 3\nsimulated in 1.5 s\n"
    assert not difference(actual, actual)
    assert not difference("a 1\n...\nsimulated in 9.9 s\n", actual)
    assert "stored:" in difference("a 1\n...\nc 4\n...\n", actual)
    assert "stored:" in difference("a 1\nb 2\n", actual)


def test_renewing_keeps_what_was_left_out() -> None:
    actual = "a 1\nb 2,000 kB\nc 3\n"
    assert renewed("a 7\n...\nc 8\n", actual) == "a 1\n...\nc 3\n"
    assert renewed("b 1.5 MB\n...\n", actual) == "b 2,000 kB\n...\n"
    assert renewed("anything\n", actual) == actual
    with pytest.raises(ValueError, match="no line like 'd 4'"):
        renewed("...\nd 4\n", actual)
