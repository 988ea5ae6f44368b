"""NumPy archives: the layout of `scipy.sparse.save_npz`, with the geometry as an additional member.

The zip directory and the headers of the arrays are compared with each other and with the file before any array is
decompressed.
"""

from __future__ import annotations

import errno
import math
import os
import re
import struct
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from convmatrix.io import file_checks, geometry_json
from convmatrix.io.file_checks import PIECE, BoundedReader, FileFormatError, ReadLimit

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

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
_KNOWN: Final = {
    _GEOMETRY,
    "bias.npy",  # beside the matrix of a network's node
    *(f"{name}.npy" for name in ("format", "shape", "_is_array", *_COORDINATES, *set().union(*_ARRAYS.values()))),
}
_LARGEST_SMALL: Final = 64  # bytes of the arrays "format" and "shape"


# The header that NumPy writes for a plain array. NumPy evaluates it as a Python literal; a pattern is safer.
_HEADER: Final = re.compile(
    rb"\{'descr': '([^']{2,16})', 'fortran_order': (True|False), "
    rb"'shape': \((|\d{1,19},|\d{1,19}(?:, \d{1,19}){1,63})\),? ?\} *\n"
)
_END_OF_ARCHIVE: Final = 22  # bytes of the record that ends a zip archive without a comment
_LONGEST_HEADER: Final = 10_000


# --- writing ----------------------------------------------------------------------------------------------------------


def write(file: BinaryIO, matrix: sparse.csr_array, layer: dict[str, Any] | None) -> None:
    """Write a canonical matrix; the file need not be seekable, and equal matrices give equal bytes."""
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
            _add_array(archive, name, array)
        if layer is not None:
            archive.writestr(_new_member(_GEOMETRY), geometry_json.dump(layer) + "\n")


def append_bias(file: BinaryIO, bias: NDArray[Any]) -> None:
    """Add the bias of a network's node to the archive with its matrix."""
    with zipfile.ZipFile(file, "a") as archive:
        _add_array(archive, "bias", bias)


