"""Pooling layers: averages, LeNet's trained sums, and maxima."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy import sparse

from convmatrix import options as validate
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

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from convmatrix.options import Padding
    from convmatrix.pattern import WeightPattern

    Array = NDArray[Any]


def window_sums(geometry: ConvGeometry, samples: Array) -> Array:
    """Return the sum of each window, padding zeros."""
    first, *others = tap_views(geometry, padded_samples(geometry, samples, 0))
    total = first.copy()
    for view in others:
        total += view
    return total


def window_spread(geometry: ConvGeometry, values: Array) -> Array:
    """Return the transpose of `window_sums` times values."""
    padded = np.zeros((len(values), *padded_shape(geometry), values.shape[-1]), dtype=values.dtype)
    apart = windows_are_apart(geometry)
    for view in tap_views(geometry, padded):
        if apart:
            view[...] = values
        else:
            view += values
    return inner_samples(geometry, padded)


def windows_are_apart(geometry: ConvGeometry) -> bool:
    """Return whether no two windows overlap."""
    return all(stride >= size for stride, size in zip(geometry.stride, geometry.kernel_shape, strict=True))


def padded_shape(geometry: ConvGeometry) -> tuple[int, ...]:
    """Return the spatial shape of padded samples."""
    return tuple(n + low + high for n, (low, high) in zip(geometry.input_shape, geometry.padding, strict=True))


def padded_samples(geometry: ConvGeometry, samples: Array, value: float) -> Array:
    """Return the samples with their padding, filled with a value."""
    if not any(map(any, geometry.padding)):
        return samples
    return np.pad(samples, [(0, 0), *geometry.padding, (0, 0)], constant_values=value)


def inner_samples(geometry: ConvGeometry, padded: Array) -> Array:
    """Return padded samples without their padding."""
    inner = [slice(low, low + n) for n, (low, _) in zip(geometry.input_shape, geometry.padding, strict=True)]
    return padded[(slice(None), *inner)]


def tap_views(geometry: ConvGeometry, padded: Array) -> list[Array]:
    """View padded samples as seen by each tap: a list of (channels, *positions, batch)."""
    return [padded[(slice(None), *index)] for index in _tap_slices(geometry)]


def _tap_slices(geometry: ConvGeometry) -> list[tuple[slice, ...]]:
    sizes = list(zip(geometry.output_shape, geometry.stride, strict=True))
    return [
        tuple(slice(t, t + (n - 1) * s + 1, s) for t, (n, s) in zip(tap, sizes, strict=True))
        for tap in np.ndindex(*geometry.kernel_shape)
    ]


def taps_outside(geometry: ConvGeometry) -> list[Array | None]:
    """Return for each tap where it reads padding, (*positions), or None where there is no padding at all."""
    slices = _tap_slices(geometry)
    if not any(map(any, geometry.padding)):
        return [None] * len(slices)
    outside = np.pad(np.zeros(geometry.input_shape, dtype=bool), geometry.padding, constant_values=True)
    return [outside[index] for index in slices]


class Pooling(Layer):
    """What pooling layers share: windows on each channel by itself, whatever the shape of the input.

    The unfold matrix U of such windows is never stored: its rows of one tap are a strided view of the padded samples.

    Parameters
    ----------
    kernel_shape : int or sequence of int
    stride : int or sequence of int, optional
        The kernel's shape by default: windows that do not overlap.
    padding : see ConvGeometry
    """

    def __init__(
        self,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: Padding = "valid",
    ) -> None:
        super().__init__()
        self.kernel_shape = kernel_shape
        self.stride = kernel_shape if stride is None else stride
        self.padding = padding
        self._geometry: ConvGeometry | None = None
        self._output: tuple[int, ...] | None = None  # of the last batch

    def geometry(self, input_shape: tuple[int, ...]) -> ConvGeometry:
        """Return the layer's geometry for one input sample ``(channels, *spatial)``: one group a channel."""
        if self._geometry is None or (self._geometry.in_channels, *self._geometry.input_shape) != tuple(input_shape):
            if len(input_shape) < 2:
                raise ValueError(
                    f"{self!r} takes arrays (batch, channels, *spatial), but was given samples of shape {input_shape}"
                )
            channels, *spatial = input_shape
            kernel = self.kernel_shape
            if np.ndim(kernel) == 0:
                kernel = (cast("int", kernel),) * len(spatial)
            self._geometry = ConvGeometry(
                spatial,
                kernel,
                in_channels=channels,
                out_channels=channels,
                groups=channels,
                stride=self.stride,
                padding=self.padding,
            )
        return self._geometry

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (channels, *output_shape)."""
        geometry = self.geometry(tuple(input_shape))
        return (geometry.out_channels, *geometry.output_shape)

    def __repr__(self) -> str:
        padding = "" if self.padding == "valid" else f", padding={self.padding!r}"
        return f"{type(self).__name__}({self.kernel_shape}, stride={self.stride}{padding})"

    def _enter(self, x: Array) -> tuple[ConvGeometry, Array]:
        """Return the geometry for a batch, and the batch with the batch axis last."""
        geometry = self.geometry(x.shape[1:])
        self._output = (len(x), geometry.out_channels, *geometry.output_shape)
        return geometry, batch_last(x)

    def _leave(self, g: Array) -> tuple[ConvGeometry, Array]:
        """Return the geometry of the last batch, and g with the batch axis last."""
        check_gradient(self, g, remembered(self, self._output))
        return remembered(self, self._geometry), batch_last(real(self, g))

    def reads(self, outputs: Array, input_shape: tuple[int, ...]) -> Array:
        """Return all samples of the windows."""
        return np.asarray(window_spread(self.geometry(input_shape), outputs[..., None])[..., 0])

    def products(self, input_shape: tuple[int, ...] | None = None) -> list[Product]:
        """Return the products of a training step: with the matrix, and with its transpose."""
        if input_shape is None:
            raise ValueError(f"{self!r} takes samples of several shapes; give input_shape=(channels, *spatial)")
        return self._products(self.geometry(tuple(input_shape)))

    def _products(self, geometry: ConvGeometry) -> list[Product]:
        name, size = type(self).__name__, estimate(geometry)
        return [
            Product(name, "forward", "A @ X", size.shape, size.nonzeros, size.nonzeros),
            Product(name, "input gradient", "A.T @ G", size.shape, size.nonzeros, size.nonzeros),
        ]


class AvgPool(Pooling):
    """The average over each window, padding zeros counted: a convolution with equal, fixed weights.

    Examples
    --------
    >>> import numpy as np
    >>> AvgPool(2).forward(np.array([[[1.0, 3.0, 5.0, 9.0]]]))
    array([[[2., 7.]]])
    """

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the averages."""
        geometry, samples = self._enter(real(self, x))
        sums = window_sums(geometry, samples)
        sums *= sums.dtype.type(1 / math.prod(geometry.kernel_shape))
        return batch_first(sums)

    def backward(self, g: Array) -> Array:
        """Return the transpose times g: each average's gradient spread over its window."""
        geometry, cotangent = self._leave(g)
        share = cotangent.dtype.type(1 / math.prod(geometry.kernel_shape))
        return batch_first(window_spread(geometry, cotangent * share))

    def matrix(self, input_shape: tuple[int, ...]) -> Any:
        """Return the layer's matrix for one input sample ``(channels, *spatial)``."""
        geometry = self.geometry(tuple(input_shape))
        return geometry.pattern().matrix(np.full(geometry.weight_shape, 1 / math.prod(geometry.kernel_shape)))


