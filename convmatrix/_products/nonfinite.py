"""Infinite and NaN values in products: they reach the outputs that read them, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from convmatrix.arrays import Array


def is_finite(array: Array) -> bool:
    """Return whether no entry is infinite or NaN; arrays of integers have none."""
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def finite_part(array: Array) -> Array:
    """Return an array with zeros in place of infinite and NaN entries."""
    return np.where(np.isfinite(array), array, np.zeros((), dtype=array.dtype))


def add_nonfinite(product: Array, weights: Array, x: Array, multiply: Callable[[Array, Array], Array]) -> Array:
    """Add to a product what infinite and NaN weights and samples contribute: only to the sums that read them.

    The sum of an output is infinite or NaN by the rules of IEEE arithmetic: products of an infinity with zero and sums
    of opposite infinities are NaN. A complex sum that has any such term is NaN.

    Parameters
    ----------
    product : array
        ``multiply`` of the `finite_part` of weights and samples. It is overwritten.
    weights, x : array
    multiply : callable
        ``multiply(weights, x)`` returns sums of products of a weight and a sample.

    Examples
    --------
    >>> import numpy as np
    >>> weights, x = np.array([1.0, 2.0]), np.array([1.0, 0.0, np.inf, 3.0])
    >>> add_nonfinite(np.correlate(finite_part(x), weights), weights, x, lambda w, x: np.correlate(x, w))
    array([ 1., inf, inf])
    """

    def reaches(weight: Array, sample: Array) -> Array:
        if not (weight.any() and sample.any()):
            return np.zeros(product.shape, dtype=bool)
        return multiply(weight.astype(np.float32), sample.astype(np.float32)) > 0.5

    all_weights, all_samples = np.ones(weights.shape, dtype=bool), np.ones(x.shape, dtype=bool)
    if product.dtype.kind == "c":
        bad = reaches(all_weights, ~np.isfinite(x)) | reaches(~np.isfinite(weights), all_samples)
        product[bad] = complex(np.nan, np.nan)
        return product
    positive, negative, infinite = weights > 0, weights < 0, np.isinf(weights)
    upwards = reaches(positive, x == np.inf) | reaches(negative, x == -np.inf)
    downwards = reaches(negative, x == np.inf) | reaches(positive, x == -np.inf)
    if infinite.any():
        upwards |= reaches(infinite & positive, x > 0) | reaches(infinite & negative, x < 0)
        downwards |= reaches(infinite & negative, x > 0) | reaches(infinite & positive, x < 0)
    undefined = reaches(all_weights, np.isnan(x)) | reaches(np.isnan(weights), all_samples)
    undefined |= reaches(weights == 0, np.isinf(x)) | reaches(infinite, x == 0)
    undefined |= upwards & downwards
    product[upwards] = np.inf
    product[downwards] = -np.inf
    product[undefined] = np.nan
    return product
