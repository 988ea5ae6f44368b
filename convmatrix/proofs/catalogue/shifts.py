"""Theorems about shifts on rings: which shifts layers, pooling, functions and compositions commute with."""

from __future__ import annotations

import itertools

import sympy

from convmatrix import symbolic
from convmatrix.boundary import Axis
from convmatrix.equivariance import actions
from convmatrix.equivariance.checks import check
from convmatrix.equivariance.sized_operations import AddedBias, WindowPooling
from convmatrix.geometry import ConvGeometry
from convmatrix.proofs.catalogue.contractions import distinct_lemma, kernel_lemma
from convmatrix.proofs.catalogue.symbol_matrices import Checks, permuted, ring, ring_geometry, shifted, with_weights
from convmatrix.proofs.statements import Algebra, Condition, checked_theorem, lemma

_RING = {"n": 5, "k": 3, "d": 2, "p": 1, "i": 4, "t": 2}
_STRIDED = {"m": 3, "k": 4, "s": 2, "d": 1, "p": 1, "i": 2, "t": 3, "b": 1}


@lemma(
    "shift",
    "on a ring of n samples, output i + c reads at each tap the sample that output i reads, moved by c",
    r"r\bigl((i + c) \bmod n,\, t\bigr) = \bigl(r(i, t) + c\bigr) \bmod n",
    {**_RING, "c": 3},
)
def _shift_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, t, c = a.integers("n k d p i t c")
    a.assume(n >= 1, a.within(i, n), a.within(t, k), d >= 1)
    axis = Axis(n, n, k, 1, d, p, "circular")
    return a.equal(a.sample(axis, (i + c) % n, t), (a.sample(axis, i, t) + c) % n)


@lemma(
    "strided shift",
    "with stride s on a ring of s m samples, output i + b reads what output i reads, moved by s b",
    r"r\bigl((i + b) \bmod m,\, t\bigr) = \bigl(r(i, t) + s b\bigr) \bmod s m",
    _STRIDED,
)
def _strided_lemma(a: Algebra) -> Condition:
    m, k, s, d, p, i, t, b = a.integers("m k s d p i t b")
    a.assume(m >= 1, s >= 1, a.within(i, m), a.within(t, k), d >= 1)
    axis = Axis(m, s * m, k, s, d, p, "circular")
    return a.equal(a.sample(axis, (i + b) % m, t), (a.sample(axis, i, t) + s * b) % (s * m))


@lemma(
    "no other shift",
    "if output i + b reads what output i reads, moved by c, then s divides c",
    r"r\bigl((i + b) \bmod m,\, t\bigr) = \bigl(r(i, t) + c\bigr) \bmod s m \implies s \mid c",
    {**_STRIDED, "c": 2},
)
def _strided_only_lemma(a: Algebra) -> Condition:
    m, k, s, d, p, i, t, b, c = a.integers("m k s d p i t b c")
    a.assume(m >= 1, s >= 1, a.within(i, m), a.within(t, k), d >= 1)
    axis = Axis(m, s * m, k, s, d, p, "circular")
    a.assume(a.equal(a.sample(axis, (i + b) % m, t), (a.sample(axis, i, t) + c) % (s * m)))
    return a.equal(c % s, 0)


@lemma(
    "same kernel",
    "outputs a multiple of the tile apart use the same weight",
    r"\omega\bigl((i + \tau b) \bmod \tau g,\, t\bigr) = \omega(i, t)",
    {"g": 3, "tile": 2, "k": 3, "i": 5, "t": 1, "b": 2},
)
def _tiled_lemma(a: Algebra) -> Condition:
    g, tile, k, i, t, b = a.integers("g tile k i t b")
    a.assume(g >= 1, tile >= 1, a.within(i, tile * g), a.within(t, k))
    axis = Axis(tile * g, tile * g, k, boundary="circular", tile=tile)
    single = Axis(tile * g, tile * g, 1, boundary="circular", tile=tile)
    moved = (i + tile * b) % (tile * g)
    a.show(a.equal(a.weight(single, moved, 0), a.weight(single, i, 0)))
    return a.equal(a.weight(axis, moved, t), a.weight(axis, i, t))


