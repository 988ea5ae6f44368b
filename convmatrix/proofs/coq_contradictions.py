"""Certificates of contradiction as lemmas of Coq.

The proof is read off the certificate: a product of inequalities is ``Z.mul_nonneg_nonneg``, a substitution ``subst``, a
split a trichotomy, and the sum that remains is linear (``lia``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convmatrix.proofs.certificates import from_data, solved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sympy.polys.rings import PolyElement

    from convmatrix.proofs.certificates import Node
    from convmatrix.proofs.problems import Problem

Lines = list[str]
Proved = tuple[Lines, set[str]]  # a part of a proof, and the names of the hypotheses that it uses


class ContradictionLemma:
    """Writes the lemma that the constraints which a certificate uses contradict each other."""

    def __init__(self, problem: Problem, node: Node) -> None:
        self.ring = problem.ring
        self.count = 0
        equations = {f"E{place}": polynomial for place, polynomial in enumerate(problem.equations)}
        inequalities = {f"I{place}": polynomial for place, polynomial in enumerate(problem.inequalities)}
        self.internal: list[PolyElement] = []
        self.lines, used = self._proved(node, dict(equations), dict(inequalities))
        names = [*equations, *inequalities]
        self.hypotheses = [name for name in names if name in used]
        self.origins = [problem.origins[names.index(name)] for name in self.hypotheses]
        self.constraints = {name: (equations | inequalities)[name] for name in self.hypotheses}
        present = [*self.constraints.values(), *self.internal]
        self.variables = [str(g) for g in self.ring.gens if any(p.diff(g) for p in present)]

    def text(self) -> str:
        """Return the statement and the proof."""
        claims = [
            f"{polynomial_text(polynomial)} = 0" if name[0] == "E" else f"0 <= {polynomial_text(polynomial)}"
            for name, polynomial in self.constraints.items()
        ]
        quantified = f"forall {' '.join(self.variables)} : Z,\n    " if self.variables else ""
        statement = quantified + "".join(f"{claim} ->\n    " for claim in claims) + "False."
        intros = f"intros {' '.join([*self.variables, *self.hypotheses])}." if self.hypotheses else ""
        return "\n".join([statement, f"Proof. {intros}", *("  " + line for line in self.lines), "Qed."])

    def _fresh(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def _proved(
        self, node: Mapping[str, Any], equations: dict[str, PolyElement], inequalities: dict[str, PolyElement]
    ) -> Proved:
        if node["kind"] == "sum":
            return self._sum(node, list(equations), list(inequalities))
        if node["kind"] == "split":
            return self._split(node, equations, inequalities)
        name = list(equations)[node["equation"]]
        variable, value = solved(equations[name], node["variable"])

        def moved(constraints: Mapping[str, PolyElement]) -> dict[str, PolyElement]:
            return {n: p.compose(variable, value) if p.diff(variable) else p for n, p in constraints.items()}

        rest = {n: p for n, p in equations.items() if n != name}
        lines, used = self._proved(node["then"], moved(rest), moved(inequalities))
        if not any(polynomial.diff(variable) for n, polynomial in (rest | inequalities).items() if n in used):
            return lines, used  # what is used does not change
        self.internal.append(variable)
        solution = self._fresh("V")
        line = f"assert ({solution} : {variable} = {polynomial_text(value)}) by (clear -{name}; lia); subst {variable}."
        return [line, *lines], used | {name}

    def _sum(self, node: Mapping[str, Any], equations: list[str], inequalities: list[str]) -> Proved:
        lines, used, terms = [], set(), []
        for _, places in node["products"]:
            factors = [inequalities[place] for place in places]
            used |= set(factors)
            if len(factors) < 2:
                terms += factors
                continue
            product = factors[0]
            for factor in factors[1:]:
                product = f"(Z.mul_nonneg_nonneg _ _ {product} {factor})"
            terms.append(self._fresh("P"))
            lines.append(f"pose proof {product} as {terms[-1]}.")
        for place, data in node["multiples"]:
            multiplier = from_data(self.ring, data)
            used.add(equations[place])
            if multiplier.is_ground:
                terms.append(equations[place])
                continue
            self.internal.append(multiplier)
            terms.append(self._fresh("P"))
            lines.append(
                f"pose proof (f_equal (Z.mul ({polynomial_text(multiplier)})) {equations[place]}) as {terms[-1]}."
            )
        return [*lines, f"clear -{' '.join(dict.fromkeys(terms))}; lia." if terms else "lia."], used

    def _split(
        self, node: Mapping[str, Any], equations: dict[str, PolyElement], inequalities: dict[str, PolyElement]
    ) -> Proved:
        on, name = from_data(self.ring, node["on"]), self._fresh("S")
        cases = (
            self._proved(node["below"], equations, {**inequalities, name: -on - 1}),
            self._proved(node["zero"], {**equations, name: on}, inequalities),
            self._proved(node["above"], equations, {**inequalities, name: on - 1}),
        )
        for case in cases:
            if name not in case[1]:
                return case
        self.internal.append(on)
        lines = [f"destruct (trichotomy ({polynomial_text(on)})) as [{name}|[{name}|{name}]]."]
        for block, _ in cases:
            lines += in_braces(block)
        return lines, set().union(*(used for _, used in cases)) - {name}


def in_braces(lines: Lines) -> Lines:
    """Return lines as one goal, in braces."""
    first, *rest = lines
    inner = ["{ " + first, *("  " + line for line in rest)]
    return [*inner[:-1], inner[-1] + " }"]


def polynomial_text(polynomial: PolyElement) -> str:
    """Return a polynomial as a term of Gallina.

    Examples
    --------
    >>> from sympy.polys.rings import ring
    >>> from sympy import ZZ
    >>> _, n, q = ring("n, q", ZZ)
    >>> polynomial_text(n * q**2 - 2 * n + 1)
    'n * q * q - 2 * n + 1'
    """
    text = ""
    names = [str(symbol) for symbol in polynomial.ring.symbols]
    for powers, coefficient in sorted(polynomial.terms(), reverse=True):
        factors = [name for name, power in zip(names, powers, strict=True) for _ in range(power)]
        size = abs(int(coefficient))
        term = " * ".join(([] if size == 1 and factors else [str(size)]) + factors)
        if text:
            text += f" {'-' if coefficient < 0 else '+'} {term}"
        else:
            text = f"- ({term})" if coefficient < 0 else term
    return text or "0"
