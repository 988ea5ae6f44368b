"""Layers as matrix-free SciPy linear operators, computed independently of pattern and matrix."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Unpack

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from convmatrix import memory
from convmatrix import options as validate
from convmatrix._products.correlation import DirectCorrelation, FFTCorrelation, best_block, fft_time, padded_length
from convmatrix._products.nonfinite import add_nonfinite, finite_part, is_finite
from convmatrix._products.padding import fold, pad, padding_gain
from convmatrix.arrays import Array, KeepsReadOnly
from convmatrix.geometry import ConvGeometry, array_shape, given_geometry
from convmatrix.options import LayerOptions, as_array, convert, takes_layer_options, weight_array
from convmatrix.weights import group_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, DTypeLike

METHODS: Final = ("auto", "direct", "fft")
_EXACT: Final = 2**52  # sums of integers up to here are exact in float64


class SizedOperator(LinearOperator):
    """Base class for linear operators, with the constructor that SciPy's stubs leave out."""

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, int]) -> None:
        super().__init__(dtype, shape)  # type: ignore[call-arg]


class CheckedOperator(KeepsReadOnly, SizedOperator, ABC):
    """Base class for operators defined by ``_matmat`` and ``_rmatmat``, with messages that name the sizes."""

    @abstractmethod
    def _matmat(self, X: Array) -> Array:
        """Return ``A @ X``."""

    @abstractmethod
    def _rmatmat(self, X: Array) -> Array:
        """Return ``A.H @ X``."""

    def _described(self, side: int) -> str:
        """Return the meaning of the entries of vectors, of rows (side 0) or columns (side 1), for messages."""
        return ""

    def _check(self, x: Any, side: int, axes: tuple[int, ...]) -> None:
        """Raise unless x has an allowed number of axes and fits the rows (side 0) or the columns (side 1)."""
        shape, size = np.shape(x), self.shape[side]
        if shape != (size, 1) and (len(shape) not in axes or shape[0] != size):
            raise ValueError(
                f"the operator of shape {self.shape} multiplies vectors of {size} entries{self._described(side)}, but "
                f"was given an array of shape {shape}; give "
                + " or ".join({1: f"one vector ({size},)", 2: f"vectors as columns ({size}, batch)"}[n] for n in axes)
            )

    def _matvec(self, x: Array) -> Array:
        return self._matmat(x.reshape(-1, 1))

    def _rmatvec(self, x: Array) -> Array:
        return self._rmatmat(x.reshape(-1, 1))

    def dot(self, x: Any) -> Any:
        """Return ``A @ x``, for one vector (n,), or for a batch of them as columns (n, batch)."""
        if not isinstance(x, LinearOperator) and not np.isscalar(x):
            self._check(x, 1, axes=(1, 2))
        return super().dot(x)

    def matvec(self, x: Any) -> Any:
        """Return ``A @ x`` for x of shape (n,) or (n, 1)."""
        self._check(x, 1, axes=(1,))
        return super().matvec(x)

    def rmatvec(self, x: Any) -> Any:
        """Return ``A.H @ x`` for x of shape (m,) or (m, 1)."""
        self._check(x, 0, axes=(1,))
        return super().rmatvec(x)

    def matmat(self, X: Any) -> Any:
        """Return ``A @ X`` for X of shape (n, batch)."""
        self._check(X, 1, axes=(2,))
        return super().matmat(X)

    def rmatmat(self, X: Any) -> Any:
        """Return ``A.H @ X`` for X of shape (m, batch)."""
        self._check(X, 0, axes=(2,))
        return super().rmatmat(X)


