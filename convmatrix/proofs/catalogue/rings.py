"""Theorems about rings: the circular boundary, circulants, strides and tiles."""

from __future__ import annotations

from convmatrix.boundary import Axis
from convmatrix.proofs.catalogue import matrices
from convmatrix.proofs.catalogue.base import Theorem
from convmatrix.proofs.engines.lemma import Algebra, Condition, Lemma


def _shift_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, t, c = a.integers("n k d p i t c")
    a.assume(n >= 1, a.within(i, n), a.within(t, k), d >= 1)
    axis = Axis(n, n, k, 1, d, p, "circular")
    return a.equal(axis.sample((i + c) % n, t, a.select), (axis.sample(i, t, a.select) + c) % n)


def _strided_lemma(a: Algebra) -> Condition:
    m, k, s, d, p, i, t, b = a.integers("m k s d p i t b")
    a.assume(m >= 1, s >= 1, a.within(i, m), a.within(t, k), d >= 1)
    axis = Axis(m, s * m, k, s, d, p, "circular")
    return a.equal(axis.sample((i + b) % m, t, a.select), (axis.sample(i, t, a.select) + s * b) % (s * m))


def _strided_only_lemma(a: Algebra) -> Condition:
    m, k, s, d, p, i, t, b, c = a.integers("m k s d p i t b c")
    a.assume(m >= 1, s >= 1, a.within(i, m), a.within(t, k), d >= 1)
    axis = Axis(m, s * m, k, s, d, p, "circular")
    a.assume(a.equal(axis.sample((i + b) % m, t, a.select), (axis.sample(i, t, a.select) + c) % (s * m)))
    return a.equal(c % s, 0)


def _normal_form_lemma(a: Algebra) -> Condition:
    n, i, j = a.integers("n i j")
    a.assume(n >= 1, a.within(i, n), a.within(j, n))
    c = n - i
    return a.both(a.equal((i + c) % n, 0), a.equal((j + c) % n, (j - i) % n))


def _reading_lemma(a: Algebra) -> Condition:
    n, i, j = a.integers("n i j")
    a.assume(n >= 1, a.within(i, n), a.within(j, n))
    axis = Axis(n, n, n, boundary="circular")
    tap = (j - i) % n
    return a.both(a.within(tap, n), a.equal(axis.sample(i, tap, a.select), j))


def _only_tap_lemma(a: Algebra) -> Condition:
    n, i, j, t = a.integers("n i j t")
    a.assume(n >= 1, a.within(i, n), a.within(j, n), a.within(t, n))
    a.assume(a.equal(Axis(n, n, n, boundary="circular").sample(i, t, a.select), j))
    return a.equal(t, (j - i) % n)


def _product_lemma(a: Algebra) -> Condition:
    n, k, length, d, p, r, i, t, u = a.integers("n k l d p r i t u")
    a.assume(n >= 1, d >= 1, a.within(i, n), a.within(t, k), a.within(u, length))
    first, second = Axis(n, n, k, 1, d, p, "circular"), Axis(n, n, length, 1, d, r, "circular")
    both = Axis(n, n, k + length - 1, 1, d, p + r, "circular")
    return a.both(
        a.within(t + u, k + length - 1),
        a.equal(second.sample(first.sample(i, t, a.select), u, a.select), both.sample(i, t + u, a.select)),
    )


def _commuting_lemma(a: Algebra) -> Condition:
    n, k, length, d, e, p, r, i, t, u = a.integers("n k l d e p r i t u")
    a.assume(n >= 1, d >= 1, e >= 1, a.within(i, n), a.within(t, k), a.within(u, length))
    first, second = Axis(n, n, k, 1, d, p, "circular"), Axis(n, n, length, 1, e, r, "circular")
    one = second.sample(first.sample(i, t, a.select), u, a.select)
    return a.equal(one, first.sample(second.sample(i, u, a.select), t, a.select))


def _zero_padded_lemma(a: Algebra) -> Condition:
    (n,) = a.integers("n")
    a.assume(n >= 2)
    axis = Axis(n, n, 3, pad_low=1)
    return a.both(
        axis.sample(0, 0, a.select) < 0,
        a.equal(axis.sample(0, 2, a.select), 1),
        a.equal(axis.sample(1, 0, a.select), 0),
    )


