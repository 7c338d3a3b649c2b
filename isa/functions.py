"""f32 arithmetic of the tile instructions on NumPy arrays, bit for bit as the machine does it.

Arrays are float32 and functions return new arrays. The order of operations of exp, log, tanh and
erf is written out in `isa.polynomials`. There are no promises about the bits of a NaN.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa import polynomials as p
from isa.polynomials import F32

Floats: TypeAlias = NDArray[np.float32]

ONE = F32(1.0)
HALF = F32(0.5)


def maximum(a: Floats, b: Floats) -> Floats:
    """Return a where a > b, else b (so for +0 and -0, b)."""
    return np.where(a > b, a, b)


def greater(a: Floats, b: Floats) -> Floats:
    """Return 1.0 where a > b, else 0.0."""
    return (a > b).astype(np.float32)


def relu(a: Floats) -> Floats:
    """Return a where a > 0, else +0."""
    return np.where(a > 0, a, F32(0.0))


def mask(a: Floats, diagonal: int) -> Floats:
    """Return a with -inf where column > row + diagonal."""
    rows, cols = a.shape
    beyond = np.arange(cols)[None, :] - np.arange(rows)[:, None] > diagonal
    return np.where(beyond, F32(-np.inf), a)


def recip(a: Floats) -> Floats:
    """Return 1 / a."""
    return ONE / a


def recip_safe(a: Floats) -> Floats:
    """Return 1 / a, and 0 where a = 0."""
    return np.where(a == 0, F32(0.0), ONE / a)


def horner(coefficients: Floats, x: Floats) -> Floats:
    """Evaluate a polynomial, highest power first; every product and every sum is rounded."""
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def power_of_two(n: NDArray[np.int32]) -> Floats:
    """Return 2^n for -126 <= n <= 127 by writing the exponent bits."""
    return ((n + 127) << 23).astype(np.int32).view(np.float32)


def exp(x: Floats) -> Floats:
    """Return e^x; 0 where the result would be below 2^-126, inf where it overflows."""
    inside = np.clip(x, p.EXP_LOW, p.EXP_HIGH)
    n = np.floor(inside * p.LOG2_E + HALF)
    r = (inside - n * p.LN2_HIGH) - n * p.LN2_LOW
    y = ((horner(p.EXP, r) * r) * r + r) + ONE
    whole = n.astype(np.int32)
    half = whole >> 1
    y = (y * power_of_two(half)) * power_of_two(whole - half)
    return np.where(x > p.EXP_HIGH, F32(np.inf), np.where(x < p.EXP_LOW, F32(0.0), y))


def log(x: Floats) -> Floats:
    """Return the natural logarithm: -inf at 0, NaN below."""
    tiny = x < p.MIN_NORMAL
    scaled = np.where(tiny, x * F32(2.0**23), x)
    base = int(p.SQRT_HALF.view(np.int32))
    bits = scaled.view(np.int32) - base
    mantissa = ((bits & 0x7FFFFF) + base).astype(np.int32).view(np.float32)
    e = np.where(tiny, F32(-23.0), F32(0.0)) + (bits >> 23).astype(np.float32)
    f = mantissa - ONE
    z = f * f
    y = (f * z) * horner(p.LOG, f)
    y = y + e * p.LN2_LOW
    y = y - HALF * z
    y = f + y
    y = y + e * p.LN2_HIGH
    y = np.where(x == np.inf, x, y)
    return np.where(x > 0, y, np.where(x == 0, F32(-np.inf), F32(np.nan)))


def tanh(x: Floats) -> Floats:
    """Return the hyperbolic tangent."""
    a = np.abs(x)
    z = a * a
    near = a + (a * z) * horner(p.TANH, z)
    far = ONE - F32(2.0) / (exp(a + a) + ONE)
    return np.copysign(np.where(a < p.TANH_SMALL, near, far), x)


def erf(x: Floats) -> Floats:
    """Return the error function."""
    a = np.abs(x)
    near = a + a * horner(p.ERF_NEAR, a * a)
    far = ONE - exp(horner(p.ERF_FAR, np.minimum(a, p.ERF_LIMIT)))
    return np.copysign(np.where(a < p.ERF_SMALL, near, far), x)


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + exp(-x))."""
    return ONE / (ONE + exp(-x))


