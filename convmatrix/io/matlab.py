"""MATLAB 5 files: the sparse variable ``A``, and the text variables ``geometry`` and ``checksum``.

A file is a header of 128 bytes followed by one element per variable, deflated or plain. A variable is itself a sequence
of elements (flags, sizes, name, arrays), each with a tag and a length, which is compared with what surrounds it before
anything is read. (MathWorks, MAT-File Format, level 5.)
"""

from __future__ import annotations

import io
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

import numpy as np
from scipy import sparse

from convmatrix.io import file_checks, geometry_json
from convmatrix.io.file_checks import PIECE, BoundedReader, FileFormatError, ReadLimit
from convmatrix.options import axes_in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry

_ByteOrder = Literal["<", ">"]

_NAME, _GEOMETRY, _DTYPE, _CHECKSUM = "A", "geometry", "dtype", "checksum"
_LARGEST_VARIABLE: Final = 2**31 - 1  # bytes
_LARGEST_SIZE: Final = 2**31 - 1  # rows or columns
_CHAR, _SPARSE = 4, 5
_TEXT_CODECS: Final = {2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}

_HEADER: Final = 128
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMBERS: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NAMED_CLASSES: Final = range(1, 16)  # cells, structures, objects, text, sparse and full arrays
_LARGEST_HEAD: Final = 4096  # bytes of a variable's sizes, or of its name
_MOST_VARIABLES: Final = 1000


# --- writing ----------------------------------------------------------------------------------------------------------


def write(file: BinaryIO, matrix: sparse.csr_array, layer: dict[str, Any] | None) -> None:
    """Write a canonical matrix; if the format cannot represent its entries or sizes, raise before writing anything.

    MATLAB's sparse matrices are double, complex double or logical. Any other dtype is recorded in the text variable
    ``dtype``, from which `read` restores it.
    """
    from scipy.io import savemat

    _check_limits(matrix)
    stored = np.dtype({"c": "complex128", "b": "bool"}.get(matrix.dtype.kind, "float64"))
    data = file_checks.cast_exactly(matrix.data, stored, "MATLAB's double; save to .npz or .mtx, or change the dtype")
    values: dict[str, Any] = {}
    if layer is not None:
        values[_GEOMETRY] = geometry_json.dump(layer)
    if stored != matrix.dtype:
        values[_DTYPE] = matrix.dtype.name
    values[_CHECKSUM] = file_checks.checksum(matrix, values.get(_GEOMETRY, ""))
    # The matrix comes last, so that a truncated file that contains it also contains the variables that belong to it.
    values[_NAME] = sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape).tocsc()
    target: Any = file if file.seekable() else io.BytesIO()  # savemat seeks backwards to fill in lengths
    savemat(target, values)
    if target is not file:
        file.write(target.getbuffer())


def _check_limits(matrix: sparse.csr_array) -> None:
    rows, columns = matrix.shape
    for axis, size in (("rows", rows), ("columns", columns)):
        if size > _LARGEST_SIZE:
            raise ValueError(f"matrix has {size} {axis}, but a MATLAB 5 file at most {_LARGEST_SIZE}; save to .npz")
    item = 16 if matrix.dtype.kind == "c" else 8
    needed = matrix.nnz * (4 + item) + 4 * (columns + 1) + 128  # tags, flags, sizes, name
    if needed > _LARGEST_VARIABLE:
        raise ValueError(
            f"matrix ({rows} x {columns}, {matrix.nnz} entries) needs {needed} bytes, but a variable of a MATLAB 5 "
            f"file has at most {_LARGEST_VARIABLE}; save to .npz"
        )


# --- reading ----------------------------------------------------------------------------------------------------------


def read(file: BoundedReader, limit: ReadLimit) -> tuple[sparse.csr_array, tuple[ConvGeometry, str] | None]:
    """Return the sparse variable ``A``, or the only sparse variable, and the geometry and order of its layer."""
    found = _variables(file)
    chosen = _choose(found)
    matrix = _read_sparse(chosen, limit)
    by_name = {variable.name: variable for variable in found}
    if chosen.name != _NAME:  # a file from another program, whose other variables have a different meaning
        if _CHECKSUM in by_name and by_name[_CHECKSUM].dims == (1, 16):
            name = f"its matrix is called {chosen.name[:40]!r}, but {_NAME!r} in a file with a {_CHECKSUM}"
            raise FileFormatError(f"{name}; the file is damaged, or was edited (then remove its {_CHECKSUM})")
        return matrix, None
    if _DTYPE in by_name:
        matrix = file_checks.with_dtype(matrix, _read_text(by_name[_DTYPE], limit))
    text = _read_text(by_name[_GEOMETRY], limit) if _GEOMETRY in by_name else ""
    if _CHECKSUM in by_name:
        file_checks.check_checksum(_read_text(by_name[_CHECKSUM], limit), matrix, text)
    if not text:
        return matrix, None
    what = f"the variable {_GEOMETRY!r}"
    return matrix, geometry_json.to_layer(geometry_json.parse(text, what), what)


