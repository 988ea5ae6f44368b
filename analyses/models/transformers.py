"""Vision transformers, and the convolutional networks that follow their design: ViT, Swin, ConvNeXt.

Sources: Dosovitskiy et al., An image is worth 16 x 16 words, ICLR 2021, Table 1; Liu et al., Swin transformer, ICCV
2021; Liu et al., A ConvNet for the 2020s, CVPR 2022.

The numbers that Swin adds to the scores of two tokens depend on their offset alone, so they are tied as the weights of
a convolution are: here they are an index pattern applied to a constant. The mask that keeps tokens from both ends of a
shifted image apart has no trained numbers and is left out.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from analyses.models.layers import Layers
from convmatrix import WeightPattern
from convmatrix.network import (
    MatrixProduct,
    Network,
    PatternMap,
    Scale,
    Softmax,
    gather,
    pad,
    reshape,
    take,
    transpose,
)

VITS: Final = {
    # layers, heads, channels, inner channels of the perceptron
    "b": (12, 12, 768, 3072),
    "l": (24, 16, 1024, 4096),
    "h": (32, 16, 1280, 5120),
}

SWINS: Final = {
    # channels, heads of the first stage, blocks
    "t": (96, 3, (2, 2, 6, 2)),
    "s": (96, 3, (2, 2, 18, 2)),
    "b": (128, 4, (2, 2, 18, 2)),
}

CONVNEXTS: Final = {
    # channels of the first stage, blocks
    "tiny": (96, (3, 3, 9, 3)),
    "small": (96, (3, 3, 27, 3)),
    "base": (128, (3, 3, 27, 3)),
    "large": (192, (3, 3, 27, 3)),
}

Offsets = np.ndarray[Any, Any]


def attention(net: Layers, heads: int, offsets: Offsets | None = None) -> None:
    """Append the attention of tokens (windows, tokens, channels) within each window (Vaswani et al., 2017).

    ``offsets`` numbers the trained constants that are added to the scores of the pairs of tokens, for every head.
    """
    windows, tokens, channels = net.shape()
    size = (windows, heads, tokens, channels // heads)
    net.dense(3 * channels, flatten=False)
    net.add(reshape((windows, tokens, 3, heads, size[-1])))
    parts = net.add(transpose((2, 0, 3, 1, 4)))
    query, key, value = (net.add(reshape(size), net.add(take(0, n, n + 1), parts)) for n in range(3))
    net.add(MatrixProduct(), query, net.add(transpose((0, 1, 3, 2)), key))
    scores = net.add(Scale(np.float64(size[-1] ** -0.5), None, trained=False))
    if offsets is not None:
        net.sum(scores, _tied_constants(net, heads, offsets))
    weights = net.add(Softmax())
    net.add(MatrixProduct(), weights, value)
    net.add(transpose((0, 2, 1, 3)))
    net.add(reshape((windows, tokens, channels)))
    net.dense(channels, flatten=False)


def _tied_constants(net: Layers, heads: int, offsets: Offsets) -> str:
    """Append trained constants (heads, tokens, tokens), one per head and offset: a pattern that reads a constant 1."""
    n = int(offsets.max()) + 1
    index = (np.arange(heads)[:, None] * n + offsets.ravel()).ravel()
    rows, cols = np.arange(index.size), np.zeros(index.size, dtype=np.int64)
    pattern = WeightPattern.from_triplets((index.size, 1), rows, cols, index, heads * n)
    one = net.add(pad([(-size, 1) for size in net.shape("input")], value=1.0), "input")
    return net.add(PatternMap(pattern, shape=(heads, *offsets.shape)), one)


def _perceptron(net: Layers, inner: int) -> None:
    """Append two layers along the last axis with a function between them."""
    channels = net.shape()[-1]
    net.dense(inner, flatten=False)
    net.function("gelu")
    net.dense(channels, flatten=False)


def vit(variant: str, patch: int, size: int = 224) -> Network:
    """Return a vision transformer on patches of some size."""
    layers, heads, channels, inner = VITS[variant]
    n = size // patch
    net = Layers(3, size, size)
    net.convolution(channels, patch, patch, padding=0, bias=True)
    net.add(reshape((channels, n * n)))
    patches = net.add(transpose((1, 0)))
    net.add(pad([(-n * n, 1), (0, 0)]))  # one row of zeros, to which the trained class token is added
    token = net.add(Scale(None, np.zeros((1, channels))))
    net.join(token, patches)
    net.add(Scale(None, np.zeros((n * n + 1, channels))))  # trained positions
    net.add(reshape((1, n * n + 1, channels)))
    for _ in range(layers):
        source = net.last
        net.layer_norm()
        attention(net, heads)
        source = net.sum(source, net.last)
        net.layer_norm()
        _perceptron(net, inner)
        net.sum(source, net.last)
    net.layer_norm()
    net.add(take(1, 0, 1))
    net.dense(1000)
    return net.network(f"vit_{variant}_{patch}")


def swin(variant: str, size: int = 224, window: int = 7) -> Network:
    """Return a Swin transformer: attention within windows, which are shifted by half a window in every other block."""
    channels, heads, depths = SWINS[variant]
    net = Layers(3, size, size)
    net.convolution(channels, 4, 4, padding=0, bias=True)
    net.add(transpose((1, 2, 0)))
    net.layer_norm()
    for stage, depth in enumerate(depths):
        if stage:
            _merge(net)
        for block in range(depth):
            _swin_block(net, heads * 2**stage, window, shifted=block % 2 == 1)
    net.layer_norm()
    net.add(transpose((2, 0, 1)))
    net.classify()
    return net.network(f"swin_{variant}")


def _merge(net: Layers) -> None:
    """Append the joined channels of 2 x 2 neighbours, normalised and mapped to half as many."""
    rows, columns, channels = net.shape()
    net.add(reshape((rows // 2, 2, columns // 2, 2, channels)))
    net.add(transpose((0, 2, 3, 1, 4)))
    net.add(reshape((rows // 2, columns // 2, 4 * channels)))
    net.layer_norm()
    net.dense(2 * channels, bias=False, flatten=False)


def _swin_block(net: Layers, heads: int, window: int, *, shifted: bool) -> None:
    n, _, channels = net.shape()
    source, m, cells = net.last, n // window, (n // window) ** 2
    shift = window // 2 if shifted and m > 1 else 0
    net.layer_norm()
    _roll(net, shift)
    net.add(reshape((m, window, m, window, channels)))
    net.add(transpose((0, 2, 1, 3, 4)))
    net.add(reshape((cells, window**2, channels)))
    places = np.arange(window**2)
    down, across = (p[:, None] - p + window - 1 for p in np.divmod(places, window))
    attention(net, heads, down * (2 * window - 1) + across)
    net.add(reshape((m, m, window, window, channels)))
    net.add(transpose((0, 2, 1, 3, 4)))
    net.add(reshape((n, n, channels)))
    _roll(net, -shift)
    source = net.sum(source, net.last)
    net.layer_norm()
    _perceptron(net, 4 * channels)
    net.sum(source, net.last)


def _roll(net: Layers, shift: int) -> None:
    """Append a cyclic shift of rows and columns."""
    if shift:
        n = net.shape()[0]
        for axis in range(2):
            net.add(gather(axis, [(i + shift) % n for i in range(n)]))


def convnext(variant: str, size: int = 224) -> Network:
    """Return a ConvNeXt."""
    channels, depths = CONVNEXTS[variant]
    net = Layers(3, size, size)
    net.convolution(channels, 4, 4, padding=0, bias=True)
    net.layer_norm(0)
    for stage, depth in enumerate(depths):
        outs = channels * 2**stage
        if stage:
            net.layer_norm(0)
            net.convolution(outs, 2, 2, padding=0, bias=True)
        for _ in range(depth):
            source = net.last
            net.convolution(outs, 7, groups=outs, bias=True)
            net.layer_norm(0)
            net.convolution(4 * outs, 1, bias=True)
            net.function("gelu")
            net.convolution(outs, 1, bias=True)
            net.add(Scale("channel", None))
            net.sum(source, net.last)
    net.average()
    net.layer_norm(0)
    net.dense(1000)
    return net.network(f"convnext_{variant}")
