"""Assembled programs on either engine, with numbers of the test's choice in the control segment."""

from __future__ import annotations

from collections.abc import Sequence

from isa.assembler import assemble
from sim.engine import Cpu
from sim.machine import Machine
from sim.reference import ReferenceCpu

ENGINES = {"compiled": Cpu, "reference": ReferenceCpu}


def run(
    text: str,
    machine: Machine,
    *,
    control: Sequence[int] = (),
    engine: str = "compiled",
    log: int = 0,
) -> Cpu | ReferenceCpu:
    """Run a program from `main` to `halt` on a cold machine; `control` fills the first words."""
    assembled = assemble(text)
    cpu = ENGINES[engine](machine, [assembled.program], assembled.memory, log=log)
    assembled.write_tensors(cpu.mem)
    cpu.control[: len(control)] = control
    cpu.start()
    assert cpu.run()
    return cpu
