"""ONNX operators that move entries: reshapes, slices, padding, repetition."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Final

import numpy as np

from convmatrix.frameworks.onnx_calls import OnnxCall, Tensor, Translator, UnsupportedError


def _reshape(call: OnnxCall) -> Tensor:
    x, wanted = call.tensor(), call.integers(1) or []
    zero = bool(call.attribute("allowzero", 0))
    sizes = [x.known[axis] if n == 0 and not zero and axis < x.ndim else n for axis, n in enumerate(wanted)]
    if -1 in sizes:
        place, rest = sizes.index(-1), math.prod(n for n in sizes if n != -1)
        if sizes.count(-1) > 1 or rest <= 0 or math.prod(x.known) % rest:
            raise UnsupportedError(f"a tensor of shape {x.shape} cannot have the shape {tuple(wanted)}")
        sizes[place] = math.prod(x.known) // rest
    if min(sizes, default=1) < 1:
        raise UnsupportedError(f"a tensor of shape {x.shape} cannot have the shape {tuple(wanted)}")
    return call.builder.reshape(call.name, x, sizes)


def _flatten(call: OnnxCall) -> Tensor:
    x, axis = call.tensor(), int(call.attribute("axis"))
    if not -x.ndim <= axis <= x.ndim:
        raise UnsupportedError(f"axis {axis} does not exist in a tensor of shape {x.shape}")
    axis = axis + x.ndim if axis < 0 else axis
    return call.builder.reshape(call.name, x, (math.prod(x.known[:axis]), math.prod(x.known[axis:])))


def _squeeze(call: OnnxCall) -> Tensor:
    x, axes = call.tensor(), call.integers(1, "axes", None)
    if axes is None:
        axes = [axis for axis, n in enumerate(x.known) if n == 1]
        if x.batch in axes:
            raise UnsupportedError("it drops the batch axis if that has the size 1")
    return call.builder.squeeze(call.name, x, axes)


def _transpose(call: OnnxCall) -> Tensor:
    x = call.tensor()
    order = call.attribute("perm") or list(reversed(range(x.ndim)))
    if sorted(x.axis(int(axis)) for axis in order) != list(range(x.ndim)):
        raise UnsupportedError(f"perm={order} for a tensor of shape {x.shape}")
    return call.builder.permute(call.name, x, [int(axis) for axis in order])


def _slice(call: OnnxCall) -> Tensor:
    x = call.tensor()
    starts, ends = call.integers(1, "starts") or [], call.integers(2, "ends") or []
    axes, steps = call.integers(3, "axes", None), call.integers(4, default=None)
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise UnsupportedError(f"{len(starts)} starts, {len(ends)} ends, {len(axes)} axes and {len(steps)} steps")
    for number, (start, end, axis, step) in enumerate(zip(starts, ends, axes, steps, strict=True), start=1):
        if step == 0:
            raise UnsupportedError("a step of 0")
        axis = x.axis(axis)
        kept = range(x.known[axis])[_bounded(start, end, step, x.known[axis])]
        if not len(kept):
            raise UnsupportedError(f"the slice {start}:{end}:{step} of an axis of {x.known[axis]} is empty")
        stop = kept[-1] + (1 if step > 0 else -1)
        name = call.name if number == len(starts) else call.named(str(number))
        x = call.builder.slice(name, x, axis, kept[0], None if stop < 0 else stop, step)
    return x


def _bounded(start: int, end: int, step: int, size: int) -> slice:
    """Return a slice with ends within the axis: ONNX counts negative ends from the end of the axis, and clamps."""
    start, end = (n + size if n < 0 else n for n in (start, end))
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    start, end = min(max(start, 0), size - 1), min(max(end, -1), size - 1)
    return slice(start, None if end < 0 else end, step)


def _split(call: OnnxCall) -> list[Tensor]:
    x, n = call.tensor(), len(call.node.outputs)
    axis = x.axis(int(call.attribute("axis")))
    size, sizes = x.known[axis], call.integers(1, "split", None)
    count = call.attribute("num_outputs", None)
    if sizes is None:
        if count not in (None, n):
            raise UnsupportedError(f"num_outputs={count}, but it has {n} outputs")
        chunk = -(-size // n)
        sizes = [min(chunk, size - start) for start in range(0, n * chunk, chunk)]
    if sum(sizes) != size or min(sizes) < 1 or len(sizes) != n:
        raise UnsupportedError(f"an axis of {size} is split into {sizes}")
    ends = np.cumsum([0, *sizes]).tolist()
    names = [output or call.named(str(number)) for number, output in enumerate(call.node.outputs)]
    return [call.builder.slice(name, x, axis, *pair) for name, pair in zip(names, pairwise(ends), strict=True)]


def _gather(call: OnnxCall) -> Tensor:
    x, indices = call.tensor(), np.asarray(call.constant(1))
    axis = x.axis(int(call.attribute("axis")))
    if indices.dtype.kind not in "iu" or not indices.size:
        raise UnsupportedError("its indices are not integers")
    call.require((*x.known[:axis], *indices.shape, *x.known[axis + 1 :]))
    return call.builder.gather(call.name, x, axis, indices)


def _concatenate(call: OnnxCall) -> Tensor:
    parts = [call.operand(number) for number in range(len(call.values))]
    parts = [part for part in parts if isinstance(part, Tensor) or part.size]
    first = next(part for part in parts if isinstance(part, Tensor))
    axis = first.axis(int(call.attribute("axis")))
    if len(parts) == 1:
        return first
    for part in parts:
        shape = part.known if isinstance(part, Tensor) else part.shape
        if len(shape) != first.ndim or any(
            a != b for n, (a, b) in enumerate(zip(shape, first.known, strict=True)) if n != axis
        ):
            raise UnsupportedError(f"tensors of shapes {first.shape} and {shape} are joined along axis {axis}")
    return call.builder.concatenation(call.name, parts, axis)


def _expand(call: OnnxCall) -> Tensor:
    x, shape = call.tensor(), call.integers(1) or []
    if min(shape, default=1) < 1:
        raise UnsupportedError(f"the result of shape {tuple(shape)} is empty")
    rank = max(len(shape), x.ndim)
    both = [(1,) * (rank - len(sizes)) + tuple(sizes) for sizes in (shape, x.known)]
    call.require([max(pair) for pair in zip(*both, strict=True)])
    return call.builder.expand(call.name, x, shape)


def _tile(call: OnnxCall) -> Tensor:
    """Return a repeated tensor, by circular padding at the high ends of its axes."""
    x, repeats = call.tensor(), call.integers(1) or []
    if len(repeats) != x.ndim or min(repeats, default=1) < 1:
        raise UnsupportedError(f"repeats={repeats} for a tensor of shape {x.shape}")
    call.require([n * times for n, times in zip(x.known, repeats, strict=True)])
    widths = [(0, n * (times - 1)) for n, times in zip(x.known, repeats, strict=True)]
    return call.builder.pad(call.name, x, widths, "circular")


def _pad(call: OnnxCall) -> Tensor:
    x, mode = call.tensor(), call.attribute("mode")
    boundaries: dict[str, Any] = {"constant": "zero", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    if mode not in boundaries:
        raise UnsupportedError(f"mode={mode}")
    pads = call.integers(1, "pads") or []
    value = float(call.attribute("value")) if call.version < 11 else call.scalar(2, 0.0)
    axes = call.integers(3, None, None)
    axes = list(range(x.ndim)) if axes is None else [x.axis(axis) for axis in axes]
    if len(pads) != 2 * len(axes) or len(set(axes)) < len(axes):
        raise UnsupportedError(f"pads={pads} for {len(axes)} axes")
    widths = [(0, 0)] * x.ndim
    for axis, low, high in zip(axes, pads, pads[len(axes) :], strict=False):
        widths[axis] = (low, high)
    sizes = [low + n + high for n, (low, high) in zip(x.known, widths, strict=True)]
    if min(sizes) < 1:
        raise UnsupportedError(f"the result of shape {tuple(sizes)} is empty")
    call.require(sizes)
    if mode == "constant":
        for (low, high), n in zip(widths, x.known, strict=True):
            if -low >= n or -high >= n:
                raise UnsupportedError(f"it crops an axis of {n} by {(low, high)}")
    return call.builder.pad(call.name, x, widths, boundaries[mode], value)


def _depth_to_space(call: OnnxCall) -> Tensor:
    x, block = call.tensor(), int(call.attribute("blocksize"))
    mode = call.attribute("mode", "DCR")
    _, channels, *spatial = x.known
    if len(spatial) != 2 or block < 1 or channels % block**2 or mode not in ("DCR", "CRD"):
        raise UnsupportedError(f"blocksize={block} and mode={mode} for a tensor of shape {x.shape}")
    return call.builder.depth_to_space(call.name, x, block, blocks_first=mode == "DCR")


def _space_to_depth(call: OnnxCall) -> Tensor:
    x, block = call.tensor(), int(call.attribute("blocksize"))
    _, _, *spatial = x.known
    if len(spatial) != 2 or block < 1 or any(n % block for n in spatial):
        raise UnsupportedError(f"blocksize={block} for a tensor of shape {x.shape}")
    mode = call.attribute("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise UnsupportedError(f"mode={mode}")
    return call.builder.space_to_depth(call.name, x, block, blocks_first=mode == "DCR")


REARRANGEMENTS: Final[dict[str, Translator]] = {
    "Concat": _concatenate,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": lambda call: call.builder.unsqueeze(call.name, call.tensor(), call.integers(1, "axes") or []),
}
"""Translators by the operator's name."""
