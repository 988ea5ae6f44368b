"""Random layers within what a call offers, in which corner cases are frequent.

Every second layer has a *twist*: one deliberately awkward feature, such as a kernel longer than the input, drawn from
those that the call can have. A layer is a function of a seed and its number alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from convmatrix.conformance.layer_cases import LayerCase, simplest_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from convmatrix.boundary import Boundary
    from convmatrix.conformance.offers import Offers

LONGEST_AXIS: Final = {1: 16, 2: 9, 3: 5}
LONGEST_KERNEL: Final = {1: 7, 2: 4, 3: 3}
MOST_PRODUCTS: Final = 6000
"""Multiplications of one layer; larger ones are drawn again."""


def plain_case(input_shape: Sequence[int], kernel_shape: Sequence[int], **options: Any) -> LayerCase:
    """Return a case with simple options except for those given; for examples and tests.

    Examples
    --------
    >>> print(plain_case((4, 4), (2, 2), stride=(2, 1)))
    input 1x1x4x4, kernel 1x1x2x2, stride=(2, 1), float64
    """
    simple: dict[str, Any] = {"call": "conv", "padding": "valid", "transposed": False, "dtype": "float64"}
    simple |= simplest_options(len(input_shape))
    return LayerCase(input_shape=tuple(input_shape), kernel_shape=tuple(kernel_shape), **simple | options)


def draw_case(name: str, offers: Offers, rng: np.random.Generator) -> LayerCase:
    """Return a random layer for a call with this name; raise ValueError if its offers contradict each other.

    Examples
    --------
    >>> import numpy as np
    >>> from convmatrix.conformance.offers import declared_offers
    >>> offers = declared_offers(["stride", "channels"])
    >>> print(draw_case("mine", offers, np.random.default_rng(5)))
    input 1x2x2x2x5, kernel 2x2x2x2x2, stride=(1, 3, 1), float64
    """
    for _ in range(2000):
        case = _Draft(offers, rng).case(name)
        if case is not None and offers.allow(case) and _products(case) <= MOST_PRODUCTS:
            return case
    raise ValueError(f"no layer was found that {name} offers in 2000 draws; its options contradict each other")


def _products(case: LayerCase) -> int:
    channels = case.in_channels * case.out_channels // case.groups
    return math.prod((*case.geometry.positions, *case.kernel_shape, channels, max(case.batch, 1)))


class _Draft:
    """The parts of a layer, drawn one after another; twists change them before they are put together."""

    def __init__(self, offers: Offers, rng: np.random.Generator) -> None:
        self.offers, self.rng = offers, rng
        self.transposed = bool(self.one_of(offers.transposed))
        n = self.n_axes = int(self.one_of(offers.axes))
        longest = min(n, 3)
        self.samples = [self.integer(1, LONGEST_AXIS[longest]) for _ in range(n)]
        self.taps = [self.integer(1, LONGEST_KERNEL[longest]) for _ in range(n)]
        self.stride = [self.steps("stride") for _ in range(n)]
        self.dilation = [self.steps("dilation") for _ in range(n)]
        self.kind = str(self.one_of(offers.paddings))
        self.widest = self.integer(1, 3)  # amounts of padding are up to this
        self.batch = self.integer(1, 3) if self.has("batch") and self.one_in(2) else 1
        self.groups, self.ins, self.outs = 1, 1, 1
        if self.has("channels") and self.one_in(3, 2):
            self.groups = self.integer(2, 4) if self.has("groups") and self.one_in(2) else 1
            self.ins, self.outs = (self.groups * self.integer(1, 3) for _ in range(2))
        self.extra_outputs = [0] * n
        if self.has("output_padding") and self.transposed and self.one_in(2):
            self.extra_outputs = [self.integer(0, self.most_extra(axis)) for axis in range(n)]
        if self.one_in(2):
            self.one_of(_TWISTS)(self, self.integer(0, n - 1))

    # --- draws -------------------------------------------------------------------------------------------------------

    def integer(self, low: int, high: int) -> int:
        """Return an integer from low .. high."""
        return int(self.rng.integers(low, high, endpoint=True))

    def one_in(self, n: int, times: int = 1) -> bool:
        """Return True once in n times, or ``times`` in n."""
        return self.integer(1, n) <= times

    def one_of(self, values: Sequence[Any]) -> Any:
        """Return one of the values."""
        return values[self.integer(0, len(values) - 1)]

    def has(self, switch: str) -> bool:
        """Return whether the call has an option."""
        return switch in self.offers.switches

    def steps(self, switch: str) -> int:
        """Return a stride or a dilation: 1 where the call has none, and half of the time."""
        return max(self.integer(-2, 3), 1) if self.has(switch) else 1

    def span(self, axis: int) -> int:
        """Return the samples from the first to the last tap."""
        return self.dilation[axis] * (self.taps[axis] - 1) + 1

    def most_extra(self, axis: int) -> int:
        """Return the largest output padding."""
        return max(self.stride[axis], self.dilation[axis]) - 1

    # --- twists ------------------------------------------------------------------------------------------------------

    def long_kernel(self, axis: int) -> None:
        """Make the kernel longer than the input."""
        self.samples[axis] = max(self.span(axis) - self.integer(1, 3), 1)

    def long_stride(self, axis: int) -> None:
        """Make the stride longer than the kernel."""
        if self.has("stride"):
            self.stride[axis] = self.span(axis) + self.integer(1, 2)

    def one_sample(self, axis: int) -> None:
        """Leave one sample."""
        self.samples[axis] = 1

    def one_tap(self, axis: int) -> None:
        """Leave one tap on every axis."""
        self.taps = [1] * self.n_axes

    def exact_fit(self, axis: int) -> None:
        """Make the kernel as long as the input."""
        self.samples[axis] = self.span(axis)

    def dilated_word(self, axis: int) -> None:
        """Give a word for the padding of a dilated layer with an even kernel."""
        words = [kind for kind in self.offers.paddings if kind not in ("valid", "even", "pairs", "centred")]
        if words:
            self.kind = self.one_of(words)
        if self.has("dilation"):
            self.dilation[axis] = self.integer(2, 3)
        self.taps[axis] = 2 * self.integer(1, 2)

    def depthwise(self, axis: int) -> None:
        """Give every channel a group of its own."""
        if self.has("groups") and self.has("channels"):
            self.groups = self.ins = self.integer(2, 6)
            self.outs = self.groups * self.integer(1, 2)

    def wide_padding(self, axis: int) -> None:
        """Pad past a period of the input."""
        self.widest = self.samples[axis] + self.integer(1, 4)

    def many_channels(self, axis: int) -> None:
        """Use as many channels as a vector unit has lanes, on a small input."""
        if self.has("channels"):
            self.groups = self.one_of((1, 1, 2)) if self.has("groups") else 1
            self.ins, self.outs = self.one_of(((8, 8), (16, 8), (4, 16), (16, 16), (3, 16)))
            self.groups = math.gcd(self.groups, self.ins)
            self.samples = [min(size, 4) for size in self.samples]

    def many_samples(self, axis: int) -> None:
        """Use a batch large enough for other algorithms."""
        if self.has("batch"):
            self.batch = self.one_of((8, 16, 17))

    def long_axis(self, axis: int) -> None:
        """Make one axis longer than a vector or a block."""
        self.samples = [min(size, 4) for size in self.samples]
        self.samples[axis] = self.integer(17, 70)

    def most_output_padding(self, axis: int) -> None:
        """Give one axis the largest output padding, and the others none."""
        if self.has("output_padding") and self.transposed:
            if self.has("stride"):
                self.stride[axis] = self.integer(2, 4)
            self.extra_outputs = [0] * self.n_axes
            self.extra_outputs[axis] = self.most_extra(axis)

    # --- the layer ---------------------------------------------------------------------------------------------------

    def case(self, name: str) -> LayerCase | None:
        """Return the layer, or None if no padding fits."""
        boundary: tuple[Boundary, ...] = (self.one_of(self.offers.boundaries),) * self.n_axes
        if self.offers.mixed and self.one_in(3):
            boundary = tuple(self.one_of(self.offers.boundaries) for _ in boundary)
        padding = self.padding()
        return LayerCase(
            call=name,
            batch=self.batch,
            in_channels=self.ins,
            out_channels=self.outs,
            input_shape=tuple(self.samples),
            kernel_shape=tuple(self.taps),
            stride=tuple(self.stride),
            dilation=tuple(self.dilation),
            padding=padding,
            boundary=boundary,
            groups=self.groups,
            output_padding=tuple(self.extra_outputs),
            transposed=self.transposed,
            flip=bool(self.one_of(self.offers.flips)),
            bias=self.has("bias") and self.one_in(2),
            dtype=str(self.one_of(self.offers.dtypes)),
            settings=tuple((key, self.one_of(values)) for key, values in self.offers.settings.items()),
        )

    def padding(self) -> str | tuple[tuple[int, int], ...]:
        """Return a word, or amounts that fit; samples are added where no padding may help."""
        if self.kind in ("same", "same_lower", "full"):
            return self.kind
        amounts = [self.amounts(axis) for axis in range(self.n_axes)]
        for axis, (low, high) in enumerate(amounts):
            missing = self.span(axis) - self.samples[axis] - low - high
            if self.transposed or missing <= 0:
                continue
            if self.kind == "pairs":
                amounts[axis] = (low + missing, high) if self.one_in(2) else (low, high + missing)
            elif self.kind == "even":
                amounts[axis] = (low + (missing + 1) // 2,) * 2
            else:
                self.samples[axis] += missing
        return "valid" if self.kind == "valid" else tuple(amounts)

    def amounts(self, axis: int) -> tuple[int, int]:
        """Return the padding of one axis, of the kind that was drawn."""
        if self.kind == "valid":
            return 0, 0
        if self.kind == "centred":
            low = self.integer(0, self.span(axis) - 1)
            return low, self.span(axis) - 1 - low
        most = self.widest
        if self.transposed:  # at least one output is left
            length = (self.samples[axis] - 1) * self.stride[axis] + self.span(axis) + self.extra_outputs[axis]
            most = min(most, (length - 1) // 2)
        low = self.integer(0, most)
        if self.kind == "even":
            return low, low
        return ((low, self.integer(0, most)), (0, low), (low, 0))[self.integer(0, 2)]


_TWISTS: Final = (
    _Draft.long_kernel,
    _Draft.long_stride,
    _Draft.one_sample,
    _Draft.one_tap,
    _Draft.exact_fit,
    _Draft.dilated_word,
    _Draft.depthwise,
    _Draft.wide_padding,
    _Draft.many_channels,
    _Draft.many_samples,
    _Draft.long_axis,
    _Draft.most_output_padding,
)
