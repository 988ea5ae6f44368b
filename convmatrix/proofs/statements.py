"""Theorems and their integer lemmas: claims about all integers that satisfy certain hypotheses, run by every engine.

A lemma is a function of an `Algebra`. It asks for integers, assumes hypotheses about them, calls the one-axis rule of
`convmatrix.boundary` through the algebra, and returns a claim. Each engine supplies its own kind of integers: SymPy
symbols, integers of an SMT solver, terms of Coq, or plain numbers for evaluating a counterexample.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from convmatrix import boundary as _rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from convmatrix.boundary import Axis, Boundary

Integer = Any
"""An integer of the engine's kind."""

Condition = Any
"""A truth value of the engine's kind."""


class Algebra(ABC):
    """The interface of an engine, in addition to the operators ``+ - * // %`` and the comparisons of its integers.

    The one-axis rule and the formulas of sizes are methods, which run `convmatrix.boundary` on the engine's integers;
    an engine whose statements refer to definitions overrides them.
    """

    @abstractmethod
    def integers(self, names: str) -> tuple[Integer, ...]:
        """Return the integers of a lemma, given their names separated by spaces."""

    @abstractmethod
    def assume(self, *conditions: Condition) -> None:
        """Add hypotheses."""

    @abstractmethod
    def show(self, step: Condition) -> None:
        """Add an intermediate claim, proved from the hypotheses so far; it is a hypothesis from then on."""

    @abstractmethod
    def select(self, condition: Condition, then: Integer, otherwise: Integer) -> Integer:
        """Return one of two values, depending on a condition; passed to the functions of `convmatrix.boundary`."""

    @abstractmethod
    def equal(self, left: Integer, right: Integer) -> Condition:
        """Return the condition that two integers are equal."""

    @abstractmethod
    def both(self, *conditions: Condition) -> Condition:
        """Return the condition that all given conditions hold."""

    @abstractmethod
    def either(self, *conditions: Condition) -> Condition:
        """Return the condition that at least one given condition holds."""

    @abstractmethod
    def negation(self, condition: Condition) -> Condition:
        """Return the negation of a condition."""

    def cases(self, *conditions: Condition) -> None:
        """Make engines that work by case distinction consider each condition and its negation separately."""
        for condition in conditions:
            self.select(condition, 0, 1)

    def within(self, value: Integer, size: Integer) -> Condition:
        """Return the condition ``0 <= value < size``."""
        return self.both(value >= 0, value < size)

    def different(self, left: Integer, right: Integer) -> Condition:
        """Return the condition that two integers differ."""
        return self.negation(self.equal(left, right))

    def implies(self, condition: Condition, conclusion: Condition) -> Condition:
        """Return the condition that the first implies the second."""
        return self.either(self.negation(condition), conclusion)

    def equivalent(self, left: Condition, right: Condition) -> Condition:
        """Return the condition that both hold or neither does."""
        return self.both(self.implies(left, right), self.implies(right, left))

    def run(self, name: str, *arguments: Any) -> Any:
        """Return the result of a function of the one-axis rule; the methods below call the rule through this one."""
        return getattr(_rule.Axis if isinstance(arguments[0], _rule.Axis) else _rule, name)(*arguments)

    def position(self, axis: Axis, output: Integer, tap: Integer) -> Integer:
        """Return the position that a tap of an output reads, which may be outside the input."""
        return self.run("position", axis, output, tap)

    def sample(self, axis: Axis, output: Integer, tap: Integer) -> Integer:
        """Return the sample that a tap of an output reads, or `NOTHING`."""
        return self.run("sample", axis, output, tap, self.select)

    def weight(self, axis: Axis, output: Integer, tap: Integer) -> Integer:
        """Return the index of the weight that an output uses at a tap."""
        return self.run("weight", axis, output, tap)

    def read_sample(self, position: Integer, size: Integer, boundary: Boundary) -> Integer:
        """Return the sample that is read at a position on an axis of ``size`` samples, or `NOTHING`."""
        return self.run("read_sample", position, size, boundary, self.select)

    def read_terms(self, position: Integer, size: Integer, boundary: Boundary) -> tuple[tuple[Integer, Integer], ...]:
        """Return the (sample, coefficient) terms that are read at a position on an axis of ``size`` samples."""
        terms: tuple[tuple[Integer, Integer], ...] = self.run("read_terms", position, size, boundary, self.select)
        return terms

    def forward_outputs(self, size: Integer, span: Integer, stride: Integer, low: Integer, high: Integer) -> Integer:
        """Return the number of outputs of a convolution."""
        return self.run("forward_outputs", size, span, stride, low, high)

    def forward_padding(self, word: str, size: Integer, span: Integer, stride: Integer) -> tuple[Integer, Integer]:
        """Return the (low, high) padding of a convolution for "same", "same_lower", "full" or "valid"."""
        padding: tuple[Integer, Integer] = self.run("forward_padding", word, size, span, stride, self.select)
        return padding

    def transposed_outputs(
        self, size: Integer, span: Integer, stride: Integer, low: Integer, high: Integer, extra: Integer
    ) -> Integer:
        """Return the number of outputs of a transposed convolution."""
        return self.run("transposed_outputs", size, span, stride, low, high, extra)

    def transposed_padding(
        self, word: str, size: Integer, span: Integer, stride: Integer, extra: Integer
    ) -> tuple[Integer, Integer, Integer]:
        """Return the (low, high) padding and the output padding of a transposed convolution for a word."""
        found: tuple[Integer, Integer, Integer] = self.run(
            "transposed_padding", word, size, span, stride, extra, self.select
        )
        return found


