"""Networks of many kinds with integer weights, for tiles: in PyTorch, from onnx's files, and drawn at random."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

import convmatrix as cm
from convmatrix.boundary import BOUNDARIES
from convmatrix.geometry import ConvGeometry
from convmatrix.network import (
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    Extremum,
    Input,
    Network,
    Node,
    Pooling,
    Resize,
    Scale,
    pad,
    reshape,
    take,
    transpose,
)
from convmatrix.tiling.node_reads import network_reads, refusals_of

Integer = Callable[[int, int], int]


@dataclass
class Case:
    """A network with weights: as the function that is run, and as the network that is planned for."""

    name: str
    function: Any
    network: Network
    tolerance: float = 0.0  # relative; above 0 only where values are not exact in float64, see the case
    largest: int | None = None  # size of an image


# --- networks in PyTorch ---------------------------------------------------------------------------------------------


def torch_cases() -> dict[str, tuple[Callable[[], Any], tuple[int, ...], float]]:
    """Return, by name, how to make a module, the shape that it is traced at, and the tolerance."""
    import torch
    from torch import nn
    from torch.nn import functional

    def block(ins: int, outs: int, n: int = 2, padding: int = 1, mode: str = "zeros") -> nn.Module:
        conv: Any = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[n]
        layers = [conv(ins, outs, 3, padding=padding, padding_mode=mode), nn.ReLU()]
        layers += [conv(outs, outs, 3, padding=padding, padding_mode=mode), nn.ReLU()]
        return nn.Sequential(*layers)

    class UNet(nn.Module):
        def __init__(self, up: Any, padding: int = 1, mode: str = "zeros", n: int = 2, depth: int = 2) -> None:
            super().__init__()
            self.down = nn.ModuleList(block(1 if i == 0 else 3, 3, n, padding, mode) for i in range(depth + 1))
            self.up = nn.ModuleList(up() for _ in range(depth))
            self.join = nn.ModuleList(block(6, 3, n, padding, mode) for _ in range(depth))
            self.pool = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}[n](2)

        def forward(self, x: Any) -> Any:
            skips = []
            for number, stage in enumerate(self.down):
                x = stage(x if number == 0 else self.pool(x))
                skips.append(x)
            x = skips.pop()
            for up, join in zip(self.up, self.join, strict=True):
                x, skip = up(x), skips.pop()
                for axis in range(2, x.ndim):
                    crop = (skip.shape[axis] - x.shape[axis]) // 2
                    skip = skip.narrow(axis, crop, x.shape[axis]) if crop else skip
                x = join(torch.cat([skip, x], 1))
            return x

    class Dilated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=1)
            self.heads = nn.ModuleList(nn.Conv2d(4, 3, 3, padding=d, dilation=d) for d in (1, 2, 4, 6))
            self.last = nn.Conv2d(12, 2, 1)

        def forward(self, x: Any) -> Any:
            x = functional.relu(self.stem(x))
            return self.last(torch.cat([functional.relu(head(x)) for head in self.heads], 1))

    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.PixelUnshuffle(2), block(4, 5), nn.Conv2d(5, 4, 3, padding=1))

        def forward(self, x: Any) -> Any:
            return x - functional.pixel_shuffle(self.body(x), 2)

    class Residual(nn.Module):
        def __init__(self, stride: int) -> None:
            super().__init__()
            self.main = nn.Sequential(nn.Conv2d(3, 3, 3, stride, 1), nn.ReLU(), nn.Conv2d(3, 3, 3, 1, 1))
            self.short = nn.Conv2d(3, 3, 1, stride) if stride > 1 else nn.Identity()

        def forward(self, x: Any) -> Any:
            return functional.relu(self.main(x) + self.short(x))

    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv2d(2 + 2 * i, 2, 3, padding=1) for i in range(3))
            self.out = nn.Conv2d(8, 2, 1)

        def forward(self, x: Any) -> Any:
            for layer in self.layers:
                x = torch.cat([x, functional.relu(layer(x))], 1)
            return functional.avg_pool2d(self.out(x), 2)

    class Inception(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.three, self.five = (
                nn.Conv2d(2, 2, 1),
                nn.Conv2d(2, 2, 3, padding=1),
                nn.Conv2d(2, 2, 5, padding=2),
            )

        def forward(self, x: Any) -> Any:
            x = functional.max_pool2d(x, 3, 2, 1)
            branches = [self.one(x), functional.relu(self.three(x)), self.five(x), functional.max_pool2d(x, 3, 1, 1)]
            return torch.cat(branches, 1)

    class ConvNeXt(nn.Module):
        def __init__(self, norm: bool) -> None:
            super().__init__()
            self.stem, self.depthwise = nn.Conv2d(1, 4, 4, 4), nn.Conv2d(4, 4, 7, padding=3, groups=4)
            self.norm = nn.LayerNorm(4) if norm else nn.Identity()
            self.wide, self.narrow = nn.Linear(4, 8), nn.Linear(8, 4)
            self.up = nn.Upsample(scale_factor=4)

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
            return self.up(x + self.narrow(functional.relu(self.wide(y))).permute(0, 3, 1, 2))

    class Shuffle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.deep, self.last = (
                nn.Conv2d(4, 4, 1, groups=2),
                nn.Conv2d(4, 4, 3, 2, 1, groups=4),
                nn.Conv2d(4, 4, 1),
            )
            self.shuffle = nn.ChannelShuffle(2)

        def forward(self, x: Any) -> Any:
            x = functional.relu(self.deep(self.shuffle(self.first(x))))
            return torch.cat(
                [
                    functional.max_pool2d(x, 3, 2, ceil_mode=True),
                    functional.max_pool2d(self.last(x), 3, 2, ceil_mode=True),
                ],
                1,
            )

    class WaveNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv1d(2, 2, 2, dilation=d) for d in (1, 2, 4, 8))

        def forward(self, x: Any) -> Any:
            total = x
            for layer in self.layers:
                y = functional.relu(layer(functional.pad(x, (layer.dilation[0], 0))))
                x, total = x + y, total + y
            return total

    def sequence(*layers: Any) -> Callable[[], Any]:
        return lambda: nn.Sequential(*(layer() if isinstance(layer, type) else layer for layer in layers))

    def ring(*strides: int) -> Callable[[], Any]:
        layers: list[Any] = []
        for s in strides:
            layers += [nn.Conv2d(2, 2, 3, s, 1, padding_mode="circular"), nn.ReLU()]
        return lambda: nn.Sequential(*layers, nn.ConvTranspose2d(2, 2, 2, 2))

    def transposed() -> Any:
        return nn.ConvTranspose2d(3, 3, 2, 2)

    def bilinear() -> Any:
        return nn.Upsample(scale_factor=2, mode="bilinear")

    return {
        "U-Net, transposed convolutions": (lambda: UNet(transposed), (1, 16, 24), 0),
        "U-Net, nearest": (lambda: UNet(lambda: nn.Upsample(scale_factor=2)), (1, 16, 24), 0),
        "U-Net, bilinear": (lambda: UNet(bilinear, depth=1), (1, 16, 24), 0),
        "U-Net, crops": (lambda: UNet(transposed, padding=0), (1, 44, 48), 0),
        "U-Net, reflection": (lambda: UNet(transposed, mode="reflect"), (1, 16, 24), 0),
        "U-Net, three axes": (lambda: UNet(lambda: nn.Upsample(scale_factor=2), n=3, depth=1), (1, 8, 8, 12), 0),
        "U-Net, one axis": (lambda: UNet(lambda: nn.ConvTranspose1d(3, 3, 2, 2), n=1, depth=3), (1, 32), 0),
        "dilated heads": (Dilated, (2, 24, 20), 0),
        "ESPCN": (
            sequence(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU, nn.Conv2d(4, 9, 3, padding=1), nn.PixelShuffle(3)),
            (1, 12, 10), 0,
        ),
        "EDSR": (
            sequence(nn.Conv2d(1, 3, 3, padding=1), Residual(1), Residual(1), nn.Conv2d(3, 8, 3, padding=1),
                     nn.PixelShuffle(2), nn.Conv2d(2, 1, 3, padding=1, padding_mode="replicate")),
            (1, 12, 10), 0,
        ),
        "FFDNet": (Denoiser, (1, 12, 10), 0),
        "ResNet": (sequence(nn.Conv2d(1, 3, 7, 2, 3), nn.MaxPool2d(3, 2, 1), Residual(1), Residual(2)), (1, 32, 48), 0),
        "DenseNet": (Dense, (2, 12, 16), 0),
        "Inception": (Inception, (2, 16, 12), 0),
        "ConvNeXt": (lambda: ConvNeXt(norm=False), (1, 32, 40), 0),
        # The deviation is a root; sums of other numbers are rounded in an order that depends on a matrix's shape.
        "ConvNeXt, normalised": (lambda: ConvNeXt(norm=True), (1, 32, 40), 1e-12),
        "ShuffleNet, pools rounded up": (Shuffle, (4, 24, 21), 0),
        "WaveNet": (WaveNet, (2, 40), 0),
        "autoencoder": (
            sequence(nn.Conv2d(1, 3, 4, 2, 1), nn.ReLU, nn.Conv2d(3, 3, 3, 2, 1), nn.ReLU,
                     nn.ConvTranspose2d(3, 3, 3, 2, 1, output_padding=1), nn.ConvTranspose2d(3, 1, 4, 2, 1)),
            (1, 16, 24), 0,
        ),
        "ring": (ring(1, 2), (2, 16, 12), 0),
        "ring, two strides": (ring(2, 1, 2), (2, 16, 24), 0),
    }  # fmt: skip


def torch_case(name: str, seed: int, network: Network | None = None) -> Case:
    """Return a network in PyTorch with 1 and -1 as weights, in float64; the network traced before may be given."""
    import torch

    make, shape, tolerance = torch_cases()[name]
    module = make().double().eval()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.as_tensor(rng.choice([-1.0, 1.0], tuple(parameter.shape))))
    return Case(name, module, network or cm.Network.from_torch(module, shape), tolerance)


# --- networks from files ---------------------------------------------------------------------------------------------

# The networks of onnx's folder ``light``: number of convolutions, largest image, tolerance. Local response
# normalisation takes powers, and averages of nine samples are fractions, which are rounded in sums.
LIGHT: Final[dict[str, tuple[int, int, float]]] = {
    "squeezenet": (7, 96, 0.0),
    "resnet50": (6, 160, 0.0),
    "densenet121": (5, 128, 0.0),
    "shufflenet": (6, 128, 1e-9),
    "vgg19": (4, 64, 0.0),
    "inception_v1": (6, 128, 1e-9),
    "inception_v2": (6, 128, 1e-9),
    "zfnet512": (3, 128, 1e-9),
    "bvlc_alexnet": (3, 150, 1e-9),
}


def light_network(name: str) -> Network:
    """Return a network of onnx's folder ``light``."""
    import onnx

    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    return cm.Network.from_onnx(path)


