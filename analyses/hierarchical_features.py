"""Does depth build larger and more specific features? Layer by layer, on digits and on faces.

Source: Zeiler and Fergus, Visualizing and understanding convolutional networks, ECCV 2014, sections 2.1 and 4.1, for
the back-projections and the claim. The data are scikit-learn's digits and the 200 faces and non-faces of scikit-image,
so that this is a demonstration on small networks and no replication.

Size is measured on what a unit projects back to the input: the root mean square distance, in pixels, of the projected
energy from its centroid, for the test images that excite each channel most. Specificity is how much of a unit's
activity is about the class: the share of its variance over the test images that lies between the means of the classes
(Fisher's correlation ratio), averaged over all units that are ever active. Both are set beside the same network before
its training, which tells what is learned from what the architecture alone does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.patches import Rectangle
from sklearn.datasets import load_digits

from analyses import Claim, Context, _features, check_equal, check_within
from analyses._features import extent, fit, three_convolutions
from analyses._figures import COLOURS, PAGE_WIDTH, new_figure, without_frame
from convmatrix import nn
from convmatrix.nn.images import enlarge, hold_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convmatrix.arrays import Array

SIZE = 24
CHANNELS = (8, 16, 32)
PLACES = (1, 4, 7)
"""Of the three ReLU layers in the network."""


@dataclass(frozen=True)
class Data:
    """Images, labels, and which of them are for the test."""

    name: str
    images: Array
    labels: Array
    test: Array

    @property
    def train(self) -> Array:
        """Numbers of the images that are not for the test."""
        return np.setdiff1d(np.arange(len(self.labels)), self.test)


@dataclass(frozen=True)
class Measured:
    """Of one network: extents by channel and specificities by unit of each layer, and the test accuracy."""

    extents: list[Array]
    specificities: list[Array]
    accuracy: float


def run(context: Context) -> list[Claim]:
    """Train on both data sets, measure before and after, and draw what excites the units."""
    seeds = range(1) if context.quick else range(3)
    samples = 1 if context.quick else 2
    claims = [_fields()]
    measured: dict[str, dict[str, list[Measured]]] = {}
    for data in (digits(), faces()):
        before, after = [], []
        for seed in seeds:
            untrained, trained = network(data, seed), network(data, seed)
            few, many = (3, 20) if data.name == "digits" else (40, 80)  # there are few faces
            fit(trained, data.images[data.train], data.labels[data.train], few if context.quick else many, seed)
            before.append(measure(untrained, data, samples))
            after.append(measure(trained, data, samples))
            if seed == 0:
                context.save_figure(_pictures(trained, data), data.name)
        measured[data.name] = {"before training": before, "trained": after}
        claims += _claims(data, before, after)
    context.save_figure(_summary(measured))
    return claims


def digits() -> Data:
    """Return scikit-learn's digits, enlarged."""
    found = load_digits()
    images = enlarge(found.images / 16, (SIZE, SIZE))[:, None].astype(np.float32)
    return Data("digits", images, found.target, hold_out(found.target, 0.2)[1])


def faces() -> Data:
    """Return scikit-image's faces (class 1) and non-faces (class 0)."""
    images = _features.faces(SIZE)
    labels = (np.arange(len(images)) < 100).astype(np.int64)
    return Data("faces", images[:, None].astype(np.float32), labels, hold_out(labels, 0.4)[1])


def network(data: Data, seed: int) -> nn.Sequential:
    """Return the network before training."""
    return three_convolutions(1, CHANNELS, SIZE, int(data.labels.max()) + 1, seed)


# --- what is measured -------------------------------------------------------------------------------------------------


def measure(made: nn.Sequential, data: Data, samples: int) -> Measured:
    """Measure all channels of the three layers on the test images."""
    images, labels = data.images[data.test], data.labels[data.test]
    accuracy = nn.accuracy(nn.predict(made, images), labels)
    extents, specificities = [], []
    for place in PLACES:
        found = excited(made, images, place, samples)
        extents.append(np.array([extent(back_projected(made, images, best)) for best in found]))
        specificities.append(specificity(made, images, labels, place))
    return Measured(extents, specificities, accuracy)


