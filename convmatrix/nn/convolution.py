"""Convolution layers, and the two ways in which they multiply by their matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from convmatrix._assembly.rows import count_entries
from convmatrix._products.correlation import DirectCorrelation, padded_length
from convmatrix._products.padding import fold, pad
from convmatrix._products.unfolding import UnfoldedCorrelation
from convmatrix.geometry import ConvGeometry
from convmatrix.memory import estimate
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
from convmatrix.nn.optimisation import Initialiser, glorot_uniform
from convmatrix.weights import group_weights, ungroup_weights

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from convmatrix.pattern import WeightPattern

    Array = NDArray[Any]


Method = Literal["unfold", "matrix"]


class Multiplication(Protocol):
    """Products with the matrix A(w) of a layer; arrays are ``(channels, *spatial, batch)``."""

    method: Method

    def forward(self, weight: Array, x: Array) -> Array:
        """Return A(w) x."""

    def input_gradient(self, weight: Array, g: Array) -> Array:
        """Return A(w)^T g."""

    def weight_gradient(self, x: Array, g: Array) -> Array:
        """Return the contraction of the pattern with x and g, summed over the batch, in the shape of the weights."""

    def products(self, layer: str) -> list[Product]:
        """Return the three products of a training step."""


def multiplication(geometry: ConvGeometry, method: Method) -> Multiplication:
    """Return the multiplication of a layer by a method's name."""
    if method == "unfold":
        return UnfoldMultiplication(geometry)
    if method == "matrix":
        return MatrixMultiplication(geometry)
    raise ValueError(f"method {method!r} is unknown; choose unfold or matrix")


