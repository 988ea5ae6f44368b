"""Convolution layers, and two methods of multiplying by their matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from convmatrix import network
from convmatrix import options as validate
from convmatrix._products.correlation import DirectCorrelation, padded_length
from convmatrix._products.nonfinite import add_nonfinite, finite_part, is_finite
from convmatrix._products.padding import fold, pad
from convmatrix._products.unfolding import UnfoldedCorrelation
from convmatrix.geometry import ConvGeometry
from convmatrix.matrices import unfold_entries
from convmatrix.nn.layer import Initialiser, LinearLayer, Rng, TrainingProduct, check_sample, glorot_uniform
from convmatrix.nn.matrix_products import MatrixMultiplication
from convmatrix.weights import group_weights, ungroup_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike

    from convmatrix.arrays import Array
    from convmatrix.pattern import WeightPattern

Method = Literal["unfold", "matrix"]


class Conv(LinearLayer):
    r"""A convolution layer of any geometry, :math:`y = A(w) x + b`.

    Locally connected layers, tiled layers and layers with connection tables are described by their geometry
    (``sharing="unshared"``, a tile size, or ``connections=``).

    Parameters
    ----------
    geometry : ConvGeometry
    bias : {"channel", "unit"} or None
        One bias per output channel, one per output unit (LeCun 1989), or none.
    method : {"unfold", "matrix"}
        Whether to multiply by the fixed unfold matrix and dense weights, or by the explicit matrix A(w). The results
        agree up to rounding.
    initialiser : callable
        Draws the initial weights, such as `lecun_uniform`, `glorot_uniform` or `he_normal`. Biases start at 0.
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
        bias: Literal["channel", "unit"] | None = "channel",
        method: Method = "unfold",
        initialiser: Initialiser = glorot_uniform,
        dtype: DTypeLike = np.float32,
        rng: Rng = 0,
    ) -> None:
        super().__init__()
        if not isinstance(geometry, ConvGeometry):
            raise TypeError(f"geometry must be a ConvGeometry, but is a {type(geometry).__name__}")
        if geometry.transposed != self._transposed:
            other = "ConvTranspose" if geometry.transposed else "Conv"
            raise ValueError(f"the geometry has transposed={geometry.transposed}; use {other}")
        if bias is not None:
            validate.one_of("bias", bias, ("channel", "unit"), " or None")
        validate.one_of("method", method, ("unfold", "matrix"))
        self.geometry, self.method = geometry, method
        self._require_memory(geometry.weight_shape, None)
        outputs = geometry.full_output_shape
        self.multiplication = (
            UnfoldMultiplication(geometry)
            if method == "unfold"
            else MatrixMultiplication(geometry.pattern(), self.input_shape, outputs)
        )
        biases = {"channel": outputs[:1], "unit": outputs, None: None}[bias]
        self._initialise(initialiser, geometry.weight_shape, _fans(geometry), biases, dtype, rng)

    def pattern(self) -> WeightPattern:
        """Return the layer's pattern."""
        return self.geometry.pattern()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C_in, *input_shape)."""
        return self.geometry.full_input_shape

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (C_out, *output_shape)."""
        check_sample(self, input_shape, self.input_shape)
        return self.geometry.full_output_shape

    def operation(self, input_shape: tuple[int, ...]) -> network.Convolution:
        """Return the convolution with copies of weight and bias."""
        return network.Convolution(self.geometry, self.parameters["weight"].copy(), self.parameters.get("bias"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.geometry!r})"


class ConvTranspose(Conv):
    """A transposed convolution layer: `Conv` for a geometry with ``transposed=True``.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> layer = ConvTranspose(cm.ConvGeometry((4, 4), (2, 2), stride=2, transposed=True))
    >>> layer.forward(np.ones((10, 1, 4, 4))).shape
    (10, 1, 8, 8)
    """

    _transposed = True


def _fans(geometry: ConvGeometry) -> tuple[int, int]:
    """Return the largest number of inputs per output (fan-in) and of outputs per input (fan-out)."""
    taps = math.prod(geometry.kernel_shape)
    if geometry.connections is not None:
        table = np.array(geometry.connections)
        return int(table.sum(axis=1).max()) * taps, int(table.sum(axis=0).max()) * taps
    return geometry.in_channels // geometry.groups * taps, geometry.out_channels // geometry.groups * taps