def _compression_lemma(a: Algebra) -> Condition:
    n, m, k, d, p, i, t, j = a.integers("n m k d p i t j")
    reach = d * (k - 1)
    a.assume(n >= 1, d >= 1, k >= 1, i >= 0, a.within(t, k), a.within(j, n), p >= 0, p <= reach)
    axis, ring = Axis(m, n, k, 1, d, p), Axis(n + reach, n + reach, k, 1, d, p, "circular")
    a.assume(axis.position(i, t) <= n - 1 + reach)
    return a.equivalent(a.equal(axis.sample(i, t, a.select), j), a.equal(ring.sample(i, t, a.select), j))


def _compression_range_lemma(a: Algebra) -> Condition:
    k, d, p, i, t = a.integers("k d p i t")
    a.assume(d >= 1, k >= 1, i >= 0, a.within(t, k), p >= 0, p <= d * (k - 1))
    return Axis(1, 1, k, 1, d, p).position(i, t) >= -d * (k - 1)


def _tiled_lemma(a: Algebra) -> Condition:
    g, tile, k, i, t, b = a.integers("g tile k i t b")
    a.assume(g >= 1, tile >= 1, a.within(i, tile * g), a.within(t, k))
    axis = Axis(tile * g, tile * g, k, boundary="circular", tile=tile)
    single = Axis(tile * g, tile * g, 1, boundary="circular", tile=tile)
    moved = (i + tile * b) % (tile * g)
    a.show(a.equal(single.weight(moved, 0), single.weight(i, 0)))
    return a.equal(axis.weight(moved, t), axis.weight(i, t))


def _tiled_only_lemma(a: Algebra) -> Condition:
    g, tile, i, b = a.integers("g tile i b")
    a.assume(g >= 1, tile >= 1, a.within(i, tile * g))
    axis = Axis(tile * g, tile * g, 1, boundary="circular", tile=tile)
    a.assume(a.equal(axis.weight((i + b) % (tile * g), 0), axis.weight(i, 0)))
    return a.equal(b % tile, 0)


def _kernel_lemma(a: Algebra) -> Condition:
    tile, k, i, other, t = a.integers("tile k i other t")
    a.assume(tile >= 1, k >= 1, a.within(t, k))
    axis, single = Axis(1, 1, k, tile=tile), Axis(1, 1, 1, tile=tile)
    a.assume(a.equal(axis.weight(i, t), axis.weight(other, t)))
    return a.equal(single.weight(i, 0), single.weight(other, 0))


_RING = {"n": 5, "k": 3, "d": 2, "p": 1, "i": 4, "t": 2}
_STRIDED = {"m": 3, "k": 4, "s": 2, "d": 1, "p": 1, "i": 2, "t": 3, "b": 1}

SHIFT = Lemma(
    "shift",
    "on a ring of n samples, output i + c reads at each tap the sample that output i reads, moved by c",
    r"r\bigl((i + c) \bmod n,\, t\bigr) = \bigl(r(i, t) + c\bigr) \bmod n",
    _shift_lemma,
    {**_RING, "c": 3},
)
STRIDED = Lemma(
    "strided shift",
    "with stride s on a ring of s m samples, output i + b reads what output i reads, moved by s b",
    r"r\bigl((i + b) \bmod m,\, t\bigr) = \bigl(r(i, t) + s b\bigr) \bmod s m",
    _strided_lemma,
    _STRIDED,
)
STRIDED_ONLY = Lemma(
    "no other shift",
    "if output i + b reads what output i reads, moved by c, then s divides c",
    r"r\bigl((i + b) \bmod m,\, t\bigr) = \bigl(r(i, t) + c\bigr) \bmod s m \implies s \mid c",
    _strided_only_lemma,
    {**_STRIDED, "c": 2},
)

