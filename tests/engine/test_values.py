"""The compiled values equal `isa.semantics` bit for bit, whatever lies outside a tile's shape."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from isa.memory import MemoryMap
from isa.semantics import FUNCTIONS
from isa.state import State, Tile
from isa.table import BY_NAME, OP
from isa.target import Target
from sim.engine.flat import flat
from sim.engine.jit import JIT_DISABLED, njit
from sim.engine.values import (
    F32_STRIDE,
    RAW_STRIDE,
    SLOT,
    TRANSPOSED,
    aligned_zeros,
    tile_execute,
)

TILES = 4
TENSOR_BYTES = 8192
# Zeros, subnormals, infinities, the ends of exp's range, the joints of tanh and erf, bf16 ties.
SPECIAL = np.array(
    [
        *(0.0, -0.0, 1e-45, -1e-40, 1.17549435e-38, 3.4e38, -3.4e38, np.inf, -np.inf),
        *(88.72283, 88.8, -87.33654, -87.4, 0.625, 0.921875, 4.0),
        *(1.0, -1.0, 0.5, 1.00390625, 1.01171875, 16777216.0),
    ],
    dtype=np.float32,
)


@njit
def call(
    op: int,
    tiles: Any,
    memory: Any,
    words: Any,
    td: int,
    ta: int,
    tb: int,
    rows: int,
    cols: int,
    k: int,
    address: int,
    stride: int,
    extra: int,
) -> None:
    """Run `tile_execute` on arrays, as the engine runs it on its own."""
    T, M, S = flat(tiles), flat(memory), flat(words)
    tile_execute(op, T, M, S, td, ta, tb, rows, cols, k, address, stride, extra)


def random_values(rng: np.random.Generator, kind: str, *shape: int) -> NDArray[np.float32]:
    """Ordinary numbers, numbers of all sizes, many special ones, or many equal. Never a NaN."""
    if kind == "equal":
        return rng.choice(np.array([0.0, -0.0, -1.0, -np.inf], dtype=np.float32), shape)
    values = rng.standard_normal(shape).astype(np.float32)
    if kind != "ordinary":
        bits = rng.integers(0, 1 << 32, shape, dtype=np.uint32).view(np.float32)
        values = np.where(np.isfinite(bits), bits, values)
    if kind == "special":
        values = np.where(rng.random(shape) < 0.6, rng.choice(SPECIAL, shape), values)
    return values


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut values off to bf16 precision."""
    return (values.view(np.uint32) & 0xFFFF0000).view(np.float32)


