"""The objects that methods of `ConvGeometry` return: its pattern, its unfold matrix, and its display in a notebook.

The geometry imports these only through this module, so that there is one import cycle instead of one per method.
"""

from convmatrix.display import geometry_html
from convmatrix.matrices import geometry_unfold_matrix
from convmatrix.pattern import WeightPattern, layer_pattern

__all__ = ["WeightPattern", "geometry_html", "geometry_unfold_matrix", "layer_pattern"]
