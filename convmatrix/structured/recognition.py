"""Whether a matrix is Toeplitz or circulant, at any number of levels; and if not, which entry breaks it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from scipy import sparse

from convmatrix import options as validate
from convmatrix.structured._diagonals import Diagonals, Violation, first_violation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

Structure = Literal["toeplitz", "circulant"]


def structure_violation(
    A: Any,
    structure: Structure,
    shape: int | Sequence[int] | None = None,
    *,
    input_shape: int | Sequence[int] | None = None,
    channels: tuple[int, int] = (1, 1),
    tol: float = 0.0,
) -> Violation | None:
    """Return the first entry that keeps a matrix from being Toeplitz or circulant, or None if it is.

    Rows are taken as (channel, *levels), columns likewise. On every level an entry may depend on the difference of its
    row and column only, for a circulant matrix on the difference modulo the level's size.

    Parameters
    ----------
    A : sparse or dense matrix
        Entries that are not stored are zero.
    structure : {"toeplitz", "circulant"}
    shape : int or sequence of int, optional
        Sizes of the levels of the rows, the outermost first; one level with all rows by default.
    input_shape : int or sequence of int, optional
        Those of the columns where they differ.
    channels : (int, int)
        Channels of the rows and of the columns.
    tol : float
        Largest difference from the first entry of the diagonal.

    Raises
    ------
    ValueError
        If the sizes do not make up the matrix, or a circulant one is not square on every level.

    Examples
    --------
    >>> print(structure_violation([[1, 2], [3, 4]], "toeplitz"))
    entry (1, 1) is 4, but entry (0, 0) of the same diagonal is 1
    """
    if structure not in ("toeplitz", "circulant"):
        raise ValueError(f"structure {structure!r} is unknown; choose toeplitz or circulant")
    if not tol >= 0:
        raise ValueError(f"tol={tol!r} must not be negative: it is the largest difference that is allowed")
    matrix = as_csr(A)
    rows, columns = _sizes(matrix, shape, input_shape, channels)
    if structure == "circulant" and rows != columns:
        raise ValueError(
            f"a circulant matrix is square on every level, but its rows have levels {rows} and its columns {columns}"
        )
    if 0 in matrix.shape:
        return None
    return first_violation(matrix, Diagonals(rows, columns, channels, wrapped=structure == "circulant"), tol)


def is_toeplitz(A: Any, *, tol: float = 0.0) -> bool:
    """Whether a matrix is constant along its diagonals.

    Parameters
    ----------
    A : sparse or dense matrix, of any shape
    tol : float
        As for `structure_violation`, which also tells what is wrong.

    Examples
    --------
    >>> is_toeplitz([[1, 2, 3], [4, 1, 2]]), is_toeplitz([[1, 2, 3], [4, 5, 2]])
    (True, False)
    """
    return structure_violation(A, "toeplitz", tol=tol) is None


def is_circulant(A: Any, *, tol: float = 0.0) -> bool:
    """Whether a matrix is square and constant along its diagonals, which go on around the ends.

    Examples
    --------
    >>> is_circulant([[1, 2, 3], [3, 1, 2], [2, 3, 1]]), is_circulant([[1, 2], [3, 1]])
    (True, False)
    """
    matrix = as_csr(A)
    return matrix.shape[0] == matrix.shape[1] and structure_violation(matrix, "circulant", tol=tol) is None


def is_doubly_block_toeplitz(
    A: Any,
    shape: int | Sequence[int],
    input_shape: int | Sequence[int] | None = None,
    *,
    channels: tuple[int, int] = (1, 1),
    tol: float = 0.0,
) -> bool:
    """Whether a matrix is block Toeplitz with Toeplitz blocks, on as many levels as ``shape`` has entries.

    Parameters
    ----------
    A, shape, input_shape, channels, tol
        As for `structure_violation`, which also tells what is wrong.

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
    """Whether a matrix is block circulant with circulant blocks, on as many levels as ``shape`` has entries.

    Examples
    --------
    >>> import convmatrix as cm
    >>> A = cm.conv_matrix([[1, 2], [3, 4]], (3, 3), padding="same", boundary="circular")
    >>> is_doubly_block_circulant(A, (3, 3))
    True
    """
    return structure_violation(A, "circulant", shape, channels=channels, tol=tol) is None


def as_csr(A: Any) -> Any:
    """Return a matrix as a CSR array without duplicates, sorted; the argument is left as it is."""
    matrix: Any = sparse.csr_array(cast("Any", A)) if sparse.issparse(A) else _dense(A)
    if not matrix.has_canonical_format:
        if matrix is A or np.shares_memory(matrix.data, getattr(A, "data", np.empty(0))):
            matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def _dense(A: ArrayLike) -> Any:
    array = np.asarray(A)
    if array.ndim != 2 or array.dtype.kind not in "biufc":
        raise ValueError(
            f"a matrix of numbers is needed, but got an array of shape {array.shape} and dtype {array.dtype}"
        )
    return sparse.csr_array(array)


def _sizes(
    matrix: Any, shape: int | Sequence[int] | None, input_shape: int | Sequence[int] | None, channels: tuple[int, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the levels of rows and columns, which with the channels make up the matrix."""
    outputs, inputs = (validate.integer(f"channels[{side}]", channels[side], minimum=1) for side in (0, 1))
    n_rows, n_columns = matrix.shape
    if shape is None:
        return (n_rows // outputs,), (n_columns // inputs,)
    rows = validate.shape("shape", shape)
    columns = rows if input_shape is None else validate.shape("input_shape", input_shape)
    if len(rows) != len(columns):
        raise ValueError(f"shape={rows} and input_shape={columns} must have as many levels as each other")
    wanted = (outputs * math.prod(rows), inputs * math.prod(columns))
    if wanted != matrix.shape:
        raise ValueError(
            f"the matrix is {n_rows} x {n_columns}, but channels {outputs} x {inputs} of levels {rows} and {columns} "
            f"make {wanted[0]} x {wanted[1]}; give the sizes that it has"
        )
    return rows, columns
