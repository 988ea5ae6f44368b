"""Operations on several branches: sums, products and concatenations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse

from convmatrix.network.operations import Operation, Shape, broadcast, broadcast_columns, ones_matrix, shrink

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Addition(Operation):
    """The sum of the inputs, which broadcast, each with a sign.

    Examples
    --------
    >>> import numpy as np
    >>> Addition((1, -1)).evaluate([np.array([[5, 6]]), np.array([[1, 2]])])
    array([[4, 4]])
    """

    signs: tuple[int, ...] | None = None
    kind: ClassVar[str] = "addition"
    n_inputs: ClassVar[int | None] = None

    @property
    def linear(self) -> bool:
        """A sum is linear."""
        return True

    def _signs(self, n: int) -> tuple[int, ...]:
        signs = self.signs or (1,) * n
        if len(signs) != n:
            raise ValueError(f"the addition has {len(signs)} signs, but {n} inputs; give one sign per input")
        return signs

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the broadcast shape."""
        self._signs(len(input_shapes))
        return broadcast(input_shapes, self.kind)

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the signed sum."""
        signs = self._signs(len(inputs))
        total = inputs[0] if signs[0] > 0 else -inputs[0]
        for sign, x in zip(signs[1:], inputs[1:], strict=True):
            total = total + x if sign > 0 else total - x
        return total

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return signed identities side by side, one per input, and a zero bias."""
        out = self.output_shape(input_shapes)
        blocks = [
            sign * ones_matrix(broadcast_columns(shape, out), math.prod(shape), dtype)
            for sign, shape in zip(self._signs(len(input_shapes)), input_shapes, strict=True)
        ]
        return sparse.hstack(blocks, format="csr"), np.zeros(math.prod(out), dtype or np.float64)

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the marked entries of every input."""
        return [shrink(outputs, shape) for shape in input_shapes]


@dataclass(frozen=True)
class Product(Operation):
    """The entrywise product of the inputs, which broadcast: a gate, squeeze and excitation.

    Examples
    --------
    >>> import numpy as np
    >>> Product().evaluate([np.array([[5, 6]]), np.array([[1, 2]])])
    array([[ 5, 12]])
    """

    kind: ClassVar[str] = "product"
    n_inputs: ClassVar[int | None] = None

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the broadcast shape."""
        return broadcast(input_shapes, self.kind)

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the product."""
        total = inputs[0]
        for x in inputs[1:]:
            total = total * x
        return total

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the marked entries of every input."""
        return [shrink(outputs, shape) for shape in input_shapes]


@dataclass(frozen=True)
class Concatenation(Operation):
    """The inputs one after the other along an axis of a sample; axis 0 is the channels.

    Examples
    --------
    >>> Concatenation().output_shape([(2, 8, 8), (3, 8, 8)])
    (5, 8, 8)
    """

    axis: int = 0
    kind: ClassVar[str] = "concatenation"
    n_inputs: ClassVar[int | None] = None

    @property
    def linear(self) -> bool:
        """A concatenation is linear."""
        return True

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the joined shape."""
        first = input_shapes[0]
        if not 0 <= self.axis < len(first):
            raise ValueError(
                f"axis={self.axis} is not an axis of an input of shape {first}; choose 0 to {len(first) - 1}"
            )
        for shape in input_shapes[1:]:
            if len(shape) != len(first) or self._others(shape) != self._others(first):
                raise ValueError(f"inputs of shapes {first} and {shape} differ on an axis other than axis={self.axis}")
        joined = sum(shape[self.axis] for shape in input_shapes)
        return (*first[: self.axis], joined, *first[self.axis + 1 :])

    def _others(self, shape: Shape) -> Shape:
        return shape[: self.axis] + shape[self.axis + 1 :]

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the joined arrays."""
        return np.concatenate(inputs, axis=self.axis + 1)

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return the permutation that interleaves the raveled inputs, and a zero bias."""
        sizes = [math.prod(shape) for shape in input_shapes]
        firsts = np.concatenate([[0], np.cumsum(sizes)])
        numbers = [
            first + np.arange(size, dtype=np.int64).reshape(shape)
            for first, size, shape in zip(firsts, sizes, input_shapes, strict=False)
        ]
        columns = np.concatenate(numbers, axis=self.axis).ravel()
        return ones_matrix(columns, len(columns), dtype), np.zeros(len(columns), dtype or np.float64)

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return each input's part of the marked entries."""
        ends = np.cumsum([shape[self.axis] for shape in input_shapes])
        return np.split(outputs, ends[:-1], axis=self.axis)
