"""One layer of a convolutional deep belief network, trained on photographs: its filters become oriented edges.

Source: Lee, Grosse, Ranganath, Ng, Convolutional deep belief networks for scalable unsupervised learning of
hierarchical representations, ICML 2009. Hidden units h^k are binary, in blocks of 2 x 2 of which at most one is on
(probabilistic max-pooling). Here the visible units are real, so the energy has the squares of v too:

    E(v, h) = 1/(2 s^2) sum v^2 - 1/s^2 sum_k sum_ij h^k_ij (W^k * v)_ij - sum_k b_k sum_ij h^k_ij

with * the cross-correlation, so that I^k = (W^k * v) / s^2 + b_k and, in its block B,

    P(h_ij = 1) = exp(I_ij) / (1 + sum_B exp(I)),    P(block off) = 1 / (1 + sum_B exp(I))

W * v is the layer `nn.Conv` (its matrix A times v), the mean of v given h is A^T h, and the gradient of the weights is
that of the layer: one step of contrastive divergence is three passes back and two forward. Pixels near the border of a
patch, which fewer hidden units reach, keep their data in the reconstruction. Biases are pushed until the mean
activation of each filter is its target.

The photographs come with scikit-image; they are halved, whitened (Olshausen and Field, Nature 381, 1996) and brought to
one local contrast. Whether filters are oriented edges is measured: by how much of each a Gabor function explains,
beside filters before training, random filters, and learned filters with random phases.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from scipy.stats import mannwhitneyu, wilcoxon
from skimage import color, data

import convmatrix as cm
from analyses import Claim, Context, check_equal, check_within
from analyses._figures import COLOURS, new_figure
from analyses.belief_network.boltzmann import (
    SPREAD,
    TARGET,
    Array,
    Machine,
    Setting,
    pooled_probabilities,
    random_patches,
    units_of,
)
from analyses.belief_network.gabor import Gabor, fit_gabor, shuffled_phases

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COPIES = 3  # of each filter with random phases
STRIPED = 0.6  # share explained from which a filter has an orientation; below, the best fit may be a blob
PHOTOGRAPHS = ("astronaut", "camera", "coffee", "chelsea")
UNSEEN = "rocket"

FULL = Setting(filters=24, kernel=10, patch=31, steps=2500)
QUICK = Setting(filters=8, kernel=7, patch=24, steps=300)


def run(context: Context) -> list[Claim]:
    """Check the probabilities and the products, train, then measure the filters."""
    setting = QUICK if context.quick else FULL
    machine = Machine(setting)
    before = machine.weights.astype(np.float64)
    unseen = random_patches([_prepared(UNSEEN)], setting.patch, 16, np.random.default_rng(1))
    error_before = machine.reconstruction_error(unseen)
    machine.train([_prepared(name) for name in PHOTOGRAPHS], setting.steps)
    claims, fits, explained = _measure(machine.weights.astype(np.float64), before)
    context.save_figure(_figure(machine.weights.astype(np.float64), fits, explained))
    activation = float(machine.activation.mean())
    return [
        *_exact_probabilities(),
        _products(),
        check_within(
            "sparsity",
            "mean activation over its target, end of training",
            activation / TARGET,
            0.5,
            2,
            reason="the biases are pushed until it is 1; batches differ",
        ),
        check_within(
            "reconstruction",
            f"squared error of the reconstruction of an unseen photograph, trained over untrained: "
            f"{machine.reconstruction_error(unseen):.2f} / {error_before:.2f}",
            machine.reconstruction_error(unseen) / error_before,
            0,
            0.95,
            reason="a trained layer tells more of the image",
        ),
        *claims,
    ]


# --- photographs -----------------------------------------------------------------------------------------------------


def _prepared(name: str) -> Array:
    """Return a photograph of scikit-image, halved, whitened, and of one local contrast."""
    image = np.asarray(getattr(data, name)(), dtype=np.float64)
    grey = color.rgb2gray(image) if image.ndim == 3 else image
    height, width = (n // 2 * 2 for n in grey.shape)
    half = grey[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    frequency = np.hypot(np.fft.fftfreq(half.shape[0])[:, None], np.fft.rfftfreq(half.shape[1]))
    filtered = np.fft.rfft2(half - half.mean()) * frequency * np.exp(-((frequency / 0.3) ** 4))
    white = np.fft.irfft2(filtered, s=half.shape)[5:-5, 5:-5]  # the filter wraps around the border
    white /= white.std()
    return white / np.sqrt(ndimage.gaussian_filter(white**2, 8) + 0.1)


# --- what must hold exactly ------------------------------------------------------------------------------------------


def _exact_probabilities() -> list[Claim]:
    """Compare with the sum over all states of a small machine, weighted by exp(-E)."""
    rng = np.random.default_rng(0)
    filters, image = 2, rng.standard_normal((5, 4))
    weights, biases = rng.standard_normal((filters, 2, 3)), rng.standard_normal(filters)
    matrix = cm.conv_matrix(weights[:, None], (1, *image.shape))
    inputs = (matrix @ image.ravel()).reshape(filters, 4, 2) / SPREAD**2 + biases[:, None, None]
    found, off = pooled_probabilities(inputs)

    states = [np.zeros(4), *np.eye(4)]  # of a block: off, or one unit on
    n_blocks = off.size
    weight_of_state, hidden, pools_off = [], [], []
    for choice in itertools.product(range(5), repeat=n_blocks):
        h = units_of(np.array([states[c] for c in choice]).reshape(filters, 2, 1, 4))
        weight_of_state.append(np.exp(-_energy(image, h, weights, biases)))
        hidden.append(h)
        pools_off.append(np.array(choice).reshape(off.shape) == 0)
    share = np.array(weight_of_state) / np.sum(weight_of_state)
    expected = np.tensordot(share, np.array(hidden), axes=1)
    expected_off = np.tensordot(share, np.array(pools_off), axes=1)
    extreme, extreme_off = pooled_probabilities(np.array([[1000.0, 999.0], [-1000.0, 0.0]]))
    return [
        check_within(
            "hidden-probability",
            f"P(h = 1), largest distance from the sum over all {len(share)} states",
            np.abs(units_of(found) - expected).max(),
            0,
            1e-14,
            reason="rounding of double precision",
        ),
        check_within(
            "off-probability",
            "P(block off), the same",
            np.abs(off - expected_off).max(),
            0,
            1e-14,
            reason="rounding of double precision",
        ),
        check_within(
            "total-probability",
            "distance of all probabilities of a block with inputs up to 1,000 from 1",
            abs(extreme.sum() + extreme_off.sum() - 1),
            0,
            1e-15,
            reason="no overflow; rounding",
        ),
    ]


def _energy(image: Array, hidden: Array, weights: Array, biases: Array) -> float:
    """Return E(v, h), written as its sums."""
    energy = float((image**2).sum()) / (2 * SPREAD**2)
    for k, i, j in np.ndindex(hidden.shape):
        window = image[i : i + weights.shape[1], j : j + weights.shape[2]]
        energy -= hidden[k, i, j] * (float((weights[k] * window).sum()) / SPREAD**2 + biases[k])
    return energy


def _products() -> Claim:
    """Hold the three products of a step against the matrix, its transpose and its Jacobian, with integers."""
    geometry = cm.ConvGeometry((9, 8), (4, 3), out_channels=3)
    layer = cm.nn.Conv(geometry, bias=None, dtype=np.float64)
    rng = np.random.default_rng(0)
    weights, visible, hidden = (
        rng.integers(-9, 10, size).astype(np.float64)
        for size in (geometry.weight_shape, (1, 1, 9, 8), (1, 3, *geometry.output_shape))
    )
    layer.parameters["weight"][...] = weights
    forward, backward = layer.forward(visible), layer.backward(hidden)
    pattern = geometry.pattern()
    matrix = pattern.matrix(weights)
    wrong = np.count_nonzero(forward.ravel() != matrix @ visible.ravel())
    wrong += np.count_nonzero(backward.ravel() != matrix.T @ hidden.ravel())
    gradient = pattern.jacobian(visible).T @ hidden.ravel()
    wrong += np.count_nonzero(layer.gradients["weight"].ravel() != gradient)
    return check_equal(
        "products",
        "entries of A v, A^T h and the gradient that differ from the explicit matrices, integers",
        wrong,
        expected=0,
        reason="the layer is its matrix, the reconstruction its transpose, the gradient its Jacobian",
    )


# --- what the filters are --------------------------------------------------------------------------------------------


def _measure(weights: Array, before: Array) -> tuple[list[Claim], list[Gabor], dict[str, list[float]]]:
    """Fit Gabor functions to the filters and to three controls."""
    rng = np.random.default_rng(2)
    fits = [fit_gabor(one) for one in weights]
    controls = {
        "untrained": list(before),
        "random": list(rng.standard_normal(weights.shape)),
        "random-phase": [shuffled_phases(one, rng) for one in weights for _ in range(COPIES)],
    }
    explained = {"learned": [fit.explained for fit in fits]}
    explained |= {name: [fit_gabor(one).explained for one in filters] for name, filters in controls.items()}
    learned = np.array(explained["learned"])
    own_copies = np.reshape(explained["random-phase"], (len(weights), COPIES)).mean(axis=1)
    p_values = {
        name: mannwhitneyu(learned, explained[name], alternative="greater").pvalue for name in ("untrained", "random")
    }
    p_values["random-phase"] = wilcoxon(learned, own_copies, alternative="greater").pvalue
    claims = [
        check_within(
            "gabor-share",
            "median share of a learned filter that a Gabor function explains",
            float(np.median(learned)),
            0.5,
            1,
            reason="more than half of most filters is one oriented wave packet",
        )
    ]
    claims += [
        check_within(
            f"gabor-p-{name}",
            f"p-value: learned filters explained no better than {name} ones "
            f"(medians {np.median(learned):.2f}, {np.median(explained[name]):.2f})",
            float(p_value),
            0,
            0.05,
            reason="rejected at 5 %, "
            + ("Wilcoxon test, each beside its copies" if "phase" in name else "Mann-Whitney"),
        )
        for name, p_value in p_values.items()
    ]
    beyond_chance = float(np.mean(learned > max(explained["random"])))
    oriented = [fit.orientation for fit in fits if fit.explained > STRIPED]
    claims += [
        check_within(
            "better-than-random",
            "share of the filters explained better than every random one",
            beyond_chance,
            0.5,
            1,
            reason="most of them",
        ),
        check_within(
            "orientations",
            f"quarters of the half circle in which the stripes of the {len(oriented)} explained by {STRIPED} lie",
            len({int((angle + 22.5) % 180 // 45) for angle in oriented}),
            3,
            4,
            reason="edges of all orientations: about 0, 45, 90 and 135 degrees",
        ),
    ]
    return claims, fits, explained


def _figure(weights: Array, fits: list[Gabor], explained: dict[str, list[float]]) -> Figure:
    """Draw filters, their Gabor functions, what these explain, and the orientations."""
    figure = new_figure(11, 6)
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.5, 1))
    left, right = parts
    columns = 4
    rows = -(-len(weights) // columns)
    for part, name, pictures in zip(
        left.subfigures(1, 2), ("learned filters", "Gabor functions fitted"), (weights, None), strict=True
    ):
        part.suptitle(name)
        grid = part.subplots(rows, columns, squeeze=False).ravel().tolist()
        for axes, weight, fit in zip(grid, weights, fits, strict=True):
            limit = np.abs(weight).max()
            picture = weight if pictures is not None else fit.picture
            axes.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            if pictures is None:
                axes.set_title(f"{fit.explained:.2f}", fontsize=8, pad=2)
    top, bottom = right.subplots(2, 1).tolist()
    rng = np.random.default_rng(0)
    for place, (name, values) in enumerate(explained.items()):
        colour = COLOURS[4] if name == "learned" else COLOURS[7]
        top.plot(place + 0.15 * rng.uniform(-1, 1, len(values)), values, "o", color=colour, markersize=4, alpha=0.8)
        top.hlines(np.median(values), place - 0.3, place + 0.3, color="black")
    top.set_xticks(range(len(explained)), list(explained))
    top.set(ylabel="share explained", ylim=(0, 1), title="by a Gabor function; lines: medians")
    oriented = [fit.orientation for fit in fits if fit.explained > STRIPED]
    bottom.hist(oriented, bins=np.arange(0, 181, 22.5), color=COLOURS[4], edgecolor="white")
    bottom.set(xlabel="direction of the stripes, degrees", ylabel="filters", xticks=range(0, 181, 45))
    bottom.set_title(f"orientations of the {len(oriented)} above {STRIPED}")
    bottom.yaxis.get_major_locator().set_params(integer=True)
    return figure
