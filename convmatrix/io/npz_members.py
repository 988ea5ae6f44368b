"""The members of a NumPy archive: the zip directory and the headers of arrays, each size held against the others."""

from __future__ import annotations

import errno
import math
import re
import struct
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.io.limits import PIECE, BoundedReader, FileFormatError, check_expansion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# What NumPy writes for a plain array. No eval: a pattern cannot be talked into anything.
_HEADER: Final = re.compile(
    rb"\{'descr': '([^']{2,16})', 'fortran_order': (True|False), "
    rb"'shape': \((|\d{1,19},|\d{1,19}(?:, \d{1,19}){1,2})\),? ?\} *\n"
)
_LONGEST_HEADER: Final = 10_000


@dataclass(frozen=True)
class ArrayHeader:
    """The header of an array: all that is known before its entries are decompressed."""

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


class Archive:
    """A zip archive of NumPy arrays that nobody vouches for."""

    def __init__(self, file: BoundedReader) -> None:
        with _zip_errors("the zip archive"):
            self._archive = zipfile.ZipFile(file)
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
            self._members[name] = info

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def n_bytes(self, name: str) -> int:
        """Return the size of a member, once it is decompressed, that is possible for its compressed bytes."""
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
        check_expansion(f"member {name!r}", info.file_size, info.compress_size)
        return info

    def pieces(self, name: str) -> Iterator[bytes]:
        """Read a member piece by piece; its checksum is verified at the end."""
        info = self._member(name)
        with _zip_errors(f"member {name!r}"), self._archive.open(info) as member:
            while piece := member.read(PIECE):
                yield piece

    def header(self, name: str, n_axes: int) -> ArrayHeader:
        """Read the header of an array, and hold its size against the size that the directory declares."""
        info = self._member(name)
        with _zip_errors(f"member {name!r}"), self._archive.open(info) as member:
            start = member.read(8)
            if len(start) < 8 or start[:6] != b"\x93NUMPY" or start[6] not in (1, 2, 3):
                raise FileFormatError(f"{name} is no NumPy array: it starts with {start!r}")
            length_bytes = 2 if start[6] == 1 else 4
            length = int.from_bytes(member.read(length_bytes), "little")
            if length > _LONGEST_HEADER:
                raise FileFormatError(f"{name} declares a header of {length} bytes, but {_LONGEST_HEADER} are allowed")
            text = member.read(length)
        match = _HEADER.fullmatch(text)
        if match is None:
            raise FileFormatError(f"{name} is no plain NumPy array: its header is {text[:80]!r}")
        header = ArrayHeader(
            name,
            _plain_dtype(name, match[1].decode("latin-1")),
            tuple(map(int, re.findall(rb"\d+", match[3]))),
            column_major=match[2] == b"True",
            offset=8 + length_bytes + length,
        )
        if len(header.shape) != n_axes:
            raise FileFormatError(
                f"{name} has {len(header.shape)} axes (shape {header.shape}), but {n_axes} are needed"
            )
        if header.offset + header.n_bytes != info.file_size:
            raise FileFormatError(
                f"{name} has shape {header.shape} and dtype {header.dtype}, which is {header.offset + header.n_bytes} "
                f"bytes with its header, but the member has {info.file_size}"
            )
        return header

    def array(self, header: ArrayHeader) -> NDArray[Any]:
        """Read the entries of an array, in the byte order of the machine."""
        # Made in its own dtype: of a view of bytes SciPy would keep a copy.
        entries = np.empty(math.prod(header.shape), dtype=header.dtype)
        target = entries.view(np.uint8)
        position = -header.offset
        for piece in self.pieces(header.name):
            part = piece[max(-position, 0) :]
            start = max(position, 0)
            target[start : start + len(part)] = np.frombuffer(part, dtype=np.uint8)
            position += len(piece)
        if position != len(target):
            raise FileFormatError(f"{header.name} declares {len(target)} bytes of entries, but holds {position}")
        if header.dtype.kind == "b" and target.size and target.max() > 1:
            raise FileFormatError(f"{header.name} holds the byte {target.max()}, but a bool is 0 or 1")
        shaped = entries.reshape(header.shape, order="F" if header.column_major else "C")
        return shaped.astype(header.dtype.newbyteorder("="), copy=False)


def _plain_dtype(name: str, code: str) -> np.dtype[Any]:
    """Return the type of a NumPy type code; never one that holds Python objects."""
    if "O" in code:
        raise FileFormatError(
            f"{name} holds pickled Python objects ({code!r}), which can run any code; convert them first"
        )
    try:
        if re.fullmatch(r"[<>|=][biufcSU][1-9]\d{0,2}", code):
            return np.dtype(code)
    except TypeError:
        pass
    raise FileFormatError(f"{name} has the dtype {code!r}, but a matrix is made of plain numbers")


@contextmanager
def _zip_errors(what: str) -> Iterator[None]:
    """Turn whatever a damaged archive makes the zip and zlib modules raise into one error."""
    try:
        yield
    except FileFormatError:
        raise
    except OSError as error:
        if error.errno != errno.EINVAL:  # a forged offset makes a negative seek; other errors are the disk's
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