def silu(x: Floats) -> Floats:
    """Return x / (1 + exp(-x))."""
    return x / (ONE + exp(-x))


def gelu_tanh(x: Floats) -> Floats:
    """Return GELU in its tanh approximation, as GPT-2 uses it."""
    inner = p.SQRT_2_OVER_PI * (x + p.GELU_CUBIC * ((x * x) * x))
    return (HALF * x) * (ONE + tanh(inner))


def gelu_erf(x: Floats) -> Floats:
    """Return GELU by the error function."""
    return (HALF * x) * (ONE + erf(x * p.SQRT_HALF))


def rsqrt(x: Floats) -> Floats:
    """Return 1 / sqrt(x), the root and the quotient each rounded."""
    return np.divide(ONE, np.sqrt(x), dtype=np.float32)


def bf16_bits(x: Floats) -> NDArray[np.uint16]:
    """Return x rounded to bf16, to nearest with ties to even; a NaN stays a (quiet) NaN."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(x), (bits >> 16) | 0x40, rounded).astype(np.uint16)


def from_bf16(bits: NDArray[np.uint16]) -> Floats:
    """Return the f32 value of bf16 bits, which is exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def round_bf16(x: Floats) -> Floats:
    """Return x rounded to bf16, as f32."""
    return from_bf16(bf16_bits(x))


def matmul(c: Floats, a: Floats, b: Floats) -> Floats:
    """Return c[m,n] + sum over k of a[m,k]*b[n,k], k upward, each product and sum rounded."""
    products = a.T[:, :, None] * b.T[:, None, :]
    total = c.copy()
    for product in products:
        total += product
    return total


def rowsum(a: Floats) -> Floats:
    """Return the sum of each row [rows, 1], added from column 0 upward."""
    return np.add.accumulate(a, axis=1)[:, -1:].copy()


def colsum(a: Floats) -> Floats:
    """Return the sum of each column [1, cols], added from row 0 upward."""
    return np.add.accumulate(a, axis=0)[-1:, :].copy()


def rowargmax(a: Floats) -> Floats:
    """Column of the largest element of each row [rows, 1], compared from column 0 upward."""
    largest, column = a[:, 0], np.zeros(len(a), dtype=np.intp)
    for j in range(1, a.shape[1]):
        greater = a[:, j] > largest
        largest, column = np.where(greater, a[:, j], largest), np.where(greater, j, column)
    return column[:, None].astype(np.float32)


def rowmax(a: Floats) -> Floats:
    """Largest element of each row [rows, 1], the first of equals."""
    return np.take_along_axis(a, rowargmax(a).astype(np.intp), axis=1)


def softmax_step(s: Floats, state: Floats) -> tuple[Floats, Floats]:
    """One step of online softmax over a block of scores s [rows, cols].

    `state` [rows, >= 3] holds the running maximum m, sum l and rescale a in columns 0, 1, 2 and
    starts at (-inf, 0, 1). Returns p = exp(s - m') and the new state. A row of which nothing has
    been seen yet but -inf keeps l and gets p = 0 and a = 1. Source: M. Milakov, N. Gimelshein,
    Online normalizer calculation for softmax, arXiv:1805.02867, 2018.
    """
    m, total = state[:, 0:1], state[:, 1:2]
    new_m = maximum(m, rowmax(s))
    empty = new_m == -np.inf
    shift = np.where(empty, F32(0.0), new_m)  # exp(-inf - 0) is the p = 0 an empty row must get
    a = np.where(empty, ONE, exp(m - shift))
    weights = exp(s - shift)
    new_state = state.copy()
    new_state[:, 0:1] = new_m
    new_state[:, 1:2] = np.where(empty, total, a * total + rowsum(weights))
    new_state[:, 2:3] = a
    return weights, new_state
