r"""Transforms that diagonalise an axis of a layer: Fourier, cosine, sine, or none.

An axis with R output phases, C input phases and F points per phase is written as

.. math:: y_u[l] = \sum_{r, a} G[u, r, a] \, x_r[l + a], \qquad y_u[l] = y_{R l + u}, \quad x_r[l] = x_{C l + r}

- ``fourier``: a ring whose length is divisible by the stride. The sum over the shifts a is cyclic in l, so the discrete
  Fourier transform turns it into one R x C matrix per frequency (the polyphase form; R = 1 and C = stride unless the
  weights are tiled).
- ``cosine``: a symmetric boundary and a symmetric kernel. The cosines of half-sample symmetry (the DCT-II) are
  eigenvectors, because they continue beyond the ends as the boundary does.
- ``sine``: an antisymmetric boundary and a symmetric kernel, likewise with the sines of half-sample antisymmetry (the
  DST-II).
- ``dense``: any other axis. F = 1, and G is the matrix of the axis.
- ``affine``: an antireflective boundary and a symmetric kernel, for eigenvalues only. Constants, a ramp and the sines
  of whole-sample antisymmetry (the DST-I of the inner samples) are eigenvectors, but they are not orthogonal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from scipy import sparse

from convmatrix.boundary import NOTHING, SIGNED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from convmatrix.arrays import Array
    from convmatrix.boundary import Axis

TransformName = Literal["fourier", "cosine", "sine", "dense", "affine"]

_PERRON_STEPS: Final = 40  # of a bound on an extension that is not diagonal
_MOST_SHIFTS: Final = 96  # transformed by a matrix product; larger numbers are transformed by a fast Fourier transform


@dataclass(frozen=True, eq=False)
class AxisTransform:
    """The transform of one axis, and its dependence on the weights of that axis (tile and taps joined).

    Attributes
    ----------
    name : {"fourier", "cosine", "sine", "dense", "affine"}
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
        return self.name == "fourier" and _MOST_SHIFTS < self.n_shifts <= self.n_frequencies  # more wrap around

    def distinct(self) -> AxisTransform:
        """Return the transform with one frequency if all of them multiply the weights by numbers of modulus one."""
        same = self.n_shifts == 1 and (self.name == "fourier" or self.first_shift == 0)
        return replace(self, n_frequencies=1, first_shift=0) if same else self

    def response(self, frequencies: NDArray[np.int64]) -> Array:
        """Return the factor of each shift at each frequency, shape (frequencies, shifts)."""
        shifts = self.first_shift + np.arange(self.n_shifts)
        if self.name == "dense":
            return np.ones((len(frequencies), 1))
        if self.name == "fourier":
            return self._waves(frequencies, shifts)
        half, waves = self.n_frequencies, frequencies
        if self.name == "sine":
            waves = frequencies + 1
        elif self.name == "affine":
            half, waves = self.n_frequencies - 1, np.maximum(frequencies - 1, 0)
        # Angles are reduced in integers: pi * x / n is computed only for x below 2 n.
        angles = np.outer(waves, shifts) % (2 * half)
        return np.asarray(np.cos(np.pi * angles / half))

    def basis(self, frequencies: NDArray[np.int64]) -> Array:
        """Return the orthonormal basis functions of these frequencies, shape (F points, frequencies)."""
        points = np.arange(self.n_frequencies)
        if self.name == "dense":
            return np.ones((1, len(frequencies)))
        if self.name in ("cosine", "sine"):
            waves = frequencies + (self.name == "sine")
            angles = np.outer(2 * points + 1, waves) % (4 * self.n_frequencies) * (np.pi / (2 * self.n_frequencies))
            scale = np.sqrt(np.where(waves % self.n_frequencies == 0, 1, 2) / self.n_frequencies)
            return np.asarray((np.cos if self.name == "cosine" else np.sin)(angles) * scale)
        if self.name == "affine":
            raise ValueError("the eigenvectors of an antireflective axis are not orthonormal; use its own matrix")
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
        phases = self._waves(frequencies, np.array([self.first_shift])).astype(waves.dtype)
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
    """Return the product of a matrix with an array along one of its axes, in the precision of the array."""
    shape = array.shape
    if array.dtype in (np.float32, np.complex64):
        matrix = matrix.astype(np.complex64 if matrix.dtype.kind == "c" else np.float32)
    product: Array = np.matmul(matrix, array.reshape(math.prod(shape[:axis]), shape[axis], -1))
    return product.reshape(*shape[:axis], len(matrix), *shape[axis + 1 :])


# --- the transform of an axis ----------------------------------------------------------------------------------------


def axis_transform(axis: Axis, name: TransformName) -> AxisTransform:
    """Return the transform of an axis by its name, which must suit the axis."""
    if name == "fourier":
        return ring_transform(axis, axis.n_samples)
    return dense_transform(axis) if name == "dense" else _mirror_transform(axis, name)


