"""Published architectures, each as the list of its layers.

Activation functions, dropout and local response normalisation have neither parameters nor connections between units,
and are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from convmatrix.counts.layers import Addition, Convolution, Dense, Input, NetworkLayer, Normalisation, Pooling
from convmatrix.geometry import ConvGeometry

Layers = list[NetworkLayer]

LENET5_C3: Final = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"
"""The maps of S2 that each map of C3 reads: Table I of LeCun, Bottou, Bengio, Haffner (1998)."""

LECUN1989_H2: Final = (*[range(8)] * 4, *[range(4, 12)] * 4, *[(0, 1, 2, 3, 8, 9, 10, 11)] * 4)
"""The maps of H1 that each map of H2 reads. That there are eight each is published; which ones is a common guess."""


def lecun1989() -> Layers:
    """Return the network of LeCun et al., Backpropagation applied to handwritten zip code recognition (1989).

    Biases are not shared. Padding is three samples an axis in all; that the low end has one of them is a choice.

    Examples
    --------
    >>> [layer.output_shape for layer in lecun1989()]
    [(1, 16, 16), (12, 8, 8), (12, 4, 4), (30,), (10,)]
    """
    table = [[j in maps for j in range(12)] for maps in LECUN1989_H2]
    padding = [(1, 2), (1, 2)]
    h1 = ConvGeometry((16, 16), (5, 5), out_channels=12, stride=2, padding=padding)
    h2 = ConvGeometry(
        (8, 8), (5, 5), in_channels=12, out_channels=12, stride=2, padding=padding, connections=np.array(table)
    )
    return [
        Input("input", (1, 16, 16)),
        Convolution("H1", h1, "unit"),
        Convolution("H2", h2, "unit"),
        Dense("H3", 12 * 4 * 4, 30),
        Dense("output", 30, 10),
    ]


def lenet5() -> Layers:
    """Return LeNet-5 of LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition (1998).

    The radial basis functions of the output have fixed coefficients: connections, but no parameters.

    Examples
    --------
    >>> [layer.name for layer in lenet5()]
    ['input', 'C1', 'S2', 'C3', 'S4', 'C5', 'F6', 'output']
    """
    table = [[str(j) in maps for j in range(6)] for maps in LENET5_C3.split()]
    return [
        Input("input", (1, 32, 32)),
        Convolution("C1", ConvGeometry((32, 32), (5, 5), out_channels=6)),
        Pooling("S2", (6, 28, 28), 2, trained=True),
        Convolution("C3", ConvGeometry((14, 14), (5, 5), in_channels=6, out_channels=16, connections=np.array(table))),
        Pooling("S4", (16, 10, 10), 2, trained=True),
        Convolution("C5", ConvGeometry((5, 5), (5, 5), in_channels=16, out_channels=120)),
        Dense("F6", 120, 84),
        Dense("output", 84, 10, bias=False, trained=False),
    ]


def alexnet() -> Layers:
    """Return the network of Krizhevsky, Sutskever, Hinton, ImageNet classification with deep convolutional ... (2012).

    Both halves are counted. The image is 227 wide: with the printed 224 the first layer would not come out at 55.

    Examples
    --------
    >>> alexnet()[1].output_shape
    (96, 55, 55)
    """

    def convolution(name: str, size: int, ins: int, outs: int, taps: int, groups: int) -> Convolution:
        geometry = ConvGeometry(
            (size, size), (taps, taps), in_channels=ins, out_channels=outs, padding=taps // 2, groups=groups
        )
        return Convolution(name, geometry)

    return [
        Input("input", (3, 227, 227)),
        Convolution("conv1", ConvGeometry((227, 227), (11, 11), in_channels=3, out_channels=96, stride=4)),
        Pooling("pool1", (96, 55, 55), 3, 2),
        convolution("conv2", 27, 96, 256, 5, groups=2),
        Pooling("pool2", (256, 27, 27), 3, 2),
        convolution("conv3", 13, 256, 384, 3, groups=1),
        convolution("conv4", 13, 384, 384, 3, groups=2),
        convolution("conv5", 13, 384, 256, 3, groups=2),
        Pooling("pool5", (256, 13, 13), 3, 2),
        Dense("fc6", 9216, 4096),
        Dense("fc7", 4096, 4096),
        Dense("fc8", 4096, 1000),
    ]


def vgg16() -> Layers:
    """Return configuration D of Simonyan, Zisserman, Very deep convolutional networks ... (2015), at 224 x 224.

    Examples
    --------
    >>> vgg16()[-4].output_shape
    (512, 7, 7)
    """
    layers: Layers = [Input("input", (3, 224, 224))]
    size, ins = 224, 3
    for block, (outs, depth) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], start=1):
        for place in range(1, depth + 1):
            geometry = ConvGeometry((size, size), (3, 3), in_channels=ins, out_channels=outs, padding=1)
            layers.append(Convolution(f"conv{block}_{place}", geometry))
            ins = outs
        layers.append(Pooling(f"pool{block}", (outs, size, size), 2))
        size //= 2
    return [*layers, Dense("fc6", ins * size * size, 4096), Dense("fc7", 4096, 4096), Dense("fc8", 4096, 1000)]


def resnet18() -> Layers:
    """Return ResNet-18 of He, Zhang, Ren, Sun, Deep residual learning for image recognition (2016), at 224 x 224.

    Examples
    --------
    >>> resnet18()[-1].input_shape
    (512,)
    """
    return _resnet((2, 2, 2, 2), bottleneck=False)


def resnet50() -> Layers:
    """Return ResNet-50 of He et al. (2016), at 224 x 224, with the stride in the 3 x 3 layers as torchvision has it.

    Examples
    --------
    >>> resnet50()[-1].input_shape
    (2048,)
    """
    return _resnet((3, 4, 6, 3), bottleneck=True)


def _resnet(depths: tuple[int, ...], *, bottleneck: bool) -> Layers:
    stem = ConvGeometry((224, 224), (7, 7), in_channels=3, out_channels=64, stride=2, padding=3)
    layers: Layers = [Input("input", (3, 224, 224)), *_normalised("conv1", stem)]
    layers.append(Pooling("maxpool", (64, 112, 112), 3, 2, padding=1))
    for stage, depth in enumerate(depths):
        for block in range(depth):
            _add_block(layers, f"layer{stage + 1}.{block}", 64 * 2**stage, 2 if stage and not block else 1, bottleneck)
    channels, *sizes = layers[-1].output_shape
    return [*layers, Pooling("avgpool", (channels, *sizes), sizes[0]), Dense("fc", channels, 1000)]


def _add_block(layers: Layers, name: str, channels: int, stride: int, bottleneck: bool) -> None:
    """Append a residual block: convolutions in a row, beside a shortcut that is added to their result."""
    source = layers[-1]
    outs = 4 * channels if bottleneck else channels
    taps_and_channels = [(1, channels), (3, channels), (1, outs)] if bottleneck else [(3, channels), (3, outs)]
    strided = 1 if bottleneck else 0
    shape = source.output_shape
    for place, (taps, n) in enumerate(taps_and_channels):
        geometry = _square(shape, n, taps, stride if place == strided else 1)
        layers += _normalised(f"{name}.conv{place + 1}", geometry, () if place else (source.name,))
        shape = layers[-1].output_shape
    main, shortcut = layers[-1].name, source.name
    if source.output_shape != shape:
        layers += _normalised(f"{name}.downsample", _square(source.output_shape, outs, 1, stride), (source.name,))
        shortcut = layers[-1].name
    layers.append(Addition(f"{name}.add", shape, (main, shortcut)))


def _square(shape: tuple[int, ...], channels: int, taps: int, stride: int) -> ConvGeometry:
    ins, *sizes = shape
    return ConvGeometry(sizes, (taps, taps), in_channels=ins, out_channels=channels, stride=stride, padding=taps // 2)


def _normalised(name: str, geometry: ConvGeometry, sources: tuple[str, ...] = ()) -> Layers:
    """Return a convolution without bias, and the batch normalisation of its output."""
    convolution = Convolution(name, geometry, None, sources)
    return [convolution, Normalisation(f"{name}.norm", convolution.output_shape)]


NETWORKS: Final[dict[str, Callable[[], Layers]]] = {
    "lecun1989": lecun1989,
    "lenet5": lenet5,
    "alexnet": alexnet,
    "vgg16": vgg16,
    "resnet18": resnet18,
    "resnet50": resnet50,
}
"""The named networks of `network_counts`."""
