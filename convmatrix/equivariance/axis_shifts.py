"""The shifts of an operation's output that correspond to a shift of its input, one axis at a time.

An operation that is a product over its axes commutes with a shift if and only if each of its axes does. An axis is
represented by a `WeightPattern`, in which equal weights stand for equal coefficients. An output shift t
*corresponds* to an input shift s if the operation maps an input shifted by s to its output shifted by t. With
antisymmetric boundaries an axis may map it to minus that output; two such axes together commute with their shifts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.equivariance.comparison import broken_rows, separated
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_SHIFTS = 256  # maximum number of input shifts to follow on one axis; more occur only if outputs repeat


class RowIndex:
    """An index of the rows of a pattern by their entries, for finding the images of rows whose columns are moved."""

    def __init__(self, pattern: WeightPattern) -> None:
        self.starts = np.asarray(pattern.row_starts)
        self.columns, self.weights = pattern.cols.astype(np.int64), pattern.weight_index
        self.n_weights = max(pattern.n_weights, 1)
        self.first = int(np.diff(self.starts).argmax())  # a row with the most entries has the fewest images
        keys = self.columns * self.n_weights + self.weights
        self.rows: dict[bytes, list[int]] = {}
        for row, (start, stop) in enumerate(itertools.pairwise(self.starts.tolist())):
            self.rows.setdefault(keys[start:stop].tobytes(), []).append(row)

    def images(self, p: NDArray[np.int64]) -> list[int]:
        """Return the rows whose entries are those of the row `first`, with columns moved by p."""
        entries = slice(self.starts[self.first], self.starts[self.first + 1])
        return self.rows.get(np.sort(p[self.columns[entries]] * self.n_weights + self.weights[entries]).tobytes(), [])

    def labels(self, p: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return, for each row, the first row with its entries if columns are moved by p; -1 if there is none."""
        keys = p[self.columns] * self.n_weights + self.weights
        keys = keys[np.lexsort((keys, np.arange(len(self.starts) - 1).repeat(np.diff(self.starts))))]
        rows = itertools.pairwise(self.starts.tolist())
        return np.array([self.rows.get(keys[start:stop].tobytes(), [-1])[0] for start, stop in rows], dtype=np.int32)


class AxisShifts:
    """The shifts that one axis of an operation commutes with.

    Wherever there is a sign, -1 asks for outputs that are shifted and negated.
    """

    def __init__(self, pattern: WeightPattern) -> None:
        self.n_out, self.n_in = pattern.shape
        self.signed = pattern.coefficients is not None
        self._patterns = {1: separated(pattern)}
        if self.signed:
            self._patterns[-1] = _with_opposite(pattern)
        self._indices: dict[int, RowIndex] = {}

    @property
    def reads_nothing(self) -> bool:
        """Whether the axis has no entries: the output is constant."""
        return self._patterns[1].n_entries == 0

    def filled(self) -> NDArray[np.bool_]:
        """Return which rows have entries."""
        return np.diff(self._patterns[1].row_starts) > 0

    def kept(self, moved: int, amount: int, sign: int = 1) -> NDArray[np.bool_]:
        """Return which rows shifts of outputs and inputs preserve, up to a sign."""
        if sign < 0 and not self.signed:
            return np.zeros(self.n_out, dtype=bool)
        q, p = np.roll(np.arange(self.n_out), moved), np.roll(np.arange(self.n_in), amount)
        q = q if sign > 0 else np.concatenate([q + self.n_out, q])
        return ~broken_rows(self._patterns[sign], q, p)[: self.n_out]

    def n_broken(self, moved: int, amount: int, sign: int = 1) -> int:
        """Return the number of rows that a pair of shifts does not preserve."""
        return self.n_out - int(self.kept(moved, amount, sign).sum())

    def holds(self, moved: int, amount: int, sign: int = 1) -> bool:
        """Return whether a pair of shifts preserves all rows, up to a sign."""
        return not self.n_broken(moved, amount, sign)

    def output_shifts(self, amount: int, sign: int = 1) -> range:
        """Return the output shifts that correspond to an input shift: none, or all of one class modulo a period."""
        if sign < 0 and not self.signed:
            return range(0)
        if sign not in self._indices:
            self._indices[sign] = RowIndex(self._patterns[sign])
        index, n, p = self._indices[sign], self.n_out, np.roll(np.arange(self.n_in), amount)
        images = [row % n for row in index.images(p) if sign > 0 or row >= n]
        if len(images) > 1:  # all of them are decided together
            own = index.labels(np.arange(self.n_in))[-n:]
            return _rotations(own, index.labels(p)[:n])
        moved = (index.first - images[0]) % n if images else 0
        return range(moved, n, n) if images and self.holds(moved, amount, sign) else range(0)

    def image(self, amounts: Iterable[int], sign: int = 1) -> frozenset[int]:
        """Return the output shifts that correspond to at least one of the given input shifts, with a sign."""
        followed = sorted(amounts)[:_MOST_SHIFTS]
        return frozenset(moved for amount in followed for moved in self.output_shifts(amount, sign))

    def closest(self, amount: int) -> int:
        """Return the output shift that leaves the fewest rows broken."""
        return min(range(min(self.n_out, _MOST_SHIFTS)), key=lambda moved: self.n_broken(moved, amount))


