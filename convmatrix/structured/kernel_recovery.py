"""Recovery of the kernel of a given matrix, by projection onto the matrices of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from convmatrix.arrays import scaled_to_one, starts_of_runs
from convmatrix.geometry import ConvGeometry
from convmatrix.operator import ConvOperator
from convmatrix.structured.layer_probes import read_layer_matrix, sampled_pattern
from convmatrix.structured.operator_probes import ProbedOperator, is_operator
from convmatrix.structured.recognition import as_csr
from convmatrix.weights import group_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.arrays import Array
    from convmatrix.pattern import WeightPattern

_PASSES: Final = 3
"""How often the normal equations are solved, after the first time for the residual.

Rounding errors grow with the square of the condition number, which is large where a signed boundary is read over many
periods."""


def nearest_conv(A: Any, geometry: ConvGeometry) -> Array:
    r"""Return the weights of the layer whose matrix is nearest to a given one in the Frobenius norm.

    .. math:: \min_w \| A - \sum_k w_k P_k \|_F

    A weight that shares no entry with another weight is the mean of its entries. If several weights share entries (as
    with a wrapping circular boundary, or a reflection), their normal equations are solved; if the solution is not
    unique, that of least norm is returned. Weights that do not occur are zero.

    Parameters
    ----------
    A : sparse or dense matrix, or linear operator, shape (n_out, n_in)
        An operator that is a layer of this geometry is read with few products: one per input channel and phase of the
        strides, or, without sharing, one per input channel and tap; products with random vectors test whether it is
        one. Otherwise, its entries are computed.
    geometry : ConvGeometry

    Returns
    -------
    array of float or complex, shape ``geometry.weight_shape``

    Raises
    ------
    ValueError
        If the matrix has another shape, or entries that are not finite; if an operator with more than 2**31 entries
        would have to be read column by column.

    Examples
    --------
    >>> import convmatrix as cm
    >>> nearest_conv([[1, 2, 0], [0, 3, 4]], cm.ConvGeometry(3, 2))
    array([[[2., 3.]]])
    """
    return recover_kernel(A, geometry)[0]


def recover_kernel(A: Any, geometry: ConvGeometry) -> tuple[Array, float]:
    r"""Return the weights whose matrix is nearest to a given one, and the distance of the two matrices.

    Parameters
    ----------
    A : sparse or dense matrix, or linear operator, shape (n_out, n_in)
        An operator is read with few products, as in `nearest_conv`.
    geometry : ConvGeometry

    Returns
    -------
    w : array of float or complex, shape ``geometry.weight_shape``
        The weights, as returned by `nearest_conv`.
    residual : float
        The Frobenius norm of A minus the matrix of w. It is exactly 0 if A is the matrix of a layer whose weights share
        no entries, and if an operator is that of the layer, up to rounding errors of its products.

    Examples
    --------
    >>> import convmatrix as cm
    >>> geometry = cm.ConvGeometry(4, 2)
    >>> recover_kernel(cm.conv_matrix([0.1, 0.7], geometry), geometry)
    (array([[[0.1, 0.7]]]), 0.0)

    From an operator, without its matrix:

    >>> recover_kernel(cm.ConvOperator([0.1, 0.7], geometry), geometry)
    (array([[[0.1, 0.7]]]), 0.0)
    """
    if not isinstance(geometry, ConvGeometry):
        raise TypeError(f"geometry must be a ConvGeometry, but is {geometry!r} ({type(geometry).__name__})")
    given = ProbedOperator.of(A) if is_operator(A) else as_csr(A)
    if given.shape != (geometry.n_out, geometry.n_in):
        raise ValueError(
            f"the matrix is {given.shape[0]} x {given.shape[1]}, but the layer's is {geometry.n_out} x "
            f"{geometry.n_in} ({geometry!r}); give the geometry of this matrix"
        )
    if not isinstance(given, ProbedOperator):
        return _fit_entries(given, geometry)
    weights = _operator_weights(given, geometry) if geometry.sharing == "shared" else None
    return _fit_entries(read_layer_matrix(given, geometry), geometry) if weights is None else (weights, 0.0)


def _operator_weights(operator: ProbedOperator, geometry: ConvGeometry) -> Array | None:
    """Return the weights that are read from a few columns, or None if the operator is not that of the layer."""
    pattern = sampled_pattern(geometry)
    entries, first = _entries(pattern)
    rows, columns = pattern.rows[first], pattern.cols[first]
    numbers, places = np.unique(columns, return_inverse=True)
    found = np.empty(len(first), dtype=np.result_type(operator.dtype, np.float64))
    for start in range(0, len(numbers), operator.block):
        inside = np.flatnonzero((places >= start) & (places < start + operator.block))
        read = operator.columns(numbers[start : start + operator.block])
        found[inside] = read[rows[inside], places[inside] - start]
    weights = _nearest(pattern, entries, found)[0].reshape(geometry.weight_shape)
    sums = np.abs(group_weights(geometry, weights)).sum(axis=tuple(range(-len(geometry.kernel_shape), 0)))
    norm = float(np.sqrt(sums.sum(axis=-1).max()) * np.sqrt(sums.sum(axis=-2).max()))
    layer = ConvOperator(weights, geometry, method="direct" if operator.exact else "auto")
    return weights if operator.equals(layer, norm) else None


def _fit_entries(matrix: Any, geometry: ConvGeometry) -> tuple[Array, float]:
    values = matrix.data.astype(np.result_type(matrix.dtype, np.float64))
    if not np.isfinite(values).all():
        raise ValueError("the matrix has infinite or NaN entries; replace them first")
    values, scale = scaled_to_one(values)
    pattern = geometry.pattern()
    entries, first = _entries(pattern)
    found, elsewhere = _look_up(matrix, values, pattern, first)
    weights, rest = _nearest(pattern, entries, found)
    residual = float(np.hypot(np.linalg.norm(rest), np.linalg.norm(elsewhere)))
    return weights.reshape(pattern.weight_shape) * scale, residual * scale


def _nearest(pattern: WeightPattern, entries: NDArray[np.int64], found: Array) -> tuple[Array, Array]:
    """Return the weights nearest to given values of the entries, and the differences that remain."""
    weights = np.zeros(pattern.n_weights, dtype=found.dtype)
    single = np.bincount(entries)[entries] == 1
    factors = pattern.coefficients
    if factors is not None:
        single &= factors != 0
    # Start from an entry in which only this weight occurs: exact if all entries of the weight are equal.
    own = np.flatnonzero(single)[::-1]
    weights[pattern.weight_index[own]] = found[entries[own]] / (1 if factors is None else factors[own])
    weights += _least_squares(pattern, entries, found - _sums(weights, pattern, entries))
    return weights, found - _sums(weights, pattern, entries)


def _entries(pattern: WeightPattern) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the matrix entry of each triplet, and the first triplet of each entry."""
    new = starts_of_runs(pattern.rows, pattern.cols)
    return np.cumsum(new) - 1, np.flatnonzero(new)


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


