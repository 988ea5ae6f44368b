"""Linear and affine layers other than convolutions: dense layers, weight patterns, flattening and padding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from convmatrix import memory, network
from convmatrix import options as validate
from convmatrix.geometry import ConvGeometry
from convmatrix.nn.layer import (
    Initialiser,
    Layer,
    LinearLayer,
    Rng,
    TrainingProduct,
    as_real,
    batch_first,
    batch_last,
    check_sample,
    glorot_uniform,
    real_gradient,
    saved,
)
from convmatrix.nn.matrix_products import MatrixMultiplication
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from convmatrix.arrays import Array


class DenseMultiplication:
    """Products with a dense matrix W, whose entries are the weights."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape

    def forward(self, weight: Array, x: Array) -> Array:
        """Return W x."""
        return weight @ x.reshape(self.shape[1], x.shape[-1])

    def input_gradient(self, weight: Array, g: Array) -> Array:
        """Return W^T g."""
        return weight.T @ g

    def weight_gradient(self, x: Array, g: Array) -> Array:
        """Return g x^T, summed over the batch."""
        return g @ x.reshape(self.shape[1], x.shape[-1]).T

    def products(self, layer: str) -> list[TrainingProduct]:
        """Return the three products of a training step; the matrix is dense."""
        steps = (("forward", "W @ X"), ("weight gradient", "G @ X.T"), ("input gradient", "W.T @ G"))
        entries = math.prod(self.shape)
        return [TrainingProduct(layer, step, formula, self.shape, entries, entries) for step, formula in steps]


class Dense(LinearLayer):
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
        rng: Rng = 0,
    ) -> None:
        super().__init__()
        self.n_in = validate.integer("n_in", n_in, minimum=1)
        self.n_out = validate.integer("n_out", n_out, minimum=1)
        self.multiplication = DenseMultiplication((n_out, n_in))
        self._initialise(initialiser, (n_out, n_in), (n_in, n_out), (n_out,) if bias else None, dtype, rng)

    @property
    def geometry(self) -> ConvGeometry:
        """The layer as a convolution with a single sample on its axis."""
        return ConvGeometry((1,), (1,), in_channels=self.n_in, out_channels=self.n_out)

    def pattern(self) -> WeightPattern:
        """Return the layer's pattern, in which every entry has its own weight."""
        return self.geometry.pattern()

    def matrix(self) -> Array:
        """Return the weights, which are the matrix."""
        return self.parameters["weight"]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(n_in,); samples of other shapes are flattened."""
        return (self.n_in,)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (n_out,)."""
        if math.prod(input_shape) != self.n_in:
            raise ValueError(
                f"{self!r} accepts samples of n_in={self.n_in} numbers, but got {math.prod(input_shape)} (samples of "
                f"shape {tuple(input_shape)})"
            )
        return (self.n_out,)

    def operation(self, input_shape: tuple[int, ...]) -> network.FullyConnected:
        """Return the dense operation with copies of weight and bias."""
        return network.FullyConnected(self.n_in, self.n_out, self.parameters["weight"], self.parameters.get("bias"))

    def __repr__(self) -> str:
        return f"Dense({self.n_in}, {self.n_out})"


class PatternLayer(LinearLayer):
    """A linear layer without bias, ``y = A(w) x``, whose weights are placed in the matrix by any `WeightPattern`.

    Parameters
    ----------
    pattern : WeightPattern
        For instance from `convmatrix.equivariance.tied_pattern` or `WeightPattern.from_triplets`.
    input_shape, output_shape : tuple of int
        Shapes of one sample, such as ``(channels, *spatial)``, with ``n_in`` and ``n_out`` entries for
        ``pattern.shape == (n_out, n_in)``.
    initialiser, dtype, rng
        As for `Conv`; fan-in and fan-out are the largest numbers of weights in a row and in a column of A(w).

    Attributes
    ----------
    parameters : dict
        ``"weight"`` of shape ``pattern.weight_shape``.

    Examples
    --------
    A matrix with one weight on the diagonal and another one below it:

    >>> import numpy as np
    >>> import convmatrix as cm
    >>> pattern = cm.WeightPattern.from_triplets(
    ...     (3, 3), rows=[0, 1, 2, 1, 2], cols=[0, 1, 2, 0, 1], weight_index=[0, 0, 0, 1, 1], weight_shape=2)
    >>> layer = PatternLayer(pattern, (1, 3), (1, 3))
    >>> layer.parameters["weight"][...] = 1, -1
    >>> layer.forward(np.array([[[1.0, 2.0, 4.0]]]))
    array([[[1., 1., 2.]]], dtype=float32)
    """

    def __init__(
        self,
        pattern: WeightPattern,
        input_shape: Sequence[int],
        output_shape: Sequence[int],
        *,
        initialiser: Initialiser = glorot_uniform,
        dtype: DTypeLike = np.float32,
        rng: Rng = 0,
    ) -> None:
        super().__init__()
        validate.instance("pattern", pattern, WeightPattern, "ConvGeometry.pattern returns that of a layer")
        self._input_shape = validate.shape("input_shape", input_shape)
        self._output_shape = validate.shape("output_shape", output_shape)
        sizes = math.prod(self._output_shape), math.prod(self._input_shape)
        if sizes != pattern.shape:
            raise ValueError(
                f"pattern has shape {pattern.shape}, but output_shape={self._output_shape} has {sizes[0]} entries and "
                f"input_shape={self._input_shape} has {sizes[1]}"
            )
        self.multiplication: MatrixMultiplication = MatrixMultiplication(pattern, self._input_shape, self._output_shape)
        fans = [int(np.bincount(places, minlength=1).max()) or 1 for places in (pattern.rows, pattern.cols)]
        self._initialise(initialiser, pattern.weight_shape, (fans[0], fans[1]), None, dtype, rng)

    def pattern(self) -> WeightPattern:
        """Return the layer's pattern."""
        return self.multiplication.pattern

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input sample."""
        return self._input_shape

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one output sample."""
        check_sample(self, input_shape, self._input_shape)
        return self._output_shape

    def operation(self, input_shape: tuple[int, ...]) -> network.PatternMap:
        """Return the pattern with a copy of its weights."""
        return network.PatternMap(self.pattern(), self.parameters["weight"].copy(), self._output_shape)

    def __repr__(self) -> str:
        return f"PatternLayer({self.pattern()!r}, {self._input_shape}, {self._output_shape})"


