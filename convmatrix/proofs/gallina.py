r"""Gallina, the language of Coq: the one-axis rule as definitions, and the lemmas of theorems as statements about them.

`rule_text` runs the functions of `convmatrix.boundary` on integers that write terms of Gallina, so that the definitions
are those of the code. `statement` runs a lemma on an algebra that writes an application of a definition, such as
``sample (Axis n n k 1 d p circular false 1) i t``, where other engines run the rule itself.
"""

from __future__ import annotations

import operator
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from convmatrix import boundary as _rule
from convmatrix.boundary import PLAIN, SIGNED, Axis, Boundary
from convmatrix.proofs.statements import Algebra, SymbolicCondition, SymbolicInteger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from convmatrix.proofs.statements import Lemma, Theorem

_LINE: Final = 112  # characters in a line of a statement

_N_TERMS: Final = {boundary: len(_rule.read_terms(0, 1, boundary)) for boundary in SIGNED}

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
    kind = formula[0]
    if kind in _BOOLEAN:
        text = f"{term_text(formula[1], 69)} {_BOOLEAN[kind]} {term_text(formula[2], 69)}"
    elif kind in ("true", "false"):
        return str(kind)
    else:
        text = _compound_boolean(formula)
    return f"({text})" if within else text


def _compound_boolean(formula: Formula) -> str:
    kind, *parts = formula
    if kind == "within":
        return _compound_boolean(("and", (("<=", ("number", 0), parts[0]), ("<", *parts))))
    if kind == "<>":
        return f"negb {boolean_text(('=', *parts), within=True)}"
    if kind == "not":
        return f"negb {boolean_text(parts[0], within=True)}"
    if kind == "implies":
        return _compound_boolean(("or", (("not", parts[0]), parts[1])))
    if kind == "iff":
        return f"Bool.eqb {boolean_text(parts[0], within=True)} {boolean_text(parts[1], within=True)}"
    return (" && " if kind == "and" else " || ").join(boolean_text(part, within=True) for part in parts[0])


class GallinaInteger(SymbolicInteger):
    """An integer that writes a term of Gallina.

    Attributes
    ----------
    term : tuple

    Examples
    --------
    >>> n = GallinaInteger(("variable", "n"))
    >>> term_text(((n + 1) * 2 % n).term)
    '((n + 1) * 2) mod n'
    """

    def __init__(self, term: Term) -> None:
        self.term = term

    def __add__(self, other: Any) -> GallinaInteger:
        return GallinaInteger(("+", self.term, term_of(other)))

    def __radd__(self, other: Any) -> GallinaInteger:
        return GallinaInteger(("+", term_of(other), self.term))

    def __sub__(self, other: Any) -> GallinaInteger:
        return GallinaInteger(("-", self.term, term_of(other)))

    def __rsub__(self, other: Any) -> GallinaInteger:
        return GallinaInteger(("-", term_of(other), self.term))

    def __mul__(self, other: Any) -> GallinaInteger:
        return GallinaInteger(("*", self.term, term_of(other)))

    def __rmul__(self, other: Any) -> GallinaInteger:
        return GallinaInteger(("*", term_of(other), self.term))

    def __neg__(self) -> GallinaInteger:
        return GallinaInteger(("negative", self.term))

    def __mod__(self, other: Any) -> GallinaInteger:
        return GallinaInteger(("mod", self.term, term_of(other)))

    def __rmod__(self, other: Any) -> GallinaInteger:
        return GallinaInteger(("mod", term_of(other), self.term))

    def __floordiv__(self, other: Any) -> GallinaInteger:
        return GallinaInteger(("/", self.term, term_of(other)))

    def __rfloordiv__(self, other: Any) -> GallinaInteger:
        return GallinaInteger(("/", term_of(other), self.term))

    def __lt__(self, other: Any) -> GallinaCondition:
        return GallinaCondition(("<", self.term, term_of(other)))

    def __le__(self, other: Any) -> GallinaCondition:
        return GallinaCondition(("<=", self.term, term_of(other)))

    def __gt__(self, other: Any) -> GallinaCondition:
        return GallinaCondition(("<", term_of(other), self.term))

    def __ge__(self, other: Any) -> GallinaCondition:
        return GallinaCondition(("<=", term_of(other), self.term))

    def __eq__(self, other: object) -> Any:
        return GallinaCondition(("=", self.term, term_of(other)))

    def __ne__(self, other: object) -> Any:
        return GallinaCondition(("<>", self.term, term_of(other)))


