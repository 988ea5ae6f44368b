"""NumPy archives: what SciPy reads and writes, and archives that are forged."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from convmatrix.io import geometry_json, load, save
from tests.cases import for_each
from tests.hostile_files import GEOMETRY, MATRIX, TOO_LARGE, Files, check_all

ROWS, COLUMNS = MATRIX.shape
N = MATRIX.nnz


# --- what SciPy reads and writes --------------------------------------------------------------------------------------


def test_scipy_reads_what_is_saved(tmp_path: Path) -> None:
    save(tmp_path / "A.npz", MATRIX, GEOMETRY)
    read = sparse.load_npz(tmp_path / "A.npz")
    assert isinstance(read, sparse.csr_array)
    np.testing.assert_array_equal(read.data, MATRIX.data)
    np.testing.assert_array_equal(read.indices, MATRIX.indices)
    np.testing.assert_array_equal(read.indptr, MATRIX.indptr)


def test_geometry_is_plain_text_in_the_archive(tmp_path: Path) -> None:
    save(tmp_path / "A.npz", MATRIX, GEOMETRY)
    with zipfile.ZipFile(tmp_path / "A.npz") as file:
        fields = json.loads(file.read("geometry.json"))
    assert fields["input_shape"] == [5, 4]
    assert fields["boundary"] == ["zero", "zero"]
    assert fields["connections"] is None


def test_same_matrix_gives_same_bytes(tmp_path: Path) -> None:
    for name in ("A.npz", "B.npz"):
        save(tmp_path / name, MATRIX, GEOMETRY)
    assert (tmp_path / "A.npz").read_bytes() == (tmp_path / "B.npz").read_bytes()


@for_each("compressed", [True, False])
@for_each("as_array", [True, False])
@for_each("layout", ["csr", "csc", "bsr", "coo", "dia"])
def test_reads_what_scipy_saves(layout: Any, as_array: bool, compressed: bool, tmp_path: Path) -> None:
    matrix = (sparse.coo_array if as_array else sparse.coo_matrix)(MATRIX).asformat(layout)
    sparse.save_npz(tmp_path / "A.npz", matrix, compressed=compressed)
    read, geometry = load(tmp_path / "A.npz")
    assert geometry is None
    assert isinstance(read, sparse.csr_array)
    assert read.has_canonical_format
    np.testing.assert_array_equal(read.toarray(), MATRIX.toarray())


def test_blocks_keep_their_zeros(tmp_path: Path) -> None:
    matrix = sparse.bsr_array((np.array([[[1.0, 0.0], [0.0, 2.0]]]), [1], [0, 1, 1]), shape=(4, 4))
    sparse.save_npz(tmp_path / "A.npz", matrix)
    read, _ = load(tmp_path / "A.npz")
    np.testing.assert_array_equal(read.data, [1.0, 0.0, 0.0, 2.0])


def test_coordinates_in_one_array(tmp_path: Path) -> None:
    arrays = {"format": b"coo", "shape": (2, 3), "data": [5, 6, 7], "coords": [[1, 0, 1], [2, 1, 2]]}
    (tmp_path / "A.npz").write_bytes(archive_of(arrays))
    read, _ = load(tmp_path / "A.npz")
    np.testing.assert_array_equal(read.toarray(), [[0, 6, 0], [0, 0, 12]])


@for_each("layout", ["csr", "csc"])
def test_unsorted_and_repeated_indices_are_made_canonical(layout: Any, tmp_path: Path) -> None:
    arrays = {"format": layout.encode(), "shape": (2, 4), "data": [1.0, 2.0, 4.0, 8.0]}
    arrays |= {"indices": [1, 0, 1, 0], "indptr": [0, 3, 4] if layout == "csr" else [0, 3, 4, 4, 4]}
    (tmp_path / "A.npz").write_bytes(archive_of(arrays))
    read, _ = load(tmp_path / "A.npz")
    assert read.has_canonical_format
    expected = [[2, 5, 0, 0], [8, 0, 0, 0]] if layout == "csr" else [[2, 8, 0, 0], [5, 0, 0, 0]]
    np.testing.assert_array_equal(read.toarray(), expected)


def test_entries_beyond_the_index_pointer_are_none(tmp_path: Path) -> None:
    arrays = {"format": b"csr", "shape": (1, 4), "data": [1, 2, 3], "indices": [0, 2, 99], "indptr": [0, 2]}
    (tmp_path / "A.npz").write_bytes(archive_of(arrays))
    np.testing.assert_array_equal(load(tmp_path / "A.npz")[0].toarray(), [[1, 0, 2, 0]])


@for_each("index", ["<i2", ">i4", "<u8", "<i8"])
def test_numbers_of_any_byte_order_and_size(index: str, tmp_path: Path) -> None:
    arrays = {"format": b"csr", "shape": (1, 4), "data": np.array([1.5, 2.5], ">f4")}
    arrays |= {"indices": np.array([1, 3], index), "indptr": np.array([0, 2], index)}
    (tmp_path / "A.npz").write_bytes(archive_of(arrays))
    read, _ = load(tmp_path / "A.npz")
    assert read.dtype == np.float32
    assert read.dtype.isnative
    assert read.indices.dtype == (np.int64 if index == "<i8" else np.int32)
    np.testing.assert_array_equal(read.toarray(), [[0, 1.5, 0, 2.5]])


def test_arrays_in_column_major_order(tmp_path: Path) -> None:
    data: Any = np.asfortranarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    expected = sparse.dia_array((data, [0, 1]), shape=(3, 3))
    (tmp_path / "A.npz").write_bytes(diagonals(data, [0, 1]))
    np.testing.assert_array_equal(load(tmp_path / "A.npz")[0].toarray(), expected.toarray())


# --- archives that are forged -----------------------------------------------------------------------------------------


def npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    """Return an array as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), allow_pickle=allow_pickle)
    return buffer.getvalue()


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, member in members.items():
            file.writestr(name, member)
    return buffer.getvalue()


