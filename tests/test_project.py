"""The project's files agree with each other, and the README's examples and commands work."""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
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
    assert 'pip install -e ".[test]" && python -m pytest -n auto' in commands


def test_readme_commands_install_extras_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set(re.findall(r'pip install (?:-e )?"\.\[(\w+)\]"', README))
    assert {"analyses", "test"} <= named
    assert named <= project["optional-dependencies"].keys()


def run_examples(text: str, name: str) -> int:
    """Run the examples of a text; return how many there were."""
    test = doctest.DocTestParser().get_doctest(text, {}, name, "README.md", 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report: list[str] = []
    runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
    return len(test.examples)


def test_readme_python_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("matplotlib", "skimage"):
        pytest.importorskip(package, reason="the blocks draw a figure and restore a photograph")
    monkeypatch.chdir(tmp_path)  # where the figure is saved
    parts = [block for block in blocks("python") if "torch" not in block]
    assert run_examples("\n".join(parts), "tour") >= 8


def test_readme_torch_blocks() -> None:
    pytest.importorskip("torch", reason="the blocks show PyTorch models")
    parts = ["    >>> import numpy as np\n", *(block for block in blocks("python") if "torch" in block)]
    assert run_examples("\n".join(parts), "torch") >= 10


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
    assert found == ['pip install -e ".[test]" && python -m pytest -n auto']


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


def test_citation_codemeta_and_paper_agree() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    described = json.loads((ROOT / "codemeta.json").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    paper = (ROOT / "paper" / "paper.md").read_text(encoding="utf-8")
    title = citation()["title"].strip('"')
    assert f"\ntitle: '{title}'\n" in paper
    assert described["name"] == title
    assert re.findall(r"title *= *\{(.*?)\},", blocks("bibtex")[0]) == [title]
    abstract = re.search(r"^abstract: >-\n((?:  .*\n)+)", text, flags=re.MULTILINE)
    assert abstract
    assert described["description"] == " ".join(abstract[1].split())
    assert described["version"] == cm.__version__
    assert described["license"].endswith(f"/{citation()['license']}")
    assert described["softwareRequirements"] == project["dependencies"]
    assert described["runtimePlatform"] == f"Python {project['requires-python'].removeprefix('>=')} or later"
    keywords = re.findall(r"^  - ([^:\n]+)$", text.partition("keywords:")[2], flags=re.MULTILINE)
    assert described["keywords"] == keywords
    assert set(re.findall(r"^  - ([^:\n]+)$", paper.partition("authors:")[0], flags=re.MULTILINE)) <= {
        "Python",
        *keywords,
    }
    (author,) = described["author"]
    assert (
        author["name"] == re.search(r"^  - name: (.*)$", text, flags=re.MULTILINE)[1] == project["authors"][0]["name"]
    )


def test_license() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("BSD 3-Clause License\n\nCopyright (c) 2026, The convmatrix developers\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "BSD-3-Clause"
