"""Networks of layers: sequences, residual blocks, and three named networks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from convmatrix import network as description
from convmatrix.display.tables import ShownAsTable, Table
from convmatrix.geometry import ConvGeometry
from convmatrix.network.architectures import architecture
from convmatrix.nn.convolution import Conv
from convmatrix.nn.elementwise import Activation, Dropout, ReLU, Tanh
from convmatrix.nn.layer import Layer, Rng, TrainingProduct, he_normal, lecun_uniform
from convmatrix.nn.linear import Dense, Pad
from convmatrix.nn.pooling import MaxPool, Subsample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import DTypeLike

    from convmatrix.arrays import Array
    from convmatrix.network import Node
    from convmatrix.nn.convolution import Method

T = TypeVar("T")


class Composite(Layer):
    """Base class of layers that consist of other layers, whose names are prefixed to the names of their arrays."""

    @property
    def parts(self) -> list[tuple[str, Layer]]:
        """The layers with their names."""
        raise NotImplementedError

    @property
    def parameters(self) -> dict[str, Array]:
        """The parameters of all layers, such as ``"0.weight"``."""
        return _prefixed((name, layer.parameters) for name, layer in self.parts)

    @property
    def gradients(self) -> dict[str, Array]:
        """The gradients of all layers."""
        return _prefixed((name, layer.gradients) for name, layer in self.parts)

    def generators(self) -> dict[str, np.random.Generator]:
        """Return the random generators of all layers."""
        return _prefixed((name, layer.generators()) for name, layer in self.parts)

    def state(self) -> dict[str, Array]:
        """Return the arrays of all layers."""
        return _prefixed((name, layer.state()) for name, layer in self.parts)

    def _require_distinct(self) -> None:
        """Raise ValueError if one layer object occurs twice, at any level."""
        seen: dict[int, str] = {}
        for name, layer in _descendants(self, ""):
            if id(layer) in seen:
                raise ValueError(
                    f"layers {seen[id(layer)]} and {name} are the same object, {layer!r}, but a layer saves a single "
                    "input for backward; create a second layer"
                )
            seen[id(layer)] = name


def _descendants(layer: Composite, prefix: str) -> Iterator[tuple[str, Layer]]:
    """Yield every layer inside a composite one, with its name."""
    for name, part in layer.parts:
        yield prefix + name, part
        if isinstance(part, Composite):
            yield from _descendants(part, f"{prefix}{name}.")


def _prefixed(parts: Iterable[tuple[str, dict[str, T]]]) -> dict[str, T]:
    return {f"{prefix}.{name}": value for prefix, values in parts for name, value in values.items()}


class Sequential(ShownAsTable, Composite):
    """Layers applied one after another.

    Parameters
    ----------
    layers : sequence of Layer
    input_shape : tuple of int, optional
        Shape of one sample; by default that of the first layer, if it has one.

    Attributes
    ----------
    layers : tuple of Layer
    parameters, gradients : dict
        Arrays of all layers, with keys ``"<position>.<name>"`` such as ``"0.weight"``.

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

    Functions of the package that take a network accept it, by means of `to_network`:

    >>> cm.counts.network_counts(network).total.parameters
    1490
    """

    def __init__(self, layers: Sequence[Layer], input_shape: tuple[int, ...] | None = None) -> None:
        if isinstance(layers, Layer):
            raise TypeError("layers must be one list, but is a single layer; write nn.Sequential([first, second, ...])")
        for place, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                kind = type(layer)
                raise TypeError(
                    f"layers[{place}] is a {kind.__name__} of {kind.__module__}, not a layer of convmatrix.nn; modules "
                    "of PyTorch are read by cm.Network.from_torch(module, input_shape)"
                )
        self.layers = tuple(layers)
        self._input_shape = input_shape
        self._require_distinct()
        self._require_shapes()

    def _require_shapes(self) -> None:
        """Raise ValueError if a layer does not accept the output of the layer before it."""
        shape = self._input_shape
        for place, layer in enumerate(self.layers):
            shape = layer.input_shape if shape is None else shape
            # A user-defined layer that does not override output_shape may return any shape.
            known = type(layer).output_shape is not Layer.output_shape or isinstance(layer, (Activation, Dropout))
            try:
                shape = layer.output_shape(shape) if shape is not None and known else None
            except ValueError as error:
                error.add_note(f"in layers[{place}] of a Sequential")
                raise

    @property
    def parts(self) -> list[tuple[str, Layer]]:
        """The layers with their positions."""
        return [(str(place), layer) for place, layer in enumerate(self.layers)]

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the output of the last layer."""
        for layer in self.layers:
            x = layer.forward(x, training=training)
        return x

    def backward(self, g: Array) -> Array:
        """Return dL/dx, going through the layers from last to first."""
        for layer in reversed(self.layers):
            g = layer.backward(g)
        return g

    def parameter_gradients(self, g: Array) -> None:
        """Set the gradients of all parameters, going back no further than the first layer with parameters."""
        first = next((place for place, layer in enumerate(self.layers) if layer.parameters), len(self.layers))
        for layer in reversed(self.layers[first + 1 :]):
            g = layer.backward(g)
        if first < len(self.layers):
            self.layers[first].parameter_gradients(g)

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of one sample: the given one, or that of the first layer."""
        return self.layers[0].input_shape if self._input_shape is None and self.layers else self._input_shape

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one output sample; raise ValueError if two layers do not fit together."""
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    def nodes(self, name: str, source: str, input_shape: tuple[int, ...]) -> list[Node]:
        """Return the nodes of all layers, named by their positions."""
        nodes: list[Node] = []
        for place, layer in self.parts:
            nodes += layer.nodes(f"{name}.{place}" if name else place, nodes[-1].name if nodes else source, input_shape)
            input_shape = layer.output_shape(input_shape)
        return nodes

    def products(self, input_shape: tuple[int, ...] | None = None) -> list[TrainingProduct]:
        """Return the products of a training step, forward through the layers and then backward.

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
        shape = self.require_shape(input_shape)
        forward: list[TrainingProduct] = []
        backward: list[TrainingProduct] = []
        for place, layer in self.parts:
            named = [p._replace(layer=f"{place} {p.layer}") for p in layer.products(shape)]
            forward += [p for p in named if p.step == "forward"]
            backward = [p for p in named if p.step != "forward"] + backward
            shape = layer.output_shape(shape)
        return forward + backward

    def __repr__(self) -> str:
        return f"Sequential([{', '.join(map(repr, self.layers))}])"

    def _table(self) -> Table:
        counts = [sum(array.size for array in layer.parameters.values()) for layer in self.layers]
        rows = [[name, repr(layer), f"{n:,}"] for (name, layer), n in zip(self.parts, counts, strict=True)]
        total = ["total", "", f"{sum(counts):,}"]
        title = f"{type(self).__name__}, {len(self.layers)} layers"
        return Table(title, [["name", "layer", "parameters"], *rows, total], left=2, totals=1)


class Residual(Composite):
    """A residual block, ``y = F(x) + S(x)``: layers with a shortcut around them (He, Zhang, Ren, Sun, CVPR 2016).

    Parameters
    ----------
    body : Layer
        F, often a `Sequential`.
    shortcut : Layer, optional
        S; by default the identity.

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
                raise TypeError(f"{name} is a {type(part).__name__}, not a layer")
        self.body = body
        self.shortcut = shortcut
        self._require_distinct()

    @property
    def parts(self) -> list[tuple[str, Layer]]:
        """The body, and the shortcut if it is a layer, with their names."""
        return [("body", self.body)] + ([("shortcut", self.shortcut)] if self.shortcut is not None else [])

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return F(x) + S(x)."""
        self.output_shape(x.shape[1:])
        y = self.body.forward(x, training=training)
        return y + (x if self.shortcut is None else self.shortcut.forward(x, training=training))

    def backward(self, g: Array) -> Array:
        """Return the sum of the gradients of both paths."""
        side = g if self.shortcut is None else self.shortcut.backward(g)
        return self.body.backward(g) + side

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the common output shape of body and shortcut; raise ValueError if they differ."""
        shape = self.body.output_shape(input_shape)
        side = input_shape if self.shortcut is None else self.shortcut.output_shape(input_shape)
        if tuple(shape) != tuple(side):
            raise ValueError(
                f"the body returns samples of shape {shape}, but the shortcut {side}; give a shortcut layer that "
                "changes the shape in the same way"
            )
        return shape

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of one sample, as for the body."""
        return self.body.input_shape

    def nodes(self, name: str, source: str, input_shape: tuple[int, ...]) -> list[Node]:
        """Return the nodes of body and shortcut, and of their sum."""
        prefix = f"{name}." if name else ""
        nodes, ends = [], []
        for part, layer in self.parts:
            branch = layer.nodes(f"{prefix}{part}", source, input_shape)
            nodes += branch
            ends.append(branch[-1].name if branch else source)
        if self.shortcut is None:
            ends.append(source)
        return [*nodes, description.Node(name or "sum", description.Addition(), tuple(ends))]

    def products(self, input_shape: tuple[int, ...] | None = None) -> list[TrainingProduct]:
        """Return the products of body and shortcut."""
        return [
            product._replace(layer=f"{name} {product.layer}")
            for name, part in self.parts
            for product in part.products(input_shape)
        ]

    def __repr__(self) -> str:
        return f"Residual({self.body!r}{'' if self.shortcut is None else f', {self.shortcut!r}'})"


# --- networks by name ------------------------------------------------------------------------------------------------


def lecun1989(
    *, classes: int = 10, method: Method = "unfold", dtype: DTypeLike = np.float32, rng: Rng = 0
) -> Sequential:
    """Return the network of LeCun et al., Backpropagation applied to handwritten zip code recognition, 1989.

    Neural Computation 1(4). Images are ``(1, 16, 16)`` in [-1, 1]; outputs are ten units of 1.7159 tanh(2x/3), trained
    by `SquaredError` towards 1 and -1. H1 has 12 maps of 8x8 and H2 has 12 maps of 4x4, both with 5x5 kernels of stride
    2 and a background of -1; H3 has 30 units. Kernels are shared, biases are not: 9,760 parameters in total. Initial
    weights are uniform in +-2.4 / fan-in.

    Two details are not published and were chosen here: of the 3 samples of background per axis, 1 is at the low end and
    2 are at the high end; and each map of H2 reads 8 of the 12 maps of H1: maps 0-3 read 0-7, 4-7 read 4-11, 8-11 read
    0-3 and 8-11.

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
    return _from_architecture("lecun1989", classes, -1.0, method, dtype, rng)


