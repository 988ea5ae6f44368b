"""A trained network with pooling under shifts of its input: accuracy, beside what the proof predicts.

Source: Zhang, Making convolutional networks shift-invariant again, ICML 2019, and Azulay and Weiss, Why do deep
convolutional networks generalize so poorly to small image transformations?, JMLR 2020, for the claim that networks with
strides and pooling are not shift equivariant. The data are the 200 faces and non-faces of scikit-image, so that this is
a demonstration and no replication.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import convmatrix as cm
from analyses import Claim, Context, check_equal, check_within
from analyses._features import faces
from analyses._figures import COLOURS, PAGE_WIDTH, new_figure
from convmatrix import equivariance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convmatrix.arrays import Array

SIZE, CHANNELS = 24, 6
FIRST = cm.ConvGeometry((SIZE, SIZE), (5, 5), out_channels=CHANNELS, padding="same", boundary="circular")
POOL = equivariance.Pooling(cm.ConvGeometry((SIZE, SIZE), (2, 2), stride=2), channels=CHANNELS)
SECOND = cm.ConvGeometry(
    (SIZE // 2, SIZE // 2),
    (3, 3),
    in_channels=CHANNELS,
    out_channels=CHANNELS,
    stride=2,
    padding=1,
    boundary="circular",
)
STEPS = [FIRST, equivariance.Elementwise("relu"), POOL, SECOND, equivariance.Elementwise("relu")]


def run(context: Context) -> list[Claim]:
    """Train on half of the images; shift the other half by 0 to 7 pixels."""
    images = faces(SIZE)
    labels = np.where(np.arange(len(images)) < 100, 1.0, -1.0)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:100], order[100:]
    network = Network(np.random.default_rng(1))
    for _ in range(60 if context.quick else 120):
        network.step(images[train], labels[train])

    step = equivariance.surviving_shifts(STEPS)[1]
    still = network.scores(images[test])
    amounts = range(8)
    moved = {amount: network.scores(np.roll(images[test], amount, axis=2)) for amount in amounts}
    accuracy = {amount: float((np.sign(scores) == labels[test]).mean()) for amount, scores in moved.items()}
    change = {amount: float(np.abs(scores - still).max() / np.abs(still).max()) for amount, scores in moved.items()}
    exact = [amount for amount in amounts if amount % step == 0]
    context.save_figure(_figure(accuracy, change, exact))
    return [
        check_equal(
            "proved-shift",
            "smallest shift that the network commutes with, as proved",
            list(equivariance.surviving_shifts(STEPS)),
            expected=[4, 4],
            reason="strides multiply: pooling by 2, then stride 2 (theorem stride-composition)",
        ),
        check_within(
            "exact-change",
            "largest relative change of a score under the shifts that the proof calls exact",
            max(change[amount] for amount in exact),
            (0, 1e-12),
            reason="scores are averages over all positions, so that they stay but for rounding",
        ),
        check_within(
            "other-change",
            "smallest relative change of a score, over all images, under the other shifts",
            min(change[amount] for amount in amounts if amount not in exact),
            (1e-4, np.inf),
            reason="the proof says that no other shift passes for every weight; trained weights are no exception",
        ),
        check_within(
            "accuracy",
            "accuracy on images that it was not trained on, not shifted",
            accuracy[0],
            (0.75, 1),
            reason="it has learned something: by chance it would be 0.5",
        ),
        check_equal(
            "shifted-accuracy",
            "accuracies under the exact shifts less the one without a shift",
            [accuracy[amount] - accuracy[0] for amount in exact],
            expected=[0.0] * len(exact),
            reason="the scores are the same",
        ),
    ]


class Network:
    """Convolution, ReLU, average pooling, strided convolution, ReLU, average over positions, one linear score."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.patterns = [FIRST.pattern(), SECOND.pattern()]
        self.pool = POOL.pattern().matrix([0.25])
        self.weights = [rng.standard_normal(g.weight_shape) / np.sqrt(g.n_weights / CHANNELS) for g in (FIRST, SECOND)]
        self.linear = rng.standard_normal(CHANNELS) / np.sqrt(CHANNELS)
        self.unfolds = [FIRST.unfold_matrix(), SECOND.unfold_matrix()]
        self.momenta = [np.zeros(w.shape) for w in (*self.weights, self.linear)]

    def scores(self, images: Array) -> Array:
        """Return the score of each image."""
        return self._forward(images)[-1]

    def _forward(self, images: Array) -> tuple[Array, ...]:
        x = images.reshape(len(images), -1).T  # (n_in, batch)
        first = self.patterns[0].matrix(self.weights[0]) @ x
        pooled = self.pool @ np.maximum(first, 0)
        second = self.patterns[1].matrix(self.weights[1]) @ pooled
        means = np.maximum(second, 0).reshape(CHANNELS, -1, len(images)).mean(axis=1)  # (channels, batch)
        return x, first, pooled, second, means, self.linear @ means

    def step(self, images: Array, labels: Array, rate: float = 0.15) -> None:
        """Take one step of gradient descent with momentum on the logistic loss."""
        x, first, pooled, second, means, scores = self._forward(images)
        slope = -labels / (1 + np.exp(labels * scores)) / len(labels)
        by_mean = self.linear[:, None, None] * slope  # (channels, 1, batch)
        positions = second.shape[0] // CHANNELS
        by_second = (np.broadcast_to(by_mean, (CHANNELS, positions, len(labels))) / positions).reshape(second.shape)
        by_second = by_second * (second > 0)
        by_first = self.pool.T @ (self.patterns[1].matrix(self.weights[1]).T @ by_second) * (first > 0)
        gradients = [self._weight_gradient(0, x, by_first), self._weight_gradient(1, pooled, by_second)]
        gradients.append(means @ slope)
        self.momenta = [0.9 * m + g for m, g in zip(self.momenta, gradients, strict=True)]
        self.weights = [w - rate * m for w, m in zip(self.weights, self.momenta[:2], strict=True)]
        self.linear = self.linear - rate * self.momenta[2]

    def _weight_gradient(self, layer: int, x: Array, g: Array) -> Array:
        """Return the sum over the batch of the contraction of T with samples and output gradients."""
        weights = self.weights[layer]
        windows = (self.unfolds[layer] @ x).reshape(weights[0].size, -1)  # (taps, positions * batch)
        gradient: Array = (g.reshape(len(weights), -1) @ windows.T).reshape(weights.shape)
        return gradient


def _figure(accuracy: dict[int, float], change: dict[int, float], exact: list[int]) -> Figure:
    figure = new_figure(PAGE_WIDTH, 2.8)
    left, right = figure.subplots(1, 2)
    colours = [COLOURS[2] if amount in exact else COLOURS[5] for amount in accuracy]
    hatches = ["//" if amount in exact else "" for amount in accuracy]  # tells the proved ones without colour
    left.bar(list(accuracy), list(accuracy.values()), color=colours, hatch=hatches, edgecolor="white", linewidth=0)
    left.set(xlabel="shift in pixels", ylabel="accuracy", ylim=(0, 1))
    right.bar(list(change), list(change.values()), color=colours, hatch=hatches, edgecolor="white", linewidth=0)
    right.set(xlabel="shift in pixels", ylabel="largest relative change of a score", yscale="log", ylim=(1e-17, 1))
    for amount, value in change.items():
        if not value:  # which has no place on this axis
            right.text(amount, 2e-17, "0", color=COLOURS[2], ha="center")
    figure.suptitle("green, hatched: shifts that the network is proved to commute with")
    return figure
