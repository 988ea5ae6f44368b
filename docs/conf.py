"""Settings of the manual. Build it with ``sphinx-build -W --keep-going -b html docs docs/_build/html``."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_ext")]

import convmatrix  # noqa: E402  (found by the path above)

gc.disable()  # the trees of all pages are kept to the end: searches for garbage among them took a fifth of the time

project = "convmatrix"
author = "The convmatrix developers"
project_copyright = "2026, The convmatrix developers"
version = release = convmatrix.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "numpydoc",
    "plain",
    "rooms",
    "theorems",
    "gallery",
    "offline",
    "touch",
    "notebooks",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_static", "_ext"]
root_doc = "index"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

default_role = "py:obj"  # `name` in a docstring links to that name, where it has a page
toc_object_entries = False
autodoc_typehints = "none"  # numpydoc shows the types
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"convmatrix {release}"
html_static_path = ["_static", "_generated/static"]
html_extra_path = ["_generated/extra"]
html_css_files = ["manual.css"]
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"

# MathJax comes from a package and is copied into the pages; see the extension `offline`. Its menu would offer links.
mathjax_path = "mathjax/tex-svg-full.js"
mathjax3_config = {"options": {"enableMenu": False}}
