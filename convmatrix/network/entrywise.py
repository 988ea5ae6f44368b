"""Operations entry by entry: elementwise functions, rectifiers with trained slopes, scales and shifts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import options as validate
from convmatrix.network.boxes import Box, box_shape, broadcast_box, sum_broadcast
from convmatrix.network.functions import FUNCTIONS, Function
from convmatrix.network.operations import (
    MissingWeightsError,
    Operation,
    Shape,
    broadcast,
    broadcast_columns,
    frozen_array,
    like,
    selection_matrix,
    shrink,
)

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.network.operations import Mask

_OF_INTEGERS: Final = ("abs", "clip", "identity", "relu", "square")  # whose values at integers are integers


@dataclass(frozen=True)
class Elementwise(Operation):
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
        known = self.known
        if known is None:
            return
        unknown = self.parameters.keys() - known.defaults.keys()
        if unknown:
            raise ValueError(
                f"{self.name} has no parameter {', '.join(sorted(unknown))}; "
                f"it has {', '.join(known.defaults) or 'none'}"
            )
        values = {name: float(value) for name, value in {**known.defaults, **self.parameters}.items()}
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

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the input."""
        return input_shapes[0]

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

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return ``f'(x) t`` for each tangent t."""
        return tangents[0] * self.slope(inputs[0])

    def read_boxes(self, box: Box, input_shapes: Sequence[Shape]) -> list[Box]:
        """Return the box itself."""
        return [box]

    def local_cotangent(
        self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Sequence[Box]
    ) -> list[Array]:
        """Return the product with the slopes in the box."""
        return [cotangents * self.slope(inputs[0][box])]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the marked entries themselves."""
        return [outputs]


@dataclass(frozen=True, eq=False)
class ParametricReLU(Operation):
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope", frozen_array(self.slope))

    @property
    def exact(self) -> bool:
        """The function is piecewise linear."""
        return True

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

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return the slopes times the tangents."""
        return tangents[0] * self._slopes(inputs[0][None])

    def read_boxes(self, box: Box, input_shapes: Sequence[Shape]) -> list[Box]:
        """Return the box itself."""
        return [box]

    def local_cotangent(
        self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Sequence[Box]
    ) -> list[Array]:
        """Return the slopes in the box times the cotangents."""
        return [cotangents * self._slopes(inputs[0][None])[0][box]]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the marked entries themselves."""
        return [outputs]


def spread(array: Array, shape: Shape) -> Array:
    """Return a constant in a shape that broadcasts to a sample: a vector has one entry per channel."""
    return array.reshape(-1, *(1,) * (len(shape) - 1)) if array.ndim == 1 and len(shape) > 1 else array


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
    kind = "scale"
    linear = True

    def __post_init__(self) -> None:
        for name in ("scale", "shift"):
            value = getattr(self, name)
            if isinstance(value, str) and value != "channel":
                raise ValueError(f"{name}={value!r} is unknown; give an array, 'channel' or None")
            object.__setattr__(self, name, frozen_array(value))

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
        y = x.reshape(len(x), *(1,) * (len(out) + 1 - x.ndim), *x.shape[1:])
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
        spread = t.reshape(len(t), *(1,) * (len(out) - len(shape)), *shape)
        scale = np.ones(1, t.dtype) if self.scale is None else like(self.spread(self.scale, shape), t)
        return np.asarray(spread * np.broadcast_to(scale, out))

    def read_boxes(self, box: Box, input_shapes: Sequence[Shape]) -> list[Box]:
        """Return the box itself, without the axes that are broadcast."""
        return [broadcast_box(box, input_shapes[0])]

    def local_cotangent(
        self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Sequence[Box]
    ) -> list[Array]:
        """Return the product with the scale in the box."""
        shape = inputs[0].shape
        if self.scale is not None:
            out = self.output_shape([shape])
            cotangents = cotangents * np.broadcast_to(like(self.spread(self.scale, shape), cotangents), out)[box]
        return [sum_broadcast(cotangents, box_shape(input_boxes[0]))]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the marked entries themselves."""
        return [shrink(outputs, input_shapes[0])]
