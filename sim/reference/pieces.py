"""Which bytes of which lines a memory instruction touches (L1, S1)."""

from __future__ import annotations

from dataclasses import dataclass

from isa.encoding import Instr
from isa.state import State


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes ``low`` to ``high`` (exclusive) of one row in one line."""

    line: int
    low: int
    high: int

    @property
    def nbytes(self) -> int:
        """Bytes of the access."""
        return self.high - self.low

    def overlaps(self, other: Piece) -> bool:
        """Whether both touch a common byte."""
        return self.low < other.high and other.low < self.high

    def covers(self, other: Piece) -> bool:
        """Whether all bytes of the other are in this one."""
        return self.low <= other.low and other.high <= self.high


def memory_rows(state: State, instr: Instr) -> list[tuple[int, int]]:
    """Address and bytes of every memory row an instruction is about to access, upward.

    Call it before the instruction is executed: it reads the registers the instruction reads.
    """
    row, x = instr.row, state.x
    size = row.element_bytes
    if row.access == "byte":
        return [(x[instr.operands[0]], 1)]
    if row.cls == "store":
        source, address, stride = instr.operands
        tile = state.t[source]
        rows, cols = (0, 0) if tile is None else tile.data.shape
        return [(x[address] + i * x[stride], cols * size) for i in range(rows)]
    if row.access == "broadcast":
        _, address, _, cols_x = instr.operands
        return [(x[address], x[cols_x] * size)]
    if row.access == "gather":
        _, address, stride, index, rows_x, cols_x = instr.operands
        numbers = [int(state.control[(x[index] >> 3) + i]) for i in range(x[rows_x])]
        return [(x[address] + number * x[stride], x[cols_x] * size) for number in numbers]
    _, address, stride, rows_x, cols_x = instr.operands
    rows, cols = x[rows_x], x[cols_x]
    if row.access == "columns":  # a transposing load walks the rows of memory
        rows, cols = cols, rows
    return [(x[address] + i * x[stride], cols * size) for i in range(rows)]


def control_words(state: State, instr: Instr) -> list[int]:
    """Byte address of every word of the control segment an instruction is about to access."""
    x = state.x
    if instr.mnemonic in ("ld", "st"):
        _, offset, base = instr.operands
        return [x[base] + offset]
    if instr.row.access == "gather":
        _, _, _, index, rows_x, _ = instr.operands
        return [x[index] + 8 * i for i in range(x[rows_x])]
    return []


def split(rows: list[tuple[int, int]], line_bytes: int) -> list[Piece]:
    """One piece per row and line touched: rows upward, bytes upward."""
    pieces = []
    for address, nbytes in rows:
        end = address + nbytes
        while address < end:
            line = address // line_bytes
            stop = min(end, (line + 1) * line_bytes)
            pieces.append(Piece(line, address, stop))
            address = stop
    return pieces
