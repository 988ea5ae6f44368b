r"""Gallina, the language of Coq: terms and formulas as text, and lemmas as statements about the one-axis rule.

`statement` runs a lemma on an algebra that writes an application of a definition of `convmatrix.proofs.coq_rule`, such
as ``sample (Axis n n k 1 d p circular false 1) i t``, where other engines run the rule itself.
"""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any, Final

from convmatrix.boundary import PLAIN, SIGNED, Axis, read_terms
from convmatrix.proofs.symbols import SymbolicAlgebra, SymbolicCondition, SymbolicInteger

if TYPE_CHECKING:
    from collections.abc import Callable

    from convmatrix.proofs.statements import Lemma, Theorem
    from convmatrix.proofs.symbols import Word

_LINE: Final = 112  # characters in a line of a statement

_N_TERMS: Final = {boundary: len(read_terms(0, 1, boundary)) for boundary in SIGNED}
_TERM: Final = ("sample", "factor")
_ENDS: Final = ("low", "high")

WORDS: Final = ("same", "same_lower", "full", "valid")
"""The words for paddings, each with definitions of its own."""

# --- terms and formulas -----------------------------------------------------------------------------------------------

# A term of type Z is (operation, parts): ("variable", name), ("number", n), ("apply", name, *terms or names),
# ("if", formula, term, term), or (symbol, *terms) with a symbol of _LEVELS or "negative".
# A formula is ("=" | "<" | "<=" | "<>", term, term), ("and" | "or", formulas), ("not", formula),
# ("implies" | "iff", formula, formula), ("within", term, term) for 0 <= term < term, or ("true",), ("false",).
Term = tuple[Any, ...]
Formula = tuple[Any, ...]

_LEVELS: Final = {"*": 40, "/": 40, "mod": 40, "+": 50, "-": 50}
_BOOLEAN: Final = {"=": "=?", "<": "<?", "<=": "<=?"}


def term_text(term: Term, level: int = 200) -> str:
    """Return a term as text, in parentheses if it binds less tightly than a level of Coq's grammar.

    Examples
    --------
    >>> n = ("variable", "n")
    >>> term_text(("*", ("-", n, ("number", 1)), ("negative", n)))
    '(n - 1) * (- n)'
    """
    operation = term[0]
    if operation == "variable":
        return str(term[1])
    if operation == "number":
        return str(term[1]) if term[1] >= 0 else f"({term[1]})"
    if operation == "apply":
        text = " ".join([term[1], *(part if isinstance(part, str) else term_text(part, 9) for part in term[2:])])
        own = 10
    elif operation == "if":
        text = f"if {boolean_text(term[1])} then {term_text(term[2])} else {term_text(term[3])}"
        own = 200
    elif operation == "negative":
        text, own = f"- {term_text(term[1], 0)}", 201
    else:
        own = _LEVELS[operation]
        alone = operation == "mod"
        left, right = (term_text(part, own - (1 if right or alone else 0)) for right, part in enumerate(term[1:]))
        text = f"{left} {operation} {right}"
    return text if own <= level else f"({text})"


def proposition_text(formula: Formula, within: bool = False) -> str:
    r"""Return a formula as a proposition, in parentheses if it is part of another and not an atom.

    Examples
    --------
    >>> i, n = ("variable", "i"), ("variable", "n")
    >>> proposition_text(("or", (("within", i, n), ("=", i, ("number", -1)))))
    '0 <= i < n \\/ i = (-1)'
    """
    kind = formula[0]
    if kind == "within":
        return f"0 <= {term_text(formula[1], 69)} < {term_text(formula[2], 69)}"
    if kind in ("=", "<", "<=", "<>"):
        return f"{term_text(formula[1], 69)} {kind} {term_text(formula[2], 69)}"
    if kind in ("true", "false"):
        return str(kind).capitalize()
    if kind == "not":
        return f"~ ({proposition_text(formula[1])})"
    if kind in ("and", "or"):
        parts = [proposition_text(part, within=True) for part in formula[1]]
        text = (" /\\ " if kind == "and" else " \\/ ").join(parts)
        return f"({text})" if within and len(parts) > 1 else text
    symbol = "->" if kind == "implies" else "<->"
    text = f"{proposition_text(formula[1], within=True)} {symbol} {proposition_text(formula[2], within=True)}"
    return f"({text})" if within else text


