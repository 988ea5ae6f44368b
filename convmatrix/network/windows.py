"""Operations on windows: pooling, and the samples that the windows of an axis read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from typing import Any, Literal

import numpy as np
from scipy import sparse

from convmatrix import memory
from convmatrix import options as validate
from convmatrix.boundary import Axis, Boundary
from convmatrix.geometry import ConvGeometry
from convmatrix.network.boxes import Box, Boxes, first_position, fold_axis, normalised, read_range, whole
from convmatrix.network.operations import (
    Array,
    Mask,
    MissingWeightsError,
    Operation,
    Shape,
    entries,
    like,
    product_of_axes,
    real_array,
)
from convmatrix.network.rearrangements import pad_axes, refuse_signed
from convmatrix.network.resize import read_along


@lru_cache(maxsize=256)
def axis_structure(axis: Axis) -> Any:
    """Return which outputs of one axis read which samples, as a sparse array of counts (n_outputs, n_samples).

    Beyond a signed boundary, the moduli of coefficients are counted.
    """
    memory.require(
        48 * axis.n_outputs * axis.n_taps,
        f"what {axis.n_taps} taps of {axis.n_outputs} outputs read",
        "use a smaller input or kernel",
    )
    outputs, taps = np.indices((axis.n_outputs, axis.n_taps))
    matrix: Any = sparse.csr_array((axis.n_outputs, axis.n_samples), dtype=np.int64)
    for sample, factor in axis.terms(outputs, taps):
        samples, factors = np.broadcast_to(sample, taps.shape), np.abs(np.broadcast_to(factor, taps.shape))
        read = (samples >= 0) & (factors != 0)
        entries = factors[read], (outputs[read], samples[read])
        matrix = matrix + sparse.coo_array(entries, shape=matrix.shape).tocsr()
    return matrix


def window_reads(geometry: ConvGeometry, outputs: Mask) -> Mask:
    """Return which samples (channels, *spatial) the marked outputs of a layer's windows read; channels stay apart."""
    mask = outputs
    for number, axis in enumerate(geometry.axes, start=1):
        structure = axis_structure(axis)
        mask = read_along(mask, number, structure.T if geometry.transposed else structure)
    return mask


def pad_windows(x: Array, axes: Sequence[Axis], fill: float, first: int = 2) -> Array:
    """Return a batch padded or cropped, on the axes from ``first`` on, to the samples that the windows read."""
    widths = [(axis.pad_low, axis.reach(axis.n_outputs) - axis.pad_low - axis.n_samples) for axis in axes]
    return pad_axes(x, widths, [axis.boundary for axis in axes], fill, first)


def tap_slices(axes: Sequence[Axis], start: int = 0, count: int | None = None) -> Iterator[tuple[slice, ...]]:
    """Yield, for each tap of the windows in C order, the slices of the padded samples that it reads.

    On the first axis they are those of the outputs from ``start`` on: ``count`` of them, or all.
    """
    ranges = [(start, axes[0].n_outputs if count is None else count), *((0, axis.n_outputs) for axis in axes[1:])]
    for taps in np.ndindex(*(axis.n_taps for axis in axes)):
        firsts = [
            tap * axis.dilation + begin * axis.stride for tap, axis, (begin, _) in zip(taps, axes, ranges, strict=True)
        ]
        yield tuple(
            slice(first, first + (n - 1) * axis.stride + 1, axis.stride)
            for first, axis, (_, n) in zip(firsts, axes, ranges, strict=True)
        )


def reduce_windows(x: Array, axes: Sequence[Axis], combine: np.ufunc, fill: float) -> Array:
    """Return the sums or maxima of the windows of a batch (batch, channels, *samples), one axis after the other."""
    for number, axis in enumerate(axes, start=2):
        padded = pad_windows(x, [axis], fill, number)
        if axis.n_outputs == 1 and axis.dilation == 1:
            x = combine.reduce(padded, axis=number, keepdims=True, dtype=x.dtype)
            continue
        before = (slice(None),) * number
        first, *others = ((*before, *read) for read in tap_slices([axis]))
        x = padded[first].copy()
        for read in others:
            combine(x, padded[read], out=x)
    return x


