"""Products of sparse matrices with columns of integers and fractions, without rounding."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from convmatrix.arrays import Array

_OBJECTS: Final = 2**20  # terms that are computed as objects at a time


def exact_array(values: Array) -> Array:
    """Return floats as integers where they are, and as fractions elsewhere.

    Examples
    --------
    >>> exact_array(np.array([2.0, 0.5]))
    array([2, Fraction(1, 2)], dtype=object)
    """
    exact = [int(value) if value.is_integer() else Fraction(value) for value in values.ravel().tolist()]
    made = np.empty(len(exact), object)
    made[:] = exact
    return made.reshape(values.shape)


def exact_product(matrix: Any, values: Array) -> Array:
    """Return a sparse matrix of floats times columns of objects, exactly; in parts, to bound memory use."""
    product = np.zeros((matrix.shape[0], values.shape[1]), object)
    filled = np.flatnonzero(np.diff(matrix.indptr))
    for part in np.array_split(filled, 1 + matrix.nnz * values.shape[1] // _OBJECTS):
        if len(part):
            first, last = matrix.indptr[part[0]], matrix.indptr[part[-1] + 1]
            terms = exact_array(matrix.data[first:last])[:, None] * values[matrix.indices[first:last]]
            product[part] = np.add.reduceat(terms, matrix.indptr[part] - first, axis=0)
    return product
