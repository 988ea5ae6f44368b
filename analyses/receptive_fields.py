"""Receptive fields: what a unit reads, exactly by sparse products and by formula, from one layer to VGG-16.

Source: Goodfellow, Bengio, Courville, Deep Learning (MIT Press, 2016), Figs. 9.2 to 9.5, 9.13; for VGG-16 the sizes
196 (conv5_3) and 212 (pool5) that r = 1 + sum (k_l - 1) prod_{j<l} s_j gives (Araujo, Norris, Sim, Computing receptive
fields of convolutional neural networks, Distill 2019); for LeNet-5 the architecture of LeCun et al. 1998.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import convmatrix as cm
from analyses import Claim, Context, check_equal, published_equal
from analyses._figures import PAGE_WIDTH, new_figure
from convmatrix.counts import network_layers
from convmatrix.graph import receptive_field, receptive_field_size
from convmatrix.plotting import plot_connections

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOOK = "Goodfellow et al. 2016"
FORMULA = "r = 1 + sum (k_l - 1) prod_{j<l} s_j, for the published architecture"


def run(context: Context) -> list[Claim]:
    """Follow units back to what they read, and compare with the formula."""
    layer = cm.ConvGeometry(5, 3, padding="same")
    pattern = layer.pattern()
    dense = cm.ConvGeometry(1, 1, in_channels=5, out_channels=5).pattern()
    context.save_figure(_figure(pattern, dense))
    affected = np.unique(pattern.rows[pattern.cols == 2])
    one, two = receptive_field(pattern, 2), receptive_field([pattern, pattern], 2)
    claims = [
        published_equal(
            "x3", "Fig. 9.2: outputs that x3 affects", len(affected), published=3, source=f"{BOOK}, Fig. 9.2"
        ),
        published_equal("s3", "Fig. 9.3: inputs that s3 reads", len(one), published=3, source=f"{BOOK}, Fig. 9.3"),
        published_equal(
            "deeper",
            "Fig. 9.4: deeper units read more inputs",
            len(two) > len(one),
            published=True,
            source=f"{BOOK}, Fig. 9.4",
        ),
    ]
    widths, shrinking = [16], []
    while widths[-1] >= 6:
        shrinking.append(cm.ConvGeometry(widths[-1], 6))
        widths.append(shrinking[-1].output_shape[0])
    claims += [
        published_equal(
            "widths", "Fig. 9.13: widths without padding", widths, published=[16, 11, 6, 1], source=f"{BOOK}, Fig. 9.13"
        ),
        check_equal(
            "last-unit",
            "Fig. 9.13: inputs that the last unit reads",
            receptive_field(shrinking, 0),
            expected=list(range(16)),
            reason="one unit is left when its field is the whole input",
        ),
    ]
    return claims + _vgg16() + _lenet5()


def _spatial_layers(name: str) -> dict[str, cm.ConvGeometry]:
    return {la.name: la.geometry for la in network_layers(name) if la.kind in ("convolution", "pooling")}


def _vgg16() -> list[Claim]:
    layers = _spatial_layers("vgg16")
    chain = list(layers.values())
    claims = []
    for name, size in {"conv5_3": 196, "pool5": 212}.items():
        part = chain[: list(layers).index(name) + 1]
        field = receptive_field_size(part)
        centre = tuple(n // 2 for n in field.output_shape)
        channels, rows, columns = np.unravel_index(receptive_field(part, (0, *centre)), (3, *chain[0].input_shape))
        claims += [
            published_equal(
                f"vgg16-{name}-formula",
                f"VGG-16 {name}: field by formula",
                field.size,
                published=(size, size),
                source=FORMULA,
            ),
            check_equal(
                f"vgg16-{name}-exact",
                f"VGG-16 {name}: exact field of the centre unit, channels x rows x columns",
                [len(np.unique(index)) for index in (channels, rows, columns)],
                expected=[3, *field.size],
                reason="the formula, where the border does not cut",
            ),
            check_equal(
                f"vgg16-{name}-samples",
                f"VGG-16 {name}: samples that it reads",
                len(rows),
                expected=3 * field.size[0] * field.size[1],
                reason="a field without gaps",
            ),
        ]
    corner = np.unravel_index(receptive_field(chain, (0, 0, 0)), (3, *chain[0].input_shape))
    low, high = receptive_field_size(chain).extent((0, 0))[0]
    claims.append(
        check_equal(
            "pool5-corner",
            "VGG-16 pool5: rows that the corner unit reads, first and last",
            (corner[1].min(), corner[1].max()),
            expected=(max(low, 0), high),
            reason=f"the field begins {-low} samples before the image, where the border cuts it",
        )
    )
    return claims


def _lenet5() -> list[Claim]:
    layers = _spatial_layers("lenet5")
    chain = list(layers.values())
    patterns = [geometry.pattern() for geometry in chain]
    claims = []
    for depth, name in enumerate(layers, start=1):
        field = receptive_field_size(chain[:depth])
        exact = [len(receptive_field(patterns[:depth], unit)) for unit in range(patterns[depth - 1].shape[0])]
        claims.append(
            check_equal(
                f"lenet5-{name}",
                f"LeNet-5 {name}: samples that its units read",
                set(exact),
                expected=[field.size[0] * field.size[1]],
                reason=f"{field.size[0]} x {field.size[1]} by formula; without padding the border cuts none",
            )
        )
    return claims


def _figure(pattern: cm.WeightPattern, dense: cm.WeightPattern) -> Figure:
    """Draw Figs. 9.2 to 9.5 anew: what an input affects, what a unit reads, what depth adds, what one weight does."""
    figure = new_figure(PAGE_WIDTH, 5.6)
    panels = figure.subplots(3, 2, height_ratios=(1, 1, 1.6)).ravel().tolist()
    plots: tuple[tuple[str, Any, dict[str, Any]], ...] = (
        ("sparse: an input affects 3 units", pattern, {"input_unit": 2}),
        ("dense: it affects all", dense, {"input_unit": 2}),
        ("sparse: a unit reads 3 inputs", pattern, {"output_unit": 2}),
        ("dense: it reads all", dense, {"output_unit": 2}),
        ("two sparse layers: a unit reads all", [pattern, pattern], {"output_unit": 2}),
        ("sharing: one weight, used 5 times", pattern, {"weight": 1}),
    )
    for axes, (title, layers, marked) in zip(panels, plots, strict=True):
        plot_connections(layers, ax=axes, **marked)
        axes.set_title(title)
    return figure
