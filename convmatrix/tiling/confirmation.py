"""Comparison of a network with the same model read for another image size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.network import (
    Convolution,
    Network,
    Node,
    Pooling,
    Rearrangement,
    Resize,
)
from convmatrix.tiling.node_reads import NodeReads, network_reads
from convmatrix.tiling.resized_networks import resized

if TYPE_CHECKING:
    from convmatrix.network.operations import Shape
    from convmatrix.tiling.axis_reads import AxisReads


def confirmed(network: Network, found: Mapping[str, NodeReads], other: Network, output: str) -> dict[str, NodeReads]:
    """Return what the nodes of a network read, without the restrictions of sizes that another size has confirmed.

    Raises
    ------
    ValueError
        If the other network is not the network resized; the message names the first node that differs.
    """
    if other.input_shape == network.input_shape:
        raise ValueError(
            f"other has the same input shape {other.input_shape} as the network, and tells nothing; read it for "
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
                told = not theirs.assumed if node.kind == "convolution" else theirs.assumed != own.assumed
                own = replace(own, assumed=() if told else own.assumed)
            kept[axis].append((source, own))
    return replace(reads, reads=kept)
