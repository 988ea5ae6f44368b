"""What every node of a network reads along each axis of the image, and where that depends on the image's size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from convmatrix.network import (
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    Extremum,
    FullyConnected,
    Input,
    LocalResponseNormalisation,
    Normalisation,
    Opaque,
    ParametricReLU,
    Pooling,
    Product,
    Rearrangement,
    Reduction,
    Resize,
    Scale,
    Softmax,
)
from convmatrix.network.entrywise import spread
from convmatrix.tiling.axis_reads import (
    AxisReads,
    SizeBoundError,
    convolution_reads_of,
    padded_reads_of,
    pooling_reads_of,
    repeated_reads_of,
    resize_reads_of,
    slice_reads_of,
    split_reads_of,
)
from convmatrix.tiling.layouts import (
    BlockSize,
    Factor,
    Layout,
    array_axis,
    axes_in,
    image_layout,
    regroup,
    single_axis,
    without,
)

if TYPE_CHECKING:
    from convmatrix.network import Network, Node
    from convmatrix.network.operations import Shape

ENTRY_BY_ENTRY = (Elementwise, ParametricReLU, Scale, Addition, Product, Extremum)
ALONG_AXES = (Normalisation, Softmax, LocalResponseNormalisation, Reduction)


@dataclass(frozen=True)
class Refusal:
    """Why an axis of the image, numbered from 0 without the channels, cannot be cut into tiles."""

    node: str
    axis: int
    reason: str

    def __str__(self) -> str:
        return f"axis {self.axis}: node {self.node!r} {self.reason}"


@dataclass(frozen=True)
class NodeReads:
    """The samples that a node reads along each axis of the image.

    Attributes
    ----------
    layout : tuple
        Of its output; see `convmatrix.tiling.layouts`.
    sizes : dict of int to int
        The size of each image axis in the output, for the network's own input shape.
    reads : dict of int to list of (str, AxisReads or None)
        By image axis, for each input that lies along it, what the node reads; None if the entry at the same place.
    refusals : dict of int to list of Refusal
        By image axis, why its outputs depend on the size of the axis.
    """

    layout: Layout
    sizes: dict[int, int]
    reads: dict[int, list[tuple[str, AxisReads | None]]] = field(default_factory=dict)
    refusals: dict[int, list[Refusal]] = field(default_factory=dict)


def network_reads(network: Network, *, blocks_known: bool = False) -> dict[str, NodeReads]:
    """Return what each node of a network reads.

    What combines a whole block of an axis that a reshape has cut is refused unless ``blocks_known`` says that blocks
    have a fixed size, and that not their number is fixed.

    Examples
    --------
    >>> from convmatrix.network import Input, Network, Pooling
    >>> found = network_reads(Network([Input((1, 8)), Pooling("max", 2), Pooling("max", None)]))
    >>> found["pooling 2"].reads[0][0][1].scale
    Fraction(1, 2)
    >>> print(found["pooling 3"].refusals[0][0])
    axis 0: node 'pooling 3' (pooling) cannot be cut: it pools over all 4 samples
    """
    found: dict[str, NodeReads] = {}
    for node in network.nodes:
        found[node.name] = _node_reads(node, [found[name] for name in node.inputs], blocks_known)
    return found


class _Reading:
    """The outcome for one node while it is found."""

    def __init__(self, node: Node, inputs: Sequence[NodeReads]) -> None:
        self.node, self.inputs = node, inputs
        self.reads: dict[int, list[tuple[str, AxisReads | None]]] = {}
        self.refusals: dict[int, list[Refusal]] = {}
        for given in inputs:
            for axis, refusals in given.refusals.items():
                known = self.refusals.setdefault(axis, [])
                known += [refusal for refusal in refusals if refusal not in known]

    def refuse(self, axes: set[int], reason: str) -> None:
        for axis in axes:
            if axis not in self.refusals:
                self.refusals[axis] = [Refusal(self.node.name, axis, reason)]

    def read(self, axis: int, source: str, reads: AxisReads | None) -> None:
        self.reads.setdefault(axis, []).append((source, reads))

    def read_along(self, place: int, reads_of: Callable[..., AxisReads], *arguments: Any) -> None:
        """Record what the node reads along an axis of its first input's array."""
        factors = self.inputs[0].layout[place]
        axis = single_axis(factors)
        if axis is None:
            self.refuse(axes_in([factors]), f"works along axis {place} of its input, which several axes were joined to")
            return
        try:
            self.read(axis, self.node.inputs[0], reads_of(*arguments))
        except SizeBoundError as error:
            self.refuse({axis}, f"({self.node.kind}) cannot be cut: {error}")

    def finish(self, layout: Layout) -> NodeReads:
        """Return the outcome, given the layout of the output; axes that are refused are numbers from here on."""
        shape, sizes = self.node.output_shape, {}
        for given in self.inputs:
            sizes.update(given.sizes)
        for axis in axes_in(layout):
            place = array_axis(layout, axis)
            if place is not None:
                sizes[axis] = shape[place]
        layout = without(layout, set(self.refusals), sizes)
        kept = axes_in(layout)
        reads = {axis: listed for axis, listed in self.reads.items() if axis in kept}
        return NodeReads(layout, {axis: sizes[axis] for axis in kept}, reads, self.refusals)