def archive_of(arrays: dict[str, Any]) -> bytes:
    return archive({f"{name}.npy": npy(array) for name, array in arrays.items()})


def members(**changes: bytes | None) -> dict[str, bytes]:
    """Return the members of a good archive with other bytes for some arrays; None leaves one out."""
    content: dict[str, bytes | None] = {
        "indices.npy": npy(MATRIX.indices),
        "indptr.npy": npy(MATRIX.indptr),
        "format.npy": npy(b"csr"),
        "shape.npy": npy(MATRIX.shape),
        "data.npy": npy(MATRIX.data),
        **{f"{name}.npy": member for name, member in changes.items()},
    }
    return {name: member for name, member in content.items() if member is not None}


def forged(**changes: bytes | None) -> bytes:
    return archive(members(**changes))


def with_values(**changes: Any) -> bytes:
    return forged(**{name: npy(array) for name, array in changes.items()})


def with_text(text: bytes) -> bytes:
    return archive({**members(), "geometry.json": text})


def with_fields(**changes: Any) -> bytes:
    return with_text(json.dumps({**geometry_json.to_values(GEOMETRY), **changes}).encode())


def set_at(array: Any, place: int, value: int, dtype: Any = None) -> Any:
    copy = array.astype(dtype or array.dtype)
    copy[place] = value
    return copy


def header(text: str | bytes, payload: bytes = b"", version: int = 1) -> bytes:
    """Return a .npy file whose header says anything."""
    line = (text.encode() if isinstance(text, str) else text) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(line)) + line + payload


def described(descr: str, shape: str, payload: bytes = b"") -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}", payload)


def patched(content: bytes, offset: int, layout: Any, *values: int) -> bytes:
    """Return an archive with other numbers in the directory's entry of data.npy."""
    start = content.index(b"PK\x01\x02")
    while content[start + 46 : start + 54] != b"data.npy":
        start = content.index(b"PK\x01\x02", start + 1)
    patch = struct.pack(layout, *values)
    return content[: start + offset] + patch + content[start + offset + len(patch) :]


def diagonals(data: Any, offsets: list[int], shape: tuple[int, int] = (3, 3)) -> bytes:
    return archive_of({"format": b"dia", "shape": shape, "data": data, "offsets": offsets})


def coordinates(rows: list[int], columns: list[int]) -> bytes:
    return archive_of({"format": b"coo", "shape": (3, 3), "data": np.ones(2), "row": rows, "col": columns})


