"""The elements of a MATLAB 5 file: tag, length, contents; every length held against what surrounds it.

A file is a header of 128 bytes and then one element a variable, deflated or plain. A variable is itself a row of
elements: flags, sizes, name, and the arrays of its kind. (MathWorks, MAT-File Format, level 5.)
"""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from convmatrix.io.limits import PIECE, BoundedReader, FileFormatError, check_expansion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

ByteOrder = Literal["<", ">"]

_HEADER: Final = 128
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMBERS: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NAMED_CLASSES: Final = range(1, 16)  # cells, structures, objects, text, sparse and full arrays
_LARGEST_HEAD: Final = 4096  # bytes of a variable's sizes, or of its name
_MOST_VARIABLES: Final = 1000


class Contents:
    """The bytes of a variable, in order: a part of the file, decompressed on the way where it is compressed."""

    def __init__(self, file: BoundedReader, n_bytes: int, byte_order: ByteOrder, *, compressed: bool) -> None:
        self.byte_order = byte_order
        self._file = file
        self._n_in_file = n_bytes
        self._inflater = zlib.decompressobj() if compressed else None
        self._n_left = 8 if compressed else n_bytes  # a compressed variable begins with its own tag
        if compressed:
            code, length, _ = self._tag("a compressed variable")
            if code != _MATRIX:
                raise FileFormatError(f"a compressed variable holds an element of type {code}, but {_MATRIX} is needed")
            check_expansion("a compressed variable", length, n_bytes)
            self._n_left = length
        self.n_bytes = self._n_left

    def array(self, what: str, kinds: str) -> NDArray[Any]:
        """Read an element of numbers, in the byte order of the machine."""
        code, length, inline = self._tag(what)
        dtype = np.dtype(_NUMBERS.get(code, "V1")).newbyteorder(self.byte_order)
        if dtype.kind not in kinds:
            raise FileFormatError(f"the {what} have the element type {code}, but numbers are needed ({kinds})")
        if length % dtype.itemsize:
            raise FileFormatError(f"the {what} have {length} bytes, but their numbers take {dtype.itemsize} each")
        array = np.frombuffer(self._payload(length, inline), dtype)
        return array.astype(dtype.newbyteorder("="), copy=False)

    def characters(self, codecs: Mapping[int, str]) -> tuple[str, bytes]:
        """Read an element of characters: its codec and its bytes."""
        code, length, inline = self._tag("characters")
        if code not in codecs:
            raise FileFormatError(f"the characters have the element type {code}, but {sorted(codecs)} are known")
        codec = codecs[code]
        if codec == "utf-16":
            codec += "-le" if self.byte_order == "<" else "-be"
        return codec, bytes(self._payload(length, inline))

    def head(self, code: int, what: str) -> bytes:
        """Read one of the short elements that begin a variable."""
        found, length, inline = self._tag(what)
        if found != code:
            raise FileFormatError(f"the {what} of a variable have the element type {found}, but {code} is needed")
        if length > _LARGEST_HEAD:
            raise FileFormatError(f"the {what} of a variable have {length} bytes, but at most {_LARGEST_HEAD} are read")
        return bytes(self._payload(length, inline))

    def finish(self) -> None:
        """Raise unless nothing is left, and the checksum of compressed contents is right."""
        if self._n_left:
            raise FileFormatError(f"{self._n_left} bytes follow the last element of a variable, but none should")
        if self._inflater is not None:
            if self._read(1):
                raise FileFormatError(f"a compressed variable declares {self.n_bytes} bytes, but holds more")
            if not self._inflater.eof:
                raise FileFormatError("a compressed variable ends before its checksum; the file is truncated")

    def _tag(self, what: str) -> tuple[int, int, bytes | None]:
        """Read a tag: type, length, and the contents if they are short enough to stand in the tag itself."""
        tag = bytes(self._take(8, what))
        code, length = (int(number) for number in np.frombuffer(tag, self.byte_order + "u4"))
        if code >> 16 == 0:
            return code, length, None
        code, length = code & 0xFFFF, code >> 16
        if length > 4:
            raise FileFormatError(f"the {what} have {length} bytes in a short element, but it holds at most 4")
        return code, length, tag[4 : 4 + length]

    def _payload(self, length: int, inline: bytes | None) -> bytes | bytearray:
        if inline is not None:
            return inline
        payload = self._take(length, "an element")
        self._take(min(-length % 8, self._n_left), "padding")
        return payload

    def _take(self, length: int, what: str) -> bytearray:
        """Read exactly ``length`` bytes."""
        if length > self._n_left:
            raise FileFormatError(f"{what} should have {length} bytes, but {self._n_left} are left in the variable")
        self._n_left -= length
        taken = bytearray()
        while len(taken) < length:
            piece = self._read(min(length - len(taken), PIECE))
            if not piece:
                raise FileFormatError(f"{what} should have {length} bytes, but the file ends after {len(taken)}")
            taken += piece
        return taken

    def _read(self, most: int) -> bytes:
        """Return up to ``most`` bytes, never more; none at the end."""
        inflater = self._inflater
        if inflater is None:
            return self._file.read(most)
        while not inflater.eof:
            packed = inflater.unconsumed_tail
            if not packed:
                packed = self._file.read(min(self._n_in_file, PIECE))
                self._n_in_file -= len(packed)
            try:
                piece = inflater.decompress(packed, most)
            except zlib.error as error:
                raise FileFormatError(f"a compressed variable is damaged: {error}") from error
            if piece or not packed:
                return piece
        return b""


