"""The counts of a network: layer by layer, and in total."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convmatrix.counts.architectures import NETWORKS
from convmatrix.counts.layer import Bias, LayerCounts
from convmatrix.counts.layers import Convolution, Dense, NetworkLayer, Shape
from convmatrix.counts.storage import StorageBytes
from convmatrix.geometry import ConvGeometry

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


@dataclass(frozen=True)
class NetworkCounts:
    """The counts of a network.

    Attributes
    ----------
    name : str
    layers : tuple of LayerCounts
        In the order of the network.
    total : LayerCounts
        Their sums; density and sharing factor are those of all layers together.
    """

    name: str
    layers: tuple[LayerCounts, ...]
    total: LayerCounts

    def __getitem__(self, name: str) -> LayerCounts:
        """Return the counts of the layer of a name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"{self.name} has no layer {name!r}; its layers are {', '.join(la.name for la in self.layers)}")


def network_layers(network: str | Sequence[NetworkLayer | ConvGeometry], bias: Bias = "channel") -> list[NetworkLayer]:
    """Return a network as a checked list of layers: each one reads the shape that its sources give.

    Parameters
    ----------
    network : str or sequence
        As for `network_counts`.
    bias : {"channel", "unit"} or None
        Biases of layers given as a bare `ConvGeometry`.

    Examples
    --------
    >>> [layer.name for layer in network_layers("lecun1989")]
    ['input', 'H1', 'H2', 'H3', 'output']
    """
    if isinstance(network, str):
        if network not in NETWORKS:
            raise ValueError(f"network {network!r} is unknown; the named ones are {', '.join(NETWORKS)}")
        return checked(NETWORKS[network]())
    if isinstance(network, ConvGeometry) or not isinstance(network, Iterable):
        raise TypeError(
            f"a network is a list of layers or a name, but got a {type(network).__name__}; put it in a list"
        )
    layers: list[NetworkLayer] = []
    for number, layer in enumerate(network, start=1):
        if isinstance(layer, ConvGeometry):
            layers.append(Convolution(f"layer {number}", layer, bias))
        elif hasattr(layer, "counts"):
            layers.append(layer)
        else:
            raise TypeError(
                f"layer {number} of the network is a {type(layer).__name__}; give a ConvGeometry or one of the layers "
                "of convmatrix.counts, such as Convolution, Dense or Pooling"
            )
    if not layers:
        raise ValueError("a network needs at least one layer, but the list is empty")
    return checked(layers)


def checked(layers: Sequence[NetworkLayer]) -> list[NetworkLayer]:
    """Return the layers if they fit together.

    Raises
    ------
    ValueError
        If two layers have one name, a source is not an earlier layer, or shapes disagree.
    """
    given: dict[str, Shape] = {}
    before: list[str] = []
    for layer in layers:
        if layer.name in given:
            raise ValueError(f"two layers have the name {layer.name!r}; give each its own")
        for source in layer.sources or before:
            if source not in given:
                raise ValueError(
                    f"layer {layer.name!r} reads {source!r}, which is no earlier layer; "
                    f"those are {', '.join(map(repr, given)) or 'none'}"
                )
            flat = isinstance(layer, Dense)
            found = (math.prod(given[source]),) if flat else given[source]
            if found != layer.input_shape:
                raise ValueError(
                    f"layer {layer.name!r} reads shape {layer.input_shape}, but {source!r} gives {given[source]}"
                    f"{f', which is {found[0]} samples' if flat else ''}; change one of the two"
                )
        given[layer.name] = layer.output_shape
        before = [layer.name]
    return list(layers)


def network_counts(
    network: str | Sequence[NetworkLayer | ConvGeometry], *, bias: Bias = "channel", dtype: DTypeLike = np.float64
) -> NetworkCounts:
    """Return the counts of a network, layer by layer and in total, without building a matrix.

    Parameters
    ----------
    network : str or sequence of layers
        ``"lecun1989"``, ``"lenet5"``, ``"alexnet"``, ``"vgg16"``, ``"resnet18"``, ``"resnet50"``; or the layers:
        `Input`, `Convolution`, `Dense`, `Pooling`, `Normalisation`, `Addition`, or a bare `ConvGeometry`. A layer reads
        the one before, or those that it names as its sources, which makes branches.
    bias : {"channel", "unit"} or None
        Biases of layers given as a bare `ConvGeometry`.
    dtype : dtype
        Of the values whose bytes are given.

    Returns
    -------
    NetworkCounts

    Raises
    ------
    ValueError
        If the name is unknown, or layers do not fit together.

    Examples
    --------
    >>> lenet = network_counts("lenet5")
    >>> lenet["C3"].parameters, lenet["C3"].connections
    (1516, 151600)
    >>> lenet.total.parameters, lenet.total.connections
    (60000, 340908)

    A network of one's own, with a branch:

    >>> from convmatrix import ConvGeometry
    >>> same = ConvGeometry((8, 8), (3, 3), in_channels=4, out_channels=4, padding="same")
    >>> from convmatrix.counts import Addition, Convolution
    >>> layers = [Convolution("a", same), Convolution("b", same), Addition("sum", (4, 8, 8), ("a", "b"))]
    >>> network_counts(layers).total.parameters
    296
    """
    counts = tuple(layer.counts(dtype) for layer in network_layers(network, bias))
    return NetworkCounts(network if isinstance(network, str) else "network", counts, total_counts(counts))


def total_counts(counts: Sequence[LayerCounts], name: str = "total") -> LayerCounts:
    """Return the sums over layers.

    Examples
    --------
    >>> layers = network_counts("alexnet").layers
    >>> total_counts([layer for layer in layers if layer.name.startswith("conv")]).macs
    665784864
    """
    n_bytes = StorageBytes(0, 0, 0, 0)
    for layer in counts:
        n_bytes += layer.bytes
    return LayerCounts(
        name=name,
        units=sum(layer.units for layer in counts),
        connections=sum(layer.connections for layer in counts),
        connections_inside=sum(layer.connections_inside for layer in counts),
        weights=sum(layer.weights for layer in counts),
        biases=sum(layer.biases for layer in counts),
        nonzeros=sum(layer.nonzeros for layer in counts),
        macs=sum(layer.macs for layer in counts),
        entries=sum(layer.entries for layer in counts),
        bytes=n_bytes,
    )