class GallinaCondition(SymbolicCondition):
    """A condition that writes a formula of Gallina."""

    def __and__(self, other: Any) -> GallinaCondition:
        return GallinaCondition(("and", (self.formula, gallina_formula(other))))

    def __or__(self, other: Any) -> GallinaCondition:
        return GallinaCondition(("or", (self.formula, gallina_formula(other))))

    def __invert__(self) -> GallinaCondition:
        return GallinaCondition(("not", self.formula))


def term_of(value: Any) -> Term:
    """Return the term of an integer of either kind."""
    return value.term if isinstance(value, GallinaInteger) else ("number", operator.index(value))


def gallina_formula(condition: Any) -> Formula:
    """Return the formula of a condition; a bool as ``True`` or ``False``."""
    if isinstance(condition, GallinaCondition):
        return condition.formula  # type: ignore[no-any-return]
    if isinstance(condition, bool):
        return ("true",) if condition else ("false",)
    raise TypeError(f"{condition!r} is a {type(condition).__name__}, not a condition; compare integers")


# --- the algebra of statements ----------------------------------------------------------------------------------------


class GallinaAlgebra(Algebra):
    """Integers that write Gallina; formulas in the words of Coq: ``<->``, ``->``, ``0 <= i < n``, ``<>``."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.hypotheses: list[Formula] = []

    def integers(self, names: str) -> tuple[GallinaInteger, ...]:
        """Return the integers of these names."""
        self.names += names.split()
        return tuple(GallinaInteger(("variable", safe_name(name))) for name in names.split())

    def assume(self, *conditions: Any) -> None:
        """Add hypotheses."""
        self.hypotheses += map(gallina_formula, conditions)

    def show(self, step: Any) -> None:
        """Leave out an intermediate claim, which is part of the proof and not of the statement."""
        gallina_formula(step)

    def select(self, condition: Any, then: Any, otherwise: Any) -> Any:
        """Write ``if condition then ... else ...``."""
        return GallinaInteger(("if", gallina_formula(condition), term_of(then), term_of(otherwise)))

    def equal(self, left: Any, right: Any) -> GallinaCondition:
        """Write ``left = right``."""
        return GallinaCondition(("=", term_of(left), term_of(right)))

    def both(self, *conditions: Any) -> GallinaCondition:
        r"""Write a conjunction."""
        return GallinaCondition(("and", tuple(map(gallina_formula, conditions))))

    def either(self, *conditions: Any) -> GallinaCondition:
        r"""Write a disjunction."""
        return GallinaCondition(("or", tuple(map(gallina_formula, conditions))))

    def negation(self, condition: Any) -> GallinaCondition:
        """Write ``~ condition``."""
        return GallinaCondition(("not", gallina_formula(condition)))

    def within(self, value: Any, size: Any) -> GallinaCondition:
        """Write ``0 <= value < size``."""
        return GallinaCondition(("within", term_of(value), term_of(size)))

    def different(self, left: Any, right: Any) -> GallinaCondition:
        """Write ``left <> right``."""
        return GallinaCondition(("<>", term_of(left), term_of(right)))

    def implies(self, condition: Any, conclusion: Any) -> GallinaCondition:
        """Write ``condition -> conclusion``."""
        return GallinaCondition(("implies", gallina_formula(condition), gallina_formula(conclusion)))

    def equivalent(self, left: Any, right: Any) -> GallinaCondition:
        """Write ``left <-> right``."""
        return GallinaCondition(("iff", gallina_formula(left), gallina_formula(right)))


class Statement(GallinaAlgebra):
    """The algebra in which a lemma states something about the definitions of the rule."""

    def cases(self, *conditions: Any) -> None:
        """Leave out what is of interest to proofs only."""
        for condition in conditions:
            gallina_formula(condition)

    def position(self, axis: Axis, output: Any, tap: Any) -> GallinaInteger:
        """Write ``position (Axis ...) output tap``."""
        return applied("position", _axis(axis), output, tap)

    def sample(self, axis: Axis, output: Any, tap: Any) -> GallinaInteger:
        """Write ``sample (Axis ...) output tap``."""
        return applied("sample", _axis(axis), output, tap)

    def weight(self, axis: Axis, output: Any, tap: Any) -> GallinaInteger:
        """Write ``weight (Axis ...) output tap``."""
        return applied("weight", _axis(axis), output, tap)

    def read_sample(self, position: Any, size: Any, boundary: Boundary) -> GallinaInteger:
        """Write ``read_sample boundary position size``."""
        return applied("read_sample", _known(boundary), position, size)

    def read_terms(self, position: Any, size: Any, boundary: Boundary) -> tuple[tuple[Any, Any], ...]:
        """Write ``antireflect_sample_0 position size`` and ``antireflect_factor_0 position size``, and so on."""
        if boundary not in SIGNED:
            return ((self.read_sample(position, size, boundary), GallinaInteger(("number", 1))),)
        places = range(_N_TERMS[boundary])
        named = ([f"{boundary}_{part}_{place}" for part in ("sample", "factor")] for place in places)
        return tuple((applied(sample, position, size), applied(factor, position, size)) for sample, factor in named)

    def forward_outputs(self, size: Any, span: Any, stride: Any, low: Any, high: Any) -> GallinaInteger:
        """Write ``forward_outputs size span stride low high``."""
        return applied("forward_outputs", size, span, stride, low, high)

    def forward_padding(self, word: str, size: Any, span: Any, stride: Any) -> tuple[Any, Any]:
        """Write ``same_low size span stride`` and ``same_high size span stride``, or those of the other words."""
        low, high = (applied(f"{word}_{end}", size, span, stride) for end in ("low", "high"))
        return low, high

    def transposed_outputs(self, size: Any, span: Any, stride: Any, low: Any, high: Any, extra: Any) -> GallinaInteger:
        """Write ``transposed_outputs size span stride low high extra``."""
        return applied("transposed_outputs", size, span, stride, low, high, extra)

    def transposed_padding(self, word: str, size: Any, span: Any, stride: Any, extra: Any) -> tuple[Any, Any, Any]:
        """Write ``transposed_same_low size span stride extra`` and so on, or those of the other words."""
        low, high, more = (
            applied(f"transposed_{word}_{part}", size, span, stride, extra) for part in ("low", "high", "extra")
        )
        return low, high, more


def applied(name: str, *arguments: Any) -> GallinaInteger:
    """Return the application of a definition to integers, or to terms that are none."""
    return GallinaInteger(("apply", name, *(a if isinstance(a, str | tuple) else term_of(a) for a in arguments)))


def _axis(axis: Axis) -> Term:
    numbers = (axis.n_outputs, axis.n_samples, axis.n_taps, axis.stride, axis.dilation, axis.pad_low)
    flip = "true" if axis.flip else "false"
    return ("apply", "Axis", *map(term_of, numbers), _known(axis.boundary), flip, term_of(axis.tile))


def _known(boundary: Boundary) -> str:
    if boundary not in PLAIN:
        raise ValueError(f"unknown boundary {boundary!r}; choose one of {', '.join(PLAIN)}")
    return boundary


# --- names ------------------------------------------------------------------------------------------------------------

_KEYWORDS: Final = (
    "as at by cofix else end exists exists2 fix for forall fun if in let match mod return then using where with _ I IF "
    "Axiom CoFixpoint Definition Fixpoint Hypothesis Parameter Prop SProp Set Theorem Type Variable Z True False not "
    "proj2 f_equal negb andb orb axis boundary Axis trichotomy apart outside quotient positive neither decidable "
    "not_both not_implied not_not implied by_contradiction"
)


def safe_name(name: str) -> str:
    """Return the name of a variable in Coq, with an underscore after it if it is used otherwise.

    Names of Coq, of the rule and of the library are, and a capital with a number, as proofs name hypotheses. Different
    names stay different. What is not a name, and might be read as something else, raises ValueError.

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
    """Return the name in Coq of what has names with spaces and other marks.

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
    claim = gallina_formula(lemma.build(algebra))
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
    """Return a comment of Coq, in which comments and strings must be closed."""
    for mark, plain in (("(*", "( *"), ("*)", "* )"), ('"', "''")):
        text = text.replace(mark, plain)
    return f"(* {text} *)"


def lemmas_text(theorem: Theorem, proofs: Callable[[Lemma], tuple[str, str]] | None = None) -> str:
    """Return the lemmas of a theorem in Gallina, with their proofs, or admitted.

    Parameters
    ----------
    theorem : Theorem
    proofs : callable, optional
        Returns what goes before the lemma, and its proof. Without it the lemmas are admitted.
    """
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


# --- the rule ---------------------------------------------------------------------------------------------------------

_RULE_HEAD: Final = """\
(* The one-axis rule and the formulas of sizes, generated by running convmatrix/boundary.py on integers that write
   Gallina. Nothing here is written by hand but the record of an axis and how its functions refer to each other; that
   Axis.position, Axis.sample and Axis.weight return the same is proved at the end, from their runs. *)