@dataclass(frozen=True)
class Variable:
    """A variable of the file, as its first elements describe it."""

    name: str
    class_code: int
    is_complex: bool
    is_logical: bool
    n_reserved: int
    """Entries that a sparse variable has room for (MATLAB's nzmax)."""
    dims: tuple[int, ...]
    n_bytes: int
    _file: BoundedReader
    _start: int
    _n_in_file: int
    _compressed: bool
    _byte_order: ByteOrder

    def __str__(self) -> str:
        return f"the variable {self.name[:40]!r}"

    @contextmanager
    def contents(self) -> Iterator[Contents]:
        """Give what follows the name; an error in it names the variable."""
        self._file.seek(self._start)
        try:
            contents = Contents(self._file, self._n_in_file, self._byte_order, compressed=self._compressed)
            for code, what in _HEAD:
                contents.head(code, what)
            yield contents
        except FileFormatError as error:
            raise FileFormatError(f"{self}: {error}") from error


def variables(file: BoundedReader) -> list[Variable]:
    """Return the variables of a file; only their first elements are read."""
    n_bytes = file.n_bytes
    byte_order = _read_file_header(file)
    found: list[Variable] = []
    position = _HEADER
    while position < n_bytes:
        if len(found) == _MOST_VARIABLES:
            raise FileFormatError(f"it has more than {_MOST_VARIABLES} variables; save the matrix to a file of its own")
        file.seek(position)
        tag = file.read(8)
        if len(tag) < 8:
            raise FileFormatError(f"{len(tag)} bytes are left at byte {position}, but a variable needs at least 8")
        code, length = (int(number) for number in np.frombuffer(tag, byte_order + "u4"))
        position += 8
        if code not in (_MATRIX, _COMPRESSED):
            raise FileFormatError(
                f"at byte {position - 8} is an element of type {code}, but {_MATRIX} (a matrix) or {_COMPRESSED} "
                "(compressed) is needed"
            )
        if length > n_bytes - position:
            raise FileFormatError(
                f"a variable at byte {position - 8} declares {length} bytes, but {n_bytes - position} follow; "
                "the file is truncated or forged"
            )
        variable = _describe(file, position, length, byte_order, compressed=code == _COMPRESSED)
        if variable is not None:
            found.append(variable)
        position += length
    return found


def _read_file_header(file: BoundedReader) -> ByteOrder:
    """Check the header of the file and return its byte order."""
    header = file.read(_HEADER)
    byte_orders: dict[bytes, ByteOrder] = {b"IM": "<", b"MI": ">"}
    byte_order = byte_orders.get(header[126:128])
    if byte_order is None:
        raise FileFormatError(f"it starts with {header[:20]!r}, which is no MATLAB 5 file")
    version = int(np.frombuffer(header[124:126], byte_order + "u2")[0])
    if version == 0x0200:
        raise FileFormatError("it is a MATLAB 7.3 (HDF5) file; save it in MATLAB with the option '-v7'")
    if version != 0x0100:
        raise FileFormatError(f"it has the version {version:#06x}, but a MATLAB 5 file has 0x0100")
    return byte_order


_HEAD: Final = ((_UINT32, "flags"), (_INT32, "sizes"), (_INT8, "name"))
"""The elements that begin a variable."""


def _describe(
    file: BoundedReader, start: int, length: int, byte_order: ByteOrder, *, compressed: bool
) -> Variable | None:
    """Return a variable, or None for one of a kind that has no name."""
    contents = Contents(file, length, byte_order, compressed=compressed)
    flags = np.frombuffer(contents.head(*_HEAD[0]), byte_order + "u4")
    if flags.size != 2:
        raise FileFormatError(f"the flags of a variable are {flags.size} numbers, but 2 are needed")
    class_code = int(flags[0]) & 0xFF
    if class_code not in _NAMED_CLASSES:
        return None
    sizes = contents.head(*_HEAD[1])
    if len(sizes) % 4:
        raise FileFormatError(f"the sizes of a variable take {len(sizes)} bytes, which is no multiple of 4")
    return Variable(
        name=contents.head(*_HEAD[2]).decode("latin-1"),
        class_code=class_code,
        is_complex=bool(flags[0] & 0x800),
        is_logical=bool(flags[0] & 0x200),
        n_reserved=int(flags[1]),
        dims=tuple(np.frombuffer(sizes, byte_order + "i4").tolist()),
        n_bytes=contents.n_bytes,
        _file=file,
        _start=start,
        _n_in_file=length,
        _compressed=compressed,
        _byte_order=byte_order,
    )
