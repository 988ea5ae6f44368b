"""The theorems about output sizes and paddings: the functions that compute sizes, run on symbols.

The functions in `convmatrix.boundary` that compute the sizes of an axis consist of formulas and of branches that raise
an error if a layer is invalid. In a run of them, a comparison in an ``if`` states that the branch is not taken, which
the lemma assumes or has to show. Each of these branches is also taken once, to check that it raises an error. The
result is shown to be that of the formula.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from convmatrix import boundary as _boundary
from convmatrix import symbolic
from convmatrix.boundary import Axis
from convmatrix.geometry import ConvGeometry
from convmatrix.proofs.catalogue.symbol_matrices import matrix_by_loop
from convmatrix.proofs.statements import Algebra, Condition, Integer, Lemma, checked_theorem, lemma
from convmatrix.proofs.symbols import run_without_branches

if TYPE_CHECKING:
    from collections.abc import Callable

    from convmatrix.proofs.catalogue.symbol_matrices import Checks


_LAYER = {"k": 3, "s": 2, "d": 1, "low": 1, "high": 1}
_SAME = {"n": 7, "span": 4, "s": 2}
_TRANSPOSED = {"m": 7, "span": 4, "s": 2, "extra": 1}


def _outputs(
    a: Algebra, sizes: tuple[Integer, ...], not_taken: Callable[[Condition], None], *, transposed: bool = False
) -> Integer:
    """Return the number of outputs of a convolution, computed by the code that is used for layers."""
    resolve = _boundary.transposed_axis if transposed else _boundary.forward_axis

    def compute(n: Any, span: Any, s: Any, low: Any, high: Any, extra: Any = 0) -> Any:
        return resolve(0, n, span, "", s, (low, high), extra)[3]

    formula = (a.transposed_outputs if transposed else a.forward_outputs)(*sizes)
    a.show(a.equal(run_without_branches(compute, sizes, a, not_taken), formula))
    return formula


@lemma(
    "windows",
    "of m outputs, window m - 1 ends inside the padded input and window m does not",
    r"x(m - 1, k - 1) < n + p_h \le x(m, k - 1)",
    {"n": 7, **_LAYER},
)
def _windows_lemma(a: Algebra) -> Condition:
    n, k, s, d, low, high = a.integers("n k s d low high")
    a.assume(n >= 1, s >= 1, d >= 1, k >= 1)
    m = _outputs(a, (n, d * (k - 1) + 1, s, low, high), a.assume)
    axis = Axis(m, n, k, s, d, low)
    return a.both(m >= 1, a.position(axis, m - 1, k - 1) < n + high, a.position(axis, m, k - 1) >= n + high)


@lemma(
    "there and back",
    "the size of the transposed layer has m outputs, and its output padding is e mod s",
    r"n = n^*(m, o) \implies m(n) = m,\ e \bmod s = o",
    {"m": 4, **_LAYER, "extra": 1},
)
def _there_and_back_lemma(a: Algebra) -> Condition:
    m, k, s, d, low, high, extra = a.integers("m k s d low high extra")
    span = d * (k - 1) + 1
    a.assume(m >= 1, s >= 1, d >= 1, k >= 1, a.within(extra, s))
    n = _outputs(a, (m, span, s, low, high, extra), a.assume, transposed=True)
    outputs = _outputs(a, (n, span, s, low, high), a.show)
    return a.both(a.equal(outputs, m), a.equal((n + low + high - span) % s, extra))


@lemma(
    "back and there",
    "each size is that of the transposed layer with the output padding e mod s, from 0 to s - 1",
    r"m = m(n),\ o = e \bmod s \implies n^*(m, o) = n,\quad 0 \le o < s",
    {"n": 7, **_LAYER},
)
def _back_and_there_lemma(a: Algebra) -> Condition:
    n, k, s, d, low, high = a.integers("n k s d low high")
    span = d * (k - 1) + 1
    a.assume(n >= 1, s >= 1, d >= 1, k >= 1)
    m = _outputs(a, (n, span, s, low, high), a.assume)
    extra = (n + low + high - span) % s
    return a.both(a.within(extra, s), a.equal(_outputs(a, (m, span, s, low, high, extra), a.show, transposed=True), n))


def _same_lemma(word: str) -> Lemma:
    @lemma(
        f"{word}, outputs",
        f"with {word} a layer has ceil(n / s) outputs",
        r"s (m - 1) < n \le s m,\quad p_l, p_h \ge 0",
        _SAME,
    )
    def build(a: Algebra) -> Condition:
        n, span, s = a.integers("n span s")
        a.assume(n >= 1, span >= 1, s >= 1)
        low, high = a.forward_padding(word, n, span, s)
        m = a.forward_outputs(n, span, s, low, high)
        rounded_up = -(-n // s)
        a.show(a.both(s * (rounded_up - 1) < n, n <= s * rounded_up))
        a.show(a.within(n + low + high - span - s * (rounded_up - 1), s))
        a.show(a.equal(m, rounded_up))
        return a.both(s * (m - 1) < n, n <= s * m, low >= 0, high >= 0)

    return build


def _padded_axis(
    a: Algebra, word: str, n: Integer, k: Integer, s: Integer, d: Integer
) -> tuple[Axis, Integer, Integer]:
    """Return an axis with the padding that a word stands for, and the padding at its low and high end."""
    span = d * (k - 1) + 1
    low, high = a.forward_padding(word, n, span, s)
    return Axis(a.forward_outputs(n, span, s, low, high), n, k, s, d, low), low, high


@lemma(
    "least padding",
    "without padding, or with the last window ending where the padding ends",
    r"p_l + p_h = 0 \ \text{ or } \ x(m - 1, k - 1) = n + p_h - 1",
    {"n": 7, "k": 4, "s": 2, "d": 1},
)
def _least_lemma(a: Algebra) -> Condition:
    n, k, s, d = a.integers("n k s d")
    a.assume(n >= 1, k >= 1, d >= 1, s >= 1)
    axis, low, high = _padded_axis(a, "same", n, k, s, d)
    last = a.position(axis, axis.n_outputs - 1, k - 1)
    return a.either(a.equal(low + high, 0), a.equal(last, n + high - 1))


@lemma(
    "odd sample",
    "same has the odd sample at the high end, same_lower at the low end",
    r"p_l \le p_h \le p_l + 1,\quad p_l' = p_h,\ p_h' = p_l",
    _SAME,
)
def _odd_lemma(a: Algebra) -> Condition:
    n, span, s = a.integers("n span s")
    a.assume(n >= 1, span >= 1, s >= 1)
    low, high = a.forward_padding("same", n, span, s)
    lower = a.forward_padding("same_lower", n, span, s)
    return a.both(low <= high, high <= low + 1, a.equal(lower[0], high), a.equal(lower[1], low))


@lemma(
    "full",
    "the first window ends at the first sample, the last begins inside and no further one does",
    r"x(0, k - 1) = 0,\quad x(m - 1, 0) < n \le x(m, 0)",
    {"n": 7, "k": 4, "s": 2, "d": 1},
)
def _full_lemma(a: Algebra) -> Condition:
    n, k, s, d = a.integers("n k s d")
    a.assume(n >= 1, k >= 1, d >= 1, s >= 1)
    axis, low, high = _padded_axis(a, "full", n, k, s, d)
    m, first = axis.n_outputs, a.equal(a.position(axis, 0, k - 1), 0)
    return a.both(a.equal(low, high), first, a.position(axis, m - 1, 0) < n, a.position(axis, m, 0) >= n)


@lemma(
    "valid",
    "the first window begins at the first sample, the last ends inside and no further one does",
    r"x(0, 0) = 0,\quad x(m - 1, k - 1) < n \le x(m, k - 1)",
    {"n": 7, "k": 4, "s": 2, "d": 1},
)
def _valid_lemma(a: Algebra) -> Condition:
    n, k, s, d = a.integers("n k s d")
    a.assume(d >= 1, s >= 1, k >= 1, n >= d * (k - 1) + 1)
    axis, _, high = _padded_axis(a, "valid", n, k, s, d)
    m, first = axis.n_outputs, a.equal(a.position(axis, 0, 0), 0)
    return a.both(a.equal(high, 0), first, a.position(axis, m - 1, k - 1) < n, a.position(axis, m, k - 1) >= n)


@lemma(
    "refused",
    "the code accepts a layer if and only if its kernel fits, that is, if the layer has an output",
    r"m \ge 1 \iff \ell \le n + p_l + p_h",
    {**_SAME, "low": 1, "high": 1},
)
def _refused_lemma(a: Algebra) -> Condition:
    n, span, s, low, high = a.integers("n span s low high")
    a.assume(s >= 1)
    accepted: list[Condition] = []
    m = _outputs(a, (n, span, s, low, high), accepted.append)
    return a.both(a.equivalent(accepted[0], m >= 1), a.equivalent(accepted[0], span <= n + low + high))


@lemma(
    "largest",
    "the code accepts a layer only if the padded input has fewer than 2**62 samples",
    r"n + p_l + p_h < 2^{62}",
    {**_SAME, "low": 1, "high": 1},
)
def _largest_lemma(a: Algebra) -> Condition:
    n, span, s, low, high = a.integers("n span s low high")
    a.assume(s >= 1)
    accepted: list[Condition] = []
    _outputs(a, (n, span, s, low, high), accepted.append)
    return a.equivalent(accepted[1], n + low + high < 2**62)


@lemma(
    "largest",
    "the code accepts a layer only if it has fewer than 2**62 samples before cropping",
    r"(m - 1) s + \ell + o < 2^{62}",
    {"m": 7, "span": 4, "s": 2, "low": 1, "high": 1, "extra": 1},
)
def _transposed_largest_lemma(a: Algebra) -> Condition:
    m, span, s, low, high, extra = a.integers("m span s low high extra")
    accepted: list[Condition] = []
    _outputs(a, (m, span, s, low, high, extra), accepted.append, transposed=True)
    return a.equivalent(accepted[1], (m - 1) * s + span + extra < 2**62)


def _transposed_same_lemma(word: str) -> Lemma:
    @lemma(
        f"{word}, outputs",
        f"with {word} a transposed layer has m s outputs",
        r"n = m s,\quad p_l, p_h \ge 0",
        _TRANSPOSED,
    )
    def build(a: Algebra) -> Condition:
        m, span, s, extra = a.integers("m span s extra")
        a.assume(m >= 1, span >= 1, s >= 1, extra >= 0)
        low, high, more = a.transposed_padding(word, m, span, s, extra)
        outputs = a.transposed_outputs(m, span, s, low, high, more)
        return a.both(a.equal(outputs, m * s), low >= 0, high >= 0, more >= extra)

    return build


@lemma(
    "total",
    "same crops span + o - s samples, or makes s - span the output padding",
    r"\ell + o \ge s \implies p_l + p_h = \ell + o - s,\ o' = o;\quad \ell + o \le s \implies p_l = p_h = 0,\ o' = s "
    r"- \ell",
    _TRANSPOSED,
)
def _transposed_total_lemma(a: Algebra) -> Condition:
    m, span, s, extra = a.integers("m span s extra")
    a.assume(m >= 1, span >= 1, s >= 1, extra >= 0)
    low, high, more = a.transposed_padding("same", m, span, s, extra)
    cropped = a.both(a.equal(low + high, span + extra - s), a.equal(more, extra))
    added = a.both(a.equal(low, 0), a.equal(high, 0), a.equal(more, s - span))
    return a.both(a.implies(span + extra >= s, cropped), a.implies(span + extra <= s, added))


@lemma(
    "odd sample",
    "same crops the odd sample at the high end, same_lower at the low end",
    r"p_l \le p_h \le p_l + 1,\quad p_l' = p_h,\ p_h' = p_l,\ o' = o",
    _TRANSPOSED,
)
def _transposed_odd_lemma(a: Algebra) -> Condition:
    m, span, s, extra = a.integers("m span s extra")
    a.assume(m >= 1, span >= 1, s >= 1, extra >= 0)
    low, high, more = a.transposed_padding("same", m, span, s, extra)
    lower = a.transposed_padding("same_lower", m, span, s, extra)
    same = a.both(a.equal(lower[0], high), a.equal(lower[1], low), a.equal(lower[2], more))
    return a.both(low <= high, high <= low + 1, same)


@lemma(
    "full and valid",
    "full crops span - 1 samples at either end, valid none",
    r"n_{\text{full}} = (m - 1) s + 2 - \ell + o,\quad n_{\text{valid}} = (m - 1) s + \ell + o",
    _TRANSPOSED,
)
def _transposed_words_lemma(a: Algebra) -> Condition:
    m, span, s, extra = a.integers("m span s extra")
    full, valid = (a.transposed_padding(word, m, span, s, extra) for word in ("full", "valid"))
    return a.both(
        *map(a.equal, full, (span - 1, span - 1, extra)),
        *map(a.equal, valid, (0, 0, extra)),
        a.equal(a.transposed_outputs(m, span, s, *full), (m - 1) * s + 2 - span + extra),
        a.equal(a.transposed_outputs(m, span, s, *valid), (m - 1) * s + span + extra),
    )


@lemma(
    "ends",
    "the first position is -p_l, and the last lies p_h beyond the outputs without the output padding",
    r"x(0, 0) = -p_l,\quad x(m - 1, k - 1) + 1 + o = n + p_h",
    {"m": 7, "k": 4, "s": 2, "d": 1, "low": 1, "high": 1, "extra": 1},
)
def _transposed_ends_lemma(a: Algebra) -> Condition:
    m, k, s, d, low, high, extra = a.integers("m k s d low high extra")
    n = a.transposed_outputs(m, d * (k - 1) + 1, s, low, high, extra)
    axis = Axis(m, n, k, s, d, low)
    return a.both(a.equal(a.position(axis, 0, 0), -low), a.equal(a.position(axis, m - 1, k - 1) + 1 + extra, n + high))


@lemma(
    "range",
    "every tap of every input writes between these positions",
    r"x(0, 0) \le x(i, t) \le x(m - 1, k - 1)",
    {"m": 7, "n": 16, "k": 4, "s": 2, "d": 1, "p": 1, "i": 1, "t": 1},
)
def _beyond_lemma(a: Algebra) -> Condition:
    m, n, k, s, d, p, i, t = a.integers("m n k s d p i t")
    a.assume(s >= 1, d >= 1, a.within(i, m), a.within(t, k))
    axis = Axis(m, n, k, s, d, p)
    x = a.position(axis, i, t)
    return a.both(x >= a.position(axis, 0, 0), x <= a.position(axis, m - 1, k - 1))


@lemma(
    "refused",
    "the code accepts a layer if and only if an output remains after cropping",
    r"n \ge 1 \iff p_l + p_h < (m - 1) s + \ell + o",
    {"m": 7, "span": 4, "s": 2, "low": 1, "high": 1, "extra": 1},
)
def _transposed_refused_lemma(a: Algebra) -> Condition:
    m, span, s, low, high, extra = a.integers("m span s low high extra")
    accepted: list[Condition] = []
    outputs = _outputs(a, (m, span, s, low, high, extra), accepted.append, transposed=True)
    fits = low + high < (m - 1) * s + span + extra
    return a.both(a.equivalent(accepted[0], outputs >= 1), a.equivalent(accepted[0], fits))


# --- on explicit matrices of symbols ---


@checked_theorem(
    "output-sizes",
    "The output sizes of convolution and transposed convolution invert each other: each input size belongs to one "
    "output padding from 0 to s - 1.",
    r"A convolution of $n$ samples has $m = \lfloor (n + p_l + p_h - d(k-1) - 1)/s \rfloor + 1$ outputs: as many "
    r"as there are windows that end inside the padded input. The transposed layer with output padding $o$, $0 \le "
    r"o < s$, maps $m$ to a size that the convolution maps to $m$; each such size is that of exactly one $o$, "
    r"namely $(n + p_l + p_h - d(k-1) - 1) \bmod s$.",
    "n >= 1, m >= 1, s >= 1, d >= 1, k >= 1, any paddings, negative ones included, of layers that the code that "
    "computes sizes accepts: a window fits, and padded sizes are below 2**62.",
    r"The lemmas run the very functions that compute the sizes of layers. Their branches that raise an error are "
    r"assumed not to be taken by the first function that is run, and shown not to be taken by the second. Two output "
    r"paddings with one size are equal, since both are $e \bmod s$ for $e = n + p_l + p_h - d(k-1) - 1$.",
    (_windows_lemma, _there_and_back_lemma, _back_and_there_lemma),
)
def _output_sizes_theorem() -> Checks:
    for n, k, s, d, p in itertools.product((5, 8), (1, 3), (1, 2, 3), (1, 2), (0, 1)):
        layer = ConvGeometry(n, k, stride=s, dilation=d, padding=p)
        extra = (n + 2 * p - d * (k - 1) - 1) % s
        back = ConvGeometry(
            layer.output_shape, k, stride=s, dilation=d, padding=p, transposed=True, output_padding=extra
        )
        same = symbolic.matrix(back) == symbolic.matrix(layer).T
        yield f"n = {n}, k = {k}, s = {s}, d = {d}, p = {p}", back.output_shape == layer.input_shape and same


@checked_theorem(
    "odd-padding",
    'The padding "same" gives ceil(n / s) outputs with the least padding, the odd sample at the high end, and '
    '"same_lower" the same with the odd sample at the low end; "full" gives one output for each window that meets '
    'the input, "valid" one for each window inside.',
    r"Let the kernel span $\ell = d (k - 1) + 1$ samples. With \texttt{same} a convolution has $m = \lceil n/s "
    r"\rceil$ outputs and the padding $p_l + p_h = \max((m - 1) s + \ell - n, 0)$, $p_l \le p_h \le p_l + 1$; "
    r"\texttt{same\_lower} exchanges $p_l$ and $p_h$. With \texttt{full}, $p_l = p_h = \ell - 1$, the first "
    r"window ends at the first sample and the last begins inside. With \texttt{valid} nothing is padded. A layer "
    r"is refused exactly if it has no window.",
    'n >= 1, s >= 1, k >= 1, d >= 1; for valid n >= d (k - 1) + 1. The lemmas on "same" hold for every span >= 1.',
    r"The lemmas run the functions that compute the padding of layers. The first two say that $s (m - 1) < n \le s "
    r"m$. By the next the last window ends where the padding does, or there is none: less padding would lose it. "
    r"The fourth places the odd sample. The others are about full and valid padding, and about the layers that "
    r"are refused: those with $\ell > n + p_l + p_h$, where the number of outputs would be below 1.",
    (
        *map(_same_lemma, ("same", "same_lower")),
        _least_lemma,
        _odd_lemma,
        _full_lemma,
        _valid_lemma,
        _refused_lemma,
        _largest_lemma,
    ),
)
def _odd_padding_theorem() -> Checks:
    for n, k, s, d in (*itertools.product((5, 6), (1, 2, 3, 4), (1, 2, 3), (1,)), (7, 3, 2, 3), (4, 2, 3, 2)):
        span, m = d * (k - 1) + 1, len(range(0, n, s))
        total = max((m - 1) * s + span - n, 0)
        less, more = sorted((total // 2, total - total // 2))
        paddings = {"same": (less, more), "same_lower": (more, less), "full": (span - 1,) * 2, "valid": (0, 0)}
        holds = True
        for word, padding in paddings.items():
            if word == "valid" and span > n:
                continue
            layer = ConvGeometry(n, k, stride=s, dilation=d, padding=word)
            sizes = {"same": m, "same_lower": m, "full": len(range(1 - span, n, s))}
            holds = holds and layer.padding == (padding,)
            holds = holds and layer.output_shape == (sizes.get(word, len(range(0, n - span + 1, s))),)
            holds = holds and symbolic.matrix(layer) == matrix_by_loop(layer)
        yield f"n = {n}, k = {k}, s = {s}, d = {d}: the padding of each word", holds
    layer = ConvGeometry((5, 4), (2, 3), stride=(2, 1), padding=("same_lower", "full"), in_channels=2)
    known = layer.padding == ((1, 0), (2, 2)) and layer.output_shape == (3, 6)
    yield "two axes, two words", known and symbolic.matrix(layer) == matrix_by_loop(layer)


@checked_theorem(
    "transposed-sizes",
    "A transposed layer crops its low padding at the low end and its high padding at the high end, where the "
    'output padding is added; "same" gives m s outputs, by cropping or by adding; a layer without outputs is '
    "refused.",
    r"The transposed layer with $m$ inputs, stride $s$ and span $\ell = d (k - 1) + 1$ writes to positions $-p_l, "
    r"\dots, (m - 1) s + \ell - 1 - p_l$, of which those from $0$ to $n - 1$, $n = (m - 1) s + \ell - p_l - p_h + "
    r"o$, are its outputs; the last $o - p_h$, if positive, are zero. With \texttt{same} $n = m s$: $p_l + p_h = "
    r"\ell + o - s$ samples are cropped, the odd one at the high end (\texttt{same\_lower}: at the low end), or $s "
    r"- \ell$ is the output padding if this is negative. It is refused exactly if $n < 1$.",
    'm >= 1, s >= 1, k >= 1, d >= 1, output padding o >= 0 for "same"; any paddings otherwise.',
    r"The lemmas run the functions that compute the sizes of layers: number of outputs, total, odd sample, the "
    r"other words, and the condition on which a layer is refused. Those on ends and range are about the positions "
    r"to which input $i$ writes at tap $t$, which are what output $i$ of the underlying convolution reads.",
    (
        *map(_transposed_same_lemma, ("same", "same_lower")),
        _transposed_total_lemma,
        _transposed_odd_lemma,
        _transposed_words_lemma,
        _transposed_ends_lemma,
        _beyond_lemma,
        _transposed_refused_lemma,
        _transposed_largest_lemma,
    ),
)
def _transposed_sizes_theorem() -> Checks:
    for m, k, s, d, extra in (
        *itertools.product((1, 3), (1, 2, 3, 4), (1, 2, 3), (1,), (0, 1)),
        (2, 2, 3, 3, 1),
        (2, 3, 2, 2, 0),
    ):
        if extra >= max(s, d):
            continue
        span = d * (k - 1) + 1
        total = span + extra - s
        less, more = sorted((max(total, 0) // 2, -(-max(total, 0) // 2)))
        holds = True
        for word, padding in {"same": (less, more), "same_lower": (more, less), "valid": (0, 0)}.items():
            layer = ConvGeometry(m, k, stride=s, dilation=d, padding=word, output_padding=extra, transposed=True)
            size = m * s if word != "valid" else (m - 1) * s + span + extra
            holds = holds and layer.padding == (padding,) and layer.output_shape == (size,)
            holds = holds and symbolic.matrix(layer) == matrix_by_loop(layer)
        yield f"m = {m}, k = {k}, s = {s}, d = {d}, output padding {extra}", holds
    layer = ConvGeometry((2, 3), (3, 2), stride=(2, 1), padding=[(2, 0), (0, 1)], in_channels=2, transposed=True)
    yield "two axes, different ends", layer.output_shape == (3, 3) and symbolic.matrix(layer) == matrix_by_loop(layer)
    for m, k, s, low, high in itertools.product((1, 2), (2, 3), (1, 2), (0, 2, 3), (0, 1)):
        outputs = (m - 1) * s + k - low - high
        try:
            size = ConvGeometry(m, k, stride=s, padding=[(low, high)], transposed=True).output_shape[0]
        except ValueError:
            size = 0
        yield f"m = {m}, k = {k}, s = {s}, padding ({low}, {high})", size == max(outputs, 0)
