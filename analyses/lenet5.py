"""LeNet-5: its table of parameters and connections, from the patterns of its layers and its connection table.

Source: LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, Proc. IEEE 86(11),
1998, section II.B and Table I. The published total of 340,908 connections holds only with the 840 fixed connections of
the radial basis functions at the output.
"""

from __future__ import annotations

from analyses import Claim, Context, check_equal, published_equal
from convmatrix.counts import network_counts, network_layers

SOURCE = "LeCun et al. 1998, section II.B"
PUBLISHED = {  # parameters, connections
    "C1": (156, 122_304),
    "S2": (12, 5_880),
    "C3": (1_516, 151_600),
    "S4": (32, 2_000),
    "C5": (48_120, 48_120),
    "F6": (10_164, 10_164),
    "output": (0, 840),
}


def run(context: Context) -> list[Claim]:
    """Count the network, then take apart where its connections are."""
    counts = network_counts("lenet5")
    claims = []
    for name, published in PUBLISHED.items():
        for what, value in zip(("parameters", "connections"), published, strict=True):
            found = getattr(counts[name], what)
            claims.append(published_equal(f"{name}-{what}", f"{name}: {what}", found, published=value, source=SOURCE))
    total = counts.total
    claims += [
        published_equal("parameters", "trained parameters", total.parameters, published=60_000, source=SOURCE),
        published_equal("connections", "connections", total.connections, published=340_908, source=SOURCE),
        check_equal(
            "connections-without-output",
            "connections without those of the output",
            total.connections - counts["output"].connections,
            expected=sum(connections for name, (_, connections) in PUBLISHED.items() if name != "output"),
            reason="the published total is reached only with the fixed connections of the radial basis functions",
        ),
    ]
    for part in network_layers("lenet5"):
        if part.kind in ("convolution", "pooling"):
            pattern = part.geometry.pattern()
            claims.append(
                check_equal(
                    f"{part.name}-entries",
                    f"{part.name}: entries of the pattern, and a bias a unit",
                    pattern.n_entries + pattern.shape[0],
                    expected=counts[part.name].connections,
                    reason="no tap reads beyond the image, so that the pattern holds every connection",
                )
            )
    return claims