def convolutional_part(network: Network) -> Network:
    """Return the network up to the last node whose output can be stitched."""
    found = network_reads(network)
    axes = range(len(network.input_shape) - 1)
    kept = [name for name, reads in found.items() if not any(refusals_of(reads, name, axis) for axis in axes)]
    return network.until(kept[-1])


def light_case(name: str, seed: int) -> Case:
    """Return the first convolutions of a network of onnx's folder ``light``, with random integers as weights."""
    n_convolutions, largest, tolerance = LIGHT[name]
    whole = light_network(name)
    convolutions = [node.name for node in whole if isinstance(node.operation, Convolution)]
    last = convolutions[n_convolutions - 1]
    part = whole.until(next(node.name for node in whole if last in node.inputs))
    rng = np.random.default_rng(seed)
    network = Network([_with_integers(node, rng) for node in part], part.outputs, name)
    return Case(f"light {name}", network, network, tolerance, largest)


def _with_integers(node: Node, rng: np.random.Generator) -> Node:
    """Return a node whose nonzero weights are a few 1 and -1, so that sums stay exact in float64."""
    operation = node.operation
    if isinstance(operation, Convolution):
        shape = operation.geometry.weight_shape
        weight = rng.choice([-1.0, 1.0], shape) * (rng.random(shape) < min(8 / math.prod(shape[1:]), 1))
        operation = Convolution(operation.geometry, weight, rng.integers(-2, 3, operation.geometry.out_channels) + 0.0)
    elif isinstance(operation, Scale) and operation.scale is not None:
        operation = Scale(
            np.sign(operation.scale) + 0.0, None if operation.shift is None else np.round(operation.shift)
        )
    return Node(node.name, operation, node.inputs)


