"""Counts of networks, node by node and in total."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import options as validate
from convmatrix.counts.layer_counts import COUNTED, Bias, LayerCounts, layer_counts
from convmatrix.counts.parameters import parameter_counts, repeated_parameters
from convmatrix.counts.storage import NO_BYTES, StorageBytes, csr_bytes, dia_bytes
from convmatrix.display.tables import ShownAsTable, Table
from convmatrix.geometry import ConvGeometry
from convmatrix.memory import in_words
from convmatrix.network import (
    Addition,
    Convolution,
    FullyConnected,
    Input,
    MatrixProduct,
    Network,
    Node,
    PatternMap,
    Pooling,
    Scale,
    as_network,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike


@dataclass(frozen=True, repr=False)
class NetworkCounts(ShownAsTable):
    """The counts of a network.

    Attributes
    ----------
    name : str
    layers : tuple of LayerCounts
        The counts of each layer, in the order of the network.
    total : LayerCounts
        The sums over all layers, whose density and sharing factor are those of all layers together. Weights shared by
        several layers are counted once.
    """

    name: str
    layers: tuple[LayerCounts, ...]
    total: LayerCounts

    def __getitem__(self, name: str) -> LayerCounts:
        """Return the counts of the layer with the given name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"{self.name} has no layer {name!r}; its layers are {', '.join(la.name for la in self.layers)}")

    def __repr__(self) -> str:
        total = self.total
        return (
            f"NetworkCounts({self.name!r}, {len(self.layers)} layers, {total.parameters} parameters, "
            f"{total.connections} connections)"
        )

    def __str__(self) -> str:
        return self._table().to_text()

    def _table(self) -> Table:
        header = ("layer", "units", "connections", "weights", "biases", "nonzeros", "MACs", "density", "CSR")
        rows: list[Sequence[str]] = [header]
        for counts in (*self.layers, replace(self.total, name="total")):
            numbers = (counts.units, counts.connections, counts.weights, counts.biases, counts.nonzeros, counts.macs)
            density = f"{counts.density:.2g}" if counts.entries else "-"
            rows.append([counts.name, *(f"{n:,}" for n in numbers), density, in_words(counts.bytes.csr)])
        return Table(f"{self.name}, {len(self.layers)} layers", rows, totals=1)


def network_counts(network: Any, *, bias: Bias | bool = "channel", dtype: DTypeLike = np.float64) -> NetworkCounts:
    """Return the counts of a network, layer by layer and in total, without building a matrix.

    Parameters
    ----------
    network : str, Network, nn.Sequential or sequence of layers
        ``"lecun1989"``, ``"lenet5"``, ``"alexnet"``, ``"vgg16"``, ``"resnet18"``, ``"resnet50"``; or anything else that
        `convmatrix.network.as_network` accepts, such as a list of nodes, operations and `ConvGeometry` objects. A layer
        reads the preceding layer, or those that it names as its inputs, which makes branches.
    bias : {"channel", "unit"}, bool or None
        Biases of layers given as a `ConvGeometry`.
    dtype : dtype
        The dtype of the values, for the counts of bytes.

    Returns
    -------
    NetworkCounts

    Raises
    ------
    ValueError
        If the name is unknown, or the layers do not fit together.

    Examples
    --------
    >>> lenet = network_counts("lenet5")
    >>> lenet["C3"].parameters, lenet["C3"].connections
    (1516, 151600)
    >>> lenet.total.parameters, lenet.total.connections
    (60000, 340908)

    A custom network, with a branch:

    >>> from convmatrix import ConvGeometry
    >>> same = ConvGeometry((8, 8), (3, 3), in_channels=4, out_channels=4, padding="same")
    >>> from convmatrix.network import Addition, Convolution, Node
    >>> layers = [
    ...     Node("a", Convolution(same, bias="channel")),
    ...     Node("b", Convolution(same, bias="channel")),
    ...     Node("sum", Addition(), ("a", "b")),
    ... ]
    >>> network_counts(layers).total.parameters
    296
    """
    nodes = network_layers(network, bias)
    counts = tuple(node_counts(node, dtype) for node in nodes)
    name = network if isinstance(network, str) else getattr(network, "name", "network")
    total = total_counts(counts)
    weights, biases = repeated_parameters(nodes)
    return NetworkCounts(
        str(name), counts, replace(total, weights=total.weights - weights, biases=total.biases - biases)
    )


