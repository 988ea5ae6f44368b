"""Architectures written in plain PyTorch, at small widths: the structure of the originals, but few weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

ZOO: Final[dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]] = {}
"""For each name, a function that makes the model, and the shape of one sample of its input."""


def shown(*shape: int) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    """Add a model to the zoo, under the name of its class or function."""

    def add(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        ZOO[make.__name__] = (make, shape)
        return make

    return add


def conv(ins: int, outs: int, k: int = 3, **options: Any) -> nn.Sequential:
    """Convolution without bias, batch normalisation, activation."""
    act = options.pop("act", nn.ReLU)
    padding = options.pop("padding", None)
    layers = [
        nn.Conv2d(ins, outs, k, padding=k // 2 if padding is None else padding, bias=False, **options),
        nn.BatchNorm2d(outs),
    ]
    return nn.Sequential(*layers, *([act()] if act else []))


# --- chains ----------------------------------------------------------------------------------------------------------


@shown(1, 32, 32)
class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c3, self.c5 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5), nn.Conv2d(16, 20, 5)
        self.f6, self.output = nn.Linear(20, 12), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(torch.tanh(self.c1(x)), 2)
        x = F.avg_pool2d(torch.tanh(self.c3(x)), 2)
        x = torch.tanh(self.c5(x)).view(x.size(0), -1)
        return F.log_softmax(self.output(torch.tanh(self.f6(x))), dim=1)


@shown(3, 63, 63)
class AlexNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 8, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.LocalResponseNorm(5)),
            *(nn.MaxPool2d(3, 2), nn.Conv2d(8, 12, 5, padding=2, groups=2), nn.ReLU(inplace=True)),
            *(nn.MaxPool2d(3, 2), nn.Conv2d(12, 8, 3, padding=1), nn.ReLU(inplace=True)),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(32, 16), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(16, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


@shown(3, 32, 32)
def vgg() -> nn.Module:
    layers: list[nn.Module] = []
    ins = 3
    for outs in (4, 4, 0, 8, 8, 0, 8, 0):
        layers += [nn.Conv2d(ins, outs, 3, padding=1), nn.ReLU(True)] if outs else [nn.MaxPool2d(2, 2)]
        ins = outs or ins
    head = [nn.AdaptiveAvgPool2d((7, 7)), nn.Flatten(), nn.Linear(8 * 49, 12), nn.ReLU(True), nn.Linear(12, 5)]
    return nn.Sequential(nn.Sequential(*layers), *head)


# --- residual networks -----------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """Basic block, or a bottleneck with groups and squeeze-excitation; its stochastic depth is off in evaluation."""

    def __init__(self, ins: int, outs: int, stride: int = 1, groups: int = 0, se: int = 0) -> None:
        super().__init__()
        if groups:
            self.conv1, self.conv2 = conv(ins, outs, 1), conv(outs, outs, 3, stride=stride, groups=groups)
            self.conv3 = conv(outs, 2 * outs, 1, act=None)
            outs *= 2
        else:
            self.conv1, self.conv2 = conv(ins, outs, 3, stride=stride), conv(outs, outs, 3, act=None)
            self.conv3 = nn.Identity()
        self.se = Excitation(outs, se) if se else nn.Identity()
        keep = stride == 1 and ins == outs
        self.downsample = None if keep else conv(ins, outs, 1, stride=stride, padding=0, act=None)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.se(self.conv3(self.conv2(self.conv1(x))))
        if self.training and torch.rand(1).item() < 0.2:
            y = y * 0
        y += shortcut
        return self.relu(y)


class Excitation(nn.Module):
    def __init__(self, channels: int, hidden: int, act: type[nn.Module] = nn.ReLU, gate: type = nn.Sigmoid) -> None:
        super().__init__()
        self.pool, self.fc1, self.act = nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, hidden, 1), act()
        self.fc2, self.gate = nn.Conv2d(hidden, channels, 1), gate()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.fc2(self.act(self.fc1(self.pool(x)))))


class ResNet(nn.Module):
    def __init__(self, *, widths: tuple[int, int] = (4, 8), groups: int = 0, se: int = 0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 7, stride=2, padding=3, bias=False)
        self.bn1, self.relu, self.maxpool = nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        factor = 2 if groups else 1
        first, second = widths
        self.layer1 = nn.Sequential(Residual(4, first, 1, groups, se), Residual(factor * first, first, 1, groups, se))
        self.layer2 = nn.Sequential(Residual(factor * first, second, 2, groups, se))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(factor * second, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layer2(self.layer1(x))), 1))


@shown(3, 32, 32)
def resnet_basic() -> nn.Module:
    return ResNet()


@shown(3, 32, 32)
def resnet_bottleneck() -> nn.Module:
    return ResNet(groups=1)


@shown(3, 32, 32)
def resnext() -> nn.Module:
    return ResNet(widths=(8, 12), groups=4)


@shown(3, 32, 32)
def regnet() -> nn.Module:
    return ResNet(widths=(6, 12), groups=3, se=2)


class DenseLayer(nn.Module):
    def __init__(self, ins: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(ins), nn.Conv2d(ins, 2 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(2 * growth), nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False)

    def forward(self, parts: list[Tensor]) -> Tensor:
        y = self.conv1(F.relu(self.norm1(torch.cat(parts, 1))))
        return self.conv2(F.relu(self.norm2(y)))


@shown(3, 24, 24)
class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 4, 3, stride=2)
        self.block = nn.ModuleList([DenseLayer(4 + 3 * i, 3) for i in range(3)])
        self.transition = nn.Sequential(nn.BatchNorm2d(13), nn.ReLU(), nn.Conv2d(13, 6, 1, bias=False), nn.AvgPool2d(2))
        self.classifier = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.stem(x)]
        for layer in self.block:
            parts.append(F.dropout(layer(parts), 0.2, training=self.training))
        y = F.relu(self.transition(torch.cat(parts, 1)))
        return self.classifier(F.adaptive_avg_pool2d(y, (1, 1)).flatten(1))


# --- branches --------------------------------------------------------------------------------------------------------


class Inception(nn.Module):
    def __init__(self, ins: int) -> None:
        super().__init__()
        self.branch1, self.branch2 = conv(ins, 4, 1), nn.Sequential(conv(ins, 3, 1), conv(3, 5, 3))
        self.branch3 = nn.Sequential(
            conv(ins, 2, 1), conv(2, 4, (1, 7), padding=(0, 3)), conv(4, 4, (7, 1), padding=(3, 0))
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1, ceil_mode=True), conv(ins, 3, 1))
        self.branch5 = conv(ins, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        averaged = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        parts = [self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x), self.branch5(averaged)]
        return torch.cat(parts, 1)


@shown(3, 30, 30)
def googlenet() -> nn.Module:
    stem = [conv(3, 4, 7, stride=2), nn.MaxPool2d(3, stride=2, ceil_mode=True)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(18, 5)]
    return nn.Sequential(*stem, Inception(4), nn.MaxPool2d(3, 2, ceil_mode=True), Inception(18), *head)


class Fire(nn.Module):
    def __init__(self, ins: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze, self.left = nn.Conv2d(ins, squeeze, 1), nn.Conv2d(squeeze, expand, 1)
        self.right, self.act = nn.Conv2d(squeeze, expand, 3, padding=1), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.squeeze(x))
        return torch.cat([self.act(self.left(x)), self.act(self.right(x))], 1)


@shown(3, 28, 28)
def squeezenet() -> nn.Module:
    features = [nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(True), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(6, 2, 4)]
    head = [nn.Dropout(), nn.Conv2d(8, 5, 1), nn.ReLU(True), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()]
    return nn.Sequential(*features, Fire(8, 3, 4), *head)


# --- depthwise convolutions ------------------------------------------------------------------------------------------


@shown(3, 24, 24)
def mobilenet_v1() -> nn.Module:
    layers = [conv(3, 4, 3, stride=2)]
    for ins, outs, stride in ((4, 8, 1), (8, 8, 2), (8, 12, 1)):
        layers += [conv(ins, ins, 3, stride=stride, groups=ins), conv(ins, outs, 1)]
    return nn.Sequential(*layers, nn.AvgPool2d(6), nn.Flatten(), nn.Linear(12, 4))


class Inverted(nn.Module):
    """Expansion, depthwise convolution, squeeze-excitation, projection: MobileNetV2 and V3, MNASNet, EfficientNet."""

    def __init__(
        self, ins: int, hidden: int, outs: int, k: int, stride: int, act: type[nn.Module], se: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.add = stride == 1 and ins == outs
        layers = [conv(ins, hidden, 1, act=act)] if hidden != ins else []
        layers += [conv(hidden, hidden, k, stride=stride, groups=hidden, act=act)]
        self.layers = nn.Sequential(*layers, se or nn.Identity(), conv(hidden, outs, 1, act=None))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.add else self.layers(x)


@shown(3, 24, 24)
def mobilenet_v2() -> nn.Module:
    blocks = [Inverted(4, 4, 4, 3, 1, nn.ReLU6), Inverted(4, 12, 6, 3, 2, nn.ReLU6), Inverted(6, 12, 6, 3, 1, nn.ReLU6)]
    head = [conv(6, 10, 1, act=nn.ReLU6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(10, 4)]
    return nn.Sequential(conv(3, 4, 3, stride=2, act=nn.ReLU6), *blocks, *head)


@shown(3, 24, 24)
def mobilenet_v3() -> nn.Module:
    blocks = [
        Inverted(4, 4, 4, 3, 1, nn.ReLU, Excitation(4, 2, nn.ReLU, nn.Hardsigmoid)),
        Inverted(4, 10, 6, 5, 2, nn.Hardswish, Excitation(10, 3, nn.ReLU, nn.Hardsigmoid)),
        Inverted(6, 12, 6, 5, 1, nn.Hardswish, Excitation(12, 3, nn.ReLU, nn.Hardsigmoid)),
    ]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 9), nn.Hardswish(inplace=True), nn.Linear(9, 4)]
    return nn.Sequential(conv(3, 4, 3, stride=2, act=nn.Hardswish), *blocks, *head)


@shown(3, 24, 24)
def mnasnet() -> nn.Module:
    blocks = [Inverted(4, 12, 5, 3, 2, nn.ReLU), Inverted(5, 15, 5, 5, 1, nn.ReLU), Inverted(5, 15, 6, 5, 2, nn.ReLU)]
    return nn.Sequential(conv(3, 4, 3, stride=2), *blocks, GlobalMean(), nn.Linear(6, 4))


class GlobalMean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean([2, 3])


@shown(3, 24, 24)
def efficientnet() -> nn.Module:
    blocks = [
        Inverted(4, 8, 6, 3, 2, nn.SiLU, Excitation(8, 1, nn.SiLU)),
        Inverted(6, 12, 6, 5, 1, nn.SiLU, Excitation(12, 2, nn.SiLU)),
    ]
    head = [conv(6, 10, 1, act=nn.SiLU), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(10, 4)]
    return nn.Sequential(conv(3, 4, 3, stride=2, act=nn.SiLU), *blocks, *head)


def shuffle(x: Tensor, groups: int) -> Tensor:
    n, channels, height, width = x.shape
    x = x.view(n, groups, channels // groups, height, width)
    return torch.transpose(x, 1, 2).contiguous().view(n, -1, height, width)


@shown(3, 24, 24)
class ShuffleNetV1(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first = conv(3, 6, 3, stride=2), conv(6, 6, 1, groups=3)
        self.depthwise, self.last = conv(6, 6, 3, stride=2, groups=6, act=None), conv(6, 6, 1, groups=3, act=None)
        self.unit, self.mixed = conv(12, 12, 1, groups=3), conv(12, 12, 3, groups=12, act=None)
        self.channel_shuffle, self.fc = nn.ChannelShuffle(3), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.last(self.depthwise(shuffle(self.first(x), 3)))
        x = F.relu(torch.cat([F.avg_pool2d(x, 3, 2, 1), y], 1))
        x = F.relu(x + self.mixed(self.channel_shuffle(self.unit(x))))
        return self.fc(x.mean(dim=(-2, -1)))


@shown(3, 24, 24)
class ShuffleNetV2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8, 3, stride=2)
        self.branch = nn.Sequential(conv(4, 4, 1), conv(4, 4, 3, groups=4, act=None), conv(4, 4, 1))
        self.left = nn.Sequential(conv(8, 8, 3, stride=2, groups=8, act=None), conv(8, 6, 1))
        self.right = nn.Sequential(conv(8, 6, 1), conv(6, 6, 3, stride=2, groups=6, act=None), conv(6, 6, 1))
        self.fc = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = self.stem(x).chunk(2, dim=1)
        x = shuffle(torch.cat((kept, self.branch(changed)), dim=1), 2)
        x = shuffle(torch.cat((self.left(x), self.right(x)), dim=1), 2)
        return self.fc(x.mean([2, 3]))


# --- image to image --------------------------------------------------------------------------------------------------


@shown(3, 24, 24)
class ConvNeXt(nn.Module):
    class Block(nn.Module):
        def __init__(self, dim: int) -> None:
            super().__init__()
            self.dwconv, self.norm = nn.Conv2d(dim, dim, 7, padding=3, groups=dim), nn.LayerNorm(dim, eps=1e-6)
            self.pwconv1, self.act, self.pwconv2 = nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)
            self.gamma = nn.Parameter(torch.full((dim,), 1e-6))

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
            y = self.gamma * self.pwconv2(self.act(self.pwconv1(y)))
            return x + y.permute(0, 3, 1, 2)

    class ChannelNorm(nn.Module):
        def __init__(self, dim: int) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))

        def forward(self, x: Tensor) -> Tensor:
            mean = x.mean(1, keepdim=True)
            variance = (x - mean).pow(2).mean(1, keepdim=True)
            x = (x - mean) / torch.sqrt(variance + 1e-6)
            return self.weight[:, None, None] * x + self.bias[:, None, None]

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), self.ChannelNorm(6))
        self.blocks = nn.Sequential(self.Block(6), self.Block(6))
        self.down = nn.Sequential(self.ChannelNorm(6), nn.Conv2d(6, 8, 2, stride=2))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.down(self.blocks(self.stem(x))).mean([-2, -1])))


@shown(1, 36, 36)
class UNetTransposed(nn.Module):
    """Unpadded convolutions, so that what is copied across is cropped."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3)
        self.up, self.merge, self.out = nn.ConvTranspose2d(8, 4, 2, 2), nn.Conv2d(8, 4, 3), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.down1(x))
        b = self.up(F.relu(self.down2(F.max_pool2d(a, 2))))
        top, left = (a.size(2) - b.size(2)) // 2, (a.size(3) - b.size(3)) // 2
        a = a[:, :, top : top + b.size(2), left : left + b.size(3)]
        return self.out(F.relu(self.merge(torch.cat([a, b], dim=1))))


