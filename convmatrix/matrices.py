"""Sparse matrices of layers, of their unfolding (im2col), and of shifts, as plain SciPy arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from scipy import sparse

from convmatrix import memory
from convmatrix import options as validate
from convmatrix._assembly.fill import assemble, assemble_triplets
from convmatrix._assembly.rows import Plan
from convmatrix._assembly.selections import count_selected, selection_matrix, signed_selection_bytes
from convmatrix.boundary import LARGEST_AXIS, SIGNED, Axis
from convmatrix.geometry import ConvGeometry, given_geometry
from convmatrix.memory import Estimate, estimate
from convmatrix.options import LayerOptions, as_array, takes_layer_options
from convmatrix.sparse_formats import as_format

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = [
    "Estimate",
    "conv_matrix",
    "conv_transpose_matrix",
    "estimate",
    "shift_matrix",
    "unfold_matrix",
]


@takes_layer_options()
def conv_matrix(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    order: str = "C",
    format: str = "csr",
    dtype: DTypeLike | None = None,
    rows: tuple[int, int] | None = None,
    footprint: ArrayLike | None = None,
    **options: Unpack[LayerOptions],
) -> Any:
    r"""Return the sparse matrix of a convolution layer.

    ``A @ x.ravel()`` is the layer's output, raveled: on every axis

    .. math:: y_i = \sum_t w_t \, x_{b(i s + t d - p)}

    with stride s, dilation d, low padding p and the boundary rule b; channels and axes are summed over. Beyond a signed
    boundary, a sum of samples with coefficients such as 2 and -1 takes the place of the sample.

    Parameters
    ----------
    kernel : array_like
        ``(*kernel)`` for one input and one output channel, or ``(C_out, C_in / groups, *kernel)``. Kernels of tiled and
        unshared layers begin with the tile axes; those of layers with a connection table are
        ``(n_connections, *kernel)``.
    input_shape : int, sequence of int or ConvGeometry
        Shape of the array that the matrix multiplies: ``(*spatial)`` for a one-channel kernel, otherwise ``(C_in,
        *spatial)``. A `ConvGeometry` specifies the shape and all options of the layer.
    stride, dilation, padding, boundary, groups, connections, sharing, flip, transposed, output_padding, output_shape
        As for `ConvGeometry`. The padding is ``"valid"``, ``"same"``, ``"same_lower"``, ``"full"``, an int, or one
        ``(low, high)`` pair per axis. The boundary says what is read in it, and has no effect without padding.
    order : {"C", "F"}
        Order in which input and output are flattened: ``x.ravel(order)``.
    format : {"csr", "csc", "coo", "dia", "bsr"}
        With ``order="F"``, each BSR block holds the channels of a group and is dense; otherwise blocks are 1 x 1.
    dtype : dtype, optional
        By default the dtype of the kernel. The kernel must convert to it without loss.
    rows : (int, int), optional
        Build only the rows ``rows[0] .. rows[1] - 1``, at the cost of those rows.
    footprint : array_like of bool, optional
        Mask of the kernel's shape, or of the shape of all weights: only weights where it is True are stored, whatever
        their values, so that a five-point stencil has five entries per row. The others are ignored.

    Returns
    -------
    scipy.sparse array, shape (C_out * prod(output_shape), C_in * prod(input_shape))
        Indices are sorted, without duplicates, and int32 if they fit. The structure does not depend on the weights: a
        weight of zero keeps its stored entries. Weights at the same entry are added.

    Raises
    ------
    ValueError, TypeError
        If the layer is invalid; the message gives the numbers that disagree.
    MatrixTooLargeError
        If the matrix would not fit in memory; nothing is allocated.

    See Also
    --------
    ConvOperator : The same linear map without its matrix.
    scipy.linalg.convolution_matrix : The dense one-dimensional case.

    Examples
    --------
    A 3 x 3 image and a 2 x 2 filter:

    >>> A = conv_matrix([[1, 2], [3, 4]], (3, 3))
    >>> A.toarray()
    array([[1, 2, 0, 3, 4, 0, 0, 0, 0],
           [0, 1, 2, 0, 3, 4, 0, 0, 0],
           [0, 0, 0, 1, 2, 0, 3, 4, 0],
           [0, 0, 0, 0, 1, 2, 0, 3, 4]])

    A layer from two channels to four with a circular boundary:

    >>> import numpy as np
    >>> conv_matrix(np.ones((4, 2, 3)), (2, 8), padding="same", boundary="circular")
    <Compressed Sparse Row sparse array of dtype 'float64'
        with 192 stored elements and shape (32, 16)>

    `numpy.gradient` as a matrix, with its one-sided differences at the ends:

    >>> A = conv_matrix([-0.5, 0, 0.5], 4, padding="same", boundary="antireflect")
    >>> A.toarray()
    array([[-1. ,  1. ,  0. ,  0. ],
           [-0.5,  0. ,  0.5,  0. ],
           [ 0. , -0.5,  0. ,  0.5],
           [ 0. ,  0. , -1. ,  1. ]])
    >>> np.array_equal(A @ [1, 4, 9, 16], np.gradient([1, 4, 9, 16]))
    True
    """
    weights = as_array(kernel)
    geometry = given_geometry(weights.shape, input_shape, options)
    return layer_matrix(weights, geometry, order, format, dtype, rows, footprint)


@takes_layer_options("transposed")
def conv_transpose_matrix(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    order: str = "C",
    format: str = "csr",
    dtype: DTypeLike | None = None,
    rows: tuple[int, int] | None = None,
    footprint: ArrayLike | None = None,
    **options: Unpack[LayerOptions],
) -> Any:
    r"""Return the sparse matrix of a transposed convolution layer (ConvTranspose of PyTorch and ONNX).

    It is the transpose of the matrix of the convolution with the same kernel, stride, dilation and padding that maps
    the output shape to the input shape. An axis of n samples has ``(n - 1) * stride - pad_low - pad_high + dilation *
    (k - 1) + 1 + output_padding`` outputs.

    Parameters
    ----------
    kernel : array_like
        ``(*kernel)`` for one input and one output channel, or ``(C_in, C_out / groups, *kernel)``.
    input_shape : int, sequence of int or ConvGeometry
        Shape of the array that the matrix multiplies, as for `conv_matrix`.
    output_padding : int or sequence of int
        Extra outputs at the high end, smaller than the stride or the dilation.
    output_shape : int or sequence of int, optional
        Spatial shape of the output, from which the padding then follows; see `ConvGeometry`.
    stride, dilation, padding, boundary, groups, connections, sharing, flip, order, format, dtype, rows, footprint
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
    if not isinstance(input_shape, ConvGeometry):
        options["transposed"] = True
    geometry = given_geometry(weights.shape, input_shape, options)
    if not geometry.transposed:
        raise ValueError("conv_transpose_matrix was given the geometry of a convolution; set transposed=True in it")
    return layer_matrix(weights, geometry, order, format, dtype, rows, footprint)


