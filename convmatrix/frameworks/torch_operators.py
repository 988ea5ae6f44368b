"""The operators of PyTorch's graphs, each translated to nodes of a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from convmatrix.frameworks.builder import NetworkBuilder, Tensor, UnsupportedError

if TYPE_CHECKING:
    from convmatrix.arrays import Array


@dataclass(frozen=True)
class Call:
    """A call of an operator: the builder, the name of its node, and its arguments by name."""

    builder: NetworkBuilder
    name: str
    arguments: dict[str, Any]
    padding: Any = None
    name_of_operator: str = ""

    def __getitem__(self, argument: str) -> Any:
        """Return an argument by its name in the operator's schema."""
        return self.arguments[argument]

    def get(self, argument: str, default: Any = None) -> Any:
        """Return an argument that not every overload has."""
        value = self.arguments.get(argument, default)
        return default if value is None else value

    @property
    def x(self) -> Tensor:
        """The first tensor argument."""
        for argument in ("self", "input"):
            value = self.arguments.get(argument)
            if isinstance(value, Tensor):
                return value
        raise UnsupportedError("its input is a constant")

    def only(self, **expected: Any) -> None:
        """Raise UnsupportedError unless some arguments have the only values that are known."""
        for argument, value in expected.items():
            if self.get(argument, value) != value:
                raise UnsupportedError(f"{argument}={self[argument]!r} is not known")


def _numbers(value: Any, n: int) -> list[int]:
    """Return one number per spatial axis."""
    numbers = [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)]
    return numbers * n if len(numbers) == 1 else numbers


# --- convolutions and dense layers -----------------------------------------------------------------------------------


