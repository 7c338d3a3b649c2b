"""F3, W1: one free entry is enough, so a window smaller than an instruction's uops still works."""

import pytest

from tests.contract.harness import machine, run

MATMUL = """main:
 li x1, 16
 fill.f32 t0, x0, x1, x1
 fill.f32 t1, x0, x1, x1
 fill.f32 t2, x0, x1, x1
a: matmul.f32 t2, t0, t1
b: addi x2, x0, 1
 halt"""


@pytest.mark.parametrize("rob", [1, 8, 64])
def test_an_instruction_of_many_uops_enters_a_small_window(rob):
    m = machine("sapphire-rapids", f"core.rob={rob}")
    op = m.core.op("matmul", "f32")
    uops = 16 * 16  # k additions into 16 x 16 elements, 16 to a vector
    r = run(MATMUL, m)
    a, b = r.at("a"), r.at("b")
    assert a.complete == a.issue + (uops - 1) // m.core.units[op.unit].pipes + op.latency
    assert b.dispatch == a.retire  # it leaves in the cycle in which b may enter (T2)
