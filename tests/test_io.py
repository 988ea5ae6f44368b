"""Saving and loading: everything comes back, nothing is trusted, no file is left half written."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.io import mmwrite, savemat

import convmatrix as cm
from convmatrix.io import FileFormatError, geometry_json, load, save
from convmatrix.io.file_checks import PIECE, BoundedReader
from convmatrix.memory import MatrixTooLargeError
from tests.cases import CASES, each_case, for_each
from tests.hostile_files import (
    ANYTHING,
    GEOMETRY,
    MATRIX,
    Files,
    check_all,
    damages,
    digest,
    load_all,
    saved,
    truncations,
)

each_suffix = pytest.mark.parametrize("suffix", ["npz", "mtx", "mat"])

DTYPES = ["bool", "int8", "int32", "int64", "uint8", "uint64", "float32", "float64", "complex64", "complex128"]


def matrix_of(geometry: cm.ConvGeometry, dtype: Any) -> Any:
    """Return the matrix of a layer, explicit zeros among its entries."""
    numbers = np.arange(geometry.n_weights) % 5
    weights: Any = numbers if np.dtype(dtype).kind in "biu" else (numbers - 2) / 3
    if np.dtype(dtype).kind == "c":
        weights = weights * (1 - 0.3j)
    return geometry.pattern().matrix(weights.reshape(geometry.weight_shape)).astype(dtype)


def assert_identical(read: Any, expected: Any) -> None:
    """Raise unless two matrices in compressed rows agree in every bit and type."""
    assert type(read) is sparse.csr_array
    assert read.shape == expected.shape
    assert read.dtype == expected.dtype
    assert read.has_canonical_format
    assert read.data.tobytes() == expected.data.tobytes()
    assert read.indices.dtype == read.indptr.dtype == expected.indices.dtype
    np.testing.assert_array_equal(read.indices, expected.indices)
    np.testing.assert_array_equal(read.indptr, expected.indptr)


# --- what is saved comes back -----------------------------------------------------------------------------------------


@each_suffix
@each_case
def test_round_trip_of_every_layer(geometry: cm.ConvGeometry, suffix: str, tmp_path: Path) -> None:
    matrix = matrix_of(geometry, "float64")
    save(tmp_path / f"A.{suffix}", matrix, geometry)
    read, layer = load(tmp_path / f"A.{suffix}")
    assert_identical(read, matrix)
    assert layer == geometry


@each_suffix
@for_each("dtype", DTYPES)
@for_each("case", ["2d groups", "2d connection table", "transposed 2d tiled", "1d reflect, padding past a period"])
def test_round_trip_of_every_dtype(case: str, dtype: str, suffix: str, tmp_path: Path) -> None:
    matrix = matrix_of(CASES[case], dtype)
    assert matrix.count_nonzero() < matrix.nnz
    save(tmp_path / f"A.{suffix}", matrix, CASES[case])
    read, layer = load(tmp_path / f"A.{suffix}")
    assert_identical(read, matrix)
    assert layer == CASES[case]


@each_suffix
def test_round_trip_without_geometry(suffix: str, tmp_path: Path) -> None:
    save(str(tmp_path / f"A.{suffix}"), MATRIX[3:7])
    read, layer = load(str(tmp_path / f"A.{suffix}"))
    assert_identical(read, MATRIX[3:7])
    assert layer is None


@each_suffix
@for_each("as_array", [True, False])
@for_each("layout", ["csr", "csc", "bsr", "coo", "dia", "lil", "dok"])
def test_any_sparse_format_is_saved(layout: Any, as_array: bool, suffix: str, tmp_path: Path) -> None:
    matrix = (sparse.coo_array if as_array else sparse.coo_matrix)(MATRIX).asformat(layout)
    copy = matrix.copy()
    save(tmp_path / f"A.{suffix}", matrix, GEOMETRY)
    assert matrix.format == layout
    assert (matrix != copy).nnz == 0
    read, _ = load(tmp_path / f"A.{suffix}")
    np.testing.assert_array_equal(read.toarray(), MATRIX.toarray())


@each_suffix
@for_each("shape", [(0, 0), (0, 4), (4, 0), (3, 4)])
def test_matrices_without_entries(shape: tuple[int, int], suffix: str, tmp_path: Path) -> None:
    save(tmp_path / f"A.{suffix}", sparse.csr_array(shape))
    assert_identical(load(tmp_path / f"A.{suffix}")[0], sparse.csr_array(shape))


@each_suffix
def test_what_is_saved_is_made_canonical_and_the_argument_kept(suffix: str, tmp_path: Path) -> None:
    data, indices, indptr = np.array([1.0, 2.0, 4.0, 0.0]), np.array([2, 0, 2, 1]), np.array([0, 3, 4])
    matrix = sparse.csr_array((data, indices, indptr), shape=(2, 3))
    save(tmp_path / f"A.{suffix}", matrix)
    assert matrix.indices.tolist() == [2, 0, 2, 1]
    read, _ = load(tmp_path / f"A.{suffix}")
    assert read.data.tolist() == [2.0, 5.0, 0.0]
    assert read.indices.tolist() == [0, 2, 1]


@each_suffix
def test_numbers_in_the_other_byte_order(suffix: str, tmp_path: Path) -> None:
    matrix = sparse.csr_array(MATRIX)
    matrix.data = matrix.data.astype(matrix.dtype.newbyteorder())
    save(tmp_path / f"A.{suffix}", matrix)
    assert_identical(load(tmp_path / f"A.{suffix}")[0], MATRIX)


def test_long_indices_stay_long_in_npz(tmp_path: Path) -> None:
    parts = (MATRIX.data, MATRIX.indices.astype(np.int64), MATRIX.indptr.astype(np.int64))
    save(tmp_path / "A.npz", sparse.csr_array(parts, shape=MATRIX.shape))
    assert load(tmp_path / "A.npz")[0].indices.dtype == np.int64


@for_each("suffix", ["npz", "mtx"])
def test_columns_past_int32(suffix: str, tmp_path: Path) -> None:
    matrix = sparse.csr_array(sparse.coo_array((np.ones(2), ([0, 1], [2**40, 5])), shape=(2, 2**41)))
    save(tmp_path / f"A.{suffix}", matrix)
    assert_identical(load(tmp_path / f"A.{suffix}")[0], matrix)


def test_suffix_in_capitals(tmp_path: Path) -> None:
    save(tmp_path / "A.NPZ", MATRIX)
    assert_identical(load(tmp_path / "A.NPZ")[0], MATRIX)


@each_suffix
def test_format_overrides_the_suffix(suffix: str, tmp_path: Path) -> None:
    save(tmp_path / "A.data", MATRIX, GEOMETRY, format=suffix)
    read, layer = load(tmp_path / "A.data", format=suffix)
    assert_identical(read, MATRIX)
    assert layer == GEOMETRY


class Pipe(io.RawIOBase):
    """A file that can only be written, as a pipe."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.content += bytes(data)
        return len(data)


