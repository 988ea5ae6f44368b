"""Explicit symbolic matrices, on which each theorem is checked for a range of small sizes.

The matrices come from `convmatrix.symbolic.matrix`, so that the check covers what the package builds, for all weights
at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
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


def kernel_of(layer: ConvGeometry, name: str = "w") -> Any:
    """Return the weights of a layer as an array of symbols, (C_out, C_in, *kernel)."""
    return np.array(symbolic.weights(layer.n_weights, name), dtype=object).reshape(layer.weight_shape)


def expands_to(matrix: Matrix, other: Matrix) -> bool:
    """Return whether two matrices of polynomials are the same."""
    return matrix.shape == other.shape and bool((matrix - other).expand().is_zero_matrix)


def with_weights(matrix: Matrix, values: Any) -> Matrix:
    """Return a matrix with the symbols w_0, w_1, ... replaced by values."""
    symbols = symbolic.weights(len(values))
    return matrix.xreplace(dict(zip(symbols, values, strict=True)))


def matrix_by_loop(layer: ConvGeometry) -> Matrix:
    """Return the matrix of a layer by a plain loop over pairs of channels, outputs and taps.

    It has the boundaries zero and circular, and shares no code with the package's assembly.
    """
    w = kernel_of(layer)
    positions, samples = layer.positions, layer.samples
    if layer.connections is not None:
        pairs = [tuple(pair) for pair in np.argwhere(np.array(layer.connections)).tolist()]
    else:
        first, second = layer.weight_shape[-len(positions) - 2 : -len(positions)]
        group = first // layer.groups
        pairs = [(o, o // group * second + c) for o in range(first) for c in range(second)]
    entries: dict[tuple[int, int], Any] = {}
    places = itertools.product(enumerate(pairs), np.ndindex(*positions), np.ndindex(*layer.kernel_shape))
    for (number, (one, other)), i, t in places:
        read = [_plain_sample(layer, axis, i[axis], t[axis], samples[axis]) for axis in range(len(i))]
        if -1 in read:
            continue
        kernel = () if layer.sharing == "shared" else tuple(x % tile for x, tile in zip(i, layer.tile, strict=True))
        pair = (number,) if layer.connections is not None else divmod(number, layer.weight_shape[len(kernel) + 1])
        output, sample = np.ravel_multi_index(i, positions), np.ravel_multi_index(read, samples)
        row, column = one * math.prod(positions) + output, other * math.prod(samples) + sample
        place = (int(column), int(row)) if layer.transposed else (int(row), int(column))
        entries[place] = entries.get(place, sympy.Integer(0)) + w[(*kernel, *pair, *t)]
    return sympy.ImmutableSparseMatrix(layer.n_out, layer.n_in, entries)


def _plain_sample(layer: ConvGeometry, axis: int, i: int, t: int, n: int) -> int:
    """Return the sample that a tap of an output reads, or -1, with the zero and the circular boundary."""
    t = layer.kernel_shape[axis] - 1 - t if layer.flip else t
    x = i * layer.stride[axis] + t * layer.dilation[axis] - layer.padding[axis][0]
    if layer.boundary[axis] == "circular":
        return x % n
    return x if 0 <= x < n else -1
