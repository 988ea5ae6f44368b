"""Tables of text: for terminals, in Markdown and in HTML."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from html import escape
from typing import Final

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
    """Return rows of cells as aligned columns.

    Parameters
    ----------
    rows : sequence of sequence of str
        The first one is the header.
    left : int
        Number of columns that are aligned to the left; the others are aligned to the right.

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
    """Return the width of each column.

    Examples
    --------
    >>> column_widths([["layer", "weights"], ["output", "150"]])
    [6, 7]
    """
    return [max(map(text_width, column)) for column in zip(*rows, strict=True)]


def table_width(widths: Sequence[int]) -> int:
    """Return the width of a table of text with columns of these widths.

    Examples
    --------
    >>> table_width([6, 7])
    15
    """
    return sum(widths) + len(_GAP) * max(len(widths) - 1, 0)


def markdown_table(rows: Sequence[Row], left: int = 1) -> str:
    """Return rows of cells as a Markdown table; the first row is the header.

    Examples
    --------
    >>> print(markdown_table([["layer", "weights"], ["C1", "150"]]))
    | layer | weights |
    | --- | ---: |
    | C1 | 150 |
    """
    header, *body = rows
    marks = ["---"] * left + ["---:"] * (len(header) - left)
    lines = [[one_line(cell).replace("|", r"\|") for cell in row] for row in [header, marks, *body]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def html_table(rows: Sequence[Row], caption: str, left: int = 1, *, totals: int = 0) -> str:
    """Return rows of cells as an HTML table with all text escaped; the first row is the header.

    Examples
    --------
    >>> html = html_table([["layer", "weights"], ["<C1>", "150"]], "LeNet-5")
    >>> "&lt;C1&gt;" in html, html.count("<tr>")
    (True, 2)
    """

    def line(row: Row, tag: str) -> str:
        aligned = ("left" if number < left else "right" for number in range(len(row)))
        cells = zip(row, aligned, strict=True)
        return "".join(f'<{tag} style="text-align: {side}">{escape(one_line(cell))}</{tag}>' for cell, side in cells)

    header, *body = rows
    split = len(body) - totals
    parts = [f"<tr>{line(row, 'td')}</tr>" for row in body[:split]]
    foot = "".join(f"<tr>{line(row, 'th')}</tr>" for row in body[split:])
    return (
        f'<table><caption style="text-align: left">{escape(one_line(caption))}</caption>'
        f"<thead><tr>{line(header, 'th')}</tr></thead><tbody>{''.join(parts)}</tbody>"
        f"{f'<tfoot>{foot}</tfoot>' if foot else ''}</table>"
    )
