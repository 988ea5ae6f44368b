"""Networks of depthwise convolutions for small machines: MobileNet, ShuffleNet v2, MNASNet, EfficientNet.

Sources: Sandler et al., MobileNetV2, CVPR 2018, Table 2; Howard et al., Searching for MobileNetV3, ICCV 2019, Tables 1
and 2; Ma et al., ShuffleNet V2, ECCV 2018, Table 5; Tan et al., MnasNet, CVPR 2019, Fig. 7 without squeeze and
excitation; Tan, Le, EfficientNet, ICML 2019, Table 1; Tan, Le, EfficientNetV2, ICML 2021, Table 4.
"""

from __future__ import annotations

import math
from typing import Final

from analyses.models.layers import Layers, divisible
from convmatrix.network import Network, channel_shuffle, take


def _inverted(
    net: Layers,
    expanded: int,
    channels: int,
    taps: int,
    stride: int,
    function: str,
    *,
    squeezed: int = 0,
    gates: tuple[str, str] = ("relu", "sigmoid"),
) -> None:
    """Append an inverted residual: expand, convolve depthwise, gate if wanted, project, add."""
    source = net.last
    if expanded != net.shape()[0]:
        net.normalised(expanded, 1, function=function)
    net.depthwise(taps, stride, function)
    if squeezed:
        net.squeeze_excite(squeezed, *gates)
    net.normalised(channels, 1, function="")
    if net.shape() == net.shape(source):
        net.sum(source, net.last)


# --- MobileNet -------------------------------------------------------------------------------------------------------

