"""Conversion of a lemma to problems that must be contradictory: it is run on SymPy integers, once for each path.

Each run takes one branch at every choice of the one-axis rule and records the condition for taking it. It remains to
show, on each path, that the hypotheses, the conditions and the negation of the claim contradict each other. These are
polynomial equations and inequalities in integers, with one `Problem` for each way in which the claim can fail.

A remainder ``u % m`` becomes ``u - m q`` with a new integer q, its quotient, and ``0 <= u - m q <= m - 1``. This
requires ``m >= 1``, which is a separate obligation. The quotient ``u // m`` is that q.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sympy
from sympy.polys.domains import ZZ
from sympy.polys.rings import PolyElement, PolyRing

from convmatrix.proofs.symbols import SymbolicAlgebra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from convmatrix.proofs.statements import Algebra, Condition, Lemma
    from convmatrix.proofs.symbols import Word


class Remainder(sympy.Function):  # type: ignore[misc]  # SymPy has no types
    """The unevaluated remainder of u modulo m, whose properties are used by certificates, not by SymPy."""

    nargs = 2


class Quotient(sympy.Function):  # type: ignore[misc]
    """The unevaluated quotient of u by m, rounded down; its remainder has the properties that certificates use."""

    nargs = 2


@dataclass(frozen=True)
class Problem:
    """Integers with ``equations == 0`` and ``inequalities >= 0``; the aim is to show that none exist.

    The ring has the variables of the lemma and the quotients q0, q1, ... of its ``remainders``, each with its modulus
    in ``moduli``; ``modulus - 1 >= 0`` is among the inequalities. An obligation is the assumption that a modulus is
    less than 1, which must also be contradictory. ``origins`` say where each equation, and then each inequality, comes
    from: the place of its literal, or ``"modulus"``, ``"low"`` or ``"high"`` with the place of a remainder; in an
    obligation also ``"below"``.
    """

    ring: PolyRing
    equations: list[PolyElement]
    inequalities: list[PolyElement]
    moduli: list[PolyElement]
    obligations: list[Problem]
    remainders: tuple[Remainder, ...] = ()
    origins: tuple[tuple[str, int], ...] = ()


class Problems:
    """Converts conjunctions to problems; repeated expressions are converted once."""

    def __init__(self) -> None:
        self.converters: dict[Any, _Converter] = {}
        self.found: dict[Any, list[Remainder]] = {}

    def __call__(self, names: Sequence[str], literals: Sequence[Literal]) -> Problem:
        """Return the problem of a conjunction of equations and inequalities between SymPy integers."""
        remainders: dict[Remainder, None] = {}
        for _, expression in literals:
            if expression not in self.found:
                self.found[expression] = _remainders(expression)
            remainders.update(dict.fromkeys(self.found[expression]))
        key = (tuple(names), tuple(remainders))
        if key not in self.converters:
            ring = PolyRing([*names, *_quotient_names(names, len(remainders))], ZZ)
            self.converters[key] = _Converter(ring, len(names), list(remainders))
        return _problem(self.converters[key], literals)


def _quotient_names(names: Sequence[str], count: int) -> list[str]:
    """Return names of quotients, q0, q1, ..., with more q's if a variable has such a name."""
    letters = "q"
    while any(name.startswith(letters) and name[len(letters) :].isdigit() for name in names):
        letters += "q"
    return [f"{letters}{place}" for place in range(count)]


Literal = tuple[str, Any]  # ("= 0" | ">= 0", expression)

# The kind of a literal, its polynomial, and where it comes from.
Constraint = tuple[str, PolyElement, tuple[str, int]]


def _problem(convert: _Converter, literals: Sequence[Literal]) -> Problem:
    remainders = tuple(convert.quotients)
    constraints: list[Constraint] = [
        (kind, convert(expression), ("literal", place)) for place, (kind, expression) in enumerate(literals)
    ]
    plain = [known for known, (_, term) in zip(constraints, literals, strict=True) if convert.is_plain(term)]
    moduli: list[PolyElement] = []
    obligations = []
    for place, remainder in enumerate(remainders):
        value, modulus = convert(remainder), convert(remainder.args[1])
        if modulus not in moduli:
            constraints.append((">= 0", modulus - 1, ("modulus", place)))
            if all(kind != ">= 0" or modulus - 1 != known for kind, known, _ in plain):
                below = (">= 0", -modulus, ("below", place))
                obligations.append(_gathered(convert.ring, [*plain, below], [], [], remainders))
        moduli.append(modulus)
        constraints += [(">= 0", value, ("low", place)), (">= 0", modulus - 1 - value, ("high", place))]
    return _gathered(convert.ring, constraints, moduli, obligations, remainders)


