"""Parameter sharing pays: convolutional, tiled, locally connected and dense networks on the same few images.

Source: Goodfellow, Bengio, Courville, Deep Learning, 2016, section 9.2, for the claim that parameter sharing is
statistically efficient, and section 9.5 for tiled and locally connected layers. The data are scikit-learn's digits, so
that this is a demonstration and no replication.

Moved digits lie anywhere in a field of 12 x 12 pixels; in the control the same digits are fixed in the middle of the
same field. The networks have the same depth and the same units in each layer, and all but the dense one the same
receptive fields; they differ in how many units share a weight. Parameters are not all that differs: the 2x2 windows of
pooling take the largest of one filter at four positions in the convolutional network, of four filters in the others.
Nor need some of the sharing give some of the gain: see the tiled network in the figure.

All are trained by one recipe, the same steps of Adam on as many images each. The one thing that is chosen, the learning
rate, is chosen for each network from the same three, by its error on images of a third of the data that is kept for
this alone. For each seed the other two thirds are split anew into training and test images, digits are put in new
places, and weights start anew, so that the error bars hold the chance of all three. The networks of a seed share its
images and places, so that they are compared as pairs. (The quick run has one seed, and no choice of the rate.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import stats
from sklearn.datasets import load_digits

import convmatrix as cm
from analyses import Claim, Context, check_equal, check_within
from analyses._figures import COLOURS, PAGE_WIDTH, PANEL_WIDTH, new_figure
from convmatrix import nn
from convmatrix.nn.images import hold_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from convmatrix.arrays import Array

Kind = Literal["convolution", "tiled 2x2", "locally connected", "dense"]
Place = Literal["moved", "centred"]
KINDS: tuple[Kind, ...] = ("convolution", "tiled 2x2", "locally connected", "dense")
PLACES: tuple[Place, ...] = ("moved", "centred")
SIZE, MAPS, KERNEL = 12, (6, 12), 3
COUNTS = (100, 300)  # training images; the claims are about the last
RATES, STEPS, BATCH = (0.003, 0.01, 0.03), 240, 25
LEVEL = 0.05  # of a test, shared by the three networks that are held against convolution


@dataclass(frozen=True)
class Errors:
    """Errors of one network for one number of training images, (seeds,) each."""

    train: Array
    test: Array


Found = dict[tuple[Place, Kind, int], Errors]


def run(context: Context) -> list[Claim]:
    """Train every network on moved digits and, as a control, on centred ones."""
    seeds = range(1, 2) if context.quick else range(1, 6)
    places, counts = (PLACES[:1], COUNTS[-1:]) if context.quick else (PLACES, COUNTS)
    found: Found = {}
    for place in places:
        for kind in KINDS:
            rate = RATES[1] if context.quick else choose_rate(kind, place)
            for count in counts:
                pairs = [errors_of(kind, place, count, rate, seed) for seed in seeds]
                train, test = np.array(pairs).T
                found[place, kind, count] = Errors(train, test)
    context.save_figure(_figure(found))
    claims = [*_claims_on_sizes(), *_claims_on_moved(found, context.quick)]
    return claims if context.quick else claims + _claims_on_control(found)


# --- claims ----------------------------------------------------------------------------------------------------------


def _claims_on_sizes() -> list[Claim]:
    """Return what makes the comparison one of sharing alone."""
    positions, inputs = (SIZE**2, (SIZE // 2) ** 2), (1, MAPS[0])
    distinct = {"convolution": (1, 1), "tiled 2x2": (4, 4), "locally connected": positions}
    by_formula = [
        sum(KERNEL**2 * n * maps * places for n, maps, places in zip(inputs, MAPS, distinct[kind], strict=True))
        if kind in distinct
        else sum(n * maps * count**2 for n, maps, count in zip(inputs, MAPS, positions, strict=True))
        for kind in KINDS
    ]
    return [
        check_equal(
            "hidden-units",
            "hidden units of the four networks",
            sorted({hidden_units(kind) for kind in KINDS}),
            expected=[sum(maps * count for maps, count in zip(MAPS, positions, strict=True))],
            reason="the same maps of the same sizes, whatever is shared",
        ),
        check_equal(
            "weights",
            "weights of the hidden layers: " + ", ".join(KINDS),
            [hidden_weights(kind) for kind in KINDS],
            expected=by_formula,
            reason="the taps of a pair of maps times the positions that share none; dense: all pairs of units",
        ),
    ]


def _claims_on_moved(found: Found, quick: bool) -> list[Claim]:
    """Return whether sharing pays where digits move. One seed is too few for a test."""
    claims = []
    for kind in KINDS[1:]:
        gap = _gap(found, "moved", kind)
        reason = "what is learned at one place serves at all others"
        if not quick:
            reason += f"; the least mean that chance gives at level {LEVEL:g}, one-sided, for {len(KINDS) - 1} networks"
        least = 0.0 if quick else _least_mean(gap)
        claims.append(
            check_within(f"moved-{kind}", f"moved digits: {_of(kind)}", float(gap.mean()), (least, 1), reason=reason)
        )
    trained = [float(found["moved", kind, COUNTS[-1]].train.mean()) for kind in KINDS]
    claims.append(
        check_within(
            "training-error",
            "moved digits: mean training error of convolution less the largest of the others",
            trained[0] - max(trained[1:]),
            (0, 1),
            reason="the others fit what they are shown at least as well; what they lack is generalisation",
        )
    )
    return claims


def _claims_on_control(found: Found) -> list[Claim]:
    """Return whether it is the moving that sharing pays for, by the same test."""
    centred = {kind: _gap(found, "centred", kind) for kind in KINDS[1:]}
    differences = {kind: _gap(found, "moved", kind) - gap for kind, gap in centred.items()}
    claims = [
        check_within(
            f"centred-{kind}",
            f"centred digits, the control: {_of(kind)}",
            float(gap.mean()),
            (-1, _least_mean(gap)),
            reason="sharing gains nothing beyond chance where digits stay; below 0 it costs",
        )
        for kind, gap in centred.items()
    ]
    claims += [
        check_within(
            f"difference-{kind}",
            f"moved less centred: {_of(kind)}",
            float(gap.mean()),
            (_least_mean(gap), 1),
            reason="the gain comes from the moving, the one thing that differs; by the same test",
        )
        for kind, gap in differences.items()
    ]
    falls = [
        float((found[place, kind, COUNTS[0]].test - found[place, kind, COUNTS[-1]].test).mean())
        for place in PLACES
        for kind in KINDS
    ]
    claims.append(
        check_within(
            "fall",
            f"least fall of a mean test error from {COUNTS[0]} to {COUNTS[-1]} training images",
            min(falls),
            (0, 1),
            reason="more images help every network, shared or not",
        )
    )
    return claims


def _of(kind: Kind) -> str:
    return f"test error of {kind} less that of convolution, mean of seeds"


def _gap(found: Found, place: Place, kind: Kind) -> Array:
    """Return how much more a network errs than the convolutional one of the same seed."""
    gap: Array = found[place, kind, COUNTS[-1]].test - found[place, "convolution", COUNTS[-1]].test
    return gap


def _least_mean(differences: Array) -> float:
    """Return the least mean of differences that Student's test takes for more than chance."""
    tests = len(KINDS) - 1  # Bonferroni
    quantile = stats.t.ppf(1 - LEVEL / tests, len(differences) - 1)
    return float(quantile * standard_error(differences))


