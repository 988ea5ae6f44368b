"""Matrices in LaTeX, with all digits, and with dots in place of the middle of a large matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse

from convmatrix import options as validate
from convmatrix.io.file_checks import to_canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ENVIRONMENTS: Final = ("matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "smallmatrix")
_COLUMNS_OF_AMSMATH: Final = 10  # the environments refuse more, unless the counter MaxMatrixCols is raised
_ZEROS: Final = ("0", r"\cdot", "")


def to_latex(
    matrix: Any,
    *,
    max_rows: int | None = 10,
    max_columns: int | None = 10,
    environment: str = "pmatrix",
    zero: str = "0",
    digits: int | None = None,
) -> str:
    r"""Return LaTeX for a matrix, with the environments of the package amsmath.

    A matrix with more than ``max_rows`` rows keeps its first and last rows, with a row of dots between them; the same
    holds for columns. Numbers are the shortest decimals that determine every bit (``.0`` is dropped), unless
    ``digits`` is given. A stored zero (a weight of 0.0) is always printed as ``0``, because it is part of the
    structure. More than ten columns, amsmath's default limit, are preceded by a command that raises it.

    Parameters
    ----------
    matrix : scipy.sparse array or matrix, or array_like; two axes
        Boolean, integer, real or complex.
    max_rows, max_columns : int or None
        Maximum number of rows and columns to print, including the dots; at least 3. None prints all of them.
    environment : {"matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "smallmatrix"}
    zero : {"0", "\\cdot", ""}
        LaTeX for a structural zero.
    digits : int, optional
        Number of significant digits to which real and complex numbers are rounded.

    Returns
    -------
    str

    Raises
    ------
    ValueError, TypeError
        If ``matrix`` is not a matrix of numbers with at least one row and column, or another argument is invalid.

    Examples
    --------
    >>> print(to_latex([[1, 2, 0], [0, 1, 2]], zero=r"\cdot"))
    \begin{pmatrix}
    1 & 2 & \cdot \\
    \cdot & 1 & 2
    \end{pmatrix}
    >>> print(to_latex(sparse.eye_array(100) / 4, max_rows=4, max_columns=4, environment="bmatrix"))
    \begin{bmatrix}
    0.25 & 0 & \cdots & 0 \\
    0 & 0.25 & \cdots & 0 \\
    \vdots & \vdots & \ddots & \vdots \\
    0 & 0 & \cdots & 0.25
    \end{bmatrix}
    """
    if not validate.is_one_of(zero, _ZEROS):  # of which one is empty, so that they are quoted
        raise ValueError(f"zero={zero!r:.60} is unknown; choose one of {', '.join(map(repr, _ZEROS))}")
    precision = None if digits is None else validate.integer("digits", digits, minimum=1)
    stored = _as_stored(matrix)
    if 0 in stored.shape:
        raise ValueError(f"matrix has shape {stored.shape}; without rows or columns there is nothing to print")

    def entries_of_row(row: int) -> dict[int, str]:
        stored_here = slice(int(stored.indptr[row]), int(stored.indptr[row + 1]))
        pairs = zip(stored.indices[stored_here], stored.data[stored_here], strict=True)
        return {int(column): _number(value, precision) for column, value in pairs}

    return latex_matrix(stored.shape, entries_of_row, max_rows, max_columns, environment, zero)


def latex_matrix(
    shape: tuple[int, ...],
    entries_of_row: Callable[[int], Mapping[int, str]],
    max_rows: int | None,
    max_columns: int | None,
    environment: str,
    zero: str,
) -> str:
    """Return LaTeX for a matrix given by its shape and a function that returns the entries of one row by column."""
    validate.one_of("environment", environment, _ENVIRONMENTS)
    rows = _shown("max_rows", shape[0], max_rows)
    columns = _shown("max_columns", shape[1], max_columns)
    lines = []
    for row in rows:
        if row is None:
            cells = [r"\ddots" if column is None else r"\vdots" for column in columns]
        else:
            entries = entries_of_row(row)
            cells = [r"\cdots" if column is None else entries.get(column, zero) for column in columns]
        lines.append(" & ".join(cells))
    body = " \\\\\n".join(lines)
    return f"{_limit(environment, len(columns))}\\begin{{{environment}}}\n{body}\n\\end{{{environment}}}"


def _limit(environment: str, n_columns: int) -> str:
    """Return the command that raises amsmath's limit on the number of columns; it never lowers the document's own."""
    if n_columns <= _COLUMNS_OF_AMSMATH or environment == "smallmatrix":
        return ""
    return rf"\ifnum\value{{MaxMatrixCols}}<{n_columns} \setcounter{{MaxMatrixCols}}{{{n_columns}}}\fi "


def _as_stored(matrix: Any) -> sparse.csr_array:
    """Return a sparse or dense matrix of numbers in canonical form."""
    if not sparse.issparse(matrix):
        dense = validate.array("matrix", matrix)
        if dense.ndim != 2:
            raise ValueError(f"matrix must have 2 axes, but has {dense.ndim} (shape {dense.shape}); reshape it")
        if dense.dtype.kind not in "biufc":
            raise TypeError(
                f"matrix has dtype {dense.dtype}, but numbers are needed; for symbols use convmatrix.symbolic.to_latex"
            )
        matrix = sparse.csr_array(dense)
    return to_canonical(matrix)


def _shown(name: str, size: int, most: int | None) -> list[int | None]:
    """Return the indices to print, with None in place of the dots."""
    if most is not None:
        most = validate.integer(name, most, minimum=3)
        if size > most:
            last = (most - 1) // 2
            return [*range(most - 1 - last), None, *range(size - last, size)]
    return list(range(size))


def _number(value: Any, precision: int | None) -> str:
    """Return a number in LaTeX, exactly or rounded to a number of significant digits."""
    if isinstance(value, np.complexfloating):
        real, imaginary = _number(value.real, precision), _number(value.imag, precision)
        if imaginary in ("0", "-0"):
            return real
        unit = {"1": "", "-1": "-"}.get(imaginary, imaginary) + r"\mathrm{i}"
        if real in ("0", "-0"):
            return unit
        return f"{real} - {unit[1:]}" if unit.startswith("-") else f"{real} + {unit}"
    if not isinstance(value, np.floating):
        return str(int(value))
    if np.isnan(value):
        return r"\mathrm{NaN}"
    if np.isinf(value):
        return r"\infty" if value > 0 else r"-\infty"
    digits, _, exponent = (str(value) if precision is None else f"{value:.{precision}g}").partition("e")
    digits = digits.removesuffix(".0")
    return rf"{digits} \times 10^{{{int(exponent)}}}" if exponent else digits
