"""PyTorch's layers, each translated to nodes of a network: weights, attention, normalisation and pooling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import numpy as np

from convmatrix.frameworks.torch_calls import (
    Call,
    NetworkBuilder,
    Tensor,
    UnsupportedError,
    first_of,
    per_axis_numbers,
)

# --- convolutions and dense layers -----------------------------------------------------------------------------------


def _convolution(call: Call) -> Tensor:
    weight, bias = call.constants("its weights depend", "weight", "bias")
    n = weight.ndim - 2
    transposed = bool(call.get("transposed", "output_padding" in call.arguments))
    x, boundary = call.x, "zero"
    if call.padding is not None:
        x, amounts, boundary = call.padding
        padding: Any = [(amounts[2 * i], amounts[2 * i + 1]) for i in reversed(range(n))]
    elif isinstance(call["padding"], str):
        spans = [d * (k - 1) for d, k in zip(per_axis_numbers(call["dilation"], n), weight.shape[2:], strict=True)]
        padding = [(s // 2, s - s // 2) for s in spans] if call["padding"] == "same" else 0
    else:
        padding = [(p, p) for p in per_axis_numbers(call["padding"], n)]
    return call.builder.convolution(
        call.name,
        x,
        weight,
        bias,
        stride=per_axis_numbers(call["stride"], n),
        padding=padding,
        dilation=per_axis_numbers(call["dilation"], n),
        groups=int(call["groups"]),
        transposed=transposed,
        output_padding=per_axis_numbers(call.get("output_padding", 0), n) if transposed else 0,
        boundary=boundary,
    )


def _linear(call: Call) -> Tensor:
    return call.builder.dense(call.name, call.x, *call.constants("its weights depend", "weight", "bias"))


def _addmm(call: Call) -> Tensor:
    call.only(beta=1, alpha=1)
    weight, bias = call.constants("its weights depend", "mat2", "self")
    return call.builder.dense(call.name, call["mat1"], weight.T, np.broadcast_to(bias, (weight.shape[1],)))


def _matmul(call: Call) -> Tensor:
    other = next(call[name] for name in ("other", "mat2") if name in call.arguments)
    return call.builder.matrix_product(call.name, call["self"], other)


def _attention(call: Call) -> Tensor:
    """Return softmax(q k^T * scale + mask) v: Vaswani et al., Attention is all you need (2017), equation 1."""
    call.only(dropout_p=0.0, enable_gqa=False)
    b, name, query, key = call.builder, call.name, call["query"], call["key"]
    if not isinstance(key, Tensor):
        raise UnsupportedError("its keys are constants")
    scale = call.get("scale") or 1 / math.sqrt(key.known[-1])
    swap = (*range(key.ndim - 2), key.ndim - 1, key.ndim - 2)
    scores = b.matrix_product(f"{name}.scores", query, b.permute(f"{name}.transpose", key, swap))
    (mask,) = call.constants("its mask depends", "attn_mask")
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
    if call.get("running_mean") is None or call.get("training", False):
        raise UnsupportedError("it normalises by the statistics of the batch")
    names = ("running_mean", "running_var", "weight", "bias")
    mean, variance, weight, bias = call.constants("its constants depend", *names)
    return call.builder.batch_normalisation(call.name, call.x, mean, variance, weight, bias, call.get("eps", 1e-5))


def _instance_norm(call: Call) -> Tensor:
    if not call.get("use_input_stats", True):
        return _batch_norm(Call(call.builder, call.name, {**call.arguments, "training": False}))
    return _normalisation(call, groups=call.x.known[1])


def _layer_norm(call: Call) -> Tensor:
    return _normalisation(call, axes=range(-len(call["normalized_shape"]), 0))


def _group_norm(call: Call) -> Tensor:
    return _normalisation(call, groups=int(call.get("num_groups", call.get("group"))))


def _normalisation(call: Call, axes: Sequence[int] | None = None, groups: int | None = None) -> Tensor:
    epsilon = call.get("eps", 1e-5)
    return call.builder.normalisation(call.name, call.x, axes, call.get("weight"), call.get("bias"), epsilon, groups)


# --- pooling ------------------------------------------------------------------------------------------


def _pool_options(call: Call) -> tuple[tuple[int, ...], dict[str, Any]]:
    n = _AXES_OF[call.name_of_operator.removesuffix("_with_indices")[-2:]]
    sizes = tuple(per_axis_numbers(call["kernel_size"], n))
    stride = call.get("stride")
    return sizes, {
        "stride": tuple(per_axis_numbers(stride, n)) if stride not in (None, []) else sizes,
        "padding": tuple(per_axis_numbers(call.get("padding", 0), n)),
        "ceil_mode": bool(call.get("ceil_mode", False)),
    }


def _max_pool(call: Call) -> Tensor:
    sizes, options = _pool_options(call)
    options["dilation"] = tuple(per_axis_numbers(call.get("dilation", 1), len(sizes)))
    return _on_channels(call, len(sizes), call.builder.pooling, call.name, "max", sizes, **options)


def _average_pool(call: Call) -> Tensor:
    sizes, options = _pool_options(call)
    b, name, divisor = call.builder, call.name, call.get("divisor_override")
    if divisor is not None:
        total = _on_channels(call, len(sizes), b.pooling, f"{name}.sum", "sum", sizes, **options)
        return b.scale(name, total, np.asarray(1 / divisor))
    options["count_include_pad"] = bool(call.get("count_include_pad", True))
    return _on_channels(call, len(sizes), b.pooling, name, "average", sizes, **options)


def _adaptive_pool(method: Literal["average", "max"]) -> Callable[[Call], Tensor]:
    def translate(call: Call) -> Tensor:
        x, b, name = call.x, call.builder, call.name
        n_axes = _AXES_OF[call.name_of_operator[-2:]]
        spatial = x.known[-n_axes:]
        sizes = per_axis_numbers(call["output_size"], n_axes)
        if all(m == 1 for m in sizes):
            return _on_channels(call, n_axes, b.pooling, name, method, None)
        if all(n % m == 0 for n, m in zip(spatial, sizes, strict=True)):
            windows = tuple(n // m for n, m in zip(spatial, sizes, strict=True))
            return _on_channels(call, n_axes, b.pooling, name, method, windows, adaptive=True)
        if method == "average":
            return _on_channels(call, n_axes, b.resize, name, sizes, mode="area")
        for axis, (n, m) in enumerate(zip(spatial, sizes, strict=True), start=x.ndim - n_axes):
            x = _maxima(b, f"{name}.axis{axis}", x, axis, n, m)
        return x

    return translate


def _maxima(b: NetworkBuilder, name: str, x: Tensor, axis: int, n: int, m: int) -> Tensor:
    """Return the maxima of the samples ``floor(i n / m)`` to ``ceil((i + 1) n / m)`` of an axis, for output i of m."""
    first, end = np.arange(m) * n // m, -(-np.arange(1, m + 1) * n // m)
    samples = np.minimum(first[:, None] + np.arange((end - first).max()), end[:, None] - 1)  # (outputs, windows)
    windows = b.gather(f"{name}.windows", x, axis, samples)
    return b.reduction(name, windows, "max", [axis + 1], keep=False)


_AXES_OF: Final = {"1d": 1, "2d": 2, "3d": 3}


def _on_channels(
    call: Call, n_axes: int, method: Callable[..., Tensor], name: str, *arguments: Any, **options: Any
) -> Tensor:
    """Return a method of the builder of (batch, channels, *spatial), for an input that may have no axis of channels."""
    x = call.x
    if x.ndim != n_axes + 1:
        return method(name, x, *arguments, **options)
    wide = call.builder.reshape(f"{call.name}.channel", x, (x.known[0], 1, *x.known[1:]))
    y = method(name, wide, *arguments, **options)
    return call.builder.reshape(f"{call.name}.reshape", y, (y.known[0], *y.known[2:]))


LAYERS: Final[dict[str, Callable[[Call], Any]]] = {
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
    "_native_batch_norm_legit_no_training": first_of(3, _batch_norm),
    "native_layer_norm": first_of(3, _layer_norm),
    "native_group_norm": first_of(3, _group_norm),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _max_pool),
    **dict.fromkeys(
        ("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices"), first_of(2, _max_pool)
    ),
    **dict.fromkeys(
        ("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"), first_of(2, _adaptive_pool("max"))
    ),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _average_pool),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"), _adaptive_pool("average")),
    **dict.fromkeys(("_adaptive_avg_pool2d", "_adaptive_avg_pool3d"), _adaptive_pool("average")),
}
"""The translation of each operator, by its name without namespace and overload."""
