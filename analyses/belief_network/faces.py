"""A belief network of three layers on faces: what its features tell of the class, and the filling-in of hidden halves.

The images are scikit-image's 100 faces and 100 other patches of the same photographs, 25 x 25 pixels each; 60 of both
are for training. A network trained on both kinds is asked how much its features tell of the class, one trained on faces
how well it completes a face whose right half is hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from scipy.stats import wilcoxon

import convmatrix as cm
from analyses import Claim, check_within
from analyses._features import faces
from analyses._figures import COLOURS, PAGE_WIDTH, draw_grid, new_figure, without_frame
from analyses.belief_network.photographs import projected, shuffled, start_visible_biases
from convmatrix import nn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convmatrix.arrays import Array

SIZE = 24
TRAINED = 60  # of each class; as many again by mirroring
SEEN = 12  # columns of a face that are known
FAR = 4  # columns from there on that are not compared: preparing an image mixes pixels that are this near
TARGETS = (0.02, 0.03, 0.1)  # mean activations
STEPS = (400, 400, 300)
QUICK_STEPS = (150, 150, 100)
SHUFFLES = 5
ACTIVE = 0.25  # share of the images in which a feature counts as active


@dataclass(frozen=True)
class Images:
    """Faces and other patches, prepared, (images, 1, SIZE, SIZE)."""

    faces: Array
    others: Array

    @property
    def train_faces(self) -> Array:
        """Faces for training, and their mirror images."""
        return _mirrored(self.faces[:TRAINED])

    @property
    def train_both(self) -> Array:
        """Images of both classes for training, and their mirror images."""
        return np.concatenate([self.train_faces, _mirrored(self.others[:TRAINED])])


def face_claims(*, quick: bool) -> tuple[list[Claim], Figure, Figure]:
    """Train on both classes and on faces, measure, and draw."""
    images, steps = load_images(), QUICK_STEPS if quick else STEPS
    both = train(images.train_both, steps)
    entropies = {
        "trained": conditional_entropies(both, images),
        "shuffled": [
            np.concatenate(found)
            for found in zip(
                *(conditional_entropies(with_shuffled_weights(both, seed), images) for seed in range(SHUFFLES)),
                strict=True,
            )
        ],
        "untrained": conditional_entropies(untrained(images.train_both), images),
    }
    network = train(images.train_faces, steps)
    completions = complete(network, images, sweeps=30 if quick else 60)
    scores = {name: correlations(found, images.faces[TRAINED:]) for name, found in completions.items()}
    claims = [*_entropy_claims(entropies), *_completion_claims(scores, completions, images)]
    samples = network.sample(
        network.initial_units(0.5 * np.random.default_rng(5).standard_normal((8, 1, SIZE, SIZE)).astype(np.float32)),
        sweeps=50,
        rng=6,
    )
    drawn = network.layers[0].visible_mean(samples[1])
    return claims, _features_figure(network, drawn), _results_figure(entropies, completions, scores, images)


def load_images() -> Images:
    """Return the images without low frequencies and of one local contrast."""
    images = faces(SIZE, floor=0.02)

    def blurred(x: Array, width: float) -> Array:
        return ndimage.gaussian_filter(x, (0, width, width))

    band = blurred(images, 0.6) - blurred(images, 3)
    band /= np.sqrt(blurred(band**2, 5) + 0.05)
    prepared = (band / band.std())[:, None].astype(np.float32)
    return Images(prepared[:100], prepared[100:])


def _mirrored(images: Array) -> Array:
    return np.concatenate([images, images[..., ::-1]])


def untrained(samples: Array) -> nn.BeliefNetwork:
    """Return three machines, the last of which sees the whole image, with small random weights."""
    first = cm.ConvGeometry((SIZE, SIZE), (7, 7), out_channels=16)
    second = cm.ConvGeometry((9, 9), (4, 4), in_channels=16, out_channels=32)
    third = cm.ConvGeometry((3, 3), (3, 3), in_channels=32, out_channels=24)
    network = nn.BeliefNetwork([
        nn.BoltzmannMachine(first, 2, visible="real", border="given", scale=0.01, bias=-3, rng=0),
        nn.BoltzmannMachine(second, 2, scale=0.02, bias=-3, rng=1),
        nn.BoltzmannMachine(third, 1, scale=0.05, bias=-2, rng=2),
    ])  # fmt: skip
    for place in (1, 2):
        start_visible_biases(network, place, samples)
    return network


def train(samples: Array, steps: tuple[int, ...]) -> nn.BeliefNetwork:
    """Train one layer after the other."""
    network = untrained(samples)
    for place, count in enumerate(steps):
        if place:
            start_visible_biases(network, place, samples)
        only = [count if other == place else 0 for other in range(len(steps))]
        options: dict[str, Any] = {} if place == 0 else {"optimiser": lambda: nn.Adam(0.01)}
        nn.fit_greedily(network, samples, steps=only, batch_size=10, sparsity=TARGETS, rng=place, **options)
    return network


def with_shuffled_weights(network: nn.BeliefNetwork, seed: int = 0) -> nn.BeliefNetwork:
    """Return a copy whose filters above the first layer have their weights at other places."""
    copy, rng = untrained(np.zeros((1, 1, SIZE, SIZE), dtype=np.float32)), np.random.default_rng(seed)
    copy.load_state(network.state())
    for machine in copy.layers[1:]:
        machine.parameters["weight"][...] = shuffled(machine.parameters["weight"], rng)
    return copy


# --- the class given a feature ---------------------------------------------------------------------------------------


def conditional_entropies(network: nn.BeliefNetwork, images: Images) -> list[Array]:
    """Return for each layer and channel the entropy of the class, in bits, where the channel is active.

    A channel is active in the quarter of the test images in which its most active unit is most active.
    """
    x = np.concatenate([images.faces[TRAINED:], images.others[TRAINED:]])
    is_face = np.arange(len(x)) < len(images.faces) - TRAINED
    count, found = round(ACTIVE * len(x)), []
    for machine in network.layers:
        x = machine.forward(x)
        activity = x.max(axis=(2, 3))  # (images, channels)
        strongest = np.argsort(-activity, axis=0, kind="stable")[:count]
        share = is_face[strongest].mean(axis=0)
        found.append(_entropy(share))
    return found


def _entropy(share: Array) -> Array:
    """Return the entropy of two classes, in bits."""
    p = np.clip(np.stack([share, 1 - share]), 1e-300, 1)
    entropy: Array = np.maximum(-(p * np.log2(p)).sum(axis=0), 0)
    return entropy


def _entropy_claims(entropies: dict[str, list[Array]]) -> list[Claim]:
    mean = {name: [float(layer.mean()) for layer in found] for name, found in entropies.items()}
    shown = {name: ", ".join(f"{value:.2f}" for value in found) for name, found in mean.items()}
    return [
        check_within(
            "entropy",
            f"mean entropy of the class (face or not) where a feature is active, in layers 1, 2, 3: {shown['trained']} "
            "bits; layer 1 less the lowest above",
            mean["trained"][0] - min(mean["trained"][1:]),
            (0, 1),
            reason="higher features are more specific to one class, as in the paper",
        ),
        check_within(
            "entropy-third-shuffled",
            f"the same with weights of layers 2 and 3 shuffled in {SHUFFLES} ways ({shown['shuffled']} bits): layer 3, "
            "shuffled less trained",
            mean["shuffled"][2] - mean["trained"][2],
            (0, 1),
            reason="it is the arrangement of the weights that is specific",
        ),
        check_within(
            "entropy-second-shuffled",
            "the same of layer 2",
            mean["shuffled"][1] - mean["trained"][1],
            (-1, 0.05),
            reason="a negative result: how much is active in the first layer tells as much of the class as parts do",
        ),
        check_within(
            "entropy-untrained",
            f"the same for the network before training ({shown['untrained']} bits)",
            min(mean["untrained"][1:]) - min(mean["trained"][1:]),
            (0, 1),
            reason="specificity is learned",
        ),
    ]


# --- hidden halves ---------------------------------------------------------------------------------------------------


def complete(network: nn.BeliefNetwork, images: Images, sweeps: int) -> dict[str, Array]:
    """Return test faces whose right half is inferred from the left one, in several ways."""
    faces = images.faces[TRAINED:]
    known = np.broadcast_to(np.arange(SIZE) < SEEN, (1, SIZE, SIZE))
    start = np.where(known, faces, 0).astype(np.float32)

    def inferred(by: nn.BeliefNetwork, *, top_down: bool = True) -> Array:
        return by.infer(start, known, sweeps=sweeps, discard=sweeps // 3, top_down=top_down, rng=1)[0]

    return {
        "three layers": inferred(network),
        "two layers": inferred(nn.BeliefNetwork(network.layers[:2])),
        "bottom-up": inferred(network, top_down=False),
        "shuffled": inferred(with_shuffled_weights(network)),
        "mean face": np.repeat(images.train_faces.mean(axis=0, keepdims=True), len(faces), axis=0),
        "mirrored": faces[..., ::-1],
    }


def correlations(found: Array, faces: Array) -> Array:
    """Return for each face the correlation of the inferred half with the true one, away from what was seen."""
    columns = (slice(None), 0, slice(None), slice(SEEN + FAR, None))
    pairs = [part[columns].reshape(len(faces), -1).astype(np.float64) for part in (found, faces)]
    a, b = (part - part.mean(axis=1, keepdims=True) for part in pairs)
    norms = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    correlation: Array = (a * b).sum(axis=1) / np.maximum(norms, 1e-12)
    return correlation


def _completion_claims(scores: dict[str, Array], completions: dict[str, Array], images: Images) -> list[Claim]:
    mean = {name: float(found.mean()) for name, found in scores.items()}
    joint, faces = scores["three layers"], images.faces[TRAINED:]
    p_value = float(wilcoxon(joint, scores["bottom-up"], alternative="greater").pvalue)
    others = np.mean(
        [correlations(completions["three layers"], np.roll(faces, shift, axis=0)) for shift in range(1, len(faces))]
    )
    return [
        check_within(
            "completion",
            f"hidden half of a face, correlation with the truth: inference in both directions less bottom-up, "
            f"{mean['three layers']:.2f} - {mean['bottom-up']:.2f}",
            mean["three layers"] - mean["bottom-up"],
            (0.05, 1),
            reason="layers above fill in what is hidden, as in the paper",
        ),
        check_within(
            "completion-p",
            "p-value of no difference between the two",
            p_value,
            (0, 0.05),
            reason=f"rejected at 5 %, Wilcoxon test on {len(faces)} faces",
        ),
        check_within(
            "completion-shuffled",
            f"the same less that with weights of layers 2 and 3 shuffled, {mean['shuffled']:.2f}",
            mean["three layers"] - mean["shuffled"],
            (0.05, 1),
            reason="it is what was learned that fills in",
        ),
        check_within(
            "completion-depth",
            f"correlation with three layers less that with two ({mean['two layers']:.2f})",
            mean["three layers"] - mean["two layers"],
            (0, 1),
            reason="only units of the third layer see both halves whole",
        ),
        check_within(
            "completion-mean-face",
            f"correlation of the mean of the training faces ({mean['mean face']:.2f}) less that of inference",
            mean["mean face"] - mean["three layers"],
            (0, 1),
            reason="a negative result: what is filled in is no closer to the truth than the mean face",
        ),
        check_within(
            "completion-own",
            f"correlation with the own hidden half less that with those of other faces ({others:.2f})",
            mean["three layers"] - float(others),
            (-0.1, 0.1),
            reason="a negative result: what is filled in is a face, and little of this face",
        ),
    ]


# --- figures ---------------------------------------------------------------------------------------------------------


def _features_figure(network: nn.BeliefNetwork, drawn: Array) -> Figure:
    """Draw the features of the three layers, projected back to the image, and samples."""
    figure = new_figure(PAGE_WIDTH, 4.0)
    parts: Any = figure.subfigures(2, 2)
    titles = ("first layer: filters", "second layer, projected back", "third layer, projected back", "samples")
    filters = network.layers[0].parameters["weight"][:, 0]
    groups = [filters, projected(network, 1), projected(network, 2)[:24], drawn[:, 0]]
    for part, title, pictures in zip(parts.ravel().tolist(), titles, groups, strict=True):
        part.suptitle(title)
        draw_grid(part, pictures, 8 if len(pictures) > 8 else 4, cmap="gray")
    return figure


def _results_figure(
    entropies: dict[str, list[Array]], completions: dict[str, Array], scores: dict[str, Array], images: Images
) -> Figure:
    """Draw completions of faces, the correlations, and the entropies."""
    figure = new_figure(PAGE_WIDTH, 4.6)
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.1, 1))
    left, right = parts
    faces = images.faces[TRAINED:]
    shown = np.arange(0, len(faces), len(faces) // 8)[:8]
    seen = np.array(faces)
    seen[..., SEEN:] = np.nan
    rows = {"face": faces, "seen": seen, **{name: completions[name] for name in ("bottom-up", "three layers")}}
    rows["mean face"] = completions["mean face"]
    grid = left.subplots(len(rows), len(shown))
    left.suptitle("hidden halves, inferred from the left ones")
    for line, (name, pictures) in zip(grid, rows.items(), strict=True):
        for axes, index in zip(line, shown, strict=True):
            picture = np.ma.masked_invalid(pictures[index, 0])
            half = np.abs(picture[:, SEEN:]).max() if name not in ("seen", "face") else np.abs(faces[index]).max()
            picture = picture.copy()
            if name not in ("seen", "face"):  # what is inferred is shown by itself, at its own contrast
                picture[:, :SEEN] = faces[index, 0, :, :SEEN] * half / np.abs(faces[index]).max()
            axes.imshow(picture, cmap="gray", vmin=-half, vmax=half, interpolation="nearest")
            without_frame(axes)
        line[0].set_ylabel(name.replace(" ", "\n"), fontsize=8)
    top, bottom = right.subplots(2, 1).tolist()
    names = list(scores)
    for place, name in enumerate(names):
        colour = COLOURS[4] if name == "three layers" else COLOURS[7]
        jitter = 0.12 * np.random.default_rng(0).uniform(-1, 1, len(scores[name]))
        top.plot(place + jitter, scores[name], "o", color=colour, markersize=3, alpha=0.7)
        top.hlines(scores[name].mean(), place - 0.3, place + 0.3, color="black")
    top.axhline(0, color="black", linewidth=0.6)
    top.set_xticks(range(len(names)), [name.replace(" ", "\n").replace("-", "-\n") for name in names], fontsize=6.5)
    top.set_xlim(-0.6, len(names) - 0.4)
    top.set(ylabel="correlation with the truth", title="hidden halves (lines: means)")
    layers = np.arange(1, 4)
    styles = {"trained": ("o-", COLOURS[4]), "shuffled": ("s--", COLOURS[5]), "untrained": ("^:", COLOURS[7])}
    for name, found in entropies.items():
        means = [layer.mean() for layer in found]
        errors = [layer.std(ddof=1) / np.sqrt(len(layer)) for layer in found]
        style, colour = styles[name]
        bottom.errorbar(layers, means, errors, fmt=style, color=colour, capsize=3, label=name)
    bottom.set(xlabel="layer", ylabel="entropy of the class, bits", xticks=layers, ylim=(0, 1.05))
    bottom.set_title("classes where a feature is active\n(bars: standard errors)")
    bottom.legend(frameon=False, loc="lower left")
    return figure
