"""Explicit symbolic matrices, on which each theorem is checked for a range of small sizes.

The matrices come from `convmatrix.symbolic.matrix`, so that the check covers what the package builds, for all weights
at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import sympy

from convmatrix import symbolic
from convmatrix.equivariance import actions
from convmatrix.geometry import ConvGeometry

Checks = Iterator[tuple[str, bool]]
"""Descriptions of what was checked, and whether it holds."""

Matrix = Any  # a sympy.ImmutableSparseMatrix


def ring(n: int, k: int, name: str = "w", offset: int | None = None, **options: Any) -> Matrix:
    """Return the matrix of a circular layer with as many outputs as samples (divided by the stride)."""
    return symbolic.matrix(ring_geometry(n, k, offset, **options), name)


def ring_geometry(n: int, k: int, offset: int | None = None, stride: int = 1, dilation: int = 1) -> ConvGeometry:
    """Return a circular layer with n / stride outputs; the offset is the low padding."""
    span = dilation * (k - 1) + 1
    low = (span - 1) // 2 if offset is None else offset
    high = max((n // stride - 1) * stride + span - n - low, 0)
    return ConvGeometry(n, k, stride=stride, dilation=dilation, padding=[(low, high)], boundary="circular")


def permuted(matrix: Matrix, q: Any, p: Any) -> Matrix:
    """Return the matrix with entry ``[q[i], p[j]]`` at (i, j)."""
    return matrix.extract([int(row) for row in q], [int(column) for column in p])


def shifted(matrix: Matrix, output: int, amount: int) -> Matrix:
    """Return the matrix with outputs and samples shifted."""
    return permuted(matrix, actions.shift(matrix.rows, output), actions.shift(matrix.cols, amount))


def broken(matrix: Matrix, output: int, amount: int) -> set[int]:
    """Return the rows that change if outputs and samples are shifted."""
    difference = matrix - shifted(matrix, output, amount)
    return {row for row in range(matrix.rows) if any(entry != 0 for entry in difference[row, :])}


def convolved(first: Any, second: Any) -> list[Any]:
    """Return the full convolution of two sequences of symbols."""
    total = [sympy.Integer(0)] * (len(first) + len(second) - 1)
    for (t, w), (u, v) in itertools.product(enumerate(first), enumerate(second)):
        total[t + u] += w * v
    return total


def with_weights(matrix: Matrix, values: Any) -> Matrix:
    """Return a matrix with the symbols w_0, w_1, ... replaced by values."""
    symbols = symbolic.weights(len(values))
    return matrix.xreplace(dict(zip(symbols, values, strict=True)))