class Subsample(Pooling):
    """LeNet's subsampling: the sum over each window times one trained coefficient a map, plus a bias a map.

    LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86(11), 1998, section II-B. The coefficients start at the inverse of the
    window's size, so that the layer starts as an average; the biases at 0.

    Parameters
    ----------
    channels : int
    kernel_shape, stride
        2 and the kernel's shape by default. One size is taken for both axes of an image.
    dtype : dtype
        float32 or float64.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Subsample(1)
    >>> layer.forward(np.array([[[[1.0, 2.0], [3.0, 6.0]]]]))
    array([[[[3.]]]], dtype=float32)
    >>> sum(array.size for array in layer.parameters.values())
    2
    """

    def __init__(
        self,
        channels: int,
        kernel_shape: int | Sequence[int] = 2,
        stride: int | Sequence[int] | None = None,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        sizes = validate.shape("kernel_shape", (kernel_shape,) * 2 if np.ndim(kernel_shape) == 0 else kernel_shape)  # type: ignore[arg-type]
        super().__init__(sizes, stride)
        self.channels = validate.integer("channels", channels, minimum=1)
        self.parameters["weight"] = np.full(channels, 1 / math.prod(sizes), dtype=float_dtype(dtype))
        self.parameters["bias"] = np.zeros(channels, dtype=dtype)
        self._sums: Array | None = None

    def pattern(self, input_shape: tuple[int, ...]) -> WeightPattern:
        """Return the layer's pattern: all taps of a map share its one weight."""
        from convmatrix.pattern import WeightPattern

        geometry = self.geometry(tuple(input_shape))
        taps = geometry.pattern()
        weight = taps.weight_index // math.prod(geometry.kernel_shape)
        return WeightPattern(taps.shape, (self.channels,), taps.row_starts, taps.cols, weight)

    def matrix(self, input_shape: tuple[int, ...]) -> Any:
        """Return the layer's matrix for one input sample, with its present coefficients."""
        return self.pattern(input_shape).matrix(self.parameters["weight"])

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return coefficient times sum plus bias."""
        self.output_shape(x.shape[1:])
        weight, bias = self.parameters["weight"], self.parameters["bias"]
        geometry, samples = self._enter(real(self, x, weight.dtype))
        self._sums = window_sums(geometry, samples)
        spread = (slice(None), *(None,) * (self._sums.ndim - 1))
        y = self._sums * weight[spread]
        y += bias[spread]
        return batch_first(y)

    def backward(self, g: Array) -> Array:
        """Return dL/dx, and set the gradients of coefficients and biases."""
        geometry, cotangent = self._leave(real(self, g, self.parameters["weight"].dtype))
        spread = (slice(None), *(None,) * (cotangent.ndim - 1))
        flat = cotangent.reshape(self.channels, -1)
        self.gradients["weight"] = np.einsum("cn,cn->c", flat, remembered(self, self._sums).reshape(flat.shape))
        self.gradients["bias"] = flat.sum(axis=1)
        return batch_first(window_spread(geometry, cotangent * self.parameters["weight"][spread]))

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (channels, *output_shape)."""
        check_sample(self, input_shape, (self.channels, *input_shape[1:]), "channels and the image")
        return super().output_shape(input_shape)

    def _products(self, geometry: ConvGeometry) -> list[Product]:
        forward, backward = super()._products(geometry)
        contraction = forward._replace(step="weight gradient", formula="T contracted with G and X")
        return [forward, contraction, backward]

    def __repr__(self) -> str:
        return f"Subsample({self.channels}, {self.kernel_shape}, stride={self.stride})"


class MaxPool(Pooling):
    """The largest of each window: a 0/1 matrix that selects one sample a row, and depends on the data.

    Padding is never selected. Of equal samples the first tap's is selected; a NaN is handed on.

    Examples
    --------
    >>> import numpy as np
    >>> layer = MaxPool(2)
    >>> layer.forward(np.array([[[1.0, 3.0, 9.0, 5.0]]]))
    array([[[3., 9.]]])
    >>> layer.selection(0).toarray()
    array([[0., 1., 0., 0.],
           [0., 0., 1., 0.]])
    """

    def geometry(self, input_shape: tuple[int, ...]) -> ConvGeometry:
        """Return the geometry; raises where a window would hold nothing but padding."""
        geometry = super().geometry(input_shape)
        for axis, rule in enumerate(geometry.axes):
            last = (rule.n_outputs - 1) * rule.stride - rule.pad_low
            if rule.pad_low >= rule.n_taps or last >= rule.n_samples:
                raise ValueError(
                    f"{self!r}: on axis {axis} a window of {rule.n_taps} samples holds nothing but padding "
                    f"(padding={geometry.padding[axis]}, {rule.n_samples} samples); pad less than the window's size"
                )
        return geometry

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the largest of each window."""
        geometry, samples = self._enter(real(self, x))
        first, *others = tap_views(geometry, padded_samples(geometry, samples, -np.inf))
        outside, *others_outside = taps_outside(geometry)
        best = first.copy()
        chosen = np.zeros(best.shape, dtype=np.int32)
        empty = None if outside is None else np.broadcast_to(outside[..., None], best.shape).copy()
        for tap, (view, padding) in enumerate(zip(others, others_outside, strict=True), start=1):
            larger = ~(view <= best)
            larger &= best == best  # the first NaN stays
            if empty is not None:
                # A sample of minus infinity is still preferred to padding.
                inside = True if padding is None else ~padding[..., None]
                larger |= empty & inside
                empty &= ~larger
            np.copyto(best, view, where=larger)
            np.copyto(chosen, np.int32(tap), where=larger)
        self._chosen = chosen
        return batch_first(best)

    def backward(self, g: Array) -> Array:
        """Return the transpose of the selection matrix times g."""
        geometry, cotangent = self._leave(g)
        padded = np.zeros((len(cotangent), *padded_shape(geometry), cotangent.shape[-1]), dtype=cotangent.dtype)
        apart = windows_are_apart(geometry)
        for tap, view in enumerate(tap_views(geometry, padded)):
            if apart:
                np.copyto(view, cotangent, where=self._chosen == tap)
            else:
                np.add(view, cotangent, out=view, where=self._chosen == tap)
        return batch_first(inner_samples(geometry, padded))

    def selection(self, sample: int) -> Any:
        """Return the selection matrix of one sample of the last batch: ``y = S @ x``, one 1 a row."""
        count = remembered(self, self._output)[0]
        if not 0 <= sample < count:
            raise IndexError(f"sample {sample} is not in the last batch, which has {count}")
        g = remembered(self, self._geometry)
        chosen = self._chosen[..., sample]  # (channels, *positions)
        channel, *positions = list(np.indices(chosen.shape))
        taps = np.unravel_index(chosen, g.kernel_shape)
        column = np.asarray(channel)
        for axis, (position, tap) in enumerate(zip(positions, taps, strict=True)):
            column = column * g.input_shape[axis] + position * g.stride[axis] + tap - g.padding[axis][0]
        starts = np.arange(chosen.size + 1)
        return sparse.csr_array((np.ones(chosen.size), column.ravel(), starts), shape=(g.n_out, g.n_in))

    def _products(self, geometry: ConvGeometry) -> list[Product]:
        """Return the two products with the selection matrix, which has one entry a row."""
        shape, entries = (geometry.n_out, geometry.n_in), geometry.n_out
        return [
            Product("MaxPool", "forward", "S @ X", shape, entries, entries),
            Product("MaxPool", "input gradient", "S.T @ G", shape, entries, entries),
        ]
