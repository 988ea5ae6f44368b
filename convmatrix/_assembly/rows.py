"""The rows of one axis: which columns each row touches, through which taps, and how rows repeat.

The matrix of a layer is a product over its axes (channels are one more axis), so all that is ever worked out is the
pattern of one axis at a time. Away from the ends a row is the row ``period`` before it, moved by a fixed number of
columns; a `RowTable` therefore lists the few distinct rows, and stretches of rows that repeat them. For a 3-tap axis of
a million samples that is three rows.

Rows are outputs and columns are samples; for a transposed layer (or a matrix built by columns) it is the other way
round, and the same table results from the same one-axis rule.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from convmatrix.boundary import NOTHING, Axis

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

Index = np.int64


@dataclass(frozen=True)
class Stretch:
    """Neighbouring rows: ``period`` distinct rows from ``first`` on, ``repeats`` times, each moved by ``shift``."""

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
        For each distinct row its columns, ascending, and the weight of this axis at each of them. Weights at or past
        ``n_taps`` are sums: number ``n_taps + m`` stands for the sum of the weights ``sums[m]``.
    stretches : list of Stretch
        The rows in order.
    sums : list of tuple of int
        Empty unless several taps land on one sample and entries are merged.
    """

    columns: list[NDArray[np.int64]]
    taps: list[NDArray[np.int64]]
    stretches: list[Stretch]
    sums: list[tuple[int, ...]]

    @cached_property
    def sizes(self) -> list[int]:
        """Entries of each distinct row."""
        return [len(columns) for columns in self.columns]

    @property
    def counts(self) -> NDArray[np.int32]:
        """Entries of each row, over all rows of the range."""
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
        """Entries of all rows of the range."""
        return sum(sum(self.sizes[s.first : s.first + s.period]) * s.repeats for s in self.stretches)

    @property
    def has_repeated_columns(self) -> bool:
        """Whether a row has two entries on one column."""
        return any((columns[1:] == columns[:-1]).any() for columns in self.columns)

    def without_weights(self) -> RowTable:
        """Return the table with neighbouring rows merged that have the same columns; its taps mean nothing."""
        firsts = [
            row
            for row, columns in enumerate(self.columns)
            if not row or not np.array_equal(columns, self.columns[row - 1])
        ]
        sizes = np.diff([*firsts, len(self.columns)]).tolist()
        stretches = [Stretch(place, 1, size, 0) for place, size in enumerate(sizes)]
        return RowTable([self.columns[row] for row in firsts], [self.taps[row] for row in firsts], stretches, [])


def channel_rows(pairs: NDArray[np.int64], start: int, stop: int) -> RowTable:
    """Return the rows ``start .. stop - 1`` of the channel axis; the weight of a pair is its place in ``pairs``."""
    if len(pairs) == stop - start == 1:  # one channel to one channel
        return RowTable([pairs[:, 1]], [np.zeros(1, dtype=Index)], [Stretch(0, 1, 1, 0)], [])
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    bounds = np.searchsorted(pairs[order, 0], np.arange(start, stop + 1))
    columns, taps = [], []
    for begin, end in pairwise(bounds.tolist()):
        places = order[begin:end]
        columns.append(pairs[places, 1])
        taps.append(places.astype(Index))
    return RowTable(columns, taps, [Stretch(0, stop - start, 1, 0)], [])


def axis_rows(axis: Axis, start: int, stop: int, *, by_sample: bool, merge: bool) -> RowTable:
    """Return the rows ``start .. stop - 1`` of a spatial axis.

    Parameters
    ----------
    by_sample : bool
        Rows are samples and columns outputs, instead of the other way round.
    merge : bool
        Make one entry of the taps that land on one place (a sum of weights), or leave one entry a tap.
    """
    if by_sample and axis.stride == axis.tile == 1 and axis.boundary == "zero":
        axis, by_sample = _adjoint(axis), False
    low, high = _regular_samples(axis) if by_sample else _regular_outputs(axis)
    period, shift = (axis.stride * axis.tile, axis.tile) if by_sample else (axis.tile, axis.stride * axis.tile)
    low, high = max(low, start), min(high, stop)
    repeats = (high - low) // period
    if repeats < 2:
        low, period, repeats, shift = start, stop - start, 1, 0
    columns: list[NDArray[np.int64]] = []
    taps: list[NDArray[np.int64]] = []
    stretches = []
    sums: dict[tuple[int, ...], int] = {}
    end = low + repeats * period
    distinct = []
    number = 0
    for first, last, times in ((start, low, 1), (low, low + period, repeats), (end, stop, 1)):
        if first < last:
            distinct.append((first, last))
            stretches.append(Stretch(number, last - first, times, shift if times > 1 else 0))
            number += last - first
    repeating = merge and _may_repeat_columns(axis)
    for row_columns, row_taps in (_rows_by_sample if by_sample else _rows_by_output)(axis, distinct):
        if repeating and (row_columns[1:] == row_columns[:-1]).any():
            row_columns, row_taps = _merge(row_columns, row_taps, sums, axis.tile * axis.n_taps)
        columns.append(row_columns)
        taps.append(row_taps)
    return RowTable(columns, taps, stretches, list(sums))


