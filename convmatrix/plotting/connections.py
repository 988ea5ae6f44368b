"""Sparse connectivity as a graph of units and edges."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from convmatrix.geometry import ConvGeometry
from convmatrix.options import integer
from convmatrix.pattern import WeightPattern
from convmatrix.plotting.style import PAGE_WIDTH, axes_of, weight_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GREY, _DARK = "#D0D0D0", "#404040"
_MOST_UNITS = 60  # units of a layer that are drawn apart
_NAMED = 14  # units of a layer up to which each has its name


def plot_connections(
    patterns: WeightPattern | ConvGeometry | Sequence[WeightPattern | ConvGeometry],
    *,
    input_unit: int | None = None,
    output_unit: int | None = None,
    weight: int | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Draw sparse connectivity as a graph: inputs below, units of each layer above, an edge for each connection.

    Edges have the colours of their weights. With ``input_unit``, what that input affects stands out; with
    ``output_unit``, what that unit of the last layer reads; with ``weight``, the edges that share that weight. This is
    the manner of Goodfellow, Bengio, Courville, Deep Learning (2016), Figs. 9.2 to 9.5.

    Parameters
    ----------
    patterns : WeightPattern, ConvGeometry or a sequence of them
        From the input on, with at most 60 units a layer. Units have names up to 14 a layer.
    input_unit, output_unit, weight : int, optional
        At most one of the three, from 0.
    axes : matplotlib Axes, optional

    Raises
    ------
    ValueError
        If there is no layer, one is larger, layers do not fit together, several things are to stand out, or there is no
        such unit or weight.

    Examples
    --------
    >>> import convmatrix as cm
    >>> layer = cm.ConvGeometry(5, 3, padding="same").pattern()
    >>> figure = plot_connections([layer, layer], output_unit=2)
    >>> figure = plot_connections(layer, weight=1)  # Fig. 9.5: the centre weight, used five times
    """
    layers = [patterns] if isinstance(patterns, WeightPattern | ConvGeometry) else list(patterns)
    chain = [layer.pattern() if isinstance(layer, ConvGeometry) else layer for layer in layers]
    sizes = [chain[0].shape[1], *(pattern.shape[0] for pattern in chain)] if chain else []
    if not chain or max(sizes) > _MOST_UNITS:
        raise ValueError(f"layers have {sizes} units, but drawn are at least one layer and up to {_MOST_UNITS} units")
    for number, (below, above) in enumerate(itertools.pairwise(chain), start=1):
        if below.shape[0] != above.shape[1]:
            raise ValueError(
                f"patterns[{number}] reads {above.shape[1]} units, but patterns[{number - 1}] has {below.shape[0]} "
                "outputs; give layers in order from the input on"
            )
    chosen = {"input_unit": input_unit, "output_unit": output_unit, "weight": weight}
    given = {name: integer(name, value) for name, value in chosen.items() if value is not None}
    if len(given) > 1:
        words = " and ".join(f"{name}={value}" for name, value in given.items())
        raise ValueError(f"{words} exclude each other; give one of them")

    units, edges = _standing_out(chain, sizes, given)
    spacing = min(0.75, (PAGE_WIDTH - 0.4) / max(sizes))  # inches from unit to unit
    figure, axes = axes_of(axes, max(3.0, spacing * max(sizes) + 0.4), 1 + 1.3 * len(chain))
    places = [np.arange(size) - (size - 1) / 2 for size in sizes]
    for layer, pattern in enumerate(chain):
        colours = weight_colours(pattern.n_weights)
        triplets = (array.tolist() for array in (pattern.rows, pattern.cols, pattern.weight_index))
        for row, column, index, on in zip(*triplets, edges[layer], strict=True):
            axes.plot(
                (places[layer][column], places[layer + 1][row]),
                (layer, layer + 1),
                color=colours[index] if on else _GREY,
                linewidth=2.0 if on else 0.8,
                zorder=2 if on else 1,
            )
    names = ["x", "s"] if len(chain) == 1 else ["x", *(f"h^{{({n})}}" for n in range(1, len(chain) + 1))]
    for layer, size in enumerate(sizes):
        faces = ["#FFFFFF" if not on else "#DDEBF7" for on in units[layer]]
        rings = [_DARK if on else "#A0A0A0" for on in units[layer]]
        area = min(20.5, 0.75 * 72 * spacing) ** 2  # square points
        axes.scatter(places[layer], [layer] * size, s=area, c=faces, edgecolors=rings, linewidths=1.2, zorder=3)
        if max(sizes) <= _NAMED:
            for unit in range(size):
                label = f"${names[layer]}_{{{unit}}}$"
                axes.text(places[layer][unit], layer, label, ha="center", va="center", fontsize=8, zorder=4)
        else:
            axes.text(-max(sizes) / 2 - 0.4, layer, f"${names[layer]}$", ha="right", va="center", fontsize=9)
    axes.set_xlim(-max(sizes) / 2 - 0.2, max(sizes) / 2 + 0.2)
    axes.set_ylim(-0.35, len(chain) + 0.35)
    axes.set_axis_off()
    return figure


def _standing_out(
    chain: list[WeightPattern], sizes: list[int], given: dict[str, int]
) -> tuple[list[list[bool]], list[list[bool]]]:
    """Return which units stand out, layer by layer, and which edges, for each layer's triplets."""
    for name, value in given.items():
        size = {"input_unit": sizes[0], "output_unit": sizes[-1], "weight": min(p.n_weights for p in chain)}[name]
        if not 0 <= value < size:
            raise ValueError(f"{name} {value} does not exist; there are {size}, from 0 on")
    units = [np.zeros(size, dtype=bool) for size in sizes]
    if "input_unit" in given:
        units[0][given["input_unit"]] = True
        for number, pattern in enumerate(chain):
            units[number + 1][pattern.rows[units[number][pattern.cols]]] = True
    elif "output_unit" in given:
        units[-1][given["output_unit"]] = True
        for number, pattern in reversed(list(enumerate(chain))):
            units[number][pattern.cols[units[number + 1][pattern.rows]]] = True
    else:
        units = [~mask for mask in units]
    edges = [units[number][p.cols] & units[number + 1][p.rows] for number, p in enumerate(chain)]
    if "weight" in given:
        edges = [pattern.weight_index == given["weight"] for pattern in chain]
    return [cast("list[bool]", mask.tolist()) for mask in units], [cast("list[bool]", mask.tolist()) for mask in edges]
