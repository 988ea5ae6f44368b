"""HTML for notebooks: layers and index patterns with a picture of their matrix, and verdicts."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.display.block_structure import block_levels, level_pictures, svg_figure
from convmatrix.display.matrix_window import Position, Terms, pattern_terms, unravel, weight_name, window_terms
from convmatrix.display.palette import BROKEN, hex_code, is_light, key_colours
from convmatrix.display.tables import Table, by, facts, headline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry

_LARGEST_DRAWN: Final = 100  # rows or columns of the matrix of a layer
_MOST_ENTRIES: Final = 2500
_WINDOW: Final = 48  # rows and columns of a pattern without a layer
_MOST_LABELLED_ROWS: Final = 32
_WIDEST_LABELLED: Final = 720  # pixels
_LONGEST_LABEL: Final = 7
_CELL: Final = 9
_SMALL_CELL: Final = 6  # beyond 48 rows or columns
_LABELLED_CELL: Final = 22
_LARGEST_OUTPUT: Final = 64  # outputs per axis in the picture of a broken symmetry
_OUTPUT_CELL: Final = 16
_SMALL_OUTPUT_CELL: Final = 8  # above 32 outputs per axis


def geometry_html(geometry: ConvGeometry) -> str:
    """Return a layer as self-contained HTML: a table of its numbers and a picture of its matrix.

    Entries are coloured by weight; an entry that is a sum of several weights is striped. Of a large matrix the
    structure is listed and drawn: the matrix of each axis, whose entries are the blocks of the next one.

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
        "kernel": by(g.kernel_shape),
        "weights": f"{g.n_weights:,} ({by(g.weight_shape)})",
        "matrix": f"{g.n_out:,} x {g.n_in:,}",
    }
    for name, value in g.options().items():
        if name == "connections":
            rows[name] = f"{len(g.channel_pairs)} of {g.out_channels} x {g.in_channels} channel pairs"
        elif name not in ("in_channels", "out_channels"):
            rows[name.replace("_", " ")] = str(value)
    table = facts("Transposed convolution layer" if g.transposed else "Convolution layer", rows).to_html()
    shape = g.n_out, g.n_in
    entries = window_terms(g, range(g.n_out), range(g.n_in)) if max(shape) <= _LARGEST_DRAWN else {}
    if not 0 < len(entries) <= _MOST_ENTRIES:
        return _document(table, _structure(g))

    def position(row: int, column: int) -> str:
        output = unravel(row, g.full_output_shape)
        sample = unravel(column, g.full_input_shape)
        return (
            f"row {row} (channel {output[0]}, output {list(output[1:])}), "
            f"column {column} (channel {sample[0]}, input {list(sample[1:])})"
        )

    return _document(table, _matrix_figure(entries, shape, shape, g.weight_shape, position))


def _structure(geometry: ConvGeometry) -> str:
    """Return the levels of a matrix that is too large to draw, as a table and pictures."""
    rows = [
        [level.name, by(level.shape), level.structure, level.diagonals]
        for level in block_levels(geometry)
        if level.shape != (1, 1)
    ]
    title = "Matrix, as blocks within blocks from the outside in"
    table = Table(title, [["level", "blocks", "structure", "diagonals"], *rows], left=4)
    return table.to_html() + level_pictures(geometry)


def pattern_html(pattern: Any) -> str:
    """Return a `WeightPattern` as self-contained HTML, drawn as `geometry_html` draws a layer.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> html = pattern_html(ConvGeometry((3, 3), (2, 2)).pattern())
    >>> html.count("<title>w3 at row ")
    4
    """
    large = max(pattern.shape) > _LARGEST_DRAWN or pattern.n_entries > _MOST_ENTRIES
    if pattern.geometry is not None and large:
        return _document(_pattern_table(pattern), _structure(pattern.geometry))
    most = _WINDOW if large else _LARGEST_DRAWN
    window = min(pattern.shape[0], most), min(pattern.shape[1], most)
    figure = _matrix_figure(
        pattern_terms(pattern, *window),
        window,
        pattern.shape,
        pattern.weight_shape,
        lambda row, column: f"row {row}, column {column}",
    )
    return _document(_pattern_table(pattern), figure)


