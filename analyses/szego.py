"""Szego's theorem: the spectrum of a Toeplitz matrix approaches its symbol as the layer grows, and how fast.

Source: Grenander and Szego, Toeplitz forms and their applications, 1958, for the distribution of the eigenvalues, their
extremes and determinants; Widom, Trans. Amer. Math. Soc. 88, 1958, for the rate of the extremes; Parter, Linear Algebra
Appl. 80, 1986, and Avram, Probab. Theory Related Fields 79, 1988, for singular values; Tilli, Linear Algebra Appl. 278,
1998, for several levels. The layers are zero-padded; the symbol is that of the same kernel on a fine ring. The papers
print no such numbers, so that all verdicts are "checked".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

import convmatrix as cm
from analyses import Claim, Context, check_equal, check_within
from analyses._figures import COLOURS, PAGE_WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convmatrix.arrays import Array

KERNEL = np.array([0.5, 1, 2, 1, 0.5])  # symbol 2 + 2 cos theta + cos 2 theta, neither monotone nor convex
RING = 2**16  # samples of the symbol


def run(context: Context) -> list[Claim]:
    """Compare spectra of growing layers with the symbol: all values, means, extremes; then singular values."""
    sizes = [2**power for power in range(3, 9 if context.quick else 12)]
    spectra = {n: eigenvalues(KERNEL, n) for n in sizes}
    f = np.sort(cm.spectral.transfer_function(KERNEL, RING, padding="same", boundary="circular").real)
    distances = {n: distance(values, f) for n, values in spectra.items()}
    gaps = {n: (f[-1] - values[-1], values[0] - f[0]) for n, values in spectra.items()}
    rng = np.random.default_rng(0)
    lopsided = rng.standard_normal(6)
    square = rng.standard_normal((3, 3))
    sides = (4, 8, 16) if context.quick else (4, 8, 16, 32)
    one_level = {n: singular_distance(lopsided, (n,)) for n in sizes[:8]}
    two_levels = {n: singular_distance(square, (n, n)) for n in sides}
    context.save_figure(_figure(spectra, f, distances, gaps))
    return [
        blur_claim(sizes[-1]),
        *distribution_claims(spectra, f, distances),
        *extreme_claims(spectra, f, gaps),
        rate_claim(
            "rate-one-level", "mean distance of singular values from the symbol's modulus, 6 random taps", one_level, -1
        ),
        rate_claim("rate-two-levels", "the same on two levels, 3 x 3 random taps, by side", two_levels, -1),
    ]


# --- what is computed ------------------------------------------------------------------------------------------------


def eigenvalues(kernel: Array, n: int) -> Array:
    """Return the eigenvalues of a symmetric zero-padded layer, the smallest first."""
    return np.asarray(np.linalg.eigvalsh(cm.conv_matrix(kernel, n, padding="same").toarray()))


def distance(values: Array, symbol: Array) -> float:
    """Return the mean distance between sorted values and sorted samples of the symbol: Wasserstein's."""
    quantiles = symbol.reshape(len(values), -1)  # as many samples of the symbol belong to each value
    return float(np.abs(quantiles - values[:, None]).mean())


def singular_distance(kernel: Array, shape: tuple[int, ...]) -> float:
    """Return the mean distance of a layer's singular values from the modulus of its symbol."""
    values = np.sort(cm.spectral.singular_values(kernel, shape, padding="same"))
    fine = tuple(n * (64 if len(shape) == 1 else 8) for n in shape)
    symbol = cm.spectral.transfer_function(kernel, fine, padding="same", boundary="circular")
    return distance(values, np.sort(np.abs(symbol), axis=None))


def slope(numbers: dict[int, float]) -> float:
    """Return the exponent r of n^r between the last two sizes, a factor of two apart; nan where a sign changes."""
    *_, before, last = numbers.values()
    return math.log2(last / before) if last * before > 0 else math.nan


# --- claims ----------------------------------------------------------------------------------------------------------


def blur_claim(n: int) -> Claim:
    """Compare the eigenvalues of [1/4, 1/2, 1/4] with samples of its symbol, which they are exactly."""
    angles = np.arange(n, 0, -1) * np.pi / (n + 1)
    return check_within(
        "binomial",
        f"eigenvalues of [1/4, 1/2, 1/4], n = {n}: largest difference from its symbol cos^2(theta/2) at j pi/(n+1)",
        float(np.abs(eigenvalues(np.array([0.25, 0.5, 0.25]), n) - np.cos(angles / 2) ** 2).max()),
        (0, 1e-13),
        reason="closed form for tridiagonal Toeplitz matrices; rounding",
    )


def rate_claim(key: str, statement: str, numbers: dict[int, float], rate: int) -> Claim:
    """Compare the rate at which numbers fall with a theoretical one."""
    sizes = list(numbers)
    shown = ", ".join(f"{number:.2g}" for number in numbers.values())
    return check_within(
        key,
        f"{statement}: exponent of n from n = {sizes[-2]} to {sizes[-1]} ({shown} for {', '.join(map(str, sizes))})",
        slope(numbers),
        (rate - 0.15, rate + 0.15),
        reason=f"about n^{rate}: the border is so much of a banded layer",
    )