class UnfoldMultiplication:
    """The factorisation ``A(w) = (W (x) I) U``: the fixed unfold matrix U, then a dense product.

    Arrays are ``(channels, *spatial, batch)``.

    U copies samples (each row has at most one nonzero entry, which is 1; with a signed boundary, padding computes the
    others), so the product with U is a gather. It is
    computed for one block of positions at a time, which is multiplied by W while it is in the cache. For a transposed
    layer, ``A(w) = U^T (W^T (x) I)``.
    """

    def __init__(self, geometry: ConvGeometry) -> None:
        self.geometry = geometry
        self._low = [low for low, _ in geometry.padding]
        self._groups = 1 if geometry.connections is not None else geometry.groups
        self._block: int | None = None
        self._zeros_outside = set(geometry.boundary) == {"zero"}
        outputs = (geometry.in_channels if geometry.transposed else geometry.out_channels) // self._groups
        self._by_rows = max(geometry.tile) == 1 and UnfoldedCorrelation.fits(
            geometry.kernel_shape, geometry.positions, geometry.dilation, outputs
        )
        if self._by_rows:
            self._length = padded_length(geometry.positions, geometry.kernel_shape, geometry.stride, geometry.dilation)
        else:
            self._length = self._direct(np.zeros(geometry.weight_shape, dtype=np.float32)).length

    def forward(self, weight: Array, x: Array) -> Array:
        """Return A(w) x."""
        return self._local(self._transposed_product if self.geometry.transposed else self._product, weight, x)

    def input_gradient(self, weight: Array, g: Array) -> Array:
        """Return A(w)^T g."""
        return self._local(self._product if self.geometry.transposed else self._transposed_product, weight, g)

    def weight_gradient(self, x: Array, g: Array) -> Array:
        """Return the gradient with respect to the weights: g times the transpose of U x."""
        return self._local(self._weight_gradient, x, g)

    def _local(self, multiply: Callable[[Array, Array], Array], weight: Array, x: Array) -> Array:
        """Return a product, in which infinite and NaN values reach only the sums that read them."""
        product = multiply(weight, x)
        if is_finite(product) or (is_finite(weight) and is_finite(x)):
            return product
        return add_nonfinite(multiply(finite_part(weight), finite_part(x)), weight, x, multiply, self.geometry.boundary)

    def _weight_gradient(self, x: Array, g: Array) -> Array:
        samples, positions = (g, x) if self.geometry.transposed else (x, g)
        correlation = self._correlation(np.zeros(self.geometry.weight_shape, dtype=x.dtype))
        grouped = correlation.weight_gradient(self._extended(self._grouped(samples)), self._grouped(positions))
        if self._by_rows:
            grouped = grouped.reshape(*(1,) * len(self._low), *grouped.shape)
        return ungroup_weights(self.geometry, grouped)

    def _product(self, weight: Array, x: Array) -> Array:
        """Return the correlation of weights and samples at all positions."""
        return self._ungrouped(self._correlation(weight).forward(self._extended(self._grouped(x))))

    def _transposed_product(self, weight: Array, g: Array) -> Array:
        """Return the transpose of `_product` times g."""
        correlation, g = self._correlation(weight), self._grouped(g)
        if isinstance(correlation, UnfoldedCorrelation):
            back = correlation.input_gradient(g)
            if self._zeros_outside:
                return self._ungrouped(back)
        else:
            back = correlation.adjoint(g)
        return self._ungrouped(fold(back, 2, self._low, self.geometry.samples, self.geometry.boundary))

    def _extended(self, array: Array) -> Array:
        """Return padded samples, or the samples themselves if the correlation pads with zeros."""
        if self._by_rows and self._zeros_outside:
            return array
        return pad(array, 2, self._low, self._length, self.geometry.boundary)

    def products(self, layer: str) -> list[TrainingProduct]:
        """Return the three products, each of U or its transpose and the dense W."""
        g = self.geometry
        channels, others = (g.out_channels, g.in_channels) if g.transposed else (g.in_channels, g.out_channels)
        entries = unfold_entries(g)
        taps, positions = math.prod(g.kernel_shape), math.prod(g.positions)
        shape = (channels * taps * positions, channels * math.prod(g.samples))
        pairs = len(g.channel_pairs) if g.connections is not None else others * channels // g.groups
        steps = (
            ("forward", "U.T @ (W.T @ X)" if g.transposed else "W @ (U @ X)"),
            ("weight gradient", "X @ (U @ G).T" if g.transposed else "G @ (U @ X).T"),
            ("input gradient", "W @ (U @ G)" if g.transposed else "U.T @ (W.T @ G)"),
        )
        adds = pairs * taps * positions
        return [TrainingProduct(layer, step, formula, shape, entries, adds) for step, formula in steps]

    def _correlation(self, weight: Array) -> DirectCorrelation | UnfoldedCorrelation:
        if not self._by_rows:
            return self._direct(weight)
        g = self.geometry
        grouped = group_weights(g, weight)
        samples, low = (g.samples, self._low) if self._zeros_outside else (self._length, [0] * len(self._low))
        shared = grouped.reshape(grouped.shape[len(self._low) :])  # without the axes of the tile
        return UnfoldedCorrelation(shared, samples, g.positions, g.stride, g.dilation, low)

    def _direct(self, weight: Array) -> DirectCorrelation:
        g = self.geometry
        correlation = DirectCorrelation(group_weights(g, weight), g.positions, g.stride, g.dilation, self._block)
        self._block = correlation.block  # choosing the block is slow, and does not depend on the weights
        return correlation

    def _grouped(self, array: Array) -> Array:
        """Return (channels, ...) as (groups, channels per group, ...)."""
        return array.reshape(self._groups, len(array) // self._groups, *array.shape[1:])

    @staticmethod
    def _ungrouped(array: Array) -> Array:
        return np.ascontiguousarray(array).reshape(array.shape[0] * array.shape[1], *array.shape[2:])
