"""Proofs in Coq of the lemmas of theorems, written from certificates of contradiction.

A proof follows the runs of the Python code: it unfolds the definitions of the rule, distinguishes the conditions of
their choices in the order in which the code comes to them, and replaces each remainder ``u mod m`` by ``u - m Q``. At
the end of a path the claim is assumed to be false, and each case is closed by a lemma of its own: the polynomial
contradiction that `convmatrix.proofs.search` finds, as `convmatrix.proofs.coq_contradictions` writes it.

Nothing here needs to be trusted, because Coq checks what is written.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import sympy

from convmatrix.boundary import Axis
from convmatrix.proofs.coq_contradictions import ContradictionLemma, Lines, Proved, in_braces
from convmatrix.proofs.gallina import (
    DEFINITIONS,
    Formula,
    GallinaAlgebra,
    Term,
    boolean_text,
    proposition_text,
    safe_name,
    term_text,
)
from convmatrix.proofs.problems import Problems, Quotient, Remainder, cases
from convmatrix.proofs.search import contradiction
from convmatrix.proofs.symbols import SymbolicInteger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from convmatrix.proofs.certificates import Node
    from convmatrix.proofs.problems import Literal, Problem
    from convmatrix.proofs.statements import Lemma


class NoProofError(Exception):
    """Raised if no certificate was found for a case."""


# --- one path through a lemma -----------------------------------------------------------------------------------------


class ProofPath(GallinaAlgebra):
    """Gallina integers on one path; ``choices`` lists the branch to take at each choice.

    ``events`` lists what happened, in order, each with a formula: ``"assume"``, ``"show"``, ``"choose"``, or
    ``"again"`` for a condition that is already decided, perhaps in other words.
    """

    def __init__(self, choices: Sequence[bool]) -> None:
        super().__init__()
        self.choices = choices
        self.taken: list[bool] = []
        self.events: list[tuple[str, Formula]] = []
        self.decided: dict[Any, bool] = {}

    def assume(self, *conditions: Any) -> None:
        """Add hypotheses."""
        self.events += [("assume", self.formula(condition)) for condition in conditions]

    def show(self, step: Any) -> None:
        """Add an intermediate claim."""
        self.events.append(("show", self.formula(step)))

    def select(self, condition: Any, then: Any, otherwise: Any) -> SymbolicInteger:
        """Return one of two integers, by a condition."""
        formula = self.formula(condition)
        if formula[0] in ("true", "false"):
            taken = formula[0] == "true"
        else:
            key = _key(formula)
            self.events.append(("again" if key in self.decided else "choose", formula))
            if key not in self.decided:
                place = len(self.taken)
                self.decided[key] = self.choices[place] if place < len(self.choices) else True
                self.taken.append(self.decided[key])
            taken = self.decided[key]
        chosen: SymbolicInteger = self._written(then if taken else otherwise)
        return chosen

    def run(self, name: str, *arguments: Any) -> Any:
        """Return the result of a function of the rule on this path, with numbers written out as in its definition."""
        return self._written(super().run(name, *map(self._written, arguments)))

    def _written(self, value: Any) -> Any:
        """Return a number as a term, also within an axis or a tuple, and anything else as it is."""
        if isinstance(value, Axis):
            fields = ("n_outputs", "n_samples", "n_taps", "stride", "dilation", "pad_low", "tile")
            return replace(value, **{name: self._written(getattr(value, name)) for name in fields})
        if isinstance(value, tuple):
            return tuple(map(self._written, value))
        return SymbolicInteger(self, self.number(value)) if isinstance(value, int) else value


def _sympy(term: Term) -> Any:
    """Return a term as a SymPy expression, with remainders and quotients unevaluated."""
    operation, *parts = term
    if operation == "variable":
        return sympy.Symbol(parts[0], integer=True)
    if operation == "number":
        return sympy.Integer(parts[0])
    values = [_sympy(part) for part in parts]
    if operation == "negative":
        return -values[0]
    left, right = values
    if operation in ("mod", "/"):
        return (Remainder if operation == "mod" else Quotient)(left, right)
    return left + right if operation == "+" else left - right if operation == "-" else left * right


def _key(formula: Formula) -> Any:
    """Return a key that is the same for conditions that differ only in the order of sums and products."""
    kind, *parts = formula
    if kind in ("=", "<>", "<", "<=", "within"):
        return (kind, *map(_sympy, parts))
    if kind in ("and", "or"):
        return (kind, *map(_key, parts[0]))
    return (kind, *map(_key, parts))


# --- the proof of a lemma ---------------------------------------------------------------------------------------------

Named = tuple[Formula, bool, str]  # a formula, whether it holds, and the name of the hypothesis that says so


@dataclass(frozen=True)
class _Quotient:
    """A quotient that has been introduced: its name, the number of its hypotheses, and the division as text."""

    name: str
    place: int
    value: str
    modulus: str


@dataclass
class _KnownFacts:
    """The facts known at one point of a proof."""

    quotients: dict[Any, _Quotient] = field(default_factory=dict)
    words: dict[tuple[str, str, str], Any] = field(default_factory=dict)  # texts of divisions that are replaced
    facts: list[Named] = field(default_factory=list)
    conditions: dict[Any, tuple[Formula, str]] = field(default_factory=dict)


class LemmaProof:
    """Writes the proof of a lemma with a name in Coq.

    ``contradictions`` are the lemmas of contradiction that it uses: names by their statements and proofs.
    """

    def __init__(self, lemma: Lemma, name: str) -> None:
        self.lemma = lemma
        self.name = name
        self.contradictions: dict[str, str] = {}
        self.problem_of = Problems()
        self.proofs: dict[Any, tuple[Problem, Node]] = {}
        self.count = 0
        path = ProofPath([])
        lemma.build(path)
        self.names = [safe_name(name) for name in path.names]

    def text(self) -> tuple[str, str]:
        """Return the lemmas of contradiction, and the proof; raise `NoProofError` if a case has no certificate."""
        intros = [f"intros {' '.join(self.names)}."] if self.names else []
        unfold = f"cbv beta iota zeta delta [{' '.join(DEFINITIONS)}]."
        lines = ["Proof.", *intros, unfold, *self._branch([], _KnownFacts()), "Qed."]
        before = "\n".join(f"Lemma {name} : {text}" for text, name in self.contradictions.items())
        return before, "\n".join(lines)

    def _fresh(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def _branch(self, choices: list[bool], state: _KnownFacts) -> Lines:
        """Return the rest of the proof after the given choices."""
        path = ProofPath(choices)
        claim = path.formula(self.lemma.build(path))
        lines: Lines = []
        for event, formula in self._new(path, len(choices)):
            lines += self._introduce(formula, state)
            if event == "assume":
                pattern, facts = self._pattern(formula, "H")
                lines.append(f"intros {pattern}.")
                state.facts += facts
            elif event == "show":
                name = self._fresh("S")
                lines.append(f"assert ({name} : {proposition_text(_flat(formula, state))}).")
                lines += in_braces(self._claim(formula, state))
                state.facts.append((formula, True, name))
            elif event == "again":
                lines += self._again(formula, path, state)
            else:
                return lines + self._choice(formula, choices, state)
        return lines + self._claim(claim, state)

    @staticmethod
    def _new(path: ProofPath, known: int) -> Iterator[tuple[str, Formula]]:
        """Yield the events after the known choices."""
        for event, formula in path.events:
            if known <= 0:
                yield event, formula
            known -= event == "choose"

    def _pattern(self, formula: Formula, letter: str) -> tuple[str, list[Named]]:
        """Return the pattern that introduces a formula and takes conjunctions apart, and its parts by name."""
        formula = _ends(formula)
        if formula[0] != "and" or not formula[1]:
            name = self._fresh(letter)
            return name, [(formula, True, name)]
        patterns, facts = [], []
        for part in formula[1]:
            pattern, named = self._pattern(part, letter)
            patterns.append(pattern)
            facts += named
        text = patterns[-1]
        for pattern in reversed(patterns[:-1]):
            text = f"[{pattern} {text}]"
        return text, facts

    def _choice(self, formula: Formula, choices: list[bool], state: _KnownFacts) -> Lines:
        """Return the proof by the two cases of a condition."""
        name = self._fresh("C")
        lines = [self._destruct(formula, name, state) + "."]
        first = formula[0] != "<>"
        for branch in (first, not first):
            inner = _KnownFacts(*map(copy.copy, vars(state).values()))
            extra, fact = self._decided(formula, branch, name, state)
            inner.facts.append(fact)
            inner.conditions[_key(formula)] = formula, fact[2]
            lines += in_braces([*extra, *self._branch([*choices, branch], inner)])
        return lines

    @staticmethod
    def _destruct(formula: Formula, name: str, state: _KnownFacts) -> str:
        """Return the tactic that distinguishes the cases of a condition: that it holds first, except for ``<>``."""
        flat = _flat(formula, state)
        if formula[0] not in _SPECIFICATIONS:
            return f"destruct ({boolean_text(flat)}) eqn:{name}; {_REDUCE}"
        left, right = (term_text(part, 9) for part in flat[1:])
        return f"destruct ({_SPECIFICATIONS[formula[0]]} {left} {right}) as [{name}|{name}]; {_REDUCE}"

    def _decided(self, formula: Formula, branch: bool, name: str, state: _KnownFacts) -> tuple[Lines, Named]:
        """Return how a decided condition becomes a fact."""
        kind, *parts = formula
        if kind in _SPECIFICATIONS:
            swapped = parts if kind in ("=", "<>") else parts[::-1]
            opposite = ({"<": "<=", "<=": "<", "=": "<>", "<>": "="}[kind], *swapped)
            return [], (formula if branch else opposite, True, name)
        fact = self._fresh("C")
        text = proposition_text(_flat(formula, state))
        line = f"assert ({fact} : {text if branch else f'~ ({text})'}) by (clear -{name}; lia)."
        return [line], (formula, branch, fact)

    def _again(self, formula: Formula, path: ProofPath, state: _KnownFacts) -> Lines:
        """Return the tactics that decide a condition that was decided before and has reappeared in the goal."""
        branch = path.decided[_key(formula)]
        words, known = state.conditions[_key(formula)]
        if words == formula and formula[0] in _SPECIFICATIONS:
            left, right = (term_text(part, 9) for part in _flat(formula, state)[1:])
            equivalence = _EQUIVALENCES[_SPECIFICATIONS[formula[0]], branch == (formula[0] != "<>")]
            return [f"rewrite ?(proj2 ({equivalence} {left} {right}) {known}); {_REDUCE}."]
        name = self._fresh("C")
        closed = f"exfalso; clear -{name} {known}; lia"
        goals = f"[| {closed}]" if branch == (formula[0] != "<>") else f"[{closed} |]"
        return [f"{self._destruct(formula, name, state)}; {goals}."]

    def _introduce(self, formula: Formula, state: _KnownFacts) -> Lines:
        """Return the tactics that replace the remainders and quotients of a formula in the goal."""
        lines: Lines = []
        for term in _divisions(formula):
            value, modulus = (term_text(_flat(part, state)) for part in term[1:])
            key = Remainder(*map(_sympy, term[1:]))
            if (term[0], value, modulus) in state.words:
                continue
            if key not in state.quotients:
                self.count += 1
                place = self.count
                known = _Quotient(f"Q{place}", place, value, modulus)
                state.quotients[key] = known
                state.words[("mod", value, modulus)] = state.words[("/", value, modulus)] = known
                pattern = f"[{known.name} [D{place} [R{place} B{place}]]]"
                lines.append(
                    f"destruct (quotient {_atom(value)} {_atom(modulus)}) as {pattern}; rewrite ?D{place}, ?R{place}."
                )
                continue
            known = state.quotients[key]
            state.words[(term[0], value, modulus)] = known
            here, there = (
                f"{_atom(left)} {term[0]} {_atom(right)}"
                for left, right in ((value, modulus), (known.value, known.modulus))
            )
            name = self._fresh("E")
            lines.append(f"assert ({name} : {here} = {there}) by (f_equal; ring).")
            lines.append(f"rewrite ?{name}, ?D{known.place}, ?R{known.place}; clear {name}.")
        return lines

    # --- the end of a path ---

    def _claim(self, claim: Formula, state: _KnownFacts) -> Lines:
        """Return the proof of a claim from the facts."""
        name = self._fresh("N")
        lines = self._introduce(claim, state)
        inner, used = self._refute([*state.facts, (claim, False, name)], [], state)
        if name not in used:
            return [*lines, "exfalso.", *inner]
        return [*lines, f"apply by_contradiction; [decide_it | intro {name}].", *inner]

    def _refute(self, pending: list[Named], literals: list[tuple[Literal, str]], state: _KnownFacts) -> Proved:
        """Return the proof that formulas contradict each other, and the names of the hypotheses that it uses."""
        if not pending:
            return self._leaf(literals, state)
        (formula, holds, name), *rest = pending
        kind, *parts = _ends(formula) if holds else formula
        if kind == "not" and holds:
            return self._refute([(parts[0], False, name), *rest], literals, state)
        if kind == "not":
            x = self._fresh(name[0])
            return self._step(f"not_not {name} as {x}.", name, [[(parts[0], True, x)]], rest, literals, state)
        if kind in ("true", "false"):
            if holds == (kind == "true"):
                return self._refute(rest, literals, state)
            return [f"destruct {name}." if holds else f"destruct ({name} I)."], {name}
        if kind in ("=", "<>", "<", "<="):
            alternatives = _literals(formula, holds)
            if len(alternatives) == 1:
                return self._refute(rest, [*literals, (alternatives[0], name)], state)
            x = self._fresh(name[0])
            less = ("<", parts[1], parts[0]), ("<", parts[0], parts[1])
            cases: list[list[Named]] = [[(case, True, x)] for case in less]
            return self._step(f"destruct (apart _ _ {name}) as [{x}|{x}].", name, cases, rest, literals, state)
        x, y = self._fresh(name[0]), self._fresh(name[0])
        if kind == "within":
            sides: list[list[Named]] = [
                [(("<", parts[0], ("number", 0)), True, x)],
                [(("<=", parts[1], parts[0]), True, x)],
            ]
            return self._step(f"destruct (outside _ _ {name}) as [{x}|{x}].", name, sides, rest, literals, state)
        left, right = _two_parts((kind, *parts))
        if right is None:
            return self._refute([(left, holds, name), *rest], literals, state)
        together: list[list[Named]]
        if kind == "implies":
            if holds:
                tactic, together = f"implied {name} as {x} {y}.", [[(left, False, x)], [(right, True, y)]]
            else:
                tactic, together = f"not_implied {name} as {x} {y}.", [[(left, True, x), (right, False, y)]]
        elif (kind == "or") == holds:
            tactic = f"destruct {name} as [{x}|{y}]." if holds else f"not_both {name} as {x} {y}."
            together = [[(left, holds, x)], [(right, holds, y)]]
        else:
            source = name if holds else f"(neither _ _ {name})"
            tactic, together = f"destruct {source} as [{x} {y}].", [[(left, holds, x), (right, holds, y)]]
        return self._step(tactic, name, together, rest, literals, state)

    def _step(
        self,
        tactic: str,
        name: str,
        cases: list[list[Named]],
        rest: list[Named],
        literals: list[tuple[Literal, str]],
        state: _KnownFacts,
    ) -> Proved:
        """Return the proof by the cases of a hypothesis, or without it, if a case is closed without what it adds."""
        blocks, used = [], {name}
        for case in cases:
            lines, needed = self._refute([*case, *rest], literals, state)
            own = {added for _, _, added in case}
            if not own & needed:
                return lines, needed
            used |= needed - own
            blocks.append(lines)
        if len(blocks) == 1:
            return [tactic, *blocks[0]], used
        return [tactic, *(line for block in blocks for line in in_braces(block))], used

    def _leaf(self, literals: list[tuple[Literal, str]], state: _KnownFacts) -> Proved:
        """Return the contradiction of literals, and the names of the hypotheses that it uses."""
        case = tuple(literal for literal, _ in literals)
        if case not in self.proofs:
            problem = self.problem_of(self.names, case)
            node = contradiction(problem)
            if node is None:
                raise NoProofError(f"{self.lemma.name}: no certificate for a case")
            self.proofs[case] = problem, node
        problem, node = self.proofs[case]
        quotients = [state.quotients[remainder] for remainder in problem.remainders]
        names = [name for _, name in literals]
        call, origins = self._contradiction(problem, node, quotients)
        lines: Lines = []
        tactics, used = [], set()
        positive: dict[str, str] = {}  # the hypothesis that a modulus is positive
        for kind, place in origins:
            if kind == "literal":
                used.add(names[place])
                tactics.append(f"clear -{names[place]}; lia")
                continue
            known = quotients[place]
            if known.modulus not in positive:
                more, needed = self._positive(problem, place, quotients, names)
                positive[known.modulus] = self._fresh("M")
                lines.append(f"assert ({positive[known.modulus]} : 0 <= {known.modulus} - 1) by {more}.")
                used |= needed
            modulus = positive[known.modulus]
            if kind == "modulus":
                tactics.append(f"clear -{modulus}; lia")
            else:
                bound = self._fresh("B")
                tactics.append(f"pose proof (B{known.place} {modulus}) as {bound}; clear -{bound}; lia")
        return [*lines, f"apply ({call}); [{' | '.join(tactics)}]."], used

    def _positive(
        self, problem: Problem, place: int, quotients: Sequence[_Quotient], names: Sequence[str]
    ) -> tuple[str, set[str]]:
        """Return the tactic that proves a modulus to be positive, and the names of the hypotheses that it uses."""
        modulus = problem.moduli[place]
        first = problem.moduli.index(modulus)
        for obligation in problem.obligations:
            if ("below", first) in obligation.origins:
                node = contradiction(obligation)
                if node is None:
                    raise NoProofError(f"{self.lemma.name}: the modulus {modulus} may be below 1")
                call, origins = self._contradiction(obligation, node, quotients)
                below = self._fresh("O")
                sources = [names[place] if kind == "literal" else below for kind, place in origins]
                tactics = " | ".join(f"clear -{source}; lia" for source in sources)
                return f"(apply positive; intro {below}; apply ({call}); [{tactics}])", set(sources) - {below}
        n_equations = len(problem.equations)
        for polynomial, (kind, literal) in zip(problem.inequalities, problem.origins[n_equations:], strict=True):
            if kind == "literal" and polynomial == modulus - 1:
                return f"(clear -{names[literal]}; lia)", {names[literal]}
        raise NoProofError(f"{self.lemma.name}: the modulus {modulus} may be below 1")

    def _contradiction(
        self, problem: Problem, node: Node, quotients: Sequence[_Quotient]
    ) -> tuple[str, list[tuple[str, int]]]:
        """Return the application of a lemma of contradiction, and where its hypotheses come from."""
        written = ContradictionLemma(problem, node)
        text = written.text()
        if text not in self.contradictions:
            self.contradictions[text] = f"{self.name}_contradiction_{len(self.contradictions)}"
        letters = [str(symbol) for symbol in problem.ring.symbols]
        actual = dict(zip(letters, [*self.names, *(quotient.name for quotient in quotients)], strict=True))
        arguments = [actual[name] for name in written.variables]
        return " ".join([self.contradictions[text], *arguments]), written.origins


_SPECIFICATIONS: Final = {"<": "Z.ltb_spec", "<=": "Z.leb_spec", "=": "Z.eqb_spec", "<>": "Z.eqb_spec"}
_EQUIVALENCES: Final = {
    ("Z.ltb_spec", True): "Z.ltb_lt",
    ("Z.ltb_spec", False): "Z.ltb_ge",
    ("Z.leb_spec", True): "Z.leb_le",
    ("Z.leb_spec", False): "Z.leb_gt",
    ("Z.eqb_spec", True): "Z.eqb_eq",
    ("Z.eqb_spec", False): "Z.eqb_neq",
}
_REDUCE: Final = "cbv beta iota delta [negb andb orb]"


def _atom(text: str) -> str:
    return text if text.isidentifier() or text.isdigit() else f"({text})"


def _divisions(part: Any) -> Iterator[Term]:
    """Yield the remainders and quotients in a formula or a term, inner ones first."""
    if isinstance(part, tuple):
        for inner in part:
            yield from _divisions(inner)
        if part and part[0] in ("mod", "/"):
            yield part


def _flat(part: Any, state: _KnownFacts) -> Any:
    """Return a formula or a term with its remainders and quotients replaced."""
    if not isinstance(part, tuple):
        return part
    if part and part[0] in ("mod", "/"):
        value, modulus = (_flat(inner, state) for inner in part[1:])
        known = state.words[part[0], term_text(value), term_text(modulus)]
        quotient = ("variable", known.name)
        return quotient if part[0] == "/" else ("-", _verbatim(known.value), ("*", _verbatim(known.modulus), quotient))
    return tuple(_flat(inner, state) for inner in part)


def _verbatim(text: str) -> Term:
    """Return the term of a text."""
    return ("variable", _atom(text))


def _literals(formula: Formula, holds: bool) -> list[Literal]:
    """Return the alternatives of a comparison or its negation, each an equation or an inequality."""
    kind, left, right = formula
    relation = {"=": sympy.Eq, "<>": sympy.Ne, "<": sympy.Lt, "<=": sympy.Le}[kind]
    return [case[0] for case in cases(relation(_sympy(left), _sympy(right), evaluate=False), holds)]


def _ends(formula: Formula) -> Formula:
    """Return ``0 <= i < n`` as a conjunction, as Coq reads it, and any other formula as it is."""
    if formula[0] != "within":
        return formula
    _, value, size = formula
    return ("and", (("<=", ("number", 0), value), ("<", value, size)))


def _two_parts(formula: Formula) -> tuple[Formula, Formula | None]:
    """Return the first part of a compound formula, and the rest, as Coq nests them."""
    kind, *parts = formula
    if kind == "implies":
        return parts[0], parts[1]
    if kind == "iff":
        return ("implies", *parts), ("implies", *reversed(parts))
    several = parts[0]
    if not several:
        return ("true",) if kind == "and" else ("false",), None
    if len(several) == 1:
        return several[0], None
    return several[0], several[1] if len(several) == 2 else (kind, several[1:])
