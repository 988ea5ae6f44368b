"""The rows of an axis with a signed boundary, whose entries have coefficients; see `convmatrix.boundary.read_terms`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from convmatrix.arrays import starts_of_runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from convmatrix.boundary import Axis

    Indices = NDArray[np.int64]
    Row = tuple[Indices, Indices, Indices | None]  # columns, taps, coefficients; None if all are 1


def signed_entries(axis: Axis, outputs: Indices) -> tuple[Indices, Indices, Indices, Indices]:
    """Return the entries of some outputs: their place in ``outputs``, sample, weight and coefficient.

    Terms of a tap that are on one sample are added, and entries whose coefficient is 0 are left out.

    Examples
    --------
    >>> import numpy as np
    >>> from convmatrix.boundary import Axis
    >>> axis = Axis(n_outputs=4, n_samples=4, n_taps=2, pad_low=1, boundary="antireflect")
    >>> [array.tolist() for array in signed_entries(axis, np.array([0]))]
    [[0, 0, 0], [0, 1, 0], [0, 0, 1], [2, -1, 1]]
    """
    taps = np.arange(axis.n_taps, dtype=np.int64)
    grid = (len(outputs), axis.n_taps)
    terms = axis.terms(outputs[:, None], taps)
    samples = np.stack([np.broadcast_to(sample, grid) for sample, _ in terms], axis=-1)  # (outputs, taps, terms)
    factors = np.stack([np.broadcast_to(factor, grid) for _, factor in terms], axis=-1)
    places, used, _ = np.nonzero(factors)
    samples, factors = samples[factors != 0], factors[factors != 0]
    order = np.lexsort((samples, used, places))
    places, used, samples, factors = places[order], used[order], samples[order], factors[order]
    starts = np.flatnonzero(starts_of_runs(places, used, samples))
    sums = np.add.reduceat(factors, starts) if len(starts) else factors
    kept = starts[sums != 0]
    return places[kept], samples[kept], axis.weight(outputs[places[kept]], used[kept]), sums[sums != 0]


def signed_rows_by_output(axis: Axis, ranges: Sequence[tuple[int, int]]) -> Iterator[Row]:
    """Yield the entries of each output in some ranges, ordered by sample and weight."""
    for start, stop in ranges:
        places, samples, weights, factors = signed_entries(axis, np.arange(start, stop, dtype=np.int64))
        order = np.lexsort((weights, samples, places))
        bounds = np.searchsorted(places, np.arange(stop - start + 1))
        for first, last in pairwise(bounds.tolist()):
            row = order[first:last]
            yield samples[row], weights[row], factors[row]


def samples_beyond(axis: Axis, outputs: Indices) -> Indices:
    """Return the samples that some outputs read at positions outside the input."""
    taps = np.arange(axis.n_taps, dtype=np.int64)
    positions = axis.position(outputs[:, None], taps)
    beyond = (positions < 0) | (positions >= axis.n_samples)
    found = []
    for sample, factor in axis.terms(outputs[:, None], taps):
        found.append(np.broadcast_to(sample, positions.shape)[beyond & (np.asarray(factor) != 0)])
    return np.concatenate(found)
