"""How long other ways to the same matrix take."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import convmatrix as cm
from benchmarks._tables import Cell, Goal, Row, Table
from benchmarks._timing import Effort, milliseconds, ratio_of, side_by_side
from benchmarks._worker import NO_MEMORY, STOPPED, Outcome, call
from benchmarks.matrix.contenders import IMAGES, SIGNALS, as_csr, difference, quiet

if TYPE_CHECKING:
    from benchmarks._command import Context

_MEMORY = 12 * 10**9
_STARTING = 3  # seconds that a process may take to start, beside its limit
_SMALL = 100 * 100

Size = tuple[tuple[int, ...], tuple[int, ...]]  # image, kernel

_SIZES: Sequence[Size] = [((64, 64), (3, 3)), ((512, 512), (7, 7)), ((4096,), (5,))]
_QUICK_SIZES: Sequence[Size] = [((16, 16), (3, 3)), ((256,), (5,))]


def against_peers(context: Context, names: Collection[str] = (*IMAGES, *SIGNALS)) -> Table:
    """Time each contender against `conv_matrix`, in a process of its own and with a time limit."""
    rows = []
    for image, kernel in _QUICK_SIZES if context.quick else _SIZES:
        for name, contender in (IMAGES if len(image) == 2 else SIGNALS).items():
            if name not in names or (contender.small_only and np.prod(image) > _SMALL):
                continue
            context.report(f"{_by(image)}, {_by(kernel)}: {name}")
            arguments = {"name": name, "image": image, "kernel": kernel, "effort": vars(context.effort)}
            outcome = call(race, arguments, limit=context.limit + _STARTING, memory=_MEMORY)
            rows.append(_row(context, f"{_by(image)}, {_by(kernel)}", name, contender.judged, outcome))
    return Table(
        "Against other ways to the same matrix",
        "Each contender in a process of its own, in turns with conv_matrix. It returns its own sparse type, and need "
        f"not convert it; it is stopped after about {context.limit} s or beyond {_MEMORY // 10**9} GB. The matrices "
        'equal ours within 1e-12 once entries below that are dropped, but for any marked "not compared": "stored" is '
        'what the contender stores, and "true" what the matrix has. diags_array by hand is shown for comparison, '
        "without a goal.",
        rows,
        context.goal(Goal("theirs / ours", "at least", 10.0)),
    )


def _row(context: Context, size: str, name: str, judged: bool, outcome: Outcome) -> Row:
    found, failure = outcome.values, outcome.failure
    ours, theirs = found.get("ours"), found.get("theirs")
    cells: dict[str, Cell] = {"matrix": size, "contender": name}
    if failure is not None and failure.endswith("not installed"):
        return Row({**cells, "theirs, ms": failure}, judged=judged)
    if ours is None or failure not in (None, STOPPED, NO_MEMORY):
        raise RuntimeError(f"{name}, {size}: {failure}")
    if found.get("difference", 0.0) > 1e-12:
        raise RuntimeError(f"{name}, {size}: its matrix differs from ours by {found['difference']}")
    if theirs is None:
        stopped = failure == STOPPED
        took = outcome.ended - found["started"]
        return Row(
            {
                **cells,
                "theirs, ms": f"> {1e3 * took:,.0f}" if stopped else failure,
                "ours, ms": milliseconds(ours),
                "theirs / ours": took / float(np.median(ours)) if stopped else None,
            },
            judged=judged,
            lower_bound=stopped,
            timings={"ours": ours},
        )
    # After a single run there are no rounds to compare.
    ratio = ratio_of(theirs, ours if len(theirs) == len(ours) else [float(np.median(ours))])
    return Row(
        {
            **cells,
            "theirs, ms": milliseconds(theirs),
            "ours, ms": milliseconds(ours),
            "theirs / ours": ratio.median,
            "quartiles": ratio.quartiles if len(theirs) > 1 else "one run",
            "stored": found.get("stored", "not compared"),
            "true": found.get("true"),
        },
        judged=judged,
        timings={"ours": ours, "theirs": theirs},
    )


def race(name: str, image: list[int], kernel: list[int], effort: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Yield our times, then the contender's first one, how its matrix compares, and the times of both in turns."""
    contender = {**IMAGES, **SIGNALS}[name]
    weights = np.random.default_rng(0).standard_normal(kernel)
    build = contender.prepare(weights, tuple(image))
    measured = Effort(effort["seconds"], int(effort["least"]), int(effort["most"]))

    def ours() -> Any:
        return cm.conv_matrix(weights, tuple(image), padding=contender.padding, flip=True)

    yield {"ours": side_by_side({"ours": ours}, measured)["ours"], "started": time.monotonic()}
    start = time.perf_counter()
    with quiet():
        matrix = build()
    first = time.perf_counter() - start
    yield {"theirs": [first]}
    csr, true = as_csr(matrix), ours()
    del matrix
    yield {"stored": int(csr.nnz), "true": int(true.nnz), "difference": difference(csr, true)}
    del csr, true
    if first > measured.seconds:
        return
    with quiet():
        yield side_by_side({"ours": ours, "theirs": build}, measured.at_least(min(3, measured.least)), warm_up=False)


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
