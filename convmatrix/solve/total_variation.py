r"""Total variation: :math:`\frac12 \|A x - y\|^2 + \lambda \, TV(x)` by the primal-dual hybrid gradient method.

PyLops (SplitBregman) and pyproximal (PrimalDual) run a given number of iterations with given step sizes; here the step
sizes come from proved bounds on the norms of the operators, and iterations end with the optimality conditions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.solve.conjugate_gradients import Iterate

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.solve.decompositions import Decomposition
    from convmatrix.solve.deconvolution_problems import ScaledProblem
    from convmatrix.solve.penalties import Differences

_CHECK: Final = 5
"""Number of iterations after which the optimality conditions are evaluated, which takes further products."""

_SAFETY: Final = 0.99
_ROUNDING: Final = 1e-13


@dataclass(frozen=True, eq=False)
class TotalVariation:
    """The function TV: the sum over all samples of the norm of the differences, or of their moduli."""

    differences: Differences
    isotropic: bool  # the Euclidean norm of the differences of a sample along all axes, or the sum of their moduli

    def of(self, slopes: Array) -> float:
        """Return the total variation, from the differences (axes, n, batch)."""
        return float(np.sqrt((np.abs(slopes) ** 2).sum(axis=0)).sum() if self.isotropic else np.abs(slopes).sum())

    def project(self, q: Array, radius: float) -> Array:
        """Return the nearest dual variables of norm at most ``radius``."""
        size = np.sqrt((np.abs(q) ** 2).sum(axis=0)) if self.isotropic else np.abs(q)
        return np.asarray(q / np.maximum(size / radius, 1.0)) if radius > 0 else np.zeros_like(q)


def total_variation(
    problem: ScaledProblem,
    weight: float,
    variation: TotalVariation,
    found: Decomposition | None,
    start: Iterate | None = None,
) -> Iterate:
    r"""Minimise :math:`\frac12 \|A x - y\|^2 + \lambda \, TV(x)`, optionally over :math:`x \ge 0`.

    With a decomposition of A, the step for the data is solved exactly, as in section 6.2 of Chambolle and Pock (2011),
    and only the differences, and the sign of x if it is constrained, have dual variables; otherwise the data have dual
    variables, and x is projected. Step sizes satisfy
    :math:`\tau \sigma \|K\|^2 < 1` with a proved bound on the norm, and their ratio is adapted so that primal and dual
    residuals are of the same size (Goldstein et al., 2013).

    Iterations end with the conditions of optimality that `convmatrix.solve.deconvolve` describes; if x has to be
    non-negative, the entries of the first are projected where x is zero.

    References
    ----------
    Rudin, Osher, Fatemi, Nonlinear total variation based noise removal algorithms, Physica D 60, 1992. Chambolle, Pock,
    A first-order primal-dual algorithm for convex problems with applications to imaging, J. Math. Imaging Vis. 40(1),
    2011. Goldstein, Li, Yuan, Esser, Baraniuk, Adaptive primal-dual hybrid gradient methods for saddle-point problems,
    arXiv:1305.0546, 2013.
    """
    operator, y, most, log = problem.operator, problem.data, problem.most, problem.log
    log.restart()
    first = float(np.linalg.norm(operator.H @ y))
    if first == 0:
        return Iterate(np.zeros((operator.shape[1], y.shape[1]), np.result_type(operator.dtype, y.dtype)), 0, 0.0)
    run = _PrimalDualRun(problem, weight, variation, found)
    if start is not None:
        run.restart(start.x, start.dual)
    level, done = math.inf, 0
    while done < most:
        run.step()
        done += 1
        if done % _CHECK == 0 or done in (1, most):
            level = run.optimality(first)
        log.add(*run.measures(), level)
        if level <= problem.tol:
            break
    return Iterate(run.feasible(), done, level, dual=run.dual())


class _PrimalDualRun:
    """The variables of the primal-dual iteration, and one step of it."""

    def __init__(
        self, problem: ScaledProblem, weight: float, variation: TotalVariation, found: Decomposition | None
    ) -> None:
        operator, y, nonnegative = problem.operator, problem.data, problem.nonnegative
        self.operator: Any = operator
        self.adjoint, self.y, self.weight = operator.H, y, weight
        self.variation, self.found, self.nonnegative = variation, found, nonnegative
        self.data_norm = max(problem.norm_bound(), 1e-300)
        others = self.data_norm if found is None else 1.0 if nonnegative else 0.0
        self.norm = math.hypot(variation.differences.norm_bound, others)
        dtype = np.result_type(operator.dtype, y.dtype)
        self.x = np.zeros((operator.shape[1], y.shape[1]), dtype)
        self.q = np.zeros((len(variation.differences.rings), *self.x.shape), dtype)
        self.p = np.zeros_like(self.x if found is not None else y, dtype)  # of the sign of x, or of the data
        self.tau, self.sigma = _SAFETY / self.norm, _SAFETY / self.norm
        self.adaptivity = 0.5
        self._measure()

    def restart(self, x: Array, dual: Any) -> None:
        """Start from another solution."""
        self.x = x
        q, p, ratio = dual
        self.q, self.p = self.variation.project(q, self.weight), p
        self.tau, self.sigma = _SAFETY / self.norm * ratio, _SAFETY / self.norm / ratio
        self._measure()

    def dual(self) -> Any:
        """Return the dual variables and the ratio of step sizes, from which another run can start."""
        return self.q, self.p, math.sqrt(self.tau / self.sigma)

    def _measure(self) -> None:
        self.slopes = self.variation.differences.of(self.x)
        self.image = self.operator @ self.x
        self.ahead, self.slopes_ahead, self.image_ahead = self.x, self.slopes, self.image

    def step(self) -> None:
        """Take one step: dual variables, then x, then the extrapolation."""
        differences, p = self.variation.differences, self.p
        q = self.variation.project(self.q + self.sigma * self.slopes_ahead, self.weight)
        if self.found is None:
            p = (p + self.sigma * (self.image_ahead - self.y)) / (1 + self.sigma)
            x = self.x - self.tau * (differences.adjoint_of(q) + self.adjoint @ p)
            x = np.maximum(x, 0) if self.nonnegative else x
        else:
            pull = differences.adjoint_of(q)
            if self.nonnegative:
                p = np.minimum(p + self.sigma * self.ahead, 0)
                pull = pull + p
            x = self._data_step(self.x - self.tau * pull, self.found)
        slopes, image = differences.of(x), self.operator @ x
        self.ahead = 2 * x - self.x
        self.slopes_ahead, self.image_ahead = 2 * slopes - self.slopes, 2 * image - self.image
        if self.adaptivity >= 1e-3:
            self._balance(self.x - x, self.q - q, self.p - p, self.slopes - slopes, self.image - image)
        self.x, self.q, self.p, self.slopes, self.image = x, q, p, slopes, image

    def _data_step(self, point: Array, found: Decomposition) -> Array:
        r"""Return the minimum of :math:`\|x - point\|^2 + \tau \|A x - y\|^2`."""
        rest = found.to_left(self.y - self.operator @ point)
        moved = found.from_right(rest * (found.values / (found.values**2 + 1 / self.tau)))
        x = point + (moved.real if self.x.dtype.kind != "c" else moved)
        return np.asarray(x)

    def _balance(self, x: Array, q: Array, p: Array, slopes: Array, image: Array) -> None:
        """Make the step of x longer, and those of the dual variables shorter, or the other way round."""
        primal = x / self.tau - self.variation.differences.adjoint_of(q)
        dual = float(np.linalg.norm(q / self.sigma - slopes))
        if self.found is None:
            primal = primal - self.adjoint @ p
            dual = math.hypot(dual, float(np.linalg.norm(p / self.sigma - image)))
        elif self.nonnegative:
            primal = primal - p
            dual = math.hypot(dual, float(np.linalg.norm(p / self.sigma - x)))
        ratio = float(np.linalg.norm(primal)) / max(dual, 1e-300)
        if ratio > 1.5 or ratio < 1 / 1.5:
            factor = 1 - self.adaptivity
            factor = 1 / factor if ratio > 1.5 else factor
            self.tau, self.sigma = self.tau * factor, self.sigma / factor
            self.adaptivity *= 0.95

    def feasible(self) -> Array:
        """Return x, with negative entries set to zero if it has to be non-negative."""
        return np.asarray(np.maximum(self.x, 0)) if self.nonnegative else self.x

    def feasible_images(self) -> tuple[Array, Array, Array]:
        """Return `feasible`, its differences, and A times it."""
        if not self.nonnegative or self.found is None:
            return self.x, self.slopes, self.image
        x = self.feasible()
        return x, self.variation.differences.of(x), self.operator @ x

    def measures(self) -> tuple[float, float]:
        """Return the function that is minimised, and the norm of A x - y, for `feasible`."""
        _, slopes, image = self.feasible_images()
        misfit = float(np.linalg.norm(image - self.y))
        return misfit**2 / 2 + self.weight * self.variation.of(slopes), misfit

    def optimality(self, first: float) -> float:
        """Return the larger of the two measures of optimality; ``first`` is the norm of the gradient at x = 0."""
        differences, (x, slopes, image) = self.variation.differences, self.feasible_images()
        pull = differences.adjoint_of(self.q)
        gradient = self.adjoint @ (image - self.y) + pull
        if self.nonnegative:
            step = 1 / self.data_norm**2
            gradient = (x - np.maximum(x - step * gradient, 0)) / step
        slope, size = float(np.linalg.norm(gradient)), float(np.linalg.norm(pull))
        total, energy = self.weight * self.variation.of(slopes), float(np.linalg.norm(self.y)) ** 2 / 2
        gap = total - float(np.vdot(self.q, slopes).real)  # what q lacks to attain the total variation
        # Without a pull, x is to be a least-squares solution; below the rounding errors, it is.
        slope = 0.0 if slope <= _ROUNDING * first else slope / (size or first)
        objective = float(np.linalg.norm(image - self.y)) ** 2 / 2 + total
        return max(slope, 0.0 if gap <= _ROUNDING * energy else gap / objective)
