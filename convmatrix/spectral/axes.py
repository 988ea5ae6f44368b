r"""Transforms that diagonalise an axis of a layer: Fourier, cosine, or none.

An axis with R output phases, C input phases and F points per phase is written as

.. math:: y_u[l] = \sum_{r, a} G[u, r, a] \, x_r[l + a], \qquad y_u[l] = y_{R l + u}, \quad x_r[l] = x_{C l + r}

- ``fourier``: a ring whose length is divisible by the stride. The sum over the shifts a is cyclic in l, so the discrete
  Fourier transform turns it into one R x C matrix per frequency (the polyphase form; R = 1 and C = stride unless the
  weights are tiled).
- ``cosine``: a symmetric boundary and a symmetric kernel. The cosines of half-sample symmetry (the DCT-II) are
  eigenvectors, because they continue beyond the ends as the boundary does.
- ``dense``: any other axis. F = 1, and G is the matrix of the axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from scipy import sparse

from convmatrix.boundary import NOTHING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from convmatrix.arrays import Array
    from convmatrix.boundary import Axis

TransformName = Literal["fourier", "cosine", "dense"]

_MOST_SHIFTS: Final = 96  # transformed by a matrix product; larger numbers are transformed by a fast Fourier transform


@dataclass(frozen=True, eq=False)
class AxisTransform:
    """The transform of one axis, and its dependence on the weights of that axis (tile and taps joined).

    Attributes
    ----------
    name : {"fourier", "cosine", "dense"}
    n_frequencies, output_phases, input_phases : int
        F, R and C as in the module's docstring.
    first_shift, n_shifts : int
        The shifts a are ``first_shift .. first_shift + n_shifts - 1``.
    spread : sparse array, shape (R * C * n_shifts, tile * n_taps)
        G as a linear function of the weights.
    """

    name: TransformName
    n_frequencies: int
    output_phases: int
    input_phases: int
    first_shift: int
    n_shifts: int
    spread: Any

    @property
    def is_fast(self) -> bool:
        """Whether the axis is transformed by an FFT, which yields all frequencies at once."""
        return self.name == "fourier" and self.n_shifts > _MOST_SHIFTS

    def response(self, frequencies: NDArray[np.int64]) -> Array:
        """Return the factor of each shift at each frequency, shape (frequencies, shifts)."""
        shifts = self.first_shift + np.arange(self.n_shifts)
        if self.name == "dense":
            return np.ones((len(frequencies), 1))
        if self.name == "cosine":
            # Angles are reduced in integers: pi * x / n is computed only for x below 2 n.
            angles = np.outer(frequencies, shifts) % (2 * self.n_frequencies)
            return np.asarray(np.cos(np.pi * angles / self.n_frequencies))
        return self._waves(frequencies, shifts)

    def basis(self, frequencies: NDArray[np.int64]) -> Array:
        """Return the orthonormal basis functions of these frequencies, shape (F points, frequencies)."""
        points = np.arange(self.n_frequencies)
        if self.name == "dense":
            return np.ones((1, len(frequencies)))
        if self.name == "cosine":
            angles = np.outer(2 * points + 1, frequencies) % (4 * self.n_frequencies)
            scale = np.sqrt(np.where(frequencies == 0, 1, 2) / self.n_frequencies)
            return np.asarray(np.cos(np.pi * angles / (2 * self.n_frequencies)) * scale)
        return np.asarray(self._waves(points, frequencies) / np.sqrt(self.n_frequencies))

    def _waves(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Array:
        turns = np.outer(rows, columns) % self.n_frequencies
        return np.asarray(np.exp(2j * np.pi * turns / self.n_frequencies))

    def apply(self, array: Array, axis: int) -> Array:
        """Return an array with the shifts along an axis replaced by all frequencies."""
        frequencies = np.arange(self.n_frequencies)
        if not self.is_fast:
            return multiply_along(self.response(frequencies), array, axis)
        from scipy import fft

        waves = fft.ifft(array, self.n_frequencies, axis=axis, norm="forward")
        phases = self._waves(frequencies, np.array([self.first_shift]))
        return np.asarray(waves * phases.reshape(-1, *(1,) * (array.ndim - axis - 1)))

    def negate(self, array: Array, axis: int) -> Array:
        """Return an array with frequency -f in place of f along an axis."""
        if self.name != "fourier":
            return array
        return np.take(array, -np.arange(self.n_frequencies) % self.n_frequencies, axis=axis)

    def rounding(self) -> float:
        """Return a bound on the error of a transformed sum whose moduli add up to one, in units of rounding.

        A product with k numbers of modulus one, which have errors of a few units themselves, adds k + 8 units. The
        error of a transform of length F is at most about 8 log2(F) units in the 2-norm, and that of a single value at
        most sqrt(F) times as much.
        """
        if self.is_fast:
            return float(8 * (np.log2(self.n_frequencies) + 2) * np.sqrt(self.n_frequencies))
        return self.n_shifts + 8.0


def multiply_along(matrix: Array, array: Array, axis: int) -> Array:
    """Return the product of a matrix with an array along one of its axes."""
    shape = array.shape
    product: Array = np.matmul(matrix, array.reshape(math.prod(shape[:axis]), shape[axis], -1))
    return product.reshape(*shape[:axis], len(matrix), *shape[axis + 1 :])


# --- the transform of an axis ----------------------------------------------------------------------------------------


def best_transform(axis: Axis, *, symmetric: bool) -> AxisTransform:
    """Return the transform that diagonalises an axis, if any; ``symmetric`` if all kernels are symmetric along it."""
    if not (symmetric and suits_cosines(axis)):  # cosines first: a symmetric axis with one tap is a ring as well
        return ring_transform(axis, axis.n_samples) if is_ring(axis) else dense_transform(axis)
    shifts = np.arange(axis.n_taps) * axis.dilation - axis.pad_low
    zeros = np.zeros_like(shifts)
    return _transform("cosine", axis.n_samples, (1, 1), zeros, zeros, shifts, np.ones(axis.n_taps))


def is_ring(axis: Axis) -> bool:
    """Return whether the outputs of an axis go around a ring exactly once, so that the Fourier transform applies."""
    if axis.n_outputs * axis.stride != axis.n_samples or axis.n_outputs % axis.tile:
        return False
    if axis.boundary == "circular" or (axis.n_samples == 1 and axis.boundary != "zero"):
        return True
    last = (axis.n_outputs - 1) * axis.stride + axis.dilation * (axis.n_taps - 1) - axis.pad_low
    return bool(axis.pad_low == 0 and last < axis.n_samples)  # no tap reads outside, so the boundary is irrelevant


def suits_cosines(axis: Axis) -> bool:
    """Return whether cosines diagonalise an axis, provided that its kernels are symmetric along it."""
    centred = 2 * axis.pad_low == axis.dilation * (axis.n_taps - 1)
    whole = axis.stride == axis.tile == 1 and axis.n_outputs == axis.n_samples
    return bool(axis.boundary == "symmetric" and whole and centred)


def dense_transform(axis: Axis) -> AxisTransform:
    """Return the transform of an axis that has its own matrix as the only block."""
    outputs, taps = (array.ravel() for array in np.mgrid[: axis.n_outputs, : axis.n_taps])
    samples = unflipped_samples(axis, outputs, taps)
    inside = samples != NOTHING
    weights = axis.weight(outputs, taps)[inside]
    rows = outputs[inside] * axis.n_samples + samples[inside]
    shape = (axis.n_outputs * axis.n_samples, axis.tile * axis.n_taps)
    spread = sparse.csc_array((np.ones(len(rows)), (rows, weights)), shape=shape)  # by columns, which are few
    return AxisTransform("dense", 1, axis.n_outputs, axis.n_samples, 0, 1, spread)


def dense_part(
    axis: Axis, outputs: NDArray[np.int64], samples: NDArray[np.int64]
) -> tuple[AxisTransform, NDArray[np.int64]]:
    """Return the transform of some outputs and samples of an untiled axis, and the column that each tap reads.

    The second array has the shape (outputs, taps); `NOTHING` stands for samples that are not among the given ones.
    """
    column = np.full(axis.n_samples + 1, NOTHING)  # the last entry is that of NOTHING
    column[samples] = np.arange(len(samples))
    taps = np.arange(axis.n_taps)
    reads: NDArray[np.int64] = column[unflipped_samples(axis, *np.broadcast_arrays(outputs[:, None], taps))]
    rows, used = np.nonzero(reads != NOTHING)
    entries = rows * len(samples) + reads[rows, used]
    shape = (len(outputs) * len(samples), axis.n_taps)
    spread = sparse.csr_array((np.ones(len(rows)), (entries, used)), shape=shape)
    return AxisTransform("dense", 1, len(outputs), len(samples), 0, 1, spread), reads


def unflipped_samples(axis: Axis, outputs: NDArray[np.int64], taps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the samples read by the taps of the correlation kernel, which is not flipped even if ``axis.flip``."""
    samples: NDArray[np.int64] = axis.sample(outputs, axis.n_taps - 1 - taps if axis.flip else taps)
    return samples


