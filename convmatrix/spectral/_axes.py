r"""How one axis of a layer becomes diagonal, or stays dense: the three ways, side by side.

On every axis the layer is rewritten as ``positions = phases x frequencies``: with R output phases, C input phases and
F points a phase,

.. math:: y_u[l] = \sum_{r, a} G[u, r, a] \, x_r[l + a], \qquad y_u[l] = y_{R l + u}, \quad x_r[l] = x_{C l + r}

- ``fourier``: a ring whose length the stride divides. The sum over a is cyclic in l, so that the discrete Fourier
  transform turns it into one R x C matrix a frequency (the polyphase form; R = 1, C = stride, but for tiled weights).
- ``cosine``: a symmetric boundary and a symmetric kernel. Cosines of half-sample symmetry (the DCT-II) are
  eigenvectors, for they continue beyond the ends as the boundary does.
- ``dense``: any other axis; F = 1, and G is the matrix of the axis itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse

from convmatrix.boundary import NOTHING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from convmatrix.boundary import Axis

Kind = Literal["fourier", "cosine", "dense"]

SHORT = 96
"""Most shifts that are transformed by a product with a matrix; more of them are by a fast Fourier transform."""


@dataclass(frozen=True, eq=False)
class AxisForm:
    """One axis: how its weights (tile and taps joined) spread over output phases, input phases and shifts.

    Attributes
    ----------
    kind : {"fourier", "cosine", "dense"}
    n_frequencies, n_outputs, n_inputs : int
        F, R and C of the module's text.
    first_shift, n_shifts : int
        The shifts a are ``first_shift .. first_shift + n_shifts - 1``.
    spread : sparse array, shape (R * C * n_shifts, tile * n_taps)
    """

    kind: Kind
    n_frequencies: int
    n_outputs: int
    n_inputs: int
    first_shift: int
    n_shifts: int
    spread: Any

    def response(self, frequencies: NDArray[np.int64]) -> NDArray[Any]:
        """Return what each shift contributes at each frequency, shape (frequencies, shifts)."""
        shifts = self.first_shift + np.arange(self.n_shifts)
        if self.kind == "dense":
            return np.ones((len(frequencies), 1))
        if self.kind == "cosine":
            # Angles are reduced in integers: pi * x / n is only computed for x below 2 n.
            return np.asarray(
                np.cos(np.pi * (np.outer(frequencies, shifts) % (2 * self.n_frequencies)) / self.n_frequencies)
            )
        turns = np.outer(frequencies, shifts) % self.n_frequencies
        return np.asarray(np.exp(2j * np.pi * turns / self.n_frequencies))

    def basis(self, frequencies: NDArray[np.int64]) -> NDArray[Any]:
        """Return the orthonormal functions of the axis at these frequencies, shape (F points, frequencies)."""
        points = np.arange(self.n_frequencies)
        if self.kind == "dense":
            return np.ones((1, len(frequencies)))
        if self.kind == "cosine":
            angles = np.outer(2 * points + 1, frequencies) % (4 * self.n_frequencies)
            scale = np.sqrt(np.where(frequencies == 0, 1, 2) / self.n_frequencies)
            cosines: NDArray[Any] = np.cos(np.pi * angles / (2 * self.n_frequencies)) * scale
            return cosines
        turns = np.outer(points, frequencies) % self.n_frequencies
        waves: NDArray[Any] = np.exp(2j * np.pi * turns / self.n_frequencies) / np.sqrt(self.n_frequencies)
        return waves

    def transform(self, array: NDArray[Any], axis: int) -> NDArray[Any]:
        """Replace the shifts along an axis by all frequencies."""
        if self.kind == "fourier" and self.n_shifts > SHORT:
            from scipy import fft

            waves = fft.ifft(array, self.n_frequencies, axis=axis, norm="forward")
            phases = np.exp(
                2j
                * np.pi
                * (np.arange(self.n_frequencies) * self.first_shift % self.n_frequencies)
                / self.n_frequencies
            )
            shape = [1] * array.ndim
            shape[axis] = -1
            return np.asarray(waves * phases.reshape(shape))
        return apply_along(self.response(np.arange(self.n_frequencies)), array, axis)

    def rounding(self) -> float:
        """Return by how many rounding units, at most, a transformed sum of moduli one is off.

        A product with k numbers of modulus one, themselves off by a few units, adds k + 8 units. A transform of length
        F is off by at most about 8 log2(F) units in the 2-norm, which any single value exceeds by sqrt(F) at most.
        """
        if self.kind == "fourier" and self.n_shifts > SHORT:
            return float(8 * (np.log2(self.n_frequencies) + 2) * np.sqrt(self.n_frequencies))
        return self.n_shifts + 8.0


def apply_along(matrix: NDArray[Any], array: NDArray[Any], axis: int) -> NDArray[Any]:
    """Multiply a matrix into one axis of an array."""
    shape = array.shape
    flat = array.reshape(int(np.prod(shape[:axis])), shape[axis], -1)
    product: NDArray[Any] = np.matmul(matrix, flat)
    return product.reshape(*shape[:axis], len(matrix), *shape[axis + 1 :])


def axis_form(axis: Axis, *, symmetric: bool) -> AxisForm:
    """Return the best form of an axis; ``symmetric`` says that all kernels are symmetric along it."""
    if is_ring(axis):
        return ring_form(axis, axis.n_samples, axis.stride)
    if symmetric and suits_cosines(axis):
        shifts = np.arange(axis.n_taps) * axis.dilation - axis.pad_low
        zeros = np.zeros_like(shifts)
        return _form("cosine", axis.n_samples, (1, 1), zeros, zeros, shifts, axis.n_taps)
    return dense_form(axis)


def suits_cosines(axis: Axis) -> bool:
    """Whether an axis is transformed by cosines, provided that its kernels are symmetric along it."""
    centred = 2 * axis.pad_low == axis.dilation * (axis.n_taps - 1)
    whole = axis.stride == axis.tile == 1 and axis.n_outputs == axis.n_samples
    return bool(axis.boundary == "symmetric" and whole and centred)


def dense_form(axis: Axis) -> AxisForm:
    """Return the axis as the matrix that it is."""
    outputs, taps = (array.ravel() for array in np.mgrid[: axis.n_outputs, : axis.n_taps])
    samples = read_unflipped(axis, outputs, taps)
    inside = samples != NOTHING
    weights = axis.weight(outputs, taps)[inside]
    size = (axis.n_outputs, axis.n_samples)
    rows = outputs[inside] * axis.n_samples + samples[inside]
    ones = np.ones(len(rows))
    spread = sparse.csr_array((ones, (rows, weights)), shape=(size[0] * size[1], axis.tile * axis.n_taps))
    return AxisForm("dense", 1, *size, 0, 1, spread)


def read_unflipped(axis: Axis, outputs: NDArray[np.int64], taps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the samples that taps read once the kernel is stored as a correlation's, whatever ``axis.flip`` says."""
    samples: NDArray[np.int64] = axis.sample(outputs, axis.n_taps - 1 - taps if axis.flip else taps)
    return samples


