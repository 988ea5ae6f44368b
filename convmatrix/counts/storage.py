"""Bytes of a layer's matrix in several formats, and of its kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from convmatrix.memory import axis_offsets
from convmatrix.options import index_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry

_MOST = 2**22  # offsets listed at a time
_LARGEST_INT64 = 2**63 - 1


@dataclass(frozen=True)
class StorageBytes:
    """Bytes of a layer's matrix and of its kernel.

    Attributes
    ----------
    dense : int
        All entries, zeros included.
    csr : int
        Values, columns and row starts, as SciPy stores them.
    dia : int or None
        Diagonals with their offsets, as SciPy stores them: each has one value per column up to the last one read. None
        if there are too many diagonals to count.
    kernel : int
        The weights alone, each stored once.
    """

    dense: int
    csr: int
    dia: int | None
    kernel: int

    def __add__(self, other: StorageBytes) -> StorageBytes:
        dia = None if self.dia is None or other.dia is None else self.dia + other.dia
        return StorageBytes(self.dense + other.dense, self.csr + other.csr, dia, self.kernel + other.kernel)


NO_BYTES: Final = StorageBytes(0, 0, 0, 0)


def csr_bytes(nonzeros: int, n_rows: int, n_columns: int, item: int) -> int:
    """Return the bytes of a matrix in CSR format, including its indices."""
    index = np.dtype(index_dtype(nonzeros, n_rows, n_columns)).itemsize
    return nonzeros * (item + index) + (n_rows + 1) * index


def dia_bytes(n_diagonals: int, width: int, n_rows: int, n_columns: int, item: int) -> int:
    """Return the bytes of a matrix in DIA format, given the length of its diagonals."""
    return n_diagonals * (width * item + np.dtype(index_dtype(n_rows, n_columns)).itemsize)


def storage_bytes(geometry: ConvGeometry, nonzeros: int, dtype: np.dtype[np.generic]) -> StorageBytes:
    """Return the bytes of a convolution layer, from its stored entries and the offsets of its diagonals."""
    n_rows, n_columns, item = geometry.n_out, geometry.n_in, dtype.itemsize
    found = _diagonals(geometry)
    return StorageBytes(
        dense=n_rows * n_columns * item,
        csr=csr_bytes(nonzeros, n_rows, n_columns, item),
        dia=None if found is None else dia_bytes(*found, n_rows, n_columns, item),
        kernel=geometry.n_weights * item,
    )


@dataclass(frozen=True)
class _Runs:
    """A set of integers as ascending, disjoint runs ``starts[m] .. stops[m] - 1``."""

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    @property
    def size(self) -> int:
        return int((self.stops - self.starts).sum())

    def plus(self, offsets: NDArray[np.int64]) -> _Runs:
        """Return all sums of a member and one of the offsets."""
        starts = (self.starts[:, None] + offsets).ravel()
        stops = (self.stops[:, None] + offsets).ravel()
        order = np.argsort(starts, kind="stable")
        starts, stops = starts[order], np.maximum.accumulate(stops[order])
        apart = np.flatnonzero(starts[1:] > stops[:-1])
        return _Runs(starts[np.r_[0, apart + 1]], stops[np.r_[apart, len(stops) - 1]])


def _diagonals(geometry: ConvGeometry) -> tuple[int, int] | None:
    """Return the number of distinct diagonals and the columns up to the last one read; None if there are too many.

    In C order, row and column indices are sums over the axes, and so is the offset of a diagonal, column - row. The
    offsets of the layer are therefore all sums of one offset per axis, multiplied by the place values of the axis.
    """
    if max(geometry.n_in, geometry.n_out) > _LARGEST_INT64 // 4:
        return None
    offsets = _Runs(np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64))
    width, column_place, row_place = 1, 1, 1
    sizes = zip(geometry.axes, geometry.input_shape, geometry.output_shape, strict=True)
    for axis, n_columns, n_rows in reversed(list(sizes)):
        found = axis_offsets(axis, column_place, row_place, geometry.transposed)
        if found is None:
            return None
        values, last = found
        if not len(values):
            return 0, 0
        if len(offsets.starts) * len(values) > _MOST:
            return None
        offsets = offsets.plus(values)
        width += last * column_place
        column_place, row_place = column_place * n_columns, row_place * n_rows
    for values in _channel_offsets(geometry, column_place, row_place):
        if len(offsets.starts) * len(values) > _MOST:
            return None
        offsets = offsets.plus(values)
    last_channel = geometry.in_channels - 1
    if geometry.connections is not None:
        last_channel = int(geometry.channel_pairs[:, 1].max())
    return offsets.size, width + last_channel * column_place


def _channel_offsets(geometry: ConvGeometry, column_place: int, row_place: int) -> list[NDArray[np.int64]]:
    """Return sets of integers; the offsets of the channel axis are the sums of one member of each."""
    if geometry.connections is not None:
        pairs = geometry.channel_pairs
        return [np.unique(pairs[:, 1] * column_place - pairs[:, 0] * row_place)]
    groups = geometry.groups
    ins, outs = geometry.in_channels // groups, geometry.out_channels // groups
    columns, rows = (np.arange(n, dtype=np.int64) * place for n, place in ((ins, column_place), (outs, -row_place)))
    blocks = np.unique(np.arange(groups, dtype=np.int64) * (ins * column_place - outs * row_place))
    step = math.gcd(column_place, row_place)
    up, down = column_place // step, row_place // step
    if (down == 1 and outs >= up) or (up == 1 and ins >= down):  # every multiple of the step between the extremes
        return [step * np.arange(-(outs - 1) * down, (ins - 1) * up + 1, dtype=np.int64), blocks]
    if ins * outs > _MOST:
        return [columns, rows, blocks]
    return [np.unique(columns[:, None] + rows), blocks]
