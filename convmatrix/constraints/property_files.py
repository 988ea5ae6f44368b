"""Properties read from VNN-LIB files, version 1 (SMT-LIB with variables X_i and Y_j) and version 2 (package vnnlib)."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.constraints.properties import HalfSpace, Property, exact_terms, unsafe_box, with_output

if TYPE_CHECKING:
    from convmatrix.constraints.properties import Box

_MOST_BYTES: Final = 2**28
_MOST_DEPTH: Final = 200  # the package vnnlib crashes where parentheses are nested very deeply
_MOST_SETS: Final = 20_000
_TOKEN: Final = re.compile(r'\s+|;[^\n]*|([()])|("(?:[^"]|"")*"|\|[^|]*\||[^\s();"|]+)|(.)')
_VARIABLE: Final = re.compile(r"([XY])_(0|[1-9][0-9]{0,8})")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_SILENT: Final = ("set-logic", "set-info", "set-option", "check-sat", "get-model", "exit")
_LAST: Final = ("check-sat", "exit")
_COMPARISONS: Final = {"<=": (1, False), "<": (1, True), ">=": (-1, False), ">": (-1, True)}
_OPPOSITE: Final = {"<=": ">", "<": ">=", ">=": "<", ">": "<="}

Conjunction = tuple[HalfSpace, ...]


def read_vnnlib(source: str | os.PathLike[str], network: Any, *, name: str | None = None) -> tuple[Box, Property]:
    r"""Return the box and the property of a VNN-LIB file.

    The assertions of a file describe counterexamples: the property holds if no input and output satisfy all of them.
    Variables are numbered in C order. A number stands for the float64 nearest to it.

    Parameters
    ----------
    source : str or os.PathLike
        A path, or the text itself, which begins with ``(`` or ``;``. Version 1 is read here. A text with
        ``(vnnlib-version <2.0>)`` is version 2, and is checked and parsed by the package vnnlib.
    network : Network, or anything that describes one
        Gives the numbers of inputs and outputs.
    name : str, optional
        The output node to which the file refers; needed if there are several.

    Returns
    -------
    box : (array, array), shape input_shape
        The smallest box that contains all inputs to which the file refers.
    property : Property
        One unsafe set for each term of the assertions' disjunctive normal form, bounds of its inputs included.

    Raises
    ------
    OSError
        If the file cannot be read.
    ImportError
        If it is version 2, and the package vnnlib is not installed.
    ValueError
        If the text is not VNN-LIB, has assertions after ``(check-sat)`` or ``(exit)``, is not linear, has other
        variables than the network has inputs and outputs, leaves an input without a bound, or has more than 20,000
        unsafe sets; or if the network has several outputs and none is chosen.

    Examples
    --------
    >>> from convmatrix.network import FullyConnected, Network
    >>> text = '''
    ... (declare-const X_0 Real) (declare-const Y_0 Real)
    ... (assert (and (>= X_0 -1) (<= X_0 0.5)))
    ... (assert (>= Y_0 (* 2 X_0)))
    ... '''
    >>> read_vnnlib(text.strip(), Network([FullyConnected(1, 1)]))
    ((array([-1.]), array([0.5])), Property('VNN-LIB text': never -x[0] <= 1 and x[0] <= 0.5 and 2 x[0] - y[0] <= 0))
    """
    network = with_output(network, name)
    title, text = _text(source)
    version2 = _check_nesting(title, text)[:2] == ["(", "vnnlib-version"]
    reader = _Reader(title, math.prod(network.input_shape), math.prod(network.output_shape))
    unsafe = reader.unsafe(reader.version2(text) if version2 else reader.version1(text))
    n = reader.n_inputs
    lower, upper, kept = np.full(n, np.inf), np.full(n, -np.inf), []
    for spaces in unsafe:
        closed = [replace(space, strict=False) for space in spaces]
        low, high, _ = unsafe_box(closed, [-math.inf] * n, [math.inf] * n)
        for index, (least, most) in enumerate(zip(low, high, strict=True)):
            if math.isinf(least) or math.isinf(most):
                side = "lower" if math.isinf(least) else "upper"
                raise ValueError(f"{title}: the input X_{index} has no {side} bound; add an assertion")
        if all(map(float.__le__, low, high)):
            kept.append(spaces)
            lower, upper = np.minimum(lower, low), np.maximum(upper, high)
    if not kept:
        raise ValueError(f"{title}: the bounds of the inputs contradict each other, so the property says nothing")
    shape = network.input_shape
    return (lower.reshape(shape), upper.reshape(shape)), Property(tuple(kept), title)


def _text(source: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the name and the content of a file, or a text itself."""
    if isinstance(source, str) and source.lstrip("\ufeff \t\r\n")[:1] in ("(", ";"):
        return "VNN-LIB text", re.sub(r"\r\n?", "\n", source.lstrip("\ufeff"))
    if not str(source).strip("\ufeff \t\r\n"):
        raise ValueError("the source is empty: give a path, or a text that begins with a parenthesis or a comment")
    path = Path(source)
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise ValueError(f"{path.name} has {size} bytes, but at most {_MOST_BYTES} are read")
    try:
        return path.name, path.read_text(encoding="utf-8-sig")  # a carriage return ends a line
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not UTF-8 text") from None


def _check_nesting(name: str, text: str) -> list[str]:
    """Return the first brackets and words; raise if brackets do not match or are nested too deeply."""
    depth = 0
    first: list[str] = []
    for found in _TOKEN.finditer(text):
        bracket, word, wrong = found.groups()
        reason = ""
        if bracket:
            depth += 1 if bracket == "(" else -1
            if depth < 0:
                reason = "a parenthesis is closed that was not opened"
            elif depth > _MOST_DEPTH:
                reason = f"parentheses are nested more than {_MOST_DEPTH} deep"
        elif wrong:
            reason = f"a string or a symbol in {wrong} is not closed"
        if reason:
            raise ValueError(f"{name}, line {text.count(chr(10), 0, found.start()) + 1}: {reason}")
        if (bracket or word) and len(first) < 2:
            first.append(bracket or word)
    if depth:
        raise ValueError(f"{name}: {depth} parentheses are not closed")
    return first


@dataclass
class _Reader:
    """Assertions of a file, as nested lists of words, made into half-spaces."""

    name: str
    n_inputs: int
    n_outputs: int

    def _fail(self, reason: str) -> ValueError:
        return ValueError(f"{self.name}: {reason}")

    # --- the two versions -------------------------------------------------------------------------------------------

    def version1(self, text: str) -> list[Any]:
        """Return the assertions of a text of version 1, after checking the variables that it declares."""
        assertions: list[Any] = []
        declared: set[str] = set()
        ended = ""
        for command in self._expressions(text):
            if ended and command[:1] != ["get-model"] and command[:1] not in [[word] for word in _LAST]:
                raise self._fail(f"{_shown(command)} stands after ({ended}), so that it does not count; remove it")
            match command:
                case ["assert", body]:
                    unknown = next((v for v in _variables(body) if v not in declared), None)
                    if unknown is not None:
                        raise self._fail(f"there is no variable {unknown[:40]} that is declared before it is used")
                    assertions.append(body)
                case ["declare-const", str(variable), "Real"] | ["declare-fun", str(variable), [], "Real"]:
                    if not _VARIABLE.fullmatch(variable):
                        raise self._fail(f"the variable {variable[:40]!r} is neither an input X_i nor an output Y_j")
                    if variable in declared:
                        raise self._fail(f"the variable {variable} is declared twice")
                    declared.add(variable)
                case [str(word), *_] if word in _SILENT:
                    ended = word if word in _LAST else ended
                case _:
                    raise self._fail(f"{_shown(command)} is neither a declaration nor an assertion")
        for letter, size, what in (("X", self.n_inputs, "inputs"), ("Y", self.n_outputs, "outputs")):
            own = {variable for variable in declared if variable[0] == letter}
            if own != {f"{letter}_{index}" for index in range(size)}:
                raise self._fail(
                    f"it declares {len(own)} variables {letter}_i, but the network has {size} {what}, "
                    f"{letter}_0 to {letter}_{size - 1}"
                )
        return assertions

    def _expressions(self, text: str) -> Iterator[Any]:
        """Yield nested lists of words."""
        open_lists: list[list[Any]] = []
        for found in _TOKEN.finditer(text):
            bracket, word, _ = found.groups()
            if bracket == "(":
                open_lists.append([])
            elif bracket == ")":
                done = open_lists.pop()
                if open_lists:
                    open_lists[-1].append(done)
                else:
                    yield done
            elif word is not None:
                if not open_lists:
                    raise self._fail(f"{_shown(word)} stands outside of parentheses")
                open_lists[-1].append(word)

    def version2(self, text: str) -> list[Any]:
        """Return the assertions of a text of version 2, with its variables named as in version 1."""
        try:
            import vnnlib
        except ImportError:
            raise ImportError(f"{self.name} is VNN-LIB 2, which needs the package vnnlib: pip install vnnlib") from None
        try:
            query = vnnlib.parse_query_string(text)
        except vnnlib.VNNLibException as error:
            raise self._fail(" ".join(str(error).split())[:300]) from None
        if len(query.networks) != 1:
            raise self._fail(f"it declares {len(query.networks)} networks, but exactly one can be verified")
        (declared,) = query.networks
        if declared.hidden or len(declared.inputs) != 1 or len(declared.outputs) != 1:
            raise self._fail("it must declare one input and one output, and no hidden nodes")
        for definition, size, what in (
            (declared.inputs[0], self.n_inputs, "input"),
            (declared.outputs[0], self.n_outputs, "output"),
        ):
            if math.prod(definition.shape) != size:
                raise self._fail(
                    f"the {what} has the shape {list(definition.shape)}, but the network's has {size} entries"
                )
        return [self._words(assertion.expr, vnnlib) for assertion in query.assertions]

    def _words(self, node: Any, vnnlib: Any) -> Any:
        """Return a node of the package's syntax tree as nested lists of words."""
        if isinstance(node, vnnlib.Var):
            flat = 0
            for index, size in zip(node.indices, node.shape, strict=True):
                flat = flat * size + index
            return f"{'X' if node.kind == vnnlib.SymbolKind.Input else 'Y'}_{flat}"
        if isinstance(node, vnnlib.Literal):
            return node.lexeme
        if isinstance(node, vnnlib.Negate):
            return ["-", self._words(node.expr, vnnlib)]
        if isinstance(node, vnnlib.Minus):
            return ["-", *(self._words(part, vnnlib) for part in (node.head, *node.rest))]
        for kind, word in ((vnnlib.And, "and"), (vnnlib.Or, "or"), (vnnlib.Plus, "+"), (vnnlib.Multiply, "*")):
            if isinstance(node, kind):
                return [word, *(self._words(part, vnnlib) for part in node.args)]
        for kind, word in (
            (vnnlib.LessEqual, "<="),
            (vnnlib.LessThan, "<"),
            (vnnlib.GreaterEqual, ">="),
            (vnnlib.GreaterThan, ">"),
            (vnnlib.Equal, "="),
            (vnnlib.NotEqual, "distinct"),
        ):
            if isinstance(node, kind):
                return [word, self._words(node.lhs, vnnlib), self._words(node.rhs, vnnlib)]
        raise self._fail(f"{_shown(node)} is not supported")

    # --- formulas ---------------------------------------------------------------------------------------------------

    def unsafe(self, assertions: list[Any]) -> list[Conjunction]:
        """Return the disjunctive normal form of all assertions together."""
        return self._joined([self._formula(assertion, negated=False) for assertion in assertions])

    def _joined(self, parts: list[list[Conjunction]]) -> list[Conjunction]:
        """Return the conjunction of formulas in disjunctive normal form."""
        size = math.prod(len(part) for part in parts)
        if size > _MOST_SETS:
            raise self._fail(
                f"its assertions are a disjunction of {size} unsafe sets, but at most {_MOST_SETS} are read"
            )
        alone = tuple(space for part in parts if len(part) == 1 for space in part[0])
        joined: list[Conjunction] = [alone]
        for part in parts:
            if len(part) != 1:
                joined = [(*first, *second) for first in joined for second in part]
        return joined

    def _formula(self, formula: Any, *, negated: bool) -> list[Conjunction]:
        """Return a formula in disjunctive normal form."""
        match formula:
            case ["not", inner]:
                return self._formula(inner, negated=not negated)
            case ["and" | "or" as word, *parts] if parts:
                found = [self._formula(part, negated=negated) for part in parts]
                if (word == "and") != negated:
                    return self._joined(found)
                return [conjunction for part in found for conjunction in part]
            case ["=" | "distinct" as word, left, right]:
                below, above = self._compare("<=", left, right), self._compare(">=", left, right)
                if (word == "=") != negated:
                    return [(below, above)]
                return [(self._compare("<", left, right),), (self._compare(">", left, right),)]
            case [str(word), left, right] if word in _COMPARISONS:
                return [(self._compare(_OPPOSITE[word] if negated else word, left, right),)]
        raise self._fail(f"{_shown(formula)} is not a formula of and, or, not and comparisons of two terms")

    def _compare(self, word: str, left: Any, right: Any) -> HalfSpace:
        """Return a comparison of two terms as a half-space."""
        sign, strict = _COMPARISONS[word]
        total = _added(self._term(left), self._term(right), -1)
        constant = total.pop(None, Fraction(0))
        sides: dict[str, dict[int, Fraction]] = {"X": {}, "Y": {}}
        for variable, factor in total.items():
            letter, index = variable
            sides[letter][index] = sign * factor
        try:
            return HalfSpace(exact_terms(sides["X"]), exact_terms(sides["Y"]), -sign * constant, strict)
        except ValueError as error:
            raise self._fail(f"({word} {_shown(left)} {_shown(right)}): {error}") from None

    def _term(self, term: Any) -> dict[Any, Fraction]:
        """Return the coefficients of a linear term, by letter and index of the variable; the constant's is None."""
        if isinstance(term, str):
            found = _VARIABLE.fullmatch(term)
            if found:
                size = self.n_inputs if found[1] == "X" else self.n_outputs
                if int(found[2]) >= size:
                    raise self._fail(f"there is no variable {term}: the last one is {found[1]}_{size - 1}")
                return {(found[1], int(found[2])): Fraction(1)}
            if _NUMBER.fullmatch(term) and math.isfinite(float(term)):
                return {None: Fraction(float(term))}
            raise self._fail(f"{_shown(term)} is neither a variable X_i or Y_j nor a number")
        match term:
            case ["-", only]:
                return _added({}, self._term(only), -1)
            case ["+" | "-" as word, first, *rest] if rest:
                total = self._term(first)
                for part in rest:
                    total = _added(total, self._term(part), 1 if word == "+" else -1)
                return total
            case ["*", first, *rest] if rest:
                product = self._term(first)
                for part in rest:
                    a, b = product, self._term(part)
                    if set(a) - {None} and set(b) - {None}:
                        raise self._fail(f"{_shown(term)} is not linear: it multiplies variables")
                    factor, other = (b, a) if set(a) - {None} else (a, b)
                    product = _added({}, other, factor.get(None, Fraction(0)))
                return product
        raise self._fail(f"{_shown(term)} is not a linear term of +, - and *")


def _added(first: dict[Any, Fraction], second: dict[Any, Fraction], factor: Fraction | int) -> dict[Any, Fraction]:
    """Return the coefficients of a sum, the second part of which is multiplied."""
    total = dict(first)
    for variable, coefficient in second.items():
        total[variable] = total.get(variable, Fraction(0)) + factor * coefficient
    return total


def _variables(formula: Any) -> Iterator[str]:
    """Yield the words of a formula that look like variables."""
    if isinstance(formula, str):
        if formula[:2] in ("X_", "Y_"):
            yield formula
        return
    for part in formula:
        yield from _variables(part)


def _shown(value: Any) -> str:
    """Return a short text of a formula for a message."""
    if isinstance(value, list):
        text = "(" + " ".join(_shown(part) for part in value[:4]) + (" ..." if len(value) > 4 else "") + ")"
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
