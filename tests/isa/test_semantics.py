"""What instructions on tiles and scalars do, against plain loops of f32 operations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa.encoding import Instr
from isa.functions import Floats, bf16_bits, from_bf16, round_bf16
from isa.semantics import execute
from isa.state import Tile
from isa.target import Target
from tests.isa.harness import Bench

TARGET = Target(tiles=8, rows=16, row_bytes=64)
MINUS_INF = np.float32(-np.inf)
shapes = st.tuples(st.integers(1, 16), st.integers(1, 16))
seeds = st.integers(0, 2**32 - 1)


def numbers(seed: int, *shape: int) -> Floats:
    """Normal numbers of very different sizes, some of them equal, some zero."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 6, shape)
    values = np.where(rng.random(shape) < 0.2, rng.integers(-2, 3, shape), values)
    return values.astype(np.float32)


def same_bits(a: Floats, b: Floats) -> None:
    assert a.dtype == b.dtype == np.float32
    np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


# Matrix products


def matmul_by_hand(c: Floats, a: Floats, b: Floats) -> Floats:
    result = c.copy()
    for m in range(a.shape[0]):
        for n in range(b.shape[0]):
            for k in range(a.shape[1]):
                product = np.float32(a[m, k] * b[n, k])
                result[m, n] = np.float32(result[m, n] + product)
    return result


@given(st.integers(1, 16), st.integers(1, 16), st.integers(1, 16), seeds)
def test_matmul_f32_rounds_every_product_and_sum_in_order(
    m: int, n: int, k: int, seed: int
) -> None:
    bench = Bench(TARGET)
    a, b, c = numbers(seed, m, k), numbers(seed + 1, n, k), numbers(seed + 2, m, n)
    bench.state.t[0] = Tile(c)
    same_bits(bench.apply("matmul.f32", a, b), matmul_by_hand(c, a, b))


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 32), seeds)
def test_matmul_bf16_is_the_same_on_rounded_operands(m: int, n: int, k: int, seed: int) -> None:
    bench = Bench(TARGET)
    a, b = round_bf16(numbers(seed, m, k)), round_bf16(numbers(seed + 1, n, k))
    c = numbers(seed + 2, m, n)
    bench.state.t[0] = Tile(c)
    got = bench.apply("matmul.bf16", Tile(a, raw=True), Tile(b, raw=True))
    same_bits(got, matmul_by_hand(c, a, b))


def test_pack_and_append_make_a_wide_operand(bench: Bench) -> None:
    left, right = numbers(1, 3, 16), numbers(2, 3, 7)
    packed = bench.apply("pack.bf16", left)
    same_bits(packed, round_bf16(left))
    whole = bench.apply("append.bf16", right)
    same_bits(whole, round_bf16(np.concatenate([left, right], axis=1)))
    tile = bench.state.t[0]
    assert tile is not None
    assert tile.raw


# Elementwise

OPERATIONS: dict[str, Callable[[np.float32, np.float32], np.float32]] = {
    "fadd": lambda a, b: a + b,
    "fsub": lambda a, b: a - b,
    "fmul": lambda a, b: a * b,
    "fmax": lambda a, b: a if a > b else b,
    "fcmpgt": lambda a, b: np.float32(1) if a > b else np.float32(0),
}


@pytest.mark.parametrize("name", OPERATIONS)
@given(shape=shapes, seed=seeds)
def test_binary_operations_and_their_forms(name: str, shape: tuple[int, int], seed: int) -> None:
    bench, operation = Bench(TARGET), OPERATIONS[name]
    a, b = numbers(seed, *shape), numbers(seed + 1, *shape)
    column = seed % shape[1]
    constant = b[0, 0]
    bench.state.x[5] = int(constant.view(np.uint32)) | 0x7 << 40  # high bits do not matter

    def expected(pick: Callable[[int, int], np.float32]) -> Floats:
        rows, cols = shape
        values = [[operation(a[i, j], pick(i, j)) for j in range(cols)] for i in range(rows)]
        return np.array(values, np.float32)

    same_bits(bench.apply(name, a, b), expected(lambda i, j: b[i, j]))
    same_bits(bench.apply(f"{name}.row", a, b), expected(lambda i, j: b[0, j]))
    same_bits(bench.apply(f"{name}.col", a, b, tail=(column,)), expected(lambda i, j: b[i, column]))
    same_bits(bench.apply(f"{name}.const", a, tail=(5,)), expected(lambda i, j: constant))


def test_maximum_of_equals_is_the_second(bench: Bench) -> None:
    """fmax(+0, -0) = -0 and fmax(-0, +0) = +0: neither is greater."""
    zero, minus = np.zeros((1, 1), np.float32), np.full((1, 1), -0.0, np.float32)
    assert np.signbit(bench.apply("fmax", zero, minus))[0, 0]
    assert not np.signbit(bench.apply("fmax", minus, zero))[0, 0]


