"""Loops of vector operations against llvm-mca's model of Skylake: two pipes, latency 4."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.components import fma
from tests.components.fma import LOOPS, Loop, cycles_an_iteration

every_loop = pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.name)


@every_loop
def test_a_loop_takes_the_cycles_of_llvm_mca(loop: Loop):
    """Equal: the figure is that of the steady state, in which both repeat a whole number of cycles
    in a whole number of iterations, and our counter and branch find pipes of their own."""
    assert cycles_an_iteration(loop) == loop.llvm_mca


def test_the_first_iterations_do_not_count():
    """The measured stretch is steady: half of it takes half of the cycles."""
    loop = LOOPS[0]
    counts = [fma.cycles(loop.ours, count) for count in (1000, 1500, 2000)]
    assert counts[2] - counts[1] == counts[1] - counts[0]


@every_loop
def test_llvm_mca_says_so(loop: Loop, tmp_path):
    """The figures written down are those of the tool, where it is installed; 0.01 for the few
    cycles in which its pipeline fills and drains, over 1000 iterations."""
    tool = shutil.which("llvm-mca")
    if tool is None:
        pytest.skip("llvm-mca is not installed (it comes with LLVM); its figures stand in LOOPS")
    source = tmp_path / "loop.s"
    source.write_text("\n".join(loop.x86) + "\n", encoding="utf-8")
    command = [tool, "-mtriple=x86_64", "-mcpu=skylake", "-iterations=1000", str(source)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    total = re.search(r"Total Cycles: +(\d+)", printed)
    assert total is not None
    assert int(total[1]) / 1000 == pytest.approx(loop.llvm_mca, abs=0.01)
