"""Operations that combine entries along axes of a sample, or those of several inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import sparse

from convmatrix import options as validate
from convmatrix.network.boxes import sum_broadcast
from convmatrix.network.operations import Array, Mask, Operation, Shape, align, broadcast, integers, sample_axes, shrink


@dataclass(frozen=True)
class Reduction(Operation):
    """The mean, the sum, the maximum or the minimum along axes of the sample, which keep the size 1.

    Parameters
    ----------
    method : {"mean", "sum", "max", "min"}
    axes : tuple of int
        Negative ones count from the end.

    Examples
    --------
    >>> import numpy as np
    >>> Reduction("mean", (-1,)).evaluate([np.array([[[1.0, 3.0], [5.0, 7.0]]])])
    array([[[2.],
            [6.]]])
    """

    method: Literal["mean", "sum", "max", "min"]
    axes: tuple[int, ...]
    kind = "reduction"
    exact = True

    def __post_init__(self) -> None:
        validate.one_of("method", self.method, ("mean", "sum", "max", "min"))
        object.__setattr__(self, "axes", integers("axes", self.axes))

    @property
    def linear(self) -> bool:
        """Means and sums are linear."""
        return self.method in ("mean", "sum")

    def combined_axes(self, shape: Shape) -> tuple[int, ...]:
        """Return the axes that are reduced, as ascending numbers from 0."""
        return sample_axes(self.axes, shape)

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the shape with size 1 on the reduced axes."""
        (shape,) = input_shapes
        axes = self.combined_axes(shape)
        return tuple(1 if axis in axes else n for axis, n in enumerate(shape))

    def _axes(self, x: Array) -> tuple[int, ...]:
        return tuple(axis + 1 for axis in self.combined_axes(x.shape[1:]))

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the reduced batch."""
        (x,) = inputs
        result: Array = getattr(x, self.method)(axis=self._axes(x), keepdims=True)
        return result

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return the matrix of a mean or a sum, and a zero bias."""
        if not self.linear:
            return super().affine(input_shapes, dtype)
        (shape,) = input_shapes
        out = self.output_shape(input_shapes)
        n_in, n_out = math.prod(shape), math.prod(out)
        rows = np.broadcast_to(np.arange(n_out).reshape(out), shape).ravel()
        value = n_out / n_in if self.method == "mean" else 1.0
        matrix = sparse.coo_array((np.full(n_in, value), (rows, np.arange(n_in))), shape=(n_out, n_in))
        return matrix.tocsr().astype(dtype or np.float64), np.zeros(n_out, dtype or np.float64)

    def _selected(self, x: Array) -> Array:
        """Return a 1 at the first extreme entry along the axes, 0 elsewhere, for one sample."""
        axes = self._axes(x[None])
        kept = [axis for axis in range(x.ndim) if axis + 1 not in axes]
        order = (*kept, *(axis - 1 for axis in axes))
        moved = x.transpose(order)
        lines = moved.reshape(*moved.shape[: len(kept)], -1)
        best = np.expand_dims(lines.argmax(axis=-1) if self.method == "max" else lines.argmin(axis=-1), -1)
        marks = np.zeros_like(lines)
        np.put_along_axis(marks, best, 1, axis=-1)
        return marks.reshape(moved.shape).transpose(np.argsort(order))

    def _slopes(self, x: Array) -> Array:
        if not self.linear:
            return self._selected(x)
        value = 1 if self.method == "sum" else math.prod(self.output_shape([x.shape])) / x.size
        return np.full(x.shape, value, dtype=x.dtype if x.dtype.kind == "f" else np.float64)

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return the tangents of the chosen entries, or their mean or sum."""
        d = tangents[0]
        result: Array = (d * self._slopes(inputs[0])).sum(axis=self._axes(d), keepdims=True)
        return result

    def cotangent(self, inputs: Sequence[Array], cotangents: Array) -> list[Array]:
        """Return the cotangents at the chosen entries, or spread over all."""
        return [cotangents * self._slopes(inputs[0])]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return all entries that are reduced to a marked one."""
        return [np.broadcast_to(outputs, input_shapes[0]).copy()]


@dataclass(frozen=True)
class MatrixProduct(Operation):
    """The matrix product of two inputs along their last two axes; other axes broadcast: attention.

    Examples
    --------
    >>> import numpy as np
    >>> MatrixProduct().evaluate([np.array([[[1, 2]]]), np.array([[[3], [4]]])])
    array([[[11]]])
    """

    kind = "matrix product"
    n_inputs = 2

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return (*broadcast, rows, columns)."""
        left, right = input_shapes
        if len(left) < 2 or len(right) < 2 or left[-1] != right[-2]:
            raise ValueError(f"samples of shapes {left} and {right} cannot be multiplied as matrices")
        return (*broadcast([left[:-2], right[:-2]], self.kind), left[-2], right[-1])

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the products."""
        left, right = align(inputs)
        result: Array = left @ right
        return result

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return ``dA B + A dB``."""
        (left, right), (dl, dr) = inputs, align(tangents)
        result: Array = dl @ right + left @ dr
        return result

    def cotangent(self, inputs: Sequence[Array], cotangents: Array) -> list[Array]:
        """Return ``G B^T`` and ``A^T G``."""
        left, right = inputs
        return [
            sum_broadcast(cotangents @ right.swapaxes(-1, -2), left.shape),
            sum_broadcast(left.swapaxes(-1, -2) @ cotangents, right.shape),
        ]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the rows of the first input and the columns of the second that meet in a marked entry."""
        left, right = input_shapes
        rows = np.broadcast_to(outputs.any(axis=-1, keepdims=True), (*outputs.shape[:-1], left[-1]))
        columns = np.broadcast_to(outputs.any(axis=-2, keepdims=True), (*outputs.shape[:-2], *right[-2:]))
        return [shrink(rows, left), shrink(columns, right)]
