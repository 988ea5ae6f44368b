"""Integers and conditions without a value: the base class of the engines that run code on them, and its branches."""

from __future__ import annotations

import operator
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Literal, Protocol

from convmatrix.proofs.statements import Algebra, Condition, Integer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Word = Literal["and", "or", "not"]
"""Connectives of conditions."""


class Operations(Protocol):
    """The effects of the operators of a `SymbolicInteger`."""

    def calculated(self, function: Callable[..., Any], *operands: Any) -> Any:
        """Return the result of an arithmetic function of the module `operator`."""

    def compared(self, relation: Callable[..., Any], left: Any, right: Any) -> Any:
        """Return the result of a comparison of the module `operator`."""


def _both_ways(function: Callable[..., Any]) -> tuple[Any, Any]:
    """Return the methods of an arithmetic operator of a `SymbolicInteger` on its left and on its right side."""
    return (
        lambda self, other: self.algebra.calculated(function, self, other),
        lambda self, other: self.algebra.calculated(function, other, self),
    )


def _comparison(relation: Callable[..., Any]) -> Any:
    """Return the method of a comparison of a `SymbolicInteger`."""
    return lambda self, other: self.algebra.compared(relation, self, other)


class SymbolicInteger:
    """An integer without a value: code that asks for one raises TypeError instead of taking a branch.

    Its term is the integer in the engine's own terms; its algebra says what its operators do.
    """

    __hash__ = None  # type: ignore[assignment]  # == returns a condition, not a bool

    def __init__(self, algebra: Operations, term: Any) -> None:
        self.algebra = algebra
        self.term = term

    __add__, __radd__ = _both_ways(operator.add)
    __sub__, __rsub__ = _both_ways(operator.sub)
    __mul__, __rmul__ = _both_ways(operator.mul)
    __floordiv__, __rfloordiv__ = _both_ways(operator.floordiv)
    __mod__, __rmod__ = _both_ways(operator.mod)
    __pow__ = _both_ways(operator.pow)[0]
    __lt__, __le__ = _comparison(operator.lt), _comparison(operator.le)
    __gt__, __ge__ = _comparison(operator.gt), _comparison(operator.ge)
    __eq__, __ne__ = _comparison(operator.eq), _comparison(operator.ne)

    def __neg__(self) -> Any:
        return self.algebra.calculated(operator.neg, self)

    def __bool__(self) -> bool:
        raise TypeError("a symbol has no truth value, because it may be zero or not; choose with select(n != 0, ...)")


