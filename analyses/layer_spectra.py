"""Singular values of circular against zero-padded layers: random ones, a trained network's, the reference filters.

Source: Sedghi, Gupta, Long, The singular values of convolutional layers, ICLR 2019, for the recipe that takes a layer
as circular, and for the two filters of its official tests. Networks pad with zeros. The network here is trained on the
8x8 digits of scikit-learn.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.datasets import load_digits

import convmatrix as cm
from analyses import Claim, Context, check_equal, check_within
from analyses._figures import COLOURS, PAGE_WIDTH, new_figure
from convmatrix import nn, spectral

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from convmatrix.arrays import Array

FILTERS = {
    "[2, 7, -1]": np.array([2.0, 7.0, -1.0]),
    "the 3x3 filter": np.array([[2.0, 7.0, -1.0], [1.0, 3.0, -8.0], [5.0, -3.0, 1.0]]),
}
CIRCULAR: dict[str, Any] = {"padding": "same", "boundary": "circular"}
ZERO: dict[str, Any] = {"padding": "same"}


@cache
def trained_layers(epochs: int) -> dict[str, tuple[Array, tuple[int, ...], float]]:
    """Return the kernels of a network trained on digits, the shapes of their inputs, and the network's accuracy."""
    digits = load_digits()
    images = (digits.images[:, None] / 8 - 1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:1400], order[1400:]
    network = nn.small(rng=1)
    nn.fit(
        network,
        images[train],
        digits.target[train],
        epochs=epochs,
        loss=nn.SoftmaxCrossEntropy(),
        optimiser=nn.Adam(0.003),
        rng=2,
        progress=False,
    )
    accuracy = float(nn.accuracy(nn.predict(network, images[test]), digits.target[test]))
    found = {}
    for layer in network.layers:
        if isinstance(layer, nn.Conv):
            kernel = np.asarray(layer.parameters["weight"], dtype=np.float64)
            outputs, inputs = kernel.shape[:2]
            shape = (inputs, *layer.geometry.input_shape)
            found[f"trained {inputs} -> {outputs}, {shape[1]}x{shape[2]}"] = (kernel, shape, accuracy)
    return found


def run(context: Context) -> list[Claim]:
    """Compare the spectra."""
    claims = [*_reference_filters(), *_caution()]
    trained = trained_layers(10 if context.quick else 15)
    rng = np.random.default_rng(3)
    layers = {
        "random 4 -> 4, 12x12": (rng.standard_normal((4, 4, 3, 3)), (4, 12, 12)),
        **{name: (kernel, shape) for name, (kernel, shape, _) in trained.items()},
    }
    spectra = {name: (_values(*layer, CIRCULAR), _values(*layer, ZERO)) for name, layer in layers.items()}
    claims.append(
        check_within(
            "accuracy",
            "accuracy of the trained network on digits that it was not trained on",
            min(accuracy for _, _, accuracy in trained.values()),
            (0.9, 1),
            reason="its layers are those of a network that works; guessing gives 0.1",
        )
    )
    for name, (circular, zero) in spectra.items():
        kernel, shape = layers[name]
        claims += [
            check_within(
                f"{name}-ring-ratio",
                f"{name}: zero-padded norm / norm on rings of n + (k - 1) / 2 samples",
                zero[0] / spectral.published.longer_ring(kernel, shape[1:]),
                (0, 1 + 1e-12),
                reason="the padded layer is a part of the longer circular one",
            ),
            check_within(
                f"{name}-squares-ratio",
                f"{name}: sum of squares, zero-padded / circular",
                float((zero**2).sum() / (circular**2).sum()),
                (0, 1 - 1e-12),
                reason="both are Frobenius norms, and the circular matrix has all the entries and more",
            ),
        ]
    sizes = (4, 8, 16) if context.quick else (5, 10, 20)
    kernel = rng.standard_normal((4, 4, 3, 3))
    distances = [_distance(kernel, n) for n in sizes]
    claims += [
        check_within(
            f"szego-{small}-{large}",
            f"mean difference of sorted singular values, {small}x{small} / {large}x{large}",
            distances[place] / distances[place + 1],
            (1.5, 3),
            reason="circular and zero-padded differ in a border of O(n) of n^2 rows, so that twice the size halves it",
        )
        for place, (small, large) in enumerate(pairwise(sizes))
    ]
    context.save_figure(_figure(spectra, sizes, distances))
    return claims


