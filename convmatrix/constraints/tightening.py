"""Bounds of rectified variables, tightened by substitution backwards and by linear programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from convmatrix.constraints.relaxation import LinearSystem, Relaxation, relax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.constraints.normal_form import Block, NormalForm

    Indices = NDArray[np.int64]
    Floats = NDArray[np.float64]

Tightening = Literal["interval", "symbolic", "linear"]
Progress = Callable[[int, int, str], Any]

_ENTRIES: Final = 2**21  # of the arrays with which bounds are computed at a time


def tighten(
    form: NormalForm, method: Tightening = "symbolic", progress: Progress | None = None
) -> tuple[Floats, Floats]:
    """Return bounds of all variables of a normal form, tighter than by interval arithmetic.

    Layer by layer, the bounds of the variables that rectifiers read, if they have both signs, and those of the output
    are replaced by better ones; intervals are propagated from these.

    Parameters
    ----------
    form : NormalForm
    method : {"interval", "symbolic", "linear"}
        ``"interval"`` returns the bounds of the form. ``"symbolic"`` substitutes backwards, with each rectifier
        replaced by a line below or above it (Zhang, Weng, Chen, Hsieh, Daniel, 2018; Singh, Gehr, Püschel, Vechev,
        2019).
        ``"linear"`` then solves two linear programs per variable that still has both signs, over the relaxation of
        each rectifier by a triangle (Ehlers, 2017).
    progress : callable, optional
        Called as ``progress(done, of, name)`` after each linear program.

    Returns
    -------
    lower, upper : arrays, shape (n_variables,)
        Never too narrow: whatever multipliers a method finds, the bound that follows from them is rounded outwards.
    """
    if method not in ("interval", "symbolic", "linear"):
        raise ValueError(f"tighten={method!r} is unknown; choose interval, symbolic or linear")
    lower, upper = form.lower.copy(), form.upper.copy()
    if method == "interval":
        return lower, upper
    for number, block in enumerate(form.blocks):
        if block.body is None:
            pre = form.pre[block.span]
            _tighten_block(form, lower, upper, pre[(lower[pre] < 0) & (upper[pre] > 0)], number, method, progress)
        form.step(block, lower, upper)
    output = np.unique(form.variables[form.output])
    _tighten_block(form, lower, upper, output[output >= form.n_inputs], len(form.blocks), method, progress)
    return lower, upper


def _tighten_block(
    form: NormalForm, lower: Floats, upper: Floats, targets: Indices, number: int, method: str, progress: Any
) -> None:
    """Tighten the bounds of some variables that the blocks before a number define."""
    if not len(targets):
        return
    blocks = form.blocks[:number]
    n = form.blocks[number].first if number < len(form.blocks) else form.n_variables
    relaxation = relax(form, lower, upper, n)
    substitution = Substitution(form, relaxation, blocks)
    width = max(_ENTRIES // (n + len(relaxation.row_lower)), 1)
    for start in range(0, len(targets), width):
        chunk = targets[start : start + width]
        lower[chunk] = np.maximum(lower[chunk], substitution.bounds(chunk, 1.0))
        upper[chunk] = np.minimum(upper[chunk], -substitution.bounds(chunk, -1.0))
    if method == "linear" and len(relaxation.unstable):
        open_ones = targets if number == len(form.blocks) else targets[(lower[targets] < 0) & (upper[targets] > 0)]
        for done, target in enumerate(open_ones.tolist(), start=1):
            cone = Cone(relaxation, form, blocks, target)
            if cone.n_unstable:
                lower[target] = max(lower[target], cone.bound(1.0))
            if cone.n_unstable and (number == len(form.blocks) or lower[target] < 0):
                upper[target] = min(upper[target], -cone.bound(-1.0))
            if progress is not None:
                progress(done, len(open_ones), f"step {number} of {len(form.blocks)}")


class Substitution:
    """Substitution of variables by what defines them, backwards to the input: multipliers of a relaxation's rows.

    A rectifier is replaced by the line above it where its coefficient is negative, and otherwise by the better of the
    two lines below it, 0 and its argument.
    """

    def __init__(self, form: NormalForm, relaxation: Relaxation, blocks: Sequence[Block]) -> None:
        self._form, self._relaxation, self._blocks = form, relaxation, blocks
        n_equations, k = int(np.searchsorted(form.defines, len(relaxation.lower))), len(relaxation.unstable)
        n_rectifiers = int(np.searchsorted(form.post, len(relaxation.lower)))
        self._active, self._unstable = np.full(n_rectifiers, -1), np.full(n_rectifiers, -1)
        self._active[relaxation.active] = n_equations + np.arange(len(relaxation.active))
        self._unstable[relaxation.unstable] = np.arange(k)
        self._below = n_equations + len(relaxation.active)  # the first row of lines below rectifiers
        pre = form.pre[relaxation.unstable]
        self._keeps = (relaxation.upper[pre] > -relaxation.lower[pre]).astype(np.float64)

    def bounds(self, targets: Indices, sign: float) -> Floats:
        """Return lower bounds of some variables times a sign."""
        relaxation = self._relaxation
        objectives = np.zeros((len(relaxation.lower), len(targets)))
        objectives[targets, np.arange(len(targets))] = sign
        return relaxation.bounds(objectives, self._multipliers(objectives.copy()))

    def _multipliers(self, rest: Floats) -> Floats:
        """Return multipliers of the rows; ``rest``, the objectives, becomes what is left of them."""
        form, relaxation = self._form, self._relaxation
        k, below = len(relaxation.unstable), self._below
        multipliers = np.zeros((len(relaxation.row_lower), rest.shape[1]))
        for block in reversed(self._blocks):
            if block.body is not None:
                own = rest[form.defines[block.span]]
                multipliers[block.span] = -own
                rest[block.columns] += block.transposed @ own
                continue
            pre, post = form.pre[block.span], form.post[block.span]
            active, unstable = self._active[block.span], self._unstable[block.span]
            on = active >= 0
            multipliers[active[on]] = rest[post[on]]
            rest[pre[on]] += rest[post[on]]
            on = unstable >= 0
            number, own = unstable[on], rest[post[on]]
            multipliers[below + number] = self._keeps[number, None] * np.maximum(own, 0)
            multipliers[below + k + number] = np.minimum(own, 0)
            rest[pre[on]] += multipliers[below + number]
            rest[pre[on]] += relaxation.slopes[number, None] * multipliers[below + k + number]
        return multipliers


class Cone:
    """The part of a relaxation that a variable depends on, as a linear program.

    Attributes
    ----------
    system : LinearSystem
    n_unstable : int
        Number of rectifiers in it that are not known to be active or not.
    """

    def __init__(self, relaxation: Relaxation, form: NormalForm, blocks: Sequence[Block], target: int) -> None:
        reached = np.zeros(len(relaxation.lower), bool)
        reached[target] = True
        for block in reversed(blocks):
            if block.body is None:
                own = reached[form.post[block.span]]
                reached[form.pre[block.span][own]] = True
            else:
                own = reached[form.defines[block.span]]
                starts = block.body.indptr
                reached[block.body.indices[np.repeat(own, np.diff(starts))]] = True
        columns, rows = np.flatnonzero(reached), np.flatnonzero(reached[relaxation.owners])
        self.n_unstable = int(np.count_nonzero(reached[form.post[relaxation.unstable]]))
        self.system = LinearSystem(
            relaxation.matrix[rows][:, columns],
            relaxation.row_lower[rows],
            relaxation.row_upper[rows],
            relaxation.lower[columns],
            relaxation.upper[columns],
        )
        self._target = int(np.searchsorted(columns, target))

    def bound(self, sign: float) -> float:
        """Return a lower bound of the variable times a sign, or minus infinity if the linear program is not solved."""
        system = self.system
        objective = np.zeros(len(system.lower))
        objective[self._target] = sign
        equal = system.row_lower == system.row_upper
        below, above = (~equal & np.isfinite(rows) for rows in (system.row_lower, system.row_upper))
        solve: Any = linprog  # SciPy's stubs do not know sparse arrays
        solved = solve(
            objective,
            A_ub=sparse.vstack([-system.matrix[below], system.matrix[above]], format="csr"),
            b_ub=np.concatenate([-system.row_lower[below], system.row_upper[above]]),
            A_eq=system.matrix[equal],
            b_eq=system.row_lower[equal],
            bounds=np.stack([system.lower, system.upper], axis=1),
            method="highs",
        )
        if solved.status != 0:
            return -np.inf
        multipliers = np.zeros((len(equal), 1))
        multipliers[equal, 0] = solved.eqlin.marginals
        n_below = int(below.sum())
        multipliers[below, 0] -= solved.ineqlin.marginals[:n_below]
        multipliers[above, 0] += solved.ineqlin.marginals[n_below:]
        return float(system.bounds(objective[:, None], multipliers)[0])
