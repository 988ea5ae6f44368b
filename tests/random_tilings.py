"""Networks in tiles of random shapes, compared entry by entry with the whole image: integer weights and inputs.

``python -m tests.random_tilings --count 10000`` makes so many choices of an image and a tile, over all networks.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import convmatrix as cm
from convmatrix.network import Convolution, Network, Node, Scale
from convmatrix.tiling import TilingPlan, plan, resized
from convmatrix.tiling.axis_plan import AxisPlan
from convmatrix.tiling.node_reads import network_reads, refused_axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_IMAGE: Final = {1: 400, 2: 110, 3: 40}


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


def torch_case(name: str, seed: int) -> Case:
    """Return a network in PyTorch with 1 and -1 as weights, in float64."""
    import torch

    make, shape, tolerance = torch_cases()[name]
    module = make().double().eval()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.as_tensor(rng.choice([-1.0, 1.0], tuple(parameter.shape))))
    return Case(name, module, cm.Network.from_torch(module, shape), tolerance)


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
    kept = [name for name, reads in found.items() if not refused_axes(found, name, len(network.input_shape) - 1)]
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
    """Return a node whose weights are few 1 and -1, so that sums stay exact in float64."""
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


# --- random choices --------------------------------------------------------------------------------------------------


def choose(case: Case, found: TilingPlan, rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return a random shape of an image that the network takes, and a random shape of tiles."""
    shape, tile = [], []
    for axis in found.axes:
        assert isinstance(axis, AxisPlan), found.reasons
        largest = max(case.largest or LARGEST_IMAGE[len(found.axes)], axis.smallest + 4 * axis.alignment)
        fitting = [n for n in range(axis.smallest, largest + 1) if n % axis.alignment in axis.residues]
        size = int(rng.choice(fitting))
        tiles = [size]
        for wanted in rng.integers(1, size + 1, 3):
            try:
                axis.cuts(size, int(wanted))
            except ValueError:
                continue
            tiles = [int(wanted)]
            break
        shape.append(size)
        tile.append(tiles[0])
    return tuple(shape), tuple(tile)


def values(case: Case, image: NDArray[Any]) -> NDArray[Any]:
    """Return the output for a whole image."""
    if isinstance(case.function, Network):
        return resized(case.function, image.shape[1:])(image)
    import torch

    with torch.no_grad():
        result: NDArray[Any] = case.function(torch.from_numpy(image)).numpy()
    return result


def differing(case: Case, found: TilingPlan, rng: np.random.Generator) -> tuple[int, int, str]:
    """Return the number of entries that differ for a random image, the number of tiles, and what was chosen."""
    shape, tile = choose(case, found, rng)
    image = rng.integers(-8, 9, (1, case.network.input_shape[0], *shape)).astype(np.float64)
    whole, stitched = values(case, image), found.run(case.function, image, tile)
    assert whole.shape == stitched.shape
    assert np.abs(whole).max() < 2**44, "sums must be exact in float64"
    difference = np.abs(whole - stitched) > case.tolerance * np.abs(whole).max()
    return int(difference.sum()), len(found.tiles(shape, tile)), f"image {shape}, tiles {tile}"


def ends_of_tiles(found: TilingPlan) -> Iterator[tuple[int, str, int, int, int, int]]:
    """Yield, for each end of each axis, the first output that is discarded there, of a tile inside an image.

    The axis, the end, the output's place, and the start and the size of the tile and the size of the image. Ends where
    nothing is discarded are left out.
    """
    for number, axis in enumerate(found.axes):
        assert isinstance(axis, AxisPlan)
        step, halo = axis.alignment, sum(axis.halo)
        start = step * -(-halo // step)
        size = next(n for n in range(axis.smallest + halo + 2 * step, 10**6) if n % step in axis.residues)
        whole = next(n for n in range(start + size + halo + step, 10**6) if n % step in axis.residues)
        extent = axis.extents(size)[axis.output]
        for end, place in (("low", axis.first_clean[axis.output] - 1), ("high", extent.clean_end)):
            if 0 <= place < extent.size:
                yield number, end, place, start, size, whole


def one_more(
    make: Callable[[int], Case], found: TilingPlan, rng: np.random.Generator, most: int = 40
) -> Iterator[tuple[str, bool]]:
    """Yield, for each end of each axis, whether the first output that is discarded there differs from the image's.

    The weights are random ones: those of up to ``most`` seeds, until one shows a difference.
    """
    base = [max(axis.smallest, 1) for axis in found.axes if isinstance(axis, AxisPlan)]
    for number, end, place, start, size, whole in ends_of_tiles(found):
        axis: Any = found.axes[number]
        differs = False
        for seed in range(most):
            case, shape = make(seed), list(base)
            shape[number] = whole
            image = rng.integers(-8, 9, (1, case.network.input_shape[0], *shape)).astype(np.float64)
            part = np.ascontiguousarray(image.take(range(start, start + size), number + 2))
            ours = values(case, part).take(place, axis.output_axis + 1)
            theirs = values(case, image).take(place + int(start * axis.scale), axis.output_axis + 1)
            if (ours != theirs).any():
                differs = True
                break
        yield f"axis {number} {end} (output {place} of a tile of {size})", differs


def cases(light: bool) -> Iterator[Callable[[int], Case]]:
    """Yield a function that makes each network with the weights of a seed."""
    for name in torch_cases():
        yield lambda seed, name=name: torch_case(name, seed)
    for name in LIGHT if light else ():
        yield lambda seed, name=name: light_case(name, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="number of choices of an image and a tile")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    makers = list(cases(light=True))
    shares = [max(args.count // 1000, 1) if n >= len(makers) - len(LIGHT) else 0 for n in range(len(makers))]
    small = shares.count(0)
    rest = args.count - sum(shares)
    shares = [share or rest // small + (n < rest % small) for n, share in enumerate(shares)]
    totals, slowest = np.zeros(5, dtype=int), 0.0
    for number, (make, share) in enumerate(zip(makers, shares, strict=True)):
        rng = np.random.default_rng(args.seed + number)
        case = make(args.seed)
        start = time.perf_counter()
        found = plan(case.network)
        slowest = max(slowest, time.perf_counter() - start)
        assert found.exact, found.reasons
        outcomes = [differing(case, found, rng) for _ in range(share)]
        wrong = [what for entries, _, what in outcomes if entries]
        ends = list(one_more(make, found, rng))
        same = [what for what, differs in ends if not differs]
        n_tiles = sum(tiles for _, tiles, _ in outcomes)
        totals += [share, n_tiles, len(wrong), len(ends), len(same)]
        print(
            f"{case.name}: {share} choices, {n_tiles} tiles, {len(wrong)} differ; {len(ends) - len(same)} of "
            f"{len(ends)} ends would differ with one output more{': not ' + ', '.join(same) if same else ''}"
            f"{'; ' + wrong[0] if wrong else ''}",
            flush=True,
        )
    for name in LIGHT:
        part = convolutional_part(light_network(name))
        start = time.perf_counter()
        found = plan(part)
        slowest = max(slowest, time.perf_counter() - start)
        print(f"light {name}, {len(part)} nodes up to {found.output!r}: halo {found.halo}, alignment {found.alignment}")
    print(
        f"{totals[0]} choices, {totals[1]} tiles: {totals[2]} with differing entries; {totals[3] - totals[4]} of "
        f"{totals[3]} ends would differ with one output more; slowest plan {slowest:.3f} s"
    )
    raise SystemExit(bool(totals[2]))


if __name__ == "__main__":
    main()
