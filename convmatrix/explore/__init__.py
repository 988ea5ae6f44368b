"""An interactive page: a layer and its matrix in the browser, in one self-contained HTML file.

Examples
--------
>>> from convmatrix.explore import page
>>> page().startswith("<!DOCTYPE html>")
True
"""

from convmatrix.explore.document import LIMIT, page, save_page

__all__ = ["LIMIT", "page", "save_page"]


def __dir__() -> list[str]:
    return sorted(__all__)
