"""Linear layers without weights as index patterns, whose coefficients are the entries of their matrices.

Average pooling, resizing and blur pooling have fixed numbers in place of weights. As a `WeightPattern` they have one
weight per channel, and T holds the numbers: with weights of 1 the pattern's matrix is the layer's, and its gradients,
graph and checks are those of any other pattern.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse

from convmatrix import options as validate
from convmatrix.geometry import ConvGeometry
from convmatrix.matrices import conv_matrix
from convmatrix.network.operations import Array, Operation, real_array
from convmatrix.network.resize import Coordinates, Resize
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike


def fixed_pattern(operation: Operation, input_shape: Sequence[int]) -> WeightPattern:
    """Return the pattern of a linear operation with fixed coefficients, with one weight per output channel.

    Parameters
    ----------
    operation : Operation
        A linear one without a bias, such as ``Pooling("average", 2)`` or ``Resize((8, 8), "linear")``.
    input_shape : sequence of int
        ``(channels, *spatial)``.

    Returns
    -------
    WeightPattern
        Its matrix with weights of 1 is that of the operation. A weight per channel scales the channel, as in the
        subsampling layers of LeNet-5.

    Examples
    --------
    >>> from convmatrix.network import Pooling
    >>> pattern = fixed_pattern(Pooling("average", 2, padding=1, count_include_pad=False), (1, 4))
    >>> pattern.weight_shape, pattern.coefficients
    ((1,), array([1. , 0.5, 0.5, 1. ]))
    >>> pattern.matrix([1.0]).toarray()
    array([[1. , 0. , 0. , 0. ],
           [0. , 0.5, 0.5, 0. ],
           [0. , 0. , 0. , 1. ]])
    """
    validate.instance("operation", operation, Operation, "give one of convmatrix.network, such as Pooling")
    shape = validate.shape("input_shape", input_shape)
    if not operation.linear:
        raise ValueError(f"a {operation.kind} operation is not linear, so it has no pattern; use Network.linearise")
    matrix, bias = operation.affine([shape])
    if np.any(bias):
        raise ValueError(f"the {operation.kind} operation has a bias, which no pattern holds; leave it out")
    return matrix_pattern(matrix, operation.output_shape([shape])[0])


def resize_pattern(
    input_shape: Sequence[int],
    sizes: int | Sequence[int],
    mode: Literal["nearest", "linear", "cubic", "area"] = "linear",
    coordinates: Coordinates = "half_pixel",
    *,
    cubic_coefficient: float = -0.75,
) -> WeightPattern:
    """Return the pattern of an interpolation of every spatial axis, with one weight per channel.

    Parameters
    ----------
    input_shape : sequence of int
        ``(channels, *spatial)``.
    sizes : int or sequence of int
        Spatial shape of the output.
    mode : {"nearest", "linear", "cubic", "area"}
    coordinates : str
        As for `Resize`; ``"half_pixel"`` is PyTorch's ``align_corners=False``.
    cubic_coefficient : float
        As for `Resize`.

    Examples
    --------
    >>> resize_pattern((1, 2), 4).matrix([1.0]).toarray()
    array([[1.  , 0.  ],
           [0.75, 0.25],
           [0.25, 0.75],
           [0.  , 1.  ]])
    """
    shape = validate.shape("input_shape", input_shape)
    outputs = validate.per_axis("sizes", sizes, len(shape) - 1, minimum=1)
    return fixed_pattern(Resize(outputs, mode, coordinates, cubic_coefficient=cubic_coefficient), shape)


def blur_pooling_pattern(
    input_shape: Sequence[int],
    taps: ArrayLike = (1, 2, 1),
    stride: int | Sequence[int] = 2,
    boundary: str | Sequence[str] = "reflect",
) -> WeightPattern:
    """Return the pattern of blur pooling: a smoothing filter, then every stride-th sample, channel by channel.

    Zhang, Making convolutional networks shift-invariant again, ICML 2019.

    Parameters
    ----------
    input_shape : sequence of int
        ``(channels, *spatial)``.
    taps : array_like of float
        The filter along each axis; it is divided by its sum. With k taps, the padding is ``((k - 1) // 2, k // 2)``.
    stride : int or sequence of int
    boundary : str or sequence of str

    Examples
    --------
    >>> blur_pooling_pattern((1, 5)).matrix([1.0]).toarray()
    array([[0.5 , 0.5 , 0.  , 0.  , 0.  ],
           [0.  , 0.25, 0.5 , 0.25, 0.  ],
           [0.  , 0.  , 0.  , 0.5 , 0.5 ]])
    """
    shape = validate.shape("input_shape", input_shape)
    line = real_array("taps", taps).astype(np.float64)
    if line.ndim != 1 or not len(line) or not np.isfinite(line).all() or line.sum() == 0:
        raise ValueError(f"taps must be a line of finite numbers with a sum other than 0, but are {taps!r}")
    n_axes, n_taps = len(shape) - 1, len(line)
    kernel: Array = reduce(np.multiply.outer, [line / line.sum()] * n_axes)
    geometry = ConvGeometry(
        shape[1:],
        kernel.shape,
        in_channels=shape[0],
        out_channels=shape[0],
        groups=shape[0],
        stride=stride,
        padding=[((n_taps - 1) // 2, n_taps // 2)] * n_axes,
        boundary=boundary,
    )
    return matrix_pattern(conv_matrix(np.broadcast_to(kernel, geometry.weight_shape), geometry), shape[0])


def matrix_pattern(matrix: Any, channels: int = 1) -> WeightPattern:
    """Return the pattern with the entries of a matrix as coefficients and one weight per channel of its rows."""
    entries = sparse.csr_array(matrix).tocoo()
    weights = entries.row.astype(np.int64) // (matrix.shape[0] // channels)
    return WeightPattern.from_triplets(matrix.shape, entries.row, entries.col, weights, channels, entries.data)
