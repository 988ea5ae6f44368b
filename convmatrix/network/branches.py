"""Operations of several inputs: sums, products and concatenations of branches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
from scipy import sparse

from convmatrix import options as validate
from convmatrix.network.boxes import Box, Boxes, box_shape, broadcast_box, normalised, sum_broadcast
from convmatrix.network.entrywise import Broadcasting, WithFactors
from convmatrix.network.operations import (
    Array,
    Mask,
    Operation,
    Shape,
    align,
    broadcast_columns,
    entries,
    selection_matrix,
)


@dataclass(frozen=True)
class Product(WithFactors):
    """The entrywise product of the inputs, which broadcast: a gate, squeeze and excitation.

    Examples
    --------
    >>> import numpy as np
    >>> Product().evaluate([np.array([[5, 6]]), np.array([[1, 2]])])
    array([[ 5, 12]])
    """

    kind = "product"
    n_inputs = None

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the product."""
        return reduce(np.multiply, align(inputs))

    def factors(self, inputs: Sequence[Array], box: Box) -> list[Array]:
        """Return, for each input, the product of the others in the box."""
        parts = [x[broadcast_box(box, x.shape)] for x in inputs]
        one = np.ones(1, dtype=np.result_type(*inputs))
        return [reduce(np.multiply, [*parts[:i], *parts[i + 1 :]], one) for i in range(len(parts))]


@dataclass(frozen=True)
class Addition(Broadcasting):
    """The sum of the inputs, which broadcast, each with a sign.

    Parameters
    ----------
    signs : tuple of int, optional
        1 or -1 for each input; by default all 1.

    Examples
    --------
    >>> import numpy as np
    >>> Addition((1, -1)).evaluate([np.array([[5, 6]]), np.array([[1, 2]])])
    array([[4, 4]])
    """

    signs: tuple[int, ...] | None = None
    kind = "addition"
    n_inputs = None
    linear = True

    def __post_init__(self) -> None:
        if self.signs is not None and not all(sign in (1, -1) for sign in entries("signs", self.signs)):
            raise ValueError(f"signs={self.signs} must be 1 or -1 each; scale an input with Scale")

    def _signs(self, n: int) -> tuple[int, ...]:
        signs = self.signs or (1,) * n
        if len(signs) != n:
            raise ValueError(f"the addition has {len(signs)} signs, but {n} inputs; give one sign per input")
        return signs

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the broadcast shape."""
        self._signs(len(input_shapes))
        return super().output_shape(input_shapes)

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the signed sum."""
        first, *others = self._signs(len(inputs))
        total, *terms = align(inputs)
        total = total if first > 0 else -total
        for sign, x in zip(others, terms, strict=True):
            total = total + x if sign > 0 else total - x
        return total

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return signed identities side by side, one per input, and a zero bias."""
        out = self.output_shape(input_shapes)
        blocks = [
            sign * selection_matrix(broadcast_columns(shape, out), math.prod(shape), dtype)
            for sign, shape in zip(self._signs(len(input_shapes)), input_shapes, strict=True)
        ]
        return sparse.hstack(blocks, format="csr"), np.zeros(math.prod(out), dtype or np.float64)

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return the signed sum of the tangents."""
        return self.evaluate(tangents)

    def local_cotangent(self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Boxes) -> list[Array]:
        """Return the signed cotangents, summed where an input is broadcast."""
        sums = [sum_broadcast(cotangents, box_shape(part)) for part in input_boxes]
        return [g if sign > 0 else -g for sign, g in zip(self._signs(len(sums)), sums, strict=True)]


@dataclass(frozen=True)
class Extremum(WithFactors):
    """The entrywise maximum or minimum of the inputs, which broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> Extremum("max").evaluate([np.array([[5, 1]]), np.array([[2, 3]])])
    array([[5, 3]])
    """

    method: Literal["max", "min"] = "max"
    kind = "extremum"
    n_inputs = None
    exact = True

    def __post_init__(self) -> None:
        validate.one_of("method", self.method, ("max", "min"))

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the extreme values."""
        return reduce(np.maximum if self.method == "max" else np.minimum, align(inputs))

    def factors(self, inputs: Sequence[Array], box: Box) -> list[Array]:
        """Return, for each input, 1 at the outputs in the box that it gives, the first of equal ones; 0 elsewhere."""
        stack = np.stack([np.broadcast_to(x[broadcast_box(box, x.shape)], box_shape(box)) for x in inputs])
        best = stack.argmax(axis=0) if self.method == "max" else stack.argmin(axis=0)
        return [(best == number).astype(stack.dtype) for number in range(len(inputs))]


@dataclass(frozen=True)
class Concatenation(Operation):
    """The inputs one after the other along an axis of a sample; axis 0 is the channels.

    Examples
    --------
    >>> Concatenation().output_shape([(2, 8, 8), (3, 8, 8)])
    (5, 8, 8)
    """

    axis: int = 0
    kind = "concatenation"
    n_inputs = None
    linear = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", validate.integer("axis", self.axis))

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the joined shape."""
        first, *others = input_shapes
        if not 0 <= self.axis < len(first):
            raise ValueError(
                f"axis={self.axis} is not an axis of an input of shape {first}; choose 0 to {len(first) - 1}"
            )
        before, after = first[: self.axis], first[self.axis + 1 :]
        for shape in others:
            if len(shape) != len(first) or (shape[: self.axis], shape[self.axis + 1 :]) != (before, after):
                raise ValueError(f"inputs of shapes {first} and {shape} differ on an axis other than axis={self.axis}")
        return (*before, sum(shape[self.axis] for shape in input_shapes), *after)

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the joined arrays."""
        return np.concatenate(inputs, axis=self.axis + 1)

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return the permutation that interleaves the raveled inputs, and a zero bias."""
        sizes = [math.prod(shape) for shape in input_shapes]
        numbers = np.split(np.arange(sum(sizes), dtype=np.int64), np.cumsum(sizes)[:-1])
        shaped = [part.reshape(shape) for part, shape in zip(numbers, input_shapes, strict=True)]
        columns = np.concatenate(shaped, axis=self.axis).ravel()
        return selection_matrix(columns, len(columns), dtype), np.zeros(len(columns), dtype or np.float64)

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return the joined tangents."""
        return self.evaluate(tangents)

    def read_boxes(self, box: Box, input_shapes: Sequence[Shape]) -> list[Box]:
        """Return each input's part of the box."""
        boxes, start = [], 0
        for shape in input_shapes:
            n, part = shape[self.axis], box[self.axis]
            own = slice(max(part.start - start, 0), min(part.stop - start, n))
            boxes.append(normalised((*box[: self.axis], own, *box[self.axis + 1 :])))
            start += n
        return boxes

    def local_cotangent(self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Boxes) -> list[Array]:
        """Return each input's part of the cotangents in the box."""
        sizes = [box_shape(part)[self.axis] for part in input_boxes]
        parts = np.split(cotangents, np.cumsum(sizes)[:-1], axis=self.axis + 1)
        return [g.reshape(len(g), *box_shape(part)) for g, part in zip(parts, input_boxes, strict=True)]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return each input's part of the marked entries."""
        ends = np.cumsum([shape[self.axis] for shape in input_shapes])
        return np.split(outputs, ends[:-1], axis=self.axis)
