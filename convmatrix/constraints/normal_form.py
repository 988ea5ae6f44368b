"""Networks on a box in rectifier normal form: sparse equations, and variables that are rectified others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import memory
from convmatrix import options as validate
from convmatrix.arrays import KeepsReadOnly
from convmatrix.constraints.affine_maps import affine_bounds, exact_array, exact_product
from convmatrix.constraints.equation_builder import EquationBuilder
from convmatrix.constraints.piecewise import add_node, n_terms
from convmatrix.network import as_network
from convmatrix.network.intervals import box_bounds

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from convmatrix.arrays import Array

    Indices = NDArray[np.int64]
    Floats = NDArray[np.float64]

EQUATIONS: Final = 0
RECTIFIERS: Final = 1
"""The two kinds of steps in `NormalForm.order`."""

COMPLEMENT: Final = 0
MAXIMUM: Final = 1
MINIMUM: Final = 2
"""The kinds of `NormalForm.extrema`."""

_BYTES: Final = 128  # per term, with the arrays in which terms are sorted


@dataclass(frozen=True)
class Block(KeepsReadOnly):
    """Equations or rectifiers of a normal form that depend on earlier blocks only: the numbers in ``span``.

    ``first`` is the first variable that they define; the others follow it. ``body`` has the equations without these
    variables, and is None for rectifiers. ``extrema`` are those rows of `NormalForm.extrema` that the equations define.
    """

    span: slice
    first: int
    body: Any
    extrema: Indices


@dataclass(frozen=True, eq=False, repr=False)
class NormalForm(KeepsReadOnly):
    r"""A network on a box as sparse equations and rectifiers, in exact arithmetic.

    .. math:: E v = e, \qquad v_{post} = \max(v_{pre}, 0), \qquad l \le v \le u

    Every piecewise linear network has this form, with further variables. The variables of the input come first; each
    other one is defined once, by an equation in which its coefficient is -1 or as a rectified variable, from earlier
    ones. An output that is an entry of an earlier node shares its variable. No entry of E or e is the rounded result of
    arithmetic on weights, so the form is the network in real arithmetic with its float64 weights. Quotients are exact
    only where float64 holds them: averages and linear interpolation have the float64 entries of `Network.affine`
    (the average of 49 ones is below 1 by 8e-17), and imported divisions and batch normalisation float64 constants.

    Made by `normal_form`.

    Attributes
    ----------
    equations : csr_array, shape (m, n_variables), float64
        E; its entries are not 0, sorted and without duplicates.
    right : array, shape (m,)
        e.
    defines : array of int, shape (m,)
        Equation i defines the variable ``defines[i]``.
    pre, post : arrays of int, shape (n_rectifiers,)
    order : array of int, shape (n_steps, 3)
        Steps in the order of the definitions: ``(EQUATIONS, start, stop)`` or ``(RECTIFIERS, start, stop)``. What is
        defined in a step depends on earlier steps only.
    variables : dict of str to array of int
        The variables of the raveled values of each node.
    lower, upper : arrays, shape (n_variables,)
        Bounds by interval arithmetic, rounded outwards; those of the input are the box.
    input, output : str
        Names of the input and output nodes.
    shapes : dict of str to tuple of int
        The shape of each node's values.

    Examples
    --------
    >>> import convmatrix as cm
    >>> from convmatrix.network import Convolution, Elementwise, Network
    >>> network = Network([Convolution(cm.ConvGeometry(3, 2), [1, -1]), Elementwise("relu")])
    >>> form = normal_form(network, -1, 1)
    >>> form
    NormalForm(7 variables, 2 equations, 2 rectifiers, input 'input' (1, 3), output 'elementwise 2')
    >>> form.equations.toarray()
    array([[ 1., -1.,  0., -1.,  0.,  0.,  0.],
           [ 0.,  1., -1.,  0., -1.,  0.,  0.]])
    >>> form.pre, form.post, form.variables["elementwise 2"]
    (array([3, 4]), array([5, 6]), array([5, 6]))
    >>> form.upper
    array([1., 1., 1., 2., 2., 2., 2.])
    >>> form.complete(np.array([[1, 0, 5]]))
    array([ 1,  0,  5,  1, -5,  1,  0])
    """

    equations: Any
    right: Floats
    defines: Indices
    pre: Indices
    post: Indices
    order: Indices
    variables: Mapping[str, Indices]
    lower: Floats
    upper: Floats
    input: str
    output: str
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input."""
        return self.shapes[self.input]

    @property
    def n_inputs(self) -> int:
        """Number of variables of the input, which come first."""
        return math.prod(self.input_shape)

    @property
    def n_variables(self) -> int:
        """Number of variables."""
        return int(self.equations.shape[1])

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The steps of the order, with the entries of their equations."""
        nothing = np.zeros((0, 4), np.int64)
        blocks = []
        for kind, start, stop in self.order.tolist():
            span = slice(start, stop)
            if kind == RECTIFIERS:
                blocks.append(Block(span, int(self.post[start]), None, nothing))
                continue
            ends = np.searchsorted(self.extrema[:, 0], [self.defines[start], self.defines[stop - 1] + 1])
            blocks.append(Block(span, int(self.defines[start]), self._bodies[span], self.extrema[slice(*ends)]))
        return tuple(blocks)

    @cached_property
    def _bodies(self) -> Any:
        """The equations without the variables that they define."""
        bodies = self.equations.copy()
        rows = np.repeat(np.arange(bodies.shape[0]), np.diff(bodies.indptr))
        bodies.data[bodies.indices == self.defines[rows]] = 0
        bodies.eliminate_zeros()
        return bodies

    @cached_property
    def extrema(self) -> Indices:
        r"""Maxima and minima of two variables, recognised from their equations: their bounds follow from those of both.

        Rows (y, kind, a, b). With a rectifier r = max(d, 0):

        - `COMPLEMENT`: y = r - d is max(-d, 0); a is d.
        - `MAXIMUM`: y = b + r with d = a - b is max(a, b).
        - `MINIMUM`: y = a - r with d = a - b is min(a, b).
        """
        bodies, n = self._bodies, self.n_variables
        pairs = np.flatnonzero((np.diff(bodies.indptr) == 2) & (self.right == 0))
        entries = bodies.indptr[pairs][:, None] + np.arange(2)
        columns, signs = bodies.indices[entries].astype(np.int64), bodies.data[entries]  # (k, 2)
        rectifier, pair = np.full(n, -1), np.full(n, -1)
        rectifier[self.post], pair[self.defines[pairs]] = np.arange(len(self.post)), np.arange(len(pairs))
        other, number = columns[:, 0], rectifier[columns[:, 1]]
        d = np.append(self.pre, -1)[number]
        above = np.append(pair, -1)[d]  # the equation of d
        a, b = np.append(columns, [[-1, -1]], axis=0)[above].T
        difference = (number >= 0) & (above >= 0) & (np.append(signs, [[0, 0]], axis=0)[above] == [1, -1]).all(axis=1)
        rows = []
        for kind, pattern, match in (
            (COMPLEMENT, [-1, 1], (number >= 0) & (other == d)),
            (MAXIMUM, [1, 1], difference & (other == b)),
            (MINIMUM, [1, -1], difference & (other == a)),
        ):
            found = np.flatnonzero(match & (signs == pattern).all(axis=1))
            first = d[found] if kind == COMPLEMENT else a[found]
            rows.append(np.stack([self.defines[pairs[found]], np.full(len(found), kind), first, b[found]], axis=1))
        joined = np.concatenate(rows)
        return joined[np.argsort(joined[:, 0])]

    def complete(self, x: ArrayLike) -> Array:
        """Return the values of all variables at an input.

        Parameters
        ----------
        x : array_like, shape input_shape or (batch, *input_shape)
            float32 and float64 are computed in float64. Integers, and objects such as `fractions.Fraction`, are
            computed exactly.

        Returns
        -------
        array, shape (n_variables,) or (batch, n_variables)
            Of float64, or exact: of int64 where all values are integers that it holds, or otherwise of integers and
            fractions as objects.
        """
        x = validate.array("x", x)
        n_axes = len(self.input_shape)
        if x.shape[max(x.ndim - n_axes, 0) :] != self.input_shape or x.ndim > n_axes + 1:
            raise ValueError(f"the input has shape {self.input_shape}, but was given an array of shape {x.shape}")
        lead = x.shape[: x.ndim - n_axes]
        rows = x.reshape(math.prod(lead), -1).T  # (n_inputs, batch)
        if x.dtype.kind == "f":
            values = self._complete(rows.astype(np.float64), lambda body, v: body @ v, self.right)
        elif x.dtype.kind in "iub" and self._fits(rows):
            right = self.right.astype(np.int64)
            values = self._complete(rows.astype(np.int64), lambda body, v: body.astype(np.int64) @ v, right)
        else:
            values = self._complete(rows.astype(object), exact_product, exact_array(self.right))
        return np.ascontiguousarray(values.T).reshape(*lead, self.n_variables)

    def _complete(self, rows: Array, multiply: Callable[[Any, Array], Array], right: Array) -> Array:
        values = np.zeros((self.n_variables, rows.shape[1]), rows.dtype)
        values[: self.n_inputs] = rows
        for block in self.blocks:
            if block.body is None:
                values[self.post[block.span]] = np.maximum(values[self.pre[block.span]], 0)
            else:
                values[self.defines[block.span]] = multiply(block.body, values) - right[block.span, None]
        return values

    def _fits(self, rows: Array) -> bool:
        """Return whether all values for integer inputs are integers below 2**53, with their partial sums."""
        if any((np.rint(weights) != weights).any() for weights in (self.equations.data, self.right)):
            return False
        largest = np.zeros(self.n_variables)
        largest[: self.n_inputs] = np.abs(rows.astype(np.float64)).max(axis=1, initial=0)
        for block in self.blocks:
            if block.body is None:
                largest[self.post[block.span]] = largest[self.pre[block.span]]
            else:
                largest[self.defines[block.span]] = abs(block.body) @ largest + np.abs(self.right[block.span])
        return bool(largest.max(initial=0) < 2**53)

    def propagate(self, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
        """Return bounds of all variables that follow, forwards through equations and rectifiers, from given ones.

        Those of the input must be finite. The result is within the given bounds, and rounded outwards; if a lower bound
        exceeds the upper one, there is no such point.
        """
        lower, upper = lower.copy(), upper.copy()
        for block in self.blocks:
            self.step(block, lower, upper)
        return lower, upper

    def step(self, block: Block, lower: Floats, upper: Floats) -> None:
        """Narrow, in place, the bounds of the variables of a block by those of the variables that it reads."""
        if block.body is None:
            pre, own = self.pre[block.span], self.post[block.span]
            low, high = np.maximum(lower[pre], 0), np.maximum(upper[pre], 0)
        else:
            own = self.defines[block.span]
            low, high = affine_bounds(block.body, -self.right[block.span], lower, upper)
            _narrow(block, low, high, lower, upper)
        lower[own], upper[own] = np.maximum(lower[own], low), np.minimum(upper[own], high)

    def __repr__(self) -> str:
        return (
            f"NormalForm({self.n_variables} variables, {len(self.right)} equations, {len(self.pre)} rectifiers, "
            f"input {self.input!r} {self.input_shape}, output {self.output!r})"
        )


def _narrow(block: Block, low: Floats, high: Floats, lower: Floats, upper: Floats) -> None:
    """Narrow the bounds of the variables that a block defines by those of the maxima and minima among them."""
    for kind in (COMPLEMENT, MAXIMUM, MINIMUM):
        y, _, a, b = block.extrema[block.extrema[:, 1] == kind].T
        place = y - block.first
        if kind == COMPLEMENT:
            below, above = np.maximum(-upper[a], 0), np.maximum(-lower[a], 0)
        else:
            choose = np.maximum if kind == MAXIMUM else np.minimum
            below, above = choose(lower[a], lower[b]), choose(upper[a], upper[b])
        low[place], high[place] = np.maximum(low[place], below), np.minimum(high[place], above)


def normal_form(network: Any, lower: ArrayLike, upper: ArrayLike, name: str | None = None) -> NormalForm:
    """Return a network on a box of inputs in rectifier normal form.

    Parameters
    ----------
    network : Network, or anything that describes one
        Its nodes must be linear or piecewise linear and continuous.
    lower, upper : array_like
        The box; they broadcast to the input's shape.
    name : str, optional
        The node that is the output, by default the network's first output. Later nodes are left out.

    Returns
    -------
    NormalForm

    Raises
    ------
    ValueError
        If a node is not piecewise linear or has no weights, the box is not finite or empty, or values have no finite
        bounds; the message names the node or the entry.
    MatrixTooLargeError
        If the equations would not fit in memory.

    Examples
    --------
    >>> from convmatrix.network import Elementwise, Input, Network
    >>> form = normal_form(Network([Input((2,)), Elementwise("leaky_relu", {"slope": 0.5})]), -1, [2, 4])
    >>> form.pre, form.post
    (array([0, 1]), array([2, 3]))
    >>> form.lower[form.variables["elementwise 2"]], form.upper[form.variables["elementwise 2"]]
    (array([-0.5, -0.5]), array([2., 4.]))
    """
    network = as_network(network)
    output = network[network.outputs[0] if name is None else name].name
    part = network.until(output)
    terms = sum(map(n_terms, part.nodes))
    memory.require(
        _BYTES * terms,
        f"the equations of {part.name}, with about {terms} terms,",
        "encode a smaller network, or a part of it by name=",
    )
    box = [end.ravel() for end in box_bounds(part.input_shape, lower, upper)]
    builder = EquationBuilder(math.prod(part.input_shape))
    variables: dict[str, Indices] = {part.input.name: np.arange(math.prod(part.input_shape))}
    for node in part.nodes[1:]:
        variables[node.name] = add_node(builder, node, [variables[source] for source in node.inputs])
    equations, right, defines, pre, post, order = builder.finish()
    unbounded = np.full(builder.n_variables, np.inf)
    shapes = {node.name: node.output_shape for node in part.nodes}
    form = NormalForm(
        equations, right, defines, pre, post, order, variables, -unbounded, unbounded, part.input.name, output, shapes
    )
    first, last = -unbounded, unbounded.copy()
    first[variables[part.input.name]], last[variables[part.input.name]] = box
    bounds = form.propagate(first, last)
    infinite = ~(np.isfinite(bounds[0]) & np.isfinite(bounds[1]))
    if infinite.any():
        node_name = next(node for node, places in variables.items() if infinite[places].any())
        raise ValueError(f"the values of node {node_name!r} have no finite bounds on this box; make the box smaller")
    for low_or_high in bounds:
        low_or_high.flags.writeable = False
    form.__dict__.update(lower=bounds[0], upper=bounds[1])
    return form