def distribution_claims(spectra: dict[int, Array], f: Array, distances: dict[int, float]) -> list[Claim]:
    """Return the claims on the distribution of the eigenvalues."""
    n = max(spectra)
    values, lags = spectra[n], np.abs(np.arange(-2, 3))
    ring = cm.spectral.transfer_function(KERNEL, RING, padding="same", boundary="circular").real
    cepstrum = np.fft.fft(np.log(ring), norm="forward").real[: RING // 2]  # Fourier coefficients of log f
    return [
        rate_claim("rate-eigenvalues", "mean distance of eigenvalues from the symbol, sorted", distances, -1),
        check_within(
            "squares",
            f"mean of f^2 over the symbol less that of the squared eigenvalues, times n, n = {n}, less sum |k| a_k^2",
            abs(n * float(np.square(f).mean() - np.square(values).mean()) - float((lags * KERNEL**2).sum())),
            (0, 1e-12 * n),
            reason="the diagonal k has |k| entries fewer than n; rounding",
        ),
        check_within(
            "log",
            f"mean of log over the eigenvalues less that over the symbol, times n, n = {n}, less sum k c_k^2",
            abs(n * float(np.log(values).mean() - np.log(f).mean()) - float(np.arange(RING // 2) @ cepstrum**2)),
            (0, 1e-11 * n),
            reason="Szego's strong limit theorem for the determinant, c_k the coefficients of log f; rounding",
        ),
    ]


def extreme_claims(spectra: dict[int, Array], f: Array, gaps: dict[int, tuple[float, float]]) -> list[Claim]:
    """Return the claims on the extremes."""
    largest, smallest = ({n: gap[i] for n, gap in gaps.items()} for i in (0, 1))
    n = max(spectra)
    lags = np.arange(-2, 3)
    curvature = float((lags**2 * KERNEL).sum())  # -f'' at theta = 0, where the largest value of f is
    tops, bottoms = ([float(values[i]) for values in spectra.values()] for i in (-1, 0))
    return [
        check_equal(
            "inside",
            f"sizes, of {len(spectra)}, whose eigenvalues all lie inside the range of the symbol",
            sum(bool(f[0] < values[0] and values[-1] < f[-1]) for values in spectra.values()),
            expected=len(spectra),
            reason="the matrix compresses the multiplication by the symbol",
        ),
        check_equal(
            "monotone",
            "whether the largest eigenvalues rise and the smallest ones fall with n",
            [tops == sorted(tops), bottoms == sorted(bottoms, reverse=True)],
            expected=[True, True],
            reason="interlacing: each matrix is a block of the next one",
        ),
        rate_claim("rate-largest", "largest value of the symbol less the largest eigenvalue", largest, -2),
        rate_claim("rate-smallest", "smallest eigenvalue less the smallest value of the symbol", smallest, -2),
        check_within(
            "largest",
            f"(sup f - largest eigenvalue) n^2 / (-f''(0) pi^2 / 2), n = {n}",
            largest[n] * n**2 / (curvature * math.pi**2 / 2),
            (0.9, 1.0),
            reason="Widom: it tends to one, from below as (n / (n + c))^2",
        ),
    ]


# --- figure ----------------------------------------------------------------------------------------------------------


def _figure(
    spectra: dict[int, Array], f: Array, distances: dict[int, float], gaps: dict[int, tuple[float, float]]
) -> Figure:
    figure = new_figure(PAGE_WIDTH, 3.0)
    left, right = figure.subplots(1, 2)
    step = len(f) // 512
    left.plot((np.arange(0, len(f), step) + 0.5) / len(f), f[::step], color="black", label="symbol, sorted")
    for colour, n in zip((COLOURS[5], COLOURS[2], COLOURS[4]), (8, 16, 64), strict=True):
        places = (np.arange(n) + 0.5) / n
        left.plot(places, spectra[n], ".", color=colour, label=f"eigenvalues, n = {n}", markersize=8 if n < 64 else 4)
    left.set(xlabel="fraction of the values below", ylabel="value")
    left.legend(frameon=False)
    sizes = list(distances)
    right.plot(sizes, list(distances.values()), "o-", color=COLOURS[4], label="mean distance of all")
    right.plot(sizes, [gap[0] for gap in gaps.values()], "s-", color=COLOURS[5], label="of the largest")
    right.plot(sizes, [gap[1] for gap in gaps.values()], "v-", color=COLOURS[2], label="of the smallest")
    right.plot(sizes, [2 / n for n in sizes], ":", color="0.5", label="2 / n")
    right.plot(sizes, [60 / n**2 for n in sizes], "--", color="0.5", label="60 / n$^2$")
    right.set(xscale="log", yscale="log", xlabel="n", ylabel="distance from the symbol")
    right.set_ylim(bottom=min(gap[1] for gap in gaps.values()) / 100)  # room for the legend
    right.legend(loc="lower left", frameon=False)
    return figure
