"""The reference engine cycle by cycle: the same run, with every instruction's place in view."""

from __future__ import annotations

from isa.assembler import assemble
from sim.machine import load_machine
from sim.reference import ACCOUNT_COLUMNS, ReferenceCpu

TEXT = """.tensor A f32 16 16 random 1
.control 8
main:
 li x1, A
 li x2, 4
 li x3, 64
 load.f32 t0, (x1), x3, x2, x2
 fadd t1, t0, t0
 store.f32 t1, (x1), x3
 halt
"""


def cpu() -> ReferenceCpu:
    assembled = assemble(TEXT)
    return ReferenceCpu(load_machine("teach"), [assembled.program], assembled.memory, log=10)


def test_stepping_is_running() -> None:
    stepped, run = cpu(), cpu()
    stepped.start()
    while stepped.step():
        pass
    run.start()
    assert run.run()
    assert stepped.cycles == run.cycles
    assert (stepped.log() == run.log()).all()
    assert (stepped.account() == run.account()).all()


def test_after_every_cycle_all_slots_until_then_are_booked() -> None:
    """Also those of a load whose level is not known yet: a run may be interrupted anywhere."""
    machine = cpu()
    machine.start()
    width = machine.machine.core.width
    while machine.step():
        booked = int(machine.account()[:, len(ACCOUNT_COLUMNS) :].sum())
        ahead = 4  # the store of four uops takes slots of the cycles that follow
        assert machine.cycles * width <= booked <= (machine.cycles + ahead) * width


def test_one_sees_who_waits_for_what() -> None:
    machine = cpu()
    machine.start()
    seen = []
    while machine.step():
        [core] = machine.observe()
        seen += [(flight.text, flight.stage, flight.waits_for) for flight in core.window]
    add, load = "fadd t1, t0, t0", "load.f32 t0, (x1), x3, x2, x2"
    assert (add, "queue", "result of pc 3") in seen
    assert any(text == load and stage == "running" for text, stage, _ in seen)
    assert any("its result in cycle" in why for _, _, why in seen)
