r"""Proofs, by Cholesky factorisation, that the norm of a layer is below a given number.

If the Cholesky factorisation of a stored Hermitian matrix H runs to its end in floating point, then

.. math:: \lambda_{min}(H) \ge - \frac{\gamma_{b+1}}{1 - \gamma_{b+1}} \, \mathrm{tr} H,
          \qquad \gamma_k = \frac{k u}{1 - k u}

with b the bandwidth and u half a unit in the last place (Rump, Verification of positive definiteness, BIT 46, 2006;
products of a band matrix have at most b + 1 terms). With H the stored :math:`\mu^2 I - A A^H`, whose error is at most
:math:`\gamma_{r+2} \| |A| |A|^T \| + 2 u \mu^2` for r nonzeros per row, this bounds the norm of A.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import memory
from convmatrix.arrays import EPSILON
from convmatrix.matrices import conv_matrix
from convmatrix.memory import MatrixTooLargeError, estimate
from convmatrix.spectral.axis_transforms import is_ring, reads_own_samples
from convmatrix.spectral.blocks import (
    MODERATE_WORK,
    gamma,
    gram_matrices,
    largest_singular_value,
    layer_blocks,
    on_cores,
    single_precision,
    spread_rounding,
    wide,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from convmatrix.arrays import Array
    from convmatrix.spectral.axis_transforms import AxisTransform
    from convmatrix.spectral.blocks import Blocks, WeightedLayer

_UNIT: Final = EPSILON / 2
_LITTLE_WORK: Final = 1e8
_MOST_BAND_WORK: Final = 1e12
_MOST_ENTRIES: Final = 3e7
_MOST_CANCELLING: Final = 1e5
_MOST_WAVES: Final = 4_000  # whose overlaps are computed
_LARGEST_SHARE: Final = 1.6  # of the waves of one frequency, relative to an equal share
_MOST_BLOCK_WORK: Final = 2e10  # multiplications for the largest singular vectors of all blocks


def refine_bounds(
    layer: WeightedLayer,
    lower_bound: Callable[[float, int], float],
    tol: float,
    known: tuple[float, float],
    scale: float,
) -> tuple[float, float]:
    """Return bounds on the norm whose relative width is at most ``tol``, from known ones.

    ``lower_bound`` returns a lower bound for a tolerance of the value and a maximum number of products. Norms are
    multiplied by ``scale`` in messages.
    """
    lower, upper = known
    if lower == 0 and _cancels(layer):
        return 0.0, 0.0
    certifier, reason = find_certifier(layer)
    # A small residual shows that a singular value is near, but not which one: if the proof fails, refine.
    for effort, tolerance in ((1_000, tol / 20), (4_000, tol / 1_000), (20_000, 1e-14)):
        lower = max(lower, lower_bound(tolerance, effort))
        if upper - lower <= tol * lower:
            return lower, upper
        if certifier is None:
            if effort == 1_000:
                continue
            break
        for share in (0.25, 0.5, 0.9):
            proved = certifier.holds(lower * (1 + share * tol))
            if proved is not None:
                upper = min(upper, proved)
                break
        if upper - lower <= tol * lower:
            return lower, upper
        if tol < 1e-9:  # the obstacle is rounding, not the vector
            break
    width = (upper - lower) / lower if lower > 0 else math.inf
    reason = reason or "the rest is rounding, for which the proof must allow, or a cluster of singular values"
    raise ValueError(
        f"tol={tol:g} cannot be met: the norm lies between {lower * scale:.17g} and "
        f"{upper * scale * (1 + 2 * EPSILON):.17g}, a relative width of {width:.2g}; {reason}; use a larger tol, or "
        "none"
    )


def _cancels(layer: WeightedLayer) -> bool:
    """Return whether the weights cancel exactly in every matrix entry, as +1 and -1 do on a ring of one sample."""
    if estimate(layer.geometry).nonzeros > _MOST_CANCELLING:
        return False
    pattern = layer.geometry.pattern()
    values = pattern.scaled(layer.weights.reshape(-1)[pattern.weight_index])
    starts = np.flatnonzero(np.r_[True, (np.diff(pattern.rows) != 0) | (np.diff(pattern.cols) != 0)])
    entries = [entry for part in (values.real, values.imag) for entry in np.split(part, starts[1:])]
    return all(math.fsum(entry) == 0 for entry in entries)  # fsum rounds once


def find_certifier(layer: WeightedLayer) -> tuple[BlockCertifier | BandCertifier | None, str]:
    """Return the certifier that proves a bound with the least work, or None with the reason why there is none."""
    work = layer.decomposition_work
    if work <= _LITTLE_WORK:
        return BlockCertifier(layer_blocks(layer)), ""
    if estimate(layer.geometry, dtype=layer.weights.dtype).nonzeros <= _MOST_ENTRIES:
        try:
            band = BandCertifier(conv_matrix(layer.weights, layer.geometry))
        except MatrixTooLargeError:
            band = None
        if band is not None and band.work <= min(_MOST_BAND_WORK, work):
            return band, ""
    if work <= MODERATE_WORK:
        return BlockCertifier(layer_blocks(layer)), ""
    return None, f"the proof would need about {work:.1e} multiplications, but at most {MODERATE_WORK:.0e} are attempted"


class BlockCertifier:
    """Certifies bounds for layers whose blocks are dense and of moderate size."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks
        self.small, self.inner = sorted(blocks.block_shape)

    def holds(self, mu: float) -> float | None:
        """Return a proved bound on the norm, slightly larger than mu, or None if the proof for mu fails."""
        complex_factor = 1 if self.blocks.taps.dtype.kind != "c" and math.prod(self.blocks.shape) == 1 else 4

        def factorise(matrices: Array, _: NDArray[np.int64]) -> tuple[bool, float]:
            stack = wide(matrices.reshape(-1, *matrices.shape[-2:]))
            gram = stack @ stack.conj().swapaxes(1, 2)
            total = float((np.abs(stack) ** 2).sum(axis=(1, 2)).max(initial=0.0))
            try:
                np.linalg.cholesky(mu**2 * np.eye(self.small) - gram)
            except np.linalg.LinAlgError:
                return False, total
            return True, total

        results = self.blocks.map(factorise)
        if not all(succeeded for succeeded, _ in results):
            return None
        total = max(total for _, total in results)  # bounds the norm of |A| |A|^T
        slack = gamma(complex_factor * (self.inner + 2)) * total + 2 * _UNIT * mu**2
        slack += 2 * gamma(complex_factor * (self.small + 2)) * self.small * mu**2
        return (math.sqrt(mu**2 + slack) + self.blocks.rounding()) * (1 + 8 * _UNIT)


