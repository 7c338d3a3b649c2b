"""The engine's own modes change nothing: values off, calls of any length, uncompiled, checked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sim.engine import cpu as cpu_module
from sim.engine.jit import JIT_DISABLED
from tests.contract.harness import FS_PER_NS, Simulation, machine
from tests.contract.test_clocks import change, clocks

ROOT = Path(__file__).resolve().parents[2]
PRESETS = ["teach", "cortex-a76", "avx512", "sapphire-rapids"]

# Gathers, loads that straddle lines, arithmetic of every unit, aliasing stores, calls, a branch on
# data of the control segment.
KERNEL = """
.control 512
.tensor x f32 64 16 random 3
.tensor h bf16 64 32 random 4
.tensor y f32 64 16
main:
    li x1, 4
    li x2, x
    li x3, 64
    li x4, y + 40
    li x5, h + 62
    li x6, 0
    li x7, 6
    li x8, 3
    li x9, 68
    fill.f32 t6, x0, x1, x8
    fill.f32 t3, x0, x1, x1
loop:
    gather.f32 t0, (x2), x3, (x6), x1, x1
    loadt.bf16 t1, (x5), x3, x1, x1
    jal x31, work
    ld x10, 256(x6)
    beq x10, x0, even
    store.f32 t3, (x4), x9
even:
    store.f32 t2, (x4), x3
    load.f32 t4, (x4), x9, x1, x1
    fadd t5, t4, t2
    addi x6, x6, 8
    addi x7, x7, -1
    bne x7, x0, loop
    store.bf16 t5, (x5), x3
    halt
work:
    matmul.f32 t3, t0, t1
    softmax t2, t0, t6
    gelu.tanh t2, t2
    rowsum t7, t2
    fmul.col t2, t2, t7, 0
    jr x31
"""


def result(name, *, values=True):
    """Log and counters of the kernel, and the bytes of memory where there are values."""
    sim = Simulation(KERNEL, machine(name), values=values)
    sim.cpu.control[:] = np.arange(64) * 7 % 32
    sim.cpu.control[32:] %= 2
    r = sim.run()
    rows = [[row.pc, row.dispatch, row.issue, row.complete, row.retire] for row in r.rows]
    found = [rows, r.caches, r.dram, r.core, r.operators, r.last]
    return found, (None if sim.cpu.mem is None else sim.cpu.mem.tobytes().hex())


@pytest.mark.parametrize("name", PRESETS)
def test_two_runs_are_equal_to_the_cycle(name):
    assert result(name) == result(name)


@pytest.mark.parametrize("name", PRESETS)
def test_values_off_are_equal_to_the_cycle(name):
    assert result(name, values=False)[0] == result(name)[0]


TICKS = [333_333, 7 * FS_PER_NS, 1009 * FS_PER_NS]  # fs between events that do nothing
CHANGES = [
    (0, None, 1700),
    (150 * FS_PER_NS + 7, 0, 999),
    (400 * FS_PER_NS, None, 3000),
    (2000 * FS_PER_NS, 1, 100),
]


@pytest.mark.parametrize("changes", [[], CHANGES], ids=["fixed", "changing"])
@pytest.mark.parametrize("turn", [0, 20])
@pytest.mark.parametrize("own", [[2000], [2000, 1300]], ids=["one core", "two"])
@pytest.mark.parametrize("name", ["teach", "sapphire-rapids"])
def test_results_do_not_depend_on_how_long_a_compiled_call_is(
    name, own, turn, changes, monkeypatch
):
    """Nor on SimPy events: loads are worked ahead of the clock, but not past one (L5)."""

    def outcome(ticks: int | None) -> tuple:
        sim = Simulation([KERNEL] * len(own), machine(name, *clocks(*own), f"turn_ns={turn}"))
        change(sim, *(each for each in changes if each[1] is None or each[1] < len(own)))

        def tick():
            while True:
                yield sim.cpu.environment.timeout(ticks)

        if ticks is not None:
            sim.cpu.environment.process(tick())
        r = sim.run()
        assert r.dram["reads"] > 0
        cpu = sim.cpu
        return r.rows, r.caches, r.dram, r.core, r.operators, cpu.core_cycles, cpu.now_fs

    expected = outcome(None)
    for ticks in TICKS:
        assert outcome(ticks) == expected
    for steps in (1, 13):
        monkeypatch.setattr(cpu_module, "STEPS", steps)
        assert outcome(None) == expected
        assert outcome(TICKS[1]) == expected


SCRIPT = """
import json
from tests.contract.test_engine_modes import result
print(json.dumps(result("{}")))
"""


def in_a_process(command, **variables):
    """Run Python in the repository with environment variables; returns what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(JIT_DISABLED, reason="compares with compiled code")
@pytest.mark.parametrize("name", [pytest.param("teach", marks=pytest.mark.slow), "sapphire-rapids"])
def test_without_compilation_every_cycle_and_byte_is_the_same(name):
    printed = in_a_process(["-c", SCRIPT.format(name)], NUMBA_DISABLE_JIT="1")
    assert json.loads(printed) == json.loads(json.dumps(result(name)))


@pytest.mark.slow
def test_no_access_leaves_the_engine_s_arrays():
    tests = [f"tests/contract/test_{name}.py" for name in ("random_programs", "memory", "pipeline")]
    in_a_process(["-m", "pytest", "-q", "-m", "not slow", *tests], NUMBA_BOUNDSCHECK="1")
