"""Tensors of a framework's graph: which axis holds the samples of the batch, alone or together with other entries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from convmatrix.arrays import Array

Shape = tuple[int, ...]


class UnsupportedError(Exception):
    """An operator, or an option of it, that cannot be translated; the node becomes opaque."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the framework's graph that depends on the input.

    Attributes
    ----------
    node : str
        Name of the network's node that computes it.
    shape : tuple of int or None
        Shape in the framework, with the batch axis; None if it is not known.
    batch : int or None
        The batch axis; None where a batch of one sample was merged with other axes, or an opaque node lost it. The
        node's sample has the shape without this axis.
    merged : tuple of int, optional
        If the batch axis holds other entries too, the sizes of the parts that vary slower and faster than the sample:
        an axis of ``slower * batch * faster`` entries, of which a sample has ``slower * faster``.
    """

    node: str
    shape: Shape | None
    batch: int | None
    merged: tuple[int, int] | None = None

    @property
    def known(self) -> Shape:
        """The shape; raises UnsupportedError if it is not known."""
        if self.shape is None:
            raise UnsupportedError(f"the shape of {self.node!r} is not known")
        return self.shape

    @property
    def ndim(self) -> int:
        """Number of axes, that of the batch included."""
        return len(self.known)

    @property
    def sample(self) -> Shape:
        """Shape of one sample."""
        return self.without_batch(self.known)

    def without_batch(self, shape: Shape) -> Shape:
        """Return the shape of a sample of a tensor that has another shape, and its batch in the same place."""
        if self.batch is None or self.merged is None:
            return without(shape, self.batch)
        return (*shape[: self.batch], math.prod(self.merged), *shape[self.batch + 1 :])

    def axis(self, axis: int) -> int:
        """Return the number of an axis from 0; a negative one counts from the end."""
        if not -self.ndim <= axis < self.ndim:
            raise UnsupportedError(f"axis {axis} does not exist in a tensor of shape {self.shape}")
        return axis % self.ndim

    def inner(self, axis: int) -> int:
        """Return the number that an axis of the tensor has in a sample."""
        return axis - 1 if self.batch is not None and self.merged is None and axis > self.batch else axis

    def samples(self, values: Array) -> Array:
        """Return values of the tensor with the batch in front of the samples."""
        if self.batch is None:
            return values[None]
        outer, faster = self.merged or (1, 1)
        shape = (*values.shape[: self.batch], outer, -1, faster, *values.shape[self.batch + 1 :])
        front = np.moveaxis(values.reshape(shape), self.batch + 1, 0)
        return front.reshape(len(front), *self.without_batch(values.shape))


def without(shape: Shape, axis: int | None) -> Shape:
    """Return a shape without an axis."""
    return shape if axis is None else (*shape[:axis], *shape[axis + 1 :])


def batch_place(shape: Shape, axis: int, slower: int, size: int) -> tuple[int, tuple[int, int] | None] | None:
    """Return an axis and the sizes merged into it, if it holds the batch after ``slower`` entries that vary slower."""
    before = math.prod(shape[:axis])
    outer, rest = divmod(slower, before) if before else (0, 1)
    if rest or not outer or shape[axis] % (outer * size):
        return None
    merged = (outer, shape[axis] // (outer * size))
    if size == 1:  # an axis of one sample is wherever there is room for it
        return (axis, None) if shape[axis] == 1 and outer == 1 else None
    return axis, None if merged == (1, 1) else merged


def per_sample(constant: Array, x: Tensor) -> Array:
    """Return a constant that broadcasts along the last axis, where a vector would be read as one value per channel."""
    return constant[None] if constant.ndim == 1 and len(x.sample) > 1 else constant
