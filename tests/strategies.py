"""Random layers, from a NumPy generator or as a Hypothesis strategy: one recipe for both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from convmatrix.boundary import BOUNDARIES
from convmatrix.geometry import ConvGeometry

if TYPE_CHECKING:
    import numpy as np

Integer = Callable[[int, int], int]
"""Draws an integer between two bounds, both included."""

LARGEST_SAMPLES: Final = {1: 14, 2: 8, 3: 5}
LARGEST_KERNEL: Final = {1: 8, 2: 4, 3: 3}
LARGEST_PRODUCTS: Final = 3000  # multiplications of one layer; more are drawn again


def random_layer(rng: np.random.Generator) -> ConvGeometry:
    """Return a random layer of at most `LARGEST_PRODUCTS` multiplications."""
    while True:
        geometry = draw_layer(lambda low, high: int(rng.integers(low, high, endpoint=True)))
        if count_products(geometry) <= LARGEST_PRODUCTS:
            return geometry


def layers(largest: int = 400) -> st.SearchStrategy[ConvGeometry]:
    """Return a Hypothesis strategy for layers of at most ``largest`` multiplications; it shrinks to small ones."""

    @st.composite
    def strategy(draw: Any) -> ConvGeometry:
        return draw_layer(lambda low, high: draw(st.integers(low, high)))

    return strategy().filter(lambda geometry: count_products(geometry) <= largest)


def count_products(geometry: ConvGeometry) -> int:
    """Return the multiplications of a layer, those with padding counted."""
    positions = geometry.input_shape if geometry.transposed else geometry.output_shape
    return math.prod(
        (*positions, *geometry.kernel_shape, geometry.in_channels, geometry.out_channels // geometry.groups)
    )


def draw_layer(integer: Integer) -> ConvGeometry:
    """Return a layer made of random integers: every field of `ConvGeometry` takes every kind of value."""
    n_axes = integer(1, 3)
    transposed = integer(0, 3) == 3
    samples = [integer(1, LARGEST_SAMPLES[n_axes]) for _ in range(n_axes)]
    kernel = [integer(1, LARGEST_KERNEL[n_axes]) for _ in range(n_axes)]
    stride = [_mostly_one(integer) for _ in range(n_axes)]
    dilation = [_mostly_one(integer) for _ in range(n_axes)]
    options: dict[str, Any] = {"stride": stride, "dilation": dilation, "flip": integer(0, 5) == 5}
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if transposed:
        extra = [integer(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True)]
        lengths = [(n - 1) * s + span + e for n, s, span, e in zip(samples, stride, spans, extra, strict=True)]
        options |= {"transposed": True, "output_padding": extra}
        options["padding"] = [_cropping(integer, length) for length in lengths]
    else:
        options["padding"] = [_padding(integer, n, span, n_axes) for n, span in zip(samples, spans, strict=True)]
    if integer(0, 3) == 3:  # a boundary an axis
        options["boundary"] = [_one_of(integer, BOUNDARIES) for _ in range(n_axes)]
    else:
        options["boundary"] = _one_of(integer, BOUNDARIES if not transposed else ("zero", "zero", *BOUNDARIES))
    options |= _channels(integer)
    geometry = ConvGeometry(samples, kernel, **options)
    kind = integer(0, 11)
    if kind == 11:
        options["sharing"] = "unshared"
    elif kind == 10:
        positions = geometry.input_shape if transposed else geometry.output_shape
        options["sharing"] = [integer(1, min(n + 1, 4)) for n in positions]
    return ConvGeometry(samples, kernel, **options) if kind >= 10 else geometry


def _mostly_one(integer: Integer) -> int:
    return max(integer(-2, 3), 1)


def _one_of(integer: Integer, values: Sequence[str]) -> str:
    return values[integer(0, len(values) - 1)]


def _padding(integer: Integer, samples: int, span: int, n_axes: int) -> str | int | tuple[int, int]:
    """Return any form of padding with which the kernel fits: the words, none, a little, past a period."""
    word = _one_of(integer, ("same", "same_lower", "full", "amounts", "amounts", "amounts"))
    if word != "amounts":
        return word
    largest = (2, 2, span, 2 * samples + 3 if n_axes < 3 else samples + 1)[integer(0, 3)]
    low, high = integer(0, largest), integer(0, largest)
    missing = max(span - samples - low - high, 0)
    return (low + missing, high) if integer(0, 1) else (low, high + missing)


def _cropping(integer: Integer, length: int) -> tuple[int, int]:
    """Return a padding that leaves at least one output of ``length``."""
    low = integer(0, min(length - 1, 4))
    return low, low if integer(0, 1) and 2 * low < length else integer(0, min(length - 1 - low, 4))


def _channels(integer: Integer) -> dict[str, Any]:
    """Return channel counts with groups, or with a connection table."""
    groups = _mostly_one(integer)
    ins, outs = groups * integer(1, 2), groups * integer(1, 2)
    counts = {"in_channels": ins, "out_channels": outs}
    if integer(0, 9) < 9:
        return {**counts, "groups": groups}
    table = [[integer(0, 1) == 1 for _ in range(ins)] for _ in range(outs)]
    table[0][0] = True
    return {**counts, "connections": table}
