"""What the figures have in common: a layout that cuts nothing off, and colours that everybody can tell apart."""

from __future__ import annotations

from matplotlib.figure import Figure

COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000")
"""Okabe and Ito (2008), Color universal design: distinct in the common forms of colour blindness."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches. It needs no display, whatever the settings of matplotlib."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")
