"""What a ledger books for cores that do nothing any more."""

import pytest

from isa.assembler import assemble
from isa.memory import MemoryMap
from sim.engine import Cpu
from sim.ledger import Ledger
from sim.machine import load_machine
from sim.reference import ReferenceCpu
from sim.result import Region

FOREVER = "main: addi x1, x1, 1\nj main"
HALTS = "main: li x1, 7\nhalt"
WAITS = "main: li x1, 1\nwait 0, x1\nhalt"


@pytest.mark.parametrize("engine", [Cpu, ReferenceCpu])
@pytest.mark.parametrize("clocks", ['"1GHz", "1GHz", "1GHz"', '"1GHz", "700MHz", "3GHz"'])
def test_an_interrupted_step_books_cores_that_have_halted_or_wait(engine, clocks):
    """Every slot of every core has a cause; an instruction's slots may be booked a cycle ahead."""
    programs = [assemble(text).program for text in (FOREVER, HALTS, WAITS)]
    machine = load_machine("teach", ["cores=3", f"core_clocks=[{clocks}]"])
    cpu = engine(machine, programs, MemoryMap())
    ledger = Ledger(cpu, [Region("other", "other")])
    cpu.start()
    assert not cpu.run(should_stop=lambda: True)
    ledger.close_step("program", 0, 0, partial=True)
    account = ledger.account()
    cycles = account.core_cycles
    assert min(cycles) > 100
    assert 3 * sum(account.causes.values()) == pytest.approx(sum(cycles), abs=3)
    idle = sum(cycles[1:])
    assert 3 * account.causes["waiting for other cores"] == pytest.approx(idle, abs=10)
