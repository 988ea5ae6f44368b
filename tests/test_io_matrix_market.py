"""Matrix Market files: every digit, what SciPy reads and writes, and files that are forged."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.io import mmread, mmwrite

import convmatrix as cm
from convmatrix.io import FileFormatError, load, matrix_market, save
from convmatrix.io.file_checks import PIECE
from tests.cases import for_each
from tests.hostile_files import GEOMETRY, MATRIX, TOO_LARGE, check_all

REAL = "%%MatrixMarket matrix coordinate real general\n"
INTEGER = "%%MatrixMarket matrix coordinate integer general\n"


def load_text(folder: Path, text: str) -> Any:
    (folder / "A.mtx").write_text(text)
    return load(folder / "A.mtx")[0]


# --- what is written --------------------------------------------------------------------------------------------------


def test_scipy_reads_what_is_saved(tmp_path: Path) -> None:
    save(tmp_path / "A.mtx", MATRIX, GEOMETRY)
    read = sparse.csr_array(mmread(tmp_path / "A.mtx"))
    np.testing.assert_array_equal(read.data, MATRIX.data)
    np.testing.assert_array_equal(read.indices, MATRIX.indices)


def test_file_as_a_whole() -> None:
    buffer = io.BytesIO()
    save(buffer, sparse.csr_array(np.array([[0, 2], [-3, 0]], np.int32)), format="mtx")
    assert buffer.getvalue().decode().splitlines() == [
        "%%MatrixMarket matrix coordinate integer general",
        '%convmatrix {"dtype": "int32", "geometry": null, "checksum": "6713feb63d630367"}',
        "2 2 2",
        "1 2 2",
        "2 1 -3",
    ]


def test_long_geometries_keep_to_the_lines_of_the_format(tmp_path: Path) -> None:
    table = np.random.default_rng(0).integers(0, 2, (40, 30)) | np.eye(40, 30, dtype=int)
    geometry = cm.ConvGeometry(3, 2, in_channels=30, out_channels=40, connections=table)
    matrix = geometry.pattern().matrix(np.ones(geometry.weight_shape))
    save(tmp_path / "A.mtx", matrix, geometry)
    lines = (tmp_path / "A.mtx").read_text().splitlines()
    assert max(map(len, lines)) <= 1024
    assert sum(line.startswith("%convmatrix") for line in lines) > 3
    assert load(tmp_path / "A.mtx")[1] == geometry


@for_each("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_every_bit_comes_back(dtype: Any, tmp_path: Path) -> None:
    real = np.zeros(0, dtype).real.dtype
    bits = np.random.default_rng(1).integers(0, 256, 4000 * real.itemsize, dtype=np.uint8)
    numbers = bits.view(real)
    info = np.finfo(real)
    special = np.array([0.0, -0.0, np.inf, -np.inf, info.smallest_subnormal, info.max, info.tiny, 0.1, 1 / 3], real)
    numbers = np.concatenate([numbers[np.isfinite(numbers)], special])
    numbers = numbers[: len(numbers) // 2 * 2].view(dtype)
    matrix = sparse.csr_array(sparse.coo_array((numbers, (np.zeros_like(numbers, int), np.arange(len(numbers))))))
    save(tmp_path / "A.mtx", matrix)
    read, _ = load(tmp_path / "A.mtx")
    assert read.dtype == dtype
    assert read.data.tobytes() == matrix.data.tobytes()


@for_each("dtype", [np.int64, np.uint64, np.int8])
def test_largest_integers_come_back(dtype: Any, tmp_path: Path) -> None:
    info = np.iinfo(dtype)
    matrix = sparse.csr_array(np.array([[info.min, info.max, info.max - 1, 1]], dtype))
    save(tmp_path / "A.mtx", matrix)
    read, _ = load(tmp_path / "A.mtx")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read.toarray(), matrix.toarray())


# --- what others write ------------------------------------------------------------------------------------------------


@for_each("dtype", [float, int, complex, np.uint64])
def test_reads_what_scipy_writes(dtype: Any, tmp_path: Path) -> None:
    matrix = sparse.coo_array(MATRIX * 23).astype(int).astype(dtype)
    if dtype is np.uint64:
        matrix = abs(matrix)
    mmwrite(tmp_path / "A.mtx", matrix, comment="somebody's\ncomment")
    read, geometry = load(tmp_path / "A.mtx")
    assert geometry is None
    assert read.dtype == dtype
    np.testing.assert_array_equal(read.toarray(), matrix.toarray())


@for_each(
    "symmetry, make",
    [
        ("symmetric", lambda a: a + a.T),
        ("skew-symmetric", lambda a: a - a.T),
        ("hermitian", lambda a: a + 1j * a**2 + (a + 1j * a**2).conj().T),
    ],
)
def test_reads_symmetric_files(symmetry: Any, make: Any, tmp_path: Path) -> None:
    dense = make(np.random.default_rng(0).integers(-3, 4, (6, 6)).astype(float))
    mmwrite(tmp_path / "A.mtx", sparse.coo_array(dense), symmetry=symmetry)
    assert symmetry in (tmp_path / "A.mtx").read_text().splitlines()[0]
    np.testing.assert_array_equal(load(tmp_path / "A.mtx")[0].toarray(), dense)


CLEAN = {
    "real": "1 2 0.1\n2 1 -2.2250738585072011e-308\n3 3 1E+23\n1 1 -0\n",
    "complex": "1 2 0.1 9007199254740993\n2 1 -3.5e-324 1e999\n3 3 1 -0\n1 1 1 1\n",
    "integer": "1 2 9223372036854775807\n2 1 -9223372036854775808\n3 3 0\n3 3 1\n",
    "unsigned-integer": "1 2 18446744073709551615\n2 1 7\n",
    "pattern": "1 2\n2 1\n3 3\n",
}


@for_each("symmetry", ["general", "symmetric"])
@for_each("field", CLEAN)
def test_both_parsers_read_the_same(field: str, symmetry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = CLEAN[field] if symmetry == "general" else CLEAN[field].replace("1 2", "2 2")
    text = f"%%MatrixMarket matrix coordinate {field} {symmetry}\n3 3 {lines.count(chr(10))}\n"
    calls = []
    parse = matrix_market._parse_with_scipy
    monkeypatch.setattr(matrix_market, "_parse_with_scipy", lambda *a: calls.append(a) or parse(*a))
    fast = load_text(tmp_path, text + lines)
    assert len(calls) == 1
    slow = load_text(tmp_path, text + lines.replace(" ", "  "))
    assert len(calls) == 1, "only clean files may reach SciPy's parser"
    assert fast.dtype == slow.dtype
    for name in ("data", "indices", "indptr"):
        assert getattr(fast, name).tobytes() == getattr(slow, name).tobytes()


@for_each("field", CLEAN)
def test_only_clean_files_reach_the_parser_of_scipy(
    field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zero byte or a truncated number may crash it; so may anything else that has not been tried."""

    def refuse(*_: Any) -> Any:
        raise AssertionError("an unclean file reached SciPy")

    lines = CLEAN[field]
    first = lines.splitlines()[0]
    count = lines.count("\n")
    unclean = [lines.rstrip("\n"), lines + " ", lines + "\n", "\n" + lines, lines.replace("\n", "\r\n"), lines + lines]
    unclean += [
        lines.replace(first, first[:cut] + extra + first[cut:], 1) for cut in range(4) for extra in "\0 \t-+.eEx"
    ]
    unclean += [
        lines.replace(first, cut, 1) for cut in (first[:-1] + "e", first[:-1] + ".", first + " 1", "1", "", "-")
    ]
    unclean += [lines.replace(first, first + "0" * 400, 1), lines.replace(first, "0" * 40 + first, 1)]
    unclean = [text for text in unclean if text != lines]
    monkeypatch.setattr(matrix_market, "_parse_with_scipy", refuse)
    for number, text in enumerate(unclean):
        try:
            load_text(tmp_path, f"%%MatrixMarket matrix coordinate {field} general\n3 3 {count}\n{text}")
        except FileFormatError:
            pass
        except AssertionError:
            raise AssertionError(f"{field} {number}: {text!r} reached SciPy") from None


