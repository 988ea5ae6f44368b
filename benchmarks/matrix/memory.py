"""How much memory a matrix takes while it is built."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks._machine import process_status
from benchmarks._tables import Goal, Row, Table
from benchmarks._worker import call
from benchmarks.matrix.layers import LAYERS, QUICK, matrix_bytes, named

if TYPE_CHECKING:
    from benchmarks._command import Context


def peak_memory(context: Context, names: Sequence[str] | None = None) -> Table:
    """Measure the peak while `conv_matrix` runs against the bytes of what it returns, each in a fresh process."""
    rows = []
    for name in names or (list(QUICK)[:2] if context.quick else LAYERS):
        context.report(name)
        found = call(traced, {"name": name})
        resident = call(resident_growth, {"name": name})
        failure = found.failure or resident.failure
        if failure is not None:
            raise RuntimeError(f"{name}: {failure}")
        n_bytes = found.values["bytes"]
        growth = resident.values["growth"]
        rows.append(
            Row(
                {
                    "layer": name,
                    "matrix, MB": n_bytes / 1e6,
                    "peak, MB": found.values["peak"] / 1e6,
                    "ratio": found.values["peak"] / n_bytes,
                    "resident, MB": None if growth is None else growth / 1e6,
                    "resident ratio": None if growth is None else growth / n_bytes,
                }
            )
        )
    return Table(
        "Peak memory",
        "The peak of tracemalloc, and, in another process without it, the growth of the resident set to its high-water "
        "mark (Linux only), against the bytes of data, indices and indptr.",
        rows,
        context.goal(Goal("ratio", "at most", 1.25)),
    )


def traced(name: str) -> Iterator[dict[str, Any]]:
    """Yield the peak of all allocations and the bytes of the matrix."""
    build = named(name).builder()
    named(next(iter(QUICK))).builder()()  # so that what is loaded or kept on a first call is there
    tracemalloc.start()
    matrix = build()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    yield {"peak": peak, "bytes": matrix_bytes(matrix)}


def resident_growth(name: str) -> Iterator[dict[str, Any]]:
    """Yield the growth of the resident set up to its peak; None where the system does not tell."""
    build = named(name).builder()
    named(next(iter(QUICK))).builder()()
    before = process_status("VmRSS")
    matrix = build()
    # Not ru_maxrss: after an exec it still counts what the parent process held.
    peak = process_status("VmHWM")
    yield {"growth": None if before is None or peak is None else peak - before, "bytes": matrix_bytes(matrix)}
