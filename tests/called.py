"""Functions that tests call in processes of their own; these import no more than such a function needs."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator
from typing import Any


def found_then_stuck(seconds: float) -> Iterator[dict[str, Any]]:
    yield {"first": 1, "pid": os.getpid()}
    yield {"second": os.environ["OMP_NUM_THREADS"]}
    time.sleep(seconds)
    yield {"third": 3}


def fails(kind: str) -> Iterator[dict[str, Any]]:
    yield {"first": 1}
    if kind == "memory":
        importlib.import_module("numpy").zeros(2**30)  # 8 GB, never touched
    if kind == "package":
        importlib.import_module("no_such_package")
    raise ValueError("2 is not 3")
