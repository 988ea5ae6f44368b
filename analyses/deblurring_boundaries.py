"""Deblurring with six boundary conditions: errors of photographs of which only a frame was seen, and ringing.

Source: Serra-Capizzano, A note on antireflective boundary conditions and fast deblurring models, SIAM J. Sci. Comput.
25(4), 2003; Ng, Chan, Tang, A fast algorithm for deblurring models with Neumann boundary conditions, SIAM J. Sci.
Comput. 21(3), 1999; Donatelli, Estatico, Martinelli, Serra-Capizzano, Improved image deblurring with anti-reflective
boundary conditions and re-blurring, Inverse Problems 22(6), 2006; Donatelli, Serra-Capizzano, Antireflective boundary
conditions for deblurring problems, J. Electr. Comput. Eng. 2010, 241467. They compare zero ("Dirichlet"), periodic,
reflexive ("Neumann", here ``"symmetric"``) and antireflective boundaries on other photographs. No number of theirs is
reproduced; what is checked is the order for which they are cited, by the least relative error over all parameters, on
photographs that are shipped with scikit-image and scikit-learn. A larger scene is blurred and cropped to the frame, so
that no boundary is right by construction. The antireflective system is solved by re-blurring, as the last two propose:
the matrix in the place of the transpose is that of the turned kernel with the same boundary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from skimage import data
from sklearn.datasets import load_sample_images

import convmatrix as cm
from analyses import Claim, Context, check_equal, check_within
from analyses._figures import COLOURS, PAGE_WIDTH, PANEL_WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convmatrix.arrays import Array

BOUNDARIES: Final = ("zero", "circular", "reflect", "symmetric", "replicate", "antireflect")
PUBLISHED: Final = ("zero", "circular", "symmetric", "antireflect")
"""The boundaries that are compared in the publications."""

REASON: Final = "published order, as cited"


def run(context: Context) -> list[Claim]:
    """Restore every frame with every boundary, for two levels of noise."""
    size = 64 if context.quick else 160
    frames = photographs(size, few=context.quick)
    levels = (0.0005,) if context.quick else (0.0005, 0.005)
    found = {
        (name, noise): restorations(Frame.of(scene, gaussian(2.0, radius=6), size, noise))
        for name, scene in frames.items()
        for noise in levels
    }
    report(found)
    context.save_figure(_pictures(found[next(iter(frames)), levels[0]]))
    context.save_figure(_ringing(found, levels[0]), "ringing")
    return [claim for (name, noise), results in found.items() for claim in claims(name, noise, results)]


# --- the frames ------------------------------------------------------------------------------------------------------


def gaussian(width: float, radius: int) -> Array:
    """Return a Gaussian kernel that sums to one."""
    one = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * width**2))
    return np.asarray(np.outer(one, one) / one.sum() ** 2)


def photographs(size: int, *, few: bool) -> dict[str, Array]:
    """Return parts of photographs, grey values from 0 to 1, each with a margin of 12 pixels on every side."""
    china, flower = (image.mean(axis=2) for image in load_sample_images().images)
    wholes = {"camera": (data.camera(), 90, 180), "china": (china, 150, 250), "flower": (flower, 120, 200)}
    cut = slice(None, 1) if few else slice(None)
    return {
        name: np.asarray(image[top - 12 : top + size + 12, left - 12 : left + size + 12] / 255.0)
        for name, (image, top, left) in list(wholes.items())[cut]
    }


@dataclass(frozen=True)
class Frame:
    """A frame of a scene, and its blurred and noisy image."""

    kernel: Array
    scene: Array
    image: Array

    @classmethod
    def of(cls, wide: Array, kernel: Array, size: int, noise: float) -> Self:
        """Blur a scene that is larger than the frame, crop it to the frame, and add noise."""
        margin, radius = (len(wide) - size) // 2, len(kernel) // 2
        blurred = (cm.ConvOperator(kernel, wide.shape) @ wide.ravel()).reshape(len(wide) - 2 * radius, -1)
        inner = blurred[margin - radius : margin - radius + size, margin - radius : margin - radius + size]
        scene = wide[margin : margin + size, margin : margin + size]
        return cls(kernel, scene, inner + noise * np.random.default_rng(0).standard_normal(inner.shape))

    def error(self, x: Array, border: int = 0) -> float:
        """Return the relative restoration error, of what is at least so far from the border."""
        inner = (slice(border, -border or None),) * 2
        return float(np.linalg.norm((x - self.scene)[inner]) / np.linalg.norm(self.scene[inner]))

    def ringing(self, x: Array) -> float:
        """Return the error per pixel within a kernel's radius of the border, relative to that of the inside."""
        inside = np.zeros(x.shape, dtype=bool)
        radius = len(self.kernel) // 2
        inside[radius:-radius, radius:-radius] = True
        squares = (x - self.scene) ** 2
        return float(np.sqrt(squares[~inside].mean() / squares[inside].mean()))


