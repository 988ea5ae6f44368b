"""Work on stacks of matrices, spread over the cores: one thread a core, and no threads inside BLAS meanwhile."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")
Result = TypeVar("Result")

_lock = Lock()
_users = 0
_threads_before = 1


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_cores(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Map a function over items on as many threads as there are cores; NumPy's linear algebra lets them run."""
    workers = min(cores(), len(items))
    if workers <= 1:
        return [work(item) for item in items]
    with single_threaded_blas(), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, items))


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Keep BLAS from starting threads of its own, where NumPy brings its OpenBLAS along; elsewhere do nothing.

    OpenBLAS splits even matrices of 100 rows, and its threads and ours then wait for one another.
    """
    global _users, _threads_before
    functions = _openblas()
    if functions is None:
        yield
        return
    get, put = functions
    with _lock:
        if _users == 0:
            _threads_before = get()
            put(1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                put(_threads_before)


@cache
def _openblas() -> tuple[Callable[[], int], Callable[[int], Any]] | None:
    """Return the functions of NumPy's own OpenBLAS that tell and set its number of threads."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for path in sorted(folder.glob("*openblas*")):
            try:
                library = ctypes.CDLL(str(path))  # which NumPy has loaded already
                return library.scipy_openblas_get_num_threads64_, library.scipy_openblas_set_num_threads64_
            except (OSError, AttributeError):
                continue
    return None
