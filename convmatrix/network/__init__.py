"""Networks as directed acyclic graphs of operations: the one description that the rest of the package reads.

A `Network` is a sequence of nodes. Each has an operation, which knows its shapes, evaluates itself on a batch, gives
its sparse matrix and bias where it is linear, and tells what its outputs read. `as_network` accepts a network in any
form.
"""

from convmatrix.network.architectures import ARCHITECTURES, architecture, as_network
from convmatrix.network.functions import FUNCTIONS, Elementwise, Function, Scale
from convmatrix.network.node_lists import Node
from convmatrix.network.nodes import Network
from convmatrix.network.operations import (
    Addition,
    Concatenation,
    Input,
    MissingWeightsError,
    Opaque,
    Operation,
    Product,
    UnknownOperatorError,
)
from convmatrix.network.rearrangements import (
    Rearrangement,
    Resize,
    channel_shuffle,
    flatten,
    pad,
    reshape,
    take,
    transpose,
)
from convmatrix.network.weighted import Convolution, FullyConnected, PatternMap
from convmatrix.network.windows import Pooling

__all__ = [
    "ARCHITECTURES",
    "FUNCTIONS",
    "Addition",
    "Concatenation",
    "Convolution",
    "Elementwise",
    "FullyConnected",
    "Function",
    "Input",
    "MissingWeightsError",
    "Network",
    "Node",
    "Opaque",
    "Operation",
    "PatternMap",
    "Pooling",
    "Product",
    "Rearrangement",
    "Resize",
    "Scale",
    "UnknownOperatorError",
    "architecture",
    "as_network",
    "channel_shuffle",
    "flatten",
    "pad",
    "reshape",
    "take",
    "transpose",
]


def __dir__() -> list[str]:
    return sorted(__all__)
