"""Colours, sizes and letters of the figures of the analyses; colours are those of `convmatrix.plotting`.

Figures with several panels are as wide as a page, those with one panel 4.5 inches, so that their letters are at least
6 points high where they are printed in a column of 3.3 inches.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from convmatrix.display.palette import RAMP, hex_code
from convmatrix.plotting.figures import COLOURS, PAGE_WIDTH, colour_scale, new_figure

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.colors import Colormap

__all__ = ["COLOURS", "PAGE_WIDTH", "PANEL_WIDTH", "draw_grid", "figure_style", "new_figure", "plain_logarithms"]
__all__ += ["ramp", "shades", "without_frame"]

PANEL_WIDTH: Final = 4.5
"""Width of a figure with one panel in inches; new figures with several are as wide as a page."""

_STYLE: Final[dict[Any, Any]] = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "figure.titlesize": 9.5,
    "figure.labelsize": 8.5,
    "lines.markersize": 5,
    "lines.linewidth": 1.4,
}


def figure_style() -> AbstractContextManager[Any]:
    """Return a context in which figures have the letters and lines of all analyses."""
    try:
        from matplotlib import rc_context
    except ImportError:  # analyses that draw say themselves that it is missing
        return nullcontext()
    style: AbstractContextManager[Any] = rc_context(_STYLE)
    return style


def plain_logarithms(axis: Axis) -> None:
    """Label 1, 2 and 5 of each decade of a logarithmic axis as plain numbers, in place of powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def draw_grid(figure: Any, pictures: Any, columns: int, cmap: str) -> None:
    """Draw pictures in rows, each with zero in the middle of the colormap and its largest modulus at an end."""
    grid = figure.subplots(-(-len(pictures) // columns), columns, squeeze=False).ravel().tolist()
    for axes in grid:
        axes.set_axis_off()
    for axes, picture in zip(grid, pictures, strict=False):
        limit = abs(picture).max()
        axes.imshow(picture, cmap=cmap, vmin=-limit, vmax=limit, interpolation="nearest")


def without_frame(axes: Any) -> None:
    """Remove ticks and frame of a picture, but not its labels."""
    axes.set(xticks=[], yticks=[])
    axes.set_frame_on(False)


def ramp() -> Colormap:
    """Return the colormap of many weights, from dark to light."""
    return colour_scale(list(map(hex_code, RAMP)))


def shades(colour: str) -> Colormap:
    """Return a colormap from white to a colour."""
    return colour_scale(["white", colour])
