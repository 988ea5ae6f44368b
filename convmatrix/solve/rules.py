"""Filter factors of the regularisation methods, and the rules that choose their parameter."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from convmatrix.arrays import EPSILON
from convmatrix.solve.bidiagonalisation import Bidiagonalisation
from convmatrix.solve.l_curve import NoCornerError, corner, discrete_corner, refined_minimum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.solve.deconvolution_problems import ScaledProblem

RANGE: Final = (1e-8, 1e2)
"""The range in which cross-validation searches for lambda, relative to the largest singular value."""

_GRID: Final = 60


class UnreachableResidualError(ValueError):
    """Raised if no regularised solution has a residual as small as requested."""


def chosen_parameter(problem: ScaledProblem, spectrum: Spectrum) -> float:
    """Return the parameter of a problem whose spectrum is known: the given number, or the one that its rule chooses."""
    if not isinstance(problem.parameter, str):
        return problem.parameter
    if not (spectrum.energies.any() or spectrum.outside):
        raise ValueError(f"y is zero, from which parameter={problem.parameter!r} cannot be estimated; give a number")
    if problem.method == "tsvd":
        return truncation(spectrum, problem.target, problem.parameter)
    damping = continuous_choice(spectrum, problem.parameter, problem.target)
    return damping**2 if problem.method == "wiener" else damping


def settled_parameter(problem: ScaledProblem) -> float:
    """Return the parameter that the rule chooses from bidiagonalisations, extended until doubling changes it by 1%.

    Cross-validation also needs a trace, which is estimated with a random vector of signs.
    """
    if not isinstance(problem.parameter, str):
        return problem.parameter
    operator, y, most = problem.operator, problem.data, problem.most
    if not y.any() or not (operator.H @ y).any():
        raise ValueError(
            f"A^H y is zero, from which parameter={problem.parameter!r} cannot be estimated; give a number, or check y"
        )
    needs_trace = problem.parameter == "gcv"
    data = Bidiagonalisation(operator, y)
    probe = Bidiagonalisation(operator, problem.rng.choice([-1.0, 1.0], y.shape))
    before, unreachable = math.nan, None
    while True:
        more = min(max(data.steps, 16), most - data.steps)
        data.extend(more)
        spectrum = Spectrum(*data.nodes(), y.size)
        if needs_trace:
            probe.extend(more)
            counted, counts, free = probe.nodes()
            spectrum = replace(spectrum, counted=counted, counts=counts, free_outside=free)
        try:
            parameter, unreachable = chosen_parameter(problem, spectrum), None
        except (UnreachableResidualError, NoCornerError) as error:
            parameter, unreachable = math.nan, error
        done = data.exhausted and (not needs_trace or probe.exhausted)
        if unreachable is None and (done or abs(parameter / before - 1) <= 1e-2):
            return parameter
        if done or data.steps >= most:
            break
        before = parameter
    if unreachable is not None:
        raise unreachable
    raise ValueError(
        f"parameter={problem.parameter!r} has not settled after {data.steps} steps: it changed from {before:.3g} to "
        f"{parameter:.3g} (relative to the kernel) when the steps were doubled; raise max_iterations (now {most}), "
        "or give a number"
    )


@dataclass(frozen=True, eq=False)
class Spectrum:
    r"""The singular values of a problem, and the part of the data along each left singular vector.

    ``energies`` are :math:`|u^H y|^2`, summed over all y; values and energies broadcast, and may be the nodes and
    weights of a quadrature rule instead. ``penalty`` is the factor q by which the square of lambda is multiplied: 1,
    the reciprocal of the signal's power, or an eigenvalue of L^H L, which may be zero.
    """

    values: NDArray[np.float64]
    energies: NDArray[np.float64]
    outside: float  # squared norm of the remaining data
    n_out: int  # number of data values
    penalty: NDArray[np.float64] | float = 1.0
    counted: NDArray[np.float64] | None = None  # nodes and weights for the degrees of freedom: by default values, once
    counts: NDArray[np.float64] | None = None
    free_outside: float = 0.0  # degrees of freedom of the remaining data

    @property
    def largest(self) -> float:
        """The largest singular value."""
        return float(self.values.max(initial=0.0))

    @cached_property
    def squares(self) -> NDArray[np.float64]:
        """The squares of the generalised singular values: infinite where nothing is penalised, zero where q is too."""
        values, penalty = np.broadcast_arrays(self.values**2, self.penalty)
        ratios = np.divide(values, penalty, out=np.full(values.shape, np.inf), where=penalty > 0)
        return np.where(values > 0, ratios, 0.0).ravel()

    def misfit(self, damping: float) -> float:
        """Return the norm of the residual."""
        return self.misfit_and_freedom(damping)[0]

    def misfit_and_freedom(self, damping: float) -> tuple[float, float]:
        """Return the norm of the residual, and the trace of the matrix that maps the data to the residual."""
        left = _left_factors(self.squares, damping)
        misfit = math.sqrt(float(left**2 @ self.energies.ravel()) + self.outside)
        if self.counted is None or self.counts is None:
            return misfit, float(left.sum()) + self.free_outside
        return misfit, float(_left_factors(self.counted**2, damping) @ self.counts) + self.free_outside


def _left_factors(squares: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    r"""Return :math:`1 - \varphi = \lambda^2 / (\sigma^2 + \lambda^2)`, without cancellation."""
    if math.isinf(damping):
        return np.where(np.isinf(squares), 0.0, 1.0)
    factors: NDArray[np.float64] = 1 / (1 + squares / damping**2)
    return factors


def filter_factors(
    values: NDArray[np.float64], damping: float, penalty: NDArray[np.float64] | float = 1.0
) -> NDArray[np.float64]:
    r"""Return :math:`\varphi = \sigma^2 / (\sigma^2 + \lambda^2 q)`, computed from ratios to avoid overflow."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        factors: NDArray[np.float64] = 1 / (1 + penalty * (damping / values) ** 2)
    return np.where(values > 0, factors, 0.0)


