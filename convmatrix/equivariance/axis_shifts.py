"""The shifts of an operation's output that correspond to a shift of its input, one axis at a time.

An operation that is a product over its axes commutes with a shift if and only if each of its axes does. An axis is
represented by a `WeightPattern`, in which equal weights stand for equal coefficients. An output shift t *answers* to an
input shift s if the operation maps an input shifted by s to its output shifted by t. With antisymmetric boundaries an
axis may map it to minus that output; two such axes together commute with their shifts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.equivariance.comparison import broken_rows, separated
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_SHIFTS = 256  # maximum number of input shifts to follow on one axis; more occur only if outputs repeat


class RowIndex:
    """An index of the rows of a pattern by their entries, for finding the images of one row."""

    def __init__(self, pattern: WeightPattern) -> None:
        starts = np.asarray(pattern.row_starts)
        self.n_weights = max(pattern.n_weights, 1)
        self.first = int(np.diff(starts).argmax())  # a row with the most entries has the fewest images
        keys = pattern.cols.astype(np.int64) * self.n_weights + pattern.weight_index
        self.keys = keys[starts[self.first] : starts[self.first + 1]]
        self.rows: dict[bytes, list[int]] = {}
        for row, (start, stop) in enumerate(itertools.pairwise(starts.tolist())):
            self.rows.setdefault(keys[start:stop].tobytes(), []).append(row)

    def images(self, p: NDArray[np.int64]) -> list[int]:
        """Return the rows whose entries are those of the chosen row, with columns moved by p."""
        columns, weights = np.divmod(self.keys, self.n_weights)
        return self.rows.get(np.sort(p[columns] * self.n_weights + weights).tobytes(), [])


class AxisShifts:
    """The shifts that one axis of an operation commutes with."""

    def __init__(self, pattern: WeightPattern) -> None:
        self.signed = _with_opposite(pattern)
        self.pattern = separated(pattern)
        self.n_out, self.n_in = pattern.shape
        self.index = RowIndex(self.pattern)

    @property
    def reads_nothing(self) -> bool:
        """Whether the axis has no entries: the output is constant."""
        return self.pattern.n_entries == 0

    def answers(self, amount: int) -> Iterator[int]:
        """Yield the output shifts that answer to an input shift, in no particular order."""
        p = np.roll(np.arange(self.n_in), amount)
        for row in self.index.images(p):
            moved = (self.index.first - row) % self.n_out
            if not broken_rows(self.pattern, np.roll(np.arange(self.n_out), moved), p).any():
                yield moved

    def opposite_answers(self, amount: int) -> Iterator[int]:
        """Yield the output shifts for which the output is negated as well, in no particular order."""
        if self.signed is None:
            return
        p, n = np.roll(np.arange(self.n_in), amount), self.n_out
        index = RowIndex(self.signed)
        for row in index.images(p):
            moved = (index.first - row) % n
            if row >= n and self.kept(moved, amount)[1].all():
                yield moved

    def kept(self, moved: int, amount: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which rows shifts of outputs and inputs preserve, and which they negate."""
        q, p = np.roll(np.arange(self.n_out), moved), np.roll(np.arange(self.n_in), amount)
        kept = ~broken_rows(self.pattern, q, p)
        if self.signed is None:
            return kept, np.zeros_like(kept)
        return kept, ~broken_rows(self.signed, np.concatenate([q + self.n_out, q]), p)[: self.n_out]

    def image(self, amounts: Iterable[int], sign: int = 1) -> frozenset[int]:
        """Return the output shifts that answer to at least one of some input shifts, with a sign."""
        chosen = itertools.islice(sorted(amounts), _MOST_SHIFTS)
        answers = self.answers if sign > 0 else self.opposite_answers
        return frozenset(moved for amount in chosen for moved in answers(amount))

    def filled(self) -> NDArray[np.bool_]:
        """Return which rows have entries."""
        return np.diff(self.pattern.row_starts) > 0

    def n_broken(self, moved: int, amount: int) -> int:
        """Return the number of rows that a pair of shifts does not preserve."""
        q, p = np.roll(np.arange(self.n_out), moved), np.roll(np.arange(self.n_in), amount)
        return int(broken_rows(self.pattern, q, p).sum())

    def closest(self, amount: int) -> int:
        """Return the output shift that leaves the fewest rows broken."""
        return min(range(min(self.n_out, _MOST_SHIFTS)), key=lambda moved: self.n_broken(moved, amount))


def _with_opposite(pattern: WeightPattern) -> WeightPattern | None:
    """Return the rows of a pattern and, below them, the same rows negated; None if it has no coefficients."""
    if pattern.coefficients is None:
        return None
    rows = np.concatenate([pattern.rows, pattern.rows + pattern.shape[0]])
    columns, weights = (np.tile(array, 2) for array in (pattern.cols, pattern.weight_index))
    factors = np.concatenate([pattern.coefficients, -pattern.coefficients])
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
    """Return the output shift that answers to an input shift, or otherwise the closest one.

    If several answer, or none does, the nominal shift is preferred if there is one, and otherwise the smallest. An even
    number of axes may answer with the opposite sign.
    """
    if any(axis.reads_nothing for axis in axes):  # the output is constant, so every shift answers
        return tuple(preferred or 0 for preferred in nominal)
    moved = []
    signs = answering_signs(axes, [[amount] for amount in shift])
    for axis, amount, preferred, sign in zip(axes, shift, nominal, signs, strict=True):
        found = set(axis.answers(amount) if sign > 0 else axis.opposite_answers(amount))
        if preferred is not None and (not found or preferred % axis.n_out in found):
            moved.append(preferred)
        else:
            moved.append(min(found) if found else axis.closest(amount))
    return tuple(moved)


def answering_signs(axes: Sequence[AxisShifts], shifts: Sequence[Iterable[int]]) -> tuple[int, ...]:
    """Return the sign with which each axis answers to one of its input shifts, such that their product is 1.

    All are 1 unless some axis answers only with the opposite sign, and the others allow for it.
    """
    amounts = [list(found) for found in shifts]
    possible = [[sign for sign in (1, -1) if axis.image(own, sign)] for axis, own in zip(axes, amounts, strict=True)]
    signs = [found[0] if found else 1 for found in possible]
    if sum(sign < 0 for sign in signs) % 2:
        both = [number for number, found in enumerate(possible) if len(found) == 2]
        if not both:
            return (1,) * len(signs)
        signs[both[0]] = -1
    return tuple(signs)
