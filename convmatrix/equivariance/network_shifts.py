"""Equivariance of whole networks under shifts.

For a shift s of the input, each node is given the set of shifts t of its own output with ``f(S_s x) = S_t f(x)`` for
all weights and inputs, as far as the sets of its inputs show. A set at the output that is not empty is a proof.
Otherwise the network is decided as a whole, where `convmatrix.equivariance.whole_network` can decide it; elsewhere the
answer is a bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from convmatrix import options as validate
from convmatrix.boundary import read_sample
from convmatrix.equivariance.axis_shifts import AxisShifts, geometry_axes, matrix_axis, moved_output, selection_axis
from convmatrix.equivariance.checks import check_axes, shift_statement, shift_text
from convmatrix.equivariance.sized_operations import AddedBias
from convmatrix.equivariance.verdict import Verdict
from convmatrix.equivariance.whole_network import NetworkCounterexample, decide_whole
from convmatrix.geometry import ConvGeometry
from convmatrix.network import (
    Addition,
    Concatenation,
    Convolution,
    Dense,
    Elementwise,
    Input,
    Network,
    Node,
    Operation,
    PatternMap,
    Pooling,
    Product,
    Rearrangement,
    Resize,
    Scale,
    as_network,
)
from convmatrix.network.windows import axis_structure

Shift = tuple[int, ...]
Shape = tuple[int, ...]

AnsweringShifts = tuple[frozenset[int], ...]
"""The output shifts that answer to a shift of the network's input: one set per spatial axis, none of them empty."""


@dataclass(frozen=True, eq=False, repr=False)
class NetworkVerdict:
    """Whether a network commutes with a cyclic shift of its input, for all weights.

    Attributes
    ----------
    holds : bool
        Whether every output moves by some shift.
    exact : bool
        Whether that is proved or refuted for the network. If False, a node does not commute, the network as a whole
        could not be decided, and ``holds`` is False: a bound.
    decided : {"node by node", "as a whole"}
        How the answer was found.
    shifts : tuple
        For the input and then for each node in the network's order, the shift by which it moves; None where no shift
        is known.
    verdicts : tuple of Verdict
        One per node that was judged: the nodes after one that does not commute are not.
    counterexample : NetworkCounterexample or None
        Weights and an input that refute the network as a whole, where one evaluation did.
    """

    holds: bool
    exact: bool
    decided: Literal["node by node", "as a whole"]
    shifts: tuple[Shift | None, ...]
    verdicts: tuple[Verdict, ...]
    counterexample: NetworkCounterexample | None = None

    def __bool__(self) -> bool:
        return self.holds

    def __repr__(self) -> str:
        return f"NetworkVerdict(holds={self.holds}, exact={self.exact}, decided={self.decided!r})"

    def explain(self) -> str:
        """Return the answer in words: one line per node that was judged, then one for the network.

        Examples
        --------
        >>> import convmatrix as cm
        >>> layer = cm.ConvGeometry(8, 2, stride=2, boundary="circular")
        >>> print(check_network([layer, Elementwise("relu")], 2).explain())
        Proved: up to layer 1 the network commutes with the cyclic shift by 2 of its input, 1 of its output.
        Proved: up to elementwise 2 the network commutes with the cyclic shift by 2 of its input, 1 of its output.
        The network commutes with the cyclic shift by 2 of its input, for all weights (proved node by node).
        """
        lines = []
        for verdict in self.verdicts:
            first, *rest = verdict.explain().splitlines()
            lines.append(first)
            if not verdict.holds:
                lines += [f"  {line}" for line in rest[:2]]
        of_input = f"the cyclic shift by {shift_text(self.shifts[0] or ())} of its input"
        if self.holds:
            lines.append(f"The network commutes with {of_input}, for all weights (proved {self.decided}).")
        elif self.exact:
            how = "no output shift answers at some weights and inputs" if self.counterexample else "all weights decided"
            lines.append(f"The network does not commute with {of_input} (refuted {self.decided}: {how}).")
        else:
            lines.append(
                f"A node does not commute, so nothing shows that the network commutes with {of_input}; the network as "
                "a whole was not decided: it may still commute."
            )
        return "\n".join(lines)


class SurvivingShifts(tuple[int, ...]):
    """The smallest positive shift of each axis that a network commutes with; a tuple of int.

    Attributes
    ----------
    exact : bool
        Whether no smaller shift passes. If False, a divisor of an entry may pass as well.
    """

    exact: bool

    def __new__(cls, amounts: Iterable[int], *, exact: bool = True) -> SurvivingShifts:
        """Return the tuple."""
        made = super().__new__(cls, amounts)
        made.exact = exact
        return made


