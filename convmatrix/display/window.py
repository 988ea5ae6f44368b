"""The weights in a window of a layer's matrix, and their names."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from convmatrix.boundary import Axis
    from convmatrix.geometry import ConvGeometry

Weights = tuple[int, ...]
Position = tuple[int, int]

_LONGEST_NAME: Final = 20


def window_weights(geometry: ConvGeometry, rows: range, columns: range, order: str = "C") -> dict[Position, Weights]:
    """Return the weights of each entry in a window of a layer's matrix, computed directly from the one-axis rule.

    The cost depends on the size of the window, not on that of the layer.

    Parameters
    ----------
    geometry : ConvGeometry
    rows, columns : range
        The window.
    order : {"C", "F"}
        How input and output are flattened.

    Returns
    -------
    dict of (row, column) to tuple of int
        Weight indices in ascending order (C order of `ConvGeometry.weight_shape`); more than one if an entry is a sum.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> window_weights(ConvGeometry(3, 3, padding="same", boundary="reflect"), range(1), range(3))
    {(0, 0): (1,), (0, 1): (0, 2)}
    """
    g = geometry
    outputs = {row: unravel(row, (g.out_channels, *g.output_shape), order) for row in rows}
    inputs = {column: unravel(column, (g.in_channels, *g.input_shape), order) for column in columns}
    table = g.channel_pairs
    seen = np.isin(table[:, 0], [channel for channel, *_ in outputs.values()])
    seen &= np.isin(table[:, 1], [channel for channel, *_ in inputs.values()])
    pairs = {tuple(table[pair].tolist()): pair for pair in np.flatnonzero(seen).tolist()}
    reads = [_axis_reader(axis, transposed=g.transposed) for axis in g.axes]
    found = {}
    for row, (out_channel, *output) in outputs.items():
        for column, (in_channel, *sample) in inputs.items():
            pair = pairs.get((out_channel, in_channel))
            by_axis = [read(i, j) for read, i, j in zip(reads, output, sample, strict=True)]
            if pair is not None and all(by_axis):
                found[row, column] = tuple(sorted(_combine(g, by_axis, pair, len(table))))
    return found


def _axis_reader(axis: Axis, *, transposed: bool) -> Callable[[int, int], list[tuple[int, int]]]:
    """Return a function that maps (row, column) to the (kernel of the tile, tap) pairs connecting them on one axis."""
    taps = np.arange(axis.n_taps)

    @cache
    def samples(output: int) -> Any:  # (n_taps,)
        return axis.sample(output, taps)

    @cache
    def read(row: int, column: int) -> list[tuple[int, int]]:
        output, sample = (column, row) if transposed else (row, column)
        hits = np.flatnonzero(samples(output) == sample)
        return [divmod(axis.weight(output, tap), axis.n_taps) for tap in hits.tolist()]

    return read


def _combine(
    geometry: ConvGeometry, by_axis: Sequence[Sequence[tuple[int, int]]], pair: int, n_pairs: int
) -> list[int]:
    """Return the flat indices of the weights of one entry: all combinations of the taps of its axes."""
    combined = [(0, 0)]
    for connections, n_tile, n_taps in zip(by_axis, geometry.tile, geometry.kernel_shape, strict=True):
        combined = [(tile * n_tile + k, tap * n_taps + t) for tile, tap in combined for k, t in connections]
    n_taps = math.prod(geometry.kernel_shape)
    return [(tile * n_pairs + pair) * n_taps + tap for tile, tap in combined]


def unravel(index: int, shape: Sequence[int], order: str = "C") -> tuple[int, ...]:
    """Return the multi-index of a flat index in Python integers, for shapes of any size.

    Examples
    --------
    >>> unravel(5, (2, 3)), unravel(5, (2, 3), "F")
    ((1, 2), (1, 2))
    """
    indices = []
    for size in reversed(shape) if order == "C" else shape:
        index, remainder = divmod(index, size)
        indices.append(remainder)
    return tuple(reversed(indices)) if order == "C" else tuple(indices)


def weight_name(weights: Weights) -> str:
    """Return the name of an entry: its weights joined by plus signs, with repeated weights as multiples.

    Examples
    --------
    >>> weight_name((3,)), weight_name((0, 2, 2))
    ('w3', 'w0+2w2')
    """
    terms = [f"{count if count > 1 else ''}w{weight}" for weight, count in Counter(weights).items()]
    name = "+".join(terms)
    return name if len(name) <= _LONGEST_NAME else f"{terms[0]}+..+{terms[-1]}"
