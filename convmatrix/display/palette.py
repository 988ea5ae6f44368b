"""The colours of weights and verdicts: one palette for notebooks, terminals, plots and the web page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

Rgb = tuple[int, int, int]


def _colours(codes: str) -> tuple[Rgb, ...]:
    return tuple((int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)) for code in codes.split())


DISTINCT: Final = _colours("E69F00 56B4E9 009E73 F0E442 0072B2 D55E00 CC79A7 000000 692D0F 000096 5A4B5A B4E1A5")
"""Colours that are distinct in the common forms of colour blindness.

Eight are those of Okabe and Ito (Color Universal Design, 2008). Four were added by a search for the largest least
difference (CIEDE2000) in normal vision and in protanopia, deuteranopia and tritanopia: no two of the twelve differ less
than the closest two of the eight.
"""

RAMP: Final = _colours("040457 3B3F6F 5F5A64 78807D A09172 CFB351 FAF12D")
"""Colours between which more than twelve weights are interpolated, from dark to light.

Up to 25 shades differ more from each other than those of cividis and viridis, in normal vision and in the common forms
of colour blindness (CIEDE2000).
"""

PROVED: Final = "#00694c"  # white text on either colour has a contrast of at least 4.5
BROKEN: Final = "#b34700"

_SAME_IN_EVERY_WINDOW: Final = 16  # largest number of weights for which colours do not depend on the window


def palette(n_weights: int) -> list[Rgb]:
    """Return one colour per weight: distinct hues for up to twelve weights, shades from dark to light for more.

    Examples
    --------
    >>> palette(2), palette(13)[6]
    ([(230, 159, 0), (86, 180, 233)], (120, 128, 125))
    """
    if n_weights <= len(DISTINCT):
        return list(DISTINCT[:n_weights])
    positions = np.linspace(0, len(RAMP) - 1, n_weights)
    channels = [np.interp(positions, np.arange(len(RAMP)), values) for values in zip(*RAMP, strict=True)]
    return [(red, green, blue) for red, green, blue in np.rint(np.stack(channels, axis=1)).astype(int).tolist()]


def key_colours(keys: Iterable[Any], n_weights: int | None = None) -> dict[Any, Rgb]:
    """Return one colour per distinct key: a value, or a weight of a layer with a number of weights.

    In a layer with at most 16 weights each weight always has the same colour.

    Examples
    --------
    >>> key_colours([5, 3, 5])
    {3: (230, 159, 0), 5: (86, 180, 233)}
    """
    scale: Any = sorted(set(keys))
    if n_weights is not None and n_weights <= _SAME_IN_EVERY_WINDOW:
        scale = range(n_weights)
    return dict(zip(scale, palette(len(scale)), strict=True))


def is_light(colour: Rgb) -> bool:
    """Return whether black text is easier to read on a colour than white text (relative luminance of WCAG 2).

    Examples
    --------
    >>> is_light((240, 228, 66)), is_light((4, 4, 87))
    (True, False)
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179


def hex_code(colour: Rgb) -> str:
    """Return a colour as a hexadecimal code, as used by HTML and matplotlib.

    Examples
    --------
    >>> hex_code((230, 159, 0))
    '#E69F00'
    """
    return "#{:02X}{:02X}{:02X}".format(*colour)
