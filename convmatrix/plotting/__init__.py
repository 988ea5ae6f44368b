"""Pictures of layers with matplotlib: matrices, sparse connectivity, receptive fields, filters, spectra.

Needs the extra ``plot``. Every function draws into ``axes``, or into a new figure, and returns the figure; save it with
``figure.savefig("name.svg")`` or ``.png``. New figures are at most as wide as a page, so that text stays readable in
print. Up to eight weights have the colours of Okabe and Ito (Color universal design, 2008), which are distinct in the
common forms of colour blindness; more of them are shades of ``cividis``, with a scale beside the picture.

Examples
--------
>>> import convmatrix as cm
>>> from convmatrix import plotting
>>> figure = plotting.plot_matrix(cm.ConvGeometry(8, 3).pattern())
>>> figure.axes[0].get_title()
'6 x 8 matrix: 18 entries, 3 weights'
"""

from convmatrix.plotting.connections import plot_connections
from convmatrix.plotting.fields import plot_receptive_field
from convmatrix.plotting.filters import plot_filters
from convmatrix.plotting.matrices import plot_matrix
from convmatrix.plotting.spectra import plot_spectrum
from convmatrix.plotting.style import COLOURS, weight_colours

__all__ = [
    "COLOURS",
    "plot_connections",
    "plot_filters",
    "plot_matrix",
    "plot_receptive_field",
    "plot_spectrum",
    "weight_colours",
]


def __dir__() -> list[str]:
    return sorted(__all__)
