"""The weights in a window of a layer's matrix, how they are called and how they are coloured."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from convmatrix.boundary import Axis
    from convmatrix.geometry import ConvGeometry

Rgb = tuple[int, int, int]
Weights = tuple[int, ...]
Place = tuple[int, int]

# Masataka Okabe and Kei Ito, Color Universal Design (2008), without black: told apart by colour-blind readers.
_DISTINCT: Final[tuple[Rgb, ...]] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
# More weights than that: a ramp through the corners of matplotlib's viridis, which grows lighter for every eye.
_RAMP: Final[tuple[Rgb, ...]] = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))

_BY_INDEX: Final = 16  # weights up to which a colour means the same weight in every window of a layer
_LONGEST_NAME: Final = 20


def window_weights(geometry: ConvGeometry, rows: range, columns: range, order: str = "C") -> dict[Place, Weights]:
    """Return the weights of each entry in a window of a layer's matrix, straight from the one-axis rule.

    The cost is that of the window, however large the layer is.

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
        Ascending weights, counted in C order of `ConvGeometry.weight_shape`; several where several are added.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> window_weights(ConvGeometry(3, 3, padding="same", boundary="reflect"), range(1), range(3))
    {(0, 0): (1,), (0, 1): (0, 2)}
    """
    g = geometry
    row_places = {row: unravel(row, (g.out_channels, *g.output_shape), order) for row in rows}
    column_places = {column: unravel(column, (g.in_channels, *g.input_shape), order) for column in columns}
    table = g.channel_pairs
    seen = np.isin(table[:, 0], [place[0] for place in row_places.values()])
    seen &= np.isin(table[:, 1], [place[0] for place in column_places.values()])
    pairs = {tuple(table[pair].tolist()): pair for pair in np.flatnonzero(seen).tolist()}
    reads = [_axis_reader(axis, transposed=g.transposed) for axis in g.axes]
    found = {}
    for row, (out_channel, *out_place) in row_places.items():
        for column, (in_channel, *in_place) in column_places.items():
            pair = pairs.get((out_channel, in_channel))
            by_axis = [read(i, j) for read, i, j in zip(reads, out_place, in_place, strict=True)]
            if pair is not None and all(by_axis):
                found[row, column] = tuple(sorted(_combine(g, by_axis, pair, len(table))))
    return found


def _axis_reader(axis: Axis, *, transposed: bool) -> Callable[[int, int], list[tuple[int, int]]]:
    """Return the function (row, column) -> the (kernel of the tile, tap) pairs that connect them on one axis."""
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
    """Return the flat weights of one entry: every combination of the taps of its axes."""
    places = [(0, 0)]
    for connections, n_tile, n_taps in zip(by_axis, geometry.tile, geometry.kernel_shape, strict=True):
        places = [(tile * n_tile + k, tap * n_taps + t) for tile, tap in places for k, t in connections]
    n_taps = math.prod(geometry.kernel_shape)
    return [(tile * n_pairs + pair) * n_taps + tap for tile, tap in places]


def unravel(index: int, shape: Sequence[int], order: str = "C") -> tuple[int, ...]:
    """Return `numpy.unravel_index` in Python integers, for shapes of any size.

    Examples
    --------
    >>> unravel(5, (2, 3)), unravel(5, (2, 3), "F")
    ((1, 2), (1, 2))
    """
    place = []
    for size in reversed(shape) if order == "C" else shape:
        index, remainder = divmod(index, size)
        place.append(remainder)
    return tuple(reversed(place)) if order == "C" else tuple(place)


def weight_name(weights: Weights) -> str:
    """Return how the weights of one entry are written, the same one twice as a multiple.

    Examples
    --------
    >>> weight_name((3,)), weight_name((0, 2, 2))
    ('w3', 'w0+2w2')
    """
    terms = [f"{count if count > 1 else ''}w{weight}" for weight, count in Counter(weights).items()]
    name = "+".join(terms)
    return name if len(name) <= _LONGEST_NAME else f"{terms[0]}+..+{terms[-1]}"


def colours(keys: Iterable[Any], n_weights: int | None = None) -> dict[Any, Rgb]:
    """Return a colour for each distinct key: hues for a few, a ramp of lightness for many.

    Parameters
    ----------
    keys : iterable
        Weights, or values.
    n_weights : int, optional
        The weights of the layer. A layer of a few has the same colour for a weight in every window.

    Examples
    --------
    >>> colours([5, 3, 5])
    {3: (86, 180, 233), 5: (230, 159, 0)}
    """
    distinct = sorted(set(keys))
    scale = range(n_weights) if n_weights is not None and n_weights <= _BY_INDEX else distinct
    if len(scale) <= len(_DISTINCT):
        return dict(zip(scale, _DISTINCT, strict=False))
    places = np.linspace(0, len(_RAMP) - 1, len(scale))
    channels = [np.interp(places, np.arange(len(_RAMP)), values) for values in zip(*_RAMP, strict=True)]
    triples = np.rint(np.stack(channels, axis=1)).astype(int).tolist()
    return {key: (red, green, blue) for key, (red, green, blue) in zip(scale, triples, strict=True)}


def is_light(colour: Rgb) -> bool:
    """Return whether black text reads better on a colour than white text (relative luminance of WCAG 2).

    Examples
    --------
    >>> is_light((240, 228, 66)), is_light((68, 1, 84))
    (True, False)
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179
