"""The shifts that a long axis commutes with, from its distinct rows: no matrix is built.

Away from the borders, the rows of an axis repeat, moved by some columns. If two such stretches of rows are compared and
both move equally far from row to row, then one comparison decides for all: whether column c of a row is moved to column
c' of another is a question of c - c' modulo the number of columns.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from convmatrix.equivariance.axis_shifts import AxisShifts
from convmatrix.geometry import axis_geometry
from convmatrix.pattern import distinct_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry

    Entry = tuple[int, tuple[int, ...], tuple[int, ...]]  # a column, its weights, and their coefficients

_LONG: Final = 2**14  # rows of an axis whose matrix is not built
_LISTED: Final = 2**18  # most entries of the distinct rows of a long axis


class LongAxisShifts(AxisShifts):
    """The shifts that one axis of a layer commutes with, from the table of its distinct rows.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> ring = LongAxisShifts(ConvGeometry(10**9, 3, padding="same", boundary="circular"))
    >>> list(ring.output_shifts(5)), list(LongAxisShifts(ConvGeometry(10**9, 3, padding="same")).output_shifts(5))
    ([5], [])
    """

    def __init__(self, geometry: ConvGeometry, table: Any = None) -> None:
        (axis,) = geometry.axes
        (self.n_out,), (self.n_in,) = geometry.output_shape, geometry.input_shape
        self.table = cast("Any", distinct_rows(geometry) if table is None else table)
        self.signed = bool(self.table.factors)
        lengths = [stretch.period * stretch.repeats for stretch in self.table.stretches]
        self.starts = [0, *itertools.accumulate(lengths)][:-1]
        self.n_weights = axis.tile * axis.n_taps
        self.listed = [  # the first of equal rows, and its stretch
            (start + place, stretch)
            for start, stretch in zip(self.starts, self.table.stretches, strict=True)
            for place in range(stretch.period)
        ]

    @property
    def reads_nothing(self) -> bool:
        """Whether the axis has no entries."""
        return not any(self.entries(row) for row, _ in self.listed)

    def stretch(self, row: int) -> tuple[Any, int]:
        """Return the stretch of a row, and the place of the row in it."""
        number = bisect_right(self.starts, row) - 1
        return self.table.stretches[number], row - self.starts[number]

    def entries(self, row: int, amount: int = 0, sign: int = 1) -> list[Entry]:
        """Return the entries of a row, sorted, with columns moved as in `numpy.roll`, and coefficients times a sign."""
        stretch, place = self.stretch(row)
        repeat, number = divmod(place, stretch.period)
        columns = self.table.columns[stretch.first + number] + repeat * stretch.shift
        columns = (columns - amount % self.n_in) % self.n_in  # an amount may exceed 64 bits
        found = []
        for column, weight in zip(columns.tolist(), self.table.taps[stretch.first + number].tolist(), strict=True):
            weights, factors = self._product(weight)
            if any(factors):
                found.append((column, weights, tuple(sign * factor for factor in factors)))
        return sorted(found)

    def _product(self, weight: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the weights that an entry of the table stands for, and their coefficients."""
        place = weight - self.n_weights
        if place < 0:
            return (weight,), (1,)
        return self.table.sums[place], self.table.factors[place] if self.table.factors else (1,)

    def compared(self, moved: int, amount: int, sign: int = 1) -> Iterator[tuple[int, int, list[bool]]]:
        """Yield ranges of rows, and which of their rows a pair of shifts preserves up to a sign; it repeats."""
        n = self.n_out
        cuts = sorted({0, *self.starts, *((start + moved) % n for start in (0, *self.starts))})
        for first, stop in itertools.pairwise([*cuts, n]):
            own, other = (self.stretch(row)[0] for row in (first, (first - moved) % n))
            alike = (own.period, own.shift) == (other.period, other.shift) and min(own.repeats, other.repeats) > 1
            count = min(own.period, stop - first) if alike else stop - first
            yield (
                first,
                stop,
                [
                    self.entries(row) == self.entries((row - moved) % n, -amount, sign)
                    for row in range(first, first + count)
                ],
            )

    def holds(self, moved: int, amount: int, sign: int = 1) -> bool:
        """Return whether a pair of shifts preserves all rows, up to a sign."""
        return all(all(flags) for _, _, flags in self.compared(moved, amount, sign))

    def output_shifts(self, amount: int, sign: int = 1) -> range:
        """Return the output shifts that correspond to an input shift: none, or all of one class modulo a period."""
        # A row with the most entries has the fewest images.
        chosen = max((row for row, _ in self.listed), key=lambda row: len(self.entries(row)))
        images = self._images(self.entries(chosen, amount, sign)) if sign > 0 or self.signed else iter(())
        moved = sorted((chosen - row) % self.n_out for row in images)
        found = [amount_out for amount_out in moved if self.holds(amount_out, amount, sign)]
        return range(found[0], self.n_out, self.n_out // len(found)) if found else range(0)

    def _images(self, wanted: list[Entry]) -> Iterator[int]:
        """Yield the rows that have the given entries."""
        for row, stretch in self.listed:
            own = self.entries(row)
            if own == wanted:
                yield from range(row, row + (1 if stretch.shift else stretch.period * stretch.repeats), stretch.period)
            elif stretch.shift and own and len(own) == len(wanted):
                repeat = (wanted[0][0] - own[0][0]) // stretch.shift
                if 0 < repeat < stretch.repeats and self.entries(row + repeat * stretch.period) == wanted:
                    yield row + repeat * stretch.period

    def kept(self, moved: int, amount: int, sign: int = 1) -> NDArray[np.bool_]:
        """Return which rows shifts of outputs and inputs preserve, up to a sign."""
        rows = np.zeros(self.n_out, dtype=bool)
        if sign > 0 or self.signed:
            for first, stop, flags in self.compared(moved, amount, sign):
                _fill(rows[first:stop], flags)
        return rows

    def filled(self) -> NDArray[np.bool_]:
        """Return which rows have entries."""
        rows = np.empty(self.n_out, dtype=bool)
        for start, stretch in zip(self.starts, self.table.stretches, strict=True):
            flags = [bool(self.entries(start + place)) for place in range(stretch.period)]
            _fill(rows[start : start + stretch.period * stretch.repeats], flags)
        return rows

    def n_broken(self, moved: int, amount: int, sign: int = 1) -> int:
        """Return the number of rows that a pair of shifts does not preserve."""
        total = 0
        for first, stop, flags in self.compared(moved, amount, sign):
            whole, rest = divmod(stop - first, len(flags))
            total += whole * flags.count(False) + flags[:rest].count(False)
        return total


def _fill(rows: NDArray[np.bool_], flags: list[bool]) -> None:
    """Repeat flags over all rows."""
    for place, flag in enumerate(flags):
        rows[place :: len(flags)] = flag


def geometry_axes(geometry: ConvGeometry) -> list[AxisShifts]:
    """Return the axes of a layer; long ones by their distinct rows, if most rows repeat others."""
    found: list[AxisShifts] = []
    for number in range(len(geometry.axes)):
        one = axis_geometry(geometry, number)
        table: Any = distinct_rows(one, min(_LISTED, one.n_out)) if one.n_out >= _LONG else None
        short = table is not None and 2 * len(table.columns) < one.n_out
        found.append(LongAxisShifts(one, table) if short else AxisShifts(one.pattern()))
    return found
