"""The command ``python -m analyses``: find the analyses, run them, write and print their verdicts."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import scipy

import convmatrix
from analyses._claims import Claim
from analyses._context import Context
from analyses._figures import figure_style
from analyses._report import Result, count_verdicts, index_html, outcome, table
from convmatrix.atomic import atomic_write
from convmatrix.progress import quiet

FOLDER = Path(__file__).resolve().parent
Run = Callable[[Context], list[Claim]]


class MissingPackageError(ImportError):
    """An analysis imports a package that is not installed."""


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
    parser.add_argument("--quiet", action="store_true", help="do not say on standard error which analysis runs")
    options = parser.parse_args(arguments)

    scripts = find_scripts(folder)
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
        if not options.quiet:
            print(f"[{number}/{len(runs)}] {name} ... ", end="", file=sys.stderr, flush=True)
        start = time.perf_counter()
        with quiet():  # the line above is the progress
            result = _run(run, Context(name, options.output, options.quick), _title(scripts[name]))
        ended = outcome([result]) if result.error is None else "raised an error:\n" + result.error.rstrip()
        if not options.quiet or result.error is not None:
            print(f"{time.perf_counter() - start:.1f} s, {ended}", file=sys.stderr, flush=True)
        _write(options.output / f"{name}.json", _json(_record(result, options.quick)))
        results.append(result)
    _write(options.output / "summary.json", _json(_summary(results, options.quick)))
    _write(options.output / "index.html", index_html(results, quick=options.quick).encode())
    print(table(results, shutil.get_terminal_size((120, 24)).columns))
    print(f"\n{outcome(results)}; results are in {options.output}/, with tables and figures in index.html")
    return 0 if all(result.passed for result in results) else 1


def find_scripts(folder: Path = FOLDER) -> dict[str, Path]:
    """Return the analyses of a folder by name: its files, and its packages, whose name has no leading underscore."""
    paths = [*folder.glob("*.py"), *(path.parent for path in folder.glob("*/__init__.py"))]
    return {path.stem: path for path in sorted(paths) if not path.stem.startswith("_")}


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _source(path: Path) -> Path:
    """Return the file of an analysis: its own, or the ``__init__`` of its package."""
    return path / "__init__.py" if path.is_dir() else path


def _title(path: Path) -> str:
    """Return the first line of a script's docstring, without running the script."""
    try:
        tree = ast.parse(_source(path).read_text(encoding="utf-8"))
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
    spec = importlib.util.spec_from_file_location(name, _source(path))
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


def _run(run: Run, context: Context, title: str) -> Result:
    """Run one analysis; whatever it raises is kept, so that the others still run."""
    try:
        with _one_thread(), figure_style():
            claims = run(context)
        if not claims or not all(isinstance(claim, Claim) for claim in claims):
            raise TypeError(f"run must return a list of at least one Claim, but returned {claims!r}")
        _require_keys(claims)
    except (Exception, SystemExit):
        return Result(context.name, title, figures=context.figures, error=traceback.format_exc())
    return Result(context.name, title, list(claims), context.figures)


def _require_keys(claims: list[Claim]) -> None:
    """Raise unless each claim has a key of its own."""
    seen: dict[str, str] = {}
    for claim in claims:
        if not claim.key:
            raise ValueError(f"the claim {claim.statement!r} has an empty key; give it a short name")
        if claim.key in seen:
            raise ValueError(f"two claims have the key {claim.key!r}: {seen[claim.key]!r} and {claim.statement!r}")
        seen[claim.key] = claim.statement


def _one_thread() -> AbstractContextManager[Any]:
    """Keep BLAS to one thread: for small matrices more of them only wait, and sums may depend on their number."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # the results do not need it
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


# --- what is written -------------------------------------------------------------------------------------------------


def _record(result: Result, quick: bool) -> dict[str, Any]:
    """Return all that is known of one analysis. It holds no times: the same run writes the same bytes."""
    return {
        "analysis": result.name,
        "title": result.title,
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
        "verdicts": count_verdicts(results),
        "analyses": {result.name: {"passed": result.passed, **count_verdicts([result])} for result in results},
    }


def _json(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        sys.exit(_refuse(str(error)))
