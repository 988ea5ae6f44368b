"""The linear nodes of a network as linear maps in the forms of `convmatrix.spectral.map_forms`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import sparse

from convmatrix.arrays import EPSILON
from convmatrix.memory import estimate
from convmatrix.network import (
    Addition,
    Concatenation,
    Convolution,
    FullyConnected,
    Node,
    PatternMap,
    Pooling,
    Rearrangement,
    Reduction,
    Resize,
    Scale,
)
from convmatrix.network.operations import broadcast_columns, selection_matrix
from convmatrix.spectral import map_forms
from convmatrix.spectral.map_forms import MOST_ENTRIES, Form, Shape
from convmatrix.spectral.map_norms import LinearMap, chain, side_by_side, summed
from convmatrix.spectral.node_norms import NoBoundError, node_norm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convmatrix.arrays import Array
    from convmatrix.spectral.map_norms import Norms

    Parts = Mapping[str, LinearMap]

_RESHAPES: Final = ("flatten", "reshape")


def diagonal_map(name: str, factors: Array, most: Array | None = None) -> LinearMap:
    """Return the entry-by-entry multiplication of a sample by factors; ``name`` is the node that it belongs to, if any.

    ``most``, (channels,), are factors per channel that are at least as large, for a compact form that bounds the map.
    """
    shape = factors.shape or (1,)
    by_channel = factors.reshape(shape[0], -1)
    loose = bool((by_channel != by_channel[:, :1]).any())
    channels = most if loose else by_channel[:, 0]
    compact = None if channels is None else Form("channels", channels, shape, shape)

    def build() -> Form | None:
        if factors.size > MOST_ENTRIES:
            return None
        return Form("matrix", sparse.csr_array(sparse.diags_array(factors.ravel())), shape, shape)

    return LinearMap(
        (name,) if name else (), compact, lambda: float(np.abs(factors).max()), build, folded=True, loose=loose
    )


def identity_map(shape: Shape) -> LinearMap:
    """Return the identity of a sample."""
    return LinearMap((), map_forms.identity(shape), lambda: 1.0, lambda: None, folded=True)


def operation_norm(node: Node, norms: Norms) -> float:
    """Return an upper bound on the norm of a node; raise NoBoundError if there is none."""
    operation = node.operation
    if (
        isinstance(operation, Convolution)
        and operation.weight is not None
        and math.prod(operation.geometry.kernel_shape) > 1
    ):
        return norms.of_kernel(operation.weight, operation.geometry)
    return node_norm(node)[1]


def lacks_weights(node: Node) -> bool:
    """Return whether a linear node has no values to bound its norm from."""
    operation = node.operation
    if isinstance(operation, Scale):
        return isinstance(operation.scale, str)
    if isinstance(operation, Pooling):
        return operation.trained and operation.coefficient is None
    return isinstance(operation, Convolution | FullyConnected | PatternMap) and operation.weight is None


def node_map(node: Node, norms: Norms) -> LinearMap:
    """Return the map of a linear node of one input."""
    operation, (shape,) = node.operation, node.input_shapes
    compact: Form | None = None
    folded = False
    if isinstance(operation, Convolution) and operation.weight is not None:
        compact = map_forms.kernel_form(operation.weight, operation.geometry)
        folded = compact is not None and compact.kind == "kernel"
    elif isinstance(operation, FullyConnected) and operation.weight is not None and len(shape) == 1:
        compact = Form("channels", operation.weight.astype(np.float64), shape, node.output_shape)
    elif isinstance(operation, Scale) and shape == node.output_shape:
        values = np.ones(1) if operation.scale is None else operation.spread(operation.scale, shape)
        return diagonal_map(node.name, np.broadcast_to(values.astype(np.float64), shape))
    elif isinstance(operation, Rearrangement) and operation.name in _RESHAPES and shape[:1] == node.output_shape[:1]:
        compact, folded = Form("channels", np.ones(shape[0]), shape, node.output_shape), True

    def build() -> Form | None:
        if _entries(node) > MOST_ENTRIES:
            return None
        matrix, _ = operation.affine(node.input_shapes, np.dtype(np.float64))
        matrix = sparse.csr_array(matrix)
        matrix.sum_duplicates()
        form = Form("matrix", matrix, shape, node.output_shape)
        # Averages and interpolations are stored with a few roundings per entry.
        return replace(form, error=8 * EPSILON * form.moduli)

    def parts() -> float:
        try:
            return operation_norm(node, norms)
        except NoBoundError:  # a user-defined operation: only its matrix is known
            return math.inf

    return LinearMap((node.name,), compact, parts, build, folded)


def _entries(node: Node) -> int:
    """Return the number of entries of the matrix of a node of one input, or an upper bound."""
    operation, (shape,) = node.operation, node.input_shapes
    n_in, n_out = math.prod(shape), math.prod(node.output_shape)
    if isinstance(operation, Convolution | Pooling):
        return estimate(node.geometry).nonzeros
    if isinstance(operation, FullyConnected):
        return operation.n_in * n_out
    if isinstance(operation, PatternMap):
        return len(operation.pattern.cols)
    if isinstance(operation, Resize):
        return shape[0] * math.prod(int(matrix.nnz) for matrix in operation.axis_matrices(shape))
    if isinstance(operation, Scale | Rearrangement | Reduction):
        return max(n_in, n_out)
    return n_in * n_out


def joined(node: Node, inputs: Sequence[Parts]) -> dict[str, LinearMap]:
    """Return the maps from the sources to an addition or a concatenation, from those to its inputs."""
    operation = node.operation
    sources = list(dict.fromkeys(source for parts in inputs for source in parts))
    if isinstance(operation, Addition):
        signs = operation.signs or (1,) * len(inputs)
        spread = [
            {source: chain(_broadcast_map(shape, node, sign), linear) for source, linear in parts.items()}
            if sign < 0 or shape != node.output_shape
            else parts
            for parts, shape, sign in zip(inputs, node.input_shapes, signs, strict=True)
        ]
        return {source: summed([parts[source] for parts in spread if source in parts]) for source in sources}
    if not isinstance(operation, Concatenation):
        raise NoBoundError(f"{node.kind} has no matrix for its inputs")
    return {source: stack(source, inputs, node.input_shapes, operation.axis) for source in sources}


def stack(source: str, inputs: Sequence[Parts], shapes: tuple[Shape, ...], axis: int = 0) -> LinearMap:
    """Return the map from a source to several nodes together; zero where a node does not depend on it."""
    first = next(parts[source] for parts in inputs if source in parts)
    start = None if first.compact is None else first.compact.input_shape
    maps = []
    for parts, shape in zip(inputs, shapes, strict=True):
        if source in parts:
            maps.append(parts[source])
            continue
        maps.append(_zero_map(start, first, shape))
    return side_by_side(maps, axis)


def _zero_map(start: Shape | None, like: LinearMap, shape: Shape) -> LinearMap:
    compact = None
    if start is not None and start[1:] == shape[1:]:
        compact = map_forms.zero(start, shape)

    def build() -> Form | None:
        form = like.matrix
        if form is None:
            return None
        n_out = math.prod(shape)
        return Form("matrix", sparse.csr_array((n_out, form.value.shape[1])), form.input_shape, shape)

    return LinearMap((), compact, lambda: 0.0, build)


def _broadcast_map(shape: Shape, node: Node, sign: int) -> LinearMap:
    """Return one input of an addition, with its sign, spread over the output."""
    n_in, n_out = math.prod(shape), math.prod(node.output_shape)
    compact = None
    if shape == node.output_shape and shape:
        compact = Form("channels", np.full(shape[0], float(sign)), shape, shape)

    def build() -> Form | None:
        if n_out > MOST_ENTRIES:
            return None
        matrix = sign * selection_matrix(broadcast_columns(shape, node.output_shape), n_in)
        return Form("matrix", sparse.csr_array(matrix), shape, node.output_shape)

    return LinearMap((), compact, lambda: math.sqrt(n_out // n_in) * (1 + 1e-15), build, folded=compact is not None)
