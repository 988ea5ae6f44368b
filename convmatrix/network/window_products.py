"""Products of kernels with gathered windows, and their transposes, on batches and without a matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.boundary import Axis
from convmatrix.network.boxes import Box, embed, first_position, flat_range, fold_axis, read_range
from convmatrix.network.windows import pad_windows, tap_slices
from convmatrix.weights import group_weights

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry

_GATHERED: Final = 2**21  # entries of gathered windows that are multiplied at a time, so that they stay in the cache
_SHIFTED: Final = 2**15  # entries that are multiplied by one tap at a time, for the same reason
_FEW: Final = 16  # pairs of channels in a group for which dense products are slower than one multiplication per tap


def gathers(geometry: ConvGeometry) -> bool:
    """Whether dense products with gathered windows are fast: shared kernels with enough channels in a group."""
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


def adjoint_weights(geometry: ConvGeometry, weight: Array) -> Array:
    """Return the weights of the transposed map of a shared layer, (groups, inputs, outputs, *taps) by channels.

    For a convolution of stride 1 it is a correlation with the mirrored kernel.
    """
    n = len(geometry.kernel_shape)
    grouped = group_weights(geometry, weight)
    grouped = grouped.reshape(grouped.shape[n:])
    if not geometry.transposed:
        grouped = np.flip(grouped.swapaxes(1, 2), tuple(range(-n, 0)))
    return np.ascontiguousarray(grouped)


def input_range(axis: Axis, samples: slice) -> slice:
    """Return the range of positions whose windows read any of a range of samples, beyond a zero boundary nothing.

    Examples
    --------
    >>> input_range(Axis(n_outputs=5, n_samples=10, n_taps=2, stride=2), slice(3, 6))
    slice(1, 3, None)
    """
    low = -(-(samples.start + axis.pad_low - (axis.n_taps - 1) * axis.dilation) // axis.stride)
    high = (samples.stop - 1 + axis.pad_low) // axis.stride + 1
    low, high = max(low, 0), min(high, axis.n_outputs)
    return slice(low, high) if low < high else slice(0, 0)


def read_box(geometry: ConvGeometry, box: Box) -> Box:
    """Return the box of what the outputs of a layer in a box read; a transposed layer must have zero boundaries."""
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

    Parameters
    ----------
    geometry : ConvGeometry
        With zero boundaries if it is transposed.
    weights : array
        From `adjoint_weights`.
    cotangents : array, shape (k, *entries of the box)
    box, target : tuple of slice
        Boxes of the output, and of the input from `read_box`.

    Returns
    -------
    array, shape (k, *entries of the target)
    """
    first, end = _groups_of(geometry, box[0])
    outputs = geometry.out_channels // geometry.groups
    if len(weights) == 1:  # of one group, or of a connection table
        weights = weights[:, :, box[0]]
    else:
        cotangents = embed(cotangents, box, (slice(first * outputs, end * outputs), *box[1:]))
        weights = weights[first:end]
    groups, inputs = weights.shape[:2]
    taps = weights.shape[3:]
    axes = geometry.axes
    if geometry.transposed:
        mapped = [_crossed(axis, part, read) for axis, part, read in zip(axes, box[1:], target[1:], strict=True)]
        return gathered_products(mapped, weights.reshape(groups, inputs, -1), cotangents)
    inside = [_inside(axis, part, kept) for axis, part, kept in zip(axes, box[1:], target[1:], strict=True)]
    if max(geometry.stride) > 1 or inputs * weights.shape[2] < _FEW:
        gradient = scattered_products(geometry, weights, cotangents)
        firsts = [first_position(axis, part) for axis, part in zip(axes, box[1:], strict=True)]
    else:
        mirrored = [
            Axis(kept.stop - kept.start, part.stop - part.start, n, 1, axis.dilation, (n - 1) * axis.dilation - skipped)
            for axis, part, n, (kept, skipped) in zip(axes, box[1:], taps, inside, strict=True)
        ]
        gradient = gathered_products(mirrored, weights.reshape(groups, inputs, -1), cotangents)
        firsts = [kept.start for kept, _ in inside]
    for number, (axis, start, kept) in enumerate(zip(axes, firsts, target[1:], strict=True), start=2):
        gradient = fold_axis(gradient, number, start, axis.n_samples, axis.boundary, kept)
    return gradient


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
    reach = (outputs.stop - outputs.start - 1) * axis.stride + (axis.n_taps - 1) * axis.dilation + 1
    return slice(first, first + reach), 0