class LayerOperator(CheckedOperator):
    """Base class for the operator of a layer and its transposed and conjugated views."""

    def __init__(
        self, dtype: np.dtype[Any], shape: tuple[int, int], *, transposed: bool = False, conjugated: bool = False
    ) -> None:
        super().__init__(dtype, shape)
        self.transposed = transposed
        self.conjugated = conjugated

    @property
    @abstractmethod
    def layer(self) -> ConvOperator:
        """The layer's own operator, neither transposed nor conjugated."""

    @property
    def dims(self) -> tuple[int, ...]:
        """Shape of the array that the operator multiplies, as in PyLops: its vectors are this array, raveled.

        One channel to one has no channel axis. With ``order="F"`` the axes are reversed, so that C order applies.
        """
        shape = array_shape(self.layer.geometry, inputs=not self.transposed)
        return shape if self.layer.order == "C" else shape[::-1]

    @property
    def dimsd(self) -> tuple[int, ...]:
        """Shape of the product as an array, as in PyLops; see `dims`."""
        shape = array_shape(self.layer.geometry, inputs=self.transposed)
        return shape if self.layer.order == "C" else shape[::-1]

    def _adjoint(self) -> LayerOperator:
        return self._view(transpose=True, conjugate=True)

    def _transpose(self) -> Any:
        return self._view(transpose=True, conjugate=False)

    def _view(self, *, transpose: bool, conjugate: bool) -> LayerOperator:
        transposed, conjugated = self.transposed != transpose, self.conjugated != conjugate
        if not transposed and not conjugated:
            return self.layer
        return LayerOperatorView(self.layer, transposed=transposed, conjugated=conjugated)

    def _matmat(self, X: Array) -> Array:
        return self.layer._multiply(X, transposed=self.transposed, conjugated=self.conjugated)

    def _rmatmat(self, X: Array) -> Array:
        return self.layer._multiply(X, transposed=not self.transposed, conjugated=not self.conjugated)

    def _check(self, x: Any, side: int, axes: tuple[int, ...]) -> None:
        if issparse(x):
            raise TypeError(
                "a matrix-free operator multiplies dense arrays, but this one is sparse; make it dense with "
                ".toarray(), or multiply by conv_matrix, which is sparse"
            )
        super()._check(x, side, axes)

    def _described(self, side: int) -> str:
        shape = array_shape(self.layer.geometry, inputs=(side == 1) != self.transposed)
        return f", arrays of shape {shape} raveled in order={self.layer.order!r}"


