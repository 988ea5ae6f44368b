"""Operations of a network: what a node computes, its shapes, its matrix, and what each of its outputs reads.

Shapes are those of one sample, channels first; arrays of values have a leading batch axis.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from convmatrix import options as validate
from convmatrix.arrays import Array as Array
from convmatrix.arrays import KeepsReadOnly
from convmatrix.network.boxes import Box, Boxes, bounding_box, embed, whole, within

Shape = tuple[int, ...]
Mask = NDArray[np.bool_]
"""Which entries of a sample are meant."""


class MissingWeightsError(ValueError):
    """Values were requested from an operation without weights, such as a layer of a named architecture."""


class UnknownOperatorError(ValueError):
    """A result was requested that depends on an operation that the package does not know."""


class Operation(KeepsReadOnly, ABC):
    """Base class of operations: the function that a node of a network computes.

    Attributes
    ----------
    kind : str
        The operation's name in reports and messages.
    n_inputs : int or None
        Number of inputs; None for one or more.
    linear : bool
        Whether the output is an affine function of the inputs, so that `affine` exists.
    exact : bool
        Whether the output equals its linearisation near almost every input: affine and piecewise linear operations.

    Notes
    -----
    The methods for derivatives take ``inputs``, the point: one sample of each input, without a batch axis, of which
    linear operations use the shape and the dtype only. Tangents are changes of the inputs, ``(k, *input_shape)`` each,
    and cotangents the weights of the outputs in k sums, ``(k, *output_shape)``, in the dtype of the point.
    """

    kind: ClassVar[str]
    n_inputs: ClassVar[int | None] = 1

    @property
    def linear(self) -> bool:
        """Whether the output is an affine function of the inputs."""
        return False

    @property
    def exact(self) -> bool:
        """Whether the output equals its linearisation near almost every input."""
        return self.linear

    def exact_at(self, inputs: Sequence[Array]) -> bool:
        """Return whether the output equals its linearisation near given inputs, one sample each; by default `exact`."""
        return self.exact

    @abstractmethod
    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the output; raise ValueError if the inputs do not fit."""

    @abstractmethod
    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the output for a batch, in the dtype of the inputs; integers become float64 where they must."""

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return the sparse matrix and the bias of a linear operation, ``y = A x + b`` on raveled samples.

        An operation of several inputs multiplies their concatenation, in the order of the inputs.
        """
        raise TypeError(f"{self.kind} is not linear, so it has no matrix; linearise the network at an input instead")

    @abstractmethod
    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return, for each input, which of its entries the marked outputs depend on."""

    # --- derivatives at one sample -----------------------------------------------------------------------------------

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return the derivative at a point in k directions, (k, *output_shape): the Jacobian times the tangents.

        A linear operation multiplies by its matrix by default; another one must define its own method.
        """
        matrix, changes = self._jacobian(inputs), [t.reshape(len(t), -1).T for t in tangents]
        product = np.ascontiguousarray((matrix @ np.concatenate(changes)).T)
        return product.reshape(-1, *self.output_shape([x.shape for x in inputs]))

    def cotangent(self, inputs: Sequence[Array], cotangents: Array) -> list[Array]:
        """Return the transpose of `tangent`: for each input, (k, *input_shape), the gradients of k sums of outputs.

        By default it is `local_cotangent` in the box of all entries, if an operation defines that; a linear operation
        without it multiplies by its transposed matrix. Another operation must define one of the two methods.
        """
        if type(self).local_cotangent is not Operation.local_cotangent:
            boxes = [whole(x.shape) for x in inputs]
            return self.local_cotangent(inputs, cotangents, whole(cotangents.shape[1:]), boxes)
        k, sizes = len(cotangents), [x.size for x in inputs]
        product = np.ascontiguousarray((self._jacobian(inputs).T @ cotangents.reshape(k, -1).T).T)
        parts = np.split(product, np.cumsum(sizes)[:-1], axis=1)
        return [part.reshape(k, *x.shape) for part, x in zip(parts, inputs, strict=True)]

    def _jacobian(self, inputs: Sequence[Array]) -> Any:
        """Return the matrix of a linear operation in the dtype of the point."""
        if not self.linear:
            raise TypeError(
                f"the derivative of {self.kind} is not known; define the methods tangent and cotangent of "
                f"{type(self).__name__}"
            )
        return self.affine([x.shape for x in inputs], np.result_type(*inputs))[0]

    def read_boxes(self, box: Box, input_shapes: Sequence[Shape]) -> list[Box]:
        """Return, for each input, a box that contains every entry that the outputs in a box depend on.

        By default it is found with `reads`. An operation that defines this method saves the time for masks.
        """
        outputs = np.zeros(self.output_shape(input_shapes), dtype=bool)
        outputs[box] = True
        return [bounding_box(mask) for mask in self.reads(outputs, input_shapes)]

    def local_cotangent(self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Boxes) -> list[Array]:
        """Return `cotangent` where all outputs outside a box have weight 0, in boxes of the inputs.

        By default it is cut out of `cotangent`. An operation that defines this method saves memory and time where few
        outputs are of interest. Cotangents are those of the entries in the box. ``input_boxes`` is what `read_boxes`
        returns for it; not all of them are empty, and the results have their entries.
        """
        full = embed(cotangents, box, whole(self.output_shape([x.shape for x in inputs])))
        gradients = self.cotangent(inputs, full)
        return [g[within(part, whole(x.shape))] for g, x, part in zip(gradients, inputs, input_boxes, strict=True)]


