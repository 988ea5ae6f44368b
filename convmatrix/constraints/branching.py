"""Branch and bound over the signs of rectifiers: a tree of exact bounds, or an input that reaches the unsafe set."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.constraints.phase_programs import ACTIVE, INACTIVE, PhaseProgram, Relaxed
from convmatrix.progress import report_step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.constraints.counterexamples import Target
    from convmatrix.constraints.exact_bounds import Bounds, ExactForm, UnsafeSet

    Floats = NDArray[np.float64]
    Phases = NDArray[np.int8]

_MOST_SINGLE: Final = 16  # largest number of half-spaces tried one at a time


@dataclass
class Limits:
    """When to stop: seconds since the start, and nodes; both are shared by all trees of a property."""

    seconds: float | None = None
    nodes: int | None = None
    started: float = field(default_factory=time.monotonic)
    used: int = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def left(self) -> float | None:
        """Seconds left, or None if there is no limit."""
        return None if self.seconds is None else self.seconds - self.elapsed

    def half_used(self) -> bool:
        """Return whether half of the time is used."""
        return self.seconds is not None and self.elapsed >= self.seconds / 2

    def reached(self) -> str:
        """Return which limit was reached, or an empty string."""
        if self.seconds is not None and self.elapsed >= self.seconds:
            return f"the time limit of {self.seconds:g} s was reached"
        if self.nodes is not None and self.used >= self.nodes:
            return f"the limit of {self.nodes} nodes was reached"
        return ""


@dataclass
class _OpenNode:
    """A node of the tree that is not closed: the signs on the way to it, and its relaxation."""

    number: int
    phases: Phases
    relaxed: Relaxed
    lower: Fraction | float


class BranchAndBound:
    """A search for inputs in one unsafe set, best first, that builds the tree of a certificate.

    It begins with the tightened bounds of the box. An input reaches the unsafe set if ``accept`` returns true;
    ``point`` is such an input, if one was found. ``upper`` is the least margin found, in float64. A node is ``["split",
    variable, value, below, above]`` with the numbers of two nodes, ``["leaf", weights, slopes]``, or None while it is
    open.
    """

    def __init__(
        self,
        exact: ExactForm,
        root: Bounds,
        unsafe: UnsafeSet,
        target: Target,
        relaxation: PhaseProgram,
        accept: Callable[[Floats], bool],
    ) -> None:
        self.exact, self.root, self.unsafe = exact, root, unsafe
        self.target, self.relaxation, self.accept = target, relaxation, accept
        self._pre, self._post = target.form.pre.tolist(), target.form.post.tolist()
        self.nodes: list[Any] = []
        self.upper = math.inf
        self.point: Floats | None = None
        self._closed: Fraction | float = math.inf
        self._waiting: list[tuple[float, int, _OpenNode]] = []
        self._stuck: list[_OpenNode] = []

    @property
    def lower(self) -> Fraction | float:
        """A proven lower bound of the margin in the box."""
        if not self.nodes:
            return -math.inf
        branches = [*self._stuck, *(branch for _, _, branch in self._waiting)]
        return min([self._closed, *(branch.lower for branch in branches)])

    @property
    def closed(self) -> bool:
        """Whether the tree proves that the unsafe set is not reached."""
        return len(self.nodes) > 0 and not (self._waiting or self._stuck)

    def begin(self, limits: Limits, rng: np.random.Generator) -> None:
        """Make the root; if it does not close, look for an input by descent."""
        self._add(np.zeros(len(self._pre), np.int8), -math.inf, limits)
        if not self.closed and self.point is None:
            self._offer(*self.target.attack(rng))

    def run(self, limits: Limits) -> str:
        """Search until the tree is closed or an input is found; otherwise return why the search stopped undecided."""
        while self._waiting and self.point is None:
            reason = limits.reached()
            if reason:
                return reason
            branch = heapq.heappop(self._waiting)[2]
            if not branch.relaxed.scores.any():
                self._stuck.append(branch)
                continue
            self._split(branch, limits)
            done, of = len(self.nodes) - len(self._waiting), len(self.nodes)
            report_step(done, of, f"bound {self._waiting[0][0]:.3g}" if self._waiting else "")
        return "the signs of all rectifiers are decided, but a margin is 0 up to rounding" if self._stuck else ""

    def _split(self, branch: _OpenNode, limits: Limits) -> None:
        """Replace an open node by two: the input of its loosest rectifier is not positive, or not negative."""
        rectifier = int(np.argmax(branch.relaxed.scores))
        numbers = []
        for phase in (INACTIVE, ACTIVE):
            phases = branch.phases.copy()
            phases[rectifier] = phase
            numbers.append(len(self.nodes))
            self._add(phases, branch.lower, limits)
        self.nodes[branch.number] = ["split", self._pre[rectifier], 0, *numbers]

    def _add(self, phases: Phases, known: Fraction | float, limits: Limits) -> None:
        """Append a node: a leaf if its bound proves that the unsafe set is not reached, otherwise an open one."""
        number = len(self.nodes)
        limits.used += 1
        relaxed = self.relaxation.solve(phases, limits.left)
        if relaxed is None:
            relaxed = self._unsolved(phases)
        scale = 1 << self.exact.bits
        weights = {row: int(Fraction(w) * scale) for row, w in enumerate(relaxed.weights.tolist()) if w > 0}
        slopes = {self._post[k]: int(Fraction(q) * scale) for k, q in relaxed.slopes.items()}
        bounds = self.root.copy()
        for k in np.flatnonzero(phases).tolist():
            if phases[k] == ACTIVE:
                bounds.narrow(self._pre[k], lower=0)
            else:
                bounds.narrow(self._pre[k], upper=0)
        excess = self.exact.excess(self.unsafe, weights, bounds, slopes)
        if excess <= 0 and len(self.unsafe.right) > 1 and not relaxed.scores.any():
            # With all signs known, only the solver's tolerance can make the bound fail: try one half-space at a time.
            for row in range(min(len(self.unsafe.right), _MOST_SINGLE)):
                bound = self.exact.excess(self.unsafe, {row: scale}, bounds)
                if self.unsafe.excluded(bound, {row: scale}):
                    weights, slopes, excess = {row: scale}, {}, bound
                    break
        total = (sum(weights.values()) * self.unsafe.scale) << (self.exact.bits + self.exact.shift)
        lower: Fraction | float = Fraction(excess, total) if total else math.inf if excess > 0 else -math.inf
        if self.point is None and (not number or excess <= 0):
            self._offer(float(self.target.margins(relaxed.point[None])[0][0]), relaxed.point)
        if self.unsafe.excluded(excess, weights):
            multipliers = ([list(pair) for pair in found.items()] for found in (weights, slopes))
            self.nodes.append(["leaf", *multipliers])
            self._closed = min(self._closed, max(lower, known))
        else:
            self.nodes.append(None)
            branch = _OpenNode(number, phases, relaxed, max(lower, known))
            heapq.heappush(self._waiting, (relaxed.value, number, branch))

    def _offer(self, margin: float, x: Floats) -> None:
        """Record the margin of an input, and keep the input if it reaches the unsafe set."""
        self.upper = min(self.upper, margin)
        if margin <= 0 and self.accept(x):
            self.point = x

    def tree(self) -> list[Any]:
        """Return the nodes of the closed tree in depth-first order, the branch below a split value first."""
        listed, waiting = [], [0]
        while waiting:
            node = self.nodes[waiting.pop()]
            if node[0] == "split":
                waiting += [node[4], node[3]]
                node = node[:3]
            listed.append(node)
        return listed

    def _unsolved(self, phases: Phases) -> Relaxed:
        """Return multipliers without a linear program: equal weights, and the default slopes."""
        n = len(self.unsafe.right)
        low, high = self.relaxation.lower, self.relaxation.upper
        loose = np.where((phases == 0) & (low < 0) & (high > 0), np.minimum(-low, high), 0.0)
        middle = self.target.box[0] / 2 + self.target.box[1] / 2
        return Relaxed(-math.inf, np.full(n, 1 / max(n, 1)), {}, middle, loose)
