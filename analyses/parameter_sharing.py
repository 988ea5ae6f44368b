"""Parameter sharing, from locally connected layers through tiled ones to convolution: the same edges, fewer weights.

Source: Goodfellow, Bengio, Courville, Deep Learning (MIT Press, 2016), Figs. 9.5 and 9.16, section 9.5 with eqs. 9.8 to
9.13. Every number is read off the index pattern of a layer: edges are its triplets, parameters the distinct weights
among them. The equations of strided, unshared and tiled convolution and of the two gradients are written out as the
sums that the book prints, over integers, and compared with the products of the patterns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import convmatrix as cm
from analyses import Claim, Context, check_equal, published_equal
from analyses._figures import new_figure
from convmatrix.plotting import plot_connections

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOOK = "Goodfellow et al. 2016"
KINDS: dict[str, Literal["shared", "unshared"] | int] = {
    "locally connected": "unshared",
    "tiled, t = 2": 2,
    "convolution": "shared",
}


def run(context: Context) -> list[Claim]:
    """Make the three layers of the figure, the two of Fig. 9.5, and tiles of every size between."""
    layers = {name: _units(sharing).pattern() for name, sharing in KINDS.items()}
    context.save_figure(_figure(layers))
    claims = [
        published_equal(
            f"edges-{name}", f"Fig. 9.16, edges: {name}", layer.n_entries, published=9, source=f"{BOOK}, Fig. 9.16"
        )
        for name, layer in layers.items()
    ]
    for (name, layer), published in zip(layers.items(), (9, 4, 2), strict=True):
        found, source = len(np.unique(layer.weight_index)), f"{BOOK}, Fig. 9.16"
        statement = f"Fig. 9.16, parameters: {name}"
        claims.append(published_equal(f"parameters-{name}", statement, found, published=published, source=source))

    width = 5
    convolution = cm.ConvGeometry(width, 3, padding="same").pattern()
    dense = cm.ConvGeometry(1, 1, in_channels=width, out_channels=width).pattern()
    centre = convolution.tap((0, 0, 1)).nnz
    claims += [
        published_equal(
            "uses-convolution", "Fig. 9.5, uses of the centre weight", centre, published=5, source=f"{BOOK}, Fig. 9.5"
        ),
        published_equal(
            "uses-dense",
            "Fig. 9.5, most uses of a weight: dense layer",
            np.bincount(dense.weight_index).max(),
            published=1,
            source=f"{BOOK}, Fig. 9.5",
        ),
    ]
    outputs = 12
    tiles = [cm.ConvGeometry(outputs + 1, 2, sharing=t).pattern() for t in range(1, outputs + 1)]
    unshared = cm.ConvGeometry(outputs + 1, 2, sharing="unshared").pattern()
    claims += [
        check_equal(
            "tile-edges",
            f"edges of {outputs} units for every tile t = 1 .. {outputs}",
            {pattern.n_entries for pattern in tiles},
            expected=[2 * outputs],
            reason="sharing changes no connection",
        ),
        check_equal(
            "tile-parameters",
            "parameters for t = 1, 2, ...",
            [len(np.unique(pattern.weight_index)) for pattern in tiles],
            expected=[2 * t for t in range(1, outputs + 1)],
            reason="a kernel of width 2 for each place in the tile",
        ),
        check_equal(
            "tile-1",
            "triplets in which tile t = 1 differs from the convolution",
            np.count_nonzero(tiles[0].weight_index != cm.ConvGeometry(outputs + 1, 2).pattern().weight_index),
            expected=0,
            reason="t = 1 is a convolution (section 9.5)",
        ),
        check_equal(
            "tile-largest",
            "triplets in which the largest tile differs from the locally connected layer",
            np.count_nonzero(tiles[-1].weight_index != unshared.weight_index),
            expected=0,
            reason="t equal to the output width is a locally connected layer (section 9.5)",
        ),
    ]
    return claims + _widths() + _equations()


def _widths() -> list[Claim]:
    """Compare the output widths of the three kinds of padding with the book's, for every size up to 20."""
    widths: dict[str, Callable[[int, int], int]] = {
        "valid": lambda m, k: m - k + 1,
        "same": lambda m, k: m,
        "full": lambda m, k: m + k - 1,
    }
    return [
        published_equal(
            f"widths-{padding}",
            f"{padding} convolution: widths up to 20 whose output width is not that of the book",
            sum(
                cm.ConvGeometry(m, k, padding=padding).output_shape != (width(m, k),)
                for m in range(1, 21)
                for k in range(1, m + 1)
            ),
            published=0,
            source=f"{BOOK}, section 9.5: valid m - k + 1, same m, full m + k - 1",
        )
        for padding, width in widths.items()
    ]


