"""The paper: ``python -m paper`` typesets it from the results that ``python -m analyses`` wrote.

No number of a result stands in the paper's source. `paper.typ` names them, ``#num("edge_detection: nonzeros of the
sparse matrix")``, and each name is looked up in the results when the paper is typeset; one that is not there is an
error. The tables and figures of all analyses follow in an appendix, and so do the theorems, proved anew on each run.

Beside the PDF come files for those who write in LaTeX: ``numbers.tex`` with one command a number, a booktabs table an
analysis, and the theorems.
"""

from paper._command import main

__all__ = ["main"]
