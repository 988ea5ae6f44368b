"""Theorems about eigenvectors: Fourier vectors on a ring, cosines and sines for the boundaries that mirror."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from convmatrix import symbolic
from convmatrix.boundary import Axis
from convmatrix.geometry import ConvGeometry
from convmatrix.proofs.catalogue.borders import constants_lemma, ramp_lemma
from convmatrix.proofs.catalogue.symbol_matrices import Checks, kernel_of, ring, with_weights
from convmatrix.proofs.statements import Algebra, Condition, Identity, checked_theorem, lemma

if TYPE_CHECKING:
    from collections.abc import Callable

    from convmatrix.boundary import Boundary


_RING = {"n": 5, "k": 3, "d": 2, "p": 1, "i": 4, "t": 2}


@lemma(
    "period",
    "the sample that is read and the position differ by a multiple of n",
    r"n \mid (i + t d - p) - r(i, t)",
    _RING,
)
def period_lemma(a: Algebra) -> Condition:
    """Return the claim that on a ring a sample and its position differ by a multiple of n."""
    n, k, d, p, i, t = a.integers("n k d p i t")
    a.assume(n >= 1, d >= 1, a.within(i, n), a.within(t, k))
    axis = Axis(n, n, k, 1, d, p, "circular")
    return a.equal((a.position(axis, i, t) - a.sample(axis, i, t)) % n, 0)


@lemma(
    "period",
    "the sample that is read and the position s i + t d - p differ by a multiple of s m",
    r"s m \mid x(i, t) - r(i, t),\quad x(i, t) = s i + x(0, t)",
    {"m": 3, "k": 3, "s": 2, "d": 1, "p": 1, "i": 1, "t": 2},
)
def _ring_period_lemma(a: Algebra) -> Condition:
    m, k, s, d, p, i, t = a.integers("m k s d p i t")
    a.assume(m >= 1, s >= 1, a.within(i, m), a.within(t, k))
    axis = Axis(m, s * m, k, s, d, p, "circular")
    return a.both(
        a.equal((a.position(axis, i, t) - a.sample(axis, i, t)) % (s * m), 0),
        a.equal(a.position(axis, i, t), s * i + a.position(axis, 0, t)),
    )


@lemma(
    "aliases",
    "frequencies f and f + m q have the same values on the outputs",
    r"s m \mid s i (f + m q) - s i f",
    {"m": 3, "s": 2, "i": 1, "f": 2, "q": 1},
)
def _alias_lemma(a: Algebra) -> Condition:
    m, s, i, f, q = a.integers("m s i f q")
    a.assume(m >= 1, s >= 1)
    return a.equal((s * i * (f + m * q) - s * i * f) % (s * m), 0)


@lemma(
    "sorted by frequency",
    "the number f C + c of channel c at frequency f is that of no other channel and frequency",
    r"f C + c = f' C + c',\ 0 \le c, c' < C \implies f = f',\ c = c'",
    {"channels": 3, "f": 1, "c": 2, "other": 1, "e": 2},
)
def _frequency_lemma(a: Algebra) -> Condition:
    channels, f, c, other, e = a.integers("channels f c other e")
    a.assume(a.within(c, channels), a.within(e, channels), a.equal(f * channels + c, other * channels + e))
    return a.both(a.equal(f, other), a.equal(c, e))


@lemma(
    "fold",
    "r - x or r + x + 1 is a multiple of 2 n: 2 r + 1 is 2 x + 1 or -(2 x + 1) up to a multiple of 4 n",
    r"2n \mid r(x) - x \ \text{ or } \ 2n \mid r(x) + x + 1, \quad\text{so}\quad 2 r(x) + 1 \equiv \pm (2x + 1) "
    r"\pmod{4n}",
    {"n": 4, "position": -3},
)
def _fold_lemma(a: Algebra) -> Condition:
    n, position = a.integers("n position")
    a.assume(n >= 1)
    sample = a.read_sample(position, n, "symmetric")
    return a.either(a.equal((sample - position) % (2 * n), 0), a.equal((sample + position + 1) % (2 * n), 0))


@lemma(
    "pairs",
    "taps t and k - 1 - t are at equal distances from i, on either side",
    r"x(i, t) + x(i, k - 1 - t) = 2i",
    {"n": 5, "k": 3, "d": 2, "p": 2, "i": 4, "t": 2},
)
def _pair_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, t = a.integers("n k d p i t")
    a.assume(a.equal(2 * p, d * (k - 1)))
    axis = Axis(n, n, k, 1, d, p)
    return a.equal(a.position(axis, i, t) + a.position(axis, i, k - 1 - t), 2 * i)


@lemma(
    "fold",
    "the sign is 1 and j - x a multiple of 2 n, or it is -1 and j + x + 1 is one",
    r"c = 1,\ 2n \mid j - x \ \text{ or } \ c = -1,\ 2n \mid j + x + 1, \quad\text{so}\quad 2 j + 1 \equiv c (2x + 1) "
    r"\pmod{4n}",
    {"n": 4, "position": -3},
)
def _sine_fold_lemma(a: Algebra) -> Condition:
    n, position = a.integers("n position")
    a.assume(n >= 1)
    ((sample, sign),) = a.read_terms(position, n, "antisymmetric")
    return a.either(
        a.both(a.equal(sign, 1), a.equal((sample - position) % (2 * n), 0)),
        a.both(a.equal(sign, -1), a.equal((sample + position + 1) % (2 * n), 0)),
    )


@lemma(
    "fold",
    "the sign is 1 and j - x a multiple of 2 n - 2, or it is -1 and j + x is one; the other terms read the end samples",
    r"c = 1,\ 2n - 2 \mid j - x \ \text{ or } \ c = -1,\ 2n - 2 \mid j + x;\quad j_1 = 0,\ j_2 = n - 1",
    {"n": 4, "position": -3},
)
def _inner_fold_lemma(a: Algebra) -> Condition:
    n, position = a.integers("n position")
    a.assume(n >= 2)
    (sample, sign), (low, _), (high, _) = a.read_terms(position, n, "antireflect")
    period = a.select(n > 1, 2 * n - 2, 1)  # as the rule writes it
    return a.both(
        a.either(
            a.both(a.equal(sign, 1), a.equal((sample - position) % period, 0)),
            a.both(a.equal(sign, -1), a.equal((sample + position) % period, 0)),
        ),
        a.equal(low, 0),
        a.equal(high, n - 1),
    )


_F, _X, _Q = sympy.symbols("f x q", integer=True)
_N = sympy.Symbol("n", integer=True, positive=True)
_U, _V = sympy.symbols("x y", real=True)


def _exponential(turns: int) -> Any:
    return sympy.exp(2 * sympy.pi * sympy.I * _F * (_X + turns * _N * _Q) / _N)


def _wave(function: Callable[[Any], Any], sign: int, turns: int) -> Any:
    """Return the cosine or the sine at the position x, or -x, moved by multiples of 4 n q."""
    return function(sympy.pi * _F * (sign * _X + turns * 4 * _N * _Q) / (2 * _N))


_ROOTS = Identity(
    "roots of unity",
    "exp(2 pi i f (x + n q) / n) = exp(2 pi i f x / n) for integers f, x, q",
    r"e^{2\pi\mathrm{i} f (x + n q)/n} = e^{2\pi\mathrm{i} f x/n}",
    lambda: _exponential(1),
    lambda: _exponential(0),
)


_COSINES = (
    Identity(
        "period of the cosine",
        "cos(pi f (x + 4 n q) / (2 n)) = cos(pi f x / (2 n)) for integers f, x, q",
        r"\cos\frac{\pi f (x + 4 n q)}{2n} = \cos\frac{\pi f x}{2n}",
        lambda: _wave(sympy.cos, 1, 1),
        lambda: _wave(sympy.cos, 1, 0),
    ),
    Identity(
        "even cosine",
        "cos(-pi f x / (2 n)) = cos(pi f x / (2 n))",
        r"\cos\frac{-\pi f x}{2n} = \cos\frac{\pi f x}{2n}",
        lambda: _wave(sympy.cos, -1, 0),
        lambda: _wave(sympy.cos, 1, 0),
    ),
    Identity(
        "sum of cosines",
        "cos(x + y) + cos(x - y) = 2 cos x cos y",
        r"\cos(x + y) + \cos(x - y) = 2 \cos x \cos y",
        lambda: sympy.cos(_U + _V) + sympy.cos(_U - _V),
        lambda: 2 * sympy.cos(_U) * sympy.cos(_V),
    ),
)

_SINES = (
    Identity(
        "period of the sine",
        "sin(pi f (x + 4 n q) / (2 n)) = sin(pi f x / (2 n)) for integers f, x, q",
        r"\sin\frac{\pi f (x + 4 n q)}{2n} = \sin\frac{\pi f x}{2n}",
        lambda: _wave(sympy.sin, 1, 1),
        lambda: _wave(sympy.sin, 1, 0),
    ),
    Identity(
        "odd sine",
        "sin(-pi f x / (2 n)) = -sin(pi f x / (2 n))",
        r"\sin\frac{-\pi f x}{2n} = -\sin\frac{\pi f x}{2n}",
        lambda: _wave(sympy.sin, -1, 0),
        lambda: -_wave(sympy.sin, 1, 0),
    ),
    Identity(
        "sum of sines",
        "sin(x + y) + sin(x - y) = 2 sin x cos y",
        r"\sin(x + y) + \sin(x - y) = 2 \sin x \cos y",
        lambda: sympy.sin(_U + _V) + sympy.sin(_U - _V),
        lambda: 2 * sympy.sin(_U) * sympy.cos(_V),
    ),
)


# --- on explicit matrices of symbols ---


@checked_theorem(
    "fourier-eigenvectors",
    "The Fourier vectors are eigenvectors of every circular convolution of one channel, with as many outputs as "
    "samples; the eigenvalues are the kernel's Fourier transform. With channels, each frequency has a block.",
    r"With $\omega = e^{2 \pi \mathrm{i}/n}$ the vector $v_f(j) = \omega^{f j}$ is an eigenvector of every circular "
    r"convolution of one channel with stride 1 and $n$ outputs, for the eigenvalue $\lambda_f = \sum_t w_t\, \omega^{f "
    r"(t d - p)}$. With channels, $\lambda_f$ is the matrix of these sums, one for each pair of channels.",
    "n >= 1 samples and outputs, stride 1, one kernel for all outputs; any kernel length, dilation d >= 1 and "
    "offset p; f any integer, one per axis.",
    r"Output $i$ is $\sum_t w_t\, \omega^{f r(i,t)}$. The lemma says that $r(i,t)$ and the position $i + t d - p$ "
    r"differ by a multiple of $n$, which the identity says does not change the power. So the output is $\omega^{f "
    r"i} \lambda_f$. Each pair of channels has such a sum. On more axes vectors and eigenvalues are products.",
    (period_lemma,),
    (_ROOTS,),
)
def _fourier_eigenvectors_theorem() -> Checks:
    for n, k, p in ((1, 2, 1), (2, 3, 1), (3, 2, 0), (4, 3, 1), (4, 6, 2)):
        A, w = ring(n, k, offset=p), symbolic.weights(k)
        omega = sympy.exp(2 * sympy.pi * sympy.I / n)
        for f in range(n):
            vector = sympy.Matrix([omega ** (f * j) for j in range(n)])
            value = sum((w[t] * omega ** (f * (t - p)) for t in range(k)), sympy.Integer(0))
            rest = (A * vector - value * vector).applyfunc(lambda e: sympy.expand(sympy.expand_complex(e)))
            yield f"n = {n}, k = {k}, f = {f}", all(sympy.simplify(entry) == 0 for entry in rest)


@checked_theorem(
    "fourier-blocks",
    "The Fourier transform turns a circular layer with channels into blocks: with stride s and m outputs on a ring "
    "of s m samples, frequency f of an input channel goes to frequency f mod m of the output channels, by the "
    "matrix of the kernels' Fourier transforms at f. With stride 1 there is one C_out x C_in block per frequency.",
    r"Let $\omega = e^{2 \pi \mathrm{i}/(s m)}$ and $v_f(j) = \omega^{f j}$ on the ring of $s m$ samples, $u_f(i) "
    r"= \omega^{s f i}$ on its $m$ outputs, which depends on $f \bmod m$ only. A circular layer with stride $s$ "
    r"maps $v_f$ in channel $c$ to $\sum_o \Lambda_f[o, c]\, u_f$ in the channels $o$, where $\Lambda_f[o, c] = "
    r"\sum_t w_{o c t}\, \omega^{f (t d - p)}$. Sorted by frequency its matrix has $m$ blocks $C_{\mathrm{out}} "
    r"\times s C_{\mathrm{in}}$, side by side the $\Lambda_f$ of the $s$ frequencies $f \equiv g \pmod m$.",
    "m >= 1 outputs, s >= 1, a ring of s m samples; one kernel for all outputs; any channels, kernel length, "
    "dilation and offset.",
    r"Output $i$ of channel $o$ is $\sum_t w_{o c t}\, \omega^{f r(i, t)}$. By the first lemma $r(i, t)$ and $s i "
    r"+ t d - p$ differ by a multiple of $s m$, which by the identity does not change the power: the sum is "
    r"$\omega^{s f i} \Lambda_f[o, c]$. By the second lemma and the identity $u_f = u_{f + m q}$. The third says "
    r"that the pairs of frequency and channel are numbered without repetition when they are sorted by frequency. "
    r"On more axes vectors are products.",
    (_ring_period_lemma, _alias_lemma, _frequency_lemma),
    (_ROOTS,),
)
def _fourier_blocks_theorem() -> Checks:
    """Check it with powers of roots of unity as symbols, for exponents modulo the ring."""
    for layer in (
        ConvGeometry(4, 3, padding=1, boundary="circular", in_channels=2, out_channels=3),
        ConvGeometry(3, 4, padding=[(2, 1)], boundary="circular", in_channels=2),
        ConvGeometry(6, 2, stride=2, boundary="circular", in_channels=2, out_channels=2),
        ConvGeometry(6, 2, stride=3, dilation=2, padding=1, boundary="circular", in_channels=2),
        ConvGeometry((2, 3), (2, 2), padding=[(0, 1), (1, 0)], boundary="circular", in_channels=2, out_channels=2),
    ):
        shape = layer.input_shape
        A = symbolic.matrix(layer)
        w = kernel_of(layer)
        outputs = list(itertools.product(range(layer.out_channels), np.ndindex(*layer.output_shape)))
        size = math.prod(shape)
        for f, channel in itertools.product(np.ndindex(*shape), range(layer.in_channels)):
            waves = [_power(f, j, shape) for j in np.ndindex(*shape)]
            columns = range(channel * size, (channel + 1) * size)
            found = A.extract(list(range(A.rows)), list(columns)) * sympy.Matrix(waves)
            lows = [low for low, _ in layer.padding]
            same = True
            for row, (o, i) in enumerate(outputs):
                starts = [s * x - low for s, x, low in zip(layer.stride, i, lows, strict=True)]
                expected = sum(
                    w[(o, channel, *t)] * _power(f, np.array(starts) + np.array(layer.dilation) * t, shape)
                    for t in np.ndindex(*layer.kernel_shape)
                )
                same = same and sympy.expand(found[row] - expected) == 0
            yield f"{layer!r}: frequency {f} of channel {channel}", same


def _power(frequency: Any, place: Any, sizes: tuple[int, ...]) -> Any:
    """Return a symbol for the product of the powers of the roots of unity of each axis."""
    exponents = [int(f * x % n) for f, x, n in zip(frequency, place, sizes, strict=True)]
    return sympy.Symbol("z_" + "_".join(map(str, exponents)))


def _symmetric_matrix(n: int, k: int, boundary: Boundary) -> tuple[Any, list[Any]]:
    """Return the matrix of a symmetric kernel of symbols, with as many outputs as samples, and its weights."""
    w = symbolic.weights(k)
    tied = [w[min(t, k - 1 - t)] for t in range(k)]
    return with_weights(symbolic.matrix(ConvGeometry(n, k, padding="same", boundary=boundary)), tied), tied


def _is_eigenvector(A: Any, w: list[Any], vector: list[Any], factors: list[Any]) -> bool:
    """Return whether a vector of numbers is an eigenvector for the sum of weights times factors, exactly."""
    value = sum((weight * factor for weight, factor in zip(w, factors, strict=True)), sympy.Integer(0))
    rest = (A * sympy.Matrix(vector) - value * sympy.Matrix(vector)).expand()
    numbers = {number for entry in rest for number in sympy.Poly(entry, *sorted(set(w), key=str)).coeffs()}
    z = sympy.Symbol("z")
    return all(number == 0 or sympy.minimal_polynomial(number, z) == z for number in numbers)


def _check_waves(function: Callable[[Any], Any], boundary: Boundary, first: int) -> Checks:
    """Check that vectors of cosines, or of sines, at 2 j + 1 are eigenvectors, from the first frequency on."""
    for n, k in ((1, 3), (2, 3), (3, 3), (3, 5), (4, 3)):
        A, w = _symmetric_matrix(n, k, boundary)
        for f in range(first, first + n):
            vector = [function(sympy.pi * f * (2 * j + 1) / (2 * n)) for j in range(n)]
            cosines = [sympy.cos(sympy.pi * f * (t - (k - 1) // 2) / n) for t in range(k)]
            yield f"n = {n}, k = {k}, f = {f}", _is_eigenvector(A, w, vector, cosines)


@checked_theorem(
    "cosine-eigenvectors",
    "The DCT-II vectors are eigenvectors of every convolution of one channel with the symmetric boundary and a "
    "symmetric kernel, with as many outputs as samples. With channels, each frequency has a block.",
    r"With the symmetric boundary, one channel, stride 1, $n$ outputs and a symmetric kernel $w_t = w_{k-1-t}$ "
    r"centred by $2 p = d (k - 1)$, the vectors $v_f(j) = \cos\bigl(\pi f (2j + 1)/(2n)\bigr)$ of the DCT-II are "
    r"eigenvectors, for $\lambda_f = \sum_t w_t \cos\bigl(\pi f (t d - p)/n\bigr)$.",
    "n >= 1 samples and outputs, stride 1, one kernel for all outputs, symmetric and centred, 2 p = d (k - 1), on"
    " each axis; on more axes vectors and eigenvalues are made of products of the cosines.",
    r"With $x$ for the position, the first lemma says that $2 r + 1$ is $2x + 1$ or its opposite up to a multiple "
    r"of $4n$; by the first two identities $v_f$ is the same at both. By the second lemma the taps $t$ and $k - 1 "
    r"- t$ are at positions $i + y$ and $i - y$, $y = t d - p$, and have one weight; by the third identity their "
    r"sum is $2 w_t\, v_f(i) \cos(\pi f y/n)$.",
    (_fold_lemma, _pair_lemma),
    _COSINES,
)
def _cosine_eigenvectors_theorem() -> Checks:
    return _check_waves(sympy.cos, "symmetric", 0)


@checked_theorem(
    "sine-eigenvectors",
    "The DST-II vectors are eigenvectors of every convolution of one channel with the antisymmetric boundary and a "
    "symmetric kernel, with as many outputs as samples. With channels, each frequency has a block.",
    r"With the antisymmetric boundary, one channel, stride 1, $n$ outputs and a symmetric kernel $w_t = w_{k-1-t}$ "
    r"centred by $2 p = d (k - 1)$, the vectors $v_f(j) = \sin\bigl(\pi f (2j + 1)/(2n)\bigr)$, $f = 1, \ldots, n$, of "
    r"the DST-II are eigenvectors, for $\lambda_f = \sum_t w_t \cos\bigl(\pi f (t d - p)/n\bigr)$.",
    "n >= 1 samples and outputs, stride 1, one kernel for all outputs, symmetric and centred, 2 p = d (k - 1), on"
    " each axis; on more axes vectors and eigenvalues are made of products of the sines.",
    r"With $x$ for the position, $j$ for the sample and $c$ for its sign, the first lemma says that $2 j + 1$ is "
    r"$c\, (2x + 1)$ up to a multiple of $4n$; by the first two identities $c\, v_f(j)$ is the sine at $x$. By "
    r"the second lemma the taps $t$ and $k - 1 - t$ are at positions $i + y$ and $i - y$, $y = t d - p$, and have "
    r"one weight; by the third identity their sum is $2 w_t\, v_f(i) \cos(\pi f y/n)$.",
    (_sine_fold_lemma, _pair_lemma),
    _SINES,
)
def _sine_eigenvectors_theorem() -> Checks:
    return _check_waves(sympy.sin, "antisymmetric", 1)


@checked_theorem(
    "antireflective-eigenvectors",
    "Constants, a ramp and the sines that vanish at both end samples are eigenvectors of every convolution of one "
    "channel with the antireflective boundary and a symmetric kernel, with as many outputs as samples. They are n "
    "independent vectors, but not orthogonal ones.",
    r"With the antireflective boundary, one channel, stride 1, $n$ outputs and a symmetric kernel $w_t = "
    r"w_{k-1-t}$ centred by $2 p = d (k - 1)$, the vectors $1$ and $j$ are eigenvectors for $\sum_t w_t$, and "
    r"$v_f(j) = \sin\bigl(\pi f j/(n - 1)\bigr)$, $f = 1, \ldots, n - 2$, for $\lambda_f = \sum_t w_t "
    r"\cos\bigl(\pi f (t d - p)/(n - 1)\bigr)$.",
    "n >= 2 samples and outputs on one axis, stride 1, one kernel for all outputs, symmetric and centred, 2 p = d "
    "(k - 1).",
    r"Constants and ramps are continued as they are, by the first two lemmas; the kernel multiplies them by "
    r"$\sum_t w_t$, as its taps come in pairs at $i + y$ and $i - y$ by the last lemma. With $x$ for the "
    r"position, $j$ for the first sample and $c$ for its sign, the third lemma says that $j$ is $c\, x$ up to a "
    r"multiple of $2(n - 1)$, and that the other terms read the end samples, where the sines are zero: what is "
    r"read at $x$ is the sine at $x$. The identities are those of the sines.",
    (constants_lemma, ramp_lemma, _inner_fold_lemma, _pair_lemma),
    _SINES,
)
def _antireflective_eigenvectors_theorem() -> Checks:
    for n, k in ((2, 3), (3, 3), (3, 7), (4, 3), (5, 5)):
        A, w = _symmetric_matrix(n, k, "antireflect")
        ones = [sympy.Integer(1)] * k
        both = all(_is_eigenvector(A, w, [sympy.Integer(j) ** e for j in range(n)], ones) for e in (0, 1))
        yield f"n = {n}, k = {k}: constants and a ramp", both
        for f in range(1, n - 1):
            vector = [sympy.sin(sympy.pi * f * j / (n - 1)) for j in range(n)]
            cosines = [sympy.cos(sympy.pi * f * (t - (k - 1) // 2) / (n - 1)) for t in range(k)]
            yield f"n = {n}, k = {k}, f = {f}", _is_eigenvector(A, w, vector, cosines)
