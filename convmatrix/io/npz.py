"""NumPy archives: the layout of `scipy.sparse.save_npz`, with the geometry as one more member."""

from __future__ import annotations

import math
import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from convmatrix.io import canonical, dtypes, geometry_json
from convmatrix.io.limits import BoundedReader, FileFormatError, ReadLimit
from convmatrix.io.npz_members import Archive, ArrayHeader

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from convmatrix.geometry import ConvGeometry

_GEOMETRY: Final = "geometry.json"
_ARRAYS: Final = {
    "csr": {"data": 1, "indices": 1, "indptr": 1},
    "csc": {"data": 1, "indices": 1, "indptr": 1},
    "bsr": {"data": 3, "indices": 1, "indptr": 1},
    "coo": {"data": 1, "row": 1, "col": 1},
    "dia": {"data": 2, "offsets": 1},
}
"""The arrays of each sparse format, with their number of axes."""
_COORDINATES: Final = {"data": 1, "coords": 2}
_LARGEST_SMALL: Final = 64  # bytes of the format and of the shape


# --- writing ----------------------------------------------------------------------------------------------------------


def write(file: BinaryIO, matrix: sparse.csr_array, geometry: ConvGeometry | None) -> None:
    """Write a canonical matrix; the file need not be seekable. The same matrix gives the same bytes."""
    arrays = {
        "indices": matrix.indices,
        "indptr": matrix.indptr,
        "format": np.array(b"csr"),
        "shape": np.array(matrix.shape, dtype=np.int64),
        "data": matrix.data,
        "_is_array": np.array(1, dtype=bool),
    }
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(_new_member(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        if geometry is not None:
            archive.writestr(_new_member(_GEOMETRY), geometry_json.to_text(geometry) + "\n")


def _new_member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # dated 1980, whenever it is written
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info


# --- reading ----------------------------------------------------------------------------------------------------------


def read(file: BoundedReader, limit: ReadLimit) -> tuple[sparse.csr_array, ConvGeometry | None]:
    """Read a matrix, and its geometry if there is one."""
    archive = Archive(file)
    layout, shape = _read_format(archive), _read_shape(archive)
    axes = _COORDINATES if layout == "coo" and "coords.npy" in archive else _ARRAYS[layout]
    headers = {name: archive.header(f"{name}.npy", n_axes) for name, n_axes in axes.items()}
    data = headers["data"]
    if not dtypes.is_known(data.dtype):
        raise FileFormatError(f"data.npy has the dtype {data.dtype}, but a matrix has one of {dtypes.NAMES}")
    for name, header in headers.items():
        if name != "data" and header.dtype.kind not in "iu":
            raise FileFormatError(f"{header.name} has the dtype {header.dtype}, but indices are integers")
    _check_lengths(headers, layout, shape)
    file_bytes = sum(header.n_bytes for header in headers.values())
    scratch = file_bytes // 4 if layout == "csr" else 3 * file_bytes  # compressed rows become the matrix as they are
    canonical.require_result(limit, scratch, shape, math.prod(data.shape), data.dtype)
    matrix = _assemble({name: archive.array(header) for name, header in headers.items()}, layout, shape)
    if _GEOMETRY not in archive:
        return matrix, None
    limit.require_text(archive.n_bytes(_GEOMETRY), _GEOMETRY)
    return matrix, geometry_json.from_text(b"".join(archive.pieces(_GEOMETRY)), _GEOMETRY)


def _check_lengths(headers: dict[str, ArrayHeader], layout: str, shape: tuple[int, int]) -> None:
    """Raise unless the arrays have as many entries as each other and the shape ask for."""
    data = headers["data"]
    for name, header in headers.items():
        if name == "indptr":
            canonical.check_pointer(header.shape[0], shape, layout, data.shape[1:])
        elif header.shape[-1] != data.shape[0] and name != "data":
            raise FileFormatError(f"data.npy has {data.shape[0]} entries, but {header.name} has {header.shape[-1]}")


def _assemble(arrays: dict[str, NDArray[Any]], layout: str, shape: tuple[int, int]) -> sparse.csr_array:
    """Return the matrix that the arrays of a sparse format describe."""
    data = arrays["data"]
    if layout == "dia":
        return canonical.from_diagonals(data, arrays["offsets"], shape)
    if layout != "coo":
        return canonical.from_compressed(data, arrays["indices"], arrays["indptr"], shape, layout)
    if "row" in arrays:
        return canonical.from_coordinates(data, arrays["row"], arrays["col"], shape)
    if len(arrays["coords"]) != 2:
        raise FileFormatError(f"coords.npy has {len(arrays['coords'])} rows, but a matrix has 2 axes")
    return canonical.from_coordinates(data, arrays["coords"][0], arrays["coords"][1], shape)


def _read_small(archive: Archive, name: str, n_axes: int, kinds: str) -> NDArray[Any]:
    """Read an array of a few bytes."""
    header = archive.header(f"{name}.npy", n_axes)
    if header.dtype.kind not in kinds or header.n_bytes > _LARGEST_SMALL:
        raise FileFormatError(f"{header.name} has shape {header.shape} and dtype {header.dtype}, which is no {name}")
    return archive.array(header)


def _read_format(archive: Archive) -> str:
    word = _read_small(archive, "format", 0, "SU").item()
    layout = word.decode("latin-1") if isinstance(word, bytes) else str(word)
    if layout not in _ARRAYS:
        raise FileFormatError(f"its sparse format is {layout!r}, but {', '.join(_ARRAYS)} are known")
    return layout


def _read_shape(archive: Archive) -> tuple[int, int]:
    sizes = _read_small(archive, "shape", 1, "iu").tolist()
    if len(sizes) != 2:
        raise FileFormatError(f"its shape has {len(sizes)} entries ({sizes}), but a matrix has 2")
    shape: tuple[int, int] = (sizes[0], sizes[1])
    canonical.check_shape(shape)
    return shape
