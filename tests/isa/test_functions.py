"""f32 functions: accuracy against f64, and the stated order of operations bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from isa import functions as fn
from isa import polynomials as poly
from isa.functions import Floats

INF = np.float32(np.inf)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def every(step: int, low: float, high: float) -> Floats:
    """Every `step`-th f32 in low..high, of both signs where the range has them."""
    positive = np.arange(0, 0x7F800000, step, dtype=np.uint32).view(np.float32)
    values = np.concatenate([positive, -positive])
    return values[(values >= low) & (values <= high)]


def ulps(got: Floats, want: NDArray[np.float64]) -> float:
    """Largest distance from the true value, in units of the last place of the true value."""
    spacing = np.spacing(np.abs(want.astype(np.float32))).astype(np.float64)
    return float(np.max(np.abs(got.astype(np.float64) - want) / spacing))


erf64 = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid64(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def test_exp_is_within_one_ulp() -> None:
    x = every(997, -87.3365, 88.7228)
    assert ulps(fn.exp(x), np.exp(x.astype(np.float64))) <= 1.0


def test_log_is_within_one_ulp_also_for_subnormals() -> None:
    x = every(997, 2.0**-149, 3.4e38)
    assert ulps(fn.log(x), np.log(x.astype(np.float64))) <= 1.0


def test_tanh_is_within_two_ulps() -> None:
    x = every(997, -20, 20)
    assert ulps(fn.tanh(x), np.tanh(x.astype(np.float64))) <= 2.0


def test_erf_is_within_two_ulps_and_2e_7() -> None:
    x = np.concatenate([every(9973, -6, 6), np.linspace(-5, 5, 200_001, dtype=np.float32)])
    want = erf64(x.astype(np.float64))
    assert ulps(fn.erf(x), want) <= 2.0
    assert np.max(np.abs(fn.erf(x) - want)) <= 2e-7


def test_sigmoid_and_silu_are_within_three_ulps() -> None:
    x = np.linspace(-80, 80, 200_001, dtype=np.float32)
    wide = x.astype(np.float64)
    assert ulps(fn.sigmoid(x), sigmoid64(wide)) <= 3.0
    assert ulps(fn.silu(x), wide * sigmoid64(wide)) <= 3.0


def test_gelu_is_within_1e_6() -> None:
    x = np.linspace(-12, 12, 200_001, dtype=np.float32)
    wide = x.astype(np.float64)
    by_erf = 0.5 * wide * (1 + erf64(wide / math.sqrt(2)))
    by_tanh = 0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
    assert np.max(np.abs(fn.gelu_erf(x) - by_erf)) <= 1e-6
    assert np.max(np.abs(fn.gelu_tanh(x) - by_tanh)) <= 1e-6


@pytest.mark.parametrize(
    ("function", "x", "want"),
    [
        (fn.exp, -np.inf, 0.0),
        (fn.exp, np.inf, np.inf),
        (fn.exp, 0.0, 1.0),
        (fn.exp, -0.0, 1.0),
        (fn.exp, -87.34, 0.0),  # e^-87.34 = 1.17e-38 < 2^-126 is flushed to zero
        (fn.exp, -200.0, 0.0),
        (fn.exp, 88.73, np.inf),
        (fn.log, 0.0, -np.inf),
        (fn.log, 1.0, 0.0),
        (fn.log, np.inf, np.inf),
        (fn.tanh, np.inf, 1.0),
        (fn.tanh, -np.inf, -1.0),
        (fn.erf, 4.0, 1.0),
        (fn.erf, -np.inf, -1.0),
        (fn.sigmoid, -np.inf, 0.0),
        (fn.sigmoid, np.inf, 1.0),
        (fn.sigmoid, 0.0, 0.5),
        (fn.silu, 0.0, 0.0),
        (fn.gelu_erf, 100.0, 100.0),
        (fn.gelu_tanh, -100.0, 0.0),
        (fn.relu, -3.0, 0.0),
        (fn.recip_safe, 0.0, 0.0),
        (fn.recip_safe, -0.0, 0.0),
        (fn.recip_safe, 4.0, 0.25),
        (fn.recip, 0.0, np.inf),
        (fn.rsqrt, 4.0, 0.5),
    ],
)
def test_special_values(function: Callable[[Floats], Floats], x: float, want: float) -> None:
    assert function(np.array([[x]], np.float32)).tolist() == [[want]]


def test_log_of_a_negative_number_is_no_number() -> None:
    assert np.isnan(fn.log(np.array([-1.0, -np.inf], np.float32))).all()


@pytest.mark.parametrize("function", [fn.tanh, fn.erf])
def test_odd_functions_keep_the_sign_of_zero(function: Callable[[Floats], Floats]) -> None:
    signs = np.signbit(function(np.array([0.0, -0.0], np.float32)))
    assert signs.tolist() == [False, True]


# The docstring of isa.polynomials, written again for one number at a time


def horner_one(coefficients: Floats, x: np.float32) -> np.float32:
    p = coefficients[0]
    for c in coefficients[1:]:
        p = p * x
        p = p + c
    return p


def exp_one(x: np.float32) -> np.float32:
    if x > poly.EXP_HIGH:
        return INF
    if x < poly.EXP_LOW:
        return np.float32(0)
    n = np.floor(x * poly.LOG2_E + np.float32(0.5))
    r = (x - n * poly.LN2_HIGH) - n * poly.LN2_LOW
    y = ((horner_one(poly.EXP, r) * r) * r + r) + np.float32(1)
    half = int(n) >> 1
    return (y * np.float32(2.0**half)) * np.float32(2.0 ** (int(n) - half))


def log_one(x: np.float32) -> np.float32:
    e = np.float32(0)
    if x < poly.MIN_NORMAL:
        x, e = x * np.float32(2**23), np.float32(-23)
    mantissa, exponent = math.frexp(float(x))  # 0.5 <= mantissa < 1
    if mantissa < float(poly.SQRT_HALF):
        mantissa, exponent = 2 * mantissa, exponent - 1
    e = e + np.float32(exponent)
    f = np.float32(mantissa) - np.float32(1)
    z = f * f
    y = (f * z) * horner_one(poly.LOG, f)
    y = y + e * poly.LN2_LOW
    y = y - np.float32(0.5) * z
    y = f + y
    return y + e * poly.LN2_HIGH


def tanh_one(x: np.float32) -> np.float32:
    a = np.abs(x)
    if a < poly.TANH_SMALL:
        z = a * a
        y = a + (a * z) * horner_one(poly.TANH, z)
    else:
        y = np.float32(1) - np.float32(2) / (exp_one(a + a) + np.float32(1))
    return np.copysign(y, x)


def erf_one(x: np.float32) -> np.float32:
    a = np.abs(x)
    if a < poly.ERF_SMALL:
        y = a + a * horner_one(poly.ERF_NEAR, a * a)
    else:
        y = np.float32(1) - exp_one(horner_one(poly.ERF_FAR, min(a, poly.ERF_LIMIT)))
    return np.copysign(y, x)


@pytest.mark.parametrize(
    ("function", "one", "low", "high"),
    [
        (fn.exp, exp_one, -100, 100),
        (fn.log, log_one, 2.0**-149, 3e38),
        (fn.tanh, tanh_one, -20, 20),
        (fn.erf, erf_one, -20, 20),
    ],
)
def test_operations_happen_in_the_stated_order(
    function: Callable[[Floats], Floats],
    one: Callable[[np.float32], np.float32],
    low: float,
    high: float,
) -> None:
    x = every(99_991, low, high)
    want = np.array([one(value) for value in x], np.float32)
    np.testing.assert_array_equal(function(x).view(np.uint32), want.view(np.uint32))


# bf16


def nearest_even(bits: int) -> int:
    """Round f32 bits to bf16 bits by comparing what is cut off with one half."""
    upper, lower = divmod(bits, 0x10000)
    exponent, fraction = bits >> 23 & 0xFF, bits & 0x7FFFFF
    if exponent == 0xFF and fraction:
        return upper | 0x40
    if lower > 0x8000 or (lower == 0x8000 and upper % 2 == 1):
        return upper + 1
    return upper


def test_bf16_rounding_of_every_upper_half() -> None:
    """All 65,536 upper halves with the lower halves around a tie, NaN and infinity included."""
    upper = np.arange(0x10000, dtype=np.uint32)
    for lower in (0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        bits = upper << 16 | np.uint32(lower)
        want = [nearest_even(int(b)) for b in bits]
        assert fn.bf16_bits(bits.view(np.float32)).tolist() == want


def test_bf16_values_are_their_own_rounding() -> None:
    bits = np.arange(0x10000, dtype=np.uint16)
    bits = bits[~np.isnan(fn.from_bf16(bits))]
    np.testing.assert_array_equal(fn.bf16_bits(fn.from_bf16(bits)), bits)


def test_bf16_rounding_chooses_the_nearest_value() -> None:
    rng = np.random.default_rng(3)
    x = (rng.standard_normal(5000) * 10.0 ** rng.integers(-30, 30, 5000)).astype(np.float32)
    rounded = fn.round_bf16(x)
    down = (x.view(np.uint32) & 0xFFFF0000).view(np.float32)
    up = ((x.view(np.uint32) & 0xFFFF0000) + 0x10000).view(np.float32)
    distance = np.abs(x.astype(np.float64) - rounded)
    assert (distance <= np.abs(x.astype(np.float64) - down)).all()
    assert (distance <= np.abs(x.astype(np.float64) - up)).all()