From Coq Require Import ZArith Lia Bool.
Open Scope Z_scope.

Inductive boundary := {boundaries}.

(* One spatial axis of a layer. Output i uses the kernel i mod tile; flip reverses the kernel. *)
Record axis := Axis {{
  n_outputs : Z; n_samples : Z; n_taps : Z; stride : Z; dilation : Z; pad_low : Z;
  axis_boundary : boundary; flip : bool; tile : Z
}}.
"""

_RULE_AXIS: Final = """\
(* The sample at a position; -1 stands for no sample. *)
Definition read_sample (b : boundary) (position size : Z) : Z :=
  match b with
{cases}
  end.

(* What a tap of an output reads: the position, which may be outside, and the sample there. *)
Definition position (a : axis) (output tap : Z) : Z :=
  tap_position output (if flip a then n_taps a - 1 - tap else tap) (stride a) (dilation a) (pad_low a).

Definition sample (a : axis) (output tap : Z) : Z :=
  read_sample (axis_boundary a) (position a output tap) (n_samples a).
"""

_RULE_SIGNED: Final = """\
(* The boundaries that read samples with coefficients, and their terms at a position: samples and coefficients. *)
Inductive signed_boundary := {boundaries}.
Definition read_terms (b : signed_boundary) (position size : Z) : list (Z * Z) :=
  match b with
{cases}
  end.
