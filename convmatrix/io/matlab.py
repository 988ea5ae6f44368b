"""MATLAB 5 files: the sparse variable ``A``, and the geometry as the text variable ``geometry``."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
from scipy import sparse

from convmatrix.io import canonical, dtypes, geometry_json
from convmatrix.io.limits import BoundedReader, FileFormatError, ReadLimit
from convmatrix.io.matlab_elements import Variable, variables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry

_MATRIX, _GEOMETRY, _DTYPE = "A", "geometry", "dtype"
_LARGEST_VARIABLE: Final = 2**31 - 1  # bytes
_LARGEST_SIZE: Final = 2**31 - 1  # rows or columns
_OVERHEAD: Final = 128  # tags, flags, sizes and name of a variable
_CHAR, _SPARSE = 4, 5
_TEXT_CODECS: Final = {2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}


# --- writing ----------------------------------------------------------------------------------------------------------


def write(file: BinaryIO, matrix: sparse.csr_array, geometry: ConvGeometry | None) -> None:
    """Write a canonical matrix; what MATLAB's double or its sizes cannot hold is refused before the first byte.

    MATLAB's sparse matrices are double, complex double or logical. Any other dtype is named by one more text variable,
    ``dtype``, so that `read` gives it back.
    """
    from scipy.io import savemat

    _check_limits(matrix)
    stored = np.dtype({"c": "complex128", "b": "bool"}.get(matrix.dtype.kind, "float64"))
    data = dtypes.cast_exactly(matrix.data, stored, "MATLAB's double; save to .npz or .mtx, or change the dtype")
    values: dict[str, Any] = {}
    if geometry is not None:
        values[_GEOMETRY] = geometry_json.to_text(geometry)
    if stored != matrix.dtype:
        values[_DTYPE] = matrix.dtype.name
    # Last, so that no truncated file has a matrix but not what belongs to it.
    values[_MATRIX] = sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape).tocsc()
    target: Any = file if file.seekable() else io.BytesIO()  # savemat goes back to fill in lengths
    savemat(target, values)
    if target is not file:
        file.write(target.getbuffer())


def _check_limits(matrix: sparse.csr_array) -> None:
    rows, columns = matrix.shape
    for axis, size in (("rows", rows), ("columns", columns)):
        if size > _LARGEST_SIZE:
            raise ValueError(f"matrix has {size} {axis}, but a MATLAB 5 file at most {_LARGEST_SIZE}; save to .npz")
    item = 16 if matrix.dtype.kind == "c" else 8
    needed = matrix.nnz * (4 + item) + 4 * (columns + 1) + _OVERHEAD
    if needed > _LARGEST_VARIABLE:
        raise ValueError(
            f"matrix ({rows} x {columns}, {matrix.nnz} entries) takes {needed} bytes, but a variable of a MATLAB 5 "
            f"file has at most {_LARGEST_VARIABLE}; save to .npz"
        )


# --- reading ----------------------------------------------------------------------------------------------------------


def read(file: BoundedReader, limit: ReadLimit) -> tuple[sparse.csr_array, ConvGeometry | None]:
    """Read the sparse variable ``A``, or the only sparse variable, and the geometry if there is one."""
    found = variables(file)
    chosen = _choose(found)
    matrix = _read_sparse(chosen, limit)
    if chosen.name != _MATRIX:  # someone else's file: what else it holds has its own meaning
        return matrix, None
    by_name = {variable.name: variable for variable in found}
    if _DTYPE in by_name:
        matrix = dtypes.with_dtype(matrix, _read_text(by_name[_DTYPE], limit))
    if _GEOMETRY not in by_name:
        return matrix, None
    return matrix, geometry_json.from_text(_read_text(by_name[_GEOMETRY], limit), f"the variable {_GEOMETRY!r}")


def _choose(found: list[Variable]) -> Variable:
    """Return the variable that is the matrix."""
    names = [variable.name for variable in found]
    for name in (_MATRIX, _GEOMETRY, _DTYPE):
        if names.count(name) > 1:
            raise FileFormatError(f"it has {names.count(name)} variables {name!r}; the file is damaged or forged")
    candidates = [variable for variable in found if variable.class_code == _SPARSE]
    named = [variable for variable in candidates if variable.name == _MATRIX]
    if len(named or candidates) != 1:
        raise FileFormatError(
            f"it has {len(candidates)} sparse variables (of {', '.join(names)[:200] or 'none'}), but one is needed, "
            f"or one that is named {_MATRIX!r}"
        )
    return (named or candidates)[0]


def _read_sparse(variable: Variable, limit: ReadLimit) -> sparse.csr_array:
    """Read a sparse matrix: row indices, column pointers, real and imaginary parts."""
    if len(variable.dims) != 2:
        raise FileFormatError(f"{variable} has {len(variable.dims)} axes ({variable.dims}), but a matrix has 2")
    shape: tuple[int, int] = (variable.dims[0], variable.dims[1])
    canonical.check_shape(shape)
    if 2 * variable.n_reserved > variable.n_bytes:
        raise FileFormatError(
            f"{variable} declares room for {variable.n_reserved} entries, but has {variable.n_bytes} bytes"
        )
    dtype = np.dtype(np.complex128 if variable.is_complex else np.float64)
    scratch = variable.n_bytes + canonical.result_bytes(shape, variable.n_reserved, dtype)
    canonical.require_result(limit, scratch, shape, variable.n_reserved, dtype)
    with variable.contents() as contents:
        indices = contents.array("row indices", "iu")
        indptr = contents.array("column pointers", "iu")
        data = contents.array("real parts", "iuf")
        imaginary = contents.array("imaginary parts", "iuf") if variable.is_complex else None
        contents.finish()
    n_stored = int(indptr[-1]) if indptr.size else 0
    parts = {"reserved entries": variable.n_reserved, "row indices": len(indices), "real parts": len(data)}
    if imaginary is not None:
        parts["imaginary parts"] = len(imaginary)
    for what, length in parts.items():
        if not 0 <= n_stored <= length:
            raise FileFormatError(f"{variable} has column pointers that end with {n_stored}, but {length} {what}")
    values = _values(data[:n_stored], None if imaginary is None else imaginary[:n_stored], variable)
    return canonical.from_compressed(values, indices[:n_stored], indptr, shape, "csc")


def _values(data: NDArray[Any], imaginary: NDArray[Any] | None, variable: Variable) -> NDArray[Any]:
    """Return the entries as double, complex double or bool, whatever shorter type MATLAB stored them in."""
    if variable.is_logical:
        return data.astype(bool)
    values: NDArray[Any] = data.astype(np.float64 if imaginary is None else np.complex128)
    if imaginary is not None:
        values.imag = imaginary
    return values


def _read_text(variable: Variable, limit: ReadLimit) -> str:
    """Read a row of characters."""
    if variable.class_code != _CHAR or len(variable.dims) != 2 or variable.dims[0] != 1:
        raise FileFormatError(
            f"{variable} is of class {variable.class_code} and size {variable.dims}, but a row of characters is needed"
        )
    limit.require_text(variable.n_bytes, str(variable))
    with variable.contents() as contents:
        codec, characters = contents.characters(_TEXT_CODECS)
        contents.finish()
    try:
        text = characters.decode(codec)
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{variable} is no text: {error}") from error
    if len(text) != variable.dims[1]:
        raise FileFormatError(f"{variable} declares {variable.dims[1]} characters, but holds {len(text)}")
    return text
