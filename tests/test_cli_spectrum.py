"""The command ``convmatrix spectrum``: what it says, draws and refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.cli import main

CIRCULAR = ["--padding", "same", "--boundary", "circular"]
LAYER = ["--kernel-shape", "6x4x3x2", "--random", "--seed", "3", "--input-shape", "4x6x8"]


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["spectrum", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["spectrum", *arguments])
    captured = capsys.readouterr()
    assert captured.out == ""
    prefix, _, message = captured.err.strip().partition("convmatrix: error: ")
    assert prefix == ""
    assert "\n" not in message
    return code, message


@pytest.mark.parametrize(
    ("arguments", "options", "axes"),
    [
        ([*CIRCULAR, "--stride", "2"], {"padding": "same", "boundary": "circular", "stride": 2}, ["fourier"] * 2),
        (["--padding", "1", "--groups", "2"], {"padding": 1, "groups": 2}, ["dense"] * 2),
        (
            ["--padding", "samex1:0", "--boundary", "circular,reflect", "--flip", "--dilation", "1x2"],
            {"padding": ["same", (1, 0)], "boundary": ["circular", "reflect"], "flip": True, "dilation": (1, 2)},
            ["fourier", "dense"],
        ),
        (["--transposed", "--stride", "2"], {"transposed": True, "stride": 2}, ["dense", "fourier"]),
    ],
)
def test_json_of_a_layer(
    capsys: pytest.CaptureFixture[str], arguments: list[str], options: dict[str, Any], axes: list[str]
) -> None:
    shape = "6x2x3x2" if "--groups" in arguments else "4x6x3x2" if "--transposed" in arguments else "6x4x3x2"
    layer = ["--kernel-shape", shape, *LAYER[2:]]
    record = json.loads(output(capsys, *layer, *arguments, "--tol", "1e-6", "--json", "--values"))
    geometry = cm.ConvGeometry((6, 8), (3, 2), in_channels=4, out_channels=6, **options)
    weights = np.random.default_rng(3).standard_normal(geometry.weight_shape)
    expected = np.linalg.svd(cm.conv_matrix(weights, geometry).toarray(), compute_uv=False)
    assert record["matrix"] == [geometry.n_out, geometry.n_in]
    assert (record["axes"], record["route"], record["seed"]) == (axes, "blocks", 3)
    np.testing.assert_allclose(record["singular_values"], expected, atol=1e-13 * expected[0])
    assert record["norm"] == record["singular_values"][0]
    assert record["smallest"] == record["singular_values"][-1]
    assert record["rank"] == np.linalg.matrix_rank(cm.conv_matrix(weights, geometry).toarray())
    lower, upper = record["bounds"]
    assert lower <= record["norm"] <= upper <= lower * (1 + 1e-6)


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "--kernel", "[1,-2,1]", "--input-shape", "3", "--padding", "same", "--values")
    lines = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert list(lines) == ["layer", "matrix", "route", "norm", "bounds", "smallest", "condition", "rank", "values"]
    assert lines["matrix"] == "3 x 3"
    assert lines["route"] == "blocks, axes dense"
    assert float(lines["norm"]) == pytest.approx(2 + math.sqrt(2))
    assert [float(value) for value in lines["values"].split()] == pytest.approx([2 + 2**0.5, 2, 2 - 2**0.5])
    assert lines["rank"] == "3 of 3"


def test_a_symmetric_boundary_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    layer = ["--kernel", "[1,2,1]", "--input-shape", "8", "--padding", "same", "--boundary", "symmetric"]
    assert "route     blocks, axes cosine\n" in output(capsys, *layer)


def test_a_singular_layer(capsys: pytest.CaptureFixture[str]) -> None:
    layer = ["--kernel", "[1,1]", "--input-shape", "4", *CIRCULAR]
    record = json.loads(output(capsys, *layer, "--json"))
    assert (record["condition_number"], record["rank"]) == ("inf", 3)
    assert "singular_values" not in record
    assert "condition inf\nrank      3 of 4" in output(capsys, *layer)


def test_the_seed_of_random_weights_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "weights   random, --seed 3\n" in output(capsys, *LAYER)
    complex_layer = output(capsys, *LAYER, "--dtype", "complex128")
    assert complex_layer != output(capsys, *LAYER)


def test_large_layers_take_lanczos_steps(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    exact = json.loads(output(capsys, *LAYER, "--json"))
    monkeypatch.setattr("convmatrix.spectral.blocks.MODERATE_WORK", 0)
    record = json.loads(output(capsys, *LAYER, "--json"))
    assert record["route"] == "lanczos"
    assert abs(record["norm"] - exact["norm"]) <= record["norm_error"] <= 1e-6 * exact["norm"]
    assert record["smallest"] is record["rank"] is record["condition_number"] is None
    text = output(capsys, *LAYER)
    assert "route     Lanczos steps (axes dense x dense)\n" in text
    assert "rank" not in text
    code, message = failure(capsys, *LAYER, "--values")
    assert code == 2
    assert "are out of reach" in message


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".png", b"\x89PNG")])
def test_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, start: bytes) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"spectrum{suffix}"
    output(capsys, *LAYER, "--plot", str(path))
    assert path.read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_plot_without_matplotlib(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> None:
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")

    monkeypatch.setattr("convmatrix.plotting.plot_spectrum", missing)
    message = "--plot needs matplotlib, which is not installed: pip install matplotlib"
    assert failure(capsys, *LAYER, "--plot", str(tmp_path / "a.png")) == (2, message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--kernel-shape", "3", "--input-shape", "5"], 2, "--kernel-shape gives no weights: add --random"),
        (["--input-shape", "5"], 2, "no kernel: give --kernel"),
        ([*LAYER, "--tol", "0"], 2, "'0' is not a tolerance"),
        ([*LAYER, "--tol", "small"], 2, "'small' is not a tolerance"),
        ([*LAYER, "--tol", "1e-18"], 2, "tol=1e-18 cannot be met: the norm lies between"),
        ([*LAYER, "--order", "F"], 2, "--order: the spectrum is that of the whole layer"),
        ([*LAYER, "--rows", "0:2"], 2, "--rows: the spectrum"),
        (["--kernel", "[1,2]", "--input-shape", "5", "--dtype", "float32"], 2, "--dtype is the type of --random"),
        ([*LAYER, "--plot", "a.jpg"], 2, "--plot a.jpg: the name must end in .svg, .png, .pdf"),
        ([*LAYER, "--plot", "nowhere/a.svg"], 2, "cannot write nowhere/a.svg: the folder nowhere does not exist"),
        (["--kernel", "[1,2,3]", "--input-shape", "2"], 2, "kernel does not fit on axis 0"),
        (["--kernel", "[1e999,1]", "--input-shape", "5"], 2, "the kernel has 1 infinite or NaN"),
    ],
)
def test_bad_requests(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str) -> None:
    assert (found := failure(capsys, *arguments))[0] == code
    assert message in found[1]
