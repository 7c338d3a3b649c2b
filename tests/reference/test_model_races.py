"""Programs of models for several cores have no data races, and would have without their waits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isa.encoding import encode_all
from isa.program import Program
from sim.machine import load_machine
from sim.reference import RaceCheck, ReferenceCpu
from sim.result import Race
from tests.differential.test_models import MODELS
from workloads.config import ModelConfig
from workloads.lowering import lower
from workloads.weights.random import RandomWeights

CORES = 3
EVERY_MODEL = pytest.mark.parametrize("config", MODELS, ids=lambda config: config.name)


def races(config: ModelConfig, partition: str, impatient: int | None = None) -> list[Race]:
    """The races of a prefill and a decode step, with one core that does not wait for others."""
    machine = load_machine("teach", [f"cores={CORES}"])
    lowered = lower(
        RandomWeights(config, 7), machine.target(), dtype="f32", context=16, partition=partition
    )
    programs = [
        without_waits(program) if core == impatient else program
        for core, program in enumerate(lowered.programs)
    ]
    check = RaceCheck()
    cpu = ReferenceCpu(
        machine, programs, lowered.memory, values=False, regions=len(lowered.regions), races=check
    )
    lowered.begin_prefill(cpu.control, [[3, 1, 4, 1, 5]])
    cpu.start("prefill")
    cpu.run()
    lowered.begin_decode(cpu.control, None, None)
    cpu.start("decode")
    cpu.run()
    return check.races


def without_waits(program: Program) -> Program:
    """A program whose waits are for x0, so for nothing."""
    code = [
        instr._replace(operands=(instr.operands[0], 0)) if instr.mnemonic == "wait" else instr
        for instr in program.decoded()
    ]
    return replace(program, words=np.array(encode_all(code), dtype=np.uint64))


@pytest.mark.slow
@pytest.mark.parametrize("partition", ["auto", "columns", "rows"])
@EVERY_MODEL
def test_models_for_several_cores_have_no_races(config, partition):
    assert races(config, partition) == []


@pytest.mark.slow
@pytest.mark.parametrize("core", range(CORES))
@EVERY_MODEL
def test_a_core_that_does_not_wait_races(config, core):
    assert any(f"core {core} " in race.first + race.second for race in races(config, "auto", core))
