"""What methods of `ConvGeometry` return: its pattern, its unfold matrix, and its picture in a notebook.

A geometry knows nothing of what is built from it but this module, so that there is one cycle of imports and not one per
method.
"""

from convmatrix.display import geometry_html
from convmatrix.matrices import geometry_unfold_matrix
from convmatrix.pattern import WeightPattern, layer_pattern

__all__ = ["WeightPattern", "geometry_html", "geometry_unfold_matrix", "layer_pattern"]
