"""Plots with matplotlib: matrices, sparse connectivity, networks, receptive fields, filters, spectra.

Requires the extra ``plot``. Every function draws into ``axes``, or into a new figure, and returns the figure; save it
with ``figure.savefig("name.svg")`` or ``.png``. New figures are at most as wide as a page, so that text stays readable
in print. Up to twelve weights are drawn in colours that are distinct in the common forms of colour blindness; more
weights are drawn in shades from dark to light, with a colour scale.

Examples
--------
>>> import convmatrix as cm
>>> from convmatrix import plotting
>>> figure = plotting.plot_matrix(cm.ConvGeometry(8, 3).pattern())
>>> figure.axes[0].get_title()
'6 x 8 matrix: 18 entries, 3 weights'
"""

from convmatrix.plotting.connectivity import plot_connections, plot_receptive_field
from convmatrix.plotting.figures import COLOURS, weight_colours
from convmatrix.plotting.matrix_plots import plot_matrix
from convmatrix.plotting.network_graph import plot_network
from convmatrix.plotting.value_plots import plot_filters, plot_spectrum

__all__ = [
    "COLOURS",
    "plot_connections",
    "plot_filters",
    "plot_matrix",
    "plot_network",
    "plot_receptive_field",
    "plot_spectrum",
    "weight_colours",
]


def __dir__() -> list[str]:
    return sorted(__all__)
