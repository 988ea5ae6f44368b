"""The columns of a layer's matrix that determine its weights, and groups of columns that one product reads together.

Columns that share no row are read by one product with their sum (A. R. Curtis, M. J. D. Powell, J. K. Reid, On the
estimation of sparse Jacobian matrices, 1974).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.geometry import ConvGeometry, axis_geometry
from convmatrix.memory import MatrixTooLargeError
from convmatrix.pattern import WeightPattern
from convmatrix.structured.operator_probes import ProbedOperator, read_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sampled_pattern(geometry: ConvGeometry) -> WeightPattern:
    """Return the pattern of a layer in only a few columns, which contain every weight that occurs in the full pattern.

    The columns are those of samples in the middle, where no boundary folds taps together if that can be avoided: one
    sample per channel, or one per phase of a stride. All positions must share the kernel.

    Examples
    --------
    >>> sampled_pattern(ConvGeometry((100, 100), (3, 3), padding="same")).cols
    array([4949, 4949, 4949, 4949, 4949, 4949, 4949, 4949, 4949], dtype=int32)
    """
    pairs = geometry.channel_pairs
    rows, columns, weights = pairs[:, 0], pairs[:, 1], np.arange(len(pairs))
    for axis, size in enumerate(geometry.input_shape):
        axis_pattern = axis_geometry(geometry, axis).pattern()
        chosen = np.isin(axis_pattern.cols, _middle_columns(axis_pattern, size))
        sizes = (geometry.output_shape[axis], size, geometry.kernel_shape[axis])
        own = (axis_pattern.rows[chosen], axis_pattern.cols[chosen], axis_pattern.weight_index[chosen])
        rows, columns, weights = (
            np.add.outer(outer.astype(np.int64) * n, inner).ravel()
            for outer, n, inner in zip((rows, columns, weights), sizes, own, strict=True)
        )
    return WeightPattern.from_triplets((geometry.n_out, geometry.n_in), rows, columns, weights, (geometry.n_weights,))


def _middle_columns(axis_pattern: WeightPattern, size: int) -> NDArray[np.int64]:
    """Return the columns of an axis with a tap that no column nearer to the middle has."""
    starts = np.searchsorted(np.sort(axis_pattern.cols), np.arange(size + 1))
    taps = axis_pattern.weight_index[np.argsort(axis_pattern.cols, kind="stable")]  # by column
    missing, chosen = set(axis_pattern.weight_index.tolist()), []
    for column in np.argsort(np.abs(np.arange(size) - (size - 1) / 2), kind="stable").tolist():
        if not missing:
            break
        own = set(taps[starts[column] : starts[column + 1]].tolist())
        if own & missing:
            missing -= own
            chosen.append(column)
    return np.array(chosen, dtype=np.int64)


def read_layer_matrix(operator: ProbedOperator, geometry: ConvGeometry) -> Any:
    """Return the matrix of an operator as a CSR array; few products are needed if its pattern is within the layer's.

    Examples
    --------
    >>> import convmatrix as cm
    >>> layer = ConvGeometry(5, 2)
    >>> read_layer_matrix(ProbedOperator.of(cm.ConvOperator([3, 4], layer)), layer).toarray()
    array([[3, 4, 0, 0, 0],
           [0, 3, 4, 0, 0],
           [0, 0, 3, 4, 0],
           [0, 0, 0, 3, 4]])
    """
    colours = column_colours(geometry)
    count = int(colours.max()) + 1
    if count < operator.shape[1]:
        try:
            pattern = geometry.pattern()
        except MatrixTooLargeError as error:
            reason = "the operator is not that of the layer; for the nearest kernel its entries are needed, but "
            raise MatrixTooLargeError(reason + str(error)) from None
        matrix = pattern.matrix(np.zeros(pattern.n_weights, dtype=operator.dtype)).copy()
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        read = colours[matrix.indices]  # the colour by which each entry is read
        for start in range(0, count, operator.block):
            stop = min(start + operator.block, count)
            inside = np.flatnonzero((read >= start) & (read < stop))
            matrix.data[inside] = operator.combs(colours, start, stop)[rows[inside], read[inside] - start]
        size = abs(matrix.astype(np.result_type(matrix.dtype, np.float64)))
        norm = math.sqrt(size.sum(axis=0).max(initial=0)) * math.sqrt(size.sum(axis=1).max(initial=0))
        if operator.equals(matrix, norm):
            return matrix
    return read_matrix(operator, "the operator has entries where this layer has none, so all are needed")


def column_colours(geometry: ConvGeometry) -> NDArray[np.int64]:
    """Return a colour (a number) for each column of a layer's matrix; columns of the same colour share no row.

    Examples
    --------
    >>> column_colours(ConvGeometry(6, 3, padding="same"))
    array([0, 1, 2, 0, 1, 2])
    """
    pairs = geometry.channel_pairs
    total = _greedy_colours(pairs[:, 0], pairs[:, 1], geometry.in_channels)
    for axis, size in enumerate(geometry.input_shape):
        axis_pattern = axis_geometry(geometry, axis).pattern()
        # Columns that differ on several axes share no row if they share none on one of these axes.
        colours = _greedy_colours(axis_pattern.rows, axis_pattern.cols, size)
        total = np.add.outer(total * (colours.max() + 1), colours).ravel()
    return total


def _greedy_colours(rows: NDArray[np.integer], columns: NDArray[np.integer], n_columns: int) -> NDArray[np.int64]:
    """Return for each column the smallest number not given to an earlier column that shares a row with it."""
    order = np.argsort(columns, kind="stable")
    parts = np.split(rows[order], np.searchsorted(columns[order], np.arange(1, n_columns)))
    taken: dict[int, int] = {}  # the numbers that occur in a row, as bits
    colours = np.zeros(n_columns, dtype=np.int64)
    for column, part in enumerate(parts):
        own = part.tolist()
        used = 0
        for row in own:
            used |= taken.get(row, 0)
        free = ~used & (used + 1)
        colours[column] = free.bit_length() - 1
        for row in own:
            taken[row] = taken.get(row, 0) | free
    return colours
