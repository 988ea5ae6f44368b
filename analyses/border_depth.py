"""How far the border's damage to equivariance spreads with depth.

Source: theorem zero-padding-border of this package for one layer, continued to stacks of layers, whose product is
worked out exactly modulo a prime with random weights: rows that differ there differ for almost every weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import convmatrix as cm
from analyses import Claim, Context, check_equal
from analyses._figures import COLOURS, PANEL_WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

PRIME = 2**31 - 1
SIZE = 48
DEPTHS = range(1, 13)


def run(context: Context) -> list[Claim]:
    """Stack layers, shift input and output by one, and count the rows that change."""
    spread = {
        (boundary, kernel): [int(broken.sum()) for broken in _broken_by_depth(boundary, kernel)]
        for boundary in ("zero", "reflect", "circular")
        for kernel in (3, 5)
    }
    context.save_figure(_figure(spread))
    return [
        check_equal(
            f"{boundary}-k{kernel}",
            f"rows that break after 1 to {len(DEPTHS)} layers, {boundary} boundary, kernel {kernel}",
            counts,
            expected=[0 if boundary == "circular" else min(depth * (kernel - 1) + 1, SIZE) for depth in DEPTHS],
            reason="every layer carries the damage (k - 1) / 2 rows inward from either end; the shift adds one row",
        )
        for (boundary, kernel), counts in spread.items()
    ]


def _broken_by_depth(boundary: str, kernel: int) -> list[NDArray[np.bool_]]:
    """Return, for each depth, which rows of the product of the layers change under a shift by one."""
    rng = np.random.default_rng(0)
    layer = cm.ConvGeometry(SIZE, kernel, padding="same", boundary=boundary)
    product: NDArray[Any] = np.eye(SIZE, dtype=np.int64)
    found = []
    for _ in DEPTHS:
        matrix = layer.pattern().matrix(rng.integers(1, PRIME, kernel)).toarray() % PRIME
        product = _modular_product(matrix, product)
        found.append((product != np.roll(product, (1, 1), axis=(0, 1))).any(axis=1))
    return found


def _modular_product(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Return a product modulo the prime: each term is below 2**62, and is reduced before it is added."""
    total = np.zeros((left.shape[0], right.shape[1]), dtype=np.int64)
    for inner in range(left.shape[1]):
        total = (total + left[:, inner : inner + 1] * right[inner] % PRIME) % PRIME
    return total


def _figure(spread: dict[tuple[str, int], list[int]]) -> Figure:
    figure = new_figure(PANEL_WIDTH, 3.2)
    axes = figure.subplots()
    # Curves coincide: a dot in a ring shows both, and two boundaries that differ would come apart.
    marks = {"zero": ("o", 8, "none"), "reflect": ("o", 3.5, "full"), "circular": ("D", 3.5, "full")}
    for (boundary, kernel), counts in spread.items():
        marker, size, fill = ("D", 7, "none") if (boundary, kernel) == ("circular", 3) else marks[boundary]
        axes.plot(
            DEPTHS,
            counts,
            marker + ("-" if kernel == 3 else "--"),
            color=COLOURS[4] if kernel == 3 else COLOURS[5],
            fillstyle=fill,
            markersize=size,
            linewidth=0 if boundary == "reflect" else 1.2,
            label=f"{boundary}, kernel {kernel}",
        )
    axes.axhline(SIZE, color="0.5", linewidth=0.8)
    axes.annotate(f"all {SIZE} rows", (DEPTHS[0], SIZE), xytext=(0, 3), textcoords="offset points", color="0.3")
    axes.set(xlabel="number of layers", ylabel=f"rows of {SIZE} that break the shift by one", ylim=(-2, SIZE + 5))
    axes.set_xticks([*DEPTHS][1::2])
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, 0.9))
    return figure
