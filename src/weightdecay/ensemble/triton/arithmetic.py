"""Arithmetic that Triton's kernels share.

Divisions and roots are rounded by IEEE 754, as in torch; Triton's own are approximations in float32. Subnormal weights
and states of the optimiser are flushed to zero, as on the CPU. So a weight that decays for long becomes exactly 0 on
both devices.
"""

import triton
import triton.language as tl

NORMAL32, NORMAL64 = map(tl.constexpr, (2.0**-126, 2.0**-1022))  # the smallest normal numbers


@triton.jit
def sign(x):
    return tl.where(x > 0, 1, 0) - tl.where(x < 0, 1, 0)


@triton.jit
def flushed(x):
    if x.dtype == tl.float32:
        return tl.where(tl.abs(x) < NORMAL32, 0, x)
    else:
        return tl.where(tl.abs(x) < NORMAL64, 0, x)


@triton.jit
def clamped(x, limit):
    return tl.where(x > limit, limit, tl.where(x < -limit, -limit, x))


@triton.jit
def divide(x, y):
    if x.dtype == tl.float32:
        return tl.div_rn(x, y)
    else:
        return x / y


@triton.jit
def root(x):
    if x.dtype == tl.float32:
        return tl.sqrt_rn(x)
    else:
        return tl.sqrt(x)


@triton.jit
def coefficient(coefficients, number: tl.constexpr, replicas, replica):
    """Load one coefficient of a replica from `[C, R]`."""
    return tl.load(coefficients + number * replicas + replica)


@triton.jit
def with_penalty(gradient, weight, coefficients, replicas, replica, decays):
    """Return g + l2·w + l1·sign(w) where `decays`, and g elsewhere."""
    l2, l1 = coefficient(coefficients, 0, replicas, replica), coefficient(coefficients, 2, replicas, replica)
    return gradient + (tl.where(decays, l2, 0) * weight + tl.where(decays, l1, 0) * sign(weight))


@triton.jit
def moved(weight, change, coefficients, replicas, replica, decays):
    """Return the weight after the step: decayed, changed, and moved towards 0 by the threshold."""
    kept, threshold = coefficient(coefficients, 1, replicas, replica), coefficient(coefficients, 3, replicas, replica)
    weight = weight * tl.where(decays, kept, 1) - change
    return flushed(weight - clamped(weight, tl.where(decays, threshold, 0)))
