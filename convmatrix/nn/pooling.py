"""Pooling layers: averages, LeNet's trained sums, and maxima."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy import sparse

from convmatrix import memory, network
from convmatrix import options as validate
from convmatrix.geometry import ConvGeometry
from convmatrix.memory import estimate
from convmatrix.network.windows import tap_slices
from convmatrix.nn.layer import (
    Layer,
    TrainingProduct,
    as_real,
    batch_first,
    batch_last,
    check_sample,
    float_dtype,
    real_gradient,
    saved,
)
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from convmatrix.arrays import Array
    from convmatrix.options import Padding

Sizes = int | Sequence[int]


class PoolingLayer(Layer):
    """Base class of pooling layers, which pool windows of each channel separately, for inputs of any shape.

    The unfold matrix U of the windows is not stored, because its rows for one tap are a strided view of the padded
    samples. The parameters are explained at `MaxPool`.
    """

    def __init__(self, kernel_shape: Sizes, stride: Sizes | None = None, padding: Padding = "valid") -> None:
        super().__init__()
        self.kernel_shape = kernel_shape
        self.stride = kernel_shape if stride is None else stride
        self.padding = padding
        self._geometry: ConvGeometry | None = None  # of the last samples that were asked for
        self._pooled: ConvGeometry | None = None  # of the last batch
        self._output: tuple[int, ...] | None = None  # shape of the last batch of outputs

    def geometry(self, input_shape: tuple[int, ...]) -> ConvGeometry:
        """Return the layer's geometry for one input sample ``(channels, *spatial)``: one group per channel."""
        if self._geometry is None or self._geometry.full_input_shape != tuple(input_shape):
            if len(input_shape) < 2:
                raise ValueError(f"{self!r} needs samples (channels, *spatial), but got samples of shape {input_shape}")
            channels, *spatial = input_shape
            kernel = self.kernel_shape
            if np.ndim(kernel) == 0:
                kernel = (cast("int", kernel),) * len(spatial)
            counts: dict[str, Any] = {"in_channels": channels, "out_channels": channels, "groups": channels}
            self._geometry = ConvGeometry(spatial, kernel, stride=self.stride, padding=self.padding, **counts)
        return self._geometry

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (channels, *output_shape)."""
        geometry = self.geometry(tuple(input_shape))
        return geometry.full_output_shape

    def __repr__(self) -> str:
        padding = "" if self.padding == "valid" else f", padding={self.padding!r}"
        return f"{type(self).__name__}({self.kernel_shape}, stride={self.stride}{padding})"

    def _begin_forward(self, x: Array) -> tuple[ConvGeometry, Array]:
        """Return the geometry for a batch, and the batch with the batch axis last."""
        geometry = self._pooled = self.geometry(x.shape[1:])
        self._output = (len(x), geometry.out_channels, *geometry.output_shape)
        return geometry, batch_last(x)

    def _begin_backward(self, g: Array) -> tuple[ConvGeometry, Array]:
        """Return the geometry of the last batch, and g with the batch axis last."""
        g = real_gradient(self, g, saved(self, self._output))
        return saved(self, self._pooled), batch_last(g)

    def _operation(self, method: Any, input_shape: tuple[int, ...], **trained: Any) -> network.Pooling:
        """Return the layer as an operation of a network."""
        g = self.geometry(tuple(input_shape))
        return network.Pooling(method, g.kernel_shape, g.stride, g.padding, **trained)

    def products(self, input_shape: tuple[int, ...] | None = None) -> list[TrainingProduct]:
        """Return the products of a training step: with the matrix, and with its transpose."""
        geometry = self.geometry(self.require_shape(input_shape))
        size = estimate(geometry)
        return self._products("A @ X", "A.T @ G", size.shape, size.nonzeros)

    def _products(self, forward: str, backward: str, shape: tuple[int, int], nonzeros: int) -> list[TrainingProduct]:
        name = type(self).__name__
        return [
            TrainingProduct(name, "forward", forward, shape, nonzeros, nonzeros),
            TrainingProduct(name, "input gradient", backward, shape, nonzeros, nonzeros),
        ]


class AvgPool(PoolingLayer):
    """The average over each window, with padding counted as zeros: a convolution with equal, fixed weights.

    Parameters
    ----------
    kernel_shape, stride, padding
        As for `MaxPool`.

    Examples
    --------
    >>> import numpy as np
    >>> AvgPool(2).forward(np.array([[[1.0, 3.0, 5.0, 9.0]]]))
    array([[[2., 7.]]])
    """

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the averages."""
        geometry, samples = self._begin_forward(as_real(self, x))
        sums = _window_sums(geometry, samples)
        sums *= sums.dtype.type(1 / math.prod(geometry.kernel_shape))
        return batch_first(sums)

    def backward(self, g: Array) -> Array:
        """Return the transpose times g, which spreads each gradient evenly over the samples of its window."""
        geometry, cotangent = self._begin_backward(g)
        share = cotangent.dtype.type(1 / math.prod(geometry.kernel_shape))
        return batch_first(_spread_to_windows(geometry, cotangent * share))

    def matrix(self, input_shape: tuple[int, ...]) -> Any:
        """Return the layer's matrix for one input sample ``(channels, *spatial)``."""
        geometry = self.geometry(tuple(input_shape))
        return geometry.pattern().matrix(np.full(geometry.weight_shape, 1 / math.prod(geometry.kernel_shape)))

    def operation(self, input_shape: tuple[int, ...]) -> network.Pooling:
        """Return the average pooling."""
        return self._operation("average", input_shape)


