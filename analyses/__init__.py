"""Published claims about convolution layers, recomputed: one script per claim or figure.

``python -m analyses`` runs them all, ``python -m analyses edge_detection`` one of them. What a script computes comes
from matrices that convmatrix builds; what was published stands in its claims.

To add an analysis, put a file into this folder. It has a docstring (first line: what it shows; then the source: paper
and equation or figure), imports its packages at the top, and defines one function::

    def run(context: Context) -> list[Claim]:
        matrix = cm.conv_matrix(...)
        context.save_figure(figure)
        return [published_equal("nonzeros", "nonzeros of the matrix", matrix.nnz, published=16, source="..., Fig. 1")]

The first argument of a claim is its key, a short name that stays when the statement is reworded. Nothing needs to be
registered: every file and every package of the folder whose name has no leading underscore is an analysis.
`context.quick` asks for smaller data where an analysis takes long. `edge_detection` is a short one to start from.
"""

from analyses._claims import Claim, check_equal, check_within, published_equal, published_within, skipped
from analyses._command import main
from analyses._context import Context

__all__ = [
    "Claim",
    "Context",
    "check_equal",
    "check_within",
    "main",
    "published_equal",
    "published_within",
    "skipped",
]
