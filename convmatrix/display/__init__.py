"""A layer's matrix for people to look at: HTML for notebooks, text for terminals.

Both draw a window of the matrix and say so; neither ever builds more of a layer than the window shows.
"""

from convmatrix.display.html import geometry_html
from convmatrix.display.terminal import matrix_text
from convmatrix.display.window import window_weights

__all__ = ["geometry_html", "matrix_text", "window_weights"]
