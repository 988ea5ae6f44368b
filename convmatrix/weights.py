"""Conversion of a layer's weights to and from the layout that correlations use for all layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry


def group_weights(geometry: ConvGeometry, weights: Array) -> Array:
    """Return weights as (*tile, groups, outputs, inputs, *kernel), with outputs and inputs of the correlation.

    A connection table becomes one group with zeros where nothing is connected; a flipped kernel is reversed.
    """
    n = len(geometry.kernel_shape)
    if geometry.connections is None:
        first, second, *taps = weights.shape[-n - 2 :]
        grouped = weights.reshape(*geometry.tile, geometry.groups, first // geometry.groups, second, *taps)
    else:
        table = np.array(geometry.connections)
        grouped = np.zeros((*geometry.tile, 1, *table.shape, *geometry.kernel_shape), dtype=weights.dtype)
        grouped[_connected(geometry)] = weights.reshape(*geometry.tile, 1, -1, *geometry.kernel_shape)
        if geometry.transposed:
            grouped = grouped.swapaxes(-n - 2, -n - 1)
    return np.flip(grouped, tuple(range(-n, 0))) if geometry.flip else grouped


def ungroup_weights(geometry: ConvGeometry, grouped: Array) -> Array:
    """Return grouped weights, or their gradient, in the layer's weight shape: the adjoint of `group_weights`."""
    n = len(geometry.kernel_shape)
    if geometry.flip:
        grouped = np.flip(grouped, tuple(range(-n, 0)))
    if geometry.connections is not None:
        if geometry.transposed:
            grouped = grouped.swapaxes(-n - 2, -n - 1)
        grouped = grouped[_connected(geometry)]
    return np.ascontiguousarray(grouped).reshape(geometry.weight_shape)


def _connected(geometry: ConvGeometry) -> Any:
    """Return the index of the connected pairs in (*tile, 1, out_channels, in_channels, *kernel)."""
    pairs = np.nonzero(np.array(geometry.connections))
    return (..., *pairs, *(slice(None),) * len(geometry.kernel_shape))