def test_large_clean_files_are_read_in_pieces(tmp_path: Path) -> None:
    matrix = sparse.random_array((700, 600), density=0.1, format="csr", rng=1)
    save(tmp_path / "A.mtx", matrix)
    assert (tmp_path / "A.mtx").stat().st_size > 4 * PIECE
    read, _ = load(tmp_path / "A.mtx")
    assert (read != matrix).nnz == 0
    content = bytearray((tmp_path / "A.mtx").read_bytes())
    content[-2 * PIECE] = 0
    (tmp_path / "A.mtx").write_bytes(content)
    with pytest.raises(FileFormatError, match="entry"):
        load(tmp_path / "A.mtx")


def test_reads_patterns(tmp_path: Path) -> None:
    text = "%%MatrixMarket matrix coordinate pattern general\n% comment\n\n2 3 2\n1 3\n2 1\n"
    read = load_text(tmp_path, text)
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read.toarray(), [[0, 0, 1], [1, 0, 0]])


def test_reads_free_layout(tmp_path: Path) -> None:
    text = REAL.upper().replace("REAL", "Double") + "  2\t3   2 \r\n\r\n 1   3  +1.5E0 \r\n\t2 1 -inf"
    np.testing.assert_array_equal(load_text(tmp_path, text).toarray(), [[0, 0, 1.5], [-np.inf, 0, 0]])


