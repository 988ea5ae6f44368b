"""Exact receptive fields: the inputs that a unit of a network reads, and the number of paths from each input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from convmatrix import memory
from convmatrix import options as validate
from convmatrix.geometry import ConvGeometry
from convmatrix.network import (
    Convolution,
    Elementwise,
    FullyConnected,
    Input,
    Network,
    Node,
    PatternMap,
    Pooling,
    Scale,
    as_network,
    reshape,
)
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from numpy.typing import NDArray


def chain_network(layers: Any) -> Network:
    """Return a network from anything that `as_network` accepts, or from patterns and geometries of matching sizes."""
    if isinstance(layers, WeightPattern | ConvGeometry):
        layers = [layers]
    if not isinstance(layers, list | tuple) or not all(isinstance(la, WeightPattern | ConvGeometry) for la in layers):
        return as_network(layers)
    if not layers:
        raise ValueError("the sequence of layers is empty; give at least one")
    nodes: list[Any] = []
    given: tuple[int, ...] | None = None
    for number, layer in enumerate(layers, start=1):
        operation = PatternMap(layer) if isinstance(layer, WeightPattern) else Convolution(layer)
        shapes = _array_shapes(layer)
        if given is None:
            nodes.append(Node("input", Input(shapes[0])))
        elif math.prod(given) != math.prod(shapes[0]):
            raise ValueError(
                f"layer {number} reads {math.prod(shapes[0])} inputs, but layer {number - 1} gives {math.prod(given)}; "
                "give the layers from the input on"
            )
        elif given != shapes[0]:
            nodes.append(Node(f"reshape {number}", reshape(shapes[0])))
        nodes.append(Node(f"layer {number}", operation))
        given = shapes[1]
    return Network(nodes)


def _array_shapes(layer: WeightPattern | ConvGeometry) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of a layer's input and output, channels first; for a pattern without geometry, its sizes."""
    geometry = layer.geometry if isinstance(layer, WeightPattern) else layer
    if geometry is None:
        n_out, n_in = layer.shape  # type: ignore[union-attr]
        return (n_in,), (n_out,)
    return geometry.full_input_shape, geometry.full_output_shape


def flat_unit(shape: tuple[int, ...], unit: int | Sequence[int]) -> int:
    """Return the flat index of a unit of an array of ``shape``."""
    n_units = math.prod(shape)
    if np.ndim(unit) == 0:
        index: tuple[int, ...] = (validate.integer("unit", unit),)
        sizes: tuple[int, ...] = (n_units,)
    else:
        index = tuple(validate.integer(f"unit[{axis}]", i) for axis, i in enumerate(np.asarray(unit).tolist()))
        sizes = shape
    if len(index) != len(sizes) or not all(0 <= i < n for i, n in zip(index, sizes, strict=True)):
        raise IndexError(f"unit {unit} does not exist; give a flat index below {n_units}, or an index within {shape}")
    return int(np.ravel_multi_index(index, sizes))


def receptive_field(network: Any, unit: int | Sequence[int]) -> NDArray[np.int64]:
    """Return the inputs that a unit reads through all layers and branches, with padding and boundaries.

    Masks are propagated from the unit back to the input, node by node, according to the structure of each node. The
    result holds for all weights, and no matrix is built.

    Parameters
    ----------
    network : Network, str, ConvGeometry, WeightPattern, nn.Sequential or sequence of layers
        As for `convmatrix.network.as_network`. The unit is one of the (first) output.
    unit : int or sequence of int
        A flat index, or an index into the output's shape, ``(channel, *position)``.

    Returns
    -------
    array of int64
        Flat indices of inputs, in ascending order. For an input (C, H, W), ``numpy.unravel_index`` converts them to
        channels and positions.

    Raises
    ------
    ValueError, IndexError
        If layers do not fit together, or there is no such unit.

    Examples
    --------
    Goodfellow, Bengio, Courville, Deep Learning (2016), Fig. 9.4: deeper units see more.

    >>> from convmatrix import ConvGeometry
    >>> layer = ConvGeometry(5, 3, padding="same")
    >>> receptive_field(layer, 2), receptive_field([layer, layer], 2)
    (array([1, 2, 3]), array([0, 1, 2, 3, 4]))
    """
    net = chain_network(network)
    largest = max(math.prod(shape) for node in net.nodes for shape in (node.output_shape, *node.input_shapes))
    memory.require(3 * largest, f"a mask of the {largest} units of the largest node", "use a smaller input")
    marked = np.zeros(math.prod(net.output_shape), dtype=bool)
    marked[flat_unit(net.output_shape, unit)] = True
    marks = {net.outputs[0]: marked.reshape(net.output_shape)}
    for node in reversed(net.nodes[1:]):
        if (mask := marks.pop(node.name, None)) is not None:
            for source, read in zip(node.inputs, node.operation.reads(mask, node.input_shapes), strict=True):
                marks[source] = marks[source] | read if source in marks else read
    return np.flatnonzero(marks.get(net.input.name, False))


