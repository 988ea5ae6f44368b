"""The page that one can touch, written beside the pages of the manual as ``explore.html``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config


def write_page(app: Sphinx, config: Config) -> None:
    """Write what ``convmatrix explore`` writes to where ``html_extra_path`` finds it."""
    from convmatrix.explore import page

    folder = Path(app.srcdir) / "_generated" / "extra"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "explore.html").write_text(page(), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("config-inited", write_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