def layer_matrix(
    weights: NDArray[Any],
    geometry: ConvGeometry,
    order: str = "C",
    format: str = "csr",
    dtype: DTypeLike | None = None,
    rows: tuple[int, int] | None = None,
    footprint: ArrayLike | None = None,
    empty: Callable[[int, Any], NDArray[Any]] | None = None,
) -> Any:
    """Return the matrix of a layer, or a slab of its rows.

    If ``empty(length, dtype)`` is given, it allocates values and indices, provided that there is memory for them, and
    one thread fills them, because others do the same for other slabs.
    """
    validate.sparse_format(format)
    weights = validate.weight_array(validate.convert(weights, dtype), geometry.weight_shape, geometry)
    start, stop = validate.row_range(rows, geometry.n_out)
    mask = None
    if footprint is not None:
        mask = validate.weight_mask(footprint, geometry.weight_shape, len(geometry.kernel_shape))
    by_column = format == "csc" and rows is None
    plan = Plan(
        geometry,
        validate.order(order),
        by_column=by_column,
        merge=mask is None,
        rows=(0, geometry.n_in) if by_column else (start, stop),
    )
    if empty is None and max(plan.count(), stop - start, geometry.n_in) > memory.ALWAYS_FIT:
        size = memory.plan_size(plan, weights.dtype, format)
        memory.require(
            size.bytes if mask is None else 2 * size.bytes + 8 * size.nonzeros,
            lambda: f"the matrix of {geometry!r} with {size.nonzeros} stored entries",
            "use ConvOperator, which forms no matrix, or rows= to build a slab at a time",
        )
    if mask is None:
        starts, indices, data = assemble(plan, weights, empty or np.empty, threads=1 if empty else 2)
    else:
        starts, indices, data = _assemble_footprint(plan, weights, np.broadcast_to(mask, weights.shape).ravel())
    kind: Any = sparse.csc_array if by_column else sparse.csr_array
    matrix = kind((data, indices, starts), shape=(stop - start, geometry.n_in))
    if mask is not None:
        matrix.sum_duplicates()  # of weights at one entry
        terms = math.inf if "antireflect" in geometry.boundary else math.prod(geometry.kernel_shape)
        if validate.may_overflow(weights, terms):
            as_float = weights.astype(np.float64)
            exact = layer_matrix(as_float, geometry, order, matrix.format, None, rows, footprint)
            validate.require_no_overflow(matrix.data, exact.data)
    matrix.has_canonical_format = True
    if by_column or format == "csr":
        return matrix
    return as_format(matrix, format, block=_channel_block(geometry, order, rows))


