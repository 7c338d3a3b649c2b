"""F4: the cycle in which a mistake ends the run, and what has happened by then."""

from __future__ import annotations

import pytest

from isa.errors import SimulationFault
from tests.contract.harness import Simulation, plain, run

# What keeps the instruction at `bad` from being dispatched as soon as `last` has been.
BEFORE = {
    "nothing": ("", ""),
    "taken branch": ("j bad", "core.taken_branch_bubble=3"),
    "mispredicted branch": ("beq x1, x0, bad", ""),
    "full window": ("mul x7, x7, x7\nmul x7, x7, x7\nmul x7, x7, x7", "core.rob=3"),
    "full queue": ("exp t0, t0\nexp t0, t0\nexp t0, t0", "core.units.vector.queue=1"),
}
RIGHT = "fadd t1, t0, t0"
WRONG = {
    "a tile without a shape": "fadd t1, t0, t5",
    "an access outside every tensor": "load.f32 t1, (x0), x0, x1, x1",
}
TEXT = """.tensor x f32 4 4
.control 64
main:
    li x1, 1
    fill.f32 t0, x0, x1, x1
    st x1, 0(x0)
last:
    {before}
bad:
    {line}
    st x1, 8(x0)
    halt
"""


@pytest.mark.parametrize("line", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize(("before", "override"), BEFORE.values(), ids=BEFORE)
def test_a_mistake_ends_the_run_at_its_turn(before, override, line):
    m = plain(*filter(None, [override]))
    right = run(TEXT.format(before=before, line=RIGHT), m)
    older = [row for row in right.rows if row.pc < right.labels[0]["bad"]]
    sim = Simulation(TEXT.format(before=before, line=line), m)
    with pytest.raises(SimulationFault, match=line.split()[0]):
        sim.run()
    # at the latest when it would be dispatched, at the earliest when it is the next in order
    assert older[-1].dispatch <= sim.cpu.cycles <= right.at("bad").dispatch
    assert sim.cpu.control[:2].tolist() == [1, 0]  # older instructions have moved words, no younger


def test_a_mistake_in_the_first_cycle_ends_the_run_there():
    sim = Simulation("main: addi x1, x0, 1\nbad: fadd t1, t0, t0\nhalt", plain())
    with pytest.raises(SimulationFault):
        sim.run()
    assert sim.cpu.cycles == 0
