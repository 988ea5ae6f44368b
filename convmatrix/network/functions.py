"""Elementwise functions by name: their values, slopes, and whether they are piecewise linear."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Evaluate = Callable[..., "Array"]


@dataclass(frozen=True)
class Function:
    """A scalar function applied to every entry.

    Attributes
    ----------
    value, slope : callable
        ``f(x, **parameters)`` and ``f'(x, **parameters)`` on arrays. At a kink the slope is that of PyTorch's backward
        pass.
    piecewise_linear : bool
        Whether f is affine on each of finitely many intervals, so that a network of such functions equals its
        linearisation near almost every point.
    defaults : dict
        Names and default values of the parameters.
    """

    value: Evaluate
    slope: Evaluate
    piecewise_linear: bool
    defaults: dict[str, float]


def _clip_slope(x: Array, low: float, high: float) -> Any:
    # At a bound PyTorch's clamp passes the gradient on; its ReLU6 does not, but the two differ on a null set only.
    return ((x >= low) & (x <= high)).astype(x.dtype)


def _leaky_slope(x: Array, slope: float) -> Any:
    return np.where(x > 0, x.dtype.type(1), x.dtype.type(slope))


def _gelu(x: Array) -> Any:
    return x * special.ndtr(x)


def _gelu_slope(x: Array) -> Any:
    density = np.exp(-x * x / 2) * x.dtype.type(1 / math.sqrt(2 * math.pi))
    return special.ndtr(x) + x * density


def _gelu_tanh(x: Array) -> Any:
    kind = x.dtype.type
    return kind(0.5) * x * (1 + np.tanh(kind(math.sqrt(2 / math.pi)) * (x + kind(0.044715) * x**3)))


def _gelu_tanh_slope(x: Array) -> Any:
    kind = x.dtype.type
    factor = kind(math.sqrt(2 / math.pi))
    t = np.tanh(factor * (x + kind(0.044715) * x**3))
    return kind(0.5) * (1 + t) + kind(0.5) * x * (1 - t * t) * factor * (1 + kind(3 * 0.044715) * x * x)


def _sigmoid_slope(x: Array) -> Any:
    y = special.expit(x)
    return y * (1 - y)


def _silu_slope(x: Array) -> Any:
    y = special.expit(x)
    return y * (1 + x * (1 - y))


def _tanh(x: Array, scale: float, slope: float) -> Any:
    kind = x.dtype.type
    return kind(scale) * np.tanh(kind(slope) * x)


def _tanh_slope(x: Array, scale: float, slope: float) -> Any:
    kind = x.dtype.type
    t = np.tanh(kind(slope) * x)
    return kind(scale * slope) * (1 - t * t)


def _elu(x: Array, alpha: float) -> Any:
    return np.where(x > 0, x, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0)))


def _elu_slope(x: Array, alpha: float) -> Any:
    return np.where(x > 0, x.dtype.type(1), x.dtype.type(alpha) * np.exp(np.minimum(x, 0)))


def _selu(x: Array, alpha: float, gamma: float) -> Any:
    return x.dtype.type(gamma) * _elu(x, alpha)


def _selu_slope(x: Array, alpha: float, gamma: float) -> Any:
    return x.dtype.type(gamma) * _elu_slope(x, alpha)


def _hard_sigmoid(x: Array, alpha: float, beta: float) -> Any:
    return np.clip(x.dtype.type(alpha) * x + x.dtype.type(beta), 0, 1)


def _hard_sigmoid_slope(x: Array, alpha: float, beta: float) -> Any:
    inner = x.dtype.type(alpha) * x + x.dtype.type(beta)
    return np.where((inner > 0) & (inner < 1), x.dtype.type(alpha), x.dtype.type(0))


def _hard_swish(x: Array) -> Any:
    return x * _hard_sigmoid(x, 1 / 6, 0.5)


def _hard_swish_slope(x: Array) -> Any:
    kind = x.dtype.type
    return np.where(x < -3, kind(0), np.where(x > 3, kind(1), x / kind(3) + kind(0.5)))


def _piecewise(value: Evaluate, slope: Evaluate, /, **defaults: float) -> Function:
    return Function(value, slope, piecewise_linear=True, defaults=defaults)


def _smooth(value: Evaluate, slope: Evaluate, /, **defaults: float) -> Function:
    return Function(value, slope, piecewise_linear=False, defaults=defaults)


FUNCTIONS: Final[dict[str, Function]] = {
    "abs": _piecewise(np.abs, np.sign),
    "clip": _piecewise(lambda x, low, high: np.clip(x, low, high), _clip_slope, low=0.0, high=6.0),
    "elu": _smooth(_elu, _elu_slope, alpha=1.0),
    "exp": _smooth(np.exp, np.exp),
    "gelu": _smooth(_gelu, _gelu_slope),
    "gelu_tanh": _smooth(_gelu_tanh, _gelu_tanh_slope),
    "hard_sigmoid": _piecewise(_hard_sigmoid, _hard_sigmoid_slope, alpha=1 / 6, beta=0.5),
    "hard_swish": _smooth(_hard_swish, _hard_swish_slope),
    "identity": _piecewise(lambda x: x, np.ones_like),
    "leaky_relu": _piecewise(lambda x, slope: x * _leaky_slope(x, slope), _leaky_slope, slope=0.01),
    "log": _smooth(np.log, np.reciprocal),
    "relu": _piecewise(lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(x.dtype)),
    "reciprocal": _smooth(np.reciprocal, lambda x: -np.reciprocal(x * x)),
    "selu": _smooth(_selu, _selu_slope, alpha=1.6732632423543772, gamma=1.0507009873554805),
    "sigmoid": _smooth(special.expit, _sigmoid_slope),
    "silu": _smooth(lambda x: x * special.expit(x), _silu_slope),
    "softplus": _smooth(lambda x: np.logaddexp(x, x.dtype.type(0)), special.expit),
    "sqrt": _smooth(np.sqrt, lambda x: x.dtype.type(0.5) / np.sqrt(x)),
    "square": _smooth(np.square, lambda x: 2 * x),
    "tanh": _smooth(_tanh, _tanh_slope, scale=1.0, slope=1.0),
}
"""The functions that `Elementwise` knows by name."""
