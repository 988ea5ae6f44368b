"""Propagation of derivatives through the nodes of a network at one sample: tangents forwards, cotangents backwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.arrays import Array, read_only
from convmatrix.network.boxes import Box, box_shape, box_size, embed, flat_box, union, within

if TYPE_CHECKING:
    from convmatrix.network.construction import Node

_STEP: Final = 50_000  # entries that take as long as the fixed cost of a step
_GAIN: Final = 1.2  # rows are computed in halves if that is cheaper by this factor
_MOST_ROWS: Final = 64  # rows computed at a time


@dataclass(frozen=True)
class CotangentPlan:
    """The entries of every node that a set of outputs depends on, as boxes."""

    box: Box  # of the output
    input_box: Box  # of the network's input
    steps: list[tuple[Node, Box, list[Box]]]  # nodes to read, last first, with the boxes of their inputs
    boxes: dict[str, Box]  # by the names of nodes
    peak: int  # largest number of entries per cotangent held at a time
    cost: int  # entries read and written per cotangent


class Derivatives:
    """Products with the Jacobian of a network's output at one sample.

    Nodes are in topological order: first the input, last the output, which depends on all of them. The values at the
    sample, without a batch axis, are needed of the nodes that an operation reads that is not linear; they are
    read-only, also in copies.
    """

    def __init__(self, nodes: Sequence[Node], values: Mapping[str, Array], dtype: np.dtype[Any]) -> None:
        self.nodes, self.dtype = tuple(nodes), dtype
        self._points: dict[str, list[Array]] = {}
        nothing = np.zeros((), dtype)  # broadcast: a linear operation reads no values
        for node in self.nodes[1:]:
            if node.linear:
                self._points[node.name] = [np.broadcast_to(nothing, shape) for shape in node.input_shapes]
                continue
            self._points[node.name] = point = [values[source] for source in node.inputs]
            with named(node):  # an unknown derivative is refused now
                node.operation.tangent(point, [np.zeros((0, *shape), dtype) for shape in node.input_shapes])

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        read_only(*(values for point in self._points.values() for values in point))

    def push(self, tangents: Array) -> Array:
        """Return the Jacobian times a batch (k, *input_shape), shape (k, *output_shape)."""
        last_use = {source: node.name for node in self.nodes for source in node.inputs}
        values = {self.nodes[0].name: tangents}
        for node in self.nodes[1:]:
            with named(node):
                changes = [values[source] for source in node.inputs]
                values[node.name] = node.operation.tangent(self._points[node.name], changes)
            for source in set(node.inputs):
                if last_use[source] == node.name:
                    del values[source]
        return values[self.nodes[-1].name]

    def plan(self, box: Box) -> CotangentPlan:
        """Return the entries that the outputs in a box read."""
        boxes = {self.nodes[-1].name: box}
        steps, live, peak, cost = [], {self.nodes[-1].name: box_size(box)}, 0, 0
        for node in reversed(self.nodes[1:]):
            own = boxes.get(node.name, ())
            if node.name not in boxes or not box_size(own):
                continue
            with named(node):
                read = node.operation.read_boxes(own, node.input_shapes)
            if not any(map(box_size, read)):
                continue  # nothing but padding
            for source, part in zip(node.inputs, read, strict=True):
                boxes[source] = union(boxes[source], part) if source in boxes else part
            steps.append((node, own, read))
        for node, own, read in steps:
            live.update({source: box_size(boxes[source]) for source in node.inputs})
            moved = box_size(own) + sum(map(box_size, read))
            peak, cost = max(peak, sum(live.values())), cost + moved
            live.pop(node.name, None)
        first = self.nodes[0]
        input_box = boxes.get(first.name, tuple(slice(0, 0) for _ in first.output_shape))
        return CotangentPlan(box, input_box, steps, boxes, peak, cost)

    def pull(self, cotangents: Array, plan: CotangentPlan) -> Array:
        """Return the transposed Jacobian times a batch (k, *entries of the plan's box), in the box of the input."""
        gradients = {self.nodes[-1].name: cotangents}
        owned = set()  # gradients that share memory with no other array
        for node, box, input_boxes in plan.steps:
            own = gradients.pop(node.name)
            with named(node):
                parts = node.operation.local_cotangent(self._points[node.name], own, box, input_boxes)
            del own
            for source, part, read in zip(node.inputs, parts, input_boxes, strict=True):
                target = plan.boxes[source]
                if not box_size(read):
                    continue
                if source not in gradients:
                    gradients[source] = embed(part, read, target)
                    if read != target:
                        owned.add(source)
                elif source in owned:
                    gradients[source][within(read, target)] += part
                else:
                    total = gradients[source] + part if read == target else gradients[source].copy()
                    if read != target:
                        total[within(read, target)] += part
                    gradients[source] = total
                    owned.add(source)
        empty = np.zeros((len(cotangents), *box_shape(plan.input_box)), self.dtype)
        return gradients.get(self.nodes[0].name, empty)

    def chunks(self, start: int, stop: int, budget: int) -> list[tuple[int, int, CotangentPlan]]:
        """Return ranges of rows to compute together: rows that share many reads, within a budget in bytes."""
        if start == stop:
            return []
        return self._split(start, stop, self.plan(flat_box(self.nodes[-1].output_shape, start, stop)), budget)

    def _split(self, start: int, stop: int, plan: CotangentPlan, budget: int) -> list[tuple[int, int, CotangentPlan]]:
        n = stop - start
        if n == 1:
            return [(start, stop, plan)]
        shape, middle = self.nodes[-1].output_shape, self._middle(start, stop)
        halves = [(a, b, self.plan(flat_box(shape, a, b))) for a, b in ((start, middle), (middle, stop))]
        if n <= _MOST_ROWS and n * plan.peak * self.dtype.itemsize <= budget:
            apart = sum((b - a) * half.cost + _STEP * len(half.steps) for a, b, half in halves)
            if n * plan.cost + _STEP * len(plan.steps) <= _GAIN * apart:
                return [(start, stop, plan)]
        return [chunk for a, b, half in halves for chunk in self._split(a, b, half, budget)]

    def _middle(self, start: int, stop: int) -> int:
        """Return where to cut a range of rows: at the end of a channel or a line of the output where there is one."""
        unit = 1
        for size in self.nodes[-1].output_shape[1:]:
            unit *= size
        for size in self.nodes[-1].output_shape[1:]:
            middle = (start + stop + unit) // (2 * unit) * unit
            if start < middle < stop:
                return middle
            unit //= size
        return (start + stop) // 2


@contextmanager
def named(node: Node, kinds: tuple[type[Exception], ...] = (ValueError, TypeError)) -> Iterator[None]:
    """Prefix the messages of certain kinds of errors with the name of a node."""
    try:
        yield
    except kinds as error:
        raise type(error)(f"node {node.name!r}: {error}") from None
