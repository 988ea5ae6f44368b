"""Networks: layers in a row, and layers around a shortcut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from convmatrix.nn.layer import Layer, Product

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

T = TypeVar("T")


class Sequential(Layer):
    """Layers applied one after the other.

    Parameters
    ----------
    layers : sequence of Layer

    Attributes
    ----------
    layers : tuple of Layer
    parameters, gradients : dict
        Those of all layers, as ``"<place>.<name>"``, such as ``"0.weight"``.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> from convmatrix import nn
    >>> network = nn.Sequential([
    ...     nn.Conv(cm.ConvGeometry((8, 8), (3, 3), out_channels=4)), nn.ReLU(), nn.Dense(4 * 6 * 6, 10)])
    >>> network.forward(np.zeros((2, 1, 8, 8))).shape
    (2, 10)
    >>> sorted(network.parameters)
    ['0.bias', '0.weight', '2.bias', '2.weight']
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        for place, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layers[{place}] is a {type(layer).__name__}, which is no layer")
            earlier = next((i for i, other in enumerate(layers[:place]) if other is layer), None)
            if earlier is not None:
                raise ValueError(
                    f"layers[{place}] and layers[{earlier}] are the same object, {layer!r}, but a layer remembers one "
                    "input; make a second layer"
                )
        self.layers = tuple(layers)

    @property
    def parameters(self) -> dict[str, Array]:
        """Parameters of all layers."""
        return _joined((place, layer.parameters) for place, layer in enumerate(self.layers))

    @property
    def gradients(self) -> dict[str, Array]:
        """Gradients of all layers."""
        return _joined((place, layer.gradients) for place, layer in enumerate(self.layers))

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the output of the last layer."""
        for layer in self.layers:
            x = layer.forward(x, training=training)
        return x

    def backward(self, g: Array) -> Array:
        """Return dL/dx, going through the layers from the last to the first."""
        for layer in reversed(self.layers):
            g = layer.backward(g)
        return g

    def parameter_gradients(self, g: Array) -> None:
        """Set the gradients of all parameters; go back no further than to the first layer that has any."""
        first = next((place for place, layer in enumerate(self.layers) if layer.parameters), len(self.layers))
        for layer in reversed(self.layers[first + 1 :]):
            g = layer.backward(g)
        if first < len(self.layers):
            self.layers[first].parameter_gradients(g)

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The first layer's."""
        return self.layers[0].input_shape if self.layers else None

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one output sample; raises where two layers do not fit."""
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    def products(self, input_shape: tuple[int, ...] | None = None) -> list[Product]:
        """Return the products of a training step, forward through the layers and then backward.

        Parameters
        ----------
        input_shape : tuple of int, optional
            Of one sample; the first layer's by default.

        Examples
        --------
        >>> import convmatrix as cm
        >>> from convmatrix import nn
        >>> network = nn.Sequential([nn.Conv(cm.ConvGeometry(6, 3)), nn.ReLU(), nn.Dense(4, 2)])
        >>> for product in network.products():
        ...     print(product.layer, product.step, product.formula, product.shape)
        0 Conv forward W @ (U @ X) (12, 6)
        2 Dense forward W @ X (2, 4)
        2 Dense weight gradient G @ X.T (2, 4)
        2 Dense input gradient W.T @ G (2, 4)
        0 Conv weight gradient G @ (U @ X).T (12, 6)
        0 Conv input gradient U.T @ (W.T @ G) (12, 6)
        """
        input_shape = self.input_shape if input_shape is None else tuple(input_shape)
        if input_shape is None:
            raise ValueError("the first layer takes samples of several shapes; give input_shape=(channels, *spatial)")
        forward: list[Product] = []
        backward: list[Product] = []
        for place, layer in enumerate(self.layers):
            named = [p._replace(layer=f"{place} {p.layer}") for p in layer.products(input_shape)]
            forward += [p for p in named if p.step == "forward"]
            backward = [p for p in named if p.step != "forward"] + backward
            input_shape = layer.output_shape(input_shape)
        return forward + backward

    def reads(self, outputs: Array, input_shape: tuple[int, ...]) -> Array:
        """Return which inputs some outputs depend on, through all layers."""
        shapes = [tuple(input_shape)]
        for layer in self.layers[:-1]:
            shapes.append(tuple(layer.output_shape(shapes[-1])))
        for layer, shape in zip(reversed(self.layers), reversed(shapes), strict=True):
            outputs = layer.reads(outputs, shape)
        return outputs

    def generators(self) -> dict[str, np.random.Generator]:
        """Return the generators of all layers."""
        return _joined((place, layer.generators()) for place, layer in enumerate(self.layers))

    def state(self) -> dict[str, Array]:
        """Return the arrays of all layers."""
        return _joined((place, layer.state()) for place, layer in enumerate(self.layers))

    def __repr__(self) -> str:
        return f"Sequential([{', '.join(map(repr, self.layers))}])"


class Residual(Layer):
    """A shortcut around layers, ``y = F(x) + S(x)``: He, Zhang, Ren, Sun, CVPR 2016.

    Parameters
    ----------
    body : Layer
        F, often a `Sequential`.
    shortcut : Layer, optional
        S; the identity by default.

    Examples
    --------
    >>> import numpy as np
    >>> from convmatrix.nn import ReLU
    >>> Residual(ReLU()).forward(np.array([[-1.0, 2.0]]))
    array([[-1.,  4.]])
    """

    def __init__(self, body: Layer, shortcut: Layer | None = None) -> None:
        for name, part in (("body", body), ("shortcut", shortcut)):
            if not isinstance(part, Layer) and not (name == "shortcut" and part is None):
                raise TypeError(f"the {name} is a {type(part).__name__}, which is no layer")
        self.body = body
        self.shortcut = shortcut

    @property
    def parts(self) -> list[tuple[str, Layer]]:
        """The body, and the shortcut where it is a layer, with their names."""
        return [("body", self.body)] + ([("shortcut", self.shortcut)] if self.shortcut is not None else [])

    @property
    def parameters(self) -> dict[str, Array]:
        """Parameters of body and shortcut."""
        return _joined((name, part.parameters) for name, part in self.parts)

    @property
    def gradients(self) -> dict[str, Array]:
        """Gradients of body and shortcut."""
        return _joined((name, part.gradients) for name, part in self.parts)

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return F(x) + S(x)."""
        self.output_shape(x.shape[1:])
        y = self.body.forward(x, training=training)
        return y + (x if self.shortcut is None else self.shortcut.forward(x, training=training))

    def backward(self, g: Array) -> Array:
        """Return the sum of both paths' gradients."""
        side = g if self.shortcut is None else self.shortcut.backward(g)
        return self.body.backward(g) + side

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the body's, which the shortcut's must be too."""
        shape = self.body.output_shape(input_shape)
        side = input_shape if self.shortcut is None else self.shortcut.output_shape(input_shape)
        if tuple(shape) != tuple(side):
            raise ValueError(
                f"the body gives samples of shape {shape}, but the shortcut {side}; give a shortcut layer that changes "
                "the shape likewise"
            )
        return shape

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The body's."""
        return self.body.input_shape

    def products(self, input_shape: tuple[int, ...] | None = None) -> list[Product]:
        """Return those of body and shortcut."""
        return [
            product._replace(layer=f"{name} {product.layer}")
            for name, part in self.parts
            for product in part.products(input_shape)
        ]

    def reads(self, outputs: Array, input_shape: tuple[int, ...]) -> Array:
        """Return what body or shortcut read."""
        side = outputs if self.shortcut is None else self.shortcut.reads(outputs, input_shape)
        return np.asarray(self.body.reads(outputs, input_shape) | side)

    def generators(self) -> dict[str, np.random.Generator]:
        """Return the generators of body and shortcut."""
        return _joined((name, part.generators()) for name, part in self.parts)

    def state(self) -> dict[str, Array]:
        """Return the arrays of body and shortcut."""
        return _joined((name, part.state()) for name, part in self.parts)

    def __repr__(self) -> str:
        return f"Residual({self.body!r}{'' if self.shortcut is None else f', {self.shortcut!r}'})"


def _joined(parts: Iterable[tuple[Any, dict[str, T]]]) -> dict[str, T]:
    """Return the entries of several dicts, each name behind the name of its part."""
    return {f"{prefix}.{name}": array for prefix, arrays in parts for name, array in arrays.items()}
