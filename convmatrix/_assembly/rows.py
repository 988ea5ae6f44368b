"""The rows of a layer's matrix: tables of the rows of one axis, and a plan of the rows that are needed on each axis.

The matrix is a product over axes (channels are one more axis), so only the pattern of one axis is ever computed. Away
from the ends, each row equals the row ``period`` rows before it, moved by a fixed number of columns. A `RowTable`
therefore lists only the distinct rows, and stretches of rows that repeat them: three rows for a 3-tap axis of a million
samples.

Rows are outputs and columns are samples. For a transposed layer, or a matrix built by columns, the roles are exchanged,
and the same one-axis rule gives the table.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from convmatrix.boundary import NOTHING, SIGNED, Axis, read_terms
from convmatrix.read_counts import count_reads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry

    Row = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64] | None]
    """Columns, weights and coefficients of the entries of a row; None if all coefficients are 1."""

Range = tuple[int, int]
Combination = tuple[tuple[int, ...], tuple[int, ...]]  # taps, coefficients

_LISTED: Final = 2**22  # largest number of entries of an axis listed to count them
_LARGEST_TABLE: Final = 2**20  # largest number of entries in the table of an axis; larger boxes of rows are halved
_KEPT_TABLE: Final = 2**14  # largest number of entries in a table kept for counting and for equal axes


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
    order = np.flatnonzero((pairs[:, 0] >= start) & (pairs[:, 0] < stop))
    order = order[np.lexsort((pairs[order, 1], pairs[order, 0]))]
    bounds = np.searchsorted(pairs[order, 0], np.arange(start, stop + 1))
    columns, taps = [], []
    for begin, end in pairwise(bounds.tolist()):
        places = order[begin:end]
        columns.append(pairs[places, 1])
        taps.append(places.astype(np.int64))
    return RowTable(columns, taps, [Stretch(0, stop - start, 1, 0)], [])


def axis_rows(axis: Axis, start: int, stop: int, *, by_sample: bool, merge: bool) -> RowTable:
    """Return the rows ``start .. stop - 1`` of a spatial axis.

    Parameters
    ----------
    by_sample : bool
        Whether rows are samples and columns are outputs, instead of the reverse.
    merge : bool
        Whether taps that read the same sample are merged into one entry (a sum of weights).
    """
    if by_sample and axis.stride == axis.tile == 1 and axis.boundary == "zero":
        axis, by_sample = _adjoint(axis), False
    low, high = _regular_samples(axis) if by_sample else axis.inner_outputs
    period, shift = (axis.stride * axis.tile, axis.tile) if by_sample else (axis.tile, axis.stride * axis.tile)
    low, high = max(low, start), min(high, stop)
    repeats = (high - low) // period
    if repeats < 2:
        low, period, repeats, shift = start, stop - start, 1, 0
    end = low + repeats * period
    distinct, stretches, number = [], [], 0
    for first, last, times in ((start, low, 1), (low, low + period, repeats), (end, stop, 1)):
        if first < last:
            distinct.append((first, last))
            stretches.append(Stretch(number, last - first, times, shift if times > 1 else 0))
            number += last - first
    n_weights = axis.tile * axis.n_taps
    signed = axis.boundary in SIGNED
    found = (_rows_by_sample if by_sample else _signed_rows_by_output if signed else _rows_by_output)(axis, distinct)
    numbers: dict[Combination, int] = {}
    if signed or (merge and axis.boundary != "zero"):  # otherwise no two taps of an output read the same sample
        rows = [_combined(row, numbers, n_weights, merge=merge) for row in found]
    else:
        rows = [(columns, taps) for columns, taps, _ in found]
    sums, factors = [group for group, _ in numbers], [factors for _, factors in numbers] if signed else []
    return RowTable([columns for columns, _ in rows], [taps for _, taps in rows], stretches, sums, factors)


def _combined(
    row: Row, numbers: dict[Combination, int], n_weights: int, *, merge: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the columns of a row and the weight of each entry, as in a `RowTable`.

    Each combination of weights with coefficients other than 1 is numbered from ``n_weights`` on, in ``numbers``.
    Entries in one column make up one combination if they are merged.
    """
    columns, weights, factors = row
    repeated = columns[1:] == columns[:-1]
    if (factors is None or (factors == 1).all()) and not (merge and repeated.any()):
        return columns, weights
    starts = np.flatnonzero(np.r_[True, ~repeated]) if merge else np.arange(len(columns))
    sizes = np.diff(np.r_[starts, len(columns)])
    found = weights[starts]
    changed = sizes > 1 if factors is None else (sizes > 1) | (factors[starts] != 1)
    for entry in np.flatnonzero(changed):
        part = slice(starts[entry], starts[entry] + sizes[entry])
        combination = tuple(weights[part].tolist()), () if factors is None else tuple(factors[part].tolist())
        found[entry] = n_weights + numbers.setdefault(combination, len(numbers))
    return columns[starts], found


