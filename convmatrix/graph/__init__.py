"""Graphs of layers and networks: sparse connectivity, receptive fields, paths, automorphisms.

A pattern's triplets are the edges of a bipartite graph from inputs to outputs, each with the index of its weight;
consecutive layers form a layered graph. Large networks are analysed by sparse products; NetworkX graphs are created
only on request.

Examples
--------
>>> import convmatrix as cm
>>> from convmatrix.graph import receptive_field
>>> receptive_field([cm.ConvGeometry(9, 3), cm.ConvGeometry(7, 3)], unit=0)
array([0, 1, 2, 3, 4])
"""

from convmatrix.graph.field_sizes import FieldSize, receptive_field_size, receptive_field_sizes
from convmatrix.graph.fields import path_counts, receptive_field
from convmatrix.graph.networkx_graphs import automorphisms, to_networkx

__all__ = [
    "FieldSize",
    "automorphisms",
    "path_counts",
    "receptive_field",
    "receptive_field_size",
    "receptive_field_sizes",
    "to_networkx",
]


def __dir__() -> list[str]:
    return sorted(__all__)
