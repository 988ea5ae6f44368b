"""Gabor functions fitted to filters: how much of a filter an oriented wave packet explains, and its orientation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares

Array = Any  # float64


@dataclass(frozen=True)
class Gabor:
    """The best fit of ``exp(-u^2 / 2 s^2 - v^2 / 2 t^2) (a cos(2 pi f u) + b sin(2 pi f u))`` to one filter.

    u runs across the stripes and v along them, from a centre that is fitted too.
    """

    picture: Array  # the fitted function
    explained: float  # 1 minus the squared distance over the squared filter, in [0, 1]
    orientation: float  # direction of the stripes in degrees from the horizontal, in [0, 180), y upwards


def fit_gabor(weights: Array) -> Gabor:
    """Fit a Gabor function by least squares, from two starts at the peak of the spectrum.

    Centre (2), direction, frequency and two widths are searched for; the two amplitudes are linear, and solved for each
    of these. Frequencies are at most 1/2 a pixel, widths at least 0.8 pixel and at most the filter.
    """
    height, width = weights.shape
    values = weights.ravel()
    rows, columns = (axis.ravel().astype(np.float64) for axis in np.indices(weights.shape))

    def packet(parameters: Array) -> Array:
        y, x, angle, frequency, across, along = parameters
        u = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        v = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        envelope = np.exp(-(u**2) / (2 * across**2) - v**2 / (2 * along**2))
        phase = 2 * np.pi * frequency * u
        waves = np.stack([envelope * np.cos(phase), envelope * np.sin(phase)], axis=1)  # (pixels, 2)
        gram = waves.T @ waves + 1e-12 * np.eye(2)
        return waves @ np.linalg.solve(gram, waves.T @ values)

    def distances(parameters: Array) -> Array:
        return packet(parameters) - values

    energy = values**2 / (values @ values)
    padded = np.abs(np.fft.fft2(weights, (64, 64)))
    padded[0, 0] = 0
    peak = np.unravel_index(np.argmax(padded), padded.shape)
    vertical, horizontal = (np.fft.fftfreq(64)[index] for index in peak)
    angle, frequency = np.arctan2(vertical, horizontal), np.hypot(vertical, horizontal)
    longest = float(max(height, width))
    lower = [-1, -1, -10, 0.02, 0.8, 0.8]
    upper = [height, width, 10, 0.5, longest, longest]
    fits = []
    for size in (2.0, 3.5):
        start = [energy @ rows, energy @ columns, angle, min(max(frequency, 0.03), 0.49), size, size]
        fits.append(least_squares(distances, start, bounds=(lower, upper), max_nfev=30))
    best = min(fits, key=lambda fit: float(fit.cost))
    picture = packet(best.x)
    orientation = float(np.degrees(np.pi / 2 - best.x[2]) % 180)  # stripes are at right angles to the wave; y is down
    explained = float(1 - ((values - picture) ** 2).sum() / (values @ values))
    return Gabor(picture.reshape(weights.shape), explained, orientation)


def shuffled_phases(weights: Array, rng: np.random.Generator) -> Array:
    """Return a filter of the same spectrum with the phases of random noise: no place and no edge is left."""
    noise = np.fft.fft2(rng.standard_normal(weights.shape))
    return np.fft.ifft2(np.abs(np.fft.fft2(weights)) * noise / np.abs(noise)).real
