"""Theorems about circulant matrices: all that commutes with shifts, products, and Toeplitz blocks."""

from __future__ import annotations

import itertools

from convmatrix import symbolic
from convmatrix.boundary import Axis
from convmatrix.equivariance import actions
from convmatrix.equivariance.sharing import equivariant_pattern
from convmatrix.geometry import ConvGeometry
from convmatrix.proofs.catalogue.contractions import distinct_lemma
from convmatrix.proofs.catalogue.symbol_matrices import Checks, convolved, expands_to, ring, with_weights
from convmatrix.proofs.statements import Algebra, Condition, checked_theorem, lemma


@lemma(
    "normal form",
    "shifting by n - i takes the pair (i, j) to (0, (j - i) mod n)",
    r"(i + (n - i)) \bmod n = 0,\quad (j + (n - i)) \bmod n = (j - i) \bmod n",
    {"n": 5, "i": 4, "j": 1},
)
def _normal_form_lemma(a: Algebra) -> Condition:
    n, i, j = a.integers("n i j")
    a.assume(n >= 1, a.within(i, n), a.within(j, n))
    c = n - i
    return a.both(a.equal((i + c) % n, 0), a.equal((j + c) % n, (j - i) % n))


@lemma(
    "reading",
    "tap (j - i) mod n of output i reads sample j",
    r"r\bigl(i, (j - i) \bmod n\bigr) = j",
    {"n": 5, "i": 4, "j": 1},
)
def _reading_lemma(a: Algebra) -> Condition:
    n, i, j = a.integers("n i j")
    a.assume(n >= 1, a.within(i, n), a.within(j, n))
    axis = Axis(n, n, n, boundary="circular")
    tap = (j - i) % n
    return a.both(a.within(tap, n), a.equal(a.sample(axis, i, tap), j))


@lemma(
    "only tap",
    "no other tap of output i reads sample j",
    r"r(i, t) = j \implies t = (j - i) \bmod n",
    {"n": 5, "i": 4, "j": 1, "t": 2},
)
def _only_tap_lemma(a: Algebra) -> Condition:
    n, i, j, t = a.integers("n i j t")
    a.assume(n >= 1, a.within(i, n), a.within(j, n), a.within(t, n))
    a.assume(a.equal(a.sample(Axis(n, n, n, boundary="circular"), i, t), j))
    return a.equal(t, (j - i) % n)


@lemma(
    "product",
    "tap u read from tap t is tap t + u of the product",
    r"r_B(r_A(i, t), u) = r_{AB}(i, t + u)",
    {"n": 4, "k": 3, "l": 2, "d": 1, "p": 1, "r": 0, "i": 3, "t": 2, "u": 1},
)
def _product_lemma(a: Algebra) -> Condition:
    n, k, length, d, p, r, i, t, u = a.integers("n k l d p r i t u")
    a.assume(n >= 1, d >= 1, a.within(i, n), a.within(t, k), a.within(u, length))
    first, second = Axis(n, n, k, 1, d, p, "circular"), Axis(n, n, length, 1, d, r, "circular")
    both = Axis(n, n, k + length - 1, 1, d, p + r, "circular")
    return a.both(
        a.within(t + u, k + length - 1), a.equal(a.sample(second, a.sample(first, i, t), u), a.sample(both, i, t + u))
    )


@lemma(
    "commuting",
    "the two taps may be read in either order, also with different dilations",
    r"r_B(r_A(i, t), u) = r_A(r_B(i, u), t)",
    {"n": 4, "k": 3, "l": 2, "d": 1, "e": 3, "p": 1, "r": 0, "i": 3, "t": 2, "u": 1},
)
def _commuting_lemma(a: Algebra) -> Condition:
    n, k, length, d, e, p, r, i, t, u = a.integers("n k l d e p r i t u")
    a.assume(n >= 1, d >= 1, e >= 1, a.within(i, n), a.within(t, k), a.within(u, length))
    first, second = Axis(n, n, k, 1, d, p, "circular"), Axis(n, n, length, 1, e, r, "circular")
    one = a.sample(second, a.sample(first, i, t), u)
    return a.equal(one, a.sample(first, a.sample(second, i, u), t))


