"""One form for all matrices: CSR, sorted, without duplicates, every index checked, stored zeros kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse

from convmatrix import memory
from convmatrix.io import dtypes
from convmatrix.io.limits import FileFormatError, ReadLimit
from convmatrix.options import index_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_SIZE: Final = 2**63 - 2  # rows + 1 is an int64


def to_canonical(matrix: Any) -> sparse.csr_array:
    """Return any SciPy sparse matrix in canonical form: a view where it has that form; the argument is not changed."""
    is_sparse: bool = sparse.issparse(matrix)
    if not is_sparse:
        raise TypeError(
            f"matrix must be a scipy.sparse array, but is a {type(matrix).__name__}; wrap it in scipy.sparse.csr_array"
        )
    if matrix.ndim != 2:
        raise ValueError(f"matrix must have 2 axes, but has {matrix.ndim} (shape {matrix.shape}); reshape it")
    if not dtypes.is_known(matrix.dtype):
        raise TypeError(f"matrix has dtype {matrix.dtype}, but files hold {dtypes.NAMES}; convert it with astype")
    try:
        if matrix.format in ("csr", "csc", "bsr"):
            # a shallow copy: what check_format and sum_duplicates find out or change is not the caller's
            matrix = type(matrix)((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
            matrix.check_format(full_check=True)
        elif matrix.format == "coo":
            matrix = type(matrix)((matrix.data, (matrix.row, matrix.col)), shape=matrix.shape)
    except ValueError as error:
        raise ValueError(f"matrix ({matrix.shape[0]} x {matrix.shape[1]}) is damaged: {error}") from error
    if matrix.format != "csr":
        memory.require(
            result_bytes(matrix.shape, matrix.nnz, matrix.dtype),
            f"the matrix ({matrix.shape[0]} x {matrix.shape[1]}) in compressed rows",
            "save its transpose",
        )
    result = sparse.csr_array(matrix)
    if not result.has_canonical_format:
        result = result.copy()
        result.sum_duplicates()
    native = result.dtype.newbyteorder("=")
    return result if result.dtype == native else result.astype(native)


def check_shape(shape: tuple[int, int]) -> None:
    """Raise unless both sizes are what an index can count."""
    for axis, size in zip(("rows", "columns"), shape, strict=True):
        if not 0 <= size <= LARGEST_SIZE:
            raise FileFormatError(f"the matrix has {size} {axis}, but 0 to {LARGEST_SIZE} are possible")


def result_bytes(shape: tuple[int, int], n_entries: int, dtype: np.dtype[Any]) -> int:
    """Return the bytes of a CSR matrix."""
    index_size = np.dtype(index_dtype(*shape, n_entries)).itemsize
    return n_entries * (dtype.itemsize + index_size) + (shape[0] + 1) * index_size


def require_result(limit: ReadLimit, scratch: int, shape: tuple[int, int], n_entries: int, dtype: Any) -> None:
    """Raise unless the matrix fits, with the bytes that making it takes besides."""
    needed = scratch + result_bytes(shape, n_entries, np.dtype(dtype))
    limit.require(needed, f"the matrix ({shape[0]} x {shape[1]}, {n_entries} entries of {np.dtype(dtype)})")


def check_range(name: str, indices: NDArray[Any], size: int) -> None:
    """Raise unless every index lies in ``[0, size)``."""
    if indices.size:
        lowest, highest = int(indices.min()), int(indices.max())
        if lowest < 0 or highest >= size:
            wrong = lowest if lowest < 0 else highest
            raise FileFormatError(f"{name} has the index {wrong}, but the matrix has {size} there (0 to {size - 1})")


def check_pointer(length: int, shape: tuple[int, int], layout: str, block: tuple[int, ...] = ()) -> None:
    """Raise unless an index pointer has one entry a row, column or row of blocks, and one more."""
    size = shape[1] if layout == "csc" else shape[0]
    if block:
        if 0 in block or shape[0] % block[0] or shape[1] % block[1]:
            raise FileFormatError(f"blocks of shape {block} do not divide the matrix of shape {shape}")
        size //= block[0]
    if length != size + 1:
        raise FileFormatError(
            f"the index pointer has {length} entries, but a matrix of shape {shape} needs {size + 1} ({layout})"
        )


def from_compressed(
    data: NDArray[Any], indices: NDArray[Any], indptr: NDArray[Any], shape: tuple[int, int], layout: str
) -> sparse.csr_array:
    """Return the matrix of compressed rows, columns or blocks ("csr", "csc", "bsr") that nobody vouches for.

    As in SciPy, entries beyond ``indptr[-1]`` are no part of the matrix. Repeated indices are added up.
    """
    check_pointer(len(indptr), shape, layout, data.shape[1:])
    if indptr[0] != 0:
        raise FileFormatError(f"the index pointer starts with {indptr[0]}, but 0 is the only start")
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if falls.size:
        at = int(falls[0])
        raise FileFormatError(f"the index pointer falls from {indptr[at]} to {indptr[at + 1]} at entry {at + 1}")
    n_stored = int(indptr[-1])
    if n_stored > len(indices):
        raise FileFormatError(f"the index pointer ends with {n_stored}, but there are {len(indices)} entries")
    indices = indices[:n_stored]
    block_columns = data.shape[2] if layout == "bsr" else 1
    check_range("the index array", indices, shape[0] if layout == "csc" else shape[1] // block_columns)

    wanted = np.promote_types(indices.dtype, indptr.dtype)
    if wanted not in (np.int32, np.int64):
        wanted = np.dtype(index_dtype(*shape, n_stored))
    made = {"csr": sparse.csr_array, "csc": sparse.csc_array, "bsr": sparse.bsr_array}[layout](
        (data[:n_stored], indices.astype(wanted, copy=False), indptr.astype(wanted, copy=False)), shape=shape
    )
    return verified(made)


def from_coordinates(
    data: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int]
) -> sparse.csr_array:
    """Return the matrix of triplets that nobody vouches for; repeated ones are added up."""
    check_range("the row index", rows, shape[0])
    check_range("the column index", columns, shape[1])
    wanted = index_dtype(*shape, len(data))
    return verified(sparse.coo_array((data, (rows.astype(wanted), columns.astype(wanted))), shape=shape))


def from_diagonals(data: NDArray[Any], offsets: NDArray[Any], shape: tuple[int, int]) -> sparse.csr_array:
    """Return the matrix of diagonals that nobody vouches for; as in SciPy a zero there is not stored."""
    if len(np.unique(offsets)) != len(offsets):
        raise FileFormatError(f"of the {len(offsets)} offsets only {len(np.unique(offsets))} differ")
    if offsets.size and not -shape[0] < int(offsets.min()) <= int(offsets.max()) < shape[1]:
        raise FileFormatError(
            f"the offsets go from {offsets.min()} to {offsets.max()}, but the matrix of shape {shape} has diagonals "
            f"{-shape[0] + 1} to {shape[1] - 1}"
        )
    return verified(sparse.dia_array((data, offsets.astype(np.int64)), shape=shape).tocoo())


def verified(matrix: Any) -> sparse.csr_array:
    """Return a matrix made of checked arrays in canonical form, checked once more by SciPy itself."""
    result = sparse.csr_array(matrix)
    result.sum_duplicates()
    result.check_format(full_check=True)
    return result
