"""Matrix Market text files: coordinates and values with all digits; geometry and checksum in comment lines.

SciPy's parser is fast, but reads out of bounds on a zero byte or a truncated number. It therefore receives only files
whose lines have all been scanned. NumPy's slower parser reads all other files, and reports what is wrong with them.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from convmatrix.io import file_checks, geometry_json
from convmatrix.io.file_checks import PIECE, BoundedReader, FileFormatError, ReadLimit
from convmatrix.options import index_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from scipy import sparse

    from convmatrix.geometry import ConvGeometry

_MARK: Final = "convmatrix "
_NOTE: Final = re.compile(r'[{]"dtype": "\w+", "geometry": ')  # how a comment with that mark begins
_LONGEST_ENTRY: Final = 4096
_LINE: Final = 900  # characters of JSON per comment line; the format allows lines of 1024 characters

_POSITION: Final = [("row", "i8"), ("column", "i8")]
# No group within is possessive: where one stops half way, Python before 3.11.5 also matches.
_REAL: Final = rb" -?+[0-9]{1,25}+(?:\.[0-9]{1,25}+)?(?:[eE][-+]?+[0-9]{1,4}+)?"


@dataclass(frozen=True)
class _Field:
    """The numbers on a line, the dtype of the matrix, and the pattern of values that SciPy's parser may receive."""

    numbers: list[tuple[str, str]]
    dtype: Any
    clean: bytes


_FIELDS: Final = {
    "real": _Field([*_POSITION, ("real", "f8")], np.float64, _REAL),
    "double": _Field([*_POSITION, ("real", "f8")], np.float64, _REAL),
    "complex": _Field([*_POSITION, ("real", "f8"), ("imaginary", "f8")], np.complex128, 2 * _REAL),
    "integer": _Field([*_POSITION, ("real", "i8")], np.int64, rb" -?+[0-9]{1,19}+"),
    "unsigned-integer": _Field([*_POSITION, ("real", "u8")], np.uint64, rb" [0-9]{1,20}+"),
    "pattern": _Field(_POSITION, np.float64, b""),
}
_SYMMETRIES: Final = ("general", "symmetric", "skew-symmetric", "hermitian")


# --- writing ----------------------------------------------------------------------------------------------------------


def write(file: BinaryIO, matrix: sparse.csr_array, layer: dict[str, Any] | None) -> None:
    """Write a canonical matrix with the shortest decimals that restore every bit, and its dtype in a comment."""
    from scipy.io import mmwrite

    kind, dtype = matrix.dtype.kind, matrix.dtype
    # A float32 is written as a double: its own shortest decimals would be rounded twice on reading.
    widened = {"f": np.float64, "c": np.complex128}.get(kind, np.uint64 if dtype == np.uint64 else np.int64)
    checksum = file_checks.checksum(matrix, geometry_json.dump(layer))
    note = geometry_json.dump({"dtype": dtype.name, "geometry": layer, "checksum": checksum})
    lines = [_MARK + note[start : start + _LINE] for start in range(0, len(note), _LINE)]
    if matrix.nnz:
        mmwrite(file, matrix.astype(widened, copy=False), comment="\n".join(lines), symmetry="general")
        return
    # SciPy writes that a matrix without entries is real, regardless of its dtype.
    field = {np.float64: "real", np.complex128: "complex", np.uint64: "unsigned-integer"}.get(widened, "integer")
    comments = "".join(f"%{line}\n" for line in lines)
    file.write(f"%%MatrixMarket matrix coordinate {field} general\n{comments}".encode())
    file.write("{} {} 0\n".format(*matrix.shape).encode())


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Header:
    """The lines above the entries."""

    field: str
    symmetry: str
    shape: tuple[int, int]
    n_entries: int
    note: str


def read(file: BoundedReader, limit: ReadLimit) -> tuple[sparse.csr_array, tuple[ConvGeometry, str] | None]:
    """Return the matrix, and its geometry if there is one."""
    header = _read_header(file, limit)
    field = _FIELDS[header.field]
    _check_size(header, len(field.numbers), file.n_bytes - file.tell())
    n_entries = header.n_entries * (1 if header.symmetry == "general" else 2)
    # The parsed lines, and the triplets created from them.
    scratch = n_entries * (np.dtype(field.numbers).itemsize + 2 * 8 + np.dtype(field.dtype).itemsize)
    limit.require_matrix(scratch, header.shape, n_entries, field.dtype)

    start = file.tell()
    triplets = _parse_with_scipy(file, header, start) if _is_clean(file, header) else None
    if triplets is None:
        file.seek(start)
        triplets = _triplets(_parse_with_numpy(file, header), header)
    rows, columns, values = triplets
    return _apply_note(_mirror(values, rows, columns, header), header.note)


