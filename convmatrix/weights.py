"""Weights as users hand them in, and sums into them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from convmatrix.geometry import ConvGeometry

_GATHERED: Final = (
    2**15
)  # places gathered at a time: NumPy widens them to int64, in a copy that then stays in the cache


def as_array(weights: ArrayLike) -> NDArray[Any]:
    """Return weights as an array; lists within them must be of one length."""
    try:
        return np.asarray(weights)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError(
            "the kernel's lists differ in length, so they make no array; give every row as many entries as the others"
        ) from None


def weight_array(
    weights: ArrayLike, weight_shape: tuple[int, ...], geometry: ConvGeometry | None = None
) -> NDArray[Any]:
    """Return weights as an array of ``weight_shape``, of a dtype that sparse matrices hold.

    Accepted are the weight shape itself, without its leading axes of one, or flat; and, for a layer with a connection
    table, a full ``(C_out, C_in, *kernel)`` kernel, of which the connected pairs are read.
    """
    array = as_array(weights)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # sparse matrices know no other byte order
    if array.dtype.kind not in "iufc" or array.dtype == np.float16:
        raise TypeError(
            f"weights have dtype {array.dtype}, which sparse matrices do not compute with; convert them, for instance "
            "with weights.astype(float) or dtype=float"
        )
    squeezed = weight_shape
    while squeezed and squeezed[0] == 1 and len(squeezed) > array.ndim:
        squeezed = squeezed[1:]
    if array.shape in (weight_shape, squeezed, (math.prod(weight_shape),)):
        return array.reshape(weight_shape)
    full = None
    if geometry is not None and geometry.connections is not None and geometry.sharing == "shared":
        full = (geometry.out_channels, geometry.in_channels, *geometry.kernel_shape)
        if array.shape == full:
            outputs, inputs = geometry.channel_pairs.T
            connected: NDArray[Any] = array[outputs, inputs]
            return connected
    raise ValueError(
        f"weights have shape {array.shape}, but the layer's weights have {weight_shape}"
        + (f" (or, as a full kernel, {full})" if full else "")
        + f", which is {math.prod(weight_shape)} in all; reshape them to that"
    )


def accumulate(total: NDArray[Any], places: NDArray[np.integer], values: NDArray[Any]) -> None:
    """Add each value to its place; in floating point by `numpy.bincount`, which is the quickest."""
    if values.dtype == np.float64:
        total += np.bincount(places, values, minlength=len(total))
    elif values.dtype == np.complex128:
        total.real += np.bincount(places, values.real, minlength=len(total))
        total.imag += np.bincount(places, values.imag, minlength=len(total))
    else:
        np.add.at(total, places, values)


def gather(values: NDArray[Any], places: NDArray[np.integer], out: NDArray[Any]) -> NDArray[Any]:
    """Write ``values[places]`` into ``out``; the places are known to be good."""
    for start in range(0, len(places), _GATHERED):
        block = slice(start, start + _GATHERED)
        values.take(places[block], out=out[block], mode="clip")
    return out


def convert(kernel: NDArray[Any], dtype: DTypeLike | None) -> NDArray[Any]:
    """Return the kernel in a dtype, if that can hold it."""
    if dtype is None or kernel.dtype == np.dtype(dtype):
        return kernel
    target = np.dtype(dtype)
    if not np.can_cast(kernel.dtype, target, "same_kind"):
        raise TypeError(
            f"a kernel of dtype {kernel.dtype} does not convert to dtype={target} without loss; convert it yourself, "
            "for instance with kernel.real or numpy.rint"
        )
    converted = kernel.astype(target)
    if target.kind in "iu" and not np.array_equal(converted, kernel):
        raise TypeError(f"the kernel has entries that dtype={target} does not hold; choose a wider integer type")
    return converted
