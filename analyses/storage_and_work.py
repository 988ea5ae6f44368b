"""Storage and work of one layer as the image grows: dense, sparse, diagonal and shared.

Source: Goodfellow, Bengio, Courville, Deep Learning (MIT Press, 2016), section 9.2: a dense layer of m inputs and n
outputs has m n weights, a sparsely connected one with k connections a unit k n, and with shared parameters k. The
growth was not published as numbers; what is shown here is checked against SciPy's own arrays where they fit in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import convmatrix as cm
from analyses import Claim, Context, check_equal, check_within
from analyses._figures import COLOURS, PAGE_WIDTH, new_figure
from convmatrix.counts import layer_counts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convmatrix.counts import LayerCounts

SIZES = [2**power for power in range(3, 13)]
BUILT = 64  # the largest image whose matrix is built


def run(context: Context) -> list[Claim]:
    """Count a 3 x 3 layer on images of growing size, and build the small ones."""
    counts = {n: layer_counts(_layer(n), None) for n in SIZES}
    context.save_figure(_figure(counts))
    wrong = 0
    for n in (size for size in SIZES if size <= BUILT):
        matrix = cm.conv_matrix(np.ones((3, 3)), _layer(n))
        diagonals = matrix.todia()
        found = (
            matrix.nnz,
            matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes,
            diagonals.data.nbytes + diagonals.offsets.nbytes,
            matrix.shape[0] * matrix.shape[1] * matrix.dtype.itemsize,
        )
        stored = counts[n].bytes
        wrong += found != (counts[n].nonzeros, stored.csr, stored.dia, stored.dense)
    large, half = counts[SIZES[-1]], counts[SIZES[-2]]
    return [
        check_equal(
            "scipy",
            f"images up to {BUILT} x {BUILT} whose counts differ from SciPy's arrays",
            wrong,
            expected=0,
            reason="nonzeros and the bytes of CSR, DIA and dense arrays, read off the arrays",
        ),
        check_equal(
            "kernel-bytes",
            "distinct numbers of bytes of the kernel over all sizes",
            len({layer.bytes.kernel for layer in counts.values()}),
            expected=1,
            reason="shared parameters do not grow with the image",
        ),
        check_within(
            "nonzeros-growth",
            "nonzeros when the image doubles",
            large.nonzeros / half.nonzeros,
            (4, 4.01),
            reason="k n: as the pixels, but for the border",
        ),
        check_equal(
            "dense-growth",
            "dense entries when the image doubles",
            large.entries // half.entries,
            expected=16,
            reason="m n: as the square of the pixels",
        ),
        check_within(
            "padding-share-small",
            f"share of multiplications by padding at {SIZES[0]} x {SIZES[0]}",
            1 - counts[SIZES[0]].nonzeros / counts[SIZES[0]].macs,
            (0.1, 0.2),
            reason="1 - (3n - 2)^2 / (3n)^2, about 4 / (3n)",
        ),
        check_within(
            "padding-share-large",
            f"the same share at {SIZES[-1]} x {SIZES[-1]}",
            1 - large.nonzeros / large.macs,
            (0, 0.001),
            reason="padding matters on small images only",
        ),
    ]


def _layer(size: int) -> cm.ConvGeometry:
    return cm.ConvGeometry((size, size), (3, 3), padding="same")


def _figure(counts: dict[int, LayerCounts]) -> Figure:
    figure = new_figure(PAGE_WIDTH, 3.2)
    storage, work = figure.subplots(1, 2)
    series = {
        "dense": [layer.bytes.dense for layer in counts.values()],
        "CSR": [layer.bytes.csr for layer in counts.values()],
        "DIA": [layer.bytes.dia for layer in counts.values()],
        "kernel": [layer.bytes.kernel for layer in counts.values()],
    }
    for (name, values), colour, marker in zip(series.items(), (COLOURS[i] for i in (5, 4, 0, 2)), "osd^", strict=True):
        storage.loglog(list(counts), values, marker=marker, color=colour, label=name, markersize=4)
    storage.set(xlabel="side of the image, pixels", ylabel="bytes", title="storage of a 3 x 3 layer, float64")
    operations = {
        "dense": [layer.entries for layer in counts.values()],
        "convention, padding counted": [layer.macs for layer in counts.values()],
        "nonzeros": [layer.nonzeros for layer in counts.values()],
    }
    # The two lower curves nearly coincide: dots in diamonds show both.
    styles = zip(operations.items(), (COLOURS[i] for i in (5, 7, 4)), "odo", (4, 9, 3.5), strict=True)
    for (name, values), colour, marker, size in styles:
        fill = "none" if marker == "d" else "full"
        work.loglog(list(counts), values, marker=marker, color=colour, label=name, markersize=size, fillstyle=fill)
    work.set(xlabel="side of the image, pixels", ylabel="multiply-adds", title="work of one product")
    for axes in (storage, work):
        axes.legend(frameon=False)
        axes.grid(color="0.9")
    return figure
