"""How many free weights a symmetry leaves: the dimension of the equivariant linear maps of several groups.

Source: Maron, Ben-Hamu, Shamir, Lipman, Invariant and equivariant graph networks, ICLR 2019 (symmetric group on pairs:
15 equivariant and 2 invariant maps); Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.2 (convolution is
what commutes with translation). Dimensions are numbers of orbits of index pairs, counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyses import Claim, Context, check_equal, published_equal
from analyses._figures import PAGE_WIDTH, new_figure
from convmatrix import equivariance
from convmatrix.plotting import plot_matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convmatrix import WeightPattern

MARON = "Maron et al. 2019, theorem 1"


def run(context: Context) -> list[Claim]:
    """Count orbits."""
    points = (4, 5, 6) if context.quick else (4, 5, 6, 7, 8)
    pairs = {n: [equivariance.product(p, p) for p in equivariance.symmetric_generators(n)] for n in points}
    cyclic = {n: _dimension(equivariance.cyclic_generators(n)) for n in (3, 8, 17)}
    dihedral = {n: _dimension(equivariance.dihedral_generators(n)) for n in range(3, 13)}
    torus = {shape: _dimension(equivariance.torus_generators(shape)) for shape in ((2, 3), (4, 4), (8, 8))}
    taps = {(group, k): int(equivariance.tied_taps(k, group).max()) + 1 for group in ("C4", "D4") for k in (3, 5)}
    examples = {
        "cyclic, 6 points": equivariance.cyclic_generators(6),
        "dihedral, 6 points": equivariance.dihedral_generators(6),
        "torus, 2 x 3 points": equivariance.torus_generators((2, 3)),
        "symmetric, pairs of 4": pairs[4],
    }
    context.save_figure(_figure({name: equivariance.equivariant_pattern(g, g) for name, g in examples.items()}))
    return [
        published_equal(
            "pairs",
            f"equivariant maps of pairs under all permutations of {points[0]} to {points[-1]} points",
            [_dimension(steps) for steps in pairs.values()],
            published=[15] * len(points),
            source=MARON,
        ),
        published_equal(
            "pair-invariants",
            "invariant maps of pairs",
            [equivariance.equivariant_pattern([[0], [0]], steps).n_weights for steps in pairs.values()],
            published=[2] * len(points),
            source=MARON,
        ),
        check_equal(
            "cyclic",
            "maps that commute with the shift of 3, 8, 17 points",
            list(cyclic.values()),
            expected=list(cyclic),
            reason="they are the circulants: theorem circulant-converse",
        ),
        check_equal(
            "dihedral",
            "maps that commute with the dihedral group of 3 to 12 points",
            list(dihedral.values()),
            expected=[n // 2 + 1 for n in dihedral],
            reason="symmetric circulants: floor(n/2) + 1 distances",
        ),
        check_equal(
            "tori",
            "maps that commute with the shifts of tori of 2x3, 4x4, 8x8 points",
            list(torus.values()),
            expected=[int(np.prod(shape)) for shape in torus],
            reason="doubly block circulants: one weight a point",
        ),
        check_equal(
            "tied-taps",
            "free taps of 3x3 and 5x5 kernels tied by C4, then by D4",
            list(taps.values()),
            expected=[3, 7, 3, 6],
            reason="orbits of the taps, counted by hand",
        ),
    ]


def _dimension(generators: list[np.ndarray]) -> int:
    return equivariance.equivariant_pattern(generators, generators).n_weights


def _figure(patterns: dict[str, WeightPattern]) -> Figure:
    figure = new_figure(PAGE_WIDTH, 3.0)
    widths = [max(pattern.shape[1], 9) for pattern in patterns.values()]
    panels = figure.subplots(1, len(patterns), width_ratios=widths)
    for axes, (name, pattern) in zip(panels, patterns.items(), strict=True):
        plot_matrix(pattern, annotate=True, ax=axes)
        axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
        axes.set_title(f"{name}:\n{pattern.n_weights} weights")
    return figure
