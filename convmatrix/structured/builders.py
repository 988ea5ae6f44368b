"""Sparse Toeplitz and circulant matrices with one or several levels, with or without channels.

Each is built as the matrix of a layer: a Toeplitz matrix is a convolution with zero padding, a circulant one a
convolution on a ring.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import memory
from convmatrix import options as validate
from convmatrix.matrices import conv_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_LARGE: Final = 2**26  # entries above which a matrix without empty diagonals is worth a warning
_OPERATORS: Final = {"zero": "doubly_block_toeplitz_operator", "circular": "circulant_operator"}


def toeplitz(
    column: ArrayLike,
    row: ArrayLike | None = None,
    shape: tuple[int, int] | None = None,
    *,
    format: str = "csr",
) -> Any:
    r"""Return the Toeplitz matrix with a given first column and first row: :math:`T_{ij} = a_{i-j}`.

    Parameters
    ----------
    column, row : array_like, one-dimensional
        ``column[k]`` is :math:`a_k` and ``row[k]`` is :math:`a_{-k}`; ``row[0]`` is ignored. By default the row is the
        conjugate of the column, so that the matrix is Hermitian, as in `scipy.linalg.toeplitz`.
    shape : (int, int), optional
        By default given by the lengths of column and row. If it is larger, the remaining diagonals are empty.
    format : {"csr", "csc", "coo", "dia", "bsr"}

    Returns
    -------
    scipy.sparse array
        All given diagonals are stored, including zeros.

    Raises
    ------
    ValueError
        If column or row is empty, is not one-dimensional, or is longer than the matrix.

    Examples
    --------
    >>> toeplitz([2, -1], shape=(4, 4)).toarray()
    array([[ 2, -1,  0,  0],
           [-1,  2, -1,  0],
           [ 0, -1,  2, -1],
           [ 0,  0, -1,  2]])
    """
    below, above, rows, columns = toeplitz_diagonals(column, row, shape)
    lags = np.arange(1 - len(above), len(below))
    stored = int((np.minimum(rows, columns + lags) - np.maximum(lags, 0)).sum())
    _check_size(stored, (rows, columns), np.result_type(below, above), "toeplitz_operator")
    coefficients = np.concatenate([above[:0:-1], below])  # a_{-(q-1)} .. a_{p-1}
    beyond = max(rows - columns + len(above) - 1, 0)
    padding = [(len(below) - 1, beyond)]
    return conv_matrix(coefficients, columns, padding=padding, flip=True, rows=(0, rows), format=format)


def toeplitz_diagonals(
    column: ArrayLike, row: ArrayLike | None, shape: tuple[int, int] | None
) -> tuple[NDArray[Any], NDArray[Any], int, int]:
    """Return column, row and the numbers of rows and columns of `toeplitz`; raise ValueError if they do not fit."""
    below = _vector("column", column)
    above = below.conj() if row is None else _vector("row", row)
    rows, columns = (len(below), len(above)) if shape is None else shape
    rows, columns = validate.integer("shape[0]", rows, minimum=1), validate.integer("shape[1]", columns, minimum=1)
    if len(below) > rows or len(above) > columns:
        raise ValueError(
            f"column has {len(below)} entries and row {len(above)}, but the matrix is {rows} x {columns}; shorten them "
            "or give a larger shape"
        )
    return below, above, rows, columns


def circulant(column: ArrayLike, n: int | None = None, *, format: str = "csr") -> Any:
    r"""Return the circulant matrix with a given first column: :math:`C_{ij} = c_{(i-j) \bmod n}`.

    Parameters
    ----------
    column : array_like, one-dimensional
    n : int, optional
        Number of rows and columns; by default the length of the column. A shorter column is padded with empty
        entries; a longer one wraps around, and entries that coincide are added.
    format : {"csr", "csc", "coo", "dia", "bsr"}

    Returns
    -------
    scipy.sparse array, shape (n, n)

    Examples
    --------
    >>> circulant([1, 2, 3]).toarray()
    array([[1, 3, 2],
           [2, 1, 3],
           [3, 2, 1]])
    """
    first = _vector("column", column)
    return doubly_block_circulant(first, (len(first) if n is None else n,), format=format)


def doubly_block_toeplitz(
    coefficients: ArrayLike,
    shape: int | Sequence[int],
    *,
    origin: int | Sequence[int] | None = None,
    order: str = "C",
    format: str = "csr",
) -> Any:
    r"""Return the block Toeplitz matrix with Toeplitz blocks, with one level per entry of ``shape``.

    .. math:: T_{ij} = a_{i - j + o}, \qquad i, j \in [0, n_1) \times \cdots \times [0, n_D)

    With two levels it is the matrix of a 2-D convolution with zero padding; with channels, a matrix of such blocks.

    Parameters
    ----------
    coefficients : array_like
        ``a``, of shape (*taps), or (C_out, C_in, *taps).
    shape : int or sequence of int
        Sizes n of the levels, the outermost first.
    origin : int or sequence of int, optional
        The index o of the main diagonal's coefficient; by default the centre, ``(taps - 1) // 2``.
    order : {"C", "F"}
        How rows and columns are flattened; "F" reverses the order of the levels.
    format : {"csr", "csc", "coo", "dia", "bsr"}

    Returns
    -------
    scipy.sparse array, shape (C_out * prod(shape), C_in * prod(shape))

    Raises
    ------
    ValueError
        If the coefficients have the wrong number of axes, or the origin lies outside the coefficients.

    Examples
    --------
    >>> doubly_block_toeplitz([[0, 1, 0], [1, -4, 1], [0, 1, 0]], (2, 2)).toarray()
    array([[-4,  1,  1,  0],
           [ 1, -4,  0,  1],
           [ 1,  0, -4,  1],
           [ 0,  1,  1, -4]])
    """
    return _levels_matrix(coefficients, shape, origin, "zero", order, format)


def doubly_block_circulant(
    coefficients: ArrayLike,
    shape: int | Sequence[int] | None = None,
    *,
    origin: int | Sequence[int] = 0,
    order: str = "C",
    format: str = "csr",
) -> Any:
    r"""Return the block circulant matrix with circulant blocks, with one level per entry of ``shape``.

    .. math:: C_{ij} = c_{(i - j + o) \bmod n}, \qquad i, j \in [0, n_1) \times \cdots \times [0, n_D)

    Parameters
    ----------
    coefficients : array_like
        ``c``, of shape (*taps), or (C_out, C_in, *taps) if ``shape`` is given; with the origin 0, the first column.
        Coefficients shorter than a level are padded with empty entries; longer ones wrap around, and entries that
        coincide are added.
    shape : int or sequence of int, optional
        Sizes n of the levels, the outermost first; by default the shape of the coefficients.
    origin : int or sequence of int
        The index of the main diagonal's coefficient.
    order, format
        As for `doubly_block_toeplitz`.

    Returns
    -------
    scipy.sparse array, shape (C_out * prod(shape), C_in * prod(shape))

    Examples
    --------
    >>> doubly_block_circulant([[1, 2], [3, 4]]).toarray()
    array([[1, 2, 3, 4],
           [2, 1, 4, 3],
           [3, 4, 1, 2],
           [4, 3, 2, 1]])
    """
    sizes = validate.array("coefficients", coefficients).shape if shape is None else shape
    return _levels_matrix(coefficients, sizes, origin, "circular", order, format)


def circulant_embedding(
    coefficients: ArrayLike,
    shape: int | Sequence[int],
    *,
    origin: int | Sequence[int] | None = None,
    sizes: int | Sequence[int] | None = None,
) -> NDArray[Any]:
    r"""Return the first column of a circulant matrix that contains a given Toeplitz matrix.

    On every level, rows and columns ``0 .. n - 1`` of the larger matrix are the Toeplitz matrix. This is how Toeplitz
    matrices are multiplied by fast Fourier transforms.

    Parameters
    ----------
    coefficients, shape, origin
        As for `doubly_block_toeplitz`, with any number of levels, with or without channels.
    sizes : int or sequence of int, optional
        Sizes of the circulant levels; by default the smallest possible ones, n plus the larger reach of the
        coefficients.

    Returns
    -------
    array, shape (*sizes) or (C_out, C_in, *sizes)
        The first column, in the form that `doubly_block_circulant` accepts.

    Raises
    ------
    ValueError
        If the sizes are too small.

    Examples
    --------
    >>> circulant_embedding([1, 2, 3], 4)
    array([2, 3, 0, 0, 1])
    """
    array, sides, taps = _levels(coefficients, shape)
    n = len(sides)
    centre = _centre(taps, origin)
    below = [min(k - 1 - o, size - 1) for k, o, size in zip(taps, centre, sides, strict=True)]
    above = [min(o, size - 1) for o, size in zip(centre, sides, strict=True)]
    least = [size + max(p, q) for size, p, q in zip(sides, below, above, strict=True)]
    rings = tuple(least) if sizes is None else validate.per_axis("sizes", sizes, n, minimum=1)
    if any(ring < wanted for ring, wanted in zip(rings, least, strict=True)):
        raise ValueError(f"sizes={rings} are too small: levels {sides} with these coefficients need {tuple(least)}")
    column = np.zeros((*array.shape[:-n], *rings), dtype=array.dtype)
    source = [slice(o - q, o + p + 1) for o, p, q in zip(centre, below, above, strict=True)]
    target = [np.arange(-q, p + 1) % ring for p, q, ring in zip(below, above, rings, strict=True)]
    channels = (slice(None),) * (array.ndim - n)
    places: Any = (*channels, *np.ix_(*target))
    column[places] = array[(*channels, *source)]
    return column


def _levels_matrix(
    coefficients: ArrayLike,
    shape: int | Sequence[int],
    origin: int | Sequence[int] | None,
    boundary: str,
    order: str,
    format: str,
) -> Any:
    """Return the matrix of the convolution with the coefficients as its kernel."""
    array, sizes, taps = _levels(coefficients, shape)
    centre = _centre(taps, origin)
    stored, side = math.prod(array.shape[: -len(sizes)]), math.prod(sizes)
    for size, count, place in zip(sizes, taps, centre, strict=True):
        lags = np.arange(count) - place
        stored *= size * min(count, size) if boundary == "circular" else int(np.maximum(size - abs(lags), 0).sum())
    channels = array.shape[: -len(sizes)] or (1, 1)
    operator = "ConvOperator" if array.ndim > len(sizes) else _OPERATORS[boundary]
    _check_size(stored, (channels[0] * side, channels[1] * side), array.dtype, operator)
    padding = [(k - 1 - o, o) for k, o in zip(taps, centre, strict=True)]
    inputs = (array.shape[1],) if array.ndim > len(sizes) else ()
    return conv_matrix(
        array, (*inputs, *sizes), padding=padding, boundary=boundary, flip=True, order=order, format=format
    )


def _check_size(stored: int, shape: tuple[int, int], dtype: np.dtype[Any], operator: str) -> None:
    """Refuse a matrix that does not fit in memory, and warn of a large one of which most entries are stored."""
    n_bytes = stored * (dtype.itemsize + np.dtype(validate.index_dtype(stored, *shape)).itemsize)
    name = f"the {shape[0]} x {shape[1]} matrix with {stored} stored entries"
    remedy = f"use {operator}, which multiplies without the matrix"
    memory.require(n_bytes, name, remedy)
    if stored > _LARGE and 2 * stored > math.prod(shape):
        warnings.warn(f"{name} takes {memory.in_words(n_bytes)}; {remedy}", stacklevel=4)


def _centre(taps: tuple[int, ...], origin: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the index of the main diagonal's coefficient on each level."""
    if origin is None:
        return tuple((k - 1) // 2 for k in taps)
    centre = validate.per_axis("origin", origin, len(taps), minimum=0)
    if any(o >= k for o, k in zip(centre, taps, strict=True)):
        raise ValueError(f"origin={centre} lies outside of the coefficients, whose levels have {taps} entries")
    return centre


def _vector(name: str, values: ArrayLike) -> NDArray[Any]:
    array = validate.array(name, values)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "biufc":
        raise ValueError(
            f"{name} must be one-dimensional and not empty, of numbers, but has shape {array.shape} and dtype "
            f"{array.dtype}"
        )
    return array


def _levels(
    coefficients: ArrayLike, shape: int | Sequence[int]
) -> tuple[NDArray[Any], tuple[int, ...], tuple[int, ...]]:
    """Return the coefficients, the sizes of the levels, and the number of coefficients on each level."""
    array = validate.array("coefficients", coefficients)
    sizes = validate.shape("shape", shape)
    if array.ndim not in (len(sizes), len(sizes) + 2):
        raise ValueError(
            f"the coefficients have shape {array.shape}, but shape={sizes} has {len(sizes)} levels; give one axis "
            "per level, or (C_out, C_in, *levels)"
        )
    return array, sizes, array.shape[-len(sizes) :]
