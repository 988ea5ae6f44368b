"""Base classes of layers, with a forward pass, a backward pass, parameters and matrix products; initial weights."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from convmatrix import memory
from convmatrix.arrays import Array, refuse_masked
from convmatrix.network import Input, Network, Node, Opaque

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from convmatrix.network import Operation
    from convmatrix.pattern import WeightPattern
    from convmatrix.progress import Progress
    from convmatrix.report import Report

Initialiser = Callable[[tuple[int, ...], int, int, np.random.Generator], Array]
"""A function of ``(shape, fan_in, fan_out, rng)`` that returns initial weights in float64."""

Rng = int | np.random.Generator
T = TypeVar("T")


class TrainingProduct(NamedTuple):
    """One sparse matrix product of a training step, also called ``Product``; see `Layer.products`.

    Attributes
    ----------
    layer : str
        Name of the layer.
    step : str
        ``"forward"``, ``"input gradient"`` or ``"weight gradient"``.
    formula : str
        The product in symbols, such as ``"A @ X"``.
    shape : (int, int)
        Shape of the sparse matrix.
    nonzeros : int
        Number of stored entries of the matrix.
    multiply_adds : int
        Number of multiplications (and of additions) per sample.
    """

    layer: str
    step: str
    formula: str
    shape: tuple[int, int]
    nonzeros: int
    multiply_adds: int


Product = TrainingProduct


class Layer(ABC):
    """Base class of all layers. Arrays are ``(batch, channels, *spatial)`` or ``(batch, units)``.

    A layer saves what `backward` needs of the last `forward`, so one object must not be used by several threads at
    once; give each thread a copy (`copy.deepcopy`). Copies share nothing.

    Attributes
    ----------
    parameters : dict of str to array
        The trained arrays, by name. Optimisers modify them in place.
    gradients : dict of str to array
        After `backward`, the gradient of the loss with respect to each parameter, under the same names.
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
        """The gradients set by the last `backward`, by name."""
        return self._gradients

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of one input sample, ``(channels, *spatial)``; None if the layer accepts several shapes."""
        return None

    @abstractmethod
    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the output for a batch, and save what `backward` needs."""

    @abstractmethod
    def backward(self, g: Array) -> Array:
        """Return dL/dx for g = dL/dy at the last `forward`, and set `gradients`."""

    def parameter_gradients(self, g: Array) -> None:
        """Set `gradients` as `backward` does, without computing dL/dx (not needed for a network's first layer)."""
        if self.parameters:
            self.backward(g)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one output sample; raise ValueError if the input's shape does not fit."""
        return input_shape

    def operation(self, input_shape: tuple[int, ...]) -> Operation:
        """Return the layer at inference, with its current weights, as an operation of a `convmatrix.Network`.

        A layer that does not override this method becomes an opaque operation.
        """
        return Opaque(type(self).__name__, self.output_shape(input_shape))

    def nodes(self, name: str, source: str, input_shape: tuple[int, ...]) -> list[Node]:
        """Return the layer as nodes of a network; they read the node ``source``, and the last one is the output.

        ``name`` is the position of the layer in the network, such as ``"2.body"``; it is empty for the network itself.
        """
        return [Node(name or "output", self.operation(input_shape), (source,))]

    def to_network(self, input_shape: tuple[int, ...] | None = None) -> Network:
        """Return the layer at inference, with its current weights, as a `convmatrix.Network`.

        Functions that take a network, such as `convmatrix.counts.network_counts`, call this method.

        Parameters
        ----------
        input_shape : tuple of int, optional
            Shape of one sample; required if the layer accepts several shapes.

        Examples
        --------
        >>> from convmatrix import nn
        >>> nn.Sequential([nn.Dense(3, 2), nn.ReLU()]).to_network()
        Network('Sequential', 3 nodes, (3,) -> (2,))
        """
        shape = self.require_shape(input_shape)
        return Network([Node("input", Input(shape)), *self.nodes("", "input", shape)], name=type(self).__name__)

    def report(
        self,
        input_shape: tuple[int, ...] | None = None,
        *,
        norms: bool = False,
        dtype: DTypeLike = np.float64,
        progress: Progress = None,
    ) -> Report:
        """Return a report on the nodes of the layer: shapes, counts and totals; see `convmatrix.Network.report`.

        Parameters
        ----------
        input_shape
            As for `to_network`.
        norms, dtype, progress
            As for `convmatrix.Network.report`.

        Examples
        --------
        >>> from convmatrix import nn
        >>> nn.Sequential([nn.Dense(3, 2), nn.ReLU()]).report().total["parameters"]
        8
        """
        return self.to_network(input_shape).report(norms, dtype, progress)

    def require_shape(self, input_shape: tuple[int, ...] | None) -> tuple[int, ...]:
        """Return the given shape of one sample, or else that of the layer; raise ValueError if the layer has none."""
        shape = self.input_shape if input_shape is None else tuple(input_shape)
        if shape is None:
            raise ValueError(f"{self!r} accepts samples of several shapes; give input_shape=(channels, *spatial)")
        return shape

    def products(self, input_shape: tuple[int, ...] | None = None) -> list[TrainingProduct]:
        """Return the sparse matrix products of one training step; none for a nonlinear layer.

        The shape of one sample is required if the layer accepts several shapes.
        """
        return []

    def generators(self) -> dict[str, np.random.Generator]:
        """Return the random generators of the layer, by name."""
        return {}

    def state(self) -> dict[str, Array]:
        """Return all arrays that define the layer: its parameters, and any running statistics."""
        return dict(self.parameters)

    def load_state(self, state: dict[str, Array]) -> None:
        """Copy the arrays of a `state` into the layer, in place.

        Raises
        ------
        ValueError
            If names or shapes differ, or the arrays are not real numbers. In this case nothing is changed.
        """
        own = self.state()
        if own.keys() != state.keys():
            missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
            raise ValueError(f"the state does not fit {self!r}: missing names {missing}, unknown names {extra}")
        values = {name: np.asarray(array) for name, array in state.items()}
        for name, array in own.items():
            if values[name].shape != array.shape:
                raise ValueError(f"{self!r}: {name} has shape {array.shape}, but the state has {values[name].shape}")
            if values[name].dtype.kind not in "fiu":
                raise ValueError(f"{self!r}: {name} holds real numbers, but the state has dtype {values[name].dtype}")
        for name, array in own.items():
            array[...] = values[name]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def batch_last(x: Array) -> Array:
    """Return ``(batch, ...)`` as a contiguous array ``(..., batch)``, the order in which matrices multiply batches.

    Arrays returned by layers already have this memory layout, so no copy is made between layers.
    """
    moved = np.moveaxis(x, 0, -1)
    if not x.flags.c_contiguous or moved.flags.c_contiguous or x.size < 2**16:
        return np.ascontiguousarray(moved)
    columns = x.reshape(len(x), -1)
    result = np.empty(columns.shape[::-1], dtype=x.dtype)
    # Samples are often a power of two apart, and few such addresses fit in the cache: copy blocks to a padded buffer.
    width = 512
    buffer = np.empty((len(x), width + 16), dtype=x.dtype)
    for start in range(0, len(result), width):
        count = min(width, len(result) - start)
        buffer[:, :count] = columns[:, start : start + count]
        result[start : start + count] = buffer[:, :count].T
    return result.reshape(moved.shape)


