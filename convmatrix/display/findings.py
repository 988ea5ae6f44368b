"""What a check or a proof found, as HTML for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_LARGEST_PICTURE: Final = 64
_SMALL_CELL: Final = 8
_CELL: Final = 16
_MOST_CELLS_ACROSS: Final = 32  # up to which cells are large
_GOOD: Final = "#00694c"  # with white text both reach a contrast of 4.5
_BAD: Final = "#b34700"


def verdict_html(holds: bool, explanation: str, broken: NDArray[np.bool_]) -> str:
    """Return a verdict as HTML: the answer, the words for it, and where a symmetry breaks.

    Parameters
    ----------
    holds : bool
    explanation : str
        Lines of text; the first begins with the answer and a colon.
    broken : array of bool
        Which outputs break the symmetry, channels first; drawn are those of channel 0, on one or two axes.

    Returns
    -------
    str

    Examples
    --------
    >>> import numpy as np
    >>> html = verdict_html(False, "Refuted: it moves.", np.array([True, False]))
    >>> html.count("<path "), "Refuted" in html
    (1, True)
    """
    first, *others = explanation.splitlines()
    answer, _, sentence = first.partition(": ")
    rest = "".join(f"<p>{escape(line)}</p>" for line in others)
    picture = "" if holds else _broken_outputs(broken)
    return f"<div>{_headline(holds, answer, sentence)}{rest}{picture}</div>"


def proof_html(proved: bool, title: str, statement: str, hypotheses: str, parts: Iterable[Any], closing: str) -> str:
    """Return a proof as HTML: the theorem, what it assumes, and a table of what it rests on.

    Parameters
    ----------
    proved : bool
    title, statement, hypotheses, closing : str
    parts : iterable of (str, str, str, bool)
        Name, claim, finding, and whether the part was proved.

    Returns
    -------
    str

    Examples
    --------
    >>> html = proof_html(True, "sum", "a + b = b + a", "integers", [("swap", "a < b", "proved", True)], "")
    >>> "a &lt; b" in html, html.count("<tr>")
    (True, 2)
    """
    rows = "".join(
        _row("td", f"{_mark(done)} {escape(name)}", escape(claim), escape(found)) for name, claim, found, done in parts
    )
    last = f"<p>{escape(closing)}</p>" if closing else ""
    answer = "Proved" if proved else "Not proved"
    return (
        f"<div>{_headline(proved, answer, title)}<p>{escape(statement)}</p><p><i>For</i> {escape(hypotheses)}</p>"
        f"<table>{_row('th', 'rests on', 'claim', 'found')}{rows}</table>{last}</div>"
    )


def _row(tag: str, *cells: str) -> str:
    return "<tr>" + "".join(f'<{tag} style="text-align: left">{cell}</{tag}>' for cell in cells) + "</tr>"


def _mark(good: bool) -> str:
    return "&#10003;" if good else "&#10005;"


def _headline(good: bool, answer: str, sentence: str) -> str:
    badge = (
        f'<span style="background: {_GOOD if good else _BAD}; color: #fff; border-radius: 4px; padding: 1px 6px">'
        f"{_mark(good)} {escape(answer)}</span>"
    )
    return f"<p>{badge} <b>{escape(sentence)}</b></p>"


def _broken_outputs(broken: NDArray[np.bool_]) -> str:
    """Draw the outputs of the first channel, the broken ones crossed out, where they are few on one or two axes."""
    plane = np.atleast_2d(broken[0] if broken.ndim > 1 else broken)
    if plane.ndim > 2 or max(plane.shape) > _LARGEST_PICTURE:
        return ""
    side = _CELL if max(plane.shape) <= _MOST_CELLS_ACROSS else _SMALL_CELL
    height, width = plane.shape[0] * side, plane.shape[1] * side
    shapes = [f'<rect width="{width}" height="{height}" fill="#fff" stroke="#888"/>']
    shapes += [
        f'<rect x="{x * side}" y="{y * side}" width="{side}" height="{side}" fill="#fff" stroke="#bbb"/>'
        for y, x in np.ndindex(plane.shape)
        if not plane[y, x]
    ]
    for y, x in np.argwhere(plane).tolist():
        left, top, arm = x * side, y * side, side * 3 // 8
        shapes.append(
            f'<rect x="{left}" y="{top}" width="{side}" height="{side}" fill="#f4c9ad" stroke="#bbb"/>'
            f'<path d="M{left + side // 2 - arm // 2} {top + side // 2 - arm // 2}l{arm} {arm}m0 {-arm}l{-arm} {arm}" '
            f'stroke="{_BAD}" stroke-width="{side // 8}" fill="none"/>'
        )
    title = "Outputs of channel 0 that break the symmetry" if broken.ndim > 1 else "Outputs that break the symmetry"
    return (
        f'<figure><svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width + 2}" height="{height + 2}" '
        f'viewBox="-1 -1 {width + 2} {height + 2}"><title>{title}</title>{"".join(shapes)}</svg>'
        f"<figcaption>{title} (&#10005;)</figcaption></figure>"
    )
