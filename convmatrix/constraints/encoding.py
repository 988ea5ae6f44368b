"""Networks on boxes as mixed-integer linear constraints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint

from convmatrix.constraints.mps import column_names, write_mps
from convmatrix.constraints.normal_form import normal_form
from convmatrix.constraints.relaxation import rows_of
from convmatrix.constraints.tightening import tighten as tighten_bounds
from convmatrix.display.tables import ShownAsTable, Table, by, facts
from convmatrix.network.operations import real_array
from convmatrix.progress import reporting

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.arrays import Array
    from convmatrix.constraints.normal_form import NormalForm
    from convmatrix.constraints.tightening import Tightening
    from convmatrix.progress import Progress

    Indices = NDArray[np.int64]
    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Constraints(ShownAsTable):
    r"""A network on a box as mixed-integer linear constraints on a vector of variables.

    .. math:: l \le A v \le u, \qquad b_l \le v \le b_u, \qquad v_j \in \mathbb Z \text{ for some } j

    A point of these constraints is an input in the box together with all values that the network computes from it, and
    every such input has exactly one point, up to the choice of a phase at a kink. Made by `encode`.

    Attributes
    ----------
    A : csr_array, shape (m, n)
    lower, upper : arrays, shape (m,)
        Bounds of the rows; infinite where there is none.
    bounds : scipy.optimize.Bounds
        Bounds of the variables; infinite for arguments of rectifiers that are 0 on the whole box, whose values follow
        from the other variables.
    integrality : array, shape (n,)
        1 for the phases of rectifiers, which are 0 or 1, and 0 for other variables.
    variables : dict of str to array of int
        The variables that hold the values of each node, in the shape of its output.
    form : NormalForm
        Equations and rectifiers; its variables come first, and its bounds are the ones found for all variables.
    rectifiers : array of int
        The rectifiers with a phase, whose variables come last.

    Examples
    --------
    The largest output of a small network:

    >>> import numpy as np
    >>> from scipy.optimize import milp
    >>> from convmatrix.network import Elementwise, FullyConnected, Input, Network
    >>> network = Network([
    ...     Input((2,)),
    ...     FullyConnected(2, 2, [[1, 1], [1, -1]], False), Elementwise("relu"), FullyConnected(2, 1, [[2, -1]], [0.5]),
    ... ])
    >>> constraints = encode(network, -1, 1)
    >>> constraints
    Constraints(9 variables, 2 of them integer, 9 rows, input 'input' (2,), output 'dense 4' (1,))
    >>> objective = constraints.objective("dense 4", [-1])
    >>> best = milp(objective, constraints=constraints.constraints(), bounds=constraints.bounds,
    ...             integrality=constraints.integrality)
    >>> round(best.fun, 6), best.x[constraints.variables["input"]]
    (-4.5, array([1., 1.]))
    """

    A: Any
    lower: Floats
    upper: Floats
    bounds: Bounds
    integrality: NDArray[np.uint8]
    variables: Mapping[str, Indices]
    form: NormalForm
    rectifiers: Indices

    def constraints(self) -> LinearConstraint:
        """Return the rows for `scipy.optimize.milp`."""
        return LinearConstraint(self.A, self.lower, self.upper)

    def objective(self, name: str, weights: ArrayLike) -> Floats:
        """Return the weights of all variables for a weighted sum of the values of a node.

        Parameters
        ----------
        name : str
        weights : array_like
            They broadcast to the node's shape. `scipy.optimize.milp` minimises; change the signs to maximise.
        """
        if name not in self.variables:
            raise KeyError(f"there is no node {name!r}; there are {', '.join(self.variables)}")
        places = self.variables[name]
        objective = np.zeros(self.A.shape[1])
        np.add.at(objective, places, np.broadcast_to(real_array("weights", weights, "biuf"), places.shape))
        return objective

    def complete(self, x: ArrayLike) -> Array:
        """Return all variables at an input: see `NormalForm.complete`; phases are 1 where the argument is positive."""
        values = self.form.complete(x)
        phases = (values[..., self.form.pre[self.rectifiers]] > 0).astype(values.dtype)
        return np.concatenate([values, phases], axis=-1)

    @cached_property
    def names(self) -> list[str]:
        """The names of the variables in files: the node's name and the index in its output."""
        return column_names(self.variables, self.form.n_variables, self.rectifiers)

    def to_mps(self, path: str | os.PathLike[str], objective: ArrayLike | None = None) -> None:
        """Write the constraints as a file in the free MPS format, which every solver reads.

        Numbers are written so that they are read back exactly. The file is written atomically.

        Parameters
        ----------
        path : str or path
        objective : array_like, shape (n,), optional
            What is minimised; by default 0.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> from convmatrix.network import Elementwise, Input, Network
        >>> constraints = encode(Network([Input((1,)), Elementwise("relu")]), -1, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "network.mps")
        ...     constraints.to_mps(path, constraints.objective("elementwise 2", [1]))
        ...     print(path.read_text())
        NAME network
        ROWS
         N objective
         G r0
         L r1
         L r2
        COLUMNS
         input.0 r0 -1.0
         ...
         MARKER2 'MARKER' 'INTORG'
         phase.0 r1 1.0
         phase.0 r2 -1.0
         MARKER3 'MARKER' 'INTEND'
        RHS
         RHS r1 1.0
        BOUNDS
         ...
         BV BND phase.0
        ENDATA
        """
        weights = np.zeros(self.A.shape[1]) if objective is None else np.asarray(objective, np.float64)
        if weights.shape != (self.A.shape[1],):
            raise ValueError(
                f"objective has shape {weights.shape}, but there are {self.A.shape[1]} variables; use .objective()"
            )
        write_mps(
            path,
            weights,
            self.A,
            (self.lower, self.upper),
            (self.bounds.lb, self.bounds.ub),
            self.integrality != 0,
            self.names,
        )

    def _table(self) -> Table:
        form, phases = self.form, len(self.rectifiers)
        values = {
            "variables": f"{self.A.shape[1]:,}, {phases:,} of them integer",
            "rows": f"{self.A.shape[0]:,}, {self.A.nnz:,} nonzeros",
            "rectifiers": f"{len(form.pre):,}, {phases:,} of unknown sign on the box",
            "input": f"{form.input}, {by(self.variables[form.input].shape)}",
            "output": f"{form.output}, {by(self.variables[form.output].shape)}",
        }
        return facts("Mixed-integer linear constraints", values)

    def __repr__(self) -> str:
        form = self.form
        return (
            f"Constraints({self.A.shape[1]} variables, {len(self.rectifiers)} of them integer, {self.A.shape[0]} rows, "
            f"input {form.input!r} {self.variables[form.input].shape}, "
            f"output {form.output!r} {self.variables[form.output].shape})"
        )


