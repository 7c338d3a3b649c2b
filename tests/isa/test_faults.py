"""What a program may not do, and what it is told: pc, instruction, and what would be right."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from isa.errors import SimulationFault, UserError
from isa.faults import FAULT_TEXTS, Fault, message
from isa.interpreter import Interpreter
from isa.memory import MemoryMap
from isa.target import Target

Run = Callable[..., Interpreter]

# x1 = the tensor a (16 x 16 f32, 1024 bytes at 0x10000), x2 = stride, x3 = 16, x4 = 4
SETUP = """
    .tensor a f32 16 16
    .tensor b bf16 4 16
    .control 64
    main:
    li x1, a
    li x2, 64
    li x3, 16
    li x4, 4
"""

CASES = [
    # Range
    ("addi x1, x1, 64\n load.f32 t0, (x1), x2, x3, x3",
     "bytes 0x10040..0x1043f run 64 bytes past tensor 'a' at 0x10000..0x103ff"),
    ("addi x1, x1, 1024\n load.f32 t0, (x1), x2, x3, x3",
     "bytes 0x10400..0x107ff are in no tensor; the nearest is 'a' at 0x10000..0x103ff"),
    ("load.f32 t0, (x4), x2, x3, x3",
     "bytes 0x4..0x403 are in no tensor; the nearest is 'a' at 0x10000..0x103ff"),
    ("li x1, b - 4\n fill.f32 t0, x0, x4, x4\n store.f32 t0, (x1), x2",
     "bytes 0x10ffc..0x110cb are in no tensor; the nearest is 'b' at 0x11000..0x1107f"),
    ("li x2, -64\n load.f32 t0, (x1), x2, x4, x4",
     "bytes 0xff40..0x1000f are in no tensor; the nearest is 'a' at 0x10000..0x103ff"),
    ("addi x1, x1, 1020\n bcast.f32 t0, (x1), x4, x4",
     "bytes 0x103fc..0x1040b run 12 bytes past tensor 'a' at 0x10000..0x103ff"),
    ("st x3, 8(x0)\n gather.f32 t0, (x1), x2, (x0), x4, x3",
     "bytes 0x10000..0x1043f run 64 bytes past tensor 'a' at 0x10000..0x103ff"),
    ("li x1, b + 2\n li x2, 32\n load.bf16 t0, (x1), x2, x4, x3",
     "bytes 0x11002..0x11081 run 2 bytes past tensor 'b' at 0x11000..0x1107f"),
    ("addi x1, x1, 1024\n prefetch (x1)",
     "bytes 0x10400..0x10400 are in no tensor; the nearest is 'a' at 0x10000..0x103ff"),
    # Alignment
    ("addi x1, x1, 2\n load.f32 t0, (x1), x2, x4, x4",
     "address 0x10002 is not a multiple of the element size, 4 bytes"),
    ("addi x1, x1, 1\n load.bf16 t0, (x1), x2, x4, x4",
     "address 0x10001 is not a multiple of the element size, 2 bytes"),
    ("li x2, 6\n loadt.f32 t0, (x1), x2, x4, x4",
     "stride 6 is not a multiple of the element size, 4 bytes"),
    ("li x2, 7\n gather.bf16 t0, (x1), x2, (x0), x4, x4",
     "stride 7 is not a multiple of the element size, 2 bytes"),
    # Control segment
    ("ld x5, 4(x0)", "control address 4 is not a multiple of 8"),
    ("ld x5, 64(x0)", "control address 64 is outside the control segment of 64 bytes"),
    ("st x5, -8(x0)", "control address -8 is outside the control segment of 64 bytes"),
    ("li x5, 56\n gather.f32 t0, (x1), x2, (x5), x4, x4",
     "control address 64 is outside the control segment of 64 bytes"),
    # Shapes
    ("li x3, 17\n load.f32 t0, (x1), x2, x3, x4",
     "a tile of 17 x 4 is impossible here; rows are 1..16, columns 1..16"),
    ("fill.f32 t0, x0, x0, x4", "a tile of 0 x 4 is impossible here"),
    ("li x3, 33\n load.raw.bf16 t0, (x1), x2, x4, x3",
     "a tile of 4 x 33 is impossible here; rows are 1..16, columns 1..32"),
    ("fill.f32 t0, x0, x4, x4\n fill.f32 t1, x0, x4, x3\n fadd t2, t0, t1",
     "the operands are 4 x 4 and 4 x 16; their shapes must be equal"),
    ("fill.f32 t0, x0, x4, x4\n fill.f32 t1, x0, x4, x3\n fmul.row t2, t0, t1",
     "the row operand has 16 columns; it needs 4 like the first operand"),
    ("fill.f32 t0, x0, x4, x4\n fill.f32 t1, x0, x3, x4\n fmul.col t2, t0, t1, 0",
     "the column operand has 16 rows; it needs 4 like the first operand"),
    ("fill.f32 t0, x0, x4, x4\n fsub.col t2, t0, t0, 4",
     "column 4 does not exist; the operand has 4 columns"),
    ("fill.f32 t0, x0, x4, x4\n fill.f32 t1, x0, x4, x3\n matmul.f32 t0, t1, t2", "t2 was never"),
    ("fill.f32 t0, x0, x4, x4\n fill.f32 t1, x0, x4, x3\n fill.f32 t2, x0, x4, x4\n"
     "matmul.f32 t0, t1, t2", "ta has 16 columns and tb has 4; they must be equal"),
    ("fill.f32 t0, x0, x4, x4\n fill.f32 t1, x0, x4, x3\n fill.f32 t2, x0, x3, x3\n"
     "matmul.f32 t0, t1, t2", "tc is 4 x 4; it must be ta.rows x tb.rows = 4 x 16"),
    ("li x4, 3\n fill.f32 t0, x0, x4, x4\n swap t0, t0",
     "swap exchanges pairs of columns, but the tile has 3"),
    ("fill.f32 t0, x0, x4, x4\n fill.f32 t1, x0, x3, x4\n softmax t2, t0, t1",
     "tm is 16 x 4; it needs 4 rows like ts and at least 3 columns"),
    ("li x5, 2\n fill.f32 t0, x0, x4, x4\n fill.f32 t1, x0, x4, x5\n softmax t2, t0, t1",
     "tm is 4 x 2; it needs 4 rows like ts and at least 3 columns"),
    ("fill.f32 t0, x0, x4, x4\n fill.f32 t1, x0, x3, x4\n pack.bf16 t2, t0\n append.bf16 t2, t1",
     "td has 4 rows and ta has 16; they must be equal"),
    ("fill.f32 t0, x0, x4, x3\n pack.bf16 t1, t0\n append.bf16 t1, t0\n append.bf16 t1, t0",
     "32 + 16 columns do not fit; a raw bf16 operand has at most 32"),
    # Contents
    ("exp t1, t5", "t5 was never written, so it has no shape; load or fill it first"),
    ("store.f32 t5, (x1), x2", "t5 was never written"),
    ("load.raw.bf16 t0, (x1), x2, x4, x4\n exp t1, t0",
     "t0 holds a raw bf16 operand; only matmul.bf16 and append.bf16 take one"),
    ("fill.f32 t0, x0, x4, x4\n fill.f32 t1, x0, x4, x4\n matmul.bf16 t0, t1, t1",
     "t1 holds an f32 tile, not a raw bf16 operand; use load.raw.bf16 or pack.bf16"),
    # Control flow
    ("jr x1", "the next pc 65536 is outside the program"),
    ("j -100", "is outside the program; end it with halt, check jumps"),
    ("li x5, 1", "the next pc 5 is outside the program; end it with halt, check jumps"),
    ("loop: j loop", "the limit of 100 instructions was reached; raise it or look for a loop"),
    ("li x5, 1\n wait 3, x5", "counter 3 is 0 and nothing can raise it to 1"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), CASES)
def test_faults_say_what_is_wrong(run_asm: Run, text: str, reason: str) -> None:
    with pytest.raises(SimulationFault) as caught:
        run_asm(SETUP + text, limit=100)
    assert reason in str(caught.value).split("\n")[1]
    assert caught.value.exit_code == 2


def test_every_fault_has_a_case() -> None:
    """Each text's fixed words, up to its first argument or its end, occur in some case above."""
    reasons = " ".join(reason for _, reason in CASES)
    probes = {
        Fault.OUTSIDE_TENSOR: "are in no tensor",
        Fault.MISALIGNED_ADDRESS: "address 0x10002 is not",
        Fault.MISALIGNED_STRIDE: "stride 6 is not",
        Fault.MISALIGNED_CONTROL: "control address 4 is not",
        Fault.OUTSIDE_CONTROL: "outside the control segment",
        Fault.BAD_SHAPE: "is impossible here",
        Fault.TILE_WITHOUT_SHAPE: "was never written",
        Fault.TILE_IS_RAW: "holds a raw bf16 operand",
        Fault.TILE_IS_F32: "holds an f32 tile",
        Fault.SHAPES_DIFFER: "their shapes must be equal",
        Fault.ROW_OPERAND: "the row operand",
        Fault.COL_OPERAND: "the column operand",
        Fault.NO_SUCH_COLUMN: "does not exist",
        Fault.MATMUL_DEPTH: "ta has 16 columns",
        Fault.MATMUL_RESULT: "tc is",
        Fault.APPEND_ROWS: "td has",
        Fault.APPEND_COLS: "do not fit",
        Fault.ODD_COLUMNS: "pairs of columns",
        Fault.SOFTMAX_STATE: "tm is",
        Fault.JUMP_OUTSIDE: "the next pc",
        Fault.RUNAWAY: "the limit of",
        Fault.WAIT_FOREVER: "nothing can raise it",
    }
    assert set(probes) == set(Fault) == set(FAULT_TEXTS)
    for fault, probe in probes.items():
        assert probe in reasons, fault


