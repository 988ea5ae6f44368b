"""Which boundary and stride keep which symmetry, with the number of outputs that break it.

Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.2, for the claim that convolution is equivariant
to translation, and naturally neither to rotation nor to scale; Zhang, Making convolutional networks shift-invariant
again, ICML 2019, for the claim that strided layers are not. Each entry is decided exactly, for every weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import convmatrix as cm
from analyses import Claim, Context, check_equal, published_equal
from analyses._figures import COLOURS, PAGE_WIDTH, new_figure, shades
from convmatrix import equivariance
from convmatrix.display.palette import PROVED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE, KERNEL = 12, 3
STRIDES = (1, 2, 3)
BOOK = "Deep Learning (2016), section 9.2"


def run(context: Context) -> list[Claim]:
    """Decide every combination, and count the outputs that break."""
    table: dict[tuple[str, int], dict[str, int]] = {}
    for boundary in cm.BOUNDARIES:
        for stride in STRIDES:
            table[boundary, stride] = _counts(_layer(boundary, stride))
    context.save_figure(_figure(table))
    ring = {stride: table["circular", stride] for stride in STRIDES}
    padded = [table[boundary, 1]["shift by stride"] for boundary in cm.BOUNDARIES if boundary != "circular"]
    border = 1 + 1 + 1  # rows 0 and 1, and the last one: i <= p and i >= n + p - k + 1 with p = 1, k = 3
    return [
        published_equal(
            "translation",
            "outputs of a circular layer that break a translation",
            ring[1]["shift by stride"],
            published=0,
            source=BOOK,
        ),
        check_equal(
            "stride-shift",
            "outputs of circular layers with stride 2 and 3 that break a shift by the stride",
            [ring[2]["shift by stride"], ring[3]["shift by stride"]],
            expected=[0, 0],
            reason="theorem strided-shift: the multiples of the stride pass",
        ),
        check_equal(
            "smallest-shifts",
            "smallest shift that circular layers with stride 1, 2, 3 commute with",
            [equivariance.surviving_shifts([_layer("circular", stride)])[0] for stride in STRIDES],
            expected=list(STRIDES),
            reason="theorem strided-shift: no others do",
        ),
        check_equal(
            "other-boundaries",
            "outputs that break the shift of one axis by one, for the four boundaries that are no ring",
            padded,
            expected=[border * SIZE] * len(padded),
            reason="theorems zero-padding-border and padding-border: 3 rows of 12 outputs",
        ),
        check_equal(
            "free-kernels",
            "layers with free kernels that commute with a reflection or a quarter turn",
            sum(counts[name] == 0 for counts in table.values() for name in ("reflection", "quarter turn")),
            expected=0,
            reason="theorem reflection-symmetry: the kernel would have to have the symmetry",
        ),
        check_equal(
            "tied-kernels",
            "boundaries with which a layer of stride 1 and kernels tied by D4 commutes with both",
            sum(
                table[boundary, 1][name] == 0
                for boundary in cm.BOUNDARIES
                for name in ("tied: reflection", "tied: quarter turn")
            ),
            expected=2 * len(cm.BOUNDARIES),
            reason="theorem reflection-symmetry: every boundary is symmetric",
        ),
    ]


def _layer(boundary: str, stride: int) -> cm.ConvGeometry:
    return cm.ConvGeometry((SIZE, SIZE), (KERNEL, KERNEL), stride=stride, padding=KERNEL // 2, boundary=boundary)


def _counts(layer: cm.ConvGeometry) -> dict[str, int]:
    """Return for each symmetry the number of outputs that break it."""
    tied = equivariance.tied_pattern(layer, "D4")
    verdicts = {
        "shift by stride": equivariance.check_shift(layer, (layer.stride[0], 0)),
        "reflection": equivariance.check_reflection(layer, 0),
        "quarter turn": equivariance.check_quarter_turn(layer),
        "tied: reflection": equivariance.check_reflection(layer, 0, pattern=tied),
        "tied: quarter turn": equivariance.check_quarter_turn(layer, pattern=tied),
    }
    return {name: verdict.n_broken for name, verdict in verdicts.items()}


def _figure(table: dict[tuple[str, int], dict[str, int]]) -> Figure:
    """Draw the table: share of outputs that break, with their number."""
    rows, columns = list(table), list(next(iter(table.values())))
    totals = np.array([[_outputs(stride)] for _, stride in rows])
    counts = np.array([[table[row][column] for column in columns] for row in rows])
    figure = new_figure(PAGE_WIDTH, 5.2)
    axes = figure.subplots()
    axes.imshow(counts / totals, cmap=shades(COLOURS[5]), vmin=0, vmax=1.25, aspect="auto")
    for (y, x), count in np.ndenumerate(counts):
        text = "proved" if count == 0 else f"{count} of {totals[y, 0]}"
        look: dict[str, Any] = {"color": PROVED, "weight": "bold"} if count == 0 else {"color": "black"}
        axes.text(x, y, text, ha="center", va="center", **look)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), [f"{boundary}, stride {stride}" for boundary, stride in rows])
    axes.set_title(f"Outputs that break a symmetry: {SIZE}x{SIZE}, kernel {KERNEL}x{KERNEL}, padding {KERNEL // 2}")
    return figure


def _outputs(stride: int) -> int:
    return int(np.prod(_layer("zero", stride).output_shape))