class UnfoldMultiplication:
    """The factorisation ``A(w) = (W (x) I) U``: the fixed unfold matrix U, then a dense product.

    U copies samples (one 1 a row), so its product is a gather, done a part of the positions at a time and multiplied at
    once, while the copy is in the cache. For a transposed layer ``A(w) = U^T (W^T (x) I)``.
    """

    method: Method = "unfold"

    def __init__(self, geometry: ConvGeometry) -> None:
        self.geometry = geometry
        self._positions = geometry.input_shape if geometry.transposed else geometry.output_shape
        self._samples = geometry.output_shape if geometry.transposed else geometry.input_shape
        self._low = [low for low, _ in geometry.padding]
        self._block: int | None = None
        self._zeros_outside = set(geometry.boundary) == {"zero"}
        inner = geometry.in_channels if geometry.transposed else geometry.out_channels
        groups = 1 if geometry.connections is not None else geometry.groups
        self._by_strips = max(geometry.tile) == 1 and UnfoldedCorrelation.fits(
            geometry.kernel_shape, self._positions, geometry.dilation, inner // groups
        )
        if self._by_strips:
            self._length = padded_length(self._positions, geometry.kernel_shape, geometry.stride, geometry.dilation)
        else:
            self._length = self._direct(np.zeros(geometry.weight_shape, dtype=np.float32)).length

    def forward(self, weight: Array, x: Array) -> Array:
        """Return A(w) x."""
        multiply = self._transposed_product if self.geometry.transposed else self._product
        return self._ungrouped(multiply(weight, self._grouped(x)))

    def input_gradient(self, weight: Array, g: Array) -> Array:
        """Return A(w)^T g."""
        multiply = self._product if self.geometry.transposed else self._transposed_product
        return self._ungrouped(multiply(weight, self._grouped(g)))

    def weight_gradient(self, x: Array, g: Array) -> Array:
        """Return the gradient in the weights: g times the transpose of U x."""
        samples, positions = (g, x) if self.geometry.transposed else (x, g)
        correlation = self._correlation(np.zeros(self.geometry.weight_shape, dtype=x.dtype))
        grouped = correlation.weight_gradient(self._extended(self._grouped(samples)), self._grouped(positions))
        if self._by_strips:
            grouped = grouped.reshape(*(1,) * len(self._low), *grouped.shape)
        return ungroup_weights(self.geometry, grouped)

    def _product(self, weight: Array, x: Array) -> Array:
        """Return the correlation of weights and samples, at all positions."""
        return self._correlation(weight).forward(self._extended(x))

    def _transposed_product(self, weight: Array, g: Array) -> Array:
        """Return its transpose times g."""
        correlation = self._correlation(weight)
        if isinstance(correlation, UnfoldedCorrelation):
            back = correlation.input_gradient(g)
            if self._zeros_outside:
                return back
        else:
            back = correlation.adjoint(g)
        return fold(back, 2, self._low, self._samples, self.geometry.boundary)

    def _extended(self, array: Array) -> Array:
        """Return samples with what lies beyond their ends, where the correlation does not do that itself."""
        if self._by_strips and self._zeros_outside:
            return array
        return pad(array, 2, self._low, self._length, self.geometry.boundary)

    def products(self, layer: str) -> list[Product]:
        """Return the three products, each of U or its transpose and the dense W."""
        g = self.geometry
        channels, others = (g.out_channels, g.in_channels) if g.transposed else (g.in_channels, g.out_channels)
        axes = g.axes
        entries = channels * math.prod(
            count_entries(axis, 0, axis.n_outputs, by_sample=False, merge=False) for axis in axes
        )
        taps, positions = math.prod(g.kernel_shape), math.prod(self._positions)
        shape = (channels * taps * positions, channels * math.prod(self._samples))
        pairs = len(g.channel_pairs) if g.connections is not None else others * channels // g.groups
        adds = pairs * taps * positions
        steps = (
            ("forward", "U.T @ (W.T @ X)" if g.transposed else "W @ (U @ X)"),
            ("weight gradient", "X @ (U @ G).T" if g.transposed else "G @ (U @ X).T"),
            ("input gradient", "W @ (U @ G)" if g.transposed else "U.T @ (W.T @ G)"),
        )
        return [Product(layer, step, formula, shape, entries, adds) for step, formula in steps]

    def _correlation(self, weight: Array) -> DirectCorrelation | UnfoldedCorrelation:
        if self._by_strips:
            g = self.geometry
            grouped = group_weights(g, weight)
            samples, low = (self._samples, self._low) if self._zeros_outside else (self._length, [0] * len(self._low))
            shared = grouped.reshape(grouped.shape[len(self._low) :])
            return UnfoldedCorrelation(shared, samples, self._positions, g.stride, g.dilation, low)
        return self._direct(weight)

    def _direct(self, weight: Array) -> DirectCorrelation:
        g = self.geometry
        grouped = group_weights(g, weight)
        correlation = DirectCorrelation(grouped, self._positions, g.stride, g.dilation, self._block)
        self._block = correlation.block  # the choice takes a while, and does not depend on the weights
        return correlation

    def _grouped(self, array: Array) -> Array:
        """View (channels, ...) as (groups, channels of a group, ...)."""
        groups = 1 if self.geometry.connections is not None else self.geometry.groups
        return array.reshape(groups, len(array) // groups, *array.shape[1:])

    @staticmethod
    def _ungrouped(array: Array) -> Array:
        return np.ascontiguousarray(array).reshape(array.shape[0] * array.shape[1], *array.shape[2:])


class MatrixMultiplication:
    """The explicit matrix A(w), whose values are refreshed in place with the weights."""

    method: Method = "matrix"

    def __init__(self, geometry: ConvGeometry) -> None:
        self.geometry = geometry
        self.pattern = geometry.pattern()
        self._matrix: Any = None

    def matrix(self, weight: Array) -> Any:
        """Return A(w); the same object every time, with new values."""
        if self._matrix is None or self._matrix.dtype != weight.dtype:
            self._matrix = self.pattern.matrix(weight)
        else:
            self.pattern.values(weight, out=self._matrix.data)
        return self._matrix

    def forward(self, weight: Array, x: Array) -> Array:
        """Return A(w) x."""
        product = self.matrix(weight) @ x.reshape(self.geometry.n_in, -1)
        return np.asarray(product).reshape(self.geometry.out_channels, *self.geometry.output_shape, -1)

    def input_gradient(self, weight: Array, g: Array) -> Array:
        """Return A(w)^T g."""
        product = self.matrix(weight).T @ g.reshape(self.geometry.n_out, -1)
        return np.asarray(product).reshape(self.geometry.in_channels, *self.geometry.input_shape, -1)

    def weight_gradient(self, x: Array, g: Array) -> Array:
        """Return the gradient in the weights: for every entry of the pattern the inner product over the batch."""
        return self.pattern.weight_gradient(x.reshape(self.geometry.n_in, -1), g.reshape(self.geometry.n_out, -1))

    def products(self, layer: str) -> list[Product]:
        """Return the three products of the explicit matrix."""
        size = estimate(self.geometry)
        steps = (
            ("forward", "A @ X", size.nonzeros),
            ("weight gradient", "T contracted with G and X", self.pattern.n_entries),
            ("input gradient", "A.T @ G", size.nonzeros),
        )
        return [Product(layer, step, formula, size.shape, adds, adds) for step, formula, adds in steps]


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
        Of the weights; see `convmatrix.nn.optimisation`. Biases start at 0.
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


def fans(geometry: ConvGeometry) -> tuple[int, int]:
    """Return how many inputs an output has at most, and how many outputs an input has."""
    taps = math.prod(geometry.kernel_shape)
    if geometry.connections is not None:
        rows = [sum(row) for row in geometry.connections]
        columns = [sum(column) for column in zip(*geometry.connections, strict=True)]
        return max(rows) * taps, max(columns) * taps
    return geometry.in_channels // geometry.groups * taps, geometry.out_channels // geometry.groups * taps
