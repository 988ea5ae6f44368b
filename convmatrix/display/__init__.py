"""HTML for notebooks and text for terminals: layers, their matrices, tables and verdicts.

For a large matrix, only a window or the structure of its blocks is computed and shown.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from convmatrix.display.block_structure import block_levels
    from convmatrix.display.html import geometry_html, pattern_html, verdict_html
    from convmatrix.display.matrix_window import window_weights
    from convmatrix.display.terminal import matrix_text

__all__ = ["block_levels", "geometry_html", "matrix_text", "pattern_html", "verdict_html", "window_weights"]

_MODULES: Final = {
    "block_levels": "block_structure",
    "geometry_html": "html",
    "matrix_text": "terminal",
    "pattern_html": "html",
    "verdict_html": "html",
    "window_weights": "matrix_window",
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Import a function when it is first used: ``import convmatrix`` needs only the tables."""
    if name in _MODULES:
        return getattr(import_module(f"convmatrix.display.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