def _sums(weights: Array, pattern: WeightPattern, entries: NDArray[np.int64]) -> Array:
    """Return the entries of the matrix of these weights."""
    terms = pattern.scaled(weights[pattern.weight_index])
    if not len(terms) or entries[-1] == len(terms) - 1:  # one weight per entry
        return terms
    total = np.zeros(entries[-1] + 1, dtype=weights.dtype)
    np.add.at(total, entries, terms)
    return total


def _least_squares(pattern: WeightPattern, entries: NDArray[np.int64], values: Array) -> Array:
    """Return the weights of least norm whose entries are nearest to the given values."""
    size, n_entries = pattern.n_weights, len(values)
    factors = pattern.scaled(np.ones(pattern.n_entries))
    counts = sparse.csr_array((factors, (entries, pattern.weight_index)), shape=(n_entries, size))
    if counts.nnz == n_entries == pattern.n_entries:
        squares = np.bincount(pattern.weight_index, factors**2, minlength=size)
        return (counts.T @ values) / np.where(squares > 0, squares, 1)
    normal = sparse.csr_array(counts.T @ counts)
    _, component = connected_components(normal, directed=False)
    order = np.argsort(component, kind="stable")  # weights by component
    sizes = np.bincount(component)
    starts = np.cumsum(sizes) - sizes
    inverses = []  # for each size of component: the weights, and the inverses of the normal matrices
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
        inverses.append((members, np.linalg.pinv(blocks, hermitian=True)))
    weights = np.zeros(size, dtype=np.result_type(factors, values))
    for _ in range(_PASSES):
        right = counts.T @ (values - counts @ weights)
        for members, inverse in inverses:
            weights[members] += (inverse @ right[members][..., None])[..., 0]
    return weights