def network_layers(network: Any, bias: Bias | bool = "channel") -> list[Node]:
    """Return the nodes of a network, with the shapes of their inputs and outputs.

    Parameters
    ----------
    network : str, Network, nn.Sequential or sequence of layers
        As for `network_counts`. If the input is not listed, it is not returned.
    bias : {"channel", "unit"}, bool or None
        Biases of layers given as a `ConvGeometry`.

    Examples
    --------
    >>> [layer.name for layer in network_layers("lecun1989")]
    ['input', 'H1', 'H2', 'H3', 'output']
    """
    if isinstance(network, ConvGeometry):
        network = [network]
    if not isinstance(network, list | tuple):
        return list(as_network(network).nodes)
    items = [
        Node(f"layer {number}", Convolution(item, bias=bias)) if isinstance(item, ConvGeometry) else item
        for number, item in enumerate(network, start=1)
    ]
    nodes = Network(items).nodes
    first = items[0].operation if isinstance(items[0], Node) else items[0]
    return list(nodes if isinstance(first, Input) else nodes[1:])


def node_counts(node: Node, dtype: DTypeLike = np.float64) -> LayerCounts:
    """Return the counts of one node of a network.

    Following published counts, pooling has connections but neither weights nor multiply-adds. Operations that move or
    combine values have no counts. The product of two computed matrices has multiply-adds, but no matrix.

    Examples
    --------
    >>> from convmatrix.network import as_network
    >>> counts = node_counts(as_network("lenet5")["S2"])
    >>> counts.units, counts.connections, counts.parameters
    (1176, 5880, 12)
    """
    validate.instance("node", node, Node, "network[name] is one")
    if not node.input_shapes and not isinstance(node.operation, Input):
        raise ValueError(f"node {node.name!r} has no input shape; count a node of a Network, such as network[name]")
    weights, biases = parameter_counts(node)
    return replace(_structure(node, dtype), weights=weights, biases=biases)


def _structure(node: Node, dtype: DTypeLike) -> LayerCounts:
    """Return the counts of a node without its parameters."""
    operation, units = node.operation, math.prod(node.output_shape)
    item = validate.data_type(dtype).itemsize
    if isinstance(operation, Input):
        return LayerCounts(node.name, units)
    if isinstance(operation, Convolution):
        return layer_counts(operation.geometry, operation.bias_sharing, dtype=dtype, name=node.name)
    if isinstance(operation, FullyConnected):
        return _dense_counts(node.name, operation, units, item)
    if isinstance(operation, PatternMap) and operation.trained:
        pattern = operation.pattern
        if pattern.geometry is not None:
            return layer_counts(pattern.geometry, None, dtype=dtype, name=node.name)
        n_out, n_in = pattern.shape
        nonzeros = int(pattern.matrix(np.zeros(pattern.weight_shape, dtype=np.int8)).nnz)
        size = StorageBytes(n_out * n_in * item, csr_bytes(nonzeros, n_out, n_in, item), None, pattern.n_weights * item)
        return LayerCounts(
            name=node.name,
            units=n_out,
            connections=pattern.n_entries,
            connections_inside=pattern.n_entries,
            nonzeros=nonzeros,
            macs=pattern.n_entries,
            entries=n_out * n_in,
            bytes=size,
        )
    if isinstance(operation, Pooling):
        return _pooling_counts(node, operation, dtype)
    if isinstance(operation, MatrixProduct):
        macs = units * node.input_shapes[0][-1]
        return LayerCounts(node.name, units, macs, macs, macs=macs)
    return LayerCounts(node.name)


def _dense_counts(name: str, operation: FullyConnected, units: int, item: int) -> LayerCounts:
    n_in, n_out = operation.n_in, operation.n_out
    copies = units // n_out
    edges, biases = n_in * n_out, n_out if operation.bias is not False else 0
    return LayerCounts(
        name=name,
        units=units,
        connections=copies * (edges + biases),
        connections_inside=copies * edges,
        nonzeros=copies * edges,
        macs=copies * edges,
        entries=copies**2 * edges,
        bytes=StorageBytes(
            dense=copies**2 * edges * item,
            csr=csr_bytes(copies * edges, copies * n_out, copies * n_in, item),
            dia=dia_bytes(n_in + n_out - 1, n_in, n_out, n_in, item) if copies == 1 else None,
            kernel=edges * item,
        ),
    )


