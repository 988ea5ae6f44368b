"""A matrix as text, for terminals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from scipy import sparse

from convmatrix.display.ansi import coloured, terminal_colours
from convmatrix.display.window import Place, Rgb, Weights, colours, weight_name, window_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from convmatrix.geometry import ConvGeometry

_SUM: Final[Rgb] = (215, 215, 215)
_ELLIPSIS: Final = "..."


def matrix_text(
    matrix: Any,
    geometry: ConvGeometry | None = None,
    *,
    names: bool = False,
    order: str = "C",
    first_row: int = 0,
    n_rows: int | None = None,
    colour: bool = False,
    width: int = 80,
    max_rows: int = 40,
    max_columns: int | None = None,
) -> str:
    """Return a matrix as a grid of text: a dot where there is no entry, a star after a sum of several weights.

    Parameters
    ----------
    matrix : sparse matrix or array
        The whole matrix, or a slab of its rows.
    geometry : ConvGeometry, optional
        The layer of the matrix; with it entries are coloured by weight, without it by value.
    names : bool
        Show the weights (``w0``, ``w0+w2``) instead of the values. Needs a geometry.
    order : {"C", "F"}
        How input and output are flattened.
    first_row, n_rows : int
        Where the slab begins in the matrix, and how many rows that has; by default the slab is all of it.
    colour : bool
        Colour the entries with ANSI escape codes (256 colours).
    width : int
        Columns of text that there are.
    max_rows, max_columns : int
        Most rows and columns of the matrix to show. What is left out is told below the grid.

    Raises
    ------
    ValueError
        If names are asked for without a geometry, or the geometry is that of another matrix.

    Examples
    --------
    >>> import convmatrix as cm
    >>> g = cm.ConvGeometry(4, 3, padding="same", boundary="reflect")
    >>> A = cm.conv_matrix([1, 2, 4], g)
    >>> print(matrix_text(A, g))
    2  5* .  .
    1  2  4  .
    .  1  2  4
    .  .  5* 2
    4 x 4 matrix, 10 entries
    3 weights: w0=1 w1=2 w2=4
    . no entry, * several weights added
    >>> print(matrix_text(A, g, names=True, max_rows=2))
       w1 w0+w2     .     .
       w0    w1    w2     .
    ...
    4 x 4 matrix, of which rows 0 to 1 and columns 0 to 3
    3 weights: w0 w1 w2
    . no entry
    """
    matrix = sparse.csr_array(matrix)
    total = first_row + matrix.shape[0] if n_rows is None else n_rows
    _check(geometry, names=names, shape=(total, matrix.shape[1]))
    slab = matrix[:max_rows]
    slab.sum_duplicates()
    rows = range(first_row, first_row + slab.shape[0])

    most = width // 2 + 1 if max_columns is None else min(max_columns, width // 2 + 1)

    def entries_from(first: int) -> tuple[dict[Place, _Entry], range]:
        columns = range(first, min(first + most, matrix.shape[1]))
        entries = _entries(slab, rows, columns, geometry, names=names, order=order)
        return entries, _fitting(entries, columns, matrix.shape[1], width)

    entries, columns = entries_from(0)
    # Where not all fits, the first entry of the first row in view is the top left corner.
    if len(columns) < matrix.shape[1] and slab.nnz and (first := int(slab.indices[0])):
        entries, columns = entries_from(first)
    entries = {place: entry for place, entry in entries.items() if place[1] in columns}

    palette = colours((e.key for e in entries.values() if e.key is not None), geometry.n_weights if geometry else None)
    paint = _painter(palette) if colour else _plain
    lines = _grid(entries, rows, columns, matrix.shape[1], paint)
    if len(rows) < matrix.shape[0]:
        lines.append(_ELLIPSIS)
    if len(rows) == total and len(columns) == matrix.shape[1]:
        lines.append(f"{total} x {matrix.shape[1]} matrix, {slab.nnz} entr{'y' if slab.nnz == 1 else 'ies'}")
    else:
        shown = f"rows {rows.start} to {rows.stop - 1} and columns {columns.start} to {columns.stop - 1}"
        lines.append(f"{total} x {matrix.shape[1]} matrix, of which {shown}")
    if geometry is not None:
        lines.append(_weight_legend(entries, geometry.n_weights, paint, width, names=names))
    starred = any(entry.text.endswith("*") for entry in entries.values())
    lines.append(". no entry" + (", * several weights added" if starred else ""))
    return "\n".join(lines)


@dataclass(frozen=True)
class _Entry:
    """One entry: its text, its value, and its weights where a geometry tells them."""

    text: str
    value: Any
    weights: Weights | None

    @property
    def key(self) -> Any:
        """What its colour stands for: a weight, or a value where weights are unknown; None for a sum of weights."""
        if self.weights is None:
            # Sorts complex numbers, and NaN, which is neither less nor equal to itself.
            return tuple((part != part, 0.0 if part != part else part) for part in (self.value.real, self.value.imag))
        return self.weights[0] if len(self.weights) == 1 else None


def _check(geometry: ConvGeometry | None, *, names: bool, shape: tuple[int, int]) -> None:
    if geometry is None:
        if names:
            raise ValueError("the names of weights come from a geometry, but none is given; give the layer's geometry")
    elif (geometry.n_out, geometry.n_in) != shape:
        raise ValueError(
            f"the matrix is {shape[0]} x {shape[1]}, but {geometry!r} has a {geometry.n_out} x {geometry.n_in} matrix; "
            "give the geometry of this matrix, and first_row and n_rows for a slab of it"
        )


def _entries(
    slab: Any, rows: range, columns: range, geometry: ConvGeometry | None, *, names: bool, order: str
) -> dict[Place, _Entry]:
    """Return the entries of a slab in some columns, by row and column of the whole matrix."""
    window = slab[:, columns.start : columns.stop].tocoo()
    places = zip((window.row + rows.start).tolist(), (window.col + columns.start).tolist(), strict=True)
    values = dict(zip(places, window.data.tolist(), strict=True))
    if geometry is None:
        return {place: _Entry(value_text(value), value, None) for place, value in values.items()}
    weights = window_weights(geometry, rows, columns, order)
    if differing := weights.keys() ^ values.keys():
        place = min(differing)
        raise ValueError(
            f"row {place[0]}, column {place[1]} of the matrix holds {'an' if place in values else 'no'} entry, unlike "
            f"the matrix of {geometry!r} in order {order!r}; give this matrix's geometry and order"
        )
    # Digits stay under digits: where there are stars, whatever has none gets a blank.
    starred = not names and any(len(own) > 1 for own in weights.values())
    entries = {}
    for place, value in values.items():
        own = weights[place]
        mark = ("*" if len(own) > 1 else " ") if starred else ""
        entries[place] = _Entry(weight_name(own) if names else value_text(value) + mark, value, own)
    return entries


def _fitting(entries: dict[Place, _Entry], candidates: range, n_columns: int, width: int) -> range:
    """Return the first of the candidate columns, as many as fit in cells of one width; at least one."""
    widths = dict.fromkeys(candidates, 1)
    for (_, column), entry in entries.items():
        widths[column] = max(widths[column], len(entry.text))
    columns, cell = candidates[:1], 1
    for column in candidates:
        cell = max(cell, widths[column])
        shown = candidates[: column - candidates.start + 1]
        elided = (shown.start > 0) + (shown.stop < n_columns)
        if len(shown) * (cell + 1) - 1 + elided * (len(_ELLIPSIS) + 1) <= width:
            columns = shown
    return columns


def _grid(
    entries: dict[Place, _Entry], rows: range, columns: range, n_columns: int, paint: Callable[[str, _Entry], str]
) -> list[str]:
    """Return the lines of the grid."""
    cell = max((len(entry.text) for entry in entries.values()), default=1)
    dot = (". " if any(entry.text[-1] in "* " for entry in entries.values()) else ".").rjust(cell)
    before = [_ELLIPSIS] if columns.start else []
    after = [_ELLIPSIS] if columns.stop < n_columns else []
    lines = []
    for row in rows:
        found = [entries.get((row, column)) for column in columns]
        cells = [dot if entry is None else paint(entry.text.rjust(cell), entry) for entry in found]
        lines.append(" ".join(before + cells + after).rstrip())
    return lines


def _plain(text: str, _: _Entry) -> str:
    return text


def _painter(palette: dict[Any, Rgb]) -> Callable[[str, _Entry], str]:
    codes = terminal_colours([_SUM, *palette.values()])
    by_key = dict(zip([None, *palette], codes, strict=True))
    return lambda text, entry: coloured(text, by_key[entry.key])


def _weight_legend(
    entries: dict[Place, _Entry], n_weights: int, paint: Callable[[str, _Entry], str], width: int, *, names: bool
) -> str:
    """Return the weights in view, with their values unless the grid shows names; as many as fit on a line."""
    single = {entry.weights[0]: entry for entry in entries.values() if entry.weights and len(entry.weights) == 1}
    legend = f"{n_weights} weight{'s' if n_weights > 1 else ''}:"
    length = len(legend)
    for weight, entry in sorted(single.items()):
        text = f"w{weight}" if names else f"w{weight}={value_text(entry.value)}"
        length += 1 + len(text)
        if length + 1 + len(_ELLIPSIS) > width:
            return f"{legend} {_ELLIPSIS}"
        legend += " " + paint(text, entry)
    return legend if len(single) == n_weights else f"{legend} {_ELLIPSIS}"


def value_text(value: complex) -> str:
    """Return a number with at most three digits after rounding; integers in full.

    Examples
    --------
    >>> value_text(12345), value_text(0.123456), value_text(1 - 2j)
    ('12345', '0.123', '1-2j')
    """
    if isinstance(value, int):
        return str(value)
    if isinstance(value, complex):
        return f"{value.real:.3g}{value.imag:+.3g}j"
    return f"{value:.3g}"
