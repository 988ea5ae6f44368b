"""Theorems about what stands beside convolutions in a network: biases, functions, pooling, composition."""

from __future__ import annotations

from convmatrix import boundary as boundary_rule
from convmatrix.boundary import Axis
from convmatrix.proofs.catalogue import matrices
from convmatrix.proofs.catalogue.base import Theorem
from convmatrix.proofs.catalogue.rings import STRIDED
from convmatrix.proofs.engines.lemma import Algebra, Condition, Lemma


def _channel_lemma(a: Algebra) -> Condition:
    n, x, c, shift, channel, place = a.integers("n x c shift channel place")
    a.assume(n >= 1, a.within(x, n), a.within(place, n))
    a.assume(a.equal(c * n + boundary_rule.read_sample(x + shift, n, "circular", a.select), channel * n + place))
    return a.equal(c, channel)


def _unit_lemma(a: Algebra) -> Condition:
    n, x = a.integers("n x")
    a.assume(n >= 2, a.within(x, n))
    return a.different(boundary_rule.read_sample(x + 1, n, "circular", a.select), x)


def _entry_lemma(a: Algebra) -> Condition:
    n, x, shift = a.integers("n x shift")
    a.assume(n >= 1, a.within(x, n))
    moved = boundary_rule.read_sample(x - shift, n, "circular", a.select)
    return a.equal(boundary_rule.read_sample(moved + shift, n, "circular", a.select), x)


def _window_lemma(a: Algebra) -> Condition:
    n, k, u, v = a.integers("n k u v")
    a.assume(k >= 1, k < n)
    a.assume(a.different((u - v) % n, 0))
    apart = (u - v) % n
    before = a.both(((u - 1) - v) % n < k, ((u - 1) - u) % n >= k)
    start = a.both((u - u) % n < k, (u - v) % n >= k)
    return a.either(a.both(apart < k, before), a.both(apart >= k, start))


def _start_lemma(a: Algebra) -> Condition:
    m, s, i, b, c = a.integers("m s i b c")
    a.assume(m >= 1, s >= 1)
    axis = Axis(m, s * m, s, s, boundary="circular")
    a.assume(a.equal((axis.position(i + b, 0) - (axis.position(i, 0) + c)) % (s * m), 0))
    return a.equal(c % s, 0)


def _inner_lemma(a: Algebra) -> Condition:
    m, s, z, k, d, p, j, t, c = a.integers("m s z k d p j t c")
    size = z * m
    a.assume(m >= 1, s >= 1, z >= 1, d >= 1, a.within(j, size), a.within(t, k))
    axis = Axis(size, s * size, k, s, d, p, "circular")
    return a.equal(axis.sample((j + z * c) % size, t, a.select), (axis.sample(j, t, a.select) + s * z * c) % (s * size))


def _composed_only_lemma(a: Algebra) -> Condition:
    m, s, z, i, b, c, t, u = a.integers("m s z i b c t u")
    a.assume(m >= 1, s >= 1, z >= 1, a.within(i, m))
    inner = Axis(z * m, s * z * m, 1, s, boundary="circular", pad_low=t)
    outer = Axis(m, z * m, 1, z, boundary="circular", pad_low=u)
    first = inner.position(outer.position(i, 0), 0)
    second = inner.position(outer.position(i + b, 0), 0)
    a.assume(a.equal((second - first - c) % (s * z * m), 0))
    return a.equal(c % (s * z), 0)


