"""Conjugate gradients on the normal equations (CGLS): for a penalised problem, or stopped early as a regularisation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.solve.l_curve import NoCornerError, discrete_corner
from convmatrix.solve.parameter_rules import UnreachableResidualError, check_reachable

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.solve.deconvolution_problems import ScaledProblem


@dataclass(frozen=True, eq=False)
class Iterate:
    """A solution by iterations: columns x, the number of iterations, and the measure of optimality."""

    x: Array  # (n_in, batch)
    iterations: int
    gradient: float  # computed from x, relative to its value at x = 0
    dual: Any = None  # dual variables, from which other iterations can start


@dataclass
class _KrylovState:
    """An iterate of CGLS: x, y - A x, L x, the negative gradient, and the square of its norm."""

    x: Array
    residual: Array
    penalised: Array
    gradient: Array
    power: float


def _steps(operator: Any, y: Array, damping: float, penalty: Any, start: Array) -> Iterator[_KrylovState]:
    """Yield the iterates of CGLS, the start included, in the form of Hestenes and Stiefel for least squares."""
    adjoint = operator.H
    x = start
    residual = y - operator @ x if x.any() else y.astype(np.result_type(operator.dtype, y.dtype))
    penalised = x if penalty is None else penalty @ x
    gradient = adjoint @ residual - damping**2 * (x if penalty is None else penalty.H @ penalised)
    direction, power = gradient, float(np.linalg.norm(gradient)) ** 2
    while True:
        yield _KrylovState(x, residual, penalised, gradient, power)
        image = operator @ direction
        difference = direction if penalty is None else penalty @ direction
        length = float(np.linalg.norm(image)) ** 2 + (damping * float(np.linalg.norm(difference))) ** 2
        if power == 0 or length == 0:
            return
        step = power / length
        x = x + step * direction
        residual = residual - step * image
        penalised = x if penalty is None else penalised + step * difference
        gradient = adjoint @ residual - damping**2 * (x if penalty is None else penalty.H @ penalised)
        following = float(np.linalg.norm(gradient)) ** 2
        direction, power = gradient + (following / power) * direction, following


def conjugate_gradients(problem: ScaledProblem, y: Array, damping: float, start: Iterate | None = None) -> Iterate:
    r"""Minimise :math:`\|A x - y\|^2 + \lambda^2 \|L x\|^2` by conjugate gradients on the normal equations (CGLS).

    :math:`A^H A` is not formed. Iterations end when the norm of the gradient is ``tol`` times that at x = 0, or after
    ``most`` iterations. The gradient updated in each step drifts from that of x; if it is found too large when computed
    anew, iterations start again from x. The data y need not be those of the problem.
    """
    operator, penalty, tol, most, log = problem.operator, problem.L, problem.tol, problem.most, problem.log
    log.restart()
    first = float(np.linalg.norm(operator.H @ y))
    if first == 0:
        return Iterate(np.zeros((operator.shape[1], y.shape[1]), np.result_type(operator.dtype, y.dtype)), 0, 0.0)
    done, level = 0, 0.0
    x: Array = np.zeros((operator.shape[1], y.shape[1])) if start is None else start.x
    for _ in range(3):
        for number, state in enumerate(_steps(operator, y, damping, penalty, x)):
            level = float(np.sqrt(state.power)) / first
            if number:
                done += 1
                misfit, size = (float(np.linalg.norm(part)) for part in (state.residual, state.penalised))
                log.add(misfit**2 + (damping * size) ** 2, misfit, level)
            x = state.x
            if level <= tol or done >= most:
                break
        penalised = x if penalty is None else penalty.H @ (penalty @ x)
        true_gradient = operator.H @ (y - operator @ x) - damping**2 * penalised
        level = float(np.linalg.norm(true_gradient)) / first
        if level <= tol or done >= most:
            break
    return Iterate(x, done, level)


def stopped_conjugate_gradients(problem: ScaledProblem) -> tuple[Iterate, int]:
    r"""Return the iterate of CGLS after a number of steps, which may be chosen by a rule; the number is the parameter.

    Cross-validation minimises :math:`\|A x_k - y\|^2 / (m - k)^2`, and looks ahead to twice the number of iterations.
    The L-curve is that of the norms of all iterates, up to at least twice the number of its corner.

    References
    ----------
    Hansen, Rank-deficient and discrete ill-posed problems, SIAM 1998, chapters 6 and 7.
    """
    operator, y, parameter, target = problem.operator, problem.data, problem.parameter, problem.target
    most, log = problem.most_steps, problem.log
    log.restart()
    first = float(np.linalg.norm(operator.H @ y))
    if first == 0:
        raise ValueError("A^H y is zero, so every iterate of method='cgls' is zero; check y")
    kept: list[Array] = []
    misfits, sizes, levels = [float(np.linalg.norm(y))], [0.0], [1.0]
    best, scores = 0, [np.inf]
    states = _steps(operator, y, 0.0, None, np.zeros((operator.shape[1], y.shape[1])))
    next(states)
    chosen: int | None = None
    for number, state in enumerate(states, start=1):
        misfits.append(float(np.linalg.norm(state.residual)))
        sizes.append(float(np.linalg.norm(state.x)))
        levels.append(float(np.sqrt(state.power)) / first)
        log.add(misfits[-1] ** 2, misfits[-1], levels[-1])
        if parameter == "l_curve":
            kept.append(state.x)
            if number >= 8 and (number & (number - 1)) == 0:
                chosen = _settled_corner(misfits, sizes)
        elif parameter == "gcv":
            freedom = max(y.size - number, 0)
            scores.append(misfits[-1] ** 2 / freedom**2 if freedom else np.inf)
            if scores[-1] < scores[best]:
                best, kept = number, [state.x]
            chosen = best if number >= 2 * best + 8 else None
        else:
            kept = [state.x]
            reached = number == parameter if target is None else misfits[-1] <= target
            chosen = number if reached else None
        if chosen is not None or number >= most:
            break
    else:  # the iterates do not change any more
        if parameter == "gcv":
            chosen = best
        elif not isinstance(parameter, str):
            chosen = len(misfits) - 1
    if target is not None:
        check_reachable(misfits[-1], misfits[0], target)
    if chosen is None or not kept:
        raise UnreachableResidualError(
            f"parameter={parameter!r} has not settled after {len(misfits) - 1} iterations of method='cgls'; raise "
            f"max_iterations (now {most}), or give a number of iterations"
        )
    x = kept[chosen - 1] if parameter == "l_curve" else kept[0]
    return Iterate(x, chosen, levels[chosen]), chosen


def _settled_corner(misfits: list[float], sizes: list[float]) -> int | None:
    """Return the corner of the curve of all iterates if there are twice as many, otherwise None."""
    try:
        corner = 1 + discrete_corner(misfits[1:], sizes[1:])
    except NoCornerError:
        return None
    return corner if 2 * corner < len(misfits) else None
