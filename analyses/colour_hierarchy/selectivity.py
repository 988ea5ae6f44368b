"""Selectivity of channels for colour and for orientation, by their filters and by their responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

import convmatrix as cm
from analyses._features import anisotropy
from analyses.colour_hierarchy.tasks import grey
from convmatrix import nn
from convmatrix.arrays import Array

Responses = Callable[[Array], list[Array]]
"""A function from images (count, 3, height, width) to the responses of each layer (count, channels, rows, columns)."""

STRONGEST = 0.1  # share of the images that excite a channel most


def composite_filters(weights: Sequence[Array], strides: Sequence[int], pools: Sequence[int]) -> list[Array]:
    """Return for each layer the filters on the image of its channels, (channels, 3, height, width).

    They are products of transposes, A_1^T P_1^T A_2^T ... e, without what is not linear: pooling is by the mean
    (``pools`` gives the size of its windows after each layer, which are 2 apart, or 0) and activations are left out.
    """
    found = []
    for depth in range(len(weights)):
        size = 1  # from the top, where there is one unit, down
        layers: list[nn.Layer] = []
        for place in range(depth, -1, -1):
            if place < depth and pools[place]:
                layers.append(nn.AvgPool(pools[place], 2))
                size = (size - 1) * 2 + pools[place]
            weight = weights[place]
            size = (size - 1) * strides[place] + weight.shape[2]
            geometry = cm.ConvGeometry(
                (size, size),
                weight.shape[2:],
                in_channels=weight.shape[1],
                out_channels=weight.shape[0],
                stride=strides[place],
            )
            layer = nn.Conv(geometry, bias=None)
            layer.parameters["weight"][...] = weight
            layers.append(layer)
        network = nn.Sequential(layers[::-1])
        channels = len(weights[depth])
        network.forward(np.zeros((channels, 3, size, size), dtype=np.float32))
        found.append(network.backward(np.eye(channels, dtype=np.float32)[:, :, None, None]))
    return found


def colour_of_filters(filters: Array) -> Array:
    """Return for each filter on the image the share of its energy that is off the grey axis: 2/3 for random ones."""
    energy = np.square(filters, dtype=np.float64).sum(axis=(1, 2, 3))
    on_axis = 3 * np.square(filters.mean(axis=1), dtype=np.float64).sum(axis=(1, 2))
    share: Array = 1 - on_axis / np.maximum(energy, 1e-300)
    return share


def orientation_of_filters(filters: Array) -> Array:
    """Return for each filter on the image the anisotropy of its mean over the three channels."""
    return np.array([anisotropy(one.mean(axis=0)) for one in filters])


def colour_of_responses(responses: Responses, images: Array) -> list[Array]:
    """Return for each layer and channel 1 less the response to grey images over that to the same in colour.

    The images are those that excite the channel most, at the position where they do (after Rafegas and Vanrell, Vision
    Research 151, 2018). Values are clipped to [0, 1]; channels that never respond are left out.
    """
    found = []
    count = max(round(STRONGEST * len(images)), 1)
    for coloured, greyed in zip(responses(images), responses(grey(images)), strict=True):
        flat, other = (part.reshape(*part.shape[:2], -1) for part in (coloured, greyed))
        position = flat.argmax(axis=2)
        largest = np.take_along_axis(flat, position[..., None], 2)[..., 0]  # (images, channels)
        at_same = np.take_along_axis(other, position[..., None], 2)[..., 0]
        order = np.argsort(-largest, axis=0, kind="stable")[:count]
        strong, without = (np.take_along_axis(part, order, 0).sum(axis=0) for part in (largest, at_same))
        active = strong > 0
        found.append(np.clip(1 - without[active] / strong[active], 0, 1))
    return found


def gratings(size: int, directions: int = 8, phases: int = 4) -> tuple[Array, Array]:
    """Return grey gratings in [0, 1], (periods, directions, phases, 3, size, size), and the directions' angles."""
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    angles = np.pi * np.arange(directions) / directions
    waves = np.array([
        [
            [
                np.cos(2 * np.pi * (columns * np.cos(a) + rows * np.sin(a)) / period + 2 * np.pi * phase / phases)
                for phase in range(phases)
            ]
            for a in angles
        ]
        for period in (3, 4.5, 7)
    ])  # fmt: skip
    return np.repeat(0.5 + 0.3 * waves[:, :, :, None], 3, axis=3), angles


def orientation_of_responses(responses: Responses, size: int) -> list[Array]:
    """Return for each layer and channel how much its response to gratings depends on their direction.

    Responses in the middle, averaged over phases, at the channel's best period: the length of their mean weighted by
    exp(2 i angle), over their mean. Channels that never respond are left out.
    """
    images, angles = gratings(size)
    found = []
    for layer in responses(images.reshape(-1, *images.shape[3:])):
        middle = layer[:, :, layer.shape[2] // 2, layer.shape[3] // 2]
        by_direction = middle.reshape(*images.shape[:3], -1).clip(0).mean(axis=2)  # (periods, directions, channels)
        best = by_direction.sum(axis=1).argmax(axis=0)
        tuning = by_direction[best, :, np.arange(by_direction.shape[2])]  # (channels, directions)
        tuning = tuning[tuning.sum(axis=1) > 0]
        found.append(np.abs(tuning @ np.exp(2j * angles)) / tuning.sum(axis=1))
    return found
