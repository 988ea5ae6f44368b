r"""Integers for a layer, and what the layer makes of them, exactly.

All values are contractions of the layer's index pattern T (`WeightPattern`) in int64:

.. math:: y_i = b_i + \sum_{jk} T_{ijk} w_k x_j, \quad
          \frac{\partial L}{\partial x_j} = \sum_{ik} T_{ijk} w_k g_i, \quad
          \frac{\partial L}{\partial w_k} = \sum_{ij} T_{ijk} x_j g_i, \quad
          \frac{\partial L}{\partial b_c} = \sum_{i \in c} g_i

**When a floating-point result must be equal.** A type with p significant bits has every integer up to :math:`2^p`. If
the sum of the magnitudes of all products of a result, :math:`\sum |T| |w| |x| + |b|`, is at most :math:`2^p`, then so
is every partial sum, in any order, of any blocking, with or without fused multiplications, and each is an integer:
nothing is ever rounded, and a correct target has no freedom at all. `draw_values` draws integers that small.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from convmatrix.arrays import Array
    from convmatrix.conformance.layer_cases import LayerCase
    from convmatrix.pattern import WeightPattern

LARGEST_VALUE: Final = 9
"""Most values are drawn from -9 .. 9 without 0: small enough to read, and 0 would hide a wrong index."""

SIGNIFICANT_BITS: Final = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8, "int64": 62, "int32": 31}
"""Integers up to 2**bits have no gaps in a type (those of signed integers end there)."""

RESULTS: Final = {"y": "the output", "dx": "the input gradient", "dw": "the weight gradient", "db": "the bias gradient"}
"""The results of a call, and their names in messages."""


@dataclass(frozen=True)
class LayerValues:
    """The integers that a layer is tried with; ``g`` is the gradient with respect to the output.

    Shapes: x ``(batch, C_in, *input)``, w as `ConvGeometry.weight_shape`, b ``(C_out,)`` or None, g ``(batch, C_out,
    *output)``.
    """

    x: Array
    w: Array
    b: Array | None
    g: Array

    def arrays(self) -> dict[str, Array]:
        """Return the arrays by name, without a bias that is None."""
        return {name: array for name, array in vars(self).items() if array is not None}


def draw_values(case: LayerCase, rng: np.random.Generator, largest: int | None = None) -> LayerValues:
    """Return random integers for a layer, small enough that every result is exact in the case's type, if possible.

    Examples
    --------
    >>> from convmatrix.conformance.random_cases import plain_case
    >>> values = draw_values(plain_case((3,), (2,)), np.random.default_rng(0))
    >>> values.x.shape, values.w.shape, values.b, values.g.shape
    ((1, 1, 3), (1, 1, 2), None, (1, 1, 2))
    """
    most = amplitude(case) if largest is None else largest
    return _filled(case, lambda shape: rng.integers(1, most, shape, endpoint=True) * rng.choice((-1, 1), shape))


def _filled(case: LayerCase, fill: Callable[[tuple[int, ...]], Array]) -> LayerValues:
    """Return arrays for a layer, each made by a function of its shape."""
    geometry = case.geometry
    return LayerValues(
        x=fill((case.batch, *geometry.full_input_shape)),
        w=fill(geometry.weight_shape),
        b=fill((case.out_channels,)) if case.bias else None,
        g=fill((case.batch, *geometry.full_output_shape)),
    )


def amplitude(case: LayerCase) -> int:
    """Return the largest a <= 9 for which values of magnitude a are exact; at least 1."""
    limit = 2 ** SIGNIFICANT_BITS[case.dtype]
    coefficients = case.pattern.coefficients
    largest = 1 if coefficients is None else int(np.abs(coefficients).max(initial=1))
    terms = case.pattern.n_entries * max(case.batch, 1) * largest + 1  # an upper bound, which usually suffices
    if terms * LARGEST_VALUE**2 > limit:
        terms = max(n_terms(case).values())
    for most in range(LARGEST_VALUE, 1, -1):
        if terms * most**2 <= limit:
            return most
    return 1


def largest_amplitude(case: LayerCase) -> int:
    """Return the largest a for which values of magnitude a are exact; arithmetic with fewer digits rounds such values.

    Integers are limited to 53 bits, because many functions compute them in float64.

    Examples
    --------
    >>> from convmatrix.conformance.random_cases import plain_case
    >>> largest_amplitude(plain_case((3,), (2,), dtype="float32"))
    2896
    """
    return max(math.isqrt(2 ** min(SIGNIFICANT_BITS[case.dtype], 53) // max(1, *n_terms(case).values())), 1)


def n_terms(case: LayerCase) -> dict[str, int]:
    """Return the largest number of terms of an entry of each result, the bias included."""
    ones = _filled(case, lambda shape: np.ones(shape, dtype=np.int64))
    return {name: int(array.max(initial=0)) for name, array in magnitudes(case, ones).items()}


def exact_results(case: LayerCase, values: LayerValues) -> dict[str, Array]:
    """Return each of `RESULTS` in int64; ``db`` only if there is a bias.

    Examples
    --------
    >>> from convmatrix.conformance.random_cases import plain_case
    >>> x = np.array([[[1, 2, 3]]])
    >>> results = exact_results(plain_case((3,), (2,)), LayerValues(x=x, w=x[:, :, :2], b=None, g=x[:, :, :2]))
    >>> {name: array.tolist() for name, array in results.items()}
    {'y': [[[5, 8]]], 'dx': [[[1, 4, 4]]], 'dw': [[[5, 8]]]}
    """
    return _contract(case.pattern, case, values)


def magnitudes(case: LayerCase, values: LayerValues) -> dict[str, Array]:
    """Return the sum of the magnitudes of all terms of each entry: the results with every sign removed."""
    pattern = case.pattern
    if pattern.coefficients is not None:
        pattern = dataclasses.replace(pattern, coefficients=np.abs(pattern.coefficients))
    positive: dict[str, Any] = {name: np.abs(array) for name, array in values.arrays().items()}
    return _contract(pattern, case, LayerValues(**{"b": None, **positive}))


def _contract(pattern: WeightPattern, case: LayerCase, values: LayerValues) -> dict[str, Array]:
    matrix = pattern.matrix(values.w)
    x = values.x.reshape(case.batch, -1).T  # (n_in, batch)
    g = values.g.reshape(case.batch, -1).T  # (n_out, batch)
    y = (matrix @ x).T.reshape(values.g.shape)
    results = {
        "y": y if values.b is None else y + values.b.reshape(-1, *(1,) * case.n_axes),
        "dx": (matrix.T @ g).T.reshape(values.x.shape),
        "dw": pattern.weight_gradient(x, g),
    }
    if values.b is not None:
        results["db"] = values.g.sum(axis=(0, *range(2, values.g.ndim)))
    return results
