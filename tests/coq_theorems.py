"""All theorems by Coq: ``python -m tests.coq_theorems [NAME ...] [--jobs 2]``.

Prints one line per theorem: whether Coq accepts its lemmas and its full statement, the seconds, the size of its lemmas
and its full statement, and its assumptions. The exit status is 1 if a theorem is not proved, or has no full statement.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from convmatrix.proofs import prove, theorems
from convmatrix.proofs.coq_engine import CLOSED


@dataclass(frozen=True)
class Row:
    """What Coq said about one theorem."""

    name: str
    proved: bool
    full: bool
    lemmas: int
    seconds: float
    size: int
    assumptions: str
    reasons: tuple[str, ...]


def row(name: str) -> Row:
    """Prove one theorem."""
    start = time.perf_counter()
    proof = prove(name, "coq")
    seconds = time.perf_counter() - start
    open_parts = [part for part in proof.parts if part.status != "proved"]
    assumed = {part.certificate.get("assumptions", "none stated") for part in proof.parts if part.decided_by == "coq"}
    return Row(
        name,
        proof.proved,
        any(part.kind == "full statement" for part in proof.parts),
        sum(part.kind == "integer lemma" for part in proof.parts),
        seconds,
        sum(part.certificate.get("bytes", 0) for part in proof.parts),
        "none" if assumed == {CLOSED} else ", ".join(sorted(assumed)),
        tuple(f"{part.name}: {part.certificate.get('reason', part.status)}" for part in open_parts),
    )


def main() -> int:
    """Prove all theorems, or those named, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    names = args.names or theorems()
    start = time.perf_counter()
    print(f"{'theorem':26} {'proved':7} {'full':5} {'lemmas':>6} {'seconds':>8} {'.v, kB':>7}  assumptions", flush=True)
    complete = True
    with ThreadPoolExecutor(args.jobs) as pool:
        for found in pool.map(row, names):
            answers = [("no", "yes")[answer] for answer in (found.proved, found.full)]
            print(
                f"{found.name:26} {answers[0]:7} {answers[1]:5} {found.lemmas:6} {found.seconds:8.1f} "
                f"{found.size / 1000:7.1f}  {found.assumptions}",
                flush=True,
            )
            for reason in found.reasons:
                print(f"    {reason}", flush=True)
            complete &= found.proved and found.full
    print(f"{len(names)} theorems in {time.perf_counter() - start:.0f} s", flush=True)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
