r"""Bounds on the values of all nodes of a network whose input lies in a box, by interval arithmetic.

The bounds of a node hold for every choice of inputs within their own bounds, in exact arithmetic and in double
precision: to the range of the operation an a priori bound on the rounding errors is added. A sum of n products has an
error of at most :math:`\gamma_n \sum |a_i x_i|`, in any order (Higham, Accuracy and Stability of Numerical
Algorithms, section 3.1).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from convmatrix import options as validate
from convmatrix.arrays import EPSILON, sum_rounding
from convmatrix.memory import estimate
from convmatrix.network.architectures import as_network
from convmatrix.network.branches import Addition, Concatenation, Extremum, Product
from convmatrix.network.construction import Node, with_sources
from convmatrix.network.entrywise import Elementwise, ParametricReLU, Scale
from convmatrix.network.function_ranges import (
    local_response_range,
    normalisation_range,
    softmax_range,
    value_range,
)
from convmatrix.network.normalisations import LocalResponseNormalisation, Normalisation, Softmax
from convmatrix.network.operations import Array, Opaque, Operation
from convmatrix.network.rearrangements import Rearrangement
from convmatrix.network.reductions import MatrixProduct, Reduction
from convmatrix.network.resize import Resize
from convmatrix.network.weighted import Convolution, FullyConnected
from convmatrix.network.window_products import gathers
from convmatrix.network.windows import Pooling

_MOST_ENTRIES: Final = 10**6  # largest number of entries of a matrix built only for narrower bounds

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from convmatrix.network.acyclic_graph import Network

    Interval = tuple[Array, Array]


def interval_bounds(
    network: Network, lower: ArrayLike, upper: ArrayLike, names: Sequence[str] | None = None
) -> dict[str, Interval]:
    """Return bounds on the values of nodes of a network, for every input in a box.

    Parameters
    ----------
    network : Network
    lower, upper : array_like
        Ends of the box; they broadcast to the shape of one sample.
    names : sequence of str, optional
        The nodes of interest; by default all.

    Returns
    -------
    dict of str to (array, array)
        For each node, the lower and upper bounds of its entries, float64 arrays of its output's shape. They contain
        the values in exact arithmetic and those that `Network.values` computes in float64.

    Raises
    ------
    TypeError, ValueError
        If the box is empty, infinite, not of real numbers or of another shape, or no finite bounds are known for a
        node; the message names the node.

    Examples
    --------
    >>> import convmatrix as cm
    >>> from convmatrix.network import Convolution, Elementwise, Network
    >>> network = Network([Convolution(cm.ConvGeometry(3, 2), [1, -1]), Elementwise("relu")])
    >>> low, high = interval_bounds(network, 0, [[1, 2, 4]])["elementwise 2"]
    >>> low, high.round(9)
    (array([[0., 0.]]), array([[1., 2.]]))
    """
    network = as_network(network)
    box = box_bounds(network.input_shape, lower, upper)
    wanted = [node.name for node in network.nodes] if names is None else list(names)
    needed = with_sources(network.nodes, [network[name].name for name in wanted])
    bounds = {network.input.name: box}
    for node in network.nodes[1:]:
        if node.name in needed:
            bounds[node.name] = node_interval(node, [bounds[source] for source in node.inputs])
    return {name: bounds[name] for name in wanted}


def box_bounds(shape: tuple[int, ...], lower: ArrayLike, upper: ArrayLike) -> Interval:
    """Return the ends of a box of inputs as arrays of ``shape``, or raise an error with the first entry that is wrong.

    Raises
    ------
    TypeError
        If an end does not hold real numbers.
    ValueError
        If the box is empty, infinite or of another shape, or float64 does not hold an end.
    """
    ends = []
    for name, value in (("lower", lower), ("upper", upper)):
        array = validate.array(name, value)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{name} must hold real numbers, but has dtype {array.dtype}")
        try:
            given = np.broadcast_to(array, shape)
        except ValueError:
            raise ValueError(
                f"{name} has shape {array.shape}, which does not broadcast to the input's shape {shape}"
            ) from None
        end = given.astype(np.float64)
        _refuse_rounding(name, given, end)
        if not np.isfinite(end).all():
            place = tuple(np.argwhere(~np.isfinite(end))[0].tolist())
            raise ValueError(f"{name} is {end[place]} at {place}; bounds of the input must be finite")
        ends.append(end)
    low, high = ends
    if (low > high).any():
        place = tuple(np.argwhere(low > high)[0].tolist())
        raise ValueError(f"the box is empty: at {place} lower is {low[place]}, but upper is {high[place]}")
    return low, high


def _refuse_rounding(name: str, given: Array, rounded: Array) -> None:
    """Raise ValueError with the first bound that float64 does not hold."""
    large = np.abs(rounded) >= 2.0**53 if given.dtype.kind in "iu" else given != rounded
    for place in map(tuple, np.argwhere(large & np.isfinite(rounded)).tolist()):
        if given.dtype.kind == "f" or int(given[place]) != int(rounded[place]):
            text = f"which float64 rounds to {rounded[place]:.17g}; give bounds that float64 holds"
            raise ValueError(f"{name} is {given[place]} at {place}, {text}")


def node_interval(node: Node, inputs: Sequence[Interval]) -> Interval:
    """Return bounds on the values of a node from those of its inputs.

    Raises
    ------
    ValueError
        If no finite bounds are known; the message names the node.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            low, high = _RULES.get(type(node.operation), _linear)(node.operation, node, list(inputs))
    except ValueError as error:
        raise ValueError(f"node {node.name!r}: {error}") from None
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError(f"node {node.name!r}: its values are not bounded in double precision; use a smaller box")
    return low, high