class BandCertifier:
    """Certifies bounds for a sparse matrix, by a factorisation within the bandwidth of A A^H or A^H A."""

    def __init__(self, matrix: Any) -> None:
        from scipy.sparse.csgraph import reverse_cuthill_mckee

        if matrix.shape[0] > matrix.shape[1]:
            matrix = matrix.T.conj().tocsr()
        gram = (matrix @ matrix.T.conj()).tocsr()
        n = gram.shape[0]
        rows = np.repeat(np.arange(n), np.diff(gram.indptr))
        natural = int(np.abs(rows - gram.indices).max(initial=0))
        position = np.empty(n, dtype=np.int64)
        position[reverse_cuthill_mckee(gram, symmetric_mode=True)] = np.arange(n)
        reordered = int(np.abs(position[rows] - position[gram.indices]).max(initial=0))
        if reordered < natural:
            rows, columns, self.bandwidth = position[rows], position[gram.indices], reordered
        else:
            columns, self.bandwidth = gram.indices, natural
        lower = rows >= columns
        self.size = n
        self._entries = (rows[lower] - columns[lower], columns[lower])
        self._values = gram.data[lower]
        moduli = abs(matrix)
        row_sums = float(moduli.sum(axis=1).max(initial=0.0))
        column_sums = float(moduli.sum(axis=0).max(initial=0.0))
        self._total = row_sums * column_sums * (1 + 1e-9)
        self._terms = int(np.diff(matrix.indptr).max(initial=0))

    @property
    def work(self) -> float:
        """Multiplications of one factorisation."""
        return float(self.size) * (self.bandwidth + 1) ** 2

    def holds(self, mu: float) -> float | None:
        """Return a proved bound on the norm, slightly larger than mu, or None if the proof for mu fails."""
        from scipy import linalg

        memory.require(
            2 * (self.bandwidth + 1) * self.size * self._values.itemsize,
            f"the band of {self.bandwidth + 1} diagonals of a matrix with {self.size} rows",
            "omit tol, or use a smaller layer",
        )
        band = np.zeros((self.bandwidth + 1, self.size), dtype=self._values.dtype)
        band[self._entries] = -self._values
        band[0] += mu**2
        try:
            linalg.cholesky_banded(band, lower=True, overwrite_ab=True, check_finite=False)
        except np.linalg.LinAlgError:
            return None
        factor = 4 if self._values.dtype.kind == "c" else 1
        slack = gamma(factor * (self._terms + 2)) * self._total + 2 * _UNIT * mu**2
        slack += 2 * gamma(factor * (self.bandwidth + 3)) * self.size * mu**2
        return math.sqrt(mu**2 + slack) * (1 + 8 * _UNIT)


