"""Do early layers see edges and later ones colour? Selectivity by layer, where the class needs shape, colour or both.

Source: the claim, made of AlexNet, that filters of early layers pick up orientation and almost ignore colour, while
later layers use colour. What is published of AlexNet says otherwise in part: of its 96 first filters, those of one half
are "largely color-agnostic" and those of the other "largely color-specific" (Krizhevsky, Sutskever, Hinton, NIPS 2012,
section 6.1 and Fig. 3); all five layers have many colour-selective channels (Rafegas and Vanrell, Vision Research 151,
2018); units of higher layers respond to colour less, on average, than those of earlier ones (Flachot and Gegenfurtner,
J. Opt. Soc. Am. A 35(4), 2018). ImageNet is not at hand; so the claim is tested where it can be.

Networks of three convolution layers are trained on colour images of 16 x 16 pixels. For three tasks the images are the
same: crops of photographs with an ellipse of one of four directions and four hues, of which the class is the direction,
one bit of each, or the hue. In the fourth, the class of a crop is the photograph that it comes from.

Colour by filters is the share of a filter's energy off the grey axis (2/3 for random ones), in layers above the first
of the product of transposes down to the image; colour by responses is 1 less the response to the grey image over that
to the coloured one, where a channel is excited most. Orientation by filters is the anisotropy of the spectrum, by
responses the tuning to gratings. Intervals are those of Student's distribution over seeds, at 95 %; where the lower end
is judged, a quick run, which has few seeds, judges the mean. The same is measured on the first layers of trained
models, where the packages facenet-pytorch and nudenet are installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from analyses import Claim, Context, check_within, skipped
from analyses._features import fit, mean_interval, three_convolutions
from analyses._figures import COLOURS, PAGE_WIDTH, new_figure, without_frame
from analyses.colour_hierarchy.selectivity import (
    Responses,
    colour_of_filters,
    colour_of_responses,
    composite_filters,
    orientation_of_filters,
    orientation_of_responses,
)
from analyses.colour_hierarchy.tasks import SIZE, Samples, crops, ellipses, grey, photographs, samples
from analyses.colour_hierarchy.trained_models import Trained, trained_models
from convmatrix import nn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convmatrix.arrays import Array

TASKS = ("shape", "both", "colour", "photographs")
NEEDY = TASKS[1:]
LABELS = {**{task: f"class by {task}" for task in TASKS}, "photographs": "class: which photograph"}
CHANNELS = (12, 16, 24)
CONVOLUTIONS, ACTIVATIONS = (0, 3, 6), (1, 4, 7)
MEASURES = ("colour by responses", "colour by filters", "orientation by responses", "orientation by filters")
RANDOM = 2 / 3  # share of the energy of a random filter that is off the grey axis
FIRST = np.float32(0.1)  # factor of the first initial weights: what is left of them in the end is small


def run(context: Context) -> list[Claim]:
    """Train on all tasks, measure before and after, and measure trained models."""
    seeds = range(3 if context.quick else 5)
    count, epochs = (500, 6) if context.quick else (1200, 8)
    sources = photographs()
    before: dict[str, Array] = {}
    after: dict[str, Array] = {}
    accuracies: dict[str, Array] = {}
    first: dict[str, nn.Sequential] = {}
    for task in TASKS:
        found = [_trained(task, sources, seed, count, epochs) for seed in seeds]
        before[task], after[task], accuracies[task] = (np.array([one[place] for one in found]) for place in range(3))
        first[task] = found[0][3]
    context.save_figure(_summary(before, after))
    context.save_figure(_filters_figure(first, sources), "filters")
    claims = [
        *_task_claims(accuracies),
        *_colour_claims(after, quick=context.quick),
        *_orientation_claims(before, after, quick=context.quick),
    ]
    models, missing = trained_models()
    if models:
        measured = {model.name: _measured_model(model, sources) for model in models}
        claims += _model_claims(measured)
        context.save_figure(_models_figure(models, measured), "trained_models")
    claims += [
        skipped(f"trained-models-{place}", "first layers of trained colour models", reason=reason)
        for place, reason in enumerate(missing, start=1)
    ]
    return claims


# --- training and measuring ------------------------------------------------------------------------------------------


def network(classes: int, seed: int) -> nn.Sequential:
    """Return a network before training, with small weights in its first layer."""
    made = three_convolutions(3, CHANNELS, SIZE, classes, seed)
    made.layers[0].parameters["weight"] *= FIRST
    return made


def _scaled(images: Array) -> Array:
    return ((images - 0.5) / 0.25).astype(np.float32)


def _trained(
    task: str, sources: list[Array], seed: int, count: int, epochs: int
) -> tuple[Array, Array, Array, nn.Sequential]:
    """Train one network; return its measures before and after, its accuracies in colour and in grey, and itself."""
    rng = np.random.default_rng(100 + seed)
    train, test = (samples(task, sources, size, rng) for size in (count, 300))
    made = network(int(train.labels.max()) + 1, seed)
    before = _measures(made, test)
    fit(made, _scaled(train.images), train.labels, epochs, seed)
    accuracies = [
        nn.accuracy(nn.predict(made, _scaled(images)), test.labels) for images in (test.images, grey(test.images))
    ]
    return before, _measures(made, test), np.array(accuracies), made


def _measures(made: nn.Sequential, test: Samples) -> Array:
    """Return the mean over channels of each measure in each layer, (measures, layers)."""

    def responses(images: Array) -> list[Array]:
        return [nn.activations(made, _scaled(images), place) for place in ACTIVATIONS]

    return _means(responses, test.images, _composites(made))


def _composites(made: nn.Sequential) -> list[Array]:
    return composite_filters([made.layers[place].parameters["weight"] for place in CONVOLUTIONS], (1, 1, 1), (2, 2, 0))


def _means(responses: Responses, images: Array, filters: list[Array]) -> Array:
    colour, orientation = colour_of_responses(responses, images), orientation_of_responses(responses, images.shape[2])
    by_filters = _means_of_filters(filters)
    by_responses = [[layer.mean() for layer in measure] for measure in (colour, orientation)]
    return np.array([by_responses[0], by_filters[0], by_responses[1], by_filters[1]])


def _means_of_filters(filters: list[Array]) -> Array:
    return np.array([[of(layer).mean() for layer in filters] for of in (colour_of_filters, orientation_of_filters)])


def _measured_model(model: Trained, sources: list[Array]) -> tuple[Array, Array]:
    """Return the measures of a trained model, and those by filters of the same layers with random weights."""
    images = crops(sources, 60, np.random.default_rng(0)).images.repeat(3, axis=2).repeat(3, axis=3)
    rng = np.random.default_rng(1)
    filters = composite_filters(model.weights, model.strides, model.pools)
    random = composite_filters([rng.standard_normal(w.shape) for w in model.weights], model.strides, model.pools)
    return _means(model.responses, images, filters), _means_of_filters(random)


# --- claims ----------------------------------------------------------------------------------------------------------


def _task_claims(accuracies: dict[str, Array]) -> list[Claim]:
    mean = {task: found.mean(axis=0) for task, found in accuracies.items()}
    lost = {task: float(found[0] - found[1]) for task, found in mean.items()}
    return [
        check_within(
            "accuracy",
            "test accuracy, the least of the four tasks: " + ", ".join(f"{t} {mean[t][0]:.2f}" for t in TASKS),
            min(float(found[0]) for found in mean.values()),
            (0.5, 1),
            reason="twice that of guessing at least: what is measured has learned something",
        ),
        check_within(
            "need",
            "accuracy lost if test images are grey: "
            + ", ".join(f"{task} {value:.2f}" for task, value in lost.items())
            + "; the least step from shape to both to colour",
            min(lost["both"] - lost["shape"], lost["colour"] - lost["both"]),
            (0.05, 1),
            reason="the need for colour is dialled, on the same images",
        ),
    ]


def _interval(values: Array) -> str:
    mean, low, high = mean_interval(values)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def _ends(values: Array, quick: bool) -> tuple[float, float]:
    """Return the ends of the interval of a mean; in a quick run, whose intervals are wide, the mean twice."""
    mean, low, high = mean_interval(values)
    return (mean, mean) if quick else (low, high)


def _colour_claims(after: dict[str, Array], *, quick: bool) -> list[Claim]:
    responses = {task: found[:, 0] for task, found in after.items()}  # (seeds, layers)
    filters = {task: found[:, 1] for task, found in after.items()}
    rise = {task: found[:, 2] - found[:, 0] for task, found in responses.items()}
    claims = [
        check_within(
            f"colour-rise-{task}",
            f"class by {task}: colour by responses, layer 3 less layer 1, {_interval(rise[task])}: lower end",
            _ends(rise[task], quick)[0],
            (0, 1),
            reason="later layers use colour more than earlier ones, where the class needs both or colour",
        )
        for task in ("both", "colour")
    ]
    claims += [
        check_within(
            "colour-rise-shape",
            f"class by shape: the same, {_interval(rise['shape'])}: upper end",
            _ends(rise["shape"], quick)[1],
            (-1, 0.1),
            reason="a negative result: no rise where the class does not need colour",
        ),
        check_within(
            "colour-rise-need",
            f"rise with colour needed less that without, {_interval(rise['colour'] - rise['shape'])}: lower end",
            _ends(rise["colour"] - rise["shape"], quick)[0],
            (0, 1),
            reason="the same images and seeds: it is the class that makes later layers use colour",
        ),
        check_within(
            "colour-filters-photographs",
            "class: which photograph: colour of products of transposes, layer 3 less layer 1, "
            f"{_interval(filters['photographs'][:, 2] - filters['photographs'][:, 0])}: lower end "
            f"(by responses {_interval(rise['photographs'])})",
            _ends(filters["photographs"][:, 2] - filters["photographs"][:, 0], quick)[0],
            (0, 1),
            reason="later layers weigh colour more, in natural crops as well",
        ),
        check_within(
            "colour-early-shape",
            "class by shape: share of the first filters' energy off the grey axis, "
            f"{_interval(filters['shape'][:, 0])}: upper end",
            _ends(filters["shape"][:, 0], quick)[1],
            (0, RANDOM - 0.05),
            reason="less than of random ones (2/3): early filters lean to luminance, where the class is shape",
        ),
    ]
    early = {task: filters[task][:, 0] for task in NEEDY}
    return [
        *claims,
        check_within(
            "colour-early",
            "the same for the other classes, the least: "
            + ", ".join(f"{task} {_interval(found)}" for task, found in early.items()),
            min(float(found.mean()) for found in early.values()),
            (RANDOM - 0.1, 1),
            reason="a negative result: where the class needs colour, early filters do not ignore it",
        ),
        check_within(
            "colour-early-need",
            "colour by responses in layer 1, class by colour less class by shape: "
            f"{_interval(responses['colour'][:, 0] - responses['shape'][:, 0])}: lower end",
            _ends(responses["colour"][:, 0] - responses["shape"][:, 0], quick)[0],
            (0, 1),
            reason="the first layer, too, takes up colour as far as the class needs it",
        ),
    ]


def _orientation_claims(before: dict[str, Array], after: dict[str, Array], *, quick: bool) -> list[Claim]:
    learned = {task: after[task][:, 3, 0] - before[task][:, 3, 0] for task in TASKS}
    early = after["shape"][:, 2, 0] - after["colour"][:, 2, 0]
    late = after["shape"][:, 2, 2] - after["colour"][:, 2, 2]
    return [
        check_within(
            "orientation-early-shape",
            f"class by shape: anisotropy of the first filters, trained less untrained, {_interval(learned['shape'])}: "
            "lower end",
            _ends(learned["shape"], quick)[0],
            (0, 1),
            reason="early filters pick up orientation, where the class is a direction",
        ),
        check_within(
            "orientation-early-colour",
            f"class by colour: the same, {_interval(learned['colour'])}; which photograph: "
            f"{_interval(learned['photographs'])}; class by shape less class by colour: lower end",
            _ends(learned["shape"] - learned["colour"], quick)[0],
            (0, 1),
            reason="orientation is no matter of course in early filters: they take it up as far as the class needs it",
        ),
        check_within(
            "orientation-responses",
            "tuning to the direction of gratings, class by shape less class by colour: layer 1 "
            f"{_interval(early)}, layer 3 {_interval(late)}: mean of layer 3",
            float(late.mean()),
            (0, 1),
            reason="later layers keep it as far as the class needs it",
        ),
    ]


def _model_claims(measured: dict[str, tuple[Array, Array]]) -> list[Claim]:
    claims = []
    for name, (found, random) in measured.items():
        filters, low = found[1], 0.1
        steps = ", ".join(f"{value:.2f}" for value in filters)
        falls = "NudeNet" in name
        claims += [
            check_within(
                f"{name}-early-colour",
                f"{name}: share of the first filters' energy off the grey axis",
                float(filters[0]),
                (0, RANDOM - 0.1),
                reason="less than of random ones: first filters lean to luminance, which varies more in photographs",
            ),
            check_within(
                f"{name}-colour-rise",
                f"{name}: the same of products of transposes by layer, {steps}: last less first",
                float(filters[-1] - filters[0]),
                (-low if falls else low, low if falls else 1),
                reason="a negative result: no rise" if falls else "later layers weigh colour more, as claimed",
            ),
            check_within(
                f"{name}-early-orientation",
                f"{name}: anisotropy of the first filters less that of random ones ({random[1, 0]:.2f})",
                float(found[3, 0] - random[1, 0]),
                (0, 1),
                reason="first filters are oriented",
            ),
        ]
    return claims


# --- figures ---------------------------------------------------------------------------------------------------------


def _summary(before: dict[str, Array], after: dict[str, Array]) -> Figure:
    """Draw each measure by layer for each task, trained and untrained, with intervals."""
    figure = new_figure(PAGE_WIDTH, 5.2)
    layers = np.arange(1, 4)
    axes = figure.subplots(2, 2).ravel().tolist()
    colours = dict(zip(TASKS, (COLOURS[4], COLOURS[2], COLOURS[5], COLOURS[7]), strict=True))
    for place, (ax, name) in enumerate(zip(axes, MEASURES, strict=True)):
        for shift, task in enumerate(TASKS):
            for state, style, face in ((before, ":", "white"), (after, "-", colours[task])):
                found = np.array([mean_interval(column) for column in state[task][:, place].T])  # (layers, 3)
                errors = np.abs(found[:, 1:] - found[:, :1]).T
                ax.errorbar(
                    layers + 0.05 * (shift - 1.5), found[:, 0], errors, fmt=f"o{style}", color=colours[task],
                    markerfacecolor=face, capsize=2, markersize=5, linewidth=1.4,
                )  # fmt: skip
        if name == "colour by filters":
            ax.axhline(RANDOM, color="black", linewidth=0.6)
            ax.annotate("random filters", (3.3, RANDOM), ha="right", va="top", fontsize=8)
        ax.set(title=name, xticks=layers, ylim=(0, 1.02 if "colour" in name else 0.62))
        if place >= 2:
            ax.set_xlabel("convolution layer")
    handles = [Line2D([], [], color=colours[task], marker="o", label=LABELS[task]) for task in TASKS]
    handles.append(Line2D([], [], color="black", linestyle=":", label="untrained"))
    handles.append(Line2D([], [], color="black", linestyle="-", label="trained"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("mean over channels, and over seeds with its 95 % interval")
    return figure


def _tiles(pictures: Array, columns: int) -> Array:
    """Return pictures (count, 3, height, width) in [0, 1] side by side as one image."""
    count, _, height, width = pictures.shape
    image = np.ones((-(-count // columns) * (height + 1) - 1, columns * (width + 1) - 1, 3))
    for place, picture in enumerate(np.clip(pictures, 0, 1)):
        top, left = place // columns * (height + 1), place % columns * (width + 1)
        image[top : top + height, left : left + width] = picture.transpose(1, 2, 0)
    return image


def _around_grey(filters: Array) -> Array:
    """Return filters, each scaled to [0, 1] with 0 at grey."""
    scaled: Array = 0.5 + 0.5 * filters / np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    return scaled


def _filters_figure(trained: dict[str, nn.Sequential], sources: list[Array]) -> Figure:
    """Draw images of the tasks, and of each trained network the first filters and the composite ones of layer 3."""
    figure = new_figure(PAGE_WIDTH, 5.2)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1, 2.6))
    rng = np.random.default_rng(3)
    left, right = parts[0].subplots(1, 2).tolist()
    shown = {
        "ellipses: four directions, four hues": ellipses(sources, 16, rng)[0],
        "crops": crops(sources, 16, rng).images,
    }
    for ax, (name, pictures) in zip((left, right), shown.items(), strict=True):
        ax.imshow(_tiles(pictures, 8))
        ax.set_title(name)
        without_frame(ax)
    grid = parts[1].subplots(2, len(TASKS))
    for column, task in enumerate(TASKS):
        filters = _composites(trained[task])
        for row, (layer, columns) in enumerate(((filters[0], 4), (filters[2], 6))):
            ax = grid[row, column]
            ax.imshow(_tiles(_around_grey(layer), columns), interpolation="nearest")
            without_frame(ax)
        grid[0, column].set_title(LABELS[task], fontsize=8.5)
    grid[0, 0].set_ylabel("filters of layer 1")
    grid[1, 0].set_ylabel("layer 3, projected back")
    return figure


def _models_figure(models: list[Trained], measured: dict[str, tuple[Array, Array]]) -> Figure:
    """Draw first filters and those of the last layer projected back, and the measures by layer."""
    figure = new_figure(PAGE_WIDTH, 5.0)
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.5, 1))
    grid = parts[0].subplots(2, len(models), squeeze=False)
    for column, model in enumerate(models):
        filters = composite_filters(model.weights, model.strides, model.pools)
        for row, layer in enumerate((filters[0], filters[-1])):
            ax = grid[row, column]
            ax.imshow(_tiles(_around_grey(layer[:32]), 4), interpolation="nearest")
            without_frame(ax)
        grid[0, column].set_title(model.name.replace(" (", "\n("), fontsize=9)
    grid[0, 0].set_ylabel("filters of layer 1")
    grid[1, 0].set_ylabel("last layer read, projected back")
    top, bottom = parts[1].subplots(2, 1).tolist()
    for colour, (name, (found, random)) in zip((4, 2, 5, 7), measured.items(), strict=False):
        layers = np.arange(1, found.shape[1] + 1)
        for ax, own, control in ((top, found[1], random[0]), (bottom, found[3], random[1])):
            ax.plot(layers, own, "o-", color=COLOURS[colour], label=name)
            ax.plot(layers, control, "o:", color=COLOURS[colour], markerfacecolor="white", linewidth=1)
            ax.set(xticks=range(1, 5), ylim=(0, 1))
    top.set(title="colour by filters (dotted: random weights)")
    bottom.set(title="orientation by filters", xlabel="convolution layer")
    bottom.legend(frameon=False, fontsize=8, ncols=2)
    return figure
