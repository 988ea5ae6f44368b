"""Ranges of operations that divide by statistics of their own input, on boxes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from convmatrix.arrays import EPSILON, sum_rounding

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.network.construction import Node
    from convmatrix.network.normalisations import LocalResponseNormalisation, Normalisation, Softmax

    Interval = tuple[Array, Array]

_LEAST: Final = 1e-300
"""Added to bounds on rounding errors, so that they hold where products underflow."""


def softmax_range(operation: Softmax, node: Node, inputs: list[Interval]) -> Interval:
    """Return bounds on the softmax of entries, or its logarithm, allowing for rounding."""
    axis = operation.combined_axes(node.output_shape)[0]
    low, high = (np.moveaxis(end, axis, -1) for end in inputs[0])

    def logarithm(own: Array, others: Array) -> Array:
        """Return the logarithm of the softmax of an entry, with given values of all others."""
        return np.asarray(-np.logaddexp(0.0, _of_others(others) - own))

    reach = max(float(abs(low).max()), float(abs(high).max())) + math.log(low.shape[-1]) + 1
    error = 8 * (low.shape[-1] + 8) * EPSILON * reach
    least, most = logarithm(low, high) - error, logarithm(high, low) + error
    if operation.logarithm:
        most = np.minimum(most, 0.0)
    else:
        least, most = (
            np.maximum(np.exp(least) * (1 - error) - _LEAST, 0.0),
            np.minimum(np.exp(most) * (1 + error) + _LEAST, 1.0),
        )
    return np.moveaxis(least, -1, axis), np.moveaxis(most, -1, axis)


def _of_others(x: Array) -> Array:
    """Return, for each entry on the last axis, the logarithm of the sum of the exponentials of the others."""
    none = np.full((*x.shape[:-1], 1), -np.inf)
    before = np.concatenate([none, np.logaddexp.accumulate(x, axis=-1)[..., :-1]], axis=-1)
    after = np.concatenate([np.logaddexp.accumulate(x[..., ::-1], axis=-1)[..., -2::-1], none], axis=-1)
    return np.asarray(np.logaddexp(before, after))


def least_variance(operation: Normalisation, shape: tuple[int, ...], low: Array, high: Array) -> Array:
    """Return a lower bound on the variance plus epsilon, of every group of entries that are normalised together."""
    return _centred(operation, shape, low, high)[-1]


def _centred(operation: Normalisation, shape: tuple[int, ...], low: Array, high: Array) -> tuple[Array, ...]:
    """Return bounds on the centred entries, on their rounding errors, and on the variance plus epsilon from below."""
    grouped, combined = operation.grouping(shape)
    low, high = low.reshape(grouped), high.reshape(grouped)
    n = math.prod(grouped[axis] for axis in combined)
    reach = np.maximum(abs(low), abs(high)).max(axis=combined, keepdims=True)
    slack = 4 * (n + 8) * EPSILON * reach + _LEAST
    least, most = low, high
    if operation.centred:  # entry minus mean: the entry itself has the coefficient 1 - 1/n
        least = low - (low + (high.sum(axis=combined, keepdims=True) - high)) / n - slack
        most = high - (high + (low.sum(axis=combined, keepdims=True) - low)) / n + slack
    near = np.maximum(np.maximum(least, -most), 0.0)
    variance = (near * near).sum(axis=combined, keepdims=True) / n
    return least, most, slack, variance - sum_rounding(variance, n) + operation.epsilon


def normalisation_range(operation: Normalisation, node: Node, inputs: list[Interval]) -> Interval:
    """Return bounds on normalised entries, allowing for rounding."""
    (shape,) = node.input_shapes
    grouped, combined = operation.grouping(shape)
    n = math.prod(grouped[axis] for axis in combined)
    least, most, slack, variance = _centred(operation, shape, *inputs[0])
    if not (variance > 0).all():
        raise ValueError(f"the variance may be zero, and epsilon={operation.epsilon:g}; no bounds are known")
    far = (np.maximum(abs(least), abs(most)) ** 2).sum(axis=combined, keepdims=True) / n
    far = far + sum_rounding(far, n)
    largest = 1 / np.sqrt(variance)
    smallest = 1 / np.sqrt(far + operation.epsilon)
    least = least * np.where(least < 0, largest, smallest)
    most = most * np.where(most > 0, largest, smallest)
    limit = math.sqrt(max(n - 1, 0) if operation.centred else n)
    error = (limit + 1) * (slack * largest + (n + 16) * EPSILON)
    least, most = np.maximum(least, -limit) - error, np.minimum(most, limit) + error
    return least.reshape(shape), most.reshape(shape)


def local_response_range(operation: LocalResponseNormalisation, node: Node, inputs: list[Interval]) -> Interval:
    """Return bounds on entries divided by a power of the squares of their neighbours, allowing for rounding."""
    low, high = inputs[0]
    near, far = np.maximum(np.maximum(low, -high), 0.0), np.maximum(abs(low), abs(high))
    bases = np.stack(
        [
            operation.bias + operation.alpha / operation.size * operation.window_sums(x[None] ** 2)[0]
            for x in (near, far)
        ]
    )
    error = sum_rounding(abs(operation.bias) + abs(bases - operation.bias), operation.size)
    bases = np.stack([bases.min(axis=0) - error.max(axis=0), bases.max(axis=0) + error.max(axis=0)])
    if not (bases > 0).all():
        raise ValueError(
            f"the sum of squares with bias={operation.bias:g} may be zero or negative; no bounds are known"
        )
    factors = bases**-operation.beta
    corners = np.stack([x * factor for x in (low, high) for factor in factors])
    least, most = corners.min(axis=0), corners.max(axis=0)
    error = sum_rounding(np.maximum(abs(least), abs(most)), 8 + abs(operation.beta))
    return least - error, most + error
