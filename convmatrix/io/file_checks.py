"""Checks of the declarations and contents of files, made before memory is allocated and before SciPy uses any index.

Declared sizes are compared with the file and with the available memory (`ReadLimit`, `BoundedReader`), values are
converted only without loss (`cast_exactly`), and every matrix is brought into canonical form: compressed rows with
sorted indices, no duplicates, and explicit zeros kept.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse

from convmatrix import memory
from convmatrix.memory import MatrixTooLargeError, available_memory, in_words
from convmatrix.options import index_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE: Final = 2**18
"""Number of bytes read at a time."""
LARGEST_TEXT: Final = 2**24
"""Maximum number of bytes of JSON; a connection table of 2000 x 2000 channels takes 12 MB."""
LARGEST_DEFLATE_RATIO: Final = 1032  # two bits can encode at most 258 bytes
LARGEST_SIZE: Final = 2**63 - 2  # rows + 1 is an int64
_BYTES_PARSED: Final = 32  # maximum, per byte of JSON
_DTYPES: Final = {
    name: np.dtype(name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float32", "float64", "complex64", "complex128"),
    )
}
DTYPE_NAMES: Final = ", ".join(_DTYPES)
"""The dtypes that a file may contain: those available on every platform."""


class FileFormatError(ValueError):
    """Raised if a file is damaged, forged or of another kind: its declarations contradict its contents."""


FileFormatError.__module__ = "convmatrix.io"


# --- sizes ------------------------------------------------------------------------------------------------------------


class BoundedReader(io.BufferedReader):
    """A file of which at most one piece is read at a time, regardless of the sizes that its contents declare."""

    @property
    def n_bytes(self) -> int:
        """The size of the file."""
        return os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next ``size`` bytes; by default the rest of the file."""
        if size is None or size < 0:
            size = self.n_bytes - self.tell()
        if size > PIECE:
            raise FileFormatError(f"it declares a part of {size} bytes, but at most {PIECE} are read at a time")
        return super().read(size)


@dataclass(frozen=True)
class ReadLimit:
    """The bytes that loading may allocate, and the source of this limit."""

    n_bytes: int
    source: str

    @classmethod
    def of(cls, max_bytes: int | None) -> ReadLimit:
        """Return the smaller of the available memory and the caller's own limit."""
        available = available_memory()
        if max_bytes is not None and max_bytes < available:
            return cls(max_bytes, "are allowed (max_bytes)")
        return cls(available, "of memory are available")

    def require(self, n_bytes: int, what: str) -> None:
        """Raise `MatrixTooLargeError` if ``n_bytes`` exceed the limit.

        Examples
        --------
        >>> ReadLimit.of(1000).require(2001, "the matrix (10 x 10)")
        Traceback (most recent call last):
        convmatrix.memory.MatrixTooLargeError: the matrix (10 x 10) needs 2 kB (2001 bytes) to load, but 1 kB ...
        """
        if n_bytes > self.n_bytes:
            raise MatrixTooLargeError(
                f"{what} needs {in_words(n_bytes)} ({n_bytes} bytes) to load, "
                f"but {in_words(self.n_bytes)} ({self.n_bytes} bytes) {self.source}"
            )

    def require_matrix(self, scratch: int, shape: tuple[int, int], n_entries: int, dtype: Any) -> None:
        """Raise unless a matrix fits, together with the ``scratch`` bytes that are needed to assemble it."""
        needed = scratch + csr_bytes(shape, n_entries, np.dtype(dtype))
        self.require(needed, f"the matrix ({shape[0]} x {shape[1]}, {n_entries} entries of {np.dtype(dtype)})")

    def require_text(self, n_bytes: int, what: str) -> None:
        """Raise if a JSON text is longer than any geometry, or could not be parsed within the limit."""
        if n_bytes > LARGEST_TEXT:
            raise FileFormatError(f"{what} declares {n_bytes} bytes, but a geometry has at most {LARGEST_TEXT}")
        self.require(_BYTES_PARSED * n_bytes, what)


def check_expansion(what: str, expanded: int, compressed: int) -> None:
    """Raise if ``compressed`` bytes cannot decompress to ``expanded`` bytes."""
    if expanded > LARGEST_DEFLATE_RATIO * compressed:
        raise FileFormatError(
            f"{what} declares {expanded} bytes, but its {compressed} compressed bytes can contain at most "
            f"{LARGEST_DEFLATE_RATIO * compressed}; the file is damaged or forged"
        )


def check_shape(shape: tuple[int, int]) -> None:
    """Raise unless both sizes fit in an index."""
    for axis, size in zip(("rows", "columns"), shape, strict=True):
        if not 0 <= size <= LARGEST_SIZE:
            raise FileFormatError(f"the matrix has {size} {axis}, but 0 to {LARGEST_SIZE} are possible")


