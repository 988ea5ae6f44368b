"""One HTML file out of the template, the styles, the scripts and a layer."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convmatrix import options as validate
from convmatrix.atomic import atomic_write
from convmatrix.explore.settings import LARGEST_NUMBER, LIMIT, page_settings, page_weights
from convmatrix.geometry import ConvGeometry

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["LIMIT", "page", "save_page"]

_STYLES: Final = ("layout.css", "controls.css", "pictures.css", "media.css")
# In this order: each uses the ones before it.
_SCRIPTS: Final = (
    "rule.js",
    "matrix.js",
    "marks.js",
    "stage.js",
    "plot.js",
    "words.js",
    "controls.js",
    "view.js",
    "events.js",
    "start.js",
)
_DEFAULT: Final = ConvGeometry((5, 5), (3, 3), padding="same")


def page(geometry: ConvGeometry | None = None, kernel: ArrayLike | None = None, *, order: str = "C") -> str:
    """Return a page that shows a layer at work, as one self-contained HTML document.

    The kernel slides over the image while the row of the matrix lights up and the product is written out. Switches show
    the transpose (back-propagation), the commutator with a shift (where equivariance breaks) and a dense layer beside
    it. All settings of the layer can be changed on the page, which computes the matrices itself, by the one-axis rule
    of `convmatrix.boundary`. It loads nothing: a content security policy forbids every request.

    Parameters
    ----------
    geometry : ConvGeometry, optional
        The layer to begin with: one or two axes, one channel, one shared kernel, a matrix of at most `LIMIT` rows and
        columns. By default a 3 x 3 kernel on a 5 x 5 image, padding "same".
    kernel : array_like of real numbers, shape `geometry.kernel_shape`, optional
        Its weights; by default 1, 2, 3, ...
    order : {"C", "F"}
        How pixels are counted: by rows, or by columns.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the page cannot draw the layer or hold its weights; the message says why, and what would do.

    Examples
    --------
    >>> import convmatrix as cm
    >>> from convmatrix.explore import page
    >>> html = page(cm.ConvGeometry(8, 3, padding="same", boundary="circular"), [1, 2, 1])
    >>> "circular" in html, "http://" in html, "https://" in html
    (True, False, False)
    """
    g = _DEFAULT if geometry is None else geometry
    if not isinstance(g, ConvGeometry):
        raise TypeError(f"page takes a ConvGeometry, but was given a {type(g).__name__}; make one of its shapes")
    settings = page_settings(g, validate.order(order))
    if geometry is None:
        settings["padding"] = ["same"] * len(g.input_shape)  # stays "same" when sizes are changed
    start = {
        "limit": LIMIT,
        "largest": LARGEST_NUMBER,
        "settings": settings,
        "weights": page_weights(kernel, g),
    }
    style = "".join(map(_read, _STYLES))
    script = f'"use strict";\n(() => {{\n{"".join(map(_read, _SCRIPTS))}}})();\n'
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "style": style,
        "start": json.dumps(start).replace("<", "\\u003c"),
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _read("page.html"))


def save_page(
    path: str | Path, geometry: ConvGeometry | None = None, kernel: ArrayLike | None = None, *, order: str = "C"
) -> None:
    """Write a page to a file, which is whole or not there: see `page`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from convmatrix.explore import save_page
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_page(Path(folder) / "explore.html")
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['explore.html']
    """
    html = page(geometry, kernel, order=order).encode()
    with atomic_write(path) as file:
        file.write(html)


def _read(name: str) -> str:
    return files("convmatrix.explore").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return the hash by which a content security policy knows an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
