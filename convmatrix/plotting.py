"""Pictures of layers with matplotlib: matrices, sparse connectivity, receptive fields, filters, spectra.

Needs the extra ``plot``. Every function draws into ``axes``, or into a new figure, and returns the figure; save it with
``figure.savefig("name.svg")`` or ``.png``. Up to eight weights have the colours of Okabe and Ito (Color universal
design, 2008), which are distinct in the common forms of colour blindness; more of them are shades of ``cividis``.

Examples
--------
>>> import convmatrix as cm
>>> from convmatrix import plotting
>>> figure = plotting.plot_matrix(cm.ConvGeometry(8, 3).pattern())
>>> figure.axes[0].get_title()
'6 x 8 matrix: 18 entries, 3 weights'
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from convmatrix.geometry import ConvGeometry
from convmatrix.graph import receptive_field
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

__all__ = ["plot_connections", "plot_filters", "plot_matrix", "plot_receptive_field", "plot_spectrum"]

COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999")
_GREY, _DARK = "#D0D0D0", "#404040"
_LARGEST_PICTURE = 4000  # rows or columns of a matrix that are drawn; a picture has fewer pixels
_MOST_NODES = 60  # units of a layer that are drawn apart
_NAMED = 24  # rows and columns up to which entries are named


def plot_matrix(pattern: WeightPattern, *, blocks: bool = True, axes: Axes | None = None) -> Figure:
    """Draw a pattern as a matrix, coloured by weight: equal colours are equal weights.

    Parameters
    ----------
    pattern : WeightPattern
        Of at most 4000 rows and columns.
    blocks : bool
        Draw lines between the blocks of a layer's matrix: between channels, and between the image rows within them.
    axes : matplotlib Axes, optional

    Raises
    ------
    ValueError
        If the matrix is larger.

    Examples
    --------
    >>> import convmatrix as cm
    >>> figure = plot_matrix(cm.ConvGeometry((3, 3), (2, 2)).pattern())
    >>> len(figure.axes[0].texts)
    16
    """
    n_out, n_in = pattern.shape
    if max(n_out, n_in) > _LARGEST_PICTURE:
        raise ValueError(
            f"the matrix is {n_out} x {n_in}, but pictures have at most {_LARGEST_PICTURE} rows and columns; "
            "draw a layer with a smaller input_shape, which has the same structure"
        )
    figure, axes = _axes(axes, 2 + 5 * min(n_in / max(n_out, 1), 2), 5)
    image = np.full((n_out, n_in), np.nan)
    image[pattern.rows[::-1], pattern.cols[::-1]] = pattern.weight_index[::-1]  # the first weight of an entry
    colours = weight_colours(pattern.n_weights)
    rgba = np.ones((n_out, n_in, 4))
    filled = ~np.isnan(image)
    rgba[filled] = colours[image[filled].astype(np.int64)]
    axes.imshow(rgba, interpolation="nearest", extent=(0, n_in, n_out, 0), aspect="equal")
    if blocks and pattern.geometry is not None:
        _draw_blocks(axes, pattern.geometry)
    if max(n_out, n_in) <= _NAMED:
        _name_entries(axes, pattern, colours)
    axes.set_xlabel("input")
    axes.set_ylabel("output")
    axes.set_title(f"{n_out} x {n_in} matrix: {int(filled.sum())} entries, {pattern.n_weights} weights")
    return figure


def weight_colours(n_weights: int) -> NDArray[np.float64]:
    """Return a colour for each weight, (n_weights, 4).

    Examples
    --------
    >>> weight_colours(3).shape
    (3, 4)
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba_array

    if n_weights <= len(COLOURS):
        return np.asarray(to_rgba_array(list(COLOURS[:n_weights])))
    return np.asarray(colormaps["cividis"](np.linspace(0, 1, n_weights)))


