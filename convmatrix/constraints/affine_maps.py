"""Sparse affine maps of floats: their exact values, and their bounds on a box, rounded outwards."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse

from convmatrix.arrays import EPSILON

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.arrays import Array

    Floats = NDArray[np.float64]

_SUBNORMAL: Final = 2.0**-1074
_EXACT: Final = 2.0**52  # sums of integers with moduli below it are computed without rounding
_GRID: Final = 32
_OBJECTS: Final = 2**20  # terms computed as objects at a time
_LONGEST: Final = 4096  # bits of a common denominator; fractions of floats have at most 1074


# --- bounds -----------------------------------------------------------------------------------------------------------


def affine_bounds(matrix: Any, constant: Floats, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    r"""Return bounds of ``matrix @ v + constant`` for all v between two vectors, never too narrow by rounding.

    With k terms in a row, a sum in any order is within :math:`k u / (1 - k u)` times the sum of the moduli of its terms
    (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1, u the unit roundoff). Twice that is added on
    both sides, and the smallest subnormal number per term. Rows that are computed without rounding, such as
    those of small integers, are exact.

    Bounds of v must be finite where the csr matrix has entries.

    Examples
    --------
    >>> matrix = sparse.csr_array([[1.0, -2.0]])
    >>> affine_bounds(matrix, np.array([0.5]), np.array([0.0, -1.0]), np.array([1.0, 1.0]))
    (array([-1.5]), array([3.5]))
    """
    if not matrix.data.all():  # an infinite bound times 0 would not be a number
        matrix = matrix.copy()
        matrix.eliminate_zeros()
    low, high = constant.copy(), constant.copy()
    with np.errstate(invalid="ignore", over="ignore"):
        positive = matrix.data > 0
        for chosen, below, above in ((positive, lower, upper), (~positive, upper, lower)):
            part = _chosen(matrix, chosen)
            low += part @ below
            high += part @ above
        moduli = np.maximum(np.abs(lower), np.abs(upper))
        size = _like(matrix, np.abs(matrix.data)) @ moduli + np.abs(constant)
        margin = (np.diff(matrix.indptr) + 2) * (EPSILON * size + _SUBNORMAL)
        exact = _on_grid(matrix, constant, lower, upper) & (size < _EXACT / _GRID**2)
        margin[exact | _signed_copies(matrix, constant)] = 0
        rounded = margin > 0
        low[rounded] = np.nextafter(low[rounded] - margin[rounded], -np.inf)
        high[rounded] = np.nextafter(high[rounded] + margin[rounded], np.inf)
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def _like(matrix: Any, data: Floats) -> Any:
    return sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def _chosen(matrix: Any, chosen: NDArray[np.bool_]) -> Any:
    """Return the matrix with some of its entries only."""
    ends = np.concatenate([[0], np.cumsum(chosen)])[matrix.indptr]
    return sparse.csr_array((matrix.data[chosen], matrix.indices[chosen], ends), shape=matrix.shape)


def _on_grid(matrix: Any, constant: Floats, lower: Floats, upper: Floats) -> NDArray[np.bool_]:
    """Return which rows have entries and bounds that are multiples of 1/32, so that products are of 1/1024."""
    coarse = _multiples(lower, _GRID) & _multiples(upper, _GRID)
    broken = ~(_multiples(matrix.data, _GRID) & coarse[matrix.indices])
    return np.asarray(_like(matrix, broken.astype(np.float64)).sum(axis=1) == 0) & _multiples(constant, _GRID**2)


def _signed_copies(matrix: Any, constant: Floats) -> NDArray[np.bool_]:
    """Return which rows are a variable or its negative, and nothing else."""
    copies = np.zeros(len(constant), bool)
    single = np.flatnonzero((np.diff(matrix.indptr) == 1) & (constant == 0))
    copies[single] = np.abs(matrix.data[matrix.indptr[single]]) == 1
    return copies


def _multiples(values: Floats, grid: int) -> NDArray[np.bool_]:
    """Return which values are multiples of 1 / grid, a power of two."""
    scaled = values * grid
    return np.asarray(np.rint(scaled) == scaled)


# --- exact values -----------------------------------------------------------------------------------------------------


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
