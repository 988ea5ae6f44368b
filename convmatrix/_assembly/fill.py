"""Assembly of a layer's matrix in compressed row storage, at about the cost of writing it once.

The matrix is a product over axes: the entries of row (o_0, ..., o_m) are all combinations of the entries of the rows
o_0, ..., o_m of the axes. In memory they are ordered as [o_0]...[o_m][entry of o_0]...[entry of o_m]. Rows of an axis
repeat (see `RowTable`), so a *line*, which consists of all rows of the last axis for one combination of distinct rows
of the other axes, is computed a few times and copied many times by broadcasting: the values are unchanged, and a
constant is added to the columns.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided

from convmatrix._assembly.rows import Plan, RowTable, Stretch
from convmatrix.options import index_dtype, require_no_overflow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from convmatrix.arrays import Array

_TEMPLATE: Final = 4096  # entries in a template: large enough for the inner loops of its copies to be long
_WORTH_A_THREAD: Final = 2**18  # entries of a box above which two threads write its columns and values
_KEPT_BOXES: Final = 8
_SHORT: Final = 2**12  # largest number of entries of a short line


def assemble(
    plan: Plan,
    weights: Array,
    empty: Callable[[int, Any], Array] = np.empty,
    fill: Callable[[Plan, list[RowTable], NDArray[np.integer], Array, Array], None] | None = None,
    threads: int = 2,
) -> tuple[NDArray[np.integer], NDArray[np.integer], Array]:
    """Return ``indptr, indices, data`` of the rows of a plan; ``empty(length, dtype)`` allocates the last two.

    ``fill(plan, tables, indices, data, weights)`` writes a box of rows; by default its columns and values, those of a
    large box with one or two threads.
    """
    fill = fill or partial(_fill_box, threads=threads)
    n_rows = plan.rows[1] - plan.rows[0]
    boxes = list(plan.small_boxes())
    # The tables of many boxes take much memory, so they are built for one box at a time.
    kept = [plan.tables(box) for box in boxes] if len(boxes) <= _KEPT_BOXES else None
    if kept is None:
        totals = [plan.count_box(box) for box in boxes]
    else:
        totals = [math.prod(table.n_entries for table in tables) for tables in kept]
    dtype = index_dtype(sum(totals), n_rows, math.prod(plan.sizes[1]))
    indptr: NDArray[np.integer] = np.zeros(n_rows + 1, dtype=dtype)
    indices: NDArray[np.integer] = empty(sum(totals), dtype)
    by_axis = _weights_by_axis(plan, weights)
    data = empty(sum(totals), weights.dtype)
    row = start = 0
    for number, (box, total) in enumerate(zip(boxes, totals, strict=True)):
        tables = plan.tables(box) if kept is None else kept[number]
        next_row, stop = row + math.prod(last - first for first, last in box), start + total
        _count_rows(tables, indptr[row + 1 : next_row + 1], start)
        if total:
            fill(plan, tables, indices[start:stop], data[start:stop], by_axis)
        row, start = next_row, stop
    return indptr, indices, data


def assemble_triplets(
    plan: Plan,
) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer], NDArray[np.int64] | None]:
    """Return ``indptr, indices``, the weight of each entry, and its coefficient, or None if all coefficients are 1."""
    n_weights = plan.geometry.n_weights
    numbers = np.arange(n_weights, dtype=index_dtype(n_weights))
    if not plan.geometry.has_coefficients:
        return *assemble(plan, numbers), None
    coefficients: list[NDArray[np.int64]] = []

    def fill(plan: Plan, tables: list[RowTable], indices: NDArray[np.integer], data: Array, weights: Array) -> None:
        factors = np.ones(weights.shape, dtype=np.int64)
        for axis, table in enumerate(tables):
            weights = _extend_with_sums(weights, axis, table.sums)  # each of one weight
            factors = _extend_with_sums(factors, axis, table.sums, table.factors)
        # Numbers of the pairs (weight, coefficient), ascending with the weight, which orders the entries of a column.
        order = weights.argsort(axis=None, kind="stable")
        pairs = np.empty(len(order), dtype=index_dtype(len(order)))
        pairs[order] = np.arange(len(order))
        found = np.empty(len(data), dtype=pairs.dtype)
        _write_box(plan, tables, indices, found, pairs.reshape(weights.shape))
        data[...] = weights.reshape(-1)[order][found]
        coefficients.append(factors.reshape(-1)[order][found])

    starts, columns, weights = assemble(plan, numbers, fill=fill)
    joined = coefficients[0] if len(coefficients) == 1 else np.concatenate([np.zeros(0, np.int64), *coefficients])
    return starts, columns, weights, None if (joined == 1).all() else joined


def _weights_by_axis(plan: Plan, weights: Array) -> Array:
    """Return the weights with one axis per axis of the matrix, the slowest first, joining tile and taps."""
    g = plan.geometry
    n_axes = len(g.kernel_shape)
    weights = weights.reshape(*g.tile, -1, *g.kernel_shape)  # (*tile, n_pairs, *kernel)
    joined = [n_axes]
    for axis in range(n_axes):
        joined += [axis, n_axes + 1 + axis]
    sizes = [tile * taps for tile, taps in zip(g.tile, g.kernel_shape, strict=True)]
    by_axis = weights.transpose(joined).reshape(-1, *sizes)  # (n_pairs, tile_0 * k_0, ...)
    return by_axis if plan.order == "C" else by_axis.T


def _count_rows(tables: list[RowTable], out: NDArray[np.integer], start: int) -> None:
    """Write the end of each row of a box, counted in entries; the box begins at ``start``."""
    counts = [table.counts.astype(out.dtype, copy=False) for table in tables]
    outer = reduce(np.multiply.outer, counts[:-1])
    np.multiply.outer(outer, counts[-1], out=out.reshape(*outer.shape, -1))
    out.cumsum(out=out)
    if start:
        out += start


def _fill_box(
    plan: Plan, tables: list[RowTable], indices: NDArray[np.integer], data: Array, weights: Array, threads: int
) -> None:
    """Write the columns and values of one box of rows; raise ValueError if integers do not hold a value."""
    checked = weights.dtype.kind in "iu" and any(table.sums for table in tables)
    exact = weights.astype(np.float64) if checked else weights
    for axis, table in enumerate(tables):
        weights = _extend_with_sums(weights, axis, table.sums, table.factors)
        exact = _extend_with_sums(exact, axis, table.sums, table.factors) if checked else weights
    _write_box(plan, tables, indices, data, weights, threads)
    if checked and not np.array_equal(weights, exact):  # sums along one axis may overflow where no value does
        values = np.empty(len(data))
        _write_box(plan, tables, indices, values, exact, threads)
        require_no_overflow(data, values)


def _write_box(
    plan: Plan, tables: list[RowTable], indices: NDArray[np.integer], data: Array, weights: Array, threads: int = 2
) -> None:
    """Write the columns and values of one box of rows, with two threads if there may be two and that is faster."""
    strides = [math.prod(plan.sizes[1][axis + 1 :]) for axis in range(len(tables))]
    if not plan.merge and any((columns[1:] == columns[:-1]).any() for table in tables for columns in table.columns):
        # Entries are ordered by the columns of each axis. If an axis has two entries in one column, this is not the
        # order of the matrix's columns, so each row is sorted by column and weight.
        _Filler(tables, strides, indices, data, sort=True).fill(weights)
        return
    if plan.geometry.in_channels == plan.geometry.out_channels == 1 and len(indices) < _WORTH_A_THREAD:
        _Filler(tables, strides, indices, data).fill(weights)
        return
    channel = 0 if plan.order == "C" else len(tables) - 1
    without_weights = [_merge_rows(table) if axis == channel else table for axis, table in enumerate(tables)]
    columns = _Filler(without_weights, strides, indices, None)
    values = _Filler(tables, strides, None, data)
    if threads == 1 or len(indices) < _WORTH_A_THREAD:
        columns.fill(None)
        values.fill(weights)
        return
    with ThreadPoolExecutor(1) as pool:  # NumPy releases the interpreter lock in its loops
        other = pool.submit(columns.fill, None)
        values.fill(weights)
        other.result()


def _extend_with_sums(
    weights: Array, axis: int, sums: Sequence[tuple[int, ...]], factors: Sequence[tuple[int, ...]] = ()
) -> Array:
    """Return the weights with the sums to which a `RowTable` refers appended along one axis."""
    if not sums:
        return weights
    extra = []
    for number, group in enumerate(sums):
        terms = weights.take(group, axis=axis)
        if factors:
            column = np.array(factors[number]).reshape(-1, *(1,) * (weights.ndim - axis - 1))
            terms *= column.astype(weights.dtype)
        extra.append(terms.sum(axis=axis, dtype=weights.dtype, keepdims=True))
    return np.concatenate([weights, *extra], axis=axis)


def _merge_rows(table: RowTable) -> RowTable:
    """Return a channel table in which neighbouring rows with equal columns are merged; its weights are meaningless."""
    columns = table.columns
    keys = [row.tobytes() for row in columns]  # compared faster than arrays
    firsts = [row for row in range(len(keys)) if not row or keys[row] != keys[row - 1]]
    repeats = np.diff([*firsts, len(columns)]).tolist()
    stretches = [Stretch(row, 1, times, 0) for row, times in enumerate(repeats)]
    return RowTable([columns[row] for row in firsts], [table.taps[row] for row in firsts], stretches, [])


@dataclass(frozen=True)
class _Repeat:
    """How a line repeats along one axis: the number of copies, and the steps between them in entries and in columns."""

    times: int
    step: int
    shift: int


@dataclass(frozen=True)
class _State:
    """The combined entries of one row of each of the axes visited so far."""

    size: int
    columns: NDArray[np.integer] | None  # (size,)
    weights: Array | None  # (size, weights of the next axis, ...)


class _Filler:
    """Write the columns of one box of rows, or its values, or both."""

    def __init__(
        self,
        tables: list[RowTable],
        strides: list[int],
        indices: NDArray[np.integer] | None,
        data: Array | None,
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

    def fill(self, weights: Array | None) -> None:
        """Write all entries; ``weights`` has one axis per table."""
        columns = None if self.indices is None else np.zeros(1, dtype=self.indices.dtype)
        self.short = _ShortLines(self.tables[-1], self.strides[-1], 0 if weights is None else weights.shape[-1])
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
        """Return the entries so far, combined with those of a distinct row of the next axis."""
        size = state.size * len(self.tables[axis].columns[row])
        columns = weights = None
        if state.columns is not None:
            columns = (state.columns[:, None] + self.columns[axis][row]).ravel()
        if state.weights is not None:
            weights = state.weights.take(self.tables[axis].taps[row], axis=1)
            weights = weights.reshape(size, *weights.shape[2:])
        return _State(size, columns, weights)

    def _write_lines(self, state: _State, offset: int, repeats: list[_Repeat]) -> None:
        """Write all copies of a line."""
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

    def _write_line(self, state: _State, indices: Array | None, data: Array | None) -> None:
        """Write all rows of the last axis for one combination of rows of the other axes."""
        if not self.sort and state.size * self.table_entries <= _SHORT:
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
                for out, written, shift in zip(outs, units, (stretch.shift * self.strides[-1], 0), strict=True):
                    if out is not None and written is not None:
                        _write_repeated(out, written, stretch.repeats, shift)
            start = stop

    def _write_rows(self, state: _State, rows: range, indices: Array | None, data: Array | None) -> None:
        """Write distinct rows of the last axis one after another."""
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


def _strided(array: Array, offset: int, shape: tuple[int, ...], steps: list[int]) -> Array:
    """Return a writable view of lines that are ``steps`` entries apart."""
    if len(steps) == 1 and steps[0] == shape[-1]:  # contiguous
        return array[offset : offset + math.prod(shape)].reshape(shape)
    size = array.itemsize
    return as_strided(array[offset:], shape, [*(step * size for step in steps), size])


def _write_repeated(out: Array, unit: Array, times: int, shift: int) -> None:
    """Write the unit ``times`` times, adding ``shift`` each time."""
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


class _ShortLines:
    """Write each short line with a single gather.

    For a line of a few hundred entries, the overhead of Python exceeds the time of writing it. The entries of the last
    axis are therefore listed once, with their positions in lines that combine ``size`` entries of the other axes.
    ``n_weights`` is the number of weights of the last axis, or 0 if no values are to be written.
    """

    def __init__(self, table: RowTable, stride: int, n_weights: int) -> None:
        self.table = table
        self.stride = stride
        self.n_weights = n_weights
        self.positions: dict[int, tuple[Array, Array, Array]] = {}

    def write(self, columns: Array | None, weights: Array | None, indices: Array | None, data: Array | None) -> None:
        """Write the columns (size,) and the weights (size, n_weights) of the other axes, combined with the last one."""
        if indices is not None and columns is not None:
            outer, own, _ = self._positions(len(columns))
            np.add(columns.take(outer), own, out=indices, casting="same_kind")
        if data is not None and weights is not None:
            weights.take(self._positions(len(weights))[2], out=data, mode="clip")

    def _positions(self, size: int) -> tuple[Array, Array, Array]:
        """Return, for each entry of a line, its entry of the other axes, its column on the last axis, and its weight.

        Weights are indices into a flat array (size, weights of the last axis).
        """
        if size not in self.positions:
            counts = self.table.counts.astype(np.intp)
            columns, taps = self._entries
            lengths = counts * size  # of each row of the axis
            entries, firsts = counts.repeat(lengths), (counts.cumsum() - counts).repeat(lengths)
            outer, inner = np.divmod(np.arange(len(entries)) - firsts * size, entries)
            inner += firsts
            self.positions[size] = outer, columns.take(inner), taps.take(inner) + outer * self.n_weights
        return self.positions[size]

    @cached_property
    def _entries(self) -> tuple[Array, Array]:
        """The columns of all rows of the axis, times its stride, and their taps."""
        columns, taps = [], []
        for stretch in self.table.stretches:
            rows = slice(stretch.first, stretch.first + stretch.period)
            unit, weights = (
                parts[0] if len(parts) == 1 else np.concatenate(parts)
                for parts in (self.table.columns[rows], self.table.taps[rows])
            )
            if stretch.repeats > 1:
                unit = np.add.outer(np.arange(stretch.repeats) * stretch.shift, unit).ravel()
                weights = np.broadcast_to(weights, (stretch.repeats, len(weights))).ravel()
            columns.append(unit)
            taps.append(weights)
        return np.concatenate(columns) * self.stride, np.concatenate(taps)
