"""Published architectures, from AlexNet to Swin: parameters, multiply-adds, and the share of them that reads padding.

Source: torchvision, documentation of pretrained weights, for the parameters and the multiply-adds of its classification
networks, which are described here from their papers, without weights, one file per family; for the networks that come
with the package onnx, which are read from their files and evaluated, their stored outputs, the same documentation, Sze
et al. (Proceedings of the IEEE 105(12), 2017) and the ONNX Model Zoo.

The published multiply-adds are those of convolutions, dense layers and products of two computed matrices, and count
products with padding zeros. The nonzeros of the matrices do not.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from analyses import Claim, Context, check_equal, published_equal
from analyses._figures import COLOURS, PANEL_WIDTH, new_figure
from analyses.models.light import light_claims
from analyses.models.padding import Size, size_by_positions, size_of
from analyses.models.published import FAMILIES, SOURCE, Published

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUICK: Final = 4
"""Architectures of each family in a quick run."""

POSITIONS: Final = "counted position by position on each axis, from the shapes of the nodes"

GROUPS: Final = {
    "chains": ("alexnet", "vgg"),
    "residual": ("resnet", "wide_resnet", "resnext", "regnet_x", "regnet_y"),
    "branched": ("squeezenet", "densenet", "googlenet", "inception"),
    "depthwise": ("mobilenet", "shufflenet", "mnasnet", "efficientnet", "efficientnet_v2", "convnext"),
    "transformers": ("vit", "swin"),
}

Sizes = dict[str, dict[str, Size]]


def run(context: Context) -> list[Claim]:
    """Count every architecture, and read and evaluate the networks of onnx."""
    sizes: Sizes = {}
    claims: list[Claim] = []
    most = 0.0
    for family, architectures in FAMILIES.items():
        anew: list[Size] = []
        sizes[family] = {}
        for published in architectures[: QUICK if context.quick else None]:
            network = published.build()
            size, again = size_of(network), size_by_positions(network)
            claims += architecture_claims(published, size, again)
            sizes[family][published.name] = size
            anew.append(again)
            most = max(most, again.padding)
        claims += family_claims(family, list(sizes[family].values()), anew)
    claims += overall_claims(sizes, claims, most)
    context.save_figure(_padding_figure(sizes), "padding")
    context.save_figure(_size_figure(sizes), "size")
    return claims + light_claims(context.quick)


def architecture_claims(published: Published, size: Size, again: Size) -> list[Claim]:
    """Return the claims on one architecture; ``again`` is its size by other means."""
    name = published.name
    return [
        published_equal(
            f"{name}-parameters", f"{name}: parameters", size.parameters, published=published.parameters, source=SOURCE
        ),
        published_equal(
            f"{name}-gmacs",
            f"{name}: giga multiply-adds by convention",
            round(size.macs / 1e9, 3),
            published=published.giga_macs,
            source=SOURCE,
        ),
        check_equal(
            f"{name}-padding",
            f"{name}: share of the multiply-adds that reads padding",
            size.padding,
            expected=again.padding,
            reason=POSITIONS,
        ),
    ]


def family_claims(family: str, sizes: list[Size], again: list[Size]) -> list[Claim]:
    """Return the claims on all architectures of a family."""
    return [
        check_equal(
            f"family-{family}-nonzeros",
            f"{family}: nonzeros of the matrices of all convolutions and dense layers",
            [size.nonzeros for size in sizes],
            expected=[size.nonzeros for size in again],
            reason=POSITIONS,
        ),
        check_equal(
            f"family-{family}-density",
            f"{family}: their share of all entries of these matrices",
            [size.density for size in sizes],
            expected=[size.density for size in again],
            reason=POSITIONS,
        ),
    ]


def overall_claims(sizes: Sizes, claims: list[Claim], most: float) -> list[Claim]:
    """Return the claims on all architectures together; ``most`` is the largest share of padding by other means."""
    shares = {family: [size.padding for size in members.values()] for family, members in sizes.items()}
    n_networks, n_met = sum(map(len, shares.values())), sum(claim.verdict == "reproduced" for claim in claims)
    return [
        check_equal(
            "architectures",
            "entries of the published table whose parameters and multiply-adds are met",
            n_met / 2,
            expected=n_networks,
            reason="all entries that were described; some architectures have several, for images of other sizes",
        ),
        check_equal(
            "padding-most",
            "largest share of the multiply-adds that reads padding",
            max(map(max, shares.values())),
            expected=most,
            reason=POSITIONS,
        ),
        check_equal(
            "unpadded",
            "families whose multiply-adds never read padding",
            [family for family, members in shares.items() if not any(members)],
            expected=["vit", "swin"],
            reason="their convolution cuts the image into patches: its stride is the kernel's size, without padding",
        ),
    ]


# --- figures ---------------------------------------------------------------------------------------------------------


def _colours() -> dict[str, tuple[str, str]]:
    """Return the group of each family and its colour."""
    chosen = [COLOURS[number] for number in (0, 2, 6, 4, 5)]
    return {
        family: (group, colour)
        for (group, families), colour in zip(GROUPS.items(), chosen, strict=True)
        for family in families
    }


def _padding_figure(sizes: Sizes) -> Figure:
    """Draw the share of padding of every network, one line per family."""
    figure = new_figure(PANEL_WIDTH, 4.4)
    axes = figure.subplots()
    colours = _colours()
    for row, (family, members) in enumerate(sizes.items()):
        shares = [100 * size.padding for size in members.values()]
        axes.plot(shares, [row] * len(shares), "o", color=colours[family][1], alpha=0.75, markeredgewidth=0)
    axes.set_yticks(range(len(sizes)), [family.replace("_", " ") for family in sizes])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("share of the published multiply-adds\nthat reads padding (%)")
    axes.set_xlim(left=-0.2)
    return figure


def _size_figure(sizes: Sizes) -> Figure:
    """Draw the multiply-adds of every network against its parameters."""
    figure = new_figure(PANEL_WIDTH, 3.4)
    axes = figure.subplots()
    colours = _colours()
    drawn: dict[str, tuple[list[float], list[float]]] = {}
    for family, members in sizes.items():
        xs, ys = drawn.setdefault(colours[family][0], ([], []))
        xs += [size.parameters / 1e6 for size in members.values()]
        ys += [size.multiply_adds / 1e9 for size in members.values()]
    by_group = dict(colours.values())
    for (group, (xs, ys)), marker in zip(drawn.items(), itertools.cycle("osD^v"), strict=False):
        axes.loglog(xs, ys, marker, color=by_group[group], alpha=0.75, markeredgewidth=0, label=group)
    axes.grid(alpha=0.3)
    axes.set_xlabel("parameters (millions)")
    axes.set_ylabel("multiply-adds without padding (billions)")
    axes.legend(frameon=False)
    return figure
