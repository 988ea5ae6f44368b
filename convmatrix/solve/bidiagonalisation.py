"""Golub-Kahan bidiagonalisation: quadrature rules for functions of the singular values of an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.arrays import EPSILON

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.arrays import Array


class Bidiagonalisation:
    r"""Golub-Kahan bidiagonalisation from a starting vector: :math:`A V_k = U_{k+1} B_k` with B lower bidiagonal.

    Only B is kept. Its singular values, with the squares of the first row of its left singular vectors, are the nodes
    and weights of a quadrature rule for :math:`u^H f(A A^H) u` with the starting vector u. Columns (n, batch) are one
    vector of the operator that acts on each of them.
    """

    def __init__(self, operator: Any, start: Array) -> None:
        self._operator, self._adjoint = operator, operator.H
        self._size = float(np.linalg.norm(start))
        self._left = start / self._size
        self._right = np.zeros((operator.shape[1], *start.shape[1:]), dtype=np.result_type(operator.dtype, start.dtype))
        self._diagonal: list[float] = []
        self._below: list[float] = []
        self.exhausted = False

    def extend(self, steps: int) -> None:
        """Take more steps, until the bidiagonalisation is exhausted."""
        for _ in range(steps):
            if self.exhausted:
                return
            right = self._adjoint @ self._left - (self._below[-1] if self._below else 0.0) * self._right
            alpha = float(np.linalg.norm(right))
            if alpha <= self._level():
                self.exhausted = True
                return
            self._right = right / alpha
            left = self._operator @ self._right - alpha * self._left
            beta = float(np.linalg.norm(left))
            self._diagonal.append(alpha)
            if beta <= self._level():
                beta, self.exhausted = 0.0, True
            else:
                self._left = left / beta
            self._below.append(beta)

    def _level(self) -> float:
        """Return the norm below which a vector is zero up to rounding."""
        return 16 * EPSILON * max([*self._diagonal, *self._below, 0.0])

    @property
    def steps(self) -> int:
        """Number of steps taken; each step takes two products."""
        return len(self._diagonal)

    def nodes(self) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Return the nodes, their weights and the weight at zero; the weights sum to the squared norm of the start."""
        k = self.steps
        if k == 0:
            return np.zeros(0), np.zeros(0), self._size**2
        B = np.zeros((k + 1, k))
        B[np.arange(k), np.arange(k)] = self._diagonal
        B[np.arange(1, k + 1), np.arange(k)] = self._below
        P, values, _ = np.linalg.svd(B)
        weights = (self._size * P[0]) ** 2
        return values, weights[:k], float(weights[k])
