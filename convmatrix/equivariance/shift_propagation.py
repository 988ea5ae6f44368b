"""Propagation of shifts through the operations of a network.

For a shift s of the network's input, each node is assigned the shifts t of its output for which ``f(S_s x) = S_t f(x)``
follows, for all weights and inputs, from the sets of the nodes that it reads. A nonempty set proves that the node
commutes with s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from convmatrix.boundary import read_sample
from convmatrix.equivariance.axis_shifts import AxisShifts, matrix_axis, moved_output, output_signs, selection_axis
from convmatrix.equivariance.checks import check_axes, nominal_shift
from convmatrix.equivariance.long_axes import geometry_axes
from convmatrix.equivariance.sized_operations import AddedBias
from convmatrix.equivariance.verdict import Verdict
from convmatrix.network import (
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    Extremum,
    FullyConnected,
    Input,
    LocalResponseNormalisation,
    Network,
    Node,
    Normalisation,
    ParametricReLU,
    PatternMap,
    Pooling,
    Product,
    Rearrangement,
    Reduction,
    Resize,
    Scale,
    Softmax,
)
from convmatrix.network.entrywise import spread
from convmatrix.network.windows import axis_structure

Shape = tuple[int, ...]

OutputShifts = tuple[frozenset[int], ...]
"""The output shifts that correspond to a shift of the network's input: one nonempty set per spatial axis."""


class Propagation:
    """The rules that propagate shifts through the nodes of one network.

    Examples
    --------
    >>> import convmatrix as cm
    >>> ring = cm.ConvGeometry(6, 2, stride=2, boundary="circular")
    >>> Propagation(cm.Network([ring])).output_shifts([4])["layer 1"]
    (frozenset({2}),)
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.axes = {node.name: _axes(node) for node in network}

    def output_shifts(self, shift: Sequence[int]) -> dict[str, OutputShifts | None]:
        """Return, for each node, the output shifts that correspond to a shift of the input; None if none is known."""
        found: dict[str, OutputShifts | None] = {}
        for node in self.network:
            if isinstance(node.operation, Input):
                sizes = node.output_shape[1:]
                found[node.name] = tuple(frozenset([s % n]) for s, n in zip(shift, sizes, strict=True))
                continue
            incoming = [found[source] for source in node.inputs]
            known = [shifts for shifts in incoming if shifts is not None]
            shifts = self._image(node, known) if len(known) == len(incoming) else None
            found[node.name] = shifts if shifts is not None and all(shifts) else None
        return found

    def proves(self, shift: Sequence[int]) -> bool:
        """Return whether every output is known to be shifted by some amount."""
        found = self.output_shifts(shift)
        return all(found[name] is not None for name in self.network.outputs)

    def _image(self, node: Node, incoming: list[OutputShifts]) -> OutputShifts:
        operation, out = node.operation, node.output_shape
        axes = self.axes[node.name]
        everything = tuple(frozenset(range(size)) for size in out[1:])
        if axes is not None:
            if any(axis.reads_nothing for axis in axes):
                shifts = everything
            else:
                signs = output_signs(axes, incoming[0])
                shifts = tuple(axis.image(a, sign) for axis, a, sign in zip(axes, incoming[0], signs, strict=True))
            by_unit = isinstance(operation, Convolution) and operation.bias_sharing == "unit"
            return _fixed(shifts, range(1, len(out))) if by_unit else shifts
        if isinstance(operation, Elementwise | LocalResponseNormalisation | Normalisation | Softmax):
            return incoming[0]  # a sum along an axis has the same terms after a shift
        if isinstance(operation, Reduction):
            reduced = operation.combined_axes(node.input_shapes[0])
            return tuple(
                frozenset([0]) if axis in reduced else amounts for axis, amounts in enumerate(incoming[0], start=1)
            )
        if isinstance(operation, Addition | Product | Extremum | Scale | ParametricReLU):
            aligned = [_aligned(*pair, out) for pair in zip(incoming, node.input_shapes, strict=True)]
            shifts = tuple(frozenset.intersection(*sets) for sets in zip(*aligned, strict=True))
            if isinstance(operation, Scale | ParametricReLU):
                shifts = _unmoved_constants(operation, node.input_shapes[0], out, shifts)
            return shifts
        if isinstance(operation, Concatenation):
            shifts = tuple(frozenset.intersection(*sets) for sets in zip(*incoming, strict=True))
            return _fixed(shifts, [operation.axis])
        if isinstance(operation, Rearrangement):
            rearranged = _rearranged(operation, node, incoming[0])
            if rearranged is not None:
                return rearranged
        if isinstance(operation, FullyConnected) and not operation.flatten:
            return _fixed(incoming[0], [len(out) - 1])
        # Nothing is known about the operation except that equal inputs give equal outputs.
        unchanged = all(0 in amounts for shifts in incoming for amounts in shifts)
        return tuple(frozenset([0] if unchanged else []) for _ in out[1:]) if len(out) > 1 or unchanged else _NOTHING

    def refusal(self, node: Node, incoming: list[OutputShifts]) -> Verdict:
        """Return a verdict that explains why a node does not commute, with its broken rows."""
        subject = f"{node.name} ({node.kind})"
        axes = self.axes[node.name]
        if axes is not None:
            amounts = tuple(map(min, incoming[0]))
            stride = _stride(node)
            moved = moved_output(axes, amounts, nominal_shift(amounts, stride))
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


_NOTHING: OutputShifts = (frozenset(),)


def _axes(node: Node) -> list[AxisShifts] | None:
    """Return the shifts of each spatial axis of an operation, if the operation is a product over its axes."""
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


def _fixed(shifts: OutputShifts, axes: Iterable[int]) -> OutputShifts:
    """Return the shifts that leave some axes of an array unmoved."""
    axes = set(axes)
    return tuple(amounts & {0} if axis in axes else amounts for axis, amounts in enumerate(shifts, start=1))


def _aligned(shifts: OutputShifts, shape: Shape, out: Shape) -> OutputShifts:
    """Return the shifts of an input after broadcasting to the output's shape."""
    lead = len(out) - len(shape)
    aligned = []
    for axis in range(1, len(out)):
        own = axis - lead
        if own < 0 or shape[own] == 1:
            aligned.append(frozenset(range(out[axis])))
        else:
            aligned.append(shifts[own - 1] if own else frozenset([0]))
    return tuple(aligned)


