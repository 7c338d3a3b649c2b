"""How much work an instruction is: pipe slots, uops, chained additions (F2, I2, I5, I7)."""

from __future__ import annotations

from typing import NamedTuple

from isa.encoding import Instr
from isa.state import State
from isa.table import FLOPS
from sim.machine.core import Op
from sim.reference.units import Unit


class Work(NamedTuple):
    """Parts of an instruction, pipe slots they take, and additions that follow each other.

    A part is what one slot covers (`[ops.slot]`); it takes `[ops.occupancy]` pipe slots. ``stream``
    is for a matmul of a single fold: its slots if it continues the fold of the last one (I7).
    """

    parts: int
    slots: int
    additions: int
    flops: int
    stream: int = 0


def _tile(state: State, register: int) -> tuple[int, int]:
    tile = state.t[register]
    return (0, 0) if tile is None else (tile.data.shape[0], tile.data.shape[1])


def measure(state: State, instr: Instr, op: Op, unit: Unit) -> Work:
    """The work of an instruction about to execute; of loads and stores, slots come from pieces."""
    row = instr.row
    if row.cls == "matmul":
        _, ta, tb = instr.operands
        (m, k), (n, _) = _tile(state, ta), _tile(state, tb)
        flops = FLOPS[row.flops].count(m, n, k)
        if unit.array is not None:
            folds, set_up, stream = unit.array.work(m, n, k)
            slots = folds * (set_up + stream) * op.occupancy
            return Work(1, slots, 0, flops, stream * op.occupancy if folds == 1 else 0)
        if op.slot == "vector":
            additions = k if row.dtype == "f32" else -(-k // 2)
            slots = additions * -(-4 * m * n // (unit.bytes or 1))
            return Work(slots, slots * op.occupancy, additions, flops)
        parts = m if op.slot == "row" else 1
        return Work(parts, parts * op.occupancy, 0, flops)
    if row.cls == "fill":
        _, _, rows_x, cols_x = instr.operands
        rows, cols = state.x[rows_x], state.x[cols_x]
    else:
        sources = [
            value
            for value, operand in zip(instr.operands, row.operands, strict=True)
            if operand.kind.name == "t" and operand.role == "read"
        ]
        rows, cols = _tile(state, sources[0]) if sources else (1, 1)
    flops = FLOPS[row.flops].count(rows, cols)
    slots = 1
    if op.slot == "row":
        slots = rows
    elif op.slot == "vector":
        slots = rows * -(-4 * cols // (unit.bytes or 1))
    return Work(slots, slots * op.occupancy, 0, flops)
