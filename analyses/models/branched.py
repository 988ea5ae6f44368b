"""Networks of parallel branches that are joined: SqueezeNet, DenseNet, GoogLeNet, Inception v3.

Sources: Iandola et al., SqueezeNet, 2016, and version 1.1 in the authors' repository; Huang et al., Densely connected
convolutional networks, CVPR 2017; Szegedy et al., Going deeper with convolutions, CVPR 2015; Szegedy et al.,
Rethinking the Inception architecture for computer vision, CVPR 2016.

Two departures from the papers are those of the published weights: GoogLeNet has batch normalisation, and 3 x 3 in place
of the 5 x 5 convolutions; the auxiliary classifier of Inception v3 is counted among the parameters, but as it is used
in training alone, not among the multiply-adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyses.models.layers import Layers

if TYPE_CHECKING:
    from convmatrix.network import Network

DENSENETS: Final = {
    # channels at first, channels that a layer adds, layers of the blocks
    121: (64, 32, (6, 12, 24, 16)),
    161: (96, 48, (6, 12, 36, 24)),
    169: (64, 32, (6, 12, 32, 32)),
    201: (64, 32, (6, 12, 48, 32)),
}

GOOGLENET: Final = (
    # 1 x 1 | 1 x 1, 3 x 3 | 1 x 1, 3 x 3 in place of 5 x 5 | after pooling; None for a pooling
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    None,
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    None,
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)


# --- SqueezeNet ------------------------------------------------------------------------------------------------------


def squeezenet(version: str, size: int = 224) -> Network:
    """Return SqueezeNet 1.0 or 1.1."""
    net = Layers(3, size, size)
    early = version == "1_0"
    net.convolution(96 if early else 64, 7 if early else 3, 2, padding=0, bias=True)
    net.function("relu")
    net.pool(3, 2, ceil=True)
    for number, inner in enumerate((16, 16, 32, 32, 48, 48, 64, 64), start=2):  # the fire modules are 2 to 9
        if number in ((5, 9) if early else (4, 6)):
            net.pool(3, 2, ceil=True)
        _fire(net, inner)
    net.convolution(1000, 1, bias=True)
    net.function("relu")
    net.average()
    return net.network(f"squeezenet{version}")


def _fire(net: Layers, inner: int) -> None:
    net.convolution(inner, 1, bias=True)
    squeezed = net.function("relu")
    ends = []
    for taps in (1, 3):
        net.convolution(4 * inner, taps, bias=True, source=squeezed)
        ends.append(net.function("relu"))
    net.join(*ends)


# --- DenseNet --------------------------------------------------------------------------------------------------------


def densenet(depth: int, size: int = 224) -> Network:
    """Return a densely connected network: every layer of a block reads all layers before it."""
    channels, growth, blocks = DENSENETS[depth]
    net = Layers(3, size, size)
    net.normalised(channels, 7, 2)
    net.pool(3, 2, 1)
    for number, layers in enumerate(blocks):
        if number:
            net.batch_norm()
            net.convolution(net.shape()[0] // 2, 1)
            net.average(2)
        for _ in range(layers):
            source = net.last
            net.batch_norm()
            net.normalised(4 * growth, 1)
            net.join(source, net.convolution(growth, 3))
    net.batch_norm()
    net.classify()
    return net.network(f"densenet{depth}")


# --- GoogLeNet and Inception v3 --------------------------------------------------------------------------------------

Step = tuple[int, int | tuple[int, int]] | tuple[int, int | tuple[int, int], int]
"""Channels and taps of a convolution; one without padding has its stride as well."""


def _run(net: Layers, source: str, *steps: Step) -> str:
    """Append normalised convolutions one after the other; return the name of the last."""
    for channels, taps, *strides in steps:
        stride, padding = (strides[0], 0) if strides else (1, None)
        source = net.normalised(channels, taps, stride, padding=padding, source=source)
    return source


def googlenet(size: int = 224) -> Network:
    """Return GoogLeNet, without its auxiliary classifiers."""
    net = Layers(3, size, size)
    net.normalised(64, 7, 2)
    net.pool(3, 2, ceil=True)
    _run(net, net.last, (64, 1), (192, 3))
    net.pool(3, 2, ceil=True)
    for module in GOOGLENET:
        if module is None:
            net.pool(2 if net.shape()[0] > 800 else 3, 2, ceil=True)
            continue
        plain, inner3, outer3, inner5, outer5, pooled = module
        source = net.last
        net.join(
            _run(net, source, (plain, 1)),
            _run(net, source, (inner3, 1), (outer3, 3)),
            _run(net, source, (inner5, 1), (outer5, 3)),
            _run(net, net.pool(3, 1, 1, source=source), (pooled, 1)),
        )
    net.classify()
    return net.network("googlenet")


def inception_v3(size: int = 299) -> Network:
    """Return Inception v3; the auxiliary classifier is its second output."""
    net = Layers(3, size, size)
    _run(net, net.last, (32, 3, 2), (32, 3, 1), (64, 3))
    net.pool(3, 2)
    _run(net, net.last, (80, 1), (192, 3, 1))
    net.pool(3, 2)
    for pooled in (32, 64, 64):
        source = net.last
        net.join(
            _run(net, source, (64, 1)),
            _run(net, source, (48, 1), (64, 5)),
            _run(net, source, (64, 1), (96, 3), (96, 3)),
            _run(net, net.average(3, 1, 1, source), (pooled, 1)),
        )
    source = net.last
    net.join(
        _run(net, source, (384, 3, 2)), _run(net, source, (64, 1), (96, 3), (96, 3, 2)), net.pool(3, 2, source=source)
    )
    for inner in (128, 160, 160, 192):
        source = net.last
        net.join(
            _run(net, source, (192, 1)),
            _run(net, source, (inner, 1), (inner, (1, 7)), (192, (7, 1))),
            _run(net, source, (inner, 1), *((inner, taps) for taps in ((7, 1), (1, 7), (7, 1))), (192, (1, 7))),
            _run(net, net.average(3, 1, 1, source), (192, 1)),
        )
    source = net.last
    _run(net, net.average(5, 3, source=source), (128, 1), (768, 5, 1))
    net.average()
    auxiliary = net.dense(1000)
    net.join(
        _run(net, source, (192, 1), (320, 3, 2)),
        _run(net, source, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2)),
        net.pool(3, 2, source=source),
    )
    for _ in range(2):
        source = net.last
        short, long = _run(net, source, (384, 1)), _run(net, source, (448, 1), (384, 3))
        ends = [_run(net, end, (384, taps)) for end in (short, long) for taps in ((1, 3), (3, 1))]
        net.join(_run(net, source, (320, 1)), *ends, _run(net, net.average(3, 1, 1, source), (192, 1)))
    return net.network("inception_v3", net.classify(), auxiliary)
