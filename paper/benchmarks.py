"""The measurements of ``benchmarks/README.md``, by the headings of their tables and what stands in a row."""

from __future__ import annotations

import re
from pathlib import Path

from paper.errors import PaperError

MEASUREMENTS = Path(__file__).resolve().parents[1] / "benchmarks" / "README.md"
_TABLE = re.compile(r"^### (?P<title>.+)$|^(?P<row>\|.*\|) *$|^(?P<other>.*\S.*)$", re.MULTILINE)


def read_tables(text: str) -> dict[str, list[dict[str, str]]]:
    r"""Return the rows of each table by its heading; a row maps column to cell.

    Examples
    --------
    >>> read_tables("### Speed\n\n| layer | ms |\n| --- | --- |\n| small | 1.5 |\n")
    {'Speed': [{'layer': 'small', 'ms': '1.5'}]}
    """
    tables: dict[str, list[dict[str, str]]] = {}
    title, head = "", None
    for line in _TABLE.finditer(text):
        if line["title"]:
            title, head = line["title"].strip(), None
        elif line["row"] and title:
            cells = [cell.strip() for cell in line["row"].strip("| ").split("|")]
            if head is None:
                head = cells
            elif not re.fullmatch(r"[-: ]+", "".join(cells)):
                tables.setdefault(title, []).append(dict(zip(head, cells, strict=True)))
        elif line["other"]:
            head = None
    return tables


def first_machine(text: str) -> str:
    r"""Return the date, machine and versions that the measurements name first.

    Examples
    --------
    >>> first_machine("Run on\n\n2026-01-31; a processor, 2 cores; python 3.11\n")
    '2026-01-31; a processor, 2 cores; python 3.11'
    """
    found = re.search(r"^\d{4}-\d{2}-\d{2}; .*$", text, flags=re.MULTILINE)
    if found is None:
        raise PaperError("the benchmarks name no machine: a line that begins with a date and a semicolon")
    return found[0]


def measured(name: str, tables: dict[str, list[dict[str, str]]]) -> str:
    """Return the cell that a name such as ``"Speed; small; ms"`` means: a heading, cells of one row, and a column.

    Raises
    ------
    PaperError
        If there is no such table, row or column, or more than one such row.

    Examples
    --------
    >>> measured("Speed; small; ms", {"Speed": [{"layer": "small", "ms": "1.5"}]})
    '1.5'
    """
    title, *cells, column = (part.strip() for part in name.split(";"))
    if title not in tables:
        raise PaperError(f"the benchmarks have no table {title!r}; they have: {', '.join(tables)}")
    rows = [row for row in tables[title] if all(cell in row.values() for cell in cells)]
    if len(rows) != 1:
        raise PaperError(
            f"the table {title!r} of the benchmarks has {len(rows)} rows with {', '.join(cells)}; name one"
        )
    if column not in rows[0]:
        raise PaperError(
            f"the table {title!r} of the benchmarks has no column {column!r}; it has: {', '.join(rows[0])}"
        )
    return rows[0][column]
