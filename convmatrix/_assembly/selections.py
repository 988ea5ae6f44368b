"""Matrices that read one position per row: of the unfolding (im2col) and of shifts, with channels as equal blocks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from convmatrix.boundary import NOTHING, SIGNED, Axis
from convmatrix.options import index_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def selection_matrix(axes: Sequence[Axis], channels: int, dtype: np.dtype[Any]) -> Any:
    """Return the CSR matrix whose row (channel, *taps, *outputs) holds what a tap of an output reads.

    Without signed boundaries, its entries are 1 and each row has at most one.

    Examples
    --------
    >>> import numpy as np
    >>> axis = Axis(n_outputs=2, n_samples=3, n_taps=2)
    >>> selection_matrix([axis], 1, np.dtype(int)).toarray().tolist()
    [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]
    """
    n_columns = math.prod(axis.n_samples for axis in axes)
    if any(axis.boundary in SIGNED for axis in axes):
        counts, columns, values = _signed_selection(axes)
    else:
        read = _combined_samples(axes)
        counts = (read != NOTHING).astype(np.int64)
        columns, values = read[counts > 0], None
    n_rows = channels * len(counts)
    index = index_dtype(n_rows, channels * n_columns, channels * len(columns))
    starts = np.zeros(n_rows + 1, dtype=index)
    np.cumsum(np.tile(counts, channels), out=starts[1:])
    offsets = np.arange(channels, dtype=np.int64)[:, None] * n_columns
    indices = (columns + offsets).ravel().astype(index)
    data = np.ones(len(indices), dtype=dtype) if values is None else np.tile(values, channels).astype(dtype)
    matrix = sparse.csr_array((data, indices, starts), shape=(n_rows, channels * n_columns))
    matrix.has_canonical_format = True
    return matrix


def _combined_samples(axes: Sequence[Axis]) -> NDArray[np.int64]:
    """Return the flat index of the sample read by each combination of taps and outputs, or `NOTHING`, taps first."""
    n = len(axes)
    total: NDArray[np.int64] = np.zeros((1,) * (2 * n), dtype=np.int64)
    inside: NDArray[np.bool_] = np.ones((1,) * (2 * n), dtype=bool)
    for number, axis in enumerate(axes):
        source = axis.sample(np.arange(axis.n_outputs), np.arange(axis.n_taps)[:, None])
        spread = source.reshape(_spread(axis, number, n))
        total = total * axis.n_samples + spread
        inside = inside & (spread != NOTHING)
    return np.where(inside, total, NOTHING).ravel()


def count_selected(axis: Axis) -> int:
    """Return the number of samples that all taps of all outputs read, counted with multiplicity."""
    return len(axis.entries(np.arange(axis.n_outputs), np.arange(axis.n_taps))[0])


def signed_selection_bytes(axes: Sequence[Axis], index_size: int, value_size: int) -> int:
    """Return the bytes that `selection_matrix` needs for one channel of axes with signed boundaries, exactly."""
    entries = math.prod(map(count_selected, axes))
    rows: int = math.prod(axis.n_taps * axis.n_outputs for axis in axes)
    return entries * (index_size + value_size + 40) + rows * (index_size + 16)  # with the arrays that build it


def _signed_selection(axes: Sequence[Axis]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of entries of each row, and the columns and values of all entries, row by row.

    The entries of a row are all combinations of what its axes read.
    """
    n = len(axes)
    reads = [_axis_reads(axis) for axis in axes]
    shape = (*(axis.n_taps for axis in axes), *(axis.n_outputs for axis in axes))
    own = [
        np.arange(axis.n_taps * axis.n_outputs).reshape(_spread(axis, number, n)) for number, axis in enumerate(axes)
    ]
    numbers = [np.broadcast_to(rows, shape).ravel() for rows in own]  # of the row of each axis
    counts = np.ones(math.prod(shape), dtype=np.int64)
    for (axis_counts, *_), row in zip(reads, numbers, strict=True):
        counts *= axis_counts[row]
    rows = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    columns, values, step = np.zeros_like(rows), np.ones_like(rows), 1
    for axis, (axis_counts, samples, factors), row in reversed(list(zip(axes, reads, numbers, strict=True))):
        starts = np.cumsum(axis_counts) - axis_counts
        place, digit = np.divmod(place, axis_counts[row[rows]])
        entry = starts[row[rows]] + digit
        columns += samples[entry] * step
        values *= factors[entry]
        step *= axis.n_samples
    return counts, columns, values


def _spread(axis: Axis, number: int, n_axes: int) -> tuple[int, ...]:
    """Return the shape in which the (taps, outputs) of one axis broadcast against those of all axes."""
    shape = [1] * (2 * n_axes)
    shape[number], shape[n_axes + number] = axis.n_taps, axis.n_outputs
    return tuple(shape)


def _axis_reads(axis: Axis) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of entries of each (tap, output), and their samples and coefficients, samples ascending."""
    outputs, taps, samples, factors = axis.entries(np.arange(axis.n_outputs), np.arange(axis.n_taps))
    order = taps.argsort(kind="stable")  # by tap, then output and sample
    counts = np.bincount(taps * axis.n_outputs + outputs, minlength=axis.n_taps * axis.n_outputs)
    return counts, samples[order], factors[order]
