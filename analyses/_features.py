"""Networks that learn features, and measures of these: size, bending, orientation; and intervals of means."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage, stats
from skimage.data import lfw_subset

import convmatrix as cm
from convmatrix import nn

Array = Any  # float64


def faces(size: int, floor: float = 0.05) -> Array:
    """Return scikit-image's 100 faces, then 100 other images, cropped, with mean 0 and standard deviation about 1."""
    images = lfw_subset()[:, :size, :size]
    return (images - images.mean(axis=(1, 2), keepdims=True)) / (images.std(axis=(1, 2), keepdims=True) + floor)


def three_convolutions(inputs: int, channels: tuple[int, ...], size: int, classes: int, seed: int) -> nn.Sequential:
    """Return three convolutions with ReLU, pooling between them, and a dense layer."""
    rng = np.random.default_rng(seed)
    layers: list[nn.Layer] = []
    for taps, outputs in zip((5, 3, 3), channels, strict=True):
        if layers:
            layers.append(nn.MaxPool(2))
            size //= 2
        geometry = cm.ConvGeometry((size, size), (taps, taps), in_channels=inputs, out_channels=outputs, padding="same")
        layers += [nn.Conv(geometry, initialiser=nn.he_normal, rng=rng), nn.ReLU()]
        inputs = outputs
    return nn.Sequential([*layers, nn.Dense(inputs * size**2, classes, rng=rng)])


def fit(network: nn.Sequential, images: Array, labels: Array, epochs: int, seed: int) -> None:
    """Train with batches of 32 images, by Adam with weight decay and a learning rate that falls to zero."""
    rate = nn.cosine_decay(0.003, epochs * -(-len(images) // 32))
    optimiser = nn.Adam(rate, weight_decay=1e-3)
    nn.fit(network, images, labels, epochs=epochs, batch_size=32, optimiser=optimiser, metrics={}, rng=seed)


def extent(picture: Array) -> float:
    """Return the root mean square distance of the energy from its centroid, in pixels.

    Examples
    --------
    >>> extent([[1.0, 0.0, 1.0]])
    1.0
    """
    energy = np.square(picture, dtype=np.float64)
    energy /= energy.sum()
    places = np.indices(energy.shape)
    centroid = (energy * places).sum(axis=(1, 2), keepdims=True)
    return float(np.sqrt((energy * np.square(places - centroid)).sum()))


def bending(picture: Array, smooth: float = 1.5) -> float:
    """Return how much of the oriented energy of a picture cancels: 0 for a straight edge, 1 for a right angle.

    The energy at a pixel is the squared gradient as a complex number, which doubles angles, in a Gaussian window. Its
    sum over the picture is short where edges have several directions; 1 less its length over the sum of lengths.

    Examples
    --------
    >>> rows, columns = np.indices((21, 21)) - 10.0
    >>> edge, ring = np.tanh(columns), np.exp(-((np.hypot(rows, columns) - 6) ** 2))
    >>> corner = np.minimum(np.tanh(columns), np.tanh(rows))
    >>> [round(bending(one), 1) + 0.0 for one in (edge, corner, ring)]
    [0.0, 1.0, 1.0]
    """
    down, across = np.gradient(np.asarray(picture, dtype=np.float64))
    squared = (across + 1j * down) ** 2
    energy = ndimage.gaussian_filter(squared.real, smooth) + 1j * ndimage.gaussian_filter(squared.imag, smooth)
    return float(1 - abs(energy.sum()) / max(np.abs(energy).sum(), 1e-300))


def anisotropy(picture: Array, size: int = 32) -> float:
    """Return how oriented a filter is, by its spectrum: 1 if all waves have one direction, 0 if none is preferred.

    It is the length of the mean of exp(2 i angle) over all frequencies but 0, weighted by the power.

    Examples
    --------
    >>> round(anisotropy([[-1.0, 2.0, -1.0]] * 3), 1), round(anisotropy([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]), 1) + 0.0
    (0.8, 0.0)
    """
    power = np.abs(np.fft.fft2(picture, (size, size))) ** 2
    vertical, horizontal = np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None]
    inside = (np.hypot(vertical, horizontal) > 0) & (np.hypot(vertical, horizontal) < 0.5)  # a disc: no corners
    angles = np.exp(2j * np.arctan2(vertical, horizontal))
    return float(abs((power * angles)[inside].sum()) / max(power[inside].sum(), 1e-300))


def mean_interval(values: Array, level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean of independent values, and the ends of its confidence interval by Student's distribution.

    Examples
    --------
    >>> [round(end, 2) for end in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48]
    """
    found = np.asarray(values, dtype=np.float64)
    mean, error = float(found.mean()), float(stats.sem(found))
    half = error * float(stats.t.ppf((1 + level) / 2, len(found) - 1))
    return mean, mean - half, mean + half