@dataclass(frozen=True)
class Lemma:
    """A claim about all integers that satisfy its hypotheses.

    Attributes
    ----------
    name : str
    text, latex : str
        The claim, as text and as LaTeX.
    build : callable
        A function from an `Algebra` to the claim.
    example : mapping of str to int
        Integers that satisfy the hypotheses, which shows that the hypotheses are not contradictory.
    """

    name: str
    text: str
    latex: str
    build: Callable[[Algebra], Condition]
    example: Mapping[str, int]


def lemma(
    name: str, text: str, latex: str, example: Mapping[str, int]
) -> Callable[[Callable[[Algebra], Condition]], Lemma]:
    r"""Return a decorator that makes a function from an `Algebra` to a claim the `Lemma` that states it.

    Examples
    --------
    >>> @lemma("square", "a square is not negative", r"n^2 \ge 0", {"n": -3})
    ... def square(a):
    ...     (n,) = a.integers("n")
    ...     return n * n >= 0
    >>> square.name
    'square'
    """
    return lambda build: Lemma(name, text, latex, build, example)


class Numbers(Algebra):
    """Plain integers, on which a lemma is evaluated.

    Examples
    --------
    >>> evaluate(lambda a: (lambda n: a.equal(n % 2, 0))(*a.integers("n")), {"n": 3})
    (True, False)
    """

    def __init__(self, values: Mapping[str, int]) -> None:
        self.values = values
        self.hypotheses_hold = True
        self.steps_hold = True

    def integers(self, names: str) -> tuple[int, ...]:
        """Return the integers of these names."""
        return tuple(self.values[name] for name in names.split())

    def assume(self, *conditions: bool) -> None:
        """Add hypotheses."""
        self.hypotheses_hold &= all(conditions)
        if not self.hypotheses_hold:
            raise _HypothesisFailsError

    def show(self, step: bool) -> None:
        """Record whether a step holds."""
        self.steps_hold &= bool(step)

    def select(self, condition: bool, then: int, otherwise: int) -> int:
        """Return one of two integers, by the function that chooses when matrices are built."""
        chosen: int = _rule.choose(condition, then, otherwise)
        return chosen

    def equal(self, left: int, right: int) -> bool:
        """Return whether two integers are equal."""
        return left == right

    def both(self, *conditions: bool) -> bool:
        """Return whether all conditions hold."""
        return all(conditions)

    def either(self, *conditions: bool) -> bool:
        """Return whether one of the conditions holds."""
        return any(conditions)

    def negation(self, condition: bool) -> bool:
        """Return the opposite of a condition."""
        return not condition


class _HypothesisFailsError(Exception):
    """Raised to leave a lemma whose hypotheses fail, because the rest may divide by a size of zero."""


def evaluate(build: Callable[[Algebra], Condition], values: Mapping[str, int]) -> tuple[bool, bool]:
    """Return whether the hypotheses of a lemma hold for given integers, and if so whether its steps and claim hold."""
    numbers = Numbers(values)
    try:
        claim = build(numbers)
    except _HypothesisFailsError:
        return False, False
    except ZeroDivisionError:
        return numbers.hypotheses_hold, False  # division by zero under the hypotheses is an error in the code
    return True, numbers.steps_hold and bool(claim)


