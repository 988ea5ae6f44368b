"""Records and progress reports of iterations: objective, residual and gradient after every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convmatrix.arrays import KeepsReadOnly, read_only
from convmatrix.display.tables import ShownAsTable, Table
from convmatrix.progress import report_step

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, repr=False)
class IterationHistory(ShownAsTable, KeepsReadOnly):
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

    def __repr__(self) -> str:
        last = f", residual {self.residual[-1]:.4g}, gradient {self.gradient[-1]:.2g}" if len(self.residual) else ""
        return f"IterationHistory({len(self.residual)} iterations{last})"

    def _table(self) -> Table:
        steps = zip(self.objective.tolist(), self.residual.tolist(), self.gradient.tolist(), strict=True)
        rows = [[str(number), *(f"{value:.5g}" for value in step)] for number, step in enumerate(steps, start=1)]
        return Table("Iterations", [["iteration", "objective", "residual", "gradient"], *rows], left=0)


class IterationLog:
    """Collects the history of at most ``most`` iterations, and reports progress."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: list[tuple[float, float, float]] = []

    def restart(self) -> None:
        """Forget the history: another solution begins."""
        self._rows = []

    def add(self, objective: float, residual: float, gradient: float) -> None:
        """Record an iteration."""
        self._rows.append((objective, residual, gradient))
        report_step(len(self._rows), self._most, f"residual {residual:.4g}, gradient {gradient:.2g}")

    def history(self, data_scale: float, power: int) -> IterationHistory:
        """Return the history in the units of the data; the objective scales with a power of their scale."""
        rows = np.array(self._rows, dtype=np.float64).reshape(-1, 3)
        with np.errstate(over="ignore", under="ignore"):
            objective, residual = rows[:, 0] * data_scale**power, rows[:, 1] * data_scale
        gradient = rows[:, 2].copy()
        read_only(objective, residual, gradient)
        return IterationHistory(objective, residual, gradient)
