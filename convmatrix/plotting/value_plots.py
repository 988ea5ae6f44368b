"""Plots of numbers: filters side by side, and singular values and training histories as curves."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.options import integer
from convmatrix.plotting.figures import (
    COLOURS,
    PAGE_WIDTH,
    Palette,
    axes_of,
    colour_scale,
    given_axes,
    ink_on,
    integer_ticks,
    new_figure,
    real_values,
    size_of,
    weight_colours,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

_LINE_STYLES: Final = ("-", "--", "-.", ":")
_HATCHES: Final = ("", "//", "\\\\", "..")
_FEW: Final = 20  # epochs that are marked one by one
_LINE_COLOURS: Final = tuple(COLOURS[i] for i in (4, 5, 2, 7, 6, 0, 1))  # dark ones first; yellow is too pale


def plot_filters(
    weights: ArrayLike,
    *,
    columns: int | None = None,
    annotate: bool = False,
    palette: Palette = "RdBu_r",
    ax: Axes | None = None,
) -> Figure:
    """Return a figure of filters side by side on a common colour scale that is symmetric about zero.

    Parameters
    ----------
    weights : array_like, shape (..., height, width)
        One filter per combination of leading indices.
    columns : int, optional
        Number of filters per row; by default about equal to the number of rows.
    annotate : bool
        Write each weight into its cell, with two significant digits.
    palette : str or sequence of colours
        Name of a colormap of matplotlib, or colours between which weights are interpolated; zero is in the middle.
    ax : matplotlib Axes, optional
        Where to draw: the filters are placed inside, as axes of their own.

    Raises
    ------
    ValueError
        If there are fewer than two axes, no filters, values that are not finite, or the palette is unknown.
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
    scale = colour_scale(palette)
    if ax is None:
        figure = new_figure(max(side * columns, 1) + 1, max(side * rows * height / width, 1.3) + 0.2)
        grid: list[Any] = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    else:
        figure, ax = axes_of(ax, 0, 0)
        ax.set_axis_off()
        side = size_of(ax)[0] / columns
        places = itertools.product(range(rows - 1, -1, -1), range(columns))
        grid = [ax.inset_axes((j / columns, i / rows, 0.94 / columns, 0.94 / rows)) for i, j in places]
    longest = max(len(f"{value:.2g}") for value in filters.flat) if annotate else 1
    limit = float(np.abs(filters).max()) or 1.0
    picture: Any = None
    for axes, one in itertools.zip_longest(grid, filters):
        if one is None:
            axes.remove()
            continue
        picture = axes.imshow(one, cmap=scale, vmin=-limit, vmax=limit, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        for (y, x), value in np.ndenumerate(one) if annotate else ():
            ink = ink_on(picture.to_rgba(value))
            size = min(9, 72 * 0.9 * side / width / (0.6 * longest))  # a digit is 0.6 times as wide as the font is high
            axes.text(x, y, f"{value:.2g}", ha="center", va="center", fontsize=size, color=ink)
    figure.colorbar(picture, ax=grid[: len(filters)] if ax is None else ax, label="weight", shrink=0.9)
    return figure


def plot_spectrum(
    values: ArrayLike,
    *,
    bins: int | None = None,
    label: str | None = None,
    palette: Palette | None = None,
    ax: Axes | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Return a figure of singular values, in descending order or as a histogram; pass its axes again to compare layers.

    Parameters
    ----------
    values : array_like
        Singular values in any order, such as those of `convmatrix.spectral.singular_values`.
    bins : int, optional
        Draw a histogram of this many intervals, from 0 to the largest value, instead of the ordered values.
    label : str, optional
    palette : str or sequence of colours, optional
        Colours of the first, second and further curves, as for `convmatrix.plotting.weight_colours`; seven are taken.
    ax : matplotlib Axes, optional
        Where to draw; ``axes`` is its former name.

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
    colours = _line_colours(palette)
    figure, axes = axes_of(given_axes(ax, axes), 4.5, 3.2)
    if bins is not None:
        return _histogram(figure, axes, ordered, bins, label, colours)
    number = len(axes.lines)
    style, colour = _LINE_STYLES[number % len(_LINE_STYLES)], colours[number % len(colours)]
    marker = "o" if ordered.size == 1 else None  # a line through one point would be invisible
    axes.plot(np.arange(1, ordered.size + 1), ordered, style, marker=marker, color=colour, label=label)
    integer_ticks(axes.xaxis)
    axes.set_xlabel("index")
    axes.set_ylabel("singular value")
    axes.autoscale(axis="y")  # a limit set by an earlier call would cut off larger values
    axes.set_ylim(bottom=0)
    if label is not None:
        axes.legend(frameon=False)
    return figure


def _histogram(figure: Figure, axes: Axes, values: Any, bins: int, label: str | None, colours: list[str]) -> Figure:
    """Return a figure of the histogram of the values; a second histogram is drawn over the first one."""
    number = len(axes.containers)
    colour, hatch = colours[number % len(colours)], _HATCHES[number % len(_HATCHES)]
    counts, edges = np.histogram(values, bins, range=(0.0, float(values[0]) or 1.0))
    widths = np.diff(edges)
    look: dict[str, Any] = {"color": colour, "alpha": 0.6, "edgecolor": colour, "hatch": hatch}
    axes.bar(edges[:-1], counts, widths, align="edge", label=label, **look)
    axes.set_xlabel("singular value")
    axes.set_ylabel("number of singular values")
    if label is not None:
        axes.legend(frameon=False)
    return figure


def _line_colours(palette: Palette | None) -> list[str]:
    """Return the colours of curves as hexadecimal codes."""
    from matplotlib.colors import to_hex

    if palette is None:
        return list(_LINE_COLOURS)
    number = len(_LINE_COLOURS) if isinstance(palette, str) else len(palette)
    return [to_hex(tuple(colour)) for colour in weight_colours(number, palette)]


def plot_history(
    history: Any, metric: str | None = None, *, palette: Palette | None = None, ax: Axes | None = None
) -> Figure:
    """Return a figure of the losses of a training run, or one of its metrics, by epoch.

    Parameters
    ----------
    history : History
        As returned by `convmatrix.nn.fit`: anything with ``loss``, ``validation_loss`` and ``metrics``.
    metric : str, optional
        Name of a metric to draw instead of the losses.
    palette : str or sequence of colours, optional
        Colours of the curves, as for `convmatrix.plotting.weight_colours`.
    ax : matplotlib Axes, optional
        Where to draw.

    Raises
    ------
    ValueError
        If there are no epochs, or the metric was not recorded.

    Examples
    --------
    >>> from convmatrix.nn import History
    >>> figure = plot_history(History([2.3, 0.9], [2.0, 1.1]))
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['training', 'validation']
    """
    if metric is None:
        curves = {"training": history.loss, "validation": history.validation_loss}
    elif metric in history.metrics:
        curves = {metric: history.metrics[metric]}
    else:
        raise ValueError(f"metric {metric!r} was not recorded; there are {', '.join(history.metrics) or 'none'}")
    curves = {name: values for name, values in curves.items() if len(values)}
    if not curves:
        raise ValueError("history has 0 epochs, but a curve needs at least 1; train first")
    colours = _line_colours(palette)
    figure, ax = axes_of(ax, 4.5, 3.2)
    for (name, values), colour, style in zip(curves.items(), itertools.cycle(colours), itertools.cycle(_LINE_STYLES)):
        epochs = np.arange(1, len(values) + 1)
        ax.plot(epochs, values, style, marker="o" if len(values) < _FEW else None, ms=4, color=colour, label=name)
    integer_ticks(ax.xaxis)
    ax.set(xlabel="epoch", ylabel="loss" if metric is None else metric)
    if len(curves) > 1:
        ax.legend(frameon=False)
    return figure