def plot_connections(
    patterns: WeightPattern | Sequence[WeightPattern],
    *,
    input_unit: int | None = None,
    output_unit: int | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Draw sparse connectivity as a graph: inputs below, units of each layer above, an edge for each connection.

    Edges have the colours of their weights. With ``input_unit``, what that input affects stands out; with
    ``output_unit``, what that unit of the last layer reads. This is the manner of Goodfellow, Bengio, Courville, Deep
    Learning (2016), Figs. 9.2 to 9.5.

    Parameters
    ----------
    patterns : WeightPattern or sequence of WeightPattern
        From the input on, with at most 60 units a layer.
    input_unit, output_unit : int, optional
        At most one of the two, from 0.
    axes : matplotlib Axes, optional

    Raises
    ------
    ValueError
        If a layer is larger, both units are given, or there is no such unit.

    Examples
    --------
    >>> import convmatrix as cm
    >>> layer = cm.ConvGeometry(5, 3, padding="same").pattern()
    >>> figure = plot_connections([layer, layer], output_unit=2)
    """
    chain = [patterns] if isinstance(patterns, WeightPattern) else list(patterns)
    sizes = [chain[0].shape[1], *(pattern.shape[0] for pattern in chain)] if chain else []
    if not chain or max(sizes) > _MOST_NODES:
        raise ValueError(f"layers have {sizes} units, but drawn are at least one layer and up to {_MOST_NODES} units")
    if input_unit is not None and output_unit is not None:
        raise ValueError(f"input_unit={input_unit} and output_unit={output_unit} exclude each other; give one of them")
    marked = _marked(chain, sizes, input_unit, output_unit)
    figure, axes = _axes(axes, max(3.0, 0.75 * max(sizes)), 1 + 1.3 * len(chain))
    places = [np.arange(size) - (size - 1) / 2 for size in sizes]
    for layer, pattern in enumerate(chain):
        colours = weight_colours(pattern.n_weights)
        triplets = (array.tolist() for array in (pattern.rows, pattern.cols, pattern.weight_index))
        for row, column, weight in zip(*triplets, strict=True):
            on = marked[layer][column] and marked[layer + 1][row]
            axes.plot(
                (places[layer][column], places[layer + 1][row]),
                (layer, layer + 1),
                color=colours[weight] if on else _GREY,
                linewidth=2.0 if on else 0.8,
                zorder=2 if on else 1,
            )
    names = ["x", "s"] if len(chain) == 1 else ["x", *(f"h^{{({n})}}" for n in range(1, len(chain) + 1))]
    for layer, size in enumerate(sizes):
        faces = ["#FFFFFF" if not on else "#DDEBF7" for on in marked[layer]]
        edges = [_DARK if on else "#A0A0A0" for on in marked[layer]]
        axes.scatter(places[layer], [layer] * size, s=420, c=faces, edgecolors=edges, linewidths=1.4, zorder=3)
        for unit in range(size):
            label = f"${names[layer]}_{{{unit}}}$"
            axes.text(places[layer][unit], layer, label, ha="center", va="center", fontsize=8, zorder=4)
    axes.set_xlim(-max(sizes) / 2 - 0.2, max(sizes) / 2 + 0.2)
    axes.set_ylim(-0.35, len(chain) + 0.35)
    axes.set_axis_off()
    return figure


def _marked(
    chain: list[WeightPattern], sizes: list[int], input_unit: int | None, output_unit: int | None
) -> list[list[bool]]:
    """Return which units stand out, layer by layer."""
    unit, layer = (input_unit, 0) if input_unit is not None else (output_unit, len(chain))
    if unit is None:
        return [[True] * size for size in sizes]
    if not 0 <= unit < sizes[layer]:
        raise ValueError(f"unit {unit} does not exist; that layer has {sizes[layer]}, from 0 on")
    masks = [np.zeros(size, dtype=bool) for size in sizes]
    masks[layer][unit] = True
    if input_unit is not None:
        for number, pattern in enumerate(chain):
            masks[number + 1][pattern.rows[masks[number][pattern.cols]]] = True
    else:
        for number, pattern in reversed(list(enumerate(chain))):
            masks[number][pattern.cols[masks[number + 1][pattern.rows]]] = True
    return [cast("list[bool]", mask.tolist()) for mask in masks]


def plot_receptive_field(
    layers: ConvGeometry | Sequence[ConvGeometry], unit: int | Sequence[int], *, axes: Axes | None = None
) -> Figure:
    """Draw which samples of the image a unit reads, exactly; channels are put together.

    Parameters
    ----------
    layers : ConvGeometry or sequence of ConvGeometry
        From the input on, of one or two axes.
    unit : int or sequence of int
        As for `convmatrix.graph.receptive_field`.
    axes : matplotlib Axes, optional

    Raises
    ------
    ValueError
        If the layers have more than two axes.

    Examples
    --------
    >>> import convmatrix as cm
    >>> layer = cm.ConvGeometry((9, 9), (3, 3), padding="same", dilation=2)
    >>> plot_receptive_field([layer, layer], (0, 4, 4)).axes[0].get_title()
    'unit (0, 4, 4) reads 25 of 81 samples'
    """
    chain = [layers] if isinstance(layers, ConvGeometry) else list(layers)
    first = chain[0]
    if len(first.input_shape) > 2:
        raise ValueError(f"the image has {len(first.input_shape)} axes, but pictures are drawn of one or two")
    seen = np.zeros(first.n_in, dtype=bool)
    seen[receptive_field(chain, unit)] = True
    image = np.atleast_2d(seen.reshape(first.in_channels, *first.input_shape).any(axis=0))
    height, width = image.shape
    scale = 6 / max(width, height)
    figure, axes = _axes(axes, max(width * scale, 3.5), max(height * scale, 1) + 0.8)
    from matplotlib.colors import ListedColormap

    axes.imshow(image, cmap=ListedColormap(["#F2F2F2", COLOURS[4]]), vmin=0, vmax=1, extent=(0, width, height, 0))
    if max(width, height) <= _MOST_NODES:
        axes.vlines(range(width + 1), 0, height, colors="white", linewidth=1)
        axes.hlines(range(height + 1), 0, width, colors="white", linewidth=1)
    axes.set_title(f"unit {unit} reads {int(image.sum())} of {image.size} samples")
    axes.set_xlabel("sample" if height == 1 else "column")
    if height == 1:
        axes.set_yticks([])
    else:
        axes.set_ylabel("row")
    return figure


def plot_filters(weights: ArrayLike, *, columns: int | None = None) -> Figure:
    """Draw filters side by side, all on one scale that is symmetric about zero.

    Parameters
    ----------
    weights : array_like, shape (..., height, width)
        A picture for each of the leading indices.
    columns : int, optional
        Filters side by side; by default about as many as there are rows.

    Raises
    ------
    ValueError
        If there are fewer than two axes, or no filter.

    Examples
    --------
    >>> import numpy as np
    >>> figure = plot_filters(np.random.default_rng(0).standard_normal((6, 1, 5, 5)))
    >>> len(figure.axes)
    7
    """
    filters = np.asarray(weights, dtype=np.float64)
    if filters.ndim < 2 or filters.size == 0:
        raise ValueError(f"weights have shape {filters.shape}, but filters are (..., height, width), at least one")
    filters = filters.reshape(-1, *filters.shape[-2:])
    columns = columns or math.ceil(math.sqrt(len(filters)))
    rows = math.ceil(len(filters) / columns)
    figure = _figure(0.9 * columns + 1, 0.9 * rows + 0.2)
    grid = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel().tolist()
    limit = float(np.abs(filters).max()) or 1.0
    picture: Any = None
    for axes, one in itertools.zip_longest(grid, filters):
        if one is None:
            axes.remove()
            continue
        picture = axes.imshow(one, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
    figure.colorbar(picture, ax=grid[: len(filters)], label="weight", shrink=0.9)
    return figure


def plot_spectrum(values: ArrayLike, *, label: str | None = None, axes: Axes | None = None) -> Figure:
    """Draw singular values, largest first; call it again with the same axes to compare several layers.

    Parameters
    ----------
    values : array_like
        Singular values in any order, such as those of `convmatrix.spectral.singular_values`.
    label : str, optional
    axes : matplotlib Axes, optional

    Raises
    ------
    ValueError
        If there are no values, or some are negative or not finite.

    Examples
    --------
    >>> figure = plot_spectrum([3.0, 1.0, 2.0], label="a layer")
    >>> figure.axes[0].lines[0].get_ydata().tolist()
    [3.0, 2.0, 1.0]
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64).ravel())[::-1]
    if not ordered.size or not np.isfinite(ordered).all() or ordered[-1] < 0:
        raise ValueError(
            f"{ordered.size} values were given, but a spectrum has at least one, all finite and none negative"
        )
    figure, axes = _axes(axes, 5, 3.5)
    number = len(axes.lines)
    style = itertools.islice(itertools.cycle(("-", "--", "-.", ":")), number, None)
    axes.plot(np.arange(1, ordered.size + 1), ordered, next(style), color=COLOURS[(number + 4) % 8], label=label)
    locator: Any = axes.xaxis.get_major_locator()
    locator.set_params(integer=True)
    axes.set_xlabel("number")
    axes.set_ylabel("singular value")
    axes.set_ylim(bottom=0)
    if label is not None:
        axes.legend(frameon=False)
    return figure


