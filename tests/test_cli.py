"""The command ``convmatrix``: its output, its refusals and its exit status."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import convmatrix as cm
import convmatrix.io
from convmatrix import cli
from convmatrix.cli import layer_options, main
from convmatrix.options import LAYER_OPTIONS
from tests.cases import LENET5_C3, for_each

ROOT = Path(__file__).parents[1]
EXAMPLE = ["--kernel", "[[1,2],[3,4]]", "--input-shape", "3x3"]
TOO_LARGE = ["--kernel-shape", "64x64x3x3", "--random", "--input-shape", "64x22400x22400"]


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a subprocess, without what changes how Python or the command writes."""
    unwanted = ("PYTHONUNBUFFERED", "NO_COLOR", "COLUMNS", "TERM", "PYTHONIOENCODING")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **changes}


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options = {"env": environment(), "stdin": subprocess.DEVNULL, "timeout": 60, **options}
    return subprocess.run([sys.executable, "-m", "convmatrix", *arguments], capture_output=True, **options)


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run what must fail; return the exit code and the one line of complaint."""
    code = main(arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("convmatrix: error: ")
    assert captured.err.count("\n") == 1
    return code, captured.err.removeprefix("convmatrix: error: ").strip()


def summary(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Run with ``--json``; return the object, which must be all of the output."""
    assert main(["matrix", *arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    found: dict[str, Any] = json.loads(captured.out)
    return found


def assert_same(A: Any, B: Any) -> None:
    """Both matrices store the same entries with the same values and dtype."""
    A, B = sparse.csr_array(A), sparse.csr_array(B)
    assert A.shape == B.shape
    assert A.dtype == B.dtype
    np.testing.assert_array_equal(A.indptr, B.indptr)
    np.testing.assert_array_equal(A.indices, B.indices)
    np.testing.assert_array_equal(A.data, B.data)


def as_json(array: Any) -> str:
    return json.dumps(np.asarray(array).tolist())


# --- the file is the matrix ------------------------------------------------------------------------------------------

K1 = np.array([1, -2, 3])
K2 = np.arange(1, 7).reshape(2, 3)
K22 = np.arange(1, 5).reshape(2, 2)
CHANNELS = np.arange(3 * 2 * 2 * 3).reshape(3, 2, 2, 3) - 5
GROUPED = np.arange(4 * 1 * 3).reshape(4, 1, 3)
TRANSPOSED = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)

PADDINGS: dict[str, Any] = {
    "valid": "valid",
    "same": "same",
    "same_lower": "same_lower",
    "full": "full",
    "2": 2,
    "1x2": (1, 2),
    "0:3": [(0, 3), (0, 3)],
    "0:1x2:3": [(0, 1), (2, 3)],
    "samex0:2": ["same", (0, 2)],
    "fullxvalid": ["full", "valid"],
}

LAYERS: dict[str, tuple[Any, str, list[str], cm.ConvGeometry]] = {
    "1d": (K1, "6", [], cm.ConvGeometry(6, 3)),
    "row as a table": (K1[None], "6", [], cm.ConvGeometry(6, 3)),
    "2d": (K2, "4x5", [], cm.ConvGeometry((4, 5), (2, 3))),
    "channels": (CHANNELS, "2x4x5", [], cm.ConvGeometry((4, 5), (2, 3), in_channels=2, out_channels=3)),
    "1d channels": (K2[:, :, None], "3x5", [], cm.ConvGeometry(5, 1, in_channels=3, out_channels=2)),
    "groups": (GROUPED, "2x7", ["--groups", "2"], cm.ConvGeometry(7, 3, in_channels=2, out_channels=4, groups=2)),
    "stride for all axes": (K2, "5x7", ["--stride", "2"], cm.ConvGeometry((5, 7), (2, 3), stride=2)),
    "stride an axis": (K2, "5x7", ["--stride", "2x3"], cm.ConvGeometry((5, 7), (2, 3), stride=(2, 3))),
    "dilation": (K2, "5x7", ["--dilation", "3x1"], cm.ConvGeometry((5, 7), (2, 3), dilation=(3, 1))),
    "flip": (K2, "4x5", ["--flip"], cm.ConvGeometry((4, 5), (2, 3), flip=True)),
    **{
        f"padding {text}": (K2, "4x5", ["--padding", text], cm.ConvGeometry((4, 5), (2, 3), padding=padding))
        for text, padding in PADDINGS.items()
    },
    "boundary": (
        K2,
        "4x5",
        ["--padding", "full", "--boundary", "reflect"],
        cm.ConvGeometry((4, 5), (2, 3), padding="full", boundary="reflect"),
    ),
    "boundary an axis": (
        K2,
        "4x5",
        ["--padding", "1", "--boundary", "replicate,circular"],
        cm.ConvGeometry((4, 5), (2, 3), padding=1, boundary=("replicate", "circular")),
    ),
    "transposed": (
        TRANSPOSED,
        "2x3x4",
        ["--transposed", "--stride", "2x3", "--output-padding", "1x0", "--padding", "1x0"],
        cm.ConvGeometry(
            (3, 4),
            (2, 2),
            in_channels=2,
            out_channels=3,
            transposed=True,
            stride=(2, 3),
            padding=[(1, 1), (0, 0)],
            output_padding=(1, 0),
        ),
    ),
    "unshared, 1d": (
        np.arange(8).reshape(4, 2),
        "5",
        ["--sharing", "unshared"],
        cm.ConvGeometry(5, 2, sharing="unshared"),
    ),
    "unshared, 2d": (
        np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2),
        "3x4",
        ["--sharing", "unshared"],
        cm.ConvGeometry((3, 4), (2, 2), sharing="unshared"),
    ),
    "unshared, channels": (
        np.arange(4 * 2 * 3 * 2).reshape(4, 2, 3, 2),
        "3x5",
        ["--sharing", "unshared"],
        cm.ConvGeometry(5, 2, sharing="unshared", in_channels=3, out_channels=2),
    ),
    "tiled, one number": (np.arange(6).reshape(2, 3), "8", ["--sharing", "2"], cm.ConvGeometry(8, 3, sharing=2)),
    "tiled an axis": (
        np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2),
        "5x6",
        ["--sharing", "2x3"],
        cm.ConvGeometry((5, 6), (2, 2), sharing=(2, 3)),
    ),
    "tiled an axis, channels": (
        np.arange(2 * 1 * 3 * 2 * 2 * 1).reshape(2, 1, 3, 2, 2, 1),
        "2x5x6",
        ["--sharing", "2x1"],
        cm.ConvGeometry((5, 6), (2, 1), sharing=(2, 1), in_channels=2, out_channels=3),
    ),
    "connections": (
        np.arange(9).reshape(3, 3),
        "2x5",
        ["--connections", "[[1,0],[1,1]]"],
        cm.ConvGeometry(5, 3, in_channels=2, out_channels=2, connections=[[1, 0], [1, 1]]),
    ),
    "connections, full kernel": (
        np.arange(12).reshape(2, 2, 3),
        "2x5",
        ["--connections", "[[1,0],[1,1]]"],
        cm.ConvGeometry(5, 3, in_channels=2, out_channels=2, connections=[[1, 0], [1, 1]]),
    ),
    "connections, transposed": (
        np.arange(6).reshape(3, 2),
        "2x5",
        ["--connections", "[[1,0],[0,1],[1,0]]", "--transposed"],
        cm.ConvGeometry(5, 2, in_channels=2, out_channels=3, connections=[[1, 0], [0, 1], [1, 0]], transposed=True),
    ),
    "connections, tiled": (
        np.arange(2 * 3 * 2).reshape(2, 3, 2),
        "2x5",
        ["--connections", "[[1,0],[1,1]]", "--sharing", "2"],
        cm.ConvGeometry(5, 2, in_channels=2, out_channels=2, connections=[[1, 0], [1, 1]], sharing=2),
    ),
}


