"""Values of loads, stores and the instructions that only move or convert elements.

`T` is the tile storage (float32), `memory` the simulated tensor memory (uint8), `control` holds the
gather indices (int64). Tiles are given by the element offset of their slot; addresses and strides
are bytes. Bounds are the caller's: every access must lie in a tensor, checked before these run.
"""

from typing import Any

from sim.engine.jit import inline
from sim.engine.lanes import (
    Lanes,
    keep_first,
    load,
    load_bf16,
    load_first,
    load_first_bf16,
    round_bf16,
    store,
    store_bf16,
    store_first,
    store_first_bf16,
    swap_pairs,
    transpose_16x16,
)
from sim.engine.values.slots import F32_STRIDE, RAW_STRIDE, TRANSPOSED

Array = Any


@inline
def row_f32(memory: Array, address: int, cols: int) -> Lanes:
    """A row of at most 16 f32. Reads on beyond the row unless the memory ends there."""
    if address + 64 <= memory.size:
        return load(memory, address)
    return load_first(memory, address, cols)


@inline
def row_bf16(memory: Array, address: int, cols: int) -> Lanes:
    """A row of at most 16 bf16, widened to f32."""
    if address + 32 <= memory.size:
        return load_bf16(memory, address)
    return load_first_bf16(memory, address, cols)


# --- loads --------------------------------------------------------------------------------------


@inline
def load_f32(
    T: Array, memory: Array, td: int, rows: int, cols: int, address: int, stride: int, step: int
) -> None:
    """Rows of f32 at `address`, `address` + `stride`, ... to rows `step` elements apart."""
    for row in range(rows):
        store(T, td + row * step, row_f32(memory, address + row * stride, cols))


@inline
def load_bf16_as_f32(
    T: Array, memory: Array, td: int, rows: int, cols: int, address: int, stride: int, step: int
) -> None:
    """As `load_f32`, from bf16 memory."""
    for row in range(rows):
        store(T, td + row * step, row_bf16(memory, address + row * stride, cols))


@inline
def load_raw(
    T: Array, memory: Array, td: int, rows: int, cols: int, address: int, stride: int
) -> None:
    """Rows of up to 32 bf16 as a matmul operand (load.raw.bf16)."""
    load_bf16_as_f32(T, memory, td, rows, min(cols, 16), address, stride, RAW_STRIDE)
    if cols > 16:
        load_bf16_as_f32(T, memory, td + 16, rows, cols - 16, address + 32, stride, RAW_STRIDE)


@inline
def loadt_f32(
    T: Array, memory: Array, td: int, rows: int, cols: int, address: int, stride: int
) -> None:
    """Columns of f32; leaves the transposed copy, which is how they lie in memory."""
    load_f32(T, memory, td + TRANSPOSED, cols, rows, address, stride, F32_STRIDE)
    transpose_16x16(T, td + TRANSPOSED, F32_STRIDE, T, td, F32_STRIDE)


@inline
def loadt_bf16(
    T: Array, memory: Array, td: int, rows: int, cols: int, address: int, stride: int
) -> None:
    """As `loadt_f32`, from bf16 memory."""
    load_bf16_as_f32(T, memory, td + TRANSPOSED, cols, rows, address, stride, F32_STRIDE)
    transpose_16x16(T, td + TRANSPOSED, F32_STRIDE, T, td, F32_STRIDE)


@inline
def loadt_raw(
    T: Array, memory: Array, td: int, rows: int, cols: int, address: int, stride: int
) -> None:
    """As `loadt_bf16`, up to 32 columns of a matmul operand (loadt.raw.bf16)."""
    load_bf16_as_f32(T, memory, td + TRANSPOSED, cols, rows, address, stride, F32_STRIDE)
    for column in range(0, cols, 16):
        source = td + TRANSPOSED + column * F32_STRIDE
        transpose_16x16(T, source, F32_STRIDE, T, td + column, RAW_STRIDE)