class Flatten(Layer):
    """Flattens each sample to a vector, in C order.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten().forward(np.ones((10, 3, 2, 2))).shape
    (10, 12)
    """

    _shape: tuple[int, ...] | None = None

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return x with shape (batch, units)."""
        self._shape = x.shape
        x = as_real(self, x)
        return batch_first(np.moveaxis(x, 0, -1).reshape(math.prod(x.shape[1:]), len(x)))

    def backward(self, g: Array) -> Array:
        """Return g with the shape of x."""
        batch, *sample = saved(self, self._shape)
        g = real_gradient(self, g, (batch, math.prod(sample)))
        return batch_first(np.moveaxis(g, 0, -1).reshape(*sample, batch))

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (units,)."""
        return (math.prod(input_shape),)

    def operation(self, input_shape: tuple[int, ...]) -> network.Rearrangement:
        """Return the flattening."""
        return network.flatten()


class Pad(Layer):
    """Pads each channel with a constant, such as LeCun's background of -1 (Neural Computation 1(4), 1989).

    The zero boundary of a convolution pads with zeros. To pad with any other value, put this layer in front of a
    convolution without padding.

    Parameters
    ----------
    widths : sequence of (int, int)
        Number of samples before and after, one pair per spatial axis.
    value : float

    Examples
    --------
    >>> import numpy as np
    >>> Pad([(1, 2)], value=-1.0).forward(np.array([[[5.0, 6.0]]]))
    array([[[-1.,  5.,  6., -1., -1.]]])
    """

    def __init__(self, widths: Sequence[tuple[int, int]], value: float = 0.0) -> None:
        super().__init__()
        if not hasattr(widths, "__len__") or any(not hasattr(pair, "__len__") or len(pair) != 2 for pair in widths):
            raise TypeError(f"widths must be one pair (before, after) per spatial axis, but is {widths!r:.60}")
        self.widths = tuple(
            (validate.integer(f"widths[{axis}][0]", low, minimum=0), validate.integer(f"widths[{axis}][1]", high, 0))
            for axis, (low, high) in enumerate(widths)
        )
        self.value = validate.real("value", value)
        self._output: tuple[int, ...] | None = None

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the padded batch."""
        self._output = (len(x), *self.output_shape(x.shape[1:]))
        memory.require(x.itemsize * math.prod(self._output), f"the output of {self!r}", "pad less, or a smaller batch")
        samples = batch_last(as_real(self, x))
        return batch_first(np.pad(samples, [(0, 0), *self.widths, (0, 0)], constant_values=self.value))

    def backward(self, g: Array) -> Array:
        """Return g without the padding."""
        g = real_gradient(self, g, saved(self, self._output))
        sizes = zip(g.shape[2:], self.widths, strict=True)
        inner = (slice(None), *(slice(low, n - high) for n, (low, high) in sizes))
        return batch_first(np.ascontiguousarray(batch_last(g)[inner]))

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (channels, *padded)."""
        channels, *sizes = input_shape
        if len(sizes) != len(self.widths):
            raise ValueError(
                f"{self!r} pads {len(self.widths)} spatial axes, but got samples of shape {tuple(input_shape)} with "
                f"{len(sizes)}; give one pair of widths per spatial axis"
            )
        return (channels, *(n + low + high for n, (low, high) in zip(sizes, self.widths, strict=True)))

    def operation(self, input_shape: tuple[int, ...]) -> network.Rearrangement:
        """Return the padding; channels are not padded."""
        return network.pad([(0, 0), *self.widths], value=self.value)

    def __repr__(self) -> str:
        return f"Pad({self.widths}, {self.value})"
