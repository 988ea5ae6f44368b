"""All automorphisms of a small pattern's graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from convmatrix.graph.chain import matrix_shape, pattern_chain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry
    from convmatrix.pattern import WeightPattern

_LARGEST_GRAPH = 300  # nodes up to which automorphisms are searched


def automorphisms(pattern: WeightPattern | ConvGeometry) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield every automorphism of a pattern's graph that keeps inputs, outputs and the weight of each edge.

    An automorphism is a pair (p, q) of permutations of outputs and of inputs with ``A[p][:, q] == A`` for every weight:
    these are the equivariances of the layer, all of them and not only shifts. `convmatrix.equivariance.check` gives its
    verdict on any single pair, for patterns of any size.

    Parameters
    ----------
    pattern : WeightPattern or ConvGeometry
        Small: at most 300 inputs and outputs. Inputs that nothing reads may be exchanged at will, so that n of them
        multiply the number by n factorial.

    Yields
    ------
    (output_permutation, input_permutation) : arrays of int64

    Raises
    ------
    ValueError
        If the graph is larger.

    Examples
    --------
    A circular layer has its shifts, here three; with zeros beyond the border only the identity is left.

    >>> from convmatrix import ConvGeometry
    >>> ring = ConvGeometry(3, 2, padding=[(0, 1)], boundary="circular").pattern()
    >>> sorted(p.tolist() for p, q in automorphisms(ring))
    [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    >>> len(list(automorphisms(ConvGeometry(3, 2, padding=[(0, 1)]).pattern())))
    1
    """
    n_out, n_in = matrix_shape(pattern)
    if n_out + n_in > _LARGEST_GRAPH:
        raise ValueError(
            f"the graph has {n_out + n_in} nodes ({n_out} outputs, {n_in} inputs), but all its automorphisms are "
            f"searched up to {_LARGEST_GRAPH}; check single permutations with convmatrix.equivariance.check"
        )
    return _matches(*pattern_chain(pattern))


def _matches(pattern: WeightPattern) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    import networkx as nx
    from networkx.algorithms.isomorphism import DiGraphMatcher

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