def test_a_fault_names_program_pc_label_line_and_instruction(run_asm: Run) -> None:
    text = SETUP + "loop:\n addi x4, x4, 4 # grows\n load.f32 t0, (x1), x2, x3, x4\n j loop\n"
    with pytest.raises(SimulationFault) as caught:
        run_asm(text)
    first = str(caught.value).split("\n")[0]
    assert first == "test: pc 5, loop+1, line 12: load.f32 t0, (x1), x2, x3, x4"


def test_an_access_where_there_is_no_tensor_at_all() -> None:
    assert message(Fault.OUTSIDE_TENSOR, (0x10, 0x1F), MemoryMap()) == (
        "bytes 0x10..0x1f are in no tensor, for there is none"
    )


def test_the_instruction_limit_is_exact(run_asm: Run) -> None:
    three = "main: li x1, 1\n li x2, 2\n halt"
    assert run_asm(three, limit=3).instructions == 3
    with pytest.raises(SimulationFault, match="the limit of 2 instructions was reached"):
        run_asm(three, limit=2)


def test_the_widest_legal_access_is_no_fault(run_asm: Run) -> None:
    run_asm(SETUP + "load.f32 t0, (x1), x2, x3, x3\n store.f32 t0, (x1), x2\n halt")
    run_asm(SETUP + "li x2, -64\n addi x1, x1, 960\n load.f32 t0, (x1), x2, x3, x3\n halt")
    run_asm(SETUP + "addi x1, x1, 1023\n prefetch (x1)\n halt")


