"""Save and load a matrix and the geometry of its layer, in the format given by the file's suffix."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from convmatrix import options as validate
from convmatrix.atomic import atomic_write
from convmatrix.geometry import ConvGeometry
from convmatrix.io import matlab, matrix_market, npz
from convmatrix.io.file_checks import BoundedReader, FileFormatError, ReadLimit, to_canonical
from convmatrix.io.geometry_json import layer_values
from convmatrix.memory import MatrixTooLargeError

if TYPE_CHECKING:
    from scipy import sparse

Reader = Callable[[BoundedReader, ReadLimit], "tuple[sparse.csr_array, tuple[ConvGeometry, str] | None]"]
Writer = Callable[[BinaryIO, "sparse.csr_array", dict[str, Any] | None], None]

_LONGEST_ERROR: Final = 1000  # characters of a message, into which a hostile file may put megabytes
_WRITERS: Final[dict[str, Writer]] = {"npz": npz.write, "mtx": matrix_market.write, "mat": matlab.write}
_READERS: Final[dict[str, Reader]] = {"npz": npz.read, "mtx": matrix_market.read, "mat": matlab.read}


def save(
    path: str | os.PathLike[str] | BinaryIO,
    matrix: Any,
    geometry: ConvGeometry | None = None,
    *,
    order: str = "C",
    format: str | None = None,
) -> None:
    """Save a sparse matrix and the geometry of its layer, so that `load` restores both exactly.

    The matrix is stored by rows, with sorted indices and repeated ones added; explicit zeros are kept (except in the
    dia format of SciPy, which cannot distinguish them from missing entries). Shape and dtype are restored exactly. The
    type of the indices is stored only in .npz; from the other formats it is int32 wherever that fits.

    The file is replaced as a whole: if saving fails or the process is killed, the previous file is unchanged. (Only a
    killed process leaves a temporary file ``.convmatrix-*.tmp`` in the same folder, which the next save of the same
    file removes.)

    Parameters
    ----------
    path : str, path or binary file
        The suffix selects the format: ``.npz`` (NumPy archive, also read by `scipy.sparse.load_npz`), ``.mtx`` (Matrix
        Market), ``.mat`` (MATLAB 5, the variables ``A`` and ``geometry``). An open file may be a pipe.
    matrix : scipy.sparse array or matrix, shape (n_out, n_in)
        A matrix in any format, with boolean, integer, real or complex entries. It is not modified.
    geometry : ConvGeometry, optional
        The layer of this matrix. Omit it for a slab of rows.
    order : {"C", "F"}
        How the arrays of the layer are flattened, as for `convmatrix.conv_matrix`. It is recorded with the geometry,
        and has no effect without one.
    format : {"npz", "mtx", "mat"}, optional
        Required for an open file; otherwise it overrides the suffix.

    Raises
    ------
    ValueError
        If the suffix is unknown, the shapes of the geometry and the matrix differ, or the format cannot represent the
        matrix exactly (.mat: integers that are not exact as double, more than 2**31 - 1 bytes). Nothing is written.
    TypeError
        If the matrix is not sparse, or has a dtype without a file representation (float16, longdouble, object).
    MatrixTooLargeError
        If the matrix is not in csr format and does not fit in memory in compressed rows.
    OSError
        If the folder does not exist or is not writable.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import convmatrix as cm
    >>> geometry = cm.ConvGeometry((3, 3), (2, 2), boundary="circular", padding="same")
    >>> A = geometry.pattern().matrix([1.0, 2.0, 3.0, 0.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Path(folder, "A.npz"), A, geometry)
    ...     B, layer = load(Path(folder, "A.npz"))
    >>> layer == geometry, (A != B).nnz, A.nnz, B.nnz
    (True, 0, 36, 36)
    """
    writable = hasattr(path, "write")
    if writable and format is None:
        raise ValueError(f"an open file has no suffix; give format=, one of {', '.join(_WRITERS)}")
    write = _WRITERS[_format_of(path, format)]
    rows = to_canonical(matrix)
    layer, order = None, validate.order(order)
    if geometry is not None:
        _check_geometry(geometry, rows.shape)
        layer = layer_values(geometry, order)
    if not isinstance(path, (str, os.PathLike)):
        if not writable or isinstance(path, io.TextIOBase):
            raise TypeError(f"path must be a path or a file open for writing bytes, but is a {type(path).__name__}")
        write(path, rows, layer)
        return
    with atomic_write(path) as file:
        write(file, rows, layer)


def load(
    path: str | os.PathLike[str],
    *,
    order: str = "C",
    format: str | None = None,
    max_bytes: int | None = None,
) -> tuple[sparse.csr_array, ConvGeometry | None]:
    """Return the matrix in an untrusted file and the geometry of its layer.

    Nothing is unpickled. Every size that the file declares is compared with the file, the other sizes and the available
    memory before anything is decompressed or allocated, and every index is checked. A damaged or hostile file raises an
    error; it never results in a matrix that could crash SciPy.

    Files of other programs are read as well: ``.npz`` of `scipy.sparse.save_npz` (csr, csc, bsr, coo, dia), ``.mtx``
    coordinate files (real, complex, integer, pattern; general, symmetric, skew-symmetric, hermitian), and ``.mat``
    files with one sparse variable. Indices are sorted, and repeated ones are added.

    Parameters
    ----------
    path : str or path
        A file whose suffix is ``.npz``, ``.mtx`` or ``.mat``.
    order : {"C", "F"}
        How arrays are flattened. If the file records another order, an error is raised.
    format : {"npz", "mtx", "mat"}, optional
        Overrides the suffix.
    max_bytes : int, optional
        Upper limit for the memory that loading may use, if smaller than the available memory.

    Returns
    -------
    matrix : scipy.sparse.csr_array
        In canonical form.
    geometry : ConvGeometry or None
        None if the file does not contain one.

    Raises
    ------
    FileFormatError
        A ValueError, if the file is damaged, forged, of another kind or in another order; it names the file and the
        contradiction.
    MatrixTooLargeError
        If the matrix does not fit in memory or in ``max_bytes``.
    OSError
        If the file is missing or cannot be read.

    Examples
    --------
    >>> load("A.txt")
    Traceback (most recent call last):
    ValueError: A.txt has the suffix '.txt', but .npz, .mtx, .mat are known; rename it or give format=
    """
    validate.order(order)
    matrix, geometry, stored = load_in_any_order(path, format=format, max_bytes=max_bytes)
    if geometry is not None and stored != order:
        raise FileFormatError(
            f"cannot load {path}: the arrays of its layer are flattened in order={stored!r}, not {order!r}; give "
            f"order={stored!r} to use the matrix so"
        )
    return matrix, geometry


def load_in_any_order(
    path: str | os.PathLike[str], *, format: str | None = None, max_bytes: int | None = None
) -> tuple[sparse.csr_array, ConvGeometry | None, str]:
    """Return the matrix, the geometry and the order in a file; see `load`."""
    if max_bytes is not None:
        max_bytes = validate.integer("max_bytes", max_bytes, minimum=1)
    read = _READERS[_format_of(path, format)]
    path = Path(path)
    if path.exists() and not path.is_file():
        raise OSError(f"cannot load {path}: it is not a regular file")
    try:
        with path.open("rb", buffering=0) as raw, BoundedReader(raw) as file:
            matrix, layer = read(file, ReadLimit.of(max_bytes))
        geometry, order = (None, "C") if layer is None else layer
        if geometry is not None:
            _check_geometry(geometry, matrix.shape)
    except MatrixTooLargeError as error:
        raise MatrixTooLargeError(f"cannot load {path}: {error}") from error
    except MemoryError as error:
        raise MatrixTooLargeError(f"cannot load {path}: out of memory ({str(error) or 'no detail'})") from error
    except ValueError as error:
        raise FileFormatError(f"cannot load {path}: {str(error)[:_LONGEST_ERROR]}") from error
    return matrix, geometry, order


def _format_of(path: Any, format: str | None) -> str:
    """Return the format of a file: the given one, or that of its suffix."""
    if format is not None:
        validate.one_of("format", format, _READERS)
        return format
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a path, but is {path!r:.60} ({type(path).__name__})")
    suffix = Path(path).suffix
    name = suffix[1:].lower()
    if name not in _READERS:
        known = ", ".join(f".{name}" for name in _READERS)
        raise ValueError(f"{path} has the suffix {suffix!r}, but {known} are known; rename it or give format=")
    return name


def _check_geometry(geometry: ConvGeometry, shape: tuple[int, ...]) -> None:
    """Raise unless the matrix of the layer has this shape."""
    if not isinstance(geometry, ConvGeometry):
        raise TypeError(f"geometry must be a ConvGeometry or None, but is a {type(geometry).__name__}")
    if (geometry.n_out, geometry.n_in) != shape:
        raise ValueError(
            f"the matrix has shape {shape}, but {geometry!r:.500} has one of shape {(geometry.n_out, geometry.n_in)}; "
            "omit the geometry of a slab of rows"
        )
