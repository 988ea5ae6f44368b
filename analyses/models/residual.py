"""Residual networks: ResNet, Wide ResNet, ResNeXt, RegNet.

Sources: He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016, with the stride in the 3 x 3
convolutions; Zagoruyko, Komodakis, Wide residual networks, BMVC 2016; Xie et al., Aggregated residual transformations
for deep neural networks, CVPR 2017; Radosavovic et al., Designing network design spaces, CVPR 2020, whose widths are
quantised as its section 3.3 describes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from analyses.models.layers import Layers, divisible

if TYPE_CHECKING:
    from convmatrix.network import Network

DEPTHS: Final = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

REGNETS: Final = {
    # depth, w_0, w_a, w_m, channels of a group
    "x_400mf": (22, 24, 24.48, 2.54, 16),
    "x_800mf": (16, 56, 35.73, 2.28, 16),
    "x_1_6gf": (18, 80, 34.01, 2.25, 24),
    "x_3_2gf": (25, 88, 26.31, 2.25, 48),
    "x_8gf": (23, 80, 49.56, 2.88, 120),
    "x_16gf": (22, 216, 55.59, 2.1, 128),
    "x_32gf": (23, 320, 69.86, 2.0, 168),
    "y_400mf": (16, 48, 27.89, 2.09, 8),
    "y_800mf": (14, 56, 38.84, 2.4, 16),
    "y_1_6gf": (27, 48, 20.71, 2.65, 24),
    "y_3_2gf": (21, 80, 42.63, 2.66, 24),
    "y_8gf": (17, 192, 76.82, 2.19, 56),
    "y_16gf": (18, 200, 106.23, 2.48, 112),
    "y_32gf": (20, 232, 115.89, 2.53, 232),
    "y_128gf": (27, 456, 160.83, 2.52, 264),
}


def resnet(depth: int, groups: int = 1, group_width: int = 64, size: int = 224, name: str = "") -> Network:
    """Return a residual network; ``group_width`` is the number of inner channels of a group in the first stage."""
    net = Layers(3, size, size)
    net.normalised(64, 7, 2)
    net.pool(3, 2, 1)
    for stage, blocks in enumerate(DEPTHS[depth]):
        for block in range(blocks):
            source, channels, stride = net.last, 64 * 2**stage, 2 if stage and not block else 1
            if depth < 50:
                outs = channels
                net.normalised(outs, 3, stride)
                net.normalised(outs, 3, function="")
            else:
                outs, inner = 4 * channels, channels * group_width * groups // 64
                net.normalised(inner, 1)
                net.normalised(inner, 3, stride, groups=groups)
                net.normalised(outs, 1, function="")
            _add_shortcut(net, source, outs, stride)
    net.classify()
    return net.network(name or f"resnet{depth}")


def _add_shortcut(net: Layers, source: str, channels: int, stride: int) -> None:
    """Append the sum with what the block read, which is projected where its shape differs."""
    main = net.last
    if net.shape(source) != net.shape(main):
        source = net.normalised(channels, 1, stride, "", source=source)
    net.sum(main, source)
    net.function("relu")


def regnet_stages(name: str) -> list[tuple[int, int, int]]:
    """Return the width, the depth and the groups of each stage.

    Examples
    --------
    >>> regnet_stages("x_400mf")
    [(32, 1, 2), (64, 2, 4), (160, 7, 10), (400, 12, 25)]
    """
    depth, initial, slope, factor, group = REGNETS[name]
    widths = []
    for block in range(depth):
        power = round(math.log((initial + slope * block) / initial) / math.log(factor))
        widths.append(8 * round(initial * factor**power / 8))
    stages = []
    for width in sorted(set(widths)):
        per_group = min(group, width)
        fitting = divisible(width, per_group)
        stages.append((fitting, widths.count(width), fitting // per_group))
    return stages


def regnet(name: str, size: int = 224) -> Network:
    """Return a RegNet; those whose name begins with y have squeeze and excitation."""
    net = Layers(3, size, size)
    net.normalised(32, 3, 2)
    for width, depth, groups in regnet_stages(name):
        for block in range(depth):
            source, read, stride = net.last, net.shape()[0], 1 if block else 2
            net.normalised(width, 1)
            net.normalised(width, 3, stride, groups=groups)
            if name.startswith("y"):
                net.squeeze_excite(round(0.25 * read))
            net.normalised(width, 1, function="")
            _add_shortcut(net, source, width, stride)
    net.classify()
    return net.network(f"regnet_{name}")
