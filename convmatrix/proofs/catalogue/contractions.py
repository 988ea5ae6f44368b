"""Theorems about the contractions of a layer: its adjoint, compositions, gradients, and the flat index."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from convmatrix import symbolic
from convmatrix.boundary import Axis
from convmatrix.geometry import ConvGeometry
from convmatrix.proofs.catalogue.symbol_matrices import Checks, convolved, expands_to, with_weights
from convmatrix.proofs.statements import Algebra, Condition, checked_theorem, lemma

if TYPE_CHECKING:
    from convmatrix.pattern import WeightPattern


_AXIS = {"m": 5, "n": 5, "k": 3, "d": 1, "p": 1, "i": 2, "j": 2, "t": 1}


@lemma(
    "distinct weights",
    "different taps use different weights",
    r"\omega(i, t) = \omega(i', u) \implies t = u",
    {"tile": 2, "k": 3, "i": 5, "other": 1, "t": 1, "u": 1},
)
def distinct_lemma(a: Algebra) -> Condition:
    """Return the claim that different taps use different weights."""
    tile, k, i, other, t, u = a.integers("tile k i other t u")
    a.assume(tile >= 1, a.within(t, k), a.within(u, k))
    axis = Axis(1, 1, k, tile=tile)
    a.assume(a.equal(a.weight(axis, i, t), a.weight(axis, other, u)))
    return a.equal(t, u)


@lemma(
    "same weight, same kernel",
    "outputs whose weights at a tap are the same use the same kernel",
    r"\omega(i, t) = \omega(i', t) \implies i \bmod \tau = i' \bmod \tau",
    {"tile": 2, "k": 3, "i": 5, "other": 1, "t": 1},
)
def kernel_lemma(a: Algebra) -> Condition:
    """Return the claim that outputs with the same weight use the same kernel."""
    tile, k, i, other, t = a.integers("tile k i other t")
    a.assume(tile >= 1, k >= 1, a.within(t, k))
    axis, single = Axis(1, 1, k, tile=tile), Axis(1, 1, 1, tile=tile)
    a.assume(a.equal(a.weight(axis, i, t), a.weight(axis, other, t)))
    return a.equal(a.weight(single, i, 0), a.weight(single, other, 0))


@lemma(
    "zero boundary",
    "tap t of output i reads sample j just where tap t of the flipped kernel at j reads i",
    r"r(i, t) = j \iff r^*(j, t) = i",
    _AXIS,
)
def _adjoint_lemma(a: Algebra) -> Condition:
    m, n, k, d, p, i, j, t = a.integers("m n k d p i j t")
    a.assume(d >= 1, a.within(i, m), a.within(j, n), a.within(t, k))
    axis = Axis(m, n, k, 1, d, p)
    adjoint = Axis(n, m, k, 1, d, d * (k - 1) - p, flip=True)
    return a.equivalent(a.equal(a.sample(axis, i, t), j), a.equal(a.sample(adjoint, j, t), i))


@lemma(
    "circular boundary",
    "the same on a ring",
    r"r(i, t) = j \iff r^*(j, t) = i",
    {name: value for name, value in _AXIS.items() if name != "m"},
)
def _circular_adjoint_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, j, t = a.integers("n k d p i j t")
    a.assume(n >= 1, d >= 1, a.within(i, n), a.within(j, n), a.within(t, k))
    axis = Axis(n, n, k, 1, d, p, "circular")
    adjoint = Axis(n, n, k, 1, d, d * (k - 1) - p, "circular", flip=True)
    return a.equivalent(a.equal(a.sample(axis, i, t), j), a.equal(a.sample(adjoint, j, t), i))


@lemma(
    "stride",
    "tap t of output i reads sample j just where the flipped kernel at j reads place s i of the spread samples",
    r"r(i, t) = j \iff r^*(j, t) = s i",
    {**_AXIS, "m": 2, "s": 2, "i": 1, "j": 2},
)
def _strided_adjoint_lemma(a: Algebra) -> Condition:
    m, n, k, s, d, p, i, j, t = a.integers("m n k s d p i j t")
    a.assume(s >= 1, d >= 1, a.within(i, m), a.within(j, n), a.within(t, k))
    axis = Axis(m, n, k, s, d, p)
    spread = Axis(n, (m - 1) * s + 1, k, 1, d, d * (k - 1) - p, flip=True)
    return a.equivalent(a.equal(a.sample(axis, i, t), j), a.equal(a.sample(spread, j, t), s * i))


@lemma(
    "places between",
    "a place of the spread samples is read from one position only",
    r"r^*(j, t) = x \implies x = j - t d + p",
    {"m": 3, "n": 5, "k": 3, "s": 2, "d": 1, "p": 1, "j": 2, "t": 1, "x": 2},
)
def _strided_gap_lemma(a: Algebra) -> Condition:
    m, n, k, s, d, p, j, t, x = a.integers("m n k s d p j t x")
    a.assume(s >= 1, d >= 1, a.within(j, n), a.within(t, k), a.within(x, (m - 1) * s + 1), m >= 1)
    spread = Axis(n, (m - 1) * s + 1, k, 1, d, d * (k - 1) - p, flip=True)
    a.assume(a.equal(a.sample(spread, j, t), x))
    return a.equal(x, j - t * d + p)


@lemma(
    "full",
    "tap t read from tap u is tap t + u",
    r"r_A(r_B(i, u), t) = r_{AB}(i, t + u)",
    {"n": 3, "k": 2, "l": 3, "i": 1, "t": 1, "u": 2},
)
def _full_lemma(a: Algebra) -> Condition:
    n, k, length, i, t, u = a.integers("n k l i t u")
    a.assume(n >= 1, a.within(i, n + k + length - 2), a.within(t, k), a.within(u, length))
    first = Axis(n + k - 1, n, k, pad_low=k - 1)
    second = Axis(n + k + length - 2, n + k - 1, length, pad_low=length - 1)
    both = Axis(n + k + length - 2, n, k + length - 1, pad_low=k + length - 2)
    middle = a.sample(second, i, u)
    read = a.select(middle < 0, middle, a.sample(first, middle, t))
    return a.equal(read, a.sample(both, i, t + u))


@lemma(
    "valid, inside",
    "tap u of output i reads sample i + u, inside",
    r"r_B(i, u) = i + u",
    {"n": 6, "k": 2, "l": 3, "i": 1, "u": 2},
)
def _valid_inner_lemma(a: Algebra) -> Condition:
    n, k, length, i, u = a.integers("n k l i u")
    a.assume(k >= 1, a.within(i, n - k - length + 2), a.within(u, length))
    middle = a.sample(Axis(n - k - length + 2, n - k + 1, length), i, u)
    return a.both(a.within(middle, n - k + 1), a.equal(middle, i + u))


@lemma(
    "valid",
    "tap t read from there is tap t + u",
    r"r_A(i + u, t) = r_{AB}(i, t + u)",
    {"n": 6, "k": 2, "l": 3, "i": 1, "t": 1, "u": 2},
)
def _valid_lemma(a: Algebra) -> Condition:
    n, k, length, i, t, u = a.integers("n k l i t u")
    a.assume(a.within(i, n - k - length + 2), a.within(t, k), a.within(u, length))
    first, both = Axis(n - k + 1, n, k), Axis(n - k - length + 2, n, k + length - 1)
    return a.equal(a.sample(first, i + u, t), a.sample(both, i, t + u))


@lemma(
    "terms",
    "tap t of output i reads sample j just where s i = j + p - t d",
    r"r(i, t) = j \iff s i = j + p - t d",
    {**_AXIS, "s": 1},
)
def _tap_lemma(a: Algebra) -> Condition:
    m, n, k, s, d, p, i, j, t = a.integers("m n k s d p i j t")
    a.assume(s >= 1, d >= 1, a.within(i, m), a.within(j, n), a.within(t, k))
    return a.equivalent(a.equal(a.sample(Axis(m, n, k, s, d, p), i, t), j), a.equal(s * i, j + p - t * d))


@lemma(
    "one term",
    "g x w changes by h g x where w changes by h, and by h g w where x does",
    r"g x (w + h) - g x w = h\, g x,\quad g (x + h) w - g x w = h\, g w",
    {"g": 2, "x": 3, "w": 5, "h": 1},
)
def _trilinear_lemma(a: Algebra) -> Condition:
    g, x, w, h = a.integers("g x w h")
    return a.both(a.equal(g * x * (w + h) - g * x * w, h * (g * x)), a.equal(g * (x + h) * w - g * x * w, h * (g * w)))


@lemma(
    "injective",
    "u W + x = v W + y with x, y from 0 to W - 1 only where u = v and x = y",
    r"u W + x = v W + y \implies u = v,\ x = y",
    {"size": 4, "u": 2, "v": 2, "x": 3, "y": 3},
)
def _injective_lemma(a: Algebra) -> Condition:
    size, u, v, x, y = a.integers("size u v x y")
    a.assume(size >= 1, a.within(x, size), a.within(y, size), a.equal(u * size + x, v * size + y))
    return a.both(a.equal(u, v), a.equal(x, y))


@lemma(
    "surjective",
    "r minus its remainder by W is a multiple of W",
    r"0 \le r \bmod W < W,\quad W \mid r - r \bmod W",
    {"size": 4, "r": 11},
)
def _surjective_lemma(a: Algebra) -> Condition:
    size, r = a.integers("size r")
    a.assume(size >= 1)
    return a.both(a.within(r % size, size), a.equal((r - r % size) % size, 0))


@lemma(
    "range",
    "u W + x lies from 0 to U W - 1 just where u lies from 0 to U - 1",
    r"0 \le u W + x < U W \iff 0 \le u < U",
    {"size": 4, "count": 3, "u": 2, "x": 3},
)
def _range_lemma(a: Algebra) -> Condition:
    size, count, u, x = a.integers("size count u x")
    a.assume(size >= 1, count >= 1, a.within(x, size))
    return a.equivalent(a.within(u * size + x, count * size), a.within(u, count))


# --- on explicit matrices of symbols ---


@checked_theorem(
    "adjoint",
    "The adjoint of a convolution is the convolution with the flipped kernel and padding d (k - 1) - p; that of a "
    "strided one is the transposed convolution: zeros between the samples, then the flipped kernel.",
    r"The transpose of a convolution with stride 1, low padding $p$ and zero or circular boundary is the convolution "
    r"with the flipped kernel and low padding $d(k-1) - p$. The transpose of a convolution with stride $s$ is the "
    r"transposed convolution: $s - 1$ zeros are put between neighbouring samples, then the flipped kernel is applied.",
    "d >= 1, s >= 1, m >= 1 outputs; one kernel for all outputs; sizes, kernel length and padding are any "
    "integers; on a ring stride 1 and as many outputs as samples. Any channels and groups; zero boundaries and "
    "rings may be mixed on several axes.",
    r"$A^T$ has the weight $w_t$ at $(j, i)$ just where tap $t$ of output $i$ reads $j$. The lemmas say that this "
    r"is where tap $t$ of the flipped kernel, at output $j$, reads $i$; with a stride, where it reads place $s i$ "
    r"of the spread samples. The last lemma says that a place between, which is zero, is read from one position "
    r"only, so that it adds nothing. Complex weights are conjugated.",
    (_adjoint_lemma, _circular_adjoint_lemma, _strided_adjoint_lemma, _strided_gap_lemma),
)
def _adjoint_theorem() -> Checks:
    for n, k, d in itertools.product((3, 5), (1, 2, 3), (1, 2)):
        for p in range(d * (k - 1) + 1):
            reach = d * (k - 1)
            A = symbolic.matrix(ConvGeometry(n, k, dilation=d, padding=[(p, reach - p)]))
            back = ConvGeometry(n, k, dilation=d, padding=[(reach - p, p)], flip=True)
            yield f"n = {n}, k = {k}, d = {d}, p = {p}: the flipped kernel", symbolic.matrix(back) == A.T
    for n, k, s in itertools.product((4, 7), (2, 3), (2, 3)):
        layer = ConvGeometry(n, k, stride=s)
        extra = (n - k) % s
        back = ConvGeometry(layer.output_shape, k, stride=s, output_padding=extra, transposed=True)
        yield f"n = {n}, k = {k}, s = {s}: the transposed layer", symbolic.matrix(back) == symbolic.matrix(layer).T


@checked_theorem(
    "full-composition",
    "Full convolutions compose to the full convolution with the full convolution of their kernels; valid ones to "
    "the valid one.",
    r"The composition of two full convolutions with kernels of $k$ and $l$ taps is the full convolution with the "
    r"full convolution of the kernels, of $k + l - 1$ taps. The same holds for valid convolutions.",
    "n >= 1, k >= 1, l >= 1, stride 1, dilation 1, kernels not flipped; for valid ones n >= k + l - 1. With "
    "channels, in one group, the kernels are convolved and summed over the channels between; on more axes this "
    "holds with sizes for each axis.",
    r"Output $i$ of the composition has the term $w_t v_u$ at what tap $t$ reads from what tap $u$ reads. The "
    r"lemmas say that this is what tap $t + u$ of the longer kernel reads, or nothing where either reads nothing.",
    (_full_lemma, _valid_inner_lemma, _valid_lemma),
)
def _full_composition_theorem() -> Checks:
    for padding, n, k, length in itertools.product(("full", "valid"), (5, 6), (1, 2), (2, 3)):
        first = ConvGeometry(n, k, padding=padding)
        second = ConvGeometry(first.output_shape, length, padding=padding)
        longer = symbolic.matrix(ConvGeometry(n, k + length - 1, padding=padding))
        expected = with_weights(longer, convolved(symbolic.weights(k), symbolic.weights(length, "v")))
        product = symbolic.matrix(second, "v") * symbolic.matrix(first)
        yield f"{padding}, n = {n}, k = {k}, l = {length}", expands_to(product, expected)


@checked_theorem(
    "gradients",
    "The gradients of a layer in its weights and in its input are the two other contractions of its tensor T.",
    r"For $L = \sum_{ijk} T_{ijk}\, g_i x_j w_k$, the loss along an output gradient $g$, $\partial L/\partial w_k = "
    r"\sum_{ij} T_{ijk}\, g_i x_j$ and $\partial L/\partial x_j = \sum_{ik} T_{ijk}\, g_i w_k$. With the zero boundary "
    r"the terms are those with $s i = j + p - t d$ (Goodfellow, Bengio, Courville 2016, eqs. 9.11 and 9.13).",
    "s >= 1, d >= 1, n >= 1; any layer: channels, groups, tiles, plain boundaries and any number of axes; for the "
    "terms of the zero boundary one kernel for all outputs.",
    r"Each term of $L$ is the product $g_i x_j w_k$, which changes by $h\, g_i x_j$ where $w_k$ changes by $h$: "
    r"the first lemma. Sums of such terms do likewise. The second lemma says which terms there are.",
    (_trilinear_lemma, _tap_lemma),
)
def _gradients_theorem() -> Checks:
    for layer in (
        ConvGeometry(4, 3, padding="same"),
        ConvGeometry(5, 3, stride=2, padding=1, boundary="reflect"),
        ConvGeometry((2, 3), (2, 2), in_channels=2, padding="same", boundary="circular"),
    ):
        pattern = layer.pattern()
        A, w = symbolic.matrix(pattern), symbolic.weights(pattern.n_weights)
        x, g = (sympy.Matrix(symbolic.weights(size, name)) for size, name in ((layer.n_in, "x"), (layer.n_out, "g")))
        loss = (g.T * A * x)[0, 0].expand()
        by_weight = [sympy.expand(loss.diff(symbol)) for symbol in w]
        yield f"{layer!r}: in the weights", by_weight == [sympy.expand(e) for e in _contraction(pattern, g, x)]
        by_input = sympy.Matrix([loss.diff(symbol) for symbol in x])
        yield f"{layer!r}: in the input", expands_to(by_input, A.T * g)


def _contraction(pattern: WeightPattern, g: Any, x: Any) -> list[Any]:
    total = [sympy.Integer(0)] * pattern.n_weights
    triplets = zip(pattern.rows.tolist(), pattern.cols.tolist(), pattern.weight_index.tolist(), strict=True)
    for row, column, weight in triplets:
        total[weight] += g[row] * x[column]
    return total


@checked_theorem(
    "flat-index",
    "The flat index in C order is a bijection between the places of an array and 0, ..., size - 1.",
    r"The flat index $((c H) + y) W + x$ in C order is a bijection between the places of an array and the "
    r"integers from 0 to its size less one, on any number of axes.",
    "all sizes >= 1.",
    r"One axis at a time: let $u$ be the flat index of the axes before, and $W$ the size of the last. The lemmas "
    r"say that $u W + x$ gives $u$ and $x$ back, that every integer is of this form, and that ranges agree. "
    r"Induction over the axes does the rest.",
    (_injective_lemma, _surjective_lemma, _range_lemma),
)
def _flat_index_theorem() -> Checks:
    for shape in ((1,), (3,), (2, 3), (2, 1, 4), (2, 3, 2, 2)):
        flat = [0] * int(np.prod(shape))
        for place in itertools.product(*map(range, shape)):
            index = 0
            for size, coordinate in zip(shape, place, strict=True):
                index = index * size + coordinate
            flat[index] += 1
        yield f"shape {shape}: every index once", flat == [1] * len(flat)
    layer = ConvGeometry((2, 3), (1, 1))
    yield (
        "one tap of weight w_0 is w_0 times the identity",
        symbolic.matrix(layer) == sympy.eye(6) * symbolic.weights(1)[0],
    )