# --- clean files, by SciPy --------------------------------------------------------------------------------------------


def _is_clean(file: BoundedReader, header: _Header) -> bool:
    """Return whether the rest of the file has one well-formed line per entry, with single spaces, and nothing else."""
    clean = re.compile(rb"(?:[0-9]{1,19}+ [0-9]{1,19}+" + _FIELDS[header.field].clean + rb"\n)*+")
    count, rest = 0, b""
    while piece := file.read(PIECE):
        piece = rest + piece
        end = piece.rfind(b"\n") + 1
        if not end or clean.fullmatch(piece, 0, end) is None:
            return False
        count, rest = count + piece.count(b"\n", 0, end), piece[end:]
    return not rest and count == header.n_entries


class _CleanBody(io.RawIOBase):
    """The entries of a scanned file after a new header, read piece by piece."""

    def __init__(self, file: BoundedReader, header: _Header, start: int) -> None:
        rows, columns = header.shape
        self._header = f"%%MatrixMarket matrix coordinate {header.field} general\n{rows} {columns} {header.n_entries}\n"
        self._file = file
        file.seek(start)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if self._header:
            head, self._header = self._header, ""
            return head.encode()
        return self._file.read(PIECE if size < 0 else min(size, PIECE))


def _parse_with_scipy(
    file: BoundedReader, header: _Header, start: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None:
    """Return rows, columns and values; None if a number is out of range."""
    from scipy.io import mmread

    try:
        body: Any = _CleanBody(file, header, start)
        found: Any = mmread(body)
    except (ValueError, OverflowError):
        return None
    return found.row, found.col, found.data.astype(_FIELDS[header.field].dtype, copy=False)


# --- other files, by NumPy --------------------------------------------------------------------------------------------


def _triplets(lines: NDArray[Any], header: _Header) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return rows, columns and values of the entries; all values are 1 if the file contains only a pattern."""
    names, dtype = lines.dtype.names or (), _FIELDS[header.field].dtype
    values = lines["real"].astype(dtype) if "real" in names else np.ones(len(lines), dtype)
    if "imaginary" in names:
        values.imag = lines["imaginary"]
    indices = []
    for name, size in zip(("row", "column"), header.shape, strict=True):
        one_based = lines[name]
        wrong = one_based[(one_based < 1) | (one_based > size)]
        if wrong.size:
            raise FileFormatError(f"an entry is in {name} {wrong[0]}, but the matrix has {name}s 1 to {size}")
        index: Any = one_based.astype(index_dtype(*header.shape, 2 * header.n_entries))
        index -= 1
        indices.append(index)
    return indices[0], indices[1], values


class _Lines:
    """Iterator over the nonblank lines of entries; ``count`` and ``line`` give the number and text of the last."""

    def __init__(self, file: BoundedReader, n_entries: int) -> None:
        self._file, self._n_entries = file, n_entries
        self.count = 0
        self.line = b""

    def __iter__(self) -> Iterator[bytes]:
        while line := self._file.readline(_LONGEST_ENTRY):
            if line.isspace():
                continue
            self.count, self.line = self.count + 1, line
            if self.count > self._n_entries:
                raise FileFormatError(f"the size line announces {self._n_entries} entries, but the file has more")
            if len(line) == _LONGEST_ENTRY:
                raise FileFormatError(f"entry {self.count} has {len(line)} characters or more, but 1024 are allowed")
            yield line


def _parse_with_numpy(file: BoundedReader, header: _Header) -> NDArray[Any]:
    """Return the entries, one per line, as a structured array."""
    numbers = _FIELDS[header.field].numbers
    lines = _Lines(file, header.n_entries)
    iterator = iter(lines)
    found = np.empty(0, numbers)
    first = next(iterator, None)
    if first is not None:
        try:
            found = np.loadtxt(chain([first], iterator), numbers, comments=None, ndmin=1, encoding="ascii")
        except FileFormatError:
            raise
        except ValueError as error:
            names = ", ".join(name for name, _ in numbers)
            raise FileFormatError(
                f"entry {lines.count} is {lines.line[:60]!r}, but {names} ({header.field}) are needed"
            ) from error
    if len(found) != header.n_entries:
        raise FileFormatError(f"the size line announces {header.n_entries} entries, but the file has {len(found)}")
    return found


def _mirror(data: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any], header: _Header) -> sparse.csr_array:
    """Return the matrix, including the half that a symmetric file omits."""
    if header.symmetry != "general":
        beside = rows != columns
        mirrored = data[beside]
        if header.symmetry == "skew-symmetric":
            mirrored = -mirrored
        elif header.symmetry == "hermitian":
            mirrored = mirrored.conj()
        rows, columns = np.concatenate([rows, columns[beside]]), np.concatenate([columns, rows[beside]])
        data = np.concatenate([data, mirrored])
    return file_checks.from_coordinates(data, rows, columns, header.shape)


def _apply_note(matrix: Any, note: str) -> tuple[sparse.csr_array, tuple[ConvGeometry, str] | None]:
    """Return the matrix in the dtype that the comment names, and the geometry and order of its layer."""
    if not note:
        return matrix, None
    values = geometry_json.parse(note, "the comment")
    if not isinstance(values, dict) or set(values) - {"checksum"} != {"dtype", "geometry"}:
        raise FileFormatError(f"the comment has {note[:60]!r}, but the fields 'dtype' and 'geometry' are needed")
    matrix = file_checks.with_dtype(matrix, values["dtype"])
    if "checksum" in values:
        file_checks.check_checksum(values["checksum"], matrix, geometry_json.dump(values["geometry"]))
    if values["geometry"] is None:
        return matrix, None
    return matrix, geometry_json.to_layer(values["geometry"], "the geometry in the comment")


def _read_header(file: BoundedReader, limit: ReadLimit) -> _Header:
    words = _line(file).lower().split()
    if len(words) != 5 or words[:2] != ["%%matrixmarket", "matrix"]:
        raise FileFormatError(
            f"it starts with {' '.join(words)[:60]!r}, but a Matrix Market file starts with "
            "'%%MatrixMarket matrix coordinate <field> <symmetry>'"
        )
    layout, field, symmetry = words[2:]
    if layout != "coordinate":
        raise FileFormatError(
            f"its layout is {layout!r}, but only 'coordinate' is sparse; read it with scipy.io.mmread and wrap it "
            "in scipy.sparse.csr_array"
        )
    if field not in _FIELDS:
        raise FileFormatError(f"its field is {field!r}, but {', '.join(_FIELDS)} are known")
    if symmetry not in _SYMMETRIES:
        raise FileFormatError(f"its symmetry is {symmetry!r}, but {', '.join(_SYMMETRIES)} are known")
    note = ""
    while (line := _line(file)).startswith("%") or (line and not line.strip()):
        if line.startswith("%" + _MARK):
            note += line[1 + len(_MARK) :].rstrip("\r\n")
            limit.require_text(len(note), "the comment")
        elif _NOTE.search(line):
            raise FileFormatError(f"its comment {line[:40]!r} does not begin with {'%' + _MARK!r}; the file is damaged")
    sizes = line.split()
    if len(sizes) != 3 or not all(size.isascii() and size.isdigit() and len(size) < 20 for size in sizes):
        raise FileFormatError(f"its size line is {line[:60]!r}, but rows, columns and entries are needed")
    rows, columns, n_entries = map(int, sizes)
    file_checks.check_shape((rows, columns))
    if symmetry == "skew-symmetric" and field == "unsigned-integer":
        raise FileFormatError("it is skew-symmetric, but its field 'unsigned-integer' has no negative entries")
    if symmetry != "general" and rows != columns:
        raise FileFormatError(f"it is {symmetry}, but has {rows} rows and {columns} columns")
    return _Header(field, symmetry, (rows, columns), n_entries, note)


def _line(file: BoundedReader) -> str:
    """Return the next line of the header."""
    line = file.readline(PIECE)
    if len(line) == PIECE:
        raise FileFormatError(f"a line of its header has more than {PIECE} characters, but 1024 are allowed")
    return line.decode("latin-1")


def _check_size(header: _Header, n_numbers: int, n_bytes: int) -> None:
    """Raise if the file is too short for the entries that the size line announces."""
    least = header.n_entries * 2 * n_numbers - 1  # one digit and one separator each; the last separator may be missing
    if least > n_bytes:
        raise FileFormatError(
            f"the size line announces {header.n_entries} entries, which need at least {least} bytes, "
            f"but {n_bytes} follow; the file is truncated or forged"
        )
