"""``convmatrix train``: training, errors, saved files, reports, interrupts and resumed trainings."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convmatrix import nn
from convmatrix.cli import main
from convmatrix.nn.images import enlarge, rescale, stratified_split
from tests.cases import for_each
from tests.test_cli import environment, failure

Files = dict[str, Any]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs in a folder of its own, with images of vertical and horizontal bars in ``bars.npz``."""
    monkeypatch.chdir(tmp_path)
    images, labels = bars()
    np.savez("bars.npz", images=images, labels=labels)


def bars(count: int = 60, size: int = 8) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = rng.integers(0, 60, (count, size, size), dtype=np.uint8)
    for image, label, place in zip(images, labels, rng.integers(1, size - 1, count), strict=True):
        (image if label else image.T)[place] += 180
    return images, labels


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> Files:
    """Run with ``--json``; return the object, which must be all of the output."""
    code = main(["train", *arguments, "--json"])
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    found: Files = json.loads(captured.out)
    return found


def weights(path: str) -> Files:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def assert_same(ours: Files, theirs: Files) -> None:
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert array.tobytes() == theirs[name].tobytes(), name


# --- training -------------------------------------------------------------------------------------------------


def test_it_learns_bars_and_reports(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "small", "bars.npz", "--epochs", "40", "--learning-rate", "0.01", "-o", "w.npz")
    assert found["accuracy"][-1] > 0.9
    assert found["epochs_done"] == len(found["loss"]) == len(found["validation_loss"]) == len(found["accuracy"]) == 40
    assert (found["training_images"], found["validation_images"], found["classes"]) == (48, 12, 2)
    assert (found["image_shape"], found["output"], found["resumed"]) == ([1, 8, 8], "w.npz", False)
    table = np.array(found["confusion"])
    assert table.sum(axis=1).tolist() == [6, 6]
    assert np.trace(table) / 12 == found["accuracy"][-1]
    assert found["parameters"] == sum(array.size for array in weights("w.npz").values())


