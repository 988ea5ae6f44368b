"""Theorems about reflections, quarter turns, scalings and rotations, for plain and signed boundaries."""

from __future__ import annotations

import itertools

import numpy as np

from convmatrix import symbolic
from convmatrix.boundary import PLAIN, SIGNED, Axis, Boundary, read_sample, read_terms
from convmatrix.equivariance import actions
from convmatrix.geometry import ConvGeometry
from convmatrix.proofs.catalogue.eigenvectors import period_lemma
from convmatrix.proofs.catalogue.symbol_matrices import Checks, permuted, ring, with_weights
from convmatrix.proofs.statements import Algebra, Condition, Integer, Lemma, checked_theorem, lemma


def _mirror_lemma(boundary: Boundary) -> Lemma:
    @lemma(
        f"{boundary} boundary",
        "the reflected position reads the reflected sample",
        rf"r_{{\text{{{boundary}}}}}(n - 1 - x) = n - 1 - r_{{\text{{{boundary}}}}}(x)",
        {"n": 4, "position": -2},
    )
    def build(a: Algebra) -> Condition:
        n, position = a.integers("n position")
        a.assume(n >= 1)
        sample = a.read_sample(position, n, boundary)
        mirrored = a.read_sample(n - 1 - position, n, boundary)
        expected = n - 1 - sample if boundary != "zero" else a.select(sample < 0, sample, n - 1 - sample)
        return a.equal(mirrored, expected)

    return build


@lemma(
    "positions",
    "the reflected tap of the reflected output has the reflected position",
    r"x(m - 1 - i, k - 1 - t) = n - 1 - x(i, t)",
    {"m": 3, "n": 5, "k": 3, "s": 2, "d": 1, "p": 1, "i": 1, "t": 0},
)
def _mirror_position_lemma(a: Algebra) -> Condition:
    m, n, k, s, d, p, i, t = a.integers("m n k s d p i t")
    a.assume(a.equal((m - 1) * s + d * (k - 1), n - 1 + 2 * p))
    axis = Axis(m, n, k, s, d, p)
    return a.equal(a.position(axis, m - 1 - i, k - 1 - t), n - 1 - a.position(axis, i, t))


@lemma(
    "antisymmetric boundary",
    "the reflected position reads the reflected sample with the same sign",
    r"j(n - 1 - x) = n - 1 - j(x),\quad c(n - 1 - x) = c(x)",
    {"n": 4, "position": -3},
)
def _mirrored_sign_lemma(a: Algebra) -> Condition:
    n, position = a.integers("n position")
    a.assume(n >= 1)
    ((sample, sign),) = a.read_terms(position, n, "antisymmetric")
    ((mirrored, other),) = a.read_terms(n - 1 - position, n, "antisymmetric")
    return a.both(a.equal(mirrored, n - 1 - sample), a.equal(other, sign))


@lemma(
    "antireflect boundary",
    "the reflected position reads the reflected samples with the same coefficients, the ends exchanged",
    r"j_l(n - 1 - x) = n - 1 - j_{\bar l}(x),\quad c_l(n - 1 - x) = c_{\bar l}(x),\quad \bar l = 0, 2, 1",
    {"n": 4, "position": -3},
)
def _mirrored_terms_lemma(a: Algebra) -> Condition:
    n, position = a.integers("n position")
    a.assume(n >= 1)
    own, mirrored = (a.read_terms(place, n, "antireflect") for place in (position, n - 1 - position))
    # The two end samples change places.
    pairs = ((own[0], mirrored[0]), (own[1], mirrored[2]), (own[2], mirrored[1]))
    return a.both(
        *(a.both(a.equal(there, n - 1 - here), a.equal(other, factor)) for (here, factor), (there, other) in pairs)
    )


def _inside_lemma(boundary: Boundary) -> Lemma:
    @lemma(
        f"{boundary}, inside",
        "a position inside reads the sample there",
        rf"0 \le x < n \implies r_{{\text{{{boundary}}}}}(x) = x",
        {"n": 4, "position": 2},
    )
    def build(a: Algebra) -> Condition:
        n, position = a.integers("n position")
        a.assume(n >= 1, a.within(position, n))
        return a.equal(a.read_sample(position, n, boundary), position)

    return build


