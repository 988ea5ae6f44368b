"""Bounds on the norm of a layer: widths and violations of ours and of the published ones, by boundary and size.

Source of the bounds, each a function of `convmatrix.spectral.published`: Sedghi, Gupta, Long (2019); Singla and Feizi
(2021); Araujo et al. (2021); Delattre et al. (2023, 2024); and the maximum of the symbol on a grid. Layers are random
ones, with kernels odd and even, rectangular, of one and of several channels and longer than the input, and those of a
network trained on digits; each with all five boundaries. The truth is a dense singular value decomposition. Times are
those of ``python -m benchmarks spectrum --topic bounds``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

import convmatrix as cm
from analyses import Claim, Context, check_equal, check_within
from analyses._figures import COLOURS, new_figure
from analyses.layer_spectra import trained_layers
from convmatrix import spectral
from convmatrix.boundary import PLAIN
from convmatrix.spectral import published

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Array = NDArray[Any]

GRID = 50
PUBLISHED: dict[str, Callable[[Array, tuple[int, ...]], float]] = {
    "Sedghi 2019": lambda w, shape: published.sedghi(w, shape),
    "longer ring": lambda w, shape: published.longer_ring(w, shape),
    "Singla, Feizi 2021": lambda w, shape: published.singla_feizi(w, len(shape)),
    "Araujo 2021": lambda w, shape: published.araujo(w, len(shape), GRID),
    "Delattre 2023": lambda w, shape: published.delattre_circular(w, shape),
    "Delattre 2024": lambda w, shape: published.delattre_zero(w, len(shape)),
    "symbol on a grid": lambda w, shape: published.grid_bound(w, GRID, len(shape)),
}
MEANT_FOR = {
    "Sedghi 2019": ("circular",),
    "Singla, Feizi 2021": ("zero", "circular"),
    "Delattre 2023": ("circular",),
    "Delattre 2024": ("zero",),
    "symbol on a grid": ("zero", "circular"),
}
"""The boundaries that each bound is stated for; the others are bounds for odd kernels, or for a grid without end."""
OURS, TOL = "norm_bounds", 1e-3
SLACK = 1e-12
"""By how much, relative to the norm, a bound may be below a norm that is itself computed."""


def run(context: Context) -> list[Claim]:
    """Compute all bounds of all layers."""
    ratios: dict[tuple[str, str], list[float]] = defaultdict(list)  # of bound to norm, by bound and boundary
    lower_ratios, widths = [], []
    closest, n_stated = 0, 0
    layers = _layers(context.quick)
    for kernel, shape in layers.values():
        others = {name: bound(kernel, shape[1:]) for name, bound in PUBLISHED.items()}
        for boundary in PLAIN:
            options: dict[str, Any] = {"padding": "same", "boundary": boundary}
            norm = float(np.linalg.norm(cm.conv_matrix(kernel, shape, **options).toarray(), 2))
            lower, upper = spectral.norm_bounds(kernel, shape, **options)
            refined = spectral.norm_bounds(kernel, shape, tol=TOL, **options)
            ratios[OURS, boundary].append(upper / norm)
            lower_ratios += [lower / norm, refined[0] / norm]
            ratios["norm_bounds, tol=1e-3", boundary].append(refined[1] / norm)
            widths.append(refined[1] / refined[0] - 1)
            for name, value in others.items():
                ratios[name, boundary].append(value / norm)
            stated = [value for name, value in others.items() if boundary in MEANT_FOR.get(name, ())]
            if stated:
                n_stated += 1
                closest += upper <= min(stated) * (1 + 1e-9)
    n_cases = len(layers) * len(PLAIN)
    context.save_figure(_figure(ratios))
    ours = [ratio for (name, _), found in ratios.items() if name.startswith(OURS) for ratio in found]
    claims = [
        check_equal(
            "violations",
            f"norm_bounds: violations, above and below, with and without tol ({n_cases} layers)",
            _violations(ours) + sum(ratio > 1 + SLACK for ratio in lower_ratios),
            expected=0,
            reason="the proof in its docstring",
        ),
        check_within(
            "width-tol",
            f"norm_bounds with tol={TOL:g}: largest relative width",
            max(widths),
            0,
            TOL,
            reason="what tol asks for",
        ),
        check_within(
            "closest-share",
            f"norm_bounds without tol: share of {n_stated} zero and circular layers on which it is at least as close "
            "as every published bound that is stated for them",
            closest / n_stated,
            0.9,
            1,
            reason="it takes the best of several bounds",
        ),
    ]
    claims += [
        check_within(
            f"ratio-{boundary}",
            f"norm_bounds without tol, {boundary}: median of upper / norm",
            float(np.median(ratios[OURS, boundary])),
            1 - SLACK,
            limit,
            reason=reason,
        )
        for boundary, limit, reason in (
            ("circular", 1 + 1e-9, "the blocks are exact"),
            ("zero", 1.1, "the longer ring is close, the more so the larger the image"),
        )
    ]
    for name, boundaries in MEANT_FOR.items():
        found = [ratio for boundary in boundaries for ratio in ratios[name, boundary]]
        claims.append(
            check_equal(
                f"{name}-violations",
                f"{name}: violations on {' and '.join(boundaries)} layers, which it is meant for",
                _violations(found),
                expected=0,
                reason="its theorem",
            )
        )
    sedghi = _violations(ratios["Sedghi 2019", "zero"])
    claims.append(
        check_within(
            "sedghi-zero",
            "Sedghi 2019, taken as a bound on zero-padded layers: violations",
            sedghi,
            1,
            len(layers),
            reason="it is no bound for them, as [1, -2, 1] shows",
        )
    )
    return claims


def _layers(quick: bool) -> dict[str, tuple[Array, tuple[int, ...]]]:
    """Return kernels, and the shapes of their inputs with channels."""
    rng = np.random.default_rng(7)
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((1, 1, 3), (1, 16)),
        ((1, 1, 3, 3), (1, 8, 8)),
        ((4, 2, 3, 3), (2, 8, 8)),
        ((2, 3, 4, 2), (3, 7, 9)),
        ((2, 2, 9, 9), (2, 6, 6)),
    ]
    if not quick:
        shapes += [
            ((1, 1, 45), (1, 30)),
            ((1, 1, 5, 5), (1, 24, 24)),
            ((4, 4, 3, 3), (4, 4, 4)),
            ((4, 4, 3, 3), (4, 14, 14)),
            ((8, 8, 3, 3), (8, 10, 10)),
            ((8, 4, 2, 2), (4, 12, 12)),
            ((3, 3, 3, 1), (3, 5, 20)),
            ((2, 2, 3, 3, 3), (2, 6, 6, 6)),
        ]
    layers: dict[str, tuple[Array, tuple[int, ...]]] = {"[1, -2, 1]": (np.array([[[1.0, -2.0, 1.0]]]), (1, 3))}
    for kernel_shape, shape in shapes:
        name = f"random {'x'.join(map(str, kernel_shape))} on {'x'.join(map(str, shape))}"
        layers[name] = (rng.standard_normal(kernel_shape), shape)
    return layers | {name: (kernel, shape) for name, (kernel, shape, _) in trained_layers(10 if quick else 15).items()}


def _violations(ratios: list[float]) -> int:
    return sum(ratio < 1 - SLACK for ratio in ratios)


def _figure(ratios: dict[tuple[str, str], list[float]]) -> Figure:
    """Draw the ratio of bound to norm of each layer: a row a bound, a colour a boundary; below one it is no bound."""
    names = list(dict.fromkeys(name for name, _ in ratios))
    names.sort(key=lambda name: (not name.startswith(OURS), name != OURS))
    figure = new_figure(9, 5.2)
    axes = figure.subplots()
    axes.axvspan(0.1, 1, color="0.93")
    axes.axvline(1, color="0.3", linewidth=0.8)
    for number, boundary in enumerate(PLAIN):
        for row, name in enumerate(names):
            found = np.array(ratios[name, boundary])
            heights = np.full(len(found), row + 0.15 * (number - 2))
            label = boundary if row == 0 else None
            axes.plot(found, heights, ".", color=(*COLOURS[:3], *COLOURS[4:6])[number], markersize=6, label=label)
    for row, name in enumerate(names):
        share = [_violations(ratios[name, boundary]) for boundary in PLAIN]
        total = sum(len(ratios[name, boundary]) for boundary in PLAIN)
        axes.text(1.01, row, f"{sum(share)} of {total}", transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    axes.text(1.01, -0.8, "below 1", transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    axes.set_yticks(range(len(names)), names)
    smallest = min(min(found) for found in ratios.values())
    axes.set(xlabel="bound / norm (grey: below the norm)", xscale="log", ylim=(len(names) - 0.5, -1.1))
    axes.set_xlim(left=0.8 * min(smallest, 1.0))
    axes.set_xticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    axes.minorticks_off()
    axes.legend(frameon=False, ncols=5, loc="lower center", bbox_to_anchor=(0.45, 1.0))
    return figure