def test_adds_up_repeated_entries(tmp_path: Path) -> None:
    read = load_text(tmp_path, INTEGER + "2 2 3\n2 2 5\n1 1 1\n2 2 7\n")
    assert read.dtype == np.int64
    np.testing.assert_array_equal(read.toarray(), [[1, 0], [0, 12]])


def test_keeps_explicit_zeros(tmp_path: Path) -> None:
    assert load_text(tmp_path, REAL + "2 2 2\n1 1 0\n2 2 0.0\n").nnz == 2


def test_reads_matrices_without_entries(tmp_path: Path) -> None:
    read = load_text(tmp_path, REAL + "4 7 0\n\n\n")
    assert read.shape == (4, 7)
    assert read.nnz == 0


def test_integers_are_exact_beyond_double(tmp_path: Path) -> None:
    assert load_text(tmp_path, INTEGER + "1 1 1\n1 1 9007199254740993\n").data[0] == 2**53 + 1


def test_numbers_of_many_digits(tmp_path: Path) -> None:
    read = load_text(tmp_path, REAL + "1 1 1\n1 1 0." + "3" * 900 + "\n")
    assert read.data[0] == 1 / 3


# --- files that are forged --------------------------------------------------------------------------------------------


def with_note(text: str, body: str = "1 1 1\n1 1 0.1\n") -> str:
    return f"{REAL}%convmatrix {text}\n{body}"


def test_forged_size_lines(tmp_path: Path) -> None:
    files = {
        "entries 10^11": (
            "10 10 99999999999\n1 1 1\n",
            "99999999999 entries, .* at least 599999999993 bytes, but 6 follow",
        ),
        "entries 10^18": ("10 10 999999999999999999\n", "at least .* bytes, but 0 follow"),
        "entries past int64": ("10 10 99999999999999999999\n1 1 1\n", "size line is '10 10 9999"),
        "entries negative": ("10 10 -1\n1 1 1\n", "size line is '10 10 -1"),
        "rows 10^15": ("1000000000000000 10 1\n1 1 1\n", rf"\(8000000000000\d* bytes\) {TOO_LARGE}"),
        "rows past the index": ("9223372036854775807 10 1\n1 1 1\n", "has 9223372036854775807 rows, but 0 to"),
        "rows negative": ("-3 3 1\n1 1 1\n", "size line is '-3 3 1"),
        "rows a fraction": ("3.5 3 1\n1 1 1\n", "size line is '3.5 3 1"),
        "rows with an underscore": ("1_0 3 1\n1 1 1\n", "size line is '1_0 3 1"),
        "digits of another script": ("\u0663 3 1\n1 1 1\n", "size line is"),
        "two numbers": ("3 3\n1 1 1\n", "size line is '3 3.n', but rows, columns and entries are needed"),
        "nothing": ("", "size line is ''"),
        "only comments": ("%a\n%b\n\n\n", "size line is ''"),
        "no rows": ("0 3 1\n1 1 1\n", "entry is in row 1, but the matrix has rows 1 to 0"),
    }
    check_all(
        tmp_path / "files", "mtx", {name: ((REAL + text).encode(), error) for name, (text, error) in files.items()}
    )


