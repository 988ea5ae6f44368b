"""The diagonals of a matrix of several levels, and the first entry that differs from its diagonal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 2**17
"""Entries that are compared at a time: what is made of them meanwhile stays in the cache."""


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


@dataclass(frozen=True)
class Diagonals:
    """Numbers for the diagonals of a matrix whose rows are (channel, *levels), and columns likewise.

    On a level of m rows and n columns there are m + n - 1 differences; the numbers are mixed in these radices, so that
    the number of an entry is that of its row minus that of its column. ``wrapped`` tells that differences count modulo
    the size of the level, as they do on a ring.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    channels: tuple[int, int]
    wrapped: bool

    @property
    def radices(self) -> tuple[int, ...]:
        """How many differences each level has."""
        return tuple(m + n - 1 for m, n in zip(self.rows, self.columns, strict=True))

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return math.prod(self.channels) * math.prod(self.radices)

    def of_sides(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the numbers of rows and of columns."""
        of_rows, of_columns = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
        for m, n, radix in zip(self.rows, self.columns, self.radices, strict=True):
            of_rows = np.add.outer(of_rows * radix, np.arange(n - 1, m + n - 1)).ravel()
            of_columns = np.add.outer(of_columns * radix, np.arange(n)).ravel()
        outputs, inputs = self.channels
        size = math.prod(self.radices)
        # Columns count down from the last channel, so that no number is negative.
        first = np.arange(outputs) * (inputs * size) + (inputs - 1) * size
        last = np.arange(inputs) * size
        return np.add.outer(first, of_rows).ravel(), np.add.outer(last, of_columns).ravel()

    def names(self) -> NDArray[np.int64] | None:
        """Return the number under which each diagonal is known, None where it is its own."""
        if not self.wrapped:
            return None
        names = np.zeros(1, dtype=np.int64)
        for n, radix in zip(self.columns, self.radices, strict=True):
            differences = np.arange(1 - n, radix - n + 1)
            names = np.add.outer(names * radix, differences % n + n - 1).ravel()
        n_pairs = math.prod(self.channels)
        return np.add.outer(np.arange(n_pairs) * len(names), names).ravel()

    def lengths(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many entries these diagonals have."""
        lengths, rest = np.ones_like(numbers), numbers
        for m, n, radix in zip(self.rows[::-1], self.columns[::-1], self.radices[::-1], strict=True):
            rest, digit = np.divmod(rest, radix)
            difference = digit - (n - 1)
            lengths *= n if self.wrapped else np.minimum(m, n + difference) - np.maximum(0, difference)
        return lengths


class _Scan(NamedTuple):
    """What a look at all entries found: by diagonal the first entry's place and the entries that are stored."""

    places: NDArray[np.int64]
    counts: NDArray[np.int64]
    wrong: int | None


def first_violation(matrix: Any, diagonals: Diagonals, tol: float) -> Violation | None:
    """Return the first entry of a sorted CSR array that differs from its diagonal, stored or not."""
    of_rows, of_columns = diagonals.of_sides()
    names = diagonals.names()
    places, counts, wrong = _scan(matrix, of_rows, of_columns, names, diagonals.count, tol)
    present = np.flatnonzero(counts)
    short = present[counts[present] < diagonals.lengths(present)]
    short = short[~(np.abs(matrix.data[places[short]]) <= tol)]
    candidates = []
    if wrong is not None:
        candidates.append(_of_entry(matrix, wrong, of_rows, of_columns, names, places))
    if len(short):
        gaps = np.zeros(diagonals.count, dtype=bool)
        gaps[short] = True
        candidates.append(_of_gap(matrix, of_rows, of_columns, names, places, gaps))
    return min(candidates, key=lambda violation: (violation.row, violation.column)) if candidates else None


def _scan(
    matrix: Any,
    of_rows: NDArray[np.int64],
    of_columns: NDArray[np.int64],
    names: NDArray[np.int64] | None,
    n_diagonals: int,
    tol: float,
) -> _Scan:
    """Compare every stored entry with the first one of its diagonal."""
    data, columns, starts = matrix.data, matrix.indices, matrix.indptr
    first = np.zeros(n_diagonals, dtype=data.dtype)
    known = np.zeros(n_diagonals, dtype=bool)
    places, counts = np.zeros(n_diagonals, dtype=np.int64), np.zeros(n_diagonals, dtype=np.int64)
    wrong: int | None = None
    # The rows in which a chunk begins; one long row is a chunk of its own.
    edges = np.unique(np.searchsorted(starts, [*range(0, len(data), _CHUNK), len(data)], side="left"))
    for top, bottom in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        begin, end = int(starts[top]), int(starts[bottom])
        if begin == end:
            continue
        # Indices of the machine's own integer type, and take, make the quickest look-ups.
        keys = np.repeat(of_rows[top:bottom], np.diff(starts[top : bottom + 1]))
        keys -= of_columns.take(columns[begin:end])
        if names is not None:
            keys = names.take(keys)
        values = data[begin:end]
        low, high = int(keys.min()), int(keys.max())
        if high - low < 8 * len(keys):
            span = slice(low, high + 1)
            counted = np.bincount(keys - low, minlength=high - low + 1)
            new = bool(((counted > 0) & (counts[span] == 0)).any())
            counts[span] += counted
        else:
            new = bool((counts.take(keys) == 0).any())
            np.add.at(counts, keys, 1)
        if new:
            fresh = np.flatnonzero(~known.take(keys))[::-1]  # a diagonal's first entry is written last, and stays
            diagonals = keys[fresh]
            first[diagonals], places[diagonals], known[diagonals] = values[fresh], begin + fresh, True
        if wrong is None:
            expected = first.take(keys)
            differs = values != expected if tol == 0 else ~(np.abs(values - expected) <= tol)
            if differs.any():
                wrong = begin + int(np.argmax(differs))
    return _Scan(places, counts, wrong)


def _number(row: int, column: NDArray[Any] | int, of_rows: Any, of_columns: Any, names: NDArray[Any] | None) -> Any:
    """Return the number of the diagonal of entries."""
    number = of_rows[row] - of_columns[column]
    return number if names is None else names[number]


def _index(matrix: Any, place: int) -> tuple[int, int]:
    """Return row and column of a stored entry."""
    return int(np.searchsorted(matrix.indptr, place, side="right")) - 1, int(matrix.indices[place])


def _of_entry(
    matrix: Any,
    entry: int,
    of_rows: NDArray[np.int64],
    of_columns: NDArray[np.int64],
    names: NDArray[np.int64] | None,
    places: NDArray[np.int64],
) -> Violation:
    """Return the violation of a stored entry."""
    row, column = _index(matrix, entry)
    first = int(places[_number(row, column, of_rows, of_columns, names)])
    return Violation(row, column, matrix.data[entry].item(), matrix.data[first].item(), _index(matrix, first))


def _of_gap(
    matrix: Any,
    of_rows: NDArray[np.int64],
    of_columns: NDArray[np.int64],
    names: NDArray[np.int64] | None,
    places: NDArray[np.int64],
    gaps: NDArray[np.bool_],
) -> Violation:
    """Return the violation of the first entry that is not stored, but lies on a diagonal that is not zero."""
    every = np.arange(matrix.shape[1])
    for row in range(matrix.shape[0]):
        absent = np.ones(matrix.shape[1], dtype=bool)
        absent[matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]] = False
        missing = np.flatnonzero(absent & gaps[_number(row, every, of_rows, of_columns, names)])
        if len(missing):
            column = int(missing[0])
            first = int(places[_number(row, column, of_rows, of_columns, names)])
            same = _index(matrix, first)
            zero, value = matrix.dtype.type(0).item(), matrix.data[first].item()
            if same < (row, column):
                return Violation(row, column, zero, value, same)
            # The gap comes first on its diagonal: then the entry differs from it.
            return Violation(*same, value, zero, (row, column))
    raise AssertionError("a diagonal with fewer entries than places has an empty place")
