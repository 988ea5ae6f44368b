"""The matrix of a layer, coloured by weight."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from convmatrix.geometry import ConvGeometry
from convmatrix.pattern import WeightPattern
from convmatrix.plotting.style import COLOURS, PAGE_WIDTH, axes_of, weight_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


_LARGEST = 4000  # rows or columns of a matrix that are drawn; a picture has fewer pixels
_NAMED = 24  # rows and columns up to which entries are named
_SIDE = 5.0  # inches of the longer side, at most
_MOST_LINES = 64  # lines between image rows on one side; more of them would hide the entries


def plot_matrix(pattern: WeightPattern | ConvGeometry, *, blocks: bool = True, axes: Axes | None = None) -> Figure:
    """Draw a pattern as a matrix, coloured by weight: equal colours are equal weights.

    Up to 24 rows and columns the entries are named by the numbers of their weights, "0+2" where two weights fall on one
    entry. In a larger picture such an entry has the colour of the first of them, and where there are more than eight
    weights a new figure has a scale of them beside the matrix.

    Parameters
    ----------
    pattern : WeightPattern or ConvGeometry
        Of at most 4000 rows and columns.
    blocks : bool
        Draw lines between the blocks of a layer's matrix: between channels, and thinner ones between the image rows
        within them.
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
    if not isinstance(pattern, (WeightPattern, ConvGeometry)):
        raise TypeError(
            f"plot_matrix takes a WeightPattern or a ConvGeometry, but was given a {type(pattern).__name__}; a matrix "
            "does not tell its weights: give the geometry that it was made of"
        )
    n_out, n_in = pattern.shape if isinstance(pattern, WeightPattern) else (pattern.n_out, pattern.n_in)
    if max(n_out, n_in) > _LARGEST:
        raise ValueError(
            f"the matrix is {n_out} x {n_in}, but pictures have at most {_LARGEST} rows and columns; "
            "draw a layer with a smaller input_shape, which has the same structure"
        )
    pattern = pattern.pattern() if isinstance(pattern, ConvGeometry) else pattern
    named = max(n_out, n_in) <= _NAMED
    cell = min(0.45, (PAGE_WIDTH - 1) / n_in if named else _SIDE / max(n_out, n_in))  # inches
    own_figure = axes is None
    scale = own_figure and not named and pattern.n_weights > len(COLOURS)
    figure, axes = axes_of(axes, max(cell * n_in + 1 + scale, 4), max(cell * n_out, 0.5) + 0.9)

    image = np.full((n_out, n_in), -1, dtype=np.int64)
    image[pattern.rows[::-1], pattern.cols[::-1]] = pattern.weight_index[::-1]  # the first weight of an entry
    colours = weight_colours(pattern.n_weights)
    rgba = np.ones((n_out, n_in, 4))
    filled = image >= 0
    rgba[filled] = colours[image[filled]]
    axes.imshow(rgba, interpolation="nearest", aspect="equal")
    if blocks and pattern.geometry is not None:
        _draw_blocks(axes, pattern.geometry)
    if named:
        _name_entries(axes, pattern, colours, 72 * cell)
    if scale:
        _add_scale(figure, axes, colours)
    axes.set_xlabel("input")
    axes.set_ylabel("output")
    axes.set_title(f"{n_out} x {n_in} matrix: {int(filled.sum())} entries, {pattern.n_weights} weights", fontsize=10)
    return figure


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
        if length > 1 and total // length <= _MOST_LINES:
            for place in range(length, total, length):
                if place % positions:
                    draw(place - 0.5, color="0.55", linewidth=0.6)
        for place in range(positions, total, positions):
            draw(place - 0.5, color="black", linewidth=1.2)


def _name_entries(axes: Axes, pattern: WeightPattern, colours: NDArray[np.float64], cell: float) -> None:
    """Write the numbers of the weights into the entries, as large as cells of a size in points allow."""
    names: dict[tuple[int, int], list[int]] = {}
    triplets = (array.tolist() for array in (pattern.rows, pattern.cols, pattern.weight_index))
    for row, column, weight in zip(*triplets, strict=True):
        names.setdefault((row, column), []).append(weight)
    for (row, column), weights in names.items():
        red, green, blue, _ = colours[weights[0]]
        bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        text = "+".join(map(str, weights))
        size = min(9, 1.3 * cell / max(len(text), 2))  # a digit is about 0.6 of the size wide
        place = (column, row)
        axes.text(*place, text, ha="center", va="center", fontsize=size, color="black" if bright else "white")
    n_out, n_in = pattern.shape
    axes.set_xticks(np.arange(n_in), [str(j) for j in range(n_in)])
    axes.set_yticks(np.arange(n_out), [str(i) for i in range(n_out)])
    axes.tick_params(length=0, labelsize=8)


def _add_scale(figure: Figure, axes: Axes, colours: NDArray[np.float64]) -> None:
    """Draw a scale of the weights beside the matrix."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.ticker import MaxNLocator

    weights = ScalarMappable(Normalize(-0.5, len(colours) - 0.5), ListedColormap([tuple(c) for c in colours.tolist()]))
    bar = figure.colorbar(weights, ax=axes, label="weight", shrink=0.8, ticks=MaxNLocator(8, integer=True))
    bar.ax.tick_params(length=0)
