"""Theorems about eigenvectors: the Fourier vectors on a ring, the cosines of the symmetric boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
            yield f"n = {n}, k = {k}, f = {f}", all(map(_is_zero, numbers))


def _is_zero(number: Any) -> bool:
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
        "n >= 1 samples and outputs, stride 1; any kernel length, dilation d >= 1 and offset p; f any integer.",
        r"Output $i$ is $\sum_t w_t\, \omega^{f r(i,t)}$. The lemma says that $r(i,t)$ and the position $i + t d - p$ "
        r"differ by a multiple of $n$, which the identity says does not change the power. So the output is $\omega^{f "
        r"i} \lambda_f$. Each pair of channels has such a sum. On more axes vectors and eigenvalues are products.",
        (PERIOD,),
        _check_fourier_eigenvectors,
        (
            Identity(
                "roots of unity",
                "exp(2 pi i f (x + n q) / n) = exp(2 pi i f x / n) for integers f, x, q",
                r"e^{2\pi\mathrm{i} f (x + n q)/n} = e^{2\pi\mathrm{i} f x/n}",
                _exponential(1),
                _exponential(0),
            ),
        ),
    ),
    Theorem(
        "cosine-eigenvectors",
        "The DCT-II vectors are eigenvectors of every convolution of one channel with the symmetric boundary and a "
        "symmetric kernel, with as many outputs as samples. With channels, each frequency has a block.",
        r"With the symmetric boundary, one channel, stride 1, $n$ outputs and a symmetric kernel $w_t = w_{k-1-t}$ "
        r"centred by $2 p = d (k - 1)$, the vectors $v_f(j) = \cos\bigl(\pi f (2j + 1)/(2n)\bigr)$ of the DCT-II are "
        r"eigenvectors, for $\lambda_f = \sum_t w_t \cos\bigl(\pi f (t d - p)/n\bigr)$.",
        "n >= 1 samples and outputs, stride 1, kernel symmetric and centred: 2 p = d (k - 1).",
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
