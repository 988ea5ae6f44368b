"""The benchmarks: that they compare equal things, judge rightly, and run."""

from __future__ import annotations

import doctest
import gc
import importlib
import json
import math
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import benchmarks
import convmatrix as cm
from benchmarks import Context, Effort, Goal, Outcome, Row, Table, _tables, _timing, call, main, ratio_of, side_by_side
from benchmarks._timing import one_core
from benchmarks._worker import NO_MEMORY, STOPPED, merged
from benchmarks.matrix import TOPICS
from benchmarks.matrix.build import time_to_build
from benchmarks.matrix.contenders import IMAGES, SIGNALS, as_csr, difference, quiet
from benchmarks.matrix.layers import LAYERS, Layer
from benchmarks.matrix.memory import peak_memory
from benchmarks.matrix.operators import products, time_of_products
from benchmarks.matrix.peers import against_peers, race
from benchmarks.matrix.weights import new_weights
from tests.called import fails, found_then_stuck

ROOT = Path(__file__).resolve().parents[1]
QUICK = Context(quick=True)
ONCE = Effort(0.0, 1, 1)


# --- times -----------------------------------------------------------------------------------------------------------


def test_functions_take_turns() -> None:
    calls: list[str] = []
    times = side_by_side({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, Effort(0.0, 3, 9))
    assert calls == ["a", "b"] * 4  # one round to warm up
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a clock that only moves when a function adds to it."""
    now = [0.0]
    monkeypatch.setattr("benchmarks._timing.time.perf_counter", lambda: now[0])
    return now


def wait(clock: list[float], seconds: float) -> None:
    clock[0] += seconds


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 9), (1.0, 7), (2.5, 5), (9.0, 5)])
def test_rounds_go_on_until_time_is_up(clock: list[float], seconds: float, rounds: int) -> None:
    times = side_by_side({"a": lambda: wait(clock, seconds), "b": lambda: None}, Effort(6.5, 5, 9))
    assert times == {"a": [seconds] * rounds, "b": [0.0] * rounds}


def test_no_garbage_is_collected_meanwhile() -> None:
    states: list[bool] = []
    side_by_side({"a": lambda: states.append(gc.isenabled())}, ONCE, warm_up=False)
    assert states == [False]
    assert gc.isenabled()


def test_ratio_is_taken_round_by_round() -> None:
    # A machine that slows down by ten in the second round must not show.
    assert ratio_of([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]) == benchmarks.Ratio(2.0, 2.0, 2.0)
    assert ratio_of([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5).quartiles == "2.00 to 4.00"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system has no affinity of processes")
def test_one_core_is_for_a_while() -> None:
    before = os.sched_getaffinity(0)
    with one_core() as pinned:
        assert pinned
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("module", [_timing, _tables])
def test_examples(module: Any) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted
    assert not outcome.failed


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "at_most", "at_least"), [(1.9, True, False), (2.0, True, True), (2.1, False, True)])
def test_goal(value: float, at_most: bool, at_least: bool) -> None:
    assert Goal("ratio", "at most", 2.0).met(value) is at_most
    assert Goal("ratio", "at least", 2.0).met(value) is at_least
    assert not Goal("ratio", "at most", 2.0).met(math.nan)


def test_table_in_words() -> None:
    rows = [
        Row({"layer": "small", "entries": 12345, "ratio": 1.0}),
        Row({"layer": "large", "entries": None, "ratio": 250.4}, lower_bound=True),
        Row({"layer": "other", "ratio": 9.0, "note": "by hand"}, judged=False),
    ]
    table = Table("Speed", "Measured.", rows, Goal("ratio", "at most", 2.0))
    assert table.text().splitlines() == [
        "### Speed",
        "",
        "Measured. Goal: ratio at most 2.",
        "",
        "| layer | entries | ratio | note    | goal   |",
        "| ----- | ------- | ----- | ------- | ------ |",
        "| small | 12,345  | 1.00  | -       | met    |",
        "| large | -       | > 250 | -       | missed |",
        "| other | -       | 9.00  | by hand | -      |",
    ]
    assert table.missed == [rows[1]]
    record = json.loads(json.dumps(table.record()))
    assert [row["met"] for row in record["rows"]] == [True, False, None]
    assert record["rows"][0]["cells"]["entries"] == 12345


def test_without_a_goal_nothing_is_judged() -> None:
    table = Table("Speed", "Measured.", [Row({"ratio": 9.0})], QUICK.goal(Goal("ratio", "at most", 2.0)))
    assert table.missed == []
    assert "goal" not in table.text().lower()
    assert Context().goal(Goal("ratio", "at most", 2.0)) == Goal("ratio", "at most", 2.0)


# --- processes of their own ------------------------------------------------------------------------------------------


def test_call_in_a_process() -> None:
    before = time.monotonic()
    outcome = call(found_then_stuck, {"seconds": 0}, threads=1)
    assert outcome.failure is None
    assert before < outcome.ended <= time.monotonic()
    assert outcome.values.pop("pid") != os.getpid()
    assert outcome.values == {"first": 1, "second": "1", "third": 3}


def test_call_is_stopped_and_keeps_what_was_found() -> None:
    for limit in (3, 10, 30):  # on a busy machine a process takes long to start
        outcome = call(found_then_stuck, {"seconds": 600}, threads=3, limit=limit)
        assert outcome.failure == STOPPED
        if outcome.values:
            break
    assert outcome.values.keys() == {"first", "pid", "second"}


@pytest.mark.parametrize(
    ("kind", "failure"),
    [("memory", NO_MEMORY), ("package", "no_such_package is not installed"), ("error", "ValueError: 2 is not 3")],
)
def test_call_says_what_failed(kind: str, failure: str) -> None:
    outcome = call(fails, {"kind": kind}, memory=2**32)
    assert (outcome.values, outcome.failure) == ({"first": 1}, failure)


def test_a_line_that_was_cut_off_is_left_out() -> None:
    assert merged('{"a": 1}\n{"b": 2, "a": 3}\n{"c": 4') == {"a": 3, "b": 2}


# --- the contenders --------------------------------------------------------------------------------------------------

PACKAGES = {"PyLops": "pylops", "ptwt": "ptwt", "sparse_convolution": "sparse_convolution", "PyTorch": "torch"}


def needs(name: str) -> None:
    """Skip where a contender's package is not installed."""
    package = PACKAGES.get(name.split()[0])
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


@pytest.mark.parametrize("name", [*IMAGES, *SIGNALS])
def test_contenders_make_our_matrix(name: str) -> None:
    needs(name)
    image, kernel = ((6, 9), (3, 5)) if name in IMAGES else ((11,), (4,))
    contender = {**IMAGES, **SIGNALS}[name]
    w = np.random.default_rng(1).standard_normal(kernel)
    with quiet():
        theirs = as_csr(contender.prepare(w, image)())
    ours = cm.conv_matrix(w, image, padding=contender.padding, flip=True)
    assert difference(theirs, ours) < 1e-14
    assert abs(theirs - ours).max() < 1e-14  # SciPy's word for it


def test_difference_notices() -> None:
    ours = cm.conv_matrix([1.0, 2.0, 3.0], 5)
    noisy = sparse.csr_array(ours.toarray() + 1e-14)
    assert noisy.nnz > ours.nnz
    assert difference(noisy, ours) < 1e-13
    assert difference(cm.conv_matrix([1.0, 2.0, 3.5], 5), ours) == 0.5
    assert difference(cm.conv_matrix([1.0, 2.0], 4), ours) == math.inf
    assert difference(cm.conv_matrix([1.0, 2.0, 3.0, 0.1], 6), ours) == math.inf
    moved = sparse.csr_array(ours.toarray()[::-1])
    assert moved.nnz == ours.nnz
    assert difference(moved, ours) == math.inf


OURS = {"ours": [0.01], "started": 100.0}


def test_race() -> None:
    found: dict[str, Any] = {}
    for part in race("scipy.sparse.kron, one a tap", [8, 8], [3, 3], {"seconds": 1.0, "least": 3, "most": 3}):
        found |= part
    assert found["stored"] == found["true"] == 22 * 22
    assert found["difference"] < 1e-14
    assert len(found["ours"]) == len(found["theirs"]) == 3


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        (Outcome({**OURS, "theirs": [0.5]}), {"theirs / ours": 50.0, "quartiles": "one run", "stored": "not compared"}),
        (Outcome(OURS, STOPPED, 102.0), {"theirs / ours": 200.0, "theirs, ms": "> 2,000"}),
        (Outcome(OURS, NO_MEMORY), {"theirs / ours": None, "theirs, ms": NO_MEMORY}),
        (Outcome(OURS, "ptwt is not installed"), {"theirs, ms": "ptwt is not installed"}),
    ],
)
def test_peers_say_how_a_contender_ended(
    monkeypatch: pytest.MonkeyPatch, outcome: Outcome, shown: dict[str, object]
) -> None:
    monkeypatch.setattr("benchmarks.matrix.peers.call", lambda *_, **__: outcome)
    (row,) = against_peers(QUICK, names=["ptwt construct_conv2d_matrix"]).rows
    assert {name: row.cells[name] for name in shown} == pytest.approx(shown)
    assert row.lower_bound is (outcome.failure == STOPPED)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome({"ours": [0.01]}, "ValueError: no"), "ptwt construct_conv2d_matrix, 16 x 16, 3 x 3: ValueError: no"),
        (Outcome({}, STOPPED), "ptwt construct_conv2d_matrix, 16 x 16, 3 x 3: stopped"),
        (Outcome({"ours": [0.01], "theirs": [0.1], "difference": 0.5}), "its matrix differs from ours by 0.5"),
    ],
)
def test_peers_refuse_what_cannot_be_compared(monkeypatch: pytest.MonkeyPatch, outcome: Outcome, words: str) -> None:
    monkeypatch.setattr("benchmarks.matrix.peers.call", lambda *_, **__: outcome)
    with pytest.raises(RuntimeError, match=re.escape(words)):
        against_peers(QUICK, names=["ptwt construct_conv2d_matrix"])