def batch_first(x: Array) -> Array:
    """Return a view ``(batch, ...)`` of ``(..., batch)``."""
    return np.moveaxis(x, -1, 0)


def float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return a dtype in which layers compute; raise TypeError unless it is float32 or float64."""
    kind = np.dtype(dtype)
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype must be float32 or float64, but is {kind}")
    return kind


def as_real(layer: Layer, x: Array, dtype: np.dtype[Any] | None = None) -> Array:
    """Return a batch of real numbers in a layer's dtype; raise TypeError for other numbers and masked arrays.

    Without a dtype, float32 and float64 are kept, float16 becomes float32, and integers become float64.
    """
    refuse_masked("x", x)
    if x.dtype.kind not in "fiu":
        raise TypeError(f"{layer!r} computes with real numbers, but x has dtype {x.dtype}; convert it to float32")
    if dtype is None:
        dtype = x.dtype if x.dtype.char in "fd" else np.dtype(np.float32 if x.dtype.char == "e" else np.float64)
    return x.astype(dtype, copy=False)


def check_sample(layer: Layer, sample: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise ValueError unless samples have the shape that a layer accepts."""
    if tuple(sample) != expected:
        raise ValueError(
            f"{layer!r} accepts arrays of shape (batch, {', '.join(map(str, expected))}), but got samples of shape "
            f"{tuple(sample)}"
        )


def saved(layer: Layer, value: T | None) -> T:
    """Return a value that `forward` saved for `backward`; raise RuntimeError if there is none."""
    if value is None:
        raise RuntimeError(f"backward of {layer!r} was called before forward; call forward first")
    return value


def real_gradient(layer: Layer, g: Array, expected: tuple[int, ...], dtype: np.dtype[Any] | None = None) -> Array:
    """Return g as `as_real` does; raise ValueError unless it has the shape of the layer's last output."""
    if g.shape != expected:
        raise ValueError(f"g must have the shape of the last output of {layer!r}, {expected}, but has shape {g.shape}")
    return as_real(layer, g, dtype)


# --- initial weights -------------------------------------------------------------------------------------------------


