"""What assembler text means, and what its errors say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isa.assembler import AsmError, assemble, assemble_file
from isa.encoding import Instr
from isa.errors import UserError


def test_directives_labels_and_constants() -> None:
    result = assemble(
        """
        .equ N 4
        .equ BYTES N*4 + 2*N - 0x8
        .tensor w f32 N 2*N ones
        .tensor v bf16 3 5
        .control 64
        main: again:
            .region 7 layer0.q_proj   # a comment
            li x1, w
            li x2, v + 8
            li x3, f32(-0.5)
            li x4, BYTES
            li x5, end
            j again
        end:
            halt
        """,
        "kernels/demo.s",
    )
    program = result.program
    assert program.name == "demo"
    assert program.labels == {"main": 0, "again": 0, "end": 7}
    assert program.regions == {7: "layer0.q_proj"}
    assert program.lines == [8, 9, 10, 11, 12, 13, 14, 16]
    assert program.decoded() == [
        Instr("region", (7,)),
        Instr("li", (1, 0x10000)),
        Instr("li", (2, 0x11008)),
        Instr("li", (3, 0xBF000000)),
        Instr("li", (4, 16)),
        Instr("li", (5, 7)),
        Instr("j", (-6,)),
        Instr("halt", ()),
    ]
    assert result.memory.control_bytes == 64
    w, v = result.memory.tensors
    assert (w.name, w.dtype, w.shape, w.nbytes, w.address) == ("w", "f32", (4, 8), 128, 0x10000)
    assert (v.name, v.dtype, v.shape, v.nbytes, v.address) == ("v", "bf16", (3, 5), 30, 0x11000)


def test_contents_of_tensors() -> None:
    result = assemble(
        """.tensor a f32 2 3 iota
        .tensor b f32 1 2 ones
        .tensor c f32 1 2 zeros
        .tensor d f32 2 2 random 5
        .tensor e f32 2 2 random 5
        .tensor f bf16 1 2 ones
        """
    )
    mem = result.memory.allocate()
    result.write_tensors(mem)
    value = {name: result.memory.array(mem, name) for name in "abcdef"}
    assert value["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert value["b"].tolist() == [[1, 1]]
    assert value["c"].tolist() == [[0, 0]]
    np.testing.assert_array_equal(value["d"], value["e"])
    assert np.unique(value["d"]).size == 4
    assert value["f"].tolist() == [[0x3F80, 0x3F80]]


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("f32(1)", 0x3F800000),
        ("f32(1e-5)", 0x3727C5AC),
        ("f32(-inf)", 0xFF800000),
        ("f32(0.1)", 0x3DCCCCCD),
    ],
)
def test_bits_of_constants(text: str, bits: int) -> None:
    assert assemble(f"li x1, {text}").program.decoded() == [Instr("li", (1, bits))]


def test_distances_instead_of_labels() -> None:
    program = assemble("beq x1, x2, +2\nj -1\nhalt").program
    assert program.decoded()[:2] == [Instr("beq", (1, 2, 2)), Instr("j", (-1,))]


ERRORS = [
    ("lod.f32 t0", 1, 1, "unknown instruction 'lod.f32'. Did you mean 'load.f32'?"),
    ("\n  j man\nmain: halt", 2, 5, "unknown label 'man'. Did you mean 'main'?"),
    (
        "load.f32 t0, (x1), x2",
        1,
        22,
        "operand xr is missing; write 'load.f32 td, (xa), xs, xr, xc'",
    ),
    ("mov x3, t1", 1, 5, "operand td of 'mov td, ta' is a tile register, t0 to t63, not 'x3'"),
    ("add x1, t2, x3", 1, 9, "is a scalar register, x0 to x31, not 't2'"),
    ("li x32, 0", 1, 4, "is a scalar register, x0 to x31, not 'x32'"),
    ("mov t64, t0", 1, 5, "is a tile register, t0 to t63, not 't64'"),
    ("mov t0", 1, 7, "operand ta is missing"),
    ("mov t0, t1, t2", 1, 11, "unexpected ','; write 'mov td, ta'"),
    ("mov t0 t1", 1, 8, "expected ',' before operand ta of 'mov td, ta', not 't1'"),
    ("load.f32 t0, x1, x2, x3, x4", 1, 14, "expected '(' before operand xa"),
    ("prefetch (x1", 1, 13, "expected ')' after operand xa of 'prefetch (xa)'"),
    ("ld x1, (x2)", 1, 8, "expected a number, not '('"),
    ("ld x1, 8", 1, 9, "operand xa is missing; write 'ld xd, imm32(xa)'"),
    ("addi x1, x1, 1 - x2", 1, 18, "expected a number, not the register x2"),
    (
        "addi x1, x1, 0x80000000",
        1,
        14,
        "imm32 is 2147483648; it must be in -2147483648..2147483647",
    ),
    ("fadd.col t0, t1, t2, 64", 1, 22, "imm6 is 64; it must be in 0..63"),
    ("li x1, 1.5", 1, 8, "'1.5' is not an integer; write f32(1.5)"),
    ("li x1, f32(one)", 1, 12, "'one' is not a number; f32 takes one such as 0.5"),
    ("li x1, WIDHT\n.equ WIDTH 4", 1, 8, "unknown name 'WIDHT'. Did you mean 'WIDTH'?"),
    ("j 5", 1, 3, "expected a label or a distance such as -8, not '5'"),
    ("matmul.f32 t0, t1, t0", 1, 12, "tc and tb must differ"),
    ("halt ; done", 1, 6, "unexpected character ';'"),
    ("main: halt\nmain: halt", 2, 1, "'main' is defined twice"),
    (".equ a 1\na: halt", 2, 1, "'a' is defined twice"),
    ("x5: halt", 1, 1, "'x5' cannot be a name"),
    (".equ f32 1", 1, 6, "'f32' cannot be a name"),
    (".tenser a f32 1 1", 1, 1, "unknown directive '.tenser'. Did you mean '.tensor'?"),
    (".tensor a f16 1 1", 1, 11, "unknown type 'f16'; use f32 or bf16"),
    (".tensor a f32 4", 1, 16, "expected the number of columns"),
    (".tensor a f32 0 4", 1, 15, "a tensor needs at least 1 of rows, not 0"),
    (".tensor a f32 4 4 onse", 1, 19, "unknown contents 'onse'. Did you mean 'ones'?"),
    (".tensor a f32 4 4 random", 1, 25, "expected a number, not the end of the line"),
    (".tensor a f32 4 4 ones 3", 1, 24, "unexpected '3' after the end of the statement"),
    (".tensor a f32 1 1\n.tensor a f32 1 1", 2, 9, "'a' is defined twice"),
    (".control 12", 1, 10, "a positive multiple of 8 bytes, not 12"),
    (".control 8\n.control 8", 2, 1, "the control segment is declared twice"),
    (".region 1", 1, 10, "expected a name for the region"),
    (".region 1 a b", 1, 11, "region name 'a b' has characters other than"),
    (".region 1 a\n.region 1 b", 2, 9, "region 1 is already 'a'"),
    (".region 65536 a", 1, 9, "imm16 is 65536; it must be in 0..65535"),
    ("+ 1", 1, 1, "expected an instruction, a label or a directive, not '+'"),
]


@pytest.mark.parametrize(("text", "line", "column", "reason"), ERRORS)
def test_errors_say_where_and_what_would_be_right(
    text: str, line: int, column: int, reason: str
) -> None:
    with pytest.raises(AsmError) as caught:
        assemble(text, "k.s")
    error = caught.value
    assert reason in error.reason
    assert (error.line, error.column) == (line, column)
    first, source, caret = str(error).split("\n")
    assert first == f"k.s:{line}:{column}: {error.reason}"
    assert source == "  " + text.splitlines()[line - 1]
    assert caret == " " * (column + 1) + "^"


def test_the_caret_stands_under_its_token_behind_a_tab() -> None:
    with pytest.raises(AsmError) as caught:
        assemble("\thalt\t7")
    assert str(caught.value).split("\n")[2] == "  \t    \t^"


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "scale.s"
    path.write_text("main: halt\n")
    assert assemble_file(path).program.name == "scale"
    with pytest.raises(UserError, match=r"cannot read assembler file .*nothing\.s"):
        assemble_file(tmp_path / "nothing.s")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot read assembler file"):
        assemble_file(path)


def test_a_byte_order_mark_and_many_signs_are_no_trouble(tmp_path):
    file = tmp_path / "marked.s"
    file.write_text("\ufeffli x1, " + "-" * 5001 + "7\n", encoding="utf-8")
    program = assemble_file(file).program
    assert program.instruction(0).operands == (1, -7)
