"""Networks of layers: in sequence, around a shortcut, and the named ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from convmatrix.geometry import ConvGeometry
from convmatrix.nn.convolution import Conv, Method
from convmatrix.nn.elementwise import ReLU, Tanh
from convmatrix.nn.layer import Layer, Product
from convmatrix.nn.linear import Dense, Pad
from convmatrix.nn.optimisation import Initialiser, he_normal, lecun_uniform
from convmatrix.nn.pooling import MaxPool, Subsample

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

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


LENET5_C3: Final = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"


"""The maps of S2 that each map of C3 reads: LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86(11), 1998, table I."""


_SCALE: Final = 1.7159  # so that f(1) = 1 and f(-1) = -1


_SLOPE: Final = 2 / 3


def lecun1989(
    *, classes: int = 10, method: Method = "unfold", dtype: DTypeLike = np.float32, rng: int | np.random.Generator = 0
) -> Sequential:
    """Return the network of LeCun et al., Backpropagation applied to handwritten zip code recognition, 1989.

    Neural Computation 1(4). Images are ``(1, 16, 16)`` in [-1, 1], outputs ten units of 1.7159 tanh(2x/3), trained by
    `SquaredError` towards 1 and -1. H1 has 12 maps of 8x8, H2 12 maps of 4x4, both by 5x5 kernels with stride 2 over
    a background of -1; H3 has 30 units. Kernels are shared, biases are not: 9,760 parameters in all. Weights start
    uniform in +-2.4 / fan-in.

    Two details are not published and chosen here: of the 3 samples of background an axis 1 is in front and 2 behind;
    and each map of H2 reads 8 of the 12 maps of H1: maps 0-3 read 0-7, 4-7 read 4-11, 8-11 read 0-3 and 8-11.

    Parameters
    ----------
    classes : int
    method : {"unfold", "matrix"}
    dtype : dtype
        float32 or float64.
    rng : int or numpy.random.Generator

    Examples
    --------
    >>> network = lecun1989()
    >>> sum(array.size for array in network.parameters.values())
    9760
    """
    options, dense = _options(lecun_uniform, method, dtype, rng)
    background = [(1, 2), (1, 2)]
    return Sequential([
        Pad(background, -1.0),
        _conv((19, 19), 5, 1, 12, stride=2, bias="unit", **options),
        Tanh(_SCALE, _SLOPE),
        Pad(background, -1.0),
        _conv((11, 11), 5, 12, 12, stride=2, bias="unit", connections=lecun1989_h2(), **options),
        Tanh(_SCALE, _SLOPE),
        Dense(12 * 4 * 4, 30, **dense),
        Tanh(_SCALE, _SLOPE),
        Dense(30, classes, **dense),
        Tanh(_SCALE, _SLOPE),
    ])  # fmt: skip


def lecun1989_h2() -> NDArray[np.bool_]:
    """Return the table (H2 maps, H1 maps) of `lecun1989`: a guess, since it is not published.

    Examples
    --------
    >>> lecun1989_h2().sum(axis=1)
    array([8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8])
    """
    thirds = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]], dtype=bool)
    return np.kron(thirds, np.ones((4, 4), dtype=bool))


def lenet5(
    *,
    classes: int | None = 10,
    method: Method = "unfold",
    dtype: DTypeLike = np.float32,
    rng: int | np.random.Generator = 0,
) -> Sequential:
    """Return LeNet-5: LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86(11), 1998, section II-B.

    Images are ``(1, 32, 32)``, the paper's with background -0.1 and foreground 1.175. C1, S2, C3 with its connection
    table, S4, C5, F6, each through 1.7159 tanh(2x/3): 60,000 parameters. Weights start uniform in +-2.4 / fan-in.

    The paper's output layer has no trained parameters: the squared distances of F6 to ten fixed pictures of the digits.
    Here ten trained units take its place (850 more parameters), made for `SoftmaxCrossEntropy`.

    Parameters
    ----------
    classes : int or None
        Units of the output; with None the network ends with F6.
    method, dtype, rng
        As for `lecun1989`.

    Examples
    --------
    >>> sum(array.size for array in lenet5(classes=None).parameters.values())
    60000
    >>> lenet5().output_shape((1, 32, 32))
    (10,)
    """
    options, dense = _options(lecun_uniform, method, dtype, rng)
    table = np.array([[str(j) in row for j in range(6)] for row in LENET5_C3.split()])
    layers: list[Layer] = [
        _conv((32, 32), 5, 1, 6, **options),
        Tanh(_SCALE, _SLOPE),
        Subsample(6, dtype=dtype),
        Tanh(_SCALE, _SLOPE),
        _conv((14, 14), 5, 6, 16, connections=table, **options),
        Tanh(_SCALE, _SLOPE),
        Subsample(16, dtype=dtype),
        Tanh(_SCALE, _SLOPE),
        _conv((5, 5), 5, 16, 120, **options),
        Tanh(_SCALE, _SLOPE),
        Dense(120, 84, **dense),
        Tanh(_SCALE, _SLOPE),
    ]
    return Sequential(layers if classes is None else [*layers, Dense(84, classes, **dense)])


def small(
    input_shape: tuple[int, int, int] = (1, 8, 8),
    *,
    classes: int = 10,
    method: Method = "unfold",
    dtype: DTypeLike = np.float32,
    rng: int | np.random.Generator = 0,
) -> Sequential:
    """Return a small network for small images: two 3x3 convolutions (8 and 16 maps) with ReLU and max-pooling, a dense.

    Weights start as He, Zhang, Ren, Sun, ICCV 2015, eq. 10. Outputs are made for `SoftmaxCrossEntropy`.

    Parameters
    ----------
    input_shape : (channels, height, width)
        At least 4 samples high and wide.
    classes : int
    method, dtype, rng
        As for `lecun1989`.

    Examples
    --------
    >>> network = small()
    >>> network.output_shape((1, 8, 8)), sum(array.size for array in network.parameters.values())
    ((10,), 1898)
    """
    channels, height, width = input_shape
    if min(height, width) < 4:
        raise ValueError(f"images must be at least 4 samples high and wide, but input_shape is {input_shape}")
    options, dense = _options(he_normal, method, dtype, rng)
    half, quarter = (height // 2, width // 2), (height // 4, width // 4)
    return Sequential([
        _conv((height, width), 3, channels, 8, padding=1, **options),
        ReLU(),
        MaxPool(2),
        _conv(half, 3, 8, 16, padding=1, **options),
        ReLU(),
        MaxPool(2),
        Dense(16 * quarter[0] * quarter[1], classes, **dense),
    ])  # fmt: skip


def _options(
    initialiser: Initialiser, method: Method, dtype: DTypeLike, rng: int | np.random.Generator
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of convolution layers and of dense layers; all draw from one generator."""
    dense = {"initialiser": initialiser, "dtype": dtype, "rng": np.random.default_rng(rng)}
    return {**dense, "method": method}, dense


def _conv(shape: tuple[int, int], kernel: int, inputs: int, outputs: int, **options: Any) -> Conv:
    """Return a convolution layer of square kernels; options are the layer's or the geometry's."""
    own = {name: options.pop(name) for name in ("bias", "method", "dtype", "rng", "initialiser") if name in options}
    geometry = ConvGeometry(shape, (kernel, kernel), in_channels=inputs, out_channels=outputs, **options)
    return Conv(geometry, **own)