@each_suffix
@for_each("make", [io.BytesIO, Pipe])
def test_open_files(make: Any, suffix: str, tmp_path: Path) -> None:
    file = make()
    save(file, MATRIX, GEOMETRY, format=suffix)
    assert not file.closed
    (tmp_path / f"A.{suffix}").write_bytes(file.content if isinstance(file, Pipe) else file.getvalue())
    read, layer = load(tmp_path / f"A.{suffix}")
    assert_identical(read, MATRIX)
    assert layer == GEOMETRY


SAVED_BY_0_1 = {
    "plain": (
        cm.ConvGeometry((4, 5), (2, 3), stride=(1, 2), padding=[(0, 1), (1, 1)], boundary=("reflect", "circular")),
        lambda n: ((np.arange(n) - 2) / 2).astype(np.float32),
    ),
    "tiled": (
        cm.ConvGeometry((4, 4), (2, 2), sharing=(2, 1), in_channels=2, flip=True),
        lambda n: (np.arange(n) - 2) / 2 + 1j,
    ),
    "connections": (
        cm.ConvGeometry(
            6,
            3,
            in_channels=2,
            out_channels=3,
            connections=[[1, 0], [1, 1], [0, 1]],
            transposed=True,
            stride=2,
            output_padding=1,
        ),
        lambda n: (np.arange(n) - 2).astype(np.int16),
    ),
}


