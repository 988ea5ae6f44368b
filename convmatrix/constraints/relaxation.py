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

    from convmatrix.constraints.normal_form import NormalForm
    from convmatrix.constraints.properties import HalfSpace

    Floats = NDArray[np.float64]

UNKNOWN, ACTIVE, INACTIVE = 0, 1, -1
"""Phases of a rectifier: its input may have both signs, is not negative, or is not positive."""

_SOLVED: Final = 0  # a status of linprog


@dataclass(frozen=True)
class Relaxed:
    """The solution of a relaxation.

    Attributes
    ----------
    value : float
        The least s such that a point of the relaxation violates no constraint by more than s.
    weights : array, shape (n_spaces,)
        Multipliers of the half-spaces, not negative.
    slopes : dict of int to float
        q of rectifiers by their numbers, see `convmatrix.constraints.exact_bounds`, where they differ from the default.
    point : array, shape (n_inputs,)
    scores : array, shape (n_rectifiers,)
        How much a rectifier loosens the relaxation; 0 if its sign is known.
    """

    value: float
    weights: Floats
    slopes: dict[int, float]
    point: Floats
    scores: Floats


class Relaxation:
    """Linear programs in the inputs and the rectified variables of a normal form, in float64.

    Nothing that is computed here is trusted: multipliers become bounds in `convmatrix.constraints.exact_bounds`.
    """

    rows: Any
    rows_constant: Floats

    def __init__(self, form: NormalForm) -> None:
        n_inputs = len(form.variables[form.input])
        self.n_inputs, self.n_rectifiers = n_inputs, len(form.pre)
        free = np.concatenate([form.variables[form.input], form.post])
        n, width = form.n_variables, n_inputs + self.n_rectifiers
        units = sparse.csr_array((np.ones(width), (np.arange(width), np.arange(width))), shape=(width, width + 1))
        place = sparse.csr_array((np.ones(width), (free, np.arange(width))), shape=(n, width))
        values: Any = place @ units  # each variable as a combination of the free ones, and a constant
        for block in form.blocks:
            if block.body is None:
                continue
            own = form.defines[block.span]
            right = sparse.csr_array(
                (-form.right[block.span], (np.arange(len(own)), np.full(len(own), width))), shape=(len(own), width + 1)
            )
            rows = block.body @ values + right
            place = sparse.csr_array((np.ones(len(own)), (own, np.arange(len(own)))), shape=(n, len(own)))
            values = values + place @ rows
        self.form, self._values = form, values
        self.pre, self.pre_constant = _split(values[form.pre])

    def unsafe(self, spaces: Sequence[HalfSpace]) -> Relaxation:
        """Return the relaxation of an unsafe set."""
        form, made = self.form, copy(self)
        rows = sparse.lil_array((len(spaces), form.n_variables))
        for number, space in enumerate(spaces):
            for name, terms in ((form.input, space.inputs), (form.output, space.outputs)):
                for index, factor in terms:
                    rows[number, form.variables[name][index]] += float(factor)
        made.rows, constant = _split(sparse.csr_array(rows) @ self._values)
        made.rows_constant = constant - np.array([float(space.right) for space in spaces])
        return made

    def solve(
        self,
        lower: Floats,
        upper: Floats,
        box: tuple[Floats, Floats],
        phases: NDArray[np.int8],
        seconds: float | None = None,
    ) -> Relaxed | None:
        """Return the solution of the relaxation, or None if the solver fails.

        Parameters
        ----------
        lower, upper : arrays, shape (n_rectifiers,)
            Bounds of the inputs of rectifiers on the box, whatever the phases.
        box : (array, array), shape (n_inputs,)
        phases : array of int8, shape (n_rectifiers,)
            ACTIVE or INACTIVE where a branch decides it; these constraints may be violated by s.
        seconds : float, optional
            Time limit of the solver.
        """
        n_inputs, k = self.n_inputs, self.n_rectifiers
        active = (lower >= 0) | (phases == ACTIVE)
        inactive = ~active & ((upper <= 0) | (phases == INACTIVE))
        unknown = np.flatnonzero(~(active | inactive))
        on, off = np.flatnonzero(phases == ACTIVE), np.flatnonzero(phases == INACTIVE)
        ratio = upper[unknown] / (upper[unknown] - lower[unknown])
        own = _columns(unknown, n_inputs, n_inputs + k)
        pre = self.pre[unknown]
        A = sparse.vstack(
            [self.rows, pre - own, own - sparse.diags_array(ratio) @ pre, -self.pre[on], self.pre[off]], format="csr"
        )
        b = np.concatenate(
            [
                -self.rows_constant,
                -self.pre_constant[unknown],
                ratio * (self.pre_constant[unknown] - lower[unknown]),
                self.pre_constant[on],
                -self.pre_constant[off],
            ]
        )
        elastic = np.zeros((len(b), 1))
        n_rows, n_unknown = self.rows.shape[0], len(unknown)
        elastic[:n_rows] = elastic[n_rows + 2 * n_unknown :] = -1
        same = np.flatnonzero(active)
        equal = _beside(self.pre[same] - _columns(same, n_inputs, n_inputs + k), np.zeros((len(same), 1)))
        limits = np.full((n_inputs + k + 1, 2), [-np.inf, np.inf])
        limits[:n_inputs] = np.stack(box, axis=1)
        limits[n_inputs + unknown, 0] = 0
        limits[n_inputs + np.flatnonzero(inactive)] = 0
        cost = np.zeros(n_inputs + k + 1)
        cost[-1] = 1
        solve: Any = linprog  # its annotations know dense matrices only
        done = solve(
            cost,
            A_ub=_beside(A, elastic),
            b_ub=b,
            A_eq=equal if len(same) else None,
            b_eq=-self.pre_constant[same] if len(same) else None,
            bounds=limits,
            method="highs",
            options={} if seconds is None else {"time_limit": max(seconds, 0.01)},
        )
        if done.status != _SOLVED:
            return None
        weights = np.maximum(-done.ineqlin.marginals, 0)
        above = weights[n_rows : n_rows + n_unknown]
        below = weights[n_rows + n_unknown : n_rows + 2 * n_unknown]
        rest = weights[n_rows + 2 * n_unknown :]
        slopes = np.zeros(k)
        slopes[unknown] = ratio * below - above
        if len(same):
            slopes[same] += done.eqlin.marginals
        slopes[on] += rest[: len(on)]
        slopes[off] -= rest[len(on) :]
        given = np.unique(np.concatenate([unknown, on[rest[: len(on)] > 0], off[rest[len(on) :] > 0]]))
        point = np.clip(done.x[:n_inputs], *box)
        gaps = done.x[n_inputs + unknown] - np.maximum(self.pre[unknown] @ done.x[:-1] + self.pre_constant[unknown], 0)
        scores = np.zeros(k)
        scores[unknown] = below * ratio * -lower[unknown] + 1e-6 * np.maximum(gaps, 0) + 1e-12
        return Relaxed(
            float(done.fun),
            weights[:n_rows],
            dict(zip(given.tolist(), slopes[given].tolist(), strict=True)),
            point,
            scores,
        )


def _split(matrix: Any) -> tuple[Any, Floats]:
    """Return the columns of the free variables, and the last one, the constant."""
    matrix = sparse.csr_array(matrix)
    return matrix[:, :-1], matrix[:, [-1]].toarray().ravel()


def _beside(left: Any, right: Any) -> Any:
    return sparse.csr_array(sparse.hstack([left, sparse.csr_array(right)]))


def _columns(numbers: NDArray[np.int64], start: int, width: int) -> Any:
    """Return the rows of an identity matrix that pick the rectified variables of given numbers."""
    count = len(numbers)
    return sparse.csr_array((np.ones(count), (np.arange(count), start + numbers)), shape=(count, width))
