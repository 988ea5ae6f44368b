"""Bounds on the norm (Lipschitz constant) of a node of a network, allowing for rounding errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.arrays import EPSILON
from convmatrix.boundary import SIGNED
from convmatrix.matrices import conv_matrix
from convmatrix.network import (
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    Extremum,
    FullyConnected,
    Input,
    LocalResponseNormalisation,
    Node,
    Normalisation,
    ParametricReLU,
    PatternMap,
    Pooling,
    Rearrangement,
    Reduction,
    Resize,
    Scale,
    Softmax,
)
from convmatrix.network.operations import broadcast_columns
from convmatrix.network.windows import axis_structure
from convmatrix.spectral.bounds import norm_bounds
from convmatrix.spectral.directed_rounding import scaled, times, unscaled, up

if TYPE_CHECKING:
    from collections.abc import Callable

    from convmatrix.arrays import Array

Bounds = tuple[float, float]

_LARGEST_SLOPES: Final[dict[str, Callable[..., float]]] = {
    "abs": lambda: 1.0,
    "asinh": lambda: 1.0,
    "atan": lambda: 1.0,
    "celu": lambda alpha: 1.0 if alpha > 0 else math.inf,
    "clip": lambda low, high: 1.0 if low < high else 0.0,
    "cos": lambda: 1.0,
    "elu": lambda alpha: max(1.0, abs(alpha)),
    "erf": lambda: 2 / math.sqrt(math.pi),
    "gelu": lambda: (1 + math.erf(1)) / 2 + math.exp(-1) / math.sqrt(math.pi),  # at the root of 2, where f'' is zero
    "gelu_tanh": lambda: 1.1289930686587718,
    "hard_sigmoid": lambda alpha, beta: abs(alpha),
    "hard_swish": lambda: 1.5,
    "identity": lambda: 1.0,
    "leaky_relu": lambda slope: max(1.0, abs(slope)),
    "log_sigmoid": lambda: 1.0,
    "mish": lambda: 1.0884981612517279,
    "relu": lambda: 1.0,
    "selu": lambda alpha, gamma: abs(gamma) * max(1.0, abs(alpha)),
    "sigmoid": lambda: 0.25,
    "silu": lambda: 1.0998393201288669,
    "sin": lambda: 1.0,
    "soft_shrink": lambda threshold: 1.0 if threshold >= 0 else math.inf,  # otherwise it jumps at 0
    "softplus": lambda: 1.0,
    "softsign": lambda: 1.0,
    "tanh": lambda scale, slope: abs(scale * slope),
}
"""The supremum of the absolute slope of each elementwise function, from its parameters."""

_MOST_DENSE: Final = 1024  # maximum number of rows or columns of a sparse matrix to decompose
_MOST_WORK: Final = 1e10  # maximum number of multiplications for the singular values of a dense layer
_BLOCK: Final = 2**22  # number of entries of a dense layer to convert at a time
_POWERS: Final = 8  # number of steps of the power method


class NoBoundError(ValueError):
    """Raised if no bound is known for a node; the message gives the reason."""


def node_norm(node: Node) -> Bounds:
    r"""Return lower and upper bounds on the norm of a node, the largest factor by which it lengthens a change of input.

    The norm is the smallest L with :math:`\|f(x) - f(x')\|_2 \le L \, \|x - x'\|_2` (the Lipschitz constant). For a
    linear node it is the spectral norm of its matrix, for its own boundary; for a maximum or an elementwise function,
    the largest norm of a Jacobian. A node with several inputs is a function of their concatenation. Both bounds allow
    for rounding.

    Raises
    ------
    NoBoundError
        If the node has no weights, or no bound is known for its operation.

    Examples
    --------
    >>> from convmatrix.network import Network, Input, Pooling
    >>> network = Network([Input((1, 6)), Pooling("max", 3, stride=1)])
    >>> lower, upper = node_norm(network.nodes[1])
    >>> lower <= 3**0.5 <= upper <= 1.7321
    True
    """
    try:
        lower, upper = _bounds(node)
    except OverflowError:
        lower = upper = math.inf
    if not math.isfinite(upper):
        raise NoBoundError(f"the norm of {node.kind} is not finite in double precision")
    return lower, upper


def unusable(operation: Any) -> str:
    """Return which constants of an operation, such as weights or slopes, are infinite or NaN; empty if none are."""
    for name, value in vars(operation).items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
            return f"{np.count_nonzero(~np.isfinite(value))} of its values {name!r} are infinite or NaN"
    nan = [name for name, value in getattr(operation, "parameters", {}).items() if math.isnan(value)]
    return f"its parameter {nan[0]!r} is NaN" if nan else ""


def _bounds(node: Node) -> Bounds:
    if reason := unusable(node.operation):
        raise NoBoundError(reason)
    operation = node.operation
    if isinstance(operation, Convolution | FullyConnected | PatternMap):
        return _weighted(operation)
    if isinstance(operation, Pooling):
        return _pooling(operation, node)
    if isinstance(operation, Scale):
        return _scale(operation, node)
    if isinstance(operation, Elementwise):
        return _elementwise(operation)
    if isinstance(operation, Addition):
        # A A^T is a sum over the inputs; at the vector of ones each contributes the number of times its entries are
        # repeated.
        n_out = math.prod(node.output_shape)
        return _root(sum(n_out // math.prod(shape) for shape in node.input_shapes))
    if isinstance(operation, Input | Concatenation):
        return 1.0, 1.0
    if isinstance(operation, Rearrangement):
        return _rearrangement(operation, node)
    if isinstance(operation, Resize):
        return _product(operation.axis_matrices(node.input_shapes[0]))
    if isinstance(operation, Reduction):
        return _reduction(operation, node)
    if isinstance(operation, Extremum):  # each output is an entry of one input, which may be repeated by broadcasting
        return _root(max(math.prod(node.output_shape) // math.prod(shape) for shape in node.input_shapes))
    if isinstance(operation, ParametricReLU):
        slope = max(1.0, float(np.abs(operation.slope).max()))
        return slope, slope
    if isinstance(operation, Softmax):
        return _softmax(operation, node)
    if isinstance(operation, Normalisation):
        return _normalisation(operation, node)
    if isinstance(operation, LocalResponseNormalisation):
        return _local_response(operation, node)
    raise NoBoundError(f"no bound is known for {node.kind}")


def _root(square: int) -> Bounds:
    """Return bounds on the square root of an integer."""
    root = math.isqrt(square)
    if root * root == square:
        return float(root), float(root)
    return math.sqrt(square) * (1 - EPSILON), math.sqrt(square) * (1 + EPSILON)


def _weighted(operation: Convolution | FullyConnected | PatternMap) -> Bounds:
    weight = operation.weight
    if weight is None:
        raise NoBoundError("the node has no weights")
    if isinstance(operation, PatternMap):
        pattern = operation.pattern
        if pattern.geometry is None or max(pattern.shape) <= _MOST_DENSE:
            return _matrix_norm(pattern.matrix(weight.astype(np.float64)))
        return norm_bounds(weight.astype(np.float64), pattern.geometry)
    if isinstance(operation, FullyConnected):
        return dense_bounds(weight)
    g = operation.geometry
    plain = not set(g.boundary).intersection(SIGNED)
    if plain and math.prod(g.kernel_shape) == 1 and g.sharing == "shared" and g.connections is None:
        # The matrix is the Kronecker product of the kernel and the matrix of how often each position reads each sample.
        kernels = weight.reshape(g.groups, -1, weight.shape[1])
        lower, upper = np.max([dense_bounds(kernel) for kernel in kernels], axis=0).tolist()
        low, high = _root(_most_rows([axis_structure(axis) for axis in g.axes]))
        return _less(lower * low), up(upper * high)
    if max(g.n_in, g.n_out) <= _MOST_DENSE:
        return _matrix_norm(conv_matrix(weight.astype(np.float64), g))
    return norm_bounds(weight.astype(np.float64), g)


def _most_rows(structures: list[Any]) -> int:
    """Return the largest number of rows that read the same sample, for a product over axes."""
    return math.prod(int((matrix != 0).sum(axis=0).max()) for matrix in structures)


def dense_bounds(weight: Array) -> Bounds:
    """Return bounds on the norm of a dense matrix: from singular values or, if it is large, sums and power steps."""
    weight, exponent = _near_one(weight)
    lower, upper = _dense_bounds(weight)
    return _less(lower, exponent), unscaled(upper, exponent)


def _near_one(weight: Array) -> tuple[Array, int]:
    """Return a matrix whose squares neither over- nor underflow, and the exponent of a factor; others as they are."""
    largest = float(np.abs(weight).max(initial=0.0)) if weight.dtype.kind == "f" else 1.0
    return (weight, 0) if largest == 0 or 1e-100 < largest < 1e100 else scaled(weight.astype(np.float64))


def _less(value: float, exponent: int = 0) -> float:
    """Return a number below ``value``, which was rounded, times a power of two."""
    try:
        return max(math.nextafter(math.ldexp(value * (1 - 2 * EPSILON), exponent), 0.0), 0.0)
    except OverflowError:
        return math.inf


def _dense_bounds(weight: Array) -> Bounds:
    small, large = sorted(weight.shape)
    error = 64 * (small + large) * EPSILON
    if small**2 * (large + 4.0 * small) <= _MOST_WORK:
        value = float(np.linalg.norm(weight.astype(np.float64), 2))
        return value * (1 - error), value * (1 + error)
    starts = range(0, len(weight), max(_BLOCK // weight.shape[1], 1))
    blocks = [slice(start, start + starts.step) for start in starts]  # in blocks, to bound memory use
    rows, columns, squares = 0.0, np.zeros(weight.shape[1]), 0.0
    for block in blocks:
        moduli = np.abs(weight[block]).astype(np.float64)
        rows, squares = max(rows, float(moduli.sum(axis=1).max())), squares + float(np.vdot(moduli, moduli))
        columns += moduli.sum(axis=0)
    upper = min(math.sqrt(squares), math.sqrt(rows * float(columns.max()))) * (1 + error)
    lower, v = 0.0, columns
    for _ in range(_POWERS):
        image = np.concatenate([weight[block].astype(np.float64) @ v for block in blocks])
        lower = float(np.linalg.norm(image) / max(float(np.linalg.norm(v)), 1e-300)) - error * upper
        v = np.sum([image[block] @ weight[block].astype(np.float64) for block in blocks], axis=0)
        v /= max(float(np.abs(v).max()), 1e-300)
    return max(lower, 0.0), upper


def _pooling(operation: Pooling, node: Node) -> Bounds:
    """Return bounds on the norm of a pooling: a product over its axes; for a maximum, from the windows per sample."""
    (shape,) = node.input_shapes
    structures = [axis_structure(axis) for axis in operation.geometry(shape).axes]
    if operation.method == "max":
        return _root(_most_rows(structures))
    divisors = operation.divisors(shape)
    largest = float(divisors.max())
    matrices = []
    for number, structure in enumerate(structures):
        # The divisors are a product over the axes as well: one factor is taken at the largest value on the other axes.
        others = tuple(axis for axis in range(divisors.ndim) if axis != number)
        along = divisors.max(axis=others) / (largest if number else 1.0)
        matrix = structure.astype(np.float64)
        matrix.data /= np.repeat(along, np.diff(matrix.indptr))
        matrices.append(matrix)
    lower, upper = _product(matrices)
    if operation.trained:
        if operation.coefficient is None:
            raise NoBoundError("the node has no weights")
        factor = float(np.abs(operation.coefficient).max())
        return _less(lower * factor), times(upper, factor)
    return lower, upper


def _product(matrices: list[Any]) -> Bounds:
    """Return bounds on the norm of a Kronecker product."""
    lower = upper = 1.0
    for matrix in matrices:
        low, high = _matrix_norm(matrix)
        lower, upper = lower * low * (1 - EPSILON), upper * high * (1 + EPSILON)
    return lower, upper


def _matrix_norm(matrix: Any) -> Bounds:
    """Return bounds on the norm of a sparse matrix: from singular values or, if it is large, from sums of moduli."""
    matrix, exponent = scaled(matrix)
    lower, upper = _near_bounds(matrix)
    return _less(lower, exponent), unscaled(upper, exponent)


def _near_bounds(matrix: Any) -> Bounds:
    """Return bounds on the norm of a sparse matrix whose largest entry is near 1."""
    rows, columns = matrix.shape
    error = 64 * (rows + columns) * EPSILON
    if max(rows, columns) <= _MOST_DENSE:
        value = float(np.linalg.norm(matrix.toarray(), 2))
        return value * (1 - error), value * (1 + error)
    moduli = abs(matrix)
    squares = moduli.multiply(moduli)
    lower = math.sqrt(max(squares.sum(axis=0).max(), squares.sum(axis=1).max()))
    upper = math.sqrt(moduli.sum(axis=0).max() * moduli.sum(axis=1).max())
    return lower * (1 - error), upper * (1 + error)


def _scale(operation: Scale, node: Node) -> Bounds:
    """Return bounds on the norm of a scale: the largest norm of its columns, which do not overlap."""
    (shape,) = node.input_shapes
    if isinstance(operation.scale, str):
        raise NoBoundError("the node has no weights")
    factors: Array = np.ones(node.output_shape)
    if operation.scale is not None:
        factors = np.broadcast_to(operation.spread(operation.scale, shape), node.output_shape).astype(np.float64)
    if shape == node.output_shape:
        largest = float(np.abs(factors).max())
        return largest, largest
    return _column_norms(broadcast_columns(shape, node.output_shape), factors.ravel(), math.prod(shape))


def _rearrangement(operation: Rearrangement, node: Node) -> Bounds:
    if operation.name in ("flatten", "reshape", "transpose", "take", "channel_shuffle"):
        return 1.0, 1.0
    index = operation.index(node.input_shapes[0])
    counts = np.bincount(index[index >= 0], minlength=1)
    return _root(int(counts.max()))


def _column_norms(columns: Array, factors: Array, n_columns: int) -> Bounds:
    """Return the largest norm of a column of a matrix with one entry per row."""
    factors, exponent = scaled(factors)
    squares = np.bincount(columns, factors**2, minlength=n_columns)
    value, error = math.sqrt(float(squares.max())), 4 * len(columns) * EPSILON
    return _less(value * (1 - error), exponent), unscaled(value * (1 + error), exponent)


def _elementwise(operation: Elementwise) -> Bounds:
    name = operation.name.lower()
    if operation.known is None or name not in _LARGEST_SLOPES:
        raise NoBoundError(f"no bound is known for the function {operation.name}")
    value = _LARGEST_SLOPES[name](**operation.parameters)
    if not math.isfinite(value):
        options = ", ".join(f"{key}={number:g}" for key, number in operation.parameters.items())
        raise NoBoundError(f"the function {operation.name} is not bounded in slope with {options}")
    error = 0.0 if (4 * value).is_integer() else 4 * EPSILON
    return value * (1 - error), value * (1 + error)


def _reduction(operation: Reduction, node: Node) -> Bounds:
    count = math.prod(node.input_shapes[0]) // math.prod(node.output_shape)
    if operation.method == "sum":
        return _root(count)
    if operation.method == "mean":
        lower, upper = _root(count)
        return lower / count * (1 - EPSILON), upper / count * (1 + EPSILON)
    return 1.0, 1.0


def _softmax(operation: Softmax, node: Node) -> Bounds:
    n = node.output_shape[operation.axis]
    if operation.logarithm:
        # I - 1 p^T and its complement 1 p^T are projections, so they have the same norm, sqrt(n) |p| < sqrt(n).
        return _root(n if n > 1 else 0)
    # Row i of diag(p) - p p^T has moduli that add up to 2 p_i (1 - p_i); p = (1/2, 1/2, 0, ...) is approached.
    value = 0.5 if n > 1 else 0.0
    return value, value


def _normalisation(operation: Normalisation, node: Node) -> Bounds:
    """Return bounds on the norm of a normalisation: that of its derivative where all entries are equal, or zero.

    The derivative is (P - y y^T / n) / sqrt(variance + epsilon), with the projection P that subtracts the mean.
    """
    (shape,) = node.input_shapes
    if operation.groups is None:
        n = math.prod(shape[axis] for axis in operation.combined_axes(shape))
    else:
        n = math.prod(shape) // operation.groups
    if operation.centred and n == 1:
        return 0.0, 0.0
    if operation.epsilon == 0:
        raise NoBoundError("no bound is known for a normalisation with epsilon=0, whose variance may be zero")
    value = 1 / math.sqrt(operation.epsilon)
    return value * (1 - 2 * EPSILON), value * (1 + 2 * EPSILON)


def _local_response(operation: LocalResponseNormalisation, node: Node) -> Bounds:
    r"""Return bounds on the norm of a local response normalisation.

    With b the sum in the brackets, the derivative is :math:`\mathrm{diag}(b^{-\beta})` minus a matrix whose row c is at
    most :math:`2 \beta b^{-\beta - 1} (b - k) \le 2 k^{-\beta} (\beta / (\beta + 1))^{\beta + 1}` long, if the window
    contains c; every channel is in at most n rows.
    """
    k, beta, size = operation.bias, operation.beta, operation.size
    if k <= 0 or beta < 0 or operation.alpha < 0 or (operation.low or 0) >= size:
        raise NoBoundError(f"no bound is known for {operation.kind} with these parameters")
    first = k**-beta
    rows = 2 * (beta / (beta + 1)) ** (beta + 1) if operation.alpha > 0 else 0.0
    upper = first * (1 + math.sqrt(min(size, node.output_shape[0])) * rows)
    return first * (1 - 16 * EPSILON), upper * (1 + 64 * EPSILON)
