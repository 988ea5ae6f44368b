"""Integers of the SMT solver z3, for code that adds, multiplies, takes remainders and compares."""

from __future__ import annotations

from typing import Any


class SmtInteger:
    """A term of z3 that stands for an integer.

    Its comparisons are conditions without a truth value. The equality of two terms of z3 would have one: whether they
    are written alike, so that an ``if position == 0`` would quietly go one way. Here it raises an error.

    Attributes
    ----------
    term : z3.ArithRef
    """

    __hash__ = None  # type: ignore[assignment]  # == makes a condition, which is no answer to "the same?"

    def __init__(self, term: Any) -> None:
        self.term = term

    def __add__(self, other: Any) -> SmtInteger:
        return SmtInteger(self.term + plain(other))

    def __sub__(self, other: Any) -> SmtInteger:
        return SmtInteger(self.term - plain(other))

    def __rsub__(self, other: Any) -> SmtInteger:
        return SmtInteger(plain(other) - self.term)

    def __mul__(self, other: Any) -> SmtInteger:
        return SmtInteger(self.term * plain(other))

    def __neg__(self) -> SmtInteger:
        return SmtInteger(-self.term)

    def __mod__(self, other: Any) -> SmtInteger:
        return SmtInteger(self.term % plain(other))

    def __rmod__(self, other: Any) -> SmtInteger:
        return SmtInteger(plain(other) % self.term)

    __radd__, __rmul__ = __add__, __mul__

    def __lt__(self, other: Any) -> Any:
        return self.term < plain(other)

    def __le__(self, other: Any) -> Any:
        return self.term <= plain(other)

    def __gt__(self, other: Any) -> Any:
        return self.term > plain(other)

    def __ge__(self, other: Any) -> Any:
        return self.term >= plain(other)

    def __eq__(self, other: object) -> Any:
        import z3

        return z3.And(self.term == plain(other))  # a conjunction has no truth value, an equation of z3 has

    def __ne__(self, other: object) -> Any:
        import z3

        return z3.Not(self.term == plain(other))


def plain(value: Any) -> Any:
    """Return the term of an integer; a number stays as it is."""
    return value.term if isinstance(value, SmtInteger) else value
