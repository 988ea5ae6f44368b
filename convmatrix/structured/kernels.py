"""From a matrix back to a kernel: the nearest matrix of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from convmatrix.structured.recognition import as_csr

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry
    from convmatrix.pattern import WeightPattern

    Array = NDArray[Any]


def nearest_conv(A: Any, geometry: ConvGeometry) -> Array:
    r"""Return the weights of the layer whose matrix is nearest to a given one in the Frobenius norm.

    .. math:: \min_w \| A - \sum_k w_k P_k \|_F

    A weight that shares no entry with another one is the mean of its entries. Where several weights share entries (a
    circular boundary that wraps, a reflection) the normal equations of those weights are solved; what they leave open
    is chosen of least norm. Weights that sit nowhere are zero.

    Parameters
    ----------
    A : sparse or dense matrix, shape (n_out, n_in)
    geometry : ConvGeometry

    Returns
    -------
    array of float or complex, shape ``geometry.weight_shape``

    Raises
    ------
    ValueError
        If the matrix has another shape.

    Examples
    --------
    >>> import convmatrix as cm
    >>> nearest_conv([[1, 2, 0], [0, 3, 4]], cm.ConvGeometry(3, 2))
    array([[[2., 3.]]])
    """
    return _fit(as_csr(A), geometry)[0]


def recover_kernel(A: Any, geometry: ConvGeometry) -> tuple[Array, float]:
    r"""Return the weights whose matrix is nearest to a given one, and how far it is from it.

    Parameters
    ----------
    A : sparse or dense matrix, shape (n_out, n_in)
    geometry : ConvGeometry

    Returns
    -------
    w : array of float or complex, shape ``geometry.weight_shape``
        As by `nearest_conv`.
    residual : float
        The Frobenius norm of A minus the matrix of w. It is 0 where the weights share no entries and A is exactly the
        matrix of a layer.

    Examples
    --------
    >>> import convmatrix as cm
    >>> geometry = cm.ConvGeometry(4, 2)
    >>> recover_kernel(cm.conv_matrix([0.1, 0.7], geometry), geometry)
    (array([[[0.1, 0.7]]]), 0.0)
    """
    return _fit(as_csr(A), geometry)


def _fit(matrix: Any, geometry: ConvGeometry) -> tuple[Array, float]:
    if matrix.shape != (geometry.n_out, geometry.n_in):
        raise ValueError(
            f"the matrix is {matrix.shape[0]} x {matrix.shape[1]}, but the layer's is {geometry.n_out} x "
            f"{geometry.n_in} ({geometry!r}); give the geometry of this matrix"
        )
    values = matrix.data.astype(np.result_type(matrix.dtype, np.float64))
    if not np.isfinite(values).all():
        raise ValueError("the matrix has entries that are infinite or NaN; replace them first")
    pattern = geometry.pattern()
    entries, n_entries, first = _entries(pattern)
    found, elsewhere = _look_up(matrix, values, pattern, first)
    weights = np.zeros(pattern.n_weights, dtype=values.dtype)
    single = np.bincount(entries, minlength=n_entries)[entries] == 1
    # A first value of each weight, from an entry of its own: exact where all of its entries are equal.
    own = np.flatnonzero(single)[::-1]
    weights[pattern.weight_index[own]] = found[entries[own]]
    weights += _least_squares(pattern, entries, n_entries, found - _sums(weights, pattern, entries, n_entries))
    rest = found - _sums(weights, pattern, entries, n_entries)
    return weights.reshape(pattern.weight_shape), float(np.hypot(np.linalg.norm(rest), np.linalg.norm(elsewhere)))


def _entries(pattern: WeightPattern) -> tuple[NDArray[np.int64], int, NDArray[np.int64]]:
    """Return the matrix entry of each triplet, how many entries there are, and the first triplet of each."""
    rows, columns = pattern.rows, pattern.cols
    new = np.ones(pattern.n_entries, dtype=bool)
    new[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    first = np.flatnonzero(new)
    return np.cumsum(new) - 1, len(first), first


def _look_up(matrix: Any, values: Array, pattern: WeightPattern, first: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return the values at the entries of the pattern, and those that are stored elsewhere."""
    columns = pattern.cols[first]
    if len(columns) == len(values) and np.array_equal(columns, matrix.indices):
        starts = np.searchsorted(first, pattern.row_starts)
        if np.array_equal(starts, matrix.indptr):
            return values, values[:0]
    wide = np.int64(matrix.shape[1])
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    stored = rows * wide + matrix.indices
    wanted = pattern.rows[first].astype(np.int64) * wide + columns
    places = np.searchsorted(stored, wanted)
    places_inside = np.minimum(places, max(len(stored) - 1, 0))
    hit = (stored[places_inside] == wanted) if len(stored) else np.zeros(len(wanted), dtype=bool)
    found = np.zeros(len(wanted), dtype=values.dtype)
    found[hit] = values[places_inside[hit]]
    outside = np.ones(len(values), dtype=bool)
    outside[places_inside[hit]] = False
    return found, values[outside]


def _sums(weights: Array, pattern: WeightPattern, entries: NDArray[np.int64], n_entries: int) -> Array:
    """Return the entries of the matrix of these weights."""
    if n_entries == pattern.n_entries:
        return np.asarray(weights[pattern.weight_index])
    total = np.zeros(n_entries, dtype=weights.dtype)
    np.add.at(total, entries, weights[pattern.weight_index])
    return total


def _least_squares(pattern: WeightPattern, entries: NDArray[np.int64], n_entries: int, values: Array) -> Array:
    """Return the weights whose entries come nearest to values, of least norm where several do."""
    size = pattern.n_weights
    ones = np.ones(pattern.n_entries)
    counts = sparse.csr_array((ones, (entries, pattern.weight_index)), shape=(n_entries, size))
    right = counts.T @ values
    if counts.nnz == n_entries == pattern.n_entries:
        uses = np.bincount(pattern.weight_index, minlength=size)
        return right / np.maximum(uses, 1)
    normal = sparse.csr_array(counts.T @ counts)
    _, part = connected_components(normal, directed=False)
    order = np.argsort(part, kind="stable")  # weights by part
    sizes = np.bincount(part)
    starts = np.cumsum(sizes) - sizes
    weights = np.zeros(size, dtype=right.dtype)
    place = np.empty(size, dtype=np.int64)
    place[order] = np.arange(size) - np.repeat(starts, sizes)
    coordinates = normal.tocoo()
    for length in np.unique(sizes):  # parts of one size at a time
        parts = np.flatnonzero(sizes == length)
        members = order[starts[parts][:, None] + np.arange(length)]  # (parts, length)
        number = np.full(len(sizes), -1)
        number[parts] = np.arange(len(parts))
        chosen = number[part[coordinates.row]] >= 0
        rows, columns = coordinates.row[chosen], coordinates.col[chosen]
        blocks = np.zeros((len(parts), length, length))
        blocks[number[part[rows]], place[rows], place[columns]] = coordinates.data[chosen]
        solved = np.linalg.pinv(blocks, hermitian=True) @ right[members][..., None]
        weights[members] = solved[..., 0]
    return weights