MOBILENET_V2: Final = (
    # factor of expansion, channels, blocks, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

MOBILENET_V3: Final = {
    # taps, expanded channels, channels, squeeze and excitation, hard swish in place of ReLU, stride
    "large": (
        (3, 16, 16, 0, 0, 1),
        (3, 64, 24, 0, 0, 2),
        (3, 72, 24, 0, 0, 1),
        (5, 72, 40, 1, 0, 2),
        (5, 120, 40, 1, 0, 1),
        (5, 120, 40, 1, 0, 1),
        (3, 240, 80, 0, 1, 2),
        (3, 200, 80, 0, 1, 1),
        (3, 184, 80, 0, 1, 1),
        (3, 184, 80, 0, 1, 1),
        (3, 480, 112, 1, 1, 1),
        (3, 672, 112, 1, 1, 1),
        (5, 672, 160, 1, 1, 2),
        (5, 960, 160, 1, 1, 1),
        (5, 960, 160, 1, 1, 1),
    ),
    "small": (
        (3, 16, 16, 1, 0, 2),
        (3, 72, 24, 0, 0, 2),
        (3, 88, 24, 0, 0, 1),
        (5, 96, 40, 1, 1, 2),
        (5, 240, 40, 1, 1, 1),
        (5, 240, 40, 1, 1, 1),
        (5, 120, 48, 1, 1, 1),
        (5, 144, 48, 1, 1, 1),
        (5, 288, 96, 1, 1, 2),
        (5, 576, 96, 1, 1, 1),
        (5, 576, 96, 1, 1, 1),
    ),
}


def mobilenet_v2(size: int = 224) -> Network:
    """Return MobileNetV2."""
    net = Layers(3, size, size)
    net.normalised(32, 3, 2, "clip")
    for factor, channels, blocks, stride in MOBILENET_V2:
        for block in range(blocks):
            _inverted(net, factor * net.shape()[0], channels, 3, 1 if block else stride, "clip")
    net.normalised(1280, 1, function="clip")
    net.classify()
    return net.network("mobilenet_v2")


def mobilenet_v3(variant: str, size: int = 224) -> Network:
    """Return MobileNetV3, ``"small"`` or ``"large"``."""
    net = Layers(3, size, size)
    net.normalised(16, 3, 2, "hard_swish")
    for taps, expanded, channels, gated, swish, stride in MOBILENET_V3[variant]:
        squeezed = divisible(expanded // 4) if gated else 0
        function = "hard_swish" if swish else "relu"
        gates = ("relu", "hard_sigmoid")
        _inverted(net, expanded, channels, taps, stride, function, squeezed=squeezed, gates=gates)
    net.normalised(6 * net.shape()[0], 1, function="hard_swish")
    net.classify(1280 if variant == "large" else 1024)
    net.function("hard_swish")
    net.dense(1000)
    return net.network(f"mobilenet_v3_{variant}")


# --- ShuffleNet ------------------------------------------------------------------------------------------------------

SHUFFLENETS: Final = {
    "0_5": (48, 96, 192, 1024),
    "1_0": (116, 232, 464, 1024),
    "1_5": (176, 352, 704, 1024),
    "2_0": (244, 488, 976, 2048),
}


def shufflenet_v2(width: str, size: int = 224) -> Network:
    """Return ShuffleNet v2: a unit convolves half of the channels, and a unit of stride 2 all of them twice."""
    *stages, last = SHUFFLENETS[width]
    net = Layers(3, size, size)
    net.normalised(24, 3, 2)
    net.pool(3, 2, 1)
    for channels, units in zip(stages, (4, 8, 4), strict=True):
        half = channels // 2
        for unit in range(units):
            source, stride = net.last, 1 if unit else 2
            if unit:
                first = net.add(take(0, 0, half), source)
                second = net.add(take(0, half, channels), source)
            else:
                net.depthwise(3, 2, "")
                first, second = net.normalised(half, 1), source
            net.normalised(half, 1, source=second)
            net.depthwise(3, stride, "")
            net.join(first, net.normalised(half, 1))
            net.add(channel_shuffle(2))
    net.normalised(last, 1)
    net.classify()
    return net.network(f"shufflenet_v2_x{width}")


# --- MNASNet ---------------------------------------------------------------------------------------------------------

MNASNET: Final = (
    # taps, stride of the first block, factor of expansion, blocks, channels
    (3, 2, 3, 3, 24),
    (5, 2, 3, 3, 40),
    (5, 2, 6, 3, 80),
    (3, 1, 6, 2, 96),
    (5, 2, 6, 4, 192),
    (3, 1, 6, 1, 320),
)


def mnasnet(width: float, size: int = 224) -> Network:
    """Return MNASNet-B1 with its channels multiplied by a width."""
    net = Layers(3, size, size)
    net.normalised(divisible(32 * width), 3, 2)
    net.depthwise(3)
    net.normalised(divisible(16 * width), 1, function="")
    for taps, stride, factor, blocks, channels in MNASNET:
        for block in range(blocks):
            outs = divisible(channels * width)
            _inverted(net, factor * net.shape()[0], outs, taps, 1 if block else stride, "relu")
    net.normalised(1280, 1)
    net.classify()
    return net.network(f"mnasnet{width}".replace(".", "_"))


# --- EfficientNet ----------------------------------------------------------------------------------------------------

EFFICIENTNET: Final = (
    # factor of expansion, taps, stride of the first block, channels, blocks
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)

SCALES: Final = {
    # width, depth
    "b0": (1.0, 1.0),
    "b1": (1.0, 1.1),
    "b2": (1.1, 1.2),
    "b3": (1.2, 1.4),
    "b4": (1.4, 1.8),
    "b5": (1.6, 2.2),
    "b6": (1.8, 2.6),
    "b7": (2.0, 3.1),
}

EFFICIENTNET_V2: Final = {
    # one convolution in place of the first two, factor of expansion, stride of the first block, channels, blocks
    "s": (
        (1, 1, 1, 24, 2),
        (1, 4, 2, 48, 4),
        (1, 4, 2, 64, 4),
        (0, 4, 2, 128, 6),
        (0, 6, 1, 160, 9),
        (0, 6, 2, 256, 15),
    ),
    "m": (
        (1, 1, 1, 24, 3),
        (1, 4, 2, 48, 5),
        (1, 4, 2, 80, 5),
        (0, 4, 2, 160, 7),
        (0, 6, 1, 176, 14),
        (0, 6, 2, 304, 18),
        (0, 6, 1, 512, 5),
    ),
    "l": (
        (1, 1, 1, 32, 4),
        (1, 4, 2, 64, 7),
        (1, 4, 2, 96, 7),
        (0, 4, 2, 192, 10),
        (0, 6, 1, 224, 19),
        (0, 6, 2, 384, 25),
        (0, 6, 1, 640, 7),
    ),
}

GATES: Final = ("silu", "sigmoid")


def efficientnet(scale: str, size: int = 224) -> Network:
    """Return EfficientNet B0 or one of its enlargements."""
    width, depth = SCALES[scale]
    net = Layers(3, size, size)
    net.normalised(divisible(32 * width), 3, 2, "silu")
    for factor, taps, first_stride, channels, blocks in EFFICIENTNET:
        for block in range(math.ceil(blocks * depth)):
            read, stride = net.shape()[0], 1 if block else first_stride
            outs = divisible(channels * width)
            _inverted(net, factor * read, outs, taps, stride, "silu", squeezed=max(1, read // 4), gates=GATES)
    net.normalised(4 * net.shape()[0], 1, function="silu")
    net.classify()
    return net.network(f"efficientnet_{scale}")


def efficientnet_v2(variant: str, size: int = 384) -> Network:
    """Return EfficientNetV2, ``"s"``, ``"m"`` or ``"l"``."""
    net = Layers(3, size, size)
    net.normalised(EFFICIENTNET_V2[variant][0][3], 3, 2, "silu")
    for fused, factor, first_stride, channels, blocks in EFFICIENTNET_V2[variant]:
        for block in range(blocks):
            read, stride = net.shape()[0], 1 if block else first_stride
            if fused:
                _fused(net, factor * read, channels, stride)
            else:
                _inverted(net, factor * read, channels, 3, stride, "silu", squeezed=read // 4, gates=GATES)
    net.normalised(1280, 1, function="silu")
    net.classify()
    return net.network(f"efficientnet_v2_{variant}")


def _fused(net: Layers, expanded: int, channels: int, stride: int) -> None:
    """Append an inverted residual whose first two convolutions are one of all channels."""
    source = net.last
    if expanded == net.shape()[0]:
        net.normalised(channels, 3, stride, "silu")
    else:
        net.normalised(expanded, 3, stride, "silu")
        net.normalised(channels, 1, function="")
    if net.shape() == net.shape(source):
        net.sum(source, net.last)
