"""Scalar functions and their slopes, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from convmatrix.arrays import Array


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
    curved : (float, float)
        For a smooth function, the open interval outside of which it is affine, such as (-3, 3) for ``"hard_swish"``.
    """

    value: Callable[..., Array]
    slope: Callable[..., Array]
    piecewise_linear: bool
    defaults: dict[str, float]
    curved: tuple[float, float] = (-math.inf, math.inf)


# Python's own numbers do not change the dtype of an array that they multiply, but `numpy.where` of two of them would.


def _clip(x: Array, low: float, high: float) -> Any:
    bounds: list[Any] = [low, high]
    if x.dtype.kind != "f" and all(abs(bound) < 2**63 and float(bound).is_integer() for bound in bounds):
        bounds = [int(bound) for bound in bounds]
    return np.clip(x, *bounds)


def _clip_slope(x: Array, low: float, high: float) -> Any:
    # At a bound PyTorch's clamp passes the gradient on; its ReLU6 does not, but the two differ on a null set only.
    return ((x >= low) & (x <= high)).astype(x.dtype)


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


def _hard_shrink_slope(x: Array, threshold: float) -> Any:
    return (np.abs(x) > threshold).astype(x.dtype)


def _mish_slope(x: Array) -> Any:
    t = np.tanh(np.logaddexp(x, x.dtype.type(0)))
    return t + x * (1 - t * t) * special.expit(x)


def _piecewise(value: Callable[..., Array], slope: Callable[..., Array], /, **defaults: float) -> Function:
    return Function(value, slope, piecewise_linear=True, defaults=defaults)


def _smooth(
    value: Callable[..., Array],
    slope: Callable[..., Array],
    /,
    curved: tuple[float, float] = (-math.inf, math.inf),
    **defaults: float,
) -> Function:
    return Function(value, slope, piecewise_linear=False, defaults=defaults, curved=curved)


_BELOW_0: Final = (-math.inf, 0.0)

FUNCTIONS: Final[dict[str, Function]] = {
    "abs": _piecewise(np.abs, np.sign),
    "acos": _smooth(np.arccos, lambda x: -1 / np.sqrt((1 - x) * (1 + x))),
    "acosh": _smooth(np.arccosh, lambda x: 1 / np.sqrt((x - 1) * (x + 1))),
    "asin": _smooth(np.arcsin, lambda x: 1 / np.sqrt((1 - x) * (1 + x))),
    "asinh": _smooth(np.arcsinh, lambda x: 1 / np.hypot(x, x.dtype.type(1))),
    "atan": _smooth(np.arctan, lambda x: 1 / (1 + x * x)),
    "atanh": _smooth(np.arctanh, lambda x: 1 / ((1 - x) * (1 + x))),
    "ceil": _piecewise(np.ceil, np.zeros_like),
    "celu": _smooth(
        lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
        lambda x, alpha: np.where(x > 0, x.dtype.type(1), np.exp(np.minimum(x, 0) / alpha)),
        curved=_BELOW_0,
        alpha=1.0,
    ),
    "clip": _piecewise(_clip, _clip_slope, low=0.0, high=6.0),
    "cos": _smooth(np.cos, lambda x: -np.sin(x)),
    "cosh": _smooth(np.cosh, np.sinh),
    "elu": _smooth(_elu, _elu_slope, curved=_BELOW_0, alpha=1.0),
    "erf": _smooth(special.erf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x)),
    "exp": _smooth(np.exp, np.exp),
    "floor": _piecewise(np.floor, np.zeros_like),
    "gelu": _smooth(lambda x: x * special.ndtr(x), _gelu_slope),
    "gelu_tanh": _smooth(_gelu_tanh, _gelu_tanh_slope),
    "hard_shrink": _piecewise(
        lambda x, threshold: np.where(np.abs(x) <= threshold, x.dtype.type(0), x), _hard_shrink_slope, threshold=0.5
    ),
    "hard_sigmoid": _piecewise(_hard_sigmoid, _hard_sigmoid_slope, alpha=1 / 6, beta=0.5),
    "hard_swish": _smooth(lambda x: x * _hard_sigmoid(x, 1 / 6, 0.5), _hard_swish_slope, curved=(-3.0, 3.0)),
    "identity": _piecewise(lambda x: x, np.ones_like),
    "leaky_relu": _piecewise(
        lambda x, slope: np.where(x > 0, x, slope * x),
        lambda x, slope: np.where(x > 0, x.dtype.type(1), x.dtype.type(slope)),
        slope=0.01,
    ),
    "log": _smooth(np.log, np.reciprocal),
    "log_sigmoid": _smooth(special.log_expit, lambda x: special.expit(-x)),
    "mish": _smooth(lambda x: x * np.tanh(np.logaddexp(x, x.dtype.type(0))), _mish_slope),
    "power": _smooth(lambda x, exponent: x**exponent, lambda x, exponent: exponent * x ** (exponent - 1), exponent=2.0),
    "relu": _piecewise(lambda x: np.maximum(x, 0), lambda x: (~(x <= 0)).astype(x.dtype)),
    "reciprocal": _smooth(np.reciprocal, lambda x: -np.reciprocal(x * x)),
    "round": _piecewise(np.rint, np.zeros_like),
    "selu": _smooth(_elu, _elu_slope, curved=_BELOW_0, alpha=1.6732632423543772, gamma=1.0507009873554805),
    "sigmoid": _smooth(special.expit, _sigmoid_slope),
    "sign": _piecewise(np.sign, np.zeros_like),
    "silu": _smooth(lambda x: x * special.expit(x), _silu_slope),
    "sin": _smooth(np.sin, np.cos),
    "sinh": _smooth(np.sinh, np.cosh),
    "soft_shrink": _piecewise(
        lambda x, threshold: np.sign(x) * np.maximum(np.abs(x) - threshold, 0), _hard_shrink_slope, threshold=0.5
    ),
    "softplus": _smooth(lambda x: np.logaddexp(x, x.dtype.type(0)), special.expit),
    "softsign": _smooth(lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
    "sqrt": _smooth(np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "square": _smooth(np.square, lambda x: 2 * x),
    "tan": _smooth(np.tan, lambda x: 1 + np.tan(x) ** 2),
    "tanh": _smooth(lambda x, scale, slope: scale * np.tanh(slope * x), _tanh_slope, scale=1.0, slope=1.0),
    "threshold": _piecewise(
        lambda x, threshold, value: np.where(x > threshold, x, x.dtype.type(value)),
        lambda x, threshold, value: (x > threshold).astype(x.dtype),
        threshold=0.0,
        value=0.0,
    ),
}
"""The functions that `Elementwise` accepts by name."""
