"""Short lines of a matrix, written by one gather each.

A line (all rows of the last axis, for one combination of rows of the others) of some hundred entries takes longer to
describe than to write: the entries of the last axis are therefore listed once, with their places in a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix._assembly.rows import RowTable

SHORT: Final = 2**12
"""Entries up to which a line is short."""


@dataclass(frozen=True)
class _Places:
    """Of each place of a line: the entry of the other axes that it combines, the column of its own, and its weight.

    Weights are counted through an array (size, weights of the last axis).
    """

    outer: NDArray[np.intp]
    columns: NDArray[np.int64]
    weights: NDArray[np.int64]


class ShortLines:
    """The entries of the last axis, and their places in lines that combine ``size`` entries of the other axes.

    ``n_weights`` is the number of weights of the last axis, or 0 if no values are to be written.
    """

    def __init__(self, table: RowTable, stride: int, n_weights: int) -> None:
        self.table = table
        self.stride = stride
        self.n_weights = n_weights
        self.places: dict[int, _Places] = {}

    def write(
        self,
        columns: NDArray[np.integer] | None,
        weights: NDArray[Any] | None,
        indices: NDArray[Any] | None,
        data: NDArray[Any] | None,
    ) -> None:
        """Write a line.

        Parameters
        ----------
        columns : array, shape (size,)
            Of the entries of the other axes; may be left out with ``indices``.
        weights : array, shape (size, n_weights)
            Likewise, with ``data``.
        indices, data : arrays, shape (size * entries of the last axis,)
            What is written.
        """
        if indices is not None and columns is not None:
            places = self._places(len(columns))
            np.add(columns.take(places.outer), places.columns, out=indices, casting="same_kind")
        if data is not None and weights is not None:
            weights.take(self._places(len(weights)).weights, out=data, mode="clip")

    def _places(self, size: int) -> _Places:
        if size not in self.places:
            counts = self.table.counts.astype(np.intp)
            columns, taps = self._entries
            places = counts * size  # of each row of the axis
            entries, firsts = counts.repeat(places), (counts.cumsum() - counts).repeat(places)
            outer, inner = np.divmod(np.arange(len(entries)) - firsts * size, entries)
            inner += firsts
            self.places[size] = _Places(outer, columns.take(inner), taps.take(inner) + outer * self.n_weights)
        return self.places[size]

    @cached_property
    def _entries(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the columns, times the axis's stride, and the taps of all rows of the axis."""
        columns, taps = [], []
        for stretch in self.table.stretches:
            rows = slice(stretch.first, stretch.first + stretch.period)
            unit = np.concatenate(self.table.columns[rows])
            moved = np.add.outer(np.arange(stretch.repeats) * stretch.shift, unit)
            columns.append(moved.ravel() * self.stride)
            taps.append(np.tile(np.concatenate(self.table.taps[rows]), stretch.repeats))
        return np.concatenate(columns), np.concatenate(taps)
