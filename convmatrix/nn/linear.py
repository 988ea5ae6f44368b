"""Other linear layers: dense, any weight pattern, padding and flattening."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import options as validate
from convmatrix.geometry import ConvGeometry
from convmatrix.nn.layer import (
    Layer,
    Product,
    batch_first,
    batch_last,
    check_gradient,
    float_dtype,
    real,
    remembered,
)
from convmatrix.nn.optimisation import Initialiser, glorot_uniform

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from convmatrix.pattern import WeightPattern

    Array = NDArray[Any]


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


class Pad(Layer):
    """Surrounds each channel by samples of one value, such as LeCun's background of -1 (Neural Computation 1(4), 1989).

    A convolution's own zero boundary reads zeros; with this layer in front, a convolution without padding reads any
    other value.

    Parameters
    ----------
    widths : sequence of (int, int)
        Samples before and behind, one pair a spatial axis.
    value : float

    Examples
    --------
    >>> import numpy as np
    >>> Pad([(1, 2)], value=-1.0).forward(np.array([[[5.0, 6.0]]]))
    array([[[-1.,  5.,  6., -1., -1.]]])
    """

    def __init__(self, widths: Sequence[tuple[int, int]], value: float = 0.0) -> None:
        super().__init__()
        self.widths = tuple(
            (validate.integer(f"widths[{axis}][0]", low, minimum=0), validate.integer(f"widths[{axis}][1]", high, 0))
            for axis, (low, high) in enumerate(widths)
        )
        self.value = float(value)
        self._output: tuple[int, ...] | None = None

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return x with its border."""
        self._output = (len(x), *self.output_shape(x.shape[1:]))
        samples = batch_last(real(self, x))
        return batch_first(np.pad(samples, [(0, 0), *self.widths, (0, 0)], constant_values=self.value))

    def backward(self, g: Array) -> Array:
        """Return g without its border."""
        check_gradient(self, g, remembered(self, self._output))
        return batch_first(np.ascontiguousarray(batch_last(g)[self._inner(g.shape[1:])]))

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (channels, *padded)."""
        if len(input_shape) != 1 + len(self.widths):
            raise ValueError(
                f"{self!r} takes samples of a channel axis and {len(self.widths)} spatial ones, but was given samples "
                f"of shape {tuple(input_shape)}; give one pair of widths a spatial axis"
            )
        padded = (n + low + high for n, (low, high) in zip(input_shape[1:], self.widths, strict=True))
        return (input_shape[0], *padded)

    def reads(self, outputs: Array, input_shape: tuple[int, ...]) -> Array:
        """Return the samples inside the border."""
        return outputs[self._inner(outputs.shape)]

    def _inner(self, padded: tuple[int, ...]) -> tuple[slice, ...]:
        return (slice(None), *(slice(low, n - high) for n, (low, high) in zip(padded[1:], self.widths, strict=True)))

    def __repr__(self) -> str:
        return f"Pad({self.widths}, {self.value})"


class Flatten(Layer):
    """Samples of any shape as vectors, in C order.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten().forward(np.ones((10, 3, 2, 2))).shape
    (10, 12)
    """

    def __init__(self) -> None:
        super().__init__()
        self._shape: tuple[int, ...] | None = None

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return x as (batch, units)."""
        self._shape = x.shape
        return np.moveaxis(np.moveaxis(x, 0, -1).reshape(math.prod(x.shape[1:]), len(x)), -1, 0)

    def backward(self, g: Array) -> Array:
        """Return g in the shape of x."""
        batch, *sample = remembered(self, self._shape)
        check_gradient(self, g, (batch, math.prod(sample)))
        return np.moveaxis(np.moveaxis(g, 0, -1).reshape(*sample, batch), -1, 0)

    def reads(self, outputs: Array, input_shape: tuple[int, ...]) -> Array:
        """Return the same units in the shape of the input."""
        return outputs.reshape(input_shape)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (units,)."""
        return (math.prod(input_shape),)
