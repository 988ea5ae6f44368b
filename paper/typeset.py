"""Put the paper's source, its numbers, tables, figures and theorems together, and typeset them with typst."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import convmatrix
from paper.benchmarks import MEASUREMENTS, first_machine, read_tables
from paper.errors import PaperError
from paper.numbers import Numbers, uses, written
from paper.theorems import Proofs, theorems_typst

if TYPE_CHECKING:
    from paper.results import Analysis, Results

SOURCE = Path(__file__).resolve().parent
_DRAWING = re.compile(r'#drawing\(\s*"([^"]+)"')


def typeset(results: Results, proofs: Proofs, counts: dict[str, int], source: Path = SOURCE) -> bytes:
    """Return the paper as PDF. The same results give the same bytes.

    Raises
    ------
    PaperError
        If typst is not installed, the source names a number that the results do not have, or typst refuses it.
    """
    typst = load_typst()
    data = paper_data(results, counts, source)
    with tempfile.TemporaryDirectory(prefix="convmatrix-paper-") as name:
        folder = Path(name)
        for path in (*source.glob("*.typ"), *source.glob("*.bib")):
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / "data.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
        (folder / "theorems.typ").write_text(theorems_typst(proofs), encoding="utf-8")
        (folder / "figures").mkdir()
        for analysis in results.analyses:
            for drawing in analysis.drawings:
                picture = results.folder / _picture(drawing)
                (folder / "figures" / picture.name).write_bytes(picture.read_bytes())
        try:
            pdf, warnings = typst.compile_with_warnings(
                str(folder / "paper.typ"), root=str(folder), ignore_system_fonts=True, format="pdf"
            )
        except typst.TypstError as error:
            raise PaperError(f"typst cannot typeset the paper: {str(error).replace(f'{folder}/', '')}") from None
    if warnings:
        raise PaperError(f"typst warns of the paper: {'; '.join(str(warning.message) for warning in warnings)}")
    return bytes(pdf)


def load_typst() -> Any:
    """Return the module typst.

    Raises
    ------
    PaperError
        If it is not installed.
    """
    try:
        import typst
    except ImportError:
        raise PaperError('typst is not installed; install what the paper needs: pip install ".[paper]"') from None
    return typst


def paper_data(results: Results, counts: dict[str, int], source: Path = SOURCE) -> dict[str, Any]:
    """Return all that the source of the paper takes from the results.

    Raises
    ------
    PaperError
        If a source names numbers of an analysis that its results do not have; the message has all of them.
    """
    sources = [path.read_text(encoding="utf-8") for path in sorted(source.glob("*.typ"))]
    numbers = Numbers(results, counts)
    present = {analysis.name for analysis in results.analyses} | {"paper"}
    found: dict[str, str] = {}
    missing: list[str] = []
    for use in dict.fromkeys(use for text in sources for use in uses(text)):
        if use.analysis not in present:
            continue  # the source says nothing of it, or typst stops: see has() and written() in style.typ
        try:
            found[use.key] = numbers.write(use)
        except PaperError as error:
            missing.append(str(error))
    if missing:
        raise PaperError("\n".join(missing))
    measurements = MEASUREMENTS.read_text(encoding="utf-8")
    placed = {name for text in sources for name in _DRAWING.findall(text)}
    return {
        "version": convmatrix.__version__,
        "quick": results.quick,
        "partial": results.partial,
        "versions": results.analyses[0].versions,
        "verdicts": dict(results.verdicts),
        "numbers": found,
        "ranges": _ranges(results, {use.name.partition("[")[0] for text in sources for use in uses(text)}),
        "benchmarks": {"machine": first_machine(measurements), "tables": read_tables(measurements)},
        "analyses": [_record(analysis, placed) for analysis in results.analyses],
    }


def _ranges(results: Results, named: set[str]) -> list[dict[str, str]]:
    """Return the claims that the text names and that are accepted within a range, in the order of the analyses."""
    return [
        {
            "analysis": analysis.name,
            "statement": claim.statement,
            "accepted": claim.accepted,
            "computed": written(claim.computed),
        }
        for analysis in results.analyses
        for claim in analysis.claims
        if f"{analysis.name}.{claim.key}" in named and not claim.accepted.startswith("= ")
    ]


def _record(analysis: Analysis, placed: set[str]) -> dict[str, Any]:
    return {
        "name": analysis.name,
        "title": analysis.title,
        "script": analysis.script,
        "quick": analysis.quick,
        "verdicts": {
            verdict: sum(claim.verdict == verdict for claim in analysis.claims)
            for verdict in ("reproduced", "checked", "skipped")
        },
        "figures": {
            drawing: {
                "file": f"figures/{_picture(drawing)}",
                "placed": drawing in placed,
                "label": f"({drawing.removeprefix(analysis.name).strip('_').replace('_', ' ')})"
                if len(analysis.drawings) > 1 and drawing != analysis.name
                else "",
            }
            for drawing in analysis.drawings
        },
        "claims": [
            {
                "statement": claim.statement,
                "published": "\N{EN DASH}" if claim.published is None else written(claim.published),
                "accepted": claim.accepted,
                "computed": written(claim.computed),
                "source": claim.source,
                "verdict": claim.verdict,
            }
            for claim in analysis.claims
        ],
    }


def _picture(drawing: str) -> str:
    """Return the file to show of a figure.

    It is the PNG: matplotlib lays a figure out anew for each resolution, and labels of the SVG may be cut off.
    """
    return f"{drawing}.png"
