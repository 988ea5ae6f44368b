"""Trained weights and biases of the nodes of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convmatrix.network import Convolution, FullyConnected, Node, ParametricReLU, PatternMap, Pooling, Scale


def parameter_counts(node: Node) -> tuple[int, int]:
    """Return the number of trained weights and of trained biases of a node, by formula.

    Examples
    --------
    >>> from convmatrix.network import as_network
    >>> parameter_counts(as_network("lenet5")["C3"])
    (1500, 16)
    """
    operation = node.operation
    if not getattr(operation, "trained", True):
        return 0, 0
    if isinstance(operation, Convolution):
        geometry = operation.geometry
        biases = {"channel": geometry.out_channels, "unit": geometry.n_out, None: 0}
        return geometry.n_weights, biases[operation.bias_sharing]
    if isinstance(operation, FullyConnected):
        return operation.n_in * operation.n_out, 0 if operation.bias is False else operation.n_out
    if isinstance(operation, PatternMap):
        return operation.pattern.n_weights, 0
    if isinstance(operation, Pooling):
        return node.input_shapes[0][0], node.input_shapes[0][0]
    if isinstance(operation, Scale):
        shape = node.output_shape or (1,)
        shifts = math.prod(shape) if getattr(operation, "sharing", "channel") == "unit" else shape[0]
        return _size(operation.scale, shape[0]), _size(operation.shift, shifts)
    return (_size(operation.slope, 0), 0) if isinstance(operation, ParametricReLU) else (0, 0)


def repeated_parameters(nodes: Sequence[Node]) -> tuple[int, int]:
    """Return how many weights and how many biases share memory with those of an earlier node.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> layer = cm.network.Convolution(cm.ConvGeometry(4, 3, padding=1), np.ones(3), np.ones(1))
    >>> repeated_parameters(cm.Network([layer, layer]).nodes)
    (3, 1)
    """
    seen: set[tuple[int, int]] = set()
    repeated = [0, 0]
    for node in nodes:
        own = set()
        for kind, arrays in enumerate(_trained_arrays(node)):
            for array in arrays:
                key = (array.__array_interface__["data"][0], array.size)
                repeated[kind] += array.size if key in seen else 0
                own.add(key)
        seen |= own
    return repeated[0], repeated[1]


def _trained_arrays(node: Node) -> tuple[list[Any], list[Any]]:
    """Return the arrays of a node's trained weights, and those of its trained biases."""
    operation = node.operation
    if not getattr(operation, "trained", True):
        return [], []
    first = [getattr(operation, name, None) for name in ("weight", "scale", "slope", "coefficient")]
    second = [getattr(operation, name, None) for name in ("bias", "shift")]
    arrays = [[value for value in values if isinstance(value, np.ndarray) and value.size] for values in (first, second)]
    return arrays[0], arrays[1]


def _size(value: Any, channels: int) -> int:
    """Return the size of an array; one number per channel if only its existence is known."""
    return 0 if value is None else channels if isinstance(value, str) else int(np.size(value))
