"""Plain loops, compiled by numba when they are first called, and e^x for them.

A loop goes over runs, features and samples, in this order, as they lie in memory. The inner one is
what becomes vector instructions; its length depends on no other run, and so neither do a run's bits.

In a loop a whole number or a Python float makes float64 of a float32, which takes twice as long. Hence
``one = x.dtype.type(1)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from optimlab.compiled_code import Compiled

# Sums may be taken in another order, and a − b c rounded once. That there is no NaN and no infinity
# must not be assumed: runs diverge.
OF_LOOPS = frozenset({"reassoc", "contract", "nsz", "arcp"})
AS_WRITTEN = frozenset({"contract"})
AS_IN_NUMPY: frozenset[str] = frozenset()


def compiled(function: Callable[..., Any]) -> Compiled:
    """Return a loop to be compiled."""
    return Compiled(function, OF_LOOPS)


def as_written(function: Callable[..., Any]) -> Compiled:
    """Return a function to be compiled whose sums are taken in the order in which they are written."""
    return Compiled(function, AS_WRITTEN)


def rounded(function: Callable[..., Any]) -> Compiled:
    """Return a function to be compiled that rounds the result of each operation, as numpy does."""
    return Compiled(function, AS_IN_NUMPY)


@compiled
def dots(x: Any, y: Any, sums: Any) -> None:
    """Σ x y of each row, in float64."""
    for run in range(x.shape[0]):
        total = 0.0
        for i in range(x.shape[1]):
            total += np.float64(x[run, i]) * np.float64(y[run, i])
        sums[run] = total


@as_written
def exp(x: Any) -> Any:
    """Return e^x for x ≤ 0, within 1 unit in the last place; 0 where that is too small for x's type."""
    power, again, r, rest = _parts(x)
    one = type(x)(1)
    near = one + r
    return (near + (r - (near - one) + rest)) * power * again


@as_written
def expm1(x: Any) -> Any:
    """Return e^x − 1 for x ≤ 0, without the loss of digits that a subtraction near zero would bring."""
    power, again, r, rest = _parts(x)
    power *= again
    return power * (r + rest) + (power - type(x)(1))


@as_written
def _parts(x: Any) -> Any:
    """Return x = k log 2 + r, with whole k and |r| ≤ log(2) / 2, as what e^x = 2^k e^r is made of.

    These are two factors of 2^k, which may be too small for one; r; and e^r − 1 − r, by its series
    r²/2! + r³/3! + …, with what the rounding of r has lost.
    """
    if isinstance(x, np.float32):
        return _in_single(x)
    return _in_double(x)


@as_written
def _in_single(x: Any) -> Any:
    x = np.float32(-104) if x < np.float32(-104) else x  # and a NaN stays one
    large = np.float32(1.5 * 2**23)  # what is added to it is rounded to a whole number, its last bits
    shifted = x * np.float32(1 / np.log(2)) + large
    k = shifted - large
    high = x - k * np.float32(0.693359375)  # log 2 to few digits, whose product with k is exact,
    low = k * np.float32(2.12194440e-4)  # and what that lacks
    r = high + low
    series = np.float32(1 / 40320)
    for factorial in (5040, 720, 120, 24, 6, 2):
        series = series * r + np.float32(1 / factorial)
    whole = np.float32(shifted).view(np.int32) - np.float32(large).view(np.int32)
    power = np.int32((whole + (64 + 127)) << 23).view(np.float32)  # 2^(k + 64), by its exponent's bits
    return power, np.float32(2.0**-64), r, series * (r * r) + (low - (r - high))


@as_written
def _in_double(x: Any) -> Any:
    x = -746.0 if x < -746.0 else x
    large = np.float64(1.5 * 2**52)
    shifted = x * (1 / np.log(2)) + large
    k = shifted - large
    high = x - k * 6.93147180369123816490e-01
    low = k * -1.90821492927058770002e-10
    r = high + low
    series = 1 / 87178291200
    for factorial in (6227020800, 479001600, 39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2):
        series = series * r + 1 / factorial
    whole = np.float64(shifted).view(np.int64) - np.float64(large).view(np.int64)
    power = np.int64((whole + (512 + 1023)) << 52).view(np.float64)
    return power, 2.0**-512, r, series * (r * r) + (low - (r - high))
