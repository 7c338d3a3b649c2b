"""The dataflow graph of a straight-line stretch, and its critical path, by hand."""

from __future__ import annotations

import pytest

from isa.assembler import assemble
from isa.dataflow import CriticalPath, critical_path, dataflow_graph
from isa.encoding import Instr
from isa.errors import UserError

TEXT = """
    load.f32 t0, (x1), x2, x3, x4     # 0
    load.f32 t1, (x5), x2, x3, x4     # 1
    fill.f32 t2, x0, x3, x3           # 2
    matmul.f32 t2, t0, t1             # 3: needs 0, 1 and 2
    matmul.f32 t2, t1, t1             # 4: needs 1 and accumulates on 3
    exp t3, t0                        # 5: needs 0
    addi x6, x1, 64                   # 6
    store.f32 t2, (x6), x2            # 7: needs 4 and 6
    load.f32 t2, (x6), x2, x3, x4     # 8: needs 6; a new t2
    bne x6, x0, -8                    # 9: needs 6
"""
LATENCY = {"load": 5, "fill": 1, "matmul": 16, "transcendental": 20, "scalar": 1, "store": 1,
           "branch": 1}  # fmt: skip


def latency(instr: Instr) -> int:
    return LATENCY[instr.row.cls]


def test_edges_are_the_registers_that_are_read() -> None:
    graph = dataflow_graph(assemble(TEXT).program, 0, 10)
    edges = {(a, b): data["registers"] for a, b, data in graph.edges(data=True)}
    assert edges == {
        (0, 3): ["t0"],
        (1, 3): ["t1"],
        (2, 3): ["t2"],
        (1, 4): ["t1"],
        (3, 4): ["t2"],
        (0, 5): ["t0"],
        (4, 7): ["t2"],
        (6, 7): ["x6"],
        (6, 8): ["x6"],
        (6, 9): ["x6"],
    }
    accumulating = {(a, b) for a, b, data in graph.edges(data=True) if data["accumulate"]}
    assert accumulating == {(2, 3), (3, 4)}
    assert graph.nodes[5] == {
        "instr": Instr("exp", (3, 0)),
        "text": "exp t3, t0",
        "cls": "transcendental",
        "dtype": "f32",
    }


def test_critical_path_by_hand() -> None:
    """load 5, matmul 16, matmul 16, store 1 = 38; the branch of exp has 5 + 20 = 25."""
    graph = dataflow_graph(assemble(TEXT).program, 0, 10)
    assert critical_path(graph, latency) == CriticalPath(38, (0, 3, 4, 7))


def test_a_longer_exp_takes_the_path_over() -> None:
    graph = dataflow_graph(assemble(TEXT).program, 0, 10)
    slow = critical_path(graph, lambda i: 40 if i.mnemonic == "exp" else latency(i))
    assert slow == CriticalPath(45, (0, 5))


def test_a_stretch_knows_nothing_of_what_came_before() -> None:
    graph = dataflow_graph(assemble(TEXT).program, 3, 6)
    assert list(graph.edges) == [(3, 4)]
    assert critical_path(graph, latency) == CriticalPath(32, (3, 4))


def test_x0_carries_no_dependency() -> None:
    program = assemble("li x0, 1\nadd x1, x0, x0").program
    assert not dataflow_graph(program, 0, 2).edges


def test_a_swap_of_roles_needs_the_new_writer() -> None:
    """A register written twice: its reader depends on the later write only."""
    program = assemble("li x1, 1\nli x1, 2\naddi x2, x1, 0").program
    assert list(dataflow_graph(program, 0, 3).edges) == [(1, 2)]


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (2, 1), (-1, 2), (0, 11)])
def test_a_stretch_must_lie_in_the_program(start: int, stop: int) -> None:
    with pytest.raises(UserError, match="in program '<asm>', which has 10 instructions"):
        dataflow_graph(assemble(TEXT).program, start, stop)


def test_a_branch_inside_is_refused() -> None:
    program = assemble("li x1, 1\nj +1\nhalt").program
    with pytest.raises(UserError, match=r"pc 1: j \+1 leaves the stretch .* so stop at 2"):
        dataflow_graph(program, 0, 3)
