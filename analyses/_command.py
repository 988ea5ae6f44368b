"""The command ``python -m analyses``: find the analyses, run them, print and write their verdicts."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import itertools
import json
import platform
import sys
import textwrap
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy

import convmatrix
from analyses._claims import Claim, show
from analyses._context import Context
from convmatrix.atomic import atomic_write

FOLDER = Path(__file__).resolve().parent
COLUMNS = {"analysis": 18, "claim": 44, "published": 22, "computed": 22, "verdict": 10}  # names and widths

Run = Callable[[Context], list[Claim]]


@dataclass(frozen=True)
class Result:
    """What one analysis came to: its claims, or the error that ended it."""

    name: str
    claims: list[Claim] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    error: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the analysis ran to its end and no claim failed."""
        return self.error is None and all(claim.verdict != "failed" for claim in self.claims)


class MissingPackageError(ImportError):
    """An analysis imports a package that is not installed."""


def run_script(file: str) -> int:
    """Run the analysis in a file with the options of the command line: what a script does that is run by itself."""
    path = Path(file).resolve()
    return main([path.stem, *sys.argv[1:]], folder=path.parent)


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Run analyses of a folder; return 0, 1 where a verdict failed or a script raised, or 2 where none could start."""
    parser = argparse.ArgumentParser(
        prog="python -m analyses",
        description="Recompute published claims about convolution layers and print a verdict for each.",
    )
    parser.add_argument("names", nargs="*", metavar="ANALYSIS", help="analyses to run (default: all)")
    parser.add_argument("--list", action="store_true", help="list the analyses and stop")
    parser.add_argument("--quick", action="store_true", help="take smaller data where an analysis takes long")
    parser.add_argument(
        "--output", type=Path, default=Path("results"), metavar="DIR", help="folder for results (default: results)"
    )
    options = parser.parse_args(arguments)

    scripts = {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}
    if unknown := [name for name in options.names if name not in scripts]:
        return _refuse(f"unknown analysis {', '.join(map(repr, unknown))}; the analyses are: {', '.join(scripts)}")
    if options.list:
        width = max(map(len, scripts))
        for name, path in scripts.items():
            print(f"{name:{width}}  {_title(path)}")
        return 0

    chosen = list(dict.fromkeys(options.names)) or list(scripts)
    try:  # everything that may be missing, before any work
        runs = {name: _load(scripts[name]) for name in chosen}
        options.output.mkdir(parents=True, exist_ok=True)
    except MissingPackageError as error:
        return _refuse(f'{error}; install what the analyses need: pip install ".[analyses]"')
    except OSError as error:
        return _refuse(f"cannot use the folder {str(options.output)!r} for results ({error}); choose another --output")

    results = []
    for number, (name, run) in enumerate(runs.items(), start=1):
        print(f"[{number}/{len(runs)}] {name} ... ", end="", file=sys.stderr, flush=True)
        start = time.perf_counter()
        result = _run(run, Context(name, options.output, options.quick))
        outcome = _count([result]) if result.error is None else "raised an error:\n" + result.error.rstrip()
        print(f"{time.perf_counter() - start:.1f} s, {outcome}", file=sys.stderr, flush=True)
        _write(options.output / f"{name}.json", _record(result, scripts[name], options.quick))
        results.append(result)
    _write(options.output / "summary.json", _summary(results, options.quick))
    print(_report(results))
    print(f"\n{_count(results)}; results are in {options.output}/")
    return 0 if all(result.passed for result in results) else 1


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _title(path: Path) -> str:
    """Return the first line of a script's docstring, without running the script."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError:
        return "(no Python)"  # running it tells where
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def _load(path: Path) -> Run:
    """Import a script and return its function run; one that cannot be imported raises when it is run.

    Raises
    ------
    MissingPackageError
        If it imports a package that is not installed.
    """
    name = f"analyses.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None  # true of all .py files
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        run: Run = module.run
    except (Exception, SystemExit) as error:
        package = error.name.partition(".")[0] if isinstance(error, ModuleNotFoundError) and error.name else None
        if package not in (None, "analyses", "convmatrix"):
            raise MissingPackageError(f"analysis {path.stem!r} needs the missing package {package!r}") from None
        failure = error

        def run(context: Context) -> list[Claim]:
            raise failure

    return run


