"""Recovery of the kernel of a given matrix, by projection onto the matrices of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from convmatrix.arrays import scaled_to_one
from convmatrix.structured.recognition import as_csr

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry
    from convmatrix.pattern import WeightPattern


def nearest_conv(A: Any, geometry: ConvGeometry) -> Array:
    r"""Return the weights of the layer whose matrix is nearest to a given one in the Frobenius norm.

    .. math:: \min_w \| A - \sum_k w_k P_k \|_F

    A weight that shares no entry with another weight is the mean of its entries. If several weights share entries (as
    with a wrapping circular boundary, or a reflection), their normal equations are solved; if the solution is not
    unique, that of least norm is returned. Weights that do not occur are zero.

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
        If the matrix has another shape, or entries that are not finite.

    Examples
    --------
    >>> import convmatrix as cm
    >>> nearest_conv([[1, 2, 0], [0, 3, 4]], cm.ConvGeometry(3, 2))
    array([[[2., 3.]]])
    """
    return _fit(as_csr(A), geometry)[0]


def recover_kernel(A: Any, geometry: ConvGeometry) -> tuple[Array, float]:
    r"""Return the weights whose matrix is nearest to a given one, and the distance of the two matrices.

    Parameters
    ----------
    A : sparse or dense matrix, shape (n_out, n_in)
    geometry : ConvGeometry

    Returns
    -------
    w : array of float or complex, shape ``geometry.weight_shape``
        The weights, as returned by `nearest_conv`.
    residual : float
        The Frobenius norm of A minus the matrix of w. It is exactly 0 if A is the matrix of a layer whose weights share
        no entries.

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
        raise ValueError("the matrix has infinite or NaN entries; replace them first")
    values, scale = scaled_to_one(values)
    pattern = geometry.pattern()
    entries, n_entries, first = _entries(pattern)
    found, elsewhere = _look_up(matrix, values, pattern, first)
    weights = np.zeros(pattern.n_weights, dtype=values.dtype)
    single = np.bincount(entries, minlength=n_entries)[entries] == 1
    # Start from an entry in which only this weight occurs: exact if all entries of the weight are equal.
    own = np.flatnonzero(single)[::-1]
    weights[pattern.weight_index[own]] = found[entries[own]]
    weights += _least_squares(pattern, entries, n_entries, found - _sums(weights, pattern, entries, n_entries))
    rest = found - _sums(weights, pattern, entries, n_entries)
    residual = float(np.hypot(np.linalg.norm(rest), np.linalg.norm(elsewhere)))
    return weights.reshape(pattern.weight_shape) * scale, residual * scale


def _entries(pattern: WeightPattern) -> tuple[NDArray[np.int64], int, NDArray[np.int64]]:
    """Return the matrix entry of each triplet, the number of entries, and the first triplet of each entry."""
    rows, columns = pattern.rows, pattern.cols
    new = np.ones(pattern.n_entries, dtype=bool)
    new[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    first = np.flatnonzero(new)
    return np.cumsum(new) - 1, len(first), first


def _look_up(matrix: Any, values: Array, pattern: WeightPattern, first: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return the values at the entries of the pattern, and the values stored elsewhere."""
    columns = pattern.cols[first]
    if len(columns) == len(values) and np.array_equal(columns, matrix.indices):
        starts = np.searchsorted(first, pattern.row_starts)
        if np.array_equal(starts, matrix.indptr):
            return values, values[:0]
    wide = np.int64(matrix.shape[1])
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    stored = rows * wide + matrix.indices
    wanted = pattern.rows[first].astype(np.int64) * wide + columns
    nearest = np.minimum(np.searchsorted(stored, wanted), max(len(stored) - 1, 0))
    hit = (stored[nearest] == wanted) if len(stored) else np.zeros(len(wanted), dtype=bool)
    found = np.zeros(len(wanted), dtype=values.dtype)
    found[hit] = values[nearest[hit]]
    outside = np.ones(len(values), dtype=bool)
    outside[nearest[hit]] = False
    return found, values[outside]


def _sums(weights: Array, pattern: WeightPattern, entries: NDArray[np.int64], n_entries: int) -> Array:
    """Return the entries of the matrix of these weights."""
    if n_entries == pattern.n_entries:
        return np.asarray(weights[pattern.weight_index])
    total = np.zeros(n_entries, dtype=weights.dtype)
    np.add.at(total, entries, weights[pattern.weight_index])
    return total


def _least_squares(pattern: WeightPattern, entries: NDArray[np.int64], n_entries: int, values: Array) -> Array:
    """Return the weights of least norm whose entries are nearest to the given values."""
    size = pattern.n_weights
    ones = np.ones(pattern.n_entries)
    counts = sparse.csr_array((ones, (entries, pattern.weight_index)), shape=(n_entries, size))
    right = counts.T @ values
    if counts.nnz == n_entries == pattern.n_entries:
        uses = np.bincount(pattern.weight_index, minlength=size)
        return right / np.maximum(uses, 1)
    normal = sparse.csr_array(counts.T @ counts)
    _, component = connected_components(normal, directed=False)
    order = np.argsort(component, kind="stable")  # weights by component
    sizes = np.bincount(component)
    starts = np.cumsum(sizes) - sizes
    weights = np.zeros(size, dtype=right.dtype)
    position = np.empty(size, dtype=np.int64)  # within the component
    position[order] = np.arange(size) - np.repeat(starts, sizes)
    coordinates = normal.tocoo()
    for length in np.unique(sizes):  # components of one size at a time
        same = np.flatnonzero(sizes == length)
        members = order[starts[same][:, None] + np.arange(length)]  # (components, length)
        number = np.full(len(sizes), -1)
        number[same] = np.arange(len(same))
        chosen = number[component[coordinates.row]] >= 0
        rows, columns = coordinates.row[chosen], coordinates.col[chosen]
        blocks = np.zeros((len(same), length, length))
        blocks[number[component[rows]], position[rows], position[columns]] = coordinates.data[chosen]
        solved = np.linalg.pinv(blocks, hermitian=True) @ right[members][..., None]
        weights[members] = solved[..., 0]
    return weights