def _values(kernel: Array, shape: tuple[int, ...], options: dict[str, Any]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = spectral.singular_values(kernel, shape, **options)
    return values


def _distance(kernel: Array, n: int) -> float:
    """Return the mean difference of the sorted singular values, relative to the largest one."""
    circular, zero = (_values(kernel, (kernel.shape[1], n, n), options) for options in (CIRCULAR, ZERO))
    return float(np.abs(circular - zero).mean() / circular[0])


def _reference_filters() -> list[Claim]:
    """Compare the filters of the official tests, on 20 samples an axis, with the recipe and with the matrix."""
    claims = []
    for name, kernel in FILTERS.items():
        shape = (20,) * kernel.ndim
        found = spectral.singular_values(kernel, shape, **CIRCULAR)
        recipe = np.sort(np.abs(np.fft.fftn(kernel, shape)), axis=None)[::-1]
        dense = np.linalg.svd(cm.conv_matrix(kernel, shape, **CIRCULAR).toarray(), compute_uv=False)
        claims += [
            check_within(
                f"{name}-{what}",
                f"{name}, n = 20: {what} singular value",
                float(found[place]),
                (float(dense[place] - 1e-12 * dense[0]), float(dense[place] + 1e-12 * dense[0])),
                reason="a dense decomposition of the explicit matrix",
            )
            for what, place in (("largest", 0), ("smallest", -1))
        ]
        claims.append(
            check_within(
                f"{name}-recipe",
                f"{name}, n = 20: largest difference from the published recipe, relative to the norm",
                float(np.abs(found - recipe).max() / found[0]),
                (0, 1e-12),
                reason="rounding of double precision",
            )
        )
    return claims


def _caution() -> list[Claim]:
    """Show by [1, -2, 1] that the circular norm is no bound for the zero-padded layer."""
    circular, zero = (spectral.spectral_norm([1, -2, 1], 3, **options) for options in (CIRCULAR, ZERO))
    return [
        check_within(
            "circular-norm",
            "[1, -2, 1] on 3 samples: norm, circular",
            circular,
            (3 - 1e-12, 3 + 1e-12),
            reason="|2 cos(2 pi / 3) - 2| at the frequency 1/3",
        ),
        check_within(
            "zero-norm",
            "[1, -2, 1] on 3 samples: norm, zero-padded",
            zero,
            (2 + 2**0.5 - 1e-12, 2 + 2**0.5 + 1e-12),
            reason="2 + 2 cos(pi / 4), the largest eigenvalue of the second difference",
        ),
        check_equal(
            "circular-below-zero",
            "[1, -2, 1]: the circular norm is below the zero-padded one",
            bool(circular < zero),
            expected=True,
            reason="so the circular recipe bounds no zero-padded layer",
        ),
    ]


def _figure(spectra: dict[str, tuple[Array, Array]], sizes: tuple[int, ...], distances: list[float]) -> Figure:
    figure = new_figure(PAGE_WIDTH, 4.6)
    grid = figure.subplots(2, 2).ravel()
    for axes, (name, (circular, zero)) in zip(grid, spectra.items(), strict=False):
        axes.plot(np.linspace(0, 1, len(circular)), circular, color=COLOURS[4], label="circular")
        axes.plot(np.linspace(0, 1, len(zero)), zero, "--", color=COLOURS[5], label="zero-padded")
        axes.set(title=name, xlabel="share of the singular values", ylabel="singular value", ylim=(0, None))
        axes.legend(frameon=False)
    last = grid[len(spectra)]
    last.loglog(sizes, distances, "o-", color=COLOURS[2], label="circular - zero-padded")
    last.loglog(sizes, distances[0] * sizes[0] / np.array(sizes), ":", color="0.4", label="1 / n")
    last.set_xticks(sizes, [str(n) for n in sizes])
    last.set_yticks(distances, [f"{distance:.3f}" for distance in distances])
    last.minorticks_off()
    last.set(title="random 4 -> 4, n x n", xlabel="n", ylabel="mean difference / norm")
    last.legend(frameon=False)
    return figure
