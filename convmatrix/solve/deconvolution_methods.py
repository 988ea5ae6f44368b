"""The methods of a deconvolution: which decomposition or iteration solves a problem, and with which parameter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convmatrix.arrays import EPSILON
from convmatrix.solve.conjugate_gradients import Iterate, conjugate_gradients, stopped_conjugate_gradients
from convmatrix.solve.joint_decompositions import decompose_jointly
from convmatrix.solve.nonnegative import nonnegative_least_squares
from convmatrix.solve.parameter_rules import (
    Spectrum,
    check_reachable,
    chosen_parameter,
    filter_factors,
    settled_parameter,
)
from convmatrix.solve.parameter_search import discrepancy_search, searched_parameter
from convmatrix.solve.penalties import differences
from convmatrix.solve.richardson_lucy import richardson_lucy
from convmatrix.solve.total_variation import TotalVariation, total_variation

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.solve.decompositions import Decomposition
    from convmatrix.solve.deconvolution_problems import ScaledProblem

ITERATION = "iteration"


@dataclass(frozen=True, eq=False)
class ScaledSolution:
    """Columns x of a scaled problem, the parameter, and how they were found; see `Deconvolution`."""

    x: Array
    parameter: float
    route: str
    iterations: int = 0
    gradient: float = 0.0


def solve_problem(problem: ScaledProblem) -> ScaledSolution:
    """Return the solution of a problem; raise ValueError if the tolerance is not reached."""
    if problem.method == "cgls":
        found, number = stopped_conjugate_gradients(problem)
        return ScaledSolution(found.x, number, ITERATION, found.iterations, found.gradient)
    if problem.method == "richardson_lucy":
        given = problem.parameter if isinstance(problem.parameter, float) else math.inf
        found, number = richardson_lucy(problem, given)
        if math.isinf(given) and problem.target is None:
            _check_converged(problem, found, "Richardson-Lucy iterations")
        return ScaledSolution(found.x, number, ITERATION, found.iterations, found.gradient)
    if problem.method == "tv":
        return _total_variation(problem)
    decomposition = decompose_jointly(problem.layer, problem.penalty)
    if decomposition is not None:
        solution = _filtered(problem, decomposition)
    elif problem.method == "tsvd" or problem.power is not None:
        raise ValueError(
            f"method={problem.method!r}{' with signal_power' if problem.method == 'wiener' else ''} needs singular "
            f"vectors, but those of {problem.geometry!r} are out of reach: some axes are neither rings nor symmetric, "
            "the kernel is not an outer product, and a dense decomposition would take too long; use method='tikhonov', "
            "or a smaller input"
        )
    elif not problem.nonnegative or problem.parameter in ("gcv", "l_curve"):
        solution = _by_iterations(problem)
    else:
        solution = ScaledSolution(np.zeros((problem.geometry.n_in, problem.data.shape[1])), 0.0, ITERATION)
    return _nonnegative(problem, solution) if problem.nonnegative else solution


def _check_converged(problem: ScaledProblem, found: Iterate, name: str) -> None:
    if found.gradient <= 2 * problem.tol:
        return
    raise ValueError(
        f"{name} end after {found.iterations} iterations with a gradient of {found.gradient:.2g} times that at x = 0, "
        f"and tol={problem.tol:g}; raise max_iterations (now {problem.most}), tol, or the parameter"
    )


def _misfit(problem: ScaledProblem, found: Iterate) -> float:
    return float(np.linalg.norm(problem.operator @ found.x - problem.data))


# --- filters ---------------------------------------------------------------------------------------------------------


def _filtered(problem: ScaledProblem, found: Decomposition) -> ScaledSolution:
    """Return the filtered solution."""
    geometry, values = problem.geometry, found.values
    largest = float(values.max(initial=0.0))
    if largest == 0:
        raise ValueError(f"the matrix of {geometry!r} is zero: no output reads a sample; check the padding")
    q = found.penalty
    if problem.power is not None:
        q = found.inverse_power(problem.power, problem.layer, real=problem.real)
    data = found.to_left(problem.data)
    energies = (np.abs(data) ** 2).sum(axis=0)
    free = float(geometry.n_out - values.size)
    spectrum = Spectrum(values, energies, found.outside(problem.data, data), geometry.n_out, q, free_outside=free)
    if problem.nonnegative and problem.parameter == "discrepancy":
        return ScaledSolution(np.zeros((geometry.n_in, len(data))), 0.0, found.route)  # it has another residual
    parameter = chosen_parameter(problem, spectrum)
    level = EPSILON * max(geometry.n_out, geometry.n_in) * largest
    least = float(values.min()) if values.size == min(geometry.n_out, geometry.n_in) else 0.0
    if parameter == 0 and least <= level:
        if problem.nonnegative:
            return ScaledSolution(np.zeros((geometry.n_in, len(data))), 0.0, found.route)
        raise ValueError(
            f"A is singular to rounding: its singular values reach from {largest:.3g} down to {least:.2g} (for the "
            "kernel scaled to about one), and parameter=0 divides by them; give a positive one, or 'gcv'"
        )
    if problem.method == "tsvd":
        factors = (values >= parameter * largest * (1 - 4 * EPSILON)) * 1.0
    else:
        factors = filter_factors(values, problem.damping(parameter), q)
    x = found.from_right(data * np.divide(factors, values, out=np.zeros_like(factors), where=factors > 0))
    return ScaledSolution(x, parameter, found.route)


# --- iterations ------------------------------------------------------------------------------------------------------


def _by_iterations(problem: ScaledProblem) -> ScaledSolution:
    """Return the Tikhonov solution by conjugate gradients, with a number or a rule for the parameter."""
    if problem.L is not None and problem.parameter == "discrepancy" and problem.target is not None:
        found, value = discrepancy_search(
            lambda damping, start: conjugate_gradients(problem, problem.data, damping, start),
            lambda found: _misfit(problem, found),
            problem.target,
            problem.norm_bound() / max(problem.penalty_bound(), 1e-300) * 1e-2,
        )
    else:
        if problem.L is None:
            value = settled_parameter(problem)
        elif not isinstance(problem.parameter, str):
            value = problem.parameter
        elif (problem.operator.H @ problem.data).any():
            value = searched_parameter(problem)
        else:
            raise ValueError(f"A^H y is zero, from which parameter={problem.parameter!r} cannot be estimated; check y")
        found = conjugate_gradients(problem, problem.data, problem.damping(value))
    _check_converged(problem, found, "conjugate gradients")
    return ScaledSolution(found.x, value, ITERATION, found.iterations, found.gradient)


def _nonnegative(problem: ScaledProblem, unconstrained: ScaledSolution) -> ScaledSolution:
    """Return the non-negative solution, for the parameter of the unconstrained one, or for a given residual."""

    def solve(damping: float, start: Iterate | None) -> Iterate:
        found = nonnegative_least_squares(problem, damping, unconstrained.x.real if start is None else start.x)
        _check_converged(problem, found, "projected conjugate gradients")
        return found

    if problem.parameter == "discrepancy" and problem.target is not None:
        size = 1e-2 * problem.norm_bound() / max(problem.penalty_bound(), 1e-300)
        found, value = discrepancy_search(solve, lambda found: _misfit(problem, found), problem.target, size)
    else:
        value = unconstrained.parameter if isinstance(problem.parameter, str) else problem.parameter
        found = solve(value, None)
    return ScaledSolution(found.x, value, ITERATION, found.iterations, found.gradient)


def _total_variation(problem: ScaledProblem) -> ScaledSolution:
    """Return the minimum of the squared residual and the total variation."""
    variation = TotalVariation(differences(problem.geometry), problem.isotropic)
    decomposition = decompose_jointly(problem.layer, None)

    def solve(weight: float, start: Iterate | None) -> Iterate:
        found = total_variation(problem, weight, variation, decomposition, start)
        _check_converged(problem, found, "primal-dual iterations")
        return found

    if problem.parameter == "discrepancy" and problem.target is not None:
        check_reachable(0.0, _flat_misfit(problem), problem.target)
        size = float(np.abs(problem.operator.H @ problem.data).max()) * 1e-3
        found, value = discrepancy_search(
            solve, lambda found: _misfit(problem, found), problem.target, max(size, 1e-300), power=2
        )
    else:
        value = float(problem.parameter)
        found = solve(value, None)
    route = ITERATION if decomposition is None else decomposition.route
    return ScaledSolution(found.x, value, route, found.iterations, found.gradient)


def _flat_misfit(problem: ScaledProblem) -> float:
    """Return the residual of the best x whose channels are constant: the limit of strong total variation."""
    channels = problem.geometry.in_channels
    images = problem.operator @ np.repeat(np.eye(channels), problem.geometry.n_in // channels, axis=0)
    return float(np.linalg.norm(images @ np.linalg.lstsq(images, problem.data)[0] - problem.data))
