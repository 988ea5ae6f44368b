"""Whole campaigns: many layers on one target, in this process or in several."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import options as validate
from convmatrix.conformance.conformance_report import ConformanceReport, Tally
from convmatrix.conformance.function_target import function_target
from convmatrix.conformance.rounding import ROUNDINGS
from convmatrix.conformance.target_names import TargetName
from convmatrix.conformance.trials import outcomes
from convmatrix.conformance.worker_processes import Workers
from convmatrix.progress import reporting

if TYPE_CHECKING:
    from convmatrix.conformance.rounding import Rounding
    from convmatrix.progress import Progress


def conform(
    target: str | Callable[..., Any],
    options: Iterable[str] | Mapping[str, Any] = (),
    *,
    gradient: Callable[..., Any] | None = None,
    rounding: Rounding | None = None,
    count: int = 1000,
    time_limit: float | None = None,
    jobs: int = 1,
    rng: int | np.random.Generator = 0,
    progress: Progress = None,
) -> ConformanceReport:
    """Run random layers on a target; see `convmatrix.testing.conform`, which documents the arguments."""
    count = validate.integer("count", count, minimum=1)
    jobs = validate.integer("jobs", jobs, minimum=1)
    if rounding is not None and rounding not in ROUNDINGS:
        raise ValueError(f"rounding {rounding!r} is unknown; choose one of {', '.join(ROUNDINGS)}")
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"time_limit must be a positive number of seconds, but is {time_limit!r}")
    seed = _seed(rng)
    started = time.monotonic()
    until = None if time_limit is None else started + time_limit
    tally = Tally()
    if isinstance(target, str):
        if gradient is not None:
            raise TypeError(f"gradient is for functions, but the target is the name {target!r}; drop it")
        name = TargetName(target, tuple(_listed(options)), rounding)
        loaded = name.load()  # in this process first, for its errors
        with Workers(name, seed, count, jobs) as workers, reporting(progress, "layers") as report:
            for outcome in workers.outcomes(until):
                tally.add(outcome)
                report(tally.tried, count, outcome.call)
    else:
        if jobs != 1:
            raise ValueError(
                f"jobs={jobs} is for targets that other processes can import; give 'module:function', or jobs=1"
            )
        loaded = function_target(target, options, gradient=gradient, rounding=rounding or "exact")
        with reporting(progress, "layers") as report:
            for outcome in outcomes(loaded, seed, range(count)):
                tally.add(outcome)
                report(tally.tried, count, outcome.call)
                if until is not None and time.monotonic() >= until:
                    break
    return tally.report(loaded.name, loaded.versions, seed, time.monotonic() - started)


def _seed(rng: int | np.random.Generator) -> int:
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**32))
    return validate.integer("rng", rng, minimum=0)


def _listed(options: Iterable[str] | Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Return options as pairs, which can be compared and sent to other processes."""
    given = options if isinstance(options, Mapping) else dict.fromkeys(options)
    for name, values in given.items():
        yield name, tuple(values) if isinstance(values, list | tuple) else values
