"""The interactive page: one HTML document made from a template, styles, scripts, the palette and a layer."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from collections import Counter
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import options as validate
from convmatrix.atomic import atomic_write
from convmatrix.boundary import BOUNDARIES, NOTHING, SIGNED, forward_axis, read_terms, transposed_axis
from convmatrix.display.palette import BROKEN, DISTINCT, RAMP
from convmatrix.geometry import ConvGeometry

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

LIMIT: Final = 400
"""Maximum number of rows, columns and weights on the page."""

_LARGEST_NUMBER: Final = 10**9  # of a setting: all positions are then exact in JavaScript
_LARGEST_EXACT: Final = 2**53  # integers up to here are exact in JavaScript
_PAGE_SHOWS: Final = "the page shows layers with one shared kernel, all channels connected, and one or two axes"
_DEFAULT: Final = ConvGeometry((5, 5), (3, 3), padding="same")
_FOLDER: Final = files("convmatrix.explore")
_STYLES: Final = "layout controls pictures media"
_SCRIPTS: Final = (  # each script uses those before it
    "rule layer matrix commutator chain marks words grid stage plot code controls kernel photograph view picture gif "
    "animation link story events start"
)


def page(geometry: ConvGeometry | None = None, kernel: ArrayLike | None = None, *, order: str = "C") -> str:
    """Return an interactive page that shows a layer and its matrix, as one self-contained HTML document.

    The kernel slides over the image while the current row of the matrix is highlighted, and its product with the image
    is written out term by term. Other views show the transpose (back-propagation), the commutator with a shift (where
    equivariance breaks), a second layer with the receptive field of its outputs, and a dense layer for comparison. All
    settings of the layer can be changed on the page, which computes the matrices itself by the one-axis rule of
    `convmatrix.boundary`; when it opens, it compares its rule with values computed by the package. The page loads
    nothing: its content security policy forbids every request.

    Parameters
    ----------
    geometry : ConvGeometry, optional
        The initial layer: one or two axes, one shared kernel, all channels connected, a matrix of at most `LIMIT` rows
        and columns; it may be transposed. By default a 3 x 3 kernel on a 5 x 5 image with padding "same".
    kernel : array_like of real numbers, shape `geometry.weight_shape`, optional
        Its weights, by default 1, 2, 3, ...; with one channel, the shape may be `geometry.kernel_shape`.
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
        "boundaries": BOUNDARIES,
        "signed": SIGNED,
        "paddings": validate.PADDING_WORDS,
        "vectors": _test_vectors(),
        "photograph": "data:image/jpeg;base64," + base64.b64encode((_FOLDER / "photograph.jpg").read_bytes()).decode(),
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
    if g.groups != 1 or g.connections is not None:
        raise ValueError(
            f"{_PAGE_SHOWS}, but this one has groups={g.groups} and connections={g.connections}; show one group, "
            "or the kernel of one pair of channels"
        )
    if any(tile != 1 for tile in g.tile):
        raise ValueError(f"{_PAGE_SHOWS}, but this one has sharing={g.sharing!r}; drop sharing")
    for name, count in (("output", g.n_out), ("input", g.n_in), ("kernel", g.n_weights)):
        if count > LIMIT:
            raise ValueError(
                f"the page shows matrices of at most {LIMIT} x {LIMIT} and kernels of at most {LIMIT} weights, but the "
                f"{name} of {g!r} has {count}; explore a smaller layer, or print part of it with convmatrix show"
            )
    for name in ("stride", "dilation", "padding", "output_padding"):
        largest = int(np.max(getattr(g, name)))
        if largest > _LARGEST_NUMBER:
            raise ValueError(f"{name} must be at most {_LARGEST_NUMBER} on the page, but is {largest}; reduce it")
    shapes = ("input_shape", "kernel_shape", "in_channels", "out_channels", "transposed")
    options = ("stride", "dilation", "output_padding", "boundary", "flip")
    padding = [pair if any(pair) else "valid" for pair in g.padding]
    return {name: getattr(g, name) for name in (*shapes, *options)} | {"padding": padding, "order": order}


def _test_vectors() -> dict[str, list[Any]]:
    """Return values of the one-axis rule, with which the page compares its own copy of the rule."""
    terms: list[Any] = []
    for boundary, size in itertools.product(BOUNDARIES, (1, 2, 4)):
        for position in range(-2 * size - 2, 3 * size + 2):
            totals: Counter[int] = Counter()
            for sample, coefficient in read_terms(position, size, boundary):
                if sample != NOTHING:
                    totals[sample] += coefficient
            terms.append((boundary, size, position, sorted(term for term in totals.items() if term[1])))
    sizes: list[Any] = []
    for transposed, size, taps, stride, dilation in itertools.product((False, True), (1, 5), (1, 4), (1, 3), (1, 2)):
        for padding in (*validate.PADDING_WORDS, (1, 2)):
            resolve = transposed_axis if transposed else forward_axis
            try:
                expected = resolve(0, size, dilation * (taps - 1) + 1, "", stride, padding, 0)
            except ValueError:  # there is no such layer
                continue
            sizes.append((transposed, size, taps, stride, dilation, padding, expected))
    return {"terms": terms, "sizes": sizes}


def _weights(kernel: ArrayLike | None, geometry: ConvGeometry) -> list[int | float]:
    """Return the weights as numbers for JavaScript, or raise if the page cannot represent them."""
    if kernel is None:
        return list(range(1, geometry.n_weights + 1))
    values = np.asarray(kernel)
    one_channel = geometry.in_channels == geometry.out_channels == 1
    if values.shape != geometry.weight_shape and not (one_channel and values.shape == geometry.kernel_shape):
        needed = geometry.kernel_shape if one_channel else geometry.weight_shape
        raise ValueError(f"kernel has shape {values.shape}, but the layer needs {needed}; pass one weight per tap")
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
    return (_FOLDER / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return the hash by which a content security policy allows an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