def _pattern_table(pattern: Any) -> str:
    """Return the numbers of a pattern as a table."""
    rows = {
        "matrix": f"{pattern.shape[0]:,} x {pattern.shape[1]:,}",
        "weights": f"{pattern.n_weights:,} ({by(pattern.weight_shape)})",
        "entries": f"{pattern.n_entries:,} triplets (row, column, weight)",
    }
    if pattern.n_weights:
        rows["sharing"] = f"each weight is used {pattern.n_entries / pattern.n_weights:.4g} times on average"
    if pattern.coefficients is not None:
        n_other = int(np.count_nonzero(pattern.coefficients != 1))
        rows["coefficients"] = (
            f"{pattern.coefficients.min():.4g} to {pattern.coefficients.max():.4g}, {n_other:,} of them other than 1"
            if n_other
            else "1"
        )
    if pattern.geometry is not None:
        rows["layer"] = repr(pattern.geometry)
    return facts("Index pattern: the weight at each position of the matrix", rows).to_html()


def verdict_html(holds: bool, explanation: str, broken: NDArray[np.bool_]) -> str:
    """Return a verdict as HTML: the answer, its explanation, and a picture of where a symmetry breaks.

    The first line of the explanation begins with the answer and a colon. ``broken`` marks the outputs that break the
    symmetry, channels first; channel 0 is drawn if it has one or two axes.

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
    return f"<div>{headline(answer, sentence, holds=holds)}{rest}{picture}</div>"


def _document(table: str, figure: str) -> str:
    return f'<div style="font-family: sans-serif">{table}{figure}</div>'


def _by_channels(channels: int, shape: tuple[int, ...]) -> str:
    return f"{channels} channel{'s' if channels > 1 else ''} of {by(shape)}"


def _matrix_figure(
    entries: Mapping[Position, Terms],
    window: tuple[int, int],
    shape: tuple[int, int],
    weight_shape: tuple[int, ...],
    position: Callable[[int, int], str],
) -> str:
    """Return a picture of the top left window of a matrix, with a caption."""
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
    height = _LABELLED_CELL if labelled else _CELL if max(window) <= _WINDOW else _SMALL_CELL
    width = width if labelled else height
    shapes = ""
    for (row, column), terms in entries.items():
        weights = tuple(weight for weight, _ in terms)
        x, y, stripe = column * width, row * height, width / len(weights)
        indices = ", ".join(
            f"w{weight} = weights{list(unravel(weight, weight_shape))}" for weight in sorted(set(weights))
        )
        cell = f"<title>{labels[row, column]} at {position(row, column)}; {indices}</title>"
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
        shapes += f"<g>{cell}</g>"
    shapes = f'<g font-size="11" font-family="monospace">{shapes}</g>'
    return svg_figure("The weight at each position of the matrix", n_columns * width, n_rows * height, shapes, caption)


def _broken_outputs(broken: NDArray[np.bool_]) -> str:
    """Return a picture of the outputs of channel 0 with the broken ones crossed out; empty for more than two axes."""
    plane = np.atleast_2d(broken[0] if broken.ndim > 1 else broken)
    if plane.ndim > 2 or max(plane.shape) > _LARGEST_OUTPUT:
        return ""
    side = _OUTPUT_CELL if max(plane.shape) <= _LARGEST_OUTPUT // 2 else _SMALL_OUTPUT_CELL
    height, width = plane.shape[0] * side, plane.shape[1] * side
    arm = side * 3 // 8
    shapes = ""
    for (y, x), crossed in np.ndenumerate(plane):
        left, top, fill = x * side, y * side, "#f4c9ad" if crossed else "#fff"
        shapes += f'<rect x="{left}" y="{top}" width="{side}" height="{side}" fill="{fill}" stroke="#bbb"/>'
        if crossed:
            start = f"M{left + side // 2 - arm // 2} {top + side // 2 - arm // 2}"
            pen = f'stroke="{BROKEN}" stroke-width="{side // 8}" fill="none"'
            shapes += f'<path d="{start}l{arm} {arm}m0 {-arm}l{-arm} {arm}" {pen}/>'
    title = "Outputs of channel 0 that break the symmetry" if broken.ndim > 1 else "Outputs that break the symmetry"
    return svg_figure(title, width, height, shapes, f"{title} (&#10005;)")
