"""What the pictures have in common: colours that everybody can tell apart, and figures that need no display."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000")
"""Okabe and Ito (2008), Color universal design: distinct in the common forms of colour blindness."""

PAGE_WIDTH = 7.0
"""Inches; the widest new figure."""


def weight_colours(n_weights: int) -> NDArray[np.float64]:
    """Return a colour for each weight, (n_weights, 4), as red, green, blue and opacity in [0, 1].

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


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def axes_of(axes: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """Return the figure and the axes to draw into: those given, or new ones of a size in inches."""
    if axes is not None:
        return cast("Figure", axes.get_figure(root=True)), axes
    figure = new_figure(width, height)
    return figure, figure.subplots()


def real_values(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return values as float64; complex ones are refused, for a picture would show only their real parts."""
    array = np.asarray(values)
    if np.iscomplexobj(array):
        raise TypeError(f"{name} are {array.dtype}, but pictures are drawn of real numbers; give {name}.real or abs()")
    return array.astype(np.float64)
