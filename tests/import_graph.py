"""The import graph of the package, read from its source: every import counts, deferred or for types only."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Final, NamedTuple

import networkx as nx

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = "convmatrix"


class Import(NamedTuple):
    """One imported object or module: which module imports what."""

    importer: str
    target: str  # the module and, after the last dot, the object


@functools.cache
def modules() -> dict[str, Path]:
    """Return the path of each module of the package."""
    paths = sorted((ROOT / PACKAGE).rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports(module: str, path: Path) -> list[Import]:
    """Return all imports of a module, wherever they stand in it."""
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found += [Import(module, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: use absolute imports"
            found += [Import(module, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def import_graph() -> nx.DiGraph:
    """Return the graph whose edges lead from each module to the modules that it imports."""
    paths = modules()
    graph = nx.DiGraph()
    graph.add_nodes_from(paths)
    for module, path in paths.items():
        for _, target in imports(module, path):
            name = target if target in paths else target.rpartition(".")[0]
            if name in paths:
                graph.add_edge(module, name)
    return graph


def private_owner(target: str, paths: dict[str, Path]) -> str | None:
    """Return the package within which an import is private: the folder of its first name with an underscore."""
    parts = target.split(".")
    for place, part in enumerate(parts):
        if part.startswith("_") and not part.startswith("__"):
            owner = ".".join(parts[:place])
            return owner if paths[owner].name == "__init__.py" else owner.rpartition(".")[0]
    return None