def _unmoved_constants(
    operation: Scale | ParametricReLU, shape: Shape, out: Shape, shifts: OutputShifts
) -> OutputShifts:
    """Return the shifts that leave the constants of a scale, or the slopes, unchanged."""
    if isinstance(operation, AddedBias):
        return _fixed(shifts, range(1, len(out))) if operation.sharing == "unit" else shifts
    constants = (operation.scale, operation.shift) if isinstance(operation, Scale) else (operation.slope,)
    for value in constants:
        if isinstance(value, np.ndarray):
            constant = np.broadcast_to(spread(value, shape), out)
            shifts = tuple(
                frozenset(a for a in amounts if np.array_equal(np.roll(constant, a, axis), constant, equal_nan=True))
                for axis, amounts in enumerate(shifts, start=1)
            )
    return shifts


def _rearranged(operation: Rearrangement, node: Node, shifts: OutputShifts) -> OutputShifts | None:
    """Return the shifts of rearranged entries; None if only unchanged inputs allow a conclusion."""
    (shape,) = node.input_shapes
    if operation.name == "channel_shuffle" or (operation.name == "reshape" and node.output_shape == shape):
        return shifts
    if operation.name == "transpose" and operation.options[0] == 0:
        return tuple(shifts[axis - 1] for axis in operation.options[1:])
    if operation.name == "take":
        axis, start, stop, step = operation.options
        axis %= len(shape)
        if axis == 0:
            return shifts
        samples = np.arange(shape[axis])[start:stop:step]
        moved = selection_axis(samples, shape[axis]).image(shifts[axis - 1])
        return (*shifts[: axis - 1], moved, *shifts[axis:])
    return None