def _convolution(call: Call) -> Tensor:
    weight = call["weight"]
    if isinstance(weight, Tensor) or isinstance(call.get("bias"), Tensor):
        raise UnsupportedError("its weights depend on the input")
    n = weight.ndim - 2
    transposed = bool(call.get("transposed", "output_padding" in call.arguments))
    x, boundary = call.x, "zero"
    if call.padding is not None:
        x, amounts, boundary = call.padding
        padding: Any = [(amounts[2 * i], amounts[2 * i + 1]) for i in reversed(range(n))]
    elif isinstance(call["padding"], str):
        spans = [d * (k - 1) for d, k in zip(_numbers(call["dilation"], n), weight.shape[2:], strict=True)]
        padding = [(s // 2, s - s // 2) for s in spans] if call["padding"] == "same" else 0
    else:
        padding = [(p, p) for p in _numbers(call["padding"], n)]
    return call.builder.convolution(
        call.name,
        x,
        weight,
        call.get("bias"),
        stride=_numbers(call["stride"], n),
        padding=padding,
        dilation=_numbers(call["dilation"], n),
        groups=int(call["groups"]),
        transposed=transposed,
        output_padding=_numbers(call.get("output_padding", 0), n) if transposed else 0,
        boundary=boundary,
    )


def _linear(call: Call) -> Tensor:
    if isinstance(call["weight"], Tensor) or isinstance(call.get("bias"), Tensor):
        raise UnsupportedError("its weights depend on the input")
    return call.builder.dense(call.name, call.x, call["weight"], call.get("bias"))


def _addmm(call: Call) -> Tensor:
    call.only(beta=1, alpha=1)
    x, weight = call["mat1"], call["mat2"]
    if not isinstance(x, Tensor) or isinstance(weight, Tensor) or isinstance(call["self"], Tensor):
        raise UnsupportedError("its weights depend on the input")
    bias = np.broadcast_to(call["self"], (weight.shape[1],))
    return call.builder.dense(call.name, x, weight.T, bias)


def _matmul(call: Call) -> Tensor:
    other = next(call[name] for name in ("other", "mat2") if name in call.arguments)
    return call.builder.matrix_product(call.name, call["self"], other)


def _attention(call: Call) -> Tensor:
    """Return softmax(q k^T * scale + mask) v: Vaswani et al., Attention is all you need (2017), equation 1."""
    call.only(dropout_p=0.0, enable_gqa=False)
    b, name, query, key = call.builder, call.name, call["query"], call["key"]
    if not isinstance(query, Tensor) or not isinstance(key, Tensor):
        raise UnsupportedError("its queries or its keys are constants")
    scale = call.get("scale") or 1 / math.sqrt(query.known[-1])
    swap = (*range(key.ndim - 2), key.ndim - 1, key.ndim - 2)
    scores = b.matrix_product(f"{name}.scores", query, b.permute(f"{name}.transpose", key, swap))
    mask = call.get("attn_mask")
    if isinstance(mask, Tensor):
        raise UnsupportedError("its mask depends on the input")
    if call.get("is_causal", False):
        mask = np.tril(np.ones(scores.known[-2:], dtype=bool))
    if mask is not None and mask.dtype == bool:
        if not mask.any(axis=-1).all():
            raise UnsupportedError("its mask hides everything from a query")
        mask = np.where(mask, 0.0, -np.inf)
    scores = b.scale(f"{name}.scale", scores, np.asarray(scale), mask)
    return b.matrix_product(name, b.softmax(f"{name}.softmax", scores, -1), call["value"])


# --- normalisations --------------------------------------------------------------------------------------------------


def _batch_norm(call: Call) -> Tensor:
    mean, variance = call.get("running_mean"), call.get("running_var")
    if mean is None or call.get("training", False):
        raise UnsupportedError("it normalises by the statistics of the batch")
    weight, bias = call.get("weight"), call.get("bias")
    if any(isinstance(value, Tensor) for value in (mean, variance, weight, bias)):
        raise UnsupportedError("its constants depend on the input")
    scale, shift = call.builder.shared(_normalising, mean, variance, weight, bias, call.get("eps", 1e-5))
    trained = call.builder.is_trained(weight, bias)
    return call.builder.channel_scale(call.name, call.x, scale, shift, trained=trained)


def _normalising(mean: Array, variance: Array, weight: Array | None, bias: Array | None, epsilon: float) -> Any:
    """Return the scale and the shift of a batch normalisation at inference."""
    scale = 1 / np.sqrt(variance.astype(np.float64) + epsilon)
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return scale.astype(mean.dtype), shift.astype(mean.dtype)


def _instance_norm(call: Call) -> Tensor:
    if not call.get("use_input_stats", True):
        return _batch_norm(Call(call.builder, call.name, {**call.arguments, "training": False}))
    channels = call.x.known[1]
    return call.builder.normalisation(
        call.name, call.x, None, call.get("weight"), call.get("bias"), call["eps"], groups=channels
    )


def _layer_norm(call: Call) -> Tensor:
    axes = range(-len(call["normalized_shape"]), 0)
    return call.builder.normalisation(
        call.name, call.x, axes, call.get("weight"), call.get("bias"), call.get("eps", 1e-5)
    )


def _first_of(n: int, translate: Callable[[Call], Tensor]) -> Callable[[Call], Any]:
    """Return the translation of an operator whose n - 1 further results, such as statistics, have no node."""
    return lambda call: [translate(call), *[None] * (n - 1)]


def _group_norm(call: Call) -> Tensor:
    groups = int(call.get("num_groups", call.get("group")))
    return call.builder.normalisation(
        call.name, call.x, None, call.get("weight"), call.get("bias"), call["eps"], groups=groups
    )


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
        low, high = (-np.inf if low is None else float(low)), (np.inf if high is None else float(high))
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


def _negative(call: Call) -> Tensor:
    return call.builder.scale(call.name, call.x, np.asarray(-1.0))


def _power(call: Call) -> Tensor:
    exponent = call["exponent"]
    if isinstance(exponent, Tensor) or np.size(exponent) != 1:
        raise UnsupportedError("its exponent is not a number")
    exponent = float(exponent)
    if isinstance(call["self"], np.ndarray) or not isinstance(call["self"], Tensor):
        raise UnsupportedError("its base is a constant")
    known = {1.0: "identity", 2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}
    if exponent in known:
        return call.builder.elementwise(call.name, call.x, known[exponent])
    return call.builder.elementwise(call.name, call.x, "power", exponent=exponent)


def _rsqrt(call: Call) -> Tensor:
    return call.builder.elementwise(call.name, call.x, "power", exponent=-0.5)


def _prelu(call: Call) -> Tensor:
    slope = call["weight"]
    if isinstance(slope, Tensor):
        raise UnsupportedError("its slopes depend on the input")
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
        if alpha != 1:
            other = b.product(f"{call.name}.alpha", other, alpha) if isinstance(other, Tensor) else other * alpha
        return b.sum(call.name, a, other, sign)

    return translate


def _reversed_difference(call: Call) -> Tensor:
    call.only(alpha=1)
    return call.builder.sum(call.name, call["other"], call["self"], -1)


def _choice(call: Call) -> Tensor:
    """Return ``where(condition, self, other)`` for a constant condition: a sum of two masked tensors."""
    b, name, condition = call.builder, call.name, call["condition"]
    if isinstance(condition, Tensor):
        raise UnsupportedError("its condition depends on the input")
    return _masked(b, name, condition, call["self"], call["other"])


def _masked(b: NetworkBuilder, name: str, condition: Array, first: Any, second: Any) -> Tensor:
    if not isinstance(second, Tensor):
        return b.scale(name, first, condition.astype(np.float64), np.where(condition, 0, second))
    if not isinstance(first, Tensor):
        return b.scale(name, second, (~condition).astype(np.float64), np.where(condition, first, 0))
    kept = b.scale(f"{name}.first", first, condition.astype(np.float64))
    return b.sum(name, kept, b.scale(f"{name}.second", second, (~condition).astype(np.float64)))


def _masked_fill(call: Call) -> Tensor:
    if isinstance(call["mask"], Tensor) or isinstance(call["value"], Tensor):
        raise UnsupportedError("its mask or its value depends on the input")
    return _masked(call.builder, call.name, ~call["mask"], call.x, call["value"])


def _product(call: Call) -> Tensor:
    return call.builder.product(call.name, call["self"], call["other"])


def _quotient(call: Call) -> Tensor:
    call.only(rounding_mode=None)
    return call.builder.quotient(call.name, call["self"], call["other"])


def _extremum(method: Literal["max", "min"]) -> Callable[[Call], Tensor]:
    def translate(call: Call) -> Tensor:
        return call.builder.extremum(call.name, call["self"], call["other"], method)

    return translate


# --- pooling and reductions ------------------------------------------------------------------------------------------


def _pool_options(call: Call) -> tuple[list[int], dict[str, Any]]:
    n = _AXES_OF[call.name_of_operator.removesuffix("_with_indices")[-2:]]
    sizes = _numbers(call["kernel_size"], n)
    stride = call.get("stride")
    return sizes, {
        "stride": tuple(_numbers(stride, n)) if stride not in (None, []) else tuple(sizes),
        "padding": tuple(_numbers(call.get("padding", 0), n)),
        "ceil_mode": bool(call.get("ceil_mode", False)),
    }


def _max_pool(call: Call) -> Tensor:
    sizes, options = _pool_options(call)
    options["dilation"] = tuple(_numbers(call.get("dilation", 1), len(sizes)))
    return _on_channels(call, len(sizes), lambda x: call.builder.pooling(call.name, x, "max", tuple(sizes), **options))


def _average_pool(call: Call) -> Tensor:
    sizes, options = _pool_options(call)
    b, name, divisor = call.builder, call.name, call.get("divisor_override")
    if divisor is not None:
        total = _on_channels(call, len(sizes), lambda x: b.pooling(f"{name}.sum", x, "sum", tuple(sizes), **options))
        return b.scale(name, total, np.asarray(1 / divisor))
    options["count_include_pad"] = bool(call.get("count_include_pad", True))
    return _on_channels(call, len(sizes), lambda x: b.pooling(name, x, "average", tuple(sizes), **options))


def _adaptive_pool(method: Literal["average", "max"]) -> Callable[[Call], Tensor]:
    def translate(call: Call) -> Tensor:
        x, b = call.x, call.builder
        n_axes = _AXES_OF[call.name_of_operator[-2:]]
        spatial = x.known[-n_axes:]
        sizes = _numbers(call["output_size"], n_axes)
        if all(m == 1 for m in sizes):
            return _on_channels(call, n_axes, lambda x: b.pooling(call.name, x, method, None))
        if all(n % m == 0 for n, m in zip(spatial, sizes, strict=True)):
            windows = tuple(n // m for n, m in zip(spatial, sizes, strict=True))
            return _on_channels(call, n_axes, lambda x: b.pooling(call.name, x, method, windows))
        if method == "average":
            return _on_channels(call, n_axes, lambda x: b.resize(call.name, x, sizes, mode="area"))
        for axis, (n, m) in enumerate(zip(spatial, sizes, strict=True), start=x.ndim - n_axes):
            x = _maxima(b, f"{call.name}.axis{axis}", x, axis, n, m)
        return x

    return translate


def _maxima(b: NetworkBuilder, name: str, x: Tensor, axis: int, n: int, m: int) -> Tensor:
    """Return the maxima of the samples ``floor(i n / m)`` to ``ceil((i + 1) n / m)`` of an axis, for output i of m."""
    first, end = np.arange(m) * n // m, -(-np.arange(1, m + 1) * n // m)
    samples = np.minimum(first[:, None] + np.arange((end - first).max()), end[:, None] - 1)  # (outputs, windows)
    windows = b.gather(f"{name}.windows", x, axis, samples)
    return b.reduction(name, windows, "max", [axis + 1], keep=False)


_AXES_OF: Final = {"1d": 1, "2d": 2, "3d": 3}


def _on_channels(call: Call, n_axes: int, translate: Callable[[Tensor], Tensor]) -> Tensor:
    """Return an operation of (batch, channels, *spatial), for an input that may have no axis of channels."""
    x = call.x
    if x.ndim != n_axes + 1:
        return translate(x)
    wide = call.builder.reshape(f"{call.name}.channel", x, (x.known[0], 1, *x.known[1:]))
    y = translate(wide)
    return call.builder.reshape(f"{call.name}.reshape", y, (y.known[0], *y.known[2:]))


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


def _softmax(*, logarithm: bool) -> Callable[[Call], Tensor]:
    def translate(call: Call) -> Tensor:
        return call.builder.softmax(call.name, call.x, int(call["dim"]), logarithm=logarithm)

    return translate


_SAME_NAME: Final = (
    *("abs", "atan", "ceil", "cos", "erf", "exp", "floor", "log", "log_sigmoid", "mish", "reciprocal", "round"),
    *("selu", "sigmoid", "sign", "silu", "sin", "sqrt", "square", "tanh"),
)

OPERATORS: Final[dict[str, Callable[[Call], Any]]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _convolution),
    "linear": _linear,
    "addmm": _addmm,
    **dict.fromkeys(("matmul", "mm", "bmm"), _matmul),
    "scaled_dot_product_attention": _attention,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "_native_batch_norm_legit_no_training": _first_of(3, _batch_norm),
    "native_layer_norm": _first_of(3, _layer_norm),
    "native_group_norm": _first_of(3, _group_norm),
    "relu": _function("relu"),
    "relu6": _function("clip", low=0.0, high=6.0),
    "leaky_relu": _function("leaky_relu", "slope=negative_slope"),
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
    "neg": _negative,
    "pow": _power,
    "rsqrt": _rsqrt,
    "glu": _glu,
    **{name: _function(name) for name in _SAME_NAME},
    "add": _sum_of(1),
    "sub": _sum_of(-1),
    "rsub": _reversed_difference,
    "where": _choice,
    "masked_fill": _masked_fill,
    "mul": _product,
    "div": _quotient,
    "maximum": _extremum("max"),
    "minimum": _extremum("min"),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _max_pool),
    **dict.fromkeys(
        ("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices"), _first_of(2, _max_pool)
    ),
    **dict.fromkeys(
        ("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"), _first_of(2, _adaptive_pool("max"))
    ),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _average_pool),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"), _adaptive_pool("average")),
    **dict.fromkeys(("_adaptive_avg_pool2d", "_adaptive_avg_pool3d"), _adaptive_pool("average")),
    "mean": _reduction("mean"),
    "sum": _reduction("sum"),
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
