"""Pages are plain Markdown, which a code host shows as it is; this extension adds what only built pages can have.

- A page named ``index.md`` gets a table of contents: the pages that it links to, in that order.
- A link to a source of the repository, such as ``../analyses/lenet5.py`` or ``../convmatrix/solve``, leads to the page
  that is built from it.
- On the page ``api.md`` names such as ``cm.solve.deconvolve`` lead to their entries in the API.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from rooms import ROOMS, sort_names

if TYPE_CHECKING:
    from sphinx.application import Sphinx

LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\[]+)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
FENCE = re.compile(r"^(```.*?^```)$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"`(?:cm|convmatrix)\.([\w.]+)`")
THEOREMS = "convmatrix/proofs/coq"  # before the room that it is in


def built_page(source: str) -> str | None:
    """Return the page that is built from a file or a folder of the repository, seen from the folder of the manual."""
    path = PurePosixPath(source)
    if source == "analyses":
        return "_generated/gallery/index.rst"
    if path.parts[0] == "analyses":
        return f"_generated/gallery/{path.stem}.rst"
    if source == THEOREMS:
        return "_generated/theorems.rst"
    if source == "convmatrix":
        return "_generated/api/index.rst"
    room = ".".join(path.with_suffix("").parts[:2])
    return f"_generated/api/{room}.rst" if room in ROOMS else None


def built_links(text: str, page: PurePosixPath) -> str:
    """Return the text of a page, whose links to sources lead to pages that are built from them."""

    def replaced(link: re.Match[str]) -> str:
        place = PurePosixPath(os.path.normpath(page.parent / link["target"]))
        if place.parts[0] != "..":
            return link[0]
        source = place.relative_to("..").as_posix()
        up = "../" * len(page.parent.parts)
        if source == "convmatrix/explore":  # a page of its own, which Sphinx does not build
            return f'<a href="{up}explore.html">{link["text"]}</a>'
        target = built_page(source)
        if target is None:
            raise ValueError(f"{page}: no page is built from {source}, to which it links")
        return f"[{link['text']}]({up}{target})"

    parts = FENCE.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(replaced, part) for part in parts)


def linked_pages(text: str) -> list[str]:
    """Return the pages that a page links to, in that order."""
    targets = [link["target"] for link in LINK.finditer(FENCE.sub("", text))]
    return list(dict.fromkeys(target for target in targets if target.endswith((".md", ".rst"))))


def entry(name: str) -> str:
    """Return where the API documents a name that is written without the package's."""
    if "." not in name:
        for room in ROOMS:
            if any(name in names for names in sort_names(import_module(room)).values()):
                return f"{room}.{name}"
    return f"convmatrix.{name}"


def add_to_page(app: Sphinx, name: str, content: list[str]) -> None:
    """Change the text of a page before Sphinx reads it."""
    page = PurePosixPath(name + ".md")
    if not (Path(app.srcdir) / page).is_file() or page.parts[0] == "_generated":
        return
    text = built_links(content[0], page)
    if page.name == "index.md":
        entries = "\n".join(linked_pages(text))
        text += f"\n```{{toctree}}\n:hidden:\n:maxdepth: 2\n\n{entries}\n```\n"
    if name == "api":
        text = re.sub(
            r"`(?:cm|convmatrix)\.([\w.]+)`", lambda span: f"{{py:obj}}{span[0][:-1]} <{entry(span[1])}>`", text
        )
    content[0] = text


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("source-read", add_to_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