@dataclass
class Bench:
    """The same operands in the interpreter's state and in the engine's slots."""

    rng: np.random.Generator
    kind: str

    def __post_init__(self) -> None:
        memory_map = MemoryMap(control_bytes=512)
        self.tensor = memory_map.add("data", TENSOR_BYTES, "f32", (TENSOR_BYTES // 4,))
        control = memory_map.allocate_control()
        target = Target(tiles=TILES, rows=16, row_bytes=64)
        self.state = State(memory_map, memory_map.allocate(), control, target)
        self.memory = aligned_zeros(memory_map.total_bytes, np.uint8)
        # Inactive elements hold anything, NaN included.
        self.tiles = aligned_zeros(TILES * SLOT, np.float32)
        self.tiles.view(np.uint32)[:] = self.rng.integers(0, 1 << 32, TILES * SLOT, np.uint32)
        self.valid = 0

    def fill_memory(self, dtype: str) -> None:
        """Put random values into tensor memory."""
        values = random_values(self.rng, self.kind, TENSOR_BYTES // 4)
        if dtype == "bf16":
            halves = random_values(self.rng, self.kind, TENSOR_BYTES // 2)
            bits = (halves.view(np.uint32) >> 16).astype(np.uint16)
            bits[(bits & 0x7F80) == 0x7F80] &= 0xFF80  # no NaN
            values = bits.view(np.float32)
        start = self.tensor.address
        self.state.mem[start : start + TENSOR_BYTES] = values.view(np.uint8)
        self.memory[:] = self.state.mem

    def set_tile(self, register: int, rows: int, cols: int, *, raw: bool = False) -> None:
        """Give a tile register random contents."""
        values = random_values(self.rng, self.kind, rows, cols)
        values = to_bf16(values) if raw else values
        self.state.t[register] = Tile(values, raw)
        self._slot(register, raw)[:rows, :cols] = values

    def _slot(self, register: int, raw: bool) -> NDArray[np.float32]:
        stride = RAW_STRIDE if raw else F32_STRIDE
        slot = self.tiles[register * SLOT : register * SLOT + 16 * stride]
        return slot.reshape(16, stride)

    def run(
        self,
        mnemonic: str,
        operands: tuple[int, ...],
        tiles: tuple[int, ...] = (),
        shape: tuple[int, int, int] = (0, 0, 0),
        place: tuple[int, int] = (0, 0),
        extra: int = 0,
    ) -> None:
        """Execute on both sides and compare every tile and all of memory."""
        with np.errstate(all="ignore"):
            FUNCTIONS[mnemonic](self.state, *operands)
        td, ta, tb = (register * SLOT for register in (*tiles, 0, 0, 0)[:3])
        words = self.state.control
        call(OP[mnemonic], self.tiles, self.memory, words, td, ta, tb, *shape, *place, extra)
        for register, tile in enumerate(self.state.t):
            if tile is not None:
                rows, cols = tile.data.shape
                assert_same_bits(self._slot(register, tile.raw)[:rows, :cols], tile.data)
        assert np.array_equal(self.memory, self.state.mem)


def assert_same_bits(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Compare bit patterns; the bits of a NaN are not promised."""
    assert expected.dtype == np.float32
    actual, expected = actual.copy(), np.ascontiguousarray(expected)
    assert np.array_equal(np.isnan(actual), np.isnan(expected))
    number = ~np.isnan(expected)
    assert np.array_equal(actual.view(np.uint32)[number], expected.view(np.uint32)[number])


def of(*names: str) -> list[str]:
    """Mnemonics of the table by prefix, so that a new row is not forgotten."""
    return [name for name in BY_NAME if name.split(".")[0] in names]


benches = st.builds(
    lambda seed, kind: Bench(np.random.default_rng(seed), kind),
    st.integers(0, 2**32),
    st.sampled_from(["ordinary", "wide", "special", "equal"]),
)
sizes = st.integers(1, 16)
registers = st.integers(0, TILES - 1)
checked = settings.get_profile("values")


@pytest.mark.parametrize("mnemonic", of("load", "loadt"))
@checked
@given(bench=benches, data=st.data())
def test_loads(mnemonic: str, bench: Bench, data: Any) -> None:
    row = BY_NAME[mnemonic]
    rows = data.draw(sizes)
    cols = data.draw(st.integers(1, 32 if row.raw else 16))
    lines, length = (cols, rows) if mnemonic.startswith("loadt") else (rows, cols)
    nbytes = length * row.element_bytes
    stride = row.element_bytes * data.draw(
        st.integers(-(TENSOR_BYTES // 2) // 32 // 4, TENSOR_BYTES // 2 // 32 // 4)
    )
    span = (lines - 1) * stride
    low, high = max(0, -span), TENSOR_BYTES - nbytes - max(0, span)
    # The last place too: there a kernel must not read on beyond the row.
    offset = data.draw(st.integers(low, high) | st.just(high))
    address = bench.tensor.address + offset // row.element_bytes * row.element_bytes
    bench.fill_memory(row.dtype)
    bench.state.x[1:5] = [address, stride, rows, cols]
    td = data.draw(registers)
    bench.run(mnemonic, (td, 1, 2, 3, 4), (td,), (rows, cols, 0), (address, stride))
    if mnemonic.startswith("loadt"):
        tile = bench.state.t[td]
        assert tile is not None
        start = td * SLOT + TRANSPOSED
        copy = bench.tiles[start : start + cols * F32_STRIDE].reshape(cols, F32_STRIDE)
        assert_same_bits(copy[:, :rows], tile.data.T)


@pytest.mark.parametrize("mnemonic", of("gather"))
@checked
@given(bench=benches, rows=sizes, cols=sizes, data=st.data())
def test_gathers(mnemonic: str, bench: Bench, rows: int, cols: int, data: Any) -> None:
    size = BY_NAME[mnemonic].element_bytes
    stride = size * data.draw(st.integers(cols, 40))
    numbers = data.draw(
        st.lists(st.integers(0, TENSOR_BYTES // stride - 1), min_size=rows, max_size=rows)
    )
    bench.fill_memory(BY_NAME[mnemonic].dtype)
    first = data.draw(st.integers(0, 40))
    bench.state.control[first : first + rows] = numbers
    address = bench.tensor.address
    bench.state.x[1:6] = [address, stride, 8 * first, rows, cols]
    operands = (0, 1, 2, 3, 4, 5)
    bench.run(mnemonic, operands, (0,), (rows, cols, 0), (address, stride), first)


@pytest.mark.parametrize("mnemonic", of("bcast"))
@checked
@given(bench=benches, rows=sizes, cols=sizes, data=st.data())
def test_broadcasts(mnemonic: str, bench: Bench, rows: int, cols: int, data: Any) -> None:
    size = BY_NAME[mnemonic].element_bytes
    last = TENSOR_BYTES - cols * size
    offset = data.draw(st.integers(0, last) | st.just(last))
    address = bench.tensor.address + offset // size * size
    bench.fill_memory(BY_NAME[mnemonic].dtype)
    bench.state.x[1:4] = [address, rows, cols]
    bench.run(mnemonic, (0, 1, 2, 3), (0,), (rows, cols, 0), (address, 0))


@pytest.mark.parametrize("mnemonic", of("store"))
@checked
@given(bench=benches, rows=sizes, cols=sizes, data=st.data())
def test_stores_touch_the_tile_and_nothing_else(
    mnemonic: str, bench: Bench, rows: int, cols: int, data: Any
) -> None:
    size = BY_NAME[mnemonic].element_bytes
    stride = size * data.draw(st.integers(0, 30))  # small strides: rows overlap, the later wins
    last = TENSOR_BYTES - cols * size - (rows - 1) * stride
    address = bench.tensor.address + data.draw(st.integers(0, last)) // size * size
    bench.fill_memory("f32")
    bench.set_tile(2, rows, cols)
    bench.state.x[1:3] = [address, stride]
    bench.run(mnemonic, (2, 1, 2), (2,), (rows, cols, 0), (address, stride))


@checked
@given(bench=benches, rows=sizes, cols=sizes, constant=st.integers(-(2**63), 2**63 - 1))
def test_fill(bench: Bench, rows: int, cols: int, constant: int) -> None:
    bench.state.x[1:4] = [constant, rows, cols]
    bench.run("fill.f32", (1, 1, 2, 3), (1,), (rows, cols, 0), extra=constant)


@pytest.mark.parametrize("mnemonic", of("matmul"))
@checked
@given(bench=benches, m=sizes, n=sizes, data=st.data())
def test_matmul(mnemonic: str, bench: Bench, m: int, n: int, data: Any) -> None:
    raw = BY_NAME[mnemonic].dtype == "bf16"
    k = data.draw(st.integers(1, 32 if raw else 16))
    tc, ta, tb = data.draw(st.permutations(range(TILES)))[:3]
    if data.draw(st.booleans()) and m == n:
        ta = tb
    bench.set_tile(tc, m, n)
    bench.set_tile(ta, m, k, raw=raw)
    if ta != tb:
        bench.set_tile(tb, n, k, raw=raw)
    bench.run(mnemonic, (tc, ta, tb), (tc, ta, tb), (m, n, k))
    # Again, now with the transposed copy in place.
    bench.run(mnemonic, (tc, ta, tb), (tc, ta, tb), (m, n, k), extra=1)


@pytest.mark.parametrize(("mnemonic", "depth"), [("matmul.f32", 16), ("matmul.bf16", 32)])
def test_matmul_of_every_height_and_depth(mnemonic: str, depth: int) -> None:
    raw = depth == 32
    for m in range(1, 17):
        for k in range(1, depth + 1):
            bench = Bench(np.random.default_rng(m * k), "ordinary")
            bench.set_tile(0, m, 7)
            bench.set_tile(1, m, k, raw=raw)
            bench.set_tile(2, 7, k, raw=raw)
            bench.run(mnemonic, (0, 1, 2), (0, 1, 2), (m, 7, k))


@checked
@given(bench=benches, size=sizes, aliased=st.sampled_from([(0, 0, 1), (0, 1, 0), (0, 0, 0)]))
def test_matmul_into_an_operand(bench: Bench, size: int, aliased: tuple[int, int, int]) -> None:
    bench.set_tile(0, size, size)
    bench.set_tile(1, size, size)
    bench.run("matmul.f32", aliased, aliased, (size, size, size))


@checked
@given(bench=benches, rows=sizes, cols=sizes, td=registers, ta=registers)
def test_pack(bench: Bench, rows: int, cols: int, td: int, ta: int) -> None:
    bench.set_tile(ta, rows, cols)
    bench.run("pack.bf16", (td, ta), (td, ta), (rows, cols, 0))


@pytest.mark.parametrize("own", range(1, 32))
def test_append(own: int) -> None:
    for cols in range(1, min(16, 32 - own) + 1):
        bench = Bench(np.random.default_rng(cols), "wide")
        bench.set_tile(0, 5, own, raw=True)
        bench.set_tile(1, 5, cols)
        bench.run("append.bf16", (0, 1), (0, 1), (5, cols, own))


@pytest.mark.parametrize("mnemonic", ["cvt.bf16", "pack.bf16", "store.bf16"])
def test_rounding_to_bf16_keeps_a_nan_a_nan(mnemonic: str) -> None:
    # With only low bits set, or with all, a NaN must not be cut or rounded to an infinity or zero.
    bench = Bench(np.random.default_rng(0), "ordinary")
    bench.set_tile(1, 16, 16)
    bits = np.resize(np.array([0x7F800001, 0x7FFFFFFF, 0xFF80FFFF, 0xFFFFFFFF], np.uint32), 256)
    bench.tiles[SLOT : SLOT + 256] = bits.view(np.float32)
    bench.state.t[1] = Tile(bits.view(np.float32).reshape(16, 16).copy())
    address = bench.tensor.address
    bench.state.x[1:3] = [address, 32]
    if mnemonic == "store.bf16":
        bench.run(mnemonic, (1, 1, 2), (1,), (16, 16, 0), (address, 32))
        stored = bench.memory[address : address + 512].view(np.uint16)
        assert ((stored & 0x7F80) == 0x7F80).all()
        assert (stored & 0x007F).all()
    else:
        bench.run(mnemonic, (0, 1), (0, 1), (16, 16, 0))


@pytest.mark.parametrize("mnemonic", of("fadd", "fsub", "fmul", "fmax", "fcmpgt"))
@checked
@given(bench=benches, rows=sizes, cols=sizes, data=st.data())
def test_binary(mnemonic: str, bench: Bench, rows: int, cols: int, data: Any) -> None:
    td, ta, tb = (data.draw(registers) for _ in range(3))
    form = mnemonic.partition(".")[2]
    shape = (rows, cols, 0)
    bench.set_tile(ta, rows, cols)
    if form == "const":
        bits = int(random_values(bench.rng, bench.kind, 1).view(np.uint32)[0])
        bench.state.x[1] = bits - 2**32 * data.draw(st.integers(0, 3))  # only the low bits count
        bench.run(mnemonic, (td, ta, 1), (td, ta), shape, extra=bench.state.x[1])
        return
    if ta != tb:
        bench.set_tile(
            tb,
            data.draw(sizes) if form == "row" else rows,
            data.draw(sizes) if form == "col" else cols,
        )
    column = ()
    if form == "col":
        tile = bench.state.t[tb]
        assert tile is not None
        column = (data.draw(st.integers(0, tile.data.shape[1] - 1)),)
    bench.run(mnemonic, (td, ta, tb, *column), (td, ta, tb), shape, extra=sum(column))


ONE_TILE = [name for name, row in BY_NAME.items() if row.syntax == "td, ta" and row.cls != "pack"]


@pytest.mark.parametrize("mnemonic", ONE_TILE)
@checked
@given(bench=benches, rows=sizes, cols=sizes, td=registers, ta=registers)
def test_one_tile(mnemonic: str, bench: Bench, rows: int, cols: int, td: int, ta: int) -> None:
    if mnemonic == "swap":
        cols += cols % 2
    bench.set_tile(ta, rows, cols)
    bench.run(mnemonic, (td, ta), (td, ta), (rows, cols, 0))


@pytest.mark.parametrize(
    "mnemonic", ["exp", "log", "erf", "tanh", "sigmoid", "gelu.tanh", "gelu.erf", "silu"]
)
def test_functions_over_the_whole_range(mnemonic: str) -> None:
    # Every 65,521st bit pattern of an f32, and every number near the ends of exp's range.
    every = np.arange(0, 1 << 32, 65521, dtype=np.uint64).astype(np.uint32)
    near = np.array([-88, -87.33654, 88.0, 88.72283, 0.625, 0.921875, 1.0], dtype=np.float32)
    close = (near.view(np.uint32)[:, None] + np.arange(-300, 300, dtype=np.int32)).ravel()
    x = np.concatenate([every, close.astype(np.uint32)]).view(np.float32)
    x = x[~np.isnan(x)]
    x = np.resize(x, (-(-x.size // 256), 16, 16))
    bench = Bench(np.random.default_rng(0), "ordinary")
    for block in x:
        bench.state.t[1] = Tile(block.copy())
        bench.tiles[SLOT : SLOT + 256] = block.ravel()
        bench.run(mnemonic, (0, 1), (0, 1), (16, 16, 0))


@checked
@given(bench=benches, rows=sizes, cols=sizes, offset=st.integers(-20, 20) | st.integers())
def test_mask(bench: Bench, rows: int, cols: int, offset: int) -> None:
    offset = max(min(offset, 2**63 - 1), -(2**63))
    bench.set_tile(1, rows, cols)
    bench.state.x[1] = offset
    bench.run("mask", (0, 1, 1), (0, 1), (rows, cols, 0), extra=offset)


@checked
@given(
    bench=benches,
    rows=sizes,
    cols=sizes,
    width=st.integers(3, 16),
    empty=st.sampled_from([0.0, 0.3, 1.0]),
    names=st.sampled_from([(0, 1, 2), (1, 1, 2), (2, 1, 2)]),
)
def test_softmax(
    bench: Bench, rows: int, cols: int, width: int, empty: float, names: tuple[int, int, int]
) -> None:
    _, ts, tm = names
    bench.set_tile(ts, rows, cols)
    bench.set_tile(tm, rows, width)
    scores, running = bench.state.t[ts], bench.state.t[tm]
    assert scores is not None
    assert running is not None
    scores.data[bench.rng.random(scores.data.shape) < empty] = -np.inf
    running.data[bench.rng.random(rows) < 0.5, :3] = (-np.inf, 0.0, 1.0)
    for register, tile in ((ts, scores), (tm, running)):
        slot = bench.tiles[register * SLOT : register * SLOT + 256].reshape(16, 16)
        slot[:rows, : tile.data.shape[1]] = tile.data
    bench.run("softmax", names, names, (rows, cols, 0))


def test_products_are_rounded_before_they_are_added() -> None:
    # (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24: the last term is lost in the rounded product, and would be
    # the whole result of a fused multiply-add onto -(1 + 2^-11).
    tiles = aligned_zeros(3 * SLOT, np.float32)
    for rows in range(1, 17):
        tiles[:] = 0
        tiles[:256] = -(1 + 2.0**-11)
        tiles[SLOT : SLOT + 256 : F32_STRIDE] = 1 + 2.0**-12
        tiles[2 * SLOT : 2 * SLOT + 256 : F32_STRIDE] = 1 + 2.0**-12
        empty = np.zeros(8, dtype=np.int64)
        memory = np.zeros(64, dtype=np.uint8)
        call(OP["matmul.f32"], tiles, memory, empty, 0, SLOT, 2 * SLOT, rows, 16, 1, 0, 0, 0)
        assert not tiles[: rows * F32_STRIDE].any()


@pytest.mark.parametrize(("mnemonic", "k"), [("matmul.f32", 16), ("matmul.bf16", 32)])
def test_sums_run_upward_in_k(mnemonic: str, k: int) -> None:
    # 2^24 + 1 + 1 + ... stays 2^24 when added upward; any other grouping gathers the ones.
    tiles = aligned_zeros(3 * SLOT, np.float32)
    stride = RAW_STRIDE if k == 32 else F32_STRIDE
    tiles[SLOT : SLOT + 16 * stride] = 1.0
    tiles[2 * SLOT : 2 * SLOT + 16 * stride] = 1.0
    tiles[SLOT : SLOT + 16 * stride : stride] = 2.0**24
    empty = np.zeros(8, dtype=np.int64)
    memory = np.zeros(64, dtype=np.uint8)
    call(OP[mnemonic], tiles, memory, empty, 0, SLOT, 2 * SLOT, 16, 16, k, 0, 0, 0)
    assert (tiles[:256] == 2.0**24).all()


SMALL_PROGRAM = """
import numpy as np
from isa.table import OP
from sim.engine.flat import flat
from sim.engine.jit import njit
from sim.engine.values import aligned_zeros, tile_execute, SLOT

@njit
def call(op, tiles, memory, words, address, cols):
    T, M, S = flat(tiles), flat(memory), flat(words)
    tile_execute(op, T, M, S, 0, SLOT, 2 * SLOT, 16, cols, cols, address, 64, 0)

rng = np.random.default_rng(1)
tiles, words = aligned_zeros(3 * SLOT, np.float32), np.arange(16)
memory = aligned_zeros(2048, np.uint8)
memory.view(np.float32)[:] = rng.standard_normal(512)
for name in ("load.f32", "loadt.f32", "gather.f32", "matmul.f32", "softmax", "exp", "rowsum",
             "fadd.col", "store.bf16", "pack.bf16", "log", "gelu.erf", "rowargmax"):
    tiles[:] = rng.standard_normal(tiles.size)
    call(OP[name], tiles, memory, words, 64, 16)
    print(name, tiles.view(np.uint32).sum() % 1000003, memory.sum())
# The last row ends where memory does: nothing behind it may be read, nor written.
for name in ("load.f32", "load.bf16", "load.raw.bf16", "loadt.f32", "loadt.bf16", "store.f32",
             "store.bf16"):
    size = 2 if "bf16" in name else 4
    lines, length = (5, 16) if name.startswith("loadt") else (16, 5)
    address = memory.size - (lines - 1) * 64 - length * size
    call(OP[name], tiles, memory, words, address, 5)
    try:
        call(OP[name], tiles, memory, words, address + size, 5)
    except IndexError:
        print("IndexError")
"""


@pytest.mark.slow
@pytest.mark.skipif(JIT_DISABLED, reason="compares compiled code with Python")
def test_bounds_are_checked_on_request_and_python_computes_the_same(tmp_path: Path) -> None:
    script = tmp_path / "small_program.py"
    script.write_text(SMALL_PROGRAM)
    printed = []
    for variable in ("NUMBA_BOUNDSCHECK", "NUMBA_DISABLE_JIT"):
        paths = {"TICKFORMER_CACHE": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
        result = subprocess.run(
            [sys.executable, str(script)],
            env={**os.environ, **paths, variable: "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.stdout.count("IndexError\n") == 7, result.stderr
        printed.append(result.stdout)
    assert printed[0] == printed[1]