# --- the topics ------------------------------------------------------------------------------------------------------

TINY = Layer((2, 2, 3), (2, 9), {"padding": "same"})


def test_build() -> None:
    table = time_to_build(QUICK, {"tiny": TINY, "transposed": Layer((2, 2, 3), (2, 9), {"stride": 2}, transposed=True)})
    assert [row.cells["entries"] for row in table.rows] == [4 * 25, 4 * 27]
    for row in table.rows:
        assert row.cells["ratio"] == pytest.approx(ratio_of(row.timings["build"], row.timings["fill"]).median)


def test_build_measures_what_the_goals_are_about() -> None:
    text = " ".join(LAYERS)
    for words in (
        "64 -> 64 channels, 56 x 56",
        "16 -> 16",
        "2048 x 2048, 5 x 5",
        "512 x 512, 7 x 7",
        "stride",
        "circular",
    ):
        assert words in text
    assert all(layer.kernel.dtype == layer.dtype for layer in LAYERS.values())


def test_memory() -> None:
    (row,) = peak_memory(QUICK, ["1 channel, 64 x 64, 5 x 5, reflect"]).rows
    entries, rows = (5 * 64 - 6) ** 2, 64 * 64
    assert row.cells["matrix, MB"] == pytest.approx((entries * 12 + (rows + 1) * 4) / 1e6)
    assert isinstance(row.cells["ratio"], float)
    assert row.cells["ratio"] >= 1.0


