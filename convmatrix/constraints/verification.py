"""Verification of networks: does a property hold for all inputs of a box?"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from convmatrix import options as validate
from convmatrix.atomic import atomic_write
from convmatrix.constraints.branching import BranchAndBound, Limits
from convmatrix.constraints.counterexamples import Target, reaches
from convmatrix.constraints.exact_bounds import ExactForm, UnsafeSet
from convmatrix.constraints.normal_form import NormalForm, normal_form
from convmatrix.constraints.phase_programs import PhaseProgram
from convmatrix.constraints.properties import HalfSpace, Property, near_float, unsafe_box, with_output
from convmatrix.constraints.rechecking import FORMAT, digest
from convmatrix.display.tables import ShownAsTable, Table, facts
from convmatrix.network.intervals import box_bounds
from convmatrix.network.operations import entries
from convmatrix.progress import Progress, reporting

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.network import Network

_BITS: Final = 64
_MOST_BITS: Final = 1024
_RANGE: Final = 512


@dataclass(frozen=True, eq=False, repr=False)
class Verification(ShownAsTable):
    """Whether a property holds on a box, with the evidence.

    Attributes
    ----------
    verdict : {"holds", "violated", "unknown"}
    claim : Property
    lower, upper : float
        Bounds of the least margin, over all unsafe sets and over all inputs of the box that are within the bounds
        which the unsafe set has for single inputs: half-spaces of one input and no output, see `unsafe_box`. The margin
        of such an input is the largest excess of the set's other half-spaces. No unsafe set is reached if all margins
        are positive; the least one is inf if no unsafe set has inputs in the box. The lower bound is proven, and
        rounded down; the upper one was found at an input, in float64.
    counterexample : array or None
        If violated: an input of the box that reaches an unsafe set, exactly and as evaluated in float64.
    output : array or None
        The output for the counterexample, in float64.
    certificate : dict or None
        If the property holds: plain data that `recheck` verifies.
    nodes, rectifiers, unstable : int
        Nodes of all trees; rectifiers of the network; those whose sign is not known at the root.
    seconds : float
    reason : str
        Why the answer is unknown.
    """

    verdict: Literal["holds", "violated", "unknown"]
    claim: Property
    lower: float
    upper: float
    counterexample: NDArray[np.float64] | None
    output: NDArray[np.float64] | None
    certificate: dict[str, Any] | None
    nodes: int
    rectifiers: int
    unstable: int
    seconds: float
    reason: str

    def __bool__(self) -> bool:
        return self.verdict == "holds"

    def __repr__(self) -> str:
        return f"Verification({self.verdict}: {self.claim.name}, {self._bounds})"

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds of the least margin, as a dictionary with lower and upper."""
        return {"lower": self.lower, "upper": self.upper}

    @property
    def _bounds(self) -> str:
        return f"least margin {self.lower:.6g} to {self.upper:.6g}"

    def explain(self) -> str:
        """Return the verdict, its evidence and the work as text."""
        lines = [f"{self.claim.name}: {self.verdict}."]
        if self.certificate is not None:
            leaves = sum(
                node[0] == "leaf" for proof in self.certificate["proofs"] for tree in proof["trees"] for node in tree
            )
            lines.append(
                f"  No input of the box reaches {_sets(self.claim)}: "
                + (
                    f"the least margin is at least {self.lower:.6g}."
                    if self.lower < math.inf
                    else "it has no input within their bounds."
                )
            )
            lines.append(
                f"  Certificate: {leaves} {'leaf' if leaves == 1 else 'leaves'}, each a bound in integers; recheck "
                "verifies it without a solver."
            )
        elif self.verdict == "violated":
            lines.append(
                f"  The counterexample is within the box, and its output {_short(self.output)} is unsafe, in exact"
            )
            lines.append("  arithmetic as well as in float64.")
        else:
            lines.append(f"  {self.reason}; the {self._bounds}.")
        lines.append(
            f"  {self.rectifiers} rectifiers, {self.unstable} of unknown sign on the box; {self.nodes} "
            f"{'node' if self.nodes == 1 else 'nodes'} of the search in {self.seconds:.2f} s."
        )
        return "\n".join(lines)

    def _table(self) -> Table:
        values = {
            "least margin": f"{self.lower:.6g} to {self.upper:.6g}",
            "certificate": "none" if self.certificate is None else "exact; recheck verifies it",
            "rectifiers": f"{self.rectifiers}, {self.unstable} of unknown sign on the box",
            "nodes": f"{self.nodes} in {self.seconds:.2f} s",
        }
        if self.output is not None:
            values["output of the counterexample"] = _short(self.output)
        if self.reason:
            values["reason"] = self.reason
        table = facts(self.claim.name, values)
        return replace(table, holds=self.verdict == "holds", answer=self.verdict)

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the certificate as JSON, atomically.

        Raises
        ------
        ValueError
            If there is no certificate, because the property was not proved.
        """
        if self.certificate is None:
            raise ValueError(f"there is no certificate: the verdict on {self.claim.name} is {self.verdict}")
        with atomic_write(path) as file:
            file.write((json.dumps(self.certificate) + "\n").encode())


def _sets(unsafe: Property) -> str:
    return "the unsafe set" if len(unsafe.unsafe) == 1 else f"any of {len(unsafe.unsafe)} unsafe sets"


def _short(values: Any) -> str:
    return np.array2string(np.ravel(values), precision=4, threshold=6, edgeitems=3, separator=", ").replace("\n", "")


def verify(
    network: Any,
    box: tuple[ArrayLike, ArrayLike],
    property: Property,
    *,
    name: str | None = None,
    timeout: float | None = None,
    most_nodes: int | None = None,
    rng: int | np.random.Generator = 0,
    progress: Progress = None,
) -> Verification:
    r"""Return whether a property holds for all inputs of a box, in real arithmetic with the network's float64 entries.

    Branch and bound over the signs of rectifiers, to which every piecewise linear function is reduced. Each node is
    bounded by a linear program, whose multipliers are rounded to integers and give a bound in exact arithmetic. The
    answer is decided as soon as every node has a positive bound, or an input is found that violates the property.

    The claim is about the network as it was read: with weights, and entries that were computed from them or from
    constants (divisors of averages, reciprocals, folded operations), as float64. A program that rounds intermediate
    values, such as one in float32, computes other outputs.

    Parameters
    ----------
    network : Network, or anything that describes one
        Of linear and piecewise linear operations.
    box : (array_like, array_like)
        Lower and upper bounds, which broadcast to the input's shape: see `box_around`.
    property : Property
        See `output_is_largest`, `outputs_at_most` and `read_vnnlib`.
    name : str, optional
        The output node; needed if there are several. Name the node before a softmax to state properties of logits.
    timeout : float, optional
        Seconds after which the answer is unknown.
    most_nodes : int, optional
        Number of nodes after which the answer is unknown. Unlike a timeout, it gives the same answer again.
    rng : int or numpy.random.Generator
        For the search of counterexamples.
    progress : bool or callable, optional
        As for `convmatrix.progress.reporting`; a callable is called with the numbers of closed and of all nodes.

    Returns
    -------
    Verification
        True only if the property holds.

    Raises
    ------
    ValueError
        If the box is empty or not finite, the property refers to inputs or outputs that do not exist, the network has
        several outputs and none is chosen, or a node is not piecewise linear; the message names it.
    KeyError
        If there is no node of that name.
    MatrixTooLargeError
        If the network's equations would not fit in memory.

    Examples
    --------
    >>> from convmatrix.constraints import outputs_at_most, verify
    >>> from convmatrix.network import Elementwise, FullyConnected, Network
    >>> first, last = FullyConnected(2, 2, [[1, 1], [1, -1]], [0, 0]), FullyConnected(2, 1, [[1, 1]], [0])
    >>> network = Network([first, Elementwise("relu"), last])
    >>> verify(network, (-1, 1), outputs_at_most([[1]], 2.5))
    Verification(holds: C y <= d, least margin 0.5 to 0.5)
    >>> verify(network, (-1, 1), outputs_at_most([[1]], 1.5)).verdict
    'violated'
    """
    validate.instance("property", property, Property, "make one with output_is_largest, outputs_at_most or read_vnnlib")
    network = with_output(network, name)
    most_nodes = most_nodes and validate.integer("most_nodes", most_nodes, minimum=0)
    limits = Limits(timeout and validate.real("timeout", timeout), most_nodes)
    form = normal_form(network, *entries("box", box, 2))
    property.check(len(form.variables[form.input]), len(form.variables[form.output]))
    lower, upper = (end.ravel().tolist() for end in box_bounds(network.input_shape, *box))
    exact = ExactForm(form, _bits(form, property))
    proofs, searches, unstable = _searches(network, form, exact, property, lower, upper, limits)
    complete = len(searches) == sum(len(proof["sets"]) for proof in proofs)
    with reporting(progress, "nodes"):
        reason = _decide(searches, limits, np.random.default_rng(rng))
    reason = reason or ("" if complete else limits.reached())
    found = next((search for search in searches.values() if search.point is not None), None)
    certificate = point = output = None
    if found is not None and found.point is not None:
        point = found.point.reshape(network.input_shape)
        output = network(point[None])[0]
    elif not reason:
        for proof in proofs:
            proof["trees"] = [searches[number].tree() for number in proof["sets"]]
        certificate = {**_claim(property, lower, upper), "bits": exact.bits, "network": digest(form), "proofs": proofs}
    return Verification(
        "violated" if point is not None else "unknown" if reason else "holds",
        property,
        _rounded_down(min((search.lower for search in searches.values()), default=math.inf)) if complete else -math.inf,
        min((search.upper for search in searches.values()), default=math.inf),
        point,
        output,
        certificate,
        limits.used,
        len(form.pre),
        unstable,
        limits.elapsed,
        reason,
    )


def _searches(
    network: Network,
    form: NormalForm,
    exact: ExactForm,
    property: Property,
    lower: list[float],
    upper: list[float],
    limits: Limits,
) -> tuple[list[dict[str, Any]], dict[int, BranchAndBound], int]:
    """Return the proofs without their trees, a search for each unsafe set, and the number of rectifiers in doubt.

    Where the time is up, searches are missing. Tightening may take half of it.
    """
    parts = [unsafe_box(spaces, lower, upper) for spaces in property.unsafe]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, (low, high, _) in enumerate(parts):
        if all(map(float.__le__, low, high)):
            groups.setdefault((tuple(low), tuple(high)), []).append(number)
    searches, unstable = {}, 0
    proofs: list[dict[str, Any]] = [{"sets": numbers, "tighten": 0} for numbers in groups.values()]
    for ((low, high), numbers), proof in zip(groups.items(), proofs, strict=True):
        if limits.reached():
            break
        root = exact.propagate(*exact.grid(low, high))
        proof["tighten"] = exact.tighten_all(root, stop=limits.half_used)
        box, scale = (np.array(low), np.array(high)), 1 << exact.bits
        known = (
            np.array([near_float(Fraction(side[v], scale)) for v in form.pre.tolist()])
            for side in (root.lower, root.upper)
        )
        relaxation = PhaseProgram(form, box, *known)
        unstable = max(unstable, len(relaxation.unknown))
        for number in numbers:
            rest = [property.unsafe[number][row] for row in parts[number][2]]
            target = Target(form, rest, box)
            searches[number] = BranchAndBound(
                exact,
                root,
                UnsafeSet(rest, form),
                target,
                relaxation.unsafe(target),
                partial(reaches, network, form, property.unsafe[number]),
            )
    return proofs, searches, unstable


def _decide(searches: dict[int, BranchAndBound], limits: Limits, rng: np.random.Generator) -> str:
    """Run the searches until all are closed or one finds an input; return why some are open."""
    reason = ""
    for search in searches.values():
        reason = reason or limits.reached()
        if not reason:
            search.begin(limits, rng)
            if search.point is not None:
                return ""
    for search in sorted(
        (search for search in searches.values() if not search.closed), key=lambda search: search.lower
    ):
        found = search.run(limits)
        if search.point is not None:
            return ""
        reason = reason or found
    return reason


def _bits(form: NormalForm, property: Property) -> int:
    """Return how many binary places bounds need, so that those of the smallest number that matters have 64.

    Bounds of variables far below the largest do not matter: those of a variable that is 0 are a few subnormal numbers.
    """
    size = np.maximum(np.abs(form.lower), np.abs(form.upper))
    least = float(np.min(size, where=size > np.ldexp(np.max(size, initial=0.0), -_RANGE), initial=1.0))
    rights = {abs(space.right) for spaces in property.unsafe for space in spaces if space.right}
    least = min([least, *(float(right) for right in rights)])
    return _BITS + (min(max(-math.frexp(least)[1], 0), _MOST_BITS) if least else 0)


def _rounded_down(value: Fraction | float) -> float:
    """Return a float that is at most a given number."""
    near = near_float(value)
    return near if near == -math.inf or near <= value else math.nextafter(near, -math.inf)


def _claim(property: Property, lower: list[float], upper: list[float]) -> dict[str, Any]:
    """Return the part of a certificate that states the claim."""
    numbers: dict[HalfSpace, int] = {}
    unsafe = [[numbers.setdefault(space, len(numbers)) for space in spaces] for spaces in property.unsafe]
    spaces = [
        [*([[i, str(a)] for i, a in terms] for terms in (space.inputs, space.outputs)), str(space.right), space.strict]
        for space in numbers
    ]
    return {"format": FORMAT, "lower": lower, "upper": upper, "spaces": spaces, "unsafe": unsafe}