def lecun_uniform(shape: tuple[int, ...], fan_in: int, fan_out: int, rng: np.random.Generator) -> Array:
    """Return weights drawn uniformly from ``[-2.4 / fan_in, 2.4 / fan_in]``: LeCun et al., Neural Comput. 1(4), 1989.

    Examples
    --------
    >>> import numpy as np
    >>> bool(abs(lecun_uniform((5, 5), 25, 25, np.random.default_rng(0))).max() <= 2.4 / 25)
    True
    """
    return rng.uniform(-2.4 / fan_in, 2.4 / fan_in, shape)


def glorot_uniform(shape: tuple[int, ...], fan_in: int, fan_out: int, rng: np.random.Generator) -> Array:
    """Return weights drawn uniformly with variance ``2 / (fan_in + fan_out)``: Glorot and Bengio, AISTATS 2010, eq. 16.

    Examples
    --------
    >>> import numpy as np
    >>> print(f"{glorot_uniform((1000, 100), 30, 20, np.random.default_rng(0)).var():.2f}")  # 2 / 50
    0.04
    """
    bound = math.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-bound, bound, shape)


def he_normal(shape: tuple[int, ...], fan_in: int, fan_out: int, rng: np.random.Generator) -> Array:
    """Return weights drawn normally with variance ``2 / fan_in``: He, Zhang, Ren, Sun, ICCV 2015, eq. 10.

    Examples
    --------
    >>> import numpy as np
    >>> print(f"{he_normal((1000, 100), 50, 20, np.random.default_rng(0)).var():.2f}")  # 2 / 50
    0.04
    """
    return rng.normal(0.0, math.sqrt(2 / fan_in), shape)


# --- linear layers ---------------------------------------------------------------------------------------------------


class LinearLayer(Layer):
    """Base class of linear layers with trained weights and, possibly, a bias: y = A(w) x + b."""

    multiplication: Any  # with the methods of `MatrixMultiplication`

    def _initialise(
        self,
        initialiser: Initialiser,
        shape: tuple[int, ...],
        fans: tuple[int, int],
        bias: tuple[int, ...] | None,
        dtype: DTypeLike,
        rng: Rng,
    ) -> None:
        """Draw weights with a shape, and set biases with a shape to zero."""
        kind = float_dtype(dtype)
        self._require_memory(shape, bias)
        self.parameters["weight"] = initialiser(shape, *fans, np.random.default_rng(rng)).astype(kind)
        if bias is not None:
            self.parameters["bias"] = np.zeros(bias, dtype=kind)
        self._input: Array | None = None

    def _require_memory(self, shape: tuple[int, ...], bias: tuple[int, ...] | None) -> None:
        """Raise an error if weights of a shape, drawn in double precision, and biases do not fit in memory."""
        memory.require(
            12 * (math.prod(shape) + math.prod(bias or (0,))),
            f"{type(self).__name__} with {' x '.join(map(str, shape))} weights",
            "use fewer channels, units or taps",
        )

    @abstractmethod
    def pattern(self) -> WeightPattern:
        """Return the layer's pattern."""

    def matrix(self) -> Any:
        """Return the matrix A(w) for the current weights."""
        return self.pattern().matrix(self.parameters["weight"])

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return A(w) x + b for each sample of a batch."""
        self.output_shape(x.shape[1:])
        weight = self.parameters["weight"]
        self._input = batch_last(as_real(self, x, weight.dtype))
        y = self.multiplication.forward(weight, self._input)
        if "bias" in self.parameters:
            bias = self.parameters["bias"]
            y += bias.reshape(bias.shape + (1,) * (y.ndim - bias.ndim))
        return batch_first(y)

    def backward(self, g: Array) -> Array:
        """Return A(w)^T g, and set the gradients of weight and bias."""
        cotangent = self._set_gradients(g)
        back = self.multiplication.input_gradient(self.parameters["weight"], cotangent)
        return batch_first(back.reshape(saved(self, self._input).shape))

    def parameter_gradients(self, g: Array) -> None:
        """Set the gradients of weight and bias only."""
        self._set_gradients(g)

    def _set_gradients(self, g: Array) -> Array:
        """Set the gradients of weight and bias; return g with the batch last."""
        x = saved(self, self._input)
        cotangent = batch_last(real_gradient(self, g, (x.shape[-1], *self.output_shape(x.shape[:-1])), x.dtype))
        self.gradients["weight"] = self.multiplication.weight_gradient(x, cotangent)
        if "bias" in self.parameters:
            kept = self.parameters["bias"].ndim
            self.gradients["bias"] = cotangent.reshape(*cotangent.shape[:kept], -1).sum(axis=-1)
        return cotangent

    def products(self, input_shape: tuple[int, ...] | None = None) -> list[TrainingProduct]:
        """Return the three products of a training step."""
        products: list[TrainingProduct] = self.multiplication.products(type(self).__name__)
        return products