def _gathered(
    ring: PolyRing,
    constraints: Sequence[Constraint],
    moduli: list[PolyElement],
    obligations: list[Problem],
    remainders: tuple[Remainder, ...],
) -> Problem:
    """Return the problem of constraints in any order."""
    ordered = sorted(constraints, key=lambda constraint: constraint[0])  # equations first
    equations = [polynomial for kind, polynomial, _ in ordered if kind == "= 0"]
    inequalities = [polynomial for kind, polynomial, _ in ordered if kind == ">= 0"]
    origins = tuple(origin for _, _, origin in ordered)
    return Problem(ring, equations, inequalities, moduli, obligations, remainders, origins)


def _remainders(expression: Any) -> list[Remainder]:
    """Return the remainders, also of quotients, in an order in which each precedes those that contain it."""
    inner = [remainder for part in expression.args for remainder in _remainders(part)]
    own = [Remainder(*expression.args)] if isinstance(expression, Remainder | Quotient) else []
    return list(dict.fromkeys([*inner, *own]))


class _Converter:
    """Converts SymPy expressions to polynomials."""

    def __init__(self, ring: PolyRing, n_names: int, remainders: Sequence[Remainder]) -> None:
        self.ring = ring
        self.symbols = dict(zip((str(symbol) for symbol in ring.symbols), ring.gens, strict=True))
        self.quotients = dict(zip(remainders, ring.gens[n_names:], strict=True))
        self.known: dict[Any, PolyElement] = {}
        self.plain: dict[Any, bool] = {}

    def is_plain(self, expression: Any) -> bool:
        """Return whether an expression has no remainders and no quotients."""
        if expression not in self.plain:
            self.plain[expression] = not expression.has(Remainder, Quotient)
        return self.plain[expression]

    def __call__(self, expression: Any) -> PolyElement:
        if expression not in self.known:
            self.known[expression] = self._converted(expression)
        return self.known[expression]

    def _converted(self, expression: Any) -> PolyElement:
        if isinstance(expression, Remainder):
            value, modulus = expression.args
            return self(value) - self(modulus) * self.quotients[expression]
        if isinstance(expression, Quotient):
            return self.quotients[Remainder(*expression.args)]
        if isinstance(expression, sympy.Symbol):
            return self.symbols[expression.name]
        if isinstance(expression, sympy.Integer):
            return self.ring(int(expression))
        if isinstance(expression, sympy.Add):
            return sum((self(part) for part in expression.args), self.ring(0))
        if isinstance(expression, sympy.Mul):
            return math.prod(map(self, expression.args), start=self.ring(1))
        if isinstance(expression, sympy.Pow) and expression.exp.is_Integer and expression.exp > 0:
            return self(expression.base) ** int(expression.exp)
        raise TypeError(
            f"{expression} is not a polynomial with remainders; the engines support + - * // % and comparisons"
        )


# --- lemmas on SymPy integers ----------------------------------------------------------------------------------------

# A formula is a bool, a SymPy relation, or ("and" | "or" | "not", formulas).
Formula = Any

_OPERATIONS: Final[dict[Any, Any]] = {operator.floordiv: Quotient, operator.mod: Remainder}
_RELATIONS: Final[dict[Any, Any]] = {
    operator.lt: sympy.Lt,
    operator.le: sympy.Le,
    operator.gt: sympy.Gt,
    operator.ge: sympy.Ge,
    operator.eq: sympy.Eq,
    operator.ne: sympy.Ne,
}


class SympyPath(SymbolicAlgebra):
    """SymPy integers on one path; ``choices`` lists the branch to take at each choice.

    SymPy adds and multiplies; remainders and comparisons remain unevaluated and are handled by certificates.
    """

    def __init__(self, choices: Sequence[bool]) -> None:
        super().__init__()
        self.choices = list(choices)
        self.taken: list[bool] = []
        self.decided: dict[Formula, bool] = {}
        self.facts: list[Formula] = []
        self.steps: list[tuple[Formula, ...]] = []  # the hypotheses so far, then the opposite of the step
        self.divisors: dict[Any, None] = {}  # what the code divides by

    def variable(self, name: str) -> Any:
        """Return a SymPy symbol."""
        return sympy.Symbol(name, integer=True)

    def number(self, value: int) -> Any:
        """Return a SymPy integer."""
        return sympy.Integer(value)

    def operated(self, function: Callable[..., Any], *terms: Any) -> Any:
        """Return a SymPy expression."""
        if function in _OPERATIONS:
            self.divisors[terms[1]] = None
        return _OPERATIONS.get(function, function)(*terms)

    def related(self, relation: Callable[..., Any], left: Any, right: Any) -> Any:
        """Return an unevaluated relation."""
        return _RELATIONS[relation](left, right, evaluate=False)

    def joined(self, word: Word, *formulas: Formula) -> Formula:
        """Return the word and the formulas."""
        return word, formulas

    def assume(self, *conditions: Condition) -> None:
        """Add hypotheses."""
        self.facts += map(self.formula, conditions)

    def show(self, step: Condition) -> None:
        """Add an intermediate claim."""
        formula = self.formula(step)
        self.steps.append((*self.facts, ("not", (formula,))))
        self.facts.append(formula)

    def select(self, condition: Condition, then: Any, otherwise: Any) -> Any:
        """Return one of two integers, by a condition."""
        formula = self.formula(condition)
        if isinstance(formula, bool):
            return then if formula else otherwise
        if formula not in self.decided:  # a repeated condition takes the same branch as before
            place = len(self.taken)
            branch = self.choices[place] if place < len(self.choices) else True
            self.taken.append(branch)
            self.decided[formula] = branch
            self.facts.append(formula if branch else ("not", (formula,)))
        return then if self.decided[formula] else otherwise


