"""The graph of a layer: sparse connectivity, receptive fields, paths, automorphisms.

A pattern's triplets are the edges of a bipartite graph from inputs to outputs, each with the index of its weight;
layers one after another chain to a layered graph. Questions about large layers are answered by sparse products;
NetworkX graphs are made only when asked for.

Examples
--------
>>> import convmatrix as cm
>>> from convmatrix.graph import receptive_field
>>> receptive_field([cm.ConvGeometry(9, 3), cm.ConvGeometry(7, 3)], unit=0)
array([0, 1, 2, 3, 4])
"""

from convmatrix.graph.automorphisms import automorphisms
from convmatrix.graph.field_size import FieldSize, receptive_field_size
from convmatrix.graph.fields import path_counts, receptive_field
from convmatrix.graph.views import to_networkx

__all__ = ["FieldSize", "automorphisms", "path_counts", "receptive_field", "receptive_field_size", "to_networkx"]


def __dir__() -> list[str]:
    return sorted(__all__)
