"""Linear programs that relax a network with some signs of rectifiers known, and the multipliers that they return."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.constraints.counterexamples import Target
    from convmatrix.constraints.normal_form import NormalForm

    Floats = NDArray[np.float64]
    Phases = NDArray[np.int8]

ACTIVE: Final = 1
INACTIVE: Final = -1
"""Phases of a rectifier in a branch: its input is not negative, or not positive; 0 if it may have both signs."""

_SOLVED: Final = 0  # a status of linprog


@dataclass(frozen=True)
class Relaxed:
    """The solution of a relaxation.

    ``value`` is the least s such that a point of the relaxation violates no constraint by more than s, and ``point``
    its input. ``weights`` are multipliers of the half-spaces, not negative; ``slopes`` are the q of rectifiers by their
    numbers, where they differ from the default, see `convmatrix.constraints.exact_bounds`. ``scores`` say how much each
    rectifier loosens the relaxation; 0 if its sign is known.
    """

    value: float
    weights: Floats
    slopes: dict[int, float]
    point: Floats
    scores: Floats


class PhaseProgram:
    """Linear programs in the inputs of a normal form and in its rectified variables of unknown sign, in float64.

    Nothing that is computed here is trusted: multipliers become bounds in `convmatrix.constraints.exact_bounds`.

    Solvers have absolute tolerances. So variables and rows are multiplied by powers of two that make them of the order
    of 1: inputs x are c + r t, with the centre c of the box and t between about -1 and 1; rectified variables, with
    their rows, are divided by the size of their bounds; the half-spaces of an unsafe set by that of their coefficients.

    ``lower`` and ``upper`` are bounds of the inputs of rectifiers on the box.
    """

    def __init__(self, form: NormalForm, box: tuple[Floats, Floats], lower: Floats, upper: Floats) -> None:
        self.form, self.box, self.lower, self.upper = form, box, lower, upper
        self.unknown = np.flatnonzero((lower < 0) & (upper > 0))
        self._n_inputs, self._n_rectifiers = len(box[0]), len(form.pre)
        n, u = self._n_inputs, len(self.unknown)
        low, high = lower[self.unknown], upper[self.unknown]
        self._centre, radius = box[0] / 2 + box[1] / 2, box[1] / 2 - box[0] / 2
        self._input_size, self._size = _power_of_two(radius), _power_of_two(np.maximum(-low, high))
        self._unsafe_size = 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            self._values = self._eliminated()
            pre = sparse.diags_array(1 / self._size) @ self._values[form.pre[self.unknown]]
        own = sparse.csr_array((np.ones(u), (np.arange(u), n + np.arange(u))), shape=pre.shape)
        low, high = low / self._size, high / self._size
        self._ratio = high / (high - low)
        edge = own - sparse.diags_array(self._ratio) @ pre
        above, above_right = _split(pre - own, np.zeros(u))
        below, below_right = _split(edge, -self._ratio * low)
        on, on_right = _split(-pre, np.zeros(u))
        off, off_right = _split(pre, np.zeros(u))
        # Rows of all phases, from which those of a branch are chosen; the last variable is s.
        self._rows = _stack([above, below, on, off], [0.0, 0.0, -1.0, -1.0])
        self._right = np.concatenate([above_right, below_right, on_right, off_right])
        self._equal, self._equal_right = _stack([above], [0.0]), above_right

    def _eliminated(self) -> Any:
        """Return all variables as combinations of the free ones, of inputs and what has an unknown sign, and of 1."""
        form, n = self.form, self.form.n_variables
        width = self._n_inputs + len(self.unknown) + 1
        free = np.concatenate([form.variables[form.input], form.post[self.unknown]])
        sizes, columns = np.concatenate([self._input_size, self._size, self._centre]), np.arange(width - 1)
        places = np.concatenate([free, free[: self._n_inputs]])
        columns = np.concatenate([columns, np.full(self._n_inputs, width - 1)])
        values: Any = sparse.csr_array((sizes, (places, columns)), shape=(n, width))
        for block in form.blocks:
            if block.body is None:
                active = np.arange(len(form.pre))[block.span][self.lower[block.span] >= 0]
                own, rows = form.post[active], values[form.pre[active]]
            else:
                own = form.defines[block.span]
                last = sparse.csr_array(
                    (-form.right[block.span], (np.arange(len(own)), np.full(len(own), width - 1))),
                    shape=(len(own), width),
                )
                rows = block.body @ values + last
            place = sparse.csr_array((np.ones(len(own)), (own, np.arange(len(own)))), shape=(n, len(own)))
            values = values + place @ rows
        return values

    def unsafe(self, target: Target) -> PhaseProgram:
        """Return the relaxation of an unsafe set: its half-spaces may be violated by s."""
        made = copy(self)
        with np.errstate(over="ignore", invalid="ignore"):
            excess, right = _split(sparse.csr_array(target.rows) @ self._values, target.right)
            largest = max(np.max(np.abs(excess.data), initial=0.0), np.max(np.abs(right), initial=0.0) * 2.0**-40)
            made._unsafe_size = float(_power_of_two(np.array([largest]))[0])
            excess, right = excess / made._unsafe_size, right / made._unsafe_size
        made._rows = sparse.csr_array(sparse.vstack([_stack([excess], [-1.0]), self._rows]))
        made._right = np.concatenate([right, self._right])
        return made

    def solve(self, phases: Phases, seconds: float | None = None) -> Relaxed | None:
        """Return the solution where a branch decides some signs, or None if the solver fails or its time is over.

        Constraints of the phases that a branch decides may be violated by s.
        """
        n, u = self._n_inputs, len(self.unknown)
        first = self._rows.shape[0] - 4 * u
        branch = phases[self.unknown]
        open_, on, off = (np.flatnonzero(branch == phase) for phase in (0, ACTIVE, INACTIVE))
        chosen = [np.arange(first), first + open_, first + u + open_, first + 2 * u + on, first + 3 * u + off]
        ends = np.cumsum([len(part) for part in chosen])
        rows = np.concatenate(chosen)
        limits = np.full((n + u + 1, 2), [-np.inf, np.inf])
        limits[:n] = np.stack([(side - self._centre) / self._input_size for side in self.box], axis=1)
        limits[n + open_, 0] = 0
        limits[n + off] = 0
        cost = np.zeros(n + u + 1)
        cost[-1] = 1
        if not (np.isfinite(self._rows.data).all() and np.isfinite(self._right).all()):
            return None
        solver: Any = linprog  # its annotations allow only dense matrices
        done = solver(
            cost,
            A_ub=self._rows[rows],
            b_ub=self._right[rows],
            A_eq=self._equal[on] if len(on) else None,
            b_eq=self._equal_right[on] if len(on) else None,
            bounds=limits,
            method="highs",
            options={} if seconds is None else {"time_limit": max(seconds, 0.01)},
        )
        if done.status != _SOLVED:
            return None
        weights, above, below, active, inactive = np.split(np.maximum(-done.ineqlin.marginals, 0), ends[:-1])
        slopes = np.zeros(u)
        slopes[open_] = self._ratio[open_] * below - above
        slopes[on] = active + (done.eqlin.marginals if len(on) else 0)
        slopes[off] = -inactive
        given = np.concatenate([open_, on[active > 0], off[inactive > 0]])
        with np.errstate(over="ignore", under="ignore"):
            slopes *= self._unsafe_size / self._size
        given = given[np.isfinite(slopes[given])]
        scores = np.zeros(self._n_rectifiers)
        low = self.lower[self.unknown[open_]] / self._size[open_]
        scores[self.unknown[open_]] = 1e-12 - below * self._ratio[open_] * low
        return Relaxed(
            float(done.fun) * self._unsafe_size,
            weights,
            dict(zip(self.unknown[given].tolist(), slopes[given].tolist(), strict=True)),
            np.clip(self._centre + self._input_size * done.x[:n], *self.box),
            scores,
        )


def _power_of_two(values: Floats) -> Floats:
    """Return powers of two of the order of numbers that are not negative, and 1 for 0."""
    exponents = np.clip(np.frexp(values)[1], -1021, 1021)
    return np.where(values > 0, np.ldexp(1.0, exponents), 1.0)


def _split(matrix: Any, right: Floats) -> tuple[Any, Floats]:
    """Return the columns of the free variables, and the right side minus the last column, the constant."""
    matrix = sparse.csr_array(matrix)
    return matrix[:, :-1], right - matrix[:, [-1]].toarray().ravel()


def _stack(parts: Sequence[Any], elastic: Sequence[float]) -> Any:
    """Return parts below each other, with a further column that has one value for each part."""
    columns = [np.full((part.shape[0], 1), value) for part, value in zip(parts, elastic, strict=True)]
    return sparse.csr_array(
        sparse.hstack([sparse.csr_array(sparse.vstack(parts)), sparse.csr_array(np.concatenate(columns))])
    )
