"""Operations entry by entry: elementwise functions, rectifiers with trained slopes, scales and shifts."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final

import numpy as np

from convmatrix import options as validate
from convmatrix.network.boxes import Box, Boxes, box_shape, broadcast_box, sum_broadcast, whole
from convmatrix.network.functions import FUNCTIONS, Function
from convmatrix.network.operations import (
    Array,
    Mask,
    MissingWeightsError,
    Operation,
    Shape,
    align,
    broadcast,
    broadcast_columns,
    lift,
    like,
    real_array,
    selection_matrix,
    shrink,
)

_OF_INTEGERS: Final = ("abs", "clip", "identity", "relu", "square")  # whose values at integers are integers


class Broadcasting(Operation):
    """Base class of operations that combine entries at the same place, with NumPy's broadcasting."""

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the shape to which the inputs broadcast."""
        return broadcast(input_shapes, self.kind)

    def read_boxes(self, box: Box, input_shapes: Sequence[Shape]) -> list[Box]:
        """Return the box itself for every input, without the axes that are broadcast."""
        return [broadcast_box(box, shape) for shape in input_shapes]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the marked entries of every input."""
        return [shrink(outputs, shape) for shape in input_shapes]


class WithFactors(Broadcasting):
    """Base class of broadcasting operations whose derivative multiplies the entries of each input by factors."""

    @abstractmethod
    def factors(self, inputs: Sequence[Array], box: Box) -> list[Array]:
        """Return, for each input, the derivative of every output in a box by the entry that it reads."""

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return the sum over the inputs of the factors times the tangents."""
        factors = self.factors(inputs, whole(self.output_shape([x.shape for x in inputs])))
        terms = (t * factor for t, factor in zip(align(tangents), factors, strict=True))
        return reduce(np.add, terms)

    def local_cotangent(self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Boxes) -> list[Array]:
        """Return the factors in the box times the cotangents, summed where an input is broadcast."""
        pairs = zip(self.factors(inputs, box), input_boxes, strict=True)
        return [sum_broadcast(cotangents * factor, box_shape(part)) for factor, part in pairs]


@dataclass(frozen=True)
class Elementwise(WithFactors):
    """A scalar function applied to every entry.

    Parameters
    ----------
    name : str
        One of `FUNCTIONS`, such as ``"relu"``, or any name if ``function`` is given. With neither, it stands for an
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
    kind = "elementwise"

    def __post_init__(self) -> None:
        validate.instance("name", self.name, str, "give the name of a function, such as 'relu'")
        validate.instance("parameters", self.parameters, Mapping, "give a value by the name of each parameter")
        if self.function is not None and not callable(self.function):
            raise TypeError(f"function must be a function of arrays, but is {validate.described(self.function)}")
        known = self.known
        if known is None:
            return
        unknown = self.parameters.keys() - known.defaults.keys()
        if unknown:
            raise ValueError(
                f"{self.name} has no parameter {', '.join(sorted(unknown))}; "
                f"it has {', '.join(known.defaults) or 'none'}"
            )
        values = {name: validate.real(name, value) for name, value in {**known.defaults, **self.parameters}.items()}
        object.__setattr__(self, "parameters", values)

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

    def exact_at(self, inputs: Sequence[Array]) -> bool:
        """Return whether the function is affine near every entry."""
        if self.exact or self.known is None:
            return self.exact
        low, high = self.known.curved
        return not bool(((inputs[0] > low) & (inputs[0] < high)).any())

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return f(x)."""
        (x,) = inputs
        if self.function is not None:
            y = np.asarray(self.function(x))
            if y.shape != x.shape:
                raise ValueError(
                    f"the function {self.name!r} maps shape {x.shape} to {y.shape}; it must keep the shape"
                )
            return y.astype(x.dtype, copy=False) if x.dtype.kind == "f" else y
        if self.known is None:
            raise MissingWeightsError(f"{self.name!r} stands for any function, so it has no values; give function=")
        if x.dtype.kind != "f" and self.name.lower() not in _OF_INTEGERS:
            x = x.astype(np.float64)
        return self.known.value(x, **self.parameters)

    def slope(self, x: Array) -> Array:
        """Return f'(x)."""
        if self.known is None:
            raise MissingWeightsError(f"the slope of {self.name!r} is not known")
        return self.known.slope(x if x.dtype.kind == "f" else x.astype(np.float64), **self.parameters)

    def factors(self, inputs: Sequence[Array], box: Box) -> list[Array]:
        """Return the slopes in the box."""
        return [self.slope(inputs[0][box])]


