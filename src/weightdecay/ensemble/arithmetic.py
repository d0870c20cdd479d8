"""Arithmetic that the compiled loops share, and functions that take a number in the loops and a tensor elsewhere.

A formula made of such functions is written once and serves both: see `Optimizer.move` and `Pointwise.formula`.
"""

import math
from typing import Any

import numpy as np
from numba import float32
from numba.extending import overload

from weightdecay.ensemble.compiler import compiled

OPTIONS = {"error_model": "numpy", "fastmath": {"contract"}}

# eˣ = 2ⁿ·eᶠ with n = round(x / ln 2), and eᶠ = 1 + f + f²·(a polynomial): the method and constants of Cephes' expf.
LOG2_E, LN2_HIGH, LN2_LOW = np.float32(1.44269504088896341), np.float32(0.693359375), np.float32(-2.12194440e-4)
COEFFICIENTS = tuple(
    np.float32(c) for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
)
SMALLEST, LARGEST = np.float32(-87.33), np.float32(88.37)  # x is clamped to this range
ZERO, ONE, HALF, BIAS, MANTISSA = np.float32(0), np.float32(1), np.float32(0.5), np.int32(127), np.int32(23)


def exponential(x: float) -> float:
    """Return eˣ of one number. In float32 a loop over this becomes vector code, six times as fast as the C library."""
    return math.exp(x)


@overload(exponential, jit_options=OPTIONS)
def _exponential(x):
    if x != float32:
        return lambda x: math.exp(x)

    def vectorised(x):
        x = SMALLEST if x < SMALLEST else x  # NaN fails both comparisons, and stays
        x = LARGEST if x > LARGEST else x
        n = np.floor(x * LOG2_E + HALF)
        f = (x - n * LN2_HIGH) - n * LN2_LOW
        a, b, c, d, e, g = COEFFICIENTS
        power = (((((a * f + b) * f + c) * f + d) * f + e) * f + g) * (f * f) + f + ONE
        return power * np.int32((np.int32(n) + BIAS) << MANTISSA).view(np.float32)

    return vectorised


# log x = e·ln 2 + log m with m in [√½, √2), and log m = f − f²/2 + f³·(a polynomial) in f = m − 1: Cephes' logf.
LOG_COEFFICIENTS = tuple(
    np.float32(c)
    for c in (
        *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
        *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    )
)
ROOT_HALF, LEADING, FRACTION, HALVES = np.float32(0.707106781), np.int32(126), np.int32(0x7FFFFF), np.int32(0x3F000000)


def logarithm(x: float) -> float:
    """Return log x of one normal number > 0; NaN stays. In float32 a loop over it becomes vector code."""
    return math.log(x)


@overload(logarithm, jit_options=OPTIONS)
def _logarithm(x):
    if x != float32:
        return lambda x: math.log(x)

    def vectorised(x):
        bits = np.float32(x).view(np.int32)
        m = np.int32((bits & FRACTION) | HALVES).view(np.float32)
        small = m < ROOT_HALF
        e = np.float32(np.int32(bits >> MANTISSA) - LEADING) - (ONE if small else ZERO)
        f = (m + m if small else m) - ONE
        a, b, c, d, g, h, i, j, k = LOG_COEFFICIENTS
        power = ((((((((a * f + b) * f + c) * f + d) * f + g) * f + h) * f + i) * f + j) * f + k) * f * (f * f)
        value = (power + e * LN2_LOW - HALF * (f * f)) + f + e * LN2_HIGH
        return x if x != x else value

    return vectorised


@compiled
def total_of(row):
    """Return the sum of a contiguous row."""
    total = row.dtype.type(0)
    for i in range(row.size):
        total += row[i]
    return total


def clamped(x: Any, limit: Any) -> Any:
    """Return the number in [−limit, limit] that is nearest to x; NaN stays NaN."""
    return x.clamp(-limit, limit)


@overload(clamped, jit_options=OPTIONS)
def _clamped(x, limit):
    return lambda x, limit: limit if x > limit else -limit if x < -limit else x


def root(x: Any) -> Any:
    """Return √x."""
    return x.sqrt()


@overload(root, jit_options=OPTIONS)
def _root(x):
    return lambda x: math.sqrt(x)


def sign(x: Any) -> Any:
    """Return the sign of x: −1, 0 or 1; NaN stays NaN."""
    return x.sign()


@overload(sign, jit_options=OPTIONS)
def _sign(x):
    return lambda x: np.sign(x)
