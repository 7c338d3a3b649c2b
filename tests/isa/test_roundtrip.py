"""Text -> words -> program -> text, and every bit of every word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.assembler import assemble
from isa.disassembler import disassemble, format_instruction
from isa.encoding import Instr, conflict, decode, decode_fields, encode, encode_all
from isa.errors import UserError
from isa.program import Program
from isa.table import BY_NAME, BY_OPCODE, ROWS, Instruction, Operand

NAMES = [entry.mnemonic for entry in ROWS]


def operand_values(operand: Operand) -> st.SearchStrategy[int]:
    return st.integers(operand.kind.low, operand.kind.high)


def instructions(row: Instruction) -> st.SearchStrategy[Instr]:
    """Any legal instruction of one row."""
    return (
        st.tuples(*(operand_values(operand) for operand in row.operands))
        .filter(lambda values: not conflict(row, values))
        .map(lambda values: Instr(row.mnemonic, values))
    )


any_instruction = st.sampled_from(ROWS).flatmap(instructions)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A program with named and unnamed branch targets, distances out of it, named regions."""
    instrs = draw(st.lists(any_instruction, max_size=30))
    size = len(instrs)
    for pc, instr in enumerate(instrs):
        if "label" in [o.name for o in instr.row.operands] and draw(st.booleans()):
            inside = draw(st.integers(0, size)) - pc
            instrs[pc] = Instr(instr.mnemonic, (*instr.operands[:-1], inside))
    names = draw(st.lists(st.sampled_from(["main", "L0", "L1", ".skip", "decode.1"]), unique=True))
    labels = {name: draw(st.integers(0, size)) for name in names}
    regions = {
        i.operands[0]: f"layer{i.operands[0]}.q-proj"
        for i in instrs
        if i.mnemonic == "region" and draw(st.booleans())
    }
    return Program(encode_all(instrs), labels, regions)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=25)
def test_every_instruction_survives_text_and_words(name: str, data: st.DataObject) -> None:
    instr = data.draw(instructions(BY_NAME[name]))
    word = encode(instr)
    assert decode(word) == instr
    again = assemble(format_instruction(instr) + "\n").program
    assert [int(w) for w in again.words] == [word]


@given(programs())
@settings(max_examples=200)
def test_programs_survive_text(program: Program) -> None:
    text = disassemble(program)
    again = assemble(text).program
    np.testing.assert_array_equal(again.words, program.words)
    assert disassemble(again) == text
    assert program.labels.items() <= again.labels.items()
    assert again.regions == program.regions
    assert again.decoded() == program.decoded()


@given(any_instruction)
def test_every_bit_is_the_opcode_or_one_operand_or_reserved(instr: Instr) -> None:
    word, row = encode(instr), instr.row
    for bit in range(64):
        flipped = word ^ (1 << bit)
        owners = [i for i, operand in enumerate(row.operands) if operand.mask >> bit & 1]
        if bit < 8:
            assert flipped & 0xFF not in BY_OPCODE or BY_OPCODE[flipped & 0xFF] is not row
        elif not owners:
            with pytest.raises(UserError, match="reserved bits"):
                decode(flipped)
        else:
            assert len(owners) == 1
            values = list(instr.operands)
            values[owners[0]] = flipped_value(values[owners[0]], row.operands[owners[0]], bit)
            if conflict(row, values):
                with pytest.raises(UserError, match="must differ"):
                    decode(flipped)
            else:
                assert decode(flipped).operands == tuple(values)


def flipped_value(value: int, operand: Operand, bit: int) -> int:
    """The value of an operand after one of its bits changed, in two's complement."""
    bits = operand.kind.bits
    changed = (value % (1 << bits)) ^ (1 << (bit - operand.shift))
    return changed - (1 << bits) if operand.kind.signed and changed >> (bits - 1) else changed


@given(st.integers(0, 2**64 - 1))
@settings(max_examples=500)
def test_any_word_is_rejected_or_encodes_to_itself(word: int) -> None:
    try:
        instr = decode(word)
    except UserError:
        return
    assert encode(instr) == word


def test_a_word_without_an_instruction_is_rejected() -> None:
    """Zeroed memory is no program."""
    with pytest.raises(UserError, match="unknown opcode 0x00"):
        decode(0)


def test_text_of_a_program_by_hand() -> None:
    """Own labels are kept, other targets get numbers, distances out of the program stay."""
    instrs = [
        Instr("region", (4,)),
        Instr("blt", (1, 2, 3)),
        Instr("ld", (5, -8, 1)),
        Instr("j", (-2,)),
        Instr("beq", (1, 0, 1)),
        Instr("j", (100,)),
        Instr("j", (1,)),
    ]
    program = Program(encode_all(instrs), {"main": 0, "L0": 1}, {4: "scale"})
    assert disassemble(program) == (
        "main:\n    .region 4 scale\nL0:\n    blt x1, x2, L1\n    ld x5, -8(x1)\n    j L0\n"
        "L1:\n    beq x1, x0, L2\nL2:\n    j +100\n    j L3\nL3:\n"
    )


def test_layout_of_words_by_hand() -> None:
    assert encode(Instr("load.f32", (1, 2, 3, 4, 5))) == (
        0x30 | 1 << 8 | 2 << 14 | 3 << 19 | 4 << 24 | 5 << 29
    )
    assert encode(Instr("ld", (7, -8, 9))) == 0x18 | 7 << 8 | 0xFFFFFFF8 << 13 | 9 << 45
    assert encode(Instr("li", (31, -1))) == 0x10 | 31 << 8 | (2**48 - 1) << 13
    assert encode(Instr("blt", (1, 2, -3))) == 0x22 | 1 << 8 | 2 << 13 | 0xFFFFFFFD << 18
    assert encode(Instr("halt", ())) == 0xC2


@pytest.mark.parametrize(
    ("instr", "reason"),
    [
        (Instr("addd", (1, 2, 3)), "unknown instruction 'addd'"),
        (Instr("add", (1, 2)), "add takes 3 operands"),
        (Instr("add", (1, 2, 32)), "operand xb = 32 is out of range, 0..31"),
        (Instr("addi", (1, 2, 2**31)), "operand imm32 = 2147483648 is out of range"),
        (Instr("signal", (-1,)), "operand imm16 = -1 is out of range, 0..65535"),
        (Instr("matmul.f32", (3, 3, 4)), "tc and ta must differ"),
        (Instr("append.bf16", (3, 3)), "td and ta must differ"),
        (Instr("softmax", (1, 2, 1)), "tm and tp must differ"),
    ],
)
def test_what_cannot_be_encoded(instr: Instr, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        encode(instr)


def test_operands_that_are_only_read_may_be_the_same() -> None:
    assert decode(encode(Instr("matmul.f32", (3, 4, 4)))).operands == (3, 4, 4)
    assert decode(encode(Instr("fadd", (3, 3, 3)))).operands == (3, 3, 3)


def test_fields_for_the_engines() -> None:
    words = encode_all([Instr("ld", (7, -8, 9)), Instr("halt", ())])
    assert decode_fields(words).tolist() == [[0x18, 7, -8, 9, 0, 0, 0], [0xC2, 0, 0, 0, 0, 0, 0]]
