"""Padding of arrays by boundary, and its adjoint; both use `numpy.pad` instead of the one-axis rule.

Signed boundaries use `numpy.pad`, too: ``antireflect`` is its reflection of type "odd", and ``antisymmetric`` its
symmetric extension times the sign of each copy of the axis. Padding with them is linear, but it does not only copy
samples; see `_padding_terms` for its adjoint.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from scipy import sparse

from convmatrix.boundary import SIGNED, Boundary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from convmatrix.arrays import Array

    PadMode = Literal["constant", "wrap", "reflect", "symmetric", "edge"]

PAD_MODES: Final[dict[Boundary, PadMode]] = {
    "zero": "constant",
    "circular": "wrap",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "antireflect": "reflect",
    "antisymmetric": "symmetric",
}
"""The `numpy.pad` mode of each boundary; it agrees with convmatrix beyond one period, and on a single sample."""

_SHORT: Final = 2**12  # samples of a padded axis up to which its sums are kept: some megabytes in all


def pad(
    array: Array, first_axis: int, low: Sequence[int], length: Sequence[int], boundary: Sequence[Boundary]
) -> Array:
    """Return an array padded along its spatial axes to ``length`` samples, ``low`` of them in front.

    The spatial axes start at ``first_axis``. If an axis is longer than ``length``, its high end is cut off.

    Examples
    --------
    >>> import numpy as np
    >>> pad(np.array([1, 2, 3]), 0, low=[1], length=[6], boundary=["circular"])
    array([3, 1, 2, 3, 1, 2])
    """
    sizes = array.shape[first_axis : first_axis + len(low)]
    for mode in dict.fromkeys(boundary):
        widths = [(0, 0)] * array.ndim
        for axis, kind in enumerate(boundary):
            if kind == mode:
                widths[first_axis + axis] = (low[axis], max(length[axis] - low[axis] - sizes[axis], 0))
        if any(map(any, widths)):
            array = _pad_axes(array, widths, mode)
    return array[(slice(None),) * first_axis + tuple(map(slice, length))]


def padding_gain(size: Sequence[int], widths: Sequence[tuple[int, int]], boundary: Sequence[Boundary]) -> float:
    """Return a bound on the largest padded sample, if no sample is larger than 1."""
    axes = zip(size, widths, boundary, strict=True)
    return math.prod(4.0 * (max(pair) // max(n - 1, 1)) + 7 for n, pair, kind in axes if kind == "antireflect")


def _pad_axes(array: Array, widths: Sequence[tuple[int, int]], boundary: Boundary) -> Array:
    """Return an array padded by one boundary."""
    if boundary == "zero":
        return zero_padded(array, widths)
    if boundary == "antireflect":
        return np.pad(array, widths, mode="reflect", reflect_type="odd")
    padded = np.pad(array, widths, mode=PAD_MODES[boundary])
    if boundary == "antisymmetric":
        for axis, (low, high) in enumerate(widths):
            if low or high:
                signs = _signs(array.shape[axis], low, high, array.shape[axis])
                padded *= signs.astype(padded.dtype).reshape(-1, *(1,) * (array.ndim - axis - 1))
    return padded


def zero_padded(array: Array, widths: Sequence[tuple[int, int]]) -> Array:
    """Return an array padded with zeros, as by `numpy.pad`, which takes several times as long for small arrays."""
    sizes = list(zip(widths, array.shape, strict=True))
    padded = np.zeros([low + size + high for (low, high), size in sizes], dtype=array.dtype)
    padded[tuple(slice(low, low + size) for (low, _), size in sizes)] = array
    return padded


def _signs(size: int, low: int, high: int, length: int) -> NDArray[np.int64]:
    """Return 1 or -1 for each padded sample: the sign changes every ``length`` samples."""
    return 1 - 2 * (np.arange(-low, size + high) // length % 2)


def _padding_terms(size: int, low: int, high: int, boundary: Boundary) -> list[tuple[Array, Array]]:
    """Return the padding of an axis as a sum of (samples, coefficients), each with one entry per padded sample.

    Odd reflection continues straight lines. A padded sample is therefore s x_m + a x_0 + b x_(n-1) with the mirrored
    sample m, the sign s, and a and b chosen so that constants and the line x_i = i continue.
    """
    source = np.pad(np.arange(size), (low, high), mode=PAD_MODES[boundary])
    if boundary not in SIGNED or (size == 1 and boundary == "antireflect"):
        return [(source, np.ones(len(source), dtype=np.int64))]
    if boundary == "antisymmetric":
        return [(source, _signs(size, low, high, size))]
    signs, line = _signs(size, low, high, size - 1), np.arange(-low, size + high)
    last = (line - signs * source) // (size - 1)
    zeros = np.zeros_like(source)
    return [(source, signs), (zeros, 1 - signs - last), (zeros + size - 1, last)]


def fold(array: Array, first_axis: int, low: Sequence[int], size: Sequence[int], boundary: Sequence[Boundary]) -> Array:
    """Return the adjoint of `pad`: each padded sample is added to the samples that it repeats, with their coefficients.

    The result has ``size`` samples per axis.
    The array is overwritten.

    Examples
    --------
    >>> import numpy as np
    >>> fold(np.array([1, 10, 20, 30, 2, 3]), 0, low=[1], size=[3], boundary=["circular"])
    array([12, 23, 31])
    """
    for axis in range(len(low)):
        array = _fold_axis(array, first_axis + axis, low[axis], size[axis], boundary[axis])
    return array


def _fold_axis(array: Array, axis: int, low: int, size: int, boundary: Boundary) -> Array:
    if low == 0 and array.shape[axis] == size:
        return array
    array = np.moveaxis(array, axis, 0)  # a view, as are the arrays below, except for the rim
    length = len(array)
    inner = array[low : low + size]
    if len(inner) < size:
        inner = np.concatenate([inner, np.zeros((size - len(inner), *array.shape[1:]), dtype=array.dtype)])
    if boundary != "zero" and (low > 0 or length > low + size):
        folding = _folding if length <= _SHORT else _folding.__wrapped__
        outside, sums = folding(length, low, size, boundary, array.dtype)
        rim = array[outside].reshape(len(outside), -1)
        inner += (sums @ rim).reshape(inner.shape)
    return np.moveaxis(inner, 0, axis)


@lru_cache(maxsize=64)  # an iterative method asks for the same axes again and again
def _folding(length: int, low: int, size: int, boundary: Boundary, dtype: np.dtype[Any]) -> tuple[Array, Any]:
    """Return which samples of a padded axis are padding, and the matrix that adds them to the samples they repeat."""
    outside = np.r_[: min(low, length), min(low + size, length) : length]
    widths = (low, max(length - low - size, 0))
    terms = [(samples[outside], factors[outside]) for samples, factors in _padding_terms(size, *widths, boundary)]
    rows, values = (np.concatenate(parts) for parts in zip(*terms, strict=True))
    columns = np.tile(np.arange(len(outside)), len(terms))
    return outside, sparse.csr_array((values.astype(dtype), (rows, columns)), shape=(size, len(outside)))