@each_suffix
def test_files_of_version_0_1_are_read(suffix: str) -> None:
    for name, (geometry, weights) in SAVED_BY_0_1.items():
        read, layer = load(Path(__file__).parent / "data" / "files_0_1" / f"{name}.{suffix}")
        assert layer == geometry, name
        assert_identical(read, geometry.pattern().matrix(weights(geometry.n_weights).reshape(geometry.weight_shape)))


# --- what is refused --------------------------------------------------------------------------------------------------


@for_each(
    "matrix, error, message",
    [
        (
            np.eye(3),
            TypeError,
            "matrix must be a scipy.sparse array, but is a ndarray; wrap it in scipy.sparse.csr_array",
        ),
        ([[1]], TypeError, "but is a list"),
        (sparse.coo_array(np.ones(3)), ValueError, r"matrix must have 2 axes, but has 1 \(shape \(3,\)\); reshape it"),
        (
            sparse.csr_array(np.eye(2, dtype=np.longdouble)),
            TypeError,
            "has dtype .*, but .* bool, int8, .*astype",
        ),
    ],
)
def test_what_is_no_sparse_matrix_is_not_saved(matrix: Any, error: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        save(tmp_path / "A.npz", matrix)
    assert not list(tmp_path.iterdir())


def test_rows_that_do_not_fit_in_memory_are_refused(tmp_path: Path) -> None:
    tall = sparse.coo_array(([1.0], ([10**15], [0])), shape=(10**16, 1))
    with pytest.raises(MatrixTooLargeError, match=r"\(10{16} x 1\) in compressed rows needs .* save its transpose"):
        save(tmp_path / "A.npz", tall)
    save(tmp_path / "A.npz", tall.T)
    assert load(tmp_path / "A.npz")[0].shape == (1, 10**16)


@for_each("layout", ["csr", "csc", "coo", "bsr"])
def test_damaged_matrices_are_not_saved(layout: Any, tmp_path: Path) -> None:
    matrix = sparse.csr_array(np.eye(4)).asformat(layout)
    (matrix.row if layout == "coo" else matrix.indices)[1] = 99
    with pytest.raises(ValueError, match=r"matrix \(4 x 4\) is damaged"):
        save(tmp_path / "A.npz", matrix)


@each_suffix
def test_geometry_must_be_of_the_matrix(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"A.{suffix}").write_bytes(b"old")
    options: Any = GEOMETRY.options()
    with pytest.raises(ValueError, match=r"\(4, 40\).*ConvGeometry.*\(24, 40\)"):
        save(tmp_path / f"A.{suffix}", MATRIX[:4], GEOMETRY)
    with pytest.raises(TypeError, match="geometry must be a ConvGeometry or None, but is a dict"):
        save(tmp_path / f"A.{suffix}", MATRIX, options)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@each_suffix
def test_geometry_too_long_to_be_read_back_is_refused(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geometry_json, "LARGEST_TEXT", 200)
    with pytest.raises(ValueError, match=r"\d{3} bytes of JSON.*200"):
        save(tmp_path / f"A.{suffix}", MATRIX, GEOMETRY)
    assert not list(tmp_path.iterdir())


@for_each("name", ["A", "A.txt", "A.npz.gz", "npz"])
def test_unknown_suffix(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    for call in (lambda: save(tmp_path / name, MATRIX), lambda: load(tmp_path / name)):
        with pytest.raises(
            ValueError, match=r"has the suffix '.*', but .npz, .mtx, .mat are known; rename it or give format="
        ):
            call()


def test_unknown_format(tmp_path: Path) -> None:
    for call in (
        lambda: save(tmp_path / "A.npz", MATRIX, format="hdf5"),
        lambda: load(tmp_path / "A.npz", format="hdf5"),
    ):
        with pytest.raises(ValueError, match="format 'hdf5' is unknown; choose one of npz, mtx, mat"):
            call()


def test_open_files_need_a_format_and_bytes() -> None:
    text: Any = io.StringIO()
    number: Any = 3
    with pytest.raises(ValueError, match="an open file has no suffix; give format=, one of npz, mtx, mat"):
        save(io.BytesIO(), MATRIX)
    with pytest.raises(TypeError, match="a file open for writing bytes, but is a StringIO"):
        save(text, MATRIX, format="mtx")
    with pytest.raises(TypeError, match="a file open for writing bytes, but is a int"):
        save(number, MATRIX, format="mtx")


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"cannot save .*A.npz: the folder .*nowhere does not exist; create it first"
    ):
        save(tmp_path / "nowhere" / "A.npz", MATRIX)
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(OSError, match=r"cannot save .*folder.npz: .*not a regular file"):
        save(tmp_path / "folder.npz", MATRIX)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(OSError, match="not a regular file; choose another name"):
        save(tmp_path / "pipe.npz", MATRIX)


def test_write_protection_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The superuser may write anything: the answers of the system are put in its mouth.
    save(tmp_path / "A.npz", MATRIX)
    old = (tmp_path / "A.npz").read_bytes()
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(PermissionError, match=r"cannot save .*A.npz: the file is write-protected"):
        save(tmp_path / "A.npz", MATRIX * 2)
    monkeypatch.undo()

    def refuse(path: Path, *args: Any, **options: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=r"cannot save .*A.npz: the folder .*: Permission denied"):
        save(tmp_path / "A.npz", MATRIX * 2)
    monkeypatch.undo()
    assert (tmp_path / "A.npz").read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"A\.npz"):
        load(tmp_path / "A.npz")
    (tmp_path / "folder.npz").mkdir()
    os.mkfifo(tmp_path / "pipe.npz")
    for name in ("folder.npz", "pipe.npz"):
        with pytest.raises(OSError, match=f"cannot load .*{name}: .*not a regular file"):
            load(tmp_path / name)