# --- parts -----------------------------------------------------------------------------------------------------------


def _axes(axes: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """Return the figure and the axes to draw into; a new figure needs no display."""
    if axes is not None:
        return cast("Figure", axes.get_figure(root=True)), axes
    figure = _figure(width, height)
    return figure, figure.subplots()


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _draw_blocks(axes: Axes, geometry: ConvGeometry) -> None:
    """Draw lines between channels, and thinner ones between image rows."""
    sides = (
        (axes.axhline, geometry.out_channels, geometry.output_shape),
        (axes.axvline, geometry.in_channels, geometry.input_shape),
    )
    for draw, channels, shape in sides:
        positions = math.prod(shape)
        length = math.prod(shape[1:]) if len(shape) > 1 else positions
        total = channels * positions
        if length > 1 and total // length <= 64:
            for place in range(length, total, length):
                draw(place, color="0.55", linewidth=0.6)
        for place in range(positions, total, positions):
            draw(place, color="black", linewidth=1.2)


def _name_entries(axes: Axes, pattern: WeightPattern, colours: NDArray[np.float64]) -> None:
    """Write the numbers of the weights into the entries."""
    names: dict[tuple[int, int], list[int]] = {}
    triplets = (array.tolist() for array in (pattern.rows, pattern.cols, pattern.weight_index))
    for row, column, weight in zip(*triplets, strict=True):
        names.setdefault((row, column), []).append(weight)
    for (row, column), weights in names.items():
        red, green, blue, _ = colours[weights[0]]
        bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        text = "+".join(map(str, weights))
        size = 9 if len(text) < 3 else 6
        place = (column + 0.5, row + 0.5)
        axes.text(*place, text, ha="center", va="center", fontsize=size, color="black" if bright else "white")
    axes.set_xticks(np.arange(pattern.shape[1]) + 0.5, [str(j) for j in range(pattern.shape[1])])
    axes.set_yticks(np.arange(pattern.shape[0]) + 0.5, [str(i) for i in range(pattern.shape[0])])
    axes.tick_params(length=0, labelsize=8)
