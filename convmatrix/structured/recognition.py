"""Whether a matrix is Toeplitz or circulant, at any number of levels; and if not, which entry breaks it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from scipy import sparse

from convmatrix import _validation as validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

Structure = Literal["toeplitz", "circulant"]


@dataclass(frozen=True)
class Violation:
    """The first entry, row by row, that differs from an earlier one of its diagonal.

    Attributes
    ----------
    row, column : int
    value, expected : number
        The entry, and what it had to be.
    same_diagonal : (int, int)
        Row and column of the first entry of the diagonal, which has the expected value.
    """

    row: int
    column: int
    value: Any
    expected: Any
    same_diagonal: tuple[int, int]

    def __str__(self) -> str:
        row, column = self.same_diagonal
        return (
            f"entry ({self.row}, {self.column}) is {self.value}, but entry ({row}, {column}) of the same diagonal is "
            f"{self.expected}"
        )


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
    keys = _diagonals(matrix, rows, columns, channels, wrapped=structure == "circulant")
    return _first_violation(matrix, *keys, tol)


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


def _diagonals(
    matrix: Any, rows: tuple[int, ...], columns: tuple[int, ...], channels: tuple[int, int], *, wrapped: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return numbers for rows and columns whose difference tells the diagonal, and the length of each diagonal.

    On a level of m rows and n columns there are m + n - 1 differences; the numbers are mixed in these radices. The
    last result numbers the diagonals anew where several are one, as they are on a ring.
    """
    row_index, column_index = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    lengths: NDArray[np.int64] = np.ones(1, dtype=np.int64)
    names: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
    for m, n in zip(rows, columns, strict=True):
        radix = m + n - 1
        row_index = np.add.outer(row_index * radix, np.arange(m) + n - 1).ravel()
        column_index = np.add.outer(column_index * radix, np.arange(n)).ravel()
        differences = np.arange(radix) - (n - 1)
        overlap = np.minimum(m, n + differences) - np.maximum(0, differences)
        lengths = np.multiply.outer(lengths, np.full(radix, n) if wrapped else overlap).ravel()
        names = np.add.outer(names * radix, differences % n + n - 1 if wrapped else np.arange(radix)).ravel()
    size = len(lengths)
    outputs, inputs = channels
    row_index = np.add.outer(np.arange(outputs) * inputs * size + (inputs - 1) * size, row_index).ravel()
    column_index = np.add.outer(np.arange(inputs) * size, column_index).ravel()
    # Columns count down from the last channel, so that no number is negative.
    return (
        row_index,
        column_index,
        np.tile(lengths, outputs * inputs),
        np.add.outer(np.arange(outputs * inputs) * size, names).ravel(),
    )


def _first_violation(
    matrix: Any,
    row_index: NDArray[np.int64],
    column_index: NDArray[np.int64],
    lengths: NDArray[np.int64],
    names: NDArray[np.int64],
    tol: float,
) -> Violation | None:
    data, columns, starts = matrix.data, matrix.indices, matrix.indptr
    small = np.int32 if len(lengths) < 2**31 else np.int64
    keys = np.repeat(row_index.astype(small), np.diff(starts)) - column_index.astype(small)[columns]
    if len(names) > 1 and not np.array_equal(names, np.arange(len(names))):
        keys = names.astype(small)[keys]
    first = np.zeros(len(lengths), dtype=data.dtype)
    first[keys[::-1]] = data[::-1]  # the first entry of each diagonal is written last, and stays
    expected = first[keys]
    wrong = data != expected if tol == 0 else ~(np.abs(data - expected) <= tol)
    counts = np.bincount(keys, minlength=len(lengths))
    gaps = (counts < lengths) & (counts > 0) & ~(np.abs(first) <= tol)
    candidates = []
    if wrong.any():
        candidates.append(_of_entry(matrix, int(np.argmax(wrong)), keys))
    if gaps.any():
        candidates.append(_of_gap(matrix, row_index, column_index, names, keys, gaps))
    return min(candidates, key=lambda violation: (violation.row, violation.column)) if candidates else None


def _of_entry(matrix: Any, entry: int, keys: NDArray[Any]) -> Violation:
    """Return the violation of a stored entry."""
    first = int(np.argmax(keys == keys[entry]))
    row, origin = (int(np.searchsorted(matrix.indptr, place, side="right")) - 1 for place in (entry, first))
    return Violation(
        row,
        int(matrix.indices[entry]),
        matrix.data[entry].item(),
        matrix.data[first].item(),
        (origin, int(matrix.indices[first])),
    )


def _of_gap(
    matrix: Any,
    row_index: NDArray[np.int64],
    column_index: NDArray[np.int64],
    names: NDArray[np.int64],
    keys: NDArray[Any],
    gaps: NDArray[np.bool_],
) -> Violation:
    """Return the violation of the first entry that is not stored, but lies on a diagonal that is not zero."""
    order = np.argsort(column_index)
    for row in range(matrix.shape[0]):
        stored = set(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].tolist())
        columns = order[gaps[names[row_index[row] - column_index[order]]]]
        missing = [int(column) for column in np.sort(columns) if int(column) not in stored]
        if missing:
            key = names[row_index[row] - column_index[missing[0]]]
            first = int(np.argmax(keys == key))
            origin = int(np.searchsorted(matrix.indptr, first, side="right")) - 1
            same = (origin, int(matrix.indices[first]))
            zero, value = matrix.dtype.type(0).item(), matrix.data[first].item()
            if same < (row, missing[0]):
                return Violation(row, missing[0], zero, value, same)
            # The gap comes first on its diagonal: then the entry differs from it.
            return Violation(*same, value, zero, (row, missing[0]))
    raise AssertionError("a diagonal with fewer entries than places has an empty place")
