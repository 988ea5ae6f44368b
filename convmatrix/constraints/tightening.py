"""Bounds of rectified variables, tightened by substitution backwards and by linear programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from convmatrix import options as validate
from convmatrix.constraints.cones import Cone
from convmatrix.constraints.relaxation import relax
from convmatrix.progress import report_step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.constraints.normal_form import NormalForm

    Indices = NDArray[np.int64]
    Floats = NDArray[np.float64]

Tightening = Literal["interval", "symbolic", "linear"]

_TARGETS: Final = 128  # variables whose bounds are computed together, at most
_ENTRIES: Final = 2**23  # of an array with one column for each of them


def tighten(form: NormalForm, method: Tightening = "symbolic") -> tuple[Floats, Floats]:
    """Return bounds of all variables of a normal form, tighter than by interval arithmetic.

    Layer by layer, the bounds of the variables that rectifiers read, if they have both signs, and those of the output
    are replaced by better ones; intervals are propagated from these.

    Parameters
    ----------
    form : NormalForm
    method : {"interval", "symbolic", "linear"}
        ``"interval"`` returns the bounds of the form. ``"symbolic"`` substitutes backwards, with each rectifier
        replaced by a line below or above it (Zhang, Weng, Chen, Hsieh, Daniel, 2018; Singh, Gehr, Püschel, Vechev,
        2019). ``"linear"`` then solves two linear programs per variable that still has both signs, over the relaxation
        of each rectifier by a triangle (Ehlers, 2017).

    Returns
    -------
    lower, upper : arrays, shape (n_variables,)
        Never too narrow: whatever multipliers a method finds, the bound that follows from them is rounded outwards.
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
    deep[form.defines[reads]] = indices[starts[1:][reads] - 2] >= form.n_inputs  # the latest variable that is read
    return np.asarray(deep[targets])
