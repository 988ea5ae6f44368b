"""Colour images with classes that need shape, colour or both, from photographs that come with packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from skimage import data
from sklearn.datasets import load_sample_image

Array = Any  # float32 or float64

SIZE = 16
SCALE = 4  # photographs are made smaller by this factor
CONTRAST = 0.25  # of luminance between ellipse and crop, lighter or darker
CHROMA = 0.3
TASKS = {
    "shape": lambda shape, colour: shape,
    "both": lambda shape, colour: 2 * (shape // 2) + colour // 2,
    "colour": lambda shape, colour: colour,
}
"""The class of an ellipse with one of 4 directions and one of 4 hues. The images are the same for all three."""


@dataclass(frozen=True)
class Samples:
    """Images (count, 3, SIZE, SIZE) in [0, 1], and their classes."""

    images: Array
    labels: Array


def photographs() -> list[Array]:
    """Return colour photographs of scikit-image and scikit-learn, (3, height, width), made smaller."""
    found = [np.asarray(getattr(data, name)()) for name in ("astronaut", "coffee", "chelsea", "rocket")]
    found += [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    smaller = []
    for image in found:
        height, width = (n // SCALE for n in image.shape[:2])
        blocks = image[: height * SCALE, : width * SCALE, :3].reshape(height, SCALE, width, SCALE, 3) / 255
        smaller.append(blocks.mean(axis=(1, 3)).transpose(2, 0, 1))
    return smaller


def crops(images: list[Array], count: int, rng: np.random.Generator) -> Samples:
    """Return random crops; their class is the photograph that they come from."""
    labels = np.arange(count) % len(images)
    rng.shuffle(labels)
    found = np.empty((count, 3, SIZE, SIZE))
    for place, label in enumerate(labels):
        top, left = (rng.integers(n - SIZE + 1) for n in images[label].shape[1:])
        found[place] = images[label][:, top : top + SIZE, left : left + SIZE][..., :: rng.choice([-1, 1])]
    return Samples(found, labels)


def ellipses(images: list[Array], count: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return crops with an ellipse in each, and the ellipses' directions and hues, numbers from 0 to 3.

    Hues lie in the plane of equal luminance (the mean of the three channels); the luminance of the ellipse differs from
    that of its crop by the same amount, at random up or down, so that neither tells of the other.
    """
    found = crops(images, count, rng).images
    shape, colour = rng.integers(4, size=count), rng.integers(4, size=count)
    rows, columns = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    axes = np.array([[2, -1, -1], [0, np.sqrt(3), -np.sqrt(3)]]) / np.sqrt(6)
    for place in range(count):
        y, x = rng.uniform(-2, 2, 2)
        angle, hue = np.pi / 4 * shape[place], np.pi / 2 * colour[place]
        along = (columns - x) * np.cos(angle) - (rows - y) * np.sin(angle)
        across = (columns - x) * np.sin(angle) + (rows - y) * np.cos(angle)
        inside = (along / 6) ** 2 + (across / 2.2) ** 2 < 1
        light = found[place].mean() + CONTRAST * rng.choice([-1, 1])
        tone = light + CHROMA * (np.cos(hue) * axes[0] + np.sin(hue) * axes[1])
        found[place] = np.where(inside, 0.15 * found[place] + 0.85 * tone[:, None, None], found[place])
    return found, shape, colour


def samples(task: str, images: list[Array], count: int, rng: np.random.Generator) -> Samples:
    """Return samples of a task: ``"shape"``, ``"both"``, ``"colour"`` or ``"photographs"``."""
    if task == "photographs":
        return crops(images, count, rng)
    found, shape, colour = ellipses(images, count, rng)
    return Samples(found, TASKS[task](shape, colour))


def grey(images: Array) -> Array:
    """Return images whose three channels are their mean."""
    return np.repeat(images.mean(axis=1, keepdims=True), 3, axis=1)
