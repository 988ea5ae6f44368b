"""All theorems by Coq: ``python -m tests.coq_theorems [NAME ...] [--jobs 2]``.

Coq reads several theorems at a time, and each by itself where it refuses one of them. Prints one line per theorem:
whether Coq accepts its lemmas and its full statement, the size of its lemmas and its full statement, and its
assumptions. The exit status is 1 if a theorem is not proved, or has no full statement.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from convmatrix.proofs import Proof, theorems
from convmatrix.proofs.coq_engine import CLOSED
from convmatrix.proofs.proving import prove_by_coq, theorem

TOGETHER = 10
"""Theorems that Coq reads as one text."""


def row(proof: Proof) -> bool:
    """Print what Coq said about one theorem; return whether it is proved in full."""
    full = any(part.kind == "full statement" for part in proof.parts)
    lemmas = sum(part.kind == "integer lemma" for part in proof.parts)
    size = sum(part.certificate.get("bytes", 0) for part in proof.parts) / 1000
    assumed = {part.certificate.get("assumptions", "none stated") for part in proof.parts if part.decided_by == "coq"}
    assumptions = "none" if assumed == {CLOSED} else ", ".join(sorted(assumed))
    answers = [("no", "yes")[answer] for answer in (proof.proved, full)]
    print(f"{proof.name:26} {answers[0]:7} {answers[1]:5} {lemmas:6} {size:7.1f}  {assumptions}", flush=True)
    for part in proof.parts:
        if part.status != "proved":
            print(f"    {part.name}: {part.certificate.get('reason', part.status)}", flush=True)
    return proof.proved and full


def main() -> int:
    """Prove all theorems, or those named, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    chosen = [theorem(name) for name in args.names or theorems()]
    groups = [chosen[first : first + TOGETHER] for first in range(0, len(chosen), TOGETHER)]
    start = time.perf_counter()
    print(f"{'theorem':26} {'proved':7} {'full':5} {'lemmas':>6} {'.v, kB':>7}  assumptions", flush=True)
    with ThreadPoolExecutor(args.jobs) as pool:
        complete = [row(proof) for proofs in pool.map(prove_by_coq, groups) for proof in proofs]
    print(f"{len(chosen)} theorems in {time.perf_counter() - start:.0f} s", flush=True)
    return 0 if all(complete) else 1


if __name__ == "__main__":
    sys.exit(main())