def transform_name(axis: Axis, *, symmetric: bool) -> TransformName:
    """Return the transform that diagonalises an axis, if any; ``symmetric`` if all kernels are symmetric along it."""
    names: dict[str, TransformName] = {"symmetric": "cosine", "antisymmetric": "sine"}
    if symmetric and axis.boundary in names and is_centred(axis):  # first: such an axis with one tap is a ring as well
        return names[axis.boundary]
    return "fourier" if is_ring(axis) else "dense"


def has_affine(axis: Axis) -> bool:
    r"""Return whether the eigenvectors of an axis are constants, a ramp and sines, if its kernels are symmetric.

    With h the symbol of the kernel, the eigenvalues are h(0) twice, for constants and a ramp, which the boundary
    continues exactly, and :math:`h(\pi k / (n - 1))` for k = 1 .. n - 2, for sines that vanish at both end samples.
    """
    return axis.boundary == "antireflect" and axis.n_samples > 1 and is_centred(axis)


def _mirror_transform(axis: Axis, name: TransformName) -> AxisTransform:
    """Return the transform of a centred axis to waves that continue beyond the ends as its boundary does."""
    shifts = np.arange(axis.n_taps) * axis.dilation - axis.pad_low
    zeros = np.zeros_like(shifts)
    return _transform(name, axis.n_samples, (1, 1), zeros, zeros, shifts, np.ones(axis.n_taps))


def is_ring(axis: Axis) -> bool:
    """Return whether the outputs of an axis go around a ring exactly once, so that the Fourier transform applies."""
    if axis.n_outputs * axis.stride != axis.n_samples or axis.n_outputs % axis.tile:
        return False
    if axis.boundary == "circular" or (axis.n_samples == 1 and axis.boundary not in ("zero", "antisymmetric")):
        return True
    # If no tap reads outside, the boundary is irrelevant.
    return bool(axis.pad_low == 0 and axis.reach(axis.n_outputs) <= axis.n_samples)


def is_centred(axis: Axis) -> bool:
    """Return whether every output has the sample at its own place at the centre of its one kernel."""
    centred = 2 * axis.pad_low == axis.span - 1
    whole = axis.stride == axis.tile == 1 and axis.n_outputs == axis.n_samples
    return bool(whole and centred)


def dense_transform(axis: Axis) -> AxisTransform:
    """Return the transform of an axis that has its own matrix as the only block."""
    return dense_part(axis, np.arange(axis.n_outputs), np.arange(axis.n_samples))


def dense_part(axis: Axis, outputs: NDArray[np.int64], samples: NDArray[np.int64]) -> AxisTransform:
    """Return the transform to the matrix of some outputs and samples of an axis."""
    column = np.full(axis.n_samples, NOTHING)
    column[samples] = np.arange(len(samples))
    reads = read_entries(axis, outputs)
    columns = column[reads.samples]
    inside = columns != NOTHING
    weights = axis.weight(outputs[reads.outputs], reads.taps)[inside]
    rows = reads.outputs[inside] * len(samples) + columns[inside]
    shape = (len(outputs) * len(samples), axis.tile * axis.n_taps)
    spread = sparse.csc_array((reads.coefficients[inside], (rows, weights)), shape=shape)  # few columns
    return AxisTransform("dense", 1, len(outputs), len(samples), 0, 1, spread)


@dataclass(frozen=True, eq=False)
class ReadEntries:
    """The samples that the taps of some outputs of an axis read: one entry per output, tap and sample.

    Attributes
    ----------
    outputs, taps, samples : int arrays of equal length
        Place of the output among the given ones, tap of the correlation kernel (which is not flipped even if the axis
        is), and sample.
    coefficients : array of float
        By which the sample is multiplied: 1, unless the boundary is signed. None is 0.
    shape : (int, int, int)
        Number of outputs, of taps and of samples.
    """

    outputs: NDArray[np.int64]
    taps: NDArray[np.int64]
    samples: NDArray[np.int64]
    coefficients: NDArray[np.float64]
    shape: tuple[int, int, int]

    def column_sums(self) -> NDArray[np.float64]:
        r"""Return the column sums of :math:`|R|^T |R|` for the matrix R of (output, tap) by sample, shape (samples,).

        The largest one bounds the squared norm of R. Where each row has one entry 1, it is the largest number of reads
        of one sample, and the squared norm itself.
        """
        rows, moduli = self.outputs * self.shape[1] + self.taps, np.abs(self.coefficients)
        sums = np.bincount(rows, moduli, minlength=1)
        return np.asarray(np.bincount(self.samples, moduli * sums[rows], minlength=self.shape[2]), dtype=np.float64)

    def row_bound(self) -> float:
        """Return the largest sum of moduli of coefficients of one tap of one output."""
        rows = self.outputs * self.shape[1] + self.taps
        return float(np.bincount(rows, np.abs(self.coefficients), minlength=1).max())