def csr_bytes(shape: tuple[int, int], n_entries: int, dtype: np.dtype[Any]) -> int:
    """Return the bytes of a CSR matrix."""
    index_size = np.dtype(index_dtype(*shape, n_entries)).itemsize
    return n_entries * (dtype.itemsize + index_size) + (shape[0] + 1) * index_size


# --- dtypes -----------------------------------------------------------------------------------------------------------


def is_known_dtype(dtype: np.dtype[Any]) -> bool:
    """Return whether a file may contain this dtype, in either byte order."""
    return dtype.newbyteorder("=") in _DTYPES.values()


def cast_exactly(values: NDArray[Any], dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    """Return an array converted to another dtype, or raise if any value would change.

    Examples
    --------
    >>> cast_exactly(np.array([1, -2]), np.dtype(float), "MATLAB's double")
    array([ 1., -2.])
    >>> cast_exactly(np.array([2**53 + 1]), np.dtype(float), "MATLAB's double")
    Traceback (most recent call last):
    ValueError: the entry 9007199254740993 (int64) is not exact in MATLAB's double
    """
    if values.dtype == dtype:
        return values
    if (values.dtype.kind == "c") != (dtype.kind == "c"):
        raise ValueError(f"the entries are {values.dtype}, but should be exact in {what}; one of the two is complex")
    if dtype.kind == "c":
        parts = np.ascontiguousarray(values).view(values.real.dtype)
        return cast_exactly(parts, np.zeros(0, dtype).real.dtype, what).view(dtype)
    with np.errstate(all="ignore"):
        cast = values.astype(dtype)
        exact = cast.astype(values.dtype) == values
    if dtype.kind == "f":
        exact |= np.isnan(values)
    # Outside its range, a conversion to an integer may give any number, even one that happens to convert back.
    for integers, others in ((dtype, values), (values.dtype, cast)):
        if integers.kind in "iub" and others.dtype.kind in "iuf":
            lowest, highest = (0, 1) if integers.kind == "b" else (np.iinfo(integers).min, np.iinfo(integers).max)
            end: Any = float(highest + 1) if others.dtype.kind == "f" else highest + 1
            exact &= (others >= lowest) & (others < end)
    if not exact.all():
        wrong = values[np.argmin(exact)]
        raise ValueError(f"the entry {wrong} ({values.dtype}) is not exact in {what}")
    return cast


def with_dtype(matrix: sparse.csr_array, name: Any) -> sparse.csr_array:
    """Return a matrix converted exactly to the dtype that a file names."""
    if not isinstance(name, str) or name not in _DTYPES:
        raise FileFormatError(f"it names the dtype {str(name)[:40]!r}, but a matrix has one of {DTYPE_NAMES}")
    try:
        data = cast_exactly(matrix.data, _DTYPES[name], f"the dtype {name} that it names")
    except ValueError as error:
        raise FileFormatError(str(error)) from error
    return sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


# --- checksums --------------------------------------------------------------------------------------------------------


def checksum(matrix: sparse.csr_array, geometry: str) -> str:
    """Return a checksum of the shape, the dtype and the entries of a canonical matrix, and of its geometry as JSON.

    It does not depend on the file format, the byte order or the type of the indices. All NaNs count as equal, because
    text does not tell them apart.
    """
    found = hashlib.blake2b(f"{matrix.shape} {matrix.dtype.name} {geometry}".encode(), digest_size=8)
    for array in (matrix.indptr, matrix.indices, matrix.data):
        for start in range(0, len(array), PIECE):
            piece = array[start : start + PIECE]
            if piece.dtype.kind in "fc":
                parts = np.ascontiguousarray(piece).view(piece.real.dtype)
                piece = np.where(np.isnan(parts), np.nan, parts)
            elif array is not matrix.data:
                piece = piece.astype(np.int64)
            found.update(piece.astype(piece.dtype.newbyteorder("<"), copy=False).tobytes())
    return found.hexdigest()


def check_checksum(expected: object, matrix: sparse.csr_array, geometry: str) -> None:
    """Raise unless the checksum in a file is that of the data read from it."""
    found = checksum(matrix, geometry)
    if expected != found:
        raise FileFormatError(
            f"its checksum is {str(expected)[:40]!r}, but that of its matrix and geometry is {found!r}; "
            "the file is damaged, or was edited (then remove its checksum)"
        )


# --- matrices ---------------------------------------------------------------------------------------------------------


def to_canonical(matrix: Any) -> sparse.csr_array:
    """Return any SciPy sparse matrix in canonical form; it may share memory with the argument, which is unchanged."""
    is_sparse: bool = sparse.issparse(matrix)
    if not is_sparse:
        raise TypeError(
            f"matrix must be a scipy.sparse array, but is a {type(matrix).__name__}; wrap it in scipy.sparse.csr_array"
        )
    if matrix.ndim != 2:
        raise ValueError(f"matrix must have 2 axes, but has {matrix.ndim} (shape {matrix.shape}); reshape it")
    if not is_known_dtype(matrix.dtype):
        raise TypeError(f"matrix has dtype {matrix.dtype}, but files contain {DTYPE_NAMES}; convert it with astype")
    try:
        if matrix.format in ("csr", "csc", "bsr"):
            # A shallow copy: check_format and sum_duplicates modify the matrix or its flags.
            matrix = type(matrix)((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
            matrix.check_format(full_check=True)
        elif matrix.format == "coo":
            matrix = type(matrix)((matrix.data, (matrix.row, matrix.col)), shape=matrix.shape)
    except ValueError as error:
        raise ValueError(f"matrix ({matrix.shape[0]} x {matrix.shape[1]}) is damaged: {error}") from error
    if matrix.format != "csr":
        memory.require(
            csr_bytes(matrix.shape, matrix.nnz, matrix.dtype),
            f"the matrix ({matrix.shape[0]} x {matrix.shape[1]}) in compressed rows",
            "save its transpose",
        )
    result = sparse.csr_array(matrix)
    if not result.has_canonical_format:
        result = result.copy()
        result.sum_duplicates()
    native = result.dtype.newbyteorder("=")
    return result if result.dtype == native else result.astype(native)


def check_pointer(length: int, shape: tuple[int, int], layout: str, block: tuple[int, ...] = ()) -> None:
    """Raise unless an index pointer has one more entry than the matrix has rows, columns or block rows."""
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
    """Return the matrix given by untrusted compressed rows, columns or blocks ("csr", "csc", "bsr").

    As in SciPy, entries beyond ``indptr[-1]`` are ignored. Entries with repeated indices are added.
    """
    check_pointer(len(indptr), shape, layout, data.shape[1:])
    if indptr[0] != 0:
        raise FileFormatError(f"the index pointer starts with {indptr[0]}, but must start with 0")
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if falls.size:
        at = int(falls[0])
        raise FileFormatError(f"the index pointer decreases from {indptr[at]} to {indptr[at + 1]} at entry {at + 1}")
    n_stored = int(indptr[-1])
    if n_stored > len(indices):
        raise FileFormatError(f"the index pointer ends with {n_stored}, but there are {len(indices)} entries")
    indices = indices[:n_stored]
    block_columns = data.shape[2] if layout == "bsr" else 1
    _check_range("the index array", indices, shape[0] if layout == "csc" else shape[1] // block_columns)

    wanted = np.promote_types(indices.dtype, indptr.dtype)
    if wanted not in (np.int32, np.int64):
        wanted = np.dtype(index_dtype(*shape, n_stored))
    made = {"csr": sparse.csr_array, "csc": sparse.csc_array, "bsr": sparse.bsr_array}[layout](
        (data[:n_stored], indices.astype(wanted, copy=False), indptr.astype(wanted, copy=False)), shape=shape
    )
    return _verified(made)


def from_coordinates(
    data: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int]
) -> sparse.csr_array:
    """Return the matrix given by untrusted triplets; entries with repeated indices are added."""
    _check_range("the row index", rows, shape[0])
    _check_range("the column index", columns, shape[1])
    wanted = index_dtype(*shape, len(data))
    return _verified(sparse.coo_array((data, (rows.astype(wanted), columns.astype(wanted))), shape=shape))


def from_diagonals(data: NDArray[Any], offsets: NDArray[Any], shape: tuple[int, int]) -> sparse.csr_array:
    """Return the matrix given by untrusted diagonals; as in SciPy, their zeros are not stored."""
    if len(np.unique(offsets)) != len(offsets):
        raise FileFormatError(f"of the {len(offsets)} offsets only {len(np.unique(offsets))} differ")
    if offsets.size and not -shape[0] < int(offsets.min()) <= int(offsets.max()) < shape[1]:
        raise FileFormatError(
            f"the offsets range from {offsets.min()} to {offsets.max()}, but the matrix of shape {shape} has diagonals "
            f"{-shape[0] + 1} to {shape[1] - 1}"
        )
    return _verified(sparse.dia_array((data, offsets.astype(np.int64)), shape=shape).tocoo())


def _check_range(name: str, indices: NDArray[Any], size: int) -> None:
    """Raise unless every index lies in ``[0, size)``."""
    if indices.size:
        lowest, highest = int(indices.min()), int(indices.max())
        if lowest < 0 or highest >= size:
            wrong = lowest if lowest < 0 else highest
            raise FileFormatError(f"{name} contains {wrong}, but the matrix has {size} there (0 to {size - 1})")


def _verified(matrix: Any) -> sparse.csr_array:
    """Return a matrix of checked arrays in canonical form, checked once more by SciPy itself."""
    result = sparse.csr_array(matrix)
    result.sum_duplicates()
    result.check_format(full_check=True)
    return result
