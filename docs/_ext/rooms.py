"""The API pages: one per subpackage, made from its ``__all__``, with a table at the top.

Docstrings say ``(C_in, *input_shape)``, as Python does; what would be markup there is escaped.
"""

from __future__ import annotations

import importlib
import inspect
import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

ROOMS = (
    "convmatrix",
    "convmatrix.network",
    "convmatrix.structured",
    "convmatrix.spectral",
    "convmatrix.distributed",
    "convmatrix.solve",
    "convmatrix.equivariance",
    "convmatrix.proofs",
    "convmatrix.symbolic",
    "convmatrix.graph",
    "convmatrix.tiling",
    "convmatrix.constraints",
    "convmatrix.counts",
    "convmatrix.report",
    "convmatrix.nn",
    "convmatrix.io",
    "convmatrix.testing",
    "convmatrix.conformance",
    "convmatrix.plotting",
    "convmatrix.explore",
    "convmatrix.progress",
)


def public_names(module: types.ModuleType) -> list[str]:
    """Return the public names of a module: those it lists, else those that it defines."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return [name for name in listed if not name.startswith("__")]
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    )


def sort_names(module: types.ModuleType) -> dict[str, list[str]]:
    """Return the public names of a module by kind, without its submodules.

    What a module passes on from another room has its page there.
    """
    kinds: dict[str, list[str]] = {"Functions": [], "Classes": [], "Constants": []}
    for name in public_names(module):
        value = getattr(module, name)
        home = getattr(value, "__module__", None) or ""
        elsewhere = [room for room in ROOMS[1:] if home == room or home.startswith(room + ".")]
        if isinstance(value, types.ModuleType) or (module.__name__ == ROOMS[0] and elsewhere):
            continue
        kind = "Classes" if inspect.isclass(value) else "Functions" if inspect.isroutine(value) else "Constants"
        kinds[kind].append(name)
    return kinds


def room_page(room: str) -> str:
    """Return the page of a room in reStructuredText."""
    module = importlib.import_module(room)
    lines = [room, "=" * len(room), "", f".. automodule:: {room}", "   :no-members:", ""]
    kinds = sort_names(module)
    lines += [f".. currentmodule:: {room}", "", ".. list-table::", "   :widths: 30 70", ""]
    for name in [*kinds["Functions"], *kinds["Classes"]]:
        summary = [(inspect.getdoc(getattr(module, name)) or "").partition("\n")[0]]
        escape_stars(summary)
        lines += [f"   * - :py:obj:`{name}`", f"     - {summary[0]}"]
    lines.append("")
    for name in kinds["Constants"]:
        value = getattr(module, name)
        shown = ", ".join(map(repr, value)) if isinstance(value, (tuple, dict)) else str(value)
        lines += [f"``{name}``", f"    ``{shown}``", ""]
    for kind, directive in (("Functions", "autofunction"), ("Classes", "autoclass")):
        for name in kinds[kind]:
            lines += [
                name,
                "-" * len(name),
                "",
                f".. {directive}:: {name}",
                *["   :members:"] * (kind == "Classes"),
                *["   :no-index:"] * _lives_elsewhere(room, getattr(module, name)),
                "",
            ]
    return "\n".join(lines)


def _lives_elsewhere(room: str, value: Any) -> bool:
    """Whether a name is passed on from another room, on whose page it is indexed."""
    home, name = getattr(value, "__module__", None) or "", getattr(value, "__name__", "")
    return room != ROOMS[0] and any(
        home.startswith(other + ".") and name in public_names(importlib.import_module(other))
        for other in ROOMS[1:]
        if other != room
    )


def index_page() -> str:
    """Return the page that lists the rooms."""
    lines = ["API", "===", ""]
    lines += ["Every public function and class, by subpackage, with an example each.", ""]
    for room in ROOMS:
        summary = (importlib.import_module(room).__doc__ or "").partition("\n")[0].replace("`", "``")
        lines += [f":doc:`{room}`", f"    {summary}", ""]
    lines += [".. toctree::", "   :hidden:", "", *(f"   {room}" for room in ROOMS), ""]
    return "\n".join(lines)


def write_pages(app: Sphinx, config: Config) -> None:
    """Write the pages, before Sphinx looks for what there is."""
    folder = Path(app.srcdir) / "_generated" / "api"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"index": index_page(), **{room: room_page(room) for room in ROOMS}}.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def tidy_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make what numpydoc has made of a docstring fit for reStructuredText; unlink names of attributes."""
    for number, line in enumerate(lines):
        lines[number] = re.sub(r":obj:`(\w+) <[\w.]*>`", r"**\1**", line)
    escape_stars(lines)


def escape_stars(lines: list[str]) -> None:
    """Escape the stars of unpacking, such as in ``(C_in, *input_shape)``, outside of code."""
    in_code = False  # code between double backticks may go on in the next line
    for number, line in enumerate(lines):
        if line.lstrip().startswith((">>>", "...")):
            continue
        if found := re.fullmatch(r"(\s*)\*\*(\w.*)\*\*( : .*)?", line):  # names of parameters
            names, kind = (re.sub(r"(?<!\\)\*", r"\\*", part or "") for part in found.groups()[1:])
            lines[number] = f"{found[1]}**{names}**{kind}"
            continue
        parts = line.split("``")
        for position in range(in_code, len(parts), 2):
            parts[position] = re.sub(r"(?<![*\\\w])(\*{1,2})(?=\w+\b(?!\*))", _escaped, parts[position])
        in_code ^= len(parts) % 2 == 0
        lines[number] = "``".join(parts)


def _escaped(stars: re.Match[str]) -> str:
    return stars[0].replace("*", r"\*")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("config-inited", write_pages)
    app.connect("autodoc-process-docstring", tidy_docstring, priority=900)  # after numpydoc
    return {"parallel_read_safe": True, "parallel_write_safe": True}
