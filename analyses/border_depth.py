"""How far the border's damage to equivariance spreads with depth.

Source: theorem zero-padding-border of this package for one layer, continued to stacks of layers, whose product is
worked out exactly modulo a prime with random weights: rows that differ there differ for almost every weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import convmatrix as cm
from analyses import Claim, Context, check_equal
from analyses._figures import COLOURS, new_figure

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
    """Return which rows of the product of so many layers a shift by one changes."""
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
    figure = new_figure(6.4, 4)
    axes = figure.subplots()
    for colour, ((boundary, kernel), counts) in zip(COLOURS, spread.items(), strict=False):
        style = "o-" if kernel == 3 else "s--"
        width = 6 if boundary == "zero" or (boundary, kernel) == ("circular", 3) else 2  # other curves lie on these
        label = f"{boundary}, kernel {kernel}"
        axes.plot(DEPTHS, counts, style, color=colour, label=label, linewidth=width, markersize=width + 2)
    axes.axhline(SIZE, color="0.6", linewidth=0.8)
    axes.set(xlabel="layers", ylabel=f"rows of {SIZE} that break the shift by one")
    axes.legend()
    return figure
