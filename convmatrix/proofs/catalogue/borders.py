"""Theorems about borders: where boundaries break shifts, and what the antireflective one continues."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import sympy

from convmatrix import symbolic
from convmatrix.boundary import Axis, Boundary
from convmatrix.geometry import ConvGeometry
from convmatrix.proofs.catalogue.contractions import distinct_lemma
from convmatrix.proofs.catalogue.symbol_matrices import Checks, broken, kernel_of
from convmatrix.proofs.statements import Algebra, Condition, Integer, Lemma, checked_theorem, lemma

FOLDED: tuple[Boundary, ...] = ("reflect", "symmetric", "replicate")
_ANYWHERE = {"n": 4, "position": -3}
_AXIS = {"n": 6, "k": 3, "d": 1, "p": 1, "t": 0}


def _moved_along(a: Algebra, sample: Integer, other: Integer, shift: Integer, size: Integer) -> Condition:
    """Return the condition that two outputs read nothing, or that the second reads the shifted sample of the first."""
    nothing = a.both(sample < 0, other < 0)
    return a.either(nothing, a.both(sample >= 0, a.equal(other, (sample + shift) % size)))


@lemma(
    "any shift",
    "a tap keeps the symmetry in row i exactly where it reads inside both in rows i and i - c, or in neither",
    r"\text{tap } t \text{ keeps row } i \iff \bigl(0 \le x(i,t) < n \iff 0 \le x(q,t) < n\bigr),\quad q = (i - c) "
    r"\bmod n",
    {**_AXIS, "i": 2, "c": 1},
)
def _any_shift_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, t, c = a.integers("n k d p i t c")
    a.assume(n >= 1, d >= 1, a.within(i, n), a.within(t, k))
    axis = Axis(n, n, k, 1, d, p)
    other = (i - c) % n
    kept = _moved_along(a, a.sample(axis, i, t), a.sample(axis, other, t), -c, n)
    inside, other_inside = a.within(a.position(axis, i, t), n), a.within(a.position(axis, other, t), n)
    return a.equivalent(kept, a.equivalent(inside, other_inside))


@lemma(
    "border taps",
    "tap t keeps the symmetry in row i >= 1 exactly unless its position is 0 or n",
    r"\text{tap } t \text{ breaks row } i \iff i + t d - p \in \{0, n\}",
    {**_AXIS, "i": 1},
)
def _border_tap_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, t = a.integers("n k d p i t")
    a.assume(n >= 2, d >= 1, i >= 1, i < n, a.within(t, k))
    axis = Axis(n, n, k, 1, d, p)
    kept = _moved_along(a, a.sample(axis, i, t), a.sample(axis, i - 1, t), -1, n)
    at = a.position(axis, i, t)
    return a.equivalent(kept, a.both(a.different(at, 0), a.different(at, n)))


@lemma(
    "taps of row 0",
    "tap t keeps the symmetry in row 0 exactly where its position is 0, or n or more away",
    r"\text{tap } t \text{ breaks row } 0 \iff 0 < |t d - p| < n",
    _AXIS,
)
def _first_row_tap_lemma(a: Algebra) -> Condition:
    n, k, d, p, t = a.integers("n k d p t")
    a.assume(n >= 2, d >= 1, a.within(t, k))
    axis = Axis(n, n, k, 1, d, p)
    kept = _moved_along(a, a.sample(axis, 0, t), a.sample(axis, n - 1, t), -1, n)
    at = a.position(axis, 0, t)
    return a.equivalent(kept, a.either(a.equal(at, 0), at <= -n, at >= n))


@lemma(
    "border rows",
    "row i >= 1 has a tap at position 0 or n exactly if i <= p or i >= n + p - k + 1",
    r"\exists t:\ i + t - p \in \{0, n\} \iff i \le p \text{ or } i \ge n + p - k + 1",
    {"n": 6, "k": 3, "p": 1, "i": 1, "t": 0},
)
def _border_row_lemma(a: Algebra) -> Condition:
    n, k, p, i, t = a.integers("n k p i t")
    a.assume(n >= 2, k >= 2, p >= 0, p < k, i >= 1, i < n, a.within(t, k))
    axis = Axis(n, n, k, pad_low=p)
    low, high = p - i, n + p - i
    return a.both(
        a.implies(i <= p, a.both(a.within(low, k), a.equal(a.position(axis, i, low), 0))),
        a.implies(i > n + p - k, a.both(a.within(high, k), a.equal(a.position(axis, i, high), n))),
        a.implies(
            a.either(a.equal(a.position(axis, i, t), 0), a.equal(a.position(axis, i, t), n)),
            a.either(i <= p, i > n + p - k),
        ),
    )


@lemma("row 0", "row 0 has a tap at position 1 or -1", r"\exists t:\ t - p = \pm 1", {"n": 6, "k": 3, "p": 1})
def _first_row_lemma(a: Algebra) -> Condition:
    n, k, p = a.integers("n k p")
    a.assume(n >= 2, k >= 2, p >= 0, p < k)
    axis = Axis(n, n, k, pad_low=p)
    witness = a.select(p > 0, p - 1, p + 1)
    at = a.position(axis, 0, witness)
    return a.both(a.within(witness, k), a.either(a.equal(at, 1), a.equal(at, -1)))


def _period(a: Algebra, boundary: Boundary, size: Integer) -> Integer:
    """Return the period of a boundary, written as in the one-axis rule."""
    return 2 * size if boundary == "symmetric" else a.select(size > 1, 2 * size - 2, 1)


_SMALLEST: dict[Boundary, int] = {"reflect": 3, "symmetric": 3, "replicate": 2}
_PHASE: dict[Boundary, tuple[str, str]] = {
    "reflect": ("x mod (2 n - 2)", r"x \bmod (2n - 2)"),
    "symmetric": ("x mod 2 n", r"x \bmod 2n"),
    "replicate": ("x", "x"),
}


def _folded_lemma(boundary: Boundary, kept: bool) -> Lemma:
    """Return the lemma of one boundary for the positions that keep the shift by one, or for the others."""
    words, place = _PHASE[boundary]
    before, after = rf"r_{{\text{{{boundary}}}}}(x - 1)", rf"(r_{{\text{{{boundary}}}}}(x) - 1) \bmod n"

    @lemma(
        f"{boundary}, {'kept' if kept else 'broken'}",
        f"a tap at a position x with {words} from 1 to n - 1 keeps the symmetry"
        if kept
        else "a tap at any other position breaks it",
        rf"1 \le {place} < n \implies {before} = {after}"
        if kept
        else rf"\lnot\,(1 \le {place} < n) \implies {before} \ne {after}",
        {"n": 4, "position": 2 if kept else -1},
    )
    def build(a: Algebra) -> Condition:
        n, position = a.integers("n position")
        a.assume(n >= _SMALLEST[boundary])
        periodic = boundary != "replicate"
        period = _period(a, boundary, n) if periodic else n
        phase = position % period if periodic else position
        rising = a.both(phase >= 1, phase < n)
        a.assume(rising if kept else a.negation(rising))
        if periodic:
            a.show(a.equal((position - 1) % period, a.select(phase > 0, phase - 1, period - 1)))
        sample = a.read_sample(position, n, boundary)
        before = a.read_sample(position - 1, n, boundary)
        moves_along = a.equal(before, a.select(sample > 0, sample - 1, n - 1))
        return moves_along if kept else a.negation(moves_along)

    return build


def _folded_first_row_lemma(boundary: Boundary, position: int) -> Lemma:
    rule = rf"r_{{\text{{{boundary}}}}}"

    @lemma(
        f"{boundary}, row 0 at {position}",
        f"row 0 breaks at a tap at position {position}",
        rf"{rule}(x + n - 1) \ne ({rule}(x) - 1) \bmod n,\ x = {position}",
        {"n": 4},
    )
    def build(a: Algebra) -> Condition:
        (n,) = a.integers("n")
        a.assume(n >= _SMALLEST[boundary])
        sample = a.read_sample(position, n, boundary)
        last = a.read_sample(position + n - 1, n, boundary)
        return a.different(last, a.select(sample > 0, sample - 1, n - 1))

    return build


def _folded(boundary: Boundary) -> tuple[Lemma, ...]:
    own = [_folded_lemma(boundary, kept) for kept in (True, False)]
    return (*own, *(_folded_first_row_lemma(boundary, position) for position in (1, -1)))


@lemma("constants", "the coefficients of what is read at a position sum to one", r"\sum_l c_l(x) = 1", _ANYWHERE)
def constants_lemma(a: Algebra) -> Condition:
    """Return the claim that an antireflective axis continues constants as they are."""
    n, position = a.integers("n position")
    a.assume(n >= 1)
    (_, first), (_, second), (_, third) = a.read_terms(position, n, "antireflect")
    return a.equal(first + second + third, 1)


@lemma(
    "ramps",
    "the samples that are read, each times its coefficient, sum to the position",
    r"n \ge 2 \implies \sum_l c_l(x)\, j_l(x) = x",
    _ANYWHERE,
)
def ramp_lemma(a: Algebra) -> Condition:
    """Return the claim that an antireflective axis continues ramps as they are."""
    n, position = a.integers("n position")
    a.assume(n >= 2)
    (inner, one), (low, second), (high, third) = a.read_terms(position, n, "antireflect")
    return a.equal(one * inner + second * low + third * high, position)


@lemma(
    "inside",
    "all samples that are read exist, and a position inside reads the sample there and nothing else",
    r"0 \le j_l(x) < n;\quad 0 \le x < n \implies j_0 = x,\ c_0 = 1,\ c_1 = c_2 = 0",
    _ANYWHERE,
)
def _inside_lemma(a: Algebra) -> Condition:
    n, position = a.integers("n position")
    a.assume(n >= 1)
    (inner, sign), *rest = a.read_terms(position, n, "antireflect")
    alone = a.both(a.equal(inner, position), a.equal(sign, 1), *(a.equal(factor, 0) for _, factor in rest))
    return a.both(
        a.within(inner, n), *(a.within(sample, n) for sample, _ in rest), a.implies(a.within(position, n), alone)
    )


# --- on explicit matrices of symbols ---


@checked_theorem(
    "zero-padding-border",
    "With zero padding, a tap keeps a shift in a row exactly where it reads inside before and after, or outside before "
    "and after; so a row keeps a shift if its window and that of the row it is compared with stay inside. The shift by "
    "one is broken at exactly the rows i <= p and i >= n + p - k + 1 (p is the low padding, dilation 1).",
    r"Let a convolution with stride 1 map $n$ samples to $n$ outputs, with zero padding $p$ at the low end. The "
    r"commutator with the cyclic shift by $c$ has a tap in row $i$ exactly where that tap reads inside the input "
    r"in one of the rows $i$ and $(i - c) \bmod n$ and outside in the other: it vanishes on row $i$ if the windows "
    r"of both rows stay inside. For the shift by one, tap $t$ breaks row $i \ge 1$ exactly where $i + t d - p \in "
    r"\{0, n\}$; so with dilation 1 and $k \ge 2$ the support of the commutator is exactly the border rows $i \le "
    r"p$ and $i \ge n + p - k + 1$.",
    "stride 1, as many outputs as samples. For the taps n >= 1, any dilation d >= 1, padding and shift, on any "
    "number of axes; for the rows one axis, n >= 2, k >= 2, dilation 1, 0 <= p <= k - 1.",
    r"Entry by entry the symmetry asks that rows $i$ and $q(i)$ read nothing, or that the second reads the sample "
    r"of the first, shifted. The first lemma says which taps do. The next two say it for the shift by one in the "
    r"rows from 1 up and in row 0, by position. The last two find such a tap in each border row, and show that "
    r"there is none in the others. By the lemma on weights no other tap has the weight of a broken tap, which "
    r"therefore breaks the row.",
    (_any_shift_lemma, _border_tap_lemma, _first_row_tap_lemma, _border_row_lemma, _first_row_lemma, distinct_lemma),
)
def _zero_border_theorem() -> Checks:
    for n, k in itertools.product((2, 3, 4, 6), (2, 3, 4)):
        for p in range(k):
            A = symbolic.matrix(ConvGeometry(n, k, padding=[(p, k - 1 - p)]))
            expected = {0} | {i for i in range(1, n) if i <= p or i >= n + p - k + 1}
            yield f"n = {n}, k = {k}, p = {p}: rows {sorted(expected)} break", broken(A, 1, 1) == expected
    for n, k, d, p in ((5, 3, 1, 1), (6, 2, 3, 3), (7, 3, 2, 0)):
        A = symbolic.matrix(ConvGeometry(n, k, dilation=d, padding=[(p, d * (k - 1) - p)]))
        for c in range(n):
            inside = [{t for t in range(k) if 0 <= i + t * d - p < n} for i in range(n)]
            expected = {i for i in range(n) if inside[i] != inside[(i - c) % n]}
            yield f"n = {n}, k = {k}, d = {d}, p = {p}, shift {c}: rows {sorted(expected)}", broken(A, c, c) == expected


@checked_theorem(
    "padding-border",
    "With reflect, symmetric and replicate padding of any amount, tap t keeps the shift by one in row i >= 1 "
    "exactly where its position x = i + t d - p has x mod (2 n - 2), x mod 2 n or x itself from 1 to n - 1; a "
    "layer with another tap in one of these rows does not commute with the shift.",
    r"With the boundaries reflect, symmetric and replicate, stride 1, as many outputs as samples and any padding, "
    r"tap $t$ of row $i \ge 1$, at position $x = i + t d - p$, keeps the shift by one exactly where $1 \le \pi < "
    r"n$ for $\pi = x \bmod (2n - 2)$, $\pi = x \bmod 2n$ and $\pi = x$; within one period of padding these are "
    r"the positions from $1$ to $n - 1$. A layer with another tap does not commute with the shift. Row 0 breaks "
    r"where a tap has $x = \pm 1$.",
    "one axis, stride 1, as many outputs as samples; n >= 2 for replicate, n >= 3 for reflect and symmetric (on "
    "two samples reflect is circular); any kernel length, dilation and padding.",
    r"Rows $i$ and $i - 1$ read at positions $x$ and $x - 1$. The symmetry asks that the second reads the sample "
    r"before that of the first, on the ring. The lemmas decide it for every $x$. Row 0 goes with row $n - 1$, "
    r"whose position is $x + n - 1$. By the last lemma no other tap has the weight of a broken tap.",
    (*(lemma for boundary in FOLDED for lemma in _folded(boundary)), distinct_lemma),
)
def _folded_border_theorem() -> Checks:
    for boundary, n, k in itertools.product(("reflect", "symmetric", "replicate"), (2, 3, 4, 6), (2, 3, 9)):
        if n == 2 and boundary != "replicate":
            continue
        period = {"reflect": 2 * n - 2, "symmetric": 2 * n, "replicate": 100}[boundary]
        for p in range(k):
            A = symbolic.matrix(ConvGeometry(n, k, padding=[(p, k - 1 - p)], boundary=boundary))
            at = {i: [i + t - p for t in range(k)] for i in range(n)}
            expected = {0} | {i for i in range(1, n) if any(not 1 <= x % period < n for x in at[i])}
            yield f"{boundary}, n = {n}, k = {k}, p = {p}: rows {sorted(expected)}", broken(A, 1, 1) == expected


@checked_theorem(
    "affine-continuation",
    "The antireflective boundary continues constants and ramps as they are: a layer maps affine inputs to what a "
    "convolution of the unbounded grid maps them to, up to the very border.",
    r"Let the boundary of every axis be antireflective, and let $x$ be a product of one function $\alpha + \beta "
    r"j$ of the sample $j$ on each axis, with a factor $u_h$ in each channel $h$. Then output $i$ is the sum over "
    r"channels and taps of $w\, u_h$ times the product of the values $\alpha + \beta\, x(i, t)$ at the positions "
    r"$x(i, t) = i s + t d - p$, inside or outside. So is every sum of such inputs.",
    "n >= 2 on each axis, or n = 1 and slope 0 there; any padding, stride, dilation, kernel, tiles, channels, "
    "groups, on any number of axes.",
    r"At each position the boundary reads $\sum_l c_l\, x_{j_l}$. By the first lemma the coefficients sum to one, "
    r"and by the second $\sum_l c_l\, j_l$ is the position: so $\sum_l c_l (\alpha + \beta j_l) = \alpha + \beta\, "
    r"x(i, t)$. On more axes the terms of one axis are read in those of the others, which multiplies the values. "
    r"By the last lemma the samples exist, and inside nothing is changed.",
    (constants_lemma, ramp_lemma, _inside_lemma),
)
def _affine_continuation_theorem() -> Checks:
    for layer in (
        ConvGeometry(4, 3, padding=[(2, 1)], boundary="antireflect"),
        ConvGeometry(2, 3, padding=[(4, 5)], boundary="antireflect", flip=True),  # beyond one period
        ConvGeometry(5, 2, padding=3, stride=2, dilation=3, boundary="antireflect", in_channels=2, out_channels=2),
        ConvGeometry(5, 2, padding=2, boundary="antireflect", sharing=2),
        ConvGeometry((3, 2), (2, 3), padding=(1, 2), boundary="antireflect"),
    ):
        A, n_axes = symbolic.matrix(layer), len(layer.input_shape)
        w = kernel_of(layer)
        numbers = sympy.symbols(f"a:{n_axes} b:{n_axes}")
        constants, slopes = numbers[:n_axes], numbers[n_axes:]

        def value(place: Any, constants: Any = constants, slopes: Any = slopes) -> Any:
            factors = (c + s * int(x) for c, s, x in zip(constants, slopes, place, strict=True))
            return sympy.prod(list(factors))

        x = sympy.Matrix([(h + 1) * value(j) for h in range(layer.in_channels) for j in np.ndindex(*layer.input_shape)])
        found, rows = A * x, itertools.product(range(layer.out_channels), np.ndindex(*layer.output_shape))
        same = True
        for row, (o, i) in enumerate(rows):
            kernel = tuple(place % axis.tile for place, axis in zip(i, layer.axes, strict=True))
            own = w[kernel] if layer.sharing != "shared" else w
            expected = sum(
                (h + 1)
                * own[(o, h, *t)]
                * value([axis.position(p, u) for axis, p, u in zip(layer.axes, i, t, strict=True)])
                for h in range(layer.in_channels)
                for t in np.ndindex(*layer.kernel_shape)
            )
            same = same and sympy.expand(found[row] - expected) == 0
        yield f"{layer!r}: affine inputs continue as they are", same
