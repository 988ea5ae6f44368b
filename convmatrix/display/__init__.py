"""A layer's matrix for people to look at: HTML for notebooks, text for terminals; verdicts and proofs likewise.

Both draw a window of the matrix and say so; neither ever builds more of a layer than the window shows.
"""

from convmatrix.display.findings import proof_html, verdict_html
from convmatrix.display.html import geometry_html, pattern_html
from convmatrix.display.terminal import matrix_text
from convmatrix.display.window import window_weights

__all__ = ["geometry_html", "matrix_text", "pattern_html", "proof_html", "verdict_html", "window_weights"]


def __dir__() -> list[str]:
    return sorted(__all__)
