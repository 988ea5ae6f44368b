"""The diagonals of a matrix with several levels, and the first entry that differs from its diagonal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.arrays import starts_of_runs
from convmatrix.structured.row_runs import rows_that_follow, run_starts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK: Final = 2**17  # number of entries compared at a time, so that temporary arrays stay in the cache


@dataclass(frozen=True)
class Violation:
    """The first entry, row by row, that differs from an earlier one of its diagonal.

    Attributes
    ----------
    row, column : int
    value, expected : number
        The entry, and the value that it should have.
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
    """Numbering of the diagonals of a matrix whose rows and columns are indexed by (channel, *levels).

    A level of m rows and n columns has m + n - 1 differences. The digits of a diagonal's number, in mixed radix, are
    these differences, so that it is the number of a row minus that of a column. With ``wrapped``, differences are taken
    modulo the size of the level, as on a ring.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    channels: tuple[int, int]
    wrapped: bool

    @property
    def radices(self) -> tuple[int, ...]:
        """Number of differences of each level."""
        return tuple(m + n - 1 for m, n in zip(self.rows, self.columns, strict=True))

    @property
    def count(self) -> int:
        """Number of diagonals."""
        return math.prod(self.channels) * math.prod(self.radices)

    @cached_property
    def row_and_column_numbers(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The number of every row and of every column."""
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

    @cached_property
    def wrapped_numbers(self) -> NDArray[np.int64] | None:
        """The number of every diagonal after wrapping; None without wrapping."""
        if not self.wrapped:
            return None
        numbers = np.zeros(1, dtype=np.int64)
        for n, radix in zip(self.columns, self.radices, strict=True):
            differences = np.arange(1 - n, radix - n + 1)
            numbers = np.add.outer(numbers * radix, differences % n + n - 1).ravel()
        return np.add.outer(np.arange(math.prod(self.channels)) * len(numbers), numbers).ravel()

    def number(self, rows: Any, columns: Any) -> Any:
        """Return the number of the diagonal of an entry, or of several entries."""
        rows, columns = np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64)
        number, place = np.zeros(np.broadcast_shapes(rows.shape, columns.shape), dtype=np.int64), 1
        for m, n, radix in zip(self.rows[::-1], self.columns[::-1], self.radices[::-1], strict=True):
            rows, row = np.divmod(rows, m)
            columns, column = np.divmod(columns, n)
            difference = row - column
            number += place * (n - 1 + (difference % n if self.wrapped else difference))
            place *= radix
        number += place * (rows * self.channels[1] + self.channels[1] - 1 - columns)
        return number

    def of_entries(
        self, rows: NDArray[np.integer], sizes: NDArray[np.integer], columns: NDArray[np.integer]
    ) -> NDArray[np.int64]:
        """Return the numbers of the diagonals of the entries of some rows, of given sizes."""
        if self.wrapped or sum(map(math.prod, (self.rows, self.columns))) * max(self.channels) > len(columns):
            numbers: NDArray[np.int64] = self.number(np.repeat(rows, sizes), columns)
            return numbers
        of_rows, of_columns = self.row_and_column_numbers  # tables pay off for many entries
        return np.repeat(of_rows[rows], sizes) - of_columns.take(columns)

    def of_stored(
        self, starts: NDArray[np.integer], indices: NDArray[np.integer], top: int, bottom: int
    ) -> NDArray[np.int64]:
        """Return the numbers of the diagonals of the stored entries of rows ``top .. bottom - 1`` of a CSR array."""
        of_rows, of_columns = self.row_and_column_numbers
        # Look-ups are fastest with `take` and indices of the native integer type.
        numbers: NDArray[np.int64] = np.repeat(of_rows[top:bottom], np.diff(starts[top : bottom + 1]))
        numbers -= of_columns.take(indices[starts[top] : starts[bottom]])
        return numbers if self.wrapped_numbers is None else self.wrapped_numbers.take(numbers)

    def lengths(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of entries of these diagonals."""
        lengths, rest = np.ones_like(numbers), numbers
        for m, n, radix in zip(self.rows[::-1], self.columns[::-1], self.radices[::-1], strict=True):
            rest, digit = np.divmod(rest, radix)
            difference = digit - (n - 1)
            lengths *= n if self.wrapped else np.minimum(m, n + difference) - np.maximum(0, difference)
        return lengths

    def first_entries(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return row and column of the first entry, row by row, of each of these diagonals."""
        rows, columns, rest = np.zeros_like(numbers), np.zeros_like(numbers), numbers
        row_step, column_step = 1, 1
        for m, n, radix in zip(self.rows[::-1], self.columns[::-1], self.radices[::-1], strict=True):
            rest, digit = np.divmod(rest, radix)
            difference = digit - (n - 1)
            rows += row_step * (0 if self.wrapped else np.maximum(difference, 0))
            columns += column_step * (-difference % n if self.wrapped else np.maximum(-difference, 0))
            row_step, column_step = row_step * m, column_step * n
        output, counted_down = np.divmod(rest, self.channels[1])
        return rows + output * row_step, columns + (self.channels[1] - 1 - counted_down) * column_step

    def crossings(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return how many of the chosen diagonals each row crosses."""
        crossed = chosen.reshape(*self.channels, *self.radices).sum(axis=1)
        if self.wrapped:  # every row crosses all diagonals
            crossed = crossed.reshape(self.channels[0], -1).sum(axis=1, keepdims=True)
            return np.asarray(np.repeat(crossed, math.prod(self.rows)))
        for level, n in enumerate(self.columns, start=1):
            sums = np.moveaxis(crossed, level, 0).cumsum(axis=0)
            sums = np.concatenate([np.zeros_like(sums[:1]), sums])
            crossed = np.moveaxis(sums[n:] - sums[:-n], 0, level)
        return np.asarray(crossed.ravel())


def first_violation(matrix: Any, diagonals: Diagonals, tol: float) -> Violation | None:
    """Return the first entry of a sorted CSR array that differs from its diagonal, whether stored or not."""
    scanned = _ScannedRows.of(matrix, diagonals)
    scan = _scan if scanned.places is None else _scan_few
    zero_first = np.zeros(0, dtype=np.int64)  # numbers of the diagonals whose first entry is not stored
    present, stored, counts, wrong = scan(scanned, diagonals, zero_first, tol)
    rows, columns = diagonals.first_entries(present)
    late = (matrix.indptr.searchsorted(stored, side="right") - 1 != rows) | (matrix.indices[stored] != columns)
    small = np.abs(_widened(matrix.data[stored])) <= tol
    zero_first = present[late]
    if tol > 0 and (late & small).any():
        wrong = scan(scanned, diagonals, zero_first, tol)[3]
    differing = [*stored[late & ~small].tolist(), *([] if wrong is None else [wrong])]
    candidates = []
    if differing:
        first = min(differing)  # entries are stored row by row
        row = int(np.searchsorted(matrix.indptr, first, side="right")) - 1
        candidates.append((row, int(matrix.indices[first]), matrix.data[first].item()))
    short = present[~late & ~small & (counts < diagonals.lengths(present))]
    if len(short):
        gaps = np.zeros(diagonals.count, dtype=bool)
        gaps[short] = True
        candidates.append((*_first_gap(matrix, diagonals, gaps), matrix.dtype.type(0).item()))
    if not candidates:
        return None
    row, column, value = min(candidates, key=lambda candidate: candidate[:2])
    number = diagonals.number(row, column)
    first_row, first_column = (int(index[0]) for index in diagonals.first_entries(np.array([number])))
    place = int(np.searchsorted(present, number))
    known = place < len(present) and present[place] == number and number not in zero_first
    expected = matrix.data[stored[place]] if known else matrix.dtype.type(0)
    return Violation(row, column, value, expected.item(), (first_row, first_column))


def _widened(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values in a dtype whose differences do not overflow."""
    return values.astype(np.longdouble) if values.dtype.kind in "bui" else values


@dataclass(frozen=True)
class _ScannedRows:
    """The rows of a matrix without those that repeat the row before on the same diagonals, in CSR form.

    Attributes
    ----------
    starts, indices, data : arrays
    rows : array
        The number of each row in the matrix.
    repeats : array or None
        Number of consecutive occurrences of each row; None if every row is listed.
    places : array or None
        The index of each entry in the matrix; None if every row is listed.
    """

    starts: NDArray[np.integer]
    indices: NDArray[np.integer]
    data: NDArray[Any]
    rows: NDArray[np.intp]
    repeats: NDArray[np.integer] | None = None
    places: NDArray[np.integer] | None = None

    @classmethod
    def of(cls, matrix: Any, diagonals: Diagonals) -> _ScannedRows:
        """Return the rows of a sorted CSR array that need to be scanned."""
        n_rows = matrix.shape[0]
        starts, indices, data = matrix.indptr, matrix.indices, matrix.data
        follows = rows_that_follow(starts, indices, data)
        follows[:: diagonals.rows[-1]] = False  # a row of the innermost level follows one of the same block
        inner = diagonals.columns[-1]
        counts = np.diff(starts)
        rows = run_starts(follows, starts[:-1], counts, indices, lambda columns: inner - columns % inner)
        if len(rows) > n_rows // 2:
            return cls(starts, indices, data, np.arange(n_rows))
        counts = counts[rows]
        ends = np.r_[0, np.cumsum(counts, dtype=np.int64)]
        places = np.arange(ends[-1]) + np.repeat(starts[rows] - ends[:-1], counts)
        return cls(ends, indices[places], data[places], rows, np.diff(np.append(rows, n_rows)), places)


_Scan = tuple["NDArray[np.int64]", "NDArray[np.integer]", "NDArray[np.integer]", int | None]


def _scan(scanned: _ScannedRows, diagonals: Diagonals, zero_first: NDArray[np.int64], tol: float) -> _Scan:
    """Return where stored entries differ from the first entry of their diagonal: zero if marked, or the first stored.

    The result has the numbers of the diagonals with stored entries, ascending, the index of the first entry of each
    and their number, and the index of the first entry that differs.
    """
    data, starts = scanned.data, scanned.starts
    first = np.zeros(diagonals.count, dtype=data.dtype)
    known = np.zeros(diagonals.count, dtype=bool)
    known[zero_first] = True
    places, counts = np.zeros(diagonals.count, dtype=np.int64), np.zeros(diagonals.count, dtype=np.int64)
    wrong: int | None = None
    # The rows in which a chunk begins; one long row is a chunk of its own.
    edges = np.unique(np.searchsorted(starts, [*range(0, len(data), _CHUNK), len(data)], side="left"))
    for top, bottom in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        begin, end = int(starts[top]), int(starts[bottom])
        if begin == end:
            continue
        numbers = diagonals.of_stored(starts, scanned.indices, top, bottom)
        values = data[begin:end]
        low, high = int(numbers.min()), int(numbers.max())
        if high - low < 8 * len(numbers):
            span = slice(low, high + 1)
            counted = np.bincount(numbers - low, minlength=high - low + 1)
            new = bool(((counted > 0) & (counts[span] == 0)).any())
            counts[span] += counted
        else:
            new = bool((counts.take(numbers) == 0).any())
            np.add.at(counts, numbers, 1)
        if new:
            fresh = np.flatnonzero(~known.take(numbers))[::-1]  # the first entry of a diagonal is written last
            first[numbers[fresh]], places[numbers[fresh]], known[numbers[fresh]] = values[fresh], begin + fresh, True
        if wrong is None:
            differs = _differ(values, first.take(numbers), tol)
            if differs.any():
                wrong = begin + int(np.argmax(differs))
    present = np.flatnonzero(counts)
    return present, places[present], counts[present], wrong


def _scan_few(scanned: _ScannedRows, diagonals: Diagonals, zero_first: NDArray[np.int64], tol: float) -> _Scan:
    """Return the result of `_scan` for a few rows that each stand for several, without arrays of the matrix's size."""
    if scanned.repeats is None or scanned.places is None:
        raise ValueError("all rows are listed")
    sizes = np.diff(scanned.starts)
    numbers = diagonals.of_entries(scanned.rows, sizes, scanned.indices)
    order = _sorting(numbers)
    numbers, values = numbers[order], scanned.data[order]
    new = starts_of_runs(numbers)
    firsts = np.flatnonzero(new)
    present, expected = numbers[firsts], values[firsts]
    expected[np.isin(present, zero_first)] = 0
    wrong = order[_differ(values, expected[np.cumsum(new) - 1], tol)]
    counts: NDArray[np.integer] = np.add.reduceat(np.repeat(scanned.repeats, sizes)[order], firsts)
    first_wrong = int(scanned.places[wrong.min()]) if len(wrong) else None
    return present, scanned.places[order[firsts]], counts, first_wrong


def _sorting(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices that sort the numbers; equal ones keep their order."""
    bits = len(numbers).bit_length()
    if int(numbers.max()).bit_length() + bits > 63:
        return numbers.argsort(kind="stable")
    # NumPy sorts integers several times faster than it finds the indices that sort them.
    keys: NDArray[np.int64] = np.sort((numbers << bits) + np.arange(len(numbers)))
    return keys & ((1 << bits) - 1)


def _differ(values: NDArray[Any], expected: NDArray[Any], tol: float) -> NDArray[np.bool_]:
    """Return which values differ from the expected ones by more than tol."""
    differs: NDArray[np.bool_] = values != expected
    if tol > 0:
        with np.errstate(invalid="ignore"):  # the difference of infinities
            differs &= ~(np.abs(_widened(values) - _widened(expected)) <= tol)
    return differs


def _first_gap(matrix: Any, diagonals: Diagonals, gaps: NDArray[np.bool_]) -> tuple[int, int]:
    """Return row and column of the first entry that is not stored, on diagonals that have such entries."""
    wanted = diagonals.crossings(gaps)
    n_rows, n_columns = matrix.shape
    for top in range(0, n_rows, _CHUNK):
        bottom = min(top + _CHUNK, n_rows)
        on_gaps = np.r_[0, np.cumsum(gaps.take(diagonals.of_stored(matrix.indptr, matrix.indices, top, bottom)))]
        starts = matrix.indptr[top : bottom + 1] - matrix.indptr[top]
        incomplete = np.flatnonzero(np.diff(on_gaps[starts]) < wanted[top:bottom])
        if len(incomplete):
            row = top + int(incomplete[0])
            break
    absent = np.ones(n_columns, dtype=bool)
    absent[matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]] = False
    return row, int(np.argmax(absent & gaps[diagonals.number(row, np.arange(n_columns))]))
