"""Correlation of padded arrays by fast Fourier transforms, and its adjoint."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix._products.correlation import padded_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

_LARGEST_SPECTRUM: Final = 2**24  # entries of a kernel's spectrum which are few, whatever the channels


class FFTCorrelation:
    r"""The same sum as `DirectCorrelation`, for one kernel that all positions share, by the convolution theorem.

    .. math:: \hat y_{g,o}(\omega) = \sum_c \hat W_{g,o,c}(-\omega) \, \hat x_{g,c}(\omega)

    All positions of stride 1 are computed and every stride-th one is kept. Its errors are relative to the largest
    output, not to each one.

    Parameters
    ----------
    weights : array, shape (groups, outputs, inputs, *kernel)
        Real or complex floating point.
    positions, stride, dilation : sequence of int
    """

    def __init__(
        self, weights: Array, positions: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
    ) -> None:
        from scipy import fft

        kernel = weights.shape[3:]
        self.axes = tuple(range(2, 2 + len(kernel)))
        self.length = padded_length(positions, kernel, stride, dilation)
        last_position = padded_length(positions, [1] * len(kernel), stride, dilation)
        kept = (slice(0, last, step) for last, step in zip(last_position, stride, strict=True))
        self.kept: Any = (..., *kept, slice(None))
        self.real = weights.dtype.kind == "f"
        self.size = tuple(fft.next_fast_len(n, real=self.real) for n in self.length)
        spans = padded_length([1] * len(kernel), kernel, stride, dilation)
        dilated = np.zeros((*weights.shape[:3], *spans), dtype=weights.dtype)
        taps: Any = (..., *(slice(None, None, step) for step in dilation))
        dilated[taps] = weights
        axes = tuple(axis + 1 for axis in self.axes)
        transform: Any = fft.rfftn if self.real else fft.fftn
        self.spectrum = transform(dilated, s=self.size, axes=axes)
        # The spectrum at the negative frequencies.
        self.mirrored = self.spectrum.conj() if self.real else transform(dilated.conj(), s=self.size, axes=axes).conj()

    def forward(self, x: Array) -> Array:
        """Return y, shape (groups, outputs, *positions, batch), for x of shape (groups, inputs, *length, batch)."""
        return np.asarray(self._filter(x, self.mirrored)[self.kept])

    def adjoint(self, y: Array) -> Array:
        """Return the transpose of `forward` times y: shape (groups, inputs, *length, batch)."""
        stuffed = np.zeros((*y.shape[:2], *self.length, y.shape[-1]), dtype=y.dtype)
        stuffed[self.kept] = y
        samples: Any = (..., *map(slice, self.length), slice(None))
        return np.asarray(self._filter(stuffed, self.spectrum.swapaxes(1, 2))[samples])

    def _filter(self, x: Array, spectrum: Array) -> Array:
        """Multiply the spectrum of x, (groups, c, *samples, batch), by (groups, o, c, *frequencies), summed over c."""
        from scipy import fft

        transform: Any = fft.rfftn if self.real else fft.fftn
        inverse: Any = fft.irfftn if self.real else fft.ifftn
        transformed = transform(x, s=self.size, axes=self.axes)
        total = spectrum[:, :, 0, ..., None] * transformed[:, None, 0]
        for channel in range(1, transformed.shape[1]):
            total += spectrum[:, :, channel, ..., None] * transformed[:, None, channel]
        return np.asarray(inverse(total, s=self.size, axes=self.axes, overwrite_x=True))


def fft_time(weights: Array, positions: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> float:
    """Return about the nanoseconds that `FFTCorrelation` takes for one batch column; infinite where it is no choice."""
    groups, outputs, inputs, *kernel = weights.shape
    samples = math.prod(padded_length(positions, kernel, stride, dilation))
    many_channels = outputs * inputs > 4 * (outputs + inputs)  # the spectrum would be larger than the data
    if many_channels and groups * outputs * inputs * samples > _LARGEST_SPECTRUM:
        return math.inf
    transforms = (inputs + outputs) * (0.7 * math.log2(samples) + 5)
    products = 3 * inputs * outputs
    return float(groups * samples * (transforms + products))