def path_counts(network: Any, unit: int | Sequence[int]) -> NDArray[np.int64]:
    """Return the number of paths from each input to a unit, through all layers and branches.

    This is the unit's row in the product of the layers' matrices with every weight set to 1, and every coefficient of a
    signed boundary, so that each read of a sample by a tap is one path. For several equal layers,
    the numbers fall off towards the edge of the receptive field like a binomial distribution.

    Parameters
    ----------
    network, unit
        As for `receptive_field`.

    Returns
    -------
    array of int64, shape (n_in,)

    Raises
    ------
    OverflowError
        If there may be more paths than 64-bit integers can count.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> path_counts([ConvGeometry(7, 3), ConvGeometry(5, 3)], 1)
    array([0, 1, 2, 3, 2, 1, 0])
    """
    net = chain_network(network)
    taps = {node.name: path_matrices(node) for node in net.nodes}
    most: dict[str, int] = {net.input.name: 1}
    for node in net.nodes[1:]:
        rows = (int(np.diff(matrix.indptr).max(initial=0)) for matrix in taps[node.name])
        most[node.name] = sum(n * most[source] for n, source in zip(rows, node.inputs, strict=True))
    if most[net.outputs[0]] >= 2**63:
        raise OverflowError(
            f"there may be {most[net.outputs[0]]} paths to unit {unit}, but 64-bit integers count to {2**63 - 1}; take "
            "fewer layers, or receptive_field, which does not count"
        )
    counts = {node.name: np.zeros(math.prod(node.output_shape), dtype=np.int64) for node in net.nodes}
    counts[net.outputs[0]][flat_unit(net.output_shape, unit)] = 1
    for node in reversed(net.nodes[1:]):
        for source, matrix in zip(node.inputs, taps[node.name], strict=True):
            counts[source] += matrix.T @ counts[node.name]
    return counts[net.input.name]


def path_matrices(node: Node) -> list[Any]:
    """Return, for each input of a node, a CSR array with the number of taps from each entry to each output."""
    operation = node.operation
    if isinstance(operation, Input):
        return []
    if isinstance(operation, Convolution | PatternMap):
        pattern = operation.geometry.pattern() if isinstance(operation, Convolution) else operation.pattern
        ones = np.ones(pattern.n_entries, dtype=np.int64)
        return [sparse.csr_array((ones, pattern.cols, pattern.row_starts), shape=pattern.shape)]
    if isinstance(operation, Pooling):
        return [operation.structure(node.input_shapes[0])]
    if isinstance(operation, FullyConnected):
        operation = replace(operation, weight=np.ones((operation.n_out, operation.n_in), dtype=np.int8), bias=False)
    if isinstance(operation, Elementwise | Scale):
        operation = Scale()
    if not operation.linear:
        raise ValueError(f"node {node.name!r} is {node.kind}, whose paths are not counted; receptive_field marks them")
    matrix = operation.affine(node.input_shapes)[0]
    sizes = np.cumsum([math.prod(shape) for shape in node.input_shapes])[:-1]
    ends = [0, *sizes.tolist(), matrix.shape[1]]
    matrix.data = (matrix.data != 0).astype(np.int64)
    return [matrix[:, first:end] for first, end in itertools.pairwise(ends)]
