"""convmatrix: convolution layers as explicit sparse matrices.

A convolution is bilinear in its input x and its weights w, ``y_i = sum_jk T[i,j,k] x_j w_k``. A `ConvGeometry`
describes a layer, its `WeightPattern` is the sparse tensor T, and contractions of T are the layer's matrix, its
Jacobian and its gradients. `conv_matrix` returns the matrix of a kernel in one call; `ConvOperator` is the same linear
map as a matrix-free operator.
"""

import signal
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

_command = sys.argv[:1] and (PurePath(sys.argv[0]).stem == "convmatrix" or sys.argv[0] == "-m")
if (
    _command
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    and "convmatrix" in " ".join(sys.orig_argv[:4])
):
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a traceback of the imports below

from convmatrix import io
from convmatrix.boundary import BOUNDARIES
from convmatrix.frameworks import from_torch
from convmatrix.geometry import ConvGeometry
from convmatrix.matrices import conv_matrix, conv_transpose_matrix, shift_matrix, unfold_matrix
from convmatrix.memory import Estimate, MatrixTooLargeError, estimate
from convmatrix.operator import ConvOperator
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from convmatrix import (
        constraints,
        counts,
        distributed,
        equivariance,
        explore,
        graph,
        network,
        nn,
        plotting,
        proofs,
        solve,
        spectral,
        structured,
        symbolic,
        testing,
        tiling,
    )
    from convmatrix.network import Network
    from convmatrix.structured import (
        circulant,
        doubly_block_circulant,
        doubly_block_toeplitz,
        is_circulant,
        is_doubly_block_circulant,
        is_doubly_block_toeplitz,
        is_toeplitz,
        nearest_conv,
        recover_kernel,
        toeplitz,
    )

__version__ = "0.1.0"

__all__ = [
    "BOUNDARIES",
    "ConvGeometry",
    "ConvOperator",
    "Estimate",
    "MatrixTooLargeError",
    "Network",
    "WeightPattern",
    "__version__",
    "circulant",
    "constraints",
    "conv_matrix",
    "conv_transpose_matrix",
    "counts",
    "distributed",
    "doubly_block_circulant",
    "doubly_block_toeplitz",
    "equivariance",
    "estimate",
    "explore",
    "from_torch",
    "graph",
    "io",
    "is_circulant",
    "is_doubly_block_circulant",
    "is_doubly_block_toeplitz",
    "is_toeplitz",
    "nearest_conv",
    "network",
    "nn",
    "plotting",
    "proofs",
    "recover_kernel",
    "shift_matrix",
    "solve",
    "spectral",
    "structured",
    "symbolic",
    "testing",
    "tiling",
    "toeplitz",
    "unfold_matrix",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Import the public names that are not imported above, most of them subpackages, when they are first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "Network":
        return import_module("convmatrix.network").Network
    if find_spec(f"convmatrix.{name}"):
        return import_module(f"convmatrix.{name}")
    return getattr(import_module("convmatrix.structured"), name)
