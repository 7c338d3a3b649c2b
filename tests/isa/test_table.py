"""The instruction table is complete, consistent, and the documentation derives from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from isa import docs
from isa.errors import InternalError
from isa.semantics import FUNCTIONS
from isa.table import BY_NAME, CLASSES, FLOPS, OP, ROWS, check_rows, row

FIRST = row(0x01, "one", "xd, xa", "scalar", "i64", "First.")


def test_rows_that_share_an_opcode_are_rejected() -> None:
    other = row(0x01, "two", "td, ta", "elementwise", "f32", "Second.")
    with pytest.raises(InternalError, match="two and one share opcode 0x01"):
        check_rows([FIRST, other])


def test_rows_that_share_a_mnemonic_are_rejected() -> None:
    with pytest.raises(InternalError, match="one is declared twice"):
        check_rows([FIRST, replace(FIRST, opcode=2)])


def test_operands_that_overlap_in_the_word_are_rejected() -> None:
    xd, xa = FIRST.operands
    overlapping = replace(FIRST, operands=(xd, replace(xa, shift=xd.shift + xd.kind.bits - 1)))
    with pytest.raises(InternalError, match="operand xa overlaps"):
        check_rows([overlapping])


def test_an_operand_over_the_opcode_is_rejected() -> None:
    xd, _ = FIRST.operands
    with pytest.raises(InternalError, match="operand xd overlaps"):
        check_rows([replace(FIRST, operands=(replace(xd, shift=7),))])


def test_operands_beyond_the_word_are_rejected() -> None:
    too_long = row(0x02, "long", "xd, imm48, imm32", "scalar", "i64", "Too long.")
    with pytest.raises(InternalError, match="more than 64 bits"):
        check_rows([FIRST, too_long])


@pytest.mark.parametrize("opcode", [0, 256, -1])
def test_opcodes_outside_their_field_are_rejected(opcode: int) -> None:
    with pytest.raises(InternalError, match=r"is not in 1\.\.255"):
        check_rows([replace(FIRST, opcode=opcode)])


def test_an_unknown_operand_form_is_rejected() -> None:
    with pytest.raises(InternalError, match="'q1' of 'xd, q1' is not a known form"):
        row(0x03, "odd", "xd, q1", "scalar", "i64", "Odd.")


def test_every_row_has_a_meaning_and_a_class() -> None:
    assert set(FUNCTIONS) == set(BY_NAME)
    assert sorted(CLASSES) == sorted(
        ["scalar", "mul", "control", "branch", "load", "store", "prefetch", "fill", "matmul",
         "pack", "elementwise", "transcendental", "divide", "reduce", "softmax", "sync", "region"]
    )  # fmt: skip


def test_opcodes_do_not_move() -> None:
    """Words written by earlier versions must keep their meaning: one opcode of each group."""
    assert {
        name: OP[name]
        for name in ("li", "beq", "load.f32", "store.f32", "matmul.f32", "fadd", "fcmpgt.const",
                     "mov", "exp", "rsqrt", "rowsum", "softmax", "signal", "region")
    } == {
        "li": 0x10, "beq": 0x20, "load.f32": 0x30, "store.f32": 0x40, "matmul.f32": 0x50,
        "fadd": 0x60, "fcmpgt.const": 0x73, "mov": 0x80, "exp": 0x90, "rsqrt": 0xA0,
        "rowsum": 0xB0, "softmax": 0xB8, "signal": 0xC0, "region": 0xC8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mnemonic", "roles"),
    [
        ("add", {"xd": "write", "xa": "read", "xb": "read"}),
        ("st", {"xb": "read", "imm32": "read", "xa": "read"}),
        ("jal", {"xd": "write", "label": "read"}),
        ("store.f32", {"ts": "read", "xa": "read", "xs": "read"}),
        ("matmul.bf16", {"tc": "readwrite", "ta": "read", "tb": "read"}),
        ("append.bf16", {"td": "readwrite", "ta": "read"}),
        ("softmax", {"tp": "write", "ts": "read", "tm": "readwrite"}),
    ],
)
def test_roles_of_operands(mnemonic: str, roles: dict[str, str]) -> None:
    assert {o.name: o.role for o in BY_NAME[mnemonic].operands} == roles


def test_flops_of_a_matmul_are_two_per_product() -> None:
    assert FLOPS[BY_NAME["matmul.f32"].flops].count(m=3, n=5, k=7) == 2 * 3 * 5 * 7
    assert FLOPS[BY_NAME["exp"].flops].count(m=3, n=5) == 15
    assert FLOPS[BY_NAME["load.f32"].flops].count(m=3, n=5) == 0


def test_documentation_is_up_to_date() -> None:
    committed = Path(__file__).parents[2] / "docs" / "isa.md"
    assert committed.read_text(encoding="utf-8") == docs.generate(), (
        "docs/isa.md is out of date; run: python -m isa.docs > docs/isa.md"
    )


def test_documentation_shows_every_instruction_once() -> None:
    lines = docs.generate().splitlines()
    for entry in ROWS:
        usage = f"| `{entry.mnemonic} {entry.syntax}".rstrip() + "` |"
        assert sum(line.startswith(usage) for line in lines) == 1
