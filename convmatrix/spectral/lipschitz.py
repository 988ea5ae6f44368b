r"""Certified upper bounds on the Lipschitz constant of a network in the 2-norm."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.display.tables import ShownAsTable, Table
from convmatrix.network import Input, MatrixProduct, Network, Product, as_network, function_ranges
from convmatrix.network.intervals import box_bounds, node_interval
from convmatrix.progress import quiet, reporting
from convmatrix.spectral.directed_rounding import root_of_squares, times
from convmatrix.spectral.lipschitz_propagation import LipschitzPropagation
from convmatrix.spectral.map_norms import Norms
from convmatrix.spectral.node_maps import operation_norm
from convmatrix.spectral.node_norms import NoBoundError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from convmatrix.arrays import Array
    from convmatrix.progress import Progress

_MOST_SPLIT: Final = 3000  # entries of a sample in networks whose functions are split into a linear part and a rest
_MOST_SPLIT_NODES: Final = 80


class LipschitzBound(ShownAsTable, float):
    """An upper bound on a Lipschitz constant: a number that knows its derivation, as returned by `lipschitz_bound`.

    Attributes
    ----------
    rows : list of dict
        One per node that the output depends on: ``name``, ``kind``, ``bound`` on its own Lipschitz constant as a
        function of the network's input, and ``how`` it was found. Linear nodes within a chain are not bounded
        on their own: their bound is None.
    """

    rows: list[dict[str, Any]]
    _network: Network
    _norms: Norms

    @cached_property
    def product_of_norms(self) -> float:
        """The bound from the norms of single nodes, each a function of its concatenated inputs; or infinity.

        It is computed when it is asked for, and never smaller than the bound itself.
        """
        bounds: dict[str, float] = {}
        for node in self._network.nodes:
            if isinstance(node.operation, Input):
                bounds[node.name] = 1.0
                continue
            try:
                norm = operation_norm(node, self._norms)
            except NoBoundError:
                norm = math.inf
            bounds[node.name] = times(norm, root_of_squares(bounds[source] for source in node.inputs))
        return bounds[self._network.outputs[0]]

    def explain(self) -> str:
        """Return the derivation, one line per node.

        Examples
        --------
        >>> from convmatrix.network import Addition, Elementwise, FullyConnected, Network, Node
        >>> layer = FullyConnected(2, 2, [[3, 0], [0, 1]], bias=False)
        >>> nodes = [Node("dense", layer), Node("relu", Elementwise("relu"))]
        >>> nodes.append(Node("sum", Addition(), ("input", "relu")))
        >>> print(lipschitz_bound(Network(nodes)).explain())
        input  1             the input
        dense  3             3 L(input) [norm: dense]
        relu   3             slopes up to 1; 3 L(input) [norm: dense]
        sum    4             L(input) + L(relu)
        """
        rows = [row for row in self.rows if row["bound"] is not None]
        width = max(len(row["name"]) for row in rows)
        lines = [f"{row['name']:{width}}  {row['bound']:<12.6g}  {row['how']}" for row in rows]
        return "\n".join(lines)

    def _table(self) -> Table:
        rows = [
            [row["name"], row["kind"], row["how"], f"{row['bound']:.6g}"]
            for row in self.rows
            if row["bound"] is not None
        ]
        title = f"Lipschitz constant of {self._network.name} in the 2-norm: at most {float(self):.6g}"
        return Table(title, [["node", "kind", "bound from", "bound"], *rows], left=3)


def lipschitz_bound(
    network: Any,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    *,
    name: str | None = None,
    progress: Progress = None,
) -> LipschitzBound:
    r"""Return an upper bound on the Lipschitz constant of a network in the 2-norm, which is never below the truth.

    It is a number L with :math:`\|f(x) - f(x')\|_2 \le L \, \|x - x'\|_2` for all inputs, or for all inputs in a box.
    The function f is that of exact arithmetic with the stored weights; rounding errors of the bound are allowed for.

    Parameters
    ----------
    network : Network, or what `as_network` accepts
    lower, upper : array_like, optional
        Ends of a box of inputs, which broadcast to the shape of a sample. With a box, elementwise functions count by
        their slopes on the values that can be reached, units that are always off do not count, and all products of
        branches have bounds.
    name : str, optional
        The node whose constant is bounded, by default the first output.
    progress : bool or callable, optional
        As for `convmatrix.progress.reporting`; a callable is called after every node.

    Returns
    -------
    LipschitzBound
        A float, with ``explain()``, ``rows`` and ``product_of_norms``.

    Raises
    ------
    ValueError
        If no finite bound is known: the message names the first node without one, and the reason. The box is wrong.

    Notes
    -----
    The value of a node is a sum of linear maps :math:`M_s z_s` of *sources*: the input and the nodes that are not
    linear. It has at most the constant :math:`\sum_s \|M_s\| L_s`. The smallest of the following bounds counts.

    - *Linear nodes between sources are one map.* Factors and matrices of channels (batch normalisation, 1 x 1
      convolutions) are multiplied into kernels, and parallel branches (``x + conv(x)``) are added to one kernel, whose
      norm is bounded for its own boundary and stride. Other chains are multiplied as sparse matrices up to a few
      million entries: small ones are decomposed, banded ones bounded by a Cholesky factorisation that proves the bound
      (see `norm_bounds`). Beyond, norms multiply.
    - *Branches* that meet count by the sum of their bounds if they are added, and by the root of the sum of squares if
      they are concatenated, or by the norm of all their maps together.
    - *Elementwise functions* count by their largest slope; slopes that differ between units are multiplied into the
      map before. A function whose slopes are constant on the box is linear. In small networks, a function with slopes
      between a and b is also split into the multiplication by (a + b) / 2, which is linear, and a rest with slopes of
      at most (b - a) / 2 (Combettes and Pesquet, Lipschitz certificates for layered network structures driven by
      averaged activation operators, SIAM J. Math. Data Science 2, 2020).
    - *Other operations*: a maximum over windows counts by the root of the number of windows that share a sample; a
      softmax by 1/2, its logarithm by :math:`\sqrt n`; a normalisation by :math:`1 / \sqrt{\epsilon}`, or less where
      the box bounds its variance; products by the largest values of the other factors, on the box or of bounded
      functions (``tanh(x) * sigmoid(y)``).

    Examples
    --------
    Two layers that take differences and sums are bounded as one, which is below the product of their norms:

    >>> import convmatrix as cm
    >>> from convmatrix.network import Convolution, Elementwise, Network
    >>> difference, total = cm.ConvGeometry(16, 2), cm.ConvGeometry(15, 2)
    >>> network = Network([Convolution(difference, [1, -1]), Convolution(total, [1, 1]), Elementwise("relu")])
    >>> bound = lipschitz_bound(network)
    >>> round(bound, 4), round(bound.product_of_norms, 4)
    (1.9616, 3.9589)

    On a box where the function is off, the network is constant:

    >>> network = Network([Convolution(difference, [1, -1], [-5]), Elementwise("relu")])
    >>> lipschitz_bound(network, -1, 1)
    0.0
    """
    given = as_network(network)
    part = given.until(given.outputs[0] if name is None else name)
    if (lower is None) != (upper is None):
        raise ValueError("a box has two ends; give lower= and upper=, or neither")
    start = {} if lower is None or upper is None else {part.input.name: box_bounds(part.input_shape, lower, upper)}
    box = _known_intervals(part, start) if start else {}
    gated = any(isinstance(node.operation, Product | MatrixProduct) for node in part)
    limits = (_known_intervals(part, {}) if gated else {}) | box
    norms = Norms()
    sizes = [math.prod(node.output_shape) for node in part]
    splits = (False, True) if max(sizes) <= _MOST_SPLIT and len(sizes) <= _MOST_SPLIT_NODES else (False,)
    boxes = ({}, box) if box else ({},)  # slopes that differ between units may cost more than they gain
    found = [LipschitzPropagation(part, norms, b, limits, split) for b in reversed(boxes) for split in splits]
    steps = len(part) * len(found)
    with reporting(progress, "nodes") as report:
        for number, propagation in enumerate(found):
            for place, node in enumerate(part, start=1):
                with quiet():
                    propagation.add(node)
                report(number * len(part) + place, steps, node.name)
    best = min(found, key=lambda propagation: propagation.best(part.outputs[0]))
    value = best.best(part.outputs[0])
    if not math.isfinite(value):
        too_large = part.outputs[0], "it exceeds the largest number in double precision"
        place_name, reason = next(iter(best.reasons.items()), too_large)
        raise NoBoundError(f"node {place_name!r} has no finite bound: {reason}")
    rows = [{"name": n.name, "kind": n.kind, **best.derivation(n.name)} for n in part]
    bound = LipschitzBound(value)
    bound.rows, bound._network, bound._norms = rows, part, norms
    return bound


def _known_intervals(network: Network, start: dict[str, tuple[Array, Array]]) -> dict[str, tuple[Array, Array]]:
    """Return bounds on the values of all nodes for which they are known, from those of the input, if there are any."""
    bounds = dict(start)
    for node in network.nodes[1:]:
        with suppress(ValueError):  # what needs bounds that are not known is refused later
            if all(source in bounds for source in node.inputs):
                bounds[node.name] = node_interval(node, [bounds[source] for source in node.inputs])
                continue
        low, high = function_ranges.limits(node.operation, node.input_shapes[0])
        if math.isfinite(high - low):
            bounds[node.name] = np.full(node.output_shape, low), np.full(node.output_shape, high)
    return bounds
