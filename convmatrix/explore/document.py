"""The interactive page: one HTML document made from a template, styles, scripts, the palette and a layer."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import options as validate
from convmatrix.atomic import atomic_write
from convmatrix.display.palette import BROKEN, DISTINCT, RAMP
from convmatrix.geometry import ConvGeometry

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

LIMIT: Final = 400
"""Maximum number of rows, columns and weights on the page."""

_LARGEST_NUMBER: Final = 10**9  # of a setting: all positions are then exact in JavaScript
_LARGEST_EXACT: Final = 2**53  # integers up to here are exact in JavaScript
_PAGE_SHOWS: Final = "the page shows layers with one channel, one shared kernel, and one or two axes"
_DEFAULT: Final = ConvGeometry((5, 5), (3, 3), padding="same")
_STYLES: Final = "layout controls pictures media"
_SCRIPTS: Final = "rule matrix marks stage plot words controls view events start"  # each script uses those before it


def page(geometry: ConvGeometry | None = None, kernel: ArrayLike | None = None, *, order: str = "C") -> str:
    """Return an interactive page that shows a layer and its matrix, as one self-contained HTML document.

    The kernel slides over the image while the current row of the matrix is highlighted, and its product with the image
    is written out term by term. Other views show the transpose (back-propagation), the commutator with a shift (where
    equivariance breaks) and a dense layer for comparison. All settings of the layer can be changed on the page, which
    computes the matrices itself by the one-axis rule of `convmatrix.boundary`. The page loads nothing: its content
    security policy forbids every request.

    Parameters
    ----------
    geometry : ConvGeometry, optional
        The initial layer: one or two axes, one channel, one shared kernel, a matrix of at most `LIMIT` rows and
        columns. By default a 3 x 3 kernel on a 5 x 5 image with padding "same".
    kernel : array_like of real numbers, shape `geometry.kernel_shape`, optional
        Its weights; by default 1, 2, 3, ...
    order : {"C", "F"}
        Order in which pixels are numbered: by rows or by columns.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the page cannot show the layer or represent its weights.
    TypeError
        If the geometry is not a ConvGeometry.

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
        raise TypeError(f"geometry must be a ConvGeometry, but is a {type(g).__name__}; make one from its shapes")
    settings = _settings(g, validate.order(order))
    if geometry is None:
        settings["padding"] = ["same"] * len(g.input_shape)  # stays "same" when sizes change
    start = {
        "limit": LIMIT,
        "largest": _LARGEST_NUMBER,
        "settings": settings,
        "weights": _weights(kernel, g),
        "colours": {"distinct": DISTINCT, "ramp": RAMP},
    }
    style = "".join(_read(f"{name}.css") for name in _STYLES.split()).replace("{{broken}}", BROKEN)
    script = "".join(_read(f"{name}.js") for name in _SCRIPTS.split())
    script = f'"use strict";\n(() => {{\n{script}}})();\n'
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    data = json.dumps(start).replace("<", "\\u003c")
    parts = {"policy": policy, "style": style, "start": data, "script": script}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _read("page.html"))


def save_page(
    path: str | Path, geometry: ConvGeometry | None = None, kernel: ArrayLike | None = None, *, order: str = "C"
) -> None:
    """Write the result of `page` to a file atomically: an existing file is either replaced as a whole or unchanged.

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


def _settings(geometry: ConvGeometry, order: str) -> dict[str, Any]:
    """Return the values of the page's controls for a layer, or raise if the page cannot show it."""
    g = geometry
    if len(g.input_shape) > 2:
        raise ValueError(f"{_PAGE_SHOWS}, but input_shape={g.input_shape} has {len(g.input_shape)} axes; drop some")
    if (g.in_channels, g.out_channels) != (1, 1):
        raise ValueError(
            f"{_PAGE_SHOWS}, but this one has in_channels={g.in_channels} and out_channels={g.out_channels}; "
            "pass the kernel of one pair of channels"
        )
    if g.transposed:
        raise ValueError(
            f"{_PAGE_SHOWS}, but this one has transposed=True; pass the convolution of which it is the transpose, and "
            "choose the transpose on the page"
        )
    if any(tile != 1 for tile in g.tile):
        raise ValueError(f"{_PAGE_SHOWS}, but this one has sharing={g.sharing!r}; drop sharing")
    for name, count in (("output", g.n_out), ("input", g.n_in), ("kernel", g.n_weights)):
        if count > LIMIT:
            raise ValueError(
                f"the page shows matrices of at most {LIMIT} x {LIMIT} and kernels of at most {LIMIT} weights, but the "
                f"{name} of {g!r} has {count}; explore a smaller layer, or print part of it with convmatrix show"
            )
    for name in ("stride", "dilation", "padding"):
        largest = int(np.max(getattr(g, name)))
        if largest > _LARGEST_NUMBER:
            raise ValueError(f"{name} must be at most {_LARGEST_NUMBER} on the page, but is {largest}; reduce it")
    return {
        "input_shape": g.input_shape,
        "kernel_shape": g.kernel_shape,
        "stride": g.stride,
        "dilation": g.dilation,
        "padding": [pair if any(pair) else "valid" for pair in g.padding],
        "boundary": g.boundary,
        "flip": g.flip,
        "order": order,
    }


def _weights(kernel: ArrayLike | None, geometry: ConvGeometry) -> list[int | float]:
    """Return the weights as numbers for JavaScript, or raise if the page cannot represent them."""
    if kernel is None:
        return list(range(1, geometry.n_weights + 1))
    values = np.asarray(kernel)
    if values.shape not in (geometry.kernel_shape, geometry.weight_shape):
        raise ValueError(
            f"kernel has shape {values.shape}, but the layer needs {geometry.kernel_shape}; pass one weight per tap"
        )
    if values.dtype.kind not in "biuf":
        raise ValueError(f"kernel must be real, but has dtype {values.dtype}; pass its real part")
    numbers: list[int | float] = values.ravel().tolist()
    for index, number in enumerate(numbers):
        if not np.isfinite(number):
            raise ValueError(f"kernel must be finite, but its weight {index} is {number}; replace it")
        if isinstance(number, int) and abs(number) > _LARGEST_EXACT:
            raise ValueError(
                f"integers on the page are exact up to 2**53, but weight {index} of the kernel is {number}; "
                "pass it as a float"
            )
    return [number + 0 for number in numbers]  # True and False become 1 and 0


def _read(name: str) -> str:
    return files("convmatrix.explore").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return the hash by which a content security policy allows an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