def _rotations(own: NDArray[np.int32], wanted: NDArray[np.int32]) -> range:
    """Return the shifts by `numpy.roll` that make an array the wanted one, by a search for text in linear time."""
    twice, width, n = np.concatenate([own, own]).tobytes(), own.itemsize, len(own)

    def place(of: NDArray[np.int32], start: int) -> int:
        found = twice.find(of.tobytes(), start * width)
        while found % width and found >= 0:
            found = twice.find(of.tobytes(), found + 1)
        return found // width

    first, period = place(wanted, 0), place(own, 1)
    return range(0) if first < 0 else range(-first % period, n, period)


def divisors(number: int) -> list[int]:
    """Return the divisors of a number, ascending."""
    small = [k for k in range(1, math.isqrt(number) + 1) if number % k == 0]
    return sorted({*small, *(number // k for k in small)})


def _with_opposite(pattern: WeightPattern) -> WeightPattern:
    """Return the rows of a pattern with coefficients and, below them, the same rows negated."""
    factors: Any = pattern.coefficients
    rows = np.concatenate([pattern.rows, pattern.rows + pattern.shape[0]])
    columns, weights = (np.tile(array, 2) for array in (pattern.cols, pattern.weight_index))
    factors = np.concatenate([factors, -factors])
    shape = 2 * pattern.shape[0], pattern.shape[1]
    stacked = WeightPattern.from_triplets(shape, rows, columns, weights, pattern.weight_shape, coefficients=factors)
    return separated(stacked)


def matrix_axis(matrix: Any) -> AxisShifts:
    """Return the axis whose coefficients are those of a sparse matrix; equal values become equal weights."""
    entries = matrix.tocoo()
    _, labels = np.unique(entries.data, return_inverse=True)
    n_labels = int(labels.max(initial=0)) + 1
    return AxisShifts(WeightPattern.from_triplets(matrix.shape, entries.row, entries.col, labels, n_labels))


def selection_axis(samples: NDArray[np.int64], n_in: int) -> AxisShifts:
    """Return the axis on which each output reads one sample; -1 stands for a constant."""
    rows = np.flatnonzero(samples >= 0)
    zeros = np.zeros(len(rows), dtype=np.int64)
    return AxisShifts(WeightPattern.from_triplets((len(samples), n_in), rows, samples[rows], zeros, 1))


def moved_output(axes: Sequence[AxisShifts], shift: Sequence[int], nominal: Sequence[int | None]) -> tuple[int, ...]:
    """Return the output shift that corresponds to an input shift, or the closest one if none does.

    If several correspond, or none does, the nominal shift is preferred if there is one, and otherwise the smallest. On
    an even number of axes, the shifts may correspond with the opposite sign.
    """
    if any(axis.reads_nothing for axis in axes):  # the output is constant, so every shift corresponds
        return tuple(preferred or 0 for preferred in nominal)
    moved = []
    signs = output_signs(axes, [[amount] for amount in shift])
    for axis, amount, preferred, sign in zip(axes, shift, nominal, signs, strict=True):
        found = axis.output_shifts(amount, sign)
        if preferred is not None and (not found or preferred % axis.n_out in found):
            moved.append(preferred)
        else:
            moved.append(min(found) if found else axis.closest(amount))
    return tuple(moved)


def output_signs(axes: Sequence[AxisShifts], shifts: Sequence[Iterable[int]]) -> tuple[int, ...]:
    """Return a sign per axis with which an output shift corresponds to one of its input shifts; their product is 1.

    All signs are 1 unless the shifts of some axis correspond only with the opposite sign, and another axis allows both.
    """
    amounts = [sorted(found)[:_MOST_SHIFTS] for found in shifts]
    possible = [
        [sign for sign in (1, -1) if any(axis.output_shifts(amount, sign) for amount in own)]
        for axis, own in zip(axes, amounts, strict=True)
    ]
    signs = [found[0] if found else 1 for found in possible]
    if sum(sign < 0 for sign in signs) % 2:
        both = [number for number, found in enumerate(possible) if len(found) == 2]
        if not both:
            return (1,) * len(signs)
        signs[both[0]] = -1
    return tuple(signs)