def _reads_padding_only(axis: Axis) -> bool:
    """Return whether some output of an axis reads no sample."""
    if axis.boundary != "zero":
        return False
    last = (axis.n_outputs - 1) * axis.stride - axis.pad_low
    if axis.pad_low >= axis.span or last >= axis.n_samples:
        return True
    if axis.dilation <= axis.n_samples:
        return False
    # Taps so far apart may read padding at both ends.
    starts = np.arange(min(-(-axis.pad_low // axis.stride), axis.n_outputs)) * axis.stride - axis.pad_low
    return bool((starts % axis.dilation >= axis.n_samples).any())


@dataclass(frozen=True)
class Pooling(Operation):
    """The average, the maximum or the sum of a window, channel by channel.

    Parameters
    ----------
    method : {"average", "max", "sum"}
    kernel_shape : int, tuple of int or None
        The window; None pools over the whole sample (global pooling).
    stride : int or tuple of int, optional
        By default the window: windows side by side.
    padding, dilation, boundary
        As for `ConvGeometry`. A maximum never takes padding; an average counts a sample as often as its window reads
        it.
    ceil_mode : bool
        Round the number of outputs up: the last window may extend beyond the padding, but starts within the input or
        the padding at the low end.
    count_include_pad : bool
        Whether zero padding counts in an average's divisor. What ``ceil_mode`` adds beyond the padding never does.
    trained : bool
        Whether the result is multiplied by one trained coefficient per channel, and one trained bias per channel is
        added: the subsampling of LeNet-5 (LeCun et al., 1998).
    coefficient, bias : array_like, shape (channels,), optional
        Their values, for ``trained=True``.
    adaptive : bool
        Whether the window was chosen for the size of its input, so that it gives a fixed number of outputs. Nothing
        changes at this size, but at another one the window would be another.

    Examples
    --------
    >>> import numpy as np
    >>> Pooling("max", 2).evaluate([np.array([[[1, 3, 9, 5]]])])
    array([[[3, 9]]])
    >>> Pooling("average", 3, stride=2, padding=1).output_shape([(64, 112, 112)])
    (64, 56, 56)
    """

    method: Literal["average", "max", "sum"] = "average"
    kernel_shape: int | tuple[int, ...] | None = 2
    stride: int | tuple[int, ...] | None = None
    padding: Any = 0
    dilation: int | tuple[int, ...] = 1
    boundary: Boundary | tuple[Boundary, ...] = "zero"
    ceil_mode: bool = False
    count_include_pad: bool = True
    trained: bool = False
    coefficient: Any = None
    bias: Any = None
    adaptive: bool = False
    kind = "pooling"
    exact = True

    def __post_init__(self) -> None:
        validate.one_of("method", self.method, ("average", "max", "sum"))
        words = (self.boundary,) if isinstance(self.boundary, str) else entries("boundary", self.boundary)
        refuse_signed(words, "windows hold samples")
        if self.trained and self.method == "max":
            raise ValueError("trained=True scales an average or a sum, but method is 'max'")
        for name in ("coefficient", "bias"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, real_array(name, getattr(self, name)))

    @property
    def linear(self) -> bool:
        """Averages and sums are linear."""
        return self.method != "max"

    def geometry(self, input_shape: Shape) -> ConvGeometry:
        """Return the windows as a layer of one channel; padding includes what ``ceil_mode`` adds."""
        plain = self._declared(input_shape)
        if not self.ceil_mode:
            return plain
        padding = []
        for axis, (low, high) in zip(plain.axes, plain.padding, strict=True):
            outputs = -(-(axis.n_samples + low + high - axis.span) // axis.stride) + 1
            if (outputs - 1) * axis.stride >= axis.n_samples + low:
                outputs -= 1
            padding.append((low, max(axis.reach(outputs) - axis.n_samples - low, high)))
        return replace(plain, padding=tuple(padding))

    def _declared(self, input_shape: Shape) -> ConvGeometry:
        """Return the windows without those that ``ceil_mode`` adds."""
        spatial = input_shape[1:]
        if not spatial:
            raise ValueError(f"pooling needs channels and spatial axes, but its input has shape {input_shape}")
        if self.kernel_shape is None:
            return ConvGeometry(spatial, spatial, boundary=self.boundary)
        sizes = validate.per_axis("kernel_shape", self.kernel_shape, len(spatial), minimum=1)
        return ConvGeometry(
            spatial,
            sizes,
            stride=sizes if self.stride is None else self.stride,
            padding=self.padding,
            dilation=self.dilation,
            boundary=self.boundary,
        )

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return (channels, *positions)."""
        geometry = self.geometry(input_shapes[0])
        for number, axis in enumerate(geometry.axes):
            if self.method == "max" and _reads_padding_only(axis):
                raise ValueError(
                    f"on axis {number} a window of {axis.n_taps} samples holds nothing but padding (padding="
                    f"{geometry.padding[number]}, {axis.n_samples} samples); pad less than the window's size"
                )
        return (input_shapes[0][0], *geometry.output_shape)

    def divisors(self, input_shape: Shape) -> Array:
        """Return the number that each output's sum is divided by, (*positions)."""
        geometry = self.geometry(input_shape)
        if self.method != "average":
            return np.ones(geometry.output_shape)
        counts = []
        for axis, (low, high) in zip(geometry.axes, self._declared(input_shape).padding, strict=True):
            if axis.boundary != "zero":
                counts.append(np.full(axis.n_outputs, axis.n_taps))
                continue
            if not self.count_include_pad:
                low = high = 0
            positions = axis.position(np.arange(axis.n_outputs)[:, None], np.arange(axis.n_taps))
            counts.append(((positions >= -low) & (positions < axis.n_samples + high)).sum(axis=1))
        product: Array = np.maximum(reduce(np.multiply.outer, counts), 1)
        return product

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the pooled batch."""
        (x,) = inputs
        axes = self.geometry(x.shape[1:]).axes
        if self.method == "max":
            lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
            return reduce_windows(x, axes, np.maximum, lowest)
        total = reduce_windows(x, axes, np.add, 0)
        if self.method == "average":
            total = total / like(self.divisors(x.shape[1:]), x)
        if self.trained:
            spread = (slice(None), *(None,) * len(axes))
            scale, shift = (like(value, x)[spread] for value in self._trained_values())
            total = total * scale + shift
        return total

    def _trained_values(self) -> tuple[Array, Array]:
        if self.coefficient is None or self.bias is None:
            raise MissingWeightsError("the pooling's trained coefficients have no values; give coefficient= and bias=")
        return self.coefficient, self.bias

    def structure(self, input_shape: Shape) -> Any:
        """Return how often each output reads each sample, as a sparse array over all channels."""
        return product_of_axes(input_shape[0], map(axis_structure, self.geometry(input_shape).axes))

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return the matrix of an average or a sum, and its bias."""
        if self.method == "max":
            return super().affine(input_shapes, dtype)
        (shape,) = input_shapes
        kind = np.dtype(dtype or np.float64)
        matrix = self.structure(shape).astype(kind)
        channels, *positions = self.output_shape([shape])
        scale = np.broadcast_to(self._factors(shape, kind), (channels, *positions))
        matrix.data *= np.repeat(scale.ravel(), np.diff(matrix.indptr))
        shift = np.broadcast_to(self._trained_values()[1] if self.trained else 0.0, channels)
        return matrix, np.repeat(shift, math.prod(positions)).astype(kind)

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return the pooled tangents; for a maximum, those of the first largest sample of each window in C order."""
        (x,), (t,) = inputs, tangents
        axes = self.geometry(x.shape).axes
        if self.method != "max":
            return reduce_windows(t, axes, np.add, 0) * self._factors(x.shape, t.dtype)
        box = whole(self.output_shape([x.shape]))
        largest = self._largest(x, axes, box)
        padded = pad_windows(t, axes, 0)
        total = np.zeros((len(t), *largest.shape), dtype=t.dtype)
        for tap, read in enumerate(tap_slices(axes)):
            total += (largest == tap) * padded[(slice(None), slice(None), *read)]
        return total

    def read_boxes(self, box: Box, input_shapes: Sequence[Shape]) -> list[Box]:
        """Return the box of the windows."""
        axes = self.geometry(input_shapes[0]).axes
        return [normalised((box[0], *map(read_range, axes, box[1:])))]

    def local_cotangent(self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Boxes) -> list[Array]:
        """Return the cotangents in a box spread over their windows."""
        g, (x,), (target,) = cotangents, inputs, input_boxes
        axes = self.geometry(x.shape).axes
        if self.method == "max":
            g = _scatter(g, self._largest(x, axes, box), _cut(axes, box))
        else:
            g = g * np.broadcast_to(self._factors(x.shape, g.dtype), self.output_shape([x.shape]))[box]
        for number, (axis, part) in enumerate(zip(axes, box[1:], strict=True), start=1):
            if self.method != "max":
                g = _spread(g, number + 1, axis)
            g = fold_axis(g, number + 1, first_position(axis, part), axis.n_samples, axis.boundary, target[number])
        return [g]

    def _factors(self, input_shape: Shape, dtype: np.dtype[Any]) -> Array:
        """Return the number that each output's sum is multiplied by, in a shape that broadcasts to the output."""
        factors = 1 / self.divisors(input_shape)
        if self.trained:
            factors = factors * self._trained_values()[0].reshape(-1, *(1,) * factors.ndim)
        return np.asarray(factors).astype(dtype)

    def _largest(self, x: Array, axes: Sequence[Axis], box: Box) -> Array:
        """Return the number of the first largest tap of each window in a box, in C order."""
        padded = pad_windows(x[None, box[0]], axes, -np.inf)[0]
        parts = zip(axes, box[1:], strict=True)
        padded = padded[(slice(None), *(slice(part.start * axis.stride, None) for axis, part in parts))]
        cut = _cut(axes, box)
        first, *others = ((slice(None), *read) for read in tap_slices(cut))
        most = padded[first].copy()
        largest = np.zeros(most.shape, dtype=np.int32)
        for tap, read in enumerate(others, start=1):
            greater = padded[read] > most
            np.copyto(most, padded[read], where=greater)
            largest[greater] = tap
        return largest

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return all samples of the marked windows."""
        return [window_reads(self.geometry(input_shapes[0]), outputs)]


def _cut(axes: Sequence[Axis], box: Box) -> list[Axis]:
    """Return the windows of the outputs in a box, on just the positions that they read."""
    cut = []
    for axis, part in zip(axes, box[1:], strict=True):
        n = part.stop - part.start
        cut.append(Axis(n, axis.reach(n), axis.n_taps, axis.stride, axis.dilation))
    return cut


def _scatter(g: Array, taps: Array, axes: Sequence[Axis]) -> Array:
    """Return cotangents (k, channels, *outputs) at the positions of one tap of each window."""
    spread = np.zeros((*g.shape[:2], *(axis.n_samples for axis in axes)), dtype=g.dtype)
    for tap, read in enumerate(tap_slices(axes)):
        chosen = (taps == tap).astype(g.dtype)
        if chosen.any():
            target: Any = (slice(None), slice(None), *read)
            spread[target] += g * chosen
    return spread


def _spread(g: Array, number: int, axis: Axis) -> Array:
    """Return cotangents at all positions that the windows of one axis read, padding included: the adjoint of sums."""
    n = g.shape[number]
    if axis.dilation == 1 and (n == 1 or axis.stride == axis.n_taps):
        return np.repeat(g, axis.n_taps, axis=number)
    spread = np.zeros((*g.shape[:number], axis.reach(n), *g.shape[number + 1 :]), dtype=g.dtype)
    for tap in range(axis.n_taps):
        first = tap * axis.dilation
        read: Any = (*(slice(None),) * number, slice(first, first + (n - 1) * axis.stride + 1, axis.stride))
        spread[read] += g
    return spread