def encode(
    network: Any,
    lower: ArrayLike,
    upper: ArrayLike,
    name: str | None = None,
    *,
    tighten: Tightening = "symbolic",
    progress: Progress = None,
) -> Constraints:
    r"""Return a network on a box of inputs as sparse mixed-integer linear constraints.

    Linear operations are equations, exactly as they are in the network: convolutions and transposed convolutions with
    any groups, strides, dilations, padding and boundary. (Averages, linear interpolation and divisions by a constant
    are those with the float64 entries of the node's matrix, see `NormalForm`.) A rectifier q = max(p, 0) whose argument
    has bounds l < 0 < u has a phase z, which is 0 or 1, and the rows (big-M, with the bounds as the constants)

    .. math:: q \ge p, \quad q \le p - l (1 - z), \quad q \le u z, \quad q \ge 0.

    A rectifier whose argument has one sign needs no phase. All other piecewise linear functions are made of rectifiers:
    see `normal_form`.

    Parameters
    ----------
    network : Network, or anything that describes one
    lower, upper : array_like
        The box; they broadcast to the input's shape.
    name : str, optional
        The output node, by default the network's first output. Later nodes are left out: to encode the logits of a
        classifier, name the node before its softmax.
    tighten : {"interval", "symbolic", "linear"}
        How the bounds of rectifiers are computed: by interval arithmetic alone; also by substitution backwards (the
        default), which takes about a second for thousands of rectifiers and gives far tighter bounds; and then by two
        linear programs for each rectifier that still has both signs, which takes seconds per rectifier for a layer that
        depends on thousands of others. Tighter bounds make the constraints easier to solve.
    progress : bool or callable, optional
        As for `convmatrix.progress.reporting`; a callable is called after every linear program of a block of
        rectifiers.

    Returns
    -------
    Constraints

    Raises
    ------
    ValueError
        If a node is not piecewise linear or has no weights, the box is not finite or empty, or values have no finite
        bounds.
    MatrixTooLargeError
        If the constraints would not fit in memory.

    Examples
    --------
    >>> import convmatrix as cm
    >>> from convmatrix.network import Convolution, Elementwise, Network
    >>> network = Network([Convolution(cm.ConvGeometry(3, 2), [1, -1]), Elementwise("relu")])
    >>> constraints = encode(network, [0, 0, 2], [1, 3, 3])
    >>> constraints.bounds.lb[constraints.variables["convolution 1"]]
    array([[-3., -3.]])
    """
    form = normal_form(network, lower, upper, name)
    with reporting(progress, "bounds of rectifiers"):
        low, high = tighten_bounds(form, tighten)
    n = form.n_variables
    active = np.flatnonzero(low[form.pre] >= 0)
    unstable = np.flatnonzero((low[form.pre] < 0) & (high[form.pre] > 0))
    k, places = len(unstable), np.arange(n, n + len(unstable))
    p, q, one = form.pre[unstable], form.post[unstable], np.ones(k)
    equations = sparse.csr_array(
        (form.equations.data, form.equations.indices, form.equations.indptr), shape=(len(form.right), n + k)
    )
    blocks: list[tuple[Any, Any, Any]] = [
        (equations, form.right, form.right),
        (rows_of([(1.0, form.post[active]), (-1.0, form.pre[active])], n + k), 0.0, 0.0),
        (rows_of([(1.0, q), (-1.0, p)], n + k), 0.0, np.inf),
        (rows_of([(1.0, q), (-1.0, p), (-low[p], places)], n + k), -np.inf, -low[p]),
        (rows_of([(1.0, q), (-high[p], places)], n + k), -np.inf, 0.0),
    ]
    free = _unread(form, active, unstable)
    rows = [(np.broadcast_to(a, matrix.shape[0]), np.broadcast_to(b, matrix.shape[0])) for matrix, a, b in blocks]
    return Constraints(
        sparse.csr_array(sparse.vstack([matrix for matrix, _, _ in blocks], format="csr")),
        np.concatenate([a for a, _ in rows]),
        np.concatenate([b for _, b in rows]),
        Bounds(
            np.concatenate([np.where(free, -np.inf, low), np.zeros(k)]),
            np.concatenate([np.where(free, np.inf, high), one]),
        ),
        np.concatenate([np.zeros(n, np.uint8), np.ones(k, np.uint8)]),
        {node: part.reshape(form.shapes[node]) for node, part in form.variables.items()},
        replace(form, lower=low, upper=high),
        unstable,
    )


def _unread(form: NormalForm, active: Indices, unstable: Indices) -> NDArray[np.bool_]:
    """Return which variables nothing depends on, the arguments of rectifiers that are 0.

    Solvers remove them at once if they have no bounds; these follow from their equations.
    """
    free = np.zeros(form.n_variables, bool)
    free[form.pre] = True
    for used in (form.pre[active], form.pre[unstable], form.variables[form.output], np.arange(form.n_inputs)):
        free[used] = False
    for block in form.blocks:
        if block.body is not None:
            free[block.body.indices] = False
    return free