def read_entries(axis: Axis, outputs: NDArray[np.int64] | None = None, tap: int | None = None) -> ReadEntries:
    """Return the reads of the taps of outputs, in their order; by default of all taps and all outputs."""
    outputs = np.arange(axis.n_outputs) if outputs is None else outputs
    taps = np.arange(axis.n_taps) if tap is None else np.array([tap])
    places, used, samples, factors = replace(axis, flip=False).entries(outputs, taps)
    shape = len(outputs), axis.n_taps, axis.n_samples
    return ReadEntries(places, used, samples, factors.astype(np.float64), shape)


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
    period = n_frequencies if name == "fourier" else 2 * (n_frequencies - (name == "affine"))
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
    if reads_own_samples(axis):
        return [(long_ring(axis, axis.n_samples + _beyond(axis)), 1.0)]
    choices = [(long_ring(axis, axis.reach(axis.n_outputs)), extension_norm(axis))]
    if axis.boundary == "circular" and axis.tile == 1:
        step = math.gcd(axis.stride, axis.n_samples)
        rounds = -(-axis.n_outputs * step // axis.n_samples)
        finer = replace(axis, stride=step, n_outputs=axis.n_samples // step)
        choices.append((ring_transform(finer, axis.n_samples), math.sqrt(rounds)))
    return choices


def reads_own_samples(axis: Axis) -> bool:
    """Return whether an axis reads nothing but its samples and zeros, so that a ring that contains it holds them."""
    return axis.boundary == "zero" or _beyond(axis) == 0


def _beyond(axis: Axis) -> int:
    """Return the number of positions that are read beyond the samples, on the side with more of them."""
    return int(max(axis.pad_low, axis.reach(axis.n_outputs) - axis.pad_low - axis.n_samples, 0))


def long_ring(axis: Axis, at_least: int, n_outputs: int | None = None) -> AxisTransform:
    """Return an axis on the shortest ring for at least a given length and number of outputs, all of them by default."""
    step = axis.stride * axis.tile
    length = max(at_least, (axis.n_outputs if n_outputs is None else n_outputs) * axis.stride)
    return ring_transform(axis, -(-length // step) * step)


def extension_norm(axis: Axis) -> float:
    """Return a bound on the norm of the map from the samples of an axis to what is read at all positions.

    For boundaries that repeat samples, it is the root of the largest number of positions that read one sample. For the
    antireflective one, the largest eigenvalue of the moduli's Gram matrix is bounded by Collatz and Wielandt.
    """
    extension = extension_entries(axis)
    bound = float(extension.column_sums().max())
    if axis.boundary in SIGNED and extension.row_bound() > 1:
        entries = np.abs(extension.coefficients), (extension.outputs, extension.samples)
        matrix = sparse.csr_array(entries, shape=(extension.shape[0], axis.n_samples))
        gram = (matrix.T @ matrix).tocsr()  # of integers, which are exact
        x = np.ones(axis.n_samples)
        for _ in range(_PERRON_STEPS):
            image = gram @ x
            bound = min(bound, float((image / x).max()) * (1 + 1e-12))
            x = image / image.max() + 1e-3  # stays positive
    return math.sqrt(bound)


def extension_entries(axis: Axis) -> ReadEntries:
    """Return the samples read at the distinct positions of an axis, in ascending order."""
    taps = np.arange(axis.n_taps)
    positions = np.unique(np.arange(axis.n_outputs)[:, None] * axis.stride + taps * axis.dilation)
    plain = replace(axis, n_outputs=int(positions[-1]) + 1, stride=1, dilation=1, n_taps=1, flip=False, tile=1)
    return read_entries(plain, positions)


def most_reads(axis: Axis) -> tuple[float, float]:
    """Return the maximum number of reads of a sample by all taps together, and by a single tap.

    For a signed boundary these are bounds on the squared norms of the matrices of the moduli of its coefficients: of
    all taps, with a row for each tap of each output, and of a single tap.
    """
    total, most, outputs, plain = np.zeros(axis.n_samples), 0.0, np.arange(axis.n_outputs), replace(axis, flip=False)
    for tap in range(axis.n_taps):
        if axis.boundary in SIGNED:
            sums = read_entries(axis, tap=tap).column_sums()
        else:
            samples = plain.sample(outputs, tap)
            sums = np.bincount(samples[samples != NOTHING], minlength=axis.n_samples).astype(np.float64)
        total += sums
        most = max(most, float(sums.max()))
    return float(total.max()), most


def used_taps(axis: Axis) -> NDArray[np.bool_]:
    """Return which taps of the kernel, flipped if the axis is, read a sample at any output, shape (tile, n_taps)."""
    used = np.zeros((axis.tile, axis.n_taps), dtype=bool)
    for tap in range(axis.n_taps):
        if axis.boundary == "zero":  # decided from the first output that reads at or after sample 0
            kernels = np.arange(min(axis.tile, axis.n_outputs))
            first, step = kernels * axis.stride + tap * axis.dilation - axis.pad_low, axis.stride * axis.tile
            repeat = np.maximum(-(first // step), 0)
            used[kernels, tap] = (kernels + repeat * axis.tile < axis.n_outputs) & (
                first + repeat * step < axis.n_samples
            )
        elif axis.boundary == "antireflect":  # coefficients may cancel
            used[read_entries(axis, tap=tap).outputs % axis.tile, tap] = True
        else:
            used[: axis.n_outputs, tap] = True
    return used[:, ::-1] if axis.flip else used
