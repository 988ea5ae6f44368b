"""Boundary conditions: a photograph deblurred with five of them, where the blur used the scene outside the frame.

Source: Hansen, Nagy, O'Leary, Deblurring images, SIAM 2006, chapters 3 and 4, for the eigenvalues of blurs with zero
and with symmetric ("reflexive") boundary, and for the claim that the symmetric boundary suits photographs. The
photograph is scikit-image's ``camera``: a larger part of it is blurred and cropped to the frame, so that no boundary is
right by construction; noise is added. Every boundary is given its best parameter, by the error itself; the symmetric
one also that of the discrepancy principle. scikit-image's ``wiener`` and SciPy's ``lsqr`` solve the same data;
the times of one run are printed, as ratios.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import dct
from scipy.sparse.linalg import lsqr
from skimage.data import camera
from skimage.restoration import wiener

import convmatrix as cm
from analyses import Claim, Context, check_equal, check_within
from analyses._figures import COLOURS, PAGE_WIDTH, PANEL_WIDTH, new_figure
from analyses.deblurring_boundaries import Frame, gaussian

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convmatrix.arrays import Array

BOUNDARIES = ("zero", "circular", "reflect", "symmetric", "replicate")  # others: analyses/deblurring_boundaries.py
NOISE = 0.005  # standard deviation, for grey values from 0 to 1
CORNER = (100, 100)  # of the frame, in the photograph


def run(context: Context) -> list[Claim]:
    """Check the eigenvalues, deblur with every boundary, and beside two other programs."""
    size = 128 if context.quick else 256
    photograph = Photograph.blurred(size, gaussian(2.5, radius=9))
    tried = np.geomspace(0.005, 0.5, 7 if context.quick else 13)
    errors: dict[str, list[float]] = {
        boundary: [photograph.error(photograph.deconvolve(boundary, parameter).x) for parameter in tried]
        for boundary in BOUNDARIES
    }
    best: dict[str, float] = {boundary: min(found) for boundary, found in errors.items()}
    parameters: dict[str, float] = {boundary: float(tried[np.argmin(found)]) for boundary, found in errors.items()}
    contenders = beside(photograph, parameters["symmetric"], few=context.quick)
    report(contenders)
    context.save_figure(_curves(photograph, tried, errors), "errors")
    context.save_figure(_pictures(photograph, parameters, contenders))
    return [
        *eigenvalue_claims(),
        *photograph_claims(photograph, best, parameters["symmetric"]),
        *contender_claims(contenders),
    ]


# --- eigenvalues -----------------------------------------------------------------------------------------------------


def eigenvalue_claims(n: int = 8) -> list[Claim]:
    """Compare the eigenvalues of a small blur with their closed forms."""
    blur = {
        boundary: cm.conv_matrix([0.25, 0.5, 0.25], n, padding="same", boundary=boundary).toarray()
        for boundary in ("zero", "symmetric", "reflect")
    }
    angles = {"zero": np.arange(1, n + 1) / (2 * n + 2), "symmetric": np.arange(n) / (2 * n)}
    cosines = dct(np.eye(n), axis=0, norm="ortho")
    diagonal = cosines @ blur["symmetric"] @ cosines.T
    claims = [
        check_within(
            f"eigenvalues-{boundary}",
            f"eigenvalues of the blur, {boundary} boundary: largest difference from {formula}",
            float(np.abs(np.linalg.eigvalsh(blur[boundary])[::-1] - np.cos(angles[boundary] * np.pi) ** 2).max()),
            (0, 1e-14),
            reason="closed form; rounding of double precision",
        )
        for boundary, formula in (("zero", "cos^2(j pi/18), j = 1..8"), ("symmetric", "cos^2(j pi/16), j = 0..7"))
    ]
    return [
        *claims,
        check_within(
            "dct-diagonal",
            "largest entry off the diagonal after the DCT-II, symmetric boundary",
            float(np.abs(diagonal - np.diag(np.diag(diagonal))).max()),
            (0, 1e-14),
            reason="the DCT-II diagonalises symmetric blurs with this boundary",
        ),
        check_equal(
            "reflect-asymmetry",
            "pairs of entries by which the matrix of the reflect boundary is not symmetric",
            int(np.count_nonzero(np.triu(blur["reflect"] != blur["reflect"].T))),
            expected=2,
            reason="the first and the last row read their neighbour twice, and are read back once",
        ),
    ]


# --- the photograph --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Photograph(Frame):
    """A frame of the photograph, and what a camera out of focus sees of it."""

    @classmethod
    def blurred(cls, size: int, kernel: Array) -> Photograph:
        """Blur a larger part of the photograph, of which only the frame stays, and add noise."""
        margin = len(kernel) // 2
        rows, columns = (slice(start - margin, start + size + margin) for start in CORNER)
        return cls.of(camera()[rows, columns] / 255.0, kernel, size, NOISE)

    def deconvolve(self, boundary: str, parameter: Any = "discrepancy") -> cm.solve.Deconvolution:
        """Return the Tikhonov solution for a boundary."""
        noise = NOISE if parameter == "discrepancy" else None
        shape = self.scene.shape
        return cm.solve.deconvolve(
            self.image, self.kernel, shape, parameter=parameter, noise=noise, padding="same", boundary=boundary
        )


def photograph_claims(photograph: Photograph, best: dict[str, float], parameter: float) -> list[Claim]:
    """Compare the boundaries with each other, and with doing nothing."""
    blurred = photograph.error(photograph.image)
    chosen = photograph.error(photograph.deconvolve("symmetric").x)
    table = {boundary: round(error, 4) for boundary, error in best.items()}
    inner = {
        boundary: photograph.error(photograph.deconvolve(boundary, parameter).x, border=len(photograph.scene) // 4)
        for boundary in ("symmetric", "circular")
    }
    claims = [
        check_within(
            f"error-{boundary}",
            f"error of the photograph, {boundary} boundary, relative to that of the blurred one",
            error / blurred,
            (0.5, 0.9) if boundary in ("reflect", "symmetric", "replicate") else (0.95, 2),
            reason="the inverse helps where the boundary continues the scene; where it jumps, at no parameter",
        )
        for boundary, error in best.items()
    ]
    return [
        *claims,
        check_equal(
            "best-boundary",
            f"boundary with the least error, of {', '.join(f'{name} {error}' for name, error in table.items())}",
            min(best, key=lambda name: best[name]),
            expected="symmetric",
            reason="it continues the scene without a jump, and its matrix is symmetric as the blur is",
        ),
        check_within(
            "discrepancy",
            "error with the discrepancy principle's parameter, relative to the best one, symmetric boundary",
            chosen / best["symmetric"],
            (0.95, 1.1),
            reason="the noise is known, and the model is nearly right",
        ),
        check_within(
            "inner-error",
            "error at a quarter of the frame from the border and beyond, circular relative to symmetric boundary",
            inner["circular"] / inner["symmetric"],
            (0.9, 1.3),
            reason="what a wrong boundary does stays near it, at the same parameter",
        ),
    ]


# --- beside other programs -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contender:
    """What a program made of the data."""

    name: str
    x: Array
    error: float
    seconds: float


def beside(photograph: Photograph, parameter: float, *, few: bool) -> list[Contender]:
    """Solve the same data by other programs, each with the best of its parameters; all are timed for one solution."""
    data, kernel, shape = photograph.image, photograph.kernel, photograph.scene.shape
    size, margin = len(data), len(kernel)
    mirrored = np.pad(data, size // 2, mode="symmetric")  # a ring without jumps
    crop = (slice(size // 2, size // 2 + size),) * 2
    operator = cm.ConvOperator(kernel, shape, padding="same", boundary="symmetric")
    balances = np.geomspace(1e-4, 1, 5 if few else 9)

    def iterate(damping: float) -> Array:
        return np.asarray(lsqr(operator, data.ravel(), damp=damping, atol=1e-6, btol=1e-6)[0]).reshape(shape)

    assert margin < size // 2  # the mirrored margin is wider than the kernel
    ways: list[tuple[str, Callable[[float], Array], Any]] = [
        ("deconvolve, symmetric", lambda p: photograph.deconvolve("symmetric", p).x, [parameter] * 3),
        ("skimage wiener", lambda p: np.asarray(wiener(data, kernel, p, clip=False)), balances),
        (
            "skimage wiener, mirrored data",
            lambda p: np.asarray(wiener(mirrored, kernel, p, clip=False))[crop],
            balances,
        ),
        ("scipy lsqr, symmetric", iterate, [parameter]),
    ]
    found = []
    for name, solve, tried in ways:
        made = []
        for value in tried:
            start = time.perf_counter()
            x = solve(float(value))
            made.append(Contender(name, x, photograph.error(x), time.perf_counter() - start))
        fastest = min(contender.seconds for contender in made)
        least = min(made, key=lambda contender: contender.error)
        found.append(Contender(name, least.x, least.error, fastest))
    return found


def report(contenders: list[Contender]) -> None:
    """Print errors and times; times differ from run to run, and are in no file."""
    print("\nsolution of the same data             error   time, deconvolve = 1")
    for contender in contenders:
        ratio = contender.seconds / contenders[0].seconds
        print(f"{contender.name:36} {contender.error:7.4f}   {ratio:6.2f}")


def contender_claims(contenders: list[Contender]) -> list[Claim]:
    """Compare what the programs made of the data."""
    ours, ring, mirrored, iterated = contenders
    return [
        check_within(
            "wiener",
            "skimage wiener, best parameter: error relative to deconvolve with symmetric boundary",
            ring.error / ours.error,
            (1.2, 3),
            reason="it takes the photograph for periodic, whose opposite edges do not meet",
        ),
        check_within(
            "wiener-mirrored",
            "skimage wiener on the mirrored data, best parameter: the same",
            mirrored.error / ours.error,
            (0.8, 1.2),
            reason="mirrored by its user the data are periodic: then it is as good, on four times the pixels",
        ),
        check_within(
            "lsqr",
            "scipy lsqr, same boundary and parameter: relative distance from deconvolve's solution",
            float(np.linalg.norm(iterated.x - ours.x) / np.linalg.norm(ours.x)),
            (0, 1e-2),
            reason="both minimise the same, one directly, one by iterations to 1e-6",
        ),
    ]


# --- figures ---------------------------------------------------------------------------------------------------------


def _curves(photograph: Photograph, tried: Array, errors: dict[str, list[float]]) -> Figure:
    figure = new_figure(PANEL_WIDTH, 3.4)
    axes = figure.subplots()
    colours = (COLOURS[0], COLOURS[5], COLOURS[2], COLOURS[4], COLOURS[6])
    for colour, marker, (boundary, found) in zip(colours, "osv^D", errors.items(), strict=True):
        axes.plot(tried, found, f"{marker}-", color=colour, label=boundary, markersize=4)
    axes.axhline(photograph.error(photograph.image), color="0.5", linestyle="--", label="blurred photograph")
    axes.set(xscale="log", yscale="log", xlabel="parameter of Tikhonov's regularisation", ylabel="relative error")
    axes.legend()
    return figure


def _pictures(photograph: Photograph, parameters: dict[str, float], contenders: list[Contender]) -> Figure:
    figure = new_figure(PAGE_WIDTH, 6.4)
    pictures = [("scene in the frame", photograph.scene), ("blurred, with noise", photograph.image)]
    for boundary in BOUNDARIES:
        found = photograph.deconvolve(boundary, parameters[boundary]).x
        pictures.append((boundary, found))
    same = photograph.deconvolve("circular", parameters["symmetric"]).x
    pictures.append(("circular, less smoothing", same))
    pictures += [(contender.name, contender.x) for contender in contenders if contender.name == "skimage wiener"]
    grid = figure.subplots(3, 3)
    for axes, (name, picture) in zip(grid.flat, pictures, strict=True):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        error = "" if picture is photograph.scene else f": error {photograph.error(picture):.3f}"
        axes.set_title(name + error, fontsize=9)
        axes.set_axis_off()
    return figure
