"""Arithmetic with bounds of any magnitude: rounded upwards, zero only for zero, infinite where nothing is known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.arrays import EPSILON

if TYPE_CHECKING:
    from collections.abc import Iterable

    from convmatrix.arrays import Array


def up(value: float) -> float:
    """Return a number above the exact result of a few operations that were computed as ``value``; 0 stays 0."""
    if value == 0:
        return 0.0
    return math.nextafter(value * (1 + 8 * EPSILON), math.inf) if value == value else math.inf


def times(first: float, second: float) -> float:
    """Return an upper bound on a product of numbers that are not negative; zero only if one of them is zero.

    Examples
    --------
    >>> times(0.0, math.inf), times(1e-200, 1e-200), times(1e200, 1e200)
    (0.0, 1e-323, inf)
    """
    if first == 0 or second == 0:
        return 0.0
    return up(max(first * second, math.ulp(0.0)))


def added(values: Iterable[float]) -> float:
    """Return an upper bound on a sum of numbers that are not negative."""
    try:
        return up(math.fsum(values))
    except OverflowError:
        return math.inf


def root_of_squares(values: Iterable[float]) -> float:
    """Return an upper bound on the root of a sum of squares, none of which over- or underflows."""
    return up(math.hypot(*values))


def scaled(values: Any) -> tuple[Any, int]:
    """Return an array, or a sparse matrix, divided by a power of two, and the exponent.

    The largest modulus is then between 1/2 and 1. Entries that underflow are negligible. Arrays of zeros, and
    those with infinite or NaN entries, are returned as they are.

    Examples
    --------
    >>> scaled(np.array([3e-200, -1e-200]))
    (array([ 0.57408789, -0.19136263]), -662)
    """
    entries: Array = values.data if hasattr(values, "tocsr") else values
    largest = float(np.abs(entries).max(initial=0.0))
    if largest == 0 or not math.isfinite(largest):
        return values, 0
    exponent = math.frexp(largest)[1]
    return shifted(values, -exponent), exponent


def shifted(values: Any, exponent: int) -> Any:
    """Return an array, or a sparse matrix, times a power of two."""
    if exponent == 0:
        return values
    if not hasattr(values, "tocsr"):
        return np.ldexp(values, exponent)
    made = values.copy()
    made.data = np.ldexp(values.data.astype(np.float64), exponent)
    return made


def unscaled(value: float, exponent: int) -> float:
    """Return an upper bound on a number that is not negative times a power of two."""
    if exponent == 0 or value == 0 or not math.isfinite(value):
        return value
    try:
        result = math.ldexp(value, exponent)
    except OverflowError:
        return math.inf
    exact = result >= 2.0**-1021  # a power of two is rounded only where digits are lost
    return result if exact else math.nextafter(result, math.inf)
