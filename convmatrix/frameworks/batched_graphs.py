"""The nodes of a network that is built from a framework's graph: names, constants, and rearrangements of axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.frameworks.batched_tensors import Shape, Tensor, UnsupportedError, batch_place, per_sample, without
from convmatrix.network import (
    Concatenation,
    Input,
    Network,
    Node,
    Opaque,
    Operation,
    Scale,
    expand,
    flatten,
    gather,
    pad,
    reshape,
    take,
    transpose,
)
from convmatrix.network.construction import with_sources

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.boundary import Boundary


class BatchedGraph:
    """Collects the nodes of a network, and moves entries of tensors with a batch axis in samples without.

    `NetworkBuilder` adds the operators that compute. Axes are those of the framework: the batch axis counts. ``shape``
    is that of the input tensor, and ``batch`` its batch axis.
    """

    def __init__(self, name: str, input_name: str, shape: Shape, batch: int | None = 0) -> None:
        self.name = name
        self.size = 1 if batch is None else shape[batch]
        self.input = Tensor(input_name, tuple(shape), batch)
        self._nodes: dict[str, Node] = {input_name: Node(input_name, Input(self.input.sample))}
        self._shared: dict[tuple[Any, ...], Any] = {}
        self._trained: dict[int, Array] | None = None  # by their id; None where it is not known what is trained

    def declare_trained(self, array: Array | None) -> None:
        """Declare that a constant holds parameters; from the first call on, the undeclared ones are fixed."""
        self._trained = self._trained or {}
        if array is not None:
            self._trained[id(array)] = array

    def _is_parameter(self, constant: Any) -> bool:
        """Return whether a constant was declared as trained."""
        return self._trained is not None and id(constant) in self._trained

    def is_trained(self, *constants: Any) -> bool:
        """Return whether any of the constants holds parameters; if nothing was declared, they all do."""
        return self._trained is None or any(id(constant) in self._trained for constant in constants)

    def shared(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return a function's constants, the same ones for the same arguments, so that they count once."""
        key = (function, *(argument if isinstance(argument, float | int) else id(argument) for argument in arguments))
        if key not in self._shared:
            self._shared[key] = function(*arguments), arguments
            for array in self._shared[key][0]:
                array.flags.writeable = False
        return self._shared[key][0]

    def finish(self, outputs: Sequence[Tensor]) -> Network:
        """Return the network of the nodes that the outputs depend on."""
        outputs = [self._batch_in_front(tensor) for tensor in outputs]
        nodes = list(self._nodes.values())
        needed = with_sources(nodes, [self.input.node, *(tensor.node for tensor in outputs)])
        kept = [node for node in nodes if node.name in needed]
        return Network(kept, [tensor.node for tensor in outputs], self.name)

    def _batch_in_front(self, x: Tensor) -> Tensor:
        """Return an output with the batch in front, if it is one sample that the framework has on the first axis."""
        if x.merged is not None:
            return self.opaque(
                f"{x.node}.output", "output", [x], None, f"its shape {x.shape} has the batch within an axis"
            )
        if x.shape is None or x.batch == 0 or self.size > 1 or not x.shape or x.shape[0] != 1:
            return x
        return self._reshaped(f"{x.node}.reshape", x, x.shape[1:], 0)

    def unique(self, name: str) -> str:
        """Return a name that no node has: the given one, with a number if it is taken."""
        number, unique = 1, name
        while unique in self._nodes:
            number += 1
            unique = f"{name}.{number}"
        return unique

    def mark(self) -> int:
        """Return the number of nodes, to which `rewind` goes back."""
        return len(self._nodes)

    def rewind(self, mark: int) -> None:
        """Remove the nodes that were added since a call of `mark`, for an operator that is unsupported."""
        for name in list(self._nodes)[mark:]:
            del self._nodes[name]

    def add(
        self,
        name: str,
        operation: Operation,
        inputs: Sequence[Tensor],
        batch: int | None,
        merged: tuple[int, int] | None = None,
    ) -> Tensor:
        """Append a node; return its tensor, in which the batch is at the axis ``batch``."""
        try:
            sample = tuple(operation.output_shape([tensor.sample for tensor in inputs]))
        except ValueError as error:
            raise UnsupportedError(str(error)) from None
        name = self.unique(name)
        self._nodes[name] = Node(name, operation, tuple(tensor.node for tensor in inputs))
        return Tensor(name, self._with_batch(sample, batch, merged), batch, merged)

    def _with_batch(self, sample: Shape, batch: int | None, merged: tuple[int, int] | None) -> Shape:
        """Return the shape of a tensor from that of a sample."""
        if batch is None:
            return sample
        rest = sample[batch:] if merged is None else sample[batch + 1 :]
        return (*sample[:batch], self.size * math.prod(merged or ()), *rest)

    def opaque(
        self, name: str, operator: str, inputs: Sequence[Tensor], shape: Shape | None, reason: str = ""
    ) -> Tensor:
        """Append a node of an unknown operator; return its tensor, with the batch axis of an input if sizes allow."""
        batch = None
        if shape is not None:
            axes = [tensor.batch for tensor in inputs if tensor.batch is not None and tensor.shape is not None]
            batch = next((axis for axis in axes if axis < len(shape) and shape[axis] == self.size), None)
        name = self.unique(name)
        sample = () if shape is None else without(shape, batch)
        sources = inputs or [self.input]
        self._nodes[name] = Node(name, Opaque(operator, sample, reason), tuple(tensor.node for tensor in sources))
        return Tensor(name, shape, batch)

    # --- axes --------------------------------------------------------------------------------------------------------

    def _axis(self, x: Tensor, axis: int) -> int:
        """Return the number of an axis within a sample."""
        axis = x.axis(axis)
        if axis == x.batch:
            raise UnsupportedError(f"it combines samples of the batch (axis {axis})")
        return x.inner(axis)

    def _channels_first(self, x: Tensor, name: str) -> Tensor:
        """Return a tensor (batch, channels, *spatial) of the same values, with the batch in front."""
        if x.batch == 0 and x.merged is None:
            return x
        if x.batch is None and x.known and x.known[0] == 1:
            return self.reshape(name, Tensor(x.node, (1, *x.known), 0), x.known)
        raise UnsupportedError(f"its input, of shape {x.shape}, does not have the batch in front")

    def _constant(self, x: Tensor, constant: Array) -> Array:
        """Return a constant that broadcasts to samples of x."""
        if constant.ndim > x.ndim:
            raise UnsupportedError(f"it broadcasts a tensor of shape {x.shape} to a constant of shape {constant.shape}")
        full = constant.reshape((1,) * (x.ndim - constant.ndim) + constant.shape)
        if x.batch is None or (x.merged is not None and full.shape[x.batch] == 1):
            return full
        if full.shape[x.batch] == 1:
            return full.reshape(without(full.shape, x.batch))
        if full.shape[x.batch] != x.known[x.batch]:
            raise UnsupportedError(f"a constant of shape {constant.shape} repeats the batch")
        samples = x.samples(full)
        first: Array = samples[0]
        if not np.array_equal(samples, np.broadcast_to(first, samples.shape), equal_nan=samples.dtype.kind == "f"):
            raise UnsupportedError("a constant is different for each sample of the batch")
        return first

    def constant(self, name: str, x: Tensor, value: Array, trained: bool = False) -> Tensor:
        """Return a constant, given with the axes of x, as a tensor with the batch of x."""
        sample = self._constant(x, value)
        if not sample.size:
            raise UnsupportedError("a constant is empty")
        if sample.ndim != len(x.sample) or not sample.ndim:
            raise UnsupportedError(f"a constant has the shape {sample.shape}, but samples {x.sample}")
        # Nothing of x is left by cropping it entirely; zeros take its place.
        widths = [(-n, m) for n, m in zip(x.sample, sample.shape, strict=True)]
        zeros = self.add(f"{name}.zeros", pad(widths), [x], x.batch, x.merged)
        operation = Scale(None, per_sample(sample, zeros), trained)
        return self.add(f"{name}.constant", operation, [zeros], x.batch, x.merged)

    def _aligned(self, name: str, tensors: Sequence[Tensor]) -> tuple[list[Tensor], tuple[int | None, Any]]:
        """Return tensors whose samples broadcast as the tensors do, and the place of the batch in the result."""
        rank = max(x.ndim for x in tensors)
        places = {(x.batch - x.ndim, x.merged) for x in tensors if x.batch is not None}
        if len(places) > 1 and self.size > 1:
            raise UnsupportedError("its inputs have the batch on different axes")
        if len(places) != 1:
            return self._whole(name, tensors), (None, None)
        ((place, merged),) = places
        aligned = []
        for number, x in enumerate(tensors):
            if x.batch is not None:
                aligned.append(x)
                continue
            full = (1,) * (rank - x.ndim) + x.known
            if full[place] != 1:
                raise UnsupportedError(f"shape {x.shape} does not broadcast to the batch")
            sample = without(full, rank + place) if merged is None else full
            moved = self._reshaped(f"{name}.reshape{number or ''}", x, sample, None)
            aligned.append(moved)
        return aligned, (rank + place, merged)

    def _whole(self, name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return tensors of a batch of one sample whose samples have the shapes of the tensors."""
        return [self._reshaped(f"{name}.reshape", x, x.known, None) for x in tensors]

    def _by_slice(self, x: Tensor) -> bool:
        """Return whether a tensor (batch * slices, channels, *spatial) holds several slices per sample."""
        return x.batch == 0 and x.merged is not None and x.ndim > 2

    def _slices_inside(self, name: str, x: Tensor) -> Tensor:
        """Return slices (batch * slices, channels, *spatial) as one more spatial axis of the samples."""
        return self.permute(f"{name}.slices", x, (1, 0, *range(2, x.ndim)))

    def _slices_in_front(self, name: str, operation: Operation, inside: Tensor) -> Tensor:
        """Return the result of an operation of all slices, with the slices in front again."""
        y = self.add(f"{name}.of_slices", operation, [inside], 1, inside.merged)
        return self.permute(name, y, (1, 0, *range(2, y.ndim)))

    # --- rearrangements ----------------------------------------------------------------------------------------------

    def _reshaped(
        self, name: str, x: Tensor, sample: Shape, batch: int | None, merged: tuple[int, int] | None = None
    ) -> Tensor:
        """Return x with samples of another shape; no node is made if it is the same."""
        if sample != x.sample:
            return self.add(name, flatten() if len(sample) == 1 else reshape(sample), [x], batch, merged)
        return Tensor(x.node, self._with_batch(sample, batch, merged), batch, merged)

    def reshape(self, name: str, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Return x in another shape, in C order."""
        new = tuple(int(n) for n in shape)
        if math.prod(new) != math.prod(x.known):
            raise UnsupportedError(f"a tensor of shape {x.shape} cannot have the shape {new}")
        batch, merged = None, None
        if x.batch is not None:
            slower = math.prod(x.known[: x.batch]) * (x.merged or (1, 1))[0]
            found = [place for axis in range(len(new)) if (place := batch_place(new, axis, slower, self.size))]
            if found:
                batch, merged = found[0]
            elif self.size > 1:
                raise UnsupportedError(f"it mixes the batch with other axes: {x.shape} becomes {new}")
        shaped = Tensor(x.node, new, batch, merged)
        return self._reshaped(name, x, shaped.sample, batch, merged)

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
        sample = Tensor(x.node, tuple(shape), batch, x.merged).sample
        return self._reshaped(name, x, sample, batch, x.merged)

    def squeeze(self, name: str, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Return x without axes of size 1; the batch stays with its axis, unless that is one of them."""
        if not all(-x.ndim <= axis < x.ndim and x.known[axis] == 1 for axis in axes):
            raise UnsupportedError(f"axes {tuple(axes)} of a tensor of shape {x.shape} do not all have the size 1")
        kept = [axis for axis in range(x.ndim) if axis not in {old % x.ndim for old in axes}]
        batch = kept.index(x.batch) if x.batch in kept else None
        squeezed = Tensor(x.node, tuple(x.known[axis] for axis in kept), batch, x.merged)
        return self._reshaped(name, x, squeezed.sample, batch, x.merged)

    def permute(self, name: str, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Return x with permuted axes."""
        order = [axis % x.ndim for axis in axes]
        batch = None if x.batch is None else order.index(x.batch)
        inner = [x.inner(axis) for axis in order if axis != x.batch or x.merged is not None]
        if inner == sorted(inner):
            return Tensor(x.node, tuple(x.known[axis] for axis in order), batch, x.merged)
        return self.add(name, transpose(inner), [x], batch, x.merged)

    def slice(self, name: str, x: Tensor, axis: int, start: int | None, stop: int | None, step: int = 1) -> Tensor:
        """Return the slice ``start:stop:step`` of an axis."""
        size = x.known[axis]
        if range(size)[start:stop:step] == range(size):
            return x
        if not len(range(size)[start:stop:step]):
            raise UnsupportedError(f"the slice {start}:{stop}:{step} of an axis of {size} is empty")
        return self.add(name, take(self._axis(x, axis), start, stop, step), [x], x.batch, x.merged)

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
            taken = self.add(last, operation or gather(self._axis(x, axis), flat), [x], x.batch, x.merged)
        return self.reshape(name, taken, (*x.known[:axis], *numbers.shape, *x.known[axis + 1 :]))

    def regrouped(
        self, name: str, x: Tensor, split: Sequence[int], order: Sequence[int], shape: Sequence[int]
    ) -> Tensor:
        """Return x with its axes split by a reshape, permuted, and joined to a shape."""
        blocks = self.reshape(f"{name}.split", x, split)
        return self.reshape(name, self.permute(f"{name}.transpose", blocks, order), shape)

    def depth_to_space(self, name: str, x: Tensor, r: int, *, blocks_first: bool = False) -> Tensor:
        """Return (..., c r r, h, w), or (..., r r c, h, w) with blocks first, as (..., c, h r, w r)."""
        *lead, channels, height, width = x.known
        c, n = channels // r**2, len(lead)
        split = (*lead, *((r, r, c) if blocks_first else (c, r, r)), height, width)
        order = (*range(n), *(n + place for place in ((2, 3, 0, 4, 1) if blocks_first else (0, 3, 1, 4, 2))))
        return self.regrouped(name, x, split, order, (*lead, c, height * r, width * r))

    def space_to_depth(self, name: str, x: Tensor, r: int, *, blocks_first: bool = False) -> Tensor:
        """Return the inverse of `depth_to_space`."""
        *lead, c, height, width = x.known
        n, split = len(lead), (*lead, c, height // r, r, width // r, r)
        order = (*range(n), *(n + place for place in ((2, 4, 0, 1, 3) if blocks_first else (0, 2, 4, 1, 3))))
        return self.regrouped(name, x, split, order, (*lead, c * r**2, height // r, width // r))

    def expand(self, name: str, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Return x repeated along axes of size 1 and new leading axes."""
        new = np.broadcast_shapes(tuple(int(n) for n in shape), x.known)
        if len(new) > x.ndim:
            x = self.reshape(f"{name}.reshape", x, (1,) * (len(new) - x.ndim) + x.known)
        if new == x.known:
            return x
        if x.batch is not None and new[x.batch] != x.known[x.batch]:
            raise UnsupportedError("it repeats the batch")
        return self.add(name, expand(x.without_batch(new)), [x], x.batch, x.merged)

    def concatenation(self, name: str, parts: Sequence[Any], axis: int) -> Tensor:
        """Return tensors and constants joined along an axis."""
        first = next(part for part in parts if isinstance(part, Tensor))
        axis %= first.ndim
        inner = self._axis(first, axis)
        tensors = [
            part if isinstance(part, Tensor) else self.constant(name, first, np.asarray(part), self._is_parameter(part))
            for part in parts
        ]
        if len({(tensor.batch, tensor.merged) for tensor in tensors}) > 1:
            raise UnsupportedError("its inputs have the batch on different axes")
        return self.add(name, Concatenation(inner), tensors, first.batch, first.merged)

    def pad(
        self, name: str, x: Tensor, widths: Sequence[tuple[int, int]], boundary: Boundary = "zero", value: float = 0.0
    ) -> Tensor:
        """Return x extended on every axis by (low, high) entries; negative widths crop."""
        if not any(map(any, widths)):
            return x
        if x.batch is not None and any(widths[x.batch]):
            raise UnsupportedError("it pads the batch")
        inner = [pair for axis, pair in enumerate(widths) if axis != x.batch or x.merged is not None]
        return self.add(name, pad(inner, boundary, value), [x], x.batch, x.merged)