@lemma(
    "distinct taps",
    "two taps of one output have one position only if they are one tap",
    r"x(i, t) = x(i, u) \implies t = u",
    {"m": 3, "n": 5, "k": 3, "s": 2, "d": 1, "p": 1, "i": 1, "t": 0, "u": 0},
)
def _distinct_lemma(a: Algebra) -> Condition:
    m, n, k, s, d, p, i, t, u = a.integers("m n k s d p i t u")
    a.assume(d >= 1, a.within(t, k), a.within(u, k))
    axis = Axis(m, n, k, s, d, p)
    a.assume(a.equal(a.position(axis, i, t), a.position(axis, i, u)))
    return a.equal(t, u)


@lemma(
    "scaling on a ring",
    "a tap that is moved along by the factor f has an offset o = t d - p with (f - 1) o a multiple of n: n (c - b - "
    "e), made of the multiples that samples, outputs and what is read there differ by",
    r"(f - 1)(t d - p) = n (c - b - e)",
    {"n": 5, "k": 3, "d": 1, "p": 1, "i": 2, "t": 1, "f": 3, "of_output": 1, "of_sample": 1, "of_read": 0},
)
def _scaling_lemma(a: Algebra) -> Condition:
    n, k, d, p, i, t, f, of_output, of_sample, of_read = a.integers("n k d p i t f of_output of_sample of_read")
    a.assume(n >= 1)
    axis = Axis(n, n, k, 1, d, p)
    output, sample = f * i - n * of_output, f * a.position(axis, i, t) - n * of_sample
    a.assume(a.equal(a.position(axis, output, t) - n * of_read, sample))
    return a.equal((f - 1) * a.position(axis, 0, t), n * (of_sample - of_output - of_read))


@lemma(
    "rotation on a ring",
    "a tap that is moved along by g + h i has an offset whose difference from its product with g + h i is a multiple "
    "of n on both axes",
    r"M (v, u) - (v, u) = n\, (c - b - e),\quad b, c, e \in \mathbb{Z}^2",
    {
        "n": 5,
        "y": 2,
        "x": 1,
        "g": 1,
        "h": 1,
        "v": 0,
        "u": 0,
        **dict.fromkeys(("of_output_down", "of_output_right", "of_sample_down", "of_sample_right"), 0),
        **dict.fromkeys(("of_read_down", "of_read_right"), 0),
    },
)
def _rotation_lemma(a: Algebra) -> Condition:
    n, y, x, v, u, g, h = a.integers("n y x v u g h")
    outputs, samples = a.integers("of_output_down of_output_right"), a.integers("of_sample_down of_sample_right")
    reads = a.integers("of_read_down of_read_right")
    a.assume(n >= 1)
    moved = zip(_turned(g, h, y, x), _turned(g, h, y + v, x + u), (v, u), outputs, samples, reads, strict=True)
    a.assume(*(a.equal(output - n * o + offset - n * r, sample - n * s) for output, sample, offset, o, s, r in moved))
    turned = zip(_turned(g, h, v, u), (v, u), outputs, samples, reads, strict=True)
    return a.both(*(a.equal(place - offset, n * (s - o - r)) for place, offset, o, s, r in turned))


def _turned(g: Integer, h: Integer, down: Integer, right: Integer) -> tuple[Integer, Integer]:
    """Return the product of ``g + h i`` and ``down + right i``."""
    return g * down - h * right, h * down + g * right


@lemma(
    "scaling of the grid",
    "a tap that is moved along by a factor f >= 2 on the unbounded grid is the centre",
    r"x(f i, t) = f\, x(i, t),\ f \ge 2 \implies t d - p = 0",
    {"i": 2, "d": 1, "p": 1, "t": 1, "f": 3},
)
def _grid_scaling_lemma(a: Algebra) -> Condition:
    i, d, p, t, f = a.integers("i d p t f")
    a.assume(d >= 1, f >= 2)
    axis = Axis(1, 1, 1, 1, d, p)
    a.assume(a.equal(a.position(axis, f * i, t), f * a.position(axis, i, t)))
    a.show(a.equal((f - 1) * a.position(axis, 0, t), 0))
    return a.equal(a.position(axis, 0, t), 0)