@lemma(
    "other kernels",
    "outputs that use the same kernel are a multiple of the tile apart",
    r"\bigl((i + b) \bmod \tau g\bigr) \bmod \tau = i \bmod \tau \implies \tau \mid b",
    {"g": 3, "tile": 2, "i": 5, "b": 4},
)
def _tiled_only_lemma(a: Algebra) -> Condition:
    g, tile, i, b = a.integers("g tile i b")
    a.assume(g >= 1, tile >= 1, a.within(i, tile * g))
    axis = Axis(tile * g, tile * g, 1, boundary="circular", tile=tile)
    a.assume(a.equal(a.weight(axis, (i + b) % (tile * g), 0), a.weight(axis, i, 0)))
    return a.equal(b % tile, 0)


@lemma(
    "channel",
    "a shifted unit stays in its channel",
    r"c n + (x + a) \bmod n = c' n + x' \implies c = c'",
    {"n": 4, "x": 3, "c": 2, "shift": 2, "channel": 2, "place": 1},
)
def _channel_lemma(a: Algebra) -> Condition:
    n, x, c, shift, channel, place = a.integers("n x c shift channel place")
    a.assume(n >= 1, a.within(x, n), a.within(place, n))
    a.assume(a.equal(c * n + a.read_sample(x + shift, n, "circular"), channel * n + place))
    return a.equal(c, channel)


@lemma("unit", "the shift by one moves every unit", r"(x + 1) \bmod n \ne x", {"n": 4, "x": 3})
def _unit_lemma(a: Algebra) -> Condition:
    n, x = a.integers("n x")
    a.assume(n >= 2, a.within(x, n))
    return a.different(a.read_sample(x + 1, n, "circular"), x)


@lemma(
    "permutation",
    "a shift is undone by its opposite",
    r"\bigl((x - a) \bmod n + a\bigr) \bmod n = x",
    {"n": 4, "x": 3, "shift": 2},
)
def _entry_lemma(a: Algebra) -> Condition:
    n, x, shift = a.integers("n x shift")
    a.assume(n >= 1, a.within(x, n))
    moved = a.read_sample(x - shift, n, "circular")
    return a.equal(a.read_sample(moved + shift, n, "circular"), x)


@lemma(
    "members",
    "tap t < k <= n of a window reads sample z exactly if z lies t places after the start of the window",
    r"r(i, t) = z \iff t = \bigl(z - x(i, 0)\bigr) \bmod n",
    {"m": 3, "n": 6, "k": 3, "s": 2, "p": 1, "i": 1, "t": 1, "z": 2},
)
def _members_lemma(a: Algebra) -> Condition:
    m, n, k, s, p, i, t, z = a.integers("m n k s p i t z")
    a.assume(n >= 1, k <= n, a.within(t, k), a.within(z, n))
    axis = Axis(m, n, k, s, pad_low=p, boundary="circular")
    return a.equivalent(a.equal(a.sample(axis, i, t), z), a.equal(t, (z - a.position(axis, i, 0)) % n))


@lemma(
    "windows",
    "windows of k < n neighbours that start at different places differ",
    r"u \not\equiv v \pmod n \implies \{u, \dots, u + k - 1\} \ne \{v, \dots, v + k - 1\} \pmod n",
    {"n": 5, "k": 3, "u": 4, "v": 2},
)
def _window_lemma(a: Algebra) -> Condition:
    n, k, u, v = a.integers("n k u v")
    a.assume(k >= 1, k < n)
    a.assume(a.different((u - v) % n, 0))
    apart = (u - v) % n
    before = a.both(((u - 1) - v) % n < k, ((u - 1) - u) % n >= k)
    start = a.both((u - u) % n < k, (u - v) % n >= k)
    return a.either(a.both(apart < k, before), a.both(apart >= k, start))


