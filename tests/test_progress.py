"""Progress: what is shown, where, when, and to whom it is told."""

from __future__ import annotations

import io
import multiprocessing
import sys
import threading
import time
import types
from typing import Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix import progress
from convmatrix.progress import quiet, report_step, reporting, shows_progress, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that is advanced by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return what stands for standard error until the end of a test; a fixture would be undone by pytest's capture."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "60")
    return stream


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: None)  # the tests of mutants run in a fork
    return made


def run(clock: Clock, steps: int, seconds: float, wanted: progress.Progress = None) -> None:
    with reporting(wanted, "sums") as step:
        for number in range(1, steps + 1):
            clock.now += seconds
            step(number, steps, f"row {number}")


def test_nothing_is_shown_in_the_first_two_seconds(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    run(clock, 19, 0.1)
    assert screen.getvalue() == ""
    run(clock, 4, 1.0)
    lines = screen.getvalue().split("\r")
    assert [line.rstrip() for line in lines] == [
        "",
        "sums [##########..........] 2/4 row 2 (2 s, 2 s left)",
        "sums [###############.....] 3/4 row 3 (3 s, 1 s left)",
        "sums [####################] 4/4 row 4 (4 s)",
        "",
        "",
    ]
    assert {len(line) for line in lines[1:-1]} == {59}


def test_it_is_updated_at_most_five_times_a_second(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    run(clock, 1200, 0.01)
    assert 45 <= screen.getvalue().count("row") <= 51


def test_the_time_left_is_that_of_the_steps_taken_here(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed computation has done steps before."""
    screen = terminal(monkeypatch)
    with reporting(None, "sums") as step:
        for number in range(91, 96):
            clock.now += 1.0
            step(number, 100, "")
    assert "95/100 (5 s, 5 s left)" in screen.getvalue()


@pytest.mark.parametrize("wanted", [3, 1, 0, "yes", [], np.True_])
def test_other_values_are_refused(wanted: Any) -> None:
    with pytest.raises(TypeError, match=r"progress must be True, False, None .*" + type(wanted).__name__):
        cm.spectral.norm_bounds([1.0], 3, progress=wanted)
    with pytest.raises(TypeError, match="progress must be"):
        cm.nn.fit(cm.nn.Sequential([cm.nn.Dense(1, 2)]), [[1.0]], [0], epochs=1, progress=wanted)
    with pytest.raises(TypeError, match="progress must be"):
        cm.solve.deconvolve(np.ones(4), [1.0], 4, progress=wanted)


def test_it_is_quiet_without_a_reader_and_on_request(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = terminal(monkeypatch)
    run(clock, 9, 1.0, wanted=False)
    with quiet():
        run(clock, 9, 1.0)
    worker = threading.Thread(target=run, args=(clock, 9, 1.0))
    worker.start()
    worker.join()
    assert screen.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", None)
    run(clock, 9, 1.0, wanted=True)
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    run(clock, 9, 1.0, wanted=True)
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    run(clock, 9, 1.0)
    assert file.getvalue() == ""
    run(clock, 9, 1.0, wanted=True)
    assert "9/9" in file.getvalue()
    assert capsys.readouterr().out == ""


def test_worker_processes_are_quiet(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: "a process")
    run(clock, 9, 1.0)
    assert screen.getvalue() == ""


def test_items_are_tracked(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    for _ in track("abcd", "letters"):
        clock.now += 1.5
        run(clock, 9, 0.0)  # within the loop nothing else is shown
    assert "sums" not in screen.getvalue()
    assert [line.rstrip() for line in screen.getvalue().split("\r")][-4:-2] == [
        "letters [###############.....] 3/4 (4 s, 2 s left)",
        "letters [####################] 4/4 (6 s)",
    ]
    for _ in track("abcd", "letters"):
        break
    run(clock, 9, 1.0)  # a loop that is left early is over
    assert "sums" in screen.getvalue()


def test_only_the_outermost_computation_is_shown(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with reporting(None, "outer") as step:
        run(clock, 9, 1.0)
        step(1, 2, "")
        run(clock, 9, 1.0)
    assert "sums" not in screen.getvalue()
    assert "outer [##########..........] 1/2" in screen.getvalue()
    run(clock, 9, 1.0)  # afterwards, another one may be
    assert "sums" in screen.getvalue()


def test_an_error_removes_the_line(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)

    def failing() -> None:
        with reporting(None, "sums") as step:
            clock.now += 3
            step(1, 2, "")
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert screen.getvalue().endswith(f"\r{'':59}\r")
    report_step(1, 2, "nobody listens any more")


def test_names_cannot_move_the_cursor(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with reporting(None, "sums") as step:
        clock.now += 3
        step(1, 2, "\x1b[2J\nname\u202e\r")
    line = screen.getvalue().split("\r")[1]
    assert line.isascii()
    assert line.isprintable()
    assert "name" in line


def test_a_stream_that_fails_does_not_end_the_computation(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    class Broken(Terminal):
        def write(self, text: str) -> int:
            tried.append(text)
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Broken())
    start = clock.now
    run(clock, 9, 1.0)
    assert clock.now == start + 9
    assert tried


def test_a_decorated_function_keeps_its_name_and_signature() -> None:
    assert cm.spectral.norm_bounds.__name__ == "norm_bounds"

    @shows_progress("work")
    def work(*, progress: progress.Progress = None) -> None:
        report_step(1, 1, "done")

    seen: list[Any] = []
    work(progress=lambda *step: seen.append(step))
    assert seen == [(1, 1, "done")]


def test_computations_tell_their_steps() -> None:
    seen: list[str] = []

    def told(done: int, of: int, text: str) -> None:
        assert 0 <= done <= of or of == 0
        seen.append(text)

    layer: Any = ([[1.0, 2], [3, 4]], (9, 9))
    cm.spectral.spectral_norm(*layer, method="lanczos", progress=told)
    assert set(seen) == {"products with the layer"}
    seen.clear()
    cm.spectral.singular_values([1.0, 2, 1], 9, padding="same", boundary="circular", progress=told)
    assert seen == ["parts of the blocks"]
    seen.clear()
    cm.spectral.singular_value_density(*layer, vectors=2, steps=3, progress=told)
    assert seen.count("random vectors") == 2
    seen.clear()
    cm.equivariance.prove("strided-shift", progress=told)
    assert seen == ["strided shift", "no other shift", "distinct weights"]


def test_steps_of_parts_are_not_told_as_those_of_the_whole() -> None:
    """A report has one step per node, although norms take steps of their own."""
    kernel = np.random.default_rng(0).standard_normal((2, 1, 3, 3))
    network = cm.Network(
        [cm.network.Convolution(cm.ConvGeometry((12, 12), (3, 3), out_channels=2, padding="same"), kernel)]
    )
    seen: list[Any] = []
    network.report(norms=True, progress=lambda *step: seen.append(step))
    assert seen == [(1, 2, "input"), (2, 2, "convolution 1")]
    seen.clear()
    cm.spectral.lipschitz_bound(network, progress=lambda *step: seen.append(step))
    assert [name for *_, name in seen[:2]] == ["input", "convolution 1"]
    assert len(seen) % 2 == 0


# --- notebooks -------------------------------------------------------------------------------------------------------


class Handle:
    def __init__(self, shown: list[str]) -> None:
        self.shown = shown

    def update(self, html: str) -> None:
        self.shown.append(html)


def test_a_notebook_shows_a_bar_and_removes_it(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[str] = []

    def display(html: str, *, display_id: bool) -> Handle:
        shown.append(html)
        return Handle(shown)

    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.HTML, ipython.display.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    run(clock, 1, 1.0)
    assert shown == []
    with reporting(None, "sums") as step:
        clock.now += 3
        step(1, 2, "<b>")
        clock.now += 3
        step(7, 0, "")
    assert shown == [
        '<div>sums <progress value="1" max="2"></progress> 1/2 &lt;b&gt; (3 s, 3 s left)</div>',
        "<div>sums <progress></progress> 7 (6 s)</div>",
        "",
    ]
    assert capsys.readouterr() == ("", "")