class Excited(NamedTuple):
    """A unit and an image that excites it."""

    sample: int
    place: int
    unit: tuple[int, int, int]
    activity: float


def excited(made: nn.Sequential, images: Array, place: int, samples: int) -> list[Excited]:
    """Return the most excited unit of each active channel, for the images that excite it most."""
    activity = nn.activations(made, images, place)  # (images, channels, height, width)
    found = []
    for channel, maps in enumerate(activity.swapaxes(0, 1)):
        largest = maps.max(axis=(1, 2))
        for sample in np.argsort(-largest, kind="stable")[:samples].tolist():
            row, column = np.unravel_index(maps[sample].argmax(), maps[sample].shape)
            if largest[sample] > 0:
                found.append(Excited(sample, place, (channel, int(row), int(column)), float(largest[sample])))
    return found


def back_projected(made: nn.Sequential, images: Array, best: Excited) -> Array:
    """Return what the excited unit projects back to its image."""
    sample = images[best.sample][None]
    projection: Array = nn.back_projection(made, sample, best.place, best.unit, rule="deconvolution")[0, 0]
    return projection


def specificity(made: nn.Sequential, images: Array, labels: Array, place: int) -> Array:
    """Return, for each unit whose activity varies, the share of its variance that lies between the classes."""
    activity = nn.activations(made, images, place).reshape(len(images), -1).astype(np.float64)  # (images, units)
    activity = activity[:, np.ptp(activity, axis=0) > 0]
    weights = np.array([(labels == label).mean() for label in np.unique(labels)])
    means = np.stack([activity[labels == label].mean(axis=0) for label in np.unique(labels)])  # (classes, units)
    between = (weights[:, None] * np.square(means - weights @ means)).sum(axis=0)
    share: Array = between / activity.var(axis=0)
    return share


