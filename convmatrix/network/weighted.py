"""Operations with weights: convolutions, dense layers, and layers given by an index pattern."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from scipy import sparse

from convmatrix import memory
from convmatrix import options as validate
from convmatrix.geometry import ConvGeometry
from convmatrix.matrices import conv_matrix
from convmatrix.network.boxes import Box, Boxes, box_shape, embed, normalised, whole, within
from convmatrix.network.operations import Array, Mask, MissingWeightsError, Operation, Shape, like, real_array
from convmatrix.network.window_products import (
    adjoint_products,
    adjoint_weights,
    gathered_products,
    gathers,
    read_box,
)
from convmatrix.network.windows import window_reads
from convmatrix.operator import ConvOperator
from convmatrix.pattern import WeightPattern
from convmatrix.weights import group_weights


@dataclass(frozen=True, eq=False)
class Convolution(Operation):
    """A convolution layer of any geometry, transposed, tiled and unshared ones included, with its bias.

    Parameters
    ----------
    geometry : ConvGeometry
    weight : array_like, optional
        Of the geometry's ``weight_shape``; absent in a named architecture.
    bias : array_like, "channel", "unit", bool or None
        One value per output channel or one per unit; a word, or True for ``"channel"``, says that there is one without
        giving its values. None or False for no bias.
    trained : bool
        False for a fixed kernel, whose entries are connections but not parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> layer = Convolution(cm.ConvGeometry(4, 2), [1, -1], [10])
    >>> layer.evaluate([np.array([[[1, 2, 4, 8]]])])
    array([[[9, 8, 6]]])
    >>> A, b = layer.affine([(1, 4)])
    >>> A.toarray(), b
    (array([[ 1, -1,  0,  0],
           [ 0,  1, -1,  0],
           [ 0,  0,  1, -1]]), array([10, 10, 10]))
    """

    geometry: ConvGeometry
    weight: Any = None
    bias: Any = None
    trained: bool = True
    kind = "convolution"
    linear = True

    def __post_init__(self) -> None:
        g = self.geometry
        if not isinstance(g, ConvGeometry):
            raise TypeError(f"geometry must be a ConvGeometry, but is {g!r:.60}; give cm.ConvGeometry(...)")
        if self.weight is not None:
            weight = validate.weight_array(self.weight, g.weight_shape, g)
            object.__setattr__(self, "weight", real_array("weight", weight))
        if isinstance(self.bias, bool):
            object.__setattr__(self, "bias", "channel" if self.bias else None)
        if isinstance(self.bias, str):
            validate.one_of("bias", self.bias, ("channel", "unit"), ", None, or give values")
        elif self.bias is not None:
            object.__setattr__(self, "bias", real_array("bias", self.bias))
            if self.bias.size not in (g.out_channels, g.n_out):
                raise ValueError(
                    f"bias has {self.bias.size} entries, but the layer has {g.out_channels} output channels and "
                    f"{g.n_out} units; give one per channel or one per unit"
                )

    @property
    def bias_sharing(self) -> Literal["channel", "unit"] | None:
        """Whether there is one bias per output channel, one per unit, or none."""
        if isinstance(self.bias, np.ndarray):
            return "channel" if self.bias.size == self.geometry.out_channels else "unit"
        sharing: Literal["channel", "unit"] | None = self.bias
        return sharing

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return (out_channels, *output_shape)."""
        g, (shape,) = self.geometry, input_shapes
        if shape != g.full_input_shape:
            raise ValueError(f"a convolution of {g.full_input_shape} was given an input of shape {shape}")
        return g.full_output_shape

    def _arrays(self) -> tuple[Array, Array | None]:
        """Return the weights, and the bias in a shape that broadcasts to the output."""
        if self.weight is None:
            raise MissingWeightsError("the convolution has no weights; give an array to evaluate it")
        if isinstance(self.bias, str):
            raise MissingWeightsError("the convolution's bias has no values; give an array to evaluate it")
        g, bias = self.geometry, self.bias
        if bias is not None:
            sizes = g.output_shape if bias.size == g.n_out else (1,) * len(g.output_shape)
            bias = bias.reshape(g.out_channels, *sizes)
        return self.weight, bias

    @cached_property
    def _prepared(self) -> dict[Any, Any]:
        """By dtype, the weights as matrices (groups, outputs, inputs * taps) or an operator; also transposed."""
        return {}

    def _multiply(self, weight: Array, x: Array, dtype: np.dtype[Any]) -> Array:
        """Return the convolution of a batch without the bias."""
        g = self.geometry
        dense = dtype.kind == "f" and gathers(g)
        if dtype not in self._prepared:
            prepared: Any = weight.astype(dtype, copy=False)
            if dense:
                grouped = group_weights(g, prepared)
                n = len(g.kernel_shape)
                prepared = np.ascontiguousarray(grouped.reshape(*grouped.shape[n : n + 2], -1))
            self._prepared[dtype] = prepared if dense else ConvOperator(prepared, g)
        if dense:
            return gathered_products(g.axes, self._prepared[dtype], x.astype(dtype, copy=False))
        return np.ascontiguousarray((self._prepared[dtype] @ x.reshape(len(x), -1).T).T)

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the convolution of a batch, plus the bias."""
        (x,), g = inputs, self.geometry
        weight, bias = self._arrays()
        y = self._multiply(weight, x, x.dtype if x.dtype.kind == "f" else np.result_type(weight, x))
        y = y.reshape(len(x), *g.full_output_shape)
        if bias is None:
            return y
        return np.add(y, like(bias, y), out=y if y.dtype.kind == "f" else None)

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return the layer's matrix and its bias, one entry per unit."""
        g = self.geometry
        weight, bias = self._arrays()
        if dtype is not None:
            weight = weight.astype(dtype, copy=False)
        shift = np.zeros(1, weight.dtype) if bias is None else like(bias, weight)
        shift = np.broadcast_to(shift, g.full_output_shape).ravel()
        return conv_matrix(weight, g), shift.astype(dtype or shift.dtype, copy=False)

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return the convolution of the tangents, without the bias."""
        (t,), g = tangents, self.geometry
        return self._multiply(self._arrays()[0], t, t.dtype).reshape(len(t), *g.full_output_shape)

    @property
    def _restricts(self) -> bool:
        """Whether cotangents are multiplied in boxes."""
        g = self.geometry
        return g.sharing == "shared" and not (g.transposed and set(g.boundary) != {"zero"})

    def read_boxes(self, box: Box, input_shapes: Sequence[Shape]) -> list[Box]:
        """Return the box of the windows, in the groups of the channels."""
        if not self._restricts:
            return super().read_boxes(box, input_shapes)
        return [normalised(read_box(self.geometry, box))]

    def local_cotangent(self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Boxes) -> list[Array]:
        """Return the transposed convolution of cotangents in a box."""
        g, dtype, (target,) = self.geometry, cotangents.dtype, input_boxes
        key, prepare = ("adjoint", adjoint_weights) if self._restricts else ("operator", ConvOperator)
        if (key, dtype) not in self._prepared:
            self._prepared[key, dtype] = prepare(self._arrays()[0].astype(dtype, copy=False), g)
        prepared = self._prepared[key, dtype]
        if self._restricts:
            return [adjoint_products(g, prepared, cotangents, box, target)]
        outputs = embed(cotangents, box, whole(g.full_output_shape))
        product = np.ascontiguousarray((prepared.T @ outputs.reshape(len(outputs), -1).T).T)
        samples = whole(g.full_input_shape)
        return [product.reshape(-1, *box_shape(samples))[within(target, samples)]]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return all samples of the marked windows, in the channels that are connected."""
        g = self.geometry
        if g.connections is not None:
            table = np.array(g.connections, dtype=np.int64)  # (out_channels, in_channels)
            mask = (np.tensordot(table.T, outputs, axes=1)) > 0
        else:
            by_group = outputs.reshape(g.groups, -1, *outputs.shape[1:]).any(axis=1)
            mask = by_group.repeat(g.in_channels // g.groups, axis=0)
        return [window_reads(g, mask)]


@dataclass(frozen=True, eq=False)
class FullyConnected(Operation):
    """A fully connected layer, ``y = W x + b``.

    Parameters
    ----------
    n_in, n_out : int
    weight : array_like, shape (n_out, n_in), optional
    bias : array_like of shape (n_out,), bool
        True says that there is a bias without giving its values.
    trained : bool
        False for fixed coefficients, which are connections but not parameters.
    flatten : bool
        Read the sample flattened (the default); otherwise apply the layer along the last axis.

    Examples
    --------
    >>> import numpy as np
    >>> FullyConnected(2, 1, [[3, 4]], [1]).evaluate([np.array([[1, 2]])])
    array([[12]])
    """

    n_in: int
    n_out: int
    weight: Any = None
    bias: Any = True
    trained: bool = True
    flatten: bool = True
    kind = "dense"
    linear = True

    def __post_init__(self) -> None:
        for name in ("n_in", "n_out"):
            object.__setattr__(self, name, validate.integer(name, getattr(self, name), minimum=1))
        if self.weight is not None:
            object.__setattr__(self, "weight", real_array("weight", self.weight))
            if self.weight.shape != (self.n_out, self.n_in):
                raise ValueError(f"weight has shape {self.weight.shape}, but the layer needs {(self.n_out, self.n_in)}")
        if self.bias is None:
            object.__setattr__(self, "bias", False)
        if not isinstance(self.bias, bool):
            object.__setattr__(self, "bias", real_array("bias", self.bias))
            if self.bias.shape != (self.n_out,):
                raise ValueError(f"bias has shape {self.bias.shape}, but the layer has {self.n_out} outputs")

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return (n_out,), or the input's shape with its last size replaced."""
        (shape,) = input_shapes
        read = math.prod(shape) if self.flatten else shape[-1]
        if read != self.n_in:
            raise ValueError(f"a dense layer of {self.n_in} inputs was given {read} (a sample of shape {shape})")
        return (self.n_out,) if self.flatten else (*shape[:-1], self.n_out)

    def _arrays(self) -> tuple[Array, Array]:
        if self.weight is None or self.bias is True:
            raise MissingWeightsError("the dense layer has no weights or no bias; give arrays to evaluate it")
        return self.weight, np.zeros(self.n_out, self.weight.dtype) if self.bias is False else self.bias

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return ``W x + b`` for a batch."""
        (x,) = inputs
        weight, bias = self._arrays()
        y: Array = (x.reshape(len(x), -1) if self.flatten else x) @ like(weight, x).T
        return y + like(bias, y)

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return W, repeated along the other axes if the layer applies to the last one, and the bias."""
        weight, bias = self._arrays()
        weight = weight.astype(dtype or weight.dtype, copy=False)
        bias = like(bias, weight)  # in the requested dtype, not that of the weights
        copies = 1 if self.flatten else math.prod(input_shapes[0][:-1])
        n_entries = copies * weight.size  # zeros are stored too
        index = validate.index_dtype(n_entries, copies * self.n_in)
        memory.require(
            n_entries * (weight.itemsize + np.dtype(index).itemsize),
            f"the matrix of a dense layer of {self.n_in} inputs and {self.n_out} outputs",
            "evaluate the layer instead",
        )
        read = np.arange(copies * self.n_in, dtype=index).reshape(copies, 1, self.n_in)
        columns = np.broadcast_to(read, (copies, self.n_out, self.n_in)).ravel()
        starts = np.arange(copies * self.n_out + 1, dtype=index) * self.n_in
        shape = (copies * self.n_out, copies * self.n_in)
        matrix: Any = sparse.csr_array((np.tile(weight.ravel(), copies), columns, starts), shape=shape)
        matrix.has_canonical_format = True
        return matrix, np.tile(bias, copies).astype(dtype or bias.dtype, copy=False)

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return ``W t`` for each tangent t."""
        (t,) = tangents
        product: Array = (t.reshape(len(t), -1) if self.flatten else t) @ like(self._arrays()[0], t).T
        return product

    def read_boxes(self, box: Box, input_shapes: Sequence[Shape]) -> list[Box]:
        """Return the whole input, or its whole lines of the last axis."""
        (shape,) = input_shapes
        return [whole(shape) if self.flatten else (*box[:-1], slice(0, shape[-1]))]

    def local_cotangent(self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Boxes) -> list[Array]:
        """Return ``W^T g`` for each cotangent g, of the rows of W in the box."""
        gradient = cotangents @ like(self._arrays()[0][box[-1]], cotangents)
        return [gradient.reshape(len(cotangents), *box_shape(input_boxes[0]))]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return all inputs, or those on the same line of the last axis."""
        (shape,) = input_shapes
        if self.flatten:
            return [np.full(shape, outputs.any())]
        return [np.broadcast_to(outputs.any(axis=-1, keepdims=True), shape).copy()]


@dataclass(frozen=True, eq=False)
class PatternMap(Operation):
    """The linear layer of an index pattern, ``y = A(w) x``, on raveled samples.

    Parameters
    ----------
    pattern : WeightPattern
    weight : array_like, optional
        Of the pattern's ``weight_shape``.
    shape : tuple of int, optional
        Shape of the output, by default that of the pattern's geometry, or one axis.
    trained : bool
        False for a fixed matrix, such as that of im2col, whose entries are neither parameters nor multiply-adds.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> PatternMap(cm.ConvGeometry(3, 2).pattern(), [1, 10]).evaluate([np.array([[1, 2, 3]])])
    array([[[21, 32]]])
    """

    pattern: WeightPattern
    weight: Any = None
    shape: Shape | None = None
    trained: bool = True
    kind = "pattern"
    linear = True

    def __post_init__(self) -> None:
        validate.instance("pattern", self.pattern, WeightPattern, "geometry.pattern() is that of a layer")
        if self.shape is not None:
            object.__setattr__(self, "shape", validate.shape("shape", self.shape))
        if self.weight is not None:
            weight = validate.weight_array(self.weight, self.pattern.weight_shape, self.pattern.geometry)
            object.__setattr__(self, "weight", real_array("weight", weight))

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the given shape, the geometry's if the pattern has one, or (n_out,)."""
        n_out, n_in = self.pattern.shape
        if math.prod(input_shapes[0]) != n_in:
            raise ValueError(f"a pattern of {n_in} inputs was given a sample of shape {input_shapes[0]}")
        geometry = self.pattern.geometry
        if self.shape is None:
            return (n_out,) if geometry is None else geometry.full_output_shape
        if math.prod(self.shape) != n_out:
            raise ValueError(f"shape={self.shape} has {math.prod(self.shape)} entries, but the pattern {n_out} outputs")
        return self.shape

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return A(w) and a zero bias."""
        if self.weight is None:
            raise MissingWeightsError("the pattern has no weights; give an array to evaluate it")
        matrix = self.pattern.matrix(self.weight if dtype is None else self.weight.astype(dtype))
        return matrix, np.zeros(matrix.shape[0], matrix.dtype)

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return A(w) x for a batch."""
        (x,) = inputs
        matrix, _ = self.affine([x.shape[1:]], x.dtype if x.dtype.kind == "f" else None)
        y = (matrix @ x.reshape(len(x), -1).T).T
        return np.ascontiguousarray(y).reshape(len(x), *self.output_shape([x.shape[1:]]))

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the columns of the marked rows."""
        starts = np.asarray(self.pattern.row_starts, dtype=np.int64)
        marked = np.repeat(outputs.ravel(), np.diff(starts))
        read = np.zeros(self.pattern.shape[1], dtype=bool)
        read[self.pattern.cols[marked]] = True
        return [read.reshape(input_shapes[0])]