@shown(1, 27, 22)
class UNetBilinear(nn.Module):
    """Padded convolutions of sizes that are not even, so that what is upsampled is padded."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = conv(1, 4, 3), conv(4, 6, 3)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.merge, self.out = conv(10, 4, 3), nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.up(self.down2(F.max_pool2d(a, 2)))
        high, wide = a.size(2) - b.size(2), a.size(3) - b.size(3)
        b = F.pad(b, [wide // 2, wide - wide // 2, high // 2, high - high // 2])
        return torch.sigmoid(self.out(self.merge(torch.cat([a, b], 1))))


@shown(3, 25, 25)
class DilatedHead(nn.Module):
    """Atrous spatial pyramid pooling, and an output of the size of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(conv(3, 6, 3, stride=2), conv(6, 8, 3, padding=2, dilation=2))
        self.rates = nn.ModuleList([conv(8, 4, 3, padding=rate, dilation=rate) for rate in (2, 4, 6)])
        self.point, self.pooled = conv(8, 4, 1), nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(8, 4, 1))
        self.project, self.out = conv(20, 6, 1), nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.backbone(x)
        whole = F.interpolate(self.pooled(y), size=y.shape[-2:], mode="bilinear", align_corners=False)
        y = self.project(torch.cat([self.point(y), *(rate(y) for rate in self.rates), whole], dim=1))
        return {"out": F.interpolate(self.out(y), size=x.shape[-2:], mode="bilinear", align_corners=False)}


