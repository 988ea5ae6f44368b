"""Edge detection by the difference of neighbouring pixels: what sparsity and sharing save.

Source: Goodfellow, Bengio, Courville, Deep Learning (MIT Press, 2016), Fig. 9.6. The picture is 320 pixels wide and 280
high; each output is the difference of two neighbours, out[y, x] = in[y, x+1] - in[y, x], so the layer has the kernel
[-1, 1], no padding, and an output 319 wide.

The photograph is a crop of "camera" (Lav Varshney, CC0), which comes with scikit-image. Grey values are integers, so
the product with the matrix must equal the direct difference exactly. Operations are counted as the book does: for the
convolution the multiplications and additions of the sums, for the dense matrix two operations per entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from skimage.data import camera

import convmatrix as cm
from analyses import Claim, Context, check_equal, published_equal, published_within
from analyses._figures import PAGE_WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

HEIGHT, WIDTH = 280, 320
CORNER = (60, 100)  # of the crop: the photographer and his camera
KERNEL = np.array([[-1, 1]])

FIGURE = "Goodfellow et al. 2016, Fig. 9.6"


def run(context: Context) -> list[Claim]:
    """Build the matrix, apply it to the photograph, count, compare."""
    top, left = CORNER
    photograph = camera()[top : top + HEIGHT, left : left + WIDTH].astype(np.int64)

    geometry = cm.ConvGeometry(photograph.shape, KERNEL.shape)
    matrix = cm.conv_matrix(KERNEL, geometry)
    edges = (matrix @ photograph.ravel()).reshape(geometry.output_shape)
    direct = photograph[:, 1:] - photograph[:, :-1]
    context.save_figure(_figure(photograph, edges))

    n_outputs, n_inputs = matrix.shape
    dense_entries = n_outputs * n_inputs
    dense_operations = 2 * dense_entries  # a multiplication and an addition an entry
    operations = matrix.nnz + (matrix.nnz - n_outputs)  # a sum of m products takes m - 1 additions
    return [
        check_equal(
            "product",
            "pixels where the sparse product differs from the direct difference",
            np.count_nonzero(edges != direct),
            expected=0,
            reason="both are the same sums of integers",
        ),
        published_equal(
            "output-shape", "output height and width", geometry.output_shape, published=(280, 319), source=FIGURE
        ),
        published_equal("nonzeros", "nonzeros of the sparse matrix", matrix.nnz, published=178_640, source=FIGURE),
        published_equal(
            "convolution-operations", "operations of the convolution", operations, published=267_960, source=FIGURE
        ),
        published_within(
            "dense-entries",
            "entries of the dense matrix",
            dense_entries,
            (8e9, 9e9),
            published="over eight billion",
            source=FIGURE,
            rule="more than eight billion, and eight when cut to whole billions",
        ),
        published_within(
            "dense-operations",
            "operations of the dense product",
            dense_operations,
            (15.5e9, 16.5e9),
            published="16 billion",
            source=FIGURE,
            rule="16 when rounded to whole billions",
        ),
        published_within(
            "entries-ratio",
            "dense entries for each weight of the convolution",
            dense_entries / geometry.n_weights,
            (3.5e9, 4.5e9),
            published="four billion times",
            source=FIGURE,
            rule="four when rounded to whole billions",
        ),
        published_within(
            "operations-ratio",
            "dense operations for each one of the convolution",
            dense_operations / operations,
            (59_500, 60_500),
            published="roughly 60,000 times",
            source=FIGURE,
            rule="60 when rounded to whole thousands",
        ),
        check_equal(
            "operations-ratio-exact",
            "the same ratio to two decimals",
            round(dense_operations / operations, 2),
            expected=59_733.33,
            reason="worked out by hand from the formulas of the book, which prints only the rounded number",
        ),
    ]


def _figure(photograph: NDArray[np.int64], edges: NDArray[np.int64]) -> Figure:
    """Draw the photograph and its edges side by side, each with its scale."""
    figure = new_figure(PAGE_WIDTH, 3.9)
    left, right = figure.subplots(1, 2)
    greys = left.imshow(photograph, cmap="gray", vmin=0, vmax=255)
    left.set_title(f"photograph, {photograph.shape[1]} x {photograph.shape[0]}")
    figure.colorbar(greys, ax=left, location="bottom", label="grey value", pad=0.03)
    limit = 100  # the few differences beyond it would leave the others pale
    differences = right.imshow(edges, cmap="RdBu_r", vmin=-limit, vmax=limit)
    right.set_title(f"difference of neighbours, {edges.shape[1]} x {edges.shape[0]}")
    figure.colorbar(differences, ax=right, location="bottom", label="in[y, x+1] - in[y, x]", extend="both", pad=0.03)
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
    return figure
