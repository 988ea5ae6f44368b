"""Filter factors of the regularisations, and the two rules that choose their parameter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Method = Literal["tikhonov", "tsvd", "wiener"]

RANGE = (1e-8, 1e2)
"""Where cross-validation looks for lambda, relative to the largest singular value."""

_EPS = float(np.finfo(float).eps)
_GRID = 60


class UnreachableResidualError(ValueError):
    """No regularised solution has as small a residual as was asked for."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    r"""What a rule needs to know of a problem: singular values, and what of the data belongs to each.

    Attributes
    ----------
    values, energies : arrays that broadcast
        Singular values, and :math:`|u^H y|^2`; or nodes and weights that stand for all of them.
    outside : float
        Square of the norm of the rest of the data.
    n_out : int
        Number of the data.
    penalty : array or float
        What the square of lambda is multiplied by: 1, or one over the power of the signal.
    counted, counts : arrays, optional
        Nodes and weights for the degrees of freedom; by default ``values``, once each.
    free_outside : float
        Degrees of freedom of the rest of the data.
    """

    values: NDArray[np.float64]
    energies: NDArray[np.float64]
    outside: float
    n_out: int
    penalty: NDArray[np.float64] | float = 1.0
    counted: NDArray[np.float64] | None = None
    counts: NDArray[np.float64] | None = None
    free_outside: float = 0.0

    @property
    def largest(self) -> float:
        """The largest singular value."""
        return float(self.values.max(initial=0.0))

    @cached_property
    def _squares(self) -> NDArray[np.float64]:
        return (self.values**2 / self.penalty).ravel()

    def misfit(self, damping: float) -> float:
        """Return the norm of the residual."""
        return self.misfit_and_freedom(damping)[0]

    def misfit_and_freedom(self, damping: float) -> tuple[float, float]:
        """Return the norm of the residual, and the trace of the matrix that takes the data to it."""
        left = _left_factors(self._squares, damping)
        misfit = math.sqrt(float(left**2 @ self.energies.ravel()) + self.outside)
        if self.counted is None or self.counts is None:
            return misfit, float(left.sum()) + self.free_outside
        return misfit, float(_left_factors(self.counted**2, damping) @ self.counts) + self.free_outside


def _left_factors(squares: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    r"""Return :math:`1 - \varphi = \lambda^2 / (\sigma^2 + \lambda^2)`, without cancellation."""
    factors: NDArray[np.float64] = 1 / (1 + squares / damping**2)
    return factors


def filter_factors(
    values: NDArray[np.float64], damping: float, penalty: NDArray[np.float64] | float = 1.0
) -> NDArray[np.float64]:
    r"""Return :math:`\varphi = \sigma^2 / (\sigma^2 + \lambda^2 q)`, as ratios so that no square leaves the range."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        factors: NDArray[np.float64] = 1 / (1 + penalty * (damping / values) ** 2)
    return np.where(values > 0, factors, 0.0)


# --- Tikhonov and Wiener: a continuous parameter ---------------------------------------------------------------------


def cross_validated(spectrum: Spectrum) -> float:
    r"""Return the damping that minimises :math:`\|A x - y\|^2 / (m - \sum \varphi)^2`."""
    from scipy.optimize import minimize_scalar

    def score(logarithm: float) -> float:
        misfit, freedom = spectrum.misfit_and_freedom(math.exp(logarithm))
        return math.log(max(misfit, 1e-300) / freedom)

    low, high = _range(spectrum)
    grid = np.linspace(low, high, _GRID)
    scores = [score(logarithm) for logarithm in grid]
    best = int(np.argmin(scores))
    bounds = (float(grid[max(best - 1, 0)]), float(grid[min(best + 1, _GRID - 1)]))
    found: Any = minimize_scalar(score, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x) if found.fun <= scores[best] else float(grid[best]))


def _range(spectrum: Spectrum) -> tuple[float, float]:
    penalty = np.sqrt(np.asarray(spectrum.penalty))
    low, high = RANGE
    return (
        math.log(low * spectrum.largest / float(penalty.max())),
        math.log(high * spectrum.largest / float(penalty.min())),
    )


def discrepant(spectrum: Spectrum, target: float) -> float:
    """Return the largest damping whose residual has at most the norm ``target``, by bisection."""
    low, high = _range(spectrum)
    _refuse_unreachable(spectrum.misfit(math.exp(low)), spectrum.misfit(math.inf), target)
    while spectrum.misfit(math.exp(high)) < target:
        high += math.log(10)
    for _ in range(80):
        middle = (low + high) / 2
        if spectrum.misfit(math.exp(middle)) <= target:
            low = middle
        else:
            high = middle
    return math.exp(low)


def _refuse_unreachable(least: float, most: float, target: float) -> None:
    if target >= most:
        raise ValueError(
            f"the noise explains all of y: its norm would be {target:.4g}, and that of y is {most:.4g}; give the "
            "standard deviation of the noise in one entry of y"
        )
    if target < least:
        raise UnreachableResidualError(
            f"no solution has a residual as small as the noise: its norm would be {target:.4g}, but the least "
            f"regularised solution leaves {least:.4g}; give the true noise, check the kernel and the boundary, or use "
            "parameter='gcv'"
        )


# --- truncated singular value decomposition: a number of terms -------------------------------------------------------


def truncation(spectrum: Spectrum, target: float | None) -> float:
    """Return the threshold, relative to the largest singular value: by cross-validation, or for a residual.

    Singular values that are equal but for rounding are kept or dropped together, so that the result does not depend on
    the choice of vectors. It lies between the last value kept and the first one dropped.
    """
    order = np.argsort(-spectrum.values, axis=None)
    values = spectrum.values.ravel()[order] / spectrum.largest
    after = np.append(values[1:], 0.0)
    level = _EPS * max(spectrum.n_out, len(values))
    terms = 1 + np.flatnonzero((values - after > level) & (values > level))
    if not len(terms):  # they fall too slowly for a gap
        terms = np.array([np.count_nonzero(values > level)])
    # Sums from the small end: there the differences are.
    energies = np.append(spectrum.energies.ravel()[order][::-1].cumsum()[::-1], 0.0)
    left = energies[terms] + spectrum.outside
    if target is None:
        inner = terms < spectrum.n_out  # with all terms there is neither a residual nor freedom
        if inner.any():
            terms, left = terms[inner], left[inner]
        scores = np.log(np.maximum(left, 1e-300)) - 2 * np.log(np.maximum(spectrum.n_out - terms, 1))
        best = int(np.argmin(scores))
    else:
        _refuse_unreachable(math.sqrt(float(left[-1])), math.sqrt(float(energies[0]) + spectrum.outside), target)
        best = int(np.flatnonzero(left <= target**2)[0])
    last = int(terms[best]) - 1
    return float((values[last] + after[last]) / 2)
