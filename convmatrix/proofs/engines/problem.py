"""Polynomial equations and inequalities in integers that are to be shown contradictory.

A remainder ``u % m`` becomes ``u - m q`` with a new integer q, its quotient, and ``0 <= u - m q <= m - 1``.
That needs ``m >= 1``, which is an obligation of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sympy
from sympy.polys.domains import ZZ
from sympy.polys.rings import PolyElement, PolyRing

if TYPE_CHECKING:
    from collections.abc import Sequence


class Remainder(sympy.Function):  # type: ignore[misc]  # SymPy has no types
    """The remainder of u by m, left as it stands: what is known of it goes into a certificate, not into SymPy."""

    nargs = 2


@dataclass(frozen=True)
class Problem:
    """Integers with ``equations == 0`` and ``inequalities >= 0``; the aim is to show that there are none.

    Attributes
    ----------
    ring : PolyRing
        In the variables of the lemma, then the quotients q0, q1, ... of its remainders.
    equations, inequalities : list of PolyElement
    moduli : list of PolyElement
        The modulus of each quotient; ``modulus - 1 >= 0`` is among the inequalities.
    obligations : list of Problem
        For each modulus, that it is less than 1: to be shown contradictory too.
    """

    ring: PolyRing
    equations: list[PolyElement]
    inequalities: list[PolyElement]
    moduli: list[PolyElement]
    obligations: list[Problem]


class Problems:
    """Makes problems of conjunctions; expressions that occur again are converted once."""

    def __init__(self) -> None:
        self.converters: dict[Any, _Converter] = {}
        self.found: dict[Any, list[Remainder]] = {}

    def __call__(self, names: Sequence[str], literals: Sequence[tuple[str, Any]]) -> Problem:
        """Return the problem of a conjunction of equations and inequalities between SymPy integers."""
        remainders: dict[Remainder, None] = {}
        for _, expression in literals:
            if expression not in self.found:
                self.found[expression] = _remainders([expression])
            remainders.update(dict.fromkeys(self.found[expression]))
        key = (tuple(names), tuple(remainders))
        if key not in self.converters:
            ring = PolyRing([*names, *(f"q{place}" for place in range(len(remainders)))], ZZ)
            self.converters[key] = _Converter(ring, len(names), list(remainders))
        return _problem(self.converters[key], literals)


def _problem(convert: _Converter, literals: Sequence[tuple[str, Any]]) -> Problem:
    ring, remainders = convert.ring, list(convert.quotients)
    equations: list[PolyElement] = []
    inequalities: list[PolyElement] = []
    plain: tuple[list[PolyElement], list[PolyElement]] = [], []  # without remainders
    for kind, expression in literals:
        polynomial = convert(expression)
        (equations if kind == "= 0" else inequalities).append(polynomial)
        if convert.is_plain(expression):
            plain[kind != "= 0"].append(polynomial)
    moduli, obligations = [], []
    for remainder in remainders:
        modulus = convert(remainder.args[1])
        if modulus not in moduli:
            inequalities.append(modulus - 1)
            if modulus - 1 not in plain[1]:
                obligations.append(Problem(ring, plain[0], [*plain[1], -modulus], [], []))
        moduli.append(modulus)
        value = convert(remainder)
        inequalities += [value, modulus - 1 - value]
    return Problem(ring, equations, inequalities, moduli, obligations)


def _remainders(expressions: Sequence[Any]) -> list[Remainder]:
    """Return the remainders in some expressions, each before those that contain it."""
    found: dict[Any, None] = {}

    def visit(expression: Any) -> None:
        for part in expression.args:
            visit(part)
        if isinstance(expression, Remainder):
            found.setdefault(expression)

    for expression in expressions:
        visit(expression)
    return list(found)


class _Converter:
    """From SymPy expressions to polynomials."""

    def __init__(self, ring: PolyRing, n_names: int, remainders: Sequence[Remainder]) -> None:
        self.ring = ring
        self.symbols = dict(zip((str(symbol) for symbol in ring.symbols), ring.gens, strict=True))
        self.quotients = dict(zip(remainders, ring.gens[n_names:], strict=True))

        self.known: dict[Any, PolyElement] = {}
        self.plain: dict[Any, bool] = {}

    def is_plain(self, expression: Any) -> bool:
        """Return whether an expression has no remainders."""
        if expression not in self.plain:
            self.plain[expression] = not expression.has(Remainder)
        return self.plain[expression]

    def __call__(self, expression: Any) -> PolyElement:
        if expression not in self.known:
            self.known[expression] = self._converted(expression)
        return self.known[expression]

    def _converted(self, expression: Any) -> PolyElement:
        if isinstance(expression, Remainder):
            value, modulus = expression.args
            return self(value) - self(modulus) * self.quotients[expression]
        if isinstance(expression, sympy.Symbol):
            return self.symbols[expression.name]
        if isinstance(expression, sympy.Integer):
            return self.ring(int(expression))
        if isinstance(expression, sympy.Add):
            return sum((self(part) for part in expression.args), self.ring(0))
        if isinstance(expression, sympy.Mul):
            result = self.ring(1)
            for part in expression.args:
                result *= self(part)
            return result
        if isinstance(expression, sympy.Pow) and expression.exp.is_Integer and expression.exp > 0:
            return self(expression.base) ** int(expression.exp)
        raise TypeError(f"{expression} is no polynomial with remainders; engines know + - * % and comparisons")