@shown(3, 9, 6)
def super_resolution() -> nn.Module:
    layers = [nn.Conv2d(3, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2)]
    return nn.Sequential(
        *layers, nn.PixelUnshuffle(3), nn.Conv2d(27, 4, 1), nn.Upsample(scale_factor=3, mode="nearest")
    )


@shown(1, 16, 16)
def autoencoder() -> nn.Module:
    encoder = [nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(256, 5), nn.ELU()]
    decoder = [nn.Linear(5, 256), nn.Unflatten(1, (4, 8, 8)), nn.SELU()]
    out = nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(*encoder, *decoder, out, nn.Sigmoid())


# --- one and three axes ----------------------------------------------------------------------------------------------


@shown(2, 40)
class WaveNet(nn.Module):
    """Causal dilated convolutions, gated, with skips."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 4, 1)
        self.gates = nn.ModuleList([nn.Conv1d(4, 8, 2, dilation=2**i) for i in range(3)])
        self.mixes = nn.ModuleList([nn.Conv1d(4, 4, 1) for _ in range(3)])
        self.last = nn.Conv1d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, skips = self.first(x), 0
        for gate, mix in zip(self.gates, self.mixes, strict=True):
            value, control = gate(F.pad(x, (gate.dilation[0], 0))).split(4, dim=1)
            y = torch.tanh(value) * torch.sigmoid(control)
            skips = skips + y
            x = x + mix(y)
        return self.last(F.relu(skips + x))


@shown(2, 19)
def padded_1d() -> nn.Module:
    layers = []
    for mode in ("zeros", "circular", "reflect", "replicate"):
        layers += [nn.Conv1d(2, 2, 3, padding=2, dilation=2, padding_mode=mode), nn.Softplus()]
    return nn.Sequential(*layers, nn.Conv1d(2, 4, 4, padding="same", padding_mode="circular"), nn.GLU(dim=1))


@shown(2, 8, 9)
def padded_2d() -> nn.Module:
    modes = ("zeros", "circular", "reflect", "replicate")
    layers = [nn.Conv2d(2, 2, (3, 2), padding=(1, 2), stride=(1, 2), groups=2, padding_mode=mode) for mode in modes]
    return nn.Sequential(*layers, nn.ReflectionPad2d((1, 0, 0, 1)), nn.ReplicationPad2d(1), nn.ConstantPad2d(1, 0.5))


@shown(1, 5, 6, 4)
def padded_3d() -> nn.Module:
    modes = ("zeros", "circular", "reflect", "replicate")
    return nn.Sequential(*(nn.Conv3d(1, 1, (3, 1, 3), padding=(1, 0, 1), padding_mode=mode) for mode in modes))


@shown(4, 7)
def transposed_1d() -> nn.Module:
    first = nn.ConvTranspose1d(4, 6, 3, stride=3, padding=1, output_padding=2, groups=2, dilation=2)
    return nn.Sequential(first, nn.ConvTranspose1d(6, 3, 2, groups=3, bias=False))


@shown(2, 4, 3, 5)
class Volume(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4)
        self.up = nn.ConvTranspose3d(4, 2, 2, stride=2, output_padding=(0, 1, 0))
        self.pool, self.head = nn.MaxPool3d((2, 1, 3), stride=2, ceil_mode=True), nn.Conv3d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(F.relu(self.norm(self.conv1(x))))
        x = F.interpolate(self.pool(x), scale_factor=(1, 2, 1), mode="trilinear", align_corners=False)
        return F.adaptive_avg_pool3d(self.head(x), (2, None, 1))


# --- attention and mixing --------------------------------------------------------------------------------------------


class ViT(nn.Module):
    def __init__(self, *, library: bool) -> None:
        super().__init__()
        dim = 8
        self.conv_proj = nn.Conv2d(3, dim, 4, stride=4)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embedding = nn.Parameter(torch.zeros(1, 10, dim))
        if library:
            layer = nn.TransformerEncoderLayer(dim, 2, 12, activation="gelu", batch_first=True, norm_first=True)
            self.encoder: nn.Module = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        else:
            self.encoder = nn.Sequential(AttentionBlock(dim, 2), AttentionBlock(dim, 2))
        self.ln, self.head = nn.LayerNorm(dim), nn.Linear(dim, 4)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        x = self.conv_proj(x).reshape(n, 8, -1).permute(0, 2, 1)
        x = torch.cat([self.class_token.expand(n, -1, -1), x], dim=1) + self.pos_embedding
        return self.head(self.ln(self.encoder(x))[:, 0])


class AttentionBlock(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.ln1, self.qkv, self.proj = (
            heads,
            nn.LayerNorm(dim),
            nn.Linear(dim, 3 * dim),
            nn.Linear(dim, dim),
        )
        self.ln2, self.mlp = nn.LayerNorm(dim), nn.Sequential(nn.Linear(dim, 12), nn.GELU("tanh"), nn.Linear(12, dim))

    def forward(self, x: Tensor) -> Tensor:
        n, length, dim = x.shape
        qkv = self.qkv(self.ln1(x)).reshape(n, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = ((q @ k.transpose(-2, -1)) * (dim // self.heads) ** -0.5).softmax(dim=-1)
        x = x + self.proj((weights @ v).transpose(1, 2).reshape(n, length, dim))
        return x + self.mlp(self.ln2(x))


@shown(3, 12, 12)
def vit() -> nn.Module:
    return ViT(library=False)


@shown(3, 12, 12)
def vit_of_library() -> nn.Module:
    return ViT(library=True)


@shown(6, 8)
class Attention(nn.Module):
    """Self-attention with the sequence on the first axis, and a causal one through the functional interface."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.post = nn.MultiheadAttention(8, 2), nn.Linear(8, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        sequence = x.transpose(0, 1)
        y, _ = self.attention(sequence, sequence, sequence, need_weights=False)
        y = self.post(y).transpose(0, 1)
        return F.scaled_dot_product_attention(y[:, None], y[:, None], x[:, None], is_causal=True)[:, 0]


