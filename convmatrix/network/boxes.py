"""Boxes: ranges of entries of an array, one slice per axis, in which derivatives are computed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.boundary import Axis, Boundary, read_terms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.arrays import Array

Box = tuple[slice, ...]
"""A range ``slice(start, stop)`` of every axis of a sample, channels included; all ranges are empty if one is."""

Boxes = Sequence[Box]
"""A box of each input of an operation."""


def whole(shape: Sequence[int]) -> Box:
    """Return the box of all entries.

    Examples
    --------
    >>> whole((3, 8))
    (slice(0, 3, None), slice(0, 8, None))
    """
    return tuple(slice(0, n) for n in shape)


def box_shape(box: Box) -> tuple[int, ...]:
    """Return the shape of the entries in a box."""
    return tuple(part.stop - part.start for part in box)


def box_size(box: Box) -> int:
    """Return the number of entries in a box."""
    return math.prod(box_shape(box))


def normalised(box: Iterable[slice]) -> Box:
    """Return a box whose ranges are all empty if one of them is."""
    parts = tuple(box)
    return parts if all(part.start < part.stop for part in parts) else (slice(0, 0),) * len(parts)


def union(first: Box, second: Box) -> Box:
    """Return the smallest box that contains two boxes.

    Examples
    --------
    >>> union((slice(1, 2),), (slice(4, 6),))
    (slice(1, 6, None),)
    """
    if not first or not box_size(second):
        return first
    if not box_size(first):
        return second
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))


def bounding_box(mask: NDArray[np.bool_]) -> Box:
    """Return the smallest box that contains all marked entries.

    Examples
    --------
    >>> bounding_box(np.array([[False, True, False], [False, True, True]]))
    (slice(0, 2, None), slice(1, 3, None))
    """
    parts = []
    for axis in range(mask.ndim):
        marked = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        parts.append(slice(int(marked[0]), int(marked[-1]) + 1) if len(marked) else slice(0, 0))
    return tuple(parts)


def flat_box(shape: Sequence[int], start: int, stop: int) -> Box:
    """Return the smallest range of entries along one axis, whole on all later axes, that holds a range in C order.

    Its entries are contiguous, too.

    Examples
    --------
    >>> flat_box((4, 5), 7, 9), flat_box((4, 5), 7, 11)
    ((slice(1, 2, None), slice(2, 4, None)), (slice(1, 3, None), slice(0, 5, None)))
    """
    box: list[slice] = []
    place, size = 0, math.prod(shape)  # where the entries that agree on the axes so far begin, and their number
    for axis, n in enumerate(shape):
        size //= n
        low, high = (start - place) // size, (stop - 1 - place) // size
        box.append(slice(low, high + 1))
        if low < high:
            return (*box, *whole(shape[axis + 1 :]))
        place += low * size
    return tuple(box)


def flat_range(shape: Sequence[int], box: Box) -> tuple[int, int]:
    """Return the first and the end of the entries of a box in C order.

    Examples
    --------
    >>> flat_range((4, 5), (slice(1, 3), slice(2, 4)))
    (7, 14)
    """
    first = last = 0
    for part, n in zip(box, shape, strict=True):
        first, last = first * n + part.start, last * n + part.stop - 1
    return first, last + 1


def within(inner: Box, outer: Box) -> Any:
    """Return the index of the entries of a box in a batch ``(k, *entries of an outer box)`` that contains it."""
    parts = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True))
    return (slice(None), *parts)


def embed(array: Array, box: Box, outer: Box) -> Array:
    """Return a batch (k, *entries of a box) extended by zeros to an outer box that contains it."""
    if box == outer:
        return array
    extended = np.zeros((len(array), *box_shape(outer)), dtype=array.dtype)
    extended[within(box, outer)] = array
    return extended


# --- broadcasting ----------------------------------------------------------------------------------------------------


def broadcast_box(box: Box, shape: Sequence[int]) -> Box:
    """Return the box of the entries of an array of ``shape`` that are broadcast to the outputs in a box.

    Examples
    --------
    >>> broadcast_box((slice(2, 4), slice(1, 3)), (5, 1))
    (slice(2, 4, None), slice(0, 1, None))
    """
    parts = box[len(box) - len(shape) :]
    if not box_size(box):
        return parts
    return tuple(slice(0, 1) if n == 1 else part for part, n in zip(parts, shape, strict=True))


def sum_broadcast(array: Array, shape: Sequence[int]) -> Array:
    """Return the sums of a batch over the axes along which an array of ``shape`` is broadcast to its entries."""
    lead = array.ndim - 1 - len(shape)
    spread = [axis + 1 for axis, n in enumerate((*(1,) * lead, *shape)) if n == 1 and array.shape[axis + 1] != 1]
    return array.sum(axis=tuple(spread), keepdims=True).reshape(len(array), *shape) if spread or lead else array


# --- windows of one axis ---------------------------------------------------------------------------------------------


def first_position(axis: Axis, outputs: slice) -> int:
    """Return the first position that the windows of a range of outputs read; negative in the padding."""
    return int(outputs.start * axis.stride - axis.pad_low)


def read_range(axis: Axis, outputs: slice) -> slice:
    """Return the smallest range that holds all samples read by the windows of a range of outputs."""
    first = first_position(axis, outputs)
    return sample_range(first, first + axis.reach(outputs.stop - outputs.start), axis.n_samples, axis.boundary)


def sample_range(first: int, end: int, size: int, boundary: Boundary) -> slice:
    """Return the smallest range that holds all samples read at the positions from first to end."""
    if (first >= 0 and end <= size) or boundary == "zero":
        low, high = max(first, 0), min(end, size)
        return slice(low, high) if low < high else slice(0, 0)
    samples = np.concatenate([samples for _, samples, _ in _reads(first, end, size, boundary)])
    return slice(int(samples.min()), int(samples.max()) + 1)


def _reads(
    first: int, end: int, size: int, boundary: Boundary
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield, for each term of the boundary rule, the places from first to end that it reads, samples and factors."""
    positions = np.arange(first, end)
    for sample, factor in read_terms(positions, size, boundary):
        samples, factors = np.broadcast_to(sample, positions.shape), np.broadcast_to(factor, positions.shape)
        places = np.flatnonzero((samples >= 0) & (factors != 0))
        yield places, samples[places], factors[places]