class Subsample(PoolingLayer):
    """LeNet's subsampling: the sum over each window times one trained coefficient per map, plus one bias per map.

    LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86(11), 1998, section II-B. The coefficients start at the inverse of the
    window's size, so that the layer starts as an average; the biases start at 0.

    Parameters
    ----------
    channels : int
    kernel_shape : int or sequence of int
        An int applies to both axes of an image.
    stride : int or sequence of int, optional
        By default ``kernel_shape``.
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
        self, channels: int, kernel_shape: Sizes = 2, stride: Sizes | None = None, *, dtype: DTypeLike = np.float32
    ) -> None:
        sizes = validate.shape("kernel_shape", (kernel_shape,) * 2 if np.ndim(kernel_shape) == 0 else kernel_shape)  # type: ignore[arg-type]
        super().__init__(sizes, stride)
        self.channels = validate.integer("channels", channels, minimum=1)
        memory.require(16 * channels, f"Subsample of {channels} channels", "use fewer channels")
        self.parameters["weight"] = np.full(channels, 1 / math.prod(sizes), dtype=float_dtype(dtype))
        self.parameters["bias"] = np.zeros(channels, dtype=dtype)
        self._sums: Array | None = None

    def pattern(self, input_shape: tuple[int, ...]) -> WeightPattern:
        """Return the layer's pattern, in which all taps of a map share one weight."""
        geometry = self.geometry(tuple(input_shape))
        taps = geometry.pattern()
        weight = taps.weight_index // math.prod(geometry.kernel_shape)
        return WeightPattern(taps.shape, (self.channels,), taps.row_starts, taps.cols, weight)

    def matrix(self, input_shape: tuple[int, ...]) -> Any:
        """Return the layer's matrix for one input sample, with its current coefficients."""
        return self.pattern(input_shape).matrix(self.parameters["weight"])

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return coefficient times sum plus bias."""
        self.output_shape(x.shape[1:])
        weight, bias = self.parameters["weight"], self.parameters["bias"]
        geometry, samples = self._begin_forward(as_real(self, x, weight.dtype))
        self._sums = _window_sums(geometry, samples)
        per_channel = (slice(None), *(None,) * (self._sums.ndim - 1))
        y = self._sums * weight[per_channel]
        y += bias[per_channel]
        return batch_first(y)

    def backward(self, g: Array) -> Array:
        """Return dL/dx, and set the gradients of coefficients and biases."""
        geometry, cotangent = self._begin_backward(as_real(self, g, self.parameters["weight"].dtype))
        flat = cotangent.reshape(self.channels, -1)
        self.gradients["weight"] = np.einsum("cn,cn->c", flat, saved(self, self._sums).reshape(flat.shape))
        self.gradients["bias"] = flat.sum(axis=1)
        per_channel = (slice(None), *(None,) * (cotangent.ndim - 1))
        return batch_first(_spread_to_windows(geometry, cotangent * self.parameters["weight"][per_channel]))

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (channels, *output_shape)."""
        check_sample(self, input_shape, (self.channels, *input_shape[1:]))
        return super().output_shape(input_shape)

    def operation(self, input_shape: tuple[int, ...]) -> network.Pooling:
        """Return the sum over windows with copies of coefficients and biases."""
        coefficient, bias = (self.parameters[name].copy() for name in ("weight", "bias"))
        return self._operation("sum", input_shape, trained=True, coefficient=coefficient, bias=bias)

    def products(self, input_shape: tuple[int, ...] | None = None) -> list[TrainingProduct]:
        """Return the three products of a training step."""
        forward, backward = super().products(input_shape)
        contraction = forward._replace(step="weight gradient", formula="T contracted with G and X")
        return [forward, contraction, backward]

    def __repr__(self) -> str:
        return f"Subsample({self.channels}, {self.kernel_shape}, stride={self.stride})"


