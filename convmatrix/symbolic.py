r"""Symbolic matrices of layers, with the weights w_0, w_1, ... as SymPy symbols, and their LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy

from convmatrix.geometry import ConvGeometry
from convmatrix.io.latex import latex_matrix
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_ENTRIES = 10**6


def weights(n_weights: int, name: str = "w") -> tuple[sympy.Symbol, ...]:
    """Return the symbols ``w_0, w_1, ...`` for a number of weights.

    Examples
    --------
    >>> weights(3)
    (w_0, w_1, w_2)
    """
    return tuple(sympy.Symbol(f"{name}_{place}") for place in range(n_weights))


def matrix(layer: ConvGeometry | WeightPattern, name: str = "w") -> sympy.ImmutableSparseMatrix:
    r"""Return the matrix of a layer with symbolic weights, :math:`A_{ij} = \sum_k T_{ijk} w_k`.

    Parameters
    ----------
    layer : ConvGeometry or WeightPattern
    name : str
        Name of the symbols: weight k, in C order, is ``w_k``.

    Returns
    -------
    sympy.ImmutableSparseMatrix, shape (n_out, n_in)

    Raises
    ------
    ValueError
        If the layer has more than a million entries.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> matrix(ConvGeometry(3, 3, padding="same", boundary="circular"))
    Matrix([
    [w_1, w_2, w_0],
    [w_0, w_1, w_2],
    [w_2, w_0, w_1]])
    """
    pattern = _pattern(layer)
    if pattern.n_entries > _MOST_ENTRIES:
        raise ValueError(
            f"the layer has {pattern.n_entries} entries, but a symbolic matrix holds at most {_MOST_ENTRIES}; use a "
            "smaller input, conv_matrix for numeric weights, or to_latex, which prints only part of the matrix"
        )
    symbols = weights(pattern.n_weights, name)
    rows = (_symbolic_row(pattern, row, symbols.__getitem__) for row in range(pattern.shape[0]))
    entries = {(row, column): entry for row, found in enumerate(rows) for column, entry in found.items()}
    return sympy.ImmutableSparseMatrix(*pattern.shape, entries)


def _pattern(layer: ConvGeometry | WeightPattern) -> WeightPattern:
    pattern = layer.pattern() if isinstance(layer, ConvGeometry) else layer
    if not isinstance(pattern, WeightPattern):
        raise TypeError(f"a ConvGeometry or a WeightPattern is needed, but this is a {type(layer).__name__}")
    return pattern


def _symbolic_row(pattern: WeightPattern, row: int, symbol: Callable[[int], sympy.Symbol]) -> dict[int, Any]:
    """Return the entries of one row by column, with a symbol for each weight."""
    stored = slice(int(pattern.row_starts[row]), int(pattern.row_starts[row + 1]))
    columns, weights = pattern.cols[stored].tolist(), pattern.weight_index[stored].tolist()
    factors = [1] * len(columns) if pattern.coefficients is None else pattern.coefficients[stored].tolist()
    entries: dict[int, Any] = {}
    for column, weight, factor in zip(columns, weights, factors, strict=True):
        entries[column] = entries.get(column, sympy.Integer(0)) + factor * symbol(weight)
    return entries


def to_latex(
    layer: ConvGeometry | WeightPattern | sympy.MatrixBase,
    *,
    max_rows: int | None = 10,
    max_columns: int | None = 10,
    environment: str = "pmatrix",
    zero: str = "0",
) -> str:
    r"""Return a symbolic matrix as LaTeX; the middle of a large one is replaced by dots.

    Parameters
    ----------
    layer : ConvGeometry, WeightPattern or SymPy matrix
    max_rows, max_columns : int or None
        Maximum number of rows and columns to print, including the dots; at least 3. None prints all of them.
    environment : {"matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "smallmatrix"}
    zero : str
        LaTeX for an entry of zero, such as ``r"\cdot"``.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> print(to_latex(ConvGeometry(5, 2), zero=r"\cdot", max_columns=4))
    \begin{pmatrix}
    w_{0} & w_{1} & \cdots & \cdot \\
    \cdot & w_{0} & \cdots & \cdot \\
    \cdot & \cdot & \cdots & \cdot \\
    \cdot & \cdot & \cdots & w_{1}
    \end{pmatrix}
    """
    pattern = None if isinstance(layer, sympy.MatrixBase) else _pattern(layer)
    given: Any = layer

    def entries_of_row(row: int) -> dict[int, str]:
        if pattern is None:
            entries = {column: given[row, column] for column in range(given.cols)}
        else:  # row by row, because only a few rows of a large matrix are printed
            entries = _symbolic_row(pattern, row, lambda weight: sympy.Symbol(f"w_{weight}"))
        return {column: str(sympy.latex(entry)) if entry != 0 else zero for column, entry in entries.items()}

    shape = given.shape if pattern is None else pattern.shape
    return latex_matrix(shape, entries_of_row, max_rows, max_columns, environment, zero)
