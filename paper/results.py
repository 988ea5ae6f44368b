"""The results of the analyses, as ``python -m analyses`` wrote them, and whether a paper may rest on them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import convmatrix
from analyses import Claim
from analyses._command import find_scripts
from paper.errors import PaperError

SCRIPTS = Path(__file__).resolve().parents[1] / "analyses"


@dataclass(frozen=True)
class Analysis:
    """One analysis and what it found.

    Attributes
    ----------
    name, title : str
        The name of its script, and the first line of its docstring.
    quick : bool
        Whether it took smaller data.
    claims : tuple of Claim
    figures : tuple of str
        File names, each figure as .svg and as .png.
    versions : dict of str to str
        The versions of the packages that it ran with.
    """

    name: str
    title: str
    quick: bool
    claims: tuple[Claim, ...]
    figures: tuple[str, ...]
    versions: dict[str, str]

    @property
    def script(self) -> str:
        """Where its script is, in this repository."""
        package = (SCRIPTS / self.name).is_dir()
        return f"analyses/{self.name}{'/' if package else '.py'}"

    @property
    def drawings(self) -> list[str]:
        """The names of its figures without their endings, in the order in which they were drawn."""
        return list(dict.fromkeys(Path(figure).stem for figure in self.figures))


@dataclass(frozen=True)
class Results:
    """The results of some analyses.

    Attributes
    ----------
    folder : Path
    analyses : tuple of Analysis
        In the order of their names.
    partial : bool
        Whether there are more analyses than these.
    """

    folder: Path
    analyses: tuple[Analysis, ...]
    partial: bool = False

    @property
    def quick(self) -> bool:
        """Whether any analysis took smaller data."""
        return any(analysis.quick for analysis in self.analyses)

    @property
    def verdicts(self) -> Counter[str]:
        """How many claims have which verdict."""
        return Counter(claim.verdict for analysis in self.analyses for claim in analysis.claims)


def script_names(scripts: Path = SCRIPTS) -> list[str]:
    """Return the names of all analyses."""
    return list(find_scripts(scripts))


def load_results(folder: Path, names: Sequence[str] = (), scripts: Path = SCRIPTS) -> Results:
    """Read the results of the named analyses, or of all.

    Raises
    ------
    PaperError
        If results are missing, unreadable, older than their script, of another version of convmatrix, or failed; the
        message names each such analysis and the command that mends it.
    """
    found = find_scripts(scripts)
    known = list(found)
    if unknown := [name for name in names if name not in known]:
        raise PaperError(f"unknown analysis {', '.join(map(repr, unknown))}; the analyses are: {', '.join(known)}")
    chosen = [name for name in known if not names or name in names]
    if not any((folder / f"{name}.json").is_file() for name in chosen):
        raise PaperError(
            f"the folder {str(folder)!r} holds no results of analyses; make them first:\n"
            f"  {_command(chosen if names else [], folder)}"
        )
    records: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name in chosen:
        try:
            records[name] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            fault = _fault(records[name], folder / f"{name}.json", found[name])
        except FileNotFoundError:
            fault = "has no results"
        except (ValueError, KeyError, TypeError) as error:
            fault = f"has results that cannot be read ({type(error).__name__}: {error})"
        if fault:
            faults[name] = fault
    if faults:
        told = "\n".join(f"  {name} {fault}" for name, fault in faults.items())
        usable = [name for name in chosen if name not in faults]
        draft = f"\nor typeset a draft of the others:\n  python -m paper {' '.join(usable)}" if usable else ""
        raise PaperError(
            f"{len(faults)} of {len(chosen)} analyses cannot be used:\n{told}\n"
            f"run again:\n  {_command(list(faults), folder)}{draft}"
        )
    return Results(folder, tuple(_analysis(records[name]) for name in chosen), len(chosen) < len(known))


def _command(names: Sequence[str], folder: Path) -> str:
    return " ".join(["python -m analyses", *names, "--output", str(folder)])


def _fault(record: dict[str, Any], path: Path, script: Path) -> str:
    """Return what is wrong with the results of one analysis, or nothing."""
    analysis = _analysis(record)
    if analysis.name != script.stem:
        return f"has the results of another analysis, {analysis.name!r}"
    if record["error"] is not None:
        return f"raised an error: {str(record['error']).rstrip().rpartition(chr(10))[2]}"
    if failed := [claim.statement for claim in analysis.claims if claim.verdict == "failed"]:
        return f"has {len(failed)} failed claim{'s' * (len(failed) > 1)}: {'; '.join(failed)}"
    if not analysis.claims:
        return "has no claims"
    if analysis.versions["convmatrix"] != convmatrix.__version__:
        return f"has results of convmatrix {analysis.versions['convmatrix']}; this is {convmatrix.__version__}"
    sources = script.glob("*.py") if script.is_dir() else [script]
    if max(source.stat().st_mtime_ns for source in sources) > path.stat().st_mtime_ns:
        return "has results older than its script"
    if lost := [figure for figure in analysis.figures if not (path.parent / figure).is_file()]:
        return f"has lost its figure {', '.join(lost)}"
    return ""


def _analysis(record: dict[str, Any]) -> Analysis:
    return Analysis(
        str(record["analysis"]),
        str(record["title"]),
        bool(record["quick"]),
        tuple(Claim(**claim) for claim in record["claims"]),
        tuple(map(str, record["figures"])),
        {str(name): str(version) for name, version in record["versions"].items()},
    )
