"""Deblurring a photograph: errors and times beside scikit-image and PyLops, on the same data."""

from __future__ import annotations

import importlib
import importlib.util
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from skimage import data, restoration

import convmatrix as cm
from benchmarks._tables import Cell, Row, Table
from benchmarks._timing import Effort, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks._command import Context, Topic

    Array = NDArray[Any]

NOISE: Final = 0.005
_ROUNDS = Effort(1.0, 1, 5)
"""Rounds of functions that take seconds."""


@dataclass(frozen=True)
class Photograph:
    """A frame of a larger scene, and what was seen of it: blurred, noisy, and cropped to the frame."""

    blur: Array
    wide: Array
    seen: Array

    @classmethod
    def taken(cls, size: int, width: float) -> Photograph:
        """Return a frame of scikit-image's ``camera``, blurred by a Gaussian of a given width."""
        radius = int(3 * width)
        one = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * width**2))
        blur = np.outer(one, one) / one.sum() ** 2
        wide = data.camera()[100 - radius : 100 + size + radius, 100 - radius : 100 + size + radius] / 255.0
        seen = (cm.ConvOperator(blur, wide.shape) @ wide.ravel()).reshape(size, size)
        noisy = seen + NOISE * np.random.default_rng(0).standard_normal(seen.shape)
        return cls(blur, wide, np.maximum(noisy, 0.0))

    @property
    def radius(self) -> int:
        """Half the width of the kernel."""
        return len(self.blur) // 2

    def frame(self, x: Array) -> Array:
        """Return the frame of a picture of the wide scene; a picture of the frame is returned as it is."""
        margin = (len(x) - len(self.seen)) // 2
        return x[margin : len(x) - margin, margin : len(x) - margin]

    def errors(self, x: Array) -> tuple[float, float]:
        """Return the relative error in the frame, and in the part of it that is a radius away from its border."""
        scene, found, cut = self.frame(self.wide), self.frame(x), slice(self.radius, -self.radius)
        inner = (found - scene)[cut, cut]
        whole = np.linalg.norm(found - scene) / np.linalg.norm(scene)
        return float(whole), float(np.linalg.norm(inner) / np.linalg.norm(scene[cut, cut]))


def photograph(context: Context) -> Table:
    """Restore one photograph by several programs."""
    taken = Photograph.taken(64, 2.0) if context.quick else Photograph.taken(256, 3.0)
    numbers = (10,) if context.quick else (10, 50)
    rows = [_row("-", "blurred, with noise", "-", taken, taken.seen, None)]
    for program, method, border, restore in contenders(taken, numbers):
        context.report(f"{program}, {method}, {border}")
        kept: dict[str, Array] = {}
        times = side_by_side({"restore": partial(_keep, restore, kept)}, _ROUNDS, warm_up=False)["restore"]
        rows.append(_row(program, method, border, taken, kept["x"], times))
    if importlib.util.find_spec("pylops") is None:
        rows.append(Row({"program": "PyLops", "method": "not installed"}))
    return Table(
        "A photograph, blurred and cropped",
        f"scikit-image's camera, {len(taken.seen)} x {len(taken.seen)} pixels of a larger scene, a Gaussian kernel of "
        f"{len(taken.blur)} x {len(taken.blur)}, white noise of {NOISE:g}; every program has the same data. Errors "
        "are relative, in the frame and in the part a kernel's radius away from its border. Both programs minimise the "
        "same total variation; PyLops takes a number of iterations, here 50.",
        rows,
    )


def _keep(restore: Callable[[], Array], kept: dict[str, Array]) -> None:
    kept["x"] = restore()


def _row(program: str, method: str, border: str, taken: Photograph, x: Array, times: list[float] | None) -> Row:
    whole, inner = taken.errors(x)
    cells: dict[str, Cell] = {"program": program, "method": method, "beyond the border": border}
    cells |= {"error": whole, "error inside": inner, "s": None if times is None else float(np.median(times))}
    return Row(cells, timings={} if times is None else {"restore": times})


