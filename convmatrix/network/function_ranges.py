"""Ranges of functions on boxes: elementwise ones with their slopes, and those that divide by statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.arrays import EPSILON, LEAST, Array, sum_rounding
from convmatrix.network.entrywise import Elementwise
from convmatrix.network.normalisations import LocalResponseNormalisation, Normalisation, Softmax

if TYPE_CHECKING:
    from convmatrix.network.construction import Node
    from convmatrix.network.operations import Operation

    Interval = tuple[Array, Array]

_Points = Callable[..., tuple[float, ...]]


def _at_zero(**_: float) -> tuple[float, ...]:
    return (0.0,)


_TURNS: Final[dict[str, _Points]] = {
    **dict.fromkeys(("abs", "celu", "cosh", "elu", "leaky_relu", "power", "selu", "square"), _at_zero),
    "gelu": lambda: (-0.75179152469356445746,),
    "gelu_tanh": lambda: (-0.75246142207101625849,),
    "hard_swish": lambda: (-1.5,),
    "mish": lambda: (-1.1924312145154952121,),
    "silu": lambda: (-1.2784645427610737951,),
}
"""Where functions turn from falling to rising or back; those without an entry are monotone."""

_BENDS: Final[dict[str, _Points]] = {
    **dict.fromkeys(("abs", "atan", "celu", "elu", "erf", "leaky_relu", "power", "relu", "selu"), _at_zero),
    **dict.fromkeys(("acos", "asin", "asinh", "atanh", "sigmoid", "sinh", "softsign", "tanh"), _at_zero),
    "clip": lambda low, high: (low, high),
    "gelu": lambda: (-math.sqrt(2), math.sqrt(2)),
    "gelu_tanh": lambda: (-1.4185040087908283555, 1.4185040087908283555),
    "hard_swish": lambda: (-3.0, 3.0),
    "mish": lambda: (-2.25637639636079312, 1.4905711794854284593),
    "silu": lambda: (-2.3993572805154676678, 2.3993572805154676678),
    "soft_shrink": lambda threshold: (-threshold, threshold),
}
"""Where slopes turn or jump; between these points they are monotone."""

_DOMAINS: Final = {
    **dict.fromkeys(("acos", "asin", "atanh"), (-1.0, 1.0)),
    "acosh": (1.0, math.inf),
    "log": (math.ulp(0.0), math.inf),
    "sqrt": (0.0, math.inf),
}
"""Where functions are defined that are not defined everywhere."""

_STEPS: Final = ("ceil", "floor", "round", "sign")
_EXACT: Final = (*_STEPS, "abs", "clip", "hard_shrink", "identity", "relu", "threshold")
"""Functions whose floating-point values are exact."""

_LIMITS: Final[dict[str, Callable[..., tuple[float, float]]]] = {
    **dict.fromkeys(("cos", "erf", "sin", "softsign"), lambda: (-1.0, 1.0)),
    **dict.fromkeys(("exp", "softplus", "sqrt", "square"), lambda: (0.0, math.inf)),
    **dict.fromkeys(("hard_sigmoid", "sigmoid"), lambda **_: (0.0, 1.0)),
    "atan": lambda: (-math.pi / 2 * (1 + EPSILON), math.pi / 2 * (1 + EPSILON)),
    "clip": lambda low, high: (min(low, high), high),
    "log_sigmoid": lambda: (-math.inf, 0.0),
    "tanh": lambda scale, slope: (-abs(scale), abs(scale)),
}
"""Bounds that hold for all inputs, in floating-point arithmetic too."""

_VALUE_UNITS: Final = 64
_SLOPE_UNITS: Final = 256
"""Allowed errors of values and slopes in floating-point arithmetic, in units of rounding, with some room."""


def limits(operation: Operation, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return bounds on the values of an operation for all inputs of a shape; infinite where there are none."""
    if isinstance(operation, Elementwise) and operation.known is not None and operation.name.lower() in _LIMITS:
        return _LIMITS[operation.name.lower()](**operation.parameters)
    if isinstance(operation, Softmax):
        return -math.inf if operation.logarithm else 0.0, 0.0 if operation.logarithm else 1.0
    if isinstance(operation, Normalisation):
        limit = _most_normalised(operation, shape) * (1 + 4 * EPSILON)
        return -limit, limit
    return -math.inf, math.inf


