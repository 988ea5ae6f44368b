"""The matrix of a layer, coloured by weight."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from convmatrix.display.palette import DISTINCT, Rgb, is_light, palette
from convmatrix.geometry import ConvGeometry
from convmatrix.pattern import WeightPattern
from convmatrix.plotting.figures import PAGE_WIDTH, axes_of, weight_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LARGEST: Final = 4000  # rows or columns; figures have too few pixels for more
_MOST_NAMED: Final = 24  # rows and columns of a matrix whose entries are labelled
_LONGER_SIDE: Final = 5.0  # inches, at most
_MOST_LINES: Final = 64  # lines between image rows on one side; more would hide the entries


def plot_matrix(pattern: WeightPattern | ConvGeometry, *, blocks: bool = True, axes: Axes | None = None) -> Figure:
    """Draw a pattern as a matrix coloured by weight; equal colours stand for equal weights.

    In matrices of up to 24 rows and columns, entries are labelled with the indices of their weights, such as "0+2" for
    the sum of two weights. An entry that is a sum has the colour of its first weight. A new figure of a larger matrix
    with more than eight weights has a colour scale.

    Parameters
    ----------
    pattern : WeightPattern or ConvGeometry
        At most 4000 rows and columns.
    blocks : bool
        Draw lines between the blocks of a layer's matrix: thick ones between channels, thin ones between image rows.
    axes : matplotlib Axes, optional

    Raises
    ------
    ValueError
        If the matrix is too large.
    TypeError
        If a matrix is passed instead of a pattern or geometry.

    Examples
    --------
    >>> import convmatrix as cm
    >>> figure = plot_matrix(cm.ConvGeometry((3, 3), (2, 2)).pattern())
    >>> len(figure.axes[0].texts)
    16
    """
    if not isinstance(pattern, (WeightPattern, ConvGeometry)):
        raise TypeError(
            f"plot_matrix takes a WeightPattern or a ConvGeometry, but got a {type(pattern).__name__}, which does not "
            "determine the weights of its entries; pass the geometry that it was built from"
        )
    n_out, n_in = pattern.shape if isinstance(pattern, WeightPattern) else (pattern.n_out, pattern.n_in)
    if max(n_out, n_in) > _LARGEST:
        raise ValueError(
            f"the matrix is {n_out} x {n_in}, but plots have at most {_LARGEST} rows and columns; "
            "draw a layer with a smaller input_shape, which has the same structure"
        )
    pattern = pattern.pattern() if isinstance(pattern, ConvGeometry) else pattern
    named = max(n_out, n_in) <= _MOST_NAMED
    cell = min(0.45, (PAGE_WIDTH - 1) / n_in if named else _LONGER_SIDE / max(n_out, n_in))  # inches
    scale = axes is None and not named and pattern.n_weights > len(DISTINCT)
    figure, axes = axes_of(axes, max(cell * n_in + 1 + scale, 4), max(cell * n_out, 0.5) + 0.9)

    image = np.full((n_out, n_in), -1, dtype=np.int64)
    image[pattern.rows[::-1], pattern.cols[::-1]] = pattern.weight_index[::-1]  # the first weight of an entry
    rgba = np.ones((n_out, n_in, 4))
    filled = image >= 0
    rgba[filled] = weight_colours(pattern.n_weights)[image[filled]]
    axes.imshow(rgba, interpolation="nearest", aspect="equal")
    if blocks and pattern.geometry is not None:
        _draw_blocks(axes, pattern.geometry)
    if named:
        _label_entries(axes, pattern, palette(pattern.n_weights), 72 * cell)
    if scale:
        _add_scale(figure, axes, pattern.n_weights)
    axes.set_xlabel("input")
    axes.set_ylabel("output")
    axes.set_title(f"{n_out} x {n_in} matrix: {int(filled.sum())} entries, {pattern.n_weights} weights", fontsize=10)
    return figure


def _draw_blocks(axes: Axes, geometry: ConvGeometry) -> None:
    """Draw thick lines between channels, and thin ones between image rows."""
    sides = (
        (axes.axhline, geometry.out_channels, geometry.output_shape),
        (axes.axvline, geometry.in_channels, geometry.input_shape),
    )
    for draw, channels, shape in sides:
        positions = math.prod(shape)
        length = math.prod(shape[1:]) if len(shape) > 1 else positions
        total = channels * positions
        if length > 1 and total // length <= _MOST_LINES:
            for start in range(length, total, length):
                if start % positions:
                    draw(start - 0.5, color="0.55", linewidth=0.6)
        for start in range(positions, total, positions):
            draw(start - 0.5, color="black", linewidth=1.2)


def _label_entries(axes: Axes, pattern: WeightPattern, colours: list[Rgb], cell: float) -> None:
    """Label the entries with the indices of their weights, in the largest font that fits cells of ``cell`` points."""
    labels: dict[tuple[int, int], list[int]] = {}
    texts: dict[tuple[int, int], str] = {}
    triplets = (array.tolist() for array in (pattern.rows, pattern.cols, pattern.weight_index))
    factors = [1] * pattern.n_entries if pattern.coefficients is None else pattern.coefficients.tolist()
    for row, column, weight, factor in zip(*triplets, factors, strict=True):
        labels.setdefault((row, column), []).append(weight)
        times = "+" if factor == 1 else "-" if factor == -1 else f"{factor:+.3g}\N{MULTIPLICATION SIGN}"
        texts[row, column] = f"{texts.get((row, column), '')}{times}{weight}"
    for (row, column), weights in labels.items():
        text = texts[row, column].removeprefix("+")
        size = min(9, 1.3 * cell / max(len(text), 2))  # a digit is about 0.6 times as wide as the font is high
        ink = "black" if is_light(colours[weights[0]]) else "white"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)
    n_out, n_in = pattern.shape
    axes.set_xticks(np.arange(n_in), [str(j) for j in range(n_in)])
    axes.set_yticks(np.arange(n_out), [str(i) for i in range(n_out)])
    axes.tick_params(length=0, labelsize=8)


def _add_scale(figure: Figure, axes: Axes, n_weights: int) -> None:
    """Draw a colour scale of the weights beside the matrix."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.ticker import MaxNLocator

    colours = [tuple(colour) for colour in weight_colours(n_weights).tolist()]
    weights = ScalarMappable(Normalize(-0.5, n_weights - 0.5), ListedColormap(colours))
    bar = figure.colorbar(weights, ax=axes, label="weight", shrink=0.8, ticks=MaxNLocator(8, integer=True))
    bar.ax.tick_params(length=0)
