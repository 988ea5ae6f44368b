"""Operations of a network: what a node computes, its shapes, its matrix, and what each of its outputs reads.

Shapes are those of one sample, channels first; arrays of values have a leading batch axis.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse

from convmatrix import options as validate
from convmatrix.network.functions import FUNCTIONS, Function

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Mask = NDArray[np.bool_]

Shape = tuple[int, ...]


class MissingWeightsError(ValueError):
    """Values were asked of an operation that has no weights, such as a layer of a named architecture."""


class Operation(ABC):
    """What a node of a network computes.

    Attributes
    ----------
    kind : str
        The operation's name in reports and messages.
    n_inputs : int or None
        Number of inputs; None for two or more.
    linear : bool
        Whether the output is an affine function of the inputs, so that `affine` exists.
    exact : bool
        Whether the output equals its linearisation near almost every input: affine and piecewise linear operations.
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

    @abstractmethod
    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the output; raise ValueError if the inputs do not fit."""

    @abstractmethod
    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the output for a batch, in the dtype of the inputs."""

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return the sparse matrix and the bias of a linear operation, ``y = A x + b`` on raveled samples.

        An operation of several inputs multiplies their concatenation, in the order of the inputs.
        """
        raise TypeError(f"{self.kind} is not linear, so it has no matrix; linearise the network at an input instead")

    @abstractmethod
    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return, for each input, which of its entries the marked outputs depend on."""


def ones_matrix(columns: NDArray[np.int64], n_columns: int, dtype: np.dtype[Any] | None = None) -> Any:
    """Return the CSR array whose row i has a 1 in column ``columns[i]``, and no entry if that is negative."""
    present = columns >= 0
    starts = np.concatenate([[0], np.cumsum(present)])
    data = np.ones(starts[-1], dtype=dtype or np.float64)
    matrix = sparse.csr_array((data, columns[present], starts), shape=(len(columns), n_columns))
    matrix.has_canonical_format = True
    return matrix


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
    kind: ClassVar[str] = "input"
    n_inputs: ClassVar[int | None] = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", validate.shape("the input's shape", self.shape))

    @property
    def linear(self) -> bool:
        """The identity is linear."""
        return True

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


class UnknownOperatorError(ValueError):
    """Something was asked that depends on an operation the package does not know."""


@dataclass(frozen=True)
class Opaque(Operation):
    """An operation that the package does not know, named by its operator.

    It has shapes, and may read every input; its values, its matrix and whatever depends on them are refused.

    Examples
    --------
    >>> Opaque("NonMaxSuppression", (10, 4)).output_shape([(100, 4)])
    (10, 4)
    """

    operator: str
    shape: Shape
    kind: ClassVar[str] = "opaque"
    n_inputs: ClassVar[int | None] = None

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the shape that was given."""
        return self.shape

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Raise: the operator is unknown."""
        raise UnknownOperatorError(f"the operator {self.operator} is not known, so it cannot be evaluated")

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Raise: the operator is unknown."""
        raise UnknownOperatorError(f"the operator {self.operator} is not known, so it has no matrix")

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return every entry of every input if any output is marked."""
        return [np.full(shape, outputs.any()) for shape in input_shapes]