def value_range(operation: Elementwise, low: Array, high: Array) -> Interval:
    """Return bounds on the values of an elementwise function on intervals, allowing for rounding.

    They hold in exact arithmetic and for what `Elementwise.evaluate` computes in double precision.

    Raises
    ------
    ValueError
        If the function is not one of `FUNCTIONS`, or is not bounded on one of the intervals.

    Examples
    --------
    >>> import numpy as np
    >>> from convmatrix.network import Elementwise
    >>> value_range(Elementwise("relu"), np.array([-1.0, 2.0]), np.array([0.5, 3.0]))
    (array([0., 2.]), array([0.5, 3. ]))
    """
    name, options = _known(operation, low, high)
    if name == "cos":
        least, most = _sine_range(low + math.pi / 2, high + math.pi / 2)
    elif name == "sin":
        least, most = _sine_range(low, high)
    elif name == "threshold":
        inside = (low <= options["threshold"]) & (high > options["threshold"])
        values = _value(operation, low), _value(operation, high)
        jump = np.where(inside, options["threshold"], values[0])
        least, most = np.minimum(np.minimum(*values), jump), np.maximum(np.maximum(*values), jump)
    else:
        points = [low, high, *(np.clip(turn, low, high) for turn in _points(_TURNS, name, options))]
        found = [_value(operation, point) for point in points]
        least, most = np.minimum.reduce(found), np.maximum.reduce(found)
    if name not in _EXACT:
        x, y = np.maximum(abs(low), abs(high)), np.maximum(abs(least), abs(most))
        if name == "hard_sigmoid":
            y = y + abs(options["alpha"]) * x + abs(options["beta"])
        elif name in ("gelu", "gelu_tanh", "hard_swish", "mish", "silu", "sin", "cos", "soft_shrink"):
            y = y + x
        elif name == "celu":
            y = y * (1 + x / abs(options["alpha"]))
        error = np.where(y > 0, _VALUE_UNITS * EPSILON * y + 1e-300, 0.0)
        least, most = least - error, most + error
    if name in _LIMITS:
        bottom, top = _LIMITS[name](**options)
        least, most = np.maximum(least, bottom), np.minimum(most, top)
    return _bounded("values", name, (low, high), (least, most))


def slope_range(operation: Elementwise, low: Array, high: Array) -> Interval:
    """Return bounds on the slopes of an elementwise function between any two points of intervals.

    Raises
    ------
    ValueError
        If the function is not one of `FUNCTIONS`, or its slopes are not bounded: it jumps, or is infinitely steep.

    Examples
    --------
    >>> import numpy as np
    >>> from convmatrix.network import Elementwise
    >>> slope_range(Elementwise("relu"), np.array([-1.0, 2.0, -3.0]), np.array([0.5, 3.0, 0.0]))
    (array([0., 1., 0.]), array([1., 1., 0.]))
    """
    name, options = _known(operation, low, high)
    known: Any = operation.known
    if name in _STEPS:
        least = most = np.where(_value(operation, low) == _value(operation, high), 0.0, math.inf)
    elif name == "soft_shrink" and options["threshold"] < 0:  # it jumps at 0
        least = most = np.where((low > 0) | (high < 0) | (low == high), 1.0, math.inf)
    elif name in ("threshold", "hard_shrink", "hard_sigmoid"):
        least, most = _kinked_slopes(name, options, low, high)
    elif name in ("sin", "cos"):
        turned = math.pi / 2 if name == "sin" else math.pi  # sin' = cos, cos' = -sin
        least, most = _sine_range(low + turned, high + turned)
    else:
        first, last = low, high
        if known.piecewise_linear:  # only the slopes inwards count at an end that is a kink
            first, last = np.minimum(np.nextafter(low, math.inf), high), np.maximum(np.nextafter(high, -math.inf), low)
        points = [first, last]
        bends: list[Any] = _points(_BENDS, name, options)
        if name == "tan":
            bends = [math.pi * np.rint((low + high) / (2 * math.pi))]
        for bend in bends:
            points += [np.clip(np.nextafter(bend, side), first, last) for side in (-math.inf, math.inf)]
        values = tuple(_slope(operation, point) for point in points)
        least, most = np.minimum.reduce(values), np.maximum.reduce(values)
    if not known.piecewise_linear:
        factor = abs(options["scale"] * options["slope"]) if name == "tanh" else 1.0
        x = np.maximum(abs(low), abs(high))
        y = np.maximum(abs(least), abs(most)) + (x if name in ("sin", "cos") else 0.0)
        if name == "celu":
            y = y * (1 + x / abs(options["alpha"]))
        error = _SLOPE_UNITS * EPSILON * (y + factor)
        least, most = least - error, most + error
    return _bounded("slopes", name, (low, high), (least, most))


def _known(operation: Elementwise, low: Array, high: Array) -> tuple[str, dict[str, float]]:
    """Return the name and the parameters of a known function; raise ValueError if it is not defined everywhere."""
    name, options = operation.name.lower(), operation.parameters
    if operation.known is None:
        raise ValueError(f"the range of the function {operation.name!r} is not known")
    exponent = options.get("exponent", 1.0)
    roots = (0.0, math.inf) if not exponent.is_integer() else (-math.inf, math.inf)
    bottom, top = _DOMAINS.get(name, roots)
    if (low < bottom).any() or (high > top).any():
        raise ValueError(
            f"the function {name} is not defined on all of its interval, {low.min():.6g} to {high.max():.6g}"
        )
    if name == "tan":
        half_turns = [end / math.pi - 0.5 for end in (low, high)]
        slack = 4 * EPSILON * (1 + np.maximum(*map(abs, half_turns)))
        if (np.floor(half_turns[0] - slack) < np.floor(half_turns[1] + slack)).any():
            raise ValueError("the function tan is not bounded on an interval that contains a pole")
    if (name == "reciprocal" or (name == "power" and exponent < 0)) and ((low <= 0) & (high >= 0)).any():
        raise ValueError(f"the function {name} is not bounded on an interval that contains 0")
    return name, options


