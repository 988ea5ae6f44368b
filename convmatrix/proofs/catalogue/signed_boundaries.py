"""Theorems about boundaries that read samples with coefficients: the antireflective and the antisymmetric one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from convmatrix import symbolic
from convmatrix.boundary import PLAIN, SIGNED, Axis, Boundary, read_sample, read_terms
from convmatrix.equivariance import actions
from convmatrix.geometry import ConvGeometry
from convmatrix.proofs.catalogue.eigenvectors import is_zero
from convmatrix.proofs.catalogue.symbol_matrices import Checks, permuted, with_weights
from convmatrix.proofs.statements import Algebra, Condition, Identity, Integer, Lemma, Theorem

if TYPE_CHECKING:
    from collections.abc import Callable


def _constants_lemma(a: Algebra) -> Condition:
    n, position = a.integers("n position")
    a.assume(n >= 1)
    (_, first), (_, second), (_, third) = a.read_terms(position, n, "antireflect")
    return a.equal(first + second + third, 1)


def _ramp_lemma(a: Algebra) -> Condition:
    n, position = a.integers("n position")
    a.assume(n >= 2)
    (inner, one), (low, second), (high, third) = a.read_terms(position, n, "antireflect")
    return a.equal(one * inner + second * low + third * high, position)


def _inside_lemma(boundary: Boundary) -> Callable[[Algebra], Condition]:
    """Return the lemma that a position inside reads the sample there alone, and every term a sample that exists."""

    def lemma(a: Algebra) -> Condition:
        n, position = a.integers("n position")
        a.assume(n >= 1)
        (inner, sign), *rest = a.read_terms(position, n, boundary)
        alone = a.both(a.equal(inner, position), a.equal(sign, 1), *(a.equal(factor, 0) for _, factor in rest))
        return a.both(
            a.within(inner, n),
            *(a.within(sample, n) for sample, _ in rest),
            a.implies(a.within(position, n), alone),
        )

    return lemma


def _sine_fold_lemma(a: Algebra) -> Condition:
    n, position = a.integers("n position")
    a.assume(n >= 1)
    ((sample, sign),) = a.read_terms(position, n, "antisymmetric")
    return a.either(
        a.both(a.equal(sign, 1), a.equal((sample - position) % (2 * n), 0)),
        a.both(a.equal(sign, -1), a.equal((sample + position + 1) % (2 * n), 0)),
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


def _pair_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, t = a.integers("n k d p i t")
    a.assume(a.equal(2 * p, d * (k - 1)))
    axis = Axis(n, n, k, 1, d, p)
    return a.equal(a.position(axis, i, t) + a.position(axis, i, k - 1 - t), 2 * i)


def _mirrored_sign_lemma(a: Algebra) -> Condition:
    n, position = a.integers("n position")
    a.assume(n >= 1)
    ((sample, sign),) = a.read_terms(position, n, "antisymmetric")
    ((mirrored, other),) = a.read_terms(n - 1 - position, n, "antisymmetric")
    return a.both(a.equal(mirrored, n - 1 - sample), a.equal(other, sign))


def _mirrored_terms_lemma(a: Algebra) -> Condition:
    n, position = a.integers("n position")
    a.assume(n >= 1)
    own, mirrored = (a.read_terms(place, n, "antireflect") for place in (position, n - 1 - position))
    # The two end samples change places.
    pairs = ((own[0], mirrored[0]), (own[1], mirrored[2]), (own[2], mirrored[1]))
    return a.both(
        *(a.both(a.equal(there, n - 1 - here), a.equal(other, factor)) for (here, factor), (there, other) in pairs)
    )


def _mirror_position_lemma(a: Algebra) -> Condition:
    m, n, k, s, d, p, i, t = a.integers("m n k s d p i t")
    a.assume(a.equal((m - 1) * s + d * (k - 1), n - 1 + 2 * p))
    axis = Axis(m, n, k, s, d, p)
    return a.equal(a.position(axis, m - 1 - i, k - 1 - t), n - 1 - a.position(axis, i, t))


def _sine(sign: int, turns: int, *, outer: int = 1) -> Callable[[], Any]:
    def side() -> Any:
        f, x, q = sympy.symbols("f x q", integer=True)
        n = sympy.Symbol("n", integer=True, positive=True)
        return outer * sympy.sin(sympy.pi * f * (sign * x + turns * 4 * n * q) / (2 * n))

    return side


def _sine_sum() -> Any:
    x, y = sympy.symbols("x y", real=True)
    return sympy.sin(x + y) + sympy.sin(x - y)


def _sine_product() -> Any:
    x, y = sympy.symbols("x y", real=True)
    return 2 * sympy.sin(x) * sympy.cos(y)


_SINES = (
    Identity(
        "period of the sine",
        "sin(pi f (x + 4 n q) / (2 n)) = sin(pi f x / (2 n)) for integers f, x, q",
        r"\sin\frac{\pi f (x + 4 n q)}{2n} = \sin\frac{\pi f x}{2n}",
        _sine(1, 1),
        _sine(1, 0),
    ),
    Identity(
        "odd sine",
        "sin(-pi f x / (2 n)) = -sin(pi f x / (2 n))",
        r"\sin\frac{-\pi f x}{2n} = -\sin\frac{\pi f x}{2n}",
        _sine(-1, 0),
        _sine(1, 0, outer=-1),
    ),
    Identity(
        "sum of sines",
        "sin(x + y) + sin(x - y) = 2 sin x cos y",
        r"\sin(x + y) + \sin(x - y) = 2 \sin x \cos y",
        _sine_sum,
        _sine_product,
    ),
)


# --- on explicit matrices of symbols ---


def _check_affine_continuation() -> Checks:
    """Check the theorem ``affine-continuation``."""
    for layer in (
        ConvGeometry(4, 3, padding=[(2, 1)], boundary="antireflect"),
        ConvGeometry(2, 3, padding=[(4, 5)], boundary="antireflect", flip=True),  # beyond one period
        ConvGeometry(5, 2, padding=3, stride=2, dilation=3, boundary="antireflect", in_channels=2, out_channels=2),
        ConvGeometry(5, 2, padding=2, boundary="antireflect", sharing=2),
        ConvGeometry((3, 2), (2, 3), padding=(1, 2), boundary="antireflect"),
    ):
        A, n_axes = symbolic.matrix(layer), len(layer.input_shape)
        w = np.array(symbolic.weights(layer.n_weights), dtype=object).reshape(layer.weight_shape)
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


def _symmetric_matrix(n: int, k: int, boundary: Boundary) -> tuple[Any, list[Any]]:
    """Return the matrix of a symmetric kernel of symbols, with as many outputs as samples, and its weights."""
    w = symbolic.weights(k)
    tied = [w[min(t, k - 1 - t)] for t in range(k)]
    return with_weights(symbolic.matrix(ConvGeometry(n, k, padding="same", boundary=boundary)), tied), tied


def _is_eigenvector(A: Any, w: list[Any], vector: list[Any], cosines: list[Any]) -> bool:
    """Return whether a vector of numbers is an eigenvector for the sum of weights times numbers, exactly."""
    value = sum((weight * cosine for weight, cosine in zip(w, cosines, strict=True)), sympy.Integer(0))
    rest = (A * sympy.Matrix(vector) - value * sympy.Matrix(vector)).expand()
    return all(
        map(is_zero, {number for entry in rest for number in sympy.Poly(entry, *sorted(set(w), key=str)).coeffs()})
    )


def _check_sine_eigenvectors() -> Checks:
    """Check the theorem ``sine-eigenvectors``."""
    for n, k in ((1, 3), (2, 3), (3, 3), (3, 5), (4, 3)):
        A, w = _symmetric_matrix(n, k, "antisymmetric")
        for f in range(1, n + 1):
            vector = [sympy.sin(sympy.pi * f * (2 * j + 1) / (2 * n)) for j in range(n)]
            cosines = [sympy.cos(sympy.pi * f * (t - (k - 1) // 2) / n) for t in range(k)]
            yield f"n = {n}, k = {k}, f = {f}", _is_eigenvector(A, w, vector, cosines)


def _check_antireflective_eigenvectors() -> Checks:
    """Check the theorem ``antireflective-eigenvectors``."""
    for n, k in ((2, 3), (3, 3), (3, 7), (4, 3), (5, 5)):
        A, w = _symmetric_matrix(n, k, "antireflect")
        ones = [sympy.Integer(1)] * k
        both = all(_is_eigenvector(A, w, [sympy.Integer(j) ** e for j in range(n)], ones) for e in (0, 1))
        yield f"n = {n}, k = {k}: constants and a ramp", both
        for f in range(1, n - 1):
            vector = [sympy.sin(sympy.pi * f * j / (n - 1)) for j in range(n)]
            cosines = [sympy.cos(sympy.pi * f * (t - (k - 1) // 2) / (n - 1)) for t in range(k)]
            yield f"n = {n}, k = {k}, f = {f}", _is_eigenvector(A, w, vector, cosines)


def _check_signed_reflection() -> Checks:
    """Check the theorem ``signed-reflection``."""
    for boundary, n, k in itertools.product(SIGNED, (1, 2, 4), (3, 5)):
        layer = ConvGeometry(n, k, padding="same", boundary=boundary)
        A, flip = symbolic.matrix(layer), actions.reflection(n, 0)
        turned = with_weights(A, symbolic.weights(k)[::-1])
        yield f"{boundary}, n = {n}, k = {k}: the reflected kernel", permuted(A, flip, flip) == turned
    layer = ConvGeometry((3, 4), (3, 2), padding=[(2, 2), (1, 0)], stride=(2, 1), boundary=("antireflect", "zero"))
    A = symbolic.matrix(layer)
    q, p = (actions.reflection(shape, 0) for shape in (layer.output_shape, layer.input_shape))
    w = np.array(symbolic.weights(6)).reshape(3, 2)[::-1].ravel().tolist()
    for boundary, position in itertools.product(PLAIN, (-3, 1, 5)):
        one = ((read_sample(position, 4, boundary), 1),)
        yield f"{boundary}, position {position}: one term", read_terms(position, 4, boundary) == one
    yield f"{layer!r}: one of two axes", permuted(A, q, p) == with_weights(A, w)


def _lemma(name: str, text: str, latex: str, build: Callable[[Algebra], Condition], **example: Integer) -> Lemma:
    return Lemma(name, text, latex, build, example or {"n": 4, "position": -3})


_MIRROR = {"m": 3, "n": 5, "k": 3, "s": 2, "d": 1, "p": 1, "i": 1, "t": 0}

_PAIRS = Lemma(
    "pairs",
    "taps t and k - 1 - t are at equal distances from i, on either side",
    r"x(i, t) + x(i, k - 1 - t) = 2i",
    _pair_lemma,
    {"n": 5, "k": 3, "d": 2, "p": 2, "i": 4, "t": 2},
)

_STRAIGHT_LINES = (
    _lemma(
        "constants",
        "the coefficients of what is read at a position sum to one",
        r"\sum_l c_l(x) = 1",
        _constants_lemma,
    ),
    _lemma(
        "ramps",
        "the samples that are read, each times its coefficient, sum to the position",
        r"n \ge 2 \implies \sum_l c_l(x)\, j_l(x) = x",
        _ramp_lemma,
    ),
)


THEOREMS = (
    Theorem(
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
        (
            *_STRAIGHT_LINES,
            _lemma(
                "inside",
                "all samples that are read exist, and a position inside reads the sample there and nothing else",
                r"0 \le j_l(x) < n;\quad 0 \le x < n \implies j_0 = x,\ c_0 = 1,\ c_1 = c_2 = 0",
                _inside_lemma("antireflect"),
            ),
        ),
        _check_affine_continuation,
    ),
    Theorem(
        "sine-eigenvectors",
        "The DST-II vectors are eigenvectors of every convolution of one channel with the antisymmetric boundary and a "
        "symmetric kernel, with as many outputs as samples. With channels, each frequency has a block.",
        r"With the antisymmetric boundary, one channel, stride 1, $n$ outputs and a symmetric kernel $w_t = "
        r"w_{k-1-t}$ centred by $2 p = d (k - 1)$, the vectors $v_f(j) = \sin\bigl(\pi f (2j + 1)/(2n)\bigr)$, $f = "
        r"1, \ldots, n$, of the DST-II are eigenvectors, for $\lambda_f = \sum_t w_t \cos\bigl(\pi f (t d - "
        r"p)/n\bigr)$.",
        "n >= 1 samples and outputs, stride 1, one kernel for all outputs, symmetric and centred, 2 p = d (k - 1), on"
        " each axis; on more axes vectors and eigenvalues are made of products of the sines.",
        r"With $x$ for the position, $j$ for the sample and $c$ for its sign, the first lemma says that $2 j + 1$ is "
        r"$c\, (2x + 1)$ up to a multiple of $4n$; by the first two identities $c\, v_f(j)$ is the sine at $x$. By "
        r"the second lemma the taps $t$ and $k - 1 - t$ are at positions $i + y$ and $i - y$, $y = t d - p$, and have "
        r"one weight; by the third identity their sum is $2 w_t\, v_f(i) \cos(\pi f y/n)$.",
        (
            _lemma(
                "fold",
                "the sign is 1 and j - x a multiple of 2 n, or it is -1 and j + x + 1 is one",
                r"c = 1,\ 2n \mid j - x \ \text{ or } \ c = -1,\ 2n \mid j + x + 1, \quad\text{so}\quad 2 j + 1 "
                r"\equiv c (2x + 1) \pmod{4n}",
                _sine_fold_lemma,
            ),
            _PAIRS,
        ),
        _check_sine_eigenvectors,
        _SINES,
    ),
    Theorem(
        "signed-reflection",
        "A centred layer commutes with the reflection of an axis whose boundary is antireflective or antisymmetric if "
        "its kernel does.",
        r"Let the windows lie symmetrically, $(m - 1) s + d (k - 1) = n - 1 + 2p$, on an axis with the antireflective "
        r"or the antisymmetric boundary. Then $R A(w) R = A(\bar w)$ for the reflection $R$ of the axis, where $\bar "
        r"w$ is the reflected kernel. So a symmetric kernel gives a layer that commutes with the reflection.",
        "n >= 1; (m - 1) s + d (k - 1) = n - 1 + 2 p on the axes that are reflected; one kernel, not tiles; any number "
        "of axes, the others with any boundary.",
        r"The first lemma reflects positions. By the others, one for each boundary, the reflected position reads the "
        r"reflected samples with the same coefficients; for the antireflective one the two end samples change places. "
        r"So tap $t$ of output $i$ reads $j$ with the coefficient with which tap $k-1-t$ of output $m-1-i$ reads "
        r"$n-1-j$.",
        (
            _lemma(
                "positions",
                "the reflected tap of the reflected output has the reflected position",
                r"x(m - 1 - i, k - 1 - t) = n - 1 - x(i, t)",
                _mirror_position_lemma,
                **_MIRROR,
            ),
            _lemma(
                "antireflect boundary",
                "the reflected position reads the reflected samples with the same coefficients, the ends exchanged",
                r"j_l(n - 1 - x) = n - 1 - j_{\bar l}(x),\quad c_l(n - 1 - x) = c_{\bar l}(x),\quad \bar l = 0, 2, 1",
                _mirrored_terms_lemma,
            ),
            _lemma(
                "antisymmetric boundary",
                "the reflected position reads the reflected sample with the same sign",
                r"j(n - 1 - x) = n - 1 - j(x),\quad c(n - 1 - x) = c(x)",
                _mirrored_sign_lemma,
            ),
        ),
        _check_signed_reflection,
    ),
    Theorem(
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
        (
            *_STRAIGHT_LINES,
            _lemma(
                "fold",
                "the sign is 1 and j - x a multiple of 2 n - 2, or it is -1 and j + x is one; the other terms read the "
                "end samples",
                r"c = 1,\ 2n - 2 \mid j - x \ \text{ or } \ c = -1,\ 2n - 2 \mid j + x;\quad j_1 = 0,\ j_2 = n - 1",
                _inner_fold_lemma,
            ),
            _PAIRS,
        ),
        _check_antireflective_eigenvectors,
        _SINES,
    ),
)