# --- Tikhonov and Wiener: a continuous parameter ---------------------------------------------------------------------


def continuous_choice(spectrum: Spectrum, rule: str, target: float | None) -> float:
    """Return the damping that a rule chooses; ``target`` is the norm of the residual, for the discrepancy principle."""
    if rule == "l_curve":
        return corner(spectrum.squares, np.broadcast_to(spectrum.energies, spectrum.values.shape), spectrum.outside)
    if rule == "gcv" or target is None:
        return cross_validated(spectrum)
    return discrepant(spectrum, target)


def cross_validated(spectrum: Spectrum) -> float:
    r"""Return the damping that minimises :math:`\|A x - y\|^2 / (m - \sum \varphi)^2`."""

    def score(logarithm: float) -> float:
        misfit, freedom = spectrum.misfit_and_freedom(math.exp(logarithm))
        return math.log(max(misfit, 1e-300) / freedom)

    grid = np.linspace(*_range(spectrum), _GRID)
    return math.exp(refined_minimum(score, grid, [score(logarithm) for logarithm in grid], 1e-6))


def _range(spectrum: Spectrum) -> tuple[float, float]:
    q = np.asarray(spectrum.penalty)
    most, least = float(q.max()), float(q[q > 0].min(initial=math.inf))
    if not most > 0:
        raise ValueError("the penalty is zero, so no parameter can be chosen; check penalty")
    low, high = RANGE
    return math.log(low * spectrum.largest / math.sqrt(most)), math.log(high * spectrum.largest / math.sqrt(least))


def discrepant(spectrum: Spectrum, target: float) -> float:
    """Return the largest damping for which the norm of the residual is at most ``target``, by bisection."""
    low, high = _range(spectrum)
    check_reachable(spectrum.misfit(math.exp(low)), spectrum.misfit(math.inf), target)
    while spectrum.misfit(math.exp(high)) < target:
        high += math.log(10)
    for _ in range(80):
        middle = (low + high) / 2
        if spectrum.misfit(math.exp(middle)) <= target:
            low = middle
        else:
            high = middle
    return math.exp(low)


def check_reachable(least: float, most: float, target: float) -> None:
    """Raise if the norm of the noise is outside the range of the residuals."""
    if target >= most:
        raise ValueError(
            f"the noise explains all of y: its norm would be {target:.4g}, but that of the penalised part is "
            f"{most:.4g}; give the standard deviation of the noise in one entry of y"
        )
    if target < least:
        raise UnreachableResidualError(
            f"no solution has a residual as small as the noise: its norm would be {target:.4g}, but that of the "
            f"residual is at least {least:.4g}; give the true noise, check the kernel and the boundary, or use "
            "parameter='gcv'"
        )


# --- truncated singular value decomposition: a number of terms -------------------------------------------------------


def truncation(spectrum: Spectrum, target: float | None, rule: str = "gcv") -> float:
    """Return the threshold, relative to the largest singular value, by cross-validation or for a given residual.

    Singular values that differ only by rounding are kept or dropped together, so that the solution does not depend on
    the choice of singular vectors. The threshold lies between the last value kept and the first one dropped.
    """
    order = np.argsort(-spectrum.values, axis=None)
    values = spectrum.values.ravel()[order] / spectrum.largest
    after = np.append(values[1:], 0.0)
    level = EPSILON * max(spectrum.n_out, len(values))
    terms = 1 + np.flatnonzero((values - after > level) & (values > level))
    if not len(terms):  # the values decay too slowly to have a gap
        terms = np.array([np.count_nonzero(values > level)])
    # Sum from the small end, where the differences matter.
    energies = np.append(spectrum.energies.ravel()[order][::-1].cumsum()[::-1], 0.0)
    left = energies[terms] + spectrum.outside
    if target is None:
        inner = terms < spectrum.n_out  # with all terms, residual and degrees of freedom are both zero
        if inner.any():
            terms, left = terms[inner], left[inner]
        if rule == "l_curve":
            safe = np.maximum(values, level) * spectrum.largest
            kept = np.cumsum(spectrum.energies.ravel()[order] / safe**2)
            best = discrete_corner(np.sqrt(left), np.sqrt(kept[terms - 1]))
        else:
            scores = np.log(np.maximum(left, 1e-300)) - 2 * np.log(np.maximum(spectrum.n_out - terms, 1))
            best = int(np.argmin(scores))
    else:
        check_reachable(math.sqrt(float(left[-1])), math.sqrt(float(energies[0]) + spectrum.outside), target)
        best = int(np.flatnonzero(left <= target**2)[0])
    last = int(terms[best]) - 1
    return float((values[last] + after[last]) / 2)
