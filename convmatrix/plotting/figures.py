"""Creation of figures that need no display, and the colours of weights in them."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

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

    _display_in_notebooks()
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _display_in_notebooks() -> None:
    """Let IPython display figures as images, as it does once pyplot is in use; its own settings are kept."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        return
    from matplotlib.figure import Figure

    if not any(Figure in formatter for formatter in shell.display_formatter.formatters.values()):
        tools: Any = import_module("IPython.core.pylabtools")
        tools.select_figure_formats(shell, {"retina"})


def axes_of(axes: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """Return the figure and axes to draw into: the given axes, or those of a new figure of the given size in inches."""
    if axes is not None:
        _display_in_notebooks()
        return cast("Figure", axes.get_figure(root=True)), axes
    figure = new_figure(width, height)
    return figure, figure.subplots()


def real_values(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return values as float64; reject complex ones, whose imaginary parts would not be shown."""
    array = np.asarray(values)
    if np.iscomplexobj(array):
        raise TypeError(f"{name} must be real, but have dtype {array.dtype}; pass {name}.real or abs({name})")
    return array.astype(np.float64)