def _choose(found: list[_Variable]) -> _Variable:
    """Return the variable that contains the matrix."""
    names = [variable.name for variable in found]
    for name in (_NAME, _GEOMETRY, _DTYPE, _CHECKSUM):
        if names.count(name) > 1:
            raise FileFormatError(f"it has {names.count(name)} variables {name!r}; the file is damaged or forged")
    candidates = [variable for variable in found if variable.class_code == _SPARSE]
    named = [variable for variable in candidates if variable.name == _NAME]
    if len(named or candidates) != 1:
        raise FileFormatError(
            f"it has {len(candidates)} sparse variables (of {', '.join(names)[:200] or 'none'}), but one is needed, "
            f"or one that is named {_NAME!r}"
        )
    return (named or candidates)[0]


def _read_sparse(variable: _Variable, limit: ReadLimit) -> sparse.csr_array:
    """Return a sparse matrix, read as row indices, column pointers, real and imaginary parts."""
    if len(variable.dims) != 2:
        axes = axes_in_words(len(variable.dims))
        raise FileFormatError(f"{variable} has {axes} ({variable.dims}), but a matrix has 2")
    shape: tuple[int, int] = (variable.dims[0], variable.dims[1])
    file_checks.check_shape(shape)
    if 2 * variable.n_reserved > variable.n_bytes:
        raise FileFormatError(
            f"{variable} declares room for {variable.n_reserved} entries, but has {variable.n_bytes} bytes"
        )
    dtype = np.dtype(np.complex128 if variable.is_complex else np.float64)
    scratch = variable.n_bytes + file_checks.csr_bytes(shape, variable.n_reserved, dtype)
    limit.require_matrix(scratch, shape, variable.n_reserved, dtype)
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
    return file_checks.from_compressed(values, indices[:n_stored], indptr, shape, "csc")


def _values(data: NDArray[Any], imaginary: NDArray[Any] | None, variable: _Variable) -> NDArray[Any]:
    """Return the entries as double, complex double or bool; MATLAB may store them in a shorter type."""
    if variable.is_logical:
        return data.astype(bool)
    values: NDArray[Any] = data.astype(np.float64 if imaginary is None else np.complex128)
    if imaginary is not None:
        values.imag = imaginary
    return values


def _read_text(variable: _Variable, limit: ReadLimit) -> str:
    """Return a row of characters as text."""
    if variable.class_code != _CHAR or len(variable.dims) != 2 or variable.dims[0] != 1:
        raise FileFormatError(
            f"{variable} is of class {variable.class_code} and size {variable.dims}, but a row of characters is needed"
        )
    limit.require_text(variable.n_bytes, str(variable))
    with variable.contents() as contents:
        codec, characters = contents.characters()
        contents.finish()
    try:
        text = characters.decode(codec)
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{variable} is not text: {error}") from error
    if len(text) != variable.dims[1]:
        raise FileFormatError(f"{variable} declares {variable.dims[1]} characters, but contains {len(text)}")
    return text


# --- variables and elements -------------------------------------------------------------------------------------------


