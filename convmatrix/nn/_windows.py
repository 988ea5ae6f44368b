"""Windows of pooling: their taps as strided views of padded samples. Arrays are ``(channels, *spatial, batch)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry

    Array = NDArray[Any]


def window_sums(geometry: ConvGeometry, samples: Array) -> Array:
    """Return the sum of each window, padding zeros."""
    first, *others = tap_views(geometry, padded_samples(geometry, samples, 0))
    total = first.copy()
    for view in others:
        total += view
    return total


def window_spread(geometry: ConvGeometry, values: Array) -> Array:
    """Return the transpose of `window_sums` times values."""
    padded = np.zeros((len(values), *padded_shape(geometry), values.shape[-1]), dtype=values.dtype)
    apart = windows_are_apart(geometry)
    for view in tap_views(geometry, padded):
        if apart:
            view[...] = values
        else:
            view += values
    return inner_samples(geometry, padded)


def windows_are_apart(geometry: ConvGeometry) -> bool:
    return all(stride >= size for stride, size in zip(geometry.stride, geometry.kernel_shape, strict=True))


def padded_shape(geometry: ConvGeometry) -> tuple[int, ...]:
    return tuple(n + low + high for n, (low, high) in zip(geometry.input_shape, geometry.padding, strict=True))


def padded_samples(geometry: ConvGeometry, samples: Array, value: float) -> Array:
    if not any(map(any, geometry.padding)):
        return samples
    return np.pad(samples, [(0, 0), *geometry.padding, (0, 0)], constant_values=value)


def inner_samples(geometry: ConvGeometry, padded: Array) -> Array:
    inner = [slice(low, low + n) for n, (low, _) in zip(geometry.input_shape, geometry.padding, strict=True)]
    return padded[(slice(None), *inner)]


def tap_views(geometry: ConvGeometry, padded: Array) -> list[Array]:
    """View padded samples as seen by each tap: a list of (channels, *positions, batch)."""
    return [padded[(slice(None), *index)] for index in _tap_slices(geometry)]


def _tap_slices(geometry: ConvGeometry) -> list[tuple[slice, ...]]:
    sizes = list(zip(geometry.output_shape, geometry.stride, strict=True))
    return [
        tuple(slice(t, t + (n - 1) * s + 1, s) for t, (n, s) in zip(tap, sizes, strict=True))
        for tap in np.ndindex(*geometry.kernel_shape)
    ]


def taps_outside(geometry: ConvGeometry) -> list[Array | None]:
    """Return for each tap where it reads padding, (*positions), or None where there is no padding at all."""
    slices = _tap_slices(geometry)
    if not any(map(any, geometry.padding)):
        return [None] * len(slices)
    outside = np.pad(np.zeros(geometry.input_shape, dtype=bool), geometry.padding, constant_values=True)
    return [outside[index] for index in slices]
