"""Infinite and NaN values in products: they reach the outputs that read them, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from convmatrix.boundary import SIGNED, Boundary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from convmatrix.arrays import Array

_CANCELLED: Final = 1e-10  # smaller sums of terms of size 1 are rounding errors


def is_finite(array: Array) -> bool:
    """Return whether no entry is infinite or NaN; arrays of integers have none."""
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def finite_part(array: Array) -> Array:
    """Return an array with zeros in place of infinite and NaN entries."""
    return np.where(np.isfinite(array), array, np.zeros((), dtype=array.dtype))


def add_nonfinite(
    product: Array, weights: Array, x: Array, multiply: Callable[[Array, Array], Array], boundary: Sequence[Boundary]
) -> Array:
    """Return a product in which infinite and NaN weights and samples reach the sums that read them, and no others.

    The sum of an output is infinite or NaN by the rules of IEEE arithmetic: products of an infinity with zero and sums
    of opposite infinities are NaN. A sum that has any such term is NaN if it is complex, or if a boundary is signed.
    ``product`` is ``multiply(weights, x)`` of the `finite_part` of both, and is overwritten. A term of its sums is the
    product of a weight, a sample and a coefficient, which is 1 unless a boundary is signed.

    Examples
    --------
    >>> import numpy as np
    >>> weights, x = np.array([1.0, 2.0]), np.array([1.0, 0.0, np.inf, 3.0])
    >>> add_nonfinite(np.correlate(finite_part(x), weights), weights, x, lambda w, x: np.correlate(x, w), ["zero"])
    array([ 1., inf, inf])
    """
    signed = bool(set(boundary).intersection(SIGNED))

    def reaches(weight: Array, sample: Array) -> Array:
        if not (weight.any() and sample.any()):
            return np.zeros(product.shape, dtype=bool)
        if signed:  # random factors, so that terms of opposite signs do not cancel
            rng = np.random.default_rng(0)
            factors = (rng.uniform(1, 2, array.shape) for array in (weight, sample))
            return np.abs(multiply(weight * next(factors), sample * next(factors))) > _CANCELLED
        return multiply(weight.astype(np.float32), sample.astype(np.float32)) > 0.5

    all_weights, all_samples = np.ones(weights.shape, dtype=bool), np.ones(x.shape, dtype=bool)
    if signed or product.dtype.kind == "c":
        bad = reaches(all_weights, ~np.isfinite(x)) | reaches(~np.isfinite(weights), all_samples)
        product[bad] = complex(np.nan, np.nan) if product.dtype.kind == "c" else np.nan
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
