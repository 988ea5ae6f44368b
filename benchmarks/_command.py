"""The command ``python -m benchmarks``: find the benchmarks, run their topics, print and write the tables."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import benchmarks
import convmatrix
from benchmarks import _machine
from benchmarks._tables import Goal, Table
from benchmarks._timing import Effort
from convmatrix.atomic import atomic_write


@dataclass(frozen=True)
class Context:
    """How much a run may measure.

    Attributes
    ----------
    quick : bool
        Small sizes and few rounds: to see that everything runs. Goals are not judged.
    """

    quick: bool = False

    @property
    def effort(self) -> Effort:
        """The rounds of one line of a table."""
        return Effort(0.2, 3, 7) if self.quick else Effort(1.0, 4, 25)

    @property
    def limit(self) -> int:
        """Seconds after which a contender is stopped."""
        return 2 if self.quick else 15

    def goal(self, goal: Goal) -> Goal | None:
        """Return the goal, or None where sizes are not the ones that it is about."""
        return None if self.quick else goal

    def report(self, what: str) -> None:
        """Say on stderr what is being measured."""
        print(f"  {what}", file=sys.stderr, flush=True)


Topic = Callable[[Context], Table]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run benchmarks; return 0, 1 where a goal was missed or a topic raised, or 2 where none could start."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Time convmatrix side by side with what a user would pick instead."
    )
    parser.add_argument("names", nargs="*", metavar="BENCHMARK", help="benchmarks to run (default: all)")
    parser.add_argument("--list", action="store_true", help="list the benchmarks with their topics and stop")
    parser.add_argument("--topic", action="append", default=[], metavar="TOPIC", help="run only this topic; repeatable")
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds, no goals")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results/benchmarks"),
        metavar="DIR",
        help="folder for the numbers as JSON (default: results/benchmarks)",
    )
    options = parser.parse_args(arguments)

    modules = _benchmarks()
    if unknown := [name for name in options.names if name not in modules]:
        return _refuse(f"unknown benchmark {', '.join(map(repr, unknown))}; the benchmarks are: {', '.join(modules)}")
    chosen = list(dict.fromkeys(options.names)) or list(modules)
    topics: dict[str, dict[str, Topic]] = {name: modules[name].TOPICS for name in chosen}
    if options.list:
        for name in chosen:
            print(f"{name}: {(modules[name].__doc__ or '').partition(chr(10))[0]}\n  topics: {', '.join(topics[name])}")
        return 0
    known = [topic for found in topics.values() for topic in found]
    if unknown := [topic for topic in options.topic if topic not in known]:
        return _refuse(f"unknown topic {', '.join(map(repr, unknown))}; the topics are: {', '.join(known)}")
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _refuse(f"cannot use the folder {str(options.output)!r} for results ({error}); choose another --output")

    facts = {**_machine.describe(), "convmatrix": convmatrix.__version__, "load": _machine.load()}
    print(_machine.in_words(facts), flush=True)
    if _machine.load() > 0.5:
        print(f"note: the machine is busy (load {_machine.load():.2f}), and numbers will be noisy", file=sys.stderr)
    good = True
    for name in chosen:
        taken = {topic: run for topic, run in topics[name].items() if topic in (options.topic or topics[name])}
        good &= _run(name, taken, Context(options.quick), facts, options.output / f"{name}.json")
    return 0 if good else 1


def _run(name: str, topics: Mapping[str, Topic], context: Context, facts: dict[str, Any], path: Path) -> bool:
    """Run the topics of a benchmark; print each table when it is there; return whether all went well."""
    tables: dict[str, Any] = {}
    missed, raised = 0, 0
    for topic, run in topics.items():
        print(f"{name}: {topic}", file=sys.stderr, flush=True)
        start = time.perf_counter()
        try:
            table = run(context)
        except Exception:
            raised += 1
            tables[topic] = {"error": traceback.format_exc()}
            print(f"\n### {topic}\n\nraised an error:\n{traceback.format_exc()}", flush=True)
            continue
        print(f"\n{table.text()}", flush=True)
        missed += len(table.missed)
        tables[topic] = {**table.record(), "seconds": time.perf_counter() - start}
    _write(path, {"benchmark": name, "quick": context.quick, "machine": facts, "topics": tables})
    words = "goals are not judged in a quick run" if context.quick else f"{missed} rows miss their goal"
    print(f"\n{name}: {len(topics)} topics, {words}, {raised} raised an error; the numbers are in {path}", flush=True)
    return missed == raised == 0


def _benchmarks() -> dict[str, ModuleType]:
    """Return the modules of the folder that are benchmarks, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return {name: importlib.import_module(f"benchmarks.{name}") for name in names if not name.startswith("_")}


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _write(path: Path, record: dict[str, Any]) -> None:
    """Write a record, completely or not at all."""
    with atomic_write(path) as file:
        file.write((json.dumps(record, indent=1) + "\n").encode())
