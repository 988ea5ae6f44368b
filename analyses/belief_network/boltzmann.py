"""A convolutional restricted Boltzmann machine with probabilistic max-pooling, trained by contrastive divergence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import convmatrix as cm

BLOCK = 2
SPREAD = 0.8  # s of the energy
TARGET = 0.005  # mean activation of a filter
BATCH = 4

Array = Any  # float32 or float64


@dataclass(frozen=True)
class Setting:
    """What is trained, and for how long."""

    filters: int
    kernel: int
    patch: int
    steps: int


def blocks_of(units: Array) -> Array:
    """Return (..., height, width) as (..., height / 2, width / 2, 4)."""
    *lead, height, width = units.shape
    split = units.reshape(*lead, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return split.swapaxes(-3, -2).reshape(*lead, height // BLOCK, width // BLOCK, BLOCK * BLOCK)


def units_of(blocks: Array) -> Array:
    """Undo `blocks_of`."""
    *lead, rows, columns, _ = blocks.shape
    split = blocks.reshape(*lead, rows, columns, BLOCK, BLOCK).swapaxes(-3, -2)
    return split.reshape(*lead, rows * BLOCK, columns * BLOCK)


def pooled_probabilities(inputs: Array) -> tuple[Array, Array]:
    """Return P(h = 1) for each unit, in blocks (..., 4), and P(block off), (...): a softmax with one more choice."""
    blocks = blocks_of(inputs)
    largest = np.maximum(blocks.max(axis=-1, keepdims=True), 0)  # so that no exponential overflows
    powers, off = np.exp(blocks - largest), np.exp(-largest)
    total = off + powers.sum(axis=-1, keepdims=True)
    return powers / total, (off / total)[..., 0]


@dataclass
class Machine:
    """A convolutional restricted Boltzmann machine with probabilistic max-pooling."""

    setting: Setting
    layer: cm.nn.Conv = field(init=False)
    biases: Array = field(init=False)
    activation: Array = field(init=False)

    def __post_init__(self) -> None:
        """Start from small random weights and rarely active units."""
        sides = (self.setting.patch, self.setting.patch), (self.setting.kernel, self.setting.kernel)
        self.rng = np.random.default_rng(0)
        geometry = cm.ConvGeometry(*sides, out_channels=self.setting.filters)
        self.layer = cm.nn.Conv(geometry, bias=None)
        self.layer.parameters["weight"][...] = 0.005 * self.rng.standard_normal(geometry.weight_shape)
        self.biases = np.full(self.setting.filters, -4, dtype=np.float32)
        self.activation = np.full(self.setting.filters, TARGET, dtype=np.float32)

    @property
    def weights(self) -> Array:
        """The filters, (filters, height, width)."""
        return self.layer.parameters["weight"][:, 0]

    def probabilities(self, visible: Array) -> Array:
        """Return P(h = 1) in blocks."""
        return pooled_probabilities(self.layer.forward(visible) / SPREAD**2 + self.biases[:, None, None])[0]

    def reconstruct(self, visible: Array, blocks: Array) -> Array:
        """Return the visible units that blocks of hidden ones stand for; the border keeps its data."""
        inner = (..., *(slice(self.setting.kernel - 1, 1 - self.setting.kernel),) * 2)
        reconstruction = visible.copy()
        reconstruction[inner] = self.layer.backward(units_of(blocks))[inner]
        return reconstruction

    def reconstruction_error(self, visible: Array) -> float:
        """Return the squared error of the mean reconstruction over the square of the data, inner pixels."""
        reconstruction = self.reconstruct(visible, self.probabilities(visible))
        inner = (..., *(slice(self.setting.kernel - 1, 1 - self.setting.kernel),) * 2)
        return float(((reconstruction - visible) ** 2)[inner].sum() / (visible**2)[inner].sum())

    def train(self, photographs: list[Array], steps: int) -> None:
        """Take steps of contrastive divergence with momentum, each on a batch of patches."""
        velocity = np.zeros_like(self.layer.parameters["weight"])
        positions = BATCH * int(np.prod(self.layer.geometry.output_shape))
        for _ in range(steps):
            visible = random_patches(photographs, self.setting.patch, BATCH, self.rng)
            expected = self.probabilities(visible)
            self.layer.backward(units_of(expected))
            gradient = self.layer.gradients["weight"].copy()
            reconstruction = self.reconstruct(visible, sample(expected, self.rng))
            self.layer.backward(units_of(self.probabilities(reconstruction)))
            gradient -= self.layer.gradients["weight"]
            velocity = 0.5 * velocity + 0.4 / positions * gradient
            self.layer.parameters["weight"] += velocity
            self.activation = 0.9 * self.activation + 0.1 * expected.mean(axis=(0, 2, 3, 4))
            self.biases += 0.05 * np.clip(np.log(TARGET / self.activation), -1, 1)


def sample(probabilities: Array, rng: np.random.Generator) -> Array:
    """Return blocks with at most one unit on, drawn by their probabilities."""
    cumulative = np.cumsum(probabilities, axis=-1)
    drawn = rng.random((*probabilities.shape[:-1], 1), dtype=np.float32)
    return ((drawn < cumulative) & (drawn >= cumulative - probabilities)).astype(np.float32)


def random_patches(photographs: list[Array], size: int, count: int, rng: np.random.Generator) -> Array:
    """Return random patches without their means, half of them mirrored, (count, 1, size, size)."""
    patches = np.empty((count, 1, size, size), dtype=np.float32)
    for place in range(count):
        photograph = photographs[rng.integers(len(photographs))]
        top, left = (rng.integers(n - size) for n in photograph.shape)
        patch = photograph[top : top + size, left : left + size]
        patches[place, 0] = (patch - patch.mean())[:, :: rng.choice([-1, 1])]
    return patches
