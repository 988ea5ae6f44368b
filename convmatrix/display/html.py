"""HTML for notebooks: layers and index patterns with a picture of their matrix, verdicts and proofs."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.display.palette import BROKEN, PROVED, hex_code, is_light, key_colours
from convmatrix.display.window import Position, Terms, unravel, weight_name, window_terms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry

_WINDOW: Final = 48  # rows and columns of a matrix that are drawn
_MOST_LABELLED_ROWS: Final = 32
_WIDEST_LABELLED: Final = 720  # pixels
_LONGEST_LABEL: Final = 7
_CELL: Final = 9
_LABELLED_CELL: Final = 22
_LONGEST_KERNEL: Final = 2**16  # taps per axis; drawing more takes too long
_MOST_CHANNEL_PAIRS: Final = 2**24
_LARGEST_OUTPUT: Final = 64  # outputs per axis in the picture of a broken symmetry
_OUTPUT_CELL: Final = 16
_SMALL_OUTPUT_CELL: Final = 8  # above 32 outputs per axis


def geometry_html(geometry: ConvGeometry) -> str:
    """Return a layer as self-contained HTML: a table of its numbers and a picture of its matrix.

    Entries are coloured by weight; an entry that is a sum of several weights is striped. Of a large matrix only the top
    left corner is drawn, as the caption says.

    Parameters
    ----------
    geometry : ConvGeometry

    Returns
    -------
    str
        A ``<table>`` and an inline ``<svg>``.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> html = geometry_html(ConvGeometry((3, 3), (2, 2)))
    >>> html.count("<title>w3 at row ")
    4
    """
    g = geometry
    rows = {
        "input": _by_channels(g.in_channels, g.input_shape),
        "output": _by_channels(g.out_channels, g.output_shape),
        "kernel": _times(g.kernel_shape),
        "weights": f"{g.n_weights} ({_times(g.weight_shape)})",
        "matrix": f"{g.n_out} &times; {g.n_in}",
    }
    for name, value in g.options().items():
        if name == "connections":
            n_pairs = sum(map(sum, g.connections or ()))
            rows[name] = f"{n_pairs} of {g.out_channels} &times; {g.in_channels} channel pairs"
        elif name not in ("in_channels", "out_channels"):
            rows[name.replace("_", " ")] = escape(str(value))
    table = _table("Transposed convolution layer" if g.transposed else "Convolution layer", rows)
    if max(g.kernel_shape) > _LONGEST_KERNEL or g.in_channels * g.out_channels > _MOST_CHANNEL_PAIRS:
        return _document(table, "<p>The matrix is too large to draw.</p>")

    def position(row: int, column: int) -> str:
        output = unravel(row, (g.out_channels, *g.output_shape))
        sample = unravel(column, (g.in_channels, *g.input_shape))
        return (
            f"row {row} (channel {output[0]}, output {list(output[1:])}), "
            f"column {column} (channel {sample[0]}, input {list(sample[1:])})"
        )

    window = min(g.n_out, _WINDOW), min(g.n_in, _WINDOW)
    entries = window_terms(g, range(window[0]), range(window[1]))
    return _document(table, _matrix_figure(entries, window, (g.n_out, g.n_in), g.weight_shape, position))


def pattern_html(pattern: Any) -> str:
    """Return an index pattern as self-contained HTML, drawn as `geometry_html` draws a layer.

    Parameters
    ----------
    pattern : WeightPattern
        The pattern of a layer, or one created from triplets.

    Returns
    -------
    str
        A ``<table>`` and an inline ``<svg>``.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> html = pattern_html(ConvGeometry((3, 3), (2, 2)).pattern())
    >>> html.count("<title>w3 at row ")
    4
    """
    n_rows, n_columns = window = min(pattern.shape[0], _WINDOW), min(pattern.shape[1], _WINDOW)
    entries: dict[Position, Terms] = {}
    for row in range(n_rows):
        start, stop = int(pattern.row_starts[row]), int(pattern.row_starts[row + 1])
        stop = start + int(np.searchsorted(pattern.cols[start:stop], n_columns))  # columns ascend
        for triplet in range(start, stop):
            position = row, int(pattern.cols[triplet])
            factor = 1 if pattern.coefficients is None else pattern.coefficients[triplet].item()
            entries[position] = (*entries.get(position, ()), (int(pattern.weight_index[triplet]), factor))
    rows = {
        "matrix": f"{pattern.shape[0]} &times; {pattern.shape[1]}",
        "weights": f"{pattern.n_weights} ({_times(pattern.weight_shape)})",
        "entries": f"{pattern.n_entries} triplets (row, column, weight)",
    }
    if pattern.n_weights:
        rows["sharing"] = f"each weight is used {pattern.n_entries / pattern.n_weights:.4g} times on average"
    if pattern.coefficients is not None:
        n_other = int(np.count_nonzero(pattern.coefficients != 1))
        rows["coefficients"] = (
            f"{pattern.coefficients.min():.4g} to {pattern.coefficients.max():.4g}, {n_other} of them other than 1"
            if n_other
            else "1"
        )
    if pattern.geometry is not None:
        rows["layer"] = escape(repr(pattern.geometry))
    figure = _matrix_figure(
        entries, window, pattern.shape, pattern.weight_shape, lambda row, column: f"row {row}, column {column}"
    )
    return _document(_table("Index pattern: the weight at each position of the matrix", rows), figure)


def verdict_html(holds: bool, explanation: str, broken: NDArray[np.bool_]) -> str:
    """Return a verdict as HTML: the answer, its explanation, and a picture of where a symmetry breaks.

    Parameters
    ----------
    holds : bool
    explanation : str
        Lines of text; the first begins with the answer and a colon.
    broken : array of bool
        Outputs that break the symmetry, channels first. Channel 0 is drawn if it has one or two axes.

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
    """Return a proof as HTML: the theorem, its hypotheses, and a table of its parts.

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
    rows = _table_row("th", "rests on", "claim", "found")
    for name, claim, found, done in parts:
        rows += _table_row("td", f"{_mark(done)} {escape(name)}", escape(claim), escape(found))
    last = f"<p>{escape(closing)}</p>" if closing else ""
    return (
        f"<div>{_headline(proved, 'Proved' if proved else 'Not proved', title)}<p>{escape(statement)}</p>"
        f"<p><i>For</i> {escape(hypotheses)}</p><table>{rows}</table>{last}</div>"
    )


def _document(table: str, figure: str) -> str:
    return f'<div style="font-family: sans-serif">{table}{figure}</div>'


def _table(caption: str, rows: Mapping[str, str]) -> str:
    cells = "".join(
        f'<tr><th style="text-align: left">{name}</th><td style="text-align: left">{value}</td></tr>'
        for name, value in rows.items()
    )
    return f'<table><caption style="text-align: left">{caption}</caption>{cells}</table>'


def _table_row(tag: str, *cells: str) -> str:
    return "<tr>" + "".join(f'<{tag} style="text-align: left">{cell}</{tag}>' for cell in cells) + "</tr>"


def _times(shape: tuple[int, ...]) -> str:
    return " &times; ".join(map(str, shape))


def _by_channels(channels: int, shape: tuple[int, ...]) -> str:
    return f"{channels} channel{'s' if channels > 1 else ''} of {_times(shape)}"


def _matrix_figure(
    entries: Mapping[Position, Terms],
    window: tuple[int, int],
    shape: tuple[int, int],
    weight_shape: tuple[int, ...],
    position: Callable[[int, int], str],
) -> str:
    """Draw the top left window of a matrix, with a caption."""
    caption = "Matrix, coloured by weight"
    if window != shape:
        caption = (
            f"Top left corner of the matrix, coloured by weight: rows 0 to {window[0] - 1} of {shape[0]}, "
            f"columns 0 to {window[1] - 1} of {shape[1]}"
        )
    n_rows, n_columns = window
    n_weights = math.prod(weight_shape)
    colours = key_colours((weight for terms in entries.values() for weight, _ in terms), n_weights)
    labels = {where: weight_name(terms) for where, terms in entries.items()}
    longest = max(map(len, labels.values()), default=0)
    width = max(_LABELLED_CELL, 7 * longest + 6)
    labelled = longest <= _LONGEST_LABEL and n_rows <= _MOST_LABELLED_ROWS and n_columns * width <= _WIDEST_LABELLED
    height = _LABELLED_CELL if labelled else _CELL
    width = width if labelled else height
    shapes = [f'<rect width="{n_columns * width}" height="{n_rows * height}" fill="#fff" stroke="#888"/>']
    for (row, column), terms in entries.items():
        weights = tuple(weight for weight, _ in terms)
        x, y, stripe = column * width, row * height, width / len(weights)
        cell = (
            f"<title>{labels[row, column]} at {position(row, column)}; {_weight_indices(weights, weight_shape)}</title>"
        )
        for number, weight in enumerate(weights):
            box = f'x="{x + number * stripe:g}" y="{y}" width="{stripe:g}" height="{height}"'
            cell += f'<rect {box} fill="{hex_code(colours[weight])}"/>'
        if labelled:
            ink = f'fill="{"#000" if is_light(colours[weights[0]]) else "#fff"}"'
            if len(weights) > 1:  # on stripes the text has a white outline
                ink = 'fill="#000" stroke="#fff" stroke-width="3" paint-order="stroke"'
            cell += (
                f'<text x="{x + width / 2:g}" y="{y + height / 2:g}" {ink} text-anchor="middle" '
                f'dominant-baseline="central">{labels[row, column]}</text>'
            )
        shapes.append(f"<g>{cell}</g>")
    attributes = 'font-size="11" font-family="monospace"'
    title = "The weight at each position of the matrix"
    return _figure(title, n_columns * width, n_rows * height, shapes, caption, attributes)


def _weight_indices(weights: tuple[int, ...], weight_shape: tuple[int, ...]) -> str:
    return ", ".join(f"w{weight} = weights{list(unravel(weight, weight_shape))}" for weight in sorted(set(weights)))


def _figure(title: str, width: int, height: int, shapes: list[str], caption: str, attributes: str = "") -> str:
    """Return an SVG picture with a margin of one pixel, and its caption."""
    return (
        f'<figure><svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width + 2}" height="{height + 2}" '
        f'viewBox="-1 -1 {width + 2} {height + 2}" {attributes}><title>{title}</title>{"".join(shapes)}</svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _mark(good: bool) -> str:
    return "&#10003;" if good else "&#10005;"


def _headline(good: bool, answer: str, sentence: str) -> str:
    badge = (
        f'<span style="background: {PROVED if good else BROKEN}; color: #fff; border-radius: 4px; padding: 1px 6px">'
        f"{_mark(good)} {escape(answer)}</span>"
    )
    return f"<p>{badge} <b>{escape(sentence)}</b></p>"


def _broken_outputs(broken: NDArray[np.bool_]) -> str:
    """Return a picture of the outputs of channel 0 with the broken ones crossed out; empty for more than two axes."""
    plane = np.atleast_2d(broken[0] if broken.ndim > 1 else broken)
    if plane.ndim > 2 or max(plane.shape) > _LARGEST_OUTPUT:
        return ""
    side = _OUTPUT_CELL if max(plane.shape) <= _LARGEST_OUTPUT // 2 else _SMALL_OUTPUT_CELL
    height, width = plane.shape[0] * side, plane.shape[1] * side
    arm = side * 3 // 8
    shapes = [f'<rect width="{width}" height="{height}" fill="#fff" stroke="#888"/>']
    for (y, x), crossed in np.ndenumerate(plane):
        left, top, fill = x * side, y * side, "#f4c9ad" if crossed else "#fff"
        shapes.append(f'<rect x="{left}" y="{top}" width="{side}" height="{side}" fill="{fill}" stroke="#bbb"/>')
        if crossed:
            start = f"M{left + side // 2 - arm // 2} {top + side // 2 - arm // 2}"
            shapes.append(
                f'<path d="{start}l{arm} {arm}m0 {-arm}l{-arm} {arm}" stroke="{BROKEN}" stroke-width="{side // 8}" '
                'fill="none"/>'
            )
    title = "Outputs of channel 0 that break the symmetry" if broken.ndim > 1 else "Outputs that break the symmetry"
    return _figure(title, width, height, shapes, f"{title} (&#10005;)")
