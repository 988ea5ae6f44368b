"""The theorems with their proofs, for the appendix: in typst, from the same proofs as the LaTeX appendix."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from convmatrix.equivariance import Proof, prove, theorems
from convmatrix.proofs import appendix
from convmatrix.proofs.results import theorem_latex
from paper.errors import PaperError
from paper.mathematics import formula, markup, plain
from paper.numbers import SUPERSCRIPTS

_ASCII = {">=": "≥", "<=": "≤", " - ": " \N{MINUS SIGN} "}
MARKS = {"sympy": "S", "z3": "Z"}

Proofs = dict[str, list[Proof]]
"""For each theorem its proofs, one an engine."""


def engines() -> tuple[str, ...]:
    """Return the proof engines that are installed."""
    return ("sympy", "z3") if importlib.util.find_spec("z3") else ("sympy",)


def prove_all(names: Sequence[str] | None = None, by: Sequence[str] | None = None) -> Proofs:
    """Prove the theorems, or those named, by every engine that is installed, or those given.

    Raises
    ------
    PaperError
        If an engine does not prove one: the paper states what was proved.
    """
    proofs = {}
    for name in theorems() if names is None else names:
        proofs[name] = [prove(name, engine) for engine in (engines() if by is None else by)]
        for proof in proofs[name]:
            if not proof.proved:
                raise PaperError(f"theorem {name} is not proved by {proof.engine}; the paper states what is proved")
    return proofs


def counts(proofs: Proofs) -> dict[str, int]:
    """Return how many theorems there are, and steps of proofs by who decided them."""
    parts = [both for found in proofs.values() for both in zip(*(proof.parts for proof in found), strict=True)]
    kinds = Counter(both[0].kind for both in parts)
    twice = sum({part.decided_by for part in both} == {"sympy", "z3"} for both in parts)
    return {
        "theorems": len(proofs),
        "integer-lemmas": kinds["integer lemma"],
        "identities": kinds["identity"],
        "lemmas-by-both-engines": twice,
    }


def theorems_tex(proofs: Proofs) -> str:
    """Return all theorems in LaTeX."""
    return "\n".join([appendix(names=()), *(theorem_latex(found) for found in proofs.values())])


def theorems_typst(proofs: Proofs) -> str:
    """Return all theorems as typst markup; it uses the function ``theorem`` of the paper's style."""
    return "\n".join(['#import "style.typ": theorem', *(_theorem(found) for found in proofs.values()), ""])


def _theorem(proofs: Sequence[Proof]) -> str:
    first = proofs[0]
    steps = [_step([proof.parts[place] for proof in proofs]) for place in range(len(first.parts))]
    return "\n".join(
        [
            f'#theorem("{first.name}",',
            f"  [{markup(first.latex)}],",
            f"  [{_ascii_mathematics(first.hypotheses.rstrip('.'))}.],",
            f"  [{markup(first.argument)}],",
            *(f"  [{step}]," for step in steps),
            ")",
        ]
    )


def _step(parts: Sequence[Any]) -> str:
    marks = ", ".join(dict.fromkeys(MARKS[part.decided_by] for part in parts))
    cases = next((_cases(part.certificate) for part in parts if _cases(part.certificate) > 1), 0)
    many = f"; {cases} cases" if cases else ""
    return f"#emph[{plain(parts[0].name)}] ({marks}{many}): ${formula(parts[0].latex)}$"


def _cases(certificate: Mapping[str, Any]) -> int:
    """Return of how many contradictions a certificate of SymPy consists."""
    return len(certificate["contradictions"]) if certificate.get("kind") == "contradictions" else 0


def _ascii_mathematics(text: str) -> str:
    """Return text in which signs and powers are written with the characters of a keyboard, as typst markup."""
    text = re.sub(r"\*\*(\d+)", lambda power: power[1].translate(SUPERSCRIPTS), text)
    for word, sign in _ASCII.items():
        text = text.replace(f" {word} ", f"\N{NO-BREAK SPACE}{sign}\N{NO-BREAK SPACE}").replace(word, sign)
    return plain(text)