"""

_AXIS_NAMES: Final = ("n_outputs", "n_samples", "n_taps", "stride", "dilation", "pad_low")
_PARAMETERS: Final = {
    "tap_position": "output tap stride dilation pad_low",
    "forward_outputs": "size span stride low high",
    "transposed_outputs": "size span stride low high extra",
}
DEFINITIONS: Final = (
    "sample position weight read_sample "
    + " ".join(f"read_{boundary}" for boundary in PLAIN)
    + " "
    + " ".join(f"{b}_{part}_{place}" for b in SIGNED for place in range(_N_TERMS[b]) for part in ("sample", "factor"))
    + " tap_position n_outputs n_samples n_taps stride dilation pad_low axis_boundary flip tile forward_outputs "
    "transposed_outputs "
    + " ".join(f"{word}_{end}" for word in WORDS for end in ("low", "high"))
    + " "
    + " ".join(f"transposed_{word}_{part}" for word in WORDS for part in ("low", "high", "extra"))
).split()
"""The definitions of the rule, in terms of which lemmas are stated."""


def rule_text() -> str:
    """Return the one-axis rule and the formulas of sizes as definitions in Gallina.

    Each boundary has a lemma for each path of the Python code, and each function of an axis a lemma that the definition
    equals what the Python code returns.

    Examples
    --------
    >>> print(rule_text()[rule_text().index("Definition read_symmetric"):].partition(".")[0])
    Definition read_symmetric (position size : Z) : Z :=
      if position mod (2 * size) <? size then position mod (2 * size) else 2 * size - 1 - position mod (2 * size)
    """
    blocks = [_RULE_HEAD.format(boundaries=" | ".join(PLAIN))]
    algebra = GallinaAlgebra()
    blocks += [_definition("tap_position", _PARAMETERS["tap_position"], _rule.tap_position)]
    for boundary in PLAIN:
        read = _run(_rule.read_sample, "position size", boundary, algebra.select)
        blocks.append(_written(f"read_{boundary}", "position size", read))
        blocks += _path_lemmas(f"read_{boundary}", "position size", read)
    cases = "\n".join(f"  | {boundary} => read_{boundary} position size" for boundary in PLAIN)
    blocks.append(_RULE_AXIS.format(cases=cases))
    blocks += _signed_definitions(algebra)
    of_axis: dict[str, Any] = {name: applied(name, "a") for name in (*_AXIS_NAMES, "tile")}
    weight = Axis(**of_axis).weight(*_variables("output tap"))
    blocks.append(f"Definition weight (a : axis) (output tap : Z) : Z :=\n  {term_text(term_of(weight))}.\n")
    blocks.append("(* The sizes of outputs, and the paddings that words stand for. *)")
    blocks += [
        _definition(name, _PARAMETERS[name], getattr(_rule, name)) for name in ("forward_outputs", "transposed_outputs")
    ]
    for word in WORDS:
        paddings = _run(partial(_rule.forward_padding, word), "size span stride", algebra.select)
        for end, padding in zip(("low", "high"), paddings, strict=True):
            blocks.append(_written(f"{word}_{end}", "size span stride", padding))
    for word in WORDS:
        found = _run(partial(_rule.transposed_padding, word), "size span stride extra", algebra.select)
        for part, value in zip(("low", "high", "extra"), found, strict=True):
            blocks.append(_written(f"transposed_{word}_{part}", "size span stride extra", value))
    return "\n".join([*blocks, *_axis_lemmas()])


def _signed_definitions(algebra: GallinaAlgebra) -> Iterator[str]:
    """Yield the terms of each signed boundary: a sample and a factor each, and all of them as a list."""
    cases = []
    for boundary in SIGNED:
        terms = _run(_rule.read_terms, "position size", boundary, algebra.select)
        for place, term in enumerate(terms):
            for part, value in zip(("sample", "factor"), term, strict=True):
                name = f"{boundary}_{part}_{place}"
                yield _written(name, "position size", value)
                yield from _path_lemmas(name, "position size", value)
        pairs = (
            f"({boundary}_sample_{place} position size, {boundary}_factor_{place} position size)"
            for place in range(len(terms))
        )
        cases.append(f"  | {boundary} => {' :: '.join(pairs)} :: nil")
    yield _RULE_SIGNED.format(boundaries=" | ".join(SIGNED), cases="\n".join(cases))


def _run(function: Callable[..., Any], parameters: str, *more: Any) -> Any:
    """Return what a function returns for variables of these names."""
    return function(*_variables(parameters), *more)


def _variables(names: str) -> tuple[Any, ...]:
    return tuple(GallinaInteger(("variable", name)) for name in names.split())


def _definition(name: str, parameters: str, function: Callable[..., Any]) -> str:
    return _written(name, parameters, _run(function, parameters))


def _written(name: str, parameters: str, value: Any) -> str:
    return f"Definition {name} ({parameters} : Z) : Z :=\n  {term_text(term_of(value))}.\n"


def _path_lemmas(name: str, parameters: str, value: Any) -> Iterator[str]:
    """Yield one lemma for each path of a function: under its conditions, the definition equals what is returned."""
    for place, (conditions, found) in enumerate(_paths(term_of(value))):
        hypotheses = "".join(f"{proposition_text(condition, within=True)} -> " for condition in conditions)
        yield (
            f"Lemma {name}_path_{place} ({parameters} : Z) :\n"
            f"  {hypotheses}{name} {parameters} = {term_text(found, 69)}.\n"
            f"Proof. unfold {name}. intros; repeat case Z.ltb_spec; lia. Qed.\n"
        )


def _paths(term: Term) -> Iterator[tuple[list[Formula], Term]]:
    """Yield the conditions of each path through the choices of a term, outermost first, and the term on that path."""
    condition = _first_condition(term)
    if condition is None:
        yield [], term
        return
    for branch, holds in ((condition, True), (("not", condition), False)):
        for conditions, found in _paths(_decided(term, condition, holds)):
            yield [branch, *conditions], found


def _first_condition(term: Any) -> Formula | None:
    """Return the first condition of a choice that contains no choice itself."""
    if not isinstance(term, tuple):
        return None
    if term[0] == "if":
        return _first_condition(term[1]) or term[1]
    return next((found for part in term[1:] if (found := _first_condition(part)) is not None), None)


def _decided(term: Any, condition: Formula, holds: bool) -> Any:
    """Return a term in which a condition of choices is known to hold, or not to hold."""
    if not isinstance(term, tuple):
        return term
    if term[0] == "if" and term[1] == condition:
        return _decided(term[2 if holds else 3], condition, holds)
    return tuple(_decided(part, condition, holds) for part in term)


def _axis_lemmas() -> Iterator[str]:
    """Yield lemmas that the definitions of an axis equal what its Python methods return."""
    yield "(* The methods of Axis in Python, run with each boundary and direction of the kernel. *)"
    names = " ".join(_AXIS_NAMES)
    numbers: dict[str, Any] = {name: GallinaInteger(("variable", name)) for name in (*_AXIS_NAMES, "tile")}
    for flip in (False, True):
        for boundary in PLAIN:
            axis = Axis(**numbers, boundary=boundary, flip=flip)
            written = f"(Axis {names} {boundary} {str(flip).lower()} tile)"
            output, tap = _variables("output tap")
            results = {
                "sample": axis.sample(output, tap, GallinaAlgebra().select),
                "position": axis.position(output, tap),
                "weight": axis.weight(output, tap),
            }
            for method in results if boundary == PLAIN[0] else ("sample",):
                yield (
                    f"Lemma {method}_{boundary}_{'flipped' if flip else 'forward'} ({names} tile output tap : Z) :\n"
                    f"  {method} {written} output tap =\n  {term_text(term_of(results[method]), 69)}.\n"
                    "Proof. reflexivity. Qed.\n"
                )
