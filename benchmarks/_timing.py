"""Times of several functions, taken in turns so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds until ``seconds`` are over, but at least and at most so many."""

    seconds: float
    least: int
    most: int

    def at_least(self, rounds: int) -> Effort:
        """Return the same effort with another least number of rounds."""
        return replace(self, least=rounds)


@dataclass(frozen=True)
class Ratio:
    """The median of the ratios of all rounds, and their quartiles."""

    median: float
    low: float
    high: float

    @property
    def quartiles(self) -> str:
        """The quartiles in words."""
        return f"{three_digits(self.low)} to {three_digits(self.high)}"


def side_by_side(
    functions: Mapping[str, Callable[[], object]], effort: Effort, *, warm_up: bool = True, pause: float = 0.0
) -> dict[str, list[float]]:
    """Return the seconds of each function in each round; a round calls every function once, in order (A B A B ...).

    The garbage collector is off. A result is let go before the next call, outside of the time. A pause before each call
    lets threads come to rest that wait for more work from the call before, and so take a core from this one.
    """
    if warm_up:
        for function in functions.values():
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    with _no_garbage_collection():
        begin = time.perf_counter()
        for number in range(effort.most):
            if number >= effort.least and time.perf_counter() - begin > effort.seconds:
                break
            for name, function in functions.items():
                time.sleep(pause)
                start = time.perf_counter()
                result = function()
                times[name].append(time.perf_counter() - start)
                del result
    return times


def ratio_of(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """Return the ratio of the times of two functions that were timed in turns: round by round, then the median.

    Examples
    --------
    >>> ratio_of([2.0, 9.0, 4.2], [1.0, 3.0, 2.0])
    Ratio(median=2.1, low=2.05, high=2.55)
    """
    quotients = np.asarray(numerators) / np.asarray(denominators)
    low, median, high = np.quantile(quotients, [0.25, 0.5, 0.75]).tolist()
    return Ratio(median, low, high)


def three_digits(value: float) -> str:
    """Return a number as text.

    Examples
    --------
    >>> [three_digits(value) for value in (0.12345, 1.0, 99.96, 1234.5)]
    ['0.123', '1.00', '100', '1,234']
    """
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def milliseconds(times: Sequence[float]) -> float:
    """Return the median of times in seconds, in milliseconds."""
    return float(np.median(times)) * 1e3


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def one_core() -> Iterator[bool]:
    """Keep this thread, and those that it starts, on one core; yield False where the system cannot do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield False
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield True
    finally:
        os.sched_setaffinity(0, cores)
