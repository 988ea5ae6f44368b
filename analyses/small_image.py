"""The matrix of a 2x2 filter on a 3x3 image: sparse connections and shared parameters at a glance.

Source: the blog post on sparsity of connections and parameter sharing, whose example this is: no padding, so 4 outputs
from 9 pixels. A dense layer of that size has 36 connections, each with a weight of its own; the filter has 16
connections and 4 weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Rectangle

import convmatrix as cm
from analyses import Claim, Context, check_equal, published_equal
from analyses._figures import COLOURS, PAGE_WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOURCE = "blog post on sparsity of connections and parameter sharing"


def run(context: Context) -> list[Claim]:
    """Build the pattern of the layer and read connections, weights and supports off it."""
    geometry = cm.ConvGeometry((3, 3), (2, 2))
    pattern = geometry.pattern()
    kernel = np.arange(1, 1 + geometry.n_weights).reshape(geometry.kernel_shape)
    matrix = cm.conv_matrix(kernel, geometry)
    context.save_figure(_figure(geometry, pattern))

    n_outputs, n_inputs = matrix.shape
    supports = [matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]] for row in range(n_outputs)]
    image = np.arange(n_inputs).reshape(geometry.input_shape)
    windows = np.lib.stride_tricks.sliding_window_view(image, geometry.kernel_shape)
    direct = np.tensordot(windows, kernel, axes=2)
    return [
        published_equal("shape", "rows and columns of the matrix", matrix.shape, published=(4, 9), source=SOURCE),
        published_equal(
            "entries", "entries: weights of a dense layer", n_outputs * n_inputs, published=36, source=SOURCE
        ),
        published_equal("nonzeros", "nonzero entries", matrix.nnz, published=16, source=SOURCE),
        published_equal(
            "weights", "distinct weights", len(np.unique(pattern.weight_index)), published=4, source=SOURCE
        ),
        published_equal(
            "supports",
            "pixels that each output reads",
            supports,
            published=[[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]],
            source=SOURCE,
        ),
        check_equal(
            "product",
            "outputs where the product differs from the sums over windows",
            np.count_nonzero(matrix @ image.ravel() != direct.ravel()),
            expected=0,
            reason="both are the same sums of integers",
        ),
    ]


def _figure(geometry: cm.ConvGeometry, pattern: cm.WeightPattern) -> Figure:
    """Draw filter, image and matrix; a weight has the same name and colour wherever it stands."""
    height, width = geometry.kernel_shape
    names = [f"$w_{{{y}{x}}}$" for y in range(height) for x in range(width)]
    figure = new_figure(PAGE_WIDTH, 2.3)
    columns = (width, geometry.input_shape[1], geometry.n_in)
    left, middle, right = figure.subplots(1, 3, width_ratios=columns, gridspec_kw={"wspace": 0.08})

    left.set_title("filter")
    _grid(left, geometry.kernel_shape)
    for weight, name in enumerate(names):
        _cell(left, *divmod(weight, width), name, COLOURS[weight])

    middle.set_title("image: pixel numbers")
    _grid(middle, geometry.input_shape)
    for pixel in range(geometry.n_in):
        _cell(middle, *divmod(pixel, geometry.input_shape[1]), f"{pixel}", "white")

    right.set_title(f"matrix: {pattern.n_entries} of {geometry.n_out * geometry.n_in} entries, {len(names)} weights")
    _grid(right, (geometry.n_out, geometry.n_in))
    for row, column, weight in zip(pattern.rows, pattern.cols, pattern.weight_index, strict=True):
        _cell(right, row, column, names[weight], COLOURS[weight])
    right.set_xticks(np.arange(geometry.n_in) + 0.5, [str(pixel) for pixel in range(geometry.n_in)])
    right.set_yticks(np.arange(geometry.n_out) + 0.5, [str(output) for output in range(geometry.n_out)])
    right.set_xlabel("pixel")
    right.set_ylabel("output")
    return figure


def _grid(axes: Axes, shape: tuple[int, ...]) -> None:
    """Prepare axes for a grid of square cells with its first row at the top."""
    rows, columns = shape
    axes.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", xticks=[], yticks=[])
    axes.vlines(range(columns + 1), 0, rows, colors="0.6", linewidth=0.8, clip_on=False)
    axes.hlines(range(rows + 1), 0, columns, colors="0.6", linewidth=0.8, clip_on=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _cell(axes: Axes, row: int, column: int, text: str, colour: str) -> None:
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="0.3", linewidth=0.8))
    axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=9.5)