def check_network(network: Any, shift: int | Sequence[int]) -> NetworkVerdict:
    """Decide whether a network commutes with a cyclic shift, for all weights and inputs.

    An elementwise function that is not one of `convmatrix.network.FUNCTIONS` stands for an arbitrary one. Weights that
    a network has are ignored, apart from arrays of `convmatrix.network.Scale`, which are constants.

    Parameters
    ----------
    network : Network, str, Sequential or sequence
        Whatever `convmatrix.network.as_network` accepts.
    shift : int or sequence of int
        Of the input: one integer for all spatial axes, or one per axis.

    Returns
    -------
    NetworkVerdict

    Raises
    ------
    ValueError
        If the network is invalid, or its input has no spatial axes.

    Examples
    --------
    >>> import convmatrix as cm
    >>> layer = cm.ConvGeometry(8, 3, padding="same", boundary="circular")
    >>> pool = Pooling("average", 8)
    >>> check_network([layer, Elementwise(), pool], 1)
    NetworkVerdict(holds=True, exact=True, decided='node by node')
    >>> check_network([cm.ConvGeometry(8, 3, padding="same")], 1)
    NetworkVerdict(holds=False, exact=True, decided='as a whole')
    """
    network = given_network(network)
    amounts = validate.per_axis("shift", shift, len(network.input_shape) - 1, minimum=-(2**62))
    propagation = _Propagation(network)
    found = propagation.answers(amounts)
    shifts: list[Shift | None] = [amounts]
    verdicts = []
    for node in network.nodes[1:]:
        answering = found[node.name]
        shifts.append(None if answering is None else tuple(map(min, answering)))
        if answering is not None:
            moved = tuple(map(min, answering))
            kept = np.zeros(node.output_shape, dtype=bool)
            subject = f"up to {node.name} the network"
            verdicts.append(Verdict(shift_statement(amounts, moved), kept, subject=subject, output_shift=moved))
        elif all(found[source] is not None for source in node.inputs):
            verdicts.append(propagation.refusal(node, [found[source] or () for source in node.inputs]))
    if all(found[name] is not None for name in network.outputs):
        return NetworkVerdict(
            holds=True, exact=True, decided="node by node", shifts=tuple(shifts), verdicts=tuple(verdicts)
        )
    holds, counterexample = decide_whole(network, amounts)
    return NetworkVerdict(
        holds=bool(holds),
        exact=holds is not None,
        decided="node by node" if holds is None else "as a whole",
        shifts=tuple(shifts),
        verdicts=tuple(verdicts),
        counterexample=counterexample,
    )


