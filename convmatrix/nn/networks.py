"""Named networks: the two that convolutional networks began with, and a small one to play with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.geometry import ConvGeometry
from convmatrix.nn.elementwise import ReLU, Tanh
from convmatrix.nn.initialisers import he_normal, lecun_uniform
from convmatrix.nn.linear import Conv, Dense
from convmatrix.nn.network import Sequential
from convmatrix.nn.padding import Pad
from convmatrix.nn.pooling import MaxPool, Subsample

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from convmatrix.nn.initialisers import Initialiser
    from convmatrix.nn.layer import Layer
    from convmatrix.nn.multiplication import Method

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