def fold_axis(array: Array, axis: int, first: int, size: int, boundary: Boundary, kept: slice) -> Array:
    """Return the sums of the entries that belong to each sample: the transpose of padding by the boundary rule.

    Parameters
    ----------
    array : array
        Its entries along the axis are at the positions ``first, first + 1, ...``.
    axis, first : int
    size : int
        Number of samples on the axis.
    boundary : Boundary
    kept : slice
        The range of samples to return; it holds all samples that the positions read.

    Examples
    --------
    >>> fold_axis(np.array([1, 10, 20, 2, 3]), 0, -1, 2, "circular", slice(0, 2))
    array([12, 24])
    """
    end = first + array.shape[axis]
    before = (slice(None),) * axis
    low, high = max(first, kept.start), min(end, kept.stop)  # positions that are samples themselves
    if low >= high:
        low = high = kept.start
    rim = [
        (place, sample, factor)
        for places, samples, factors in _reads(first, end, size, boundary)
        for place, sample, factor in zip(places.tolist(), samples.tolist(), factors.tolist(), strict=True)
        if not low <= first + place < high
    ]
    if not rim and (low, high) == (kept.start, kept.stop):
        return array[(*before, slice(low - first, high - first))]
    shape = (*array.shape[:axis], kept.stop - kept.start, *array.shape[axis + 1 :])
    folded = np.zeros(shape, dtype=array.dtype)
    if low < high:
        inner = array[(*before, slice(low - first, high - first))]
        folded[(*before, slice(low - kept.start, high - kept.start))] = inner
    for place, sample, factor in rim:
        read: Any = (*before, place)
        target: Any = (*before, sample - kept.start)
        folded[target] += array[read] if factor == 1 else array[read] * array.dtype.type(factor)
    return folded
