"""Save matrices atomically, load them safely, and typeset them in LaTeX.

`save` writes a matrix together with the geometry of its layer, `load` reads both back and validates everything that it
reads, `to_latex` typesets a matrix. There are three file formats:

========== ==================== ============================================= ===============================
suffix     format               geometry                                      also read by
========== ==================== ============================================= ===============================
``.npz``   NumPy archive        member ``geometry.json``                      `scipy.sparse.load_npz`
``.mtx``   Matrix Market        comment lines that start with ``%convmatrix`` `scipy.io.mmread`, most libraries
``.mat``   MATLAB 5, variable A variable ``geometry``, a JSON text            MATLAB, Octave, `scipy.io.loadmat`
========== ==================== ============================================= ===============================
"""

from convmatrix.io.file_checks import FileFormatError
from convmatrix.io.files import load, save
from convmatrix.io.latex import to_latex

__all__ = ["FileFormatError", "load", "save", "to_latex"]


def __dir__() -> list[str]:
    return sorted(__all__)