# --- entry by entry --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Elementwise(Operation):
    """A scalar function applied to every entry.

    Parameters
    ----------
    name : str
        One of `FUNCTIONS`, such as ``"relu"``, or any name where ``function`` is given. With neither, it stands for an
        arbitrary function: it has no values, but what holds for every function can still be decided.
    parameters : dict, optional
        The function's parameters, such as ``{"slope": 0.1}`` for ``"leaky_relu"``.
    function : callable, optional
        A function of arrays that replaces the named one; its slope is not known.

    Examples
    --------
    >>> import numpy as np
    >>> Elementwise("leaky_relu", {"slope": 0.1}).evaluate([np.array([[-2.0, 3.0]])])
    array([[-0.2,  3. ]])
    """

    name: str = "elementwise function"
    parameters: dict[str, float] = field(default_factory=dict)
    function: Callable[[Array], Array] | None = None
    kind: ClassVar[str] = "elementwise"

    def __post_init__(self) -> None:
        known = FUNCTIONS.get(self.name.lower())
        if known is None or self.function is not None:
            return
        unknown = self.parameters.keys() - known.defaults.keys()
        if unknown:
            raise ValueError(
                f"{self.name} has no parameter {', '.join(sorted(unknown))}; "
                f"it has {', '.join(known.defaults) or 'none'}"
            )
        object.__setattr__(self, "parameters", {**known.defaults, **self.parameters})

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.parameters.items())), self.function))

    @property
    def known(self) -> Function | None:
        """The named function, or None for a user's own or an arbitrary one."""
        return None if self.function is not None else FUNCTIONS.get(self.name.lower())

    @property
    def exact(self) -> bool:
        """Whether the function is piecewise linear."""
        return self.known is not None and self.known.piecewise_linear

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the input."""
        return input_shapes[0]

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return f(x)."""
        if self.function is not None:
            return self.function(inputs[0])
        if self.known is None:
            raise MissingWeightsError(f"{self.name!r} stands for any function, so it has no values; give function=")
        return self.known.value(inputs[0], **self.parameters)

    def slope(self, x: Array) -> Array:
        """Return f'(x)."""
        if self.known is None:
            raise MissingWeightsError(f"the slope of {self.name!r} is not known")
        return self.known.slope(x, **self.parameters)

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the marked entries themselves."""
        return [outputs]


def shrink(mask: Mask, shape: Shape) -> Mask:
    """Return which entries of an array of ``shape`` are broadcast to marked entries."""
    lead = mask.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and mask.shape[lead + i] != 1)
    return np.asarray(mask.any(axis=axes, keepdims=True)).reshape(shape)


def broadcast(input_shapes: Sequence[Shape], kind: str) -> Shape:
    """Return the shape to which the inputs broadcast."""
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


@dataclass(frozen=True, eq=False)
class Scale(Operation):
    """Multiplication by a constant array and addition of one: batch normalisation at inference, biases, constants.

    Parameters
    ----------
    scale, shift : array_like, "channel" or None
        Arrays that broadcast to a sample; a one-dimensional one has one entry per channel. ``"channel"`` stands for
        trained values, one per channel, that are absent; None for a factor of 1 or a term of 0.
    trained : bool
        Whether the constants are parameters.

    Examples
    --------
    >>> import numpy as np
    >>> Scale([1.0, 2.0], [0.0, 1.0]).evaluate([np.ones((1, 2, 3))])
    array([[[1., 1., 1.],
            [3., 3., 3.]]])
    """

    scale: Any = None
    shift: Any = None
    trained: bool = True
    kind: ClassVar[str] = "scale"

    def __post_init__(self) -> None:
        for name in ("scale", "shift"):
            value = getattr(self, name)
            if isinstance(value, str) and value != "channel":
                raise ValueError(f"{name}={value!r} is unknown; give an array, 'channel' or None")
            if value is not None and not isinstance(value, str):
                array = np.array(value)
                array.flags.writeable = False
                object.__setattr__(self, name, array)

    @property
    def linear(self) -> bool:
        """A scale and a shift are affine."""
        return True

    def spread(self, value: Any, shape: Shape) -> Array:
        """Return one of the two constants in a shape that broadcasts to a sample of ``shape``."""
        if isinstance(value, str):
            raise MissingWeightsError("the scale has no values; give arrays to evaluate it")
        array: Array = value
        return array.reshape(-1, *(1,) * (len(shape) - 1)) if array.ndim == 1 and len(shape) > 1 else array

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the broadcast shape of the input and the constants."""
        (shape,) = input_shapes
        shapes = [self.spread(v, shape).shape for v in (self.scale, self.shift) if isinstance(v, np.ndarray)]
        return broadcast([shape, *shapes], self.kind)

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return ``scale * x + shift``."""
        (x,) = inputs
        for value, apply in ((self.scale, np.multiply), (self.shift, np.add)):
            if value is not None:
                constant = self.spread(value, x.shape[1:])
                x = apply(x, constant.astype(x.dtype) if x.dtype.kind == "f" else constant)
        return x

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return the diagonal matrix of the scale, and the shift."""
        (shape,) = input_shapes
        out = self.output_shape(input_shapes)
        matrix = ones_matrix(broadcast_columns(shape, out), math.prod(shape), dtype)
        if self.scale is not None:
            matrix.data = np.broadcast_to(self.spread(self.scale, shape), out).ravel().astype(dtype or np.float64)
        shift = 0 if self.shift is None else self.spread(self.shift, shape)
        return matrix, np.broadcast_to(shift, out).ravel().astype(dtype or np.float64)

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the marked entries themselves."""
        return [shrink(outputs, input_shapes[0])]
