"""Equivariance of networks under shifts: node by node, otherwise as a whole, otherwise as a bound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from convmatrix import options as validate
from convmatrix.display.tables import ShownAsTable, Table
from convmatrix.equivariance.axis_shifts import divisors
from convmatrix.equivariance.checks import shift_statement, shift_text
from convmatrix.equivariance.shift_propagation import Propagation
from convmatrix.equivariance.verdict import Verdict
from convmatrix.equivariance.whole_network import NetworkCounterexample, decide_whole
from convmatrix.geometry import ConvGeometry
from convmatrix.network import Input, Network, Operation, as_network

Shift = tuple[int, ...]
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False, repr=False)
class NetworkVerdict(ShownAsTable):
    """Whether a network commutes with a cyclic shift of its input, for all weights.

    Attributes
    ----------
    holds : bool
        Whether every output is shifted by some amount.
    exact : bool
        Whether the answer is proved. If False, some node does not commute, the network as a whole could not be decided,
        and ``holds`` is False although the network may commute.
    decided : {"node by node", "as a whole"}
        The method that gave the answer.
    shifts : tuple
        The shift of the input, and then that of each node in the network's order; None if no shift is known.
    verdicts : tuple of Verdict
        One per node that was checked. Nodes after one that does not commute are not checked.
    counterexample : NetworkCounterexample or None
        Weights and an input that refute equivariance of the network as a whole, if one evaluation did.
    """

    holds: bool
    exact: bool
    decided: Literal["node by node", "as a whole"]
    shifts: tuple[Shift | None, ...]
    verdicts: tuple[Verdict, ...]
    counterexample: NetworkCounterexample | None = None

    def __bool__(self) -> bool:
        return self.holds

    def __repr__(self) -> str:
        return f"NetworkVerdict(holds={self.holds}, exact={self.exact}, decided={self.decided!r})"

    def explain(self) -> str:
        """Return the answer as text: one line per node that was checked, then one for the network.

        Examples
        --------
        >>> import convmatrix as cm
        >>> from convmatrix.network import Elementwise
        >>> layer = cm.ConvGeometry(8, 2, stride=2, boundary="circular")
        >>> print(check_network([layer, Elementwise("relu")], 2).explain())
        Proved: up to layer 1 the network commutes with the cyclic shift by 2 of its input, 1 of its output.
        Proved: up to elementwise 2 the network commutes with the cyclic shift by 2 of its input, 1 of its output.
        The network commutes with the cyclic shift by 2 of its input, for all weights (proved node by node).
        """
        lines = []
        for verdict in self.verdicts:
            first, *rest = verdict.explain().splitlines()
            lines.append(first)
            if not verdict.holds:
                lines += [f"  {line}" for line in rest[:2]]
        return "\n".join([*lines, self._conclusion])

    @property
    def _conclusion(self) -> str:
        of_input = f"the cyclic shift by {shift_text(self.shifts[0] or ())} of its input"
        if self.holds:
            return f"The network commutes with {of_input}, for all weights (proved {self.decided})."
        if self.exact:
            how = "no output shift matches at some weights and inputs" if self.counterexample else "all weights decided"
            return f"The network does not commute with {of_input} (refuted {self.decided}: {how})."
        return (
            f"A node does not commute, so nothing shows that the network commutes with {of_input}; the network as "
            "a whole was not decided: it may still commute."
        )

    def _table(self) -> Table:
        rows = []
        for verdict in self.verdicts:
            broken = f"{verdict.n_broken} of {verdict.broken_rows.size}"
            rows.append([verdict.subject, "yes" if verdict else "no", broken, verdict.reason])
        header = ["part", "commutes", "broken rows", "reason"]
        answer = "Proved" if self.holds else "Refuted" if self.exact else "Undecided"
        return Table(self._conclusion, [header, *rows] if rows else (), 4, holds=self.holds, answer=answer)


class SurvivingShifts(tuple[int, ...]):
    """The smallest positive shift of each axis that a network commutes with; a tuple of int.

    Attributes
    ----------
    exact : bool
        Whether no smaller shift commutes. If False, a divisor of an entry may commute as well.
    """

    exact: bool

    def __new__(cls, amounts: Iterable[int], *, exact: bool = True) -> SurvivingShifts:
        """Return the tuple."""
        made = super().__new__(cls, amounts)
        made.exact = exact
        return made


def check_network(network: Any, shift: int | Sequence[int]) -> NetworkVerdict:
    """Return whether a network commutes with a cyclic shift, for all weights and inputs.

    An elementwise function that is not in `convmatrix.network.FUNCTIONS` stands for an arbitrary function. The weights
    of the network are ignored, except for arrays of `convmatrix.network.Scale`, which are constants.

    Parameters
    ----------
    network : Network, str, Sequential or sequence
        Anything that `convmatrix.network.as_network` accepts.
    shift : int or sequence of int
        Shift of the input: one integer for all spatial axes, or one per axis.

    Returns
    -------
    NetworkVerdict

    Raises
    ------
    ValueError
        If the network is invalid, or its input has no spatial axes.

    Examples
    --------
    >>> import convmatrix as cm
    >>> from convmatrix.network import Elementwise, Pooling
    >>> layer = cm.ConvGeometry(8, 3, padding="same", boundary="circular")
    >>> pool = Pooling("average", 8)
    >>> check_network([layer, Elementwise(), pool], 1)
    NetworkVerdict(holds=True, exact=True, decided='node by node')
    >>> check_network([cm.ConvGeometry(8, 3, padding="same")], 1)
    NetworkVerdict(holds=False, exact=True, decided='as a whole')
    """
    network = given_network(network)
    amounts = validate.per_axis("shift", shift, len(network.input_shape) - 1, minimum=-(2**62))
    propagation = Propagation(network)
    found = propagation.output_shifts(amounts)
    shifts: list[Shift | None] = [amounts]
    verdicts = []
    for node in network.nodes[1:]:
        corresponding = found[node.name]
        shifts.append(None if corresponding is None else tuple(map(min, corresponding)))
        if corresponding is not None:
            moved = tuple(map(min, corresponding))
            kept = np.zeros(node.output_shape, dtype=bool)
            subject = f"up to {node.name} the network"
            verdicts.append(Verdict(shift_statement(amounts, moved), kept, subject=subject, output_shift=moved))
        elif all(found[source] is not None for source in node.inputs):
            verdicts.append(propagation.refusal(node, [found[source] or () for source in node.inputs]))
    decided: Literal["node by node", "as a whole"] = "node by node"
    holds: bool | None = True
    counterexample = None
    if any(found[name] is None for name in network.outputs):
        holds, counterexample = decide_whole(network, amounts)
        decided = "node by node" if holds is None else "as a whole"
    return NetworkVerdict(bool(holds), holds is not None, decided, tuple(shifts), tuple(verdicts), counterexample)


def surviving_shifts(network: Any) -> SurvivingShifts:
    """Return the shifts that a network commutes with for all weights: on each axis, the multiples of one number.

    The shifts of an axis that commute form a subgroup, so one number per axis describes them. It is the size of the
    axis if only the identity commutes.

    Parameters
    ----------
    network : Network, str, Sequential or sequence
        Anything that `convmatrix.network.as_network` accepts.

    Returns
    -------
    SurvivingShifts
        A tuple of int, one per spatial axis of the input, with an attribute ``exact``.

    Examples
    --------
    >>> import convmatrix as cm
    >>> from convmatrix.network import Elementwise, Pooling
    >>> ring = cm.ConvGeometry((8, 8), (3, 3), padding=1, stride=2, boundary="circular")
    >>> surviving_shifts([ring, Elementwise("relu")])
    (2, 2)
    >>> surviving_shifts([ring, Elementwise("relu"), Pooling("average", 4)])
    (2, 2)
    """
    network = given_network(network)
    sizes = network.input_shape[1:]
    propagation = Propagation(network)
    amounts, exact = [], True
    for axis, size in enumerate(sizes):

        def along(amount: int, axis: int = axis) -> Shift:
            return tuple(amount if a == axis else 0 for a in range(len(sizes)))

        best = next(amount for amount in divisors(size) if propagation.proves(along(amount)))
        for prime in (number for number in divisors(best) if len(divisors(number)) == 2):
            holds: bool | None = True
            while holds and best % prime == 0:  # a part that fails also fails for smaller shifts
                holds, _ = decide_whole(network, along(best // prime))
                exact &= holds is not None
                best //= prime if holds else 1
        amounts.append(best)
    return SurvivingShifts(amounts, exact=exact)


def known_shifts(network: Any) -> dict[str, Shift]:
    """Return, for every node, the smallest shift of each input axis that is known to shift the node's output.

    The rules that propagate shifts from node to node are applied once per divisor of the size of an axis, and no
    network is decided as a whole. A divisor of an entry may therefore commute as well; call `surviving_shifts` on the
    network up to that node to find out. An entry is the size of the input axis if only the identity is known to
    commute.

    Parameters
    ----------
    network : Network, str, Sequential or sequence
        Anything that `convmatrix.network.as_network` accepts.

    Returns
    -------
    dict of str to tuple of int
        For each node, one number per spatial axis of the input.

    Examples
    --------
    >>> import convmatrix as cm
    >>> from convmatrix.network import Elementwise
    >>> ring = cm.ConvGeometry((8, 8), (3, 3), padding=1, stride=2, boundary="circular")
    >>> padded = cm.ConvGeometry((4, 4), (3, 3), padding=1)
    >>> list(known_shifts([ring, Elementwise("relu"), padded]).values())
    [(1, 1), (2, 2), (2, 2), (8, 8)]
    """
    network = given_network(network)
    sizes = network.input_shape[1:]
    propagation = Propagation(network)
    found: dict[str, list[int]] = {node.name: [] for node in network}
    for axis, size in enumerate(sizes):
        for amount in divisors(size)[:-1]:
            corresponding = propagation.output_shifts([amount if a == axis else 0 for a in range(len(sizes))])
            for name, moved in corresponding.items():
                if moved is not None and len(found[name]) == axis:
                    found[name].append(amount)
            if all(len(amounts) > axis for amounts in found.values()):
                break
        for amounts in found.values():
            if len(amounts) == axis:
                amounts.append(size)  # the identity
    return {name: tuple(amounts) for name, amounts in found.items()}


def given_network(network: Any) -> Network:
    """Return a network from any description; the input shape is taken from the first operation that has one."""
    if isinstance(network, Operation | ConvGeometry):
        network = [network]
    if isinstance(network, list | tuple) and network and isinstance(network[0], Operation):
        shape = next((_input_shape(item) for item in network if _input_shape(item) is not None), None)
        if shape is not None and not isinstance(network[0], Input):
            network = [Input(shape), *network]
    made = as_network(network)
    if len(made.input_shape) < 2:
        raise ValueError(f"shifts need spatial axes, but the network's input has shape {made.input_shape}")
    return made


def _input_shape(item: Any) -> Shape | None:
    geometry = item if isinstance(item, ConvGeometry) else getattr(item, "geometry", None)
    if isinstance(geometry, ConvGeometry):
        return geometry.full_input_shape
    shape: Shape | None = getattr(item, "sample_shape", None)
    return shape