def blocks(data: Any, index: int, shape: tuple[int, int]) -> bytes:
    return archive_of({"format": b"bsr", "shape": shape, "data": data, "indices": [index], "indptr": [0, 1, 1]})


def test_forged_indices(tmp_path: Path) -> None:
    indices, indptr = MATRIX.indices, MATRIX.indptr
    files: Files = {
        "index too large": (
            with_values(indices=set_at(indices, 3, COLUMNS)),
            f".* {COLUMNS}, but .* has {COLUMNS} ",
        ),
        "index negative": (with_values(indices=set_at(indices, 3, -1)), "the index array .* -1"),
        "index of int64": (
            with_values(indices=set_at(indices, 3, 2**63 - 1, np.int64)),
            "the index array .* 9223372036854775807",
        ),
        "index of uint64": (
            with_values(indices=set_at(indices, 3, 2**64 - 1, np.uint64)),
            "the index array .* 1844674407370955161",
        ),
        "indices are floats": (with_values(indices=indices.astype(float)), "float64, but indices are integers"),
        "indices too few": (
            with_values(indices=indices[:-1]),
            f"data.npy has {N} entries, but indices.npy has {N - 1}",
        ),
        "data too few": (with_values(data=MATRIX.data[:-1]), f"data.npy has {N - 1} entries, but indices.npy has {N}"),
        "pointer too short": (with_values(indptr=indptr[:-1]), f"{ROWS} entries, but .* needs {ROWS + 1}"),
        "pointer empty": (with_values(indptr=indptr[:0]), f"0 entries, but .* needs {ROWS + 1}"),
        "pointer ends beyond": (with_values(indptr=set_at(indptr, -1, N + 1)), f"ends with {N + 1}, but there are {N}"),
        "pointer ends negative": (with_values(indptr=set_at(indptr, -1, -5)), "from .* to -5"),
        "pointer starts at 1": (with_values(indptr=set_at(indptr, 0, 1)), "starts with 1"),
        "pointer falls": (with_values(indptr=set_at(indptr, 2, N)), f"from {N}"),
        "pointer of uint64": (with_values(indptr=set_at(indptr, 2, 2**64 - 1, np.uint64)), "from 184467440737"),
        "csc with the pointer of csr": (with_values(format=b"csc"), f"{ROWS + 1} entries, but .* needs {COLUMNS + 1}"),
        "coo row too large": (coordinates([0, 7], [0, 1]), "the row index contains 7, but the matrix has 3 there"),
        "coo column negative": (coordinates([0, 1], [0, -2]), "the column index contains -2"),
        "coo lengths": (coordinates([0, 1, 2], [0, 1]), "data.npy has 2 entries, but row.npy has 3"),
        "coo of three axes": (
            archive_of({"format": b"coo", "shape": (3, 3), "data": np.ones(2), "coords": np.zeros((3, 2), int)}),
            "has 3 rows, but a matrix has 2",
        ),
        "dia lengths": (diagonals(np.ones((2, 3)), [0]), "data.npy has 2 entries, but offsets.npy has 1"),
        "dia offsets twice": (diagonals(np.ones((2, 3)), [1, 1]), "of the 2 offsets only 1 differ"),
        "dia offset below": (diagonals(np.ones((1, 3)), [-3]), r"offsets .* from -3 to -3, .* has diagonals -2 to 2"),
        "dia offset above": (diagonals(np.ones((1, 3)), [3]), r"offsets .* from 3 to 3"),
        "dia offset out of range": (diagonals(np.ones((1, 3)), [-(2**62)]), "offsets .* from -4611686018427387904 to"),
        "bsr blocks do not divide": (blocks(np.ones((1, 2, 2)), 0, (3, 3)), "do not divide"),
        "bsr blocks empty": (blocks(np.ones((1, 0, 2)), 0, (4, 4)), "do not divide"),
        "bsr index": (blocks(np.ones((1, 2, 2)), 2, (4, 4)), "the index array .* 2, but the matrix has 2"),
    }
    check_all(tmp_path / "files", "npz", files)