def _assemble_footprint(
    plan: Plan, weights: NDArray[Any], chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[Any]]:
    """Return ``indptr, indices, data`` of the entries of the chosen weights, from a plan that does not merge them."""
    starts, indices, index, factors = assemble_triplets(plan)
    kept = np.flatnonzero(chosen.take(index, mode="clip"))
    starts = np.searchsorted(kept, starts).astype(indices.dtype)
    values = weights.reshape(-1).take(index.take(kept))
    return starts, indices.take(kept), values if factors is None else values * factors.take(kept).astype(values.dtype)


def _channel_block(geometry: ConvGeometry, order: str, rows: tuple[int, int] | None) -> tuple[int, int]:
    """Return the shape of the dense blocks: the channels of a group in column-major order, otherwise 1 x 1."""
    if order == "C" or geometry.connections is not None or rows is not None:
        return 1, 1
    return geometry.out_channels // geometry.groups, geometry.in_channels // geometry.groups


def slab_columns(
    geometry: ConvGeometry, rows: tuple[int, int], order: str = "C"
) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """Return a shape and an index of the columns in which a slab of rows has entries, for all weights.

    ``x.reshape(shape)[index]`` are the entries of x that the slab multiplies, each once. If the rows form a box, such
    as whole image rows of some channels, the index has one slice (or index array) per axis; otherwise it is flat.

    Examples
    --------
    >>> import numpy as np
    >>> shape, index = slab_columns(ConvGeometry((6, 4), (3, 3), padding="same"), (8, 12))
    >>> index
    (slice(0, 1, None), slice(1, 4, None), slice(0, 4, None))
    >>> np.arange(24).reshape(shape)[index].ravel()
    array([ 4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15])
    """
    shape, boxes = slab_boxes(geometry, rows, order)
    if len(boxes) == 1:
        return shape, _box_index(boxes[0])
    if geometry.n_in <= 8 * sum(math.prod(map(len, axes)) for axes in boxes):  # no more bytes than the index
        marks = np.zeros(shape, dtype=bool)
        for axes in boxes:
            marks[_box_index(axes)] = True
        return (geometry.n_in,), (np.flatnonzero(marks),)
    flat = [np.ravel_multi_index(np.ix_(*axes), shape).ravel() for axes in boxes]
    joined = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *flat]), kind="stable")  # made of sorted runs
    return (geometry.n_in,), (joined[np.diff(joined, prepend=-1) > 0],)


