"""Nodes: operations with names and inputs, read from lists in any form, and put in topological order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from convmatrix import options as validate
from convmatrix.geometry import ConvGeometry
from convmatrix.network.operations import Input, Opaque, Operation, Shape, entries
from convmatrix.network.weighted import Convolution, FullyConnected, PatternMap
from convmatrix.network.windows import Pooling
from convmatrix.pattern import WeightPattern


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of a network: its name, what it reads, and its shapes.

    Attributes
    ----------
    name : str
        Unique in its network.
    operation : Operation
    inputs : tuple of str
        Names of the nodes that are read; in a list of nodes, empty for the node before.
    input_shapes : tuple of tuple of int
        Shapes of one sample of each input, channels first; known in a network.
    output_shape : tuple of int

    Examples
    --------
    >>> from convmatrix.network import Addition
    >>> Node("sum", Addition(), ("main", "shortcut")).kind
    'addition'
    """

    name: str
    operation: Operation
    inputs: tuple[str, ...] = ()
    input_shapes: tuple[Shape, ...] = ()
    output_shape: Shape = ()

    def __post_init__(self) -> None:
        validate.instance("operation", self.operation, Operation, "give one of convmatrix.network, such as Input")
        given: Any = self.inputs
        object.__setattr__(self, "inputs", (given,) if isinstance(given, str) else entries("inputs", given))

    @property
    def kind(self) -> str:
        """The operation's kind, such as ``"convolution"``."""
        return self.operation.kind

    @property
    def linear(self) -> bool:
        """Whether the output is an affine function of the inputs."""
        return self.operation.linear

    @property
    def exact(self) -> bool:
        """Whether the output equals its linearisation near almost every input."""
        return self.operation.exact

    @property
    def geometry(self) -> ConvGeometry:
        """The geometry of a convolution or of a pooling's windows, one group per channel; TypeError for other nodes."""
        operation = self.operation
        if isinstance(operation, Pooling) and self.input_shapes:
            one, n = operation.geometry(self.input_shapes[0]), self.input_shapes[0][0]
            return replace(one, in_channels=n, out_channels=n, groups=n)
        if isinstance(operation, Convolution):
            return operation.geometry
        raise TypeError(f"node {self.name!r} is {self.kind}, which has no windows; convolution and pooling have")

    def __repr__(self) -> str:
        return f"Node({self.name!r}, {self.kind}, {self.output_shape})"


def check_declared(node: Node, shapes: tuple[Shape, ...]) -> None:
    """Raise if a node was made for other input shapes than it reads; a dense layer reads its input flattened."""
    if isinstance(node.operation, FullyConnected) and node.operation.flatten:
        return
    for source, expected, found in zip(node.inputs, node.input_shapes, shapes, strict=False):
        if expected != found:
            raise ValueError(
                f"node {node.name!r} was made for an input of shape {expected}, but {source!r} has shape {found}; "
                "change one of the two"
            )


def checked_shape(node: Node, shapes: tuple[Shape, ...]) -> Shape:
    """Return the shape of a node's output; raise ValueError with the node's name if its inputs do not fit."""
    wanted = node.operation.n_inputs
    if (wanted is not None and len(shapes) != wanted) or (wanted is None and not shapes):
        raise ValueError(
            f"node {node.name!r}: {node.kind} reads {'at least 1' if wanted is None else wanted} input"
            f"{'' if wanted == 1 else 's'}, but has {len(shapes)} ({', '.join(node.inputs) or 'none'})"
        )
    try:
        shape = tuple(int(size) for size in node.operation.output_shape(shapes))
        if min(shape, default=1) < 1:
            raise ValueError(f"the output of shape {shape} is empty")
        return shape
    except ValueError as error:
        sources = ", ".join(f"{name!r} {shape}" for name, shape in zip(node.inputs, shapes, strict=True))
        raise ValueError(f"node {node.name!r}, which reads {sources}: {error}") from None