def _linear(operation: Operation, node: Node, inputs: list[Interval]) -> Interval:
    """Return bounds on the values of an operation: by its matrix if it is linear."""
    if isinstance(operation, Opaque):
        operation.evaluate([])  # raises UnknownOperatorError with the operator's name
    if not operation.linear:
        raise ValueError(f"no bounds are known for {node.kind}")
    matrix, bias = operation.affine(node.input_shapes, np.dtype(np.float64))
    moduli = abs(matrix)
    low, high = (np.concatenate([end.ravel() for end in ends]) for ends in zip(*inputs, strict=True))
    terms = int(np.diff(matrix.indptr).max(initial=0))
    ends = _centred(lambda x: matrix @ x + bias, lambda x: (moduli @ x.T).T, low, high, terms)
    return ends[0].reshape(node.output_shape), ends[1].reshape(node.output_shape)


def _centred(
    multiply: Callable[[Array], Array],
    multiply_moduli: Callable[[Array], Array],
    low: Array,
    high: Array,
    terms: int,
    extra: float = 0.0,
) -> Interval:
    """Return the range of an affine map on a box from its centre and half widths.

    ``multiply`` applies the map to one sample. ``multiply_moduli`` multiplies a batch of two samples by the absolute
    values of the coefficients. ``extra`` bounds errors relative to the norm of the sample, for products by Fourier
    transforms.
    """
    centre = low + (high - low) / 2
    half = np.nextafter(np.maximum(high - centre, centre - low), math.inf)
    half[low == high] = 0.0
    y = multiply(centre)
    reach = abs(centre) + half
    spread, scale = multiply_moduli(np.stack([half, reach]))
    spread = np.maximum(spread, 0.0)
    error = sum_rounding(2 * abs(scale) + abs(y), terms) + extra * float(np.linalg.norm(reach))
    return y - (spread + error), y + (spread + error)


