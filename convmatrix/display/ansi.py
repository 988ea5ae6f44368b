"""The colours of terminals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from convmatrix.display.window import Rgb, is_light

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEVELS: Final = (0, 95, 135, 175, 215, 255)
_CUBE: Final[tuple[Rgb, ...]] = tuple((red, green, blue) for red in _LEVELS for green in _LEVELS for blue in _LEVELS)
_FIRST_CODE: Final = 16  # of the cube among the 256 colours of a terminal


def terminal_colours(wanted: Sequence[Rgb]) -> list[int]:
    """Return for each colour the nearest of a terminal's 216 that no earlier one has taken, while there are any.

    Examples
    --------
    >>> terminal_colours([(255, 255, 0), (250, 250, 0)])
    [226, 190]
    """
    cube = np.array(_CUBE)  # (216, 3)
    free = np.ones(len(cube), dtype=bool)
    codes = []
    for colour in wanted:
        distances = ((cube - colour) ** 2).sum(axis=1)
        nearest = int(np.argmin(np.where(free, distances, np.inf) if free.any() else distances))
        free[nearest] = False
        codes.append(_FIRST_CODE + nearest)
    return codes


def coloured(text: str, code: int) -> str:
    r"""Return text on one of the 216 colours that a 256-colour terminal numbers from 16 on.

    Examples
    --------
    >>> coloured("w0", 226)
    '\x1b[48;5;226;38;5;16mw0\x1b[0m'
    """
    ink = 16 if is_light(_CUBE[code - _FIRST_CODE]) else 231
    return f"\x1b[48;5;{code};38;5;{ink}m{text}\x1b[0m"