def test_forged_shapes(tmp_path: Path) -> None:
    files: Files = {
        "of one size": (with_values(shape=[ROWS]), "shape has 1 entries"),
        "of three": (with_values(shape=[ROWS, COLUMNS, 1]), "shape has 3 entries"),
        "negative": (with_values(shape=[-1, COLUMNS]), "has -1 rows, but 0 to 9223372036854775806"),
        "past int64": (with_values(shape=np.array([2**64 - 1, 5], np.uint64)), "has 18446744073709551615 rows"),
        "largest columns": (with_values(shape=[ROWS, 2**63 - 1]), "has 9223372036854775807 columns"),
        "of floats": (with_values(shape=[1.0, 2.0]), "shape.npy has .* float64, .*shape"),
        "a number": (with_values(shape=3), "0 axes .* but 1 are needed"),
        "of a million": (with_values(shape=np.ones(10**6, int)), "shape"),
        "rows 10^15": (with_values(shape=[10**15, COLUMNS]), "25 entries, but .* needs 1000000000000001"),
        "rows too few": (with_values(shape=[ROWS - 1, COLUMNS]), f"{ROWS + 1} entries, but .* needs {ROWS}"),
        "columns too few": (with_values(shape=[ROWS, 3]), "but the matrix has 3 there"),
        "no columns": (with_values(shape=[ROWS, 0]), "but the matrix has 0 there"),
        "rows of diagonals 10^18": (
            diagonals(np.ones((1, 1)), [0], (10**18, 10**18)),
            rf"\(8\d{{18}} bytes\) {TOO_LARGE}",
        ),
    }
    check_all(tmp_path / "files", "npz", files)


