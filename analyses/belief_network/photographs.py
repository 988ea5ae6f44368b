"""A belief network of two layers on photographs: oriented edges, and what the second layer makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from scipy.stats import mannwhitneyu, wilcoxon
from skimage import color, data

import convmatrix as cm
from analyses import Claim, check_within
from analyses._features import bending, extent
from analyses._figures import COLOURS, PAGE_WIDTH, draw_grid, new_figure
from analyses.belief_network.gabor import Gabor, fit_gabor, shuffled_phases
from convmatrix import nn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convmatrix.arrays import Array

PHOTOGRAPHS = ("astronaut", "camera", "coffee", "chelsea")
UNSEEN = "rocket"
COPIES = 2  # of each filter with random phases
STRIPED = 0.6  # share explained from which a filter has an orientation; below, the best fit may be a blob
TARGETS = (0.005, 0.004)  # mean activations


@dataclass(frozen=True)
class Setting:
    """What is trained, and for how long."""

    filters: int
    kernel: int
    features: int
    second_kernel: int
    patch: int
    steps: tuple[int, int]


FULL = Setting(filters=24, kernel=10, features=32, second_kernel=5, patch=37, steps=(1600, 900))
QUICK = Setting(filters=8, kernel=7, features=8, second_kernel=4, patch=24, steps=(300, 150))


def photograph_claims(*, quick: bool) -> tuple[list[Claim], Figure, Figure]:
    """Train on photographs, measure the filters of both layers, and draw them."""
    setting = QUICK if quick else FULL
    network = untrained(setting)
    before = [machine.parameters["weight"].copy() for machine in network.layers]
    patches = random_patches([prepared(name) for name in PHOTOGRAPHS], setting.patch, 1500, np.random.default_rng(0))
    unseen = random_patches([prepared(UNSEEN)], setting.patch, 64, np.random.default_rng(1))
    errors_before = [network.layers[0].reconstruction_error(unseen)]
    activations = train(network, patches, setting)
    claims = _training(network, unseen, errors_before[0], activations)
    filters = network.layers[0].parameters["weight"][:, 0].astype(np.float64)
    found, fits, explained = _gabors(filters, before[0][:, 0].astype(np.float64))
    claims += found
    pictures = _pictures(network, before[1])
    found, measured = _second_layer(pictures)
    return [*claims, *found], _filters_figure(filters, fits, explained), _features_figure(pictures, measured)


def untrained(setting: Setting) -> nn.BeliefNetwork:
    """Return the network before training: small random weights, and units that are rarely on."""
    first = cm.ConvGeometry((setting.patch,) * 2, (setting.kernel,) * 2, out_channels=setting.filters)
    lower = nn.BoltzmannMachine(
        first, 2, visible="real", spread=0.8, border="given", scale=0.005, bias=-4, rng=np.random.default_rng(0)
    )
    second = cm.ConvGeometry(
        lower.pooled_shape[1:], (setting.second_kernel,) * 2, in_channels=setting.filters, out_channels=setting.features
    )
    return nn.BeliefNetwork([lower, nn.BoltzmannMachine(second, 2, border="given", scale=0.02, bias=-4, rng=1)])


def train(network: nn.BeliefNetwork, patches: Array, setting: Setting) -> list[float]:
    """Train one layer after the other; return the mean activations at the end, over their targets."""
    lower, upper = setting.steps
    first, _ = nn.fit_greedily(network, patches, steps=[lower, 0], batch_size=4, sparsity=TARGETS)
    start_visible_biases(network, 1, patches[:200])
    _, second = nn.fit_greedily(
        network, patches, steps=[0, upper], batch_size=6, sparsity=TARGETS, optimiser=lambda: nn.Adam(0.01), rng=1
    )
    histories = zip((first, second), TARGETS, strict=True)
    return [float(np.mean(history.activation[-50:])) / target for history, target in histories]


def start_visible_biases(network: nn.BeliefNetwork, place: int, samples: Array) -> None:
    """Set the visible biases of a machine so that without detection units its visible units have their mean."""
    for lower in network.layers[:place]:
        samples = lower.forward(samples)
    mean = np.clip(samples.mean(axis=(0, 2, 3)), 1e-3, 1 - 1e-3)
    network.layers[place].parameters["visible_bias"][...] = np.log(mean / (1 - mean))


def shuffled(weights: Array, rng: np.random.Generator) -> Array:
    """Return filters whose weights have changed places, each within itself."""
    flat = weights.reshape(len(weights), -1)
    return rng.permuted(flat, axis=1).reshape(weights.shape)


def prepared(name: str) -> Array:
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


def random_patches(photographs: list[Array], size: int, count: int, rng: np.random.Generator) -> Array:
    """Return random patches without their means, half of them mirrored, (count, 1, size, size)."""
    patches = np.empty((count, 1, size, size), dtype=np.float32)
    for place in range(count):
        photograph = photographs[rng.integers(len(photographs))]
        top, left = (rng.integers(n - size) for n in photograph.shape)
        patch = photograph[top : top + size, left : left + size]
        patches[place, 0] = (patch - patch.mean())[:, :: rng.choice([-1, 1])]
    return patches


# --- the first layer -------------------------------------------------------------------------------------------------


def _training(network: nn.BeliefNetwork, unseen: Array, before: float, activations: list[float]) -> list[Claim]:
    """Return claims on activations and reconstructions."""
    lower, upper = network.layers
    after = lower.reconstruction_error(unseen)
    pooled = lower.forward(unseen)
    weight, kept = upper.parameters["weight"], upper.parameters["weight"].copy()
    error = upper.reconstruction_error(pooled)
    weight[...] = shuffled(kept, np.random.default_rng(3))
    error_shuffled = upper.reconstruction_error(pooled)
    weight[...] = kept
    return [
        check_within(
            "sparsity",
            "mean activation over its target at the end of training, the layer that is farther off",
            max(activations, key=lambda ratio: abs(np.log(ratio))),
            (0.5, 2),
            reason="the biases are pushed until it is 1; batches differ",
        ),
        check_within(
            "reconstruction",
            f"squared error of the reconstruction of an unseen photograph, trained over untrained: "
            f"{after:.2f} / {before:.2f}",
            after / before,
            (0, 0.95),
            reason="a trained layer tells more of the image",
        ),
        check_within(
            "reconstruction-second",
            "the same for the pooling units of the first layer by the second, trained over shuffled weights: "
            f"{error:.2f} / {error_shuffled:.2f}",
            error / error_shuffled,
            (0, 0.99),
            reason="which filter stands where in a feature matters",
        ),
    ]


def _gabors(weights: Array, before: Array) -> tuple[list[Claim], list[Gabor], dict[str, list[float]]]:
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
            (0.5, 1),
            reason="more than half of most filters is one oriented wave packet",
        )
    ]
    claims += [
        check_within(
            f"gabor-p-{name}",
            f"p-value: learned filters explained no better than {name} ones "
            f"(medians {np.median(learned):.2f}, {np.median(explained[name]):.2f})",
            float(p_value),
            (0, 0.05),
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
            (0.5, 1),
            reason="most of them",
        ),
        check_within(
            "orientations",
            f"quarters of the half circle in which the stripes of the {len(oriented)} explained by {STRIPED} lie",
            len({int((angle + 22.5) % 180 // 45) for angle in oriented}),
            (3, 4),
            reason="edges of all orientations: about 0, 45, 90 and 135 degrees",
        ),
    ]
    return claims, fits, explained


# --- the second layer ------------------------------------------------------------------------------------------------


def _pictures(network: nn.BeliefNetwork, before: Array) -> dict[str, Array]:
    """Return what units of each layer project back to the image through the transposes, and controls of the second."""
    upper = network.layers[1]
    kept = upper.parameters["weight"].copy()
    controls = {"second layer": kept, "shuffled": shuffled(kept, np.random.default_rng(4)), "untrained": before}
    pictures = {"first layer": projected(network, 0).astype(np.float64)}
    for name, weights in controls.items():
        upper.parameters["weight"][...] = weights
        pictures[name] = projected(network, 1).astype(np.float64)
    upper.parameters["weight"][...] = kept
    return pictures


def projected(network: nn.BeliefNetwork, place: int) -> Array:
    """Return the projection of the middle unit of each channel of a machine, cut to what the unit sees."""
    machine = network.layers[place]
    channels = np.arange(machine.hidden_shape[0])
    units = np.zeros((len(channels), *machine.hidden_shape), dtype=np.float32)
    units[channels, channels, machine.hidden_shape[1] // 2, machine.hidden_shape[2] // 2] = 1
    pictures = network.project(place, units)[:, 0]
    rows, columns = (np.flatnonzero(np.abs(pictures).max(axis=(0, 3 - axis)) > 0) for axis in (1, 2))
    return pictures[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _second_layer(pictures: dict[str, Array]) -> tuple[list[Claim], dict[str, dict[str, list[float]]]]:
    """Measure how large the projections are and how much they bend, beside the controls."""
    measured: dict[str, dict[str, list[float]]] = {
        "extent": {name: [extent(one) for one in found] for name, found in pictures.items()},
        "bending": {name: [bending(one) for one in found] for name, found in pictures.items()},
    }
    size, bend = ({name: float(np.median(v)) for name, v in found.items()} for found in measured.values())
    more_bent = mannwhitneyu(measured["bending"]["second layer"], measured["bending"]["first layer"])
    return [
        check_within(
            "second-extent",
            f"median extent of a projection, second layer over first: {size['second layer']:.1f} / "
            f"{size['first layer']:.1f} pixels",
            size["second layer"] / size["first layer"],
            (0.6, 1.4),
            reason="a negative result: a unit sees twice as far, but what is learned is about as large as a filter",
        ),
        check_within(
            "second-extent-shuffled",
            f"the same, learned over shuffled second layer ({size['shuffled']:.1f} pixels)",
            size["second layer"] / size["shuffled"],
            (0.3, 1),
            reason="learning gathers a feature in a part of the field, over all of which chance would spread it",
        ),
        check_within(
            "second-bending",
            "median share of the oriented energy of a projection that cancels, second layer less first: "
            f"{bend['second layer']:.2f} - {bend['first layer']:.2f}; p = {more_bent.pvalue:.1g}",
            bend["second layer"] - bend["first layer"],
            (-0.15, 0.5),
            reason="edges are joined, and hardly bend more than single ones: corners are few where p is not small",
        ),
        check_within(
            "second-bending-shuffled",
            f"the same, learned less shuffled second layer ({bend['shuffled']:.2f})",
            bend["second layer"] - bend["shuffled"],
            (-1, 0),
            reason="less than chance would: edges that continue each other go together",
        ),
    ], measured


# --- figures ---------------------------------------------------------------------------------------------------------


def _filters_figure(weights: Array, fits: list[Gabor], explained: dict[str, list[float]]) -> Figure:
    """Draw filters, their Gabor functions, what these explain, and the orientations."""
    columns = 4
    rows = -(-len(weights) // columns)
    figure = new_figure(PAGE_WIDTH, max(0.52 * rows + 0.4, 3.8))
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    left, right = parts
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
                axes.set_title(f"{fit.explained:.2f}", fontsize=7, pad=2)
    top, bottom = right.subplots(2, 1).tolist()
    _strip(top, explained, "learned")
    top.set(ylabel="share of the energy", ylim=(0, 1.03), title="explained by a Gabor function\n(lines: medians)")
    oriented = [fit.orientation for fit in fits if fit.explained > STRIPED]
    bottom.hist(oriented, bins=np.arange(0, 181, 22.5), color=COLOURS[4], edgecolor="white")
    bottom.set(xlabel="direction of the stripes, degrees", ylabel="number of filters", xticks=range(0, 181, 45))
    bottom.set_title(f"orientations of the {len(oriented)} filters\nabove {STRIPED}")
    bottom.yaxis.get_major_locator().set_params(integer=True)
    return figure


def _features_figure(pictures: dict[str, Array], measured: dict[str, dict[str, list[float]]]) -> Figure:
    """Draw the projections of the second layer and of its control, and the two measures."""
    figure = new_figure(PAGE_WIDTH, 4.2)
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.2, 1))
    left, right = parts
    shown = [(name, pictures[name][:32]) for name in ("second layer", "shuffled")]
    for part, (name, found) in zip(left.subfigures(2, 1), shown, strict=True):
        part.suptitle(f"{name}, projected back to the image")
        draw_grid(part, found, min(len(found), 11), cmap="RdBu_r")
    labels = {"extent": "extent in pixels", "bending": "share of oriented\nenergy that cancels"}
    for axes, (name, values) in zip(right.subplots(2, 1).tolist(), measured.items(), strict=True):
        _strip(axes, {key.replace(" ", "\n"): found for key, found in values.items()}, "second\nlayer")
        axes.set(ylabel=labels[name], ylim=(0, None if name == "extent" else 1))
    return figure


def _strip(axes: Any, groups: dict[str, list[float]], marked: str) -> None:
    """Draw the values of each group as points beside each other, with their median."""
    rng = np.random.default_rng(0)
    for place, (name, values) in enumerate(groups.items()):
        colour = COLOURS[4] if name == marked else COLOURS[7]
        axes.plot(place + 0.15 * rng.uniform(-1, 1, len(values)), values, "o", color=colour, markersize=4, alpha=0.8)
        axes.hlines(np.median(values), place - 0.3, place + 0.3, color="black")
    axes.set_xticks(range(len(groups)), [name.replace("random-", "random-\n") for name in groups], fontsize=7)
    axes.set_xlim(-0.6, len(groups) - 0.4)
