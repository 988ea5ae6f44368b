"""NetworkX graphs of patterns and networks, and the automorphisms of small graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.geometry import ConvGeometry
from convmatrix.graph.fields import chain_network, path_matrices
from convmatrix.network import Convolution, Node, PatternMap
from convmatrix.options import instance
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from networkx import MultiDiGraph
    from numpy.typing import NDArray


_LARGEST_GRAPH = 300  # maximum number of nodes for the search for automorphisms


def to_networkx(network: Any) -> MultiDiGraph[Any]:
    """Return the layered graph of a pattern or a network; bipartite for one layer.

    Nodes are pairs (layer, index): (0, j) is input j of the network, and (l, i) with l >= 1 is output i of the
    network's node l. They have the attributes ``layer`` and ``bipartite`` (the parity of the layer). Every triplet of a
    pattern is an edge from an input to the output that reads it, with the attribute ``weight_index``; several weights
    at one entry of the matrix are parallel edges. Edges of operations without weights have ``weight_index=None``. Edges
    of a pattern with coefficients, such as that of a signed boundary, also have the attribute ``coefficient``.

    Parameters
    ----------
    network : Network, str, ConvGeometry, WeightPattern, nn.Sequential or sequence of layers
        As for `convmatrix.network.as_network`.

    Returns
    -------
    networkx.MultiDiGraph

    Raises
    ------
    ValueError
        If there is no layer, or two layers do not fit together.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> graph = to_networkx(ConvGeometry(3, 2))
    >>> graph.number_of_nodes(), graph.number_of_edges()
    (5, 4)
    >>> sorted(graph.in_edges((1, 0), data="weight_index"))
    [((0, 0), (1, 0), 0), ((0, 1), (1, 0), 1)]
    """
    import networkx as nx

    net = chain_network(network)
    graph: MultiDiGraph[Any] = nx.MultiDiGraph()
    layers = {node.name: layer for layer, node in enumerate(net.nodes)}
    for node, layer in zip(net.nodes, layers.values(), strict=True):
        size = int(np.prod(node.output_shape))
        graph.add_nodes_from(((layer, index) for index in range(size)), layer=layer, bipartite=layer % 2)
    for node in net.nodes[1:]:
        for source, edges in zip(node.inputs, _edges(node), strict=True):
            graph.add_edges_from(
                ((layers[source], column), (layers[node.name], row), attributes) for row, column, attributes in edges
            )
    return graph


def _edges(node: Node) -> Iterator[Iterator[tuple[int, int, dict[str, Any]]]]:
    """Yield, for each input of a node, its edges (output, input, attributes)."""
    operation = node.operation
    if isinstance(operation, Convolution | PatternMap):
        pattern = operation.geometry.pattern() if isinstance(operation, Convolution) else operation.pattern
        attributes: Iterator[dict[str, Any]] = ({"weight_index": weight} for weight in pattern.weight_index.tolist())
        if pattern.coefficients is not None:
            pairs = zip(pattern.weight_index.tolist(), pattern.coefficients.tolist(), strict=True)
            attributes = ({"weight_index": weight, "coefficient": factor} for weight, factor in pairs)
        yield zip(pattern.rows.tolist(), pattern.cols.tolist(), attributes, strict=True)
        return
    for matrix in path_matrices(node):
        entries = matrix.tocoo()
        rows, columns = (np.repeat(places, entries.data).tolist() for places in entries.coords)
        yield ((row, column, {"weight_index": None}) for row, column in zip(rows, columns, strict=True))


def automorphisms(pattern: WeightPattern | ConvGeometry) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield every automorphism of a pattern's graph that preserves inputs, outputs and the weight of each edge.

    An automorphism is a pair (p, q) of permutations of outputs and of inputs with ``A[p][:, q] == A`` for every weight:
    these are all equivariances of the layer, not only its shifts. `convmatrix.equivariance.check` decides for any given
    pair, for patterns of any size.

    Parameters
    ----------
    pattern : WeightPattern or ConvGeometry
        With at most 300 inputs and outputs together. Inputs that no output reads may be permuted arbitrarily, so n of
        them multiply the number of automorphisms by n factorial.

    Yields
    ------
    (output_permutation, input_permutation) : arrays of int64

    Raises
    ------
    ValueError
        If the graph is larger.

    Examples
    --------
    A circular layer has its cyclic shifts, here three; with zero padding, only the identity is left.

    >>> from convmatrix import ConvGeometry
    >>> ring = ConvGeometry(3, 2, padding=[(0, 1)], boundary="circular").pattern()
    >>> sorted(p.tolist() for p, q in automorphisms(ring))
    [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    >>> len(list(automorphisms(ConvGeometry(3, 2, padding=[(0, 1)]).pattern())))
    1
    """
    if isinstance(pattern, ConvGeometry):
        pattern = pattern.pattern()
    instance("pattern", pattern, (WeightPattern, ConvGeometry), "a matrix alone does not determine its weights")
    n_out, n_in = pattern.shape
    if n_out + n_in > _LARGEST_GRAPH:
        raise ValueError(
            f"the graph has {n_out + n_in} nodes ({n_out} outputs, {n_in} inputs), but all its automorphisms are "
            f"searched up to {_LARGEST_GRAPH}; check single permutations with convmatrix.equivariance.check"
        )
    return _matches(pattern)


def _matches(pattern: WeightPattern) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    import networkx as nx
    from networkx.algorithms.isomorphism import DiGraphMatcher

    pattern = pattern.separated.pattern
    n_out, n_in = pattern.shape
    colours: dict[tuple[int, int], list[int]] = {}
    triplets = (array.tolist() for array in (pattern.rows, pattern.cols, pattern.weight_index))
    for row, column, weight in zip(*triplets, strict=True):
        colours.setdefault((row, column), []).append(weight)
    graph = nx.DiGraph()
    graph.add_nodes_from(((1, i) for i in range(n_out)), layer=1)
    graph.add_nodes_from(((0, j) for j in range(n_in)), layer=0)
    graph.add_edges_from(((0, j), (1, i), {"colours": tuple(found)}) for (i, j), found in colours.items())
    matcher = DiGraphMatcher(
        graph,
        graph,
        node_match=lambda a, b: bool(a["layer"] == b["layer"]),
        edge_match=lambda a, b: bool(a["colours"] == b["colours"]),
    )
    for mapping in matcher.isomorphisms_iter():
        p = np.array([mapping[1, i][1] for i in range(n_out)], dtype=np.int64)
        q = np.array([mapping[0, j][1] for j in range(n_in)], dtype=np.int64)
        yield p, q
