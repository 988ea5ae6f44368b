"""The weights in a window of a layer's matrix, and their names."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from convmatrix.boundary import Axis
    from convmatrix.geometry import ConvGeometry

Terms = tuple[tuple[int, float], ...]
Position = tuple[int, int]

_LONGEST_NAME: Final = 20


def window_weights(
    geometry: ConvGeometry, rows: range, columns: range, order: str = "C"
) -> dict[Position, tuple[int, ...]]:
    """Return the weights of each entry in a window of a layer's matrix, without their coefficients.

    Weight indices ascend, in C order of `ConvGeometry.weight_shape`; there are several if an entry is a sum. Input and
    output are flattened in the given order. The cost depends on the size of the window, not on that of the layer.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> window_weights(ConvGeometry(3, 3, padding="same", boundary="reflect"), range(1), range(3))
    {(0, 0): (1,), (0, 1): (0, 2)}
    """
    terms = window_terms(geometry, rows, columns, order)
    return {position: tuple(weight for weight, _ in entry) for position, entry in terms.items()}


def window_terms(geometry: ConvGeometry, rows: range, columns: range, order: str = "C") -> dict[Position, Terms]:
    """Return the weights of each entry in a window of a layer's matrix, computed directly from the one-axis rule.

    Each weight of an entry has its coefficient; the rest is as for `window_weights`.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> window_terms(ConvGeometry(3, 3, padding="same", boundary="antireflect"), range(1), range(3))
    {(0, 0): ((0, 2), (1, 1)), (0, 1): ((0, -1), (2, 1))}
    """
    g = geometry
    outputs = {row: unravel(row, g.full_output_shape, order) for row in rows}
    inputs = {column: unravel(column, g.full_input_shape, order) for column in columns}
    table = g.channel_pairs
    seen = np.isin(table[:, 0], [channel for channel, *_ in outputs.values()])
    seen &= np.isin(table[:, 1], [channel for channel, *_ in inputs.values()])
    pairs = {tuple(table[pair].tolist()): pair for pair in np.flatnonzero(seen).tolist()}
    reads = [_axis_reader(axis, transposed=g.transposed) for axis in g.axes]
    found: dict[Position, Terms] = {}
    for row, (out_channel, *output) in outputs.items():
        for column, (in_channel, *sample) in inputs.items():
            pair = pairs.get((out_channel, in_channel))
            by_axis = [read(i, j) for read, i, j in zip(reads, output, sample, strict=True)]
            if pair is not None and all(by_axis):
                found[row, column] = tuple(sorted(_combine(g, by_axis, pair, len(table))))
    return found


def pattern_terms(pattern: Any, n_rows: int, n_columns: int) -> dict[Position, Terms]:
    """Return the weights of each entry in the first rows and columns of a pattern, with their coefficients.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> pattern_terms(ConvGeometry(3, 3, padding="same", boundary="reflect").pattern(), 1, 3)
    {(0, 0): ((1, 1),), (0, 1): ((0, 1), (2, 1))}
    """
    found: dict[Position, Terms] = {}
    for row in range(n_rows):
        start, stop = int(pattern.row_starts[row]), int(pattern.row_starts[row + 1])
        stop = start + int(np.searchsorted(pattern.cols[start:stop], n_columns))  # columns ascend
        for triplet in range(start, stop):
            position = row, int(pattern.cols[triplet])
            factor = 1 if pattern.coefficients is None else pattern.coefficients[triplet].item()
            found[position] = (*found.get(position, ()), (int(pattern.weight_index[triplet]), factor))
    return found


def _axis_reader(axis: Axis, *, transposed: bool) -> Callable[[int, int], list[tuple[int, int, int]]]:
    """Return a function that maps (row, column) to (kernel of the tile, tap, coefficient) of their connections."""
    taps = np.arange(axis.n_taps)

    @cache
    def terms(output: int) -> Any:  # of (n_taps,) each
        return axis.terms(output, taps)

    @cache
    def read(row: int, column: int) -> list[tuple[int, int, int]]:
        output, sample = (column, row) if transposed else (row, column)
        factors = np.zeros(axis.n_taps, dtype=np.int64)
        for samples, factor in terms(output):
            factors += np.where(samples == sample, factor, 0)
        hits = np.flatnonzero(factors).tolist()
        return [(*divmod(axis.weight(output, tap), axis.n_taps), int(factors[tap])) for tap in hits]

    return read


def _combine(
    geometry: ConvGeometry, by_axis: Sequence[Sequence[tuple[int, int, int]]], pair: int, n_pairs: int
) -> list[tuple[int, int]]:
    """Return the flat indices of the weights of one entry and their coefficients: all combinations of its axes."""
    combined = [(0, 0, 1)]
    for connections, n_tile, n_taps in zip(by_axis, geometry.tile, geometry.kernel_shape, strict=True):
        combined = [
            (tile * n_tile + k, tap * n_taps + t, factor * f)
            for tile, tap, factor in combined
            for k, t, f in connections
        ]
    n_taps = math.prod(geometry.kernel_shape)
    return [((tile * n_pairs + pair) * n_taps + tap, factor) for tile, tap, factor in combined]


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


def weight_name(terms: Terms) -> str:
    """Return the name of an entry: the sum of its weights, with their coefficients.

    Examples
    --------
    >>> weight_name(((3, 1),)), weight_name(((0, 1), (2, 1), (2, 1))), weight_name(((0, 2), (1, -1)))
    ('w3', 'w0+2w2', '2w0-w1')
    """
    factors: dict[int, float] = {}
    for weight, factor in terms:
        factors[weight] = factors.get(weight, 0) + factor
    signed = [f"{'+' if f == 1 else '-' if f == -1 else f'{f:+.4g}'}w{weight}" for weight, f in factors.items()]
    name = "".join(signed).removeprefix("+")
    return name if len(name) <= _LONGEST_NAME else f"{signed[0].removeprefix('+')}+..{signed[-1]}"


def is_single(terms: Terms) -> bool:
    """Return whether an entry is one weight, with the coefficient 1.

    Examples
    --------
    >>> is_single(((3, 1),)), is_single(((3, -1),))
    (True, False)
    """
    return len(terms) == 1 and terms[0][1] == 1