# --- layers on parts of rings ----------------------------------------------------------------------------------------


def partial_ring_bound(layer: WeightedLayer, axes: Sequence[AxisTransform]) -> float:
    r"""Return a bound on the norm of a layer on rings that uses their first samples and outputs only.

    The layer is A = R C E with C on the rings, and R and E select outputs and samples. The largest singular vectors of
    C are waves around whole rings. On the part that A uses they are not orthogonal to waves of other frequencies, whose
    singular values are smaller, so the norm of A is smaller too. Let :math:`v_i, w_i` be waves with singular values
    :math:`\sigma_i > s`, up to any error, and :math:`T = \sum_i (\sigma_i - s) w_i v_i^H`. Then

    .. math:: \|A\| \le \|C - T\| + \|R T E\| \le \|C - T\| + \lambda_{max}(K), \qquad
              K_{ij} = \tfrac12 \sqrt{(\sigma_i - s)(\sigma_j - s)} \, (v_i^H E E^H v_j + w_i^H R^H R w_j)

    because with :math:`p_i = \sqrt{\sigma_i - s} \, v_i^H E x` and :math:`q_i = \sqrt{\sigma_i - s} \, w_i^H R^H y`,
    :math:`4 \, \mathrm{Re} \, y^H R T E x = |p + q|^2 - |p - q|^2 \le |p + q|^2`, and p + q is the product of a
    matrix Z, with :math:`Z Z^H = 2 K`, and (x, y), of squared norm 2. The norm of C - T, about s, is the largest one of
    its blocks, and that of K is proved by a Cholesky factorisation. The bound is infinite if the layer has groups or
    complex weights, an axis is not a ring or its ring holds more than its samples and zeros, or the work is too large.
    """
    frequencies = math.prod(axis.n_frequencies for axis in axes)
    rows, columns = layer.block_shape(axes)
    small = min(rows, columns)
    suits = layer.channels[0] == 1 and layer.weights.dtype.kind != "c"
    for axis, ring in zip(layer.geometry.axes, axes, strict=True):
        suits &= ring.name == "fourier" and (is_ring(axis) or reads_own_samples(axis))
    each = min(small, math.ceil(_LARGEST_SHARE * _MOST_WAVES / frequencies))
    if not suits or each == 1 < small or float(frequencies) * small**2 * (rows + columns) > _MOST_BLOCK_WORK:
        return math.inf  # with one wave per frequency, the second ones need not be smaller
    blocks = layer_blocks(layer, axes)
    counts = blocks.multiplicity[blocks.multiplicity > 0]
    matrices = blocks.counted()[:, 0]
    real = [block if count == 2 else block.real for block, count in zip(matrices, counts, strict=True)]
    triplets = on_cores(lambda block: _largest_triplets(block, each), real)
    sigma = np.array([values for _, values, _ in triplets])  # (distinct frequencies, each), in ascending order
    order = np.argsort(-sigma, axis=None)
    beyond = np.cumsum(np.repeat(counts, each)[order]) > _MOST_WAVES
    level = max(float(sigma.ravel()[order][beyond].max(initial=0.0)), float(sigma[:, 0].max()) if each < small else 0.0)
    excess = np.maximum(sigma - level, 0.0)
    if not excess.any():
        return math.inf

    def remainder(number: int) -> float:
        left, _, right = triplets[number]
        rest = matrices[number] - (left * excess[number]) @ right.conj().T
        return largest_singular_value(rest[None], level * (1 + 1e-5))

    rest = max(on_cores(remainder, range(len(matrices)))) * (1 + 64 * (rows + columns) * EPSILON)
    rest += blocks.rounding() + spread_rounding(layer, axes) + 16 * (each + 8) ** 2 * EPSILON * float(excess.max())
    K, rounding = _overlaps(layer, axes, np.argwhere(blocks.multiplicity > 0), triplets, excess)
    return (rest + _largest_eigenvalue(K) + rounding) * (1 + 8 * EPSILON)


