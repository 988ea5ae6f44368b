"""PyTorch's arithmetic, functions of each entry and reductions, each translated to nodes of a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np

from convmatrix.frameworks.torch_calls import Call, NetworkBuilder, Tensor, UnsupportedError

# --- functions of each entry -----------------------------------------------------------------------------------------


def _function(function: str, *names: str, **fixed: float) -> Callable[[Call], Tensor]:
    """Return the translation of an elementwise function, whose parameters have these names in the schema."""

    def translate(call: Call) -> Tensor:
        parameters = dict(fixed)
        for name in names:
            ours, _, theirs = name.partition("=")
            value = call.get(theirs or ours)
            if isinstance(value, Tensor | np.ndarray):
                raise UnsupportedError(f"{theirs or ours} is not a number")
            parameters[ours] = float(value)
        return call.builder.elementwise(call.name, call.x, function, **parameters)

    return translate


def _clamp(call: Call) -> Tensor:
    """Return the entries between two bounds, which may be tensors; the upper one wins."""
    b, name, x = call.builder, call.name, call.x
    low, high = call.get("min"), call.get("max")
    if not isinstance(low, Tensor) and not isinstance(high, Tensor) and np.size(low) == np.size(high) == 1:
        low = -np.inf if low is None else np.asarray(low).item()
        high = np.inf if high is None else np.asarray(high).item()
        return b.elementwise(name, x, "clip", low=min(low, high), high=high)
    if low is not None:
        x = b.extremum(name if high is None else f"{name}.low", x, low, "max")
    return x if high is None else b.extremum(name, x, high, "min")


def _gelu(call: Call) -> Tensor:
    exact = call.get("approximate", "none") == "none"
    return call.builder.elementwise(call.name, call.x, "gelu" if exact else "gelu_tanh")


def _elu(call: Call) -> Tensor:
    call.only(scale=1, input_scale=1)
    return call.builder.elementwise(call.name, call.x, "elu", alpha=float(call["alpha"]))


def _rrelu(call: Call) -> Tensor:
    if call["training"]:
        raise UnsupportedError("it is random")
    return call.builder.elementwise(call.name, call.x, "leaky_relu", slope=(call["lower"] + call["upper"]) / 2)


def _softplus(call: Call) -> Tensor:
    # PyTorch replaces softplus by the identity above the threshold, where they differ by less than exp(-threshold).
    beta = float(call.get("beta", 1))
    b, name, x = call.builder, call.name, call.x
    if float(call.get("threshold", 20)) < 20 or beta <= 0:
        raise UnsupportedError(f"beta={beta} and threshold={call['threshold']} are not known")
    if beta == 1:
        return b.elementwise(name, x, "softplus")
    inner = b.elementwise(f"{name}.softplus", b.scale(f"{name}.beta", x, np.asarray(beta)), "softplus")
    return b.scale(name, inner, np.asarray(1 / beta))


def _power(call: Call) -> Tensor:
    exponent = call["exponent"]
    if not isinstance(call["self"], Tensor) and np.size(call["self"]) == 1:
        return _scaled_function("exp")(call)
    if isinstance(exponent, Tensor) or np.size(exponent) != 1:
        raise UnsupportedError("its exponent is not a number")
    return call.builder.power(call.name, call.x, np.asarray(exponent).item())


def _scaled_function(function: str, factor: float | None = None, divisor: float = 1.0) -> Callable[[Call], Tensor]:
    """Return the translation of ``function(factor * x) / divisor``; without a factor, the logarithm of the base."""

    def translate(call: Call) -> Tensor:
        x, name = call.arguments.get("exponent", call.arguments["self"]), call.name
        number = factor or math.log(np.asarray(call["self"]).item())
        if number != 1:
            x = call.builder.scale(f"{name}.scale", x, np.asarray(number))
        y = call.builder.elementwise(name if divisor == 1 else f"{name}.{function}", x, function)
        return y if divisor == 1 else call.builder.scale(name, y, np.asarray(1 / divisor))

    return translate


def _prelu(call: Call) -> Tensor:
    (slope,) = call.constants("its slopes depend", "weight")
    shape = (1,) if slope.size == 1 else (-1, *(1,) * max(call.x.ndim - 2, 0))
    return call.builder.parametric_relu(call.name, call.x, slope.reshape(shape))


def _glu(call: Call) -> Tensor:
    b, name, x, axis = call.builder, call.name, call.x, int(call.get("dim", -1))
    half = x.known[axis] // 2
    gate = b.elementwise(f"{name}.sigmoid", b.slice(f"{name}.gate", x, axis, half, None), "sigmoid")
    return b.product(name, b.slice(f"{name}.value", x, axis, None, half), gate)


# --- arithmetic ------------------------------------------------------------------------------------------------------


def _sum_of(sign: int) -> Callable[[Call], Tensor]:
    def translate(call: Call) -> Tensor:
        b, a, other, alpha = call.builder, call["self"], call["other"], call.get("alpha", 1)
        if alpha != 1 and isinstance(other, Tensor):
            other = b.product(f"{call.name}.alpha", other, alpha)
        elif alpha != 1:
            other = np.multiply(other, alpha, dtype=np.float64)
        return b.sum(call.name, a, other, sign)

    return translate


def _reversed_difference(call: Call) -> Tensor:
    call.only(alpha=1)
    return call.builder.sum(call.name, call["other"], call["self"], -1)


def _choice(call: Call) -> Tensor:
    (condition,) = call.constants("its condition depends", "condition")
    return call.builder.choice(call.name, condition, call["self"], call["other"])


def _masked_fill(call: Call) -> Tensor:
    mask, value = call.constants("its mask or its value depends", "mask", "value")
    return call.builder.choice(call.name, ~mask, call.x, value)


def _lerp(call: Call) -> Tensor:
    b, name, x = call.builder, call.name, call.x
    return b.sum(name, x, b.product(f"{name}.step", b.sum(f"{name}.way", call["end"], x, -1), call["weight"]))


def _of_two(method: Callable[..., Tensor], *options: Any) -> Callable[[Call], Tensor]:
    """Return the translation to a method of the builder for two operands, tensors or constants."""
    return lambda call: method(call.builder, call.name, call["self"], call["other"], *options)


def _quotient(call: Call) -> Tensor:
    call.only(rounding_mode=None)
    return call.builder.quotient(call.name, call["self"], call["other"])


# --- reductions ------------------------------------------------------------------------------------------------------


def _reduction(method: Literal["mean", "sum", "max", "min"]) -> Callable[[Call], Tensor]:
    def translate(call: Call) -> Tensor:
        x = call.x
        axes = call.get("dim")
        if axes is None or axes == []:
            axes = [axis for axis in range(x.ndim) if axis != x.batch or call.builder.size > 1]
        if isinstance(axes, int):
            axes = [axes]
        return call.builder.reduction(call.name, x, method, axes, bool(call.get("keepdim", False)))

    return translate


def _extreme_value(method: Literal["max", "min"]) -> Callable[[Call], Any]:
    def translate(call: Call) -> Any:
        if "other" in call.arguments:
            return call.builder.extremum(call.name, call["self"], call["other"], method)
        if "dim" not in call.arguments:
            return _reduction(method)(call)
        return [_reduction(method)(call), None]  # the second result holds indices

    return translate


def _norm(call: Call) -> Tensor:
    """Return the sum of absolute values along axes, or the root of the sum of squares."""
    b, name, order = call.builder, call.name, float(call.get("ord", 2))
    if order not in (1, 2):
        raise UnsupportedError(f"ord={order} is not known")
    terms = b.elementwise(f"{name}.terms", call.x, "square" if order == 2 else "abs")
    total = _reduction("sum")(replace(call, name=f"{name}.sum", arguments={**call.arguments, "self": terms}))
    return b.elementwise(name, total, "sqrt") if order == 2 else total


def _variance(call: Call) -> Tensor:
    b, name, x = call.builder, call.name, call.x
    axes = call.get("dim") or list(range(x.ndim))
    n = math.prod(x.known[axis] for axis in axes)
    divisor = n - float(call.get("correction", 1))
    if divisor <= 0:
        raise UnsupportedError("it divides by zero")
    mean = b.reduction(f"{name}.mean", x, "mean", axes, keep=True)
    squares = b.elementwise(f"{name}.squares", b.sum(f"{name}.centred", x, mean, -1), "square")
    keep = bool(call.get("keepdim", False))
    return b.scale(name, b.reduction(f"{name}.sum", squares, "sum", axes, keep), np.asarray(1 / divisor))


def _variance_and_mean(call: Call) -> Any:
    return [_variance(call), _reduction("mean")(replace(call, name=f"{call.name}.of"))]


def _cumulative_sum(call: Call) -> Tensor:
    return call.builder.cumulative_sum(call.name, call.x, int(call["dim"]))


def _log_sum_exp(call: Call) -> Tensor:
    axes = [call["dim"]] if isinstance(call["dim"], int) else call["dim"]
    return call.builder.log_sum_exp(call.name, call.x, axes, keep=bool(call.get("keepdim", False)))


def _softmax(*, logarithm: bool) -> Callable[[Call], Tensor]:
    def translate(call: Call) -> Tensor:
        return call.builder.softmax(call.name, call.x, int(call["dim"]), logarithm=logarithm)

    return translate


_SAME_NAME: Final = (
    *("abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "erf", "exp", "floor", "log"),
    *("log_sigmoid", "mish", "reciprocal", "round", "selu", "sigmoid", "sign", "silu", "sin", "sinh", "sqrt", "square"),
    *("tan", "tanh"),
)

FUNCTIONS_AND_REDUCTIONS: Final[dict[str, Callable[[Call], Any]]] = {
    "relu": _function("relu"),
    "relu6": _function("clip", low=0.0, high=6.0),
    "leaky_relu": _function("leaky_relu", "slope=negative_slope"),
    "rrelu": _rrelu,
    "prelu": _prelu,
    "_prelu_kernel": _prelu,
    "hardtanh": _function("clip", "low=min_val", "high=max_val"),
    "hardsigmoid": _function("hard_sigmoid", alpha=1 / 6, beta=0.5),
    "hardswish": _function("hard_swish"),
    "hardshrink": _function("hard_shrink", "threshold=lambd"),
    "softshrink": _function("soft_shrink", "threshold=lambd"),
    "threshold": _function("threshold", "threshold", "value"),
    "elu": _elu,
    "celu": _function("celu", "alpha"),
    "gelu": _gelu,
    "softplus": _softplus,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": _clamp,
    "neg": lambda call: call.builder.scale(call.name, call.x, np.asarray(-1.0)),
    "pow": _power,
    "exp2": _scaled_function("exp", math.log(2)),
    "log2": _scaled_function("log", 1.0, math.log(2)),
    "log10": _scaled_function("log", 1.0, math.log(10)),
    "rsqrt": lambda call: call.builder.power(call.name, call.x, -0.5),
    "glu": _glu,
    **{name: _function(name) for name in _SAME_NAME},
    "add": _sum_of(1),
    "sub": _sum_of(-1),
    "rsub": _reversed_difference,
    "where": _choice,
    "masked_fill": _masked_fill,
    "lerp": _lerp,
    "mul": _of_two(NetworkBuilder.product),
    "div": _quotient,
    "maximum": _of_two(NetworkBuilder.extremum, "max"),
    "minimum": _of_two(NetworkBuilder.extremum, "min"),
    "mean": _reduction("mean"),
    "sum": _reduction("sum"),
    "cumsum": _cumulative_sum,
    "linalg_vector_norm": _norm,
    "var": _variance,
    "var_mean": _variance_and_mean,
    "logsumexp": _log_sum_exp,
    "amax": _reduction("max"),
    "amin": _reduction("min"),
    "max": _extreme_value("max"),
    "min": _extreme_value("min"),
    "softmax": _softmax(logarithm=False),
    "_softmax": _softmax(logarithm=False),
    "log_softmax": _softmax(logarithm=True),
    "_log_softmax": _softmax(logarithm=True),
}
"""The translation of each operator, by its name without namespace and overload."""