def contenders(taken: Photograph, numbers: tuple[int, ...]) -> list[tuple[str, str, str, Callable[[], Array]]]:
    """Return the program, the method, what is assumed beyond the border, and a function that restores."""
    shapes: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
        "nothing": (taken.wide.shape, {}),
        "symmetric": (taken.seen.shape, {"padding": "same", "boundary": "symmetric"}),
    }

    def ours(border: str, **options: Any) -> Array:
        shape, layer = shapes[border]
        return np.asarray(cm.solve.deconvolve(taken.seen, taken.blur, shape, **options, **layer).x)

    made: list[tuple[str, str, str, Callable[[], Array]]] = []
    for number in numbers:
        lucy = {"method": "richardson_lucy", "parameter": number}
        theirs = partial(restoration.richardson_lucy, taken.seen, taken.blur, num_iter=number)
        made.append(("scikit-image", f"Richardson-Lucy, {number}", "zero", theirs))
        made += [
            ("convmatrix", f"Richardson-Lucy, {number}", border, partial(ours, border, **lucy)) for border in shapes
        ]
    made.append(("scikit-image", "Wiener, unsupervised", "circular", partial(_unsupervised, taken)))
    known = {"parameter": "discrepancy", "noise": NOISE}
    for method, options in (
        ("Tikhonov, GCV", {}),
        ("Tikhonov with gradient, GCV", {"penalty": "gradient"}),
        ("the same, non-negative", {"penalty": "gradient", "nonnegative": True, "tol": 1e-4}),
        ("Tikhonov with gradient, discrepancy", {"penalty": "gradient", **known}),
        ("total variation, 3e-05", {"method": "tv", "parameter": 3e-5, "tol": 1e-2}),
    ):
        made.append(("convmatrix", method, "symmetric", partial(ours, "symmetric", **options)))
    weight = 3e-5
    tv = {"method": "tv", "isotropic": False, "parameter": weight, "tol": 1e-2}
    made.append(("convmatrix", f"total variation, {weight:g}", "nothing", partial(ours, "nothing", **tv)))
    if importlib.util.find_spec("pylops") is not None:
        made.append(("PyLops", f"total variation, {weight:g}", "nothing", partial(split_bregman, taken, weight)))
    return made


def _unsupervised(taken: Photograph) -> Array:
    return np.asarray(restoration.unsupervised_wiener(taken.seen, taken.blur, clip=False, rng=0)[0])


def split_bregman(taken: Photograph, weight: float, outer: int = 50) -> Array:
    """Return the solution with anisotropic total variation by PyLops, with nothing assumed beyond the border.

    PyLops thresholds differences at epsilon, which is also the weight of its penalty; so it minimises mu / 2 times the
    squared residual plus epsilon^2 times the total variation.
    """
    pylops = importlib.import_module("pylops")
    shape, cut = taken.wide.shape, taken.radius
    blur = pylops.signalprocessing.Convolve2D(shape, taken.blur, offset=(cut, cut))
    kept = np.arange(int(np.prod(shape))).reshape(shape)[cut:-cut, cut:-cut].ravel()
    operator = pylops.Restriction(blur.shape[0], kept) @ blur
    slopes = [pylops.FirstDerivative(shape, axis=axis, kind="forward", edge=False) for axis in (0, 1)]
    found = pylops.optimization.sparsity.splitbregman(
        operator,
        taken.seen.ravel(),
        slopes,
        niter_outer=outer,
        niter_inner=1,
        mu=1.0,
        epsRL1s=[math.sqrt(weight)] * 2,
        tol=1e-8,
        iter_lim=20,
        damp=0.0,
    )[0]
    return np.asarray(found).reshape(shape)


def objective(taken: Photograph, x: Array, weight: float) -> float:
    """Return half the squared residual plus the weighted anisotropic total variation."""
    rest = cm.ConvOperator(taken.blur, taken.wide.shape) @ x.ravel() - taken.seen.ravel()
    slopes = sum(float(np.abs(np.diff(x, axis=axis)).sum()) for axis in (0, 1))
    return float(rest @ rest) / 2 + weight * slopes


TOPICS: dict[str, Topic] = {"photograph": photograph}