def table_size(axis: Axis, start: int, stop: int, *, by_sample: bool) -> int:
    """Return an upper bound on the number of entries that `axis_rows` lists: distinct rows times taps."""
    (low, high), period = axis.inner_outputs, axis.tile
    if by_sample:
        (low, high), period = _unpadded_samples(axis), axis.tile * axis.stride
    irregular = max(min(low, stop) - start, 0) + max(stop - max(high, start), 0)
    return int(min(irregular + 2 * period, stop - start) * axis.n_taps * _terms(axis))


def _terms(axis: Axis) -> int:
    """Return the largest number of samples that one tap reads."""
    return min(3, axis.n_samples) if axis.boundary == "antireflect" else 1


def count_entries(axis: Axis, start: int, stop: int, *, by_sample: bool, merge: bool) -> int:
    """Return the number of entries of a range of rows, without listing them if there are many.

    The number is exact, except for several rows of an axis with a very long kernel and a boundary other than zero, for
    which it is an upper bound.
    """
    if stop - start == 1 or table_size(axis, start, stop, by_sample=by_sample) <= _LISTED:
        return axis_rows(axis, start, stop, by_sample=by_sample, merge=merge).n_entries
    n_columns = axis.n_outputs if by_sample else axis.n_samples
    if axis.boundary != "zero":
        entries = axis.n_taps * _terms(axis)
        return int((stop - start) * (min(entries, n_columns) if merge and not by_sample else entries))
    if by_sample:
        return count_reads(axis, (0, axis.n_outputs), (start, stop))
    return count_reads(axis, (start, stop), (0, axis.n_samples))


def _unpadded_samples(axis: Axis) -> tuple[int, int]:
    """Return the range of samples from the last tap of the first output on to the first tap of the last output."""
    return max(axis.span - 1 - axis.pad_low, 0), (axis.n_outputs - 1) * axis.stride - axis.pad_low + 1


def _regular_samples(axis: Axis) -> tuple[int, int]:
    """Return a range of samples whose reads are regular: none is through the boundary, and no output is missing."""
    low, high = _unpadded_samples(axis)
    high = min(high, axis.n_samples)
    if axis.boundary == "zero" or low >= high:
        return low, high
    positions = axis.position(_irregular_outputs(axis)[:, None], np.arange(axis.n_taps))
    positions = np.unique(positions[(positions < 0) | (positions >= axis.n_samples)])
    terms = np.broadcast_arrays(*chain.from_iterable(read_terms(positions, axis.n_samples, axis.boundary)))
    outside = np.concatenate([sample[factor != 0] for sample, factor in zip(terms[::2], terms[1::2], strict=True)])
    cuts = np.unique(np.r_[low - 1, outside[(outside >= low) & (outside < high)], high])
    widest = int(np.argmax(np.diff(cuts)))
    return int(cuts[widest]) + 1, int(cuts[widest + 1])


def _irregular_outputs(axis: Axis) -> NDArray[np.int64]:
    """Return the outputs with a tap outside the input."""
    low, high = axis.inner_outputs
    return np.concatenate([np.arange(low, dtype=np.int64), np.arange(high, axis.n_outputs, dtype=np.int64)])


def _adjoint(axis: Axis) -> Axis:
    """Return the axis whose matrix is the transpose; it exists for stride 1 and the zero boundary only."""
    pad_low = axis.span - 1 - axis.pad_low
    return replace(axis, n_outputs=axis.n_samples, n_samples=axis.n_outputs, pad_low=pad_low, flip=not axis.flip)


