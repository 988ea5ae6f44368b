"""The engine z3: a lemma as one formula for an SMT solver.

Remainders by a symbol are beyond z3's own rules, so ``u % m`` becomes a new integer r with ``u == m q + r`` and
``0 <= r < m``, which says the same where ``m >= 1``; that this holds is asked first.
"""

from __future__ import annotations

from typing import Any, Final

from convmatrix.equivariance.engines.decide import Decision
from convmatrix.equivariance.engines.lemma import Algebra, Lemma, evaluate

_FIRST_MILLISECONDS: Final = 500
_MILLISECONDS: Final = 20_000


def load_z3() -> Any:
    """Return the module z3, or raise telling how to install it."""
    try:
        import z3
    except ImportError:
        raise ImportError(
            "the engine z3 needs the package z3-solver, which is not installed; run pip install 'convmatrix[prove]', "
            "or "
            "use engine='sympy'"
        ) from None
    return z3


class SmtFormula(Algebra):
    """Integers of z3."""

    def __init__(self) -> None:
        self.z3 = load_z3()
        self.facts: list[Any] = []
        self.names: list[str] = []

    def integers(self, names: str) -> tuple[Any, ...]:
        """Return the integers of these names."""
        self.names += names.split()
        return tuple(self.z3.Int(name) for name in names.split())

    def assume(self, *conditions: Any) -> None:
        """Add hypotheses."""
        self.facts += conditions

    def select(self, condition: Any, then: Any, otherwise: Any) -> Any:
        """Choose between two integers."""
        return self.z3.If(condition, then, otherwise)

    def equal(self, left: Any, right: Any) -> Any:
        """Return whether two integers are equal."""
        return left == right

    def both(self, *conditions: Any) -> Any:
        """Return whether all conditions hold."""
        return self.z3.And(*conditions)

    def either(self, *conditions: Any) -> Any:
        """Return whether one of the conditions holds."""
        return self.z3.Or(*conditions)

    def negation(self, condition: Any) -> Any:
        """Return the opposite of a condition."""
        return self.z3.Not(condition)


def decide_with_z3(lemma: Lemma) -> Decision:
    """Decide a lemma: it holds if hypotheses and the opposite of its claim cannot be satisfied together."""
    formula = SmtFormula()
    z3 = formula.z3
    claim = lemma.build(formula)
    claim = z3.BoolVal(claim) if isinstance(claim, bool) else claim
    remainders = _Remainders(z3)
    hypotheses = [remainders.replaced(z3.BoolVal(f) if isinstance(f, bool) else f) for f in formula.facts]
    plain = [h for h, fact in zip(hypotheses, formula.facts, strict=True) if isinstance(fact, bool) or h.eq(fact)]
    opposite = remainders.replaced(z3.Not(claim))
    scripts = []

    def ask(milliseconds: int, *constraints: Any) -> Any:
        solver = z3.Solver()
        solver.set("timeout", milliseconds)
        solver.add(*constraints)
        scripts.append(solver.to_smt2())
        return solver, solver.check()

    for modulus in remainders.moduli:
        _, answer = ask(_MILLISECONDS, *plain, modulus <= 0)
        if answer != z3.unsat:
            return Decision("undecided")
    solver, answer = ask(_FIRST_MILLISECONDS, *hypotheses, *remainders.rules, opposite)
    if answer == z3.unknown:
        solver, answer = ask(_MILLISECONDS, *hypotheses, *remainders.rules, *remainders.products, opposite)
    if answer == z3.unsat:
        _, satisfiable = ask(
            _MILLISECONDS, *hypotheses, *remainders.rules, *(z3.Int(n) == v for n, v in lemma.example.items())
        )
        certificate = {"kind": "smt-lib", "version": z3.get_version_string(), "unsatisfiable": scripts[:-1]}
        return Decision("proved", certificate) if satisfiable == z3.sat else Decision("undecided")
    if answer == z3.sat:
        model = solver.model()
        values = {name: model.eval(z3.Int(name), model_completion=True).as_long() for name in formula.names}
        if evaluate(lemma.build, values) == (True, False):
            return Decision("refuted", counterexample=values)
    return Decision("undecided")


class _Remainders:
    """Replaces the remainders in formulas."""

    def __init__(self, z3: Any) -> None:
        self.z3 = z3
        self.rules: list[Any] = []
        self.moduli: list[Any] = []
        self.products: list[Any] = []
        self.quotients: list[tuple[Any, Any]] = []
        self.known: dict[int, tuple[Any, Any]] = {}  # the first of the pair keeps the identifier alive

    def replaced(self, term: Any) -> Any:
        if term.get_id() in self.known:
            return self.known[term.get_id()][1]
        result = term
        if term.num_args():
            parts = [self.replaced(part) for part in term.children()]
            if term.decl().kind() == self.z3.Z3_OP_MOD:
                quotient, result = self.z3.FreshInt("quotient"), self.z3.FreshInt("remainder")
                value, modulus = parts
                self.rules += [value == modulus * quotient + result, result >= 0, result < modulus]
                self._add_products(modulus, quotient)
                if not any(modulus.eq(other) for other in self.moduli) and not self.z3.is_int_value(modulus):
                    self.moduli.append(modulus)
            else:
                pairs = list(zip(term.children(), parts, strict=True))
                result = self.z3.substitute(term, pairs)
        self.known[term.get_id()] = (term, result)
        return result

    def _add_products(self, modulus: Any, quotient: Any) -> None:
        """Add that ``modulus * z`` is at least the modulus away from 0 where z is not 0, for sums of quotients.

        It holds for every positive modulus, and spares the solver the search for these products.
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