def test_row_and_column_operands_may_be_taller_and_wider(bench: Bench) -> None:
    a = np.ones((2, 3), np.float32)
    tall = np.arange(12, dtype=np.float32).reshape(4, 3)
    wide = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert bench.apply("fadd.row", a, tall).tolist() == [[1, 2, 3], [1, 2, 3]]
    assert bench.apply("fadd.col", a, wide, tail=(3,)).tolist() == [[4, 4, 4], [8, 8, 8]]


def test_operands_are_read_before_the_result_is_written(bench: Bench) -> None:
    bench.state.t[0] = Tile(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32))
    execute(bench.state, Instr("fadd.row", (0, 0, 0)))
    assert bench.values(0).tolist() == [[2, 4], [4, 6]]
    execute(bench.state, Instr("fsub.col", (0, 0, 0, 0)))
    assert bench.values(0).tolist() == [[0, 2], [0, 2]]


def test_swap_exchanges_pairs_of_columns(bench: Bench) -> None:
    a = np.arange(12, dtype=np.float32).reshape(2, 6)
    assert bench.apply("swap", a).tolist() == [[1, 0, 3, 2, 5, 4], [7, 6, 9, 8, 11, 10]]


def test_mov_and_cvt(bench: Bench) -> None:
    a = numbers(4, 5, 7)
    same_bits(bench.apply("mov", a), a)
    same_bits(bench.apply("cvt.bf16", a), round_bf16(a))


@given(shape=shapes, diagonal=st.integers(-20, 20))
def test_mask_hides_what_lies_beyond_the_diagonal(shape: tuple[int, int], diagonal: int) -> None:
    bench = Bench(TARGET)
    bench.state.x[5] = diagonal
    got = bench.apply("mask", np.zeros(shape, np.float32), tail=(5,))
    for row in range(shape[0]):
        for col in range(shape[1]):
            assert got[row, col] == (MINUS_INF if col > row + diagonal else 0)


# Functions (accuracy is in test_functions.py) and division


@pytest.mark.parametrize(
    ("mnemonic", "x", "want"),
    [
        ("exp", 0.0, 1.0),
        ("log", 1.0, 0.0),
        ("erf", 0.5, 0.5204999),
        ("tanh", 1.0, 0.7615942),
        ("sigmoid", 2.0, 0.880797),
        ("gelu.tanh", 1.0, 0.841192),
        ("gelu.erf", 1.0, 0.8413447),
        ("silu", 1.0, 0.7310586),
        ("relu", -2.0, 0.0),
        ("rsqrt", 0.25, 2.0),
        ("recip", 8.0, 0.125),
        ("recip.safe", 0.0, 0.0),
    ],
)
def test_each_function_is_wired_to_its_mnemonic(
    bench: Bench, mnemonic: str, x: float, want: float
) -> None:
    got = bench.apply(mnemonic, np.full((2, 3), x, np.float32))
    np.testing.assert_allclose(got, np.full((2, 3), want), rtol=3e-7)


def test_rsqrt_rounds_the_root_and_the_quotient(bench: Bench) -> None:
    a = np.abs(numbers(9, 16, 16)) + np.float32(1e-3)
    want = [[np.float32(1) / np.sqrt(value) for value in row] for row in a]
    same_bits(bench.apply("rsqrt", a), np.array(want, np.float32))


# Reductions


@given(shape=shapes, seed=seeds)
def test_sums_run_from_the_first_element_upward(shape: tuple[int, int], seed: int) -> None:
    bench, a = Bench(TARGET), numbers(seed, *shape)
    rows = np.zeros((shape[0], 1), np.float32)
    cols = np.zeros((1, shape[1]), np.float32)
    for i in range(shape[0]):
        total = a[i, 0]
        for j in range(1, shape[1]):
            total = np.float32(total + a[i, j])
        rows[i, 0] = total
    for j in range(shape[1]):
        total = a[0, j]
        for i in range(1, shape[0]):
            total = np.float32(total + a[i, j])
        cols[0, j] = total
    same_bits(bench.apply("rowsum", a), rows)
    same_bits(bench.apply("colsum", a), cols)


@given(shape=shapes, seed=seeds)
def test_largest_of_a_row_and_its_first_column(shape: tuple[int, int], seed: int) -> None:
    bench = Bench(TARGET)
    a = np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float32)  # many ties
    a = np.where(np.random.default_rng(seed + 1).random(shape) < 0.2, np.float32(-0.0), a)
    best = []
    for row in a:
        at = 0
        for j, value in enumerate(row):
            if value > row[at]:
                at = j
        best.append(at)
    assert bench.apply("rowargmax", a).tolist() == [[float(at)] for at in best]
    same_bits(bench.apply("rowmax", a), np.array([[a[i, at]] for i, at in enumerate(best)]))


