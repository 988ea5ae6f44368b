"""Conversion of CSR arrays to SciPy's other sparse formats, keeping every stored entry."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from convmatrix import memory
from convmatrix import options as validate


def as_format(matrix: Any, format: str, *, block: tuple[int, int] = (1, 1)) -> Any:
    """Return a CSR array in canonical form in another format; ``block`` is the block size of BSR."""
    validate.sparse_format(format)
    if format == "csr":
        return matrix
    if format in ("csc", "coo"):
        converted = matrix.tocsc() if format == "csc" else matrix.tocoo(copy=False)
        converted.has_canonical_format = True
        return converted
    if format == "bsr":
        return matrix.tobsr(blocksize=block)
    return _to_dia(matrix)


def _to_dia(matrix: Any) -> Any:
    """Return a DIA array of all diagonals with a stored entry: data[d, j] = A[j - offset_d, j]."""
    n_rows, n_columns = matrix.shape
    memory.require(
        24 * matrix.nnz + n_rows + n_columns,
        f"finding the diagonals of this {n_rows} x {n_columns} matrix, with {matrix.nnz} entries,",
        "use the csr format",
    )
    rows = np.repeat(np.arange(n_rows, dtype=np.int64), np.diff(matrix.indptr))
    diagonals = matrix.indices - rows
    present = np.zeros(n_rows + n_columns + 1, dtype=bool)
    present[diagonals + n_rows] = True
    offsets = np.flatnonzero(present) - n_rows
    memory.require(
        len(offsets) * n_columns * matrix.dtype.itemsize,
        f"the dia format of this {n_rows} x {n_columns} matrix, with {len(offsets)} diagonals,",
        "use the csr format",
    )
    data = np.zeros((len(offsets), n_columns), dtype=matrix.dtype)
    data[np.searchsorted(offsets, diagonals), matrix.indices] = matrix.data
    return sparse.dia_array((data, offsets), shape=matrix.shape)
