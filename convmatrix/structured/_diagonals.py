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

    def first_entries(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return row and column of the first place, row by row, of each of these diagonals."""
        rows, columns, rest = np.zeros_like(numbers), np.zeros_like(numbers), numbers
        row_place, column_place = 1, 1
        for m, n, radix in zip(self.rows[::-1], self.columns[::-1], self.radices[::-1], strict=True):
            rest, digit = np.divmod(rest, radix)
            difference = digit - (n - 1)
            rows += row_place * (0 if self.wrapped else np.maximum(difference, 0))
            columns += column_place * (-difference % n if self.wrapped else np.maximum(-difference, 0))
            row_place, column_place = row_place * m, column_place * n
        output, counted_down = np.divmod(rest, self.channels[1])
        return rows + output * row_place, columns + (self.channels[1] - 1 - counted_down) * column_place

    def through_rows(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return how many of the chosen diagonals each row crosses."""
        crossed = chosen.reshape(*self.channels, *self.radices).sum(axis=1)
        if self.wrapped:  # every row crosses all
            crossed = crossed.reshape(self.channels[0], -1).sum(axis=1, keepdims=True)
            return np.asarray(np.repeat(crossed, math.prod(self.rows)))
        for level, n in enumerate(self.columns, start=1):
            sums = np.moveaxis(crossed, level, 0).cumsum(axis=0)
            sums = np.concatenate([np.zeros_like(sums[:1]), sums])
            crossed = np.moveaxis(sums[n:] - sums[:-n], 0, level)
        return np.asarray(crossed.ravel())


class _Scan(NamedTuple):
    """What a look at all entries found: by diagonal the first stored entry's place and how many are stored."""

    places: NDArray[np.int64]
    counts: NDArray[np.int64]
    wrong: int | None


def first_violation(matrix: Any, diagonals: Diagonals, tol: float) -> Violation | None:
    """Return the first entry of a sorted CSR array that differs from its diagonal, stored or not."""
    of_rows, of_columns = diagonals.of_sides()
    names = diagonals.names()
    zero_first = np.zeros(diagonals.count, dtype=bool)
    places, counts, wrong = _scan(matrix, of_rows, of_columns, names, zero_first, tol)
    present = np.flatnonzero(counts)
    stored = places[present]
    rows, columns = diagonals.first_entries(present)
    late = (matrix.indptr.searchsorted(stored, side="right") - 1 != rows) | (matrix.indices[stored] != columns)
    small = np.abs(_widened(matrix.data[stored])) <= tol
    zero_first[present[late]] = True  # their first entry is not stored
    if tol > 0 and (late & small).any():
        wrong = _scan(matrix, of_rows, of_columns, names, zero_first, tol).wrong
    differing = [*stored[late & ~small].tolist(), *([] if wrong is None else [wrong])]
    candidates = []
    if differing:  # places are in the order of entries
        row, column = _index(matrix, min(differing))
        candidates.append((row, column, matrix.data[min(differing)].item()))
    short = present[~late & ~small & (counts[present] < diagonals.lengths(present))]
    if len(short):
        gaps = np.zeros(diagonals.count, dtype=bool)
        gaps[short] = True
        zero = matrix.dtype.type(0).item()
        candidates.append((*_first_gap(matrix, diagonals, of_rows, of_columns, names, gaps), zero))
    if not candidates:
        return None
    row, column, value = min(candidates, key=lambda candidate: candidate[:2])
    number = _number(row, column, of_rows, of_columns, names)
    first_row, first_column = (int(index[0]) for index in diagonals.first_entries(np.array([number])))
    expected = matrix.dtype.type(0) if zero_first[number] else matrix.data[places[number]]
    return Violation(row, column, value, expected.item(), (first_row, first_column))


def _widened(values: NDArray[Any]) -> NDArray[Any]:
    """Return values whose differences do not overflow: integers and truth values in the widest precision."""
    return values.astype(np.longdouble) if values.dtype.kind in "bui" else values


def _scan(
    matrix: Any,
    of_rows: NDArray[np.int64],
    of_columns: NDArray[np.int64],
    names: NDArray[np.int64] | None,
    zero_first: NDArray[np.bool_],
    tol: float,
) -> _Scan:
    """Compare every stored entry with the first one of its diagonal: zero where so marked, else the first stored."""
    data, starts = matrix.data, matrix.indptr
    n_diagonals = len(zero_first)
    first = np.zeros(n_diagonals, dtype=data.dtype)
    known = zero_first.copy()
    places, counts = np.zeros(n_diagonals, dtype=np.int64), np.zeros(n_diagonals, dtype=np.int64)
    wrong: int | None = None
    # The rows in which a chunk begins; one long row is a chunk of its own.
    edges = np.unique(np.searchsorted(starts, [*range(0, len(data), _CHUNK), len(data)], side="left"))
    for top, bottom in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        begin, end = int(starts[top]), int(starts[bottom])
        if begin == end:
            continue
        keys = _keys(matrix, top, bottom, of_rows, of_columns, names)
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
            differs = _differs(values, first.take(keys), tol)
            if differs.any():
                wrong = begin + int(np.argmax(differs))
    return _Scan(places, counts, wrong)


def _differs(values: NDArray[Any], expected: NDArray[Any], tol: float) -> NDArray[np.bool_]:
    differs: NDArray[np.bool_] = values != expected
    if tol > 0:
        with np.errstate(invalid="ignore"):  # the difference of infinities
            differs &= ~(np.abs(_widened(values) - _widened(expected)) <= tol)
    return differs


def _keys(matrix: Any, top: int, bottom: int, of_rows: Any, of_columns: Any, names: Any) -> NDArray[np.int64]:
    """Return the numbers of the diagonals of the stored entries of rows ``top .. bottom - 1``."""
    starts = matrix.indptr[top : bottom + 1]
    # Indices of the machine's own integer type, and take, make the quickest look-ups.
    keys: NDArray[np.int64] = np.repeat(of_rows[top:bottom], np.diff(starts))
    keys -= of_columns.take(matrix.indices[starts[0] : starts[-1]])
    return keys if names is None else names.take(keys)


def _number(row: int, column: NDArray[Any] | int, of_rows: Any, of_columns: Any, names: NDArray[Any] | None) -> Any:
    """Return the number of the diagonal of entries."""
    number = of_rows[row] - of_columns[column]
    return number if names is None else names[number]


def _index(matrix: Any, place: int) -> tuple[int, int]:
    """Return row and column of a stored entry."""
    return int(np.searchsorted(matrix.indptr, place, side="right")) - 1, int(matrix.indices[place])


def _first_gap(
    matrix: Any,
    diagonals: Diagonals,
    of_rows: NDArray[np.int64],
    of_columns: NDArray[np.int64],
    names: NDArray[np.int64] | None,
    gaps: NDArray[np.bool_],
) -> tuple[int, int]:
    """Return the first place, on diagonals of which some place is not stored, that is not."""
    wanted = diagonals.through_rows(gaps)
    n_rows = matrix.shape[0]
    for top in range(0, n_rows, _CHUNK):
        bottom = min(top + _CHUNK, n_rows)
        on_gaps = np.r_[0, np.cumsum(gaps.take(_keys(matrix, top, bottom, of_rows, of_columns, names)))]
        starts = matrix.indptr[top : bottom + 1] - matrix.indptr[top]
        incomplete = np.flatnonzero(np.diff(on_gaps[starts]) < wanted[top:bottom])
        if len(incomplete):
            row = top + int(incomplete[0])
            break
    absent = np.ones(matrix.shape[1], dtype=bool)
    absent[matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]] = False
    return row, int(np.argmax(absent & gaps[_number(row, np.arange(matrix.shape[1]), of_rows, of_columns, names)]))
