"""Chains of convolutions: AlexNet and the VGG networks.

Sources: Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014 (AlexNet on one processor,
without groups); Simonyan, Zisserman, Very deep convolutional networks for large-scale image recognition, ICLR 2015,
Table 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyses.models.layers import Layers

if TYPE_CHECKING:
    from convmatrix.network import Network

VGG: Final = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions between poolings: configurations A, B, D and E."""


def alexnet(size: int = 224) -> Network:
    """Return AlexNet as described in 2014."""
    net = Layers(3, size, size)
    net.convolution(64, 11, 4, padding=2, bias=True)
    net.function("relu")
    net.pool(3, 2)
    net.convolution(192, 5, bias=True)
    net.function("relu")
    net.pool(3, 2)
    for channels in (384, 256, 256):
        net.convolution(channels, 3, bias=True)
        net.function("relu")
    net.pool(3, 2)
    return _classifier(net, "alexnet")


def vgg(depth: int, normalised: bool = False, size: int = 224) -> Network:
    """Return a VGG network of some depth, with batch normalisation or as published."""
    net = Layers(3, size, size)
    for channels, convolutions in zip((64, 128, 256, 512, 512), VGG[depth], strict=True):
        for _ in range(convolutions):
            net.convolution(channels, 3, bias=True)
            if normalised:
                net.batch_norm()
            else:
                net.function("relu")
        net.pool(2, 2)
    return _classifier(net, f"vgg{depth}{'_bn' * normalised}")


def _classifier(net: Layers, name: str) -> Network:
    for _ in range(2):
        net.dense(4096)
        net.function("relu")
    net.dense(1000)
    return net.network(name)