def test_forged_entries(tmp_path: Path) -> None:
    unreadable = r"entry \d is b'.*', but row, column, real \(real\) are needed"
    files = {
        "too few": (REAL + "3 3 2\n1 1 1.50000e0\n", "announces 2 entries, but the file has 1"),
        "too many": (REAL + "3 3 1\n1 1 1\n2 2 2\n", "announces 1 entries, but the file has more"),
        "blank": (REAL + "3 3 1\n" + " \n" * 9, "announces 1 entries, but the file has 0"),
        "one where there is none": (REAL + "3 3 0\n1 1 1\n", "announces 0 entries, but the file has more"),
        "row 0": (REAL + "3 3 1\n0 1 1\n", "entry is in row 0, but the matrix has rows 1 to 3"),
        "row 4": (REAL + "3 3 1\n4 1 1\n", "entry is in row 4"),
        "column 4": (REAL + "3 3 1\n1 4 1\n", "entry is in column 4, but the matrix has columns 1 to 3"),
        "row least": (REAL + "3 3 1\n-9223372036854775808 1 1\n", "entry is in row -9223372036854775808"),
        "column negative": (REAL + "3 3 1\n1 -1 1\n", "entry is in column -1"),
        "column past int64": (REAL + "3 3 1\n1 99999999999999999999 1\n", unreadable),
        "column a fraction": (REAL + "3 3 1\n1 1.5 1\n", unreadable),
        "no number": (REAL + "3 3 1\n1 1 x\n", unreadable),
        "number cut": (REAL + "3 3 2\n1 1 1\n3 3 -3.913043478260869E-", unreadable),
        "no value": (REAL + "3 3 1\n1 1  \n", unreadable),
        "value of two words": (REAL + "3 3 1\n1 1 1 2\n", unreadable),
        "value of text": (REAL + "3 3 1\n1 1 " + "9" * 4096, "entry 1 has 4096 characters or more"),
        "zero bytes": (REAL + "3 3 1\n1 1 1" + "\0" * 4000, unreadable),
        "zero bytes behind": (REAL + "3 3 2\n1 1 1\n" + "\0" * 4000, unreadable),
        "other digits": (REAL + "3 3 1\n1 1 \u0663\n", unreadable),
        "quotes": (REAL + '3 3 1\n1 1 "1"\n', unreadable),
        "comment": (REAL + "3 3 2\n1 1 1\n% 3 4 5\n", unreadable),
        "hexadecimal": (REAL + "3 3 1\n1 1 0x10\n", unreadable),
        "fraction for an integer": (
            INTEGER + "3 3 1\n1 1 1.5\n",
            r"entry 1 is .*, but row, column, real \(integer\) are needed",
        ),
        "exponent for an integer": (
            INTEGER + "3 3 1\n1 1 1e5\n",
            r"entry 1 is .*, but row, column, real \(integer\) are needed",
        ),
        "integer past int64": (
            INTEGER + "3 3 1\n1 1 99999999999999999999\n",
            r"entry 1 is .*, but row, column, real \(integer\) are needed",
        ),
        "complex with one part": (
            REAL.replace("real", "complex") + "3 3 1\n1 1 1.000\n",
            r"row, column, real, imaginary \(complex\)",
        ),
        "pattern with a value": (REAL.replace("real", "pattern") + "3 3 1\n1 1 1\n", r"but row, column \(pattern\)"),
        "one line of a megabyte": (REAL + "3 3 1\n" + "1 " * 2**19, "entry 1 has 4096 characters or more"),
    }
    check_all(tmp_path / "files", "mtx", {name: (text.encode(), error) for name, (text, error) in files.items()})


