"""convmatrix: convolution layers as explicit sparse matrices.

A convolution is bilinear in its input x and its weights w, ``y_i = sum_jk T[i,j,k] x_j w_k``. `ConvGeometry` describes
a layer, its `WeightPattern` is the sparse tensor T, and contractions of T are the layer's matrix, its Jacobian and its
gradients. `conv_matrix` goes from a kernel to the matrix in one call; `ConvOperator` is the same map without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from convmatrix import io, testing
from convmatrix.boundary import BOUNDARIES
from convmatrix.estimates import Estimate, estimate
from convmatrix.frameworks import from_torch
from convmatrix.geometry import ConvGeometry
from convmatrix.matrices import conv_matrix, conv_transpose_matrix, shift_matrix, unfold_matrix
from convmatrix.memory import MatrixTooLargeError
from convmatrix.operator import ConvOperator
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from convmatrix import counts, equivariance, graph, nn, plotting, symbolic

__version__ = "0.1.0"

__all__ = [
    "BOUNDARIES",
    "ConvGeometry",
    "ConvOperator",
    "Estimate",
    "MatrixTooLargeError",
    "WeightPattern",
    "__version__",
    "conv_matrix",
    "conv_transpose_matrix",
    "counts",
    "equivariance",
    "estimate",
    "from_torch",
    "graph",
    "io",
    "nn",
    "plotting",
    "shift_matrix",
    "symbolic",
    "testing",
    "unfold_matrix",
]

_LOADED_WHEN_USED = ("counts", "equivariance", "graph", "nn", "plotting", "symbolic")


def __getattr__(name: str) -> Any:
    """Load a room that many users do not need, when it is first used."""
    if name in _LOADED_WHEN_USED:
        return import_module(f"convmatrix.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