def is_ring(axis: Axis) -> bool:
    """Whether the outputs of an axis go once around a ring: its transform is exact."""
    if axis.n_outputs * axis.stride != axis.n_samples or axis.n_outputs % axis.tile:
        return False
    if axis.boundary == "circular" or (axis.n_samples == 1 and axis.boundary != "zero"):
        return True
    last = (axis.n_outputs - 1) * axis.stride + axis.dilation * (axis.n_taps - 1) - axis.pad_low
    return bool(axis.pad_low == 0 and last < axis.n_samples)  # reads nothing outside, so that any boundary will do


def ring_form(axis: Axis, length: int, stride: int) -> AxisForm:
    """Return the axis on a ring of any length that ``stride * tile`` divides, by its polyphase components."""
    tile, taps = axis.tile, axis.n_taps
    phases = stride * tile
    kernels, positions = (array.ravel() for array in np.mgrid[:tile, :taps])
    reads = kernels * axis.stride + positions * axis.dilation - axis.pad_low
    return _form("fourier", length // phases, (tile, phases), kernels, reads % phases, reads // phases, tile * taps)


def _form(
    kind: Kind,
    n_frequencies: int,
    phases: tuple[int, int],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    shifts: NDArray[np.int64],
    n_weights: int,
    values: NDArray[np.float64] | None = None,
) -> AxisForm:
    """Return a form from the phases and the shift of each weight; shifts past one period are wrapped, not cropped."""
    first = int(shifts.min())
    period = n_frequencies if kind == "fourier" else 2 * n_frequencies
    n_shifts = min(int(shifts.max()) - first + 1, period)
    places = (rows * phases[1] + columns) * n_shifts + (shifts - first) % period
    values = np.ones(n_weights) if values is None else values
    spread = sparse.csr_array(
        (values, (places, np.arange(n_weights))), shape=(phases[0] * phases[1] * n_shifts, n_weights)
    )
    return AxisForm(kind, n_frequencies, *phases, first, n_shifts, spread)


def shift_form(
    n_frequencies: int, shifts: NDArray[np.int64], values: Sequence[float] | NDArray[np.float64]
) -> AxisForm:
    """Return a ring on which weight t is multiplied by ``values[t]`` and reads at distance ``shifts[t]``."""
    zeros = np.zeros_like(shifts)
    return _form("fourier", n_frequencies, (1, 1), zeros, zeros, shifts, len(shifts), np.asarray(values, dtype=float))