class _Contents:
    """Sequential reader of the bytes of a variable, which are decompressed if necessary."""

    def __init__(self, file: BoundedReader, n_bytes: int, byte_order: _ByteOrder, *, compressed: bool) -> None:
        self.byte_order = byte_order
        self._file = file
        self._n_in_file = n_bytes
        self._inflater = zlib.decompressobj() if compressed else None
        self._n_left = 8 if compressed else n_bytes  # a compressed variable begins with its own tag
        if compressed:
            code, length, _ = self._tag("a compressed variable")
            if code != _MATRIX:
                raise FileFormatError(f"a compressed variable holds an element of type {code}, but {_MATRIX} is needed")
            file_checks.check_expansion("a compressed variable", length, n_bytes)
            self._n_left = length
        self.n_bytes = self._n_left

    def array(self, what: str, kinds: str) -> NDArray[Any]:
        """Return an element of numbers in native byte order."""
        code, length, inline = self._tag(what)
        dtype = np.dtype(_NUMBERS.get(code, "V1")).newbyteorder(self.byte_order)
        if dtype.kind not in kinds:
            raise FileFormatError(f"the {what} have the element type {code}, but numbers are needed ({kinds})")
        if length % dtype.itemsize:
            raise FileFormatError(f"the {what} have {length} bytes, but each of their numbers has {dtype.itemsize}")
        array = np.frombuffer(self._payload(length, inline), dtype)
        return array.astype(dtype.newbyteorder("="), copy=False)

    def characters(self) -> tuple[str, bytes]:
        """Return the codec and the bytes of an element of characters."""
        code, length, inline = self._tag("characters")
        if code not in _TEXT_CODECS:
            raise FileFormatError(f"the characters have the element type {code}, but {sorted(_TEXT_CODECS)} are known")
        codec = _TEXT_CODECS[code]
        if codec == "utf-16":
            codec += "-le" if self.byte_order == "<" else "-be"
        return codec, bytes(self._payload(length, inline))

    def head(self, code: int, what: str) -> bytes:
        """Return one of the short elements at the beginning of a variable."""
        found, length, inline = self._tag(what)
        if found != code:
            raise FileFormatError(f"the {what} of a variable have the element type {found}, but {code} is needed")
        if length > _LARGEST_HEAD:
            raise FileFormatError(f"the {what} of a variable have {length} bytes, but at most {_LARGEST_HEAD} are read")
        return bytes(self._payload(length, inline))

    def finish(self) -> None:
        """Raise unless nothing is left and the checksum of compressed contents is correct."""
        if self._n_left:
            raise FileFormatError(f"{self._n_left} bytes follow the last element of a variable, but none should")
        if self._inflater is not None:
            if self._read(1):
                raise FileFormatError(f"a compressed variable declares {self.n_bytes} bytes, but contains more")
            if not self._inflater.eof:
                raise FileFormatError("a compressed variable ends before its checksum; the file is truncated")

    def _tag(self, what: str) -> tuple[int, int, bytes | None]:
        """Return a tag: type, length, and the contents if they are short enough to be stored in the tag itself."""
        tag = bytes(self._take(8, what))
        code, length = (int(number) for number in np.frombuffer(tag, self.byte_order + "u4"))
        if code >> 16 == 0:
            return code, length, None
        code, length = code & 0xFFFF, code >> 16
        if length > 4:
            raise FileFormatError(f"the {what} have {length} bytes in a short element, which has at most 4")
        return code, length, tag[4 : 4 + length]

    def _payload(self, length: int, inline: bytes | None) -> bytes | bytearray:
        if inline is not None:
            return inline
        payload = self._take(length, "an element")
        self._take(min(-length % 8, self._n_left), "padding")
        return payload

    def _take(self, length: int, what: str) -> bytearray:
        """Return exactly ``length`` bytes."""
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
        """Return up to ``most`` bytes; none at the end."""
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
class _Variable:
    """A variable of the file, as described by its first elements."""

    name: str
    class_code: int
    is_complex: bool
    is_logical: bool
    n_reserved: int
    """Number of entries allocated for a sparse variable (MATLAB's nzmax)."""
    dims: tuple[int, ...]
    n_bytes: int
    open: Callable[[], _Contents]

    def __str__(self) -> str:
        return f"the variable {self.name[:40]!r}"

    @contextmanager
    def contents(self) -> Iterator[_Contents]:
        """Open the elements after the name; errors raised inside mention the variable."""
        try:
            contents = self.open()
            for code, what in _HEAD:
                contents.head(code, what)
            yield contents
        except FileFormatError as error:
            raise FileFormatError(f"{self}: {error}") from error


def _variables(file: BoundedReader) -> list[_Variable]:
    """Return the variables of a file, of which only the first elements are read."""
    n_bytes = file.n_bytes
    byte_order = _read_file_header(file)
    found: list[_Variable] = []
    position = _HEADER
    while position < n_bytes:
        if len(found) == _MOST_VARIABLES:
            raise FileFormatError(f"it has more than {_MOST_VARIABLES} variables; save the matrix to a separate file")
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


def _read_file_header(file: BoundedReader) -> _ByteOrder:
    """Return the byte order of the file, after checking its header."""
    header = file.read(_HEADER)
    byte_orders: dict[bytes, _ByteOrder] = {b"IM": "<", b"MI": ">"}
    byte_order = byte_orders.get(header[126:128])
    if byte_order is None:
        raise FileFormatError(f"it starts with {header[:20]!r}, which is not a MATLAB 5 file")
    version = int(np.frombuffer(header[124:126], byte_order + "u2")[0])
    if version == 0x0200:
        raise FileFormatError("it is a MATLAB 7.3 (HDF5) file; save it in MATLAB with the option '-v7'")
    if version != 0x0100:
        raise FileFormatError(f"it has the version {version:#06x}, but a MATLAB 5 file has 0x0100")
    return byte_order


_HEAD: Final = ((_UINT32, "flags"), (_INT32, "sizes"), (_INT8, "name"))
"""The elements at the beginning of a variable."""


def _describe(
    file: BoundedReader, start: int, length: int, byte_order: _ByteOrder, *, compressed: bool
) -> _Variable | None:
    """Return a variable, or None if it is of a kind without a name."""

    def opened() -> _Contents:
        file.seek(start)
        return _Contents(file, length, byte_order, compressed=compressed)

    contents = opened()
    flags = np.frombuffer(contents.head(*_HEAD[0]), byte_order + "u4")
    if flags.size != 2:
        raise FileFormatError(f"the flags of a variable are {flags.size} numbers, but 2 are needed")
    class_code = int(flags[0]) & 0xFF
    if class_code not in _NAMED_CLASSES:
        return None
    sizes = contents.head(*_HEAD[1])
    if len(sizes) % 4:
        raise FileFormatError(f"the sizes of a variable take {len(sizes)} bytes, which is not a multiple of 4")
    return _Variable(
        name=contents.head(*_HEAD[2]).decode("latin-1"),
        class_code=class_code,
        is_complex=bool(flags[0] & 0x800),
        is_logical=bool(flags[0] & 0x200),
        n_reserved=int(flags[1]),
        dims=tuple(np.frombuffer(sizes, byte_order + "i4").tolist()),
        n_bytes=contents.n_bytes,
        open=opened,
    )
