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
    """Return a report of running random layers on another implementation, and comparing with the exact results.

    Layers have every combination of the options that the target has, and corner cases are frequent. Inputs, weights and
    gradients are integers small enough that floating-point results must equal the exact ones. A failure is shrunk
    to a minimal layer, with a script that reproduces it using only the target.

    Parameters
    ----------
    target : callable or str
        A function ``function(x, w, bias, **options)`` that returns y, or the name of a target: "torch", "onnxruntime",
        "onnx-reference", "scipy", or "module:function". Shapes are x ``(batch, C_in, *input)``, w ``(C_out, C_in /
        groups, *kernel)`` (transposed: ``(C_in, C_out / groups, *kernel)``), bias ``(C_out,)`` or None. It raises
        NotImplementedError for a layer that it does not support.
    options : sequence of str, or dict
        The options that the function has; no others are drawn or passed. Switches are "batch", "channels", "bias",
        "stride", "dilation", "groups" and "output_padding". Choices are "padding" ("valid", "even", "pairs", "centred",
        "same", "same_lower", "full"), "boundary", "flip", "transposed", "dtype" and "axes"; a dict gives their values.
        Without a choice, padding is "valid", the boundary is "zero", and so on. The function receives stride, dilation,
        groups and output_padding, and padding (a word, or one (low, high) pair per axis), boundary (one per axis), flip
        and transposed where they were declared with several values.
    gradient : callable, optional
        ``gradient(x, w, bias, g, **options)``, which returns (dx, dw) or (dx, dw, db).
    rounding : {"exact", "direct", "winograd", "fft"}, optional
        The algorithm of the target, which decides what error is allowed (`convmatrix.conformance.rounding`). Values are
        drawn so that every bound is below 1/2, which no wrong integer passes. "exact" by default, for functions.
    count : int
        Number of layers.
    time_limit : float, optional
        Seconds after which no more layers are run.
    jobs : int
        Number of processes, for targets that are given by name. These run in new processes, so that the end of one is
        a finding as well; a script calls this below ``if __name__ == "__main__":``, as for `multiprocessing`.
    rng : int or numpy.random.Generator
    progress : bool or callable, optional
        As for `convmatrix.progress.reporting`; a callable is called after every layer.

    Returns
    -------
    ConformanceReport
        True if nothing differs; ``print(report.explain())`` shows what does.

    Raises
    ------
    ValueError, TypeError
        If the target or an option is unknown.
    ImportError
        If the package of a target is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> def strided(x, w, bias, stride):  # right, for one axis
    ...     windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2], axis=2)[:, :, :: stride[0]]
    ...     return np.einsum("bint,oit->bon", windows, w)
    >>> report = conform(strided, {"stride": None, "channels": None, "axes": 1}, count=50)
    >>> report
    ConformanceReport('strided', tried=50, conforms)
    >>> report = conform(lambda x, w, bias: strided(x, w[:, :, ::-1], bias, (1,)), {"axes": 1}, count=50)
    >>> finding = report.findings[0]
    >>> print(finding.case)
    input 1x1x2, kernel 1x1x2, float64
    >>> print(finding.difference.text)
    the output differs in 1 of 1 entries, first at sample 0, channel 0, position 0: expected ..., got ...
    """
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