@for_each("max_bytes, error", [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_limit_must_be_a_number(max_bytes: Any, error: Any) -> None:
    with pytest.raises(error, match="max_bytes must be "):
        load("A.npz", max_bytes=max_bytes)


@each_suffix
def test_limit_holds_what_loading_takes(suffix: str, tmp_path: Path) -> None:
    """The smallest limit that lets a file pass is not below the memory that loading it takes."""
    path = tmp_path / f"A.{suffix}"
    matrix: Any = sparse.random_array((300, 400), density=0.5, rng=0)
    files: list[Any] = [lambda: save(path, matrix)]
    if suffix == "npz":
        diagonals = sparse.dia_array((np.ones((300, 400)), np.arange(300)), shape=(300, 400))
        files += [lambda: sparse.save_npz(path, diagonals)]
        layouts = ["csc", "coo", "bsr"]
        files += [lambda layout=layout: sparse.save_npz(path, matrix.asformat(layout)) for layout in layouts]
    if suffix == "mtx":
        square = matrix.tocsr()[:, :300]
        files += [
            lambda: mmwrite(path, square + square.T, symmetry="symmetric"),
            lambda: mmwrite(path, matrix.astype(complex)),
        ]
    if suffix == "mat":
        files += [lambda: savemat(path, {"A": matrix * 1j}, do_compression=True)]
    for write in files:
        write()
        load(path)  # what is imported on the way is no part of it
        tracemalloc.start()
        load(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        with pytest.raises(MatrixTooLargeError, match=rf"cannot load .*A.{suffix}: .*\(max_bytes\)"):
            load(path, max_bytes=peak // 3)
        low, high = 1, 10 * peak
        while high - low > peak // 50:
            middle = (low + high) // 2
            try:
                load(path, max_bytes=middle)
                high = middle
            except MatrixTooLargeError:
                low = middle
        assert peak - 5 * PIECE <= high <= 3 * peak  # pieces of the file come and go besides


def test_memory_is_the_limit_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "A.npz", MATRIX)
    monkeypatch.setattr("convmatrix.io.file_checks.available_memory", lambda: 1000)
    with pytest.raises(MatrixTooLargeError, match=r"but 1 kB \(1000 bytes\) of memory are available"):
        load(tmp_path / "A.npz", max_bytes=10**9)


def test_memory_that_runs_out_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(*args: Any, **options: Any) -> Any:
        raise MemoryError("Unable to allocate")

    save(tmp_path / "A.npz", MATRIX)
    monkeypatch.setattr(np, "empty", exhaust)
    with pytest.raises(MatrixTooLargeError, match=r"cannot load .*A.npz: out of memory \(Unable to allocate\)"):
        load(tmp_path / "A.npz")


@pytest.mark.parametrize("n_reads", [2, 5, 20])
def test_errors_of_the_disk_are_not_taken_for_damage(
    n_reads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    read = BoundedReader.read

    def fail_later(self: BoundedReader, size: int | None = -1, /) -> bytes:
        nonlocal reads
        reads += 1
        if reads > n_reads:
            raise OSError(5, "Input/output error")
        return read(self, size)

    save(tmp_path / "A.npz", MATRIX)
    monkeypatch.setattr(BoundedReader, "read", fail_later)
    with pytest.raises(OSError, match="Input/output error"):
        load(tmp_path / "A.npz")


@each_suffix
def test_error_is_a_value_error_that_names_the_file(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"A.{suffix}").write_bytes(b"nothing of the kind")
    with pytest.raises(FileFormatError, match=rf"cannot load .*A.{suffix}: "):
        load(tmp_path / f"A.{suffix}")
    assert issubclass(FileFormatError, ValueError)


# --- files are whole or not there -------------------------------------------------------------------------------------


@each_suffix
def test_failed_save_leaves_the_old_file(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"A.{suffix}"
    save(path, MATRIX, GEOMETRY)
    old = path.read_bytes()
    for exception in (OSError, KeyboardInterrupt):

        def interrupt(descriptor: int, exception: Any = exception) -> None:
            raise exception("now")

        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(exception, match="now"):
            save(path, MATRIX * 2, GEOMETRY)
        assert path.read_bytes() == old
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_file_and_folder_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []

    def record(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.append("folder" if stat.S_ISDIR(status.st_mode) else f"{status.st_size} bytes")

    monkeypatch.setattr(os, "fsync", record)
    save(tmp_path / "A.npz", MATRIX)
    assert synced == [f"{(tmp_path / 'A.npz').stat().st_size} bytes", "folder"]


def test_permissions_are_those_of_any_new_file_or_of_the_old_one(tmp_path: Path) -> None:
    old_mask = os.umask(0o027)
    try:
        save(tmp_path / "A.npz", MATRIX)
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE((tmp_path / "A.npz").stat().st_mode) == 0o640
    (tmp_path / "A.npz").chmod(0o604)
    save(tmp_path / "A.npz", MATRIX)
    assert stat.S_IMODE((tmp_path / "A.npz").stat().st_mode) == 0o604


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.npz").symlink_to(tmp_path / "real" / "A.npz")
    save(tmp_path / "link.npz", MATRIX)
    assert (tmp_path / "link.npz").is_symlink()
    assert_identical(load(tmp_path / "real" / "A.npz")[0], MATRIX)


KILLED = """
import os, random, signal, sys, time
import numpy, scipy.io, scipy.sparse
from convmatrix.io import load, save

path, kills = sys.argv[1], int(sys.argv[2])
old = scipy.sparse.csr_array((numpy.arange(60_000.0), numpy.arange(60_000) % 300, numpy.arange(0, 60_001, 300)))
new = old * -1
save(path, old)
delays = random.Random(1)
outcomes, interrupted = [], 0
for _ in range(kills):
    child = os.fork()
    if not child:
        while True:
            save(path, new)
            save(path, old)
    time.sleep(delays.uniform(0.001, 0.08))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    interrupted += any(name.endswith(".tmp") for name in os.listdir(os.path.dirname(path)))  # the next save removes it
    matrix, _ = load(path)
    assert matrix.nnz == 60_000 and abs(matrix).sum() == old.sum(), "the file is neither of the two"
    outcomes.append(bool((matrix.data <= 0).all()))
print(sum(outcomes), interrupted)
"""


@each_suffix
def test_killed_save_leaves_a_whole_file(suffix: str, tmp_path: Path) -> None:
    kills = 40
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / f"A.{suffix}"), str(kills)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    new, interrupted = map(int, done.stdout.split())
    assert interrupted, "no kill fell into a save"
    assert 0 <= new <= kills


# --- damage by chance -------------------------------------------------------------------------------------------------


@each_suffix
def test_truncated_files(suffix: str, tmp_path: Path) -> None:
    content = saved(suffix)
    # Of a text the last digits and the line feed may be lost without a trace; nothing else.
    files: Files = {
        name: (cut, ANYTHING if suffix == "mtx" and len(cut) > len(content) - 20 else ".")
        for name, cut in truncations(content, 40, seed=1).items()
    }
    results = check_all(tmp_path / "files", suffix, files)
    assert sum("error" in result for result in results.values()) >= 40


@each_suffix
def test_damaged_files(suffix: str, tmp_path: Path) -> None:
    files: Files = {name: (damaged, ANYTHING) for name, damaged in damages(saved(suffix), 150, seed=2).items()}
    results = check_all(tmp_path / "files", suffix, files)
    matrices = [result for result in results.values() if "matrix" in result]
    assert len(matrices) < len(files)
    if suffix == "npz":  # checksums: a matrix that is read at all is the right one
        assert {result["matrix"] for result in matrices} == {digest(MATRIX)}
        assert {result["geometry"] for result in matrices} <= {repr(GEOMETRY), "None"}


@each_suffix
def test_noise(suffix: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    start = {"npz": b"PK\x03\x04", "mtx": b"%%MatrixMarket matrix coordinate real general\n", "mat": saved("mat")[:128]}
    files: dict[str, tuple[bytes, str | None]] = {}
    for length in (0, 1, 3, 22, 128, 136, 1000, 100_000):
        files[f"noise {length}"] = (rng.bytes(length), ".")
        files[f"start and noise {length}"] = (start[suffix] + rng.bytes(length), ".")
    check_all(tmp_path / "files", suffix, files)


def test_crashes_are_noticed(tmp_path: Path) -> None:
    """The guard of the tests above notices a file that kills the process."""
    with pytest.raises(AssertionError, match=r"the process died \(-6\) at .*begins.*A.npz"):
        load_all(tmp_path / "files", {"A.npz": saved("npz")}, sabotage="import os; load = lambda *_, **__: os.abort()")
    with pytest.raises(AssertionError, match=r"the process died \(1\) at .*begins.*B.npz"):
        load_all(tmp_path / "more", {"B.npz": saved("npz")}, sabotage="load = lambda *_, **__: (numpy.eye(3), None)")


def test_geometry_is_read_in_its_short_form(tmp_path: Path) -> None:
    geometry = geometry_json.from_values({"input_shape": [5, 4], "kernel_shape": [3, 2]}, "the text")
    assert geometry == cm.ConvGeometry((5, 4), (3, 2))


def test_importing_is_light() -> None:
    heavy = ["scipy.io", "scipy.signal", "torch", "sympy"]
    code = f"import sys, convmatrix.io; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.strip() == "[]"


@for_each("suffix", ["npz", "mtx", "mat"])
@for_each("dtype", [np.float32, np.complex128, np.uint64, np.int8])
def test_matrices_without_entries_keep_their_dtype(dtype: Any, suffix: str, tmp_path: Path) -> None:
    save(tmp_path / f"A.{suffix}", sparse.csr_array((3, 2), dtype=dtype))
    read, _ = load(tmp_path / f"A.{suffix}")
    assert (read.dtype, read.shape, read.nnz) == (np.dtype(dtype), (3, 2), 0)


@for_each("suffix", ["npz", "mtx", "mat"])
def test_no_flipped_bit_gives_another_matrix(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"A.{suffix}"
    matrix = sparse.csr_array(cm.conv_matrix(np.array([0.25, -1.5, 3.0]), 6))
    save(path, matrix, cm.ConvGeometry(6, 3))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for bit in rng.choice(8 * len(whole), 150, replace=False).tolist():
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            read, geometry = load(path)
        except ValueError:
            refused += 1
        else:  # the bit means nothing, such as one of padding or of a comment
            assert (read != matrix).nnz == 0
            assert geometry in (None, cm.ConvGeometry(6, 3))
    assert refused > 10


def test_a_number_that_is_cut_short_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "A.mtx"
    save(path, sparse.csr_array(np.array([[0.125, 12345.5]])))
    for _ in range(4):
        path.write_bytes(path.read_bytes().rstrip(b"\n")[:-1])
        with pytest.raises(ValueError, match=r"A\.mtx.*(checksum|entry)"):
            load(path)


def test_an_unknown_order_is_refused_without_a_geometry_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"order 'K' is unknown"):
        cm.io.save(tmp_path / "slab.npz", cm.conv_matrix([1, 2], 3), order="K")
    assert list(tmp_path.iterdir()) == []


@for_each("suffix", ["mtx", "mat"])
def test_no_flipped_bit_loses_the_layer_or_the_dtype(suffix: str, tmp_path: Path) -> None:
    """A damaged mark of the comment, or name of the matrix, makes the file look like one of another program."""
    path, layer = tmp_path / f"A.{suffix}", cm.ConvGeometry(3, 2)
    matrix = sparse.csr_array(cm.conv_matrix(np.array([3, -2], dtype=np.int16), layer))
    save(path, matrix, layer)
    whole = path.read_bytes()
    mark = whole.index(b"%convmatrix ") if suffix == "mtx" else whole.rindex(b"A\0\0\0") - 4
    for bit in range(8 * mark, 8 * (mark + 12)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            read, geometry = load(path)
        except FileFormatError:
            continue
        assert (read != matrix).nnz == 0
        assert read.dtype == np.int16
        assert geometry == layer


def test_renamed_matrices_and_foreign_comments(tmp_path: Path) -> None:
    savemat(tmp_path / "A.mat", {"B": sparse.csc_array(np.eye(2)), "checksum": "0" * 16})
    with pytest.raises(FileFormatError, match=r"matrix is called 'B'.*remove its checksum"):
        load(tmp_path / "A.mat")
    savemat(tmp_path / "A.mat", {"B": sparse.csc_array(np.eye(2)), "checksum": 12.0})
    assert load(tmp_path / "A.mat")[0].shape == (2, 2)
    text = "%%MatrixMarket matrix coordinate real general\n%dtype convmatrix checksum\n1 1 1\n1 1 2\n"
    (tmp_path / "A.mtx").write_text(text)
    assert load(tmp_path / "A.mtx")[0].toarray() == [[2.0]]
