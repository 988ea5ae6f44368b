"""Matrices that select samples, one 1 a row or none: the unfold matrix of a layer, and shifts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy import sparse

from convmatrix import memory
from convmatrix import options as validate
from convmatrix._assembly.formats import as_format, check_format
from convmatrix._assembly.plan import index_dtype
from convmatrix.boundary import NOTHING, Axis
from convmatrix.geometry import ConvGeometry, Padding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray


def unfold_matrix(
    input_shape: int | Sequence[int],
    kernel_shape: int | Sequence[int],
    *,
    in_channels: int = 1,
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    padding: Padding = "valid",
    boundary: str | Sequence[str] = "zero",
    flip: bool = False,
    format: str = "csr",
    dtype: DTypeLike = np.float64,
) -> Any:
    r"""Return the unfold matrix U: the fixed 0/1 matrix that copies, for every tap, the samples it reads (im2col).

    The matrix of a convolution factors as

    .. math:: A(w) = (W \otimes I) \, U

    with W the weights as a dense ``C_out x (C_in * taps)`` matrix and I the identity of the output positions. U does
    not depend on the weights.

    Parameters
    ----------
    input_shape, kernel_shape : int or sequence of int
        Spatial shapes, as for `ConvGeometry`.
    in_channels, stride, dilation, padding, boundary, flip
        As for `ConvGeometry`.
    format : {"csr", "csc", "coo", "dia", "bsr"}
    dtype : dtype

    Returns
    -------
    scipy.sparse array, shape (C_in * taps * positions, C_in * prod(input_shape))
        Rows are ordered (input channel, tap, output position), as the output of PyTorch's ``unfold``. A row has one
        entry, or none where the tap reads the zero boundary.

    Examples
    --------
    >>> import numpy as np
    >>> U = unfold_matrix(4, 2, dtype=int)
    >>> (U @ np.array([5, 6, 7, 8])).reshape(2, 3)
    array([[5, 6, 7],
           [6, 7, 8]])
    """
    geometry = ConvGeometry(
        input_shape,
        kernel_shape,
        in_channels=in_channels,
        stride=stride,
        dilation=dilation,
        padding=padding,
        boundary=boundary,
        flip=flip,
    )
    return geometry_unfold_matrix(geometry, format=format, dtype=dtype)


def geometry_unfold_matrix(geometry: ConvGeometry, *, format: str = "csr", dtype: DTypeLike = np.float64) -> Any:
    """Return the unfold matrix of a layer; that of a transposed layer is U of the convolution that it transposes.

    With ``A(w) = (W (x) I) U`` for that convolution, the transposed layer is ``U.T (W.T (x) I)``.
    """
    check_format(format)
    axes = geometry.axes
    channels = geometry.out_channels if geometry.transposed else geometry.in_channels
    n_columns = channels * math.prod(axis.n_samples for axis in axes)
    n_rows = channels * math.prod(axis.n_taps * axis.n_outputs for axis in axes)
    size = np.dtype(index_dtype(n_rows, n_columns)).itemsize
    memory.require(
        n_rows * (2 * size + np.dtype(dtype).itemsize),
        f"the unfold matrix of {geometry!r} with {n_rows} rows",
        "use ConvOperator, which forms no matrix",
    )
    sources = [axis.sample(np.arange(axis.n_outputs), np.arange(axis.n_taps)[:, None]) for axis in axes]
    columns = _combine_axes(axes, sources)
    spatial_columns = math.prod(axis.n_samples for axis in axes)
    return _selection_matrix(columns, channels, spatial_columns, np.dtype(dtype), format)


def shift_matrix(
    shape: int | Sequence[int],
    shift: int | Sequence[int],
    boundary: str | Sequence[str] = "circular",
    *,
    order: str = "C",
    format: str = "csr",
    dtype: DTypeLike = np.float64,
) -> Any:
    """Return the matrix S that shifts an array: ``S @ x.ravel()`` is ``numpy.roll(x, shift)``, raveled.

    Entry i of the result on an axis is entry i - shift of the array; what moves in is told by the boundary.

    Parameters
    ----------
    shape : int or sequence of int
        Shape of the array, every axis of it.
    shift : int or sequence of int
        One for all axes, or one an axis; any sign and size.
    boundary : str or sequence of str
        ``"circular"`` (the default, a permutation), or any other of `ConvGeometry`.
    order : {"C", "F"}
    format : {"csr", "csc", "coo", "dia", "bsr"}
    dtype : dtype

    Returns
    -------
    scipy.sparse array, shape (n, n)

    Examples
    --------
    >>> import numpy as np
    >>> shift_matrix(4, 1) @ np.arange(4)
    array([3., 0., 1., 2.])
    >>> shift_matrix(4, 1, "zero") @ np.arange(4)
    array([0., 0., 1., 2.])
    """
    check_format(format)
    sizes = validate.shape("shape", shape)
    amounts = (
        [validate.integer("shift", shift)] * len(sizes)
        if np.ndim(shift) == 0
        else [validate.integer(f"shift[{axis}]", amount) for axis, amount in enumerate(cast("Sequence[int]", shift))]
    )
    if len(amounts) != len(sizes):
        raise ValueError(
            f"shift has {len(amounts)} entries ({shift!r}), but shape has {len(sizes)} axes ({sizes}); give one an axis"
        )
    boundaries = validate.boundaries(boundary, len(sizes))
    n = math.prod(sizes)
    index = np.dtype(index_dtype(n)).itemsize
    memory.require(n * (3 * index + np.dtype(dtype).itemsize), f"the shift matrix of {sizes}", "use numpy.roll")
    axes = [
        Axis(size, size, 1, pad_low=amount, boundary=word)
        for size, amount, word in zip(sizes, amounts, boundaries, strict=True)
    ]
    if validate.order(order) == "F":
        axes = axes[::-1]
    sources = [axis.sample(np.arange(axis.n_outputs), np.zeros((1, 1), dtype=np.int64)) for axis in axes]
    return _selection_matrix(_combine_axes(axes, sources), 1, n, np.dtype(dtype), format)


def _combine_axes(axes: Sequence[Axis], sources: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the flat sample of every (taps, outputs) combination, or `NOTHING`, flattened with the taps first."""
    n = len(axes)
    total: NDArray[np.int64] = np.zeros((1,) * (2 * n), dtype=np.int64)
    inside: NDArray[np.bool_] = np.ones((1,) * (2 * n), dtype=bool)
    for place, (axis, source) in enumerate(zip(axes, sources, strict=True)):
        shape = [1] * (2 * n)
        shape[place], shape[n + place] = source.shape
        spread = source.reshape(shape)
        total = total * axis.n_samples + spread
        inside = inside & (spread != NOTHING)
    return np.where(inside, total, NOTHING).ravel()


def _selection_matrix(
    columns: NDArray[np.int64], channels: int, n_columns: int, dtype: np.dtype[Any], format: str
) -> Any:
    """Return the 0/1 matrix with one row for each column index, repeated block-diagonally for each channel."""
    index = index_dtype(channels * len(columns), channels * n_columns)
    inside = columns != NOTHING
    starts = np.zeros(channels * len(columns) + 1, dtype=index)
    np.cumsum(np.tile(inside, channels), out=starts[1:])
    offsets = np.arange(channels, dtype=np.int64)[:, None] * n_columns
    indices = (columns[inside] + offsets).ravel().astype(index)
    matrix = sparse.csr_array(
        (np.ones(len(indices), dtype=dtype), indices, starts), shape=(channels * len(columns), channels * n_columns)
    )
    matrix.has_canonical_format = True
    return as_format(matrix, format)
