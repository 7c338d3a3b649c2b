"""What a running program can do wrong, and the words for it.

A fault is a number with integer arguments, so that the compiled engine can return one and the
message is the same whoever found it. Operands are checked in this order: registers as the
assembler writes them (for `matmul` tc, ta, tb), then shapes, then alignment, then the range.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from isa.disassembler import format_instruction
from isa.errors import SimulationFault
from isa.memory import MemoryMap
from isa.program import Program


class Fault(IntEnum):
    """Kinds of fault; the comment names the arguments."""

    OUTSIDE_TENSOR = 1  # first address, last address
    MISALIGNED_ADDRESS = 2  # address, alignment
    MISALIGNED_STRIDE = 3  # stride, alignment
    MISALIGNED_CONTROL = 4  # address
    OUTSIDE_CONTROL = 5  # address, bytes of the control segment
    BAD_SHAPE = 6  # rows, cols, most rows, most cols
    TILE_WITHOUT_SHAPE = 7  # tile register
    TILE_IS_RAW = 8  # tile register
    TILE_IS_F32 = 9  # tile register
    SHAPES_DIFFER = 10  # ta rows, ta cols, tb rows, tb cols
    ROW_OPERAND = 11  # ta cols, tb cols
    COL_OPERAND = 12  # ta rows, tb rows
    NO_SUCH_COLUMN = 13  # column, tb cols
    MATMUL_DEPTH = 14  # ta cols, tb cols
    MATMUL_RESULT = 15  # tc rows, tc cols, ta rows, tb rows
    APPEND_ROWS = 16  # td rows, ta rows
    APPEND_COLS = 17  # td cols, ta cols, most cols
    ODD_COLUMNS = 18  # cols
    SOFTMAX_STATE = 19  # tm rows, tm cols, ts rows
    JUMP_OUTSIDE = 20  # target pc
    RUNAWAY = 21  # instruction limit
    WAIT_FOREVER = 22  # counter, its value, the value waited for


class Trap(Exception):
    """Raised by the semantics; carries a fault and its integer arguments."""

    def __init__(self, fault: Fault, *args: int) -> None:
        super().__init__(fault, *args)
        self.fault = fault
        self.arguments = args


FAULT_TEXTS = {
    Fault.OUTSIDE_TENSOR: "bytes {0:#x}..{1:#x} are not in one tensor",
    Fault.MISALIGNED_ADDRESS: "address {0:#x} is not a multiple of the element size, {1} bytes",
    Fault.MISALIGNED_STRIDE: "stride {0} is not a multiple of the element size, {1} bytes",
    Fault.MISALIGNED_CONTROL: "control address {0} is not a multiple of 8",
    Fault.OUTSIDE_CONTROL: "control address {0} is outside the control segment of {1} bytes",
    Fault.BAD_SHAPE: "a tile of {0} x {1} is impossible here; rows are 1..{2}, columns 1..{3}",
    Fault.TILE_WITHOUT_SHAPE: "t{0} was never written, so it has no shape; load or fill it first",
    Fault.TILE_IS_RAW: "t{0} holds a raw bf16 operand; only matmul.bf16 and append.bf16 take one",
    Fault.TILE_IS_F32: "t{0} holds an f32 tile, not a raw bf16 operand; use load.raw.bf16 or "
    "pack.bf16",
    Fault.SHAPES_DIFFER: "the operands are {0} x {1} and {2} x {3}; their shapes must be equal",
    Fault.ROW_OPERAND: "the row operand has {1} columns; it needs {0} like the first operand",
    Fault.COL_OPERAND: "the column operand has {1} rows; it needs {0} like the first operand",
    Fault.NO_SUCH_COLUMN: "column {0} does not exist; the operand has {1} columns",
    Fault.MATMUL_DEPTH: "ta has {0} columns and tb has {1}; they must be equal",
    Fault.MATMUL_RESULT: "tc is {0} x {1}; it must be ta.rows x tb.rows = {2} x {3}",
    Fault.APPEND_ROWS: "td has {0} rows and ta has {1}; they must be equal",
    Fault.APPEND_COLS: "{0} + {1} columns do not fit; a raw bf16 operand has at most {2}",
    Fault.ODD_COLUMNS: "swap exchanges pairs of columns, but the tile has {0}",
    Fault.SOFTMAX_STATE: "tm is {0} x {1}; it needs {2} rows like ts and at least 3 columns",
    Fault.JUMP_OUTSIDE: "the next pc {0} is outside the program; end it with halt, check jumps",
    Fault.RUNAWAY: "the limit of {0} instructions was reached; raise it or look for a loop "
    "that never ends",
    Fault.WAIT_FOREVER: "counter {0} is {1} and nothing can raise it to {2}",
}


def location(program: Program, pc: int) -> str:
    """Say where `pc` is: pc, nearest label, source line, and the instruction there."""
    parts = [f"{program.name}: pc {pc}"]
    before = [(at, name) for name, at in program.labels.items() if at <= pc]
    if before:
        at, name = max(before)
        parts.append(name if at == pc else f"{name}+{pc - at}")
    if not 0 <= pc < len(program):
        return ", ".join(parts)
    if program.lines is not None:
        parts.append(f"line {program.lines[pc]}")
    return f"{', '.join(parts)}: {format_instruction(program.instruction(pc))}"


def _outside_tensor(memory: MemoryMap, first: int, last: int) -> str:
    nearest = memory.nearest(first)
    if nearest is None:
        return f"bytes {first:#x}..{last:#x} are in no tensor, for there is none"
    where = f"{nearest.name!r} at {nearest.address:#x}..{nearest.end - 1:#x}"
    if nearest.address <= first < nearest.end:
        return f"bytes {first:#x}..{last:#x} run {last - nearest.end + 1} bytes past tensor {where}"
    return f"bytes {first:#x}..{last:#x} are in no tensor; the nearest is {where}"


def message(fault: Fault, arguments: tuple[int, ...], memory: MemoryMap) -> str:
    """Return the words for a fault, without its place; arguments beyond its own are ignored."""
    if fault is Fault.OUTSIDE_TENSOR:
        return _outside_tensor(memory, *arguments[:2])
    return FAULT_TEXTS[fault].format(*arguments)


def simulation_fault(
    fault: Fault, arguments: tuple[int, ...], program: Program, pc: int, memory: MemoryMap
) -> SimulationFault:
    """Return the exception to raise for a fault of the instruction at `pc`."""
    return SimulationFault(f"{location(program, pc)}\n  {message(fault, arguments, memory)}")


class Waiting(NamedTuple):
    """A core that stands at a `wait`: its counter's value, and the one it waits for."""

    core: int
    program: Program
    pc: int
    counter: int
    value: int
    wanted: int


def deadlock(waiting: Iterable[Waiting]) -> SimulationFault:
    """Return the exception to raise when these cores are all that have not halted."""
    lines = ["deadlock: every core has halted or waits, so nobody gives the missing signals"]
    for core, program, pc, counter, value, wanted in waiting:
        lines.append(f"core {core}, {location(program, pc)}")
        lines.append(f"  counter {counter} is {value}, waited for {wanted}")
    return SimulationFault("\n  ".join(lines))
