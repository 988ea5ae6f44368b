"""The dtypes that files hold, and conversions between them that lose nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse

from convmatrix.io.limits import FileFormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BY_NAME: Final = {
    name: np.dtype(name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float32", "float64", "complex64", "complex128"),
    )
}
NAMES: Final = ", ".join(_BY_NAME)
"""What a file may hold: the types that every platform has."""


def is_known(dtype: np.dtype[Any]) -> bool:
    """Whether a file may hold this dtype, in either byte order."""
    return dtype.newbyteorder("=") in _BY_NAME.values()


def cast_exactly(values: NDArray[Any], dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    """Return an array in another dtype, or raise if one value would change.

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
    # Beyond its range an integer conversion may give anything, also what happens to convert back.
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
    """Return a matrix in the dtype that a file names, every entry exactly."""
    if not isinstance(name, str) or name not in _BY_NAME:
        raise FileFormatError(f"it names the dtype {str(name)[:40]!r}, but a matrix has one of {NAMES}")
    try:
        data = cast_exactly(matrix.data, _BY_NAME[name], f"the dtype {name} that it names")
    except ValueError as error:
        raise FileFormatError(str(error)) from error
    return sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