def _equations() -> list[Claim]:
    """Write the sums of eqs. 9.8 to 9.13 out, with indices from 0, and count the entries where a product differs."""
    rng = np.random.default_rng(0)
    stride, tile = 2, 2
    channels: dict[str, Any] = {"in_channels": 2, "out_channels": 3}
    V = rng.integers(-9, 10, (2, 7, 6))
    layers = {
        "9.8, strided": cm.ConvGeometry((7, 6), (3, 2), stride=stride, **channels),
        "9.9, unshared": cm.ConvGeometry((7, 6), (3, 2), sharing="unshared", **channels),
        "9.10, tiled": cm.ConvGeometry((7, 6), (3, 2), sharing=tile, **channels),
    }
    differences: dict[str, int] = {}
    for name, layer in layers.items():
        pattern = layer.pattern()
        K = rng.integers(-9, 10, layer.weight_shape)
        Z = np.zeros((3, *layer.output_shape), dtype=np.int64)
        G = rng.integers(-9, 10, Z.shape)
        gradient_of_K, gradient_of_V = np.zeros_like(K), np.zeros_like(V)
        for i, j, k in np.ndindex(Z.shape):
            step = layer.stride[0]
            for channel, m, n in np.ndindex(2, 3, 2):
                place: tuple[int, ...] = {
                    "9.8, strided": (),
                    "9.9, unshared": (j, k),
                    "9.10, tiled": (j % tile, k % tile),
                }[name]
                weight = (*place, i, channel, m, n)
                read = (channel, j * step + m, k * step + n)
                Z[i, j, k] += V[read] * K[weight]
                gradient_of_K[weight] += G[i, j, k] * V[read]
                gradient_of_V[read] += G[i, j, k] * K[weight]
        matrix = pattern.matrix(K)
        differences[f"eq. {name}"] = int(np.count_nonzero(matrix @ V.ravel() != Z.ravel()))
        if name.startswith("9.8"):
            found = pattern.weight_gradient(V, G)
            differences["eq. 9.11, gradient of the weights"] = int(np.count_nonzero(found != gradient_of_K))
            found = matrix.T @ G.ravel()
            differences["eq. 9.13, gradient of the input"] = int(np.count_nonzero(found != gradient_of_V.ravel()))
    return [
        published_equal(
            f"product-{name}",
            f"{name}: entries where the product differs",
            count,
            published=0,
            source=f"{BOOK}, section 9.5",
        )
        for name, count in differences.items()
    ]


def _units(sharing: Literal["shared", "unshared"] | int) -> cm.ConvGeometry:
    """Return the layer of Fig. 9.16: five units of width 2, the first at the border."""
    return cm.ConvGeometry(5, 2, padding=[(1, 0)], sharing=sharing)


def _figure(layers: dict[str, cm.WeightPattern]) -> Figure:
    """Draw the three layers one above the other; edges of one colour share a weight."""
    figure = new_figure(5, 7)
    for axes, (name, layer) in zip(figure.subplots(3, 1), layers.items(), strict=True):
        plot_connections(layer, ax=axes)
        axes.set_title(f"{name}: {layer.n_entries} edges, {len(np.unique(layer.weight_index))} parameters")
    return figure
