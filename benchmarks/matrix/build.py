"""How long a matrix takes to build, against writing as many bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._tables import Cell, Goal, Row, Table
from benchmarks._timing import milliseconds, one_core, ratio_of, side_by_side
from benchmarks.matrix.layers import LAYERS, QUICK, Layer, arrays

if TYPE_CHECKING:
    from benchmarks._command import Context


def time_to_build(context: Context, layers: Mapping[str, Layer] | None = None) -> Table:
    """Time `conv_matrix` against allocating and filling arrays of the same sizes and dtypes."""
    rows = []
    for name, layer in (layers or (QUICK if context.quick else LAYERS)).items():
        context.report(name)
        rows.append(_row(context, name, layer))
    return Table(
        "Time to build",
        "conv_matrix against numpy.empty and fill of arrays as large as its data, indices and indptr. The fill runs on "
        "one core and conv_matrix on two; for the last ratio both were kept on one.",
        rows,
        context.goal(Goal("ratio", "at most", 2.0)),
    )


def _row(context: Context, name: str, layer: Layer) -> Row:
    ours = layer.builder()
    matrix = ours()
    sizes = [(array.size, array.dtype) for array in arrays(matrix)]
    n_entries = int(matrix.nnz)
    del matrix

    def fill() -> list[Any]:
        filled = [np.empty(size, dtype) for size, dtype in sizes]
        for array in filled:
            array.fill(1)
        return filled

    times = side_by_side({"build": ours, "fill": fill}, context.effort)
    ratio = ratio_of(times["build"], times["fill"])
    cells: dict[str, Cell] = {
        "layer": name,
        "entries": n_entries,
        "build, ms": milliseconds(times["build"]),
        "fill, ms": milliseconds(times["fill"]),
        "ratio": ratio.median,
        "quartiles": ratio.quartiles,
        "ratio on one core": None,
    }
    with one_core() as pinned:
        if pinned:
            alone = side_by_side({"build": ours, "fill": fill}, context.effort)
            cells["ratio on one core"] = ratio_of(alone["build"], alone["fill"]).median
            times |= {f"{key}, one core": value for key, value in alone.items()}
    return Row(cells, timings=times)
