"""Sixteen f32 lanes as one value: the vocabulary in which tile arithmetic is written.

A tile row is 16 floats, so one `Lanes` value is one row of a tile, or one of its columns gathered
into a row. In compiled code it is an LLVM <16 x float>, which LLVM maps onto whatever the host has
(one AVX-512 register, two AVX or four NEON ones). With NUMBA_DISABLE_JIT=1 it is a NumPy array of
16 float32, and kernels written with it can be read, stepped through and debugged as Python.

Explicit vectors are predictable: no vectoriser has to recognise a loop, so the code is good and
compiles quickly. Operators (+ - * / and comparisons) work lane by lane and round every result to
f32: nothing is reordered and no multiply is fused with an add.

`plain.py` says what each function means, `compiled.py` tells Numba how to compile it.
"""

from sim.engine.lanes import compiled as _compiled  # noqa: F401  (registers with Numba)
from sim.engine.lanes.plain import (
    WIDTH,
    Lanes,
    absolute,
    at,
    copy_sign,
    exponent_above,
    float_of_bits,
    fraction_above,
    keep_first,
    load,
    load_bf16,
    load_column,
    load_first,
    load_first_bf16,
    put,
    round_bf16,
    round_down,
    scale_by_power_of_two,
    select,
    splat,
    spread,
    square_root,
    store,
    store_bf16,
    store_column,
    store_first,
    store_first_bf16,
    swap_pairs,
    transpose_16x16,
)

__all__ = [
    "WIDTH",
    "Lanes",
    "absolute",
    "at",
    "copy_sign",
    "exponent_above",
    "float_of_bits",
    "fraction_above",
    "keep_first",
    "load",
    "load_bf16",
    "load_column",
    "load_first",
    "load_first_bf16",
    "put",
    "round_bf16",
    "round_down",
    "scale_by_power_of_two",
    "select",
    "splat",
    "spread",
    "square_root",
    "store",
    "store_bf16",
    "store_column",
    "store_first",
    "store_first_bf16",
    "swap_pairs",
    "transpose_16x16",
]
