"""Matrices on disk and on paper: safe to load, atomic to save, readable in LaTeX.

`save` writes a matrix together with the geometry of its layer, `load` reads both back and trusts nothing that it reads,
`to_latex` typesets. Three formats:

========== ==================== ============================================= ===============================
suffix     format               geometry                                      who else reads it
========== ==================== ============================================= ===============================
``.npz``   NumPy archive        member ``geometry.json``                      `scipy.sparse.load_npz`
``.mtx``   Matrix Market        comment lines that start with ``%convmatrix`` `scipy.io.mmread`, most libraries
``.mat``   MATLAB 5, variable A variable ``geometry``, a JSON text            MATLAB, Octave, `scipy.io.loadmat`
========== ==================== ============================================= ===============================
"""

from convmatrix.io.files import load, save
from convmatrix.io.latex import to_latex
from convmatrix.io.limits import FileFormatError

__all__ = ["FileFormatError", "load", "save", "to_latex"]


def __dir__() -> list[str]:
    return sorted(__all__)
