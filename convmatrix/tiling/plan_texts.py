"""The derivation of a plan as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convmatrix.network import Convolution, Elementwise, FullyConnected, Pooling, Rearrangement, Resize, Scale
from convmatrix.tiling.axis_plan import AxisPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from convmatrix.network import Network, Operation
    from convmatrix.tiling.axis_reads import AxisReads
    from convmatrix.tiling.image_tiles import PlannedAxes
    from convmatrix.tiling.node_reads import NodeReads

_COLUMNS = ("node", "reads, for output i", "outputs per sample", "discarded low", "discarded high")
_MOST_LISTED = 3
_MOST_NAMED = 8


def explain_plan(plan: PlannedAxes) -> str:
    """Return how a plan came about; see `TilingPlan.explain`."""
    lines = [f"Tiles of {plan.network.name}, {plan.network.input_shape}, for the output {plan.output!r}."]
    derived: dict[tuple[str, ...], list[int]] = {}
    for number, axis in enumerate(plan.axes):
        if isinstance(axis, AxisPlan):
            derived.setdefault(tuple(_axis_lines(axis)), []).append(number)
        else:
            lines.append(f"\nAxis {number} cannot be cut:")
            lines += [f"  node {refusal.node!r} {refusal.reason}" for refusal in axis]
            before = plan.network[axis[0].node].inputs[0]
            if before != plan.network.input.name:
                lines.append(f"  try the output of {before!r} or of an earlier node: output=, or --output in a shell")
    if not plan.axes:
        lines += plan.reasons
    if plan.assumptions:
        lines.append("\nAssumed, as the network was read for one size; plan(network, other=...) confirms it:")
        lines += [f"  {text}" for text in plan.assumptions]
    for found, numbers in derived.items():
        which = f"Axis {numbers[0]}" if len(numbers) == 1 else f"Axes {', '.join(map(str, numbers))}"
        lines += [f"\n{which}:", *(f"  {line}" for line in found)]
    return "\n".join(lines)


def assumptions_of(network: Network, found: Mapping[str, NodeReads]) -> tuple[str, ...]:
    """Return what cannot be determined from a network read for one size, with the nodes, given what its nodes read."""
    nodes: dict[str, list[str]] = {}
    for node in network:
        moves = any(reads is not None for step in found[node.name].reads.values() for _, reads in step)
        for what in _may_follow_size(node.operation, moves=moves):
            nodes.setdefault(what, []).append(repr(node.name))
    return tuple(
        f"{what} do not depend on the size of the image (node{'s' if len(names) > 1 else ''} "
        f"{', '.join(names[:_MOST_NAMED])}{', ...' if len(names) > _MOST_NAMED else ''})"
        for what, names in nodes.items()
    )


def _may_follow_size(operation: Operation, *, moves: bool) -> Iterator[str]:
    """Yield what may have been computed from the size of the image, given whether positions move with it."""
    constants = isinstance(operation, Scale | Convolution | FullyConnected) and not operation.trained
    if constants or (isinstance(operation, Elementwise) and operation.parameters):
        yield "constants"
    if not moves:
        return
    if isinstance(operation, Convolution | Pooling):
        yield "windows, strides and padding"
    elif isinstance(operation, Resize):
        yield "scales of resizing"
    elif isinstance(operation, Rearrangement):
        yield "sizes of blocks" if operation.name == "reshape" else "amounts of cropping and padding"


def _axis_lines(axis: AxisPlan) -> list[str]:
    """Return the derivation on one axis."""
    low, high = axis.halo
    lines = [
        f"halo {low} + {high}: the outputs of a block of the image read that many samples before and after it",
        f"alignment {axis.alignment}: {_alignment_reason(axis)}",
        f"scale {axis.scale}: outputs per sample",
        f"sizes: {axis.sizes_in_words}",
    ]
    if axis.periodic:
        lines.append("the axis is padded circularly: tiles continue at the other end, and no end is left")
    for condition in axis.end_conditions:
        if condition.reads.reach_low or condition.reads.reach_high(axis.sizes[condition.source]):
            lines.append(
                f"node {condition.node!r} reads inside the image in place of what is beyond its ends "
                f"({condition.reads.boundary!r}); a tile at an end must be large enough"
            )
            break
    return [*lines, *_table(axis)]


def _alignment_reason(axis: AxisPlan) -> str:
    """Return the first node that needs tiles to start at multiples of the whole alignment, or some of it."""
    if axis.alignment == 1:
        return "tiles may start anywhere"
    reasons = []
    known = 1
    for name, step in axis.steps.items():
        for source, reads in step:
            if reads is not None:
                needed = (axis.shifts[source] / reads.advance).denominator
                if known % needed:
                    reasons.append(f"{name!r} advances by {reads.advance} at scale {axis.shifts[source]}")
                    known = known * needed
    return "tiles start at multiples of it, because " + ", ".join(reasons[-_MOST_LISTED:])


def _table(axis: AxisPlan) -> list[str]:
    """Return a row for each node that reads other places than its own, or joins branches."""
    least = axis.smallest + 4 * axis.alignment + 2 * sum(axis.halo)
    size = least + (axis.residues[0] - least) % axis.alignment
    extents = axis.extents(size)
    rows = [_COLUMNS]
    for name, step in axis.steps.items():
        if len(step) > 1 or any(reads is not None for _, reads in step):
            words = "; ".join(dict.fromkeys(_read_words(reads) for _, reads in step))
            discarded = extents[name].size - extents[name].clean_end
            rows.append((name, words, str(axis.shifts[name]), str(axis.first_clean[name]), str(discarded)))
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _read_words(reads: AxisReads | None) -> str:
    """Return which samples are read, such as ``2i-1 to 2i+1``."""
    if reads is None:
        return "i"
    block = "i" if reads.period == 1 else f"floor(i/{reads.period})"
    base = block if reads.advance == 1 else f"{reads.advance}{' ' if reads.period > 1 else ''}{block}"
    offsets = sorted({o for listed in reads.offsets for o in listed})
    if not offsets:
        return "nothing"
    first, last = (base + (f"{o:+d}" if o else "") for o in (offsets[0], offsets[-1]))
    step = offsets[1] - offsets[0] if len(offsets) > 1 else 1
    every = f" in steps of {step}" if step > 1 and len(reads.offsets) == 1 else ""
    return first if first == last else f"{first} to {last}{every}"
