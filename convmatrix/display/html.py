"""A layer or a pattern as HTML, for notebooks: a table of its numbers, and a picture of its matrix."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

import numpy as np

from convmatrix.display.window import Place, Rgb, Weights, colours, is_light, unravel, weight_name, window_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from convmatrix.geometry import ConvGeometry
    from convmatrix.pattern import WeightPattern

_WINDOW: Final = 48  # rows and columns that are drawn
_LABELLED: Final = 32  # rows up to which entries are labelled
_WIDEST: Final = 720  # pixels of a labelled picture
_LONGEST_LABEL: Final = 7
_SMALL_CELL: Final = 9
_LABELLED_CELL: Final = 22
_LONGEST_KERNEL: Final = 2**16  # taps on an axis up to which the picture is a matter of moments
_MOST_PAIRS: Final = 2**24  # channel pairs, likewise


def geometry_html(geometry: ConvGeometry) -> str:
    """Return a layer as self-contained HTML.

    Entries of the picture are coloured by weight; where several weights are added the cell is striped. A large matrix
    is cut to its top left corner, and the caption says so.

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
    return _document(_layer_table(geometry), _layer_figure(geometry))


def pattern_html(pattern: WeightPattern) -> str:
    """Return a pattern as self-contained HTML, drawn as `geometry_html` draws a layer.

    Parameters
    ----------
    pattern : WeightPattern
        Of a layer, or made from triplets.

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
    n_rows, n_columns = min(pattern.shape[0], _WINDOW), min(pattern.shape[1], _WINDOW)
    entries: dict[Place, Weights] = {}
    for row in range(n_rows):
        start, stop = int(pattern.row_starts[row]), int(pattern.row_starts[row + 1])
        stop = start + int(np.searchsorted(pattern.cols[start:stop], n_columns))  # columns ascend
        for place in range(start, stop):
            key = row, int(pattern.cols[place])
            entries[key] = (*entries.get(key, ()), int(pattern.weight_index[place]))
    rows = {
        "matrix": f"{pattern.shape[0]} &times; {pattern.shape[1]}",
        "weights": f"{pattern.n_weights} ({_times(pattern.weight_shape)})",
        "entries": f"{pattern.n_entries} triplets (row, column, weight)",
    }
    if pattern.n_weights:
        rows["sharing"] = f"a weight is used {pattern.n_entries / pattern.n_weights:.4g} times on average"
    if pattern.geometry is not None:
        rows["layer"] = escape(repr(pattern.geometry))

    def title(row: int, column: int, weights: Weights) -> str:
        return f"{weight_name(weights)} at row {row}, column {column}; {_weight_places(weights, pattern.weight_shape)}"

    figure = _figure(entries, (n_rows, n_columns), pattern.shape, pattern.n_weights, title)
    return _document(_table("Index pattern: which weight sits where", rows), figure)


def _document(table: str, figure: str) -> str:
    return f'<div style="font-family: sans-serif">{table}{figure}</div>'


def _layer_table(geometry: ConvGeometry) -> str:
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
            table = g.connections or ()
            rows[name] = f"{sum(map(sum, table))} of {g.out_channels} &times; {g.in_channels} channel pairs"
        elif name not in ("in_channels", "out_channels"):
            rows[name.replace("_", " ")] = escape(str(value))
    return _table("Transposed convolution layer" if g.transposed else "Convolution layer", rows)


def _table(caption: str, rows: Mapping[str, str]) -> str:
    cells = "".join(
        f'<tr><th style="text-align: left">{name}</th><td style="text-align: left">{value}</td></tr>'
        for name, value in rows.items()
    )
    return f'<table><caption style="text-align: left">{caption}</caption>{cells}</table>'


def _times(shape: tuple[int, ...]) -> str:
    return " &times; ".join(map(str, shape))


def _by_channels(channels: int, shape: tuple[int, ...]) -> str:
    return f"{channels} channel{'s' if channels > 1 else ''} of {_times(shape)}"


def _layer_figure(geometry: ConvGeometry) -> str:
    g = geometry
    if max(g.kernel_shape) > _LONGEST_KERNEL or g.in_channels * g.out_channels > _MOST_PAIRS:
        return "<p>The matrix is too large to draw.</p>"
    rows, columns = range(min(g.n_out, _WINDOW)), range(min(g.n_in, _WINDOW))
    entries = window_weights(g, rows, columns)

    def title(row: int, column: int, weights: Weights) -> str:
        return _title(g, row, column, weights)

    return _figure(entries, (len(rows), len(columns)), (g.n_out, g.n_in), g.n_weights, title)


def _figure(
    entries: Mapping[Place, Weights],
    window: tuple[int, int],
    shape: tuple[int, int],
    n_weights: int,
    title: Callable[[int, int, Weights], str],
) -> str:
    """Draw the top left window of a matrix of a shape, and say so where it is not all of it."""
    caption = "Matrix, coloured by weight"
    if window != shape:
        caption = (
            f"Top left corner of the matrix, coloured by weight: rows 0 to {window[0] - 1} of {shape[0]}, "
            f"columns 0 to {window[1] - 1} of {shape[1]}"
        )
    return f"<figure>{_svg(entries, *window, n_weights, title)}<figcaption>{caption}</figcaption></figure>"


def _svg(
    entries: Mapping[Place, Weights],
    n_rows: int,
    n_columns: int,
    n_weights: int,
    title: Callable[[int, int, Weights], str],
) -> str:
    palette = colours((weight for weights in entries.values() for weight in weights), n_weights)
    labels = {place: weight_name(weights) for place, weights in entries.items()}
    longest = max(map(len, labels.values()), default=0)
    width = max(_LABELLED_CELL, 7 * longest + 6)
    labelled = longest <= _LONGEST_LABEL and n_rows <= _LABELLED and n_columns * width <= _WIDEST
    height = _LABELLED_CELL if labelled else _SMALL_CELL
    width = width if labelled else height
    shapes = [f'<rect width="{n_columns * width}" height="{n_rows * height}" fill="#fff" stroke="#888"/>']
    for (row, column), weights in entries.items():
        x, y = column * width, row * height
        stripe = width / len(weights)
        fills = "".join(
            f'<rect x="{x + place * stripe:g}" y="{y}" width="{stripe:g}" height="{height}" fill="{_hex(palette[w])}"/>'
            for place, w in enumerate(weights)
        )
        text = ""
        if labelled:
            ink = "#000" if all(is_light(palette[w]) for w in weights) else "#fff"
            text = (
                f'<text x="{x + width / 2:g}" y="{y + height / 2:g}" fill="{ink}" text-anchor="middle" '
                f'dominant-baseline="central">{labels[row, column]}</text>'
            )
        shapes.append(f"<g><title>{title(row, column, weights)}</title>{fills}{text}</g>")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{n_columns * width + 2}" '
        f'height="{n_rows * height + 2}" viewBox="-1 -1 {n_columns * width + 2} {n_rows * height + 2}" '
        f'font-size="11" font-family="monospace"><title>Which weight sits where in the matrix</title>{"".join(shapes)}'
        "</svg>"
    )


def _title(geometry: ConvGeometry, row: int, column: int, weights: Weights) -> str:
    """Return the tooltip of an entry: its output, its input and its weights, flat and by axis."""
    g = geometry
    output = unravel(row, (g.out_channels, *g.output_shape))
    source = unravel(column, (g.in_channels, *g.input_shape))
    return (
        f"{weight_name(weights)} at row {row} (channel {output[0]}, output {list(output[1:])}), "
        f"column {column} (channel {source[0]}, input {list(source[1:])}); {_weight_places(weights, g.weight_shape)}"
    )


def _weight_places(weights: Weights, weight_shape: tuple[int, ...]) -> str:
    return ", ".join(f"w{weight} = weights{list(unravel(weight, weight_shape))}" for weight in sorted(set(weights)))


def _hex(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