class ConvOperator(LayerOperator):
    r"""A convolution layer as a linear operator: ``A @ x`` without the matrix A.

    It represents the same matrix as `conv_matrix` and `conv_transpose_matrix`. Use it for layers whose matrix does not
    fit in memory, and as an independent check: it uses neither the layer's pattern nor its index rule, but `numpy.pad`,
    products over gathered windows, and fast Fourier transforms. All of `scipy.sparse.linalg` works on it.

    Parameters
    ----------
    kernel : array_like
        As for `conv_matrix`, or for `conv_transpose_matrix` if the layer is transposed. With a `ConvGeometry`, its
        shape is ``weight_shape``.
    input_shape : int, sequence of int or ConvGeometry
        Shape of the array that is multiplied: ``(*spatial)`` for a one-channel kernel, otherwise ``(C_in, *spatial)``.
        A `ConvGeometry` specifies the shape and all options of the layer.
    stride, dilation, padding, boundary, groups, connections, sharing, flip, transposed, output_padding, output_shape
        As for `ConvGeometry`.
    order : {"C", "F"}
        How arrays are flattened to vectors.
    dtype : dtype, optional
        Convert the kernel to this dtype first.
    method : {"auto", "direct", "fft"}
        ``"direct"`` sums products. ``"fft"`` uses fast Fourier transforms and requires a shared floating-point kernel.
        ``"auto"`` chooses the method that is expected to be faster.
    check_finite : bool
        Raise an error if a kernel or a product has infinite or NaN entries.

    Attributes
    ----------
    geometry : ConvGeometry
    kernel : array, shape ``geometry.weight_shape``
        Read-only.
    shape, dtype
        Those of the matrix.
    order, method : str
        ``method`` is ``"direct"`` or ``"fft"``.
    dims, dimsd : tuple of int
        Shapes of the arrays that vectors stand for, which ``pylops.aslinearoperator`` keeps.

    Raises
    ------
    ValueError, TypeError
        If the layer is invalid, a multiplied array has the wrong size or dtype, or ``check_finite`` finds a value that
        is not finite.
    MatrixTooLargeError
        If the padded input would not fit in memory.

    Notes
    -----
    With P the padding and C the correlation of the padded input, a layer is :math:`A = C P` and its transpose
    :math:`A^T = P^T C^T`: each product is added to the sample it came from, then each padded sample to the sample that
    it repeats. A transposed layer is :math:`P^T C^T` of the convolution that maps its output to its input.

    The dtype of a product is the ``numpy.result_type`` of the kernel and the multiplied array. Integer products are
    exact, modulo the range of that dtype. An infinite or NaN sample makes exactly those outputs infinite or NaN
    that read it, as with the matrix. The same holds for infinite and NaN weights, and for sums that overflow.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> A = ConvOperator([1, 0, -1], 5, padding="same", boundary="circular")
    >>> A @ np.arange(5)
    array([ 3, -2, -2, -2,  3])
    >>> np.array_equal(A @ np.eye(5), cm.conv_matrix([1, 0, -1], 5, padding="same", boundary="circular").toarray())
    True

    A layer whose matrix would have 6.7e10 stored entries:

    >>> A = ConvOperator(np.ones((65, 65)), (4096, 4096), padding="same")
    >>> A.shape, A.method
    ((16777216, 16777216), 'fft')
    """

    @takes_layer_options()
    def __init__(
        self,
        kernel: ArrayLike,
        input_shape: int | Sequence[int] | ConvGeometry,
        *,
        order: str = "C",
        dtype: DTypeLike | None = None,
        method: str = "auto",
        check_finite: bool = False,
        **options: Unpack[LayerOptions],
    ) -> None:
        weights = convert(as_array(kernel), dtype)
        geometry = given_geometry(weights.shape, input_shape, options)
        self.kernel = weight_array(weights, geometry.weight_shape, geometry).copy()
        self.kernel.flags.writeable = False
        super().__init__(self.kernel.dtype, (geometry.n_out, geometry.n_in))
        self.check_finite = check_finite
        if check_finite and not is_finite(self.kernel):
            raise ValueError(
                f"{np.count_nonzero(~np.isfinite(self.kernel))} of the {self.kernel.size} weights are infinite or NaN; "
                "replace them, or set check_finite=False"
            )
        self.geometry = geometry
        self.order = validate.order(order)
        self._low = tuple(low for low, _ in geometry.padding)
        padded = padded_length(geometry.positions, geometry.kernel_shape, geometry.stride, geometry.dilation)
        channels = geometry.sample_channels
        n_bytes = channels * math.prod(padded) * self.kernel.itemsize
        if n_bytes >= memory.NEGLIGIBLE:
            memory.require(
                n_bytes,
                f"the padded array, {(channels, *padded)}, of {geometry!r}",
                "use conv_matrix, which stores only samples that are read, or reduce the padding",
            )
        self.method = self._choose_method(method)
        self._correlations: dict[np.dtype[Any], DirectCorrelation | FFTCorrelation] = {}

    @property
    def layer(self) -> ConvOperator:
        """The operator itself, of which its transpose and its adjoint are views."""
        return self

    def _choose_method(self, method: str) -> str:
        validate.one_of("method", method, METHODS)
        shared, inexact = self.geometry.sharing == "shared", self.dtype.kind in "fc"
        if method == "fft" and not inexact:
            raise ValueError(
                f"method='fft' rounds, but the kernel has the exact dtype {self.dtype}; set dtype=float, or "
                "method='direct'"
            )
        if method == "fft" and not shared:
            raise ValueError(
                "method='fft' needs one kernel for all positions, but the geometry has "
                f"sharing={self.geometry.sharing!r}; set method='direct'"
            )
        if method != "auto":
            return method
        if not (shared and inexact):
            return "direct"
        weights, windows = group_weights(self.geometry, self.kernel), self._windows
        _, direct_time = best_block(weights, *windows)
        return "fft" if fft_time(weights[self._shared], *windows) < direct_time else "direct"

    @property
    def _windows(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Positions, stride and dilation of the kernel."""
        return self.geometry.positions, self.geometry.stride, self.geometry.dilation

    @property
    def _shared(self) -> tuple[int, ...]:
        """Index of the kernel that all positions of the layer share."""
        return (0,) * len(self.geometry.kernel_shape)

    def _correlation(self, dtype: np.dtype[Any]) -> DirectCorrelation | FFTCorrelation:
        """Return the correlation for a dtype; it is created only once."""
        if dtype not in self._correlations:
            weights = group_weights(self.geometry, self.kernel).astype(dtype)
            if self.method == "fft":
                self._correlations[dtype] = FFTCorrelation(weights[self._shared], *self._windows)
            else:
                self._correlations[dtype] = DirectCorrelation(weights, *self._windows)
        return self._correlations[dtype]

    def _multiply(self, X: Any, *, transposed: bool, conjugated: bool) -> Array:
        """Return the product of the matrix, or of its transpose or conjugate, with X of shape (n, batch)."""
        X = np.asarray(X)
        if X.dtype.kind not in "biufc":
            raise TypeError(
                f"an array of dtype {X.dtype} cannot be multiplied by an operator of dtype {self.dtype}; convert it, "
                "for instance with x.astype(float)"
            )
        dtype = np.result_type(self.dtype, X.dtype)
        if dtype == np.float16:
            dtype = np.dtype(np.float32)
        if conjugated and self.dtype.kind == "c":
            product = self._multiply(X.conj(), transposed=transposed, conjugated=False)
            return np.conjugate(product, out=product)
        if dtype.kind == "c" and self.dtype.kind != "c":  # as two real columns per complex column
            columns = np.ascontiguousarray(X, dtype=dtype).view(dtype.char.lower())
            return self._multiply(columns, transposed=transposed, conjugated=False).view(dtype)
        if X.shape[1] == 0:
            return np.zeros((self.shape[1 if transposed else 0], 0), dtype=dtype)
        if dtype.kind in "iu" and self._fits_float(X, transposed):
            return self._product(X.astype(np.float64), dtype, transposed=transposed)
        X = X.astype(dtype, copy=False)
        product = self._product(X, dtype, transposed=transposed)
        return product if is_finite(product) else self._with_nonfinite(X, product, transposed=transposed)

    def _with_nonfinite(self, X: Array, product: Array, *, transposed: bool) -> Array:
        """Return the product with infinite and NaN values at the outputs that read them, and nowhere else."""
        if self.check_finite:
            raise ValueError(
                f"the product has infinite or NaN entries, as have {np.count_nonzero(~np.isfinite(X))} of {X.size} "
                "entries of the multiplied array; replace them, or set check_finite=False"
            )

        def multiply(kernel: Array, x: Array) -> Array:
            operator = ConvOperator(kernel, self.geometry, order=self.order, method="direct")
            return operator._product(x, x.dtype, transposed=transposed)

        kernel = self.kernel.astype(X.dtype)
        if is_finite(X) and is_finite(kernel):  # sums overflow; a transform spreads that, and a direct sum does not
            return multiply(kernel, X) if self.method == "fft" else product
        product = multiply(finite_part(kernel), finite_part(X))
        return add_nonfinite(product, kernel, X, multiply, self.geometry.boundary)

    def _fits_float(self, X: Array, transposed: bool) -> bool:
        """Return whether all sums of taps are exact in float64, whose matrix products are the fastest."""
        largest = max(abs(float(X.max())), abs(float(X.min())))
        geometry = self.geometry
        if transposed == geometry.transposed and "antireflect" in geometry.boundary:  # sums of samples are padded
            largest *= padding_gain(geometry.samples, geometry.padding, geometry.boundary)
        return largest * float(np.abs(self.kernel.astype(np.float64)).sum()) < _EXACT

    def _product(self, X: Array, dtype: np.dtype[Any], *, transposed: bool) -> Array:
        """Return the product in another dtype; it is computed in the dtype of X."""
        geometry, correlation = self.geometry, self._correlation(X.dtype)
        x = self._as_arrays(X, inputs=not transposed)
        if transposed == geometry.transposed:
            x = pad(x, 2, self._low, correlation.length, geometry.boundary)
            return self._as_columns(_converted(correlation.forward(x), dtype))
        x = _converted(correlation.adjoint(x), dtype)  # before sums of folded samples grow too large for float64
        return self._as_columns(fold(x, 2, self._low, geometry.samples, geometry.boundary))

    def _as_arrays(self, X: Array, *, inputs: bool) -> Array:
        """Return columns as an array (groups, channels of a group, *spatial, batch)."""
        geometry = self.geometry
        shape = geometry.full_input_shape if inputs else geometry.full_output_shape
        if self.order == "F":
            arrays = X.reshape(*reversed(shape), -1).transpose(*reversed(range(len(shape))), len(shape))
        else:
            arrays = X.reshape(*shape, -1)
        return arrays.reshape(geometry.groups, shape[0] // geometry.groups, *arrays.shape[1:])

    def _as_columns(self, arrays: Array) -> Array:
        """Return an array (groups, channels of a group, *spatial, batch) as columns."""
        arrays = arrays.reshape(-1, *arrays.shape[2:])
        if self.order == "F":
            n = arrays.ndim - 1
            arrays = arrays.transpose(*reversed(range(n)), n)
        return arrays.reshape(-1, arrays.shape[-1])


def _converted(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return integers that were computed in float64 in an integer dtype, modulo its range."""
    return array if array.dtype == dtype else array.astype(np.int64).astype(dtype, copy=False)


class LayerOperatorView(LayerOperator):
    """The transpose, the adjoint or the conjugate of a layer's operator."""

    def __init__(self, layer: ConvOperator, *, transposed: bool, conjugated: bool) -> None:
        rows, columns = layer.shape
        shape = (columns, rows) if transposed else (rows, columns)
        super().__init__(layer.dtype, shape, transposed=transposed, conjugated=conjugated)
        self._layer = layer

    @property
    def layer(self) -> ConvOperator:
        """The layer's own operator, neither transposed nor conjugated."""
        return self._layer
