r"""Operations of a network as equations and rectifiers whose weights are exact.

Every continuous piecewise linear function is a sum of rectifiers, such as :math:`\max(x, l) = l + \max(x - l, 0)` and
:math:`\max(a, b) = b + \max(a - b, 0)`. They are chosen so that there are few of them, and interval arithmetic with the
rules of `NormalForm.extrema` gives each function's own bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.memory import estimate
from convmatrix.network import (
    Concatenation,
    Convolution,
    Elementwise,
    Extremum,
    FullyConnected,
    Node,
    ParametricReLU,
    PatternMap,
    Pooling,
    Rearrangement,
    Reduction,
    Resize,
    Softmax,
)
from convmatrix.network.derivatives import named
from convmatrix.network.entrywise import spread
from convmatrix.network.operations import broadcast_columns
from convmatrix.network.windows import axis_structure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.constraints.equation_builder import EquationBuilder
    from convmatrix.pattern import WeightPattern

    Indices = NDArray[np.int64]
    Floats = NDArray[np.float64]


def n_terms(node: Node) -> int:
    """Return about how many terms the equations of a node have, from its shapes alone."""
    operation, n_out = node.operation, math.prod(node.output_shape)
    n_in = sum(map(math.prod, node.input_shapes))
    if isinstance(operation, Convolution):
        return estimate(operation.geometry).nonzeros + n_out
    if isinstance(operation, FullyConnected):
        return n_out * (operation.n_in + 1)
    if isinstance(operation, PatternMap):
        return operation.pattern.n_entries + n_out
    if isinstance(operation, Pooling):
        return estimate(node.geometry).nonzeros * (3 if operation.method == "max" else 1) + n_out
    if isinstance(operation, Resize):
        matrices = operation.axis_matrices(node.input_shapes[0])
        return int(node.output_shape[0]) * math.prod(int(matrix.nnz) for matrix in matrices) + n_out
    return 6 * (n_in + n_out)


def add_node(builder: EquationBuilder, node: Node, inputs: Sequence[Indices]) -> Indices:
    """Add the equations and rectifiers of a node; return the variables of its raveled values, given its inputs'.

    Raises a ValueError if the node is not piecewise linear and continuous, has no weights, or weights that float64 does
    not hold.
    """
    operation = node.operation
    with named(node):
        _check_weights(operation)
        if isinstance(operation, Rearrangement):
            return _rearranged(builder, operation, node, inputs[0])
        if isinstance(operation, Concatenation):
            shaped = [part.reshape(shape) for part, shape in zip(inputs, node.input_shapes, strict=True)]
            return np.concatenate(shaped, axis=operation.axis).ravel()
        if isinstance(operation, PatternMap):
            return _pattern(builder, operation.pattern, operation, inputs[0])
        if isinstance(operation, Convolution) and set(operation.geometry.boundary) != {"zero"}:
            return _pattern(builder, operation.geometry.pattern(), operation, inputs[0], node)
        if isinstance(operation, Pooling) and operation.trained:
            return _trained_pooling(builder, operation, node, inputs[0])
        if node.linear:
            matrix, bias = operation.affine(node.input_shapes, np.dtype(np.float64))
            return _affine(builder, matrix, bias, np.concatenate(inputs))
        if isinstance(operation, Elementwise):
            return _elementwise(builder, operation, inputs[0])
        if isinstance(operation, ParametricReLU):
            slopes = np.broadcast_to(spread(operation.slope, node.output_shape), node.output_shape)
            return _leaky_relu(builder, inputs[0], slopes.ravel().astype(np.float64))
        if isinstance(operation, Pooling):
            return _max_pooling(builder, operation, node, inputs[0])
        if isinstance(operation, Reduction):
            return _reduction(builder, operation, node, inputs[0])
        if isinstance(operation, Extremum):
            pairs = zip(inputs, node.input_shapes, strict=True)
            members = [part[broadcast_columns(shape, node.output_shape)] for part, shape in pairs]
            return _extremum(builder, np.stack(members, axis=1), operation.method)
        raise ValueError(_refusal(node))


def _refusal(node: Node) -> str:
    source = node.inputs[0]
    if isinstance(node.operation, Softmax):
        return (
            f"{node.kind} is not piecewise linear; classes are compared by what it reads, in the same order, so take "
            f"name={source!r} as the output"
        )
    return f"{node.kind} is not piecewise linear; take an earlier node as the output, such as name={source!r}"


def _check_weights(operation: Any) -> None:
    """Raise ValueError for weights that are not exactly float64 numbers."""
    for name in ("weight", "bias", "scale", "shift", "slope", "coefficient"):
        array = getattr(operation, name, None)
        if isinstance(array, np.ndarray):
            with np.errstate(all="ignore"):
                if not np.array_equal(array.astype(np.float64).astype(array.dtype), array):
                    raise ValueError(f"{name} is not finite or not exactly float64; convert it first")


# --- linear operations -----------------------------------------------------------------------------------------------


def _affine(builder: EquationBuilder, matrix: Any, bias: Floats, columns: Indices) -> Indices:
    """Return the variables of a matrix times variables, plus a bias."""
    starts = matrix.indptr.astype(np.int64)
    return builder.equate(matrix.data, columns[matrix.indices], starts[1:] - starts[:-1], bias)


def _pattern(
    builder: EquationBuilder, pattern: WeightPattern, operation: Any, columns: Indices, node: Node | None = None
) -> Indices:
    """Return the variables of a layer whose matrix may have sums of weights, which its pattern keeps apart."""
    if operation.weight is None:
        operation.affine([()])  # raises that weights are absent
    weight = np.asarray(operation.weight, np.float64).ravel()
    data = weight[pattern.weight_index]
    if pattern.coefficients is not None and pattern.coefficients.dtype.kind == "f":
        matrix, zeros = operation.affine([()], np.dtype(np.float64))  # as it is evaluated
        return _affine(builder, matrix, zeros, columns)
    if pattern.coefficients is not None:
        data = _exact_products(data, pattern.coefficients)
    bias = np.zeros(pattern.shape[0])
    if node is not None and operation.bias is not None:
        bias = operation.affine(node.input_shapes, np.dtype(np.float64))[1]
    starts = np.asarray(pattern.row_starts, np.int64)
    return builder.equate(data, columns[pattern.cols], starts[1:] - starts[:-1], bias)


def _exact_products(data: Floats, factors: Indices) -> Floats:
    """Return products of weights and small integers; raise ValueError if one is not exactly float64."""
    mantissa, _ = np.frexp(data)
    products = (mantissa * 2.0**53).astype(np.int64) * factors
    if (np.abs(factors) >= 2**9).any() or (products.astype(np.float64).astype(np.int64) != products).any():
        raise ValueError(
            "a weight times the boundary's coefficient is not exactly float64; use float32 weights or pad less"
        )
    return data * factors


def _rearranged(builder: EquationBuilder, operation: Rearrangement, node: Node, columns: Indices) -> Indices:
    """Return the variables of the entries that are read, and a constant for those that are filled."""
    index = operation.index(node.input_shapes[0])
    filled = index < 0
    result = columns[np.where(filled, 0, index)]
    if filled.any():
        result[filled] = builder.constants(np.full(int(filled.sum()), operation.fill))
    return result


def _trained_pooling(builder: EquationBuilder, operation: Pooling, node: Node, columns: Indices) -> Indices:
    """Return the variables of averages or sums, multiplied by the trained coefficients in separate equations."""
    operation.affine(node.input_shapes)  # raises if values are absent
    matrix, bias = replace(operation, trained=False, coefficient=None, bias=None).affine(node.input_shapes)
    pooled = _affine(builder, matrix, bias, columns)
    repeats = len(pooled) // node.output_shape[0]
    scale, shift = (
        np.repeat(np.asarray(value, np.float64).ravel(), repeats) for value in (operation.coefficient, operation.bias)
    )
    return builder.combine([(scale, pooled)], shift)


# --- functions of one variable ---------------------------------------------------------------------------------------


def _clip(builder: EquationBuilder, x: Indices, low: float, high: float) -> Indices:
    """Return the variables of ``min(max(x, low), high)``, which is high - max(high - max(x, low), 0)."""
    if low >= high:
        return builder.constants(np.full(len(x), high))
    if low > -math.inf:
        x = builder.combine([(1.0, builder.rectify(builder.combine([(1.0, x)], -low)))], low)
    if high < math.inf:
        x = builder.combine([(-1.0, builder.rectify(builder.combine([(-1.0, x)], high)))], high)
    return x


def _leaky_relu(builder: EquationBuilder, x: Indices, slope: float | Floats) -> Indices:
    """Return the variables of ``max(x, 0) - slope * max(-x, 0)``, where max(-x, 0) is max(x, 0) - x."""
    positive = builder.rectify(x)
    return builder.combine([(1.0, positive), (-np.asarray(slope), builder.combine([(1.0, positive), (-1.0, x)]))])


def _soft_shrink(builder: EquationBuilder, x: Indices, threshold: float) -> Indices:
    """Return the variables of ``max(x - t, 0) - max(-x - t, 0)``."""
    if threshold < 0:
        raise ValueError(f"soft_shrink with threshold={threshold} is not continuous; it must not be negative")
    above, below = (builder.rectify(builder.combine([(sign, x)], -threshold)) for sign in (1.0, -1.0))
    return builder.combine([(1.0, above), (-1.0, below)])


def _threshold(builder: EquationBuilder, x: Indices, threshold: float, value: float) -> Indices:
    if threshold != value:
        raise ValueError(f"threshold={threshold} with value={value} is not continuous; they must be equal")
    return _clip(builder, x, threshold, math.inf)


_FUNCTIONS: Final[dict[str, Callable[..., Indices]]] = {
    "abs": lambda builder, x: _leaky_relu(builder, x, -1.0),
    "clip": _clip,
    "hard_sigmoid": lambda builder, x, alpha, beta: _clip(builder, builder.combine([(alpha, x)], beta), 0.0, 1.0),
    "identity": lambda builder, x: x,
    "leaky_relu": _leaky_relu,
    "relu": lambda builder, x: builder.rectify(x),
    "soft_shrink": _soft_shrink,
    "threshold": _threshold,
}
"""The variables of each piecewise linear and continuous function, from its parameters."""


def _elementwise(builder: EquationBuilder, operation: Elementwise, x: Indices) -> Indices:
    name = operation.name.lower()
    if operation.known is None or name not in _FUNCTIONS:
        reason = "is not known" if operation.known is None else "is not piecewise linear and continuous"
        raise ValueError(
            f"the function {operation.name!r} {reason}, so it has no rectifiers; there are some for "
            f"{', '.join(_FUNCTIONS)}"
        )
    for parameter, value in operation.parameters.items():
        if math.isnan(value) or (math.isinf(value) and name != "clip"):
            raise ValueError(f"{parameter}={value} of the function {operation.name!r} is not finite")
    return _FUNCTIONS[name](builder, x, **operation.parameters)


# --- maxima and minima -----------------------------------------------------------------------------------------------


def _extremum(builder: EquationBuilder, members: Indices, method: str) -> Indices:
    """Return the variables of the maxima or minima of the rows of an array of variables, by a tree of pairs."""
    while members.shape[1] > 1:
        half = members.shape[1] // 2
        pairs = np.sort(np.stack([members[:, :half].ravel(), members[:, half : 2 * half].ravel()], axis=1), axis=1)
        distinct, places = np.unique(pairs, axis=0, return_inverse=True)
        first, second = distinct.T
        positive = builder.rectify(builder.combine([(1.0, first), (-1.0, second)]))
        terms = [(1.0, second), (1.0, positive)] if method == "max" else [(1.0, first), (-1.0, positive)]
        larger = builder.combine(terms)[places.ravel()].reshape(-1, half)
        members = np.concatenate([larger, members[:, 2 * half :]], axis=1)
    return members[:, 0]


def _max_pooling(builder: EquationBuilder, operation: Pooling, node: Node, columns: Indices) -> Indices:
    """Return the variables of maxima over windows, along one axis after the other."""
    x = columns.reshape(node.input_shapes[0])
    for number, axis in enumerate(operation.geometry(node.input_shapes[0]).axes, start=1):
        structure = axis_structure(axis)  # (n_outputs, n_samples)
        moved = np.moveaxis(x, number, 0)
        counts = np.diff(structure.indptr)
        result = np.empty((len(counts), *moved.shape[1:]), np.int64)
        for count in np.unique(counts):
            outputs = np.flatnonzero(counts == count)
            read = structure.indices[structure.indptr[outputs][:, None] + np.arange(count)]
            members = np.moveaxis(moved[read], 1, -1).reshape(-1, count)
            result[outputs] = _extremum(builder, members, "max").reshape(len(outputs), *moved.shape[1:])
        x = np.moveaxis(result, 0, number)
    return x.ravel()


def _reduction(builder: EquationBuilder, operation: Reduction, node: Node, columns: Indices) -> Indices:
    """Return the variables of maxima or minima along axes."""
    (shape,) = node.input_shapes
    axes = operation.combined_axes(shape)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    moved = columns.reshape(shape).transpose(*kept, *axes)
    return _extremum(builder, moved.reshape(math.prod(node.output_shape), -1), operation.method)