def _pooling_counts(node: Node, operation: Pooling, dtype: DTypeLike) -> LayerCounts:
    geometry = node.geometry
    channels = geometry.in_channels
    counts = layer_counts(geometry, "channel" if operation.trained else None, dtype=dtype, name=node.name)
    if operation.trained:
        size = replace(counts.bytes, kernel=channels * np.dtype(dtype).itemsize)
        return replace(counts, bytes=size)
    return replace(counts, nonzeros=0, macs=0, entries=0, bytes=NO_BYTES)


def total_counts(counts: Sequence[LayerCounts], name: str = "total") -> LayerCounts:
    """Return the sums over layers.

    Examples
    --------
    >>> layers = network_counts("alexnet").layers
    >>> total_counts([layer for layer in layers if layer.name.startswith("conv")]).macs
    665784864
    """
    sums = {field: sum(getattr(layer, field) for layer in counts) for field in COUNTED}
    return LayerCounts(name, **sums, bytes=sum((layer.bytes for layer in counts), NO_BYTES))


# --- nodes as version 0.1 made them ----------------------------------------------------------------------------------


class NetworkLayer(Node):
    """A node that is created with its shapes, as in version 0.1; `convmatrix.network.Node` replaces it."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the layers that are read; empty for the preceding layer."""
        return self.inputs

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the first input."""
        return self.input_shapes[0]

    def counts(self, dtype: DTypeLike = np.float64) -> LayerCounts:
        """Return the counts of the layer."""
        return node_counts(self, dtype)


def _layer(name: str, operation: Any, shape: tuple[int, ...], sources: Sequence[str] = ()) -> NetworkLayer:
    """Return a node with shapes; an addition reads one shape from each source."""
    shapes = (validate.shape(f"layer {name!r}: shape", shape),) * max(len(sources), 1)
    try:
        output = operation.output_shape(shapes)
    except ValueError as error:
        raise ValueError(f"layer {name!r}: {error}") from None
    return NetworkLayer(name, operation, tuple(sources), shapes, output)


def input_layer(name: str, shape: tuple[int, ...]) -> NetworkLayer:
    """Return the input of a network, whose samples count as units.

    Examples
    --------
    >>> input_layer("image", (1, 16, 16)).counts().units
    256
    """
    return replace(_layer(name, Input(shape), shape), input_shapes=())


def convolution_layer(
    name: str, geometry: ConvGeometry, bias: Bias = "channel", sources: Sequence[str] = ()
) -> NetworkLayer:
    """Return a named convolution layer with its biases.

    Examples
    --------
    >>> c1 = convolution_layer("C1", ConvGeometry((32, 32), (5, 5), out_channels=6))
    >>> c1.output_shape, c1.counts().parameters
    ((6, 28, 28), 156)
    """
    return _layer(name, Convolution(geometry, bias=bias), geometry.full_input_shape, sources)


def dense_layer(
    name: str, n_in: int, n_out: int, bias: bool = True, trained: bool = True, sources: Sequence[str] = ()
) -> NetworkLayer:
    """Return a named fully connected layer; ``trained=False`` is for fixed coefficients.

    Examples
    --------
    >>> dense_layer("H3", 192, 30).counts().connections
    5790
    """
    return _layer(name, FullyConnected(n_in, n_out, bias=bias, trained=trained), (n_in,), sources)


def pooling_layer(
    name: str,
    input_shape: tuple[int, ...],
    window: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    trained: bool = False,
    sources: Sequence[str] = (),
) -> NetworkLayer:
    """Return a named pooling layer; ``trained=True`` is the subsampling of LeNet-5.

    Examples
    --------
    >>> s2 = pooling_layer("S2", (6, 28, 28), 2, trained=True)
    >>> s2.output_shape, s2.counts().connections, s2.counts().parameters
    ((6, 14, 14), 5880, 12)
    """
    return _layer(name, Pooling("sum", window, stride, padding, trained=trained), input_shape, sources)


def normalisation_layer(name: str, shape: tuple[int, ...], sources: Sequence[str] = ()) -> NetworkLayer:
    """Return a named batch normalisation: one trained scale and one trained shift per channel.

    Examples
    --------
    >>> normalisation_layer("bn1", (64, 112, 112)).counts().parameters
    128
    """
    return _layer(name, Scale("channel", "channel"), shape, sources)


def addition_layer(name: str, shape: tuple[int, ...], sources: Sequence[str]) -> NetworkLayer:
    """Return a named sum of branches; it contributes no counts.

    Examples
    --------
    >>> addition_layer("sum", (64, 56, 56), ("main", "shortcut")).counts().parameters
    0
    """
    return _layer(name, Addition(), shape, sources)
