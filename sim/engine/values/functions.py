"""exp, log, erf, tanh and what is built of them, lane by lane.

The operations and their order are written out in `isa.polynomials`, whose constants are used here;
`isa.functions` is the same in NumPy, and the results are equal bit for bit.
"""

from typing import Any

import numpy as np

from isa import polynomials
from sim.engine.jit import inline
from sim.engine.lanes import (
    Lanes,
    absolute,
    copy_sign,
    exponent_above,
    fraction_above,
    round_down,
    scale_by_power_of_two,
    select,
    splat,
    square_root,
)

_ZERO, _HALF, _ONE, _TWO = (np.float32(value) for value in (0.0, 0.5, 1.0, 2.0))
_INFINITY, _MINUS_INFINITY = np.float32(np.inf), np.float32(-np.inf)
_NAN = np.float32(np.nan)
_SUBNORMAL_EXPONENT = np.float32(-23.0)
_SUBNORMAL_SCALE = np.float32(2.0**23)

# Plain constants, which compiled code can use.
LOG2_E, LN2_HIGH, LN2_LOW = polynomials.LOG2_E, polynomials.LN2_HIGH, polynomials.LN2_LOW
EXP_HIGH, EXP_LOW = polynomials.EXP_HIGH, polynomials.EXP_LOW
MIN_NORMAL, SQRT_HALF = polynomials.MIN_NORMAL, polynomials.SQRT_HALF
TANH_SMALL, ERF_SMALL, ERF_LIMIT = (
    polynomials.TANH_SMALL,
    polynomials.ERF_SMALL,
    polynomials.ERF_LIMIT,
)
SQRT_2_OVER_PI, GELU_CUBIC = polynomials.SQRT_2_OVER_PI, polynomials.GELU_CUBIC
EXP, LOG, TANH = tuple(polynomials.EXP), tuple(polynomials.LOG), tuple(polynomials.TANH)
ERF_NEAR, ERF_FAR = tuple(polynomials.ERF_NEAR), tuple(polynomials.ERF_FAR)


@inline
def horner(coefficients: Any, x: Lanes) -> Lanes:
    """A polynomial, highest power first; every product and every sum is rounded."""
    value = splat(coefficients[0])
    for i in range(1, len(coefficients)):
        value = value * x + coefficients[i]
    return value


@inline
def exp(x: Lanes) -> Lanes:
    """e^x; 0 where the result would be below 2^-126, inf where it overflows."""
    inside = select(x < EXP_LOW, EXP_LOW, x)
    inside = select(inside > EXP_HIGH, EXP_HIGH, inside)
    n = round_down(inside * LOG2_E + _HALF)
    r = (inside - n * LN2_HIGH) - n * LN2_LOW
    y = ((horner(EXP, r) * r) * r + r) + _ONE
    y = scale_by_power_of_two(y, n)
    return select(x > EXP_HIGH, _INFINITY, select(x < EXP_LOW, _ZERO, y))


@inline
def log(x: Lanes) -> Lanes:
    """Natural logarithm; -inf at 0, NaN below."""
    tiny = x < MIN_NORMAL
    scaled = select(tiny, x * _SUBNORMAL_SCALE, x)
    base = select(tiny, splat(_SUBNORMAL_EXPONENT), splat(_ZERO))
    e = base + exponent_above(scaled, SQRT_HALF)
    f = fraction_above(scaled, SQRT_HALF) - _ONE
    z = f * f
    y = (f * z) * horner(LOG, f)
    y = y + e * LN2_LOW
    y = y - z * _HALF
    y = f + y
    y = y + e * LN2_HIGH
    y = select(x == _INFINITY, x, y)
    return select(x > _ZERO, y, select(x == _ZERO, splat(_MINUS_INFINITY), splat(_NAN)))


@inline
def tanh(x: Lanes) -> Lanes:
    """Hyperbolic tangent."""
    a = absolute(x)
    z = a * a
    cube: Lanes = a * z
    near = a + cube * horner(TANH, z)
    far = _ONE - _TWO / (exp(a + a) + _ONE)
    return copy_sign(select(a < TANH_SMALL, near, far), x)


@inline
def erf(x: Lanes) -> Lanes:
    """Error function."""
    a = absolute(x)
    near = a + a * horner(ERF_NEAR, a * a)
    far = _ONE - exp(horner(ERF_FAR, select(a > ERF_LIMIT, ERF_LIMIT, a)))
    return copy_sign(select(a < ERF_SMALL, near, far), x)


@inline
def sigmoid(x: Lanes) -> Lanes:
    """1 / (1 + exp(-x))."""
    return _ONE / (exp(-x) + _ONE)


@inline
def silu(x: Lanes) -> Lanes:
    """x / (1 + exp(-x))."""
    return x / (exp(-x) + _ONE)


@inline
def gelu_tanh(x: Lanes) -> Lanes:
    """GELU by its tanh approximation."""
    inner = (x + ((x * x) * x) * GELU_CUBIC) * SQRT_2_OVER_PI
    return (x * _HALF) * (tanh(inner) + _ONE)


@inline
def gelu_erf(x: Lanes) -> Lanes:
    """GELU by the error function."""
    return (x * _HALF) * (erf(x * SQRT_HALF) + _ONE)


@inline
def relu(x: Lanes) -> Lanes:
    """x where positive, else 0."""
    return select(x > _ZERO, x, _ZERO)


@inline
def rsqrt(x: Lanes) -> Lanes:
    """1 / sqrt(x), the root and the quotient each rounded."""
    return _ONE / square_root(x)


@inline
def recip(x: Lanes) -> Lanes:
    """1 / x."""
    return _ONE / x


@inline
def recip_safe(x: Lanes) -> Lanes:
    """1 / x, and 0 where x = 0."""
    return select(x == _ZERO, _ZERO, _ONE / x)
