r"""Bounds on Lipschitz constants from node to node of a network.

The value of every node is :math:`\sum_s M_s z_s` plus a constant, with *sources* s: the input, and the nodes that are
not linear. If each source has a Lipschitz constant of at most :math:`L_s` as a function of the input, the value has one
of at most :math:`\sum_s \|M_s\| L_s`, and also of at most :math:`\|[M_1, M_2, \ldots]\|` times that of all sources
together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse

from convmatrix.arrays import EPSILON
from convmatrix.network import (
    Addition,
    Concatenation,
    Elementwise,
    Extremum,
    Input,
    MatrixProduct,
    Network,
    Node,
    Normalisation,
    Opaque,
    ParametricReLU,
    Product,
)
from convmatrix.network.boxes import sum_broadcast
from convmatrix.network.entrywise import spread
from convmatrix.network.function_ranges import least_variance, slope_range
from convmatrix.spectral.directed_rounding import added, root_of_squares, scaled, times, unscaled, up
from convmatrix.spectral.map_forms import level
from convmatrix.spectral.map_norms import LinearMap, Norms, chain, matrix_norm
from convmatrix.spectral.node_maps import (
    diagonal_map,
    identity_map,
    joined,
    lacks_weights,
    node_map,
    operation_norm,
    stack,
)
from convmatrix.spectral.node_norms import NoBoundError, unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convmatrix.arrays import Array

    Interval = tuple[Array, Array]
    Parts = dict[str, LinearMap]
    Found = tuple[float, str]

_MOST_SOURCES: Final = 4  # of a linear map; beyond, its own bound takes their place
_MOST_SPLIT_SOURCES: Final = 8
_MOST_JOINT: Final = 3000  # entries of samples whose maps from several sources are also bounded together
_FAR: Final = np.full(1, 1e300)
_RISING: Final = ("asinh", "atan", "erf", "log_sigmoid", "sigmoid", "softplus", "softsign")


@dataclass(eq=False)
class LipschitzPropagation:
    """Bounds on the Lipschitz constants of the nodes of a network as functions of its input.

    ``box`` has bounds on the values of nodes, if they are known, and ``limits`` those of factors of products.
    With ``split``, an elementwise function is split into the multiplication by the centres of its slopes, which is
    linear, and a rest. It costs more maps, and their norms are those of longer chains.
    """

    network: Network
    norms: Norms
    box: dict[str, Interval]
    limits: dict[str, Interval]
    split: bool = False
    parts: dict[str, Parts] = field(default_factory=dict)
    sources: dict[str, float] = field(default_factory=dict)
    origins: dict[str, Parts] = field(default_factory=dict)
    how: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    _best: dict[str, float] = field(default_factory=dict)
    _stacks: dict[tuple[str, ...], float] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """Bound one more node; those that it reads come before."""
        if isinstance(node.operation, Input):
            self._make_source(node, 1.0, "the input")
        elif isinstance(node.operation, Opaque):
            self._refuse(node, f"the operator {node.operation.operator} is not known")
        elif reason := unusable(node.operation):
            self._refuse(node, reason)
        elif isinstance(node.operation, Elementwise | ParametricReLU):
            self._add_entrywise(node)
        elif node.linear and lacks_weights(node):
            self._refuse(node, "the node has no weights")
        elif node.linear:
            self._add_linear(node)
        else:
            try:
                self._make_source(node, *self._nonlinear(node))
            except NoBoundError as error:
                self._refuse(node, str(error))

    def best(self, name: str) -> float:
        """Return the smallest bound on the Lipschitz constant of a node."""
        waiting = [name]  # what a node reads comes before it: a recursion could be too deep
        while waiting:
            node = self.network[waiting[-1]]
            if node.name not in self._best:
                parts = self.parts[node.name]
                forward = len(parts) > 1 or not all(linear.suffices for linear in parts.values())
                missing = [source for source in node.inputs if forward and source not in self._best]
                if missing:
                    waiting += missing
                    continue
                self._best[node.name], self.how[node.name] = self._smallest(node, forward=forward)
            waiting.pop()
        return self._best[name]

    def _smallest(self, node: Node, *, forward: bool) -> Found:
        """Return the smaller of the bounds from the sources and, if it may be better, from the inputs of a node."""
        value, how = self._region(self.parts[node.name])
        single = self._forward(node) if forward else math.inf
        if single < value * (1 - 1e-9):
            how = f"norm of {node.kind} times L({', '.join(node.inputs)})"
        return min(value, single), how

    def derivation(self, name: str) -> dict[str, Any]:
        """Return the bound of a node, if it was computed, and a text that says how."""
        return {"bound": self._best.get(name), "how": self.how.get(name, "")}

    def _refuse(self, node: Node, reason: str) -> None:
        self.reasons[node.name] = reason
        self._make_source(node, math.inf, f"no bound: {reason}")

    def _make_source(self, node: Node, bound: float, how: str, support: Array | None = None) -> None:
        """Let later nodes refer to a node by its bound; entries outside of the support do not depend on the input."""
        shape = node.output_shape
        start = identity_map(shape) if support is None or support.all() else _mask(support.reshape(shape or (1,)))
        self.parts[node.name] = {node.name: start}
        self.sources[node.name] = self._best[node.name] = bound
        self.how[node.name] = how

    # --- linear nodes ------------------------------------------------------------------------------------------------

    def _add_linear(self, node: Node) -> None:
        if isinstance(node.operation, Addition | Concatenation):
            self.parts[node.name] = joined(node, [self.parts[source] for source in node.inputs])
        else:
            self.parts[node.name] = self._chained(node_map(node, self.norms), node.inputs[0])
        try:
            if len(self.parts[node.name]) > (_MOST_SPLIT_SOURCES if self.split else _MOST_SOURCES):
                value = self.best(node.name)
                self._make_source(node, value, self.how[node.name])
        except NoBoundError as error:
            self._refuse(node, str(error))

    def _region(self, parts: Parts, after: LinearMap | None = None) -> Found:
        """Return a bound for the sum of maps from sources, and how it was found; ``after`` follows all maps."""
        bounds, words = [], []
        for source, linear in parts.items():
            whole = linear if after is None else chain(after, linear)
            norm, how = self.norms.of(whole)
            bound = self.sources[source]
            bounds.append(times(norm, bound))
            names = ", ".join(whole.names)
            words.append(f"{norm:.6g} L({source}) [{how}: {names}]" if names else f"L({source})")
        value = added(bounds) if len(bounds) > 1 else bounds[0]
        if len(parts) > 1 and math.isfinite(value):
            joint = self._joint(parts, after)
            if joint < value:
                return joint, f"L({', '.join(parts)}) together, in one matrix"
        return value, " + ".join(words)

    def _joint(self, parts: Parts, after: LinearMap | None) -> float:
        """Return the norm of the maps side by side times the bound of all sources together; infinite if too large."""
        sizes = [math.prod(self.network[source].output_shape) for source in parts]
        if sum(sizes) > _MOST_JOINT:
            return math.inf
        forms = [(linear if after is None else chain(after, linear)).matrix for linear in parts.values()]
        whole = level([form for form in forms if form is not None])
        if len(whole) < len(forms) or whole[0].value.shape[0] > _MOST_JOINT:
            return math.inf
        norm = matrix_norm(sparse.hstack([form.value for form in whole], format="csr"))
        norm = unscaled(added([norm, *(form.error for form in whole)]), whole[0].exponent)
        return times(norm, self._together(tuple(parts)))

    def _together(self, names: tuple[str, ...]) -> float:
        """Return a bound on the Lipschitz constant of several sources as one vector."""
        if names not in self._stacks:
            value = root_of_squares(self.sources[name] for name in names)
            # A source that is a function of the entries of a linear value varies at most as its slopes times that.
            origins = [self.origins.get(name, {name: identity_map(self.network[name].output_shape)}) for name in names]
            shapes = tuple(self.network[name].output_shape for name in names)
            if any(name in self.origins for name in names) and sum(map(math.prod, shapes)) <= _MOST_JOINT:
                flat = tuple((math.prod(shape),) for shape in shapes)
                value = min(value, self._stack_bound(origins, flat))
            self._stacks[names] = value
        return self._stacks[names]

    def _stack_bound(self, inputs: Sequence[Parts], shapes: tuple[tuple[int, ...], ...]) -> float:
        """Return a bound for several values as one vector, from their maps."""
        bounds = []
        for source in dict.fromkeys(source for parts in inputs for source in parts):
            norm, _ = self.norms.of(stack(source, inputs, shapes))
            bounds.append(times(norm, self.sources[source]))
        return added(bounds)

    def _forward(self, node: Node) -> float:
        """Return a bound from the norm of one linear node and the bounds of its inputs."""
        n_out, inputs = math.prod(node.output_shape), [self.best(source) for source in node.inputs]
        if isinstance(node.operation, Addition):
            repeats = [math.sqrt(n_out // math.prod(shape)) for shape in node.input_shapes]
            return added(times(up(root), bound) for root, bound in zip(repeats, inputs, strict=True))
        if isinstance(node.operation, Concatenation):
            return root_of_squares(inputs)
        return times(operation_norm(node, self.norms), inputs[0])

    # --- elementwise functions ---------------------------------------------------------------------------------------

    def _add_entrywise(self, node: Node) -> None:
        try:
            low, high = self._slopes(node)
        except ValueError as error:
            self._refuse(node, str(error))
            return
        (source,) = node.inputs
        shape = node.output_shape or (1,)
        low, high = (np.broadcast_to(end, shape) for end in (low, high))
        most = np.maximum(abs(low), abs(high))
        if (low == high).all():
            self.parts[node.name] = self._chained(diagonal_map(node.name, low), source)
            forward = times(float(most.max()), self.best(source))
            value, how = self._region(self.parts[node.name])
            self._best[node.name], self.how[node.name] = min((forward, "stable slopes"), (value, how))
            return
        value, how = self._scaled(node, source, most)
        if not self.split:
            self.origins[node.name] = self._chained(_bound_map(node.name, most), source)
            self._make_source(node, value, how, most > 0)
            return
        centre = low / 2 + high / 2
        rest = np.sqrt(np.nextafter(np.maximum(high - centre, centre - low), math.inf)) * (1 + 4 * EPSILON)
        own, _ = self._scaled(node, source, rest)
        self.sources[node.name] = own
        self.origins[node.name] = self._chained(_bound_map(node.name, rest), source)
        self.parts[node.name] = self._chained(diagonal_map(node.name, centre), source) if centre.any() else {}
        self.parts[node.name][node.name] = _bound_map("", rest)
        split, split_how = self._region(self.parts[node.name])
        self._best[node.name], self.how[node.name] = min((value, how), (split, split_how))
        if len(self.parts[node.name]) > _MOST_SPLIT_SOURCES:
            self._make_source(node, self._best[node.name], self.how[node.name], most > 0)

    def _chained(self, after: LinearMap, source: str) -> Parts:
        """Return the maps to a node that applies a map to the value of another one."""
        return {name: chain(after, linear) for name, linear in self.parts[source].items()}

    def _scaled(self, node: Node, source: str, factors: Array) -> Found:
        """Return a bound for the value of a node multiplied by factors, entry by entry."""
        largest = float(factors.max())
        value = times(largest, self.best(source))
        how = f"slopes up to {largest:.4g}; {self.how[source]}"
        if (factors == factors.flat[0]).all():
            return value, how
        found, words = self._region(self.parts[source], _bound_map(node.name, factors))
        return min((value, how), (found, f"slopes by unit; {words}"))

    def _slopes(self, node: Node) -> Interval:
        """Return bounds on the slopes of an elementwise function, on the box if it is known."""
        operation, box = node.operation, self.box.get(node.inputs[0])
        if isinstance(operation, ParametricReLU):
            slope = np.broadcast_to(spread(operation.slope, node.output_shape), node.output_shape).astype(np.float64)
            least, most = np.minimum(slope, 1.0), np.maximum(slope, 1.0)
            if box is None:
                return least, most
            on, off = box[0] >= 0, box[1] <= 0
            return np.where(on, 1.0, np.where(off, slope, least)), np.where(on, 1.0, np.where(off, slope, most))
        if not isinstance(operation, Elementwise):
            raise NoBoundError(f"{node.kind} has no slopes")
        known = operation.known
        if known is not None and known.piecewise_linear:
            ends = (-_FAR, _FAR) if box is None else box
            return slope_range(operation, *ends)
        try:
            largest = operation_norm(node, self.norms)
        except NoBoundError:
            if box is None:
                raise
            return slope_range(operation, *box)
        rising = operation.name.lower() in _RISING
        least, most = np.full(1, 0.0 if rising else -largest), np.full(1, largest)
        if box is None:
            return least, most
        try:
            low, high = slope_range(operation, *box)
        except ValueError:  # the box is so wide that slopes overflow; what holds everywhere holds there
            return least, most
        return np.maximum(low, least), np.minimum(high, most)

    # --- other operations --------------------------------------------------------------------------------------------

    def _nonlinear(self, node: Node) -> Found:
        """Return a bound for a node that is not linear, and how it was found."""
        operation = node.operation
        if isinstance(operation, Product | MatrixProduct):
            return self._product(node)
        norm = self._normalisation(operation, node) if isinstance(operation, Normalisation) else None
        norm = operation_norm(node, self.norms) if norm is None else norm
        if not isinstance(operation, Extremum):
            (source,) = node.inputs
            bound = self.best(source)
            return times(norm, bound), f"{norm:.6g} L({source}) [norm of {node.kind}]"
        shapes = dict(zip(node.inputs, node.input_shapes, strict=True))  # the maximum of x and x is x
        plain = root_of_squares(self.best(source) for source in shapes)
        if sum(map(math.prod, shapes.values())) <= _MOST_JOINT:
            flat = tuple((math.prod(shape),) for shape in shapes.values())
            plain = min(plain, self._stack_bound([self.parts[source] for source in shapes], flat))
        return times(norm, plain), f"{norm:.6g} L({', '.join(shapes)}) [norm of {node.kind}]"

    def _normalisation(self, operation: Normalisation, node: Node) -> float | None:
        """Return the norm of a normalisation on the box; None if the box does not help."""
        box = self.box.get(node.inputs[0])
        if box is None:
            return None
        variance = float(least_variance(operation, node.input_shapes[0], *box).min())
        if variance <= operation.epsilon:
            return None
        return up(1 / math.sqrt(variance))

    def _product(self, node: Node) -> Found:
        """Return a bound for a product: the sum over its inputs of the others' largest moduli times its own bound."""
        missing = [source for source in node.inputs if source not in self.limits]
        if missing:
            raise NoBoundError(f"{node.kind} is not bounded without bounds on {', '.join(missing)}; give a box")
        moduli = [np.maximum(*map(abs, self.limits[source])) for source in node.inputs]
        total = 0.0
        words: list[str] = []
        for number, source in enumerate(node.inputs):
            others = [m for other, m in enumerate(moduli) if other != number]
            if isinstance(node.operation, MatrixProduct):
                norm = _matrix_factor(others[0], node, number)
                value = times(norm, self.best(source))
            else:
                value, norm = self._gated(node, source, others, node.input_shapes[number])
            total, words = added([total, value]), [*words, f"{norm:.6g} L({source}) [largest moduli]"]
        return total, " + ".join(words)

    def _gated(self, node: Node, source: str, others: list[Array], shape: tuple[int, ...]) -> tuple[float, float]:
        """Return the bound of one input times the moduli of the others, and the norm of that multiplication."""
        factors: Array = np.ones(node.output_shape)
        for other in others:
            made = np.nextafter(factors * other * (1 + 2 * EPSILON), math.inf)
            factors = np.where((factors == 0) | (other == 0), 0.0, made)
        near, exponent = scaled(factors)
        squares = sum_broadcast((near**2)[None], shape)
        repeats = factors.size // max(math.prod(shape), 1)
        norm = unscaled(math.sqrt(float(squares.max())) * (1 + 4 * (repeats + 4) * EPSILON), exponent)
        value = times(norm, self.best(source))
        if shape == node.output_shape and shape:
            value = min(value, self._region(self.parts[source], _bound_map(node.name, factors))[0])
        return value, norm


