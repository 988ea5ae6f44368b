"""Settings of the suite: Hypothesis draws the same examples each time, so that a failure is one for everybody.

``HYPOTHESIS_PROFILE=explore pytest`` draws new ones each time, and more.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import re
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

# pytest-xdist starts a process per core: more threads would only wait for each other. Set before NumPy is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

if importlib.util.find_spec("torch") is None:
    collect_ignore = ["reference_torch.py"]  # which holds no tests, but would be imported to look for doctests

settings.register_profile("suite", max_examples=60, deadline=None, derandomize=True)
settings.register_profile("explore", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

# Tests that share what takes long to set up: pytest-xdist runs those of each line in one process.
TOGETHER = (
    "tests/test_analyses.py",
    "tests/test_coq.py",
    "tests/test_distributed.py",
    "tests/test_docs.py::test_built_pages",
    "tests/test_explore.py",
    "tests/test_layout.py",
    "tests/test_paper.py",
    "tests/test_theorems.py",
)

# Packages of extras that examples in docstrings import; where one is missing, the example is skipped.
OPTIONAL = ("distributed", "onnx", "torch", "z3", "matplotlib", "sklearn", "skimage")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import the tests without searches for garbage, a third of the time; later ones leave out what is here by then.

    Those among all objects are also rarer: with PyTorch's caches, they took a tenth of the time of its tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(700, 10, 100)  # 700 and 10 are Python's: what is new is searched as often
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the examples of docstrings that need a package which is not installed."""
    missing = [package for package in OPTIONAL if importlib.util.find_spec(package) is None]
    for item in items if missing else ():
        if isinstance(item, pytest.DoctestItem):
            code = "".join(example.source for example in item.dtest.examples)
            for package in missing:
                drawn = package == "matplotlib" and "convmatrix.plotting" in item.name
                if drawn or re.search(rf"^\s*(import|from) {package}\b", code, flags=re.MULTILINE):
                    item.add_marker(pytest.mark.skip(reason=f"the example needs {package}, which is not installed"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return the scheduler of pytest-xdist: tests go one by one to a process that is free, but for those together."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((shared for shared in TOGETHER if nodeid.startswith(shared)), nodeid)

    return Scheduling(config, log)
