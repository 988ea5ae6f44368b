"""Theorems about eigenvectors: the Fourier vectors on a ring, the cosines of the symmetric boundary."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from convmatrix import symbolic
from convmatrix.boundary import Axis
from convmatrix.geometry import ConvGeometry
from convmatrix.proofs.catalogue.symbol_matrices import (
    Checks,
    ring,
)
from convmatrix.proofs.statements import Algebra, Condition, Identity, Lemma, Theorem

if TYPE_CHECKING:
    from collections.abc import Callable


def _period_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, t = a.integers("n k d p i t")
    a.assume(n >= 1, d >= 1, a.within(i, n), a.within(t, k))
    axis = Axis(n, n, k, 1, d, p, "circular")
    return a.equal((a.position(axis, i, t) - a.sample(axis, i, t)) % n, 0)


def _ring_period_lemma(a: Algebra) -> Condition:
    m, k, s, d, p, i, t = a.integers("m k s d p i t")
    a.assume(m >= 1, s >= 1, a.within(i, m), a.within(t, k))
    axis = Axis(m, s * m, k, s, d, p, "circular")
    return a.both(
        a.equal((a.position(axis, i, t) - a.sample(axis, i, t)) % (s * m), 0),
        a.equal(a.position(axis, i, t), s * i + a.position(axis, 0, t)),
    )


def _alias_lemma(a: Algebra) -> Condition:
    m, s, i, f, q = a.integers("m s i f q")
    a.assume(m >= 1, s >= 1)
    return a.equal((s * i * (f + m * q) - s * i * f) % (s * m), 0)


def _frequency_lemma(a: Algebra) -> Condition:
    channels, f, c, other, e = a.integers("channels f c other e")
    a.assume(a.within(c, channels), a.within(e, channels), a.equal(f * channels + c, other * channels + e))
    return a.both(a.equal(f, other), a.equal(c, e))


def _fold_lemma(a: Algebra) -> Condition:
    n, position = a.integers("n position")
    a.assume(n >= 1)
    sample = a.read_sample(position, n, "symmetric")
    return a.either(a.equal((sample - position) % (2 * n), 0), a.equal((sample + position + 1) % (2 * n), 0))


def _pair_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, t = a.integers("n k d p i t")
    a.assume(a.equal(2 * p, d * (k - 1)))
    axis = Axis(n, n, k, 1, d, p, "symmetric")
    return a.equal(a.position(axis, i, t) + a.position(axis, i, k - 1 - t), 2 * i)


def _wave() -> tuple[Any, ...]:
    import sympy

    f, x, q = sympy.symbols("f x q", integer=True)
    return sympy, f, sympy.Symbol("n", integer=True, positive=True), x, q


def _exponential(turns: int) -> Callable[[], Any]:
    def side() -> Any:
        sympy, f, n, x, q = _wave()
        return sympy.exp(2 * sympy.pi * sympy.I * f * (x + turns * n * q) / n)

    return side


def _cosine(sign: int, turns: int) -> Callable[[], Any]:
    def side() -> Any:
        sympy, f, n, x, q = _wave()
        return sympy.cos(sympy.pi * f * (sign * x + turns * 4 * n * q) / (2 * n))

    return side


def _cosine_sum() -> Any:
    import sympy

    x, y = sympy.symbols("x y", real=True)
    return sympy.cos(x + y) + sympy.cos(x - y)


def _cosine_product() -> Any:
    import sympy

    x, y = sympy.symbols("x y", real=True)
    return 2 * sympy.cos(x) * sympy.cos(y)


_RING = {"n": 5, "k": 3, "d": 2, "p": 1, "i": 4, "t": 2}

PERIOD = Lemma(
    "period",
    "the sample that is read and the position differ by a multiple of n",
    r"n \mid (i + t d - p) - r(i, t)",
    _period_lemma,
    _RING,
)

_ROOTS = Identity(
    "roots of unity",
    "exp(2 pi i f (x + n q) / n) = exp(2 pi i f x / n) for integers f, x, q",
    r"e^{2\pi\mathrm{i} f (x + n q)/n} = e^{2\pi\mathrm{i} f x/n}",
    _exponential(1),
    _exponential(0),
)


# --- on explicit matrices of symbols ---


def _check_fourier_eigenvectors() -> Checks:
    """Check the theorem ``fourier-eigenvectors``."""
    for n, k, p in ((1, 2, 1), (2, 3, 1), (3, 2, 0), (4, 3, 1), (4, 6, 2)):
        A, w = ring(n, k, offset=p), symbolic.weights(k)
        omega = sympy.exp(2 * sympy.pi * sympy.I / n)
        for f in range(n):
            vector = sympy.Matrix([omega ** (f * j) for j in range(n)])
            value = sum((w[t] * omega ** (f * (t - p)) for t in range(k)), sympy.Integer(0))
            rest = (A * vector - value * vector).applyfunc(lambda e: sympy.expand(sympy.expand_complex(e)))
            yield f"n = {n}, k = {k}, f = {f}", all(sympy.simplify(entry) == 0 for entry in rest)


def _check_fourier_blocks() -> Checks:
    """Check the theorem ``fourier-blocks``, with powers of roots of unity as symbols, for exponents modulo the ring."""
    for layer in (
        ConvGeometry(4, 3, padding=1, boundary="circular", in_channels=2, out_channels=3),
        ConvGeometry(3, 4, padding=[(2, 1)], boundary="circular", in_channels=2),
        ConvGeometry(6, 2, stride=2, boundary="circular", in_channels=2, out_channels=2),
        ConvGeometry(6, 2, stride=3, dilation=2, padding=1, boundary="circular", in_channels=2),
        ConvGeometry((2, 3), (2, 2), padding=[(0, 1), (1, 0)], boundary="circular", in_channels=2, out_channels=2),
    ):
        shape = layer.input_shape
        A = symbolic.matrix(layer)
        w = np.array(symbolic.weights(layer.n_weights), dtype=object).reshape(layer.weight_shape)
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


def _check_cosine_eigenvectors() -> Checks:
    """Check the theorem ``cosine-eigenvectors``."""
    for n, k in ((1, 3), (2, 3), (3, 3), (3, 5), (4, 3)):
        w = symbolic.weights(k)
        A = symbolic.matrix(ConvGeometry(n, k, padding="same", boundary="symmetric"))
        A = A.subs({w[t]: w[min(t, k - 1 - t)] for t in range(k)})
        p = (k - 1) // 2
        for f in range(n):
            vector = sympy.Matrix([sympy.cos(sympy.pi * f * (2 * j + 1) / (2 * n)) for j in range(n)])
            value = sum(
                (w[min(t, k - 1 - t)] * sympy.cos(sympy.pi * f * (t - p) / n) for t in range(k)), sympy.Integer(0)
            )
            rest = (A * vector - value * vector).expand()
            numbers = {number for entry in rest for number in sympy.Poly(entry, *w).coeffs()}
            yield f"n = {n}, k = {k}, f = {f}", all(map(is_zero, numbers))


def is_zero(number: Any) -> bool:
    """Return whether an algebraic number is zero, exactly."""
    z = sympy.Symbol("z")
    return bool(number == 0 or sympy.minimal_polynomial(number, z) == z)


THEOREMS = (
    Theorem(
        "fourier-eigenvectors",
        "The Fourier vectors are eigenvectors of every circular convolution of one channel, with as many outputs as "
        "samples; the eigenvalues are the kernel's Fourier transform. With channels, each frequency has a block.",
        r"With $\omega = e^{2 \pi \mathrm{i}/n}$ the vector $v_f(j) = \omega^{f j}$ is an eigenvector of every "
        r"circular convolution of one channel with stride 1 and $n$ outputs, for the eigenvalue $\lambda_f = \sum_t "
        r"w_t\, \omega^{f (t d - p)}$. With channels, $\lambda_f$ is the matrix of these sums, one for each pair of "
        r"channels.",
        "n >= 1 samples and outputs, stride 1, one kernel for all outputs; any kernel length, dilation d >= 1 and "
        "offset p; f any integer, one per axis.",
        r"Output $i$ is $\sum_t w_t\, \omega^{f r(i,t)}$. The lemma says that $r(i,t)$ and the position $i + t d - p$ "
        r"differ by a multiple of $n$, which the identity says does not change the power. So the output is $\omega^{f "
        r"i} \lambda_f$. Each pair of channels has such a sum. On more axes vectors and eigenvalues are products.",
        (PERIOD,),
        _check_fourier_eigenvectors,
        (_ROOTS,),
    ),
    Theorem(
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
        (
            Lemma(
                "period",
                "the sample that is read and the position s i + t d - p differ by a multiple of s m",
                r"s m \mid x(i, t) - r(i, t),\quad x(i, t) = s i + x(0, t)",
                _ring_period_lemma,
                {"m": 3, "k": 3, "s": 2, "d": 1, "p": 1, "i": 1, "t": 2},
            ),
            Lemma(
                "aliases",
                "frequencies f and f + m q have the same values on the outputs",
                r"s m \mid s i (f + m q) - s i f",
                _alias_lemma,
                {"m": 3, "s": 2, "i": 1, "f": 2, "q": 1},
            ),
            Lemma(
                "sorted by frequency",
                "the number f C + c of channel c at frequency f is that of no other channel and frequency",
                r"f C + c = f' C + c',\ 0 \le c, c' < C \implies f = f',\ c = c'",
                _frequency_lemma,
                {"channels": 3, "f": 1, "c": 2, "other": 1, "e": 2},
            ),
        ),
        _check_fourier_blocks,
        (_ROOTS,),
    ),
    Theorem(
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
        (
            Lemma(
                "fold",
                "r - x or r + x + 1 is a multiple of 2 n: 2 r + 1 is 2 x + 1 or -(2 x + 1) up to a multiple of 4 n",
                r"2n \mid r(x) - x \ \text{ or } \ 2n \mid r(x) + x + 1, \quad\text{so}\quad 2 r(x) + 1 \equiv \pm "
                r"(2x + 1) \pmod{4n}",
                _fold_lemma,
                {"n": 4, "position": -3},
            ),
            Lemma(
                "pairs",
                "taps t and k - 1 - t are at equal distances from i, on either side",
                r"x(i, t) + x(i, k - 1 - t) = 2i",
                _pair_lemma,
                {"n": 5, "k": 3, "d": 2, "p": 2, "i": 4, "t": 2},
            ),
        ),
        _check_cosine_eigenvectors,
        (
            Identity(
                "period of the cosine",
                "cos(pi f (x + 4 n q) / (2 n)) = cos(pi f x / (2 n)) for integers f, x, q",
                r"\cos\frac{\pi f (x + 4 n q)}{2n} = \cos\frac{\pi f x}{2n}",
                _cosine(1, 1),
                _cosine(1, 0),
            ),
            Identity(
                "even cosine",
                "cos(-pi f x / (2 n)) = cos(pi f x / (2 n))",
                r"\cos\frac{-\pi f x}{2n} = \cos\frac{\pi f x}{2n}",
                _cosine(-1, 0),
                _cosine(1, 0),
            ),
            Identity(
                "sum of cosines",
                "cos(x + y) + cos(x - y) = 2 cos x cos y",
                r"\cos(x + y) + \cos(x - y) = 2 \cos x \cos y",
                _cosine_sum,
                _cosine_product,
            ),
        ),
    ),
)
