"""Displacement rank, and the circulant matrix that a Toeplitz matrix is a part of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from convmatrix import options as validate
from convmatrix.structured.builders import centre_of, levels
from convmatrix.structured.recognition import as_csr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_MOST = 4000


def circulant_embedding(
    coefficients: ArrayLike,
    shape: int | Sequence[int],
    *,
    origin: int | Sequence[int] | None = None,
    sizes: int | Sequence[int] | None = None,
) -> NDArray[Any]:
    r"""Return the first column of a circulant matrix of which a given Toeplitz matrix is the leading part.

    On every level, rows and columns ``0 .. n - 1`` of the larger matrix are the Toeplitz matrix: so it is multiplied by
    fast Fourier transforms.

    Parameters
    ----------
    coefficients, shape, origin
        As for `doubly_block_toeplitz`, of any number of levels, with or without channels.
    sizes : int or sequence of int, optional
        Sizes of the circulant levels; at least n + the larger reach of the coefficients, which is the default.

    Returns
    -------
    array, shape (*sizes) or (C_out, C_in, *sizes)
        To be given to `doubly_block_circulant`.

    Raises
    ------
    ValueError
        If the sizes are too small.

    Examples
    --------
    >>> circulant_embedding([1, 2, 3], 4)
    array([2, 3, 0, 0, 1])
    """
    array, sides, taps = levels(coefficients, shape)
    n = len(sides)
    centre = centre_of(taps, origin)
    below = [min(k - 1 - o, size - 1) for k, o, size in zip(taps, centre, sides, strict=True)]
    above = [min(o, size - 1) for o, size in zip(centre, sides, strict=True)]
    least = [size + max(p, q) for size, p, q in zip(sides, below, above, strict=True)]
    rings = tuple(least) if sizes is None else validate.per_axis("sizes", sizes, n, minimum=1)
    if any(ring < wanted for ring, wanted in zip(rings, least, strict=True)):
        raise ValueError(f"sizes={rings} are too small: levels {sides} with these coefficients need {tuple(least)}")
    column = np.zeros((*array.shape[:-n], *rings), dtype=array.dtype)
    source: list[slice] = []
    target: list[NDArray[Any]] = []
    for o, p, q, ring in zip(centre, below, above, rings, strict=True):
        source.append(slice(o - q, o + p + 1))
        target.append(np.arange(-q, p + 1) % ring)
    grid = np.ix_(*target)
    channels = (slice(None),) * (array.ndim - n)
    target_index: Any = (*channels, *grid)
    column[target_index] = array[(*channels, *source)]
    return column


def displacement_rank(A: Any, *, tol: float | None = None) -> int:
    r"""Return the rank of :math:`A - Z A Z^T`, where Z shifts down by one row: how far a matrix is from Toeplitz.

    It is at most 2 for a Toeplitz matrix; inverses and products of such matrices have a small one too. Kailath, Kung,
    Morf, Displacement ranks of matrices, 1979.

    Parameters
    ----------
    A : sparse or dense matrix
    tol : float, optional
        Singular values below it count as zero; by default as in `numpy.linalg.matrix_rank`.

    Raises
    ------
    ValueError
        If rows and columns that are left after the difference are too many for a dense decomposition.

    Examples
    --------
    >>> import convmatrix as cm
    >>> displacement_rank(cm.conv_matrix([1, 2, 3], 8)), displacement_rank(np.diag([1, 2, 3, 4]))
    (1, 4)
    """
    matrix = as_csr(A)
    if matrix.dtype.kind in "biu":
        matrix = matrix.astype(np.float64)
    rows, columns = matrix.shape
    shifted = sparse.eye_array(rows, k=-1) @ matrix @ sparse.eye_array(columns, k=1)
    difference = sparse.csr_array(matrix - shifted)
    difference.eliminate_zeros()
    used_rows = np.flatnonzero(np.diff(difference.indptr))
    used_columns = np.unique(difference.indices)
    if not len(used_rows):
        return 0
    if min(len(used_rows), len(used_columns)) > _MOST:
        raise ValueError(
            f"{len(used_rows)} rows and {len(used_columns)} columns differ from their neighbours, and {_MOST} are the "
            "most that are decomposed; take a part of the matrix"
        )
    dense = difference[used_rows][:, used_columns].toarray()
    return int(np.linalg.matrix_rank(dense, tol=tol))