def test_memory_passes_errors_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.matrix.memory.call", lambda *_, **__: Outcome({}, NO_MEMORY))
    with pytest.raises(RuntimeError, match="16 x 16, 3 x 3: out of memory"):
        peak_memory(QUICK)


def test_weights() -> None:
    geometry = cm.ConvGeometry(9, 3, padding="same", boundary="reflect")
    table = new_weights(QUICK, {"tiny": geometry})
    assert [row.cells["call"] for row in table.rows] == ["values(w, out=A.data)", "matrix(w)"]
    assert [row.cells["entries"] for row in table.rows] == [27, 27]


@pytest.mark.parametrize(
    ("kernel", "shape", "batch"), [([3, 5], [7, 6], 1), ([2, 3, 3, 3], [3, 5, 6], 1), ([2, 3, 3, 3], [3, 5, 6], 2)]
)
def test_products_agree(kernel: list[int], shape: list[int], batch: int) -> None:
    found: dict[str, Any] = {}
    for part in products(kernel, shape, batch, 1, {"seconds": 0.0, "least": 1, "most": 1}):
        found |= part
    names = {"ConvOperator", "A @ x"} | ({"scipy convolve2d", "scipy oaconvolve"} if batch == 1 else set())
    for way in ("forward", "adjoint"):
        assert names <= found[way].keys() <= names | {"PyTorch"}