class SymbolicCondition:
    """A condition on integers without a value, joined with ``& | ~`` and passed to an `Algebra`.

    Its formula is the condition in the engine's own terms. It has no truth value and is not compared, so that code in
    which one is true or equal to another by accident raises TypeError.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, algebra: SymbolicAlgebra, formula: Any) -> None:
        self.algebra = algebra
        self.formula = formula

    def __and__(self, other: Any) -> SymbolicCondition:
        return self.algebra.both(self, other)

    def __or__(self, other: Any) -> SymbolicCondition:
        return self.algebra.either(self, other)

    def __invert__(self) -> SymbolicCondition:
        return self.algebra.negation(self)

    __rand__, __ror__ = __and__, __or__

    def __bool__(self) -> bool:
        raise TypeError("a condition on symbols has no truth value; choose with select(condition, ...)")

    def __eq__(self, other: object) -> bool:
        raise TypeError("conditions on symbols are not compared; use the algebra's equivalent(left, right)")

    def __ne__(self, other: object) -> bool:
        raise TypeError("conditions on symbols are not compared; use the algebra's equivalent(left, right)")


class SymbolicAlgebra(Algebra):
    """Base class of engines: an engine says what its terms and formulas are, and what happens with facts and choices.

    Attributes
    ----------
    names : list of str
        The names of the integers.
    """

    def __init__(self) -> None:
        self.names: list[str] = []

    @abstractmethod
    def variable(self, name: str) -> Any:
        """Return the term of an integer of this name."""

    def number(self, value: int) -> Any:
        """Return the term of a number, by default the number itself."""
        return value

    def truth(self, value: bool) -> Any:
        """Return the formula of a bool, by default the bool itself."""
        return value

    @abstractmethod
    def operated(self, function: Callable[..., Any], *terms: Any) -> Any:
        """Return the term of an arithmetic function of the module `operator`."""

    @abstractmethod
    def related(self, relation: Callable[..., Any], left: Any, right: Any) -> Any:
        """Return the formula of a comparison of the module `operator`."""

    @abstractmethod
    def joined(self, word: Word, *formulas: Any) -> Any:
        """Return the conjunction, the disjunction, or the negation of formulas."""

    def term(self, value: Integer) -> Any:
        """Return the term of an integer or a number."""
        return value.term if isinstance(value, SymbolicInteger) else self.number(operator.index(value))

    def formula(self, condition: Condition) -> Any:
        """Return the formula of a condition or a bool."""
        if isinstance(condition, SymbolicCondition):
            return condition.formula
        if isinstance(condition, bool):
            return self.truth(condition)
        raise TypeError(f"{condition!r} is a {type(condition).__name__}, not a condition; compare integers")

    def integers(self, names: str) -> tuple[SymbolicInteger, ...]:
        """Return the integers of these names."""
        self.names += names.split()
        return tuple(SymbolicInteger(self, self.variable(name)) for name in names.split())

    def calculated(self, function: Callable[..., Any], *operands: Integer) -> SymbolicInteger:
        """Return the integer of an arithmetic function."""
        return SymbolicInteger(self, self.operated(function, *map(self.term, operands)))

    def compared(self, relation: Callable[..., Any], left: Integer, right: Integer) -> SymbolicCondition:
        """Return the condition of a comparison."""
        return SymbolicCondition(self, self.related(relation, self.term(left), self.term(right)))

    def equal(self, left: Integer, right: Integer) -> SymbolicCondition:
        """Return the condition that two integers are equal."""
        return self.compared(operator.eq, left, right)

    def both(self, *conditions: Condition) -> SymbolicCondition:
        """Return the condition that all given conditions hold."""
        return SymbolicCondition(self, self.joined("and", *map(self.formula, conditions)))

    def either(self, *conditions: Condition) -> SymbolicCondition:
        """Return the condition that at least one given condition holds."""
        return SymbolicCondition(self, self.joined("or", *map(self.formula, conditions)))

    def negation(self, condition: Condition) -> SymbolicCondition:
        """Return the negation of a condition."""
        return SymbolicCondition(self, self.joined("not", self.formula(condition)))


# --- code with branches -----------------------------------------------------------------------------------------------


class _Branches:
    """A run of a function that has branches, of which it takes none or one."""

    def __init__(self, a: Algebra, not_taken: Callable[[Condition], None], taken: int) -> None:
        self.a, self.not_taken, self.taken = a, not_taken, taken
        self.count = 0

    def calculated(self, function: Callable[..., Any], *operands: Any) -> SymbolicInteger:
        """Return the result of an arithmetic function."""
        return SymbolicInteger(self, function(*map(self.plain, operands)))

    def compared(self, relation: Callable[..., Any], left: Any, right: Any) -> bool:
        """Return whether to take the branch of a comparison in an ``if``."""
        known = {operator.eq: self.a.equal, operator.ne: self.a.different}
        condition = known.get(relation, relation)(self.plain(left), self.plain(right))
        self.count += 1
        if self.count - 1 == self.taken:
            return True
        if self.taken < 0:
            self.not_taken(self.a.negation(condition))
        return False

    def plain(self, value: Any) -> Integer:
        """Return the algebra's integer for one of this run."""
        return value.term if isinstance(value, SymbolicInteger) and value.algebra is self else value


def run_without_branches(
    compute: Callable[..., Any], sizes: Sequence[Integer], a: Algebra, not_taken: Callable[[Condition], None]
) -> Integer:
    """Return the result of a function that takes none of its branches, each of which must raise ValueError.

    ``not_taken`` is called with the condition for leaving each branch out.
    """
    run = _Branches(a, not_taken, taken=-1)
    result = run.plain(compute(*(SymbolicInteger(run, size) for size in sizes)))
    for place in range(run.count):
        other = _Branches(a, not_taken, taken=place)
        try:
            compute(*(SymbolicInteger(other, size) for size in sizes))
        except ValueError:
            continue
        raise TypeError(f"branch {place} of the function of sizes raises no ValueError, and so cannot be set aside")
    return result