def test_forged_headers(tmp_path: Path) -> None:
    entry = "1 1 1\n1 1 1\n"
    files = {
        "symmetric": (
            REAL.replace("general", "symmetric") + "2 3 1\n2 1 1\n",
            "is symmetric, but has 2 rows and 3 columns",
        ),
        "hermitian": (REAL.replace("general", "hermitian") + "3 2 1\n1 1 1\n", "is hermitian, but has 3 rows and 2"),
        "skew-symmetric without signs": (
            "%%MatrixMarket matrix coordinate unsigned-integer skew-symmetric\n" + entry,
            "'unsigned-integer' has no negative entries",
        ),
        "dense": (
            REAL.replace("coordinate", "array") + "1 1\n1\n",
            "layout is 'array', but only 'coordinate' is sparse",
        ),
        "vector": (REAL.replace("matrix ", "vector ") + entry, "but a Matrix Market file starts with"),
        "field": (REAL.replace("real", "quaternion") + entry, "field is 'quaternion', but real, double, complex"),
        "symmetry": (REAL.replace("general", "lovely") + entry, "symmetry is 'lovely', but general, symmetric"),
        "no header": (entry, "it starts with '1 1 1', but a Matrix Market file"),
        "empty": ("", "it starts with ''"),
        "long line": ("%%MatrixMarket" + " " * 2**18, "more than 262144 characters, but 1024"),
        "long comment": (REAL + "%" + "x" * 2**18, "more than 262144 characters"),
        "long note": (REAL + ("%convmatrix " + "x" * 10**5 + "\n") * 10, TOO_LARGE),
        "note no JSON": (with_note("geometry"), "the comment is not JSON"),
        "note NaN": (with_note('{"dtype": "float64", "geometry": NaN}'), "NaN"),
        "note of other fields": (with_note('{"dtype": "float64"}'), "the fields 'dtype' and 'geometry' are needed"),
        "note a list": (with_note("[1, 2]"), "the fields 'dtype' and 'geometry' are needed"),
        "dtype object": (with_note('{"dtype": "object", "geometry": null}'), "names the dtype 'object', but"),
        "dtype a list": (with_note('{"dtype": [1], "geometry": null}'), r"names the dtype '\[1\]'"),
        "dtype float32": (with_note('{"dtype": "float32", "geometry": null}'), r"entry 0.1 \(float64\) is not exact"),
        "dtype int8": (
            with_note('{"dtype": "int8", "geometry": null}', "1 1 1\n1 1 300\n"),
            "entry 300.0 .* not exact",
        ),
        "dtype complex": (with_note('{"dtype": "complex128", "geometry": null}'), "one of the two is complex"),
        "geometry": (with_note('{"dtype": "float64", "geometry": {"input_shape": [3]}}'), "no field 'kernel_shape'"),
        "geometry of another": (
            with_note('{"dtype": "float64", "geometry": {"input_shape": [3], "kernel_shape": [2]}}'),
            r"the matrix has shape \(1, 1\), but ConvGeometry\(\(3,\), \(2,\)\) has one of shape \(2, 3\)",
        ),
    }
    check_all(tmp_path / "files", "mtx", {name: (text.encode(), error) for name, (text, error) in files.items()})


def test_error_names_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"cannot load .*A\.mtx: entry 2 is b'2 2 x.n', but row, column, real"):
        load_text(tmp_path, REAL + "3 3 2\n1 1 1\n2 2 x\n")
