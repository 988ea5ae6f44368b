"""Linear layers: each is a `WeightPattern`, its matrix, and a bias."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from convmatrix.geometry import ConvGeometry
from convmatrix.nn.initialisers import Initialiser, glorot_uniform
from convmatrix.nn.layer import (
    Layer,
    Product,
    batch_first,
    batch_last,
    check_gradient,
    check_sample,
    float_dtype,
    real,
    remembered,
)
from convmatrix.nn.multiplication import Method, UnfoldMultiplication, multiplication

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from convmatrix.pattern import WeightPattern

    Array = NDArray[Any]

Bias = Literal["channel", "unit"] | None


class Conv(Layer):
    r"""A convolution layer of any geometry, :math:`y = A(w) x + b`.

    Locally connected and tiled layers are geometries too (``sharing="unshared"`` or a tile), and so are connection
    tables.

    Parameters
    ----------
    geometry : ConvGeometry
    bias : {"channel", "unit"} or None
        One bias an output channel, one an output unit (LeCun 1989), or none.
    method : {"unfold", "matrix"}
        How to multiply: by the fixed unfold matrix and dense products, or by the explicit matrix A(w). They agree to
        rounding.
    initialiser : callable
        Of the weights; see `convmatrix.nn.initialisers`. Biases start at 0.
    dtype : dtype
        float32 or float64.
    rng : int or numpy.random.Generator

    Attributes
    ----------
    parameters : dict
        ``"weight"`` of shape ``geometry.weight_shape``, and ``"bias"`` of shape ``(C_out,)`` or ``(C_out,
        *output_shape)``.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> layer = Conv(cm.ConvGeometry((4, 4), (3, 3), in_channels=2, out_channels=5, padding="same"))
    >>> y = layer.forward(np.ones((10, 2, 4, 4)))
    >>> y.shape, layer.backward(np.ones_like(y)).shape, layer.gradients["weight"].shape
    ((10, 5, 4, 4), (10, 2, 4, 4), (5, 2, 3, 3))
    """

    _transposed = False

    def __init__(
        self,
        geometry: ConvGeometry,
        *,
        bias: Bias = "channel",
        method: Method = "unfold",
        initialiser: Initialiser = glorot_uniform,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator = 0,
    ) -> None:
        super().__init__()
        if not isinstance(geometry, ConvGeometry):
            raise TypeError(f"{type(self).__name__} takes a ConvGeometry, but was given a {type(geometry).__name__}")
        if geometry.transposed != self._transposed:
            other = "ConvTranspose" if geometry.transposed else "Conv"
            raise ValueError(f"the geometry has transposed={geometry.transposed}; use {other} for it")
        kind = float_dtype(dtype)
        if bias not in ("channel", "unit", None):
            raise ValueError(f"bias {bias!r} is unknown; choose channel, unit or None")
        self.geometry = geometry
        self.multiplication = multiplication(geometry, method)
        fan_in, fan_out = fans(geometry)
        generator = np.random.default_rng(rng)
        self.parameters["weight"] = initialiser(geometry.weight_shape, fan_in, fan_out, generator).astype(kind)
        if bias is not None:
            units = geometry.output_shape if bias == "unit" else ()
            self.parameters["bias"] = np.zeros((geometry.out_channels, *units), dtype=kind)
        self._input: Array | None = None

    @property
    def method(self) -> Method:
        """How the layer multiplies."""
        return self.multiplication.method

    def pattern(self) -> WeightPattern:
        """Return the layer's pattern."""
        return self.geometry.pattern()

    def matrix(self) -> Any:
        """Return the layer's matrix A(w) with its present weights."""
        return self.pattern().matrix(self.parameters["weight"])

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return A(w) x + b for each sample of a batch."""
        self.output_shape(x.shape[1:])
        weight = self.parameters["weight"]
        self._input = batch_last(real(self, x, weight.dtype))
        y = self.multiplication.forward(weight, self._input)
        if "bias" in self.parameters:
            bias = self.parameters["bias"]
            y += bias.reshape(bias.shape + (1,) * (y.ndim - bias.ndim))
        return batch_first(y)

    def backward(self, g: Array) -> Array:
        """Return A(w)^T g, and set the gradients of weight and bias."""
        cotangent = self._weight_gradients(g)
        return batch_first(self.multiplication.input_gradient(self.parameters["weight"], cotangent))

    def parameter_gradients(self, g: Array) -> None:
        """Set the gradients of weight and bias alone."""
        self._weight_gradients(g)

    def _weight_gradients(self, g: Array) -> Array:
        """Set the gradients of weight and bias; return g with the batch last."""
        x = remembered(self, self._input)
        check_gradient(self, g, (x.shape[-1], self.geometry.out_channels, *self.geometry.output_shape))
        cotangent = batch_last(real(self, g, self.parameters["weight"].dtype))
        self.gradients["weight"] = self.multiplication.weight_gradient(x, cotangent)
        if "bias" in self.parameters:
            kept = self.parameters["bias"].ndim
            self.gradients["bias"] = cotangent.sum(axis=tuple(range(kept, cotangent.ndim)))
        return cotangent

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C_in, *input_shape)."""
        return (self.geometry.in_channels, *self.geometry.input_shape)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (C_out, *output_shape)."""
        check_sample(self, input_shape, self.input_shape, "in_channels and input_shape")
        return (self.geometry.out_channels, *self.geometry.output_shape)

    def reads(self, outputs: Array, input_shape: tuple[int, ...]) -> Array:
        """Return the inputs with a nonzero in the rows of some outputs."""
        ones = np.ones(self.geometry.weight_shape)
        counts = UnfoldMultiplication(self.geometry).input_gradient(ones, outputs[..., None].astype(np.float64))
        return np.asarray(counts[..., 0] > 0.5)  # counts of paths, but for rounding

    def products(self, input_shape: tuple[int, ...] | None = None) -> list[Product]:
        """Return the three products of a training step."""
        return self.multiplication.products(type(self).__name__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.geometry!r})"


class ConvTranspose(Conv):
    """A transposed convolution layer; as `Conv`, for a geometry with ``transposed=True``.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> layer = ConvTranspose(cm.ConvGeometry((4, 4), (2, 2), stride=2, transposed=True))
    >>> layer.forward(np.ones((10, 1, 4, 4))).shape
    (10, 1, 8, 8)
    """

    _transposed = True


class Dense(Layer):
    """A fully connected layer, ``y = W x + b``; samples of any shape are flattened in C order.

    Parameters
    ----------
    n_in, n_out : int
    bias : bool
    initialiser, dtype, rng
        As for `Conv`.

    Examples
    --------
    >>> import numpy as np
    >>> Dense(12, 5).forward(np.ones((10, 3, 2, 2))).shape
    (10, 5)
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        bias: bool = True,
        initialiser: Initialiser = glorot_uniform,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator = 0,
    ) -> None:
        super().__init__()
        kind = float_dtype(dtype)
        # A convolution with one sample an axis; that also checks n_in and n_out.
        self.geometry = ConvGeometry((1,), (1,), in_channels=n_in, out_channels=n_out)
        self.n_in, self.n_out = n_in, n_out
        weight = initialiser((n_out, n_in), n_in, n_out, np.random.default_rng(rng))
        self.parameters["weight"] = weight.astype(kind)
        if bias:
            self.parameters["bias"] = np.zeros(n_out, dtype=kind)
        self._input: Array | None = None
        self._shape: tuple[int, ...] = ()

    def pattern(self) -> WeightPattern:
        """Return the layer's pattern: every entry has a weight of its own."""
        return self.geometry.pattern()

    def matrix(self) -> Array:
        """Return the weights, which are the matrix."""
        return self.parameters["weight"]

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return W x + b for each sample of a batch."""
        self.output_shape(x.shape[1:])
        weight = self.parameters["weight"]
        self._shape = x.shape[1:]
        self._input = batch_last(real(self, x, weight.dtype)).reshape(self.n_in, len(x))
        y = weight @ self._input
        if "bias" in self.parameters:
            y += self.parameters["bias"][:, None]
        return batch_first(y)

    def backward(self, g: Array) -> Array:
        """Return W^T g, and set the gradients of weight and bias."""
        cotangent = self._weight_gradients(g)
        return batch_first((self.parameters["weight"].T @ cotangent).reshape(*self._shape, len(g)))

    def parameter_gradients(self, g: Array) -> None:
        """Set the gradients of weight and bias alone."""
        self._weight_gradients(g)

    def _weight_gradients(self, g: Array) -> Array:
        """Set the gradients of weight and bias; return g with the batch last."""
        x = remembered(self, self._input)
        check_gradient(self, g, (x.shape[-1], self.n_out))
        cotangent = batch_last(real(self, g, self.parameters["weight"].dtype))
        self.gradients["weight"] = cotangent @ x.T
        if "bias" in self.parameters:
            self.gradients["bias"] = cotangent.sum(axis=1)
        return cotangent

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(n_in,), though samples of other shapes are flattened."""
        return (self.n_in,)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (n_out,)."""
        if math.prod(input_shape) != self.n_in:
            raise ValueError(
                f"{self!r} takes samples of n_in={self.n_in} numbers, but was given {math.prod(input_shape)} (samples "
                f"of shape {tuple(input_shape)})"
            )
        return (self.n_out,)

    def reads(self, outputs: Array, input_shape: tuple[int, ...]) -> Array:
        """Return all inputs, unless there are no outputs."""
        return np.full(input_shape, outputs.any())

    def products(self, input_shape: tuple[int, ...] | None = None) -> list[Product]:
        """Return the three products of a training step; the matrix is dense."""
        shape, entries = (self.n_out, self.n_in), self.n_in * self.n_out
        return [
            Product("Dense", "forward", "W @ X", shape, entries, entries),
            Product("Dense", "weight gradient", "G @ X.T", shape, entries, entries),
            Product("Dense", "input gradient", "W.T @ G", shape, entries, entries),
        ]

    def __repr__(self) -> str:
        return f"Dense({self.n_in}, {self.n_out})"


def fans(geometry: ConvGeometry) -> tuple[int, int]:
    """Return how many inputs an output has at most, and how many outputs an input has."""
    taps = math.prod(geometry.kernel_shape)
    if geometry.connections is not None:
        rows = [sum(row) for row in geometry.connections]
        columns = [sum(column) for column in zip(*geometry.connections, strict=True)]
        return max(rows) * taps, max(columns) * taps
    return geometry.in_channels // geometry.groups * taps, geometry.out_channels // geometry.groups * taps
