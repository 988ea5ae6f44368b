"""Commands that are interrupted early, write to a full disk, or are given numbers that are easily misread."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from convmatrix import spectral
from convmatrix.cli import main
from tests.cases import for_each

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("seconds", [0.3, 0.8])
def test_an_interrupt_while_the_package_is_imported_shows_no_traceback(seconds: float) -> None:
    """The interpreter itself takes up to a quarter of a second, in which Python shows a traceback of its own."""
    command = [sys.executable, "-m", "convmatrix", "show", "--kernel", "[1,2]", "--input-shape", "4", "--color=never"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130, 0)
    assert "convmatrix" not in errors, errors


def test_interrupts_are_caught_once_the_command_runs() -> None:
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        assert main(["show", "--kernel", "[1]", "--input-shape", "1", "--color", "never"]) == 0
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@for_each("argument", ["--help", "--version"])
def test_help_on_a_full_disk_is_an_error(argument: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-u", "-m", "convmatrix", argument],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert "No space left" in done.stderr


@for_each("text", ["0,5 1,5", "0,5;1,5", "1, 2 3", "\u0661 \u0662", "1 \u0665"])
def test_numbers_that_are_easily_misread_are_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kernel.txt"
    path.write_text(text, encoding="utf-8")
    assert main(["show", "--kernel", str(path), "--input-shape", "4x4", "--color", "never"]) == 2
    errors = capsys.readouterr().err
    assert "decimal points" in errors or "is not a number" in errors


@for_each("text", ["0, 5", "0 ,5", "0;5", "0\t5", "0  5"])
def test_tables_with_one_kind_of_separator(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kernel.txt"
    path.write_text(text, encoding="utf-8")
    assert main(["matrix", "--kernel", str(path), "--input-shape", "4x4"]) == 0
    assert "(1, 2)" in capsys.readouterr().out


def test_a_norm_beyond_double_precision_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spectrum", "--kernel", "[1e308,1e308]", "--input-shape", "5"]) == 2
    assert "beyond double precision" in capsys.readouterr().err
    assert spectral.rank([1e308, 1e308], 5) == 4
    assert spectral.condition_number([1e308, 1e308], 5) == pytest.approx(spectral.condition_number([1, 1], 5))


@for_each(
    "arguments, named",
    [
        (["--kernel", "[[1,2],[3,4]]", "--input-shape", "4x4", "--groups", "7"], "--groups=7 does not divide 1 input"),
        (
            ["--kernel-shape", "4x2x3x3", "--random", "--input-shape", "2x6x6", "--connections", "[[1,0],[0,1]]"],
            "--connections has shape 2x2, but the layer has 4 output channels and 2 input channels",
        ),
        (
            [
                "--kernel",
                "[[1,2],[3,4]]",
                "--input-shape",
                "1000000x1000000",
                "--boundary",
                "circular",
                "--stride",
                "2",
            ],
            "the matrix of this layer with",
        ),
    ],
)
def test_errors_name_the_options_of_the_command(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["matrix", *arguments]) == 2
    errors = capsys.readouterr().err
    assert named in errors
    assert "_channels" not in errors
    assert "ConvGeometry" not in errors


LAYER = ["--kernel-shape", "3x3", "--input-shape", "8x8"]


@for_each(
    "arguments, named",
    [
        (["equivariance", *LAYER, "--output-padding", "1", "--shift", "1"], "--output-padding=1x1 .* --transposed"),
        (["equivariance", *LAYER, "--dilation", "9", "--shift", "1"], r"--input-shape\[0\]=8, --padding=0:0\)"),
        (["equivariance", *LAYER, "--reflect", "2"], "--reflect 2: .* 2 spatial axes"),
        (["equivariance", "--kernel-shape", "3", "--input-shape", "8", "--tie", "C4", "--reflect", "0"], "3x3$"),
        (["spectrum", "--kernel", "[1,2]", "--input-shape", "8x8"], r"shape 2\), but --input-shape=8x8 has 2"),
        (["spectrum", *LAYER, "--random", "--padding", "complex128"], "--padding: 'complex128' is invalid"),
        (["explore", *LAYER, "--padding", "wrap"], "--padding='wrap' .*--boundary 'circular'"),
        (
            ["explore", "--kernel-shape", "4x2x3x3", "--input-shape", "3x8x8"],
            "2 channels .* 4x2x3x3 .*--input-shape=3x8x8",
        ),
        (["explore", *LAYER, "--sharing", "2x2"], "--sharing=2x2"),
        (["tiling", "vgg16", "--image", "3x8x8", "--tile", "4"], "--image=3x8x8 has 3 axes"),
        (["tiling", "vgg16", "--image", "500x500", "--tile", "3x8x8"], r"--tile has 3 entries \(3x8x8\)"),
        (["conform", "math:sin", "--options", "strides"], "--options: 'strides' is unknown.*'stride'"),
    ],
)
def test_errors_name_the_options_in_the_syntax_of_the_command(
    arguments: list[str],
    named: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert re.search(named, errors.rstrip()), errors
    assert not re.search(r"(?<!-)\b[a-z]+_(shape|channels)\b|\(\d+,( \d+)*\)|Traceback|numpy\.", errors), errors
    assert errors.count("\n") == 1
    assert not output
    assert not list(tmp_path.iterdir())


def test_the_command_asks_for_the_shape_that_a_file_leaves_open(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1, "height", "width"])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [result])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "open.onnx")
    for command in ("network", "tiling"):
        assert main([command, str(tmp_path / "open.onnx")]) == 2
        assert "give --input-shape with all sizes" in capsys.readouterr().err
