"""Products of kernels with gathered windows, and their transposes, on batches and without a matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.boundary import Axis
from convmatrix.network.boxes import Box, embed, first_position, flat_range, fold_axis, read_range, whole
from convmatrix.network.windows import pad_windows, tap_slices
from convmatrix.weights import group_weights

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry

_GATHERED: Final = 2**21  # entries of gathered windows multiplied at a time, so that they stay in the cache
_NARROW: Final = 2**17  # the same where groups have few channels, and memory is the limit
_FEW: Final = 16  # pairs of channels in a group for which dense products are slower than one multiplication per tap


def gathers(geometry: ConvGeometry) -> bool:
    """Return whether dense products with gathered windows are fast: shared kernels with enough channels in a group."""
    channels = geometry.in_channels * geometry.out_channels // geometry.groups**2
    return not geometry.transposed and geometry.sharing == "shared" and channels >= _FEW


def gathered_products(axes: Sequence[Axis], weights: Array, x: Array) -> Array:
    """Return the correlation of a batch with shared kernels by dense products with gathered windows (im2col).

    Parameters
    ----------
    axes : sequence of Axis
        Their windows; negative padding crops.
    weights : array, shape (groups, outputs, inputs * taps)
    x : array, shape (batch, groups * inputs, *samples)

    Returns
    -------
    array, shape (batch, groups * outputs, *positions)
    """
    groups, outputs, _ = weights.shape
    first, *others = (axis.n_outputs for axis in axes)
    shape = (len(x), groups * outputs, first, *others)
    n_taps = math.prod(axis.n_taps for axis in axes)
    if n_taps == 1 and all(a.stride == 1 and a.pad_low == 0 and a.n_outputs == a.n_samples for a in axes):
        columns = x.reshape(len(x), groups, -1, first * math.prod(others))
        return np.asarray(np.matmul(weights, columns)).reshape(shape)
    padded = pad_windows(x, axes, 0)
    padded = padded.reshape(len(x), groups, -1, *padded.shape[2:])  # (batch, groups, inputs, *padded samples)
    inputs = padded.shape[2]
    y = np.empty((len(x), groups, outputs, first, math.prod(others)), dtype=x.dtype)
    room = max(_GATHERED // (groups * inputs * n_taps * math.prod(others)), 1)  # rows of positions
    rows = min(first, room)
    samples = min(len(x), max(room // first, 1))
    windows = np.empty((groups, inputs, n_taps, samples, rows, *others), dtype=x.dtype)
    for begin in range(0, len(x), samples):
        chunk = np.moveaxis(padded[begin : begin + samples], 0, 2)  # (groups, inputs, samples, *padded)
        n = chunk.shape[2]
        for start in range(0, first, rows):
            count = min(rows, first - start)
            reads: list[Any] = [(..., *read) for read in tap_slices(axes, start, count)]
            for tap, read in enumerate(reads):
                windows[:, :, tap, :n, :count] = chunk[read]
            gathered = windows[:, :, :, :n, :count].reshape(groups, inputs * n_taps, -1)
            product = (weights @ gathered).reshape(groups, outputs, n, count, -1)
            y[begin : begin + n, :, :, start : start + count] = np.moveaxis(product, 2, 0)
    return y.reshape(shape)


def narrow_products(axes: Sequence[Axis], weights: Array, x: Array) -> Array:
    """Return the result of `gathered_products` at stride 1, faster if groups have few channels.

    On flat padded lines every tap reads one contiguous range; what is computed between the lines is cut off.
    """
    groups, outputs, height = weights.shape
    positions = tuple(axis.n_outputs for axis in axes)
    padded = pad_windows(x, axes, 0)
    lines = padded.shape[2:]
    padded = padded.reshape(len(x), groups, -1, math.prod(lines))
    length = flat_range(lines, whole(positions))[1]
    shifts = []
    for taps in np.ndindex(*(axis.n_taps for axis in axes)):
        offsets = (tap * axis.dilation for tap, axis in zip(taps, axes, strict=True))
        shifts.append(flat_range(lines, tuple(slice(offset, offset + 1) for offset in offsets))[0])
    size = positions[0] * math.prod(lines[1:])
    y = np.empty((len(x), groups, outputs, size), dtype=x.dtype)
    room = max(_NARROW // (height * length), 1)
    width, depth = min(room, groups), max(room // groups, 1)
    for start in range(0, len(x), depth):
        for group in range(0, groups, width):
            block = (slice(start, start + depth), slice(group, group + width))
            values = padded[block]
            windows = np.empty((*values.shape[:3], len(shifts), length), dtype=x.dtype)
            for tap, shift in enumerate(shifts):
                windows[:, :, :, tap] = values[..., shift : shift + length]
            y[block][..., :length] = weights[block[1]] @ windows.reshape(*values.shape[:2], height, length)
    cut: Any = (..., *map(slice, positions))
    return np.asarray(y.reshape(len(x), groups * outputs, positions[0], *lines[1:])[cut])


def adjoint_weights(weight: Array, geometry: ConvGeometry) -> Array:
    """Return the weights of the transposed map of a shared layer as a correlation, (groups, inputs, outputs, *taps).

    Channels are those of a group. For a convolution the kernel is mirrored; one of a larger stride is split into
    phases, the samples that are a stride apart: shape (groups, inputs * phases, outputs, *shifts).
    """
    n = len(geometry.kernel_shape)
    grouped = group_weights(geometry, weight)
    grouped = grouped.reshape(grouped.shape[n:])
    if geometry.transposed:
        return np.ascontiguousarray(grouped)
    grouped = grouped.swapaxes(1, 2)
    shape: tuple[int, ...] = grouped.shape
    if max(geometry.stride) == 1:
        return np.ascontiguousarray(np.flip(grouped, tuple(range(-n, 0))))
    groups, inputs, outputs = shape[:3]
    taps = geometry.kernel_shape
    shifts = [(t - 1) * d // s + 1 for t, d, s in zip(taps, geometry.dilation, geometry.stride, strict=True)]
    phases = np.zeros((groups, inputs, *geometry.stride, outputs, *shifts), dtype=grouped.dtype)
    for tap in np.ndindex(*taps):
        offsets = [t * d for t, d in zip(tap, geometry.dilation, strict=True)]
        phase = (offset % s for offset, s in zip(offsets, geometry.stride, strict=True))
        place = (m - 1 - offset // s for offset, s, m in zip(offsets, geometry.stride, shifts, strict=True))
        target: Any = (slice(None), slice(None), *phase, slice(None), *place)
        phases[target] = grouped[(..., *tap)]
    return phases.reshape(groups, -1, outputs, *shifts)


def input_range(axis: Axis, samples: slice) -> slice:
    """Return the range of positions whose windows read any of a range of samples, for a zero boundary.

    Examples
    --------
    >>> input_range(Axis(n_outputs=5, n_samples=10, n_taps=2, stride=2), slice(3, 6))
    slice(1, 3, None)
    """
    low = -(-(samples.start + axis.pad_low - axis.span + 1) // axis.stride)
    high = (samples.stop - 1 + axis.pad_low) // axis.stride + 1
    low, high = max(low, 0), min(high, axis.n_outputs)
    return slice(low, high) if low < high else slice(0, 0)


def read_box(geometry: ConvGeometry, box: Box) -> Box:
    """Return the box that the outputs of a layer in a box read; a transposed layer must have zero boundaries."""
    parts = []
    for axis, part in zip(geometry.axes, box[1:], strict=True):
        parts.append(input_range(axis, part) if geometry.transposed else read_range(axis, part))
    first, end = _groups_of(geometry, box[0])
    inputs = geometry.in_channels // geometry.groups
    return (slice(first * inputs, end * inputs), *parts)


def _groups_of(geometry: ConvGeometry, channels: slice) -> tuple[int, int]:
    """Return the first and the end of the groups that a range of output channels belongs to."""
    outputs = geometry.out_channels // geometry.groups
    return channels.start // outputs, -(-channels.stop // outputs)


def adjoint_products(geometry: ConvGeometry, weights: Array, cotangents: Array, box: Box, target: Box) -> Array:
    """Return the transposed matrix of a shared layer times cotangents in a box of its outputs.

    Weights are those of `adjoint_weights`. The result (k, *entries of the target) is in a box of the input, that of
    `read_box`. A transposed layer must have zero boundaries.
    """
    first, end = _groups_of(geometry, box[0])
    outputs = geometry.out_channels // geometry.groups
    if len(weights) == 1:  # of one group, or of a connection table
        weights = weights[:, :, box[0]]
    else:
        cotangents = embed(cotangents, box, (slice(first * outputs, end * outputs), *box[1:]))
        weights = weights[first:end]
    groups, rows = weights.shape[:2]
    taps = weights.shape[3:]
    axes = geometry.axes
    if geometry.transposed:
        mapped = [_crossed(axis, part, read) for axis, part, read in zip(axes, box[1:], target[1:], strict=True)]
        return gathered_products(mapped, weights.reshape(groups, rows, -1), cotangents)
    inside = [_inside(axis, part, kept) for axis, part, kept in zip(axes, box[1:], target[1:], strict=True)]
    windows = [
        _mirrored(axis, part.stop - part.start, n, *kept)
        for axis, part, n, kept in zip(axes, box[1:], taps, inside, strict=True)
    ]
    multiply = narrow_products if rows * weights.shape[2] < _FEW else gathered_products
    gradient = multiply(windows, weights.reshape(groups, rows, -1), cotangents)
    gradient = _interleaved(gradient, geometry.stride)
    for number, (axis, part, (kept, skipped)) in enumerate(zip(axes, box[1:], inside, strict=True), start=2):
        first = kept.start if axis.stride == 1 else first_position(axis, part)
        n = kept.stop - kept.start + (skipped if axis.stride > 1 else 0)
        gradient = gradient[(slice(None),) * number + (slice(0, n),)]
        gradient = fold_axis(gradient, number, first, axis.n_samples, axis.boundary, target[number - 1])
    return gradient


def _mirrored(axis: Axis, n: int, shifts: int, kept: slice, skipped: int) -> Axis:
    """Return the windows in which the gradients of samples read n cotangents, at stride 1; one per phase."""
    if axis.stride == 1:
        dilation = axis.dilation if shifts == axis.n_taps else 1  # or the kernel has zeros between its taps
        return Axis(kept.stop - kept.start, n, shifts, 1, dilation, axis.span - 1 - skipped)
    return Axis(n + shifts - 1, n, shifts, 1, 1, shifts - 1)


def _interleaved(array: Array, stride: tuple[int, ...]) -> Array:
    """Return phases (k, channels * phases, *lines), samples that are a stride apart, as (k, channels, *samples)."""
    if max(stride) == 1:
        return array
    k, n, lines = len(array), len(stride), array.shape[2:]
    split = array.reshape(k, -1, *stride, *lines)
    order = [axis for number in range(2, n + 2) for axis in (n + number, number)]
    return split.transpose(0, 1, *order).reshape(k, -1, *(m * s for m, s in zip(lines, stride, strict=True)))


def _crossed(axis: Axis, samples: slice, positions: slice) -> Axis:
    """Return the windows of a range of positions on a range of samples, beyond which there are zeros."""
    return Axis(
        n_outputs=positions.stop - positions.start,
        n_samples=samples.stop - samples.start,
        n_taps=axis.n_taps,
        stride=axis.stride,
        dilation=axis.dilation,
        pad_low=samples.start - first_position(axis, positions),
    )


def _inside(axis: Axis, outputs: slice, kept: slice) -> tuple[slice, int]:
    """Return the positions of which a gradient is needed, and the number of positions before them that are not."""
    first = first_position(axis, outputs)
    if axis.boundary == "zero":
        return kept, kept.start - first
    return slice(first, first + axis.reach(outputs.stop - outputs.start)), 0