def scattered_products(geometry: ConvGeometry, weights: Array, cotangents: Array) -> Array:
    """Return the transpose of a correlation times cotangents by adding one product per tap, padding included.

    Parameters
    ----------
    geometry : ConvGeometry
        Of which only stride and dilation count.
    weights : array, shape (groups, inputs, outputs, *taps)
        With mirrored taps.
    cotangents : array, shape (k, groups * outputs, *positions)

    Returns
    -------
    array, shape (k, groups * inputs, *padded samples)
    """
    k, (groups, inputs, outputs, *taps), positions = len(cotangents), weights.shape, cotangents.shape[2:]
    axes = [
        Axis(n, (n - 1) * s + (t - 1) * d + 1, t, s, d)
        for n, t, s, d in zip(positions, taps, geometry.stride, geometry.dilation, strict=True)
    ]
    padded = tuple(axis.n_samples for axis in axes)
    grouped = cotangents.reshape(k, groups, outputs, *positions)
    reads: list[Any] = [(..., *read) for read in tap_slices(axes, 0, positions[0])]
    flat = weights.reshape(groups, inputs, outputs, -1)[..., ::-1]
    if inputs * outputs >= _FEW:
        gradient = np.zeros((k, groups, inputs, *padded), dtype=cotangents.dtype)
        columns = grouped.reshape(k, groups, outputs, -1)
        for tap, read in enumerate(reads):
            gradient[read] += (flat[..., tap] @ columns).reshape(k, groups, inputs, *positions)
        return gradient.reshape(k, -1, *padded)
    gradient = np.empty((k, groups, inputs, *padded), dtype=cotangents.dtype)
    for block in _blocks(k, groups, math.prod(padded) // math.prod(geometry.stride)):
        gradient[block] = _shifted_sums(flat[block[1]], grouped[block], axes)
    return gradient.reshape(k, -1, *padded)


def _blocks(k: int, groups: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Cut a batch of k arrays of groups, of ``size`` entries each, into blocks that stay in the cache."""
    room = max(_SHIFTED // max(size, 1), 1)
    width, height = min(room, groups), max(room // groups, 1)
    for start in range(0, k, height):
        for group in range(0, groups, width):
            yield slice(start, start + height), slice(group, group + width)


def _shifted_sums(weights: Array, values: Array, axes: Sequence[Axis]) -> Array:
    """Return sums of shifted values, each times the weight of a tap: a scatter for few channels in a group.

    Samples that are a stride apart are kept together as one phase. On lines with room for all shifts, a shift is an
    offset of the flat array.

    Parameters
    ----------
    weights : array, shape (groups, inputs, outputs, n_taps)
    values : array, shape (k, groups, outputs, *positions)
    axes : sequence of Axis

    Returns
    -------
    array, shape (k, groups, inputs, *samples)
    """
    k, groups, outputs = values.shape[:3]
    inputs, strides = weights.shape[1], tuple(axis.stride for axis in axes)
    lines = tuple(-(-axis.n_samples // axis.stride) for axis in axes)
    size = math.prod(lines)
    spaced = np.zeros((k, groups, outputs, *lines), dtype=values.dtype)
    inside: Any = (..., *(slice(0, n) for n in values.shape[3:]))
    spaced[inside] = values
    spaced = spaced.reshape(k, groups, outputs, size)
    phases = np.zeros((*strides, k, groups, inputs, size), dtype=values.dtype)
    product = np.empty((k, groups, size), dtype=values.dtype)
    for tap, places in enumerate(np.ndindex(*(axis.n_taps for axis in axes))):
        offsets = [place * axis.dilation for place, axis in zip(places, axes, strict=True)]
        phase = phases[tuple(offset % axis.stride for offset, axis in zip(offsets, axes, strict=True))]
        shift, _ = flat_range(lines, tuple(slice(o // s, o // s + 1) for o, s in zip(offsets, strides, strict=True)))
        term = product[..., : size - shift]
        for j in range(outputs):
            for i in range(inputs):
                np.multiply(spaced[:, :, j, : size - shift], weights[:, i, j, tap, None], out=term)
                phase[:, :, i, shift:] += term
    n = len(axes)
    phases = phases.reshape(*strides, k, groups, inputs, *lines)
    order = [axis for number in range(n) for axis in (n + 3 + number, number)]
    joined = phases.transpose(n, n + 1, n + 2, *order)
    joined = joined.reshape(k, groups, inputs, *(size * s for size, s in zip(lines, strides, strict=True)))
    cut: Any = (..., *(slice(0, axis.n_samples) for axis in axes))
    return np.asarray(joined[cut])