def slab_boxes(
    geometry: ConvGeometry, rows: tuple[int, int], order: str
) -> tuple[tuple[int, ...], list[list[NDArray[np.int64]]]]:
    """Return the shape of the columns, slowest axis first, and boxes that contain those that `slab_columns` returns.

    A box consists of all combinations of ascending positions on each axis; boxes may overlap.
    """
    plan = Plan(
        geometry, validate.order(order), by_column=False, merge=False, rows=validate.row_range(rows, geometry.n_out)
    )
    return tuple(plan.sizes[1]), [[table.all_columns for table in plan.tables(box)] for box in plan.small_boxes()]


def _box_index(axes: Sequence[NDArray[np.int64]]) -> tuple[Any, ...]:
    """Return the index of all combinations of ascending positions on each axis, as slices where possible."""
    if all(len(axis) and axis[-1] - axis[0] == len(axis) - 1 for axis in axes):
        return tuple(slice(int(axis[0]), int(axis[-1]) + 1) for axis in axes)
    return np.ix_(*axes)


@takes_layer_options("groups", "connections", "sharing", "transposed", "output_padding", "output_shape")
def unfold_matrix(
    input_shape: int | Sequence[int],
    kernel_shape: int | Sequence[int],
    *,
    in_channels: int = 1,
    format: str = "csr",
    dtype: DTypeLike = np.float64,
    **options: Unpack[LayerOptions],
) -> Any:
    r"""Return the unfold matrix U (im2col), the sparse matrix that gathers the samples read by each tap.

    The matrix of a convolution factors as

    .. math:: A(w) = (W \otimes I) \, U

    with W the weights as a dense ``C_out x (C_in * taps)`` matrix and I the identity of the output positions. U does
    not depend on the weights.

    Parameters
    ----------
    input_shape, kernel_shape : int or sequence of int
        Spatial shapes, as for `ConvGeometry`.
    in_channels, stride, dilation, padding, boundary, flip
        As for `ConvGeometry`.
    format : {"csr", "csc", "coo", "dia", "bsr"}
    dtype : dtype

    Returns
    -------
    scipy.sparse array, shape (C_in * taps * positions, C_in * prod(input_shape))
        Rows are ordered (input channel, tap, output position), as in the output of PyTorch's ``unfold``. A row has one
        entry, which is 1, or none if the tap reads beyond a zero boundary. Beyond a signed boundary it has the
        coefficients of the samples whose sum is read, for instance 2 and -1.

    Examples
    --------
    >>> import numpy as np
    >>> U = unfold_matrix(4, 2, dtype=int)
    >>> (U @ np.array([5, 6, 7, 8])).reshape(2, 3)
    array([[5, 6, 7],
           [6, 7, 8]])
    """
    geometry = ConvGeometry(input_shape, kernel_shape, in_channels=in_channels, **options)
    return geometry_unfold_matrix(geometry, format=format, dtype=dtype)


def geometry_unfold_matrix(geometry: ConvGeometry, *, format: str = "csr", dtype: DTypeLike = np.float64) -> Any:
    """Return the unfold matrix of a layer; for a transposed layer, that of the underlying convolution.

    If ``A(w) = (W (x) I) U`` is that convolution, the transposed layer is ``U.T (W.T (x) I)``.
    """
    validate.sparse_format(format)
    axes = geometry.axes
    channels = geometry.sample_channels
    n_columns = channels * math.prod(axis.n_samples for axis in axes)
    n_rows = channels * math.prod(axis.n_taps * axis.n_outputs for axis in axes)
    size = np.dtype(validate.index_dtype(n_rows, n_columns)).itemsize
    n_bytes = n_rows * (2 * size + validate.data_type(dtype).itemsize)
    what, remedy = f"the unfold matrix of {geometry!r} with {n_rows} rows", "use ConvOperator, which forms no matrix"
    _check_signed(np.dtype(dtype), geometry.boundary)
    if geometry.has_coefficients:
        memory.require(n_rows * size, what, remedy)  # before the axes are listed
        n_bytes = channels * signed_selection_bytes(axes, size, np.dtype(dtype).itemsize)
    memory.require(n_bytes, what, remedy)
    return as_format(selection_matrix(axes, channels, np.dtype(dtype)), format)


