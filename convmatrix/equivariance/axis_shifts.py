"""The shifts of an operation's output that correspond to a shift of its input, one axis at a time.

An operation that is a product over its axes commutes with a shift if and only if each of its axes does. An axis is
represented by a `WeightPattern`, in which equal weights stand for equal coefficients. An output shift t *answers* to an
input shift s if the operation maps an input shifted by s to its output shifted by t.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.equivariance.comparison import broken_rows
from convmatrix.geometry import ConvGeometry
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
        self.pattern = pattern
        self.n_out, self.n_in = pattern.shape
        self.index = RowIndex(pattern)

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

    def image(self, amounts: Iterable[int]) -> frozenset[int]:
        """Return the output shifts that answer to at least one of some input shifts."""
        chosen = itertools.islice(sorted(amounts), _MOST_SHIFTS)
        return frozenset(moved for amount in chosen for moved in self.answers(amount))

    def closest(self, amount: int) -> int:
        """Return the output shift that leaves the fewest rows broken."""
        p = np.roll(np.arange(self.n_in), amount)
        outputs = np.arange(self.n_out)
        tried = range(min(self.n_out, _MOST_SHIFTS))
        return min(tried, key=lambda moved: int(broken_rows(self.pattern, np.roll(outputs, moved), p).sum()))


def axis_geometry(geometry: ConvGeometry, axis: int) -> ConvGeometry:
    """Return one axis of a layer, with one channel.

    Examples
    --------
    >>> axis_geometry(ConvGeometry((8, 6), (3, 2), stride=(2, 1), in_channels=4), 0)
    ConvGeometry((8,), (3,), stride=2)
    """
    g = geometry
    return ConvGeometry(
        g.input_shape[axis],
        g.kernel_shape[axis],
        stride=g.stride[axis],
        dilation=g.dilation[axis],
        padding=[g.padding[axis]],
        boundary=g.boundary[axis],
        sharing=g.sharing if isinstance(g.sharing, str) else (g.sharing[axis],),
        flip=g.flip,
        transposed=g.transposed,
        output_padding=g.output_padding[axis],
    )


def geometry_axes(geometry: ConvGeometry) -> list[AxisShifts]:
    """Return the axes of a layer."""
    return [AxisShifts(axis_geometry(geometry, axis).pattern()) for axis in range(len(geometry.input_shape))]


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

    If several answer, or none does, the nominal shift is preferred if there is one, and otherwise the smallest.
    """
    if any(axis.reads_nothing for axis in axes):  # the output is constant, so every shift answers
        return tuple(preferred or 0 for preferred in nominal)
    moved = []
    for axis, amount, preferred in zip(axes, shift, nominal, strict=True):
        found = set(axis.answers(amount))
        if preferred is not None and (not found or preferred % axis.n_out in found):
            moved.append(preferred)
        else:
            moved.append(min(found) if found else axis.closest(amount))
    return tuple(moved)
