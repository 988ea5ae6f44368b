"""Whatever the pages load lies beside them: copies MathJax out of the package that carries it."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

PACKAGE = "sphinx-mathjax-offline"
ONE_FILE = "static/mathjax/tex-svg-full.js"  # all of TeX and a font as outlines: it asks for nothing else


def copy_mathjax(app: Sphinx, config: Config) -> None:
    """Copy MathJax to where ``html_static_path`` finds it."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ImportError(f'{PACKAGE} is not installed; install what the manual needs: pip install ".[docs]"')
    target = Path(app.srcdir) / "_generated" / "static" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy2(Path(found.origin).parent / ONE_FILE, target)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("config-inited", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