def standard_error(values: Array) -> float:
    """Return the standard error of the mean of two or more values."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


# --- networks --------------------------------------------------------------------------------------------------------


class Maps(nn.Layer):
    """The units of a dense layer as maps, so that they are pooled as those of the other networks."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the units in rows and columns."""
        return x.reshape(len(x), *self.shape)

    def backward(self, g: Array) -> Array:
        """Return the units in a line."""
        return g.reshape(len(g), -1)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the maps."""
        return self.shape


def network(kind: Kind, seed: int) -> nn.Sequential:
    """Return a network of two hidden layers, each pooled by two, the second of half the size; then ten units."""
    rng = np.random.default_rng(seed)
    first, second = _layer(kind, 1, MAPS[0], SIZE, rng), _layer(kind, MAPS[0], MAPS[1], SIZE // 2, rng)
    return nn.Sequential([
        *first, nn.ReLU(), nn.MaxPool(2),
        *second, nn.ReLU(), nn.MaxPool(2),
        nn.Dense(MAPS[1] * (SIZE // 4) ** 2, 10, rng=rng),
    ])  # fmt: skip


def _layer(kind: Kind, inputs: int, outputs: int, size: int, rng: np.random.Generator) -> list[nn.Layer]:
    """Return a layer from maps to maps of one size."""
    if kind == "dense":
        dense = nn.Dense(inputs * size**2, outputs * size**2, initialiser=nn.he_normal, rng=rng)
        return [dense, Maps(outputs, size, size)]
    sharing: Any = {"convolution": "shared", "tiled 2x2": (2, 2), "locally connected": "unshared"}[kind]
    geometry = cm.ConvGeometry(
        (size, size), (KERNEL, KERNEL), in_channels=inputs, out_channels=outputs, padding=KERNEL // 2, sharing=sharing
    )
    bias: Any = "unit" if kind == "locally connected" else "channel"
    return [nn.Conv(geometry, bias=bias, initialiser=nn.he_normal, rng=rng)]


def count_parameters(kind: Kind) -> int:
    """Return the number of trained parameters, biases and the last layer among them."""
    return sum(array.size for array in network(kind, 0).parameters.values())


def hidden_weights(kind: Kind) -> int:
    """Return the number of weights of both hidden layers."""
    layers = [layer for layer in network(kind, 0).layers if "weight" in layer.parameters]
    return sum(layer.parameters["weight"].size for layer in layers[:-1])


def hidden_units(kind: Kind) -> int:
    """Return the number of units of both hidden layers."""
    made, x = network(kind, 0), np.zeros((1, 1, SIZE, SIZE))
    places = [place for place, layer in enumerate(made.layers) if isinstance(layer, nn.ReLU)]
    return sum(nn.activations(made, x, place).size for place in places)


# --- training --------------------------------------------------------------------------------------------------------


def choose_rate(kind: Kind, place: Place) -> float:
    """Return the learning rate with the smallest error on the part of the data that is kept for this."""
    images, labels = load_digits(return_X_y=True)
    _, kept = hold_out(labels, 1 / 3)
    errors = {rate: _train(kind, place, images[kept], labels[kept], COUNTS[-1], rate, 0)[1] for rate in RATES}
    return min(errors, key=lambda rate: errors[rate])


def errors_of(kind: Kind, place: Place, count: int, rate: float, seed: int) -> tuple[float, float]:
    """Return training and test error on the part of the data by which nothing is chosen."""
    images, labels = load_digits(return_X_y=True)
    free, _ = hold_out(labels, 1 / 3)
    return _train(kind, place, images[free], labels[free], count, rate, seed)


def _train(
    kind: Kind, place: Place, digits: Array, labels: Array, count: int, rate: float, seed: int
) -> tuple[float, float]:
    """Train on ``count`` of the digits; return the errors on these and on ``digits`` less the largest training set."""
    images = place_digits(digits.reshape(-1, 8, 8) / 16, place, seed)
    test, largest = hold_out(labels, max(COUNTS) / len(labels), rng=seed)
    train = largest[hold_out(labels[largest], 1 - count / len(largest), rng=seed)[0]]
    trained = network(kind, seed)
    nn.fit(
        trained,
        images[train],
        labels[train],
        epochs=STEPS * BATCH // count,
        batch_size=BATCH,
        optimiser=nn.Adam(nn.cosine_decay(rate, STEPS)),
        metrics={},
        rng=seed,
    )
    of_train, of_test = (1 - nn.accuracy(nn.predict(trained, images[part]), labels[part]) for part in (train, test))
    return of_train, of_test


def place_digits(digits: Array, place: Place, seed: int) -> Array:
    """Return digits (samples, 8, 8) in fields (samples, 1, 12, 12): each at a random place, or all in the middle."""
    room = SIZE - digits.shape[-1]
    corners = np.random.default_rng([seed, room]).integers(0, room + 1, (len(digits), 2))
    if place == "centred":
        corners[:] = room // 2
    fields = np.zeros((len(digits), 1, SIZE, SIZE), dtype=np.float32)
    for field, digit, (top, left) in zip(fields, digits, corners, strict=True):
        field[0, top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return fields


# --- figure ----------------------------------------------------------------------------------------------------------

LOOKS = {
    "convolution": (COLOURS[4], "o"),
    "tiled 2x2": (COLOURS[2], "s"),
    "locally connected": (COLOURS[0], "^"),
    "dense": (COLOURS[5], "D"),
}


def _figure(found: Found) -> Figure:
    """Draw errors against parameters and, where there are several, against numbers of training images."""
    places = [place for place in PLACES if (place, KINDS[0], COUNTS[-1]) in found]
    counts = [count for count in COUNTS if (places[0], KINDS[0], count) in found]
    seeds = len(found[places[0], KINDS[0], COUNTS[-1]].test)
    several = len(counts) > 1
    figure = new_figure(PAGE_WIDTH, 3.3) if several else new_figure(PANEL_WIDTH, 3.6)
    panels: list[Axes] = list(figure.subplots(1, len(places) + several, squeeze=False)[0])
    for axes, place in zip(panels, places, strict=False):
        for kind in KINDS:
            colour, marker = LOOKS[kind]
            x, values = count_parameters(kind), 100 * found[place, kind, COUNTS[-1]].test
            bar = standard_error(values) if seeds > 1 else None
            axes.errorbar(x, values.mean(), bar, fmt=marker, color=colour, capsize=4, label=f"{kind}: {x:,}")
            if seeds > 1:
                axes.plot(np.full(seeds, x * 1.18), values, ".", color=colour, alpha=0.5, markersize=4)
        axes.set(xscale="log", xlabel="trained parameters", title=f"{place} digits, {COUNTS[-1]} images")
        axes.margins(x=0.15, y=0.12)
        axes.set_ylim(bottom=0)
    if several:
        for place, style in zip(places, ("-", "--"), strict=True):
            for kind in KINDS:
                colour, marker = LOOKS[kind]
                values = np.array([100 * found[place, kind, count].test for count in counts])  # (counts, seeds)
                errors = [standard_error(row) for row in values]
                panels[-1].errorbar(
                    counts, values.mean(axis=1), errors, fmt=style, marker=marker, color=colour, capsize=4
                )
        panels[-1].set(xscale="log", yscale="log", xlabel="training images", title="moved (-), centred (- -)")
        for axis, ticks in ((panels[-1].xaxis, counts), (panels[-1].yaxis, [5, 10, 20, 50])):
            axis.set_ticks(ticks, [str(tick) for tick in ticks])
            axis.set_ticks([], minor=True)
        panels[-1].margins(x=0.15, y=0.1)
    panels[0].set_ylabel("test error in %")
    if seeds > 1:
        figure.suptitle(f"mean of {seeds} seeds and its standard error; small dots are the seeds; mind the scales")
    else:
        panels[0].set_title(f"{panels[0].get_title()}, one seed")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2 if len(panels) == 1 else 4, frameon=False)
    return figure