@for_each("kernel, input_shape, options, geometry", LAYERS.values(), ids=LAYERS.keys())
def test_the_saved_matrix_is_that_of_the_layer(
    kernel: Any,
    input_shape: str,
    options: list[str],
    geometry: cm.ConvGeometry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "A.npz"
    arguments = ["--kernel", as_json(kernel), "--input-shape", input_shape, *options]
    found = summary(capsys, *arguments, "-o", str(path))
    A, saved = convmatrix.io.load(path)
    assert saved == geometry
    weights = (
        kernel if "full" in str(options) or kernel.size != geometry.n_weights else kernel.reshape(geometry.weight_shape)
    )
    expected = cm.conv_matrix(weights, geometry)
    assert_same(A, expected)
    assert found["shape"] == list(expected.shape)
    assert found["nonzeros"] == expected.nnz
    assert found["density"] == expected.nnz / (expected.shape[0] * expected.shape[1])
    assert found["distinct_weights"] == geometry.n_weights
    assert found["bytes"] == expected.data.nbytes + expected.indices.nbytes + expected.indptr.nbytes
    assert found["index_dtype"] == expected.indices.dtype.name
    assert found["output"] == str(path)
    options_again = dict(found["geometry"])
    assert (
        cm.ConvGeometry(options_again.pop("input_shape"), options_again.pop("kernel_shape"), **options_again)
        == geometry
    )


@for_each("format", ["csr", "csc", "coo", "dia", "bsr"])
@for_each("order", ["C", "F"])
def test_every_format_and_order(format: str, order: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kernel = np.arange(-4, 8, dtype=float).reshape(2, 2, 3)  # a weight is 0, and stays an entry
    path = tmp_path / "A.npz"
    options = ["--format", format, "--order", order, "-o", str(path)]
    found = summary(capsys, "--kernel", as_json(kernel), "--input-shape", "2x5", *options)
    expected = cm.conv_matrix(kernel, (2, 5), order=order)
    assert_same(convmatrix.io.load(path, order=order)[0], expected)
    in_format = cm.conv_matrix(kernel, (2, 5), order=order, format=format)
    arrays = {"coo": ["row", "col"], "dia": ["offsets"]}.get(format, ["indices", "indptr"])
    assert found["bytes"] == sum(getattr(in_format, name).nbytes for name in ["data", *arrays])
    assert (found["format"], found["order"], found["nonzeros"]) == (format, order, expected.nnz)


@for_each("dtype", ["int8", "int64", "float32", "float64", "complex64", "complex128"])
def test_every_dtype(dtype: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "A.npz"
    found = summary(capsys, *EXAMPLE, "--dtype", dtype, "-o", str(path))
    assert found["dtype"] == dtype
    assert_same(convmatrix.io.load(path)[0], cm.conv_matrix([[1, 2], [3, 4]], (3, 3), dtype=dtype))


@for_each("suffix", [".npz", ".mtx", ".mat", ".NPZ"])
def test_every_file_format(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"A{suffix}"
    assert main(["matrix", *EXAMPLE, "-o", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "layer     ConvGeometry((3, 3), (2, 2))",
        "matrix    4 x 9, csr, int64, indices int32",
        "nonzeros  16 of 36 entries (44.4 %), 4 weights",
        "memory    212 bytes",
        f"saved     {path}",
    ]
    A, geometry = convmatrix.io.load(path)
    assert_same(A, cm.conv_matrix([[1, 2], [3, 4]], (3, 3)))
    assert geometry == cm.ConvGeometry((3, 3), (2, 2))


@pytest.mark.parametrize(("text", "rows"), [("1:3", (1, 3)), (":2", (0, 2)), ("2:", (2, 4)), ("0:4", (0, 4))])
def test_a_slab_has_no_geometry(
    text: str, rows: tuple[int, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "A.npz"
    found = summary(capsys, *EXAMPLE, "--rows", text, "-o", str(path))
    A, geometry = convmatrix.io.load(path)
    assert geometry is None
    assert_same(A, cm.conv_matrix([[1, 2], [3, 4]], (3, 3), rows=rows))
    assert found["rows"] == list(rows)
    assert found["shape"] == [rows[1] - rows[0], 9]


# --- kernels ---------------------------------------------------------------------------------------------------------


@for_each(
    "name, text",
    [
        ("k.csv", "1,2.5\n-3,4e-1\n"),
        ("k.csv", "1;2.5\r\n-3;4e-1"),
        ("k.txt", "# a comment\n1 2.5  # another\n\n  -3\t4e-1\n"),
        ("k.json", "[[1, 2.5], [-3, 0.4]]"),
        ("k.txt", "\ufeff 1, 2.5\n-3 , 0.4"),
        ("k", "[[1, 2.5], [-3, 0.4]]"),
    ],
)
def test_kernels_from_text_files(name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    output = tmp_path / "A.npz"
    summary(capsys, "--kernel", str(path), "--input-shape", "3x3", "-o", str(output))
    assert_same(convmatrix.io.load(output)[0], cm.conv_matrix([[1, 2.5], [-3, 0.4]], (3, 3)))


@pytest.mark.parametrize(
    ("text", "kernel"),
    [
        ('["1+2j", 3]', [1 + 2j, 3]),
        ("[1, 2]", [1, 2]),
        ("[1, 2.0]", [1.0, 2.0]),
        ("1+2j 3\n", [1 + 2j, 3]),
        ("1\n2\n3\n", [1, 2, 3]),
        ("1 2 3", [1, 2, 3]),
        ("\ufeff1 2 3", [1, 2, 3]),
        ("9007199254740993 1", [2**53 + 1, 1]),
        ("1 0.5 7", [1, 0.5, 7]),
        ("18446744073709551615 1", np.array([2**64 - 1, 1], dtype=np.uint64)),
    ],
)
def test_kernels_from_standard_input(
    text: str, kernel: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    path = tmp_path / "A.npz"
    summary(capsys, "--kernel", "-", "--input-shape", "5", "-o", str(path))
    assert_same(convmatrix.io.load(path)[0], cm.conv_matrix(kernel, 5))


@for_each("dtype", ["<f8", ">f8", "<i2", ">c16", "<f4"])
def test_kernels_from_npy(dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kernel = np.asfortranarray(np.arange(6).reshape(2, 3).astype(dtype))
    np.save(tmp_path / "k.npy", kernel)
    path = tmp_path / "A.npz"
    # SciPy cannot convert to bsr what is not in the byte order of the machine.
    options = ["--input-shape", "3x4", "--format", "bsr"]
    summary(capsys, "--kernel", str(tmp_path / "k.npy"), *options, "-o", str(path))
    assert_same(convmatrix.io.load(path)[0], cm.conv_matrix(kernel.astype(kernel.dtype.newbyteorder("=")), (3, 4)))


def test_connections_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "c3.csv"
    table.write_text("\n".join(",".join(map(str, row)) for row in LENET5_C3.astype(int)))
    options = ["--kernel-shape", "16x6x5x5", "--random", "--input-shape", "6x14x14", "--connections", str(table)]
    found = summary(capsys, *options)
    assert found["weight_shape"] == [60, 5, 5]
    assert found["nonzeros"] == 150_000
    assert found["geometry"]["connections"] == LENET5_C3.tolist()


def test_random_weights_are_repeatable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--kernel-shape", "3x2x5", "--random", "--input-shape", "2x9", "-o"]
    found = summary(capsys, *arguments, str(tmp_path / "A.npz"))
    again = summary(capsys, *arguments, str(tmp_path / "B.npz"), "--seed", str(found["seed"]))
    other = summary(capsys, *arguments, str(tmp_path / "C.npz"))
    A, B, C = (convmatrix.io.load(tmp_path / f"{name}.npz")[0] for name in "ABC")
    assert_same(A, B)
    assert again["seed"] == found["seed"] != other["seed"]
    assert not np.isclose(A.data, C.data).any()
    assert abs(A.data.std() - 1) < 0.5
    main(["matrix", *arguments, str(tmp_path / "A.npz"), "--seed", "3"])
    assert "weights   random, --seed 3" in capsys.readouterr().out


@pytest.mark.parametrize(("dtype", "kind"), [("int8", "i"), ("int64", "i"), ("float32", "f"), ("complex64", "c")])
def test_random_weights_of_every_kind(
    dtype: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "A.npz"
    options = ["--kernel-shape", "100", "--random", "--seed", "1", "--input-shape", "100", "--dtype", dtype]
    summary(capsys, *options, "-o", str(path))
    data = convmatrix.io.load(path)[0].data
    assert data.dtype == dtype
    assert len(np.unique(data)) == (19 if kind == "i" else 100)
    if kind == "i":
        assert (data.min(), data.max()) == (-9, 9)
    if kind == "c":
        assert data.imag.std() > 0.5


@for_each(
    "options, weight_shape",
    [
        (["--kernel-shape", "3x3", "--input-shape", "6x7", "--sharing", "unshared"], [4, 5, 1, 1, 3, 3]),
        (["--kernel-shape", "4x2x3", "--input-shape", "2x9", "--sharing", "2"], [2, 4, 2, 3]),
        (["--kernel-shape", "2x3x4", "--input-shape", "2x9", "--transposed", "--groups", "2"], [2, 3, 4]),
        (["--kernel-shape", "2x2x3", "--input-shape", "2x9", "--connections", "[[1,0],[1,1]]"], [3, 3]),
    ],
)
def test_a_kernel_shape_knows_no_tiles(
    options: list[str], weight_shape: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert summary(capsys, *options, "--random")["weight_shape"] == weight_shape


# --- estimates and JSON ----------------------------------------------------------------------------------------------


def test_the_estimate_is_what_building_gives(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = ["--kernel-shape", "4x2x3x3", "--random", "--seed", "0", "--input-shape", "2x9x8", "--padding", "same"]
    path = tmp_path / "A.npz"
    built = summary(capsys, *options)
    estimated = summary(capsys, *options, "--dry-run", "-o", str(path))
    assert not path.exists()
    assert (built.pop("dry_run"), estimated.pop("dry_run")) == (False, True)
    assert built == estimated
    assert built["output_shape"] == [4, 9, 8]


def test_a_dry_run_allocates_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--kernel-shape", "64x64x3x3", "--input-shape", "64x2240x2240", "--padding", "same"]
    found = summary(capsys, *options, "--dry-run")
    size = cm.estimate(cm.ConvGeometry((2240, 2240), (3, 3), in_channels=64, out_channels=64, padding="same"))
    assert (found["nonzeros"], found["bytes"], found["index_dtype"]) == (size.nonzeros, size.bytes, "int64")
    assert main(["matrix", *options, "--dry-run", "--dtype", "float32", "--rows", "0:10"]) == 0
    text = capsys.readouterr().out
    assert "matrix    10 x 321126400, csr, float32, indices int32" in text
    assert "(estimate; nothing was built)" in text


def test_json_is_all_of_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", *EXAMPLE, "--json", "--padding", "same", "--boundary", "reflect"]) == 0
    output, errors = capfd.readouterr()
    assert errors == ""
    assert json.loads(output)["geometry"] == {
        "input_shape": [3, 3],
        "kernel_shape": [2, 2],
        "padding": [[0, 1], [0, 1]],
        "boundary": "reflect",
    }
    assert main(["matrix", *EXAMPLE, "--json", "--stride", "9x9x9"]) == 2
    output, errors = capfd.readouterr()
    assert output == ""
    assert errors.startswith("convmatrix: error: --stride has 3 entries")


# --- standard output, pipes, terminals -------------------------------------------------------------------------------


def test_bytes_on_standard_output(tmp_path: Path) -> None:
    path = tmp_path / "A.npz"
    done = run("matrix", *EXAMPLE, "-o", "-")
    assert done.returncode == 0
    path.write_bytes(done.stdout)
    A, geometry = convmatrix.io.load(path)
    assert_same(A, cm.conv_matrix([[1, 2], [3, 4]], (3, 3)))
    assert geometry == cm.ConvGeometry((3, 3), (2, 2))
    assert b"nonzeros  16 of 36" in done.stderr
    assert_same(sparse.load_npz(io.BytesIO(done.stdout)), A)


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        (["--help"], ""),
        (["show", *EXAMPLE], ""),
        (["show", *EXAMPLE], "1"),
        (["matrix", *EXAMPLE, "-o", "-"], ""),
        (["matrix", *EXAMPLE, "-o", "-"], "1"),
    ],
)
def test_a_reader_that_leaves_is_no_error(arguments: list[str], unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = subprocess.run(
            [sys.executable, "-m", "convmatrix", *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            env=environment(PYTHONUNBUFFERED=unbuffered),
            timeout=60,
        )
    finally:
        os.close(writer)
    assert (process.returncode, process.stderr) == (141, b"")


def test_head_gets_its_lines() -> None:
    command = (
        f"{sys.executable} -m convmatrix show --kernel-shape 9x9 --random --input-shape 99x99 --max-rows 3000 | head -2"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment(), timeout=60)
    assert done.stderr == b""
    assert done.stdout.count(b"\n") == 2


@pytest.mark.parametrize("arguments", [["--help"], ["show", *EXAMPLE], ["matrix", *EXAMPLE, "-o", "-"]])
def test_a_full_disk_is_told(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [sys.executable, "-m", "convmatrix", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=60,
        )
    assert process.returncode == 2
    assert process.stderr == b"convmatrix: error: cannot write to standard output: No space left on device\n"


def test_closed_streams() -> None:
    python = f"{sys.executable} -m convmatrix"
    for command, message in {
        f"{python} matrix --kernel '[1]' --input-shape 3 -o - >&-": "cannot write to standard output: it is closed",
        f"{python} matrix --kernel - --input-shape 3 <&-": "cannot read standard input: it is closed",
    }.items():
        done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment(), text=True, timeout=60)
        assert (done.returncode, done.stderr) == (2, f"convmatrix: error: {message}\n")
    shown = subprocess.run(
        ["bash", "-c", f"{python} show --kernel '[1]' --input-shape 3 >&-"],
        capture_output=True,
        env=environment(),
        timeout=60,
    )
    assert (shown.returncode, shown.stderr) == (0, b"")


def in_terminal(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run with standard output on a terminal of 80 columns; return the exit code, the screen and standard error."""
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "convmatrix", *arguments],
        stdout=terminal,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=environment(COLUMNS="80", **variables),
    )
    os.close(terminal)
    seen = b""
    with contextlib.suppress(OSError):  # EIO: the other end was closed
        while piece := os.read(screen, 4096):
            seen += piece
    os.close(screen)
    errors = process.communicate(timeout=60)[1]
    return process.returncode, seen.decode().replace("\r\n", "\n"), errors.decode()


def test_colour_is_for_terminals(capfd: pytest.CaptureFixture[str]) -> None:
    code, screen, errors = in_terminal("show", *EXAMPLE)
    assert (code, errors) == (0, "")
    assert "\x1b[48;5;" in screen
    assert main(["show", *EXAMPLE]) == 0
    plain = capfd.readouterr().out
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", screen) == plain
    assert "\x1b" not in in_terminal("show", *EXAMPLE, NO_COLOR="1")[1]


@pytest.mark.parametrize(
    ("choice", "terminal", "variables", "coloured"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"NO_COLOR": "0"}, False),
        ("auto", True, {"TERM": "dumb"}, False),
        ("never", True, {}, False),
        ("always", False, {"NO_COLOR": "1", "TERM": "dumb"}, True),
    ],
)
def test_who_gets_colour(
    choice: str,
    variables: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    terminal: bool,
    coloured: bool,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert main(["show", *EXAMPLE, "--color", choice]) == 0
    assert ("\x1b" in capsys.readouterr().out) == coloured


def test_bytes_are_not_for_terminals() -> None:
    # Told before any work is done: the kernel is not even looked for.
    code, screen, errors = in_terminal("matrix", "--kernel", "nowhere.npy", "--input-shape", "3", "-o", "-")
    assert (code, screen) == (2, "")
    assert errors == (
        "convmatrix: error: -o - writes bytes, and standard output is a terminal: redirect it, or give -o FILE\n"
    )


def test_an_interrupt_is_quiet(tmp_path: Path) -> None:
    fifo = tmp_path / "kernel.txt"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [sys.executable, "-m", "convmatrix", "matrix", "--kernel", str(fifo), "--input-shape", "9"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        # A suite that runs in the background of a shell ignores interrupts, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with fifo.open("w"):  # opens once the command reads it
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, b"", b"")


# --- failures leave no file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--kernel", "[[1,2],[3]]", "--input-shape", "3x3"],
        ["--kernel", "[[1,2],[3,4]]", "--input-shape", "1x1"],
        TOO_LARGE,
        [*EXAMPLE, "--rows", "3:9"],
        [*EXAMPLE, "--seed", "3"],
        ["--kernel", "nowhere.npy", "--input-shape", "3x3"],
    ],
)
def test_a_failing_run_leaves_what_was_there(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new, old = tmp_path / "new.npz", tmp_path / "old.npz"
    old.write_bytes(b"precious")
    for path in (new, old):
        failure(capsys, "matrix", *arguments, "-o", str(path))
    assert not new.exists()
    assert old.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [old]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    old = tmp_path / "A.npz"
    old.write_bytes(b"precious")

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    options = ["--kernel-shape", "9x9", "--random", "--input-shape", "40x40", "-o", str(old)]
    done = run("matrix", *options, preexec_fn=limit_file_size)
    assert done.returncode == 2
    assert re.fullmatch(rf"convmatrix: error: .*{old}: File too large.*\n", done.stderr.decode())
    assert old.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [old]


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "A.npz"
    path.write_bytes(b"old")
    assert main(["matrix", *EXAMPLE, "-o", str(path)]) == 0
    assert convmatrix.io.load(path)[0].nnz == 16


# --- show ------------------------------------------------------------------------------------------------------------


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["show", "--width", "80", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_show_values_and_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, *EXAMPLE)[0] == "1 2 . 3 4 . . . ."
    assert shown(capsys, *EXAMPLE, "--weights")[0] == "w0 w1  . w2 w3  .  .  .  ."
    assert shown(capsys, *EXAMPLE, "--weights", "--order", "F")[0] == "w0 w2  . w1 w3  .  .  .  ."
    assert shown(capsys, *EXAMPLE, "--dtype", "float64", "--rows", "2:3")[0] == ". . . 1 2 . 3 4 ."
    options = ["--padding", "same", "--boundary", "reflect", "--weights"]
    assert shown(capsys, "--kernel-shape", "3", "--input-shape", "4", *options)[0] == "   w1 w0+w2     .     ."


def test_show_a_saved_matrix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "A.mtx"
    main(["matrix", *EXAMPLE, "-o", str(path)])
    capsys.readouterr()
    assert shown(capsys, str(path)) == shown(capsys, *EXAMPLE)
    assert shown(capsys, str(path), "--weights") == shown(capsys, *EXAMPLE, "--weights")
    assert shown(capsys, str(path), "--rows", "1:2")[0] == ". 1 2 . 3 4 . . ."


def test_show_a_saved_matrix_without_its_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "A.npz"
    sparse.save_npz(path, sparse.csr_array([[0, 2], [2, 0]]))
    assert shown(capsys, str(path))[:3] == [". 2", "2 .", "2 x 2 matrix, 2 entries"]
    code, message = failure(capsys, "show", str(path), "--weights")
    assert code == 2
    assert re.search(rf"{path} .*--weights", message)


def test_show_a_saved_matrix_in_column_major_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "A.npz"
    options = ["--kernel", "[[1,2],[3,4]]", "--input-shape", "3x4", "--order", "F"]
    main(["matrix", *options, "-o", str(path)])
    capsys.readouterr()
    for order in ([], ["--order", "F"]):  # the file records it
        assert shown(capsys, str(path), *order, "--weights") == shown(capsys, *options, "--weights")
    assert shown(capsys, str(path))[0] == "1 3 . 2 4 . . . . . . ."
    code, message = failure(capsys, "show", str(path), "--order", "C")
    assert code == 2
    assert re.search("order F.*drop --order", message)


def test_show_builds_only_what_it_shows(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import convmatrix.matrices

    asked: list[tuple[int, int]] = []
    original = convmatrix.matrices.conv_matrix

    def recording(*arguments: Any, **options: Any) -> Any:
        asked.append(options["rows"])
        return original(*arguments, **options)

    monkeypatch.setattr(convmatrix.matrices, "conv_matrix", recording)
    large = ["--kernel-shape", "64x64x3x3", "--input-shape", "64x2240x2240", "--padding", "same"]
    lines = shown(capsys, *large, "--weights", "--max-rows", "5")
    assert lines[5] == "..."
    assert "matrix, showing rows 0 to 4 and columns 0 to" in lines[6]
    lines = shown(capsys, *large, "--random", "--rows", "321126390:")
    assert lines[10].startswith("321126400 x 321126400 matrix, showing rows 321126390 to 321126399 and columns")
    assert main(["show", *large, "--random", "--latex"]) == 0
    capsys.readouterr()
    assert asked == [(0, 6), (321126390, 321126400), (0, 10), (321126390, 321126400)]


def test_show_latex(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["show", *EXAMPLE, "--latex"]) == 0
    A = cm.conv_matrix([[1, 2], [3, 4]], (3, 3))
    assert capsys.readouterr().out == convmatrix.io.to_latex(A) + "\n"
    assert main(["show", "--kernel", "[0.6666,1]", "--input-shape", "3", "--latex", "--digits", "2"]) == 0
    assert capsys.readouterr().out == convmatrix.io.to_latex(cm.conv_matrix([0.67, 1], 3)) + "\n"
    assert main(["show", *EXAMPLE, "--digits", "2"]) == 2
    assert "--digits is for --latex" in capsys.readouterr().err
    long = ["--kernel-shape", "3", "--random", "--seed", "1", "--input-shape", "90"]
    main(["matrix", *long, "-o", str(tmp_path / "A.npz")])
    capsys.readouterr()
    main(["show", *long, "--latex", "--max-rows", "4", "--max-columns", "5"])
    printed = capsys.readouterr().out
    B = convmatrix.io.load(tmp_path / "A.npz")[0]
    assert printed == convmatrix.io.to_latex(B, max_rows=4, max_columns=5) + "\n"
    main(["show", str(tmp_path / "A.npz"), "--latex", "--max-rows", "4", "--max-columns", "5"])
    assert capsys.readouterr().out == printed


def test_show_fits_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    long = ["--kernel", "[1,2,3]", "--input-shape", "200"]
    assert main(["show", *long]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {len(line) for line in lines[:40]} == {29}
    assert lines[40] == "..."
    assert len(shown(capsys, *long, "--max-columns", "4", "--max-rows", "2")[0]) == len("1 2 3 . ...")


# --- what is refused -------------------------------------------------------------------------------------------------

USAGE = {
    "no command": (["--debug"], "COMMAND"),
    "unknown command": (["draw"], "'draw' is unknown.*matrix, show, count"),
    "unknown option": (["matrix", *EXAMPLE, "--strid", "2"], "--strid is unknown.*--stride"),
    "two kernels": (["matrix", *EXAMPLE, "--kernel-shape", "3"], "--kernel-shape: not allowed with argument --kernel"),
    "no kernel": (["matrix", "--input-shape", "3"], "--kernel, or --kernel-shape"),
    "no input shape": (["matrix", "--kernel", "[1]"], "--input-shape, such as 28x28"),
    "no weights": (["matrix", "--kernel-shape", "3", "--input-shape", "5"], "--random, or give --kernel"),
    "no weights to show": (["show", "--kernel-shape", "3", "--input-shape", "5"], "--random, or give --kernel"),
    "random kernel": (["matrix", *EXAMPLE, "--random"], "--random.*--kernel"),
    "seed": (["matrix", *EXAMPLE, "--seed", "1"], "--seed .*--random"),
    "connections and groups": (
        ["matrix", *EXAMPLE, "--groups", "2", "--connections", "[[1]]"],
        "--connections has shape 1x1.*--input-shape=3x3",
    ),
    "output padding": (["matrix", *EXAMPLE, "--output-padding", "1"], "--output-padding.*--transposed"),
    "two from standard input": (
        ["matrix", "--kernel", "-", "--connections", "-", "--input-shape", "2x4"],
        "--kernel and --connections .*standard input",
    ),
    "stride of three axes": (["matrix", *EXAMPLE, "--stride", "1x2x3"], "--stride has 3 entries.*2 spatial axes"),
    "output padding of two axes": (
        ["matrix", "--kernel", "[1]", "--input-shape", "3", "--transposed", "--output-padding", "0x0"],
        "--output-padding has 2 entries.*1 spatial ax",
    ),
    "boundary of three axes": (
        ["matrix", *EXAMPLE, "--boundary", "zero,zero,zero"],
        "--boundary has 3 entries.*2 spatial axes",
    ),
    "padding of three axes": (["matrix", *EXAMPLE, "--padding", "1x1x1"], "--padding has 3 entries.*2 spatial"),
    "tile of one axis too many": (
        ["matrix", "--kernel-shape", "3", "--random", "--input-shape", "9", "--sharing", "2x2"],
        "--sharing has 2 entries.*1 spatial ax",
    ),
    "shape": (["matrix", "--kernel", "[1]", "--input-shape", "3x"], "--input-shape: '3x'.*3x32x32"),
    "shape of zero": (["matrix", "--kernel", "[1]", "--input-shape", "0x3"], "--input-shape: '0x3'.*at least 1"),
    "shape past 64 bits": (["matrix", "--kernel", "[1]", "--input-shape", "9" * 20], "--input-shape: '9{20}'"),
    "stride": (["matrix", *EXAMPLE, "--stride", "0"], "--stride: '0'.*at least 1"),
    "dilation": (["matrix", *EXAMPLE, "--dilation", "1.5"], "--dilation: '1.5'"),
    "output padding of letters": (["matrix", *EXAMPLE, "--output-padding", "a"], "--output-padding: 'a'.*at least 0"),
    "groups": (["matrix", *EXAMPLE, "--groups", "0"], "--groups: '0'.*at least 1"),
    "negative seed": (["matrix", *EXAMPLE, "--seed=-1"], "--seed: '-1'.*at least 0"),
    "padding": (
        ["matrix", *EXAMPLE, "--padding", "some"],
        "--padding='some'.*valid, same, same_lower, full.*did you mean 'same'",
    ),
    "half a padding": (["matrix", *EXAMPLE, "--padding", "1x2:"], "--padding: '2:'.*low:high"),
    "boundary": (
        ["matrix", *EXAMPLE, "--boundary", "zero,even"],
        "--boundary 'even'.*zero, circular, reflect, symmetric, replicate",
    ),
    "sharing": (["matrix", *EXAMPLE, "--sharing", "tied"], "--sharing='tied'.*'shared'"),
    "rows": (["matrix", *EXAMPLE, "--rows", "3"], "--rows: '3'.*0:100"),
    "rows that end before": (["matrix", *EXAMPLE, "--rows", "3:3"], "--rows: '3:3'"),
    "rows of letters": (["matrix", *EXAMPLE, "--rows", "a:b"], "--rows: 'a:b'"),
    "order": (["matrix", *EXAMPLE, "--order", "K"], "argument --order: invalid choice: 'K'"),
    "format": (["matrix", *EXAMPLE, "--format", "lil"], "argument --format: invalid choice: 'lil'"),
    "dtype": (["matrix", *EXAMPLE, "--dtype", "float16"], "argument --dtype: invalid choice: 'float16'"),
    "suffix": (["matrix", *EXAMPLE, "-o", "A.txt"], r"-o A\.txt.*\.npz, \.mtx, \.mat"),
    "two on standard output": (["matrix", *EXAMPLE, "-o", "-", "--json"], "-o - and --json"),
    "no JSON": (["matrix", "--kernel", "[1,2", "--input-shape", "3"], "--kernel: .*JSON.*line 1, column 5"),
    "uneven lists": (
        ["matrix", "--kernel", "[[1,2],[3]]", "--input-shape", "3"],
        r"--kernel: list \[1\] has 1 entries.* 2",
    ),
    "a number among lists": (
        ["matrix", "--kernel", "[[1,2],3]", "--input-shape", "3"],
        r"--kernel: entry \[1\] is 3.* 2",
    ),
    "a list among numbers": (
        ["matrix", "--kernel", "[1,[2,3]]", "--input-shape", "3"],
        r"--kernel: entry \[1\] is \[2, 3\]",
    ),
    "a word among numbers": (
        ["matrix", "--kernel", '[1,"two"]', "--input-shape", "3"],
        r"--kernel: entry \[1\] is 'two'",
    ),
    "true among numbers": (["matrix", "--kernel", "[true]", "--input-shape", "3"], r"--kernel: entry \[0\] is true"),
    "empty list": (["matrix", "--kernel", "[]", "--input-shape", "3"], "--kernel: .*no numbers"),
    "deep lists": (["matrix", "--kernel", "[" * 99999, "--input-shape", "3"], "--kernel: .*nested"),
    "many axes": (["matrix", "--kernel", "[" * 65 + "1" + "]" * 65, "--input-shape", "3"], "--kernel: .*65 axes.* 64"),
    "large integers": (["matrix", "--kernel", f"[{2**64}, -1]", "--input-shape", "3"], "--kernel: .*64 bits.*1e20"),
    "integers of no one type": (
        ["matrix", "--kernel", f"[{2**63}, -1]", "--input-shape", "3"],
        "--kernel: .*64 bits.*1e20",
    ),
    "a large integer among floats": (
        ["matrix", "--kernel", f'[{10**400}, "1.5j"]', "--input-shape", "3"],
        "--kernel: .*64 bits.*1e20",
    ),
    "ambiguous weights": (
        [
            "matrix",
            "--kernel",
            as_json(np.ones((3, 3, 3, 2))),
            "--input-shape",
            "3x3",
            "--padding",
            "same",
            "--sharing",
            "unshared",
        ],
        r"3x3x3x2.*--input-shape=3x3.*--sharing='unshared'.*--sharing 2x2",
    ),
    "ambiguous weights of two axes": (
        ["matrix", "--kernel", as_json(np.ones((2, 2, 2, 2, 2, 2))), "--input-shape", "2x3x3", "--sharing", "2"],
        r"2x2x2x2x2x2.*--sharing=2.*--sharing 2x2",
    ),
    "weights in LaTeX": (["show", *EXAMPLE, "--latex", "--weights"], "--latex .*--weights"),
    "small LaTeX": (["show", *EXAMPLE, "--latex", "--max-rows", "2"], "--latex.*--max-rows and --max-columns.* 3"),
    "a file and a layer": (["show", "A.npz", *EXAMPLE, "--flip"], r"--kernel, --input-shape, --flip .*A\.npz"),
    "width": (["show", *EXAMPLE, "--width", "0"], "--width: '0'"),
}


@for_each("arguments, message", USAGE.values(), ids=USAGE.keys())
def test_usage_errors(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = failure(capsys, *arguments)
    assert re.search(message, line), line
    assert code == 2


DATA = {
    "does not fit": (
        ["matrix", "--kernel", "[[1,2],[3,4]]", "--input-shape", "1x3"],
        r"axis 0: it spans 2 samples \(--kernel-shape\[0\]=2, --dilation=1\).* 1 \(--input-shape\[0\]=1",
    ),
    "axes": (
        ["matrix", "--kernel", "[[1,2],[3,4]]", "--input-shape", "2x3x3x3"],
        "kernel has 2 axes.*--input-shape=2x3x3x3 has 4",
    ),
    "channels": (
        ["matrix", "--kernel-shape", "4x2x3", "--random", "--input-shape", "3x9"],
        "2 channels.*--groups=1.* 3 ",
    ),
    "too large": (["matrix", *TOO_LARGE], "stored entries needs 296 TB.*--rows"),
    "too many weights": (
        ["matrix", "--kernel-shape", "99999x99999x9x9", "--random", "--input-shape", "99999x9x9"],
        "809983800081 random weights needs 19.4 TB.*--dry-run",
    ),
    "missing file": (["matrix", "--kernel", "k.npy", "--input-shape", "3"], r"k\.npy: No such file"),
    "folder": (["matrix", "--kernel", ".", "--input-shape", "3"], r"\.: Is a directory"),
    "strange suffix": (["matrix", "--kernel", "k.png", "--input-shape", "3"], r"k\.png.*\.npy, \.json, \.csv, \.txt"),
    "rows past the end": (["matrix", *EXAMPLE, "--rows", "2:5"], "--rows 2:5.* 4 rows"),
    "rows after the end": (["show", *EXAMPLE, "--rows", "4:"], "--rows 4:4.* 4 rows"),
    "tile": (
        ["matrix", "--kernel", "[[1,2],[3,4],[5,6]]", "--input-shape", "5", "--sharing", "2"],
        r"\(3, 2\).*\(3,\).*\(2,\)",
    ),
    "neither reading": (
        ["matrix", "--kernel", as_json(np.ones((2, 2, 2, 2))), "--input-shape", "4x4", "--sharing", "3"],
        r"2x2x2x2 on --input-shape=4x4 with --sharing=3",
    ),
    "table of twos": (
        ["matrix", "--kernel", "[[1]]", "--input-shape", "1x3", "--connections", "[[2]]"],
        "--connections must hold .*1 and 0.* 2$",
    ),
    "table of one axis": (
        ["matrix", "--kernel", "[[1]]", "--input-shape", "1x3", "--connections", "[1]"],
        r"--connections has shape 1,.* but --input-shape=1x3",
    ),
    "table of other channels": (
        ["matrix", "--kernel", "[[1]]", "--input-shape", "3x3", "--connections", "[[1,1]]"],
        r"--connections has shape 1x2,.* but --input-shape=3x3",
    ),
    "no folder": (["matrix", *EXAMPLE, "-o", "nowhere/A.npz"], r"nowhere/A\.npz.*folder nowhere"),
    "a folder": (["matrix", *EXAMPLE, "-o", "folder.npz"], r"folder\.npz.*is a folder"),
    "saved file missing": (["show", "B.npz"], r"B\.npz: No such file"),
    "saved file of another kind": (["show", "k.txt"], r"k\.txt.*'\.txt'"),
    "complex to real": (
        ["matrix", "--kernel", '["1j"]', "--input-shape", "3", "--dtype", "float64"],
        "complex128.*--dtype=float64.*another --dtype",
    ),
}


@for_each("arguments, message", DATA.values(), ids=DATA.keys())
def test_data_errors(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.npz").mkdir(exist_ok=True)
    Path("k.txt").write_text("1 2")
    code, line = failure(capsys, *arguments)
    assert re.search(message, line), line
    assert code == 2


@for_each(
    "name, content, message",
    [
        ("k.txt", b"1 2\n3 4 5\n", "line 2 has 3 entries, but line 1 has 2"),
        ("k.csv", b"# table\n1,,2\n", "line 2, entry 2 is '', which is not a number"),
        ("k.csv", b"1,2,\n", "line 1, entry 3 is '', which is not a number"),
        ("k.txt", b"1 two\n", "line 1, entry 2 is 'two', which is not a number"),
        ("k.txt", b"1_000\n", "line 1, entry 1 is '1_000', which is not a number"),
        ("k.txt", b"# nothing\n\n", "it contains no numbers"),
        ("k.txt", b"\xff\xfe1", "it is not UTF-8 text"),
        ("k.json", b"[1, 2", "it is not JSON: Expecting"),
        ("k.npy", b"", "it is not an array of numbers in .npy format"),
        ("k.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': 'O'}  ", "it is not an array of numbers in .npy format"),
    ],
)
def test_kernel_files_that_are_none(
    name: str, content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    code, line = failure(capsys, "matrix", "--kernel", str(path), "--input-shape", "9")
    assert line.startswith(f"cannot read {path}: {message}")
    assert code == 2


def test_npy_files_of_no_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "harm"),)

    path = tmp_path / "k.npy"
    np.save(path, np.array([Harmful()], dtype=object), allow_pickle=True)
    code, line = failure(capsys, "matrix", "--kernel", str(path), "--input-shape", "9")
    assert (code, "it is not an array of numbers in .npy format" in line) == (2, True)
    assert not (tmp_path / "harm").exists()
    np.save(path, np.array(["text"]))
    assert (
        "it contains <U4, which are not numbers"
        in failure(capsys, "matrix", "--kernel", str(path), "--input-shape", "9")[1]
    )
    np.save(path, np.zeros(3))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"(3,)", b"(9999999999999,)").replace(b"             \n", b" \n"))
    assert "it is not an array of numbers" in failure(capsys, "matrix", "--kernel", str(path), "--input-shape", "9")[1]
    path.write_bytes(whole[:-1])
    assert "it is not an array of numbers" in failure(capsys, "matrix", "--kernel", str(path), "--input-shape", "9")[1]


# --- the command itself ----------------------------------------------------------------------------------------------


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"convmatrix {cm.__version__}\n", b"")


@pytest.mark.parametrize("command", [[], ["matrix"], ["show"], ["conform"]])
def test_help_tells_how(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: convmatrix")
    assert "examples:" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_examples_of_the_help_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("edges.csv").write_text("-1,0,1\n")
    Path("model.onnx").touch()
    Path("mylayers.py").write_text(
        "def convolve(x, w, b, stride):\n"
        "    positions = range(0, x.shape[2] - w.shape[2] + 1, *stride)\n"
        "    import numpy as np\n"
        "    return np.array([[[x[0, 0, i : i + w.shape[2]] @ w[0, 0] for i in positions]]])\n"
    )
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    layer = cm.ConvGeometry((4, 4), (3, 3), in_channels=3)
    model = cm.Network([cm.network.Node("conv1", cm.network.Convolution(layer, np.ones(layer.weight_shape)))])
    monkeypatch.setattr(cm.Network, "from_onnx", lambda *_: model, raising=False)
    names = [f"X_{i}" for i in range(48)] + [f"Y_{i}" for i in range(4)]
    declared = "".join(f"(declare-const {name} Real)" for name in names)
    box = "".join(f"(assert (<= -1 X_{i} ))(assert (<= X_{i} 1))" for i in range(48))
    Path("property.vnnlib").write_text(f"{declared}{box}(assert (>= Y_0 28))")
    epilogs = [command.EPILOG for command in cli.COMMANDS]
    lines = [line for text in epilogs for line in text.replace("\\\n", " ").splitlines()[1:]]
    examples = [line for line in lines if line.startswith("  ")]
    assert len(examples) >= 9
    for example in examples:
        example = example.replace("prove --all", "prove flat-index")  # all proofs take most of a minute
        example = example.replace(" --engine coq", "")  # tests/test_coq.py
        example, _, output = example.partition(" > ") if "|" not in example else (example, "", "")
        if "|" in example:
            script = f'convmatrix() {{ "{sys.executable}" -m convmatrix "$@"; }}; set -o pipefail; {example}'
            subprocess.run(["bash", "-c", script], check=True, capture_output=True, env=environment(), timeout=60)
        else:
            name, *arguments = shlex.split(example)
            refuted = 1 if arguments[0] == "equivariance" else 0  # a symmetry that is broken ends with 1
            assert name == "convmatrix"
            with contextlib.ExitStack() as stack:
                if output:
                    stack.enter_context(contextlib.redirect_stdout(stack.enter_context(Path(output).open("w"))))
                assert main(arguments) in {0, refuted}
    written = {
        "A.npz",
        "edges.mtx",
        "A.tex",
        "proof.json",
        "appendix.tex",
        "weights.npz",
        "run.npz",
        "blog.html",
        "explore.html",
        "resnet50.csv",
        "conv1.npz",
        "sure.json",
        "circular_shift.v",
        "vectors",
    }
    given = {"edges.csv", "model.onnx", "mylayers.py", "property.vnnlib"}
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == given | written


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    bad = ["matrix", "--kernel", "[[1,2],[3,4]]", "--input-shape", "1x1"]
    for arguments in (["--debug", *bad], [*bad, "--debug"]):
        assert main(arguments) == 2
        errors = capsys.readouterr().err
        assert "Traceback (most recent call last)" in errors
        assert errors.splitlines()[-1].startswith("convmatrix: error: kernel does not fit")
    failure(capsys, *bad)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "out of memory; ask for an estimate with convmatrix matrix --dry-run"),
        (RuntimeError("two\nlines"), "RuntimeError: two lines; --debug shows where"),
        (ValueError(), "ValueError"),
        (OSError(28, "No space left on device", "A.npz"), "A.npz: No space left on device"),
        (OSError("nothing more is known"), "nothing more is known"),
    ],
)
def test_any_error_takes_one_line(
    error: Exception, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("convmatrix.matrices.conv_matrix", fail)
    assert failure(capsys, "matrix", *EXAMPLE) == (2, message)


def test_names_beyond_the_output_encoding() -> None:
    done = run(
        "matrix", *EXAMPLE, "-o", "nowhere/\N{GREEK SMALL LETTER ALPHA}.npz", env=environment(PYTHONIOENCODING="ascii")
    )
    assert done.returncode == 2
    assert b"cannot write nowhere/\\u03b1.npz" in done.stderr


def test_saved_names_beyond_the_output_encoding(tmp_path: Path) -> None:
    name = "\N{GREEK SMALL LETTER ALPHA}.npz"
    done = run("matrix", *EXAMPLE, "-o", name, cwd=tmp_path, env=environment(PYTHONIOENCODING="ascii"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"saved     \\u03b1.npz" in done.stdout
    assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("name", "value"), [("stride", "2x1"), ("dilation", "1x2"), ("padding", "0:1x2"), ("padding", "samex1")]
)
def test_commas_join_axes_as_x_does(name: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    reports = []
    for text in (value, value.replace("ex", "e,") if value.startswith("same") else value.replace("x", ",")):
        arguments = ["matrix", "--kernel-shape", "2,3", "--input-shape", "7x8", "--json", "--dry-run"]
        assert main([*arguments, f"--{name}", text]) == 0
        reports.append(capsys.readouterr().out)
    assert reports[0] == reports[1]


def test_words_of_other_packages_are_translated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", "--kernel-shape", "3", "--input-shape", "7", "--boundary", "periodic", "--dry-run"]) == 2
    assert re.search("'periodic'.*'circular'", capsys.readouterr().err)


def test_misspelt_and_foreign_names_are_answered(capsys: pytest.CaptureFixture[str]) -> None:
    layer = ["matrix", "--kernel-shape", "3", "--input-shape", "7", "--dry-run"]
    for arguments, meant in {
        ("matix",): "matrix",
        ("Spectrums",): "spectrum",
        (*layer, "--strides", "2"): "--stride",
        (*layer, "--dilation-rate=2"): "--dilation",
        (*layer, "--padding-mode", "zeros"): "--boundary",
        (*layer, "--kernel-size", "3"): "--kernel-shape",
        (*layer, "--outputpadding", "3"): "--output-padding",
        (*layer, "--jsn"): "--json",
        ("show", *layer[1:5], "--wieghts"): "--weights",
    }.items():
        code, line = failure(capsys, *arguments)
        assert code == 2
        assert re.search(rf"is unknown; .*{meant}$|called {meant} here$|did you mean {meant}\?$", line), line
    assert "unrecognized arguments: --quux" in failure(capsys, *layer, "--quux")[1]
    assert "unrecognized arguments: more" in failure(capsys, *layer, "more")[1]


def test_every_layer_option_is_an_option_of_every_command_with_a_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(layer_options._SYNTAX) == set(LAYER_OPTIONS)
    for command in ("matrix", "show", "count", "equivariance", "spectrum", "explore"):
        assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        for name in (*LAYER_OPTIONS, "order"):
            assert re.search(rf"--{name.replace('_', '-')}[ ,]", text), (command, name)
        assert ("number of channel groups" in text) == (command == "matrix")


def test_the_help_explains_every_other_option(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options with the names of options of a layer, such as --seed of train, have texts of their own."""
    monkeypatch.setenv("COLUMNS", "200")
    for command, texts in {
        "train": ("seed of weights, split and sample order", "default float32"),
        "conform": ("of the random layers; default: 0",),
        "network": ("such as 3x224x224, if the file leaves sizes open",),
        "tiling": ("such as 3x256x256, if the file leaves sizes open",),
        "verify": ("such as 1x28x28, if the file leaves sizes open",),
    }.items():
        assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        assert "--help explains them" not in text, command
        assert all(own in text for own in texts), command


def test_a_command_alone_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("usage: convmatrix")
    assert "lenet5" in failure(capsys, "count")[1]


@pytest.mark.parametrize("shape", ["5x6", "5X6", "(5, 6)", "(5,6)", "[5,6]", "5 6", "5, 6", " 5 x 6 "])
def test_ways_to_write_a_shape(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = summary(capsys, "--kernel-shape", "3x3", "--input-shape", shape, "--random")
    assert found["geometry"]["input_shape"] == [5, 6]


@pytest.mark.parametrize("shape", ["(5,6", "5xx6", "5,,6", "()", "x5", "5.5", "((5))"])
def test_shapes_that_are_none(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--input-shape" in failure(capsys, "matrix", "--kernel-shape", "3", "--input-shape", shape, "--random")[1]


def test_one_pair_of_padding_applies_to_all_axes(capsys: pytest.CaptureFixture[str]) -> None:
    for kernel, shape, n_axes in (("3", "9", 1), ("2x3", "5x9", 2), ("4x2x3", "2x9", 1), ("4x2x3x1", "2x9x5", 2)):
        found = summary(capsys, "--kernel-shape", kernel, "--input-shape", shape, "--padding", "0:2", "--random")
        assert found["geometry"]["padding"] == [[0, 2]] * n_axes
    _, line = failure(capsys, "matrix", "--kernel-shape", "9", "--input-shape", "3", "--padding", "0:2", "--random")
    assert "axis 0: it spans 9 samples" in line


def test_a_boundary_without_padding_is_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    for padding, boundary, noted in (
        ("valid", "circular", True),
        ("0", "reflect", True),
        ("same", "circular", False),
        ("0:1", "circular", False),
        ("valid", "zero", False),
    ):
        arguments = ("--kernel", "[1,2,3]", "--input-shape", "6", "--padding", padding, "--boundary", boundary)
        assert main(["matrix", *arguments]) == 0
        assert ("no effect without padding" in capsys.readouterr().out) == noted, (padding, boundary)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(shell: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert main(["--print-completion", shell]) == 0
    output, errors = capfd.readouterr()
    assert errors == ""
    script = tmp_path / "completion"
    script.write_text(output)
    if shell == "zsh":
        assert output.startswith("#compdef convmatrix")
        assert all(f"{name}:" in output for name in ("matrix", "equivariance", "spectrum"))
        assert "_files" in output
        return
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True, timeout=60).returncode == 0
    (tmp_path / "kernel.csv").write_text("1")
    for words, expected in (
        (["convmatrix", "ma"], "matrix"),
        (["convmatrix", "equ"], "equivariance"),
        (["convmatrix", "matrix", "--str"], "--stride"),
        (["convmatrix", "show", "--kernel", "ker"], "kernel.csv"),
        (["convmatrix", "matrix", "--connections", "ker"], "kernel.csv"),
        (["convmatrix", "matrix", "--boundary", "circ"], "circular"),
        (["convmatrix", "spectrum", "--padding", "sa"], "same_lower"),
        (["convmatrix", "prove", "circ"], "circulant-converse"),
        (["convmatrix", "count", "le"], "lenet5"),
    ):
        quoted = " ".join(map(shlex.quote, words))
        code = (
            f"source {shlex.quote(str(script))}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
            f"COMP_LINE={shlex.quote(' '.join(words))}; COMP_POINT=${{#COMP_LINE}}; "
            'function_name=$(complete -p convmatrix | sed "s/.*-F \\([^ ]*\\).*/\\1/"); $function_name; '
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert expected in done.stdout.split(), (words, done)


def test_completion_names_the_package_that_it_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    code, line = failure(capsys, "--print-completion", "bash")
    assert (code, "pip install shtab" in line) == (2, True)
