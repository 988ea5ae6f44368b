"""Building a network from the operators of a framework's graph, whose tensors carry a batch axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from convmatrix.geometry import ConvGeometry
from convmatrix.network import (
    FUNCTIONS,
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    Extremum,
    FullyConnected,
    Input,
    MatrixProduct,
    Network,
    Node,
    Normalisation,
    Opaque,
    Operation,
    ParametricReLU,
    Pooling,
    Product,
    Reduction,
    Resize,
    Scale,
    Softmax,
    expand,
    flatten,
    gather,
    pad,
    reshape,
    take,
    transpose,
)

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.boundary import Boundary

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
        The batch axis; None where a batch of one sample was merged with other axes. The node's sample has the shape
        without this axis.
    """

    node: str
    shape: Shape | None
    batch: int | None

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
        return without(self.known, self.batch)


def without(shape: Shape, axis: int | None) -> Shape:
    """Return a shape without an axis."""
    return shape if axis is None else (*shape[:axis], *shape[axis + 1 :])


class NetworkBuilder:
    """Collects the nodes of a network, translating tensors with a batch axis to samples without.

    A frontend calls one method per operator of its graph; each returns the `Tensor` of the result. Axes are those of
    the framework: the batch axis counts. Where an operator has no translation, the methods raise `UnsupportedError`,
    and the frontend calls `opaque`.

    Parameters
    ----------
    name : str
        Of the network.
    input_name : str
    shape : tuple of int
        Of the input tensor.
    batch : int or None
        Its batch axis.
    """

    def __init__(self, name: str, input_name: str, shape: Shape, batch: int | None = 0) -> None:
        self.name = name
        self.size = 1 if batch is None else shape[batch]
        self.input = Tensor(input_name, tuple(shape), batch)
        self._nodes: dict[str, Node] = {input_name: Node(input_name, Input(self.input.sample))}

    def finish(self, outputs: Sequence[Tensor]) -> Network:
        """Return the network of the nodes that the outputs depend on."""
        outputs = [self._batch_in_front(tensor) for tensor in outputs]
        needed = {self.input.node, *(tensor.node for tensor in outputs)}
        for node in reversed(self._nodes.values()):
            if node.name in needed:
                needed.update(node.inputs)
        kept = [node for node in self._nodes.values() if node.name in needed]
        return Network(kept, [tensor.node for tensor in outputs], self.name)

    def _batch_in_front(self, x: Tensor) -> Tensor:
        """Return an output with a batch of one sample on its first axis, where the framework has it there."""
        if x.shape is None or x.batch == 0 or self.size > 1 or not x.shape or x.shape[0] != 1:
            return x
        return self._reshaped(f"{x.node}.reshape", x, x.shape[1:], 0)

    def unique(self, name: str) -> str:
        """Return a name that no node has: the given one, or the given one with a number."""
        number, unique = 1, name
        while unique in self._nodes:
            number += 1
            unique = f"{name}.{number}"
        return unique

    def mark(self) -> int:
        """Return what `rewind` takes to remove the nodes that are added from now on."""
        return len(self._nodes)

    def rewind(self, mark: int) -> None:
        """Remove the nodes that were added since a call of `mark`: those of an operator that has no translation."""
        for name in list(self._nodes)[mark:]:
            del self._nodes[name]

    def add(self, name: str, operation: Operation, inputs: Sequence[Tensor], batch: int | None) -> Tensor:
        """Append a node; return its tensor, in which the batch is at the axis ``batch``."""
        try:
            sample = tuple(operation.output_shape([tensor.sample for tensor in inputs]))
        except ValueError as error:
            raise UnsupportedError(str(error)) from None
        name = self.unique(name)
        self._nodes[name] = Node(name, operation, tuple(tensor.node for tensor in inputs))
        shape = sample if batch is None else (*sample[:batch], self.size, *sample[batch:])
        return Tensor(name, shape, batch)

    def opaque(
        self, name: str, operator: str, inputs: Sequence[Tensor], shape: Shape | None, reason: str = ""
    ) -> Tensor:
        """Append a node of an unknown operator; its batch axis is that of its first input, where sizes allow it."""
        batch = None
        if shape is not None:
            axes = [tensor.batch for tensor in inputs if tensor.batch is not None]
            batch = next((axis for axis in axes if axis < len(shape) and shape[axis] == self.size), None)
        name = self.unique(name)
        sample = () if shape is None else without(shape, batch)
        sources = inputs or [self.input]
        self._nodes[name] = Node(name, Opaque(operator, sample, reason), tuple(tensor.node for tensor in sources))
        return Tensor(name, shape, batch)

    # --- axes --------------------------------------------------------------------------------------------------------

    def _axis(self, x: Tensor, axis: int) -> int:
        """Return the number of an axis within a sample."""
        if not -x.ndim <= axis < x.ndim:
            raise UnsupportedError(f"axis {axis} does not exist in a tensor of shape {x.shape}")
        axis %= x.ndim
        if axis == x.batch:
            raise UnsupportedError(f"it combines samples of the batch (axis {axis})")
        return axis if x.batch is None or axis < x.batch else axis - 1

    def _channels_first(self, x: Tensor, name: str) -> Tensor:
        """Return a tensor (batch, channels, *spatial) of the same values, with the batch in front."""
        if x.batch == 0:
            return x
        if x.batch is None and x.known and x.known[0] == 1:
            return self.reshape(name, Tensor(x.node, (1, *x.known), 0), x.known)
        raise UnsupportedError(f"its input, of shape {x.shape}, does not have the batch in front")

    def _constant(self, x: Tensor, constant: Array) -> Array:
        """Return a constant that broadcasts to samples of x."""
        if constant.ndim > x.ndim:
            raise UnsupportedError(f"it broadcasts a tensor of shape {x.shape} to a constant of shape {constant.shape}")
        full = constant.reshape((1,) * (x.ndim - constant.ndim) + constant.shape)
        if x.batch is None:
            return full
        if full.shape[x.batch] != 1:
            raise UnsupportedError("a constant is different for each sample of the batch")
        return full.reshape(without(full.shape, x.batch))

    def _aligned(self, name: str, tensors: Sequence[Tensor]) -> tuple[list[Tensor], int | None]:
        """Return tensors whose samples broadcast as the tensors do, and the batch axis of the result."""
        rank = max(x.ndim for x in tensors)
        places = {x.batch - x.ndim for x in tensors if x.batch is not None}
        if len(places) > 1 and self.size > 1:
            raise UnsupportedError("its inputs have the batch on different axes")
        if len(places) != 1:
            return self._whole(name, tensors), None
        (place,) = places
        aligned = []
        for number, x in enumerate(tensors):
            if x.batch is not None:
                aligned.append(x)
                continue
            full = (1,) * (rank - x.ndim) + x.known
            if full[place] != 1:
                raise UnsupportedError(f"shape {x.shape} does not broadcast to the batch")
            sample = without(full, rank + place)
            moved = self._reshaped(f"{name}.reshape{number or ''}", x, sample, None)
            aligned.append(moved)
        return aligned, rank + place

    def _whole(self, name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return tensors of a batch of one sample whose samples have the shapes of the tensors."""
        return [self._reshaped(f"{name}.reshape", x, x.known, None) for x in tensors]

    # --- operators ---------------------------------------------------------------------------------------------------

    def elementwise(self, name: str, x: Tensor, function: str, **parameters: float) -> Tensor:
        """Return a function of each entry; see `convmatrix.network.FUNCTIONS`."""
        if function not in FUNCTIONS:
            raise UnsupportedError(f"the function {function} is not known")
        return self.add(name, Elementwise(function, parameters), [x], x.batch)

    def parametric_relu(self, name: str, x: Tensor, slope: Array) -> Tensor:
        """Return PReLU; the slopes broadcast to x."""
        values = self._constant(x, np.asarray(slope))
        return self.add(name, ParametricReLU(values), [x], x.batch)

    def scale(self, name: str, x: Tensor, scale: Any = None, shift: Any = None, *, trained: bool = False) -> Tensor:
        """Return ``scale * x + shift`` for constants that broadcast with x."""
        rank = max([x.ndim, *(np.ndim(value) for value in (scale, shift) if value is not None)])
        if rank > x.ndim:
            x = self.reshape(f"{name}.reshape", x, (1,) * (rank - x.ndim) + x.known)
        constants = [None if value is None else self._constant(x, np.asarray(value)) for value in (scale, shift)]
        # A vector would be read as one value per channel, but here it broadcasts along the last axis.
        spread = [c[None] if c is not None and c.ndim == 1 and len(x.sample) > 1 else c for c in constants]
        return self.add(name, Scale(spread[0], spread[1], trained), [x], x.batch)

    def channel_scale(self, name: str, x: Tensor, scale: Any, shift: Any) -> Tensor:
        """Return ``scale * x + shift`` with trained constants, one per channel: batch normalisation at inference."""
        shape = (-1, *(1,) * (x.ndim - 2))
        return self.scale(name, x, np.reshape(scale, shape), np.reshape(shift, shape), trained=True)

    def combine(self, name: str, tensors: Sequence[Tensor], operation: Operation) -> Tensor:
        """Return an operation of several tensors that broadcast: `Addition`, `Product`, `Extremum`."""
        aligned, batch = self._aligned(name, tensors)
        return self.add(name, operation, aligned, batch)

    def sum(self, name: str, a: Any, b: Any, sign: int = 1) -> Tensor:
        """Return ``a + b`` or ``a - b`` of tensors and constants, at least one of them a tensor."""
        if not isinstance(b, Tensor):
            return self.scale(name, a, shift=sign * np.asarray(b))
        if not isinstance(a, Tensor):
            return self.scale(name, b, None if sign > 0 else np.asarray(-1.0), a)
        return self.combine(name, [a, b], Addition(None if sign > 0 else (1, -1)))

    def product(self, name: str, a: Any, b: Any) -> Tensor:
        """Return ``a * b`` of tensors and constants."""
        if not isinstance(b, Tensor):
            return self.scale(name, a, b)
        return self.scale(name, b, a) if not isinstance(a, Tensor) else self.combine(name, [a, b], Product())

    def quotient(self, name: str, a: Any, b: Any) -> Tensor:
        """Return ``a / b`` of tensors and constants."""
        if not isinstance(b, Tensor):
            with np.errstate(divide="ignore"):
                return self.scale(name, a, 1 / np.asarray(b))
        reciprocal = self.elementwise(f"{name}.reciprocal", b, "reciprocal")
        return self.product(name, a, reciprocal)

    def extremum(self, name: str, a: Any, b: Any, method: Literal["max", "min"]) -> Tensor:
        """Return the entrywise maximum or minimum of tensors and constants."""
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return self.combine(name, [a, b], Extremum(method))
        x, bound = (a, b) if isinstance(a, Tensor) else (b, a)
        if np.size(bound) != 1:
            raise UnsupportedError("it takes the extremum with an array of constants")
        limits = {"low": float(bound), "high": np.inf} if method == "max" else {"low": -np.inf, "high": float(bound)}
        return self.elementwise(name, x, "clip", **limits)

    def convolution(
        self,
        name: str,
        x: Tensor,
        weight: Array,
        bias: Array | None,
        *,
        stride: Sequence[int],
        padding: Any,
        dilation: Sequence[int],
        groups: int = 1,
        transposed: bool = False,
        output_padding: Sequence[int] | int = 0,
        boundary: Any = "zero",
    ) -> Tensor:
        """Return a convolution of (batch, channels, *spatial); the weight is laid out as in PyTorch and ONNX."""
        x = self._channels_first(x, f"{name}.reshape")
        taps = weight.shape[2:]
        if len(x.sample) != len(taps) + 1:
            raise UnsupportedError(f"a kernel of {len(taps)} axes convolves a tensor of shape {x.shape}")
        options: dict[str, Any] = {"transposed": True, "output_padding": output_padding} if transposed else {}
        try:
            geometry = ConvGeometry(
                x.sample[1:],
                taps,
                in_channels=x.sample[0],
                out_channels=weight.shape[1] * groups if transposed else weight.shape[0],
                stride=tuple(stride),
                padding=padding,
                dilation=tuple(dilation),
                groups=groups,
                boundary=boundary,
                **options,
            )
            operation = Convolution(geometry, weight, bias)
        except (ValueError, TypeError) as error:
            raise UnsupportedError(str(error)) from None
        return self.add(name, operation, [x], 0)

    def pooling(
        self, name: str, x: Tensor, method: Literal["average", "max", "sum"], kernel: Any, **options: Any
    ) -> Tensor:
        """Return a pooling of (batch, channels, *spatial); a kernel of None pools over all positions."""
        x = self._channels_first(x, f"{name}.reshape")
        return self.add(name, Pooling(method, kernel, **options), [x], 0)

    def dense(self, name: str, x: Tensor, weight: Array, bias: Array | None) -> Tensor:
        """Return ``x W^T + b`` along the last axis, for a weight (n_out, n_in)."""
        if x.batch == x.ndim - 1:
            raise UnsupportedError("it combines samples of the batch")
        n_out, n_in = weight.shape
        layer = FullyConnected(n_in, n_out, weight, False if bias is None else bias, flatten=len(x.sample) == 1)
        return self.add(name, layer, [x], x.batch)

    def matrix_product(self, name: str, a: Any, b: Any) -> Tensor:
        """Return the matrix product of tensors and constants along their last two axes."""
        if not isinstance(b, Tensor):
            if np.ndim(b) == 1 or np.ndim(b) == 2:
                product = self.dense(name, a, np.atleast_2d(np.asarray(b).T), None)
                return product if np.ndim(b) == 2 else self.reshape(f"{name}.reshape", product, product.known[:-1])
            raise UnsupportedError(f"a tensor is multiplied by a stack of matrices of shape {np.shape(b)}")
        if not isinstance(a, Tensor):
            if np.ndim(a) != 2 or b.ndim < 2:
                raise UnsupportedError(f"a stack of matrices of shape {np.shape(a)} is multiplied by a tensor")
            swap = (*range(b.ndim - 2), b.ndim - 1, b.ndim - 2)
            rows = self.permute(f"{name}.transpose", b, swap)
            return self.permute(name, self.dense(f"{name}.dense", rows, np.asarray(a), None), swap)
        if min(a.ndim, b.ndim) < 2:
            raise UnsupportedError("it multiplies vectors")
        aligned, batch = self._aligned(name, [a, b])
        if batch is not None and batch >= max(a.ndim, b.ndim) - 2:
            if self.size > 1:
                raise UnsupportedError("it combines samples of the batch")
            aligned, batch = self._whole(name, [a, b]), None
        return self.add(name, MatrixProduct(), aligned, batch)

    def reduction(
        self, name: str, x: Tensor, method: Literal["mean", "sum", "max", "min"], axes: Sequence[int], keep: bool
    ) -> Tensor:
        """Return a mean, sum, maximum or minimum along axes."""
        inner = tuple(sorted({self._axis(x, axis) for axis in axes}))
        spatial = tuple(range(1, len(x.sample)))
        last = name if keep else f"{name}.reduction"
        if spatial and inner == spatial and method != "min" and x.batch == 0:
            reduced = self.pooling(last, x, "average" if method == "mean" else method, None)
        else:
            reduced = self.add(last, Reduction(method, inner), [x], x.batch)
        if keep:
            return reduced
        dropped = {axis % x.ndim for axis in axes}
        return self.reshape(name, reduced, tuple(n for axis, n in enumerate(reduced.known) if axis not in dropped))

    def softmax(self, name: str, x: Tensor, axis: int, *, logarithm: bool = False) -> Tensor:
        """Return the softmax along an axis, or its logarithm."""
        return self.add(name, Softmax(self._axis(x, axis), logarithm), [x], x.batch)

    def normalisation(
        self,
        name: str,
        x: Tensor,
        axes: Sequence[int] | None,
        scale: Array | None,
        shift: Array | None,
        epsilon: float,
        groups: int | None = None,
    ) -> Tensor:
        """Return layer, group or instance normalisation, followed by its trained scale and shift."""
        if groups is not None:
            x = self._channels_first(x, f"{name}.reshape")
            operation = Normalisation(None, groups, epsilon)
            scale, shift = (None if c is None else np.reshape(c, (-1, *(1,) * (x.ndim - 2))) for c in (scale, shift))
        else:
            operation = Normalisation(tuple(self._axis(x, axis) for axis in axes or ()), epsilon=epsilon)
        y = self.add(name, operation, [x], x.batch)
        if scale is None and shift is None:
            return y
        return self.scale(f"{name}.scale", y, scale, shift, trained=True)

    # --- rearrangements ----------------------------------------------------------------------------------------------

    def _reshaped(self, name: str, x: Tensor, sample: Shape, batch: int | None) -> Tensor:
        """Return x with samples of another shape; no node is made if it is the same."""
        if sample != x.sample:
            return self.add(name, flatten() if len(sample) == 1 else reshape(sample), [x], batch)
        shape = sample if batch is None else (*sample[:batch], self.size, *sample[batch:])
        return Tensor(x.node, shape, batch)

    def reshape(self, name: str, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Return x in another shape, in C order."""
        new = tuple(int(n) for n in shape)
        if math.prod(new) != math.prod(x.known):
            raise UnsupportedError(f"a tensor of shape {x.shape} cannot have the shape {new}")
        batch = None
        if x.batch is not None:
            before = math.prod(x.known[: x.batch])
            axes = [axis for axis, n in enumerate(new) if n == self.size and math.prod(new[:axis]) == before]
            batch = axes[0] if axes else None
            if batch is None and self.size > 1:
                raise UnsupportedError(f"it merges the batch with other axes: {x.shape} becomes {new}")
        return self._reshaped(name, x, without(new, batch), batch)

    def unsqueeze(self, name: str, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Return x with new axes of size 1, at places that count the new axes too; the batch stays with its axis."""
        rank = x.ndim + len(axes)
        if not all(-rank <= axis < rank for axis in axes) or len({axis % rank for axis in axes}) < len(axes):
            raise UnsupportedError(f"axes {tuple(axes)} cannot be added to a tensor of shape {x.shape}")
        kept = [axis for axis in range(rank) if axis not in {new % rank for new in axes}]
        shape = [1] * rank
        for axis, size in zip(kept, x.known, strict=True):
            shape[axis] = size
        batch = None if x.batch is None else kept[x.batch]
        return self._reshaped(name, x, without(tuple(shape), batch), batch)

    def squeeze(self, name: str, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Return x without axes of size 1; the batch stays with its axis, unless that is one of them."""
        if not all(-x.ndim <= axis < x.ndim and x.known[axis] == 1 for axis in axes):
            raise UnsupportedError(f"axes {tuple(axes)} of a tensor of shape {x.shape} do not all have the size 1")
        kept = [axis for axis in range(x.ndim) if axis not in {old % x.ndim for old in axes}]
        batch = kept.index(x.batch) if x.batch in kept else None
        return self._reshaped(name, x, without(tuple(x.known[axis] for axis in kept), batch), batch)

    def permute(self, name: str, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Return x with permuted axes."""
        order = [axis % x.ndim for axis in axes]
        batch = None if x.batch is None else order.index(x.batch)
        inner = [self._axis(x, axis) for axis in order if axis != x.batch]
        if inner == sorted(inner):
            return Tensor(x.node, tuple(x.known[axis] for axis in order), batch)
        return self.add(name, transpose(inner), [x], batch)

    def slice(self, name: str, x: Tensor, axis: int, start: int | None, stop: int | None, step: int = 1) -> Tensor:
        """Return the slice ``start:stop:step`` of an axis."""
        size = x.known[axis]
        if range(size)[start:stop:step] == range(size):
            return x
        if not len(range(size)[start:stop:step]):
            raise UnsupportedError(f"the slice {start}:{stop}:{step} of an axis of {size} is empty")
        return self.add(name, take(self._axis(x, axis), start, stop, step), [x], x.batch)

    def gather(self, name: str, x: Tensor, axis: int, indices: Array) -> Tensor:
        """Return entries of an axis by constant indices; a scalar index drops the axis."""
        axis %= x.ndim
        numbers = np.asarray(indices)
        size = x.known[axis]
        if numbers.size and not (-size <= numbers.min() and numbers.max() < size):
            raise UnsupportedError(f"index {numbers.max()} does not exist on an axis of {size}")
        if axis == x.batch and size == 1:
            taken = x
        else:
            flat = np.where(numbers < 0, numbers + size, numbers).ravel().tolist()
            operation = take(self._axis(x, axis), flat[0], flat[0] + 1) if len(flat) == 1 else None
            last = name if numbers.ndim == 1 else f"{name}.take"
            taken = self.add(last, operation or gather(self._axis(x, axis), flat), [x], x.batch)
        return self.reshape(name, taken, (*x.known[:axis], *numbers.shape, *x.known[axis + 1 :]))

    def expand(self, name: str, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Return x repeated along axes of size 1 and new leading axes."""
        new = np.broadcast_shapes(tuple(int(n) for n in shape), x.known)
        if len(new) > x.ndim:
            x = self.reshape(f"{name}.reshape", x, (1,) * (len(new) - x.ndim) + x.known)
        if new == x.known:
            return x
        if x.batch is not None and new[x.batch] != self.size:
            raise UnsupportedError("it repeats the batch")
        return self.add(name, expand(without(new, x.batch)), [x], x.batch)

    def concatenation(self, name: str, parts: Sequence[Any], axis: int) -> Tensor:
        """Return tensors and constants joined along an axis."""
        tensors = [part for part in parts if isinstance(part, Tensor)]
        axis %= tensors[0].ndim
        if len({tensor.batch for tensor in tensors}) > 1:
            raise UnsupportedError("its inputs have the batch on different axes")
        inner = self._axis(tensors[0], axis)
        if len(tensors) == len(parts):
            return self.add(name, Concatenation(inner), tensors, tensors[0].batch)
        # A constant is added to zeros that extend its neighbour.
        batch = tensors[0].batch
        joined = tensors[0] if len(tensors) == 1 else None
        if joined is None:
            first = next(i for i, part in enumerate(parts) if isinstance(part, Tensor))
            last = max(i for i, part in enumerate(parts) if isinstance(part, Tensor))
            if not all(isinstance(part, Tensor) for part in parts[first : last + 1]):
                raise UnsupportedError("it joins constants between tensors")
            joined = self.add(f"{name}.tensors", Concatenation(inner), tensors, batch)
        blocks = [np.zeros(joined.sample) if isinstance(part, Tensor) else None for part in parts]
        before = next(i for i, block in enumerate(blocks) if block is not None)
        low = [without_axis(np.asarray(part), batch) for part in parts[:before]]
        after = [part for part in parts[before:] if not isinstance(part, Tensor)]
        high = [without_axis(np.asarray(part), batch) for part in after]
        widths = [(0, 0)] * len(joined.sample)
        widths[inner] = (sum(c.shape[inner] for c in low), sum(c.shape[inner] for c in high))
        constant = np.concatenate([*low, np.zeros(joined.sample), *high], axis=inner)
        padded = self.add(f"{name}.pad", pad(widths), [joined], batch)
        return self.add(name, Scale(None, constant, trained=False), [padded], batch)

    def pad(
        self, name: str, x: Tensor, widths: Sequence[tuple[int, int]], boundary: Boundary = "zero", value: float = 0.0
    ) -> Tensor:
        """Return x extended on every axis by (low, high) entries; negative widths crop."""
        if not any(map(any, widths)):
            return x
        if x.batch is not None and any(widths[x.batch]):
            raise UnsupportedError("it pads the batch")
        inner = [pair for axis, pair in enumerate(widths) if axis != x.batch]
        return self.add(name, pad(inner, boundary, value), [x], x.batch)

    def resize(self, name: str, x: Tensor, sizes: Sequence[int], **options: Any) -> Tensor:
        """Return x interpolated along all axes after the channels; see `convmatrix.network.Resize`."""
        x = self._channels_first(x, f"{name}.reshape")
        return self.add(name, Resize(tuple(sizes), **options), [x], 0)


def without_axis(constant: Array, axis: int | None) -> Array:
    """Return a constant without an axis of size 1."""
    if axis is None:
        return constant
    if constant.shape[axis] != 1:
        raise UnsupportedError("a constant is different for each sample of the batch")
    return constant.reshape(without(constant.shape, axis))
