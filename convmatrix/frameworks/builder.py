"""Building a network from the operators of a framework's graph, whose tensors carry a batch axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
        The batch axis; None where a batch of one sample was merged with other axes, or an opaque node lost it. The
        node's sample has the shape without this axis.
    merged : tuple of int, optional
        Where the batch axis holds other entries too, the sizes of what varies slower and of what varies faster than
        the sample: an axis of ``slower * batch * faster`` entries, of which a sample has ``slower * faster``.
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

    def inner(self, axis: int) -> int:
        """Return the number that an axis, counted from 0, has in a sample."""
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
        self._shared: dict[tuple[Any, ...], Any] = {}
        self._trained: dict[int, Array] | None = None  # by their id; None where it is not known what is trained

    def declare_trained(self, array: Array | None) -> None:
        """Tell that a constant holds parameters; once one was told, those that were not do not."""
        self._trained = self._trained or {}
        if array is not None:
            self._trained[id(array)] = array

    def _is_parameter(self, constant: Any) -> bool:
        """Return whether a constant was declared as trained."""
        return self._trained is not None and id(constant) in self._trained

    def is_trained(self, *constants: Any) -> bool:
        """Return whether one of some constants holds parameters; weights do where nothing was declared."""
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
        needed = {self.input.node, *(tensor.node for tensor in outputs)}
        for node in reversed(self._nodes.values()):
            if node.name in needed:
                needed.update(node.inputs)
        kept = [node for node in self._nodes.values() if node.name in needed]
        return Network(kept, [tensor.node for tensor in outputs], self.name)

    def _batch_in_front(self, x: Tensor) -> Tensor:
        """Return an output with a batch of one sample on its first axis, where the framework has it there."""
        if x.merged is not None:
            return self.opaque(
                f"{x.node}.output", "output", [x], None, f"its shape {x.shape} has the batch within an axis"
            )
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
        """Append a node of an unknown operator; its batch axis is that of its first input, where sizes allow it."""
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
        if not -x.ndim <= axis < x.ndim:
            raise UnsupportedError(f"axis {axis} does not exist in a tensor of shape {x.shape}")
        axis %= x.ndim
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
        shift = sample[None] if sample.ndim == 1 and len(zeros.sample) > 1 else sample
        return self.add(f"{name}.constant", Scale(None, shift, trained), [zeros], x.batch, x.merged)

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

    # --- operators ---------------------------------------------------------------------------------------------------

    def elementwise(self, name: str, x: Tensor, function: str, **parameters: float) -> Tensor:
        """Return a function of each entry; see `convmatrix.network.FUNCTIONS`."""
        if function not in FUNCTIONS:
            raise UnsupportedError(f"the function {function} is not known")
        return self.add(name, Elementwise(function, parameters), [x], x.batch, x.merged)

    def parametric_relu(self, name: str, x: Tensor, slope: Array) -> Tensor:
        """Return PReLU; the slopes broadcast to x."""
        values = self._constant(x, np.asarray(slope))
        return self.add(name, ParametricReLU(_per_sample(values, x)), [x], x.batch, x.merged)

    def scale(self, name: str, x: Tensor, scale: Any = None, shift: Any = None, *, trained: bool = False) -> Tensor:
        """Return ``scale * x + shift`` for constants that broadcast with x."""
        rank = max([x.ndim, *(np.ndim(value) for value in (scale, shift) if value is not None)])
        if rank > x.ndim:
            x = self.reshape(f"{name}.reshape", x, (1,) * (rank - x.ndim) + x.known)
        trained = trained or (self._trained is not None and self.is_trained(scale, shift))
        constants = [None if value is None else self._constant(x, np.asarray(value)) for value in (scale, shift)]
        spread = [None if c is None else _per_sample(c, x) for c in constants]
        return self.add(name, Scale(spread[0], spread[1], trained), [x], x.batch, x.merged)

    def channel_scale(self, name: str, x: Tensor, scale: Any, shift: Any, *, trained: bool = True) -> Tensor:
        """Return ``scale * x + shift`` with trained constants, one per channel: batch normalisation at inference."""
        shape = (-1, *(1,) * (x.ndim - 2))
        return self.scale(name, x, np.reshape(scale, shape), np.reshape(shift, shape), trained=trained)

    def combine(self, name: str, tensors: Sequence[Tensor], operation: Operation) -> Tensor:
        """Return an operation of several tensors that broadcast: `Addition`, `Product`, `Extremum`."""
        aligned, place = self._aligned(name, tensors)
        return self.add(name, operation, aligned, *place)

    def sum(self, name: str, a: Any, b: Any, sign: int = 1) -> Tensor:
        """Return ``a + b`` or ``a - b`` of tensors and constants, at least one of them a tensor."""
        if not isinstance(b, Tensor):
            return self.scale(name, a, shift=b if sign > 0 else -np.asarray(b), trained=self._is_parameter(b))
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
                return self.scale(name, a, 1 / np.asarray(b), trained=self._is_parameter(b))
        reciprocal = self.elementwise(f"{name}.reciprocal", b, "reciprocal")
        return self.product(name, a, reciprocal)

    def extremum(self, name: str, a: Any, b: Any, method: Literal["max", "min"]) -> Tensor:
        """Return the entrywise maximum or minimum of tensors and constants."""
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return self.combine(name, [a, b], Extremum(method))
        x, bound = (a, b) if isinstance(a, Tensor) else (b, a)
        if np.size(bound) != 1:
            constant = self.constant(name, x, np.asarray(bound), self._is_parameter(bound))
            return self.combine(name, [x, constant], Extremum(method))
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
        trained = self.is_trained(weight, bias)
        slices = self._by_slice(x)
        if slices:
            x = self._slices_inside(name, x)
            weight = weight[:, :, None]
            stride, dilation = (1, *stride), (1, *dilation)
            padding = [(0, 0), *padding] if isinstance(padding, list | tuple) else padding
            boundary = ("zero", *(boundary,) * len(stride[1:])) if isinstance(boundary, str) else ("zero", *boundary)
            output_padding = (0, *output_padding) if isinstance(output_padding, list | tuple) else output_padding
        else:
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
            operation = Convolution(geometry, weight, bias, trained=trained)
        except (ValueError, TypeError) as error:
            raise UnsupportedError(str(error)) from None
        return self._slices_in_front(name, operation, x) if slices else self.add(name, operation, [x], 0)

    def pooling(
        self, name: str, x: Tensor, method: Literal["average", "max", "sum"], kernel: Any, **options: Any
    ) -> Tensor:
        """Return a pooling of (batch, channels, *spatial); a kernel of None pools over all positions."""
        if self._by_slice(x):
            kernel = x.known[2:] if kernel is None else kernel
            first = {"stride": 1, "padding": 0, "dilation": 1}
            options = {key: (first[key], *value) if key in first else value for key, value in options.items()}
            return self._slices_in_front(name, Pooling(method, (1, *kernel), **options), self._slices_inside(name, x))
        x = self._channels_first(x, f"{name}.reshape")
        return self.add(name, Pooling(method, kernel, **options), [x], 0)

    def dense(self, name: str, x: Tensor, weight: Array, bias: Array | None, trained: bool | None = None) -> Tensor:
        """Return ``x W^T + b`` along the last axis, for a weight (n_out, n_in)."""
        trained = self.is_trained(weight, bias) if trained is None else trained
        self._axis(x, -1)
        n_out, n_in = weight.shape
        layer = FullyConnected(n_in, n_out, weight, False if bias is None else bias, trained, len(x.sample) == 1)
        return self.add(name, layer, [x], x.batch, x.merged)

    def matrix_product(self, name: str, a: Any, b: Any) -> Tensor:
        """Return the matrix product of tensors and constants along their last two axes."""
        trained = self.is_trained(a, b)
        if not isinstance(b, Tensor) and np.ndim(b) <= 2:
            product = self.dense(name, a, np.atleast_2d(np.asarray(b).T), None, trained)
            return product if np.ndim(b) == 2 else self.reshape(f"{name}.reshape", product, product.known[:-1])
        if not isinstance(a, Tensor) and np.ndim(a) == 2 and b.ndim >= 2:
            swap = (*range(b.ndim - 2), b.ndim - 1, b.ndim - 2)
            rows = self.permute(f"{name}.transpose", b, swap)
            return self.permute(name, self.dense(f"{name}.dense", rows, np.asarray(a), None, trained), swap)
        if not isinstance(b, Tensor):
            return self._rows_times(name, a, self._alone(name, a, np.asarray(b)), 0)
        if not isinstance(a, Tensor):
            return self._rows_times(name, b, self._alone(name, b, np.asarray(a)), 1)
        if min(a.ndim, b.ndim) < 2:
            raise UnsupportedError("it multiplies vectors")
        aligned, (batch, merged) = self._aligned(name, [a, b])
        if batch is not None and batch >= max(a.ndim, b.ndim) - 2:
            if self.size > 1:
                raise UnsupportedError("it combines samples of the batch")
            aligned, batch = self._whole(name, [a, b]), None
        return self.add(name, MatrixProduct(), aligned, batch, merged)

    def _alone(self, name: str, x: Tensor, value: Array) -> Tensor:
        """Return a constant as a tensor without a batch."""
        flat = self._reshaped(f"{name}.flat", x, (math.prod(x.sample),), None)
        zeros = self.add(f"{name}.zeros", pad([(-math.prod(x.sample), value.size)]), [flat], None)
        shaped = self._reshaped(f"{name}.shaped", zeros, value.shape, None)
        return self.add(f"{name}.constant", Scale(None, value, self._is_parameter(value)), [shaped], None)

    def _rows_times(self, name: str, x: Tensor, constant: Tensor, place: int) -> Tensor:
        """Return the products of x and a stack of constant matrices, which x is multiplied by from one side."""
        outer = x.ndim - 2 if place == 0 else x.ndim - 1  # the axis of x that is not summed over
        if min(x.ndim, constant.ndim) < 2 or x.batch != outer or x.ndim < constant.ndim:
            return self.matrix_product(name, *((x, constant) if place == 0 else (constant, x)))
        merged = x.merged or (1, 1)
        wide = Tensor(x.node, x.shape, x.batch, merged)
        rows = self._reshaped(f"{name}.rows", x, wide.sample, x.batch, merged)
        product = self.add(name, MatrixProduct(), [rows, constant][:: 1 if place == 0 else -1], x.batch, merged)
        return self.reshape(f"{name}.reshape", product, product.known)

    def reduction(
        self, name: str, x: Tensor, method: Literal["mean", "sum", "max", "min"], axes: Sequence[int], keep: bool
    ) -> Tensor:
        """Return a mean, sum, maximum or minimum along axes."""
        inner = tuple(sorted({self._axis(x, axis) for axis in axes}))
        spatial = tuple(range(1, len(x.sample)))
        last = name if keep else f"{name}.reduction"
        if spatial and inner == spatial and method != "min" and x.batch == 0 and x.merged is None:
            reduced = self.pooling(last, x, "average" if method == "mean" else method, None)
        else:
            reduced = self.add(last, Reduction(method, inner), [x], x.batch, x.merged)
        if keep:
            return reduced
        dropped = {axis % x.ndim for axis in axes}
        return self.reshape(name, reduced, tuple(n for axis, n in enumerate(reduced.known) if axis not in dropped))

    def softmax(self, name: str, x: Tensor, axis: int, *, logarithm: bool = False) -> Tensor:
        """Return the softmax along an axis, or its logarithm."""
        return self.add(name, Softmax(self._axis(x, axis), logarithm), [x], x.batch, x.merged)

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
        trained = self.is_trained(scale, shift)
        if groups is not None:
            x = self._channels_first(x, f"{name}.reshape")
            operation = Normalisation(None, groups, epsilon)
            scale, shift = (None if c is None else np.reshape(c, (-1, *(1,) * (x.ndim - 2))) for c in (scale, shift))
        else:
            operation = Normalisation(tuple(self._axis(x, axis) for axis in axes or ()), epsilon=epsilon)
        y = self.add(name, operation, [x], x.batch, x.merged)
        if scale is None and shift is None:
            return y
        return self.scale(f"{name}.scale", y, scale, shift, trained=trained)

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
            found = [place for axis in range(len(new)) if (place := _batch_place(new, axis, slower, self.size))]
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

    def resize(self, name: str, x: Tensor, sizes: Sequence[int], **options: Any) -> Tensor:
        """Return x interpolated along all axes after the channels; see `convmatrix.network.Resize`."""
        if self._by_slice(x):
            scales = options.pop("scales", None)
            operation = Resize(
                (math.prod(x.merged or ()), *sizes), scales=None if scales is None else (1.0, *scales), **options
            )
            return self._slices_in_front(name, operation, self._slices_inside(name, x))
        x = self._channels_first(x, f"{name}.reshape")
        return self.add(name, Resize(tuple(sizes), **options), [x], 0)


def _batch_place(shape: Shape, axis: int, slower: int, size: int) -> tuple[int, tuple[int, int] | None] | None:
    """Return whether an axis holds the batch, of which ``slower`` entries vary slower, and what it is merged with."""
    before = math.prod(shape[:axis])
    outer, rest = divmod(slower, before) if before else (0, 1)
    if rest or not outer or shape[axis] % (outer * size):
        return None
    merged = (outer, shape[axis] // (outer * size))
    if size == 1:  # an axis of one sample is wherever there is room for it
        return (axis, None) if shape[axis] == 1 and outer == 1 else None
    return axis, None if merged == (1, 1) else merged


def _per_sample(constant: Array, x: Tensor) -> Array:
    """Return a constant that broadcasts along the last axis, where a vector would be read as one value per channel."""
    return constant[None] if constant.ndim == 1 and len(x.sample) > 1 else constant