def boolean_text(formula: Formula, within: bool = False) -> str:
    """Return a formula as a boolean of Coq, for ``if``.

    Examples
    --------
    >>> boolean_text(("<", ("variable", "n"), ("number", 1)))
    'n <? 1'
    """
    kind, *parts = formula
    if kind in ("true", "false"):
        return str(kind)
    if kind == "within":
        return boolean_text(("and", (("<=", ("number", 0), parts[0]), ("<", *parts))), within)
    if kind == "implies":
        return boolean_text(("or", (("not", parts[0]), parts[1])), within)
    if kind in _BOOLEAN:
        text = f"{term_text(parts[0], 69)} {_BOOLEAN[kind]} {term_text(parts[1], 69)}"
    elif kind in ("and", "or"):
        text = (" && " if kind == "and" else " || ").join(boolean_text(part, within=True) for part in parts[0])
    else:
        inner = [("=", *parts)] if kind == "<>" else parts
        text = " ".join(["Bool.eqb" if kind == "iff" else "negb", *(boolean_text(part, within=True) for part in inner)])
    return f"({text})" if within else text


# --- the algebra of statements ----------------------------------------------------------------------------------------

_SYMBOLS: Final[dict[Any, str]] = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.floordiv: "/",
    operator.mod: "mod",
    operator.neg: "negative",
}
_RELATIONS: Final[dict[Any, str]] = {operator.eq: "=", operator.ne: "<>", operator.lt: "<", operator.le: "<="}
_REVERSED: Final[dict[Any, Any]] = {operator.gt: operator.lt, operator.ge: operator.le}


class GallinaAlgebra(SymbolicAlgebra):
    """Integers that write terms of Gallina; formulas in the words of Coq: ``<->``, ``->``, ``0 <= i < n``, ``<>``.

    Examples
    --------
    >>> n, m = GallinaAlgebra().integers("n m")
    >>> term_text(((n + 1) * 2 % m).term)
    '((n + 1) * 2) mod m'
    """

    def __init__(self) -> None:
        super().__init__()
        self.hypotheses: list[Formula] = []

    def variable(self, name: str) -> Term:
        """Return a variable, by a name that Coq does not use otherwise."""
        return ("variable", safe_name(name))

    def number(self, value: int) -> Term:
        """Return a number."""
        return ("number", value)

    def truth(self, value: bool) -> Formula:
        """Return ``True`` or ``False``."""
        return ("true",) if value else ("false",)

    def operated(self, function: Callable[..., Any], *terms: Any) -> Term:
        """Return a term of terms."""
        if function not in _SYMBOLS:
            raise TypeError(f"the engine coq supports + - * // % and comparisons, not {function.__name__}")
        return (_SYMBOLS[function], *terms)

    def related(self, relation: Callable[..., Any], left: Any, right: Any) -> Formula:
        """Return a comparison, with ``<`` and ``<=`` for ``>`` and ``>=``."""
        if relation in _REVERSED:
            return (_RELATIONS[_REVERSED[relation]], right, left)
        return (_RELATIONS[relation], left, right)

    def joined(self, word: Word, *formulas: Formula) -> Formula:
        """Return a conjunction, a disjunction or a negation."""
        return (word, formulas[0] if word == "not" else formulas)

    def assume(self, *conditions: Any) -> None:
        """Add hypotheses."""
        self.hypotheses += map(self.formula, conditions)

    def show(self, step: Any) -> None:
        """Leave out an intermediate claim, which is part of the proof and not of the statement."""
        self.formula(step)

    def select(self, condition: Any, then: Any, otherwise: Any) -> SymbolicInteger:
        """Return the term ``if condition then ... else ...``."""
        return SymbolicInteger(self, ("if", self.formula(condition), self.term(then), self.term(otherwise)))

    def within(self, value: Any, size: Any) -> SymbolicCondition:
        """Return the formula ``0 <= value < size``."""
        return SymbolicCondition(self, ("within", self.term(value), self.term(size)))

    def different(self, left: Any, right: Any) -> SymbolicCondition:
        """Return the formula ``left <> right``."""
        return self.compared(operator.ne, left, right)

    def implies(self, condition: Any, conclusion: Any) -> SymbolicCondition:
        """Return the formula ``condition -> conclusion``."""
        return SymbolicCondition(self, ("implies", self.formula(condition), self.formula(conclusion)))

    def equivalent(self, left: Any, right: Any) -> SymbolicCondition:
        """Return the formula ``left <-> right``."""
        return SymbolicCondition(self, ("iff", self.formula(left), self.formula(right)))


