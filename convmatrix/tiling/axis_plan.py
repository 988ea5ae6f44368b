"""How one axis of an image may be cut: what is clean in a tile, where tiles may start, and which sizes fit.

A tile is a range of the image's samples. The network treats its ends as those of an image: it pads them. At an end
inside the image this is wrong, and all outputs that it could affect are discarded. For each node, as an index of its
outputs:

    first_clean(node)     = the first such that it and all later ones read nothing discarded or missing at the low end
    clean_end(node, size) = the end of those that read nothing discarded or missing at the high end

Output j of a tile that starts at sample s is output ``j + s * scale`` of the image. At every node, s times the node's
scale must be an integer and a multiple of what the next operation advances by: hence the alignment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from convmatrix.tiling.layouts import array_axis
from convmatrix.tiling.node_reads import NodeReads, Refusal, refusals_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.tiling.axis_reads import AxisReads

_LARGEST_ALIGNMENT: Final = 2**10
_LARGEST_MINIMUM: Final = 2**20
MOST_TILES: Final = 2**18
LARGEST_SIZE: Final = 2**40


class Cut(NamedTuple):
    """One tile on one axis: the samples that it reads, which outputs are kept, and where the first of them belongs."""

    start: int  # on a periodic axis, modulo its size
    stop: int
    keep: tuple[int, int]
    write: int


class Extent(NamedTuple):
    """Number of outputs of a node on an axis, and the end of those that are clean if a tile ends there."""

    size: int
    clean_end: int


class EndCondition(NamedTuple):
    """Samples of a node that are read in place of those beyond an end of the image, and must be clean."""

    node: str
    source: str
    reads: AxisReads


@dataclass(frozen=True)
class AxisPlan:
    """How one axis of an image may be cut into tiles.

    Attributes
    ----------
    axis : int
        Axis of the image; channels are not counted.
    output_axis : int
        The corresponding axis of a sample of the output, where 0 is the first axis.
    steps : dict of str to list of (str, AxisReads or None)
        What each node reads on this axis, in topological order; empty for the input.
    output : str
    sizes : dict of str to int
        Size of each node along the axis, for the network's own input shape.
    shifts : dict of str to Fraction
        Number of outputs of each node per sample of the image.
    alignment : int
        Tiles start at multiples of this.
    periodic : bool
        Whether the image continues at its other end.
    """

    axis: int
    output_axis: int
    steps: Mapping[str, Sequence[tuple[str, AxisReads | None]]]
    output: str
    sizes: Mapping[str, int]
    shifts: Mapping[str, Fraction]
    alignment: int
    periodic: bool
    _extents: dict[int, dict[str, Extent]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def scale(self) -> Fraction:
        """Number of outputs per sample of the image."""
        return self.shifts[self.output]

    @cached_property
    def first_clean(self) -> dict[str, int]:
        """By node, the first output that is clean along with all later ones, in a tile that starts inside the image."""
        first: dict[str, int] = {}
        for name, step in self.steps.items():
            found = [first[source] if reads is None else reads.first_clean(first[source]) for source, reads in step]
            first[name] = max(found, default=0)
        return first

    def extents(self, size: int) -> dict[str, Extent]:
        """Return the size of every node and the end of its clean outputs, for a tile of ``size`` samples.

        Raises a ValueError that names the node if the network does not take this size.
        """
        if size not in self._extents:
            found: dict[str, Extent] = {}
            for name, step in self.steps.items():
                ends = [self._extent(name, found[source], reads) for source, reads in step]
                if len({extent.size for extent in ends}) > 1:
                    sources = ", ".join(f"{s!r} {e.size}" for (s, _), e in zip(step, ends, strict=True))
                    raise ValueError(
                        f"an image of {size} samples on axis {self.axis} does not fit: at node {name!r} branches of "
                        f"different sizes meet ({sources}); {self.sizes_in_words}"
                    )
                found[name] = Extent(ends[0].size, min(e.clean_end for e in ends)) if ends else Extent(size, size)
            self._extents[size] = found
        return self._extents[size]

    def _extent(self, name: str, given: Extent, reads: AxisReads | None) -> Extent:
        if reads is None:
            return given
        if not reads.admits(np.array([given.size]))[0]:
            raise ValueError(
                f"a size on axis {self.axis} does not fit at node {name!r}: {reads.refusal(given.size)}; "
                f"{self.sizes_in_words}"
            )
        return Extent(reads.n_outputs(given.size), reads.clean_end(given.clean_end, given.size))

    # --- admissible sizes --------------------------------------------------------------------------------------------

    def admitted(self, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which sizes of an image the network takes on this axis."""
        fits = np.ones(len(sizes), dtype=bool)
        if self.periodic:
            fits &= sizes % self.alignment == 0
        found: dict[str, NDArray[np.int64]] = {}
        for name, step in self.steps.items():
            counts = []
            for source, reads in step:
                if reads is not None:
                    fits &= reads.admits(found[source])
                counts.append(found[source] if reads is None else reads.n_outputs(found[source]))
            for other in counts[1:]:
                fits &= counts[0] == other
            found[name] = counts[0] if counts else sizes
        return fits

    @cached_property
    def residues(self) -> tuple[int, ...]:
        """The remainders, modulo the alignment, of the sizes that fit if they are large enough."""
        large = -(-_LARGEST_MINIMUM // self.alignment) * self.alignment
        fits = self.admitted(large + np.arange(self.alignment, dtype=np.int64))
        return tuple(int(r) for r in np.flatnonzero(fits))

    @cached_property
    def smallest(self) -> int:
        """The least size such that all larger sizes with these remainders fit too."""
        end = 4 * self.alignment
        pattern = np.isin(np.arange(self.alignment), self.residues)
        while end < 4 * _LARGEST_MINIMUM:
            sizes = np.arange(1, end + 1, dtype=np.int64)
            wrong = sizes[self.admitted(sizes) != pattern[sizes % self.alignment]]
            last = int(wrong[-1]) if len(wrong) else 0
            if last <= end - 2 * self.alignment:
                return next(n for n in range(last + 1, end + 1) if pattern[n % self.alignment])
            end *= 2
        raise ValueError(f"axis {self.axis} of the network takes no sizes below {end}")

    @property
    def sizes_in_words(self) -> str:
        """Which sizes fit, in words."""
        if len(self.residues) == self.alignment:
            return f"sizes from {self.smallest} on fit"
        listed = ", ".join(map(str, self.residues[:8])) + (", ..." if len(self.residues) > 8 else "")
        if self.residues == (0,):
            return f"multiples of {self.alignment} from {self.smallest} on fit"
        return f"sizes from {self.smallest} on fit that leave {listed} when divided by {self.alignment}"

    # --- the ends of the image ---------------------------------------------------------------------------------------

    @cached_property
    def end_conditions(self) -> list[EndCondition]:
        """The nodes that read samples inside the image in place of samples beyond its ends."""
        return [
            EndCondition(name, source, reads)
            for name, step in self.steps.items()
            for source, reads in step
            if reads is not None and reads.boundary in ("reflect", "symmetric", "replicate") and not self.periodic
        ]

    def broken_condition(self, size: int, *, at_low: bool = False, at_high: bool = False) -> str | None:
        """Return the condition at the image's low or high end that a tile ending there lacks, or None if none."""
        if at_low and at_high:
            return None
        extents = self.extents(size)
        for node, source, reads in self.end_conditions:
            n, clean_end = extents[source]
            if at_low and reads.folded(reads.reach_low) > clean_end:
                return (
                    f"node {node!r} reads {reads.folded(reads.reach_low)} samples at the image's low end, and the tile "
                    f"has {clean_end} that its other end does not touch"
                )
            folded = reads.folded(reads.reach_high(n)) if at_high else 0
            if folded and n - folded < self.first_clean[source]:
                return (
                    f"node {node!r} reads {folded} samples at the image's high end, and the tile has "
                    f"{n - self.first_clean[source]} that its other end does not touch"
                )
        return None

    # --- halos -------------------------------------------------------------------------------------------------------

    @cached_property
    def halo(self) -> tuple[int, int]:
        """Number of samples before and after a block of samples that the outputs of the block read.

        A block begins and ends at multiples of the alignment, far from the ends of the image; its outputs are those
        from ``start * scale`` up to ``stop * scale``.
        """
        block = self.alignment * 2
        needed: dict[str, tuple[int, int]] = {self.output: (0, int(block * self.scale))}
        for name, step in reversed(list(self.steps.items())):
            if name not in needed:
                continue
            for source, reads in step:
                start, end = needed[name] if reads is None else reads.read_range(*needed[name])
                if start < end:
                    known = needed.get(source, (start, end))
                    needed[source] = (min(start, known[0]), max(end, known[1]))
        first, last = needed.get(next(iter(self.steps)), (0, block))
        return max(-first, 0), max(last - block, 0)

    # --- tiles -------------------------------------------------------------------------------------------------------

    def cuts(self, size: int, tile: int) -> list[Cut]:
        """Return the tiles of an axis of an image, each of at most ``tile`` samples.

        Raises a ValueError with both numbers if the image's size does not fit the network, or tiles are too small.
        """
        whole = self._whole(size)
        if tile >= size:
            return [Cut(0, size, (0, whole), 0)]
        inner = self._suitable(size, tile)
        if inner is None:
            least = self._least(size, tile)
            raise ValueError(
                f"tiles of {tile} samples are too small on axis {self.axis}: with {self.halo[0]} + {self.halo[1]} "
                f"samples of halo and starts at multiples of {self.alignment} they need at least {least} for an image "
                f"of {size}{self._also(size, tile)}; make the tiles larger"
            )
        first, scale, step = self.first_clean[self.output], self.scale, self.alignment
        at_least = whole // self.extents(inner)[self.output].clean_end
        if at_least > MOST_TILES:
            raise ValueError(
                f"an axis of {size} samples has at least {at_least} tiles of {tile}, and {MOST_TILES} is the most that "
                "are listed; make the tiles larger"
            )
        found: list[Cut] = []
        start = -step * math.ceil(first / (scale * step)) if self.periodic else 0
        done = 0
        while True:
            offset = int(start * scale)
            if not self.periodic and size - start <= tile:
                start = step * -((tile - size) // step)
                offset = int(start * scale)
                return [*found, Cut(start, size, (done - offset, whole - offset), done)]
            end = min(self.extents(inner)[self.output].clean_end, whole - offset)
            found.append(Cut(start, start + inner, (done - offset, end), done))
            done = offset + end
            if done == whole:
                return found
            start = step * math.floor((done - first) / (scale * step))

    def _whole(self, size: int) -> int:
        """Return the number of outputs of an image."""
        if self.periodic and size % self.alignment:
            raise ValueError(
                f"an image of {size} samples on axis {self.axis} does not fit: it is padded circularly, and "
                f"{self.sizes_in_words}"
            )
        return self.extents(size)[self.output].size

    def _suitable(self, size: int, tile: int) -> int | None:
        """Return the size of the tiles inside the image, at most ``tile``; None if there is none."""
        found: list[tuple[int, int, int]] = []
        first, advance = self.first_clean[self.output], int(self.scale * self.alignment)
        candidates = np.arange(max(tile - self.alignment + 1, 1), tile + 1, dtype=np.int64)
        for n in candidates[self.admitted(candidates)][::-1].tolist():  # the smaller, the fewer outputs are clean
            end = self.extents(n)[self.output].clean_end
            if end - first < advance or (found and end < found[0][0]):
                break
            if self.periodic or self.broken_condition(n, at_low=True) is None:
                found.append((end, int((n - size) % self.alignment == 0), n))
        if not found or self.periodic:
            return max(found)[2] if found else None
        last = size - self.alignment * -((tile - size) // self.alignment)
        if not self.admitted(np.array([last]))[0] or self.broken_condition(last, at_high=True) is not None:
            return None
        return max(found)[2]

    def _least(self, size: int, tile: int) -> int:
        """Return the smallest suitable tile above an unsuitable one; larger ones are suitable too."""
        low, high = tile, min(tile + self.alignment, size)
        while high < size and self._suitable(size, high) is None:
            low, high = high, min(2 * high - tile, size)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._suitable(size, middle) is not None else (middle, high)
        return high

    def _also(self, size: int, tile: int) -> str:
        """Return the condition at the image's ends that tiles break, if that is known."""
        last = size - self.alignment * -((tile - size) // self.alignment)
        for n, end in ((tile, "at_low"), (last, "at_high")):
            if self.admitted(np.array([n]))[0] and not self.periodic:
                broken = self.broken_condition(n, **{end: True})
                if broken is not None:
                    return f" ({broken})"
        return ""


def axis_plan(found: Mapping[str, NodeReads], output: str, axis: int) -> AxisPlan | tuple[Refusal, ...]:
    """Return how an axis may be cut, or the nodes where its positions lose their places."""
    refusals = refusals_of(found[output], output, axis)
    output_axis = array_axis(found[output].layout, axis)
    if refusals or output_axis is None:
        return refusals
    steps: dict[str, list[tuple[str, AxisReads | None]]] = {}
    shifts: dict[str, Fraction] = {}
    alignment = 1
    wraps: list[str] = []
    along = {name: node for name, node in found.items() if axis in node.sizes}  # others hold constants only
    for name, node in along.items():
        step = node.reads.get(axis, [])
        scales = set()
        for source, reads in step:
            scale = shifts[source]
            if reads is not None:
                alignment = math.lcm(alignment, (scale / reads.advance).denominator)
                scale *= reads.scale
                if reads.wraps:
                    wraps.append(name)
            scales.add(scale)
        if len(scales) > 1:
            listed = " and ".join(map(str, sorted(scales)))
            return (Refusal(name, axis, f"joins branches whose scales differ, {listed} outputs per sample"),)
        if alignment > _LARGEST_ALIGNMENT:
            return (Refusal(name, axis, f"could be cut at multiples of {alignment} samples only"),)
        steps[name], shifts[name] = step, scales.pop() if scales else Fraction(1)
    sizes = {name: node.sizes[axis] for name, node in along.items()}
    for name, step in steps.items():
        if wraps and not all(reads is None or reads.keeps_ring() for _, reads in step):
            reason = f"does not keep the ring on which {wraps[0]!r} reads its input (circular padding)"
            return (Refusal(name, axis, reason),)
    plan = AxisPlan(axis, output_axis, steps, output, sizes, shifts, alignment, bool(wraps))
    if not plan.residues:
        size = sizes[next(iter(sizes))]
        return (Refusal(output, axis, f"joins branches whose sizes agree for {size} samples only"),)
    return plan
