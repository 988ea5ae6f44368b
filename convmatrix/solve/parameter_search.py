"""Rules for the parameter where no decomposition is known: every trial is a solution by iterations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.solve.conjugate_gradients import conjugate_gradients
from convmatrix.solve.l_curve import NoCornerError
from convmatrix.solve.parameter_rules import check_reachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from convmatrix.solve.conjugate_gradients import Iterate
    from convmatrix.solve.deconvolution_problems import ScaledProblem

    Solve = Callable[[float, Iterate | None], Iterate]

CLOSE: Final = 1e-3
"""Relative difference between the norm of the residual and that of the noise at which the search ends."""

_GRID: Final = 13
_TRIED: Final = (1e-4, 1e1)
_RANGE: Final = (1e-7, 1e5)
"""The range of the search by discrepancy, relative to the first parameter; beyond it, rounding errors prevail."""


def discrepancy_search(
    solve: Solve, misfit: Callable[[Iterate], float], target: float, first: float, power: int = 1
) -> tuple[Iterate, float]:
    """Return the solution whose residual has the norm of the noise, up to `CLOSE`, and its parameter.

    The residual, whose norm ``misfit`` returns, grows with the parameter, which scales as a power of a singular value.
    The search begins at ``first``, goes up or down by constant factors, and ends with Brent's method; each solution
    starts from the one before. ``target`` is the norm of the noise.
    """
    from scipy.optimize import brentq

    last: list[Iterate | None] = [None]
    scores: dict[float, float] = {}

    def score(logarithm: float) -> float:
        if logarithm not in scores:
            scores[logarithm] = compared(logarithm)
        return scores[logarithm]

    def compared(logarithm: float) -> float:
        found = last[0] = solve(math.exp(logarithm), last[0])
        ratio = misfit(found) / target
        return 0.0 if abs(ratio - 1) <= CLOSE else math.log(max(ratio, 1e-300))

    here = math.log(first)
    value = score(here)
    step = math.log(10) / power * (-1 if value > 0 else 1)
    low, high = (math.log(bound) * power + here for bound in _RANGE)
    while value != 0:
        before, there = value, here
        here += step
        value = score(here)
        if value * before <= 0:
            break
        if not low < here < high:
            reached = misfit(last[0]) if last[0] is not None else math.nan
            check_reachable(reached if value > 0 else 0.0, reached if value < 0 else math.inf, target)
    if value != 0:
        found: Any = brentq(score, min(here, there), max(here, there), xtol=1e-10, rtol=1e-10)
        here = float(found)
        if score(here) != 0:
            raise ValueError(
                f"the search for parameter='discrepancy' ends at {here:.4g} with a residual that is not that of the "
                "noise: solutions are too inaccurate; lower tol, or give a number"
            )
    return last[0] or solve(math.exp(here), None), math.exp(here)


def searched_parameter(problem: ScaledProblem) -> float:
    """Return the parameter of a penalised problem, by cross-validation or from its L-curve, with a grid of solutions.

    The trace of the influence matrix is estimated with a random vector of signs (Girard, A fast Monte-Carlo
    cross-validation procedure, Numer. Math. 56, 1989). The grid spans five decades around the ratio of the norms of A
    and L; the minimum, or the maximum of the curvature, is that of a cubic spline through its points.
    """
    from scipy.interpolate import CubicSpline

    operator, penalty, y, rule, rng = problem.operator, problem.L, problem.data, problem.parameter, problem.rng
    scale = _norm(operator, rng) / _norm(penalty, rng)
    logarithms = math.log(scale) + np.linspace(math.log(_TRIED[0]), math.log(_TRIED[1]), _GRID)
    signs = rng.choice([-1.0, 1.0], y.shape)
    scores, points = [], []
    found: Iterate | None = None
    probe: Iterate | None = None
    for logarithm in logarithms[::-1]:  # from much regularisation, where iterations converge fast, to little
        damping = math.exp(logarithm)
        found = conjugate_gradients(problem, y, damping, found)
        misfit = float(np.linalg.norm(operator @ found.x - y))
        if rule == "gcv":
            probe = conjugate_gradients(problem, signs, damping, probe)
            freedom = y.size - float(np.vdot(signs, operator @ probe.x).real)
            scores.append(math.log(max(misfit, 1e-300) / max(freedom, 1e-300)))
        else:
            size = float(np.linalg.norm(penalty @ found.x))
            points.append([math.log(max(misfit, 1e-300)), math.log(max(size, 1e-300))])
    fine = np.linspace(logarithms[0], logarithms[-1], 1000)
    if rule == "gcv":
        values = CubicSpline(logarithms, scores[::-1])(fine)
        return math.exp(float(fine[int(np.argmin(values))]))
    curve = CubicSpline(logarithms, points[::-1])
    (a, b), (c, d) = curve(fine, 1).T, curve(fine, 2).T
    bend = (a * d - b * c) / np.maximum(np.hypot(a, b), 1e-300) ** 3
    best = int(np.argmax(bend))
    if not bend[best] > 0:
        raise NoCornerError(
            f"the L-curve has no corner for lambda from {math.exp(fine[0]):.3g} to {math.exp(fine[-1]):.3g}: it is "
            "nowhere convex; use parameter='gcv', or a number"
        )
    return math.exp(float(fine[best]))


def _norm(operator: Any, rng: np.random.Generator) -> float:
    """Return an estimate of the norm of an operator, by power iteration."""
    v = rng.standard_normal((operator.shape[1], 1))
    size = 0.0
    for _ in range(20):
        v = operator.H @ (operator @ (v / max(float(np.linalg.norm(v)), 1e-300)))
        size = math.sqrt(float(np.linalg.norm(v)))
        if size == 0:
            raise ValueError("the penalty or the layer is zero, so no parameter can be chosen; check them")
    return size
