"""The network for zip codes of 1989: its table of units, connections and weights, from the matrices of its layers.

Source: LeCun et al., Backpropagation applied to handwritten zip code recognition, Neural Computation 1(4), 1989, the
table of the architecture. Biases are not shared, even within a map. Connections include the bias, and those that read
beyond the image, which see a constant background.

What is not published is marked as a choice: which eight maps of H1 a map of H2 reads, and on which side the third
sample of padding lies. Neither changes a published number; an analysis of other choices says so.
"""

from __future__ import annotations

import numpy as np

import convmatrix as cm
from analyses import Claim, Context, check_equal, published_equal
from convmatrix.counts import network_counts, network_layers

SOURCE = "LeCun et al. 1989, table of the architecture"
PUBLISHED = {  # units, connections, weights, biases
    "H1": (768, 19_968, 300, 768),
    "H2": (192, 38_592, 2_400, 192),
    "H3": (30, 5_790, 5_760, 30),
    "output": (10, 310, 300, 10),
}


def run(context: Context) -> list[Claim]:
    """Count the network by formula, and its convolutions by their matrices on the padded images."""
    counts = network_counts("lecun1989")
    claims = []
    for name, published in PUBLISHED.items():
        for what, value in zip(("units", "connections", "weights", "biases"), published, strict=True):
            found = getattr(counts[name], what)
            claims.append(published_equal(f"{name}-{what}", f"{name}: {what}", found, published=value, source=SOURCE))
    total = counts.total
    claims += [
        published_equal("units", "units, the input counted", total.units, published=1_256, source=SOURCE),
        published_equal("connections", "connections", total.connections, published=64_660, source=SOURCE),
        published_equal("parameters", "parameters", total.parameters, published=9_760, source=SOURCE),
    ]
    for part in network_layers("lecun1989"):
        if part.kind == "convolution":
            claims += _against_matrices(part.name, part.geometry, counts[part.name].connections)
    return claims


def _against_matrices(name: str, geometry: cm.ConvGeometry, connections: int) -> list[Claim]:
    """Build the layer on the image with its background around it, and with the padding on the other side."""
    options = {key: value for key, value in geometry.options().items() if key != "padding"}
    sizes = [n + low + high for n, (low, high) in zip(geometry.input_shape, geometry.padding, strict=True)]
    padded = cm.ConvGeometry(sizes, geometry.kernel_shape, **options)
    matrix = padded.pattern().matrix(np.ones(padded.weight_shape, dtype=np.int8))
    other_side = [(high, low) for low, high in geometry.padding]
    mirrored = cm.ConvGeometry(geometry.input_shape, geometry.kernel_shape, **{**options, "padding": other_side})
    inside = [g.pattern().n_entries for g in (geometry, mirrored)]
    return [
        check_equal(
            f"{name}-nonzeros",
            f"{name}: nonzeros of the matrix on the padded image, and a bias a unit",
            matrix.nnz + matrix.shape[0],
            expected=connections,
            reason="these are the connections that the formula counts",
        ),
        check_equal(
            f"{name}-padding-side",
            f"{name}: connections inside the image, for padding 1 + 2 less those for 2 + 1",
            inside[0] - inside[1],
            expected=0,
            reason="the side of the third sample is not published; by symmetry it changes no count",
        ),
    ]