@lemma(
    "zero padding",
    "output 0 reads nothing at tap 0 and sample 1 at tap 2, output 1 reads sample 0 at tap 0",
    r"r(0, 0) = \varnothing,\quad r(0, 2) = 1,\quad r(1, 0) = 0",
    {"n": 2},
)
def _zero_padded_lemma(a: Algebra) -> Condition:
    (n,) = a.integers("n")
    a.assume(n >= 2)
    axis = Axis(n, n, 3, pad_low=1)
    return a.both(a.sample(axis, 0, 0) < 0, a.equal(a.sample(axis, 0, 2), 1), a.equal(a.sample(axis, 1, 0), 0))


@lemma(
    "compression",
    "sample j < n is read on the axis just where it is read on the ring",
    r"r_{\text{zero}}(i, t) = j \iff r_{\text{ring}}(i, t) = j",
    {"n": 4, "m": 6, "k": 3, "d": 1, "p": 2, "i": 5, "t": 0, "j": 3},
)
def _compression_lemma(a: Algebra) -> Condition:
    n, m, k, d, p, i, t, j = a.integers("n m k d p i t j")
    reach = d * (k - 1)
    a.assume(n >= 1, d >= 1, k >= 1, i >= 0, a.within(t, k), a.within(j, n), p >= 0, p <= reach)
    axis, ring = Axis(m, n, k, 1, d, p), Axis(n + reach, n + reach, k, 1, d, p, "circular")
    a.assume(a.position(axis, i, t) <= n - 1 + reach)
    return a.equivalent(a.equal(a.sample(axis, i, t), j), a.equal(a.sample(ring, i, t), j))


@lemma(
    "range",
    "no position lies below -d (k - 1)",
    r"i + t d - p \ge -d (k - 1)",
    {"k": 3, "d": 1, "p": 2, "i": 5, "t": 0},
)
def _compression_range_lemma(a: Algebra) -> Condition:
    k, d, p, i, t = a.integers("k d p i t")
    a.assume(d >= 1, k >= 1, i >= 0, a.within(t, k), p >= 0, p <= d * (k - 1))
    return a.position(Axis(1, 1, k, 1, d, p), i, t) >= -d * (k - 1)


# --- on explicit matrices of symbols ---


@checked_theorem(
    "circulant-converse",
    "A linear map on a ring that commutes with the shift by one is a circular convolution with a kernel of length n.",
    r"A matrix that commutes with the cyclic shift by one is circulant: it is the circular convolution with its "
    r"first row as the kernel.",
    "n >= 1; the matrix is any n x n matrix, or any such block for each pair of channels. On more axes: it "
    "commutes with the shift by one of each axis.",
    r"Let $M_{ij} = M_{(i+1) \bmod n,\,(j+1) \bmod n}$. Repeating this $n - i$ times, the first lemma gives "
    r"$M_{ij} = M_{0,(j-i) \bmod n}$. With $w_t = M_{0t}$ the other two lemmas say that the circular convolution "
    r"with $n$ taps and no padding has the one weight $w_{(j-i) \bmod n}$ at $(i,j)$, which no other tap has by "
    r"the last lemma. On more axes the same steps are taken axis by axis.",
    (_normal_form_lemma, _reading_lemma, _only_tap_lemma, distinct_lemma),
)
def _circulant_converse_theorem() -> Checks:
    for n in (1, 2, 3, 5):
        step = actions.cyclic_generators(n)
        found = symbolic.matrix(equivariant_pattern(step, step))
        yield f"n = {n}: the general matrix that commutes with the shift", found == ring(n, n, offset=0)
    steps = actions.torus_generators((2, 3))
    full = ConvGeometry((2, 3), (2, 3), padding=[(0, 1), (0, 2)], boundary="circular")
    yield "2 x 3: on two axes", symbolic.matrix(equivariant_pattern(steps, steps)) == symbolic.matrix(full)


