"""The matrix of a layer, coloured by weight."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.display.matrix_window import pattern_terms
from convmatrix.display.palette import DISTINCT
from convmatrix.geometry import ConvGeometry
from convmatrix.pattern import WeightPattern
from convmatrix.plotting.figures import PAGE_WIDTH, Palette, axes_of, given_axes, ink_on, size_of, weight_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_LARGEST: Final = 4000  # rows or columns; figures have too few pixels for more
_MOST_NAMED: Final = 40  # rows and columns of a matrix whose entries are labelled
_LONGER_SIDE: Final = 5.0  # largest size in inches
_SMALLEST_NAMED: Final = 0.1  # inches; labels in smaller cells would not be readable
_SMALLEST_SEPARATED: Final = 0.08  # inches; between smaller cells lines would take too much of the colour
_LONGEST_LINE: Final = 5  # letters of a label; longer ones take two lines
_MOST_STRIPED: Final = 20_000  # entries that are sums; more are drawn in the colour of their first weight
_MOST_LINES: Final = 64  # lines between image rows on one side; more would hide the entries


def plot_matrix(
    pattern: WeightPattern | ConvGeometry,
    *,
    blocks: bool = True,
    annotate: bool | None = None,
    palette: Palette | None = None,
    ax: Axes | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Return a figure of a pattern as a matrix coloured by weight; equal colours stand for equal weights.

    In matrices of up to 40 rows and columns, entries are labelled with the indices of their weights, such as "0+2" for
    the sum of two weights. An entry that is a sum has a stripe for each of its weights. A new figure of a larger matrix
    with more than twelve weights has a colour scale.

    Parameters
    ----------
    pattern : WeightPattern or ConvGeometry
        At most 4000 rows and columns.
    blocks : bool
        Draw lines between the blocks of a layer's matrix: thick ones between channels, thin ones between image rows.
    annotate : bool, optional
        Whether entries are labelled; by default if the matrix has at most 40 rows and columns, and the cells in ``ax``
        are large enough.
    palette : str or sequence of colours, optional
        As for `convmatrix.plotting.weight_colours`.
    ax : matplotlib Axes, optional
        Where to draw; ``axes`` is its former name.

    Raises
    ------
    ValueError
        If the matrix is too large, or the palette has fewer colours than the pattern has weights.
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
    colours = weight_colours(pattern.n_weights, palette)
    ax = given_axes(ax, axes)
    few = max(n_out, n_in) <= _MOST_NAMED
    named = few if annotate is None else annotate
    cell = min(0.45, (PAGE_WIDTH - 1) / n_in if named else _LONGER_SIDE / max(n_out, n_in))  # inches
    if ax is not None:
        width, height = size_of(ax)
        cell = 0.85 * min(width / n_in, height / n_out)  # with room for the labels that the layout will still place
        named = few and cell >= _SMALLEST_NAMED if annotate is None else annotate
    scale = ax is None and not named and pattern.n_weights > len(DISTINCT)
    figure, axes = axes_of(ax, max(cell * n_in + 1 + scale, 4), max(cell * n_out, 0.5) + 0.9)

    image = np.full((n_out, n_in), -1, dtype=np.int64)
    image[pattern.rows[::-1], pattern.cols[::-1]] = pattern.weight_index[::-1]  # the first weight of an entry
    rgba = np.ones((n_out, n_in, 4))
    filled = image >= 0
    rgba[filled] = colours[image[filled]]
    axes.imshow(rgba, interpolation="nearest", aspect="equal")
    _draw_stripes(axes, pattern, colours)
    if cell >= _SMALLEST_SEPARATED:
        lines: dict[str, Any] = {"colors": "white", "linewidth": min(0.8, 3 * cell)}
        axes.vlines(np.arange(1, n_in) - 0.5, -0.5, n_out - 0.5, **lines)
        axes.hlines(np.arange(1, n_out) - 0.5, -0.5, n_in - 0.5, **lines)
    if blocks and pattern.geometry is not None:
        _draw_blocks(axes, pattern.geometry)
    if named:
        _label_entries(axes, pattern, colours, 72 * cell)
    if scale:
        _add_scale(figure, axes, colours)
    axes.set_xlabel("input")
    axes.set_ylabel("output")
    axes.set_title(f"{n_out} x {n_in} matrix: {int(filled.sum())} entries, {pattern.n_weights} weights", fontsize=10)
    return figure


def _draw_stripes(axes: Axes, pattern: WeightPattern, colours: NDArray[np.float64]) -> None:
    """Draw the entries that are sums as stripes, one for each weight."""
    from matplotlib.collections import PolyCollection

    repeated = (pattern.rows[1:] == pattern.rows[:-1]) & (pattern.cols[1:] == pattern.cols[:-1])
    places = sorted({(int(pattern.rows[i]), int(pattern.cols[i])) for i in np.flatnonzero(repeated)})
    corners, faces = [], []
    for row, column in places[:_MOST_STRIPED]:
        first, last = pattern.row_starts[row], pattern.row_starts[row + 1]
        weights = pattern.weight_index[first:last][pattern.cols[first:last] == column]
        width = 1 / len(weights)
        for number, weight in enumerate(weights.tolist()):
            left = column - 0.5 + number * width
            corners.append([(left, row - 0.5), (left + width, row - 0.5), (left + width, row + 0.5), (left, row + 0.5)])
            faces.append(tuple(colours[weight].tolist()))
    if corners:
        axes.add_collection(PolyCollection(corners, facecolors=faces, linewidths=0), autolim=False)


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


def _label_entries(axes: Axes, pattern: WeightPattern, colours: NDArray[np.float64], cell: float) -> None:
    """Label the entries with the indices of their weights, in the largest font that fits cells of ``cell`` points."""
    from matplotlib.patheffects import withStroke

    n_out, n_in = pattern.shape
    for (row, column), terms in pattern_terms(pattern, n_out, n_in).items():
        text = "".join(f"{_times(factor)}{weight}" for weight, factor in terms).removeprefix("+")
        ink = ink_on(colours[terms[0][0]])
        if len(text) > _LONGEST_LINE:
            signs = [found.start() for found in re.finditer(r"[+-]", text) if found.start()]
            middle = min(signs, key=lambda place: abs(place - len(text) / 2), default=0)
            text = f"{text[:middle]}\n{text[middle:]}".strip()
        longest = max(map(len, text.split("\n")))
        size = min(11, 0.62 * cell, 1.35 * cell / longest)  # a digit is about 0.6 times as wide as the font is high
        label = axes.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)
        if len(terms) > 1:  # no ink reads on stripes of several colours
            label.set(color="black", path_effects=[withStroke(linewidth=0.2 * size, foreground="white")])
    for sides, length in ((axes.set_xticks, n_in), (axes.set_yticks, n_out)):
        step = 1 if cell >= 12 else 5  # points: two digits of 8 points and a gap
        sides(np.arange(0, length, step), [str(number) for number in range(0, length, step)])
    axes.tick_params(length=0, labelsize=8)


def _times(factor: float) -> str:
    return "+" if factor == 1 else "-" if factor == -1 else f"{factor:+.3g}\N{MULTIPLICATION SIGN}"


def _add_scale(figure: Figure, axes: Axes, colours: NDArray[np.float64]) -> None:
    """Draw a colour scale of the weights beside the matrix."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.ticker import MaxNLocator

    weights = ScalarMappable(Normalize(-0.5, len(colours) - 0.5), ListedColormap(colours))
    bar = figure.colorbar(weights, ax=axes, label="weight", shrink=0.8, ticks=MaxNLocator(8, integer=True))
    bar.ax.tick_params(length=0)
