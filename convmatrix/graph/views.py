"""NetworkX graphs of patterns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convmatrix.graph.chain import Layer, pattern_chain

if TYPE_CHECKING:
    from networkx import MultiDiGraph


def to_networkx(patterns: Layer | Sequence[Layer]) -> MultiDiGraph[Any]:
    """Return the layered graph of one pattern or of several in a chain: bipartite for one.

    Nodes are pairs (layer, index): (0, j) is input j, (l, i) output i of pattern l from 1 on. They carry ``layer``
    and ``bipartite`` (the parity of the layer). Every triplet of a pattern is an edge from what is read to what reads
    it, and carries ``weight_index``; weights that meet on one entry of the matrix are parallel edges.

    Parameters
    ----------
    patterns : WeightPattern, ConvGeometry or a sequence of them
        From the input on; each has as many inputs as the one before has outputs.

    Returns
    -------
    networkx.MultiDiGraph

    Raises
    ------
    ValueError
        If there is no pattern, or two do not fit together.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> graph = to_networkx(ConvGeometry(3, 2).pattern())
    >>> graph.number_of_nodes(), graph.number_of_edges()
    (5, 4)
    >>> sorted(graph.in_edges((1, 0), data="weight_index"))
    [((0, 0), (1, 0), 0), ((0, 1), (1, 0), 1)]
    """
    import networkx as nx

    chain = pattern_chain(patterns)
    graph: MultiDiGraph[Any] = nx.MultiDiGraph()
    sizes = [chain[0].shape[1], *(pattern.shape[0] for pattern in chain)]
    for layer, size in enumerate(sizes):
        graph.add_nodes_from(((layer, index) for index in range(size)), layer=layer, bipartite=layer % 2)
    for layer, pattern in enumerate(chain):
        triplets = (array.tolist() for array in (pattern.cols, pattern.rows, pattern.weight_index))
        graph.add_edges_from(
            ((layer, column), (layer + 1, row), {"weight_index": weight})
            for column, row, weight in zip(*triplets, strict=True)
        )
    return graph