def test_rows_of_minus_infinity_have_their_largest_element_first(bench: Bench) -> None:
    a = np.full((2, 4), MINUS_INF)
    assert bench.apply("rowargmax", a).tolist() == [[0], [0]]
    assert bench.apply("rowmax", a).tolist() == [[-np.inf], [-np.inf]]


# Scalars

words = st.integers(-(2**63), 2**63 - 1)


def scalar(mnemonic: str, a: int, b: int) -> int:
    """Execute `mnemonic x3, x1, x2` (or an immediate in place of x2) and return x3."""
    bench = Bench(TARGET)
    bench.state.x[1] = a
    bench.state.x[2] = b
    last = b if mnemonic in ("addi", "slli", "srli") else 2
    execute(bench.state, Instr(mnemonic, (3, 1, last)))
    return bench.state.x[3]


def as_word(value: int) -> int:
    return int(np.array(value % 2**64, np.uint64).astype(np.int64))


@given(words, words)
def test_scalar_arithmetic_is_modulo_2_to_the_64(a: int, b: int) -> None:
    assert scalar("add", a, b) == as_word(a + b)
    assert scalar("sub", a, b) == as_word(a - b)
    assert scalar("mul", a, b) == as_word(a * b)
    assert scalar("min", a, b) == (a if a < b else b)


@given(words, st.integers(-(2**31), 2**31 - 1), st.integers(0, 63))
def test_scalar_immediates(a: int, imm: int, shift: int) -> None:
    assert scalar("addi", a, imm) == as_word(a + imm)
    assert scalar("slli", a, shift) == as_word(a << shift)
    assert scalar("srli", a, shift) == as_word((a % 2**64) >> shift)


def test_x0_stays_zero(bench: Bench) -> None:
    execute(bench.state, Instr("li", (0, 5)))
    assert bench.state.x[0] == 0


def test_control_words(bench: Bench) -> None:
    bench.state.x[1] = 16
    bench.state.x[2] = -7
    execute(bench.state, Instr("st", (2, 8, 1)))
    assert bench.state.control[3] == -7
    execute(bench.state, Instr("ld", (4, -8, 1)))
    assert bench.state.x[4] == 0
    execute(bench.state, Instr("ld", (4, 8, 1)))
    assert bench.state.x[4] == -7


@pytest.mark.parametrize("mnemonic", ["beq", "bne", "blt", "bge"])
@given(a=words, b=words, same=st.booleans())
def test_branches_compare_signed(mnemonic: str, a: int, b: int, same: bool) -> None:
    b = a if same else b
    taken = {"beq": a == b, "bne": a != b, "blt": a < b, "bge": a >= b}[mnemonic]
    bench = Bench(TARGET)
    bench.state.x[1], bench.state.x[2], bench.state.pc = a, b, 10
    execute(bench.state, Instr(mnemonic, (1, 2, -4)))
    assert bench.state.pc == (6 if taken else 11)


def test_jumps_and_links(bench: Bench) -> None:
    bench.state.pc = 10
    execute(bench.state, Instr("jal", (31, 5)))
    assert (bench.state.pc, bench.state.x[31]) == (15, 11)
    execute(bench.state, Instr("jr", (31,)))
    assert bench.state.pc == 11
    execute(bench.state, Instr("j", (-11,)))
    assert bench.state.pc == 0


# Loads and stores: x1 address, x2 stride, x3 rows, x4 cols, x5 control address of indices

BASE = 0x10000


def memory_bench(rows: int, cols: int, stride: int, address: int = BASE) -> Bench:
    bench = Bench(TARGET)
    rng = np.random.default_rng(7)
    bench.state.mem[BASE : BASE + 4096] = rng.integers(0, 0x7F, 4096)  # finite as f32 and bf16
    bench.state.x[1:5] = [address, stride, rows, cols]
    return bench


def element(bench: Bench, address: int, dtype: str) -> np.float32:
    size = 2 if dtype == "bf16" else 4
    raw = bytes(bench.state.mem[address : address + size])
    word = int.from_bytes(raw, "little") << (32 - 8 * size)
    value: np.float32 = np.uint32(word).view(np.float32)
    return value


@pytest.mark.parametrize("mnemonic", ["load.f32", "load.bf16", "load.raw.bf16"])
@pytest.mark.parametrize("stride", [100, 0, -100])
@given(shape=shapes)
def test_loads_walk_rows(mnemonic: str, stride: int, shape: tuple[int, int]) -> None:
    rows, cols = shape
    start = BASE + 2000
    bench = memory_bench(rows, cols, stride, start)
    execute(bench.state, Instr(mnemonic, (0, 1, 2, 3, 4)))
    size, dtype = (2, "bf16") if "bf16" in mnemonic else (4, "f32")
    want = [
        [element(bench, start + i * stride + j * size, dtype) for j in range(cols)]
        for i in range(rows)
    ]
    same_bits(bench.values(0), np.array(want, np.float32))
    tile = bench.state.t[0]
    assert tile is not None
    assert tile.raw == (".raw" in mnemonic)