# --- theorems ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity:
    """An identity of functions beyond integer arithmetic, decided by SymPy.

    Attributes
    ----------
    name, text, latex : str
    left, right : callable
        Functions that return SymPy expressions, whose difference simplifies to zero.
    """

    name: str
    text: str
    latex: str
    left: Callable[[], Any]
    right: Callable[[], Any]


@dataclass(frozen=True)
class Theorem:
    """A theorem about layers of every size.

    Attributes
    ----------
    name : str
    statement, latex : str
        The statement, as text and as LaTeX.
    hypotheses : str
        The hypotheses with all bounds, as text.
    argument : str
        How the theorem follows from the lemmas, in LaTeX.
    lemmas : tuple of Lemma
        The integer lemmas that the engines decide.
    on_matrices : callable
        Yields ``(what, holds)`` for explicit symbolic matrices of small sizes.
    identities : tuple of Identity
        The identities of functions that SymPy decides.
    """

    name: str
    statement: str
    latex: str
    hypotheses: str
    argument: str
    lemmas: tuple[Lemma, ...]
    on_matrices: Callable[[], Iterator[tuple[str, bool]]]
    identities: tuple[Identity, ...] = ()


def checked_theorem(
    name: str,
    statement: str,
    latex: str,
    hypotheses: str,
    argument: str,
    lemmas: tuple[Lemma, ...],
    identities: tuple[Identity, ...] = (),
) -> Callable[[Callable[[], Iterator[tuple[str, bool]]]], Theorem]:
    """Return a decorator that makes a function that checks a `Theorem` on explicit matrices the theorem itself."""
    return lambda check: Theorem(name, statement, latex, hypotheses, argument, lemmas, check, identities)


# --- decisions --------------------------------------------------------------------------------------------------------

_TRIALS: Final = 900
_LARGEST_TRIAL: Final = 6


@dataclass(frozen=True)
class Decision:
    """The decision of an engine about one lemma.

    Attributes
    ----------
    status : {"proved", "refuted", "undecided"}
    certificate : dict
        Plain data. For SymPy, the certificates of contradiction, one per problem; for z3, the problem in SMT-LIB
        format, for any solver. If the code does not run on symbols, the reason.
    counterexample : dict of str to int or None
        Integers for which the hypotheses hold and the claim does not.
    """

    status: Literal["proved", "refuted", "undecided"]
    certificate: dict[str, Any] = field(default_factory=dict)
    counterexample: dict[str, int] | None = None

    @property
    def proved(self) -> bool:
        """Whether the lemma holds for all integers."""
        return self.status == "proved"


def example_holds(lemma: Lemma) -> bool:
    """Return whether the lemma's example satisfies its hypotheses, and its claim."""
    return evaluate(lemma.build, lemma.example) == (True, True)


def undecided(reason: str) -> Decision:
    """Return the decision that there is none, with its reason."""
    return Decision("undecided", {"kind": "none", "reason": reason})


def no_symbols(lemma: Lemma, error: Exception) -> Decision:
    """Return the decision about code that does not run on symbols, which only plain integers can refute."""
    try:
        found = counterexample(lemma)
    except TypeError:
        found = None
    if found is not None:
        return Decision("refuted", counterexample=found)
    return undecided(f"the code that it runs is beyond the engines: {error}")


def counterexample(lemma: Lemma, trials: int = _TRIALS) -> dict[str, int] | None:
    """Return small integers for which the hypotheses of a lemma hold and its claim does not, if some are found."""
    names = list(lemma.example)
    rng = random.Random(0)  # noqa: S311 (draws trial values; nothing is secret)
    for trial in range(trials):
        if trial % 3 == 0:  # near the example, where the hypotheses are likely to hold
            values = {name: lemma.example[name] + rng.choice((0, 0, 0, 1, -1, 2)) for name in names}
        else:
            largest = _LARGEST_TRIAL if trial % 3 == 1 else 2  # very small ones satisfy equations more often
            values = {name: rng.randint(-1, largest) for name in names}
        hypotheses, claim = evaluate(lemma.build, values)
        if hypotheses and not claim:
            return values
    return None