def _rows_by_output(axis: Axis, ranges: Sequence[Range]) -> Iterator[Row]:
    """Yield the entries of each output in some ranges, ordered by sample and tap."""
    outputs = np.concatenate([np.arange(*limits, dtype=np.int64) for limits in ranges])[:, None]
    taps = np.arange(axis.n_taps, dtype=np.int64)
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
        order = samples.argsort(axis=1, kind="stable")  # fast, because samples come in a few runs
        samples = np.take_along_axis(samples, order, axis=1)
        weights = order if axis.tile == 1 else axis.weight(outputs, order)
    for row_samples, row_weights, first, count in zip(samples, weights, firsts, counts, strict=False):
        yield row_samples[first : first + count], row_weights[first : first + count], None


def _signed_rows_by_output(axis: Axis, ranges: Sequence[Range]) -> Iterator[Row]:
    """Yield the entries of each output in some ranges, ordered by sample and weight, for a signed boundary."""
    for limits in ranges:
        outputs = np.arange(*limits, dtype=np.int64)
        places, taps, samples, factors = axis.entries(outputs, np.arange(axis.n_taps))
        weights = axis.weight(outputs[places], taps)
        order = np.lexsort((weights, samples, places))
        bounds = np.searchsorted(places, np.arange(len(outputs) + 1))
        for first, last in pairwise(bounds.tolist()):
            row = order[first:last]
            yield samples[row], weights[row], factors[row]


