"""Theorems about borders: where zero padding and the other boundaries break shifts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convmatrix import boundary as boundary_rule
from convmatrix.boundary import Axis, Boundary
from convmatrix.equivariance.catalogue import matrices
from convmatrix.equivariance.catalogue.base import Theorem
from convmatrix.equivariance.engines.lemma import Algebra, Condition, Integer, Lemma

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDED: tuple[Boundary, ...] = ("reflect", "symmetric", "replicate")


def _moved_along(a: Algebra, sample: Integer, other: Integer, shift: Integer, size: Integer) -> Condition:
    """Return the condition that two outputs read nothing, or the second one the sample of the first, shifted."""
    nothing = a.both(sample < 0, other < 0)
    return a.either(nothing, a.both(sample >= 0, a.equal(other, (sample + shift) % size)))


def _inside_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, t, c = a.integers("n k d p i t c")
    a.assume(n >= 1, d >= 1, a.within(i, n), a.within(t, k))
    axis = Axis(n, n, k, 1, d, p)
    other = (i + c) % n
    a.assume(a.within(axis.position(i, t), n), a.within(axis.position(other, t), n))
    return a.equal(axis.sample(other, t, a.select), (axis.sample(i, t, a.select) + c) % n)


def _border_tap_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, t = a.integers("n k d p i t")
    a.assume(n >= 2, d >= 1, i >= 1, i < n, a.within(t, k))
    axis = Axis(n, n, k, 1, d, p)
    kept = _moved_along(a, axis.sample(i, t, a.select), axis.sample(i - 1, t, a.select), -1, n)
    at = axis.position(i, t)
    return a.equivalent(kept, a.both(a.different(at, 0), a.different(at, n)))


def _first_row_tap_lemma(a: Algebra) -> Condition:
    n, k, d, p, t = a.integers("n k d p t")
    a.assume(n >= 2, d >= 1, a.within(t, k))
    axis = Axis(n, n, k, 1, d, p)
    kept = _moved_along(a, axis.sample(0, t, a.select), axis.sample(n - 1, t, a.select), -1, n)
    at = axis.position(0, t)
    return a.equivalent(kept, a.either(a.equal(at, 0), at <= -n, at >= n))


def _border_row_lemma(a: Algebra) -> Condition:
    n, k, p, i, t = a.integers("n k p i t")
    a.assume(n >= 2, k >= 2, p >= 0, p < k, i >= 1, i < n, a.within(t, k))
    axis = Axis(n, n, k, pad_low=p)
    low, high = p - i, n + p - i
    return a.both(
        a.implies(i <= p, a.both(a.within(low, k), a.equal(axis.position(i, low), 0))),
        a.implies(i > n + p - k, a.both(a.within(high, k), a.equal(axis.position(i, high), n))),
        a.implies(
            a.either(a.equal(axis.position(i, t), 0), a.equal(axis.position(i, t), n)),
            a.either(i <= p, i > n + p - k),
        ),
    )


def _first_row_lemma(a: Algebra) -> Condition:
    n, k, p = a.integers("n k p")
    a.assume(n >= 2, k >= 2, p >= 0, p < k)
    axis = Axis(n, n, k, pad_low=p)
    witness = a.select(p > 0, p - 1, p + 1)
    at = axis.position(0, witness)
    return a.both(a.within(witness, k), a.either(a.equal(at, 1), a.equal(at, -1)))


def _folded_lemma(boundary: Boundary, place: str) -> Callable[[Algebra], Condition]:
    """Return the lemma of one boundary for positions inside, below or above the input."""

    def lemma(a: Algebra) -> Condition:
        n, position = a.integers("n position")
        a.assume(n >= 3)
        if place == "inside":
            a.assume(position >= 1, position < n)
        elif place == "below":
            a.assume(position <= 0, position > 1 - n)
        else:
            a.assume(position >= n, position < 2 * n - 1)
        sample = boundary_rule.read_sample(position, n, boundary, a.select)
        before = boundary_rule.read_sample(position - 1, n, boundary, a.select)
        kept = a.equal(before, a.select(sample > 0, sample - 1, n - 1))
        return kept if place == "inside" else a.negation(kept)

    return lemma


def _folded_first_row_lemma(boundary: Boundary, position: int) -> Callable[[Algebra], Condition]:
    """Return the lemma that row 0 breaks at a tap next to the centre."""

    def lemma(a: Algebra) -> Condition:
        (n,) = a.integers("n")
        a.assume(n >= 3)
        sample = boundary_rule.read_sample(position, n, boundary, a.select)
        last = boundary_rule.read_sample(position + n - 1, n, boundary, a.select)
        return a.different(last, a.select(sample > 0, sample - 1, n - 1))

    return lemma


def _folded(boundary: Boundary) -> tuple[Lemma, ...]:
    words = {
        "inside": ("a tap at a position from 1 to n - 1 keeps the symmetry", r"1 \le x < n", r"="),
        "below": ("a tap at a position from 2 - n to 0 breaks it", r"1 - n < x \le 0", r"\ne"),
        "above": ("a tap at a position from n to 2 n - 2 breaks it", r"n \le x < 2n - 1", r"\ne"),
    }
    lemmas = [
        Lemma(
            f"{boundary}, {place}",
            text,
            rf"{region} \implies r_{{\text{{{boundary}}}}}(x - 1) {sign} (r_{{\text{{{boundary}}}}}(x) - 1) \bmod n",
            _folded_lemma(boundary, place),
            {"n": 4, "position": {"inside": 2, "below": -1, "above": 5}[place]},
        )
        for place, (text, region, sign) in words.items()
    ]
    first = [
        Lemma(
            f"{boundary}, row 0 at {position}",
            f"row 0 breaks at a tap at position {position}",
            rf"r_{{\text{{{boundary}}}}}(x + n - 1) \ne (r_{{\text{{{boundary}}}}}(x) - 1) \bmod n,\ x = {position}",
            _folded_first_row_lemma(boundary, position),
            {"n": 4},
        )
        for position in (1, -1)
    ]
    return (*lemmas, *first)


_AXIS = {"n": 6, "k": 3, "d": 1, "p": 1, "t": 0}

THEOREMS = (
    Theorem(
        "zero-padding-border",
        "With zero padding, rows whose windows stay inside keep every shift; the shift by one is broken at exactly the "
        "rows i <= p and i >= n + p - k + 1 (p is the low padding, dilation 1).",
        r"Let a convolution with stride 1 map $n$ samples to $n$ outputs, with zero padding $p$ at the low end. The "
        r"commutator with any cyclic shift vanishes on every row that reads, before and after the shift, only inside "
        r"the "
        r"input. For the shift by one, tap $t$ breaks row $i \ge 1$ exactly where $i + t d - p \in \{0, n\}$; so with "
        r"dilation 1 and $k \ge 2$ the support of the commutator is exactly the border rows $i \le p$ and "
        r"$i \ge n + p - k + 1$.",
        "n >= 2, stride 1, as many outputs as samples, 0 <= p <= k - 1; k >= 2 and dilation 1 for the rows.",
        r"Entry by entry the symmetry asks that rows $i$ and $q(i)$ read nothing, or that the second reads the sample "
        r"of "
        r"the first, shifted. The first lemma says that they do inside. The next two say exactly which taps break it, "
        r"in "
        r"the rows from 1 up and in row 0. The last two find such a tap in each border row, and show that there is "
        r"none in "
        r"the others. The weights are independent, so that a broken tap breaks the row.",
        (
            Lemma(
                "inside",
                "where a tap of row i and of row i + c reads inside, the second reads the sample of the first, moved "
                "by c",
                r"0 \le x(i,t),\, x(q,t) < n \implies r(q, t) = (r(i, t) + c) \bmod n,\quad q = (i + c) \bmod n",
                _inside_lemma,
                {**_AXIS, "i": 2, "c": 1},
            ),
            Lemma(
                "border taps",
                "tap t keeps the symmetry in row i >= 1 exactly unless its position is 0 or n",
                r"\text{tap } t \text{ breaks row } i \iff i + t d - p \in \{0, n\}",
                _border_tap_lemma,
                {**_AXIS, "i": 1},
            ),
            Lemma(
                "taps of row 0",
                "tap t keeps the symmetry in row 0 exactly where its position is 0, or n or more away",
                r"\text{tap } t \text{ breaks row } 0 \iff 0 < |t d - p| < n",
                _first_row_tap_lemma,
                _AXIS,
            ),
            Lemma(
                "border rows",
                "row i >= 1 has a tap at position 0 or n exactly if i <= p or i >= n + p - k + 1",
                r"\exists t:\ i + t - p \in \{0, n\} \iff i \le p \text{ or } i \ge n + p - k + 1",
                _border_row_lemma,
                {"n": 6, "k": 3, "p": 1, "i": 1, "t": 0},
            ),
            Lemma(
                "row 0",
                "row 0 has a tap at position 1 or -1",
                r"\exists t:\ t - p = \pm 1",
                _first_row_lemma,
                {"n": 6, "k": 3, "p": 1},
            ),
        ),
        matrices.zero_border,
    ),
    Theorem(
        "padding-border",
        "Reflect, symmetric and replicate padding break the shift by one: tap t breaks row i >= 1 exactly where its "
        "position is 0 or less, or n or more.",
        r"With the boundaries reflect, symmetric and replicate, stride 1 and as many outputs as samples, tap $t$ "
        r"breaks "
        r"the shift by one in row $i \ge 1$ exactly where its position $x = i + t d - p$ has $x \le 0$ or $x \ge n$; "
        r"row "
        r"0 breaks where a tap has $x = \pm 1$.",
        "n >= 3; positions from 2 - n to 2 n - 2, that is padding within one period.",
        r"Rows $i$ and $i - 1$ read at positions $x$ and $x - 1$. The symmetry asks that the second reads the sample "
        r"before that of the first, on the ring. The lemmas decide it for the three places of $x$. Row 0 goes with row "
        r"$n - 1$, whose position is $x + n - 1$.",
        tuple(lemma for boundary in FOLDED for lemma in _folded(boundary)),
        matrices.folded_border,
    ),
)