THEOREMS = (
    Theorem(
        "elementwise-and-bias",
        "Elementwise functions and biases shared in a channel commute with every shift; a bias a unit does not.",
        r"A function applied to each entry commutes with every permutation, and the addition of one bias a channel "
        r"with "
        r"every shift of the grid. The addition of one bias a unit commutes with the shift by one only if the biases "
        r"are "
        r"equal along it: for independent biases it does not.",
        "n >= 1 units a channel; n >= 2 where a bias a unit fails.",
        r"With $f$ elementwise, $f(y)[q(i)] = f(y[q(i)])$ by definition. Adding $b$ commutes with $q$ if and only if "
        r"$b[q(i)] = b[i]$. A shift keeps the channel, by the first lemma, and so a bias shared in it. Every unit is "
        r"moved "
        r"by the shift by one, by the second, where independent biases differ. The third says that a shift is a "
        r"permutation, undone by its opposite.",
        (
            Lemma(
                "channel",
                "a shifted unit stays in its channel",
                r"c n + (x + a) \bmod n = c' n + x' \implies c = c'",
                _channel_lemma,
                {"n": 4, "x": 3, "c": 2, "shift": 2, "channel": 2, "place": 1},
            ),
            Lemma("unit", "the shift by one moves every unit", r"(x + 1) \bmod n \ne x", _unit_lemma, {"n": 4, "x": 3}),
            Lemma(
                "permutation",
                "a shift is undone by its opposite",
                r"\bigl((x - a) \bmod n + a\bigr) \bmod n = x",
                _entry_lemma,
                {"n": 4, "x": 3, "shift": 2},
            ),
        ),
        matrices.elementwise_and_bias,
    ),
    Theorem(
        "pooling-shift",
        "Average and max pooling with stride s on a ring of s m samples commute exactly with the shifts by multiples "
        "of s.",
        r"Pooling, by the average or the maximum of windows of $k$ neighbours with stride $s$ on a ring of $s m$ "
        r"samples, "
        r"commutes with the shifts by multiples of $s$, and with no others where $k < s m$.",
        "m >= 1, s >= 1; 1 <= k < s m where other shifts fail (a window of the whole ring sees every shift alike).",
        r"The first lemma says that the window of output $i + b$ holds what that of $i$ held, shifted by $s b$: then "
        r"every "
        r"function of a window moves along. Conversely, average and maximum of two windows agree on all inputs only if "
        r"the "
        r"windows hold the same samples: else take the input that is 1 at a sample of the one alone and 0 elsewhere. "
        r"By the "
        r"second lemma windows that start at different places hold different samples: the one before the start of the "
        r"one, "
        r"or its start, tells them apart. By the third, starts agree only for shifts by multiples of $s$.",
        (
            STRIDED,
            Lemma(
                "windows",
                "windows of k < n neighbours that start at different places differ",
                r"u \not\equiv v \pmod n \implies \{u, \dots, u + k - 1\} \ne \{v, \dots, v + k - 1\} \pmod n",
                _window_lemma,
                {"n": 5, "k": 3, "u": 4, "v": 2},
            ),
            Lemma(
                "starts",
                "the window of output i + b starts where that of i does, moved by c, only if s divides c",
                r"s (i + b) \equiv s i + c \pmod{s m} \implies s \mid c",
                _start_lemma,
                {"m": 3, "s": 2, "i": 1, "b": 1, "c": 2},
            ),
        ),
        matrices.pooling_shift,
    ),
    Theorem(
        "stride-composition",
        "Strides multiply: layers with strides s and z, one after the other on rings, commute exactly with the shifts "
        "by "
        "multiples of s z.",
        r"Two circular convolutions with strides $s$ and then $z$, on a ring of $s z m$ samples, commute together "
        r"exactly "
        r"with the shifts by multiples of $s z$, the output moving by $1/(s z)$ of them.",
        "m >= 1, s >= 1, z >= 1; any kernels, dilations and offsets.",
        r"A shift of the input by $s z c$ moves the output of the first layer by $z c$, by the first lemma, and that "
        r"of the "
        r"second by $c$, by the second. Conversely take one tap in each layer: the composition reads a single "
        r"position, and "
        r"by the third lemma its shifts are multiples of $s z$.",
        (
            Lemma(
                "first layer",
                "on the ring of s z m samples, output j + z c reads what output j reads, moved by s z c",
                r"r\bigl((j + z c) \bmod z m,\, t\bigr) = \bigl(r(j, t) + s z c\bigr) \bmod s z m",
                _inner_lemma,
                {"m": 2, "s": 2, "z": 3, "k": 3, "d": 1, "p": 1, "j": 5, "t": 1, "c": 1},
            ),
            STRIDED,
            Lemma(
                "no other shift",
                "if single taps move along with a shift by c, then s z divides c",
                r"s (z (i + b)) \equiv s (z i) + c \pmod{s z m} \implies s z \mid c",
                _composed_only_lemma,
                {"m": 2, "s": 2, "z": 3, "i": 1, "b": 1, "c": 6, "t": 0, "u": 0},
            ),
        ),
        matrices.stride_composition,
    ),
)