THEOREMS = (
    Theorem(
        "circular-shift",
        "Circular convolution with stride 1 commutes with every cyclic shift, for all weights and on any number of "
        "axes.",
        r"On a ring of $n$ samples, convolution with stride 1 commutes with every cyclic shift, for all weights, "
        r"channels, "
        r"dilations and offsets, on any number of axes.",
        "n >= 1; kernel length k, dilation d >= 1, offset p and shift c are any integers, k longer than the ring "
        "included.",
        r"The tensor $T$ has an entry at output $i$, sample $j$, tap $t$ just where $j = r(i,t)$, the sample that the "
        r"one-axis rule reads. So $T$ is unchanged by shifting outputs and samples by $c$ if and only if $r$ moves "
        r"along, "
        r"which is the lemma. Layers with more axes are products of axes, and channels are dense blocks that a shift "
        r"does "
        r"not touch, so the lemma holds on each axis by itself.",
        (SHIFT,),
        matrices.circular_shift,
    ),
    Theorem(
        "strided-shift",
        "With stride s on a ring of s m samples, exactly the shifts by multiples of s pass, the output moving by shift "
        "/ s.",
        r"With stride $s$ on a ring of $s m$ samples a convolution commutes, for all weights, exactly with the shifts "
        r"by "
        r"multiples of $s$; the output moves by a fraction $1/s$ of the shift.",
        "m >= 1, s >= 1; kernel length, dilation d >= 1 and offset are any integers.",
        r"As for circular shifts, now with outputs on a ring of $m$. Conversely, were $T$ unchanged by some shift $b$ "
        r"of "
        r"the outputs and a shift $c$ of the samples, then any one tap of any one output satisfies the hypothesis of "
        r"the "
        r"second lemma, and $s$ divides $c$.",
        (STRIDED, STRIDED_ONLY),
        matrices.strided_shift,
    ),
    Theorem(
        "circulant-converse",
        "A linear map on a ring that commutes with the shift by one is a circular convolution with a kernel of length "
        "n.",
        r"A matrix that commutes with the cyclic shift by one is circulant: it is the circular convolution with its "
        r"first "
        r"row as the kernel.",
        "n >= 1; the matrix is any n x n matrix. On more axes: it commutes with the shift by one of each axis.",
        r"Let $M_{ij} = M_{(i+1) \bmod n,\,(j+1) \bmod n}$. Repeating this $n - i$ times, the first lemma gives "
        r"$M_{ij} = "
        r"M_{0,(j-i) \bmod n}$. With $w_t = M_{0t}$ the other two lemmas say that the circular convolution with $n$ "
        r"taps "
        r"and no padding has the one weight $w_{(j-i) \bmod n}$ at $(i,j)$. On more axes the same steps are taken axis "
        r"by "
        r"axis.",
        (
            Lemma(
                "normal form",
                "shifting by n - i takes the pair (i, j) to (0, (j - i) mod n)",
                r"(i + (n - i)) \bmod n = 0,\quad (j + (n - i)) \bmod n = (j - i) \bmod n",
                _normal_form_lemma,
                {"n": 5, "i": 4, "j": 1},
            ),
            Lemma(
                "reading",
                "tap (j - i) mod n of output i reads sample j",
                r"r\bigl(i, (j - i) \bmod n\bigr) = j",
                _reading_lemma,
                {"n": 5, "i": 4, "j": 1},
            ),
            Lemma(
                "only tap",
                "no other tap of output i reads sample j",
                r"r(i, t) = j \implies t = (j - i) \bmod n",
                _only_tap_lemma,
                {"n": 5, "i": 4, "j": 1, "t": 2},
            ),
        ),
        matrices.circulant_converse,
    ),
    Theorem(
        "circulants-commute",
        "Circular convolutions commute, and multiply by circular convolution of their kernels; zero-padded ones do not "
        "commute.",
        r"On a ring, convolutions commute, and the product of two with one dilation is the convolution with the "
        r"convolution of their kernels. Zero-padded convolutions do not commute.",
        "n >= 1 for the ring, any kernels; n >= 2 for the zero-padded counterexample with kernels of length 3.",
        r"Row $i$ of the product $AB$ has the term $w_t v_u$ at the sample that tap $u$ of $B$ reads from where tap "
        r"$t$ of "
        r"$A$ reads. By the first lemma this is what tap $t + u$ reads of a kernel with $\sum_{t+u=x} w_t v_u$ at $x$; "
        r"by "
        r"the second it is the same for $BA$. With zeros around, let $A$ have only its first and $B$ only its last of "
        r"three "
        r"taps: row 0 of $AB$ is zero, for $A$ reads nothing there, but $BA$ has $w_0 v_2$ at $(0, 0)$.",
        (
            Lemma(
                "product",
                "tap u read from tap t is tap t + u of the product",
                r"r_B(r_A(i, t), u) = r_{AB}(i, t + u)",
                _product_lemma,
                {"n": 4, "k": 3, "l": 2, "d": 1, "p": 1, "r": 0, "i": 3, "t": 2, "u": 1},
            ),
            Lemma(
                "commuting",
                "the two taps may be read in either order, also with different dilations",
                r"r_B(r_A(i, t), u) = r_A(r_B(i, u), t)",
                _commuting_lemma,
                {"n": 4, "k": 3, "l": 2, "d": 1, "e": 3, "p": 1, "r": 0, "i": 3, "t": 2, "u": 1},
            ),
            Lemma(
                "zero padding",
                "output 0 reads nothing at tap 0 and sample 1 at tap 2, output 1 reads sample 0 at tap 0",
                r"r(0, 0) = \varnothing,\quad r(0, 2) = 1,\quad r(1, 0) = 0",
                _zero_padded_lemma,
                {"n": 2},
            ),
        ),
        matrices.circulants_commute,
    ),
    Theorem(
        "toeplitz-compression",
        "A zero-padded convolution of n samples is a block of the circular one on n + d (k - 1) samples.",
        r"With stride 1, zero padding of at most $d(k-1)$ at either end, and dilation $d$, the (Toeplitz) matrix of a "
        r"convolution is the part of a circulant of size $n + d(k-1)$ in its first $n$ columns: $n + k - 1$ for $d = "
        r"1$.",
        "n >= 1, k >= 1, d >= 1, stride 1, zero padding of at most d (k - 1) at each end.",
        r"The lemmas compare what both rules read: a position below 0 or from $n$ up reads nothing in the one and, "
        r"taken "
        r"modulo the size of the ring, a sample from $n$ up in the other. The high padding is at most $d(k-1)$, so "
        r"that "
        r"positions end at $n - 1 + d(k-1)$.",
        (
            Lemma(
                "compression",
                "sample j < n is read on the axis just where it is read on the ring",
                r"r_{\text{zero}}(i, t) = j \iff r_{\text{ring}}(i, t) = j",
                _compression_lemma,
                {"n": 4, "m": 6, "k": 3, "d": 1, "p": 2, "i": 5, "t": 0, "j": 3},
            ),
            Lemma(
                "range",
                "no position lies below -d (k - 1)",
                r"i + t d - p \ge -d (k - 1)",
                _compression_range_lemma,
                {"k": 3, "d": 1, "p": 2, "i": 5, "t": 0},
            ),
        ),
        matrices.toeplitz_compression,
    ),
    Theorem(
        "tiled-shift",
        "Tiled convolution on a ring commutes exactly with the shifts by multiples of the tile, in outputs.",
        r"A tiled convolution, whose output $i$ uses kernel $i \bmod \tau$, on a ring of $\tau g$ outputs commutes, "
        r"for all "
        r"weights, exactly with the shifts of the output by multiples of $\tau$; with stride $s$ of the input by "
        r"multiples "
        r"of $\tau s$.",
        "g >= 1, tile >= 1, k >= 1; the number of outputs is a multiple of the tile.",
        r"What is read moves along by theorem \texttt{strided-shift}. The weights stay the same if and only if the "
        r"kernel "
        r"that output $i + b$ uses is that of output $i$: the lemmas.",
        (
            STRIDED,
            Lemma(
                "same kernel",
                "outputs a multiple of the tile apart use the same weight",
                r"\omega\bigl((i + \tau b) \bmod \tau g,\, t\bigr) = \omega(i, t)",
                _tiled_lemma,
                {"g": 3, "tile": 2, "k": 3, "i": 5, "t": 1, "b": 2},
            ),
            Lemma(
                "other kernels",
                "outputs that use the same kernel are a multiple of the tile apart",
                r"\bigl((i + b) \bmod \tau g\bigr) \bmod \tau = i \bmod \tau \implies \tau \mid b",
                _tiled_only_lemma,
                {"g": 3, "tile": 2, "i": 5, "b": 4},
            ),
            Lemma(
                "same weight, same kernel",
                "outputs whose weights at a tap are the same use the same kernel",
                r"\omega(i, t) = \omega(i', t) \implies i \bmod \tau = i' \bmod \tau",
                _kernel_lemma,
                {"tile": 2, "k": 3, "i": 5, "other": 1, "t": 1},
            ),
        ),
        matrices.tiled_shift,
    ),
)
