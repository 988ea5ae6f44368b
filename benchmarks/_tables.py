"""Tables of measurements: what they say, what was wanted, and how they are printed and recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks._timing import three_digits

Cell = str | float | int | None


@dataclass(frozen=True)
class Goal:
    """What a column should come to.

    Examples
    --------
    >>> Goal("ratio", "at most", 2.0).met(1.5)
    True
    """

    column: str
    side: Literal["at most", "at least"]
    limit: float

    def met(self, value: float) -> bool:
        """Whether a value is good enough; one that is no number is not."""
        return value <= self.limit if self.side == "at most" else value >= self.limit

    def __str__(self) -> str:
        return f"{self.column} {self.side} {self.limit:g}"


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes
    ----------
    cells : dict
        Column name to number, text, or None for nothing.
    judged : bool
        Whether the goal of the table is meant for it.
    lower_bound : bool
        The number in the goal's column is known to be exceeded: a contender was stopped.
    timings : dict
        All seconds behind the numbers, for the record.
    """

    cells: Mapping[str, Cell]
    judged: bool = True
    lower_bound: bool = False
    timings: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """The measurements of one topic; without a goal nothing is judged."""

    title: str
    method: str
    rows: Sequence[Row]
    goal: Goal | None = None

    def verdict(self, row: Row) -> bool | None:
        """Return whether a row meets the goal; None where there is none for it."""
        value = row.cells.get(self.goal.column) if self.goal is not None else None
        if self.goal is None or not row.judged or not isinstance(value, float | int):
            return None
        return self.goal.met(value)

    @property
    def missed(self) -> list[Row]:
        """The rows that do not meet the goal."""
        return [row for row in self.rows if self.verdict(row) is False]

    def text(self) -> str:
        """Return the table as Markdown, aligned so that it is easy to read as it is."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row.cells))
        lines = [[_show(row, name, self.goal) for name in columns] for row in self.rows]
        if self.goal is not None:
            columns.append("goal")
            words = {True: "met", False: "missed", None: "-"}
            lines = [[*line, words[self.verdict(row)]] for line, row in zip(lines, self.rows, strict=True)]
        widths = [max(map(len, cells)) for cells in zip(columns, *lines, strict=True)]
        ruler = ["-" * width for width in widths]
        body = "\n".join(
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in (columns, ruler, *lines)
        )
        goal = "" if self.goal is None else f" Goal: {self.goal}."
        return f"### {self.title}\n\n{self.method}{goal}\n\n{body}"

    def record(self) -> dict[str, Any]:
        """Return everything as JSON knows it."""
        return {
            "title": self.title,
            "method": self.method,
            "goal": None if self.goal is None else str(self.goal),
            "rows": [
                {
                    "cells": dict(row.cells),
                    "met": self.verdict(row),
                    "lower_bound": row.lower_bound,
                    "timings": {name: list(times) for name, times in row.timings.items()},
                }
                for row in self.rows
            ],
        }


def _show(row: Row, column: str, goal: Goal | None) -> str:
    """Return a cell as text: three digits, and "> " before a number that is a lower bound."""
    cell = row.cells.get(column)
    if cell is None:
        return "-"
    bound = "> " if row.lower_bound and goal is not None and column == goal.column else ""
    if isinstance(cell, float):
        return bound + three_digits(cell)
    return bound + (f"{cell:,}" if isinstance(cell, int) else cell)
