"""Bounds of rectified variables, tightened by substitution backwards and by linear programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from convmatrix import options as validate
from convmatrix.constraints.relaxation import LinearSystem, Relaxation, relax
from convmatrix.progress import report_step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.constraints.normal_form import Block, NormalForm

    Indices = NDArray[np.int64]
    Floats = NDArray[np.float64]

Tightening = Literal["interval", "symbolic", "linear"]

_LARGE: Final = 20_000  # entries from which interior points are quicker than the dual simplex method
_TARGETS: Final = 128  # largest number of variables whose bounds are computed together
_ENTRIES: Final = 2**23  # of an array with one column for each of them


def tighten(form: NormalForm, method: Tightening = "symbolic") -> tuple[Floats, Floats]:
    """Return bounds of all variables of a normal form, tighter than by interval arithmetic.

    Layer by layer, the bounds of the variables that rectifiers read, if they have both signs, and those of the output
    are replaced by better ones; intervals are propagated from these. For any multipliers that a method finds, the bound
    that follows from them is rounded outwards.

    ``"interval"`` returns the bounds of the form. ``"symbolic"`` substitutes backwards, with each rectifier replaced by
    a line below or above it (Zhang, Weng, Chen, Hsieh, Daniel, 2018; Singh, Gehr, Püschel, Vechev, 2019). ``"linear"``
    then solves two linear programs per variable that still has both signs, over the relaxation of each rectifier by a
    triangle (Ehlers, 2017).
    """
    validate.one_of("tighten", method, ("interval", "symbolic", "linear"))
    lower, upper = form.lower.copy(), form.upper.copy()
    if method == "interval":
        return lower, upper
    for number, block in enumerate(form.blocks):
        if block.body is None:
            pre = form.pre[block.span]
            _tighten_some(form, lower, upper, pre[(lower[pre] < 0) & (upper[pre] > 0)], number, method)
        form.step(block, lower, upper)
    _tighten_some(form, lower, upper, np.unique(form.variables[form.output]), len(form.blocks), method)
    return lower, upper


def _tighten_some(form: NormalForm, lower: Floats, upper: Floats, targets: Indices, number: int, method: str) -> None:
    """Tighten the bounds of some variables that the blocks before a number define."""
    targets = targets[_deep(form, targets)]
    if not len(targets):
        return
    blocks = form.blocks[:number]
    n = form.blocks[number].first if number < len(form.blocks) else form.n_variables
    relaxation = relax(form, lower, upper, n)
    width = min(max(_ENTRIES // sum(relaxation.matrix.shape), 1), _TARGETS)
    for start in range(0, len(targets), width):
        chunk = targets[start : start + width]
        cone = Cone(form, blocks, relaxation, chunk)
        lower[chunk] = np.maximum(lower[chunk], cone.substituted(1.0))
        upper[chunk] = np.minimum(upper[chunk], -cone.substituted(-1.0))
    if method != "linear" or not len(relaxation.unstable):
        return
    last = number == len(form.blocks)
    if not last:
        targets = targets[(lower[targets] < 0) & (upper[targets] > 0)]
    for done, target in enumerate(targets.tolist(), start=1):
        cone = Cone(form, blocks, relaxation, np.array([target]))
        if cone.n_unstable:
            lower[target] = max(lower[target], cone.optimised(1.0))
        if cone.n_unstable and (last or lower[target] < 0):
            upper[target] = min(upper[target], -cone.optimised(-1.0))
        report_step(done, len(targets), f"step {number} of {len(form.blocks)}")


def _deep(form: NormalForm, targets: Indices) -> NDArray[np.bool_]:
    """Return which variables are not defined by the input alone; the others have the best bounds already."""
    starts, indices = form.equations.indptr, form.equations.indices
    reads = np.flatnonzero(np.diff(starts) > 1)  # all but constants
    deep = np.zeros(form.n_variables, bool)
    deep[form.post] = True
    deep[form.defines[reads]] = indices[starts[1:][reads] - 2] >= form.n_inputs  # the last variable that is read
    return np.asarray(deep[targets])


# --- the part of a relaxation that some variables depend on ----------------------------------------------------------


class _Sums(NamedTuple):
    """Equations of a cone: rows, the variables that they define and read, and the transposed matrix of the latter."""

    rows: Indices
    defined: Indices
    read: Indices
    transposed: Any


class _Maxima(NamedTuple):
    """Rectifiers of a cone: arguments, values and rows of active ones, and those of unstable ones."""

    active: tuple[Indices, Indices, Indices]
    pre: Indices
    post: Indices
    below: Indices
    above: Indices
    slopes: Floats
    keeps: Floats


class Cone:
    """The part of a relaxation that some variables depend on, and the number of its rectifiers of unknown sign."""

    def __init__(self, form: NormalForm, blocks: Sequence[Block], relaxation: Relaxation, targets: Indices) -> None:
        reached = np.zeros(len(relaxation.lower), bool)
        reached[targets] = True
        kept = []  # blocks from the last to the first, and which of their definitions are reached
        for block in reversed(blocks):
            defined = (form.post if block.body is None else form.defines)[block.span]
            own = np.flatnonzero(reached[defined])
            if not len(own):
                continue
            if block.body is None:
                reached[form.pre[block.span][own]] = True
                kept.append((block, own, None))
                continue
            body = block.body if len(own) == len(defined) else block.body[own]
            reached[body.indices] = True
            kept.append((block, own, body))
        columns, rows = np.flatnonzero(reached), np.flatnonzero(reached[relaxation.owners])
        matrix = relaxation.matrix
        if len(columns) < len(reached):
            matrix = matrix[rows][:, columns]
        self.system = LinearSystem(
            matrix,
            relaxation.row_lower[rows],
            relaxation.row_upper[rows],
            relaxation.lower[columns],
            relaxation.upper[columns],
        )
        self._targets = np.searchsorted(columns, targets)
        place = np.cumsum(reached) - 1
        row = np.full(len(relaxation.owners), -1)
        row[rows] = np.arange(len(rows))
        self._steps = [self._step(form, relaxation, place, row, *step) for step in kept]
        self.n_unstable = sum(len(step.post) for step in self._steps if isinstance(step, _Maxima))

    def _step(
        self,
        form: NormalForm,
        relaxation: Relaxation,
        place: Indices,
        row: Indices,
        block: Block,
        own: Indices,
        body: Any,
    ) -> _Sums | _Maxima:
        """Return the equations that substitute the variables of a block, in the numbering of this part."""
        if body is not None:
            read, inverse = np.unique(body.indices, return_inverse=True)
            narrow = sparse.csr_array((body.data, inverse, body.indptr), shape=(len(own), len(read)))
            return _Sums(
                row[block.span.start + own],
                place[form.defines[block.span][own]],
                place[read],
                sparse.csr_array(narrow.T),
            )
        rectifiers = block.span.start + own
        on = relaxation.state[rectifiers]
        active, unstable = rectifiers[on > 0], rectifiers[on < 0]
        number = np.searchsorted(relaxation.unstable, unstable)
        first = relaxation.first_row
        below = first + len(relaxation.active) + number
        p = form.pre[unstable]
        return _Maxima(
            (
                place[form.pre[active]],
                place[form.post[active]],
                row[first + np.searchsorted(relaxation.active, active)],
            ),
            place[p],
            place[form.post[unstable]],
            row[below],
            row[below + len(relaxation.unstable)],
            relaxation.slopes[number, None],
            (relaxation.upper[p] > -relaxation.lower[p]).astype(np.float64)[:, None],
        )

    def _objectives(self, sign: float) -> Floats:
        objectives = np.zeros((len(self.system.lower), len(self._targets)))
        objectives[self._targets, np.arange(len(self._targets))] = sign
        return objectives

    def substituted(self, sign: float) -> Floats:
        """Return lower bounds of the variables times a sign, by substitution of their definitions.

        A rectifier is replaced by the line above it where its coefficient is negative, and otherwise by the better of
        the two lines below it, 0 and its argument.
        """
        objectives = self._objectives(sign)
        rest = objectives.copy()
        multipliers = np.zeros((len(self.system.row_lower), rest.shape[1]))
        for step in self._steps:
            if isinstance(step, _Sums):
                own = rest[step.defined]
                multipliers[step.rows] = -own
                rest[step.read] += step.transposed @ own
                continue
            pre, post, rows = step.active
            multipliers[rows] = rest[post]
            rest[pre] += rest[post]
            own = rest[step.post]
            multipliers[step.below] = step.keeps * np.maximum(own, 0)
            multipliers[step.above] = np.minimum(own, 0)
            rest[step.pre] += multipliers[step.below] + step.slopes * multipliers[step.above]
        return self.system.bounds(objectives, multipliers)

    def optimised(self, sign: float) -> float:
        """Return a lower bound of the first variable times a sign, by a linear program; minus infinity if it fails."""
        system = self.system
        objective = self._objectives(sign)[:, :1]
        equal = system.row_lower == system.row_upper
        below, above = (~equal & np.isfinite(rows) for rows in (system.row_lower, system.row_upper))
        solve: Any = linprog  # SciPy's stubs do not know sparse arrays
        solved = solve(
            objective[:, 0],
            A_ub=sparse.vstack([-system.matrix[below], system.matrix[above]], format="csr"),
            b_ub=np.concatenate([-system.row_lower[below], system.row_upper[above]]),
            A_eq=system.matrix[equal],
            b_eq=system.row_lower[equal],
            bounds=np.stack([system.lower, system.upper], axis=1),
            method="highs-ipm" if system.matrix.nnz > _LARGE else "highs-ds",
        )
        if solved.status != 0:
            return -np.inf
        multipliers = np.zeros((len(equal), 1))
        multipliers[equal, 0] = solved.eqlin.marginals
        n_below = int(below.sum())
        multipliers[below, 0] -= solved.ineqlin.marginals[:n_below]
        multipliers[above, 0] += solved.ineqlin.marginals[n_below:]
        return float(system.bounds(objective, multipliers)[0])
