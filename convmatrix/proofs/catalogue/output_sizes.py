"""The theorem about output sizes: the functions that compute sizes, run on symbols.

The functions in `convmatrix.boundary` that compute the sizes of an axis consist of formulas and of branches that raise
an error if a layer is invalid. A `_Size` stands for an integer in them: a comparison in an ``if`` states that the
branch is not taken, which the lemma assumes or has to show. Each of these branches is also taken once, to check that it
raises an error. The result is shown to be that of the formula.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from convmatrix import boundary as _boundary
from convmatrix import symbolic
from convmatrix.boundary import Axis
from convmatrix.geometry import ConvGeometry
from convmatrix.proofs.statements import Algebra, Condition, Integer, Lemma, Theorem

if TYPE_CHECKING:
    from collections.abc import Callable

    from convmatrix.proofs.catalogue.symbol_matrices import Checks


class _Run:
    """One run of a function that computes sizes: the treatment of its branches, of which it may take one."""

    def __init__(self, a: Algebra, not_taken: Callable[[Condition], None], taken: int) -> None:
        self.a, self.not_taken, self.taken = a, not_taken, taken
        self.branches = 0

    def branch(self, condition: Condition) -> bool:
        self.branches += 1
        if self.branches - 1 == self.taken:
            return True
        if self.taken < 0:
            self.not_taken(self.a.negation(condition))
        return False


class _Size:
    """An integer of an engine, for code that contains branches."""

    __hash__ = None  # type: ignore[assignment]  # == returns a condition, not a bool

    def __init__(self, run: _Run, value: Integer) -> None:
        self.run, self.value = run, value

    def __add__(self, other: Any) -> _Size:
        return _Size(self.run, self.value + _value(other))

    def __sub__(self, other: Any) -> _Size:
        return _Size(self.run, self.value - _value(other))

    def __rsub__(self, other: Any) -> _Size:
        return _Size(self.run, _value(other) - self.value)

    def __mul__(self, other: Any) -> _Size:
        return _Size(self.run, self.value * _value(other))

    def __mod__(self, other: Any) -> _Size:
        return _Size(self.run, self.value % _value(other))

    def __floordiv__(self, other: Any) -> _Size:
        return _Size(self.run, self.value // _value(other))

    __radd__, __rmul__ = __add__, __mul__

    def __gt__(self, other: Any) -> _Branch:
        return _Branch(self.run, self.value > _value(other))

    def __ge__(self, other: Any) -> _Branch:
        return _Branch(self.run, self.value >= _value(other))

    def __lt__(self, other: Any) -> _Branch:
        return _Branch(self.run, self.value < _value(other))

    def __le__(self, other: Any) -> _Branch:
        return _Branch(self.run, self.value <= _value(other))

    def __eq__(self, other: object) -> Any:
        return _Branch(self.run, self.run.a.equal(self.value, _value(other)))

    def __ne__(self, other: object) -> Any:
        return _Branch(self.run, self.run.a.different(self.value, _value(other)))


class _Branch:
    """A condition in an ``if``."""

    def __init__(self, run: _Run, condition: Condition) -> None:
        self.run, self.condition = run, condition

    def __bool__(self) -> bool:
        return self.run.branch(self.condition)


def _value(other: Any) -> Integer:
    return other.value if isinstance(other, _Size) else other


def _outputs(a: Algebra, sizes: tuple[Integer, ...], not_taken: Callable[[Condition], None]) -> Integer:
    """Return the number of outputs of a convolution, computed by the code that is used for layers."""

    def compute(n: Any, span: Any, s: Any, low: Any, high: Any) -> Any:
        return _boundary.forward_axis(0, n, span, "", s, (low, high), 0)[3]

    return _computed(compute, sizes, a.forward_outputs(*sizes), a, not_taken)


def _transposed_outputs(a: Algebra, sizes: tuple[Integer, ...], not_taken: Callable[[Condition], None]) -> Integer:
    """Return the number of outputs of a transposed convolution, computed by the code that is used for layers."""

    def compute(m: Any, span: Any, s: Any, low: Any, high: Any, more: Any) -> Any:
        return _boundary.transposed_axis(0, m, span, "", s, (low, high), more)[3]

    return _computed(compute, sizes, a.transposed_outputs(*sizes), a, not_taken)


def _computed(
    compute: Callable[..., Any],
    sizes: tuple[Integer, ...],
    formula: Integer,
    a: Algebra,
    not_taken: Callable[[Condition], None],
) -> Integer:
    """Return the formula of a function that takes none of its branches, each of which must raise an error."""
    run = _Run(a, not_taken, taken=-1)
    result = compute(*(_Size(run, size) for size in sizes))
    for place in range(run.branches):
        other = _Run(a, not_taken, taken=place)
        try:
            compute(*(_Size(other, size) for size in sizes))
        except ValueError:
            continue
        raise TypeError(f"branch {place} of the function of sizes raises no ValueError, and so cannot be set aside")
    a.show(a.equal(_value(result), formula))
    return formula


def _windows_lemma(a: Algebra) -> Condition:
    n, k, s, d, low, high = a.integers("n k s d low high")
    a.assume(n >= 1, s >= 1, d >= 1, k >= 1)
    m = _outputs(a, (n, d * (k - 1) + 1, s, low, high), a.assume)
    axis = Axis(m, n, k, s, d, low)
    return a.both(m >= 1, a.position(axis, m - 1, k - 1) < n + high, a.position(axis, m, k - 1) >= n + high)


def _there_and_back_lemma(a: Algebra) -> Condition:
    m, k, s, d, low, high, extra = a.integers("m k s d low high extra")
    span = d * (k - 1) + 1
    a.assume(m >= 1, s >= 1, d >= 1, k >= 1, a.within(extra, s))
    n = _transposed_outputs(a, (m, span, s, low, high, extra), a.assume)
    outputs = _outputs(a, (n, span, s, low, high), a.show)
    return a.both(a.equal(outputs, m), a.equal((n + low + high - span) % s, extra))


def _back_and_there_lemma(a: Algebra) -> Condition:
    n, k, s, d, low, high = a.integers("n k s d low high")
    span = d * (k - 1) + 1
    a.assume(n >= 1, s >= 1, d >= 1, k >= 1)
    m = _outputs(a, (n, span, s, low, high), a.assume)
    extra = (n + low + high - span) % s
    return a.both(a.within(extra, s), a.equal(_transposed_outputs(a, (m, span, s, low, high, extra), a.show), n))


_LAYER = {"k": 3, "s": 2, "d": 1, "low": 1, "high": 1}


# --- on explicit matrices of symbols ---


def _check_output_sizes() -> Checks:
    """Check the theorem ``output-sizes``."""
    for n, k, s, d, p in itertools.product((5, 8), (1, 3), (1, 2, 3), (1, 2), (0, 1)):
        layer = ConvGeometry(n, k, stride=s, dilation=d, padding=p)
        extra = (n + 2 * p - d * (k - 1) - 1) % s
        back = ConvGeometry(
            layer.output_shape, k, stride=s, dilation=d, padding=p, transposed=True, output_padding=extra
        )
        same = symbolic.matrix(back) == symbolic.matrix(layer).T
        yield f"n = {n}, k = {k}, s = {s}, d = {d}, p = {p}", back.output_shape == layer.input_shape and same


THEOREMS = (
    Theorem(
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
        r"assumed not to be taken by the first function that is run, and shown not to be taken by the second. Two "
        r"output paddings with one size are equal, since both are "
        r"$e \bmod s$ for $e = n + p_l + p_h - d(k-1) - 1$.",
        (
            Lemma(
                "windows",
                "of m outputs, window m - 1 ends inside the padded input and window m does not",
                r"x(m - 1, k - 1) < n + p_h \le x(m, k - 1)",
                _windows_lemma,
                {"n": 7, **_LAYER},
            ),
            Lemma(
                "there and back",
                "the size of the transposed layer has m outputs, and its output padding is e mod s",
                r"n = n^*(m, o) \implies m(n) = m,\ e \bmod s = o",
                _there_and_back_lemma,
                {"m": 4, **_LAYER, "extra": 1},
            ),
            Lemma(
                "back and there",
                "each size is that of the transposed layer with the output padding e mod s, from 0 to s - 1",
                r"m = m(n),\ o = e \bmod s \implies n^*(m, o) = n,\quad 0 \le o < s",
                _back_and_there_lemma,
                {"n": 7, **_LAYER},
            ),
        ),
        _check_output_sizes,
    ),
)
