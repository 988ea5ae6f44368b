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
from analyses._figures import COLOURS, PAGE_WIDTH, new_figure
from analyses.layer_spectra import trained_layers
from convmatrix import spectral
from convmatrix.boundary import PLAIN
from convmatrix.spectral import published

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from convmatrix.arrays import Array

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
    odd = np.array([all(size % 2 for size in kernel.shape[2:]) for kernel, _ in layers.values()])
    context.save_figure(_figure(ratios, odd))
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
            (0, TOL),
            reason="what tol asks for",
        ),
        check_within(
            "closest-share",
            f"norm_bounds without tol: share of {n_stated} zero and circular layers on which it is at least as close "
            "as every published bound that is stated for them",
            closest / n_stated,
            (0.9, 1),
            reason="it takes the best of several bounds",
        ),
    ]
    claims += [
        check_within(
            f"ratio-{boundary}",
            f"norm_bounds without tol, {boundary}: median of upper / norm",
            float(np.median(ratios[OURS, boundary])),
            (1 - SLACK, limit),
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
            (1, len(layers)),
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


def _figure(ratios: dict[tuple[str, str], list[float]], odd: NDArray[np.bool_]) -> Figure:
    """Draw the ratio of bound to norm of each layer: a row per bound, a colour per boundary; below one it is no bound.

    Markers of layers that a bound is not stated for are hollow.
    """
    names = list(dict.fromkeys(name for name, _ in ratios))
    names.sort(key=lambda name: (not name.startswith(OURS), name != OURS))
    figure = new_figure(PAGE_WIDTH, 4.6)
    axes = figure.subplots()
    axes.axvspan(0.1, 1, color="0.93")
    axes.axvline(1, color="0.3", linewidth=0.8)
    looks = dict(zip(PLAIN, zip((COLOURS[i] for i in (0, 4, 5, 2, 7)), "os^Dv", strict=True), strict=True))
    beside = axes.get_yaxis_transform()
    for row, name in enumerate(names):
        counts = {True: [0, 0], False: [0, 0]}  # by whether the bound is stated: violations, and layers
        for number, (boundary, (colour, marker)) in enumerate(looks.items()):
            found, stated = np.array(ratios[name, boundary]), _stated(name, boundary, odd)
            for case, face in ((True, colour), (False, "none")):
                chosen = found[stated == case]
                heights = np.full(len(chosen), row + 0.16 * (number - 2))
                axes.plot(chosen, heights, marker, color=colour, markerfacecolor=face, markersize=3.5, mew=0.7)
                counts[case][0] += _violations(chosen.tolist())
                counts[case][1] += len(chosen)
        for place, (below, total) in zip((1.11, 1.31), counts.values(), strict=True):
            axes.text(place, row, f"{below} of {total}" if total else "-", transform=beside, va="center", ha="center")
    for place, text in ((1.11, "stated,\nbelow 1"), (1.31, "not stated,\nbelow 1")):
        axes.text(place, -0.95, text, transform=beside, va="center", ha="center")
    axes.set_yticks(range(len(names)), names)
    smallest = min(min(found) for found in ratios.values())
    words = "bound / norm; grey: below the norm; hollow: a layer that it is not stated for"
    axes.set(xlabel=words, xscale="log", ylim=(len(names) - 0.5, -1.4))
    axes.set_xlim(left=0.8 * min(smallest, 1.0))
    axes.set_xticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    axes.minorticks_off()
    for boundary, (colour, marker) in looks.items():
        axes.plot([], [], marker, color=colour, markersize=5, label=boundary)
    axes.legend(frameon=False, ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0), columnspacing=1.2)
    return figure


def _stated(name: str, boundary: str, odd: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return for which layers a bound is stated, given which have odd kernels; ours is for all."""
    if name == "longer ring":
        return odd & (boundary == "zero")
    if name == "Araujo 2021":  # as the grid grows; on a finite one it can be smaller
        return np.full(len(odd), boundary in ("zero", "circular"))
    return np.full(len(odd), name.startswith(OURS) or boundary in MEANT_FOR.get(name, ()))
