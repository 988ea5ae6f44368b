"""The number of entries of an axis with zero boundary, counted without listing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convmatrix.boundary import Axis


def count_reads(axis: Axis, outputs: tuple[int, int], samples: tuple[int, int]) -> int:
    """Return how many taps of some outputs read some samples inside the input."""
    first = outputs[0] * axis.stride - axis.pad_low  # what tap 0 reads at the first output

    def below(end: int) -> int:
        """Return how many pairs of an output and a tap read a position below ``end``."""
        return _sum_of_quotients(
            end - 1 - first + axis.stride, axis.dilation, axis.n_taps, axis.stride, outputs[1] - outputs[0]
        )

    return below(samples[1]) - below(samples[0])


def _sum_of_quotients(first: int, step: int, count: int, divisor: int, most: int) -> int:
    """Return the sum over t < count of ``(first - t * step) // divisor``, each clipped to 0 .. most."""
    full = min(max((first - most * divisor) // step + 1, 0), count)  # as many terms are clipped to the most
    positive = min(max((first - divisor) // step + 1, full), count)
    total, n = full * most, positive - full
    # The rest, in ascending order, is the number of lattice points below a line, counted as in Euclid's algorithm.
    a, b, m = step, first - (positive - 1) * step, divisor
    while n > 0:
        total += (n - 1) * n // 2 * (a // m) + n * (b // m)
        a, b = a % m, b % m
        top = a * n + b
        n, b, a, m = top // m, top % m, m, a
    return total
