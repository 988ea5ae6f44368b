"""Mutation testing: apply recorded faults to a copy of the tree, one at a time, and see whether the tests notice.

``python -m tests.mutants`` runs every mutant of ``tests/mutants.toml`` against the tests of its room. A mutant is one
deliberate fault: a snippet of a module and what replaces it. Tests that fail kill the mutant; a mutant that survives
shows what no test checks. The exit status is 1 if a mutant survives that is recorded as killed.

    python -m tests.mutants --room io
    python -m tests.mutants --only io-03 nn-12
    python -m tests.mutants --check      only look whether each snippet occurs exactly once, and has tests
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRELOADED = (
    "scipy.fft",
    "scipy.io",
    "scipy.ndimage",
    "scipy.signal",
    "scipy.sparse.linalg",
    "sympy",
    "networkx",
    "hypothesis.extra.numpy",
)
TIME_LIMIT = 300  # seconds per mutant; a run that takes longer counts as a failure of the tests


@dataclass(frozen=True)
class Mutant:
    """A fault: what goes wrong, where, and whether the tests are known to notice it."""

    id: str
    fault: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()  # instead of those of the room
    killed: bool = True

    @property
    def room(self) -> str:
        """Room that the mutant belongs to."""
        return self.id.rpartition("-")[0]

    def occurrences(self, root: Path) -> int:
        """Return how often the snippet occurs in the module."""
        path = root / self.file
        return path.read_text().count(self.old) if path.exists() else 0

    def apply(self, root: Path) -> None:
        """Write the fault into a copy of the tree."""
        path = root / self.file
        path.write_text(path.read_text().replace(self.old, self.new))
        _date(path)


_dates = itertools.count(2**30, 10)


def _date(path: Path) -> None:
    """Give a module a new modification time, so that cached bytecode of another version is not used for it."""
    date = next(_dates)
    os.utime(path, (date, date))


def load(path: Path) -> tuple[list[Mutant], dict[str, list[str]]]:
    """Return the recorded mutants and, for each room, the tests that are run against its mutants."""
    recorded = tomllib.loads(path.read_text())
    return [Mutant(**entry) for entry in recorded["mutant"]], recorded["tests"]


def copy_tree(source: Path, target: Path) -> None:
    """Copy the files that Git tracks or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=source, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)


def run_tests(root: Path, tests: Sequence[str]) -> tuple[int | None, float]:
    """Return the exit status of pytest (None if it ran out of time) and the seconds it took.

    The tests run in a fork of this process, so that the libraries are loaded only once.
    """
    process = multiprocessing.get_context("fork").Process(target=_pytest, args=(root, tests))
    start = time.monotonic()
    process.start()
    process.join(TIME_LIMIT)
    if process.is_alive():
        process.kill()
        process.join()
        return None, time.monotonic() - start
    return process.exitcode, time.monotonic() - start


def _pytest(root: Path, tests: Sequence[str]) -> None:
    os.chdir(root)
    os.environ["PYTHONPATH"] = str(root)
    with contextlib.suppress(ImportError):
        hypothesis = importlib.import_module("hypothesis")
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # a failure need not be made small
        hypothesis.settings.register_profile(
            "mutants", max_examples=60, deadline=None, derandomize=True, database=None, phases=phases
        )
        os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    for name in [name for name in sys.modules if name.partition(".")[0] in ("convmatrix", "tests")]:
        del sys.modules[name]
    sys.path = [str(root), *(entry for entry in sys.path if entry not in ("", str(ROOT)))]
    with (root / "pytest.log").open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    os._exit(
        int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", "--assert=plain", "--tb=no", *tests]))
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen mutants and print one line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", metavar="ID", help="run these mutants")
    parser.add_argument("--room", nargs="+", help="run the mutants of these rooms")
    parser.add_argument("--check", action="store_true", help="only check that each snippet occurs exactly once")
    parser.add_argument("--tree", type=Path, default=ROOT, help="the tree to copy (default: this one)")
    parser.add_argument("--record", type=Path, default=ROOT / "tests" / "mutants.toml", help="the recorded mutants")
    options = parser.parse_args(arguments)
    mutants, tests = load(options.record)
    chosen = [
        mutant
        for mutant in mutants
        if (options.only is None or mutant.id in options.only) and (options.room is None or mutant.room in options.room)
    ]
    if untested := sorted({mutant.room for mutant in chosen if not mutant.tests and mutant.room not in tests}):
        parser.error(f"there are no tests for {', '.join(untested)}: list them under [tests] in {options.record.name}")
    if lost := [mutant for mutant in chosen if mutant.occurrences(options.tree) != 1]:
        for mutant in lost:
            print(f"{mutant.id}: the snippet occurs {mutant.occurrences(options.tree)} times in {mutant.file}")
        if options.check:
            return 1
    if options.check:
        return 0
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    worse = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy_tree(options.tree, root)
        for selection in dict.fromkeys(tuple(mutant.tests or tests[mutant.room]) for mutant in chosen):
            status, seconds = run_tests(root, selection)
            print(f"without a fault{seconds:6.1f} s  {' '.join(selection)}", flush=True)
            if status != 0:
                parser.error(
                    f"without a fault these tests fail or take longer than {TIME_LIMIT} s: {' '.join(selection)}"
                )
        for mutant in chosen:
            if mutant in lost:
                continue
            path = root / mutant.file
            original = path.read_text()
            mutant.apply(root)
            status, seconds = run_tests(root, mutant.tests or tests[mutant.room])
            path.write_text(original)
            _date(path)
            outcome = "survived" if status == 0 else "timeout" if status is None else "killed"
            worse += outcome == "survived" and mutant.killed
            print(f"{outcome:9}{seconds:6.1f} s  {mutant.id}: {mutant.fault}", flush=True)
    print(f"{len(chosen)} mutants, of which {worse} survive that are recorded as killed")
    return 1 if worse or lost else 0


if __name__ == "__main__":
    sys.exit(main())
