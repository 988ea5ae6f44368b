"""The cost of a node of a network, by formula: parameters, entries of its matrix and multiply-adds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from convmatrix.counts.layer_counts import layer_nonzeros, n_pairs
from convmatrix.counts.networks import node_counts
from convmatrix.network import (
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    FullyConnected,
    Node,
    Opaque,
    PatternMap,
    Pooling,
    Rearrangement,
    Resize,
    Scale,
)

_WITHOUT_MATRIX: Final = (
    "input",
    "elementwise",
    "product",
    "extremum",
    "normalisation",
    "local response normalisation",
    "softmax",
)
"""Kinds of nodes that are not linear and have neither parameters nor multiply-adds."""


@dataclass(frozen=True)
class Measures:
    """The cost of a node, in exact integers; None if unknown.

    Attributes
    ----------
    parameters, biases : int or None
        Number of trained parameters, including biases, and number of biases.
    multiply_adds : int or None
        Number of products that are computed and added, excluding those with zeros in the padding.
    macs : int or None
        Multiply-adds by the usual convention, which includes products with padding.
    nonzeros, entries : int or None
        Number of stored entries and of all entries of the node's matrix; None for a node that is not linear.
    known : bool
        Whether the package knows the operation; if not, all numbers are None.
    """

    parameters: int | None = 0
    biases: int | None = 0
    multiply_adds: int | None = 0
    macs: int | None = 0
    nonzeros: int | None = None
    entries: int | None = None
    known: bool = True


UNKNOWN: Final = Measures(None, None, None, None, known=False)


def node_label(node: Node) -> str:
    """Return the label of a node: its kind, or the name of its function, rearrangement or operator.

    Examples
    --------
    >>> from convmatrix.network import Elementwise, Pooling
    >>> node_label(Node("a", Elementwise("relu"))), node_label(Node("b", Pooling("max")))
    ('relu', 'max pooling')
    """
    operation = node.operation
    if isinstance(operation, Opaque):
        return operation.operator
    if isinstance(operation, Elementwise | Rearrangement):
        return operation.name
    if isinstance(operation, Pooling):
        return f"{operation.method} pooling"
    if isinstance(operation, Convolution) and operation.geometry.transposed:
        return "transposed convolution"
    return operation.kind


def node_measures(node: Node) -> Measures:
    """Return the cost of a node of a network, by formula.

    Examples
    --------
    >>> from convmatrix.network import as_network
    >>> measures = node_measures(as_network("vgg16")["conv1_1"])
    >>> measures.parameters, measures.multiply_adds, measures.macs
    (1792, 86188800, 86704128)
    """
    operation, n_out = node.operation, math.prod(node.output_shape)
    entries = n_out * sum(math.prod(shape) for shape in node.input_shapes)
    if isinstance(operation, Convolution | PatternMap | FullyConnected):
        return _weighted(node, entries)
    if isinstance(operation, Pooling):
        return _pooling(node, operation, entries)
    if isinstance(operation, Scale):
        counts = node_counts(node)
        return Measures(counts.parameters, counts.biases, nonzeros=n_out, entries=entries)
    if isinstance(operation, Addition):
        return Measures(nonzeros=len(node.inputs) * n_out, entries=entries)
    if isinstance(operation, Concatenation):
        return Measures(nonzeros=n_out, entries=entries)
    if isinstance(operation, Rearrangement):
        return Measures(nonzeros=_entries_read(node, operation), entries=entries)
    if isinstance(operation, Resize):
        matrices = operation.axis_matrices(node.input_shapes[0])
        nonzeros = node.input_shapes[0][0] * math.prod(int(matrix.nnz) for matrix in matrices)
        return Measures(nonzeros=nonzeros, entries=entries)
    return _by_kind(node, entries)


def _weighted(node: Node, entries: int) -> Measures:
    """Return the measures of a convolution, a dense layer or a pattern."""
    operation = node.operation
    if isinstance(operation, Convolution):
        g, bias = operation.geometry, operation.bias
        by_unit = bias == "unit" if isinstance(bias, str) else bias is not None and bias.size > g.out_channels
        biases = 0 if bias is None else g.n_out if by_unit else g.out_channels
        nonzeros = layer_nonzeros(g)
        macs = n_pairs(g) * math.prod(axis.n_outputs * axis.n_taps for axis in g.axes)
        return Measures(g.n_weights + biases, biases, nonzeros, macs, nonzeros, entries)
    counts = node_counts(node)
    return Measures(counts.parameters, counts.biases, counts.nonzeros, counts.macs, counts.nonzeros, entries)


def _pooling(node: Node, operation: Pooling, entries: int) -> Measures:
    """Return the measures of a pooling, which multiplies only if it has trained coefficients."""
    if operation.method == "max":
        return Measures()
    geometry = node.geometry
    nonzeros = layer_nonzeros(geometry)
    if not operation.trained:
        return Measures(nonzeros=nonzeros, entries=entries)
    counts = node_counts(node)
    return Measures(counts.parameters, counts.biases, nonzeros, counts.macs, nonzeros, entries)


def _entries_read(node: Node, operation: Rearrangement) -> int:
    """Return the number of outputs of a rearrangement that read an entry; the others are constant."""
    if operation.name != "pad":
        return math.prod(node.output_shape)
    widths, boundaries, _ = operation.options
    inside = 1
    for (low, high), boundary, size in zip(widths, boundaries, node.input_shapes[0], strict=True):
        kept = size + low + high
        inside *= max(size + min(low, 0) + min(high, 0), 0) if boundary == "zero" else kept
    return inside


def _by_kind(node: Node, entries: int) -> Measures:
    """Return the measures of an operation from its kind alone; those of an unknown operation are None."""
    kind, operation = node.kind, node.operation
    if kind in _WITHOUT_MATRIX:
        return Measures()
    if kind == "reduction":
        return Measures(nonzeros=math.prod(node.input_shapes[0]), entries=entries) if node.linear else Measures()
    if kind == "parametric relu":
        return Measures(parameters=int(np.size(getattr(operation, "slope", 0))))
    if kind == "matrix product":
        products = math.prod(node.output_shape) * node.input_shapes[0][-1]
        return Measures(multiply_adds=products, macs=products)
    return UNKNOWN