def _mask(support: Array) -> LinearMap:
    """Return the selection of the entries of a sample that depend on the input."""
    shape = support.shape
    channels: Any = support.reshape(shape[0], -1).any(axis=1)
    return diagonal_map("", support.astype(np.float64), channels.astype(np.float64))


def _bound_map(name: str, factors: Array) -> LinearMap:
    """Return the multiplication by factors as a bound: by the largest of each channel where a kernel is scaled."""
    shape = factors.shape or (1,)
    most: Any = factors.reshape(shape[0], -1).max(axis=1)
    return diagonal_map(name, factors.reshape(shape), most)


def _matrix_factor(other: Array, node: Node, number: int) -> float:
    """Return the norm of the multiplication of one input of a matrix product by the other one, from its moduli."""
    other, exponent = scaled(other)
    rows, columns = other.sum(axis=-1).max(axis=-1), other.sum(axis=-2).max(axis=-1)
    frobenius = np.sqrt((other**2).sum(axis=(-2, -1)))
    norm = float(np.minimum(np.sqrt(rows * columns), frobenius).max())
    shared = math.prod(node.output_shape[:-2]) // math.prod(node.input_shapes[number][:-2])
    return unscaled(norm * math.sqrt(shared) * (1 + 4 * sum(other.shape[-2:]) * EPSILON), exponent)
