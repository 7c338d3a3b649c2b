"""The invariant's check notices caches and directories that contradict each other."""

from __future__ import annotations

import pytest

from isa.assembler import assemble
from isa.errors import InternalError
from sim.engine import Cpu
from sim.engine import layout as at
from sim.machine import load_machine

TEXT = """.tensor x f32 64 16
main: li x1, 1
 li x2, x
 load.f32 t0, (x2), x0, x1, x1
 halt
"""
LINE = 0x10000 // 64


def cpu(cores: int, *overrides: str) -> Cpu:
    """Cores that all have read one line."""
    program = assemble(TEXT)
    made = Cpu(load_machine("teach", list(overrides)), [program.program] * cores, program.memory)
    made.start()
    made.run()
    made.check_coherence()
    return made


def flip(made: Cpu, flag: int, core: int, level: int) -> None:
    """Change a flag of the line in one cache."""
    S = made._S
    block = int(S[at.H_CORE_BASE] + core * S[at.H_CORE_STRIDE])
    state = block + int(S[at.H_LEVEL1 if level == 1 else at.H_LEVEL2])
    [[place]] = (S[state + at.V_TAGS :][:512] >> at.TAG_SHIFT == LINE).nonzero()[:1]
    S[state + at.V_TAGS + place] ^= flag


def holders(made: Cpu) -> int:
    """Where the directory's word of the line is."""
    return int(made._S[at.H_DIRECTORY]) + LINE * at.Y_SIZE + at.Y_HOLDERS


def broken(made: Cpu, words: str) -> None:
    """The check fails and says so."""
    with pytest.raises(InternalError, match=f"line {LINE}: .*{words}"):
        made.check_coherence()


def test_l1_and_l2_of_a_core_agree():
    made = cpu(2)
    flip(made, at.TAG_SHARED, 1, 1)
    broken(made, "core 1 may and may not write it")


def test_who_may_write_is_alone():
    made = cpu(2)
    flip(made, at.TAG_SHARED, 1, 1)
    flip(made, at.TAG_SHARED, 1, 2)
    broken(made, "core 1 may write it, and others hold it")


def test_a_shared_line_is_clean():
    made = cpu(3)
    flip(made, at.TAG_DIRTY, 2, 2)
    broken(made, "shared and dirty in core 2")


def test_the_directory_knows_all_holders_and_the_owner():
    made = cpu(2)
    made._S[holders(made)] &= ~2
    broken(made, "core 1 is not in its set")
    made = cpu(2)
    made._S[holders(made)] = 3
    made.check_coherence()


def test_an_inclusive_l3_has_every_line():
    keys = ("size=64KiB", "ways=4", "hit_cycles=10", "mshrs=8", "inclusive=true")
    made = cpu(1, *(f"l3.{key}" for key in keys))
    S = made._S
    state = int(S[at.H_L3_STATE])
    S[state + at.V_TAGS : state + int(S[S[at.H_L3] + at.L_SLICE_SIZE])] = -1
    broken(made, "not in the inclusive L3")
