"""Padding of arrays by boundary, and its adjoint; both rest on `numpy.pad` and know no index rule of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from convmatrix.boundary import Boundary

    PadMode = Literal["constant", "wrap", "reflect", "symmetric", "edge"]

PAD_MODES: Final[dict[Boundary, PadMode]] = {
    "zero": "constant",
    "circular": "wrap",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
}
"""What `numpy.pad` calls the boundaries. It too lets them run on past a period, and reflects one sample onto itself."""


def pad(
    array: NDArray[Any], first_axis: int, low: Sequence[int], length: Sequence[int], boundary: Sequence[Boundary]
) -> NDArray[Any]:
    """Extend the spatial axes, which start at ``first_axis``, to ``length`` samples, ``low`` of them in front.

    Where less is asked for than there is, the high end is cut off.

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


def fold(
    array: NDArray[Any], first_axis: int, low: Sequence[int], size: Sequence[int], boundary: Sequence[Boundary]
) -> NDArray[Any]:
    """Add each padded sample to the one that it repeats: the adjoint of `pad`, back to ``size`` samples an axis.

    The array is used as working memory.

    Examples
    --------
    >>> import numpy as np
    >>> fold(np.array([1, 10, 20, 30, 2, 3]), 0, low=[1], size=[3], boundary=["circular"])
    array([12, 23, 31])
    """
    for axis in range(len(low)):
        array = _fold_axis(array, first_axis + axis, low[axis], size[axis], boundary[axis])
    return array


def _fold_axis(array: NDArray[Any], axis: int, low: int, size: int, boundary: Boundary) -> NDArray[Any]:
    array = np.moveaxis(array, axis, 0)  # a view, as all that follows but the rim
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
