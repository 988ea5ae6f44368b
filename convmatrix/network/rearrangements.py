"""Operations that move entries without changing them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import options as validate
from convmatrix.boundary import SIGNED, Boundary, read_sample, read_terms
from convmatrix.network.boxes import (
    Box,
    Boxes,
    box_shape,
    broadcast_box,
    embed,
    flat_box,
    flat_range,
    fold_axis,
    normalised,
    sample_range,
    sum_broadcast,
)
from convmatrix.network.operations import (
    Array,
    Mask,
    Operation,
    Shape,
    broadcast,
    entries,
    integers,
    lift,
    selection_matrix,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Rearrangement(Operation):
    """An operation whose every output is one entry of the input, or a constant: an array of indices.

    Make one with `flatten`, `reshape`, `transpose`, `take`, `gather`, `expand`, `channel_shuffle` or `pad`.

    Attributes
    ----------
    name : str
        The function that made it.
    options : tuple
        The arguments of that function.

    Examples
    --------
    >>> import numpy as np
    >>> transpose((1, 0)).evaluate([np.array([[[1, 2, 3], [4, 5, 6]]])])
    array([[[1, 4],
            [2, 5],
            [3, 6]]])
    >>> transpose((1, 0)).index((2, 3))
    array([0, 3, 1, 4, 2, 5])
    """

    name: str
    options: tuple[Any, ...] = ()
    kind = "rearrangement"
    linear = True

    @property
    def fill(self) -> float:
        """The constant of outputs that read nothing."""
        return float(self.options[2]) if self.name == "pad" else 0.0

    def index(self, input_shape: Shape) -> NDArray[np.int64]:
        """Return the flat index of the entry that each output reads; -1 where it is the constant."""
        numbers = np.arange(math.prod(input_shape), dtype=np.int64).reshape(1, *input_shape)
        return self._apply(numbers, -1).ravel()

    def _apply(self, x: Array, fill: float) -> Array:
        """Return the rearranged batch."""
        if self.name == "transpose":
            return x.transpose(0, *(axis + 1 for axis in self.options))
        if self.name == "take":
            axis, start, stop, step = self.options
            taken: Array = x[(slice(None),) * (axis + 1) + (slice(start, stop, step),)]
            return taken
        if self.name == "gather":
            axis, indices = self.options
            gathered: Array = x.take(indices, axis + 1)
            return gathered
        if self.name == "expand":
            (shape,) = self.options
            return np.broadcast_to(lift(x, len(shape)), (len(x), *shape))
        if self.name == "channel_shuffle":
            return x.reshape(len(x), self.options[0], -1, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape)
        if self.name == "pad":
            return pad_axes(x, self.options[0], self.options[1], fill, first=1)
        return x.reshape(len(x), *self.output_shape([x.shape[1:]]))

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the rearranged sample."""
        (shape,) = input_shapes
        if self.name == "flatten":
            return (math.prod(shape),)
        if self.name == "reshape":
            if math.prod(self.options) != math.prod(shape):
                raise ValueError(
                    f"a sample of shape {shape} has {math.prod(shape)} entries, but the new shape {self.options} has "
                    f"{math.prod(self.options)}; they must agree"
                )
            return self.options
        if self.name == "transpose":
            if sorted(self.options) != list(range(len(shape))):
                raise ValueError(
                    f"axes {self.options} do not permute the {len(shape)} axes of a sample of shape {shape}"
                )
            return tuple(shape[axis] for axis in self.options)
        if self.name == "channel_shuffle":
            if shape[0] % self.options[0]:
                raise ValueError(f"groups={self.options[0]} does not divide {shape[0]} channels")
            return shape
        if self.name in ("take", "gather"):
            axis = self.options[0]
            if not 0 <= axis < len(shape):
                raise ValueError(f"axis={axis} is not an axis of a sample of shape {shape}")
            taken = self._taken(shape)
            if len(taken) and not (min(taken) >= 0 and max(taken) < shape[axis]):
                raise ValueError(
                    f"the indices are from {min(taken)} to {max(taken)}, but axis={axis} of a sample of shape {shape} "
                    f"has those from 0 to {shape[axis] - 1}"
                )
            return (*shape[:axis], len(taken), *shape[axis + 1 :])
        if self.name == "expand":
            if broadcast([shape, self.options[0]], "expand") != self.options[0]:
                raise ValueError(f"a sample of shape {shape} does not broadcast to shape {self.options[0]}")
            expanded: Shape = self.options[0]
            return expanded
        if self.name != "pad":
            raise ValueError(f"the rearrangement {self.name!r} is unknown; make one with flatten, reshape, ... or pad")
        widths = self.options[0]
        if len(widths) != len(shape):
            raise ValueError(f"padding has {len(widths)} pairs, but a sample of shape {shape} has {len(shape)} axes")
        return tuple(low + n + high for n, (low, high) in zip(shape, widths, strict=True))

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the rearranged batch."""
        (x,) = inputs
        if x.dtype.kind != "f" and not self.fill.is_integer():
            x = x.astype(np.float64)
        return self._apply(x, self.fill)

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return the 0/1 matrix of the selection, and the constants as the bias."""
        index = self.index(input_shapes[0])
        bias = np.where(index < 0, self.fill, 0).astype(dtype or np.float64)
        return selection_matrix(index, math.prod(input_shapes[0]), dtype), bias

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return the rearranged tangents, with 0 for constants."""
        return self._apply(tangents[0], 0.0)

    def read_boxes(self, box: Box, input_shapes: Sequence[Shape]) -> list[Box]:
        """Return the box of the entries that the outputs in a box read."""
        (shape,), options = input_shapes, self.options
        if self.name == "transpose":
            return [tuple(box[options.index(axis)] for axis in range(len(shape)))]
        if self.name in ("take", "gather"):
            axis = options[0]
            read = self._taken(shape)[box[axis]]
            return [(*box[:axis], slice(min(read), max(read) + 1), *box[axis + 1 :])]
        if self.name == "pad":
            parts = zip(box, shape, *options[:2], strict=True)
            return [normalised(sample_range(b.start - low, b.stop - low, n, rule) for b, n, (low, _), rule in parts)]
        if self.name == "channel_shuffle":
            return [(slice(0, shape[0]), *box[1:])]
        if self.name == "expand":
            return [broadcast_box(box, shape)]
        lead, own, _ = self._joined(shape, box)
        return [(*flat_box(lead, *own), *box[len(box) - len(shape) + len(lead) :])]

    def _taken(self, shape: Shape) -> Sequence[int]:
        """Return the entries of its axis that ``take`` or ``gather`` reads."""
        axis, *others = self.options
        return range(shape[axis])[slice(*others)] if self.name == "take" else tuple(others[0])

    def _joined(self, shape: Shape, box: Box) -> tuple[Shape, tuple[int, int], Shape]:
        """Return the first axes that a new shape replaces, the range of a box on them in C order, and the new axes."""
        out, kept = self.output_shape([shape]), 0
        while kept < min(len(out), len(shape)) and out[-kept - 1] == shape[-kept - 1]:
            kept += 1
        new, old = out[: len(out) - kept], shape[: len(shape) - kept]
        return old, flat_range(new, box[: len(new)]), new

    def local_cotangent(self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Boxes) -> list[Array]:
        """Return the cotangents at the entries that the outputs in a box read."""
        g, shape, (target,) = cotangents, inputs[0].shape, input_boxes
        if self.name == "transpose":
            return [g.transpose(0, *(self.options.index(axis) + 1 for axis in range(len(shape))))]
        if self.name in ("take", "gather"):
            axis = self.options[0]
            gradient = np.zeros((len(g), *box_shape(target)), dtype=g.dtype)
            places = np.array(self._taken(shape)[box[axis]]) - target[axis].start
            if self.name == "take":  # no entry twice
                gradient[(slice(None),) * (axis + 1) + (places,)] = g
            else:
                np.add.at(gradient, (slice(None),) * (axis + 1) + (places,), g)
            return [gradient]
        if self.name == "pad":
            for axis, ((low, _), rule, part, n) in enumerate(zip(*self.options[:2], box, shape, strict=True)):
                g = fold_axis(g, axis + 1, part.start - low, n, rule, target[axis])
            return [g]
        if self.name == "expand":
            return [sum_broadcast(g, box_shape(target))]
        if self.name == "channel_shuffle":
            g = embed(g, box, (slice(0, shape[0]), *box[1:]))
            g = g.reshape(len(g), -1, self.options[0], *g.shape[2:]).swapaxes(1, 2)
            return [g.reshape(len(g), *box_shape(target))]
        old, own, new = self._joined(shape, box)
        n, outer = len(new), flat_box(new, *own)
        g = embed(g, box, (*outer, *box[n:]))
        (first, end), (start, stop) = flat_range(new, outer), flat_range(old, target[: len(old)])
        lead = (slice(first, end), *box[n:])
        low, high = max(first, start), min(end, stop)
        g = g.reshape(len(g), *box_shape(lead))[:, low - first : high - first]
        g = embed(g, (slice(low, high), *box[n:]), (slice(start, stop), *box[n:]))
        return [g.reshape(len(g), *box_shape(target))]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the entries that the marked outputs read."""
        read = np.zeros(math.prod(input_shapes[0]), dtype=bool)
        index = self.index(input_shapes[0])[outputs.ravel()]
        read[index[index >= 0]] = True
        return [read.reshape(input_shapes[0])]


