"""Runs of rows that repeat the row before, moved by one column; only the first row of a run needs to be examined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_CHUNK: Final = 2**15  # number of entries compared at a time, so that temporary arrays stay in the cache
_SAMPLED: Final = 2**12  # number of rows from which the most frequent number of entries is estimated
_FEW: Final = 0.25  # share of repeated rows below which the search for them is given up


def rows_that_follow(
    starts: NDArray[np.integer], columns: NDArray[np.integer], values: NDArray[Any]
) -> NDArray[np.bool_]:
    """Return which rows of a matrix equal the row before, moved by one column to the right.

    The matrix is given in compressed row storage, with sorted columns. Only rows with the most frequent number of
    entries are found: those inside of a convolution. If there are few, none are reported.

    Examples
    --------
    >>> import convmatrix as cm
    >>> A = cm.conv_matrix([1, 2, 3], 7, padding="same")
    >>> rows_that_follow(A.indptr, A.indices, A.data)
    array([False, False,  True,  True,  True,  True, False])
    """
    counts = np.diff(starts)
    follows = np.zeros(len(counts), dtype=bool)
    if not len(columns):
        return follows
    some = counts
    if len(counts) > _SAMPLED:
        some = counts[np.random.default_rng(0).integers(len(counts), size=_SAMPLED)]
    frequencies = np.bincount(some)
    count = max(int((frequencies * np.arange(len(frequencies))).argmax()), 1)
    alike = counts == count
    alike[1:] &= alike[:-1].copy()
    step = max(_CHUNK // count, 1)
    first = max(int(np.searchsorted(starts, count)), 1)  # rows before have fewer than `count` entries before them
    for number, top in enumerate(range(first, len(counts), step)):
        bottom = min(top + step, len(counts))
        chosen = alike[top:bottom]
        if not chosen.any():
            continue
        begin, end = int(starts[top]), int(starts[bottom])
        differs = columns[begin:end] - columns[begin - count : end - count] != 1
        differs |= values[begin:end] != values[begin - count : end - count]
        if end - begin == count * (bottom - top):
            chosen[np.flatnonzero(differs) // count] = False
        else:
            filled = np.flatnonzero(np.diff(starts[top : bottom + 1]))
            broken = np.logical_or.reduceat(differs, starts[top:bottom][filled] - begin)
            chosen[filled[broken]] = False
        follows[top:bottom] = chosen
        if number == 64 and follows.sum() < _FEW * (bottom - first):
            return np.zeros_like(follows)
    return follows


def run_starts(
    follows: NDArray[np.bool_],
    starts: NDArray[np.integer],
    counts: NDArray[np.integer],
    columns: NDArray[np.integer],
    reach: Callable[[NDArray[np.integer]], NDArray[np.integer]],
) -> NDArray[np.intp]:
    """Return the first row of every run, where a run ends before one of its columns has moved too far.

    Parameters
    ----------
    follows : array of bool, shape (n_rows,)
        Which rows may belong to the run of the row before.
    starts, counts : arrays of int, shape (n_rows,)
        Where the entries of each row begin, and their number.
    columns : array of int
        Column of each entry.
    reach : callable
        Returns, for columns, the largest length of a run whose first row has an entry there, at least 1.

    Examples
    --------
    >>> import convmatrix as cm
    >>> A = cm.conv_matrix([1, 2, 3], 7, padding="same")
    >>> follows = rows_that_follow(A.indptr, A.indices, A.data)
    >>> run_starts(follows, A.indptr[:-1], np.diff(A.indptr), A.indices, lambda columns: 4 - columns % 4)
    array([0, 1, 3, 4, 5, 6])
    """
    first = np.flatnonzero(~follows)
    ends = np.append(first[1:], len(follows))
    kept = [first]
    while True:
        long = ends - first > 1
        first, ends = first[long], ends[long]
        if not len(first):
            return np.sort(np.concatenate(kept))
        entries = np.arange(counts[first[0]])  # all rows of a run have the same number of entries
        limit = reach(columns[starts[first].astype(np.intp)[:, None] + entries]).min(axis=1)
        cut = first + limit < ends
        first, ends = (first + limit)[cut], ends[cut]
        kept.append(first)
