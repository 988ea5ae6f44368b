"""LeNet-5 and the network of 1989 trained on real digits, beside the same network in PyTorch.

Source: LeCun et al., Backpropagation applied to handwritten zip code recognition, Neural Computation 1(4), 1989, and
LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, Proc. IEEE 86(11), 1998, for
the networks. Their data sets are not here: these are the 1,797 digits of 8x8 of scikit-learn, enlarged to the networks'
input sizes, so that this is a demonstration on another data set and no replication.

Each seed splits the digits at random, stratified: 1,437 to train on, 360 to test. In every epoch each image is moved,
turned and stretched anew, by up to two pixels (1989: one), 0.2 radians and a tenth. Learning rate, batch size, epochs
and these amounts were chosen for LeNet-5 by its accuracy on a fifth of the training part of other splits (seeds 100 to
103: 99.1 %, and 98.3 % when images were only moved, at twice the rate), once for all seeds; no test part had a say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import map_coordinates
from sklearn.datasets import load_digits

from analyses import Claim, Context, check_equal, check_within, skipped
from analyses._figures import COLOURS, PAGE_WIDTH, new_figure, plain_logarithms, shades
from convmatrix import nn
from convmatrix.network.architectures import LENET5_C3
from convmatrix.nn.images import enlarge, hold_out, to_range

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convmatrix.arrays import Array

TEST, BATCH, RATE = 360, 64, 0.004
TURN, STRETCH = 0.2, 0.1  # radians; logarithm of the factor


@dataclass(frozen=True)
class Recipe:
    """A network, what it takes, and how it is trained."""

    title: str
    make: Callable[..., nn.Sequential]
    loss: nn.Loss
    inner: int
    """Height and width of the digit; the rest of the input is background."""
    size: int
    background: float
    foreground: float
    shift: int

    def images(self) -> Array:
        """Return the digits as the network takes them."""
        digits = to_range(
            enlarge(load_digits().images, (self.inner, self.inner)), self.background, self.foreground, source=(0, 16)
        )
        border = (self.size - self.inner) // 2
        padding = [(0, 0), (border, border), (border, border)]
        return np.pad(digits, padding, constant_values=self.background)[:, None].astype(np.float32)

    def deformed(self, images: Array, rng: np.random.Generator) -> Array:
        """Return images that are each moved, turned and stretched at random; what comes in is background."""
        n, centre = len(images), (self.size - 1) / 2
        angle = rng.uniform(-TURN, TURN, n)
        stretch = np.exp(rng.uniform(-STRETCH, STRETCH, (2, n)))
        shift = rng.uniform(-self.shift, self.shift, (2, n))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # (2, 2, n)
        pixels = np.indices((self.size, self.size)) - centre
        read = np.einsum("abn,byx->anyx", turn * stretch[:, None], pixels) + (shift + centre)[:, :, None, None]
        samples = np.broadcast_to(np.arange(n)[:, None, None], read.shape[1:])
        deformed = map_coordinates(images[:, 0], [samples, *read], order=1, cval=self.background)
        return np.asarray(deformed)[:, None]


LENET5 = Recipe("LeNet-5", nn.lenet5, nn.SoftmaxCrossEntropy(), 28, 32, -0.1, 1.175, shift=2)
LECUN1989 = Recipe("LeCun 1989", nn.lecun1989, nn.SquaredError(), 16, 16, -1.0, 1.0, shift=1)


@dataclass
class Training:
    """Results of one training: loss and test accuracy per epoch, and the final outputs for the test images."""

    loss: list[float]
    accuracy: list[float]
    output: Array
    labels: Array


def run(context: Context) -> list[Claim]:
    """Train both networks with several seeds, and LeNet-5 once more in PyTorch."""
    seeds, epochs = (range(1), 4) if context.quick else (range(5), 40)
    least = (0.8, 0.5) if context.quick else (0.985, 0.96)
    found = {recipe.title: [train(recipe, seed, epochs) for seed in seeds] for recipe in (LENET5, LECUN1989)}
    length = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}, {epochs} epochs"
    mean = {title: float(np.mean([t.accuracy[-1] for t in trainings])) for title, trainings in found.items()}
    reasons = ("what such networks reach on these digits", "a sixth of the parameters")
    if context.quick:
        reasons = ("a short training, but far above the 0.1 of chance",) * 2
    claims = [
        check_equal(
            "split",
            "images to train on and to test, of each class at most one apart from its share",
            _split_sizes(),
            expected=[len(load_digits().target) - TEST, TEST, True],
            reason="a random stratified split of 1437/360",
        )
    ]
    claims += [
        check_within(f"{key}-accuracy", f"{title}: mean test accuracy ({length})", mean[title], (low, 1), reason=reason)
        for key, title, low, reason in zip(("lenet5", "lecun1989"), mean, least, reasons, strict=True)
    ]
    theirs = [train_in_pytorch(LENET5, seed, epochs) for seed in seeds]
    others = [training for training in theirs if training is not None]
    if len(others) < len(theirs):
        claims.append(skipped("pytorch", "LeNet-5: the same network in PyTorch", reason="PyTorch is not installed"))
    else:
        claims += _compare(found["LeNet-5"][: len(others)], others, context.quick)
    context.save_figure(_curves(found, others, f"scikit-learn digits, {length}"))
    context.save_figure(_confusions(found), "confusion")
    return claims


def split(seed: int) -> tuple[Array, Array]:
    """Return the numbers of the images to train on and to test."""
    labels = load_digits().target
    return hold_out(labels, TEST / len(labels), rng=seed)


def _split_sizes() -> list[Any]:
    labels = load_digits().target
    kept, held_out = split(0)
    share = np.bincount(labels) * TEST / len(labels)
    fair = bool((np.abs(np.bincount(labels[held_out]) - share) <= 1).all())
    return [len(kept), len(held_out), fair]


def train(recipe: Recipe, seed: int, epochs: int) -> Training:
    """Train by convmatrix: one call of `fit` per epoch, on newly deformed images."""
    images, labels = recipe.images(), load_digits().target
    kept, test = split(seed)
    network = recipe.make(rng=seed)
    optimiser = nn.Adam(nn.cosine_decay(RATE, epochs * -(-len(kept) // BATCH)))
    training = Training([], [], np.empty(0), labels[test])
    for moved, order in _epochs(recipe, images[kept], seed, epochs):
        history = nn.fit(
            network,
            moved,
            labels[kept],
            epochs=1,
            batch_size=BATCH,
            loss=recipe.loss,
            optimiser=optimiser,
            metrics={},
            rng=order,
        )
        training.output = nn.predict(network, images[test])
        training.loss.append(history.loss[0])
        training.accuracy.append(nn.accuracy(training.output, labels[test]))
    return training


def _epochs(recipe: Recipe, images: Array, seed: int, epochs: int) -> Iterator[tuple[Array, np.random.Generator]]:
    """Yield, for each epoch, the deformed images and the generator for their order."""
    for epoch in range(epochs):
        yield recipe.deformed(images, np.random.default_rng([seed, epoch])), np.random.default_rng([seed, epoch, 1])


# --- the same network in PyTorch --------------------------------------------------------------------------------------


def train_in_pytorch(recipe: Recipe, seed: int, epochs: int) -> Training | None:
    """Train LeNet-5 by PyTorch, from the same weights and on the same batches; None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    functional = torch.nn.functional
    images, labels = recipe.images(), load_digits().target
    kept, test = split(seed)
    p = {name: torch.tensor(w, requires_grad=True) for name, w in recipe.make(rng=seed).parameters.items()}
    table = torch.tensor(np.array([[str(j) in row for j in range(6)] for row in LENET5_C3.split()]))

    def squash(x: Any) -> Any:
        return 1.7159 * torch.tanh(2 / 3 * x)

    def subsample(x: Any, place: int) -> Any:
        return 4 * functional.avg_pool2d(x, 2) * p[f"{place}.weight"][:, None, None] + p[f"{place}.bias"][:, None, None]

    def forward(x: Any) -> Any:
        x = squash(subsample(squash(functional.conv2d(x, p["0.weight"], p["0.bias"])), 2))
        kernel = torch.zeros(16, 6, 5, 5).index_put(tuple(table.nonzero().T), p["4.weight"])
        x = squash(subsample(squash(functional.conv2d(x, kernel, p["4.bias"])), 6))
        x = squash(functional.conv2d(x, p["8.weight"], p["8.bias"])).flatten(1)
        x = squash(functional.linear(x, p["10.weight"], p["10.bias"]))
        return functional.linear(x, p["12.weight"], p["12.bias"])

    rate = nn.cosine_decay(RATE, epochs * -(-len(kept) // BATCH))
    optimiser = torch.optim.Adam(p.values(), lr=RATE)
    training, steps = Training([], [], np.empty(0), labels[test]), 0
    for moved, generator in _epochs(recipe, images[kept], seed, epochs):
        order, total = generator.permutation(len(kept)), 0.0
        for start in range(0, len(kept), BATCH):
            batch = order[start : start + BATCH]
            for group in optimiser.param_groups:
                group["lr"] = rate(steps)
            steps += 1
            optimiser.zero_grad()
            loss = functional.cross_entropy(forward(torch.tensor(moved[batch])), torch.tensor(labels[kept][batch]))
            grads = torch.autograd.grad(loss, list(p.values()))
            for parameter, grad in zip(p.values(), grads, strict=True):
                parameter.grad = grad
            optimiser.step()
            total += loss.item() * len(batch)
        with torch.no_grad():
            training.output = forward(torch.tensor(images[test])).numpy()
        training.loss.append(total / len(kept))
        training.accuracy.append(nn.accuracy(training.output, labels[test]))
    return training


def _compare(ours: list[Training], theirs: list[Training], quick: bool) -> list[Claim]:
    first = [abs(a.loss[0] - b.loss[0]) / b.loss[0] for a, b in zip(ours, theirs, strict=True)]
    difference = [a.accuracy[-1] - b.accuracy[-1] for a, b in zip(ours, theirs, strict=True)]
    allowed = 0.02 if quick else 0.005
    return [
        check_within(
            "pytorch-loss",
            f"LeNet-5: relative difference of the first epoch's loss from PyTorch's, the largest of {len(ours)} seeds",
            max(first),
            (0, 1e-3),
            reason="the same weights, images and order; single precision, whose rounding grows with every step",
        ),
        check_within(
            "pytorch-accuracy",
            f"LeNet-5: mean test accuracy less that of the same network in PyTorch ({len(ours)} seeds)",
            float(np.mean(difference)),
            (-allowed, 1),
            reason="no worse but for the chance of rounding: one image of a seed's 360 is 0.28 %",
        ),
    ]


# --- figures ----------------------------------------------------------------------------------------------------------


def _curves(found: dict[str, list[Training]], theirs: list[Training], title: str) -> Figure:
    figure = new_figure(PAGE_WIDTH, 2.9)
    left, right = figure.subplots(1, 2)
    lines = [(name, trainings, COLOURS[4 + place], "-") for place, (name, trainings) in enumerate(found.items())]
    if theirs:
        lines.append((f"LeNet-5 in PyTorch ({len(theirs)})", theirs, "black", ":"))
    for name, trainings, colour, style in lines:
        loss = np.array([training.loss for training in trainings])  # (seeds, epochs)
        error = 100 * (1 - np.array([training.accuracy for training in trainings]))
        epochs = np.arange(1, loss.shape[1] + 1)
        for axes, values in ((left, loss), (right, error)):
            axes.plot(epochs, values.mean(axis=0), style, color=colour, label=name)
            if style == "-":
                axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.25, linewidth=0)
    left.set(xlabel="epoch", ylabel="training loss (each network's own)", yscale="log")
    right.set(xlabel="epoch", ylabel="test error in %", yscale="log")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        plain_logarithms(axes.yaxis)
    right.legend(frameon=False)
    figure.suptitle(f"{title} (mean, smallest, largest)")
    return figure


def _confusions(found: dict[str, list[Training]]) -> Figure:
    figure = new_figure(PAGE_WIDTH, 3.9)
    for axes, (name, trainings) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        table = np.zeros((10, 10), dtype=int)
        for training in trainings:
            np.add.at(table, (training.labels, training.output.argmax(axis=1)), 1)
        shares = table / table.sum(axis=1, keepdims=True)
        axes.imshow(np.sqrt(shares), cmap=shades(COLOURS[4]), vmin=0, vmax=1)
        for row, column in np.argwhere(table):
            colour = "white" if shares[row, column] > 0.45 else "black"
            axes.text(column, row, table[row, column], ha="center", va="center", color=colour, fontsize=7.5)
        axes.set(xlabel="predicted digit", ylabel="true digit", xticks=range(10), yticks=range(10), title=name)
    figure.suptitle("numbers of test images, of all seeds")
    return figure
