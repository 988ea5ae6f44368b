"""Equations that have no transform, by products with the layer alone: bidiagonalisation, and conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

_EPS = float(np.finfo(float).eps)


class Bidiagonalisation:
    r"""Golub and Kahan's process from a starting vector: :math:`A V_k = U_{k+1} B_k` with B lower bidiagonal.

    Only B is kept. Its singular values, with the squares of the first row of its left singular vectors, are nodes and
    weights of a quadrature rule: for a function f they give :math:`u^H f(A A^H) u` for the starting vector u.
    """

    def __init__(self, operator: Any, start: Array) -> None:
        self._operator, self._adjoint = operator, operator.H
        self._size = float(np.linalg.norm(start))
        self._left = start / self._size
        self._right = np.zeros(operator.shape[1], dtype=np.result_type(operator.dtype, start.dtype))
        self._diagonal: list[float] = []
        self._below: list[float] = []
        self.exhausted = False

    def extend(self, steps: int) -> None:
        """Take so many steps more, or as many as there are."""
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
        """Return what rounding leaves of a vector that is zero."""
        return 16 * _EPS * max([*self._diagonal, *self._below, 0.0])

    @property
    def steps(self) -> int:
        """Steps taken, of two products each."""
        return len(self._diagonal)

    def nodes(self) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Return nodes, their weights and the weight at zero; the weights sum to the square of the start's norm."""
        k = self.steps
        if k == 0:
            return np.zeros(0), np.zeros(0), self._size**2
        B = np.zeros((k + 1, k))
        B[np.arange(k), np.arange(k)] = self._diagonal
        B[np.arange(1, k + 1), np.arange(k)] = self._below
        P, values, _ = np.linalg.svd(B)
        weights = (self._size * P[0]) ** 2
        return values, weights[:k], float(weights[k])


@dataclass(frozen=True, eq=False)
class Iteration:
    """Where conjugate gradients ended.

    Attributes
    ----------
    x : array
    iterations : int
    gradient : float
        norm(A^H (y - A x) - lambda^2 x) / norm(A^H y), computed from x.
    """

    x: Array
    iterations: int
    gradient: float


def conjugate_gradients(operator: Any, y: Array, damping: float, tol: float, most: int) -> Iteration:
    r"""Minimise :math:`\|A x - y\|^2 + \lambda^2 \|x\|^2` by conjugate gradients on the normal equations (CGLS).

    Hestenes and Stiefel's form for least squares, which never forms :math:`A^H A`. It ends when the gradient is ``tol``
    times the one at x = 0, or after ``most`` iterations.
    """
    adjoint = operator.H
    residual = y.astype(np.result_type(operator.dtype, y.dtype))
    gradient = adjoint @ residual
    first = float(np.linalg.norm(gradient))
    x = np.zeros_like(gradient)
    if first == 0:
        return Iteration(x, 0, 0.0)
    direction, power, done = gradient, first**2, 0
    while done < most:
        image = operator @ direction
        length = power / (float(np.linalg.norm(image)) ** 2 + (damping * float(np.linalg.norm(direction))) ** 2)
        x = x + length * direction
        residual = residual - length * image
        gradient = adjoint @ residual - damping**2 * x
        done += 1
        following = float(np.linalg.norm(gradient)) ** 2
        if following <= (tol * first) ** 2:
            break
        direction, power = gradient + (following / power) * direction, following
    # What was updated step by step drifts; this does not.
    true_gradient = adjoint @ (y - operator @ x) - damping**2 * x
    return Iteration(x, done, float(np.linalg.norm(true_gradient)) / first)
