r"""Proof, by a factorisation, that the largest singular value is below a number.

If the Cholesky factorisation of a Hermitian matrix H, as stored, runs to its end in floating point, then

.. math:: \lambda_{min}(H) \ge - \frac{\gamma_{b+1}}{1 - \gamma_{b+1}} \, \mathrm{tr} H,
          \qquad \gamma_k = \frac{k u}{1 - k u}

with b the bandwidth and u half a unit in the last place (Rump, Verification of positive definiteness, BIT 46, 2006;
products of a band matrix have at most b + 1 terms). With H the stored :math:`\mu^2 I - A A^H`, off by at most
:math:`\gamma_{r+2} \| |A| |A|^T \| + 2 u \mu^2` for r nonzeros a row, this bounds the norm of A.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.spectral.blocks import Blocks

    Array = NDArray[Any]

_UNIT = float(np.finfo(float).eps) / 2


class BlockCertifier:
    """Certifies bounds for layers whose blocks are dense and of moderate size."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks
        rows, columns = blocks.block_shape
        self.small, self.inner = min(rows, columns), max(rows, columns)

    def holds(self, mu: float) -> float | None:
        """Return a bound on the norm that is proved, a little more than mu; None if mu fails."""
        complex_factor = 1 if self.blocks.taps.dtype.kind != "c" and math.prod(self.blocks.shape) == 1 else 4

        def work(matrices: Array, _: NDArray[np.int64]) -> tuple[bool, float]:
            stack = matrices.reshape(-1, *matrices.shape[-2:])
            if stack.shape[1] > stack.shape[2]:
                stack = stack.conj().swapaxes(1, 2)
            gram = stack @ stack.conj().swapaxes(1, 2)
            total = float((np.abs(stack) ** 2).sum(axis=(1, 2)).max(initial=0.0))
            shifted = mu**2 * np.eye(self.small) - gram
            try:
                np.linalg.cholesky(shifted)
            except np.linalg.LinAlgError:
                return False, total
            return True, total

        results = self.blocks.map(work)
        if not all(good for good, _ in results):
            return None
        total = max(size for _, size in results)  # bounds the norm of |A| |A|^T
        slack = _gamma(complex_factor * (self.inner + 2)) * total + 2 * _UNIT * mu**2
        slack += 2 * _gamma(complex_factor * (self.small + 2)) * self.small * mu**2
        return (math.sqrt(mu**2 + slack) + self.blocks.rounding()) * (1 + 8 * _UNIT)


class BandCertifier:
    """Certifies bounds for a sparse matrix, by a factorisation within the bandwidth of A A^H or A^H A."""

    def __init__(self, matrix: Any) -> None:
        from scipy.sparse.csgraph import reverse_cuthill_mckee

        if matrix.shape[0] > matrix.shape[1]:
            matrix = matrix.T.conj().tocsr()
        self.matrix = matrix
        gram = (matrix @ matrix.T.conj()).tocsr()
        n = gram.shape[0]
        rows = np.repeat(np.arange(n), np.diff(gram.indptr))
        natural = int(np.abs(rows - gram.indices).max(initial=0))
        place = np.empty(n, dtype=np.int64)
        place[reverse_cuthill_mckee(gram, symmetric_mode=True)] = np.arange(n)
        reordered = int(np.abs(place[rows] - place[gram.indices]).max(initial=0))
        if reordered < natural:
            rows, columns, self.bandwidth = place[rows], place[gram.indices], reordered
        else:
            columns, self.bandwidth = gram.indices, natural
        lower = rows >= columns
        self.size = n
        self._places = (rows[lower] - columns[lower], columns[lower])
        self._values = gram.data[lower]
        self.is_complex = gram.dtype.kind == "c"
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
        """Return a bound on the norm that is proved, a little more than mu; None if mu fails."""
        from scipy import linalg

        memory.require(
            2 * (self.bandwidth + 1) * self.size * self._values.itemsize,
            f"the band of {self.bandwidth + 1} diagonals of a matrix with {self.size} rows",
            "leave out tol, or take a smaller layer",
        )
        band = np.zeros((self.bandwidth + 1, self.size), dtype=self._values.dtype)
        band[self._places] = -self._values
        band[0] += mu**2
        try:
            linalg.cholesky_banded(band, lower=True, overwrite_ab=True, check_finite=False)
        except np.linalg.LinAlgError:
            return None
        factor = 4 if self.is_complex else 1
        slack = _gamma(factor * (self._terms + 2)) * self._total + 2 * _UNIT * mu**2
        slack += 2 * _gamma(factor * (self.bandwidth + 3)) * self.size * mu**2
        return math.sqrt(mu**2 + slack) * (1 + 8 * _UNIT)


def _gamma(terms: float) -> float:
    return terms * _UNIT / (1 - terms * _UNIT)
