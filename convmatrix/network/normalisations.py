"""Operations that divide by statistics of their own input: normalisation of a sample, softmax, local response."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convmatrix import options as validate
from convmatrix.network.boxes import Box, Boxes, embed
from convmatrix.network.operations import Array, Mask, Operation, Shape, integers, sample_axes


def _floating(x: Array) -> Array:
    return x if x.dtype.kind == "f" else x.astype(np.float64)


class AlongAxes(Operation):
    """Base class of operations that keep the shape and combine the entries along some axes of the sample."""

    @abstractmethod
    def combined_axes(self, shape: Shape) -> tuple[int, ...]:
        """Return the axes along which entries of a sample of a shape are combined."""

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the input."""
        self.combined_axes(input_shapes[0])  # raises ValueError for an axis that it does not have
        return input_shapes[0]

    def read_boxes(self, box: Box, input_shapes: Sequence[Shape]) -> list[Box]:
        """Return the box extended to the whole of the axes along which entries are combined."""
        (shape,) = input_shapes
        axes = self.combined_axes(shape)
        return [tuple(slice(0, n) if axis in axes else box[axis] for axis, n in enumerate(shape))]

    def local_cotangent(self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Boxes) -> list[Array]:
        """Return the cotangents of the entries in the box of the input."""
        (target,) = input_boxes
        return self.cotangent([inputs[0][target]], embed(cotangents, box, target))

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return all entries that are combined with a marked one."""
        marked = outputs.any(axis=self.combined_axes(outputs.shape), keepdims=True)
        return [np.broadcast_to(marked, outputs.shape).copy()]


@dataclass(frozen=True)
class Normalisation(AlongAxes):
    r"""Entries minus their mean, divided by their standard deviation.

    .. math:: y = (x - \mu) / \sqrt{\sigma^2 + \epsilon}

    with the mean and the variance of the entries along some axes of the sample: layer normalisation (Ba, Kiros, Hinton,
    2016), group normalisation (Wu and He, 2018), instance normalisation. What is learned is a `Scale` after it. Batch
    normalisation at inference divides by constants, so it is a `Scale`.

    Parameters
    ----------
    axes : tuple of int, optional
        Axes of the sample that are normalised together; negative ones count from the end.
    groups : int, optional
        Instead of axes: the channels are split into this many groups, which are normalised with all positions.
    epsilon : float
    centred : bool
        Whether the mean is subtracted; without it, the variance is the mean square (RMS normalisation).

    Examples
    --------
    >>> import numpy as np
    >>> Normalisation((-1,), epsilon=0.0).evaluate([np.array([[1.0, 3.0]])])
    array([[-1.,  1.]])
    """

    axes: tuple[int, ...] | None = (-1,)
    groups: int | None = None
    epsilon: float = 1e-5
    centred: bool = True
    kind = "normalisation"

    def __post_init__(self) -> None:
        if self.groups is not None:
            object.__setattr__(self, "groups", validate.integer("groups", self.groups, minimum=1))
            object.__setattr__(self, "axes", None)
        elif self.axes is None:
            raise ValueError("a normalisation needs axes=, or groups= of channels, but both are None")
        else:
            object.__setattr__(self, "axes", integers("axes", self.axes))
        if not validate.real("epsilon", self.epsilon) >= 0:
            raise ValueError(f"epsilon={self.epsilon} must not be negative")

    def combined_axes(self, shape: Shape) -> tuple[int, ...]:
        """Return the axes that are normalised together; with groups, all of them."""
        if self.groups is None:
            return sample_axes(self.axes or (), shape)
        if not shape or shape[0] % self.groups:
            raise ValueError(f"groups={self.groups} does not divide the channels of a sample of shape {shape}")
        return tuple(range(len(shape)))

    def grouping(self, shape: Shape) -> tuple[Shape, tuple[int, ...]]:
        """Return another shape of a sample, of which whole axes are normalised together, and those axes."""
        if self.groups is None:
            return shape, self.combined_axes(shape)
        return (self.groups, math.prod(shape) // self.groups), (1,)

    def _grouped(self, x: Array) -> tuple[Array, tuple[int, ...]]:
        """Return a batch in the shape of `grouping`, and the axes that are normalised together."""
        shape, axes = self.grouping(x.shape[1:])
        return x.reshape(len(x), *shape), tuple(axis + 1 for axis in axes)

    def _normalised(self, x: Array) -> tuple[Array, Array, tuple[int, ...]]:
        """Return y in the grouped shape, the factor 1 / sqrt(variance + epsilon), and the axes."""
        grouped, axes = self._grouped(_floating(x))
        centred = grouped - grouped.mean(axis=axes, keepdims=True) if self.centred else grouped
        factor = 1 / np.sqrt((centred * centred).mean(axis=axes, keepdims=True) + x.dtype.type(self.epsilon))
        return centred * factor, factor, axes

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the normalised batch."""
        (x,) = inputs
        return self._normalised(_floating(x))[0].reshape(x.shape)

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return ``factor * (d - y mean(y d))`` for the centred tangents d; this derivative is symmetric."""
        y, factor, axes = self._normalised(_floating(inputs[0])[None])
        d, _ = self._grouped(tangents[0])
        if self.centred:
            d = d - d.mean(axis=axes, keepdims=True)
        result: Array = factor * (d - y * (y * d).mean(axis=axes, keepdims=True))
        return result.reshape(tangents[0].shape)

    def cotangent(self, inputs: Sequence[Array], cotangents: Array) -> list[Array]:
        """Return the derivative, which is symmetric, times the cotangents."""
        return [self.tangent(inputs, [cotangents])]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return all entries that are normalised together with a marked one."""
        grouped, axes = self._grouped(outputs[None])
        return [np.broadcast_to(grouped.any(axis=axes, keepdims=True), grouped.shape).reshape(outputs.shape)]


