"""ONNX operators on windows and on a grid: convolution, pooling, resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from convmatrix.frameworks.onnx_calls import OnnxCall, Tensor, Translator, UnsupportedError
from convmatrix.network.resize import positions_of

if TYPE_CHECKING:
    from convmatrix.arrays import Array

_ROUNDED: Final = 1e-5  # how far a position, in single precision, may be off, relative to the size


def _kernel(call: OnnxCall) -> tuple[Tensor, Any, Any]:
    """Return the input, the weights and the bias of a convolution."""
    x, weight, bias = call.tensor(), np.asarray(call.constant(1)), call.constant(2, None)
    if weight.ndim < 3:
        raise UnsupportedError(f"its weights have the shape {weight.shape}")
    declared = call.attribute("kernel_shape", None)
    if declared is not None and tuple(declared) != weight.shape[2:]:
        raise UnsupportedError(f"kernel_shape={declared}, but its weights have the shape {weight.shape}")
    if x.ndim != weight.ndim:
        raise UnsupportedError(f"its weights have the shape {weight.shape}, but its input {x.shape}")
    return x, weight, bias


def _check_windows(call: OnnxCall, x: Tensor, kernel: Sequence[int], padding: Any) -> None:
    """Raise if the input padded for its windows would not fit in memory."""
    gaps = call.per_axis("dilations", len(kernel), 1)
    spans = [(taps - 1) * gap for taps, gap in zip(kernel, gaps, strict=True)]
    widths = spans if isinstance(padding, str) else [max(low + high, 0) for low, high in padding]
    call.require((*x.known[:2], *map(sum, zip(x.known[2:], widths, strict=True))), "its padded input")


def _convolution(call: OnnxCall) -> Tensor:
    x, weight, bias = _kernel(call)
    n = x.ndim - 2
    padding = call.padding(n)
    _check_windows(call, x, weight.shape[2:], padding)
    return _convolved(call, x, weight, bias, padding)


def _convolved(call: OnnxCall, x: Tensor, weight: Any, bias: Any, padding: Any, **options: Any) -> Tensor:
    stride, dilation = (call.per_axis(name, x.ndim - 2, 1) for name in ("strides", "dilations"))
    options = {"stride": stride, "dilation": dilation, "groups": int(call.attribute("group")), **options}
    return call.builder.convolution(call.name, x, weight, bias, padding=padding, **options)


def _transposed_convolution(call: OnnxCall) -> Tensor:
    """Return a transposed convolution, cropped at its ends to ``output_shape`` if given."""
    x, weight, bias = _kernel(call)
    n = x.ndim - 2
    stride, dilation = call.per_axis("strides", n, 1), call.per_axis("dilations", n, 1)
    extra = call.per_axis("output_padding", n, 0)
    word, wanted = call.attribute("auto_pad", "NOTSET"), call.attribute("output_shape", None)
    given = wanted is not None
    if wanted is not None and len(wanted) == n + 2:
        wanted = wanted[2:]
    if wanted is None and word in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * step for size, step in zip(x.known[2:], stride, strict=True)]
    if wanted is None:
        padding = call.padding(n)
    else:
        if len(wanted) != n or min(wanted) < 1:
            raise UnsupportedError(f"output_shape={wanted} for {n} axes")
        call.ignore("pads")  # they follow from the shape
        padding = "same" if word == "SAME_UPPER" else "same_lower"
        for axis, (size, step, gap) in enumerate(zip(x.known[2:], stride, dilation, strict=True)):
            full = (size - 1) * step + gap * (weight.shape[2 + axis] - 1) + 1 + extra[axis]
            if full < wanted[axis] and word.startswith("SAME") and not given:
                raise UnsupportedError(f"auto_pad={word} of a stride beyond the kernel, where implementations differ")
    sizes = [
        size * step + gap * taps
        for size, step, gap, taps in zip(x.known[2:], stride, dilation, weight.shape[2:], strict=True)
    ]
    call.require((*x.known[:1], weight.shape[1], *(s + max(e, 0) for s, e in zip(sizes, extra, strict=True))))
    return _convolved(call, x, weight, bias, padding, transposed=True, output_padding=extra, output_shape=wanted)


def _folded(call: OnnxCall) -> Tensor:
    """Return the image that is the sum of windows: Col2Im, the transpose of im2col."""
    sizes, taps = call.integers(1) or [], call.integers(2) or []
    call.require((*call.tensor().known, *sizes))
    options = {name: tuple(call.per_axis(f"{name}s", len(sizes), 1)) for name in ("stride", "dilation")}
    return call.builder.unfold(
        call.name, call.tensor(), sizes, taps, fold=True, padding=call.padding(len(sizes)), **options
    )


# --- pooling ----------------------------------------------------------------------------------------------------------


def _pool(call: OnnxCall, name: str, x: Tensor, method: Literal["average", "max", "sum"]) -> Tensor:
    kernel = tuple(int(k) for k in call.attribute("kernel_shape"))
    n = len(kernel)
    if x.ndim != n + 2:
        raise UnsupportedError(f"a kernel of {n} axes pools a tensor of shape {x.shape}")
    padding, ceil_mode = call.padding(n), bool(call.attribute("ceil_mode", 0))
    word = call.attribute("auto_pad")
    if word == "VALID" and ceil_mode:
        raise UnsupportedError("auto_pad=VALID with ceil_mode=1")
    _check_windows(call, x, kernel, padding)
    stride, dilation = tuple(call.per_axis("strides", n, 1)), tuple(call.per_axis("dilations", n, 1))
    for size, step, gap, taps in zip(x.known[2:], stride, dilation, kernel, strict=True):
        if word.startswith("SAME") and step > 0 and (-(-size // step) - 1) * step + gap * (taps - 1) + 1 < size:
            raise UnsupportedError(f"auto_pad={word} of a stride beyond the kernel, where implementations differ")
    options: dict[str, Any] = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": ceil_mode and not word.startswith("SAME"),
    }
    if method == "average":
        options["count_include_pad"] = bool(call.attribute("count_include_pad"))
    return call.builder.pooling(name, x, method, kernel, **options)


def _max_pool(call: OnnxCall) -> Tensor:
    call.ignore("storage_order")  # of the indices, the second output
    return _pool(call, call.name, call.tensor(), "max")


def _norm_pool(call: OnnxCall) -> Tensor:
    """Return the p-norm of each window: a power, a sum, a root."""
    p, x, builder = float(call.attribute("p")), call.tensor(), call.builder
    if p < 1:
        raise UnsupportedError(f"p={p}")
    if p == 2:
        powers = builder.elementwise(call.named("square"), x, "square")
    else:
        powers = builder.elementwise(call.named("abs"), x, "abs")
        if p != 1:
            powers = builder.elementwise(call.named("power"), powers, "power", exponent=p)
    name = call.name if p == 1 else call.named("sum")
    if call.node.operator == "GlobalLpPool":
        total = builder.pooling(name, powers, "sum", None)
    else:
        total = _pool(call, name, powers, "sum")
    return total if p == 1 else builder.power(call.name, total, 1 / p)


def _global_pool(method: Literal["average", "max"]) -> Translator:
    def translate(call: OnnxCall) -> Tensor:
        x = call.tensor()
        if x.ndim < 3:
            raise UnsupportedError(f"a tensor of shape {x.shape} has no positions to pool")
        return call.builder.pooling(call.name, x, method, None)

    return translate


# --- resizing ---------------------------------------------------------------------------------------------------------


def _upsample(call: OnnxCall) -> Tensor:
    x = call.tensor()
    scales = call.attribute("scales") if call.version < 9 else np.asarray(call.constant(1), np.float64).ravel().tolist()
    sizes = _scaled_sizes(x, scales)
    return _interpolated(call, x, sizes, list(scales), call.attribute("mode"), "asymmetric", "floor")


def _resize(call: OnnxCall) -> Tensor:
    x, mode = call.tensor(), call.attribute("mode")
    if call.version < 11:
        scales = np.asarray(call.constant(1), np.float64).ravel().tolist()
        sizes = _scaled_sizes(x, scales)
        shrinks = {s < 1 for s in scales if s != 1}
        if len(shrinks) == 2 and mode == "nearest":
            raise UnsupportedError("it enlarges one axis and shrinks another, in operator set 10")
        return _interpolated(call, x, sizes, scales, mode, "asymmetric", "ceil" if shrinks == {True} else "floor")
    coordinates, rounding = call.attribute("coordinate_transformation_mode"), call.attribute("nearest_mode")
    axes = call.attribute("axes")
    axes = list(range(x.ndim)) if axes is None else [int(axis) % x.ndim for axis in axes]
    policy = call.attribute("keep_aspect_ratio_policy", "stretch")
    given, wanted = call.constant(2, None), call.integers(3, default=None)
    full_sizes, full_scales = list(x.known), [1.0] * x.ndim
    if wanted is not None and len(wanted):
        factors = _aspect_factors([x.known[axis] for axis in axes], wanted, policy)
        if len(wanted) != len(axes):
            raise UnsupportedError(f"sizes={wanted} for {len(axes)} axes")
        for axis, size, factor in zip(axes, wanted, factors, strict=True):
            full_sizes[axis] = size if policy == "stretch" else int(np.floor(factor * x.known[axis] + 0.5))
            full_scales[axis] = full_sizes[axis] / x.known[axis]
    else:
        scales = [] if given is None else np.asarray(given, np.float64).ravel().tolist()
        if len(scales) != len(axes):
            raise UnsupportedError(f"it has {len(scales)} scales for {len(axes)} axes")
        for axis, scale in zip(axes, scales, strict=True):
            full_scales[axis] = scale
        full_sizes = _scaled_sizes(x, full_scales)
        exact = [n * scale for n, scale in zip(x.known, full_scales, strict=True)]
        if coordinates in ("align_corners", "tf_crop_and_resize") and not np.allclose(exact, full_sizes, rtol=1e-6):
            raise UnsupportedError(f"{coordinates} with sizes that are rounded, where implementations differ")
    value = float(call.attribute("extrapolation_value", 0.0))
    if coordinates != "tf_crop_and_resize":
        return _interpolated(call, x, full_sizes, full_scales, mode, coordinates, rounding)
    roi = _ranges(x, axes, call.constant(1, None))
    inside = np.ones((1,) * x.ndim, dtype=bool)
    for axis, (start, end) in enumerate(roi):
        own = _inside(x.known[axis], full_sizes[axis], start, end, mode)
        inside = inside & own.reshape(-1, *(1,) * (x.ndim - 1 - axis))
    name = call.named("crop") if value else call.name
    cropped = _interpolated(call, x, full_sizes, full_scales, mode, coordinates, rounding, roi, name)
    return call.builder.scale(call.name, cropped, shift=np.where(inside, 0.0, value)) if value else cropped


def _ranges(x: Tensor, axes: Sequence[int], roi: Any) -> list[tuple[float, float]]:
    """Return the range of each axis that a crop reads, from 0 at the first sample to 1 at the last one."""
    ends = [] if roi is None else np.asarray(roi, np.float64).ravel().tolist()
    if len(ends) != 2 * len(axes):
        raise UnsupportedError(f"roi has {len(ends)} entries for {len(axes)} axes")
    ranges = [(0.0, 1.0)] * x.ndim
    for number, axis in enumerate(axes):
        ranges[axis] = (ends[number], ends[len(axes) + number])
    if not np.isfinite(ranges).all():
        raise UnsupportedError(f"roi={ends}")
    return ranges


def _inside(n: int, m: int, start: float, end: float, mode: str) -> Array:
    """Return which of m outputs of a crop lie between the first and the last of n samples.

    Raises UnsupportedError where that, or the nearest sample, depends on how positions are rounded, or where
    implementations ignore the range.
    """
    positions = positions_of(n, m, "tf_crop_and_resize", roi=(start, end))
    if (start, end) != (0, 1):
        if n == m:
            raise UnsupportedError("it crops an axis whose size stays the same, where implementations differ")
        _refuse_edges(positions, np.array([0.0, n - 1]) if mode != "nearest" else np.arange(2 * n - 1) / 2)
    return np.asarray((positions >= 0) & (positions <= n - 1))


def _refuse_edges(positions: Array, edges: Array) -> None:
    """Raise UnsupportedError where it depends on rounding on which side of an edge a position is."""
    if np.abs(positions[:, None] - edges).min() < _ROUNDED * (1 + np.abs(edges).max()):
        raise UnsupportedError("a position is on an edge, where implementations differ by rounding")


def _aspect_factors(sizes: Sequence[int], wanted: Sequence[int], policy: str) -> list[float]:
    factors = [target / size for target, size in zip(wanted, sizes, strict=False)]
    if policy == "stretch":
        return factors
    if policy not in ("not_larger", "not_smaller"):
        raise UnsupportedError(f"keep_aspect_ratio_policy={policy}")
    return [min(factors) if policy == "not_larger" else max(factors)] * len(factors)


def _scaled_sizes(x: Tensor, scales: Sequence[float] | None) -> list[int]:
    """Return the sizes ``floor(size * scale)``; scales are in float32, in which the product is rounded."""
    if scales is None or len(scales) != x.ndim or not all(math.isfinite(s) and s > 0 for s in scales):
        raise UnsupportedError(f"scales={scales} for a tensor of shape {x.shape}")
    return [int(np.floor(np.float32(n) * np.float32(scale))) for n, scale in zip(x.known, scales, strict=True)]


def _interpolated(
    call: OnnxCall,
    x: Tensor,
    sizes: Sequence[int],
    scales: Sequence[float],
    mode: str,
    coordinates: Any,
    rounding: Any,
    roi: Sequence[tuple[float, float]] | None = None,
    name: str | None = None,
) -> Tensor:
    """Return a tensor resized to sizes, one per axis, the batch and the channels included."""
    name = name or call.name
    if mode not in ("nearest", "linear", "bilinear", "trilinear", "cubic"):
        raise UnsupportedError(f"mode={mode}")
    if min(sizes, default=1) < 1:
        raise UnsupportedError(f"the result of shape {tuple(sizes)} is empty")
    call.require(sizes)
    parts = [(0.0, 1.0)] * x.ndim if roi is None else list(roi)
    changed = [
        axis for axis in range(x.ndim) if sizes[axis] != x.known[axis] or scales[axis] != 1 or parts[axis] != (0, 1)
    ]
    if not changed:
        return x
    antialias, kept = bool(call.attribute("antialias", 0)), [axis for axis in changed if sizes[axis] == x.known[axis]]
    if roi is None and (kept == changed or (antialias and kept)):
        raise UnsupportedError(f"scales={scales} that change no size, where implementations differ")
    if x.batch in changed:
        raise UnsupportedError("it resizes the batch")
    # A scale in float32 that stands for a quotient of sizes is that quotient.
    factors = tuple(
        m / n if np.float32(m / n) == np.float32(scale) else float(scale)
        for n, m, scale in zip(x.known, sizes, scales, strict=True)
    )
    for axis in changed if mode == "nearest" and coordinates == "half_pixel_symmetric" else ():
        n, factor = x.known[axis], factors[axis]
        if float(np.float32(factor)) != factor:  # its rounding moves all positions
            whole = np.arange(-1, n + 1)
            edges = whole if rounding in ("floor", "ceil") else whole + 0.5
            _refuse_edges(positions_of(n, sizes[axis], coordinates, factor), edges)
    options: dict[str, Any] = {
        "mode": mode if mode in ("nearest", "cubic") else "linear",
        "coordinates": coordinates,
        "rounding": rounding,
        "cubic_coefficient": float(call.attribute("cubic_coeff_a", -0.75)),
        "exclude_outside": bool(call.attribute("exclude_outside", 0)) and (mode == "cubic" or antialias),
        "antialias": antialias,
    }
    spatial = x.ndim > 2 and min(changed) >= 2 and (x.batch == 0 or (x.batch is None and x.known[0] == 1))
    if spatial:
        options["roi"] = None if roi is None else tuple(parts[2:])
        return call.builder.resize(name, x, sizes[2:], scales=factors[2:], **options)
    # All axes of a sample are interpolated, behind one channel.
    if x.batch not in (0, None):
        raise UnsupportedError("its input does not have the batch in front")
    first = 0 if x.batch is None else 1
    lead = (1, 1) if x.batch is None else (x.known[0], 1)
    lifted = call.builder.reshape(call.named("channel"), x, (*lead, *x.known[first:]))
    options["roi"] = None if roi is None else tuple(parts[first:])
    resized = call.builder.resize(call.named("resize"), lifted, sizes[first:], scales=factors[first:], **options)
    return call.builder.reshape(name, resized, sizes)


WINDOWS: Final[dict[str, Translator]] = {
    "Col2Im": _folded,
    "AveragePool": lambda call: _pool(call, call.name, call.tensor(), "average"),
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "GlobalAveragePool": _global_pool("average"),
    "GlobalLpPool": _norm_pool,
    "GlobalMaxPool": _global_pool("max"),
    "LpPool": _norm_pool,
    "MaxPool": _max_pool,
    "Resize": _resize,
    "Upsample": _upsample,
}
"""Translators by the operator's name."""
