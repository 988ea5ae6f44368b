"""Matrices of layers as plain SciPy sparse arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scipy import sparse

from convmatrix import memory
from convmatrix import options as validate
from convmatrix._assembly.fill import assemble
from convmatrix._assembly.formats import as_format, check_format
from convmatrix._assembly.plan import Plan
from convmatrix.estimates import Estimate, estimate, plan_size
from convmatrix.layer_geometry import given_geometry
from convmatrix.selections import shift_matrix, unfold_matrix
from convmatrix.weights import as_array, convert, weight_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from convmatrix.geometry import ConvGeometry, Padding

__all__ = [
    "Estimate",
    "conv_matrix",
    "conv_transpose_matrix",
    "estimate",
    "shift_matrix",
    "unfold_matrix",
]


def conv_matrix(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    padding: Padding = "valid",
    boundary: str | Sequence[str] = "zero",
    groups: int = 1,
    flip: bool = False,
    order: str = "C",
    format: str = "csr",
    dtype: DTypeLike | None = None,
    rows: tuple[int, int] | None = None,
) -> Any:
    r"""Return the sparse matrix of a convolution layer.

    ``A @ x.ravel()`` is the layer's output, raveled: on every axis

    .. math:: y_i = \sum_t w_t \, x_{b(i s + t d - p)}

    with stride s, dilation d, low padding p and the boundary rule b; channels and axes are summed over.

    Parameters
    ----------
    kernel : array_like
        ``(*kernel)`` for one channel to one channel, or ``(C_out, C_in / groups, *kernel)``.
    input_shape : int, sequence of int or ConvGeometry
        Shape of the array that the matrix multiplies: ``(*spatial)`` for a one-channel kernel, else ``(C_in,
        *spatial)``. A `ConvGeometry` instead brings all layer options itself (connection tables, tiled and unshared
        weights, transposed layers).
    stride, dilation, padding, boundary, groups, flip
        As for `ConvGeometry`.
    order : {"C", "F"}
        How arrays are flattened, input and output alike: ``x.ravel(order)``.
    format : {"csr", "csc", "coo", "dia", "bsr"}
        BSR blocks are the channels of a group where ``order="F"`` makes those dense, else 1 x 1.
    dtype : dtype, optional
        The kernel's by default. Weights must convert without loss of kind.
    rows : (int, int), optional
        Build only the rows ``rows[0] .. rows[1] - 1``, at the cost of these rows.

    Returns
    -------
    scipy.sparse array, shape (C_out * prod(output_shape), C_in * prod(input_shape))
        Indices are sorted, without duplicates, int32 where that fits. The structure does not depend on the weights: a
        weight of zero keeps its stored entries. Weights that land on one entry are added.

    Raises
    ------
    ValueError, TypeError
        For a layer that is none, with the numbers that disagree.
    MatrixTooLargeError
        If the matrix would not fit in memory; nothing has been allocated.

    See Also
    --------
    ConvOperator : the same linear map without its matrix.
    scipy.linalg.convolution_matrix : the dense one-dimensional case.

    Examples
    --------
    A 3 x 3 image and a 2 x 2 filter:

    >>> A = conv_matrix([[1, 2], [3, 4]], (3, 3))
    >>> A.toarray()
    array([[1, 2, 0, 3, 4, 0, 0, 0, 0],
           [0, 1, 2, 0, 3, 4, 0, 0, 0],
           [0, 0, 0, 1, 2, 0, 3, 4, 0],
           [0, 0, 0, 0, 1, 2, 0, 3, 4]])

    Two channels to four, on a ring:

    >>> import numpy as np
    >>> conv_matrix(np.ones((4, 2, 3)), (2, 8), padding="same", boundary="circular")
    <Compressed Sparse Row sparse array of dtype 'float64'
        with 192 stored elements and shape (32, 16)>
    """
    weights = as_array(kernel)
    options = {
        "stride": stride,
        "dilation": dilation,
        "padding": padding,
        "boundary": boundary,
        "groups": groups,
        "flip": flip,
    }
    geometry = given_geometry(weights.shape, input_shape, options)
    return _layer_matrix(weights, geometry, order, format, dtype, rows)


def conv_transpose_matrix(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    padding: Padding = "valid",
    boundary: str | Sequence[str] = "zero",
    groups: int = 1,
    flip: bool = False,
    output_padding: int | Sequence[int] = 0,
    order: str = "C",
    format: str = "csr",
    dtype: DTypeLike | None = None,
    rows: tuple[int, int] | None = None,
) -> Any:
    r"""Return the sparse matrix of a transposed convolution layer (ConvTranspose of PyTorch and ONNX).

    It is the transpose of the matrix of the convolution with the same kernel, stride, dilation and padding that maps
    the output shape to the input shape. An axis of n samples has ``(n - 1) * stride - pad_low - pad_high + dilation *
    (k - 1) + 1 + output_padding`` outputs.

    Parameters
    ----------
    kernel : array_like
        ``(*kernel)`` for one channel to one channel, or ``(C_in, C_out / groups, *kernel)``.
    input_shape : int, sequence of int or ConvGeometry
        Shape of the array that the matrix multiplies, as for `conv_matrix`.
    output_padding : int or sequence of int
        Extra outputs at the high end, smaller than the stride or the dilation.
    stride, dilation, padding, boundary, groups, flip, order, format, dtype, rows
        As for `conv_matrix`; padding is cropped from the output.

    Returns
    -------
    scipy.sparse array, shape (C_out * prod(output_shape), C_in * prod(input_shape))

    Examples
    --------
    >>> conv_transpose_matrix([1, 2, 3], 2, stride=2).toarray()
    array([[1, 0],
           [2, 0],
           [3, 1],
           [0, 2],
           [0, 3]])
    >>> (conv_transpose_matrix([1, 2, 3], 2, stride=2) != conv_matrix([1, 2, 3], 5, stride=2).T).nnz
    0
    """
    weights = as_array(kernel)
    options = {
        "stride": stride,
        "dilation": dilation,
        "padding": padding,
        "boundary": boundary,
        "groups": groups,
        "flip": flip,
        "output_padding": output_padding,
    }
    geometry = given_geometry(weights.shape, input_shape, options, transposed=True)
    return _layer_matrix(weights, geometry, order, format, dtype, rows)


def _layer_matrix(
    kernel: NDArray[Any],
    geometry: ConvGeometry,
    order: str,
    format: str,
    dtype: DTypeLike | None,
    rows: tuple[int, int] | None,
) -> Any:
    """Assemble the matrix of a layer."""
    check_format(format)
    weights = weight_array(convert(kernel, dtype), geometry.weight_shape, geometry)
    limits = validate.row_range(rows, geometry.n_out)
    by_column = format == "csc" and rows is None
    plan = Plan(
        geometry,
        validate.order(order),
        by_column=by_column,
        merge=True,
        rows=(0, geometry.n_in) if by_column else limits,
    )
    size = plan_size(plan, weights.dtype, format)
    memory.require(
        size.bytes,
        lambda: f"the matrix of {geometry!r} with {size.nonzeros} stored entries",
        "use ConvOperator, which forms no matrix, or rows= to build a slab at a time",
    )
    starts, indices, data = assemble(plan, weights)
    kind: Any = sparse.csc_array if by_column else sparse.csr_array
    matrix = kind((data, indices, starts), shape=(limits[1] - limits[0], geometry.n_in))
    matrix.has_canonical_format = True
    if by_column:
        return matrix
    return as_format(matrix, format, block=_channel_block(geometry, order, rows))


def _channel_block(geometry: ConvGeometry, order: str, rows: tuple[int, int] | None) -> tuple[int, int]:
    """Return the dense block that a group's channels make in column-major order, where they do."""
    if order == "C" or geometry.connections is not None or rows is not None:
        return 1, 1
    return geometry.out_channels // geometry.groups, geometry.in_channels // geometry.groups