def lenet5(
    *, classes: int | None = 10, method: Method = "unfold", dtype: DTypeLike = np.float32, rng: Rng = 0
) -> Sequential:
    """Return LeNet-5: LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86(11), 1998, section II-B.

    Images are ``(1, 32, 32)``, in the paper with background -0.1 and foreground 1.175. C1, S2, C3 with its connection
    table, S4, C5 and F6 are each followed by 1.7159 tanh(2x/3): 60,000 parameters. Initial weights are uniform in
    +-2.4 / fan-in.

    The paper's output layer has no trained parameters: it returns the squared distances of F6 to ten fixed pictures of
    the digits. Here it is replaced by ten trained units (850 more parameters), meant for `SoftmaxCrossEntropy`.

    Parameters
    ----------
    classes : int or None
        Number of output units; with None the network ends with F6.
    method, dtype, rng
        As for `lecun1989`.

    Examples
    --------
    >>> sum(array.size for array in lenet5(classes=None).parameters.values())
    60000
    >>> lenet5().output_shape((1, 32, 32))
    (10,)
    """
    return _from_architecture("lenet5", classes, None, method, dtype, rng)


def _from_architecture(
    name: str, classes: int | None, background: float | None, method: Method, dtype: DTypeLike, rng: Rng
) -> Sequential:
    """Return the layers of a named architecture, each followed by LeCun's tanh, with initial weights.

    If a background is given, convolutions are padded with it instead of zeros. If the output of the architecture is not
    trained, it is replaced by plain trained units.
    """
    options: dict[str, Any] = {"initialiser": lecun_uniform, "dtype": dtype, "rng": np.random.default_rng(rng)}
    published = architecture(name)
    layers: list[Layer] = []
    for node in published.nodes[1:]:
        operation: Any = node.operation
        if node is published.nodes[-1]:
            if classes is not None:
                layers.append(Dense(operation.n_in, classes, **options))
            if not operation.trained:
                break
        elif isinstance(operation, description.Convolution):
            geometry = operation.geometry
            if background is not None:
                layers.append(Pad(geometry.padding, background))
                padded = layers[-1].output_shape(geometry.full_input_shape)[1:]
                geometry = replace(geometry, input_shape=padded, padding=((0, 0),) * len(padded))
            layers.append(Conv(geometry, bias=operation.bias, method=method, **options))
        elif isinstance(operation, description.Pooling):
            layers.append(Subsample(node.output_shape[0], operation.kernel_shape or 1, dtype=dtype))
        else:
            layers.append(Dense(operation.n_in, operation.n_out, **options))
        layers.append(Tanh(1.7159, 2 / 3))  # f(1) = 1 and f(-1) = -1
    return Sequential(layers, published.input_shape)


def small(
    input_shape: tuple[int, int, int] = (1, 8, 8),
    *,
    classes: int = 10,
    method: Method = "unfold",
    dtype: DTypeLike = np.float32,
    rng: Rng = 0,
) -> Sequential:
    """Return a small network: two 3x3 convolutions (8 and 16 maps) with ReLU and max-pooling, and a dense layer.

    Initial weights are drawn by `he_normal`. Outputs are meant for `SoftmaxCrossEntropy`.

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
    channels, *sizes = input_shape
    if min(sizes) < 4:
        raise ValueError(f"images must be at least 4 samples high and wide, but input_shape is {input_shape}")
    options: dict[str, Any] = {"initialiser": he_normal, "dtype": dtype, "rng": np.random.default_rng(rng)}
    layers: list[Layer] = []
    for maps in (8, 16):
        geometry = ConvGeometry(sizes, (3, 3), in_channels=channels, out_channels=maps, padding=1)
        layers += [Conv(geometry, method=method, **options), ReLU(), MaxPool(2)]
        channels, sizes = maps, [size // 2 for size in sizes]
    return Sequential([*layers, Dense(channels * sizes[0] * sizes[1], classes, **options)])
