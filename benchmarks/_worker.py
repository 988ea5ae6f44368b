"""Functions called in a fresh Python process, with a time limit and a number of threads that holds from the start.

What such a function yields is merged into one dict, so that what it found before it was stopped is not lost. It is run
as ``main("module:function", '{"argument": "value"}', "null")`` in that process.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STOPPED, NO_MEMORY = "stopped", "out of memory"

_ROOT = Path(__file__).resolve().parents[1]
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """What a process yielded, and, where it did not end well, why: stopped, out of memory, missing package, error."""

    values: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None
    ended: float = 0.0  # by time.monotonic, which all processes share


def call(
    function: Callable[..., Iterator[dict[str, Any]]],
    arguments: dict[str, Any],
    *,
    limit: float = 600,
    threads: int | None = None,
    memory: int | None = None,
) -> Outcome:
    """Call a generator function of a module in a fresh process.

    Parameters
    ----------
    function : callable
        Yields dicts of what JSON knows.
    arguments : dict
        Its keyword arguments, again of what JSON knows.
    limit : float
        Seconds after which the process is ended.
    threads : int, optional
        Threads of BLAS and OpenMP, set before anything is imported.
    memory : int, optional
        Bytes of address space after which allocations fail.
    """
    target = f"{function.__module__}:{function.__qualname__}"
    program = "import sys; from benchmarks._worker import main; main(*sys.argv[1:])"
    command = [sys.executable, "-c", program, target, json.dumps(arguments), json.dumps(memory)]
    environment = surroundings() | ({} if threads is None else dict.fromkeys(_THREADS, str(threads)))
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as expired:
        output: Any = expired.stdout or b""  # text or bytes, which differs between systems
        return Outcome(merged(output.decode() if isinstance(output, bytes) else output), STOPPED, time.monotonic())
    failure = None
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        failure = _in_words(last) if last else f"ended with status {done.returncode}"
    return Outcome(merged(done.stdout), failure, time.monotonic())


def surroundings() -> dict[str, str]:
    """Return the environment of a process that is to find these packages."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def merged(output: str) -> dict[str, Any]:
    """Return what whole lines of output say; one that was cut off is left out."""
    values: dict[str, Any] = {}
    for line in output.splitlines(keepends=True):
        if line.endswith("\n"):
            values |= json.loads(line)
    return values


def _in_words(error: str) -> str:
    """Return the last line of a traceback, shorter where it is of an expected kind."""
    if "MemoryError" in error or "can't allocate memory" in error:
        return NO_MEMORY
    missing = re.match("ModuleNotFoundError: No module named '(.*)'", error)
    return f"{missing[1]} is not installed" if missing else error


def main(target: str, arguments: str, memory: str) -> None:
    """Do what `call` asks for."""
    n_bytes = json.loads(memory)
    if n_bytes is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))
    module, _, name = target.partition(":")
    for found in getattr(importlib.import_module(module), name)(**json.loads(arguments)):
        print(json.dumps(found), flush=True)