def _node_reads(node: Node, inputs: Sequence[NodeReads], blocks_known: bool) -> NodeReads:
    operation = node.operation
    if isinstance(operation, Input):
        return NodeReads(image_layout(operation.shape), dict(enumerate(operation.shape[1:])))
    found = _Reading(node, inputs)
    layout: Layout | None = None
    if isinstance(operation, Convolution | Pooling | Resize):
        layout = _of_windows(found, operation)
    elif isinstance(operation, Rearrangement):
        layout = _of_rearrangement(found, operation)
    elif isinstance(operation, ALONG_AXES):
        layout = _of_combined_axes(found, operation, blocks_known)
    elif isinstance(operation, FullyConnected) and not operation.flatten:
        found.refuse(axes_in(inputs[0].layout[-1:]), f"({node.kind}) combines all positions along it")
        layout = _same(found, (*inputs[0].layout[:-1], (operation.n_out,)))
    elif isinstance(operation, Concatenation):
        layout = _of_concatenation(found, operation)
    elif isinstance(operation, ENTRY_BY_ENTRY):
        layout = _of_entries(found, operation)
    if layout is None:
        what = f"({operation.operator}) is not known" if isinstance(operation, Opaque) else f"({node.kind})"
        everything = set().union(*(axes_in(given.layout) for given in inputs))
        found.refuse(
            everything,
            f"{what} and may read all positions" if what.endswith("known") else f"{what} combines all positions",
        )
        layout = tuple((n,) for n in node.output_shape)
    return found.finish(layout)


def _same(found: _Reading, layout: Layout, inputs: Sequence[int] = (0,)) -> Layout:
    """Record that entries are read at their own place in some inputs, and return the layout."""
    for number in inputs:
        for axis in axes_in(found.inputs[number].layout) & axes_in(layout):
            found.read(axis, found.node.inputs[number], None)
    return layout


def _of_windows(found: _Reading, operation: Convolution | Pooling | Resize) -> Layout:
    """Return the layout of a convolution's, pooling's or resize's output, and record what it reads."""
    node, (shape,) = found.node, found.node.input_shapes
    layout = found.inputs[0].layout
    if (
        isinstance(operation, Convolution)
        and operation.bias_sharing == "unit"
        and operation.geometry.n_out > operation.geometry.out_channels
    ):
        found.refuse(axes_in(layout[1:]), "(convolution) has a bias per position")
    found.refuse(axes_in(layout[:1]), f"({node.kind}) takes positions for channels")
    for number in range(len(shape) - 1):
        if isinstance(operation, Convolution):
            found.read_along(number + 1, convolution_reads_of, operation.geometry, number)
        elif isinstance(operation, Pooling):
            found.read_along(number + 1, pooling_reads_of, operation, shape, number)
        else:
            found.read_along(number + 1, resize_reads_of, operation, shape[number + 1], number)
    return ((node.output_shape[0],), *_moved(found, range(1, len(shape))))


def _moved(found: _Reading, places: Sequence[int]) -> Layout:
    """Return the factors of axes of the output, where the first input has an image axis or numbers."""
    layout, shape = found.inputs[0].layout, found.node.output_shape
    return tuple(layout[place] if single_axis(layout[place]) is not None else (shape[place],) for place in places)


def _of_rearrangement(found: _Reading, operation: Rearrangement) -> Layout | None:
    """Return the layout of a rearrangement's output, and record what it reads; None if it is not followed."""
    node, (given,), (shape,) = found.node, found.inputs, found.node.input_shapes
    layout, options = given.layout, operation.options
    if operation.name == "transpose":
        return _same(found, tuple(layout[axis] for axis in options))
    if operation.name in ("take", "gather"):
        place = options[0]
        others = tuple(factors for other, factors in enumerate(layout) if other != place)
        _same(found, others)
        if operation.name == "take":
            found.read_along(place, slice_reads_of, shape[place], *options[1:])
        else:
            found.refuse(axes_in(layout[place : place + 1]), "(gather) picks positions by their numbers")
        return (*layout[:place], *_moved(found, [place]), *layout[place + 1 :])
    if operation.name == "pad":
        widths, boundaries, _ = options
        emptied: set[int] = set()
        for place, ((low, high), boundary) in enumerate(zip(widths, boundaries, strict=True)):
            if low == -shape[place]:
                emptied.add(place)  # nothing of it is left, as where a constant is made
            elif (low, high) == (0, 0):
                _same(found, layout[place : place + 1])
            else:
                found.read_along(place, padded_reads_of, low, high, boundary)
        padded = _moved(found, range(len(shape)))
        padded = tuple((node.output_shape[p],) if p in emptied else padded[p] for p in range(len(shape)))
        return tuple(layout[p] if widths[p] == (0, 0) else padded[p] for p in range(len(shape)))
    if operation.name == "channel_shuffle":
        found.refuse(axes_in(layout[:1]), "(channel shuffle) takes positions for channels")
        return _same(found, layout)
    if operation.name == "expand":
        lead = len(node.output_shape) - len(shape)
        for place, factors in enumerate(layout):
            if axes_in([factors]) and node.output_shape[lead + place] != shape[place]:
                return None
        new = [
            layout[p - lead] if p >= lead and axes_in(layout[p - lead : p - lead + 1]) else (n,)
            for p, n in enumerate(node.output_shape)
        ]
        return _same(found, tuple(new))
    if operation.name in ("reshape", "flatten"):
        return _of_reshape(found)
    return None