class Statement(GallinaAlgebra):
    """The algebra in which a lemma states something about the definitions of the rule."""

    def cases(self, *conditions: Any) -> None:
        """Ignore steps, which matter to proofs only."""
        for condition in conditions:
            self.formula(condition)

    def run(self, name: str, *arguments: Any) -> Any:
        """Return a definition applied to arguments, such as ``position (Axis ...) output tap``.

        Words come first, as in ``read_sample circular position size``. Where the rule returns several numbers, each
        has a definition of its own, such as ``same_low`` and ``same_high``, or ``antireflect_sample_0``.
        """
        words = [value for value in arguments if isinstance(value, str)]
        numbers = [value for value in arguments if not isinstance(value, str) and not callable(value)]
        if name == "read_terms" and words[0] in SIGNED:
            names = ([f"{words[0]}_{part}_{place}" for part in _TERM] for place in range(_N_TERMS[words[0]]))
            return tuple(tuple(self._applied(own, *numbers) for own in pair) for pair in names)
        if name == "read_terms":
            return ((self.run("read_sample", *arguments), SymbolicInteger(self, ("number", 1))),)
        if name == "forward_padding":
            return tuple(self._applied(f"{words[0]}_{end}", *numbers) for end in _ENDS)
        if name == "transposed_padding":
            return tuple(self._applied(f"transposed_{words[0]}_{part}", *numbers) for part in (*_ENDS, "extra"))
        return self._applied(name, *map(_known, words), *numbers)

    def _applied(self, name: str, *arguments: Any) -> SymbolicInteger:
        """Return a definition applied to integers, axes or names."""
        return SymbolicInteger(self, ("apply", name, *map(self._argument, arguments)))

    def _argument(self, value: Any) -> Term | str:
        if isinstance(value, Axis):
            numbers = (value.n_outputs, value.n_samples, value.n_taps, value.stride, value.dilation, value.pad_low)
            flip = "true" if value.flip else "false"
            return ("apply", "Axis", *map(self.term, numbers), _known(value.boundary), flip, self.term(value.tile))
        return value if isinstance(value, str) else self.term(value)


def _known(boundary: str) -> str:
    if boundary not in PLAIN:
        raise ValueError(f"unknown boundary {boundary!r}; choose one of {', '.join(PLAIN)}")
    return boundary


# --- names ------------------------------------------------------------------------------------------------------------

DEFINITIONS: Final = (
    *("sample", "position", "weight", "read_sample"),
    *(f"read_{boundary}" for boundary in PLAIN),
    *(f"{b}_{part}_{place}" for b in SIGNED for place in range(_N_TERMS[b]) for part in _TERM),
    *("tap_position", "n_outputs", "n_samples", "n_taps", "stride", "dilation", "pad_low", "axis_boundary", "flip"),
    *("tile", "forward_outputs", "transposed_outputs"),
    *(f"{word}_{end}" for word in WORDS for end in _ENDS),
    *(f"transposed_{word}_{part}" for word in WORDS for part in (*_ENDS, "extra")),
)
"""The definitions of the rule, in terms of which lemmas are stated."""

_KEYWORDS: Final = (
    "as at by cofix else end exists exists2 fix for forall fun if in let match mod return then using where with _ I IF "
    "Axiom CoFixpoint Definition Fixpoint Hypothesis Parameter Prop SProp Set Theorem Type Variable Z True False not "
    "proj2 f_equal negb andb orb axis boundary Axis trichotomy apart outside quotient positive neither decidable "
    "not_both not_implied not_not implied by_contradiction"
)