def problems(build: Callable[[Algebra], Condition]) -> Iterator[Problem]:
    """Yield the problems that must be contradictory for a lemma to hold, always in the same order."""
    problem_of = Problems()
    seen = set()  # paths that diverge after a step share it
    for path, claim in _paths(build):
        for formulas in (*path.steps, (*path.facts, ("not", (claim,)))):
            for case in cases(("and", formulas)):
                if tuple(case) not in seen:
                    seen.add(tuple(case))
                    yield problem_of(path.names, case)


def divisions(build: Callable[[Algebra], Condition]) -> Iterator[Problem]:
    """Yield the problems that must be contradictory for the code never to divide by a number below 1.

    Those of `problems` cover only the remainders that a claim depends on. Where the code divides by zero it has no
    value, and the claim does not hold, even if the remainder cancels.
    """
    problem_of = Problems()
    seen = set()
    for path, _ in _paths(build):
        for divisor in path.divisors:
            if divisor.is_Integer and divisor > 0:
                continue
            for case in cases(("and", tuple(path.facts))):
                if (">= 0", divisor - 1) in case:
                    continue
                divided = divisor.has(Remainder, Quotient)
                known = [part for part in case if divided or not part[1].has(Remainder, Quotient)]
                literals = (*known, (">= 0", -divisor))
                if literals not in seen:
                    seen.add(literals)
                    yield problem_of(path.names, literals)


def _paths(build: Callable[[Algebra], Condition]) -> Iterator[tuple[SympyPath, Formula]]:
    """Yield each path through a lemma, and the claim at its end."""
    choices: list[bool] = []
    while True:
        path = SympyPath(choices)
        claim = path.formula(build(path))
        yield path, claim
        while path.taken and not path.taken[-1]:
            path.taken.pop()
        if not path.taken:
            return
        choices = [*path.taken[:-1], False]


def cases(formula: Formula, holds: bool = True) -> list[list[Literal]]:
    """Return the disjunctive normal form of a formula or its negation, in equations and inequalities."""
    if isinstance(formula, bool):
        return [[]] if formula == holds else []
    if isinstance(formula, tuple):
        word, parts = formula
        if word == "not":
            return cases(parts[0], not holds)
        if (word == "and") == holds:
            product: list[list[Literal]] = [[]]
            for part in parts:
                product = [[*done, *more] for done in product for more in cases(part, holds)]
            return product
        return [case for part in parts for case in cases(part, holds)]
    difference = formula.lhs - formula.rhs
    if isinstance(formula, (sympy.Eq, sympy.Ne)):
        if holds == isinstance(formula, sympy.Eq):
            return [[("= 0", difference)]]
        return [[(">= 0", difference - 1)], [(">= 0", -difference - 1)]]
    strictly = {sympy.Lt: -difference - 1, sympy.Gt: difference - 1, sympy.Le: -difference, sympy.Ge: difference}
    expression = strictly[type(formula)]
    return [[(">= 0", expression if holds else -expression - 1)]]


def contradictory_parts(lemma: Lemma) -> list[Problem]:
    """Return the problems that must be contradictory for a lemma to hold, in order."""
    parts = [part for problem in problems(lemma.build) for part in (*problem.obligations, problem)]
    known = set(map(_constraints, parts))
    more = (part for problem in divisions(lemma.build) for part in (*problem.obligations, problem))
    return [*parts, *(part for part in more if _constraints(part) not in known)]


def _constraints(problem: Problem) -> tuple[frozenset[Any], frozenset[Any]]:
    """Return the content of a problem, for comparison with problems in other variables, whose rings differ."""
    symbols = problem.ring.symbols

    def terms(polynomial: PolyElement) -> frozenset[Any]:  # hashed in far less time than the text is written
        return frozenset(
            (tuple((symbol, power) for symbol, power in zip(symbols, powers, strict=True) if power), factor)
            for powers, factor in polynomial.items()
        )

    return frozenset(map(terms, problem.equations)), frozenset(map(terms, problem.inequalities))