# --- drawn at random -------------------------------------------------------------------------------------------------


def drawn_case(seed: int) -> Case:
    """Return a random network of one or two spatial axes, evaluated in integers."""
    rng = np.random.default_rng(seed)
    network = draw(lambda low, high: int(rng.integers(low, high, endpoint=True)), rng)
    return Case(f"drawn {seed}", network, network, largest=60)


def draw(integer: Integer, rng: np.random.Generator) -> Network:
    """Return a random network: windows of all kinds, branches, crops, resizing, blocks of pixels."""
    ring = integer(0, 7) == 0
    shape = (integer(1, 2), *(integer(12, 20) * (1 + ring) for _ in range(integer(1, 4) // 4 + 1)))
    nodes = [Node("x", Input(shape))]
    shapes: dict[str, tuple[int, ...]] = {"x": shape}
    for number in range(integer(1, 7)):
        names = list(shapes)
        source = names[-1] if integer(0, 3) else names[integer(0, len(names) - 1)]
        same = [name for name in names if shapes[name][1:] == shapes[source][1:]]
        other = same[integer(0, len(same) - 1)]
        for place, (operation, inputs) in enumerate(_drawn(integer, rng, shapes, source, other, ring)):
            try:
                found = operation.output_shape([shapes.get(name, ()) for name in inputs or (nodes[-1].name,)])
            except ValueError:
                break
            if min(found) < 1 or math.prod(found) > 6000:
                break
            nodes.append(Node(f"n{number}.{place}", operation, inputs or (nodes[-1].name,)))
            shapes[nodes[-1].name] = found
    return Network(nodes)


def _drawn(
    integer: Integer, rng: np.random.Generator, shapes: dict[str, tuple[int, ...]], source: str, other: str, ring: bool
) -> list[tuple[Any, tuple[str, ...]]]:
    """Return operations in a row, with the inputs of the first one; the others read the one before."""
    c, *spatial = shapes[source]
    kind = integer(0, 11)
    if kind <= 4:
        geometry = _drawn_geometry(integer, c, spatial, ring, transposed=kind == 4)
        if geometry is None:
            return []
        weight = rng.integers(1, 4, geometry.weight_shape) * rng.choice([-1, 1], geometry.weight_shape)
        return [(Convolution(geometry, weight, rng.integers(-3, 4, geometry.out_channels)), (source,))]
    if kind == 5:
        window = tuple(integer(1, 4) for _ in spatial)
        method: Any = ("max", "sum")[integer(0, 1)]
        strides = tuple(integer(1, 3) for _ in spatial)
        padding = [(integer(0, k // 2),) * 2 for k in window]
        boundary = tuple("circular" if ring else BOUNDARIES[2 * integer(0, 2)] for _ in spatial)
        return [(Pooling(method, window, strides, padding, 1, boundary, bool(integer(0, 1))), (source,))]
    if kind == 6:
        return [(Elementwise(("relu", "abs")[integer(0, 1)]), (source,))]
    if kind == 7:
        modes: list[Any] = [
            ("nearest", "asymmetric"), ("nearest", "half_pixel"), ("linear", "half_pixel"), ("linear", "asymmetric")
        ]  # fmt: skip
        mode, coordinates = modes[integer(0, 3)]
        factor = integer(2, 3) if mode == "nearest" else 2
        if integer(0, 3) == 0:
            return [(Resize(tuple(n // 2 for n in spatial), "nearest", "asymmetric", rounding="floor"), (source,))]
        return [(Resize(tuple(factor * n for n in spatial), mode, coordinates), (source,))]
    if kind == 8:
        axis = integer(1, len(spatial))
        boundary = "circular" if ring else BOUNDARIES[(0, 2, 3, 4)[integer(0, 3)]]
        moved = pad([(0, 0), *((integer(-1, 2), integer(-1, 2)) for _ in spatial)], boundary, 2.0)
        cut = take(axis, integer(0, 2), (None, -1, -2)[integer(0, 2)], integer(1, 2))
        return [((moved, cut)[integer(0, 1)], (source,))]
    if kind <= 10:
        if kind == 9 or shapes[source] != shapes[other]:
            return [(Concatenation(0), (source, other))]
        return [((Addition((1, -1)), Extremum("max"))[integer(0, 1)], (source, other))]
    blocks, rest = 2 ** len(spatial), [n // 2 for n in spatial]
    n_axes = len(spatial)
    if c % blocks == 0:  # channels to blocks of pixels
        order = (0, *(axis for n in range(n_axes) for axis in (1 + n_axes + n, 1 + n)))
        split, joined = (c // blocks, *(2,) * n_axes, *spatial), (c // blocks, *(2 * n for n in spatial))
    elif all(n % 2 == 0 for n in spatial):
        order = (0, *(2 + 2 * n for n in range(n_axes)), *(1 + 2 * n for n in range(n_axes)))
        split, joined = (c, *(size for n in rest for size in (n, 2))), (c * blocks, *rest)
    else:
        return []
    return [(reshape(split), (source,)), (transpose(order), ()), (reshape(joined), ())]


def _drawn_geometry(integer: Integer, c: int, spatial: list[int], ring: bool, transposed: bool) -> ConvGeometry | None:
    groups = c if integer(0, 3) == 0 else 1
    kernel, dilation = [integer(1, 4) for _ in spatial], [integer(1, 2) for _ in spatial]
    options: dict[str, Any] = {"dilation": dilation, "stride": [(1, 1, 2, 3)[integer(0, 3)] for _ in spatial]}
    if transposed:
        options |= {"transposed": True, "padding": [(integer(0, 1), integer(0, 1)) for _ in spatial]}
    else:
        padding = []
        for taps, gap in zip(kernel, dilation, strict=True):
            low, most = integer(0, (taps - 1) * gap), (taps - 1) * gap
            padding.append((low, most - low if ring or integer(0, 1) else integer(0, most)))
        rules = ["circular" if ring else BOUNDARIES[(0, 0, 0, 2, 3, 4)[integer(0, 5)]] for _ in spatial]
        options |= {"padding": padding, "boundary": rules, "flip": integer(0, 3) == 0}
        if integer(0, 6) == 0:
            options["sharing"] = tuple(integer(1, 2) for _ in spatial)
    try:
        return ConvGeometry(
            spatial, kernel, in_channels=c, out_channels=groups * integer(1, 2), groups=groups, **options
        )
    except ValueError:
        return None
