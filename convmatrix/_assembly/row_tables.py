"""A table of the distinct rows of one axis, and of the stretches of rows that repeat them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Stretch:
    """Consecutive rows: ``repeats`` copies of ``period`` distinct rows from ``first`` on, each moved by ``shift``."""

    first: int
    period: int
    repeats: int
    shift: int


@dataclass(frozen=True)
class RowTable:
    """A range of rows of one axis.

    Attributes
    ----------
    columns, taps : list of arrays
        The columns of each distinct row, ascending, and the weight of this axis at each of them. With n weights on the
        axis, weight ``n + m`` stands for the sum of the weights ``sums[m]``, times ``factors[m]`` if there are factors.
    stretches : list of Stretch
        The rows in order.
    sums : list of tuple of int
        Empty unless several taps read one sample and their entries are merged, or the boundary is signed.
    factors : list of tuple of int
        The coefficient of each weight of each sum if the boundary is signed, otherwise empty.
    """

    columns: list[NDArray[np.int64]]
    taps: list[NDArray[np.int64]]
    stretches: list[Stretch]
    sums: list[tuple[int, ...]]
    factors: list[tuple[int, ...]] = field(default_factory=list)

    @cached_property
    def sizes(self) -> list[int]:
        """Number of entries of each distinct row."""
        return [len(columns) for columns in self.columns]

    @cached_property
    def counts(self) -> NDArray[np.int32]:
        """Number of entries of each row of the range."""
        sizes = np.array(self.sizes, dtype=np.int32)
        counts = np.empty(sum(stretch.period * stretch.repeats for stretch in self.stretches), dtype=np.int32)
        start = 0
        for stretch in self.stretches:
            stop = start + stretch.period * stretch.repeats
            counts[start:stop].reshape(stretch.repeats, stretch.period)[...] = sizes[
                stretch.first : stretch.first + stretch.period
            ]
            start = stop
        return counts

    @cached_property
    def n_entries(self) -> int:
        """Number of entries of all rows of the range."""
        return sum(sum(self.sizes[s.first : s.first + s.period]) * s.repeats for s in self.stretches)

    @property
    def all_columns(self) -> NDArray[np.int64]:
        """The columns of all rows of the range together, ascending, each once."""
        found = []
        for stretch in self.stretches:
            columns = np.concatenate(self.columns[stretch.first : stretch.first + stretch.period])
            found.append((np.unique(columns), stretch))
        filled = [(columns, stretch) for columns, stretch in found if len(columns)]
        if not filled:
            return np.zeros(0, dtype=np.int64)
        low = min(int(columns[0]) for columns, _ in filled)
        high = max(int(columns[-1]) + (stretch.repeats - 1) * stretch.shift for columns, stretch in filled) + 1
        read = np.zeros(high - low, dtype=bool)
        for columns, stretch in filled:
            length = (stretch.repeats - 1) * stretch.shift + 1
            if len(columns) <= stretch.repeats:
                for column in (columns - low).tolist():
                    read[column : column + length : max(stretch.shift, 1)] = True
            else:
                for repeat in range(stretch.repeats):
                    read[columns - low + repeat * stretch.shift] = True
        return np.flatnonzero(read) + low


def channel_rows(pairs: NDArray[np.int64], start: int, stop: int) -> RowTable:
    """Return the rows ``start .. stop - 1`` of the channel axis; the weight of a pair is its index in ``pairs``."""
    if len(pairs) == stop - start == 1 and pairs[0, 0] == start:  # one input and one output channel
        return RowTable([pairs[:, 1]], [np.zeros(1, dtype=np.int64)], [Stretch(0, 1, 1, 0)], [])
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    bounds = np.searchsorted(pairs[order, 0], np.arange(start, stop + 1))
    columns, taps = [], []
    for begin, end in pairwise(bounds.tolist()):
        places = order[begin:end]
        columns.append(pairs[places, 1])
        taps.append(places.astype(np.int64))
    return RowTable(columns, taps, [Stretch(0, stop - start, 1, 0)], [])