def _largest_triplets(block: Array, number: int) -> tuple[Array, Array, Array]:
    """Return approximate left singular vectors, values and right vectors of a matrix, by single precision."""
    from scipy import linalg

    tall = block.shape[0] > block.shape[1]
    small = block.conj().T if tall else block
    gram = gram_matrices(single_precision(small)[None])[0]
    size = len(gram)
    squares, vectors = linalg.eigh(gram, subset_by_index=[size - number, size - 1], check_finite=False)
    if len(squares) < number:  # LAPACK's bisection may lose some, and scipy does not notice
        squares, vectors = (part[..., -number:] for part in np.linalg.eigh(gram))
    values = np.sqrt(np.maximum(squares.astype(np.float64), 0.0))
    one = vectors.astype(np.complex128)
    other = small.conj().T @ one / np.maximum(values, 1e-30 + 1e-3 * values[-1])
    return (other, values, one) if tall else (one, values, other)


def _overlaps(
    layer: WeightedLayer,
    axes: Sequence[AxisTransform],
    places: NDArray[np.int64],
    triplets: Sequence[tuple[Array, Array, Array]],
    excess: Array,
) -> tuple[Array, float]:
    r"""Return the matrix K of `partial_ring_bound`, and a bound on the norm of its rounding error.

    Where f is not -f, two real waves, the real and the imaginary part of v times the root of 2, span the pair. With
    :math:`v_i = x_i + \mathrm{i} y_i` the channels of a wave, and :math:`a` and :math:`b` the sums over the part that
    is used of :math:`e^{2 \pi \mathrm{i} (g - f) j / F} / F` and :math:`e^{-2 \pi \mathrm{i} (g + f) j / F} / F`,
    their inner products are those of :math:`x_i, y_i` with :math:`x_j, y_j`, times :math:`\mathrm{Re}(a \pm b)` and
    :math:`\mathrm{Im}(a \pm b)`.
    """
    frequency, number = np.nonzero(excess)  # of each wave, sorted by its frequency
    chosen, first = np.unique(frequency, return_index=True)
    places, first = places[chosen], np.append(first, len(frequency))
    n_waves, largest = len(frequency), 0.0
    products = []  # of each part of the waves: x and y, a + b, and a - b
    for side in (0, 2):
        vectors = np.array([triplets[f][side][:, n] for f, n in zip(frequency.tolist(), number.tolist(), strict=True)])
        largest = max(largest, float((np.abs(vectors) ** 2).sum(axis=1).max()))
        phases = [axis.input_phases if side else axis.output_phases for axis in axes]
        kept = [axis.n_samples if side else axis.n_outputs for axis in layer.geometry.axes]
        parts = vectors.reshape(n_waves, -1, *phases)
        for phase in itertools.product(*map(range, phases)):
            part = np.moveaxis(parts, (0, 1), (-2, -1))[phase]
            same, opposite = np.ones((2, len(places), len(places)), dtype=np.complex128)
            for axis, f, start, step, size in zip(axes, places.T, phase, phases, kept, strict=True):
                n = axis.n_frequencies
                waves = np.fft.ifft(np.arange(n) < -(-(size - start) // step))
                same *= waves[(f - f[:, None]) % n]
                opposite *= waves[(-f - f[:, None]) % n]
            real, imaginary = np.ascontiguousarray(part.real), np.ascontiguousarray(part.imag)
            products.append((real, imaginary, (same + opposite) / 2, (same - opposite) / 2))
    n_axes = [axis.n_frequencies for axis in axes]
    paired = np.any([2 * f % n != 0 for f, n in zip(places.T, n_axes, strict=True)], axis=0)
    scale = np.sqrt(excess[frequency, number])
    scale = np.concatenate([np.where(np.repeat(paired, np.diff(first)), scale, scale * math.sqrt(0.5)), scale])
    K = np.empty((2, n_waves, 2, n_waves))

    def fill(one: int) -> None:
        """Compute the rows of the waves of one frequency, from the columns of this frequency on."""
        rows, rest = slice(first[one], first[one + 1]), slice(first[one], None)
        total = np.zeros((2, 2, first[one + 1] - first[one], n_waves - first[one]))
        for x, y, plus, minus in products:
            plus, minus = (np.repeat(c[one, one:], np.diff(first)[one:]) for c in (plus, minus))
            xx, yy, xy, yx = x[rows] @ x[rest].T, y[rows] @ y[rest].T, x[rows] @ y[rest].T, y[rows] @ x[rest].T
            total[0, 0] += xx * plus.real + yy * minus.real - xy * minus.imag + yx * plus.imag
            total[0, 1] += xx * minus.imag + yy * plus.imag + xy * plus.real - yx * minus.real
            total[1, 0] += -xx * plus.imag - yy * minus.imag - xy * minus.real + yx * plus.real
            total[1, 1] += xx * minus.real + yy * plus.real - xy * plus.imag + yx * minus.imag
        total *= scale.reshape(2, 1, n_waves, 1)[:, :, rows] * scale.reshape(1, 2, 1, n_waves)[..., rest]
        K[:, rows, :, rest] = total.swapaxes(1, 2)
        K[:, rest, :, rows] = total.transpose(1, 3, 0, 2)

    on_cores(fill, range(len(places)))
    terms = sum(len(triplets[0][side]) for side in (0, 2)) + 16 * sum(n_axes) + 64
    rounding = 32 * n_waves * terms * EPSILON * largest * float(excess.max())
    square: Array = K.reshape(2 * n_waves, 2 * n_waves)
    real = np.concatenate([np.ones(n_waves, dtype=bool), np.repeat(paired, np.diff(first))])
    return square if real.all() else square[np.ix_(real, real)], rounding


def _largest_eigenvalue(matrix: Array) -> float:
    """Return a proved upper bound on the eigenvalues of a real symmetric matrix, close to the largest one."""
    from scipy import linalg
    from scipy.sparse.linalg import ArpackError, eigsh

    if len(matrix) > 100:
        try:
            value = float(eigsh(matrix, 1, which="LA", v0=np.ones(len(matrix)), tol=1e-4)[0][0])
        except ArpackError:  # no convergence, or a start that the matrix maps to zero
            value = float(np.linalg.eigvalsh(matrix)[-1])
    else:
        value = float(np.linalg.norm(matrix, 2))
    for share in (1.0005, 1.002, 1.01, 1.05, 1.2):
        shifted = -matrix.T
        shifted[np.diag_indices(len(matrix))] += share * value
        try:
            linalg.cholesky(shifted, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            continue
        return share * value * (1 + 2 * gamma(len(matrix) + 3) * len(matrix) + 2 * EPSILON)
    return float(np.abs(matrix).sum(axis=1).max())
