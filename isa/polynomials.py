"""Coefficients and constants of exp, log, tanh and erf in f32, used by every implementation.

The functions are our own so that values are the same everywhere, bit for bit. Every operation is
one IEEE f32 operation rounded to nearest, without fused multiply-add. `isa.functions` is the NumPy
implementation; a compiled one performs the same operations in the same order:

`horner(c, x)`   p = c[0]; then for each following coefficient p = p*x + c[i]. Highest power first.

`exp(x)`         x > EXP_HIGH: +inf. x < EXP_LOW: 0 (results below the smallest normal number are
                 flushed to zero). Otherwise
                 n = floor(x*LOG2_E + 0.5); r = (x - n*LN2_HIGH) - n*LN2_LOW;
                 y = ((horner(EXP, r)*r)*r + r) + 1; result (y * 2^h) * 2^(n-h), h = n >> 1.
                 Two factors, because 2^n does not exist in f32 for n = 128.

`log(x)`         x = 0: -inf. x < 0: NaN. x = +inf: +inf. Otherwise
                 x < MIN_NORMAL: x = x * 2^23 and e starts at -23, else e = 0.
                 Write x = m * 2^k with sqrt(1/2) <= m < sqrt(2), from the bits: i = bits(x) -
                 bits(SQRT_HALF); k = i >> 23; m = float(bits(SQRT_HALF) + (i & 0x7fffff));
                 e = e + k; f = m - 1; z = f*f; y = (f*z)*horner(LOG, f); y = y + e*LN2_LOW;
                 y = y - 0.5*z; y = f + y; result y + e*LN2_HIGH.

`tanh(x)`        a = |x|, result with the sign of x. a < TANH_SMALL: z = a*a;
                 a + (a*z)*horner(TANH, z). Otherwise 1 - 2/(exp(a + a) + 1).

`erf(x)`         a = |x|, result with the sign of x. a < ERF_SMALL: z = a*a;
                 a + a*horner(ERF_NEAR, z). Otherwise 1 - exp(horner(ERF_FAR, min(a, ERF_LIMIT))).

`sigmoid(x)`     1 / (1 + exp(-x))
`silu(x)`        x / (1 + exp(-x))
`gelu.tanh(x)`   (0.5*x) * (1 + tanh(SQRT_2_OVER_PI * (x + GELU_CUBIC*((x*x)*x))))
`gelu.erf(x)`    (0.5*x) * (1 + erf(x*SQRT_HALF))
`rsqrt(x)`       1 / sqrt(x), both correctly rounded

The polynomials are near-minimax: least squares with Lawson's reweighting (C. L. Lawson, 1961;
J. R. Rice, The Approximation of Functions, vol. 2, 1969) on Chebyshev points in f64, then rounded
to f32. The split of ln 2 follows W. J. Cody and W. Waite, Software Manual for the Elementary
Functions, 1980: LN2_HIGH has so few bits that n*LN2_HIGH is exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = np.float32


def _table(*coefficients: float) -> NDArray[np.float32]:
    table = np.array(coefficients, dtype=np.float32)
    table.setflags(write=False)
    return table


LOG2_E = F32(1.4426950408889634)
LN2_HIGH = F32(0.693359375)
LN2_LOW = F32(-2.1219444005469057e-4)
EXP_HIGH = F32(88.72283)  # above: more than the largest f32
EXP_LOW = F32(-87.33654)  # below: less than 2^-126, the smallest normal f32
# (e^r - 1 - r) / r^2 on |r| <= ln(2)/2; approximation error 3.4e-9 of e^r.
EXP = _table(1.39517174e-3, 8.36959854e-3, 4.16661873e-2, 1.66665122e-1, 5.0e-1)

MIN_NORMAL = F32(2.0**-126)
SQRT_HALF = F32(0.7071067811865476)
# (log(1+f) - f + f^2/2) / f^3 on sqrt(1/2) <= 1+f <= sqrt(2); error 5.8e-9 of log(1+f).
LOG = _table(
    -7.63442963e-2,
    1.27615496e-1,
    -1.31601945e-1,
    1.42017618e-1,
    -1.66233569e-1,
    2.00012267e-1,
    -2.50008225e-1,
    3.33333313e-1,
)

TANH_SMALL = F32(0.625)
# (tanh(a) - a) / a^3 as a function of z = a^2; error 4.1e-9 of tanh(a).
TANH = _table(-5.71703678e-3, 2.06505787e-2, -5.37434965e-2, 1.33314908e-1, -3.33332837e-1)

ERF_SMALL = F32(0.921875)
ERF_LIMIT = F32(4.0)  # erf(4) rounds to 1
# erf(a)/a - 1 as a function of z = a^2; error 1.6e-8.
ERF_NEAR = _table(
    -6.01339329e-4,
    4.9980008e-3,
    -2.67702322e-2,
    1.12819269e-1,
    -3.76125067e-1,
    1.28379151e-1,
)
# log(1 - erf(a)) on ERF_SMALL <= a <= ERF_LIMIT; error of 1 - exp(...) 2.4e-8.
ERF_FAR = _table(
    -1.22906489e-3,
    1.54043995e-2,
    -9.05810371e-2,
    -6.51533544e-1,
    -1.11963153,
    -2.03468604e-3,
)

SQRT_2_OVER_PI = F32(0.7978845608028654)
GELU_CUBIC = F32(0.044715)
