"""Non-negative least squares: an active-set method for small problems, projected conjugate gradients for all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.optimize import nnls

from convmatrix.solve.conjugate_gradients import Iterate

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.solve.deconvolution_problems import ScaledProblem

MOST_COLUMNS: Final = 200
"""Maximum number of unknowns for the active-set method, whose steps are dense factorisations."""

_MOST_ROWS: Final = 4000
_RESTARTS: Final = 5


def nonnegative_least_squares(problem: ScaledProblem, damping: float, start: Array | None = None) -> Iterate:
    r"""Minimise :math:`\|A x - y\|^2 + \lambda^2 \|L x\|^2` over all real :math:`x \ge 0`.

    Small problems are solved by `scipy.optimize.nnls` (Lawson and Hanson). All others are solved by conjugate gradients
    on the entries that are positive, with a projected gradient step where an entry would become negative (modified
    proportioning with reduced gradient projections, MPRGP), until the norm of the projected gradient is ``tol`` times
    that of the gradient at x = 0. The first step is that of a bound on the norm of the Hessian; steps that are too long
    are shortened.

    References
    ----------
    Lawson, Hanson, Solving least squares problems, SIAM 1995, chapter 23. Dostal, Schoeberl, Minimizing quadratic
    functions over non-negative cone with the rate of convergence and finite termination, Comput. Optim. Appl. 30(1),
    2005.
    """
    operator, y, penalty = problem.operator, problem.data, problem.L
    problem.log.restart()
    first = float(np.linalg.norm(operator.H @ y))
    if first == 0:
        return Iterate(np.zeros((operator.shape[1], y.shape[1])), 0, 0.0)
    quadratic = _Quadratic(problem, damping)
    n_rows = operator.shape[0] + (operator.shape[1] if penalty is None else penalty.shape[0])
    if operator.shape[1] <= MOST_COLUMNS and n_rows <= _MOST_ROWS:
        x = _active_set(quadratic)
        if x is not None:
            level = quadratic.optimality(x) / first
            problem.log.add(*quadratic.objective(x), level)
            return Iterate(x, 1, level)
    bound = problem.norm_bound() ** 2 + damping**2 * problem.penalty_bound() ** 2
    x = np.zeros((operator.shape[1], y.shape[1])) if start is None else np.maximum(start.real, 0)
    done = 0
    for _ in range(_RESTARTS):  # the gradient updated in each step drifts from that of x
        x, done = _mprgp(quadratic, x, bound, first, done)
        level = quadratic.optimality(x) / first
        if level <= problem.tol or done >= problem.most:
            break
    return Iterate(x, done, level)


class _Quadratic:
    """The objective, its gradient and its Hessian; half of them, so that the gradient is A^H A x - A^H y."""

    def __init__(self, problem: ScaledProblem, damping: float) -> None:
        self.problem, self.damping = problem, damping
        self.operator: Any = problem.operator
        self.y, self.penalty = problem.data, problem.L

    def hessian(self, v: Array) -> Array:
        """Return the Hessian times columns v."""
        return self._with_penalty(self.operator.H @ (self.operator @ v), v)

    def gradient(self, x: Array) -> Array:
        """Return the gradient at x."""
        return self._with_penalty(self.operator.H @ (self.operator @ x - self.y), x)

    def _with_penalty(self, product: Array, x: Array) -> Array:
        if self.damping:
            product = product + self.damping**2 * (x if self.penalty is None else self.penalty.H @ (self.penalty @ x))
        return np.asarray(product)

    def objective(self, x: Array) -> tuple[float, float]:
        """Return the objective and the norm of the residual."""
        misfit = float(np.linalg.norm(self.operator @ x - self.y))
        return misfit**2 + self.penalised(x), misfit

    def penalised(self, x: Array) -> float:
        """Return the part of the objective that is due to the penalty."""
        if not self.damping:
            return 0.0
        size = float(np.linalg.norm(x if self.penalty is None else self.penalty @ x))
        return (self.damping * size) ** 2

    def optimality(self, x: Array) -> float:
        """Return the norm of the projected gradient."""
        gradient = self.gradient(x)
        return float(np.linalg.norm(np.where(x > 0, gradient, np.minimum(gradient, 0))))


def _active_set(problem: _Quadratic) -> Array | None:
    """Return the solution by the method of Lawson and Hanson, or None if it does not end."""
    n = problem.operator.shape[1]
    A, y = problem.operator @ np.eye(n), problem.y
    if problem.damping:
        L = np.eye(n) if problem.penalty is None else problem.penalty @ np.eye(n)
        A = np.concatenate([A, problem.damping * L])
        y = np.concatenate([y, np.zeros((len(L), y.shape[1]))])
    try:
        return np.stack([nnls(A, column, maxiter=30 * n)[0] for column in y.T], axis=1)
    except RuntimeError:
        return None


def _mprgp(problem: _Quadratic, x: Array, bound: float, first: float, done: int) -> tuple[Array, int]:
    """Return the iterate whose projected gradient, as updated, is at most ``tol * first``, and the iterations done."""
    step, goal = 1.0 / bound, problem.problem.tol * first
    constant = float(np.vdot(problem.y, problem.y).real)
    right = problem.operator.H @ problem.y
    gradient = problem.gradient(x)
    free = np.where(x > 0, gradient, 0)
    direction = free
    while done < problem.problem.most:
        chopped = np.where(x > 0, 0, np.minimum(gradient, 0))
        level = float(np.sqrt(np.vdot(free, free) + np.vdot(chopped, chopped)))
        if level <= goal:
            break
        done += 1
        reduced = np.minimum(x / step, free)
        if np.vdot(chopped, chopped) <= np.vdot(reduced, free):
            image = problem.hessian(direction)
            curvature = float(np.vdot(direction, image))
            moving = direction > 0
            feasible = float((x[moving] / direction[moving]).min(initial=np.inf))
            length = float(np.vdot(gradient, direction)) / curvature if curvature > 0 else np.inf
            if length <= feasible:
                x = np.maximum(x - length * direction, 0)
                gradient = gradient - length * image
                free = np.where(x > 0, gradient, 0)
                direction = free - float(np.vdot(free, image)) / curvature * direction
            else:
                if np.isfinite(feasible):
                    x = np.maximum(x - feasible * direction, 0)
                    gradient = gradient - feasible * image
                free = np.where(x > 0, gradient, 0)
                x, gradient, step = _projected_step(problem, x, gradient, free, step)
                free = direction = np.where(x > 0, gradient, 0)
        else:
            image = problem.hessian(chopped)
            curvature = float(np.vdot(chopped, image))
            length = float(np.vdot(gradient, chopped)) / curvature if curvature > 0 else step
            x = np.maximum(x - length * chopped, 0)
            gradient = gradient - length * image
            free = direction = np.where(x > 0, gradient, 0)
        # x'Hx = x'(gradient + right), so that the objective takes no further product.
        objective = float(np.vdot(x, gradient - right)) + constant
        problem.problem.log.add(objective, float(np.sqrt(max(objective - problem.penalised(x), 0.0))), level / first)
    return x, done


def _projected_step(
    problem: _Quadratic, x: Array, gradient: Array, free: Array, step: float
) -> tuple[Array, Array, float]:
    """Return x after a projected gradient step, its gradient, and the step size, halved until the objective falls."""
    for _ in range(60):
        moved = np.maximum(x - step * free, 0)
        new = problem.gradient(moved)
        # The difference of a quadratic function: (moved - x)' (gradient + new) / 2.
        change = float(np.vdot(moved - x, gradient + new))
        if change <= 1e-12 * abs(float(np.vdot(moved, new))):
            break
        step /= 2
    return moved, new, step
