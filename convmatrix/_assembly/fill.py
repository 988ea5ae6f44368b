"""Assembly of a layer's matrix in compressed row storage, at about the cost of writing it once.

The matrix is a product over axes: the entries of row (o_0, ..., o_m) are all combinations of the entries of the rows
o_0, ..., o_m of the axes. In memory they lie as [o_0]...[o_m][entry of o_0]...[entry of o_m]. Rows of an axis repeat
(see `_rows`), so one *line* (all rows of the last axis, for one combination of distinct rows of the others) is worked
out a few times, and then written over and over by broadcasting: unchanged for the values, plus a constant for the
columns.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from convmatrix._assembly.rows import RowTable, extend_with_sums
from convmatrix._assembly.short_lines import SHORT, ShortLines
from convmatrix.options import index_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix._assembly.plan import Plan

_TEMPLATE = 4096  # entries that a template is grown to, so that the inner loops of its copies are long
_WORTH_A_THREAD = 2**18  # entries of a box from which its columns and values are written side by side
_KEPT_BOXES = 8


def assemble(plan: Plan, weights: NDArray[Any]) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[Any]]:
    """Return ``indptr, indices, data`` of the rows of a plan."""
    n_rows = plan.rows[1] - plan.rows[0]
    boxes = list(plan.small_boxes())
    # Where there are many boxes their tables are long: they are made one at a time, not all kept.
    kept = [plan.tables(box) for box in boxes] if len(boxes) <= _KEPT_BOXES else None
    totals = [
        plan.count_box(box) if kept is None else math.prod(table.n_entries for table in kept[place])
        for place, box in enumerate(boxes)
    ]
    dtype = index_dtype(sum(totals), n_rows, plan.n_columns)
    indptr: NDArray[np.integer] = np.zeros(n_rows + 1, dtype=dtype)
    indices: NDArray[np.integer] = np.empty(sum(totals), dtype=dtype)
    by_axis = plan.weights_by_axis(weights)
    data = np.empty(sum(totals), dtype=weights.dtype)
    row = start = 0
    for place, (box, total) in enumerate(zip(boxes, totals, strict=True)):
        tables = plan.tables(box) if kept is None else kept[place]
        next_row, stop = row + math.prod(last - first for first, last in box), start + total
        _count_rows(tables, indptr[row + 1 : next_row + 1], start)
        if total:
            _fill_box(plan, tables, indices[start:stop], data[start:stop], by_axis)
        row, start = next_row, stop
    return indptr, indices, data


def _count_rows(tables: list[RowTable], out: NDArray[np.integer], start: int) -> None:
    """Write the places where the rows of a box end; ``start`` is where it begins."""
    counts = [table.counts.astype(out.dtype, copy=False) for table in tables]
    outer = reduce(np.multiply.outer, counts[:-1])
    np.multiply.outer(outer, counts[-1], out=out.reshape(*outer.shape, -1))
    out.cumsum(out=out)
    if start:
        out += start


def _fill_box(
    plan: Plan,
    tables: list[RowTable],
    indices: NDArray[np.integer],
    data: NDArray[Any],
    weights: NDArray[Any],
) -> None:
    """Write the entries of one box of rows: columns and values, side by side on two cores where that pays."""
    strides = [math.prod(plan.column_sizes[axis + 1 :]) for axis in range(len(plan.column_sizes))]
    for axis, table in enumerate(tables):
        weights = extend_with_sums(weights, axis, table.sums)
    if not plan.merge and any(table.has_repeated_columns for table in tables):
        # Entries come in the order of the axes' columns, then taps; where an axis has two on one column, that is not
        # the order of the matrix's columns, and each row is sorted by column and weight together.
        _Filler(tables, strides, indices, data, sort=True).fill(weights)
        return
    if plan.geometry.in_channels == plan.geometry.out_channels == 1 and len(indices) < _WORTH_A_THREAD:
        _Filler(tables, strides, indices, data).fill(weights)
        return
    columns = _Filler(_without_weights(tables, plan), strides, indices, None)
    values = _Filler(tables, strides, None, data)
    if len(indices) < _WORTH_A_THREAD:
        columns.fill(None)
        values.fill(weights)
        return
    with ThreadPoolExecutor(1) as pool:  # NumPy's loops run side by side
        other = pool.submit(columns.fill, None)
        values.fill(weights)
        other.result()


def _without_weights(tables: list[RowTable], plan: Plan) -> list[RowTable]:
    """Return the tables with the rows of the channel axis merged that differ in their weights only."""
    place = 0 if plan.order == "C" else len(tables) - 1
    return [table.without_weights() if axis == place else table for axis, table in enumerate(tables)]


@dataclass(frozen=True)
class _Repeat:
    """How a line repeats along one axis: how often, how far apart in memory, how many columns on."""

    times: int
    step: int
    shift: int


@dataclass(frozen=True)
class _State:
    """The entries so far, for one combination of rows of the axes already gone through."""

    size: int
    columns: NDArray[np.integer] | None  # (size,)
    weights: NDArray[Any] | None  # (size, weights of the next axis, ...)


class _Filler:
    """Writes the columns of one box of rows, or its values, or both."""

    def __init__(
        self,
        tables: list[RowTable],
        strides: list[int],
        indices: NDArray[np.integer] | None,
        data: NDArray[Any] | None,
        *,
        sort: bool = False,
    ) -> None:
        self.tables = tables
        self.strides = strides
        self.indices = indices
        self.data = data
        self.sort = sort  # each row by column, then weight
        totals = [table.n_entries for table in tables]
        self.table_entries = totals[-1]
        self.inner = [math.prod(totals[axis + 1 :]) for axis in range(len(tables))]
        self.columns: list[list[NDArray[np.integer]]] = []  # of each distinct row of each axis, times the axis's stride
        if indices is not None:
            self.columns = [
                [(columns * stride).astype(indices.dtype) for columns in table.columns]
                for table, stride in zip(tables, strides, strict=True)
            ]

    def fill(self, weights: NDArray[Any] | None) -> None:
        """Write everything; ``weights`` has one axis a table."""
        columns = None if self.indices is None else np.zeros(1, dtype=self.indices.dtype)
        self.short = ShortLines(self.tables[-1], self.strides[-1], 0 if weights is None else weights.shape[-1])
        self._descend(0, _State(1, columns, None if weights is None else weights[None]), 0, [])

    def _descend(self, axis: int, state: _State, offset: int, repeats: list[_Repeat]) -> None:
        if axis == len(self.tables) - 1:
            self._write_lines(state, offset, [repeat for repeat in repeats if repeat.times > 1])
            return
        table, block = self.tables[axis], self.inner[axis]
        for stretch in table.stretches:
            rows = range(stretch.first, stretch.first + stretch.period)
            step = state.size * block * sum(table.sizes[stretch.first : stretch.first + stretch.period])
            repeat = _Repeat(stretch.repeats, step, stretch.shift * self.strides[axis])
            start = offset
            for row in rows:
                if table.sizes[row]:
                    self._descend(axis + 1, self._combine(axis, row, state), start, [*repeats, repeat])
                start += state.size * block * table.sizes[row]
            offset += step * stretch.repeats

    def _combine(self, axis: int, row: int, state: _State) -> _State:
        """Return the entries with those of a distinct row of an axis behind them."""
        size = state.size * len(self.tables[axis].columns[row])
        columns = weights = None
        if state.columns is not None:
            columns = (state.columns[:, None] + self.columns[axis][row]).ravel()
        if state.weights is not None:
            weights = state.weights.take(self.tables[axis].taps[row], axis=1)
            weights = weights.reshape(size, *weights.shape[2:])
        return _State(size, columns, weights)

    def _write_lines(self, state: _State, offset: int, repeats: list[_Repeat]) -> None:
        """Write all rows of the last axis for one combination of distinct rows of the others, as often as it occurs."""
        length = state.size * self.table_entries
        if not length:
            return
        targets = (self.indices, self.data)
        if not repeats:
            outs = (None if array is None else array[offset : offset + length] for array in targets)
            self._write_line(state, *outs)
            return
        lines = [None if array is None else np.empty(length, array.dtype) for array in targets]
        self._write_line(state, *lines)
        shape = (*(repeat.times for repeat in repeats), length)
        steps = [repeat.step for repeat in repeats]
        for array, line, moved in zip(targets, lines, (any(repeat.shift for repeat in repeats), False), strict=True):
            if array is None or line is None:
                continue
            copies = _strided(array, offset, shape, steps)
            if moved:
                shifts = [np.arange(repeat.times, dtype=line.dtype) * repeat.shift for repeat in repeats]
                np.add(line, reduce(np.add.outer, shifts)[..., None], out=copies)
            else:
                copies[...] = line

    def _write_line(self, state: _State, indices: NDArray[Any] | None, data: NDArray[Any] | None) -> None:
        """Write all rows of the last axis for one combination of distinct rows of the others."""
        if not self.sort and state.size * self.table_entries <= SHORT:
            self.short.write(state.columns, state.weights, indices, data)
            return
        table = self.tables[-1]
        start = 0
        for stretch in table.stretches:
            rows = range(stretch.first, stretch.first + stretch.period)
            unit = state.size * sum(len(table.columns[row]) for row in rows)
            stop = start + unit * stretch.repeats
            outs = [None if array is None else array[start:stop] for array in (indices, data)]
            if stretch.repeats == 1:
                self._write_rows(state, rows, *outs)
            elif unit:
                units = [None if out is None else np.empty(unit, out.dtype) for out in outs]
                self._write_rows(state, rows, *units)
                for out, part, shift in zip(outs, units, (stretch.shift * self.strides[-1], 0), strict=True):
                    if out is not None and part is not None:
                        _write_repeated(out, part, stretch.repeats, shift)
            start = stop

    def _write_rows(self, state: _State, rows: range, indices: NDArray[Any] | None, data: NDArray[Any] | None) -> None:
        """Write distinct rows of the last axis, one behind the other."""
        table = self.tables[-1]
        start = 0
        for row in rows:
            shape = (state.size, len(table.columns[row]))
            stop = start + math.prod(shape)
            if indices is not None and state.columns is not None:
                np.add(state.columns[:, None], self.columns[-1][row], out=indices[start:stop].reshape(shape))
            if data is not None and state.weights is not None:
                state.weights.take(table.taps[row], axis=1, out=data[start:stop].reshape(shape), mode="clip")
            if self.sort and indices is not None and data is not None:
                order = np.lexsort((data[start:stop], indices[start:stop]))
                indices[start:stop] = indices[start:stop][order]
                data[start:stop] = data[start:stop][order]
            start = stop


def _strided(array: NDArray[Any], offset: int, shape: tuple[int, ...], steps: list[int]) -> NDArray[Any]:
    """Return a writable view of lines that lie ``steps`` entries apart."""
    if len(steps) == 1 and steps[0] == shape[-1]:  # one behind the other
        return array[offset : offset + math.prod(shape)].reshape(shape)
    size = array.itemsize
    return as_strided(array[offset:], shape, [*(step * size for step in steps), size])


def _write_repeated(out: NDArray[Any], unit: NDArray[Any], times: int, shift: int) -> None:
    """Write the unit ``times`` times, each time ``shift`` larger than before."""
    grown = min(max(_TEMPLATE // len(unit), 1), times)
    whole, rest = divmod(times, grown)
    if not shift:
        template = np.tile(unit, grown)
        out[: whole * len(template)].reshape(whole, len(template))[...] = template
        out[whole * len(template) :] = template[: rest * len(unit)]
        return
    template = (unit + np.arange(grown, dtype=out.dtype)[:, None] * shift).ravel()
    shifts = np.arange(whole + 1, dtype=out.dtype) * (grown * shift)
    np.add(template, shifts[:whole, None], out=out[: whole * len(template)].reshape(whole, len(template)))
    np.add(template[: rest * len(unit)], shifts[whole], out=out[whole * len(template) :])
