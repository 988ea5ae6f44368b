"""How long ``import convmatrix`` takes beyond ``import scipy.sparse``."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np

from benchmarks._tables import Cell, Goal, Row, Table
from benchmarks._worker import surroundings

if TYPE_CHECKING:
    from benchmarks._command import Context


def time_to_import(context: Context) -> Table:
    """Time the two imports in fresh processes, in turns."""
    times: dict[str, list[float]] = {"convmatrix": [], "scipy.sparse": []}
    for _ in range(2 if context.quick else 7):
        for module, seconds in times.items():
            seconds.append(import_time(module))
    ours, theirs = (float(np.median(times[name])) for name in times)
    cells: dict[str, Cell] = {
        "import convmatrix, s": ours,
        "import scipy.sparse, s": theirs,
        "difference, s": ours - theirs,
    }
    return Table(
        "Time to import",
        "Each in fresh processes, in turns; medians.",
        [Row(cells, timings=times)],
        context.goal(Goal("difference, s", "at most", 0.5)),
    )


def import_time(module: str) -> float:
    """Return the seconds of an import in a process that has imported nothing else."""
    program = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", program]
    return float(subprocess.run(command, env=surroundings(), capture_output=True, text=True, check=True).stdout)