class MaxPool(PoolingLayer):
    """The largest entry of each window: the product with a data-dependent 0/1 matrix that selects one sample per row.

    Padding is never selected. Among equal samples, that of the first tap is selected. A NaN in a window is its maximum.

    Parameters
    ----------
    kernel_shape : int or sequence of int
    stride : int or sequence of int, optional
        By default ``kernel_shape``: windows that do not overlap.
    padding : see ConvGeometry

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
        """Return the geometry; raise ValueError if a window would contain only padding."""
        geometry = super().geometry(input_shape)
        for number, axis in enumerate(geometry.axes):
            last = (axis.n_outputs - 1) * axis.stride - axis.pad_low
            if axis.pad_low >= axis.n_taps or last >= axis.n_samples:
                raise ValueError(
                    f"{self!r}: on axis {number} a window of {axis.n_taps} samples contains only padding "
                    f"(padding={geometry.padding[number]}, {axis.n_samples} samples); pad less than the window's size"
                )
        return geometry

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the maxima."""
        geometry, samples = self._begin_forward(as_real(self, x))
        first, *others = _tap_views(geometry, _padded(geometry, samples, -np.inf))
        best = first.copy()
        # Start with the first tap that reads a sample, so that a sample of minus infinity is preferred to padding.
        inside = [np.maximum(axis.pad_low - np.arange(axis.n_outputs) * axis.stride, 0) for axis in geometry.axes]
        start = np.asarray(np.ravel_multi_index(np.ix_(*inside), geometry.kernel_shape), dtype=np.int32)
        chosen = np.broadcast_to(start[..., None], best.shape).copy()
        for tap, view in enumerate(others, start=1):
            larger = ~(view <= best)
            larger &= best == best  # the first NaN is kept
            np.copyto(best, view, where=larger)
            np.copyto(chosen, np.int32(tap), where=larger)
        self._chosen = chosen
        return batch_first(best)

    def backward(self, g: Array) -> Array:
        """Return the transpose of the selection matrix times g."""
        geometry, cotangent = self._begin_backward(g)
        return batch_first(_spread_to_windows(geometry, cotangent, self._chosen))

    def selection(self, sample: int) -> Any:
        """Return the selection matrix S of one sample of the last batch: ``y = S @ x``, with a single 1 per row."""
        count = saved(self, self._output)[0]
        if not 0 <= sample < count:
            raise IndexError(f"sample {sample} is not in the last batch, which has {count} samples")
        g = saved(self, self._pooled)
        chosen = self._chosen[..., sample]  # (channels, *positions)
        channel, *positions = list(np.indices(chosen.shape))
        taps = np.unravel_index(chosen, g.kernel_shape)
        column = np.asarray(channel)
        for axis, (position, tap) in enumerate(zip(positions, taps, strict=True)):
            column = column * g.input_shape[axis] + position * g.stride[axis] + tap - g.padding[axis][0]
        starts = np.arange(chosen.size + 1)
        return sparse.csr_array((np.ones(chosen.size), column.ravel(), starts), shape=(g.n_out, g.n_in))

    def operation(self, input_shape: tuple[int, ...]) -> network.Pooling:
        """Return the maximum pooling."""
        return self._operation("max", input_shape)

    def products(self, input_shape: tuple[int, ...] | None = None) -> list[TrainingProduct]:
        """Return the two products with the selection matrix, which has one entry per row."""
        geometry = self.geometry(self.require_shape(input_shape))
        return self._products("S @ X", "S.T @ G", (geometry.n_out, geometry.n_in), geometry.n_out)


# --- windows as strided views; arrays are (channels, *spatial, batch) ------------------------------------------------


def _window_sums(geometry: ConvGeometry, samples: Array) -> Array:
    """Return the sum over each window, with zeros as padding."""
    first, *others = _tap_views(geometry, _padded(geometry, samples, 0))
    total = first.copy()
    for view in others:
        total += view
    return total


def _spread_to_windows(geometry: ConvGeometry, values: Array, chosen: Array | None = None) -> Array:
    """Return values, one per window, added to all its samples (transpose of `_window_sums`) or to the chosen one."""
    spatial = [n + low + high for n, (low, high) in zip(geometry.input_shape, geometry.padding, strict=True)]
    padded = np.zeros((len(values), *spatial, values.shape[-1]), dtype=values.dtype)
    disjoint = all(stride >= size for stride, size in zip(geometry.stride, geometry.kernel_shape, strict=True))
    for tap, view in enumerate(_tap_views(geometry, padded)):
        where: Any = True if chosen is None else chosen == tap
        if disjoint:
            np.copyto(view, values, where=where)
        else:
            np.add(view, values, out=view, where=where)
    inner = [slice(low, low + n) for n, (low, _) in zip(geometry.input_shape, geometry.padding, strict=True)]
    return padded[(slice(None), *inner)]


def _padded(geometry: ConvGeometry, samples: Array, value: float) -> Array:
    if not any(map(any, geometry.padding)):
        return samples
    return np.pad(samples, [(0, 0), *geometry.padding, (0, 0)], constant_values=value)


def _tap_views(geometry: ConvGeometry, padded: Array) -> list[Array]:
    """Return, for each tap, a view (channels, *positions, batch) of the padded samples that it reads."""
    return [padded[(slice(None), *samples)] for samples in tap_slices(geometry.axes)]
