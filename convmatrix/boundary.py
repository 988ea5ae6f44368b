"""The one-axis rule: which input sample tap t of output i reads, and how many outputs there are.

Every matrix and every proof of the package rests on this module. On one axis

    position = i * stride + t * dilation - pad_low

and the axis's boundary rule maps a position outside ``[0, size)`` to a sample, to nothing, or to a few samples with
fixed coefficients. A layer with several axes is the product of its axes, so the rule is written only once.

The rule and the formulas of sizes use only ``+ - * // %``, comparisons and a choice between two values. The same code
therefore runs on Python integers and NumPy index arrays, to build matrices, and on SymPy expressions, the integers of
an SMT solver and terms of Coq, to prove theorems about it. Only the choice depends on the kind of integer: see
``select`` in `read_sample`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]

Boundary = Literal["zero", "circular", "reflect", "symmetric", "replicate", "antireflect", "antisymmetric"]
"""How an axis continues beyond its ends."""

BOUNDARIES: Final[tuple[Boundary, ...]] = get_args(Boundary)

SIGNED: Final[tuple[Boundary, ...]] = ("antireflect", "antisymmetric")
"""The boundaries that continue an axis by samples with coefficients other than 1; see `read_terms`."""

PLAIN: Final[tuple[Boundary, ...]] = tuple(boundary for boundary in BOUNDARIES if boundary not in SIGNED)
"""The boundaries that read one sample or none at each position; see `read_sample`."""

LARGEST_AXIS: Final = 2**62
"""Axes are shorter than this, because index arithmetic is int64."""

NOTHING: Final = -1
"""The result of `read_sample` beyond a zero boundary, where no sample is read."""

# An integer of any kind: int, numpy.ndarray, or one of the engines of convmatrix.proofs.
Integer = Any
Select = Callable[[Any, Integer, Integer], Integer]


def choose(condition: Any, then: Integer, otherwise: Integer) -> Integer:
    """Return ``then`` where the condition holds, else ``otherwise``; elementwise for arrays."""
    if isinstance(condition, np.ndarray):
        return np.where(condition, then, otherwise)
    return then if condition else otherwise


def tap_position(output: Integer, tap: Integer, stride: Integer, dilation: Integer, pad_low: Integer) -> Integer:
    """Return the position that a tap reads, ``output * stride + tap * dilation - pad_low``.

    Positions count from the first input sample: negative ones lie in the low padding, ``size`` and above in the high.

    Examples
    --------
    >>> tap_position(output=0, tap=2, stride=2, dilation=1, pad_low=1)
    1
    """
    return output * stride + tap * dilation - pad_low


def read_sample(position: Integer, size: Integer, boundary: Boundary, select: Select = choose) -> Integer:
    """Return the sample that is read at a position on an axis of ``size`` samples, or `NOTHING`.

    ============= ============================== ==========================================
    boundary      ``... | a b c d | ...``        sample at position p
    ============= ============================== ==========================================
    ``zero``      ``0 0 | a b c d | 0 0``        p inside, else nothing
    ``circular``  ``c d | a b c d | a b``        p mod n
    ``reflect``   ``c b | a b c d | c b``        min(q, 2(n-1) - q),  q = p mod 2(n-1)
    ``symmetric`` ``b a | a b c d | d c``        min(q, 2n - 1 - q),  q = p mod 2n
    ``replicate`` ``a a | a b c d | d d``        min(max(p, 0), n - 1)
    ============= ============================== ==========================================

    Every rule applies to all positions, however far outside. On an axis of one sample, ``reflect`` reads that sample.

    Parameters
    ----------
    position, size : integers of any kind
        Python or NumPy integers, index arrays, SymPy expressions, SMT integers; ``size >= 1``.
    boundary : {"zero", "circular", "reflect", "symmetric", "replicate"}
        A signed boundary has no single sample with coefficient 1 at a position: use `read_terms`.
    select : callable, optional
        ``select(condition, then, otherwise)``. The default is for integers and arrays; symbolic engines pass their own,
        such as ``z3.If`` or a function that returns a ``sympy.Piecewise``.

    Examples
    --------
    >>> import numpy as np
    >>> positions = np.arange(-2, 6)
    >>> for boundary in PLAIN:
    ...     print(f"{boundary:10}", read_sample(positions, 4, boundary))
    zero       [-1 -1  0  1  2  3 -1 -1]
    circular   [2 3 0 1 2 3 0 1]
    reflect    [2 1 0 1 2 3 2 1]
    symmetric  [1 0 0 1 2 3 3 2]
    replicate  [0 0 0 1 2 3 3 3]
    """
    if boundary == "zero":
        return select(position < 0, NOTHING, select(position < size, position, NOTHING))
    if boundary == "circular":
        return position % size
    if boundary == "replicate":
        return select(position < 0, 0, select(position < size, position, size - 1))
    if boundary == "symmetric":
        phase = position % (2 * size)
        return select(phase < size, phase, 2 * size - 1 - phase)
    if boundary == "reflect":
        # For one sample the period 2(n-1) would be 0; with period 1, sample 0 is read.
        period = select(size > 1, 2 * size - 2, 1)
        phase = position % period
        return select(phase < size, phase, period - phase)
    if boundary in SIGNED:
        raise ValueError(f"boundary {boundary!r} reads samples with coefficients, not one sample; use read_terms")
    raise ValueError(f"unknown boundary {boundary!r}; choose one of {', '.join(BOUNDARIES)}")


Term = tuple[Integer, Integer]
"""A sample and its coefficient."""


def read_terms(position: Integer, size: Integer, boundary: Boundary, select: Select = choose) -> tuple[Term, ...]:
    r"""Return the (sample, coefficient) terms whose sum is read at a position on an axis of ``size`` samples.

    ================= ====================================== ==========================================
    boundary          ``... | a b c d | ...``                terms at position p
    ================= ====================================== ==========================================
    ``antisymmetric`` ``-b -a | a b c d | -d -c``            the sample of ``symmetric``, with the sign
                                                             :math:`(-1)^{\lfloor p / n \rfloor}`
    ``antireflect``   ``2a-c 2a-b | a b c d | 2d-c 2d-b``    with q = p mod 2(n-1), t = p div 2(n-1):
                                                             -2t a, and (q, 1) and 2t d if q < n, else
                                                             (2(n-1) - q, -1) and (2t + 2) d
    other             see `read_sample`                      its sample, with the coefficient 1
    ================= ====================================== ==========================================

    The number of terms depends on the boundary alone: three for ``antireflect``, otherwise one. Terms may have the
    coefficient 0, and several terms may be on one sample, where their coefficients add up. For index arrays, samples
    and coefficients broadcast against the positions. ``antireflect`` is
    `numpy.pad` with ``mode="reflect"`` and ``reflect_type="odd"``: the point reflection of the axis in its end samples
    (S. Serra-Capizzano, A note on antireflective boundary conditions and fast deblurring models, SIAM J. Sci. Comput.
    25, 2004), for any number of periods. On an axis of one sample it reads that sample.

    Parameters
    ----------
    position, size : integers of any kind
        As for `read_sample`.
    boundary : Boundary
    select : callable, optional
        As for `read_sample`.

    Returns
    -------
    tuple of (sample, coefficient)
        The sample is `NOTHING` beyond a zero boundary.

    Examples
    --------
    >>> read_terms(-1, 4, "antisymmetric")
    ((0, -1),)
    >>> read_terms(-1, 4, "antireflect")
    ((1, -1), (0, 2), (3, 0))
    """
    if boundary == "antisymmetric":
        mirrored = read_sample(position, size, "symmetric", select)
        return ((mirrored, select(position % (2 * size) < size, 1, -1)),)
    if boundary == "antireflect":
        # For one sample the period 2(n-1) would be 0; without turns, sample 0 is read.
        period = select(size > 1, 2 * size - 2, 1)
        turns = select(size > 1, position // period, 0)
        phase = position % period
        inner = (select(phase < size, phase, period - phase), select(phase < size, 1, -1))
        return inner, (0, -2 * turns), (size - 1, 2 * turns + select(phase < size, 0, 2))
    return ((read_sample(position, size, boundary, select), 1),)


@dataclass(frozen=True)
class Axis:
    """One spatial axis of a convolution, with all parameters of the one-axis rule.

    The parameters may be integers of any kind, including symbols. They are not validated here but by `ConvGeometry`.

    Attributes
    ----------
    n_outputs, n_samples, n_taps : int
        Number of outputs, of input samples and of kernel taps.
    stride, dilation, pad_low : int
        As in `tap_position`.
    boundary : Boundary
    flip : bool
        Whether the kernel is reversed (the mathematician's convolution).
    tile : int
        Number of kernels: output i uses kernel ``i % tile``. 1 if all outputs share it.
    """

    n_outputs: Integer
    n_samples: Integer
    n_taps: Integer
    stride: Integer = 1
    dilation: Integer = 1
    pad_low: Integer = 0
    boundary: Boundary = "zero"
    flip: bool = False
    tile: Integer = 1

    def sample(self, output: Integer, tap: Integer, select: Select = choose) -> Integer:
        """Return the sample that a tap of an output reads, or `NOTHING`; for signed boundaries use `terms`.

        Examples
        --------
        >>> Axis(n_outputs=4, n_samples=4, n_taps=3, pad_low=1, boundary="circular").sample(output=0, tap=0)
        3
        """
        return read_sample(self.position(output, tap), self.n_samples, self.boundary, select)

    def terms(self, output: Integer, tap: Integer, select: Select = choose) -> tuple[Term, ...]:
        """Return the (sample, coefficient) terms that a tap of an output reads; see `read_terms`.

        Examples
        --------
        >>> Axis(n_outputs=4, n_samples=4, n_taps=3, pad_low=1, boundary="antireflect").terms(output=0, tap=0)
        ((1, -1), (0, 2), (3, 0))
        """
        return read_terms(self.position(output, tap), self.n_samples, self.boundary, select)

    def position(self, output: Integer, tap: Integer) -> Integer:
        """Return the position that a tap of an output reads, which may be outside the input."""
        if self.flip:
            tap = self.n_taps - 1 - tap
        return tap_position(output, tap, self.stride, self.dilation, self.pad_low)

    def weight(self, output: Integer, tap: Integer) -> Integer:
        """Return the index of the weight that an output uses at a tap, one of the ``tile * n_taps`` of this axis."""
        return (output % self.tile) * self.n_taps + tap

    def entries(self, outputs: Indices, taps: Indices) -> tuple[Indices, Indices, Indices, Indices]:
        """Return what taps of outputs read, as arrays: place in ``outputs``, tap, sample and coefficient of each entry.

        Entries are ordered by output, tap and sample. Terms of a tap on one sample are added, and those that cancel are
        left out.

        Examples
        --------
        >>> axis = Axis(n_outputs=4, n_samples=4, n_taps=2, pad_low=1, boundary="antireflect")
        >>> [array.tolist() for array in axis.entries(np.array([0]), np.arange(2))]
        [[0, 0, 0], [0, 0, 1], [0, 1, 0], [2, -1, 1]]
        """
        grid = (len(outputs), len(taps))
        terms = self.terms(outputs[:, None], taps)
        if len(terms) == 1:
            sample, factor = (np.broadcast_to(part, grid) for part in terms[0])
            places, used = np.nonzero(sample != NOTHING)
            return places, taps[used], sample[places, used], factor[places, used]
        samples, factors = (
            np.stack([np.broadcast_to(part, grid) for part in parts], axis=-1) for parts in zip(*terms, strict=True)
        )
        places, used, _ = np.nonzero(factors)
        keys, factors = np.stack([places, used, samples[factors != 0]]), factors[factors != 0]
        order = np.lexsort(keys[::-1])
        keys, factors = keys[:, order], factors[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
        starts = np.flatnonzero(new)
        sums = np.add.reduceat(factors, starts) if len(starts) else factors
        places, used, merged = keys[:, starts[sums != 0]]
        return places, taps[used], merged, sums[sums != 0]

    @property
    def span(self) -> Integer:
        """Number of samples from the first to the last tap of an output, ``(n_taps - 1) * dilation + 1``."""
        return (self.n_taps - 1) * self.dilation + 1

    def reach(self, n_outputs: Integer) -> Integer:
        """Return the number of positions from the first to the last one that consecutive outputs read."""
        return (n_outputs - 1) * self.stride + self.span

    @property
    def inner_outputs(self) -> tuple[int, int]:
        """The range (first, end) of outputs whose taps all read inside the input; only for integers.

        Examples
        --------
        >>> Axis(n_outputs=5, n_samples=5, n_taps=3, pad_low=1).inner_outputs
        (1, 4)
        """
        first = min(max(-(-self.pad_low // self.stride), 0), self.n_outputs)
        end = (self.n_samples - self.span + self.pad_low) // self.stride + 1
        return first, max(min(end, self.n_outputs), first)


# --- sizes of outputs ---------------------------------------------------------------------------------------------


def forward_outputs(size: Integer, span: Integer, stride: Integer, low: Integer, high: Integer) -> Integer:
    """Return the number of outputs of a convolution, ``(size + low + high - span) // stride + 1``.

    Examples
    --------
    >>> forward_outputs(size=7, span=3, stride=2, low=1, high=1)
    4
    """
    return (size + low + high - span) // stride + 1


def forward_padding(
    word: str, size: Integer, span: Integer, stride: Integer, select: Select = choose
) -> tuple[Integer, Integer]:
    """Return the (low, high) padding of a convolution for "same", "same_lower", "full" or "valid".

    Examples
    --------
    >>> forward_padding("same", size=7, span=4, stride=1), forward_padding("same_lower", size=7, span=4, stride=1)
    ((1, 2), (2, 1))
    """
    if word == "full":
        return span - 1, span - 1
    if word == "valid":
        return 0, 0
    total = (-(-size // stride) - 1) * stride + span - size
    return _split(select(total > 0, total, 0), word)


def transposed_outputs(
    size: Integer, span: Integer, stride: Integer, low: Integer, high: Integer, extra: Integer
) -> Integer:
    """Return the number of outputs of a transposed convolution, ``(size - 1) stride + span - low - high + extra``.

    Examples
    --------
    >>> transposed_outputs(size=4, span=3, stride=2, low=1, high=1, extra=0)
    7
    """
    return (size - 1) * stride + span - low - high + extra


def transposed_padding(
    word: str,
    size: Integer,
    span: Integer,
    stride: Integer,
    extra: Integer,
    select: Select = choose,
    outputs: Integer | None = None,
) -> tuple[Integer, Integer, Integer]:
    """Return the (low, high) padding and the output padding of a transposed convolution for a word.

    "same" and "same_lower" give the wanted number of ``outputs``, by default ``size * stride``.

    Examples
    --------
    >>> transposed_padding("same", size=4, span=4, stride=1, extra=0)
    (1, 2, 0)
    >>> transposed_padding("same", size=4, span=1, stride=2, extra=0)
    (0, 0, 1)
    >>> transposed_padding("same", size=62, span=16, stride=8, extra=0, outputs=489)
    (7, 8, 0)
    """
    if word == "full":
        return span - 1, span - 1, extra
    if word == "valid":
        return 0, 0, extra
    total = (size - 1) * stride + span + extra - (size * stride if outputs is None else outputs)
    low, high = _split(select(total > 0, total, 0), word)
    # A kernel shorter than the stride leaves the last outputs without a tap.
    return low, high, extra + select(total < 0, -total, 0)


def _split(total: Integer, word: str) -> tuple[Integer, Integer]:
    """Return the (low, high) padding; "same" puts the odd sample at the high end, "same_lower" at the low end."""
    half = total // 2
    return (half, total - half) if word == "same" else (total - half, half)


def forward_axis(
    axis: int, size: int, span: int, kernel: str, stride: int, padding: str | tuple[int, int], _: int
) -> tuple[int, int, int, int]:
    """Return (low padding, high padding, output padding, number of outputs) of one axis of a convolution."""
    low, high = padding if isinstance(padding, tuple) else forward_padding(padding, size, span, stride)
    padded = size + low + high
    if span > padded:
        raise ValueError(
            f"kernel does not fit on axis {axis}: it spans {span} samples ({kernel}), "
            f"but the padded input has {padded} (input_shape[{axis}]={size}, padding=({low}, {high})); "
            "increase padding or shrink the kernel"
        )
    if padded >= LARGEST_AXIS:
        raise ValueError(
            f"axis {axis} has {padded} padded samples, but index arithmetic is 64-bit and holds sizes below 2**62; "
            "shrink the input or the padding"
        )
    return low, high, 0, forward_outputs(size, span, stride, low, high)


def transposed_axis(
    axis: int, size: int, span: int, kernel: str, stride: int, padding: str | tuple[int, int], extra: int
) -> tuple[int, int, int, int]:
    """Return (low padding, high padding, output padding, number of outputs) of one axis of a transposed convolution."""
    if isinstance(padding, tuple):
        low, high = padding
    else:
        low, high, extra = transposed_padding(padding, size, span, stride, extra)
    outputs = transposed_outputs(size, span, stride, low, high, extra)
    full = (size - 1) * stride + span + extra
    if outputs < 1:
        raise ValueError(
            f"transposed layer has no outputs on axis {axis}: padding=({low}, {high}) crops {low + high} of "
            f"{full} samples (input_shape[{axis}]={size}, stride={stride}, {kernel}); reduce the padding"
        )
    if full >= LARGEST_AXIS:
        raise ValueError(
            f"axis {axis} has {full} samples, but index arithmetic is 64-bit and holds sizes below 2**62; "
            "shrink the input or the stride"
        )
    return low, high, extra, outputs


def sized_padding(
    axis: int,
    outputs: int,
    size: int,
    span: int,
    kernel: str,
    stride: int,
    padding: str | tuple[int, int],
    extra: int,
    most: int,
) -> tuple[tuple[int, int], int]:
    """Return the padding and the output padding, at most ``most``, of one axis of a transposed layer of given size.

    The paddings "same" and "same_lower" crop the excess. With any other padding, the output padding follows.

    Examples
    --------
    >>> layer = {"axis": 0, "size": 62, "span": 16, "kernel": "kernel_shape[0]=16", "stride": 8, "most": 7}
    >>> sized_padding(outputs=489, padding="same", extra=0, **layer)
    ((7, 8), 0)
    >>> sized_padding(outputs=489, padding=(8, 8), extra=0, **layer)
    ((8, 8), 1)
    """
    if padding in ("same", "same_lower"):
        low, high, more = transposed_padding(padding, size, span, stride, extra, outputs=outputs)
    else:
        low, high = padding if isinstance(padding, tuple) else transposed_padding(padding, size, span, stride, 0)[:2]
        more = outputs - transposed_outputs(size, span, stride, low, high, 0)
    least = transposed_outputs(size, span, stride, low, high, 0)
    layer = f"padding=({low}, {high}), input_shape[{axis}]={size}, stride={stride}, {kernel}"
    if more < 0 or (more > most and more != extra):
        remedy = f"add {-more} to the padding" if more < 0 else f"the layer reaches {least + most}, by output padding"
        raise ValueError(
            f"output_shape[{axis}]={outputs} is impossible: the transposed layer has {least} outputs on axis {axis} "
            f"({layer}); {remedy}" + (", or leave it out: it then follows from output_shape" if more < 0 else "")
        )
    if extra not in (0, more):
        raise ValueError(
            f"output_padding[{axis}]={extra} gives {least + extra} outputs on axis {axis}, but output_shape[{axis}]="
            f"{outputs} ({layer}); give one of the two, or padding='same'"
        )
    return (low, high), more
