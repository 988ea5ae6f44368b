"""HTML for notebooks and text for terminals: layers, their matrices, verdicts and proofs.

Only a window of a large matrix is shown, and only that window is computed.
"""

from convmatrix.display.html import geometry_html, pattern_html, proof_html, verdict_html
from convmatrix.display.terminal import matrix_text
from convmatrix.display.window import window_weights

__all__ = ["geometry_html", "matrix_text", "pattern_html", "proof_html", "verdict_html", "window_weights"]


def __dir__() -> list[str]:
    return sorted(__all__)
