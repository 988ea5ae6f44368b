"""Creation of figures that need no display, and the colours of weights in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import numpy as np

from convmatrix.display.palette import DISTINCT, hex_code, palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

COLOURS: Final = tuple(map(hex_code, DISTINCT))
"""The eight colours of Okabe and Ito, Color Universal Design (2008)."""

PAGE_WIDTH: Final = 7.0
"""Width of the widest new figure in inches."""


def weight_colours(n_weights: int) -> NDArray[np.float64]:
    """Return one colour per weight, (n_weights, 4), as red, green, blue and opacity in [0, 1].

    Examples
    --------
    >>> weight_colours(3).shape
    (3, 4)
    """
    rgb = np.array(palette(n_weights)).reshape(-1, 3) / 255
    return np.column_stack([rgb, np.ones(len(rgb))])


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of the given size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def axes_of(axes: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """Return the figure and axes to draw into: the given axes, or those of a new figure of the given size in inches."""
    if axes is not None:
        return cast("Figure", axes.get_figure(root=True)), axes
    figure = new_figure(width, height)
    return figure, figure.subplots()


def real_values(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return values as float64; reject complex ones, whose imaginary parts would not be shown."""
    array = np.asarray(values)
    if np.iscomplexobj(array):
        raise TypeError(f"{name} must be real, but have dtype {array.dtype}; pass {name}.real or abs({name})")
    return array.astype(np.float64)