def listed_names(names: Iterable[str]) -> str:
    """Return the first twelve names of a list, and the number of the others."""
    listed = list(names)
    return ", ".join(listed[:12]) + (f" and {len(listed) - 12} more" if len(listed) > 12 else "")


def as_nodes(nodes: Iterable[Any]) -> list[Node]:
    """Return nodes with names and inputs; the first is the input."""
    if not isinstance(nodes, Iterable):
        raise TypeError(f"nodes must be a list of nodes, but is {nodes!r:.60}")
    listed: list[Node] = []
    for number, item in enumerate(nodes, start=1):
        node = _as_node(item, number)
        if not listed and not isinstance(node.operation, Input):
            if node.inputs:
                raise ValueError(
                    f"node {node.name!r} reads {node.inputs[0]!r}, but is the first node; begin with Input"
                )
            listed.append(Node("input", Input(_first_shape(node))))
        if not node.inputs and not isinstance(node.operation, Input):
            node = replace(node, inputs=(listed[-1].name,))
        listed.append(node)
    if not listed:
        raise ValueError("a network needs at least one node, but the list is empty")
    inputs = [node.name for node in listed if isinstance(node.operation, Input)]
    if len(inputs) != 1:
        raise ValueError(f"a network has one input node, but there are {len(inputs)}: {', '.join(inputs)}")
    seen: set[str] = set()
    for node in listed:
        if node.name in seen:
            raise ValueError(f"two nodes have the name {node.name!r}; give each its own")
        seen.add(node.name)
    return listed


def _as_node(item: Any, number: int) -> Node:
    if isinstance(item, Node):
        return item
    if isinstance(item, ConvGeometry):
        return Node(f"layer {number}", Convolution(item))
    if isinstance(item, WeightPattern):
        return Node(f"layer {number}", PatternMap(item))
    if isinstance(item, Operation):
        name = item.operator if isinstance(item, Opaque) else item.kind
        return Node("input" if isinstance(item, Input) else f"{name} {number}", item)
    raise TypeError(
        f"entry {number} of the network is a {type(item).__name__}; give a Node, an operation of convmatrix.network, a "
        "ConvGeometry or a WeightPattern"
    )


def _first_shape(node: Node) -> Shape:
    """Return the input shape that a first node implies."""
    operation = node.operation
    if isinstance(operation, Convolution):
        return operation.geometry.full_input_shape
    if isinstance(operation, PatternMap):
        geometry = operation.pattern.geometry
        return (operation.pattern.shape[1],) if geometry is None else geometry.full_input_shape
    if isinstance(operation, FullyConnected):
        return (operation.n_in,)
    raise ValueError(f"the network begins with node {node.name!r}, which has no shape; begin with Input(shape)")


def topological(nodes: list[Node]) -> list[Node]:
    """Return the nodes in topological order; the given order if it is one."""
    known = {node.name: node for node in nodes}
    for node in nodes:
        for source in node.inputs:
            if source not in known:
                raise ValueError(
                    f"node {node.name!r} reads {source!r}, which is not a node; nodes are {listed_names(known)}"
                )
    place = {node.name: number for number, node in enumerate(nodes)}
    ordered = nodes
    if any(place[source] >= place[node.name] for node in nodes for source in node.inputs):
        try:
            order = TopologicalSorter({node.name: node.inputs for node in nodes}).static_order()
            ordered = [known[name] for name in order]
        except CycleError as error:
            raise ValueError(f"the nodes {listed_names(sorted(set(error.args[1])))} form a cycle") from None
    first = next(node for node in ordered if isinstance(node.operation, Input))
    return [first, *(node for node in ordered if node is not first)]


def with_sources(nodes: Sequence[Node], names: Iterable[str]) -> set[str]:
    """Return names and those of all nodes that they depend on; the nodes are in topological order."""
    needed = set(names)
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return needed
