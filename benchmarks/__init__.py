"""Side-by-side timings of convmatrix against what a user would pick instead.

``python -m benchmarks`` runs them all, ``python -m benchmarks matrix`` one of them. What counts are ratios of two
things that were timed in turns, in one process, on one machine; README.md has the tables of one run.

To add a benchmark, put a module or a package into this folder. Its docstring says in the first line what it measures,
and it defines its topics, each a function that returns one table::

    def speed(context: Context) -> Table:
        times = side_by_side({"ours": ours, "theirs": theirs}, context.effort)
        ratio = ratio_of(times["ours"], times["theirs"])
        rows = [Row({"layer": "64 -> 64", "ratio": ratio.median, "quartiles": ratio.quartiles}, timings=times)]
        return Table("Speed", "How it was measured, in a sentence or two.", rows, Goal("ratio", "at most", 2.0))

    TOPICS = {"speed": speed}

Nothing needs to be registered: every module of the folder whose name has no leading underscore is a benchmark.
"""

from benchmarks._command import Context, main
from benchmarks._tables import Goal, Row, Table
from benchmarks._timing import Effort, Ratio, ratio_of, side_by_side
from benchmarks._worker import Outcome, call

__all__ = [
    "Context",
    "Effort",
    "Goal",
    "Outcome",
    "Ratio",
    "Row",
    "Table",
    "call",
    "main",
    "ratio_of",
    "side_by_side",
]