@checked_theorem(
    "circulants-commute",
    "Circular convolutions of one channel commute, and those of one dilation multiply by convolution of their "
    "kernels; zero-padded ones do not commute.",
    r"On a ring of $n$ samples, convolutions of one channel with stride 1 and $n$ outputs commute, and the product "
    r"of two with one dilation is the convolution with the convolution of their kernels. Zero-padded convolutions "
    r"do not commute.",
    "n >= 1 samples and outputs on each axis, one channel, stride 1, any kernels; for the product the same "
    "dilations, and both kernels flipped or neither; n >= 2 for the zero-padded counterexample with kernels of "
    "length 3 on one axis, with weights of a ring in which 1 is not 0.",
    r"Row $i$ of the product $AB$ has the term $w_t v_u$ at the sample that tap $u$ of $B$ reads from where tap $t$ of "
    r"$A$ reads. By the first lemma this is what tap $t + u$ reads of a kernel with $\sum_{t+u=x} w_t v_u$ at $x$; by "
    r"the second it is the same for $BA$. With zeros around, let $A$ have only its first and $B$ only its last of "
    r"three taps: row 0 of $AB$ is zero, for $A$ reads nothing there, but $BA$ has $w_0 v_2$ at $(0, 0)$.",
    (_product_lemma, _commuting_lemma, _zero_padded_lemma),
)
def _circulants_commute_theorem() -> Checks:
    for n, k, length in itertools.product((1, 2, 3, 4), (1, 3), (2, 3)):
        low = min(1, k - 1)
        A, B = ring(n, k, offset=low), ring(n, length, "v", offset=0)
        longer = with_weights(
            ring(n, k + length - 1, offset=low), convolved(symbolic.weights(k), symbolic.weights(length, "v"))
        )
        yield f"n = {n}, k = {k}, l = {length}: the product", expands_to(A * B, B * A) and expands_to(A * B, longer)
    for n in (2, 3, 5):
        A = symbolic.matrix(ConvGeometry(n, 3, padding="same"))
        B = symbolic.matrix(ConvGeometry(n, 3, padding="same"), "v")
        w, v = symbolic.weights(3), symbolic.weights(3, "v")
        only = {w[1]: 0, w[2]: 0, v[0]: 0, v[1]: 0}
        one, other = (A * B).subs(only)[0, 0], (B * A).subs(only)[0, 0]
        yield f"n = {n}, zero padding: entry (0, 0) of AB and BA", one == 0 and other == w[0] * v[2]


@checked_theorem(
    "toeplitz-compression",
    "A zero-padded convolution of n samples is a block of the circular one on n + d (k - 1) samples.",
    r"With stride 1, zero padding of at most $d(k-1)$ at either end, and dilation $d$, the (Toeplitz) matrix of a "
    r"convolution is the part of a circulant of size $n + d(k-1)$ in its first $n$ columns: $n + k - 1$ for $d = 1$.",
    "n >= 1, k >= 1, d >= 1, stride 1, zero padding of at most d (k - 1) at each end, on each axis.",
    r"The lemmas compare what both rules read: a position below 0 or from $n$ up reads nothing in the one and, "
    r"taken modulo the size of the ring, a sample from $n$ up in the other. The high padding is at most $d(k-1)$, "
    r"so that positions end at $n - 1 + d(k-1)$.",
    (_compression_lemma, _compression_range_lemma),
)
def _toeplitz_compression_theorem() -> Checks:
    for n, k, d in itertools.product((1, 3, 4), (1, 2, 3), (1, 2)):
        reach = d * (k - 1)
        circulant = ring(n + reach, k, dilation=d, offset=reach)
        layer = ConvGeometry(n, k, dilation=d, padding="full")
        block = circulant.extract(list(range(n + reach)), list(range(n)))
        yield f"n = {n}, k = {k}, d = {d}: the first n columns", block == symbolic.matrix(layer)
