"""Singular values as a curve."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.plotting.style import COLOURS, axes_of, real_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

_STYLES = ("-", "--", "-.", ":")
_ORDER = (4, 5, 2, 7, 6, 0, 1)  # of the colours: dark ones first, and no yellow, which is pale as a line


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
    TypeError
        If the values are complex.

    Examples
    --------
    >>> figure = plot_spectrum([3.0, 1.0, 2.0], label="a layer")
    >>> figure.axes[0].lines[0].get_ydata().tolist()
    [3.0, 2.0, 1.0]
    """
    ordered = np.sort(real_values("values", values).ravel())[::-1]
    if not ordered.size or not np.isfinite(ordered).all() or ordered[-1] < 0:
        raise ValueError(
            f"{ordered.size} values were given, but a spectrum has at least one, all finite and none negative"
        )
    figure, axes = axes_of(axes, 5, 3.5)
    number = len(axes.lines)
    style = next(itertools.islice(itertools.cycle(_STYLES), number, None))
    marker = "o" if ordered.size == 1 else None  # a line through one point would not be seen
    colour = COLOURS[_ORDER[number % len(_ORDER)]]
    axes.plot(np.arange(1, ordered.size + 1), ordered, style, marker=marker, color=colour, label=label)
    locator: Any = axes.xaxis.get_major_locator()
    locator.set_params(integer=True)
    axes.set_xlabel("number")
    axes.set_ylabel("singular value")
    axes.autoscale(axis="y")  # a limit set by an earlier call would cut off larger values
    axes.set_ylim(bottom=0)
    if label is not None:
        axes.legend(frameon=False)
    return figure
