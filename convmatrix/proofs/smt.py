"""The engine z3, which decides a lemma as one formula for an SMT solver.

z3 cannot reason about remainders modulo a symbol, so ``u % m`` becomes a new integer r, and ``u // m`` a new integer q,
with ``u == m q + r`` and ``0 <= r < m``, which is equivalent if ``m >= 1``; this is checked first.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

from convmatrix.proofs.statements import Decision, Lemma, counterexample, evaluate, no_symbols
from convmatrix.proofs.symbols import SymbolicAlgebra, SymbolicInteger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from convmatrix.proofs.symbols import Word


_MILLISECONDS: Final = 20_000
_WHAT: Final = (
    "not a certificate, but the problems that z3 found unsatisfiable: any SMT solver can decide them again; the "
    "engine sympy gives certificates, which are checked without search"
)
# Whether products are spelled out, and how many of z3's own steps are tried, so that each run does the same.
_ATTEMPTS: Final = ((False, 400_000), (True, 800_000), (False, 4_000_000), (True, 40_000_000))


def load_z3() -> Any:
    """Return the module z3, or raise ImportError with the command that installs it."""
    try:
        import z3
    except ImportError:
        raise ImportError(
            "the engine z3 needs the package z3-solver, which is not installed; run pip install z3-solver, "
            "or use engine='sympy'"
        ) from None
    return z3


class SmtFormula(SymbolicAlgebra):
    """Integers of z3."""

    def __init__(self) -> None:
        super().__init__()
        self.z3 = load_z3()
        self.context = self.z3.Context()  # a separate one, so that threads and earlier proofs do not matter
        self.facts: list[tuple[bool, Any]] = []  # whether it is a step, which must be proved, and its formula

    def variable(self, name: str) -> Any:
        """Return an integer of z3."""
        return self.z3.Int(name, self.context)

    def truth(self, value: bool) -> Any:
        """Return a truth value of z3."""
        return self.z3.BoolVal(value, self.context)

    def operated(self, function: Callable[..., Any], *terms: Any) -> Any:
        """Return a term of z3."""
        if function is operator.pow:
            raise TypeError("the engine z3 supports + - * // % and comparisons, not powers")
        if function in (operator.add, operator.mul) and isinstance(terms[0], int):
            terms = terms[::-1]  # x + 1 for 1 + x
        return (operator.truediv if function is operator.floordiv else function)(*terms)

    def related(self, relation: Callable[..., Any], left: Any, right: Any) -> Any:
        """Return a formula of z3."""
        found = relation(left, right)
        return self.truth(found) if isinstance(found, bool) else found  # of two numbers it is a bool

    def joined(self, word: Word, *formulas: Any) -> Any:
        """Return a formula of z3."""
        return {"and": self.z3.And, "or": self.z3.Or, "not": self.z3.Not}[word](*formulas, self.context)

    def assume(self, *conditions: Any) -> None:
        """Add hypotheses."""
        self.facts += [(False, self.formula(condition)) for condition in conditions]

    def show(self, step: Any) -> None:
        """Add an intermediate claim."""
        self.facts.append((True, self.formula(step)))

    def select(self, condition: Any, then: Any, otherwise: Any) -> SymbolicInteger:
        """Return one of two integers, by a condition."""
        chosen = self.z3.If(self.formula(condition), self.term(then), self.term(otherwise), self.context)
        return SymbolicInteger(self, chosen)


def decide_with_z3(lemma: Lemma) -> Decision:
    """Return the decision about a lemma: proved if the hypotheses and the negation of the claim are unsatisfiable."""
    formula = SmtFormula()
    z3 = formula.z3
    try:
        claim = formula.formula(lemma.build(formula))
    except (TypeError, z3.Z3Exception) as error:
        return no_symbols(lemma, error)
    found = counterexample(lemma)
    if found is not None:
        return Decision("refuted", counterexample=found)
    questions = _Questions(z3, formula.context)
    facts: list[Any] = []
    for is_step, condition in (*formula.facts, (True, claim)):
        if is_step:
            answer, solver = questions.contradiction(facts, z3.Not(condition))
            if answer == z3.sat:
                return _refuted(lemma, solver.model(), formula)
            if answer != z3.unsat:
                return Decision("undecided")
        facts.append(condition)
    certificate = {"kind": "smt-lib", "what": _WHAT, "version": z3.get_version_string()}
    certificate["unsatisfiable"] = list(questions.scripts)
    example = [z3.Int(name, formula.context) == value for name, value in lemma.example.items()]
    satisfiable = questions.satisfiable(facts, example)
    return Decision("proved", certificate) if satisfiable else Decision("undecided")


def _refuted(lemma: Lemma, model: Any, formula: SmtFormula) -> Decision:
    """Return the decision that a model refutes a lemma, after evaluating the lemma on plain integers."""
    integers = {name: formula.z3.Int(name, formula.context) for name in formula.names}
    values = {name: model.eval(n, model_completion=True).as_long() for name, n in integers.items()}
    if evaluate(lemma.build, values) == (True, False):
        return Decision("refuted", counterexample=values)
    return Decision("undecided")


class _Questions:
    """The queries to z3 for one lemma, in order."""

    def __init__(self, z3: Any, context: Any) -> None:
        self.z3 = z3
        self.context = context
        self.remainders = _Remainders(z3, context)
        self.positive = 0  # how many of the moduli are known to be
        self.scripts: list[str] = []

    def contradiction(self, facts: Sequence[Any], opposite: Any) -> tuple[Any, Any]:
        """Return whether the hypotheses and the negation of a claim are satisfiable together, and the solver."""
        remainders = self.remainders
        hypotheses = [remainders.replaced(fact) for fact in facts]
        plain = [h for h, fact in zip(hypotheses, facts, strict=True) if h.eq(fact)]
        opposite = remainders.replaced(opposite)
        for modulus in remainders.moduli[self.positive :]:  # the rules of remainders hold for positive moduli only
            answer, solver = self._ask({"timeout": _MILLISECONDS}, *plain, modulus <= 0)
            if answer != self.z3.unsat:
                return self.z3.unknown, solver
        self.positive = len(remainders.moduli)
        for with_products, steps in _ATTEMPTS:
            limit = {"timeout": _MILLISECONDS, "rlimit": steps}
            rules = [*remainders.rules, *(remainders.products if with_products else ())]
            answer, solver = self._ask(limit, *hypotheses, *rules, opposite)
            if answer != self.z3.unknown:
                break
        return answer, solver

    def satisfiable(self, facts: Sequence[Any], example: Sequence[Any]) -> bool:
        """Return whether the hypotheses hold for an example, which shows that they are consistent."""
        hypotheses = [self.remainders.replaced(fact) for fact in facts]
        answer, _ = self._ask({"timeout": _MILLISECONDS}, *hypotheses, *self.remainders.rules, *example)
        return bool(answer == self.z3.sat)

    def _ask(self, limit: Mapping[str, int], *constraints: Any) -> tuple[Any, Any]:
        solver = self.z3.Solver(ctx=self.context)
        solver.set(**limit)
        solver.add(*constraints)
        answer = solver.check()
        if answer == self.z3.unsat:
            self.scripts.append(solver.to_smt2())
        return answer, solver


class _Remainders:
    """Replaces the remainders and quotients in formulas."""

    def __init__(self, z3: Any, context: Any) -> None:
        self.z3 = z3
        self.context = context
        self.rules: list[Any] = []
        self.moduli: list[Any] = []
        self.products: list[Any] = []
        self.quotients: list[tuple[Any, Any]] = []
        self.known: dict[int, tuple[Any, Any]] = {}  # the first of the pair keeps the identifier alive
        self.divided: dict[tuple[int, int], tuple[Any, ...]] = {}

    def replaced(self, term: Any) -> Any:
        if term.get_id() in self.known:
            return self.known[term.get_id()][1]
        result = term
        if term.num_args():
            parts = [self.replaced(part) for part in term.children()]
            kind = term.decl().kind()
            if kind in (self.z3.Z3_OP_MOD, self.z3.Z3_OP_IDIV):
                result = self._division(*parts)[kind == self.z3.Z3_OP_MOD]
            else:
                pairs = list(zip(term.children(), parts, strict=True))
                result = self.z3.substitute(term, pairs)
        self.known[term.get_id()] = (term, result)
        return result

    def _division(self, value: Any, modulus: Any) -> tuple[Any, Any]:
        """Return the quotient and the remainder of a division, new integers for each pair of operands."""
        key = value.get_id(), modulus.get_id()
        if key not in self.divided:
            quotient, remainder = (self.z3.FreshInt(name, self.context) for name in ("quotient", "remainder"))
            self.rules += [value == modulus * quotient + remainder, remainder >= 0, remainder < modulus]
            self._add_products(modulus, quotient)
            if not any(modulus.eq(other) for other in self.moduli):
                self.moduli.append(modulus)
            self.divided[key] = quotient, remainder, value, modulus  # kept alive with their identifiers
        return self.divided[key][:2]

    def _add_products(self, modulus: Any, quotient: Any) -> None:
        """Add, for sums z of quotients, that ``abs(modulus * z) >= modulus`` if z is not 0.

        This holds for every positive modulus, and saves the solver the search for these products.
        """
        same = [other for known, other in self.quotients if known.eq(modulus)]
        for z, product in (
            (quotient, modulus * quotient),
            *((quotient - other, modulus * quotient - modulus * other) for other in same),
            *((quotient + other, modulus * quotient + modulus * other) for other in same),
        ):
            self.products += [
                self.z3.Implies(z >= 1, product >= modulus),
                self.z3.Implies(z <= -1, product <= -modulus),
                self.z3.Implies(z == 0, product == 0),
            ]
        self.quotients.append((modulus, quotient))
