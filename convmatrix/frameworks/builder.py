"""Building a network from the operators of a framework's graph, whose tensors carry a batch axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse

from convmatrix import memory
from convmatrix.frameworks.batched_graphs import BatchedGraph
from convmatrix.frameworks.batched_tensors import Shape, Tensor, UnsupportedError, per_sample
from convmatrix.geometry import ConvGeometry
from convmatrix.matrices import unfold_matrix
from convmatrix.network import (
    FUNCTIONS,
    Addition,
    Convolution,
    Elementwise,
    Extremum,
    FullyConnected,
    MatrixProduct,
    Normalisation,
    Operation,
    ParametricReLU,
    PatternMap,
    Pooling,
    Product,
    Reduction,
    Resize,
    Scale,
    Softmax,
    pad,
)
from convmatrix.network.fixed_patterns import matrix_pattern

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.network import Network

__all__ = ["NetworkBuilder", "Shape", "Tensor", "UnsupportedError", "known_nodes"]


class NetworkBuilder(BatchedGraph):
    """Collects the nodes of a network, translating tensors with a batch axis to samples without.

    A frontend calls one method per operator of its graph; each returns the `Tensor` of the result. Axes are those of
    the framework: the batch axis counts. Where an operator has no translation, the methods raise `UnsupportedError`,
    and the frontend calls `opaque`. Names, constants and rearrangements are those of `BatchedGraph`.
    """

    def elementwise(self, name: str, x: Tensor, function: str, **parameters: float) -> Tensor:
        """Return a function of each entry; see `convmatrix.network.FUNCTIONS`."""
        if function not in FUNCTIONS:
            raise UnsupportedError(f"the function {function} is not known")
        return self.add(name, Elementwise(function, parameters), [x], x.batch, x.merged)

    def power(self, name: str, x: Tensor, exponent: float) -> Tensor:
        """Return each entry to a power."""
        known = {1.0: "identity", 2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}
        if exponent in known:
            return self.elementwise(name, x, known[exponent])
        return self.elementwise(name, x, "power", exponent=exponent)

    def parametric_relu(self, name: str, x: Tensor, slope: Array) -> Tensor:
        """Return PReLU; the slopes broadcast to x."""
        values = self._constant(x, np.asarray(slope))
        return self.add(name, ParametricReLU(per_sample(values, x)), [x], x.batch, x.merged)

    def scale(self, name: str, x: Tensor, scale: Any = None, shift: Any = None, *, trained: bool = False) -> Tensor:
        """Return ``scale * x + shift`` for constants that broadcast with x."""
        rank = max([x.ndim, *(np.ndim(value) for value in (scale, shift) if value is not None)])
        if rank > x.ndim:
            x = self.reshape(f"{name}.reshape", x, (1,) * (rank - x.ndim) + x.known)
        trained = trained or (self._trained is not None and self.is_trained(scale, shift))
        constants = [None if value is None else self._constant(x, np.asarray(value)) for value in (scale, shift)]
        spread = [None if c is None else per_sample(c, x) for c in constants]
        return self.add(name, Scale(spread[0], spread[1], trained), [x], x.batch, x.merged)

    def batch_normalisation(
        self,
        name: str,
        x: Tensor,
        mean: Array,
        variance: Array,
        scale: Array | None,
        shift: Array | None,
        epsilon: float,
    ) -> Tensor:
        """Return batch normalisation at inference: a scale and a shift, one per channel."""
        trained = self.is_trained(scale, shift)
        factor, term = self.shared(_normalising, mean, variance, scale, shift, epsilon)
        shape = (-1, *(1,) * (x.ndim - 2))
        return self.scale(name, x, np.reshape(factor, shape), np.reshape(term, shape), trained=trained)

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
        """Return ``a / b`` of tensors and constants; a constant is the float64 next to its reciprocal."""
        if not isinstance(b, Tensor):
            with np.errstate(divide="ignore"):
                return self.scale(name, a, 1 / np.asarray(b, np.float64), trained=self._is_parameter(b))
        reciprocal = self.elementwise(f"{name}.reciprocal", b, "reciprocal")
        return self.product(name, a, reciprocal)

    def extremum(self, name: str, a: Any, b: Any, method: Literal["max", "min"]) -> Tensor:
        """Return the entrywise maximum or minimum of tensors and constants."""
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return self.combine(name, [a, b], Extremum(method))
        x, bound = (a, b) if isinstance(a, Tensor) else (b, a)
        if np.size(bound) != 1 or np.ndim(bound) > x.ndim:
            constant = self.constant(name, x, np.asarray(bound), self._is_parameter(bound))
            return self.combine(name, [x, constant], Extremum(method))
        value = np.asarray(bound).item()
        low, high = (value, np.inf) if method == "max" else (-np.inf, value)
        return self.elementwise(name, x, "clip", low=low, high=high)

    def choice(self, name: str, condition: Array, first: Any, second: Any) -> Tensor:
        """Return the entries of ``first`` where a constant condition is true, and those of ``second`` elsewhere.

        Tensors are multiplied by masks, which is exact for finite numbers.
        """
        if not isinstance(second, Tensor):
            return self.scale(name, first, condition.astype(np.float64), np.where(condition, 0, second))
        if not isinstance(first, Tensor):
            return self.scale(name, second, (~condition).astype(np.float64), np.where(condition, first, 0))
        kept = self.scale(f"{name}.first", first, condition.astype(np.float64))
        return self.sum(name, kept, self.scale(f"{name}.second", second, (~condition).astype(np.float64)))

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
        output_shape: Sequence[int] | None = None,
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
            boundary = ("zero", *(boundary,) * len(stride[1:]))
            output_padding = (0, *output_padding) if isinstance(output_padding, list | tuple) else output_padding
            output_shape = None if output_shape is None else (x.sample[1], *output_shape)
        else:
            x = self._channels_first(x, f"{name}.reshape")
        taps = weight.shape[2:]
        if len(x.sample) != len(taps) + 1:
            raise UnsupportedError(f"a kernel of {len(taps)} axes convolves a tensor of shape {x.shape}")
        options: dict[str, Any] = {}
        if transposed:
            options = {"transposed": True, "output_padding": output_padding, "output_shape": output_shape}
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

    def unfold(
        self, name: str, x: Tensor, sizes: Sequence[int], kernel: Sequence[int], *, fold: bool = False, **options: Any
    ) -> Tensor:
        """Return the windows (batch, channels * taps, positions) of an image (im2col); or the sum of such windows.

        ``sizes`` are those of the image's spatial axes, and ``options`` those of `convmatrix.unfold_matrix`.
        """
        if x.batch not in (0, None) or x.ndim != (3 if fold else 2 + len(sizes)):
            raise UnsupportedError(f"its input has the shape {x.shape}, which is not that of a batch of images")
        channels = x.known[1] // math.prod(kernel) if fold else x.known[1]
        matrix = unfold_matrix(sizes, kernel, in_channels=channels, **options)
        n_rows = channels * math.prod(kernel)
        shape = (channels, *sizes) if fold else (n_rows, matrix.shape[0] // n_rows)
        if fold and x.known[1:] != (n_rows, matrix.shape[0] // max(n_rows, 1)):
            raise UnsupportedError(f"windows of shape {x.shape} do not fit images of {tuple(sizes)}")
        return self.fixed_map(name, x, matrix.T if fold else matrix, (x.known[0], *shape))

    def cumulative_sum(
        self, name: str, x: Tensor, axis: int, *, exclusive: bool = False, backwards: bool = False
    ) -> Tensor:
        """Return the sums of the entries up to each one along an axis, or of those before it."""
        inner, sample = self._axis(x, axis), x.sample
        before, n, after = math.prod(sample[:inner]), sample[inner], math.prod(sample[inner + 1 :])
        memory.require(20 * before * n**2 * after, f"the matrix of cumulative sums of {n}", "read a smaller network")
        triangle = sparse.csr_array(np.tri(n, k=-1 if exclusive else 0))
        outer = sparse.kron(sparse.eye_array(before), triangle.T if backwards else triangle)
        return self.fixed_map(name, x, sparse.kron(outer, sparse.eye_array(after)), x.known)

    def fixed_map(self, name: str, x: Tensor, matrix: Any, shape: Shape) -> Tensor:
        """Return the product of a constant sparse matrix and every sample, or every slice of one, in a shape."""
        slices = sparse.eye_array(math.prod(x.sample) // matrix.shape[1])
        pattern = matrix_pattern(matrix if slices.shape == (1, 1) else sparse.kron(slices, matrix))
        operation = PatternMap(pattern, [1.0], x.without_batch(shape), trained=False)
        return self.add(name, operation, [x], x.batch, x.merged)

    def pooling(
        self, name: str, x: Tensor, method: Literal["average", "max", "sum"], kernel: Any, **options: Any
    ) -> Tensor:
        """Return a pooling of (batch, channels, *spatial); a kernel of None pools over all positions."""
        if self._by_slice(x):
            if kernel is None:
                kernel, options = x.known[2:], {**options, "adaptive": True}
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
            return self._rows_times(name, a, self._matrices(name, a, b), 0)
        if not isinstance(a, Tensor):
            return self._rows_times(name, b, self._matrices(name, b, a), 1)
        if min(a.ndim, b.ndim) < 2:
            raise UnsupportedError("it multiplies vectors")
        aligned, (batch, merged) = self._aligned(name, [a, b])
        if batch is not None and batch >= max(a.ndim, b.ndim) - 2:
            if self.size > 1:
                raise UnsupportedError("it combines samples of the batch")
            aligned, batch = self._whole(name, [a, b]), None
        return self.add(name, MatrixProduct(), aligned, batch, merged)

    def _matrices(self, name: str, x: Tensor, matrices: Array) -> Tensor:
        """Return a stack of constant matrices as a tensor, without a batch unless the stack has that of x."""
        value, batch = np.asarray(matrices), x.batch
        stacked = batch is not None and batch < x.ndim - 2 and value.ndim == x.ndim
        if batch is not None and stacked and value.shape[batch] == x.known[batch]:
            alone = self._alone(name, x, self._constant(x, value), self._is_parameter(matrices))
            return Tensor(alone.node, value.shape, batch, x.merged)
        return self._alone(name, x, value, self._is_parameter(matrices))

    def _alone(self, name: str, x: Tensor, value: Array, trained: bool) -> Tensor:
        """Return a constant as a tensor without a batch."""
        flat = self._reshaped(f"{name}.flat", x, (math.prod(x.sample),), None)
        zeros = self.add(f"{name}.zeros", pad([(-math.prod(x.sample), value.size)]), [flat], None)
        shaped = self._reshaped(f"{name}.shaped", zeros, value.shape, None)
        return self.add(f"{name}.constant", Scale(None, value, trained), [shaped], None)

    def _rows_times(self, name: str, x: Tensor, constant: Tensor, place: int) -> Tensor:
        """Return the products of x and a stack of constant matrices, which x is multiplied by from one side."""
        outer = x.ndim - 2 if place == 0 else x.ndim - 1  # the axis of x that is not summed over
        if min(x.ndim, constant.ndim) < 2 or x.batch != outer or x.ndim < constant.ndim:
            return self.matrix_product(name, *((x, constant) if place == 0 else (constant, x)))
        merged = x.merged or (1, 1)
        wide = Tensor(x.node, x.shape, x.batch, merged)
        rows = self._reshaped(f"{name}.rows", x, wide.sample, x.batch, merged)
        factors = [rows, constant] if place == 0 else [constant, rows]
        product = self.add(name, MatrixProduct(), factors, x.batch, merged)
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
        return reduced if keep else self.squeeze(name, reduced, axes)

    def log_sum_exp(self, name: str, x: Tensor, axes: Sequence[int], *, keep: bool) -> Tensor:
        """Return the logarithm of the sum of exponentials along axes, after the maximum is subtracted."""
        highest = self.reduction(f"{name}.max", x, "max", axes, keep=True)
        powers = self.elementwise(f"{name}.exp", self.sum(f"{name}.difference", x, highest, -1), "exp")
        total = self.reduction(f"{name}.sum", powers, "sum", axes, keep=True)
        logarithm = self.elementwise(f"{name}.log", total, "log")
        result = self.sum(name if keep else f"{name}.total", logarithm, highest)
        return result if keep else self.squeeze(name, result, axes)

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
        *,
        centred: bool = True,
    ) -> Tensor:
        """Return layer, group or instance normalisation, followed by its trained scale and shift."""
        trained = self.is_trained(scale, shift)
        if groups is None:
            inner = tuple(self._axis(x, axis) for axis in axes or ())
            y = self.add(name, Normalisation(inner, epsilon=epsilon, centred=centred), [x], x.batch, x.merged)
        elif self._by_slice(x):
            parts = self.reshape(f"{name}.groups", x, (x.known[0], groups, math.prod(x.known[1:]) // groups))
            y = self.reshape(f"{name}.reshape", self.normalisation(name, parts, (2,), None, None, epsilon), x.known)
        else:
            x = self._channels_first(x, f"{name}.reshape")
            y = self.add(name, Normalisation(None, groups, epsilon), [x], 0)
        if groups is not None:
            scale, shift = (None if c is None else np.reshape(c, (-1, *(1,) * (x.ndim - 2))) for c in (scale, shift))
        if scale is None and shift is None:
            return y
        return self.scale(f"{name}.scale", y, scale, shift, trained=trained)

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


def known_nodes(network: Network) -> set[str]:
    """Return the names of the nodes that depend on no opaque one."""
    known: set[str] = set()
    for node in network:
        if node.kind != "opaque" and known.issuperset(node.inputs):
            known.add(node.name)
    return known


def _normalising(
    mean: Array, variance: Array, weight: Array | None, bias: Array | None, epsilon: float
) -> tuple[Array, Array]:
    """Return the scale and the shift of a batch normalisation at inference.

    They are in float64: rounded again, they would not be the model's in real arithmetic.
    """
    with np.errstate(all="ignore"):
        scale = (1 if weight is None else weight) / np.sqrt(variance.astype(np.float64) + epsilon)
        return scale, (0 if bias is None else bias) - mean * scale