def _fields() -> Claim:
    made = network(faces(), 0)
    sizes = []
    for place in PLACES:
        shape = made.layers[place - 1].output_shape(made.layers[place - 1].input_shape or ())
        middle = (0, shape[1] // 2, shape[2] // 2)
        sizes.append([part.stop - part.start for part in nn.receptive_field(made, (1, SIZE, SIZE), place, middle)])
    return check_equal(
        "fields",
        "receptive field of a unit in the middle of each layer, in pixels",
        sizes,
        expected=[[field, field] for field in (5, 5 + 1 + 2 * 2, 5 + 1 + 2 * 2 + 2 + 4 * 2)],
        reason="r + (k - 1) j a layer, where strides multiply to j",
    )


def _claims(data: Data, before: list[Measured], after: list[Measured]) -> list[Claim]:
    def means(found: list[Measured], what: str) -> Array:
        by_seed = np.array([[layer.mean() for layer in getattr(m, what)] for m in found])  # (seeds, layers)
        mean: Array = by_seed.mean(axis=0)
        return mean

    extents, specific = means(after, "extents"), means(after, "specificities")
    extents_before, specific_before = means(before, "extents"), means(before, "specificities")
    return [
        check_within(
            f"{data.name}-accuracy",
            f"{data.name}: test accuracy",
            float(np.mean([m.accuracy for m in after])),
            (0.85, 1),
            reason="what is looked at has learned something",
        ),
        check_within(
            f"{data.name}-extent",
            f"{data.name}: extent of back-projections, the least ratio of a layer's to that of the layer below",
            float((extents[1:] / extents[:-1]).min()),
            (1.1, np.inf),
            reason="depth builds larger features",
        ),
        check_within(
            f"{data.name}-extent-untrained",
            f"{data.name}: extent in the deepest layer, trained by untrained",
            float(extents[-1] / extents_before[-1]),
            (0.75, 1.25),
            reason="size is the architecture's doing: before any training it is nearly the same",
        ),
        check_within(
            f"{data.name}-variance",
            f"{data.name}: share of a unit's variance between classes, the deepest layer's less the first's",
            float(specific[-1] - specific[0]),
            (0.02, 1),
            reason="depth builds more specific features",
        ),
        check_within(
            f"{data.name}-variance-untrained",
            f"{data.name}: the same rise less that before training",
            float((specific[-1] - specific[0]) - (specific_before[-1] - specific_before[0])),
            (0.005, 1),
            reason="specificity is learned, and no matter of depth alone",
        ),
    ]


# --- figures ----------------------------------------------------------------------------------------------------------


def _pictures(made: nn.Sequential, data: Data) -> Figure:
    """Draw the first filters, and of each layer channels with their most exciting image and its back-projection."""
    count, gap = 8, 2
    figure = new_figure(PAGE_WIDTH, 7.2)
    axes = figure.subplots(1 + 2 * len(PLACES), 1)
    images = data.images[data.test]
    axes[0].imshow(_row(list(nn.filters(made.layers[0])[:count, 0]), 1), cmap="RdBu_r", vmin=-1, vmax=1)
    axes[0].set_ylabel("filters 1")
    for row, place in enumerate(PLACES):
        strongest = sorted(excited(made, images, place, 1), key=lambda best: -best.activity)[:count]
        shown, projected = axes[1 + 2 * row], axes[2 + 2 * row]
        shown.imshow(_row([images[best.sample, 0] for best in strongest], gap), cmap="gray")
        for column, best in enumerate(strongest):
            rows, columns = nn.receptive_field(made, images.shape[1:], place, best.unit)
            corner = (column * (SIZE + gap) + columns.start - 0.5, rows.start - 0.5)
            shape = (columns.stop - columns.start, rows.stop - rows.start)
            shown.add_patch(Rectangle(corner, *shape, fill=False, edgecolor=COLOURS[5], linewidth=1.5))
        projections = [back_projected(made, images, best) for best in strongest]
        projected.imshow(_row(projections, gap), cmap="RdBu_r", vmin=-1, vmax=1)
        shown.set_ylabel(f"image {row + 1}")
        projected.set_ylabel(f"projected {row + 1}")
    for ax in axes:
        without_frame(ax)
    figure.suptitle(
        f"{data.name}: filters of the first layer; of each layer the eight most excited channels,\n"
        "the image with the receptive field, and what is projected back (red +, blue -)",
        fontsize=10,
    )
    return figure


def _row(tiles: list[Array], gap: int) -> Array:
    """Return pictures side by side, each scaled to at most 1, with nothing between them."""
    empty = np.full((len(tiles[0]), gap), np.nan)
    scaled = [part for tile in tiles for part in (tile / np.abs(tile).max(), empty)]
    return np.concatenate(scaled[:-1], axis=1)


def _summary(measured: dict[str, dict[str, list[Measured]]]) -> Figure:
    figure = new_figure(PAGE_WIDTH, 2.9)
    left, right = figure.subplots(1, 2)
    layers = np.arange(1, len(PLACES) + 1)
    for colour, (name, states) in zip((COLOURS[4], COLOURS[5]), measured.items(), strict=True):
        for (state, found), style in zip(states.items(), ("o--", "o-"), strict=True):
            for axes, what in ((left, "extents"), (right, "specificities")):
                values = np.array([[layer.mean() for layer in getattr(m, what)] for m in found])  # (seeds, layers)
                spread = values.std(axis=0, ddof=1) if len(values) > 1 else None
                axes.errorbar(
                    layers, values.mean(axis=0), spread, fmt=style, color=colour, capsize=3, label=f"{name}, {state}",
                    markerfacecolor=colour if style == "o-" else "white",
                )  # fmt: skip
    left.set(xlabel="convolution layer", ylabel="extent of back-projections in pixels", xticks=layers)
    right.set(xlabel="convolution layer", ylabel="share of variance between classes", xticks=layers)
    left.set_ylim(bottom=0)
    right.set_ylim(bottom=0)
    left.legend(frameon=False, fontsize=8)
    title = "mean over channels or units, and over seeds"
    if len(next(iter(measured["digits"].values()))) > 1:
        title += "; bars are the standard deviation over seeds"
    figure.suptitle(title)
    return figure