def flatten() -> Rearrangement:
    """Return the operation that makes a sample a vector, in C order.

    Examples
    --------
    >>> import numpy as np
    >>> flatten().evaluate([np.zeros((5, 3, 4, 4))]).shape
    (5, 48)
    """
    return Rearrangement("flatten")


def reshape(shape: Sequence[int]) -> Rearrangement:
    """Return the operation that reshapes a sample, in C order.

    The empty shape ``()`` makes a sample of one entry a scalar.

    Examples
    --------
    >>> import numpy as np
    >>> reshape((6, 8)).evaluate([np.zeros((5, 3, 4, 4))]).shape
    (5, 6, 8)
    """
    return Rearrangement("reshape", validate.shape("shape", shape) if np.size(shape) else ())


def transpose(axes: Sequence[int]) -> Rearrangement:
    """Return the operation that permutes the axes of a sample; axis 0 is the channels.

    Examples
    --------
    >>> import numpy as np
    >>> transpose((1, 2, 0)).evaluate([np.zeros((5, 3, 4, 6))]).shape
    (5, 4, 6, 3)
    """
    return Rearrangement("transpose", integers("axes", axes))


def take(axis: int, start: int | None, stop: int | None, step: int | None = None) -> Rearrangement:
    """Return the operation that takes the slice ``start:stop:step`` of an axis of a sample.

    Examples
    --------
    >>> import numpy as np
    >>> take(1, 1, None, 2).evaluate([np.arange(6).reshape(1, 1, 6)])
    array([[[1, 3, 5]]])
    """
    given = {"start": start, "stop": stop, "step": step}
    ends = (None if value is None else validate.integer(name, value) for name, value in given.items())
    return Rearrangement("take", (validate.integer("axis", axis), *ends))


