"""The theorems with their proofs, for the appendix: in typst, from the same proofs as the LaTeX appendix."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from convmatrix.equivariance import Proof, prove, theorems
from convmatrix.proofs import appendix
from convmatrix.proofs.coq_engine import full_text
from convmatrix.proofs.results import theorem_latex
from paper.errors import PaperError
from paper.mathematics import formula, markup, plain
from paper.numbers import SUPERSCRIPTS

_ASCII = {">=": "≥", "<=": "≤", " - ": " \N{MINUS SIGN} "}
MARKS = {"sympy": "S", "z3": "Z", "coq": "C"}

Proofs = dict[str, list[Proof]]
"""For each theorem its proofs, one an engine."""


def engines() -> tuple[str, ...]:
    """Return the proof engines that are installed."""
    found = {"z3": importlib.util.find_spec("z3"), "coq": shutil.which("coqc")}
    return ("sympy", *(engine for engine, where in found.items() if where))


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
    """Return how many theorems there are, how many of them in Coq, and steps of proofs by who decided them."""
    steps = [parts for found in proofs.values() for parts in _parts(found).values()]
    kinds = Counter(parts[0].kind for parts in steps)
    twice = sum({"sympy", "z3"} <= {part.decided_by for part in parts} for parts in steps)
    by_coq = sum(part.decided_by == "coq" for parts in steps for part in parts if part.kind == "integer lemma")
    return {
        "theorems": len(proofs),
        "integer-lemmas": kinds["integer lemma"],
        "identities": kinds["identity"],
        "lemmas-by-both-engines": twice,
        "lemmas-by-coq": by_coq,
        "full-statements": sum(full_text(name) is not None for name in proofs),
        "full-statements-by-coq": kinds["full statement"],
    }


def _parts(proofs: Sequence[Proof]) -> dict[str, list[Any]]:
    """Return the parts of all proofs of a theorem by name: Coq has a full statement where others have identities."""
    found: dict[str, list[Any]] = {}
    for proof in proofs:
        for part in proof.parts:
            found.setdefault(part.name, []).append(part)
    return found


def theorems_tex(proofs: Proofs) -> str:
    """Return all theorems in LaTeX."""
    return "\n".join([appendix(names=()), *(theorem_latex(found) for found in proofs.values())])


def theorems_typst(proofs: Proofs) -> str:
    """Return all theorems as typst markup; it uses the function ``theorem`` of the paper's style."""
    return "\n".join(['#import "style.typ": theorem', *(_theorem(found) for found in proofs.values()), ""])


def _theorem(proofs: Sequence[Proof]) -> str:
    first = proofs[0]
    steps = [_step(parts) for parts in _parts(proofs).values() if parts[0].kind != "full statement"]
    stated = full_text(first.name)
    marks = any(proof.engine == "coq" for proof in proofs)
    return "\n".join(
        [
            f'#theorem("{first.name}",',
            f"  [{markup(first.latex)}],",
            f"  [{_ascii_mathematics(first.hypotheses.rstrip('.'))}.],",
            f"  [{markup(first.argument)}],",
            *(f"  [{step}]," for step in steps),
            *([f"  coq: {json.dumps(stated, ensure_ascii=False)}, checked: {str(marks).lower()},"] if stated else []),
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
