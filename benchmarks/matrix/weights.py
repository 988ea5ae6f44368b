"""How long new weights take to get into a pattern that exists, against the gather itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

import convmatrix as cm
from benchmarks._tables import Goal, Row, Table
from benchmarks._timing import milliseconds, ratio_of, side_by_side

if TYPE_CHECKING:
    from benchmarks._command import Context

LAYERS = {
    "64 -> 64 channels, 56 x 56, 3 x 3": cm.ConvGeometry(
        (56, 56), (3, 3), in_channels=64, out_channels=64, padding="same"
    ),
    "1 channel, 2048 x 2048, 5 x 5": cm.ConvGeometry((2048, 2048), (5, 5), padding="same"),
    "1 channel, 512 x 512, 7 x 7": cm.ConvGeometry((512, 512), (7, 7), padding="same"),
    "32 -> 32 channels, 56 x 56, 3 x 3, reflect": cm.ConvGeometry(
        (56, 56), (3, 3), in_channels=32, out_channels=32, padding="same", boundary="reflect"
    ),
    "1 channel, 512 x 512, 7 x 7, reflect": cm.ConvGeometry((512, 512), (7, 7), padding="same", boundary="reflect"),
}

QUICK = {
    "8 -> 8 channels, 16 x 16, 3 x 3": cm.ConvGeometry((16, 16), (3, 3), in_channels=8, out_channels=8, padding="same"),
    "1 channel, 64 x 64, 5 x 5, reflect": cm.ConvGeometry((64, 64), (5, 5), padding="same", boundary="reflect"),
}


def new_weights(context: Context, layers: Mapping[str, cm.ConvGeometry] | None = None) -> Table:
    """Time `WeightPattern.values` and `WeightPattern.matrix` against ``w.take(weight_index)``."""
    rows = []
    for name, geometry in (layers or (QUICK if context.quick else LAYERS)).items():
        context.report(name)
        rows.extend(_rows(context, name, geometry))
    return Table(
        "New weights into an existing pattern",
        "pattern.values(w, out=A.data) against w.take(weight_index, out=...), and pattern.matrix(w), which allocates, "
        'against w.take(weight_index); both gathers with mode="clip" and over all triplets. Where several weights '
        "share an entry (reflect) they are added as well, which the gather does not do.",
        rows,
        context.goal(Goal("ratio", "at most", 1.5)),
    )


def _rows(context: Context, name: str, geometry: cm.ConvGeometry) -> list[Row]:
    pattern = geometry.pattern()
    w = np.random.default_rng(0).standard_normal(geometry.weight_shape)
    flat = w.ravel()
    index = pattern.weight_index
    matrix = pattern.matrix(w)
    room = np.empty(pattern.n_entries)
    pairs: dict[str, dict[str, Callable[[], Any]]] = {
        "values(w, out=A.data)": {
            "ours": lambda: pattern.values(w, out=matrix.data),
            "gather": lambda: flat.take(index, out=room, mode="clip"),
        },
        "matrix(w)": {"ours": lambda: pattern.matrix(w), "gather": lambda: flat.take(index, mode="clip")},
    }
    rows = []
    for call, functions in pairs.items():
        times = side_by_side(functions, context.effort)
        ratio = ratio_of(times["ours"], times["gather"])
        rows.append(
            Row(
                {
                    "layer": name,
                    "call": call,
                    "entries": pattern.n_entries,
                    "call, ms": milliseconds(times["ours"]),
                    "gather, ms": milliseconds(times["gather"]),
                    "ratio": ratio.median,
                    "quartiles": ratio.quartiles,
                },
                timings=times,
            )
        )
    return rows