@lemma(
    "starts",
    "the window of output i + b starts where that of i does, moved by c, only if s divides c",
    r"s (i + b) \equiv s i + c \pmod{s m} \implies s \mid c",
    {"m": 3, "s": 2, "i": 1, "b": 1, "c": 2},
)
def _start_lemma(a: Algebra) -> Condition:
    m, s, i, b, c = a.integers("m s i b c")
    a.assume(m >= 1, s >= 1)
    axis = Axis(m, s * m, s, s, boundary="circular")
    a.assume(a.equal((a.position(axis, i + b, 0) - (a.position(axis, i, 0) + c)) % (s * m), 0))
    return a.equal(c % s, 0)


@lemma(
    "first layer",
    "on the ring of s z m samples, output j + z c reads what output j reads, moved by s z c",
    r"r\bigl((j + z c) \bmod z m,\, t\bigr) = \bigl(r(j, t) + s z c\bigr) \bmod s z m",
    {"m": 2, "s": 2, "z": 3, "k": 3, "d": 1, "p": 1, "j": 5, "t": 1, "c": 1},
)
def _inner_lemma(a: Algebra) -> Condition:
    m, s, z, k, d, p, j, t, c = a.integers("m s z k d p j t c")
    size = z * m
    a.assume(m >= 1, s >= 1, z >= 1, d >= 1, a.within(j, size), a.within(t, k))
    axis = Axis(size, s * size, k, s, d, p, "circular")
    return a.equal(a.sample(axis, (j + z * c) % size, t), (a.sample(axis, j, t) + s * z * c) % (s * size))


@lemma(
    "no other shift",
    "if single taps move along with a shift by c, then s z divides c",
    r"s (z (i + b)) \equiv s (z i) + c \pmod{s z m} \implies s z \mid c",
    {"m": 2, "s": 2, "z": 3, "i": 1, "b": 1, "c": 6, "t": 0, "u": 0},
)
def _composed_only_lemma(a: Algebra) -> Condition:
    m, s, z, i, b, c, t, u = a.integers("m s z i b c t u")
    a.assume(m >= 1, s >= 1, z >= 1, a.within(i, m))
    inner = Axis(z * m, s * z * m, 1, s, boundary="circular", pad_low=t)
    outer = Axis(m, z * m, 1, z, boundary="circular", pad_low=u)
    first = a.position(inner, a.position(outer, i, 0), 0)
    second = a.position(inner, a.position(outer, i + b, 0), 0)
    a.assume(a.equal((second - first - c) % (s * z * m), 0))
    return a.equal(c % (s * z), 0)


# --- on explicit matrices of symbols ---


@checked_theorem(
    "circular-shift",
    "Circular convolution with stride 1 and as many outputs as samples commutes with every cyclic shift, for all "
    "weights and on any number of axes.",
    r"On a ring of $n$ samples, convolution with stride 1 and $n$ outputs commutes with every cyclic shift, for "
    r"all weights, channels, dilations and offsets, on any number of axes.",
    "n >= 1 samples and outputs; kernel length k, dilation d >= 1, offset p and shift c are any integers; k may be "
    "longer than the ring.",
    r"The tensor $T$ has an entry at output $i$, sample $j$, tap $t$ just where $j = r(i,t)$, the sample that the "
    r"one-axis rule reads. So $T$ is unchanged by shifting outputs and samples by $c$ if and only if $r$ moves "
    r"along, which is the lemma. Layers with more axes are products of axes, and channels are dense blocks that a "
    r"shift does not touch, so the lemma holds on each axis by itself.",
    (_shift_lemma,),
)
def _circular_shift_theorem() -> Checks:
    for n, k, d in itertools.product((1, 2, 3, 5), (1, 2, 3, 7), (1, 2)):
        A = ring(n, k, dilation=d)
        holds = all(shifted(A, c, c) == A for c in range(n))
        yield f"n = {n}, k = {k}, d = {d}: every shift leaves the matrix alone", holds
    layer = ConvGeometry((3, 4), (2, 3), in_channels=2, out_channels=2, padding="same", boundary="circular")
    A = symbolic.matrix(layer)
    for amount in ((1, 0), (0, 1), (2, 3)):
        q = actions.shift((3, 4), amount, channels=2)
        yield f"3 x 4, two channels, shift {amount}", permuted(A, q, q) == A