def _points(table: dict[str, _Points], name: str, options: dict[str, float]) -> list[float]:
    return list(table[name](**options)) if name in table else []


def _value(operation: Elementwise, x: Array) -> Array:
    with np.errstate(all="ignore"):
        return operation.evaluate([x])


def _slope(operation: Elementwise, x: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(operation.slope(x), dtype=np.float64)


def _sine_range(low: Array, high: Array) -> Interval:
    """Return the range of the sine, without allowance for rounding of values; peaks are found with allowance."""
    slack = 8 * EPSILON * (np.maximum(abs(low), abs(high)) + 1)
    a, b = low - slack, high + slack
    turn = 2 * math.pi
    tops = np.floor((b - math.pi / 2) / turn) >= np.ceil((a - math.pi / 2) / turn)
    bottoms = np.floor((b + math.pi / 2) / turn) >= np.ceil((a + math.pi / 2) / turn)
    ends = np.sin(low), np.sin(high)
    far = slack > 1e-3
    least = np.where(bottoms | far, -1.0, np.minimum(*ends))
    return least, np.where(tops | far, 1.0, np.maximum(*ends))


def _kinked_slopes(name: str, options: dict[str, float], low: Array, high: Array) -> Interval:
    """Return the slopes of functions with two slopes from where their intervals lie; infinite across a jump."""
    across, slope = math.inf, 1.0
    if name == "hard_sigmoid":
        alpha, beta = options["alpha"], options["beta"]
        slack = 4 * EPSILON * (abs(alpha) * np.maximum(abs(low), abs(high)) + abs(beta) + 1)
        inner = (
            np.minimum(alpha * low, alpha * high) + beta - slack,
            np.maximum(alpha * low, alpha * high) + beta + slack,
        )
        flat, steep = (inner[1] <= 0) | (inner[0] >= 1), (inner[0] >= 0) & (inner[1] <= 1)
        across = slope = alpha
    elif name == "threshold":
        threshold = options["threshold"]
        flat, steep = high <= threshold, low > threshold
        across = 1.0 if options["value"] == threshold else math.inf
    else:
        threshold = options["threshold"]
        flat, steep = (low >= -threshold) & (high <= threshold), (low > threshold) | (high < -threshold)
        steep |= threshold <= 0
    both = np.where(flat, 0.0, np.where(steep, slope, across))
    return np.minimum(both, np.where(steep, slope, 0.0)), np.maximum(both, np.where(steep, slope, 0.0))


def _bounded(what: str, name: str, argument: Interval, result: Interval) -> Interval:
    """Return the range of a function on an interval; raise ValueError unless it is bounded."""
    finite = np.isfinite(result[0]) & np.isfinite(result[1])
    if not finite.all():
        place: Any = np.unravel_index(int(np.argmin(finite)), finite.shape)
        raise ValueError(
            f"no finite bound on the {what} of the function {name} on the interval [{argument[0][place]:.6g}, "
            f"{argument[1][place]:.6g}]; use a smaller box"
        )
    return result


# --- normalisations ---------------------------------------------------------------------------------------------------


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
            np.maximum(np.exp(least) * (1 - error) - LEAST, 0.0),
            np.minimum(np.exp(most) * (1 + error) + LEAST, 1.0),
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
    slack = 4 * (n + 8) * EPSILON * reach + LEAST
    least, most = low, high
    if operation.centred:  # entry minus mean: the entry itself has the coefficient 1 - 1/n
        least = low - (low + (high.sum(axis=combined, keepdims=True) - high)) / n - slack
        most = high - (high + (low.sum(axis=combined, keepdims=True) - low)) / n + slack
    near = np.maximum(np.maximum(least, -most), 0.0)
    variance = (near * near).sum(axis=combined, keepdims=True) / n
    return least, most, slack, variance - sum_rounding(variance, n) + operation.epsilon


def _most_normalised(operation: Normalisation, shape: tuple[int, ...]) -> float:
    """Return the largest modulus of a normalised entry: the others are equal, or zero if the mean is not subtracted."""
    grouped, combined = operation.grouping(shape)
    n = math.prod(grouped[axis] for axis in combined)
    return math.sqrt(n - 1 if operation.centred else n)


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
    limit = _most_normalised(operation, shape)
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