# --- inputs and unknown operators ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Input(Operation):
    """The input of a network.

    Examples
    --------
    >>> Input((1, 16, 16)).output_shape([])
    (1, 16, 16)
    """

    shape: Shape
    kind = "input"
    n_inputs = 0
    linear = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", validate.shape("the input's shape", self.shape))

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the shape of a sample."""
        return self.shape

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the input."""
        return inputs[0]

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return the identity and a zero bias."""
        n = math.prod(self.shape)
        return sparse.eye_array(n, dtype=dtype or np.float64, format="csr"), np.zeros(n, dtype)

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return nothing: there are no inputs."""
        return []


@dataclass(frozen=True)
class Opaque(Operation):
    """An operation that the package does not know, named by its operator.

    It has a shape, and may read every input; its values, its matrix and whatever depends on them are refused, with the
    reason if one is given.

    Examples
    --------
    >>> Opaque("NonMaxSuppression", (10, 4)).output_shape([(100, 4)])
    (10, 4)
    """

    operator: str
    shape: Shape
    reason: str = ""
    kind = "opaque"
    n_inputs = None

    def __post_init__(self) -> None:
        validate.instance("operator", self.operator, str, "give the operator's name")
        object.__setattr__(self, "shape", integers("shape", self.shape))

    @property
    def _described(self) -> str:
        return f"{self.operator} ({self.reason})" if self.reason else self.operator

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the given shape."""
        return self.shape

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Raise UnknownOperatorError."""
        raise UnknownOperatorError(f"the operator {self._described} is not known, so it cannot be evaluated")

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Raise UnknownOperatorError."""
        raise UnknownOperatorError(f"the operator {self._described} is not known, so it has no matrix")

    def _jacobian(self, inputs: Sequence[Array]) -> Any:
        raise UnknownOperatorError(f"the operator {self.operator} is not known, so it has no derivative")

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return every entry of every input if any output is marked."""
        return [np.full(shape, outputs.any()) for shape in input_shapes]


# --- helpers for operations ------------------------------------------------------------------------------------------


def selection_matrix(columns: NDArray[np.int64], n_columns: int, dtype: np.dtype[Any] | None = None) -> Any:
    """Return the CSR array whose row i has a 1 in column ``columns[i]``, and no entry if that is negative."""
    present = columns >= 0
    starts = np.concatenate([[0], np.cumsum(present)])
    data = np.ones(starts[-1], dtype=dtype or np.float64)
    matrix = sparse.csr_array((data, columns[present], starts), shape=(len(columns), n_columns))
    matrix.has_canonical_format = True
    return matrix


