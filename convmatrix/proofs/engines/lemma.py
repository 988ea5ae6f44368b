"""Integer lemmas: claims about all integers that satisfy some hypotheses, written once and run by every engine.

A lemma is a function of an `Algebra`. It asks for integers, assumes hypotheses about them, calls the one-axis rule of
`convmatrix.boundary` with ``algebra.select``, and returns a claim. What the integers are is the engine's business:
SymPy symbols, integers of an SMT solver, or plain numbers, on which a counterexample is replayed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Integer = Any
"""An integer of the engine's kind."""

Condition = Any
"""A truth value of the engine's kind."""


class Algebra(ABC):
    """What a lemma needs of an engine, beside the operators ``+ - * %`` and comparisons of its integers."""

    @abstractmethod
    def integers(self, names: str) -> tuple[Integer, ...]:
        """Return integers with the given names, separated by spaces; about these the lemma is."""

    @abstractmethod
    def assume(self, *conditions: Condition) -> None:
        """Add hypotheses."""

    @abstractmethod
    def show(self, step: Condition) -> None:
        """Claim a step on the way: it is to be proved from the hypotheses so far, and is a hypothesis from then on."""

    @abstractmethod
    def select(self, condition: Condition, then: Integer, otherwise: Integer) -> Integer:
        """Return one value where the condition holds, else the other; goes to `convmatrix.boundary.read_sample`."""

    @abstractmethod
    def equal(self, left: Integer, right: Integer) -> Condition:
        """Return the condition that two integers are equal."""

    @abstractmethod
    def both(self, *conditions: Condition) -> Condition:
        """Return the condition that all of them hold."""

    @abstractmethod
    def either(self, *conditions: Condition) -> Condition:
        """Return the condition that one of them holds."""

    @abstractmethod
    def negation(self, condition: Condition) -> Condition:
        """Return the opposite condition."""

    def cases(self, *conditions: Condition) -> None:
        """Tell engines that go path by path to treat these conditions and their opposites apart."""
        for condition in conditions:
            self.select(condition, 0, 1)

    def within(self, value: Integer, size: Integer) -> Condition:
        """Return the condition ``0 <= value < size``."""
        return self.both(value >= 0, value < size)

    def different(self, left: Integer, right: Integer) -> Condition:
        """Return the condition that two integers differ."""
        return self.negation(self.equal(left, right))

    def implies(self, condition: Condition, conclusion: Condition) -> Condition:
        """Return the condition that the one has the other for a consequence."""
        return self.either(self.negation(condition), conclusion)

    def equivalent(self, left: Condition, right: Condition) -> Condition:
        """Return the condition that both hold or neither does."""
        return self.both(self.implies(left, right), self.implies(right, left))


@dataclass(frozen=True)
class Lemma:
    """A claim about all integers that satisfy its hypotheses.

    Attributes
    ----------
    name : str
    text, latex : str
        What it says.
    build : callable
        From an `Algebra` to the claim.
    example : mapping of str to int
        Integers that satisfy the hypotheses: they are not contradictory.
    """

    name: str
    text: str
    latex: str
    build: Callable[[Algebra], Condition]
    example: Mapping[str, int]


class Numbers(Algebra):
    """Plain integers: a lemma run on them is an evaluation.

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
        """Note whether a step holds."""
        self.steps_hold &= bool(step)

    def select(self, condition: bool, then: int, otherwise: int) -> int:
        """Choose between two integers."""
        return then if condition else otherwise

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
    """Raised to leave a lemma whose hypotheses fail: what follows may divide by a size of zero."""


def evaluate(build: Callable[[Algebra], Condition], values: Mapping[str, int]) -> tuple[bool, bool]:
    """Return whether the hypotheses of a lemma hold for some integers, and if so whether its steps and claim do."""
    numbers = Numbers(values)
    try:
        claim = build(numbers)
    except _HypothesisFailsError:
        return False, False
    except ZeroDivisionError:
        return numbers.hypotheses_hold, False  # code that divides by zero where the hypotheses hold is wrong
    return True, numbers.steps_hold and bool(claim)
