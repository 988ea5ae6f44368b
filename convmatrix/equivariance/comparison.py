"""The rows of a pattern that break a symmetry: integer arithmetic, in time linear in the number of entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from convmatrix.equivariance.actions import as_permutation
from convmatrix.structured.row_runs import rows_that_follow, run_starts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.pattern import WeightPattern


def permutation_array(name: str, values: ArrayLike, size: int, counted: str) -> NDArray[np.int64]:
    """Return a permutation of ``size`` entries; raise ValueError if the values are not one."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be a one-dimensional array of integers, but has shape {array.shape} and dtype {array.dtype}; "
            "entry i of the permuted vector is entry p[i] of the old one"
        )
    if len(array) != size:
        raise ValueError(
            f"{name} has {len(array)} entries, but the pattern has {size} {counted}; give one entry for each of them"
        )
    return as_permutation(name, array)


def broken_rows(
    pattern: WeightPattern, output_permutation: NDArray[np.int64], input_permutation: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return a mask of the rows i with ``T[i, j, k] != T[q[i], p[j], k]`` for some column j and weight k.

    Row i is compared, entry by entry, with the row q[i] moved back by the inverse of p. Every triplet is visited a
    fixed number of times, so time and memory are linear in the number of entries.

    Parameters
    ----------
    pattern : WeightPattern
    output_permutation, input_permutation : array of int64, shapes (n_out,) and (n_in,)
        The permutations q and p; they are not validated.

    Returns
    -------
    array of bool, shape (n_out,)

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> shift = np.roll(np.arange(5), 1)
    >>> broken_rows(cm.ConvGeometry(5, 3, padding="same").pattern(), shift, shift)
    array([ True,  True, False, False,  True])
    """
    back = np.empty(len(input_permutation), dtype=pattern.cols.dtype)
    back[input_permutation] = np.arange(len(back), dtype=back.dtype)
    counts = np.diff(pattern.row_starts)
    chosen = _first_of_runs(pattern, output_permutation, back)
    broken: NDArray[np.bool_] = (counts != counts[output_permutation])[chosen]
    for block in _blocks(counts[chosen]):
        places = block.start + np.flatnonzero(~broken[block])  # rows of different lengths are known to be broken
        rows = chosen[places]
        own = _Rows.of(pattern, rows)
        moved = _Rows.of(pattern, output_permutation[rows])
        moved = _Rows(moved.counts, back[moved.columns], moved.weights)
        # Most moved rows are still sorted. The others may have the same entries in another order: rows with different
        # sums differ, and rows with equal sums are sorted and compared again.
        doubtful = own.differ(moved)
        own, moved = own.take(doubtful), moved.take(doubtful)
        unlike = own.sums() != moved.sums()
        broken[places[doubtful[unlike]]] = True
        alike = np.flatnonzero(~unlike)
        ordered = moved.take(alike).ordered(pattern.shape[1])
        broken[places[doubtful[alike[own.take(alike).differ(ordered)]]]] = True
    return broken.repeat(np.diff(np.append(chosen, len(counts))))


def _first_of_runs(
    pattern: WeightPattern, output_permutation: NDArray[np.int64], back: NDArray[np.integer]
) -> NDArray[np.intp]:
    """Return the rows that need to be compared.

    The others repeat the row before, moved by one column, both before and after they are permuted: they are broken if
    and only if that row is.
    """
    n_rows, n_columns = pattern.shape
    steady = np.zeros(n_rows, dtype=bool)
    steady[1:] = output_permutation[1:] == output_permutation[:-1] + 1
    if 2 * steady.sum() < n_rows:
        return np.arange(n_rows)
    starts = np.asarray(pattern.row_starts)
    follows = rows_that_follow(starts, pattern.cols, pattern.weight_index)
    follows &= follows[output_permutation] & steady
    # Where the inverse permutation does not move neighbouring columns alike, a run ends.
    ends = np.append(np.flatnonzero(np.diff(back) != 1) + 1, n_columns)
    distance = ends.repeat(np.diff(ends, prepend=0)) - np.arange(n_columns)
    moved, counts = starts[output_permutation], np.diff(starts)
    return run_starts(follows, moved, counts, pattern.cols, distance.__getitem__)


_MULTIPLIERS = tuple(np.uint64(2 * 3**power + 1) for power in (38, 37, 36))
_BLOCK = 2**20  # entries compared at a time, to bound memory use


def _blocks(counts: NDArray[np.integer]) -> Iterator[slice]:
    """Yield slices of rows with about as many entries as fit in a block."""
    starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    first = 0
    while first < len(counts):
        last = int(np.searchsorted(starts, int(starts[first]) + _BLOCK, side="right")) - 1
        last = min(max(last, first + 1), len(counts))
        yield slice(first, last)
        first = last


@dataclass(frozen=True)
class _Rows:
    """Some rows of a pattern, concatenated: the number of entries of each, their columns and weights."""

    counts: NDArray[np.integer]
    columns: NDArray[np.integer]
    weights: NDArray[np.integer]

    @classmethod
    def of(cls, pattern: WeightPattern, rows: NDArray[np.integer]) -> _Rows:
        starts = np.asarray(pattern.row_starts)
        counts = starts[rows + 1] - starts[rows]
        if len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all():
            stored = slice(int(starts[rows[0]]), int(starts[rows[-1] + 1]))
            return cls(counts, pattern.cols[stored], pattern.weight_index[stored])
        places = _ranges(starts[rows], counts)
        return cls(counts, pattern.cols[places], pattern.weight_index[places])

    def take(self, rows: NDArray[np.integer]) -> _Rows:
        """Return some of the rows, in order and without repetition."""
        if len(rows) == len(self.counts):
            return self
        starts = np.cumsum(self.counts) - self.counts
        counts = self.counts[rows]
        places = _ranges(starts[rows], counts)
        return _Rows(counts, self.columns[places], self.weights[places])

    def differ(self, other: _Rows) -> NDArray[np.integer]:
        """Return which rows differ from other rows of the same lengths, entry by entry."""
        different = self.columns != other.columns
        different |= self.weights != other.weights
        so_far = np.concatenate([[0], np.cumsum(different)])
        ends = np.cumsum(self.counts)
        return np.flatnonzero(so_far[ends] != so_far[ends - self.counts])

    def sums(self) -> NDArray[np.uint64]:
        """Return a hash of each row that does not depend on the order of its entries."""
        mixed = self.columns.astype(np.uint64) * _MULTIPLIERS[0]
        mixed += self.weights.astype(np.uint64) * _MULTIPLIERS[1]
        mixed ^= mixed >> np.uint64(32)
        mixed *= _MULTIPLIERS[2]  # odd multipliers; overflow is intended
        mixed ^= mixed >> np.uint64(29)
        totals = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
        ends = np.cumsum(self.counts)
        sums: NDArray[np.uint64] = totals[ends] - totals[ends - self.counts]
        return sums

    def ordered(self, n_columns: int) -> _Rows:
        """Return the rows sorted by column.

        Two transpositions are stable counting sorts, so the weights of one entry stay in order.
        """
        starts = np.concatenate([[0], np.cumsum(self.counts)])
        stored = sparse.csr_array((self.weights, self.columns, starts), shape=(len(self.counts), n_columns))
        stored = stored.tocsc().tocsr()
        return _Rows(self.counts, stored.indices, stored.data)


def _ranges(starts: NDArray[np.integer], counts: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the concatenation of the ranges of ``counts[i]`` integers from ``starts[i]``."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    places: NDArray[np.integer] = np.arange(total) + np.repeat(starts - ends + counts, counts)
    return places