def unfold_entries(geometry: ConvGeometry) -> int:
    """Return the number of stored entries of a layer's unfold matrix, without building it.

    Examples
    --------
    >>> unfold_entries(ConvGeometry(3, 3, padding="same")), unfold_entries(ConvGeometry(3, 3, padding="full"))
    (7, 9)
    """
    channels = geometry.sample_channels
    return channels * math.prod(map(count_selected, geometry.axes))


def shift_matrix(
    shape: int | Sequence[int],
    shift: int | Sequence[int],
    boundary: str | Sequence[str] = "circular",
    *,
    order: str = "C",
    format: str = "csr",
    dtype: DTypeLike = np.float64,
) -> Any:
    """Return the matrix S that shifts an array: ``S @ x.ravel()`` is ``numpy.roll(x, shift)``, raveled.

    On each axis, entry i of the result is entry i - shift of the array; the boundary determines what is shifted in.

    Parameters
    ----------
    shape : int or sequence of int
        Shape of the array, with all axes.
    shift : int or sequence of int
        One shift for all axes, or one per axis, of any sign and size.
    boundary : str or sequence of str
        ``"circular"`` (the default, a permutation), or any other of `ConvGeometry`.
    order : {"C", "F"}
    format : {"csr", "csc", "coo", "dia", "bsr"}
    dtype : dtype

    Returns
    -------
    scipy.sparse array, shape (n, n)

    Examples
    --------
    >>> import numpy as np
    >>> shift_matrix(4, 1) @ np.arange(4)
    array([3., 0., 1., 2.])
    >>> shift_matrix(4, 1, "zero") @ np.arange(4)
    array([0., 0., 1., 2.])
    """
    validate.sparse_format(format)
    sizes = validate.shape("shape", shape)
    amounts = validate.per_axis("shift", shift, len(sizes))
    boundaries = validate.boundaries("boundary", boundary, len(sizes))
    n = math.prod(sizes)
    dtype = validate.data_type(dtype)
    _check_signed(dtype, boundaries)
    index = np.dtype(validate.index_dtype(n)).itemsize
    memory.require(n * (3 * index + dtype.itemsize), f"the shift matrix of {sizes}", "use numpy.roll")
    axes = [
        Axis(size, size, 1, pad_low=_representable(amount, size, word), boundary=word)
        for size, amount, word in zip(sizes, amounts, boundaries, strict=True)
    ]
    if validate.order(order) == "F":
        axes = axes[::-1]
    return as_format(selection_matrix(axes, 1, dtype), format)


def _representable(amount: int, size: int, boundary: str) -> int:
    """Return a shift that moves the same samples and fits into 64 bits, or raise ValueError."""
    if boundary == "circular":
        return amount % size
    if abs(amount) >= LARGEST_AXIS:
        raise ValueError(
            f"shift={amount} is too large for the boundary {boundary!r}: index arithmetic is 64-bit and holds numbers "
            "below 2**62; any shift fits the circular boundary"
        )
    return amount


def _check_signed(dtype: np.dtype[Any], boundary: Sequence[str]) -> None:
    """Raise TypeError if a boundary has negative coefficients that the dtype does not hold."""
    if set(boundary).intersection(SIGNED) and dtype.kind not in "ifc":
        raise TypeError(f"dtype={dtype} does not hold the negative coefficients of boundary={tuple(boundary)}; use int")