def safe_name(name: str) -> str:
    """Return the name of a variable in Coq, with an underscore appended if Coq, the rule or a proof uses the name.

    Proofs name hypotheses by a capital with a number. Different names stay different. What is not an identifier, and
    might be read as something else, raises ValueError.

    Examples
    --------
    >>> safe_name("position"), safe_name("position_"), safe_name("H1"), safe_name("i")
    ('position_', 'position__', 'H1_', 'i')
    """
    if not name.isidentifier():
        raise ValueError(f"{name!r} is not a name of a variable in Coq; use letters, digits and underscores")
    plain = name.rstrip("_") or "_"
    taken = plain in (*DEFINITIONS, *PLAIN, *SIGNED, *_KEYWORDS.split()) or re.fullmatch(r"[A-Z]\d+", plain)
    return f"{name}_" if taken else name


def coq_name(*names: str) -> str:
    """Return the name in Coq of something whose names contain spaces and other marks.

    Examples
    --------
    >>> coq_name("padding-border", "reflect, row 0 at -1")
    'padding_border_reflect_row_0_at_minus_1'
    """
    return re.sub(r"\W+", "_", re.sub(r"(?<!\w)-(?=\d)", "minus ", " ".join(names))).strip("_")


# --- statements -------------------------------------------------------------------------------------------------------


def statement(lemma: Lemma) -> str:
    """Return the statement of a lemma in Gallina.

    Examples
    --------
    >>> from convmatrix.proofs.proving import theorem
    >>> print(statement(theorem("circular-shift").lemmas[0]))
    forall n k d p i t c : Z,
        1 <= n ->
        0 <= i < n ->
        0 <= t < k ->
        1 <= d ->
        sample (Axis n n k 1 d p circular false 1) ((i + c) mod n) t =
          (sample (Axis n n k 1 d p circular false 1) i t + c) mod n
    """
    algebra = Statement()
    claim = algebra.formula(lemma.build(algebra))
    lines = [f"{proposition_text(hypothesis, within=True)} ->" for hypothesis in algebra.hypotheses]
    lines.append(proposition_text(claim, within=False))
    names = " ".join(map(safe_name, algebra.names))
    return "\n    ".join([f"forall {names} : Z,", *map(_broken, lines)])


def _broken(line: str) -> str:
    """Return a long line of a statement broken after its relations and connectives outside of parentheses."""
    if len(line) <= _LINE:
        return line
    depth, place, pieces = 0, 0, []
    for match in re.finditer(r"[()]| (?:<->|->|/\\|\\/|=|<>|<=|<) ", line):
        depth += {"(": 1, ")": -1}.get(match.group(), 0)
        if not depth and len(match.group()) > 1:
            pieces.append(line[place : match.end() - 1])
            place = match.end()
    pieces.append(line[place:])
    lines = [pieces[0]]
    for piece in pieces[1:]:
        if len(lines[-1]) + len(piece) < _LINE:
            lines[-1] += f" {piece}"
        else:
            lines.append(piece)
    return "\n      ".join(lines)


def comment(text: str) -> str:
    """Return a text as a comment of Coq, without marks of comments and strings, which Coq would need closed."""
    for mark, plain in (("(*", "( *"), ("*)", "* )"), ('"', "''")):
        text = text.replace(mark, plain)
    return f"(* {text} *)"


def lemmas_text(theorem: Theorem, proofs: Callable[[Lemma], tuple[str, str]] | None = None) -> str:
    """Return the lemmas of a theorem in Gallina, admitted, or each with its proof and what goes before it."""
    lines = [comment(f"Theorem {theorem.name}: its integer lemmas, generated from the code."), *HEAD]
    for lemma in theorem.lemmas:
        before, proof = ("", "Admitted.") if proofs is None else proofs(lemma)
        lines += [*([before] if before else []), comment(f"{lemma.name}: {lemma.text}")]
        lines += [f"Lemma {coq_name(theorem.name, lemma.name)} : {statement(lemma)}.", proof, ""]
    return "\n".join(lines)


HEAD: Final = (
    "From Coq Require Import ZArith Lia Bool Decidable.",
    "From Convmatrix Require Import Integers Rule.",
    "Local Open Scope Z_scope.",
    "",
)