@inline
def gather_f32(
    T: Array,
    memory: Array,
    control: Array,
    td: int,
    rows: int,
    cols: int,
    address: int,
    stride: int,
    indices: int,
) -> None:
    """Rows of f32 chosen by the int64 indices from `control[indices]` on."""
    for row in range(rows):
        source = address + control[indices + row] * stride
        store(T, td + row * F32_STRIDE, row_f32(memory, source, cols))


@inline
def gather_bf16(
    T: Array,
    memory: Array,
    control: Array,
    td: int,
    rows: int,
    cols: int,
    address: int,
    stride: int,
    indices: int,
) -> None:
    """As `gather_f32`, from bf16 memory."""
    for row in range(rows):
        source = address + control[indices + row] * stride
        store(T, td + row * F32_STRIDE, row_bf16(memory, source, cols))


@inline
def fill(T: Array, td: int, rows: int, value: Lanes) -> None:
    """The same row everywhere: fill.f32 and the broadcasting loads."""
    for row in range(rows):
        store(T, td + row * F32_STRIDE, value)


# --- stores -------------------------------------------------------------------------------------


@inline
def store_f32(
    T: Array, memory: Array, ts: int, rows: int, cols: int, address: int, stride: int
) -> None:
    """Rows of f32 to memory; nothing beyond the tile's columns is touched."""
    if cols == 16:
        for row in range(rows):
            store(memory, address + row * stride, load(T, ts + row * F32_STRIDE))
    else:
        for row in range(rows):
            store_first(memory, address + row * stride, load(T, ts + row * F32_STRIDE), cols)


@inline
def store_as_bf16(
    T: Array, memory: Array, ts: int, rows: int, cols: int, address: int, stride: int
) -> None:
    """Rows rounded to bf16 to memory."""
    if cols == 16:
        for row in range(rows):
            store_bf16(memory, address + row * stride, load(T, ts + row * F32_STRIDE))
    else:
        for row in range(rows):
            store_first_bf16(memory, address + row * stride, load(T, ts + row * F32_STRIDE), cols)


# --- from tile to tile --------------------------------------------------------------------------


@inline
def pack(T: Array, td: int, ta: int, rows: int) -> None:
    """A raw operand from an f32 tile."""
    # From the last row up: in place, row i of the result lies on rows 2i and 2i+1 of the source.
    for row in range(rows - 1, -1, -1):
        store(T, td + row * RAW_STRIDE, round_bf16(load(T, ta + row * F32_STRIDE)))


@inline
def append(T: Array, td: int, ta: int, rows: int, cols: int, own: int) -> None:
    """`cols` columns of an f32 tile after the `own` columns of a raw operand."""
    for row in range(rows):
        value = round_bf16(load(T, ta + row * F32_STRIDE))
        if own <= 16:
            store(T, td + row * RAW_STRIDE + own, value)
        else:
            store_first(T, td + row * RAW_STRIDE + own, value, cols)


@inline
def move(T: Array, td: int, ta: int, rows: int) -> None:
    """A copy."""
    for row in range(rows):
        store(T, td + row * F32_STRIDE, load(T, ta + row * F32_STRIDE))


@inline
def swap(T: Array, td: int, ta: int, rows: int) -> None:
    """Columns 2i and 2i+1 exchanged."""
    for row in range(rows):
        store(T, td + row * F32_STRIDE, swap_pairs(load(T, ta + row * F32_STRIDE)))


@inline
def convert_bf16(T: Array, td: int, ta: int, rows: int) -> None:
    """Every element rounded to bf16."""
    for row in range(rows):
        store(T, td + row * F32_STRIDE, round_bf16(load(T, ta + row * F32_STRIDE)))


@inline
def mask(T: Array, td: int, ta: int, rows: int, offset: int, other: Lanes) -> None:
    """`other` where column > row + `offset`."""
    for row in range(rows):
        value = keep_first(load(T, ta + row * F32_STRIDE), row + offset + 1, other)
        store(T, td + row * F32_STRIDE, value)
