"""The rows of a pattern that break a symmetry: integer arithmetic, in time linear in the number of entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from convmatrix import options as validate
from convmatrix.equivariance.actions import as_permutation
from convmatrix.structured.row_runs import rows_that_follow, run_starts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from convmatrix.pattern import WeightPattern

_BLOCK: Final = 2**16  # entries compared at a time; they then stay in the cache


def permutation_array(name: str, values: ArrayLike, size: int, counted: str) -> NDArray[np.int64]:
    """Return a permutation of ``size`` entries; raise ValueError if the values are not one."""
    array = validate.array(name, values)
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


def separated(pattern: WeightPattern) -> WeightPattern:
    """Return a pattern whose weights are the products of a coefficient and a weight; without coefficients, itself."""
    return pattern if pattern.coefficients is None else pattern.separated.pattern


def broken_rows(
    pattern: WeightPattern, output_permutation: NDArray[np.int64], input_permutation: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return a mask of the rows i with ``T[i, j, k] != T[q[i], p[j], k]`` for some column j and weight k.

    Products of a weight and a coefficient count as separate weights.

    Row i is compared, entry by entry, with the row q[i] moved back by the inverse of p. Every triplet is visited a
    fixed number of times, so time and memory are linear in the number of entries. The permutations of outputs, q, and
    of inputs, p, are not validated.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> shift = np.roll(np.arange(5), 1)
    >>> broken_rows(cm.ConvGeometry(5, 3, padding="same").pattern(), shift, shift)
    array([ True,  True, False, False,  True])
    """
    pattern = separated(pattern)
    back = np.empty(len(input_permutation), dtype=pattern.cols.dtype)
    back[input_permutation] = np.arange(len(back), dtype=back.dtype)
    weights, n_weights = pattern.weight_index, pattern.n_weights
    if n_weights * pattern.shape[1] >= 2**63:  # numbers of entries would overflow: name only the weights that occur
        weights = np.unique(weights, return_inverse=True)[1]
        n_weights = len(weights)

    def entries(rows: NDArray[np.integer], count: int, columns: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return a number for each triplet of some rows, shape (len(rows), count)."""
        places = pattern.row_starts[rows].astype(np.intp)[:, None] + np.arange(count)
        numbers: NDArray[np.int64] = columns.take(pattern.cols.take(places)).astype(np.int64)
        numbers *= n_weights
        numbers += weights.take(places)
        return numbers

    here = np.arange(pattern.shape[1])
    counts = np.diff(pattern.row_starts)
    chosen = _first_of_runs(pattern, output_permutation, back)
    lengths = counts[chosen]
    broken: NDArray[np.bool_] = lengths != counts[output_permutation[chosen]]
    lengths[broken] = 0  # rows of different lengths are known to be broken
    for count in np.unique(lengths[lengths > 0]).tolist():
        alike = np.flatnonzero(lengths == count)
        step = max(_BLOCK // count, 1)
        for start in range(0, len(alike), step):
            places = alike[start : start + step]
            own = entries(chosen[places], count, here)
            moved = entries(output_permutation[chosen[places]], count, back)
            doubtful = np.flatnonzero((own != moved).any(axis=1))  # most moved rows are still sorted
            moved = np.sort(moved[doubtful], axis=1)
            broken[places[doubtful]] = (own[doubtful] != moved).any(axis=1)
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
