"""Counts of layers and networks: units, connections, parameters, multiply-adds, bytes.

`layer_counts` works them out for one convolution layer by formula, for any size and without building anything;
`network_counts` does so for a list of layers, or for a published architecture by its name.

Examples
--------
>>> from convmatrix.counts import network_counts
>>> network_counts("vgg16").total.parameters
138357544
"""

from convmatrix.counts.architectures import NETWORKS
from convmatrix.counts.layer import Bias, LayerCounts, layer_counts
from convmatrix.counts.layers import Addition, Convolution, Dense, Input, NetworkLayer, Normalisation, Pooling
from convmatrix.counts.network import NetworkCounts, network_counts, network_layers, total_counts
from convmatrix.counts.storage import StorageBytes

__all__ = [
    "NETWORKS",
    "Addition",
    "Bias",
    "Convolution",
    "Dense",
    "Input",
    "LayerCounts",
    "NetworkCounts",
    "NetworkLayer",
    "Normalisation",
    "Pooling",
    "StorageBytes",
    "layer_counts",
    "network_counts",
    "network_layers",
    "total_counts",
]


def __dir__() -> list[str]:
    return sorted(__all__)