def test_forged_array_headers(tmp_path: Path) -> None:
    class Exploding:
        def __reduce__(self) -> tuple[Any, ...]:
            return exit, (99,)

    pickled = npy(np.array([Exploding(), 1], dtype=object), allow_pickle=True)
    entries = f"({N},)"
    files: Files = {
        "pickle as data": (forged(data=pickled), r"pickled Python objects \('\|O'\), which can run"),
        "pickle as format": (forged(format=pickled), "pickled Python objects"),
        "pickle as shape": (forged(shape=pickled), "pickled Python objects"),
        "object without pickle": (forged(data=described("'|O'", entries, bytes(8 * N))), "pickled Python objects"),
        "structured": (with_values(data=np.zeros(N, "f8,f8")), "plain NumPy array"),
        "code": (forged(data=described("'<f8' if exit(99) else ''", entries)), "plain NumPy array"),
        "unknown type": (forged(data=described("'<f3'", "(1,)", b"abc")), "has the dtype '<f3'"),
        "no type": (forged(data=described("'<U0'", entries)), "has the dtype '<U0'"),
        "dates": (with_values(data=np.zeros(N, "M8[s]")), r"has the dtype '<M8\[s\]'"),
        "raw bytes": (with_values(data=np.zeros(N, "V8")), "has the dtype '.V8'"),
        "text": (with_values(data=["a"] * N), "has the dtype <U1, but a matrix has one of bool, int8"),
        "float16": (with_values(data=MATRIX.data.astype(np.float16)), "has the dtype float16, but"),
        "complex256": (forged(data=described("'<c32'", entries, bytes(32 * N))), "the dtype complex256|dtype '<c32'"),
        "bool of 7": (forged(data=described("'|b1'", entries, b"\x07" * N)), "the byte 7"),
        "one entry more": (forged(data=described("'<f8'", f"({N + 1},)", MATRIX.data.tobytes())), "but the member has"),
        "one entry less": (forged(data=described("'<f8'", f"({N - 1},)", MATRIX.data.tobytes())), "but the member has"),
        "huge": (forged(data=described("'<f8'", "(9999999999999999999,)", bytes(8))), "but the member has"),
        "2^64 bytes": (forged(data=described("'<f8'", f"({2**61},)")), "is 18446744073709551[67].. bytes"),
        "negative": (forged(data=described("'<f8'", "(-1,)")), "plain NumPy array"),
        "nested": (forged(data=described("'<f8'", "(" * 4000 + ")" * 4000)), "plain NumPy array"),
        "header of 60 kB": (forged(data=header(b" " * 60_000)), "header of 60001 bytes, but 10000 are allowed"),
        "header of 4 GB": (forged(data=b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}"), "header of 4294967295 bytes"),
        "header cut": (forged(data=b"\x93NUMPY\x01\x00\x76\x00{'descr'"), "plain NumPy array"),
        "version 9": (forged(data=header("{}", version=9)), "NumPy array"),
        "empty": (forged(data=b""), "NumPy array: it starts with b''"),
        "no magic": (forged(data=b"MAGIC" * 40), "NumPy array: it starts with b'MAGICMAG'"),
        "two axes": (with_values(data=MATRIX.data.reshape(-1, 1)), "has 2 axes .* but 1 are needed"),
        "no axes": (with_values(data=1.0), "has 0 axes"),
        "format lil": (with_values(format=b"lil"), "sparse format is 'lil', but csr, csc, bsr, coo, dia are known"),
        "format of an attribute": (with_values(format="__class__"), "sparse format is '__class__'"),
        "format a number": (with_values(format=3), "format"),
        "format long": (with_values(format="c" * 100), "format"),
    }
    check_all(tmp_path / "files", "npz", files)


def test_forged_zip_directories(tmp_path: Path) -> None:
    good, stored = forged(), archive(members(), zipfile.ZIP_STORED)
    duplicate = archive({**members(), "dat_.npy": npy(MATRIX.data * 2)}).replace(b"dat_.npy", b"data.npy")
    many = archive({**{f"{number:0200}": b"" for number in range(5000)}, **members()})
    files: Files = {
        "no data": (forged(data=None), "no member 'data.npy' .it has format.npy, indices.npy"),
        "no format": (forged(format=None), "no member 'format.npy'"),
        "empty": (archive({}), r"no member 'format.npy' \(it has none\)"),
        "member lost": (good[:-12] + b"\x09\x00" + good[-10:], "declares 9 members, but lists"),
        "other arrays": (archive_of({"x": [1], "y": [2]}), r"member 'x.npy', which is not of a sparse matrix"),
        "lzma": (archive(members(), zipfile.ZIP_LZMA), "compression type 14, but NumPy writes 0 or 8"),
        "bzip2": (archive(members(), zipfile.ZIP_BZIP2), "compression type 12"),
        "method 99": (patched(good, 10, "<H", 99), "compression type 99"),
        "duplicate": (duplicate, "two members 'data.npy'"),
        "declares a gigabyte": (
            patched(good, 24, "<I", 10**9),
            "declares 1000000000 bytes, but its .* at most",
        ),
        "stored 4 GB": (patched(stored, 20, "<II", 2**32 - 2, 2**32 - 2), "declares 4294967294 bytes from byte"),
        "declares 10 bytes": (patched(good, 24, "<I", 10), "is damaged: Bad CRC-32|plain NumPy array"),
        "declares an entry more": (
            patched(forged(data=npy(MATRIX.data)[:-8]), 24, "<I", 128 + 8 * N),
            f"data.npy declares {8 * N} bytes of entries, but .* {8 * N - 8}",
        ),
        "declares a byte more": (patched(good, 24, "<I", 129 + 8 * N), "but the member has"),
        "offset beyond": (patched(good, 42, "<I", 10**9), "from byte 1000000000 on, but the file has"),
        "offset of another": (patched(good, 42, "<I", 0), "is damaged: File name in directory"),
        "encrypted": (patched(good, 8, "<H", 1), "is damaged: .*encrypted"),
        "version 90": (patched(good, 6, "<H", 90), "damaged: zip file version 9.0"),
        "checksum": (patched(good, 16, "<I", 1234), "damaged: Bad CRC-32"),
        "directory of 4 GB": (good[:-10] + struct.pack("<I", 2**32 - 2) + good[-6:], "is damaged|declares a part"),
        "directory before the file": (good[:-6] + struct.pack("<I", 2**32 - 2) + good[-2:], "is damaged"),
        "directory of megabytes": (many, "declares a part of .* bytes, but at most 262144"),
    }
    check_all(tmp_path / "files", "npz", files)


def test_bombs(tmp_path: Path) -> None:
    n = 2_000_000
    arrays = {"format": b"csr", "shape": (1, n), "data": np.zeros(n), "indptr": np.array([0, n], np.int32)}
    zeros = np.zeros(n)
    files: Files = {
        "consistent": (archive_of({**arrays, "indices": np.arange(n, dtype=np.int32)}), TOO_LARGE),
        "data only": (with_values(data=zeros), f"{n} entries, but indices.npy has {N}"),
        "indices only": (with_values(indices=zeros.astype(int)), f"{N} entries, but indices.npy has {n}"),
        "declares little": (patched(with_values(data=zeros), 24, "<I", 128 + 8 * N), "damaged: Bad CRC|but the member"),
        "declares little, and so does its header": (
            patched(forged(data=npy(MATRIX.data) + bytes(3 * 10**7)), 24, "<I", 128 + 8 * N),
            "is damaged: Bad CRC-32",
        ),
        "JSON of blanks": (
            with_text(b" " * (2**24 + 1)),
            "declares 16777217 bytes, but a geometry has at most 16777216",
        ),
        "JSON of lists": (with_text(b"[" + b"[]," * 500_000 + b"[]]"), TOO_LARGE),
    }
    assert max(len(content) for content, _ in files.values()) < 2**24
    check_all(tmp_path / "files", "npz", files)


def test_forged_geometries(tmp_path: Path) -> None:
    many = {"input_shape": [2**60] * 1000, "kernel_shape": [1] * 1000}
    other = rf"the matrix has shape \({ROWS}, {COLUMNS}\), but ConvGeometry"
    files: Files = {
        "NaN": (
            with_fields(stride=[float("nan"), 1]),
            "geometry.json is not JSON: NaN is not a JSON number|NaN|Infinity",
        ),
        "infinity": (with_fields(in_channels=float("inf")), "Infinity is not a JSON number|NaN|Infinity"),
        "overflow": (with_text(b'{"input_shape": [1e999], "kernel_shape": [1]}'), "must be an integer"),
        "deep lists": (with_text(b"[" * 10**5), "nested too deeply"),
        "deep objects": (with_text(b'{"a":' * 10**5), "nested too deeply"),
        "many digits": (with_text(b"9" * 10**5), "is not JSON"),
        "no UTF-8": (with_text(b'{"input_shape": "\xff"}'), "is not JSON"),
        "empty": (with_text(b""), "is not JSON"),
        "cut": (with_text(b'{"input_shape": ['), "is not JSON"),
        "list": (with_text(b"[1, 2]"), "a list, .*fields"),
        "name twice": (with_text(b'{"input_shape": 5, "input_shape": 6}'), "2 names are given, but .*1 differ"),
        "unknown field": (with_fields(colour="red"), "has the field 'colour', but a geometry has input_shape, kernel_"),
        "private field": (with_fields(_output_shape=[1]), "has the field '_output_shape'"),
        "no input": (with_text(b'{"kernel_shape": [3]}'), "has no field 'input_shape'"),
        "no kernel": (with_text(b'{"input_shape": [3]}'), "has no field 'kernel_shape'"),
        "1000 axes": (with_text(json.dumps(many).encode()), "has 1000 axes in input_shape, but .* at most 64"),
        "string for a shape": (with_fields(input_shape="55"), "geometry.json is not"),
        "bool for a stride": (with_fields(stride=True), "geometry.*stride must be an integer"),
        "null for groups": (with_fields(groups=None), "geometry.*groups must be an integer"),
        "kernel too large": (with_fields(kernel_shape=[50, 50]), "kernel does not fit"),
        "boundary": (with_fields(boundary=["zero", "lava"]), "boundary 'lava' is unknown"),
        "ragged connections": (with_fields(connections=[[1], [1, 0]]), "geometry.json is not"),
        "huge sizes": (with_fields(input_shape=[2**61, 2**61]), other),
        "past 64 bits": (with_fields(input_shape=[2**70, 3]), "geometry.json is not"),
        "a megabyte in an error": (with_fields(groups="x" * 10**5), "groups must be an integer, but is 'xxx"),
        "another layer": (with_fields(input_shape=[7, 7]), other),
        "other channels": (with_fields(out_channels=4), other),
    }
    check_all(tmp_path / "files", "npz", files)