@pytest.mark.parametrize("mnemonic", ["loadt.f32", "loadt.bf16", "loadt.raw.bf16"])
@given(shape=shapes)
def test_transposing_loads_walk_columns(mnemonic: str, shape: tuple[int, int]) -> None:
    rows, cols = shape
    bench = memory_bench(rows, cols, 72)
    execute(bench.state, Instr(mnemonic, (0, 1, 2, 3, 4)))
    size, dtype = (2, "bf16") if "bf16" in mnemonic else (4, "f32")
    want = [
        [element(bench, BASE + j * 72 + i * size, dtype) for j in range(cols)] for i in range(rows)
    ]
    same_bits(bench.values(0), np.array(want, np.float32))


def test_raw_operands_are_twice_as_wide() -> None:
    bench = memory_bench(2, 32, 64)
    execute(bench.state, Instr("load.raw.bf16", (0, 1, 2, 3, 4)))
    assert bench.values(0).shape == (2, 32)


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_gather_takes_rows_by_number(dtype: str) -> None:
    bench = memory_bench(4, 5, 96)
    bench.state.x[5] = 8
    rows = [7, 0, 7, 3]
    bench.state.control[1:5] = rows
    execute(bench.state, Instr(f"gather.{dtype}", (0, 1, 2, 5, 3, 4)))
    size = 2 if dtype == "bf16" else 4
    want = [[element(bench, BASE + n * 96 + j * size, dtype) for j in range(5)] for n in rows]
    same_bits(bench.values(0), np.array(want, np.float32))


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_bcast_repeats_one_row(dtype: str) -> None:
    bench = memory_bench(3, 5, 0)
    execute(bench.state, Instr(f"bcast.{dtype}", (0, 1, 3, 4)))
    size = 2 if dtype == "bf16" else 4
    want = [element(bench, BASE + j * size, dtype) for j in range(5)]
    same_bits(bench.values(0), np.array([want] * 3, np.float32))


@given(shape=shapes, seed=seeds)
def test_stores_write_the_shape_of_the_tile_and_nothing_else(
    shape: tuple[int, int], seed: int
) -> None:
    rows, cols = shape
    data = numbers(seed, rows, cols)
    for dtype, size in (("f32", 4), ("bf16", 2)):
        bench = memory_bench(0, 0, 68)
        before = bench.state.mem.copy()
        bench.state.t[6] = Tile(data)
        execute(bench.state, Instr(f"store.{dtype}", (6, 1, 2)))
        stored = bf16_bits(data).astype("<u2") if dtype == "bf16" else data.astype("<f4")
        for i in range(rows):
            at = BASE + i * 68
            before[at : at + cols * size] = np.frombuffer(stored[i].tobytes(), np.uint8)
        np.testing.assert_array_equal(bench.state.mem, before)


def test_where_stored_rows_overlap_the_later_one_wins(bench: Bench) -> None:
    bench.state.x[1:3] = [BASE, 4]
    bench.state.t[6] = Tile(np.array([[1, 2], [3, 4]], np.float32))
    execute(bench.state, Instr("store.f32", (6, 1, 2)))
    assert bench.state.mem[BASE : BASE + 12].view("<f4").tolist() == [1, 3, 4]


def test_bf16_memory_round_trips(bench: Bench) -> None:
    data = numbers(3, 4, 8)
    bench.state.t[6] = Tile(data)
    bench.state.x[1:5] = [BASE, 16, 4, 8]
    execute(bench.state, Instr("store.bf16", (6, 1, 2)))
    execute(bench.state, Instr("load.bf16", (0, 1, 2, 3, 4)))
    same_bits(bench.values(0), from_bf16(bf16_bits(data)))


def test_fill_takes_the_bits_of_a_constant(bench: Bench) -> None:
    bench.state.x[1:4] = [0xFF800000, 2, 3]
    execute(bench.state, Instr("fill.f32", (0, 1, 2, 3)))
    assert bench.values(0).tolist() == [[-np.inf] * 3] * 2


def test_signals_are_counted_and_waited_for(bench: Bench) -> None:
    bench.state.x[1] = 2
    for _ in range(2):
        execute(bench.state, Instr("signal", (9,)))
    execute(bench.state, Instr("wait", (9, 1)))
    assert bench.state.counters == {9: 2}


def test_region_and_halt(bench: Bench) -> None:
    execute(bench.state, Instr("region", (12,)))
    assert bench.state.region == 12
    execute(bench.state, Instr("halt", ()))
    assert bench.state.halted
