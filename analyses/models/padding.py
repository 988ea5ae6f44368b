"""Counts of a network, and the same by plain enumeration of positions, as an independent check."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convmatrix.counts import network_counts
from convmatrix.network import FullyConnected, Network, Node

if TYPE_CHECKING:
    import convmatrix as cm
    from convmatrix.boundary import Axis

COUNTED = ("convolution", "dense", "matrix product")
"""Kinds of nodes whose multiply-adds published counts contain."""


@dataclass(frozen=True)
class Size:
    """Counts of a network."""

    parameters: int  # of all outputs, auxiliary classifiers included
    macs: int  # multiply-adds of the first output by convention, padding counted
    nonzeros: int  # of the matrices of its convolutions and dense layers
    entries: int  # of the same matrices, structural zeros included
    products: int  # multiply-adds of products of two computed matrices

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds that do not read padding."""
        return self.nonzeros + self.products

    @property
    def padding(self) -> float:
        """The share of the multiply-adds by convention that reads padding."""
        return 1 - self.multiply_adds / self.macs

    @property
    def density(self) -> float:
        """The share of the entries of all matrices that is stored."""
        return self.nonzeros / self.entries


def size_of(network: Network) -> Size:
    """Count a network."""
    counts = network_counts(network)
    used = {node.name: node.kind for node in network.until(network.outputs[0])}
    layers = [layer for layer in counts.layers if used.get(layer.name) in COUNTED]
    return Size(
        parameters=counts.total.parameters,
        macs=sum(layer.macs for layer in layers),
        nonzeros=sum(layer.nonzeros for layer in layers),
        entries=sum(layer.entries for layer in layers),
        products=sum(layer.macs for layer in layers if used[layer.name] == "matrix product"),
    )


def size_by_positions(network: Network) -> Size:
    """Count a network anew, from the shapes of its nodes and from every position that a tap reads on an axis."""
    macs = nonzeros = entries = products = 0
    for node in network.until(network.outputs[0]):
        if node.kind not in COUNTED:
            continue
        nominal, inside = _multiply_adds(node)
        macs += nominal
        if node.kind == "matrix product":
            products += nominal
        else:
            nonzeros += inside
            entries += math.prod(node.output_shape) * math.prod(node.input_shapes[0])
    return Size(0, macs, nonzeros, entries, products)


def _multiply_adds(node: Node) -> tuple[int, int]:
    """Return the multiply-adds of a node with and without those by padding."""
    outputs = math.prod(node.output_shape)
    if node.kind == "convolution":
        return _of_convolution(node.geometry)
    if isinstance(node.operation, FullyConnected):
        return outputs * node.operation.n_in, outputs * node.operation.n_in
    return outputs * node.input_shapes[0][-1], outputs * node.input_shapes[0][-1]


def _of_convolution(geometry: cm.ConvGeometry) -> tuple[int, int]:
    pairs = geometry.out_channels * geometry.in_channels // geometry.groups
    inside = [_read(axis) for axis in geometry.axes]
    return pairs * math.prod(map(len, inside)), pairs * math.prod(int(read.sum()) for read in inside)


def _read(axis: Axis) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return a mask of the pairs (output, tap) of an axis that read a sample rather than padding."""
    positions = np.add.outer(np.arange(axis.n_outputs) * axis.stride, np.arange(axis.n_taps) * axis.dilation)
    positions = positions.ravel() - axis.pad_low
    read: np.ndarray[tuple[int], np.dtype[np.bool_]] = (positions >= 0) & (positions < axis.n_samples)
    return read
