"""Theorems about layers made of others: dilation, strides, polyphase components, merged layers, folded kernels."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import sympy

from convmatrix import symbolic
from convmatrix.boundary import PLAIN, Axis, Boundary
from convmatrix.geometry import ConvGeometry
from convmatrix.proofs.catalogue.symbol_matrices import Checks, expands_to, kernel_of, with_weights
from convmatrix.proofs.statements import Algebra, Condition, Lemma, checked_theorem, lemma

_AXIS = {"m": 5, "n": 5, "k": 3, "s": 2, "d": 2, "p": 1, "i": 2, "t": 1}


def _zeros_lemma(boundary: Boundary) -> Lemma:
    @lemma(
        f"{boundary} boundary",
        "tap t of the dilated kernel reads what tap d t of the longer kernel reads",
        r"r_d(i, t) = r_1(i, d t)",
        _AXIS,
    )
    def build(a: Algebra) -> Condition:
        m, n, k, s, d, p, i, t = a.integers("m n k s d p i t")
        a.assume(n >= 1, d >= 1, a.within(t, k))
        dilated, spread = Axis(m, n, k, s, d, p, boundary), Axis(m, n, d * (k - 1) + 1, s, 1, p, boundary)
        return a.equal(a.sample(dilated, i, t), a.sample(spread, i, d * t))

    return build


@lemma("flipped", "the same holds for the positions of flipped kernels", r"x_d(i, t) = x_1(i, d t)", _AXIS)
def _zeros_flip_lemma(a: Algebra) -> Condition:
    m, n, k, s, d, p, i, t = a.integers("m n k s d p i t")
    dilated, spread = Axis(m, n, k, s, d, p, flip=True), Axis(m, n, d * (k - 1) + 1, s, 1, p, flip=True)
    return a.equal(a.position(dilated, i, t), a.position(spread, i, d * t))


@lemma(
    "places",
    "place d t is one of the longer kernel, and no other tap has it",
    r"0 \le \omega(i, d t) \le d (k - 1),\quad \omega(i, d t) = \omega(i, d u) \implies t = u",
    {"k": 3, "d": 2, "i": 1, "t": 1, "u": 1},
)
def _zeros_tap_lemma(a: Algebra) -> Condition:
    k, d, i, t, u = a.integers("k d i t u")
    a.assume(d >= 1, a.within(t, k), a.within(u, k))
    spread = Axis(1, 1, d * (k - 1) + 1)
    place, other = a.weight(spread, i, d * t), a.weight(spread, i, d * u)
    return a.both(a.within(place, d * (k - 1) + 1), a.implies(a.equal(place, other), a.equal(t, u)))


def _subsampled_lemma(boundary: Boundary) -> Lemma:
    @lemma(
        f"{boundary} boundary",
        "output i with stride s reads what output s i reads with stride 1",
        r"r_s(i, t) = r_1(s i, t)",
        _AXIS,
    )
    def build(a: Algebra) -> Condition:
        m, n, k, s, d, p, i, t = a.integers("m n k s d p i t")
        a.assume(n >= 1, s >= 1, a.within(i, m), a.within(t, k))
        strided, dense = Axis(m, n, k, s, d, p, boundary), Axis(s * (m - 1) + 1, n, k, 1, d, p, boundary)
        return a.equal(a.sample(strided, i, t), a.sample(dense, s * i, t))

    return build


@lemma(
    "weights",
    "output s i is one of the outputs with stride 1, and uses the weight of output i with stride s",
    r"0 \le s i \le s (m - 1),\quad \omega_s(i, t) = \omega_1(s i, t)",
    {"m": 5, "n": 5, "k": 3, "s": 2, "i": 2, "t": 1},
)
def _subsampled_weight_lemma(a: Algebra) -> Condition:
    m, n, k, s, i, t = a.integers("m n k s i t")
    a.assume(s >= 1, a.within(i, m), a.within(t, k))
    strided, dense = Axis(m, n, k, s), Axis(s * (m - 1) + 1, n, k)
    return a.both(a.within(s * i, s * (m - 1) + 1), a.equal(a.weight(strided, i, t), a.weight(dense, s * i, t)))


@lemma(
    "outputs",
    "of M outputs with stride 1, the layer with stride s has those at multiples of s: s (m - 1) < M <= s m",
    r"s (m - 1) < M \le s m",
    {"n": 7, "k": 3, "s": 2, "d": 1, "low": 1, "high": 1},
)
def _subsampled_outputs_lemma(a: Algebra) -> Condition:
    n, k, s, d, low, high = a.integers("n k s d low high")
    a.assume(s >= 1)
    span = d * (k - 1) + 1
    m, dense = a.forward_outputs(n, span, s, low, high), a.forward_outputs(n, span, 1, low, high)
    return a.both(s * (m - 1) < dense, dense <= s * m)


@lemma(
    "ring",
    "on a ring of d g samples, output d i + f reads sample d j + (f - p) mod d, if output i of the layer with "
    "dilation 1 reads j",
    r"r(d i + \varphi, t) = d\, r'(i, t) + \sigma",
    {"g": 3, "k": 3, "d": 2, "p": 3, "i": 1, "t": 2, "phase": 0, "source": 1, "c": -2},
)
def _ring_phase_lemma(a: Algebra) -> Condition:
    g, k, d, p, i, t, phase, source, c = a.integers("g k d p i t phase source c")
    a.assume(g >= 1, a.within(phase, d), a.within(source, d), a.within(i, g), a.within(t, k))
    a.assume(a.equal(phase - p, d * c + source))
    dilated = Axis(d * g, d * g, k, 1, d, p, "circular")
    plain = Axis(g, g, k, pad_low=-c, boundary="circular")
    return a.equal(a.sample(dilated, d * i + phase, t), d * a.sample(plain, i, t) + source)


@lemma(
    "zero boundary",
    "the same holds with the zero boundary for h samples of the phase, or both read nothing",
    r"r(d i + \varphi, t) = d\, r'(i, t) + \sigma \ \text{ or } \ r(d i + \varphi, t) = r'(i, t) = \varnothing",
    {"m": 9, "n": 6, "h": 3, "k": 3, "d": 2, "p": 3, "i": 1, "t": 2, "phase": 0, "source": 1, "c": -2},
)
def _zero_phase_lemma(a: Algebra) -> Condition:
    m, n, h, k, d, p, i, t, phase, source, c = a.integers("m n h k d p i t phase source c")
    a.assume(a.within(phase, d), a.within(source, d), i >= 0, a.within(t, k))
    a.assume(a.equal(phase - p, d * c + source), d * (h - 1) + source < n, n <= d * h + source)
    dilated, plain = Axis(m, n, k, 1, d, p), Axis(m, h, k, pad_low=-c)
    read = a.sample(plain, i, t)
    return a.equal(a.sample(dilated, d * i + phase, t), a.select(read < 0, read, d * read + source))


@lemma(
    "between",
    "tap u of the second layer reads the output of the first at its position",
    r"r_B(i, u) = x_B(i, u)",
    {"m": 2, "l": 2, "z": 2, "e": 1, "middle": 4, "i": 1, "u": 1},
)
def _merged_middle_lemma(a: Algebra) -> Condition:
    m, length, z, e, middle, i, u = a.integers("m l z e middle i u")
    a.assume(z >= 1, e >= 1, a.within(i, m), a.within(u, length), (m - 1) * z + e * (length - 1) < middle)
    second = Axis(m, middle, length, z, e)
    read = a.sample(second, i, u)
    return a.both(a.within(read, middle), a.equal(read, a.position(second, i, u)))


@lemma(
    "merged",
    "tap t read from there is tap s e u + d t of the merged kernel, which has such a tap",
    r"r_A(x_B(i, u), t) = r_{AB}(i, s e u + d t),\quad 0 \le s e u + d t \le s e (l - 1) + d (k - 1)",
    {"m": 2, "n": 9, "k": 2, "l": 2, "s": 2, "z": 2, "d": 1, "e": 1, "i": 1, "t": 1, "u": 1, "middle": 4},
)
def _merged_lemma(a: Algebra) -> Condition:
    m, n, k, length, s, z, d, e, i, t, u, middle = a.integers("m n k l s z d e i t u middle")
    a.assume(s >= 1, d >= 1, e >= 1, a.within(t, k), a.within(u, length))
    taps = s * e * (length - 1) + d * (k - 1) + 1
    first, second, merged = Axis(middle, n, k, s, d), Axis(m, middle, length, z, e), Axis(m, n, taps, s * z)
    tap = s * e * u + d * t
    a.show(s * e >= 1)
    a.show(s * e * u <= s * e * (length - 1))
    a.show(s * e * u >= 0)
    return a.both(a.within(tap, taps), a.equal(a.sample(first, a.position(second, i, u), t), a.sample(merged, i, tap)))


@lemma(
    "outputs",
    "the merged layer has as many outputs as the second of the two",
    r"m_{AB}(n) = m_B\bigl(m_A(n)\bigr)",
    {"n": 9, "k": 2, "l": 2, "s": 2, "z": 2, "d": 1, "e": 1},
)
def _merged_outputs_lemma(a: Algebra) -> Condition:
    n, k, length, s, z, d, e = a.integers("n k l s z d e")
    a.assume(s >= 1, z >= 1)
    a.show(s * z >= 1)
    middle = a.forward_outputs(n, d * (k - 1) + 1, s, 0, 0)
    outputs = a.forward_outputs(middle, e * (length - 1) + 1, z, 0, 0)
    return a.equal(outputs, a.forward_outputs(n, s * e * (length - 1) + d * (k - 1) + 1, s * z, 0, 0))


@lemma("folded", "tap t reads what tap t mod n reads", r"r(i, t) = r(i, t \bmod n)", {**_AXIS, "n": 3, "k": 7, "t": 4})
def _folded_tap_lemma(a: Algebra) -> Condition:
    m, n, k, s, d, p, i, t = a.integers("m n k s d p i t")
    a.assume(n >= 1, a.within(t, k))
    layer, folded = Axis(m, n, k, s, d, p, "circular"), Axis(m, n, n, s, d, p, "circular")
    return a.both(a.within(t % n, n), a.equal(a.sample(layer, i, t), a.sample(folded, i, t % n)))


@lemma(
    "single taps",
    "with dilation 1, two of n taps read the same sample only if they are one",
    r"r(i, t) = r(i, u),\ 0 \le t, u < n \implies t = u",
    {"m": 5, "n": 5, "s": 2, "p": 1, "i": 2, "t": 1, "u": 1},
)
def _single_tap_lemma(a: Algebra) -> Condition:
    m, n, s, p, i, t, u = a.integers("m n s p i t u")
    a.assume(n >= 1, a.within(t, n), a.within(u, n))
    folded = Axis(m, n, n, s, 1, p, "circular")
    a.assume(a.equal(a.sample(folded, i, t), a.sample(folded, i, u)))
    return a.equal(t, u)


# --- on explicit matrices of symbols ---


def _zeros(*shape: int) -> Any:
    return np.full(shape, sympy.Integer(0), dtype=object)


def _numbers(channels: int, shape: tuple[int, ...]) -> Any:
    """Return the rows or columns of a matrix as an array (channels, *shape)."""
    return np.arange(channels * int(np.prod(shape))).reshape(channels, *shape)


def _steps(starts: tuple[int, ...], steps: tuple[int, ...]) -> tuple[slice, ...]:
    return (slice(None), *(slice(start, None, step) for start, step in zip(starts, steps, strict=True)))


@checked_theorem(
    "dilation-as-zeros",
    "A convolution with dilation d is the convolution with dilation 1 whose kernel has d - 1 zeros between "
    "neighbouring taps, for every stride, padding and plain boundary.",
    r"A convolution with dilation $d$ and a kernel of $k$ taps is the convolution with dilation 1 and the kernel "
    r"of $d (k - 1) + 1$ taps that has $w_t$ at tap $d t$ and zeros elsewhere, for every stride, padding and "
    r"plain boundary, with the kernel flipped or not.",
    "n >= 1, d >= 1; one kernel for all outputs; kernel length, stride and padding are any integers; all five "
    "plain boundaries.",
    r"Tap $t$ of the dilated kernel reads what tap $d t$ of the longer kernel reads: the first lemmas, one for "
    r"each boundary, and for flipped kernels by the positions. By the last lemma the places $d t$ are places of "
    r"the longer kernel, and different for different taps; its other weights are zero. Both layers span as many "
    r"samples, so they have as many outputs.",
    (*map(_zeros_lemma, PLAIN), _zeros_flip_lemma, _zeros_tap_lemma),
)
def _dilation_as_zeros_theorem() -> Checks:
    for layer in (
        *(ConvGeometry(5, 3, dilation=2, padding=3, boundary=boundary) for boundary in PLAIN),
        ConvGeometry(7, 2, stride=2, dilation=3, padding=[(0, 2)], flip=True),
        ConvGeometry((4, 5), (2, 2), dilation=(3, 2), in_channels=2, out_channels=2, padding="same"),
        ConvGeometry(6, 2, dilation=2, sharing=2, padding="same", boundary="circular"),
    ):
        kernel = kernel_of(layer)
        spans = tuple(d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_shape, strict=True))
        spread = _zeros(*kernel.shape[: kernel.ndim - len(spans)], *spans)
        spread[(..., *(slice(None, None, d) for d in layer.dilation))] = kernel
        longer = replace(layer, kernel_shape=spans, dilation=(1,) * len(spans))
        same = with_weights(symbolic.matrix(longer), spread.ravel().tolist()) == symbolic.matrix(layer)
        yield f"{layer!r}: zeros between the taps", same


@checked_theorem(
    "stride-as-subsampling",
    "A convolution with stride s consists of every s-th output of the convolution with stride 1, from output 0 "
    "on, for every plain boundary.",
    r"Row $i$ of a convolution with stride $s$ is row $s i$ of the convolution with stride 1 and the same kernel, "
    r"dilation, padding and plain boundary: the layer is that layer followed by subsampling.",
    "n >= 1, s >= 1; kernel length, dilation and padding are any integers; all five plain boundaries; one kernel "
    "for all outputs.",
    r"At each tap, output $i$ with stride $s$ reads what output $s i$ reads with stride 1: the first lemmas, one "
    r"for each boundary. By the next it uses the same weight. The last lemma says that these are all: $s i$ "
    r"is an output with stride 1 just where $i$ is one with stride $s$. Layers with more axes are products of "
    r"axes, and channels are not touched.",
    (*map(_subsampled_lemma, PLAIN), _subsampled_weight_lemma, _subsampled_outputs_lemma),
)
def _stride_as_subsampling_theorem() -> Checks:
    for layer in (
        *(ConvGeometry(6, 3, stride=2, padding=2, boundary=boundary) for boundary in PLAIN),
        ConvGeometry(7, 2, stride=3, dilation=2, flip=True),
        ConvGeometry((5, 4), (2, 3), stride=(2, 3), padding=1, in_channels=2, out_channels=2),
    ):
        dense = replace(layer, stride=(1,) * len(layer.stride))
        rows = _numbers(layer.out_channels, dense.output_shape)
        rows = rows[_steps((0,) * len(layer.stride), layer.stride)].ravel().tolist()
        same = symbolic.matrix(dense).extract(rows, list(range(dense.n_in))) == symbolic.matrix(layer)
        yield f"{layer!r}: rows of the layer with stride 1", same


@checked_theorem(
    "polyphase",
    "A convolution with dilation d consists of d convolutions with dilation 1: the outputs of phase f, those with "
    "i mod d = f, read only samples of phase (f - p) mod d, and are the convolution of these with the same kernel.",
    r"Let a convolution with stride 1 and dilation $d$ have low padding $p$, and $\varphi - p = d c + \sigma$ with "
    r"$0 \le \varphi, \sigma < d$. Its outputs $\varphi, \varphi + d, \dots$ are the convolution with dilation 1, "
    r"the same kernel and low padding $-c$ of the samples $\sigma, \sigma + d, \dots$, with the zero boundary, and "
    r"on a ring of $d g$ samples with the circular one.",
    "d >= 1, stride 1, one kernel for all outputs; any kernel length and padding; g >= 1 for the ring of d g "
    "samples; for the zero boundary any n >= 1, of whose samples h have the phase. On more axes a phase on each.",
    r"Output $\varphi + d i$ reads at tap $t$ sample $\sigma + d j$, where $j$ is what output $i$ of the layer with "
    r"dilation 1 reads; or both read nothing. These are the lemmas. So phases do not mix, and each is such a layer.",
    (_ring_phase_lemma, _zero_phase_lemma),
)
def _polyphase_theorem() -> Checks:
    for layer in (
        ConvGeometry(6, 3, dilation=2, padding=[(1, 3)], boundary="circular"),
        ConvGeometry(6, 2, dilation=3, padding=[(2, 1)], boundary="circular"),
        ConvGeometry(7, 3, dilation=2, padding=[(1, 2)]),
        ConvGeometry(8, 2, dilation=3, padding=[(4, 0)]),
        ConvGeometry((4, 5), (2, 2), dilation=(2, 3), padding=1, in_channels=2, out_channels=2),
    ):
        A, ring_of = symbolic.matrix(layer), layer.boundary[0] == "circular"
        rows, columns = _numbers(layer.out_channels, layer.output_shape), _numbers(layer.in_channels, layer.input_shape)
        for phases in itertools.product(*map(range, layer.dilation)):
            offsets = [phase - low for phase, (low, _) in zip(phases, layer.padding, strict=True)]
            sources = tuple(offset % d for offset, d in zip(offsets, layer.dilation, strict=True))
            own, read = rows[_steps(phases, layer.dilation)], columns[_steps(sources, layer.dilation)]
            lows = [-(offset // d) for offset, d in zip(offsets, layer.dilation, strict=True)]
            sizes = zip(own.shape[1:], read.shape[1:], layer.kernel_shape, lows, strict=True)
            plain = ConvGeometry(
                read.shape[1:],
                layer.kernel_shape,
                padding=[(low, m - 1 + k - n - low) for m, n, k, low in sizes],
                boundary="circular" if ring_of else "zero",
                in_channels=layer.in_channels,
                out_channels=layer.out_channels,
            )
            others = sorted(set(columns.ravel().tolist()) - set(read.ravel().tolist()))
            block = A.extract(own.ravel().tolist(), read.ravel().tolist()) == symbolic.matrix(plain)
            alone = A.extract(own.ravel().tolist(), others).is_zero_matrix
            yield f"{layer!r}: outputs of phase {phases}", bool(block and alone)


@checked_theorem(
    "strided-merge",
    "Two valid convolutions with strides s and z, one after the other, are one valid convolution with stride s z, "
    "whose kernel is the second one, spread by s, convolved with the first.",
    r"A valid convolution with $k$ taps $w$, stride $s$ and dilation $d$, followed by one with $l$ taps $v$, "
    r"stride $z$ and dilation $e$, is the valid convolution with stride $s z$ and the kernel of $s e (l - 1) + d "
    r"(k - 1) + 1$ taps $\sum_{s e u + d t = x} v_u w_t$. With channels, $v_u w_t$ is a product of matrices.",
    "s, z, d, e >= 1, no padding, kernels not flipped, one group of channels; the window of each output lies "
    "inside its input.",
    r"Tap $u$ of output $i$ of the second layer reads an output of the first, by the first lemma: the one at its "
    r"position. By the second, what tap $t$ reads there is what tap $s e u + d t$ of the merged kernel reads, "
    r"which gathers the product $v_u w_t$. Sums over the channels between commute with this. By the third lemma "
    r"both have the same number of outputs.",
    (_merged_middle_lemma, _merged_lemma, _merged_outputs_lemma),
)
def _strided_merge_theorem() -> Checks:
    for n, k, length, s, z, d, e in (
        ((9,), (2,), (2,), (2,), (2,), (1,), (1,)),
        ((10,), (3,), (2,), (2,), (3,), (1,), (1,)),
        ((11,), (2,), (3,), (3,), (1,), (2,), (1,)),
        ((12,), (2,), (2,), (1,), (2,), (3,), (2,)),
        ((4, 5), (1, 2), (2, 1), (2, 1), (1, 2), (1, 2), (1, 1)),
    ):
        first = ConvGeometry(n, k, stride=s, dilation=d, in_channels=2, out_channels=2)
        second = ConvGeometry(first.output_shape, length, stride=z, dilation=e, in_channels=2)
        w, v = kernel_of(first), kernel_of(second, "v")
        taps = tuple(
            s * e * (length - 1) + d * (k - 1) + 1 for k, length, s, d, e in zip(k, length, s, d, e, strict=True)
        )
        kernel = _zeros(1, 2, *taps)
        for u, t in itertools.product(np.ndindex(*length), np.ndindex(*k)):
            tap = tuple(np.array(s) * e * u + np.array(d) * t)
            for channel, middle in itertools.product(range(2), range(2)):
                kernel[(0, channel, *tap)] += v[(0, middle, *u)] * w[(middle, channel, *t)]
        strides = tuple(s * z for s, z in zip(s, z, strict=True))
        merged = ConvGeometry(n, taps, stride=strides, in_channels=2)
        expected = with_weights(symbolic.matrix(merged), kernel.ravel().tolist())
        product = symbolic.matrix(second, "v") * symbolic.matrix(first)
        yield f"{first!r}, then {second!r}", expands_to(product, expected)


@checked_theorem(
    "ring-folding",
    "On a ring of n samples a kernel of any length acts as one of n taps: taps t and t + n read the same sample, "
    "so that their weights add.",
    r"On a ring of $n$ samples a convolution with $k$ taps $w$ is the one with $n$ taps $\bar w_u = \sum_{t \equiv "
    r"u \bmod n} w_t$, for every stride, dilation and padding. With dilation 1 no two taps of the folded kernel "
    r"read the same sample, so that its weights are the entries of the matrix.",
    "n >= 1; one kernel for all outputs, not flipped; kernel length, stride, dilation and padding are any "
    "integers; dilation 1 for the second part.",
    r"Tap $t$ reads what tap $t \bmod n$ reads: the first lemma. So the weights of all taps with one remainder "
    r"add. The second lemma says that with dilation 1 the taps of the folded kernel read different samples.",
    (_folded_tap_lemma, _single_tap_lemma),
)
def _ring_folding_theorem() -> Checks:
    for layer in (
        *(ConvGeometry(n, k, padding=[(1, k - 2)], boundary="circular") for n, k in ((1, 3), (2, 5), (3, 4), (3, 7))),
        ConvGeometry(4, 6, stride=2, dilation=2, padding=[(3, 8)], boundary="circular"),
        ConvGeometry((2, 3), (3, 4), padding=2, boundary="circular", in_channels=2, out_channels=2),
    ):
        kernel, sizes = kernel_of(layer), layer.input_shape
        folded = _zeros(*kernel.shape[:2], *sizes)
        for tap in np.ndindex(*layer.kernel_shape):
            folded[(..., *(t % n for t, n in zip(tap, sizes, strict=True)))] += kernel[(..., *tap)]
        ends = zip(sizes, layer.output_shape, layer.stride, layer.dilation, layer.padding, strict=True)
        padding = [(low % n, (m - 1) * s + d * (n - 1) + 1 - n - low % n) for n, m, s, d, (low, _) in ends]
        short = replace(layer, kernel_shape=sizes, padding=tuple(padding))
        same = with_weights(symbolic.matrix(short), folded.ravel().tolist()) == symbolic.matrix(layer)
        yield f"{layer!r}: the folded kernel", same