@dataclass(frozen=True, eq=False)
class ParametricReLU(WithFactors):
    """The maximum of x and 0 plus a trained slope times their minimum (He, Zhang, Ren, Sun, 2015).

    Parameters
    ----------
    slope : array_like
        Broadcasts to a sample; a one-dimensional one has one entry per channel.

    Examples
    --------
    >>> import numpy as np
    >>> ParametricReLU([0.1, 0.5]).evaluate([np.array([[[4.0, -4.0], [4.0, -4.0]]])])
    array([[[ 4. , -0.4],
            [ 4. , -2. ]]])
    """

    slope: Any
    kind = "parametric relu"
    exact = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope", real_array("slope", self.slope))

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the input."""
        (shape,) = input_shapes
        if broadcast([shape, spread(self.slope, shape).shape], self.kind) != shape:
            raise ValueError(f"slopes of shape {self.slope.shape} do not broadcast to a sample of shape {shape}")
        return shape

    def _slopes(self, x: Array) -> Array:
        """Return the slope at each entry of a batch."""
        slope = like(spread(self.slope, x.shape[1:]), x)
        return np.where(x > 0, x.dtype.type(1), slope)

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return ``max(x, 0) + slope * min(x, 0)``."""
        (x,) = inputs
        return x * self._slopes(x)

    def factors(self, inputs: Sequence[Array], box: Box) -> list[Array]:
        """Return the slopes in the box."""
        return [self._slopes(inputs[0][None])[0][box]]


def spread(array: Array, shape: Shape) -> Array:
    """Return a constant in a shape that broadcasts to a sample: a vector has one entry per channel."""
    return array.reshape(-1, *(1,) * (len(shape) - 1)) if array.ndim == 1 and len(shape) > 1 else array


@dataclass(frozen=True, eq=False)
class Scale(Broadcasting):
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
    kind = "scale"
    linear = True

    def __post_init__(self) -> None:
        for name in ("scale", "shift"):
            value = getattr(self, name)
            if isinstance(value, str) and value != "channel":
                raise ValueError(f"{name}={value!r} is unknown; give an array, 'channel' or None")
            if value is not None and not isinstance(value, str):
                object.__setattr__(self, name, real_array(name, value, "biuf"))

    def spread(self, value: Any, shape: Shape) -> Array:
        """Return one of the two constants in a shape that broadcasts to a sample of ``shape``."""
        if isinstance(value, str):
            raise MissingWeightsError("the scale has no values; give arrays to evaluate it")
        return spread(value, shape)

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the broadcast shape of the input and the constants."""
        (shape,) = input_shapes
        shapes = [self.spread(v, shape).shape for v in (self.scale, self.shift) if isinstance(v, np.ndarray)]
        return broadcast([shape, *shapes], self.kind)

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return ``scale * x + shift``."""
        (x,) = inputs
        out = self.output_shape([x.shape[1:]])
        y = lift(x, len(out))
        if self.scale is not None:
            y = y * np.broadcast_to(like(self.spread(self.scale, x.shape[1:]), x), out)
        if self.shift is not None:
            shift = like(self.spread(self.shift, x.shape[1:]), x)
            in_place = self.scale is not None and y.dtype.kind == "f"
            y = np.add(y, shift, out=y if in_place else None)
        return y

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return the diagonal matrix of the scale, and the shift."""
        (shape,) = input_shapes
        out = self.output_shape(input_shapes)
        matrix = selection_matrix(broadcast_columns(shape, out), math.prod(shape), dtype)
        if self.scale is not None:
            matrix.data = np.broadcast_to(self.spread(self.scale, shape), out).ravel().astype(dtype or np.float64)
        shift = 0 if self.shift is None else self.spread(self.shift, shape)
        return matrix, np.broadcast_to(shift, out).ravel().astype(dtype or np.float64)

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return ``scale * t`` for each tangent t."""
        (t,), (shape,) = tangents, [x.shape for x in inputs]
        out = self.output_shape([shape])
        scale = np.ones(1, t.dtype) if self.scale is None else like(self.spread(self.scale, shape), t)
        return np.asarray(lift(t, len(out)) * np.broadcast_to(scale, out))

    def local_cotangent(self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Boxes) -> list[Array]:
        """Return the product with the scale in the box."""
        shape = inputs[0].shape
        if self.scale is not None:
            out = self.output_shape([shape])
            cotangents = cotangents * np.broadcast_to(like(self.spread(self.scale, shape), cotangents), out)[box]
        return [sum_broadcast(cotangents, box_shape(input_boxes[0]))]
