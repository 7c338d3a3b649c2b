"""The dataflow graph of a straight-line stretch of a program, and its critical path.

An edge says that an instruction reads a register another one wrote. Dependencies through memory
are left out: their addresses are known only when the program runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isa.disassembler import format_instruction
from isa.encoding import Instr
from isa.errors import UserError
from isa.program import Program

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True)
class CriticalPath:
    """The longest chain of dependent instructions: cycles, and pcs in order."""

    cycles: int
    pcs: tuple[int, ...]


def _registers(instr: Instr, roles: tuple[str, ...]) -> list[str]:
    """Return the registers an instruction uses in these roles, without x0, which never changes."""
    names = [
        f"{operand.kind.name}{value}"
        for value, operand in zip(instr.operands, instr.row.operands, strict=True)
        if operand.kind.name in ("x", "t") and operand.role in roles
    ]
    return [name for name in names if name != "x0"]


def dataflow_graph(program: Program, start: int, stop: int) -> nx.DiGraph:
    """Return the graph of instructions start..stop-1.

    Nodes are pcs with `instr` (decoded), `text`, `cls` and `dtype`. Edges run from producer to
    consumer with `registers` (names) and `accumulate`, true where the consumer updates what it
    reads, as `matmul` does its accumulator. Raises `UserError` for an empty stretch, one outside
    the program, or a branch anywhere but at its end.
    """
    import networkx as nx

    if not 0 <= start < stop <= len(program):
        raise UserError(
            f"there is nothing from pc {start} to before pc {stop} in program {program.name!r}, "
            f"which has {len(program)} instructions; begin and end inside it, the end behind the "
            "beginning"
        )
    graph = nx.DiGraph()
    writer: dict[str, int] = {}
    for pc in range(start, stop):
        instr = program.instruction(pc)
        if instr.row.cls == "branch" and pc != stop - 1:
            raise UserError(
                f"pc {pc}: {format_instruction(instr)} leaves the stretch {start}..{stop}; a "
                f"straight line ends with its first branch, so stop at {pc + 1}"
            )
        graph.add_node(
            pc,
            instr=instr,
            text=format_instruction(instr),
            cls=instr.row.cls,
            dtype=instr.row.dtype,
        )
        updates = _registers(instr, ("readwrite",))
        for name in _registers(instr, ("read", "readwrite")):
            producer = writer.get(name)
            if producer is None:
                continue
            if not graph.has_edge(producer, pc):
                graph.add_edge(producer, pc, registers=[], accumulate=False)
            edge = graph.edges[producer, pc]
            if name not in edge["registers"]:
                edge["registers"].append(name)
            edge["accumulate"] = edge["accumulate"] or name in updates
        for name in _registers(instr, ("write", "readwrite")):
            writer[name] = pc
    return graph


def critical_path(graph: nx.DiGraph, latency: Callable[[Instr], int]) -> CriticalPath:
    """Return the chain with the largest sum of latencies (cycles from start to result).

    Of several equally long chains, the one through the earliest instructions.
    """
    finish: dict[int, int] = {}
    before: dict[int, int | None] = {}
    for pc in sorted(graph.nodes):  # program order is a topological order
        producers = sorted(graph.predecessors(pc))
        last = max(producers, key=lambda p: finish[p], default=None)
        ready = 0 if last is None else finish[last]
        finish[pc] = ready + latency(graph.nodes[pc]["instr"])
        before[pc] = last
    if not finish:
        return CriticalPath(0, ())
    at: int | None = max(finish, key=lambda pc: finish[pc])
    cycles = 0 if at is None else finish[at]
    chain = []
    while at is not None:
        chain.append(at)
        at = before[at]
    return CriticalPath(cycles, tuple(reversed(chain)))
