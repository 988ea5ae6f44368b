"""Colours and figures of the analyses: those of `convmatrix.plotting`."""

from convmatrix.plotting.figures import COLOURS, new_figure

__all__ = ["COLOURS", "new_figure"]