def _convolution(operation: Convolution, node: Node, inputs: list[Interval]) -> Interval:
    g, ((low, high),) = operation.geometry, inputs
    unsigned = set(g.boundary) <= {"zero", "circular", "reflect", "symmetric", "replicate"}
    collides = set(g.boundary) != {"zero"}  # taps that read one sample may cancel, which only the matrix shows
    if operation.weight is None or not unsigned or (collides and estimate(g).nonzeros <= _MOST_ENTRIES):
        return _linear(operation, node, inputs)
    moduli = replace(operation, weight=np.abs(operation.weight).astype(np.float64), bias=None)
    extra = 0.0
    if not gathers(g):  # it may be computed by Fourier transforms, whose errors are relative to norms
        points = math.prod(g.input_shape) + math.prod(g.output_shape) + math.prod(g.kernel_shape)
        large = math.prod(g.kernel_shape) > 16
        extra = 64 * EPSILON * (math.log2(points) + 2) * float(np.linalg.norm(moduli.weight)) if large else 0.0
    terms = g.in_channels * math.prod(g.kernel_shape)
    return _centred(lambda x: operation.evaluate([x[None]])[0], lambda x: moduli.evaluate([x]), low, high, terms, extra)


def _dense(operation: FullyConnected, node: Node, inputs: list[Interval]) -> Interval:
    if operation.weight is None:
        operation.evaluate([inputs[0][0][None]])  # raises
    moduli = replace(operation, weight=np.abs(operation.weight).astype(np.float64), bias=False)
    n = operation.n_in
    return _centred(lambda x: operation.evaluate([x[None]])[0], lambda x: moduli.evaluate([x]), *inputs[0], n)


def _pooling(operation: Pooling, node: Node, inputs: list[Interval]) -> Interval:
    (low, high), (shape,) = inputs[0], node.input_shapes
    if operation.method == "max":
        return _ends(operation, node, inputs)
    plain = replace(operation, trained=False, coefficient=None, bias=None) if operation.trained else operation
    terms = sum(axis.n_taps for axis in plain.geometry(shape).axes)
    low, high = _averaged(plain, low, high, terms)
    if not operation.trained:
        return low, high
    if operation.coefficient is None or operation.bias is None:
        operation.evaluate([low[None]])  # raises
    constants = Scale(operation.coefficient, operation.bias)
    return _scaled(constants, node.output_shape, node.output_shape, low, high)