def _of_reshape(found: _Reading) -> Layout | None:
    (given,), node = found.inputs, found.node
    if node.output_shape == node.input_shapes[0]:
        return _same(found, given.layout)
    regrouped = regroup(given.layout, given.sizes, node.output_shape)
    if regrouped is None:
        return None
    for axis in axes_in(given.layout):
        reads: AxisReads | None = None
        if axis in regrouped.splits:
            reads = split_reads_of(regrouped.splits[axis])
        elif axis in regrouped.repeats:
            reads = repeated_reads_of(regrouped.repeats[axis])
        found.read(axis, node.inputs[0], reads)
    return regrouped.layout


def _of_combined_axes(found: _Reading, operation: Any, blocks_known: bool) -> Layout:
    """Return the layout after entries along some axes were combined."""
    layout, (shape,) = found.inputs[0].layout, found.node.input_shapes
    combined = operation.combined_axes(shape)
    found.refuse(axes_in([layout[axis] for axis in combined]), f"({operation.kind}) combines all positions along it")
    blocks = [factor for axis in combined for factor in layout[axis] if isinstance(factor, BlockSize)]
    if blocks and not blocks_known:
        found.refuse(
            axes_in(layout),
            f"({operation.kind}) combines blocks of {blocks[0]} positions, a number that may follow the size; "
            "plan(network, other=the network read for another size) decides it",
        )
    if isinstance(operation, Reduction):
        layout = tuple((1,) if axis in combined else factors for axis, factors in enumerate(layout))
    return _same(found, layout)


def _of_concatenation(found: _Reading, operation: Concatenation) -> Layout:
    place = operation.axis
    along = [given.layout[place] for given in found.inputs]
    found.refuse(axes_in(along), "(concatenation) joins positions of several images")
    lines = [(*given.layout[:place], (1,), *given.layout[place + 1 :]) for given in found.inputs]
    shape = list(found.node.output_shape)
    shape[place] = 1
    layout = _met(found, lines, tuple(shape))
    joined = (*layout[:place], (found.node.output_shape[place],), *layout[place + 1 :])
    return _same(found, joined, range(len(found.inputs)))


def _of_entries(found: _Reading, operation: Any) -> Layout:
    """Return the layout of an operation entry by entry, whose inputs and constants broadcast."""
    layouts = [given.layout for given in found.inputs]
    (shape, *_) = found.node.input_shapes
    if getattr(operation, "sharing", "") == "unit":
        found.refuse(axes_in(layouts[0][1:]), f"({operation.kind}) has a bias per position")
    for name in ("scale", "shift", "slope"):
        value = getattr(operation, name, None)
        if value is not None and hasattr(value, "shape") and not isinstance(operation, Elementwise):
            array = spread(value, shape)
            for axis, n in enumerate(array.shape[::-1], start=1):
                if n != 1 and axis <= len(shape):
                    found.refuse(axes_in([layouts[0][-axis]]), f"({operation.kind}) has a constant per position")
    layout = _met(found, layouts, found.node.output_shape)
    return _same(found, layout, range(len(found.inputs)))


def _met(found: _Reading, layouts: Sequence[Layout], shape: Shape) -> Layout:
    """Return the layout to which those of several inputs broadcast; refuse axes that meet other ones."""
    met: list[tuple[Factor, ...]] = []
    for place, n in enumerate(shape):
        back = place - len(shape)
        factors = {layout[back] for layout in layouts if len(layout) >= -back}
        spatial = [f for f in factors if axes_in([f])]
        others = [f for f in factors if not axes_in([f]) and f != (1,)]
        if len(spatial) == 1 and not others:
            met.append(spatial.pop())
            continue
        met.append((n,))
        if spatial:
            found.refuse(axes_in(spatial), f"({found.node.kind}) joins inputs whose axes hold different things")
    return tuple(met)


def refusals_of(reads: NodeReads, name: str, axis: int) -> tuple[Refusal, ...]:
    """Return why the output of a node cannot be stitched from tiles on an axis of the image; empty if it can."""
    if axis not in reads.refusals and array_axis(reads.layout, axis) is None:
        return (Refusal(name, axis, "does not have the positions of this axis along an axis of its own"),)
    return tuple(reads.refusals.get(axis, ()))
