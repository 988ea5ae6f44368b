"""Figures that need no display: new ones, their colours and axes, and saving them."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from convmatrix.atomic import atomic_write
from convmatrix.display.palette import DISTINCT, Rgb, hex_code, is_light
from convmatrix.display.palette import palette as default_palette

if TYPE_CHECKING:
    import os

    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

Palette = str | Sequence[Any]

COLOURS: Final = tuple(map(hex_code, DISTINCT))
"""Twelve colours that are distinct in the common forms of colour blindness; the first eight are of Okabe and Ito."""

PAGE_WIDTH: Final = 7.0
"""Width of the widest new figure in inches."""

_EDITABLE: Final[dict[Any, Any]] = {"pdf.fonttype": 42}  # many journals refuse matplotlib's default, Type 3
_UNDATED: Final[dict[str, dict[str, None]]] = {"pdf": {"CreationDate": None}, "png": {}, "svg": {"Date": None}}


def weight_colours(n_weights: int, palette: Palette | None = None) -> NDArray[np.float64]:
    """Return one colour per weight, (n_weights, 4), as red, green, blue and opacity in [0, 1].

    Parameters
    ----------
    n_weights : int
    palette : str or sequence of colours, optional
        Name of a colormap of matplotlib, which is sampled evenly (a list of separate colours such as ``"tab10"`` is
        taken from its beginning), or at least ``n_weights`` colours in any form that matplotlib accepts. By default
        the colours of the package.

    Raises
    ------
    ValueError
        If the palette is unknown or has too few colours.

    Examples
    --------
    >>> weight_colours(3).shape
    (3, 4)
    >>> weight_colours(2, ["black", "#FF0000"]).tolist()
    [[0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]]
    """
    if palette is None:
        rgb = np.array(default_palette(n_weights)).reshape(-1, 3) / 255
        return np.column_stack([rgb, np.ones(len(rgb))])
    if isinstance(palette, str):
        scale: Any = colour_scale(palette)
        if scale.N >= _CONTINUOUS:
            return np.asarray(scale(np.linspace(0, 1, n_weights))).reshape(-1, 4)
        colours = np.asarray(scale(np.arange(scale.N)))
    else:
        colours = _rgba(palette)
    if len(colours) < n_weights:
        name = repr(palette) if isinstance(palette, str) else "palette"
        raise ValueError(f"{name} has {len(colours)} colours, but there are {n_weights} weights; pass a longer palette")
    return colours[:n_weights]


_CONTINUOUS: Final = 64  # a colormap of matplotlib with fewer colours is a list of separate ones


def colour_scale(palette: Palette) -> Colormap:
    """Return a colormap of matplotlib by its name, or one that is interpolated between at least two colours."""
    import matplotlib as mpl
    from matplotlib.colors import LinearSegmentedColormap

    if not isinstance(palette, str):
        colours = [tuple(colour) for colour in _rgba(palette).tolist()]
        if len(colours) < 2:
            raise ValueError(f"palette has {len(colours)} colours, but a scale needs at least 2")
        return LinearSegmentedColormap.from_list("palette", colours)
    if palette not in mpl.colormaps:
        raise ValueError(
            f"palette {palette!r} is not a colormap of matplotlib; pass a name such as 'viridis' or a list of colours"
        )
    return mpl.colormaps[palette]


def _rgba(colours: Sequence[Any]) -> NDArray[np.float64]:
    from matplotlib.colors import to_rgba

    try:
        return np.array([to_rgba(colour) for colour in colours]).reshape(-1, 4)
    except (TypeError, ValueError) as error:
        raise ValueError(f"palette must be colours as matplotlib writes them: {error}") from None


def ink_on(colour: Sequence[float]) -> str:
    """Return the colour of text on a background of red, green and blue in [0, 1].

    Examples
    --------
    >>> ink_on((1.0, 1.0, 0.5)), ink_on((0.0, 0.0, 0.4))
    ('black', 'white')
    """
    red, green, blue = (round(255 * channel) for channel in colour[:3])
    rgb: Rgb = (red, green, blue)
    return "black" if is_light(rgb) else "white"


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


def given_axes(ax: Axes | None, axes: Axes | None) -> Axes | None:
    """Return the axes that were passed as ``ax``, or under its former name ``axes``, if any."""
    if ax is not None and axes is not None:
        raise ValueError("ax and axes exclude each other: axes is the former name of ax; pass ax")
    return axes if ax is None else ax


def axes_of(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """Return the figure and axes to draw into: the given axes, or those of a new figure of the given size in inches."""
    if ax is not None:
        _display_in_notebooks()
        return cast("Figure", ax.get_figure(root=True)), ax
    figure = new_figure(width, height)
    return figure, figure.subplots()


def integer_ticks(axis: Any) -> None:
    """Restrict the ticks of an axis to integers."""
    axis.get_major_locator().set_params(integer=True)


def size_of(axes: Axes) -> tuple[float, float]:
    """Return the width and height of axes in inches, before the layout makes room for their labels."""
    box, figure = axes.get_window_extent(), cast("Figure", axes.get_figure(root=True))
    return box.width / figure.dpi, box.height / figure.dpi


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: float = 300) -> None:
    """Write a figure as PDF, SVG or PNG, by the suffix of its name: the whole file, or none if anything fails.

    The same figure gives the same bytes. Text in PDF files is in TrueType fonts.

    Parameters
    ----------
    figure : matplotlib Figure
    path : str or path
        Its suffix is ``.pdf``, ``.svg`` or ``.png``.
    dpi : float
        Pixels per inch of PNG files.

    Raises
    ------
    ValueError
        If the suffix is another one, or ``dpi`` is not positive.
    OSError
        If the file cannot be written; an existing file is unchanged.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import convmatrix as cm
    >>> figure = cm.plotting.plot_matrix(cm.ConvGeometry(5, 3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_figure(figure, f"{folder}/matrix.pdf")
    ...     Path(folder, "matrix.pdf").read_bytes()[:4]
    b'%PDF'
    """
    import matplotlib as mpl

    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in _UNDATED:
        raise ValueError(
            f"path {str(path)!r} ends in {'.' + suffix if suffix else 'no suffix'}, but figures are saved as .pdf, "
            ".svg or .png; change its suffix"
        )
    if not 0 < dpi < np.inf:
        raise ValueError(f"dpi must be positive, but is {dpi}")
    figure.draw_without_rendering()  # the layout settles when drawn; a first file would be of the one before
    drawn = io.BytesIO()
    with mpl.rc_context({**_EDITABLE, "svg.hashsalt": Path(path).stem}):  # identifiers in SVG are random otherwise
        figure.savefig(drawn, format=suffix, dpi=dpi, metadata=_UNDATED[suffix])
    with atomic_write(path) as file:
        file.write(drawn.getvalue())


def real_values(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return values as float64; reject complex ones, whose imaginary parts would not be shown."""
    array = np.asarray(values)
    if np.iscomplexobj(array):
        raise TypeError(f"{name} must be real, but have dtype {array.dtype}; pass {name}.real or abs({name})")
    return array.astype(np.float64)
