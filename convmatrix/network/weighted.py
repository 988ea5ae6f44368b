"""Operations with weights: convolutions, dense layers, and layers given by an index pattern."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse

from convmatrix import options as validate
from convmatrix.matrices import conv_matrix
from convmatrix.network.operations import MissingWeightsError, Operation, Shape
from convmatrix.network.windows import pad_windows, tap_slices, window_reads
from convmatrix.operator import ConvOperator
from convmatrix.weights import group_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry
    from convmatrix.pattern import WeightPattern

    Mask = NDArray[np.bool_]


def _frozen(value: Any) -> Any:
    """Return a read-only copy of an array; words and None as they are."""
    if value is None or isinstance(value, str):
        return value
    array = np.array(value)
    array.flags.writeable = False
    return array


_GATHERED = 2**21  # entries of gathered windows that are multiplied at a time, so that they stay in the cache


def _gathers(geometry: ConvGeometry) -> bool:
    """Whether dense products with gathered windows are fast: shared kernels with enough channels in a group."""
    channels = geometry.in_channels * geometry.out_channels // geometry.groups**2
    return not geometry.transposed and geometry.sharing == "shared" and channels >= 16


def _gathered_products(geometry: ConvGeometry, weights: Array, x: Array) -> Array:
    """Return the convolution of a batch (batch, channels, *samples) by dense products with gathered windows (im2col).

    Parameters
    ----------
    geometry : ConvGeometry
        Not transposed, with one kernel for all positions.
    weights : array, shape (groups, outputs, inputs * taps)
    x : array, shape (batch, in_channels, *input_shape)

    Returns
    -------
    array, shape (batch, out_channels, *output_shape)
    """
    groups, outputs, _ = weights.shape
    first, *others = geometry.output_shape
    y = np.empty((len(x), groups, outputs, first, math.prod(others)), dtype=x.dtype)
    if all(k == s == 1 for k, s in zip(geometry.kernel_shape, geometry.stride, strict=True)) and not any(
        low or high for low, high in geometry.padding
    ):
        np.matmul(weights, x.reshape(len(x), groups, -1, first * math.prod(others)), out=y.reshape(*y.shape[:3], -1))
        return y
    axes, n_taps = geometry.axes, math.prod(geometry.kernel_shape)
    padded = pad_windows(x, geometry, 0)
    padded = padded.reshape(len(x), groups, -1, *padded.shape[2:])  # (batch, groups, inputs, *padded samples)
    inputs = padded.shape[2]
    rows = max(1, min(first, _GATHERED // (groups * inputs * n_taps * math.prod(others))))
    windows = np.empty((groups, inputs, n_taps, rows, *others), dtype=x.dtype)
    for sample, result in zip(padded, y, strict=True):
        for start in range(0, first, rows):
            count = min(rows, first - start)
            for tap, read in enumerate(tap_slices(axes, start, count)):
                windows[:, :, tap, :count] = sample[(slice(None), slice(None), *read)]
            gathered = windows[:, :, :, :count].reshape(groups, inputs * n_taps, -1)
            result[:, :, start : start + count] = (weights @ gathered).reshape(groups, outputs, count, -1)
    return y


@dataclass(frozen=True, eq=False)
class Convolution(Operation):
    """A convolution layer of any geometry, transposed, tiled and unshared ones included, with its bias.

    Parameters
    ----------
    geometry : ConvGeometry
    weight : array_like, optional
        Of the geometry's ``weight_shape``; absent in a named architecture.
    bias : array_like, "channel", "unit" or None
        One value per output channel or one per unit; a word says that there is one without giving its values.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> layer = Convolution(cm.ConvGeometry(4, 2), [1, -1], [10])
    >>> layer.evaluate([np.array([[[1, 2, 4, 8]]])])
    array([[[9, 8, 6]]])
    >>> A, b = layer.affine([(1, 4)])
    >>> A.toarray(), b
    (array([[ 1, -1,  0,  0],
           [ 0,  1, -1,  0],
           [ 0,  0,  1, -1]]), array([10, 10, 10]))
    """

    geometry: ConvGeometry
    weight: Any = None
    bias: Any = None
    kind: ClassVar[str] = "convolution"

    def __post_init__(self) -> None:
        geometry = self.geometry
        if self.weight is not None:
            operator = ConvOperator(self.weight, geometry)  # validates the weights
            object.__setattr__(self, "weight", operator.kernel)
        if isinstance(self.bias, str) and self.bias not in ("channel", "unit"):
            raise ValueError(f"bias={self.bias!r} is unknown; choose 'channel', 'unit', None, or give values")
        object.__setattr__(self, "bias", _frozen(self.bias))
        if isinstance(self.bias, np.ndarray) and self.bias.size not in (geometry.out_channels, geometry.n_out):
            raise ValueError(
                f"bias has {self.bias.size} entries, but the layer has {geometry.out_channels} output channels and "
                f"{geometry.n_out} units; give one per channel or one per unit"
            )

    @property
    def linear(self) -> bool:
        """A convolution is affine."""
        return True

    @cached_property
    def _operators(self) -> dict[np.dtype[Any], ConvOperator]:
        return {}

    def _grouped(self, dtype: np.dtype[Any]) -> Array:
        """Return the weights as (groups, outputs, inputs * taps), made once per dtype."""
        if dtype not in self._matrices:
            grouped = group_weights(self.geometry, self._weights()).astype(dtype, copy=False)
            n = len(self.geometry.kernel_shape)
            self._matrices[dtype] = np.ascontiguousarray(grouped.reshape(*grouped.shape[n : n + 2], -1))
        return self._matrices[dtype]

    @cached_property
    def _matrices(self) -> dict[np.dtype[Any], Array]:
        return {}

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return (out_channels, *output_shape)."""
        g, (shape,) = self.geometry, input_shapes
        if shape != (g.in_channels, *g.input_shape):
            raise ValueError(f"a convolution of {(g.in_channels, *g.input_shape)} was given an input of shape {shape}")
        return (g.out_channels, *g.output_shape)

    def _bias_array(self, dtype: np.dtype[Any]) -> Array | None:
        """Return the bias in a shape that broadcasts to the output, or None."""
        if self.bias is None:
            return None
        if isinstance(self.bias, str):
            raise MissingWeightsError("the convolution's bias has no values; give an array to evaluate it")
        g = self.geometry
        bias: Array = self.bias.astype(dtype, copy=False)
        if bias.size == g.out_channels and bias.size != g.n_out:
            return bias.reshape(g.out_channels, *(1,) * len(g.output_shape))
        return bias.reshape(g.out_channels, *g.output_shape)

    def _weights(self) -> Array:
        if self.weight is None:
            raise MissingWeightsError("the convolution has no weights; give an array to evaluate it")
        weight: Array = self.weight
        return weight

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the convolution of a batch, plus the bias."""
        (x,) = inputs
        weight = self._weights()
        dtype = x.dtype if x.dtype.kind == "f" else np.result_type(weight, x)
        if dtype.kind == "f" and _gathers(self.geometry):
            y = _gathered_products(self.geometry, self._grouped(dtype), x.astype(dtype, copy=False))
        else:
            if dtype not in self._operators:
                self._operators[dtype] = ConvOperator(weight.astype(dtype, copy=False), self.geometry)
            y = np.ascontiguousarray((self._operators[dtype] @ x.reshape(len(x), -1).T).T)
        y = y.reshape(len(x), self.geometry.out_channels, *self.geometry.output_shape)
        bias = self._bias_array(y.dtype)
        return y if bias is None else y + bias

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return the layer's matrix and its bias, one entry per unit."""
        weight = self._weights()
        kind = np.dtype(dtype or weight.dtype)
        matrix = conv_matrix(weight.astype(kind, copy=False), self.geometry)
        bias = self._bias_array(kind)
        shape = (self.geometry.out_channels, *self.geometry.output_shape)
        return matrix, np.broadcast_to(0 if bias is None else bias, shape).ravel().astype(kind)

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return all samples of the marked windows, in the channels that are connected."""
        g = self.geometry
        if g.connections is not None:
            table = np.array(g.connections, dtype=np.int64)  # (out_channels, in_channels)
            mask = (np.tensordot(table.T, outputs, axes=1)) > 0
        else:
            by_group = outputs.reshape(g.groups, -1, *outputs.shape[1:]).any(axis=1)
            mask = by_group.repeat(g.in_channels // g.groups, axis=0)
        return [window_reads(g, mask)]


@dataclass(frozen=True, eq=False)
class FullyConnected(Operation):
    """A fully connected layer, ``y = W x + b``.

    Parameters
    ----------
    n_in, n_out : int
    weight : array_like, shape (n_out, n_in), optional
    bias : array_like of shape (n_out,), bool
        True says that there is a bias without giving its values.
    trained : bool
        False for fixed coefficients, which are connections but not parameters.
    flatten : bool
        Read the sample flattened (the default); otherwise apply the layer along the last axis.

    Examples
    --------
    >>> import numpy as np
    >>> FullyConnected(2, 1, [[3, 4]], [1]).evaluate([np.array([[1, 2]])])
    array([[12]])
    """

    n_in: int
    n_out: int
    weight: Any = None
    bias: Any = True
    trained: bool = True
    flatten: bool = True
    kind: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        for name in ("n_in", "n_out"):
            object.__setattr__(self, name, validate.integer(name, getattr(self, name), minimum=1))
        if self.weight is not None:
            object.__setattr__(self, "weight", _frozen(self.weight))
            if self.weight.shape != (self.n_out, self.n_in):
                raise ValueError(f"weight has shape {self.weight.shape}, but the layer needs {(self.n_out, self.n_in)}")
        if self.bias is None:
            object.__setattr__(self, "bias", False)
        if not isinstance(self.bias, bool):
            object.__setattr__(self, "bias", _frozen(self.bias))
            if self.bias.shape != (self.n_out,):
                raise ValueError(f"bias has shape {self.bias.shape}, but the layer has {self.n_out} outputs")

    @property
    def linear(self) -> bool:
        """A dense layer is affine."""
        return True

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return (n_out,), or the input's shape with its last size replaced."""
        (shape,) = input_shapes
        read = math.prod(shape) if self.flatten else shape[-1]
        if read != self.n_in:
            raise ValueError(f"a dense layer of {self.n_in} inputs was given {read} (a sample of shape {shape})")
        return (self.n_out,) if self.flatten else (*shape[:-1], self.n_out)

    def _values(self, dtype: np.dtype[Any] | None) -> tuple[Array, Array]:
        if self.weight is None or self.bias is True:
            raise MissingWeightsError("the dense layer has no weights or no bias; give arrays to evaluate it")
        kind = np.dtype(dtype or self.weight.dtype)
        bias = np.zeros(self.n_out, kind) if self.bias is False else self.bias.astype(kind, copy=False)
        return self.weight.astype(kind, copy=False), bias

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return ``W x + b`` for a batch."""
        (x,) = inputs
        weight, bias = self._values(x.dtype if x.dtype.kind == "f" else None)
        y: Array = (x.reshape(len(x), -1) if self.flatten else x) @ weight.T + bias
        return y

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return W, repeated along the other axes where the layer applies to the last one, and the bias."""
        weight, bias = self._values(dtype)
        copies = 1 if self.flatten else math.prod(input_shapes[0][:-1])
        rows, columns = np.indices(weight.shape).reshape(2, -1)
        matrix: Any = sparse.csr_array((weight.ravel(), (rows, columns)), shape=weight.shape)  # zeros stay stored
        if copies > 1:
            matrix = sparse.csr_array(sparse.block_diag([matrix] * copies, format="csr"))
        return matrix, np.tile(bias, copies)

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return all inputs, or those on the same line of the last axis."""
        (shape,) = input_shapes
        if self.flatten:
            return [np.full(shape, outputs.any())]
        return [np.broadcast_to(outputs.any(axis=-1, keepdims=True), shape).copy()]


@dataclass(frozen=True, eq=False)
class PatternMap(Operation):
    """The linear layer of an index pattern, ``y = A(w) x``, on raveled samples.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> PatternMap(cm.ConvGeometry(3, 2).pattern(), [1, 10]).evaluate([np.array([[1, 2, 3]])])
    array([[[21, 32]]])
    """

    pattern: WeightPattern
    weight: Any = None
    shape: Shape | None = None
    kind: ClassVar[str] = "pattern"

    @property
    def linear(self) -> bool:
        """The layer is linear."""
        return True

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the given shape, the geometry's where the pattern has one, or (n_out,)."""
        n_out, n_in = self.pattern.shape
        if math.prod(input_shapes[0]) != n_in:
            raise ValueError(f"a pattern of {n_in} inputs was given a sample of shape {input_shapes[0]}")
        geometry = self.pattern.geometry
        if self.shape is None:
            return (n_out,) if geometry is None else (geometry.out_channels, *geometry.output_shape)
        return self.shape

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return A(w) and a zero bias."""
        if self.weight is None:
            raise MissingWeightsError("the pattern has no weights; give an array to evaluate it")
        matrix = self.pattern.matrix(np.asarray(self.weight, dtype=dtype))
        return matrix, np.zeros(matrix.shape[0], matrix.dtype)

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return A(w) x for a batch."""
        (x,) = inputs
        matrix, _ = self.affine([x.shape[1:]], x.dtype if x.dtype.kind == "f" else None)
        y = (matrix @ x.reshape(len(x), -1).T).T
        return np.ascontiguousarray(y).reshape(len(x), *self.output_shape([x.shape[1:]]))

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the columns of the marked rows."""
        starts = np.asarray(self.pattern.row_starts, dtype=np.int64)
        marked = np.repeat(outputs.ravel(), np.diff(starts))
        read = np.zeros(self.pattern.shape[1], dtype=bool)
        read[self.pattern.cols[marked]] = True
        return [read.reshape(input_shapes[0])]
