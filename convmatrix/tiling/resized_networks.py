"""Networks for images of another size, with the same weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convmatrix import options as validate
from convmatrix.geometry import ConvGeometry
from convmatrix.network import (
    Convolution,
    Input,
    Network,
    Node,
    Opaque,
    Operation,
    PatternMap,
    Rearrangement,
    Resize,
    as_network,
)
from convmatrix.tiling.axis_plan import AxisPlan, axis_plan, sizes_of
from convmatrix.tiling.layouts import array_axis, layout_shape, single_axis
from convmatrix.tiling.node_reads import NodeReads, Refusal, network_reads, refused_axes

if TYPE_CHECKING:
    from convmatrix.network.operations import Shape


def resized(network: Any, input_shape: Sequence[int]) -> Network:
    """Return the network with the same weights for images of another size.

    A network has the shapes of the image that it was read for. At another size convolutions, pooling and padding keep
    their windows and amounts, resizing keeps its scale and slices what they crop at each end; sizes in reshapes follow.

    Parameters
    ----------
    network : Network, nn.Sequential or sequence of layers
        As for `convmatrix.network.as_network`.
    input_shape : sequence of int
        The new shape of a sample, (channels, *spatial).

    Returns
    -------
    Network
        Without nodes that no output depends on.

    Raises
    ------
    ValueError
        If an operation depends on the size of an axis that changes, such as a dense layer that reads all positions, or
        the size does not fit; the message names the node.

    Examples
    --------
    >>> import convmatrix as cm
    >>> from convmatrix.network import Convolution, Network, Pooling
    >>> layer = Convolution(cm.ConvGeometry((8, 8), (3, 3), padding=1), [[[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]])
    >>> resized(Network([layer, Pooling("max", 2)]), (1, 20, 12))
    Network('network', 3 nodes, (1, 20, 12) -> (1, 10, 6))
    """
    net = as_network(network)
    shape = validate.shape("input_shape", input_shape)
    if len(shape) != len(net.input_shape) or shape[0] != net.input_shape[0]:
        raise ValueError(
            f"input_shape={shape} must have the {len(net.input_shape)} axes and the channels of {net.input_shape}, the "
            f"shape that {net.name} has; only sizes of spatial axes can change"
        )
    if shape == net.input_shape:
        return net
    found = {name: _assuming_nothing(reads) for name, reads in network_reads(net, blocks_known=True).items()}
    sizes: dict[int, dict[str, int]] = {}
    for axis, n in enumerate(shape[1:]):
        if n != net.input_shape[axis + 1]:
            sizes[axis] = _followed(net, found, axis, n)
    shapes: dict[str, Shape] = {}
    nodes = []
    needed = {node.name for output in net.outputs for node in net.until(output).nodes}
    for node in net.nodes:
        if node.name not in needed:
            continue
        expected = _new_shape(node, found[node.name], sizes)
        operation = _new_operation(node, [shapes[name] for name in node.inputs], expected, found)
        shapes[node.name] = tuple(operation.output_shape([shapes[name] for name in node.inputs]))
        if shapes[node.name] != expected:
            raise ValueError(
                f"node {node.name!r} ({node.kind}) has the output {shapes[node.name]} for an image {shape}, but "
                f"{expected} was expected"
            )
        nodes.append(Node(node.name, operation, node.inputs))
    return Network(nodes, net.outputs, net.name)


def _assuming_nothing(node: NodeReads) -> NodeReads:
    """Return what a node reads, for all sizes at which it does what it does at its own."""
    reads = {
        axis: [(source, own and replace(own, assumed=())) for source, own in step] for axis, step in node.reads.items()
    }
    return replace(node, reads=reads)


def _followed(network: Network, found: Mapping[str, NodeReads], axis: int, size: int) -> dict[str, int]:
    """Return the size of every node on an axis, for an image of another size."""
    sizes: dict[str, int] = {}
    for output in network.outputs:
        own = {node.name: found[node.name] for node in network.until(output).nodes}
        followed = planned_axis(own, output, axis)
        if isinstance(followed, Refusal):
            raise ValueError(f"{network.name} cannot be resized on {followed}")
        sizes |= sizes_of(followed, size)
    return sizes


def planned_axis(found: Mapping[str, NodeReads], output: str, axis: int) -> AxisPlan | Refusal:
    """Return how an axis may be cut, or the first reason why it cannot be."""
    refusals = refused_axes(found, output, axis + 1).get(axis)
    place = array_axis(found[output].layout, axis)
    if refusals or place is None:  # an axis without a place is refused
        return (refusals or [])[0]
    return axis_plan(found, output, axis, place)


def _new_shape(node: Node, reads: NodeReads, sizes: Mapping[int, Mapping[str, int]]) -> Shape:
    """Return the output shape of a node in which some image axes have other sizes."""
    new = {axis: sizes[axis][node.name] if axis in sizes else n for axis, n in reads.sizes.items()}
    return layout_shape(reads.layout, new)


def _new_operation(
    node: Node, input_shapes: Sequence[Shape], shape: Shape, found: Mapping[str, NodeReads]
) -> Operation:
    """Return the operation of a node for other input shapes and another output shape."""
    operation = node.operation
    if isinstance(operation, Input):
        return Input(shape)
    if tuple(input_shapes) == node.input_shapes:
        return operation
    if isinstance(operation, Convolution):
        g = operation.geometry
        options: dict[str, Any] = g.options()
        geometry = ConvGeometry(input_shapes[0][1:], g.kernel_shape, **options)
        return replace(operation, geometry=geometry)
    if isinstance(operation, Resize):
        return replace(operation, sizes=shape[1:])  # at its scales, if it has some
    if isinstance(operation, Rearrangement):
        if operation.name in ("reshape", "expand"):
            return replace(operation, options=shape if operation.name == "reshape" else (shape,))
        if operation.name == "pad":
            widths, boundaries, value = operation.options
            sizes = zip(widths, node.input_shapes[0], input_shapes[0], strict=True)
            new_widths = tuple((-m if low == -n else low, high) for (low, high), n, m in sizes)
            return replace(operation, options=(new_widths, boundaries, value))
        if operation.name == "take":
            axis, start, stop, step = operation.options
            n, new = node.input_shapes[0][axis], input_shapes[0][axis]
            if single_axis(found[node.inputs[0]].layout[axis]) is not None:
                first, end, step = slice(start, stop, step).indices(n)
                return replace(operation, options=(axis, first, new - (n - end), step))
    if isinstance(operation, Opaque | PatternMap):
        raise ValueError(f"node {node.name!r} ({node.kind}) cannot be made for another size")
    return operation
