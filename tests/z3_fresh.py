"""Theorems by z3, each in a fresh process: ``python -m tests.z3_fresh [NAME ...] [--jobs 2]``.

A solver's search depends on what it did before. Here nothing came before: each theorem is proved as by a user who runs
the command once. Prints one line per theorem, and the version of z3. The exit status is 1 if a theorem is not proved.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version

from convmatrix.proofs import theorems


@dataclass(frozen=True)
class Answer:
    """The output of the command for one theorem."""

    name: str
    status: int
    seconds: float
    text: str


def ask(name: str) -> Answer:
    """Run ``convmatrix prove NAME --engine z3`` in a process of its own."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "convmatrix", "prove", name, "--engine", "z3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Answer(name, done.returncode, time.perf_counter() - start, done.stdout + done.stderr)


def main() -> int:
    """Prove all theorems, or those named, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    names = args.names or theorems()
    print(f"z3 {version('z3-solver')}, Python {sys.version.split()[0]}", flush=True)
    failed = 0
    with ThreadPoolExecutor(args.jobs) as pool:
        for answer in pool.map(ask, names):
            failed += answer.status != 0
            verdict = "proved" if answer.status == 0 else f"status {answer.status}"
            print(f"{answer.name:28} {verdict:10} {answer.seconds:6.1f} s", flush=True)
            if answer.status:
                print(answer.text)
    print(f"{len(names) - failed} of {len(names)} proved")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
