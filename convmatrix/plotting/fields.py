"""The receptive field of a unit, drawn on the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.geometry import ConvGeometry
from convmatrix.graph import receptive_field
from convmatrix.plotting.style import COLOURS, axes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_GRID_LINES = 60  # samples of an axis up to which there are lines between them


def plot_receptive_field(
    layers: ConvGeometry | Sequence[ConvGeometry], unit: int | Sequence[int], *, axes: Axes | None = None
) -> Figure:
    """Draw which samples of the image a unit reads, exactly; channels are put together.

    Parameters
    ----------
    layers : ConvGeometry or sequence of ConvGeometry
        From the input on, of one or two axes.
    unit : int or sequence of int
        As for `convmatrix.graph.receptive_field`.
    axes : matplotlib Axes, optional

    Raises
    ------
    ValueError
        If there is no layer, or the layers have more than two axes.

    Examples
    --------
    >>> import convmatrix as cm
    >>> layer = cm.ConvGeometry((9, 9), (3, 3), padding="same", dilation=2)
    >>> plot_receptive_field([layer, layer], (0, 4, 4)).axes[0].get_title()
    'unit (0, 4, 4) reads 25 of 81 samples'
    """
    chain = [layers] if isinstance(layers, ConvGeometry) else list(layers)
    if not chain:
        raise ValueError("there are 0 layers, but a unit reads through at least 1")
    first = chain[0]
    if len(first.input_shape) > 2:
        raise ValueError(f"the image has {len(first.input_shape)} axes, but pictures are drawn of one or two")
    seen = np.zeros(first.n_in, dtype=bool)
    seen[receptive_field(chain, unit)] = True
    image = np.atleast_2d(seen.reshape(first.in_channels, *first.input_shape).any(axis=0))
    height, width = image.shape
    scale = 4.5 / max(width, height)
    figure, axes = axes_of(axes, max(width * scale, 4) + 0.7, max(height * scale, 0.5) + 0.9)
    from matplotlib.colors import ListedColormap

    axes.imshow(image, cmap=ListedColormap(["#E4E4E4", COLOURS[4]]), vmin=0, vmax=1, interpolation="nearest")
    if max(width, height) <= _MOST_GRID_LINES:
        axes.vlines(np.arange(1, width) - 0.5, -0.5, height - 0.5, colors="white", linewidth=0.8)
        axes.hlines(np.arange(1, height) - 0.5, -0.5, width - 0.5, colors="white", linewidth=0.8)
    sides: list[Any] = [axes.xaxis, axes.yaxis]
    for side in sides:
        side.get_major_locator().set_params(integer=True)
    axes.set_title(f"unit {unit} reads {int(image.sum())} of {image.size} samples", fontsize=10)
    axes.set_xlabel("sample" if len(first.input_shape) == 1 else "column")
    if len(first.input_shape) == 1:
        axes.set_yticks([])
    else:
        axes.set_ylabel("row")
    return figure