@shown(3, 12, 12)
class WindowAttention(nn.Module):
    """Shifted windows that are moved into the batch, with a bias for each pair of positions (Swin)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.block = nn.Conv2d(3, 8, 3, stride=3), nn.LayerNorm(8), AttentionBlock(8, 2)
        self.bias = nn.Parameter(torch.zeros(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.roll(self.norm(self.embed(x).permute(0, 2, 3, 1)), shifts=(-1, -1), dims=(1, 2))
        n, height, width, dim = x.shape
        windows = x.view(n, height // 2, 2, width // 2, 2, dim).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, dim)
        windows = self.block(windows + self.bias)
        y = windows.view(n, height // 2, width // 2, 2, 2, dim).permute(0, 1, 3, 2, 4, 5).reshape(n, height, width, dim)
        return torch.roll(y, shifts=(1, 1), dims=(1, 2)).mean((1, 2))


@shown(3, 12, 12)
class MLPMixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 6, 4, stride=4)
        self.norm1, self.tokens = nn.LayerNorm(6), nn.Sequential(nn.Linear(9, 5), nn.GELU(), nn.Linear(5, 9))
        self.norm2, self.channels = nn.LayerNorm(6), nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.channels(self.norm2(x))
        return self.head(x.mean(dim=1))


@shown(4, 9, 8)
class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.prelu1, self.prelu4 = nn.PReLU(), nn.PReLU(4)
        self.instance, self.plain = nn.InstanceNorm2d(4, affine=True), nn.InstanceNorm2d(4)
        self.tracked = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
        self.group, self.whole = nn.GroupNorm(2, 4), nn.LayerNorm([4, 9, 8])
        self.fixed, self.rms = nn.BatchNorm2d(4, affine=False), nn.RMSNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu4(self.instance(self.prelu1(self.plain(x))))
        return self.rms(self.whole(self.group(self.tracked(self.fixed(x)))))


# --- detection -------------------------------------------------------------------------------------------------------


class PNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1, self.pool1 = nn.Conv2d(3, 10, 3), nn.PReLU(10), nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.softmax4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Softmax(dim=1), nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return self.conv4_2(x), self.softmax4_1(self.conv4_1(x))


class RONet(nn.Module):
    def __init__(self, size: int, *, landmarks: bool) -> None:
        super().__init__()
        self.conv1, self.prelu1, self.pool1 = nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2, self.pool2 = nn.Conv2d(8, 12, 3), nn.PReLU(12), nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(12, 16, 2), nn.PReLU(16)
        self.dense4, self.prelu4 = nn.Linear(16 * size**2, 20), nn.PReLU(20)
        self.dense5_1, self.softmax5_1, self.dense5_2 = nn.Linear(20, 2), nn.Softmax(dim=1), nn.Linear(20, 4)
        self.dense5_3 = nn.Linear(20, 10) if landmarks else None

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.pool2(self.prelu2(self.conv2(self.pool1(self.prelu1(self.conv1(x))))))
        x = self.prelu3(self.conv3(x)).permute(0, 3, 2, 1).contiguous()
        x = self.prelu4(self.dense4(x.view(x.shape[0], -1)))
        marks = () if self.dense5_3 is None else (self.dense5_3(x),)
        return self.dense5_2(x), *marks, self.softmax5_1(self.dense5_1(x))


@shown(3, 17, 21)
def mtcnn_p() -> nn.Module:
    return PNet()


@shown(3, 24, 24)
def mtcnn_r() -> nn.Module:
    return RONet(3, landmarks=False)


@shown(3, 32, 32)
def mtcnn_o() -> nn.Module:
    return RONet(5, landmarks=True)


@shown(3, 32, 32)
class Yolo(nn.Module):
    """Two scales; boxes are decoded with a grid of constants and anchors in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.deep = nn.Sequential(conv(3, 4, 3, stride=4), conv(4, 8, 3, stride=2)), conv(8, 8, 3, stride=2)
        self.heads = nn.ModuleList([nn.Conv2d(16, 14, 1), nn.Conv2d(8, 14, 1)])
        self.register_buffer("anchors", torch.tensor([[[1.0, 2.0], [3.0, 1.5]], [[4.0, 4.0], [6.0, 5.0]]]))

    def decode(self, y: Tensor, anchors: Tensor, stride: int) -> Tensor:
        n, _, height, width = y.shape
        y = y.view(n, 2, 7, height, width).permute(0, 1, 3, 4, 2).contiguous().sigmoid()
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        grid = torch.stack((columns, rows), 2).view(1, 1, height, width, 2).to(y.dtype)
        xy, wh, rest = y.split((2, 2, 3), 4)
        xy, wh = (xy * 2 + grid - 0.5) * stride, (wh * 2) ** 2 * anchors.view(1, 2, 1, 1, 2)
        return torch.cat((xy, wh, rest), 4).view(n, -1, 7)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.body(x)
        coarse = self.deep(fine)
        fine = torch.cat([fine, F.interpolate(coarse, scale_factor=2.0, mode="nearest")], 1)
        raw = [head(y) for head, y in zip(self.heads, (fine, coarse), strict=True)]
        boxes = [self.decode(y, anchors, s) for y, anchors, s in zip(raw, self.anchors, (8, 16), strict=True)]
        return torch.cat(boxes, 1), raw[0]


