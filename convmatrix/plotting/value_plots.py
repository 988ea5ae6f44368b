"""Plots of numbers: filters side by side, and singular values as curves."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.options import integer
from convmatrix.plotting.figures import COLOURS, PAGE_WIDTH, axes_of, new_figure, real_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

_LINE_STYLES: Final = ("-", "--", "-.", ":")
_LINE_COLOURS: Final = tuple(COLOURS[i] for i in (4, 5, 2, 7, 6, 0, 1))  # dark ones first; yellow is too pale


def plot_filters(weights: ArrayLike, *, columns: int | None = None) -> Figure:
    """Draw filters side by side on a common colour scale that is symmetric about zero.

    Parameters
    ----------
    weights : array_like, shape (..., height, width)
        One filter per combination of leading indices.
    columns : int, optional
        Number of filters per row; by default about equal to the number of rows.

    Raises
    ------
    ValueError
        If there are fewer than two axes, no filters, or values that are not finite.
    TypeError
        If the weights are complex.

    Examples
    --------
    >>> import numpy as np
    >>> figure = plot_filters(np.random.default_rng(0).standard_normal((6, 1, 5, 5)))
    >>> len(figure.axes)
    7
    """
    filters = real_values("weights", weights)
    if filters.ndim < 2 or filters.size == 0:
        raise ValueError(f"weights must have shape (..., height, width) and not be empty, but have {filters.shape}")
    if not np.isfinite(filters).all():
        n_wrong = int(np.count_nonzero(~np.isfinite(filters)))
        raise ValueError(f"weights must be finite, but {n_wrong} of {filters.size} are not; replace them")
    filters = filters.reshape(-1, *filters.shape[-2:])
    columns = math.ceil(math.sqrt(len(filters))) if columns is None else integer("columns", columns, minimum=1)
    rows = math.ceil(len(filters) / columns)
    height, width = filters.shape[1:]
    side = min(0.9, (PAGE_WIDTH - 1) / columns)  # width of a filter in inches
    figure = new_figure(max(side * columns, 1) + 1, max(side * rows * height / width, 1.3) + 0.2)
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


def plot_spectrum(
    values: ArrayLike, *, bins: int | None = None, label: str | None = None, axes: Axes | None = None
) -> Figure:
    """Draw singular values in descending order, or their histogram; call it again with the same axes to compare layers.

    Parameters
    ----------
    values : array_like
        Singular values in any order, such as those of `convmatrix.spectral.singular_values`.
    bins : int, optional
        Draw a histogram of this many intervals, from 0 to the largest value, instead of the ordered values.
    label : str, optional
    axes : matplotlib Axes, optional

    Raises
    ------
    ValueError
        If there are no values, or any is negative or not finite.
    TypeError
        If the values are complex.

    Examples
    --------
    >>> figure = plot_spectrum([3.0, 1.0, 2.0], label="a layer")
    >>> figure.axes[0].lines[0].get_ydata().tolist()
    [3.0, 2.0, 1.0]
    >>> [float(bar.get_height()) for bar in plot_spectrum([3.0, 1.0, 2.0, 0.5], bins=3).axes[0].patches]
    [1.0, 1.0, 2.0]
    """
    bins = None if bins is None else integer("bins", bins, minimum=1)
    ordered = np.sort(real_values("values", values).ravel())[::-1]
    if not ordered.size:
        raise ValueError("values is empty, but a spectrum has at least 1 value")
    if n_wrong := int(np.count_nonzero(~(np.isfinite(ordered) & (ordered >= 0)))):
        raise ValueError(f"values must be finite and not negative, but {n_wrong} of {ordered.size} are not")
    figure, axes = axes_of(axes, 5, 3.5)
    if bins is not None:
        return _histogram(figure, axes, ordered, bins, label)
    number = len(axes.lines)
    style, colour = _LINE_STYLES[number % len(_LINE_STYLES)], _LINE_COLOURS[number % len(_LINE_COLOURS)]
    marker = "o" if ordered.size == 1 else None  # a line through one point would be invisible
    axes.plot(np.arange(1, ordered.size + 1), ordered, style, marker=marker, color=colour, label=label)
    locator: Any = axes.xaxis.get_major_locator()
    locator.set_params(integer=True)
    axes.set_xlabel("index")
    axes.set_ylabel("singular value")
    axes.autoscale(axis="y")  # a limit set by an earlier call would cut off larger values
    axes.set_ylim(bottom=0)
    if label is not None:
        axes.legend(frameon=False)
    return figure


def _histogram(figure: Figure, axes: Axes, values: Any, bins: int, label: str | None) -> Figure:
    """Draw the number of values in intervals of equal width; a second histogram is drawn over the first one."""
    colour = _LINE_COLOURS[len(axes.containers) % len(_LINE_COLOURS)]
    counts, edges = np.histogram(values, bins, range=(0.0, float(values[0]) or 1.0))
    widths = np.diff(edges)
    axes.bar(edges[:-1], counts, widths, align="edge", color=colour, alpha=0.6, edgecolor=colour, label=label)
    axes.set_xlabel("singular value")
    axes.set_ylabel("number of singular values")
    if label is not None:
        axes.legend(frameon=False)
    return figure
