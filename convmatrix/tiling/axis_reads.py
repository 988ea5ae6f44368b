"""Which samples the outputs of an operation read along one axis, for an axis of any size.

Every operation that can be tiled is periodic along each axis: if output i reads a set of samples, output ``i + period``
reads the same set moved by ``advance``. A convolution with stride s has period 1 and advance s, a transposed one period
s and advance 1, resizing by 3/2 period 3 and advance 2. This is all that a plan needs to know of an operation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.boundary import SIGNED, Axis, forward_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.boundary import Boundary
    from convmatrix.geometry import ConvGeometry
    from convmatrix.network import Pooling, Resize
    from convmatrix.network.operations import Shape

_FOLDING: Final = {"reflect": 0, "symmetric": 1, "replicate": None}
_LARGEST_PERIOD: Final = 4096
_LARGEST_SCALE: Final = 64


class SizeBoundError(ValueError):
    """Raised if an operation depends on the size of an axis, so that it would treat a tile differently."""


@dataclass(frozen=True)
class AxisReads:
    """The samples that the outputs of one axis read, and how many outputs there are.

    Output ``period * k + r`` reads the samples ``advance * k + o``, with o in ``offsets[r]``. Samples beyond the ends
    are those of the boundary rule. An axis of n samples has ``min((a * n + b) // c)`` outputs, over ``(a, b, c)`` in
    ``sizes``.

    Attributes
    ----------
    period, advance : int
    offsets : tuple of tuple of int
        In ascending order; empty where an output reads nothing.
    sizes : tuple of (int, int, int)
    boundary : Boundary
    least : int
        The smallest n for which there are outputs.
    residues, assumed : tuple of (int, int)
        Pairs (modulus, remainder) that n must obey: because the operation needs them, and because for other remainders
        it is not known what it reads.
    axis : Axis, optional
        The one-axis rule that the offsets were read from; for a transposed layer, that of the underlying convolution.
    transposed, cropped : bool
        Whether it is a transposed layer, and whether that adds to places before its first output or after its last one.

    Examples
    --------
    >>> from convmatrix.boundary import Axis
    >>> reads = window_reads_of(Axis(4, 8, 3, stride=2, pad_low=1), 1)
    >>> reads.offsets, reads.advance, reads.n_outputs(8)
    (((-1, 0, 1),), 2, 4)
    >>> reads.first_clean(5), reads.clean_end(8, 8)  # of outputs, if samples from 5 on are clean, or samples up to 8
    (3, 4)
    """

    period: int
    advance: int
    offsets: tuple[tuple[int, ...], ...]
    sizes: tuple[tuple[int, int, int], ...]
    boundary: Boundary = "zero"
    least: int = 1
    residues: tuple[tuple[int, int], ...] = ()
    assumed: tuple[tuple[int, int], ...] = ()
    axis: Axis | None = None
    transposed: bool = False
    cropped: bool = False

    @property
    def scale(self) -> Fraction:
        """Number of outputs per sample."""
        return Fraction(self.period, self.advance)

    def n_outputs(self, n: Any) -> Any:
        """Return the number of outputs of an axis of n samples; elementwise for an array."""
        counts = [(a * n + b) // c for a, b, c in self.sizes]
        least = counts[0]
        for count in counts[1:]:
            least = np.minimum(least, count) if isinstance(n, np.ndarray) else min(least, count)
        return least

    def admits(self, n: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for which numbers of samples the outputs are as described."""
        fits = (n >= self.least) & (self.n_outputs(n) >= 1)
        for modulus, remainder in (*self.residues, *self.assumed):
            fits &= n % modulus == remainder
        return np.asarray(fits)

    def refusal(self, n: int) -> str:
        """Return why an axis of n samples is not admitted."""
        for modulus, remainder in (*self.residues, *self.assumed):
            if n % modulus != remainder:
                known = (modulus, remainder) in self.residues
                hint = "" if known else "; plan(network, other=the network read for another size) may allow more"
                return f"it has {n} samples, but needs a number that leaves {remainder} when divided by {modulus}{hint}"
        return f"it has {n} samples, and {max(self.n_outputs(n), 0)} outputs; at least {self.least} samples are needed"

    # --- what is clean -----------------------------------------------------------------------------------------------

    def first_clean(self, low: int) -> int:
        """Return the start of the outputs that read no sample before ``low``, and none before the first sample."""
        last = -1
        for r, offsets in enumerate(self.offsets):
            if offsets:
                last = max(last, self.period * ((low - 1 - offsets[0]) // self.advance) + r)
        return last + 1

    def clean_end(self, high: int, n: int) -> int:
        """Return the end of the outputs before which none reads the sample ``high``, of n, or a later one.

        What lies beyond the last sample counts as later, so ``high`` is at most n. The result may be negative: then
        there are none.
        """
        end: int = self.n_outputs(n)
        for r, offsets in enumerate(self.offsets):
            if offsets:
                end = min(end, self.period * -((offsets[-1] - high) // self.advance) + r)
        return end

    def read_range(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of samples that the outputs from ``start`` up to ``end`` read, on an axis without ends.

        The range is empty if they read nothing.
        """
        first, last = [], []
        for r, offsets in enumerate(self.offsets):
            if offsets:
                first.append(self.advance * -((r - start) // self.period) + offsets[0])
                last.append(self.advance * ((end - 1 - r) // self.period) + offsets[-1] + 1)
        return (min(first), max(last)) if first else (0, 0)

    # --- the image's own ends ----------------------------------------------------------------------------------------

    @property
    def reach_low(self) -> int:
        """Number of samples that are read before the first one."""
        return max((-offsets[0] for offsets in self.offsets if offsets), default=0)

    def reach_high(self, n: int) -> int:
        """Return the number of samples that are read beyond the last one, of n."""
        end, farthest = self.n_outputs(n), n - 1
        for output in range(max(end - self.period, 0), end):
            offsets = self.offsets[output % self.period]
            if offsets:
                farthest = max(farthest, self.advance * (output // self.period) + offsets[-1])
        return farthest - n + 1

    def folded(self, reach: int) -> int:
        """Return how many samples from an end on are read in place of ``reach`` samples beyond it."""
        if reach <= 0 or self.boundary not in _FOLDING:
            return 0
        repeated = _FOLDING[self.boundary]
        return 1 if repeated is None else reach + 1 - repeated

    @property
    def wraps(self) -> bool:
        """Whether samples beyond the ends are read from the other end."""
        if self.boundary != "circular" or self.cropped:
            return self.boundary == "circular"
        n = self.least + 4 * self.advance * (1 + max((abs(o) for r in self.offsets for o in r), default=0))
        return self.reach_low > 0 or any(self.reach_high(m) > 0 for m in range(n, n + self.advance))

    def keeps_ring(self) -> bool:
        """Return whether an axis of ``advance * k`` samples on a ring has ``period * k`` outputs on a ring."""
        if any((a * self.advance, b // c) != (self.period * c, 0) for a, b, c in self.sizes):
            return False
        inside = all(0 <= o < self.advance for offsets in self.offsets for o in offsets)
        return inside or self.boundary == "circular"


# --- of operations ---------------------------------------------------------------------------------------------------


def window_reads_of(axis: Axis, pad_high: int) -> AxisReads:
    """Return the reads of the windows of an axis, given the padding at its high end."""
    padded = axis.pad_low + pad_high
    offsets = tuple(
        tuple(r * axis.stride + t * axis.dilation - axis.pad_low for t in range(axis.n_taps)) for r in range(axis.tile)
    )
    sizes = ((1, padded - axis.span + axis.stride, axis.stride),)
    advance = axis.tile * axis.stride
    least = max(axis.span - padded, _fewest(axis.pad_low, pad_high, axis.boundary))
    return AxisReads(axis.tile, advance, offsets, sizes, axis.boundary, least, axis=axis)


def _fewest(low: int, high: int, boundary: Boundary) -> int:
    """Return the number of samples that frameworks require for padding by a boundary: it must not go around twice."""
    most = max(low, high, 0)
    return {"reflect": most + 1, "symmetric": max(most, 1), "circular": max(most, 1)}.get(boundary, 1)


def convolution_reads_of(geometry: ConvGeometry, number: int) -> AxisReads:
    """Return what the outputs of a convolution layer read on one of its axes.

    A layer's padding is given in numbers. With strides they may be those of the word "same" for this very size, which
    differ for other sizes; sizes are then restricted to those for which they are the same.
    """
    if geometry.sharing == "unshared":
        raise SizeBoundError("it has one kernel per position")
    axis = geometry.axes[number]
    if axis.boundary in SIGNED:
        if any(geometry.padding[number]):
            raise SizeBoundError(
                f"its boundary {axis.boundary!r} reads samples with coefficients, which is not followed"
            )
        axis = replace(axis, boundary="zero")  # nothing is read beyond the ends
    if axis.tile * axis.stride > _LARGEST_PERIOD:
        raise SizeBoundError(f"its outputs repeat after {axis.tile * axis.stride} positions only")
    if geometry.transposed:
        return _transposed_reads_of(axis)
    span, s = axis.span, axis.stride
    assumed: tuple[tuple[int, int], ...] = ()
    for word in ("same", "same_lower"):
        pairs = {_same_padding(word, s * (span // s + 1) + r, span, s) for r in range(s)}
        if _same_padding(word, axis.n_samples, span, s) == geometry.padding[number] and len(pairs) > 1:
            assumed = ((s, axis.n_samples % s),)
    return replace(window_reads_of(axis, geometry.padding[number][1]), assumed=assumed)


def _same_padding(word: str, n: int, span: int, stride: int) -> tuple[int, int]:
    low, high, *_ = forward_axis(0, n, span, "", stride, word, 0)
    return low, high


def _transposed_reads_of(axis: Axis) -> AxisReads:
    """Return the reads of the outputs of a transposed convolution, from the axis of the underlying convolution."""
    period = axis.stride * axis.tile
    offsets = []
    for r in range(period):
        numerators = (r + axis.pad_low - t * axis.dilation for t in range(axis.n_taps))
        offsets.append(tuple(sorted(i // axis.stride for i in numerators if i % axis.stride == 0)))
    extra = axis.n_samples - axis.n_outputs * axis.stride
    last = axis.span - 1 - axis.pad_low - axis.stride
    cropped = axis.pad_low > 0 or last >= extra
    if axis.boundary not in ("zero", "circular") and cropped:
        raise SizeBoundError(f"what its boundary {axis.boundary!r} folds back is not followed")
    sizes = ((axis.stride, extra, 1),)
    rest: Any = {"axis": axis, "transposed": True, "cropped": cropped}
    return AxisReads(period, axis.tile, tuple(offsets), sizes, axis.boundary, **rest)


def pooling_reads_of(pooling: Pooling, input_shape: Shape, number: int) -> AxisReads:
    """Return what the windows of a pooling read on one of its axes."""
    n = input_shape[number + 1]
    if pooling.kernel_shape is None:
        raise SizeBoundError(f"it pools over all {n} samples")
    if pooling.adaptive:
        raise SizeBoundError(f"it has a fixed number of outputs, so that its window of {n} samples depends on the size")
    axis = pooling.geometry(input_shape).axes[number]
    s, span = axis.stride, axis.span
    word = pooling.padding if isinstance(pooling.padding, str | int) else pooling.padding[number]
    follows = isinstance(word, str) and word.startswith("same") and s > 1
    residues = ((s, n % s),) if follows else ()
    declared = replace(pooling, ceil_mode=False) if pooling.ceil_mode else pooling
    low, high = declared.geometry(input_shape).padding[number]
    reads = replace(window_reads_of(axis, high), residues=residues)
    if not pooling.ceil_mode:
        return reads
    return replace(reads, sizes=((1, low + high - span + 2 * s - 1, s), (1, low + s - 1, s)))


def resize_reads_of(resize: Resize, n: int, number: int) -> AxisReads:
    """Return what the outputs of a resize read on one of its axes, of n samples; its scale counts as constant."""
    m = resize.sizes[number]
    scale = None if resize.scales is None else resize.scales[number]
    factor = Fraction(m, n)
    if scale is not None and scale != m / n:
        factor = Fraction(scale)
    p, q = factor.numerator, factor.denominator
    if resize.coordinates == "tf_crop_and_resize":
        raise SizeBoundError("it interpolates a range of the whole axis")
    if factor == 1:
        return AxisReads(1, 1, ((0,),), ((1, 0, 1),))
    if resize.mode == "area":
        raise SizeBoundError(f"it averages {n} samples to {m}, a number of outputs that is fixed")
    if resize.antialias or resize.exclude_outside:
        raise SizeBoundError("the weights of its samples depend on how many lie within the axis")
    if resize.coordinates == "align_corners":
        raise SizeBoundError(f"it aligns corners, so that its scale is {m - 1} to {n - 1} and depends on the size")
    dyadic = scale is not None and Fraction(scale).denominator <= _LARGEST_SCALE
    if m == 1 or max(p, q) > _LARGEST_SCALE or (1 not in (p, q) and not dyadic):
        raise SizeBoundError(f"it resizes {n} samples to {m}, which is not known to be a constant scale")
    if resize.coordinates == "half_pixel_symmetric" and m != n * factor:
        raise SizeBoundError(f"the place of its outputs depends on the size, {n} samples to {m}")
    shift = Fraction(0) if resize.coordinates == "asymmetric" else (1 / factor - 1) / 2
    offsets = tuple(_interpolated(resize, shift + r / factor) for r in range(p))
    least = -(-2 * q // p) if resize.coordinates == "pytorch_half_pixel" else 1
    assumed = ((q, n % q),) if q > 1 else ()
    return AxisReads(p, q, offsets, ((p, 0, q),), "replicate", least, assumed=assumed)


def _interpolated(resize: Resize, position: Fraction) -> tuple[int, ...]:
    """Return the samples, from the period's first one on, that an output at a position is interpolated from."""
    low = math.floor(position)
    if resize.mode in ("linear", "cubic"):
        reach = 1 if resize.mode == "linear" else 2
        return (low,) if position == low else tuple(range(low + 1 - reach, low + 1 + reach))
    half = Fraction(1, 2)
    rounded = {
        "floor": low,
        "ceil": math.ceil(position),
        "round_prefer_floor": math.ceil(position - half),
        "round_prefer_ceil": math.floor(position + half),
    }
    return (rounded[resize.rounding],)


def slice_reads_of(n: int, start: int | None, stop: int | None, step: int | None) -> AxisReads:
    """Return what a slice of an axis of n samples takes; what it crops at each end counts as constant."""
    first, end, advance = slice(start, stop, step).indices(n)
    if advance < 0:
        raise SizeBoundError("it reverses the axis")
    kept, high = end - first, n - end
    if advance == 1 and n in (2 * kept, 3 * kept, 4 * kept) and first % kept == 0:
        raise SizeBoundError(
            f"it takes one of {n // kept} equal parts, {first} to {end} of {n}, which may follow the size; if it crops "
            "fixed amounts, read the network for a larger size"
        )
    assumed = ((advance, n % advance),) if advance > 1 and high > 0 else ()
    sizes = ((1, advance - 1 - first - high, advance),)
    least, axis = first + high + 1, Axis(1, 1, 1, advance, 1, -first)
    return AxisReads(1, advance, ((first,),), sizes, least=least, assumed=assumed, axis=axis)


def padded_reads_of(low: int, high: int, boundary: Boundary) -> AxisReads:
    """Return what an axis that is padded, or cropped where negative, reads."""
    least, axis = max(1 - low - high, _fewest(low, high, boundary)), Axis(1, 1, 1, 1, 1, low, boundary)
    return AxisReads(1, 1, ((-low,),), ((1, low + high, 1),), boundary, least, axis=axis)


def split_reads_of(block: int) -> AxisReads:
    """Return what the blocks of an axis read, each whole."""
    return AxisReads(1, block, (tuple(range(block)),), ((1, 0, block),), least=block, residues=((block, 0),))


def repeated_reads_of(times: int) -> AxisReads:
    """Return what an axis reads if each of its samples is repeated."""
    return AxisReads(times, 1, ((0,),) * times, ((times, 0, 1),))
