"""What every layer of a network is: a forward map, its transpose applied to gradients, parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    Array = NDArray[Any]


class Product(NamedTuple):
    """One matrix product of a training step; see `Layer.products`.

    Attributes
    ----------
    layer : str
        The layer's name.
    step : str
        ``"forward"``, ``"input gradient"`` or ``"weight gradient"``.
    formula : str
        The product in symbols, such as ``"A @ X"``.
    shape : (int, int)
        Shape of the sparse matrix.
    nonzeros : int
        Its stored entries.
    multiply_adds : int
        Multiplications (and additions) of the product for one sample.
    """

    layer: str
    step: str
    formula: str
    shape: tuple[int, int]
    nonzeros: int
    multiply_adds: int


class Layer(ABC):
    """A layer of a network. Arrays are ``(batch, channels, *spatial)`` or ``(batch, units)``.

    Attributes
    ----------
    parameters : dict of str to array
        The trained arrays, by name. Optimisers change them in place.
    gradients : dict of str to array
        After `backward`, the gradient of the loss in each parameter, under the same names.
    """

    def __init__(self) -> None:
        self._parameters: dict[str, Array] = {}
        self._gradients: dict[str, Array] = {}

    @property
    def parameters(self) -> dict[str, Array]:
        """The trained arrays, by name."""
        return self._parameters

    @property
    def gradients(self) -> dict[str, Array]:
        """The gradients of the last `backward`, by name."""
        return self._gradients

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of one input sample, ``(channels, *spatial)``; None where the layer takes several."""
        return None

    @abstractmethod
    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the layer's output; what `backward` needs is remembered."""

    @abstractmethod
    def backward(self, g: Array) -> Array:
        """Return dL/dx for g = dL/dy at the last `forward`, and set `gradients`."""

    def parameter_gradients(self, g: Array) -> None:
        """Set `gradients` as `backward` does, without dL/dx, which the first layer of a network has no use for."""
        if self.parameters:
            self.backward(g)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one output sample for the shape of one input sample; raise where it does not fit."""
        return input_shape

    def reads(self, outputs: Array, input_shape: tuple[int, ...]) -> Array:
        """Return which inputs some outputs depend on, both as boolean arrays of one sample."""
        return outputs

    def products(self, input_shape: tuple[int, ...] | None = None) -> list[Product]:
        """Return the sparse matrix products of one training step; a layer that is not linear has none.

        Parameters
        ----------
        input_shape : tuple of int, optional
            Of one sample; needed where the layer takes several.
        """
        return []

    def generators(self) -> dict[str, np.random.Generator]:
        """Return the generators that the layer draws from, by name."""
        return {}

    def state(self) -> dict[str, Array]:
        """Return all arrays that make up the layer: its parameters, and what it has gathered beside them."""
        return dict(self.parameters)

    def load_state(self, state: dict[str, Array]) -> None:
        """Take over arrays that `state` returned, in place."""
        own = self.state()
        if own.keys() != state.keys():
            missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
            raise ValueError(f"{self!r}: the state does not fit: missing are {missing}, unknown are {extra}")
        for name, array in own.items():
            value = np.asarray(state[name])
            if value.shape != array.shape:
                raise ValueError(f"{self!r}: {name} has shape {array.shape}, but the state has {value.shape}")
            array[...] = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def batch_last(x: Array) -> Array:
    """View ``(batch, ...)`` as ``(..., batch)``, contiguous: the order in which a matrix multiplies a whole batch.

    Layers hand on arrays that lie in memory like this already, so that nothing is copied between them.
    """
    moved = np.moveaxis(x, 0, -1)
    if not x.flags.c_contiguous or moved.flags.c_contiguous or x.size < 2**16:
        return np.ascontiguousarray(moved)
    columns = x.reshape(len(x), -1)
    result = np.empty(columns.shape[::-1], dtype=x.dtype)
    # Samples are often powers of two apart, where a cache holds few of them: a part at a time is moved closer together.
    width = 512
    near = np.empty((len(x), width + 16), dtype=x.dtype)
    for start in range(0, len(result), width):
        count = min(width, len(result) - start)
        near[:, :count] = columns[:, start : start + count]
        result[start : start + count] = near[:, :count].T
    return result.reshape(moved.shape)


def batch_first(x: Array) -> Array:
    """View ``(..., batch)`` as ``(batch, ...)``."""
    return np.moveaxis(x, -1, 0)


def float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return a dtype that layers compute in; raise for others."""
    kind = np.dtype(dtype)
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype must be float32 or float64, but is {kind}")
    return kind


def real(layer: Layer, x: Array, dtype: np.dtype[Any] | None = None) -> Array:
    """Return a batch in a layer's dtype.

    A layer that has none keeps float32 and float64, and takes integers as float64.

    Raises
    ------
    TypeError
        Unless x holds real numbers.
    """
    if x.dtype.kind not in "fiu":
        raise TypeError(f"{layer!r} computes with real numbers, but was given {x.dtype}; convert the data to float32")
    if dtype is None:
        dtype = x.dtype if x.dtype.char in "fd" else np.dtype(np.float32 if x.dtype.char == "e" else np.float64)
    return x.astype(dtype, copy=False)


def check_sample(layer: Layer, sample: tuple[int, ...], expected: tuple[int, ...], meaning: str) -> None:
    """Raise unless samples have the shape that a layer takes."""
    if tuple(sample) != expected:
        raise ValueError(
            f"{layer!r} takes arrays (batch, {', '.join(map(str, expected))}), {meaning}, but was given samples of "
            f"shape {tuple(sample)}"
        )


T = TypeVar("T")


def remembered(layer: Layer, value: T | None) -> T:
    """Return what `forward` left for `backward`; raise where it was not called."""
    if value is None:
        raise RuntimeError(f"{layer!r} has nothing to go back through; call forward before backward")
    return value


def check_gradient(layer: Layer, g: Array, expected: tuple[int, ...]) -> None:
    """Raise unless g has the shape of the layer's last output, batch and all."""
    if g.shape != expected:
        raise ValueError(
            f"backward of {layer!r} takes dL/dy in the shape of its last output, {expected}, but was given {g.shape}"
        )