@dataclass(frozen=True)
class Softmax(AlongAxes):
    r"""The softmax along an axis of the sample, :math:`y_i = e^{x_i} / \sum_j e^{x_j}`, or its logarithm.

    Examples
    --------
    >>> import numpy as np
    >>> Softmax().evaluate([np.log([[1.0, 3.0]])])
    array([[0.25, 0.75]])
    """

    axis: int = -1
    logarithm: bool = False
    kind = "softmax"

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", validate.integer("axis", self.axis))

    def combined_axes(self, shape: Shape) -> tuple[int, ...]:
        """Return the axis of the softmax."""
        return sample_axes((self.axis,), shape)

    def _axis(self, x: Array) -> int:
        return sample_axes((self.axis,), x.shape[1:])[0] + 1

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the softmax of a batch, or its logarithm."""
        x = _floating(inputs[0])
        axis = self._axis(x)
        shifted = x - x.max(axis=axis, keepdims=True)
        powers = np.exp(shifted)
        total = powers.sum(axis=axis, keepdims=True)
        result: Array = shifted - np.log(total) if self.logarithm else powers / total
        return result

    def _probabilities(self, x: Array) -> Array:
        y = self.evaluate([x[None]])
        return np.exp(y) if self.logarithm else y

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return ``p (d - sum(p d))`` for probabilities p; without the first factor for the logarithm."""
        p, d = self._probabilities(inputs[0]), tangents[0]
        change: Array = d - (p * d).sum(axis=self._axis(d), keepdims=True)
        return change if self.logarithm else p * change

    def cotangent(self, inputs: Sequence[Array], cotangents: Array) -> list[Array]:
        """Return the transposed derivative times the cotangents."""
        if not self.logarithm:
            return [self.tangent(inputs, [cotangents])]
        p = self._probabilities(inputs[0])
        return [cotangents - p * cotangents.sum(axis=self._axis(cotangents), keepdims=True)]


@dataclass(frozen=True)
class LocalResponseNormalisation(AlongAxes):
    r"""Division by a power of the squares of neighbouring channels (Krizhevsky, Sutskever, Hinton, 2012, section 3.3).

    .. math:: y_c = x_c \Big( k + \frac{\alpha}{n} \sum_{j = c - l}^{c - l + n - 1} x_j^2 \Big)^{-\beta}

    Parameters
    ----------
    size : int
        Number of channels n of the window.
    alpha, beta, bias : float
        The bias is k.
    low : int, optional
        Number of channels l before c in the window; by default ``(size - 1) // 2``, as in ONNX.

    Examples
    --------
    >>> import numpy as np
    >>> layer = LocalResponseNormalisation(3, alpha=3.0, beta=1.0, bias=0.0)
    >>> layer.evaluate([np.array([[[1.0], [1.0], [2.0]]])]).ravel()
    array([0.5       , 0.16666667, 0.4       ])
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0
    low: int | None = None
    kind = "local response normalisation"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", validate.integer("size", self.size, minimum=1))
        low = (self.size - 1) // 2 if self.low is None else self.low
        object.__setattr__(self, "low", validate.integer("low", low, minimum=0))
        for name in ("alpha", "beta", "bias"):
            object.__setattr__(self, name, validate.real(name, getattr(self, name)))

    def combined_axes(self, shape: Shape) -> tuple[int, ...]:
        """Return the axis of the channels."""
        return (0,)

    def window_sums(self, x: Array, *, transposed: bool = False) -> Array:
        """Return the sums over windows of channels (axis 1 of a batch), or their transpose."""
        low = self.low or 0
        before, after = (self.size - 1 - low, low) if transposed else (low, self.size - 1 - low)
        widths = [(0, 0), (before, after), *((0, 0),) * (x.ndim - 2)]
        padded = np.pad(x, widths)
        total = padded[:, : x.shape[1]].copy()
        for offset in range(1, self.size):
            total += padded[:, offset : offset + x.shape[1]]
        return total

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the normalised batch."""
        x = _floating(inputs[0])
        result: Array = x * self._base(x) ** x.dtype.type(-self.beta)
        return result

    def _base(self, x: Array) -> Array:
        base: Array = x.dtype.type(self.bias) + x.dtype.type(self.alpha / self.size) * self.window_sums(x * x)
        return base

    def _factors(self, x: Array) -> tuple[Array, Array]:
        """Return the factor of x, and that of ``x sums(x d)`` in the derivative."""
        base = self._base(x)
        factor = base ** x.dtype.type(-self.beta)
        return factor, x.dtype.type(2 * self.beta * self.alpha / self.size) * factor / base

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return the derivative times the tangents."""
        x, d = _floating(inputs[0])[None], tangents[0]
        factor, inner = self._factors(x)
        result: Array = factor * d - inner * x * self.window_sums(x * d)
        return result

    def cotangent(self, inputs: Sequence[Array], cotangents: Array) -> list[Array]:
        """Return the transposed derivative times the cotangents."""
        x = _floating(inputs[0])[None]
        factor, inner = self._factors(x)
        return [factor * cotangents - x * self.window_sums(inner * x * cotangents, transposed=True)]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the channels of the marked windows at the same positions."""
        marks: Any = self.window_sums(outputs[None].astype(np.int64), transposed=True)[0] > 0
        return [marks]