def _reduction(operation: Reduction, node: Node, inputs: list[Interval]) -> Interval:
    if not operation.linear:
        return _ends(operation, node, inputs)
    return _averaged(operation, *inputs[0], math.prod(node.input_shapes[0]) // math.prod(node.output_shape))


def _resize(operation: Resize, node: Node, inputs: list[Interval]) -> Interval:
    if operation.mode == "nearest":
        return _ends(operation, node, inputs)
    if operation.mode == "cubic":
        return _linear(operation, node, inputs)
    terms = sum(int(np.diff(matrix.indptr).max(initial=0)) for matrix in operation.axis_matrices(node.input_shapes[0]))
    return _averaged(operation, *inputs[0], terms)


def _averaged(operation: Operation, low: Array, high: Array, terms: int) -> Interval:
    """Return the range of sums with weights that are not negative."""
    reach = np.maximum(abs(low), abs(high))
    least, most, scale = operation.evaluate([np.stack([low, high, reach])])
    error = sum_rounding(abs(scale), terms)
    bottom = 0.0 if (low >= 0).all() else -math.inf  # as are their sums, rounded or not
    return np.maximum(least - error, bottom), most + error


def _ends(operation: Operation, node: Node, inputs: list[Interval]) -> Interval:
    """Return the values at both ends of the intervals: the exact range of an operation that increases in its inputs."""
    lows, highs = zip(*inputs, strict=True)
    return operation.evaluate([x[None] for x in lows])[0], operation.evaluate([x[None] for x in highs])[0]


def _scaled(operation: Scale, shape: tuple[int, ...], out: tuple[int, ...], low: Array, high: Array) -> Interval:
    ends = operation.evaluate([np.stack([low, high])])
    least, most = ends.min(axis=0), ends.max(axis=0)
    if operation.scale is None and operation.shift is None:
        return least, most
    scale = 1.0 if operation.scale is None else abs(operation.spread(operation.scale, shape))
    shift = 0.0 if operation.shift is None else abs(operation.spread(operation.shift, shape))
    lead = (1,) * (len(out) - len(shape))
    reach = np.broadcast_to(scale * np.maximum(abs(low), abs(high)).reshape(lead + shape) + shift, out)
    error = sum_rounding(reach, 2)
    return least - error, most + error


def _parametric(operation: ParametricReLU, node: Node, inputs: list[Interval]) -> Interval:
    low, high = inputs[0]
    values = operation.evaluate([np.stack([low, high, np.clip(0.0, low, high)])])
    least, most = values.min(axis=0), values.max(axis=0)
    return least - sum_rounding(abs(least), 1), most + sum_rounding(abs(most), 1)


def _addition(operation: Addition, node: Node, inputs: list[Interval]) -> Interval:
    signs = operation.signs or (1,) * len(inputs)
    lows = [low if sign > 0 else high for sign, (low, high) in zip(signs, inputs, strict=True)]
    highs = [high if sign > 0 else low for sign, (low, high) in zip(signs, inputs, strict=True)]
    least, most = (operation.evaluate([x[None] for x in ends])[0] for ends in (lows, highs))
    reach: Array = np.zeros(node.output_shape)
    for low, high in inputs:
        reach = reach + np.maximum(abs(low), abs(high))
    error = sum_rounding(reach, len(inputs))
    return least - error, most + error


def _product(operation: Product, node: Node, inputs: list[Interval]) -> Interval:
    least = most = np.ones(1)
    by_name = dict(zip(node.inputs, inputs, strict=True))
    for name, count in Counter(node.inputs).items():  # powers of one input keep their sign
        low, high = by_name[name]
        ends = low**count, high**count
        if count % 2 == 0:
            zero = (low <= 0) & (high >= 0)
            ends = np.where(zero, 0.0, np.minimum(*ends)), np.maximum(*ends)
        corners = least * ends[0], least * ends[1], most * ends[0], most * ends[1]
        least, most = np.minimum.reduce(corners), np.maximum.reduce(corners)
    error = sum_rounding(np.maximum(abs(least), abs(most)), 2 * len(inputs))
    squares = all(count % 2 == 0 for count in Counter(node.inputs).values())
    return np.maximum(least - error, 0.0 if squares else -math.inf), most + error


def _matrix_product(operation: MatrixProduct, node: Node, inputs: list[Interval]) -> Interval:
    centres = [low + (high - low) / 2 for low, high in inputs]
    halves = [np.nextafter(np.maximum(b - c, c - a), math.inf) for (a, b), c in zip(inputs, centres, strict=True)]
    left, right = (abs(c) + h for c, h in zip(centres, halves, strict=True))
    y = operation.evaluate([c[None] for c in centres])[0]
    first = operation.evaluate([abs(centres[0])[None], halves[1][None]])[0]
    spread = first + operation.evaluate([halves[0][None], right[None]])[0]
    scale = operation.evaluate([left[None], right[None]])[0]
    error = sum_rounding(3 * abs(scale), node.input_shapes[0][-1])
    return y - (spread + error), y + (spread + error)


_RULES: Final[dict[type[Operation], Callable[..., Interval]]] = {
    Addition: _addition,
    Convolution: _convolution,
    Concatenation: _ends,
    Elementwise: lambda operation, node, inputs: value_range(operation, *inputs[0]),
    Extremum: _ends,
    FullyConnected: _dense,
    LocalResponseNormalisation: local_response_range,
    MatrixProduct: _matrix_product,
    Normalisation: normalisation_range,
    ParametricReLU: _parametric,
    Pooling: _pooling,
    Product: _product,
    Rearrangement: _ends,
    Reduction: _reduction,
    Resize: _resize,
    Scale: lambda operation, node, inputs: _scaled(operation, node.input_shapes[0], node.output_shape, *inputs[0]),
    Softmax: softmax_range,
}
"""The rules by operation; any other one that is linear is multiplied by its matrix."""
