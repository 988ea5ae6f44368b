"""Matrices as text for terminals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse

from convmatrix.display.block_structure import structure_lines
from convmatrix.display.matrix_window import Position, Terms, is_single, weight_name, window_terms
from convmatrix.display.palette import Rgb, is_light, key_colours

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from convmatrix.geometry import ConvGeometry

_SUM: Final[Rgb] = (215, 215, 215)
_ELLIPSIS: Final = "..."
_LEVELS: Final = (0, 95, 135, 175, 215, 255)
_CUBE: Final[tuple[Rgb, ...]] = tuple((red, green, blue) for red in _LEVELS for green in _LEVELS for blue in _LEVELS)
_FIRST_CODE: Final = 16  # of the cube among a terminal's 256 colours


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
    """Return a matrix as a text grid, with a dot for no entry and a star after a sum of several weights.

    Parameters
    ----------
    matrix : sparse matrix or array
        The whole matrix, or a slab of its rows.
    geometry : ConvGeometry, optional
        The layer of the matrix. If given, entries are coloured by weight, otherwise by value.
    names : bool
        Show the weights (``w0``, ``w0+w2``) instead of the values; requires a geometry.
    order : {"C", "F"}
        How input and output are flattened.
    first_row, n_rows : int
        Index of the first row of the slab, and number of rows of the whole matrix; by default the slab ends at its last
        row.
    colour : bool
        Colour the entries with ANSI escape codes (256 colours).
    width : int
        Width of the text in characters.
    max_rows, max_columns : int
        Maximum number of rows and columns to show. A line below the grid states which part is shown, and further lines
        the structure of the whole matrix, if the layer is known.

    Raises
    ------
    ValueError
        If names are requested without a geometry, or the geometry does not match the matrix.

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
    . no entry, * sum of several weights
    >>> print(matrix_text(A, g, names=True, max_rows=2))
       w1 w0+w2     .     .
       w0    w1    w2     .
    ...
    4 x 4 matrix, showing rows 0 to 1 and columns 0 to 3
    3 weights: w0 w1 w2
    . no entry
    structure:
      axis 0  4 x 4, Toeplitz but for 1 + 1 rows at the ends (reflect), 3 diagonals
              (-1 to 1)
    """
    matrix = sparse.csr_array(matrix)
    total = first_row + matrix.shape[0] if n_rows is None else n_rows
    _check(geometry, names=names, shape=(total, matrix.shape[1]))
    slab = matrix[:max_rows]
    slab.sum_duplicates()
    rows = range(first_row, first_row + slab.shape[0])
    most = width // 2 + 1 if max_columns is None else min(max_columns, width // 2 + 1)

    def entries_from(first: int) -> tuple[dict[Position, _Entry], range]:
        columns = range(first, min(first + most, matrix.shape[1]))
        entries = _entries(slab, rows, columns, geometry, names=names, order=order)
        return entries, _fitting(entries, columns, matrix.shape[1], width)

    entries, columns = entries_from(0)
    # If not all columns fit, show those from the first entry of the first row on.
    if len(columns) < matrix.shape[1] and slab.nnz and (first := int(slab.indices[0])):
        entries, columns = entries_from(first)
    entries = {position: entry for position, entry in entries.items() if position[1] in columns}

    keys = (entry.key for entry in entries.values() if entry.key is not None)
    paint = _painter(key_colours(keys, geometry.n_weights if geometry else None)) if colour else _plain
    lines = _grid(entries, rows, columns, matrix.shape[1], paint)
    if len(rows) < matrix.shape[0]:
        lines.append(_ELLIPSIS)
    if len(rows) == total and len(columns) == matrix.shape[1]:
        lines.append(f"{total} x {matrix.shape[1]} matrix, {slab.nnz} entr{'y' if slab.nnz == 1 else 'ies'}")
    else:
        shown = f"rows {rows.start} to {rows.stop - 1} and columns {columns.start} to {columns.stop - 1}"
        lines.append(f"{total} x {matrix.shape[1]} matrix, showing {shown}")
    if geometry is not None:
        lines.append(_weight_legend(entries, geometry.n_weights, paint, width, names=names))
    starred = any(entry.text.endswith("*") for entry in entries.values())
    signed = any(factor != 1 for entry in entries.values() for _, factor in entry.terms or ())
    meaning = "weights times coefficients" if signed else "sum of several weights"
    lines.append(". no entry" + (f", * {meaning}" if starred else ""))
    if geometry is not None and (len(rows) < total or len(columns) < matrix.shape[1]):
        lines += structure_lines(geometry, width, order)
    return "\n".join(lines)


@dataclass(frozen=True)
class _Entry:
    """One entry: its text, its value, and its weights if a geometry is given."""

    text: str
    value: Any
    terms: Terms | None  # weights and their coefficients

    @property
    def key(self) -> Any:
        """The weight, or the value if weights are unknown, that determines the colour; None for sums and multiples."""
        if self.terms is None:
            # This key orders complex numbers, and NaN, which does not compare equal to itself.
            return tuple((part != part, 0.0 if part != part else part) for part in (self.value.real, self.value.imag))
        return self.terms[0][0] if is_single(self.terms) else None


def _check(geometry: ConvGeometry | None, *, names: bool, shape: tuple[int, int]) -> None:
    if geometry is None:
        if names:
            raise ValueError("names=True requires geometry, which is None; pass the geometry of the layer")
    elif (geometry.n_out, geometry.n_in) != shape:
        raise ValueError(
            f"the matrix is {shape[0]} x {shape[1]}, but {geometry!r} has a {geometry.n_out} x {geometry.n_in} matrix; "
            "pass the geometry of this matrix, and first_row and n_rows if it is a slab"
        )


def _entries(
    slab: Any, rows: range, columns: range, geometry: ConvGeometry | None, *, names: bool, order: str
) -> dict[Position, _Entry]:
    """Return the entries of a slab in some columns, by row and column of the whole matrix."""
    window = slab[:, columns.start : columns.stop].tocoo()
    positions = zip((window.row + rows.start).tolist(), (window.col + columns.start).tolist(), strict=True)
    values = dict(zip(positions, window.data.tolist(), strict=True))
    if geometry is None:
        return {position: _Entry(value_text(value), value, None) for position, value in values.items()}
    terms = window_terms(geometry, rows, columns, order)
    if differing := terms.keys() ^ values.keys():
        row, column = min(differing)
        raise ValueError(
            f"row {row}, column {column} of the matrix has {'an' if (row, column) in values else 'no'} entry, unlike "
            f"the matrix of {geometry!r} in order {order!r}; pass the geometry and order of this matrix"
        )
    # If any entry has a star, the others get a blank, so that digits are aligned.
    starred = not names and not all(map(is_single, terms.values()))
    entries = {}
    for position, value in values.items():
        own = terms[position]
        mark = (" " if is_single(own) else "*") if starred else ""
        entries[position] = _Entry(weight_name(own) if names else value_text(value) + mark, value, own)
    return entries


def _fitting(entries: dict[Position, _Entry], candidates: range, n_columns: int, width: int) -> range:
    """Return the longest prefix, at least one, of the candidate columns that fits the width in cells of equal width."""
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
    entries: dict[Position, _Entry], rows: range, columns: range, n_columns: int, paint: Callable[[str, _Entry], str]
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


def _weight_legend(
    entries: dict[Position, _Entry], n_weights: int, paint: Callable[[str, _Entry], str], width: int, *, names: bool
) -> str:
    """Return the weights in view on one line, with their values unless the grid shows names."""
    single = {entry.terms[0][0]: entry for entry in entries.values() if entry.terms and is_single(entry.terms)}
    legend = f"{n_weights} weight{'s' if n_weights > 1 else ''}:"
    length = len(legend)
    for weight, entry in sorted(single.items()):
        text = f"w{weight}" if names else f"w{weight}={value_text(entry.value)}"
        length += 1 + len(text)
        if length + 1 + len(_ELLIPSIS) > width:
            return f"{legend} {_ELLIPSIS}"
        legend += " " + paint(text, entry)
    return legend if len(single) == n_weights else f"{legend} {_ELLIPSIS}"


def _plain(text: str, _: _Entry) -> str:
    return text


def _painter(colours: dict[Any, Rgb]) -> Callable[[str, _Entry], str]:
    codes = dict(zip([None, *colours], terminal_colours([_SUM, *colours.values()]), strict=True))
    return lambda text, entry: coloured(text, codes[entry.key])


def terminal_colours(wanted: Sequence[Rgb]) -> list[int]:
    """Return, for each colour, the code of the nearest of a terminal's 216 colours; codes repeat only if all are used.

    Examples
    --------
    >>> terminal_colours([(255, 255, 0), (250, 250, 0)])
    [226, 190]
    """
    cube = np.array(_CUBE)  # (216, 3)
    free = np.ones(len(cube), dtype=bool)
    codes = []
    for colour in wanted:
        distances = ((cube - colour) ** 2).sum(axis=1)
        nearest = int(np.argmin(np.where(free, distances, np.inf) if free.any() else distances))
        free[nearest] = False
        codes.append(_FIRST_CODE + nearest)
    return codes


def coloured(text: str, code: int) -> str:
    r"""Return text on a background of one of the 216 colours, in black or white.

    Examples
    --------
    >>> coloured("w0", 226)
    '\x1b[48;5;226;38;5;16mw0\x1b[0m'
    """
    ink = 16 if is_light(_CUBE[code - _FIRST_CODE]) else 231
    return f"\x1b[48;5;{code};38;5;{ink}m{text}\x1b[0m"


def value_text(value: complex) -> str:
    """Return a number rounded to three significant digits; integers in full.

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