def product_of_axes(channels: int, matrices: Iterable[Any]) -> Any:
    """Return the matrix that applies one matrix per spatial axis to each channel, as a CSR array."""
    product = reduce(lambda left, right: sparse.kron(left, right, format="csr"), matrices)
    return sparse.csr_array(sparse.kron(sparse.eye_array(channels, dtype=product.dtype), product, format="csr"))


def real_array(name: str, value: Any, kinds: str = "iuf") -> Array:
    """Return a read-only array of real numbers: a copy, unless nothing can write to the given one."""
    array = validate.array(name, value)
    if array.dtype.kind not in kinds:
        raise TypeError(f"{name} must hold real numbers, but is {validate.described(array if array.ndim else value)}")
    owner: Any = array if array.base is None else array.base
    of_bytes = isinstance(owner, np.ndarray) and isinstance(owner.base, bytes)  # as in ONNX files; bytes do not change
    fixed = isinstance(owner, np.ndarray) and (of_bytes or owner.base is None) and not owner.flags.writeable
    if array.flags.writeable or not fixed:
        array = np.array(array)
        array.flags.writeable = False
    return array


def entries(name: str, values: Any, n: int | None = None) -> tuple[Any, ...]:
    """Return the entries of a sequence, of a given number of them; words and single values are refused."""
    if isinstance(values, str | bytes) or not np.iterable(values):
        raise TypeError(f"{name} must be a sequence, but is {validate.described(values)}; give a tuple")
    found = tuple(values)
    if n is not None and len(found) != n:
        raise ValueError(f"{name} must have {n} entries, but has {len(found)}: {values!r:.60}")
    return found


def integers(name: str, values: Any, n: int | None = None) -> tuple[int, ...]:
    """Return the entries of a sequence of integers."""
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iu":
        return entries(name, values.tolist(), n)
    return tuple(validate.integer(f"{name}[{place}]", value) for place, value in enumerate(entries(name, values, n)))


def like(constant: Array, x: Array) -> Array:
    """Return a constant in the dtype of x if that is floating point, and in its own otherwise."""
    return constant.astype(x.dtype, copy=False) if x.dtype.kind == "f" else constant


def lift(x: Array, n_axes: int) -> Array:
    """Return a batch whose samples have a number of axes; new ones, of size 1, are in front."""
    return x.reshape(len(x), *(1,) * (n_axes + 1 - x.ndim), *x.shape[1:])


def align(inputs: Sequence[Array]) -> list[Array]:
    """Return batches whose samples have the same number of axes, so that they broadcast."""
    n_axes = max(x.ndim for x in inputs) - 1
    return [lift(x, n_axes) for x in inputs]


def shrink(mask: Mask, shape: Shape) -> Mask:
    """Return which entries of an array of ``shape`` are broadcast to marked entries; the mask itself if all are."""
    if mask.shape == shape:
        return mask
    lead = mask.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and mask.shape[lead + i] != 1)
    return np.asarray(mask.any(axis=axes, keepdims=True)).reshape(shape)


def sample_axes(axes: Sequence[int], shape: Shape) -> tuple[int, ...]:
    """Return axes of a sample as ascending numbers from 0; raise ValueError for one that it does not have."""
    for axis in axes:
        if not -len(shape) <= axis < len(shape):
            raise ValueError(f"axis {axis} is not an axis of a sample of shape {shape}")
    return tuple(sorted({axis % len(shape) for axis in axes}))


def broadcast(input_shapes: Sequence[Shape], kind: str) -> Shape:
    """Return the shape to which the inputs broadcast; raise ValueError if they do not."""
    try:
        return np.broadcast_shapes(*input_shapes)
    except ValueError:
        raise ValueError(
            f"the inputs of {kind} have shapes {', '.join(map(str, input_shapes))}, which do not broadcast together"
        ) from None


def broadcast_columns(shape: Shape, output_shape: Shape) -> NDArray[np.int64]:
    """Return the flat index of the entry of ``shape`` that is broadcast to each output."""
    numbers = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    return np.broadcast_to(numbers, output_shape).ravel()
