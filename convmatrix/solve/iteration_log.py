"""What iterations record and report: objective, residual and gradient after every step."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convmatrix.arrays import KeepsReadOnly, read_only

if TYPE_CHECKING:
    from numpy.typing import NDArray

Progress = bool | Callable[[int, int, str], object]
"""A function that is called as ``progress(done, of, text)``, or True for a line on standard error."""


@dataclass(frozen=True, eq=False)
class IterationHistory(KeepsReadOnly):
    """The course of the iterations that lead to a solution, one entry per iteration; empty for direct routes.

    Attributes
    ----------
    objective : array of float, read-only
        The function that the method minimises; see `convmatrix.solve.deconvolve`.
    residual : array of float, read-only
        norm(A x - y).
    gradient : array of float, read-only
        The measure of optimality that ends the iterations, as in `Deconvolution.gradient`; for ``"tv"`` it is computed
        in every fifth iteration, and repeated in between.
    """

    objective: NDArray[np.float64]
    residual: NDArray[np.float64]
    gradient: NDArray[np.float64]


class IterationLog:
    """Collects the history of iterations, and reports progress.

    Parameters
    ----------
    progress : bool or callable
    most : int
        Maximum number of iterations.
    """

    def __init__(self, progress: Progress, most: int) -> None:
        self._progress, self._most = progress, most
        self._rows: list[tuple[float, float, float]] = []
        self._last, self._open = 0.0, False

    def restart(self) -> None:
        """Forget the history: another solution begins."""
        self._rows = []

    def add(self, objective: float, residual: float, gradient: float) -> None:
        """Record an iteration."""
        self._rows.append((objective, residual, gradient))
        if not self._progress:
            return
        done = len(self._rows)
        text = f"residual {residual:.4g}, gradient {gradient:.2g}"
        if callable(self._progress):
            self._progress(done, self._most, text)
        elif time.monotonic() - self._last >= 0.1:
            self._last, self._open = time.monotonic(), True
            print(f"\riteration {done}/{self._most}, {text} ", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line on standard error."""
        if self._open:
            self._open = False
            print(file=sys.stderr, flush=True)

    def history(self, data_scale: float, power: int) -> IterationHistory:
        """Return the history in the units of the data; the objective goes with a power of their scale."""
        rows = np.array(self._rows, dtype=np.float64).reshape(-1, 3)
        with np.errstate(over="ignore", under="ignore"):
            objective, residual = rows[:, 0] * data_scale**power, rows[:, 1] * data_scale
        gradient = rows[:, 2].copy()
        read_only(objective, residual, gradient)
        return IterationHistory(objective, residual, gradient)
