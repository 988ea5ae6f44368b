"""The result of a proof: its parts and their certificates, as text, as plain data and as LaTeX."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from convmatrix.display.latex_tables import latex_sentence, latex_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT: Final = "convmatrix-proof-1"
_MOST_PARTS: Final = 20  # that a notebook shows


@dataclass(frozen=True)
class Part:
    """One step of a proof.

    Attributes
    ----------
    name, text, latex : str
    kind : {"integer lemma", "identity", "full statement"}
    decided_by : str
        The engine that decided the part. Identities of functions are decided by SymPy.
    status : {"proved", "refuted", "undecided"}
    certificate : dict
        Plain data: see `convmatrix.proofs.certificates`, `convmatrix.proofs.smt`, `convmatrix.proofs.coq_engine`.
    counterexample : dict of str to int or None
        Integers that satisfy the hypotheses but not the claim, if the claim was refuted.
    example : dict of str to int
        Integers that satisfy the hypotheses of a lemma, which shows that the hypotheses are consistent.
    """

    name: str
    text: str
    latex: str
    kind: Literal["integer lemma", "identity", "full statement"]
    decided_by: str
    status: str
    certificate: Mapping[str, Any]
    counterexample: Mapping[str, int] | None = None
    example: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Proof:
    """A theorem and the parts of its proof.

    Attributes
    ----------
    name, engine : str
    statement, latex, hypotheses, argument : str
        The theorem as text and as LaTeX, its assumptions, and how it follows from its parts. The engine decides the
        parts; the argument is text, and is checked on explicit matrices by `convmatrix.proofs.instances`.
    parts : tuple of Part
    closing : str
        How the step from the parts to the theorem can be checked; by default with `convmatrix.proofs.instances`.

    Examples
    --------
    >>> from convmatrix.proofs import prove
    >>> prove("circular-shift").proved
    True
    """

    name: str
    engine: str
    statement: str
    latex: str
    hypotheses: str
    argument: str
    parts: tuple[Part, ...]
    closing: str = ""

    @property
    def proved(self) -> bool:
        """Whether the proof has parts and all of them were proved."""
        return bool(self.parts) and all(part.status == "proved" for part in self.parts)

    @property
    def decided_alone(self) -> bool:
        """Whether the engine decided every part itself."""
        return all(part.decided_by == self.engine for part in self.parts)

    @property
    def certificate(self) -> dict[str, Any]:
        """The certificates as plain data, one per part."""
        return {part.name: dict(part.certificate) for part in self.parts}

    def __bool__(self) -> bool:
        return self.proved

    def __repr__(self) -> str:
        return f"Proof({self.name!r}, engine={self.engine!r}, proved={self.proved})"

    def explain(self) -> str:
        """Return the proof as text.

        Examples
        --------
        >>> from convmatrix.proofs import prove
        >>> print(prove("circular-shift").explain())
        Theorem circular-shift: proved.
          Circular convolution with stride 1 and as many outputs as samples commutes with every cyclic shift...
        For: n >= 1 samples and outputs; kernel length k, dilation d >= 1, offset p and shift c are any...
        It rests on:
          shift: on a ring of n samples, output i + c reads at each tap the sample that output i reads, moved by c
            proved by sympy: 2 contradictions, with the quotient q0 + q1 - q2 - q3
        From there to all weights, channels and axes: by the argument, which is text; instances("circular-shift") ...
        """
        lines = [
            f"Theorem {self.name}: {'proved' if self.proved else 'NOT proved'}.",
            f"  {self.statement}",
            f"For: {self.hypotheses}",
            "It rests on:",
        ]
        for part in self.parts:
            lines.append(f"  {part.name}: {part.text}")
            lines.append(f"    {part.status} by {part.decided_by}{_evidence(part)}")
        lines.append(self._closing)
        return "\n".join(lines)

    @property
    def _closing(self) -> str:
        return self.closing or (
            "From there to all weights, channels and axes: by the argument, which is text; "
            f'instances("{self.name}") checks it.'
        )

    def record(self) -> dict[str, Any]:
        """Return the proof as a dictionary for JSON, as written by `save`."""
        return {
            "format": FORMAT,
            "name": self.name,
            "engine": self.engine,
            "proved": self.proved,
            "statement": self.statement,
            "hypotheses": self.hypotheses,
            "argument": self.argument,
            "parts": [
                {
                    "name": part.name,
                    "kind": part.kind,
                    "decided_by": part.decided_by,
                    "status": part.status,
                    "text": part.text,
                    "example": dict(part.example),
                    "counterexample": None if part.counterexample is None else dict(part.counterexample),
                    "certificate": dict(part.certificate),
                }
                for part in self.parts
            ],
        }

    def save(self, path: str | Path) -> None:
        """Write the proof as JSON, which `recheck` can check again."""
        from convmatrix.atomic import atomic_write

        with atomic_write(path) as file:
            file.write((json.dumps(self.record(), indent=1) + "\n").encode("utf-8"))

    def _repr_markdown_(self) -> str:
        """Return the proof for notebooks, which typeset mathematics in Markdown wherever they run."""
        answer = "\N{CHECK MARK} Proved" if self.proved else "\N{MULTIPLICATION X} Not proved"
        lines = [
            f"**{answer}: theorem {self.name}.** {_markdown(self.latex)}",
            f"*For* {_escaped_markdown(self.hypotheses)}",
        ]
        for part in self.parts[:_MOST_PARTS]:
            mark = "\N{CHECK MARK}" if part.status == "proved" else "\N{MULTIPLICATION X}"
            lines += [
                f"{mark} *{_escaped_markdown(part.name)}* ({part.status} by {part.decided_by}"
                f"{_escaped_markdown(_evidence(part))}): {_escaped_markdown(part.text)}",
                f"$$ {part.latex} $$",
            ]
        if len(self.parts) > _MOST_PARTS:
            lines.append(f"... and {len(self.parts) - _MOST_PARTS} more parts")
        lines += [f"*Argument.* {_markdown(self.argument)}", _escaped_markdown(self._closing)]
        return "\n\n".join(lines) + "\n"


def _evidence(part: Part) -> str:
    if part.counterexample is not None:
        values = ", ".join(f"{name} = {value}" for name, value in part.counterexample.items())
        return f": it fails at {values}"
    if part.status != "proved":
        return f": {part.certificate['reason']}" if "reason" in part.certificate else ""
    if part.certificate.get("kind") == "contradictions":
        nodes = part.certificate["contradictions"]
        quotients = list(dict.fromkeys(_splits(nodes)))
        shown = f", with the quotient {quotients[0]}" if quotients else ""
        return f": {len(nodes)} contradictions{shown}"
    if part.certificate.get("kind") == "coq":
        return f": {part.certificate['theorem']}, closed under the global context, Coq {part.certificate['version']}"
    if part.certificate.get("kind") == "smt-lib":
        return f": {len(part.certificate['unsatisfiable'])} unsatisfiable problems, z3 {part.certificate['version']}"
    return ": the difference of both sides simplifies to 0"


def _splits(nodes: Any) -> list[str]:
    """Return the polynomials on which certificates split, as text."""
    found = []
    waiting = list(nodes)
    while waiting:
        node = waiting.pop(0)
        if node.get("kind") == "split":
            found.append(polynomial_text(node["on"]))
        waiting += [inner for inner in node.values() if isinstance(inner, dict)]
    return found


def polynomial_text(data: Any) -> str:
    """Return a polynomial of a certificate as text.

    Examples
    --------
    >>> polynomial_text([[1, {"n": 1, "q0": 2}], [-2, {}]])
    'n*q0**2 - 2'
    """
    text = ""
    for coefficient, powers in data:
        factors = [name if power == 1 else f"{name}**{power}" for name, power in powers.items()]
        size = abs(coefficient)
        term = "*".join(([] if size == 1 and factors else [str(size)]) + factors)
        sign = "-" if coefficient < 0 else "+"
        text += f" {sign} {term}" if text else f"{'-' if coefficient < 0 else ''}{term}"
    return text or "0"


# --- as Markdown -----------------------------------------------------------------------------------------------------

_SIGNS: Final = {">=": "\N{GREATER-THAN OR EQUAL TO}", "<=": "\N{LESS-THAN OR EQUAL TO}"}


def _escaped_markdown(text: str) -> str:
    """Return a text for Markdown, with signs for relations and with special characters escaped."""
    signed = re.sub("<=|>=", lambda sign: _SIGNS[sign[0]], text)
    return re.sub(r"[\\`*_$<\[\]]", lambda special: "\\" + special[0], signed)


def _markdown(latex: str) -> str:
    """Return a text of LaTeX, with formulas between dollar signs, as Markdown."""
    parts = latex.split("$")
    for place in range(0, len(parts), 2):  # between formulas
        parts[place] = re.sub(r"\\texttt\{(.*?)\}", r"`\1`", parts[place]).replace(r"\_", "_").replace("~", " ")
    return "$".join(parts)


# --- as LaTeX --------------------------------------------------------------------------------------------------------


def theorem_latex(proofs: Sequence[Proof]) -> str:
    """Return one theorem and its proofs in LaTeX.

    Examples
    --------
    >>> from convmatrix.proofs import prove
    >>> "begin{theorem}[flat-index]" in theorem_latex([prove("flat-index")])
    True
    """
    first = proofs[0]
    lines = [
        rf"\begin{{theorem}}[{first.name}]\label{{thm:{first.name}}}",
        first.latex,
        rf"\textup{{({latex_sentence(first.hypotheses.rstrip('.'))}.)}}",
        r"\end{theorem}",
        r"\begin{proof}",
        first.argument,
        r"\begin{itemize}",
    ]
    found: dict[str, list[Part]] = {}  # the parts of all proofs by name, because Coq's differ
    for proof in proofs:
        for part in proof.parts:
            found.setdefault(part.name, []).append(part)
    for name, parts in found.items():
        marked = ", ".join(dict.fromkeys(_MARKS[part.decided_by] for part in parts))
        lines.append(rf"\item {latex_text(name)} ({marked}): ${parts[0].latex}${_certificate_latex(parts)}.")
    lines += [r"\end{itemize}", r"\end{proof}", ""]
    return "\n".join(lines)


_MARKS: Final = {"sympy": r"\textsf{S}", "z3": r"\textsf{Z}", "coq": r"\textsf{C}"}


def _certificate_latex(parts: Sequence[Part]) -> str:
    """Return a summary of SymPy's certificate."""
    for part in parts:
        certificate = part.certificate
        if certificate.get("kind") == "contradictions":
            nodes = list(certificate["contradictions"])
            quotients = [_polynomial_latex(node["on"]) for node in nodes if node.get("kind") == "split"]
            count = f"; {len(nodes)} cases" if len(nodes) > 1 else ""
            shown = list(dict.fromkeys(quotients))[:1]
            return f"{count}, by the quotient ${shown[0]}$" if shown else count
    return ""


def _polynomial_latex(data: object) -> str:
    text = polynomial_text(data).replace("**", "^").replace("*", r"\,")
    return re.sub(r"\bq(\d+)\b", r"q_{\1}", text)
