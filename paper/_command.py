"""The command ``python -m paper``: read the results, typeset, write."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from convmatrix.atomic import atomic_write
from paper.benchmarks import MEASUREMENTS, read_tables
from paper.errors import PaperError
from paper.latex import numbers_tex, table_tex
from paper.markdown import marks, with_numbers
from paper.numbers import Numbers
from paper.results import Results, load_results
from paper.theorems import Proofs, engines, prove_all, theorems_tex
from paper.theorems import counts as theorem_counts
from paper.typeset import load_typst, paper_data, typeset

SOURCE_MD = Path(__file__).with_name("paper.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the paper and its numbers; return 0, or 2 where the results or typst do not allow it."""
    parser = argparse.ArgumentParser(
        prog="python -m paper",
        description="Typeset the paper from the results of the analyses; write its numbers and tables for LaTeX.",
        epilog="Make the results first: python -m analyses",
    )
    parser.add_argument(
        "names", nargs="*", metavar="ANALYSIS", help="analyses for a draft without the others (default: all)"
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="folder with results (default: results)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("paper/build"), metavar="DIR", help="folder to write (default: paper/build)"
    )
    parser.add_argument(
        "--renew",
        action="store_true",
        help="only renew the numbers of paper.md in place, from these results and the benchmarks, without the theorems",
    )
    options = parser.parse_args(arguments)
    try:
        if options.renew:
            return renew(load_results(options.results, options.names))
        load_typst()
        results = load_results(options.results, options.names)
        paper_data(
            results, paper_counts(results) | theorem_counts({})
        )  # a name that is missing shows before the proofs
        print(f"proving the theorems with {' and '.join(engines())} ...", file=sys.stderr, flush=True)
        files = make(results, prove_all())
        options.output.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with atomic_write(options.output / name) as file:
                file.write(content)
    except (PaperError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if files["paper.md"] != SOURCE_MD.read_bytes():
        print(f"paper.md has other numbers than these results; with theirs: {options.output / 'paper.md'}")
    kind = "a draft from quick results" if results.quick else "the paper"
    print(f"{kind}: {options.output / 'paper.pdf'}, with {len(files) - 1} files for Markdown and LaTeX beside it")
    return 0


def make(results: Results, proofs: Proofs) -> dict[str, bytes]:
    """Return all files by name.

    Raises
    ------
    PaperError
        If the source names a number that is missing, or typst is missing or refuses the source.
    """
    counts = paper_counts(results) | theorem_counts(proofs)
    files = {"paper.pdf": typeset(results, proofs, counts)}
    files["numbers.tex"] = numbers_tex(results, counts).encode()
    files["theorems.tex"] = theorems_tex(proofs).encode()
    files["paper.md"] = markdown(Numbers(results, counts)).encode()
    return files | {f"table_{analysis.name}.tex": table_tex(analysis).encode() for analysis in results.analyses}


def markdown(numbers: Numbers) -> str:
    """Return paper.md with these numbers and those of the benchmarks."""
    tables = read_tables(MEASUREMENTS.read_text(encoding="utf-8"))
    return with_numbers(SOURCE_MD.read_text(encoding="utf-8"), numbers, tables)


def renew(results: Results) -> int:
    """Write the numbers of results and benchmarks into paper.md; those about theorems need their proofs, and stay."""
    numbers = Numbers(results, {})
    numbers.analyses.discard("paper")
    text = markdown(numbers)
    old, new = marks(SOURCE_MD.read_text(encoding="utf-8")), marks(text)
    for before, after in zip(old, new, strict=True):
        if before != after:
            print(f"{before.name}: {before.shown} is now {after.shown}")
    with atomic_write(SOURCE_MD) as file:
        file.write(text.encode())
    return 0


def paper_counts(results: Results) -> dict[str, int]:
    """Return the counts of analyses and verdicts that the paper may name as ``"paper.KEY"``."""
    return {
        "analyses": len(results.analyses),
        "claims": results.verdicts.total(),
        "claims-reproduced": results.verdicts["reproduced"],
        "claims-checked": results.verdicts["checked"],
        "figures": sum(len(analysis.drawings) for analysis in results.analyses),
    }
