"""Kernels written in Python: registers, labels, loops, functions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa.assembler import assemble
from isa.builder import LINK, ZERO, Builder, T, X
from isa.encoding import Instr
from isa.errors import InternalError, UserError
from isa.interpreter import Interpreter
from isa.memory import MemoryMap
from isa.program import Program
from isa.table import ROWS
from isa.target import Target

TARGET = Target(tiles=8, rows=16, row_bytes=64)


def run(program: Program, entry: str = "main") -> Interpreter:
    memory = MemoryMap(control_bytes=64)
    interpreter = Interpreter(program, memory, memory.allocate(), memory.allocate_control(), TARGET)
    interpreter.run(entry)
    return interpreter


def test_a_built_kernel_equals_its_assembler_text() -> None:
    b = Builder("kernel", TARGET)
    address, stride, rows, i = b.xs("address", "stride", "rows", "i")
    a, c = b.tile("a"), b.tile("c")
    b.label("main")
    b.region(3, "layer0.q_proj")
    b.li(address, 0x10000)
    with b.loop(i, 0, rows, 2):
        b.load_f32(a, address, stride, rows, rows)
        b.matmul_f32(c, a, a)
        b.gelu_tanh(c, c)
        b.fadd_col(c, c, a, 3)
        b.ld(stride, -8, i)
        b.recip_safe(c, c)
        b.fmul_const(c, c, ZERO)
    b.store_f32(c, address, stride)
    b.halt()
    text = """
    main:
        .region 3 layer0.q_proj
        li x1, 0x10000
        li x4, 0
        bge x4, x3, loop_end
    loop:
        load.f32 t0, (x1), x2, x3, x3
        matmul.f32 t1, t0, t0
        gelu.tanh t1, t1
        fadd.col t1, t1, t0, 3
        ld x2, -8(x4)
        recip.safe t1, t1
        fmul.const t1, t1, x0
        addi x4, x4, 2
        blt x4, x3, loop
    loop_end:
        store.f32 t1, (x1), x2
        halt
    """
    built, assembled = b.build(), assemble(text).program
    np.testing.assert_array_equal(built.words, assembled.words)
    assert built.labels == assembled.labels
    assert built.regions == assembled.regions == {3: "layer0.q_proj"}


def test_there_is_a_method_for_every_mnemonic() -> None:
    for row in ROWS:
        assert hasattr(Builder, row.mnemonic.replace(".", "_"))
    assert "softmax tp, ts, tm" in str(Builder.softmax.__doc__)


# Loops


def visited(start: int | str, stop: int | str, step: int | str, given: dict[str, int]) -> list[int]:
    """Run a loop and return the counters seen: count and checksums, in control words."""
    b = Builder("loop", TARGET)
    b.label("main")
    registers = {name: b.x(name) for name in given}
    for name, value in given.items():
        b.li(registers[name], value)

    def value(of: int | str) -> int | X:
        return registers[of] if isinstance(of, str) else of

    i, count, total, weighted, product = b.xs("i", "count", "total", "weighted", "product")
    with b.loop(i, value(start), value(stop), value(step)):
        b.addi(count, count, 1)
        b.add(total, total, i)
        b.mul(product, count, i)
        b.add(weighted, weighted, product)
    b.halt()
    x = run(b.build()).state.x
    return [x[count], x[total], x[weighted]]


@given(
    start=st.integers(-10, 10),
    stop=st.integers(-10, 10),
    step=st.integers(1, 5),
    in_registers=st.sets(st.sampled_from(["start", "stop", "step"])),
)
def test_loops_visit_what_range_visits(
    start: int, stop: int, step: int, in_registers: set[str]
) -> None:
    values = {"start": start, "stop": stop, "step": step}
    arguments = [name if name in in_registers else values[name] for name in values]
    expected = list(range(start, stop, step))
    assert visited(*arguments, {name: values[name] for name in in_registers}) == [
        len(expected),
        sum(expected),
        sum(n * i for n, i in enumerate(expected, start=1)),
    ]


def test_the_guard_is_left_out_where_the_loop_surely_runs() -> None:
    def mnemonics(start: int, stop: int) -> list[str]:
        b = Builder("loop", TARGET)
        with b.loop(b.x("i"), start, stop):
            b.halt()
        return [instr.mnemonic for instr in b.build().decoded()]

    assert mnemonics(0, 4) == ["li", "li", "halt", "addi", "blt"]
    assert mnemonics(4, 4) == ["li", "li", "bge", "halt", "addi", "blt"]


def test_nested_loops_give_their_registers_back() -> None:
    b = Builder("nest", TARGET)
    b.label("main")
    i, j, count = b.xs("i", "j", "count")
    before = b.free_scalars
    with b.loop(i, 0, 3), b.loop(j, 0, 4):
        b.addi(count, count, 1)
    b.halt()
    assert b.free_scalars == before
    assert run(b.build()).state.x[count] == 12


def test_a_loop_may_count_in_the_register_it_starts_from() -> None:
    b = Builder("same", TARGET)
    b.label("main")
    i, stop, count = b.xs("i", "stop", "count")
    b.li(i, 2)
    b.li(stop, 6)
    with b.loop(i, i, stop):
        b.addi(count, count, 1)
    b.halt()
    assert run(b.build()).state.x[count] == 4


def test_a_step_that_does_not_go_up_is_refused() -> None:
    b = Builder("loop", TARGET)
    with pytest.raises(InternalError, match="step 0 is not positive"), b.loop(b.x("i"), 0, 4, 0):
        pass


# Functions and labels


def test_functions_are_called_before_they_are_defined_and_nest() -> None:
    b = Builder("calls", TARGET)
    x, saved = b.xs("x", "saved")
    b.label("main")
    b.call("outer")
    b.call("outer")
    b.halt()
    with b.function("outer", link=LINK):
        b.addi(saved, LINK, 0)
        b.call("inner")
        b.call("inner")
        b.addi(LINK, saved, 0)
    with b.function("inner"):
        b.addi(x, x, 1)
    program = b.build()
    assert run(program).state.x[x] == 4
    assert list(program.labels) == ["main", "outer", "inner"]


def test_another_link_register() -> None:
    b = Builder("calls", TARGET)
    x, link = b.xs("x", "link")
    b.label("main")
    b.call("leaf", link=link)
    b.halt()
    with b.function("leaf", link=link):
        b.addi(x, x, 1)
    assert run(b.build()).state.x[x] == 1


def test_code_that_runs_into_a_function_is_refused() -> None:
    b = Builder("fall", TARGET)
    b.li(b.x("x"), 1)
    with pytest.raises(InternalError, match="before function 'f' runs into it"), b.function("f"):
        pass


def test_labels_of_one_name_are_told_apart() -> None:
    b = Builder("labels", TARGET)
    names = []
    for _ in range(3):
        label = b.new_label("loop")
        b.place(label)
        names.append(label.name)
    assert names == ["loop", "loop_2", "loop_3"]


def test_label_mistakes() -> None:
    b = Builder("labels", TARGET)
    b.label("main")
    with pytest.raises(InternalError, match="'main' is placed twice"):
        b.label("main")
    b.j("nowhere")
    with pytest.raises(InternalError, match="pc 0: j to label 'nowhere', which is never placed"):
        b.build()


def test_names_the_assembler_could_not_read_are_refused() -> None:
    for label in ("x5", "f32", "two words", "9"):
        b = Builder("names", TARGET)
        b.label(label)
        with pytest.raises(UserError, match="cannot be a label"):
            b.build()
    b = Builder("names", TARGET)
    b.region(1, "layer 0")
    with pytest.raises(UserError, match="region name 'layer 0' has characters other than"):
        b.build()


def test_a_region_has_one_name() -> None:
    b = Builder("regions", TARGET)
    b.region(1, "a")
    b.region(1)
    b.region(1, "a")
    with pytest.raises(InternalError, match="region 1 is 'a' and 'b'"):
        b.region(1, "b")
    assert b.build().decoded() == [Instr("region", (1,))] * 3


# Registers and operands


def test_registers_are_handed_out_until_none_is_left() -> None:
    b = Builder("full", TARGET)
    taken = [b.x(f"v{i}") for i in range(30)]
    assert taken == [X(i) for i in range(1, 31)]  # neither x0 nor the link register
    with pytest.raises(InternalError, match="no scalar register left for 'more'; in use: x1=v0"):
        b.x("more")
    tiles = b.tiles("acc", 8)
    assert [repr(t) for t in tiles] == [f"t{i}" for i in range(8)]
    with pytest.raises(InternalError, match="no tile register left for 'more'"):
        b.tile("more")
    b.free(taken[4], tiles[2])
    assert b.x("again") == X(5)
    assert b.tile("again") == T(2)


def test_scratch_registers_are_given_back() -> None:
    b = Builder("scratch", TARGET)
    with b.scratch("i", "j") as (i, j), b.scratch_tiles("s") as (s,):
        assert (i, j, s) == (X(1), X(2), T(0))
        assert (b.free_scalars, b.free_tiles) == (28, 7)
    assert (b.free_scalars, b.free_tiles) == (30, 8)
    with pytest.raises(InternalError, match="x1 is freed but was not allocated"):
        b.free(i)


@pytest.mark.parametrize(
    ("mnemonic", "operands", "reason"),
    [
        ("add", (X(1), T(2), X(3)), "operand xa of add must be a scalar register, not t2"),
        ("add", (X(1), 2, X(3)), "operand xa of add must be a scalar register, not 2"),
        ("mov", (T(1), X(2)), "operand ta of mov must be a tile register below t8, not x2"),
        ("mov", (T(1), T(8)), "operand ta of mov must be a tile register below t8, not t8"),
        ("addi", (X(1), X(2), X(3)), "imm32 of addi must be an integer in -2147483648..2147483647"),
        ("addi", (X(1), X(2), 2**31), "not 2147483648"),
        ("addi", (X(1), X(2), 0.5), "not 0.5"),
        (
            "fadd.col",
            (T(1), T(2), T(3), 64),
            "imm6 of fadd.col must be an integer in 0..63",
        ),
        ("j", (7,), "operand label of j must be a label, not 7"),
        ("add", (X(1), X(2)), r"add takes 3 operands \(xd, xa, xb\), not 2"),
        ("matmul.f32", (T(1), T(1), T(2)), "tc and ta must differ"),
        ("ad", (X(1), X(2), X(3)), "unknown instruction 'ad'"),
    ],
)
def test_mistakes_are_raised_at_the_call(
    mnemonic: str, operands: tuple[int, ...], reason: str
) -> None:
    b = Builder("wrong", TARGET)
    with pytest.raises(InternalError, match=reason):
        b.emit(mnemonic, *operands)
    assert b.pc == 0


def test_numpy_integers_are_integers() -> None:
    b = Builder("numpy", TARGET)
    b.li(X(1), np.int64(7))
    assert b.build().decoded() == [Instr("li", (1, 7))]


def test_bits_of_constants() -> None:
    assert Builder.f32(1.0) == 0x3F800000
    assert Builder.f32(float("-inf")) == 0xFF800000
    assert Builder.f32(1e300) == 0x7F800000