# --- restorations ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Restoration:
    """The restored frame with the least error over all parameters."""

    frame: Frame
    x: Array
    parameter: float

    @property
    def error(self) -> float:
        """The relative restoration error."""
        return self.frame.error(self.x)

    @property
    def ringing(self) -> float:
        """The error near the border relative to that of the inside."""
        return self.frame.ringing(self.x)


def restorations(frame: Frame) -> dict[str, Restoration]:
    """Return the best restoration of a frame for every boundary."""
    return {name: best(frame, name, reblurred if name == "antireflect" else restored) for name in BOUNDARIES}


def best(frame: Frame, boundary: str, solve: Callable[[Frame, str, Array], list[Array]]) -> Restoration:
    """Return the restoration with the least error, of Tikhonov's parameters on a fine grid."""
    tried = np.geomspace(3e-4, 0.3, 25)
    results = [Restoration(frame, x, float(p)) for p, x in zip(tried, solve(frame, boundary, tried), strict=True)]
    return min(results, key=lambda result: result.error)


def restored(frame: Frame, boundary: str, parameters: Array) -> list[Array]:
    """Return Tikhonov's solutions."""
    shape = frame.image.shape
    return [
        cm.solve.deconvolve(frame.image, frame.kernel, shape, parameter=float(p), padding="same", boundary=boundary).x
        for p in parameters
    ]


def reblurred(frame: Frame, boundary: str, parameters: Array) -> list[Array]:
    r"""Return the solutions of :math:`(A' A + \lambda^2 I) x = A' y`, with A' the matrix of the turned kernel.

    For a symmetric kernel A' is A. It is one matrix per axis here, so that eigenvectors of the axes solve the system.
    """
    rows, columns = frame.image.shape
    one = frame.kernel.sum(axis=0)  # of a Gaussian, which is the product of its sums
    values, vectors, inverses = [], [], []
    for n in (rows, columns):
        matrix = cm.conv_matrix(one, n, padding="same", boundary=boundary).toarray()
        found = np.linalg.eig(matrix)
        values.append(found.eigenvalues)
        vectors.append(found.eigenvectors)
        inverses.append(np.linalg.inv(found.eigenvectors))
    eigenvalues = np.multiply.outer(*values)
    waves = inverses[0] @ frame.image @ inverses[1].T
    solutions = [vectors[0] @ (waves * eigenvalues / (eigenvalues**2 + p**2)) @ vectors[1].T for p in parameters]
    return [np.asarray(x.real) for x in solutions]


def report(found: Mapping[tuple[str, float], dict[str, Restoration]]) -> None:
    """Print errors and ringing."""
    print("\nphotograph   noise   boundary       error    ringing")
    for (name, noise), results in found.items():
        for boundary, result in results.items():
            print(f"{name:10} {noise:7.4f}   {boundary:12} {result.error:7.4f}   {result.ringing:8.2f}")


