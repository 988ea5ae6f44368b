"""The command ``convmatrix network``: reports, matrices of nodes, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import convmatrix as cm
import convmatrix.io
from convmatrix.cli import main
from convmatrix.network import Convolution, Elementwise, FullyConnected, Input, Network, Node, Pooling, architecture
from tests.cases import for_each

LAYER = cm.ConvGeometry((6, 6), (3, 3), in_channels=2, out_channels=3, padding=1)
WEIGHT = np.arange(54.0).reshape(LAYER.weight_shape) - 20
MODEL = Network(
    [
        Node("x", Input((2, 6, 6))),
        Node("conv", Convolution(LAYER, WEIGHT, [1.0, 2.0, 3.0])),
        Node("relu", Elementwise("relu")),
        Node("pool", Pooling("max", 2)),
        Node("dense", FullyConnected(27, 4, np.ones((4, 27)), np.arange(4.0))),
    ],
    name="model",
)


def install(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Have the file of a path read as the model above."""

    def from_onnx(given: str, input_shape: tuple[int, ...] | None = None) -> Network:
        assert given == str(path)
        if input_shape not in (None, MODEL.input_shape):
            raise ValueError(f"input_shape={input_shape} does not fit the file, which has {MODEL.input_shape}")
        return MODEL

    monkeypatch.setattr(Network, "from_onnx", from_onnx, raising=False)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the path of a file that is read as the model above."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    install(monkeypatch, path)
    return str(path)


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["network", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["network", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("convmatrix: error: ")
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("convmatrix: error: ").strip()


def test_the_forms_of_a_report(capsys: pytest.CaptureFixture[str], model: str) -> None:
    report = MODEL.report()
    assert json.loads(output(capsys, model, "--json")) == json.loads(report.to_json())
    assert output(capsys, model, "--csv") == report.to_csv()
    assert output(capsys, model, "--latex") == report.to_latex()
    assert output(capsys, model, "--width", "70") == report.to_text(70) + "\n"
    assert output(capsys, model, "--input-shape", "2x6x6", "--width", "50") == report.to_text(50) + "\n"
    rows = list(csv.DictReader(io.StringIO(output(capsys, "lenet5", "--csv"))))
    assert sum(int(row["parameters"]) for row in rows) == 60_000
    assert len(output(capsys, "lenet5", "--json").splitlines()) == 1


def test_norms_are_bounds(capsys: pytest.CaptureFixture[str], model: str) -> None:
    rows = json.loads(output(capsys, model, "--norms", "--json"))["rows"]
    norm = np.linalg.norm(MODEL.affine("conv")[0].toarray(), 2)
    assert rows[1]["norm_lower"] <= norm <= rows[1]["norm_upper"] <= norm * (1 + 1e-9)
    assert output(capsys, model, "--norms", "--width", "80").splitlines()[1].split()[-1] == "norm"
    assert "no norm" not in output(capsys, model, "--norms")
    assert output(capsys, "lenet5", "--norms").splitlines()[-1].startswith("no norm of 'C1': ")
    assert "no norm" not in output(capsys, "lenet5") + output(capsys, "lenet5", "--norms", "--csv")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_terminals_while_norms_are_computed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("convmatrix.progress.DELAY", 0)
    monkeypatch.setattr("convmatrix.progress._INTERVAL", 0)
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert main(["network", model]) == 0
    assert screen.getvalue().strip() == ""
    assert main(["network", model, "--norms"]) == 0
    steps = screen.getvalue().split("\r")
    assert any(step.startswith("norms [########............] 2/5 conv") for step in steps)
    assert max(map(len, steps)) < 40
    assert steps[-2:] == [" " * 39, ""]
    before = screen.getvalue()
    assert main(["network", model, "--norms", "--quiet"]) == 0
    assert screen.getvalue() == before
    capsys.readouterr()


@for_each("name, operation", [("conv", "convolution"), ("dense", "dense")])
def test_matrix_of_a_node(
    capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path, name: str, operation: str
) -> None:
    A, b = MODEL.affine(name)
    path = tmp_path / "A.npz"
    printed = output(capsys, model, "--matrix", name, "-o", str(path))
    assert printed.splitlines()[0].startswith(f"node    {name} ({operation}), reads ")
    assert printed.splitlines()[-1] == f"saved   {path}"
    found, geometry = convmatrix.io.load(path)
    assert geometry == (LAYER if name == "conv" else None)
    for matrix in (found, sparse.load_npz(path)):
        np.testing.assert_array_equal(matrix.toarray(), A.toarray())
        assert matrix.nnz == A.nnz
    with np.load(path) as archive:
        np.testing.assert_array_equal(archive["bias"], b)
    before = path.read_bytes()
    record = json.loads(output(capsys, model, "--matrix", name, "-o", str(path), "--json"))
    assert path.read_bytes() == before  # the bytes do not depend on the time
    assert (record["shape"], record["nonzeros"]) == (list(A.shape), A.nnz)
    assert (record["node"], record["kind"]) == (name, operation)
    assert record["matrix"] == record["bias"] == str(path)
    assert [file.name for file in tmp_path.glob("*A*")] == ["A.npz"]


@for_each("suffix", [".mtx", ".mat"])
def test_bias_in_a_file_of_its_own(capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path, suffix: str) -> None:
    path, beside = tmp_path / f"A{suffix}", tmp_path / f"A-bias{suffix}"
    assert str(beside) in output(capsys, model, "--matrix", "conv", "-o", str(path))
    A, b = MODEL.affine("conv")
    np.testing.assert_array_equal(convmatrix.io.load(path)[0].toarray(), A.toarray())
    np.testing.assert_array_equal(convmatrix.io.load(beside)[0].toarray(), b[:, None])


REFUSALS: dict[str, tuple[list[str], str]] = {
    "unknown name": (["resnet5"], "resnet5 is neither a file nor a named network; did you mean resnet50?"),
    "foreign name": (["mobilenet"], "mobilenet is neither a file nor a named network; the named ones are lecun1989, "),
    "absent file": (["absent.onnx"], "cannot read absent.onnx: there is no such file"),
    "folder": (["."], "cannot read .: it is a folder"),
    "shape of a named network": (["lenet5", "--input-shape", "1x4x4"], "lenet5 has the shape 1x32x32; drop it"),
    "no shape": (["lenet5", "--input-shape", "1y4"], "argument --input-shape: '1y4' is invalid"),
    "no width": (["lenet5", "--width", "0"], "argument --width: '0' is not a count"),
    "two forms": (["lenet5", "--json", "--csv"], "argument --csv: not allowed with argument --json"),
    "width of a form": (["lenet5", "--csv", "--width", "60"], "--width is for the table: drop it, or drop --json"),
    "output without matrix": (["lenet5", "-o", "A.npz"], "-o writes the matrix of a node: add --matrix NODE"),
    "matrix without output": (["lenet5", "--matrix", "C1"], "--matrix writes a file: add -o FILE"),
    "matrix and report": (["lenet5", "--matrix", "C1", "-o", "A.npz", "--norms", "--latex"], "--norms, --latex: for "),
    "suffix": (["lenet5", "--matrix", "C1", "-o", "A.png"], "-o A.png: the name must end in .npz, .mtx, .mat"),
    "no folder": (["lenet5", "--matrix", "C1", "-o", "absent/A.npz"], "the folder absent does not exist"),
    "no node": (["resnet18", "--matrix", "conv1.nom", "-o", "A.npz"], "no node 'conv1.nom'; did you mean conv1.norm?"),
    "other node": (
        ["resnet18", "--matrix", "?", "-o", "A.npz"],
        "no node '?'; its nodes are input, conv1, conv1.norm,",
    ),
    "no weights": (
        ["lenet5", "--matrix", "C1", "-o", "A.npz"],
        "node 'C1' of lenet5 has no weights, so it has no matrix",
    ),
    "not linear": (["MODEL", "--matrix", "pool", "-o", "A.npz"], "node 'pool': pooling is not linear"),
    "other shape": (
        ["MODEL", "--input-shape", "3x6x6"],
        "--input-shape=3x6x6 does not fit the file, which has (2, 6, 6)",
    ),
}


@for_each("name", REFUSALS)
def test_refusals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    install(monkeypatch, Path(model))
    arguments, message = REFUSALS[name]
    assert message in failure(capsys, *[model if word == "MODEL" else word for word in arguments])
    assert list(tmp_path.glob("A*")) == []


def test_absent_packages_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"read only where onnx is installed")
    monkeypatch.setitem(sys.modules, "onnx", None)
    message = failure(capsys, str(path))
    assert "needs the package onnx, which is not installed: pip install onnx" in message


def test_a_file_comes_before_a_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "lenet5").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Network, "from_onnx", lambda *_: MODEL, raising=False)
    assert output(capsys, "lenet5", "--width", "60") == MODEL.report().to_text(60) + "\n"
    assert output(capsys, "lenet5", "--latex", "--width", "200") == MODEL.report().to_latex(width=200)


def test_interrupted_writes_leave_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: str, tmp_path: Path
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.lib.format.write_array", fail)
    assert "No space left on device" in failure(capsys, model, "--matrix", "conv", "-o", str(tmp_path / "A.npz"))
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_the_report_is_that_of_the_library(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert output(capsys, "resnet18") == f"{architecture('resnet18').report()}\n"