def _may_repeat_columns(axis: Axis) -> bool:
    """Whether two taps of an output could read one sample: not without a boundary that is read."""
    return axis.boundary != "zero"


def _merge(
    columns: NDArray[np.int64], taps: NDArray[np.int64], sums: dict[tuple[int, ...], int], n_taps: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Merge entries on one column; a sum of weights gets a number past ``n_taps`` and is remembered in ``sums``."""
    starts = np.flatnonzero(np.r_[True, columns[1:] != columns[:-1]])
    merged = taps[starts]
    sizes = np.diff(np.r_[starts, len(taps)])
    for place in np.flatnonzero(sizes > 1):
        group = tuple(taps[starts[place] : starts[place] + sizes[place]].tolist())
        merged[place] = n_taps + sums.setdefault(group, len(sums))
    return columns[starts], merged


def extend_with_sums(weights: NDArray[np.generic], axis: int, sums: Sequence[tuple[int, ...]]) -> NDArray[np.generic]:
    """Append to an array, along one of its axes, the sums that a `RowTable` refers to."""
    if not sums:
        return weights
    extra = [weights.take(group, axis=axis).sum(axis=axis, dtype=weights.dtype, keepdims=True) for group in sums]
    return np.concatenate([weights, *extra], axis=axis)


def table_size(axis: Axis, start: int, stop: int, *, by_sample: bool) -> int:
    """Return an upper bound for the entries that `axis_rows` has to look at: distinct rows times taps."""
    low, high = _regular_outputs(axis)
    period = axis.tile
    if by_sample:
        reach = (axis.n_taps - 1) * axis.dilation
        low, high = max(reach - axis.pad_low, 0), (axis.n_outputs - 1) * axis.stride - axis.pad_low + 1
        period = axis.tile * axis.stride
    irregular = max(min(low, stop) - start, 0) + max(stop - max(high, start), 0)
    return int(min(irregular + 2 * period, stop - start) * axis.n_taps)


def count_entries(axis: Axis, start: int, stop: int, *, by_sample: bool, merge: bool) -> int:
    """Return the number of entries in a range of rows, without listing them where that would be long.

    Exact, but for an axis with a boundary other than zero whose kernel is very long: there it is an upper bound, unless
    one row is asked for.
    """
    if stop - start == 1 or table_size(axis, start, stop, by_sample=by_sample) <= _LISTED:
        return axis_rows(axis, start, stop, by_sample=by_sample, merge=merge).n_entries
    n_columns = axis.n_outputs if by_sample else axis.n_samples
    if axis.boundary != "zero" or axis.n_taps > _LISTED:
        return int((stop - start) * (min(axis.n_taps, n_columns) if merge and not by_sample else axis.n_taps))
    outputs = (0, axis.n_outputs) if by_sample else (start, stop)
    samples = (start, stop) if by_sample else (0, axis.n_samples)
    base = np.arange(axis.n_taps, dtype=Index) * axis.dilation - axis.pad_low  # position at output 0; (n_taps,)
    low = np.maximum(-((base - samples[0]) // axis.stride), outputs[0])
    high = np.minimum((samples[1] - 1 - base) // axis.stride + 1, outputs[1])
    return int(np.maximum(high - low, 0).sum())


_LISTED = 2**22

# --- where rows repeat -----------------------------------------------------------------------------------------------


def _regular_outputs(axis: Axis) -> tuple[int, int]:
    """Return the range of outputs whose taps all read inside the input."""
    reach = (axis.n_taps - 1) * axis.dilation
    low = -(-axis.pad_low // axis.stride)
    high = (axis.n_samples - 1 - reach + axis.pad_low) // axis.stride + 1
    return max(low, 0), min(high, axis.n_outputs)


def _regular_samples(axis: Axis) -> tuple[int, int]:
    """Return a range of samples that are read directly, never through the boundary, by outputs that all exist."""
    reach = (axis.n_taps - 1) * axis.dilation
    low = max(reach - axis.pad_low, 0)
    high = min((axis.n_outputs - 1) * axis.stride - axis.pad_low + 1, axis.n_samples)
    if axis.boundary == "zero" or low >= high:
        return low, high
    outputs, taps = _irregular_outputs(axis)[:, None], np.arange(axis.n_taps, dtype=Index)
    positions = axis.position(outputs, taps)
    outside = axis.sample(outputs, taps)[(positions < 0) | (positions >= axis.n_samples)]
    cuts = np.unique(np.r_[low - 1, outside[(outside >= low) & (outside < high)], high])
    widest = int(np.argmax(np.diff(cuts)))
    return int(cuts[widest]) + 1, int(cuts[widest + 1])


def _irregular_outputs(axis: Axis) -> NDArray[np.int64]:
    """Return the outputs that read beyond the ends."""
    low, high = _regular_outputs(axis)
    if low >= high:
        low = high = axis.n_outputs
    return np.concatenate([np.arange(low, dtype=Index), np.arange(high, axis.n_outputs, dtype=Index)])


def _adjoint(axis: Axis) -> Axis:
    """Return the axis whose matrix is the transpose, which exists for stride 1 and the zero boundary."""
    reach = (axis.n_taps - 1) * axis.dilation
    return replace(
        axis, n_outputs=axis.n_samples, n_samples=axis.n_outputs, pad_low=reach - axis.pad_low, flip=not axis.flip
    )


# --- the entries of a range of rows ----------------------------------------------------------------------------------

_Row = tuple["NDArray[np.int64]", "NDArray[np.int64]"]  # columns, taps


def _rows_by_output(axis: Axis, ranges: Sequence[tuple[int, int]]) -> Iterator[_Row]:
    """Yield the entries of each output of some ranges, in the order of sample and tap."""
    outputs = np.concatenate([np.arange(*limits, dtype=Index) for limits in ranges])[:, None]
    taps = np.arange(axis.n_taps, dtype=Index)
    if axis.boundary == "zero" and axis.flip:
        taps = taps[::-1]  # so that the samples ascend
    samples = axis.sample(outputs, taps)  # (n_outputs, n_taps)
    read = samples != NOTHING
    counts = read.sum(axis=1).tolist()
    if axis.boundary == "zero":
        firsts = read.argmax(axis=1).tolist()
        weights = itertools.repeat(taps) if axis.tile == 1 else axis.weight(outputs, taps)
    else:
        firsts = [0] * len(outputs)
        order = samples.argsort(axis=1, kind="stable")  # samples come in a few runs, which this sort makes use of
        samples = np.take_along_axis(samples, order, axis=1)
        weights = order if axis.tile == 1 else axis.weight(outputs, order)
    for row_samples, row_weights, first, count in zip(samples, weights, firsts, counts, strict=False):
        yield row_samples[first : first + count], row_weights[first : first + count]


def _rows_by_sample(axis: Axis, ranges: Sequence[tuple[int, int]]) -> Iterator[_Row]:
    """Yield the entries of each sample of some ranges, in the order of output and tap."""
    for start, stop in ranges:
        yield from _rows_of_samples(axis, start, stop)


def _rows_of_samples(axis: Axis, start: int, stop: int) -> Iterator[_Row]:
    """Yield the entries of each sample of a range, in the order of output and tap."""
    reach = (axis.n_taps - 1) * axis.dilation
    low = max((start + axis.pad_low - reach) // axis.stride, 0)
    high = min((stop - 1 + axis.pad_low) // axis.stride + 1, axis.n_outputs)
    outputs = np.arange(low, max(high, low), dtype=Index)
    if axis.boundary != "zero":
        outputs = np.union1d(outputs, _irregular_outputs(axis))
    taps = np.arange(axis.n_taps, dtype=Index)
    samples = axis.sample(outputs[:, None], taps)  # (n_outputs, n_taps)
    rows, columns = np.nonzero((samples >= start) & (samples < stop))
    samples, outputs, weights = samples[rows, columns], outputs[rows], axis.weight(outputs[rows], taps[columns])
    order = np.lexsort((weights, outputs, samples))
    bounds = np.searchsorted(samples[order], np.arange(start, stop + 1))
    for first, last in pairwise(bounds.tolist()):
        yield outputs[order[first:last]], weights[order[first:last]]