@checked_theorem(
    "strided-shift",
    "With stride s on a ring of s m samples, exactly the shifts by multiples of s pass, the output moving by "
    "shift / s.",
    r"With stride $s$ on a ring of $s m$ samples a convolution commutes, for all weights, exactly with the shifts "
    r"by multiples of $s$; the output moves by a fraction $1/s$ of the shift.",
    "m >= 1 outputs, s >= 1, on any number of axes; any dilation d >= 1 and offset; a kernel of at least one tap "
    "where other shifts fail.",
    r"As for circular shifts, now with outputs on a ring of $m$. Conversely, were $T$ unchanged by some shift $b$ "
    r"of the outputs and a shift $c$ of the samples, then any one tap of any one output satisfies the hypothesis "
    r"of the second lemma, because by the third no other tap has its weight, and $s$ divides $c$.",
    (_strided_lemma, _strided_only_lemma, distinct_lemma),
)
def _strided_shift_theorem() -> Checks:
    for s, m, k in itertools.product((1, 2, 3), (1, 2, 4), (1, 3, 5)):
        A = ring(s * m, k, stride=s)
        passes = {c for c in range(s * m) if any(shifted(A, b, c) == A for b in range(m))}
        yield f"s = {s}, m = {m}, k = {k}: the shifts {sorted(passes)} pass", passes == set(range(0, s * m, s))


@checked_theorem(
    "tiled-shift",
    "Tiled convolution on a ring commutes exactly with the shifts by multiples of the tile, in outputs.",
    r"A tiled convolution, whose output $i$ uses kernel $i \bmod \tau$, on a ring of $\tau g$ outputs commutes, "
    r"for all weights, exactly with the shifts of the output by multiples of $\tau$; with stride $s$ of the input "
    r"by multiples of $\tau s$.",
    "g >= 1, tile >= 1, any stride s >= 1, dilation d >= 1 and offset, on any number of axes; the number of "
    "outputs is a multiple of the tile; k >= 1 where other shifts fail.",
    r"What is read moves along by theorem \texttt{strided-shift}. The weights stay the same if and only if the "
    r"kernel that output $i + b$ uses is that of output $i$: the lemmas. Different taps have different weights by "
    r"the last one.",
    (_strided_lemma, _tiled_lemma, _tiled_only_lemma, kernel_lemma, distinct_lemma),
)
def _tiled_shift_theorem() -> Checks:
    for tile, g, k in itertools.product((1, 2, 3), (1, 2), (1, 2)):
        n = tile * g
        A = symbolic.matrix(ConvGeometry(n, k, padding=[(0, k - 1)], boundary="circular", sharing=(tile,)))
        passes = {c for c in range(n) if shifted(A, c, c) == A}
        yield f"tile = {tile}, g = {g}, k = {k}: {sorted(passes)}", passes == set(range(0, n, tile))


@checked_theorem(
    "elementwise-and-bias",
    "Elementwise functions and biases shared in a channel commute with every shift; one bias per unit does not.",
    r"A function applied to each entry commutes with every permutation, and the addition of one bias per channel "
    r"with every shift of the grid. The addition of one bias per unit commutes with a shift if and only if each "
    r"bias is that of the shifted unit: for independent biases it does not.",
    "n >= 1 units per channel, on any number of axes; n >= 2 along the shifted axis where one bias per unit fails.",
    r"With $f$ elementwise, $f(y)[q(i)] = f(y[q(i)])$ by definition. Adding $b$ commutes with $q$ if and only if "
    r"$b[q(i)] = b[i]$. A shift keeps the channel, by the first lemma, and so a bias shared in it. Every unit is "
    r"moved by the shift by one, by the second, where independent biases differ. The third says that a shift is a "
    r"permutation, undone by its opposite.",
    (_channel_lemma, _unit_lemma, _entry_lemma),
)
def _elementwise_and_bias_theorem() -> Checks:
    for n, channels in itertools.product((2, 3, 5), (1, 3)):
        q, one = actions.shift(n, 1, channels=channels), actions.identity(1)
        shared, single = AddedBias((n,), channels).pattern(), AddedBias((n,), channels, "unit").pattern()
        b = symbolic.matrix(shared)
        yield f"n = {n}, {channels} channels: shared biases", permuted(b, q, one) == b and check(shared, q, one).holds
        b = symbolic.matrix(single)
        yield f"n = {n}, {channels} channels: one bias per unit breaks", permuted(b, q, one) != b
        f, x = sympy.Function("f"), sympy.Matrix(symbolic.weights(n * channels, "x"))
        moved = [int(place) for place in q]
        step = sympy.diag(*[with_weights(ring(n, 2, offset=1), [1, 0])] * channels)
        yield "a circular convolution with one tap is the shift", step * x == x.extract(moved, [0])
        yield "elementwise", x.applyfunc(f).extract(moved, [0]) == x.extract(moved, [0]).applyfunc(f)


