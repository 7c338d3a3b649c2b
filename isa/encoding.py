"""Instructions to 64-bit words and back; the layout comes from `isa.table`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.errors import UserError
from isa.table import BY_NAME, BY_OPCODE, OPCODE_BITS, Instruction

MAX_OPERANDS = max(len(entry.operands) for entry in BY_NAME.values())


class Instr(NamedTuple):
    """A decoded instruction: operands as integers in assembly order.

    Registers are their numbers; a label is its distance in instructions from this one.
    """

    mnemonic: str
    operands: tuple[int, ...]

    @property
    def row(self) -> Instruction:
        """The table row of this instruction."""
        return BY_NAME[self.mnemonic]


def conflict(entry: Instruction, operands: Sequence[object]) -> str:
    """Return what is wrong with the choice of tile registers, or an empty string.

    A tile register that is read and written (an accumulator) must differ from the instruction's
    other tile registers, as Intel AMX demands: no engine needs a copy of an operand it is
    updating. (Intel SDM vol. 2, TDPBF16PS: #UD if any two tile operands are the same.)
    """
    pairs = list(zip(entry.operands, operands, strict=True))
    for updated, register in pairs:
        if updated.role != "readwrite":
            continue
        for other, same in pairs:
            if other is not updated and other.kind is updated.kind and same == register:
                return f"{entry.mnemonic}: {updated.name} and {other.name} must differ"
    return ""


def encode(instr: Instr) -> int:
    """Return the 64-bit word of an instruction.

    Raises `UserError` for an unknown mnemonic, a wrong number of operands, an operand that does
    not fit its field, or registers that conflict.
    """
    entry = BY_NAME.get(instr.mnemonic)
    if entry is None:
        raise UserError(f"unknown instruction {instr.mnemonic!r}")
    if len(instr.operands) != len(entry.operands):
        raise UserError(
            f"{entry.mnemonic} takes {len(entry.operands)} operands ({entry.syntax}), "
            f"not {len(instr.operands)}"
        )
    word = entry.opcode
    for value, operand in zip(instr.operands, entry.operands, strict=True):
        kind = operand.kind
        if not kind.low <= value <= kind.high:
            raise UserError(
                f"{entry.mnemonic}: operand {operand.name} = {value} is out of range, "
                f"{kind.low}..{kind.high}"
            )
        word |= (value << operand.shift) & operand.mask
    if problem := conflict(entry, instr.operands):
        raise UserError(problem)
    return word


def decode(word: int) -> Instr:
    """Return the instruction in a 64-bit word.

    Raises `UserError` for an opcode that does not exist, for bits set outside the operands, and
    for registers that conflict.
    """
    word = int(word)
    entry = BY_OPCODE.get(word & ((1 << OPCODE_BITS) - 1))
    if entry is None:
        raise UserError(f"word {word:#018x} has unknown opcode {word & 0xFF:#04x}")
    stray = word & ~entry.used_bits
    if stray:
        raise UserError(
            f"word {word:#018x} ({entry.mnemonic}) has reserved bits set: {stray:#018x}"
        )
    values = []
    for operand in entry.operands:
        value = (word & operand.mask) >> operand.shift
        if operand.kind.signed and value > operand.kind.high:
            value -= 1 << operand.kind.bits
        values.append(value)
    if problem := conflict(entry, values):
        raise UserError(f"word {word:#018x}: {problem}")
    return Instr(entry.mnemonic, tuple(values))


def encode_all(instructions: Iterable[Instr]) -> NDArray[np.uint64]:
    """Encode a sequence of instructions."""
    return np.array([encode(instr) for instr in instructions], dtype=np.uint64)


def decode_fields(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Decode words into a table for the engines: opcode, then operands, zeros after the last.

    Shape `[len(words), 1 + MAX_OPERANDS]`. Raises like `decode`.
    """
    fields = np.zeros((len(words), 1 + MAX_OPERANDS), dtype=np.int64)
    for index, word in enumerate(words):
        instr = decode(int(word))
        fields[index, 0] = instr.row.opcode
        fields[index, 1 : 1 + len(instr.operands)] = instr.operands
    return fields