def ring_transform(axis: Axis, length: int) -> AxisTransform:
    """Return the polyphase transform of an axis on a ring of a given length, a multiple of ``stride * tile``."""
    tile, taps = axis.tile, axis.n_taps
    phases = axis.stride * tile
    kernels, positions = (array.ravel() for array in np.mgrid[:tile, :taps])
    reads = kernels * axis.stride + positions * axis.dilation - axis.pad_low
    ones = np.ones(tile * taps)
    return _transform("fourier", length // phases, (tile, phases), kernels, reads % phases, reads // phases, ones)


def weighted_ring(
    n_samples: int, shifts: NDArray[np.int64], factors: Sequence[float] | NDArray[np.float64]
) -> AxisTransform:
    """Return a ring on which weight t is multiplied by ``factors[t]`` and reads at distance ``shifts[t]``."""
    zeros = np.zeros_like(shifts)
    return _transform("fourier", n_samples, (1, 1), zeros, zeros, shifts, np.asarray(factors, dtype=float))


def _transform(
    name: TransformName,
    n_frequencies: int,
    phases: tuple[int, int],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    shifts: NDArray[np.int64],
    factors: NDArray[np.float64],
) -> AxisTransform:
    """Return a transform from the phases, shift and factor of each weight; shifts beyond one period wrap around."""
    first = int(shifts.min())
    period = n_frequencies if name == "fourier" else 2 * n_frequencies
    n_shifts = min(int(shifts.max()) - first + 1, period)
    entries = (rows * phases[1] + columns) * n_shifts + (shifts - first) % period
    shape = (phases[0] * phases[1] * n_shifts, len(factors))
    spread = sparse.csr_array((factors, (entries, np.arange(len(factors)))), shape=shape)
    return AxisTransform(name, n_frequencies, *phases, first, n_shifts, spread)


# --- bounds for an axis without a transform --------------------------------------------------------------------------


def enclosing_rings(axis: Axis) -> list[tuple[AxisTransform, float]]:
    """Return rings that contain an axis, each with the factor by which to multiply its norm.

    The derivation is in `convmatrix.spectral.norm_bounds`.
    """
    last = (axis.n_outputs - 1) * axis.stride + axis.dilation * (axis.n_taps - 1) - axis.pad_low
    beyond = max(axis.pad_low, last - (axis.n_samples - 1), 0)
    if axis.boundary == "zero" or beyond == 0:
        return [(long_ring(axis, axis.n_samples + beyond), 1.0)]
    choices = [(long_ring(axis, last + axis.pad_low + 1), math.sqrt(_most_repeats(axis)))]
    if axis.boundary == "circular" and axis.tile == 1:
        step = math.gcd(axis.stride, axis.n_samples)
        rounds = -(-axis.n_outputs * step // axis.n_samples)
        finer = replace(axis, stride=step, n_outputs=axis.n_samples // step)
        choices.append((ring_transform(finer, axis.n_samples), math.sqrt(rounds)))
    return choices


def long_ring(axis: Axis, at_least: int, n_outputs: int | None = None) -> AxisTransform:
    """Return an axis on the shortest ring for at least a given length and number of outputs, all of them by default."""
    step = axis.stride * axis.tile
    length = max(at_least, (axis.n_outputs if n_outputs is None else n_outputs) * axis.stride)
    return ring_transform(axis, -(-length // step) * step)


def _most_repeats(axis: Axis) -> int:
    """Return the largest number of distinct positions that read the same sample."""
    taps = np.arange(axis.n_taps)
    positions = np.unique(np.arange(axis.n_outputs)[:, None] * axis.stride + taps * axis.dilation)
    plain = replace(axis, n_outputs=len(positions), stride=1, dilation=1, n_taps=1, flip=False, tile=1)
    samples = plain.sample(positions, np.zeros_like(positions))
    return int(np.bincount(samples[samples != NOTHING], minlength=1).max())


def most_reads(axis: Axis) -> tuple[int, int]:
    """Return the maximum number of times that a sample is read, by all taps together and by a single tap."""
    outputs = np.arange(axis.n_outputs)
    total, most = np.zeros(axis.n_samples, dtype=np.int64), 0
    for tap in range(axis.n_taps):
        samples = unflipped_samples(axis, outputs, np.full_like(outputs, tap))
        counts = np.bincount(samples[samples != NOTHING], minlength=axis.n_samples)
        total += counts
        most = max(most, int(counts.max()))
    return int(total.max()), most


def used_taps(axis: Axis) -> NDArray[np.bool_]:
    """Return which taps read a sample at any output, shape (tile, n_taps)."""
    outputs = np.arange(axis.n_outputs)
    used = np.zeros((axis.tile, axis.n_taps), dtype=bool)
    for tap in range(axis.n_taps):
        reads = axis.sample(outputs, np.full_like(outputs, tap)) != NOTHING
        used[outputs[reads] % axis.tile, tap] = True
    return used