@lemma(
    "rotation of the grid",
    "a tap that is moved along by g + h i, which is not 1, on the unbounded grid is the centre",
    r"x\bigl(M (y, x)\bigr) = M\, x(y, x),\ M \ne 1 \implies (v, u) = (0, 0)",
    {"y": 1, "x": 2, "d": 1, "e": 1, "p": 1, "r": 1, "t": 1, "s": 1, "g": 1, "h": 1},
)
def _grid_lemma(a: Algebra) -> Condition:
    y, x, d, e, p, r, t, s, g, h = a.integers("y x d e p r t s g h")
    a.assume(d >= 1, e >= 1, a.either(a.different(g, 1), a.different(h, 0)))
    down, right = Axis(1, 1, 1, 1, d, p), Axis(1, 1, 1, 1, e, r)
    v, u = a.position(down, 0, t), a.position(right, 0, s)
    outputs, samples = _turned(g, h, y, x), _turned(g, h, a.position(down, y, t), a.position(right, x, s))
    a.assume(
        a.equal(a.position(down, outputs[0], t), samples[0]), a.equal(a.position(right, outputs[1], s), samples[1])
    )
    a.cases(h >= 0, g >= 1)
    norm = (g - 1) * (g - 1) + h * h
    a.show(norm >= 1)
    a.show(a.both(a.equal(norm * v, 0), a.equal(norm * u, 0)))
    return a.both(a.equal(v, 0), a.equal(u, 0))


# --- on explicit matrices of symbols ---


@checked_theorem(
    "reflection-symmetry",
    "A centred layer commutes with the reflection of an axis, or a quarter turn, if and only if its kernel does; "
    "for every plain boundary.",
    r"Let the windows lie symmetrically, $(m - 1) s + d (k - 1) = n - 1 + 2p$. With every plain boundary, $R A(w) "
    r"R = A(\bar w)$ for the reflection $R$ of an axis, where $\bar w$ is the reflected kernel; and on a square "
    r"with equal axes $Q A(w) Q^{-1} = A(\bar w)$ for the quarter turn $Q$ and the turned kernel. So a kernel "
    r"with the symmetry gives an equivariant layer. Conversely the layer has the symmetry only if the kernel "
    r"does, where some output reads all its taps inside the input.",
    "n >= 1; (m - 1) s + d (k - 1) = n - 1 + 2 p on the axes that are turned; a quarter turn is one of the first two "
    "axes, which are equal; one kernel, not tiles; for the converse, d >= 1 and some window lies inside the input.",
    r"The first lemma reflects positions, the next five what is read there, one for each boundary: so tap $t$ of "
    r"output $i$ reads $j$ just where tap $k-1-t$ of output $m-1-i$ reads $n-1-j$. A quarter turn exchanges two "
    r"equal axes and reflects one of them. Conversely, $A(w) = A(\bar w)$ gives $w = \bar w$: in a row whose "
    r"window lies inside, each tap reads the sample at its position, and no two taps the same, by the last lemmas.",
    (_mirror_position_lemma, *map(_mirror_lemma, PLAIN), *map(_inside_lemma, PLAIN), _distinct_lemma),
)
def _reflection_symmetry_theorem() -> Checks:
    for boundary, n, k in itertools.product(("zero", "circular", "reflect", "symmetric", "replicate"), (3, 4), (3, 5)):
        A = symbolic.matrix(ConvGeometry(n, k, padding="same", boundary=boundary))
        flip = actions.reflection(n, 0)
        turned = with_weights(A, symbolic.weights(k)[::-1])
        yield f"{boundary}, n = {n}, k = {k}: the reflected kernel", permuted(A, flip, flip) == turned
    layer = ConvGeometry((3, 3), (3, 3), padding="same")
    A, turn = symbolic.matrix(layer), actions.quarter_turn((3, 3))
    order = np.rot90(np.arange(9).reshape(3, 3)).ravel()
    values = [symbolic.weights(9)[int(place)] for place in order]
    yield "3 x 3, a quarter turn", permuted(A, turn, turn) == with_weights(A, values)
    yield "and not the kernel itself", permuted(A, turn, turn) != A


@checked_theorem(
    "signed-reflection",
    "A centred layer commutes with the reflection of an axis whose boundary is antireflective or antisymmetric if "
    "its kernel does.",
    r"Let the windows lie symmetrically, $(m - 1) s + d (k - 1) = n - 1 + 2p$, on an axis with the antireflective "
    r"or the antisymmetric boundary. Then $R A(w) R = A(\bar w)$ for the reflection $R$ of the axis, where $\bar "
    r"w$ is the reflected kernel. So a symmetric kernel gives a layer that commutes with the reflection.",
    "n >= 1; (m - 1) s + d (k - 1) = n - 1 + 2 p on the axes that are reflected; one kernel, not tiles; any number "
    "of axes, the others with any boundary.",
    r"The first lemma reflects positions. By the others, one for each boundary, the reflected position reads the "
    r"reflected samples with the same coefficients; for the antireflective one the two end samples change places. So "
    r"tap $t$ of output $i$ reads $j$ with the coefficient with which tap $k-1-t$ of output $m-1-i$ reads $n-1-j$.",
    (_mirror_position_lemma, _mirrored_terms_lemma, _mirrored_sign_lemma),
)
def _signed_reflection_theorem() -> Checks:
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


