"""HTML for notebooks and text for terminals: layers, their matrices, tables and verdicts.

Of a large matrix only a window, or the structure of its blocks, is shown, and nothing else is computed.
"""

from convmatrix.display.block_structure import block_levels
from convmatrix.display.html import geometry_html, pattern_html, verdict_html
from convmatrix.display.terminal import matrix_text
from convmatrix.display.window import window_weights

__all__ = ["block_levels", "geometry_html", "matrix_text", "pattern_html", "verdict_html", "window_weights"]


def __dir__() -> list[str]:
    return sorted(__all__)
