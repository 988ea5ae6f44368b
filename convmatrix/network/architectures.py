"""Published architectures by name, each as the list of its nodes without weights, and networks from any description.

Activation functions, dropout and local response normalisation have neither parameters nor connections between units,
and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from convmatrix import options as validate
from convmatrix.geometry import ConvGeometry
from convmatrix.network.acyclic_graph import Network
from convmatrix.network.branches import Addition
from convmatrix.network.construction import Node
from convmatrix.network.entrywise import Scale
from convmatrix.network.operations import Input, Operation, Shape
from convmatrix.network.weighted import Convolution, FullyConnected
from convmatrix.network.windows import Pooling
from convmatrix.pattern import WeightPattern

LENET5_C3: Final = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"
"""The maps of S2 that each map of C3 reads: Table I of LeCun, Bottou, Bengio, Haffner (1998)."""

LECUN1989_H2: Final = (*[range(8)] * 4, *[range(4, 12)] * 4, *[(0, 1, 2, 3, 8, 9, 10, 11)] * 4)
"""The maps of H1 that each map of H2 reads. It is published that there are eight; which eight is a common guess."""


def _convolution(
    name: str, size: int, ins: int, outs: int, taps: int, bias: str | None = "channel", **options: Any
) -> Node:
    """Return a convolution of square images of a size."""
    geometry = ConvGeometry((size, size), (taps, taps), in_channels=ins, out_channels=outs, **options)
    return Node(name, Convolution(geometry, bias=bias))


def lecun1989() -> Network:
    """Return the network of LeCun et al., Backpropagation applied to handwritten zip code recognition (1989).

    Biases are not shared. Padding is three samples per axis in total; placing one of them at the low end is a choice.

    Examples
    --------
    >>> [node.output_shape for node in lecun1989()]
    [(1, 16, 16), (12, 8, 8), (12, 4, 4), (30,), (10,)]
    """
    table = [[j in maps for j in range(12)] for maps in LECUN1989_H2]
    halving: dict[str, Any] = {"stride": 2, "padding": [(1, 2), (1, 2)]}
    nodes = [
        Node("input", Input((1, 16, 16))),
        _convolution("H1", 16, 1, 12, 5, "unit", **halving),
        _convolution("H2", 8, 12, 12, 5, "unit", connections=np.array(table), **halving),
        Node("H3", FullyConnected(12 * 4 * 4, 30)),
        Node("output", FullyConnected(30, 10)),
    ]
    return Network(nodes, name="lecun1989")


def lenet5() -> Network:
    """Return LeNet-5 of LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition (1998).

    The radial basis functions of the output have fixed coefficients: connections, but no parameters.

    Examples
    --------
    >>> [node.name for node in lenet5()]
    ['input', 'C1', 'S2', 'C3', 'S4', 'C5', 'F6', 'output']
    """
    table = [[str(j) in maps for j in range(6)] for maps in LENET5_C3.split()]
    nodes = [
        Node("input", Input((1, 32, 32))),
        _convolution("C1", 32, 1, 6, 5),
        Node("S2", Pooling("sum", 2, trained=True)),
        _convolution("C3", 14, 6, 16, 5, connections=np.array(table)),
        Node("S4", Pooling("sum", 2, trained=True)),
        _convolution("C5", 5, 16, 120, 5),
        Node("F6", FullyConnected(120, 84)),
        Node("output", FullyConnected(84, 10, bias=False, trained=False)),
    ]
    return Network(nodes, name="lenet5")


def alexnet() -> Network:
    """Return the network of Krizhevsky, Sutskever, Hinton, ImageNet classification with deep convolutional ... (2012).

    Both halves are counted. The image is 227 wide: with the published 224 the first layer would not have size 55.

    Examples
    --------
    >>> alexnet()["conv1"].output_shape
    (96, 55, 55)
    """
    nodes = [
        Node("input", Input((3, 227, 227))),
        _convolution("conv1", 227, 3, 96, 11, stride=4),
        Node("pool1", Pooling("max", 3, 2)),
        _convolution("conv2", 27, 96, 256, 5, padding=2, groups=2),
        Node("pool2", Pooling("max", 3, 2)),
        _convolution("conv3", 13, 256, 384, 3, padding=1),
        _convolution("conv4", 13, 384, 384, 3, padding=1, groups=2),
        _convolution("conv5", 13, 384, 256, 3, padding=1, groups=2),
        Node("pool5", Pooling("max", 3, 2)),
        Node("fc6", FullyConnected(9216, 4096)),
        Node("fc7", FullyConnected(4096, 4096)),
        Node("fc8", FullyConnected(4096, 1000)),
    ]
    return Network(nodes, name="alexnet")


def vgg16() -> Network:
    """Return configuration D of Simonyan, Zisserman, Very deep convolutional networks ... (2015), at 224 x 224.

    Examples
    --------
    >>> vgg16()["pool5"].output_shape
    (512, 7, 7)
    """
    layers: list[Node] = [Node("input", Input((3, 224, 224)))]
    size, ins = 224, 3
    for block, (outs, depth) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], start=1):
        for place in range(1, depth + 1):
            layers.append(_convolution(f"conv{block}_{place}", size, ins, outs, 3, padding=1))
            ins = outs
        layers.append(Node(f"pool{block}", Pooling("max", 2)))
        size //= 2
    dense = [
        Node("fc6", FullyConnected(ins * size * size, 4096)),
        Node("fc7", FullyConnected(4096, 4096)),
        Node("fc8", FullyConnected(4096, 1000)),
    ]
    return Network([*layers, *dense], name="vgg16")


def resnet18() -> Network:
    """Return ResNet-18 of He, Zhang, Ren, Sun, Deep residual learning for image recognition (2016), at 224 x 224.

    Examples
    --------
    >>> resnet18()["fc"].input_shapes
    ((512, 1, 1),)
    """
    return _resnet("resnet18", (2, 2, 2, 2), bottleneck=False)


def resnet50() -> Network:
    """Return ResNet-50 of He et al. (2016), at 224 x 224, with the stride in the 3 x 3 layers as torchvision has it.

    Examples
    --------
    >>> resnet50()["fc"].input_shapes
    ((2048, 1, 1),)
    """
    return _resnet("resnet50", (3, 4, 6, 3), bottleneck=True)


def _resnet(name: str, depths: tuple[int, ...], *, bottleneck: bool) -> Network:
    nodes = [Node("input", Input((3, 224, 224)))]
    shape = _add_normalised(nodes, "conv1", (3, 224, 224), 64, taps=7, stride=2)
    nodes.append(Node("maxpool", Pooling("max", 3, 2, padding=1)))
    shape = (64, 56, 56)
    for stage, depth in enumerate(depths):
        for block in range(depth):
            stride = 2 if stage and not block else 1
            shape = _add_block(nodes, f"layer{stage + 1}.{block}", shape, 64 * 2**stage, stride, bottleneck)
    nodes += [Node("avgpool", Pooling("average", shape[1])), Node("fc", FullyConnected(shape[0], 1000))]
    return Network(nodes, name=name)


def _add_block(nodes: list[Node], name: str, shape: Shape, channels: int, stride: int, bottleneck: bool) -> Shape:
    """Append a residual block, a chain of convolutions with a shortcut added to its result; return its output shape."""
    source, source_shape = nodes[-1].name, shape
    outs = 4 * channels if bottleneck else channels
    taps_and_channels = [(1, channels), (3, channels), (1, outs)] if bottleneck else [(3, channels), (3, outs)]
    strided = 1 if bottleneck else 0
    for place, (taps, n) in enumerate(taps_and_channels):
        shape = _add_normalised(
            nodes, f"{name}.conv{place + 1}", shape, n, taps=taps, stride=stride if place == strided else 1
        )
    main, shortcut = nodes[-1].name, source
    if source_shape != shape:
        _add_normalised(nodes, f"{name}.downsample", source_shape, outs, taps=1, stride=stride, inputs=(source,))
        shortcut = nodes[-1].name
    nodes.append(Node(f"{name}.add", Addition(), (main, shortcut)))
    return shape


def _add_normalised(
    nodes: list[Node], name: str, shape: Shape, channels: int, *, taps: int, stride: int, inputs: tuple[str, ...] = ()
) -> Shape:
    """Append a convolution without bias and the normalisation of its output; return the output's shape."""
    layer = _convolution(name, shape[1], shape[0], channels, taps, None, stride=stride, padding=taps // 2)
    nodes += [replace(layer, inputs=inputs), Node(f"{name}.norm", Scale("channel", "channel"))]
    return layer.geometry.full_output_shape


ARCHITECTURES: Final[dict[str, Callable[[], Network]]] = {
    "lecun1989": lecun1989,
    "lenet5": lenet5,
    "alexnet": alexnet,
    "vgg16": vgg16,
    "resnet18": resnet18,
    "resnet50": resnet50,
}
"""The named architectures."""


def architecture(name: str) -> Network:
    """Return a named architecture; raise ValueError for an unknown name.

    Examples
    --------
    >>> architecture("alexnet")
    Network('alexnet', 12 nodes, (3, 227, 227) -> (1000,))
    """
    validate.one_of("network", name, ARCHITECTURES)
    return ARCHITECTURES[name]()


def as_network(network: Any) -> Network:
    """Return a network from anything that describes one.

    Parameters
    ----------
    network : Network, str, ConvGeometry, WeightPattern, or sequence
        A network itself; the name of an architecture (see `ARCHITECTURES`); one layer; a list of nodes, operations,
        geometries and patterns; or an object with a method ``to_network()``, such as `convmatrix.nn.Sequential`.

    Examples
    --------
    >>> as_network("vgg16").output_shape
    (1000,)
    """
    if isinstance(network, Network):
        return network
    if isinstance(network, str):
        return architecture(network)
    if hasattr(network, "to_network"):
        converted: Network = network.to_network()
        return converted
    if hasattr(network, "named_modules"):
        raise TypeError(
            f"{type(network).__name__} is a PyTorch module; read it with Network.from_torch(module, input_shape)"
        )
    if isinstance(network, ConvGeometry | WeightPattern | Node | Operation):
        return Network([network])
    if isinstance(network, Iterable):
        return Network(network)
    raise TypeError(
        "a network is a Network, the name of an architecture or a list of layers, but this is a "
        f"{type(network).__name__}"
    )