# --- claims ----------------------------------------------------------------------------------------------------------


def claims(name: str, noise: float, results: dict[str, Restoration]) -> list[Claim]:
    """Compare the order of the boundaries with the published one, and the ringing near the border."""
    label = f"{name}-{noise * 100:g}-percent".replace(".", "")
    shown = ", ".join(f"{boundary} {result.error:.4f}" for boundary, result in results.items())
    image = next(iter(results.values())).frame
    ranked = [boundary for boundary in PUBLISHED if boundary in results]
    ranked.sort(key=lambda boundary: results[boundary].error, reverse=True)
    same = restored(image, "circular", np.array([results["symmetric"].parameter]))[0]
    poor, good = {"zero", "circular"}, [boundary for boundary in ranked if boundary not in ("zero", "circular")]
    made = [
        check_equal(
            f"worst-{label}",
            f"{name}, noise {noise:g}: the two boundaries with the largest errors, of {shown}",
            sorted(ranked[:2]),
            expected=sorted(poor),
            reason=REASON,
        ),
        check_within(
            f"gain-{label}",
            f"{name}, noise {noise:g}: least error, relative to that of the blurred frame",
            min(result.error for result in results.values()) / image.error(image.image),
            (0.2, 0.95),
            reason="deblurring helps, within what the noise allows",
        ),
        check_within(
            f"ringing-{label}",
            f"{name}, noise {noise:g}: error near the border relative to the inside, circular boundary over symmetric, "
            "both with the parameter of the symmetric one",
            image.ringing(same) / results["symmetric"].ringing,
            (1.3, 100),
            reason="a jump at the border rings if little is smoothed; the boundary that continues the scene has none",
        ),
    ]
    transposed = best(image, "antireflect", restored)
    return [
        *made,
        check_equal(
            f"best-{label}",
            f"{name}, noise {noise:g}: boundary with the least error of the four, of {shown}",
            good[-1],
            expected="antireflect",
            reason=REASON,
        ),
        check_within(
            f"reblurring-{label}",
            f"{name}, noise {noise:g}: error of the antireflective boundary by re-blurring, relative to that with the "
            "transpose",
            results["antireflect"].error / transposed.error,
            (0.3, 0.9999),
            reason=f"{REASON}; the transpose of the antireflective matrix amplifies noise at the border",
        ),
    ]


# --- figures ---------------------------------------------------------------------------------------------------------


def _pictures(results: dict[str, Restoration]) -> Figure:
    figure = new_figure(PAGE_WIDTH, 3.9)
    frame = next(iter(results.values())).frame
    pictures = {"scene in the frame": frame.scene, "blurred, with noise": frame.image}
    pictures |= {boundary: result.x for boundary, result in results.items()}
    grid = figure.subplots(2, 4)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (name, picture) in zip(grid.flat, pictures.items(), strict=False):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(name if picture is frame.scene else f"{name}: {frame.error(picture):.3f}", fontsize=9)
    return figure


def _ringing(found: Mapping[tuple[str, float], dict[str, Restoration]], noise: float) -> Figure:
    figure = new_figure(PANEL_WIDTH, 3.0)
    axes = figure.subplots()
    shown = {name: results for (name, level), results in found.items() if level == noise}
    boundaries = list(next(iter(shown.values())))
    width = 0.8 / len(shown)
    for place, (name, results) in enumerate(shown.items()):
        heights = [results[boundary].ringing for boundary in boundaries]
        axes.bar(np.arange(len(boundaries)) + place * width, heights, width, label=name, color=COLOURS[2 * place])
    axes.axhline(1, color="0.5", linestyle="--")
    axes.set(ylabel="error near the border / inside", xticks=np.arange(len(boundaries)) + 0.4 - width / 2)
    axes.set_xticklabels(boundaries, fontsize="small")
    axes.legend()
    return figure