def _outputs_that_read(axis: Axis, start: int, stop: int) -> NDArray[np.int64]:
    """Return, in ascending order, a superset of the outputs that read any of the samples ``start .. stop - 1``."""
    low = max((start + axis.pad_low - axis.span + 1) // axis.stride, 0)
    high = min((stop - 1 + axis.pad_low) // axis.stride + 1, axis.n_outputs)
    outputs = np.arange(low, max(high, low), dtype=np.int64)
    return outputs if axis.boundary == "zero" else np.union1d(outputs, _irregular_outputs(axis))


def _rows_by_sample(axis: Axis, ranges: Sequence[Range]) -> Iterator[Row]:
    """Yield the entries of each sample in some ranges, ordered by output and weight."""
    all_taps = np.arange(axis.n_taps)
    for start, stop in ranges:
        outputs, factors = _outputs_that_read(axis, start, stop), None
        if axis.boundary in SIGNED:
            found = axis.entries(outputs, all_taps)
            inside = (found[2] >= start) & (found[2] < stop)
            places, taps, samples, factors = (array[inside] for array in found)
        else:  # fewer arrays
            read = axis.sample(outputs[:, None], all_taps)  # (n_outputs, n_taps)
            places, taps = np.nonzero((read >= start) & (read < stop))
            samples = read[places, taps]
        columns = outputs[places]
        weights = axis.weight(columns, taps)
        order = np.lexsort((weights, columns, samples))
        bounds = np.searchsorted(samples[order], np.arange(start, stop + 1))
        for first, last in pairwise(bounds.tolist()):
            row = order[first:last]
            yield columns[row], weights[row], None if factors is None else factors[row]


# --- rows of all axes -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """The rows to assemble: those of a layer's matrix or of its transpose, in C or F order.

    Attributes
    ----------
    geometry : ConvGeometry
    order : {"C", "F"}
        How the channel axis and the spatial axes are flattened.
    by_column : bool
        Whether to assemble the transpose, whose compressed rows are the compressed columns of the matrix.
    merge : bool
        Whether taps that read the same sample are merged into one entry (for a matrix) or kept apart (for a pattern).
    rows : (int, int)
        The range of rows.
    """

    geometry: ConvGeometry
    order: Literal["C", "F"]
    by_column: bool
    merge: bool
    rows: Range
    _tables: dict[tuple[Axis, Range], RowTable] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def sizes(self) -> tuple[list[int], list[int]]:
        """Number of rows and of columns of each axis, the slowest axis first."""
        g = self.geometry
        sides = g.full_output_shape, g.full_input_shape
        rows, columns = (list(side if self.order == "C" else side[::-1]) for side in sides)
        return (columns, rows) if self.by_column else (rows, columns)

    @cached_property
    def _axes(self) -> tuple[Axis, ...]:
        return self.geometry.axes

    @cached_property
    def _pairs(self) -> NDArray[np.int64]:
        """Channel pairs as (row, column)."""
        pairs = self.geometry.channel_pairs
        return pairs[:, ::-1] if self.by_column else pairs

    @cached_property
    def _by_sample(self) -> bool:
        """Whether rows are samples and columns are outputs."""
        return self.geometry.transposed != self.by_column

    def small_boxes(self) -> Iterator[list[Range]]:
        """Yield the rows in order, as boxes with one range per axis that are small enough for short tables."""
        waiting = list(_boxes(self.sizes[0], *self.rows))[::-1]
        while waiting:
            box = waiting.pop()
            axis = next((axis for axis, (start, stop) in enumerate(box) if stop - start > 1), None)
            if axis is None or not any(map(self._has_large_table, self._axes, self._split(box)[1])):
                yield box
                continue
            start, stop = box[axis]
            middle = (start + stop) // 2
            waiting += [[*box[:axis], half, *box[axis + 1 :]] for half in ((middle, stop), (start, middle))]

    def tables(self, box: list[Range]) -> list[RowTable]:
        """Return the row table of each axis of a box, the slowest axis first."""
        channels, spatial = self._split(box)
        tables = [channel_rows(self._pairs, *channels), *map(self._table, self._axes, spatial)]
        return tables if self.order == "C" else tables[::-1]

    def count(self) -> int:
        """Return the number of entries, or an upper bound in the cases described for `count_entries`."""
        return sum(map(self.count_box, _boxes(self.sizes[0], *self.rows)))

    def count_box(self, box: list[Range]) -> int:
        """Return the number of entries of a box of rows, or an upper bound as for `count`."""
        channels, spatial = self._split(box)
        if self.geometry.connections is None:
            others = self.geometry.out_channels if self.by_column else self.geometry.in_channels
            entries = (channels[1] - channels[0]) * (others // self.geometry.groups)
        else:
            rows = self._pairs[:, 0]
            entries = int(np.count_nonzero((rows >= channels[0]) & (rows < channels[1])))
        for axis, limits in zip(self._axes, spatial, strict=True):
            if not entries:
                return 0
            if self._has_large_table(axis, limits):
                entries *= count_entries(axis, *limits, by_sample=self._by_sample, merge=self.merge)
            else:
                entries *= self._table(axis, limits).n_entries
        return entries

    def _split(self, box: list[Range]) -> tuple[Range, list[Range]]:
        """Return the range of channels of a box, and its ranges on the spatial axes in the order of the geometry."""
        return (box[0], box[1:]) if self.order == "C" else (box[-1], box[-2::-1])

    def _has_large_table(self, axis: Axis, limits: Range) -> bool:
        """Return whether the table for a range of rows of an axis would take much memory."""
        return (axis, limits) not in self._tables and self._size(axis, limits) > _LARGEST_TABLE

    def _size(self, axis: Axis, limits: Range) -> int:
        return table_size(axis, *limits, by_sample=self._by_sample)

    def _table(self, axis: Axis, limits: Range) -> RowTable:
        """Return the table of a range of rows of an axis; small ones are kept for counting and for equal axes."""
        table = self._tables.get((axis, limits))
        if table is None:
            table = axis_rows(axis, *limits, by_sample=self._by_sample, merge=self.merge)
            if self._size(axis, limits) <= _KEPT_TABLE:
                self._tables[axis, limits] = table
        return table


def _boxes(sizes: Sequence[int], start: int, stop: int) -> Iterator[list[Range]]:
    """Yield boxes that together make up the range ``start .. stop - 1`` of flat indices in C order."""
    if start >= stop:
        return
    if len(sizes) == 1:
        yield [(start, stop)]
        return
    block = math.prod(sizes[1:])
    first, last = start // block, (stop - 1) // block
    if first == last:
        for box in _boxes(sizes[1:], start - first * block, stop - first * block):
            yield [(first, first + 1), *box]
        return
    whole_first, whole_last = -(-start // block), stop // block
    if whole_first > first:
        for box in _boxes(sizes[1:], start - first * block, block):
            yield [(first, first + 1), *box]
    if whole_last > whole_first:
        yield [(whole_first, whole_last), *((0, size) for size in sizes[1:])]
    if whole_last * block < stop:
        for box in _boxes(sizes[1:], 0, stop - whole_last * block):
            yield [(whole_last, whole_last + 1), *box]
