"""Draws the picture of the README: the matrix of a 3 x 3 kernel on a 5 x 5 image that is a ring in both directions.

Run it as ``python docs/pictures/circular_matrix.py``; it writes ``circular_matrix.png`` beside itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

import convmatrix as cm
from convmatrix import plotting
from convmatrix.plotting.figures import ink_on

LAYER: Final = cm.ConvGeometry((5, 5), (3, 3), padding="same", boundary="circular")
OUTPUT: Final = 20  # the output whose row is explained: its window crosses the left and the lower edge of the image
INK: Final = "#202020"


def draw() -> Figure:
    """Return the figure: the kernel, the pixels that one output reads, and the matrix with the row of that output."""
    pattern = LAYER.pattern()
    colours = plotting.weight_colours(LAYER.n_weights)
    figure = Figure(figsize=(8.2, 5.9), facecolor="white")
    kernel = figure.add_axes((0.04, 0.645, 0.2, 0.26))
    image = figure.add_axes((0.02, 0.179, 0.24, 0.335))
    matrix = figure.add_axes((0.325, 0.075, 0.66, 0.865))

    _cells(kernel, np.arange(9).reshape(3, 3), colours, "$w_{%d}$")
    kernel.set_title("3 x 3 kernel:\n9 weights", fontsize=11)
    read = np.full(LAYER.input_shape, -1)
    entries = pattern.rows == OUTPUT
    read.flat[pattern.cols[entries]] = pattern.weight_index[entries]
    _cells(image, read, colours, "%d")
    image.set_title(f"5 x 5 image, a ring:\noutput {OUTPUT} reads 9 pixels", fontsize=11)
    image.add_patch(Rectangle((-0.5, 3.5), 1, 1, fill=False, edgecolor=INK, linewidth=2.5, zorder=4, clip_on=False))

    plotting.plot_matrix(LAYER, ax=matrix, annotate=True)
    matrix.set_title("the layer is this 25 x 25 matrix: 225 entries, 9 weights", fontsize=11)
    matrix.set_xlabel("input pixel")
    matrix.set_ylabel("output pixel", labelpad=1)
    row = Rectangle((-0.5, OUTPUT - 0.5), LAYER.n_in, 1, fill=False, edgecolor=INK, linewidth=2.5, zorder=4)
    row.set_clip_on(False)
    matrix.add_patch(row)
    link = ConnectionPatch(
        (4.5, 4), (-0.5, OUTPUT), "data", "data", axesA=image, axesB=matrix, arrowstyle="->", color=INK, linewidth=1.6,
        shrinkA=4, shrinkB=22, mutation_scale=16,
    )  # fmt: skip
    figure.add_artist(link)
    return figure


def _cells(axes: Any, weights: Any, colours: Any, label: str) -> None:
    """Draw a grid of cells in the colours of their weights; -1 stands for none."""
    for (y, x), weight in np.ndenumerate(weights):
        face = colours[weight] if weight >= 0 else "#F1F1F1"
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=face, edgecolor="white", linewidth=1.5))
        if weight >= 0:
            axes.text(x, y, label % weight, ha="center", va="center", fontsize=13, color=ink_on(face))
    axes.set(xlim=(-0.6, weights.shape[1] - 0.4), ylim=(weights.shape[0] - 0.4, -0.6), aspect="equal")
    axes.set_axis_off()


if __name__ == "__main__":
    plotting.save_figure(draw(), Path(__file__).with_suffix(".png"), dpi=160)
