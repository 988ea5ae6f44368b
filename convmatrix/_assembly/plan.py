"""What is to be assembled: some rows of a layer's matrix, as boxes of rows of its axes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from convmatrix._assembly.rows import RowTable, axis_rows, channel_rows, count_entries, table_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from convmatrix.boundary import Axis
    from convmatrix.geometry import ConvGeometry

Order = Literal["C", "F"]
_LARGEST_TABLE = 2**20  # entries of an axis's table above which a box of rows is cut in two
_KEPT_TABLE = 2**14  # entries of an axis's table up to which it is kept, for counting and assembly and for equal axes


@dataclass(frozen=True)
class Plan:
    """What is to be assembled: some rows of the matrix of a layer (or of its transpose), in C or F order.

    Attributes
    ----------
    geometry : ConvGeometry
    order : {"C", "F"}
        How the channel axis and the spatial axes are flattened.
    by_column : bool
        Assemble the transpose: its compressed rows are the compressed columns of the matrix.
    merge : bool
        Whether taps that land on one place make one entry (a matrix), or one each (a pattern).
    rows : (int, int)
        The range of rows.
    """

    geometry: ConvGeometry
    order: Order
    by_column: bool
    merge: bool
    rows: tuple[int, int]
    _tables: dict[tuple[Axis, tuple[int, int]], RowTable] = field(default_factory=dict, repr=False, compare=False)

    @property
    def by_sample(self) -> bool:
        """Whether rows are samples and columns outputs."""
        return self.geometry.transposed != self.by_column

    def _arranged(self, channels: int, spatial: Sequence[int]) -> list[int]:
        return [channels, *spatial] if self.order == "C" else [*reversed(spatial), channels]

    @cached_property
    def row_sizes(self) -> list[int]:
        """Rows of each axis, the slowest axis first."""
        g = self.geometry
        if self.by_column:
            return self._arranged(g.in_channels, g.input_shape)
        return self._arranged(g.out_channels, g.output_shape)

    @cached_property
    def column_sizes(self) -> list[int]:
        """Columns of each axis, the slowest axis first."""
        g = self.geometry
        if self.by_column:
            return self._arranged(g.out_channels, g.output_shape)
        return self._arranged(g.in_channels, g.input_shape)

    @property
    def n_columns(self) -> int:
        """Columns of what is assembled."""
        return math.prod(self.column_sizes)

    def boxes(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the rows as boxes, one (start, stop) an axis, in the order of the rows."""
        return _boxes(self.row_sizes, *self.rows)

    def small_boxes(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the rows as boxes, cut so that no axis needs a long table."""
        waiting = list(self.boxes())[::-1]
        while waiting:
            box = waiting.pop()
            place = next((place for place, (start, stop) in enumerate(box) if stop - start > 1), None)
            if place is None or not self._has_large_table(box):
                yield box
                continue
            start, stop = box[place]
            middle = (start + stop) // 2
            waiting += [[*box[:place], part, *box[place + 1 :]] for part in ((middle, stop), (start, middle))]

    def count(self) -> int:
        """Return the number of entries; see `count_entries` for where it is an upper bound."""
        return sum(self.count_box(box) for box in self.boxes())

    def count_box(self, box: list[tuple[int, int]]) -> int:
        """Return the number of entries of a box of rows, likewise."""
        channels, spatial = self._split(box)
        rows = self._pairs[:, 0]
        entries = len(rows) if len(rows) == 1 else int(np.count_nonzero((rows >= channels[0]) & (rows < channels[1])))
        for axis, limits in zip(self._axes, spatial, strict=True):
            if not entries:
                return 0
            if (axis, limits) in self._tables or self._table_size(axis, limits) <= _LARGEST_TABLE:
                entries *= self._table(axis, limits).n_entries
            else:
                entries *= count_entries(axis, *limits, by_sample=self.by_sample, merge=self.merge)
        return entries

    def _table_size(self, axis: Axis, limits: tuple[int, int]) -> int:
        return table_size(axis, *limits, by_sample=self.by_sample)

    def _table(self, axis: Axis, limits: tuple[int, int]) -> RowTable:
        """Return the row table of a range of rows of an axis: one for equal axes, and kept where it is small."""
        table = self._tables.get((axis, limits))
        if table is None:
            table = axis_rows(axis, *limits, by_sample=self.by_sample, merge=self.merge)
            if self._table_size(axis, limits) <= _KEPT_TABLE:
                self._tables[axis, limits] = table
        return table

    def _split(self, box: list[tuple[int, int]]) -> tuple[tuple[int, int], list[tuple[int, int]]]:
        """Return the range of channels of a box, and its ranges on the spatial axes in the order of the geometry."""
        return (box[0], box[1:]) if self.order == "C" else (box[-1], box[-2::-1])

    @cached_property
    def _axes(self) -> tuple[Axis, ...]:
        return self.geometry.axes

    @cached_property
    def _pairs(self) -> NDArray[np.int64]:
        """Channel pairs as (row, column)."""
        pairs = self.geometry.channel_pairs
        return pairs[:, ::-1] if self.by_column else pairs

    def tables(self, box: list[tuple[int, int]]) -> list[RowTable]:
        """Return the row table of each axis, the slowest first."""
        channels, spatial = self._split(box)
        tables = [self._table(axis, limits) for axis, limits in zip(self._axes, spatial, strict=True)]
        channel = channel_rows(self._pairs, *channels)
        return [channel, *tables] if self.order == "C" else [*tables[::-1], channel]

    def _has_large_table(self, box: list[tuple[int, int]]) -> bool:
        """Whether a box should be cut in two, for the sake of the memory that its tables take."""
        return any(
            (axis, limits) not in self._tables and self._table_size(axis, limits) > _LARGEST_TABLE
            for axis, limits in zip(self._axes, self._split(box)[1], strict=True)
        )

    def weights_by_axis(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Arrange weights with one axis for each axis of the matrix, the slowest first: tile and taps joined."""
        g = self.geometry
        n_axes = len(g.kernel_shape)
        weights = weights.reshape(*g.tile, -1, *g.kernel_shape)  # (*tile, n_pairs, *kernel)
        joined = [n_axes]
        for axis in range(n_axes):
            joined += [axis, n_axes + 1 + axis]
        sizes = [tile * taps for tile, taps in zip(g.tile, g.kernel_shape, strict=True)]
        by_axis = weights.transpose(joined).reshape(-1, *sizes)  # (n_pairs, tile_0 * k_0, ...)
        return by_axis if self.order == "C" else by_axis.T


def _boxes(sizes: Sequence[int], start: int, stop: int) -> Iterator[list[tuple[int, int]]]:
    """Cut the range ``start .. stop - 1`` of C-ordered flat indices into boxes, in order."""
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