@checked_theorem(
    "no-scaling-or-rotation",
    "With independent weights, convolution on the unbounded grid commutes with no scaling by an integer factor f "
    ">= 2, and with no rotation by any angle that maps the grid to itself (with any scaling), unless its one tap "
    "is at the centre. On a ring the taps that commute are those that the map leaves in place.",
    r"Let $M$ be multiplication by a factor $f$ on one axis, or by a Gaussian integer $g + h \mathrm{i}$ in the "
    r"plane: a rotation by the angle of $g + h \mathrm{i}$ with a scaling by its modulus; $1 + \mathrm{i}$ turns "
    r"by $45^\circ$, $2 + \mathrm{i}$ by $26.6^\circ$, $\mathrm{i}$ by a quarter turn. If $M \ne 1$, a "
    r"convolution with stride 1 commutes with $M$ on the unbounded grid, for all weights, only if its one tap is "
    r"at the centre. On rings of $n$ samples each tap has an offset $o$ with $M o \equiv o \pmod n$: for a factor "
    r"$f$ on one axis $n \mid (f - 1)(t d - p)$. So any other tap is a counterexample.",
    "n >= 1; stride 1, any dilation d >= 1 of each axis; any integer factor f (f = 1 leaves all in place), on any "
    "number of axes; any integers g, h, on a ring with the same n on both axes. Angles whose tangent is neither "
    "rational nor infinite map no grid to a grid, and are not spoken of. The weights are independent: a kernel "
    "with tied weights can commute, as in reflection-symmetry.",
    r"For all weights to commute, each tap of each output is to be moved along by itself. By the first lemma a "
    r"tap reads its position less a multiple of $n$, so that $M$ takes the sample to $M$ times the position less "
    r"another: say $n c$. The output is moved to $M i$ less $n b$, and reads there its position less $n e$. The "
    r"next two lemmas exhibit the quotient of $M o - o$ by $n$: it is $c - b - e$. On the unbounded grid there "
    r"are not multiples: the last two lemmas, where $|M - 1|^2 o = 0$ leaves only the centre.",
    (period_lemma, _scaling_lemma, _rotation_lemma, _grid_scaling_lemma, _grid_lemma),
)
def _no_scaling_theorem() -> Checks:
    """Check it tap by tap, a matrix of that tap alone against the formula."""
    for n, factor, k in ((3, 2, 3), (5, 2, 5), (5, 3, 3), (7, 3, 3), (7, 4, 7), (7, 8, 3)):
        A, w, scaled = ring(n, k), symbolic.weights(k), factor * np.arange(n) % n
        for t in range(k):
            only = with_weights(A, [w[t] if u == t else 0 for u in range(k)])
            stays = (factor - 1) * (t - k // 2) % n == 0
            yield f"n = {n}, factor {factor}, tap {t} alone", (permuted(only, scaled, scaled) == only) == stays
    for n, g, h in ((3, 1, 1), (3, 0, 1), (5, 1, 1), (5, 2, 0), (5, -1, 2), (7, 2, 1)):
        y, x = np.divmod(np.arange(n * n), n)
        turn = (g * y - h * x) % n * n + (h * y + g * x) % n
        if len(set(turn.tolist())) < n * n:
            continue
        A, w = symbolic.matrix(ConvGeometry((n, n), (3, 3), padding="same", boundary="circular")), symbolic.weights(9)
        found, expected = [], []
        for t, (v, u) in enumerate(itertools.product((-1, 0, 1), repeat=2)):
            only = with_weights(A, [w[t] if other == t else 0 for other in range(9)])
            found.append(permuted(only, turn, turn) == only)
            expected.append((g * v - h * u - v) % n == 0 and (h * v + g * u - u) % n == 0)
        yield f"{n} x {n}, {g} + {h} i: {sum(expected)} of 9 taps stay in place", found == expected
