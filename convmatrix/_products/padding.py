"""Padding of arrays by boundary, and its adjoint; both use `numpy.pad` instead of the one-axis rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convmatrix.arrays import Array
    from convmatrix.boundary import Boundary

    PadMode = Literal["constant", "wrap", "reflect", "symmetric", "edge"]

PAD_MODES: Final[dict[Boundary, PadMode]] = {
    "zero": "constant",
    "circular": "wrap",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
}
"""The `numpy.pad` mode of each boundary; it agrees with convmatrix beyond one period, and on a single sample."""


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
            array = np.pad(array, widths, mode=PAD_MODES[mode])
    return array[(slice(None),) * first_axis + tuple(map(slice, length))]


def fold(array: Array, first_axis: int, low: Sequence[int], size: Sequence[int], boundary: Sequence[Boundary]) -> Array:
    """Return the adjoint of `pad`: each padded sample is added to the sample that it repeats.

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
    array = np.moveaxis(array, axis, 0)  # a view, as are the arrays below, except for the rim
    length = len(array)
    inner = array[low : low + size]
    if len(inner) < size:
        inner = np.concatenate([inner, np.zeros((size - len(inner), *array.shape[1:]), dtype=array.dtype)])
    if boundary != "zero" and (low > 0 or length > low + size):
        widths = (low, max(length - low - size, 0))
        source = np.pad(np.arange(size), widths, mode=PAD_MODES[boundary])[:length]
        outside = np.r_[: min(low, length), min(low + size, length) : length]
        rim = array[outside].reshape(len(outside), -1)
        ones = np.ones(len(outside), dtype=array.dtype)
        sums = sparse.csr_array((ones, (source[outside], np.arange(len(outside)))), shape=(size, len(outside)))
        inner += (sums @ rim).reshape(inner.shape)
    return np.moveaxis(inner, 0, axis)
