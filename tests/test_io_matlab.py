"""MATLAB 5 files: what SciPy reads and writes, what double cannot hold, and files that are forged."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy
from scipy import sparse
from scipy.io import loadmat, savemat

from convmatrix.io import geometry_json, load, save
from tests.cases import for_each
from tests.hostile_files import (
    ANYTHING,
    GEOMETRY,
    MATRIX,
    TOO_LARGE,
    Files,
    check_all,
    damages,
    digest,
    saved,
    truncations,
)

# --- what SciPy reads and writes --------------------------------------------------------------------------------------


def test_scipy_reads_what_is_saved(tmp_path: Path) -> None:
    save(tmp_path / "A.mat", MATRIX, GEOMETRY)
    read = loadmat(tmp_path / "A.mat")
    assert {name for name in read if not name.startswith("__")} == {"A", "checksum", "geometry"}
    np.testing.assert_array_equal(read["A"].toarray(), MATRIX.toarray())
    assert read["A"].nnz == MATRIX.nnz
    assert read["geometry"].item() == geometry_json.dump(geometry_json.to_values(GEOMETRY))


def test_dtype_is_named_where_double_is_not_it(tmp_path: Path) -> None:
    save(tmp_path / "A.mat", MATRIX.astype(np.float32))
    read = loadmat(tmp_path / "A.mat")
    assert {name for name in read if not name.startswith("__")} == {"A", "checksum", "dtype"}
    assert read["dtype"].item() == "float32"
    assert read["A"].dtype == np.float64


@for_each("do_compression", [False, True])
@for_each("name", ["A", "weights"])
@for_each("dtype", [float, complex, bool])
def test_reads_what_scipy_writes(dtype: Any, name: str, do_compression: bool, tmp_path: Path) -> None:
    matrix = (MATRIX * (1 + 2j)).astype(complex) if dtype is complex else MATRIX.astype(dtype)
    others = {"cells": np.array(["a", 1], object), "full": np.eye(3), "structure": {"x": 1}, "text": "hello"}
    savemat(tmp_path / "A.mat", {**others, name: matrix.tocsc(), "z": 5}, do_compression=do_compression)
    read, geometry = load(tmp_path / "A.mat")
    assert geometry is None
    assert read.dtype == dtype
    np.testing.assert_array_equal(read.toarray(), matrix.toarray())


def test_other_files_keep_their_own_meaning_of_geometry(tmp_path: Path) -> None:
    savemat(tmp_path / "A.mat", {"geometry": "a triangle", "dtype": "float", "S": MATRIX.tocsc()})
    assert load(tmp_path / "A.mat")[1] is None


def test_matrices_without_entries(tmp_path: Path) -> None:
    save(tmp_path / "A.mat", sparse.csr_array((3, 5)))
    assert load(tmp_path / "A.mat")[0].shape == (3, 5)
    assert loadmat(tmp_path / "A.mat")["A"].shape == (3, 5)


WIDTHS = {3: 2, 4: 2, 5: 4, 6: 4, 9: 8}  # bytes per number, by element type; others are bytes


def big_endian(elements: bytes) -> bytes:
    """Return whole elements as a machine with the other byte order writes them."""
    written = b""
    while elements:
        code, length = struct.unpack("<II", elements[:8])
        payload, elements = elements[8 : 8 + length], elements[8 + length + -length % 8 :]
        if code == 14:
            payload = big_endian(payload)
        elif width := WIDTHS.get(code):
            payload = np.frombuffer(payload, f"<u{width}").astype(f">u{width}").tobytes()
        written += struct.pack(">II", code, len(payload)) + payload + bytes(-len(payload) % 8)
    return written


def test_byte_order_of_other_machines(tmp_path: Path) -> None:
    header = saved("mat")[:124] + b"\x01\x00MI"
    (tmp_path / "A.mat").write_bytes(header + big_endian(variable(*sparse_elements())))
    np.testing.assert_array_equal(load(tmp_path / "A.mat")[0].toarray(), [[1, 0], [0, 0], [0, 2]])
    if tuple(map(int, scipy.__version__.split(".")[:2])) >= (1, 17):  # SciPy 1.15 refuses such sparse matrices
        np.testing.assert_array_equal(loadmat(tmp_path / "A.mat")["A"].data, [1, 2])
    text = '{"input_shape": [3], "kernel_shape": [2]}'
    elements = sparse_elements(dims=ints(2, 3), rows=ints(0, 1), pointers=ints(0, 1, 2, 2))
    geometry = text_elements(b"geometry", text.encode("utf-16-le"), dims=ints(1, len(text)), code=4)
    (tmp_path / "B.mat").write_bytes(header + big_endian(variable(*elements) + variable(*geometry)))
    read = load(tmp_path / "B.mat")[1]
    assert read is not None
    assert read.input_shape == (3,)


def test_numbers_stored_in_less_than_a_double(tmp_path: Path) -> None:
    parts = (b"\x01\xfe",)
    elements = sparse_elements(parts=parts, part_code=1, rows=b"\x00\x02", rows_code=2)
    (tmp_path / "A.mat").write_bytes(saved("mat")[:128] + variable(*elements))
    read, _ = load(tmp_path / "A.mat")
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read.toarray(), [[1, 0], [0, 0], [0, -2]])


def test_variables_without_a_name_are_passed_over(tmp_path: Path) -> None:
    unnamed = element(14, element(6, ints(17, 0)))
    (tmp_path / "A.mat").write_bytes(saved("mat")[:128] + unnamed + variable(*sparse_elements()))
    np.testing.assert_array_equal(load(tmp_path / "A.mat")[0].toarray(), [[1, 0], [0, 0], [0, 2]])


def test_compression_that_goes_nowhere_for_a_while(tmp_path: Path) -> None:
    packed = zlib.compress(variable(*sparse_elements()))
    packed = packed[:2] + b"\0\0\0\xff\xff" * 200_000 + packed[2:]  # empty blocks
    (tmp_path / "A.mat").write_bytes(saved("mat")[:128] + struct.pack("<II", 15, len(packed)) + packed)
    np.testing.assert_array_equal(load(tmp_path / "A.mat")[0].toarray(), [[1, 0], [0, 0], [0, 2]])


def test_short_elements(tmp_path: Path) -> None:
    elements = sparse_elements()
    elements[2] = struct.pack("<HH", 1, 1) + b"A\0\0\0"
    (tmp_path / "A.mat").write_bytes(saved("mat")[:128] + variable(*elements))
    np.testing.assert_array_equal(load(tmp_path / "A.mat")[0].toarray(), [[1, 0], [0, 0], [0, 2]])


def test_text_in_two_bytes_a_character(tmp_path: Path) -> None:
    text = '{"input_shape": [3], "kernel_shape": [2]}'
    geometry = variable(*text_elements(b"geometry", text.encode("utf-16-le"), dims=ints(1, len(text)), code=4))
    elements = sparse_elements(dims=ints(2, 3), rows=ints(0, 1), pointers=ints(0, 1, 2, 2))
    (tmp_path / "A.mat").write_bytes(saved("mat")[:128] + variable(*elements) + geometry)
    read = load(tmp_path / "A.mat")[1]
    assert read is not None
    assert read.input_shape == (3,)


# --- what the format cannot hold --------------------------------------------------------------------------------------


@for_each("value", [2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63) + 1])
def test_integers_that_double_does_not_hold_are_refused(value: int, tmp_path: Path) -> None:
    matrix = sparse.csr_array(np.array([[1, value]]))
    with pytest.raises(ValueError, match=rf"entry {value} \(int64\) is not exact in MATLAB's double; save to .npz"):
        save(tmp_path / "A.mat", matrix)
    assert not list(tmp_path.iterdir())


@for_each("value", [2**53, -(2**53), 2**60, -(2**63)])
def test_integers_that_double_holds_come_back(value: int, tmp_path: Path) -> None:
    save(tmp_path / "A.mat", sparse.csr_array(np.array([[1, value]])))
    read, _ = load(tmp_path / "A.mat")
    assert read.dtype == np.int64
    assert read[0, 1] == value


def test_largest_unsigned_integers(tmp_path: Path) -> None:
    save(tmp_path / "A.mat", sparse.csr_array(np.array([[2**63]], np.uint64)))
    assert load(tmp_path / "A.mat")[0][0, 0] == 2**63
    with pytest.raises(ValueError, match=r"entry 18446744073709551615 \(uint64\) is not exact"):
        save(tmp_path / "A.mat", sparse.csr_array(np.array([[2**64 - 1]], np.uint64)))


def test_variables_of_two_gigabytes_are_refused(tmp_path: Path) -> None:
    one = (np.ones(1), np.zeros(1, np.int64), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"matrix \(1 x 536870912, 1 entries\) .*2147483792 bytes, .* 2147483647"):
        save(tmp_path / "A.mat", sparse.csr_array(one, shape=(1, 2**29)))
    with pytest.raises(ValueError, match="has 2147483648 columns, but a MATLAB 5 file at most 2147483647"):
        save(tmp_path / "A.mat", sparse.csr_array(one, shape=(1, 2**31)))
    assert not list(tmp_path.iterdir())


def test_too_many_rows_are_refused() -> None:
    from convmatrix.io import matlab

    tall: Any = sparse.csc_array((np.ones(1), np.zeros(1, np.int64), np.array([0, 1])), shape=(2**31, 1))
    with pytest.raises(ValueError, match="has 2147483648 rows, but a MATLAB 5 file at most 2147483647"):
        matlab.write(io.BytesIO(), tall, None)


# --- files that are forged --------------------------------------------------------------------------------------------

HEADER = saved("mat")[:128]


def element(code: int, payload: bytes, declared: int | None = None) -> bytes:
    length = len(payload) if declared is None else declared
    return struct.pack("<II", code, length) + payload + bytes(-len(payload) % 8)


def variable(*elements: bytes, declared: int | None = None) -> bytes:
    return element(14, b"".join(elements), declared)


def ints(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def doubles(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def sparse_elements(
    name: bytes = b"A",
    *,
    flags: int = 5,
    reserved: int = 2,
    dims: bytes = ints(3, 2),
    rows: bytes = ints(0, 2),
    pointers: bytes = ints(0, 1, 2),
    parts: tuple[bytes, ...] = (doubles(1, 2),),
    **codes: int,
) -> list[bytes]:
    """Return the elements of a good sparse variable of shape (3, 2) with two entries, with changes."""
    return [
        element(codes.get("flags_code", 6), struct.pack("<II", flags, reserved)),
        element(codes.get("dims_code", 5), dims),
        element(1, name),
        element(codes.get("rows_code", 5), rows),
        element(5, pointers),
        *(element(codes.get("part_code", 9), part) for part in parts),
    ]


def text_elements(
    name: bytes, text: bytes, *, flags: int = 4, dims: bytes | None = None, code: int = 16
) -> list[bytes]:
    size = ints(1, len(text)) if dims is None else dims
    return [element(6, struct.pack("<II", flags, 0)), element(5, size), element(1, name), element(code, text)]


def compressed(*elements: bytes, declared: int | None = None, cut: int = 0) -> bytes:
    packed = zlib.compress(variable(*elements, declared=declared))
    packed = packed[: len(packed) - cut]
    return struct.pack("<II", 15, len(packed)) + packed


def check(folder: Path, files: Files) -> dict[str, dict[str, Any]]:
    """Check files that begin with a good header."""
    return check_all(folder, "mat", {name: (HEADER + content, pattern) for name, (content, pattern) in files.items()})


def test_damaged_compressed_files(tmp_path: Path) -> None:
    buffer: Any = io.BytesIO()
    savemat(
        buffer,
        {"geometry": geometry_json.dump(geometry_json.to_values(GEOMETRY)), "A": MATRIX.tocsc()},
        do_compression=True,
    )
    content = buffer.getvalue()
    damaged = {**damages(content, 60, seed=3), **truncations(content, 20, seed=4), "whole": content}
    results = check_all(tmp_path / "files", "mat", {name: (bad, ANYTHING) for name, bad in damaged.items()})
    # checksums: a matrix that is read at all is the right one
    assert {result["matrix"] for result in results.values() if "matrix" in result} == {digest(MATRIX)}


def test_forged_file_headers(tmp_path: Path) -> None:
    good = variable(*sparse_elements())
    version_4 = struct.pack("<5i", 0, 1, 1, 0, 2) + b"A\0" + doubles(1) * 20
    files: Files = {
        "version 7.3": (
            HEADER[:124] + b"\x00\x02IM\x89HDF",
            "is a MATLAB 7.3 .HDF5. file; save it in MATLAB with .* '-v7'",
        ),
        "version 3": (HEADER[:124] + b"\x00\x03IM" + good, "version 0x0300, but a MATLAB 5 file has 0x0100"),
        "version 4": (version_4, "MATLAB 5 file"),
        "byte order": (HEADER[:126] + b"XY" + good, "MATLAB 5 file"),
        "empty": (b"", "starts with b'', .*MATLAB 5 file"),
        "header only": (HEADER, r"0 sparse variables \(of none\), but one is needed"),
    }
    check_all(tmp_path / "files", "mat", files)


def test_forged_variables(tmp_path: Path) -> None:
    good = variable(*sparse_elements())
    full = variable(element(6, ints(6, 0)), element(5, ints(1, 1)), element(1, b"A"), element(9, doubles(1)))
    unnamed = element(14, element(6, ints(17, 0)))
    short = struct.pack("<HHI", 6, 9, 0)
    results = check(
        tmp_path / "files",
        {
            "good": (good, ANYTHING),
            "good after one without a name": (unnamed + good, ANYTHING),
            "only text": (variable(*text_elements(b"note", b"hello")), r"0 sparse variables \(of note\)"),
            "two sparse": (variable(*sparse_elements(b"B")) * 2, r"2 sparse variables \(of B, B\), .* named 'A'"),
            "two named A": (good * 2, "2 variables 'A'"),
            "two geometries": (good + variable(*text_elements(b"geometry", b"{}")) * 2, "2 variables 'geometry'"),
            "A is full": (full, r"0 sparse variables \(of A\)"),
            "tag of five bytes": (good + b"\x0e\0\0\0\0", "5 bytes are left at byte .* needs at least 8"),
            "element of another type": (good + element(9, doubles(1)), "is an element of type 9, but 14"),
            "declared 4 GB": (variable(*sparse_elements(), declared=2**32 - 1), "declares 4294967295 bytes, but"),
            "declared 8 more": (good[:4] + ints(len(good)) + good[8:], "bytes, but .* follow; the file is truncated"),
            "declared 32 less": (
                good[:4] + ints(len(good) - 40) + good[8:],
                "element of type|are left in the variable",
            ),
            "declared nothing": (element(14, b""), "should have 8 bytes, but 0 are left in the variable"),
            "1001 variables": (variable(*text_elements(b"x", b"y")) * 1001, "has more than 1000 variables"),
            "flags of doubles": (
                variable(*sparse_elements(flags_code=9)),
                "flags of a variable have the element type 9",
            ),
            "one flag": (variable(element(6, ints(5))), "flags of a variable are 1 numbers, but 2"),
            "sizes of doubles": (
                variable(*sparse_elements(dims_code=9)),
                "sizes of a variable have the element type 9",
            ),
            "sizes of 5 bytes": (variable(*sparse_elements(dims=b"12345")), "5 bytes, .*multiple of 4"),
            "one size": (variable(*sparse_elements(dims=ints(3))), r"'A' has 1 axis \(\(3,\)\), but a matrix has 2"),
            "three sizes": (variable(*sparse_elements(dims=ints(3, 2, 1))), "has 3 axes"),
            "a million sizes": (variable(*sparse_elements(dims=bytes(4 * 10**6))), "4000000 bytes, but at most 4096"),
            "sizes negative": (variable(*sparse_elements(dims=ints(-3, 2))), "has -3 rows"),
            "rows 2^31": (variable(*sparse_elements(dims=ints(2**31 - 1, 2))), TOO_LARGE),
            "columns 2^31": (variable(*sparse_elements(dims=ints(3, 2**31 - 1))), "3 entries, but .* needs 2147483648"),
            "name of a megabyte": (variable(*sparse_elements(b"A" * 10**6)), "name of a variable have 1000000 bytes"),
            "short element of 9": (variable(short), "flags have 9 bytes in a short element, .*at most 4"),
        },
    )
    for name in ("good", "good after one without a name"):
        assert results[name]["matrix"] == digest(sparse.csr_array([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]]))


def test_forged_arrays(tmp_path: Path) -> None:
    double_rows = variable(*sparse_elements(rows=doubles(0, 1), rows_code=9))
    complex_flags = 5 | 0x800
    missing = "should have 8 bytes, but 0 are left in the variable"
    check(
        tmp_path / "files",
        {
            "room for 4 billion": (
                variable(*sparse_elements(reserved=2**32 - 1)),
                "room for 4294967295 entries, but has",
            ),
            "room for one": (variable(*sparse_elements(reserved=1)), "end with 2, but 1 reserved entries"),
            "row too large": (
                variable(*sparse_elements(rows=ints(0, 3))),
                "3, but the matrix has 3 there",
            ),
            "row negative": (variable(*sparse_elements(rows=ints(0, -1))), "the index array .* -1"),
            "rows too few": (variable(*sparse_elements(rows=ints(0))), "end with 2, but 1 row indices"),
            "rows of doubles": (double_rows, "'A': the row indices have the element type 9, but numbers are needed"),
            "rows of no type": (variable(*sparse_elements(rows_code=99)), "row indices have the element type 99"),
            "rows of 7 bytes": (variable(*sparse_elements(rows=b"1234567")), "have 7 bytes, .* 4"),
            "pointers too few": (variable(*sparse_elements(pointers=ints(0, 2))), "has 2 entries, but .* needs 3"),
            "pointers none": (variable(*sparse_elements(pointers=b"")), "has 0 entries, but .* needs 3"),
            "pointers beyond": (variable(*sparse_elements(pointers=ints(0, 1, 9))), "end with 9, but 2"),
            "pointers negative": (variable(*sparse_elements(pointers=ints(0, 1, -1))), "end with -1, but 2"),
            "pointers fall": (variable(*sparse_elements(pointers=ints(0, 5, 2))), "from 5 to 2"),
            "pointers start at 1": (variable(*sparse_elements(pointers=ints(1, 1, 2))), "starts with 1"),
            "values too few": (variable(*sparse_elements(parts=(doubles(1),))), "end with 2, but 1 real parts"),
            "values missing": (variable(*sparse_elements(parts=())), missing),
            "values of text": (variable(*sparse_elements(part_code=16)), "real parts have the element type 16"),
            "imaginary missing": (variable(*sparse_elements(flags=complex_flags)), missing),
            "imaginary too few": (
                variable(*sparse_elements(flags=complex_flags, parts=(doubles(1, 2), doubles(1)))),
                "end with 2, but 1 imaginary parts",
            ),
            "imaginary unannounced": (
                variable(*sparse_elements(parts=(doubles(1, 2), doubles(1, 2)))),
                "24 bytes follow the last element",
            ),
        },
    )


def test_forged_compression_and_bombs(tmp_path: Path) -> None:
    elements = sparse_elements()
    length = sum(map(len, elements))
    zeros = bytes(40_000_000)
    zipped = zlib.compress(element(9, zeros))
    bomb_elsewhere = compressed(*text_elements(b"other", zeros))
    results = check(
        tmp_path / "files",
        {
            "good": (compressed(*elements), ANYTHING),
            "cut": (compressed(*elements, cut=40), "but the file ends after"),
            "checksum cut": (compressed(*elements, cut=4), "ends before its checksum"),
            "noise": (element(15, b"noise" * 9), "a compressed variable is damaged: Error -3"),
            "nothing": (element(15, b""), "should have 8 bytes, but the file ends after 0"),
            "twice": (
                element(15, zlib.compress(compressed(*elements))),
                "holds an element of type 15, but 14 is needed",
            ),
            "declares 4 GB": (
                compressed(*elements, declared=2**32 - 1),
                "declares 4294967295 bytes, but its .* at most",
            ),
            "declares less": (compressed(*elements, declared=40), "are left in the variable"),
            "holds more": (compressed(*elements, zeros, declared=length), "declares .* bytes, but .* more"),
            "bomb": (compressed(*elements[:-1], element(9, zeros)), TOO_LARGE),
            "bomb in a bomb": (element(15, zlib.compress(element(15, zipped))), "holds an element of type 15"),
            "bomb of text": (
                compressed(*text_elements(b"geometry", zeros)) + variable(*elements),
                "bytes, but a geometry has at most 16777216",
            ),
            "bomb elsewhere": (bomb_elsewhere + variable(*elements), ANYTHING),
        },
    )
    for name in ("good", "bomb elsewhere"):
        assert results[name]["matrix"] == digest(sparse.csr_array([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]]))


def test_forged_texts(tmp_path: Path) -> None:
    good = variable(*sparse_elements())

    def geometry(text: bytes, **options: Any) -> bytes:
        return good + variable(*text_elements(b"geometry", text, **options))

    def dtype(name: bytes, *values: float) -> bytes:
        return variable(*sparse_elements(parts=(doubles(*values),))) + variable(*text_elements(b"dtype", name))

    check(
        tmp_path / "files",
        {
            "sparse": (
                good + variable(*sparse_elements(b"geometry")),
                "class 5 and size .3, 2., but a row of characters",
            ),
            "two rows": (geometry(b"{}", dims=ints(2, 1)), "but a row of characters is needed"),
            "doubles": (geometry(doubles(1), code=9), r"characters have the element type 9, but \[2, 4, 16, 17\]"),
            "longer": (geometry(b"{}", dims=ints(1, 9)), "'geometry' declares 9 characters, but .* 2"),
            "no UTF-8": (geometry(b"\xff\xfe"), "'geometry' is not text: 'utf-8' codec"),
            "no JSON": (geometry(b"{"), "'geometry' is not JSON"),
            "NaN": (geometry(b'{"stride": NaN}'), "NaN"),
            "another": (geometry(b'{"input_shape": [5], "kernel_shape": [2]}'), r"shape \(3, 2\), but ConvGeometry"),
            "dtype unknown": (dtype(b"object", 1, 2), "names the dtype 'object', but a matrix has one of bool"),
            "dtype not whole": (dtype(b"int64", 1, 0.5), r"the entry 0.5 \(float64\) is not exact in the dtype int64"),
            "dtype past the range": (dtype(b"int64", 1, 2.0**63), "is not exact in the dtype int64"),
            "dtype negative": (dtype(b"uint8", 1, -1), "the entry -1.0 .* not exact in the dtype uint8"),
            "dtype of NaN": (dtype(b"int8", 1, float("nan")), "the entry nan .* not exact"),
            "dtype bool of 2": (dtype(b"bool", 1, 2), "the entry 2.0 .* not exact in the dtype bool"),
            "dtype complex": (dtype(b"complex64", 1, 2), "one of the two is complex"),
        },
    )