def surviving_shifts(network: Any) -> SurvivingShifts:
    """Return which shifts a network commutes with for all weights: on each axis the multiples of one number.

    The shifts of an axis that pass form a subgroup, so one number per axis describes them. It is the size of the input
    where only the identity passes.

    Parameters
    ----------
    network : Network, str, Sequential or sequence
        Whatever `convmatrix.network.as_network` accepts.

    Returns
    -------
    SurvivingShifts
        A tuple of int, one per spatial axis of the input, with an attribute ``exact``.

    Examples
    --------
    >>> import convmatrix as cm
    >>> ring = cm.ConvGeometry((8, 8), (3, 3), padding=1, stride=2, boundary="circular")
    >>> surviving_shifts([ring, Elementwise("relu")])
    (2, 2)
    >>> surviving_shifts([ring, Elementwise("relu"), Pooling("average", 4)])
    (2, 2)
    """
    network = given_network(network)
    sizes = network.input_shape[1:]
    propagation = _Propagation(network)
    amounts, exact = [], True
    for axis, size in enumerate(sizes):

        def along(amount: int, axis: int = axis) -> Shift:
            return tuple(amount if a == axis else 0 for a in range(len(sizes)))

        best = next(amount for amount in range(1, size + 1) if size % amount == 0 and propagation.proves(along(amount)))
        undecided = True
        while undecided:
            undecided = False
            for prime in _prime_divisors(best):
                holds, _ = decide_whole(network, along(best // prime))
                exact &= holds is not None
                if holds:
                    best, undecided = best // prime, True
                    break
        amounts.append(best)
    return SurvivingShifts(amounts, exact=exact)


def _prime_divisors(number: int) -> list[int]:
    return [p for p in range(2, number + 1) if number % p == 0 and all(p % q for q in range(2, math.isqrt(p) + 1))]


def given_network(network: Any) -> Network:
    """Return a network from whatever describes one; the first operation that knows its shape gives that of the input.

    Raises
    ------
    ValueError
        If no operation has a shape, shapes do not fit, or the input has no spatial axes.
    """
    if isinstance(network, Operation | ConvGeometry):
        network = [network]
    if isinstance(network, list | tuple) and network and isinstance(network[0], Operation):
        shape = next((_input_shape(item) for item in network if _input_shape(item) is not None), None)
        if shape is not None and not isinstance(network[0], Input):
            network = [Input(shape), *network]
    made = as_network(network)
    if len(made.input_shape) < 2:
        raise ValueError(f"shifts need spatial axes, but the network's input has shape {made.input_shape}")
    return made


def _input_shape(item: Any) -> Shape | None:
    geometry = item if isinstance(item, ConvGeometry) else getattr(item, "geometry", None)
    if isinstance(geometry, ConvGeometry):
        return (geometry.in_channels, *geometry.input_shape)
    shape: Shape | None = getattr(item, "sample_shape", None)
    return shape


# --- propagation of the shifts ---------------------------------------------------------------------------------------


class _Propagation:
    """The rules by which shifts pass through the nodes of one network."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.axes = {node.name: _axes(node) for node in network}

    def answers(self, shift: Sequence[int]) -> dict[str, AnsweringShifts | None]:
        """Return for each node the shifts that answer to a shift of the input; None if none is known."""
        found: dict[str, AnsweringShifts | None] = {}
        for node in self.network:
            if isinstance(node.operation, Input):
                sizes = node.output_shape[1:]
                found[node.name] = tuple(frozenset([s % n]) for s, n in zip(shift, sizes, strict=True))
                continue
            incoming = [found[source] for source in node.inputs]
            known = [answer for answer in incoming if answer is not None]
            answer = self._image(node, known) if len(known) == len(incoming) else None
            found[node.name] = answer if answer is not None and all(answer) else None
        return found

    def proves(self, shift: Sequence[int]) -> bool:
        """Return whether every output is known to move by some shift."""
        found = self.answers(shift)
        return all(found[name] is not None for name in self.network.outputs)

    def _image(self, node: Node, incoming: list[AnsweringShifts]) -> AnsweringShifts:
        operation, out = node.operation, node.output_shape
        axes = self.axes[node.name]
        everything = tuple(frozenset(range(size)) for size in out[1:])
        if axes is not None:
            if any(axis.reads_nothing for axis in axes):
                answer = everything
            else:
                answer = tuple(axis.image(amounts) for axis, amounts in zip(axes, incoming[0], strict=True))
            by_unit = isinstance(operation, Convolution) and has_unit_bias(operation)
            return tuple(amounts & {0} for amounts in answer) if by_unit else answer
        if isinstance(operation, Elementwise):
            return incoming[0]
        if isinstance(operation, Addition | Product | Scale):
            aligned = [_aligned(*pair, out) for pair in zip(incoming, node.input_shapes, strict=True)]
            answer = tuple(frozenset.intersection(*sets) for sets in zip(*aligned, strict=True))
            if isinstance(operation, Scale):
                answer = _unmoved_constants(operation, node.input_shapes[0], out, answer)
            return answer
        if isinstance(operation, Concatenation):
            answer = tuple(frozenset.intersection(*sets) for sets in zip(*incoming, strict=True))
            return tuple(
                amounts & {0} if axis == operation.axis else amounts for axis, amounts in enumerate(answer, start=1)
            )
        if isinstance(operation, Rearrangement):
            rearranged = _rearranged(operation, node, incoming[0])
            if rearranged is not None:
                return rearranged
        if isinstance(operation, Dense) and not operation.flatten:
            return tuple(
                amounts & {0} if axis == len(out) - 1 else amounts for axis, amounts in enumerate(incoming[0], start=1)
            )
        # Nothing is known of the operation but that equal inputs give equal outputs.
        unchanged = all(0 in amounts for answer in incoming for amounts in answer)
        return tuple(frozenset([0] if unchanged else []) for _ in out[1:]) if len(out) > 1 or unchanged else _NOTHING

    def refusal(self, node: Node, incoming: list[AnsweringShifts]) -> Verdict:
        """Return why a node does not commute, with the rows that are broken."""
        subject = f"{node.name} ({node.kind})"
        axes = self.axes[node.name]
        if axes is not None:
            amounts = tuple(map(min, incoming[0]))
            stride = _stride(node)
            nominal = [a // s if a % s == 0 else None for a, s in zip(amounts, stride, strict=True)]
            moved = moved_output(axes, amounts, nominal)
            verdict = check_axes(axes, amounts, moved, stride, channels=node.output_shape[0], subject=subject)
            if not verdict.holds:
                return verdict
        reason = (
            "its inputs do not move by one shift"
            if len(incoming) > 1
            else "its input would have to stay the same, as its coefficients differ from place to place"
        )
        broken = np.ones(node.output_shape, dtype=bool)
        return Verdict("the shift of its input", broken, subject=subject, reason=reason)


_NOTHING: AnsweringShifts = (frozenset(),)


def has_unit_bias(operation: Convolution) -> bool:
    """Return whether a convolution has one bias per unit, not per channel."""
    bias = operation.bias
    if isinstance(bias, str):
        return bias == "unit"
    return bias is not None and bias.size > operation.geometry.out_channels


def _axes(node: Node) -> list[AxisShifts] | None:
    """Return what each spatial axis of an operation reads, if the operation is a product over its axes."""
    operation = node.operation
    if isinstance(operation, Convolution):
        return geometry_axes(operation.geometry)
    if isinstance(operation, PatternMap) and operation.pattern.geometry is not None and operation.shape is None:
        return geometry_axes(operation.pattern.geometry)
    if isinstance(operation, Pooling):
        return _pooling_axes(operation, node.input_shapes[0])
    if isinstance(operation, Resize):
        return [matrix_axis(matrix) for matrix in operation.axis_matrices(node.input_shapes[0])]
    if isinstance(operation, Rearrangement) and operation.name == "pad":
        widths, boundaries, _ = operation.options
        return [
            selection_axis(np.asarray(read_sample(np.arange(-low, size + high), size, boundary)), size)
            for (low, high), boundary, size in list(zip(widths, boundaries, node.input_shapes[0], strict=True))[1:]
        ]
    return None


def _pooling_axes(operation: Pooling, shape: Shape) -> list[AxisShifts]:
    divisors = operation.divisors(shape)
    axes = []
    for number, axis in enumerate(operation.geometry(shape).axes):
        matrix = axis_structure(axis).astype(np.float64)
        if operation.method == "max":
            matrix.data[:] = 1
        elif operation.method == "average":
            others = tuple(a for a in range(divisors.ndim) if a != number)
            matrix.data /= np.repeat(divisors.max(axis=others), np.diff(matrix.indptr))
        axes.append(matrix_axis(matrix))
    return axes


def _stride(node: Node) -> Shape:
    operation = node.operation
    if isinstance(operation, Convolution) and not operation.geometry.transposed:
        return operation.geometry.stride
    if isinstance(operation, Pooling):
        return operation.geometry(node.input_shapes[0]).stride
    return (1,) * (len(node.output_shape) - 1)


def _aligned(answer: AnsweringShifts, shape: Shape, out: Shape) -> AnsweringShifts:
    """Return the shifts of an input after it is broadcast to the output's shape."""
    lead = len(out) - len(shape)
    aligned = []
    for axis in range(1, len(out)):
        own = axis - lead
        if own < 0 or shape[own] == 1:
            aligned.append(frozenset(range(out[axis])))
        else:
            aligned.append(answer[own - 1] if own else frozenset([0]))
    return tuple(aligned)


def _unmoved_constants(operation: Scale, shape: Shape, out: Shape, answer: AnsweringShifts) -> AnsweringShifts:
    """Return the shifts that leave the constants of a scale in place."""
    if isinstance(operation, AddedBias):
        return tuple(amounts & {0} for amounts in answer) if operation.sharing == "unit" else answer
    for value in (operation.scale, operation.shift):
        if isinstance(value, np.ndarray):
            constant = np.broadcast_to(operation.spread(value, shape), out)
            answer = tuple(
                frozenset(a for a in amounts if np.array_equal(np.roll(constant, a, axis), constant))
                for axis, amounts in enumerate(answer, start=1)
            )
    return answer


def _rearranged(operation: Rearrangement, node: Node, answer: AnsweringShifts) -> AnsweringShifts | None:
    """Return the shifts of rearranged entries; None where only unchanged inputs tell."""
    (shape,) = node.input_shapes
    if operation.name == "channel_shuffle" or (operation.name == "reshape" and node.output_shape == shape):
        return answer
    if operation.name == "transpose" and operation.options[0] == 0:
        return tuple(answer[axis - 1] for axis in operation.options[1:])
    if operation.name == "take":
        axis, start, stop, step = operation.options
        axis %= len(shape)
        if axis == 0:
            return answer
        samples = np.arange(shape[axis])[start:stop:step]
        moved = selection_axis(samples, shape[axis]).image(answer[axis - 1])
        return (*answer[: axis - 1], moved, *answer[axis:])
    return None
