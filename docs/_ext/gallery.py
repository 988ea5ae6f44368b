"""The gallery: a page an analysis, with what it found when the pages were built, its figures and its code.

The analyses run with ``--quick``. A result that is newer than its script and than the package is taken as it is.
The setting ``gallery_run`` names the analyses to run, separated by commas, or ``all``; for the others a page shows the
code alone.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.util import logging

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sphinx.application import Sphinx
    from sphinx.config import Config

logger = logging.getLogger(__name__)


def find_scripts(root: Path) -> dict[str, Path]:
    """Return the analyses by name."""
    from analyses._command import find_scripts as found

    return found(root / "analyses")


def run_analyses(names: Iterable[str], scripts: dict[str, Path], results: Path, root: Path) -> None:
    """Run analyses whose results are missing or older than what they come from."""
    results.mkdir(parents=True, exist_ok=True)
    newest = max(
        path.stat().st_mtime for path in [*(root / "convmatrix").rglob("*.py"), *(root / "analyses").glob("_*")]
    )
    stale = []
    for name in names:
        record = results / f"{name}.json"
        if not record.exists() or record.stat().st_mtime < max(newest, scripts[name].stat().st_mtime):
            stale.append(name)
    if not stale:
        return
    command = [sys.executable, "-m", "analyses", "--quick", "--output", str(results), *stale]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        logger.warning("the analyses failed: %s\n%s\n%s", " ".join(command), done.stdout[-3000:], done.stderr[-3000:])


def escape(text: str) -> str:
    """Return text so that reStructuredText shows it as it is."""
    return re.sub(r"([\\*`|_<>\[\]])", r"\\\1", text)


def heading(text: str, line: str) -> list[str]:
    """Return a heading."""
    return [text, line * len(text), ""]


def analysis_page(name: str, script: Path, results: Path) -> str:
    """Return the page of one analysis."""
    from analyses._claims import show

    file = script / "__init__.py" if script.is_dir() else script
    source = file.read_text(encoding="utf-8")
    title, _, text = (ast.get_docstring(ast.parse(source)) or name).partition("\n")
    lines = [*heading(title.rstrip("."), "="), *text.strip().splitlines(), ""]
    lines += [f"Run it with ``python -m analyses {name}``.", ""]
    if (results / f"{name}.json").exists():
        record = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        for figure in (figure for figure in record["figures"] if figure.endswith(".svg")):
            lines += [
                f".. image:: results/{figure}",
                f"   :alt: Figure of the analysis {name}",
                "   :class: analysis",
                "",
            ]
        lines += heading("Claims", "-")
        rows = [("claim", "published", "accepted", "computed", "verdict")]
        for claim in record["claims"]:
            values = (
                claim["statement"],
                show(claim["published"]),
                claim["accepted"] or "-",
                show(claim["computed"]),
                claim["verdict"],
            )
            rows.append(tuple("none" if value == "-" else escape(value) for value in values))
        lines += [".. list-table::", "   :header-rows: 1", "   :widths: 36 18 18 18 10", ""]
        for row in rows:
            lines += [f"   {'* -' if column == 0 else '  -'} {cell}" for column, cell in enumerate(row)]
        quick = "with ``--quick``: the data may be smaller than in the full run" if record["quick"] else "in full"
        lines += ["", f"Computed when these pages were built, {quick}.", ""]
    lines += [*heading("Code", "-"), ".. code-block:: python", "", *("   " + line for line in source.splitlines()), ""]
    return "\n".join(lines)


def index_page(scripts: dict[str, Path], results: Path) -> str:
    """Return the page with all analyses."""
    lines = heading("Gallery", "=")
    lines += [
        "Published claims about convolution layers, recomputed: each page shows what was published, what was computed",
        "when these pages were built, a verdict, and the script.",
        "",
        ".. container:: gallery",
        "",
    ]
    for name in scripts:
        record = results / f"{name}.json"
        figures = json.loads(record.read_text(encoding="utf-8"))["figures"] if record.exists() else []
        lines += ["   .. container:: analysis", ""]
        if shown := [figure for figure in figures if figure.endswith(".png")]:
            lines += [
                f"      .. image:: results/{shown[0]}",
                f"         :target: {name}.html",
                f"         :alt: {name}",
                "",
            ]
        lines += [f"      :doc:`{name}`", ""]
    lines += [".. toctree::", "   :hidden:", "", *(f"   {name.replace('_', ' ')} <{name}>" for name in scripts), ""]
    return "\n".join(lines)


def write_pages(app: Sphinx, config: Config) -> None:
    """Run what is to be run, and write the pages before Sphinx looks for what there is."""
    root = Path(app.srcdir).resolve().parent
    scripts = find_scripts(root)
    chosen = list(scripts) if config.gallery_run == "all" else [n for n in config.gallery_run.split(",") if n]
    folder = Path(app.srcdir) / "_generated" / "gallery"
    results = folder / "results"
    run_analyses(chosen, scripts, results, root)
    pages = {name: analysis_page(name, script, results) for name, script in scripts.items()}
    for old in folder.glob("*.rst"):
        if old.stem not in pages:
            old.unlink()
    for name, text in {**pages, "index": index_page(scripts, results)}.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_config_value("gallery_run", "all", "env", types=frozenset({str}))
    app.connect("config-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
