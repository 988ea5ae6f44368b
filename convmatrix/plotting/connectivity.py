"""Sparse connectivity: units and edges of layers, and the receptive field of a unit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.geometry import ConvGeometry
from convmatrix.graph.fields import chain_network, receptive_field
from convmatrix.options import integer
from convmatrix.pattern import WeightPattern
from convmatrix.plotting.figures import (
    COLOURS,
    PAGE_WIDTH,
    Palette,
    axes_of,
    given_axes,
    integer_ticks,
    size_of,
    weight_colours,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_MOST_UNITS: Final = 60  # per layer
_MOST_NAMED: Final = 14  # units per layer that are labelled one by one
_MOST_GRID_LINES: Final = 60  # per axis of an image
_FAINT: Final[dict[str, Any]] = {"color": "#D0D0D0", "linewidth": 0.8, "zorder": 1}  # edges that are not highlighted


def plot_connections(
    patterns: WeightPattern | ConvGeometry | Sequence[WeightPattern | ConvGeometry],
    *,
    input_unit: int | None = None,
    output_unit: int | None = None,
    weight: int | None = None,
    annotate: bool | None = None,
    palette: Palette | None = None,
    ax: Axes | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Return a figure of sparse connectivity as a graph: inputs at the bottom, layers above, one edge per connection.

    Edges are coloured by weight. ``input_unit`` highlights the units that this input affects, ``output_unit`` the units
    that this unit of the last layer reads, and ``weight`` the edges that share this weight, in the style of Goodfellow,
    Bengio, Courville, Deep Learning (2016), Figs. 9.2 to 9.5.

    Parameters
    ----------
    patterns : WeightPattern, ConvGeometry or a sequence of them
        Layers from the input on, with at most 60 units each.
    input_unit, output_unit, weight : int, optional
        At most one of the three, counted from 0.
    annotate : bool, optional
        Whether each unit is labelled, instead of each layer; by default if no layer has more than 14 units.
    palette : str or sequence of colours, optional
        As for `convmatrix.plotting.weight_colours`.
    ax : matplotlib Axes, optional
        Where to draw; ``axes`` is its former name.

    Raises
    ------
    ValueError
        If there are no layers, a layer is too large, consecutive layers do not fit, more than one highlight is
        requested, the unit or weight does not exist, or the palette has too few colours.

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
        raise ValueError(f"plots show at least one layer and at most {_MOST_UNITS} units per layer, but got {sizes}")
    for number, (below, above) in enumerate(itertools.pairwise(chain), start=1):
        if below.shape[0] != above.shape[1]:
            raise ValueError(
                f"patterns[{number}] reads {above.shape[1]} units, but patterns[{number - 1}] has {below.shape[0]} "
                "outputs; pass layers in order from the input on"
            )
    chosen = {"input_unit": input_unit, "output_unit": output_unit, "weight": weight}
    given = {name: integer(name, value) for name, value in chosen.items() if value is not None}
    if len(given) > 1:
        words = " and ".join(f"{name}={value}" for name, value in given.items())
        raise ValueError(f"{words} exclude each other; pass one of them")

    units, edges = _highlighted(chain, sizes, given)
    spacing = min(0.75, (PAGE_WIDTH - 0.4) / max(sizes))  # inches between units
    colours_of = [weight_colours(pattern.n_weights, palette) for pattern in chain]
    if (ax := given_axes(ax, axes)) is not None:
        spacing = min(0.75, 0.95 * size_of(ax)[0] / (max(sizes) + 0.4))
    figure, axes = axes_of(ax, max(3.0, spacing * max(sizes) + 0.4), 1 + 1.3 * len(chain))
    positions = [np.arange(size) - (size - 1) / 2 for size in sizes]
    for layer, (pattern, colours) in enumerate(zip(chain, colours_of, strict=True)):
        triplets = (array.tolist() for array in (pattern.rows, pattern.cols, pattern.weight_index))
        for row, column, index, on in zip(*triplets, edges[layer].tolist(), strict=True):
            look = {"color": colours[index], "linewidth": 2.0, "zorder": 2} if on else _FAINT
            axes.plot((positions[layer][column], positions[layer + 1][row]), (layer, layer + 1), **look)
    named = max(sizes) <= _MOST_NAMED if annotate is None else annotate
    names = ["x", "s"] if len(chain) == 1 else ["x", *(f"h^{{({n})}}" for n in range(1, len(chain) + 1))]
    for layer, size in enumerate(sizes):
        faces = ["#DDEBF7" if on else "#FFFFFF" for on in units[layer]]
        rings = ["#404040" if on else "#A0A0A0" for on in units[layer]]
        area = min(20.5, 0.75 * 72 * spacing) ** 2  # square points
        axes.scatter(positions[layer], [layer] * size, s=area, c=faces, edgecolors=rings, linewidths=1.2, zorder=3)
        if named:
            letters = min(8.0, 0.75 * 72 * spacing / 2.4)  # a name is about 2.4 letters wide
            for unit, x in enumerate(positions[layer].tolist()):
                axes.text(
                    x, layer, f"${names[layer]}_{{{unit}}}$", ha="center", va="center", fontsize=letters, zorder=4
                )
        else:
            axes.text(-max(sizes) / 2 - 0.4, layer, f"${names[layer]}$", ha="right", va="center", fontsize=9)
    axes.set_xlim(-max(sizes) / 2 - 0.2, max(sizes) / 2 + 0.2)
    axes.set_ylim(-0.35, len(chain) + 0.35)
    axes.set_axis_off()
    return figure


def _highlighted(
    chain: list[WeightPattern], sizes: list[int], given: dict[str, int]
) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.bool_]]]:
    """Return masks of the highlighted units of each layer, and of the highlighted edges (triplets) of each pattern."""
    for name, value in given.items():
        size = {"input_unit": sizes[0], "output_unit": sizes[-1], "weight": min(p.n_weights for p in chain)}[name]
        if not 0 <= value < size:
            raise ValueError(f"{name}={value} does not exist; there are {size}, counted from 0")
    units = [np.full(size, "input_unit" not in given and "output_unit" not in given) for size in sizes]
    if "input_unit" in given:
        units[0][given["input_unit"]] = True
        for number, pattern in enumerate(chain):
            units[number + 1][pattern.rows[units[number][pattern.cols]]] = True
    elif "output_unit" in given:
        units[-1][given["output_unit"]] = True
        for number, pattern in reversed(list(enumerate(chain))):
            units[number][pattern.cols[units[number + 1][pattern.rows]]] = True
    if "weight" in given:
        return units, [pattern.weight_index == given["weight"] for pattern in chain]
    return units, [units[number][p.cols] & units[number + 1][p.rows] for number, p in enumerate(chain)]


def plot_receptive_field(
    layers: Any,
    unit: int | Sequence[int],
    *,
    palette: Palette | None = None,
    ax: Axes | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Return a figure of the exact set of samples of the image that a unit reads in any channel.

    Parameters
    ----------
    layers : Network, str, ConvGeometry, nn.Sequential or sequence of layers
        As for `convmatrix.graph.receptive_field`. The input has at most two axes besides channels.
    unit : int or sequence of int
        As for `convmatrix.graph.receptive_field`.
    palette : str or sequence of two colours, optional
        Colours of unread and of read samples; otherwise as for `convmatrix.plotting.weight_colours`.
    ax : matplotlib Axes, optional
        Where to draw; ``axes`` is its former name.

    Raises
    ------
    ValueError
        If there are no layers, or the input has more than two axes besides channels.

    Examples
    --------
    >>> import convmatrix as cm
    >>> layer = cm.ConvGeometry((9, 9), (3, 3), padding="same", dilation=2)
    >>> plot_receptive_field([layer, layer], (0, 4, 4)).axes[0].get_title()
    'unit (0, 4, 4) reads 25 of 81 samples'
    """
    network = chain_network(layers)
    channels, *shape = network.input_shape if len(network.input_shape) > 1 else (1, *network.input_shape)
    if len(shape) > 2:
        raise ValueError(f"the input has {len(shape)} axes besides channels, but plots show 1 or 2")
    read = np.zeros((channels, *shape), dtype=bool)
    read.flat[receptive_field(network, unit)] = True
    image = np.atleast_2d(read.any(axis=0))
    height, width = image.shape
    scale = 4.5 / max(width, height)
    colours = weight_colours(2, ("#E4E4E4", COLOURS[4]) if palette is None else palette)
    figure, axes = axes_of(given_axes(ax, axes), max(width * scale, 4) + 0.7, max(height * scale, 0.5) + 0.9)
    from matplotlib.colors import ListedColormap

    axes.imshow(image, cmap=ListedColormap(colours), vmin=0, vmax=1, interpolation="nearest")
    if max(width, height) <= _MOST_GRID_LINES:
        axes.vlines(np.arange(1, width) - 0.5, -0.5, height - 0.5, colors="white", linewidth=0.8)
        axes.hlines(np.arange(1, height) - 0.5, -0.5, width - 0.5, colors="white", linewidth=0.8)
    integer_ticks(axes.xaxis)
    integer_ticks(axes.yaxis)
    axes.set_title(f"unit {unit} reads {int(image.sum())} of {image.size} samples", fontsize=10)
    axes.set_xlabel("sample" if len(shape) == 1 else "column")
    if len(shape) == 1:
        axes.set_yticks([])
    else:
        axes.set_ylabel("row")
    return figure
