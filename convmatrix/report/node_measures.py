"""The cost of a node of a network, by formula: parameters, entries of its matrix and multiply-adds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from convmatrix.counts.layer_counts import layer_macs, layer_nonzeros
from convmatrix.counts.networks import node_counts
from convmatrix.counts.parameters import parameter_counts
from convmatrix.network import (
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    Extremum,
    FullyConnected,
    Input,
    LocalResponseNormalisation,
    MatrixProduct,
    Node,
    Normalisation,
    Opaque,
    ParametricReLU,
    PatternMap,
    Pooling,
    Product,
    Rearrangement,
    Reduction,
    Resize,
    Scale,
    Softmax,
)

_WITHOUT_MATRIX: Final = (
    Elementwise,
    Extremum,
    Input,
    LocalResponseNormalisation,
    Normalisation,
    ParametricReLU,
    Product,
    Reduction,
    Softmax,
)
"""Operations without a matrix of their own, which have no multiply-adds."""


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

    @property
    def density(self) -> float | None:
        """Fraction of the entries of the matrix that are stored; None without a matrix."""
        return self.nonzeros / self.entries if self.nonzeros is not None and self.entries else None


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
    measures = _structure(node)
    if not measures.known:
        return measures
    weights, biases = parameter_counts(node)
    return replace(measures, parameters=weights + biases, biases=biases)


def _structure(node: Node) -> Measures:
    """Return the measures of a node without its parameters."""
    operation, n_out = node.operation, math.prod(node.output_shape)
    entries = n_out * sum(math.prod(shape) for shape in node.input_shapes)
    if isinstance(operation, Pooling) and operation.method == "max":
        return Measures()
    if isinstance(operation, Pooling) and not operation.trained:
        return Measures(nonzeros=layer_nonzeros(node.geometry), entries=entries)
    if isinstance(operation, PatternMap) and not operation.trained:
        return Measures(nonzeros=operation.pattern.n_entries, entries=entries)
    if isinstance(operation, Convolution | PatternMap | FullyConnected | Pooling):
        nonzeros, macs = _products(node)
        return Measures(multiply_adds=nonzeros, macs=macs, nonzeros=nonzeros, entries=entries)
    if isinstance(operation, Scale | Concatenation):
        return Measures(nonzeros=n_out, entries=entries)
    if isinstance(operation, Addition):
        return Measures(nonzeros=len(node.inputs) * n_out, entries=entries)
    if isinstance(operation, Rearrangement):
        return Measures(nonzeros=_entries_read(node, operation), entries=entries)
    if isinstance(operation, Resize):
        matrices = operation.axis_matrices(node.input_shapes[0])
        nonzeros = node.input_shapes[0][0] * math.prod(int(matrix.nnz) for matrix in matrices)
        return Measures(nonzeros=nonzeros, entries=entries)
    if isinstance(operation, Reduction) and operation.linear:
        return Measures(nonzeros=math.prod(node.input_shapes[0]), entries=entries)
    if isinstance(operation, MatrixProduct):
        products = n_out * node.input_shapes[0][-1]
        return Measures(multiply_adds=products, macs=products)
    return Measures() if isinstance(operation, _WITHOUT_MATRIX) else UNKNOWN


def _products(node: Node) -> tuple[int, int]:
    """Return the number of nonzeros of a node with weights, and of its multiply-adds including those with padding."""
    if isinstance(node.operation, Convolution):
        return layer_nonzeros(node.operation.geometry), layer_macs(node.operation.geometry)
    counts = node_counts(node)
    return counts.nonzeros, counts.macs


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
