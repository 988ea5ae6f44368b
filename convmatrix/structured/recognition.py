"""Tests for Toeplitz and circulant matrices with any number of levels; they report the first deviating entry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from scipy import sparse

from convmatrix import options as validate
from convmatrix.structured.diagonals import Diagonals, Violation, first_violation
from convmatrix.structured.operator_probes import ProbedOperator, is_operator, probed_violation

if TYPE_CHECKING:
    from collections.abc import Sequence

Structure = Literal["toeplitz", "circulant"]

_MOST_ROWS: Final = 4000


def structure_violation(
    A: Any,
    structure: Structure,
    shape: int | Sequence[int] | None = None,
    *,
    input_shape: int | Sequence[int] | None = None,
    channels: tuple[int, int] = (1, 1),
    tol: float = 0.0,
) -> Violation | None:
    """Return the first entry that prevents a matrix from being Toeplitz or circulant, or None if it is.

    Rows and columns are indexed by (channel, *levels). On every level, an entry may depend only on the difference of
    its row and column index, taken modulo the level's size for a circulant matrix.

    Parameters
    ----------
    A : sparse or dense matrix, or linear operator
        Entries that are not stored are zero. For a linear operator, the few columns that determine a matrix of this
        structure are computed, and compared with the operator on random vectors.
    structure : {"toeplitz", "circulant"}
    shape : int or sequence of int, optional
        Sizes of the levels of the rows, the outermost first; one level with all rows by default.
    input_shape : int or sequence of int, optional
        Sizes of the levels of the columns, if different.
    channels : (int, int)
        Number of channels of the rows and of the columns.
    tol : float
        Largest allowed difference from the first entry of the diagonal. Differences of an operator in floating point
        that are no larger than rounding errors of its products (about 1e-12 of its norm) are allowed as well.

    Returns
    -------
    Violation or None
        For an operator, an entry in the first row that differs, compared with a computed one. If a difference is
        nonzero but at most ``tol``, all columns are computed.

    Raises
    ------
    ValueError
        If the sizes do not fit the matrix, or the structure is circulant and a level is not square; if all columns of
        an operator with more than 2**31 entries would be needed.

    Examples
    --------
    >>> print(structure_violation([[1, 2], [3, 4]], "toeplitz"))
    entry (1, 1) is 4, but entry (0, 0) of the same diagonal is 1
    """
    validate.one_of("structure", structure, ("toeplitz", "circulant"))
    if not validate.real("tol", tol) >= 0:
        raise ValueError(f"tol={tol!r} must not be negative: it is the largest difference allowed")
    matrix = ProbedOperator.of(A) if is_operator(A) else as_csr(A)
    rows, columns = _sizes(matrix, shape, input_shape, channels)
    if structure == "circulant" and rows != columns:
        raise ValueError(
            f"a circulant matrix is square on every level, but its rows have levels {rows} and its columns {columns}"
        )
    if 0 in matrix.shape:
        return None
    diagonals = Diagonals(rows, columns, channels, wrapped=structure == "circulant")
    find: Any = probed_violation if isinstance(matrix, ProbedOperator) else first_violation
    violation: Violation | None = find(matrix, diagonals, tol)
    return violation


def is_toeplitz(A: Any, *, tol: float = 0.0) -> bool:
    """Return whether a matrix is constant along its diagonals.

    Parameters
    ----------
    A : sparse or dense matrix, or linear operator, of any shape
    tol : float
        As for `structure_violation`, which also returns the first deviating entry.

    Examples
    --------
    >>> is_toeplitz([[1, 2, 3], [4, 1, 2]]), is_toeplitz([[1, 2, 3], [4, 5, 2]])
    (True, False)
    """
    return structure_violation(A, "toeplitz", tol=tol) is None


def is_circulant(A: Any, *, tol: float = 0.0) -> bool:
    """Return whether a matrix is square and constant along its diagonals, which wrap around the ends.

    Examples
    --------
    >>> is_circulant([[1, 2, 3], [3, 1, 2], [2, 3, 1]]), is_circulant([[1, 2], [3, 1]])
    (True, False)
    """
    matrix = A if is_operator(A) else as_csr(A)
    return matrix.shape[0] == matrix.shape[1] and structure_violation(matrix, "circulant", tol=tol) is None


def is_doubly_block_toeplitz(
    A: Any,
    shape: int | Sequence[int],
    input_shape: int | Sequence[int] | None = None,
    *,
    channels: tuple[int, int] = (1, 1),
    tol: float = 0.0,
) -> bool:
    """Return whether a matrix is block Toeplitz with Toeplitz blocks, with one level per entry of ``shape``.

    Parameters
    ----------
    A, shape, input_shape, channels, tol
        As for `structure_violation`, which also returns the first deviating entry.

    Examples
    --------
    >>> import convmatrix as cm
    >>> is_doubly_block_toeplitz(cm.conv_matrix([[1, 2], [3, 4]], (3, 3)), (2, 2), (3, 3))
    True
    """
    return structure_violation(A, "toeplitz", shape, input_shape=input_shape, channels=channels, tol=tol) is None


def is_doubly_block_circulant(
    A: Any, shape: int | Sequence[int], *, channels: tuple[int, int] = (1, 1), tol: float = 0.0
) -> bool:
    """Return whether a matrix is block circulant with circulant blocks, with one level per entry of ``shape``.

    Examples
    --------
    >>> import convmatrix as cm
    >>> A = cm.conv_matrix([[1, 2], [3, 4]], (3, 3), padding="same", boundary="circular")
    >>> is_doubly_block_circulant(A, (3, 3))
    True
    """
    return structure_violation(A, "circulant", shape, channels=channels, tol=tol) is None


def displacement_rank(A: Any, *, tol: float | None = None) -> int:
    r"""Return the displacement rank of a matrix, the rank of :math:`A - Z A Z^T` where Z shifts down by one row.

    It measures how far a matrix is from Toeplitz: at most 2 for a Toeplitz matrix, and small for inverses and products
    of such matrices. Kailath, Kung, Morf, Displacement ranks of matrices, 1979.

    Parameters
    ----------
    A : sparse or dense matrix
    tol : float, optional
        Singular values below it count as zero; by default as in `numpy.linalg.matrix_rank`.

    Raises
    ------
    ValueError
        If the difference has too many nonzero rows and columns for a dense decomposition.

    Examples
    --------
    >>> import convmatrix as cm
    >>> displacement_rank(cm.conv_matrix([1, 2, 3], 8)), displacement_rank(np.diag([1, 2, 3, 4]))
    (1, 4)
    """
    tol = None if tol is None else validate.real("tol", tol)
    matrix = as_csr(A)
    if matrix.dtype.kind in "biu":
        matrix = matrix.astype(np.float64)
    rows, columns = matrix.shape
    if 0 in matrix.shape:
        return 0
    shifted = sparse.eye_array(rows, k=-1) @ matrix @ sparse.eye_array(columns, k=1)
    difference = sparse.csr_array(matrix - shifted)
    difference.eliminate_zeros()
    used_rows = np.flatnonzero(np.diff(difference.indptr))
    used_columns = np.unique(difference.indices)
    if not len(used_rows):
        return 0
    if min(len(used_rows), len(used_columns)) > _MOST_ROWS:
        raise ValueError(
            f"{len(used_rows)} rows and {len(used_columns)} columns differ from their neighbours, but at most "
            f"{_MOST_ROWS} are decomposed; use a part of the matrix"
        )
    dense = difference[used_rows][:, used_columns].toarray()
    return int(np.linalg.matrix_rank(dense, tol=tol))


def as_csr(A: Any) -> Any:
    """Return a matrix as a sorted CSR array without duplicates; the argument is not modified."""
    if is_operator(A):
        raise TypeError(
            f"a linear operator of shape {tuple(A.shape)} was given, but this function needs the entries of its "
            f"matrix; give the sparse matrix, or A @ numpy.eye({A.shape[1]}) of a small one"
        )
    if isinstance(A, sparse.csr_array) and A.ndim == 2 and A.has_canonical_format:  # as in matrices of this package
        return A
    if not sparse.issparse(A):
        A = validate.array("A", A)
        if A.ndim != 2 or A.dtype.kind not in "biufc":
            raise ValueError(f"expected a matrix of numbers, but got an array of shape {A.shape} and dtype {A.dtype}")
    matrix: Any = sparse.csr_array(A)
    if not matrix.has_canonical_format:
        if matrix is A or np.shares_memory(matrix.data, getattr(A, "data", np.empty(0))):
            matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def _sizes(
    matrix: Any, shape: int | Sequence[int] | None, input_shape: int | Sequence[int] | None, channels: tuple[int, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the levels of rows and columns; raise if they do not fit the matrix."""
    outputs, inputs = validate.per_axis("channels", channels, 2, minimum=1)
    n_rows, n_columns = matrix.shape
    if shape is None:
        return (n_rows // outputs,), (n_columns // inputs,)
    rows = validate.shape("shape", shape)
    columns = rows if input_shape is None else validate.shape("input_shape", input_shape)
    if len(rows) != len(columns):
        raise ValueError(f"shape={rows} and input_shape={columns} must have the same number of levels")
    wanted = (outputs * math.prod(rows), inputs * math.prod(columns))
    if wanted != matrix.shape:
        raise ValueError(
            f"the matrix is {n_rows} x {n_columns}, but channels {outputs} x {inputs} of levels {rows} and {columns} "
            f"make {wanted[0]} x {wanted[1]}; give the sizes of this matrix"
        )
    return rows, columns
