"""Tables of text: for terminals, in Markdown and in HTML."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from convmatrix.display.palette import BROKEN, PROVED

Row = Sequence[str]

_GAP: Final = "  "
_DOTS: Final = "..."


def one_line(text: str) -> str:
    r"""Return a text with nonprinting characters, such as line breaks, replaced by escapes.

    Examples
    --------
    >>> print(one_line("a\nb"))
    a\nb
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def text_width(text: str) -> int:
    """Return the number of terminal columns that a text of printing characters takes.

    Examples
    --------
    >>> text_width("conv"), text_width("畳み込み")
    (4, 8)
    """
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shorten(text: str, width: int) -> str:
    """Return a text shortened to at most ``width`` columns, with dots in place of its middle if necessary.

    Examples
    --------
    >>> shorten("layer4.2.conv3.norm", 12)
    'layer...norm'
    >>> shorten("layer4", 12), shorten("layer4", 2)
    ('layer4', 'la')
    """
    if text_width(text) <= width:
        return text
    dots = _DOTS if width > len(_DOTS) + 1 else ""
    kept = width - len(dots)
    tail = _fitting(text[::-1], kept // 2)[::-1] if dots else ""
    return _fitting(text, kept - text_width(tail)) + dots + tail


def _fitting(text: str, width: int) -> str:
    """Return the longest beginning of a text that takes at most ``width`` columns."""
    end = min(len(text), width)
    while text_width(text[:end]) > width:
        end -= 1
    return text[:end]


def text_table(rows: Sequence[Row], left: int = 1) -> str:
    """Return rows of cells as aligned columns, the first ``left`` of them to the left and the others to the right.

    Examples
    --------
    >>> print(text_table([["layer", "weights"], ["C1", "150"], ["output", "1,200"]]))
    layer   weights
    C1          150
    output    1,200
    """
    widths = column_widths(rows)
    lines = []
    for row in rows:
        fill = [" " * (width - text_width(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [
            cell + blank if number < left else blank + cell
            for number, (cell, blank) in enumerate(zip(row, fill, strict=True))
        ]
        lines.append(_GAP.join(cells).rstrip())
    return "\n".join(lines)


def column_widths(rows: Sequence[Row]) -> list[int]:
    """Return the width of each column."""
    return [max(map(text_width, column)) for column in zip(*rows, strict=True)]


def table_width(widths: Sequence[int]) -> int:
    """Return the width of a table of text with columns of these widths.

    Examples
    --------
    >>> table_width([6, 7])
    15
    """
    return sum(widths) + len(_GAP) * max(len(widths) - 1, 0)


def markdown_table(rows: Sequence[Row]) -> str:
    """Return rows of cells as a Markdown table; the first row is the header, and the first column is aligned left.

    Examples
    --------
    >>> print(markdown_table([["layer", "weights"], ["C1", "150"]]))
    | layer | weights |
    | --- | ---: |
    | C1 | 150 |
    """
    header, *body = rows
    marks = ["---", *["---:"] * (len(header) - 1)]
    lines = [[one_line(cell).replace("|", r"\|") for cell in row] for row in [header, marks, *body]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True)
class Table:
    """A small table about a result, as text and as HTML.

    The first row is the header; without one, the first cell of each row is the name of the others. The first ``left``
    columns are aligned to the left, the last ``totals`` rows are totals, and of more than ``most_rows`` the middle is
    left out. ``notes`` are lines below the table. ``answer`` is the answer in a word, if there is one; ``holds`` says
    whether it is a yes, and is shown as a coloured mark.

    Examples
    --------
    >>> print(facts("sum", {"terms": "3", "value": "12"}).to_text())
    sum
    terms  3
    value  12
    """

    title: str
    rows: Sequence[Row]
    left: int = 1
    totals: int = 0
    header: bool = True
    notes: Sequence[str] = ()
    holds: bool | None = None
    answer: str = ""
    most_rows: int = 30

    def to_text(self) -> str:
        """Return the table as text."""
        mark = f"{self.answer}: " if self.answer else ""
        rows = [[one_line(cell) for cell in row] for row in self._shown]
        return "\n".join([one_line(mark + self.title), text_table(rows, self.left), *self.notes])

    def to_html(self) -> str:
        """Return the table as HTML with all text escaped; colours are those of the page."""
        badge = "" if self.holds is None else headline(self.answer, self.title, holds=self.holds)
        table = self._html_table() if self.rows else ""
        below = "".join(f"<p>{escape(one_line(note))}</p>" for note in self.notes)
        return f'<div style="overflow: auto; max-height: 40em">{badge}{table}{below}</div>'

    def _html_table(self) -> str:
        head, body = self._shown[: int(self.header)], self._shown[int(self.header) :]
        split = len(body) - self.totals
        parts = {
            "thead": [self._html_row(row, names=len(row)) for row in head],
            "tbody": [self._html_row(row, names=0 if self.header else 1) for row in body[:split]],
            "tfoot": [self._html_row(row, names=len(row)) for row in body[split:]],
        }
        inner = "".join(f"<{tag}>{''.join(lines)}</{tag}>" for tag, lines in parts.items() if lines)
        caption = escape(one_line(self.title)) if self.holds is None else ""
        # A dollar sign in a name is not mathematics.
        return (
            f'<table class="tex2jax_ignore mathjax_ignore"><caption style="text-align: left">{caption}</caption>'
            f"{inner}</table>"
        )

    def _html_row(self, row: Row, names: int) -> str:
        cells = ""
        for number, cell in enumerate(row):
            tag = "th" if number < names else "td"
            style = "left" if number < self.left else "right; white-space: nowrap"
            cells += f'<{tag} style="text-align: {style}">{escape(one_line(cell))}</{tag}>'
        return f"<tr>{cells}</tr>"

    @property
    def _shown(self) -> list[Row]:
        half = self.most_rows // 2
        omitted = len(self.rows) - 2 * half
        if omitted <= 1:
            return list(self.rows)
        first, last = self.rows[:half], self.rows[-half:]
        return [*first, [f"... {omitted} more ...", *[""] * (len(self.rows[0]) - 1)], *last]


def facts(title: str, values: Mapping[str, str]) -> Table:
    """Return a table of two columns, names and values, without a header.

    Examples
    --------
    >>> facts("sum", {"terms": "3"}).to_html().count("<th")
    1
    """
    return Table(title, list(values.items()), left=2, header=False)


class ShownAsTable:
    """Base class of results that a notebook displays as a table, which subclasses return from ``_table()``."""

    def _table(self) -> Table:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return self._table().to_html()


def headline(answer: str, sentence: str, *, holds: bool) -> str:
    """Return an answer in HTML: a coloured mark, and a sentence.

    Examples
    --------
    >>> "&#10005; Refuted" in headline("Refuted", "a < b", holds=False)
    True
    """
    mark, colour = ("&#10003;", PROVED) if holds else ("&#10005;", BROKEN)
    badge = (
        f'<span style="background: {colour}; color: #fff; border-radius: 4px; padding: 1px 6px">'
        f"{mark} {escape(answer)}</span>"
    )
    return f"<p>{badge} <b>{escape(one_line(sentence))}</b></p>"


def by(sizes: Sequence[int]) -> str:
    """Return sizes as text.

    Examples
    --------
    >>> by((3, 5)), by(())
    ('3 x 5', '1')
    """
    return " x ".join(map(str, sizes)) or "1"


def by_x(sizes: Sequence[int]) -> str:
    """Return sizes as text without blanks, as on the command line.

    Examples
    --------
    >>> by_x((3, 32, 32)), by_x(())
    ('3x32x32', '1')
    """
    return "x".join(map(str, sizes)) or "1"
