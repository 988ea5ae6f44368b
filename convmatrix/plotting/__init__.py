"""Plots with matplotlib: matrices, sparse connectivity, networks, receptive fields, filters, spectra.

Requires the extra ``plot``. Every function draws into ``ax``, or into a new figure, and returns the figure;
`save_figure` writes it as PDF, SVG or PNG. New figures are at most as wide as a page (7 inches), and single plots of
curves 4.5 inches, so that their text is at least 6 points high in a column of 3.3 inches; to draw at the width of a
column, pass the axes of a figure that has it. Up to twelve weights are drawn in colours that are distinct in the common
forms of colour blindness; more weights are drawn in shades from dark to light, with their numbers or a colour scale.
``palette`` takes other colours.

Examples
--------
>>> import convmatrix as cm
>>> from convmatrix import plotting
>>> figure = plotting.plot_matrix(cm.ConvGeometry(8, 3).pattern())
>>> figure.axes[0].get_title()
'6 x 8 matrix: 18 entries, 3 weights'
"""

from convmatrix.plotting.connectivity import plot_connections, plot_receptive_field
from convmatrix.plotting.figures import COLOURS, save_figure, weight_colours
from convmatrix.plotting.matrix_plots import plot_matrix
from convmatrix.plotting.network_graph import plot_network
from convmatrix.plotting.value_plots import plot_filters, plot_history, plot_spectrum

__all__ = [
    "COLOURS",
    "plot_connections",
    "plot_filters",
    "plot_history",
    "plot_matrix",
    "plot_network",
    "plot_receptive_field",
    "plot_spectrum",
    "save_figure",
    "weight_colours",
]


def __dir__() -> list[str]:
    return sorted(__all__)
