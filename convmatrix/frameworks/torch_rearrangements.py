"""PyTorch's operators that move entries: views, slices, padding and interpolation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from convmatrix.frameworks.torch_calls import Call, Tensor, UnsupportedError

_BOUNDARY: Final = {"constant": "zero", "circular": "circular", "reflect": "reflect", "replicate": "replicate"}


def _same(call: Call) -> Tensor:
    """Return the input: for copies, conversions, and operators that do nothing in evaluation mode."""
    if call.get("train", False):
        raise UnsupportedError("it is random")
    return call.x


def _reshape(call: Call) -> Tensor:
    x = call.x
    shape = [int(n) for n in next(call[name] for name in ("shape", "size") if name in call.arguments)]
    if -1 in shape:
        shape[shape.index(-1)] = math.prod(x.known) // -math.prod(shape)
    return call.builder.reshape(call.name, x, shape)


def _flatten(call: Call) -> Tensor:
    x = call.x
    first, last = call.get("start_dim", 0) % x.ndim, call.get("end_dim", -1) % x.ndim
    middle = math.prod(x.known[first : last + 1])
    return call.builder.reshape(call.name, x, (*x.known[:first], middle, *x.known[last + 1 :]))


def _unflatten(call: Call) -> Tensor:
    x, axis = call.x, call["dim"] % call.x.ndim
    sizes = [int(n) for n in call["sizes"]]
    if -1 in sizes:
        sizes[sizes.index(-1)] = x.known[axis] // -math.prod(sizes)
    return call.builder.reshape(call.name, x, (*x.known[:axis], *sizes, *x.known[axis + 1 :]))


def _squeeze(call: Call) -> Tensor:
    x, axes = call.x, call.get("dim", range(call.x.ndim))
    dropped = [axis for axis in ([axes] if isinstance(axes, int) else axes) if x.known[axis] == 1]
    return call.builder.squeeze(call.name, x, dropped)


def _transpose(call: Call) -> Tensor:
    x = call.x
    order = list(range(x.ndim))
    first, second = (call.get("dim0", 0), call.get("dim1", 1)) if x.ndim > 1 else (0, 0)
    order[first], order[second] = order[second], order[first]
    return call.builder.permute(call.name, x, order)


def _expand(call: Call) -> Tensor:
    x = call.x
    size = [int(n) for n in call["size"]]
    lead = len(size) - x.ndim
    full = [x.known[axis - lead] if n == -1 else n for axis, n in enumerate(size)]
    return call.builder.expand(call.name, x, full)


def _repeat(call: Call) -> Tensor:
    x, repeats, b = call.x, [int(n) for n in call["repeats"]], call.builder
    x = b.reshape(f"{call.name}.reshape", x, (1,) * (len(repeats) - x.ndim) + x.known)
    for axis, times in enumerate(repeats):
        if times != 1:
            x = b.gather(call.name, x, axis, np.tile(np.arange(x.known[axis]), times))
    return x


def _slice(call: Call) -> Tensor:
    stop = call.get("end")
    return call.builder.slice(
        call.name, call.x, int(call.get("dim", 0)), call.get("start"), stop, int(call.get("step", 1))
    )


def _narrow(call: Call) -> Tensor:
    start = int(call["start"])
    return call.builder.slice(call.name, call.x, int(call["dim"]), start, start + int(call["length"]))


def _pieces(call: Call, sizes: list[int]) -> list[Tensor]:
    axis, ends = int(call.get("dim", 0)), np.cumsum(sizes).tolist()
    return [call.builder.slice(call.name, call.x, axis, end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _split(call: Call) -> list[Tensor]:
    sizes = next(call[name] for name in ("split_size", "split_sizes") if name in call.arguments)
    if isinstance(sizes, int):
        n = call.x.known[int(call.get("dim", 0))]
        sizes = [min(sizes, n - start) for start in range(0, n, sizes)]
    return _pieces(call, [int(size) for size in sizes])


def _chunk(call: Call) -> list[Tensor]:
    n = call.x.known[int(call.get("dim", 0))]
    return _split(replace(call, arguments={**call.arguments, "split_size": -(-n // int(call["chunks"]))}))


def _windows_of_axis(call: Call) -> Tensor:
    """Return the windows of an axis, ``x.unfold(axis, size, step)``, each along a new last axis."""
    axis, size = call["dimension"] % call.x.ndim, int(call["size"])
    starts = np.arange(0, call.x.known[axis] - size + 1, int(call["step"]))
    windows = call.builder.gather(f"{call.name}.windows", call.x, axis, starts[:, None] + np.arange(size))
    order = [place for place in range(windows.ndim) if place != axis + 1]
    return call.builder.permute(call.name, windows, [*order, axis + 1])


def _unbind(call: Call) -> list[Tensor]:
    axis = int(call.get("dim", 0))
    return [call.builder.gather(call.name, call.x, axis, np.asarray(i)) for i in range(call.x.known[axis])]


def _concatenation(call: Call) -> Tensor:
    parts = [part for part in call["tensors"] if isinstance(part, Tensor) or np.size(part)]
    return call.builder.concatenation(call.name, parts, int(call.get("dim", 0)))


def _stack(call: Call) -> Tensor:
    axis = int(call.get("dim", 0))
    return call.builder.concatenation(call.name, [_with_axis(call, part, axis) for part in call["tensors"]], axis)


def _with_axis(call: Call, part: Any, axis: int) -> Any:
    """Return a tensor or a constant with a new axis of size 1."""
    if isinstance(part, Tensor):
        return call.builder.unsqueeze(f"{call.name}.reshape", part, [axis])
    return np.expand_dims(part, axis)


def _index(call: Call) -> Tensor:
    places = [(axis, index) for axis, index in enumerate(call["indices"]) if index is not None]
    if len(places) != 1 or isinstance(places[0][1], Tensor):
        raise UnsupportedError("it indexes several axes, or by the input")
    axis, index = places[0]
    return call.builder.gather(call.name, call.x, axis, np.flatnonzero(index) if index.dtype == bool else index)


def _index_select(call: Call) -> Tensor:
    if isinstance(call["index"], Tensor):
        raise UnsupportedError("it indexes by the input")
    return call.builder.gather(call.name, call.x, int(call["dim"]), call["index"])


def _slice_scatter(call: Call) -> Tensor:
    """Return x with a slice of an axis replaced: entries of the two joined tensors."""
    n = _size(call["self"], int(call.get("dim", 0)))
    places = range(n)[call.get("start") : call.get("end") : int(call.get("step", 1))]
    return _scattered(call, call["src"], places)


def _select_scatter(call: Call) -> Tensor:
    """Return x with the entries at one place of an axis replaced."""
    axis = int(call["dim"])
    source = _with_axis(call, call["src"], axis)
    return _scattered(call, source, [int(call["index"]) % _size(call["self"], axis)])


def _copy(call: Call) -> Tensor:
    """Return the source in the shape of the tensor that it is written to."""
    target, source = call["self"], call["src"]
    shape = target.known if isinstance(target, Tensor) else target.shape
    if isinstance(source, Tensor):
        return call.builder.expand(call.name, source, shape)
    return call.builder.constant(call.name, target, np.broadcast_to(source, shape), call.builder.is_trained(source))


def _size(x: Any, axis: int) -> int:
    return int((x.known if isinstance(x, Tensor) else x.shape)[axis])


def _scattered(call: Call, source: Any, places: Sequence[int]) -> Tensor:
    x, axis = call["self"], int(call.get("dim", 0))
    n = _size(x, axis)
    index = np.arange(n)
    index[list(places)] = n + np.arange(len(places))
    joined = call.builder.concatenation(f"{call.name}.cat", [x, source], axis)
    return call.builder.gather(call.name, joined, axis, index)


def _flip(call: Call) -> Tensor:
    x = call.x
    for axis in call["dims"]:
        x = call.builder.slice(call.name, x, int(axis), None, None, -1)
    return x


def _roll(call: Call) -> Tensor:
    x, shifts, axes = call.x, call["shifts"], call.get("dims", [])
    shifts, axes = ([value] if isinstance(value, int) else value for value in (shifts, axes))
    if not axes:
        raise UnsupportedError("it rolls the flattened tensor")
    for shift, axis in zip(shifts, axes, strict=True):
        x = call.builder.gather(call.name, x, int(axis), np.roll(np.arange(x.known[axis]), int(shift)))
    return x


def _channel_shuffle(call: Call) -> Tensor:
    x, groups = call.x, int(call["groups"])
    batch, channels, *spatial = x.known
    split = (batch, groups, channels // groups, *spatial)
    return call.builder.regrouped(call.name, x, split, (0, 2, 1, *range(3, len(split))), x.known)


def _pad(call: Call) -> Tensor:
    x = call.x
    if call.padding is not None:  # the convolution that follows pads
        return Tensor(x.node, None, x.batch)
    amounts = next(call[name] for name in ("pad", "padding") if name in call.arguments)
    amounts = [int(n) for n in amounts]
    mode, value = call.get("mode", "constant"), call.get("value", 0.0)
    widths = [(0, 0)] * x.ndim
    for number in range(len(amounts) // 2):
        widths[-1 - number] = (amounts[2 * number], amounts[2 * number + 1])
    boundary: Any = _BOUNDARY[mode]
    if mode == "circular" and min(amounts) < 0 < max(amounts):  # what is cropped does not come back at the other end
        cropped = [(min(low, 0), min(high, 0)) for low, high in widths]
        if any(n + low + high < 1 for n, (low, high) in zip(x.known, cropped, strict=True)):
            raise UnsupportedError(f"it crops all of an axis of shape {x.shape}")
        x = call.builder.pad(f"{call.name}.crop", x, cropped)
        widths = [(max(low, 0), max(high, 0)) for low, high in widths]
    return call.builder.pad(call.name, x, widths, boundary, float(value))


def _padded_by(mode: str) -> Callable[[Call], Tensor]:
    return lambda call: _pad(replace(call, arguments={**call.arguments, "mode": mode}))


def _unfold(call: Call) -> Tensor:
    """Return im2col, or with ``output_size`` its transpose."""
    sizes = call.get("output_size")
    options: dict[str, Any] = {name: tuple(call[name]) for name in ("dilation", "padding", "stride")}
    return call.builder.unfold(
        call.name, call.x, sizes or call.x.known[-2:], call["kernel_size"], fold=sizes is not None, **options
    )


def _upsample(
    mode: str, coordinates: str = "asymmetric", rounding: str = "floor", **options: Any
) -> Callable[[Call], Tensor]:
    def translate(call: Call) -> Tensor:
        x = call.x
        spatial = x.known[2:]
        factors = call.get("scale_factors")
        if factors is None:
            given = [call.get(name) for name in ("scales_d", "scales_h", "scales_w", "scales")]
            given = [value for value in given if value is not None]
            factors = given if len(given) == len(spatial) else None
        sizes = call.get("output_size")
        if sizes is None:
            sizes = [math.floor(n * f) for n, f in zip(spatial, factors or (), strict=True)]
        align = bool(call.get("align_corners", False))
        if align and options:
            raise UnsupportedError("align_corners=True is not known with antialiasing")
        # A given factor is used as it is; where only sizes are given, the factor is their quotient. Antialiasing leaves
        # out axes whose size stays the same.
        scales = tuple(float(f) for f in factors) if factors is not None and not align else None
        if scales and options:
            scales = tuple(1.0 if n == m else f for n, m, f in zip(spatial, sizes, scales, strict=True))
        return call.builder.resize(
            call.name,
            x,
            [int(n) for n in sizes],
            mode=mode,
            coordinates="align_corners" if align else coordinates,
            rounding=rounding,
            scales=scales,
            **options,
        )

    return translate


_NEAREST, _EXACT = _upsample("nearest"), _upsample("nearest", "half_pixel", "round_prefer_ceil")
_LINEAR, _CUBIC = _upsample("linear", "half_pixel"), _upsample("cubic", "half_pixel")
_ANTIALIASED: Final[dict[str, Any]] = {"exclude_outside": True, "antialias": True}

REARRANGEMENTS: Final[dict[str, Callable[[Call], Any]]] = {
    **dict.fromkeys(("contiguous", "clone", "alias", "detach", "to", "_to_copy", "type_as", "float", "double"), _same),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout", "lift_fresh_copy", "identity"), _same),
    **dict.fromkeys(("view", "reshape", "_unsafe_view"), _reshape),
    "flatten": _flatten,
    "unflatten": _unflatten,
    "squeeze": _squeeze,
    "unsqueeze": lambda call: call.builder.unsqueeze(call.name, call.x, [int(call["dim"])]),
    "permute": lambda call: call.builder.permute(call.name, call.x, [int(axis) for axis in call["dims"]]),
    "transpose": _transpose,
    "t": _transpose,
    "expand": _expand,
    "repeat": _repeat,
    "slice": _slice,
    "narrow": _narrow,
    "select": lambda call: call.builder.gather(call.name, call.x, int(call["dim"]), np.asarray(int(call["index"]))),
    **dict.fromkeys(("split", "split_with_sizes"), _split),
    "chunk": _chunk,
    "unbind": _unbind,
    "unfold": _windows_of_axis,
    "cat": _concatenation,
    "stack": _stack,
    "index": _index,
    "index_select": _index_select,
    "copy": _copy,
    "slice_scatter": _slice_scatter,
    "select_scatter": _select_scatter,
    "flip": _flip,
    "roll": _roll,
    "pixel_shuffle": lambda call: call.builder.depth_to_space(call.name, call.x, int(call["upscale_factor"])),
    "pixel_unshuffle": lambda call: call.builder.space_to_depth(call.name, call.x, int(call["downscale_factor"])),
    "channel_shuffle": _channel_shuffle,
    "pad": _pad,
    "constant_pad_nd": _pad,
    **dict.fromkeys(("reflection_pad1d", "reflection_pad2d", "reflection_pad3d"), _padded_by("reflect")),
    **dict.fromkeys(("replication_pad1d", "replication_pad2d", "replication_pad3d"), _padded_by("replicate")),
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"), _NEAREST),
    **dict.fromkeys(("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d"), _EXACT),
    "upsample_bicubic2d": _CUBIC,
    "_upsample_bilinear2d_aa": _upsample("linear", "half_pixel", **_ANTIALIASED),
    "_upsample_bicubic2d_aa": _upsample("cubic", "half_pixel", cubic_coefficient=-0.5, **_ANTIALIASED),
    **dict.fromkeys(("im2col", "col2im"), _unfold),
    **dict.fromkeys(("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"), _LINEAR),
}
"""The translation of each operator, by its name without namespace and overload."""
