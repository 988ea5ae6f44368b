"""Operations entry by entry: elementwise functions with their slopes, and per-channel scales and shifts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import special

from convmatrix.network.boxes import Box, box_shape, broadcast_box, sum_broadcast, whole
from convmatrix.network.operations import (
    MissingWeightsError,
    Operation,
    Shape,
    broadcast,
    broadcast_columns,
    frozen_array,
    like,
    selection_matrix,
    shrink,
)

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.network.operations import Mask


@dataclass(frozen=True)
class Function:
    """A scalar function applied to every entry.

    Attributes
    ----------
    value, slope : callable
        ``f(x, **parameters)`` and ``f'(x, **parameters)`` on floating-point arrays, in their dtype. At a kink the slope
        is that of PyTorch's backward pass.
    piecewise_linear : bool
        Whether f is affine on each of finitely many intervals, so that a network of such functions equals its
        linearisation near almost every point.
    defaults : dict
        Names and default values of the parameters.
    """

    value: Callable[..., Array]
    slope: Callable[..., Array]
    piecewise_linear: bool
    defaults: dict[str, float]


# Python's own numbers do not change the dtype of an array that they multiply, but `numpy.where` of two of them would.


def _clip(x: Array, low: float, high: float) -> Any:
    bounds: list[Any] = [low, high]
    if x.dtype.kind != "f" and all(abs(bound) < 2**63 and float(bound).is_integer() for bound in bounds):
        bounds = [int(bound) for bound in bounds]
    return np.clip(x, *bounds)


def _clip_slope(x: Array, low: float, high: float) -> Any:
    # At a bound PyTorch's clamp passes the gradient on; its ReLU6 does not, but the two differ on a null set only.
    return ((x >= low) & (x <= high)).astype(x.dtype)


def _leaky_relu(x: Array, slope: float) -> Any:
    return np.where(x > 0, x, slope * x)


def _leaky_relu_slope(x: Array, slope: float) -> Any:
    return np.where(x > 0, x.dtype.type(1), x.dtype.type(slope))


def _gelu(x: Array) -> Any:
    return x * special.ndtr(x)


def _gelu_slope(x: Array) -> Any:
    density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return special.ndtr(x) + x * density


def _gelu_tanh(x: Array) -> Any:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _gelu_tanh_slope(x: Array) -> Any:
    factor = math.sqrt(2 / math.pi)
    t = np.tanh(factor * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * factor * (1 + 3 * 0.044715 * x * x)


def _sigmoid_slope(x: Array) -> Any:
    y = special.expit(x)
    return y * (1 - y)


def _silu_slope(x: Array) -> Any:
    y = special.expit(x)
    return y * (1 + x * (1 - y))


def _tanh(x: Array, scale: float, slope: float) -> Any:
    return scale * np.tanh(slope * x)


def _tanh_slope(x: Array, scale: float, slope: float) -> Any:
    t = np.tanh(slope * x)
    return scale * slope * (1 - t * t)


def _elu(x: Array, alpha: float, gamma: float = 1.0) -> Any:
    return gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _elu_slope(x: Array, alpha: float, gamma: float = 1.0) -> Any:
    return gamma * np.where(x > 0, x.dtype.type(1), alpha * np.exp(np.minimum(x, 0)))


def _hard_sigmoid(x: Array, alpha: float, beta: float) -> Any:
    return np.clip(alpha * x + beta, 0, 1)


def _hard_sigmoid_slope(x: Array, alpha: float, beta: float) -> Any:
    inner = alpha * x + beta
    return alpha * ((inner > 0) & (inner < 1)).astype(x.dtype)


def _hard_swish_slope(x: Array) -> Any:
    return np.where(x <= -3, x.dtype.type(0), np.where(x >= 3, x.dtype.type(1), x / 3 + 0.5))


def _hard_shrink(x: Array, threshold: float) -> Any:
    return np.where(np.abs(x) > threshold, x, x.dtype.type(0))


def _hard_shrink_slope(x: Array, threshold: float) -> Any:
    return (np.abs(x) > threshold).astype(x.dtype)


def _soft_shrink(x: Array, threshold: float) -> Any:
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0)


def _threshold(x: Array, threshold: float, value: float) -> Any:
    return np.where(x > threshold, x, x.dtype.type(value))


def _threshold_slope(x: Array, threshold: float, value: float) -> Any:
    return (x > threshold).astype(x.dtype)


def _mish_slope(x: Array) -> Any:
    t = np.tanh(np.logaddexp(x, x.dtype.type(0)))
    return t + x * (1 - t * t) * special.expit(x)


def _erf_slope(x: Array) -> Any:
    return 2 / math.sqrt(math.pi) * np.exp(-x * x)


def _power_slope(x: Array, exponent: float) -> Any:
    return exponent * x ** (exponent - 1)


def _celu(x: Array, alpha: float) -> Any:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def _celu_slope(x: Array, alpha: float) -> Any:
    return np.where(x > 0, x.dtype.type(1), np.exp(np.minimum(x, 0) / alpha))


def _piecewise(value: Callable[..., Array], slope: Callable[..., Array], /, **defaults: float) -> Function:
    return Function(value, slope, piecewise_linear=True, defaults=defaults)


def _smooth(value: Callable[..., Array], slope: Callable[..., Array], /, **defaults: float) -> Function:
    return Function(value, slope, piecewise_linear=False, defaults=defaults)


FUNCTIONS: Final[dict[str, Function]] = {
    "abs": _piecewise(np.abs, np.sign),
    "atan": _smooth(np.arctan, lambda x: 1 / (1 + x * x)),
    "ceil": _piecewise(np.ceil, np.zeros_like),
    "celu": _smooth(_celu, _celu_slope, alpha=1.0),
    "clip": _piecewise(_clip, _clip_slope, low=0.0, high=6.0),
    "cos": _smooth(np.cos, lambda x: -np.sin(x)),
    "elu": _smooth(_elu, _elu_slope, alpha=1.0),
    "erf": _smooth(special.erf, _erf_slope),
    "exp": _smooth(np.exp, np.exp),
    "floor": _piecewise(np.floor, np.zeros_like),
    "gelu": _smooth(_gelu, _gelu_slope),
    "gelu_tanh": _smooth(_gelu_tanh, _gelu_tanh_slope),
    "hard_shrink": _piecewise(_hard_shrink, _hard_shrink_slope, threshold=0.5),
    "hard_sigmoid": _piecewise(_hard_sigmoid, _hard_sigmoid_slope, alpha=1 / 6, beta=0.5),
    "hard_swish": _smooth(lambda x: x * _hard_sigmoid(x, 1 / 6, 0.5), _hard_swish_slope),
    "identity": _piecewise(lambda x: x, np.ones_like),
    "leaky_relu": _piecewise(_leaky_relu, _leaky_relu_slope, slope=0.01),
    "log": _smooth(np.log, np.reciprocal),
    "log_sigmoid": _smooth(special.log_expit, lambda x: special.expit(-x)),
    "mish": _smooth(lambda x: x * np.tanh(np.logaddexp(x, x.dtype.type(0))), _mish_slope),
    "power": _smooth(lambda x, exponent: x**exponent, _power_slope, exponent=2.0),
    "relu": _piecewise(lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(x.dtype)),
    "reciprocal": _smooth(np.reciprocal, lambda x: -np.reciprocal(x * x)),
    "round": _piecewise(np.rint, np.zeros_like),
    "selu": _smooth(_elu, _elu_slope, alpha=1.6732632423543772, gamma=1.0507009873554805),
    "sigmoid": _smooth(special.expit, _sigmoid_slope),
    "sign": _piecewise(np.sign, np.zeros_like),
    "silu": _smooth(lambda x: x * special.expit(x), _silu_slope),
    "sin": _smooth(np.sin, np.cos),
    "soft_shrink": _piecewise(_soft_shrink, _hard_shrink_slope, threshold=0.5),
    "softplus": _smooth(lambda x: np.logaddexp(x, x.dtype.type(0)), special.expit),
    "softsign": _smooth(lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
    "sqrt": _smooth(np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "square": _smooth(np.square, lambda x: 2 * x),
    "tanh": _smooth(_tanh, _tanh_slope, scale=1.0, slope=1.0),
    "threshold": _piecewise(_threshold, _threshold_slope, threshold=0.0, value=0.0),
}
"""The functions that `Elementwise` knows by name."""

_OF_INTEGERS: Final = ("abs", "clip", "identity", "relu", "square")  # whose values at integers are integers


@dataclass(frozen=True)
class Elementwise(Operation):
    """A scalar function applied to every entry.

    Parameters
    ----------
    name : str
        One of `FUNCTIONS`, such as ``"relu"``, or any name if ``function`` is given. With neither, it stands for an
        arbitrary function: it has no values, but what holds for every function can still be decided.
    parameters : dict, optional
        The function's parameters, such as ``{"slope": 0.1}`` for ``"leaky_relu"``.
    function : callable, optional
        A function of arrays that replaces the named one; its slope is not known.

    Examples
    --------
    >>> import numpy as np
    >>> Elementwise("leaky_relu", {"slope": 0.1}).evaluate([np.array([[-2.0, 3.0]])])
    array([[-0.2,  3. ]])
    """

    name: str = "elementwise function"
    parameters: dict[str, float] = field(default_factory=dict)
    function: Callable[[Array], Array] | None = None
    kind = "elementwise"

    def __post_init__(self) -> None:
        known = self.known
        if known is None:
            return
        unknown = self.parameters.keys() - known.defaults.keys()
        if unknown:
            raise ValueError(
                f"{self.name} has no parameter {', '.join(sorted(unknown))}; "
                f"it has {', '.join(known.defaults) or 'none'}"
            )
        values = {name: float(value) for name, value in {**known.defaults, **self.parameters}.items()}
        object.__setattr__(self, "parameters", values)

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.parameters.items())), self.function))

    @property
    def known(self) -> Function | None:
        """The named function, or None for a user's own or an arbitrary one."""
        return None if self.function is not None else FUNCTIONS.get(self.name.lower())

    @property
    def exact(self) -> bool:
        """Whether the function is piecewise linear."""
        return self.known is not None and self.known.piecewise_linear

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the input."""
        return input_shapes[0]

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return f(x)."""
        (x,) = inputs
        if self.function is not None:
            y = np.asarray(self.function(x))
            if y.shape != x.shape:
                raise ValueError(
                    f"the function {self.name!r} maps shape {x.shape} to {y.shape}; it must keep the shape"
                )
            return y.astype(x.dtype, copy=False) if x.dtype.kind == "f" else y
        if self.known is None:
            raise MissingWeightsError(f"{self.name!r} stands for any function, so it has no values; give function=")
        if x.dtype.kind != "f" and self.name.lower() not in _OF_INTEGERS:
            x = x.astype(np.float64)
        return self.known.value(x, **self.parameters)

    def slope(self, x: Array) -> Array:
        """Return f'(x)."""
        if self.known is None:
            raise MissingWeightsError(f"the slope of {self.name!r} is not known")
        return self.known.slope(x if x.dtype.kind == "f" else x.astype(np.float64), **self.parameters)

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return ``f'(x) t`` for each tangent t."""
        return tangents[0] * self.slope(inputs[0])

    def cotangent(self, inputs: Sequence[Array], cotangents: Array) -> list[Array]:
        """Return ``f'(x) g`` for each cotangent g."""
        return [cotangents * self.slope(inputs[0])]

    def read_boxes(self, box: Box, input_shapes: Sequence[Shape]) -> list[Box]:
        """Return the box itself."""
        return [box]

    def local_cotangent(
        self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Sequence[Box]
    ) -> list[Array]:
        """Return the product with the slopes in the box."""
        return [cotangents * self.slope(inputs[0][box])]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the marked entries themselves."""
        return [outputs]


@dataclass(frozen=True, eq=False)
class ParametricReLU(Operation):
    """The maximum of x and 0 plus a trained slope times their minimum (He, Zhang, Ren, Sun, 2015).

    Parameters
    ----------
    slope : array_like
        Broadcasts to a sample; a one-dimensional one has one entry per channel.

    Examples
    --------
    >>> import numpy as np
    >>> ParametricReLU([0.1, 0.5]).evaluate([np.array([[[4.0, -4.0], [4.0, -4.0]]])])
    array([[[ 4. , -0.4],
            [ 4. , -2. ]]])
    """

    slope: Any
    kind = "parametric relu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope", frozen_array(self.slope))

    @property
    def exact(self) -> bool:
        """The function is piecewise linear."""
        return True

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the input."""
        (shape,) = input_shapes
        if broadcast([shape, spread(self.slope, shape).shape], self.kind) != shape:
            raise ValueError(f"slopes of shape {self.slope.shape} do not broadcast to a sample of shape {shape}")
        return shape

    def _slopes(self, x: Array) -> Array:
        """Return the slope at each entry of a batch."""
        slope = like(spread(self.slope, x.shape[1:]), x)
        return np.where(x > 0, x.dtype.type(1), slope)

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return ``max(x, 0) + slope * min(x, 0)``."""
        (x,) = inputs
        return x * self._slopes(x)

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return the slopes times the tangents."""
        return tangents[0] * self._slopes(inputs[0][None])

    def cotangent(self, inputs: Sequence[Array], cotangents: Array) -> list[Array]:
        """Return the slopes times the cotangents."""
        return [cotangents * self._slopes(inputs[0][None])]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the marked entries themselves."""
        return [outputs]


def spread(array: Array, shape: Shape) -> Array:
    """Return a constant in a shape that broadcasts to a sample: a vector has one entry per channel."""
    return array.reshape(-1, *(1,) * (len(shape) - 1)) if array.ndim == 1 and len(shape) > 1 else array


@dataclass(frozen=True, eq=False)
class Scale(Operation):
    """Multiplication by a constant array and addition of one: batch normalisation at inference, biases, constants.

    Parameters
    ----------
    scale, shift : array_like, "channel" or None
        Arrays that broadcast to a sample; a one-dimensional one has one entry per channel. ``"channel"`` stands for
        trained values, one per channel, that are absent; None for a factor of 1 or a term of 0.
    trained : bool
        Whether the constants are parameters.

    Examples
    --------
    >>> import numpy as np
    >>> Scale([1.0, 2.0], [0.0, 1.0]).evaluate([np.ones((1, 2, 3))])
    array([[[1., 1., 1.],
            [3., 3., 3.]]])
    """

    scale: Any = None
    shift: Any = None
    trained: bool = True
    kind = "scale"
    linear = True

    def __post_init__(self) -> None:
        for name in ("scale", "shift"):
            value = getattr(self, name)
            if isinstance(value, str) and value != "channel":
                raise ValueError(f"{name}={value!r} is unknown; give an array, 'channel' or None")
            object.__setattr__(self, name, frozen_array(value))

    def spread(self, value: Any, shape: Shape) -> Array:
        """Return one of the two constants in a shape that broadcasts to a sample of ``shape``."""
        if isinstance(value, str):
            raise MissingWeightsError("the scale has no values; give arrays to evaluate it")
        return spread(value, shape)

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the broadcast shape of the input and the constants."""
        (shape,) = input_shapes
        shapes = [self.spread(v, shape).shape for v in (self.scale, self.shift) if isinstance(v, np.ndarray)]
        return broadcast([shape, *shapes], self.kind)

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return ``scale * x + shift``."""
        (x,) = inputs
        out = self.output_shape([x.shape[1:]])
        y = x.reshape(len(x), *(1,) * (len(out) + 1 - x.ndim), *x.shape[1:])
        if self.scale is not None:
            y = y * np.broadcast_to(like(self.spread(self.scale, x.shape[1:]), x), out)
        if self.shift is not None:
            shift = like(self.spread(self.shift, x.shape[1:]), x)
            in_place = self.scale is not None and y.dtype.kind == "f"
            y = np.add(y, shift, out=y if in_place else None)
        return y

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return the diagonal matrix of the scale, and the shift."""
        (shape,) = input_shapes
        out = self.output_shape(input_shapes)
        matrix = selection_matrix(broadcast_columns(shape, out), math.prod(shape), dtype)
        if self.scale is not None:
            matrix.data = np.broadcast_to(self.spread(self.scale, shape), out).ravel().astype(dtype or np.float64)
        shift = 0 if self.shift is None else self.spread(self.shift, shape)
        return matrix, np.broadcast_to(shift, out).ravel().astype(dtype or np.float64)

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return ``scale * t`` for each tangent t."""
        (t,), (shape,) = tangents, [x.shape for x in inputs]
        out = self.output_shape([shape])
        spread = t.reshape(len(t), *(1,) * (len(out) - len(shape)), *shape)
        scale = np.ones(1, t.dtype) if self.scale is None else like(self.spread(self.scale, shape), t)
        return np.asarray(spread * np.broadcast_to(scale, out))

    def cotangent(self, inputs: Sequence[Array], cotangents: Array) -> list[Array]:
        """Return ``scale * g`` for each cotangent g, summed where the input is broadcast."""
        shape = inputs[0].shape
        return self.local_cotangent(inputs, cotangents, whole(cotangents.shape[1:]), [whole(shape)])

    def read_boxes(self, box: Box, input_shapes: Sequence[Shape]) -> list[Box]:
        """Return the box itself, without the axes that are broadcast."""
        return [broadcast_box(box, input_shapes[0])]

    def local_cotangent(
        self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Sequence[Box]
    ) -> list[Array]:
        """Return the product with the scale in the box."""
        shape = inputs[0].shape
        if self.scale is not None:
            out = self.output_shape([shape])
            cotangents = cotangents * np.broadcast_to(like(self.spread(self.scale, shape), cotangents), out)[box]
        return [sum_broadcast(cotangents, box_shape(input_boxes[0]))]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the marked entries themselves."""
        return [shrink(outputs, input_shapes[0])]
