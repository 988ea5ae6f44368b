"""Notebooks of the course, made from its pages, and written beside the pages of the manual as ``notebooks/*.ipynb``.

``python docs/_ext/notebooks.py FOLDER`` writes them without Sphinx. They hold no outputs: a reader runs them.
"""

from __future__ import annotations

import doctest
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.config import Config

DOCS: Final = Path(__file__).resolve().parents[1]

_FENCE: Final = re.compile(r"^```(\S+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_ANSWERS: Final = re.compile(
    r"^<details class=\"answers\"><summary>.*?</summary>\n(.*?)^</details>$", re.MULTILINE | re.DOTALL
)
_PICTURE: Final = re.compile(  # the picture, its caption, and the code behind a button
    r"^!\[[^\]]*\]\(\S+\)\n\n(\*.*?\*)\n\n<details class=\"code-of-figure\">.*?\n\n"
    r"(```python \S+\.png\n.*?^```)\n\n</details>$",
    re.MULTILINE | re.DOTALL,
)


def notebook(page: Path) -> dict[str, Any]:
    """Return a page of the manual as a notebook: its text, its examples without prompts and results, its figures."""
    # Answers are read with their examples, under a heading instead of a button.
    text = _ANSWERS.sub(r"### Answers\n\n\1", page.read_text(encoding="utf-8"))
    # Pictures are drawn by the reader, above their captions.
    text = _PICTURE.sub(r"\2\n\n\1", text)
    cells: list[dict[str, Any]] = []
    end = 0
    for block in _FENCE.finditer(text):
        cells += _text_cells(text[end : block.start()])
        end = block.end()
        language, picture, code = block.groups()
        if picture:
            cells.append(_code_cell(code.rstrip() + "\nfigure"))
        elif language == "python":
            cells += map(_code_cell, _sources(code))
    cells += _text_cells(text[end:])
    if _PICTURE.search(page.read_text(encoding="utf-8")):
        cells.insert(1, _code_cell("%matplotlib inline"))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _sources(code: str) -> Iterator[str]:
    """Yield the cells of a block; each ends with an example that has a result, as a notebook shows the last one."""
    if ">>> " not in code:
        yield code.rstrip()
        return
    lines: list[str] = []
    for example in doctest.DocTestParser().get_examples(code):
        lines.append(example.source.rstrip())
        if example.want:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _code_cell(source: str) -> dict[str, Any]:
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}


def _text_cells(text: str) -> list[dict[str, Any]]:
    """Return a text as a cell, or none if it is blank; links lead to other notebooks or become plain text."""
    text = _LINK.sub(lambda link: _link(link[1], link[2]), text)
    text = re.sub(r"<a href=.*?>(.*?)</a>", r"\1", text, flags=re.DOTALL).strip()
    return [{"cell_type": "markdown", "metadata": {}, "source": text}] if text else []


def _link(words: str, target: str) -> str:
    return f"[{words}]({target.removesuffix('.md')}.ipynb)" if re.fullmatch(r"\w+\.md", target) else words


def write_notebooks(folder: Path) -> list[Path]:
    """Write the notebook of every chapter of the course to a folder, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for page in sorted((DOCS / "course").glob("*.md")):
        made = notebook(page)
        path = folder / f"{page.stem}.ipynb"
        path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


def _write(app: Sphinx, _: Config) -> None:
    """Write the notebooks to where ``html_extra_path`` finds them."""
    write_notebooks(Path(app.srcdir) / "_generated" / "extra" / "notebooks")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("config-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    for file in write_notebooks(Path(sys.argv[1])):
        print(file)
