r"""Certified upper bounds on the Lipschitz constant of a network in the 2-norm."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from convmatrix.network import Input, Network, as_network
from convmatrix.network.intervals import checked_box, node_interval
from convmatrix.spectral.form_norms import Norms, up
from convmatrix.spectral.lipschitz_propagation import Propagation
from convmatrix.spectral.node_maps import operation_norm
from convmatrix.spectral.node_norms import NoBoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from convmatrix.arrays import Array

_MOST_SPLIT: Final = 3000  # entries of a sample in networks whose functions are split into a linear part and a rest
_MOST_SPLIT_NODES: Final = 80


class LipschitzBound(float):
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
            read = up(math.sqrt(math.fsum(bounds[source] ** 2 for source in node.inputs)))
            bounds[node.name] = 0.0 if norm == 0 else up(norm * read)
        return bounds[self._network.outputs[0]]

    def explain(self) -> str:
        """Return the derivation, one line per node.

        Examples
        --------
        >>> from convmatrix.network import Elementwise, FullyConnected, Network
        >>> network = Network([FullyConnected(2, 2, [[3, 0], [0, 1]], name_bias := False), Elementwise("relu")])
        >>> print(lipschitz_bound(network).explain())
        """
        rows = [row for row in self.rows if row["bound"] is not None]
        width = max(len(row["name"]) for row in rows)
        lines = [f"{row['name']:{width}}  {row['bound']:<12.6g}  {row['how']}" for row in rows]
        return "\n".join([*lines, f"{'bound':{width}}  {float(self):<12.6g}"])


def lipschitz_bound(
    network: Any,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    *,
    name: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> LipschitzBound:
    given = as_network(network)
    part = given.until(given.outputs[0] if name is None else name)
    if (lower is None) != (upper is None):
        raise ValueError("a box has two ends; give lower= and upper=, or neither")
    box = {} if lower is None or upper is None else _known_intervals(part, checked_box(part, lower, upper))
    norms = Norms()
    found = [Propagation(part, norms, box)]
    sizes = [math.prod(node.output_shape) for node in part]
    if max(sizes) <= _MOST_SPLIT and len(sizes) <= _MOST_SPLIT_NODES:
        found.append(Propagation(part, norms, box, split=True))
    steps = len(part) * len(found)
    for number, propagation in enumerate(found):
        for place, node in enumerate(part, start=1):
            propagation.add(node)
            if progress is not None:
                progress(number * len(part) + place, steps, node.name)
    best = min(found, key=lambda propagation: propagation.best(part.outputs[0]))
    value = best.best(part.outputs[0])
    if not math.isfinite(value):
        place_name, reason = next(iter(best.reasons.items()), (part.outputs[0], "its norm is not known"))
        raise NoBoundError(f"node {place_name!r}: {reason}")
    rows = [{"name": n.name, "kind": n.kind, **best.derivation(n.name)} for n in part]
    bound = LipschitzBound(value)
    bound.rows, bound._network, bound._norms = rows, part, norms
    return bound


def _known_intervals(network: Network, box: tuple[Array, Array]) -> dict[str, tuple[Array, Array]]:
    """Return bounds on the values of all nodes for which they are known."""
    bounds = {network.input.name: box}
    for node in network.nodes[1:]:
        if all(source in bounds for source in node.inputs):
            try:
                bounds[node.name] = node_interval(node, [bounds[source] for source in node.inputs])
            except ValueError:  # what needs them is refused later
                continue
    return bounds
