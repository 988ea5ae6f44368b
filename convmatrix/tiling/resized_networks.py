"""Networks for images of another size, with the same weights: made, or compared with a network that was read for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import options as validate
from convmatrix.network import (
    Convolution,
    Input,
    Network,
    Node,
    Opaque,
    Operation,
    PatternMap,
    Pooling,
    Rearrangement,
    Resize,
    as_network,
)
from convmatrix.tiling.axis_plan import AxisPlan, axis_plan
from convmatrix.tiling.layouts import layout_shape, single_axis
from convmatrix.tiling.node_reads import NodeReads, network_reads

if TYPE_CHECKING:
    from convmatrix.network.operations import Shape
    from convmatrix.tiling.axis_reads import AxisReads


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
    found = network_reads(net, blocks_known=True)
    for name, reads in found.items():
        found[name] = replace(reads, reads={axis: assuming_nothing(step) for axis, step in reads.reads.items()})
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


def assuming_nothing(step: Sequence[tuple[str, AxisReads | None]]) -> list[tuple[str, AxisReads | None]]:
    """Return what a node reads on an axis, for all sizes at which it does what it does at its own."""
    return [(source, own and replace(own, assumed=())) for source, own in step]


def _followed(network: Network, found: Mapping[str, NodeReads], axis: int, size: int) -> dict[str, int]:
    """Return the size of every node on an axis, for an image of another size."""
    sizes: dict[str, int] = {}
    for output in network.outputs:
        own = {node.name: found[node.name] for node in network.until(output).nodes}
        followed = axis_plan(own, output, axis)
        if not isinstance(followed, AxisPlan):
            raise ValueError(f"{network.name} cannot be resized on {followed[0]}")
        sizes |= {name: extent.size for name, extent in followed.extents(size).items()}
    return sizes


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
        return replace(operation, geometry=replace(operation.geometry, input_shape=input_shapes[0][1:]))
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
    if isinstance(operation, Opaque | PatternMap) or hasattr(operation, "sample_shape"):
        raise ValueError(f"node {node.name!r} ({node.kind}) cannot be made for another size")
    return operation


# --- comparison with the same model, read for another size -----------------------------------------------------------


def confirmed(network: Network, found: Mapping[str, NodeReads], other: Network, output: str) -> dict[str, NodeReads]:
    """Return what the nodes of a network read, without the restrictions of sizes that another size has confirmed.

    Raises a ValueError, which names the first node that differs, if the other network is not the network resized.
    """
    if other.input_shape == network.input_shape:
        raise ValueError(
            f"other has the same input shape {other.input_shape} as the network, and confirms nothing; read it for "
            "another size, with other remainders when divided by the strides"
        )
    expected = resized(network, other.input_shape)
    other = other.until(output) if output in {node.name for node in other} else other
    if [node.name for node in expected] != [node.name for node in other]:
        raise ValueError(
            f"other has the nodes {', '.join(n.name for n in other.nodes[:6])}, ..., but {network.name} has "
            f"{', '.join(n.name for n in expected.nodes[:6])}, ...; read the same model for both"
        )
    for ours, theirs in zip(expected, other, strict=True):
        difference = _difference(ours, theirs)
        if difference:
            raise ValueError(
                f"node {ours.name!r} of other, read for {other.input_shape}, {difference}; what it does depends on the "
                "size of the image, so that the network cannot be cut into tiles"
            )
    at_other = network_reads(other, blocks_known=True)
    return {node.name: _freed(node, found[node.name], at_other[node.name]) for node in expected}


def _difference(ours: Node, theirs: Node) -> str:
    """Return how a node differs from the expected one, an empty string if it does not."""
    if (ours.kind, ours.inputs) != (theirs.kind, theirs.inputs):
        return (
            f"is {theirs.kind} of {', '.join(theirs.inputs)}, but {ours.kind} of {', '.join(ours.inputs)} was expected"
        )
    if ours.output_shape != theirs.output_shape:
        return f"has the output shape {theirs.output_shape}, but {ours.output_shape} was expected"
    if isinstance(ours.operation, Convolution) and isinstance(theirs.operation, Convolution):
        if ours.operation.geometry != theirs.operation.geometry:
            return f"is {theirs.operation.geometry}, but {ours.operation.geometry} was expected"
    elif not _reads_the_same(ours.operation, theirs.operation, ours.input_shapes):
        return f"is {theirs.operation}, but {ours.operation} was expected"
    changed = [name for name in _values(ours.operation) if not _equal(ours.operation, theirs.operation, name)]
    return f"has other values of {', '.join(changed)}" if changed else ""


def _reads_the_same(ours: Any, theirs: Any, input_shapes: Sequence[Shape]) -> bool:
    """Return whether two operations of one kind read the same entries at the same shapes."""
    (shape, *_) = input_shapes or [()]
    if isinstance(ours, Pooling):
        return bool(ours.geometry(shape) == theirs.geometry(shape))
    if isinstance(ours, Rearrangement):
        return ours.fill == theirs.fill and bool(np.array_equal(ours.index(shape), theirs.index(shape)))
    if isinstance(ours, Resize):
        pairs = zip(ours.axis_matrices(shape), theirs.axis_matrices(shape), strict=True)
        return all((a != b).nnz == 0 for a, b in pairs)
    return True


def _values(operation: Any) -> list[str]:
    """Return the names of an operation's attributes that must agree, beyond what it reads."""
    if isinstance(operation, Rearrangement | Resize):
        return []
    windows = ("kernel_shape", "stride", "padding", "dilation", "boundary", "ceil_mode")  # ways to say what is read
    known = windows if isinstance(operation, Pooling) else ("geometry",) if isinstance(operation, Convolution) else ()
    return [entry.name for entry in fields(operation) if entry.name not in known]


def _equal(ours: Any, theirs: Any, name: str) -> bool:
    """Return whether an attribute of two operations has the same value, bit by bit for arrays."""
    a, b = getattr(ours, name), getattr(theirs, name)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc" and b.dtype.kind in "fc"))
    return type(a) is type(b) and bool(a == b)


def _freed(node: Node, reads: NodeReads, at_other: NodeReads) -> NodeReads:
    """Return what a node reads, without the assumptions that the other size has confirmed.

    The numbers of a slice or a resize are the same for another remainder. A convolution's padding is confirmed if it is
    not that of the word "same" at the other size.
    """
    kept: dict[int, list[tuple[str, AxisReads | None]]] = {}
    for axis, step in reads.reads.items():
        kept[axis] = []
        for (source, own), (_, theirs) in zip(step, at_other.reads[axis], strict=True):
            if own is not None and theirs is not None and own.assumed:
                confirmed = not theirs.assumed if node.kind == "convolution" else theirs.assumed != own.assumed
                own = replace(own, assumed=() if confirmed else own.assumed)
            kept[axis].append((source, own))
    return replace(reads, reads=kept)
