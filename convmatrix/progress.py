"""Progress of long computations: a line in a terminal, a bar in a notebook, or calls of a user's function."""

from __future__ import annotations

import functools
import shutil
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from html import escape
from importlib import import_module
from typing import Any, Final, ParamSpec, TypeVar, cast

__all__ = ["quiet", "report_step", "reporting", "shows_progress", "track"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Item = TypeVar("_Item")

Step = Callable[[int, int, str], object]
"""A function of the steps done, their number (0 if it is unknown), and a word about the last one."""

Progress = bool | Step | None
"""The argument ``progress`` of long computations; see `reporting`."""

DELAY: Final = 2.0
"""Seconds before anything is shown."""

_Display = tuple[Callable[[str, int, int, str], None], Callable[[], None]]
"""A function that shows the state of a computation, and one that removes it."""

_INTERVAL: Final = 0.2  # seconds between two updates
_BAR: Final = 20  # characters

_innermost: ContextVar[Step | None] = ContextVar("innermost", default=None)


@contextmanager
def reporting(progress: Progress, title: str) -> Iterator[Step]:
    """Yield a function to call after each step of a computation, as ``step(done, of, text)``.

    Parameters
    ----------
    progress : bool, callable or None
        None shows the progress of computations that take more than two seconds, if somebody can see it: as a bar in a
        notebook, or as a line on standard error if that is a terminal, removed at the end. True shows it on any
        standard error, False never. A callable is called as ``progress(done, of, text)`` after each step instead.
    title : str
        What is computed.

    Raises
    ------
    TypeError
        If ``progress`` is anything else.

    Notes
    -----
    Only the outermost computation shows its progress: within the block, None means False. Other threads and worker
    processes show nothing unless they are asked to.

    Examples
    --------
    >>> with reporting(lambda done, of, text: print(f"{done}/{of} {text}"), "sums") as step:
    ...     for number in range(2):
    ...         step(number + 1, 2, f"row {number}")
    1/2 row 0
    2/2 row 1
    """
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise TypeError(
            f"progress must be True, False, None or a function of (done, of, text), but is {progress!r} of type "
            f"{type(progress).__name__}; give True to show it, or None to show it in terminals and notebooks"
        )
    bar: _Bar | None = None
    step: Step = _ignore
    if callable(progress):
        step = progress
    elif progress or (progress is None and _innermost.get() is None):
        display = _display(progress)
        if display is not None:
            step = bar = _Bar(title, display)
    token = _innermost.set(step)
    try:
        yield step
    finally:
        with suppress(ValueError):  # a generator may be closed in another context
            _innermost.reset(token)
        if bar is not None:
            bar.close()


def track(items: Collection[_Item], title: str, progress: Progress = None) -> Iterator[_Item]:
    """Yield items, and show how many have been worked through; see `reporting`.

    Examples
    --------
    >>> for number in track([3, 4], "sums", lambda done, of, text: print(f"{done}/{of}")):
    ...     print(number)
    3
    1/2
    4
    2/2
    """
    with reporting(progress, title) as step:
        for done, item in enumerate(items, start=1):
            yield item
            step(done, len(items), "")


def quiet() -> AbstractContextManager[Step]:
    """Return a context in which nothing is shown or reported, unless a function is asked to.

    Examples
    --------
    >>> with reporting(print, "sums"), quiet():
    ...     report_step(1, 2, "added")
    """
    return reporting(progress=False, title="")


def shows_progress(title: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Return a decorator for a function whose steps are shown as its keyword ``progress`` says; see `reporting`.

    Examples
    --------
    >>> @shows_progress("sums")
    ... def total(numbers, *, progress=None):
    ...     for place, _ in enumerate(numbers, start=1):
    ...         report_step(place, len(numbers), "added")
    ...     return sum(numbers)
    >>> total([3, 4], progress=print)
    1 2 added
    2 2 added
    7
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with reporting(cast("Progress", kwargs.get("progress")), title):
                return function(*args, **kwargs)

        return call

    return decorate


def report_step(done: int, of: int, text: str) -> None:
    """Report a step of the innermost computation that is `reporting`, if there is one.

    Examples
    --------
    >>> def total(numbers):
    ...     for place, _ in enumerate(numbers, start=1):
    ...         report_step(place, len(numbers), "added")
    >>> with reporting(print, "sums"):
    ...     total([3, 4])
    1 2 added
    2 2 added
    """
    step = _innermost.get()
    if step is not None:
        step(done, of, text)


def _ignore(_done: int, _of: int, _text: str, /) -> None:
    """Show nothing."""


def _display(progress: bool | None) -> _Display | None:
    """Return the display of a computation; None if nobody is there to see it."""
    parent = _of_loaded("multiprocessing", "parent_process")
    if progress is None and (parent is not None or threading.current_thread() is not threading.main_thread()):
        return None
    shell = _of_loaded("IPython", "get_ipython")
    if getattr(shell, "kernel", None) is not None:
        return _notebook_display()
    stream = sys.stderr
    with suppress(ValueError):  # it is closed
        if stream is not None and (progress or stream.isatty()):
            return _terminal_display(stream)
    return None


def _of_loaded(module: str, function: str) -> Any:
    """Return the result of a function of a module; None if the module has not been imported."""
    return getattr(sys.modules.get(module), function, lambda: None)()


def _terminal_display(stream: Any) -> _Display:
    width = max(shutil.get_terminal_size().columns - 1, 1)

    def write(line: str) -> None:
        with suppress(OSError, ValueError):
            stream.write(line)
            stream.flush()

    def show(title: str, done: int, of: int, text: str) -> None:
        filled = _BAR * min(done, of) // of if of else 0
        bar = f"[{'#' * filled}{'.' * (_BAR - filled)}] {done}/{of}" if of else f"{done}"
        line = f"{title} {bar} {text}".encode("ascii", "backslashreplace").decode()
        write(f"\r{''.join(c if c.isprintable() else '?' for c in line)[:width]:{width}}")

    return show, lambda: write(f"\r{'':{width}}\r")


def _notebook_display() -> _Display:
    shown: Any = import_module("IPython.display")
    handles: list[Any] = []

    def put(html: str) -> None:
        if handles:
            handles[0].update(shown.HTML(html))
        else:
            handles.append(shown.display(shown.HTML(html), display_id=True))

    def show(title: str, done: int, of: int, text: str) -> None:
        amount = f' value="{min(done, of)}" max="{of}"' if of else ""
        count = f"{done}/{of}" if of else f"{done}"
        put(f"<div>{escape(title)} <progress{amount}></progress> {count} {escape(text)}</div>")

    return show, lambda: put("")


class _Bar:
    """Passes on the state of a computation to a display, after a delay and not too often."""

    def __init__(self, title: str, display: _Display) -> None:
        self._title, (self._show, self._remove) = title, display
        self._start = time.monotonic()
        self._next = self._start + DELAY
        self._shown = False
        self._first: int | None = None  # steps done before the first one of these, in a resumed computation

    def __call__(self, done: int, of: int, text: str, /) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = done - 1
        if now < self._next:
            return
        self._next, self._shown = now + _INTERVAL, True
        spent = now - self._start
        left = f", {spent * (of - done) / (done - self._first):.0f} s left" if self._first < done < of else ""
        self._show(self._title, done, of, f"{text} ({spent:.0f} s{left})".lstrip())

    def close(self) -> None:
        """Erase the progress line or bar."""
        if self._shown:
            self._remove()