@checked_theorem(
    "pooling-shift",
    "Average and max pooling with stride s on a ring of s m samples commute exactly with the shifts by multiples "
    "of s; pooling by any function of a window commutes with these.",
    r"Pooling, by the average or the maximum of windows of $k$ neighbours with stride $s$ on a ring of $s m$ "
    r"samples, commutes with the shifts by multiples of $s$, and with no others where $k < s m$. Pooling by any "
    r"function of the values in a window, of any type, commutes with the shifts by multiples of $s$.",
    "m >= 1, s >= 1, on any number of axes; dilation 1 and 1 <= k < s m where other shifts fail (a window of the "
    "whole ring sees every shift alike).",
    r"The first lemma says that the window of output $i + b$ holds what that of $i$ held, shifted by $s b$: then "
    r"every function of a window moves along. Conversely, average and maximum of two windows agree on all inputs "
    r"only if the windows hold the same samples: else take the input that is 1 at a sample of the one alone and 0 "
    r"elsewhere. By the second lemma each sample of a window is read by one tap. By the third, windows that start "
    r"at different places hold different samples: the one before the start of the one, or its start, tells them "
    r"apart. By the last, starts agree only for shifts by multiples of $s$.",
    (_strided_lemma, _members_lemma, _window_lemma, _start_lemma),
)
def _pooling_shift_theorem() -> Checks:
    for s, m, k, kind in itertools.product((1, 2, 3), (2, 3), (1, 2, 3), ("average", "max")):
        if k >= s * m:
            continue
        pattern = WindowPooling(
            ring_geometry(s * m, k, 0, stride=s), kind="average" if kind == "average" else "max"
        ).pattern()
        A = symbolic.matrix(pattern)
        passes = {c for c in range(s * m) if any(shifted(A, b, c) == A for b in range(m))}
        yield f"{kind}, s = {s}, m = {m}, k = {k}: {sorted(passes)}", passes == set(range(0, s * m, s))


@checked_theorem(
    "stride-composition",
    "Strides multiply: layers with strides s and z, one after the other on rings, commute exactly with the shifts "
    "by multiples of s z.",
    r"Two circular convolutions with strides $s$ and then $z$, on a ring of $s z m$ samples, commute together "
    r"exactly with the shifts by multiples of $s z$, the output moving by $1/(s z)$ of them.",
    "m >= 1, s >= 1, z >= 1, on any number of axes; any dilations d >= 1 and offsets; kernels of at least one tap "
    "where other shifts fail.",
    r"A shift of the input by $s z c$ moves the output of the first layer by $z c$, by the first lemma, and that "
    r"of the second by $c$, by the second. Conversely take one tap in each layer: the composition reads a single "
    r"position, and by the third lemma its shifts are multiples of $s z$.",
    (_inner_lemma, _strided_lemma, _composed_only_lemma),
)
def _stride_composition_theorem() -> Checks:
    for s, z, m in itertools.product((1, 2), (1, 2, 3), (1, 2)):
        A, B = ring(s * z * m, 2, stride=s, offset=0), ring(z * m, 2, "v", stride=z, offset=0)
        product = (B * A).expand()
        passes = {c for c in range(s * z * m) if any(shifted(product, b, c) == product for b in range(m))}
        yield f"s = {s}, z = {z}, m = {m}: {sorted(passes)}", passes == set(range(0, s * z * m, s * z))