def _add_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(_new_member(f"{name}.npy"), "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def _new_member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # dated 1980, so that the bytes do not depend on the time
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info


# --- reading ----------------------------------------------------------------------------------------------------------


def read(file: BoundedReader, limit: ReadLimit) -> tuple[sparse.csr_array, tuple[ConvGeometry, str] | None]:
    """Return the matrix, and its geometry and order if it is that of a layer."""
    archive = NumpyArchive(file, _KNOWN)
    layout, shape = _read_format(archive), _read_shape(archive)
    axes = _COORDINATES if layout == "coo" and "coords.npy" in archive else _ARRAYS[layout]
    headers = {name: archive.header(f"{name}.npy", n_axes) for name, n_axes in axes.items()}
    data = headers["data"]
    if not file_checks.is_known_dtype(data.dtype):
        raise FileFormatError(f"data.npy has the dtype {data.dtype}, but a matrix has one of {file_checks.DTYPE_NAMES}")
    for name, header in headers.items():
        if name != "data" and header.dtype.kind not in "iu":
            raise FileFormatError(f"{header.name} has the dtype {header.dtype}, but indices are integers")
    _check_lengths(headers, layout, shape)
    file_bytes = sum(header.n_bytes for header in headers.values())
    scratch = file_bytes // 4 if layout == "csr" else 3 * file_bytes  # compressed rows are not copied
    limit.require_matrix(scratch, shape, math.prod(data.shape), data.dtype)
    matrix = _assemble({name: archive.array(header) for name, header in headers.items()}, layout, shape)
    if _GEOMETRY not in archive:
        return matrix, None
    limit.require_text(archive.n_bytes(_GEOMETRY), _GEOMETRY)
    values = geometry_json.parse(b"".join(archive.pieces(_GEOMETRY)), _GEOMETRY)
    return matrix, geometry_json.to_layer(values, _GEOMETRY)


def _check_lengths(headers: dict[str, ArrayHeader], layout: str, shape: tuple[int, int]) -> None:
    """Raise unless the lengths of the arrays agree with each other and with the shape."""
    data = headers["data"]
    for name, header in headers.items():
        if name == "indptr":
            file_checks.check_pointer(header.shape[0], shape, layout, data.shape[1:])
        elif header.shape[-1] != data.shape[0] and name != "data":
            raise FileFormatError(f"data.npy has {data.shape[0]} entries, but {header.name} has {header.shape[-1]}")


def _assemble(arrays: dict[str, NDArray[Any]], layout: str, shape: tuple[int, int]) -> sparse.csr_array:
    """Return the matrix that the arrays of a sparse format describe."""
    data = arrays["data"]
    if layout == "dia":
        return file_checks.from_diagonals(data, arrays["offsets"], shape)
    if layout != "coo":
        return file_checks.from_compressed(data, arrays["indices"], arrays["indptr"], shape, layout)
    if "row" in arrays:
        return file_checks.from_coordinates(data, arrays["row"], arrays["col"], shape)
    if len(arrays["coords"]) != 2:
        raise FileFormatError(f"coords.npy has {len(arrays['coords'])} rows, but a matrix has 2 axes")
    return file_checks.from_coordinates(data, arrays["coords"][0], arrays["coords"][1], shape)


def _read_small(archive: NumpyArchive, name: str, n_axes: int, kinds: str) -> NDArray[Any]:
    """Return one of the two small arrays."""
    header = archive.header(f"{name}.npy", n_axes)
    if header.dtype.kind not in kinds or header.n_bytes > _LARGEST_SMALL:
        raise FileFormatError(
            f"{header.name} has shape {header.shape} and dtype {header.dtype}, which cannot be a {name}"
        )
    return archive.array(header)


def _read_format(archive: NumpyArchive) -> str:
    word = _read_small(archive, "format", 0, "SU").item()
    layout = word.decode("latin-1") if isinstance(word, bytes) else str(word)
    if layout not in _ARRAYS:
        raise FileFormatError(f"its sparse format is {layout!r}, but {', '.join(_ARRAYS)} are known")
    return layout


def _read_shape(archive: NumpyArchive) -> tuple[int, int]:
    sizes = _read_small(archive, "shape", 1, "iu").tolist()
    if len(sizes) != 2:
        raise FileFormatError(f"its shape has {len(sizes)} entries ({sizes}), but a matrix has 2")
    shape: tuple[int, int] = (sizes[0], sizes[1])
    file_checks.check_shape(shape)
    return shape


# --- members of the archive -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArrayHeader:
    """The header of an array, read before its entries are decompressed."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    column_major: bool
    offset: int
    """Bytes of the member before the entries."""

    @property
    def n_bytes(self) -> int:
        """Bytes of the entries."""
        return math.prod(self.shape) * self.dtype.itemsize


class NumpyArchive:
    """An untrusted zip archive of NumPy arrays, such as `numpy.savez` writes; ``known`` are the members allowed in it.

    Nothing is unpickled, and no array is allocated before its header agrees with the size of the file. Every error is a
    `FileFormatError`, or that of the operating system.
    """

    def __init__(self, file: BoundedReader, known: Container[str] | None = None) -> None:
        with _zip_errors("the zip archive"):
            self._archive = zipfile.ZipFile(file)
        first = min((info.header_offset for info in self._archive.infolist()), default=0)
        file.seek(-_END_OF_ARCHIVE, os.SEEK_END)
        end = file.read(_END_OF_ARCHIVE)
        if first > 0 or end[:4] != b"PK\5\6":
            raise FileFormatError(
                f"the zip archive has {first} bytes before it, or others behind it, so the file may hold two; save it "
                "again"
            )
        declared, listed = int.from_bytes(end[10:12], "little"), len(self._archive.infolist())
        if declared != listed:
            raise FileFormatError(f"the zip archive declares {declared} members, but lists {listed}; it is damaged")
        self._members: dict[str, zipfile.ZipInfo] = {}
        for info in self._archive.infolist():
            name = info.filename
            if name in self._members:
                raise FileFormatError(f"the zip archive has two members {name[:40]!r}; it is damaged or forged")
            if info.header_offset + info.compress_size > file.n_bytes:
                raise FileFormatError(
                    f"member {name[:40]!r} declares {info.compress_size} bytes from byte {info.header_offset} on, "
                    f"but the file has {file.n_bytes}"
                )
            if known is not None and name not in known:
                raise FileFormatError(f"the zip archive has a member {name[:40]!r}, which is not of a sparse matrix")
            self._members[name] = info

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def is_compressed(self, name: str) -> bool:
        """Return whether a member is compressed."""
        return self._members[name].compress_type != zipfile.ZIP_STORED

    def n_bytes(self, name: str) -> int:
        """Return the decompressed size of a member; raise if its compressed bytes cannot expand to it."""
        return self._member(name).file_size

    def _member(self, name: str) -> zipfile.ZipInfo:
        if name not in self._members:
            raise FileFormatError(
                f"the archive has no member {name!r} (it has {', '.join(sorted(self._members))[:200] or 'none'}); "
                "it was not written by convmatrix or scipy.sparse.save_npz"
            )
        info = self._members[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FileFormatError(f"member {name!r} has compression type {info.compress_type}, but NumPy writes 0 or 8")
        file_checks.check_expansion(f"member {name!r}", info.file_size, info.compress_size)
        return info

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield the contents of a member piece by piece; its checksum is verified at the end."""
        info = self._member(name)
        with _zip_errors(f"member {name!r}"), self._archive.open(info) as member:
            while piece := member.read(PIECE):
                yield piece

    def header(self, name: str, n_axes: int | None = None) -> ArrayHeader:
        """Return the header of an array, after comparing its size with the size that the directory declares."""
        info = self._member(name)
        with _zip_errors(f"member {name!r}"), self._archive.open(info) as member:
            start = member.read(8)
            if len(start) < 8 or start[:6] != b"\x93NUMPY" or start[6] not in (1, 2, 3):
                raise FileFormatError(f"{name} is not a NumPy array: it starts with {start!r}")
            length_bytes = 2 if start[6] == 1 else 4
            length = int.from_bytes(member.read(length_bytes), "little")
            if length > _LONGEST_HEADER:
                raise FileFormatError(f"{name} declares a header of {length} bytes, but {_LONGEST_HEADER} are allowed")
            text = member.read(length)
        match = _HEADER.fullmatch(text)
        if match is None:
            raise FileFormatError(f"{name} is not a plain NumPy array: its header is {text[:80]!r}")
        header = ArrayHeader(
            name,
            _plain_dtype(name, match[1].decode("latin-1")),
            tuple(map(int, re.findall(rb"\d+", match[3]))),
            column_major=match[2] == b"True",
            offset=8 + length_bytes + length,
        )
        if n_axes is not None and len(header.shape) != n_axes:
            raise FileFormatError(
                f"{name} has {len(header.shape)} axes (shape {header.shape}), but {n_axes} are needed"
            )
        if header.offset + header.n_bytes != info.file_size:
            raise FileFormatError(
                f"{name} has shape {header.shape} and dtype {header.dtype}, which is {header.n_bytes} bytes after a "
                f"header of {header.offset}, but the member has {info.file_size}"
            )
        return header

    def array(self, header: ArrayHeader) -> NDArray[Any]:
        """Return the entries of an array in native byte order."""
        # The array is allocated in its own dtype, because SciPy would copy a view of bytes.
        entries = np.empty(math.prod(header.shape), dtype=header.dtype)
        target = entries.view(np.uint8)
        position = -header.offset
        for piece in self.pieces(header.name):
            part = piece[max(-position, 0) :]
            start = max(position, 0)
            target[start : start + len(part)] = np.frombuffer(part, dtype=np.uint8)
            position += len(piece)
        if position != len(target):
            raise FileFormatError(f"{header.name} declares {len(target)} bytes of entries, but contains {position}")
        if header.dtype.kind == "b" and target.size and target.max() > 1:
            raise FileFormatError(f"{header.name} contains the byte {target.max()}, but a bool is 0 or 1")
        shaped = entries.reshape(header.shape, order="F" if header.column_major else "C")
        return shaped.astype(header.dtype.newbyteorder("="), copy=False)


def _plain_dtype(name: str, code: str) -> np.dtype[Any]:
    """Return the dtype of a NumPy type code; raise for Python objects."""
    if "O" in code:
        raise FileFormatError(
            f"{name} contains pickled Python objects ({code!r}), which can run arbitrary code; convert them first"
        )
    try:
        if re.fullmatch(r"[<>|=][biufcSU][1-9]\d{0,8}", code):
            return np.dtype(code)
    except TypeError:
        pass
    raise FileFormatError(f"{name} has the dtype {code!r}, but matrices consist of plain numbers")


@contextmanager
def _zip_errors(what: str) -> Iterator[None]:
    """Convert every error that the modules zipfile and zlib raise for a damaged archive to `FileFormatError`."""
    try:
        yield
    except FileFormatError:
        raise
    except OSError as error:
        if error.errno != errno.EINVAL:  # a forged offset leads to a negative seek; other errors come from the disk
            raise
        raise FileFormatError(f"{what} is damaged: an offset lies outside the file") from error
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OverflowError,
        ValueError,
    ) as error:
        raise FileFormatError(f"{what} is damaged: {str(error) or type(error).__name__}") from error