@pytest.mark.parametrize("method", ["unfold", "matrix"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_fit_with_these_options(method: Any, dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--epochs", "2", "--batch-size", "7", "--optimiser", "sgd", "--learning-rate", "0.02", "--seed", "5"]
    options += ["--schedule", "cosine", "--validation", "0.3", "--method", method, "--dtype", dtype, "-o", "w.npz"]
    found = report(capsys, "small", "bars.npz", *options)
    images, labels = bars()
    x = rescale(images[:, None], 0, 1)
    kept, held_out = stratified_split(labels, 0.3, rng=5)
    network = nn.small((1, 8, 8), classes=2, method=method, dtype=dtype, rng=5)
    history = nn.fit(
        network,
        x[kept],
        labels[kept],
        epochs=2,
        batch_size=7,
        optimiser=nn.SGD(nn.cosine_decay(0.02, 12), momentum=0.9),
        validation=(x[held_out], labels[held_out]),
        rng=5,
    )
    assert_same(weights("w.npz"), network.state())
    again = nn.small((1, 8, 8), classes=2, dtype=dtype)
    again.load_state(dict(np.load("w.npz")))  # as the help says
    np.testing.assert_array_equal(again.parameters["0.weight"], network.parameters["0.weight"])
    assert (found["loss"], found["accuracy"]) == (history.loss, history.metrics["accuracy"])


@pytest.mark.parametrize(
    ("name", "shape", "low", "high"), [("lecun1989", [1, 16, 16], -1, 1), ("lenet5", [1, 32, 32], -0.1, 1.175)]
)
def test_digits_are_enlarged_to_the_input(
    name: str, shape: list[int], low: float, high: float, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    seen: dict[str, Any] = {}

    def fit(network: nn.Sequential, x: Any, y: Any, **options: Any) -> nn.History:
        seen.update(x=x, y=y, loss=options["loss"], network=network)
        return nn.History([1.0], [1.0], {"accuracy": [0.5]})

    monkeypatch.setattr(nn, "fit", fit)
    found = report(capsys, name, "digits", "--validation", "0.1", "--epochs", "1")
    assert (found["image_shape"], found["training_images"], found["validation_images"]) == (shape, 1617, 180)
    assert isinstance(seen["loss"], nn.SquaredError if name == "lecun1989" else nn.SoftmaxCrossEntropy)
    assert seen["network"].output_shape(tuple(shape)) == (10,)
    assert (seen["x"].min(), seen["x"].max()) == pytest.approx((low, high))
    digits = datasets.load_digits()
    kept = stratified_split(digits.target, 0.1)[0]
    np.testing.assert_array_equal(seen["y"], digits.target[kept])
    inner = seen["x"][:, 0, 2:-2, 2:-2] if name == "lenet5" else seen["x"][:, 0]
    np.testing.assert_allclose(inner, low + (high - low) * enlarge(digits.images[kept] / 16, inner.shape[1:]))
    if name == "lenet5":
        assert (seen["x"][:, :, :2] == low).all()
        assert (seen["x"][..., -2:] == low).all()


def test_images_of_files(capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = bars(20)
    np.savez_compressed("compressed.npz", X=np.asfortranarray(images.astype(">f8")), y=labels.astype(np.uint8))
    np.savez("plain.npz", images=images[:, None].astype(np.float32), labels=labels)
    options = ("--epochs", "1", "-o", "w.npz")
    report(capsys, "small", "plain.npz", *options)
    expected = weights("w.npz")
    report(capsys, "small", "compressed.npz", "--images", "X", "--labels", "y", *options)
    assert_same(weights("w.npz"), expected)
    report(capsys, "small", "plain.npz", "--raw", *options)
    assert weights("w.npz")["0.weight"].tobytes() != expected["0.weight"].tobytes()
    found = report(capsys, "lenet5", "plain.npz", "--enlarge", "--classes", "3", "--validation", "0", *options)
    assert (found["image_shape"], found["classes"], found["validation_images"]) == ([1, 32, 32], 3, 0)
    assert found["validation_loss"] == []
    np.savez("colour.npz", images=np.random.default_rng(0).random((12, 3, 5, 9)), labels=np.arange(12) % 4)
    assert report(capsys, "small", "colour.npz", "--epochs", "1")["image_shape"] == [3, 5, 9]


def test_patience_stops_early(capsys: pytest.CaptureFixture[str]) -> None:
    images, _ = bars()
    np.savez("noise.npz", images=images, labels=np.random.default_rng(1).integers(0, 2, 60))
    options = ("--epochs", "200", "--patience", "3", "--learning-rate", "0.02")
    found = report(capsys, "small", "noise.npz", *options)
    assert found["epochs_done"] == int(np.argmin(found["validation_loss"])) + 4 < 200


def test_the_report_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "small", "bars.npz", "--epochs", "2", "-o", "w.npz"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert captured.err == ""
    assert lines[:4] == [
        "network   small, 1378 parameters, float32, unfold",
        "data      bars.npz: 48 images of 1x8x8, 12 to validate, 2 classes",
        "training  adam, learning rate 0.001 (constant), batches of 32, seed 0",
        "epoch  training loss  validation loss  validation accuracy",
    ]
    assert [bool(re.fullmatch(r" +\d +\d\.\d{4} +\d\.\d{4} +\d+\.\d\d %", line)) for line in lines[4:6]] == [True] * 2
    assert lines[6:] == ["saved     w.npz"]
    assert main(["train", "small", "bars.npz", "--epochs", "1", "--validation", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "data      bars.npz: 60 images of 1x8x8, 2 classes"
    assert lines[3] == "epoch  training loss  training accuracy"


# --- resuming --------------------------------------------------------------------------------------------------------


def test_resumed_ends_in_the_same_bits(capsys: pytest.CaptureFixture[str]) -> None:
    whole = report(capsys, "small", "bars.npz", "--epochs", "4", "-o", "whole.npz")
    report(capsys, "small", "bars.npz", "--epochs", "2", "--checkpoint", "run.npz", "--resume")  # no checkpoint yet
    resumed = report(
        capsys, "small", "bars.npz", "--epochs", "4", "--checkpoint", "run.npz", "--resume", "-o", "resumed.npz"
    )
    assert_same(weights("whole.npz"), weights("resumed.npz"))
    different = {"output", "checkpoint", "resumed"}
    assert {k: v for k, v in resumed.items() if k not in different} == {
        k: v for k, v in whole.items() if k not in different
    }
    assert resumed["resumed"]


RESUMED: dict[str, tuple[list[str], str]] = {
    "learning rate": (["--learning-rate", "0.002"], r"learning rate 0\.001.* 0\.002"),
    "seed": (["--seed", "1"], r"seed 0.* 1\b"),
    "method": (["--method", "matrix"], r'method "unfold".* "matrix"'),
    "schedule": (["--schedule", "cosine"], r'epochs "absent".* 2\b'),
    "validation": (["--validation", "0.201"], r"validation 0\.2,.* 0\.201"),
    "optimiser": (["--optimiser", "sgd", "--learning-rate", "0.001"], r"Adam.* SGD"),
    "batches": (["--batch-size", "9"], r"48 samples in batches of 32.* 48 in batches of 9"),
    "dtype": (["--dtype", "float64"], r"0\.bias is float32 of shape 8 there and float64"),
    "images": (["--raw"], r"run\.npz .* data "),
}


@for_each("changes, message", RESUMED.values(), ids=RESUMED.keys())
def test_the_checkpoint_of_another_training_is_refused(
    changes: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run.npz").unlink(missing_ok=True)
    options = ["small", "bars.npz", "--checkpoint", "run.npz", "--epochs"]
    report(capsys, *options, "1")
    before = Path("run.npz").read_bytes()
    code, line = failure(capsys, "train", *options, "2", "--resume", *changes)
    assert (code, bool(re.search(message, line))) == (2, True), line
    assert Path("run.npz").read_bytes() == before


def test_damaged_checkpoints_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.npz").write_bytes(b"PK\x03\x04 nothing")
    code, line = failure(capsys, "train", "small", "bars.npz", "--checkpoint", "run.npz", "--resume")
    assert (code, "checkpoint run.npz cannot be read" in line) == (2, True)


def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "convmatrix", "train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1"),
        # Processes started in the background of a shell ignore interrupts, and so do their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )


def test_an_interrupt_leaves_a_checkpoint_to_resume(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["small", "bars.npz", "--batch-size", "4", "--checkpoint", "run.npz"]
    process = start(*options, "--epochs", "999999")
    deadline = time.monotonic() + 60
    while not Path("run.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    lines = output.decode().splitlines()
    told = re.fullmatch(rb"convmatrix: stopped: run\.npz .*step (\d+).*--resume.*\n", errors)
    assert told, errors
    found = nn.checkpoints.load_checkpoint("run.npz")
    assert int(found.optimiser[1]["steps"]) == int(told[1])
    assert lines[3] == "epoch  training loss  validation loss  validation accuracy"
    printed = [float(line.split()[1]) for line in lines[4:]]  # each epoch, as it ended
    np.testing.assert_allclose(printed, found.progress["loss"], atol=5e-5)
    epochs = str(len(found.progress["loss"]) + 2)
    resumed = report(capsys, *options, "--epochs", epochs, "--resume", "-o", "resumed.npz")
    whole = report(capsys, *options[:4], "--epochs", epochs, "-o", "whole.npz")
    assert_same(weights("whole.npz"), weights("resumed.npz"))
    assert resumed["loss"] == whole["loss"]


def test_an_interrupt_without_a_checkpoint_keeps_nothing(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def fit(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(nn, "fit", fit)
    assert main(["train", "small", "bars.npz"]) == 130
    output, errors = capsys.readouterr()
    assert output.splitlines()[-1] == "epoch  training loss  validation loss  validation accuracy"
    assert re.fullmatch(r"convmatrix: stopped: 0 steps .*--checkpoint FILE.*\n", errors)


def test_quiet_shows_no_progress_on_a_terminal() -> None:
    piped = start("small", "bars.npz", "--epochs", "2", "--json")
    output, errors = piped.communicate(timeout=60)
    assert (piped.returncode, errors) == (0, b"")
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "convmatrix", "train", "small", "bars.npz", "--epochs", "2", "--json", "--quiet"],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env=environment(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1"),
    )
    os.close(terminal)
    same = process.communicate(timeout=60)[0]
    with pytest.raises(OSError, match="Input/output error"):  # at the end, before any text
        os.read(screen, 100)
    os.close(screen)
    assert json.loads(same) == json.loads(output)


# --- errors -------------------------------------------------------------------------------------------------

USAGE: dict[str, tuple[list[str], str]] = {
    "network": (["vgg16", "digits"], "invalid choice: 'vgg16'"),
    "no data": (["small"], "the following arguments are required: DATA"),
    "epochs": (["small", "digits", "--epochs", "0"], r"--epochs.*'0'.* 1\b"),
    "rate": (["small", "digits", "--learning-rate", "0"], r"--learning-rate.*'0'"),
    "rate in words": (["small", "digits", "--learning-rate", "fast"], r"--learning-rate.*'fast'"),
    "infinite rate": (["small", "digits", "--learning-rate", "inf"], r"--learning-rate.*'inf'"),
    "part": (["small", "digits", "--validation", "1"], r"--validation.*'1'.* 0 .*below 1"),
    "negative part": (["small", "digits", "--validation", "nan"], r"--validation.*'nan'"),
    "resume from nothing": (["small", "digits", "--resume"], r"--resume.*--checkpoint-steps.*give --checkpoint FILE"),
    "steps of nothing": (
        ["small", "digits", "--checkpoint-steps", "3"],
        r"--resume.*--checkpoint-steps.*give --checkpoint FILE",
    ),
    "patience": (["small", "digits", "--patience", "3", "--validation", "0"], r"--patience.*--validation above 0"),
    "digits as they are": (["small", "digits", "--raw"], r"--raw.* digits"),
    "classes of digits": (["small", "digits", "--classes", "9"], r"--classes.* digits"),
    "suffix": (["small", "digits", "-o", "w.npy"], r"-o w\.npy.*\.npz"),
    "checkpoint's suffix": (["small", "digits", "--checkpoint", "run"], r"--checkpoint run:.*\.npz"),
    "over the data": (["small", "bars.npz", "-o", "./bars.npz"], r"-o \./bars\.npz .*overwrite"),
    "one file for two": (
        ["small", "bars.npz", "-o", "a.npz", "--checkpoint", "./a.npz"],
        r"-o .*--checkpoint .*a\.npz",
    ),
    "any size": (["small", "bars.npz", "--enlarge"], r"--enlarge: .*small.*any size"),
}


@for_each("arguments, message", USAGE.values(), ids=USAGE.keys())
def test_usage_errors(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = failure(capsys, "train", *arguments)
    assert re.search(message, line), line
    assert code == 2
    assert [path.name for path in Path().iterdir()] == ["bars.npz"]


IMAGES, LABELS = np.random.default_rng(0).random((20, 8, 8)), np.arange(20) % 2
DATA: dict[str, tuple[Files, str]] = {
    "other names": ({"x": IMAGES, "y": LABELS}, r"no array images;.* x, y:.*--images.*--labels"),
    "no labels": ({"images": IMAGES}, r"no array labels;.* images"),
    "empty file": ({}, r"no array images;.* none"),
    "too few labels": ({"images": IMAGES, "labels": LABELS[:19]}, r"20 images.* labels .*\(19,\)"),
    "vectors": ({"images": IMAGES, "labels": np.eye(20)}, r"20 images.* labels .*\(20, 20\)"),
    "labels as floats": ({"images": IMAGES, "labels": LABELS * 1.0}, r"labels has dtype float64.* integers"),
    "labels as texts": ({"images": IMAGES, "labels": LABELS.astype(str)}, r"labels has dtype <U21.* real"),
    "negative": ({"images": IMAGES, "labels": LABELS - 1}, r"labels .* -1 to 0.* 0"),
    "far apart": ({"images": IMAGES, "labels": LABELS * 99}, r"labels .* 99.* 100 classes.* 20 images"),
    "one class": ({"images": IMAGES, "labels": LABELS * 0}, r"labels are 0.*--classes 2"),
    "no images": ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"images has shape \(0, 1, 8, 8\)"),
    "one image": ({"images": IMAGES[0], "labels": LABELS}, r"images has shape \(8, 8\).*\(samples, height, width\)"),
    "NaN": (
        {"images": np.where(np.arange(20)[:, None, None] == 7, np.nan, IMAGES), "labels": LABELS},
        r"images .*not finite.* image 7",
    ),
    "complex": ({"images": IMAGES + 0j, "labels": LABELS}, r"images has dtype complex128.* real"),
    "truths": ({"images": IMAGES > 0.5, "labels": LABELS}, r"images has dtype bool.* real"),
    "small": ({"images": IMAGES[:, :3], "labels": LABELS}, r"at least 4 samples.*\(1, 3, 8\)"),
    "grey": ({"images": np.ones((20, 8, 8)), "labels": LABELS}, r"images .*1\.0 to 1\.0"),
    "few": ({"images": IMAGES[:2], "labels": LABELS[:2]}, r"--validation 0\.2 of 2 images"),
}


@for_each("arrays, message", DATA.values(), ids=DATA.keys())
def test_data_that_are_refused(arrays: Files, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("data.npz", **arrays)
    code, line = failure(capsys, "train", "small", "data.npz", "--checkpoint", "run.npz", "-o", "w.npz")
    assert re.search(message, line), line
    assert code == 2
    assert sorted(path.name for path in Path().iterdir()) == ["bars.npz", "data.npz"]


REFUSED: dict[str, tuple[list[str], str]] = {
    "missing file": (["small", "nowhere.npz"], r"cannot read nowhere\.npz: No such file"),
    "another kind": (["small", "bars.csv"], r"cannot read bars\.csv: .*digits.*\.npz.*images.*labels"),
    "no folder": (["small", "digits", "-o", "nowhere/w.npz"], r"cannot write nowhere/w\.npz: .*folder nowhere"),
    "size": (["lenet5", "bars.npz"], r"images .*1x8x8.* lenet5 .*1x32x32;.* --enlarge"),
    "colours": (["lenet5", "colour.npz", "--enlarge"], r"images of 3x32x32.* lenet5 .*1x32x32; convert them, or"),
    "too large": (["lecun1989", "large.npz", "--enlarge"], r"\(16, 16\)"),
    "classes": (["small", "bars.npz", "--classes", "1"], r"labels .* 1,.*--classes 1 .*0 to 0; give 2"),
    "an old checkpoint": (["small", "bars.npz", "--checkpoint", "large.npz"], r"large\.npz exists.*--resume"),
    "a folder": (["small", "bars.npz", "-o", "folder.npz"], r"cannot write folder\.npz: .*folder"),
}


@for_each("arguments, message", REFUSED.values(), ids=REFUSED.keys())
def test_data_errors(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder.npz").mkdir(exist_ok=True)
    np.savez("large.npz", images=np.random.default_rng(0).random((4, 99, 8)), labels=[0, 1, 0, 1])
    np.savez("colour.npz", images=np.random.default_rng(0).random((4, 3, 8, 8)), labels=[0, 1, 0, 1])
    code, line = failure(capsys, "train", *arguments)
    assert re.search(message, line), line
    assert code == 2


def test_nothing_is_unpickled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "harm"),)

    np.savez("data.npz", allow_pickle=True, images=np.array([Harmful()], dtype=object), labels=[0])
    code, line = failure(capsys, "train", "small", "data.npz")
    assert (code, "images.npy contains pickled" in line) == (2, True)
    assert not (tmp_path / "harm").exists()


def test_damaged_and_forged_archives(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path("bars.npz").read_bytes()
    for cut in (0, 10, 500, len(whole) - 30):
        Path("data.npz").write_bytes(whole[:cut])
        code, line = failure(capsys, "train", "small", "data.npz")
        assert (code, "cannot read data.npz: the zip archive is damaged" in line) == (2, True)
    Path("data.npz").write_bytes(whole[:300] + b"\x55" + whole[301:])
    assert "is damaged: Bad CRC-32" in failure(capsys, "train", "small", "data.npz")[1]

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 8, 8)})
    with zipfile.ZipFile("data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(1000))
    line = failure(capsys, "train", "small", "data.npz")[1]
    assert re.search(r"images.npy .*512000000000 bytes", line)
    monkeypatch.setattr("convmatrix.cli.train_data.available_memory", lambda: 1000)
    line = failure(capsys, "train", "small", "bars.npz")[1]
    assert re.search(r"images needs .* 1 kB ", line)


def test_a_loss_that_is_not_finite_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--raw", "--optimiser", "sgd", "--learning-rate", "1e30", "--checkpoint", "run.npz", "-o", "w.npz"]
    assert main(["train", "small", "bars.npz", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1].startswith("epoch  training loss"), "the header, and no epoch"
    assert captured.err.count("\n") == 1
    line = captured.err.removeprefix("convmatrix: error: ")
    assert re.match(r"(the loss is (nan|inf)|the gradient is not finite) in epoch \d+, batch \d+ \(step \d+ ", line)
    assert "of layer" in line or "from layer" in line
    assert not Path("w.npz").exists()


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    code, line = failure(capsys, "train", "small", "digits")
    assert code == 2
    assert re.search(r"digits .*scikit-learn.*pip install scikit-learn", line)


def test_help_fits_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "examples:" in text


def test_the_header_is_printed_before_the_training(capsys: pytest.CaptureFixture[str]) -> None:
    """With the checkpoint that it continues, and where the number of parameters differs from the published one."""
    options = ["train", "small", "bars.npz", "--checkpoint", "run.npz", "--epochs"]
    assert main([*options, "1"]) == 0
    assert "resumes" not in capsys.readouterr().out
    printed = []

    def no_training(*_: object, **__: object) -> None:
        printed.append(capsys.readouterr().out)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn, "fit", no_training)
        assert main([*options, "3", "--resume"]) == 130
        np.savez("large.npz", images=np.arange(20 * 32**2).reshape(20, 32, 32), labels=np.arange(20) % 10)
        assert main(["train", "lenet5", "large.npz"]) == 130
    assert printed[0].startswith("network   small")
    assert "resumes   run.npz, after 1 of 3 epochs\n" in printed[0]
    assert "lenet5, 60850 parameters" in printed[1]
    assert "60000 as published, with a fixed output layer; here it has 850, trained\n" in printed[1]
    assert main([*options, "1", "--resume", "--learning-rate", "0.5"]) == 2
    assert "allow_changes" not in capsys.readouterr().err