def gather(axis: int, indices: Sequence[int]) -> Rearrangement:
    """Return the operation that selects entries along an axis of a sample, in the given order.

    Examples
    --------
    >>> import numpy as np
    >>> gather(0, [2, 0, 2]).evaluate([np.array([[5, 6, 7]])])
    array([[7, 5, 7]])
    """
    return Rearrangement("gather", (validate.integer("axis", axis), integers("indices", indices)))


def expand(shape: Sequence[int]) -> Rearrangement:
    """Return the operation that broadcasts a sample to ``shape``, as `numpy.broadcast_to` does.

    Examples
    --------
    >>> import numpy as np
    >>> expand((2, 3)).evaluate([np.array([[[5], [6]]])])
    array([[[5, 5, 5],
            [6, 6, 6]]])
    """
    return Rearrangement("expand", (validate.shape("shape", shape),))


def channel_shuffle(groups: int) -> Rearrangement:
    """Return the operation that interleaves groups of channels (Zhang et al., ShuffleNet, 2018).

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(4).reshape(1, 4, 1)  # a batch of one sample with 4 channels
    >>> channel_shuffle(2).evaluate([x]).ravel()
    array([0, 2, 1, 3])
    """
    return Rearrangement("channel_shuffle", (validate.integer("groups", groups, minimum=1),))