def test_products_that_differ_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cm, "ConvOperator", lambda *_, **__: cm.conv_matrix([[9.0]], (5, 5)))
    with pytest.raises(RuntimeError, match="ConvOperator differs from A @ x by"):
        list(products([3, 3], [5, 5], 1, 1, {"seconds": 0.0, "least": 1, "most": 1}))


def test_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"ConvOperator": [0.2], "A @ x": [0.1], "scipy convolve2d": [0.4], "scipy oaconvolve": [0.8]}
    monkeypatch.setattr(
        "benchmarks.matrix.operators.call", lambda *_, **__: Outcome({"forward": times, "adjoint": times})
    )
    rows = time_of_products(QUICK, {"tiny": ((3, 3), (5, 5), 1)}).rows
    assert [row.cells["product"] for row in rows] == ["forward", "adjoint"]
    assert [row.cells["ratio"] for row in rows] == [0.5, 0.5]
    assert rows[0].cells["PyTorch"] is None


def test_operators_pass_errors_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.matrix.operators.call", lambda *_, **__: Outcome({}, "ValueError: no"))
    with pytest.raises(RuntimeError, match="tiny: ValueError: no"):
        time_of_products(QUICK, {"tiny": ((3, 3), (5, 5), 1)})


# --- the command -----------------------------------------------------------------------------------------------------


def test_command_runs_a_topic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", "--quick", "--topic", "import", "--topic", "build", "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "### Time to import" in shown
    assert "### Time to build" in shown
    record = json.loads((tmp_path / "matrix.json").read_text())
    assert list(record["topics"]) == ["build", "import"]
    assert record["quick"] is True
    assert record["machine"]["numpy"] == np.__version__
    (row,) = record["topics"]["import"]["rows"]
    assert len(row["timings"]["convmatrix"]) == 2
    assert row["cells"]["import convmatrix, s"] > row["cells"]["difference, s"]
    assert [path.name for path in tmp_path.iterdir()] == ["matrix.json"]


def test_command_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    shown = capsys.readouterr().out
    assert "matrix: Matrices of layers" in shown
    assert f"topics: {', '.join(TOPICS)}" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["metrics"], "error: unknown benchmark 'metrics'; the benchmarks are: deconvolution, distributed, matrix"),
        (["matrix", "--topic", "bulid"], "error: unknown topic 'bulid'; the topics are: build, memory"),
        (["matrix", "--output", __file__], "error: cannot use the folder"),
    ],
)
def test_command_refuses(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


DROPPED_IN = '''"""Something else: a file that was put into the folder."""
from benchmarks import Context, Goal, Row, Table
def good(context): return Table("Good", "Made up.", [Row({"ratio": 1.0})], context.goal(Goal("ratio", "at most", 2.0)))
def bad(context): return Table("Bad", "Made up.", [Row({"ratio": 3.0})], context.goal(Goal("ratio", "at most", 2.0)))
def broken(context): raise ValueError("2 is not 3")
TOPICS = {"broken": broken, "good": good, "bad": bad}
'''


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--topic", "good"], 0, "1 topics, 0 rows miss their goal, 0 raised an error"),
        (["--topic", "bad"], 1, "1 topics, 1 rows miss their goal, 0 raised an error"),
        (["--topic", "bad", "--quick"], 0, "goals are not judged in a quick run"),
        ([], 1, "3 topics, 1 rows miss their goal, 1 raised an error"),
    ],
)
def test_a_file_that_is_put_into_the_folder_is_a_benchmark(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    status: int,
    words: str,
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "dropped_in.py").write_text(DROPPED_IN)
    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(folder)])
    assert main(["--list"]) == 0
    assert "dropped_in: Something else: a file that was put into the folder." in capsys.readouterr().out
    assert main(["dropped_in", *options, "--output", str(tmp_path / "results")]) == status
    shown = capsys.readouterr().out
    assert words in shown
    if not options:
        assert "ValueError: 2 is not 3" in shown
        record = json.loads((tmp_path / "results" / "dropped_in.json").read_text())
        assert "ValueError: 2 is not 3" in record["topics"]["broken"]["error"]
        assert record["topics"]["good"]["rows"][0]["met"] is True


def test_readme_has_every_topic() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert [name for name in TOPICS if f"`{name}`" not in text] == []
    for name in ("matrix", "training", "spectrum", "proofs", "models"):
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section.count("\n### ") == len(importlib.import_module(f"benchmarks.{name}").TOPICS), name