def test_a_program_for_more_tiles_than_there_are_is_refused(run_asm: Run) -> None:
    with pytest.raises(UserError, match="pc 0: mov uses t8, but the target has 8 tile registers"):
        run_asm("main: mov t8, t0\n halt")


def test_a_matmul_the_target_lacks_is_refused(run_asm: Run) -> None:
    small = Target(tiles=8, rows=4, row_bytes=16, matmul_types=("f32",))
    with pytest.raises(UserError, match=r"has no matmul\.bf16; it multiplies f32"):
        run_asm("main: matmul.bf16 t0, t1, t2\n halt", on=small)


def test_narrow_targets_have_narrow_tiles(run_asm: Run) -> None:
    narrow = Target(tiles=4, rows=8, row_bytes=16)
    text = "main: li x1, {rows}\n li x2, {cols}\n fill.f32 t0, x0, x1, x2\n halt"
    run_asm(text.format(rows=8, cols=4), on=narrow)
    for rows, cols in ((9, 4), (8, 5)):
        with pytest.raises(SimulationFault, match=r"rows are 1\.\.8, columns 1\.\.4"):
            run_asm(text.format(rows=rows, cols=cols), on=narrow)


def test_an_unknown_entry_is_named_with_what_there_is(run_asm: Run) -> None:
    with pytest.raises(UserError, match=r"no label 'main'; Did you mean 'mein'\? Labels: mein"):
        run_asm("mein: halt")


def test_an_entry_behind_the_last_instruction_faults(run_asm: Run) -> None:
    with pytest.raises(SimulationFault, match="the next pc 1 is outside the program"):
        run_asm("start: halt\nmain:")
