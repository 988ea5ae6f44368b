r"""Proofs, by Cholesky factorisation, that the norm of a layer is below a given number.

If the Cholesky factorisation of a stored Hermitian matrix H runs to its end in floating point, then

.. math:: \lambda_{min}(H) \ge - \frac{\gamma_{b+1}}{1 - \gamma_{b+1}} \, \mathrm{tr} H,
          \qquad \gamma_k = \frac{k u}{1 - k u}

with b the bandwidth and u half a unit in the last place (Rump, Verification of positive definiteness, BIT 46, 2006;
products of a band matrix have at most b + 1 terms). With H the stored :math:`\mu^2 I - A A^H`, whose error is at most
:math:`\gamma_{r+2} \| |A| |A|^T \| + 2 u \mu^2` for r nonzeros per row, this bounds the norm of A.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import memory
from convmatrix.arrays import EPSILON
from convmatrix.matrices import conv_matrix
from convmatrix.memory import MatrixTooLargeError, estimate
from convmatrix.spectral.blocks import MODERATE_WORK, gamma, layer_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from convmatrix.arrays import Array
    from convmatrix.spectral.blocks import Blocks, WeightedLayer

_UNIT: Final = EPSILON / 2
_LITTLE_WORK: Final = 1e8
_MOST_BAND_WORK: Final = 1e12
_MOST_ENTRIES: Final = 3e7
_MOST_CANCELLING: Final = 1e5


def refine_bounds(
    layer: WeightedLayer,
    lower_bound: Callable[[float, int], float],
    tol: float,
    known: tuple[float, float],
    scale: float,
) -> tuple[float, float]:
    """Return bounds on the norm whose relative width is at most ``tol``.

    Parameters
    ----------
    layer : WeightedLayer
    lower_bound : callable
        Returns a lower bound for a tolerance of the value and a maximum number of products.
    tol : float
    known : (float, float)
        Bounds to start from.
    scale : float
        Factor by which norms are multiplied in messages.
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
            stack = matrices.reshape(-1, *matrices.shape[-2:])
            if stack.shape[1] > stack.shape[2]:
                stack = stack.conj().swapaxes(1, 2)
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