# --- ways of writing -------------------------------------------------------------------------------------------------


@shown(4, 6, 6)
class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gain = nn.Conv2d(4, 4, 3, padding=1), nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y.relu_()
        y += x
        y.mul_(2).sub_(self.gain)
        y[:, :2] *= 3
        y[:, 3] = 1.0
        y[:, 1, 1:4] = x[:, 0, 2:5]
        y.clamp_(min=-1)[:, :, ::2].neg_()
        return y


@shown(3, 10)
class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act, self.fc = (
            nn.Conv1d(3, 3, 3, padding=1),
            nn.BatchNorm1d(3),
            nn.PReLU(3),
            nn.Linear(10, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.act(self.norm(self.conv(x)))
        return F.linear(self.fc(self.fc(x)), self.fc.weight)


@shown(4, 6, 5)
class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.mix = nn.Parameter(torch.zeros(4, 2, 3, 3)), nn.Parameter(torch.zeros(5, 7))
        self.heads = nn.Parameter(torch.zeros(4, 7, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.weight, groups=2)
        x = torch.einsum("nchw,wv->nchv", x, self.mix)
        x = torch.einsum("nchw,cwd->nchd", x, self.heads)
        return torch.einsum("nchd,nche->ncde", x, F.softmax(x, dim=2))


@shown(6, 5, 4)
class Rearranged(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        a, b, c = x.chunk(3, dim=1)
        d, e = x.split([1, 5], dim=1)
        stacked = torch.stack([a, b.flip(2), c.roll(1, -1)], dim=2)
        rows = torch.stack(x.unbind(1)[::2], dim=-1)
        tiled = d.repeat(1, 2, 1, 3).squeeze(1)
        picked = e[:, [3, 0, 0]][..., None, 1:-1, ::2].unsqueeze(2)
        return stacked, rows, tiled, picked, torch.cat([x.amax(1), x.sum(1), x.min(dim=1).values], 1), x.movedim(1, -1)


@shown(3, 11, 7)
class Pooled(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (
            F.adaptive_avg_pool2d(x, (4, 3)),
            F.adaptive_max_pool2d(x, (4, 3)),
            F.adaptive_max_pool2d(x, 1),
            F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
            F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, divisor_override=5),
            F.max_pool2d(x, 3, 2, 1, dilation=2, ceil_mode=True),
            F.lp_pool2d(x.abs(), 2, 2),
            F.adaptive_avg_pool1d(x.flatten(2), 10),
        )


@shown(3, 4, 6, 6)
class Frames(nn.Module):
    """A video whose frames are moved into the batch, and averaged afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 5, 3, stride=2), nn.BatchNorm2d(5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        n, channels, frames, height, width = x.shape
        y = x.transpose(1, 2).reshape(n * frames, channels, height, width)
        y = F.max_pool2d(F.relu(self.norm(self.conv(y))), 2).flatten(1)
        return self.fc(y).view(n, frames, -1).mean(1)
