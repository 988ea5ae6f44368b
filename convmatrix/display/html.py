"""A layer as HTML, for notebooks: a table of its numbers, and a picture of its matrix coloured by weight."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from convmatrix.display.window import Place, Rgb, Weights, colours, is_light, unravel, weight_name, window_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convmatrix.geometry import ConvGeometry

_WINDOW: Final = 48  # rows and columns that are drawn
_LABELLED: Final = 20  # rows and columns up to which entries are labelled
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
    return f'<div style="font-family: sans-serif">{_table(geometry)}{_figure(geometry)}</div>'


def _table(geometry: ConvGeometry) -> str:
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
    cells = "".join(
        f'<tr><th style="text-align: left">{name}</th><td style="text-align: left">{value}</td></tr>'
        for name, value in rows.items()
    )
    kind = "Transposed convolution layer" if g.transposed else "Convolution layer"
    return f'<table><caption style="text-align: left">{kind}</caption>{cells}</table>'


def _times(shape: tuple[int, ...]) -> str:
    return " &times; ".join(map(str, shape))


def _by_channels(channels: int, shape: tuple[int, ...]) -> str:
    return f"{channels} channel{'s' if channels > 1 else ''} of {_times(shape)}"


def _figure(geometry: ConvGeometry) -> str:
    g = geometry
    if max(g.kernel_shape) > _LONGEST_KERNEL or g.in_channels * g.out_channels > _MOST_PAIRS:
        return "<p>The matrix is too large to draw.</p>"
    rows, columns = range(min(g.n_out, _WINDOW)), range(min(g.n_in, _WINDOW))
    entries = window_weights(g, rows, columns)
    caption = "Matrix, coloured by weight"
    if len(rows) < g.n_out or len(columns) < g.n_in:
        caption = (
            f"Top left corner of the matrix, coloured by weight: rows 0 to {len(rows) - 1} of {g.n_out}, "
            f"columns 0 to {len(columns) - 1} of {g.n_in}"
        )
    return f"<figure>{_svg(g, entries, len(rows), len(columns))}<figcaption>{caption}</figcaption></figure>"


def _svg(geometry: ConvGeometry, entries: Mapping[Place, Weights], n_rows: int, n_columns: int) -> str:
    palette = colours((weight for weights in entries.values() for weight in weights), geometry.n_weights)
    labels = {place: weight_name(weights) for place, weights in entries.items()}
    longest = max(map(len, labels.values()), default=0)
    labelled = max(n_rows, n_columns) <= _LABELLED and longest <= _LONGEST_LABEL
    height = _LABELLED_CELL if labelled else _SMALL_CELL
    width = max(height, 7 * longest + 6) if labelled else height
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
        title = _title(geometry, row, column, labels[row, column], weights)
        shapes.append(f"<g><title>{title}</title>{fills}{text}</g>")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{n_columns * width + 2}" '
        f'height="{n_rows * height + 2}" viewBox="-1 -1 {n_columns * width + 2} {n_rows * height + 2}" '
        f'font-size="11" font-family="monospace"><title>Which weight sits where in the matrix</title>{"".join(shapes)}'
        "</svg>"
    )


def _title(geometry: ConvGeometry, row: int, column: int, label: str, weights: Weights) -> str:
    """Return the tooltip of an entry: its output, its input and its weights, flat and by axis."""
    g = geometry
    output = unravel(row, (g.out_channels, *g.output_shape))
    source = unravel(column, (g.in_channels, *g.input_shape))
    places = ", ".join(f"w{weight} = weights{list(unravel(weight, g.weight_shape))}" for weight in sorted(set(weights)))
    return (
        f"{label} at row {row} (channel {output[0]}, output {list(output[1:])}), "
        f"column {column} (channel {source[0]}, input {list(source[1:])}); {places}"
    )


def _hex(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
