"""Where the seams of a U-Net's tiles vanish: errors on a photograph against the overlap of tiles.

Source: the plan of `convmatrix.tiling`, which is compared with tiles of every overlap on a photograph. The network is a
U-Net (Ronneberger, Fischer, Brox, 2015) with padding, two poolings and random weights of 1 and -1 (slopes of
0.5 and 1), so that sums are exact in double precision, and results that should agree do so in every bit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.data import camera

import convmatrix as cm
from analyses import Claim, Context, check_equal, check_within
from analyses._figures import COLOURS, PAGE_WIDTH, PANEL_WIDTH, new_figure
from convmatrix.network import Concatenation, Convolution, Elementwise, Input, Network, Node, Pooling, Resize

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

BLOCK = 48  # samples whose outputs are kept, a multiple of the alignment
STEP = 4
OVERLAPS = range(0, 37, STEP)
CHANNELS = 4


def run(context: Context) -> list[Claim]:
    """Stitch the photograph from tiles of many overlaps, and compare with the whole."""
    size = 3 * BLOCK if context.quick else 8 * BLOCK
    photograph = camera()[64 : 64 + size, 96 : 96 + size].astype(np.float64)[None, None]
    network = unet()
    plan = cm.tiling.plan(network)
    (low, high), step = plan.halo[0] or (0, 0), plan.alignment[0] or 1
    whole = cm.tiling.resized(network, photograph.shape[1:])(photograph)
    spread = float(whole.std())
    overlaps = (0, *range(16, 29, STEP)) if context.quick else tuple(OVERLAPS)
    offsets = (0, step // 2) if context.quick else (0, 1, step // 2)
    errors = {
        (overlap, offset): np.abs(stitched(network, photograph, overlap, offset) - whole)[0, 0] / spread
        for offset in offsets
        for overlap in overlaps
    }
    needed = step * math.ceil(max(low, high) / step)
    by_plan = plan.run(network, photograph, BLOCK + 2 * needed)
    aligned = [int(np.count_nonzero(errors[overlap, 0])) for overlap in overlaps]
    vanish = next(overlap for overlap, count in zip(overlaps, aligned, strict=True) if not count)
    context.save_figure(_figure(errors, needed))
    context.save_figure(_pictures(photograph, errors, step), "pictures")
    least = {offset: min(float(errors[o, offset].max()) for o in overlaps) for offset in offsets[1:]}
    return [
        check_equal(
            "vanish",
            f"smallest overlap, in steps of {STEP}, at which no output differs from the whole photograph's",
            vanish,
            expected=needed,
            reason=f"the plan's halo is {low} + {high} samples, and tiles begin and end at multiples of {step}",
        ),
        check_equal(
            "beyond",
            "outputs that differ at all larger overlaps together",
            sum(count for overlap, count in zip(overlaps, aligned, strict=True) if overlap >= vanish),
            expected=0,
            reason="the halo is enough for every weight",
        ),
        check_within(
            "before",
            "largest error at the next smaller overlap, in standard deviations of the output",
            float(errors[vanish - STEP, 0].max()),
            (2.0**-40, math.inf),
            reason="the halo is the least: with fewer samples something differs, for almost every weight",
        ),
        check_within(
            "none",
            "largest error without overlap, in standard deviations of the output",
            float(errors[0, 0].max()),
            (2.0**-40, math.inf),
            reason="every tile pads its ends",
        ),
        *(
            check_within(
                f"offset-{offset}",
                f"largest error at the best overlap, if tiles start {offset} beyond a multiple of {step}",
                error,
                (2.0**-40, math.inf),
                reason="pooling takes other pairs of samples, which no overlap mends",
            )
            for offset, error in least.items()
        ),
        check_equal(
            "plan",
            "outputs that differ if the plan chooses the tiles",
            int(np.count_nonzero(by_plan != whole)),
            expected=0,
            reason="the plan is exact",
        ),
        check_equal(
            "proof",
            "the plan is proved for all images and tiles",
            plan.prove().proved,
            expected=True,
            reason="lemmas decided by SymPy, with certificates",
        ),
    ]


def unet() -> Network:
    """Return a U-Net of three levels with random weights of 1 and -1."""
    rng = np.random.default_rng(0)
    nodes = [Node("image", Input((1, 16, 16)))]

    def block(name: str, source: str, size: int, ins: int, outs: int = CHANNELS) -> str:
        for number, n in enumerate((ins, outs)):
            geometry = cm.ConvGeometry((size, size), (3, 3), in_channels=n, out_channels=outs, padding=1)
            layer = Convolution(geometry, rng.choice([-1.0, 1.0], geometry.weight_shape))
            nodes.append(Node(f"{name}.conv{number}", layer, (source,)))
            source = f"{name}.{number}"
            nodes.append(Node(source, Elementwise("leaky_relu", {"slope": 0.5})))
        return source

    skips, source, size = [], "image", 16
    for level in range(3):
        source = block(f"down{level}", source, size, CHANNELS if level else 1)
        skips.append(source)
        if level < 2:
            nodes.append(Node(f"pool{level}", Pooling("max", 2), (source,)))
            source, size = f"pool{level}", size // 2
    for level in (1, 0):
        size *= 2
        nodes.append(Node(f"up{level}", Resize((size, size), "nearest", "asymmetric", rounding="floor"), (source,)))
        nodes.append(Node(f"joined{level}", Concatenation(), (skips[level], f"up{level}")))
        source = block(f"up{level}", f"joined{level}", size, 2 * CHANNELS)
    return Network(nodes, name="U-Net")


def stitched(network: Network, photograph: NDArray[Any], overlap: int, offset: int) -> NDArray[Any]:
    """Return the output made of blocks, each computed from a tile that is larger by an overlap at either end.

    Tiles that touch no end of the photograph are moved by ``offset`` samples.
    """
    n = photograph.shape[-1]
    cuts = []
    for first in range(0, n, BLOCK):
        start, stop = max(first - overlap, 0), min(first + BLOCK + overlap, n)
        moved = offset if start > 0 and stop < n and overlap else 0
        cuts.append((first, start + moved, min(stop + moved, n)))
    networks: dict[tuple[int, ...], Network] = {}
    result = np.zeros_like(photograph)
    for top, start, stop in cuts:
        for left, begin, end in cuts:
            tile = np.ascontiguousarray(photograph[..., start:stop, begin:end])
            shape = tile.shape[1:]
            networks[shape] = networks.get(shape) or cm.tiling.resized(network, shape)
            y = networks[shape](tile)
            kept = y[0, 0, top - start : top - start + BLOCK, left - begin : left - begin + BLOCK]
            result[0, 0, top : top + BLOCK, left : left + BLOCK] = kept
    return result


def _figure(errors: dict[tuple[int, int], NDArray[Any]], needed: int) -> Figure:
    figure = new_figure(PANEL_WIDTH, 3.2)
    axes = figure.subplots()
    overlaps, offsets = (sorted(set(numbers)) for numbers in zip(*errors, strict=True))
    floor = min(error[error > 0].min() for error in errors.values() if error.any()) / 10
    for colour, marker, offset in zip((COLOURS[4], COLOURS[5]), "os", offsets, strict=False):
        curve = [max(float(errors[overlap, offset].max()), floor) for overlap in overlaps]
        label = f"tiles start {offset} beyond multiples" if offset else "tiles start at multiples of the alignment"
        axes.semilogy(overlaps, curve, f"{marker}-", color=colour, label=label)
    axes.axvline(needed, color="0.6", linewidth=0.8)
    at_top = axes.get_xaxis_transform()
    axes.annotate("the plan's halo ", (needed, 0.6), xycoords=at_top, rotation=90, ha="right", va="center", color="0.3")
    axes.annotate(
        "exactly\n0", (overlaps[-1], floor), xytext=(0, 5), textcoords="offset points", ha="right", color="0.3"
    )
    axes.margins(y=0.1)
    axes.set(xlabel="overlap at either end of a tile, in samples", ylabel="largest error, in standard deviations")
    axes.legend(loc="center left", frameon=False)
    return figure


def _pictures(photograph: NDArray[Any], errors: dict[tuple[int, int], NDArray[Any]], step: int) -> Figure:
    largest = max(overlap for overlap, _ in errors)
    shown = [(0, 0), (4 * step, 0), (largest, step // 2)]
    figure = new_figure(PAGE_WIDTH, 2.2)
    pictures = figure.subplots(1, 1 + len(shown))
    pictures[0].imshow(photograph[0, 0], cmap="gray")
    pictures[0].set_title("photograph")
    for axes, (overlap, offset) in zip(pictures[1:], shown, strict=True):
        axes.imshow(np.log10(errors[overlap, offset] + 1e-9), cmap="gray", vmin=-5, vmax=0)
        axes.set_title(f"overlap {overlap}{f', start + {offset}' if offset else ''}")
    for axes in pictures:
        axes.set_axis_off()
    figure.suptitle("errors of tiles in standard deviations: black is 0.00001 and less, white is 1 and more")
    return figure
