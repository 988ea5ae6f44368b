"""Theorems about eigenvectors, reflections and rotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convmatrix import boundary as boundary_rule
from convmatrix.boundary import BOUNDARIES, Axis, Boundary
from convmatrix.equivariance.catalogue import matrices
from convmatrix.equivariance.catalogue.base import Identity, Theorem
from convmatrix.equivariance.engines.lemma import Algebra, Condition, Lemma

if TYPE_CHECKING:
    from collections.abc import Callable


def _period_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, t = a.integers("n k d p i t")
    a.assume(n >= 1, d >= 1, a.within(i, n), a.within(t, k))
    axis = Axis(n, n, k, 1, d, p, "circular")
    return a.equal((axis.position(i, t) - axis.sample(i, t, a.select)) % n, 0)


def _fold_lemma(a: Algebra) -> Condition:
    n, position = a.integers("n position")
    a.assume(n >= 1)
    sample = boundary_rule.read_sample(position, n, "symmetric", a.select)
    return a.either(a.equal((sample - position) % (2 * n), 0), a.equal((sample + position + 1) % (2 * n), 0))


def _pair_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, t = a.integers("n k d p i t")
    a.assume(a.equal(2 * p, d * (k - 1)))
    axis = Axis(n, n, k, 1, d, p, "symmetric")
    return a.equal(axis.position(i, t) + axis.position(i, k - 1 - t), 2 * i)


def _mirror_lemma(boundary: Boundary) -> Callable[[Algebra], Condition]:
    """Return the lemma that the reflected position reads the reflected sample."""

    def lemma(a: Algebra) -> Condition:
        n, position = a.integers("n position")
        a.assume(n >= 1)
        sample = boundary_rule.read_sample(position, n, boundary, a.select)
        mirrored = boundary_rule.read_sample(n - 1 - position, n, boundary, a.select)
        expected = n - 1 - sample if boundary != "zero" else a.select(sample < 0, sample, n - 1 - sample)
        return a.equal(mirrored, expected)

    return lemma


def _mirror_position_lemma(a: Algebra) -> Condition:
    m, n, k, s, d, p, i, t = a.integers("m n k s d p i t")
    a.assume(a.equal((m - 1) * s + d * (k - 1), n - 1 + 2 * p))
    axis = Axis(m, n, k, s, d, p)
    return a.equal(axis.position(m - 1 - i, k - 1 - t), n - 1 - axis.position(i, t))


def _inside_lemma(boundary: Boundary) -> Callable[[Algebra], Condition]:
    """Return the lemma that a position inside the input reads the sample there."""

    def lemma(a: Algebra) -> Condition:
        n, position = a.integers("n position")
        a.assume(n >= 1, a.within(position, n))
        return a.equal(boundary_rule.read_sample(position, n, boundary, a.select), position)

    return lemma


def _distinct_lemma(a: Algebra) -> Condition:
    m, n, k, s, d, p, i, t, u = a.integers("m n k s d p i t u")
    a.assume(d >= 1, a.within(t, k), a.within(u, k))
    axis = Axis(m, n, k, s, d, p)
    a.assume(a.equal(axis.position(i, t), axis.position(i, u)))
    return a.equal(t, u)


def _scaling_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, t = a.integers("n k d p i t")
    a.assume(n >= 1, d >= 1, a.within(i, n), a.within(t, k))
    axis = Axis(n, n, k, 1, d, p, "circular")
    a.assume(a.equal(axis.sample((2 * i) % n, t, a.select), (2 * axis.sample(i, t, a.select)) % n))
    return a.equal((t * d - p) % n, 0)


def _rotation_lemma(a: Algebra) -> Condition:
    n, y, x, v, u = a.integers("n y x v u")
    a.assume(n >= 1)
    first = boundary_rule.read_sample((y - x) % n + v, n, "circular", a.select)
    second = boundary_rule.read_sample((y + x) % n + u, n, "circular", a.select)
    down, right = (
        boundary_rule.read_sample(y + v, n, "circular", a.select),
        boundary_rule.read_sample(x + u, n, "circular", a.select),
    )
    a.assume(a.equal(first, (down - right) % n), a.equal(second, (down + right) % n))
    return a.both(a.equal(u % n, 0), a.equal(v % n, 0))


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

THEOREMS = (
    Theorem(
        "fourier-eigenvectors",
        "The Fourier vectors are eigenvectors of every circular convolution; the eigenvalues are the kernel's Fourier "
        "transform.",
        r"With $\omega = e^{2 \pi \mathrm{i}/n}$ the vector $v_f(j) = \omega^{f j}$ is an eigenvector of every "
        r"circular "
        r"convolution with stride 1, for the eigenvalue $\lambda_f = \sum_t w_t\, \omega^{f (t d - p)}$.",
        "n >= 1, stride 1; any kernel length, dilation d >= 1 and offset p; f any integer.",
        r"Output $i$ is $\sum_t w_t\, \omega^{f r(i,t)}$. The lemma says that $r(i,t)$ and the position $i + t d - p$ "
        r"differ "
        r"by a multiple of $n$, which the identity says does not change the power. So the output is $\omega^{f i} "
        r"\lambda_f$. On more axes vectors and eigenvalues are products.",
        (
            Lemma(
                "period",
                "the sample that is read and the position differ by a multiple of n",
                r"n \mid (i + t d - p) - r(i, t)",
                _period_lemma,
                _RING,
            ),
        ),
        matrices.fourier_eigenvectors,
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
        "The DCT-II vectors are eigenvectors of every convolution with the symmetric boundary and a symmetric kernel.",
        r"With the symmetric boundary, stride 1 and a symmetric kernel $w_t = w_{k-1-t}$ centred by $2 p = d (k - 1)$, "
        r"the "
        r"vectors $v_f(j) = \cos\bigl(\pi f (2j + 1)/(2n)\bigr)$ of the DCT-II are eigenvectors, for $\lambda_f = "
        r"\sum_t "
        r"w_t \cos\bigl(\pi f (t d - p)/n\bigr)$.",
        "n >= 1, stride 1, kernel symmetric and centred: 2 p = d (k - 1).",
        r"With $x$ for the position, the first lemma says that $2 r + 1$ is $2x + 1$ or its opposite up to a multiple "
        r"of "
        r"$4n$; by the first two identities $v_f$ is the same at both. By the second lemma the taps $t$ and $k - 1 - "
        r"t$ are "
        r"at positions $i + y$ and $i - y$, $y = t d - p$, and have one weight; by the third identity their sum is "
        r"$2 w_t\, v_f(i) \cos(\pi f y/n)$.",
        (
            Lemma(
                "fold",
                "r - x or r + x + 1 is a multiple of 2 n: 2 r + 1 is 2 x + 1 or -(2 x + 1) up to a multiple of 4 n",
                r"2n \mid r(x) - x \ \text{ or } \ 2n \mid r(x) + x + 1, \quad\text{so}\quad 2 r(x) + 1 \equiv \pm (2x "
                r"+ 1) \pmod{4n}",
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
        matrices.cosine_eigenvectors,
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
    Theorem(
        "reflection-symmetry",
        "A centred layer commutes with the reflection of an axis, or a quarter turn, if and only if its kernel does; "
        "for "
        "every boundary.",
        r"Let the windows lie symmetrically, $(m - 1) s + d (k - 1) = n - 1 + 2p$. With every boundary, $R A(w) R = "
        r"A(\bar w)$ for the reflection $R$ of an axis, where $\bar w$ is the reflected kernel; and on a square with "
        r"equal "
        r"axes $Q A(w) Q^{-1} = A(\bar w)$ for the quarter turn $Q$ and the turned kernel. So a kernel with the "
        r"symmetry "
        r"gives an equivariant layer. Conversely the layer has the symmetry only if the kernel does, where some output "
        r"reads all its taps inside the input.",
        "n >= 1; (m - 1) s + d (k - 1) = n - 1 + 2 p; for the converse, some window lies inside the input.",
        r"The first lemma reflects positions, the next five what is read there, one for each boundary: so tap $t$ of "
        r"output "
        r"$i$ reads $j$ just where tap $k-1-t$ of output $m-1-i$ reads $n-1-j$. A quarter turn exchanges two equal "
        r"axes and "
        r"reflects one of them. Conversely, $A(w) = A(\bar w)$ gives $w = \bar w$: in a row whose window lies inside, "
        r"each "
        r"tap reads the sample at its position, and no two taps the same, by the last lemmas.",
        (
            Lemma(
                "positions",
                "the reflected tap of the reflected output has the reflected position",
                r"x(m - 1 - i, k - 1 - t) = n - 1 - x(i, t)",
                _mirror_position_lemma,
                {"m": 3, "n": 5, "k": 3, "s": 2, "d": 1, "p": 1, "i": 1, "t": 0},
            ),
            *(
                Lemma(
                    f"{boundary} boundary",
                    "the reflected position reads the reflected sample",
                    rf"r_{{\text{{{boundary}}}}}(n - 1 - x) = n - 1 - r_{{\text{{{boundary}}}}}(x)",
                    _mirror_lemma(boundary),
                    {"n": 4, "position": -2},
                )
                for boundary in BOUNDARIES
            ),
            *(
                Lemma(
                    f"{boundary}, inside",
                    "a position inside reads the sample there",
                    rf"0 \le x < n \implies r_{{\text{{{boundary}}}}}(x) = x",
                    _inside_lemma(boundary),
                    {"n": 4, "position": 2},
                )
                for boundary in BOUNDARIES
            ),
            Lemma(
                "distinct taps",
                "two taps of one output have one position only if they are one tap",
                r"x(i, t) = x(i, u) \implies t = u",
                _distinct_lemma,
                {"m": 3, "n": 5, "k": 3, "s": 2, "d": 1, "p": 1, "i": 1, "t": 0, "u": 0},
            ),
        ),
        matrices.reflection_symmetry,
    ),
    Theorem(
        "no-scaling-or-rotation",
        "Circular convolution commutes neither with scaling nor with a rotation by 45 degrees: only taps at the centre "
        "do.",
        r"A circular convolution commutes with the scaling $j \mapsto 2 j$ of a ring only through the centre "
        r"tap: those whose offset has $n \mid t d - p$. It commutes with $(y, x) \mapsto "
        r"(y - x, y + x)$, the rotation of the grid by $45^\circ$ (with a scaling by $\sqrt 2$), only through the "
        r"centre "
        r"tap. So any other weight is a counterexample.",
        "n >= 1; n odd where the maps are to be permutations, which the lemmas do not need.",
        r"Were tap $t$ of every output moved along, it would be of any one output, and the lemmas follow from what "
        r"that "
        r"output reads.",
        (
            Lemma(
                "scaling",
                "a tap that is moved along by the scaling has an offset t d - p that is a multiple of n",
                r"r(2 i \bmod n,\, t) = 2\, r(i, t) \bmod n \implies n \mid t d - p",
                _scaling_lemma,
                {"n": 5, "k": 3, "d": 1, "p": 1, "i": 2, "t": 1},
            ),
            Lemma(
                "rotation",
                "a tap (v, u) from the centre that is moved along by the rotation is the centre",
                r"r\bigl(M(y,x) + (v,u)\bigr) = M\, r\bigl((y,x) + (v,u)\bigr) \implies u \equiv v \equiv 0 \pmod n",
                _rotation_lemma,
                {"n": 5, "y": 1, "x": 2, "v": 0, "u": 0},
            ),
        ),
        matrices.no_scaling,
    ),
)
