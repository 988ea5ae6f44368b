"""Products of sparse matrices with columns of integers and fractions, without rounding."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from convmatrix.arrays import Array

_OBJECTS: Final = 2**20  # terms that are computed as objects at a time
_LONGEST: Final = 4096  # bits of a common denominator; fractions of floats have at most 1074


def exact_array(values: Array) -> Array:
    """Return floats as integers where they are, and as fractions elsewhere.

    Examples
    --------
    >>> exact_array(np.array([2.0, 0.5]))
    array([2, Fraction(1, 2)], dtype=object)
    """
    exact = [int(value) if value.is_integer() else Fraction(value) for value in values.ravel().tolist()]
    return _objects(exact, values.shape)


def exact_product(matrix: Any, values: Array) -> Array:
    """Return a sparse matrix of floats times columns of objects, exactly; in parts, to bound memory use."""
    product = np.zeros((matrix.shape[0], values.shape[1]), object)
    filled = np.flatnonzero(np.diff(matrix.indptr))
    for part in np.array_split(filled, 1 + matrix.nnz * values.shape[1] // _OBJECTS):
        if len(part):
            first, last = matrix.indptr[part[0]], matrix.indptr[part[-1] + 1]
            used, places = np.unique(matrix.indices[first:last], return_inverse=True)
            weights, factors = matrix.data[first:last], values[used]
            denominators = _denominator(weights), _denominator(factors)
            if all(denominators):  # in integers, which is far quicker
                weights, factors = (_scaled(v, n) for v, n in zip((weights, factors), denominators, strict=True))
            else:
                weights, denominators = exact_array(weights), (1, 1)
            sums = np.add.reduceat(weights[:, None] * factors[places], matrix.indptr[part] - first, axis=0)
            divisor = math.prod(denominators)
            if divisor > 1:
                sums = _objects([Fraction(value, divisor) for value in sums.flat], sums.shape)
            product[part] = sums
    return product


def _denominator(values: Array) -> int:
    """Return a common denominator of floats, integers and fractions; 0 for other numbers, or if it is very long."""
    if values.dtype == object and not {type(value) for value in values.flat} <= {int, Fraction}:
        return 0
    common = math.lcm(*{value.as_integer_ratio()[1] for value in values.ravel().tolist()})
    return common if common.bit_length() <= _LONGEST else 0


def _scaled(values: Array, common: int) -> Array:
    """Return values times their common denominator, as integers."""
    ratios = (value.as_integer_ratio() for value in values.ravel().tolist())
    return _objects([numerator * (common // denominator) for numerator, denominator in ratios], values.shape)


def _objects(values: list[Any], shape: tuple[int, ...]) -> Array:
    """Return numbers as an array of objects."""
    made = np.empty(len(values), object)
    made[:] = values
    return made.reshape(shape)
