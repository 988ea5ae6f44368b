"""Networks as directed acyclic graphs of operations: the one description that the rest of the package reads.

A `Network` is a sequence of nodes. Each has an operation, which computes its output shape, evaluates a
batch, returns its sparse matrix and bias if it is linear, and returns what its outputs read. `as_network` accepts a
network in any form.
"""

from convmatrix.network.acyclic_graph import Network
from convmatrix.network.architectures import ARCHITECTURES, architecture, as_network
from convmatrix.network.branches import Addition, Concatenation, Extremum, Product
from convmatrix.network.construction import Node
from convmatrix.network.entrywise import Elementwise, ParametricReLU, Scale
from convmatrix.network.fixed_patterns import blur_pooling_pattern, fixed_pattern, resize_pattern
from convmatrix.network.functions import FUNCTIONS, Function
from convmatrix.network.intervals import interval_bounds
from convmatrix.network.linearisation import Linearisation
from convmatrix.network.normalisations import LocalResponseNormalisation, Normalisation, Softmax
from convmatrix.network.operations import (
    Input,
    MissingWeightsError,
    Opaque,
    Operation,
    UnknownOperatorError,
)
from convmatrix.network.rearrangements import (
    Rearrangement,
    channel_shuffle,
    expand,
    flatten,
    gather,
    pad,
    reshape,
    take,
    transpose,
)
from convmatrix.network.reductions import MatrixProduct, Reduction
from convmatrix.network.resize import Resize
from convmatrix.network.weighted import Convolution, FullyConnected, PatternMap
from convmatrix.network.windows import Pooling

__all__ = [
    "ARCHITECTURES",
    "FUNCTIONS",
    "Addition",
    "Concatenation",
    "Convolution",
    "Elementwise",
    "Extremum",
    "FullyConnected",
    "Function",
    "Input",
    "Linearisation",
    "LocalResponseNormalisation",
    "MatrixProduct",
    "MissingWeightsError",
    "Network",
    "Node",
    "Normalisation",
    "Opaque",
    "Operation",
    "ParametricReLU",
    "PatternMap",
    "Pooling",
    "Product",
    "Rearrangement",
    "Reduction",
    "Resize",
    "Scale",
    "Softmax",
    "UnknownOperatorError",
    "architecture",
    "as_network",
    "blur_pooling_pattern",
    "channel_shuffle",
    "expand",
    "fixed_pattern",
    "flatten",
    "gather",
    "interval_bounds",
    "pad",
    "reshape",
    "resize_pattern",
    "take",
    "transpose",
]


def __dir__() -> list[str]:
    return sorted(__all__)