def _run(run: Run, context: Context) -> Result:
    """Run one analysis; whatever it raises is kept, so that the others still run."""
    try:
        with _one_thread():
            claims = run(context)
        if not claims or not all(isinstance(claim, Claim) for claim in claims):
            raise TypeError(f"run must return a list of at least one Claim, but returned {claims!r}")
    except (Exception, SystemExit):
        return Result(context.name, figures=context.figures, error=traceback.format_exc())
    return Result(context.name, list(claims), context.figures)


def _one_thread() -> AbstractContextManager[Any]:
    """Keep BLAS to one thread: for small matrices more of them only wait, and sums may depend on their number."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # the results do not need it
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


# --- what is written -------------------------------------------------------------------------------------------------


def _record(result: Result, path: Path, quick: bool) -> dict[str, Any]:
    """Return all that is known of one analysis. It holds no times: the same run writes the same bytes."""
    return {
        "analysis": result.name,
        "title": _title(path),
        "quick": quick,
        "passed": result.passed,
        "claims": [claim.record() for claim in result.claims],
        "figures": result.figures,
        "error": result.error,
        "versions": {
            "convmatrix": convmatrix.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
    }


def _summary(results: list[Result], quick: bool) -> dict[str, Any]:
    return {
        "quick": quick,
        "passed": all(result.passed for result in results),
        "verdicts": _verdicts(results),
        "analyses": {result.name: {"passed": result.passed, **_verdicts([result])} for result in results},
    }


def _write(path: Path, record: dict[str, Any]) -> None:
    with atomic_write(path) as file:
        file.write((json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


# --- what is printed -------------------------------------------------------------------------------------------------


def _verdicts(results: list[Result]) -> dict[str, int]:
    counts = Counter(claim.verdict for result in results for claim in result.claims)
    return {
        "reproduced": counts["reproduced"],
        "checked": counts["checked"],
        "failed": counts["failed"],
        "raised": sum(result.error is not None for result in results),
    }


def _count(results: list[Result]) -> str:
    n_claims = sum(len(result.claims) for result in results)
    counts = _verdicts(results)
    words = [f"{counts['reproduced']} reproduced", f"{counts['checked']} checked", f"{counts['failed']} failed"]
    if counts["raised"]:
        words.append(f"{counts['raised']} of {len(results)} analyses raised an error")
    return f"{n_claims} claim{'s' * (n_claims != 1)}: {', '.join(words)}"


def _report(results: list[Result]) -> str:
    """Return the table of verdicts and, below it, why something failed."""
    rows: list[list[str]] = []
    reasons: list[str] = []
    for result in results:
        for claim in result.claims:
            published, computed = show(claim.published), show(claim.computed)
            rows.append([result.name, claim.statement, published, computed, claim.verdict])
            if claim.verdict == "failed":
                wanted = f"published {published} ({claim.source})" if claim.published is not None else claim.source
                reasons.append(
                    f"FAILED {result.name}: {claim.statement}: computed {computed}; {wanted}; "
                    f"compared: {claim.comparison}"
                )
        if result.error is not None:
            last = result.error.rstrip().rpartition("\n")[2]
            rows.append([result.name, f"raised {last}", "-", "-", "failed"])
            reasons.append(f"FAILED {result.name}: raised {last}; the traceback is in {result.name}.json")
    return "\n".join([_table(rows), *([""] if reasons else []), *reasons])


def _table(rows: list[list[str]]) -> str:
    """Return rows of text as aligned columns; long cells go on in the next line."""
    lines = [list(COLUMNS), ["-" * width for width in COLUMNS.values()]]
    for row in rows:
        cells = [textwrap.wrap(text, width) for text, width in zip(row, COLUMNS.values(), strict=True)]
        lines.extend(map(list, itertools.zip_longest(*cells, fillvalue="")))
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, COLUMNS.values(), strict=True)).rstrip()
        for line in lines
    )
