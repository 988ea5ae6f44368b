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
from paper.markdown import with_numbers
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
    options = parser.parse_args(arguments)
    try:
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
    numbers = Numbers(results, counts)
    tables = read_tables(MEASUREMENTS.read_text(encoding="utf-8"))
    files["paper.md"] = with_numbers(SOURCE_MD.read_text(encoding="utf-8"), numbers, tables).encode()
    return files | {f"table_{analysis.name}.tex": table_tex(analysis).encode() for analysis in results.analyses}


def paper_counts(results: Results) -> dict[str, int]:
    """Return the counts of analyses and verdicts that the paper may name as ``"paper.KEY"``."""
    return {
        "analyses": len(results.analyses),
        "claims": results.verdicts.total(),
        "claims-reproduced": results.verdicts["reproduced"],
        "claims-checked": results.verdicts["checked"],
        "figures": sum(len(analysis.drawings) for analysis in results.analyses),
    }
