"""The project's files agree with each other, the README tells the truth, and imports follow the design."""

from __future__ import annotations

import ast
import doctest
import os
import re
import shlex
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest

import convmatrix as cm

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "convmatrix"


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of the README in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


# --- the README ------------------------------------------------------------------------------------------------------


def test_readme_has_the_two_commands() -> None:
    commands = "".join(blocks("bash")).splitlines()
    assert 'pip install ".[analyses]" && python -m analyses' in commands
    assert 'pip install -e ".[test]" && python -m pytest' in commands


def test_readme_commands_install_extras_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set(re.findall(r'pip install (?:-e )?"\.\[(\w+)\]"', README))
    assert {"analyses", "test"} <= named
    assert named <= project["optional-dependencies"].keys()


def test_readme_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert missing == []


def run_examples(text: str, name: str) -> int:
    """Run the examples of a text; return how many there were."""
    test = doctest.DocTestParser().get_doctest(text, {}, name, "README.md", 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report: list[str] = []
    runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
    return len(test.examples)


def test_readme_python_blocks() -> None:
    parts = [block for block in blocks("python") if "torch" not in block]
    assert run_examples("\n".join(parts), "tour") >= 8


def test_readme_torch_block() -> None:
    pytest.importorskip("torch", reason="the block shows a PyTorch layer")
    (block,) = (block for block in blocks("python") if "torch" in block)
    assert run_examples(block, "torch") >= 3


def test_readme_console_blocks(tmp_path: Path) -> None:
    """Every ``$ convmatrix`` line of the README prints what is shown below it."""
    session = re.split(r"^\$ ", "".join(blocks("console")), flags=re.MULTILINE)[1:]
    assert session
    for entry in session:
        command, _, shown = entry.partition("\n")
        program, *arguments = shlex.split(command)
        assert program == "convmatrix"
        done = subprocess.run(
            [sys.executable, "-m", "convmatrix", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout
        assert done.stdout.rstrip() == shown.rstrip(), command


# --- the gate --------------------------------------------------------------------------------------------------------


def test_gate_takes_its_test_command_from_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    pattern = re.search(r"grep -E '(.*)' README\.md", script)
    assert pattern
    found = re.findall(pattern[1], README, flags=re.MULTILINE)
    assert found == ['pip install -e ".[test]" && python -m pytest']


def test_gate_is_a_program() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    assert "://" not in text  # it names no host: packages come from wherever pip is set up to look
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


# --- versions and citation -------------------------------------------------------------------------------------------


def citation() -> dict[str, str]:
    """Return the entries of CITATION.cff that stand on one line; it is YAML so plain that no library is needed."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^([a-z-]+):[ ]?(.*)$", text, flags=re.MULTILINE))
    for line in text.splitlines():
        assert re.match(r"[a-z-]+:( |$)|  ", line), f"CITATION.cff: not an entry or its continuation: {line!r}"
        assert "\t" not in line
    return entries


def test_citation_has_what_the_format_demands() -> None:
    entries = citation()
    assert {"cff-version", "message", "title", "authors"} <= entries.keys()
    assert entries["cff-version"] == "1.2.0"
    assert entries["type"] == "software"
    assert entries["license"] == "BSD-3-Clause"
    assert not {"doi", "url", "repository-code"} & entries.keys()
    assert "- name: The convmatrix developers" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "convmatrix/__init__.py"
    assert citation()["version"] == cm.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d[^]]*)\]", changelog, flags=re.MULTILINE)
    assert newest
    assert newest[1] == cm.__version__
    (bibtex,) = blocks("bibtex")
    assert re.findall(r"version *= *\{(.*?)\}", bibtex) == [cm.__version__]


def test_license() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("BSD 3-Clause License\n\nCopyright (c) 2026, The convmatrix developers\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "BSD-3-Clause"


# --- imports ---------------------------------------------------------------------------------------------------------

# A room imports only rooms of the floors below it: data flows one way. Helper modules (_name) go with their importers.
FLOORS = [
    ["boundary", "memory"],
    ["geometry"],
    ["layer_geometry"],
    ["pattern", "estimates", "selections"],
    ["matrices", "frameworks", "symbolic", "graph", "counts", "display", "io"],
    ["operator"],
    ["structured", "spectral"],
    ["solve", "equivariance", "nn", "plotting", "explore"],
    ["testing"],
    ["cli"],
]

# Packages beyond NumPy and SciPy, and the rooms that may import them.
OWNERS: dict[str, set[str]] = {
    "networkx": {"graph"},
    "sympy": {"symbolic", "equivariance"},
    "z3": {"equivariance"},
    "matplotlib": {"plotting"},
    "sklearn": {"cli"},
    "torch": set(),
    "onnx": set(),
}

# A command is a user of the package, and may import it as users do.
IMPORTS_THE_PACKAGE = {"cli"}

# Methods make what stands on an object: ConvGeometry.pattern, .unfold_matrix, the views in a notebook.
MAKES_LATER_ROOMS = {"geometry", "pattern"}

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def room_of(module: str) -> str:
    """Return the room of a module: convmatrix.cli.values is in "cli"; the package itself is in ""."""
    return (module + ".").split(".")[1]


def imports(module: str, *, in_functions: bool) -> set[str]:
    """Return what a module imports, with or without the imports inside its functions; those for types do not count."""

    def visit(node: ast.AST) -> list[ast.Import | ast.ImportFrom]:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            return [node]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not in_functions:
            return []
        children = ast.iter_child_nodes(node)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            children = iter(node.orelse)
        return [found for child in children for found in visit(child)]

    names: set[str] = set()
    for node in visit(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        else:
            assert node.level == 0, f"{module}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in MODULES else str(node.module))
    return names


def rooms_below(module: str, *, in_functions: bool) -> set[str]:
    """Return the rooms that a module imports, itself or by way of helper modules."""
    seen, found, waiting = {module}, set(), [module]
    while waiting:
        for name in imports(waiting.pop(), in_functions=in_functions):
            if name not in MODULES or name in seen:
                continue
            seen.add(name)
            if room_of(name).startswith("_"):
                waiting.append(name)
            else:
                found.add(room_of(name))
    return found - {room_of(module)}


def floor_of(room: str) -> int:
    """Return the floor of a room."""
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"{room!r} has no floor yet; add it to FLOORS in {__file__}")


ROOMS = [name for name in MODULES if room_of(name) and not room_of(name).startswith("_")]


@pytest.mark.parametrize("module", ROOMS)
def test_imports_lead_down(module: str) -> None:
    room = room_of(module)
    below = rooms_below(module, in_functions=room not in MAKES_LATER_ROOMS)
    if room in IMPORTS_THE_PACKAGE:
        below.discard("")
    assert "" not in below, f"{module} imports the whole package; import the module that it needs"
    wrong = {other for other in below if floor_of(other) >= floor_of(room)}
    assert not wrong, f"{module} may not import {wrong}"


@pytest.mark.parametrize("module", MODULES)
def test_packages_stay_in_their_room(module: str) -> None:
    for name in imports(module, in_functions=True):
        package = name.partition(".")[0]
        assert room_of(module) in OWNERS.get(package, {room_of(module)}), f"{module} may not import {package}"


@pytest.mark.parametrize("module", ["operator", "_correlation", "_fft_correlation", "_padding"])
def test_operator_is_independent_of_the_matrix(module: str) -> None:
    """The operator is the oracle for the matrix, so neither may be built from the parts of the other."""
    tree = ast.parse(MODULES[f"convmatrix.{module}"].read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not imported & {"WeightPattern", "layer_pattern", "conv_matrix", "assemble", "Plan", "read_sample", "Axis"}
    assert not attributes & {"pattern", "unfold_matrix"}


def test_import_is_light() -> None:
    heavy = (*OWNERS, "skimage", "hypothesis")
    code = f"import sys, convmatrix; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


# --- docstrings ------------------------------------------------------------------------------------------------------


PUBLIC = {name: getattr(cm, name) for name in cm.__all__}


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if isinstance(value, types.ModuleType)])
def test_public_modules_are_described(name: str) -> None:
    assert PUBLIC[name].__doc__


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if callable(value)])
def test_public_names_have_an_example(name: str) -> None:
    assert ">>> " in (PUBLIC[name].__doc__ or "")


def test_public_names_are_complete() -> None:
    assert {"ConvGeometry", "ConvOperator", "WeightPattern", "conv_matrix", "from_torch"} <= PUBLIC.keys()
    assert cm.__all__ == sorted(cm.__all__)