def pad(
    widths: Sequence[tuple[int, int]], boundary: Boundary | Sequence[Boundary] = "zero", value: float = 0.0
) -> Rearrangement:
    """Return the operation that extends a sample by ``(low, high)`` entries on every axis, channels included.

    Negative widths crop. The boundary rule defines what is read beyond the ends; ``value`` is the constant of
    ``"zero"``. Signed boundaries are refused, because the operation copies entries.

    Examples
    --------
    >>> import numpy as np
    >>> pad([(0, 0), (1, 2)], "reflect").evaluate([np.array([[[1, 2, 3]]])])
    array([[[2, 1, 2, 3, 2, 1]]])
    """
    pairs = tuple(integers(f"widths[{axis}]", pair, 2) for axis, pair in enumerate(entries("widths", widths)))
    boundaries: Any = boundary if isinstance(boundary, str) else tuple(boundary)
    words = validate.boundaries("boundary", boundaries, len(pairs))
    refuse_signed(words, "pad copies entries")
    return Rearrangement("pad", (pairs, words, validate.real("value", value)))


def refuse_signed(boundaries: Sequence[str], why: str) -> None:
    """Raise ValueError for a boundary that reads sums of entries with coefficients."""
    signed = [boundary for boundary in boundaries if boundary in SIGNED]
    if signed:
        raise ValueError(
            f"{why}, but boundary={signed[0]!r} reads entries with coefficients such as -1; give the boundary to the "
            "ConvGeometry of a convolution"
        )


def _extended_by_sign(x: Array, axis: int, low: int, high: int, boundary: Boundary) -> Array:
    """Return x extended on an axis by a signed boundary; entries with the coefficient 0 are not read."""
    positions = np.arange(-low, x.shape[axis] + high)
    result = np.zeros((*x.shape[:axis], len(positions), *x.shape[axis + 1 :]), dtype=x.dtype)
    target = np.moveaxis(result, axis, 0)
    for sample, factor in read_terms(positions, x.shape[axis], boundary):
        samples, factors = np.broadcast_to(sample, positions.shape), np.broadcast_to(factor, positions.shape)
        places = np.flatnonzero(factors)
        read = np.moveaxis(x, axis, 0)[samples[places]]
        target[places] += read * factors[places].astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))
    return result


def pad_axes(
    x: Array, widths: Sequence[tuple[int, int]], boundaries: Sequence[Boundary], fill: float, first: int
) -> Array:
    """Return x extended (or cropped, where negative) on the axes from ``first`` on, by the one-axis rule."""
    for axis, ((low, high), boundary) in enumerate(zip(widths, boundaries, strict=True), start=first):
        size, before = x.shape[axis], (slice(None),) * axis
        if low == high == 0:
            continue
        if boundary in SIGNED:
            x = _extended_by_sign(x, axis, low, high, boundary)
            continue
        if boundary != "zero":
            x = x.take(read_sample(np.arange(-low, size + high), size, boundary), axis)
            continue
        kept = slice(max(low, 0), max(size + low + min(high, 0), max(low, 0)))
        extended = np.full((*x.shape[:axis], size + low + high, *x.shape[axis + 1 :]), fill, dtype=x.dtype)
        extended[(*before, kept)] = x[(*before, slice(max(-low, 0), max(-low, 0) + kept.stop - kept.start))]
        x = extended
    return x
