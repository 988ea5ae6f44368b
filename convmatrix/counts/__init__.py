"""Counts of layers and networks: units, connections, parameters, multiply-adds, bytes.

`layer_counts` computes them for one convolution layer, by formula: for any size and without building anything.
`network_counts` does the same for a network, or for a published architecture given by its name.

Examples
--------
>>> from convmatrix.counts import network_counts
>>> network_counts("vgg16").total.parameters
138357544
"""

from convmatrix.counts.layer_counts import Bias, LayerCounts, layer_counts
from convmatrix.counts.networks import (
    NetworkCounts,
    NetworkLayer,
    addition_layer,
    convolution_layer,
    dense_layer,
    input_layer,
    network_counts,
    network_layers,
    node_counts,
    normalisation_layer,
    pooling_layer,
    total_counts,
)
from convmatrix.counts.storage import StorageBytes
from convmatrix.network import ARCHITECTURES as NETWORKS

# The names of the layers of a network in version 0.1.
Addition, Convolution, Dense = addition_layer, convolution_layer, dense_layer
Input, Normalisation, Pooling = input_layer, normalisation_layer, pooling_layer

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
    "node_counts",
    "total_counts",
]


def __dir__() -> list[str]:
    return sorted(__all__)
